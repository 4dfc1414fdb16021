/* Plans by sums: of all times, for the least latency; or of the times of links that share a medium, which add up to its
 * time for a micro-batch.
 *
 * As in partition_rate.c, but what a suffix costs is a front of labels: sums and losses of which none is better in
 * both. What must come before a suffix at least, however many devices there are, is known from the start; labels that
 * cannot become a plan within the bounds are left out. */
#include <string.h>

#include "link/partition.h"

typedef struct label {
    int64_t sum;
    int32_t loss;
} label;
typedef struct front {
    size_t at, n;
} front;
typedef struct pool {
    label *list;
    size_t n, capacity;
} pool;

enum { FAR = INT32_MAX };
static const int64_t VERY_FAR = INT64_MAX / 4;

/*  made     [place * n_types + t]: least sum, and least loss, of prefixes whose last stage is of type t
 *  entry    [place * n_classes + k]: the same with the link at the place to a device of class k
 *  most     of a whole plan's sum
 *  pieces   [offset[set] + class * width + i - left]: fronts in `kept`; next: per place, in `scratch` */
typedef struct sums {
    const qn_part_problem *p;
    const qn_part_sets *sets;
    const qn_part_stages *stages;
    int64_t limit, most;
    label *made, *entry;
    size_t *offset;
    front *pieces, *next;
    pool kept, scratch, work;
    qn_arena arena;
} sums;

static size_t width_of(const sums *s, size_t set)
{
    const qn_part_stages *stages = s->stages;
    return stages->right[set] >= stages->left[set] ? (size_t)(stages->right[set] - stages->left[set]) + 1 : 0;
}

static front *fronts_of(const sums *s, size_t set, size_t class)
{
    return s->pieces + s->offset[set] + class * width_of(s, set);
}

/* What a link adds to sums; NONE: it is too slow. */
static int64_t link_sum(const sums *s, size_t place, int choice, size_t sender, size_t receiver)
{
    const qn_part_problem *p = s->p;
    const int64_t busy = qn_part_link_busy(p, place, choice, sender, receiver);
    if (busy == QN_PART_NONE) {
        return QN_PART_NONE;
    }
    if (p->latency) {
        return qn_part_link_time(p, place, choice, sender, receiver);
    }
    return qn_part_link_period(p, place, choice, sender, receiver) > s->limit ? QN_PART_NONE
           : p->shared[sender * p->n_types + receiver]                        ? busy
                                                                              : 0;
}

static int64_t stage_sum(const sums *s, size_t type, size_t from, size_t to)
{
    return s->p->latency ? qn_part_stage_time(s->p, type, from, to) : 0;
}

static int64_t start_sum(const sums *s, const qn_part_type *type)
{
    return s->p->latency                           ? qn_part_start_time(type)
           : qn_part_start_period(type) > s->limit ? QN_PART_NONE
           : type->start_shared                    ? type->start
                                                   : 0;
}

static int64_t end_sum(const sums *s, const qn_part_type *type)
{
    return s->p->latency                         ? qn_part_end_time(type)
           : qn_part_end_period(type) > s->limit ? QN_PART_NONE
           : type->end_shared                    ? type->end
                                                 : 0;
}

/* The lesser of each, apart. */
static void lower(label *l, int64_t sum, int64_t loss)
{
    l->sum = sum < l->sum ? sum : l->sum;
    l->loss = loss < l->loss ? (int32_t)loss : l->loss;
}

static void fill_entries(sums *s, size_t i)
{
    const qn_part_problem *p = s->p;
    for (size_t k = 0; k < s->sets->n_classes; k++) {
        const size_t receiver = (size_t)s->sets->member[k];
        label *entry = &s->entry[i * s->sets->n_classes + k];
        *entry = (label){VERY_FAR, FAR};
        if (i == 0) {
            const int64_t start = start_sum(s, &p->types[receiver]);
            lower(entry, start == QN_PART_NONE ? VERY_FAR : start, start == QN_PART_NONE ? FAR : 0);
        }
        for (size_t t = 0; t < p->n_types && i > 0; t++) {
            const label made = s->made[i * p->n_types + t];
            for (int c = 0; c < (int)p->n_choices && made.sum < VERY_FAR; c++) {
                const int64_t link = link_sum(s, i, c, t, receiver);
                if (link != QN_PART_NONE) {
                    lower(entry, made.sum + link, (int64_t)made.loss + p->losses[i * p->n_choices + (size_t)c]);
                }
            }
        }
    }
}

/* Bounds of what comes before each place, place by place. */
static void fill_bounds(sums *s)
{
    const qn_part_problem *p = s->p;
    for (size_t i = 0; i < p->n_places * p->n_types; i++) {
        s->made[i] = (label){VERY_FAR, FAR};
    }
    for (size_t i = 0; i + 1 < p->n_places; i++) {
        fill_entries(s, i);
        for (size_t t = 0; t < p->n_types; t++) {
            const label entry = s->entry[i * s->sets->n_classes + (size_t)s->sets->class_of[t]];
            const size_t *first = s->stages->first + t * p->n_places + i;
            for (size_t k = first[0]; k < first[1] && entry.sum < VERY_FAR; k++) {
                for (size_t j = s->stages->runs[k].from; j <= s->stages->runs[k].to; j++) {
                    lower(&s->made[j * p->n_types + t], entry.sum + stage_sum(s, t, i, j), entry.loss);
                }
            }
        }
    }
}

static qn_status make(sums *s, qn_error *err)
{
    const qn_part_problem *p = s->p;
    const size_t n = p->n_places;
    size_t total = 0;
    s->offset = qn_arena_array(&s->arena, s->sets->n_sets, sizeof *s->offset);
    s->next = qn_arena_array(&s->arena, n, sizeof *s->next);
    s->made = qn_arena_array(&s->arena, n * p->n_types, sizeof *s->made);
    s->entry = qn_arena_array(&s->arena, n * s->sets->n_classes, sizeof *s->entry);
    if (s->offset == NULL || s->next == NULL || s->made == NULL || s->entry == NULL) {
        return qn_fail_memory(err, NULL, s->sets->n_sets * sizeof *s->offset);
    }
    fill_bounds(s);
    for (size_t k = s->sets->first[1]; k < s->sets->first[s->sets->max_size + 1]; k++) {
        const size_t set = s->sets->order[k];
        s->offset[set] = total;
        total += width_of(s, set) * s->sets->n_classes;
    }
    s->pieces = qn_alloc_uncleared((total + 1) * sizeof *s->pieces);
    return s->pieces != NULL ? QN_OK : qn_fail_memory(err, NULL, total * sizeof *s->pieces);
}

/* A label into a front that rises in sums and falls in losses; the pool has room for one more. */
static void insert(pool *into, label l)
{
    label *f = into->list;
    size_t at = into->n;
    while (at > 0 && f[at - 1].sum >= l.sum) {
        at--;
    }
    /* Those from `at` on have no smaller sum. */
    if ((at > 0 && f[at - 1].loss <= l.loss) || (at < into->n && f[at].sum == l.sum && f[at].loss <= l.loss)) {
        return;
    }
    size_t end = at;
    while (end < into->n && f[end].loss >= l.loss) {
        end++;
    }
    memmove(f + at + 1, f + end, (into->n - end) * sizeof *f);
    f[at] = l;
    into->n = at + 1 + (into->n - end);
}

/* Unless it and what comes before it at least are too much. */
static qn_status offer(sums *s, int64_t sum, int32_t loss, label before, qn_error *err)
{
    if ((int64_t)loss + before.loss > s->p->budget || sum > s->most - before.sum) {
        return QN_OK;
    }
    if (s->work.n + 1 >= s->work.capacity) {
        QN_TRY(qn_grow((void **)&s->work.list, &s->work.capacity, s->work.n + 1, sizeof(label), err));
    }
    insert(&s->work, (label){sum, loss});
    return QN_OK;
}

/* The front that was worked out goes into a pool. */
static qn_status keep(front *f, pool *to, pool *work, qn_error *err)
{
    enum { MOST_LABELS = 1 << 25 }; /* half a GiB */
    *f = (front){to->n, work->n};
    if (to->n > MOST_LABELS) {
        return qn_fail(err, QN_ELIMIT, NULL,
                       "too many plans of nearly the same times and losses to tell the best; allow fewer stages "
                       "(--stages), or offer fewer choices");
    }
    if (work->n > 0) {
        QN_TRY(qn_grow((void **)&to->list, &to->capacity, to->n + work->n - 1, sizeof(label), err));
        memcpy(to->list + to->n, work->list, work->n * sizeof(label));
        to->n += work->n;
        work->n = 0;
    }
    return QN_OK;
}

static qn_status offer_links(sums *s, size_t rest, size_t t, size_t j, qn_error *err)
{
    const qn_part_problem *p = s->p;
    for (size_t k = 0; k < s->sets->n_classes; k++) {
        const front f = fronts_of(s, rest, k)[j - s->stages->left[rest]];
        for (int c = 0; c < (int)p->n_choices && f.n > 0; c++) {
            const int64_t sum = link_sum(s, j, c, t, (size_t)s->sets->member[k]);
            for (size_t i = 0; i < f.n && sum != QN_PART_NONE; i++) {
                const label l = s->kept.list[f.at + i];
                QN_TRY(offer(s, l.sum + sum, l.loss + p->losses[j * p->n_choices + (size_t)c],
                             s->made[j * p->n_types + t], err));
            }
        }
    }
    return QN_OK;
}

/* Fronts of places from `from` to `to`: of a link from a device of type t and the suffix of `rest`. */
static qn_status then(sums *s, size_t rest, size_t t, size_t *from, size_t *to, qn_error *err)
{
    const size_t last = s->p->n_places - 1;
    s->scratch.n = s->work.n = 0;
    *from = 1;
    *to = 0;
    if (rest == 0) {
        const int64_t end = end_sum(s, &s->p->types[t]);
        if (end != QN_PART_NONE) {
            *from = *to = last;
            QN_TRY(offer(s, end, 0, s->made[last * s->p->n_types + t], err));
            return keep(&s->next[last], &s->scratch, &s->work, err);
        }
        return QN_OK;
    }
    if (width_of(s, rest) == 0) {
        return QN_OK;
    }
    *from = s->stages->left[rest] > 0 ? s->stages->left[rest] : 1;
    *to = s->stages->right[rest] < last ? s->stages->right[rest] : last - 1;
    for (size_t j = *from; j <= *to; j++) {
        QN_TRY(offer_links(s, rest, t, j, err));
        QN_TRY(keep(&s->next[j], &s->scratch, &s->work, err));
    }
    return QN_OK;
}

/* Stages of type t from i, before what `next` has. */
static qn_status offer_stages(sums *s, size_t t, size_t i, size_t from, size_t to, qn_error *err)
{
    const size_t *first = s->stages->first + t * s->p->n_places + i;
    const label before = s->entry[i * s->sets->n_classes + (size_t)s->sets->class_of[t]];
    for (size_t k = first[0]; k < first[1] && before.sum < VERY_FAR; k++) {
        const qn_part_run run = s->stages->runs[k];
        for (size_t j = run.from > from ? run.from : from; j <= run.to && j <= to; j++) {
            const front f = s->next[j];
            const int64_t more = f.n > 0 ? stage_sum(s, t, i, j) : 0;
            for (size_t at = 0; at < f.n; at++) {
                const label l = s->scratch.list[f.at + at];
                QN_TRY(offer(s, l.sum + more, l.loss, before, err));
            }
        }
    }
    return QN_OK;
}

static qn_status fill_set(sums *s, size_t set, bool *any, qn_error *err)
{
    const size_t width = width_of(s, set), left = s->stages->left[set];
    for (size_t i = 0; i < width * s->sets->n_classes; i++) {
        s->pieces[s->offset[set] + i] = (front){0, 0};
    }
    for (size_t t = 0; t < s->p->n_types && width > 0; t++) {
        size_t from, to;
        if (qn_part_devices(s->sets, set, t) == 0) {
            continue;
        }
        QN_TRY(then(s, set - s->sets->stride[t], t, &from, &to, err));
        if (s->scratch.n == 0) {
            continue;
        }
        front *fronts = fronts_of(s, set, (size_t)s->sets->class_of[t]);
        for (size_t i = left; i < left + width && i + 1 < s->p->n_places; i++) {
            front *f = &fronts[i - left];
            const size_t old = f->n;
            for (size_t at = 0; at < old; at++) {
                const label l = s->kept.list[f->at + at];
                QN_TRY(offer(s, l.sum, l.loss, (label){0, 0}, err));
            }
            QN_TRY(offer_stages(s, t, i, from, to, err));
            QN_TRY(keep(f, &s->kept, &s->work, err));
            *any = *any || f->n > 0;
        }
    }
    return QN_OK;
}

/* Does a come before b, of whole plans of one number of stages? */
static bool comes_before(const sums *s, label a, label b)
{
    return s->p->latency && a.sum != b.sum ? a.sum < b.sum : a.loss != b.loss ? a.loss < b.loss : a.sum < b.sum;
}

/* The best whole plan on exactly the devices of a set; its loss is NONE when there is none. */
static label whole(const sums *s, size_t set)
{
    label best = {QN_PART_NONE, QN_PART_LOSS_NONE};
    for (size_t k = 0; k < s->sets->n_classes && s->stages->left[set] == 0 && width_of(s, set) > 0; k++) {
        const qn_part_type *type = &s->p->types[s->sets->member[k]];
        const int64_t start = start_sum(s, type);
        const front f = fronts_of(s, set, k)[0];
        for (size_t i = 0; i < f.n && start != QN_PART_NONE; i++) {
            const label l = {s->kept.list[f.at + i].sum + start, s->kept.list[f.at + i].loss};
            best = l.sum <= s->most && comes_before(s, l, best) ? l : best;
        }
    }
    return best;
}

/* A way to go on: what may still be spent on a set of devices, and how it came there. */
typedef struct way {
    size_t set, parent;
    label left;
    int choice;
} way;
typedef struct ways {
    way *list;
    size_t n, capacity, level; /* where those of the stage in hand begin */
} ways;

static qn_status add_way(ways *w, size_t level, way new, qn_error *err)
{
    for (size_t i = level; i < w->n; i++) {
        if (w->list[i].set == new.set && w->list[i].left.sum == new.left.sum && w->list[i].left.loss == new.left.loss) {
            return QN_OK;
        }
    }
    QN_TRY(qn_grow((void **)&w->list, &w->capacity, w->n, sizeof *w->list, err));
    w->list[w->n++] = new;
    return QN_OK;
}

/* Does a front have the rest of a plan? Of latency its sum is what is left, else at most that. */
static bool ends_well(const sums *s, front f, label left)
{
    for (size_t i = 0; i < f.n; i++) {
        const label l = s->scratch.list[f.at + i];
        if (l.loss == left.loss && (s->p->latency ? l.sum == left.sum : l.sum <= left.sum)) {
            return true;
        }
    }
    return false;
}

/* Where a stage ends, on what it runs, and the bytes of the link before it. */
typedef struct end {
    size_t place, type;
    int64_t bytes;
} end;

static bool end_before(end a, end b)
{
    return a.place != b.place ? a.place < b.place : a.type != b.type ? a.type < b.type : a.bytes < b.bytes;
}

/* All ways of one stage: the end that comes first (pass 0), or the ways that have it. */
static qn_status try_way(sums *s, ways *w, size_t at, const qn_part_plan *plan, end *best, bool collect, qn_error *err)
{
    const qn_part_problem *p = s->p;
    const size_t i = plan->place[plan->n_stages];
    for (size_t t = 0; t < p->n_types; t++) {
        size_t from, to;
        if (qn_part_devices(s->sets, w->list[at].set, t) == 0) {
            continue;
        }
        const size_t rest = w->list[at].set - s->sets->stride[t];
        QN_TRY(then(s, rest, t, &from, &to, err));
        const bool first = plan->n_stages == 0;
        for (int c = 0; c < (first ? 1 : (int)p->n_choices); c++) {
            label left = w->list[at].left;
            const int64_t link =
                first ? start_sum(s, &p->types[t]) : link_sum(s, i, c, (size_t)plan->type[plan->n_stages - 1], t);
            left.sum -= link;
            left.loss -= first ? 0 : p->losses[i * p->n_choices + (size_t)c];
            for (size_t k = s->stages->first[t * p->n_places + i];
                 k < s->stages->first[t * p->n_places + i + 1] && link != QN_PART_NONE; k++) {
                const qn_part_run run = s->stages->runs[k];
                for (size_t j = run.from > from ? run.from : from; j <= run.to && j <= to; j++) {
                    label then_left = {left.sum - stage_sum(s, t, i, j), left.loss};
                    if (!ends_well(s, s->next[j], then_left)) {
                        continue;
                    }
                    const end now = {j, t, first ? 0 : p->bytes[i * p->n_choices + (size_t)c]};
                    if (!collect && end_before(now, *best)) {
                        *best = now;
                    }
                    if (collect && !end_before(*best, now)) {
                        QN_TRY(add_way(w, w->level, (way){rest, at, then_left, first ? -1 : c}, err));
                    }
                }
            }
        }
    }
    return QN_OK;
}

static qn_status follow(sums *s, ways *w, qn_part_plan *plan, size_t size, label best, qn_error *err)
{
    for (size_t k = s->sets->first[size]; k < s->sets->first[size + 1]; k++) {
        const label l = whole(s, s->sets->order[k]);
        if (l.loss == best.loss && (!s->p->latency || l.sum == best.sum)) {
            const label left = {s->p->latency ? l.sum : s->limit, l.loss};
            QN_TRY(add_way(w, 0, (way){s->sets->order[k], 0, left, -1}, err));
        }
    }
    size_t begin = 0;
    for (size_t k = 0; k < size; k++) {
        end best_end = {s->p->n_places, 0, 0};
        const size_t n = w->n;
        for (int collect = 0; collect < 2; collect++) {
            w->level = n;
            for (size_t at = begin; at < n; at++) {
                QN_TRY(try_way(s, w, at, plan, &best_end, collect == 1, err));
            }
        }
        if (w->n == n) {
            return qn_fail(err, QN_EINTERNAL, NULL, "the plan that was found cannot be followed");
        }
        plan->type[plan->n_stages++] = (int)best_end.type;
        plan->place[plan->n_stages] = best_end.place;
        begin = n;
    }
    size_t at = begin; /* the first of the ways that came to the end */
    for (size_t k = size; k-- > 0; at = w->list[at].parent) {
        if (k > 0) {
            plan->choice[k - 1] = w->list[at].choice;
        }
    }
    qn_part_evaluate(s->p, plan);
    return QN_OK;
}

static qn_status search(sums *s, ways *w, qn_part_plan *plan, qn_error *err)
{
    label best = {QN_PART_NONE, QN_PART_LOSS_NONE};
    size_t best_size = 0;
    bool any = true;
    s->kept.n = 0;
    for (size_t size = 1; size <= s->sets->max_size && any && (best_size == 0 || s->p->latency); size++) {
        any = false;
        label of_size = {QN_PART_NONE, QN_PART_LOSS_NONE};
        for (size_t k = s->sets->first[size]; k < s->sets->first[size + 1]; k++) {
            const size_t set = s->sets->order[k];
            QN_TRY(fill_set(s, set, &any, err));
            const label l = whole(s, set);
            of_size = comes_before(s, l, of_size) ? l : of_size;
        }
        if (of_size.loss < QN_PART_LOSS_NONE) {
            best = of_size;
            best_size = size;
            s->most = s->p->latency ? best.sum - 1 : s->most; /* of more stages only what is less */
        }
    }
    if (best_size > 0) {
        s->most = s->p->latency ? best.sum : s->most;
        return follow(s, w, plan, best_size, best, err);
    }
    return QN_OK;
}

/* Latency: within a little more than the bound first, as most labels are far beyond; then within more and more. */
static qn_status deepen(sums *s, ways *w, qn_part_plan *plan, qn_error *err)
{
    const qn_part_problem *p = s->p;
    int64_t least = VERY_FAR;
    for (size_t t = 0; t < p->n_types; t++) {
        const label made = s->made[(p->n_places - 1) * p->n_types + t];
        const int64_t last = end_sum(s, &p->types[t]);
        least = made.sum < VERY_FAR && last != QN_PART_NONE && made.sum + last < least ? made.sum + last : least;
    }
    if (least == VERY_FAR) {
        return QN_OK;
    }
    int64_t more = least / 64 + 1;
    do {
        s->most = more < s->limit / 8 - least ? least + more : s->limit;
        more *= 4;
        QN_TRY(search(s, w, plan, err));
    } while (plan->n_stages == 0 && s->most < s->limit);
    return QN_OK;
}

qn_status qn_part_sum_within(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets,
                             qn_part_stages *stages, int64_t limit, qn_error *err)
{
    plan->n_stages = 0;
    plan->place[0] = 0;
    QN_TRY(qn_part_stages_limit(stages, p, sets, limit, err));
    if (stages->covered[sets->n_sets - 1] + (size_t)1 < p->n_places) {
        return QN_OK; /* all devices together cannot */
    }
    sums s = {.p = p, .sets = sets, .stages = stages, .limit = limit, .most = limit};
    ways w = {0};
    qn_status status = make(&s, err);
    if (status == QN_OK) {
        status = p->latency ? deepen(&s, &w, plan, err) : search(&s, &w, plan, err);
    }
    qn_free(w.list);
    qn_free(s.pieces);
    qn_free(s.kept.list);
    qn_free(s.scratch.list);
    qn_free(s.work.list);
    qn_arena_free(&s.arena);
    return status;
}
