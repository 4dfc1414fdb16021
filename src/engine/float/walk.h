/* Loops over a shape: positions with the innermost dimension left out. */
#ifndef QN_ENGINE_FLOAT_WALK_H
#define QN_ENGINE_FLOAT_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/tensor.h"

typedef struct qn_float_walk {
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t strides[2][QN_MAX_RANK]; /* of up to two operands */
} qn_float_walk;
/* Drop dimensions of 1 and merge those that both operands step through evenly; rank is at least 1 afterwards. */
void qn_float_walk_simplify(qn_float_walk *walk);
/* The next row: advance `index` (rank - 1 entries, from zeros) and the operands' offsets; false after the last. */
bool qn_float_walk_next(const qn_float_walk *walk, int64_t *index, int64_t offsets[2]);
void qn_float_strides(int rank, const int64_t *dims, int64_t *strides); /* C order */

#endif
