/* Constant folding while binding: which operators, and under which conditions.
 *
 * Folded are Shape, moves of constants of any type, and whatever of integers and bool is computed from constants. A
 * value with a quantizer is left alone: what its readers see is rounded. Float arithmetic is the engines' job, but for
 * short lists that follow from shapes (sizes times a factor, as exporters write Resize), for constants that QONNX
 * quantizes (weights, mostly), and where a binding asks for more. */
#include "graph/fold.h"

#include <string.h>

#include "graph/compute/compute.h"
#include "graph/compute/real_math.h"

typedef enum fold_kind {
    FOLD_NEVER = 0, /* but by graph/compute: see can_fold_compute */
    FOLD_SHAPE,     /* only the input's shape is needed */
    FOLD_ALIAS,     /* the same elements under another shape: no copy */
    FOLD_COMPUTE,   /* all inputs known */
    FOLD_INTEGER,   /* all inputs known, and int32 or int64 */
} fold_kind;

static const struct {
    fold_kind kind;
    qn_fold_fn compute;
} fold_rows[QN_OP_COUNT] = {
    [QN_OP_ADD] = {FOLD_INTEGER, qn_fold_arithmetic},
    [QN_OP_BIPOLAR_QUANT] = {FOLD_COMPUTE, qn_fold_compute},
    [QN_OP_CAST] = {FOLD_COMPUTE, qn_fold_cast},
    [QN_OP_CONCAT] = {FOLD_COMPUTE, qn_fold_concat},
    [QN_OP_CONSTANT_OF_SHAPE] = {FOLD_COMPUTE, qn_fold_constant_of_shape},
    [QN_OP_DIV] = {FOLD_INTEGER, qn_fold_arithmetic},
    [QN_OP_DROPOUT] = {FOLD_ALIAS, NULL},
    [QN_OP_EYE_LIKE] = {FOLD_SHAPE, qn_fold_compute},
    [QN_OP_FLATTEN] = {FOLD_ALIAS, NULL},
    [QN_OP_FLOAT_QUANT] = {FOLD_COMPUTE, qn_fold_compute},
    [QN_OP_GATHER] = {FOLD_COMPUTE, qn_fold_gather},
    [QN_OP_IDENTITY] = {FOLD_ALIAS, NULL},
    [QN_OP_MUL] = {FOLD_INTEGER, qn_fold_arithmetic},
    [QN_OP_QUANT] = {FOLD_COMPUTE, qn_fold_compute},
    [QN_OP_RANGE] = {FOLD_COMPUTE, qn_fold_compute},
    [QN_OP_RESHAPE] = {FOLD_ALIAS, NULL},
    [QN_OP_SHAPE] = {FOLD_SHAPE, qn_fold_shape},
    [QN_OP_SIZE] = {FOLD_SHAPE, qn_fold_size},
    [QN_OP_SLICE] = {FOLD_COMPUTE, qn_fold_slice},
    [QN_OP_SQUEEZE] = {FOLD_ALIAS, NULL},
    [QN_OP_SUB] = {FOLD_INTEGER, qn_fold_arithmetic},
    [QN_OP_TRANSPOSE] = {FOLD_COMPUTE, qn_fold_transpose},
    [QN_OP_TRUNC] = {FOLD_COMPUTE, qn_fold_compute},
    [QN_OP_UNSQUEEZE] = {FOLD_ALIAS, NULL},
};

qn_status qn_fold_compute(const qn_infer *c, void *out)
{
    qn_arena scratch = {0};
    qn_compute compute = {.parts = 1};
    qn_status status = QN_OK;
    void *previous = NULL;
    const qn_bound_value *y = qn_infer_output(c, 0);
    for (int part = 0; y->n_elems > 0 && status == QN_OK && part < compute.parts; part++) {
        const qn_compute_job job = {.binding = c->binding,
                                    .node = c->node,
                                    .part = part,
                                    .items = 1,
                                    .cpu = QN_CPU_REFERENCE,
                                    .arena = &scratch,
                                    .err = c->err};
        const void *x[QN_COMPUTE_ARGS] = {NULL};
        const size_t n_bytes = (size_t)y->n_elems * qn_dtype_size(y->dtype);
        void *to = qn_arena_alloc(&scratch, n_bytes);
        status = to != NULL ? qn_compute_prepare(&compute, &job) : qn_fail_memory(c->err, NULL, n_bytes);
        for (int i = 0; status == QN_OK && i < compute.n_args; i++) {
            const qn_bound_value *input = compute.args[i] >= 0 ? qn_infer_input(c, compute.args[i]) : NULL;
            x[i] = compute.args[i] == QN_COMPUTE_PREVIOUS ? previous : input != NULL ? input->known->data : NULL;
        }
        if (status == QN_OK) {
            compute.run(compute.params, to, x);
            memcpy(out, to, n_bytes);
        }
        previous = to;
    }
    qn_arena_free(&scratch);
    return status;
}

QN_INLINE void lane_sqrtf(float *y, const float *x)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        y[i] = sqrtf(x[i]);
    }
}

QN_INLINE void lane_negf(float *y, const float *x)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        y[i] = -x[i];
    }
}

QN_INLINE void lane_reluf(float *y, const float *x)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        y[i] = x[i] < 0 ? 0 : x[i];
    }
}

/* Functions for which graph/compute has no row. */
static const struct {
    qn_op op;
    void (*lanes)(float *y, const float *x);
} functions[] = {
    {QN_OP_ERF, lane_erff},         {QN_OP_EXP, lane_expf},   {QN_OP_NEG, lane_negf},   {QN_OP_RELU, lane_reluf},
    {QN_OP_SIGMOID, lane_sigmoidf}, {QN_OP_SQRT, lane_sqrtf}, {QN_OP_TANH, lane_tanhf},
};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0] };

static size_t find_function(qn_op op)
{
    size_t row = 0;
    while (row < N_FUNCTIONS && functions[row].op != op) {
        row++;
    }
    return row;
}

static bool is_function(const qn_infer *c)
{
    return find_function(c->node->op) < N_FUNCTIONS && qn_infer_input(c, 0)->dtype == QN_DTYPE_F32;
}

static qn_status fold_function(const qn_infer *c, void *out)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const float *from = x->known->data;
    for (int64_t i = 0; i < x->n_elems; i += LANE_COUNT) {
        const size_t n = (size_t)(x->n_elems - i < LANE_COUNT ? x->n_elems - i : LANE_COUNT);
        float lanes[LANE_COUNT] = {0}, results[LANE_COUNT];
        memcpy(lanes, from + i, n * sizeof *lanes);
        functions[find_function(c->node->op)].lanes(results, lanes);
        memcpy((float *)out + i, results, n * sizeof *results);
    }
    return QN_OK;
}

static bool inputs_known(const qn_infer *c)
{
    for (int i = 0; i < c->node->n_inputs; i++) {
        const qn_bound_value *input = qn_infer_input(c, i);
        if (input != NULL && input->known == NULL) {
            return false;
        }
    }
    return true;
}

static bool is_of_shape(const qn_infer *c)
{
    bool found = c->node->op == QN_OP_SHAPE || c->node->op == QN_OP_SIZE;
    for (int i = 0; i < c->node->n_inputs; i++) {
        const qn_bound_value *input = qn_infer_input(c, i);
        found |= input != NULL && input->of_shape;
    }
    return found;
}

static bool is_of_codes(const qn_infer *c)
{
    bool found = false;
    for (int i = 0; i < c->node->n_inputs; i++) {
        const qn_bound_value *input = qn_infer_input(c, i);
        found |= input != NULL && input->of_codes;
    }
    return found;
}

/* Known inputs of which none is coded, and a result that takes no more memory than they do, or little. */
static bool folds_floats(const qn_infer *c)
{
    enum { LITTLE = 4096 };
    int64_t n = LITTLE;
    for (int i = 0; i < c->node->n_inputs; i++) {
        const qn_bound_value *input = qn_infer_input(c, i);
        n += input != NULL ? input->n_elems : 0;
    }
    return c->binding->fold_floats && !is_of_codes(c) && qn_infer_output(c, 0)->n_elems <= n;
}

/* Floats only where they follow from shapes, or are asked for: constants are what the engines may want to change. */
static bool can_fold_compute(const qn_infer *c)
{
    return inputs_known(c) && c->node->n_outputs == 1 &&
           (qn_infer_output(c, 0)->dtype != QN_DTYPE_F32 ||
            (is_of_shape(c) && qn_infer_output(c, 0)->n_elems <= QN_MAX_LIST) || folds_floats(c));
}

static bool can_fold(const qn_infer *c, fold_kind kind)
{
    const qn_bound_value *out = qn_infer_output(c, 0);
    if (c->binding->graph->values[c->node->outputs[0]].quantizer != NULL) {
        return false;
    }
    if (kind == FOLD_NEVER) {
        return (qn_compute_has(c->node->op) && can_fold_compute(c)) ||
               (is_function(c) && inputs_known(c) && folds_floats(c));
    }
    if (kind == FOLD_ALIAS) {
        return qn_infer_input(c, 0)->known != NULL;
    }
    if (kind == FOLD_SHAPE) {
        return true;
    }
    bool integer = out->dtype == QN_DTYPE_S32 || out->dtype == QN_DTYPE_S64;
    return kind == FOLD_COMPUTE || integer ? inputs_known(c) : can_fold_compute(c);
}

qn_status qn_fold_node(const qn_infer *c, qn_binding *binding, int64_t *budget)
{
    fold_kind kind = fold_rows[c->node->op].kind;
    if (!can_fold(c, kind)) {
        return QN_OK;
    }
    qn_bound_value *out = &binding->values[c->node->outputs[0]];
    qn_tensor *known = qn_arena_alloc(&binding->arena, sizeof *known);
    if (known == NULL) {
        return qn_fail_memory(c->err, NULL, sizeof *known);
    }
    *known = (qn_tensor){.dtype = out->dtype, .rank = out->rank};
    memcpy(known->dims, out->dims, sizeof known->dims);
    out->of_shape = is_of_shape(c);
    out->of_codes = is_of_codes(c);
    if (kind == FOLD_ALIAS) {
        known->data = qn_infer_input(c, 0)->known->data;
        out->known = known;
        return QN_OK;
    }
    int64_t n_bytes = out->n_elems * (int64_t)qn_dtype_size(out->dtype);
    if (n_bytes > *budget) {
        return qn_infer_fail(c, QN_ELIMIT, NULL, "constant folding needs %lld bytes more than the limit",
                             (long long)(n_bytes - *budget));
    }
    *budget -= n_bytes;
    known->data = qn_arena_alloc(&binding->arena, (size_t)n_bytes);
    if (known->data == NULL) {
        return qn_fail_memory(c->err, NULL, (size_t)n_bytes);
    }
    const bool integer = out->dtype == QN_DTYPE_S32 || out->dtype == QN_DTYPE_S64;
    const bool own = kind != FOLD_NEVER && (kind != FOLD_INTEGER || integer);
    qn_fold_fn fold = own ? fold_rows[c->node->op].compute : is_function(c) ? fold_function : qn_fold_compute;
    qn_error reason;
    qn_error_init(&reason);
    const qn_infer tried = {c->binding, c->node, binding->fold_floats ? &reason : c->err};
    const qn_status status = fold(&tried, known->data);
    if (status == QN_EUNSUPPORTED && binding->fold_floats) {
        return QN_OK; /* then it stays a node */
    }
    out->known = status == QN_OK ? known : NULL;
    return status == QN_OK || !binding->fold_floats ? status
                                                    : qn_fail(c->err, status, reason.where, "%s", reason.message);
}
