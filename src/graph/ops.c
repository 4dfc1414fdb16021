#include "graph/ops.h"

#include <string.h>

static const struct {
    const char *type;
    qn_op op;
    qn_domain domain;
} rows[] = {
#define QN_OP_ROW(op, domain, type, min_inputs, max_inputs, max_outputs, infer) {type, op, QN_DOMAIN_##domain},
#include "graph/op_table.inc"
#undef QN_OP_ROW
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const struct {
    const char *name;
    qn_domain domain;
} domains[] = {
    /* of each domain the name to write first */
    {"", QN_DOMAIN_ONNX},
    {"ai.onnx", QN_DOMAIN_ONNX},
    {"qonnx.custom_op.general", QN_DOMAIN_QONNX},
    {"onnx.brevitas", QN_DOMAIN_QONNX},
    {"finn.custom_op.general", QN_DOMAIN_QONNX},
    {"com.microsoft", QN_DOMAIN_MICROSOFT},
};
enum { N_DOMAINS = sizeof domains / sizeof domains[0] };

qn_domain qn_domain_find(const char *name)
{
    for (size_t i = 0; i < N_DOMAINS; i++) {
        if (strcmp(domains[i].name, name) == 0) {
            return domains[i].domain;
        }
    }
    return QN_DOMAIN_OTHER;
}

const char *qn_domain_name(qn_domain domain)
{
    for (size_t i = 0; i < N_DOMAINS; i++) {
        if (domains[i].domain == domain) {
            return domains[i].name;
        }
    }
    return "?";
}

const char *qn_op_type(qn_op op)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op) {
            return rows[i].type;
        }
    }
    return "?";
}

qn_domain qn_op_domain(qn_op op)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op) {
            return rows[i].domain;
        }
    }
    return QN_DOMAIN_OTHER;
}

qn_op qn_op_find(qn_domain domain, const char *type)
{
    if (domain == QN_DOMAIN_QONNX && strcmp(type, "IntQuant") == 0) {
        return QN_OP_QUANT; /* another name of the same class */
    }
    size_t first = 0, end = N_ROWS;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = strcmp(type, rows[middle].type);
        if (order == 0) {
            return rows[middle].domain == domain ? rows[middle].op : QN_OP_UNKNOWN;
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
    case QN_OP_BIPOLAR_QUANT:
    case QN_OP_CLIP:
    case QN_OP_CUM_SUM:
    case QN_OP_DROPOUT:
    case QN_OP_EXPAND:
    case QN_OP_FLOAT_QUANT:
    case QN_OP_PAD:
    case QN_OP_QUANT:
    case QN_OP_RESIZE:
    case QN_OP_SPLIT:
    case QN_OP_TILE:
    case QN_OP_TRILU:
    case QN_OP_TOP_K:
    case QN_OP_TRUNC:
    case QN_OP_UPSAMPLE:
        return i > 0;
    case QN_OP_COMPRESS:
    case QN_OP_ONE_HOT:
        return i == 1;
    case QN_OP_NON_MAX_SUPPRESSION:
    case QN_OP_NON_ZERO:
    case QN_OP_RANGE:
    case QN_OP_UNIQUE:
        return true;
    default:
        return false;
    }
}

qn_op_versions qn_op_versions_of(qn_op op)
{
    static const struct {
        qn_op op;
        int64_t first, last, from;
    } versions[] = {
#define QN_VERSION_ROW(op, first, last, from) {op, first, last, from},
#include "graph/op_versions.inc"
#undef QN_VERSION_ROW
    };
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (versions[i].op == op) {
            return (qn_op_versions){versions[i].first, versions[i].last, versions[i].from};
        }
    }
    return (qn_op_versions){7, INT64_MAX, 0};
}

bool qn_op_in_opset(qn_op op, int64_t opset)
{
    const qn_op_versions versions = qn_op_versions_of(op);
    return qn_op_domain(op) != QN_DOMAIN_ONNX || (opset >= versions.from && opset <= versions.last);
}
