/* Coded constants of a network in the model's own shapes: what the manifest describes and npz writes. */
#ifndef QN_EXPORT_CONSTANTS_H
#define QN_EXPORT_CONSTANTS_H

#include "export/network.h"

typedef enum qn_export_role { QN_EXPORT_WEIGHTS, QN_EXPORT_BIASES, QN_EXPORT_OPERAND } qn_export_role;

/* A constant that holds codes and that something reads, once, however many layers do.
 *  id, name  of its own among all ids of the network: "w_" or "b_" and the first layer's, or "t_" and what its name
 *            holds; the name in the model
 *  axes      letters of the axes in order, "OIHW": outputs, inputs of the group, height, width; "" where they have none
 *  q, codes  as the model has them; codes by value (sign-extended), C order
 *  reals     f32, what the model says that the codes stand for
 *  layer     the first that reads it as weights or biases, -1: none */
typedef struct qn_export_constant {
    const char *id, *name;
    qn_export_role role;
    char axes[QN_MAX_RANK + 1];
    qn_value_id value;
    const qn_quantizer *q;
    const qn_tensor *codes, *reals;
    int layer;
} qn_export_constant;

typedef struct qn_export_constants {
    qn_arena arena;
    qn_export_constant *rows;
    int n;
    int *of_value; /* per value of the graph: its row, -1: none */
} qn_export_constants;

/* In the order of layers, then of values. Errors: QN_ENOMEM. */
qn_status qn_export_constants_list(qn_export_constants *list, const qn_export_network *network, qn_error *err);
void qn_export_constants_free(qn_export_constants *list);

/* Is x == (code - zero_point) * scale, in integers and one f32 product, what the codes stand for? Integers of a kept
 * scale. */
bool qn_export_is_affine(const qn_quantizer *q);
/* Check that for every element; QN_EINTERNAL naming tensor and element where it does not hold. Of other formats: that
 * the format's own decoding gives the reals. */
qn_status qn_export_check_invariant(const qn_export_constant *c, qn_error *err);

/* Code i by value, whatever the dtype. */
int64_t qn_export_code_at(const qn_tensor *codes, int64_t i);

/* What the codes of a constant are like. */
typedef struct qn_export_usage {
    int64_t least, greatest; /* codes that occur; 0 of none */
    int64_t saturated; /* at an end of the format's range, of a signed one without its lowest code where none is that */
} qn_export_usage;
qn_export_usage qn_export_use_of(const qn_export_constant *c);

/* e where scale == 2^e; false otherwise. */
bool qn_export_exponent(int *e, float scale);

#endif
