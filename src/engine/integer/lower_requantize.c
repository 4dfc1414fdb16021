/* Arithmetics other than the default: ratios of scales as integers, sums in integers, narrow accumulators
 * (doc/spec/arithmetic.md, section 4). */
#include "engine/integer/lower.h"

#include <math.h>
#include <stdio.h>

#include "engine/integer/multiplier.h"

enum { VECTOR = 16, TABLE = 256 };

static int accumulator_bits(const qn_lowering *l)
{
    return l->arithmetic.accumulator_bits == 0 ? 32 : l->arithmetic.accumulator_bits;
}

int qn_lower_accumulator_bits(const qn_lowering *l, int64_t n, int64_t most)
{
    const int bits = accumulator_bits(l);
    return bits < 32 && n > ((INT64_C(1) << (bits - 1)) - 1) / most ? bits : 32;
}

bool qn_lower_requantizes(const qn_lowering *l)
{
    return l->arithmetic.requantize != QN_REQUANTIZE_FLOAT || accumulator_bits(l) < 32 || l->arithmetic.saturate;
}

static qn_ratio_rounding rounding_of(const qn_lowering *l)
{
    return (qn_ratio_rounding){l->arithmetic.rounding, l->arithmetic.twice};
}

/* An integer ratio, or a reason that names channel k (-1: none). */
static bool ratio_of(qn_lowering *l, qn_ratio *ratio, double value, int k)
{
    if (qn_ratio_of(ratio, value, l->arithmetic.requantize)) {
        return true;
    }
    char channel[32] = "", text[256];
    if (k >= 0) {
        snprintf(channel, sizeof channel, " of channel %d", k);
    }
    if (!isfinite(value)) {
        l->reason = "scales whose ratio is beyond float64";
        return false;
    }
    snprintf(text, sizeof text,
             "a ratio of scales%s, %.9g, that is not %s; fold it into the weights, or requantize in fixed", channel,
             value,
             l->arithmetic.requantize == QN_REQUANTIZE_SHIFT ? "a power of two" : "the sum of two powers of two");
    l->reason = qn_arena_string(l->arena, text);
    l->reason = l->reason != NULL ? l->reason : "a ratio of scales that no shift has";
    l->final = true;
    return false;
}

bool qn_lower_fixed_table(qn_lowering *l, const qn_code_params *from, const qn_code_params *to, uint8_t table[256])
{
    qn_ratio ratio;
    const double value = (double)from->scale / (double)to->scale;
    /* a table costs the same for any ratio: where shifts have none, it is that of a multiplier */
    if (!qn_ratio_of(&ratio, value, l->arithmetic.requantize) && !qn_ratio_of(&ratio, value, QN_REQUANTIZE_FIXED)) {
        return ratio_of(l, &ratio, value, -1); /* says why */
    }
    const qn_requantize_params p = {.zero_point = to->zero_point, .lo = to->lo, .hi = to->hi};
    for (int code = 0; code < TABLE; code++) {
        table[code] = qn_requantize_code(qn_ratio_apply(code - from->zero_point, ratio, rounding_of(l)), &p);
    }
    return true;
}

/* Integer ratios of n channels, in arrays that vectors may read past. */
static bool set_ratios(qn_lowering *l, qn_requantize_params *p, double (*value_of)(const void *, int), const void *ctx,
                       int n, qn_status *status, qn_error *err)
{
    int32_t *multiplier = qn_arena_array(l->arena, (size_t)n + VECTOR, sizeof *multiplier);
    int32_t *shift = qn_arena_array(l->arena, (size_t)n + VECTOR, sizeof *shift);
    if (multiplier == NULL || shift == NULL) {
        *status = qn_fail_memory(err, NULL, (size_t)n * sizeof *shift);
        return false;
    }
    for (int k = 0; k < n; k++) {
        qn_ratio ratio;
        if (!ratio_of(l, &ratio, value_of(ctx, k), k)) {
            return false;
        }
        multiplier[k] = ratio.multiplier;
        shift[k] = ratio.shift;
    }
    p->multiplier = multiplier;
    p->shift = shift;
    return true;
}

typedef struct scales {
    float x, y;
    const float *w;
    int64_t n_w;
    bool product_in_f32;
} scales;

static double ratio_of_channel(const void *ctx, int k)
{
    const scales *s = ctx;
    return qn_integer_real_ratio(s->x, s->w[s->n_w == 1 ? 0 : k], s->y, s->product_in_f32);
}

/* The f32 ratios of the default arithmetic, in the order of channels. */
static bool set_float_ratios(qn_lowering *l, qn_requantize_params *p, const scales *s, int n, qn_status *status,
                             qn_error *err)
{
    float *ratio = qn_arena_array(l->arena, (size_t)n + VECTOR, sizeof *ratio);
    if (ratio == NULL) {
        *status = qn_fail_memory(err, NULL, (size_t)n * sizeof *ratio);
        return false;
    }
    for (int k = 0; k < n; k++) {
        if (!qn_integer_multiplier(&ratio[k], s->x, s->w[s->n_w == 1 ? 0 : k], s->y)) {
            l->reason = "scales whose ratio is beyond float32";
            return false;
        }
    }
    p->ratio = ratio;
    return true;
}

qn_status qn_lower_one_ratio(qn_lowering *l, qn_requantize_params *params, float scale_x, float scale_w, float scale_y,
                             int n, qn_error *err)
{
    qn_status status = QN_OK;
    params->how = rounding_of(l);
    if (l->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        const scales s = {scale_x, scale_y, &scale_w, 1, true};
        (void)set_float_ratios(l, params, &s, n, &status, err);
        return status;
    }
    const double value = qn_integer_real_ratio(scale_x, scale_w, scale_y, true);
    int32_t *multiplier = qn_arena_array(l->arena, (size_t)n + VECTOR, sizeof *multiplier);
    int32_t *shift = qn_arena_array(l->arena, (size_t)n + VECTOR, sizeof *shift);
    qn_ratio ratio;
    if (multiplier == NULL || shift == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *shift);
    }
    if (!qn_ratio_of(&ratio, value, l->arithmetic.requantize) && !qn_ratio_of(&ratio, value, QN_REQUANTIZE_FIXED)) {
        (void)ratio_of(l, &ratio, value, -1); /* says why */
        return QN_OK;
    }
    for (int k = 0; k < n; k++) {
        multiplier[k] = ratio.multiplier;
        shift[k] = ratio.shift;
    }
    params->multiplier = multiplier;
    params->shift = shift;
    return QN_OK;
}

/* Can a sum, or a part of it, leave the accumulator? */
static bool can_overflow(const qn_integer_conv *conv, int bits)
{
    for (int k = 0; k < conv->n_groups * conv->group_outputs; k++) {
        if (conv->bound[k] >= INT64_C(1) << (bits - 1)) {
            return true;
        }
    }
    return false;
}

/* The bias as it was before the input's zero point was folded into it. */
static qn_status find_plain_bias(qn_lowering *l, const qn_integer_step *step, qn_integer_requantize *r, qn_error *err)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_weight_layout *layout = &conv->layout;
    const int n = conv->n_groups * conv->group_outputs;
    const int per_layout = step->kind == QN_STEP_DEPTHWISE ? n : conv->group_outputs;
    r->plain_bias = qn_arena_array(l->arena, (size_t)n, sizeof *r->plain_bias);
    if (r->plain_bias == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *r->plain_bias);
    }
    for (int k = 0; k < n; k++) {
        const size_t group = (size_t)(k / per_layout);
        const void *weights = (const char *)conv->weights + group * conv->group_bytes;
        int32_t sum = 0;
        for (int s = 0; s < layout->n_segments; s++) {
            for (int j = 0; j < layout->segment_elems; j++) {
                sum = qn_add_wrap_s32(sum, qn_layout_get(layout, weights, k % per_layout, s, j));
            }
        }
        const int32_t folded =
            conv->bias[group * conv->group_entries + (size_t)qn_layout_channel(layout, k % per_layout)];
        r->plain_bias[k] = qn_add_wrap_s32(folded, qn_mul_wrap_s32(r->zero_x, sum));
    }
    return QN_OK;
}

/* How the step's sums come about. */
static qn_status set_sums(qn_lowering *l, qn_integer_step *step, qn_integer_requantize *r, qn_error *err)
{
    const bool overflows = can_overflow(&step->u.conv, accumulator_bits(l));
    step->u.conv.requantize = r;
    r->params.bits = overflows ? accumulator_bits(l) : 32;
    if (!overflows || !l->arithmetic.saturate) {
        r->sums = step->u.conv.sums;
        return QN_OK;
    }
    r->zero_x = l->code->tensors[step->input[0]].zero_point;
    r->by_matrix = step->node->op != QN_OP_CONV;
    return find_plain_bias(l, step, r, err);
}

qn_status qn_lower_requantize(qn_lowering *l, qn_integer_step *step, float scale_x, const float *scale_w, int64_t n_w,
                              float scale_y, qn_error *err)
{
    qn_integer_conv *conv = &step->u.conv;
    const int bits = accumulator_bits(l), n = conv->n_groups * conv->group_outputs;
    const bool overflows = can_overflow(conv, bits);
    const bool is_default = l->arithmetic.requantize == QN_REQUANTIZE_FLOAT;
    if (is_default && (!overflows || (bits == 32 && !l->arithmetic.saturate))) {
        return QN_OK;
    }
    qn_integer_requantize *r = qn_arena_alloc(l->arena, sizeof *r);
    if (r == NULL) {
        return qn_fail_memory(err, NULL, sizeof *r);
    }
    r->params =
        (qn_requantize_params){.how = rounding_of(l), .zero_point = conv->zero_point, .lo = conv->lo, .hi = conv->hi};
    r->run = qn_requantize_select(l->cpu);
    const scales s = {scale_x, scale_y, scale_w, n_w, step->node->op != QN_OP_CONV};
    qn_status status = QN_OK;
    if (is_default ? !set_float_ratios(l, &r->params, &s, n, &status, err)
                   : !set_ratios(l, &r->params, ratio_of_channel, &s, n, &status, err)) {
        return status;
    }
    return set_sums(l, step, r, err);
}

qn_status qn_lower_decode(qn_lowering *l, qn_integer_step *step, float scale_x, const float *scale_w, int64_t n_w,
                          qn_integer_decode *decode, qn_error *err)
{
    const int n = step->u.conv.n_groups * step->u.conv.group_outputs;
    qn_integer_requantize *r = qn_arena_alloc(l->arena, sizeof *r);
    qn_integer_decode *copy = qn_arena_alloc(l->arena, sizeof *copy);
    float *scale = qn_arena_array(l->arena, (size_t)n, sizeof *scale);
    if (r == NULL || copy == NULL || scale == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *scale);
    }
    for (int k = 0; k < n; k++) {
        if (!qn_integer_decode_scale(&scale[k], scale_x, scale_w[n_w == 1 ? 0 : k])) {
            l->reason = "scales whose product is beyond float32";
            return QN_OK;
        }
    }
    *copy = *decode;
    copy->scale = scale;
    r->decode = copy;
    return set_sums(l, step, r, err);
}

/* One operand's terms: code to round((code - zero) * 2^20 * ratio), ratio in 31 bits. */
static bool set_terms(qn_lowering *l, qn_integer_fixed_add *fixed, int i, int32_t zero, double value)
{
    if (!qn_ratio_of(&fixed->operand[i], value, QN_REQUANTIZE_FIXED)) {
        l->reason = "scales whose ratio is beyond float64";
        return false;
    }
    for (int code = 0; code < TABLE; code++) {
        fixed->term[i][code] =
            qn_ratio_apply((code - zero) * (1 << QN_FIXED_ADD_LEFT), fixed->operand[i], rounding_of(l));
    }
    return true;
}

/* One ratio for whatever is added or multiplied; NULL with *status. */
static qn_integer_fixed_add *new_fixed(qn_lowering *l, const qn_integer_add *add, qn_ratio ratio, qn_status *status,
                                       qn_error *err)
{
    qn_integer_fixed_add *fixed = qn_arena_alloc(l->arena, sizeof *fixed);
    int32_t *multiplier = qn_arena_array(l->arena, QN_FIXED_ADD_RUN + VECTOR, sizeof *multiplier);
    int32_t *shift = qn_arena_array(l->arena, QN_FIXED_ADD_RUN + VECTOR, sizeof *shift);
    if (fixed == NULL || multiplier == NULL || shift == NULL) {
        *status = qn_fail_memory(err, NULL, sizeof *fixed);
        return NULL;
    }
    for (int i = 0; i < QN_FIXED_ADD_RUN; i++) {
        multiplier[i] = ratio.multiplier;
        shift[i] = ratio.shift;
    }
    fixed->params = (qn_requantize_params){.multiplier = multiplier,
                                           .shift = shift,
                                           .how = rounding_of(l),
                                           .bits = 32,
                                           .zero_point = add->params.zero_point,
                                           .lo = add->params.lo,
                                           .hi = add->params.hi};
    fixed->run = qn_requantize_select(l->cpu);
    return fixed;
}

qn_status qn_lower_fixed_add(qn_lowering *l, qn_integer_add *add, float scale_a, float scale_b, float scale_y,
                             bool negated, qn_error *err)
{
    qn_status status = QN_OK;
    qn_ratio ratio;
    const double widest = 2 * (double)(scale_a > scale_b ? scale_a : scale_b);
    if (!l->arithmetic.fixed_sums) {
        return QN_OK;
    }
    if (!qn_ratio_of(&ratio, widest / ((1 << QN_FIXED_ADD_LEFT) * (double)scale_y), QN_REQUANTIZE_FIXED)) {
        l->reason = "scales whose ratio is beyond float64";
        return QN_OK;
    }
    qn_integer_fixed_add *fixed = new_fixed(l, add, ratio, &status, err);
    if (fixed == NULL) {
        return status;
    }
    if (set_terms(l, fixed, 0, add->params.zero_a, (double)scale_a / widest) &&
        set_terms(l, fixed, 1, add->params.zero_b, (double)scale_b / widest)) {
        for (int code = 0; negated && code < TABLE; code++) {
            fixed->term[1][code] = -fixed->term[1][code];
        }
        add->fixed = fixed;
    }
    return QN_OK;
}

qn_status qn_lower_fixed_mul(qn_lowering *l, qn_integer_add *add, float scale_a, float scale_b, float scale_y,
                             qn_error *err)
{
    qn_status status = QN_OK;
    qn_ratio ratio;
    const double value = (double)(scale_a * scale_b / scale_y);
    if (l->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        return QN_OK;
    }
    if (!qn_ratio_of(&ratio, value, l->arithmetic.requantize) && !qn_ratio_of(&ratio, value, QN_REQUANTIZE_FIXED)) {
        l->reason = "scales whose ratio is beyond float64";
        return QN_OK;
    }
    qn_integer_fixed_add *fixed = new_fixed(l, add, ratio, &status, err);
    if (fixed != NULL) {
        fixed->product = true;
        fixed->zero[0] = add->params.zero_a;
        fixed->zero[1] = add->params.zero_b;
        add->fixed = fixed;
    }
    return status;
}

qn_status qn_lower_fixed_average(qn_lowering *l, qn_integer_pool *pool, const qn_code_params *x,
                                 const qn_code_params *y, int32_t raised, bool seen, qn_error *err)
{
    if (!l->arithmetic.fixed_sums) {
        return QN_OK;
    }
    qn_integer_fixed_average *fixed = qn_arena_alloc(l->arena, sizeof *fixed);
    if (fixed == NULL) {
        return qn_fail_memory(err, NULL, sizeof *fixed);
    }
    fixed->how = rounding_of(l);
    fixed->rescales = x->scale != y->scale || x->zero_point != y->zero_point || !seen;
    fixed->centre = fixed->rescales ? x->zero_point : raised;
    fixed->zero_point = fixed->rescales ? y->zero_point : raised;
    if (!qn_ratio_of(&fixed->ratio, (double)x->scale / (double)y->scale, QN_REQUANTIZE_FIXED)) {
        l->reason = "scales whose ratio is beyond float64";
        return QN_OK;
    }
    pool->fixed = fixed;
    return QN_OK;
}

/* Bytes that a step wants; false where they are beyond an address space. */
static bool room_of(const qn_integer_code *code, const qn_integer_step *step, size_t *n_bytes)
{
    *n_bytes = 0;
    if (step->kind == QN_STEP_ROWS && step->u.rows.product != NULL) {
        return qn_product_scratch(step->u.rows.product->k, step->u.rows.product->n, n_bytes);
    }
    if ((step->kind != QN_STEP_CONV && step->kind != QN_STEP_DEPTHWISE) || step->u.conv.requantize == NULL) {
        return true;
    }
    const qn_integer_tensor *y = &code->tensors[step->output];
    return qn_mul_size((size_t)y->width, (size_t)y->channels, n_bytes) &&
           qn_mul_size(*n_bytes, sizeof(int32_t), n_bytes);
}

qn_status qn_lower_reserve_sums(qn_lowering *l, qn_error *err)
{
    qn_integer_code *code = l->code;
    size_t most = 0, one;
    for (int i = 0; i < code->n_steps; i++) {
        if (!room_of(code, &code->steps[i], &one)) {
            return qn_fail(err, QN_ELIMIT, NULL, "the sums of a row do not fit an address space");
        }
        most = most > one ? most : one;
    }
    code->sums_offset = (code->arena_bytes + QN_CACHE_LINE - 1) / QN_CACHE_LINE * QN_CACHE_LINE;
    if (most > 0 && !qn_add_size(code->sums_offset, most, &code->arena_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the network's values do not fit an address space");
    }
    return QN_OK;
}
