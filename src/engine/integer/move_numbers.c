/* Moves as lists of where each element comes from, for whatever graph/compute moves: the node moves the numbers of elements. */
#include <string.h>

#include "base/memory.h"
#include "engine/integer/lower.h"
#include "graph/compute/compute.h"

/* What the node makes of x, all of int32. */
static qn_status move(const qn_lowering *l, const qn_node *node, int output, const int32_t *x, int32_t *y,
                      qn_error *err)
{
    qn_compute compute = {.parts = 1};
    const void *args[QN_COMPUTE_ARGS] = {NULL};
    const qn_compute_job job = {.binding = l->scratch,
                                .node = node,
                                .output = output,
                                .items = l->items,
                                .cpu = l->cpu,
                                .arena = l->arena,
                                .err = err};
    QN_TRY(qn_compute_prepare(&compute, &job));
    for (int i = 0; i < compute.n_args; i++) {
        const int from = compute.args[i];
        const qn_value_id id = from >= 0 && from < node->n_inputs ? node->inputs[from] : QN_NO_VALUE;
        args[i] = from == 0 ? x : id != QN_NO_VALUE ? l->binding->values[id].known->data : NULL;
    }
    compute.run(compute.params, y, args);
    return QN_OK;
}

static void set_type(const qn_lowering *l, const qn_node *node, int output, qn_dtype dtype)
{
    l->scratch->values[node->inputs[0]].dtype = dtype;
    l->scratch->values[node->outputs[output]].dtype = dtype;
}

static int64_t elements(qn_lowering *l, qn_value_id value)
{
    int64_t dims[QN_MAX_RANK], n = 1;
    int rank;
    if (!qn_lower_dims(l, value, dims, &rank)) {
        return -1;
    }
    for (int i = 0; i < rank; i++) {
        n *= dims[i];
    }
    return n;
}

/* An element that is none of the input's does not change with their numbers. */
const int32_t *qn_lower_numbered_index(qn_lowering *l, const qn_node *node, int output, qn_status *status,
                                       qn_error *err)
{
    const int64_t n_x = elements(l, node->inputs[0]), n = elements(l, node->outputs[output]);
    *status = QN_OK;
    if (n_x < 0 || n < 0 || n_x >= INT32_MAX || n > INT32_MAX) {
        l->reason = l->reason != NULL ? l->reason : "a value of 2^31 elements";
        return NULL;
    }
    int32_t *index = qn_arena_array(l->arena, (size_t)n + 1, sizeof *index);
    int32_t *x = qn_alloc(((size_t)n_x + 1) * sizeof *x), *other = qn_alloc(((size_t)n + 1) * sizeof *other);
    if (index == NULL || x == NULL || other == NULL || qn_lower_scratch(l) == NULL) {
        *status = qn_fail_memory(err, l->graph->file, (size_t)(n + n_x) * sizeof *x);
    }
    for (int32_t i = 0; *status == QN_OK && i < (int32_t)n_x; i++) {
        x[i] = i + 1;
    }
    if (*status == QN_OK) {
        set_type(l, node, output, QN_DTYPE_S32);
        *status = move(l, node, output, x, other, err);
        for (int32_t i = 0; i < (int32_t)n_x; i++) {
            x[i] = i;
        }
        *status = *status == QN_OK ? move(l, node, output, x, index, err) : *status;
        set_type(l, node, output, QN_DTYPE_F32);
    }
    for (int64_t i = 0; *status == QN_OK && i < n; i++) {
        index[i] = index[i] == other[i] ? -1 : index[i];
    }
    qn_free(x);
    qn_free(other);
    return *status == QN_OK ? index : NULL;
}
