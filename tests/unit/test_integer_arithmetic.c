/* The integer engine in every arithmetic: each step's codes against the definition, worked out in 64 bits and rationals
 * from the graph's own codes and scales. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "graph/arithmetic.h"
#include "graph/model.h"
#include "quern/quern.h"

static const char *const networks[] = {"residual", "branches", "flat", "signed", "one_dimension"};
enum { NETWORKS = sizeof networks / sizeof networks[0] };

typedef __int128 wide;

static const qn_quantizer *quantizer_of(const qn_graph *graph, qn_value_id id)
{
    return graph->values[id].quantizer;
}

static void set_scales(qn_graph *graph, qn_value_id id, double (*snap)(double))
{
    qn_quantizer q = *quantizer_of(graph, id);
    float *scale = malloc((size_t)q.n * sizeof *scale);
    for (int64_t i = 0; i < q.n; i++) {
        scale[i] = (float)snap((double)q.scale[i]);
    }
    q.scale = scale;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_set_quantizer(graph, id, &q, &err), &err);
    free(scale);
}

static double to_power(double x)
{
    return exp2(rint(log2(x)));
}

static double to_three_halves(double x)
{
    return 1.5 * exp2(rint(log2(x)));
}

/* Scales at which every ratio is a power of two, or with `two` those of convolutions the sum of two. */
static void snap_scales(qn_graph *graph, bool two)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        if (graph->values[i].quantizer != NULL) {
            set_scales(graph, (qn_value_id)i, to_power);
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op != QN_OP_CONV && node->op != QN_OP_GEMM && node->op != QN_OP_MATMUL) {
            continue;
        }
        if (two) {
            set_scales(graph, node->inputs[1], to_three_halves);
        }
        if (node->n_inputs < 3 || node->inputs[2] == QN_NO_VALUE) {
            continue;
        }
        qn_quantizer b = *quantizer_of(graph, node->inputs[2]);
        const qn_quantizer *w = quantizer_of(graph, node->inputs[1]);
        float *scale = malloc((size_t)b.n * sizeof *scale);
        for (int64_t k = 0; k < b.n; k++) {
            scale[k] = quantizer_of(graph, node->inputs[0])->scale[0] * w->scale[w->n == 1 ? 0 : k];
        }
        b.scale = scale;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_graph_set_quantizer(graph, node->inputs[2], &b, &err), &err);
        free(scale);
    }
}

/* A program in one arithmetic, and one run. */
typedef struct scene {
    qn_model *model;
    qn_program *program;
    qn_workspace *workspace;
    qn_arithmetic arithmetic;
    const qn_integer_code *code;
    qn_integer_run run;
    float *y;
    qn_tensor x;
} scene;

static const char *golden(const char *name, const char *ending)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/integer/%s%s", QN_SOURCE_DIR, name, ending);
    return path;
}

static void scene_free(scene *s)
{
    free(s->y);
    qn_tensor_free(&s->x);
    qn_workspace_free(s->workspace);
    qn_program_free(s->program);
    qn_model_free(s->model);
}

static qn_status scene_load(scene *s, const char *network, const qn_arithmetic *arithmetic, bool snaps, qn_error *err)
{
    *s = (scene){.arithmetic = *arithmetic};
    qn_assert_ok(qn_model_load(&s->model, golden(network, ".onnx"), err), err);
    if (snaps) {
        snap_scales(&s->model->graph, arithmetic->requantize == QN_REQUANTIZE_DOUBLE_SHIFT);
    }
    qn_assert_ok(qn_graph_set_arithmetic(&s->model->graph, arithmetic, err), err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, err), err);
    options.keep_values = true;
    return qn_program_create(&s->program, s->model, &options, err);
}

static void scene_run(scene *s, const char *network, int64_t item)
{
    qn_error err;
    qn_error_init(&err);
    if (s->workspace == NULL) {
        qn_assert_ok(qn_workspace_create(&s->workspace, s->program, &err), &err);
        qn_assert_ok(qn_tensor_read(&s->x, golden(network, "_x.npy"), &err), &err);
        s->y = calloc((size_t)qn_program_output_count(s->program, 0), sizeof *s->y);
    }
    const float *x = (const float *)s->x.data + item * qn_program_input_count(s->program, 0);
    qn_assert_ok(qn_program_run(s->program, s->workspace, &x, 1, &s->y, &err), &err);
    s->code = s->program->code;
    s->run = qn_integer_workspace_run(s->workspace);
}

static uint8_t code_at(const scene *s, const qn_integer_tensor *t, int y, int x, int c)
{
    return s->run.memory[(ptrdiff_t)t->offset + y * t->row + x * t->pixel + c];
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static int32_t constant_code(const qn_tensor *t, int64_t i)
{
    return t->dtype == QN_DTYPE_S32  ? ((const int32_t *)t->data)[i]
           : t->dtype == QN_DTYPE_S8 ? ((const int8_t *)t->data)[i]
                                     : ((const uint8_t *)t->data)[i];
}

/* The accumulator, term by term in the order of section 4.5. */
typedef struct accumulator {
    int bits;
    bool saturates;
    int64_t sum;
} accumulator;

static void accumulate(accumulator *a, int64_t term)
{
    const int64_t one = INT64_C(1) << a->bits;
    a->sum += term;
    if (a->saturates) {
        a->sum = clamp(a->sum, -one / 2, one / 2 - 1);
        return;
    }
    a->sum = ((a->sum % one) + one) % one;
    a->sum -= a->sum >= one / 2 ? one : 0;
}

/* The weight code less its zero point, by the graph's own order of dimensions. */
static int32_t weight_at(const scene *s, const qn_integer_step *step, int k, int r, int col, int c)
{
    const qn_graph *graph = &s->program->graph;
    const qn_node *node = step->node;
    const qn_integer_conv *conv = &step->u.conv;
    const qn_tensor *codes = graph->values[node->inputs[1]].codes;
    const qn_quantizer *q = quantizer_of(graph, node->inputs[1]);
    const int64_t pixels = (int64_t)conv->kernel[0] * conv->kernel[1];
    int64_t within = c * pixels + r * conv->kernel[1] + col, at = k * pixels * conv->group_inputs + within;
    if (node->op != QN_OP_CONV && !(node->op == QN_OP_GEMM && qn_node_int(node, "transB", 0) != 0)) {
        at = within * conv->group_outputs + k;
    }
    return constant_code(codes, at) - q->zero_point[q->n == 1 ? 0 : k];
}

static int64_t sum_at(const scene *s, const qn_integer_step *step, int y, int x, int k)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *in = &s->code->tensors[step->input[0]];
    const qn_node *node = step->node;
    accumulator a = {s->arithmetic.accumulator_bits == 0 ? 32 : s->arithmetic.accumulator_bits, s->arithmetic.saturate,
                     0};
    if (node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE) {
        const qn_tensor *bias = s->program->graph.values[node->inputs[2]].codes;
        accumulate(&a, constant_code(bias, qn_tensor_count(bias) == 1 ? 0 : k));
    }
    const bool matrix = node->op != QN_OP_CONV;
    const int first = k / conv->group_outputs * conv->group_inputs;
    const int n_outer = matrix ? conv->group_inputs : 1, n_inner = matrix ? 1 : conv->group_inputs;
    for (int outer = 0; outer < n_outer; outer++) {
        for (int r = 0; r < conv->kernel[0]; r++) {
            for (int col = 0; col < conv->kernel[1]; col++) {
                int in_y = y * conv->stride[0] + r * conv->dilation[0] - conv->pad[0];
                int in_x = x * conv->stride[1] + col * conv->dilation[1] - conv->pad[1];
                bool inside = in_y >= 0 && in_y < in->height && in_x >= 0 && in_x < in->width;
                for (int inner = 0; inside && inner < n_inner; inner++) {
                    int c = outer + inner;
                    int64_t code = code_at(s, in, in_y, in_x, first + c) - in->zero_point;
                    accumulate(&a, code * weight_at(s, step, k, r, col, c));
                }
            }
        }
    }
    return a.sum;
}

/* floor(num / den + 1/2) and its relatives; den > 0. */
static wide divide(wide num, wide den, qn_rounding rounding)
{
    wide q = num / den, left = num % den;
    if (left < 0) {
        left += den;
        q--;
    }
    bool tie = 2 * left == den, above = 2 * left > den;
    return rounding == QN_ROUND_FLOOR          ? q
           : rounding == QN_ROUND_NEAREST_UP   ? q + (above || tie)
           : rounding == QN_ROUND_NEAREST_AWAY ? q + (above || (tie && num >= 0))
                                               : q + (above || (tie && q % 2 != 0));
}

/* x times a ratio of scales in 31 bits, as TFLite does it. */
static wide times_fixed(int64_t x, double value, const qn_arithmetic *a)
{
    int e;
    double q = frexp(value, &e);
    int64_t m = llround(q * 2147483648.0);
    if (m == INT64_C(1) << 31) {
        m /= 2;
        e++;
    }
    if (e < -31) {
        return 0;
    }
    if (!a->twice) {
        return divide((wide)x * m, (wide)1 << (31 - e), a->rounding);
    }
    wide high = divide((wide)x * ((wide)1 << (e > 0 ? e : 0)) * m, (wide)1 << 31, QN_ROUND_NEAREST_UP);
    return divide(high, (wide)1 << (e < 0 ? -e : 0), QN_ROUND_NEAREST_AWAY);
}

/* x times a ratio that is a power of two, or three times one. */
static wide times_shift(int64_t x, double value, const qn_arithmetic *a)
{
    int shift = 0;
    while (value != rint(value) || fabs(value) < 1) {
        value *= 2;
        shift++;
    }
    return divide((wide)x * (int64_t)value, (wide)1 << shift, a->rounding);
}

static int64_t times(int64_t x, double value, const qn_arithmetic *a)
{
    return (int64_t)(a->requantize == QN_REQUANTIZE_FIXED ? times_fixed(x, value, a) : times_shift(x, value, a));
}

static int32_t expected_conv(const scene *s, const qn_integer_step *step, int y, int x, int k, int64_t *sum)
{
    const qn_integer_tensor *in = &s->code->tensors[step->input[0]], *out = &s->code->tensors[step->output];
    const qn_quantizer *q = quantizer_of(&s->program->graph, step->node->inputs[1]);
    const float w = q->scale[q->n == 1 ? 0 : k];
    *sum = sum_at(s, step, y, x, k);
    if (s->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        float v = (float)*sum * (in->scale * w / out->scale);
        return (int32_t)clamp((int64_t)rint((double)v) + out->zero_point, out->lo, out->hi);
    }
    double product = step->node->op == QN_OP_CONV ? (double)in->scale * (double)w : (double)(in->scale * w);
    return (int32_t)clamp(times(*sum, product / (double)out->scale, &s->arithmetic) + out->zero_point, out->lo,
                          out->hi);
}

static void check_conv(const scene *s, int index, uint64_t *random)
{
    const qn_integer_step *step = &s->code->steps[index];
    const qn_integer_tensor *out = &s->code->tensors[step->output];
    const int n = out->height * out->width * out->channels;
    for (int trial = 0; trial < (n < 300 ? n : 300); trial++) {
        int i = n < 300 ? trial : (int)(qn_test_random(random) % (uint64_t)n);
        int k = i % out->channels, x = i / out->channels % out->width, y = i / out->channels / out->width;
        int64_t sum;
        int32_t engine_sum, expected = expected_conv(s, step, y, x, k, &sum);
        const qn_box box = {y, y + 1, x, x + 1, k, k + 1};
        assert_true(qn_integer_accumulators(&s->run, index, &box, &engine_sum));
        s->run.memory[(ptrdiff_t)out->offset + y * out->row + x * out->pixel + k] ^= 0xff;
        qn_integer_run_box(&s->run, index, &box);
        if (engine_sum != sum || code_at(s, out, y, x, k) != expected) {
            fail_msg("node %s at %d,%d,%d: sum %lld, expected %lld; code %d, expected %d", step->node->op_type, y, x, k,
                     (long long)engine_sum, (long long)sum, code_at(s, out, y, x, k), expected);
        }
    }
}

static int32_t expected_add(const scene *s, const qn_integer_step *step, const qn_integer_tensor *const t[2],
                            const uint8_t codes[2])
{
    const qn_integer_tensor *out = &s->code->tensors[step->output];
    const qn_integer_add *add = &step->u.add;
    if (!s->arithmetic.fixed_sums) {
        float ra = t[0]->scale / out->scale, rb = t[1]->scale / out->scale;
        float left = (float)(codes[0] - t[0]->zero_point) * ra, right = (float)(codes[1] - t[1]->zero_point) * rb;
        return (int32_t)clamp((int64_t)rint((double)(left + right)) + out->zero_point, add->params.lo, add->params.hi);
    }
    double widest = 2 * fmax((double)t[0]->scale, (double)t[1]->scale);
    wide sum = 0;
    for (int i = 0; i < 2; i++) {
        int64_t raised = (int64_t)(codes[i] - t[i]->zero_point) * (1 << 20);
        sum += times_fixed(raised, (double)t[i]->scale / widest, &s->arithmetic);
    }
    wide code = times_fixed((int64_t)sum, widest / ((double)(1 << 20) * (double)out->scale), &s->arithmetic);
    return (int32_t)clamp((int64_t)code + out->zero_point, add->params.lo, add->params.hi);
}

static void check_add(const scene *s, int index)
{
    const qn_integer_step *step = &s->code->steps[index];
    const qn_integer_tensor *out = &s->code->tensors[step->output];
    const qn_integer_tensor *t[2] = {&s->code->tensors[step->input[0]], &s->code->tensors[step->input[1]]};
    for (int i = 0; i < out->height * out->width * out->channels; i++) {
        int k = i % out->channels, x = i / out->channels % out->width, y = i / out->channels / out->width;
        uint8_t codes[2];
        for (int side = 0; side < 2; side++) {
            codes[side] = code_at(s, t[side], t[side]->height == 1 ? 0 : y, t[side]->width == 1 ? 0 : x, k);
        }
        assert_int_equal(code_at(s, out, y, x, k), expected_add(s, step, t, codes));
    }
}

/* Averages in integers, of codes as they are where parameters stay, rescaled otherwise. */
static void check_average(const scene *s, int index)
{
    const qn_integer_step *step = &s->code->steps[index];
    const qn_integer_pool *pool = &step->u.pool;
    const qn_integer_tensor *in = &s->code->tensors[step->input[0]], *out = &s->code->tensors[step->output];
    const bool include = qn_node_int(step->node, "count_include_pad", 0) != 0 && step->node->op == QN_OP_AVERAGE_POOL;
    const bool same = in->scale == out->scale && in->zero_point == out->zero_point && !include;
    const int raw = quantizer_of(&s->program->graph, out->value)->format.is_signed ? 128 : 0;
    for (int i = 0; i < out->height * out->width * out->channels; i++) {
        int k = i % out->channels, x = i / out->channels % out->width, y = i / out->channels / out->width;
        int64_t sum = 0, n = 0;
        for (int r = 0; r < pool->kernel[0]; r++) {
            for (int c = 0; c < pool->kernel[1]; c++) {
                int in_y = y * pool->stride[0] + r * pool->dilation[0] - pool->pad[0];
                int in_x = x * pool->stride[1] + c * pool->dilation[1] - pool->pad[1];
                if (in_y >= 0 && in_y < in->height && in_x >= 0 && in_x < in->width) {
                    sum += code_at(s, in, in_y, in_x, k) - (same ? raw : in->zero_point);
                    n++;
                }
            }
        }
        n = include ? (int64_t)pool->kernel[0] * pool->kernel[1] : n;
        if (!same) {
            sum = (int64_t)times_fixed(sum, (double)in->scale / (double)out->scale, &s->arithmetic);
        }
        int64_t mean = (int64_t)divide(sum, n, QN_ROUND_NEAREST_AWAY) + (same ? raw : out->zero_point);
        assert_int_equal(code_at(s, out, y, x, k), clamp(mean, pool->params.lo, pool->params.hi));
    }
}

/* A table without an operator: Concat, and moves whose output has parameters of its own. */
static void check_table(const scene *s, int index)
{
    const qn_integer_step *step = &s->code->steps[index];
    const qn_integer_tensor *in = &s->code->tensors[step->input[0]], *out = &s->code->tensors[step->output];
    if (step->u.lookup.table == NULL || step->node->op == QN_OP_RELU || step->node->op == QN_OP_CLIP) {
        return;
    }
    for (int code = 0; code < 256; code++) {
        int64_t y = times(code - in->zero_point, (double)in->scale / (double)out->scale, &s->arithmetic);
        assert_int_equal(step->u.lookup.table[code], clamp(y + out->zero_point, out->lo, out->hi));
    }
}

/* What was seen of everything, so that no check is idle. */
static int n_convs, n_adds, n_averages, n_tables;

static void check_steps(const scene *s, uint64_t *random)
{
    for (int i = 0; i < s->code->n_steps; i++) {
        const qn_integer_step *step = &s->code->steps[i];
        if (step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE) {
            check_conv(s, i, random);
            n_convs++;
        } else if (step->kind == QN_STEP_ADD) {
            check_add(s, i);
            n_adds++;
        } else if (step->kind == QN_STEP_POOL && step->u.pool.fixed != NULL) {
            check_average(s, i);
            n_averages++;
        } else if (step->kind == QN_STEP_LOOKUP && s->arithmetic.requantize != QN_REQUANTIZE_FLOAT) {
            check_table(s, i);
            n_tables++;
        }
    }
}

static void check_everywhere(const qn_arithmetic *arithmetic, bool snaps)
{
    uint64_t random = 31;
    for (int i = 0; i < NETWORKS; i++) {
        scene s;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(scene_load(&s, networks[i], arithmetic, snaps, &err), &err);
        for (int64_t item = 0; item < 2; item++) {
            scene_run(&s, networks[i], item);
            check_steps(&s, &random);
        }
        scene_free(&s);
    }
}

static void profiles_do_what_their_definitions_say(void **unused)
{
    (void)unused;
    for (size_t i = 0; qn_profile_at(i) != NULL; i++) {
        const qn_arithmetic *a = &qn_profile_at(i)->arithmetic;
        check_everywhere(a, a->requantize == QN_REQUANTIZE_SHIFT || a->requantize == QN_REQUANTIZE_DOUBLE_SHIFT);
    }
    assert_true(n_convs > 0 && n_adds > 0 && n_averages > 0 && n_tables > 0);
}

static void every_rounding_of_every_requantization(void **unused)
{
    (void)unused;
    static const qn_rounding roundings[] = {QN_ROUND_NEAREST_EVEN, QN_ROUND_NEAREST_AWAY, QN_ROUND_NEAREST_UP,
                                            QN_ROUND_FLOOR};
    for (int r = 0; r < 4; r++) {
        check_everywhere(&(qn_arithmetic){.requantize = QN_REQUANTIZE_FIXED, .rounding = roundings[r]}, false);
        check_everywhere(&(qn_arithmetic){.requantize = QN_REQUANTIZE_SHIFT, .rounding = roundings[r]}, true);
        check_everywhere(&(qn_arithmetic){.requantize = QN_REQUANTIZE_DOUBLE_SHIFT, .rounding = roundings[r]}, true);
    }
}

static void narrow_accumulators_wrap_or_saturate(void **unused)
{
    (void)unused;
    static const int widths[] = {8, 11, 16, 20, 0};
    for (int i = 0; i < 5; i++) {
        for (int saturates = 0; saturates < 2; saturates++) {
            qn_arithmetic a = {.accumulator_bits = widths[i], .saturate = saturates != 0};
            check_everywhere(&a, false);
            a.requantize = QN_REQUANTIZE_FIXED;
            check_everywhere(&a, false);
        }
    }
}

static void ratios_that_no_shift_has_are_refused(void **unused)
{
    (void)unused;
    scene s;
    qn_error err;
    qn_error_init(&err);
    const qn_arithmetic shift = {.requantize = QN_REQUANTIZE_SHIFT}, two = {.requantize = QN_REQUANTIZE_DOUBLE_SHIFT};
    qn_status status = scene_load(&s, "residual", &shift, false, &err);
    qn_assert_fails(status, &err, QN_EUNSUPPORTED, "is not a power of two; fold it into the weights");
    assert_non_null(strstr(err.message, "Conv"));
    scene_free(&s);
    qn_error_init(&err);
    status = scene_load(&s, "residual", &two, false, &err);
    qn_assert_fails(status, &err, QN_EUNSUPPORTED, "is not the sum of two powers of two");
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_do_what_their_definitions_say),
        cmocka_unit_test(every_rounding_of_every_requantization),
        cmocka_unit_test(narrow_accumulators_wrap_or_saturate),
        cmocka_unit_test(ratios_that_no_shift_has_are_refused),
    };
    return cmocka_run_group_tests_name("integer_arithmetic", tests, NULL, NULL);
}
