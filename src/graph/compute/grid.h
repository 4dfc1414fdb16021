/* Walking over an output and operands that are broadcast to it, row by row. */
#ifndef QN_GRAPH_COMPUTE_GRID_H
#define QN_GRAPH_COMPUTE_GRID_H

#include "graph/bind.h"

/* Operand k's element for output index i[] is at sum i[d] * strides[k][d], in elements. */
enum { QN_GRID_OPERANDS = 5 };
typedef struct qn_grid {
    int rank, n;
    int64_t dims[QN_MAX_RANK];
    int64_t strides[QN_GRID_OPERANDS][QN_MAX_RANK];
} qn_grid;

/* Strides of a dense operand. */
void qn_grid_dense(int rank, const int64_t *dims, int64_t *strides);
/* Append operand `x`, broadcast to the grid's dims. */
void qn_grid_add(qn_grid *grid, const qn_bound_value *x);
/* Drop dimensions of 1, merge those that all operands step through evenly; rank is at least 1 afterwards. */
void qn_grid_simplify(qn_grid *grid);
/* The next row: advance `index` (rank entries, from zeros) and offsets; false after the last. */
bool qn_grid_next(const qn_grid *grid, int64_t *index, int64_t offsets[QN_GRID_OPERANDS]);

#endif
