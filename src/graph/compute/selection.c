/* Sizes are those of the values that were known when the graph was bound; a fault may change these, but never a size. */
#include "graph/selection.h"

#include <math.h>
#include <string.h>

#include "graph/compute/job.h"

bool qn_is_non_zero(qn_dtype dtype, const void *x, int64_t i)
{
    const void *at = (const char *)x + (size_t)i * qn_dtype_size(dtype);
    uint8_t on;
    qn_convert_elements(QN_DTYPE_BOOL, &on, dtype, at, 1);
    return on != 0;
}

typedef struct non_zero_params {
    int rank;
    int64_t dims[QN_MAX_RANK], n, n_kept;
    qn_dtype dtype;
} non_zero_params;

static void run_non_zero(const void *params, void *to, const void *const *x)
{
    const non_zero_params *p = params;
    int64_t *y = to, kept = 0;
    memset(to, 0, (size_t)(p->rank * p->n_kept) * sizeof *y);
    for (int64_t i = 0; i < p->n && kept < p->n_kept; i++) {
        if (!qn_is_non_zero(p->dtype, x[0], i)) {
            continue;
        }
        int64_t rest = i;
        for (int a = p->rank - 1; a >= 0; a--) {
            y[a * p->n_kept + kept] = rest % p->dims[a];
            rest /= p->dims[a];
        }
        kept++;
    }
}

qn_status qn_prepare_non_zero(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    non_zero_params p = {.rank = x.rank, .n = x.n_elems, .n_kept = qn_job_output(job).dims[1], .dtype = x.dtype};
    memcpy(p.dims, x.dims, sizeof p.dims);
    if (p.rank == 0) {
        p.rank = 1;
        p.dims[0] = 1;
    }
    return qn_job_set(compute, job, run_non_zero, &p, sizeof p, 1);
}

typedef struct slices_params {
    qn_selection s;
    qn_dtype dtype;
    int64_t *order; /* Unique: the first slice of each that is kept, in the order of the result */
    int output;
} slices_params;

static void copy_slice(const slices_params *p, char *y, int64_t to, const char *x, int64_t from)
{
    const size_t part = (size_t)p->s.inner * qn_dtype_size(p->dtype);
    for (int64_t o = 0; o < p->s.outer; o++) {
        memcpy(y + (size_t)(o * p->s.kept + to) * part, x + (size_t)(o * p->s.length + from) * part, part);
    }
}

static void run_compress(const void *params, void *y, const void *const *x)
{
    const slices_params *p = params;
    const uint8_t *on = x[1];
    int64_t kept = 0;
    memset(y, 0, (size_t)(p->s.outer * p->s.kept * p->s.inner) * qn_dtype_size(p->dtype));
    for (int64_t k = 0; k < p->s.given && kept < p->s.kept; k++) {
        if (on[k] != 0) {
            copy_slice(p, y, kept++, x[0], k);
        }
    }
}

qn_status qn_prepare_compress(qn_compute *compute, const qn_compute_job *job)
{
    slices_params p = {.dtype = qn_job_input(job, 0).dtype};
    QN_TRY(qn_compress_of_node(&p.s, job->binding, job->node, job->err));
    return qn_job_set(compute, job, run_compress, &p, sizeof p, 2);
}

/* NaN equals nothing and comes last. */
static int order_of(qn_dtype dtype, const void *a, const void *b)
{
    if (dtype == QN_DTYPE_F32) {
        const float v = *(const float *)a, w = *(const float *)b;
        return v < w ? -1 : v > w ? 1 : isnan(v) || isnan(w) ? (isnan(v) ? 1 : -1) : 0;
    }
    int64_t v, w;
    qn_convert_elements(QN_DTYPE_S64, &v, dtype, a, 1);
    qn_convert_elements(QN_DTYPE_S64, &w, dtype, b, 1);
    return v < w ? -1 : v > w;
}

int qn_unique_order(const qn_selection *s, qn_dtype dtype, const void *x, int64_t a, int64_t b)
{
    const size_t size = qn_dtype_size(dtype);
    int order = 0;
    for (int64_t o = 0; order == 0 && o < s->outer; o++) {
        for (int64_t i = 0; order == 0 && i < s->inner; i++) {
            order = order_of(dtype, (const char *)x + (size_t)((o * s->length + a) * s->inner + i) * size,
                             (const char *)x + (size_t)((o * s->length + b) * s->inner + i) * size);
        }
    }
    return order;
}

int64_t qn_unique_first(const qn_selection *s, qn_dtype dtype, const void *x, int64_t k)
{
    int64_t first = 0;
    while (first < k && qn_unique_order(s, dtype, x, first, k) != 0) {
        first++;
    }
    return first;
}

static void run_unique(const void *params, void *to, const void *const *x)
{
    const slices_params *p = params;
    const qn_selection *s = &p->s;
    int64_t *y = to;
    memset(to, 0, p->output == 3 ? (size_t)s->kept * sizeof *y : 0);
    for (int64_t j = 0; j < s->kept && p->output < 2; j++) {
        if (p->output == 0) {
            copy_slice(p, to, j, x[0], p->order[j]);
        } else {
            y[j] = p->order[j];
        }
    }
    for (int64_t k = 0; k < s->length && p->output >= 2; k++) {
        const int64_t first = qn_unique_first(s, p->dtype, x[0], k);
        int64_t j = 0;
        while (j < s->kept - 1 && p->order[j] != first) {
            j++;
        }
        if (p->output == 2) {
            y[k] = j;
        } else {
            y[j]++;
        }
    }
}

qn_status qn_prepare_unique(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    slices_params p = {.dtype = x.dtype, .output = job->output};
    QN_TRY(qn_unique_of_node(&p.s, job->binding, job->node, job->err));
    p.order = qn_arena_array(job->arena, (size_t)p.s.kept, sizeof *p.order);
    if (p.order == NULL) {
        return qn_fail_memory(job->err, NULL, (size_t)p.s.kept * sizeof *p.order);
    }
    const bool sorted = qn_node_int(job->node, "sorted", 1) != 0;
    int64_t n = 0;
    for (int64_t k = 0; k < p.s.length; k++) {
        if (qn_unique_first(&p.s, x.dtype, x.known->data, k) == k) {
            int64_t at = n++;
            for (; sorted && at > 0 && qn_unique_order(&p.s, x.dtype, x.known->data, p.order[at - 1], k) > 0; at--) {
                p.order[at] = p.order[at - 1];
            }
            p.order[at] = k;
        }
    }
    return qn_job_set(compute, job, run_unique, &p, sizeof p, 1);
}

/* Two corners in any order, or center and size. */
static void corners(const qn_boxes *b, const float *box, float lo[2], float hi[2])
{
    for (int a = 0; a < 2; a++) {
        const float first = b->centers ? box[1 - a] - box[3 - a] / 2 : box[a];
        const float second = b->centers ? box[1 - a] + box[3 - a] / 2 : box[2 + a];
        lo[a] = first < second ? first : second;
        hi[a] = first < second ? second : first;
    }
}

static bool overlaps(const qn_boxes *b, const float *one, const float *other)
{
    float lo[2][2], hi[2][2], area[2], shared = 1;
    corners(b, one, lo[0], hi[0]);
    corners(b, other, lo[1], hi[1]);
    for (int i = 0; i < 2; i++) {
        area[i] = (hi[i][0] - lo[i][0]) * (hi[i][1] - lo[i][1]);
    }
    for (int a = 0; a < 2; a++) {
        const float from = lo[0][a] > lo[1][a] ? lo[0][a] : lo[1][a], to = hi[0][a] < hi[1][a] ? hi[0][a] : hi[1][a];
        shared *= to > from ? to - from : 0;
    }
    const float all = area[0] + area[1] - shared;
    return area[0] > 0 && area[1] > 0 && all > 0 && shared / all > b->overlap;
}

/* The best box left, the first of equals, that overlaps none which was kept: -1 when none is left. */
static int64_t next_box(const qn_boxes *b, const float *boxes, const float *scores, uint8_t *gone,
                        const int64_t *chosen, int64_t n_chosen)
{
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i < b->n; i++) {
            const bool counts = gone[i] == 0 && (!b->has_least || scores[i] > b->least);
            best = counts && (best < 0 || scores[i] > scores[best]) ? i : best;
        }
        if (best < 0) {
            return -1;
        }
        gone[best] = 1;
        bool apart = true;
        for (int64_t k = 0; apart && k < n_chosen; k++) {
            apart = !overlaps(b, boxes + 4 * best, boxes + 4 * chosen[k]);
        }
        if (apart) {
            return best;
        }
    }
}

int64_t qn_boxes_select(const qn_boxes *b, const float *boxes, const float *scores, int64_t *to)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < b->batches * b->classes; i++) {
        uint8_t gone[QN_BOXES_MOST] = {0};
        int64_t chosen[QN_BOXES_MOST], n = 0;
        while (n < b->most) {
            const int64_t batch = i / b->classes;
            const int64_t best = next_box(b, boxes + batch * b->n * 4, scores + i * b->n, gone, chosen, n);
            if (best < 0) {
                break;
            }
            chosen[n++] = best;
            if (to != NULL && kept < b->kept) {
                memcpy(to + 3 * kept, (int64_t[]){batch, i % b->classes, best}, 3 * sizeof *to);
            }
            kept++;
        }
    }
    return kept;
}

static void run_boxes(const void *params, void *to, const void *const *x)
{
    const qn_boxes *b = params;
    memset(to, 0, (size_t)(3 * b->kept) * sizeof(int64_t));
    (void)qn_boxes_select(params, x[0], x[1], to);
}

qn_status qn_prepare_boxes(qn_compute *compute, const qn_compute_job *job)
{
    qn_boxes b;
    QN_TRY(qn_boxes_of_node(&b, job->binding, job->node, job->err));
    return qn_job_set(compute, job, run_boxes, &b, sizeof b, 2);
}
