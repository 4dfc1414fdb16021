/* Multisets of devices, and the stages that are possible within a limit of time. */
#include <string.h>

#include "link/partition.h"

static bool receives_alike(const qn_part_problem *p, size_t a, size_t b)
{
    const qn_part_type *x = &p->types[a], *y = &p->types[b];
    if (x->start != y->start || x->start_delay != y->start_delay || x->start_shared != y->start_shared ||
        (!p->latency && qn_part_start_period(x) != qn_part_start_period(y))) {
        return false;
    }
    for (size_t place = 1; place + 1 < p->n_places; place++) {
        for (size_t c = 0; c < p->n_choices; c++) {
            for (size_t t = 0; t < p->n_types; t++) {
                if (qn_part_link_busy(p, place, (int)c, t, a) != qn_part_link_busy(p, place, (int)c, t, b) ||
                    (!p->latency &&
                     qn_part_link_period(p, place, (int)c, t, a) != qn_part_link_period(p, place, (int)c, t, b))) {
                    return false;
                }
            }
        }
    }
    for (size_t t = 0; t < p->n_types; t++) {
        if (p->latency && p->delays[t * p->n_types + a] != p->delays[t * p->n_types + b]) {
            return false;
        }
        if (p->shared != NULL && p->shared[t * p->n_types + a] != p->shared[t * p->n_types + b]) {
            return false;
        }
    }
    return true;
}

static size_t size_of(const qn_part_sets *sets, size_t n_types, size_t set)
{
    size_t n = 0;
    for (size_t t = 0; t < n_types; t++) {
        n += qn_part_devices(sets, set, t);
    }
    return n;
}

qn_status qn_part_sets_make(qn_part_sets *sets, qn_arena *arena, const qn_part_problem *p, qn_error *err)
{
    size_t most = p->max_stages < p->n_places - 1 ? p->max_stages : p->n_places - 1, total = 0;
    most = most < QN_PART_MAX_STAGES ? most : QN_PART_MAX_STAGES;
    *sets = (qn_part_sets){.n_sets = 1};
    for (size_t t = 0; t < p->n_types; t++) {
        const size_t count = (uint64_t)p->types[t].count < most ? (size_t)p->types[t].count : most;
        sets->stride[t] = sets->n_sets;
        sets->count[t] = count;
        total += count;
        sets->n_sets *= count + 1;
        if (sets->n_sets > QN_PART_MAX_SETS) {
            return qn_fail(err, QN_ELIMIT, NULL,
                           "so many devices of so many types have more than %d combinations; allow fewer stages "
                           "(--stages), or count fewer devices",
                           QN_PART_MAX_SETS);
        }
        sets->class_of[t] = -1;
        for (size_t k = 0; k < sets->n_classes && sets->class_of[t] < 0; k++) {
            sets->class_of[t] = receives_alike(p, t, (size_t)sets->member[k]) ? (int)k : -1;
        }
        if (sets->class_of[t] < 0) {
            sets->class_of[t] = (int)sets->n_classes;
            sets->member[sets->n_classes++] = (int)t;
        }
    }
    sets->max_size = total < most ? total : most;
    sets->order = qn_arena_array(arena, sets->n_sets, sizeof *sets->order);
    if (sets->order == NULL) {
        return qn_fail_memory(err, NULL, sets->n_sets * sizeof *sets->order);
    }
    size_t n = 0;
    for (size_t s = 0; s <= sets->max_size; s++) {
        sets->first[s] = n;
        for (size_t set = 0; set < sets->n_sets; set++) {
            if (size_of(sets, p->n_types, set) == s) {
                sets->order[n++] = (uint32_t)set;
            }
        }
    }
    sets->first[sets->max_size + 1] = n;
    return QN_OK;
}

qn_status qn_part_stages_make(qn_part_stages *stages, qn_arena *arena, const qn_part_problem *p,
                              const qn_part_sets *sets, qn_error *err)
{
    const size_t n = p->n_types * p->n_places;
    *stages = (qn_part_stages){.first = qn_arena_array(arena, n + 1, sizeof *stages->first),
                               .reach = qn_arena_array(arena, n, sizeof(uint16_t)),
                               .back = qn_arena_array(arena, n, sizeof(uint16_t)),
                               .left = qn_arena_array(arena, sets->n_sets, sizeof(uint16_t)),
                               .right = qn_arena_array(arena, sets->n_sets, sizeof(uint16_t)),
                               .covered = qn_arena_array(arena, sets->n_sets, sizeof(uint16_t))};
    return stages->first != NULL && stages->reach != NULL && stages->back != NULL && stages->left != NULL &&
                   stages->right != NULL && stages->covered != NULL
               ? QN_OK
               : qn_fail_memory(err, NULL, n * sizeof *stages->first);
}

void qn_part_stages_free(qn_part_stages *stages)
{
    qn_free(stages->runs);
    stages->runs = NULL;
}

static qn_status add_place(qn_part_stages *stages, size_t begin, size_t to, qn_error *err)
{
    qn_part_run *last = stages->n_runs > begin ? &stages->runs[stages->n_runs - 1] : NULL;
    if (last != NULL && last->to + 1u == to) {
        last->to = (uint16_t)to;
        return QN_OK;
    }
    QN_TRY(qn_grow((void **)&stages->runs, &stages->capacity, stages->n_runs, sizeof *stages->runs, err));
    stages->runs[stages->n_runs++] = (qn_part_run){(uint16_t)to, (uint16_t)to};
    return QN_OK;
}

/* Runs of one type; how far stages from each place, or from one before it, go; where the first of those begin that go
 * to each place, or to one behind it. */
static qn_status limit_type(qn_part_stages *stages, const qn_part_problem *p, size_t t, int64_t limit, qn_error *err)
{
    const qn_part_type *type = &p->types[t];
    const size_t n = p->n_places;
    uint16_t *reach = stages->reach + t * n, *back = stages->back + t * n;
    for (size_t i = 0; i < n; i++) {
        back[i] = (uint16_t)i;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t begin = stages->n_runs;
        stages->first[t * n + i] = begin;
        reach[i] = (uint16_t)i;
        for (size_t j = i + 1; j < n && type->count > 0; j++) {
            const int64_t least = type->before[j] - type->before[i];
            if (least > limit) {
                break;
            }
            if (least + type->codec[i] + type->codec[j] <= limit && p->needs[i * n + j] <= type->memory) {
                QN_TRY(add_place(stages, begin, j, err));
                reach[i] = (uint16_t)j;
                back[j] = back[j] < i ? back[j] : (uint16_t)i;
            }
        }
        reach[i] = i > 0 && reach[i - 1] > reach[i] ? reach[i - 1] : reach[i];
    }
    for (size_t j = n - 1; j-- > 0;) {
        back[j] = back[j + 1] < back[j] ? back[j + 1] : back[j];
    }
    return QN_OK;
}

qn_status qn_part_stages_limit(qn_part_stages *stages, const qn_part_problem *p, const qn_part_sets *sets,
                               int64_t limit, qn_error *err)
{
    const size_t n = p->n_places;
    stages->n_runs = 0;
    for (size_t t = 0; t < p->n_types; t++) {
        QN_TRY(limit_type(stages, p, t, limit, err));
    }
    stages->first[p->n_types * n] = stages->n_runs;
    /* Numbers of sets grow with each device: those with one less come before. */
    for (size_t set = 0; set < sets->n_sets; set++) {
        stages->left[set] = (uint16_t)(n - 1);
        stages->covered[set] = 0;
        for (size_t t = 0; t < p->n_types; t++) {
            if (qn_part_devices(sets, set, t) > 0) {
                const size_t less = set - sets->stride[t];
                const uint16_t left = stages->back[t * n + stages->left[less]];
                const uint16_t covered = stages->reach[t * n + stages->covered[less]];
                stages->left[set] = left < stages->left[set] ? left : stages->left[set];
                stages->covered[set] = covered > stages->covered[set] ? covered : stages->covered[set];
            }
        }
    }
    for (size_t set = 0; set < sets->n_sets; set++) {
        stages->right[set] = stages->covered[sets->n_sets - 1 - set];
    }
    return QN_OK;
}
