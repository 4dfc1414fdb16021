/* Gather, GatherElements, GatherND, ScatterElements, ScatterND, by indices that may be computed while the network runs:
 * those outside count as the nearest inside. Elements of any type. */
#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"

static int64_t index_at(qn_dtype dtype, const void *indices, int64_t i, int64_t length)
{
    int64_t index = dtype == QN_DTYPE_S64 ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
    index += index < 0 ? length : 0;
    return index < 0 ? 0 : index >= length ? length - 1 : index;
}

typedef struct gather_params {
    qn_dtype index_type;
    int64_t outer, length, inner, n; /* n indices */
    size_t size;
} gather_params;

static void run_gather(const void *params, void *to, const void *const *x)
{
    const gather_params *p = params;
    const size_t part = (size_t)p->inner * p->size;
    char *y = to;
    for (int64_t o = 0; o < p->outer; o++) {
        for (int64_t i = 0; i < p->n; i++, y += part) {
            const int64_t at = o * p->length + index_at(p->index_type, x[1], i, p->length);
            memcpy(y, (const char *)x[0] + (size_t)at * part, part);
        }
    }
}

qn_status qn_prepare_gather(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), indices = qn_job_input(job, 1);
    int axis;
    QN_TRY(qn_axis_of_node(&axis, job->binding, job->node, job->err));
    const gather_params p = {.index_type = indices.dtype,
                             .outer = qn_dims_product(x.dims, 0, axis),
                             .length = x.dims[axis],
                             .inner = qn_dims_product(x.dims, axis + 1, x.rank),
                             .n = indices.n_elems,
                             .size = qn_dtype_size(x.dtype)};
    return qn_job_set(compute, job, run_gather, &p, sizeof p, 2);
}

/* What an update does to an element. */
typedef enum { REPLACE, ADD, MULTIPLY, LEAST, GREATEST } effect;

static void update(effect how, qn_dtype dtype, void *y, const void *x)
{
    if (how == REPLACE) {
        memcpy(y, x, qn_dtype_size(dtype));
    } else if (dtype == QN_DTYPE_F32) {
        float v, w;
        memcpy(&v, y, sizeof v);
        memcpy(&w, x, sizeof w);
        v = how == ADD ? v + w : how == MULTIPLY ? v * w : how == LEAST ? (w < v ? w : v) : w > v ? w : v;
        memcpy(y, &v, sizeof v);
    } else {
        int64_t v, w;
        qn_convert_elements(QN_DTYPE_S64, &v, dtype, y, 1);
        qn_convert_elements(QN_DTYPE_S64, &w, dtype, x, 1);
        v = how == ADD        ? (int64_t)((uint64_t)v + (uint64_t)w)
            : how == MULTIPLY ? (int64_t)((uint64_t)v * (uint64_t)w)
            : how == LEAST    ? (w < v ? w : v)
                              : (w > v ? w : v);
        qn_convert_elements(dtype, y, QN_DTYPE_S64, &v, 1);
    }
}

static qn_status effect_of_node(effect *how, const qn_compute_job *job)
{
    static const char *const names[] = {
        [REPLACE] = "none", [ADD] = "add", [MULTIPLY] = "mul", [LEAST] = "min", [GREATEST] = "max"};
    const char *name = qn_node_string(job->node, "reduction", "none");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *how = (effect)i;
            return QN_OK;
        }
    }
    const qn_infer c = qn_job_infer(job);
    return qn_infer_fail(&c, QN_EUNSUPPORTED, "attribute reduction", "'%s' is none of none, add, mul, min, max", name);
}

/* One index for each element of `indices`, which lies within the data; `axis` of its place is replaced by the index.
 *  outside  the data's strides */
typedef struct elements_params {
    qn_grid places; /* dims of the indices, strides of the data */
    int axis;
    int64_t length, stride, n_data;
    qn_dtype index_type, dtype;
    effect how;
} elements_params;

/* The place in the data of each index in turn. */
static void walk_elements(const elements_params *p, void *y, const void *data, const void *indices, const void *updates)
{
    const size_t size = qn_dtype_size(p->dtype);
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0}, n = 0;
    const int last = p->places.rank - 1;
    do {
        for (int64_t i = 0; i < p->places.dims[last]; i++, n++) {
            const int64_t own = p->axis == last ? i : index[p->axis];
            const int64_t at = offsets[0] + i * p->places.strides[0][last] +
                               (index_at(p->index_type, indices, n, p->length) - own) * p->stride;
            if (updates == NULL) {
                memcpy((char *)y + (size_t)n * size, (const char *)data + (size_t)at * size, size);
            } else {
                update(p->how, p->dtype, (char *)y + (size_t)at * size, (const char *)updates + (size_t)n * size);
            }
        }
    } while (qn_grid_next(&p->places, index, offsets));
}

static void run_gather_elements(const void *params, void *y, const void *const *x)
{
    walk_elements(params, y, x[0], x[1], NULL);
}

static void run_scatter_elements(const void *params, void *y, const void *const *x)
{
    const elements_params *p = params;
    memcpy(y, x[0], (size_t)p->n_data * qn_dtype_size(p->dtype));
    if (x[2] != NULL) {
        walk_elements(p, y, NULL, x[1], x[2]);
    }
}

qn_status qn_prepare_elements(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), indices = qn_job_input(job, 1);
    const bool scatters = job->node->op != QN_OP_GATHER_ELEMENTS;
    elements_params p = {
        .places = {.rank = x.rank, .n = 1}, .n_data = x.n_elems, .index_type = indices.dtype, .dtype = x.dtype};
    QN_TRY(qn_axis_of_node(&p.axis, job->binding, job->node, job->err));
    QN_TRY(scatters ? effect_of_node(&p.how, job) : QN_OK);
    memcpy(p.places.dims, indices.dims, sizeof indices.dims);
    qn_grid_dense(x.rank, x.dims, p.places.strides[0]);
    p.length = x.dims[p.axis];
    p.stride = p.places.strides[0][p.axis];
    QN_TRY(qn_job_set(compute, job, scatters ? run_scatter_elements : run_gather_elements, &p, sizeof p,
                      scatters ? 3 : 2));
    if (scatters && indices.n_elems == 0) {
        compute->n_args = 1;
    }
    return QN_OK;
}

/* Each tuple of `depth` indices names a slice of `slice` elements, of the batch that the tuple is in. */
typedef struct tuples_params {
    int depth;
    int64_t batches, per_batch, tuples, slice, n_data; /* elements of data, and tuples, in one batch */
    int64_t dims[QN_MAX_RANK], strides[QN_MAX_RANK];
    qn_dtype index_type, dtype;
    effect how;
} tuples_params;

static int64_t place_of(const tuples_params *p, const void *indices, int64_t tuple)
{
    int64_t at = tuple / p->tuples * p->per_batch;
    for (int k = 0; k < p->depth; k++) {
        at += index_at(p->index_type, indices, tuple * p->depth + k, p->dims[k]) * p->strides[k];
    }
    return at;
}

static void run_gather_tuples(const void *params, void *y, const void *const *x)
{
    const tuples_params *p = params;
    const size_t part = (size_t)p->slice * qn_dtype_size(p->dtype);
    for (int64_t i = 0; i < p->batches * p->tuples; i++) {
        const size_t at = (size_t)place_of(p, x[1], i) * qn_dtype_size(p->dtype);
        memcpy((char *)y + (size_t)i * part, (const char *)x[0] + at, part);
    }
}

static void run_scatter_tuples(const void *params, void *y, const void *const *x)
{
    const tuples_params *p = params;
    const size_t size = qn_dtype_size(p->dtype);
    memcpy(y, x[0], (size_t)p->n_data * size);
    for (int64_t i = 0; i < p->tuples; i++) {
        char *to = (char *)y + (size_t)place_of(p, x[1], i) * size;
        for (int64_t k = 0; k < p->slice; k++) {
            update(p->how, p->dtype, to + (size_t)k * size, (const char *)x[2] + (size_t)(i * p->slice + k) * size);
        }
    }
}

qn_status qn_prepare_tuples(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0), indices = qn_job_input(job, 1);
    const bool scatters = job->node->op == QN_OP_SCATTER_ND;
    const int batch_dims = scatters ? 0 : (int)qn_node_int(job->node, "batch_dims", 0);
    tuples_params p = {.depth = (int)indices.dims[indices.rank - 1],
                       .batches = qn_dims_product(x.dims, 0, batch_dims),
                       .per_batch = qn_dims_product(x.dims, batch_dims, x.rank),
                       .tuples = qn_dims_product(indices.dims, batch_dims, indices.rank - 1),
                       .n_data = x.n_elems,
                       .index_type = indices.dtype,
                       .dtype = x.dtype};
    QN_TRY(scatters ? effect_of_node(&p.how, job) : QN_OK);
    for (int k = 0; k < p.depth; k++) {
        p.dims[k] = x.dims[batch_dims + k];
        p.strides[k] = qn_dims_product(x.dims, batch_dims + k + 1, x.rank);
    }
    p.slice = qn_dims_product(x.dims, batch_dims + p.depth, x.rank);
    return qn_job_set(compute, job, scatters ? run_scatter_tuples : run_gather_tuples, &p, sizeof p, scatters ? 3 : 2);
}
