/* The float engine's steps against sums in double, in every layout that oneDNN may choose. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/program.h"
#include "graph/model.h"
#include "quern/quern.h"

static qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

/* A program of one input and output, run on noise. */
typedef struct {
    qn_program *program;
    qn_workspace *workspace;
    float *x, *y;
    int64_t in, out; /* elements of the whole batch */
} bench;

static bench run_engine(const qn_model *model, qn_engine engine, int64_t batch, bool keep_values)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.batch = batch;
    options.keep_values = keep_values;
    bench t = {0};
    qn_assert_ok(qn_program_create(&t.program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&t.workspace, t.program, &err), &err);
    t.in = batch * qn_program_input_count(t.program, 0);
    t.out = batch * qn_program_output_count(t.program, 0);
    t.x = qn_alloc((size_t)t.in * sizeof *t.x);
    t.y = qn_alloc((size_t)t.out * sizeof *t.y);
    uint64_t seed = 77;
    for (int64_t i = 0; i < t.in; i++) {
        t.x[i] = qn_test_uniform(&seed, -1, 1);
    }
    const float *inputs[] = {t.x};
    float *outputs[] = {t.y};
    qn_assert_ok(qn_program_run(t.program, t.workspace, inputs, batch, outputs, &err), &err);
    return t;
}

static bench run_model(const qn_model *model, int64_t batch, bool keep_values)
{
    return run_engine(model, QN_ENGINE_FLOAT, batch, keep_values);
}

static void release(bench *t)
{
    qn_workspace_free(t->workspace);
    qn_program_free(t->program);
    qn_free(t->x);
    qn_free(t->y);
}

typedef struct {
    int64_t c, k, h, w, kh, kw, group, stride, dilation, pads[4]; /* top, left, bottom, right */
} geometry;

static const geometry geometries[] = {
    {.c = 3, .k = 16, .h = 9, .w = 8, .kh = 3, .kw = 3, .group = 1, .stride = 1, .dilation = 1, .pads = {1, 1, 1, 1}},
    {.c = 16, .k = 32, .h = 9, .w = 9, .kh = 3, .kw = 3, .group = 1, .stride = 2, .dilation = 1, .pads = {0, 0, 1, 1}},
    {.c = 5, .k = 7, .h = 8, .w = 6, .kh = 2, .kw = 4, .group = 1, .stride = 1, .dilation = 2, .pads = {2, 0, 1, 3}},
    {.c = 24, .k = 24, .h = 7, .w = 7, .kh = 3, .kw = 3, .group = 24, .stride = 1, .dilation = 1, .pads = {1, 1, 1, 1}},
    {.c = 6, .k = 12, .h = 7, .w = 5, .kh = 3, .kw = 1, .group = 6, .stride = 2, .dilation = 1, .pads = {0, 0, 2, 0}},
    {.c = 32, .k = 48, .h = 6, .w = 6, .kh = 1, .kw = 1, .group = 2, .stride = 1, .dilation = 1},
    {.c = 20, .k = 36, .h = 5, .w = 5, .kh = 1, .kw = 1, .group = 1, .stride = 2, .dilation = 1},
    {.c = 1,
     .k = 64,
     .h = 49,
     .w = 10,
     .kh = 10,
     .kw = 4,
     .group = 1,
     .stride = 2,
     .dilation = 1,
     .pads = {4, 1, 5, 1}},
};

static int64_t out_size(int64_t in, int64_t kernel, int64_t begin, int64_t end, const geometry *g)
{
    return (in + begin + end - (kernel - 1) * g->dilation - 1) / g->stride + 1;
}

/* One output of the convolution, with bias, in double. */
static double convolve(const geometry *g, const float *x, const float *w, const float *b, int64_t k, int64_t oh,
                       int64_t ow)
{
    double sum = b[k];
    int64_t cg = g->c / g->group, first = k / (g->k / g->group) * cg;
    for (int64_t c = 0; c < cg; c++) {
        for (int64_t i = 0; i < g->kh; i++) {
            for (int64_t j = 0; j < g->kw; j++) {
                int64_t h = oh * g->stride - g->pads[0] + i * g->dilation;
                int64_t v = ow * g->stride - g->pads[1] + j * g->dilation;
                if (h >= 0 && h < g->h && v >= 0 && v < g->w) {
                    sum += (double)x[((first + c) * g->h + h) * g->w + v] * w[((k * cg + c) * g->kh + i) * g->kw + j];
                }
            }
        }
    }
    return sum;
}

static const float *constant(const qn_graph *graph, const char *name)
{
    return graph->values[qn_graph_find(graph, name)].constant->data;
}

/* Conv -> BatchNormalization -> Clip(-0.5, 0.75), fused and unfused. */
static void check_conv(const geometry *g, bool keep_values)
{
    enum { BATCH = 2 };
    qn_model model = new_model();
    qn_graph *graph = &model.graph;
    const float lo = -0.5F, hi = 0.75F;
    qn_test_input(graph, "x", DIMS(-1, g->c, g->h, g->w));
    qn_test_floats(graph, "w", DIMS(g->k, g->c / g->group, g->kh, g->kw), NULL);
    qn_test_floats(graph, "b", DIMS(g->k), NULL);
    qn_test_floats(graph, "gamma", DIMS(g->k), NULL);
    qn_test_floats(graph, "beta", DIMS(g->k), NULL);
    qn_test_floats(graph, "mean", DIMS(g->k), NULL);
    float variance[64];
    for (int64_t i = 0; i < g->k; i++) {
        variance[i] = 0.5F + 0.01F * (float)i;
    }
    qn_test_floats(graph, "var", DIMS(g->k), variance);
    qn_test_floats(graph, "lo", 0, (const int64_t[]){1}, &lo);
    qn_test_floats(graph, "hi", 0, (const int64_t[]){1}, &hi);
    NODE_WITH(graph, "Conv", "x w b", "c", A_INT("group", g->group), A_INTS("strides", g->stride, g->stride),
              A_INTS("dilations", g->dilation, g->dilation),
              A_INTS("pads", g->pads[0], g->pads[1], g->pads[2], g->pads[3]));
    NODE_WITH(graph, "BatchNormalization", "c gamma beta mean var", "n", A_FLOAT("epsilon", 1e-3F));
    NODE(graph, "Clip", "n lo hi", "y");
    qn_test_output(graph, "y");
    bench t = run_model(&model, BATCH, keep_values);
    int64_t out_h = out_size(g->h, g->kh, g->pads[0], g->pads[2], g);
    int64_t out_w = out_size(g->w, g->kw, g->pads[1], g->pads[3], g);
    assert_int_equal(t.out, BATCH * g->k * out_h * out_w);
    for (int64_t i = 0; i < t.out; i++) {
        int64_t ow = i % out_w, oh = i / out_w % out_h, k = i / (out_w * out_h) % g->k, n = i / (out_w * out_h * g->k);
        double c = convolve(g, t.x + n * g->c * g->h * g->w, constant(graph, "w"), constant(graph, "b"), k, oh, ow);
        double scale = constant(graph, "gamma")[k] / sqrt((double)variance[k] + 1e-3);
        double wanted = (c - constant(graph, "mean")[k]) * scale + constant(graph, "beta")[k];
        wanted = fmin(fmax(wanted, (double)lo), (double)hi);
        if (fabs((double)t.y[i] - wanted) > 1e-4) {
            fail_msg("%lldx%lld kernel, %lld channels: output %lld is %g, expected %g", (long long)g->kh,
                     (long long)g->kw, (long long)g->c, (long long)i, (double)t.y[i], wanted);
        }
    }
    release(&t);
    qn_graph_free(graph);
}

static void convolutions_are_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
        check_conv(&geometries[i], false);
        check_conv(&geometries[i], true);
    }
}

/* A network whose values come in several layouts; every value is made an output of a plain program and compared with
 * the view of a program that keeps values. */
static qn_model many_layouts(void)
{
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    const float half = 0.5F;
    qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
    qn_test_floats(g, "w1", DIMS(20, 3, 3, 3), NULL);
    qn_test_floats(g, "w2", DIMS(20, 1, 3, 3), NULL);
    qn_test_floats(g, "w3", DIMS(32, 20, 1, 1), NULL);
    qn_test_floats(g, "channel", DIMS(20, 1, 1), NULL);
    qn_test_floats(g, "half", DIMS(1), &half);
    qn_test_floats(g, "fw", DIMS(64, 10), NULL);
    NODE_WITH(g, "Conv", "x w1", "c1", A_INTS("pads", 1, 1, 1, 1));
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "Conv", "r1 w2", "c2", A_INTS("pads", 1, 1, 1, 1), A_INT("group", 20));
    NODE(g, "Sigmoid", "c2", "s2");
    NODE(g, "Mul", "c2 s2", "m2");
    NODE(g, "Add", "m2 r1", "a2");
    NODE(g, "Div", "a2 channel", "d2");
    NODE(g, "Add", "half d2", "h2");
    NODE_WITH(g, "LeakyRelu", "h2", "l2", A_FLOAT("alpha", 0.2F));
    NODE(g, "Conv", "l2 w3", "c3");
    NODE(g, "Exp", "c3", "e3");
    NODE_WITH(g, "Concat", "c3 e3", "j", A_INT("axis", 1));
    NODE(g, "GlobalAveragePool", "j", "p");
    NODE(g, "Flatten", "p", "f");
    NODE(g, "MatMul", "f fw", "q");
    NODE(g, "Softmax", "q", "y");
    return model;
}

static const char *const values[] = {"x",  "c1", "r1", "c2", "s2", "m2", "a2", "d2", "h2",
                                     "l2", "c3", "e3", "j",  "p",  "f",  "q",  "y"};

static float view_at(const qn_value_view *view, int64_t n, int64_t c, int64_t i)
{
    return view
        ->data[n * view->stride_n + c / view->block * view->stride_block + i * view->stride_inner + c % view->block];
}

static void views_show_every_value(void **state)
{
    (void)state;
    enum { BATCH = 4, GIVEN = 3 };
    qn_model model = many_layouts();
    qn_test_output(&model.graph, "y");
    bench kept = run_model(&model, BATCH, true);
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        qn_model single = many_layouts();
        qn_test_output(&single.graph, values[v]);
        bench alone = run_model(&single, BATCH, false);
        qn_value_view view;
        assert_true(
            qn_program_view(kept.program, kept.workspace, qn_graph_find(&model.graph, values[v]), GIVEN, &view));
        assert_int_equal(view.n, GIVEN);
        assert_int_equal(view.channels * view.inner * BATCH, alone.out);
        for (int64_t i = 0; i < GIVEN * view.channels * view.inner; i++) {
            int64_t inner = i % view.inner, c = i / view.inner % view.channels, n = i / (view.inner * view.channels);
            float wanted = alone.y[i];
            assert_float_equal(view_at(&view, n, c, inner), wanted, 1e-4F * fmaxf(1, fabsf(wanted)));
        }
        release(&alone);
        qn_graph_free(&single.graph);
    }
    qn_value_view view;
    assert_false(qn_program_view(kept.program, kept.workspace, qn_graph_find(&model.graph, "w1"), 1, &view));
    assert_false(qn_program_view(kept.program, kept.workspace, QN_NO_VALUE, 1, &view));
    release(&kept);
    bench normal = run_model(&model, BATCH, false);
    assert_false(qn_program_view(normal.program, normal.workspace, qn_graph_find(&model.graph, "r1"), 1, &view));
    release(&normal);
    qn_graph_free(&model.graph);
}

static void set_quantizer(qn_graph *graph, const char *name, float scale, int32_t zero_point)
{
    qn_error err;
    qn_error_init(&err);
    const qn_quantizer q = {.format = {.bits = 8}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), &q, &err), &err);
}

static double fake(double x, double scale, double zero_point)
{
    double code = fmin(fmax(rint(x / scale) + zero_point, 0), 255);
    return (code - zero_point) * scale;
}

/* x -> Relu -> Identity -> Reshape, with quantizers on input, Relu and Reshape; the Identity must show the codes of the
 * Relu, not those of the Reshape that follows. Scales are powers of two, so that nothing else rounds. */
static void values_are_quantized_where_they_arise(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        qn_test_input(g, "x", DIMS(-1, 4, 6));
        qn_test_ints(g, "shape", 2, (const int64_t[]){-1, 24});
        qn_test_ints(g, "back", 3, (const int64_t[]){-1, 4, 6});
        NODE(g, "Relu", "x", "r");
        NODE(g, "Identity", "r", "i");
        NODE(g, "Reshape", "i shape", "s");
        NODE(g, "Reshape", "s back", "t");
        NODE(g, "Sub", "i t", "y");
        qn_test_output(g, "y");
        set_quantizer(g, "x", 0x1p-6F, 128);
        set_quantizer(g, "r", 0x1p-4F, 0);
        set_quantizer(g, "s", 0x1p-2F, 3);
        bench t = run_engine(&model, QN_ENGINE_SIMULATE, 5, keep == 1);
        for (int64_t i = 0; i < t.out; i++) {
            double r = fake(fmax(fake((double)t.x[i], 0x1p-6, 128), 0), 0x1p-4, 0);
            assert_float_equal(t.y[i], r - fake(r, 0x1p-2, 3), 0);
        }
        release(&t);
        bench unrounded = run_model(&model, 5, keep == 1); /* activations are held in the range of codes, no more */
        for (int64_t i = 0; i < unrounded.out; i++) {
            double r = fmin(fmax(fmin((double)unrounded.x[i], 127 * 0x1p-6), 0), 255 * 0x1p-4);
            assert_float_equal(unrounded.y[i], r - fmin(r, 252 * 0x1p-2), 0);
        }
        release(&unrounded);
        qn_graph_free(g);
    }
}

/* Opposite ends of the number of dimensions: broadcasting in each, against indices computed one by one. */
static void broadcasting_follows_numpy(void **state)
{
    (void)state;
    static const int64_t shapes[][4] = {{2, 3, 4, 5}, {1, 3, 1, 5}, {2, 1, 4, 1},
                                        {1, 1, 1, 1}, {1, 1, 1, 5}, {2, 3, 1, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        qn_test_input(g, "x", DIMS(2, 3, 4, 5));
        qn_test_floats(g, "c", 4, shapes[s], NULL);
        NODE(g, "Sub", "c x", "y");
        qn_test_output(g, "y");
        bench t = run_model(&model, 2, false);
        const float *c = constant(g, "c");
        for (int64_t i = 0; i < t.out; i++) {
            int64_t index[4] = {i / 60, i / 20 % 3, i / 5 % 4, i % 5}, at = 0;
            for (int k = 0; k < 4; k++) {
                at = at * shapes[s][k] + (shapes[s][k] == 1 ? 0 : index[k]);
            }
            assert_float_equal(t.y[i], c[at] - t.x[i], 0);
        }
        release(&t);
        qn_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_right),
        cmocka_unit_test(views_show_every_value),
        cmocka_unit_test(values_are_quantized_where_they_arise),
        cmocka_unit_test(broadcasting_follows_numpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
