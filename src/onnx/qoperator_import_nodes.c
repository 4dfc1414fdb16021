/* Nodes and values that stand for an operator on codes. */
#include <string.h>

#include "onnx/qoperator.h"
#include "tensor/tensor_proto.h"

static qn_status fail_memory(const qn_qoperator_importer *in)
{
    return qn_fail_memory(in->err, NULL, 0);
}

static qn_status add_value(const qn_qoperator_importer *in, const char *stem, qn_value_id *id)
{
    const char *name = stem != NULL ? qn_graph_unique_name(in->graph, stem) : NULL;
    if (name == NULL) {
        return fail_memory(in);
    }
    QN_TRY(qn_graph_add_value(in->graph, name, id, in->err));
    in->graph->values[*id].rank = -1;
    return QN_OK;
}

/* The value of floats for codes: called like them without "_quantized", and `extra` behind; else with `other`
 * behind. */
static qn_status add_float(const qn_qoperator_importer *in, qn_value_id codes, const char *extra, const char *other,
                           qn_value_id *id)
{
    static const char suffix[] = "_quantized";
    const char *name = in->graph->values[codes].name;
    const size_t n_suffix = sizeof suffix - 1;
    size_t n = strlen(name);
    const size_t digits = n;
    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') { /* _2, of a name that was taken */
        n--;
    }
    n = n < digits && n > 0 && name[n - 1] == '_' ? n - 1 : digits;
    const bool ends = n > n_suffix && strncmp(name + n - n_suffix, suffix, n_suffix) == 0;
    qn_arena *arena = &in->graph->arena;
    const char *stem = ends ? qn_arena_printf(arena, "%.*s%s", (int)(n - n_suffix), name, extra)
                            : qn_arena_printf(arena, "%s%s", name, other);
    QN_TRY(add_value(in, stem, id));
    qn_value *to = &in->graph->values[*id];
    const qn_value *from = &in->graph->values[codes];
    to->rank = from->rank;
    memcpy(to->dims, from->dims, sizeof to->dims);
    memcpy(to->dim_names, from->dim_names, sizeof to->dim_names);
    return QN_OK;
}

qn_status qn_qoperator_add_float(const qn_qoperator_importer *in, qn_value_id codes, qn_value_id *id)
{
    return add_float(in, codes, "", "_float", id);
}

qn_status qn_qoperator_add_constant(const qn_qoperator_importer *in, const char *name, const qn_tensor *t,
                                    qn_value_id *id)
{
    QN_TRY(add_value(in, name, id));
    return qn_graph_set_constant(in->graph, *id, t, in->err);
}

qn_status qn_qoperator_add_node(const qn_qoperator_importer *in, const char *type, const char *name, int n_inputs,
                                qn_value_id *inputs, int n_attributes, qn_attribute *attributes, qn_value_id *output)
{
    const qn_node node = {.name = qn_arena_printf(&in->graph->arena, "%s%s%s", name, name[0] != '\0' ? "_" : "", type),
                          .op_type = type,
                          .domain = "",
                          .op = qn_op_find(QN_DOMAIN_ONNX, type),
                          .n_inputs = n_inputs,
                          .n_outputs = 1,
                          .n_attributes = n_attributes,
                          .inputs = inputs,
                          .outputs = output,
                          .attributes = attributes};
    if (node.name == NULL) {
        return fail_memory(in);
    }
    if (*output == QN_NO_VALUE) {
        QN_TRY(add_value(in, node.name, output));
    }
    return qn_graph_add_node(in->graph, &node, in->err);
}

/* One scale needs no axis, unless it lies along one that has one element; of scales that are computed only the run tells
 * how many there are. */
static int axis_attribute(const qn_qoperator_importer *in, const qn_code_inputs *coded, qn_attribute *axis)
{
    const qn_tensor *scale = in->graph->values[coded->scale].constant, *t = in->graph->values[coded->codes].constant;
    *axis = (qn_attribute){.name = "axis", .type = QN_ATTRIBUTE_INT, .i = coded->axis};
    const int64_t at = t != NULL && coded->axis < 0 ? coded->axis + t->rank : coded->axis;
    const bool lies = t != NULL && scale != NULL && scale->rank == 1 && at >= 0 && at < t->rank && t->dims[at] == 1;
    return scale != NULL && qn_tensor_count(scale) == 1 && !lies ? 0 : 1;
}

qn_status qn_qoperator_decode(const qn_qoperator_importer *in, const qn_code_inputs *coded, qn_value_id *y)
{
    qn_attribute axis;
    const int n_attributes = axis_attribute(in, coded, &axis);
    qn_value_id inputs[3] = {coded->codes, coded->scale, coded->zero_point};
    /* What a node makes, that node's floats will be called after; of constants and inputs there are no others. */
    const bool made = in->graph->values[coded->codes].producer >= 0;
    QN_TRY(add_float(in, coded->codes, made ? "_dequantized" : "", made ? "_dequantized" : "_float", y));
    return qn_qoperator_add_node(in, "DequantizeLinear", in->graph->values[*y].name,
                                 coded->zero_point != QN_NO_VALUE ? 3 : 2, inputs, n_attributes, &axis, y);
}

qn_status qn_qoperator_encode(const qn_qoperator_importer *in, const qn_code_inputs *coded, qn_value_id y)
{
    qn_attribute axis;
    const int n_attributes = axis_attribute(in, coded, &axis);
    qn_value_id inputs[3] = {y, coded->scale, coded->zero_point}, codes = coded->codes;
    in->graph->values[codes].producer = -1;
    return qn_qoperator_add_node(in, "QuantizeLinear", in->graph->values[y].name,
                                 coded->zero_point != QN_NO_VALUE ? 3 : 2, inputs, n_attributes, &axis, &codes);
}
