/* Graph -> ModelProto -> bytes. The message borrows the graph's strings and tensors. */
#include <string.h>

#include "onnx/narrow.h"
#include "onnx/onnx.h"
#include "onnx/org_quern.h"
#include "tensor/tensor_proto.h"

enum { N_DOMAINS = 4 };

typedef struct exporter {
    const qn_graph *graph;
    qn_arena arena;
    qn_error *err;
} exporter;

/* protobuf-c has no const; packing does not write. */
static void *borrow(const void *text)
{
    return (void *)(uintptr_t)text;
}

static qn_status fail_memory(const exporter *e)
{
    return qn_fail_memory(e->err, NULL, 0);
}

/* n messages and the array of pointers to them that protobuf-c wants, each set to its initial value. */
static void **make_messages(exporter *e, size_t n, size_t size, const void *initial)
{
    void **pointers = qn_arena_array(&e->arena, n, sizeof *pointers);
    unsigned char *messages = qn_arena_array(&e->arena, n, size);
    if (pointers == NULL || messages == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        pointers[i] = memcpy(messages + i * size, initial, size);
    }
    return pointers;
}

/* stored_type: as in qn_value. */
static qn_status fill_tensor(exporter *e, Onnx__TensorProto *proto, const qn_tensor *t, int32_t stored_type,
                             const char *name)
{
    size_t n_bytes = qn_tensor_bytes(t);
    void *bytes = stored_type != 0 ? qn_narrow_pack(&n_bytes, &e->arena, t, stored_type) : t->data;
    if (bytes == NULL && n_bytes > 0) {
        return fail_memory(e);
    }
    proto->name = borrow(name);
    proto->has_data_type = 1;
    proto->data_type = stored_type != 0 ? stored_type : qn_dtype_to_onnx(t->dtype);
    proto->n_dims = (size_t)t->rank;
    proto->dims = borrow(t->dims);
    proto->has_raw_data = 1;
    proto->raw_data = (ProtobufCBinaryData){.len = n_bytes, .data = bytes};
    return QN_OK;
}

/* Values in the order of their first mention, which does not depend on how the graph came to be. */
typedef struct value_list {
    qn_value_id *ids;
    size_t n;
    unsigned char *listed; /* per value */
} value_list;

static qn_status start_list(exporter *e, value_list *list)
{
    *list = (value_list){
        .ids = qn_arena_array(&e->arena, e->graph->n_values, sizeof *list->ids),
        .listed = qn_arena_alloc(&e->arena, e->graph->n_values),
    };
    return list->ids != NULL && list->listed != NULL ? QN_OK : fail_memory(e);
}

static void list_value(value_list *list, qn_value_id id)
{
    if (!list->listed[id]) {
        list->listed[id] = 1;
        list->ids[list->n++] = id;
    }
}

static qn_status add_initializers(exporter *e, Onnx__GraphProto *proto)
{
    static const Onnx__TensorProto initial = ONNX__TENSOR_PROTO__INIT;
    const qn_graph *graph = e->graph;
    value_list list;
    QN_TRY(start_list(e, &list));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->n_inputs; k++) {
            if (node->inputs[k] != QN_NO_VALUE && graph->values[node->inputs[k]].constant != NULL) {
                list_value(&list, node->inputs[k]);
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->values[graph->outputs[i]].constant != NULL) {
            list_value(&list, graph->outputs[i]);
        }
    }
    proto->initializer = (Onnx__TensorProto **)make_messages(e, list.n, sizeof initial, &initial);
    if (proto->initializer == NULL) {
        return fail_memory(e);
    }
    proto->n_initializer = list.n;
    for (size_t i = 0; i < list.n; i++) {
        const qn_value *value = &graph->values[list.ids[i]];
        QN_TRY(fill_tensor(e, proto->initializer[i], value->constant, value->stored_type, value->name));
    }
    return QN_OK;
}

static qn_status fill_shape(exporter *e, Onnx__TypeProto__Tensor *type, const qn_value *value)
{
    static const Onnx__TensorShapeProto initial = ONNX__TENSOR_SHAPE_PROTO__INIT;
    static const Onnx__TensorShapeProto__Dimension initial_dim = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
    size_t rank = (size_t)value->rank;
    type->shape = qn_arena_alloc(&e->arena, sizeof *type->shape);
    void **dims = make_messages(e, rank, sizeof initial_dim, &initial_dim);
    if (type->shape == NULL || dims == NULL) {
        return fail_memory(e);
    }
    *type->shape = initial;
    type->shape->dim = (Onnx__TensorShapeProto__Dimension **)dims;
    type->shape->n_dim = rank;
    for (size_t i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *dim = dims[i];
        if (value->dims[i] >= 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = value->dims[i];
        } else if (value->dim_names[i] != NULL) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = borrow(value->dim_names[i]);
        }
    }
    return QN_OK;
}

static qn_status fill_value_info(exporter *e, Onnx__ValueInfoProto *info, const qn_value *value)
{
    static const Onnx__TypeProto initial_type = ONNX__TYPE_PROTO__INIT;
    static const Onnx__TypeProto__Tensor initial_tensor = ONNX__TYPE_PROTO__TENSOR__INIT;
    info->name = borrow(value->name);
    if (value->dtype == QN_DTYPE_NONE) {
        return QN_OK;
    }
    info->type = qn_arena_alloc(&e->arena, sizeof *info->type);
    Onnx__TypeProto__Tensor *tensor = qn_arena_alloc(&e->arena, sizeof *tensor);
    if (info->type == NULL || tensor == NULL) {
        return fail_memory(e);
    }
    *info->type = initial_type;
    *tensor = initial_tensor;
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    info->type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = value->stored_type != 0 ? value->stored_type : qn_dtype_to_onnx(value->dtype);
    return value->rank >= 0 ? fill_shape(e, tensor, value) : QN_OK;
}

static qn_status add_value_infos(exporter *e, Onnx__ValueInfoProto ***infos, const qn_value_id *ids, size_t n)
{
    static const Onnx__ValueInfoProto initial = ONNX__VALUE_INFO_PROTO__INIT;
    *infos = (Onnx__ValueInfoProto **)make_messages(e, n, sizeof initial, &initial);
    if (*infos == NULL) {
        return fail_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        QN_TRY(fill_value_info(e, (*infos)[i], &e->graph->values[ids[i]]));
    }
    return QN_OK;
}

/* Declarations of inner values, where the graph has them. */
static qn_status add_inner_infos(exporter *e, Onnx__GraphProto *proto)
{
    const qn_graph *graph = e->graph;
    value_list list;
    QN_TRY(start_list(e, &list));
    for (size_t i = 0; i < graph->n_outputs; i++) { /* declared there */
        list.listed[graph->outputs[i]] = 1;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->n_outputs; k++) {
            qn_value_id id = node->outputs[k];
            if (id != QN_NO_VALUE && graph->values[id].dtype != QN_DTYPE_NONE && graph->values[id].rank >= 0) {
                list_value(&list, id);
            }
        }
    }
    proto->n_value_info = list.n;
    return add_value_infos(e, &proto->value_info, list.ids, list.n);
}

static ProtobufCBinaryData text_bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = borrow(text)};
}

static qn_status fill_strings(exporter *e, Onnx__AttributeProto *to, const qn_attribute *from)
{
    to->strings = qn_arena_array(&e->arena, (size_t)from->n, sizeof *to->strings);
    if (to->strings == NULL) {
        return fail_memory(e);
    }
    to->n_strings = (size_t)from->n;
    for (size_t i = 0; i < to->n_strings; i++) {
        to->strings[i] = text_bytes(from->strings[i]);
    }
    return QN_OK;
}

static qn_status fill_tensor_attribute(exporter *e, Onnx__AttributeProto *to, const qn_attribute *from)
{
    static const Onnx__TensorProto initial = ONNX__TENSOR_PROTO__INIT;
    to->t = qn_arena_alloc(&e->arena, sizeof *to->t);
    if (to->t == NULL) {
        return fail_memory(e);
    }
    *to->t = initial;
    return fill_tensor(e, to->t, from->tensor, 0, NULL);
}

static qn_status fill_attribute(exporter *e, Onnx__AttributeProto *to, const qn_attribute *from)
{
    static const Onnx__AttributeProto__AttributeType types[] = {
        [QN_ATTRIBUTE_INT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
        [QN_ATTRIBUTE_FLOAT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT,
        [QN_ATTRIBUTE_STRING] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
        [QN_ATTRIBUTE_INTS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
        [QN_ATTRIBUTE_FLOATS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS,
        [QN_ATTRIBUTE_STRINGS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS,
        [QN_ATTRIBUTE_TENSOR] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR,
    };
    to->name = borrow(from->name);
    to->has_type = 1;
    to->type = types[from->type];
    switch (from->type) {
    case QN_ATTRIBUTE_INT:
        to->has_i = 1;
        to->i = from->i;
        break;
    case QN_ATTRIBUTE_FLOAT:
        to->has_f = 1;
        to->f = from->f;
        break;
    case QN_ATTRIBUTE_STRING:
        to->has_s = 1;
        to->s = text_bytes(from->s);
        break;
    case QN_ATTRIBUTE_INTS:
        to->n_ints = (size_t)from->n;
        to->ints = borrow(from->ints);
        break;
    case QN_ATTRIBUTE_FLOATS:
        to->n_floats = (size_t)from->n;
        to->floats = borrow(from->floats);
        break;
    case QN_ATTRIBUTE_STRINGS:
        return fill_strings(e, to, from);
    case QN_ATTRIBUTE_TENSOR:
        return fill_tensor_attribute(e, to, from);
    }
    return QN_OK;
}

/* Names of values; "" for absent ones, which ONNX drops at the end of the list. */
static qn_status fill_names(exporter *e, char ***names, size_t *n_names, const qn_value_id *ids, int n)
{
    while (n > 0 && ids[n - 1] == QN_NO_VALUE) {
        n--;
    }
    *names = qn_arena_array(&e->arena, (size_t)n, sizeof **names);
    if (*names == NULL) {
        return fail_memory(e);
    }
    for (int i = 0; i < n; i++) {
        (*names)[i] = borrow(ids[i] == QN_NO_VALUE ? "" : e->graph->values[ids[i]].name);
    }
    *n_names = (size_t)n;
    return QN_OK;
}

static qn_status fill_node(exporter *e, Onnx__NodeProto *to, const qn_node *from)
{
    static const Onnx__AttributeProto initial = ONNX__ATTRIBUTE_PROTO__INIT;
    to->name = from->name[0] != '\0' ? borrow(from->name) : NULL;
    to->op_type = borrow(from->op_type);
    to->domain = from->domain[0] != '\0' ? borrow(from->domain) : NULL;
    QN_TRY(fill_names(e, &to->input, &to->n_input, from->inputs, from->n_inputs));
    QN_TRY(fill_names(e, &to->output, &to->n_output, from->outputs, from->n_outputs));
    size_t n = (size_t)from->n_attributes;
    to->attribute = (Onnx__AttributeProto **)make_messages(e, n, sizeof initial, &initial);
    if (to->attribute == NULL) {
        return fail_memory(e);
    }
    to->n_attribute = n;
    for (size_t i = 0; i < n; i++) {
        QN_TRY(fill_attribute(e, to->attribute[i], &from->attributes[i]));
    }
    return QN_OK;
}

static qn_status add_nodes(exporter *e, Onnx__GraphProto *proto)
{
    static const Onnx__NodeProto initial = ONNX__NODE_PROTO__INIT;
    proto->node = (Onnx__NodeProto **)make_messages(e, e->graph->n_nodes, sizeof initial, &initial);
    if (proto->node == NULL) {
        return fail_memory(e);
    }
    proto->n_node = e->graph->n_nodes;
    for (size_t i = 0; i < proto->n_node; i++) {
        QN_TRY(fill_node(e, proto->node[i], &e->graph->nodes[i]));
    }
    return QN_OK;
}

static qn_status fill_graph(exporter *e, Onnx__GraphProto *proto)
{
    const qn_graph *graph = e->graph;
    proto->name = borrow(graph->name[0] != '\0' ? graph->name : "graph"); /* ONNX wants a name */
    QN_TRY(add_initializers(e, proto));
    QN_TRY(add_nodes(e, proto));
    proto->n_input = graph->n_inputs;
    QN_TRY(add_value_infos(e, &proto->input, graph->inputs, graph->n_inputs));
    proto->n_output = graph->n_outputs;
    QN_TRY(add_value_infos(e, &proto->output, graph->outputs, graph->n_outputs));
    return add_inner_infos(e, proto);
}

static qn_status add_metadata(exporter *e, Onnx__ModelProto *model)
{
    static const Onnx__StringStringEntryProto initial = ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    size_t n = e->graph->n_metadata;
    model->metadata_props = (Onnx__StringStringEntryProto **)make_messages(e, n, sizeof initial, &initial);
    if (model->metadata_props == NULL) {
        return fail_memory(e);
    }
    model->n_metadata_props = n;
    for (size_t i = 0; i < n; i++) {
        model->metadata_props[i]->key = borrow(e->graph->metadata[i].key);
        model->metadata_props[i]->value = borrow(e->graph->metadata[i].value);
    }
    return QN_OK;
}

/* The IR version of the ONNX release that brought the opset; at least 4, since initializers are not listed as inputs.
 */
static int64_t ir_version_of(int64_t opset)
{
    static const int64_t versions[] = {
        [7] = 4,  [8] = 4,  [9] = 4,  [10] = 5, [11] = 6, [12] = 7, [13] = 7,  [14] = 7,
        [15] = 8, [16] = 8, [17] = 8, [18] = 8, [19] = 9, [20] = 9, [21] = 10,
    };
    return opset >= QN_OPSET_MIN && opset <= QN_OPSET_MAX ? versions[opset] : QN_IR_MAX;
}

static qn_status pack(unsigned char **data, size_t *n_bytes, const ProtobufCMessage *message, qn_error *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > INT32_MAX) {
        return qn_fail(err, QN_ELIMIT, NULL, "the model takes %zu bytes; an ONNX file holds 2 GiB at most", size);
    }
    unsigned char *bytes = qn_alloc(size);
    if (bytes == NULL) {
        return qn_fail_memory(err, NULL, size);
    }
    protobuf_c_message_pack(message, bytes);
    *data = bytes;
    *n_bytes = size;
    return QN_OK;
}

/* Domains that nodes are of, with the version that quern writes. */
static size_t list_domains(Onnx__OperatorSetIdProto *opsets, Onnx__OperatorSetIdProto **pointers, const qn_graph *graph)
{
    static const Onnx__OperatorSetIdProto initial = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    const char *const domains[N_DOMAINS] = {"", qn_org_domain, qn_domain_name(QN_DOMAIN_MICROSOFT),
                                            qn_domain_name(QN_DOMAIN_QONNX)};
    const int64_t versions[N_DOMAINS] = {graph->opset, QN_ORG_VERSION, 1, 1};
    size_t n = 0;
    for (size_t d = 0; d < N_DOMAINS; d++) {
        bool found = d == 0;
        for (size_t i = 0; i < graph->n_nodes && !found; i++) {
            found = strcmp(graph->nodes[i].domain, domains[d]) == 0;
        }
        if (found) {
            opsets[n] = initial;
            opsets[n].domain = borrow(domains[d]);
            opsets[n].has_version = 1;
            opsets[n].version = versions[d];
            pointers[n] = &opsets[n];
            n++;
        }
    }
    return n;
}

static qn_status serialize(exporter *e, unsigned char **data, size_t *n_bytes)
{
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__OperatorSetIdProto opsets[N_DOMAINS], *pointers[N_DOMAINS];
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    model.has_ir_version = 1;
    model.ir_version = ir_version_of(e->graph->opset);
    model.n_opset_import = list_domains(opsets, pointers, e->graph);
    model.opset_import = pointers;
    model.producer_name = borrow("quern");
    model.producer_version = borrow(qn_version());
    model.graph = &graph;
    QN_TRY(fill_graph(e, &graph));
    QN_TRY(add_metadata(e, &model));
    return pack(data, n_bytes, &model.base, e->err);
}

qn_status qn_onnx_serialize(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_error *err)
{
    exporter e = {.graph = graph, .err = err};
    qn_status status = serialize(&e, data, n_bytes);
    qn_arena_free(&e.arena);
    return status;
}
