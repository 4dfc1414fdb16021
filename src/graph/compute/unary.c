#include "graph/compute/unary.h"

#include "graph/compute/job.h"
#include "graph/compute/real_functions.h"

typedef enum {
    ABSOLUTE,
    ABOVE,
    ARC_COSINE,
    ARC_COSINE_H,
    ARC_SINE,
    ARC_SINE_H,
    ARC_TANGENT,
    ARC_TANGENT_H,
    BELOW,
    CELU,
    COSINE,
    COSINE_H,
    ELU,
    ERROR_FUNCTION,
    EXPONENTIAL,
    GELU,
    GELU_TANH,
    HARD_SIGMOID,
    HARD_SWISH,
    LOGARITHM,
    MISH,
    NEAREST,
    RECIPROCAL,
    SELU,
    SHRINK,
    SIGMOID,
    SIGN,
    SINE,
    SINE_H,
    SOFTPLUS,
    SOFTSIGN,
    TANGENT,
    TANGENT_H,
    THRESHOLDED,
    N_FUNCTIONS
} function;

QN_INLINE float within_one(float x)
{
    x = x > 0 ? x : 0;
    return x < 1 ? x : 1;
}

#define LANES_TEMPLATE "graph/compute/unary_template.h"
#include "base/each_isa.inc"

/* The constants are attributes with their defaults; NULL: none. */
static const struct {
    qn_op op;
    function function;
    bool keeps_zero;
    struct {
        const char *attribute;
        float fallback;
    } c[2];
} rows[] = {
    {QN_OP_ABS, ABSOLUTE, true, {{NULL, 0}}},
    {QN_OP_ACOS, ARC_COSINE, false, {{NULL, 0}}},
    {QN_OP_ACOSH, ARC_COSINE_H, false, {{NULL, 0}}},
    {QN_OP_ASIN, ARC_SINE, true, {{NULL, 0}}},
    {QN_OP_ASINH, ARC_SINE_H, true, {{NULL, 0}}},
    {QN_OP_ATAN, ARC_TANGENT, true, {{NULL, 0}}},
    {QN_OP_ATANH, ARC_TANGENT_H, true, {{NULL, 0}}},
    {QN_OP_CEIL, ABOVE, true, {{NULL, 0}}},
    {QN_OP_CELU, CELU, true, {{"alpha", 1.0f}}},
    {QN_OP_COS, COSINE, false, {{NULL, 0}}},
    {QN_OP_COSH, COSINE_H, false, {{NULL, 0}}},
    {QN_OP_ELU, ELU, true, {{"alpha", 1.0f}}},
    {QN_OP_ERF, ERROR_FUNCTION, true, {{NULL, 0}}},
    {QN_OP_EXP, EXPONENTIAL, false, {{NULL, 0}}},
    {QN_OP_FLOOR, BELOW, true, {{NULL, 0}}},
    {QN_OP_GELU, GELU, true, {{NULL, 0}}},
    {QN_OP_HARD_SIGMOID, HARD_SIGMOID, false, {{"alpha", 0.2f}, {"beta", 0.5f}}},
    {QN_OP_HARD_SWISH, HARD_SWISH, true, {{NULL, 0}}},
    {QN_OP_LOG, LOGARITHM, false, {{NULL, 0}}},
    {QN_OP_MISH, MISH, true, {{NULL, 0}}},
    {QN_OP_RECIPROCAL, RECIPROCAL, false, {{NULL, 0}}},
    {QN_OP_ROUND, NEAREST, true, {{NULL, 0}}},
    {QN_OP_SELU, SELU, true, {{"alpha", 1.67326319217681884765625f}, {"gamma", 1.05070102214813232421875f}}},
    {QN_OP_SHRINK, SHRINK, false, {{"lambd", 0.5f}, {"bias", 0}}},
    {QN_OP_SIGMOID, SIGMOID, false, {{NULL, 0}}},
    {QN_OP_SIGN, SIGN, true, {{NULL, 0}}},
    {QN_OP_SIN, SINE, true, {{NULL, 0}}},
    {QN_OP_SINH, SINE_H, true, {{NULL, 0}}},
    {QN_OP_SOFTPLUS, SOFTPLUS, false, {{NULL, 0}}},
    {QN_OP_SOFTSIGN, SOFTSIGN, true, {{NULL, 0}}},
    {QN_OP_TAN, TANGENT, true, {{NULL, 0}}},
    {QN_OP_TANH, TANGENT_H, true, {{NULL, 0}}},
    {QN_OP_THRESHOLDED_RELU, THRESHOLDED, false, {{"alpha", 1.0f}}},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static size_t find_row(qn_op op)
{
    size_t row = 0;
    while (row < N_ROWS && rows[row].op != op) {
        row++;
    }
    return row;
}

bool qn_unary_has(qn_op op)
{
    return find_row(op) < N_ROWS;
}

static qn_status choose_gelu(function *chosen, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    const char *approximate = qn_node_string(node, "approximate", "none");
    if (strcmp(approximate, "tanh") == 0) {
        *chosen = GELU_TANH;
    } else if (strcmp(approximate, "none") != 0) {
        char where[QN_NODE_WHERE_MAX];
        return qn_fail(err, QN_EUNSUPPORTED, qn_node_where(where, graph, node),
                       "attribute approximate is '%s', expected none or tanh", approximate);
    }
    return QN_OK;
}

qn_status qn_unary_of_node(qn_unary *unary, const qn_graph *graph, const qn_node *node, qn_cpu cpu, qn_error *err)
{
    size_t row = find_row(node->op);
    function chosen = rows[row].function;
    if (node->op == QN_OP_GELU) {
        QN_TRY(choose_gelu(&chosen, graph, node, err));
    }
    *unary = (qn_unary){.run = QN_LANES_FOR(cpu, functions)[chosen], .keeps_zero = rows[row].keeps_zero};
    for (int i = 0; i < 2; i++) {
        const char *name = rows[row].c[i].attribute;
        unary->c[i] = name != NULL ? qn_node_float(node, name, rows[row].c[i].fallback) : 0;
    }
    return QN_OK;
}

qn_unary_fn *qn_unary_exp(qn_cpu cpu)
{
    return QN_LANES_FOR(cpu, functions)[EXPONENTIAL];
}

/* Shrink of integers: in f64, cut off toward zero. */
typedef struct shrink_params {
    double lambd, bias;
    int64_t n;
    qn_dtype dtype;
} shrink_params;

static void run_shrink(const void *params, void *y, const void *const *x)
{
    const shrink_params *p = params;
    for (int64_t i = 0; i < p->n; i++) {
        const size_t at = (size_t)i * qn_dtype_size(p->dtype);
        double v;
        qn_convert_elements(QN_DTYPE_F64, &v, p->dtype, (const char *)x[0] + at, 1);
        v = v < -p->lambd ? v + p->bias : v > p->lambd ? v - p->bias : 0;
        qn_convert_elements(p->dtype, (char *)y + at, QN_DTYPE_F64, &v, 1);
    }
}

static qn_status prepare_shrink(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const shrink_params p = {.lambd = (double)qn_node_float(job->node, "lambd", 0.5f),
                             .bias = (double)qn_node_float(job->node, "bias", 0),
                             .n = x.n_elems,
                             .dtype = x.dtype};
    return qn_job_set(compute, job, run_shrink, &p, sizeof p, 1);
}

/* Of integers: between -1 and 1, cut off toward zero. */
static void run_erf(const void *params, void *y, const void *const *x)
{
    const shrink_params *p = params;
    for (int64_t i = 0; i < p->n; i++) {
        const size_t at = (size_t)i * qn_dtype_size(p->dtype);
        float v[LANE_COUNT] = {0};
        qn_convert_elements(QN_DTYPE_F32, v, p->dtype, (const char *)x[0] + at, 1);
        lane_erff(v, v);
        qn_convert_elements(p->dtype, (char *)y + at, QN_DTYPE_F32, v, 1);
    }
}

static qn_status prepare_erf(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    const shrink_params p = {.n = x.n_elems, .dtype = x.dtype};
    return qn_job_set(compute, job, run_erf, &p, sizeof p, 1);
}

typedef struct unary_params {
    qn_unary unary;
    int64_t n;
} unary_params;

static void run_unary(const void *params, void *y, const void *const *x)
{
    const unary_params *p = params;
    p->unary.run(y, x[0], p->n, p->unary.c);
}

qn_status qn_prepare_unary(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value x = qn_job_input(job, 0);
    unary_params p = {.n = x.n_elems};
    if (x.dtype != QN_DTYPE_F32) {
        return (job->node->op == QN_OP_SHRINK ? prepare_shrink
                : job->node->op == QN_OP_ERF  ? prepare_erf
                                              : qn_prepare_elementwise)(compute, job);
    }
    QN_TRY(qn_unary_of_node(&p.unary, job->binding->graph, job->node, job->cpu, job->err));
    return qn_job_set(compute, job, run_unary, &p, sizeof p, 1);
}
