/* Functions of one tensor, element by element, in whatever layout it has. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"
#include "graph/compute/unary.h"

typedef struct {
    const qn_float_lanes *lanes;
    int64_t n;
    float slope;
    qn_float_clamp clamp;
} unary_params;

static void run_clamp(const void *params, void *const *args)
{
    const unary_params *p = params;
    p->lanes->clamp(args[0], args[1], p->clamp.lo, p->clamp.hi, p->n);
}

static void run_leaky(const void *params, void *const *args)
{
    const unary_params *p = params;
    p->lanes->leaky(args[0], args[1], p->slope, p->n);
}

static float negate(float x)
{
    return -x;
}

#define UNARY_LOOP(function)                                                                                           \
    static void run_##function(const void *params, void *const *args)                                                  \
    {                                                                                                                  \
        const unary_params *p = params;                                                                                \
        float *y = args[0];                                                                                            \
        const float *x = args[1];                                                                                      \
        for (int64_t i = 0; i < p->n; i++) {                                                                           \
            y[i] = function(x[i]);                                                                                     \
        }                                                                                                              \
    }
UNARY_LOOP(negate)
UNARY_LOOP(sqrtf)
#undef UNARY_LOOP

/* keeps_zero: f(0) = 0, so that the padding of blocked layouts stays zero. */
static const struct {
    qn_op op;
    qn_float_kernel kernel;
    bool keeps_zero;
} rows[] = {
    {QN_OP_LEAKY_RELU, run_leaky, true},
    {QN_OP_NEG, run_negate, true},
    {QN_OP_RELU, run_clamp, true},
    {QN_OP_SQRT, run_sqrtf, true},
};

/* x, as plain tensor where padding would not stay zero; and a result like it. */
static qn_status prepare(qn_float_builder *b, bool keeps_zero, qn_float_id *x, qn_float_id *y, qn_error *err)
{
    if (!keeps_zero && qn_float_padded(qn_float_at(b, *x))) {
        QN_TRY(qn_float_to_plain(b, *x, x, err));
    }
    return qn_float_new_like(b, *x, y, err);
}

static qn_status add_unary(qn_float_builder *b, qn_float_kernel kernel, unary_params params, qn_float_id x,
                           qn_float_id y, qn_error *err)
{
    params.lanes = b->code->lanes;
    params.n = qn_float_at(b, x)->n_stored;
    return params.n == 0 ? QN_OK : qn_float_add_kernel(b, kernel, &params, sizeof params, y, 1, &x, err);
}

qn_status qn_float_add_clamp(qn_float_builder *b, qn_float_id x, qn_float_clamp clamp, qn_float_id *y, qn_error *err)
{
    qn_float_id source = x;
    QN_TRY(prepare(b, clamp.lo <= 0 && clamp.hi >= 0, &source, y, err));
    return add_unary(b, run_clamp, (unary_params){.clamp = clamp}, source, *y, err);
}

qn_status qn_float_lower_unary(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    size_t row = 0;
    while (rows[row].op != node->op) {
        row++;
    }
    qn_float_id x, y;
    QN_TRY(qn_float_read(b, node->inputs[0], &x, err));
    QN_TRY(prepare(b, rows[row].keeps_zero, &x, &y, err));
    const unary_params params = {.slope = qn_node_float(node, "alpha", 0.01f), .clamp = {0, INFINITY}};
    QN_TRY(add_unary(b, rows[row].kernel, params, x, y, err));
    if (node->op == QN_OP_RELU) {
        QN_TRY(qn_float_derive(b, node->outputs[0], node->inputs[0], NULL, NULL, params.clamp, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}

typedef struct {
    qn_unary unary;
    int64_t n;
} function_params;

static void run_function(const void *params, void *const *args)
{
    const function_params *p = params;
    p->unary.run(args[0], args[1], p->n, p->unary.c);
}

qn_status qn_float_lower_function(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y;
    function_params params;
    QN_TRY(qn_unary_of_node(&params.unary, b->graph, node, b->program->options.cpu, err));
    QN_TRY(qn_float_read(b, node->inputs[0], &x, err));
    QN_TRY(prepare(b, params.unary.keeps_zero, &x, &y, err));
    params.n = qn_float_at(b, x)->n_stored;
    if (params.n > 0) {
        QN_TRY(qn_float_add_kernel(b, run_function, &params, sizeof params, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}

qn_status qn_float_lower_clip(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_clamp clamp;
    qn_float_id x, y;
    QN_TRY(qn_float_clamp_of_node(b, node, &clamp, err));
    QN_TRY(qn_float_read(b, node->inputs[0], &x, err));
    QN_TRY(qn_float_add_clamp(b, x, clamp, &y, err));
    QN_TRY(qn_float_derive(b, node->outputs[0], node->inputs[0], NULL, NULL, clamp, err));
    return qn_float_define(b, node->outputs[0], y, err);
}
