/* The layers of mixed precision: what can be chosen for each, and what it costs. */
#include <string.h>

#include "ptq/mixed.h"

int qn_mixed_input_bits(const qn_mixed *mixed, int unit, int choice)
{
    const qn_mixed_input *input = &mixed->inputs[unit];
    return input->n > 0 ? mixed->options.activation_widths[choice % mixed->n_inputs] : input->bits;
}

size_t qn_mixed_add_sets(const qn_mixed *mixed, int unit, int choice, qn_quantize_set *sets, size_t n)
{
    const qn_mixed_input *input = &mixed->inputs[unit];
    sets[n++] = (qn_quantize_set){mixed->units[unit].globs[0], mixed->settings[choice / mixed->n_inputs]};
    for (int i = 0; i < input->n; i++) {
        sets[n++] = (qn_quantize_set){input->globs[i], mixed->input_settings[choice % mixed->n_inputs]};
    }
    return n;
}

static const qn_node *node_of(const qn_graph *graph, const char *name)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (strcmp(graph->nodes[n].name, name) == 0) {
            return &graph->nodes[n];
        }
    }
    return NULL;
}

static int bits_of(const qn_graph *graph, qn_value_id id)
{
    const qn_quantizer *q = graph->values[id].quantizer;
    return q != NULL ? q->format.bits : 32;
}

/* The node whose settings say how the value is coded, or the graph's input, when nobody else reads it on the way. */
static bool find_maker(const qn_graph *graph, const int32_t *uses, qn_value_id id, const qn_node **maker,
                       qn_value_id *made)
{
    *maker = NULL;
    while (uses[id] == 1 && graph->values[id].producer >= 0) {
        *maker = &graph->nodes[graph->values[id].producer];
        if (qn_ptq_rule_of((*maker)->op)->role != QN_PTQ_MOVE) {
            break;
        }
        id = (*maker)->inputs[0];
        *maker = NULL;
    }
    *made = id;
    return uses[id] == 1 && graph->values[id].quantizer != NULL;
}

/* A layer whose output it is has its activations among its globs; so must a Relu name the layer before it. */
static qn_status find_input(qn_mixed *m, qn_mixed_input *input, const qn_graph *graph, const int32_t *uses,
                            qn_study_unit *all, size_t n_all, qn_value_id id, qn_error *err)
{
    const qn_node *maker;
    qn_value_id made;
    input->bits = bits_of(graph, id);
    if (m->options.n_activation_widths == 0 || !find_maker(graph, uses, id, &maker, &made)) {
        return QN_OK;
    }
    const char *name = maker != NULL ? maker->name : graph->values[made].name;
    float lo, hi;
    if (maker != NULL && qn_ptq_bounds(graph, maker, &lo, &hi) && graph->values[maker->inputs[0]].producer >= 0) {
        name = graph->nodes[graph->values[maker->inputs[0]].producer].name;
    }
    for (size_t u = 0; u < n_all && input->n == 0; u++) {
        if (strcmp(all[u].name, name) == 0) {
            memcpy(input->globs, all[u].globs, sizeof input->globs);
            input->n = all[u].n_globs;
        }
    }
    if (input->n == 0 && (maker == NULL || node_of(&m->study->model->graph, name) != NULL)) {
        input->globs[0] = qn_study_escape(&m->arena, name);
        input->n = 1;
        return input->globs[0] != NULL ? QN_OK : qn_fail_memory(err, NULL, strlen(name));
    }
    return QN_OK;
}

/* What the choices of a layer cost, and what it costs as the study has it. */
static qn_status find_costs(qn_mixed *m, const qn_graph *graph, int unit, const qn_node *node, qn_error *err)
{
    const bool size = m->options.cost == QN_MIXED_SIZE;
    const int64_t each = size ? m->units[unit].n_weights : m->units[unit].macs;
    int64_t most;
    if (__builtin_mul_overflow(each, (int64_t)32 * 32 * m->n_units, &most)) {
        return qn_fail(err, QN_ELIMIT, m->units[unit].name, "costs beyond 2^63");
    }
    m->about.base += each * bits_of(graph, node->inputs[1]) * (size ? 1 : m->inputs[unit].bits);
    for (int c = 0; c < m->n_choices; c++) {
        m->choices[unit * m->n_choices + c].cost =
            each * m->options.widths[c / m->n_inputs] * (size ? 1 : qn_mixed_input_bits(m, unit, c));
    }
    return QN_OK;
}

static qn_status fill(qn_mixed *m, const qn_graph *graph, const int32_t *uses, qn_study_unit *all, size_t n_all,
                      qn_error *err)
{
    for (size_t u = 0; u < n_all; u++) {
        if (all[u].n_weights > 0) {
            m->units[m->n_units++] = all[u];
        }
    }
    const size_t n = (size_t)m->n_units * (size_t)m->n_choices;
    m->choices = qn_arena_array(&m->arena, n + 1, sizeof *m->choices);
    m->only_sqnr_db = qn_arena_array(&m->arena, n + 1, sizeof *m->only_sqnr_db);
    m->rows = qn_arena_array(&m->arena, (size_t)m->n_units + 1, sizeof *m->rows);
    m->inputs = qn_arena_array(&m->arena, (size_t)m->n_units + 1, sizeof *m->inputs);
    if (m->choices == NULL || m->only_sqnr_db == NULL || m->rows == NULL || m->inputs == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *m->choices);
    }
    for (int u = 0; u < m->n_units; u++) {
        const qn_node *node = node_of(graph, m->units[u].name);
        QN_TRY(find_input(m, &m->inputs[u], graph, uses, all, n_all, node->inputs[0], err));
        QN_TRY(find_costs(m, graph, u, node, err));
    }
    return m->n_units > 0 ? QN_OK : qn_fail(err, QN_EINVAL, NULL, "no layer has coded weights");
}

qn_status qn_mixed_find_layers(qn_mixed *m, qn_error *err)
{
    qn_model *whole = NULL;
    qn_study_result result = {0};
    qn_study_unit *all = NULL;
    size_t n_all = 0;
    QN_TRY(qn_study_try_sets(m->study, NULL, 0, &result, &whole, NULL, err));
    qn_status status = qn_study_find_units(m->study, whole, &all, &n_all, err);
    m->units = status == QN_OK ? qn_arena_array(&m->arena, n_all, sizeof *m->units) : NULL;
    int32_t *uses = qn_graph_count_uses(&whole->graph);
    if (status == QN_OK) {
        status = m->units != NULL && uses != NULL ? fill(m, &whole->graph, uses, all, n_all, err)
                                                  : qn_fail_memory(err, NULL, n_all * sizeof *all);
    }
    qn_free(uses);
    qn_model_free(whole);
    return status;
}
