/* Weights of Conv, Gemm and MatMul as int8, symmetric, one scale per output channel; biases as int32 at
 * scale_x * scale_w[c]. A channel whose sums could reach 2^31 gets a greater weight scale (arithmetic.md 2.4). */
#include <string.h>

#include "ptq/ptq.h"

/* The coded forms under way. */
typedef struct {
    int64_t n; /* channels */
    qn_tensor weights, bias;
    float *scale, *bias_scale;
    int32_t *zero_point; /* n zeros */
    int64_t n_raised;
} coded_weights;

static qn_status coded_alloc(coded_weights *coded, qn_ptq *ptq, const qn_tensor *weights, int64_t n, bool has_bias,
                             qn_error *err)
{
    *coded = (coded_weights){.n = n};
    coded->scale = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->scale);
    coded->bias_scale = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->bias_scale);
    coded->zero_point = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->zero_point);
    if (coded->scale == NULL || coded->bias_scale == NULL || coded->zero_point == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *coded->scale);
    }
    QN_TRY(qn_tensor_alloc(&coded->weights, QN_DTYPE_S8, weights->rank, weights->dims, err));
    return has_bias ? qn_tensor_alloc(&coded->bias, QN_DTYPE_S32, 1, &n, err) : QN_OK;
}

static qn_status encode_channels(coded_weights *coded, const qn_tensor *weights, int axis, const float *bias,
                                 const qn_quantizer *q_x, const qn_ptq_pin *pin, const char *where, qn_error *err)
{
    int64_t n_elems = qn_tensor_count(weights), inner = 1;
    for (int d = axis + 1; d < weights->rank; d++) {
        inner *= weights->dims[d];
    }
    int32_t zero = q_x->zero_point[0], lo, hi;
    qn_format_range(q_x->format, &lo, &hi);
    qn_ptq_channel channel = {.n = n_elems / (coded->n > 0 ? coded->n : 1),
                              .run = inner,
                              .step = inner * coded->n,
                              .has_bias = bias != NULL,
                              .scale_x = q_x->scale[0],
                              .max_x = hi - zero > zero - lo ? hi - zero : zero - lo};
    for (int64_t c = 0; c < coded->n; c++) {
        int32_t bias_code;
        bool raised;
        channel.weights = (const float *)weights->data + c * inner;
        channel.bias = bias != NULL ? bias[c] : 0;
        channel.pinned = pin != NULL ? pin->scale[c] : 0;
        QN_TRY(qn_ptq_channel_encode(&channel, &coded->scale[c], (int8_t *)coded->weights.data + c * inner, &bias_code,
                                     &raised, where, err));
        coded->n_raised += raised;
        coded->bias_scale[c] = q_x->scale[0] * coded->scale[c];
        if (bias != NULL) {
            ((int32_t *)coded->bias.data)[c] = bias_code;
        }
    }
    return QN_OK;
}

/* Put the coded forms in the place of the float constants. */
static qn_status install(qn_ptq *ptq, qn_node *node, const coded_weights *coded, int axis, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_value_id weights, bias;
    QN_TRY(qn_ptq_own_constant(ptq, node, 1, &weights, err));
    qn_quantizer q_w = {.format = {.bits = 8, .is_signed = true},
                        .axis = axis,
                        .n = coded->n,
                        .scale = coded->scale,
                        .zero_point = coded->zero_point};
    QN_TRY(qn_ptq_set_coded(graph, weights, &q_w, &coded->weights, err));
    if (coded->bias.data != NULL) {
        QN_TRY(qn_ptq_own_constant(ptq, node, 2, &bias, err));
        qn_quantizer q_b = {.format = {.bits = 32, .is_signed = true},
                            .axis = 0,
                            .n = coded->n,
                            .scale = coded->bias_scale,
                            .zero_point = coded->zero_point};
        QN_TRY(qn_ptq_set_coded(graph, bias, &q_b, &coded->bias, err));
    }
    if (coded->n_raised > 0) {
        return qn_ptq_add_note(ptq, weights, coded->n_raised, err,
                               "scale raised in %lld of %lld channels, so that bias and sum stay below 2^31",
                               (long long)coded->n_raised, (long long)coded->n);
    }
    return QN_OK;
}

static qn_status quantize_node(qn_ptq *ptq, qn_node *node, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    char where[QN_NODE_WHERE_MAX];
    qn_node_where(where, graph, node);
    const qn_tensor *weights = qn_ptq_float_constant(graph, node->inputs[1]);
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE;
    const qn_tensor *bias = has_bias ? qn_ptq_float_constant(graph, node->inputs[2]) : NULL;
    const qn_quantizer *q_x = graph->values[node->inputs[0]].quantizer;
    int axis = qn_ptq_channel_axis(node);
    if (weights == NULL || q_x == NULL || (has_bias && bias == NULL)) {
        return qn_fail(err, QN_EINTERNAL, where, "the input, weights or bias are not ready to be coded");
    }
    coded_weights coded;
    qn_status status = coded_alloc(&coded, ptq, weights, weights->dims[axis], has_bias, err);
    if (status == QN_OK) {
        status = encode_channels(&coded, weights, axis, has_bias ? bias->data : NULL, q_x,
                                 qn_ptq_find_pin(ptq, node->inputs[1]), where, err);
        if (status != QN_OK && graph->file != NULL) {
            qn_error_prefix(err, graph->file);
        }
    }
    if (status == QN_OK) {
        status = install(ptq, node, &coded, axis, err);
    }
    qn_tensor_free(&coded.weights);
    qn_tensor_free(&coded.bias);
    return status;
}

qn_status qn_ptq_quantize_weights(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (qn_ptq_rule_of(graph->nodes[n].op)->has_weights) {
            QN_TRY(quantize_node(ptq, &graph->nodes[n], err));
        }
    }
    return QN_OK;
}
