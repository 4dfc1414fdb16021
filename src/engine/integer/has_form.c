/* Which nodes could run on codes, before any value has a quantizer: the conditions of lower_*.c on shapes and constants. */
#include <math.h>

#include "engine/integer/function.h"
#include "engine/integer/island.h"

static const qn_bound_value *bound_input(const qn_lowering *l, const qn_node *node, int i)
{
    return i < node->n_inputs && node->inputs[i] != QN_NO_VALUE ? &l->binding->values[node->inputs[i]] : NULL;
}

static bool refuse(qn_lowering *l, const char *reason)
{
    l->reason = reason;
    return false;
}

/* A bias of one number per output channel, or none. */
static bool bias_fits(qn_lowering *l, const qn_node *node, int64_t n)
{
    const qn_bound_value *bias = bound_input(l, node, 2);
    if (bias != NULL && (bias->known == NULL || bias->rank != 1 || (bias->n_elems != n && bias->n_elems != 1))) {
        return refuse(l, "bias is not a constant with one number per output channel");
    }
    return true;
}

static bool conv_has_form(qn_lowering *l, const qn_node *node)
{
    qn_window w;
    qn_item_shape shape;
    if (bound_input(l, node, 1)->known == NULL) {
        return refuse(l, "weights are not constant");
    }
    return qn_window_of_node(&w, l->binding, node, NULL) == QN_OK && qn_lower_shape(l, node->inputs[0], &shape) &&
           qn_lower_shape(l, node->outputs[0], &shape) && bias_fits(l, node, w.c_out);
}

static bool gemm_has_form(qn_lowering *l, const qn_node *node)
{
    const qn_bound_value *a = bound_input(l, node, 0), *b = bound_input(l, node, 1);
    qn_gemm g;
    if (b->known == NULL || b->rank != 2) {
        return refuse(l, "second input is not a constant matrix");
    }
    if (qn_gemm_of_node(&g, l->binding, node, NULL) != QN_OK || a->rank < 2 || g.trans_a || !(g.alpha > 0) ||
        (bound_input(l, node, 2) != NULL && (g.alpha != 1 || g.beta != 1))) {
        return refuse(l, "a product that is not rows of the batch times a constant matrix, plus a bias");
    }
    return bias_fits(l, node, g.n);
}

/* Is an operand of this shape stretched along rows and columns only? */
static bool stretches(const qn_item_shape *own, const qn_item_shape *out)
{
    return own->channels == out->channels && (own->width == out->width || own->width == 1) &&
           (own->height == out->height || own->height == 1);
}

/* Constants are stretched before they are stored. */
static bool add_has_form(qn_lowering *l, const qn_node *node)
{
    bool pixels = true, plain = true;
    qn_item_shape own, out;
    if (bound_input(l, node, 0)->known != NULL && bound_input(l, node, 1)->known != NULL) {
        return refuse(l, "both operands are constant");
    }
    for (int i = 0; i < 2; i++) {
        if (bound_input(l, node, i)->known == NULL) {
            pixels &= qn_lower_shape(l, node->outputs[0], &out) && qn_lower_shape(l, node->inputs[i], &own) &&
                      stretches(&own, &out);
            plain &= qn_lower_plain_shape(l, node->outputs[0], &out) &&
                     qn_lower_plain_shape(l, node->inputs[i], &own) && stretches(&own, &out);
        }
    }
    l->reason = NULL; /* one order is enough */
    return pixels || plain ? true : refuse(l, "an operand broadcast along channels or batch");
}

static bool pool_has_form(qn_lowering *l, const qn_node *node)
{
    qn_window w;
    qn_item_shape shape;
    if (node->n_outputs > 1 && node->outputs[1] != QN_NO_VALUE && l->binding->used[node->outputs[1]]) {
        return refuse(l, "indices of maxima");
    }
    return qn_window_of_node(&w, l->binding, node, NULL) == QN_OK && qn_lower_shape(l, node->inputs[0], &shape) &&
           qn_lower_shape(l, node->outputs[0], &shape);
}

static bool clip_has_form(qn_lowering *l, const qn_node *node)
{
    qn_clip clip;
    return qn_clip_of_node(&clip, l->binding, node, NULL) == QN_OK ? true : refuse(l, "bounds that are not constant");
}

static bool function_has_form(qn_lowering *l, const qn_node *node)
{
    qn_value_id source = QN_NO_VALUE;
    return qn_function_of(l->graph, l->binding, node, &source)
               ? true
               : refuse(l, "it is no function of one value and of constants of one number");
}

/* Indices and sizes known; what is moved in is 0, which always has a code. */
static bool move_has_form(qn_lowering *l, const qn_node *node)
{
    qn_pad pad;
    qn_resize resize;
    for (int i = 1; i < node->n_inputs; i++) {
        if (bound_input(l, node, i) != NULL && bound_input(l, node, i)->known == NULL) {
            return refuse(l, "indices or sizes that are computed while the network runs");
        }
    }
    if (node->op == QN_OP_PAD &&
        (qn_pad_of_node(&pad, l->binding, node, NULL) != QN_OK || (pad.mode == QN_PAD_CONSTANT && pad.value != 0))) {
        return refuse(l, "a padding value that need not have a code");
    }
    if ((node->op == QN_OP_RESIZE || node->op == QN_OP_UPSAMPLE) &&
        (qn_resize_of_node(&resize, l->binding, node, NULL) != QN_OK || resize.mode != QN_RESIZE_NEAREST ||
         resize.coordinate == QN_RESIZE_CROP)) {
        return refuse(l, "elements between those of the input");
    }
    return true;
}

/* Rows of activations times a constant matrix, or two activations. */
static bool matmul_has_form(qn_lowering *l, const qn_node *node)
{
    qn_island_product product;
    qn_float_walk batch;
    if (bound_input(l, node, 1)->known != NULL) {
        return gemm_has_form(l, node);
    }
    return bound_input(l, node, 1)->dtype == QN_DTYPE_F32 && qn_island_find_product(l, node, &product, &batch);
}

/* Of two activations, or one and a constant that can be coded: it is copied along whatever axes. */
static bool pair_has_form(qn_lowering *l, const qn_node *node)
{
    const qn_bound_value *a = bound_input(l, node, 0), *b = bound_input(l, node, 1);
    return a->known != NULL && b->known != NULL ? refuse(l, "both operands are constant") : true;
}

static bool operator_has_form(qn_lowering *l, const qn_node *node)
{
    switch (node->op) {
    case QN_OP_CONV:
        return conv_has_form(l, node);
    case QN_OP_GEMM:
        return gemm_has_form(l, node);
    case QN_OP_REDUCE_MEAN:
        return qn_lower_mean_has_form(l, node);
    case QN_OP_LAYER_NORMALIZATION:
        return qn_lower_layer_norm_has_form(l, node);
    case QN_OP_MATMUL:
        return matmul_has_form(l, node);
    case QN_OP_ADD:
        return add_has_form(l, node);
    case QN_OP_MUL:
    case QN_OP_SUB:
        return pair_has_form(l, node);
    case QN_OP_AVERAGE_POOL:
    case QN_OP_GLOBAL_AVERAGE_POOL:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_MAX_POOL:
        return pool_has_form(l, node);
    case QN_OP_DEPTH_TO_SPACE:
    case QN_OP_EXPAND:
    case QN_OP_GATHER_ELEMENTS:
    case QN_OP_GATHER_ND:
    case QN_OP_PAD:
    case QN_OP_RESIZE:
    case QN_OP_SPACE_TO_DEPTH:
    case QN_OP_SPLIT:
    case QN_OP_TILE:
    case QN_OP_UPSAMPLE:
        return move_has_form(l, node);
    case QN_OP_CLIP:
        return clip_has_form(l, node);
    default:
        return !qn_function_has(node->op) || function_has_form(l, node);
    }
}

/* Everything it makes is known before anything runs, or read by nobody. */
static bool needs_no_run(const qn_binding *binding, const qn_node *node)
{
    for (int i = 0; i < node->n_outputs; i++) {
        qn_value_id value = node->outputs[i];
        if (value != QN_NO_VALUE && binding->used[value] && binding->values[value].known == NULL) {
            return false;
        }
    }
    return true;
}

static bool has_form(qn_lowering *l, const qn_node *node)
{
    const qn_bound_value *x = bound_input(l, node, 0);
    qn_status status;
    qn_item_shape shape;
    if (!qn_integer_supports_codes(node->op)) {
        return refuse(l, NULL);
    }
    const bool either = node->op == QN_OP_ADD || node->op == QN_OP_CONCAT || qn_function_has(node->op);
    if (x == NULL || x->dtype != QN_DTYPE_F32 || l->binding->values[node->outputs[0]].dtype != QN_DTYPE_F32) {
        return refuse(l, "a value that is not float32");
    }
    if (x->known != NULL && !either) { /* others may have a constant first */
        return refuse(l, "an input that is constant");
    }
    return qn_lower_plain_shape(l, node->outputs[0], &shape) && qn_lower_separable(l, node, &status, NULL) &&
           operator_has_form(l, node);
}

bool qn_integer_has_form(const qn_graph *graph, const qn_binding *binding, const qn_node *node, const char **reason)
{
    qn_lowering l = {.graph = graph, .binding = binding, .items = binding->batch > 0 ? binding->batch : 1};
    bool has = node->op == QN_OP_REMOVED || needs_no_run(binding, node) || has_form(&l, node);
    if (reason != NULL) {
        *reason = has ? NULL : l.reason;
    }
    return has;
}
