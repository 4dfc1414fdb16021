/* What formats, encode, decode and compare have in common: arrays to read, formats and granularity to parse, error of
 * what a format made of an array. */
#ifndef QN_CLI_ARRAYS_H
#define QN_CLI_ARRAYS_H

#include "cli/cli.h"

/* Rows for a command's own option list. */
#define CLI_OPTION_AXIS                                                                                                \
    {                                                                                                                  \
        "axis", 0, "A", "one set of parameters for each index along this axis; default: one for all"                   \
    }
#define CLI_OPTION_GROUP                                                                                               \
    {                                                                                                                  \
        "group", 0, "N", "one set for each N consecutive elements (along --axis, if that is given)"                    \
    }
#define CLI_OPTION_NAN                                                                                                 \
    {                                                                                                                  \
        "nan", 0, "POLICY", "what NaN in the input becomes: refuse (default) or zero"                                  \
    }
#define CLI_OPTION_INF                                                                                                 \
    {                                                                                                                  \
        "inf", 0, "POLICY", "what infinities become: refuse (default) or clamp, to the greatest code"                  \
    }

/* Read floats: an array file as qn_tensor_read takes it, or "model.onnx:NAME". Integers of up to 32 bits become the reals
 * they are. */
qn_status cli_read_array(qn_tensor *x, const char *path, qn_error *err);

/* --axis, --group, --nan, --inf and, under the name `rule_option`, the range rule. CLI_USAGE when one is malformed. */
cli_exit cli_fit_options(const cli_args *args, const char *rule_option, qn_fit_options *fit, qn_codec_options *codec);

/* How far y is from x. */
typedef struct cli_distance {
    double sqnr_db;       /* 10 log10(sum x^2 / sum (x-y)^2); infinite when equal */
    double max_error;     /* greatest |x - y| */
    double mean_error;    /* mean |x - y| */
    int64_t max_error_at; /* its first index */
} cli_distance;
/* x is f32 or f64, y f32, of the same shape. Where x is not finite nothing is counted. */
cli_distance cli_distance_of(const qn_tensor *x, const qn_tensor *y);

/* Bits an element takes, its share of the parameters included, for n elements. */
double cli_bits_per_value(const qn_quantizer *q, int64_t n);

/* The parameters of set `set` as text: "scale 0.0123, zero point 3"; "none" without any. */
enum { CLI_PARAMS_MAX = 160 };
const char *cli_params(char text[CLI_PARAMS_MAX], const qn_quantizer *q, int64_t set);
/* The same as an object. */
json_t *cli_json_params(const qn_quantizer *q, int64_t set);

/* "12.34 dB", "exact". */
enum { CLI_DB_MAX = 24 };
const char *cli_db(char text[CLI_DB_MAX], double db);

#endif
