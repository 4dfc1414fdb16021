/* LayerNormalization, InstanceNormalization, GroupNormalization, MeanVarianceNormalization, LRN
 * (doc/spec/arithmetic.md 6.3). */
#include <math.h>
#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"
#include "graph/compute/real_functions.h"

enum { ROWS = 8 };

typedef struct loops {
    void (*sums)(double *sums, const float *x, int64_t n, int64_t apart);
    void (*deviations)(double *sums, const float *x, const double *mean, int64_t n, int64_t apart);
    void (*scale_by_element)(float *y, const float *x, float mean, float factor, const float *scale, const float *bias,
                             int64_t n);
    void (*scale_all)(float *y, const float *x, float mean, float factor, float scale, float bias, int64_t n);
    void (*respond)(float *y, const float *x, const double *squares, double bias, double share, double beta);
} loops;

#define LANES_TEMPLATE "graph/compute/normalize_template.h"
#include "base/each_isa.inc"

/* Rows of n adjoining elements are normalized; each is `segments` of n / segments elements that share their scale and
 * bias. Segment s of row r has entry (r * segments + s) % entries / share of them.
 *  by_element  segments of one element, the same for all rows */
typedef struct rows_params {
    const loops *loops;
    int64_t rows, n, segments, entries, share;
    bool by_element;
    double epsilon;
    const float *zeros; /* n of them, where there is no bias by element */
} rows_params;

static void find_moments(const rows_params *p, const float *x, int64_t now, double mean[ROWS], double factor[ROWS])
{
    double square[ROWS];
    if (now == ROWS) {
        p->loops->sums(mean, x, p->n, p->n);
    }
    for (int64_t r = 0; r < now; r++) {
        double sum = now == ROWS ? mean[r] : 0;
        for (int64_t i = 0; now < ROWS && i < p->n; i++) {
            sum += (double)x[r * p->n + i];
        }
        mean[r] = sum / (double)p->n;
    }
    if (now == ROWS) {
        p->loops->deviations(square, x, mean, p->n, p->n);
    }
    for (int64_t r = 0; r < now; r++) {
        double sum = now == ROWS ? square[r] : 0;
        for (int64_t i = 0; now < ROWS && i < p->n; i++) {
            const double d = (double)x[r * p->n + i] - mean[r];
            sum += d * d;
        }
        factor[r] = 1 / sqrt(sum / (double)p->n + p->epsilon);
    }
}

static void scale_row(const rows_params *p, float *y, const float *x, int64_t row, float mean, float factor,
                      const float *scale, const float *bias)
{
    if (p->by_element) {
        p->loops->scale_by_element(y, x, mean, factor, scale, bias != NULL ? bias : p->zeros, p->n);
        return;
    }
    const int64_t length = p->n / p->segments;
    for (int64_t s = 0; s < p->segments; s++) {
        const int64_t entry = (row * p->segments + s) % p->entries / p->share;
        p->loops->scale_all(y + s * length, x + s * length, mean, factor, scale[entry], bias[entry], length);
    }
}

static void run_rows(const void *params, void *to, const void *const *x)
{
    const rows_params *p = params;
    for (int64_t row = 0; row < p->rows; row += ROWS) {
        const int64_t now = p->rows - row < ROWS ? p->rows - row : ROWS;
        double mean[ROWS], factor[ROWS];
        const float *from = (const float *)x[0] + row * p->n;
        find_moments(p, from, now, mean, factor);
        for (int64_t r = 0; r < now; r++) {
            scale_row(p, (float *)to + (row + r) * p->n, from + r * p->n, row + r, (float)mean[r], (float)factor[r],
                      x[1], x[2]);
        }
    }
}

/* The further outputs of LayerNormalization. */
static void run_means(const void *params, void *to, const void *const *x)
{
    const rows_params *p = params;
    for (int64_t row = 0; row < p->rows; row++) {
        double mean[ROWS], factor[ROWS];
        find_moments(p, (const float *)x[0] + row * p->n, 1, mean, factor);
        ((float *)to)[row] = (float)mean[0];
    }
}

static void run_factors(const void *params, void *to, const void *const *x)
{
    const rows_params *p = params;
    for (int64_t row = 0; row < p->rows; row++) {
        double mean[ROWS], factor[ROWS];
        find_moments(p, (const float *)x[0] + row * p->n, 1, mean, factor);
        ((float *)to)[row] = (float)factor[0];
    }
}

static qn_status prepare_layer(rows_params *p, const qn_compute_job *job, const qn_bound_value *x)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, job->binding, job->node, job->err));
    p->rows = qn_dims_product(x->dims, 0, axis);
    p->n = qn_dims_product(x->dims, axis, x->rank);
    p->by_element = true;
    float *zeros = qn_arena_array(job->arena, (size_t)p->n, sizeof *zeros);
    p->zeros = zeros;
    return zeros != NULL ? QN_OK : qn_fail_memory(job->err, NULL, (size_t)p->n * sizeof *zeros);
}

qn_status qn_prepare_normalize(qn_compute *compute, const qn_compute_job *job)
{
    static qn_compute_fn *const outputs[] = {run_rows, run_means, run_factors};
    const qn_bound_value x = qn_job_input(job, 0), scale = qn_job_input(job, 1);
    rows_params p = {.loops = QN_LANES_FOR(job->cpu, loops),
                     .segments = 1,
                     .share = 1,
                     .entries = 1,
                     .epsilon = (double)qn_node_float(job->node, "epsilon", 1e-5F)};
    const int64_t inner = x.rank > 2 ? qn_dims_product(x.dims, 2, x.rank) : 1;
    if (job->node->op == QN_OP_LAYER_NORMALIZATION) {
        QN_TRY(prepare_layer(&p, job, &x));
    } else if (job->node->op == QN_OP_INSTANCE_NORMALIZATION) {
        p.rows = x.dims[0] * x.dims[1];
        p.n = inner;
        p.entries = x.dims[1];
    } else { /* before opset 21 GroupNormalization had a scale and bias for each group */
        const int64_t groups = qn_node_int(job->node, "num_groups", 1);
        p.rows = x.dims[0] * groups;
        p.segments = x.dims[1] / groups;
        p.n = p.segments * inner;
        p.entries = x.dims[1];
        p.share = x.dims[1] / scale.n_elems;
    }
    return qn_job_set(compute, job, outputs[job->output], &p, sizeof p, 3);
}

/* Means over some axes, whose elements need not adjoin. */
typedef struct variance_params {
    qn_grid kept, reduced;
    int64_t n;
} variance_params;

static void normalize_one(const variance_params *p, float *y, const float *x)
{
    const int last = p->reduced.rank - 1;
    const int64_t length = p->reduced.dims[last], stride = p->reduced.strides[0][last];
    double mean = 0, square = 0;
    for (int pass = 0; pass < 3; pass++) {
        int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
        const float divisor = (float)(sqrt(square / (double)p->n) + 1e-9);
        do {
            for (int64_t i = 0; i < length; i++) {
                const int64_t at = offsets[0] + i * stride;
                const double d = (double)x[at] - mean;
                if (pass == 0) {
                    mean += (double)x[at];
                } else if (pass == 1) {
                    square += d * d;
                } else {
                    y[at] = (x[at] - (float)mean) / divisor;
                }
            }
        } while (qn_grid_next(&p->reduced, index, offsets));
        mean = pass == 0 ? mean / (double)p->n : mean;
    }
}

static void run_variance(const void *params, void *to, const void *const *x)
{
    const variance_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    const int last = p->kept.rank - 1;
    do {
        for (int64_t i = 0; i < p->kept.dims[last]; i++) {
            const int64_t at = offsets[0] + i * p->kept.strides[0][last];
            normalize_one(p, (float *)to + at, (const float *)x[0] + at);
        }
    } while (qn_grid_next(&p->kept, index, offsets));
}

qn_status qn_prepare_variance(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    variance_params p = {.kept = {.n = 1}, .reduced = {.n = 1}, .n = 1};
    bool over[QN_MAX_RANK];
    int64_t strides[QN_MAX_RANK];
    QN_TRY(qn_variance_axes_of_node(over, job->binding, job->node, job->err));
    qn_grid_dense(x.rank, x.dims, strides);
    for (int i = 0; i < x.rank; i++) {
        qn_grid *grid = over[i] ? &p.reduced : &p.kept;
        grid->dims[grid->rank] = x.dims[i];
        grid->strides[0][grid->rank++] = strides[i];
        p.n *= over[i] ? x.dims[i] : 1;
    }
    qn_grid_simplify(&p.kept);
    qn_grid_simplify(&p.reduced);
    return qn_job_set(compute, job, run_variance, &p, sizeof p, 1);
}

/* Channel c looks at channels c - before .. c + behind. */
typedef struct response_params {
    const loops *loops;
    int64_t items, channels, inner, before, behind;
    double bias, share, beta;
} response_params;

static void run_response(const void *params, void *to, const void *const *x)
{
    const response_params *p = params;
    for (int64_t row = 0; row < p->items * p->channels; row++) {
        const int64_t c = row % p->channels, first = row - (c < p->before ? c : p->before);
        const int64_t end = row + (p->channels - 1 - c < p->behind ? p->channels - 1 - c : p->behind) + 1;
        const float *from = x[0];
        for (int64_t i = 0; i < p->inner; i += LANE_COUNT) {
            const size_t now = (size_t)(p->inner - i < LANE_COUNT ? p->inner - i : LANE_COUNT);
            double squares[LANE_COUNT] = {0};
            float v[LANE_COUNT] = {0};
            for (int64_t other = first; other < end; other++) {
                for (size_t j = 0; j < now; j++) {
                    const double z = (double)from[other * p->inner + i + (int64_t)j];
                    squares[j] += z * z;
                }
            }
            memcpy(v, from + row * p->inner + i, now * sizeof *v);
            p->loops->respond(v, v, squares, p->bias, p->share, p->beta);
            memcpy((float *)to + row * p->inner + i, v, now * sizeof *v);
        }
    }
}

qn_status qn_prepare_response(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const int64_t size = qn_node_int(job->node, "size", 1);
    const response_params p = {.loops = QN_LANES_FOR(job->cpu, loops),
                               .items = x.dims[0],
                               .channels = x.dims[1],
                               .inner = qn_dims_product(x.dims, 2, x.rank),
                               .before = (size - 1) / 2,
                               .behind = size / 2,
                               .bias = (double)qn_node_float(job->node, "bias", 1.0F),
                               .share = (double)qn_node_float(job->node, "alpha", 1e-4F) / (double)size,
                               .beta = (double)qn_node_float(job->node, "beta", 0.75F)};
    return qn_job_set(compute, job, run_response, &p, sizeof p, 1);
}
