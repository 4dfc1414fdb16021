/* Recipe lltfi and float results of layers on codes: a network against plain loops over its formulas (arithmetic.md 3.9, 4.5,
 * 6.7), in every accumulator, with biases in and behind the sums. */
#include "graph_builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { ITEMS = 6, INPUTS = 3 * 8 * 8, OUTPUTS = 4 };

static void build(qn_graph *g)
{
    const float bounds[] = {-0.25f, 0.5f};
    memset(g, 0, sizeof *g);
    g->opset = 13;
    g->file = "net.onnx";
    qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
    qn_test_floats(g, "w1", DIMS(6, 3, 3, 3), NULL);
    qn_test_floats(g, "b1", DIMS(6), NULL);
    NODE_WITH(g, "Conv", "x w1 b1", "c1", A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "MaxPool", "r1", "p", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2)); /* 6 x 4 x 4, coded */
    qn_test_floats(g, "w2", DIMS(6, 1, 3, 3), NULL);
    qn_test_floats(g, "b2", DIMS(6), NULL);
    NODE_WITH(g, "Conv", "p w2 b2", "c2", A_INT("group", 6), A_INTS("pads", 1, 1, 1, 1));
    qn_test_floats(g, "lo", 0, NULL, &bounds[0]);
    qn_test_floats(g, "hi", 0, NULL, &bounds[1]);
    NODE(g, "Clip", "c2 lo hi", "k2");
    NODE(g, "Add", "k2 p", "s"); /* coded */
    qn_test_floats(g, "w3", DIMS(8, 6, 1, 1), NULL);
    NODE(g, "Conv", "s w3", "c3");
    qn_test_ints(g, "tokens", 3, (int64_t[]){0, 8, 16});
    NODE(g, "Reshape", "c3 tokens", "left"); /* coded */
    NODE_WITH(g, "Transpose", "left", "right", A_INTS("perm", 0, 2, 1));
    NODE(g, "MatMul", "left right", "g"); /* 8 x 8, coded */
    qn_test_floats(g, "w4", DIMS(8, 5), NULL);
    qn_test_floats(g, "b4", DIMS(5), NULL);
    NODE(g, "MatMul", "g w4", "m");
    NODE(g, "Add", "m b4", "a");
    NODE_WITH(g, "Flatten", "a", "f", A_INT("axis", 1)); /* coded */
    qn_test_floats(g, "w5", DIMS(OUTPUTS, 40), NULL);
    qn_test_floats(g, "b5", DIMS(OUTPUTS), NULL);
    NODE_WITH(g, "Gemm", "f w5 b5", "y", A_INT("transB", 1));
    qn_test_output(g, "y");
}

/* The network by its formulas. */
typedef struct {
    const qn_graph *original, *coded;
    qn_arithmetic arithmetic;
    bool float_bias;
} oracle;

static float scale_of(const oracle *o, const char *name)
{
    const qn_quantizer *q = o->coded->values[qn_graph_find(o->coded, name)].quantizer;
    assert_non_null(q);
    assert_int_equal(q->n, 1);
    assert_int_equal(q->zero_point[0], 0);
    return q->scale[0];
}

static const float *floats_of(const oracle *o, const char *name, int64_t *n)
{
    const qn_tensor *t = o->original->values[qn_graph_find(o->original, name)].constant;
    *n = qn_tensor_count(t);
    return t->data;
}

static int64_t code_of(double x, double scale)
{
    const double v = rint(x / scale);
    return (int64_t)(v < -128 ? -128 : v > 127 ? 127 : v);
}

/* Values are encoded with an f32 quotient. */
static void encode(const oracle *o, const char *name, const float *x, int n, int64_t *codes)
{
    for (int i = 0; i < n; i++) {
        volatile float v = x[i] / scale_of(o, name);
        codes[i] = code_of((double)v, 1);
    }
}

static int64_t add_term(const oracle *o, int64_t sum, int64_t term)
{
    const int64_t limit = INT64_C(1) << (o->arithmetic.accumulator_bits - 1);
    sum += term;
    return !o->arithmetic.saturate ? sum : sum < -limit ? -limit : sum >= limit ? limit - 1 : sum;
}

static float decode(const oracle *o, int64_t sum, const char *x, const char *w)
{
    const int64_t modulus = INT64_C(1) << o->arithmetic.accumulator_bits;
    sum = ((sum % modulus) + modulus) % modulus;
    volatile float scale = scale_of(o, x) * scale_of(o, w), v = (float)(sum >= modulus / 2 ? sum - modulus : sum);
    v = v * scale;
    return v;
}

/* Weights and biases of one layer as codes. */
typedef struct {
    const oracle *o;
    const char *x, *w, *b;
    int64_t weights[512];
} layer;

static void prepare(layer *l, const oracle *o, const char *x, const char *w, const char *b)
{
    int64_t n;
    *l = (layer){.o = o, .x = x, .w = w, .b = b};
    const float *values = floats_of(o, w, &n);
    for (int64_t i = 0; i < n; i++) {
        /* 2.1, or 2.3 for weights that meet int32 biases: the greatest weight is a tie, which the two may round apart */
        volatile float quotient = values[i] / scale_of(o, w);
        l->weights[i] =
            o->float_bias ? code_of((double)quotient, 1) : code_of((double)values[i], (double)scale_of(o, w));
    }
}

static int64_t first_sum(const layer *l, int k)
{
    int64_t n;
    if (l->b == NULL || l->o->float_bias) {
        return 0;
    }
    volatile float scale = scale_of(l->o, l->x) * scale_of(l->o, l->w);
    return add_term(l->o, 0, (int64_t)rint((double)floats_of(l->o, l->b, &n)[k] / (double)scale));
}

static float result(const layer *l, int64_t sum, int k)
{
    int64_t n;
    volatile float y = decode(l->o, sum, l->x, l->w);
    if (l->b != NULL && l->o->float_bias) {
        y = y + floats_of(l->o, l->b, &n)[k];
    }
    return y;
}

/* size x size maps; 1 x 1 or 3 x 3 with a border. */
static void conv(const layer *l, const float *x, int c_in, int c_out, int groups, int size, int kernel, float *y)
{
    int64_t codes[INPUTS];
    encode(l->o, l->x, x, c_in * size * size, codes);
    const int per = c_in / groups, pad = kernel / 2;
    for (int i = 0; i < c_out * size * size; i++) {
        const int k = i / (size * size), row = i / size % size, column = i % size, from = k / (c_out / groups) * per;
        int64_t sum = first_sum(l, k);
        for (int t = 0; t < kernel * kernel; t++) {
            const int r = row + t / kernel - pad, s = column + t % kernel - pad;
            for (int c = 0; r >= 0 && r < size && s >= 0 && s < size && c < per; c++) {
                sum = add_term(l->o, sum,
                               codes[((from + c) * size + r) * size + s] *
                                   l->weights[(k * per + c) * kernel * kernel + t]);
            }
        }
        y[i] = result(l, sum, k);
    }
}

static void product(const layer *l, const float *x, int rows, int n_in, int n_out, bool transposed, float *y)
{
    int64_t codes[INPUTS];
    encode(l->o, l->x, x, rows * n_in, codes);
    for (int i = 0; i < rows * n_out; i++) {
        const int k = i % n_out;
        int64_t sum = first_sum(l, k);
        for (int c = 0; c < n_in; c++) {
            sum = add_term(l->o, sum,
                           codes[i / n_out * n_in + c] * l->weights[transposed ? k * n_in + c : c * n_out + k]);
        }
        y[i] = result(l, sum, k);
    }
}

static void expect(const oracle *o, const float *x, float y[OUTPUTS])
{
    layer l;
    float maps[6 * 64], p[96], c2[96], s[96], c3[128], g[64], a[40];
    int64_t codes[128];
    prepare(&l, o, "x", "w1", "b1");
    conv(&l, x, 3, 6, 1, 8, 3, maps);
    for (int i = 0; i < 96; i++) {
        const float *m = maps + i / 16 * 64 + i / 4 % 4 * 16 + i % 4 * 2;
        p[i] = fmaxf(fmaxf(fmaxf(m[0], m[1]), fmaxf(m[8], m[9])), 0);
    }
    prepare(&l, o, "p", "w2", "b2");
    conv(&l, p, 6, 6, 6, 4, 3, c2);
    encode(o, "p", p, 96, codes);
    for (int i = 0; i < 96; i++) { /* p is its codes, whoever reads it */
        volatile float decoded = (float)codes[i] * scale_of(o, "p");
        s[i] = fminf(fmaxf(c2[i], -0.25f), 0.5f) + decoded;
    }
    prepare(&l, o, "s", "w3", NULL);
    conv(&l, s, 6, 8, 1, 4, 1, c3);
    encode(o, "left", c3, 128, codes);
    assert_true(scale_of(o, "left") == scale_of(o, "right"));
    for (int i = 0; i < 64; i++) {
        int64_t sum = 0;
        for (int k = 0; k < 16; k++) {
            sum = add_term(o, sum, codes[i / 8 * 16 + k] * codes[i % 8 * 16 + k]);
        }
        g[i] = decode(o, sum, "left", "right");
    }
    prepare(&l, o, "g", "w4", "b4");
    product(&l, g, 8, 8, 5, false, a);
    prepare(&l, o, "f", "w5", "b5");
    product(&l, a, 1, 40, OUTPUTS, true, y);
}

/* 2 max|x| / (2^(bits - 1) - 1) */
static void check_scale(const oracle *o, const char *name, const float *x, int64_t n, int bits)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i]));
    }
    const double wanted = 2 * most / (ldexp(1, bits - 1) - 1);
    assert_true(fabs((double)scale_of(o, name) / wanted - 1) < 1e-6);
}

/* Accumulators of boxes, decoded, are what a step with float results leaves. */
static int check_accumulators(const qn_program *program, const qn_integer_run *run)
{
    const qn_integer_code *code = program->code;
    int n_layers = 0;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        if ((step->kind != QN_STEP_CONV && step->kind != QN_STEP_DEPTHWISE) || !code->tensors[step->output].real) {
            continue;
        }
        const qn_integer_tensor *t = &code->tensors[step->output];
        const float *y = (const void *)(run->memory + t->offset);
        const qn_box full = qn_integer_full_box(code, i);
        const qn_box box = {full.y1 / 2, full.y1, full.x1 / 3, full.x1, full.k1 / 2, full.k1};
        int32_t sums[512];
        assert_true(qn_integer_accumulators(run, i, &box, sums));
        const qn_integer_decode *d = step->u.conv.requantize->decode;
        const int32_t *sum = sums;
        for (int row = box.y0; row < box.y1; row++) {
            for (int column = box.x0; column < box.x1; column++) {
                for (int k = box.k0; k < box.k1; k++) {
                    volatile float v = (float)*sum++ * d->scale[k];
                    v = d->bias != NULL ? v + d->bias[k] : v;
                    v = fminf(fmaxf(v, d->lo), d->hi);
                    assert_true(v ==
                                y[t->plain ? column * t->channels + k : (k * t->height + row) * t->width + column]);
                }
            }
        }
        n_layers++;
    }
    return n_layers;
}

static void check_engine(const oracle *o, const qn_model *q, const float *x, qn_cpu cpu, int n_layers)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    options.cpu = cpu;
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&program, q, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    const qn_integer_run run = qn_integer_workspace_run(workspace);
    for (int item = 0; item < ITEMS; item++) {
        float y[OUTPUTS], wanted[OUTPUTS], *out = y;
        const float *in = x + item * INPUTS;
        qn_assert_ok(qn_program_run(program, workspace, &in, 1, &out, &err), &err);
        expect(o, in, wanted);
        for (int k = 0; k < OUTPUTS; k++) {
            if (y[k] != wanted[k]) {
                fail_msg("item %d, output %d is %.9g, by the formulas %.9g", item, k, (double)y[k], (double)wanted[k]);
            }
        }
        assert_int_equal(check_accumulators(program, &run), n_layers);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
}

static void check(const char *recipe, const char *format, const char *bias, int bits, qn_arithmetic arithmetic)
{
    qn_error err;
    qn_error_init(&err);
    qn_model net = {0}, *q;
    build(&net.graph);
    qn_tensor x;
    const int64_t dims[] = {ITEMS, 3, 8, 8};
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, 4, dims, &err), &err);
    uint64_t seed = 23;
    for (int i = 0; i < ITEMS * INPUTS; i++) {
        ((float *)x.data)[i] = qn_test_uniform(&seed, -1.5f, 2);
    }
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &err), &err);
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = recipe;
    options.weights = options.activations = format;
    options.bias = bias;
    options.data = data;
    options.arithmetic = &arithmetic;
    qn_assert_ok(qn_quantize(&q, &net, NULL, &options, NULL, &err), &err);
    const oracle o = {&net.graph, &q->graph, arithmetic, bias != NULL};
    if (strstr(recipe, "minmax") != NULL) {
        int64_t n;
        check_scale(&o, "x", x.data, ITEMS * INPUTS, bits);
        for (int i = 0; i < 5; i++) {
            const char *name = (const char *[]){"w1", "w2", "w3", "w4", "w5"}[i];
            const float *w = floats_of(&o, name, &n);
            check_scale(&o, name, w, n, bits);
        }
    }
    static const char *const floats[] = {"c1", "r1", "c2", "k2", "c3", "m", "a", "y"};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        const qn_value_id id = qn_graph_find(&q->graph, floats[i]);
        assert_true(id == QN_NO_VALUE || q->graph.values[id].quantizer == NULL);
    }
    qn_inspection *inspection;
    qn_assert_ok(qn_inspect(&inspection, q, &err), &err);
    for (size_t i = 0; i < q->graph.n_nodes; i++) {
        const qn_op op = q->graph.nodes[i].op;
        assert_true((op != QN_OP_CONV && op != QN_OP_GEMM && op != QN_OP_MATMUL) ||
                    !qn_inspection_node(inspection, i)->island);
    }
    qn_inspection_free(inspection);
    for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
        check_engine(&o, q, x.data, cpu, 5);
    }
    qn_model_free(q);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_graph_free(&net.graph);
}

static void a_network_is_what_its_formulas_say(void **unused)
{
    (void)unused;
    check("lltfi", NULL, NULL, 8, (qn_arithmetic){.accumulator_bits = 32});
    check("lltfi:rule=minmax", NULL, NULL, 8, (qn_arithmetic){.accumulator_bits = 32});
    check("lltfi:rule=minmax", "int4:lltfi", NULL, 4, (qn_arithmetic){.accumulator_bits = 32});
    check("lltfi:choose-ranges.rule=percentile:99,choose-weights.rule=percentile:90", NULL, NULL, 8,
          (qn_arithmetic){.accumulator_bits = 32});
}

static void biases_may_stay_float(void **unused)
{
    (void)unused;
    check("lltfi", NULL, "float", 8, (qn_arithmetic){.accumulator_bits = 32});
}

static void narrow_accumulators_hold_float_results_too(void **unused)
{
    (void)unused;
    check("lltfi", NULL, NULL, 8, (qn_arithmetic){.accumulator_bits = 13});
    check("lltfi", NULL, NULL, 8, (qn_arithmetic){.accumulator_bits = 13, .saturate = true});
    check("lltfi", NULL, "float", 8, (qn_arithmetic){.accumulator_bits = 12, .saturate = true});
    check("lltfi", NULL, NULL, 8, (qn_arithmetic){.accumulator_bits = 32, .saturate = true});
}

/* Without codes to compute on the integer engine has nothing to offer. */
static void networks_of_coded_weights_are_simulated(void **unused)
{
    (void)unused;
    qn_error err;
    qn_error_init(&err);
    for (int float_activations = 0; float_activations < 2; float_activations++) {
        qn_model net = {0}, *q;
        build(&net.graph);
        float *x = calloc(INPUTS, sizeof *x);
        x[0] = 1;
        qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {1, 3, 8, 8}, .data = x};
        qn_dataset *data;
        qn_assert_ok(qn_dataset_of_tensor(&data, &t, NULL, &err), &err);
        qn_quantize_options options;
        qn_quantize_options_init(&options);
        options.recipe = "lltfi";
        options.weights = "int4";
        options.activations = float_activations ? "float" : NULL;
        options.data = data;
        qn_assert_ok(qn_quantize(&q, &net, NULL, &options, NULL, &err), &err);
        qn_engine engine;
        qn_assert_ok(qn_engine_choose(&engine, q, &err), &err);
        assert_int_equal(engine, float_activations ? QN_ENGINE_SIMULATE : QN_ENGINE_INTEGER);
        qn_model_free(q);
        qn_dataset_close(data);
        qn_graph_free(&net.graph);
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_is_what_its_formulas_say),
        cmocka_unit_test(biases_may_stay_float),
        cmocka_unit_test(networks_of_coded_weights_are_simulated),
        cmocka_unit_test(narrow_accumulators_hold_float_results_too),
    };
    return cmocka_run_group_tests_name("ptq_lltfi", tests, NULL, NULL);
}
