#include "graph_builder.h"

#include <stdlib.h>
#include <string.h>

static void check(qn_status status, qn_error *err)
{
    qn_assert_ok(status, err);
}

qn_value_id qn_test_input(qn_graph *graph, const char *name, int rank, const int64_t *dims)
{
    qn_error err;
    qn_error_init(&err);
    qn_value_id id;
    check(qn_graph_add_value(graph, name, &id, &err), &err);
    qn_value *value = &graph->values[id];
    value->dtype = QN_DTYPE_F32;
    value->rank = rank;
    memcpy(value->dims, dims, (size_t)rank * sizeof *dims);
    check(qn_graph_add_io(graph, false, id, &err), &err);
    return id;
}

static qn_value_id add_constant(qn_graph *graph, const char *name, const qn_tensor *t)
{
    qn_error err;
    qn_error_init(&err);
    qn_value_id id;
    check(qn_graph_add_value(graph, name, &id, &err), &err);
    check(qn_graph_set_constant(graph, id, t, &err), &err);
    return id;
}

qn_value_id qn_test_floats(qn_graph *graph, const char *name, int rank, const int64_t *dims, const float *values)
{
    qn_error err;
    qn_error_init(&err);
    qn_tensor t;
    check(qn_tensor_alloc(&t, QN_DTYPE_F32, rank, dims, &err), &err);
    uint64_t state = 88172645463325252u + graph->n_values;
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        ((float *)t.data)[i] = values != NULL ? values[i] : qn_test_uniform(&state, -1.0F, 1.0F);
    }
    qn_value_id id = add_constant(graph, name, &t);
    qn_tensor_free(&t);
    return id;
}

qn_value_id qn_test_ints(qn_graph *graph, const char *name, int n, const int64_t *values)
{
    qn_error err;
    qn_error_init(&err);
    qn_tensor t;
    int64_t count = n;
    check(qn_tensor_alloc(&t, QN_DTYPE_S64, 1, &count, &err), &err);
    memcpy(t.data, values, (size_t)n * sizeof *values);
    qn_value_id id = add_constant(graph, name, &t);
    qn_tensor_free(&t);
    return id;
}

enum { MAX_NAMES = 16 };

/* Ids of the values in `names`; those that do not exist are made when `make`, else the test fails. */
static int parse_names(qn_graph *graph, const char *names, bool make, qn_value_id ids[MAX_NAMES])
{
    char copy[256];
    assert_true(strlen(names) < sizeof copy);
    strcpy(copy, names);
    int n = 0;
    char *rest = copy;
    for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL; n++) {
        assert_true(n < MAX_NAMES);
        ids[n] = strcmp(name, "-") == 0 ? QN_NO_VALUE : qn_graph_find(graph, name);
        if (ids[n] == QN_NO_VALUE && name[0] != '-') {
            qn_error err;
            qn_error_init(&err);
            assert_true(make);
            check(qn_graph_add_value(graph, name, &ids[n], &err), &err);
        }
    }
    return n;
}

qn_value_id qn_test_node(qn_graph *graph, const char *type, const char *inputs, const char *outputs, int n_attributes,
                         const qn_attribute *attributes)
{
    qn_value_id in[MAX_NAMES], out[MAX_NAMES];
    qn_attribute copies[8];
    assert_true(n_attributes <= 8);
    for (int i = 0; i < n_attributes; i++) {
        copies[i] = attributes[i];
    }
    qn_domain domain = QN_DOMAIN_ONNX;
    while (qn_op_find(domain, type) == QN_OP_UNKNOWN && domain < QN_DOMAIN_MICROSOFT) {
        domain++;
    }
    const qn_op op = qn_op_find(domain, type);
    qn_node node = {.name = outputs,
                    .op_type = type,
                    .domain = op != QN_OP_UNKNOWN ? qn_domain_name(domain) : "",
                    .op = op,
                    .inputs = in,
                    .outputs = out};
    node.n_inputs = parse_names(graph, inputs, false, in);
    node.n_outputs = parse_names(graph, outputs, true, out);
    node.n_attributes = n_attributes;
    node.attributes = copies;
    qn_error err;
    qn_error_init(&err);
    check(qn_graph_add_node(graph, &node, &err), &err);
    return out[0];
}

void qn_test_output(qn_graph *graph, const char *name)
{
    qn_error err;
    qn_error_init(&err);
    check(qn_graph_add_io(graph, true, qn_graph_find(graph, name), &err), &err);
}

void qn_test_expect_shape(const qn_binding *binding, const char *name, int rank, const int64_t *dims)
{
    qn_value_id id = qn_graph_find(binding->graph, name);
    assert_int_not_equal(id, QN_NO_VALUE);
    const qn_bound_value *value = &binding->values[id];
    int64_t count = 1;
    assert_int_equal(value->rank, rank);
    for (int i = 0; i < rank; i++) {
        assert_int_equal(value->dims[i], dims[i]);
        count *= dims[i];
    }
    assert_int_equal(value->n_elems, count);
}
