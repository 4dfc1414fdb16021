/* Pad: every output coordinate is one of the input, or lies outside and is filled. */
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    int rank;
    int64_t out[QN_MAX_RANK];
    const int64_t *from[QN_MAX_RANK]; /* per axis: offset in the source of each output coordinate, -1 outside */
    float value;
} pad_params;

static void pad_row(const pad_params *p, float *y, const float *x, int64_t offset)
{
    const int64_t *from = p->from[p->rank - 1];
    for (int64_t i = 0; i < p->out[p->rank - 1]; i++) {
        y[i] = offset < 0 || from[i] < 0 ? p->value : x[offset + from[i]];
    }
}

/* Offset of the row at `index`, -1 when any of its coordinates lies outside. */
static int64_t row_offset(const pad_params *p, const int64_t *index)
{
    int64_t offset = 0;
    for (int i = 0; i < p->rank - 1; i++) {
        int64_t part = p->from[i][index[i]];
        if (part < 0) {
            return -1;
        }
        offset += part;
    }
    return offset;
}

static bool next_index(const pad_params *p, int64_t *index)
{
    for (int i = p->rank - 2; i >= 0; i--) {
        if (++index[i] < p->out[i]) {
            return true;
        }
        index[i] = 0;
    }
    return false;
}

static void run_pad(const void *params, void *const *args)
{
    const pad_params *p = params;
    int64_t index[QN_MAX_RANK] = {0};
    float *y = args[0];
    do {
        pad_row(p, y, args[1], row_offset(p, index));
        y += p->out[p->rank - 1];
    } while (next_index(p, index));
}

/* The input coordinate of output coordinate `o`, -1 outside. */
static int64_t source_of(int64_t o, int64_t begin, int64_t length, qn_pad_mode mode)
{
    int64_t i = o - begin;
    if (i >= 0 && i < length) {
        return i;
    }
    switch (mode) {
    case QN_PAD_REFLECT:
        return i < 0 ? -i : 2 * (length - 1) - i;
    case QN_PAD_EDGE:
        return i < 0 ? 0 : length - 1;
    default:
        return -1;
    }
}

qn_status qn_float_lower_pad(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_pad pad;
    QN_TRY(qn_pad_of_node(&pad, b->binding, node, err));
    qn_float_id x, y;
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &x, err));
    QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    const qn_float_tensor source = *qn_float_at(b, x), target = *qn_float_at(b, y);
    if (target.n_elems == 0) {
        return qn_float_define(b, node->outputs[0], y, err);
    }
    if (source.n_elems == 0 && pad.mode != QN_PAD_CONSTANT) {
        return qn_float_fail(b, err, QN_ESHAPE, "an empty tensor has nothing to pad with");
    }
    pad_params params = {.rank = target.rank > 0 ? target.rank : 1, .out = {1}, .value = (float)pad.value};
    static const int64_t scalar_from[1] = {0};
    params.from[0] = scalar_from;
    int64_t strides[QN_MAX_RANK];
    qn_float_strides(source.rank, source.dims, strides);
    for (int i = 0; i < target.rank; i++) {
        int64_t *from = qn_float_memory(b, (size_t)target.dims[i], sizeof *from, err);
        if (from == NULL) {
            return QN_ENOMEM;
        }
        for (int64_t o = 0; o < target.dims[i]; o++) {
            int64_t coordinate = source_of(o, pad.begin[i], source.dims[i], pad.mode);
            from[o] = coordinate < 0 ? -1 : coordinate * strides[i];
        }
        params.from[i] = from;
        params.out[i] = target.dims[i];
    }
    QN_TRY(qn_float_add_kernel(b, run_pad, &params, sizeof params, y, 1, &x, err));
    return qn_float_define(b, node->outputs[0], y, err);
}
