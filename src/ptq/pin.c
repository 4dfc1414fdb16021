/* Weights pinned to a grid, and of which format. */
#include <math.h>
#include <string.h>

#include "ptq/settings.h"

qn_ptq_pin *qn_ptq_find_pin(const qn_ptq *ptq, qn_value_id weights)
{
    qn_ptq_pin *pin = ptq->pins;
    while (pin != NULL && pin->weights != weights) {
        pin = pin->next;
    }
    return pin;
}

/* The grid takes the scales: weights are coded with it. */
static qn_status move_grid(qn_ptq *ptq, qn_value_id weights, int axis, int64_t n, const float *scale, qn_error *err)
{
    const qn_quantizer *grid = qn_ptq_grid_of(ptq, weights);
    if (grid == NULL || !qn_ptq_may_scale(ptq, grid)) {
        return QN_OK;
    }
    float *scales = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *scales);
    int32_t *zeros = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *zeros);
    int32_t *exponents = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *exponents);
    if (scales == NULL || zeros == NULL || exponents == NULL) {
        return qn_fail_memory(err, ptq->graph->values[weights].name, (size_t)n * sizeof *scales);
    }
    const bool has_exponents = (qn_format_parameters(grid->format) & QN_PARAM_EXP_BIAS) != 0;
    for (int64_t c = 0; c < n; c++) {
        const qn_params was = qn_quantizer_get(grid, grid->n == 1 ? 0 : c);
        scales[c] = scale[c] > 0 && !has_exponents ? scale[c] : was.scale;
        exponents[c] = scale[c] > 0 && has_exponents ? ilogbf(scale[c]) : was.exp_bias;
    }
    const qn_quantizer moved = {
        .format = grid->format, .axis = axis, .n = n, .scale = scales, .zero_point = zeros, .exp_bias = exponents};
    return qn_ptq_set_grid(ptq, weights, &moved, err);
}

qn_status qn_ptq_pin_scale(qn_ptq *ptq, qn_value_id weights, const qn_tensor *on_grid, int axis, int64_t n,
                           const float *scale, qn_error *err)
{
    const qn_value *value = &ptq->graph->values[weights];
    qn_ptq_pin *pin = qn_ptq_find_pin(ptq, weights);
    float *copy = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *copy);
    if (copy == NULL) {
        return qn_fail_memory(err, value->name, (size_t)n * sizeof *copy);
    }
    memcpy(copy, scale, (size_t)n * sizeof *copy);
    if (pin == NULL) {
        pin = qn_arena_alloc(&ptq->scratch, sizeof *pin);
        if (pin == NULL) {
            return qn_fail_memory(err, value->name, sizeof *pin);
        }
        *pin = (qn_ptq_pin){.next = ptq->pins, .weights = weights, .original = value->constant, .bias = QN_NO_VALUE};
        ptq->pins = pin;
    }
    pin->n = n;
    pin->scale = copy;
    QN_TRY(move_grid(ptq, weights, axis, n, scale, err));
    return qn_graph_set_constant(ptq->graph, weights, on_grid, err); /* the graph's arena keeps the original */
}

bool qn_ptq_can_round(const qn_ptq *ptq, const qn_node *node)
{
    const qn_quantizer *grid = qn_ptq_grid_of(ptq, node->inputs[1]);
    if (grid == NULL || grid->group > 0 || (grid->axis >= 0 && grid->axis != qn_ptq_channel_axis(node))) {
        return false;
    }
    const qn_format *f = &grid->format;
    if (f->kind == QN_FORMAT_INT) {
        return qn_ptq_is_integer_code(*f) && f->fit != QN_FIT_AFFINE && f->is_signed && f->bits >= 2;
    }
    bool scaled = f->kind == QN_FORMAT_FIXED || f->kind == QN_FORMAT_FLOAT || f->kind == QN_FORMAT_ADAPTIVFLOAT ||
                  f->kind == QN_FORMAT_POSIT || f->kind == QN_FORMAT_PO2;
    return scaled && f->bits <= 8;
}

double qn_ptq_grid_scale(const qn_quantizer *grid, int64_t channel)
{
    const qn_params params = qn_quantizer_get(grid, grid->n == 1 ? 0 : channel);
    const unsigned parameters = qn_format_parameters(grid->format);
    return (parameters & QN_PARAM_SCALE) != 0      ? (double)params.scale
           : (parameters & QN_PARAM_EXP_BIAS) != 0 ? ldexp(1, params.exp_bias)
                                                   : 1;
}

bool qn_ptq_may_scale(const qn_ptq *ptq, const qn_quantizer *grid)
{
    const qn_requantization requantize = ptq->settings->arithmetic.requantize;
    bool exact = requantize == QN_REQUANTIZE_SHIFT || requantize == QN_REQUANTIZE_DOUBLE_SHIFT;
    return grid->axis >= 0 && grid->format.fit != QN_FIT_PO2 && (!exact || grid->format.kind != QN_FORMAT_INT) &&
           (qn_format_parameters(grid->format) & (QN_PARAM_SCALE | QN_PARAM_EXP_BIAS)) != 0;
}
