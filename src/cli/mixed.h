/* Widths per layer under a budget, as 'quern quantize' offers them. */
#ifndef QN_CLI_MIXED_H
#define QN_CLI_MIXED_H

#include "cli/quantize_args.h"
#include "cli/session.h"

#define CLI_MIXED_OPTIONS                                                                                              \
    {"bits-budget", 0, "BUDGET", "choose bits of weights layer by layer: 0.5x, 0.1MB or 4.5bits"},                     \
        {"widths", 0, "LIST", "bits to choose from (default: 8,6,4,2)"},                                               \
        {"activation-widths", 0, "LIST", "with --cost bitops: bits of what layers read, chosen as well"},              \
        {"metric", 0, "METRIC", "what the choice makes best on --data: sqnr (default) or top1"},                       \
        {"cost", 0, "COST", "what the budget is of: size (default) or bitops"},                                        \
    {                                                                                                                  \
        "labels", 0, "Y", "one integer class per input, for --metric top1"                                             \
    }

typedef struct cli_mixed {
    bool wanted;
    qn_mixed_options options;
    qn_tensor labels;
    qn_mixed *result;
    qn_evaluation reference;
} cli_mixed;

/* CLI_USAGE for what is no budget, metric, cost or width, and for the others without a budget. */
cli_exit cli_read_mixed(const cli_args *args, cli_mixed *mixed);
/* Choose and quantize with progress, and record `pre`. */
qn_status cli_run_mixed(const cli_args *args, cli_mixed *mixed, qn_model **quantized, const qn_model *model,
                        const qn_calibration *calibration, const qn_preprocess *pre, const qn_quantize_options *how,
                        qn_quantize_report **report, qn_error *err);
void cli_mixed_print(const cli_mixed *mixed);
json_t *cli_mixed_json(const cli_mixed *mixed);
void cli_mixed_release(cli_mixed *mixed);

#endif
