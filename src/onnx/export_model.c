/* Export from end to end, and saving models. */
#include "base/file.h"
#include "graph/model.h"
#include "graph/qdq_opset.h"
#include "onnx/onnx.h"

static const int64_t default_opset = 13;

/* Operators that passes make of others, with the opset that brought them in their present form. */
static int64_t opset_of_node(const qn_node *node)
{
    switch (node->op) {
    case QN_OP_CLIP:
        return node->n_inputs > 1 ? 11 : 1;
    case QN_OP_GELU:
        return 20;
    case QN_OP_HARD_SWISH:
        return 14;
    case QN_OP_LAYER_NORMALIZATION:
        return 17;
    case QN_OP_MISH:
        return 18;
    default:
        return 1;
    }
}

/* The file's opset: the model's, raised to what the operators and QDQ of 8, 16 and 32 bits need; where pairs must hold
 * everything, to what int4 and float8 need, too. */
static int64_t needed_opset(const qn_graph *graph, qn_onnx_form form)
{
    int64_t opset = graph->opset > 0 ? graph->opset : default_opset;
    const bool has_pairs = form != QN_ONNX_QONNX && form != QN_ONNX_ORG;
    for (size_t v = 0; v < graph->n_values && has_pairs; v++) {
        int32_t type = 0;
        int64_t wanted = graph->values[v].quantizer != NULL ? qn_qdq_opset(&graph->values[v], &type) : 0;
        const bool raises = wanted > opset && (form == QN_ONNX_QDQ || qn_qdq_raises_opset(type));
        opset = raises ? wanted : opset;
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const int64_t wanted = opset_of_node(&graph->nodes[n]);
        opset = wanted > opset ? wanted : opset;
    }
    return opset;
}

static bool has_quantizers(const qn_graph *graph)
{
    for (size_t v = 0; v < graph->n_values; v++) {
        if (graph->values[v].quantizer != NULL) {
            return true;
        }
    }
    return false;
}

static qn_status export_unfolded(unsigned char **data, size_t *n_bytes, qn_graph *unfolded, const qn_graph *graph,
                                 qn_onnx_form form, qn_error *err)
{
    if (form != QN_ONNX_AUTO && !has_quantizers(graph)) {
        return qn_fail(err, QN_EINVAL, graph->file, "has no quantizers, which form %s would hold; leave out the form",
                       qn_onnx_form_text(form));
    }
    int64_t opset = needed_opset(graph, form);
    QN_TRY(qn_onnx_unfold(unfolded, graph, form, opset, err));
    if (unfolded->opset == 0) { /* made by hand, of nodes as they are today */
        unfolded->opset = default_opset;
    }
    QN_TRY(qn_opset_raise(unfolded, opset, err));
    QN_TRY(qn_graph_tidy(unfolded, err));
    QN_TRY(qn_graph_verify(unfolded, err));
    return qn_onnx_serialize(data, n_bytes, unfolded, err);
}

qn_status qn_onnx_export_form(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_onnx_form form,
                              qn_error *err)
{
    if (qn_onnx_form_text(form) == NULL) {
        return qn_fail(err, QN_EINVAL, graph->file, "%d is no form of quantized ONNX", (int)form);
    }
    qn_graph unfolded = {0};
    qn_status status = export_unfolded(data, n_bytes, &unfolded, graph, form, err);
    qn_graph_free(&unfolded);
    return status;
}

qn_status qn_onnx_export(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_error *err)
{
    return qn_onnx_export_form(data, n_bytes, graph, QN_ONNX_AUTO, err);
}

qn_status qn_model_save(const qn_model *model, const char *path, bool overwrite, qn_error *err)
{
    return qn_model_save_as(model, path, QN_ONNX_AUTO, overwrite, err);
}

qn_status qn_model_save_as(const qn_model *model, const char *path, qn_onnx_form form, bool overwrite, qn_error *err)
{
    QN_TRY(qn_file_check_output(path, overwrite, err)); /* before the work of making the bytes */
    unsigned char *data;
    size_t n_bytes;
    QN_TRY(qn_onnx_export_form(&data, &n_bytes, &model->graph, form, err));
    qn_status status = qn_file_write_all(path, overwrite, data, n_bytes, err);
    qn_free(data);
    return status;
}
