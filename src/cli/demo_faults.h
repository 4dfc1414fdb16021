/* The last part of the demo: a small fault campaign. */
#ifndef QN_CLI_DEMO_FAULTS_H
#define QN_CLI_DEMO_FAULTS_H

#include "cli/cli.h"
#include "quern/fault.h"

/* Flip weight bits of `model`, some of every layer and bit, on the first images of `data`. The store at `path` is replaced. */
qn_status cli_demo_inject(const cli_args *args, const qn_model *model, const qn_dataset *data, const qn_tensor *labels,
                          const char *path, qn_campaign_stats *stats, qn_error *err);
/* SDC-1 rates of the store by layer and bit: as a table, or as an array of rows. */
qn_status cli_demo_print_faults(const char *path, const qn_campaign_stats *stats, qn_error *err);
qn_status cli_demo_json_faults(json_t **rows, const char *path, qn_error *err);

#endif
