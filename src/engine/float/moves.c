/* Operators that move elements without computing: views, strided copies, Concat, Gather, Pad. They work on plain
 * tensors of any type. */
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    int64_t offset;     /* of the first element */
    qn_float_walk walk; /* strides[0]: of the source */
    size_t elem_size;
} copy_params;

#define COPY_ROW(type)                                                                                                 \
    do {                                                                                                               \
        const type *source = from;                                                                                     \
        type *target = to;                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            target[i] = source[i * stride];                                                                            \
        }                                                                                                              \
    } while (0)

static void copy_row(void *to, const void *from, int64_t n, int64_t stride, size_t elem_size)
{
    if (stride == 1) {
        memcpy(to, from, (size_t)n * elem_size);
        return;
    }
    switch (elem_size) {
    case 1:
        COPY_ROW(uint8_t);
        break;
    case 2:
        COPY_ROW(uint16_t);
        break;
    case 4:
        COPY_ROW(uint32_t);
        break;
    default:
        COPY_ROW(uint64_t);
        break;
    }
}
#undef COPY_ROW

static void run_copy(const void *params, void *const *args)
{
    const copy_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {p->offset, 0};
    int64_t n = p->walk.dims[p->walk.rank - 1], stride = p->walk.strides[0][p->walk.rank - 1];
    char *to = args[0];
    const char *from = args[1];
    do {
        copy_row(to, from + offsets[0] * (int64_t)p->elem_size, n, stride, p->elem_size);
        to += n * (int64_t)p->elem_size;
    } while (qn_float_walk_next(&p->walk, index, offsets));
}

qn_status qn_float_add_copy(qn_float_builder *b, qn_float_id x, int64_t offset, const int64_t *strides, int rank,
                            const int64_t *dims, qn_float_id *y, qn_error *err)
{
    qn_dtype dtype = qn_float_at(b, x)->dtype;
    copy_params params = {.offset = offset, .walk = {.rank = rank}, .elem_size = qn_dtype_size(dtype)};
    memcpy(params.walk.dims, dims, (size_t)rank * sizeof *dims);
    memcpy(params.walk.strides[0], strides, (size_t)rank * sizeof *strides);
    memcpy(params.walk.strides[1], strides, (size_t)rank * sizeof *strides);
    qn_float_walk_simplify(&params.walk);
    QN_TRY(qn_float_new(b, dtype, rank, dims, y, err));
    if (qn_float_at(b, *y)->n_elems == 0) {
        return QN_OK;
    }
    return qn_float_add_kernel(b, run_copy, &params, sizeof params, *y, 1, &x, err);
}

/* Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout: the same elements under another shape. Codes are made in
 * place, so a result that has a quantizer gets memory of its own. */
qn_status qn_float_lower_view(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    qn_float_id x, y;
    QN_TRY(qn_float_read_any(b, node->inputs[0], &x, err));
    if (qn_float_applied(b, node->outputs[0]) != NULL) {
        int64_t strides[QN_MAX_RANK];
        qn_float_strides(output->rank, output->dims, strides);
        QN_TRY(qn_float_add_copy(b, x, 0, strides, output->rank, output->dims, &y, err));
    } else {
        QN_TRY(qn_float_view(b, x, output->rank, output->dims, &y, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}

qn_status qn_float_lower_transpose(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y;
    QN_TRY(qn_float_read_any(b, node->inputs[0], &x, err));
    int perm[QN_MAX_RANK];
    QN_TRY(qn_transpose_of_node(perm, b->binding, node, err));
    const qn_float_tensor *source = qn_float_at(b, x);
    int64_t own[QN_MAX_RANK], strides[QN_MAX_RANK];
    qn_float_strides(source->rank, source->dims, own);
    for (int i = 0; i < source->rank; i++) {
        strides[i] = own[perm[i]];
    }
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    QN_TRY(qn_float_add_copy(b, x, 0, strides, output->rank, output->dims, &y, err));
    return qn_float_define(b, node->outputs[0], y, err);
}

qn_status qn_float_lower_slice(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y;
    QN_TRY(qn_float_read_any(b, node->inputs[0], &x, err));
    qn_slice slice;
    QN_TRY(qn_slice_of_node(&slice, b->binding, node, err));
    const qn_float_tensor *source = qn_float_at(b, x);
    int64_t own[QN_MAX_RANK], strides[QN_MAX_RANK], offset = 0;
    qn_float_strides(source->rank, source->dims, own);
    for (int i = 0; i < source->rank; i++) {
        strides[i] = slice.out[i] > 1 ? own[i] * slice.step[i] : 0; /* a step past the end may be any number */
        offset += slice.out[i] > 0 ? own[i] * slice.start[i] : 0;
    }
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    QN_TRY(qn_float_add_copy(b, x, offset, strides, output->rank, output->dims, &y, err));
    return qn_float_define(b, node->outputs[0], y, err);
}

/* Parts follow each other `outer` times; part i brings sizes[i] bytes each time. */
typedef struct {
    int64_t outer;
    int n_parts;
    const int64_t *sizes;
} concat_params;

static void run_concat(const void *params, void *const *args)
{
    const concat_params *p = params;
    char *to = args[0];
    for (int64_t o = 0; o < p->outer; o++) {
        for (int i = 0; i < p->n_parts; i++) {
            memcpy(to, (const char *)args[1 + i] + o * p->sizes[i], (size_t)p->sizes[i]);
            to += p->sizes[i];
        }
    }
}

/* Blocked tensors join along their channels without leaving their layout when every part fills its blocks. */
static bool joins_blocks(const qn_float_builder *b, const qn_float_id *parts, int n, int axis)
{
    const qn_float_tensor *first = qn_float_at(b, parts[0]);
    for (int i = 0; i < n; i++) {
        const qn_float_tensor *part = qn_float_at(b, parts[i]);
        if (part->layout != QN_FLOAT_BLOCKED || part->block != first->block || qn_float_padded(part)) {
            return false;
        }
    }
    return axis == 1;
}

static qn_status new_blocked(qn_float_builder *b, const qn_bound_value *output, int64_t block, qn_float_id *y,
                             qn_error *err)
{
    static const dnnl_format_tag_t tags[2][3] = {{dnnl_nCw8c, dnnl_nChw8c, dnnl_nCdhw8c},
                                                 {dnnl_nCw16c, dnnl_nChw16c, dnnl_nCdhw16c}};
    dnnl_dims_t dims = {0};
    memcpy(dims, output->dims, sizeof output->dims);
    dnnl_memory_desc_t md;
    dnnl_status_t status =
        output->rank < 3 || output->rank > 5
            ? dnnl_invalid_arguments
            : dnnl_memory_desc_init_by_tag(&md, output->rank, dims, dnnl_f32, tags[block == 16][output->rank - 3]);
    return status == dnnl_success ? qn_float_new_md(b, &md, y, err) : qn_float_fail_dnnl(b, err, status, "layout");
}

qn_status qn_float_lower_concat(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    const qn_bound_value *output = qn_float_bound(b, node->outputs[0]);
    int axis, n = node->n_inputs;
    QN_TRY(qn_axis_of_node(&axis, b->binding, node, err));
    qn_float_id y, *parts = qn_float_memory(b, (size_t)n, sizeof *parts, err);
    int64_t *sizes = qn_float_memory(b, (size_t)n, sizeof *sizes, err);
    if (parts == NULL || sizes == NULL) {
        return QN_ENOMEM;
    }
    bool floats = output->dtype == QN_DTYPE_F32;
    for (int i = 0; i < n; i++) {
        QN_TRY((floats ? qn_float_read : qn_float_read_any)(b, node->inputs[i], &parts[i], err));
    }
    bool blocked = floats && joins_blocks(b, parts, n, axis);
    if (blocked) {
        QN_TRY(new_blocked(b, output, qn_float_at(b, parts[0])->block, &y, err));
    } else {
        QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    }
    concat_params params = {.outer = 1, .n_parts = n, .sizes = sizes};
    for (int i = 0; i < axis; i++) {
        params.outer *= output->dims[i];
    }
    for (int i = 0; i < n; i++) {
        QN_TRY(blocked ? QN_OK : qn_float_to_plain(b, parts[i], &parts[i], err));
        if (params.outer > 0) {
            sizes[i] = qn_float_at(b, parts[i])->n_elems / params.outer * (int64_t)qn_dtype_size(output->dtype);
        }
    }
    if (output->n_elems > 0) {
        QN_TRY(qn_float_add_kernel(b, run_concat, &params, sizeof params, y, n, parts, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}

typedef struct {
    int64_t outer, length; /* length of the axis gathered from */
    size_t inner_bytes;
    int64_t n_indices;
    const int64_t *indices; /* 0 <= index < length */
} gather_params;

static void run_gather(const void *params, void *const *args)
{
    const gather_params *p = params;
    char *to = args[0];
    const char *from = args[1];
    for (int64_t o = 0; o < p->outer; o++) {
        for (int64_t i = 0; i < p->n_indices; i++) {
            memcpy(to, from + (o * p->length + p->indices[i]) * (int64_t)p->inner_bytes, p->inner_bytes);
            to += p->inner_bytes;
        }
    }
}

/* Binding has checked that the indices are constant and inside the axis; negative ones count from its end. */
static qn_status read_indices(qn_float_builder *b, const qn_tensor *known, int64_t length, gather_params *params,
                              qn_error *err)
{
    params->n_indices = qn_tensor_count(known);
    int64_t *indices = qn_float_memory(b, (size_t)params->n_indices, sizeof *indices, err);
    if (indices == NULL) {
        return QN_ENOMEM;
    }
    for (int64_t i = 0; i < params->n_indices; i++) {
        int64_t index =
            known->dtype == QN_DTYPE_S64 ? ((const int64_t *)known->data)[i] : ((const int32_t *)known->data)[i];
        indices[i] = index < 0 ? index + length : index;
    }
    params->indices = indices;
    return QN_OK;
}

qn_status qn_float_lower_gather(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    int axis;
    QN_TRY(qn_axis_of_node(&axis, b->binding, node, err));
    qn_float_id x, y;
    QN_TRY(qn_float_read_any(b, node->inputs[0], &x, err));
    const qn_float_tensor *source = qn_float_at(b, x);
    gather_params params = {.outer = 1, .length = source->dims[axis], .inner_bytes = qn_dtype_size(source->dtype)};
    for (int i = 0; i < source->rank; i++) {
        params.outer *= i < axis ? source->dims[i] : 1;
        params.inner_bytes *= i > axis ? (size_t)source->dims[i] : 1;
    }
    QN_TRY(read_indices(b, qn_float_bound(b, node->inputs[1])->known, params.length, &params, err));
    QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    if (qn_float_at(b, y)->n_elems > 0) {
        QN_TRY(qn_float_add_kernel(b, run_gather, &params, sizeof params, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}
