/* Operators that exporters write in pieces: the pass of each name runs the patterns of that name (graph/patterns.inc). */
#include "graph/passes.h"
#include "ptq/recipe.h"

qn_status qn_ptq_recognize(qn_ptq *ptq, qn_error *err)
{
    return qn_graph_recognize(ptq->graph, ptq->step->pass->name, NULL, err);
}
