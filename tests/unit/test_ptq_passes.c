/* Each pass on the smallest graph that shows what it does, and on the nearest one where it must not. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calib/calib.h"
#include "ptq_pass.h"

/* A graph under construction, with the calibration of its values. */
typedef struct {
    qn_graph graph;
    qn_calibration calibration;
    qn_error err;
} bench;

static void setup(bench *b)
{
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->graph.opset = 13;
    b->graph.file = "test.onnx";
}

static void teardown(bench *b)
{
    qn_graph_free(&b->graph);
    qn_calibration_release(&b->calibration);
}

static qn_value_id value(bench *b, const char *name)
{
    qn_value_id id = qn_graph_find(&b->graph, name);
    if (id == QN_NO_VALUE) {
        qn_assert_ok(qn_graph_add_value(&b->graph, name, &id, &b->err), &b->err);
    }
    return id;
}

static void input(bench *b, const char *name, int rank, const int64_t *dims)
{
    qn_value_id id = value(b, name);
    qn_value *v = &b->graph.values[id];
    v->dtype = QN_DTYPE_F32;
    v->rank = rank;
    memcpy(v->dims, dims, (size_t)rank * sizeof *dims);
    qn_assert_ok(qn_graph_add_io(&b->graph, false, id, &b->err), &b->err);
}

static void output(bench *b, const char *name)
{
    qn_assert_ok(qn_graph_add_io(&b->graph, true, value(b, name), &b->err), &b->err);
}

/* A constant filled with first, first + step, ... */
static void constant(bench *b, const char *name, int rank, const int64_t *dims, float first, float step)
{
    qn_tensor t = {0};
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, rank, dims, &b->err), &b->err);
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        ((float *)t.data)[i] = first + step * (float)i;
    }
    qn_assert_ok(qn_graph_set_constant(&b->graph, value(b, name), &t, &b->err), &b->err);
    qn_tensor_free(&t);
}

/* Names of inputs separated by spaces. */
static qn_node *node(bench *b, qn_op op, const char *inputs, const char *made)
{
    qn_value_id ids[8], out = value(b, made);
    int n = 0;
    char names[256];
    snprintf(names, sizeof names, "%s", inputs);
    for (char *name = strtok(names, " "); name != NULL; name = strtok(NULL, " ")) {
        ids[n++] = value(b, name);
    }
    qn_node proto = {.name = made,
                     .op_type = qn_op_type(op),
                     .domain = "",
                     .op = op,
                     .n_inputs = n,
                     .n_outputs = 1,
                     .inputs = ids,
                     .outputs = &out};
    qn_assert_ok(qn_graph_add_node(&b->graph, &proto, &b->err), &b->err);
    return &b->graph.nodes[b->graph.n_nodes - 1];
}

static void attribute(bench *b, qn_node *n, const char *name, qn_attribute_type type, double number,
                      const int64_t *ints, int n_ints)
{
    qn_attribute *grown = qn_arena_array(&b->graph.arena, (size_t)n->n_attributes + 1, sizeof *grown);
    const int64_t *copy = (const int64_t *)qn_arena_bytes(&b->graph.arena, ints, (size_t)n_ints * sizeof *ints);
    assert_true(grown != NULL && copy != NULL);
    if (n->n_attributes > 0) {
        memcpy(grown, n->attributes, (size_t)n->n_attributes * sizeof *grown);
    }
    grown[n->n_attributes++] =
        (qn_attribute){.name = name, .type = type, .i = (int64_t)number, .f = (float)number, .ints = copy, .n = n_ints};
    n->attributes = grown;
}

static void range(bench *b, const char *name, float min, float max, int64_t n_channels)
{
    qn_range *r;
    float *absmax;
    qn_assert_ok(qn_calibration_add(&b->calibration, name, n_channels, &r, &absmax, &b->err), &b->err);
    r->min = min;
    r->max = max;
}

static qn_status run(bench *b, qn_ptq_pass_fn pass)
{
    qn_ptq_settings settings = {.n_sets = 0};
    qn_status status =
        qn_ptq_formats_apply(&settings.base, "weights=int8,activations=uint8,bias=int32,per=channel", NULL, &b->err);
    qn_ptq ptq = {.graph = &b->graph, .calibration = &b->calibration, .settings = &settings};
    if (status == QN_OK) {
        status = qn_graph_tidy(&b->graph, &b->err);
    }
    if (status == QN_OK && pass == qn_ptq_quantize_weights) {
        status = qn_test_ptq_pass(&ptq, qn_ptq_choose_weights, &b->err);
    }
    if (status == QN_OK) {
        status = qn_test_ptq_pass(&ptq, pass, &b->err);
    }
    if (status == QN_OK) {
        status = qn_graph_verify(&b->graph, &b->err);
    }
    qn_arena_free(&ptq.scratch);
    return status;
}

static void run_ok(bench *b, qn_ptq_pass_fn pass)
{
    qn_assert_ok(run(b, pass), &b->err);
}

static const float *floats(const bench *b, qn_value_id id)
{
    assert_true(id != QN_NO_VALUE && b->graph.values[id].constant != NULL);
    return b->graph.values[id].constant->data;
}

#define DIMS(...)                                                                                                      \
    (int64_t[])                                                                                                        \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define RANK(...)  (int)(sizeof(DIMS(__VA_ARGS__)) / sizeof(int64_t))
#define SHAPE(...) RANK(__VA_ARGS__), DIMS(__VA_ARGS__)

static void an_add_after_conv_becomes_its_bias(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3, 4, 4));
    constant(&b, "w", SHAPE(2, 3, 1, 1), 1, 1);
    constant(&b, "bias", SHAPE(2), 10, 10);
    constant(&b, "a", SHAPE(1, 2, 1, 1), 1, 1);
    node(&b, QN_OP_CONV, "x w bias", "c");
    node(&b, QN_OP_ADD, "a c", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_fuse_bias);
    assert_int_equal(b.graph.n_nodes, 1);
    assert_int_equal(b.graph.nodes[0].op, QN_OP_CONV);
    assert_int_equal(b.graph.nodes[0].outputs[0], value(&b, "y"));
    const float *bias = floats(&b, b.graph.nodes[0].inputs[2]);
    assert_true(bias[0] == 11 && bias[1] == 22);
    teardown(&b);
}

static void an_add_that_is_not_per_channel_stays(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3, 4, 4));
    constant(&b, "w", SHAPE(4, 3, 1, 1), 1, 1);
    constant(&b, "per_column", SHAPE(4), 1, 1); /* aligned with the last axis, not with channels */
    node(&b, QN_OP_CONV, "x w", "c");
    node(&b, QN_OP_ADD, "c per_column", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_fuse_bias);
    assert_int_equal(b.graph.n_nodes, 2);
    teardown(&b);
}

static void an_add_whose_operand_has_another_reader_stays(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3, 4, 4));
    constant(&b, "w", SHAPE(2, 3, 1, 1), 1, 1);
    constant(&b, "a", SHAPE(2, 1, 1), 1, 1);
    node(&b, QN_OP_CONV, "x w", "c");
    node(&b, QN_OP_ADD, "c a", "y");
    output(&b, "y");
    output(&b, "c");
    run_ok(&b, qn_ptq_fuse_bias);
    assert_int_equal(b.graph.n_nodes, 2);
    teardown(&b);
}

static void matmul_with_a_vector_added_is_gemm(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "w", SHAPE(3, 2), 1, 1);
    constant(&b, "a", SHAPE(2), 5, 1);
    node(&b, QN_OP_MATMUL, "x w", "m");
    node(&b, QN_OP_ADD, "m a", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_fuse_bias);
    assert_int_equal(b.graph.n_nodes, 1);
    assert_string_equal(b.graph.nodes[0].op_type, "Gemm");
    assert_int_equal(b.graph.nodes[0].op, QN_OP_GEMM);
    assert_int_equal(b.graph.nodes[0].n_inputs, 3);
    teardown(&b);
}

static void gemm_factors_go_into_its_constants(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "w", SHAPE(2, 3), 1, 1);
    constant(&b, "c", SHAPE(1, 2), 4, 2);
    qn_node *gemm = node(&b, QN_OP_GEMM, "x w c", "y");
    attribute(&b, gemm, "transB", QN_ATTRIBUTE_INT, 1, DIMS(0), 0);
    attribute(&b, gemm, "alpha", QN_ATTRIBUTE_FLOAT, 0.5, DIMS(0), 0);
    attribute(&b, gemm, "beta", QN_ATTRIBUTE_FLOAT, 3, DIMS(0), 0);
    output(&b, "y");
    run_ok(&b, qn_ptq_plain_gemm);
    gemm = &b.graph.nodes[0];
    assert_null(qn_node_attribute(gemm, "alpha"));
    assert_null(qn_node_attribute(gemm, "beta"));
    assert_int_equal(qn_node_int(gemm, "transB", 0), 1);
    const float *w = floats(&b, gemm->inputs[1]), *c = floats(&b, gemm->inputs[2]);
    assert_true(w[0] == 0.5f && w[5] == 3.0f);
    assert_true(c[0] == 12 && c[1] == 18);
    assert_int_equal(b.graph.values[gemm->inputs[2]].constant->rank, 1);
    teardown(&b);
}

static void weights_shared_with_another_node_are_not_changed(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2));
    constant(&b, "w", SHAPE(2, 2), 1, 1);
    qn_node *scaled = node(&b, QN_OP_GEMM, "x w", "h");
    attribute(&b, scaled, "alpha", QN_ATTRIBUTE_FLOAT, 2, DIMS(0), 0);
    node(&b, QN_OP_GEMM, "h w", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_plain_gemm);
    assert_true(floats(&b, b.graph.nodes[0].inputs[1])[3] == 8);
    assert_true(floats(&b, b.graph.nodes[1].inputs[1])[3] == 4);
    teardown(&b);
}

static void pool_over(bench *b, const int64_t *kernel, const int64_t *pads, qn_op expected)
{
    setup(b);
    input(b, "x", SHAPE(-1, 2, 5, 4));
    qn_node *pool = node(b, QN_OP_AVERAGE_POOL, "x", "y");
    attribute(b, pool, "kernel_shape", QN_ATTRIBUTE_INTS, 0, kernel, 2);
    attribute(b, pool, "pads", QN_ATTRIBUTE_INTS, 0, pads, 4);
    output(b, "y");
    run_ok(b, qn_ptq_whole_map_pool);
    assert_int_equal(b->graph.nodes[0].op, expected);
    assert_string_equal(b->graph.nodes[0].op_type, qn_op_type(expected));
    teardown(b);
}

static void only_a_pool_over_the_whole_map_becomes_global(void **state)
{
    (void)state;
    bench b;
    pool_over(&b, DIMS(5, 4), DIMS(0, 0, 0, 0), QN_OP_GLOBAL_AVERAGE_POOL);
    pool_over(&b, DIMS(4, 4), DIMS(0, 0, 0, 0), QN_OP_AVERAGE_POOL);
    pool_over(&b, DIMS(5, 4), DIMS(0, 1, 0, 0), QN_OP_AVERAGE_POOL);
}

static void lone_batchnorm_is_a_depthwise_conv(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2, 4, 4));
    constant(&b, "scale", SHAPE(2), 3, 1);
    constant(&b, "shift", SHAPE(2), 1, 1);
    constant(&b, "mean", SHAPE(2), 2, 0);
    constant(&b, "variance", SHAPE(2), 3.75f, 12);
    qn_node *bn = node(&b, QN_OP_BATCH_NORMALIZATION, "x scale shift mean variance", "y");
    attribute(&b, bn, "epsilon", QN_ATTRIBUTE_FLOAT, 0.25, DIMS(0), 0);
    output(&b, "y");
    run_ok(&b, qn_ptq_fold_batchnorm);
    const qn_node *conv = &b.graph.nodes[0];
    assert_int_equal(conv->op, QN_OP_CONV);
    assert_int_equal(qn_node_int(conv, "group", 1), 2);
    const float *w = floats(&b, conv->inputs[1]), *bias = floats(&b, conv->inputs[2]);
    assert_true(w[0] == 1.5f && w[1] == 1.0f); /* 3 / sqrt(4), 4 / sqrt(16) */
    assert_true(bias[0] == -2.0f && bias[1] == 0.0f);
    teardown(&b);
}

static void the_constant_operand_goes_last(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2));
    constant(&b, "k", SHAPE(2), 1, 1);
    node(&b, QN_OP_ADD, "k x", "h");
    node(&b, QN_OP_ADD, "h k", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_constant_second);
    assert_int_equal(b.graph.nodes[0].inputs[0], value(&b, "x"));
    assert_int_equal(b.graph.nodes[0].inputs[1], value(&b, "k"));
    assert_int_equal(b.graph.nodes[1].inputs[1], value(&b, "k"));
    teardown(&b);
}

static void constants_that_are_moved_are_settled(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "w", SHAPE(2, 3), 1, 1);
    node(&b, QN_OP_TRANSPOSE, "w", "wt");
    node(&b, QN_OP_MATMUL, "x wt", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_settle_constants);
    assert_int_equal(b.graph.n_nodes, 1);
    const float *wt = floats(&b, value(&b, "wt"));
    assert_true(wt[0] == 1 && wt[1] == 4 && wt[5] == 6);
    teardown(&b);
}

static void networks_that_take_one_item_only_are_settled(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "w", SHAPE(2, 3), 1, 1);
    node(&b, QN_OP_TRANSPOSE, "w", "wt");
    qn_node *flat = node(&b, QN_OP_FLATTEN, "x", "f");
    attribute(&b, flat, "axis", QN_ATTRIBUTE_INT, 0, NULL, 0);
    node(&b, QN_OP_MATMUL, "f wt", "y");
    output(&b, "y");
    run_ok(&b, qn_ptq_settle_constants);
    assert_int_equal(b.graph.n_nodes, 2);
    assert_true(floats(&b, value(&b, "wt"))[1] == 4);
    teardown(&b);
}

static const qn_quantizer *quantizer(bench *b, const char *name)
{
    return b->graph.values[value(b, name)].quantizer;
}

/* conv -> relu -> pool -> y, with ranges. */
static void conv_relu_pool(bench *b, qn_op activation)
{
    setup(b);
    input(b, "x", SHAPE(-1, 1, 4, 4));
    constant(b, "w", SHAPE(2, 1, 1, 1), 1, 1);
    node(b, QN_OP_CONV, "x w", "c");
    node(b, activation, "c", "r");
    qn_node *pool = node(b, QN_OP_MAX_POOL, "r", "y");
    attribute(b, pool, "kernel_shape", QN_ATTRIBUTE_INTS, 0, DIMS(2, 2), 2);
    output(b, "y");
    range(b, "x", -1, 3, 1);
    range(b, "c", -2, 6, 2);
    range(b, "r", 0, 6, 2);
    range(b, "y", 0, 6, 2);
}

static void activations_get_parameters_and_moves_pass_them_on(void **state)
{
    (void)state;
    bench b;
    conv_relu_pool(&b, QN_OP_RELU);
    run_ok(&b, qn_ptq_choose_ranges);
    assert_true(quantizer(&b, "x")->scale[0] == (float)(4.0 / 255));
    assert_int_equal(quantizer(&b, "x")->zero_point[0], 64); /* rne(63.75) */
    assert_null(quantizer(&b, "c"));                         /* the codes of r clamp as the Relu does */
    assert_int_equal(quantizer(&b, "r")->zero_point[0], 0);
    assert_true(quantizer(&b, "r")->scale[0] == (float)(6.0 / 255));
    assert_true(qn_quantizer_equal(quantizer(&b, "r"), quantizer(&b, "y")));
    assert_null(quantizer(&b, "w"));
    teardown(&b);
}

static void a_relu_below_the_lowest_code_is_dropped(void **state)
{
    (void)state;
    bench b;
    conv_relu_pool(&b, QN_OP_RELU);
    run_ok(&b, qn_ptq_choose_ranges);
    run_ok(&b, qn_ptq_fuse_activation);
    assert_int_equal(b.graph.n_nodes, 2);
    assert_int_equal(b.graph.nodes[0].outputs[0], value(&b, "r"));
    assert_null(quantizer(&b, "c"));
    teardown(&b);
}

static void a_relu_stays_when_others_need_what_it_reads(void **state)
{
    (void)state;
    bench b;
    conv_relu_pool(&b, QN_OP_RELU);
    output(&b, "c");
    run_ok(&b, qn_ptq_choose_ranges);
    run_ok(&b, qn_ptq_fuse_activation);
    assert_int_equal(b.graph.n_nodes, 3);
    assert_int_equal(quantizer(&b, "c")->zero_point[0], 64);
    teardown(&b);
}

/* Conv -> Relu -> Clip(lo, hi), the last with this range; how many nodes are left? */
static size_t nodes_left(float lo, float hi, float min, float max)
{
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 1, 4, 4));
    constant(&b, "w", SHAPE(2, 1, 1, 1), 1, 1);
    qn_tensor scalar = {.dtype = QN_DTYPE_F32, .data = &lo};
    qn_assert_ok(qn_graph_set_constant(&b.graph, value(&b, "lo"), &scalar, &b.err), &b.err);
    scalar.data = &hi;
    qn_assert_ok(qn_graph_set_constant(&b.graph, value(&b, "hi"), &scalar, &b.err), &b.err);
    node(&b, QN_OP_CONV, "x w", "c");
    node(&b, QN_OP_RELU, "c", "r");
    node(&b, QN_OP_CLIP, "r lo hi", "y");
    output(&b, "y");
    range(&b, "x", -1, 3, 1);
    range(&b, "c", -2, 6, 2);
    range(&b, "r", 0, 6, 2);
    range(&b, "y", min, max, 2);
    run_ok(&b, qn_ptq_choose_ranges);
    run_ok(&b, qn_ptq_fuse_activation);
    size_t n = b.graph.n_nodes;
    teardown(&b);
    return n;
}

static void bounds_are_dropped_only_when_the_codes_imply_them(void **state)
{
    (void)state;
    assert_int_equal(nodes_left(0, 6, 0, 6), 1);
    assert_int_equal(nodes_left(0, 6, 0, 4), 1);
    assert_int_equal(nodes_left(-1, 6, 0, 6), 1);
    assert_int_equal(nodes_left(-1, 6, -0.5f, 6), 2); /* the Relu's bound is inside the range */
    assert_int_equal(nodes_left(0, 6, 0, 0),
                     3 - 1); /* scale 1: the upper bound is below code 255, the Relu is implied */
}

static void a_calibration_of_another_network_is_refused(void **state)
{
    (void)state;
    bench b;
    conv_relu_pool(&b, QN_OP_RELU);
    b.calibration.ranges[2].value_name = "other";
    qn_assert_fails(run(&b, qn_ptq_choose_ranges), &b.err, QN_EINVAL, "no range for value 'r'");
    teardown(&b);
    conv_relu_pool(&b, QN_OP_RELU);
    b.calibration.ranges[1].n_channels = 3;
    qn_assert_fails(run(&b, qn_ptq_choose_ranges), &b.err, QN_EINVAL, "3 channels for value 'c', the network 2");
    teardown(&b);
}

static void weights_are_coded_along_the_output_axis(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "w", SHAPE(3, 2), -3, 1); /* columns -3 -1 1 and -2 0 2 */
    constant(&b, "c", SHAPE(2), 1, 1);
    node(&b, QN_OP_GEMM, "x w c", "y");
    output(&b, "y");
    range(&b, "x", 0, 2.55f, 3);
    range(&b, "y", -1, 1, 2);
    run_ok(&b, qn_ptq_choose_ranges);
    run_ok(&b, qn_ptq_quantize_weights);
    const qn_value *w = &b.graph.values[value(&b, "w")], *c = &b.graph.values[value(&b, "c")];
    assert_int_equal(w->quantizer->axis, 1);
    assert_true(w->quantizer->scale[0] == (float)(3.0 / 127) && w->quantizer->scale[1] == (float)(2.0 / 127));
    const int8_t expected[6] = {-127, -127, -42, 0, 42, 127}; /* 1 / (3 / 127) = 42.33 */
    assert_memory_equal(w->codes->data, expected, sizeof expected);
    assert_true(((const float *)w->constant->data)[2] == -42 * (float)(3.0 / 127));
    float bias_scale = quantizer(&b, "x")->scale[0] * w->quantizer->scale[0];
    assert_true(c->quantizer->scale[0] == bias_scale);
    assert_int_equal(((const int32_t *)c->codes->data)[0], (int32_t)rint(1.0 / (double)bias_scale));
    assert_int_equal(c->quantizer->format.bits, 32);
    teardown(&b);
}

static void weights_read_by_two_nodes_are_coded_for_each(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2));
    constant(&b, "w", SHAPE(2, 2), 1, 1);
    constant(&b, "c", SHAPE(2), 1, 1);
    node(&b, QN_OP_GEMM, "x w c", "h");
    node(&b, QN_OP_GEMM, "h w c", "y");
    output(&b, "y");
    range(&b, "x", 0, 1, 2);
    range(&b, "h", 0, 9, 2);
    range(&b, "y", 0, 99, 2);
    run_ok(&b, qn_ptq_choose_ranges);
    run_ok(&b, qn_ptq_quantize_weights);
    for (int i = 0; i < 2; i++) {
        const qn_node *n = &b.graph.nodes[i];
        const qn_value *bias = &b.graph.values[n->inputs[2]], *weights = &b.graph.values[n->inputs[1]];
        float s_x = b.graph.values[n->inputs[0]].quantizer->scale[0];
        assert_true(bias->quantizer->scale[1] == s_x * weights->quantizer->scale[1]);
        double real = ((const int32_t *)bias->codes->data)[1] * (double)bias->quantizer->scale[1];
        assert_true(fabs(real - 2) < 1e-2);
    }
    teardown(&b);
}

static void constant_operands_of_joins_are_coded(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 3));
    constant(&b, "k", SHAPE(3), -1, 1.5f); /* -1 0.5 2 */
    node(&b, QN_OP_ADD, "x k", "y");
    output(&b, "y");
    const qn_params params = {.scale = 1, .multiplier = 1};
    qn_assert_ok(qn_ptq_set_params(&b.graph, value(&b, "x"), (qn_format){.bits = 8}, &params, &b.err), &b.err);
    qn_assert_ok(qn_ptq_set_params(&b.graph, value(&b, "y"), (qn_format){.bits = 8}, &params, &b.err), &b.err);
    run_ok(&b, qn_ptq_quantize_joins);
    const qn_value *k = &b.graph.values[value(&b, "k")];
    const uint8_t expected[3] = {0, 127, 255}; /* zero point rne(85) = 85; 0.5 / (3 / 255) = 42.5 -> 42 */
    assert_int_equal(k->quantizer->zero_point[0], 85);
    assert_int_equal(k->codes->dtype, QN_DTYPE_U8);
    assert_in_range(((const uint8_t *)k->codes->data)[1], 127, 128);
    assert_int_equal(((const uint8_t *)k->codes->data)[0], expected[0]);
    assert_int_equal(((const uint8_t *)k->codes->data)[2], expected[2]);
    teardown(&b);
}

static int64_t list_at(const qn_node *n, const char *name, int index)
{
    const int64_t *ints;
    assert_true(qn_node_ints(n, name, &ints) > index);
    return ints[index];
}

/* 7 rows by 8 columns, windows of 3 in steps of 2: a fourth column of windows hangs over by one pixel. */
static void a_pool_that_rounds_up_is_padded(void **state)
{
    (void)state;
    static const qn_ptq_pass_fn passes[] = {qn_ptq_floor_pool, qn_ptq_floor_pool};
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2, 7, 8));
    qn_node *pool = node(&b, QN_OP_AVERAGE_POOL, "x", "y");
    attribute(&b, pool, "kernel_shape", QN_ATTRIBUTE_INTS, 0, DIMS(3, 3), 2);
    attribute(&b, pool, "strides", QN_ATTRIBUTE_INTS, 0, DIMS(2, 2), 2);
    attribute(&b, pool, "ceil_mode", QN_ATTRIBUTE_INT, 1, NULL, 0);
    output(&b, "y");
    for (size_t i = 0; i < 2; i++) { /* the second time there is nothing to do */
        run_ok(&b, passes[i]);
        assert_null(qn_node_attribute(&b.graph.nodes[0], "ceil_mode"));
        for (int k = 0; k < 4; k++) {
            assert_int_equal(list_at(&b.graph.nodes[0], "pads", k), k == 3);
        }
        qn_binding binding = {0};
        qn_assert_ok(qn_graph_bind(&binding, &b.graph, 1, &b.err), &b.err);
        assert_int_equal(binding.values[value(&b, "y")].dims[2], 3);
        assert_int_equal(binding.values[value(&b, "y")].dims[3], 4);
        qn_binding_free(&binding);
    }
    teardown(&b);
}

/* 5 pixels within padding of 1, windows of 2 in steps of 3: a third one would start in the padding behind. */
static void a_window_that_starts_in_the_padding_is_not_counted(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2, 5, 5));
    qn_node *pool = node(&b, QN_OP_AVERAGE_POOL, "x", "y");
    attribute(&b, pool, "kernel_shape", QN_ATTRIBUTE_INTS, 0, DIMS(2, 2), 2);
    attribute(&b, pool, "strides", QN_ATTRIBUTE_INTS, 0, DIMS(3, 3), 2);
    attribute(&b, pool, "pads", QN_ATTRIBUTE_INTS, 0, DIMS(1, 1, 1, 1), 4);
    attribute(&b, pool, "ceil_mode", QN_ATTRIBUTE_INT, 1, NULL, 0);
    output(&b, "y");
    run_ok(&b, qn_ptq_floor_pool);
    assert_null(qn_node_attribute(&b.graph.nodes[0], "ceil_mode"));
    for (int k = 0; k < 4; k++) {
        assert_int_equal(list_at(&b.graph.nodes[0], "pads", k), 1);
    }
    teardown(&b);
}

/* 5 pixels, two taps 3 apart in steps of 3: the second window hangs over by 2, as many as there are taps. */
static void a_pool_that_cannot_be_padded_is_refused(void **state)
{
    (void)state;
    bench b;
    setup(&b);
    input(&b, "x", SHAPE(-1, 2, 5, 5));
    qn_node *pool = node(&b, QN_OP_AVERAGE_POOL, "x", "y");
    attribute(&b, pool, "kernel_shape", QN_ATTRIBUTE_INTS, 0, DIMS(2, 2), 2);
    attribute(&b, pool, "dilations", QN_ATTRIBUTE_INTS, 0, DIMS(3, 3), 2);
    attribute(&b, pool, "strides", QN_ATTRIBUTE_INTS, 0, DIMS(3, 3), 2);
    attribute(&b, pool, "ceil_mode", QN_ATTRIBUTE_INT, 1, NULL, 0);
    output(&b, "y");
    qn_assert_fails(run(&b, qn_ptq_floor_pool), &b.err, QN_EUNSUPPORTED, "ceil_mode");
    assert_non_null(strstr(b.err.where, "AveragePool 'y'"));
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_add_after_conv_becomes_its_bias),
        cmocka_unit_test(an_add_that_is_not_per_channel_stays),
        cmocka_unit_test(an_add_whose_operand_has_another_reader_stays),
        cmocka_unit_test(matmul_with_a_vector_added_is_gemm),
        cmocka_unit_test(gemm_factors_go_into_its_constants),
        cmocka_unit_test(weights_shared_with_another_node_are_not_changed),
        cmocka_unit_test(only_a_pool_over_the_whole_map_becomes_global),
        cmocka_unit_test(lone_batchnorm_is_a_depthwise_conv),
        cmocka_unit_test(the_constant_operand_goes_last),
        cmocka_unit_test(constants_that_are_moved_are_settled),
        cmocka_unit_test(networks_that_take_one_item_only_are_settled),
        cmocka_unit_test(activations_get_parameters_and_moves_pass_them_on),
        cmocka_unit_test(a_relu_below_the_lowest_code_is_dropped),
        cmocka_unit_test(a_relu_stays_when_others_need_what_it_reads),
        cmocka_unit_test(bounds_are_dropped_only_when_the_codes_imply_them),
        cmocka_unit_test(a_pool_that_rounds_up_is_padded),
        cmocka_unit_test(a_window_that_starts_in_the_padding_is_not_counted),
        cmocka_unit_test(a_pool_that_cannot_be_padded_is_refused),
        cmocka_unit_test(a_calibration_of_another_network_is_refused),
        cmocka_unit_test(weights_are_coded_along_the_output_axis),
        cmocka_unit_test(weights_read_by_two_nodes_are_coded_for_each),
        cmocka_unit_test(constant_operands_of_joins_are_coded),
    };
    return cmocka_run_group_tests_name("ptq_passes", tests, NULL, NULL);
}
