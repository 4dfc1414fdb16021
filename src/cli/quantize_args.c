#include "cli/quantize_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_quantization_options[] = {
    {"recipe", 0, "RECIPE", "of 'quern recipe' (default: best), or FILE.yaml; ':option=value,...' may follow"},
    {"weights", 0, "FORMAT", "number format of weights (see 'quern formats'), or float"},
    {"activations", 0, "FORMAT", "number format of activations, or float"},
    {"bias", 0, "FORMAT", "number format of biases; int32: at the scale of the sums"},
    {"per", 0, "GRANULARITY", "weights that share parameters: channel, tensor or group:N"},
    {"set", 0, "GLOB:K=V...", "weights=, activations=, bias=, per= of nodes by name or operator"},
    {"keep-float", 0, "GLOB...", "nodes that stay in float, by name or operator"},
    {"ranges", 0, "KIND", "static, or dynamic: anew for each input (simulation)"},
    {"profile", 0, "NAME", "arithmetic as of: ort, tflite, tflite-single, cmsis-nn, aidge, n2d2"},
    {"requantize", 0, "KIND", "float, fixed, shift or double-shift"},
    {"rounding", 0, "KIND", "of requantization: nearest-even, nearest-away, nearest-up, floor, twice"},
    {"sums", 0, "KIND", "arithmetic of Add and average pools: float, or fixed, in integers alone"},
    {"accumulator", 0, "BITS", "width of sums of products, 8 to 32"},
    {"overflow", 0, "KIND", "of sums of products: wrap or saturate"},
    {"no-rounding", 0, NULL, "do everything but the rounding; gives a float model with clips"},
    {NULL, 0, NULL, NULL},
};

static cli_exit misuse_of(const char *option, const qn_error *err)
{
    return cli_misuse("--%s: %s%s%s", option, err->where, err->where[0] != '\0' ? ": " : "", err->message);
}

static cli_exit read_sets(const cli_args *args, cli_quantization *q)
{
    const char *texts[CLI_MAX_SETS + 1];
    size_t n = cli_all_values(args, "set", texts, CLI_MAX_SETS + 1);
    if (n > CLI_MAX_SETS) {
        return cli_misuse("more than %d times --set; a recipe file takes more", CLI_MAX_SETS);
    }
    for (size_t i = 0; i < n; i++) {
        const char *colon = strchr(texts[i], ':');
        if (colon == NULL || colon == texts[i] || colon[1] == '\0' || strlen(texts[i]) >= CLI_MAX_SET_TEXT) {
            return cli_misuse("--set '%s' is not of the form GLOB:weights=FORMAT,activations=FORMAT", texts[i]);
        }
        memcpy(q->set_texts[i], texts[i], strlen(texts[i]) + 1);
        q->set_texts[i][colon - texts[i]] = '\0';
        q->sets[i] = (qn_quantize_set){q->set_texts[i], q->set_texts[i] + (colon - texts[i]) + 1};
    }
    q->options.sets = q->sets;
    q->options.n_sets = n;
    q->options.keep_float = q->keep_float;
    q->options.n_keep_float = cli_all_values(args, "keep-float", q->keep_float, CLI_MAX_SETS + 1);
    return q->options.n_keep_float <= CLI_MAX_SETS
               ? CLI_OK
               : cli_misuse("more than %d times --keep-float; a glob takes many nodes", CLI_MAX_SETS);
}

static cli_exit read_rounding(const cli_args *args, qn_arithmetic *a)
{
    qn_error err;
    qn_error_init(&err);
    const char *text = cli_value(args, "rounding");
    if (text == NULL) {
        return CLI_OK;
    }
    a->twice = strcmp(text, "twice") == 0;
    a->rounding = QN_ROUND_NEAREST_AWAY;
    return a->twice || qn_requantize_rounding_parse(&a->rounding, text, &err) == QN_OK
               ? CLI_OK
               : cli_misuse("--rounding: %s; or twice", err.message);
}

static cli_exit read_sums(const cli_args *args, qn_arithmetic *a)
{
    const char *text = cli_value(args, "sums");
    if (text == NULL) {
        return CLI_OK;
    }
    a->fixed_sums = strcmp(text, "fixed") == 0;
    return a->fixed_sums || strcmp(text, "float") == 0 ? CLI_OK
                                                       : cli_misuse("--sums '%s' is neither float nor fixed", text);
}

static cli_exit read_accumulator(const cli_args *args, qn_arithmetic *a)
{
    const char *bits = cli_value(args, "accumulator"), *overflow = cli_value(args, "overflow");
    if (bits != NULL) {
        char *end;
        long n = strtol(bits, &end, 10);
        if (bits[0] < '0' || bits[0] > '9' || *end != '\0' || n < 8 || n > 32) {
            return cli_misuse("--accumulator '%s' is not a number of bits from 8 to 32", bits);
        }
        a->accumulator_bits = (int)n;
    }
    if (overflow != NULL) {
        a->saturate = strcmp(overflow, "saturate") == 0;
        if (!a->saturate && strcmp(overflow, "wrap") != 0) {
            return cli_misuse("--overflow '%s' is neither wrap nor saturate", overflow);
        }
    }
    return CLI_OK;
}

/* The recipe's arithmetic, unless an option says otherwise. */
static cli_exit read_arithmetic(const cli_args *args, cli_quantization *q)
{
    static const char *const names[] = {"profile", "requantize", "rounding", "sums", "accumulator", "overflow"};
    bool given = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        given = given || cli_has(args, names[i]);
    }
    if (!given) {
        return CLI_OK;
    }
    qn_error err;
    qn_error_init(&err);
    const char *profile = cli_value(args, "profile"), *requantize = cli_value(args, "requantize");
    if (qn_recipe_arithmetic(&q->arithmetic, q->options.recipe, &err) != QN_OK) {
        return misuse_of("recipe", &err);
    }
    if (profile != NULL) {
        const qn_profile *found;
        if (qn_profile_find(&found, profile, &err) != QN_OK) {
            return misuse_of("profile", &err);
        }
        q->arithmetic = found->arithmetic;
    }
    if (requantize != NULL) {
        q->arithmetic.rounding = QN_ROUND_NEAREST_EVEN;
        q->arithmetic.twice = false;
        if (qn_requantize_parse(&q->arithmetic.requantize, requantize, &err) != QN_OK) {
            return misuse_of("requantize", &err);
        }
    }
    cli_exit code = read_rounding(args, &q->arithmetic);
    code = code == CLI_OK ? read_sums(args, &q->arithmetic) : code;
    code = code == CLI_OK ? read_accumulator(args, &q->arithmetic) : code;
    if (code == CLI_OK && qn_arithmetic_check(&q->arithmetic, NULL, &err) != QN_OK) {
        code = misuse_of(requantize != NULL ? "requantize" : "rounding", &err);
    }
    q->options.arithmetic = &q->arithmetic;
    return code;
}

static cli_exit check_format(const cli_args *args, const char *option)
{
    const char *text = cli_value(args, option);
    qn_format format;
    qn_error err;
    qn_error_init(&err);
    bool known = text == NULL || strcmp(text, "float") == 0 || qn_format_parse(&format, text, &err) == QN_OK;
    return known ? CLI_OK : misuse_of(option, &err);
}

cli_exit cli_read_quantization(const cli_args *args, cli_quantization *q)
{
    *q = (cli_quantization){0};
    qn_quantize_options_init(&q->options);
    q->options.recipe = cli_value(args, "recipe");
    q->options.weights = cli_value(args, "weights");
    q->options.activations = cli_value(args, "activations");
    q->options.bias = cli_value(args, "bias");
    q->options.per = cli_value(args, "per");
    q->options.ranges = cli_value(args, "ranges");
    q->options.no_rounding = cli_has(args, "no-rounding");
    q->options.n_threads = args->n_threads;
    static const char *const formats[] = {"weights", "activations", "bias"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        cli_exit code = check_format(args, formats[i]);
        if (code != CLI_OK) {
            return code;
        }
    }
    qn_error err;
    qn_error_init(&err);
    if (qn_recipe_arithmetic(&q->arithmetic, q->options.recipe, &err) != QN_OK) {
        return err.status == QN_EIO ? cli_fail(&err) : misuse_of("recipe", &err);
    }
    cli_exit code = read_sets(args, q);
    return code == CLI_OK ? read_arithmetic(args, q) : code;
}
