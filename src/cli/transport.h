/* Messages of a pipeline between the ranks of a job (ranks.h), by MPI's calls that do not wait. */
#ifndef QN_CLI_TRANSPORT_H
#define QN_CLI_TRANSPORT_H

#include "base/error.h"
#include "quern/pipeline.h"

/* *transport is NULL when this process is alone. It is this room's; close it before the job is left. Errors:
 * QN_ENOMEM. */
qn_status cli_transport_open(const qn_transport **transport, qn_error *err);
/* Receives that nothing came for are withdrawn. */
void cli_transport_close(void);

/* All ranks call it, with what has to be the same for all ("model with SHA-256"), and this rank's value of up to 79
 * bytes; "" of a rank that has failed and says so itself. QN_EINVAL for all if two differ, with the ranks and values of
 * the first that do. */
qn_status cli_transport_same(const char *what, const char *value, qn_error *err);

#endif
