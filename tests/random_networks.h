/* Small random integer networks of every kind of step: residual sums, Concat, depthwise and grouped convolutions, strides,
 * dilations, uneven padding, pools, moves, matrices over tokens, islands; in any arithmetic, as all scales are powers of
 * two. */
#ifndef QN_TESTS_RANDOM_NETWORKS_H
#define QN_TESTS_RANDOM_NETWORKS_H

#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "ptq/ptq.h"
#include "quern/quern.h"

typedef struct {
    qn_model model;
    qn_error err;
    uint64_t seed;
    int n_names;
} random_net;

static inline int pick(random_net *t, int low, int high)
{
    return low + (int)(qn_test_random(&t->seed) % (uint64_t)(high - low + 1));
}

static inline qn_graph *net_start(random_net *t, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    qn_error_init(&t->err);
    t->seed = seed * 0x9e3779b97f4a7c15u + 88172645463325252u;
    t->model.graph.opset = 13;
    t->model.graph.file = "net.onnx";
    return &t->model.graph;
}

static inline void net_code(random_net *t, const char *name, int exponent, int32_t zero_point, bool is_signed)
{
    const float scale = ldexpf(1, exponent);
    const qn_quantizer q = {.format = {.bits = 8, .is_signed = is_signed},
                            .axis = -1,
                            .n = 1,
                            .scale = (float[]){scale},
                            .zero_point = (int32_t[]){zero_point}};
    qn_assert_ok(qn_graph_set_quantizer(&t->model.graph, qn_graph_find(&t->model.graph, name), &q, &t->err), &t->err);
}

/* A constant of random codes, with a scale per index of `axis`, or one (axis -1). exponents: their least, raised by 0 or
 * 1; zero points of weights are not 0 where `uneven`. */
static inline void net_coded(random_net *t, const char *name, int rank, const int64_t *dims, int axis, int exponent,
                             int bits, bool uneven)
{
    qn_graph *graph = &t->model.graph;
    const qn_value_id id = qn_test_floats(graph, name, rank, dims, NULL);
    float scale[64];
    int32_t zero[64];
    const int n = axis < 0 ? 1 : (int)dims[axis];
    for (int i = 0; i < n; i++) {
        scale[i] = ldexpf(1, exponent + (axis < 0 ? 0 : i % 2));
        zero[i] = uneven ? pick(t, -3, 3) : 0;
    }
    const qn_quantizer q = {
        .format = {.bits = bits, .is_signed = true}, .axis = axis, .n = n, .scale = scale, .zero_point = zero};
    qn_tensor codes;
    qn_assert_ok(qn_tensor_alloc(&codes, bits == 8 ? QN_DTYPE_S8 : QN_DTYPE_S32, rank, dims, &t->err), &t->err);
    for (int64_t i = 0; i < qn_tensor_count(&codes); i++) {
        if (bits == 8) {
            ((int8_t *)codes.data)[i] = (int8_t)pick(t, -12, 12);
        } else {
            ((int32_t *)codes.data)[i] = pick(t, -600, 600);
        }
    }
    qn_assert_ok(qn_ptq_set_coded(graph, id, &q, &codes, &t->err), &t->err);
    qn_tensor_free(&codes);
}

/* x has 2^-5 as its scale everywhere; sums of n terms of about 70 * 7 come to codes. */
enum { NET_EXPONENT = -5, NET_WEIGHTS = -7 };
static inline int net_weights_exponent(int64_t n_terms)
{
    return -3 - (int)lrint(log2(sqrt((double)n_terms)));
}

typedef struct net_map {
    char name[16];
    int c, h, w;
} net_map;

static inline net_map net_name(random_net *t, int c, int h, int w)
{
    net_map m = {.c = c, .h = h, .w = w};
    snprintf(m.name, sizeof m.name, "v%d", t->n_names++);
    return m;
}

/* Conv of random geometry, maybe with Relu; `same` keeps height and width. groups -1: depthwise. */
static inline net_map net_conv(random_net *t, const net_map *x, int outputs, int groups, bool same)
{
    qn_graph *g = &t->model.graph;
    const int kh = same ? 3 : pick(t, 1, 3), kw = same ? 3 : pick(t, 1, 3);
    int s[2] = {1, 1}, d[2] = {1, 1}, p[4] = {1, 1, 1, 1};
    if (!same) {
        for (int i = 0; i < 2; i++) {
            s[i] = pick(t, 1, 2);
            d[i] = pick(t, 1, 2);
        }
        for (int i = 0; i < 4; i++) {
            p[i] = pick(t, 0, 2);
        }
    }
    groups = groups < 0 ? x->c : groups;
    net_map y = net_name(t, outputs, (x->h + p[0] + p[2] - d[0] * (kh - 1) - 1) / s[0] + 1,
                         (x->w + p[1] + p[3] - d[1] * (kw - 1) - 1) / s[1] + 1);
    char w[24], b[24], in[80], raw[24];
    snprintf(w, sizeof w, "w_%s", y.name);
    snprintf(b, sizeof b, "b_%s", y.name);
    const int per = x->c / groups, ew = net_weights_exponent((int64_t)per * kh * kw);
    net_coded(t, w, DIMS(outputs, per, kh, kw), pick(t, -1, 0), ew, 8, pick(t, 0, 2) == 0);
    const qn_quantizer *q = g->values[qn_graph_find(g, w)].quantizer;
    net_coded(t, b, DIMS(outputs), -1, 0, 32, false);
    float scale[64];
    int32_t zero[64] = {0};
    for (int k = 0; k < outputs; k++) {
        scale[k] = ldexpf(1, NET_EXPONENT) * q->scale[q->n == 1 ? 0 : k];
    }
    const qn_quantizer bq = {
        .format = {.bits = 32, .is_signed = true}, .axis = 0, .n = outputs, .scale = scale, .zero_point = zero};
    qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, b), &bq, &t->err), &t->err);
    snprintf(in, sizeof in, "%s %s%s%s", x->name, w, pick(t, 0, 4) == 0 ? "" : " ", b);
    if (strchr(in, ' ') == strrchr(in, ' ')) {
        snprintf(in, sizeof in, "%s %s", x->name, w); /* no bias */
    }
    const bool relu = pick(t, 0, 1) == 0;
    snprintf(raw, sizeof raw, relu ? "r_%s" : "%s", y.name);
    NODE_WITH(g, "Conv", in, raw, A_INTS("strides", s[0], s[1]), A_INTS("dilations", d[0], d[1]),
              A_INTS("pads", p[0], p[1], p[2], p[3]), A_INT("group", groups));
    if (relu) {
        NODE(g, "Relu", raw, y.name);
    }
    const bool is_signed = pick(t, 0, 1) == 0;
    net_code(t, y.name, NET_EXPONENT, is_signed ? pick(t, -20, 20) : pick(t, 100, 140), is_signed);
    return y;
}

static inline void net_matrix(random_net *t, const char *x, const char *y, int k, int n, bool coded_result)
{
    qn_graph *g = &t->model.graph;
    char w[24], in[64];
    snprintf(w, sizeof w, "w_%s", y);
    net_coded(t, w, DIMS(k, n), pick(t, 0, 1) ? 1 : -1, net_weights_exponent(k), 8, false);
    snprintf(in, sizeof in, "%s %s", x, w);
    NODE(g, "MatMul", in, y);
    if (coded_result) {
        net_code(t, y, NET_EXPONENT, pick(t, -9, 9), true);
    }
}

/* Convolutions, a residual sum, Concat, pools, a classifier. */
static inline void net_of_maps(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    const int c = 2 * pick(t, 1, 3);
    qn_test_input(g, "x", DIMS(-1, c, pick(t, 7, 11), pick(t, 7, 11)));
    const qn_value *input = &g->values[qn_graph_find(g, "x")];
    net_map x = {"x", c, (int)input->dims[2], (int)input->dims[3]};
    net_code(t, "x", NET_EXPONENT, pick(t, -10, 10), true);
    net_map a = net_conv(t, &x, 2 * pick(t, 2, 10), pick(t, 1, 2), false);
    net_map b = net_conv(t, &a, a.c, pick(t, 0, 1) ? -1 : 1, true);
    net_map r = net_conv(t, &b, a.c, pick(t, 1, 2), true), sum = net_name(t, a.c, a.h, a.w);
    char in[80];
    snprintf(in, sizeof in, "%s %s", r.name, a.name);
    NODE(g, "Add", in, sum.name);
    net_code(t, sum.name, NET_EXPONENT + pick(t, 0, 1), 3, true);
    /* parameters of sums differ from those of what is convolved next: a table brings them back */
    net_map relu = net_name(t, a.c, a.h, a.w);
    NODE(g, "Relu", sum.name, relu.name);
    net_code(t, relu.name, NET_EXPONENT, -20, true);
    net_map left = net_conv(t, &relu, 5, 1, true), right = net_conv(t, &relu, a.c, -1, true);
    net_map both = net_name(t, left.c + right.c, a.h, a.w);
    snprintf(in, sizeof in, "%s %s", left.name, right.name);
    NODE_WITH(g, "Concat", in, both.name, A_INT("axis", 1));
    net_code(t, both.name, NET_EXPONENT, 5, true);
    net_map pooled = net_name(t, both.c, a.h, a.w);
    if (pick(t, 0, 1) == 0) {
        NODE_WITH(g, "MaxPool", both.name, pooled.name, A_INTS("kernel_shape", 3, 3), A_INTS("pads", 1, 1, 1, 1));
    } else {
        NODE_WITH(g, "AveragePool", both.name, pooled.name, A_INTS("kernel_shape", 3, 3), A_INTS("pads", 1, 1, 1, 1),
                  A_INT("count_include_pad", pick(t, 0, 1)));
        net_code(t, pooled.name, NET_EXPONENT, 5, true);
    }
    net_map last = net_conv(t, &pooled, 2 * pick(t, 2, 5), 1, false), flat = net_name(t, 0, 0, 0);
    if (pick(t, 0, 1) == 0) {
        NODE(g, "GlobalAveragePool", last.name, "gap");
        net_code(t, "gap", NET_EXPONENT, -4, true);
        NODE(g, "Flatten", "gap", flat.name);
        flat.c = last.c;
    } else {
        NODE(g, "Flatten", last.name, flat.name);
        flat.c = last.c * last.h * last.w;
    }
    net_matrix(t, flat.name, "y", flat.c, 6, pick(t, 0, 2) > 0);
    qn_test_output(g, "y");
    if (pick(t, 0, 2) == 0) {
        qn_test_output(g, sum.name);
    }
}

/* Tokens: projections, moves, products of activations, Softmax on codes or in float, LayerNormalization, a Mul in float. */
static inline void net_of_tokens(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    qn_test_input(g, "x", DIMS(-1, 6, 8));
    net_code(t, "x", NET_EXPONENT, pick(t, -10, 10), true);
    net_matrix(t, "x", "q", 8, 12, true);
    net_matrix(t, "x", "k", 8, 12, true);
    net_matrix(t, "x", "v0", 8, 12, false);
    net_coded(t, "c", DIMS(12), -1, NET_EXPONENT + net_weights_exponent(8), 32, false);
    net_matrix(t, "x", "m", 8, 12, false);
    NODE(g, "Add", "m c", "v");
    net_code(t, "v", NET_EXPONENT, 2, true);
    NODE(g, "Relu", "v0", "f");
    NODE_WITH(g, "Transpose", "k", "kt", A_INTS("perm", 0, 2, 1));
    NODE(g, "MatMul", "q kt", "s");
    if (pick(t, 0, 1) == 0) {
        net_code(t, "s", NET_EXPONENT + 2, 0, true);
    }
    NODE_WITH(g, "Softmax", "s", "p", A_INT("axis", -1));
    net_code(t, "p", -8, 0, false);
    NODE(g, "MatMul", "p v", "o");
    net_code(t, "o", NET_EXPONENT, 0, true);
    NODE(g, "Add", "o k", "z");
    net_code(t, "z", NET_EXPONENT + 1, 0, true);
    qn_test_floats(g, "gain", DIMS(12), NULL);
    NODE(g, "Mul", "f gain", "fg");
    net_code(t, "fg", NET_EXPONENT + 1, 1, true);
    g->opset = 17; /* LayerNormalization */
    qn_test_floats(g, "norm_gain", DIMS(12), NULL);
    qn_test_floats(g, "norm_bias", DIMS(12), NULL);
    NODE(g, "LayerNormalization", "z norm_gain norm_bias", "n");
    net_code(t, "n", NET_EXPONENT - 1, 3, true);
    NODE(g, "Add", "n fg", "u");
    net_code(t, "u", NET_EXPONENT + 1, 0, true);
    qn_test_ints(g, "starts", 1, (int64_t[]){1});
    qn_test_ints(g, "ends", 1, (int64_t[]){5});
    qn_test_ints(g, "axes", 1, (int64_t[]){1});
    NODE(g, "Slice", "u starts ends axes", "part");
    NODE_WITH(g, "Concat", "part u", "cat", A_INT("axis", 1));
    net_code(t, "cat", NET_EXPONENT, 0, true);
    qn_test_ints(g, "row", 1, (int64_t[]){pick(t, 0, 9)});
    NODE_WITH(g, "Gather", "cat row", "first", A_INT("axis", 1));
    NODE(g, "Flatten", "first", "flat");
    net_matrix(t, "flat", "y", 12, 5, true);
    qn_test_output(g, "y");
    if (pick(t, 0, 1) == 0) {
        qn_test_output(g, "p");
    }
    NODE_WITH(g, "ReduceMean", "n", "mean", A_INTS("axes", 1), A_INT("keepdims", 0));
    net_code(t, "mean", NET_EXPONENT - 1, 3, true);
    net_matrix(t, "mean", "y2", 12, 6, true);
    qn_test_output(g, "y2");
}

/* Functions of one value, products and differences: gates of channels, of pixels and of both. */
static inline void net_of_gates(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    const int c = 2 * pick(t, 1, 3), size = pick(t, 4, 8);
    char in[80];
    qn_test_input(g, "x", DIMS(-1, c, size, size + 1));
    net_map x = {"x", c, size, size + 1};
    net_code(t, "x", NET_EXPONENT, pick(t, -10, 10), true);
    net_map a = net_conv(t, &x, 2 * pick(t, 2, 9), 1, true);
    NODE(g, "GlobalAveragePool", a.name, "gap");
    net_code(t, "gap", NET_EXPONENT, -4, true);
    net_map pixel = {"gap", a.c, 1, 1}, few = net_conv(t, &pixel, 4, 1, true), many = net_conv(t, &few, a.c, 1, true);
    NODE(g, pick(t, 0, 1) ? "Sigmoid" : "HardSigmoid", many.name, "gate");
    net_code(t, "gate", -8, pick(t, 0, 3), false);
    snprintf(in, sizeof in, pick(t, 0, 1) ? "%s gate" : "gate %s", a.name); /* gates: one pixel for all */
    NODE(g, "Mul", in, "gated");
    net_code(t, "gated", NET_EXPONENT, pick(t, -9, 9), true);
    snprintf(in, sizeof in, pick(t, 0, 1) ? "gated %s" : "%s gated", a.name);
    NODE(g, "Sub", in, "less");
    net_code(t, "less", NET_EXPONENT, pick(t, 0, 1) ? 128 : 100, false);
    net_map less = {"less", a.c, a.h, a.w}, one = net_conv(t, &less, 1, 1, true);
    NODE(g, "Tanh", one.name, "mask");
    net_code(t, "mask", -7, 0, true);
    NODE(g, "Mul", "mask less", "masked"); /* one channel for all */
    NODE(g, "Relu", "masked", "kept");
    net_code(t, "kept", NET_EXPONENT, pick(t, -128, 3), true);
    net_coded(t, "gain", DIMS(a.c, 1, 1), -1, -4, 8, false);
    NODE(g, "Mul", "kept gain", "scaled");
    net_code(t, "scaled", NET_EXPONENT, 3, true);
    net_map scaled = {"scaled", a.c, a.h, a.w}, b = net_conv(t, &scaled, a.c, -1, true);
    NODE(g, "Sigmoid", b.name, "inside"); /* x * Sigmoid(x) */
    snprintf(in, sizeof in, "inside %s", b.name);
    NODE(g, "Mul", in, "silu");
    net_code(t, "silu", NET_EXPONENT, -50, true);
    const int before = pick(t, 0, 2), behind = pick(t, 1, 2), half = pick(t, 1, a.c - 1);
    qn_test_ints(g, "around", 8, (int64_t[]){0, 0, before, 1, 0, pick(t, 0, 1), behind, 0});
    qn_test_ints(g, "halves", 2, (int64_t[]){half, a.c - half});
    NODE_WITH(g, "Split", "silu halves", "left right", A_INT("axis", 1));
    NODE_WITH(g, "Concat", "right left", "turned", A_INT("axis", 1));
    net_code(t, "turned", NET_EXPONENT, -50, true);
    NODE_WITH(g, "Pad", "turned around", "padded", A_STRING("mode", pick(t, 0, 3) == 0 ? "edge" : "constant"));
    NODE_WITH(g, "MaxPool", "padded", "pooled", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    qn_test_floats(g, "twice", DIMS(4), (float[]){1, 1, 1, 2});
    NODE_WITH(g, "Resize", "pooled - twice", "wide", A_STRING("mode", "nearest"));
    NODE(g, "Flatten", "wide", "flat");
    const qn_value_id channels = qn_graph_find(g, "around");
    const int c_out = a.c + (int)((const int64_t *)g->values[channels].constant->data)[5];
    net_matrix(t, "flat", "y", c_out * ((a.h + before + behind) / 2) * ((a.w + 1) / 2) * 2, 6, pick(t, 0, 2) > 0);
    qn_test_output(g, "y");
    if (pick(t, 0, 2) == 0) {
        qn_test_output(g, "less");
    }
}

/* One of all kinds. Seeds below 48 meet every arithmetic with gates, whether it is chosen by the seed or by a third. */
static inline void net_of_any(random_net *t, uint64_t seed)
{
    const bool gates = seed % 3 == 0 && ((seed / 3 ^ seed / 24) & 1) != 0;
    (seed % 3 == 2 ? net_of_tokens : gates ? net_of_gates : net_of_maps)(t, seed);
}

static inline void net_release(random_net *t)
{
    qn_graph_free(&t->model.graph);
}

/* Arithmetic number i of a list that has every requantization, wrapping and saturating narrow accumulators, sums in
 * integers. */
static inline qn_arithmetic net_arithmetic(uint64_t i)
{
    static const qn_arithmetic list[] = {
        {0},
        {0},
        {.requantize = QN_REQUANTIZE_FIXED, .twice = true, .rounding = QN_ROUND_NEAREST_AWAY, .fixed_sums = true},
        {.requantize = QN_REQUANTIZE_SHIFT, .rounding = QN_ROUND_FLOOR},
        {.accumulator_bits = 14},
        {.accumulator_bits = 13, .saturate = true},
        {.requantize = QN_REQUANTIZE_DOUBLE_SHIFT, .rounding = QN_ROUND_NEAREST_UP, .accumulator_bits = 14},
        {.requantize = QN_REQUANTIZE_FIXED, .accumulator_bits = 14, .saturate = true, .fixed_sums = true},
    };
    return list[i % (sizeof list / sizeof list[0])];
}

static inline qn_program *net_compile(random_net *t, const qn_arithmetic *arithmetic)
{
    qn_program_options options;
    qn_program *program = NULL;
    qn_assert_ok(qn_graph_set_arithmetic(&t->model.graph, arithmetic, &t->err), &t->err);
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &t->err), &t->err);
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
    return program;
}

#endif
