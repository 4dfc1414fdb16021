/* A node against its row of the operator table, before its shapes are inferred. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/node_list.h"

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

enum { PROBLEM_MAX = 200 };

/* What is wrong with an attribute, QN_OK when nothing is. */
static qn_status check_attribute(qn_op op, const qn_attribute *attribute, char text[PROBLEM_MAX])
{
    for (size_t i = 0; i < N_ATTRIBUTE_ROWS; i++) {
        if (attribute_rows[i].op != op || strcmp(attribute_rows[i].name, attribute->name) != 0) {
            continue;
        }
        if (attribute_rows[i].type == attribute->type) {
            return QN_OK;
        }
        snprintf(text, PROBLEM_MAX, "attribute %.60s is %s, expected %s", attribute->name, type_texts[attribute->type],
                 type_texts[attribute_rows[i].type]);
        return QN_EFORMAT;
    }
    snprintf(text, PROBLEM_MAX, "attribute %.60s is not one this operator has", attribute->name);
    return QN_EUNSUPPORTED;
}

static qn_status check_arity(const op_row *row, const qn_node *node, char text[PROBLEM_MAX])
{
    if (node->n_inputs < row->min_inputs || (row->max_inputs >= 0 && node->n_inputs > row->max_inputs)) {
        snprintf(text, PROBLEM_MAX, "%d inputs, expected %s%d", node->n_inputs,
                 node->n_inputs < row->min_inputs ? "at least " : "at most ",
                 node->n_inputs < row->min_inputs ? row->min_inputs : row->max_inputs);
        return QN_EFORMAT;
    }
    const int max_outputs = row->max_outputs < 0 ? INT_MAX : row->max_outputs;
    if (node->n_outputs > max_outputs || node->n_outputs == 0 || node->outputs[0] == QN_NO_VALUE) {
        snprintf(text, PROBLEM_MAX, "%d outputs, expected 1 to %d of which the first is named", node->n_outputs,
                 max_outputs);
        return QN_EFORMAT;
    }
    int needed = row->max_inputs < 0 ? node->n_inputs : row->min_inputs;
    for (int i = 0; i < needed; i++) {
        if (node->inputs[i] == QN_NO_VALUE) {
            snprintf(text, PROBLEM_MAX, "input %d is missing", i);
            return QN_EFORMAT;
        }
    }
    return QN_OK;
}

/* Why a node has no operator, and what to do. */
static void tell_unknown(const qn_graph *graph, const qn_node *node, char text[PROBLEM_MAX])
{
    const qn_domain domain = qn_domain_find(node->domain);
    const qn_op op = qn_op_find(domain, node->op_type);
    const qn_op_versions versions = qn_op_versions_of(op);
    if (op != QN_OP_UNKNOWN && !qn_op_in_opset(op, graph->opset)) {
        const bool early = graph->opset < versions.first;
        snprintf(text, PROBLEM_MAX,
                 "its opsets are %s %lld, but the file imports %lld; import one that has it "
                 "(onnx.version_converter), or export again",
                 early ? "from" : "up to", (long long)(early ? versions.first : versions.last),
                 (long long)graph->opset);
    } else if (op != QN_OP_UNKNOWN) {
        snprintf(text, PROBLEM_MAX, "it holds graphs, types or lists of tensors, which this operator has not");
    } else if (domain == QN_DOMAIN_ONNX) {
        snprintf(text, PROBLEM_MAX,
                 "not among quern's operators (doc/operators.md); write it as others, or simplify the model");
    } else if (domain == QN_DOMAIN_QONNX) {
        snprintf(
            text, PROBLEM_MAX,
            "of QONNX quern has Quant, IntQuant, BipolarQuant, FloatQuant and Trunc; export before other tools have "
            "rewritten the model");
    } else if (domain == QN_DOMAIN_MICROSOFT) {
        snprintf(text, PROBLEM_MAX, "made by ONNX Runtime's optimizer%s; save the model without optimizations",
                 node->op_type[0] == 'Q' ? " and quantizer" : "");
    } else {
        snprintf(text, PROBLEM_MAX, "an operator of another tool; write it as operators of ONNX");
    }
}

/* Problem number `at` (0: of the operator or arity; then one for each attribute), QN_OK when it is none. */
static qn_status check_part(const qn_graph *graph, const qn_node *node, int at, char text[PROBLEM_MAX])
{
    const op_row *row = &op_rows[node->op];
    if (row->infer == NULL) {
        tell_unknown(graph, node, text);
        return at == 0 ? QN_EUNSUPPORTED : QN_OK;
    }
    return at == 0 ? check_arity(row, node, text) : check_attribute(node->op, &node->attributes[at - 1], text);
}

qn_status qn_node_check(const qn_graph *graph, const qn_node *node, qn_error *err)
{
    for (int at = 0; at <= node->n_attributes; at++) {
        char where[QN_NODE_WHERE_MAX], text[PROBLEM_MAX];
        const qn_status status = check_part(graph, node, at, text);
        if (status != QN_OK) {
            return qn_fail(err, status, qn_node_where(where, graph, node), "%s", text);
        }
    }
    return QN_OK;
}

static qn_status list_problems(qn_node_list *list, qn_arena *arena, const qn_graph *graph, qn_error *err)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int at = 0; at <= node->n_attributes && node->op != QN_OP_REMOVED; at++) {
            char text[PROBLEM_MAX];
            if (check_part(graph, node, at, text) == QN_OK) {
                continue;
            }
            const char *reason = qn_arena_string(arena, text);
            if (reason == NULL) {
                return qn_fail_memory(err, graph->file, sizeof text);
            }
            QN_TRY(qn_node_list_add(list, node, reason, err));
        }
    }
    return QN_OK;
}

qn_status qn_graph_check(const qn_graph *graph, qn_error *err)
{
    qn_node_list list = {0};
    qn_arena arena = {0};
    qn_status status = list_problems(&list, &arena, graph, err);
    bool known = false;
    for (size_t i = 0; i < list.n; i++) {
        known |= list.nodes[i]->op != QN_OP_UNKNOWN;
    }
    if (status == QN_OK && list.n == 1 && known) { /* in its own words */
        status = qn_node_check(graph, list.nodes[0], err);
        if (graph->file != NULL && graph->file[0] != '\0') {
            qn_error_prefix(err, graph->file);
        }
        qn_node_list_free(&list);
    } else if (status == QN_OK) {
        status = qn_node_list_fail(
            &list, graph, QN_EUNSUPPORTED,
            known ? "nodes that quern does not know or that are wrong" : "operators quern does not know", err);
    } else {
        qn_node_list_free(&list);
    }
    qn_arena_free(&arena);
    return status;
}

qn_status qn_infer_node(const qn_infer *c)
{
    return op_rows[c->node->op].infer(c);
}
