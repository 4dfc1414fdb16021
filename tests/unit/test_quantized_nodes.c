/* Nodes that quantize while the network runs, against their definitions written out here: all types of codes, per tensor, per
 * axis and in blocks; sums of products of codes; what is refused. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/compute/compute.h"

enum { ROWS = 6, COLUMNS = 10, INNER = 3, ALL = ROWS * COLUMNS * INNER };
enum { UINT4 = 21, INT4 = 22, E4M3FN = 17, E4M3FNUZ = 18, E5M2 = 19, E5M2FNUZ = 20 };

static const qn_cpu levels[] = {QN_CPU_REFERENCE, QN_CPU_AVX2, QN_CPU_AVX512};

static qn_value_id input(qn_graph *g, const char *name, qn_dtype dtype, int rank, const int64_t *dims)
{
    const qn_value_id id = qn_test_input(g, name, rank, dims);
    g->values[id].dtype = dtype;
    return id;
}

static void constant(qn_graph *g, const char *name, qn_dtype dtype, int rank, const int64_t *dims, const void *data)
{
    qn_error err;
    qn_error_init(&err);
    qn_value_id id;
    qn_tensor t = {.dtype = dtype, .rank = rank, .data = (void *)(uintptr_t)data};
    for (int i = 0; i < rank; i++) {
        t.dims[i] = dims[i];
    }
    qn_assert_ok(qn_graph_add_value(g, name, &id, &err), &err);
    qn_assert_ok(qn_graph_set_constant(g, id, &t, &err), &err);
}

/* Output `output` of the graph's last node, from arrays in the order of its inputs. */
static void compute(const qn_graph *g, int output, qn_cpu cpu, void *y, const void *const *inputs)
{
    qn_error err;
    qn_error_init(&err);
    qn_binding binding;
    qn_arena arena = {0};
    qn_compute compute;
    qn_assert_ok(qn_graph_bind(&binding, g, 1, &err), &err);
    const qn_compute_job job = {.binding = &binding,
                                .node = &g->nodes[g->n_nodes - 1],
                                .output = output,
                                .items = 1,
                                .cpu = cpu,
                                .arena = &arena,
                                .err = &err};
    qn_assert_ok(qn_compute_prepare(&compute, &job), &err);
    const void *x[QN_COMPUTE_ARGS] = {NULL};
    for (int i = 0; i < compute.n_args; i++) {
        const qn_value_id id = i < job.node->n_inputs ? job.node->inputs[i] : QN_NO_VALUE;
        x[i] = id == QN_NO_VALUE ? NULL : binding.values[id].known != NULL ? binding.values[id].known->data : inputs[i];
    }
    compute.run(compute.params, y, x);
    qn_arena_free(&arena);
    qn_binding_free(&binding);
}

/* How parameters lie: element i has set sets(i). */
typedef enum { TENSOR, AXIS, LAST, BLOCKS } way;

static int64_t set_of(way w, int64_t i)
{
    const int64_t row = i / (COLUMNS * INNER), column = i / INNER % COLUMNS, inner = i % INNER;
    return w == TENSOR ? 0 : w == AXIS ? column : w == LAST ? inner : (row * 3 + column / 4) * INNER + inner;
}

static int shape_of(way w, int64_t dims[3])
{
    const int64_t shapes[][3] = {{1}, {COLUMNS}, {INNER}, {ROWS, 3, INNER}};
    memcpy(dims, shapes[w], sizeof shapes[w]);
    return w == TENSOR ? 0 : w == BLOCKS ? 3 : 1;
}

static int64_t n_sets(way w)
{
    return w == TENSOR ? 1 : w == AXIS ? COLUMNS : w == LAST ? INNER : ROWS * 3 * INNER;
}

static const struct {
    int32_t type;
    qn_dtype dtype;
    int32_t lo, hi;
} types[] = {{2, QN_DTYPE_U8, 0, 255},         {3, QN_DTYPE_S8, -128, 127}, {4, QN_DTYPE_U16, 0, 65535},
             {5, QN_DTYPE_S16, -32768, 32767}, {UINT4, QN_DTYPE_U8, 0, 15}, {INT4, QN_DTYPE_S8, -8, 7}};

static int32_t get(qn_dtype dtype, const void *data, int64_t i)
{
    int64_t x;
    qn_convert_elements(QN_DTYPE_S64, &x, dtype, (const char *)data + (size_t)i * qn_dtype_size(dtype), 1);
    return (int32_t)x;
}

static void check_integers(size_t t, way w, uint64_t *state)
{
    const int64_t shape[] = {ROWS, COLUMNS, INNER};
    int64_t dims[3];
    const int rank = shape_of(w, dims);
    float x[ALL], scales[ROWS * 3 * INNER];
    int32_t wide[ROWS * 3 * INNER];
    char zeros[ROWS * 3 * INNER * 2];
    for (int64_t i = 0; i < n_sets(w); i++) {
        scales[i] = expf(qn_test_uniform(state, -4, 1));
        wide[i] = types[t].lo + (int32_t)(qn_test_random(state) % (uint64_t)(types[t].hi - types[t].lo + 1));
    }
    qn_convert_elements(types[t].dtype, zeros, QN_DTYPE_S32, wide, n_sets(w));
    for (int64_t i = 0; i < ALL; i++) { /* many ties and many beyond the codes */
        const float scale = scales[set_of(w, i)];
        const float steps = (float)(int)(qn_test_random(state) % 1200) - 600;
        x[i] = i % 3 == 0 ? steps * 0.5F * scale : qn_test_uniform(state, -300, 300) * scale;
    }
    x[5] = INFINITY, x[6] = -INFINITY, x[7] = NAN;
    qn_graph q = {.opset = 21, .file = "", .name = "", .producer = ""}, d = q;
    qn_graph *graphs[] = {&q, &d};
    for (int k = 0; k < 2; k++) {
        input(graphs[k], "x", k == 0 ? QN_DTYPE_F32 : types[t].dtype, 3, shape);
        constant(graphs[k], "s", QN_DTYPE_F32, rank, dims, scales);
        constant(graphs[k], "z", types[t].dtype, rank, dims, zeros);
        graphs[k]->values[qn_graph_find(graphs[k], "z")].stored_type = types[t].type > 16 ? types[t].type : 0;
        NODE_WITH(graphs[k], k == 0 ? "QuantizeLinear" : "DequantizeLinear", "x s z", "y",
                  A_INT("axis", w == LAST ? -1 : 1), A_INT("block_size", w == BLOCKS ? 4 : 0));
        qn_test_output(graphs[k], "y");
    }
    for (size_t level = 0; level < 3 && levels[level] <= qn_cpu_best(); level++) {
        char codes[ALL * 2];
        float y[ALL];
        compute(&q, 0, levels[level], codes, (const void *[]){x});
        compute(&d, 0, levels[level], y, (const void *[]){codes});
        for (int64_t i = 0; i < ALL; i++) {
            const float scale = scales[set_of(w, i)], v = x[i] / scale;
            const int32_t zero = wide[set_of(w, i)];
            const double whole = isnan(v) ? -1e9 : nearbyint((double)v) + zero;
            const int32_t code = whole < types[t].lo ? types[t].lo : whole > types[t].hi ? types[t].hi : (int32_t)whole;
            assert_int_equal(get(types[t].dtype, codes, i), code);
            assert_true(y[i] == (float)(code - zero) * scale);
        }
    }
    qn_graph_free(&q);
    qn_graph_free(&d);
}

static void integers_are_coded_as_defined(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (way w = TENSOR; w <= BLOCKS; w++) {
            check_integers(t, w, &seed);
        }
    }
}

/* The value of byte `code`, by the definition of the type; NAN and INFINITY where it is these. */
static double float8(int32_t type, int code)
{
    const bool e4 = type == E4M3FN || type == E4M3FNUZ, fnuz = type == E4M3FNUZ || type == E5M2FNUZ;
    const int m = e4 ? 3 : 2, bias = (e4 ? 7 : 15) + fnuz, e = (code & 127) >> m, f = code & ((1 << m) - 1);
    if ((fnuz && code == 128) || (type == E4M3FN && (code & 127) == 127) || (type == E5M2 && e == 31 && f != 0)) {
        return NAN;
    }
    if (type == E5M2 && e == 31) {
        return code < 128 ? INFINITY : -INFINITY;
    }
    const double v = e == 0 ? ldexp(f, 1 - bias - m) : ldexp((1 << m) + f, e - bias - m);
    return code < 128 ? v : -v;
}

/* The nearest number of the type, of two as near the one of even code; what is beyond all of them by half a step or more
 * overflows. */
static double nearest8(int32_t type, double x, bool saturate)
{
    double best = 0, most = 0;
    x = fabs(x) > 1e6 ? copysign(1e6, x) : x;
    int best_code = 0;
    for (int code = 0; code < 128; code++) {
        const double v = float8(type, code);
        if (isfinite(v)) {
            const double now = fabs(fabs(x) - v), before = fabs(fabs(x) - best);
            if (now < before || (now == before && code % 2 == 0 && best_code % 2 != 0)) {
                best = v, best_code = code;
            }
            most = v > most ? v : most;
        }
    }
    const double step = most - float8(type, best_code - 1 < 0 ? 0 : best_code - 1);
    const bool beyond =
        best == most && (fabs(x) - most > step / 2 || (fabs(x) - most == step / 2 && best_code % 2 != 0));
    if (isnan(x) || (beyond && !saturate)) {
        return isnan(x) || type != E5M2 ? NAN : copysign(INFINITY, x);
    }
    return copysign(best, x);
}

static void check_float8(int32_t type, bool saturate, uint64_t *state)
{
    enum { N = 3000 };
    const int64_t dims[] = {N};
    const float scale = 0.5F;
    static const uint8_t zero = 0;
    static float x[N], y[N];
    for (int i = 0; i < N; i++) {
        const double v = float8(type, i % 128), w = float8(type, (i + 1) % 128);
        const double between = isfinite(v) && isfinite(w) ? (v + w) / 2 : 1;
        x[i] = (float)(i < 128 ? v : i < 256 ? between : i < 384 ? -between : 0) * scale;
        x[i] = i < 384 ? x[i] : expf(qn_test_uniform(state, -14, 13)) * (i % 2 == 0 ? -1.0F : 1.0F);
    }
    x[400] = INFINITY, x[401] = -INFINITY, x[402] = NAN, x[403] = 464 * scale, x[404] = 61440 * scale;
    qn_graph g = {.opset = 19, .file = "", .name = "", .producer = ""};
    input(&g, "x", QN_DTYPE_F32, 1, dims);
    constant(&g, "s", QN_DTYPE_F32, 0, NULL, &scale);
    constant(&g, "z", QN_DTYPE_U8, 0, NULL, &zero);
    g.values[qn_graph_find(&g, "z")].stored_type = type;
    NODE_WITH(&g, "QuantizeLinear", "x s z", "y", A_INT("saturate", saturate));
    qn_test_output(&g, "y");
    compute(&g, 0, QN_CPU_REFERENCE, y, (const void *[]){x});
    for (int i = 0; i < N; i++) {
        const double wanted = nearest8(type, (double)(x[i] / scale), saturate);
        if (!(isnan(wanted) ? isnan(y[i]) : (double)y[i] == wanted)) {
            print_error("type %d, saturate %d: %.9g becomes %g, not %g\n", (int)type, saturate, (double)(x[i] / scale),
                        (double)y[i], wanted);
        }
        assert_true(isnan(wanted) ? isnan(y[i]) : (double)y[i] == wanted);
    }
    qn_graph_free(&g);
}

static void float8_is_carried_by_value(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int32_t type = E4M3FN; type <= E5M2FNUZ; type++) {
        check_float8(type, true, &seed);
        check_float8(type, false, &seed);
    }
}

static void dynamic_parameters_follow_the_range(void **state)
{
    (void)state;
    enum { N = 173 };
    const int64_t dims[] = {1, N};
    uint64_t seed = 3;
    const float ranges[][2] = {{-3, 5}, {1, 4}, {-7, -2}, {0, 0}, {-0.001F, 900}};
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        float x[N], least = 0, most = 0, scale = -1;
        uint8_t codes[N], zero = 0;
        for (int i = 0; i < N; i++) {
            x[i] = qn_test_uniform(&seed, ranges[r][0], ranges[r][1]);
            least = fminf(least, x[i]), most = fmaxf(most, x[i]);
        }
        qn_graph g = {.opset = 11, .file = "", .name = "", .producer = ""};
        input(&g, "x", QN_DTYPE_F32, 2, dims);
        NODE(&g, "DynamicQuantizeLinear", "x", "y s z");
        qn_test_output(&g, "y");
        qn_test_output(&g, "s");
        qn_test_output(&g, "z");
        for (size_t level = 0; level < 3 && levels[level] <= qn_cpu_best(); level++) {
            compute(&g, 0, levels[level], codes, (const void *[]){x});
            compute(&g, 1, levels[level], &scale, (const void *[]){x});
            compute(&g, 2, levels[level], &zero, (const void *[]){x});
            const float expected = most > least ? (most - least) / 255.0F : 1;
            assert_true(scale == expected);
            assert_int_equal(zero, (int)nearbyintf(-least / expected));
            for (int i = 0; i < N; i++) {
                const double code = nearbyint((double)(x[i] / expected)) + zero;
                assert_int_equal(codes[i], code < 0 ? 0 : code > 255 ? 255 : (int)code);
            }
        }
        qn_graph_free(&g);
    }
}

static void fill(void *data, int64_t n, uint64_t *state)
{
    for (int64_t i = 0; i < n; i++) {
        ((uint8_t *)data)[i] = (uint8_t)(qn_test_random(state) >> 20);
    }
}

typedef struct product {
    int64_t batch, m, k, n;
    bool b_batched, a_signed, b_signed, constant;
    int64_t a_zeros, b_zeros;
} product;

static void check_product(const product *p, uint64_t *state)
{
    const qn_dtype ta = p->a_signed ? QN_DTYPE_S8 : QN_DTYPE_U8, tb = p->b_signed ? QN_DTYPE_S8 : QN_DTYPE_U8;
    const int64_t a_dims[] = {p->batch, p->m, p->k}, b_dims[] = {p->batch, p->k, p->n};
    const int64_t n_b = (p->b_batched ? p->batch : 1) * p->k * p->n;
    uint8_t *a = qn_alloc((size_t)(p->batch * p->m * p->k)), *b = qn_alloc((size_t)n_b), za[64], zb[256];
    fill(a, p->batch * p->m * p->k, state);
    fill(b, n_b, state);
    fill(za, sizeof za, state);
    fill(zb, sizeof zb, state);
    qn_graph g = {.opset = 10, .file = "", .name = "", .producer = ""};
    input(&g, "a", ta, 3, a_dims);
    if (p->constant) {
        constant(&g, "b", tb, 2, b_dims + 1, b);
    } else {
        input(&g, "b", tb, p->b_batched ? 3 : 2, p->b_batched ? b_dims : b_dims + 1);
    }
    constant(&g, "za", ta, p->a_zeros > 1, &p->a_zeros, za);
    constant(&g, "zb", tb, p->b_zeros > 1, &p->b_zeros, zb);
    NODE(&g, "MatMulInteger", "a b za zb", "y");
    qn_test_output(&g, "y");
    int32_t *y = qn_alloc((size_t)(p->batch * p->m * p->n) * sizeof *y);
    for (size_t level = 0; level < 3 && levels[level] <= qn_cpu_best(); level++) {
        compute(&g, 0, levels[level], y, (const void *[]){a, b});
        for (int64_t i = 0; i < p->batch * p->m * p->n; i++) {
            const int64_t column = i % p->n, row = i / p->n % p->m, matrix = i / p->n / p->m;
            int64_t sum = 0;
            for (int64_t k = 0; k < p->k; k++) {
                sum += (int64_t)(get(ta, a, (matrix * p->m + row) * p->k + k) - get(ta, za, p->a_zeros > 1 ? row : 0)) *
                       (get(tb, b, ((p->b_batched ? matrix : 0) * p->k + k) * p->n + column) -
                        get(tb, zb, p->b_zeros > 1 ? column : 0));
            }
            assert_int_equal(y[i], (int32_t)sum);
        }
    }
    qn_free(y);
    qn_free(a);
    qn_free(b);
    qn_graph_free(&g);
}

static void products_of_codes_are_exact(void **state)
{
    (void)state;
    uint64_t seed = 5;
    const product cases[] = {
        {1, 1, 1, 1, .constant = true},
        {2, 5, 700, 37, .constant = true, .b_signed = true, .a_zeros = 1, .b_zeros = 37},
        {2, 9, 1025, 64, .constant = true, .a_signed = true, .a_zeros = 9, .b_zeros = 1},
        {3, 4, 33, 31, .b_batched = true, .a_signed = true, .b_signed = true, .a_zeros = 4, .b_zeros = 31},
        {2, 13, 513, 5, .b_signed = true},
        {1, 8, 2048, 33, .constant = true, .b_signed = true, .b_zeros = 33},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_product(&cases[i], &seed);
    }
}

typedef struct conv {
    int64_t channels, out, group, h, w, kh, kw;
    int64_t stride, dilation, pad;
    bool x_signed, w_signed, per_channel;
} conv;

static void check_conv(const conv *c, uint64_t *state)
{
    enum { N = 2 };
    const qn_dtype tx = c->x_signed ? QN_DTYPE_S8 : QN_DTYPE_U8, tw = c->w_signed ? QN_DTYPE_S8 : QN_DTYPE_U8;
    const int64_t inner = c->channels / c->group,
                  oh = (c->h + 2 * c->pad - (c->kh - 1) * c->dilation - 1) / c->stride + 1,
                  ow = (c->w + 2 * c->pad - (c->kw - 1) * c->dilation - 1) / c->stride + 1;
    uint8_t x[4096], w[4096], zx, zw[64];
    static int32_t y[65536];
    fill(x, sizeof x, state);
    fill(w, sizeof w, state);
    fill(&zx, 1, state);
    fill(zw, sizeof zw, state);
    qn_graph g = {.opset = 10, .file = "", .name = "", .producer = ""};
    input(&g, "x", tx, DIMS(N, c->channels, c->h, c->w));
    constant(&g, "w", tw, DIMS(c->out, inner, c->kh, c->kw), w);
    constant(&g, "zx", tx, 0, NULL, &zx);
    constant(&g, "zw", tw, c->per_channel, &c->out, zw);
    NODE_WITH(&g, "ConvInteger", "x w zx zw", "y", A_INT("group", c->group), A_INTS("strides", c->stride, c->stride),
              A_INTS("dilations", c->dilation, c->dilation), A_INTS("pads", c->pad, c->pad, c->pad, c->pad));
    qn_test_output(&g, "y");
    for (size_t level = 0; level < 3 && levels[level] <= qn_cpu_best(); level++) {
        compute(&g, 0, levels[level], y, (const void *[]){x});
        for (int64_t i = 0; i < N * c->out * oh * ow; i++) {
            const int64_t column = i % ow, row = i / ow % oh, k = i / ow / oh % c->out, item = i / ow / oh / c->out;
            int64_t sum = 0;
            for (int64_t t = 0; t < inner * c->kh * c->kw; t++) {
                const int64_t channel = k / (c->out / c->group) * inner + t / (c->kh * c->kw);
                const int64_t at_h = row * c->stride - c->pad + t / c->kw % c->kh * c->dilation;
                const int64_t at_w = column * c->stride - c->pad + t % c->kw * c->dilation;
                if (at_h >= 0 && at_h < c->h && at_w >= 0 && at_w < c->w) {
                    const int64_t at = ((item * c->channels + channel) * c->h + at_h) * c->w + at_w;
                    sum += (int64_t)(get(tx, x, at) - get(tx, &zx, 0)) *
                           (get(tw, w, k * inner * c->kh * c->kw + t) - get(tw, zw, c->per_channel ? k : 0));
                }
            }
            assert_int_equal(y[i], (int32_t)sum);
        }
    }
    qn_graph_free(&g);
}

static void convolutions_of_codes_are_exact(void **state)
{
    (void)state;
    uint64_t seed = 9;
    const conv cases[] = {{3, 5, 1, 9, 17, 3, 3, 1, 1, 1, .w_signed = true, .per_channel = true},
                          {4, 8, 4, 7, 6, 2, 3, 2, 1, 0, .x_signed = true},
                          {6, 4, 2, 11, 10, 3, 2, 1, 2, 2, .x_signed = true, .w_signed = true},
                          {1, 1, 1, 5, 5, 5, 5, 3, 1, 2, .per_channel = true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_conv(&cases[i], &seed);
    }
}

static void refused(const char *type, qn_dtype x, const float *scales, int rank, const int64_t *dims, qn_dtype zero,
                    int64_t block, qn_status status, const char *fragment)
{
    static const uint8_t zeros[256];
    qn_error err;
    qn_error_init(&err);
    qn_graph g = {.opset = 21, .file = "model.onnx", .name = "", .producer = ""};
    qn_binding binding;
    input(&g, "x", x, DIMS(2, 6, 4));
    constant(&g, "s", QN_DTYPE_F32, rank, dims, scales);
    constant(&g, "z", zero, rank, dims, zeros);
    NODE_WITH(&g, type, "x s z", "y", A_INT("axis", 1), A_INT("block_size", block));
    qn_test_output(&g, "y");
    qn_assert_fails(qn_graph_bind(&binding, &g, 1, &err), &err, status, fragment);
    qn_graph_free(&g);
}

static void wrong_parameters_are_named(void **state)
{
    (void)state;
    const float zero[6] = {1, 1, 0, 1, 1, 1}, minus[1] = {-1}, nan[1] = {NAN};
    float ones[64];
    for (int i = 0; i < 64; i++) {
        ones[i] = 1;
    }
    refused("QuantizeLinear", QN_DTYPE_F32, ones, DIMS(5), QN_DTYPE_U8, 0, QN_ESHAPE,
            "scales of shape 5; expected one, or one for each of the 6 indices of axis 1");
    refused("QuantizeLinear", QN_DTYPE_F32, zero, DIMS(6), QN_DTYPE_U8, 0, QN_EFORMAT, "scale 2 is 0");
    refused("QuantizeLinear", QN_DTYPE_F32, minus, DIMS(1), QN_DTYPE_U8, 0, QN_EFORMAT, "scale 0 is -1");
    refused("QuantizeLinear", QN_DTYPE_F32, nan, DIMS(1), QN_DTYPE_U8, 0, QN_EFORMAT, "scale 0 is nan");
    refused("QuantizeLinear", QN_DTYPE_F32, ones, DIMS(1), QN_DTYPE_S32, 0, QN_EUNSUPPORTED, "codes of type 6 (int32)");
    refused("DequantizeLinear", QN_DTYPE_U8, ones, DIMS(1), QN_DTYPE_S8, 0, QN_EFORMAT,
            "a zero point of type int8 for codes of type uint8");
    refused("DequantizeLinear", QN_DTYPE_S64, ones, DIMS(1), QN_DTYPE_S64, 0, QN_EUNSUPPORTED,
            "codes of type 7 (int64)");
    refused("DequantizeLinear", QN_DTYPE_U8, ones, DIMS(2, 3, 4), QN_DTYPE_U8, 4, QN_ESHAPE,
            "scales of shape 2x3x4, but blocks of 4 along axis 1 need 2x2x4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_coded_as_defined),       cmocka_unit_test(float8_is_carried_by_value),
        cmocka_unit_test(dynamic_parameters_follow_the_range), cmocka_unit_test(products_of_codes_are_exact),
        cmocka_unit_test(convolutions_of_codes_are_exact),     cmocka_unit_test(wrong_parameters_are_named),
    };
    return cmocka_run_group_tests_name("quantized nodes", tests, NULL, NULL);
}
