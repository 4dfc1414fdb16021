/* Small edits that several passes make. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ptq/ptq.h"

const qn_tensor *qn_ptq_float_constant(const qn_graph *graph, qn_value_id id)
{
    const qn_tensor *t = id == QN_NO_VALUE ? NULL : graph->values[id].constant;
    return t != NULL && t->dtype == QN_DTYPE_F32 ? t : NULL;
}

qn_status qn_ptq_check_finite(const qn_graph *graph, qn_value_id id, qn_error *err)
{
    const qn_tensor *t = qn_ptq_float_constant(graph, id);
    int64_t n = t != NULL ? qn_tensor_count(t) : 0;
    for (int64_t i = 0; i < n; i++) {
        float x = ((const float *)t->data)[i];
        if (!isfinite(x)) {
            return qn_fail(err, QN_ERANGE, graph->file, "constant '%s' is %s at element %lld; it cannot be quantized",
                           graph->values[id].name, isnan(x) ? "NaN" : "infinite", (long long)i);
        }
    }
    return QN_OK;
}

qn_status qn_ptq_add_constant(qn_graph *graph, const char *stem, const qn_tensor *t, qn_value_id *id, qn_error *err)
{
    const char *name = qn_graph_unique_name(graph, stem);
    if (name == NULL) {
        return qn_fail_memory(err, stem, strlen(stem));
    }
    QN_TRY(qn_graph_add_value(graph, name, id, err));
    return qn_graph_set_constant(graph, *id, t, err);
}

int32_t qn_ptq_uses(const qn_ptq *ptq, qn_value_id id)
{
    return (size_t)id < ptq->n_uses ? ptq->uses[id] : 1;
}

qn_status qn_ptq_own_constant(qn_ptq *ptq, qn_node *node, int index, qn_value_id *id, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    *id = node->inputs[index];
    if (qn_ptq_uses(ptq, *id) > 1) {
        ptq->uses[*id]--;
        QN_TRY(qn_ptq_add_constant(graph, graph->values[*id].name, graph->values[*id].constant, id, err));
        node->inputs[index] = *id;
    }
    return QN_OK;
}

qn_status qn_ptq_set_coded(qn_graph *graph, qn_value_id id, const qn_quantizer *q, const qn_tensor *codes,
                           qn_error *err)
{
    qn_tensor reals = {0};
    QN_TRY(qn_tensor_alloc(&reals, QN_DTYPE_F32, codes->rank, codes->dims, err));
    qn_quantizer_decode(reals.data, codes->data, q, codes->rank, codes->dims);
    qn_status status = qn_quantizer_check(q, codes->rank, codes->dims, graph->values[id].name, err);
    if (status == QN_OK) {
        status = qn_graph_set_constant(graph, id, &reals, err);
    }
    if (status == QN_OK) {
        status = qn_graph_set_quantizer(graph, id, q, err);
    }
    if (status == QN_OK) {
        status = qn_graph_set_codes(graph, id, codes, err);
    }
    qn_tensor_free(&reals);
    return status;
}

qn_status qn_ptq_add_note(qn_ptq *ptq, qn_value_id value, int64_t n_raised, qn_error *err, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qn_ptq_note *note = qn_arena_alloc(&ptq->scratch, sizeof *note);
    char *copy = qn_arena_string(&ptq->scratch, text);
    if (note == NULL || copy == NULL) {
        return qn_fail_memory(err, text, sizeof *note);
    }
    *note = (qn_ptq_note){.next = ptq->notes, .value = value, .n_raised = n_raised, .text = copy};
    ptq->notes = note;
    return QN_OK;
}

qn_status qn_ptq_set_inputs(qn_graph *graph, qn_node *node, const qn_value_id *ids, int n, qn_error *err)
{
    qn_value_id *inputs = qn_arena_array(&graph->arena, (size_t)n, sizeof *inputs);
    if (inputs == NULL) {
        return qn_fail_memory(err, node->name, (size_t)n * sizeof *inputs);
    }
    memcpy(inputs, ids, (size_t)n * sizeof *inputs);
    node->inputs = inputs;
    node->n_inputs = n;
    return QN_OK;
}

qn_node *qn_ptq_bias_add(const qn_ptq *ptq, const qn_node *node, int *operand)
{
    const qn_graph *graph = ptq->graph;
    const qn_tensor *weights = node->op == QN_OP_MATMUL ? qn_ptq_float_constant(graph, node->inputs[1]) : NULL;
    if (weights == NULL || weights->rank != 2 || qn_ptq_uses(ptq, node->outputs[0]) != 1) {
        return NULL;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *add = &graph->nodes[n];
        for (int i = 0; add->op == QN_OP_ADD && i < 2; i++) {
            const qn_tensor *bias = qn_ptq_float_constant(graph, add->inputs[1 - i]);
            if (add->inputs[i] == node->outputs[0] && bias != NULL && bias->rank == 1 &&
                bias->dims[0] == weights->dims[1]) {
                *operand = 1 - i;
                return add;
            }
        }
    }
    return NULL;
}

void qn_ptq_absorb(qn_graph *graph, qn_node *producer, qn_node *consumer)
{
    qn_value *between = &graph->values[producer->outputs[0]];
    between->quantizer = NULL;
    between->producer = -1;
    producer->outputs[0] = consumer->outputs[0];
    graph->values[producer->outputs[0]].producer = (int32_t)(producer - graph->nodes);
    consumer->op = QN_OP_REMOVED;
}

qn_node *qn_ptq_only_producer(const qn_ptq *ptq, qn_value_id id)
{
    const qn_graph *graph = ptq->graph;
    if (id == QN_NO_VALUE || graph->values[id].producer < 0 || qn_ptq_uses(ptq, id) != 1) {
        return NULL;
    }
    qn_node *node = &graph->nodes[graph->values[id].producer];
    return node->n_outputs == 1 && node->op != QN_OP_REMOVED ? node : NULL;
}

bool qn_ptq_is_channel_vector(const qn_tensor *t, int rank, int axis, int64_t n)
{
    for (int d = 0; d < t->rank; d++) {
        int in_result = rank - t->rank + d;
        if (in_result < 0 || (t->dims[d] != 1 && (in_result != axis || t->dims[d] != n))) {
            return false;
        }
    }
    return t->dtype == QN_DTYPE_F32;
}

qn_status qn_ptq_add_remark(qn_ptq *ptq, qn_error *err, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    qn_ptq_remark *remark = qn_arena_alloc(&ptq->scratch, sizeof *remark);
    char *copy = qn_arena_string(&ptq->scratch, text);
    if (remark == NULL || copy == NULL) {
        return qn_fail_memory(err, text, sizeof *remark);
    }
    *remark = (qn_ptq_remark){.next = ptq->remarks, .text = copy};
    ptq->remarks = remark;
    return QN_OK;
}

qn_status qn_ptq_mark_stale(qn_ptq *ptq, qn_value_id id, qn_error *err)
{
    if ((size_t)id >= ptq->n_stale) {
        size_t n = ptq->graph->n_values;
        unsigned char *stale = qn_arena_array(&ptq->scratch, n, sizeof *stale);
        if (stale == NULL) {
            return qn_fail_memory(err, ptq->graph->file, n);
        }
        if (ptq->n_stale > 0) {
            memcpy(stale, ptq->stale, ptq->n_stale);
        }
        ptq->stale = stale;
        ptq->n_stale = n;
    }
    ptq->stale[id] = 1;
    return QN_OK;
}

bool qn_ptq_is_stale(const qn_ptq *ptq, qn_value_id id)
{
    if (id != QN_NO_VALUE) {
        return (size_t)id < ptq->n_stale && ptq->stale[id] != 0;
    }
    return ptq->n_stale > 0 && memchr(ptq->stale, 1, ptq->n_stale) != NULL;
}
