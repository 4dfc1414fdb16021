/* Walking over shapes row by row. */
#include <string.h>

#include "engine/float/ops.h"

void qn_float_strides(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= dims[i];
    }
}

/* Does stepping through dimension `outer` continue where `inner` ends, in both operands? */
static bool continues(const qn_float_walk *walk, int outer, int inner)
{
    for (int k = 0; k < 2; k++) {
        if (walk->strides[k][outer] != walk->strides[k][inner] * walk->dims[inner]) {
            return false;
        }
    }
    return true;
}

static void move_dimension(qn_float_walk *walk, int to, int from)
{
    walk->dims[to] = walk->dims[from];
    for (int k = 0; k < 2; k++) {
        walk->strides[k][to] = walk->strides[k][from];
    }
}

void qn_float_walk_simplify(qn_float_walk *walk)
{
    int kept = 0;
    for (int i = 0; i < walk->rank; i++) {
        if (walk->dims[i] == 1) {
            continue;
        }
        move_dimension(walk, kept, i);
        if (kept > 0 && continues(walk, kept - 1, kept)) {
            int64_t merged = walk->dims[kept - 1] * walk->dims[kept];
            move_dimension(walk, kept - 1, kept);
            walk->dims[kept - 1] = merged;
        } else {
            kept++;
        }
    }
    if (kept == 0) {
        walk->dims[0] = 1;
        walk->strides[0][0] = walk->strides[1][0] = 1;
        kept = 1;
    }
    walk->rank = kept;
}

bool qn_float_walk_next(const qn_float_walk *walk, int64_t *index, int64_t offsets[2])
{
    for (int i = walk->rank - 2; i >= 0; i--) {
        offsets[0] += walk->strides[0][i];
        offsets[1] += walk->strides[1][i];
        if (++index[i] < walk->dims[i]) {
            return true;
        }
        offsets[0] -= walk->strides[0][i] * walk->dims[i];
        offsets[1] -= walk->strides[1][i] * walk->dims[i];
        index[i] = 0;
    }
    return false;
}
