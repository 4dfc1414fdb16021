/* Looking at the values of a running network. */
#include "calib/sight.h"

#include <math.h>
#include <string.h>

/* max(x, 0) and nothing else. */
static bool is_plain_relu(const qn_watched *watched)
{
    return watched->from >= 0 && watched->scale == NULL && watched->shift == NULL && watched->lo == 0.0f &&
           watched->hi == INFINITY;
}

/* Put entry k among its source's. */
static void adopt(qn_sight_entry *entries, int32_t source, int32_t k)
{
    qn_sight_entry *parent = &entries[source];
    int32_t other = k;
    if (parent->heir < 0 || entries[k].n_family > entries[parent->heir].n_family) {
        other = parent->heir;
        parent->heir = k;
    }
    if (other >= 0) {
        entries[other].sibling = parent->child;
        parent->child = other;
    }
}

static void plan_families(qn_sight_plan *plan)
{
    const qn_program *program = plan->program;
    for (size_t k = program->n_watch; k-- > 0;) {
        plan->entries[k].n_family++;
        int32_t from = program->watch[k].from;
        if (from >= 0) {
            plan->entries[from].n_family += plan->entries[k].n_family;
            adopt(plan->entries, from, (int32_t)k);
        }
    }
}

qn_status qn_sight_plan_make(qn_sight_plan *plan, const qn_program *program, const qn_observe_kernels *kernels,
                             qn_error *err)
{
    *plan = (qn_sight_plan){.program = program, .kernels = kernels};
    plan->entries = qn_alloc(program->n_watch * sizeof *plan->entries);
    if (plan->entries == NULL) {
        return qn_fail_memory(err, NULL, program->n_watch * sizeof *plan->entries);
    }
    for (size_t k = 0; k < program->n_watch; k++) {
        qn_sight_entry *entry = &plan->entries[k];
        int64_t channels = program->watch[k].channels;
        *entry = (qn_sight_entry){.at = plan->n_channels, .tally = -1, .child = -1, .sibling = -1, .heir = -1};
        plan->most_channels = channels > plan->most_channels ? channels : plan->most_channels;
        if (__builtin_add_overflow(plan->n_channels, channels, &plan->n_channels)) {
            return qn_fail(err, QN_ELIMIT, NULL, "too many channels");
        }
    }
    plan_families(plan);
    for (size_t k = 0; k < program->n_watch; k++) {
        qn_sight_entry *entry = &plan->entries[k];
        entry->positive = is_plain_relu(&program->watch[k]) && entry->heir < 0;
        if (!entry->positive) {
            entry->tally = plan->n_tallies++;
        }
    }
    return QN_OK;
}

void qn_sight_plan_free(qn_sight_plan *plan)
{
    qn_free(plan->entries);
    plan->entries = NULL;
}

/* n elements of zeros, one at least. */
static qn_status zeros_alloc(void *array, int64_t n, size_t elem_size, qn_error *err)
{
    size_t n_bytes;
    if (!qn_mul_size((size_t)n, elem_size, &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "too many channels");
    }
    void *memory = qn_alloc(n_bytes > 0 ? n_bytes : 1);
    memcpy(array, &memory, sizeof memory);
    return memory != NULL ? QN_OK : qn_fail_memory(err, NULL, n_bytes);
}

qn_status qn_sight_make(qn_sight *s, const qn_sight_plan *plan, qn_error *err)
{
    *s = (qn_sight){.plan = plan, .finite = true};
    QN_TRY(zeros_alloc(&s->min, plan->n_channels, sizeof *s->min, err));
    QN_TRY(zeros_alloc(&s->max, plan->n_channels, sizeof *s->max, err));
    QN_TRY(zeros_alloc(&s->sums, plan->n_channels, sizeof *s->sums, err));
    QN_TRY(zeros_alloc(&s->squares, plan->n_channels, sizeof *s->squares, err));
    QN_TRY(zeros_alloc(&s->moments[0], plan->most_channels, sizeof(double), err));
    QN_TRY(zeros_alloc(&s->moments[1], plan->most_channels, sizeof(double), err));
    QN_TRY(zeros_alloc(&s->tallies, plan->n_tallies, sizeof *s->tallies, err));
    QN_TRY(zeros_alloc(&s->counts, plan->n_tallies, QN_TALLY_LENGTH * sizeof *s->counts, err));
    for (int32_t i = 0; i < plan->n_tallies; i++) {
        s->tallies[i].counts = s->counts + (size_t)i * QN_TALLY_LENGTH;
    }
    for (int64_t c = 0; c < plan->n_channels; c++) {
        s->min[c] = INFINITY;
        s->max[c] = -INFINITY;
    }
    return QN_OK;
}

void qn_sight_free(qn_sight *s)
{
    qn_free(s->min);
    qn_free(s->max);
    qn_free(s->sums);
    qn_free(s->squares);
    qn_free(s->moments[0]);
    qn_free(s->moments[1]);
    qn_free(s->tallies);
    qn_free(s->counts);
    for (int level = 0; level < QN_SIGHT_LEVELS; level++) {
        qn_free(s->scratch[level]);
    }
    *s = (qn_sight){0};
}

/* Scratch of n_bytes; NULL when there is none, which s->missing then says. */
static float *scratch_at(qn_sight *s, int level, size_t n_bytes)
{
    if (s->scratch_size[level] < n_bytes) {
        qn_free(s->scratch[level]);
        s->scratch[level] = qn_alloc_uncleared(n_bytes);
        s->scratch_size[level] = s->scratch[level] != NULL ? n_bytes : 0;
        s->missing = s->scratch[level] != NULL ? s->missing : n_bytes;
    }
    return s->scratch[level];
}

/* n values of one block; `scale` and `shift` of its channels, as many as it is wide. */
static void follow_block(float *restrict y, const float *x, int64_t n_rows, int64_t stride, int64_t block,
                         int64_t width, const float *scale, const float *shift, float lo, float hi)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const float *from = x + i * stride;
        float *to = y + i * block;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) {
            float v = scale != NULL ? from[c] * scale[c] : from[c];
            v = shift != NULL ? v + shift[c] : v;
            v = v > lo ? v : lo;
            to[c] = v < hi ? v : hi;
        }
    }
}

/* A row of one channel. */
static void follow_row(float *y, const float *x, int64_t n, float scale, float shift, float lo, float hi)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] * scale + shift; /* times 1 and plus 0 change no value */
        v = v > lo ? v : lo;
        y[i] = v < hi ? v : hi;
    }
}

/* An item of the value that `watched` makes of `view`, in `level`'s scratch, as the only item of *made. May be made in
 * place. Returns false when there is no memory. */
static bool follow(qn_sight *s, const qn_watched *watched, const qn_value_view *view, int64_t item, int level,
                   qn_value_view *made)
{
    int64_t n_blocks = (view->channels + view->block - 1) / view->block, area = view->block * view->inner;
    float *y = scratch_at(s, level, (size_t)(n_blocks * area) * sizeof *y);
    if (y == NULL) {
        return false;
    }
    const float *x = view->data + item * view->stride_n;
    bool rows = view->block == 1 && (view->stride_inner == 1 || view->inner == 1);
    if (rows && view->inner == 1 && view->stride_block == 1) { /* channels side by side */
        follow_block(y, x, 1, view->channels, view->channels, view->channels, watched->scale, watched->shift,
                     watched->lo, watched->hi);
        n_blocks = 0;
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        int64_t c = b * view->block, left = view->channels - c;
        const float *scale = watched->scale != NULL ? watched->scale + c : NULL;
        const float *shift = watched->shift != NULL ? watched->shift + c : NULL;
        if (rows) {
            follow_row(y + b * area, x + b * view->stride_block, view->inner, scale != NULL ? *scale : 1.0f,
                       shift != NULL ? *shift : 0.0f, watched->lo, watched->hi);
        } else {
            follow_block(y + b * area, x + b * view->stride_block, view->inner, view->stride_inner, view->block,
                         left < view->block ? left : view->block, scale, shift, watched->lo, watched->hi);
        }
    }
    *made = *view;
    made->data = y;
    made->n = 1;
    made->stride_inner = view->block;
    made->stride_block = area;
    made->stride_n = 0;
    return true;
}

/* The range of entry k so far; false when it is not finite. */
static bool range_of(const qn_sight *s, size_t k, float *least, float *greatest)
{
    const float *min = s->min + s->plan->entries[k].at, *max = s->max + s->plan->entries[k].at;
    float lo = INFINITY, hi = -INFINITY;
#pragma omp simd reduction(min : lo) reduction(max : hi)
    for (int64_t c = 0; c < s->plan->program->watch[k].channels; c++) {
        lo = min[c] < lo ? min[c] : lo;
        hi = max[c] > hi ? max[c] : hi;
    }
    *least = lo;
    *greatest = hi;
    return isfinite(lo) && isfinite(hi);
}

static void add_moments(qn_sight *s, size_t k, const qn_value_view *view, int64_t item, float lo)
{
    qn_moments_item(s->plan->kernels, view, item, lo, s->moments[0], s->moments[1]);
    int64_t at = s->plan->entries[k].at;
    for (int64_t c = 0; c < view->channels; c++) {
        qn_sum_add(&s->sums[at + c], s->moments[0][c]);
        qn_sum_add(&s->squares[at + c], s->moments[1][c]);
    }
}

/* An item of entry k itself; false when something in it is not finite. */
static bool look(qn_sight *s, size_t k, const qn_value_view *view, int64_t item)
{
    const qn_sight_entry *entry = &s->plan->entries[k];
    float min, max;
    bool ordered = qn_observe_item(s->plan->kernels, view, item, s->min + entry->at, s->max + entry->at);
    if (!range_of(s, k, &min, &max) || !ordered) {
        s->finite = false;
        return false;
    }
    add_moments(s, k, view, item, -INFINITY);
    qn_tally *tally = &s->tallies[entry->tally];
    qn_tally_reach(tally, min, max);
    const qn_count_grid grid = qn_tally_grid(tally);
    tally->n_zeros += qn_count_item(s->plan->kernels, view, item, &grid);
    tally->n += view->channels * view->inner;
    return true;
}

/* An item of a plain ReLU, or *made of what else follows from `view`; false when there is no more to do with it. */
static bool look_child(qn_sight *s, int32_t child, const qn_value_view *view, int64_t item, int level,
                       qn_value_view *made)
{
    if (child < 0) {
        return false;
    }
    if (s->plan->entries[child].positive) {
        add_moments(s, (size_t)child, view, item, 0.0f);
        return false;
    }
    return follow(s, &s->plan->program->watch[child], view, item, level, made);
}

/* An item of entry k and of all that follows from it. Scratch from `level` on is free. */
static void look_family(qn_sight *s, size_t k, const qn_value_view *view, int64_t item, int level)
{
    const qn_sight_entry *entries = s->plan->entries;
    qn_value_view current = *view, made;
    int in = level; /* the first level that is not in use */
    while (look(s, k, &current, item)) {
        for (int32_t child = entries[k].child; child >= 0; child = entries[child].sibling) {
            if (look_child(s, child, &current, item, in, &made)) {
                look_family(s, (size_t)child, &made, 0, in + 1);
            }
        }
        int to = in > level ? in - 1 : in; /* in place, when the source is scratch of ours */
        if (!look_child(s, entries[k].heir, &current, item, to, &made)) {
            return;
        }
        k = (size_t)entries[k].heir;
        current = made;
        item = 0;
        in = to + 1;
    }
}

void qn_sight_show(void *ctx, size_t index, const qn_value_view *view)
{
    for (int64_t item = 0; item < view->n; item++) {
        look_family(ctx, index, view, item, 0);
    }
}

void qn_sight_join(qn_sight *s, qn_sight *other)
{
    for (int64_t c = 0; c < s->plan->n_channels; c++) {
        s->min[c] = other->min[c] < s->min[c] ? other->min[c] : s->min[c];
        s->max[c] = other->max[c] > s->max[c] ? other->max[c] : s->max[c];
        qn_sum_join(&s->sums[c], &other->sums[c]);
        qn_sum_join(&s->squares[c], &other->squares[c]);
    }
    for (int32_t i = 0; i < s->plan->n_tallies; i++) {
        qn_tally_join(&s->tallies[i], &other->tallies[i]);
    }
}

void qn_sight_derive(qn_sight *s)
{
    const qn_program *program = s->plan->program;
    for (size_t k = 0; k < program->n_watch; k++) {
        const qn_sight_entry *entry = &s->plan->entries[k];
        int64_t from = entry->positive ? s->plan->entries[program->watch[k].from].at : 0;
        for (int64_t c = 0; entry->positive && c < program->watch[k].channels; c++) {
            s->min[entry->at + c] = fmaxf(s->min[from + c], 0.0f) + 0.0f; /* no -0 */
            s->max[entry->at + c] = fmaxf(s->max[from + c], 0.0f) + 0.0f;
        }
    }
}
