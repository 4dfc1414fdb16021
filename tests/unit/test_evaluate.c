/* Evaluation: counts by hand, SQNR in closed form, the known accuracies of the shared networks. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "quern/evaluate.h"

/* y = max(x, 0) * factor, over items of n numbers: logits that a test can choose. */
static qn_model *scaling_model(int64_t n, float factor)
{
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    model->graph.opset = 13;
    model->graph.file = "scale.onnx";
    qn_test_input(&model->graph, "x", DIMS(-1, n));
    qn_test_floats(&model->graph, "factor", DIMS(1), &factor);
    NODE(&model->graph, "Relu", "x", "r");
    NODE(&model->graph, "Mul", "r factor", "y");
    qn_test_output(&model->graph, "y");
    return model;
}

enum { N_ITEMS = 4, N_CLASSES = 3 };
static const float rows[N_ITEMS][N_CLASSES] = {{1, 3, 2}, {5, 5, 1}, {0, 2, 2}, {4, 1, 1}}; /* argmax 1 0 1 0 */

typedef struct {
    qn_tensor x;
    qn_dataset *set;
    qn_model *model;
    qn_evaluate_options options;
    qn_error err;
} fixture;

static void setup(fixture *f)
{
    memset(f, 0, sizeof *f);
    qn_error_init(&f->err);
    qn_assert_ok(qn_tensor_alloc(&f->x, QN_DTYPE_F32, 2, (int64_t[]){N_ITEMS, N_CLASSES}, &f->err), &f->err);
    memcpy(f->x.data, rows, sizeof rows);
    qn_assert_ok(qn_dataset_of_tensor(&f->set, &f->x, NULL, &f->err), &f->err);
    f->model = scaling_model(N_CLASSES, 1);
    qn_assert_ok(qn_evaluate_options_init(&f->options, f->model, &f->err), &f->err);
    assert_int_equal(f->options.engine, QN_ENGINE_FLOAT);
    f->options.labels_name = "y.npy";
}

static void teardown(fixture *f)
{
    qn_model_free(f->model);
    qn_dataset_close(f->set);
    qn_tensor_free(&f->x);
}

static qn_status evaluate(fixture *f, qn_evaluation *result, qn_tensor *logits)
{
    qn_error_init(&f->err);
    return qn_evaluate(result, f->model, f->set, &f->options, logits, &f->err);
}

static void logits_come_out_as_they_are(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_evaluation result;
    qn_tensor logits = {0};
    qn_assert_ok(evaluate(&f, &result, &logits), &f.err);
    assert_int_equal(logits.rank, 2);
    assert_int_equal(logits.dims[0], N_ITEMS);
    assert_memory_equal(logits.data, rows, sizeof rows);
    assert_int_equal(result.n, N_ITEMS);
    assert_false(result.has_labels || result.has_against);
    assert_true(result.images_per_second > 0);
    qn_tensor_free(&logits);
    teardown(&f);
}

static void labels_of_every_integer_type_count_alike(void **state)
{
    (void)state;
    static const qn_dtype dtypes[] = {QN_DTYPE_S8,  QN_DTYPE_U8,  QN_DTYPE_S16, QN_DTYPE_U16, QN_DTYPE_S32,
                                      QN_DTYPE_U32, QN_DTYPE_S64, QN_DTYPE_U64, QN_DTYPE_BOOL};
    static const unsigned char label[N_ITEMS] = {1, 1, 1, 0}; /* the tie of item 1 goes to class 0: wrong */
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        fixture f;
        setup(&f);
        qn_tensor labels = {0};
        qn_assert_ok(qn_tensor_alloc(&labels, dtypes[d], 1, (int64_t[]){N_ITEMS}, &f.err), &f.err);
        for (size_t i = 0; i < N_ITEMS; i++) { /* little endian: the lowest byte first */
            ((unsigned char *)labels.data)[i * qn_dtype_size(dtypes[d])] = label[i];
        }
        f.options.labels = &labels;
        qn_evaluation result;
        qn_assert_ok(evaluate(&f, &result, NULL), &f.err);
        assert_true(result.has_labels);
        assert_int_equal(result.correct, 3);
        assert_true(result.top1 == 0.75);
        qn_tensor_free(&labels);
        teardown(&f);
    }
}

static void labels_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_evaluation result;
    int64_t wide[N_ITEMS] = {0, 1, 3, 0};
    qn_tensor labels = {.dtype = QN_DTYPE_S64, .rank = 1, .dims = {N_ITEMS}, .data = wide};
    f.options.labels = &labels;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_ERANGE, "item 2 is 3");
    assert_non_null(strstr(f.err.message, "classes 0 to 2"));
    wide[2] = -1;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_ERANGE, "item 2 is -1");
    wide[2] = 0;
    labels.dims[0] = 3;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_ESHAPE, "y.npy");
    assert_non_null(strstr(f.err.message, "3 labels"));
    assert_non_null(strstr(f.err.message, "4 items"));
    float reals[N_ITEMS] = {0};
    labels = (qn_tensor){.dtype = QN_DTYPE_F32, .rank = 1, .dims = {N_ITEMS}, .data = reals};
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_EINVAL, "float32");
    teardown(&f);
}

static void sqnr_and_agreement_follow_their_definitions(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_model *against = scaling_model(N_CLASSES, 1.0625f);
    qn_evaluation result;
    f.options.against = against;
    qn_assert_ok(evaluate(&f, &result, NULL), &f.err);
    assert_true(result.has_against);
    assert_true(fabs(result.sqnr_db - 20 * log10(17)) < 1e-9); /* (17/16 x)^2 against (x/16)^2, all exact */
    assert_int_equal(result.n_agree, N_ITEMS);
    assert_true(result.argmax_agree == 1);
    assert_true(result.against_images_per_second > 0);
    f.options.against = f.model;
    qn_assert_ok(evaluate(&f, &result, NULL), &f.err);
    assert_true(isinf(result.sqnr_db) && result.sqnr_db > 0);
    qn_model_free(against);
    teardown(&f);
}

static void outputs_of_other_sizes_cannot_be_compared(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_model *flat = qn_alloc(sizeof *flat);
    assert_non_null(flat);
    flat->graph.opset = 13;
    flat->graph.file = "concat.onnx";
    qn_test_input(&flat->graph, "x", DIMS(-1, N_CLASSES));
    NODE_WITH(&flat->graph, "Concat", "x x", "y", A_INT("axis", 1));
    qn_test_output(&flat->graph, "y");
    f.options.against = flat;
    qn_evaluation result;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_ESHAPE, "3 logits");
    assert_non_null(strstr(f.err.message, "6"));
    qn_model_free(flat);
    teardown(&f);
}

static void infinite_logits_are_refused(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_model_free(f.model);
    f.model = scaling_model(N_CLASSES, 1e38f);
    qn_evaluation result;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_ERANGE, "infinite on item 1");
    teardown(&f);
}

static void a_network_with_two_inputs_is_refused(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_model_free(f.model);
    f.model = qn_alloc(sizeof *f.model);
    assert_non_null(f.model);
    f.model->graph.opset = 13;
    f.model->graph.file = "two.onnx";
    qn_test_input(&f.model->graph, "a", DIMS(-1, 3));
    qn_test_input(&f.model->graph, "b", DIMS(-1, 3));
    NODE(&f.model->graph, "Add", "a b", "y");
    qn_test_output(&f.model->graph, "y");
    qn_evaluation result;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_EINVAL, "2 inputs");
    teardown(&f);
}

static void options_of_another_size_are_refused(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_evaluation result;
    f.options.struct_size += 8;
    qn_assert_fails(evaluate(&f, &result, NULL), &f.err, QN_EINVAL, "qn_evaluate_options_init");
    teardown(&f);
}

static void images_laid_out_channels_last_get_a_hint(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    qn_model_free(f.model);
    f.model = qn_alloc(sizeof *f.model);
    assert_non_null(f.model);
    f.model->graph.opset = 13;
    f.model->graph.file = "image.onnx";
    qn_test_input(&f.model->graph, "image", DIMS(-1, 3, 4, 5));
    NODE(&f.model->graph, "Relu", "image", "y");
    qn_test_output(&f.model->graph, "y");
    qn_tensor nhwc = {0};
    qn_dataset *set = NULL;
    qn_assert_ok(qn_tensor_alloc(&nhwc, QN_DTYPE_F32, 4, (int64_t[]){2, 4, 5, 3}, &f.err), &f.err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &nhwc, NULL, &f.err), &f.err);
    qn_evaluation result;
    qn_assert_fails(qn_evaluate(&result, f.model, set, &f.options, NULL, &f.err), &f.err, QN_ESHAPE,
                    "with layout nhwc they would fit");
    assert_non_null(strstr(f.err.message, "(3, 4, 5)"));
    assert_non_null(strstr(f.err.message, "(4, 5, 3)"));
    qn_dataset_close(set);

    /* The other way round: channels first, read as channels last. */
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.layout = QN_LAYOUT_NHWC;
    nhwc.dims[1] = 3;
    nhwc.dims[2] = 4;
    nhwc.dims[3] = 5;
    qn_error_init(&f.err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &nhwc, &pre, &f.err), &f.err);
    qn_assert_fails(qn_evaluate(&result, f.model, set, &f.options, NULL, &f.err), &f.err, QN_ESHAPE, "channels first");
    qn_dataset_close(set);
    qn_tensor_free(&nhwc);
    teardown(&f);
}

/* Networks whose batch dimension is fixed run in batches of that size; the last is partly filled. */
static void a_fixed_batch_serves_any_number_of_items(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= 5; batch++) {
        fixture f;
        setup(&f);
        f.model->graph.values[qn_graph_find(&f.model->graph, "x")].dims[0] = batch;
        qn_evaluation result;
        qn_tensor logits = {0};
        qn_assert_ok(evaluate(&f, &result, &logits), &f.err);
        assert_memory_equal(logits.data, rows, sizeof rows);
        qn_tensor_free(&logits);
        teardown(&f);
    }
}

typedef struct {
    const char *model, *data, *labels;
    int64_t correct;
    double scale, mean, std;
} known_accuracy;

static void check_accuracy(const known_accuracy *k)
{
    const char *paths[3] = {qn_shared(k->model), qn_shared(k->data), qn_shared(k->labels)};
    if (paths[0] == NULL || paths[1] == NULL || paths[2] == NULL) {
        skip();
    }
    qn_error err;
    qn_error_init(&err);
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = k->scale;
    pre.n_mean = pre.n_std = 1;
    pre.mean[0] = k->mean;
    pre.std[0] = k->std;
    qn_model *model = NULL;
    qn_dataset *set = NULL;
    qn_tensor labels = {0};
    qn_evaluate_options options;
    qn_evaluation result;
    qn_assert_ok(qn_model_load(&model, paths[0], &err), &err);
    qn_assert_ok(qn_dataset_open(&set, paths[1], &pre, &err), &err);
    qn_assert_ok(qn_tensor_read(&labels, paths[2], &err), &err);
    qn_assert_ok(qn_evaluate_options_init(&options, model, &err), &err);
    options.labels = &labels;
    options.n_threads = 3;
    options.batch = 7;
    qn_assert_ok(qn_evaluate(&result, model, set, &options, NULL, &err), &err);
    assert_int_equal(result.correct, k->correct);
    qn_tensor_free(&labels);
    qn_dataset_close(set);
    qn_model_free(model);
}

static void float_accuracies_are_those_of_onnx_runtime(void **state)
{
    (void)state;
    static const known_accuracy known[] = {
        {"data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless932_x_u8.npy",
         "data/inputs/cifar10_lossless932_y_u8.npy", 818, 1, 0, 1},
        {"data/models/kws_dscnn.onnx", "data/inputs/kws_eval900_x_f32.npy", "data/inputs/kws_eval900_y_u8.npy", 826, 1,
         0, 1},
        {"data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless932_x_u8.npy",
         "data/inputs/cifar10_lossless932_y_u8.npy", 589, 1.0 / 255, 0.5, 0.5},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        check_accuracy(&known[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_come_out_as_they_are),
        cmocka_unit_test(labels_of_every_integer_type_count_alike),
        cmocka_unit_test(labels_that_do_not_fit_are_refused),
        cmocka_unit_test(sqnr_and_agreement_follow_their_definitions),
        cmocka_unit_test(outputs_of_other_sizes_cannot_be_compared),
        cmocka_unit_test(infinite_logits_are_refused),
        cmocka_unit_test(a_network_with_two_inputs_is_refused),
        cmocka_unit_test(options_of_another_size_are_refused),
        cmocka_unit_test(images_laid_out_channels_last_get_a_hint),
        cmocka_unit_test(a_fixed_batch_serves_any_number_of_items),
        cmocka_unit_test(float_accuracies_are_those_of_onnx_runtime),
    };
    return cmocka_run_group_tests_name("evaluate", tests, NULL, NULL);
}
