/* Softmax, LayerNormalization and products of two activations on codes (doc/spec/arithmetic.md 3.10 to 3.12). */
#include <math.h>

#include "engine/integer/island.h"
#include "graph/compute/real_math.h"

/* Plain codes of input `index` as a row of `width` pixels. */
static int plain_input(qn_lowering *l, const qn_node *node, int index, int64_t width, int64_t channels,
                       qn_status *status, qn_error *err)
{
    const qn_item_shape shape = {1, (int)width, (int)channels};
    return qn_lower_plain_codes(l, node, node->inputs[index], &shape, status, err);
}

/* The step, into the codes of the node's result; NULL with a reason or *status. */
static qn_integer_step *rows_step(qn_lowering *l, const qn_node *node, int input, int64_t width, int64_t channels,
                                  qn_code_params *params, qn_status *status, qn_error *err)
{
    const qn_value_id value = qn_lower_result(l, node, params, status, err);
    if (value == QN_NO_VALUE) {
        return NULL;
    }
    const qn_item_shape shape = {1, (int)width, (int)channels};
    const int output = qn_lower_tensor(l, value, &shape, params);
    l->code->tensors[output].plain = true;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_ROWS, node, input, output);
    step->u.rows.lanes = qn_rows_lanes_for(l->cpu);
    return step;
}

static double exponential(double x)
{
    const lane_reals from = LANE_ALL(x);
    lane_reals y;
    lane_exp(&y, &from);
    return y[0];
}

/* False where the scale of the result leaves no room for quotients. */
static bool set_softmax(qn_softmax_codes *p, const qn_code_params *x, const qn_code_params *y)
{
    enum { LEAST = -8, MOST = 25 };
    int exponent;
    frexp(1 / (double)y->scale, &exponent);
    if (exponent < LEAST || exponent > MOST) {
        return false;
    }
    const double part = ldexp(1, 31 - exponent) / (double)y->scale;
    for (int d = 0; d < 256; d++) {
        const double e = exponential(-(d * (double)x->scale));
        p->share[d] = (uint32_t)rint(e * 0x1p31);
        p->part[d] = (uint32_t)rint(e * part);
    }
    p->left = exponent > 0 ? exponent : 0;
    p->right = exponent < 0 ? -exponent : 0;
    p->zero_point = y->zero_point;
    p->lo = y->lo;
    p->hi = y->hi;
    return true;
}

qn_status qn_lower_softmax(qn_lowering *l, const qn_node *node, qn_error *err)
{
    enum { MOST = 1 << 23 };
    qn_softmax shape;
    qn_code_params params;
    qn_status status;
    QN_TRY(qn_softmax_of_node(&shape, l->binding, node, err));
    const int64_t width = shape.outer / l->items, channels = shape.n * shape.inner;
    if (shape.n > MOST || width * channels > INT32_MAX) {
        l->reason = "a Softmax over more than 2^23 elements";
        return QN_OK;
    }
    const int input = plain_input(l, node, 0, width, channels, &status, err);
    if (input < 0) {
        return status;
    }
    qn_softmax_codes *p = qn_arena_alloc(l->arena, sizeof *p);
    if (p == NULL) {
        return qn_fail_memory(err, NULL, sizeof *p);
    }
    qn_integer_step *step = rows_step(l, node, input, width, channels, &params, &status, err);
    if (step == NULL) {
        return status;
    }
    const qn_code_params x = qn_code_params_of(qn_lower_tensor_at(l, input));
    if (!set_softmax(p, &x, &params)) {
        l->reason = "a Softmax whose output scale is not within 2^-25 and 2^8";
        return QN_OK;
    }
    step->u.rows.softmax = p;
    step->u.rows.n = (int)shape.n;
    step->u.rows.inner = (int)shape.inner;
    return QN_OK;
}

static double most_of(const float *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; x != NULL && i < n; i++) {
        const double a = fabs((double)x[i]);
        most = a <= most || isnan(most) ? most : a; /* a NaN stays */
    }
    return most;
}

/* How far the variance can be raised within 62 bits. */
static bool set_variance(qn_norm_codes *p, double epsilon, double scale)
{
    const double n = (double)p->n, add = epsilon / (scale * scale) * (n * n), all = 0x1p14 * (n * n) + add;
    p->half = 15;
    while (p->half >= 0 && !(ldexp(all, 2 * p->half) < 0x1p62)) {
        p->half--;
    }
    if (p->half < 0 || !(epsilon >= 0)) {
        return false;
    }
    p->add = (int64_t)rint(ldexp(add, 2 * p->half));
    return true;
}

/* gamma and beta in units of output codes. */
static bool set_affine(qn_norm_codes *p, int32_t *gain, int64_t *offset, const float *gamma, const float *beta,
                       double scale)
{
    const double most_gain = most_of(gamma, p->n) / scale, most_offset = most_of(beta, p->n) / scale;
    int bits = 30;
    while (bits >= 0 && !(ldexp(most_gain, bits) < 0x1p30 && ldexp(most_offset, bits + QN_NORM_BITS) < 0x1p61)) {
        bits--;
    }
    if (bits < 0) {
        return false;
    }
    for (int64_t i = 0; i < p->n; i++) {
        gain[i] = (int32_t)rint(ldexp((double)gamma[i] / scale, bits));
        offset[i] = beta != NULL ? (int64_t)rint(ldexp((double)beta[i] / scale, bits + QN_NORM_BITS)) : 0;
    }
    p->gain = gain;
    p->bias = offset;
    p->right = bits + QN_NORM_BITS;
    return true;
}

/* A constant of n numbers; NULL for an absent one. False with a reason. */
static bool constant_of(qn_lowering *l, const qn_node *node, int index, int64_t n, const float **x)
{
    *x = NULL;
    if (index >= node->n_inputs || node->inputs[index] == QN_NO_VALUE) {
        return true;
    }
    const qn_tensor *known = l->binding->values[node->inputs[index]].known;
    if (known == NULL || known->dtype != QN_DTYPE_F32 || qn_tensor_count(known) != n) {
        l->reason = "a scale or bias that is not a constant with one number per element";
        return false;
    }
    *x = known->data;
    return true;
}

static bool reads_moments(const qn_lowering *l, const qn_node *node)
{
    for (int i = 1; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && l->binding->used[node->outputs[i]]) {
            return true;
        }
    }
    return false;
}

typedef struct norm_shape {
    int64_t width, n;
    const float *gamma, *beta;
} norm_shape;

/* False with a reason or *status. */
static bool find_norm(qn_lowering *l, const qn_node *node, norm_shape *shape, qn_status *status, qn_error *err)
{
    int axis, rank;
    int64_t dims[QN_MAX_RANK];
    *status = qn_axis_of_node(&axis, l->binding, node, err);
    if (*status != QN_OK || !qn_lower_dims(l, node->inputs[0], dims, &rank)) {
        return false;
    }
    if (reads_moments(l, node)) {
        l->reason = "means or deviations that are read";
        return false;
    }
    *shape = (norm_shape){.width = 1, .n = 1};
    for (int i = 0; i < rank; i++) {
        shape->width *= i < axis ? dims[i] : 1;
        shape->n *= i < axis ? 1 : dims[i];
    }
    if (shape->n > QN_NORM_MOST || shape->n < 1 || shape->width * shape->n > INT32_MAX) {
        l->reason = "a normalization over more than 2^20 elements";
        return false;
    }
    return constant_of(l, node, 1, shape->n, &shape->gamma) && constant_of(l, node, 2, shape->n, &shape->beta);
}

bool qn_lower_layer_norm_has_form(qn_lowering *l, const qn_node *node)
{
    norm_shape shape;
    qn_status status;
    return find_norm(l, node, &shape, &status, NULL);
}

qn_status qn_lower_layer_norm(qn_lowering *l, const qn_node *node, qn_error *err)
{
    norm_shape shape;
    qn_code_params params;
    qn_status status;
    if (!find_norm(l, node, &shape, &status, err)) {
        return status;
    }
    const int64_t width = shape.width, n = shape.n;
    const int input = plain_input(l, node, 0, width, n, &status, err);
    if (input < 0) {
        return status;
    }
    qn_norm_codes *p = qn_arena_alloc(l->arena, sizeof *p);
    int32_t *gain = qn_arena_array(l->arena, (size_t)n, sizeof *gain);
    int64_t *offset = qn_arena_array(l->arena, (size_t)n, sizeof *offset);
    if (p == NULL || gain == NULL || offset == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *offset);
    }
    qn_integer_step *step = rows_step(l, node, input, width, n, &params, &status, err);
    if (step == NULL) {
        return status;
    }
    *p = (qn_norm_codes){.n = n, .zero_point = params.zero_point, .lo = params.lo, .hi = params.hi};
    if (!set_variance(p, (double)qn_node_float(node, "epsilon", 1e-5f), (double)qn_lower_tensor_at(l, input)->scale) ||
        !set_affine(p, gain, offset, shape.gamma, shape.beta, (double)params.scale)) {
        l->reason = "an epsilon, scale or bias beyond what 62 bits hold";
        return QN_OK;
    }
    step->u.rows.norm = p;
    step->u.rows.n = (int)n;
    step->u.rows.inner = 1;
    return QN_OK;
}

/* Where both factors of each batch start, in their rows. */
static bool set_batches(qn_lowering *l, qn_integer_product *p, const qn_island_product *one, const qn_float_walk *walk)
{
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0}, n = 1;
    const int last = walk->rank - 1;
    for (int i = 0; i < walk->rank; i++) {
        n *= walk->dims[i];
    }
    int32_t *left = qn_arena_array(l->arena, (size_t)n, sizeof *left);
    int32_t *right = qn_arena_array(l->arena, (size_t)n, sizeof *right);
    if (left == NULL || right == NULL) {
        return false;
    }
    *p = (qn_integer_product){.m = (int)one->m, .n = (int)one->n, .k = (int)one->k, .left = left, .right = right};
    do {
        for (int64_t i = 0; i < walk->dims[last]; i++) {
            left[p->n_batches] = (int32_t)((offsets[0] + i * walk->strides[0][last]) / one->k);
            right[p->n_batches++] = (int32_t)((offsets[1] + i * walk->strides[1][last]) / one->n);
        }
    } while (qn_float_walk_next(walk, index, offsets));
    return true;
}

/* The greatest |code - zero point|. */
static int64_t greatest(const qn_integer_tensor *t)
{
    const int32_t below = t->zero_point - t->lo, above = t->hi - t->zero_point;
    return below > above ? below : above;
}

qn_status qn_lower_product(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_island_product one;
    qn_float_walk walk;
    qn_code_params params;
    qn_status status;
    int input[2];
    int64_t count[2];
    if (!qn_island_find_product(l, node, &one, &walk)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        const int64_t row = i == 0 ? one.k : one.n;
        if (!qn_island_count(l, node->inputs[i], &count[i])) {
            return QN_OK;
        }
        if (count[i] == 0) {
            l->reason = "an empty value";
            return QN_OK;
        }
        input[i] = plain_input(l, node, i, count[i] / row, row, &status, err);
        if (input[i] < 0) {
            return status;
        }
    }
    qn_integer_product *p = qn_arena_alloc(l->arena, sizeof *p);
    if (p == NULL || !set_batches(l, p, &one, &walk)) {
        return qn_fail_memory(err, NULL, sizeof *p);
    }
    qn_integer_step *step = rows_step(l, node, input[0], (int64_t)p->n_batches * p->m, p->n, &params, &status, err);
    if (step == NULL) {
        return status;
    }
    step->input[1] = input[1];
    step->u.rows.product = p;
    const qn_integer_tensor *a = qn_lower_tensor_at(l, input[0]), *b = qn_lower_tensor_at(l, input[1]);
    const int64_t most = greatest(a) * greatest(b);
    const int bits = qn_lower_accumulator_bits(l, p->k, most > 0 ? most : 1);
    const bool overflows = bits < 32 || p->k > INT32_MAX / (most > 0 ? most : 1);
    p->saturate_bits = l->arithmetic.saturate && overflows ? bits : 0;
    p->run = qn_requantize_select(l->cpu);
    p->requantize =
        (qn_requantize_params){.bits = bits, .zero_point = params.zero_point, .lo = params.lo, .hi = params.hi};
    return qn_lower_one_ratio(l, &p->requantize, a->scale, b->scale, params.scale, p->n, err);
}
