/* Passes that clean a float network up; the graph room does the work. Where values are no longer what was calibrated,
 * the calibration is made anew, which takes data: without, such a pass is left out. */
#include "graph/passes.h"
#include "ptq/recipe.h"

/* Operators that exporters write in pieces: each pass runs the patterns of its name (graph/patterns.inc). */
qn_status qn_ptq_recognize(qn_ptq *ptq, qn_error *err)
{
    return qn_graph_recognize(ptq->graph, ptq->step->pass->name, NULL, err);
}

typedef qn_status change_fn(qn_graph *graph, int64_t *count, qn_error *err);

/* A change after which values of the same name are others. */
static qn_status change(qn_ptq *ptq, change_fn *fn, qn_error *err)
{
    int64_t count = 0;
    if (ptq->calibration == NULL) {
        return fn(ptq->graph, &count, err);
    }
    if (ptq->data == NULL) {
        qn_graph tried = {0};
        qn_status status = qn_graph_clone(&tried, ptq->graph, err);
        status = status == QN_OK ? fn(&tried, &count, err) : status;
        qn_graph_free(&tried);
        return status == QN_OK && count > 0
                   ? qn_ptq_add_remark(ptq, err, "left out, for the calibration is of the network as it was: %s",
                                       ptq->step->pass->name)
                   : status;
    }
    QN_TRY(fn(ptq->graph, &count, err));
    return count > 0 ? qn_ptq_mark_stale(ptq, 0, err) : QN_OK;
}

qn_status qn_ptq_move_transposes(qn_ptq *ptq, qn_error *err)
{
    return change(ptq, qn_graph_move_transposes, err);
}

qn_status qn_ptq_fold_scales(qn_ptq *ptq, qn_error *err)
{
    return change(ptq, qn_graph_fold_scales, err);
}
