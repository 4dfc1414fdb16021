/* Values of all engines read after a run, and two networks compared value by value. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "engine/program.h"
#include "graph/model.h"
#include "quern/diff.h"
#include "quern/evaluate.h"
#include "quern/quantize.h"

enum { ITEMS = 7, INPUT = 3 * 6 * 5 };

/* Two convolutions, 3 and 20 channels (no multiple of a block), a pool, a flattening and a layer. */
static void make_network(qn_model *model, const char *file)
{
    qn_graph *graph = &model->graph;
    *model = (qn_model){.graph = {.opset = 13, .file = file}};
    qn_test_input(graph, "x", DIMS(-1, 3, 6, 5));
    qn_test_floats(graph, "w1", DIMS(3, 3, 3, 3), NULL);
    qn_test_floats(graph, "w2", DIMS(20, 3, 3, 3), NULL);
    qn_test_floats(graph, "w3", DIMS(40, 4), NULL);
    NODE_WITH(graph, "Conv", "x w1", "c1", A_INTS("pads", 1, 1, 1, 1));
    NODE(graph, "Relu", "c1", "r1");
    NODE(graph, "Conv", "r1 w2", "c2");
    NODE_WITH(graph, "MaxPool", "c2", "p", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE(graph, "Flatten", "p", "f");
    NODE(graph, "MatMul", "f w3", "y");
    qn_test_output(graph, "y");
}

typedef struct {
    qn_tensor inputs;
    qn_dataset *data;
    qn_error err;
} items;

static void make_items(items *set)
{
    *set = (items){0};
    qn_error_init(&set->err);
    uint64_t seed = 5;
    qn_assert_ok(qn_tensor_alloc(&set->inputs, QN_DTYPE_F32, 4, (const int64_t[]){ITEMS, 3, 6, 5}, &set->err),
                 &set->err);
    for (int i = 0; i < ITEMS * INPUT; i++) {
        ((float *)set->inputs.data)[i] = qn_test_uniform(&seed, -1, 1);
    }
    qn_assert_ok(qn_dataset_of_tensor(&set->data, &set->inputs, NULL, &set->err), &set->err);
}

static void free_items(items *set)
{
    qn_dataset_close(set->data);
    qn_tensor_free(&set->inputs);
}

static qn_model *quantize(const qn_model *model, items *set)
{
    qn_quantize_options how;
    qn_quantize_options_init(&how);
    how.data = set->data;
    how.n_threads = 1;
    qn_model *quantized;
    qn_assert_ok(qn_quantize(&quantized, model, NULL, &how, NULL, &set->err), &set->err);
    return quantized;
}

/* Values that are made outputs, too, are read as what the program gives for those outputs. */
static void check_reads(qn_model *model, qn_engine engine, const float *x, qn_error *err)
{
    enum { MOST = 20 * 5 * 6 };
    static const char *const inner[] = {"r1", "c2", "p", "f"};
    qn_graph *graph = &model->graph;
    for (size_t i = 0; i < 4; i++) {
        qn_assert_ok(qn_graph_add_io(graph, true, qn_graph_find(graph, inner[i]), err), err);
    }
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, engine, err), err);
    options.batch = 1;
    options.keep_values = true;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_create(&program, model, &options, err), err);
    qn_assert_ok(qn_workspace_create(&workspace, program, err), err);
    static float wanted[5][MOST], got[MOST];
    float *outputs[5];
    for (int i = 0; i < 5; i++) {
        outputs[i] = wanted[i];
    }
    qn_assert_ok(qn_program_run(program, workspace, &x, 1, outputs, err), err);
    for (size_t i = 0; i < 5; i++) {
        int64_t count = 0;
        const qn_value_id id = graph->outputs[i];
        assert_true(qn_program_read(program, workspace, id, NULL, &count));
        assert_int_equal(count, qn_program_output_count(program, i));
        assert_true(qn_program_read(program, workspace, id, got, &count));
        assert_memory_equal(got, wanted[i], (size_t)count * sizeof *got);
    }
    int64_t count;
    assert_false(qn_program_read(program, workspace, qn_graph_find(graph, "w1"), NULL, &count));
    assert_false(qn_program_read(program, workspace, QN_NO_VALUE, NULL, &count));
    qn_workspace_free(workspace);
    qn_program_free(program);
}

static void values_are_read_in_the_order_of_their_shapes(void **state)
{
    (void)state;
    items set;
    qn_model model;
    make_items(&set);
    make_network(&model, "network.onnx");
    qn_model *integer = quantize(&model, &set), *simulated = quantize(&model, &set);
    check_reads(integer, QN_ENGINE_INTEGER, set.inputs.data, &set.err);
    check_reads(simulated, QN_ENGINE_SIMULATE, set.inputs.data, &set.err);
    check_reads(&model, QN_ENGINE_FLOAT, set.inputs.data, &set.err);
    qn_model_free(simulated);
    qn_model_free(integer);
    qn_graph_free(&model.graph);
    free_items(&set);
}

static qn_diff *diff(const qn_model *a, const qn_model *b, items *set, int n_threads)
{
    qn_diff_options options;
    qn_diff *made;
    qn_assert_ok(qn_diff_options_init(&options, &set->err), &set->err);
    options.n_threads = n_threads;
    qn_assert_ok(qn_diff_measure(&made, a, b, set->data, &options, &set->err), &set->err);
    return made;
}

static const qn_diff_row *row_of(const qn_diff *d, const char *name)
{
    for (size_t i = 0; i < qn_diff_count(d); i++) {
        if (strcmp(qn_diff_at(d, i)->value_name, name) == 0) {
            return qn_diff_at(d, i);
        }
    }
    fail_msg("no row of %s", name);
    return NULL;
}

/* One weight of the second convolution differs: all before it is equal, all behind it is not. */
static void networks_part_where_a_weight_differs(void **state)
{
    (void)state;
    items set;
    qn_model a, b;
    make_items(&set);
    make_network(&a, "a.onnx");
    make_network(&b, "b.onnx");
    const qn_tensor *w2 = b.graph.values[qn_graph_find(&b.graph, "w2")].constant;
    ((float *)w2->data)[0] += 0.5f; /* channel 0 */
    qn_diff *same = diff(&a, &a, &set, 1), *one = diff(&a, &b, &set, 1), *three = diff(&a, &b, &set, 3);
    static const char *const names[] = {"x", "c1", "r1", "c2", "p", "f", "y"};
    assert_int_equal(qn_diff_count(same), 7);
    assert_int_equal(qn_diff_count(one), 7);
    for (size_t i = 0; i < 7; i++) {
        const qn_diff_row *row = qn_diff_at(one, i), *again = qn_diff_at(three, i);
        assert_string_equal(row->value_name, names[i]);
        assert_int_equal(qn_diff_at(same, i)->n_different, 0);
        assert_true(isinf(qn_diff_at(same, i)->sqnr_db));
        assert_true((row->n_different > 0) == (i >= 3));
        assert_int_equal(row->is_output, i == 6);
        assert_int_equal(row->n_different, again->n_different);
        assert_true(row->sqnr_db == again->sqnr_db && row->greatest == again->greatest);
        assert_true(row->item == again->item && row->element == again->element);
    }
    const qn_diff_row *row = row_of(one, "c2");
    assert_string_equal(row->op_type, "Conv");
    assert_int_equal(row->n_elems, ITEMS * 20 * 4 * 3);
    assert_true(row->n_different <= ITEMS * 4 * 3); /* one channel of twenty */
    assert_true(row->element < 4 * 3 && row->item < ITEMS);
    assert_true(row->greatest == fabs((double)row->a - (double)row->b));

    /* The output's numbers, from the logits of both. */
    qn_tensor logits[2] = {{0}};
    qn_evaluation result[2];
    for (int i = 0; i < 2; i++) {
        qn_evaluate_options options;
        qn_assert_ok(qn_evaluate_options_init(&options, &a, &set.err), &set.err);
        options.batch = 1;
        options.against = i == 0 ? NULL : &a;
        qn_assert_ok(qn_evaluate(&result[i], i == 0 ? &a : &b, set.data, &options, &logits[i], &set.err), &set.err);
    }
    row = row_of(one, "y");
    const float *y = logits[0].data, *z = logits[1].data;
    double greatest = 0;
    for (int i = 0; i < ITEMS * 4; i++) {
        greatest = fmax(greatest, fabs((double)y[i] - (double)z[i]));
    }
    assert_true(fabs(row->sqnr_db - result[1].sqnr_db) < 1e-3);
    assert_true(fabs(row->greatest - greatest) < 1e-4 * greatest);
    qn_tensor_free(&logits[0]);
    qn_tensor_free(&logits[1]);
    qn_diff_free(same);
    qn_diff_free(one);
    qn_diff_free(three);
    qn_graph_free(&a.graph);
    qn_graph_free(&b.graph);
    free_items(&set);
}

/* What cannot be represented the same way in both is not compared, and codes count steps. */
static void arithmetics_part_by_whole_steps(void **state)
{
    (void)state;
    items set;
    qn_model model;
    make_items(&set);
    make_network(&model, "network.onnx");
    qn_model *quantized = quantize(&model, &set);
    qn_diff_options options;
    qn_diff *d;
    qn_assert_ok(qn_diff_options_init(&options, &set.err), &set.err);
    const qn_arithmetic nearest = {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_UP};
    const qn_arithmetic down = {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_FLOOR};
    options.arithmetic[0] = &nearest;
    options.arithmetic[1] = &down;
    qn_assert_ok(qn_diff_measure(&d, quantized, quantized, set.data, &options, &set.err), &set.err);
    assert_int_equal(qn_diff_engine(d, 0), QN_ENGINE_INTEGER);
    const qn_diff_row *input = row_of(d, "x"), *first = row_of(d, "r1");
    assert_int_equal(input->n_different, 0);
    assert_true(first->n_different > 0 && first->n_different < first->n_elems);
    assert_true(first->steps == 1 && first->a > first->b); /* of the same sums */
    qn_diff_free(d);
    qn_model_free(quantized);
    qn_graph_free(&model.graph);
    free_items(&set);
}

static void networks_of_other_shapes_are_refused(void **state)
{
    (void)state;
    items set;
    qn_model a, b = {.graph = {.opset = 13, .file = "b.onnx"}}, c = {.graph = {.opset = 13, .file = "c.onnx"}};
    make_items(&set);
    make_network(&a, "a.onnx");
    qn_test_input(&b.graph, "x", DIMS(-1, 4));
    NODE(&b.graph, "Relu", "x", "y");
    qn_test_output(&b.graph, "y");
    qn_test_input(&c.graph, "x", DIMS(-1, 3, 6, 5));
    NODE(&c.graph, "Relu", "x", "y");
    qn_test_output(&c.graph, "y");
    qn_diff_options options;
    qn_diff *d;
    qn_assert_ok(qn_diff_options_init(&options, &set.err), &set.err);
    qn_assert_fails(qn_diff_measure(&d, &a, &b, set.data, &options, &set.err), &set.err, QN_ESHAPE,
                    "input 'x' has items of shape (3, 6, 5), but 'x' of b.onnx has (4)");
    qn_error_init(&set.err);
    qn_assert_fails(qn_diff_measure(&d, &a, &c, set.data, &options, &set.err), &set.err, QN_ESHAPE,
                    "output 'y' has items of shape (4), but 'y' of c.onnx has (3, 6, 5)");
    assert_null(d);
    qn_error_init(&set.err);
    options.arithmetic[0] = options.arithmetic[1] = &(const qn_arithmetic){.requantize = QN_REQUANTIZE_FIXED};
    qn_assert_fails(qn_diff_measure(&d, &a, &a, set.data, &options, &set.err), &set.err, QN_EINVAL, "is not quantized");
    qn_graph_free(&a.graph);
    qn_graph_free(&b.graph);
    qn_graph_free(&c.graph);
    free_items(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_in_the_order_of_their_shapes),
        cmocka_unit_test(networks_part_where_a_weight_differs),
        cmocka_unit_test(arithmetics_part_by_whole_steps),
        cmocka_unit_test(networks_of_other_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
