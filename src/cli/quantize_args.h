/* The options of how to quantize, which several commands share. */
#ifndef QN_CLI_QUANTIZE_ARGS_H
#define QN_CLI_QUANTIZE_ARGS_H

#include "cli/cli.h"

enum { CLI_MAX_SETS = 64, CLI_MAX_SET_TEXT = 256 };

/* Options for qn_quantize with what they point to. Not to be moved once filled. */
typedef struct cli_quantization {
    qn_quantize_options options;
    qn_arithmetic arithmetic;
    qn_quantize_set sets[CLI_MAX_SETS];
    char set_texts[CLI_MAX_SETS][CLI_MAX_SET_TEXT];
    const char *keep_float[CLI_MAX_SETS + 1];
} cli_quantization;

/* Fill it from the command line; data and progress are the caller's to add. CLI_USAGE for contradictions and unknown
 * names, with the choices. */
cli_exit cli_read_quantization(const cli_args *args, cli_quantization *q);

#endif
