/* The configurations of vectors/qkeras: what QKeras calls with which arguments. */
#ifndef QN_TESTS_QKERAS_VECTORS_H
#define QN_TESTS_QKERAS_VECTORS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "quern/format.h"

/* Of buffers for names: with room for numbers of any length, of which none here is long. */
enum { NAME_SIZE = 2 * QN_FORMAT_NAME_MAX };

static inline int integer(const json_t *row, const char *key)
{
    return (int)json_integer_value(json_object_get(row, key));
}

static inline const char *text(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

/* The name of quantized_bits or quantized_linear with these arguments. */
static inline void name_uniform(char name[NAME_SIZE], const json_t *row)
{
    const json_t *elements = json_object_get(row, "elements_per_scale");
    int64_t n_share = json_is_array(elements) ? 1 : json_integer_value(elements);
    for (size_t i = 0; i < json_array_size(elements); i++) {
        n_share *= json_integer_value(json_array_get(elements, i));
    }
    char share[32] = "";
    if (elements != NULL) {
        snprintf(share, sizeof share, ":share=%lld", (long long)n_share);
    }
    const json_t *alpha = json_object_get(row, "alpha");
    char factor[32] = "None";
    if (json_is_string(alpha)) {
        snprintf(factor, sizeof factor, "%s", json_string_value(alpha));
    } else if (json_is_number(alpha)) {
        snprintf(factor, sizeof factor, "%g", json_number_value(alpha));
    }
    char exponents[32] = "";
    if (json_object_get(row, "min_po2") != NULL) {
        snprintf(exponents, sizeof exponents, ":exp=%d..%d", integer(row, "min_po2"), integer(row, "max_po2"));
    }
    snprintf(name, NAME_SIZE, "qkeras-%s<%d,%d,%d,%d,%s>%s%s",
             strcmp(text(row, "fn"), "quantized_bits") == 0 ? "bits" : "linear", integer(row, "bits"),
             integer(row, "integer"), integer(row, "symmetric"), integer(row, "keep_negative"), factor, exponents,
             share);
}

/* The granularity that QKeras gives a tensor: channels last, or scale_axis; of a vector, quantized_bits has one step
 * (with auto_po2 it begins so and goes on with one per element) and quantized_linear as many as elements. */
static inline int axis_of(const json_t *row, int rank)
{
    const json_t *axis = json_object_get(row, "scale_axis");
    if (rank == 1) {
        const char *alpha = text(row, "alpha");
        bool po2 = alpha != NULL && strcmp(alpha, "auto_po2") == 0;
        return strcmp(text(row, "fn"), "quantized_bits") == 0 && !po2 ? -1 : 0;
    }
    return json_is_integer(axis) ? (int)json_integer_value(axis) : rank - 1;
}

/* Does each element have a step of its own, shared in blocks? Quern shares among consecutive sets, so blocks of a
 * matrix are brought together first. */
static inline bool has_blocks(const json_t *row)
{
    return json_is_array(json_object_get(row, "elements_per_scale"));
}

#endif
