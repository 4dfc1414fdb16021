/* AveragePools with ceil_mode round their sizes down instead, and where that would lose a window they get the padding that
 * it hangs over by: the same windows over the same pixels. ONNX Runtime's quantized AveragePool counts a last window that
 * would start in the padding, which ONNX does not, and refuses the file. Its MaxPool does as ONNX says. */
#include <string.h>

#include "ptq/ptq.h"

/* Padding behind each axis with which sizes rounded down are those of `w`. The last window starts within the input or
 * the padding before it, so this is less than the window. */
static void padding_behind(const qn_window *w, int64_t pad_end[2])
{
    for (int d = 0; d < 2; d++) {
        int64_t reach = (w->out[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1;
        int64_t needed = reach - w->in[d] - w->pad_begin[d];
        pad_end[d] = needed > w->pad_end[d] ? needed : w->pad_end[d];
    }
}

static bool is_geometry(const qn_attribute *attribute)
{
    return strcmp(attribute->name, "ceil_mode") == 0 || strcmp(attribute->name, "pads") == 0 ||
           strcmp(attribute->name, "auto_pad") == 0;
}

static qn_status round_down(qn_graph *graph, qn_node *node, const qn_window *w, int spatial, qn_error *err)
{
    int64_t pad_end[2];
    padding_behind(w, pad_end);
    if (pad_end[0] >= w->kernel[0] || pad_end[1] >= w->kernel[1]) {
        char where[QN_NODE_WHERE_MAX];
        return qn_fail(
            err, QN_EUNSUPPORTED, qn_node_where(where, graph, node),
            "ceil_mode makes its dilated window hang over by more than the kernel, which cannot be written as "
            "padding; use ceil_mode 0");
    }
    qn_attribute *attributes = qn_arena_array(&graph->arena, (size_t)node->n_attributes + 1, sizeof *attributes);
    int64_t *pads = qn_arena_array(&graph->arena, 2 * (size_t)spatial, sizeof *pads);
    if (attributes == NULL || pads == NULL) {
        return qn_fail_memory(err, node->name, sizeof *attributes);
    }
    for (int i = 0; i < spatial; i++) {
        pads[i] = w->pad_begin[2 - spatial + i];
        pads[spatial + i] = pad_end[2 - spatial + i];
    }
    int n = 0;
    for (int i = 0; i < node->n_attributes; i++) {
        if (!is_geometry(&node->attributes[i])) {
            attributes[n++] = node->attributes[i];
        }
    }
    attributes[n++] = (qn_attribute){.name = "pads", .type = QN_ATTRIBUTE_INTS, .ints = pads, .n = 2 * spatial};
    node->attributes = attributes;
    node->n_attributes = n;
    return QN_OK;
}

qn_status qn_ptq_floor_pool(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_binding binding = {0};
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        qn_window window;
        if (node->op != QN_OP_AVERAGE_POOL || binding.values[node->inputs[0]].rank > 4) {
            continue;
        }
        status = qn_window_of_node(&window, &binding, node, err);
        if (status == QN_OK && window.ceil_mode) {
            status = round_down(graph, node, &window, binding.values[node->inputs[0]].rank - 2, err);
        }
    }
    qn_binding_free(&binding);
    return status;
}
