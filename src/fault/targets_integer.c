/* Targets of the integer engine: what its steps compute on. */
#include "fault/targets.h"

/* What the walk over steps needs.
 *  stepped  per node: it has steps of its own */
typedef struct walk {
    qn_targets_builder *b;
    const qn_integer_code *code;
    bool *stepped;
    int accumulator_bits;
} walk;

static bool is_layer(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}

static qn_status add_layer(const walk *w, const qn_integer_step *step, int32_t node, qn_error *err)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_node *n = step->node;
    QN_TRY(qn_targets_add_constant(w->b, node, n->inputs[1], false, err));
    qn_value_id bias = n->n_inputs > 2 ? n->inputs[2] : QN_NO_VALUE;
    if (bias == QN_NO_VALUE) {
        qn_value_id added;
        const int32_t add = qn_targets_added_bias(w->b, node, &added);
        bias = add >= 0 && !w->stepped[add] ? added : QN_NO_VALUE;
    }
    QN_TRY(qn_targets_add_constant(w->b, node, bias, true, err));
    const int64_t n_terms = (int64_t)conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
    return qn_targets_add_sums(w->b, node, w->code->tensors[step->output].value, w->accumulator_bits, n_terms, err);
}

static const qn_quantizer *coded_as(const walk *w, qn_value_id value)
{
    const qn_graph *graph = w->b->graph;
    if (graph->values[value].quantizer != NULL) {
        return graph->values[value].quantizer;
    }
    return w->code->tensor_of[value] >= 0 ? qn_targets_quantizer(graph, value) : NULL;
}

bool qn_targets_next_table(const qn_program *program, qn_value_id value, int after, qn_fault_table *table)
{
    const qn_integer_code *code = program->code;
    table->first = after < 0 ? 0 : table->first + table->n;
    for (int i = after + 1; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        if (step->kind != QN_STEP_LOOKUP || step->u.lookup.table == NULL ||
            code->tensors[step->output].value != value) {
            continue;
        }
        const qn_integer_tensor *x = &code->tensors[step->input[0]];
        table->step = i;
        table->lowest = x->raised > 0 ? x->raised - (1 << (x->bits - 1)) : 0;
        table->n = 1 << x->bits;
        return true;
    }
    return false;
}

bool qn_targets_find_table(const qn_program *program, qn_value_id value, int64_t entry, qn_fault_table *table)
{
    *table = (qn_fault_table){0};
    for (int after = -1; qn_targets_next_table(program, value, after, table); after = table->step) {
        if (entry < table->first + table->n) {
            return true;
        }
    }
    return false;
}

/* All tables of a value, once. */
static qn_status add_tables(const walk *w, const qn_integer_step *step, int32_t node, qn_error *err)
{
    const qn_value_id value = w->code->tensors[step->output].value;
    qn_fault_table table = {0};
    int64_t n = 0;
    bool first = false;
    for (int after = -1; qn_targets_next_table(w->b->program, value, after, &table); after = table.step) {
        first = first || (after < 0 && &w->code->steps[table.step] == step);
        n = table.first + table.n;
    }
    return first ? qn_targets_add_tables(w->b, node, value, n, err) : QN_OK;
}

static qn_status add_step(const walk *w, const qn_integer_step *step, qn_error *err)
{
    const qn_graph *graph = w->b->graph;
    const int32_t node = (int32_t)(step->node - graph->nodes);
    if (is_layer(step)) {
        QN_TRY(add_layer(w, step, node, err));
    } else {
        QN_TRY(qn_targets_add_constants(w->b, node, err));
    }
    if (step->output < 0) {
        return QN_OK;
    }
    const qn_value_id value = w->code->tensors[step->output].value;
    const int32_t producer = graph->values[value].producer;
    if (step->kind == QN_STEP_LOOKUP) {
        QN_TRY(add_tables(w, step, node, err));
    }
    if (producer < 0 || qn_targets_shows(w->b, &graph->nodes[producer])) {
        return QN_OK; /* codes of an input, or of another value, in another order */
    }
    return qn_targets_add_activation(w->b, node, value, coded_as(w, value), err);
}

/* The numbers in functions of which a table was made. */
static qn_status add_functions(const walk *w, qn_error *err)
{
    const qn_graph *graph = w->b->graph;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        qn_function f;
        const bool made = qn_targets_runs(w->b, &graph->nodes[i]) && qn_targets_function(w->b, &graph->nodes[i], &f) &&
                          w->stepped[f.nodes[f.n - 1] - graph->nodes];
        for (int k = 0; made && k + 1 < f.n; k++) {
            QN_TRY(qn_targets_add_constants(w->b, (int32_t)(f.nodes[k] - graph->nodes), err));
        }
    }
    return QN_OK;
}

static qn_status walk_steps(const walk *w, qn_error *err)
{
    const qn_program *program = w->b->program;
    for (size_t i = 0; i < program->n_inputs; i++) {
        const qn_value_id value = program->inputs[i].value;
        if (w->b->binding->used[value]) {
            QN_TRY(qn_targets_add_activation(w->b, -1, value, coded_as(w, value), err));
        }
    }
    for (int i = 0; i < w->code->n_steps; i++) {
        if (w->code->steps[i].node != NULL) {
            w->stepped[w->code->steps[i].node - program->graph.nodes] = true;
        }
    }
    for (int i = 0; i < w->code->n_steps; i++) {
        if (w->code->steps[i].node != NULL) {
            QN_TRY(add_step(w, &w->code->steps[i], err));
        }
    }
    return add_functions(w, err);
}

qn_status qn_targets_integer(qn_targets_builder *b, qn_error *err)
{
    qn_arithmetic arithmetic;
    QN_TRY(qn_graph_get_arithmetic(b->graph, &arithmetic, err));
    walk w = {.b = b,
              .code = b->program->code,
              .stepped = qn_alloc(b->graph->n_nodes + 1),
              .accumulator_bits = arithmetic.accumulator_bits > 0 ? arithmetic.accumulator_bits : 32};
    if (w.stepped == NULL) {
        return qn_fail_memory(err, b->graph->file, b->graph->n_nodes);
    }
    const qn_status status = walk_steps(&w, err);
    qn_free(w.stepped);
    return status;
}
