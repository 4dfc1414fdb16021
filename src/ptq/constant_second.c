/* The constant operand of a commutative operator goes last: some runtimes exchange operands by their shapes, and the order
 * matters to the last bit of a float sum that is evaluated with fused operations (arithmetic.md 2.5). */
#include "ptq/ptq.h"

qn_status qn_ptq_constant_second(qn_ptq *ptq, qn_error *err)
{
    (void)err;
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        if ((node->op == QN_OP_ADD || node->op == QN_OP_MUL) && graph->values[node->inputs[0]].constant != NULL) {
            qn_value_id constant = node->inputs[0];
            node->inputs[0] = node->inputs[1];
            node->inputs[1] = constant;
        }
    }
    return QN_OK;
}
