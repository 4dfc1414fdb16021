/* quern partition: the accuracy of a plan as a whole, all of its links at once, through real messages. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "cli/partition.h"
#include "cli/pipeline_ends.h"
#include "engine/labels.h"

typedef struct chain {
    const qn_plan *plan;
    qn_worker **workers;
    unsigned char *message;
    size_t *positions;
    cli_pipeline_ends ends;
} chain;

static qn_status open_chain(chain *c, const cli_partition_state *s, const cli_args *args, const qn_plan *plan,
                            qn_error *err)
{
    size_t most = 1;
    c->plan = plan;
    c->workers = qn_alloc(plan->n_stages * sizeof(qn_worker *));
    c->positions = qn_alloc((plan->n_stages + 1) * sizeof *c->positions);
    if (c->workers == NULL || c->positions == NULL) {
        return qn_fail_memory(err, NULL, plan->n_stages * sizeof *c->positions);
    }
    QN_TRY(qn_plan_check(c->positions, plan, s->cuts, err));
    for (size_t k = 0; k < plan->n_stages; k++) {
        QN_TRY(qn_worker_create(&c->workers[k], s->cuts, plan, c->positions, k, err));
        const size_t given = qn_worker_most_given(c->workers[k]);
        most = given > most ? given : most;
    }
    c->message = qn_alloc(most);
    if (c->message == NULL) {
        return qn_fail_memory(err, NULL, most);
    }
    return cli_pipeline_ends_open(&c->ends, s->cuts, s->data, cli_has(args, "labels") ? &s->labels : NULL,
                                  cli_value(args, "labels"), plan->microbatch, true, err);
}

static void close_chain(chain *c)
{
    for (size_t k = 0; c->workers != NULL && k < c->plan->n_stages; k++) {
        qn_worker_free(c->workers[k]);
    }
    qn_free(c->workers);
    qn_free(c->positions);
    qn_free(c->message);
    cli_pipeline_ends_close(&c->ends);
}

static qn_status run_chain(chain *c, cli_progress *progress, qn_error *err)
{
    uint64_t sequence = 0;
    for (int64_t first = 0; first < c->ends.n_items; first += c->plan->microbatch, sequence++) {
        const int64_t left = c->ends.n_items - first, n = left < c->plan->microbatch ? left : c->plan->microbatch;
        const float *const *inputs;
        size_t bytes = 0;
        QN_TRY(cli_pipeline_read(&c->ends, first, n, &inputs, err));
        for (size_t k = 0; k < c->plan->n_stages; k++) {
            qn_worker *worker = c->workers[k];
            QN_TRY(k == 0 ? qn_worker_feed(worker, sequence, inputs, n, err)
                          : qn_worker_take(worker, c->message, bytes, err));
            QN_TRY(qn_worker_compute(worker, err));
            if (k + 1 < c->plan->n_stages) {
                QN_TRY(qn_worker_give(worker, 0, c->message, &bytes, err));
            }
        }
        QN_TRY(cli_pipeline_write(&c->ends, first, n, qn_worker_output(c->workers[c->plan->n_stages - 1], 0), err));
        if (!cli_progress_step(progress, first + n, c->ends.n_items)) {
            return qn_fail(err, QN_ECANCELED, NULL, "interrupted");
        }
    }
    return QN_OK;
}

static void compare(cli_partition_state *s, const chain *plan, const chain *uncut, bool labels)
{
    const float *a = plan->ends.outputs.data, *b = uncut->ends.outputs.data;
    const int64_t n = plan->ends.n_items, count = plan->ends.count_out;
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) {
        same += qn_argmax(a + i * count, count) == qn_argmax(b + i * count, count);
    }
    s->items = n;
    s->agreement = (double)same / (double)n;
    if (labels) {
        s->top1 = (double)plan->ends.correct / (double)n;
        s->uncut_top1 = (double)uncut->ends.correct / (double)n;
    }
}

qn_status cli_partition_measure(const cli_args *args, cli_partition_state *s, qn_error *err)
{
    chain plan = {0}, uncut = {0};
    qn_plan whole = {0};
    cli_progress progress;
    cli_progress_start(&progress, args, "the whole plan");
    qn_status status = qn_plan_even(&whole, s->cuts, 1, s->plan.microbatch, NULL, err);
    status = status == QN_OK ? open_chain(&plan, s, args, &s->plan, err) : status;
    status = status == QN_OK ? run_chain(&plan, &progress, err) : status;
    status = status == QN_OK ? open_chain(&uncut, s, args, &whole, err) : status;
    status = status == QN_OK ? run_chain(&uncut, &progress, err) : status;
    cli_progress_end(&progress);
    if (status == QN_OK) {
        compare(s, &plan, &uncut, cli_has(args, "labels"));
    }
    close_chain(&plan);
    close_chain(&uncut);
    qn_plan_free(&whole);
    return status;
}
