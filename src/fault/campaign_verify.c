/* Pairs run again by brute force, whole networks from scratch. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "fault/campaign_work.h"
#include "graph/model.h"

static const uint64_t STREAM = 0x7665726966790000u; /* "verify": apart from the streams faults are drawn from */

bool qn_campaign_chosen(const qn_campaign_site *site, int64_t id, int64_t image)
{
    return site->verify >= 1 ||
           (double)qn_random_u32(site->seed ^ STREAM, (uint64_t)id, (uint64_t)image) < site->verify * 4294967296.0;
}

qn_status qn_campaign_remember(qn_campaign_work *work, qn_worker *worker, int64_t fault, int64_t image,
                               const qn_fault_effect *effect, qn_error *err)
{
    const size_t count = (size_t)work->site->output_count, n = worker->n_checks;
    QN_TRY(qn_grow((void **)&worker->checks, &worker->checks_capacity, n, sizeof *worker->checks, err));
    QN_TRY(qn_grow((void **)&worker->check_outputs, &worker->outputs_capacity, n, count * sizeof(float), err));
    worker->checks[n] = (qn_work_check){.fault = fault, .image = image, .end = effect->end, .bound = effect->bound};
    if (effect->end == QN_FAULT_AT_OUTPUT) {
        memcpy(worker->check_outputs + n * count, effect->outputs, count * sizeof(float));
    }
    worker->n_checks++;
    return QN_OK;
}

/* The checks of one image. */
typedef struct {
    qn_campaign_work *work;
    qn_worker *worker;
    const qn_fault *const *faults;
    qn_error *err;
    qn_status status;
} verification;

static qn_status fail_pair(const verification *v, const qn_fault *fault, int64_t image, const char *what)
{
    const qn_campaign_site *site = v->work->site;
    const qn_fault_change *change = fault->n_changes > 0 ? &fault->changes[0] : NULL;
    const qn_fault_target *target = change != NULL ? &site->targets.list[change->target] : NULL;
    return qn_fail(v->err, QN_EINTERNAL, site->options->model->graph.file,
                   "verification failed: fault %" PRId64 " (%s of '%s', element %" PRId64 ") on image %" PRId64
                   ": %s. This is an error of quern; please report it with the model and the specification",
                   fault->id, target != NULL ? qn_fault_where_text(target->where) : "nothing",
                   target != NULL ? target->layer : "", change != NULL ? change->element : -1, image, what);
}

/* A pair that was proven not to matter must not, and outputs must keep to their bound. */
static void compare_bounded(verification *v, const qn_fault *fault, int64_t image, double bound,
                            const qn_fault_effect *effect)
{
    const qn_campaign_site *site = v->work->site;
    const qn_golden *golden = &site->golden[image];
    const int n = (int)qn_campaign_outputs(site);
    const qn_outcome is = qn_outcome_of(golden, effect->outputs, n, site->options->spec->rmse_threshold);
    char text[200];
    if ((is.flags & ~(unsigned)(QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED)) != 0) {
        v->status = fail_pair(v, fault, image, "its answer was proven not to change, from scratch it does");
        return;
    }
    for (int i = 0; effect->outputs != NULL && i < n; i++) {
        if (!(fabs((double)effect->outputs[i] - (double)golden->outputs[i]) <= bound)) {
            snprintf(text, sizeof text,
                     "output %d was proven to change by %.9g at most, from scratch it is %.9g (fault-free %.9g)", i,
                     bound, (double)effect->outputs[i], (double)golden->outputs[i]);
            v->status = fail_pair(v, fault, image, text);
            return;
        }
    }
}

static void compare(void *ctx, int64_t index, int64_t image, const qn_fault_effect *effect)
{
    verification *v = ctx;
    const qn_campaign_site *site = v->work->site;
    const int64_t which = v->worker->chosen_check[index];
    const qn_work_check *check = &v->worker->checks[which];
    const qn_fault *fault = v->faults[check->fault];
    v->worker->n_verified++;
    if (v->status != QN_OK) {
        return;
    }
    const bool noticed = qn_fault_is_noticed(check->end), again = qn_fault_is_noticed(effect->end);
    if (noticed != again || (noticed && check->end != effect->end)) {
        v->status = fail_pair(v, fault, image,
                              noticed && again ? "it was refused for another reason than from scratch"
                              : noticed        ? "its parameter or frame was refused, from scratch it is not"
                                               : "from scratch its parameter or frame is refused");
        return;
    }
    const size_t count = (size_t)site->output_count;
    const float *golden = site->outputs + (size_t)image * count;
    if (check->end == QN_FAULT_BOUNDED) {
        compare_bounded(v, fault, image, check->bound, effect);
        return;
    }
    const float *was = check->end == QN_FAULT_AT_OUTPUT ? v->worker->check_outputs + (size_t)which * count : golden;
    const float *is = effect->outputs != NULL ? effect->outputs : golden;
    if (memcmp(was, is, count * sizeof *is) != 0) {
        size_t at = 0;
        while (memcmp(&was[at], &is[at], sizeof *is) == 0) {
            at++;
        }
        char text[160];
        snprintf(text, sizeof text, "output %zu is %.9g, from scratch it is %.9g (fault-free %.9g)", at,
                 (double)was[at], (double)is[at], (double)golden[at]);
        v->status = fail_pair(v, fault, image, text);
    }
}

qn_status qn_campaign_verify(qn_campaign_work *work, int worker_index, const qn_fault *const *faults, qn_error *err)
{
    qn_worker *worker = &work->workers[worker_index];
    qn_injector *whole = work->site->whole;
    verification v = {.work = work, .worker = worker, .faults = faults, .err = err};
    /* Checks of a group of several images are mixed: image by image, each at most once per fault. */
    int64_t first = INT64_MAX, last = -1;
    for (size_t i = 0; i < worker->n_checks; i++) {
        first = worker->checks[i].image < first ? worker->checks[i].image : first;
        last = worker->checks[i].image > last ? worker->checks[i].image : last;
    }
    for (int64_t image = first; image <= last; image++) {
        int64_t n = 0;
        for (size_t i = 0; i < worker->n_checks; i++) {
            if (worker->checks[i].image == image) {
                worker->chosen_check[n] = (int64_t)i;
                worker->chosen[n++] = faults[worker->checks[i].fault];
            }
        }
        if (n > 0) {
            QN_TRY(whole->ops->run(whole, worker_index, image, 1, worker->chosen, n, compare, &v, err));
        }
        QN_TRY(v.status);
    }
    return QN_OK;
}
