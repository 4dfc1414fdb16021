#include "graph/ops.h"

#include <string.h>

static const struct {
    const char *type;
    qn_op op;
} rows[] = {
#define QN_OP_ROW(op, type, min_inputs, max_inputs, max_outputs, infer) {type, op},
#include "graph/op_table.inc"
#undef QN_OP_ROW
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

const char *qn_op_type(qn_op op)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op) {
            return rows[i].type;
        }
    }
    return "?";
}

qn_op qn_op_find(const char *type)
{
    size_t first = 0, end = N_ROWS;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = strcmp(type, rows[middle].type);
        if (order == 0) {
            return rows[middle].op;
        }
        if (order < 0) {
            end = middle;
        } else {
            first = middle + 1;
        }
    }
    return QN_OP_UNKNOWN;
}

bool qn_op_is_parameter(qn_op op, int i)
{
    switch (op) {
    case QN_OP_CLIP:
    case QN_OP_CUM_SUM:
    case QN_OP_DROPOUT:
    case QN_OP_EXPAND:
    case QN_OP_PAD:
    case QN_OP_RESIZE:
    case QN_OP_SPLIT:
    case QN_OP_TILE:
    case QN_OP_TOP_K:
    case QN_OP_UPSAMPLE:
        return i > 0;
    case QN_OP_ONE_HOT:
        return i == 1;
    case QN_OP_RANGE:
        return true;
    default:
        return false;
    }
}
