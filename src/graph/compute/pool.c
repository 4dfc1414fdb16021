/* LpPool; MaxPool of integers, and where its maxima are; pools of three spatial dimensions. And what is left of Clip and Dropout: integers, masks. */
#include <math.h>
#include <string.h>

#include "graph/compute/job.h"
#include "graph/compute/real_math.h"

/*  by_columns  places are counted down the columns of a map first (storage_order) */
typedef struct pool_params {
    qn_volume window;
    qn_dtype dtype;
    bool indices, by_columns;
    double p;
} pool_params;

/* One window: planes, rows and columns of the input that it sees, `to` excluded. */
typedef struct view {
    int64_t from[3], to[3];
} view;

static view view_of(const qn_volume *w, int64_t output)
{
    const int64_t at[3] = {output / w->out[2] / w->out[1], output / w->out[2] % w->out[1], output % w->out[2]};
    view v;
    for (int a = 0; a < 3; a++) {
        v.from[a] = at[a] * w->stride[a] - w->pad_begin[a];
        v.to[a] = v.from[a] + (w->kernel[a] - 1) * w->dilation[a] + 1;
        v.to[a] = v.to[a] < w->in[a] ? v.to[a] : w->in[a];
        while (v.from[a] < 0) {
            v.from[a] += w->dilation[a];
        }
    }
    return v;
}

/* Walk over the elements of a view: `at` is where each lies in its map. */
#define FOR_VIEW(w, v, at)                                                                                             \
    for (int64_t d_ = (v)->from[0]; d_ < (v)->to[0]; d_ += (w)->dilation[0])                                           \
        for (int64_t h_ = (v)->from[1]; h_ < (v)->to[1]; h_ += (w)->dilation[1])                                       \
            for (int64_t i_ = (v)->from[2], at = (d_ * (w)->in[1] + h_) * (w)->in[2] + i_; i_ < (v)->to[2];            \
                 i_ += (w)->dilation[2], at += (w)->dilation[2])

static int64_t greatest_float(const qn_volume *w, const float *map, const view *v)
{
    int64_t best = (v->from[0] * w->in[1] + v->from[1]) * w->in[2] + v->from[2];
    FOR_VIEW(w, v, at)
    {
        best = map[at] > map[best] ? at : best;
    }
    return best;
}

static int64_t greatest_integer(const pool_params *p, const char *map, const view *v)
{
    int64_t best = -1, most = 0;
    FOR_VIEW(&p->window, v, at)
    {
        int64_t x;
        qn_convert_elements(QN_DTYPE_S64, &x, p->dtype, map + (size_t)at * qn_dtype_size(p->dtype), 1);
        best = best < 0 || x > most ? at : best;
        most = best == at ? x : most;
    }
    return best;
}

/* Places are counted in C order, or from the first axis of a map to its last. */
static int64_t place_of(const pool_params *p, int64_t at)
{
    const qn_volume *w = &p->window;
    const int64_t column = at % w->in[2], row = at / w->in[2] % w->in[1], plane = at / w->in[2] / w->in[1];
    return p->by_columns ? (column * w->in[1] + row) * w->in[0] + plane : at;
}

static void run_max(const void *params, void *to, const void *const *x)
{
    const pool_params *p = params;
    const qn_volume *w = &p->window;
    const int64_t plane = w->in[0] * w->in[1] * w->in[2];
    const size_t size = qn_dtype_size(p->dtype), out_size = p->indices ? sizeof(int64_t) : size;
    char *y = to;
    for (int64_t c = 0; c < w->n * w->c_in; c++) {
        const char *map = (const char *)x[0] + (size_t)(c * plane) * size;
        for (int64_t i = 0; i < w->out[0] * w->out[1] * w->out[2]; i++, y += out_size) {
            const view v = view_of(w, i);
            const int64_t at = p->dtype == QN_DTYPE_F32 ? greatest_float(w, (const float *)(const void *)map, &v)
                                                        : greatest_integer(p, map, &v);
            const int64_t place = c * plane + place_of(p, at);
            memcpy(y, p->indices ? (const char *)&place : map + (size_t)at * size, out_size);
        }
    }
}

qn_status qn_prepare_max_pool(qn_compute *compute, const qn_compute_job *job)
{
    pool_params p = {.dtype = qn_job_input(job, 0).dtype,
                     .indices = job->output == 1,
                     .by_columns = qn_node_int(job->node, "storage_order", 0) != 0};
    QN_TRY(qn_volume_of_node(&p.window, job->binding, job->node, job->err));
    p.window.n /= job->items;
    return qn_job_set(compute, job, run_max, &p, sizeof p, 1);
}

static double power(double x, double exponent)
{
    if (x == 0) {
        return 0;
    }
    lane_reals v = LANE_ALL(exponent * real_log(x));
    lane_exp(&v, &v);
    return v[0];
}

static double norm(const pool_params *p, const float *map, const view *v)
{
    double sum = 0;
    FOR_VIEW(&p->window, v, at)
    {
        const double x = fabs((double)map[at]);
        sum += p->p == 1 ? x : p->p == 2 ? x * x : power(x, p->p);
    }
    return p->p == 1 ? sum : p->p == 2 ? sqrt(sum) : power(sum, 1 / p->p);
}

static void run_norm(const void *params, void *to, const void *const *x)
{
    const pool_params *p = params;
    const qn_volume *w = &p->window;
    float *y = to;
    for (int64_t c = 0; c < w->n * w->c_in; c++) {
        const float *map = (const float *)x[0] + c * w->in[0] * w->in[1] * w->in[2];
        for (int64_t i = 0; i < w->out[0] * w->out[1] * w->out[2]; i++) {
            const view v = view_of(w, i);
            *y++ = (float)norm(p, map, &v);
        }
    }
}

qn_status qn_prepare_norm_pool(qn_compute *compute, const qn_compute_job *job)
{
    pool_params p = {.p = (double)qn_node_int(job->node, "p", 2)};
    QN_TRY(qn_volume_of_node(&p.window, job->binding, job->node, job->err));
    p.window.n /= job->items;
    return qn_job_set(compute, job, run_norm, &p, sizeof p, 1);
}

/* Of all places inside the padded input, or of those inside the input. */
static int64_t count_places(const qn_volume *w, int64_t output, const view *v)
{
    const int64_t at[3] = {output / w->out[2] / w->out[1], output / w->out[2] % w->out[1], output % w->out[2]};
    int64_t n = 1;
    for (int a = 0; a < 3; a++) {
        const int64_t first = at[a] * w->stride[a] - w->pad_begin[a], end = w->in[a] + w->pad_end[a];
        int64_t own = 0;
        for (int64_t k = 0; k < w->kernel[a]; k++) {
            own += first + k * w->dilation[a] < end;
        }
        n *= w->count_include_pad ? own : (v->to[a] - v->from[a] + w->dilation[a] - 1) / w->dilation[a];
    }
    return n;
}

static void run_average(const void *params, void *to, const void *const *x)
{
    const pool_params *p = params;
    const qn_volume *w = &p->window;
    float *y = to;
    for (int64_t c = 0; c < w->n * w->c_in; c++) {
        const float *map = (const float *)x[0] + c * w->in[0] * w->in[1] * w->in[2];
        for (int64_t i = 0; i < w->out[0] * w->out[1] * w->out[2]; i++) {
            const view v = view_of(w, i);
            double sum = 0;
            FOR_VIEW(w, &v, at)
            {
                sum += (double)map[at];
            }
            *y++ = (float)(sum / (double)count_places(w, i, &v));
        }
    }
}

/* Of three spatial dimensions; those of fewer have lowerings of their own. */
qn_status qn_prepare_average_pool(qn_compute *compute, const qn_compute_job *job)
{
    pool_params p = {.dtype = QN_DTYPE_F32};
    QN_TRY(qn_volume_of_node(&p.window, job->binding, job->node, job->err));
    p.window.n /= job->items;
    return qn_job_set(compute, job, run_average, &p, sizeof p, 1);
}

typedef struct clip_params {
    int64_t lo, hi, n;
    qn_dtype dtype;
} clip_params;

static void run_clip(const void *params, void *to, const void *const *x)
{
    const clip_params *p = params;
    for (int64_t i = 0; i < p->n; i++) {
        const size_t at = (size_t)i * qn_dtype_size(p->dtype);
        int64_t v;
        qn_convert_elements(QN_DTYPE_S64, &v, p->dtype, (const char *)x[0] + at, 1);
        v = v > p->lo ? v : p->lo;
        v = v < p->hi ? v : p->hi;
        qn_convert_elements(p->dtype, (char *)to + at, QN_DTYPE_S64, &v, 1);
    }
}

/* Of integers: floats have lowerings of their own. */
qn_status qn_prepare_clip(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    clip_params p = {.n = x.n_elems, .dtype = x.dtype};
    qn_clip clip;
    QN_TRY(qn_clip_of_node(&clip, job->binding, job->node, job->err));
    qn_convert_elements(QN_DTYPE_S64, &p.lo, QN_DTYPE_F64, &clip.lo, 1);
    qn_convert_elements(QN_DTYPE_S64, &p.hi, QN_DTYPE_F64, &clip.hi, 1);
    return qn_job_set(compute, job, run_clip, &p, sizeof p, 1);
}

static void run_ones(const void *params, void *to, const void *const *x)
{
    const clip_params *p = params;
    const int64_t one = 1;
    (void)x;
    for (int64_t i = 0; i < p->n; i++) {
        qn_convert_elements(p->dtype, (char *)to + (size_t)i * qn_dtype_size(p->dtype), QN_DTYPE_S64, &one, 1);
    }
}

/* At inference nothing is dropped. */
qn_status qn_prepare_dropout(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job);
    const clip_params p = {.n = y.n_elems, .dtype = y.dtype};
    return job->output == 0 ? qn_prepare_cast(compute, job) : qn_job_set(compute, job, run_ones, &p, sizeof p, 0);
}
