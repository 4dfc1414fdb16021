/* Operators of domain com.microsoft, in both engines, against the plainest loops that say the same. */
#include "onnx_build.h"
#include "support.h"

#include <math.h>
#include <string.h>

#include "graph/bind.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { FLOAT = 1, ROWS = 4, N = 6, MOST = 64 };
static const int64_t shape[] = {1, ROWS, N}, vector[] = {N};

static Onnx__NodeProto *node(onnx_build *b, const char *type, const char *inputs, const char *outputs)
{
    Onnx__NodeProto *made = build_node(b, type, "fused", inputs, outputs);
    made->domain = qn_arena_string(&b->arena, "com.microsoft");
    assert_non_null(made->domain);
    return made;
}

static void real(onnx_build *b, Onnx__NodeProto *of, const char *name, float v)
{
    Onnx__AttributeProto *a = build_attribute(b, of, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = v;
}

static void begin(onnx_build *b, float *x, float *v)
{
    uint64_t seed = 4;
    for (int i = 0; i < ROWS * N; i++) {
        x[i] = qn_test_uniform(&seed, -2, 2);
    }
    for (int i = 0; i < N; i++) {
        v[i] = qn_test_uniform(&seed, -1, 1);
    }
    build_begin(b, 17);
    build_input(b, "x", FLOAT, 3, shape);
    build_raw(b, "v", FLOAT, 1, vector, v, N * sizeof *v);
    build_raw(b, "w", FLOAT, 1, vector, x, N * sizeof *x);
}

static void expect(onnx_build *b, const float *x, int n, const double *wanted)
{
    for (int e = 0; e < 2; e++) {
        qn_error err;
        qn_model *model;
        qn_program_options options;
        qn_program *program;
        qn_workspace *workspace;
        float y[MOST], *to = y;
        build_bytes(b);
        qn_error_init(&err);
        qn_assert_ok(qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err), &err);
        qn_assert_ok(qn_program_options_init(&options, e == 0 ? QN_ENGINE_FLOAT : QN_ENGINE_INTEGER, &err), &err);
        options.batch = 1;
        qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
        assert_int_equal(qn_program_output_count(program, 0), n);
        qn_assert_ok(qn_program_run(program, workspace, &x, 1, &to, &err), &err);
        for (int i = 0; i < n; i++) {
            if (!(fabs((double)y[i] - wanted[i]) <= 2e-6 * (1 + fabs(wanted[i])))) {
                fail_msg("%s, output %d: %.9g, not %.9g", b->graph.node[0]->op_type, i, (double)y[i], wanted[i]);
            }
        }
        qn_workspace_free(workspace);
        qn_program_free(program);
        qn_model_free(model);
    }
    build_end(b);
}

static void activations_have_their_bias(void **unused)
{
    (void)unused;
    static const char *const types[] = {"Gelu", "BiasGelu", "FastGelu", "QuickGelu"};
    for (int t = 0; t < 4; t++) {
        onnx_build b;
        float x[ROWS * N], v[N];
        double y[ROWS * N];
        const bool biased = t == 1 || t == 2;
        begin(&b, x, v);
        build_output(&b, "y", FLOAT, 3, shape);
        node(&b, types[t], biased ? "x,v" : "x", "y");
        for (int i = 0; i < ROWS * N; i++) {
            const double u = (double)x[i] + (biased ? (double)v[i % N] : 0);
            y[i] = t == 2   ? u * 0.5 * (1 + tanh(sqrt(2 / acos(-1)) * (u + 0.044715 * u * u * u)))
                   : t == 3 ? u / (1 + exp(-(double)1.702f * u))
                            : u * 0.5 * (1 + erf(u * sqrt(0.5)));
        }
        expect(&b, x, ROWS * N, y);
    }
}

static void products_turn_and_scale_their_factors(void **unused)
{
    (void)unused;
    for (int turned = 0; turned < 4; turned++) { /* x' x, x x' */
        onnx_build b;
        float x[ROWS * N], v[N];
        double y[MOST] = {0};
        const bool a = turned % 2 != 0, second = turned / 2 != 0;
        if (a == second) {
            continue; /* do not fit */
        }
        begin(&b, x, v);
        const int n = a ? N : ROWS, k = a ? ROWS : N;
        build_output(&b, "y", FLOAT, 3, (const int64_t[]){1, n, n});
        Onnx__NodeProto *product = node(&b, "FusedMatMul", "x,x", "y");
        build_int(&b, product, "transA", a);
        build_int(&b, product, "transB", second);
        real(&b, product, "alpha", 0.25f);
        for (int i = 0; i < n * n; i++) {
            for (int j = 0; j < k; j++) {
                y[i] += 0.25 * (double)(a ? x[j * N + i / n] * x[j * N + i % n] : x[i / n * N + j] * x[i % n * N + j]);
            }
        }
        expect(&b, x, n * n, y);
    }
}

/* Kind 0: with means; 1: by the root of squares; both of x + x + bias, which is an output, too. */
static void sums_are_normalized(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 2; kind++) {
        for (int told = 0; told < 2; told++) {
            onnx_build b;
            float x[ROWS * N], v[N];
            double y[ROWS * N], sum[ROWS * N];
            begin(&b, x, v);
            build_output(&b, told ? "s" : "y", FLOAT, 3, shape);
            node(&b, kind == 0 ? "SkipLayerNormalization" : "SkipSimplifiedLayerNormalization",
                 kind == 0 ? "x,x,v,w,v" : "x,x,v,v", "y,,,s");
            for (int row = 0; row < ROWS; row++) {
                double mean = 0, squares = 0;
                for (int i = 0; i < N; i++) {
                    sum[row * N + i] = 2 * (double)x[row * N + i] + (double)v[i];
                    mean += kind == 0 ? sum[row * N + i] / N : 0;
                }
                for (int i = 0; i < N; i++) {
                    squares += (sum[row * N + i] - mean) * (sum[row * N + i] - mean) / N;
                }
                for (int i = 0; i < N; i++) {
                    y[row * N + i] = (sum[row * N + i] - mean) / sqrt(squares + 1e-12) * (double)v[i] +
                                     (kind == 0 ? (double)x[i] : 0);
                }
            }
            if (told == 1) {
                expect(&b, x, ROWS * N, sum);
            } else {
                expect(&b, x, ROWS * N, y);
            }
        }
    }
}

static void layers_have_their_activation(void **unused)
{
    (void)unused;
    onnx_build b;
    float x[ROWS * N], v[N], bounds[] = {-0.5f, 0.75f};
    double y[ROWS * N];
    begin(&b, x, v);
    build_output(&b, "y", FLOAT, 3, shape);
    build_raw(&b, "k", FLOAT, 3, (const int64_t[]){ROWS, 1, 1}, v, ROWS * sizeof *v);
    build_raw(&b, "bias", FLOAT, 1, (const int64_t[]){ROWS}, v, ROWS * sizeof *v);
    Onnx__NodeProto *conv = node(&b, "FusedConv", "x,k,bias,x", "y");
    build_int(&b, conv, "group", ROWS);
    Onnx__AttributeProto *a = build_attribute(&b, conv, "activation", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)qn_arena_string(&b.arena, "Clip")};
    a = build_attribute(&b, conv, "activation_params", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
    a->n_floats = 2;
    a->floats = bounds;
    for (int i = 0; i < ROWS * N; i++) {
        const double sum = (double)x[i] * (double)v[i / N] + (double)v[i / N] + (double)x[i];
        y[i] = fmin(fmax(sum, -0.5), 0.75);
    }
    expect(&b, x, ROWS * N, y);
}

static void what_is_not_known_is_refused_by_name(void **unused)
{
    (void)unused;
    onnx_build b;
    float x[ROWS * N], v[N];
    qn_error err;
    qn_model *model;
    begin(&b, x, v);
    build_output(&b, "y", FLOAT, 3, shape);
    node(&b, "Attention", "x,v", "y");
    build_bytes(&b);
    qn_error_init(&err);
    qn_assert_fails(qn_model_load_memory(&model, b.bytes, b.n_bytes, "made.onnx", &err), &err, QN_EUNSUPPORTED,
                    "com.microsoft.Attention (1 node: 'fused')");
    assert_string_equal(err.where, "made.onnx");
    assert_non_null(strstr(err.message, "save the model without optimizations"));
    build_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_have_their_bias),
        cmocka_unit_test(products_turn_and_scale_their_factors),
        cmocka_unit_test(sums_are_normalized),
        cmocka_unit_test(layers_have_their_activation),
        cmocka_unit_test(what_is_not_known_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
