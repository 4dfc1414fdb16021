/* ModelProto -> graph: versions, inputs, outputs, initializers, metadata. Nodes are in import_node.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/passes.h"
#include "onnx/control_flow.h"
#include "onnx/narrow.h"
#include "onnx/onnx.h"
#include "onnx/org_quern.h"
#include "onnx/qdq.h"
#include "tensor/protobuf.h"
#include "tensor/tensor_proto.h"

enum { WHERE_MAX = 256, MAX_OUTPUTS = 4096 };

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static bool is_default_domain(const char *domain)
{
    return domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
}

/* Nodes of domain org.quern mean what its version says. */
static qn_status check_org_version(const Onnx__ModelProto *model, qn_error *err)
{
    bool declared = false;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (strcmp(text_or_empty(set->domain), qn_org_domain) != 0) {
            continue;
        }
        declared = true;
        if (!set->has_version || set->version != QN_ORG_VERSION) {
            return qn_fail(err, QN_EUNSUPPORTED, NULL, "version %" PRId64 " of domain %s is not supported; %d is",
                           set->has_version ? set->version : 0, qn_org_domain, QN_ORG_VERSION);
        }
    }
    for (size_t i = 0; i < model->graph->n_node && !declared; i++) {
        if (strcmp(text_or_empty(model->graph->node[i]->domain), qn_org_domain) == 0) {
            return qn_fail(err, QN_EFORMAT, NULL, "node %zu '%s' is of domain %s, which opset_import does not list", i,
                           text_or_empty(model->graph->node[i]->name), qn_org_domain);
        }
    }
    return QN_OK;
}

static qn_status import_versions(qn_graph *graph, const Onnx__ModelProto *model, qn_error *err)
{
    graph->ir_version = model->has_ir_version ? model->ir_version : 0;
    if (graph->ir_version < QN_IR_MIN || graph->ir_version > QN_IR_MAX) {
        return qn_fail(err, QN_EUNSUPPORTED, NULL, "IR version %" PRId64 " is not supported; %d to %d are",
                       graph->ir_version, QN_IR_MIN, QN_IR_MAX);
    }
    for (size_t i = 0; i < model->n_opset_import; i++) {
        if (is_default_domain(model->opset_import[i]->domain)) {
            graph->opset = model->opset_import[i]->has_version ? model->opset_import[i]->version : 0;
        }
    }
    if (graph->opset < QN_OPSET_MIN || graph->opset > QN_OPSET_MAX) {
        return qn_fail(err, QN_EUNSUPPORTED, NULL,
                       "opset %" PRId64 " is not supported; %d to %d are (onnx.version_converter can change it)",
                       graph->opset, QN_OPSET_MIN, QN_OPSET_MAX);
    }
    QN_TRY(qn_qonnx_check_versions(model, err));
    return check_org_version(model, err);
}

qn_status qn_onnx_set_constant(qn_graph *graph, const char *name, const qn_tensor *tensor, bool lasting,
                               const char *where, qn_error *err)
{
    QN_TRY(qn_onnx_check_numbers(tensor, where, err));
    qn_value_id id = qn_graph_find(graph, name);
    if (id == QN_NO_VALUE) {
        QN_TRY(qn_graph_add_value(graph, name, &id, err));
    }
    return (lasting ? qn_graph_share_constant : qn_graph_set_constant)(graph, id, tensor, err);
}

static qn_status import_initializer(qn_graph *graph, const Onnx__TensorProto *proto, size_t index,
                                    const qn_tensor_home *home, qn_error *err)
{
    char where[WHERE_MAX];
    snprintf(where, sizeof where, "initializer %zu '%s'", index, text_or_empty(proto->name));
    if (text_or_empty(proto->name)[0] == '\0') {
        return qn_fail(err, QN_EFORMAT, where, "has no name");
    }
    if (qn_graph_find(graph, proto->name) != QN_NO_VALUE) {
        return qn_fail(err, QN_EFORMAT, where, "another initializer has this name");
    }
    qn_tensor tensor;
    bool narrow = proto->has_data_type && qn_narrow_is_type(proto->data_type);
    QN_TRY((narrow ? qn_narrow_from_proto : qn_tensor_from_proto)(&tensor, proto, home, where, err));
    qn_status status = qn_onnx_set_constant(graph, proto->name, &tensor, !tensor.owns_data, where, err);
    qn_tensor_free(&tensor);
    QN_TRY(status);
    graph->values[qn_graph_find(graph, proto->name)].stored_type = narrow ? proto->data_type : 0;
    return QN_OK;
}

static qn_status refuse_narrow(const qn_graph *graph, const qn_value_id *ids, size_t n, const qn_node *node,
                               qn_error *err)
{
    const bool codes = node != NULL && (node->op == QN_OP_QUANTIZE_LINEAR || node->op == QN_OP_DEQUANTIZE_LINEAR);
    for (size_t i = 0; i < n && !codes; i++) {
        const qn_value *value = ids[i] != QN_NO_VALUE ? &graph->values[ids[i]] : NULL;
        if (value != NULL && value->constant != NULL && value->stored_type != 0) {
            return qn_fail(err, QN_EUNSUPPORTED, NULL,
                           "initializer '%s': unsupported data type %" PRId32 " (%s), except as codes of "
                           "DequantizeLinear",
                           value->name, value->stored_type, qn_onnx_type_name(value->stored_type));
        }
    }
    return QN_OK;
}

/* Constants of types without dtype are gone once they are codes, but those that nodes decode while they run. */
static qn_status check_narrow(const qn_graph *graph, qn_error *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        QN_TRY(refuse_narrow(graph, graph->nodes[i].inputs, (size_t)graph->nodes[i].n_inputs, &graph->nodes[i], err));
    }
    return refuse_narrow(graph, graph->outputs, graph->n_outputs, NULL, err);
}

static qn_status declare_dim(qn_graph *graph, qn_value *value, int axis, const Onnx__TensorShapeProto__Dimension *dim,
                             qn_error *err)
{
    bool known = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && dim->dim_value >= 0;
    value->dims[axis] = known ? dim->dim_value : -1;
    if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
        text_or_empty(dim->dim_param)[0] != '\0') {
        value->dim_names[axis] = qn_arena_string(&graph->arena, dim->dim_param);
        if (value->dim_names[axis] == NULL) {
            return qn_fail_memory(err, NULL, strlen(dim->dim_param));
        }
    }
    return QN_OK;
}

/* Type and shape of a value as the file declares them. */
static qn_status declare(qn_graph *graph, qn_value_id id, const Onnx__TypeProto *type, const char *where, qn_error *err)
{
    qn_value *value = &graph->values[id];
    value->rank = -1;
    if (type == NULL || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) {
        return QN_OK;
    }
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return qn_fail(err, QN_EUNSUPPORTED, where,
                       "is a sequence, map, optional or sparse tensor; quern has dense "
                       "tensors only");
    }
    const Onnx__TypeProto__Tensor *tensor = type->tensor_type;
    int32_t elem_type = tensor->has_elem_type ? tensor->elem_type : 0;
    value->dtype = qn_narrow_is_type(elem_type) ? qn_narrow_dtype(elem_type) : qn_dtype_of_onnx(elem_type);
    value->stored_type = qn_narrow_is_type(elem_type) ? elem_type : 0;
    if (value->dtype == QN_DTYPE_NONE && elem_type != 0) {
        return qn_fail(err, QN_EUNSUPPORTED, where, "unsupported data type %" PRId32 " (%s)", elem_type,
                       qn_onnx_type_name(elem_type));
    }
    if (tensor->shape == NULL) {
        return QN_OK;
    }
    if (tensor->shape->n_dim > QN_MAX_RANK) {
        return qn_fail(err, QN_ELIMIT, where, "has %zu dimensions, %d at most are supported", tensor->shape->n_dim,
                       QN_MAX_RANK);
    }
    value->rank = (int)tensor->shape->n_dim;
    for (int i = 0; i < value->rank; i++) {
        QN_TRY(declare_dim(graph, value, i, tensor->shape->dim[i], err));
    }
    return QN_OK;
}

static qn_status import_inputs(qn_graph *graph, const Onnx__GraphProto *proto, qn_error *err)
{
    for (size_t i = 0; i < proto->n_input; i++) {
        const char *name = text_or_empty(proto->input[i]->name);
        char where[WHERE_MAX];
        snprintf(where, sizeof where, "graph input %zu '%s'", i, name);
        if (name[0] == '\0') {
            return qn_fail(err, QN_EFORMAT, where, "has no name");
        }
        qn_value_id id = qn_graph_find(graph, name);
        if (id != QN_NO_VALUE && graph->values[id].constant != NULL) {
            continue; /* the default of an initializer that callers may replace; quern takes it as constant */
        }
        if (id != QN_NO_VALUE) {
            return qn_fail(err, QN_EFORMAT, where, "another input has this name");
        }
        QN_TRY(qn_graph_add_value(graph, name, &id, err));
        QN_TRY(declare(graph, id, proto->input[i]->type, where, err));
        QN_TRY(qn_graph_add_io(graph, false, id, err));
    }
    return QN_OK;
}

static qn_status import_outputs(qn_graph *graph, const Onnx__GraphProto *proto, qn_error *err)
{
    if (proto->n_output == 0 || proto->n_output > MAX_OUTPUTS) { /* looked up by linear search */
        return qn_fail(err, QN_EFORMAT, NULL, "the graph has %zu outputs, where 1 to %d are needed", proto->n_output,
                       MAX_OUTPUTS);
    }
    for (size_t i = 0; i < proto->n_output; i++) {
        const char *name = text_or_empty(proto->output[i]->name);
        char where[WHERE_MAX];
        snprintf(where, sizeof where, "graph output %zu '%s'", i, name);
        qn_value_id id = qn_graph_find(graph, name);
        if (id == QN_NO_VALUE) {
            return qn_fail(err, QN_EFORMAT, where, "nothing in the graph makes it");
        }
        if (qn_graph_is_output(graph, id)) {
            return qn_fail(err, QN_EFORMAT, where, "is listed twice");
        }
        if (graph->values[id].producer >= 0) {
            QN_TRY(declare(graph, id, proto->output[i]->type, where, err));
        }
        QN_TRY(qn_graph_add_io(graph, true, id, err));
    }
    return QN_OK;
}

/* Declarations of inner values are hints: one for a value that does not exist, is no tensor, or holds codes for which
 * there is no dtype, is ignored. */
static qn_status import_value_infos(qn_graph *graph, const Onnx__GraphProto *proto, qn_error *err)
{
    for (size_t i = 0; i < proto->n_value_info; i++) {
        const Onnx__ValueInfoProto *info = proto->value_info[i];
        qn_value_id id = qn_graph_find(graph, text_or_empty(info->name));
        if (id == QN_NO_VALUE || graph->values[id].producer < 0 || info->type == NULL ||
            info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
            qn_narrow_is_type(info->type->tensor_type->elem_type)) {
            continue;
        }
        char where[WHERE_MAX];
        snprintf(where, sizeof where, "value '%s'", info->name);
        QN_TRY(declare(graph, id, info->type, where, err));
    }
    return QN_OK;
}

static qn_status import_metadata(qn_graph *graph, const Onnx__ModelProto *model, qn_error *err)
{
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const char *key = text_or_empty(model->metadata_props[i]->key);
        if (qn_graph_get_metadata(graph, key) != NULL) {
            return qn_fail(err, QN_EFORMAT, "metadata_props", "key '%s' occurs twice", key);
        }
        QN_TRY(qn_graph_set_metadata(graph, key, text_or_empty(model->metadata_props[i]->value), err));
    }
    return QN_OK;
}

qn_status qn_onnx_import_parts(qn_graph *graph, const Onnx__GraphProto *proto, const qn_tensor_home *home,
                               qn_error *err)
{
    if (proto->n_sparse_initializer > 0) {
        const Onnx__TensorProto *values = proto->sparse_initializer[0]->values;
        return qn_fail(err, QN_EUNSUPPORTED, NULL, "sparse initializer '%s' (%zu in all): quern has dense tensors only",
                       values != NULL ? text_or_empty(values->name) : "", proto->n_sparse_initializer);
    }
    for (size_t i = 0; i < proto->n_initializer; i++) {
        QN_TRY(import_initializer(graph, proto->initializer[i], i, home, err));
    }
    QN_TRY(import_inputs(graph, proto, err));
    return qn_onnx_import_nodes(graph, proto, home, err);
}

qn_status qn_onnx_read_quantizers(qn_graph *graph, qn_error *err)
{
    QN_TRY(qn_microsoft_import(graph, err));
    QN_TRY(qn_qoperator_import(graph, err));
    QN_TRY(qn_qdq_is_quern(graph) ? QN_OK : qn_qdq_code_biases(graph, err));
    return qn_qdq_fold(graph, err);
}

static qn_status import_graph(qn_graph *graph, const Onnx__GraphProto *proto, const qn_tensor_home *home, qn_error *err)
{
    qn_arena arena = {0};
    Onnx__GraphProto *expanded = NULL;
    const bool has_control = qn_control_flow_has(proto);
    qn_status status = has_control ? qn_control_flow_expand(&expanded, proto, graph->opset, home, &arena, err) : QN_OK;
    if (home->lasting) {
        qn_arena_take(&graph->arena, &arena);
    }
    if (status == QN_OK) {
        status = qn_onnx_import_parts(graph, has_control ? expanded : proto, home, err);
    }
    qn_arena_free(&arena);
    QN_TRY(status);
    QN_TRY(import_value_infos(graph, proto, err));
    QN_TRY(import_outputs(graph, proto, err));
    QN_TRY(qn_graph_tidy(graph, err));
    QN_TRY(has_control ? qn_graph_drop_copies(graph, err) : QN_OK);
    QN_TRY(qn_onnx_read_quantizers(graph, err));
    QN_TRY(qn_qdq_read_bits(graph, err));
    QN_TRY(qn_graph_tidy(graph, err));
    QN_TRY(check_narrow(graph, err));
    QN_TRY(qn_onnx_check_infinities(graph, err));
    QN_TRY(qn_qdq_choose_sums(graph, err));
    return qn_graph_verify(graph, err);
}

static qn_status import_model(qn_graph *graph, const Onnx__ModelProto *model, const qn_tensor_home *home, qn_error *err)
{
    QN_TRY(import_versions(graph, model, err));
    graph->name = qn_arena_string(&graph->arena, text_or_empty(model->graph->name));
    graph->producer = qn_arena_string(&graph->arena, text_or_empty(model->producer_name));
    if (graph->name == NULL || graph->producer == NULL) {
        return qn_fail_memory(err, NULL, 0);
    }
    QN_TRY(import_metadata(graph, model, err));
    qn_arithmetic ignored;
    QN_TRY(qn_graph_get_arithmetic(graph, &ignored, err)); /* what is wrong there is wrong now, not at the first run */
    return import_graph(graph, model->graph, home, err);
}

/* The parser's own words help only with files that once were ONNX. */
static qn_status unpack(Onnx__ModelProto **model, qn_arena *arena, const void *data, size_t n_bytes, qn_error *err)
{
    qn_error inner;
    qn_error_init(&inner);
    ProtobufCMessage *message = NULL;
    qn_status status = qn_protobuf_unpack(&message, &onnx__model_proto__descriptor, arena, data, n_bytes, NULL, &inner);
    *model = (Onnx__ModelProto *)message;
    bool is_model = status == QN_OK && (*model)->graph != NULL;
    const char *looks = is_model || status == QN_ENOMEM ? NULL : qn_onnx_sniff(data, n_bytes);
    if (looks != NULL) {
        return qn_fail(err, QN_EFORMAT, NULL, "is not an ONNX model: it is %s", looks);
    }
    if (status != QN_OK) {
        return qn_fail_at(err, status, inner.byte_offset, NULL, "%s%s",
                          status == QN_EFORMAT ? "truncated, damaged, or no ONNX model: " : "", inner.message);
    }
    return is_model ? QN_OK : qn_fail(err, QN_EFORMAT, NULL, "truncated, damaged, or no ONNX model: it has no graph");
}

/* Most of the file is weights that need no conversion: keeping the message costs less than copies of them. */
static bool mostly_raw(const Onnx__GraphProto *graph, size_t n_bytes)
{
    size_t raw = 0; /* at most n_bytes: they were parsed from it */
    for (size_t i = 0; i < graph->n_initializer; i++) {
        raw += graph->initializer[i]->raw_data.len;
    }
    return raw >= n_bytes / 2;
}

qn_status qn_onnx_import(qn_graph *graph, const void *data, size_t n_bytes, const qn_tensor_home *home,
                         qn_file_bytes *spent, qn_error *err)
{
    qn_arena arena = {0};
    Onnx__ModelProto *model;
    qn_status status = unpack(&model, &arena, data, n_bytes, err);
    if (spent != NULL) {
        qn_file_bytes_free(spent);
    }
    if (status == QN_OK) {
        qn_tensor_home here = *home;
        here.lasting = mostly_raw(model->graph, n_bytes);
        if (here.lasting) {
            qn_arena_take(&graph->arena, &arena);
        }
        status = import_model(graph, model, &here, err);
    }
    qn_arena_free(&arena);
    return status;
}
