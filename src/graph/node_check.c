/* A node against its row of the operator table, before its shapes are inferred. */
#include <limits.h>
#include <string.h>

#include "graph/infer.h"

typedef struct op_row {
    int min_inputs, max_inputs, max_outputs;
    qn_infer_fn infer;
} op_row;

static const op_row op_rows[QN_OP_COUNT] = {
#define QN_OP_ROW(op, domain, type, min_inputs, max_inputs, max_outputs, infer)                                        \
    [op] = {min_inputs, max_inputs, max_outputs, infer},
#include "graph/op_table.inc"
#undef QN_OP_ROW
};

static const struct {
    qn_op op;
    const char *name;
    qn_attribute_type type;
} attribute_rows[] = {
#define QN_ATTRIBUTE_ROW(op, name, type) {op, name, type},
#include "graph/op_attributes.inc"
#undef QN_ATTRIBUTE_ROW
};
enum { N_ATTRIBUTE_ROWS = sizeof attribute_rows / sizeof attribute_rows[0] };

static const char *const type_texts[] = {
    [QN_ATTRIBUTE_INT] = "an integer",          [QN_ATTRIBUTE_FLOAT] = "a float",
    [QN_ATTRIBUTE_STRING] = "a string",         [QN_ATTRIBUTE_INTS] = "a list of integers",
    [QN_ATTRIBUTE_FLOATS] = "a list of floats", [QN_ATTRIBUTE_STRINGS] = "a list of strings",
    [QN_ATTRIBUTE_TENSOR] = "a tensor",
};

static qn_status check_attribute(qn_op op, const char *where, const qn_attribute *attribute, qn_error *err)
{
    for (size_t i = 0; i < N_ATTRIBUTE_ROWS; i++) {
        if (attribute_rows[i].op != op || strcmp(attribute_rows[i].name, attribute->name) != 0) {
            continue;
        }
        if (attribute_rows[i].type == attribute->type) {
            return QN_OK;
        }
        return qn_fail(err, QN_EFORMAT, where, "attribute %s is %s, expected %s", attribute->name,
                       type_texts[attribute->type], type_texts[attribute_rows[i].type]);
    }
    return qn_fail(err, QN_EUNSUPPORTED, where, "attribute %s is not one this operator has", attribute->name);
}

static qn_status check_arity(const op_row *row, const char *where, const qn_node *node, qn_error *err)
{
    if (node->n_inputs < row->min_inputs || (row->max_inputs >= 0 && node->n_inputs > row->max_inputs)) {
        return qn_fail(err, QN_EFORMAT, where, "%d inputs, expected %s%d", node->n_inputs,
                       node->n_inputs < row->min_inputs ? "at least " : "at most ",
                       node->n_inputs < row->min_inputs ? row->min_inputs : row->max_inputs);
    }
    const int max_outputs = row->max_outputs < 0 ? INT_MAX : row->max_outputs;
    if (node->n_outputs > max_outputs || node->n_outputs == 0 || node->outputs[0] == QN_NO_VALUE) {
        return qn_fail(err, QN_EFORMAT, where, "%d outputs, expected 1 to %d of which the first is named",
                       node->n_outputs, max_outputs);
    }
    int needed = row->max_inputs < 0 ? node->n_inputs : row->min_inputs;
    for (int i = 0; i < needed; i++) {
        if (node->inputs[i] == QN_NO_VALUE) {
            return qn_fail(err, QN_EFORMAT, where, "input %d is missing", i);
        }
    }
    return QN_OK;
}

qn_status qn_node_check(const qn_graph *graph, const qn_node *node, qn_error *err)
{
    char where[QN_NODE_WHERE_MAX];
    qn_node_where(where, graph, node);
    const op_row *row = &op_rows[node->op];
    if (row->infer == NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, where, "quern does not know this operator");
    }
    QN_TRY(check_arity(row, where, node, err));
    for (int i = 0; i < node->n_attributes; i++) {
        QN_TRY(check_attribute(node->op, where, &node->attributes[i], err));
    }
    return QN_OK;
}

qn_status qn_infer_node(const qn_infer *c)
{
    return op_rows[c->node->op].infer(c);
}
