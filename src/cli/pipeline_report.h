/* What a pipeline over ranks did: the report, and the file of --monitor. */
#ifndef QN_CLI_PIPELINE_REPORT_H
#define QN_CLI_PIPELINE_REPORT_H

#include "cli/pipeline_ends.h"
#include "cli/pipeline_plan.h"

/* Table, or JSON. seconds: of the whole run. */
void cli_pipeline_report(const cli_args *args, const cli_pipeline_plan *p, const qn_pipeline *pipeline,
                         const cli_pipeline_ends *ends, double seconds);

/* The file of --monitor: one line for each micro-batch of each stage, whole lines only, as they finish. */
typedef struct cli_pipeline_log {
    const char *path;
    FILE *file;
    const qn_plan *plan;
} cli_pipeline_log;
/* path NULL: no file. Errors: QN_EEXIST unless `overwrite`, QN_EIO. */
qn_status cli_pipeline_log_open(cli_pipeline_log *log, const char *path, bool overwrite, const qn_plan *plan,
                                qn_error *err);
qn_status cli_pipeline_log_line(cli_pipeline_log *log, const qn_pipeline_record *record, qn_error *err);
/* Errors: QN_EIO. */
qn_status cli_pipeline_log_close(cli_pipeline_log *log, qn_error *err);

#endif
