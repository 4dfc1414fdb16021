/* Add, pooling, lookups and Concat (doc/spec/arithmetic.md 3.4 to 3.7). */
#include "engine/integer/lower.h"

#include <math.h>
#include <string.h>

const uint8_t *qn_lower_table(qn_lowering *l, const qn_code_params *from, const qn_code_params *to)
{
    uint8_t *table = qn_arena_alloc(l->arena, 256);
    if (table != NULL && l->arithmetic.requantize != QN_REQUANTIZE_FLOAT) {
        return qn_lower_fixed_table(l, from, to, table) ? table : NULL;
    }
    for (int code = 0; table != NULL && code < 256; code++) {
        table[code] = qn_code_of(to, (float)(code - from->zero_point) * from->scale);
    }
    return table;
}

/* The quantizer of the node's own output; a value without one, as moves have, keeps its input's. */
static bool result_or_same(qn_lowering *l, qn_value_id value, const qn_code_params *same, qn_code_params *params)
{
    if (l->graph->values[value].quantizer == NULL) {
        *params = *same;
        return true;
    }
    return qn_lower_params(l, value, params);
}

static bool sane_ratio(float ratio)
{
    return ratio >= 0 && ratio <= 0x1p100f; /* so that sums of codes times ratios stay finite */
}

/* Byte steps of operand `t` in an output of this shape; false when it is broadcast along channels. */
static bool operand_steps(qn_lowering *l, const qn_integer_tensor *t, const qn_item_shape *shape, bool broadcast[2])
{
    broadcast[0] = t->height != shape->height;
    broadcast[1] = t->width != shape->width;
    if (t->channels != shape->channels || (broadcast[0] && t->height != 1) || (broadcast[1] && t->width != 1)) {
        l->reason = "an operand broadcast along channels or batch";
        return false;
    }
    return true;
}

qn_status qn_lower_add(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_status status;
    qn_item_shape shape;
    int input[2];
    if (!qn_lower_shape(l, node->outputs[0], &shape)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        input[i] = qn_lower_stretches(l, node, i, &shape) ? qn_lower_stretched(l, node, i, &shape, false, &status, err)
                                                          : qn_lower_input(l, node, i, &status, err);
        if (input[i] < 0) {
            return status;
        }
    }
    return qn_lower_add_step(l, node, input, &shape, false, err);
}

/* zero_y - (zero_a * ratio_a + zero_b * ratio_b) of the zero points as the model has them. */
static void fuse_sum(qn_add_params *add, int32_t raised_a, int32_t raised_b, int32_t raised)
{
    const float moved = (float)(add->zero_b - raised_b) * add->ratio_b;
    add->fused = true;
    add->raised_a = raised_a;
    add->raised_b = raised_b;
    add->raised = raised;
    add->fixed = (float)(add->zero_point - raised) - fmaf((float)(add->zero_a - raised_a), add->ratio_a, moved);
}

/* The numbers of an Add, a Sub or a Mul with scales a, b, y. */
static bool set_ratios(qn_add_params *p, qn_kernel_op *kernel, qn_op op, const float scales[3])
{
    p->ratio_a = scales[0] / scales[2];
    p->ratio_b = scales[1] / scales[2];
    const bool sane = sane_ratio(p->ratio_a) && sane_ratio(p->ratio_b);
    *kernel = QN_KERNEL_ADD;
    if (op == QN_OP_SUB) { /* as an island computes it; bounds as above keep its floats finite */
        *kernel = QN_KERNEL_SUB;
        p->ratio_a = scales[0];
        p->ratio_b = scales[1];
        return sane && sane_ratio(scales[0]) && sane_ratio(scales[1]);
    }
    if (op == QN_OP_MUL) {
        *kernel = QN_KERNEL_MUL;
        p->ratio_a = scales[0] * scales[1] / scales[2];
        return sane_ratio(p->ratio_a);
    }
    return sane;
}

qn_status qn_lower_add_step(qn_lowering *l, const qn_node *node, const int input[2], const qn_item_shape *whole,
                            bool plain, qn_error *err)
{
    qn_status status;
    qn_code_params params;
    const qn_item_shape shape = *whole;
    bool broadcast[2][2];
    for (int i = 0; i < 2; i++) {
        if (!operand_steps(l, qn_lower_tensor_at(l, input[i]), &shape, broadcast[i])) {
            return QN_OK;
        }
    }
    qn_value_id value = qn_lower_result(l, node, &params, &status, err);
    if (value == QN_NO_VALUE) {
        return status;
    }
    const qn_integer_tensor *a = qn_lower_tensor_at(l, input[0]), *b = qn_lower_tensor_at(l, input[1]);
    const float scales[3] = {a->scale, b->scale, params.scale};
    qn_add_params add = {.zero_a = a->zero_point,
                         .zero_b = b->zero_point,
                         .zero_point = params.zero_point,
                         .lo = params.lo,
                         .hi = params.hi,
                         .raised = params.raised,
                         .scale = params.scale};
    qn_kernel_op op;
    if (!set_ratios(&add, &op, node->op, scales)) {
        l->reason = "scales whose ratio is beyond float32";
        return QN_OK;
    }
    if (op == QN_KERNEL_ADD && l->arithmetic.fused_sums) {
        fuse_sum(&add, a->raised, b->raised, params.raised);
    }
    qn_integer_step *step = qn_lower_step(l, QN_STEP_ADD, node, input[0], qn_lower_tensor(l, value, &shape, &params));
    step->input[1] = input[1];
    l->code->tensors[step->output].plain = plain;
    step->kernel = qn_kernel_select(op, l->cpu, 0);
    step->u.add.params = add;
    for (int i = 0; i < 2; i++) { /* the plan makes bytes of these */
        step->u.add.row[i] = !broadcast[i][0];
        step->u.add.pixel[i] = !broadcast[i][1];
    }
    return op == QN_KERNEL_MUL
               ? qn_lower_fixed_mul(l, &step->u.add, scales[0], scales[1], scales[2], err)
               : qn_lower_fixed_add(l, &step->u.add, scales[0], scales[1], scales[2], op == QN_KERNEL_SUB, err);
}

static void pool_geometry(qn_integer_pool *pool, const qn_window *w)
{
    for (int i = 0; i < 2; i++) {
        pool->kernel[i] = (int)w->kernel[i];
        pool->stride[i] = (int)w->stride[i];
        pool->dilation[i] = (int)w->dilation[i];
        pool->pad[i] = (int)w->pad_begin[i];
    }
}

/* A window as large as the unpadded map is averaged over integers, as GlobalAveragePool is. */
static bool whole_map(const qn_window *w)
{
    return w->kernel[0] == w->in[0] && w->kernel[1] == w->in[1] && w->out[0] == 1 && w->out[1] == 1 &&
           w->pad_begin[0] == 0 && w->pad_begin[1] == 0 && w->pad_end[0] == 0 && w->pad_end[1] == 0;
}

static qn_kernel_op pool_kernel(const qn_node *node, const qn_window *w)
{
    if (node->op == QN_OP_MAX_POOL || node->op == QN_OP_GLOBAL_MAX_POOL) {
        return QN_KERNEL_MAXPOOL;
    }
    return whole_map(w) ? QN_KERNEL_SUMPOOL : QN_KERNEL_AVERAGEPOOL;
}

/* MaxPool moves codes; a quantizer of its own on the result is applied by a table afterwards. */
static qn_status lower_maxpool(qn_lowering *l, const qn_node *node, int input, const qn_item_shape *shape,
                               const qn_integer_pool *geometry, qn_error *err)
{
    qn_code_params from = qn_code_params_of(qn_lower_tensor_at(l, input)), to;
    if (node->n_outputs > 1 && node->outputs[1] != QN_NO_VALUE && l->binding->used[node->outputs[1]]) {
        l->reason = "indices of maxima";
        return QN_OK;
    }
    if (!result_or_same(l, node->outputs[0], &from, &to)) {
        return QN_OK;
    }
    int pooled = qn_lower_tensor(l, node->outputs[0], shape, &from);
    qn_integer_step *step = qn_lower_step(l, QN_STEP_POOL, node, input, pooled);
    step->kernel = qn_kernel_select(QN_KERNEL_MAXPOOL, l->cpu, 0);
    step->u.pool = *geometry;
    step->u.pool.params = (qn_pool_params){.lo = from.lo, .hi = from.hi};
    if (qn_code_params_equal(&from, &to)) {
        return QN_OK;
    }
    const uint8_t *table = qn_lower_table(l, &from, &to);
    if (table == NULL) {
        return l->reason != NULL ? QN_OK : qn_fail_memory(err, NULL, 256);
    }
    int output = qn_lower_tensor(l, node->outputs[0], shape, &to);
    step = qn_lower_step(l, QN_STEP_LOOKUP, node, pooled, output);
    step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
    step->u.lookup = (qn_integer_lookup){.table = table};
    return QN_OK;
}

static qn_status lower_average(qn_lowering *l, const qn_node *node, int input, const qn_item_shape *shape,
                               const qn_integer_pool *geometry, const qn_window *w, qn_error *err)
{
    qn_status status;
    qn_code_params params;
    qn_value_id value = qn_lower_result(l, node, &params, &status, err);
    if (value == QN_NO_VALUE) {
        return status;
    }
    const qn_integer_tensor *x = qn_lower_tensor_at(l, input);
    const float pixels = (float)(w->kernel[0] * w->kernel[1]);
    qn_pool_params pool = {.multiplier = x->scale / (params.scale * pixels),
                           .scale_x = x->scale,
                           .scale_y = params.scale,
                           .zero_x = x->zero_point,
                           .zero_point = params.zero_point,
                           .lo = params.lo,
                           .hi = params.hi,
                           .raised = params.raised};
    if (!sane_ratio(pool.multiplier) || !sane_ratio(x->scale / params.scale)) {
        l->reason = "scales whose ratio is beyond float32";
        return QN_OK;
    }
    int output = qn_lower_tensor(l, value, shape, &params);
    qn_integer_step *step = qn_lower_step(l, QN_STEP_POOL, node, input, output);
    step->kernel = qn_kernel_select(pool_kernel(node, w), l->cpu, 0);
    step->u.pool = *geometry;
    step->u.pool.params = pool;
    step->u.pool.divisor = w->count_include_pad ? pixels : 0;
    const qn_code_params from = qn_code_params_of(x);
    return qn_lower_fixed_average(l, &step->u.pool, &from, &params, params.raised,
                                  !w->count_include_pad || whole_map(w), err);
}

qn_status qn_lower_pool(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_window w;
    QN_TRY(qn_window_of_node(&w, l->binding, node, err));
    qn_status status;
    qn_item_shape shape;
    int input = qn_lower_input(l, node, 0, &status, err);
    if (input < 0 || !qn_lower_shape(l, node->outputs[0], &shape)) {
        return status;
    }
    qn_integer_pool geometry = {0};
    pool_geometry(&geometry, &w); /* pooling windows are checked to fit the padded input */
    if (pool_kernel(node, &w) == QN_KERNEL_MAXPOOL) {
        return lower_maxpool(l, node, input, &shape, &geometry, err);
    }
    return lower_average(l, node, input, &shape, &geometry, &w, err);
}

/* Plain codes as outer x n x inner, the mean over n adjoining axes that are not the last: that of a row would be one number
 * for the whole of what follows it, and is not worth 8 bits. */
typedef struct mean_shape {
    int64_t outer, n, inner;
} mean_shape;

static bool find_mean(qn_lowering *l, const qn_node *node, mean_shape *shape, qn_status *status, qn_error *err)
{
    qn_reduce reduce;
    int64_t dims[QN_MAX_RANK];
    int rank, blocks = 0;
    *status = qn_reduce_of_node(&reduce, l->binding, node, err);
    if (*status != QN_OK || !qn_lower_dims(l, node->inputs[0], dims, &rank)) {
        return false;
    }
    *shape = (mean_shape){1, 1, 1};
    for (int i = 0; i < rank; i++) {
        blocks += reduce.reduced[i] && (i == 0 || !reduce.reduced[i - 1]);
        int64_t *size = reduce.reduced[i] ? &shape->n : blocks == 0 ? &shape->outer : &shape->inner;
        *size *= dims[i];
    }
    if (blocks != 1 || rank < 2 || reduce.reduced[rank - 1] || shape->outer * shape->n * shape->inner > INT32_MAX) {
        l->reason = "a mean over the last axis, or over axes that do not adjoin";
        return false;
    }
    if (shape->outer * shape->n * shape->inner == 0) {
        l->reason = "an empty value";
        return false;
    }
    if (shape->n > INT32_MAX / 255) {
        l->reason = "a mean of so many codes that their sum leaves 32 bits";
        return false;
    }
    return true;
}

bool qn_lower_mean_has_form(qn_lowering *l, const qn_node *node)
{
    mean_shape shape;
    qn_status status;
    return find_mean(l, node, &shape, &status, NULL);
}

/* ReduceMean over tokens: the average of a whole map (3.5), for each of the outer axes. */
qn_status qn_lower_mean(qn_lowering *l, const qn_node *node, qn_error *err)
{
    mean_shape m;
    qn_status status;
    if (!find_mean(l, node, &m, &status, err)) {
        return status;
    }
    const qn_item_shape x_shape = {1, (int)(m.outer * m.n), (int)m.inner}, shape = {1, (int)m.outer, (int)m.inner};
    const int input = qn_lower_plain_codes(l, node, node->inputs[0], &x_shape, &status, err);
    if (input < 0) {
        return status;
    }
    const qn_window w = {.kernel = {1, m.n}, .in = {1, m.n}, .out = {1, 1}};
    const qn_integer_pool geometry = {.kernel = {1, (int)m.n}, .stride = {1, (int)m.n}, .dilation = {1, 1}};
    const int n_steps = l->code->n_steps;
    QN_TRY(lower_average(l, node, input, &shape, &geometry, &w, err));
    if (l->code->n_steps > n_steps) {
        l->code->tensors[l->code->steps[n_steps].output].plain = true;
    }
    return QN_OK;
}

qn_status qn_lower_unary(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_status status;
    qn_item_shape shape;
    int input = qn_lower_input(l, node, 0, &status, err);
    if (input < 0 || !qn_lower_shape(l, node->outputs[0], &shape)) {
        return status;
    }
    return qn_lower_unary_step(l, node, input, &shape, false, err);
}

/* A table of y = encode(clip(decode(x))). */
qn_status qn_lower_unary_step(qn_lowering *l, const qn_node *node, int input, const qn_item_shape *shape, bool plain,
                              qn_error *err)
{
    qn_code_params from = qn_code_params_of(qn_lower_tensor_at(l, input)), to;
    if (!result_or_same(l, node->outputs[0], &from, &to)) {
        return QN_OK;
    }
    qn_clip clip = {0, INFINITY};
    if (node->op == QN_OP_CLIP) {
        QN_TRY(qn_clip_of_node(&clip, l->binding, node, err));
    }
    uint8_t *table = qn_arena_alloc(l->arena, 256);
    if (table == NULL) {
        return l->reason != NULL ? QN_OK : qn_fail_memory(err, NULL, 256);
    }
    qn_code_params kept = to;
    if (l->arithmetic.requantize != QN_REQUANTIZE_FLOAT) {
        QN_TRY(qn_lower_narrow(l, node, &kept, err));
        if (!qn_lower_fixed_table(l, &from, &kept, table)) {
            return QN_OK;
        }
    }
    for (int code = 0; code < 256 && l->arithmetic.requantize == QN_REQUANTIZE_FLOAT; code++) {
        float x = (float)(code - from.zero_point) * from.scale;
        x = (double)x < clip.lo ? (float)clip.lo : x;
        x = (double)x > clip.hi ? (float)clip.hi : x;
        table[code] = qn_code_of(&to, x);
    }
    int output = qn_lower_tensor(l, node->outputs[0], shape, &to);
    l->code->tensors[output].plain = plain;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, node, input, output);
    step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
    step->u.lookup = (qn_integer_lookup){.table = table};
    return QN_OK;
}

/* One step per input, each into its part of the output. */
qn_status qn_lower_concat(qn_lowering *l, const qn_node *node, qn_error *err)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, l->binding, node, err));
    qn_item_shape shape;
    qn_code_params to;
    if (!qn_lower_shape(l, node->outputs[0], &shape) || !qn_lower_params(l, node->outputs[0], &to)) {
        return QN_OK;
    }
    const int rank = l->binding->values[node->outputs[0]].rank;
    if (axis == 0 || rank > 4) {
        l->reason = axis == 0 ? "concatenation along the batch" : "concatenation of more than two spatial dimensions";
        return QN_OK;
    }
    qn_integer_lookup place = {0};
    int output = -1;
    for (int i = 0; i < node->n_inputs; i++) {
        qn_status status;
        int input = qn_lower_input(l, node, i, &status, err);
        if (input < 0) {
            return status;
        }
        output = output < 0 ? qn_lower_tensor(l, node->outputs[0], &shape, &to) : output;
        const qn_integer_tensor *x = qn_lower_tensor_at(l, input);
        qn_code_params from = qn_code_params_of(x);
        place.table = NULL;
        if (!qn_code_params_equal(&from, &to)) {
            place.table = qn_lower_table(l, &from, &to);
            if (place.table == NULL) {
                return l->reason != NULL ? QN_OK : qn_fail_memory(err, NULL, 256);
            }
        }
        qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, node, input, output);
        step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
        step->u.lookup = place;
        place.k += axis == 1 ? x->channels : 0;
        place.x += axis == rank - 1 && axis != 1 ? x->width : 0;
        place.y += axis == 2 && rank == 4 ? x->height : 0;
    }
    return QN_OK;
}
