/* Weights pinned to a grid, and of which format. */
#include <string.h>

#include "ptq/ptq.h"

qn_ptq_pin *qn_ptq_find_pin(const qn_ptq *ptq, qn_value_id weights)
{
    qn_ptq_pin *pin = ptq->pins;
    while (pin != NULL && pin->weights != weights) {
        pin = pin->next;
    }
    return pin;
}

qn_status qn_ptq_pin_scale(qn_ptq *ptq, qn_value_id weights, const qn_tensor *on_grid, int64_t n, const float *scale,
                           qn_error *err)
{
    const qn_value *value = &ptq->graph->values[weights];
    qn_ptq_pin *pin = qn_ptq_find_pin(ptq, weights);
    float *copy = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *copy);
    if (copy == NULL) {
        return qn_fail_memory(err, value->name, (size_t)n * sizeof *copy);
    }
    memcpy(copy, scale, (size_t)n * sizeof *copy);
    if (pin == NULL) {
        pin = qn_arena_alloc(&ptq->scratch, sizeof *pin);
        if (pin == NULL) {
            return qn_fail_memory(err, value->name, sizeof *pin);
        }
        *pin = (qn_ptq_pin){.next = ptq->pins, .weights = weights, .original = value->constant, .bias = QN_NO_VALUE};
        ptq->pins = pin;
    }
    pin->n = n;
    pin->scale = copy;
    return qn_graph_set_constant(ptq->graph, weights, on_grid, err); /* the graph's arena keeps the original */
}

qn_status qn_ptq_weight_format(const qn_ptq *ptq, const qn_node *node, qn_format *format, qn_error *err)
{
    int bits = ptq->weight_bits != 0 ? ptq->weight_bits : 8;
    char where[QN_NODE_WHERE_MAX];
    if (bits < 2 || bits > 8) {
        return qn_fail(err, QN_EINVAL, qn_node_where(where, ptq->graph, node),
                       "weights of %d bits cannot be rounded to integers; 2 to 8 can", bits);
    }
    *format = (qn_format){.kind = QN_FORMAT_INT, .bits = bits, .is_signed = true, .narrow = true};
    return QN_OK;
}
