/* Functions of one value on codes: tables that give what the same nodes give in float, encoded by this test; over all
 * codes, operators, formats and instruction sets. */
#include "run_network.h"

#include "engine/integer/integer.h"

typedef struct {
    float scale;
    int32_t zero_point, lo, hi;
    int bits;
    bool is_signed;
} grid;

static const grid u8 = {0.043f, 97, 0, 255, 8, false}, s8 = {0.031f, -13, -128, 127, 8, true},
                  s4 = {0.7f, 2, -8, 7, 4, true}, coarse = {3.1f, 128, 0, 255, 8, false};

static void put(net *t, const char *name, const grid *g)
{
    float scale = g->scale;
    int32_t zero = g->zero_point;
    const qn_quantizer q = {.format = {.bits = g->bits, .is_signed = g->is_signed},
                            .axis = -1,
                            .n = 1,
                            .scale = &scale,
                            .zero_point = &zero};
    qn_assert_ok(qn_graph_set_quantizer(&t->model.graph, qn_graph_find(&t->model.graph, name), &q, &t->err), &t->err);
}

/* QuantizeLinear, then DequantizeLinear; NaN is the least code. */
static float rounded(float x, const grid *g)
{
    const double v = isnan(x) ? -INFINITY : rint((double)(x / g->scale));
    const double code = fmin(fmax(v + g->zero_point, g->lo), g->hi);
    return (float)(code - g->zero_point) * g->scale;
}

static int count_steps(net *t, qn_integer_kind kind)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t->err), &t->err);
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    const qn_integer_code *code = program->code;
    int n = 0;
    for (int i = 0; i < code->n_steps; i++) {
        n += code->steps[i].kind == kind;
    }
    qn_program_free(program);
    return n;
}

/* A network that maps x to y over 4 x 8 x 8 elements: all codes of 8 bits. */
typedef void make_fn(net *t, const void *how);
enum { N = 256 };

static void all_codes(float *x, const grid *g)
{
    for (int i = 0; i < N; i++) {
        const int n = g->hi - g->lo + 1;
        x[i] = (float)(g->lo + i * 37 % n - g->zero_point) * g->scale;
    }
}

static void expect_table(make_fn *make, const void *how, const grid *from, const grid *to, const char *name)
{
    float x[N], floats[N], y[N];
    net t;
    all_codes(x, from);
    make(&t, how);
    put(&t, "x", from);
    assert_int_equal(count_steps(&t, QN_STEP_LOOKUP), 0);
    run(&t, QN_ENGINE_INTEGER, x, N, 1, floats, N);
    qn_graph_free(&t.model.graph);
    make(&t, how);
    put(&t, "x", from);
    put(&t, "y", to);
    if (count_steps(&t, QN_STEP_LOOKUP) != 1 || count_steps(&t, QN_STEP_ISLAND) != 0) {
        fail_msg("%s is no table", name);
    }
    run(&t, QN_ENGINE_INTEGER, x, N, 1, y, N);
    for (int i = 0; i < N; i++) {
        const float wanted = rounded(floats[i], to);
        if (!(y[i] == wanted)) {
            fail_msg("%s of %a is %a, in float %a, of which the code stands for %a", name, (double)x[i], (double)y[i],
                     (double)floats[i], (double)wanted);
        }
    }
    qn_graph_free(&t.model.graph);
}

static void expect_tables(make_fn *make, const void *how, const char *name)
{
    expect_table(make, how, &u8, &s8, name);
    expect_table(make, how, &s8, &coarse, name);
    expect_table(make, how, &coarse, &s4, name);
    expect_table(make, how, &s4, &u8, name);
}

/* One node, y = op(x, c) or op(c, x) or op(x). */
typedef struct {
    const char *op, *inputs;
    float c;
    int n_attributes;
    qn_attribute attributes[2];
} function;

static void one_node(net *t, const void *how)
{
    const function *f = how;
    qn_graph *g = start(t);
    g->opset = 20;
    qn_test_input(g, "x", DIMS(-1, 4, 8, 8));
    qn_test_floats(g, "c", DIMS(1), &f->c);
    qn_test_node(g, f->op, f->inputs, "y", f->n_attributes, f->attributes);
    qn_test_output(g, "y");
}

static void every_function_is_a_table(void **unused)
{
    (void)unused;
    static const function functions[] = {
        {"Abs", "x", 0, 0, {{0}}},
        {"Add", "x c", 0.7f, 0, {{0}}},
        {"Add", "c x", -3, 0, {{0}}},
        {"Ceil", "x", 0, 0, {{0}}},
        {"Celu", "x", 0, 1, {A_FLOAT("alpha", 1.5f)}},
        {"Cos", "x", 0, 0, {{0}}},
        {"Div", "x c", 0.37f, 0, {{0}}},
        {"Div", "c x", 2, 0, {{0}}},
        {"Elu", "x", 0, 1, {A_FLOAT("alpha", 0.8f)}},
        {"Erf", "x", 0, 0, {{0}}},
        {"Exp", "x", 0, 0, {{0}}},
        {"Floor", "x", 0, 0, {{0}}},
        {"Gelu", "x", 0, 0, {{0}}},
        {"Gelu", "x", 0, 1, {A_STRING("approximate", "tanh")}},
        {"HardSigmoid", "x", 0, 2, {A_FLOAT("alpha", 0.3f), A_FLOAT("beta", 0.4f)}},
        {"HardSwish", "x", 0, 0, {{0}}},
        {"LeakyRelu", "x", 0, 1, {A_FLOAT("alpha", 0.1f)}},
        {"Log", "x", 0, 0, {{0}}},
        {"Max", "x c", 0.3f, 0, {{0}}},
        {"Max", "c x c", 0.3f, 0, {{0}}},
        {"Mean", "x c", 1.3f, 0, {{0}}},
        {"Min", "c x", 0.3f, 0, {{0}}},
        {"Mish", "x", 0, 0, {{0}}},
        {"Mul", "x c", -1.7f, 0, {{0}}},
        {"Mul", "c x", 0.3f, 0, {{0}}},
        {"Neg", "x", 0, 0, {{0}}},
        {"Pow", "x c", 2, 0, {{0}}},
        {"Pow", "x c", 0.5f, 0, {{0}}},
        {"Pow", "c x", 2, 0, {{0}}},
        {"PRelu", "x c", 0.2f, 0, {{0}}},
        {"Reciprocal", "x", 0, 0, {{0}}},
        {"Round", "x", 0, 0, {{0}}},
        {"Selu", "x", 0, 0, {{0}}},
        {"Sigmoid", "x", 0, 0, {{0}}},
        {"Sign", "x", 0, 0, {{0}}},
        {"Sin", "x", 0, 0, {{0}}},
        {"Softplus", "x", 0, 0, {{0}}},
        {"Softsign", "x", 0, 0, {{0}}},
        {"Sqrt", "x", 0, 0, {{0}}},
        {"Sub", "x c", 0.7f, 0, {{0}}},
        {"Sub", "c x", 1, 0, {{0}}},
        {"Sum", "x c c", 0.4f, 0, {{0}}},
        {"Tanh", "x", 0, 0, {{0}}},
        {"ThresholdedRelu", "x", 0, 1, {A_FLOAT("alpha", 0.5f)}},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        expect_tables(one_node, &functions[i], functions[i].op);
    }
}

static void silu(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 4, 8, 8));
    NODE(g, "Sigmoid", "x", "s");
    NODE(g, "Mul", "x s", "y");
    qn_test_output(g, "y");
}

/* x * Clip(x + 3, 0, 6) / 6 */
static void swish(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 4, 64));
    qn_test_floats(g, "three", DIMS(1), (float[]){3});
    qn_test_floats(g, "zero", 0, NULL, (float[]){0});
    qn_test_floats(g, "six", 0, NULL, (float[]){6});
    NODE(g, "Add", "x three", "a");
    NODE(g, "Clip", "a zero six", "b");
    NODE(g, "Mul", "x b", "d");
    NODE(g, "Div", "d six", "y");
    qn_test_output(g, "y");
}

static void clip_and_divide(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 256));
    qn_test_floats(g, "low", 0, NULL, (float[]){-0.31f});
    qn_test_floats(g, "high", 0, NULL, (float[]){1.77f});
    qn_test_floats(g, "six", 0, NULL, (float[]){6});
    NODE(g, "Clip", "x low high", "b");
    NODE(g, "Div", "b six", "y");
    qn_test_output(g, "y");
}

static void gelu(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 16, 16));
    qn_test_floats(g, "root", 0, NULL, (float[]){1.41421356f});
    qn_test_floats(g, "one", 0, NULL, (float[]){1});
    qn_test_floats(g, "half", 0, NULL, (float[]){0.5f});
    NODE(g, "Div", "x root", "a");
    NODE(g, "Erf", "a", "b");
    NODE(g, "Add", "b one", "d");
    NODE(g, "Mul", "x d", "e");
    NODE(g, "Mul", "e half", "y");
    qn_test_output(g, "y");
}

/* 0.5 x * (1 + Erf(x / sqrt(2))): branches that meet again. */
static void gelu_in_branches(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(-1, 16, 16));
    qn_test_floats(g, "root", 0, NULL, (float[]){0.70710677f});
    qn_test_floats(g, "one", 0, NULL, (float[]){1});
    qn_test_floats(g, "half", 0, NULL, (float[]){0.5f});
    NODE(g, "Mul", "x half", "h");
    NODE(g, "Mul", "x root", "a");
    NODE(g, "Erf", "a", "b");
    NODE(g, "Add", "b one", "d");
    NODE(g, "Mul", "h d", "y");
    qn_test_output(g, "y");
}

static void chains_are_one_table(void **unused)
{
    (void)unused;
    expect_tables(silu, NULL, "x * Sigmoid(x)");
    expect_tables(swish, NULL, "x * Clip(x + 3, 0, 6) / 6");
    static const grid *const grids[] = {&u8, &s8, &coarse};
    for (int k = 0; k < 3; k++) { /* without the last quantizer the Clip alone would keep the codes of x */
        float x[N], y[N];
        net t;
        clip_and_divide(&t, NULL);
        put(&t, "x", grids[k]);
        put(&t, "y", &s4);
        assert_int_equal(count_steps(&t, QN_STEP_LOOKUP), 1);
        all_codes(x, grids[k]);
        run(&t, QN_ENGINE_INTEGER, x, N, 1, y, N);
        for (int i = 0; i < N; i++) {
            assert_true(y[i] == rounded(fminf(fmaxf(x[i], -0.31f), 1.77f) / 6, &s4));
        }
        qn_graph_free(&t.model.graph);
    }
    expect_tables(gelu, NULL, "Gelu in parts");
    expect_tables(gelu_in_branches, NULL, "Gelu in branches");
}

/* What is no function of one value: two of them, constants of many numbers, results that are read inside the chain. */
static void others_stay_in_float(void **unused)
{
    (void)unused;
    float x[N], y[N];
    net t;
    qn_graph *g = start(&t);
    qn_test_input(g, "x", DIMS(-1, 4, 64));
    put(&t, "x", &u8);
    NODE(g, "Sigmoid", "x", "s"); /* read twice: a value of its own, in float */
    NODE(g, "Mul", "x s", "m");
    qn_test_floats(g, "row", DIMS(64), NULL);
    NODE(g, "Div", "m row", "y");
    NODE(g, "Exp", "s", "z");
    put(&t, "m", &s8);
    put(&t, "y", &s8);
    put(&t, "z", &s8);
    qn_test_output(g, "y");
    qn_test_output(g, "z");
    assert_int_equal(count_steps(&t, QN_STEP_LOOKUP), 0);
    assert_int_equal(count_steps(&t, QN_STEP_ISLAND), 4);
    qn_inspection *inspection;
    qn_assert_ok(qn_inspect(&inspection, &t.model, &t.err), &t.err);
    assert_string_equal(qn_inspection_node(inspection, 0)->island_reason, "kept in float: its output has no quantizer");
    assert_string_equal(qn_inspection_node(inspection, 3)->island_reason, "kept in float: an input has no quantizer");
    qn_inspection_free(inspection);
    (void)x, (void)y;
    qn_graph_free(&t.model.graph);
}

/* A fixed batch: one table for items of it. */
static void batch_of_the_file(net *t, const void *how)
{
    (void)how;
    qn_graph *g = start(t);
    qn_test_input(g, "x", DIMS(4, 64));
    qn_test_floats(g, "c", DIMS(1, 1), (float[]){2});
    NODE(g, "Pow", "x c", "a");
    NODE(g, "Tanh", "a", "y");
    qn_test_output(g, "y");
}

static void a_fixed_batch_has_tables(void **unused)
{
    (void)unused;
    float x[N], floats[N], y[N];
    net t;
    all_codes(x, &u8);
    batch_of_the_file(&t, NULL);
    put(&t, "x", &u8);
    run(&t, QN_ENGINE_INTEGER, x, N / 4, 4, floats, N / 4);
    put(&t, "y", &s8);
    assert_int_equal(count_steps(&t, QN_STEP_LOOKUP), 1);
    run(&t, QN_ENGINE_INTEGER, x, N / 4, 4, y, N / 4);
    for (int i = 0; i < N; i++) {
        assert_true(y[i] == rounded(floats[i], &s8));
    }
    qn_graph_free(&t.model.graph);
}

/* Moves of codes: what the same node in float moves, from all places to all places. */
typedef struct {
    const char *op, *inputs;
    int n_attributes;
    qn_attribute attributes[2];
} mover;

static void one_move(net *t, const void *how)
{
    const mover *m = how;
    qn_graph *g = start(t);
    int64_t elements[32], tuples[12];
    uint64_t seed = 3;
    for (int i = 0; i < 32; i++) {
        elements[i] = (int64_t)(qn_test_random(&seed) % 8) - 4;
        tuples[i % 12] = (int64_t)(qn_test_random(&seed) % 4) - (i % 2 == 0 ? 4 : 0);
    }
    tuples[0] = tuples[3] = tuples[6] = tuples[9] = 0;
    qn_test_input(g, "x", DIMS(1, 4, 8, 8));
    qn_test_ints(g, "pads", 8, (int64_t[]){0, 1, 2, 0, 0, 0, 1, 3});
    qn_test_ints(g, "sizes", 4, (int64_t[]){1, 4, 8, 8});
    qn_test_ints(g, "repeats", 4, (int64_t[]){1, 2, 1, 3});
    qn_test_ints(g, "parts", 2, (int64_t[]){3, 5});
    qn_test_ints(g, "starts", 2, (int64_t[]){-1, 7});
    qn_test_ints(g, "ends", 2, (int64_t[]){-100, 0});
    qn_test_ints(g, "axes", 2, (int64_t[]){1, 3});
    qn_test_ints(g, "steps", 2, (int64_t[]){-2, -3});
    qn_test_floats(g, "scales", DIMS(4), (float[]){1, 1, 1.5f, 0.5f});
    qn_test_floats(g, "value", 0, NULL, (float[]){0});
    qn_test_ints(g, "flat", 32, elements);
    qn_test_ints(g, "shape", 4, (int64_t[]){1, 4, 2, 4});
    NODE(g, "Reshape", "flat shape", "elements");
    qn_test_ints(g, "flat3", 12, tuples);
    qn_test_ints(g, "shape3", 2, (int64_t[]){4, 3});
    NODE(g, "Reshape", "flat3 shape3", "tuples");
    qn_test_node(g, m->op, m->inputs, strcmp(m->op, "Split") == 0 ? "other y" : "y", m->n_attributes, m->attributes);
    qn_test_output(g, "y");
}

static int64_t output_count(net *t)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &t->err), &t->err);
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    const int64_t n = qn_program_output_count(program, 0);
    qn_program_free(program);
    return n;
}

static void moves_of_codes_are_moves(void **unused)
{
    (void)unused;
    static const mover movers[] = {
        {"Pad", "x pads value", 0, {{0}}},
        {"Pad", "x pads", 1, {A_STRING("mode", "edge")}},
        {"Pad", "x pads", 1, {A_STRING("mode", "reflect")}},
        {"Split", "x parts", 1, {A_INT("axis", 2)}},
        {"Tile", "x repeats", 0, {{0}}},
        {"Expand", "x sizes", 0, {{0}}},
        {"DepthToSpace", "x", 1, {A_INT("blocksize", 2)}},
        {"DepthToSpace", "x", 2, {A_INT("blocksize", 2), A_STRING("mode", "CRD")}},
        {"SpaceToDepth", "x", 1, {A_INT("blocksize", 4)}},
        {"Resize", "x - scales", 1, {A_STRING("mode", "nearest")}},
        {"Slice", "x starts ends axes steps", 0, {{0}}},
        {"GatherElements", "x elements", 1, {A_INT("axis", 3)}},
        {"GatherND", "x tuples", 0, {{0}}},
    };
    for (size_t i = 0; i < sizeof movers / sizeof movers[0]; i++) {
        float x[N], floats[8 * N], y[8 * N];
        net t;
        all_codes(x, &u8);
        one_move(&t, &movers[i]);
        const int64_t n = output_count(&t);
        run(&t, QN_ENGINE_FLOAT, x, N, 1, floats, n);
        put(&t, "x", &u8);
        put(&t, "y", &coarse);
        if (count_steps(&t, QN_STEP_ISLAND) != 0 || count_steps(&t, QN_STEP_LOOKUP) != 1) {
            fail_msg("%s is an island", movers[i].op);
        }
        run(&t, QN_ENGINE_INTEGER, x, N, 1, y, n);
        for (int64_t k = 0; k < n; k++) {
            assert_true(y[k] == rounded(floats[k], &coarse));
        }
        qn_graph_free(&t.model.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_is_a_table), cmocka_unit_test(chains_are_one_table),
        cmocka_unit_test(others_stay_in_float),      cmocka_unit_test(a_fixed_batch_has_tables),
        cmocka_unit_test(moves_of_codes_are_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
