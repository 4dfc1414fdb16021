/* The memory layouts the float engine tells apart, read off oneDNN's descriptors. */
#include <string.h>

#include "engine/float/float_program.h"

static dnnl_memory_desc_t describe(int rank, const int64_t *dims, bool any)
{
    dnnl_dims_t sizes = {1}, strides;
    memcpy(sizes, dims, (size_t)rank * sizeof *dims);
    int ndims = rank > 0 ? rank : 1;
    int64_t stride = 1;
    for (int i = ndims - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= sizes[i] > 0 ? sizes[i] : 1;
    }
    dnnl_memory_desc_t md;
    memset(&md, 0, sizeof md);
    if (any) {
        (void)dnnl_memory_desc_init_by_tag(&md, ndims, sizes, dnnl_f32, dnnl_format_tag_any);
    } else {
        (void)dnnl_memory_desc_init_by_strides(&md, ndims, sizes, dnnl_f32, strides);
    }
    return md;
}

dnnl_memory_desc_t qn_float_md_plain(int rank, const int64_t *dims)
{
    return describe(rank, dims, false);
}

dnnl_memory_desc_t qn_float_md_any(int rank, const int64_t *dims)
{
    return describe(rank, dims, true);
}

/* Do the axes first..ndims-1 lie in C order with `unit` elements per step? *span is what they cover. Strides of
 * dimensions of size 1 mean nothing. */
static bool dense_from(const dnnl_memory_desc_t *md, int first, int64_t unit, int64_t *span)
{
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    for (int i = md->ndims - 1; i >= first; i--) {
        if (md->padded_dims[i] != md->dims[i] || (md->dims[i] > 1 && blocking->strides[i] != unit)) {
            return false;
        }
        unit *= md->dims[i];
    }
    *span = unit;
    return true;
}

static bool dense_items(const dnnl_memory_desc_t *md, int64_t item)
{
    return md->dims[0] <= 1 || md->format_desc.blocking.strides[0] == item;
}

static qn_float_layout classify_strided(const dnnl_memory_desc_t *md)
{
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    int64_t span;
    if (dense_from(md, 0, 1, &span)) {
        return QN_FLOAT_PLAIN;
    }
    if (md->ndims >= 3 && md->padded_dims[1] == md->dims[1] && (md->dims[1] <= 1 || blocking->strides[1] == 1) &&
        dense_from(md, 2, md->dims[1], &span) && dense_items(md, span)) {
        return QN_FLOAT_LAST;
    }
    return QN_FLOAT_OTHER;
}

qn_float_layout qn_float_classify(const dnnl_memory_desc_t *md, int64_t *block)
{
    *block = 1;
    if (md->format_kind != dnnl_blocked || md->offset0 != 0) {
        return QN_FLOAT_OTHER;
    }
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    if (blocking->inner_nblks == 0) {
        return classify_strided(md);
    }
    int64_t width = blocking->inner_blks[0], span;
    if (blocking->inner_nblks != 1 || blocking->inner_idxs[0] != 1 || (width != 8 && width != 16) ||
        !dense_from(md, 2, width, &span)) {
        return QN_FLOAT_OTHER;
    }
    int64_t n_blocks = md->padded_dims[1] / width;
    if ((n_blocks > 1 && blocking->strides[1] != span) || !dense_items(md, n_blocks * span)) {
        return QN_FLOAT_OTHER;
    }
    if (span == width && md->padded_dims[1] == md->dims[1]) {
        return QN_FLOAT_PLAIN; /* nothing behind the channels: blocks just follow each other */
    }
    *block = width;
    return QN_FLOAT_BLOCKED;
}

bool qn_float_padded(const qn_float_tensor *tensor)
{
    return tensor->n_stored != tensor->n_elems;
}
