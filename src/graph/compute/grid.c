#include "graph/compute/grid.h"

void qn_grid_dense(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= dims[i];
    }
}

void qn_grid_add(qn_grid *grid, const qn_bound_value *x)
{
    int64_t own[QN_MAX_RANK];
    qn_grid_dense(x->rank, x->dims, own);
    for (int i = 0; i < grid->rank; i++) {
        const int from = x->rank - grid->rank + i;
        grid->strides[grid->n][i] = from < 0 || x->dims[from] == 1 ? 0 : own[from];
    }
    grid->n++;
}

static bool continues(const qn_grid *grid, int outer, int inner)
{
    bool even = true;
    for (int k = 0; k < grid->n; k++) {
        even &= grid->strides[k][outer] == grid->strides[k][inner] * grid->dims[inner];
    }
    return even;
}

static void move_dimension(qn_grid *grid, int to, int from)
{
    grid->dims[to] = grid->dims[from];
    for (int k = 0; k < grid->n; k++) {
        grid->strides[k][to] = grid->strides[k][from];
    }
}

void qn_grid_simplify(qn_grid *grid)
{
    int kept = 0;
    for (int i = 0; i < grid->rank; i++) {
        if (grid->dims[i] == 1) {
            continue;
        }
        move_dimension(grid, kept, i);
        if (kept > 0 && continues(grid, kept - 1, kept)) {
            const int64_t merged = grid->dims[kept - 1] * grid->dims[kept];
            move_dimension(grid, kept - 1, kept);
            grid->dims[kept - 1] = merged;
        } else {
            kept++;
        }
    }
    if (kept == 0) {
        grid->dims[0] = 1;
        for (int k = 0; k < grid->n; k++) {
            grid->strides[k][0] = 1;
        }
        kept = 1;
    }
    grid->rank = kept;
}

bool qn_grid_next(const qn_grid *grid, int64_t *index, int64_t offsets[QN_GRID_OPERANDS])
{
    for (int i = grid->rank - 2; i >= 0; i--) {
        for (int k = 0; k < grid->n; k++) {
            offsets[k] += grid->strides[k][i];
        }
        if (++index[i] < grid->dims[i]) {
            return true;
        }
        for (int k = 0; k < grid->n; k++) {
            offsets[k] -= grid->strides[k][i] * grid->dims[i];
        }
        index[i] = 0;
    }
    return false;
}
