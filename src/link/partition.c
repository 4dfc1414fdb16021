/* The best plan of a problem: the least limit within which there is one. */
#include "link/partition.h"

int64_t qn_part_stage_time(const qn_part_problem *p, size_t type, size_t from, size_t to)
{
    const qn_part_type *t = &p->types[type];
    return t->before[to] - t->before[from] + t->codec[from] + t->codec[to];
}

/* Both in whole picoseconds; where a half is left, more. */
static int64_t later(int64_t busy, int64_t delay)
{
    return busy == QN_PART_NONE ? QN_PART_NONE : busy + delay;
}

static int64_t period_of(int64_t busy, int64_t delay, int64_t take)
{
    const int64_t half = busy == QN_PART_NONE ? 0 : (busy + delay + take + 1) / 2;
    return half > busy ? half : busy;
}

int64_t qn_part_link_busy(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver)
{
    return p->times[((place * p->n_choices + (size_t)choice) * p->n_types + sender) * p->n_types + receiver];
}

int64_t qn_part_link_time(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver)
{
    return later(qn_part_link_busy(p, place, choice, sender, receiver), p->delays[sender * p->n_types + receiver]);
}

int64_t qn_part_link_period(const qn_part_problem *p, size_t place, int choice, size_t sender, size_t receiver)
{
    return period_of(qn_part_link_busy(p, place, choice, sender, receiver), p->delays[sender * p->n_types + receiver],
                     p->types[receiver].codec[place]);
}

int64_t qn_part_start_time(const qn_part_type *type)
{
    return later(type->start, type->start_delay);
}

int64_t qn_part_start_period(const qn_part_type *type)
{
    return period_of(type->start, type->start_delay, type->codec[0]);
}

int64_t qn_part_end_time(const qn_part_type *type)
{
    return later(type->end, type->end_delay);
}

int64_t qn_part_end_period(const qn_part_type *type)
{
    return period_of(type->end, type->end_delay, 0);
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void qn_part_evaluate(const qn_part_problem *p, qn_part_plan *plan)
{
    const size_t last = plan->n_stages - 1;
    const qn_part_type *first_type = &p->types[plan->type[0]], *last_type = &p->types[plan->type[last]];
    int64_t medium = (first_type->start_shared ? first_type->start : 0) + (last_type->end_shared ? last_type->end : 0);
    plan->latency = qn_part_start_time(first_type) + qn_part_end_time(last_type);
    plan->period = greater(qn_part_start_period(first_type), qn_part_end_period(last_type));
    plan->loss = 0;
    for (size_t k = 0; k <= last; k++) {
        const size_t type = (size_t)plan->type[k];
        const int64_t stage = qn_part_stage_time(p, type, plan->place[k], plan->place[k + 1]);
        plan->latency += stage;
        plan->period = greater(stage, plan->period);
        if (k < last) {
            const size_t to = (size_t)plan->type[k + 1];
            const size_t place = plan->place[k + 1];
            const int choice = plan->choice[k];
            plan->latency += qn_part_link_time(p, place, choice, type, to);
            plan->period = greater(qn_part_link_period(p, place, choice, type, to), plan->period);
            if (p->shared != NULL && p->shared[type * p->n_types + to]) {
                medium += qn_part_link_busy(p, place, choice, type, to);
            }
            plan->loss += p->losses[place * p->n_choices + (size_t)choice];
        }
    }
    plan->period = p->shared != NULL ? greater(medium, plan->period) : plan->period;
}

bool qn_part_is_better(const qn_part_problem *p, const qn_part_plan *a, const qn_part_plan *b)
{
    const int64_t x = p->latency ? a->latency : a->period, y = p->latency ? b->latency : b->period;
    if (a->n_stages == 0 || b->n_stages == 0) {
        return b->n_stages == 0 && a->n_stages > 0;
    }
    if (x != y || a->n_stages != b->n_stages || a->loss != b->loss) {
        return x != y ? x < y : a->n_stages != b->n_stages ? a->n_stages < b->n_stages : a->loss < b->loss;
    }
    for (size_t k = 0; k < a->n_stages; k++) {
        if (a->place[k + 1] != b->place[k + 1]) {
            return a->place[k + 1] < b->place[k + 1];
        }
        if (a->type[k] != b->type[k]) {
            return a->type[k] < b->type[k];
        }
        const int64_t *bytes = k > 0 ? &p->bytes[a->place[k] * p->n_choices] : NULL; /* of the link before it */
        if (k > 0 && bytes[a->choice[k - 1]] != bytes[b->choice[k - 1]]) {
            return bytes[a->choice[k - 1]] < bytes[b->choice[k - 1]];
        }
    }
    return false;
}

/* The lesser of `next` and a time that is above `limit`. */
static int64_t sooner(int64_t next, int64_t time, int64_t limit)
{
    return time > limit && time < next ? time : next;
}

static int64_t next_link_period(const qn_part_problem *p, int64_t limit)
{
    int64_t next = INT64_MAX;
    for (size_t place = 1; place + 1 < p->n_places; place++) {
        for (int c = 0; c < (int)p->n_choices; c++) {
            for (size_t k = 0; k < p->n_types * p->n_types; k++) {
                next = sooner(next, qn_part_link_period(p, place, c, k / p->n_types, k % p->n_types), limit);
            }
        }
    }
    return next;
}

/* The least time of a stage, or period of a link or a transfer at the ends, that is above `limit`; INT64_MAX: none is.
 */
static int64_t next_time(const qn_part_problem *p, int64_t limit)
{
    int64_t next = next_link_period(p, limit);
    for (size_t t = 0; t < p->n_types; t++) {
        const qn_part_type *type = &p->types[t];
        next = sooner(next, qn_part_start_period(type), limit);
        next = sooner(next, qn_part_end_period(type), limit);
        for (size_t i = 0; i + 1 < p->n_places; i++) {
            for (size_t j = i + 1; j < p->n_places; j++) {
                const int64_t bare = type->before[j] - type->before[i];
                if (bare >= next) {
                    break;
                }
                next = sooner(next, bare + type->codec[i] + type->codec[j], limit);
            }
        }
    }
    return next;
}

static qn_status within(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets, qn_part_stages *stages,
                        int64_t limit, qn_error *err)
{
    return p->shared != NULL || p->latency ? qn_part_sum_within(plan, p, sets, stages, limit, err)
                                           : qn_part_rate_within(plan, p, sets, stages, limit, err);
}

/* Halving between a limit that is too small and the period of a plan; periods are those of stages and links, but for
 * the sums of a medium, which can be any: without it there is a first plan, and a limit, from where steps grow. */
static qn_status narrow(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets, qn_part_stages *stages,
                        qn_error *err)
{
    qn_part_plan found;
    int64_t low = -1, step = 1; /* no plan is as fast as low */
    if (p->shared != NULL) {
        qn_part_problem apart = *p;
        apart.shared = NULL;
        QN_TRY(narrow(plan, &apart, sets, stages, err));
        if (plan->n_stages > 0) {
            low = plan->period - 1;
            qn_part_evaluate(p, plan);
        }
    } else {
        QN_TRY(within(plan, p, sets, stages, QN_PART_NONE - 1, err));
    }
    while (plan->n_stages > 0) {
        const int64_t least = p->shared == NULL ? next_time(p, low) : low + 1;
        if (least >= plan->period) {
            break;
        }
        int64_t middle = least + (plan->period - 1 - least) / 2;
        middle = p->shared != NULL && low + step < middle ? low + step : middle;
        QN_TRY(within(&found, p, sets, stages, middle, err));
        if (found.n_stages > 0) {
            *plan = found;
        } else {
            step = step < low / 1024 ? low / 1024 + 1 : step > INT64_MAX / 8 ? step : 4 * step;
            low = middle;
        }
    }
    /* Of the plans of this period the one that comes first. */
    return plan->n_stages > 0 ? within(plan, p, sets, stages, plan->period, err) : QN_OK;
}

qn_status qn_part_solve(qn_part_plan *plan, const qn_part_problem *p, qn_error *err)
{
    qn_arena arena = {0};
    qn_part_sets sets;
    qn_part_stages stages = {0};
    plan->n_stages = 0;
    qn_status status = qn_part_sets_make(&sets, &arena, p, err);
    status = status == QN_OK ? qn_part_stages_make(&stages, &arena, p, &sets, err) : status;
    if (status == QN_OK && sets.max_size > 0) {
        status =
            p->latency ? within(plan, p, &sets, &stages, QN_PART_NONE - 1, err) : narrow(plan, p, &sets, &stages, err);
    }
    qn_part_stages_free(&stages);
    qn_arena_free(&arena);
    return status;
}
