/* Scales of channels: which channels of which values may be multiplied by a factor of their own without changing what a
 * network computes, and which must share theirs.
 *
 * Every value that can be scaled has one variable per index of one axis, its channel axis. Conv, Gemm and MatMul by a
 * constant matrix put any factors on their outputs and take any from their inputs, in their weights:
 *   w'[o][i] = w[o][i] * factor(output o) / factor(input i),  b'[o] = b[o] * factor(output o).
 * Between them f(s x) = s f(x) for s > 0 carries a factor through Relu, LeakyRelu, pools, padding by zeros and what only
 * moves elements; sums and joins make channels share a factor. Whatever else a value meets pins it: factor 1. So a value
 * with many readers, residual sums, depthwise layers, Concat and Flatten need no cases of their own.
 * Owner: everything lives in the arena given to _make. Variables are indices; variable 0 is the pinned one. */
#ifndef QN_PTQ_CHANNELS_H
#define QN_PTQ_CHANNELS_H

#include "ptq/ptq.h"

/* A Conv, Gemm or MatMul with constant weights: element (o, j, k) is weights[o * step_o + j * step_j + k], where j counts
 * the inputs that output o sees; it reads input channel (o / group_outputs) * n_in + j.
 *  in, out  first variable of its input and output; -1: cannot be scaled */
typedef struct qn_ptq_layer {
    size_t node;
    int64_t n_out, n_in, n_kernel, group_outputs;
    int64_t step_o, step_j;
    int32_t in, out;
} qn_ptq_layer;

/* A constant that is added to a value: its element e is of channel (e / inner) % n. */
typedef struct qn_ptq_addend {
    size_t node;
    int input;
    int64_t inner, n;
    int32_t first;
} qn_ptq_addend;

typedef struct qn_ptq_channels {
    size_t n_values;
    int32_t *first; /* per value: its first variable, -1 for none */
    int *axis;      /* per value with variables: its channel axis */
    int32_t n_variables;
    qn_ptq_layer *layers; /* in the graph's order */
    size_t n_layers;
    qn_ptq_addend *addends;
    size_t n_addends;
    /* internal */
    int32_t *leader, *family;
    size_t capacity;
} qn_ptq_channels;

/*  binding     of the graph, for one item
 *  free_caps   let a Clip from 0 (or unbounded) whose upper bound the calibration never reached carry factors; the caller
 *              must then turn it into a Relu (or nothing)
 * Errors: QN_ENOMEM; those of attributes. */
qn_status qn_ptq_channels_make(qn_ptq_channels *channels, const qn_ptq *ptq, const qn_binding *binding, bool free_caps,
                               qn_arena *arena, qn_error *err);
/* The variable that stands for all those that share a factor with `variable`; qn_ptq_channels_leader(c, 0) when it is
 * pinned. */
int32_t qn_ptq_channels_leader(const qn_ptq_channels *channels, int32_t variable);
/* The same number for all variables of values that are tied to each other, through any of their channels. */
int32_t qn_ptq_channels_family(const qn_ptq_channels *channels, int32_t variable);
/* Multiply each channel by its factor in all places: weights, biases and addends change (a copy where others read them,
 * too), values become stale and get a note, Clips that free_caps let through lose their bound.
 *  factors   per variable, > 0, the same for all that share a leader, 1 for pinned ones
 * Errors: QN_ERANGE when a constant leaves float32; QN_ENOMEM. */
qn_status qn_ptq_channels_apply(const qn_ptq_channels *channels, qn_ptq *ptq, const qn_binding *binding,
                                const double *factors, qn_error *err);
/* The input channel that element (o, j) of a layer reads. */
static inline int64_t qn_ptq_input_channel(const qn_ptq_layer *layer, int64_t o, int64_t j)
{
    return o / layer->group_outputs * layer->n_in + j;
}
/* A Clip that only free_caps lets through. */
bool qn_ptq_cap_is_free(const qn_ptq *ptq, const qn_node *node);

#endif
