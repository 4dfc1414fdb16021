/* Bias correction without data (Nagel et al., "Data-free quantization", ICCV 2019, section 4.2 and appendix C).
 *
 * A BatchNormalization makes each channel of its output normal with mean beta and deviation |gamma|, about. Behind a
 * Relu or Clip the mean is that of a clipped normal; sums of values are taken as independent; averages keep their
 * mean. Where the mean of a layer's input is known so, E[(v - w) x] is taken off its bias. Zeros in the padding count as
 * if they were data. */
#include <math.h>
#include <string.h>

#include "ptq/round_layer.h"

/* Of a value, per channel; n 0 where nothing is known. */
typedef struct {
    int64_t n;
    double *mean, *variance;
} statistics;

typedef struct {
    qn_ptq *ptq;
    const qn_binding *binding;
    statistics *values; /* of the graph */
} propagation;

static qn_status statistics_make(propagation *p, qn_value_id id, int64_t n, qn_error *err)
{
    statistics *s = &p->values[id];
    s->mean = qn_arena_array(&p->ptq->scratch, (size_t)n, sizeof *s->mean);
    s->variance = qn_arena_array(&p->ptq->scratch, (size_t)n, sizeof *s->variance);
    s->n = n;
    return s->mean != NULL && s->variance != NULL ? QN_OK : qn_fail_memory(err, NULL, (size_t)n * sizeof *s->mean);
}

static double density(double z)
{
    return isinf(z) ? 0 : 0.3989422804014327 * exp(-0.5 * z * z);
}

static double distribution(double z)
{
    return 0.5 * erfc(-z * 0.7071067811865476);
}

void qn_ptq_clipped_normal(double mean, double deviation, double lo, double hi, double *clipped_mean, double *variance)
{
    if (!(deviation > 0) || lo >= hi) {
        *clipped_mean = mean < lo ? lo : mean;
        *clipped_mean = *clipped_mean > hi ? hi : *clipped_mean;
        *variance = 0;
        return;
    }
    double a = (lo - mean) / deviation, b = (hi - mean) / deviation;
    double below = distribution(a), above = distribution(-b), inside = distribution(b) - below;
    double at_lo = isinf(lo) ? 0 : lo * below, at_hi = isinf(hi) ? 0 : hi * above;
    *clipped_mean = at_lo + at_hi + mean * inside + deviation * (density(a) - density(b));
    /* E[y^2]: the part inside is that of the truncated normal */
    double edge_a = isinf(lo) ? 0 : (lo + mean) * density(a), edge_b = isinf(hi) ? 0 : (hi + mean) * density(b);
    double square = (mean * mean + deviation * deviation) * inside + deviation * (edge_a - edge_b);
    square += (isinf(lo) ? 0 : lo * lo * below) + (isinf(hi) ? 0 : hi * hi * above);
    *variance = square - *clipped_mean * *clipped_mean;
    *variance = *variance > 0 ? *variance : 0;
}

static qn_status clip(propagation *p, const qn_node *node, float lo, float hi, qn_error *err)
{
    const statistics *in = &p->values[node->inputs[0]];
    QN_TRY(statistics_make(p, node->outputs[0], in->n, err));
    statistics *out = &p->values[node->outputs[0]];
    for (int64_t c = 0; c < in->n; c++) {
        qn_ptq_clipped_normal(in->mean[c], sqrt(in->variance[c]), (double)lo, (double)hi, &out->mean[c],
                              &out->variance[c]);
    }
    return QN_OK;
}

static qn_status add(propagation *p, const qn_node *node, qn_error *err)
{
    const statistics *a = &p->values[node->inputs[0]], *b = &p->values[node->inputs[1]];
    QN_TRY(statistics_make(p, node->outputs[0], a->n, err));
    statistics *out = &p->values[node->outputs[0]];
    for (int64_t c = 0; c < a->n; c++) {
        out->mean[c] = a->mean[c] + b->mean[c];
        out->variance[c] = a->variance[c] + b->variance[c];
    }
    return QN_OK;
}

/* [N, C, ...] as [N, C * inner]. */
static qn_status flatten(propagation *p, const qn_node *node, int64_t n, qn_error *err)
{
    const statistics *in = &p->values[node->inputs[0]];
    QN_TRY(statistics_make(p, node->outputs[0], n, err));
    statistics *out = &p->values[node->outputs[0]];
    for (int64_t i = 0; i < n; i++) {
        out->mean[i] = in->mean[i / (n / in->n)];
        out->variance[i] = in->variance[i / (n / in->n)];
    }
    return QN_OK;
}

static bool keeps_means(qn_op op)
{
    return op == QN_OP_AVERAGE_POOL || op == QN_OP_GLOBAL_AVERAGE_POOL || op == QN_OP_IDENTITY || op == QN_OP_DROPOUT;
}

static qn_status propagate(propagation *p, const qn_node *node, qn_error *err)
{
    float lo, hi;
    if (node->n_inputs < 1 || node->inputs[0] == QN_NO_VALUE || node->n_outputs < 1) {
        return QN_OK;
    }
    qn_value_id x = node->inputs[0], y = node->outputs[0];
    const qn_bound_value *from = &p->binding->values[x], *to = &p->binding->values[y];
    if (p->values[x].n == 0 || p->values[y].n != 0) {
        return QN_OK;
    }
    if (qn_ptq_bounds(p->ptq->graph, node, &lo, &hi)) {
        return clip(p, node, lo, hi, err);
    }
    if (keeps_means(node->op)) {
        p->values[y] = p->values[x];
    } else if (node->op == QN_OP_ADD && p->values[node->inputs[1]].n == p->values[x].n) {
        return add(p, node, err);
    } else if ((node->op == QN_OP_FLATTEN || node->op == QN_OP_RESHAPE) && from->rank > 1 && to->rank == 2 &&
               to->dims[0] == from->dims[0] && to->dims[1] % p->values[x].n == 0) {
        return flatten(p, node, to->dims[1], err);
    }
    return QN_OK;
}

static qn_status correct(propagation *p, qn_node *node, qn_error *err)
{
    static const qn_ptq_round_options only_bias = {.correct = true};
    qn_columns columns;
    bool has;
    QN_TRY(qn_columns_of_node(&columns, &has, p->binding, node, err));
    const statistics *x = &p->values[node->inputs[0]];
    int64_t n_inputs = columns.k * columns.n_groups;
    int64_t per_channel = columns.is_conv ? columns.window.kernel[0] * columns.window.kernel[1] : 1;
    if (!has || x->n * per_channel != n_inputs) {
        return QN_OK;
    }
    double *mean = qn_alloc((size_t)n_inputs * sizeof *mean);
    if (mean == NULL) {
        return qn_fail_memory(err, node->name, (size_t)n_inputs * sizeof *mean);
    }
    for (int64_t i = 0; i < n_inputs; i++) {
        mean[i] = x->mean[i / per_channel];
    }
    const qn_moments moments = {.n_groups = columns.n_groups, .k = columns.k, .n = 1, .z = mean, .x = mean};
    qn_status status = qn_round_node(p->ptq, node, &only_bias, &moments, 1, err);
    qn_free(mean);
    return status;
}

static qn_status correct_all(propagation *p, qn_error *err)
{
    qn_graph *graph = p->ptq->graph;
    size_t n_values = graph->n_values; /* correcting makes more */
    p->values = qn_arena_array(&p->ptq->scratch, n_values, sizeof *p->values);
    if (p->values == NULL) {
        return qn_fail_memory(err, graph->file, n_values * sizeof *p->values);
    }
    for (const qn_ptq_norm *normal = p->ptq->norms; normal != NULL; normal = normal->next) {
        if ((size_t)normal->value < n_values) {
            QN_TRY(statistics_make(p, normal->value, normal->n, err));
            statistics *s = &p->values[normal->value];
            for (int64_t c = 0; c < normal->n; c++) {
                s->mean[c] = normal->mean[c];
                s->variance[c] = normal->deviation[c] * normal->deviation[c];
            }
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        if (qn_ptq_rule_of(node->op)->has_weights && qn_ptq_float_constant(graph, node->inputs[1]) != NULL &&
            qn_ptq_can_round(p->ptq, node) && p->values[node->inputs[0]].n > 0) {
            QN_TRY(correct(p, node, err));
        }
        QN_TRY(propagate(p, node, err));
    }
    return QN_OK;
}

qn_status qn_ptq_correct_bias_analytic(qn_ptq *ptq, qn_error *err)
{
    qn_binding binding = {0};
    propagation p = {.ptq = ptq, .binding = &binding};
    qn_status status = qn_graph_bind(&binding, ptq->graph, 1, err);
    if (status == QN_OK) {
        status = correct_all(&p, err);
    }
    qn_binding_free(&binding);
    return status;
}
