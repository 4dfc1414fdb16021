#include "format/walk.h"

#include <stdbool.h>

#include "base/error.h"

/* The tensor as outer x length x inner, `length` being the axis (everything, when there is none). */
typedef struct layout {
    int64_t outer, length, inner;
} layout;

static layout layout_of(int axis, int rank, const int64_t *dims)
{
    layout l = {1, 1, 1};
    for (int d = 0; d < rank; d++) {
        if (axis < 0 || d == axis) {
            l.length *= dims[d];
        } else if (d < axis) {
            l.outer *= dims[d];
        } else {
            l.inner *= dims[d];
        }
    }
    return l;
}

static int64_t groups_in(int64_t length, int64_t group)
{
    return length / group + (length % group != 0 ? 1 : 0);
}

qn_status qn_quantizer_sets(int64_t *n, int axis, int64_t group, int rank, const int64_t *dims, qn_error *err)
{
    int64_t count;
    QN_TRY(qn_shape_count(dims, rank, &count, err));
    if (axis < -1 || axis >= rank) {
        return qn_fail(err, QN_EINVAL, NULL, "quantization axis %d is outside a tensor of rank %d", axis, rank);
    }
    if (group < 0) {
        return qn_fail(err, QN_EINVAL, NULL, "a group of %lld elements; it must be 1 or more (0: no groups)",
                       (long long)group);
    }
    layout l = layout_of(axis, rank, dims);
    if (group > 0) {
        *n = l.outer * groups_in(l.length, group) * l.inner;
    } else {
        *n = axis < 0 ? 1 : l.length;
    }
    return QN_OK;
}

static void walk_groups(layout l, int64_t group, void (*fn)(void *ctx, const qn_span *span), void *ctx)
{
    int64_t set = 0;
    for (int64_t o = 0; o < l.outer; o++) {
        for (int64_t at = 0; at < l.length; at += group) {
            int64_t n = l.length - at < group ? l.length - at : group;
            for (int64_t i = 0; i < l.inner; i++) {
                fn(ctx, &(qn_span){(o * l.length + at) * l.inner + i, n, l.inner, set++});
            }
        }
    }
}

void qn_walk(int axis, int64_t group, int rank, const int64_t *dims, void (*fn)(void *ctx, const qn_span *span),
             void *ctx)
{
    layout l = layout_of(axis, rank, dims);
    if (group > 0) {
        walk_groups(l, group, fn, ctx);
    } else if (axis < 0) {
        fn(ctx, &(qn_span){0, l.length, 1, 0});
    } else {
        for (int64_t run = 0; run < l.outer * l.length; run++) {
            fn(ctx, &(qn_span){run * l.inner, l.inner, 1, run % l.length});
        }
    }
}
