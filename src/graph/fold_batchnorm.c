#include <math.h>
#include <string.h>

#include "graph/bind.h"
#include "graph/passes.h"

/* One BatchNormalization and what it folds into. Channel c of the result is y[c] * factor[c] + offset[c]. */
typedef struct folding {
    qn_graph *graph;
    const int32_t *uses; /* per value that was there at the start, graph outputs included */
    size_t n_uses;
    const qn_binding *binding; /* NULL where shapes are not known */
    qn_arena *scratch;
    qn_node *norm, *layer;
    int64_t n; /* channels */
    double *factor, *offset;
    qn_error *err;
} folding;

/* Float values of a constant that may be altered: not coded, contiguous f32. NULL otherwise. */
static const qn_tensor *plain_constant(const folding *f, const qn_node *node, int input)
{
    if (input >= node->n_inputs || node->inputs[input] == QN_NO_VALUE) {
        return NULL;
    }
    const qn_value *value = &f->graph->values[node->inputs[input]];
    bool plain = value->quantizer == NULL && value->codes == NULL && value->constant != NULL;
    return plain && value->constant->dtype == QN_DTYPE_F32 ? value->constant : NULL;
}

static bool has_input(const qn_node *node, int input)
{
    return input < node->n_inputs && node->inputs[input] != QN_NO_VALUE;
}

/* Rows of a Gemm's addend: 1 when it is the same for every row of the product, 0 when it does not broadcast. */
static int64_t addend_rows(const qn_tensor *addend, int64_t n)
{
    int64_t columns = addend->rank > 0 ? addend->dims[addend->rank - 1] : 1;
    if (addend->rank > 2 || (columns != n && columns != 1)) {
        return 0;
    }
    return addend->rank == 2 ? addend->dims[0] : 1;
}

static bool is_matrix(const folding *f, qn_value_id id)
{
    return f->binding != NULL && (size_t)id < f->binding->n_values && f->binding->values[id].rank == 2;
}

static bool folds(qn_op op)
{
    return op == QN_OP_CONV || op == QN_OP_CONV_TRANSPOSE || op == QN_OP_GEMM || op == QN_OP_MATMUL;
}

/* Channels the layer makes, 0 when its weights and bias are not constants of fitting shapes. */
static int64_t layer_channels(const folding *f)
{
    const qn_tensor *w = plain_constant(f, f->layer, 1), *b = plain_constant(f, f->layer, 2);
    if (w == NULL || (b == NULL && has_input(f->layer, 2))) {
        return 0;
    }
    if (f->layer->op == QN_OP_CONV) {
        bool fits = w->rank >= 3 && (b == NULL || (b->rank == 1 && b->dims[0] == w->dims[0]));
        return fits ? w->dims[0] : 0;
    }
    if (f->layer->op == QN_OP_CONV_TRANSPOSE) {
        const int64_t group = qn_node_int(f->layer, "group", 1), n = w->rank >= 3 ? w->dims[1] * group : 0;
        bool fits = group > 0 && n > 0 && w->dims[0] % group == 0 && (b == NULL || (b->rank == 1 && b->dims[0] == n));
        return fits ? n : 0;
    }
    if (w->rank != 2 || (f->layer->op == QN_OP_MATMUL && !is_matrix(f, f->layer->inputs[0]))) {
        return 0;
    }
    int64_t n = w->dims[qn_node_int(f->layer, "transB", 0) != 0 ? 0 : 1];
    return b == NULL || addend_rows(b, n) > 0 ? n : 0;
}

static bool find_layer(folding *f)
{
    qn_graph *graph = f->graph;
    const qn_node *norm = f->norm;
    if (norm->op != QN_OP_BATCH_NORMALIZATION || norm->n_inputs != 5 || !has_input(norm, 0) || norm->n_outputs < 1 ||
        norm->outputs[0] == QN_NO_VALUE || qn_node_int(norm, "training_mode", 0) != 0 ||
        qn_node_int(norm, "spatial", 1) != 1) {
        return false;
    }
    for (int i = 1; i < norm->n_outputs; i++) {
        if (norm->outputs[i] != QN_NO_VALUE && f->uses[norm->outputs[i]] > 0) {
            return false;
        }
    }
    const qn_value *between = &graph->values[norm->inputs[0]];
    if (between->producer < 0 || between->quantizer != NULL || f->uses[norm->inputs[0]] != 1) {
        return false;
    }
    f->layer = &graph->nodes[between->producer];
    if (!folds(f->layer->op) || f->layer->n_outputs != 1) {
        return false;
    }
    f->n = layer_channels(f);
    for (int i = 1; i < 5; i++) {
        const qn_tensor *parameter = plain_constant(f, norm, i);
        if (parameter == NULL || parameter->rank != 1 || parameter->dims[0] != f->n) {
            return false;
        }
    }
    return f->n > 0;
}

static const float *parameter(const folding *f, int input)
{
    return f->graph->values[f->norm->inputs[input]].constant->data;
}

static qn_status compute_factors(folding *f)
{
    f->factor = qn_arena_array(f->scratch, (size_t)f->n, sizeof *f->factor);
    f->offset = qn_arena_array(f->scratch, (size_t)f->n, sizeof *f->offset);
    if (f->factor == NULL || f->offset == NULL) {
        return qn_fail_memory(f->err, f->graph->file, (size_t)f->n * sizeof *f->factor);
    }
    const float *gamma = parameter(f, 1), *beta = parameter(f, 2), *mean = parameter(f, 3), *variance = parameter(f, 4);
    double epsilon = (double)qn_node_float(f->norm, "epsilon", 1e-5F);
    for (int64_t c = 0; c < f->n; c++) {
        f->factor[c] = (double)gamma[c] / sqrt((double)variance[c] + epsilon);
        f->offset[c] = (double)beta[c] - (double)mean[c] * f->factor[c];
    }
    return QN_OK;
}

static bool all_finite(const qn_tensor *t)
{
    const float *x = t->data;
    int64_t n = qn_tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

static qn_status scratch_tensor(const folding *f, qn_tensor *t, int rank, const int64_t *dims)
{
    *t = (qn_tensor){.dtype = QN_DTYPE_F32, .rank = rank};
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    t->data = qn_arena_array(f->scratch, (size_t)qn_tensor_count(t), sizeof(float));
    return t->data != NULL ? QN_OK : qn_fail_memory(f->err, f->graph->file, qn_tensor_bytes(t));
}

/* Output channel of an element of the weights: their row; their column in a MatMul and a Gemm without transB; of a
 * ConvTranspose, whose groups are rows, the second axis within the group. */
static int64_t channel_of(const folding *f, const qn_tensor *w, int64_t i)
{
    if (f->layer->op == QN_OP_CONV_TRANSPOSE) {
        const int64_t per_row = qn_tensor_count(w) / w->dims[0], per_group = w->dims[1];
        const int64_t group = i / per_row / (w->dims[0] / (f->n / per_group));
        return group * per_group + i % per_row / (per_row / per_group);
    }
    const bool rows = f->layer->op == QN_OP_CONV || qn_node_int(f->layer, "transB", 0) != 0;
    return rows ? i / (qn_tensor_count(w) / f->n) : i % f->n;
}

static qn_status scale_weights(const folding *f, qn_tensor *scaled)
{
    const qn_tensor *w = plain_constant(f, f->layer, 1);
    QN_TRY(scratch_tensor(f, scaled, w->rank, w->dims));
    int64_t count = qn_tensor_count(w);
    const float *from = w->data;
    float *to = scaled->data;
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)((double)from[i] * f->factor[channel_of(f, w, i)]);
    }
    return QN_OK;
}

/* The layer's addend, its beta applied, times factor plus offset: n values, or rows of them where rows differ. */
static qn_status scale_bias(const folding *f, qn_tensor *scaled)
{
    const qn_tensor *b = plain_constant(f, f->layer, 2);
    int64_t rows = b != NULL && f->layer->op == QN_OP_GEMM ? addend_rows(b, f->n) : 1;
    QN_TRY(scratch_tensor(f, scaled, rows == 1 ? 1 : 2, rows == 1 ? &f->n : (int64_t[]){rows, f->n}));
    double beta = f->layer->op == QN_OP_GEMM ? (double)qn_node_float(f->layer, "beta", 1.0F) : 1.0;
    int64_t columns = b == NULL || b->rank == 0 ? 1 : b->dims[b->rank - 1];
    float *to = scaled->data;
    for (int64_t i = 0; i < rows * f->n; i++) {
        int64_t row = i / f->n, c = i % f->n;
        double before = b == NULL ? 0.0 : (double)((const float *)b->data)[row * columns + (columns == 1 ? 0 : c)];
        to[i] = (float)(beta * before * f->factor[c] + f->offset[c]);
    }
    return QN_OK;
}

/* Values made by an earlier folding have the one reader they were made for. */
static bool has_one_reader(const folding *f, qn_value_id id)
{
    return (size_t)id >= f->n_uses || f->uses[id] == 1;
}

/* Put `t` in the place of the layer's input: under the same name when nobody else reads that constant. */
static qn_status replace_constant(const folding *f, int input, const qn_tensor *t, const char *suffix)
{
    qn_graph *graph = f->graph;
    qn_value_id id = f->layer->inputs[input];
    if (id == QN_NO_VALUE || !has_one_reader(f, id)) {
        const char *owner = id != QN_NO_VALUE ? graph->values[id].name : graph->values[f->norm->outputs[0]].name;
        const char *stem = qn_arena_printf(&graph->arena, "%s_%s", owner, suffix);
        const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
        if (name == NULL) {
            return qn_fail_memory(f->err, graph->file, strlen(owner) + 1);
        }
        QN_TRY(qn_graph_add_value(graph, name, &id, f->err));
    }
    QN_TRY(qn_graph_set_constant(graph, id, t, f->err));
    f->layer->inputs[input] = id;
    return QN_OK;
}

static qn_status need_three_inputs(const folding *f)
{
    qn_node *layer = f->layer;
    if (layer->n_inputs >= 3) {
        return QN_OK;
    }
    qn_value_id *inputs = qn_arena_array(&f->graph->arena, 3, sizeof *inputs);
    if (inputs == NULL) {
        return qn_fail_memory(f->err, f->graph->file, 3 * sizeof *inputs);
    }
    memcpy(inputs, layer->inputs, 2 * sizeof *inputs);
    inputs[2] = QN_NO_VALUE;
    layer->inputs = inputs;
    layer->n_inputs = 3;
    return QN_OK;
}

static void take_over_output(const folding *f)
{
    qn_value_id out = f->norm->outputs[0];
    f->graph->values[f->layer->outputs[0]].producer = -1;
    f->graph->values[out].producer = (int32_t)(f->layer - f->graph->nodes);
    f->layer->outputs[0] = out;
    f->norm->op = QN_OP_REMOVED;
    for (int i = 0; i < f->layer->n_attributes; i++) { /* the addend now contains it */
        if (strcmp(f->layer->attributes[i].name, "beta") == 0) {
            f->layer->attributes[i].f = 1.0F;
        }
    }
}

static qn_status fold_one(folding *f)
{
    qn_tensor weights, bias;
    QN_TRY(compute_factors(f));
    QN_TRY(scale_weights(f, &weights));
    QN_TRY(scale_bias(f, &bias));
    if (!all_finite(&weights) || !all_finite(&bias)) {
        return QN_OK;
    }
    QN_TRY(need_three_inputs(f));
    QN_TRY(replace_constant(f, 1, &weights, "folded"));
    QN_TRY(replace_constant(f, 2, &bias, f->layer->inputs[2] == QN_NO_VALUE ? "bias" : "folded"));
    if (f->layer->op == QN_OP_MATMUL) { /* which has no bias */
        f->layer->op = QN_OP_GEMM;
        f->layer->op_type = qn_op_type(QN_OP_GEMM);
    }
    take_over_output(f);
    return QN_OK;
}

qn_status qn_graph_fold_batchnorm(qn_graph *graph, qn_error *err)
{
    int32_t *uses = qn_graph_count_uses(graph);
    if (uses == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *uses);
    }
    size_t n_uses = graph->n_values;
    qn_binding binding = {0};
    qn_error reason;
    qn_error_init(&reason);
    const bool bound = qn_graph_bind(&binding, graph, 1, &reason) == QN_OK;
    qn_status status = reason.status == QN_ENOMEM ? qn_fail(err, QN_ENOMEM, reason.where, "%s", reason.message) : QN_OK;
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_arena scratch = {0};
        folding f = {.graph = graph,
                     .uses = uses,
                     .n_uses = n_uses,
                     .binding = bound ? &binding : NULL,
                     .scratch = &scratch,
                     .norm = &graph->nodes[n],
                     .err = err};
        if (find_layer(&f)) {
            status = fold_one(&f);
        }
        qn_arena_free(&scratch);
    }
    qn_free(uses);
    qn_binding_free(&binding);
    return status == QN_OK ? qn_graph_tidy(graph, err) : status;
}
