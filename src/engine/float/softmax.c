/* Softmax. Sums run in double over memory order, so that they do not depend on the instruction set. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"
#include "graph/compute/unary.h"

typedef struct {
    qn_softmax softmax;
    qn_unary_fn *exp;
} softmax_params;

static float greatest_of(const float *x, int64_t n, int64_t stride)
{
    float greatest = x[0];
    for (int64_t i = 1; i < n; i++) {
        greatest = x[i * stride] > greatest ? x[i * stride] : greatest;
    }
    return greatest;
}

static void softmax_row(float *y, const float *x, int64_t n, qn_unary_fn *exp)
{
    const float greatest = greatest_of(x, n, 1);
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] - greatest;
    }
    exp(y, y, n, NULL);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)y[i];
    }
    const float factor = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) {
        y[i] *= factor;
    }
}

static void softmax_column(float *y, const float *x, int64_t n, int64_t stride)
{
    const float greatest = greatest_of(x, n, stride);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float e = expf(x[i * stride] - greatest);
        y[i * stride] = e;
        sum += (double)e;
    }
    const float factor = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) {
        y[i * stride] *= factor;
    }
}

static void run_softmax(const void *params, void *const *args)
{
    const softmax_params *p = params;
    const qn_softmax *s = &p->softmax;
    float *y = args[0];
    const float *x = args[1];
    for (int64_t o = 0; o < s->outer; o++) {
        for (int64_t i = 0; i < s->inner; i++) {
            int64_t start = o * s->n * s->inner + i;
            if (s->inner == 1) {
                softmax_row(y + start, x + start, s->n, p->exp);
            } else {
                softmax_column(y + start, x + start, s->n, s->inner);
            }
        }
    }
}

qn_status qn_float_lower_softmax(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    softmax_params params = {.exp = qn_unary_exp(b->program->options.cpu)};
    QN_TRY(qn_softmax_of_node(&params.softmax, b->binding, node, err));
    qn_float_id x, y;
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &x, err));
    QN_TRY(qn_float_new_output(b, node->outputs[0], &y, err));
    if (qn_float_at(b, x)->n_elems > 0) {
        QN_TRY(qn_float_add_kernel(b, run_softmax, &params, sizeof params, y, 1, &x, err));
    }
    return qn_float_define(b, node->outputs[0], y, err);
}
