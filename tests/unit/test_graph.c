/* Graph core: names, building, order, copies, attributes, messages. */
#include "graph_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/node_list.h"

static qn_error err;

static int reset_error(void **state)
{
    (void)state;
    qn_error_init(&err);
    return 0;
}

static void operators_are_found_by_type(void **state)
{
    (void)state;
    for (int op = QN_OP_REMOVED + 1; op < QN_OP_COUNT; op++) {
        assert_int_equal(qn_op_find(qn_op_domain((qn_op)op), qn_op_type((qn_op)op)), op);
    }
    assert_int_equal(qn_op_find(QN_DOMAIN_ONNX, "Conv"), QN_OP_CONV);
    assert_int_equal(qn_op_find(QN_DOMAIN_ONNX, "conv"), QN_OP_UNKNOWN);
    assert_int_equal(qn_op_find(QN_DOMAIN_ONNX, ""), QN_OP_UNKNOWN);
    assert_int_equal(qn_op_find(QN_DOMAIN_ONNX, "Zeta"), QN_OP_UNKNOWN);
    assert_int_equal(qn_op_find(QN_DOMAIN_QONNX, "Conv"), QN_OP_UNKNOWN);
    assert_int_equal(qn_op_find(qn_domain_find("ai.onnx"), "Conv"), QN_OP_CONV);
    assert_int_equal(qn_op_find(qn_domain_find("elsewhere"), "Conv"), QN_OP_UNKNOWN);
    assert_string_equal(qn_op_type(QN_OP_UNKNOWN), "?");
}

/* Against a linear table: thousands of values, every one renamed, every lookup tried. */
static void names_lead_to_their_values_after_any_renaming(void **state)
{
    (void)state;
    enum { N = 3000 };
    qn_graph graph = {0};
    char name[32];
    for (int i = 0; i < N; i++) {
        qn_value_id id;
        snprintf(name, sizeof name, "value%d", i);
        qn_assert_ok(qn_graph_add_value(&graph, name, &id, &err), &err);
        assert_int_equal(id, i);
    }
    for (int i = 0; i < N; i += 3) {
        snprintf(name, sizeof name, "renamed%d", i);
        qn_assert_ok(qn_graph_rename(&graph, i, name, &err), &err);
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "value%d", i);
        assert_int_equal(qn_graph_find(&graph, name), i % 3 == 0 ? QN_NO_VALUE : i);
        snprintf(name, sizeof name, "renamed%d", i);
        assert_int_equal(qn_graph_find(&graph, name), i % 3 == 0 ? i : QN_NO_VALUE);
    }
    qn_assert_fails(qn_graph_rename(&graph, 0, "value1", &err), &err, QN_EFORMAT, "'value1' is taken");
    qn_error_init(&err);
    qn_assert_ok(qn_graph_rename(&graph, 0, "renamed0", &err), &err);
    qn_value_id id;
    qn_assert_fails(qn_graph_add_value(&graph, "value1", &id, &err), &err, QN_EFORMAT, "'value1' is used for two");
    qn_error_init(&err);
    qn_assert_fails(qn_graph_add_value(&graph, "", &id, &err), &err, QN_EFORMAT, "no name");
    qn_graph_free(&graph);
}

static void unique_names_take_the_least_free_suffix(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_value_id id;
    char expected[32];
    for (int i = 1; i < 100; i++) {
        snprintf(expected, sizeof expected, i == 1 ? "w" : "w_%d", i);
        const char *name = qn_graph_unique_name(&graph, "w");
        assert_string_equal(name, expected);
        qn_assert_ok(qn_graph_add_value(&graph, name, &id, &err), &err);
    }
    assert_string_equal(qn_graph_unique_name(&graph, ""), "value_2");
    qn_graph_free(&graph);
}

static void tidy_sorts_stably_and_drops_the_dead(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_test_input(&graph, "x", DIMS(1, 4));
    qn_value_id id;
    qn_assert_ok(qn_graph_add_value(&graph, "b", &id, &err), &err);
    qn_assert_ok(qn_graph_add_value(&graph, "a", &id, &err), &err);
    NODE(&graph, "Add", "a b", "sum"); /* before what it needs */
    NODE(&graph, "Relu", "x", "a");
    NODE(&graph, "Tanh", "x", "dead");
    NODE(&graph, "Exp", "dead", "dead2");
    NODE(&graph, "Sqrt", "a", "b");
    NODE(&graph, "Neg", "sum", "y");
    qn_test_output(&graph, "y");
    qn_assert_fails(qn_graph_verify(&graph, &err), &err, QN_EFORMAT, "made by a later node");
    qn_error_init(&err);
    qn_assert_ok(qn_graph_tidy(&graph, &err), &err);
    static const char *const order[] = {"Relu", "Sqrt", "Add", "Neg"};
    assert_int_equal(graph.n_nodes, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(graph.nodes[i].op_type, order[i]);
        assert_int_equal(graph.values[graph.nodes[i].outputs[0]].producer, i);
    }
    assert_int_equal(graph.values[qn_graph_find(&graph, "dead")].producer, -1);
    qn_assert_ok(qn_graph_verify(&graph, &err), &err);
    qn_assert_ok(qn_graph_tidy(&graph, &err), &err);
    assert_string_equal(graph.nodes[2].op_type, "Add");
    qn_graph_free(&graph);
}

static void cycles_are_named(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_test_input(&graph, "x", DIMS(1, 4));
    qn_value_id id;
    qn_assert_ok(qn_graph_add_value(&graph, "back", &id, &err), &err);
    NODE(&graph, "Add", "x back", "a");
    NODE(&graph, "Relu", "a", "b");
    NODE(&graph, "Tanh", "b", "back");
    NODE(&graph, "Neg", "b", "y");
    qn_test_output(&graph, "y");
    qn_assert_fails(qn_graph_tidy(&graph, &err), &err, QN_EFORMAT, "cycle through");
    assert_non_null(strstr(err.message, "'a'"));
    assert_non_null(strstr(err.message, "'b'"));
    assert_non_null(strstr(err.message, "'back'"));
    assert_null(strstr(err.message, "'y'"));
    qn_graph_free(&graph);
}

/* A chain written backwards: a recursive or quadratic sort would not come back. */
static void a_hundred_thousand_nodes_are_sorted(void **state)
{
    (void)state;
    enum { N = 100000 };
    qn_graph graph = {0};
    qn_test_input(&graph, "v0", DIMS(1, 4));
    char name[32];
    qn_value_id id;
    for (int i = 1; i <= N; i++) {
        snprintf(name, sizeof name, "v%d", i);
        qn_assert_ok(qn_graph_add_value(&graph, name, &id, &err), &err);
    }
    for (int i = N; i >= 1; i--) {
        qn_value_id in = i - 1, out = i;
        qn_node node = {.name = "n", .op_type = "Relu", .op = QN_OP_RELU, .n_inputs = 1, .n_outputs = 1};
        node.inputs = &in;
        node.outputs = &out;
        qn_assert_ok(qn_graph_add_node(&graph, &node, &err), &err);
    }
    qn_assert_ok(qn_graph_add_io(&graph, true, N, &err), &err);
    qn_assert_ok(qn_graph_tidy(&graph, &err), &err);
    qn_assert_ok(qn_graph_verify(&graph, &err), &err);
    assert_int_equal(graph.n_nodes, N);
    assert_int_equal(graph.nodes[0].outputs[0], 1);
    qn_graph_free(&graph);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_test_input(&graph, "x", DIMS(1, 4));
    qn_test_floats(&graph, "w", DIMS(4), NULL);
    qn_value_id y = NODE(&graph, "Relu", "x", "y"), x = qn_graph_find(&graph, "x"), w = qn_graph_find(&graph, "w");
    qn_node twice = {.name = "again", .op_type = "Relu", .op = QN_OP_RELU, .n_inputs = 1, .n_outputs = 1, .inputs = &x};
    twice.outputs = &y;
    qn_assert_fails(qn_graph_add_node(&graph, &twice, &err), &err, QN_EFORMAT, "also of another node");
    qn_error_init(&err);
    twice.outputs = &w;
    qn_assert_fails(qn_graph_add_node(&graph, &twice, &err), &err, QN_EFORMAT, "also an initializer");
    qn_error_init(&err);
    qn_value_id z;
    qn_assert_ok(qn_graph_add_value(&graph, "z", &z, &err), &err);
    qn_value_id both[2] = {z, z};
    qn_node same = {
        .name = "same", .op_type = "Dropout", .op = QN_OP_DROPOUT, .n_inputs = 1, .n_outputs = 2, .inputs = &x};
    same.outputs = both;
    qn_assert_fails(qn_graph_add_node(&graph, &same, &err), &err, QN_EFORMAT, "also of another node");
    assert_int_equal(graph.values[z].producer, -1);
    qn_error_init(&err);
    qn_value_id far = 77;
    twice.outputs = &far;
    qn_assert_fails(qn_graph_add_node(&graph, &twice, &err), &err, QN_EINTERNAL, "value 77 of");
    qn_error_init(&err);
    qn_assert_fails(qn_graph_verify(&graph, &err), &err, QN_EFORMAT, "no outputs");
    qn_error_init(&err);
    qn_test_output(&graph, "z");
    qn_assert_fails(qn_graph_verify(&graph, &err), &err, QN_EFORMAT, "'z' is a graph output, but nothing");
    qn_error_init(&err);
    qn_assert_ok(qn_graph_add_io(&graph, false, x, &err), &err);
    qn_assert_fails(qn_graph_verify(&graph, &err), &err, QN_EFORMAT, "'x' is listed twice");
    qn_graph_free(&graph);
}

static void a_copy_is_equal_and_independent(void **state)
{
    (void)state;
    qn_graph graph = {.opset = 13, .ir_version = 7, .name = "g", .file = "g.onnx", .producer = "p"};
    qn_test_input(&graph, "x", DIMS(-1, 3, 8, 8));
    qn_value_id w = qn_test_floats(&graph, "w", DIMS(4, 3, 3, 3), NULL);
    NODE_WITH(&graph, "Conv", "x w", "y", A_INTS("pads", 1, 1, 1, 1), A_STRING("auto_pad", "NOTSET"),
              A_INT("group", 1));
    qn_test_output(&graph, "y");
    qn_quantizer q = {
        .format = {8, false, false}, .axis = -1, .n = 1, .scale = &(float){0.5F}, .zero_point = &(int32_t){3}};
    qn_assert_ok(qn_graph_set_quantizer(&graph, qn_graph_find(&graph, "y"), &q, &err), &err);
    qn_assert_ok(qn_graph_set_metadata(&graph, "key", "one", &err), &err);
    qn_assert_ok(qn_graph_set_metadata(&graph, "key", "two", &err), &err);
    qn_graph copy;
    qn_assert_ok(qn_graph_clone(&copy, &graph, &err), &err);
    float first = *(const float *)graph.values[w].constant->data;
    qn_graph_free(&graph);
    qn_assert_ok(qn_graph_verify(&copy, &err), &err);
    assert_int_equal(copy.opset, 13);
    assert_string_equal(copy.file, "g.onnx");
    assert_string_equal(qn_graph_get_metadata(&copy, "key"), "two");
    assert_null(qn_graph_get_metadata(&copy, "other"));
    assert_int_equal(qn_graph_find(&copy, "w"), w);
    assert_true(*(const float *)copy.values[w].constant->data == first);
    const int64_t *pads;
    assert_int_equal(qn_node_ints(&copy.nodes[0], "pads", &pads), 4);
    assert_int_equal(pads[3], 1);
    assert_string_equal(qn_node_string(&copy.nodes[0], "auto_pad", "?"), "NOTSET");
    assert_int_equal(qn_node_int(&copy.nodes[0], "group", 9), 1);
    assert_int_equal(qn_node_int(&copy.nodes[0], "pads", 9), 9); /* another type */
    assert_true(qn_node_float(&copy.nodes[0], "absent", 2.5F) == 2.5F);
    const qn_value *y = &copy.values[qn_graph_find(&copy, "y")];
    assert_int_equal(y->quantizer->zero_point[0], 3);
    assert_true(y->quantizer->scale[0] == 0.5F);
    qn_graph_free(&copy);
}

static void uses_are_counted_and_replaced(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_value_id x = qn_test_input(&graph, "x", DIMS(1, 4));
    qn_value_id a = NODE(&graph, "Relu", "x", "a");
    NODE(&graph, "Add", "a a", "b");
    qn_test_output(&graph, "b");
    qn_test_output(&graph, "a");
    int32_t *uses = qn_graph_count_uses(&graph);
    assert_non_null(uses);
    assert_int_equal(uses[a], 3);
    qn_free(uses);
    assert_true(qn_graph_is_output(&graph, a));
    qn_graph_replace_uses(&graph, a, x);
    uses = qn_graph_count_uses(&graph);
    assert_non_null(uses);
    assert_int_equal(uses[a], 0);
    assert_int_equal(uses[x], 4);
    qn_free(uses);
    qn_graph_free(&graph);
}

static void node_lists_group_by_operator(void **state)
{
    (void)state;
    qn_graph graph = {0};
    qn_test_input(&graph, "x", DIMS(1, 4));
    NODE(&graph, "Foo", "x", "a");
    NODE(&graph, "Bar", "a", "c");
    NODE(&graph, "Foo", "c", "b");
    NODE(&graph, "Foo", "b", "d");
    NODE(&graph, "Baz", "d", "e");
    graph.nodes[2].name = ""; /* then the output stands for it */
    graph.nodes[1].domain = "my.ops";
    qn_node_list list = {0};
    for (size_t i = 0; i < graph.n_nodes; i++) {
        const char *reason = i == 1 || i >= 3 ? "no kernel" : NULL;
        qn_assert_ok(qn_node_list_add(&list, &graph.nodes[i], reason, &err), &err);
    }
    char *text = qn_node_list_text(&list, &graph);
    assert_string_equal(
        text, "Foo (2 nodes: 'a', 'b'); my.ops.Bar (1 node: 'c'), Foo (1 node: 'd'), Baz (1 node: 'e'): no kernel");
    free(text);
    qn_assert_fails(qn_node_list_fail(&list, &graph, QN_EUNSUPPORTED, "lead", &err), &err, QN_EUNSUPPORTED,
                    "lead: Foo (2");
    qn_error_init(&err);
    qn_assert_ok(qn_node_list_fail(&list, &graph, QN_EUNSUPPORTED, "lead", &err), &err);
    char where[QN_NODE_WHERE_MAX];
    assert_string_equal(qn_node_where(where, &graph, &graph.nodes[1]), "node 1 Bar 'c'");
    qn_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(operators_are_found_by_type, reset_error),
        cmocka_unit_test_setup(names_lead_to_their_values_after_any_renaming, reset_error),
        cmocka_unit_test_setup(unique_names_take_the_least_free_suffix, reset_error),
        cmocka_unit_test_setup(tidy_sorts_stably_and_drops_the_dead, reset_error),
        cmocka_unit_test_setup(cycles_are_named, reset_error),
        cmocka_unit_test_setup(a_hundred_thousand_nodes_are_sorted, reset_error),
        cmocka_unit_test_setup(contradictions_are_refused, reset_error),
        cmocka_unit_test_setup(a_copy_is_equal_and_independent, reset_error),
        cmocka_unit_test_setup(uses_are_counted_and_replaced, reset_error),
        cmocka_unit_test_setup(node_lists_group_by_operator, reset_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
