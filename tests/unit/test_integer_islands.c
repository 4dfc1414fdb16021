/* Float islands: functions against wider arithmetic, sums against their written order, networks against the float engine,
 * and tokens on codes against simulation, which is exact where all scales are powers of two. */
#include "graph_builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/integer/integer.h"
#include "engine/integer/island_lanes.h"
#include "graph/compute/real_math.h"
#include "graph/model.h"
#include "ptq/ptq.h"
#include "quern/quern.h"

/* Distance of a result from the true value in units of the last place of f32 there. */
static double ulps(float y, long double wanted)
{
    if (isinf(y) || fabsl(wanted) >= 0x1.ffffffp127L) {
        return (float)wanted == y ? 0 : 1e9;
    }
    int exponent;
    (void)frexpl(wanted, &exponent);
    exponent = exponent < -125 ? -125 : exponent;
    return (double)(fabsl((long double)y - wanted) / ldexpl(1, exponent - 24));
}

static long double sigmoid(long double x)
{
    return 1 / (1 + expl(-x));
}

static long double negated(long double x)
{
    return -x;
}

enum { SAMPLES = 200000 };

/* Every magnitude, and the range in which the functions bend. */
static void sample(float *x, uint64_t seed)
{
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t bits = (uint32_t)(qn_test_random(&seed) >> 32);
        memcpy(&x[i], &bits, sizeof bits);
        x[i] = i % 4 == 0 && isfinite(x[i]) ? x[i] : qn_test_uniform(&seed, -12, 12);
        x[i] = i % 4 == 1 ? x[i] * 9 : x[i];
    }
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, 4, -4, 3.9999998f, 0x1p-10f, 0x1p-149f, 88.7f};
    memcpy(x, special, sizeof special);
}

static void functions_are_right_to_half_a_unit(void **unused)
{
    (void)unused;
    static const struct {
        qn_island_map map;
        long double (*truth)(long double);
    } functions[] = {{QN_ISLAND_ERF, erfl},        {QN_ISLAND_EXP, expl},   {QN_ISLAND_NEG, negated},
                     {QN_ISLAND_SIGMOID, sigmoid}, {QN_ISLAND_SQRT, sqrtl}, {QN_ISLAND_TANH, tanhl}};
    float *x = malloc(SAMPLES * sizeof *x), *y = malloc(SAMPLES * sizeof *y), *other = malloc(SAMPLES * sizeof *other);
    sample(x, 1);
    for (int f = 0; f < QN_ISLAND_MAPS; f++) {
        qn_island_lanes_for(QN_CPU_REFERENCE)->map[functions[f].map](y, x, SAMPLES);
        for (int i = 0; i < SAMPLES; i++) {
            const long double wanted = functions[f].truth((long double)x[i]);
            if (isnan(wanted) ? !isnan(y[i]) : !(ulps(y[i], wanted) <= 0.51)) {
                fail_msg("function %d of %a is %a, %.3f units off", f, (double)x[i], (double)y[i], ulps(y[i], wanted));
            }
        }
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            qn_island_lanes_for(cpu)->map[functions[f].map](other, x, SAMPLES);
            assert_memory_equal(y, other, SAMPLES * sizeof *y);
        }
    }
    float nan = NAN;
    qn_island_lanes_for(qn_cpu_best())->map[QN_ISLAND_ERF](y, &nan, 1);
    assert_true(isnan(y[0]));
    free(x);
    free(y);
    free(other);
}

static void powers_are_right_to_half_a_unit(void **unused)
{
    (void)unused;
    uint64_t seed = 3;
    for (int i = 0; i < SAMPLES; i++) {
        float x = qn_test_uniform(&seed, -20, 20), y = qn_test_uniform(&seed, -20, 20);
        y = i % 2 == 0 ? rintf(y) : y;
        const long double wanted = powl((long double)x, (long double)y);
        const float power = real_powf(x, y);
        if (isnan(wanted) ? !isnan(power) : !(ulps(power, wanted) <= 0.51)) {
            fail_msg("%a to %a is %a, not %La", (double)x, (double)y, (double)power, wanted);
        }
    }
    static const float special[] = {0.0f, -0.0f, 1, -1, 2, -2, 3, -3, 0.5f, -0.5f, INFINITY, -INFINITY, NAN};
    enum { N = sizeof special / sizeof special[0] };
    for (int i = 0; i < N * N; i++) {
        const float x = special[i / N], y = special[i % N], wanted = powf(x, y), power = real_powf(x, y);
        if (isnan(wanted) ? !isnan(power) : !(wanted == power && signbit(wanted) == signbit(power))) {
            fail_msg("%a to %a is %a, not %a", (double)x, (double)y, (double)power, (double)wanted);
        }
    }
}

static void products_add_in_the_written_order(void **unused)
{
    (void)unused;
    static const qn_island_product shapes[] = {{1, 1, 1, 1, 1, 1},     {3, 5, 7, 7, 1, 5},     {4, 16, 9, 9, 1, 16},
                                               {9, 33, 20, 20, 1, 33}, {6, 40, 64, 64, 1, 40}, {5, 17, 6, 1, 5, 17}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const qn_island_product p = shapes[s];
        float a[400], b[4000], y[400];
        uint64_t seed = s + 1;
        for (int i = 0; i < 400; i++) {
            a[i] = qn_test_uniform(&seed, -1, 1);
        }
        for (int i = 0; i < 4000; i++) {
            b[i] = qn_test_uniform(&seed, -1, 1);
        }
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            qn_island_lanes_for(cpu)->product(y, a, b, &p);
            for (int64_t i = 0; i < p.m * p.n; i++) {
                volatile float sum = 0; /* volatile: no compiler may reorder or fuse this oracle */
                for (int64_t k = 0; k < p.k; k++) {
                    volatile float product = a[i / p.n * p.a_row + k * p.a_k] * b[k * p.b_k + i % p.n];
                    sum = sum + product;
                }
                assert_memory_equal(&y[i], (const void *)(uintptr_t)&sum, sizeof sum);
            }
        }
    }
}

/* A network under test. */
typedef struct {
    qn_model model;
    qn_error err;
} net;

static qn_graph *start(net *t)
{
    memset(t, 0, sizeof *t);
    qn_error_init(&t->err);
    t->model.graph.opset = 13;
    t->model.graph.file = "net.onnx";
    return &t->model.graph;
}

static qn_quantizer po2(int exponent, int32_t zero_point, int bits, bool is_signed, float *scale, int32_t *zero)
{
    *scale = ldexpf(1, exponent);
    *zero = zero_point;
    return (qn_quantizer){
        .format = {.bits = bits, .is_signed = is_signed}, .axis = -1, .n = 1, .scale = scale, .zero_point = zero};
}

static void code(net *t, const char *name, int exponent, int32_t zero_point)
{
    float scale;
    int32_t zero;
    const qn_quantizer q = po2(exponent, zero_point, 8, false, &scale, &zero);
    qn_assert_ok(qn_graph_set_quantizer(&t->model.graph, qn_graph_find(&t->model.graph, name), &q, &t->err), &t->err);
}

/* A constant of random codes. */
static void coded(net *t, const char *name, int rank, const int64_t *dims, int exponent, int bits)
{
    qn_graph *graph = &t->model.graph;
    qn_value_id id = qn_test_floats(graph, name, rank, dims, NULL);
    float scale;
    int32_t zero;
    const qn_quantizer q = po2(exponent, 0, bits, true, &scale, &zero);
    qn_tensor codes;
    qn_assert_ok(qn_tensor_alloc(&codes, bits == 8 ? QN_DTYPE_S8 : QN_DTYPE_S32, rank, dims, &t->err), &t->err);
    uint64_t seed = 17 + (uint64_t)id;
    for (int64_t i = 0; i < qn_tensor_count(&codes); i++) {
        int32_t value = (int32_t)(qn_test_random(&seed) % 25) - 12;
        if (bits == 8) {
            ((int8_t *)codes.data)[i] = (int8_t)value;
        } else {
            ((int32_t *)codes.data)[i] = value * 40;
        }
    }
    qn_assert_ok(qn_ptq_set_coded(graph, id, &q, &codes, &t->err), &t->err);
    qn_tensor_free(&codes);
}

static qn_program *compile(net *t, qn_engine engine, qn_cpu cpu, int64_t batch, bool keep)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_assert_ok(qn_program_options_init(&options, engine, &t->err), &t->err);
    options.cpu = cpu;
    options.batch = batch;
    options.keep_values = keep;
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    return program;
}

/* Outputs for n items of a network with one input and one output. */
static float *run(net *t, qn_engine engine, qn_cpu cpu, int64_t batch, const float *x, int64_t n, int64_t *count)
{
    qn_program *program = compile(t, engine, cpu, batch, false);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
    const int64_t n_in = qn_program_input_count(program, 0), n_out = qn_program_output_count(program, 0);
    float *y = calloc((size_t)(n * n_out), sizeof *y);
    for (int64_t first = 0; first < n; first += qn_program_batch(program)) {
        const int64_t some = n - first < qn_program_batch(program) ? n - first : qn_program_batch(program);
        const float *in = x + first * n_in;
        float *out = y + first * n_out;
        const uint64_t before = qn_alloc_count();
        qn_assert_ok(qn_program_run(program, workspace, &in, some, &out, &t->err), &t->err);
        assert_true(engine == QN_ENGINE_FLOAT || qn_alloc_count() == before);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    *count = n * n_out;
    return y;
}

static float *noise(int64_t n, float magnitude)
{
    float *x = malloc((size_t)n * sizeof *x);
    uint64_t seed = 5;
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(&seed, -magnitude, magnitude);
    }
    return x;
}

/* Steps of a kind in the program. */
static int count_steps(net *t, qn_integer_kind kind)
{
    qn_program *program = compile(t, QN_ENGINE_INTEGER, qn_cpu_best(), 1, false);
    const qn_integer_code *made = program->code;
    int n = 0;
    for (int i = 0; i < made->n_steps; i++) {
        n += made->steps[i].kind == kind;
    }
    qn_program_free(program);
    return n;
}

/* The integer engine at every CPU level and batch gives the bytes of the first of them; these are within `tolerance` of
 * the float engine's, which at 0 means equal. */
static void compare(net *t, int64_t n_in, int64_t n, float magnitude, double tolerance)
{
    int64_t count;
    float *x = noise(n * n_in, magnitude);
    float *expected = run(t, QN_ENGINE_SIMULATE, qn_cpu_best(), n, x, n, &count);
    float *first = run(t, QN_ENGINE_INTEGER, QN_CPU_REFERENCE, 1, x, n, &count);
    for (int64_t i = 0; i < count; i++) {
        const double f = (double)expected[i], q = (double)first[i];
        if (!(fabs(f - q) <= tolerance * (1 + fabs(f)))) {
            fail_msg("output %lld is %.9g, simulation gives %.9g", (long long)i, q, f);
        }
    }
    for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
        for (int64_t batch = 1; batch <= n; batch++) {
            float *y = run(t, QN_ENGINE_INTEGER, cpu, batch, x, n, &count);
            assert_memory_equal(y, first, (size_t)count * sizeof *y);
            free(y);
        }
    }
    free(x);
    free(expected);
    free(first);
}

static void release(net *t)
{
    qn_graph_free(&t->model.graph);
}

/* Every operator of the float engine, on maps. */
static void layers(net *t)
{
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 6, 9, 7));
    qn_test_floats(g, "w", DIMS(8, 3, 3, 2), NULL);
    qn_test_floats(g, "b", DIMS(8), NULL);
    NODE_WITH(g, "Conv", "x w b", "c", A_INT("group", 2), A_INTS("pads", 1, 0, 2, 1), A_INTS("strides", 1, 2));
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"gamma", "beta", "mean", "var"};
        float values[8];
        uint64_t seed = 9 + (uint64_t)i;
        for (int k = 0; k < 8; k++) {
            values[k] = qn_test_uniform(&seed, i == 3 ? 0.5f : -1, 1.5f);
        }
        qn_test_floats(g, names[i], DIMS(8), values);
    }
    NODE(g, "BatchNormalization", "c gamma beta mean var", "n");
    NODE_WITH(g, "LeakyRelu", "n", "l", A_FLOAT("alpha", 0.1f));
    NODE_WITH(g, "MaxPool", "l", "m", A_INTS("kernel_shape", 3, 2), A_INTS("pads", 1, 0, 1, 1));
    NODE_WITH(g, "AveragePool", "l", "a", A_INTS("kernel_shape", 3, 2), A_INTS("pads", 1, 0, 1, 1));
    NODE(g, "Sub", "m a", "d");
    NODE_WITH(g, "Transpose", "d", "t", A_INTS("perm", 0, 3, 1, 2));
    NODE_WITH(g, "Softmax", "t", "s1", A_INT("axis", 2));
    NODE_WITH(g, "Softmax", "t", "s2", A_INT("axis", 3));
    NODE_WITH(g, "Concat", "s1 t s2", "k", A_INT("axis", 2));
    qn_test_ints(g, "starts", 2, (int64_t[]){-2, 1});
    qn_test_ints(g, "ends", 2, (int64_t[]){-1000, 100});
    qn_test_ints(g, "axes", 2, (int64_t[]){2, 3});
    qn_test_ints(g, "steps", 2, (int64_t[]){-3, 2});
    NODE(g, "Slice", "k starts ends axes steps", "p");
    qn_test_ints(g, "pads", 8, (int64_t[]){0, 1, 0, 2, 0, 0, 3, 1});
    NODE_WITH(g, "Pad", "p pads", "q", A_STRING("mode", "reflect"));
    qn_test_ints(g, "rows", 3, (int64_t[]){2, 0, -1});
    NODE_WITH(g, "Gather", "q rows", "y", A_INT("axis", 2));
    qn_test_output(g, "y");
}

/* The functions, broadcasting, products of activations, on tokens. */
static void tokens(net *t)
{
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 5, 12));
    qn_test_floats(g, "w", DIMS(12, 20), NULL);
    NODE(g, "MatMul", "x w", "m");
    qn_test_floats(g, "v", DIMS(5, 1), NULL);
    NODE(g, "Mul", "m v", "s");
    NODE(g, "Tanh", "s", "t");
    NODE(g, "Erf", "s", "e");
    NODE(g, "Sigmoid", "s", "g");
    NODE(g, "Exp", "t", "p");
    NODE(g, "Div", "e p", "d");
    qn_test_floats(g, "two", DIMS(1), (float[]){2});
    NODE(g, "Pow", "d two", "d2");
    NODE_WITH(g, "ReduceMean", "d2", "r", A_INTS("axes", -1), A_INT("keepdims", 1));
    NODE(g, "Sqrt", "r", "r2");
    NODE(g, "Neg", "r2", "r3");
    NODE(g, "Add", "g r3", "a");
    qn_test_ints(g, "heads", 4, (int64_t[]){0, 5, 4, 5});
    NODE(g, "Reshape", "a heads", "h");
    NODE_WITH(g, "Transpose", "h", "left", A_INTS("perm", 0, 2, 1, 3));
    NODE_WITH(g, "Transpose", "h", "right", A_INTS("perm", 0, 2, 3, 1));
    NODE(g, "MatMul", "left right", "scores");
    NODE(g, "Softmax", "scores", "weights");
    NODE(g, "MatMul", "weights left", "o");
    NODE(g, "Clip", "o - two", "o2");
    NODE_WITH(g, "Flatten", "o2", "f", A_INT("axis", 1));
    qn_test_floats(g, "w2", DIMS(7, 100), NULL);
    qn_test_floats(g, "b2", DIMS(1, 7), NULL);
    NODE_WITH(g, "Gemm", "f w2 b2", "y", A_INT("transB", 1), A_FLOAT("alpha", 0.5f), A_FLOAT("beta", 2));
    qn_test_output(g, "y");
}

static void networks_without_quantizers_are_one_island(void **unused)
{
    (void)unused;
    net t;
    layers(&t);
    compare(&t, 6 * 9 * 7, 3, 1, 1e-5);
    release(&t);
    tokens(&t);
    compare(&t, 5 * 12, 3, 1, 1e-5);
    assert_int_equal(count_steps(&t, QN_STEP_CONV), 0);
    release(&t);
}

/* Tokens on codes, scales of powers of two: products with and without biases, sums, moves between both orders. */
static void coded_tokens(net *t, int64_t batch)
{
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(batch, 8, 4, 6));
    code(t, "x", -4, 120);
    coded(t, "k", DIMS(10, 8, 1, 1), -3, 8);
    NODE(g, "Conv", "x k", "c");
    code(t, "c", -2, 128);
    qn_test_ints(g, "flat", 3, (int64_t[]){0, 10, -1});
    NODE(g, "Reshape", "c flat", "r");
    NODE_WITH(g, "Transpose", "r", "tokens", A_INTS("perm", 0, 2, 1)); /* 24 x 10 */
    coded(t, "pos", DIMS(1, 24, 10), -3, 8);
    NODE(g, "Add", "tokens pos", "sum");
    code(t, "sum", -2, 128);
    coded(t, "w", DIMS(10, 16), -4, 8);
    NODE(g, "MatMul", "sum w", "m");
    coded(t, "b", DIMS(16), -6, 32);
    NODE(g, "Add", "b m", "mb");
    NODE(g, "Relu", "mb", "act");
    code(t, "act", -1, 0);
    coded(t, "w2", DIMS(16, 10), -4, 8);
    NODE(g, "MatMul", "act w2", "n");
    code(t, "n", -1, 100);
    coded(t, "row", DIMS(10), -3, 8);
    NODE(g, "Add", "n row", "nr");
    code(t, "nr", -1, 100);
    NODE(g, "Add", "nr sum", "res");
    code(t, "res", 0, 128);
    coded(t, "column", DIMS(24, 1), -1, 8);
    NODE(g, "Add", "column res", "res1");
    code(t, "res1", 0, 128);
    qn_test_ints(g, "third", 1, (int64_t[]){2});
    NODE_WITH(g, "Gather", "res1 third", "line", A_INT("axis", 1)); /* 1 x 10, added to every row */
    NODE(g, "Add", "res1 line", "res2");
    code(t, "res2", 1, 128);
    qn_test_ints(g, "starts", 1, (int64_t[]){3});
    qn_test_ints(g, "ends", 1, (int64_t[]){23});
    qn_test_ints(g, "axes", 1, (int64_t[]){1});
    qn_test_ints(g, "steps", 1, (int64_t[]){2});
    NODE(g, "Slice", "res2 starts ends axes steps", "some"); /* 10 x 10 */
    qn_test_ints(g, "order", 3, (int64_t[]){7, -1, 0});
    NODE_WITH(g, "Gather", "res2 order", "few", A_INT("axis", 1)); /* 3 x 10 */
    NODE_WITH(g, "Concat", "some few", "all", A_INT("axis", 1));
    code(t, "all", 2, 128);
    NODE(g, "Unsqueeze", "all axes", "map"); /* 1 x 13 x 10 */
    coded(t, "k2", DIMS(4, 1, 3, 3), -3, 8);
    NODE_WITH(g, "Conv", "map k2", "c2", A_INTS("pads", 1, 1, 1, 1));
    code(t, "c2", 1, 128);
    NODE_WITH(g, "Flatten", "c2", "f", A_INT("axis", 1));
    coded(t, "w3", DIMS(520, 5), -6, 8);
    NODE(g, "MatMul", "f w3", "y");
    code(t, "y", 1, 128);
    qn_test_output(g, "y");
}

static void tokens_on_codes_equal_simulation(void **unused)
{
    (void)unused;
    net t;
    coded_tokens(&t, -1);
    assert_int_equal(count_steps(&t, QN_STEP_ISLAND), 0);
    assert_int_equal(count_steps(&t, QN_STEP_CONV), 5);
    assert_int_equal(count_steps(&t, QN_STEP_ADD), 5); /* the bias is in its product */
    compare(&t, 8 * 4 * 6, 4, 8, 0);
    release(&t);
    coded_tokens(&t, 3); /* fixed by the file */
    compare(&t, 8 * 4 * 6, 3, 8, 0);
    release(&t);
}

/* Codes, an island kept in float, codes again; and the island's result read as codes and as floats. */
static void an_island(net *t)
{
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 3, 6, 5));
    code(t, "x", -4, 120);
    coded(t, "k", DIMS(8, 3, 3, 3), -3, 8);
    NODE_WITH(g, "Conv", "x k", "c", A_INTS("pads", 1, 1, 1, 1));
    code(t, "c", -1, 128);
    coded(t, "k2", DIMS(8, 8, 1, 1), -3, 8);
    NODE(g, "Conv", "c k2", "free"); /* its result has no quantizer */
    NODE(g, "Sigmoid", "free", "gate");
    NODE(g, "Mul", "gate c", "gated");
    code(t, "gated", -1, 128);
    coded(t, "k3", DIMS(8, 8, 3, 3), -4, 8);
    NODE_WITH(g, "Conv", "gated k3", "d", A_INTS("pads", 1, 1, 1, 1));
    code(t, "d", 0, 128);
    NODE(g, "Add", "d gated", "sum");
    code(t, "sum", 0, 128);
    NODE(g, "Mul", "sum gated", "y");
    qn_test_output(g, "y");
}

static void islands_lie_between_codes(void **unused)
{
    (void)unused;
    net t;
    an_island(&t);
    assert_int_equal(count_steps(&t, QN_STEP_CONV), 3); /* the second has float results */
    assert_int_equal(count_steps(&t, QN_STEP_ISLAND), 3);
    compare(&t, 3 * 6 * 5, 3, 7, 1e-6);
    qn_inspection *inspection;
    qn_assert_ok(qn_inspect(&inspection, &t.model, &t.err), &t.err);
    assert_int_equal(qn_inspection_model(inspection)->n_islands, 3);
    assert_null(qn_inspection_node(inspection, 0)->island_reason);
    assert_null(qn_inspection_node(inspection, 1)->island_reason);
    assert_string_equal(qn_inspection_node(inspection, 2)->island_reason, "kept in float: an input has no quantizer");
    qn_inspection_free(inspection);
    release(&t);
}

/* With values kept, every suffix of the steps gives the same again, and so does every box of plain codes. */
static void check_reruns(net *t, int64_t n_in)
{
    qn_program *program = compile(t, QN_ENGINE_INTEGER, qn_cpu_best(), 1, true);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
    const int64_t n_out = qn_program_output_count(program, 0);
    float *x = noise(n_in, 7), *y = calloc((size_t)n_out, sizeof *y), *first = malloc((size_t)n_out * sizeof *y);
    const float *in = x;
    qn_assert_ok(qn_program_run(program, workspace, &in, 1, &y, &t->err), &t->err);
    memcpy(first, y, (size_t)n_out * sizeof *y);
    const qn_integer_code *made = program->code;
    const qn_integer_run r = qn_integer_workspace_run(workspace);
    /* behind the values lie sums, which are scratch */
    const size_t n_bytes = made->sums_offset < made->arena_bytes ? made->sums_offset : made->arena_bytes;
    uint8_t *golden = malloc(n_bytes);
    memcpy(golden, r.memory, n_bytes);
    if (made->tiles) {
        qn_tiles_begin();
    }
    for (int step = 0; step < made->n_steps; step++) {
        memset(y, 0, (size_t)n_out * sizeof *y);
        qn_integer_run_steps(&r, step, made->n_steps);
        assert_memory_equal(y, first, (size_t)n_out * sizeof *y);
        assert_memory_equal(r.memory, golden, n_bytes);
        const qn_box full = qn_integer_full_box(made, step);
        const qn_box part = {full.y1 / 3, full.y1, full.x1 / 3, full.x1, full.k1 / 2, full.k1};
        for (int k = 0; made->steps[step].output >= 0 && k < 2; k++) {
            qn_integer_run_box(&r, step, k == 0 ? &part : &full);
            assert_memory_equal(r.memory, golden, n_bytes);
        }
    }
    if (made->tiles) {
        qn_tiles_end();
    }
    free(x);
    free(y);
    free(first);
    free(golden);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

/* Sums of products of tokens: over codes minus zero points, from a box as from the whole, and below their bounds. */
static void accumulators_of_tokens_are_sums_of_codes(void **unused)
{
    (void)unused;
    net t;
    coded_tokens(&t, -1);
    const qn_graph *g = &t.model.graph;
    qn_program *program = compile(&t, QN_ENGINE_INTEGER, qn_cpu_best(), 1, true);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &t.err), &t.err);
    float *x = noise(8 * 4 * 6, 7), y[5], *out = y;
    const float *in = x;
    qn_assert_ok(qn_program_run(program, workspace, &in, 1, &out, &t.err), &t.err);
    const qn_integer_code *made = program->code;
    const qn_integer_run r = qn_integer_workspace_run(workspace);
    int n_products = 0;
    for (int i = 0; i < made->n_steps; i++) {
        const qn_integer_step *step = &made->steps[i];
        const qn_integer_tensor *a = step->kind == QN_STEP_CONV ? &made->tensors[step->input[0]] : NULL;
        if (a == NULL || step->node->op != QN_OP_MATMUL || a->width != 24) {
            continue;
        }
        const qn_tensor *w = g->values[step->node->inputs[1]].codes;
        const bool biased = w->dims[0] == 10;
        const int32_t *bias = biased ? g->values[qn_graph_find(g, "b")].codes->data : NULL;
        const qn_box box = {0, 1, 5, 24, 3, (int)w->dims[1]};
        int32_t sums[24 * 16];
        assert_true(qn_integer_accumulators(&r, i, &box, sums));
        for (int row = box.x0; row < box.x1; row++) {
            for (int k = box.k0; k < box.k1; k++) {
                int32_t sum = biased ? bias[k] : 0;
                for (int c = 0; c < a->channels; c++) {
                    sum += (r.memory[a->offset + (size_t)(row * a->channels + c)] - a->zero_point) *
                           ((const int8_t *)w->data)[c * w->dims[1] + k];
                }
                assert_int_equal(sums[(row - box.x0) * (box.k1 - box.k0) + k - box.k0], sum);
                assert_true(llabs(sum) <= qn_integer_bound(made, i, k));
            }
        }
        n_products++;
    }
    assert_int_equal(n_products, 2);
    free(x);
    qn_workspace_free(workspace);
    qn_program_free(program);
    release(&t);
}

static void any_step_can_be_run_again(void **unused)
{
    (void)unused;
    net t;
    coded_tokens(&t, -1);
    check_reruns(&t, 8 * 4 * 6);
    release(&t);
    an_island(&t);
    check_reruns(&t, 3 * 6 * 5);
    release(&t);
}

/* A batch that the file fixes is taken item by item where nothing crosses it, and refused where something does. */
static void a_fixed_batch_is_taken_apart(void **unused)
{
    (void)unused;
    for (int axis = 0; axis < 2; axis++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(3, 4, 6));
        qn_test_floats(g, "w", DIMS(6, 5), NULL);
        NODE(g, "MatMul", "x w", "m");
        NODE_WITH(g, "Softmax", "m", "s", A_INT("axis", axis));
        NODE_WITH(g, "ReduceMean", "s", "y", A_INTS("axes", 1), A_INT("keepdims", 0));
        qn_test_output(g, "y");
        if (axis == 1) {
            compare(&t, 4 * 6, 3, 1, 1e-5);
        } else {
            qn_program_options options;
            qn_program *program = NULL;
            qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t.err), &t.err);
            qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, QN_EUNSUPPORTED,
                            "across the fixed batch");
        }
        release(&t);
    }
}

/* Two nodes the engine cannot run are both named. */
static void what_cannot_run_is_refused_together(void **unused)
{
    (void)unused;
    net t;
    qn_graph *g = start(&t);
    qn_test_input(g, "x", DIMS(-1, 4, 6));
    NODE(g, "Tanh", "x", "wide");
    NODE(g, "Sigmoid", "x", "wider");
    float scale[2];
    int32_t zero[2];
    const qn_quantizer q[] = {po2(-8, 0, 16, true, &scale[0], &zero[0]), po2(-8, 0, 12, true, &scale[1], &zero[1])};
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "wide"), &q[0], &t.err), &t.err);
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "wider"), &q[1], &t.err), &t.err);
    NODE(g, "Add", "wide wider", "y");
    qn_test_output(g, "y");
    qn_program_options options;
    qn_program *program = NULL;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t.err), &t.err);
    qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, QN_EUNSUPPORTED, "Sigmoid");
    assert_non_null(strstr(t.err.message, "Tanh"));
    assert_non_null(strstr(t.err.message, "more than 8 bits"));
    release(&t);
}

/* Allocation fails at every place in turn: an error each time, and nothing leaks (the sanitizers watch). */
static void failing_allocations_are_errors(void **unused)
{
    (void)unused;
    net t;
    an_island(&t);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t.err), &t.err);
    qn_status status = QN_ENOMEM;
    for (int64_t countdown = 0; status != QN_OK; countdown++) {
        qn_program *program = NULL;
        qn_error_init(&t.err);
        qn_alloc_fail_after(countdown);
        status = qn_program_create(&program, &t.model, &options, &t.err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK ? countdown > 5 : status == QN_ENOMEM);
        qn_program_free(program);
    }
    release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_right_to_half_a_unit),
        cmocka_unit_test(powers_are_right_to_half_a_unit),
        cmocka_unit_test(products_add_in_the_written_order),
        cmocka_unit_test(networks_without_quantizers_are_one_island),
        cmocka_unit_test(tokens_on_codes_equal_simulation),
        cmocka_unit_test(islands_lie_between_codes),
        cmocka_unit_test(accumulators_of_tokens_are_sums_of_codes),
        cmocka_unit_test(any_step_can_be_run_again),
        cmocka_unit_test(a_fixed_batch_is_taken_apart),
        cmocka_unit_test(what_cannot_run_is_refused_together),
        cmocka_unit_test(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
