/* Softmax, LayerNormalization and products of two activations on codes: against sums and quotients in wider integers, and
 * against the float definition. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/integer/integer.h"
#include "engine/integer/kernels/rows.h"
#include "graph/model.h"
#include "quern/quern.h"

typedef unsigned __int128 wide;
typedef __int128 wide_signed;

/* Nearest, ties to even. */
static int64_t nearest(wide_signed n, wide_signed d)
{
    wide_signed q = n / d, rest = n % d;
    if (rest < 0) {
        rest += d, q--;
    }
    return (int64_t)(q + (2 * rest > d || (2 * rest == d && (q & 1) != 0)));
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

typedef struct {
    float scale;
    int32_t zero_point;
} coding;

typedef struct {
    qn_model model;
    qn_error err;
} net;

static qn_graph *start(net *t)
{
    memset(t, 0, sizeof *t);
    qn_error_init(&t->err);
    t->model.graph.opset = 17;
    t->model.graph.file = "net.onnx";
    return &t->model.graph;
}

static void code(net *t, const char *name, coding c)
{
    const qn_quantizer q = {.format = {.bits = 8}, .axis = -1, .n = 1, .scale = &c.scale, .zero_point = &c.zero_point};
    qn_assert_ok(qn_graph_set_quantizer(&t->model.graph, qn_graph_find(&t->model.graph, name), &q, &t->err), &t->err);
}

/* Codes out for codes in, of one item, at one CPU level. */
static void run_level(net *t, qn_cpu cpu, const coding *in, const uint8_t *const *x, const coding *out, uint8_t *y)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t->err), &t->err);
    options.cpu = cpu;
    options.batch = 1;
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    const qn_integer_code *made = program->code;
    int n_rows = 0;
    for (int i = 0; i < made->n_steps; i++) {
        n_rows += made->steps[i].kind == QN_STEP_ROWS;
        assert_int_not_equal(made->steps[i].kind, QN_STEP_ISLAND);
    }
    assert_int_equal(n_rows, 1);
    qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
    float *floats[2], *result = malloc((size_t)qn_program_output_count(program, 0) * sizeof *result);
    for (size_t i = 0; i < program->n_inputs; i++) {
        const int64_t n = qn_program_input_count(program, i);
        floats[i] = malloc((size_t)n * sizeof **floats);
        for (int64_t k = 0; k < n; k++) {
            floats[i][k] = (float)(x[i][k] - in[i].zero_point) * in[i].scale;
        }
    }
    const uint64_t before = qn_alloc_count();
    qn_assert_ok(qn_program_run(program, workspace, (const float *const *)floats, 1, &result, &t->err), &t->err);
    assert_true(qn_alloc_count() == before);
    for (int64_t k = 0; k < qn_program_output_count(program, 0); k++) {
        y[k] = (uint8_t)(lrintf(result[k] / out->scale) + out->zero_point);
    }
    for (size_t i = 0; i < program->n_inputs; i++) {
        free(floats[i]);
    }
    free(result);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

enum { MOST = 1 << 15 };

/* The same from all levels. */
static void run_codes(net *t, const coding *in, const uint8_t *const *x, const coding *out, uint8_t *y, int n)
{
    uint8_t *other = malloc(MOST);
    run_level(t, QN_CPU_REFERENCE, in, x, out, y);
    for (qn_cpu cpu = QN_CPU_REFERENCE + 1; cpu <= qn_cpu_best(); cpu++) {
        run_level(t, cpu, in, x, out, other);
        assert_memory_equal(other, y, (size_t)n);
    }
    free(other);
}

/* Codes as noise has them, all at the ends, or few far above the rest. */
static void draw(uint8_t *x, int n, int kind, uint64_t *seed)
{
    for (int i = 0; i < n; i++) {
        const uint32_t r = (uint32_t)(qn_test_random(seed) >> 32);
        x[i] = kind == 0   ? (uint8_t)r
               : kind == 1 ? (r & 1 ? 255 : 0)
               : kind == 2 ? (uint8_t)(r % 16 == 0 ? 200 + r / 16 % 56 : r / 16 % 40)
                           : (uint8_t)(100 + r % 3);
    }
}

/* 3.10 with tables from libm in extended precision. */
static uint8_t softmax_code(const uint8_t *x, int n, int step, int at, coding in, coding out)
{
    int most = 0, exponent;
    wide sum = 0;
    for (int i = 0; i < n; i++) {
        most = x[i * step] > most ? x[i * step] : most;
    }
    for (int i = 0; i < n; i++) {
        sum += (wide)rintl(ldexpl(expl(-(long double)(most - x[i * step]) * (long double)in.scale), 31));
    }
    (void)frexp(1 / (double)out.scale, &exponent);
    const long double e = expl(-(long double)(most - x[at * step]) * (long double)in.scale);
    const wide part = (wide)rintl(e * (long double)(ldexp(1, 31 - exponent) / (double)out.scale));
    const int64_t q = exponent >= 0 ? nearest((wide_signed)(part << exponent), (wide_signed)sum)
                                    : nearest((wide_signed)part, (wide_signed)(sum << -exponent));
    return (uint8_t)clamp(q + out.zero_point, 0, 255);
}

static uint8_t float_softmax_code(const uint8_t *x, int n, int step, int at, coding in, coding out)
{
    int most = 0;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        most = x[i * step] > most ? x[i * step] : most;
    }
    for (int i = 0; i < n; i++) {
        sum += (double)expf((float)(x[i * step] - most) * in.scale);
    }
    const float y = expf((float)(x[at * step] - most) * in.scale) / (float)sum;
    return (uint8_t)clamp(lrintf(y / out.scale) + out.zero_point, 0, 255);
}

static const coding results[] = {{1.0f / 256, 0}, {1.0f / 255, 0}, {0.0071f, 3},
                                 {1.5f, 7},       {0x1p-12f, 0},   {1.0f / 128, 128}};

static void softmax_is_the_nearest_quotient(void **unused)
{
    (void)unused;
    static const struct {
        int64_t dims[3];
        int axis, n, step;
    } shapes[] = {{{3, 4, 65}, -1, 65, 1},
                  {{2, 7, 33}, 1, 7, 33},
                  {{1, 1, 1000}, 2, 1000, 1},
                  {{5, 3, 1}, 2, 1, 1},
                  {{1, 4, 512}, 2, 512, 1}};
    static const float scales[] = {0.0123f, 0.11f, 0.7f, 3.5f};
    uint8_t *x = malloc(MOST), *y = malloc(MOST);
    uint64_t seed = 11;
    int64_t n_codes = 0, n_different = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (int trial = 0; trial < 24; trial++) {
            const int n = (int)(shapes[s].dims[0] * shapes[s].dims[1] * shapes[s].dims[2]), step = shapes[s].step;
            const coding in = {scales[trial % 4], (int32_t)(qn_test_random(&seed) % 256)}, out = results[trial % 6];
            net t;
            qn_graph *g = start(&t);
            qn_test_input(g, "x", DIMS(-1, shapes[s].dims[0], shapes[s].dims[1], shapes[s].dims[2]));
            NODE_WITH(g, "Softmax", "x", "y", A_INT("axis", shapes[s].axis < 0 ? -1 : shapes[s].axis + 1));
            qn_test_output(g, "y");
            code(&t, "x", in);
            code(&t, "y", out);
            draw(x, n, trial / 6, &seed);
            const uint8_t *const inputs[] = {x};
            run_codes(&t, &in, inputs, &out, y, n);
            for (int i = 0; i < n; i++) {
                const int first = i / (shapes[s].n * step) * shapes[s].n * step + i % step;
                const uint8_t wanted = softmax_code(x + first, shapes[s].n, step, (i - first) / step, in, out);
                if (y[i] != wanted) {
                    fail_msg("shape %zu trial %d code %d is %d, not %d", s, trial, i, y[i], wanted);
                }
                const int real = float_softmax_code(x + first, shapes[s].n, step, (i - first) / step, in, out);
                assert_in_range(y[i] + 1 - real, 0, 2);
                n_codes++;
                n_different += y[i] != real;
            }
            qn_graph_free(&t.model.graph);
        }
    }
    print_message("[   INFO   ] Softmax: %lld of %lld codes are not those of float\n", (long long)n_different,
                  (long long)n_codes);
    assert_true(n_different * 1000 < n_codes);
    free(x);
    free(y);
}

/* Rows that masks leave nearly empty: all but one code at the bottom, or all of them. */
static void what_is_masked_gets_nothing(void **unused)
{
    (void)unused;
    const coding in = {0.25f, 200}, out = {1.0f / 256, 0};
    uint8_t x[4 * 40], y[4 * 40];
    memset(x, 0, sizeof x);
    x[3] = 250;         /* one element is left */
    x[40] = x[79] = 90; /* two, alike */
    for (int i = 0; i < 8; i++) {
        x[120 + i] = 128; /* eight */
    }
    net t;
    qn_graph *g = start(&t);
    qn_test_input(g, "x", DIMS(-1, 4, 40));
    NODE_WITH(g, "Softmax", "x", "y", A_INT("axis", -1));
    qn_test_output(g, "y");
    code(&t, "x", in);
    code(&t, "y", out);
    const uint8_t *const inputs[] = {x};
    run_codes(&t, &in, inputs, &out, y, 160);
    for (int i = 0; i < 160; i++) {
        const int row = i / 40;
        const int wanted = row == 0   ? (i == 3 ? 255 : 0)
                           : row == 1 ? (i == 40 || i == 79 ? 128 : 0)
                           : row == 2 ? 6 /* 256 / 40 */
                                      : (i < 128 ? 32 : 0);
        assert_int_equal(y[i], wanted);
    }
    qn_graph_free(&t.model.graph);
}

/* 3.11 in wider integers. */
static uint8_t norm_code(const uint8_t *x, int n, int at, const float *gamma, const float *beta, double epsilon,
                         coding in, coding out)
{
    wide_signed sum = 0, squares = 0;
    double most_gain = 0, most_bias = 0;
    for (int i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
        most_gain = fmax(most_gain, fabs((double)gamma[i]) / (double)out.scale);
        most_bias = fmax(most_bias, fabs((double)beta[i]) / (double)out.scale);
    }
    const double nn = (double)n * n, add = epsilon / ((double)in.scale * (double)in.scale) * nn;
    int half = 15, bits = 30;
    while (ldexp(0x1p14 * nn + add, 2 * half) >= 0x1p62) {
        half--;
    }
    while (ldexp(most_gain, bits) >= 0x1p30 || ldexp(most_bias, bits + 20) >= 0x1p61) {
        bits--;
    }
    wide_signed z = 0;
    if (n * squares != sum * sum) {
        wide variance = ((wide)(n * squares - sum * sum) << (2 * half)) + (wide)rint(ldexp(add, 2 * half));
        int up = 0;
        while (variance << (2 * up + 2) < (wide)1 << 64) {
            up++;
        }
        variance <<= 2 * up;
        wide root = 0;
        for (int bit = 32; bit >= 0; bit--) {
            const wide more = root | (wide)1 << bit;
            root = more * more <= variance ? more : root;
        }
        const wide_signed factor = (wide_signed)((((wide)1 << 62) - 1) / root), off = n * x[at] - sum;
        const int shift = 42 - up - half;
        const wide_signed product = off * factor + ((wide_signed)1 << (shift - 1));
        z = product >> shift;
    }
    const wide_signed gain = (wide_signed)rint(ldexp((double)gamma[at] / (double)out.scale, bits));
    const wide_signed bias = (wide_signed)rint(ldexp((double)beta[at] / (double)out.scale, bits + 20));
    return (uint8_t)clamp(nearest(z * gain + bias, (wide_signed)1 << (bits + 20)) + out.zero_point, 0, 255);
}

static uint8_t float_norm_code(const uint8_t *x, int n, int at, const float *gamma, const float *beta, double epsilon,
                               coding in, coding out)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++) {
        mean += (double)((float)(x[i] - in.zero_point) * in.scale);
    }
    mean /= n;
    for (int i = 0; i < n; i++) {
        const double d = (double)((float)(x[i] - in.zero_point) * in.scale) - mean;
        variance += d * d;
    }
    const float f = (float)(1 / sqrt(variance / n + epsilon)), v = (float)(x[at] - in.zero_point) * in.scale;
    const float y = (v - (float)mean) * f * gamma[at] + beta[at];
    return (uint8_t)clamp((int64_t)rintf(fminf(fmaxf(y / out.scale, -1000), 1000)) + out.zero_point, 0, 255);
}

static void normalization_is_the_nearest_code(void **unused)
{
    (void)unused;
    static const int sizes[] = {1, 2, 7, 48, 192, 1000};
    static const float scales[] = {0.02f, 1.7f, 0.0004f}, epsilons[] = {1e-5f, 1e-12f, 0.1f};
    uint8_t *x = malloc(MOST), *y = malloc(MOST);
    uint64_t seed = 5;
    int64_t n_codes = 0, n_different = 0;
    for (int trial = 0; trial < 72; trial++) {
        const int n = sizes[trial % 6], rows = 9;
        const float epsilon = epsilons[trial % 3];
        const coding in = {scales[trial / 3 % 3], 128}, out = {trial % 4 == 0 ? 0.05f : 0.0173f, 121};
        float *gamma = malloc((size_t)n * sizeof *gamma), *beta = malloc((size_t)n * sizeof *beta);
        for (int i = 0; i < n; i++) {
            gamma[i] = qn_test_uniform(&seed, -0.3f, trial % 5 == 0 ? 9 : 1.5f);
            beta[i] = trial % 7 == 0 ? 0 : qn_test_uniform(&seed, -2, 2);
        }
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, rows, n));
        qn_test_floats(g, "gamma", DIMS(n), gamma);
        qn_test_floats(g, "beta", DIMS(n), beta);
        if (trial % 7 == 0) {
            NODE_WITH(g, "LayerNormalization", "x gamma", "y", A_FLOAT("epsilon", epsilon));
        } else {
            NODE_WITH(g, "LayerNormalization", "x gamma beta", "y", A_FLOAT("epsilon", epsilon));
        }
        qn_test_output(g, "y");
        code(&t, "x", in);
        code(&t, "y", out);
        draw(x, rows * n, trial % 4, &seed);
        memset(x + n, 77, (size_t)n); /* a row without variance */
        const uint8_t *const inputs[] = {x};
        run_codes(&t, &in, inputs, &out, y, rows * n);
        for (int i = 0; i < rows * n; i++) {
            const uint8_t *row = x + i / n * n;
            const uint8_t wanted = norm_code(row, n, i % n, gamma, beta, (double)epsilon, in, out);
            if (y[i] != wanted) {
                fail_msg("trial %d code %d is %d, not %d", trial, i, y[i], wanted);
            }
            const int real = float_norm_code(row, n, i % n, gamma, beta, (double)epsilon, in, out);
            assert_in_range(y[i] + 1 - real, 0, 2);
            n_codes++;
            n_different += y[i] != real;
        }
        qn_graph_free(&t.model.graph);
        free(gamma);
        free(beta);
    }
    print_message("[   INFO   ] LayerNormalization: %lld of %lld codes are not those of float\n",
                  (long long)n_different, (long long)n_codes);
    assert_true(n_different * 1000 < n_codes);
    free(x);
    free(y);
}

static void products_are_requantized_sums(void **unused)
{
    (void)unused;
    static const struct {
        int64_t a[3], b[3];
    } shapes[] = {{{3, 5, 7}, {3, 7, 4}},     {{2, 65, 32}, {2, 32, 65}}, {{4, 65, 65}, {4, 65, 32}},
                  {{1, 1, 1}, {1, 1, 1}},     {{3, 6, 9}, {1, 9, 17}},    {{1, 6, 18}, {3, 18, 16}},
                  {{2, 4, 130}, {2, 130, 33}}};
    uint8_t *a = malloc(MOST), *b = malloc(MOST), *y = malloc(MOST);
    uint64_t seed = 3;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (int trial = 0; trial < 6; trial++) {
            const int64_t *da = shapes[s].a, *db = shapes[s].b;
            const int m = (int)da[1], k = (int)da[2], n = (int)db[2], batches = (int)(da[0] > db[0] ? da[0] : db[0]);
            const coding in[] = {{0.013f, trial == 0   ? 0
                                          : trial == 1 ? 255
                                                       : (int32_t)(qn_test_random(&seed) % 256)},
                                 {0.0271f, trial == 0   ? 128
                                           : trial == 1 ? 0
                                                        : (int32_t)(qn_test_random(&seed) % 256)}};
            const coding out = {0.0911f * (float)(trial + 1), 119};
            net t;
            qn_graph *g = start(&t);
            qn_test_input(g, "a", DIMS(-1, da[0], da[1], da[2]));
            qn_test_input(g, "b", DIMS(-1, db[0], db[1], db[2]));
            NODE(g, "MatMul", "a b", "y");
            qn_test_output(g, "y");
            code(&t, "a", in[0]);
            code(&t, "b", in[1]);
            code(&t, "y", out);
            draw(a, (int)(da[0] * m * k), trial % 3, &seed);
            draw(b, (int)(db[0] * k * n), trial / 2 % 3, &seed);
            const uint8_t *const inputs[] = {a, b};
            run_codes(&t, in, inputs, &out, y, batches * m * n);
            for (int i = 0; i < batches * m * n; i++) {
                const uint8_t *left = a + (da[0] > 1 ? i / (m * n) * m * k : 0) + i / n % m * k;
                const uint8_t *right = b + (db[0] > 1 ? i / (m * n) * k * n : 0) + i % n;
                int32_t sum = 0;
                for (int j = 0; j < k; j++) {
                    sum += (left[j] - in[0].zero_point) * (right[j * n] - in[1].zero_point);
                }
                volatile float ratio = in[0].scale * in[1].scale;
                ratio = ratio / out.scale;
                volatile float v = (float)sum * ratio;
                const int wanted = (int)clamp((int64_t)rintf(fminf(fmaxf(v, -500), 500)) + out.zero_point, 0, 255);
                if (y[i] != wanted) {
                    fail_msg("shape %zu trial %d code %d is %d, not %d", s, trial, i, y[i], wanted);
                }
            }
            qn_graph_free(&t.model.graph);
        }
    }
    free(a);
    free(b);
    free(y);
}

/* Softmax and LayerNormalization as ONNX Runtime 1.30 has them, whose float functions and order of sums are its own: one
 * code apart at most, and rarely. How many differ is told. */
static void codes_are_those_of_onnx_runtime_within_one(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        float scale;
        int most; /* codes that may differ */
    } networks[] = {{"softmax", 1.0f / 256, 4}, {"normalization", 0.031f, 4}};
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        char path[512];
        qn_error err;
        qn_model *model = NULL;
        qn_program *program = NULL;
        qn_workspace *workspace = NULL;
        qn_program_options options;
        qn_tensor x, y;
        qn_error_init(&err);
        snprintf(path, sizeof path, "%s/tests/golden/integer/%s.onnx", QN_SOURCE_DIR, networks[i].name);
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
        options.batch = 1;
        qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
        snprintf(path, sizeof path, "%s/tests/golden/integer/%s_x.npy", QN_SOURCE_DIR, networks[i].name);
        qn_assert_ok(qn_tensor_read(&x, path, &err), &err);
        snprintf(path, sizeof path, "%s/tests/golden/integer/%s_y.npy", QN_SOURCE_DIR, networks[i].name);
        qn_assert_ok(qn_tensor_read(&y, path, &err), &err);
        const int64_t n_in = qn_program_input_count(program, 0), n_out = qn_program_output_count(program, 0);
        float *made = calloc((size_t)n_out, sizeof *made);
        int n_different = 0;
        for (int64_t item = 0; item < x.dims[0]; item++) {
            const float *in = (const float *)x.data + item * n_in, *wanted = (const float *)y.data + item * n_out;
            qn_assert_ok(qn_program_run(program, workspace, &in, 1, &made, &err), &err);
            for (int64_t k = 0; k < n_out; k++) {
                const long difference = lrintf((made[k] - wanted[k]) / networks[i].scale);
                assert_in_range(difference + 1, 0, 2);
                n_different += difference != 0;
            }
        }
        print_message("[   INFO   ] %s: %d of %lld codes are not those of ONNX Runtime\n", networks[i].name,
                      n_different, (long long)qn_tensor_count(&y));
        assert_in_range(n_different, 0, networks[i].most);
        free(made);
        qn_tensor_free(&x);
        qn_tensor_free(&y);
        qn_workspace_free(workspace);
        qn_program_free(program);
        qn_model_free(model);
    }
}

/* A scale that is no number has no codes: such a normalization stays in float. */
static void no_codes_of_what_is_no_number(void **unused)
{
    (void)unused;
    for (int at = 0; at < 3; at++) {
        float gamma[3] = {1, 2, 3};
        gamma[at] = NAN;
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, 2, 3));
        qn_test_floats(g, "gamma", DIMS(3), gamma);
        NODE(g, "LayerNormalization", "x gamma", "y");
        qn_test_output(g, "y");
        code(&t, "x", (coding){0.1f, 3});
        code(&t, "y", (coding){0.1f, 128});
        qn_program_options options;
        qn_program *program = NULL;
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t.err), &t.err);
        qn_assert_ok(qn_program_create(&program, &t.model, &options, &t.err), &t.err);
        const qn_integer_code *made = program->code;
        for (int i = 0; i < made->n_steps; i++) {
            assert_int_not_equal(made->steps[i].kind, QN_STEP_ROWS);
        }
        qn_program_free(program);
        qn_graph_free(&t.model.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_is_the_nearest_quotient),
        cmocka_unit_test(what_is_masked_gets_nothing),
        cmocka_unit_test(normalization_is_the_nearest_code),
        cmocka_unit_test(products_are_requantized_sums),
        cmocka_unit_test(no_codes_of_what_is_no_number),
        cmocka_unit_test(codes_are_those_of_onnx_runtime_within_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
