/* quern pipeline --simulate: all stages in this process, and what is said of it. */
#ifndef QN_CLI_PIPELINE_SIMULATE_H
#define QN_CLI_PIPELINE_SIMULATE_H

#include "cli/pipeline_ends.h"
#include "cli/pipeline_plan.h"

/* Options: --simulate, --monitor, --policy-log, -f. Runs a plan that fits, prints the report, writes the files. */
qn_status cli_pipeline_simulate(const cli_args *args, const cli_pipeline_plan *p, cli_pipeline_ends *ends,
                                qn_error *err);

#endif
