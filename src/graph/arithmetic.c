/* Arithmetic of integer networks: names, profiles, and the metadata that carries it. */
#include "graph/arithmetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const qn_profile profiles[] = {
    {"ort", "ONNX Runtime: an f32 multiplier, ties to even; sums in f32", {.requantize = QN_REQUANTIZE_FLOAT}},
    {"tflite",
     "TFLite's reference kernels: a 31-bit multiplier, rounded twice; integer sums",
     {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_AWAY, .twice = true, .fixed_sums = true}},
    {"tflite-single",
     "TFLite built with TFLITE_SINGLE_ROUNDING: the product is rounded once, half up",
     {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_UP, .fixed_sums = true}},
    {"cmsis-nn",
     "CMSIS-NN with its default build: as tflite",
     {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_AWAY, .twice = true, .fixed_sums = true}},
    {"aidge", "Aidge's single shift: one power of two, ties to even", {.requantize = QN_REQUANTIZE_SHIFT}},
    {"n2d2",
     "N2D2's single shift: one power of two, truncated",
     {.requantize = QN_REQUANTIZE_SHIFT, .rounding = QN_ROUND_FLOOR}},
};
enum { N_PROFILES = sizeof profiles / sizeof profiles[0] };

const qn_profile *qn_profile_at(size_t index)
{
    return index < N_PROFILES ? &profiles[index] : NULL;
}

qn_status qn_profile_find(const qn_profile **profile, const char *name, qn_error *err)
{
    char names[160] = "";
    for (size_t i = 0; i < N_PROFILES; i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            *profile = &profiles[i];
            return QN_OK;
        }
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", profiles[i].name);
    }
    return qn_fail(err, QN_EINVAL, NULL, "unknown profile '%s'; there are %s", name, names);
}

static const char *const requantize_texts[] = {
#define QN_REQUANTIZE_TEXT(name, value, text) [name] = text,
    QN_REQUANTIZE_LIST(QN_REQUANTIZE_TEXT)
#undef QN_REQUANTIZE_TEXT
};
enum { N_REQUANTIZE = sizeof requantize_texts / sizeof requantize_texts[0] };

const char *qn_requantize_text(qn_requantization requantize)
{
    return (unsigned)requantize < N_REQUANTIZE ? requantize_texts[requantize] : "?";
}

qn_status qn_requantize_parse(qn_requantization *requantize, const char *text, qn_error *err)
{
    for (int i = 0; i < N_REQUANTIZE; i++) {
        if (strcmp(requantize_texts[i], text) == 0) {
            *requantize = (qn_requantization)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, NULL, "unknown requantization '%s'; there are float, fixed, shift and double-shift",
                   text);
}

static const char *const rounding_texts[] = {
#define ROUNDING_TEXT(name, value, text, ap_name) [name] = text,
    QN_ROUND_LIST(ROUNDING_TEXT)
#undef ROUNDING_TEXT
};
enum { N_ROUNDINGS = sizeof rounding_texts / sizeof rounding_texts[0] };

static bool can_round(qn_rounding rounding)
{
    return rounding == QN_ROUND_NEAREST_EVEN || rounding == QN_ROUND_NEAREST_AWAY || rounding == QN_ROUND_NEAREST_UP ||
           rounding == QN_ROUND_FLOOR;
}

const char *qn_requantize_rounding_text(qn_rounding rounding)
{
    return can_round(rounding) ? rounding_texts[rounding] : "?";
}

qn_status qn_requantize_rounding_parse(qn_rounding *rounding, const char *text, qn_error *err)
{
    for (int i = 0; i < N_ROUNDINGS; i++) {
        if (can_round((qn_rounding)i) && strcmp(rounding_texts[i], text) == 0) {
            *rounding = (qn_rounding)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, NULL,
                   "unknown rounding '%s'; there are nearest-even, nearest-away, nearest-up and floor", text);
}

qn_status qn_arithmetic_check(const qn_arithmetic *arithmetic, const char *where, qn_error *err)
{
    if ((unsigned)arithmetic->requantize >= N_REQUANTIZE || !can_round(arithmetic->rounding)) {
        return qn_fail(err, QN_EINVAL, where, "unknown requantization %d or rounding %d", (int)arithmetic->requantize,
                       (int)arithmetic->rounding);
    }
    if (arithmetic->fixed_sums && arithmetic->fused_sums) {
        return qn_fail(err, QN_EINVAL, where, "sums that are fixed and fused at once");
    }
    if (arithmetic->twice &&
        (arithmetic->requantize != QN_REQUANTIZE_FIXED || arithmetic->rounding != QN_ROUND_NEAREST_AWAY)) {
        return qn_fail(err, QN_EINVAL, where, "only the fixed multiplier is rounded twice, and to nearest-away");
    }
    if (arithmetic->requantize == QN_REQUANTIZE_FLOAT && arithmetic->rounding != QN_ROUND_NEAREST_EVEN) {
        return qn_fail(err, QN_EINVAL, where, "requantization in float rounds to nearest-even, not %s",
                       rounding_texts[arithmetic->rounding]);
    }
    if (arithmetic->accumulator_bits != 0 && (arithmetic->accumulator_bits < 8 || arithmetic->accumulator_bits > 32)) {
        return qn_fail(err, QN_EINVAL, where, "an accumulator of %d bits; it has 8 to 32",
                       arithmetic->accumulator_bits);
    }
    return QN_OK;
}

static qn_status get(const qn_graph *graph, qn_arithmetic *a, qn_error *err)
{
    const char *requantize = qn_graph_get_metadata(graph, "quern.requantize");
    const char *rounding = qn_graph_get_metadata(graph, "quern.rounding");
    const char *sums = qn_graph_get_metadata(graph, "quern.sums");
    const char *accumulator = qn_graph_get_metadata(graph, "quern.accumulator");
    *a = (qn_arithmetic){0};
    if (requantize != NULL) {
        QN_TRY(qn_requantize_parse(&a->requantize, requantize, err));
    }
    if (rounding != NULL) {
        a->twice = strcmp(rounding, "twice") == 0;
        a->rounding = QN_ROUND_NEAREST_AWAY;
        QN_TRY(a->twice ? QN_OK : qn_requantize_rounding_parse(&a->rounding, rounding, err));
    }
    a->fixed_sums = sums != NULL && strcmp(sums, "fixed") == 0;
    a->fused_sums = sums != NULL && strcmp(sums, "fused") == 0;
    if (sums != NULL && !a->fixed_sums && !a->fused_sums && strcmp(sums, "float") != 0) {
        return qn_fail(err, QN_EINVAL, NULL, "sums '%s' are none of float, fused and fixed", sums);
    }
    if (accumulator != NULL) {
        char *end;
        long bits = strtol(accumulator, &end, 10);
        a->saturate = strcmp(end, " saturate") == 0;
        a->accumulator_bits = bits == 32 ? 0 : bits >= 8 && bits < 32 ? (int)bits : -1;
        if (end == accumulator || (!a->saturate && strcmp(end, " wrap") != 0)) {
            return qn_fail(err, QN_EINVAL, NULL, "accumulator '%s' is not of the form '32 wrap' or '32 saturate'",
                           accumulator);
        }
    }
    return qn_arithmetic_check(a, NULL, err);
}

qn_status qn_graph_get_arithmetic(const qn_graph *graph, qn_arithmetic *arithmetic, qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    if (get(graph, arithmetic, &reason) != QN_OK) {
        return qn_fail(err, QN_EFORMAT, graph->file, "its metadata says quern.*: %s", reason.message);
    }
    return QN_OK;
}

const char *qn_sums_text(const qn_arithmetic *a)
{
    return a->fixed_sums ? "fixed" : a->fused_sums ? "fused" : "float";
}

qn_status qn_graph_set_arithmetic(qn_graph *graph, const qn_arithmetic *a, qn_error *err)
{
    QN_TRY(qn_arithmetic_check(a, NULL, err));
    char accumulator[32];
    snprintf(accumulator, sizeof accumulator, "%d %s", a->accumulator_bits == 0 ? 32 : a->accumulator_bits,
             a->saturate ? "saturate" : "wrap");
    QN_TRY(qn_graph_set_metadata(graph, "quern.requantize", requantize_texts[a->requantize], err));
    QN_TRY(qn_graph_set_metadata(graph, "quern.rounding", a->twice ? "twice" : rounding_texts[a->rounding], err));
    QN_TRY(qn_graph_set_metadata(graph, "quern.sums", qn_sums_text(a), err));
    return qn_graph_set_metadata(graph, "quern.accumulator", accumulator, err);
}
