/* NodeProto -> nodes and constants. Values of all outputs are made first, so that nodes may come in any order. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/org_quern.h"
#include "tensor/tensor_proto.h"

enum { WHERE_MAX = 256 };

typedef struct importer {
    qn_graph *graph;
    qn_arena *scratch; /* attributes on their way: qn_graph_add_node copies them */
    const qn_tensor_home *home;
    const char *where; /* of the node under way */
    qn_error *err;
} importer;

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static qn_status fail_memory(const importer *in)
{
    return qn_fail_memory(in->err, in->where, 0);
}

/* 0-terminated copy of bytes, which must hold no zero. */
static qn_status copy_text(const importer *in, const char **text, const ProtobufCBinaryData *bytes, const char *name)
{
    if (bytes->len > 0 && memchr(bytes->data, 0, bytes->len) != NULL) {
        return qn_fail(in->err, QN_EFORMAT, in->where, "text of attribute %s contains a zero byte", name);
    }
    *text = qn_arena_bytes(in->scratch, bytes->data, bytes->len);
    return *text != NULL ? QN_OK : fail_memory(in);
}

static qn_status copy_strings(const importer *in, qn_attribute *to, const Onnx__AttributeProto *from)
{
    const char **strings = qn_arena_array(in->scratch, from->n_strings, sizeof *strings);
    if (strings == NULL) {
        return fail_memory(in);
    }
    for (size_t i = 0; i < from->n_strings; i++) {
        QN_TRY(copy_text(in, &strings[i], &from->strings[i], from->name));
    }
    to->strings = strings;
    to->n = (int64_t)from->n_strings;
    return QN_OK;
}

static qn_status copy_numbers(const importer *in, void *to, size_t n, const void *from, size_t elem_size)
{
    if (to == NULL) {
        return fail_memory(in);
    }
    if (n > 0) {
        memcpy(to, from, n * elem_size);
    }
    return QN_OK;
}

static qn_status copy_tensor(const importer *in, qn_attribute *to, const Onnx__AttributeProto *from)
{
    if (from->t == NULL) {
        return qn_fail(in->err, QN_EFORMAT, in->where, "attribute %s holds no tensor", from->name);
    }
    char where[2 * WHERE_MAX];
    snprintf(where, sizeof where, "%s, attribute %s", in->where, from->name);
    qn_tensor tensor;
    QN_TRY(qn_tensor_from_proto(&tensor, from->t, in->home, where, in->err));
    qn_tensor *copy = qn_arena_alloc(in->scratch, sizeof *copy);
    void *data = qn_arena_bytes(in->scratch, tensor.data, qn_tensor_bytes(&tensor));
    if (copy != NULL && data != NULL) {
        *copy = tensor;
        copy->data = data;
        copy->owns_data = false;
    }
    qn_tensor_free(&tensor);
    to->tensor = copy;
    return copy != NULL && data != NULL ? QN_OK : fail_memory(in);
}

/* Can a qn_attribute hold it? Others (subgraphs, types, lists of tensors) make their node one that quern does not know.
 */
static bool is_plain(const Onnx__AttributeProto *attribute)
{
    switch (attribute->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        return true;
    default:
        return false;
    }
}

/* Infinities are bounds (Clip); NaN means nothing anywhere. */
static qn_status check_numbers(const importer *in, const Onnx__AttributeProto *attribute, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            return qn_fail(in->err, QN_ERANGE, in->where, "attribute %s is NaN", attribute->name);
        }
    }
    return QN_OK;
}

static qn_status import_attribute(const importer *in, qn_attribute *to, const Onnx__AttributeProto *from)
{
    float *floats;
    int64_t *ints;
    to->name = qn_arena_string(in->scratch, from->name);
    if (to->name == NULL) {
        return fail_memory(in);
    }
    switch (from->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        to->type = QN_ATTRIBUTE_FLOAT;
        to->f = from->has_f ? from->f : 0.0f;
        return check_numbers(in, from, &to->f, 1);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        to->type = QN_ATTRIBUTE_INT;
        to->i = from->has_i ? from->i : 0;
        return QN_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        to->type = QN_ATTRIBUTE_STRING;
        return copy_text(in, &to->s, &from->s, from->name);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        to->type = QN_ATTRIBUTE_TENSOR;
        return copy_tensor(in, to, from);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        to->type = QN_ATTRIBUTE_FLOATS;
        to->n = (int64_t)from->n_floats;
        QN_TRY(check_numbers(in, from, from->floats, from->n_floats));
        floats = qn_arena_array(in->scratch, from->n_floats, sizeof *floats);
        to->floats = floats;
        return copy_numbers(in, floats, from->n_floats, from->floats, sizeof *floats);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        to->type = QN_ATTRIBUTE_INTS;
        to->n = (int64_t)from->n_ints;
        ints = qn_arena_array(in->scratch, from->n_ints, sizeof *ints);
        to->ints = ints;
        return copy_numbers(in, ints, from->n_ints, from->ints, sizeof *ints);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        to->type = QN_ATTRIBUTE_STRINGS;
        return copy_strings(in, to, from);
    default:
        return qn_fail(in->err, QN_EINTERNAL, in->where, "attribute %s is not plain", from->name);
    }
}

static qn_status check_attribute(const importer *in, const Onnx__NodeProto *node, size_t index)
{
    const Onnx__AttributeProto *attribute = node->attribute[index];
    const char *name = text_or_empty(attribute->name);
    if (name[0] == '\0') {
        return qn_fail(in->err, QN_EFORMAT, in->where, "attribute %zu has no name", index);
    }
    if (text_or_empty(attribute->ref_attr_name)[0] != '\0') {
        return qn_fail(in->err, QN_EFORMAT, in->where,
                       "attribute %s refers to a function's attribute outside a function", name);
    }
    if (!attribute->has_type || attribute->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) {
        return qn_fail(in->err, QN_EFORMAT, in->where, "attribute %s has no type", name);
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(text_or_empty(node->attribute[i]->name), name) == 0) {
            return qn_fail(in->err, QN_EFORMAT, in->where, "attribute %s occurs twice", name);
        }
    }
    return QN_OK;
}

/* *all_plain tells whether every attribute could be kept. */
static qn_status import_attributes(const importer *in, qn_node *to, const Onnx__NodeProto *from, bool *all_plain)
{
    *all_plain = true;
    to->attributes = qn_arena_array(in->scratch, from->n_attribute, sizeof *to->attributes);
    if (to->attributes == NULL) {
        return fail_memory(in);
    }
    for (size_t i = 0; i < from->n_attribute; i++) {
        QN_TRY(check_attribute(in, from, i));
        if (!is_plain(from->attribute[i])) {
            *all_plain = false;
            continue;
        }
        QN_TRY(import_attribute(in, &to->attributes[to->n_attributes], from->attribute[i]));
        to->n_attributes++;
    }
    return QN_OK;
}

/* Constant: the value_* attributes that are tensors or numbers. */
static qn_status constant_tensor(const importer *in, qn_tensor *view, const qn_node *node)
{
    const qn_attribute *a = node->n_attributes == 1 ? &node->attributes[0] : NULL;
    *view = (qn_tensor){0};
    if (a != NULL && strcmp(a->name, "value") == 0 && a->type == QN_ATTRIBUTE_TENSOR) {
        *view = *a->tensor;
    } else if (a != NULL && strcmp(a->name, "value_float") == 0 && a->type == QN_ATTRIBUTE_FLOAT) {
        *view = (qn_tensor){.dtype = QN_DTYPE_F32, .data = (void *)(uintptr_t)&a->f};
    } else if (a != NULL && strcmp(a->name, "value_int") == 0 && a->type == QN_ATTRIBUTE_INT) {
        *view = (qn_tensor){.dtype = QN_DTYPE_S64, .data = (void *)(uintptr_t)&a->i};
    } else if (a != NULL && strcmp(a->name, "value_floats") == 0 && a->type == QN_ATTRIBUTE_FLOATS) {
        *view = (qn_tensor){.dtype = QN_DTYPE_F32, .rank = 1, .dims = {a->n}, .data = (void *)(uintptr_t)a->floats};
    } else if (a != NULL && strcmp(a->name, "value_ints") == 0 && a->type == QN_ATTRIBUTE_INTS) {
        *view = (qn_tensor){.dtype = QN_DTYPE_S64, .rank = 1, .dims = {a->n}, .data = (void *)(uintptr_t)a->ints};
    } else {
        return qn_fail(in->err, QN_EUNSUPPORTED, in->where,
                       "a Constant must hold a dense tensor of numbers, in exactly one attribute");
    }
    return QN_OK;
}

static bool is_constant(const qn_node *node)
{
    return node->domain[0] == '\0' && strcmp(node->op_type, "Constant") == 0;
}

/* A value that a node reads or writes, or QN_NO_VALUE for an absent optional one. */
static qn_status resolve(const importer *in, qn_value_id *ids, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = names[i][0] == '\0' ? QN_NO_VALUE : qn_graph_find(in->graph, names[i]);
        if (names[i][0] != '\0' && ids[i] == QN_NO_VALUE) {
            return qn_fail(in->err, QN_EFORMAT, in->where, "reads '%s', which nothing in the graph makes", names[i]);
        }
    }
    return QN_OK;
}

static qn_status import_node(const importer *in, const Onnx__NodeProto *from)
{
    bool is_default = strcmp(text_or_empty(from->domain), "ai.onnx") == 0;
    qn_node node = {
        .name = text_or_empty(from->name),
        .op_type = text_or_empty(from->op_type),
        .domain = is_default ? "" : text_or_empty(from->domain),
    };
    bool all_plain;
    QN_TRY(import_attributes(in, &node, from, &all_plain));
    if (!all_plain && strcmp(node.domain, qn_org_domain) == 0) {
        return qn_fail(in->err, QN_EFORMAT, in->where, "nodes of domain %s have no graphs, types or lists of tensors",
                       qn_org_domain);
    }
    if (is_constant(&node)) {
        qn_tensor view;
        QN_TRY(constant_tensor(in, &view, &node));
        if (from->n_output != 1 || from->output[0][0] == '\0') {
            return qn_fail(in->err, QN_EFORMAT, in->where, "a Constant has one output");
        }
        return qn_onnx_set_constant(in->graph, from->output[0], &view, false, in->where, in->err);
    }
    const qn_op op = qn_op_find(qn_domain_find(node.domain), node.op_type);
    node.op = all_plain && qn_op_in_opset(op, in->graph->opset) ? op : QN_OP_UNKNOWN;
    if (qn_op_domain(node.op) == QN_DOMAIN_QONNX) { /* of several names the one that is written */
        node.op_type = qn_op_type(node.op);
        node.domain = qn_domain_name(QN_DOMAIN_QONNX);
    }
    node.inputs = qn_arena_array(in->scratch, from->n_input, sizeof *node.inputs);
    node.outputs = qn_arena_array(in->scratch, from->n_output, sizeof *node.outputs);
    if (node.inputs == NULL || node.outputs == NULL) {
        return fail_memory(in);
    }
    QN_TRY(resolve(in, node.inputs, from->input, from->n_input));
    QN_TRY(resolve(in, node.outputs, from->output, from->n_output));
    node.n_inputs = (int)from->n_input;
    node.n_outputs = (int)from->n_output;
    return qn_graph_add_node(in->graph, &node, in->err);
}

static qn_status check_node(const importer *in, const Onnx__NodeProto *node)
{
    enum { MAX_EDGES = 1 << 20 };
    if (text_or_empty(node->op_type)[0] == '\0') {
        return qn_fail(in->err, QN_EFORMAT, in->where, "has no operator type");
    }
    if (node->n_input > MAX_EDGES || node->n_output > MAX_EDGES || node->n_attribute > 1024) {
        return qn_fail(in->err, QN_ELIMIT, in->where, "has %zu inputs, %zu outputs, %zu attributes", node->n_input,
                       node->n_output, node->n_attribute);
    }
    return QN_OK;
}

static qn_status declare_outputs(const importer *in, const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_output; i++) {
        if (node->output[i][0] == '\0') {
            continue;
        }
        if (qn_graph_find(in->graph, node->output[i]) != QN_NO_VALUE) {
            return qn_fail(in->err, QN_EFORMAT, in->where,
                           "writes '%s', which a graph input, an initializer or another node also makes",
                           node->output[i]);
        }
        qn_value_id id;
        QN_TRY(qn_graph_add_value(in->graph, node->output[i], &id, in->err));
    }
    return QN_OK;
}

/* Everything else counts on a first output. One that the file leaves out gets a name that nobody reads. */
static qn_status name_first_output(const importer *in, Onnx__NodeProto *node)
{
    if (node->n_output < 2 || node->output[0][0] != '\0') {
        return QN_OK;
    }
    char *stem = NULL;
    for (size_t i = 1; stem == NULL && i < node->n_output; i++) {
        stem = node->output[i][0] != '\0' ? qn_arena_printf(in->scratch, "%s_first", node->output[i]) : NULL;
    }
    const char *name = stem != NULL ? qn_graph_unique_name(in->graph, stem) : NULL;
    node->output[0] = name != NULL ? qn_arena_string(&in->graph->arena, name) : node->output[0];
    return name == NULL || node->output[0] != NULL ? QN_OK : fail_memory(in);
}

static void name_node(char where[WHERE_MAX], size_t index, const Onnx__NodeProto *node)
{
    snprintf(where, WHERE_MAX, "node %zu %s '%s'", index, text_or_empty(node->op_type), text_or_empty(node->name));
}

static qn_status import_nodes(const importer *in, char where[WHERE_MAX], const Onnx__GraphProto *proto)
{
    for (size_t i = 0; i < proto->n_node; i++) {
        name_node(where, i, proto->node[i]);
        QN_TRY(check_node(in, proto->node[i]));
        QN_TRY(name_first_output(in, proto->node[i]));
        QN_TRY(declare_outputs(in, proto->node[i]));
    }
    for (size_t i = 0; i < proto->n_node; i++) {
        name_node(where, i, proto->node[i]);
        QN_TRY(import_node(in, proto->node[i]));
    }
    return QN_OK;
}

qn_status qn_onnx_import_nodes(qn_graph *graph, const Onnx__GraphProto *proto, const qn_tensor_home *home,
                               qn_error *err)
{
    char where[WHERE_MAX];
    qn_arena scratch = {0};
    importer in = {.graph = graph, .scratch = &scratch, .home = home, .where = where, .err = err};
    qn_status status = import_nodes(&in, where, proto);
    qn_arena_free(&scratch);
    return status;
}
