/* Simulation: every format in every place, against qn_fit and qn_fake_quantize of each item alone. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/program.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { N_ITEMS = 8, MAX_CASES = 256 };

static qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

/* Run n items in batches of `batch`; *out is what one gives. Freed by the caller. */
static float *run_model(const qn_model *model, qn_engine engine, int64_t batch, const float *x, int64_t n, int64_t *out)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.batch = batch;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    const int64_t in = qn_program_input_count(program, 0), step = qn_program_batch(program);
    *out = qn_program_output_count(program, 0);
    float *y = qn_alloc((size_t)(n * *out) * sizeof *y);
    for (int64_t at = 0; at < n; at += step) {
        const float *inputs[] = {x + at * in};
        float *outputs[] = {y + at * *out};
        qn_assert_ok(qn_program_run(program, workspace, inputs, n - at < step ? n - at : step, outputs, &err), &err);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    return y;
}

static void set_dynamic(qn_graph *graph, const char *name, qn_format format, int axis, int64_t group)
{
    qn_error err;
    qn_error_init(&err);
    const qn_quantizer q = {.format = format, .axis = axis, .group = group, .dynamic = true};
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), &q, &err), &err);
}

/* Every example of the registry, and what examples leave out. */
static int all_formats(qn_format *formats)
{
    static const char *const more[] = {"int8:po2",
                                       "int4",
                                       "uint8",
                                       "uint4:po2",
                                       "int8:qkeras-po2",
                                       "bfp<8,3>",
                                       "bfp<4,16>:stochastic",
                                       "mx<fp4e2m1,4>",
                                       "mx<int8,32>",
                                       "fp8e5m2",
                                       "fp16:inf",
                                       "ap_fixed<8,3,RND,WRAP>",
                                       "adaptivfloat<6,3>",
                                       "posit<8,1>"};
    int n = 0;
    for (size_t i = 0; i < qn_format_count() + sizeof more / sizeof more[0]; i++) {
        char text[1024];
        bool listed = i < qn_format_count();
        snprintf(text, sizeof text, "%s", listed ? qn_format_describe(i).examples : more[i - qn_format_count()]);
        for (char *name = strtok(text, " "); name != NULL; name = strtok(NULL, " ")) {
            qn_error err;
            qn_error_init(&err);
            assert_true(n < MAX_CASES);
            qn_assert_ok(qn_format_parse(&formats[n++], name, &err), &err);
        }
    }
    return n;
}

/* The parameter set of an element, from the words of codes.h. */
static int64_t set_of(const qn_quantizer *q, int rank, const int64_t *dims, int64_t element)
{
    if (q->axis < 0) {
        return q->group > 0 ? element / q->group : 0;
    }
    int64_t index[QN_MAX_RANK], set = 0;
    for (int d = rank - 1; d >= 0; d--) {
        index[d] = element % dims[d];
        element /= dims[d];
    }
    if (q->group == 0) {
        return index[q->axis];
    }
    for (int d = 0; d < rank; d++) {
        bool grouped = d == q->axis;
        set = set * (grouped ? (dims[d] + q->group - 1) / q->group : dims[d]) +
              (grouped ? index[d] / q->group : index[d]);
    }
    return set;
}

/* What the item becomes by itself: the public calls; NaN, which those do not encode, element by element. */
static void expect_item(float *y, const float *x, qn_format format, int axis, int64_t group, int rank,
                        const int64_t *dims)
{
    qn_error err;
    qn_error_init(&err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    fit.nan = QN_NAN_ZERO;
    fit.inf = QN_INF_CLAMP;
    qn_codec_options codec;
    qn_codec_options_init(&codec);
    codec.nan = QN_NAN_ZERO;
    codec.inf = QN_INF_CLAMP;
    qn_tensor item = {.dtype = QN_DTYPE_F32, .rank = rank, .data = (void *)(uintptr_t)x}, faked;
    memcpy(item.dims, dims, (size_t)rank * sizeof *dims);
    if (axis < 0) { /* in C order; qn_fit would take blocks along the last axis */
        const int64_t count = qn_tensor_count(&item);
        item.rank = rank = 1;
        item.dims[0] = count;
        dims = item.dims;
    }
    qn_quantizer *q;
    qn_assert_ok(qn_fit(&q, &item, format, &fit, &err), &err);
    qn_assert_ok(qn_fake_quantize(&faked, &item, q, &codec, &err), &err);
    const int64_t n = qn_tensor_count(&item);
    memcpy(y, faked.data, (size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            qn_params p = qn_quantizer_get(q, set_of(q, rank, dims, i));
            y[i] = (float)qn_format_value(format, &p, qn_format_code(format, &p, (double)x[i], 0));
        }
    }
    qn_tensor_free(&faked);
    qn_quantizer_free(q);
}

static void compare(const float *y, const float *wanted, int64_t n, qn_format format, int axis, int64_t group,
                    const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&y[i], &wanted[i], sizeof y[i]) != 0 && !(isnan(y[i]) && isnan(wanted[i]))) {
            char name[QN_FORMAT_NAME_MAX];
            qn_format_name(name, format);
            fail_msg("%s, axis %d, group %lld, %s: element %lld is %a, expected %a", name, axis, (long long)group, what,
                     (long long)i, (double)y[i], (double)wanted[i]);
        }
    }
}

/* Items that differ in all that fits look at: magnitude, sign, zeros, what is not finite. */
static void fill_items(float *x, int64_t count, bool finite)
{
    uint64_t seed = 5;
    for (int64_t i = 0; i < N_ITEMS * count; i++) {
        float v = qn_test_uniform(&seed, -1, 1);
        switch (i / count) {
        case 1:
            v *= 1000;
            break;
        case 2:
            v = i % 2 == 0 ? 0.0f : -0.0f;
            break;
        case 3:
            v = finite ? v * v : i % 7 == 0 ? NAN : i % 5 == 0 ? (v < 0 ? -INFINITY : INFINITY) : v;
            break;
        case 4:
            v = finite ? -fabsf(v) : i % 2 == 0 ? -INFINITY : NAN;
            break;
        case 5:
            v *= finite ? 1e-6f : 3e38f;
            break;
        case 6:
            v *= finite ? 0.01f : 1e-41f;
            break;
        default:
            break;
        }
        x[i] = v;
    }
}

typedef struct {
    const char *what;
    int rank;
    int64_t dims[4]; /* of the value, the first -1 */
    int64_t kernel;  /* 0: the graph input itself; else a convolution to dims[1] channels makes the value */
} place;

static const place places[] = {
    {"rank 1", 1, {-1}, 0},
    {"rank 2", 2, {-1, 37}, 0},
    {"rank 3", 3, {-1, 5, 33}, 0},
    {"rank 4", 4, {-1, 6, 4, 5}, 0},
    {"one channel", 4, {-1, 1, 7, 3}, 0},
    {"convolved, 32 channels", 4, {-1, 32, 5, 4}, 3},
    {"convolved, 20 channels", 4, {-1, 20, 4, 3}, 1},
};
enum { N_PLACES = sizeof places / sizeof places[0] };

static qn_model place_model(const place *p)
{
    qn_model model = new_model();
    qn_graph *g = &model.graph;
    if (p->kernel == 0) {
        qn_test_input(g, "v", p->rank, p->dims);
        NODE(g, "Identity", "v", "y");
        qn_test_output(g, "y");
        return model;
    }
    int64_t in = 16, pad = p->kernel / 2;
    qn_test_input(g, "x", DIMS(-1, in, p->dims[2], p->dims[3]));
    float w[32 * 16 * 3 * 3];
    uint64_t seed = 9;
    for (size_t i = 0; i < sizeof w / sizeof w[0]; i++) {
        w[i] = rintf(qn_test_uniform(&seed, -16, 16)) / 16;
    }
    qn_test_floats(g, "w", DIMS(p->dims[1], in, p->kernel, p->kernel), w);
    NODE_WITH(g, "Conv", "x w", "v", A_INTS("pads", pad, pad, pad, pad));
    qn_test_output(g, "v");
    return model;
}

/* The value as float computes it, quantized item by item with public calls, against the engine at three batch sizes. */
static void check_place(const place *p, qn_format format, int axis, int64_t group, const float *x, const float *v)
{
    qn_model model = place_model(p);
    set_dynamic(&model.graph, "v", format, axis, group);
    int64_t dims[4], count = 1;
    memcpy(dims, p->dims, sizeof dims);
    dims[0] = 1;
    for (int i = 1; i < p->rank; i++) {
        count *= dims[i];
    }
    float *wanted = qn_alloc((size_t)(N_ITEMS * count) * sizeof *wanted);
    for (int64_t i = 0; i < N_ITEMS; i++) {
        expect_item(wanted + i * count, v + i * count, format, axis, group, p->rank, dims);
    }
    static const int64_t batches[] = {1, 3, N_ITEMS};
    for (int i = 0; i < 3; i++) {
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batches[i], x, N_ITEMS, &out);
        assert_int_equal(out, count);
        compare(y, wanted, N_ITEMS * count, format, axis, group, p->what);
        qn_free(y);
    }
    qn_free(wanted);
    qn_graph_free(&model.graph);
}

/* Convolutions may sum in another order at another batch size; so their sums are made exact: small integers times powers
 * of two. */
static float *place_input(const place *p, int64_t *n)
{
    int64_t count = p->kernel == 0 ? 1 : 16 * p->dims[2] * p->dims[3];
    for (int i = 1; p->kernel == 0 && i < p->rank; i++) {
        count *= p->dims[i];
    }
    float *x = qn_alloc((size_t)(N_ITEMS * count) * sizeof *x);
    fill_items(x, count, p->kernel != 0);
    for (int64_t i = 0; p->kernel != 0 && i < N_ITEMS * count; i++) {
        int exponent = i / count == 5 ? -30 : i / count == 1 ? 2 : -6;
        x[i] = ldexpf(rintf(ldexpf(x[i], i / count == 5 ? 24 : i / count == 1 ? -4 : 6)), exponent);
    }
    *n = count;
    return x;
}

static void every_format_in_every_place(void **state)
{
    (void)state;
    qn_format formats[MAX_CASES];
    int n_formats = all_formats(formats);
    assert_true(n_formats > 60);
    for (int i = 0; i < N_PLACES; i++) {
        const place *p = &places[i];
        int64_t n_in, out;
        float *x = place_input(p, &n_in);
        qn_model plain = place_model(p);
        float *v = run_model(&plain, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
        qn_graph_free(&plain.graph);
        for (int f = 0; f < n_formats; f++) {
            const int64_t block = formats[f].block;
            for (int axis = -1; axis < p->rank; axis++) {
                if (block > 0) {
                    check_place(p, formats[f], axis, block, x, v);
                    continue;
                }
                check_place(p, formats[f], axis, 0, x, v);
                check_place(p, formats[f], axis, 3, x, v);
            }
        }
        qn_free(x);
        qn_free(v);
    }
}

/* Parameters that are kept are those of one item, here of item 0, and serve all items. */
static void check_kept(const place *p, qn_format format, int axis, int64_t group, const float *x, const float *v)
{
    qn_error err;
    qn_error_init(&err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    int64_t count = 1;
    qn_tensor item = {.dtype = QN_DTYPE_F32, .rank = p->rank, .data = (void *)(uintptr_t)v}, faked;
    for (int i = 0; i < p->rank; i++) {
        item.dims[i] = i == 0 ? 1 : p->dims[i];
        count *= item.dims[i];
    }
    qn_quantizer *q;
    qn_assert_ok(qn_fit(&q, &item, format, &fit, &err), &err);
    float *wanted = qn_alloc((size_t)(N_ITEMS * count) * sizeof *wanted);
    for (int64_t i = 0; i < N_ITEMS; i++) {
        item.data = (void *)(uintptr_t)(v + i * count);
        qn_assert_ok(qn_fake_quantize(&faked, &item, q, NULL, &err), &err);
        memcpy(wanted + i * count, faked.data, (size_t)count * sizeof *wanted);
        qn_tensor_free(&faked);
    }
    qn_model model = place_model(p);
    qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "v"), q, &err), &err);
    for (int64_t batch = 1; batch <= N_ITEMS; batch += 3) {
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batch, x, N_ITEMS, &out);
        compare(y, wanted, N_ITEMS * count, format, axis, group, p->what);
        qn_free(y);
    }
    qn_quantizer_free(q);
    qn_free(wanted);
    qn_graph_free(&model.graph);
}

static void kept_parameters_serve_every_item(void **state)
{
    (void)state;
    static const char *const names[] = {"int8",     "uint8",         "adaptivfloat<8,3>",
                                        "bfp<8,3>", "mx<fp8e4m3,4>", "posit<8,1>",
                                        "binary",   "pipeedge<8>",   "bfp<4,16>:stochastic"};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        qn_error err;
        qn_error_init(&err);
        qn_format format;
        qn_assert_ok(qn_format_parse(&format, names[f], &err), &err);
        for (int i = 1; i < N_PLACES; i++) {
            const place *p = &places[i];
            int64_t n_in, out;
            float *x = place_input(p, &n_in);
            for (int64_t k = 0; k < N_ITEMS * n_in; k++) {
                x[k] = isfinite(x[k]) ? x[k] : 1;
            }
            qn_model plain = place_model(p);
            float *v = run_model(&plain, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
            qn_graph_free(&plain.graph);
            for (int axis = format.block > 0 ? 1 : -1; axis < p->rank; axis++) {
                check_kept(p, format, axis, format.block, x, v);
                if (format.block == 0) {
                    check_kept(p, format, axis, 5, x, v);
                }
            }
            qn_free(x);
            qn_free(v);
        }
    }
}

/* x [N, 16, 4, 4] -> 3x3 Conv to 20 channels, as binary codes, which have no zero -> 1x1 Conv. The second sums 20 channels,
 * whatever fills the blocks of the first. All numbers are small integers or halves. */
static void padding_takes_no_part(void **state)
{
    (void)state;
    enum { MIDDLE = 20, PLACES = 16 };
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        qn_error err;
        qn_error_init(&err);
        float w[MIDDLE * 16 * 9], u[32 * MIDDLE], x[N_ITEMS * 16 * PLACES];
        uint64_t seed = 3;
        for (size_t i = 0; i < sizeof w / sizeof w[0]; i++) {
            w[i] = rintf(qn_test_uniform(&seed, -3, 3));
        }
        for (size_t i = 0; i < sizeof u / sizeof u[0]; i++) {
            u[i] = rintf(qn_test_uniform(&seed, -3, 3));
        }
        for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
            x[i] = rintf(qn_test_uniform(&seed, -5, 5));
        }
        qn_test_input(g, "x", DIMS(-1, 16, 4, 4));
        qn_test_floats(g, "w", DIMS(MIDDLE, 16, 3, 3), w);
        qn_test_floats(g, "u", DIMS(32, MIDDLE, 1, 1), u);
        NODE_WITH(g, "Conv", "x w", "v", A_INTS("pads", 1, 1, 1, 1));
        qn_test_output(g, "v");
        int64_t out;
        float *v = run_model(&model, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
        g->n_outputs = 0;
        NODE(g, "Conv", "v u", "y");
        qn_test_output(g, "y");
        const float scale = 0.5f;
        const qn_quantizer q = {
            .format = {.kind = QN_FORMAT_BINARY, .bits = 1, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale};
        float scales[N_ITEMS];
        if (dynamic) {
            set_dynamic(g, "v", q.format, -1, 0);
        } else {
            qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "v"), &q, &err), &err);
        }
        for (int64_t n = 0; n < N_ITEMS; n++) {
            double sum = 0;
            for (int64_t i = 0; i < MIDDLE * PLACES; i++) {
                sum += fabs((double)v[n * MIDDLE * PLACES + i]);
            }
            scales[n] = dynamic ? (float)(sum / (MIDDLE * PLACES)) : scale;
        }
        float *y = run_model(&model, QN_ENGINE_SIMULATE, 3, x, N_ITEMS, &out);
        for (int64_t i = 0; i < N_ITEMS * 32 * PLACES; i++) {
            int64_t n = i / (32 * PLACES), k = i / PLACES % 32, at = i % PLACES;
            double sum = 0;
            for (int64_t c = 0; c < MIDDLE; c++) {
                sum += (v[(n * MIDDLE + c) * PLACES + at] < 0 ? -1 : 1) * (double)u[k * MIDDLE + c];
            }
            assert_float_equal(y[i], sum * (double)scales[n], dynamic ? 1e-4 * (double)scales[n] : 0);
        }
        qn_free(y);
        qn_free(v);
        qn_graph_free(g);
    }
}

/* One-hot rows times W show what the engines make of W: kept and dynamic quantizers of reals, along either axis. */
static void weights_are_faked_along_any_axis(void **state)
{
    (void)state;
    enum { ROWS = 12, COLUMNS = 10 };
    static const char *const names[] = {"int4", "uint8", "bfp<4,5>", "mx<fp4e2m1,4>", "adaptivfloat<6,3>", "ternary"};
    float x[ROWS * ROWS] = {0};
    for (int i = 0; i < ROWS; i++) {
        x[i * ROWS + i] = 1;
    }
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        for (int i = 0; i < 12; i++) {
            const bool dynamic = i % 2 == 1, simulate = i / 2 % 2 == 1;
            const int axis = i / 4;
            qn_error err;
            qn_error_init(&err);
            qn_format format;
            qn_assert_ok(qn_format_parse(&format, names[f], &err), &err);
            qn_fit_options fit;
            qn_fit_options_init(&fit);
            fit.axis = axis < 2 ? axis : 0;
            fit.group = format.block > 0 ? format.block : axis < 2 ? 0 : 5;
            qn_model model = new_model();
            qn_graph *g = &model.graph;
            qn_test_input(g, "x", DIMS(-1, ROWS));
            qn_value_id w = qn_test_floats(g, "w", DIMS(ROWS, COLUMNS), NULL);
            NODE(g, "MatMul", "x w", "y");
            qn_test_output(g, "y");
            qn_quantizer *q;
            qn_tensor wanted;
            qn_assert_ok(qn_fit(&q, g->values[w].constant, format, &fit, &err), &err);
            qn_assert_ok(qn_fake_quantize(&wanted, g->values[w].constant, q, NULL, &err), &err);
            if (dynamic) {
                set_dynamic(g, "w", format, fit.axis, fit.group);
            } else {
                qn_assert_ok(qn_graph_set_quantizer(g, w, q, &err), &err);
            }
            int64_t out;
            float *y = run_model(&model, simulate ? QN_ENGINE_SIMULATE : QN_ENGINE_FLOAT, 4, x, ROWS, &out);
            for (int64_t k = 0; k < ROWS * COLUMNS; k++) {
                assert_float_equal(y[k], ((const float *)wanted.data)[k], 0);
            }
            qn_free(y);
            qn_tensor_free(&wanted);
            qn_quantizer_free(q);
            qn_graph_free(g);
        }
    }
}

/* c [3, 4], made of constants, has no batch dimension, though it is as long as the batch: one item. x [N, 2, 4] reshaped to
 * [2N, 4] has items of one row. */
static void items_are_what_the_batch_counts(void **state)
{
    (void)state;
    const qn_format int4 = {.bits = 4, .is_signed = true};
    for (int64_t batch = 1; batch <= 3; batch++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        const float a[12] = {1, 2, 3, 4, 50, 60, 70, 80, 0.1f, 0.2f, 0.3f, 7}, zeros[12] = {0};
        qn_test_floats(g, "a", DIMS(3, 4), a);
        qn_test_floats(g, "b", DIMS(3, 4), zeros);
        qn_test_ints(g, "rows", 2, (const int64_t[]){-1, 4});
        qn_test_ints(g, "back", 3, (const int64_t[]){-1, 2, 4});
        qn_test_ints(g, "one", 3, (const int64_t[]){1, 3, 4});
        qn_test_ints(g, "axis", 1, (const int64_t[]){1});
        qn_test_input(g, "x", DIMS(-1, 2, 4));
        NODE(g, "Add", "a b", "c");
        NODE(g, "Reshape", "x rows", "r");
        NODE(g, "Reshape", "r back", "s");
        NODE(g, "Reshape", "c one", "d");
        NODE_WITH(g, "ReduceMean", "x", "m", A_INTS("axes", 1), A_INT("keepdims", 1));
        NODE(g, "Sub", "m m", "z"); /* zeros [N, 1, 4] */
        NODE(g, "Add", "z d", "t"); /* c for each item */
        NODE_WITH(g, "Concat", "s t", "y", A_INT("axis", 1));
        qn_test_output(g, "y");
        set_dynamic(g, "c", int4, -1, 0);
        set_dynamic(g, "r", int4, -1, 0);
        float x[N_ITEMS * 8], wanted_c[12], wanted[N_ITEMS * 20];
        fill_items(x, 8, true);
        expect_item(wanted_c, a, int4, -1, 0, 2, (const int64_t[]){3, 4});
        for (int64_t i = 0; i < N_ITEMS; i++) {
            expect_item(wanted + i * 20, x + i * 8, int4, -1, 0, 2, (const int64_t[]){1, 4});
            expect_item(wanted + i * 20 + 4, x + i * 8 + 4, int4, -1, 0, 2, (const int64_t[]){1, 4});
            memcpy(wanted + i * 20 + 8, wanted_c, sizeof wanted_c);
        }
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batch, x, N_ITEMS, &out);
        for (int64_t i = 0; i < N_ITEMS * 20; i++) {
            assert_float_equal(y[i], wanted[i], 0);
        }
        qn_free(y);
        qn_graph_free(g);
    }
}

static void a_run_allocates_nothing(void **state)
{
    (void)state;
    qn_format formats[MAX_CASES];
    int n_formats = all_formats(formats);
    const place *p = &places[N_PLACES - 1];
    int64_t n_in;
    float *x = place_input(p, &n_in);
    for (int i = 0; i < n_formats; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = place_model(p);
        set_dynamic(&model.graph, "v", formats[i], 1, formats[i].block);
        qn_program_options options;
        qn_program *program;
        qn_workspace *workspace;
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
        options.batch = N_ITEMS;
        qn_assert_ok(qn_program_create(&program, &model, &options, &err), &err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
        float *y = qn_alloc((size_t)(N_ITEMS * qn_program_output_count(program, 0)) * sizeof *y);
        const float *inputs[] = {x};
        float *outputs[] = {y};
        uint64_t before = qn_alloc_count();
        qn_assert_ok(qn_program_run(program, workspace, inputs, N_ITEMS, outputs, &err), &err);
        assert_int_equal(qn_alloc_count(), before);
        qn_free(y);
        qn_workspace_free(workspace);
        qn_program_free(program);
        qn_graph_free(&model.graph);
    }
    qn_free(x);
}

static void threads_and_batches_change_nothing(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = place_model(&places[N_PLACES - 1]);
    qn_graph *g = &model.graph;
    qn_format format;
    qn_assert_ok(qn_format_parse(&format, "bfp<6,8>", &err), &err);
    set_dynamic(g, "x", format, 1, 8);
    set_dynamic(g, "v", (qn_format){.bits = 5, .is_signed = true}, -1, 0);
    int64_t n_in;
    float *x = place_input(&places[N_PLACES - 1], &n_in);
    qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {N_ITEMS, 16, 4, 3}, .data = x}, first = {0};
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &tensor, NULL, &err), &err);
    for (int i = 0; i < 9; i++) {
        qn_evaluate_options options;
        qn_evaluation result;
        qn_tensor logits;
        qn_assert_ok(qn_evaluate_options_init(&options, &model, &err), &err);
        assert_int_equal(options.engine, QN_ENGINE_SIMULATE); /* no integers here */
        options.batch = (const int64_t[]){1, 3, 8}[i % 3];
        options.n_threads = 1 + i / 3;
        qn_assert_ok(qn_evaluate(&result, &model, data, &options, &logits, &err), &err);
        if (i == 0) {
            first = logits;
            continue;
        }
        assert_memory_equal(logits.data, first.data, (size_t)qn_tensor_count(&first) * sizeof(float));
        qn_tensor_free(&logits);
    }
    qn_tensor_free(&first);
    qn_dataset_close(data);
    qn_free(x);
    qn_graph_free(g);
}

static void quantizers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const float scales[3] = {1, 1, 1};
    static const int32_t zeros[3] = {0, 0, 0};
    const qn_format int8 = {.bits = 8, .is_signed = true},
                    bfp = {.kind = QN_FORMAT_BFP, .bits = 8, .is_signed = true, .block = 4};
    const struct {
        qn_quantizer q;
        const char *said;
    } wrong[] = {
        {{.format = int8, .axis = 1, .n = 3, .scale = scales, .zero_point = zeros},
         "3 quantization parameters where 6"},
        {{.format = int8, .axis = 2, .dynamic = true}, "axis 2"},
        {{.format = int8, .axis = -1, .n = 1, .scale = scales, .zero_point = zeros, .dynamic = true},
         "keeps no parameters"},
        {{.format = bfp, .axis = 1, .group = 3, .dynamic = true}, "blocks of 4"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = new_model();
        qn_test_input(&model.graph, "x", DIMS(-1, 6));
        NODE(&model.graph, "Relu", "x", "y");
        qn_test_output(&model.graph, "y");
        qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "y"), &wrong[i].q, &err), &err);
        qn_program_options options;
        qn_program *program = NULL;
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
        qn_assert_fails(qn_program_create(&program, &model, &options, &err), &err, QN_EINVAL, wrong[i].said);
        assert_non_null(strstr(err.message, "'y'"));
        qn_graph_free(&model.graph);
    }
}

static void copies_of_graphs_stay_dynamic(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = new_model();
    qn_value_id x = qn_test_input(&model.graph, "x", DIMS(-1, 6));
    NODE(&model.graph, "Relu", "x", "y");
    qn_test_output(&model.graph, "y");
    set_dynamic(&model.graph, "x", (qn_format){.bits = 8}, 1, 2);
    qn_graph copy;
    qn_assert_ok(qn_graph_clone(&copy, &model.graph, &err), &err);
    const qn_quantizer *q = copy.values[x].quantizer;
    assert_true(q != model.graph.values[x].quantizer && qn_quantizer_equal(q, model.graph.values[x].quantizer));
    assert_true(q->dynamic && q->n == 0 && q->scale == NULL && q->zero_point == NULL);
    qn_assert_ok(qn_quantizer_check(q, 2, (const int64_t[]){1, 6}, NULL, &err), &err);
    qn_graph_free(&copy);
    qn_graph_free(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_in_every_place),
        cmocka_unit_test(kept_parameters_serve_every_item),
        cmocka_unit_test(padding_takes_no_part),
        cmocka_unit_test(weights_are_faked_along_any_axis),
        cmocka_unit_test(items_are_what_the_batch_counts),
        cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(threads_and_batches_change_nothing),
        cmocka_unit_test(quantizers_that_do_not_fit_are_refused),
        cmocka_unit_test(copies_of_graphs_stay_dynamic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
