/* Reductions (doc/spec/arithmetic.md 6.3): in f64, over the reduced elements in C order. */
#include <math.h>
#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"
#include "graph/compute/real_math.h"

typedef enum {
    TERM_SUM,
    TERM_SQUARE,
    TERM_MAGNITUDE,
    TERM_PRODUCT,
    TERM_GREATEST,
    TERM_LEAST,
    TERM_EXPONENTIAL,
    N_TERMS
} term;

enum { RUNS = 8, STEPS = 256 };

typedef struct loops {
    void (*step)(double *sum, const float *x, const float *greatest, int64_t n);
    void (*run)(double *sums, const float *x, const float *greatest, int64_t length, int64_t apart);
} loops;

#define LANES_TEMPLATE "graph/compute/reduce_template.h"
#include "base/each_isa.inc"

/* What becomes of the accumulator in the end. */
typedef enum { END_AS_IS, END_MEAN, END_ROOT, END_LOG, END_LOG_PLUS_GREATEST } ending;

static const struct {
    qn_op op;
    term term;
    ending ending;
    double start;
} rows[] = {
    {QN_OP_REDUCE_L1, TERM_MAGNITUDE, END_AS_IS, 0},
    {QN_OP_REDUCE_L2, TERM_SQUARE, END_ROOT, 0},
    {QN_OP_REDUCE_LOG_SUM, TERM_SUM, END_LOG, 0},
    {QN_OP_REDUCE_LOG_SUM_EXP, TERM_EXPONENTIAL, END_LOG_PLUS_GREATEST, 0},
    {QN_OP_REDUCE_MAX, TERM_GREATEST, END_AS_IS, -(double)INFINITY},
    {QN_OP_REDUCE_MEAN, TERM_SUM, END_MEAN, 0},
    {QN_OP_REDUCE_MIN, TERM_LEAST, END_AS_IS, (double)INFINITY},
    {QN_OP_REDUCE_PROD, TERM_PRODUCT, END_AS_IS, 1},
    {QN_OP_REDUCE_SUM, TERM_SUM, END_AS_IS, 0},
    {QN_OP_REDUCE_SUM_SQUARE, TERM_SQUARE, END_AS_IS, 0},
};

typedef struct reduce_params {
    qn_grid kept, reduced; /* of the input */
    int64_t n_reduced;
    const loops *loops, *greatest;
    term term;
    ending ending;
    double start;
    qn_dtype dtype;
} reduce_params;

/* n outputs, `apart` elements of x between one's and the next's: all terms of each, in order. */
static void accumulate(const reduce_params *p, const loops *loop, double *sum, const float *x, const float *greatest,
                       int64_t n, int64_t apart)
{
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    const int last = p->reduced.rank - 1;
    const int64_t length = p->reduced.dims[last], stride = p->reduced.strides[0][last];
    do {
        const float *row = x + offsets[0];
        if (n == RUNS && apart != 1 && stride == 1) {
            loop->run(sum, row, greatest, length, apart);
            continue;
        }
        for (int64_t i = 0; i < length; i++) {
            for (int64_t j = 0; apart != 1 && j < n; j++) {
                loop->step(sum + j, row + i * stride + j * apart, greatest + j, 1);
            }
            if (apart == 1) {
                loop->step(sum, row + i * stride, greatest, n);
            }
        }
    } while (qn_grid_next(&p->reduced, index, offsets));
}

static double logarithm(double x)
{
    return x > 0 ? isinf(x) ? x : real_log(x) : x == 0 ? -(double)INFINITY : (double)NAN;
}

static float end(const reduce_params *p, double sum, float greatest)
{
    switch (p->ending) {
    case END_MEAN:
        return (float)(sum / (double)p->n_reduced);
    case END_ROOT:
        return (float)sqrt(sum);
    case END_LOG:
        return (float)logarithm(sum);
    case END_LOG_PLUS_GREATEST:
        return isfinite(greatest) ? (float)((double)greatest + logarithm(sum)) : greatest;
    default:
        return (float)sum;
    }
}

static void reduce_some(const reduce_params *p, float *y, const float *x, int64_t n, int64_t apart)
{
    double sum[STEPS];
    float greatest[STEPS] = {0};
    if (p->term == TERM_EXPONENTIAL) {
        for (int64_t i = 0; i < n; i++) {
            sum[i] = -(double)INFINITY;
        }
        if (p->n_reduced > 0) {
            accumulate(p, p->greatest, sum, x, greatest, n, apart);
        }
        for (int64_t i = 0; i < n; i++) {
            greatest[i] = (float)sum[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        sum[i] = p->start;
    }
    if (p->n_reduced > 0) {
        accumulate(p, p->loops, sum, x, greatest, n, apart);
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = end(p, sum[i], greatest[i]);
    }
}

static void run_reduce(const void *params, void *to, const void *const *x)
{
    const reduce_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    const int last = p->kept.rank - 1;
    const int64_t n = p->kept.dims[last], apart = p->kept.strides[0][last];
    float *y = to;
    do {
        const float *from = (const float *)x[0] + offsets[0];
        for (int64_t i = 0; i < n;) {
            const int64_t most = apart == 1 ? STEPS : RUNS, now = n - i < most ? n - i : most;
            reduce_some(p, y, from + i * apart, now, apart);
            y += now;
            i += now;
        }
    } while (qn_grid_next(&p->kept, index, offsets));
}

static int64_t join(term kind, int64_t sum, int64_t v)
{
    switch (kind) {
    case TERM_SQUARE:
        return (int64_t)((uint64_t)sum + (uint64_t)v * (uint64_t)v);
    case TERM_MAGNITUDE:
        return (int64_t)((uint64_t)sum + (v < 0 ? 0 - (uint64_t)v : (uint64_t)v));
    case TERM_PRODUCT:
        return (int64_t)((uint64_t)sum * (uint64_t)v);
    case TERM_GREATEST:
        return v > sum ? v : sum;
    case TERM_LEAST:
        return v < sum ? v : sum;
    default:
        return (int64_t)((uint64_t)sum + (uint64_t)v);
    }
}

/* Roots and logarithms of integers: in f64, cut off toward zero. */
static int64_t end_integer(const reduce_params *p, int64_t sum, double powers, int64_t greatest)
{
    double v;
    switch (p->ending) {
    case END_MEAN:
        return sum / p->n_reduced;
    case END_ROOT:
        v = sqrt((double)sum);
        break;
    case END_LOG:
        v = logarithm((double)sum);
        break;
    case END_LOG_PLUS_GREATEST:
        v = (double)greatest + logarithm(powers);
        break;
    default:
        return sum;
    }
    qn_convert_elements(QN_DTYPE_S64, &sum, QN_DTYPE_F64, &v, 1);
    return sum;
}

static double power_of(int64_t v)
{
    lane_reals x = LANE_ALL((double)v);
    lane_exp(&x, &x);
    return x[0];
}

/* Integers: modulo 2^64, a mean truncated; then as the type holds it. */
static void run_integers(const void *params, void *to, const void *const *x)
{
    const reduce_params *p = params;
    const size_t size = qn_dtype_size(p->dtype);
    qn_grid kept = p->kept, reduced = p->reduced;
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    char *y = to;
    do {
        for (int64_t i = 0; i < kept.dims[kept.rank - 1]; i++, y += size) {
            const char *from = (const char *)x[0] + (offsets[0] + i * kept.strides[0][kept.rank - 1]) * (int64_t)size;
            int64_t at[QN_MAX_RANK] = {0}, places[QN_GRID_OPERANDS] = {0};
            int64_t sum = p->term == TERM_GREATEST ? INT64_MIN : p->term == TERM_LEAST ? INT64_MAX : (int64_t)p->start;
            int64_t greatest = INT64_MIN;
            double powers = 0;
            for (int pass = p->term == TERM_EXPONENTIAL ? 0 : 1; pass < 2; pass++) {
                do {
                    for (int64_t k = 0; p->n_reduced > 0 && k < reduced.dims[reduced.rank - 1]; k++) {
                        int64_t v;
                        qn_convert_elements(
                            QN_DTYPE_S64, &v, p->dtype,
                            from + (places[0] + k * reduced.strides[0][reduced.rank - 1]) * (int64_t)size, 1);
                        sum = join(p->term, sum, v);
                        greatest = pass == 0 && v > greatest ? v : greatest;
                        powers += pass == 1 && p->term == TERM_EXPONENTIAL ? power_of(v - greatest) : 0;
                    }
                } while (p->n_reduced > 0 && qn_grid_next(&reduced, at, places));
                memset(at, 0, sizeof at);
                memset(places, 0, sizeof places);
            }
            sum = end_integer(p, sum, powers, greatest);
            qn_convert_elements(p->dtype, y, QN_DTYPE_S64, &sum, 1);
        }
    } while (qn_grid_next(&kept, index, offsets));
}

qn_status qn_prepare_reduce(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const qn_infer c = qn_job_infer(job);
    qn_reduce reduce;
    int64_t strides[QN_MAX_RANK];
    size_t row = 0;
    while (rows[row].op != job->node->op) {
        row++;
    }
    const loops *all = QN_LANES_FOR(job->cpu, loops);
    reduce_params p = {.kept = {.n = 1},
                       .reduced = {.n = 1},
                       .n_reduced = 1,
                       .loops = &all[rows[row].term],
                       .greatest = &all[TERM_GREATEST],
                       .term = rows[row].term,
                       .ending = rows[row].ending,
                       .start = rows[row].start,
                       .dtype = x.dtype};
    QN_TRY(qn_reduce_of_node(&reduce, job->binding, job->node, job->err));
    qn_grid_dense(x.rank, x.dims, strides);
    for (int i = 0; i < x.rank; i++) {
        qn_grid *grid = reduce.reduced[i] ? &p.reduced : &p.kept;
        grid->dims[grid->rank] = x.dims[i];
        grid->strides[0][grid->rank++] = strides[i];
        p.n_reduced *= reduce.reduced[i] ? x.dims[i] : 1;
    }
    if (p.n_reduced == 0 && rows[row].ending == END_MEAN) {
        return qn_infer_fail(&c, QN_ESHAPE, NULL, "the mean of no elements does not exist");
    }
    qn_grid_simplify(&p.kept);
    qn_grid_simplify(&p.reduced);
    return qn_job_set(compute, job, x.dtype == QN_DTYPE_F32 ? run_reduce : run_integers, &p, sizeof p, 1);
}
