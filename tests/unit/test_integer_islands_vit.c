/* A transformer in the integer engine: tokens on codes, attention and normalization as islands. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "graph/model.h"
#include "quern/quern.h"

typedef struct {
    qn_model *model;
    qn_dataset *set;
    qn_tensor x; /* what the set reads */
    qn_error err;
} work;

static void open_images(work *w, const char *images, int64_t n)
{
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    static const double mean[3] = {.4914, .4822, .4465}, std[3] = {.2470, .2435, .2616};
    pre.scale = 1.0 / 255;
    pre.n_mean = pre.n_std = 3;
    memcpy(pre.mean, mean, sizeof mean);
    memcpy(pre.std, std, sizeof std);
    qn_assert_ok(qn_tensor_read(&w->x, qn_shared(images), &w->err), &w->err);
    w->x.dims[0] = n;
    qn_assert_ok(qn_dataset_of_tensor(&w->set, &w->x, &pre, &w->err), &w->err);
}

static void close_images(work *w)
{
    qn_dataset_close(w->set);
    qn_tensor_free(&w->x);
}

static void quantize(work *w, const qn_calibration *calibration)
{
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    qn_model *quantized;
    qn_assert_ok(qn_quantize(&quantized, w->model, calibration, &options, NULL, &w->err), &w->err);
    qn_model_free(w->model);
    w->model = quantized;
}

static bool load(work *w, const char *name)
{
    memset(w, 0, sizeof *w);
    qn_error_init(&w->err);
    const char *path = qn_shared(name);
    if (path == NULL) {
        return false;
    }
    qn_assert_ok(qn_model_load(&w->model, path, &w->err), &w->err);
    return true;
}

static void load_quantized(work *w, const char *name)
{
    qn_calibration *calibration;
    if (!load(w, name)) {
        skip();
    }
    open_images(w, "data/inputs/cifar10_calib500_x_u8.npy", 64);
    qn_assert_ok(qn_calibrate(&calibration, w->model, w->set, NULL, &w->err), &w->err);
    close_images(w);
    quantize(w, calibration);
    qn_calibration_free(calibration);
}

static void stays_close(const char *name)
{
    work w, f;
    load_quantized(&w, name);
    (void)load(&f, name);
    const int n = getenv("QUERN_CPU") == NULL ? 200 : 50;
    open_images(&w, "data/inputs/cifar10_eval2000_x_u8.npy", n);
    qn_evaluation result;
    qn_evaluate_options options;
    qn_assert_ok(qn_evaluate_options_init(&options, w.model, &w.err), &w.err);
    options.against = f.model;
    qn_assert_ok(qn_evaluate(&result, w.model, w.set, &options, NULL, &w.err), &w.err);
    print_message("%s: %.2f dB, agreement %.3f, %.0f images/s (float engine %.0f)\n", name, result.sqnr_db,
                  result.argmax_agree, result.images_per_second, result.against_images_per_second);
    assert_true(result.sqnr_db > 25);
    /* 98.25 % of 2000 images agree, 194 of these 200, 48 of the first 50 */
    assert_true(result.argmax_agree * n > 0.97 * n - 1);
    close_images(&w);
    qn_model_free(w.model);
    qn_model_free(f.model);
}

/* Biases of products of tokens are int32, added to the sums: no codes lie between. */
static void biases_go_into_the_sums(void **unused)
{
    (void)unused;
    work w;
    load_quantized(&w, "data/models/vit_cifar10.onnx");
    const qn_graph *graph = &w.model->graph;
    int n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *add = &graph->nodes[i];
        for (int side = 0; side < 2 && add->op == QN_OP_ADD; side++) {
            const qn_value *bias = &graph->values[add->inputs[side]], *sum = &graph->values[add->inputs[1 - side]];
            if (bias->codes != NULL && bias->codes->dtype == QN_DTYPE_S32) {
                assert_null(sum->quantizer);
                n++;
            }
        }
    }
    assert_int_equal(n, 24);
    qn_model_free(w.model);
}

static void vit_stays_close_to_float(void **unused)
{
    (void)unused;
    stays_close("data/models/vit_cifar10.onnx");
}

static void vit_as_torch_writes_it_does_too(void **unused)
{
    (void)unused;
    stays_close("data/models/vit_cifar10_torchraw.onnx");
}

/* What has a form runs on codes once it is quantized, but for what was kept in float; inspection tells it by node. */
static void nodes_with_a_form_run_on_codes(void **unused)
{
    (void)unused;
    work w;
    load_quantized(&w, "data/models/vit_cifar10.onnx");
    qn_program_options options;
    qn_program *program;
    qn_binding binding;
    qn_inspection *inspection;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &w.err), &w.err);
    qn_assert_ok(qn_program_create(&program, w.model, &options, &w.err), &w.err);
    qn_assert_ok(qn_graph_bind(&binding, &w.model->graph, 1, &w.err), &w.err);
    qn_assert_ok(qn_inspect(&inspection, w.model, &w.err), &w.err);
    const qn_integer_code *code = program->code;
    size_t n_islands = 0;
    for (size_t i = 0; i < w.model->graph.n_nodes; i++) {
        const qn_node_info *info = qn_inspection_node(inspection, i);
        bool has_form = qn_integer_has_form(&w.model->graph, &binding, &w.model->graph.nodes[i], NULL);
        assert_int_equal(info->integer, has_form);
        const qn_node *node = &w.model->graph.nodes[i];
        const bool of_codes = node->op == QN_OP_MATMUL && w.model->graph.values[node->inputs[0]].quantizer != NULL &&
                              w.model->graph.values[node->inputs[1]].quantizer != NULL; /* which needs no plan */
        assert_true(has_form || info->island == !of_codes);
        if (info->island) {
            assert_string_equal(info->island_reason,
                                has_form ? "kept in float: an input has no quantizer" : info->island_reason);
            assert_true(has_form || strncmp(info->island_reason, "no integer form", 15) == 0);
        }
        n_islands += info->island;
    }
    assert_int_equal(qn_inspection_model(inspection)->n_islands, n_islands);
    int n_products = 0;
    for (int i = 0; i < code->n_steps; i++) {
        n_products += code->steps[i].kind == QN_STEP_CONV;
    }
    assert_int_equal(n_products, 1 + 24 + 1); /* Conv, six MatMuls by weights in each of four blocks, Gemm */
    qn_inspection_free(inspection);
    qn_binding_free(&binding);
    qn_program_free(program);
    qn_model_free(w.model);
}

/* The float engine with values rounded to the same codes: other sums, nearly the same results. */
static void integers_agree_with_simulation(void **unused)
{
    (void)unused;
    work w;
    load_quantized(&w, "data/models/vit_cifar10.onnx");
    open_images(&w, "data/inputs/cifar10_eval2000_x_u8.npy", 24);
    qn_tensor logits[2];
    for (int i = 0; i < 2; i++) {
        qn_evaluation result;
        qn_evaluate_options options;
        qn_assert_ok(qn_evaluate_options_init(&options, w.model, &w.err), &w.err);
        options.engine = i == 0 ? QN_ENGINE_SIMULATE : QN_ENGINE_INTEGER;
        qn_assert_ok(qn_evaluate(&result, w.model, w.set, &options, &logits[i], &w.err), &w.err);
    }
    double signal = 0, noise = 0;
    for (int64_t i = 0; i < qn_tensor_count(&logits[0]); i++) {
        double f = (double)((float *)logits[0].data)[i], q = (double)((float *)logits[1].data)[i];
        signal += f * f;
        noise += (f - q) * (f - q);
    }
    print_message("integer engine against simulation: %.2f dB\n", 10 * log10(signal / noise));
    assert_true(10 * log10(signal / noise) > 35);
    qn_tensor_free(&logits[0]);
    qn_tensor_free(&logits[1]);
    close_images(&w);
    qn_model_free(w.model);
}

static void the_bytes_are_the_same_on_every_cpu_and_at_every_batch(void **unused)
{
    (void)unused;
    enum { IMAGES = 8 };
    work w;
    if (getenv("QUERN_CPU") != NULL) {
        skip(); /* the run without a mask sees every level */
    }
    load_quantized(&w, "data/models/vit_cifar10.onnx");
    open_images(&w, "data/inputs/cifar10_eval2000_x_u8.npy", IMAGES);
    qn_tensor first = {0};
    static const int64_t batches[] = {1, 3, 8};
    for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
        for (size_t i = 0; i < 3; i++) {
            qn_evaluation result;
            qn_evaluate_options options;
            qn_tensor logits = {0};
            qn_assert_ok(qn_evaluate_options_init(&options, w.model, &w.err), &w.err);
            options.cpu = cpu;
            options.batch = batches[i];
            options.n_threads = 1 + (int)i;
            qn_assert_ok(qn_evaluate(&result, w.model, w.set, &options, &logits, &w.err), &w.err);
            if (first.data == NULL) {
                first = logits;
                continue;
            }
            assert_memory_equal(first.data, logits.data, qn_tensor_bytes(&first));
            qn_tensor_free(&logits);
        }
    }
    qn_tensor_free(&first);
    close_images(&w);
    qn_model_free(w.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_stays_close_to_float),
        cmocka_unit_test(vit_as_torch_writes_it_does_too),
        cmocka_unit_test(biases_go_into_the_sums),
        cmocka_unit_test(nodes_with_a_form_run_on_codes),
        cmocka_unit_test(integers_agree_with_simulation),
        cmocka_unit_test(the_bytes_are_the_same_on_every_cpu_and_at_every_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
