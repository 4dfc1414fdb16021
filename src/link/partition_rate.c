/* Plans whose stages, and periods of links, are all at most a limit of time: for sets of devices, by size, the least
 * loss with which they can run everything from a place on.
 *
 * loss[set][class][i]: the suffix from place i on `set`, whose first device is of that class of receivers; the link at
 * i is not counted. A stage of type t from i to j before the suffix of `rest` costs then(rest, t)[j], the least over
 * classes of the link at j and loss[rest][class][j]; j lies in runs, over which a table of minima answers at once. */
#include <string.h>

#include "link/partition.h"

/*  width   of a set's places: left to right
 *  link    [(place * n_types + sender) * n_classes + class]: the least loss of links that are fast enough
 *  minima  [level * n_places + j]: of then[j .. j + 2^level - 1] */
typedef struct rate {
    const qn_part_problem *p;
    const qn_part_sets *sets;
    const qn_part_stages *stages;
    int64_t limit;
    size_t *offset;
    int32_t *loss, *link, *minima;
    qn_arena arena;
} rate;

static size_t width_of(const rate *r, size_t set)
{
    const qn_part_stages *s = r->stages;
    return s->right[set] >= s->left[set] ? (size_t)(s->right[set] - s->left[set]) + 1 : 0;
}

static int32_t *losses_of(const rate *r, size_t set, size_t class)
{
    return r->loss + r->offset[set] + class * width_of(r, set);
}

static qn_status make(rate *r, qn_error *err)
{
    const size_t n = r->p->n_places;
    size_t total = 0, levels = 1, n_links = n * r->p->n_types * r->sets->n_classes;
    while ((size_t)1 << levels <= n) {
        levels++;
    }
    r->offset = qn_arena_array(&r->arena, r->sets->n_sets, sizeof *r->offset);
    r->link = qn_arena_array(&r->arena, n_links + 1, sizeof *r->link);
    r->minima = qn_arena_array(&r->arena, levels * n, sizeof *r->minima);
    if (r->offset == NULL || r->link == NULL || r->minima == NULL) {
        return qn_fail_memory(err, NULL, n_links * sizeof *r->link);
    }
    for (size_t k = r->sets->first[1]; k < r->sets->first[r->sets->max_size + 1]; k++) {
        const size_t set = r->sets->order[k];
        r->offset[set] = total;
        total += width_of(r, set) * r->sets->n_classes;
    }
    r->loss = qn_alloc_uncleared((total + 1) * sizeof *r->loss); /* of sets that are not looked at nothing is touched */
    return r->loss != NULL ? QN_OK : qn_fail_memory(err, NULL, total * sizeof *r->loss);
}

/* The choice of a link that is fast enough: the least loss, then the fewest bytes; -1: there is none. */
static int choose(const rate *r, size_t place, size_t sender, size_t receiver)
{
    const qn_part_problem *p = r->p;
    int best = -1;
    for (int c = 0; c < (int)p->n_choices; c++) {
        const size_t at = place * p->n_choices, now = at + (size_t)c;
        if (qn_part_link_period(p, place, c, sender, receiver) <= r->limit &&
            (best < 0 || p->losses[now] < p->losses[at + (size_t)best] ||
             (p->losses[now] == p->losses[at + (size_t)best] && p->bytes[now] < p->bytes[at + (size_t)best]))) {
            best = c;
        }
    }
    return best;
}

static int32_t loss_of(const rate *r, size_t place, int choice)
{
    return choice >= 0 ? r->p->losses[place * r->p->n_choices + (size_t)choice] : QN_PART_LOSS_NONE;
}

static void fill_links(rate *r)
{
    for (size_t place = 1; place + 1 < r->p->n_places; place++) {
        for (size_t t = 0; t < r->p->n_types; t++) {
            for (size_t k = 0; k < r->sets->n_classes; k++) {
                r->link[(place * r->p->n_types + t) * r->sets->n_classes + k] =
                    loss_of(r, place, choose(r, place, t, (size_t)r->sets->member[k]));
            }
        }
    }
}

/* then(rest, t) into the first level of minima, where `from` to `to` are its places; false when there is none. */
static bool then(rate *r, size_t rest, size_t t, size_t *from, size_t *to)
{
    const size_t last = r->p->n_places - 1, n_classes = r->sets->n_classes;
    if (rest == 0) {
        *from = *to = last;
        r->minima[last] = 0;
        return qn_part_end_period(&r->p->types[t]) <= r->limit;
    }
    *from = r->stages->left[rest] > 0 ? r->stages->left[rest] : 1;
    *to = r->stages->right[rest] < last ? r->stages->right[rest] : last - 1;
    if (width_of(r, rest) == 0 || *from > *to) {
        return false;
    }
    bool any = false;
    for (size_t k = 0; k < n_classes; k++) {
        const int32_t *loss = losses_of(r, rest, k) + (*from - r->stages->left[rest]);
        const int32_t *link = r->link + (*from * r->p->n_types + t) * n_classes + k;
        const size_t stride = r->p->n_types * n_classes;
        for (size_t j = *from; j <= *to; j++, loss++, link += stride) {
            int32_t sum = *loss + *link;
            sum = sum > r->p->budget ? QN_PART_LOSS_NONE : sum;
            r->minima[j] = k == 0 || sum < r->minima[j] ? sum : r->minima[j];
            any = any || sum < QN_PART_LOSS_NONE;
        }
    }
    return any;
}

static void fill_minima(rate *r, size_t from, size_t to)
{
    const size_t n = r->p->n_places;
    for (size_t level = 1; from + ((size_t)1 << level) <= to + 1; level++) {
        const size_t half = (size_t)1 << (level - 1);
        const int32_t *below = r->minima + (level - 1) * n;
        int32_t *here = r->minima + level * n;
        for (size_t j = from; j + 2 * half <= to + 1; j++) {
            here[j] = below[j] < below[j + half] ? below[j] : below[j + half];
        }
    }
}

/* The least of then[a .. b] as far as that lies from `from` to `to`. */
static int32_t least(const rate *r, size_t a, size_t b, size_t from, size_t to)
{
    a = a > from ? a : from;
    b = b < to ? b : to;
    if (a > b) {
        return QN_PART_LOSS_NONE;
    }
    const int level = 63 - __builtin_clzll(b - a + 1);
    const int32_t *row = r->minima + (size_t)level * r->p->n_places;
    const int32_t x = row[a], y = row[b + 1 - ((size_t)1 << level)];
    return x < y ? x : y;
}

static void fill_set(rate *r, size_t set)
{
    const size_t width = width_of(r, set), left = r->stages->left[set], n = r->p->n_places;
    for (size_t i = 0; i < width * r->sets->n_classes; i++) {
        r->loss[r->offset[set] + i] = QN_PART_LOSS_NONE;
    }
    for (size_t t = 0; t < r->p->n_types && width > 0; t++) {
        size_t from, to;
        if (qn_part_devices(r->sets, set, t) == 0 || !then(r, set - r->sets->stride[t], t, &from, &to)) {
            continue;
        }
        fill_minima(r, from, to);
        int32_t *loss = losses_of(r, set, (size_t)r->sets->class_of[t]);
        for (size_t i = left; i < left + width && i + 1 < n; i++) {
            const size_t *first = r->stages->first + t * n + i;
            for (size_t k = first[0]; k < first[1]; k++) {
                const qn_part_run run = r->stages->runs[k];
                const int32_t found = least(r, run.from, run.to, from, to);
                loss[i - left] = found < loss[i - left] ? found : loss[i - left];
            }
        }
    }
}

/* The least loss of plans on exactly the devices of a set. */
static int32_t whole(const rate *r, size_t set)
{
    int32_t best = QN_PART_LOSS_NONE;
    if (r->stages->left[set] > 0 || width_of(r, set) == 0) {
        return best;
    }
    for (size_t k = 0; k < r->sets->n_classes; k++) {
        const int32_t loss = losses_of(r, set, k)[0];
        best = qn_part_start_period(&r->p->types[r->sets->member[k]]) <= r->limit && loss < best ? loss : best;
    }
    return best;
}

/* From place i on, behind a device of `sender` (none at the start), with `loss` to spend on some set of those marked:
 * the stage that ends first, of the type that comes first. Marks the sets of what is left. */
static bool step(rate *r, qn_part_plan *plan, unsigned char *marked, size_t size, int32_t *loss)
{
    const qn_part_problem *p = r->p;
    const size_t i = plan->place[plan->n_stages], n = p->n_places, *first = r->sets->first;
    size_t best_end = n, best_type = 0;
    int32_t left = 0;
    for (int pass = 0; pass < 2; pass++) { /* which stage; then which sets have it */
        for (size_t k = first[size]; k < first[size + 1]; k++) {
            const size_t set = r->sets->order[k];
            for (size_t t = 0; t < p->n_types && marked[set]; t++) {
                size_t from, to;
                int32_t link = 0;
                if (plan->n_stages > 0) {
                    const size_t sender = (size_t)plan->type[plan->n_stages - 1];
                    link = r->link[(i * p->n_types + sender) * r->sets->n_classes + (size_t)r->sets->class_of[t]];
                } else if (qn_part_start_period(&p->types[t]) > r->limit) {
                    link = QN_PART_LOSS_NONE;
                }
                if (qn_part_devices(r->sets, set, t) == 0 || link > *loss ||
                    !then(r, set - r->sets->stride[t], t, &from, &to)) {
                    continue;
                }
                for (size_t at = r->stages->first[t * n + i]; at < r->stages->first[t * n + i + 1]; at++) {
                    const qn_part_run run = r->stages->runs[at];
                    for (size_t j = run.from > from ? run.from : from; j <= run.to && j <= to; j++) {
                        if (link + r->minima[j] != *loss) {
                            continue;
                        }
                        if (pass == 0 && (j < best_end || (j == best_end && t < best_type))) {
                            best_end = j;
                            best_type = t;
                            left = *loss - link;
                        }
                        if (pass == 1 && j == best_end && t == best_type) {
                            marked[set - r->sets->stride[t]] = 1;
                        }
                    }
                }
            }
        }
    }
    if (best_end == n) {
        return false;
    }
    if (plan->n_stages > 0) {
        plan->choice[plan->n_stages - 1] = choose(r, i, (size_t)plan->type[plan->n_stages - 1], best_type);
    }
    plan->type[plan->n_stages++] = (int)best_type;
    plan->place[plan->n_stages] = best_end;
    *loss = left;
    return true;
}

static qn_status follow(rate *r, qn_part_plan *plan, size_t size, int32_t loss, qn_error *err)
{
    unsigned char *marked = qn_arena_alloc(&r->arena, r->sets->n_sets);
    if (marked == NULL) {
        return qn_fail_memory(err, NULL, r->sets->n_sets);
    }
    for (size_t k = r->sets->first[size]; k < r->sets->first[size + 1]; k++) {
        marked[r->sets->order[k]] = whole(r, r->sets->order[k]) == loss;
    }
    for (size_t left = size; left > 0; left--) {
        if (!step(r, plan, marked, left, &loss)) {
            return qn_fail(err, QN_EINTERNAL, NULL, "the plan that was found cannot be followed");
        }
    }
    qn_part_evaluate(r->p, plan);
    return QN_OK;
}

static qn_status search(rate *r, qn_part_plan *plan, qn_error *err)
{
    QN_TRY(make(r, err));
    fill_links(r);
    for (size_t size = 1; size <= r->sets->max_size; size++) {
        int32_t best = QN_PART_LOSS_NONE;
        for (size_t k = r->sets->first[size]; k < r->sets->first[size + 1]; k++) {
            const size_t set = r->sets->order[k];
            fill_set(r, set);
            const int32_t loss = whole(r, set);
            best = loss < best ? loss : best;
        }
        if (best <= r->p->budget) {
            return follow(r, plan, size, best, err);
        }
    }
    return QN_OK;
}

qn_status qn_part_rate_within(qn_part_plan *plan, const qn_part_problem *p, const qn_part_sets *sets,
                              qn_part_stages *stages, int64_t limit, qn_error *err)
{
    plan->n_stages = 0;
    plan->place[0] = 0;
    QN_TRY(qn_part_stages_limit(stages, p, sets, limit, err));
    if (stages->covered[sets->n_sets - 1] + (size_t)1 < p->n_places) {
        return QN_OK; /* all devices together cannot */
    }
    rate r = {.p = p, .sets = sets, .stages = stages, .limit = limit};
    const qn_status status = search(&r, plan, err);
    qn_free(r.loss);
    qn_arena_free(&r.arena);
    return status;
}
