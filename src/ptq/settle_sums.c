/* Every runtime rounds a sum of codes alike.
 *
 * Add is defined as rne((a - za) * ra + (b - zb) * rb) + zy, with float ratios of scales (arithmetic.md, section 3). Other
 * runtimes gather the zero points into one constant, and fuse multiplications and additions or not, as their processor
 * offers: rne(a * ra + (b * rb + (zy - (za * ra + zb * rb)))). The few last bits in which these differ matter where a sum
 * of two codes comes next to the middle between two codes, which happens for one pair of codes of 65536 in every second
 * or third Add. This pass raises the scale of such an Add's output by some 2^-20 parts of it until all pairs agree: an
 * output that no longer depends on the order of evaluation. Values that only move the sum's codes follow. */
#include <math.h>

#include "base/arith.h"
#include "ptq/settings.h"

enum { MAX_STEPS = 64, MAX_BITS = 8 };

typedef struct {
    float ratio_a, ratio_b;
    float zero_a, zero_b, zero_y;
    float fixed, fixed_fused; /* zero_y - (zero_a * ratio_a + zero_b * ratio_b) */
    int32_t zero_point, lo, hi;
} sum_params;

static int32_t clamp_round(float x, const sum_params *p)
{
    return qn_round_clamp(x, 0, p->lo, p->hi);
}

static bool agrees(float a, float b, const sum_params *p)
{
    float left = (a - p->zero_a) * p->ratio_a, right = (b - p->zero_b) * p->ratio_b;
    int32_t code = qn_round_clamp(left + right, p->zero_point, p->lo, p->hi);
    float product_a = a * p->ratio_a, product_b = b * p->ratio_b;
    return code == clamp_round(fmaf(a, p->ratio_a, fmaf(b, p->ratio_b, p->fixed_fused)), p) &&
           code == clamp_round(product_a + (product_b + p->fixed), p);
}

static bool all_agree(const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y, float scale)
{
    sum_params p = {.ratio_a = a->scale / scale,
                    .ratio_b = b->scale / scale,
                    .zero_a = (float)a->zero_point,
                    .zero_b = (float)b->zero_point,
                    .zero_y = (float)y->zero_point,
                    .zero_point = y->zero_point,
                    .lo = y->lo,
                    .hi = y->hi};
    float moved = p.zero_b * p.ratio_b;
    p.fixed = p.zero_y - (p.zero_a * p.ratio_a + moved);
    p.fixed_fused = p.zero_y - fmaf(p.zero_a, p.ratio_a, moved);
    for (int32_t i = a->lo; i <= a->hi; i++) {
        for (int32_t j = b->lo; j <= b->hi; j++) {
            if (!agrees((float)i, (float)j, &p)) {
                return false;
            }
        }
    }
    return true;
}

float qn_ptq_sum_scale(const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y)
{
    for (int step = 0; step < MAX_STEPS; step++) {
        float scale = (float)((double)y->scale * (1 + step * 0x1p-20));
        if (isfinite(scale) && all_agree(a, b, y, scale)) {
            return scale;
        }
    }
    return y->scale; /* ratios too extreme for any scale to help */
}

static bool code_of(const qn_graph *graph, qn_value_id id, qn_ptq_code *code)
{
    const qn_quantizer *q = id != QN_NO_VALUE ? graph->values[id].quantizer : NULL;
    if (q == NULL || q->dynamic || q->n != 1 || q->format.kind != QN_FORMAT_INT || q->format.bits > MAX_BITS) {
        return false;
    }
    code->scale = q->scale[0];
    code->zero_point = q->zero_point[0];
    qn_format_range(q->format, &code->lo, &code->hi);
    return true;
}

static qn_status settle(qn_graph *graph, const qn_node *node, qn_error *err)
{
    qn_ptq_code a, b, y;
    if (!code_of(graph, node->inputs[0], &a) || !code_of(graph, node->inputs[1], &b) ||
        !code_of(graph, node->outputs[0], &y)) {
        return QN_OK;
    }
    float scale = qn_ptq_sum_scale(&a, &b, &y);
    qn_quantizer q = *graph->values[node->outputs[0]].quantizer;
    q.scale = &scale;
    return scale != y.scale ? qn_graph_set_quantizer(graph, node->outputs[0], &q, err) : QN_OK;
}

qn_status qn_ptq_settle_sums(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    const qn_arithmetic *arithmetic = &ptq->settings->arithmetic;
    if (arithmetic->fixed_sums || arithmetic->requantize == QN_REQUANTIZE_SHIFT ||
        arithmetic->requantize == QN_REQUANTIZE_DOUBLE_SHIFT) {
        return QN_OK; /* sums in integers have one value, and ratios of shifts would no longer be exact */
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_ADD) {
            QN_TRY(settle(graph, node, err));
        }
        const bool moves =
            qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE && graph->values[node->inputs[0]].quantizer != NULL;
        for (int i = 0; moves && i < node->n_outputs; i++) {
            const qn_value_id id = node->outputs[i];
            if (id != QN_NO_VALUE && graph->values[id].quantizer != NULL) {
                QN_TRY(qn_graph_set_quantizer(graph, id, graph->values[node->inputs[0]].quantizer, err));
            }
        }
    }
    return QN_OK;
}
