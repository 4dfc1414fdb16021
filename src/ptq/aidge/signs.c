/* Which values cannot be negative, and therefore get unsigned codes: twice the resolution. */
#include "ptq/aidge/aidge.h"

/* Per node: whether Relu nodes, and no others, read it. */
static bool only_relus_read(const qn_aidge_net *net, int index)
{
    int n = 0, n_relus = 0;
    for (int k = index + 1; k < net->n_nodes; k++) {
        for (int i = 0; i < net->nodes[k].n_parents; i++) {
            if (net->nodes[k].parents[i] == index) {
                n++;
                n_relus += net->nodes[k].op == QN_AIDGE_RELU;
            }
        }
    }
    return n > 0 && n == n_relus;
}

/* Make a branch of a join signed, down to its scaling node, which keeps the sign of what it reads when that is no layer or
 * join. Every node on the way has this join as its only reader. */
static void force_signed(qn_aidge_net *net, int index)
{
    while (net->nodes[index].op != QN_AIDGE_SCALING) {
        net->nodes[index].in_unsigned = net->nodes[index].out_unsigned = false;
        index = net->nodes[index].parents[0];
    }
    net->nodes[index].out_unsigned = false;
}

static void map_join(qn_aidge_net *net, qn_aidge_node *node)
{
    bool all = true;
    for (int i = 0; i < node->n_parents; i++) {
        all = all && net->nodes[node->parents[i]].out_unsigned;
    }
    for (int i = 0; !all && i < node->n_parents; i++) {
        force_signed(net, node->parents[i]);
    }
    node->in_unsigned = all;
    /* A difference of two unsigned values may be negative; the library overlooks that. */
    node->out_unsigned = all && node->op != QN_AIDGE_SUB;
}

void qn_aidge_map_signs(qn_aidge_net *net)
{
    for (int k = 0; k < net->n_nodes; k++) {
        qn_aidge_node *node = &net->nodes[k];
        bool in = node->parents[0] != QN_AIDGE_INPUT && net->nodes[node->parents[0]].out_unsigned;
        if (qn_aidge_is_join(node)) {
            map_join(net, node);
        } else if (node->op == QN_AIDGE_SCALING) {
            node->in_unsigned = in;
            node->out_unsigned = in || (!node->is_residual && only_relus_read(net, k));
        } else {
            node->in_unsigned = in;
            node->out_unsigned = in && !qn_aidge_is_affine(node);
        }
    }
}
