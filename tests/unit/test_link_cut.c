/* Networks cut in two and three at every place, run stage by stage: the whole network's outputs. */
#include "graph_builder.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/model.h"
#include "quern/quern.h"

typedef struct {
    const qn_model *model;
    qn_engine engine;
    int64_t n_items;
    float *x; /* n_items of the only input */
    float *expected;
    int64_t n_out;
    qn_cuts *cuts;
    qn_error err;
} bench;

static qn_program *program_of(bench *b, const qn_model *model)
{
    qn_program_options options;
    qn_program *program;
    qn_assert_ok(qn_program_options_init(&options, b->engine, &b->err), &b->err);
    options.batch = b->n_items;
    qn_assert_ok(qn_program_create(&program, model, &options, &b->err), &b->err);
    return program;
}

/* All items through a program, as many at a time as it takes; outputs are new. */
static void run(bench *b, const qn_program *program, float *const *inputs, float **outputs)
{
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &b->err), &b->err);
    const size_t n_inputs = qn_program_n_inputs(program), n_outputs = qn_program_n_outputs(program);
    for (size_t k = 0; k < n_outputs; k++) {
        outputs[k] = qn_alloc((size_t)(b->n_items * qn_program_output_count(program, k)) * sizeof(float));
    }
    const int64_t batch = qn_program_batch(program);
    for (int64_t i = 0; i < b->n_items; i += batch) {
        const float *in[64];
        float *out[64];
        assert_true(n_inputs <= 64 && n_outputs <= 64);
        for (size_t k = 0; k < n_inputs; k++) {
            in[k] = inputs[k] + i * qn_program_input_count(program, k);
        }
        for (size_t k = 0; k < n_outputs; k++) {
            out[k] = outputs[k] + i * qn_program_output_count(program, k);
        }
        const int64_t n = b->n_items - i < batch ? b->n_items - i : batch;
        qn_assert_ok(qn_program_run(program, workspace, in, n, out, &b->err), &b->err);
    }
    qn_workspace_free(workspace);
}

/* From the tensors of one position to those of another. */
static void step(bench *b, size_t from, size_t to, float **tensors)
{
    qn_stage stage;
    qn_assert_ok(qn_stage_create(&stage, b->cuts, from, to, &b->err), &b->err);
    const qn_cut *before = qn_cuts_at(b->cuts, from), *after = qn_cuts_at(b->cuts, to);
    qn_program *program = program_of(b, stage.model);
    float *in[64], *made[64], *next[64];
    for (size_t i = 0; i < stage.n_inputs; i++) {
        in[i] = tensors[stage.inputs[i]];
        assert_int_equal(qn_program_input_count(program, i), before->tensors[stage.inputs[i]].count);
    }
    run(b, program, in, made);
    assert_int_equal(stage.n_sources, after->n_tensors);
    for (size_t i = 0; i < after->n_tensors; i++) {
        const qn_stage_source source = stage.sources[i];
        const size_t bytes = (size_t)(b->n_items * after->tensors[i].count) * sizeof(float);
        next[i] = qn_alloc(bytes);
        memcpy(next[i], source.passes ? tensors[source.index] : made[source.index], bytes);
    }
    for (size_t i = 0; i < before->n_tensors; i++) {
        qn_free(tensors[i]);
    }
    for (size_t i = 0; i < qn_program_n_outputs(program); i++) {
        qn_free(made[i]);
    }
    memcpy(tensors, next, after->n_tensors * sizeof *next);
    qn_program_free(program);
    qn_stage_free(&stage);
}

static void check(bench *b, const size_t *positions, int n)
{
    float *tensors[64] = {qn_alloc((size_t)(b->n_items * qn_cuts_at(b->cuts, 0)->tensors[0].count) * sizeof(float))};
    memcpy(tensors[0], b->x, (size_t)(b->n_items * qn_cuts_at(b->cuts, 0)->tensors[0].count) * sizeof(float));
    for (int i = 0; i + 1 < n; i++) {
        step(b, positions[i], positions[i + 1], tensors);
    }
    double error = 0, power = 0;
    for (int64_t i = 0; i < b->n_out; i++) {
        error += ((double)tensors[0][i] - b->expected[i]) * ((double)tensors[0][i] - b->expected[i]);
        power += (double)b->expected[i] * b->expected[i];
    }
    if (b->engine == QN_ENGINE_INTEGER) {
        if (memcmp(tensors[0], b->expected, (size_t)b->n_out * sizeof(float)) != 0) {
            fail_msg("parted at %zu (behind '%s') the network gives other bytes", positions[1],
                     qn_cuts_at(b->cuts, positions[1])->name);
        }
    } else if (!(error <= 1e-8 * power)) { /* float engines fuse and lay out as they like */
        fail_msg("parted at %zu (behind '%s') the network's error is %g of %g", positions[1],
                 qn_cuts_at(b->cuts, positions[1])->name, error, power);
    }
    qn_free(tensors[0]);
}

/* At every stride-th place, and at three places at once; returns how many there are. */
static size_t everywhere(const qn_model *model, qn_engine engine, int64_t n_items, size_t stride)
{
    bench b = {.model = model, .engine = engine, .n_items = n_items};
    qn_error_init(&b.err);
    qn_assert_ok(qn_cuts_create(&b.cuts, model, engine, &b.err), &b.err);
    qn_program *whole = program_of(&b, model);
    const int64_t count = n_items * qn_program_input_count(whole, 0);
    uint64_t state = 5;
    b.x = qn_alloc((size_t)count * sizeof *b.x);
    for (int64_t i = 0; i < count; i++) {
        b.x[i] = qn_test_uniform(&state, -1.5f, 1.5f);
    }
    run(&b, whole, &b.x, &b.expected);
    b.n_out = n_items * qn_program_output_count(whole, 0);
    qn_program_free(whole);
    const size_t last = qn_cuts_last(b.cuts);
    size_t n = 0, places[4096], several = 0;
    assert_true(last < 4096);
    for (size_t p = 1; p < last; p++) {
        const qn_cut *cut = qn_cuts_at(b.cuts, p);
        size_t found = 0;
        if (cut->reason != NULL) {
            qn_assert_fails(qn_cuts_find(&found, b.cuts, cut->name, &b.err), &b.err, QN_EINVAL, cut->name);
            qn_error_init(&b.err);
            continue;
        }
        qn_assert_ok(qn_cuts_find(&found, b.cuts, cut->name, &b.err), &b.err);
        assert_int_equal(found, p);
        assert_true(cut->n_tensors > 0);
        several += cut->n_tensors > 1;
        places[n++] = p;
    }
    const size_t ends[] = {0, last};
    check(&b, ends, 2);
    for (size_t i = 0; i < n; i += stride) {
        const size_t two[] = {0, places[i], last};
        check(&b, two, 3);
    }
    if (n >= 3) {
        const size_t four[] = {0, places[n / 4], places[n / 2], places[n - 1], last};
        check(&b, four, 5);
    }
    int64_t macs = qn_cuts_span(b.cuts, 0, last).macs, parts = 0, weights = 0;
    for (size_t p = 0; p < last; p++) {
        parts += qn_cuts_span(b.cuts, p, p + 1).macs;
        weights += qn_cuts_span(b.cuts, p, p + 1).weight_bytes;
    }
    assert_int_equal(macs, parts);
    assert_true(weights >= qn_cuts_span(b.cuts, 0, last).weight_bytes);
    print_message("%s: %zu nodes, %zu places, %zu with several tensors, %s\n", qn_engine_text(engine), last, n, several,
                  qn_cuts_batched(b.cuts) ? "batched" : "one by one");
    qn_free(b.x);
    qn_free(b.expected);
    qn_cuts_free(b.cuts);
    return n;
}

static qn_model *load(const char *path)
{
    qn_error err;
    qn_model *model;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    return model;
}

static qn_model *quantize(const qn_model *model, const char *data, int64_t n, double scale)
{
    qn_error err;
    qn_error_init(&err);
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = scale;
    qn_tensor x;
    qn_dataset *set;
    qn_calibration *calibration;
    qn_model *quantized;
    qn_quantize_options options;
    qn_assert_ok(qn_tensor_read(&x, data, &err), &err);
    x.dims[0] = n;
    qn_assert_ok(qn_dataset_of_tensor(&set, &x, &pre, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, set, NULL, &err), &err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    qn_assert_ok(qn_quantize(&quantized, model, calibration, &options, NULL, &err), &err);
    qn_calibration_free(calibration);
    qn_dataset_close(set);
    qn_tensor_free(&x);
    return quantized;
}

static void shared_network(const char *name, const char *data, double scale, size_t stride, size_t least)
{
    char path[1024];
    const char *found = qn_shared(name);
    if (found == NULL) {
        skip();
    }
    snprintf(path, sizeof path, "%s", found);
    qn_model *model = load(path);
    found = qn_shared(data);
    assert_non_null(found);
    qn_model *quantized = quantize(model, found, 32, scale);
    assert_true(everywhere(quantized, QN_ENGINE_INTEGER, 3, stride) >= least);
    assert_true(everywhere(quantized, QN_ENGINE_SIMULATE, 3, 3 * stride) >= least);
    assert_true(everywhere(model, QN_ENGINE_FLOAT, 3, 3 * stride) >= least);
    qn_model_free(quantized);
    qn_model_free(model);
}

/* Codes that only move need no quantizer of their own, as other tools write it: a stage behind one reads the codes, not
 * their floats. Half of the products are ties, or next to them. */
static void moved_codes_stay_codes(void **state)
{
    (void)state;
    qn_model model;
    qn_error err;
    memset(&model, 0, sizeof model);
    qn_error_init(&err);
    qn_graph *g = &model.graph;
    g->opset = 13;
    g->file = "net.onnx";
    qn_test_input(g, "x", DIMS(-1, 3, 8, 8));
    NODE_WITH(g, "MaxPool", "x", "m", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE_WITH(g, "Transpose", "m", "t", A_INTS("perm", 0, 1, 3, 2));
    NODE(g, "Mul", "m t", "y");
    qn_test_output(g, "y");
    float scales[] = {0.0171f, 2 * 0.0171f * 0.0171f};
    static const char *const names[] = {"x", "y"};
    for (int i = 0; i < 2; i++) {
        const qn_quantizer q = {
            .format = {.bits = 8}, .axis = -1, .n = 1, .scale = &scales[i], .zero_point = (int32_t[]){120}};
        qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, names[i]), &q, &err), &err);
    }
    qn_cuts *cuts;
    qn_assert_ok(qn_cuts_create(&cuts, &model, QN_ENGINE_INTEGER, &err), &err);
    for (size_t p = 0; p <= qn_cuts_last(cuts); p++) {
        const qn_cut *cut = qn_cuts_at(cuts, p);
        for (size_t i = 0; i < cut->n_tensors; i++) {
            assert_true(cut->tensors[i].coded);
        }
    }
    qn_cuts_free(cuts);
    assert_int_equal(everywhere(&model, QN_ENGINE_INTEGER, 50, 1), 2);
    qn_graph_free(g);
}

static void resnet8(void **state)
{
    (void)state;
    shared_network("data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1, 1, 10);
}

static void kws(void **state)
{
    (void)state;
    shared_network("data/models/kws_dscnn.onnx", "data/inputs/kws_calib100_x_f32.npy", 1, 1, 8);
}

static void lenet(void **state)
{
    (void)state;
    shared_network("data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1 / 127.5, 1, 4);
}

static void vit(void **state)
{
    (void)state;
    shared_network("data/models/vit_cifar10.onnx", "data/inputs/cifar10_calib500_x_u8.npy", 1 / 128.0, 7, 60);
}

static void torch_vit(void **state)
{
    (void)state;
    shared_network("data/models/vit_cifar10_torchraw.onnx", "data/inputs/cifar10_calib500_x_u8.npy", 1 / 128.0, 17, 60);
}

static void digits(void **state)
{
    (void)state;
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    assert_true(everywhere(model, QN_ENGINE_FLOAT, 5, 1) >= 3);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits),    cmocka_unit_test(lenet),
        cmocka_unit_test(kws),       cmocka_unit_test(moved_codes_stay_codes),
        cmocka_unit_test(resnet8),   cmocka_unit_test(vit),
        cmocka_unit_test(torch_vit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
