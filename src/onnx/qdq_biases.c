/* Tools that quantize for TensorRT leave biases floats. ONNX Runtime codes those of layers on codes with coded results
 * (doc/spec/onnx.md 1.4); so do networks here that other tools quantized. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/onnx.h"
#include "onnx/qdq.h"

/* A layer between DequantizeLinear and QuantizeLinear.
 *  scales    of the weights, n_scales of them: 1, or one for each element of the bias */
typedef struct layer {
    const qn_tensor *bias;
    float scale;
    const float *scales;
    int64_t n_scales;
} layer;

static const qn_node *decoder_of(const qn_graph *graph, qn_value_id id)
{
    const int32_t producer = id != QN_NO_VALUE ? graph->values[id].producer : -1;
    return producer >= 0 && qn_is_dequantize_linear(&graph->nodes[producer]) ? &graph->nodes[producer] : NULL;
}

static const qn_tensor *scales_of(const qn_graph *graph, const qn_node *decoder)
{
    const qn_tensor *t = decoder != NULL ? qn_constant_input(graph, decoder, 1) : NULL;
    return t != NULL && t->dtype == QN_DTYPE_F32 ? t : NULL;
}

/* Is value `id` read by nobody but a QuantizeLinear, or Relus and Clips of which that is true? */
static bool is_encoded(const qn_graph *graph, qn_value_id id, const int32_t *uses)
{
    for (size_t n = 0; n < graph->n_nodes && id != QN_NO_VALUE && uses[id] == 1; n++) { /* sorted: readers follow */
        const qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_REMOVED || node->n_inputs == 0 || node->inputs[0] != id) {
            continue;
        }
        if (qn_is_quantize_linear(node)) {
            return true;
        }
        if (node->op != QN_OP_RELU && node->op != QN_OP_CLIP) {
            return false;
        }
        id = node->outputs[0];
    }
    return false;
}

/* The axis of the weights that numbers the elements of the bias. */
static int64_t channel_axis(const qn_node *node)
{
    return node->op == QN_OP_GEMM && qn_node_int(node, "transB", 0) == 0 ? 1 : 0;
}

static bool read_layer(layer *l, const qn_graph *graph, const qn_node *node, const int32_t *uses)
{
    const bool plain = node->op == QN_OP_CONV || (node->op == QN_OP_GEMM && qn_node_float(node, "alpha", 1) == 1 &&
                                                  qn_node_float(node, "beta", 1) == 1);
    l->bias = plain && node->n_inputs == 3 ? qn_constant_input(graph, node, 2) : NULL;
    if (l->bias == NULL || l->bias->dtype != QN_DTYPE_F32 || l->bias->rank != 1 || l->bias->dims[0] == 0 ||
        graph->values[node->inputs[2]].quantizer != NULL) {
        return false;
    }
    const qn_node *w = decoder_of(graph, node->inputs[1]);
    const qn_tensor *scale = scales_of(graph, decoder_of(graph, node->inputs[0])), *scales = scales_of(graph, w);
    if (scale == NULL || scales == NULL || qn_tensor_count(scale) != 1 || qn_node_int(w, "block_size", 0) != 0) {
        return false;
    }
    const qn_tensor *codes = qn_constant_input(graph, w, 0);
    int64_t axis = qn_node_int(w, "axis", 1);
    axis += axis < 0 && codes != NULL ? codes->rank : 0;
    l->scale = *(const float *)scale->data;
    l->scales = scales->data;
    l->n_scales = qn_tensor_count(scales);
    return (l->n_scales == 1 || (l->n_scales == l->bias->dims[0] && axis == channel_axis(node))) &&
           is_encoded(graph, node->outputs[0], uses);
}

/* codes[k] = rint(b[k] / (s_x * s_w[k])), in f32; false where one is no int32, or a scale none of a quantizer. */
static bool encode(int32_t *codes, float *scales, const layer *l)
{
    const float *b = l->bias->data;
    for (int64_t k = 0; k < l->bias->dims[0]; k++) {
        const float scale = l->scale * l->scales[l->n_scales == 1 ? 0 : k];
        const float code = rintf(b[k] / scale);
        if (!isnormal(scale) || scale < 0 || !(fabsf(code) < 0x1p31F)) {
            return false;
        }
        scales[l->n_scales == 1 ? 0 : k] = scale;
        codes[k] = (int32_t)code;
    }
    return true;
}

/* Input 2 of the node becomes a coded constant: the value itself, or where others read it one of its own. */
static qn_status set_bias(qn_graph *graph, qn_node *node, bool shared, const qn_tensor *codes, const qn_quantizer *q,
                          qn_error *err)
{
    qn_value_id id = node->inputs[2];
    if (shared) {
        const char *name = qn_graph_unique_name(graph, graph->values[id].name);
        QN_TRY(name != NULL ? qn_graph_add_value(graph, name, &id, err) : qn_fail_memory(err, NULL, 0));
        node->inputs[2] = id;
    }
    qn_tensor decoded;
    QN_TRY(qn_tensor_alloc(&decoded, QN_DTYPE_F32, codes->rank, codes->dims, err));
    qn_quantizer_decode(decoded.data, codes->data, q, codes->rank, codes->dims);
    const qn_status status = qn_graph_set_constant(graph, id, &decoded, err);
    qn_tensor_free(&decoded);
    QN_TRY(status);
    QN_TRY(qn_graph_set_quantizer(graph, id, q, err));
    return qn_graph_set_codes(graph, id, codes, err);
}

static qn_status code_bias(qn_graph *graph, qn_node *node, const layer *l, bool shared, qn_error *err)
{
    qn_tensor codes, scales = {0};
    const int64_t n_scales = l->n_scales;
    QN_TRY(qn_tensor_alloc(&codes, QN_DTYPE_S32, 1, l->bias->dims, err));
    qn_status status = qn_tensor_alloc(&scales, QN_DTYPE_F32, 1, &n_scales, err);
    int32_t *zeros = status == QN_OK ? qn_alloc((size_t)n_scales * sizeof *zeros) : NULL;
    if (status == QN_OK && zeros == NULL) {
        status = qn_fail_memory(err, NULL, (size_t)n_scales * sizeof *zeros);
    } else if (status == QN_OK && encode(codes.data, scales.data, l)) {
        const qn_quantizer q = {.format = {.bits = 32, .is_signed = true},
                                .axis = n_scales == 1 ? -1 : 0,
                                .n = n_scales,
                                .scale = scales.data,
                                .zero_point = zeros};
        status = set_bias(graph, node, shared, &codes, &q, err);
    }
    qn_free(zeros);
    qn_tensor_free(&scales);
    qn_tensor_free(&codes);
    return status;
}

qn_status qn_qdq_code_biases(qn_graph *graph, qn_error *err)
{
    int32_t *uses = qn_graph_count_uses(graph);
    qn_status status = uses != NULL ? QN_OK : qn_fail_memory(err, NULL, graph->n_values * sizeof *uses);
    for (size_t n = 0; n < graph->n_nodes && status == QN_OK; n++) {
        qn_node *node = &graph->nodes[n];
        layer l;
        if (read_layer(&l, graph, node, uses)) {
            int32_t *others = &uses[node->inputs[2]];
            status = code_bias(graph, node, &l, *others > 1, err);
            --*others;
        }
    }
    qn_free(uses);
    return status;
}
