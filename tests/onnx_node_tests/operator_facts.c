/* What quern's tables say of each operator, for operators.py: a line each of
 * type, first and last opset, "float" or "", "codes" or "", "island", "folded" or "", attributes with blanks between; tabs
 * between the seven. Only operators of the default domain.
 * The last line is "opsets", the first and the last that are read. */
#include <stdio.h>

#include "engine/integer/integer.h"
#include "engine/program.h"
#include "graph/graph.h"
#include "onnx/onnx.h"

static const struct {
    qn_op op;
    const char *name;
} attributes[] = {
#define QN_ATTRIBUTE_ROW(op, name, type) {op, name},
#include "graph/op_attributes.inc"
#undef QN_ATTRIBUTE_ROW
};

static void print_operator(qn_op op)
{
    const qn_graph graph = {0};
    const qn_node node = {.op = op, .op_type = qn_op_type(op)};
    const char *reason;
    const char *island = qn_island_only_folds(op) ? "folded" : qn_island_supports(op) ? "island" : "";
    const qn_op_versions versions = qn_op_versions_of(op);
    const int64_t last = versions.last < QN_OPSET_MAX ? versions.last : QN_OPSET_MAX;
    printf("%s\t%lld\t%lld\t%s\t%s\t%s\t", qn_op_type(op), (long long)versions.first, (long long)last,
           qn_engine_float_ops.supports(&graph, &node, &reason) ? "float" : "",
           qn_integer_supports_codes(op) ? "codes" : "", island);
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        if (attributes[i].op == op) {
            printf("%s ", attributes[i].name);
        }
    }
    printf("\n");
}

int main(void)
{
    for (int op = QN_OP_REMOVED + 1; op < QN_OP_COUNT; op++) {
        if (qn_op_domain((qn_op)op) == QN_DOMAIN_ONNX) {
            print_operator((qn_op)op);
        }
    }
    printf("opsets\t%d\t%d\n", QN_OPSET_MIN, QN_OPSET_MAX);
    return 0;
}
