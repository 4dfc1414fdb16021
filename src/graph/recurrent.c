#include "graph/recurrent.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "graph/infer.h"

enum { SEQUENCE_LENS = 4 };

/* Names are compared without case. */
static const struct {
    const char *name;
    qn_recurrent_function function;
    bool has_alpha, has_beta;
    float alpha, beta;
} functions[] = {
    {"Affine", QN_RECURRENT_AFFINE, true, true, 1, 0},
    {"Elu", QN_RECURRENT_ELU, true, false, 1, 0},
    {"HardSigmoid", QN_RECURRENT_HARD_SIGMOID, true, true, 0.2f, 0.5f},
    {"LeakyRelu", QN_RECURRENT_LEAKY_RELU, true, false, 0.01f, 0},
    {"Relu", QN_RECURRENT_RELU, false, false, 0, 0},
    {"ScaledTanh", QN_RECURRENT_SCALED_TANH, true, true, 1, 1},
    {"Sigmoid", QN_RECURRENT_SIGMOID, false, false, 0, 0},
    {"Softplus", QN_RECURRENT_SOFTPLUS, false, false, 0, 0},
    {"Softsign", QN_RECURRENT_SOFTSIGN, false, false, 0, 0},
    {"Tanh", QN_RECURRENT_TANH, false, false, 0, 0},
    {"ThresholdedRelu", QN_RECURRENT_THRESHOLDED_RELU, true, false, 1, 0},
};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0] };

static const struct {
    qn_op op;
    int gates, n_activations;
    const char *activations[3];
} rows[] = {
    {QN_OP_GRU, 3, 2, {"Sigmoid", "Tanh"}},
    {QN_OP_LSTM, 4, 3, {"Sigmoid", "Tanh", "Tanh"}},
    {QN_OP_RNN, 1, 1, {"Tanh"}},
};

/* The scaling values are handed out to those functions that have them, in order. */
static qn_status read_activations(const qn_infer *c, qn_recurrent *r, size_t row)
{
    const qn_attribute *names = qn_node_attribute(c->node, "activations");
    const qn_attribute *alphas = qn_node_attribute(c->node, "activation_alpha");
    const qn_attribute *betas = qn_node_attribute(c->node, "activation_beta");
    const int n = rows[row].n_activations;
    int64_t alpha = 0, beta = 0;
    if (names != NULL && names->n != (int64_t)n * r->directions) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute activations", "%lld names, expected %d", (long long)names->n,
                             n * r->directions);
    }
    for (int i = 0; i < n * r->directions; i++) {
        const char *name = names != NULL ? names->strings[i] : rows[row].activations[i % n];
        int f = 0;
        while (f < N_FUNCTIONS && strcasecmp(functions[f].name, name) != 0) {
            f++;
        }
        if (f == N_FUNCTIONS) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute activations", "'%s' is no activation of ONNX", name);
        }
        qn_recurrent_activation *a = &r->activations[i / n][i % n];
        *a = (qn_recurrent_activation){functions[f].function, functions[f].alpha, functions[f].beta};
        if (functions[f].has_alpha && alphas != NULL && alpha < alphas->n) {
            a->alpha = alphas->floats[alpha++];
        }
        if (functions[f].has_beta && betas != NULL && beta < betas->n) {
            a->beta = betas->floats[beta++];
        }
    }
    return QN_OK;
}

static qn_status read_direction(const qn_infer *c, qn_recurrent *r)
{
    const char *direction = qn_node_string(c->node, "direction", "forward");
    r->reversed = strcmp(direction, "reverse") == 0;
    r->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    if (!r->reversed && r->directions == 1 && strcmp(direction, "forward") != 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute direction", "'%s' is none of forward, reverse, bidirectional",
                             direction);
    }
    return QN_OK;
}

static qn_status want_shape(const qn_infer *c, int input, int rank, const int64_t *dims)
{
    static const char *const names[] = {
        "input X",         "input W",         "input R", "input B", "input sequence_lens",
        "input initial_h", "input initial_c", "input P"};
    const qn_bound_value *x = qn_infer_input(c, input);
    const qn_dtype dtype = input == SEQUENCE_LENS ? QN_DTYPE_S32 : QN_DTYPE_F32;
    if (x == NULL ||
        (x->dtype == dtype && x->rank == rank && memcmp(x->dims, dims, (size_t)rank * sizeof *dims) == 0)) {
        return QN_OK;
    }
    char found[QN_DIMS_TEXT_MAX], wanted[QN_DIMS_TEXT_MAX];
    return qn_infer_fail(c, QN_ESHAPE, names[input], "is %s of shape %s, expected %s of shape %s",
                         qn_dtype_text(x->dtype), qn_dims_text(found, x->rank, x->dims), qn_dtype_text(dtype),
                         qn_dims_text(wanted, rank, dims));
}

static qn_status check_shapes(const qn_infer *c, const qn_recurrent *r)
{
    const int64_t d = r->directions, gates = r->gates, h = r->hidden, b = r->batch;
    const int64_t state[3] = {r->batch_leads ? b : d, r->batch_leads ? d : b, h};
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(want_shape(c, 1, 3, (int64_t[]){d, gates * h, r->inputs}));
    QN_TRY(want_shape(c, 2, 3, (int64_t[]){d, gates * h, h}));
    QN_TRY(want_shape(c, 3, 2, (int64_t[]){d, 2 * gates * h}));
    QN_TRY(want_shape(c, SEQUENCE_LENS, 1, &b));
    QN_TRY(want_shape(c, 5, 3, state));
    QN_TRY(want_shape(c, 6, 3, state));
    QN_TRY(want_shape(c, 7, 2, (int64_t[]){d, 3 * h}));
    const qn_bound_value *lens = qn_infer_input(c, SEQUENCE_LENS);
    for (int64_t i = 0; lens != NULL && lens->known != NULL && i < lens->n_elems; i++) {
        const int64_t n = qn_known_int(lens->known, i);
        if (n < 0 || n > r->steps) {
            return qn_infer_fail(c, QN_EFORMAT, "input sequence_lens", "a length of %lld in a sequence of %lld",
                                 (long long)n, (long long)r->steps);
        }
    }
    return QN_OK;
}

qn_status qn_recurrent_of_node(qn_recurrent *r, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *x = qn_infer_input(&c, 0), *recurrence = qn_infer_input(&c, 2);
    size_t row = 0;
    while (rows[row].op != node->op) {
        row++;
    }
    if (x->rank != 3 || recurrence->rank != 3) {
        return qn_infer_fail(&c, QN_ESHAPE, NULL, "X of %d and R of %d dimensions, expected 3 and 3", x->rank,
                             recurrence->rank);
    }
    const int64_t layout = qn_node_int(node, "layout", 0);
    const float clip = qn_node_float(node, "clip", INFINITY);
    *r = (qn_recurrent){.gates = rows[row].gates,
                        .batch_leads = layout == 1,
                        .inputs = x->dims[2],
                        .hidden = recurrence->dims[2],
                        .linear_before_reset = qn_node_int(node, "linear_before_reset", 0) != 0,
                        .input_forget = qn_node_int(node, "input_forget", 0) != 0,
                        .clip = clip > 0 ? clip : INFINITY};
    r->steps = x->dims[r->batch_leads ? 1 : 0];
    r->batch = x->dims[r->batch_leads ? 0 : 1];
    QN_TRY(read_direction(&c, r));
    if (layout != 0 && layout != 1) {
        return qn_infer_fail(&c, QN_EFORMAT, "attribute layout", "%lld is neither 0 nor 1", (long long)layout);
    }
    if (qn_node_int(node, "hidden_size", r->hidden) != r->hidden || r->hidden < 1) {
        return qn_infer_fail(&c, QN_ESHAPE, "attribute hidden_size", "%lld, but R is of %lld units",
                             (long long)qn_node_int(node, "hidden_size", r->hidden), (long long)r->hidden);
    }
    if (r->hidden > QN_RECURRENT_HIDDEN_MOST) {
        return qn_infer_fail(&c, QN_ELIMIT, "attribute hidden_size", "%lld units, the limit is %d",
                             (long long)r->hidden, QN_RECURRENT_HIDDEN_MOST);
    }
    QN_TRY(check_shapes(&c, r));
    return read_activations(&c, r, row);
}

qn_status qn_infer_recurrent(const qn_infer *c)
{
    qn_recurrent r;
    QN_TRY(qn_recurrent_of_node(&r, c->binding, c->node, c->err));
    const int64_t d = r.directions, h = r.hidden;
    const int64_t leading[4] = {r.steps, d, r.batch, h}, batched[4] = {r.batch, r.steps, d, h};
    const int64_t state[3] = {r.batch_leads ? r.batch : d, r.batch_leads ? d : r.batch, h};
    qn_value_id first = c->node->outputs[0];
    QN_TRY(first == QN_NO_VALUE ? QN_OK : qn_infer_set(c, 0, QN_DTYPE_F32, 4, r.batch_leads ? batched : leading));
    QN_TRY(qn_infer_set(c, 1, QN_DTYPE_F32, 3, state));
    return qn_infer_set(c, 2, QN_DTYPE_F32, 3, state);
}
