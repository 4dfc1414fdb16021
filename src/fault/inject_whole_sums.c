/* Sums of a layer with changed products, partial sums or accumulators, term by term from the codes that the model has
 * (doc/spec/arithmetic.md 3.2, 3.3, 3.9, 4.2, 4.5, 7.4); nothing is taken from packed weights. */
#include <stdlib.h>
#include <string.h>

#include "base/ratio.h"
#include "engine/integer/integer.h"
#include "fault/inject_whole.h"
#include "graph/arithmetic.h"

/* A layer as the model has it.
 *  window, gemm   of a Conv; of a Gemm or MatMul
 *  bias           s32 codes that belong to the sums, or NULL
 *  real_bias      f32, added to the decoded sums, or NULL */
typedef struct layer {
    const qn_integer_run *run;
    const qn_integer_step *step;
    const qn_integer_tensor *x, *y;
    bool is_conv, saturates;
    qn_window window;
    qn_gemm gemm;
    const qn_tensor *weights, *bias, *real_bias;
    const qn_quantizer *quantizer;
    qn_arithmetic arithmetic;
    int bits;
    int64_t n_terms;
} layer;

/* Element `i` of a value in its own order: byte of its tensor. */
static uint8_t *byte_at(const qn_integer_run *run, const qn_integer_tensor *t, int64_t i)
{
    uint8_t *codes = run->memory + t->offset;
    if (t->plain) {
        return codes + i;
    }
    const int64_t pixels = (int64_t)t->height * t->width, pixel = i % pixels;
    return codes + pixel / t->width * t->row + pixel % t->width * t->pixel + i / pixels;
}

/* The vector that an Add puts on the product, where the Add has no step of its own. */
static const qn_value *added_vector(const qn_program *program, const qn_node *node)
{
    const qn_graph *graph = &program->graph;
    const qn_integer_code *code = program->code;
    const qn_value_id product = node->outputs[0];
    for (size_t i = 0; i < graph->n_nodes && graph->values[product].quantizer == NULL; i++) {
        const qn_node *add = &graph->nodes[i];
        if (add->op != QN_OP_ADD || (add->inputs[0] != product && add->inputs[1] != product)) {
            continue;
        }
        for (int s = 0; s < code->n_steps; s++) {
            if (code->steps[s].node == add) {
                return NULL;
            }
        }
        return &graph->values[add->inputs[add->inputs[0] == product]];
    }
    return NULL;
}

static void find_bias(layer *l, const qn_program *program)
{
    const qn_node *node = l->step->node;
    const bool has = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_value *v = has ? &program->graph.values[node->inputs[2]] : added_vector(program, node);
    const qn_integer_requantize *r = l->step->u.conv.requantize;
    if (v != NULL && r != NULL && r->decode != NULL && r->decode->bias != NULL) {
        l->real_bias = has ? program->binding.values[node->inputs[2]].known : v->constant;
    } else if (v != NULL) {
        l->bias = v->codes;
    }
}

static qn_status describe(layer *l, const qn_program *program, const qn_integer_run *run, int step, qn_error *err)
{
    const qn_integer_code *code = program->code;
    *l = (layer){.run = run, .step = &code->steps[step]};
    const qn_node *node = l->step->node;
    l->x = &code->tensors[l->step->input[0]];
    l->y = &code->tensors[l->step->output];
    l->weights = program->graph.values[node->inputs[1]].codes;
    l->quantizer = program->graph.values[node->inputs[1]].quantizer;
    l->is_conv = node->op == QN_OP_CONV;
    if (l->is_conv) {
        QN_TRY(qn_window_of_node(&l->window, &program->binding, node, err));
        l->n_terms = l->window.kernel[0] * l->window.kernel[1] * (l->window.c_in / l->window.group);
    } else {
        QN_TRY(qn_gemm_of_node(&l->gemm, &program->binding, node, err));
        l->n_terms = l->gemm.k;
    }
    QN_TRY(qn_graph_get_arithmetic(&program->graph, &l->arithmetic, err));
    l->bits = l->arithmetic.accumulator_bits > 0 ? l->arithmetic.accumulator_bits : 32;
    l->saturates = l->arithmetic.saturate;
    find_bias(l, program);
    return QN_OK;
}

static int64_t channel_of(const layer *l, int64_t element)
{
    return l->is_conv ? element / (l->window.out[0] * l->window.out[1]) : element % l->gemm.n;
}

static int32_t weight_at(const layer *l, int64_t i, int64_t k)
{
    const int32_t code = l->weights->dtype == QN_DTYPE_S8 ? ((const int8_t *)l->weights->data)[i]
                                                          : ((const uint8_t *)l->weights->data)[i];
    return code - qn_quantizer_get(l->quantizer, l->quantizer->n == 1 ? 0 : k).zero_point;
}

/* (x - zero_x) * (w - zero_w) of term t; 0 in the padding. */
static int32_t product_of(const layer *l, int64_t element, int64_t t)
{
    const int64_t k = channel_of(l, element);
    int64_t x, w;
    if (l->is_conv) {
        const qn_window *g = &l->window;
        const int64_t channels = g->c_in / g->group, c = t % channels, s = t / channels % g->kernel[1];
        const int64_t r = t / channels / g->kernel[1], pixel = element % (g->out[0] * g->out[1]);
        const int64_t row = pixel / g->out[1] * g->stride[0] - g->pad_begin[0] + r * g->dilation[0];
        const int64_t column = pixel % g->out[1] * g->stride[1] - g->pad_begin[1] + s * g->dilation[1];
        if (row < 0 || row >= g->in[0] || column < 0 || column >= g->in[1]) {
            return 0;
        }
        const int64_t group = k / (g->c_out / g->group);
        x = ((group * channels + c) * g->in[0] + row) * g->in[1] + column;
        w = ((k * channels + c) * g->kernel[0] + r) * g->kernel[1] + s;
    } else {
        x = element / l->gemm.n * l->gemm.k + t;
        w = l->gemm.trans_b ? k * l->gemm.k + t : t * l->gemm.n + k;
    }
    return (*byte_at(l->run, l->x, x) - l->x->zero_point) * weight_at(l, w, k);
}

/* What the accumulator makes of a number. */
static int32_t held(const layer *l, int64_t sum)
{
    const int64_t limit = INT64_C(1) << (l->bits - 1);
    return l->saturates ? (int32_t)qn_clamp_s64(sum, -limit, limit - 1)
                        : qn_wrap_bits((int32_t)(uint32_t)(uint64_t)sum, l->bits);
}

static float scale_of(const layer *l, int64_t k)
{
    return qn_quantizer_get(l->quantizer, l->quantizer->n == 1 ? 0 : k).scale;
}

static void finish_code(const layer *l, int64_t element, int32_t sum)
{
    const qn_integer_conv *conv = &l->step->u.conv;
    const int64_t k = channel_of(l, element);
    const float s_x = l->is_conv ? l->x->scale : l->gemm.alpha * l->x->scale, s_w = scale_of(l, k), s_y = l->y->scale;
    uint8_t *y = byte_at(l->run, l->y, element);
    if (l->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        const float m = s_x * s_w / s_y;
        *y = (uint8_t)qn_round_clamp((float)sum * m, conv->zero_point, conv->lo, conv->hi);
        return;
    }
    const double product = l->is_conv ? (double)s_x * (double)s_w : (double)(s_x * s_w);
    qn_ratio ratio;
    (void)qn_ratio_of(&ratio, product / (double)s_y, l->arithmetic.requantize); /* the program was made with it */
    const qn_ratio_rounding how = {l->arithmetic.rounding, l->arithmetic.twice};
    *y = (uint8_t)qn_clamp_s64((int64_t)qn_ratio_apply(sum, ratio, how) + conv->zero_point, conv->lo, conv->hi);
}

static void finish_float(const layer *l, int64_t element, int32_t sum)
{
    const qn_integer_decode *decode = l->step->u.conv.requantize->decode;
    const int64_t k = channel_of(l, element);
    const float s_x = l->is_conv ? l->x->scale : l->gemm.alpha * l->x->scale;
    float v = (float)sum * (s_x * scale_of(l, k));
    if (l->real_bias != NULL) {
        v = v + ((const float *)l->real_bias->data)[qn_tensor_count(l->real_bias) == 1 ? 0 : k];
    }
    v = v > decode->lo ? v : decode->lo;
    v = v < decode->hi ? v : decode->hi;
    ((float *)(void *)(l->run->memory + l->y->offset))[element] = v;
}

static int32_t change_one(qn_whole_codes *codes, const qn_fault_change *change, int32_t value)
{
    const qn_fault_target *target = &codes->targets->list[change->target];
    const uint32_t before = (uint32_t)value & qn_whole_mask(target->bits);
    const uint32_t after = qn_whole_change(change, target, NULL, before);
    qn_whole_note(codes, change, before, after);
    return qn_wrap_bits((int32_t)after, target->bits);
}

/* Changes of one element: products, then partial sums, each by term, then the accumulator. */
typedef struct at_sum {
    const qn_fault_change *change;
    int rank;
} at_sum;

static int compare(const void *x, const void *y)
{
    const at_sum *a = x, *b = y;
    const int64_t keys[3][2] = {
        {a->change->element, b->change->element}, {a->rank, b->rank}, {a->change->term, b->change->term}};
    for (int i = 0; i < 3; i++) {
        if (keys[i][0] != keys[i][1]) {
            return keys[i][0] < keys[i][1] ? -1 : 1;
        }
    }
    return 0;
}

static void sum_again(const layer *l, qn_whole_codes *codes, const at_sum *list, int64_t n)
{
    enum { PRODUCT, PARTIAL, ACCUMULATOR };
    const int64_t element = list[0].change->element, k = channel_of(l, element);
    int64_t product = 0, partial = 0;
    while (partial < n && list[partial].rank == PRODUCT) {
        partial++;
    }
    const int64_t n_products = partial;
    int64_t last = partial;
    while (last < n && list[last].rank == PARTIAL) {
        last++;
    }
    int32_t sum = 0;
    if (l->bias != NULL) {
        sum = held(l, ((const int32_t *)l->bias->data)[qn_tensor_count(l->bias) == 1 ? 0 : k]);
    }
    for (int64_t t = 0; t < l->n_terms; t++) {
        int32_t p = product_of(l, element, t);
        for (; product < n_products && list[product].change->term == t; product++) {
            p = change_one(codes, list[product].change, p);
        }
        sum = held(l, (int64_t)sum + p);
        for (; partial < last && list[partial].change->term == t; partial++) {
            sum = change_one(codes, list[partial].change, sum);
        }
    }
    for (; last < n; last++) {
        sum = change_one(codes, list[last].change, sum);
    }
    if (codes->summed != NULL) {
        codes->summed(codes->ctx, (int)(l->step - l->run->code->steps), element, sum);
    }
    if (l->y->real) {
        finish_float(l, element, sum);
    } else {
        finish_code(l, element, sum);
    }
}

static int rank_of(qn_fault_where where)
{
    return where == QN_FAULT_PRODUCTS       ? 0
           : where == QN_FAULT_PARTIAL_SUMS ? 1
           : where == QN_FAULT_ACCUMULATORS ? 2
                                            : -1;
}

qn_status qn_whole_change_sums(const qn_program *program, const qn_integer_run *run, int step, qn_whole_codes *codes,
                               qn_error *err)
{
    const qn_fault *fault = codes->fault;
    const int32_t node = (int32_t)(run->code->steps[step].node - program->graph.nodes);
    int64_t n = 0;
    at_sum *list = NULL;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            list = n > 0 ? qn_alloc((size_t)n * sizeof *list) : NULL;
            if (n == 0 || list == NULL) {
                return n == 0 ? QN_OK : qn_fail_memory(err, NULL, (size_t)n * sizeof *list);
            }
            n = 0;
        }
        for (int64_t i = 0; i < fault->n_changes; i++) {
            const qn_fault_target *target = qn_whole_target(codes, i);
            if (target->node == node && rank_of(target->where) >= 0) {
                if (list != NULL) {
                    list[n] = (at_sum){&fault->changes[i], rank_of(target->where)};
                }
                n++;
            }
        }
    }
    qsort(list, (size_t)n, sizeof *list, compare);
    layer l;
    const qn_status status = describe(&l, program, run, step, err);
    for (int64_t first = 0, end; status == QN_OK && first < n; first = end) {
        for (end = first + 1; end < n && list[end].change->element == list[first].change->element;) {
            end++;
        }
        sum_again(&l, codes, list + first, end - first);
    }
    qn_free(list);
    return status;
}
