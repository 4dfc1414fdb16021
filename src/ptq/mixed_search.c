/* Assignments evaluated as they are, and swaps between them: damages of layers do not really add up. */
#include <stdlib.h>
#include <string.h>

#include "ptq/mixed.h"

int64_t qn_mixed_cost_of(const qn_mixed *mixed, const int *assigned)
{
    int64_t cost = 0;
    for (int u = 0; u < mixed->n_units; u++) {
        cost += qn_mixed_choice(mixed, u, assigned[u])->cost;
    }
    return cost;
}

static bool is_better(const qn_mixed *mixed, const qn_study_result *a, const qn_study_result *b)
{
    const qn_evaluation *x = &a->evaluation, *y = &b->evaluation;
    if (mixed->options.metric == QN_MIXED_TOP1 && x->correct != y->correct) {
        return x->correct > y->correct;
    }
    return x->sqnr_db > y->sqnr_db;
}

const qn_mixed_trial *qn_mixed_find_trial(const qn_mixed *mixed, const int *assigned)
{
    const qn_mixed_trial *trial = mixed->trials;
    while (trial != NULL && memcmp(trial->assigned, assigned, (size_t)mixed->n_units * sizeof *assigned) != 0) {
        trial = trial->next;
    }
    return trial;
}

static bool was_tried(const qn_mixed *mixed, const int *assigned)
{
    return qn_mixed_find_trial(mixed, assigned) != NULL;
}

static qn_status evaluate(qn_mixed *mixed, const int *assigned, qn_study_result *result, qn_model **quantized,
                          qn_quantize_report **report, qn_error *err)
{
    size_t n = 0;
    qn_quantize_set *sets = qn_alloc((size_t)mixed->n_units * QN_MIXED_SETS_MAX * sizeof *sets);
    if (sets == NULL) {
        return qn_fail_memory(err, NULL, (size_t)mixed->n_units * sizeof *sets);
    }
    for (int u = 0; u < mixed->n_units; u++) {
        n = qn_mixed_add_sets(mixed, u, assigned[u], sets, n);
    }
    qn_status status = qn_study_try_sets(mixed->study, sets, n, result, quantized, report, err);
    qn_free(sets);
    return status;
}

qn_status qn_mixed_try(qn_mixed *mixed, const int *assigned, qn_model **quantized, qn_quantize_report **report,
                       qn_error *err)
{
    qn_study_result result = {0};
    if (quantized != NULL) {
        return evaluate(mixed, assigned, &result, quantized, report, err);
    }
    if (was_tried(mixed, assigned) || mixed->about.n_trials >= mixed->options.max_trials) {
        return QN_OK;
    }
    QN_TRY(evaluate(mixed, assigned, &result, NULL, NULL, err));
    qn_mixed_trial *trial = qn_arena_alloc(&mixed->arena, sizeof *trial);
    char *copy = qn_arena_bytes(&mixed->arena, assigned, (size_t)mixed->n_units * sizeof *assigned);
    if (trial == NULL || copy == NULL) {
        return qn_fail_memory(err, NULL, sizeof *trial);
    }
    *trial = (qn_mixed_trial){mixed->trials, (const int *)(const void *)copy, result};
    mixed->trials = trial;
    mixed->about.n_trials++;
    if (mixed->best == NULL || is_better(mixed, &result, &mixed->best->result)) {
        mixed->best = trial;
    }
    return QN_OK;
}

/* Unit `up` gets another width, `down` as well unless it is -1. */
typedef struct {
    int up, up_width, down, down_width;
    double gain; /* predicted, in damage */
} swap;

static int by_gain(const void *a, const void *b)
{
    const swap *x = a, *y = b;
    if (x->gain != y->gain) {
        return x->gain > y->gain ? -1 : 1;
    }
    return x->up != y->up ? x->up - y->up : x->down - y->down;
}

/* The choice of the next greater (direction 1) or lesser (-1) cost; of equal ones the least damage. -1 for none. */
static int next_choice(const qn_mixed *mixed, int unit, int now, int direction)
{
    const int64_t cost = qn_mixed_choice(mixed, unit, now)->cost;
    int next = -1;
    for (int c = 0; c < mixed->n_choices; c++) {
        const qn_choice *choice = qn_mixed_choice(mixed, unit, c);
        const qn_choice *best = next >= 0 ? qn_mixed_choice(mixed, unit, next) : NULL;
        const int64_t step = (choice->cost - cost) * direction;
        const int64_t least = best != NULL ? (best->cost - cost) * direction : INT64_MAX;
        if (step > 0 && (step < least || (step == least && choice->damage < best->damage))) {
            next = c;
        }
    }
    return next;
}

static int list_swaps(const qn_mixed *mixed, swap *swaps)
{
    const int *now = mixed->best->assigned;
    const int64_t cost = qn_mixed_cost_of(mixed, now);
    int n = 0;
    for (int up = 0; up < mixed->n_units; up++) {
        const int wider = next_choice(mixed, up, now[up], 1);
        for (int down = -1; down < mixed->n_units && wider >= 0; down++) {
            const int narrower = down >= 0 ? next_choice(mixed, down, now[down], -1) : 0;
            if (down == up || narrower < 0) {
                continue;
            }
            const qn_choice *more = qn_mixed_choice(mixed, up, wider), *was = qn_mixed_choice(mixed, up, now[up]);
            int64_t then = cost + more->cost - was->cost;
            double gain = was->damage - more->damage;
            if (down >= 0) {
                then += qn_mixed_choice(mixed, down, narrower)->cost - qn_mixed_choice(mixed, down, now[down])->cost;
                gain +=
                    qn_mixed_choice(mixed, down, now[down])->damage - qn_mixed_choice(mixed, down, narrower)->damage;
            }
            if (then <= mixed->about.budget) {
                swaps[n++] = (swap){up, wider, down, narrower, gain};
            }
        }
    }
    qsort(swaps, (size_t)n, sizeof *swaps, by_gain);
    return n;
}

/* Try the swaps that promise most, until one makes it better. */
static qn_status improve_once(qn_mixed *mixed, swap *swaps, int *assigned, bool *better, qn_error *err)
{
    enum { TRIED = 8 };
    const qn_mixed_trial *start = mixed->best;
    const int n = list_swaps(mixed, swaps);
    for (int i = 0, tried = 0; i < n && tried < TRIED && mixed->best == start; i++) {
        memcpy(assigned, start->assigned, (size_t)mixed->n_units * sizeof *assigned);
        assigned[swaps[i].up] = swaps[i].up_width;
        if (swaps[i].down >= 0) {
            assigned[swaps[i].down] = swaps[i].down_width;
        }
        tried += was_tried(mixed, assigned) ? 0 : 1;
        QN_TRY(qn_mixed_try(mixed, assigned, NULL, NULL, err));
    }
    *better = mixed->best != start;
    return QN_OK;
}

qn_status qn_mixed_improve(qn_mixed *mixed, qn_error *err)
{
    const size_t n = (size_t)mixed->n_units;
    swap *swaps = qn_arena_array(&mixed->arena, n * (n + 1), sizeof *swaps);
    int *assigned = qn_arena_array(&mixed->arena, n, sizeof *assigned);
    if (swaps == NULL || assigned == NULL) {
        return qn_fail_memory(err, NULL, n * n * sizeof *swaps);
    }
    bool better = true;
    while (better && mixed->about.n_trials < mixed->options.max_trials) {
        QN_TRY(improve_once(mixed, swaps, assigned, &better, err));
    }
    return QN_OK;
}
