/* quern pipeline --simulate: all stages in this process, and what is said of it. */
#ifndef QN_CLI_PIPELINE_SIMULATE_H
#define QN_CLI_PIPELINE_SIMULATE_H

#include "cli/pipeline_ends.h"
#include "quern/plan.h"

/* A plan that fits its network, whose policy is the one that counts, and what goes through. */
typedef struct cli_pipeline_job {
    const qn_cuts *cuts;
    const qn_plan *plan;
    const size_t *positions;
    const char *plan_name; /* for people */
    cli_pipeline_ends *ends;
} cli_pipeline_job;

/* Options: --simulate, --monitor, -f. Runs, prints the report, writes the monitor. */
qn_status cli_pipeline_simulate(const cli_args *args, const cli_pipeline_job *job, qn_error *err);

#endif
