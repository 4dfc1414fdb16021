/* GridSample (doc/spec/arithmetic.md 6.3): taps of all axes in f64, the first axis outermost. */
#include <math.h>
#include <string.h>

#include "graph/compute/job.h"

typedef enum { NEAREST, LINEAR, CUBIC } sampling;
typedef enum { ZEROS, BORDER, REFLECTION } padding;
enum { MOST_AXES = 3, TAPS = 4 };

typedef struct sample_params {
    int axes;
    int64_t n, channels, in[MOST_AXES], points; /* points of one item's output */
    sampling mode;
    padding padding;
    bool align;
} sample_params;

/* Into lo..hi, there and back. */
static double reflect(double x, double lo, double hi)
{
    const double range = hi - lo;
    if (!(range > 0) || !isfinite(x)) {
        return lo;
    }
    const double beyond = x < lo ? lo - x : x - hi, turns = floor(beyond / range), rest = beyond - turns * range;
    const bool back = fmod(turns, 2) != 0;
    if (x >= lo && x <= hi) {
        return x;
    }
    return (x < lo) != back ? lo + rest : hi - rest;
}

static double place(const sample_params *p, double x, int64_t length)
{
    const double n = (double)length, lo = p->align ? 0 : -0.5, hi = p->align ? n - 1 : n - 0.5;
    double at = p->align ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
    at = p->mode == NEAREST ? rint(at) : at;
    if (p->mode != CUBIC && p->padding == BORDER) {
        at = at > 0 ? at : 0;
        at = at < n - 1 ? at : n - 1;
    } else if (p->mode != CUBIC && p->padding == REFLECTION) {
        at = reflect(at, lo, hi);
    }
    return at;
}

/* The element that stands for i; -1: zero. */
static int64_t element(const sample_params *p, double i, int64_t length)
{
    const double n = (double)length;
    if (!(i >= 0 && i < n)) {
        if (p->padding == ZEROS || isnan(i)) {
            return -1;
        }
        i = p->padding == BORDER ? (i < 0 ? 0 : n - 1)
                                 : rint(reflect(i, p->align ? 0 : -0.5, p->align ? n - 1 : n - 0.5));
        i = i < 0 ? 0 : i > n - 1 ? n - 1 : i;
    }
    return (int64_t)i;
}

static int find_taps(const sample_params *p, double at, int64_t length, int64_t from[TAPS], double w[TAPS])
{
    static const double A = -0.75;
    if (p->mode == NEAREST) {
        from[0] = element(p, rint(at), length);
        w[0] = 1;
        return 1;
    }
    const double first = floor(at), t = at - first;
    if (p->mode == LINEAR) {
        for (int i = 0; i < 2; i++) {
            from[i] = element(p, first + i, length);
            w[i] = i == 0 ? 1 - t : t;
        }
        return 2;
    }
    for (int i = 0; i < 4; i++) {
        const double d = fabs(t - (i - 1));
        from[i] = element(p, first + i - 1, length);
        w[i] = d <= 1 ? ((A + 2) * d - (A + 3)) * d * d + 1 : ((A * d - 5 * A) * d + 8 * A) * d - 4 * A;
    }
    return 4;
}

static double sum_taps(const sample_params *p, const float *x, const int n[MOST_AXES],
                       const int64_t from[MOST_AXES][TAPS], const double w[MOST_AXES][TAPS])
{
    double sum = 0;
    const int64_t plane = p->in[1] * p->in[2];
    for (int i = 0; i < n[0]; i++) {
        for (int j = 0; j < n[1]; j++) {
            for (int k = 0; k < n[2]; k++) {
                const bool inside = from[0][i] >= 0 && from[1][j] >= 0 && from[2][k] >= 0;
                const double v = inside ? (double)x[from[0][i] * plane + from[1][j] * p->in[2] + from[2][k]] : 0;
                sum += w[0][i] * w[1][j] * w[2][k] * v;
            }
        }
    }
    return sum;
}

static void run_sample(const void *params, void *to, const void *const *x)
{
    const sample_params *p = params;
    const int64_t map = p->in[0] * p->in[1] * p->in[2];
    for (int64_t item = 0; item < p->n; item++) {
        const float *grid = (const float *)x[1] + item * p->points * p->axes;
        const float *from = (const float *)x[0] + item * p->channels * map;
        float *y = (float *)to + item * p->channels * p->points;
        for (int64_t o = 0; o < p->points; o++) {
            int n[MOST_AXES] = {1, 1, 1};
            int64_t at[MOST_AXES][TAPS] = {{0}};
            double w[MOST_AXES][TAPS] = {{1}, {1}, {1}};
            for (int a = 0; a < p->axes; a++) { /* the grid names the last axis first */
                const int axis = MOST_AXES - 1 - a;
                const double v = place(p, (double)grid[o * p->axes + a], p->in[axis]);
                n[axis] = find_taps(p, v, p->in[axis], at[axis], w[axis]);
            }
            for (int64_t c = 0; c < p->channels; c++) {
                y[c * p->points + o] =
                    (float)sum_taps(p, from + c * map, n, (const int64_t(*)[TAPS])at, (const double(*)[TAPS])w);
            }
        }
    }
}

static qn_status read_names(sample_params *p, const qn_infer *c)
{
    const char *mode = qn_node_string(c->node, "mode", "linear");
    const char *edge = qn_node_string(c->node, "padding_mode", "zeros");
    if (strcmp(mode, "nearest") == 0) {
        p->mode = NEAREST;
    } else if (strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0) {
        p->mode = LINEAR;
    } else if (strcmp(mode, "cubic") == 0 || strcmp(mode, "bicubic") == 0) {
        p->mode = CUBIC;
    } else {
        return qn_infer_fail(c, QN_EFORMAT, "attribute mode", "'%s' is none of nearest, linear, cubic", mode);
    }
    if (strcmp(edge, "zeros") == 0) {
        p->padding = ZEROS;
    } else if (strcmp(edge, "border") == 0) {
        p->padding = BORDER;
    } else if (strcmp(edge, "reflection") == 0) {
        p->padding = REFLECTION;
    } else {
        return qn_infer_fail(c, QN_EFORMAT, "attribute padding_mode", "'%s' is none of zeros, border, reflection",
                             edge);
    }
    return QN_OK;
}

qn_status qn_infer_grid_sample(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *grid = qn_infer_input(c, 1);
    sample_params p;
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(qn_infer_want_float(c, 1));
    QN_TRY(read_names(&p, c));
    const bool fits = (x->rank == 4 || x->rank == 5) && grid->rank == x->rank && grid->dims[0] == x->dims[0] &&
                      grid->dims[x->rank - 1] == x->rank - 2 && x->n_elems > 0;
    if (!fits) {
        char a[QN_DIMS_TEXT_MAX], g[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "a grid of shape %s does not fit an input of shape %s",
                             qn_dims_text(g, grid->rank, grid->dims), qn_dims_text(a, x->rank, x->dims));
    }
    int64_t dims[QN_MAX_RANK] = {x->dims[0], x->dims[1]};
    for (int i = 2; i < x->rank; i++) {
        dims[i] = grid->dims[i - 1];
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, dims);
}

qn_status qn_prepare_grid_sample(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), y = qn_job_output(job);
    const qn_infer c = qn_job_infer(job);
    sample_params p = {.axes = x.rank - 2,
                       .n = x.dims[0],
                       .channels = x.dims[1],
                       .in = {1, 1, 1},
                       .points = qn_dims_product(y.dims, 2, y.rank),
                       .align = qn_node_int(job->node, "align_corners", 0) != 0};
    for (int a = 0; a < p.axes; a++) {
        p.in[MOST_AXES - p.axes + a] = x.dims[2 + a];
    }
    QN_TRY(read_names(&p, &c));
    return qn_job_set(compute, job, run_sample, &p, sizeof p, 2);
}
