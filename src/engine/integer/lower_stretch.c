/* Operands that steps cannot broadcast, copied to the size of the result. */
#include "engine/integer/lower.h"

bool qn_lower_stretches(qn_lowering *l, const qn_node *node, int index, const qn_item_shape *shape)
{
    const qn_value_id value = node->inputs[index];
    const char *reason = l->reason;
    qn_item_shape own;
    if (node->op == QN_OP_ADD || l->binding->values[value].known != NULL) {
        return false;
    }
    const bool fits = l->binding->values[value].rank == l->binding->values[node->outputs[0]].rank &&
                      qn_lower_shape(l, value, &own) && own.channels == shape->channels &&
                      (own.width == shape->width || own.width == 1) && (own.height == shape->height || own.height == 1);
    l->reason = reason;
    return !fits;
}

/* Element of a value of these dimensions that meets element i of the output. */
static int64_t element_of(const int64_t *out, int rank, const int64_t *dims, int own_rank, int64_t i)
{
    int64_t at = 0, stride = 1;
    for (int axis = rank - 1, own = own_rank - 1; own >= 0; axis--, own--) {
        const int64_t position = i % out[axis];
        i /= out[axis];
        at += dims[own] == 1 ? 0 : position * stride;
        stride *= dims[own];
    }
    return at;
}

int qn_lower_stretched(qn_lowering *l, const qn_node *node, int index, const qn_item_shape *shape, bool plain,
                       qn_status *status, qn_error *err)
{
    const qn_value_id value = node->inputs[index];
    int64_t out[QN_MAX_RANK], dims[QN_MAX_RANK];
    int rank, own_rank;
    const int codes = qn_lower_codes(l, value, !plain, status, err);
    if (codes < 0 || !qn_lower_dims(l, node->outputs[0], out, &rank) || !qn_lower_dims(l, value, dims, &own_rank)) {
        return -1;
    }
    const int64_t n = (int64_t)shape->height * shape->width * shape->channels;
    int32_t *source = qn_arena_array(l->arena, (size_t)n, sizeof *source);
    if (source == NULL) {
        *status = qn_fail_memory(err, l->graph->file, (size_t)n * sizeof *source);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        source[i] = (int32_t)element_of(out, rank, dims, own_rank, i);
    }
    const int copied = qn_lower_gather(l, node, value, shape, plain, codes, source, status, err);
    if (copied >= 0) {
        qn_lower_map(l, l->code->tensor_of, value, codes); /* stays what the others read */
    }
    return copied;
}
