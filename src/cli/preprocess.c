/* [pre]: the preprocessing options, and how they meet what artefacts record. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* A number, or a fraction of two numbers. */
static bool parse_number(const char *text, const char **end, double *value)
{
    char *stop;
    errno = 0;
    double number = strtod(text, &stop);
    if (stop == text || errno == ERANGE) {
        return false;
    }
    if (*stop == '/') {
        const char *below = stop + 1;
        double divisor = strtod(below, &stop);
        if (stop == below || divisor == 0) {
            return false;
        }
        number /= divisor;
    }
    *end = stop;
    *value = number;
    return isfinite(number);
}

static cli_exit parse_scale(const char *text, double *scale)
{
    const char *end;
    if (!parse_number(text, &end, scale) || *end != '\0' || *scale == 0) {
        return cli_misuse("--scale '%s' is not a number or fraction other than 0 (such as 0.5 or 1/255)", text);
    }
    return CLI_OK;
}

static cli_exit parse_list(const char *name, const char *text, bool zero_allowed, double *values, int *n)
{
    const char *next = text;
    for (*n = 0; *n < QN_MAX_PREPROCESS_CHANNELS; (*n)++) {
        if (!parse_number(next, &next, &values[*n]) || (!zero_allowed && values[*n] == 0)) {
            break;
        }
        if (*next == '\0') {
            (*n)++;
            return CLI_OK;
        }
        if (*next++ != ',') {
            break;
        }
    }
    return cli_misuse("--%s '%s' is not a list of at most %d numbers%s separated by commas", name, text,
                      QN_MAX_PREPROCESS_CHANNELS, zero_allowed ? "" : " other than 0");
}

static cli_exit parse_layout(const char *text, qn_layout *layout)
{
    if (strcmp(text, "nchw") == 0) {
        *layout = QN_LAYOUT_NCHW;
    } else if (strcmp(text, "nhwc") == 0) {
        *layout = QN_LAYOUT_NHWC;
    } else {
        return cli_misuse("--layout '%s' is neither nchw nor nhwc", text);
    }
    return CLI_OK;
}

/* Put the options that are given into `pre`. */
static cli_exit apply_options(const cli_args *args, qn_preprocess *pre)
{
    const char *scale = cli_value(args, "scale"), *mean = cli_value(args, "mean");
    const char *std = cli_value(args, "std"), *layout = cli_value(args, "layout");
    cli_exit result = scale != NULL ? parse_scale(scale, &pre->scale) : CLI_OK;
    if (result == CLI_OK && mean != NULL) {
        result = parse_list("mean", mean, true, pre->mean, &pre->n_mean);
    }
    if (result == CLI_OK && std != NULL) {
        result = parse_list("std", std, false, pre->std, &pre->n_std);
    }
    if (result == CLI_OK && layout != NULL) {
        result = parse_layout(layout, &pre->layout);
    }
    return result;
}

/* The options meet a record that says something else. The layout belongs to the file of data, which may really have
 * another one; then leaving out the option does not help. */
static cli_exit contradiction(const cli_record *base, const qn_preprocess *pre)
{
    qn_preprocess but_layout = *pre;
    but_layout.layout = base->pre.layout;
    char *recorded = NULL;
    if (qn_preprocess_to_json(&base->pre, &recorded, NULL) != QN_OK) {
        recorded = NULL;
    }
    cli_exit result = cli_misuse(
        "the preprocessing options contradict what '%s' records: %s; %s", base->file, recorded != NULL ? recorded : "?",
        qn_preprocess_equal(&but_layout, &base->pre) ? "leave out --layout, and store the data in that layout"
                                                     : "leave them out");
    free(recorded);
    return result;
}

cli_exit cli_preprocess(const cli_args *args, const cli_record *records, size_t n_records, qn_preprocess *pre)
{
    const cli_record *base = NULL;
    for (size_t i = 0; i < n_records; i++) {
        if (!records[i].found) {
            continue;
        }
        if (base != NULL && !qn_preprocess_equal(&base->pre, &records[i].pre)) {
            return cli_misuse(
                "'%s' and '%s' record different preprocessing of their inputs; they cannot be used together",
                base->file, records[i].file);
        }
        base = base != NULL ? base : &records[i];
    }
    if (base != NULL) {
        *pre = base->pre;
    } else {
        qn_preprocess_init(pre);
    }
    cli_exit result = apply_options(args, pre);
    if (result == CLI_OK && base != NULL && !qn_preprocess_equal(pre, &base->pre)) {
        result = contradiction(base, pre);
    }
    return result;
}
