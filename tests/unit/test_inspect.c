/* Inspection: facts the network's own description states (examples/digits/README.md), and networks quern cannot run. */
#include "support.h"

#include <string.h>

#include "graph/model.h"
#include "quern/inspect.h"

static void facts_of_the_digits_network(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_inspection *inspection;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_inspect(&inspection, model, &err), &err);
    const qn_model_info *info = qn_inspection_model(inspection);
    assert_int_equal(info->n_nodes, 32);
    assert_int_equal(info->macs, 2413792);
    assert_int_equal(info->n_parameters, 35506 + 2); /* and the two bounds of the Clip */
    assert_null(info->shape_error);
    assert_int_equal(info->n_unsupported, 0);
    assert_int_equal(info->n_no_integer, 0);
    size_t n_folded = 0;
    for (size_t i = 0; i < info->n_nodes; i++) {
        const qn_node_info *node = qn_inspection_node(inspection, i);
        n_folded += node->folded;
        assert_int_equal(node->folded, strcmp(node->op_type, "BatchNormalization") == 0);
        assert_int_equal(node->dims[0], 1);
    }
    assert_int_equal(n_folded, 9);
    assert_null(qn_inspection_node(inspection, info->n_nodes));
    qn_inspection_free(inspection);
    qn_model_free(model);
}

/* A BatchNormalization with nothing to fold into, and an operator nobody has heard of. */
static void what_cannot_run_is_told(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = {0};
    qn_graph *graph = &model.graph;
    graph->name = graph->file = graph->producer = "";
    graph->opset = 13;
    static const char *const names[] = {"x", "gamma", "beta", "mean", "var", "y", "z"};
    qn_value_id ids[7];
    for (int i = 0; i < 7; i++) {
        qn_assert_ok(qn_graph_add_value(graph, names[i], &ids[i], &err), &err);
    }
    float ones[2] = {1, 1};
    const qn_tensor parameters = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {2}, .data = ones};
    for (int i = 1; i < 5; i++) {
        qn_assert_ok(qn_graph_set_constant(graph, ids[i], &parameters, &err), &err);
    }
    graph->values[ids[0]].dtype = QN_DTYPE_F32;
    graph->values[ids[0]].rank = 4;
    memcpy(graph->values[ids[0]].dims, (int64_t[4]){-1, 2, 3, 3}, 4 * sizeof(int64_t));
    qn_assert_ok(qn_graph_add_io(graph, false, ids[0], &err), &err);
    const qn_node norm = {.name = "norm", .op_type = "BatchNormalization", .domain = "", .op = QN_OP_BATCH_NORMALIZATION,
                          .n_inputs = 5, .n_outputs = 1, .inputs = ids, .outputs = &ids[5]};
    const qn_node odd = {.name = "odd", .op_type = "Frobnicate", .domain = "", .op = QN_OP_UNKNOWN, .n_inputs = 1,
                         .n_outputs = 1, .inputs = &ids[5], .outputs = &ids[6]};
    qn_assert_ok(qn_graph_add_node(graph, &norm, &err), &err);
    qn_assert_ok(qn_graph_add_node(graph, &odd, &err), &err);
    qn_assert_ok(qn_graph_add_io(graph, true, ids[6], &err), &err);
    qn_inspection *inspection;
    qn_assert_ok(qn_inspect(&inspection, &model, &err), &err);
    const qn_model_info *info = qn_inspection_model(inspection);
    assert_non_null(strstr(info->shape_error, "Frobnicate"));
    assert_int_equal(info->n_unsupported, 1);
    assert_int_equal(info->n_no_integer, 2);
    assert_false(qn_inspection_node(inspection, 0)->folded);
    qn_inspection_free(inspection);
    qn_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_the_digits_network),
        cmocka_unit_test(what_cannot_run_is_told),
    };
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
