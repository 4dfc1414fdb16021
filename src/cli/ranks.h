/* Ranks of a parallel job: MPI, where quern was built with it and was started by mpirun or srun. */
#ifndef QN_CLI_RANKS_H
#define QN_CLI_RANKS_H

#include "cli/cli.h"
#include "quern/fault.h"

/* The ranks this process was started among; *ranks is NULL when it is alone. Call before anything that a rank must do once only.
 * Errors: QN_EUNSUPPORTED: started among ranks, but built without MPI; QN_EINTERNAL. */
qn_status cli_ranks_begin(const qn_campaign_ranks **ranks, qn_error *err);
/* Leave the job. After a failure the others are ended as well. Nothing happens without ranks. */
void cli_ranks_end(cli_exit code);
/* Is it this process that talks? */
bool cli_ranks_talks(void);

#endif
