/* If and Loop of files, taken apart: what comes of them computes what they say; what cannot be taken apart is refused by
 * name, and soon, however a file is made. */
#include "onnx_build.h"
#include "support.h"

#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "quern/quern.h"

enum { FLOAT = 1, INT64 = 7, BOOL = 9, N = 3, MOST = 16 };
static const int64_t shape[] = {1, N};

static void attach(onnx_build *b, Onnx__NodeProto *node, const char *name, onnx_build *body)
{
    Onnx__AttributeProto *a = build_attribute(b, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
    a->g = &body->graph;
}

static void floats(onnx_build *b, const char *name, float value)
{
    const float values[N] = {value, value, value};
    build_raw(b, name, FLOAT, 2, shape, values, sizeof values);
}

static void integer(onnx_build *b, const char *name, int64_t value)
{
    build_raw(b, name, INT64, 0, NULL, &value, sizeof value);
}

static void truth(onnx_build *b, const char *name, bool value)
{
    const uint8_t byte = value;
    build_raw(b, name, BOOL, 0, NULL, &byte, 1);
}

static void begin(onnx_build *b)
{
    build_begin(b, 13);
    build_input(b, "x", FLOAT, 2, shape);
    build_output(b, "y", FLOAT, 2, shape);
}

/* y of the file for x, by both engines. */
static void run(onnx_build *b, const float *x, int64_t n_y, float *y)
{
    qn_error err;
    qn_model *model;
    float by_engine[2][MOST], other[MOST]; /* a second output is of loops, which nobody looks at */
    build_bytes(b);
    qn_error_init(&err);
    qn_assert_ok(qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err), &err);
    for (int e = 0; e < 2; e++) {
        qn_program_options options;
        qn_program *program;
        qn_workspace *workspace;
        float *to[2] = {by_engine[e], other};
        qn_assert_ok(qn_program_options_init(&options, e == 0 ? QN_ENGINE_FLOAT : QN_ENGINE_INTEGER, &err), &err);
        options.batch = 1;
        qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
        assert_int_equal(qn_program_output_count(program, 0), n_y);
        qn_assert_ok(qn_program_run(program, workspace, &x, 1, to, &err), &err);
        qn_workspace_free(workspace);
        qn_program_free(program);
    }
    assert_memory_equal(by_engine[0], by_engine[1], (size_t)n_y * sizeof *y);
    memcpy(y, by_engine[0], (size_t)n_y * sizeof *y);
    qn_model_free(model);
    build_end(b);
}

static void expect_refused(onnx_build *b, qn_status status, const char *words)
{
    qn_error err;
    qn_model *model;
    build_bytes(b);
    qn_error_init(&err);
    qn_assert_fails(qn_model_load_memory(&model, b->bytes, b->n_bytes, "made.onnx", &err), &err, status, words);
    build_end(b);
}

static void a_known_condition_leaves_one_branch(void **unused)
{
    (void)unused;
    for (int c = 0; c < 2; c++) {
        onnx_build b, branch[2], nested[2];
        const float x[N] = {1, -2, 3};
        float y[N];
        begin(&b);
        truth(&b, "c", c);
        floats(&b, "k", 100);
        for (int i = 0; i < 2; i++) { /* the same names in all of them, also the outer ones: each means its own */
            build_begin(&branch[i], 13);
            build_begin(&nested[i], 13);
            floats(&branch[i], "k", i == 0 ? 1 : 10);
            build_node(&branch[i], "Add", "", "x,k", "t");
            build_node(&nested[i], "Mul", "", "t,k", "t2");
            build_node(&nested[i], "Identity", "", "t2", "r");
            build_output(&nested[i], "r", FLOAT, 2, shape);
        }
        for (int i = 0; i < 2; i++) {
            Onnx__NodeProto *inner = build_node(&branch[i], "If", "inner", "c", "r");
            attach(&branch[i], inner, "then_branch", &nested[0]);
            attach(&branch[i], inner, "else_branch", &nested[1]);
            build_output(&branch[i], "r", FLOAT, 2, shape);
        }
        Onnx__NodeProto *node = build_node(&b, "If", "outer", "c", "y");
        attach(&b, node, "then_branch", &branch[0]);
        attach(&b, node, "else_branch", &branch[1]);
        run(&b, x, N, y);
        for (int i = 0; i < N; i++) {
            const float k = c != 0 ? 1 : 10;
            assert_float_equal(y[i], (x[i] + k) * k, 0);
        }
        for (int i = 0; i < 2; i++) {
            build_end(&branch[i]);
            build_end(&nested[i]);
        }
    }
}

/* sum(x) > 0 ? x + 1 : x * 2, or something of another shape. */
static void choose(onnx_build *b, onnx_build branch[2], bool differ)
{
    const float zero = 0;
    begin(b);
    build_raw(b, "zero", FLOAT, 0, NULL, &zero, sizeof zero);
    build_int(b, build_node(b, "ReduceSum", "", "x", "sum"), "keepdims", 0);
    build_node(b, "Greater", "", "sum,zero", "c");
    Onnx__NodeProto *node = build_node(b, "If", "choice", "c", "y");
    for (int i = 0; i < 2; i++) {
        build_begin(&branch[i], 13);
        floats(&branch[i], "k", i == 0 ? 1 : 2);
        if (differ && i == 1) {
            build_int(&branch[i], build_node(&branch[i], "Concat", "", "x,k", "r"), "axis", 1);
        } else {
            build_node(&branch[i], i == 0 ? "Add" : "Mul", "", "x,k", "r");
        }
        build_output(&branch[i], "r", FLOAT, -1, NULL);
        attach(b, node, i == 0 ? "then_branch" : "else_branch", &branch[i]);
    }
}

static void a_computed_condition_chooses(void **unused)
{
    (void)unused;
    for (int sign = -1; sign < 2; sign += 2) {
        onnx_build b, branch[2];
        const float x[N] = {1 * (float)sign, 2 * (float)sign, 3 * (float)sign};
        float y[N];
        choose(&b, branch, false);
        run(&b, x, N, y);
        for (int i = 0; i < N; i++) {
            assert_float_equal(y[i], sign > 0 ? x[i] + 1 : x[i] * 2, 0);
        }
        build_end(&branch[0]);
        build_end(&branch[1]);
    }
    onnx_build b, branch[2];
    choose(&b, branch, true);
    expect_refused(&b, QN_EUNSUPPORTED, "differ in type or shape");
    build_end(&branch[0]);
    build_end(&branch[1]);
}

/* s = s * 2 + turn, and s + x collected, `trips` times. */
static void doubling(onnx_build *b, onnx_build *body, const char *inputs, int64_t trips)
{
    build_begin(b, 13);
    build_input(b, "x", FLOAT, 2, shape);
    build_output(b, "y", FLOAT, 3, (const int64_t[]){trips, 1, N});
    build_output(b, "last", FLOAT, 2, shape);
    integer(b, "trips", trips);
    floats(b, "start", 1);
    build_begin(body, 13);
    floats(body, "two", 2);
    build_input(body, "i", INT64, 0, NULL);
    build_input(body, "go", BOOL, 0, NULL);
    build_input(body, "s", FLOAT, 2, shape);
    build_int(body, build_node(body, "Cast", "", "i", "turn"), "to", FLOAT);
    build_node(body, "Mul", "", "s,two", "twice");
    build_node(body, "Add", "", "twice,turn", "next");
    build_node(body, "Add", "", "next,x", "seen");
    build_node(body, "Identity", "", "go", "on");
    build_output(body, "on", BOOL, 0, NULL);
    build_output(body, "next", FLOAT, 2, shape);
    build_output(body, "seen", FLOAT, 2, shape);
    Onnx__NodeProto *node = build_node(b, "Loop", "doubling", inputs, "last,y");
    attach(b, node, "body", body);
}

static void loops_are_written_out(void **unused)
{
    (void)unused;
    enum { TRIPS = 4 };
    onnx_build b, body;
    const float x[N] = {1, 2, 3};
    float y[TRIPS * N], s = 1;
    doubling(&b, &body, "trips,,start", TRIPS);
    run(&b, x, TRIPS * N, y);
    for (int t = 0; t < TRIPS; t++) {
        s = s * 2 + (float)t;
        for (int i = 0; i < N; i++) {
            assert_float_equal(y[t * N + i], s + x[i], 0);
        }
    }
    build_end(&body);
}

/* BOUNDED, as exporters write `break`: an endless Loop whose condition joins both. BRANCHED, as torch.jit writes `and`
 * when its If is taken apart; the bound is folded out of what starts the loop. */
typedef enum { UNBOUNDED, BOUNDED, BRANCHED } bound;

/* while (i < 10 && max(h) < 20) h = h * 2 + x. */
static void breaking(onnx_build *b, onnx_build *body, bound kind)
{
    const float most = 20;
    begin(b);
    integer(b, "endless", INT64_MAX);
    integer(b, "none", 0);
    truth(b, "yes", true);
    build_raw(b, "limit", FLOAT, 0, NULL, &most, sizeof most);
    build_int(b, build_node(b, "ReduceMax", "", "x", "height"), "keepdims", 0);
    build_node(b, "Less", "", "height,limit", "low");
    build_begin(body, 13);
    truth(body, "never", false);
    integer(body, "one", 1);
    integer(body, "ten", 10);
    floats(body, "two", 2);
    build_raw(body, "most", FLOAT, 0, NULL, &most, sizeof most);
    build_input(body, "turn", INT64, 0, NULL);
    build_input(body, "go", BOOL, 0, NULL);
    build_input(body, "h", FLOAT, 2, shape);
    build_input(body, "i", INT64, 0, NULL);
    build_node(body, "Mul", "", "h,two", "twice");
    build_node(body, "Add", "", "twice,x", "next");
    build_node(body, "Add", "", "i,one", "j");
    build_int(body, build_node(body, "ReduceMax", "", "next", "peak"), "keepdims", 0);
    build_node(body, "Less", "", "peak,most", "small");
    build_node(body, "Less", "", "j,ten", "left");
    build_node(body, "And", "", kind == UNBOUNDED ? "small,small" : "left,small", kind == BRANCHED ? "both" : "on");
    if (kind == BRANCHED) {
        build_node(body, "Not", "", "small", "large");
        build_node(body, "And", "", "large,never", "neither");
        build_node(body, "Or", "", "both,neither", "on");
    }
    build_output(body, "on", BOOL, 0, NULL);
    build_output(body, "next", FLOAT, 2, shape);
    build_output(body, "j", INT64, 0, NULL);
    Onnx__NodeProto *node = build_node(b, "Loop", "breaking", kind == BRANCHED ? "endless,low,x,none" : "endless,yes,x,none",
                                       "y,count");
    attach(b, node, "body", body);
}

static void loops_end_early(void **unused)
{
    (void)unused;
    for (int k = 0; k < 8; k++) {
        onnx_build b, body;
        const bound kind = k < 4 ? BOUNDED : BRANCHED;
        const float scale = powf(10, (float)(k % 4) - 2), x[N] = {scale, -scale, 2 * scale};
        float y[N], h[N];
        breaking(&b, &body, kind);
        run(&b, x, N, y);
        memcpy(h, x, sizeof h);
        for (int i = 0, on = kind == BOUNDED || 2 * scale < 20; on; i++) {
            float peak = -INFINITY;
            for (int j = 0; j < N; j++) {
                h[j] = h[j] * 2 + x[j];
                peak = fmaxf(peak, h[j]);
            }
            on = i + 1 < 10 && peak < 20;
        }
        assert_memory_equal(y, h, sizeof h);
        build_end(&body);
    }
    onnx_build b, body;
    breaking(&b, &body, UNBOUNDED);
    expect_refused(&b, QN_EUNSUPPORTED, "nothing else bounds its turns");
    build_end(&body);
}

static void what_a_run_would_have_to_tell_is_refused(void **unused)
{
    (void)unused;
    onnx_build b, body;
    doubling(&b, &body, "n,,start", 4);
    build_int(&b, build_node(&b, "Cast", "", "x", "cut"), "to", INT64);
    integer(&b, "first", 0);
    build_int(&b, build_node(&b, "ReduceSum", "", "cut", "n"), "keepdims", 0);
    expect_refused(&b, QN_EUNSUPPORTED, "trip count is not known before the run");
    build_end(&body);

    doubling(&b, &body, "trips,,start", 4); /* a computed condition, and something collected */
    body.graph.n_node--;
    const float most = 20;
    build_raw(&body, "most", FLOAT, 0, NULL, &most, sizeof most);
    build_int(&body, build_node(&body, "ReduceMax", "", "seen", "peak"), "keepdims", 0);
    build_node(&body, "Less", "", "peak,most", "on");
    expect_refused(&b, QN_EUNSUPPORTED, "so is the size of what it collects");
    build_end(&body);

    onnx_build branch;
    begin(&b);
    truth(&b, "c", true);
    build_begin(&branch, 13);
    build_node(&branch, "SequenceConstruct", "", "x", "list");
    build_output(&branch, "list", FLOAT, -1, NULL);
    branch.graph.output[0]->type->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
    static Onnx__TypeProto__Sequence sequence = ONNX__TYPE_PROTO__SEQUENCE__INIT;
    branch.graph.output[0]->type->sequence_type = &sequence;
    Onnx__NodeProto *node = build_node(&b, "If", "lists", "c", "y");
    attach(&b, node, "then_branch", &branch);
    attach(&b, node, "else_branch", &branch);
    expect_refused(&b, QN_EUNSUPPORTED, "'list' is a sequence");
    build_end(&branch);
}

/* An If whose branches are Identity of `reads`. */
static void simple_if(onnx_build *b, onnx_build *branch, const char *reads, const char *output)
{
    begin(b);
    truth(b, "c", true);
    build_begin(branch, 13);
    build_node(branch, "Identity", "", reads, "r");
    build_output(branch, output, FLOAT, 2, shape);
    Onnx__NodeProto *node = build_node(b, "If", "odd", "c", "y");
    attach(b, node, "then_branch", branch);
    attach(b, node, "else_branch", branch);
}

static void graphs_that_mean_nothing_are_refused(void **unused)
{
    (void)unused;
    onnx_build b, branch, body;
    simple_if(&b, &branch, "y", "r"); /* what it makes itself */
    expect_refused(&b, QN_EFORMAT, "cycle");
    build_end(&branch);
    simple_if(&b, &branch, "nowhere", "r");
    expect_refused(&b, QN_EFORMAT, "reads 'nowhere', which nothing in the graph makes");
    build_end(&branch);
    simple_if(&b, &branch, "x", "elsewhere");
    expect_refused(&b, QN_EFORMAT, "'elsewhere'");
    build_end(&branch);
    simple_if(&b, &branch, "x", "");
    expect_refused(&b, QN_EFORMAT, "no name");
    build_end(&branch);
    simple_if(&b, &branch, "x", "r");
    build_node(&branch, "Relu", "", "x", "r");
    expect_refused(&b, QN_EFORMAT, "'r' is made twice");
    build_end(&branch);
    simple_if(&b, &branch, "x", "r");
    branch.graph.n_output = 0;
    expect_refused(&b, QN_EFORMAT, "branches of 0 and 0 outputs");
    build_end(&branch);
    simple_if(&b, &branch, "x", "r");
    b.graph.node[0]->n_attribute = 1;
    expect_refused(&b, QN_EFORMAT, "attribute else_branch, a graph, is missing");
    build_end(&branch);
    doubling(&b, &body, "trips,,start,start", 4);
    expect_refused(&b, QN_EFORMAT, "a body of 3 inputs and 3 outputs");
    build_end(&body);
    doubling(&b, &body, "trips,,", 4);
    expect_refused(&b, QN_EFORMAT, "input 2 is missing");
    build_end(&body);
}

static void loops_without_end_are_refused_soon(void **unused)
{
    (void)unused;
    onnx_build b, body;
    doubling(&b, &body, "trips,,start", (int64_t)1 << 40);
    expect_refused(&b, QN_ELIMIT, "1099511627776 turns");
    build_end(&body);

    onnx_build levels[8]; /* a thousand times a thousand times ... nothing */
    begin(&b);
    integer(&b, "trips", 1000);
    for (int i = 0; i < 8; i++) {
        build_begin(&levels[i], 13);
        build_input(&levels[i], "i", INT64, 0, NULL);
        build_input(&levels[i], "go", BOOL, 0, NULL);
        build_input(&levels[i], "s", FLOAT, 2, shape);
        build_output(&levels[i], "go", BOOL, 0, NULL);
        build_output(&levels[i], i < 7 ? "r" : "s", FLOAT, 2, shape);
    }
    for (int i = 0; i < 8; i++) {
        onnx_build *outer = i == 0 ? &b : &levels[i - 1];
        Onnx__NodeProto *node = build_node(outer, "Loop", "nest", i == 0 ? "trips,,x" : "trips,,s", i == 0 ? "y" : "r");
        attach(outer, node, "body", &levels[i]);
    }
    expect_refused(&b, QN_ELIMIT, "written out more than");
    for (int i = 0; i < 8; i++) {
        build_end(&levels[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_condition_leaves_one_branch),
        cmocka_unit_test(a_computed_condition_chooses),
        cmocka_unit_test(loops_are_written_out),
        cmocka_unit_test(loops_end_early),
        cmocka_unit_test(what_a_run_would_have_to_tell_is_refused),
        cmocka_unit_test(graphs_that_mean_nothing_are_refused),
        cmocka_unit_test(loops_without_end_are_refused_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
