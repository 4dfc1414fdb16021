/* What sensitivity and sweep share: a study opened from the command line. */
#ifndef QN_CLI_STUDY_ARGS_H
#define QN_CLI_STUDY_ARGS_H

#include "cli/quantize_args.h"
#include "cli/session.h"

/* --data --calibration --labels --eval-data */
#define CLI_STUDY_OPTIONS                                                                                              \
    {"data", 0, "X", "inputs to calibrate on; and to evaluate on, without --eval-data"},                               \
        {"calibration", 0, "FILE", "what 'quern calibrate' wrote, instead of calibrating now"},                        \
        {"eval-data", 0, "X", "inputs to evaluate on"},                                                                \
    {                                                                                                                  \
        "labels", 0, "Y", "one integer class per input to evaluate on: top-1"                                          \
    }

typedef struct cli_study {
    qn_model *model;
    qn_calibration *calibration;
    qn_dataset *data, *eval_data;
    qn_tensor labels;
    qn_preprocess pre;
    qn_study_options options;
    qn_study *study;
    cli_quantization how;
} cli_study;

/* Models, data and options; CLI_USAGE where --data and --calibration are missing. */
cli_exit cli_study_open(const cli_args *args, cli_study *s, qn_error *err);
/* Calibrate and run the float network, with progress. */
qn_status cli_study_start(const cli_args *args, cli_study *s, qn_error *err);
void cli_study_close(cli_study *s);

/* "45.32 dB", "inf" */
enum { CLI_SQNR_MAX = 24 };
const char *cli_sqnr(char text[CLI_SQNR_MAX], double db);

#endif
