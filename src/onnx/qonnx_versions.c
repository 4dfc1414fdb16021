/* Versions of QONNX' domains. Its classes have one version each, but for Trunc, whose second has another meaning and six inputs
 * instead of five. Inside of a graph the inputs tell, so they must be those of the version that the file imports. */
#include <inttypes.h>
#include <string.h>

#include "onnx/onnx.h"

/* A domain that the file does not import, or without a version, has the first. */
static int64_t version_of(const Onnx__ModelProto *model, const char *domain)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (set->domain != NULL && strcmp(set->domain, domain) == 0 && set->has_version) {
            return set->version;
        }
    }
    return 1;
}

qn_status qn_qonnx_check_versions(const Onnx__ModelProto *model, qn_error *err)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        const char *domain = set->domain != NULL ? set->domain : "";
        if (qn_domain_find(domain) == QN_DOMAIN_QONNX && set->has_version && set->version < 1) {
            return qn_fail(err, QN_EFORMAT, NULL, "version %" PRId64 " of domain %s; the first is 1", set->version,
                           domain);
        }
    }
    for (size_t i = 0; i < model->graph->n_node; i++) {
        const Onnx__NodeProto *node = model->graph->node[i];
        const char *domain = node->domain != NULL ? node->domain : "";
        if (qn_domain_find(domain) != QN_DOMAIN_QONNX || node->op_type == NULL || strcmp(node->op_type, "Trunc") != 0) {
            continue;
        }
        const int64_t version = version_of(model, domain);
        const size_t wanted = version < 2 ? 5 : 6;
        if (node->n_input != wanted) {
            return qn_fail(err, QN_EFORMAT, NULL,
                           "node %zu Trunc '%s': %zu inputs, but version %" PRId64
                           " of domain %s, which the file imports, has %zu; correct opset_import or the node",
                           i, node->name != NULL ? node->name : "", node->n_input, version, domain, wanted);
        }
    }
    return QN_OK;
}
