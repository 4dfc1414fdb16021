/* Moves of which each output axis says by itself where its coordinates come from: Split, Expand, Tile, Pad, DepthToSpace,
 * SpaceToDepth. Elements of any type. */
#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"

/* Output element (o0, o1, ...) is input element from[0][o0] + from[1][o1] + ..., or `fill` where one of them is negative.
 *  dense  the last axis adjoins in the input: a run of it is copied at once */
typedef struct map_params {
    int rank;
    bool dense;
    int64_t dims[QN_MAX_RANK];
    const int64_t *from[QN_MAX_RANK];
    size_t size;
    uint64_t fill; /* the bytes of an element */
} map_params;

/* Offset of the row at `index`, -1 when any of its coordinates lies outside. */
static int64_t row_offset(const map_params *p, const int64_t *index)
{
    int64_t offset = 0;
    for (int i = 0; i < p->rank - 1; i++) {
        const int64_t part = p->from[i][index[i]];
        if (part < 0) {
            return -1;
        }
        offset += part;
    }
    return offset;
}

static bool next_row(const map_params *p, int64_t *index)
{
    for (int i = p->rank - 2; i >= 0; i--) {
        if (++index[i] < p->dims[i]) {
            return true;
        }
        index[i] = 0;
    }
    return false;
}

#define MAP_ROW(bytes, type)                                                                                           \
    static void map_row_##bytes(const map_params *p, void *to, const void *x, int64_t offset)                          \
    {                                                                                                                  \
        const int64_t *from = p->from[p->rank - 1], n = p->dims[p->rank - 1];                                          \
        const type *source = x, fill = (type)p->fill;                                                                  \
        type *y = to;                                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            y[i] = offset < 0 || from[i] < 0 ? fill : source[offset + from[i]];                                        \
        }                                                                                                              \
    }
MAP_ROW(1, uint8_t)
MAP_ROW(2, uint16_t)
MAP_ROW(4, uint32_t)
MAP_ROW(8, uint64_t)
#undef MAP_ROW

static void run_map(const void *params, void *to, const void *const *x)
{
    static void (*const rows[9])(const map_params *p, void *y, const void *x,
                                 int64_t offset) = {[1] = map_row_1, [2] = map_row_2, [4] = map_row_4, [8] = map_row_8};
    const map_params *p = params;
    const int64_t n = p->dims[p->rank - 1];
    int64_t index[QN_MAX_RANK] = {0};
    char *y = to;
    do {
        const int64_t offset = row_offset(p, index);
        if (p->dense && offset >= 0) {
            memcpy(y, (const char *)x[0] + (offset + p->from[p->rank - 1][0]) * (int64_t)p->size, (size_t)n * p->size);
        } else {
            rows[p->size](p, y, x[0], offset);
        }
        y += n * (int64_t)p->size;
    } while (next_row(p, index));
}

/* Room for the lists of an axis of n coordinates; NULL when out of memory. */
static int64_t *add_axis(map_params *p, const qn_compute_job *job, int64_t n)
{
    int64_t *from = qn_arena_array(job->arena, (size_t)n, sizeof *from);
    p->dims[p->rank] = n;
    p->from[p->rank++] = from;
    return from;
}

static qn_status finish(qn_compute *compute, const qn_compute_job *job, map_params *p)
{
    if (p->rank == 0 && add_axis(p, job, 1) == NULL) {
        return qn_fail_memory(job->err, NULL, sizeof(int64_t));
    }
    const int64_t *last = p->from[p->rank - 1], n = p->dims[p->rank - 1];
    p->size = qn_dtype_size(qn_job_output(job).dtype);
    p->dense = n > 0 && last[0] >= 0;
    for (int64_t i = 1; i < n; i++) {
        p->dense &= last[i] == last[0] + i;
    }
    return qn_job_set(compute, job, run_map, p, sizeof *p, 1);
}

qn_status qn_map_axes(qn_compute *compute, const qn_compute_job *job, qn_source_fn *source, const void *how,
                      double fill)
{
    map_params p = {0};
    qn_convert_elements(qn_job_output(job).dtype, &p.fill, QN_DTYPE_F64, &fill, 1);
    const qn_bound_value x = qn_job_input(job, 0), y = qn_job_output(job);
    int64_t strides[QN_MAX_RANK];
    qn_grid_dense(x.rank, x.dims, strides);
    for (int i = 0; i < y.rank; i++) {
        const int axis = i - (y.rank - x.rank);
        int64_t *from = add_axis(&p, job, y.dims[i]);
        if (from == NULL) {
            return qn_fail_memory(job->err, NULL, (size_t)y.dims[i] * sizeof *from);
        }
        for (int64_t o = 0; axis >= 0 && o < y.dims[i]; o++) {
            const int64_t at = source(how, axis, o, x.dims[axis]);
            from[o] = at < 0 ? -1 : at * strides[axis];
        }
    }
    return finish(compute, job, &p);
}

/* Expand stretches 1 to n, Tile repeats. */
static int64_t repeated(const void *how, int axis, int64_t o, int64_t length)
{
    (void)how, (void)axis;
    return o % length;
}

qn_status qn_prepare_repeat(qn_compute *compute, const qn_compute_job *job)
{
    return qn_map_axes(compute, job, repeated, NULL, 0);
}

typedef struct part {
    int axis;
    int64_t first;
} part;

static int64_t of_part(const void *how, int axis, int64_t o, int64_t length)
{
    const part *p = how;
    (void)length;
    return axis == p->axis ? p->first + o : o;
}

qn_status qn_prepare_split(qn_compute *compute, const qn_compute_job *job)
{
    part which = {0};
    QN_TRY(qn_axis_of_node(&which.axis, job->binding, job->node, job->err));
    qn_compute_job before = *job;
    for (before.output = 0; before.output < job->output; before.output++) {
        which.first += qn_job_output(&before).dims[which.axis];
    }
    return qn_map_axes(compute, job, of_part, &which, 0);
}

static int64_t padded(const void *how, int axis, int64_t o, int64_t length)
{
    const qn_pad *pad = how;
    const int64_t i = o - pad->begin[axis];
    if (i >= 0 && i < length) {
        return i;
    }
    switch (pad->mode) {
    case QN_PAD_REFLECT:
        return i < 0 ? -i : 2 * (length - 1) - i;
    case QN_PAD_EDGE:
        return i < 0 ? 0 : length - 1;
    case QN_PAD_WRAP:
        return (i % length + length) % length;
    default:
        return -1;
    }
}

qn_status qn_prepare_pad(qn_compute *compute, const qn_compute_job *job)
{
    qn_pad pad;
    QN_TRY(qn_pad_of_node(&pad, job->binding, job->node, job->err));
    if (qn_job_input(job, 0).n_elems == 0 && pad.mode != QN_PAD_CONSTANT) {
        const qn_infer c = qn_job_infer(job);
        return qn_infer_fail(&c, QN_ESHAPE, NULL, "an empty tensor has nothing to pad with");
    }
    return qn_map_axes(compute, job, padded, &pad, pad.value);
}

/* The input seen as `rank` dimensions, of which axis perm[i] is the output's i-th. */
static qn_status map_turned(qn_compute *compute, const qn_compute_job *job, int rank, const int64_t *dims,
                            const int *perm)
{
    map_params p = {0};
    int64_t strides[QN_MAX_RANK];
    qn_grid_dense(rank, dims, strides);
    for (int i = 0; i < rank; i++) {
        int64_t *from = add_axis(&p, job, dims[perm[i]]);
        if (from == NULL) {
            return qn_fail_memory(job->err, NULL, (size_t)dims[perm[i]] * sizeof *from);
        }
        for (int64_t o = 0; o < dims[perm[i]]; o++) {
            from[o] = o * strides[perm[i]];
        }
    }
    return finish(compute, job, &p);
}

qn_status qn_prepare_depth(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const int64_t block = qn_node_int(job->node, "blocksize", 1), n = x.dims[0], c = x.dims[1], h = x.dims[2],
                  w = x.dims[3];
    if (job->node->op == QN_OP_SPACE_TO_DEPTH) {
        return map_turned(compute, job, 6, (int64_t[]){n, c, h / block, block, w / block, block},
                          (int[]){0, 3, 5, 1, 2, 4});
    }
    const int64_t deep = c / block / block;
    if (strcmp(qn_node_string(job->node, "mode", "DCR"), "CRD") == 0) {
        return map_turned(compute, job, 6, (int64_t[]){n, deep, block, block, h, w}, (int[]){0, 1, 4, 2, 5, 3});
    }
    return map_turned(compute, job, 6, (int64_t[]){n, block, block, deep, h, w}, (int[]){0, 3, 4, 1, 5, 2});
}
