/* Factors of channels put into the network: weights, biases and added constants change, and values with them. */
#include <math.h>

#include "ptq/channels.h"

typedef struct {
    const qn_ptq_channels *c;
    qn_ptq *ptq;
    const qn_binding *binding;
    const double *factors; /* per variable */
    qn_error *err;
} application;

static double factor(const application *e, int32_t first, int64_t i)
{
    return first < 0 ? 1 : e->factors[first + i];
}

/* A changed copy of input `index` of a node takes its place; element i is multiplied by factors[i], which are read
 * before. */
static qn_status scale_constant(application *e, qn_node *node, int index, const double *factors)
{
    qn_graph *graph = e->ptq->graph;
    qn_value_id id;
    QN_TRY(qn_ptq_own_constant(e->ptq, node, index, &id, e->err));
    const qn_tensor *t = graph->values[id].constant;
    qn_tensor copy = {0};
    QN_TRY(qn_tensor_alloc(&copy, QN_DTYPE_F32, t->rank, t->dims, e->err));
    bool finite = true;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        float was = ((const float *)t->data)[i], is = (float)((double)was * factors[i]);
        ((float *)copy.data)[i] = is;
        finite &= isfinite(is) || !isfinite(was);
    }
    qn_status status = finite ? qn_graph_set_constant(graph, id, &copy, e->err)
                              : qn_fail(e->err, QN_ERANGE, graph->file,
                                        "equalized, constant '%s' leaves the range of float32; do without equalization",
                                        graph->values[id].name);
    qn_tensor_free(&copy);
    return status;
}

static qn_status scratch_factors(application *e, double **factors, int64_t n)
{
    *factors = qn_alloc((size_t)n * sizeof **factors);
    return *factors != NULL ? QN_OK : qn_fail_memory(e->err, e->ptq->graph->file, (size_t)n * sizeof **factors);
}

static qn_status apply_layer(application *e, const qn_ptq_layer *layer)
{
    qn_node *node = &e->ptq->graph->nodes[layer->node];
    double *factors;
    QN_TRY(scratch_factors(e, &factors, layer->n_out * layer->n_in * layer->n_kernel));
    for (int64_t o = 0; o < layer->n_out; o++) {
        for (int64_t j = 0; j < layer->n_in; j++) {
            double f = factor(e, layer->out, o) / factor(e, layer->in, qn_ptq_input_channel(layer, o, j));
            for (int64_t k = 0; k < layer->n_kernel; k++) {
                factors[o * layer->step_o + j * layer->step_j + k] = f;
            }
        }
    }
    qn_status status = scale_constant(e, node, 1, factors);
    if (status == QN_OK && node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE) {
        for (int64_t o = 0; o < layer->n_out; o++) {
            factors[o] = factor(e, layer->out, o);
        }
        status = scale_constant(e, node, 2, factors);
    }
    qn_free(factors);
    return status;
}

static qn_status apply_addend(application *e, const qn_ptq_addend *addend)
{
    qn_node *node = &e->ptq->graph->nodes[addend->node];
    int64_t n = qn_tensor_count(e->ptq->graph->values[node->inputs[addend->input]].constant);
    double *factors;
    QN_TRY(scratch_factors(e, &factors, n));
    for (int64_t i = 0; i < n; i++) {
        factors[i] = factor(e, addend->first, i / addend->inner % addend->n);
    }
    qn_status status = scale_constant(e, node, addend->input, factors);
    qn_free(factors);
    return status;
}

static qn_status note_value(application *e, qn_value_id id)
{
    int32_t first = e->c->first[id];
    double lo = INFINITY, hi = 0;
    int64_t n = first >= 0 ? e->binding->values[id].dims[e->c->axis[id]] : 0;
    for (int64_t i = 0; i < n; i++) {
        double f = factor(e, first, i);
        lo = f < lo ? f : lo;
        hi = f > hi ? f : hi;
    }
    if (n == 0 || (lo == 1 && hi == 1)) {
        return QN_OK;
    }
    QN_TRY(qn_ptq_mark_stale(e->ptq, id, e->err));
    qn_ptq_norm *norm = e->c->axis[id] == 1 ? qn_ptq_find_norm(e->ptq, id) : NULL;
    for (int64_t i = 0; norm != NULL && norm->n == n && i < n; i++) {
        norm->mean[i] *= factor(e, first, i);
        norm->deviation[i] *= factor(e, first, i);
    }
    return qn_ptq_add_note(e->ptq, id, 0, e->err, "channels equalized by factors from %.4g to %.4g", lo, hi);
}

/* A bound that was let through holds for no scaled channel. */
static qn_status drop_cap(application *e, qn_node *node)
{
    qn_graph *graph = e->ptq->graph;
    float lo, hi;
    int32_t first = e->c->first[node->outputs[0]];
    if (node->op != QN_OP_CLIP || first < 0 || !qn_ptq_bounds(graph, node, &lo, &hi) || hi == INFINITY ||
        !qn_ptq_is_stale(e->ptq, node->outputs[0])) {
        return QN_OK;
    }
    node->op = lo == 0 ? QN_OP_RELU : QN_OP_IDENTITY;
    node->op_type = qn_op_type(node->op);
    node->n_inputs = 1;
    node->n_attributes = 0;
    return qn_ptq_add_note(e->ptq, node->outputs[0], 0, e->err,
                           "its upper bound %.6g, which no calibration item reached, was dropped", (double)hi);
}

qn_status qn_ptq_channels_apply(const qn_ptq_channels *channels, qn_ptq *ptq, const qn_binding *binding,
                                const double *factors, qn_error *err)
{
    application e = {.c = channels, .ptq = ptq, .binding = binding, .factors = factors, .err = err};
    for (size_t i = 0; i < channels->n_layers; i++) {
        QN_TRY(apply_layer(&e, &channels->layers[i]));
    }
    for (size_t i = 0; i < channels->n_addends; i++) {
        QN_TRY(apply_addend(&e, &channels->addends[i]));
    }
    for (size_t id = 0; id < channels->n_values; id++) {
        QN_TRY(note_value(&e, (qn_value_id)id));
    }
    for (size_t n = 0; n < ptq->graph->n_nodes; n++) {
        QN_TRY(drop_cap(&e, &ptq->graph->nodes[n]));
    }
    return QN_OK;
}
