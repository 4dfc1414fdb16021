/* QONNX' nodes become quantizers where those say the same, and stay where they do not: nothing that a network computes may
 * change. */
#include "run_network.h"

#include <stdio.h>

#include "npz_json.h"
#include "onnx/onnx.h"
#include "onnx_build.h"

static void number(qn_graph *g, const char *name, float value)
{
    qn_test_floats(g, name, 0, NULL, &value);
}

/* What one item of x becomes. */
static void compute(net *t, qn_engine engine, const float *x, float *y)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_program_options_init(&options, engine, &t->err), &t->err);
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
    qn_assert_ok(qn_program_run(program, workspace, &x, 1, &y, &t->err), &t->err);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

static const qn_value *value_of(const net *t, const char *name)
{
    const qn_value_id id = qn_graph_find(&t->model.graph, name);
    return id != QN_NO_VALUE ? &t->model.graph.values[id] : NULL;
}

static bool has_node(const net *t, qn_op op)
{
    for (size_t i = 0; i < t->model.graph.n_nodes; i++) {
        if (t->model.graph.nodes[i].op == op) {
            return true;
        }
    }
    return false;
}

static void fold(net *t)
{
    qn_assert_ok(qn_qdq_fold(&t->model.graph, &t->err), &t->err);
    qn_assert_ok(qn_graph_tidy(&t->model.graph, &t->err), &t->err);
    qn_assert_ok(qn_graph_verify(&t->model.graph, &t->err), &t->err);
}

enum { N = 4096, ROWS = 4 };

/* Around every step of a scale and the middles between them, powers of two, and everywhere. */
static void sample(float *x, float scale)
{
    uint64_t state = 7;
    for (int i = 0; i < N; i++) {
        const float near = scale * 0.5f * (float)(i / 4 - N / 8);
        x[i] = i % 4 == 0   ? near
               : i % 4 == 1 ? nextafterf(near, INFINITY)
               : i % 4 == 2 ? nextafterf(near, -INFINITY)
                            : ldexpf(qn_test_uniform(&state, -2, 2), (int)(state % 24) - 16);
    }
}

/* One node over x of N elements; folded in place. Both ways give the same numbers. */
typedef struct setting {
    const char *type, *inputs, *mode;
    float scale, zero, bits;
    int is_signed, narrow;
    bool folds;       /* no node is left */
    const char *grid; /* format of the result, NULL for none */
} setting;

static void build(net *t, const setting *s, const float *constant)
{
    qn_graph *g = start(t);
    const float rows[ROWS] = {s->scale, s->scale * 2, s->scale * 0.3f, s->scale * 7};
    qn_test_input(g, "x", DIMS(1, ROWS, N / ROWS));
    if (constant != NULL) {
        qn_test_floats(g, "c", DIMS(1, ROWS, N / ROWS), constant);
    }
    number(g, "s", s->scale);
    qn_test_floats(g, "rows", DIMS(ROWS, 1), rows);
    number(g, "z", s->zero);
    number(g, "b", s->bits);
    number(g, "e", 4);
    number(g, "m", 3);
    number(g, "bias", 7);
    number(g, "M", s->bits);
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s %s", constant != NULL ? "c" : "x", s->inputs);
    if (strcmp(s->type, "Quant") == 0) {
        NODE_WITH(g, "Quant", inputs, "q", A_INT("signed", s->is_signed), A_INT("narrow", s->narrow),
                  A_STRING("rounding_mode", s->mode));
    } else if (strcmp(s->type, "FloatQuant") == 0) {
        NODE_WITH(g, "FloatQuant", inputs, "q", A_INT("has_nan", 1), A_STRING("rounding_mode", s->mode));
    } else {
        NODE(g, s->type, inputs, "q");
    }
    if (constant != NULL) {
        NODE(g, "Add", "x q", "y");
    } else {
        NODE(g, "Neg", "q", "y");
    }
    qn_test_output(g, "y");
}

static void expect_equal(const setting *s, const char *how, const float *x, const float *y, const float *wanted)
{
    for (int i = 0; i < N; i++) {
        if (y[i] != wanted[i]) {
            fail_msg("%s %s, %s of scale %g, zero point %g, %g bits, %s: %a becomes %a, not %a", s->type, s->inputs,
                     s->mode, (double)s->scale, (double)s->zero, (double)s->bits, how, (double)x[i], (double)y[i],
                     (double)wanted[i]);
        }
    }
}

static const char *format_of(const qn_value *value)
{
    static char name[QN_FORMAT_NAME_MAX];
    if (value == NULL || value->quantizer == NULL) {
        return NULL;
    }
    qn_format_name(name, value->quantizer->format);
    return name;
}

static void expect_format(const setting *s, const char *got)
{
    if (s->grid == NULL ? got != NULL : got == NULL || strcmp(got, s->grid) != 0) {
        fail_msg("%s %s, %s, zero point %g, %g bits: format %s, not %s", s->type, s->inputs, s->mode, (double)s->zero,
                 (double)s->bits, got != NULL ? got : "none", s->grid != NULL ? s->grid : "none");
    }
}

static const setting settings[] = {
    {"Quant", "s z b", "ROUND", 0.1f, 0, 8, 1, 0, true, "int8"},
    {"Quant", "s z b", "round", 0.1f, 0, 8, 1, 1, true, "int8:narrow"},
    {"Quant", "s z b", "HALF_EVEN", 0.037f, 0, 4, 0, 0, true, "uint4"},
    {"Quant", "s z b", "FLOOR", 0.1f, 0, 4, 1, 0, false, "int4"},
    {"Quant", "s z b", "DOWN", 0.1f, 0, 5, 1, 0, false, "int5"},
    {"Quant", "s z b", "ROUND", 0.01f, 0, 16, 1, 0, true, "int16"},
    {"Quant", "s z b", "ROUND", 0.1f, 0, 1, 0, 0, true, "uint1"},
    {"Quant", "s z b", "ROUND", 0.7f, 0, 1, 1, 0, true, "binary"},
    {"Quant", "rows z b", "ROUND", 0.1f, 0, 8, 1, 0, true, "int8"},
    {"Quant", "s z b", "CEIL", 0.1f, 0, 4, 1, 0, false, "int4"},
    {"Quant", "s z b", "UP", 0.1f, 0, 4, 1, 0, false, "int4"},
    {"Quant", "s z b", "HALF_UP", 0.1f, 0, 4, 1, 0, false, "int4"},
    {"Quant", "s z b", "HALF_DOWN", 0.1f, 0, 4, 1, 0, false, "int4"},
    {"Quant", "s z b", "ROUND", 0.1f, 3, 4, 0, 0, false, "uint4"},
    {"Quant", "s z b", "ROUND", 0.1f, 4, 4, 0, 0, false, "uint4"},
    {"Quant", "s z b", "ROUND", 0.1f, 0, 4, 0, 1, false, "uint4"},
    {"Quant", "s z b", "ROUND", 0.1f, 0.5f, 4, 0, 0, false, NULL},
    {"Quant", "s z b", "ROUND", 0.1f, 99, 4, 0, 0, false, NULL},
    {"Quant", "s z b", "ROUND", -0.1f, 0, 4, 1, 0, false, NULL},
    {"Quant", "s z b", "ROUND", 0.1f, 0, 2.5f, 1, 0, false, NULL},
    {"Quant", "s z b", "ROUND", 0.1f, 0, 20, 1, 0, false, NULL},
    {"Quant", "s z b", "ROUND", 0.1f, 1, 1, 1, 0, false, NULL},
    {"BipolarQuant", "s", "", 0.3f, 0, 0, 0, 0, true, "binary"},
    {"BipolarQuant", "rows", "", 0.3f, 0, 0, 0, 0, true, "binary"},
    {"BipolarQuant", "s", "", -0.3f, 0, 0, 0, 0, false, NULL},
    {"FloatQuant", "s e m bias M", "ROUND", 1, 0, 448, 0, 0, true, "fp8e4m3"},
    {"FloatQuant", "s e m bias M", "ROUND", 0.25f, 0, 448, 0, 0, true, "float<4,3,fn,9>"},
    {"FloatQuant", "s e m bias M", "ROUND", 1, 0, 240, 0, 0, true, "float<4,3,ieee>"},
    {"FloatQuant", "s e m bias M", "ROUND", 1, 0, 1e9f, 0, 0, true, "float<4,3,fnuz,7>"},
    {"FloatQuant", "s e m bias M", "FLOOR", 1, 0, 448, 0, 0, false, NULL},
    {"FloatQuant", "s e m bias M", "ROUND", 1, 0, 449, 0, 0, false, NULL},
    {"FloatQuant", "s e m bias M", "ROUND", 0.3f, 0, 448, 0, 0, false, NULL},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

static void folded_nodes_compute_the_same(void **unused)
{
    (void)unused;
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *wanted = malloc(N * sizeof *wanted);
    for (int i = 0; i < SETTINGS; i++) {
        const setting *s = &settings[i];
        net t;
        sample(x, s->scale);
        build(&t, s, NULL);
        compute(&t, QN_ENGINE_FLOAT, x, wanted);
        fold(&t);
        const bool left =
            has_node(&t, QN_OP_QUANT) || has_node(&t, QN_OP_FLOAT_QUANT) || has_node(&t, QN_OP_BIPOLAR_QUANT);
        if (left == s->folds) {
            fail_msg("%s %s, %s, zero point %g, %g bits: a node is %s", s->type, s->inputs, s->mode, (double)s->zero,
                     (double)s->bits, left ? "left" : "gone");
        }
        expect_format(s, format_of(value_of(&t, s->folds ? "x" : "q")));
        compute(&t, QN_ENGINE_SIMULATE, x, y);
        expect_equal(s, "simulated", x, y, wanted);
        const qn_quantizer *q = value_of(&t, s->folds ? "x" : "q")->quantizer;
        if (q == NULL || (q->format.kind == QN_FORMAT_INT && q->format.bits <= 8 && q->n == 1)) {
            compute(&t, QN_ENGINE_INTEGER, x, y);
            expect_equal(s, "in the integer engine", x, y, wanted);
        }
        qn_graph_free(&t.model.graph);
    }
    free(x);
    free(y);
    free(wanted);
}

/* Constants are computed while loading, and quantized wherever codes stand for what comes out. */
static void constants_keep_their_values(void **unused)
{
    (void)unused;
    float *x = calloc(N, sizeof *x), *c = malloc(N * sizeof *c), *y = malloc(N * sizeof *y),
          *wanted = malloc(N * sizeof *wanted);
    for (int i = 0; i < SETTINGS; i++) {
        setting s = settings[i];
        net t;
        sample(c, s.scale);
        build(&t, &s, c);
        compute(&t, QN_ENGINE_FLOAT, x, wanted);
        fold(&t);
        const qn_value *q = value_of(&t, "q");
        assert_non_null(q->constant);
        assert_int_equal(t.model.graph.n_nodes, 1);
        assert_true((q->codes != NULL) == (q->quantizer != NULL));
        if (settings[i].grid != NULL) {
            assert_non_null(q->codes);
        }
        compute(&t, QN_ENGINE_FLOAT, x, y);
        expect_equal(&s, "of a constant", c, y, wanted);
        qn_graph_free(&t.model.graph);
    }
    free(x);
    free(c);
    free(y);
    free(wanted);
}

/* A reader of x besides the node, and a graph output: the name of the output stays, x is not rounded. */
static void other_readers_see_what_is_not_rounded(void **unused)
{
    (void)unused;
    const float x[4] = {0.26f, -0.24f, 9, 0.5f};
    const float wanted[4] = {0.26f + 0.5f, -0.24f, 9 + 1.5f, 0.5f + 0.5f};
    float y[4];
    net t;
    qn_graph *g = start(&t);
    qn_test_input(g, "x", DIMS(1, 4));
    number(g, "s", 0.5f);
    number(g, "z", 0);
    number(g, "b", 3);
    NODE_WITH(g, "Quant", "x s z b", "q", A_INT("signed", 1));
    NODE(g, "Add", "x q", "y");
    qn_test_output(g, "y");
    fold(&t);
    compute(&t, QN_ENGINE_SIMULATE, x, y);
    for (int i = 0; i < 4; i++) {
        assert_float_equal(y[i], wanted[i], 0);
    }
    assert_null(value_of(&t, "x")->quantizer);
    assert_non_null(value_of(&t, "q")->quantizer);
    qn_graph_free(g);
}

static void parameters_that_mean_nothing_are_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *inputs;
        float scale, bits;
        const char *mode, *message;
    } rows[] = {
        {"x s z b", 0.1f, 0, "ROUND", "bit width, is 0"},
        {"x s z b", 0.1f, 33, "ROUND", "bit width, is 33"},
        {"x s z b", 0.1f, 1e9f, "ROUND", "bit width, is 1e+09"},
        {"x s z b", 0.1f, -3, "ROUND", "bit width, is -3"},
        {"x s z b", 0.1f, NAN, "ROUND", "bit width, is nan"},
        {"x s z rows", 0.1f, 8, "ROUND", "has 4 elements, expected one"},
        {"x s z b", 0, 8, "ROUND", "a scale, is 0"},
        {"x s z b", NAN, 8, "ROUND", "a scale, is nan"},
        {"x s z b", INFINITY, 8, "ROUND", "a scale, is inf"},
        {"x s z b", 0.1f, 8, "NEAREST", "'NEAREST' is none of"},
        {"x wide z b", 0.1f, 8, "ROUND", "does not broadcast"},
        {"x s z", 0.1f, 8, "ROUND", "3 inputs, expected at least 4"},
        {"x s z b b", 0.1f, 8, "ROUND", "5 inputs, expected at most 4"},
        {"x - z b", 0.1f, 8, "ROUND", "input 1 is missing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(1, 8));
        number(g, "s", rows[i].scale);
        number(g, "z", 0);
        number(g, "b", rows[i].bits);
        qn_test_floats(g, "rows", DIMS(ROWS), NULL);
        qn_test_floats(g, "wide", DIMS(7), (const float[]){1, 1, 1, 1, 1, 1, 1});
        NODE_WITH(g, "Quant", rows[i].inputs, "y", A_STRING("rounding_mode", rows[i].mode));
        qn_test_output(g, "y");
        fold(&t); /* changes nothing */
        assert_true(has_node(&t, QN_OP_QUANT));
        qn_binding binding;
        const qn_status status = qn_graph_bind(&binding, g, 1, &t.err);
        qn_assert_fails(status, &t.err, t.err.status, rows[i].message);
        qn_graph_free(g);
    }
}

/* Computed parameters can be anything: results are what they are, and nothing breaks. */
static void computed_parameters_may_be_anything(void **unused)
{
    (void)unused;
    static const float odd[] = {0, -1, 1e9f, -1e9f, NAN, INFINITY, -INFINITY, 0x1p-149f, 33, 0.5f};
    enum { ODD = sizeof odd / sizeof odd[0] };
    static const char *const nodes[][2] = {
        {"Quant", "x p z p"},          {"Quant", "x p p p"},   {"BipolarQuant", "x p"}, {"FloatQuant", "x p p p p p"},
        {"FloatQuant", "x s p m p p"}, {"Trunc", "x p p p p"}, {"Trunc", "x p p p p p"}};
    for (size_t k = 0; k < sizeof nodes / sizeof nodes[0]; k++) {
        for (int i = 0; i < ODD; i++) {
            net t;
            const float x[4] = {0.3f, -1e30f, 0, odd[i]};
            float y[4];
            qn_graph *g = start(&t);
            qn_test_input(g, "x", DIMS(1, 4));
            number(g, "s", 1);
            number(g, "z", 0);
            number(g, "m", 3);
            qn_test_ints(g, "last", 1, (const int64_t[]){3});
            NODE_WITH(g, "Gather", "x last", "p", A_INT("axis", 1));
            qn_test_node(g, nodes[k][0], nodes[k][1], "y", 0, NULL);
            qn_test_output(g, "y");
            fold(&t);
            compute(&t, QN_ENGINE_FLOAT, x, y);
            compute(&t, QN_ENGINE_INTEGER, x, y);
            qn_graph_free(g);
        }
    }
}

/* Models of QONNX' test data, by results of QONNX' own executor over ONNX Runtime: within a step of the output; of floats without
 * one, just the same from the integer engine. */
static void models_give_what_qonnx_gives(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        float step; /* 0: the same numbers */
    } models[] = {
        {"fp8_linear", 0}, {"eltwise_chanlast_testcase", 1}, {"espcn_subpixel_quant_model", 0.003921568859368563f}};
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        char path[128], *copy;
        snprintf(path, sizeof path, "vectors/qonnx/%s.onnx", models[m].name);
        const char *shared = qn_shared(path);
        if (shared == NULL) {
            skip();
        }
        copy = strdup(shared);
        snprintf(path, sizeof path, "vectors/qonnx/%s_io.npz", models[m].name);
        const char *io = qn_shared(path);
        assert_non_null(io);
        qn_tensor x = npz_read(io, "input"), wanted = npz_read(io, "output");
        const int64_t n = qn_tensor_count(&wanted);
        float *y = malloc((size_t)n * sizeof *y);
        for (qn_engine engine = QN_ENGINE_INTEGER; engine <= QN_ENGINE_SIMULATE; engine++) {
            net t;
            qn_error_init(&t.err);
            qn_model *model;
            qn_assert_ok(qn_model_load(&model, copy, &t.err), &t.err);
            qn_graph *g = &model->graph;
            memcpy(g->values[g->inputs[0]].dims, x.dims, sizeof x.dims); /* a smaller picture than the file's */
            qn_program_options options;
            qn_program *program = NULL;
            qn_workspace *workspace = NULL;
            qn_assert_ok(qn_program_options_init(&options, engine, &t.err), &t.err);
            qn_assert_ok(qn_program_create(&program, model, &options, &t.err), &t.err);
            qn_assert_ok(qn_workspace_create(&workspace, program, &t.err), &t.err);
            const float *input = x.data;
            qn_assert_ok(qn_program_run(program, workspace, &input, 1, &y, &t.err), &t.err);
            int64_t n_apart = 0;
            for (int64_t i = 0; i < n; i++) {
                const float apart = fabsf(y[i] - ((const float *)wanted.data)[i]);
                n_apart += apart > 1e-6f;
                const float rounding = engine == QN_ENGINE_SIMULATE ? 1e-6f : 0; /* oneDNN adds in its own order */
                if (!(apart <= models[m].step * 1.0001f + rounding)) {
                    fail_msg("%s, engine %d, output %lld: %.9g, not %.9g", models[m].name, (int)engine, (long long)i,
                             (double)y[i], (double)((const float *)wanted.data)[i]);
                }
            }
            printf("%s, engine %d: %lld of %lld outputs a step apart\n", models[m].name, (int)engine,
                   (long long)n_apart, (long long)n);
            assert_true(n_apart * 200 <= n);
            qn_workspace_free(workspace);
            qn_program_free(program);
            qn_model_free(model);
        }
        free(copy);
        free(y);
        qn_tensor_free(&x);
        qn_tensor_free(&wanted);
    }
}

/* The names and versions of the domains; Trunc has other inputs in each. */
static void domains_have_versions(void **unused)
{
    (void)unused;
    static const struct {
        const char *domain, *inputs;
        int64_t version; /* 0: not imported */
        const char *message;
    } rows[] = {
        {"qonnx.custom_op.general", "x,s,z,b,b", 0, NULL},
        {"onnx.brevitas", "x,s,z,b,b", 1, NULL},
        {"finn.custom_op.general", "x,s,z,b,s,b", 2, NULL},
        {"qonnx.custom_op.general", "x,s,z,b,s,b", 3, NULL},
        {"onnx.brevitas", "x,s,z,b,s,b", 0, "6 inputs, but version 1 of domain onnx.brevitas"},
        {"qonnx.custom_op.general", "x,s,z,b,b", 2, "5 inputs, but version 2"},
        {"qonnx.custom_op.general", "x,s,z,b,b", -1, "version -1 of domain"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum { FLOAT = 1 };
        static const float one = 1, zero = 0, eight = 8;
        static const int64_t dims[] = {1, 4};
        onnx_build b;
        build_begin(&b, 13);
        build_input(&b, "x", FLOAT, 2, dims);
        build_output(&b, "y", FLOAT, 2, dims);
        build_raw(&b, "s", FLOAT, 0, NULL, &one, sizeof one);
        build_raw(&b, "z", FLOAT, 0, NULL, &zero, sizeof zero);
        build_raw(&b, "b", FLOAT, 0, NULL, &eight, sizeof eight);
        char *domain = qn_arena_string(&b.arena, rows[i].domain);
        build_node(&b, "Trunc", "t", rows[i].inputs, "y")->domain = domain;
        Onnx__OperatorSetIdProto second = ONNX__OPERATOR_SET_ID_PROTO__INIT,
                                 *both[] = {b.model.opset_import[0], &second};
        second.domain = domain;
        second.has_version = 1;
        second.version = rows[i].version;
        b.model.opset_import = both;
        b.model.n_opset_import = rows[i].version == 0 ? 1 : 2;
        build_bytes(&b);
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        const qn_status status = qn_model_load_memory(&model, b.bytes, b.n_bytes, "made.onnx", &err);
        if (rows[i].message != NULL) {
            qn_assert_fails(status, &err, QN_EFORMAT, rows[i].message);
        } else {
            qn_assert_ok(status, &err);
            const qn_node *trunc = &model->graph.nodes[model->graph.n_nodes - 1];
            assert_int_equal(trunc->op, QN_OP_TRUNC);
            assert_string_equal(trunc->domain, "qonnx.custom_op.general");
        }
        qn_model_free(model);
        build_end(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folded_nodes_compute_the_same),
        cmocka_unit_test(constants_keep_their_values),
        cmocka_unit_test(other_readers_see_what_is_not_rounded),
        cmocka_unit_test(parameters_that_mean_nothing_are_refused),
        cmocka_unit_test(computed_parameters_may_be_anything),
        cmocka_unit_test(models_give_what_qonnx_gives),
        cmocka_unit_test(domains_have_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
