/* What is known before anything runs becomes a constant: weights that arrive through Transpose, Identity, Cast and the like,
 * sizes that follow from shapes, arithmetic on constants. What depends on the batch size stays as it is: two batch sizes are
 * tried, where the network takes two items at all (a Reshape to [1, -1] does not). */
#include <string.h>

#include "graph/bind.h"
#include "graph/passes.h"

static bool same_tensor(const qn_tensor *a, const qn_tensor *b)
{
    return a != NULL && b != NULL && a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0 &&
           memcmp(a->data, b->data, qn_tensor_bytes(a)) == 0;
}

static qn_status settle(qn_graph *graph, const qn_binding *one, const qn_binding *two, qn_error *err)
{
    for (size_t n = 0; n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        qn_value_id id = node->n_outputs == 1 ? node->outputs[0] : QN_NO_VALUE;
        if (node->op == QN_OP_REMOVED || id == QN_NO_VALUE || qn_graph_is_output(graph, id)) {
            continue;
        }
        const qn_tensor *known = one->values[id].known;
        if (!one->values[id].of_codes && same_tensor(known, two->values[id].known)) {
            node->op = QN_OP_REMOVED;
            graph->values[id].producer = -1;
            QN_TRY(qn_graph_set_constant(graph, id, known, err));
        }
    }
    return QN_OK;
}

qn_status qn_graph_settle_constants(qn_graph *graph, qn_error *err)
{
    qn_binding one = {0}, two = {0};
    qn_status status = qn_graph_bind_folding(&one, graph, 1, err);
    qn_error only_one;
    qn_error_init(&only_one);
    bool takes_two = status == QN_OK && qn_graph_bind_folding(&two, graph, 2, &only_one) == QN_OK;
    if (only_one.status == QN_ENOMEM) {
        status = qn_fail(err, QN_ENOMEM, only_one.where, "%s", only_one.message);
    }
    if (status == QN_OK) {
        status = settle(graph, &one, takes_two ? &two : &one, err);
    }
    qn_binding_free(&one);
    qn_binding_free(&two);
    return status == QN_OK ? qn_graph_tidy(graph, err) : status;
}
