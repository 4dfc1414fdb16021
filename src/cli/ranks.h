/* Ranks of a parallel job: MPI, where quern was built with it and was started by mpirun or srun.
 *
 * Rank 0 talks; the stdout of others goes nowhere, and what they say on stderr begins with "rank N: ". Until the ranks
 * have agreed to begin, they keep it to themselves: what is wrong for one, such as an option, is mostly wrong for
 * all. */
#ifndef QN_CLI_RANKS_H
#define QN_CLI_RANKS_H

#include "cli/cli.h"
#include "quern/fault.h"

/* Join the job, if this process was started among several. First of all: before anything is said.
 * Errors: QN_EUNSUPPORTED: built without MPI; QN_EINTERNAL. */
qn_status cli_ranks_begin(qn_error *err);
/* NULL when this process is alone. */
const qn_campaign_ranks *cli_ranks(void);
/* Is it this process that talks? */
bool cli_ranks_talks(void);
/* A rank's share of the processors that the ranks on its machine may use together; at least 1. */
int cli_ranks_threads(void);
/* All ranks call it with how they have fared: CLI_OK when all may begin, otherwise, for all, the code of the lowest
 * rank that failed, which has said why. Alone: `code`. */
cli_exit cli_ranks_agree(cli_exit code);
/* The campaign was stopped, which the others know: all leave the job by themselves. */
void cli_ranks_stopped(void);
/* Leave the job; returns `code`, or what all agree on if they have not yet. After a failure of this rank alone, the
 * others are ended. Nothing happens without ranks. */
cli_exit cli_ranks_end(cli_exit code);

#endif
