/* The network and the plan of a pipeline, from the command line. */
#ifndef QN_CLI_PIPELINE_PLAN_H
#define QN_CLI_PIPELINE_PLAN_H

#include "cli/cli.h"

/*  name       of the plan, for people
 *  positions  plan.n_stages + 1 */
typedef struct cli_pipeline_plan {
    qn_model *model;
    qn_cuts *cuts;
    qn_plan plan;
    const char *name;
    char made[64], format[QN_FORMAT_NAME_MAX];
    qn_link_choice choice;
    size_t *positions;
} cli_pipeline_plan;

#define CLI_PIPELINE_PLAN_OPTIONS                                                                                      \
    {"plan", 0, "FILE", "the plan (doc/links.md)"},                                                                    \
        {"stages", 0, "N", "without a plan: N stages with about the same number of multiplications"},                  \
        {"link", 0, "CHOICE",                                                                                          \
         "without a plan, how tensors travel: codes, fp32, or FORMAT[/PER][/CLAMP] (default codes)"},                  \
        {"microbatch", 0, "B", "items of a message (default: the plan's; without a plan 8, or 1)"},                    \
    {                                                                                                                  \
        "engine", 0, "ENGINE", "float, simulate or integer (default: the plan's, else as 'quern eval')"                \
    }

/* Load, and make or read the plan. CLI_USAGE for contradictions, CLI_REFUSED for what cannot be run. */
cli_exit cli_pipeline_load(const cli_args *args, cli_pipeline_plan *p);
cli_exit cli_pipeline_make_plan(const cli_args *args, cli_pipeline_plan *p);
/* Does the plan fit? Fills positions. */
cli_exit cli_pipeline_check(cli_pipeline_plan *p);
/* What makes two plans the same, as 64 hex digits; "" without memory. */
void cli_pipeline_digest(char hex[65], const cli_pipeline_plan *p);
void cli_pipeline_unload(cli_pipeline_plan *p);
/* Say an error; what would be misuse is an input refused: it is in a file. */
cli_exit cli_pipeline_refuse(const qn_error *err);

#endif
