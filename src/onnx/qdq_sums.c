/* Networks that other tools quantized say nothing of how sums of codes are evaluated. Where it matters, they get the
 * arithmetic of ONNX Runtime (doc/spec/arithmetic.md 3.4): fused operations on raw codes. */
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "onnx/onnx.h"

typedef struct codes {
    float scale;
    int32_t zero, lo, hi;
} codes;

static bool codes_of(const qn_graph *graph, qn_value_id id, codes *c)
{
    const qn_quantizer *q = graph->values[id].quantizer;
    if (q == NULL || q->dynamic || q->format.kind != QN_FORMAT_INT || q->n != 1 || q->format.bits > 8) {
        return false;
    }
    *c = (codes){.scale = q->scale[0], .zero = q->zero_point[0]};
    qn_format_range(q->format, &c->lo, &c->hi);
    return true;
}

/* Does each pair of codes give the same code both ways? */
static bool agree(const codes *a, const codes *b, const codes *y)
{
    const float ra = a->scale / y->scale, rb = b->scale / y->scale;
    const float fixed = (float)y->zero - fmaf((float)a->zero, ra, (float)b->zero * rb);
    bool same = true;
    for (int32_t i = a->lo; i <= a->hi && same; i++) {
        for (int32_t k = b->lo; k <= b->hi && same; k++) {
            const float left = (float)(i - a->zero) * ra, right = (float)(k - b->zero) * rb;
            const float fused = fmaf((float)i, ra, fmaf((float)k, rb, fixed));
            same = qn_round_clamp(left + right, y->zero, y->lo, y->hi) == qn_round_clamp(fused, 0, y->lo, y->hi);
        }
    }
    return same;
}

/* The value that is coded: of the sum, or of a Relu or Clip behind it. */
static qn_value_id coded_result(const qn_graph *graph, qn_value_id id)
{
    for (size_t n = 0; graph->values[id].quantizer == NULL && n < graph->n_nodes; n++) { /* sorted: readers follow */
        const qn_node *node = &graph->nodes[n];
        if ((node->op == QN_OP_RELU || node->op == QN_OP_CLIP) && node->n_inputs > 0 && node->n_outputs > 0 &&
            node->inputs[0] == id && node->outputs[0] != QN_NO_VALUE) {
            id = node->outputs[0];
        }
    }
    return id;
}

bool qn_qdq_is_quern(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_metadata; i++) {
        if (strncmp(graph->metadata[i].key, "quern.", strlen("quern.")) == 0) {
            return true;
        }
    }
    return strncmp(graph->producer, "quern", strlen("quern")) == 0;
}

qn_status qn_qdq_choose_sums(qn_graph *graph, qn_error *err)
{
    bool same = true;
    const bool told = qn_qdq_is_quern(graph);
    for (size_t n = 0; n < graph->n_nodes && same && !told; n++) {
        const qn_node *node = &graph->nodes[n];
        codes a, b, y;
        if (node->op == QN_OP_ADD && node->n_inputs == 2 && node->inputs[0] != QN_NO_VALUE &&
            node->inputs[1] != QN_NO_VALUE && node->n_outputs == 1 && node->outputs[0] != QN_NO_VALUE &&
            codes_of(graph, node->inputs[0], &a) && codes_of(graph, node->inputs[1], &b) &&
            codes_of(graph, coded_result(graph, node->outputs[0]), &y)) {
            same = agree(&a, &b, &y);
        }
    }
    return same ? QN_OK : qn_graph_set_metadata(graph, "quern.sums", "fused", err);
}
