/* Equalization and the two normalizations: first every layer's weights to -1..1, later every scaling node's output. */
#include <math.h>

#include "ptq/aidge/aidge.h"

static double abs_max(const double *x, int64_t n)
{
    double max = 0;
    for (int64_t i = 0; i < n; i++) {
        max = fabs(x[i]) > max ? fabs(x[i]) : max;
    }
    return max;
}

static void rescale(double *x, int64_t n, double factor)
{
    for (int64_t i = 0; x != NULL && i < n; i++) {
        x[i] *= factor;
    }
}

static void rescale_weights(qn_aidge_node *node, double factor)
{
    rescale(node->weight, node->n_weights, factor);
    node->gain *= factor;
}

static qn_status check_weights(const qn_aidge_net *net, qn_error *err)
{
    for (int k = 0; k < net->n_nodes; k++) {
        const qn_aidge_node *node = &net->nodes[k];
        if (qn_aidge_is_affine(node) && !(abs_max(node->weight, node->n_weights) > 0)) {
            return qn_fail(err, QN_ERANGE, node->name, "all weights are 0, so there is no scale for them; remove it");
        }
    }
    return QN_OK;
}

/* One sweep over consecutive layers; returns the greatest difference of two ranges before it. */
static double equalize_once(qn_aidge_net *net)
{
    double delta = 0;
    qn_aidge_node *before = NULL;
    for (int k = 0; k < net->n_nodes; k++) {
        qn_aidge_node *node = &net->nodes[k];
        if (!qn_aidge_is_affine(node)) {
            continue;
        }
        if (before != NULL) {
            double r1 = abs_max(before->weight, before->n_weights), r2 = abs_max(node->weight, node->n_weights);
            double s1 = sqrt(r1 * r2) / r1, s2 = sqrt(r1 * r2) / r2;
            rescale_weights(before, s1);
            rescale(before->bias, before->weight_dims[0], s1);
            rescale_weights(node, s2);
            delta = fabs(r1 - r2) > delta ? fabs(r1 - r2) : delta;
        }
        before = node;
    }
    return delta;
}

/* One factor for a whole layer: what follows divides by it again, so that beyond the last bits of the doubles nothing
 * changes. It is here for those bits. The library has no bound on the sweeps; convergence is geometric. */
qn_status qn_aidge_equalize(qn_aidge_net *net, qn_error *err)
{
    enum { MAX_SWEEPS = 1000 };
    QN_TRY(check_weights(net, err));
    int *n_children = qn_aidge_count_children(net);
    if (n_children == NULL) {
        return qn_fail_memory(err, NULL, (size_t)net->n_nodes * sizeof *n_children);
    }
    for (int k = 0; k < net->n_nodes; k++) {
        if (n_children[k] > 1) {
            return qn_aidge_note_add(net, err,
                                     "cross-layer equalization was skipped, as the network has branches ('%s')",
                                     net->nodes[k].name);
        }
    }
    int sweeps = 0;
    while (equalize_once(net) > 0.01 && ++sweeps < MAX_SWEEPS) {
    }
    return QN_OK;
}

/* The greatest of values[parent] over a join's branches. */
static double greatest(const qn_aidge_node *join, const double *values)
{
    double max = 0;
    for (int i = 0; i < join->n_parents; i++) {
        max = values[join->parents[i]] > max ? values[join->parents[i]] : max;
    }
    return max;
}

static double *node_values(qn_aidge_net *net, qn_error *err)
{
    double *values = qn_arena_array(&net->arena, (size_t)net->n_nodes, sizeof *values);
    if (values == NULL) {
        qn_fail_memory(err, NULL, (size_t)net->n_nodes * sizeof *values);
    }
    return values;
}

/* A branch that is an operand twice is scaled once. */
static bool is_first_operand(const qn_aidge_node *join, int i)
{
    bool first = true;
    for (int j = 0; j < i; j++) {
        first = first && join->parents[j] != join->parents[i];
    }
    return first;
}

qn_status qn_aidge_normalize_parameters(qn_aidge_net *net, double input, qn_error *err)
{
    double *rho = node_values(net, err); /* real value * rho = value here */
    if (rho == NULL) {
        return QN_ENOMEM;
    }
    for (int k = 0; k < net->n_nodes; k++) {
        qn_aidge_node *node = &net->nodes[k];
        if (qn_aidge_is_join(node)) {
            rho[k] = greatest(node, rho);
            for (int i = 0; i < node->n_parents; i++) {
                if (is_first_operand(node, i)) {
                    double rescaling = rho[node->parents[i]] / rho[k];
                    net->nodes[qn_aidge_previous_scaling(net, node->parents[i])].scale *= 1 / rescaling;
                }
            }
            continue;
        }
        rho[k] = node->parents[0] == QN_AIDGE_INPUT ? 1 / input : rho[node->parents[0]];
        if (qn_aidge_is_affine(node)) {
            double ratio = 1.0 / abs_max(node->weight, node->n_weights);
            rescale_weights(node, ratio);
            rho[k] *= ratio;
            rescale(node->bias, node->weight_dims[0], rho[k]);
        }
    }
    net->output_scale = 1 / rho[net->output];
    return QN_OK;
}

qn_status qn_aidge_normalize_activations(qn_aidge_net *net, qn_error *err)
{
    double *sigma = node_values(net, err); /* value before = value here * sigma */
    if (sigma == NULL) {
        return QN_ENOMEM;
    }
    for (int k = 0; k < net->n_nodes; k++) {
        qn_aidge_node *node = &net->nodes[k];
        if (qn_aidge_is_join(node)) {
            sigma[k] = greatest(node, sigma);
            for (int i = 0; i < node->n_parents; i++) {
                if (is_first_operand(node, i)) {
                    net->nodes[qn_aidge_previous_scaling(net, node->parents[i])].scale *=
                        sigma[node->parents[i]] / sigma[k];
                }
            }
            continue;
        }
        double before = node->parents[0] == QN_AIDGE_INPUT ? 1 : sigma[node->parents[0]];
        sigma[k] = before;
        if (node->op == QN_AIDGE_SCALING) {
            node->scale *= 1 / (node->range / before);
            sigma[k] = node->range;
            qn_aidge_node *layer = &net->nodes[node->parents[0]];
            if (qn_aidge_is_affine(layer)) {
                rescale(layer->bias, layer->weight_dims[0], 1.0 / before);
            }
        }
    }
    net->output_scale *= sigma[net->output];
    return QN_OK;
}
