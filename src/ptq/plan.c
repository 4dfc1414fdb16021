/* Which nodes compute on codes, and which values therefore carry quantizers.
 *
 * A node with weights computes on codes wherever it has an integer form. Others do so when what they read is coded
 * anyway: an Add between two layers is integer work, the Add of an epsilon inside a decomposed LayerNormalization is
 * not, and rounding its result to 8 bits would ruin it. A product of two activations does where both are coded anyway; a
 * Softmax that makes an output of the network stays in float. A value is coded when the node that makes it computes on codes,
 * or a node that computes on codes reads it; values inside a float island are not. With where=inputs only what Conv, Gemm
 * and MatMul read is coded. */
#include <string.h>

#include "base/memory.h"
#include "engine/integer/function.h"
#include "engine/program.h"
#include "ptq/settings.h"

typedef struct planner {
    qn_ptq *ptq;
    const qn_binding *binding;
    qn_ptq_plan *plan;
    bool *wanted; /* per value: a node on codes reads it */
    bool *hidden; /* per value: it lies inside a function of one coded value, of which one table is made */
    int32_t *uses;
} planner;

static bool is_activation(const planner *p, qn_value_id id)
{
    return id != QN_NO_VALUE && p->binding->values[id].dtype == QN_DTYPE_F32 && p->binding->values[id].known == NULL;
}

/* Do all its inputs hold activations, rather than the first one alone? */
static bool reads_all(const qn_node *node)
{
    return qn_ptq_rule_of(node->op)->joins || qn_function_has(node->op);
}

/* Copies of a constant, as many as there are items: the class token that an Expand brings to a Concat. Not what goes
 * into a sum: that may be a mask, of which one number takes all codes. */
static bool joins_copies(const planner *p, const qn_node *node, qn_value_id id)
{
    const qn_graph *graph = p->ptq->graph;
    const int producer = graph->values[id].producer;
    bool copies = node->op == QN_OP_CONCAT && producer >= 0 && graph->nodes[producer].op == QN_OP_EXPAND;
    for (int i = 0; copies && i < graph->nodes[producer].n_inputs; i++) {
        copies = p->binding->values[graph->nodes[producer].inputs[i]].known != NULL;
    }
    return copies;
}

/* Are all activations that the node reads coded, or inputs of the graph or copies of constants, which can be? */
static bool inputs_coded(const planner *p, const qn_node *node, bool first_only)
{
    bool coded = true;
    for (int i = 0; i < (first_only && node->n_inputs > 1 ? 1 : node->n_inputs); i++) {
        qn_value_id id = node->inputs[i];
        if (is_activation(p, id)) {
            coded =
                coded && (p->plan->coded[id] || p->ptq->graph->values[id].producer < 0 || joins_copies(p, node, id));
        }
    }
    return coded;
}

/* A MatMul or Gemm of two activations. */
static bool multiplies_activations(const planner *p, const qn_node *node)
{
    qn_ptq_formats formats = qn_ptq_formats_of(p->ptq->settings, node, node->name);
    return (node->op == QN_OP_MATMUL || node->op == QN_OP_GEMM) && node->n_inputs > 1 &&
           is_activation(p, node->inputs[0]) && is_activation(p, node->inputs[1]) && !formats.keep_float &&
           !formats.activations_float;
}

/* The result of the network, for people: 8 bits would tie what they compare. */
static bool is_last_softmax(const planner *p, const qn_node *node)
{
    return node->op == QN_OP_SOFTMAX && qn_graph_is_output(p->ptq->graph, node->outputs[0]) &&
           p->uses[node->outputs[0]] == 1; /* what is read inside, too, is one of many activations */
}

static bool computes_on_codes(const planner *p, const qn_node *node)
{
    const qn_ptq_rule *rule = qn_ptq_rule_of(node->op);
    const char *reason = NULL;
    qn_ptq_formats formats = qn_ptq_formats_of(p->ptq->settings, node, node->name);
    if (formats.keep_float || formats.activations_float) {
        return false;
    }
    if (multiplies_activations(p, node)) {
        return qn_integer_has_form(p->ptq->graph, p->binding, node, &reason) &&
               (formats.keep_codes || inputs_coded(p, node, false));
    }
    if (!qn_ptq_has_form(p->ptq->graph, p->binding, node, &reason) ||
        (is_last_softmax(p, node) && !formats.keep_codes)) {
        return false;
    }
    return rule->has_weights || formats.keep_codes || inputs_coded(p, node, !reads_all(node));
}

/* Readers reached through nodes that only move codes count as readers. */
static void mark_wanted(const planner *p)
{
    const qn_graph *graph = p->ptq->graph;
    for (size_t n = graph->n_nodes; n-- > 0;) {
        const qn_node *node = &graph->nodes[n];
        const qn_ptq_rule *rule = qn_ptq_rule_of(node->op);
        bool moves = false;
        for (int i = 0; rule->role == QN_PTQ_MOVE && i < node->n_outputs; i++) {
            moves = moves || (node->outputs[i] != QN_NO_VALUE && p->wanted[node->outputs[i]]);
        }
        if (node->op == QN_OP_REMOVED || (!p->plan->on_codes[n] && !moves)) {
            continue;
        }
        const bool all = reads_all(node) || multiplies_activations(p, node);
        for (int i = 0; i < (all ? node->n_inputs : 1) && i < node->n_inputs; i++) {
            if (is_activation(p, node->inputs[i])) {
                p->wanted[node->inputs[i]] = true;
            }
        }
    }
}

/* All of a function of the coded value that a node reads: what lies inside is not rounded. */
static void plan_function(const planner *p, const qn_node *node)
{
    const qn_graph *graph = p->ptq->graph;
    qn_function f;
    bool all = !qn_function_fuses(node->op) && qn_function_find(&f, graph, p->binding, p->uses, true, node);
    for (int i = 0; all && i < f.n; i++) {
        const qn_ptq_formats formats = qn_ptq_formats_of(p->ptq->settings, f.nodes[i], f.nodes[i]->name);
        all = !formats.keep_float && !formats.activations_float;
    }
    for (int i = 0; all && i < f.n; i++) {
        const qn_value_id value = f.nodes[i]->outputs[0];
        p->plan->on_codes[f.nodes[i] - graph->nodes] = true;
        p->plan->coded[value] = value == f.result;
        p->hidden[value] = value != f.result;
    }
}

static void plan_nodes(const planner *p)
{
    const qn_graph *graph = p->ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_REMOVED || p->plan->on_codes[n]) {
            continue;
        }
        p->plan->on_codes[n] = computes_on_codes(p, node);
        for (int i = 0; p->plan->on_codes[n] && i < node->n_outputs; i++) {
            if (is_activation(p, node->outputs[i])) {
                p->plan->coded[node->outputs[i]] = true;
            }
        }
        if (p->plan->on_codes[n]) {
            plan_function(p, node);
        }
    }
}

/* Products of integers that a bias is added to are no values of their own: the bias goes into the sum. */
static void leave_products(const planner *p)
{
    const qn_graph *graph = p->ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        int operand;
        float unit;
        bool rounds;
        qn_format codes;
        const qn_ptq_formats formats = qn_ptq_formats_of(p->ptq->settings, node, node->name);
        const qn_node *add = p->plan->on_codes[n] ? qn_ptq_bias_add(p->ptq, node, &operand) : NULL;
        if (add != NULL && p->plan->coded[add->outputs[0]] && qn_ptq_is_integer_code(formats.activations) &&
            qn_ptq_weight_integers(&codes, &unit, &rounds, formats.weights) && formats.bias.kind == QN_FORMAT_INT &&
            !formats.weights_float && !formats.bias_float && formats.per != QN_PTQ_PER_GROUP) {
            p->plan->coded[node->outputs[0]] = false;
        }
    }
}

static void code_input(const planner *p, const qn_node *node, int input)
{
    if (input < node->n_inputs && is_activation(p, node->inputs[input])) {
        p->plan->coded[node->inputs[input]] = true;
    }
}

/* Nothing but what layers read is coded: their results are floats. */
static void plan_inputs(const planner *p)
{
    const qn_graph *graph = p->ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_REMOVED || !qn_ptq_rule_of(node->op)->has_weights) {
            continue;
        }
        const bool both = multiplies_activations(p, node);
        p->plan->on_codes[n] = !both && computes_on_codes(p, node);
        if (p->plan->on_codes[n] || both) {
            code_input(p, node, 0);
        }
        if (both) {
            code_input(p, node, 1);
        }
    }
}

qn_status qn_ptq_make_plan(qn_ptq *ptq, const qn_binding *binding, qn_ptq_plan *plan, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    plan->on_codes = qn_arena_array(&ptq->scratch, graph->n_nodes + 1, sizeof *plan->on_codes);
    plan->coded = qn_arena_array(&ptq->scratch, graph->n_values + 1, sizeof *plan->coded);
    bool *wanted = qn_arena_array(&ptq->scratch, graph->n_values + 1, sizeof *wanted);
    bool *hidden = qn_arena_array(&ptq->scratch, graph->n_values + 1, sizeof *hidden);
    if (plan->on_codes == NULL || plan->coded == NULL || wanted == NULL || hidden == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values);
    }
    planner p = {.ptq = ptq, .binding = binding, .plan = plan, .wanted = wanted, .hidden = hidden};
    if (strcmp(qn_ptq_option(ptq, "where"), "inputs") == 0) {
        plan_inputs(&p);
        return QN_OK;
    }
    p.uses = qn_graph_count_uses(graph);
    if (p.uses == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *p.uses);
    }
    plan_nodes(&p);
    qn_free(p.uses);
    mark_wanted(&p);
    for (size_t v = 0; v < graph->n_values; v++) {
        plan->coded[v] = (plan->coded[v] || wanted[v]) && !hidden[v];
    }
    leave_products(&p);
    return QN_OK;
}
