/* Stages: the nodes between two positions as a model. */
#include "link/cut.h"

#include <string.h>

/* A graph made of parts of the whole one's: no copies, until it is cloned. */
typedef struct parts {
    qn_graph graph;
    qn_arena arena;
    const qn_cuts *cuts;
    unsigned char *kept; /* per value: 1 when the stage has it */
} parts;

static bool made_within(const qn_cuts *cuts, qn_value_id id, size_t from, size_t to)
{
    return cuts->life[id].made > (int32_t)from && cuts->life[id].made <= (int32_t)to;
}

static bool read_within(const qn_cuts *cuts, qn_value_id id, size_t from, size_t to)
{
    for (size_t p = from; p < to; p++) {
        const qn_node *node = &cuts->model->graph.nodes[cuts->order[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] == id) {
                return true;
            }
        }
    }
    return false;
}

static qn_status take_nodes(parts *p, size_t from, size_t to, qn_error *err)
{
    const qn_graph *g = &p->cuts->model->graph;
    p->graph = *g;
    p->graph.arena = (qn_arena){0};
    p->graph.index = NULL;
    p->graph.nodes = qn_arena_array(&p->arena, to - from + 1, sizeof *p->graph.nodes);
    p->graph.values = qn_arena_array(&p->arena, g->n_values + 1, sizeof *p->graph.values);
    p->graph.inputs = qn_arena_array(&p->arena, g->n_values + 1, sizeof *p->graph.inputs);
    p->graph.outputs = qn_arena_array(&p->arena, g->n_values + g->n_outputs + 1, sizeof *p->graph.outputs);
    p->kept = qn_arena_array(&p->arena, g->n_values + 1, 1);
    if (p->graph.nodes == NULL || p->graph.values == NULL || p->graph.inputs == NULL || p->graph.outputs == NULL ||
        p->kept == NULL) {
        return qn_fail_memory(err, g->file, g->n_values * sizeof *p->graph.values);
    }
    p->graph.n_nodes = p->graph.nodes_capacity = to - from;
    p->graph.values_capacity = g->n_values;
    p->graph.n_inputs = p->graph.inputs_capacity = 0;
    p->graph.n_outputs = p->graph.outputs_capacity = 0;
    memcpy(p->graph.values, g->values, g->n_values * sizeof *g->values);
    for (size_t k = from; k < to; k++) {
        const qn_node *node = &g->nodes[p->cuts->order[k]];
        p->graph.nodes[k - from] = *node;
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                p->kept[node->inputs[i]] = 1;
            }
        }
        for (int i = 0; i < node->n_outputs; i++) {
            if (node->outputs[i] != QN_NO_VALUE) {
                p->kept[node->outputs[i]] = 1;
                p->graph.values[node->outputs[i]].producer = (int32_t)(k - from);
            }
        }
    }
    return QN_OK;
}

static void declare(parts *p, qn_value_id id)
{
    qn_value *value = &p->graph.values[id];
    const qn_bound_value *bound = &p->cuts->binding.values[id];
    value->quantizer = p->cuts->coding[id];
    value->dtype = bound->dtype;
    value->rank = bound->rank;
    memcpy(value->dims, bound->dims, sizeof value->dims);
    memset(value->dim_names, 0, sizeof value->dim_names);
    if (p->cuts->batched) {
        value->dims[0] = -1;
    }
}

/* What the stage has not made itself is an input or a constant, or nothing. */
static void settle_values(parts *p, size_t from, size_t to)
{
    for (size_t v = 0; v < p->graph.n_values; v++) {
        qn_value *value = &p->graph.values[v];
        if (!p->kept[v]) {
            value->constant = NULL;
            value->codes = NULL;
            value->quantizer = NULL;
            value->producer = -1;
        } else if (p->cuts->known[v] != NULL) {
            value->constant = p->cuts->known[v];
            value->producer = -1;
        } else if (!made_within(p->cuts, (qn_value_id)v, from, to)) {
            value->producer = value->constant == NULL ? -1 : value->producer;
        }
    }
}

static qn_status connect(parts *p, qn_stage *stage, qn_error *err)
{
    const qn_cut *before = qn_cuts_at(p->cuts, stage->from), *after = qn_cuts_at(p->cuts, stage->to);
    stage->inputs = qn_alloc((before->n_tensors + 1) * sizeof *stage->inputs);
    stage->sources = qn_alloc((after->n_tensors + 1) * sizeof *stage->sources);
    if (stage->inputs == NULL || stage->sources == NULL) {
        return qn_fail_memory(err, NULL, (before->n_tensors + after->n_tensors) * sizeof *stage->sources);
    }
    for (size_t i = 0; i < before->n_tensors; i++) {
        const qn_value_id id = before->tensors[i].value;
        if (stage->from == 0 || read_within(p->cuts, id, stage->from, stage->to)) {
            declare(p, id);
            p->graph.inputs[p->graph.n_inputs++] = id;
            p->kept[id] = 1;
            stage->inputs[stage->n_inputs++] = i;
        }
    }
    for (size_t i = 0; i < after->n_tensors; i++) {
        const qn_value_id id = after->tensors[i].value;
        qn_stage_source *source = &stage->sources[stage->n_sources++];
        if (made_within(p->cuts, id, stage->from, stage->to)) {
            declare(p, id);
            *source = (qn_stage_source){false, p->graph.n_outputs};
            p->graph.outputs[p->graph.n_outputs++] = id;
            continue;
        }
        for (size_t k = 0; k < before->n_tensors; k++) {
            *source = before->tensors[k].value == id ? (qn_stage_source){true, k} : *source;
        }
    }
    return QN_OK;
}

static qn_status check(const qn_cuts *cuts, size_t from, size_t to, qn_error *err)
{
    const size_t ends[] = {from, to};
    if (from >= to || to > cuts->n_nodes) {
        return qn_fail(err, QN_EINVAL, cuts->model->graph.file,
                       "a stage from position %zu to %zu of %zu: it must hold a node", from, to, cuts->n_nodes);
    }
    for (int i = 0; i < 2; i++) {
        const qn_cut *cut = &cuts->cuts[ends[i]];
        if (cut->reason != NULL) {
            return qn_fail(err, QN_EINVAL, cuts->model->graph.file, "stages cannot part behind '%s': %s", cut->name,
                           cut->reason);
        }
    }
    return QN_OK;
}

qn_status qn_stage_create(qn_stage *stage, const qn_cuts *cuts, size_t from, size_t to, qn_error *err)
{
    *stage = (qn_stage){.from = from, .to = to};
    QN_TRY(check(cuts, from, to, err));
    parts p = {.cuts = cuts};
    qn_status status = take_nodes(&p, from, to, err);
    status = status == QN_OK ? connect(&p, stage, err) : status;
    if (status == QN_OK) {
        settle_values(&p, from, to);
        stage->model = qn_alloc(sizeof *stage->model);
        status = stage->model != NULL ? qn_graph_clone(&stage->model->graph, &p.graph, err)
                                      : qn_fail_memory(err, NULL, sizeof *stage->model);
    }
    qn_arena_free(&p.arena);
    if (status != QN_OK) {
        qn_stage_free(stage);
    }
    return status;
}

void qn_stage_free(qn_stage *stage)
{
    qn_model_free(stage->model);
    qn_free(stage->inputs);
    qn_free(stage->sources);
    *stage = (qn_stage){0};
}

static bool leads_with_one(const qn_cut *cut)
{
    for (size_t i = 0; i < cut->n_tensors; i++) {
        if (cut->tensors[i].rank == 0 || cut->tensors[i].dims[0] != 1) {
            return false;
        }
    }
    return true;
}

static qn_status try_span(const qn_cuts *cuts, size_t from, size_t to, qn_error *err)
{
    qn_stage stage;
    qn_program *program = NULL;
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, cuts->engine, err));
    options.whole = true;
    QN_TRY(qn_stage_create(&stage, cuts, from, to, err));
    const qn_status status = qn_program_create(&program, stage.model, &options, err);
    qn_program_free(program);
    qn_stage_free(&stage);
    return status;
}

qn_status qn_cuts_try(qn_cuts *cuts, qn_error *err)
{
    if (cuts->engine != QN_ENGINE_INTEGER || cuts->batched || qn_cuts_check_items(cuts, NULL) != QN_OK) {
        return QN_OK;
    }
    for (size_t p = 1; p < cuts->n_nodes; p++) {
        qn_cut *cut = &cuts->cuts[p];
        qn_error reason;
        qn_error_init(&reason);
        if (cut->reason != NULL || leads_with_one(cut) ||
            (try_span(cuts, 0, p, &reason) == QN_OK && try_span(cuts, p, cuts->n_nodes, &reason) == QN_OK)) {
            continue;
        }
        cut->reason = reason.status == QN_ENOMEM ? NULL : qn_arena_string(&cuts->arena, reason.message);
        if (cut->reason == NULL) {
            return qn_fail_memory(err, cuts->model->graph.file, sizeof reason);
        }
    }
    return QN_OK;
}
