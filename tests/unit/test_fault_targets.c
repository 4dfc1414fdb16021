/* What faults can strike: targets of programs of all three engines. */
#include "fault_models.h"

#include <math.h>

#include "format/row.h"

static const qn_fault_target *find(const qn_fault_targets *targets, qn_fault_where where, const char *value)
{
    for (int i = 0; i < targets->n; i++) {
        if (targets->list[i].where == where && strcmp(targets->list[i].value_name, value) == 0) {
            return &targets->list[i];
        }
    }
    return NULL;
}

typedef struct expected {
    qn_fault_where where;
    const char *layer, *value;
    qn_fault_coding coding;
    int bits, rank;
    int64_t dims[4], n_terms;
    int channel, row, column;
} expected;

static void expect(const qn_fault_targets *targets, const expected *rows, int n)
{
    assert_int_equal(targets->n, n);
    for (int i = 0; i < n; i++) {
        const qn_fault_target *t = &targets->list[i];
        int64_t n_elems = 1;
        assert_int_equal(t->where, rows[i].where);
        assert_string_equal(t->layer, rows[i].layer);
        assert_string_equal(t->value_name, rows[i].value);
        assert_int_equal(t->coding, rows[i].coding);
        assert_int_equal(t->bits, rows[i].bits);
        assert_int_equal(t->rank, rows[i].rank);
        for (int k = 0; k < t->rank; k++) {
            assert_int_equal(t->dims[k], rows[i].dims[k]);
            n_elems *= t->dims[k];
        }
        assert_int_equal(t->n_elems, n_elems);
        assert_int_equal(t->n_terms, rows[i].n_terms);
        assert_int_equal(t->channel_axis, rows[i].channel);
        assert_int_equal(t->row_axis, rows[i].row);
        assert_int_equal(t->column_axis, rows[i].column);
    }
}

/* clang-format off: a table */
#define MAP(where, layer, value, coding, bits, c, h, w, terms)                                                         \
    {                                                                                                                  \
        where, layer, value, coding, bits, 3, {c, h, w}, terms, 0, 1, 2                                                \
    }
#define VECTOR(where, layer, value, coding, bits, n, channel)                                                          \
    {                                                                                                                  \
        where, layer, value, coding, bits, 1, {n}, 1, channel, -1, -1                                                  \
    }
#define KERNEL(layer, value, k, c)                                                                                     \
    {                                                                                                                  \
        QN_FAULT_WEIGHTS, layer, value, QN_FAULT_CODED, 8, 4, {k, c, 3, 3}, 1, 0, 2, 3                                 \
    }
#define PARAMETERS(layer, weights, n, value)                                                                           \
    VECTOR(QN_FAULT_SCALES, layer, weights, QN_FAULT_F32, 32, n, 0),                                                   \
        VECTOR(QN_FAULT_SCALES, layer, value, QN_FAULT_F32, 32, 1, -1),                                                \
        VECTOR(QN_FAULT_ZERO_POINTS, layer, weights, QN_FAULT_S32, 8, n, 0),                                           \
        VECTOR(QN_FAULT_ZERO_POINTS, layer, value, QN_FAULT_S32, 8, 1, -1)
#define INPUT                                                                                                          \
    MAP(QN_FAULT_INPUTS, "x", "x", QN_FAULT_CODED, 8, 3, 6, 6, 1),                                                     \
        VECTOR(QN_FAULT_SCALES, "x", "x", QN_FAULT_F32, 32, 1, -1),                                                    \
        VECTOR(QN_FAULT_ZERO_POINTS, "x", "x", QN_FAULT_S32, 8, 1, -1)
/* clang-format on */

static void integer_programs_have_what_their_steps_compute_on(void **state)
{
    (void)state;
    /* clang-format off */
    static const expected rows[] = {
        INPUT,
        KERNEL("c1", "c1.w", 4, 3),
        VECTOR(QN_FAULT_BIASES, "c1", "c1.b", QN_FAULT_S32, 32, 4, 0),
        MAP(QN_FAULT_ACTIVATIONS, "c1", "r1", QN_FAULT_CODED, 8, 4, 6, 6, 1),
        MAP(QN_FAULT_ACCUMULATORS, "c1", "r1", QN_FAULT_S32, 32, 4, 6, 6, 1),
        MAP(QN_FAULT_PARTIAL_SUMS, "c1", "r1", QN_FAULT_S32, 32, 4, 6, 6, 27),
        MAP(QN_FAULT_PRODUCTS, "c1", "r1", QN_FAULT_S32, 32, 4, 6, 6, 27),
        PARAMETERS("c1", "c1.w", 4, "r1"),
        KERNEL("d1", "d1.w", 4, 1),
        VECTOR(QN_FAULT_BIASES, "d1", "d1.b", QN_FAULT_S32, 32, 4, 0),
        MAP(QN_FAULT_ACTIVATIONS, "d1", "d1", QN_FAULT_CODED, 8, 4, 3, 3, 1),
        MAP(QN_FAULT_ACCUMULATORS, "d1", "d1", QN_FAULT_S32, 32, 4, 3, 3, 1),
        MAP(QN_FAULT_PARTIAL_SUMS, "d1", "d1", QN_FAULT_S32, 32, 4, 3, 3, 9),
        MAP(QN_FAULT_PRODUCTS, "d1", "d1", QN_FAULT_S32, 32, 4, 3, 3, 9),
        PARAMETERS("d1", "d1.w", 4, "d1"),
        {QN_FAULT_WEIGHTS, "g1", "g1.w", QN_FAULT_CODED, 8, 2, {10, 36}, 1, 0, -1, -1},
        VECTOR(QN_FAULT_BIASES, "g1", "g1.b", QN_FAULT_S32, 32, 10, 0),
        VECTOR(QN_FAULT_ACTIVATIONS, "g1", "g1", QN_FAULT_CODED, 8, 10, 0),
        VECTOR(QN_FAULT_ACCUMULATORS, "g1", "g1", QN_FAULT_S32, 32, 10, 0),
        {QN_FAULT_PARTIAL_SUMS, "g1", "g1", QN_FAULT_S32, 32, 1, {10}, 36, 0, -1, -1},
        {QN_FAULT_PRODUCTS, "g1", "g1", QN_FAULT_S32, 32, 1, {10}, 36, 0, -1, -1},
        PARAMETERS("g1", "g1.w", 10, "g1"),
    };
    /* clang-format on */
    qn_model *model = qn_test_small_model(NULL);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
    expect(&targets, rows, (int)(sizeof rows / sizeof rows[0]));
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

static bool is_sum(const qn_fault_target *t)
{
    return t->where == QN_FAULT_ACCUMULATORS || t->where == QN_FAULT_PARTIAL_SUMS || t->where == QN_FAULT_PRODUCTS;
}

static void assert_same(const qn_fault_target *a, const qn_fault_target *b)
{
    assert_int_equal(a->where, b->where);
    assert_string_equal(a->layer, b->layer);
    assert_string_equal(a->value_name, b->value_name);
    assert_int_equal(a->coding, b->coding);
    assert_int_equal(a->bits, b->bits);
    assert_true(qn_format_equal(a->format, b->format));
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]);
    assert_int_equal(a->n_elems, b->n_elems);
    assert_int_equal(a->channel_axis, b->channel_axis);
    assert_int_equal(a->row_axis, b->row_axis);
    assert_int_equal(a->column_axis, b->column_axis);
}

/* But for sums and tables, which only integers have. */
static void both_engines_have_the_same(const qn_model *model)
{
    qn_fault_targets integer, simulate;
    qn_program *programs[] = {qn_test_fault_program(model, QN_ENGINE_INTEGER, &integer),
                              qn_test_fault_program(model, QN_ENGINE_SIMULATE, &simulate)};
    int k = 0;
    for (int i = 0; i < integer.n; i++) {
        if (!is_sum(&integer.list[i]) && integer.list[i].where != QN_FAULT_TABLES) {
            assert_true(k < simulate.n);
            assert_same(&integer.list[i], &simulate.list[k++]);
        }
    }
    assert_int_equal(k, simulate.n);
    qn_fault_targets_free(&integer);
    qn_fault_targets_free(&simulate);
    qn_program_free(programs[0]);
    qn_program_free(programs[1]);
}

static void simulation_has_the_same_but_sums(void **state)
{
    (void)state;
    qn_model *model = qn_test_small_model(NULL);
    both_engines_have_the_same(model);
    qn_model_free(model);
}

/* A Relu and a Clip that no recipe has absorbed, behind a layer with their quantizer or none: what the integer engine fuses
 * is one value of that layer, in either engine. */
static void what_is_fused_belongs_to_the_layer(void **state)
{
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        qn_model *model = qn_test_small_model(NULL);
        qn_graph *g = &model->graph;
        qn_error err;
        qn_error_init(&err);
        const qn_value_id d1 = qn_graph_find(g, "d1");
        const qn_quantizer *q = g->values[d1].quantizer;
        const qn_value_id relu = NODE(g, "Relu", "d1", "r2");
        qn_test_floats(g, "low", 0, NULL, (const float[]){0.0F});
        qn_test_floats(g, "high", 0, NULL, (const float[]){6.0F});
        const qn_value_id clip = NODE(g, "Clip", "r2 low high", "k2");
        g->nodes[qn_graph_find(g, "f1") >= 0 ? g->values[qn_graph_find(g, "f1")].producer : 0].inputs[0] = clip;
        qn_assert_ok(qn_graph_set_quantizer(g, clip, q, &err), &err);
        if (variant > 0) {
            qn_assert_ok(qn_graph_set_quantizer(g, relu, q, &err), &err);
        }
        g->values[d1].quantizer = variant > 1 ? q : NULL;
        qn_assert_ok(qn_graph_tidy(g, &err), &err);
        /* a value without quantizer ends what is fused: then the layer's result is a float */
        qn_fault_targets targets;
        qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
        const qn_fault_target *last = find(&targets, QN_FAULT_ACTIVATIONS, "k2");
        assert_non_null(last);
        if (variant > 0) {
            assert_string_equal(last->layer, "d1");
            assert_null(find(&targets, QN_FAULT_ACTIVATIONS, "d1"));
            assert_null(find(&targets, QN_FAULT_ACTIVATIONS, "r2"));
            both_engines_have_the_same(model);
        }
        assert_int_equal(find(&targets, QN_FAULT_WEIGHTS, "low") != NULL, false);
        qn_fault_targets_free(&targets);
        qn_program_free(program);
        qn_model_free(model);
    }
}

/* A Relu behind what is no layer: fused where that computes on codes, a value of its own where not. */
static void what_is_fused_behind_others(void **state)
{
    (void)state;
    static const struct {
        const char *op, *inputs;
        bool fuses;
    } rows[] = {{"Mul", "x s", true},      {"Mul", "x w", false},  {"Sub", "s x", true},
                {"Softmax", "x", true},    {"Add", "x s", true},   {"LayerNormalization", "x w", true},
                {"ReduceMean", "x", true}, {"Sigmoid", "x", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_model model;
        qn_error err;
        memset(&model, 0, sizeof model);
        qn_error_init(&err);
        qn_graph *g = &model.graph;
        g->opset = 17;
        g->file = "net.onnx";
        const qn_quantizer q = {
            .format = {.bits = 8}, .axis = -1, .n = 1, .scale = (float[]){0.02f}, .zero_point = (int32_t[]){100}};
        qn_test_input(g, "x", DIMS(-1, 3, 4));
        qn_test_floats(g, "w", DIMS(4), (float[]){1, 2, -3, 4});
        NODE(g, "Tanh", "x", "s");
        if (strcmp(rows[i].op, "ReduceMean") == 0) {
            NODE_WITH(g, rows[i].op, rows[i].inputs, "raw", A_INTS("axes", 1));
        } else {
            NODE(g, rows[i].op, rows[i].inputs, "raw");
        }
        NODE(g, "Relu", "raw", "y");
        qn_test_output(g, "y");
        qn_test_output(g, "s");
        static const char *const coded[] = {"x", "s", "y"};
        for (int k = 0; k < 3; k++) {
            qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, coded[k]), &q, &err), &err);
        }
        qn_fault_targets targets;
        qn_program *program = qn_test_fault_program(&model, QN_ENGINE_INTEGER, &targets);
        const bool function = strcmp(rows[i].op, "Sigmoid") == 0;
        assert_int_equal(find(&targets, QN_FAULT_ACTIVATIONS, "raw") == NULL, rows[i].fuses || function);
        qn_fault_targets_free(&targets);
        qn_program_free(program);
        both_engines_have_the_same(&model);
        qn_graph_free(g);
    }
}

/* Pools, sums, parts, moves and islands, quantized: the same values in both engines, and each once. */
static void many_operators_have_the_same(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = {0};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
    qn_test_floats(g, "w1", DIMS(4, 3, 3, 3), NULL);
    qn_test_floats(g, "w2", DIMS(4, 4, 1, 1), NULL);
    qn_test_floats(g, "w3", DIMS(8, 6), NULL);
    qn_test_floats(g, "shift", DIMS(4, 1, 1), NULL);
    NODE_WITH(g, "Conv", "x w1", "c1", A_INTS("pads", 1, 1, 1, 1), A_INTS("kernel_shape", 3, 3));
    NODE(g, "Relu", "c1", "r1");
    NODE_WITH(g, "Conv", "r1 w2", "c2", A_INTS("kernel_shape", 1, 1));
    NODE(g, "Add", "c1 c2", "a1"); /* c1 is read twice */
    NODE(g, "Relu", "a1", "r2");
    NODE_WITH(g, "MaxPool", "r2", "m1", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE_WITH(g, "AveragePool", "r2", "v1", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE_WITH(g, "Concat", "m1 v1", "k1", A_INT("axis", 1));
    NODE(g, "Sigmoid", "m1", "s1");
    NODE(g, "Mul", "s1 shift", "u1");
    NODE_WITH(g, "Transpose", "k1", "t1", A_INTS("perm", 0, 2, 3, 1));
    NODE(g, "MatMul", "t1 w3", "p1");
    NODE_WITH(g, "Transpose", "p1", "t2", A_INTS("perm", 0, 3, 1, 2));
    NODE_WITH(g, "Concat", "t2 u1", "y", A_INT("axis", 1));
    qn_test_output(g, "y");
    g->opset = 13;
    qn_tensor x;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, 4, (const int64_t[]){8, 3, 8, 8}, &err), &err);
    uint64_t random = 7;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&random, -1.0F, 1.0F);
    }
    qn_model *quantized = qn_test_quantize(&model, &x, 1, NULL);
    both_engines_have_the_same(quantized);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(quantized, QN_ENGINE_INTEGER, &targets);
    for (int i = 0; i < targets.n; i++) {
        for (int k = 0; k < i; k++) {
            assert_true(targets.list[k].where != targets.list[i].where ||
                        targets.list[k].value != targets.list[i].value);
        }
    }
    const qn_fault_target *p1 = find(&targets, QN_FAULT_PRODUCTS, "p1"),
                          *shift = find(&targets, QN_FAULT_WEIGHTS, "shift");
    assert_true(p1 != NULL && p1->n_terms == 8 && p1->channel_axis == 2 && p1->dims[2] == 6);
    assert_true(shift != NULL && shift->channel_axis == 0);
    static const char *const made[] = {"r1", "c2", "r2", "m1", "v1", "k1", "s1", "u1", "p1", "y"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        assert_non_null(find(&targets, QN_FAULT_ACTIVATIONS, made[i]));
    }
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(quantized);
    qn_tensor_free(&x);
    qn_graph_free(g);
}

/* Elements of all targets of one kind. */
static int64_t total(const qn_fault_targets *targets, qn_fault_where where)
{
    int64_t n = 0;
    for (int i = 0; i < targets->n; i++) {
        n += targets->list[i].where == where ? targets->list[i].n_elems * targets->list[i].n_terms : 0;
    }
    return n;
}

static void check_shared(const char *name, int64_t weights, int64_t biases, int64_t macs)
{
    qn_model *model = qn_test_quantized_model(name, NULL);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
    assert_int_equal(total(&targets, QN_FAULT_WEIGHTS), weights);
    assert_int_equal(total(&targets, QN_FAULT_BIASES), biases);
    assert_int_equal(total(&targets, QN_FAULT_PRODUCTS), macs);
    assert_int_equal(total(&targets, QN_FAULT_PARTIAL_SUMS), macs);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    both_engines_have_the_same(model);
    qn_model_free(model);
}

/* lenet: kernels of 5 x 5 over 3 and 6 channels, then 400-120-84-10. resnet8: the first layer, then stacks of 16, 32 and 64
 * channels of 3 x 3 with 1 x 1 where the size changes, 64-10; maps of 32, 16 and 8. kws: 10 x 4 kernels for 64 channels
 * at stride 2 on 49 x 10, then four pairs of depthwise 3 x 3 and 1 x 1 on 25 x 5, 64-12. */
static void shared_models_have_their_weights(void **state)
{
    (void)state;
    check_shared("lenet_cifar10", 450 + 2400 + 48000 + 10080 + 840, 6 + 16 + 120 + 84 + 10,
                 450 * 784 + 2400 * 100 + 48000 + 10080 + 840);
    check_shared("resnet8_cifar10", 432 + 2 * 2304 + 4608 + 9216 + 512 + 18432 + 36864 + 2048 + 640,
                 16 + 2 * 16 + 3 * 32 + 3 * 64 + 10,
                 (432 + 2 * 2304) * 1024 + (4608 + 9216 + 512) * 256 + (18432 + 36864 + 2048) * 64 + 640);
    check_shared("kws_dscnn", 2560 + 4 * (576 + 4096) + 768, 64 + 8 * 64 + 12, (2560 + 4 * (576 + 4096)) * 125 + 768);
}

/* Attention: products by constant matrices are layers whose biases an Add holds; what lies between has codes, or floats
 * where it is kept in float. */
static void check_transformer(bool softmax_in_float)
{
    qn_model *model =
        qn_test_quantized_model_but("vit_cifar10", NULL, (const char *const[]){"*Softmax"}, softmax_in_float ? 1 : 0);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
    const qn_fault_target *query = find(&targets, QN_FAULT_ACCUMULATORS, "bl.0_q_Add_scaled");
    const qn_fault_target *bias = find(&targets, QN_FAULT_BIASES, "bl.0.q.bias_scaled");
    const qn_fault_target *softmax = find(&targets, QN_FAULT_ACTIVATIONS, "bl.0_Softmax");
    const qn_fault_target *gain = find(&targets, QN_FAULT_WEIGHTS, "bl.0.n1.w");
    const qn_fault_target *norm = find(&targets, QN_FAULT_ACTIVATIONS, "bl.0_n1_Add_1");
    assert_true(query != NULL && bias != NULL && softmax != NULL && gain != NULL && norm != NULL);
    assert_string_equal(query->layer, "bl.0_q_MatMul");
    assert_string_equal(bias->layer, "bl.0_q_MatMul");
    assert_int_equal(query->dims[query->channel_axis], 64);
    assert_int_equal(query->channel_axis, 1);
    assert_int_equal(softmax->coding, softmax_in_float ? QN_FAULT_F32 : QN_FAULT_CODED);
    assert_int_equal(softmax->bits, softmax_in_float ? 32 : 8);
    assert_int_equal(softmax->n_elems, 4 * 64 * 64);
    assert_int_equal(gain->coding, QN_FAULT_F32);
    assert_int_equal(norm->coding, QN_FAULT_CODED);
    assert_int_equal(norm->n_elems, 64 * 64);
    assert_null(find(&targets, QN_FAULT_ACTIVATIONS, "bl.0_q_MatMul_scaled"));
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    both_engines_have_the_same(model);
    qn_model_free(model);
}

static void a_transformer_has_layers_and_islands(void **state)
{
    (void)state;
    check_transformer(false);
    check_transformer(true);
}

static void floats_are_bits_of_floats(void **state)
{
    (void)state;
    qn_model *model = qn_test_float_model("lenet_cifar10");
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_FLOAT, &targets);
    assert_int_equal(total(&targets, QN_FAULT_WEIGHTS), 61770);
    assert_int_equal(total(&targets, QN_FAULT_INPUTS), 3072);
    for (int i = 0; i < targets.n; i++) {
        assert_int_equal(targets.list[i].coding, QN_FAULT_F32);
        assert_int_equal(targets.list[i].bits, 32);
        assert_in_range(targets.list[i].where, QN_FAULT_WEIGHTS, QN_FAULT_INPUTS);
    }
    assert_int_equal(qn_fault_field_mask(&targets.list[0], "sign"), 0x80000000u);
    assert_int_equal(qn_fault_field_mask(&targets.list[0], "exponent"), 0x7f800000u);
    assert_int_equal(qn_fault_field_mask(&targets.list[0], "mantissa"), 0x007fffffu);
    assert_int_equal(qn_fault_field_mask(&targets.list[0], "regime"), 0);
    assert_true(qn_fault_value(&targets.list[0], program, 0, 0xc0490fdbu) == (double)-3.14159274F);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

/* Parameter sets per channel and per block; named fields of the format. */
static void formats_bring_fields_and_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        qn_fault_where has;
        int bits;
        uint32_t sign, exponent, mantissa;
    } cases[] = {{"adaptivfloat<8,3>", QN_FAULT_EXPONENT_BIASES, 8, 0x80, 0x70, 0x0f},
                 {"bfp<6,9>", QN_FAULT_SHARED_EXPONENTS, 6, 0x20, 0, 0},
                 {"fp16", QN_FAULT_N_WHERE, 16, 0x8000, 0x7c00, 0x03ff}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_model *model = qn_test_small_model(cases[i].format);
        qn_fault_targets targets;
        qn_program *program = qn_test_fault_program(model, QN_ENGINE_SIMULATE, &targets);
        const qn_fault_target *w = find(&targets, QN_FAULT_WEIGHTS, "c1.w");
        assert_non_null(w);
        assert_int_equal(w->bits, cases[i].bits);
        assert_int_equal(qn_fault_field_mask(w, "sign"), cases[i].sign);
        assert_int_equal(qn_fault_field_mask(w, "msb"), (uint32_t)1 << (cases[i].bits - 1));
        assert_int_equal(qn_fault_field_mask(w, "lsb"), 1);
        if (cases[i].exponent != 0) {
            assert_int_equal(qn_fault_field_mask(w, "exponent"), cases[i].exponent);
            assert_int_equal(qn_fault_field_mask(w, "mantissa"), cases[i].mantissa);
        }
        const qn_fault_target *p = cases[i].has < QN_FAULT_N_WHERE ? find(&targets, cases[i].has, "c1.w") : NULL;
        assert_true((p != NULL) == (cases[i].has < QN_FAULT_N_WHERE));
        if (p != NULL) {
            assert_int_equal(p->bits, 8);
            assert_int_equal(p->n_elems, program->graph.values[w->value].quantizer->n);
            assert_true(qn_fault_value(p, program, 0, 0xff) == -1);
        }
        qn_fault_targets_free(&targets);
        qn_program_free(program);
        qn_model_free(model);
    }
}

/* Every element's own parameters: the decoded constant of the model is what its codes stand for. */
static void values_are_what_the_model_holds(void **state)
{
    (void)state;
    static const char *const formats[] = {NULL, "adaptivfloat<8,3>", "bfp<6,9>", "mx<fp8e4m3,4>", "posit<8,1>"};
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        qn_model *model = qn_test_small_model(formats[f]);
        qn_fault_targets targets;
        qn_program *program = qn_test_fault_program(model, QN_ENGINE_SIMULATE, &targets);
        static const char *const names[] = {"c1.w", "d1.w", "g1.w", "c1.b"};
        int64_t compared = 0;
        for (int k = 0; k < 4; k++) {
            const qn_fault_target *t = find(&targets, k < 3 ? QN_FAULT_WEIGHTS : QN_FAULT_BIASES, names[k]);
            const qn_value *v = &program->graph.values[t->value];
            if (v->codes == NULL) {
                continue;
            }
            compared += t->n_elems;
            for (int64_t i = 0; i < t->n_elems; i++) {
                const void *data = v->codes->data;
                const uint32_t code = v->codes->dtype == QN_DTYPE_S32       ? (uint32_t)((const int32_t *)data)[i]
                                      : qn_dtype_size(v->codes->dtype) == 1 ? ((const uint8_t *)data)[i]
                                                                            : ((const uint16_t *)data)[i];
                assert_true((float)qn_fault_value(t, program, i, code) == ((const float *)v->constant->data)[i]);
            }
        }
        assert_true(compared >= 108 + 36 + 360);
        qn_fault_targets_free(&targets);
        qn_program_free(program);
        qn_model_free(model);
    }
}

static void changes_follow_their_definition(void **state)
{
    (void)state;
    qn_model *model = qn_test_small_model(NULL);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
    const qn_fault_target *w = find(&targets, QN_FAULT_WEIGHTS, "c1.w"),
                          *sum = find(&targets, QN_FAULT_ACCUMULATORS, "r1");
    const qn_fault_target *bias = find(&targets, QN_FAULT_BIASES, "c1.b");
    uint64_t random = 3;
    for (int i = 0; i < 1000; i++) {
        const qn_fault_change c = {.and_mask = (uint32_t)qn_test_random(&random),
                                   .or_mask = (uint32_t)qn_test_random(&random),
                                   .xor_mask = (uint32_t)qn_test_random(&random)};
        const uint32_t code = (uint32_t)qn_test_random(&random);
        assert_int_equal(qn_fault_apply(&c, w, program, code), (((code & c.and_mask) | c.or_mask) ^ c.xor_mask) & 0xff);
        assert_int_equal(qn_fault_apply(&c, sum, program, code), ((code & c.and_mask) | c.or_mask) ^ c.xor_mask);
    }
    const double scale = (double)program->graph.values[w->value].quantizer->scale[2];
    qn_fault_change noise = {.element = 2 * 27 + 5, .and_mask = UINT32_MAX, .add = 3.4 * scale};
    assert_int_equal(qn_fault_apply(&noise, w, program, 10), 13);
    assert_int_equal(qn_fault_apply(&noise, w, program, 126), 127); /* saturates */
    assert_int_equal(qn_fault_apply(&noise, w, program, 0xfe), 1);  /* -2 + 3 */
    noise.add = 2.5;
    assert_int_equal(qn_fault_apply(&noise, sum, program, 10), 12); /* ties to even */
    assert_int_equal(qn_fault_apply(&noise, sum, program, 11), 14);
    assert_int_equal(qn_fault_apply(&noise, sum, program, 0x7fffffff), 0x7fffffff);
    noise.add = -1e10;
    assert_int_equal(qn_fault_apply(&noise, sum, program, 0), 0x80000000u);
    assert_int_equal(qn_fault_apply(&noise, bias, program, 0), 0x80000000u);
    assert_true(qn_fault_value(sum, program, 0, 0xffffffffu) == -1);
    assert_true(qn_fault_value(w, program, noise.element, 0x80) == -128 * scale);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

/* NaN and infinities become 0 where that is asked for, and nothing else does: every code of small floats, and floats. */
static void invalid_codes_are_suppressed(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        int invalid; /* codes of NaN or infinities, as the formats' definitions count them */
    } cases[] = {{"fp8e4m3", 2}, {"float<4,3,fnuz>", 1}, {"fp8e5m2", 8}, {"fp16", 2 * 1024}, {"bf16", 2 * 128}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_fault_target t = {.coding = QN_FAULT_CODED};
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_format_parse(&t.format, cases[i].format, &err), &err);
        t.bits = t.format.bits;
        const qn_params params = qn_format_params_neutral();
        int n = 0;
        for (uint32_t code = 0; code < (uint32_t)1 << t.bits; code++) {
            qn_fault_change c = {.and_mask = UINT32_MAX, .xor_mask = 1};
            assert_int_equal(qn_fault_apply(&c, &t, NULL, code), code ^ 1);
            c.suppress = true;
            const bool invalid = !isfinite(qn_format_value(t.format, &params, code ^ 1));
            assert_int_equal(qn_fault_apply(&c, &t, NULL, code), invalid ? 0 : code ^ 1);
            n += invalid;
        }
        assert_int_equal(n, cases[i].invalid);
    }
    const qn_fault_target f = {.coding = QN_FAULT_F32, .bits = 32}, s = {.coding = QN_FAULT_S32, .bits = 32};
    const qn_fault_change top = {.and_mask = UINT32_MAX, .xor_mask = 0x40000000, .suppress = true};
    assert_int_equal(qn_fault_apply(&top, &f, NULL, 0x3f800000), 0);          /* 1: infinity */
    assert_int_equal(qn_fault_apply(&top, &f, NULL, 0xbfc00000), 0);          /* -1.5: NaN */
    assert_int_equal(qn_fault_apply(&top, &f, NULL, 0x3f000000), 0x7f000000); /* 0.5: 2^127 */
    assert_int_equal(qn_fault_apply(&top, &s, NULL, 0x3f800000), 0x7f800000);
}

/* Dynamic parameters are known when an item runs, no sooner. */
static void dynamic_parameters_are_no_targets(void **state)
{
    (void)state;
    qn_model *model = qn_test_small_model("adaptivfloat<8,3>");
    const qn_quantizer *old = model->graph.values[qn_graph_find(&model->graph, "r1")].quantizer;
    assert_non_null(old);
    const qn_quantizer dynamic = {.format = old->format, .axis = -1, .dynamic = true};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_set_quantizer(&model->graph, qn_graph_find(&model->graph, "r1"), &dynamic, &err), &err);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_SIMULATE, &targets);
    const qn_fault_target *t = find(&targets, QN_FAULT_ACTIVATIONS, "r1");
    assert_int_equal(t->coding, QN_FAULT_CODED);
    assert_true(isnan(qn_fault_value(t, program, 0, 1)));
    assert_null(find(&targets, QN_FAULT_EXPONENT_BIASES, "r1"));
    assert_non_null(find(&targets, QN_FAULT_EXPONENT_BIASES, "d1"));
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_programs_have_what_their_steps_compute_on),
        cmocka_unit_test(simulation_has_the_same_but_sums),
        cmocka_unit_test(what_is_fused_belongs_to_the_layer),
        cmocka_unit_test(what_is_fused_behind_others),
        cmocka_unit_test(many_operators_have_the_same),
        cmocka_unit_test(shared_models_have_their_weights),
        cmocka_unit_test(a_transformer_has_layers_and_islands),
        cmocka_unit_test(floats_are_bits_of_floats),
        cmocka_unit_test(formats_bring_fields_and_parameters),
        cmocka_unit_test(values_are_what_the_model_holds),
        cmocka_unit_test(changes_follow_their_definition),
        cmocka_unit_test(invalid_codes_are_suppressed),
        cmocka_unit_test(dynamic_parameters_are_no_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
