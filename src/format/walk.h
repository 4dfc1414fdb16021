/* A tensor as runs of elements that share parameters. */
#ifndef QN_FORMAT_WALK_H
#define QN_FORMAT_WALK_H

#include <stdint.h>

#include "quern/codes.h"

/* Elements first, first + stride, ... (n of them), of parameter set `set`. */
typedef struct qn_span {
    int64_t first, n, stride, set;
} qn_span;

/* Call fn for every run of a tensor of shape dims, which qn_quantizer_sets accepts. A set may have several runs. */
void qn_walk(int axis, int64_t group, int rank, const int64_t *dims, void (*fn)(void *ctx, const qn_span *span),
             void *ctx);

#endif
