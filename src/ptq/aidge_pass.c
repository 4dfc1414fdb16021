/* Aidge's pipeline as a pass: the graph is replaced by the integer network that Aidge would have made. */
#include <stdio.h>

#include "graph/model.h"
#include "ptq/recipe.h"
#include "quern/aidge.h"

static qn_status read_options(const qn_ptq *ptq, qn_aidge_options *options, qn_error *err)
{
    static const char *const names[] = {"bits", "clip", "signs", "shift", "round", "forks", "input"};
    char text[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int n = snprintf(text + used, sizeof text - used, "%s%s=%s", i > 0 ? "," : "", names[i],
                         qn_ptq_option(ptq, names[i]));
        used += (size_t)n;
        if (used >= sizeof text) {
            return qn_fail(err, QN_EINVAL, ptq->graph->file, "options of aidge that are too long");
        }
    }
    qn_aidge_options_init(options);
    QN_TRY(qn_aidge_options_parse(options, text, err));
    options->n_threads = ptq->n_threads > 0 ? ptq->n_threads : 1;
    options->progress = ptq->progress;
    options->progress_ctx = ptq->progress_ctx;
    return QN_OK;
}

static qn_status install(qn_ptq *ptq, const qn_aidge *aidge, qn_error *err)
{
    qn_model *made = NULL;
    for (size_t i = 0; qn_aidge_note(aidge, i) != NULL; i++) {
        QN_TRY(qn_ptq_add_remark(ptq, err, "aidge: %s", qn_aidge_note(aidge, i)));
    }
    QN_TRY(qn_aidge_model(&made, aidge, ptq->model, err));
    qn_graph_free(ptq->graph);
    *ptq->graph = made->graph;
    made->graph = (qn_graph){0};
    qn_model_free(made);
    ptq->has_arithmetic = true;
    ptq->notes = NULL; /* what earlier passes knew was of the values of another graph */
    ptq->grids = NULL;
    ptq->pins = NULL;
    ptq->norms = NULL;
    ptq->n_stale = ptq->n_nonnegative = 0;
    return QN_OK;
}

qn_status qn_ptq_aidge(qn_ptq *ptq, qn_error *err)
{
    qn_aidge_options options;
    qn_aidge *aidge = NULL;
    QN_TRY(read_options(ptq, &options, err));
    QN_TRY(qn_aidge_quantize(&aidge, ptq->model, ptq->data, &options, err));
    qn_status status = install(ptq, aidge, err);
    qn_aidge_free(aidge);
    return status;
}
