/* Places of a network where simulation puts formats, and what comes out of them when each item is quantized alone. */
#ifndef QN_TESTS_SIMULATE_PLACES_H
#define QN_TESTS_SIMULATE_PLACES_H

#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/program.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { N_ITEMS = 8, MAX_CASES = 256 };

static inline qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

/* Run n items in batches of `batch`; *out is what one gives. Freed by the caller. */
static inline float *run_model(const qn_model *model, qn_engine engine, int64_t batch, const float *x, int64_t n,
                               int64_t *out)
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

static inline void set_dynamic(qn_graph *graph, const char *name, qn_format format, int axis, int64_t group)
{
    qn_error err;
    qn_error_init(&err);
    const qn_quantizer q = {.format = format, .axis = axis, .group = group, .dynamic = true};
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), &q, &err), &err);
}

/* Every example of the registry, and what examples leave out. */
static inline int all_formats(qn_format *formats)
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
static inline int64_t set_of(const qn_quantizer *q, int rank, const int64_t *dims, int64_t element)
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
static inline void expect_item(float *y, const float *x, qn_format format, int axis, int64_t group, int rank,
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

static inline void compare(const float *y, const float *wanted, int64_t n, qn_format format, int axis, int64_t group,
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
static inline void fill_items(float *x, int64_t count, bool finite)
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

static inline qn_model place_model(const place *p)
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

/* Convolutions may sum in another order at another batch size; so their sums are made exact: small integers times powers
 * of two. */
static inline float *place_input(const place *p, int64_t *n)
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

#endif
