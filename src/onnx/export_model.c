/* Export from end to end, and qn_model_save. */
#include "base/file.h"
#include "graph/model.h"
#include "onnx/onnx.h"

static const int64_t default_opset = 13;

/* Per-channel QDQ came with opset 13, 16-bit codes with 21. */
static int64_t needed_opset(const qn_graph *graph)
{
    int64_t opset = graph->opset > 0 ? graph->opset : default_opset;
    for (size_t v = 0; v < graph->n_values; v++) {
        const qn_quantizer *q = graph->values[v].quantizer;
        int64_t wanted = q == NULL ? 0 : q->format.bits == 16 ? 21 : 13;
        opset = wanted > opset ? wanted : opset;
    }
    return opset;
}

static qn_status export_unfolded(unsigned char **data, size_t *n_bytes, qn_graph *unfolded, const qn_graph *graph,
                                 qn_error *err)
{
    QN_TRY(qn_qdq_unfold(unfolded, graph, err));
    if (unfolded->opset == 0) { /* made by hand, of nodes as they are today */
        unfolded->opset = default_opset;
    }
    QN_TRY(qn_opset_raise(unfolded, needed_opset(graph), err));
    QN_TRY(qn_graph_tidy(unfolded, err));
    QN_TRY(qn_graph_verify(unfolded, err));
    return qn_onnx_serialize(data, n_bytes, unfolded, err);
}

qn_status qn_onnx_export(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_error *err)
{
    qn_graph unfolded = {0};
    qn_status status = export_unfolded(data, n_bytes, &unfolded, graph, err);
    qn_graph_free(&unfolded);
    return status;
}

qn_status qn_model_save(const qn_model *model, const char *path, bool overwrite, qn_error *err)
{
    QN_TRY(qn_file_check_output(path, overwrite, err)); /* before the work of making the bytes */
    unsigned char *data;
    size_t n_bytes;
    QN_TRY(qn_onnx_export(&data, &n_bytes, &model->graph, err));
    qn_status status = qn_file_write_all(path, overwrite, data, n_bytes, err);
    qn_free(data);
    return status;
}
