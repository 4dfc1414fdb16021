/* The parts of an expansion: names, nodes and constants that are written out. */
#include <string.h>

#include "onnx/control_flow.h"

static qn_status fail_memory(const qn_expansion *e)
{
    return qn_fail_memory(e->err, e->where, 0);
}

qn_status qn_expansion_outer_name(qn_expansion *e, const char *name, qn_value_id *id)
{
    void *origins = e->origins;
    QN_TRY(qn_graph_add_value(&e->names, name, id, e->err));
    const qn_status status = qn_grow(&origins, &e->origins_capacity, (size_t)*id, sizeof *e->origins, e->err);
    e->origins = origins;
    QN_TRY(status);
    e->origins[*id] = (qn_origin){.node = -1, .initializer = -1, .input = -1};
    return QN_OK;
}

qn_status qn_expansion_name(qn_expansion *e, const char *stem, qn_value_id *id)
{
    const char *name = qn_graph_unique_name(&e->names, stem);
    return name != NULL ? qn_expansion_outer_name(e, name, id) : fail_memory(e);
}

static char *text_of(qn_expansion *e, qn_value_id id)
{
    static char none[1];
    return id == QN_NO_VALUE ? none : (char *)(uintptr_t)e->names.values[id].name;
}

static qn_status set_names(qn_expansion *e, char ***to, size_t *n_to, size_t n, const qn_value_id *ids)
{
    char **names = qn_arena_array(e->arena, n, sizeof *names);
    if (names == NULL) {
        return fail_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = text_of(e, ids[i]);
    }
    *to = names;
    *n_to = n;
    return QN_OK;
}

/* Runtimes want names that no other node has. */
static qn_status name_node(qn_expansion *e, Onnx__NodeProto *node)
{
    qn_value_id id;
    if (node->name == NULL || node->name[0] == '\0') {
        return QN_OK;
    }
    const char *name = qn_graph_unique_name(&e->node_names, node->name);
    if (name == NULL) {
        return fail_memory(e);
    }
    QN_TRY(qn_graph_add_value(&e->node_names, name, &id, e->err));
    node->name = (char *)(uintptr_t)e->node_names.values[id].name;
    return QN_OK;
}

qn_status qn_expansion_append(qn_expansion *e, const Onnx__NodeProto *like, size_t n_inputs, const qn_value_id *inputs,
                              size_t n_outputs, const qn_value_id *outputs, Onnx__NodeProto **made)
{
    if (e->n_nodes >= QN_CONTROL_MOST) {
        return qn_fail(e->err, QN_ELIMIT, e->where, "makes more than %d nodes when it is written out", QN_CONTROL_MOST);
    }
    void *nodes = e->nodes;
    const qn_status status = qn_grow(&nodes, &e->nodes_capacity, e->n_nodes, sizeof *e->nodes, e->err);
    e->nodes = nodes;
    QN_TRY(status);
    Onnx__NodeProto *node = qn_arena_alloc(e->arena, sizeof *node);
    if (node == NULL) {
        return fail_memory(e);
    }
    *node = *like;
    QN_TRY(name_node(e, node));
    QN_TRY(set_names(e, &node->input, &node->n_input, n_inputs, inputs));
    QN_TRY(set_names(e, &node->output, &node->n_output, n_outputs, outputs));
    for (size_t i = 0; i < n_outputs; i++) {
        if (outputs[i] != QN_NO_VALUE) {
            e->origins[outputs[i]].node = (int64_t)e->n_nodes;
        }
    }
    e->nodes[e->n_nodes++] = node;
    if (made != NULL) {
        *made = node;
    }
    return QN_OK;
}

qn_status qn_expansion_add(qn_expansion *e, const char *op_type, int n_inputs, const qn_value_id *inputs, qn_value_id y,
                           Onnx__NodeProto **node)
{
    Onnx__NodeProto like = ONNX__NODE_PROTO__INIT;
    like.op_type = qn_arena_string(e->arena, op_type);
    like.name = text_of(e, y);
    return like.op_type != NULL ? qn_expansion_append(e, &like, (size_t)n_inputs, inputs, 1, &y, node) : fail_memory(e);
}

qn_status qn_expansion_int(qn_expansion *e, Onnx__NodeProto *node, const char *name, int64_t value)
{
    static const Onnx__AttributeProto initial = ONNX__ATTRIBUTE_PROTO__INIT;
    Onnx__AttributeProto **list = qn_arena_array(e->arena, node->n_attribute + 1, sizeof *list);
    Onnx__AttributeProto *a = qn_arena_alloc(e->arena, sizeof *a);
    if (list == NULL || a == NULL) {
        return fail_memory(e);
    }
    *a = initial;
    a->name = qn_arena_string(e->arena, name);
    a->has_type = a->has_i = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = value;
    for (size_t i = 0; i < node->n_attribute; i++) {
        list[i] = node->attribute[i];
    }
    list[node->n_attribute++] = a;
    node->attribute = list;
    return a->name != NULL ? QN_OK : fail_memory(e);
}

qn_status qn_expansion_append_initializer(qn_expansion *e, const Onnx__TensorProto *like, qn_value_id id)
{
    void *list = e->initializers;
    const qn_status status =
        qn_grow(&list, &e->initializers_capacity, e->n_initializers, sizeof *e->initializers, e->err);
    e->initializers = list;
    QN_TRY(status);
    Onnx__TensorProto *tensor = qn_arena_alloc(e->arena, sizeof *tensor);
    if (tensor == NULL) {
        return fail_memory(e);
    }
    *tensor = *like;
    tensor->name = text_of(e, id);
    e->origins[id].initializer = (int64_t)e->n_initializers;
    e->initializers[e->n_initializers++] = tensor;
    return QN_OK;
}

qn_status qn_expansion_constant(qn_expansion *e, const char *stem, bool is_bool, int rank, int64_t n, const int64_t *v,
                                qn_value_id *id)
{
    Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
    const size_t size = is_bool ? 1 : sizeof(int64_t);
    uint8_t *data = qn_arena_alloc(e->arena, (size_t)n * size + 1);
    int64_t *dims = qn_arena_alloc(e->arena, sizeof *dims);
    if (data == NULL || dims == NULL) {
        return fail_memory(e);
    }
    for (int64_t i = 0; i < n; i++) {
        if (is_bool) {
            data[i] = v[i] != 0;
        } else {
            memcpy(data + (size_t)i * size, &v[i], size);
        }
    }
    *dims = n;
    t.has_data_type = 1;
    t.data_type = is_bool ? ONNX__TENSOR_PROTO__DATA_TYPE__BOOL : ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    t.n_dims = (size_t)rank;
    t.dims = dims;
    t.has_raw_data = 1;
    t.raw_data = (ProtobufCBinaryData){.len = (size_t)n * size, .data = data};
    QN_TRY(qn_expansion_name(e, stem, id));
    return qn_expansion_append_initializer(e, &t, *id);
}

qn_status qn_expansion_number(qn_expansion *e, int64_t number, qn_value_id *id)
{
    while ((int64_t)e->n_numbers <= number) {
        const int64_t next = (int64_t)e->n_numbers;
        void *numbers = e->numbers;
        const qn_status status = qn_grow(&numbers, &e->numbers_capacity, e->n_numbers, sizeof *e->numbers, e->err);
        const char *stem = qn_arena_printf(e->arena, "turn_%lld", (long long)next);
        e->numbers = numbers;
        QN_TRY(status);
        QN_TRY(stem != NULL ? QN_OK : fail_memory(e));
        QN_TRY(qn_expansion_constant(e, stem, false, 0, 1, &next, &e->numbers[e->n_numbers]));
        e->n_numbers++;
    }
    *id = e->numbers[number];
    return QN_OK;
}

qn_status qn_expansion_yes(qn_expansion *e, qn_value_id *id)
{
    const int64_t yes = 1;
    QN_TRY(e->yes == QN_NO_VALUE ? qn_expansion_constant(e, "holds", true, 0, 1, &yes, &e->yes) : QN_OK);
    *id = e->yes;
    return QN_OK;
}

qn_status qn_expansion_equal(qn_expansion *e, qn_value_id x, qn_value_id y)
{
    return qn_expansion_add(e, "Identity", 1, &x, y, NULL);
}

qn_status qn_expansion_scalar(qn_expansion *e, qn_value_id cond, qn_value_id *scalar)
{
    qn_value_id shape;
    QN_TRY(qn_expansion_constant(e, "scalar_shape", false, 1, 0, NULL, &shape));
    QN_TRY(qn_expansion_name(e, "condition", scalar));
    return qn_expansion_add(e, "Reshape", 2, (qn_value_id[]){cond, shape}, *scalar, NULL);
}

qn_status qn_expansion_where(qn_expansion *e, qn_value_id cond, qn_value_id a, qn_value_id b, qn_value_id y)
{
    qn_ahead both[2];
    bool seen;
    char why[QN_AHEAD_WHY];
    QN_TRY(qn_expansion_look(e, 2, (qn_value_id[]){a, b}, both, &seen, why));
    if (!seen) {
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "its condition is computed while the network runs, and the shapes of what it chooses from are "
                       "not known: %s",
                       why);
    }
    const bool same = both[0].dtype == both[1].dtype && both[0].rank == both[1].rank &&
                      memcmp(both[0].dims, both[1].dims, (size_t)both[0].rank * sizeof both[0].dims[0]) == 0;
    if (!same) {
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "its condition is computed while the network runs, and '%s' and '%s' differ in type or shape; "
                       "export the network with the branch that is meant",
                       text_of(e, a), text_of(e, b));
    }
    if (e->opset < 9) {
        return qn_fail(e->err, QN_EUNSUPPORTED, e->where,
                       "its condition is computed while the network runs, which needs opset 9 (Where)");
    }
    if (both[0].dtype != QN_DTYPE_BOOL) {
        return qn_expansion_add(e, "Where", 3, (qn_value_id[]){cond, a, b}, y, NULL);
    }
    qn_value_id otherwise, first, second; /* (cond and a) or (not cond and b): ONNX Runtime has no Where of bools */
    QN_TRY(qn_expansion_name(e, "otherwise", &otherwise));
    QN_TRY(qn_expansion_name(e, "first", &first));
    QN_TRY(qn_expansion_name(e, "second", &second));
    QN_TRY(qn_expansion_add(e, "Not", 1, &cond, otherwise, NULL));
    QN_TRY(qn_expansion_add(e, "And", 2, (qn_value_id[]){cond, a}, first, NULL));
    QN_TRY(qn_expansion_add(e, "And", 2, (qn_value_id[]){otherwise, b}, second, NULL));
    return qn_expansion_add(e, "Or", 2, (qn_value_id[]){first, second}, y, NULL);
}
