/* Resize and Upsample (doc/spec/arithmetic.md 6.3). Nearest moves elements; the others sum, along each axis that changes,
 * over a few taps with weights. */
#include <math.h>
#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"

static double nearest(qn_resize_rounding rounding, double x)
{
    switch (rounding) {
    case QN_RESIZE_PREFER_FLOOR:
        return ceil(x - 0.5);
    case QN_RESIZE_PREFER_CEIL:
        return floor(x + 0.5);
    case QN_RESIZE_FLOOR:
        return floor(x);
    default:
        return ceil(x);
    }
}

static bool is_beyond(const qn_resize *r, double x, int64_t length)
{
    return r->coordinate == QN_RESIZE_CROP && (x < 0 || x > (double)(length - 1));
}

static int64_t within(double x, int64_t length)
{
    return x < 0 ? 0 : x > (double)(length - 1) ? length - 1 : (int64_t)x;
}

static int64_t nearest_source(const void *how, int axis, int64_t o, int64_t length)
{
    const qn_resize *r = how;
    if (!r->resized[axis]) {
        return o;
    }
    const double x = qn_resize_coordinate_of(r, axis, o, length);
    return is_beyond(r, x, length) ? -1 : within(nearest(r->rounding, x), length);
}

/* Coordinate o has `n` taps: offsets[t * length + o] in the input, times weights[t * length + o]; a first offset that is
 * negative: beyond the input. */
typedef struct taps {
    int n;
    int64_t length;
    const int64_t *offsets;
    const double *weights;
} taps;

enum { MOST_TAPS = 4, MOST_COMBINATIONS = 4096, MOST_REACH = 1 << 17, COLUMNS = 128 };

typedef struct resize_params {
    int rank;
    taps axis[QN_MAX_RANK];
    int n_combinations; /* of taps of all axes but the last */
    float extrapolation;
} resize_params;

static double cubic_near(double a, double x)
{
    return ((a + 2) * x - (a + 3)) * x * x + 1;
}

static double cubic_far(double a, double x)
{
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

static void find_weights(const qn_resize *r, double ratio, double weights[MOST_TAPS])
{
    if (r->mode == QN_RESIZE_LINEAR) {
        weights[0] = 1 - ratio;
        weights[1] = ratio;
        return;
    }
    weights[0] = cubic_far(r->cubic_a, ratio + 1);
    weights[1] = cubic_near(r->cubic_a, ratio);
    weights[2] = cubic_near(r->cubic_a, 1 - ratio);
    weights[3] = cubic_far(r->cubic_a, 2 - ratio);
}

/* Taps outside count as the nearest inside; or for nothing, while the others' weights are raised to 1 together. */
static void place_taps(const qn_resize *r, int axis, int64_t o, int64_t length, int n, int64_t places[MOST_TAPS],
                       double weights[MOST_TAPS])
{
    const double x = qn_resize_coordinate_of(r, axis, o, length), first = floor(x) - (n == MOST_TAPS ? 1 : 0);
    double sum = 0;
    find_weights(r, x - floor(x), weights);
    for (int t = 0; t < n; t++) {
        const double at = first + t;
        places[t] = within(at, length);
        weights[t] = r->exclude_outside && (at < 0 || at > (double)(length - 1)) ? 0 : weights[t];
        sum += weights[t];
    }
    for (int t = 0; r->exclude_outside && t < n; t++) {
        weights[t] /= sum;
    }
    places[0] = is_beyond(r, x, length) ? -1 : places[0];
}

/* With antialias, how many taps there are on either side of the output's place: MOST_REACH of them, or more. */
static int reach_of(const qn_resize *r, int axis)
{
    const double scale = r->scale[axis] < 1 ? r->scale[axis] : 1, support = r->mode == QN_RESIZE_LINEAR ? 1 : 2;
    const double reach = ceil(support / scale);
    return reach < MOST_REACH ? (int)reach : MOST_REACH;
}

/* As place_taps, with so many taps as an output is wide; weights are raised to 1 together. */
static void place_wide_taps(const qn_resize *r, int axis, int64_t o, int64_t length, int n, int64_t *places,
                            double *weights)
{
    const double scale = r->scale[axis] < 1 ? r->scale[axis] : 1, a = r->cubic_a;
    const double x = qn_resize_coordinate_of(r, axis, o, length), base = ceil(x) - 1, ratio = x - base;
    double sum = 0;
    for (int t = 0; t < n; t++) {
        const double i = (double)(t + 1 - n / 2), d = fabs((i - ratio) * scale), at = base + i;
        const double own = r->mode == QN_RESIZE_LINEAR ? (d < 1 ? 1 - d : 0)
                           : d <= 1                    ? cubic_near(a, d)
                           : d < 2                     ? cubic_far(a, d)
                                                       : 0;
        places[t] = within(at, length);
        weights[t] = r->exclude_outside && (at < 0 || at > (double)(length - 1)) ? 0 : own;
        sum += weights[t];
    }
    for (int t = 0; t < n; t++) {
        weights[t] /= sum;
    }
    places[0] = is_beyond(r, x, length) ? -1 : places[0];
}

static qn_status make_taps(taps *t, const qn_compute_job *job, const qn_resize *r, int axis, int64_t in, int64_t out,
                           int64_t stride)
{
    const bool wide = r->resized[axis] && r->antialias;
    if (wide && reach_of(r, axis) == MOST_REACH) {
        const qn_infer c = qn_job_infer(job);
        return qn_infer_fail(&c, QN_ELIMIT, NULL, "axis %d shrinks to less than 1 / %d with antialias", axis,
                             MOST_REACH / 2);
    }
    *t = (taps){.n = !r->resized[axis]             ? 1
                     : wide                        ? 2 * reach_of(r, axis)
                     : r->mode == QN_RESIZE_LINEAR ? 2
                                                   : MOST_TAPS,
                .length = out};
    const size_t n = (size_t)t->n * (size_t)out;
    int64_t *offsets = qn_arena_array(job->arena, n, sizeof *offsets);
    double *weights = qn_arena_array(job->arena, n, sizeof *weights);
    int64_t *places = qn_arena_array(job->arena, (size_t)t->n + MOST_TAPS, sizeof *places);
    double *own = qn_arena_array(job->arena, (size_t)t->n + MOST_TAPS, sizeof *own);
    if (offsets == NULL || weights == NULL || places == NULL || own == NULL) {
        return qn_fail_memory(job->err, NULL, n * sizeof *weights);
    }
    for (int64_t o = 0; o < out; o++) {
        places[0] = o;
        own[0] = 1;
        if (wide) {
            place_wide_taps(r, axis, o, in, t->n, places, own);
        } else if (r->resized[axis]) {
            place_taps(r, axis, o, in, t->n, places, own);
        }
        for (int k = 0; k < t->n; k++) {
            offsets[k * out + o] = places[k] < 0 ? -1 : places[k] * stride;
            weights[k * out + o] = own[k];
        }
    }
    t->offsets = offsets;
    t->weights = weights;
    return QN_OK;
}

/* Taps of the outer axes at `index`, all combined, in C order. False: beyond the input. */
static bool combine(const resize_params *p, const int64_t *index, int64_t *offsets, double *weights)
{
    int n = 1;
    offsets[0] = 0;
    weights[0] = 1;
    for (int axis = 0; axis < p->rank - 1; axis++) {
        const taps *t = &p->axis[axis];
        if (t->offsets[index[axis]] < 0) {
            return false;
        }
        for (int c = n - 1; c >= 0; c--) { /* from the end: what is written was read */
            const int64_t offset = offsets[c];
            const double weight = weights[c];
            for (int k = t->n - 1; k >= 0; k--) {
                offsets[c * t->n + k] = offset + t->offsets[k * t->length + index[axis]];
                weights[c * t->n + k] = weight * t->weights[k * t->length + index[axis]];
            }
        }
        n *= t->n;
    }
    return true;
}

static void sum_columns(const resize_params *p, float *y, const float *x, int64_t first, int64_t n,
                        const int64_t *offsets, const double *weights)
{
    const taps *t = &p->axis[p->rank - 1];
    double sums[COLUMNS] = {0};
    for (int c = 0; c < p->n_combinations; c++) {
        for (int k = 0; k < t->n; k++) {
            const int64_t *from = t->offsets + k * t->length + first;
            const double *own = t->weights + k * t->length + first, weight = weights[c];
            const float *row = x + offsets[c];
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                sums[i] += weight * own[i] * (double)row[from[i] < 0 ? 0 : from[i]];
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = t->offsets[first + i] < 0 ? p->extrapolation : (float)sums[i];
    }
}

static bool next_row(const resize_params *p, int64_t *index)
{
    for (int i = p->rank - 2; i >= 0; i--) {
        if (++index[i] < p->axis[i].length) {
            return true;
        }
        index[i] = 0;
    }
    return false;
}

static void run_resize(const void *params, void *to, const void *const *x)
{
    const resize_params *p = params;
    const int64_t n = p->axis[p->rank - 1].length;
    int64_t index[QN_MAX_RANK] = {0}, offsets[MOST_COMBINATIONS];
    double weights[MOST_COMBINATIONS];
    float *y = to;
    do {
        const bool inside = combine(p, index, offsets, weights);
        for (int64_t i = 0; i < n; i += COLUMNS) {
            const int64_t now = n - i < COLUMNS ? n - i : COLUMNS;
            if (inside) {
                sum_columns(p, y + i, x[0], i, now, offsets, weights);
            }
            for (int64_t j = 0; !inside && j < now; j++) {
                y[i + j] = p->extrapolation;
            }
        }
        y += n;
    } while (next_row(p, index));
}

qn_status qn_prepare_resize(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), y = qn_job_output(job);
    const qn_infer c = qn_job_infer(job);
    qn_resize r;
    int64_t strides[QN_MAX_RANK];
    QN_TRY(qn_resize_of_node(&r, job->binding, job->node, job->err));
    if (r.mode == QN_RESIZE_NEAREST) {
        return qn_map_axes(compute, job, nearest_source, &r, r.extrapolation);
    }
    resize_params p = {.rank = x.rank, .n_combinations = 1, .extrapolation = (float)r.extrapolation};
    if (x.rank == 0) {
        return qn_infer_fail(&c, QN_ESHAPE, "input 0", "a scalar has no axis to resize");
    }
    qn_grid_dense(x.rank, x.dims, strides);
    for (int i = 0; i < x.rank; i++) {
        QN_TRY(make_taps(&p.axis[i], job, &r, i, x.dims[i], y.dims[i], strides[i]));
        p.n_combinations *= i < x.rank - 1 ? p.axis[i].n : 1;
        if (p.n_combinations > MOST_COMBINATIONS) {
            return qn_infer_fail(&c, QN_EUNSUPPORTED, NULL,
                                 "axes are resized at once that have more than %d taps together", MOST_COMBINATIONS);
        }
    }
    return qn_job_set(compute, job, run_resize, &p, sizeof p, 1);
}
