/* Which value of which item is not finite: the network once more over the set, all values kept. */
#include "calib/calib.h"

#include <math.h>
#include <stdio.h>

#include "engine/feed.h"
#include "graph/model.h"

typedef struct {
    const qn_model *model;
    const qn_dataset *data;
    const qn_program *program;
} search;

static bool row_is_finite(const qn_value_view *view, int64_t row)
{
    bool finite = true;
    for (int64_t c = 0; c < view->channels; c++) {
        const float *x = view->data + row * view->stride_n + c / view->block * view->stride_block + c % view->block;
        for (int64_t i = 0; i < view->inner; i++) {
            finite = finite && isfinite(x[i * view->stride_inner]);
        }
    }
    return finite;
}

/* Are the rows of item `item` out of n finite? Values whose rows do not count items belong to the first. */
static bool item_is_finite(const qn_value_view *view, int64_t item, int64_t n)
{
    bool counts = view->n % n == 0;
    int64_t per_item = counts ? view->n / n : item == 0 ? view->n : 0;
    bool finite = true;
    for (int64_t row = 0; finite && row < per_item; row++) {
        finite = row_is_finite(view, (counts ? item * per_item : 0) + row);
    }
    return finite;
}

static qn_status search_batch(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    const search *s = ctx;
    const qn_graph *graph = &s->model->graph;
    for (int64_t i = 0; i < batch->n; i++) {
        for (size_t v = 0; v < graph->n_values; v++) {
            qn_value_view view;
            if (qn_program_view(s->program, batch->workspace, (qn_value_id)v, batch->n, &view) &&
                !item_is_finite(&view, i, batch->n)) {
                char where[QN_ERROR_WHERE_MAX];
                snprintf(where, sizeof where, "%s, value '%s'", graph->file, graph->values[v].name);
                return qn_fail(err, QN_ERANGE, where,
                               "is NaN or infinite on item %lld of %s; check the network and the preprocessing",
                               (long long)(batch->first + i), qn_dataset_name(s->data));
            }
        }
    }
    return QN_OK;
}

qn_status qn_calibrate_explain(const qn_model *model, const qn_dataset *data, const qn_program_options *options,
                               qn_error *err)
{
    qn_program_options kept = *options;
    kept.keep_values = true;
    qn_program *program = NULL;
    QN_TRY(qn_program_create(&program, model, &kept, err));
    search s = {model, data, program};
    const qn_feed feed = {.program = program, .data = data, .n_threads = 1, .each = search_batch, .ctx = &s};
    qn_status status = qn_feed_run(&feed, NULL, err);
    qn_program_free(program);
    return status != QN_OK ? status
                           : qn_fail(err, QN_EINTERNAL, model->graph.file, "a value that was not finite is finite now");
}
