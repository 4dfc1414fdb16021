/* The quantized network as a model: the float graph whose values carry quantizers.
 *
 * Codes of weights and biases are the network's own. Scales are f32, chosen from the input on so that the engine's ratios
 * (s_x * s_w) / s_y (doc/spec/arithmetic.md 3.3) are the network's factors, rounded to f32; powers of two are exact. Where a
 * join reads several branches, all get one scale. */
#include <math.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "ptq/aidge/aidge.h"
#include "ptq/ptq.h"

/* The coding of a node's output. */
typedef struct coding {
    float scale;
    bool is_unsigned;
} coding;

typedef struct modeling {
    const qn_aidge_net *net;
    const qn_aidge_options *options;
    qn_graph *graph;
    qn_arena scratch;
    coding *codings;     /* per node */
    float *weight_scale; /* per node: of layers */
    int *same_as; /* per node: of scaling nodes of a join's branch, the one whose scale all have; or its own index */
    bool *done;   /* per node: its coding is chosen */
    qn_value_id *residual; /* per node: the value that a residual node makes */
    qn_error *err;
} modeling;

static coding coding_of(const modeling *m, int index)
{
    if (index == QN_AIDGE_INPUT) {
        return (coding){(float)(m->options->input / qn_aidge_signed_max(m->options->bits)), false};
    }
    return m->codings[index];
}

static qn_status set_int(const modeling *m, qn_value_id id, coding c)
{
    const int32_t zero = 0;
    qn_quantizer q = {.format = {.bits = m->options->bits, .is_signed = !c.is_unsigned},
                      .axis = -1,
                      .n = 1,
                      .scale = &c.scale,
                      .zero_point = &zero};
    if (!isnormal(c.scale)) {
        return qn_fail(m->err, QN_ERANGE, m->graph->values[id].name, "its scale %g is beyond float32", (double)c.scale);
    }
    return qn_graph_set_quantizer(m->graph, id, &q, m->err);
}

/* The weight scale next to `wanted` for which (scale_x * scale) / scale_y is exactly `factor`; `wanted` when there is none. */
static float settle_weight_scale(float wanted, float scale_x, float scale_y, float factor)
{
    float up = wanted, down = wanted;
    for (int i = 0; i < 64; i++) {
        if (scale_x * up / scale_y == factor) {
            return up;
        }
        if (scale_x * down / scale_y == factor) {
            return down;
        }
        up = nextafterf(up, INFINITY);
        down = nextafterf(down, 0);
    }
    return wanted;
}

/* The scale of a scaling node's output, and for a layer before it that of its weights. */
static void scale_of_layer(modeling *m, int index)
{
    const qn_aidge_node *scaling = &m->net->nodes[index];
    int layer = scaling->parents[0];
    const qn_aidge_node *node = &m->net->nodes[layer];
    float scale_x = coding_of(m, node->parents[0]).scale, factor = (float)scaling->scale;
    float weight = (float)(1 / node->gain);
    float scale_y = (float)((double)(scale_x * weight) / scaling->scale);
    if (m->same_as[index] != index) {
        float shared = m->codings[m->same_as[index]].scale;
        float settled =
            settle_weight_scale((float)((double)shared * scaling->scale / (double)scale_x), scale_x, shared, factor);
        if (scale_x * settled / shared == factor || !m->options->shift) {
            weight = settled;
            scale_y = shared;
        }
    }
    m->weight_scale[layer] = weight;
    m->codings[index].scale = scale_y;
}

/* y = x * factor of codes: of a join, or a residual copy. The scale next to it at which the ratio is the factor's f32. */
static void scale_of_copy(modeling *m, int index)
{
    const qn_aidge_node *scaling = &m->net->nodes[index];
    double factor = scaling->scale * (isnan(scaling->coef) ? 1 : scaling->coef);
    float scale_x = coding_of(m, scaling->parents[0]).scale;
    float scale = (float)((double)scale_x / factor);
    if (m->same_as[index] != index) {
        scale = m->codings[m->same_as[index]].scale;
    } else {
        const float beside[2] = {nextafterf(scale, INFINITY), nextafterf(scale, 0)};
        for (int i = 0; i < 2 && scale_x / scale != (float)factor; i++) {
            scale = scale_x / beside[i] == (float)factor ? beside[i] : scale;
        }
    }
    m->codings[index].scale = scale;
}

/* All branches of a join share one scale: that of a copy, whose factor binds it to its source's, sooner than that of a layer,
 * whose weights can have any. */
static void share_scales(modeling *m)
{
    for (int k = 0; k < m->net->n_nodes; k++) {
        const qn_aidge_node *join = &m->net->nodes[k];
        int leader = -1;
        for (int i = 0; qn_aidge_is_join(join) && i < join->n_parents; i++) {
            int at = qn_aidge_previous_scaling(m->net, join->parents[i]);
            bool copies = !qn_aidge_is_affine(&m->net->nodes[m->net->nodes[at].parents[0]]);
            leader = leader < 0 || (copies && qn_aidge_is_affine(&m->net->nodes[m->net->nodes[leader].parents[0]]))
                         ? at
                         : leader;
        }
        for (int i = 0; leader >= 0 && i < join->n_parents; i++) {
            m->same_as[qn_aidge_previous_scaling(m->net, join->parents[i])] = leader;
        }
    }
}

static bool is_ready(const modeling *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    bool ready = m->same_as[index] == index || m->done[m->same_as[index]];
    for (int i = 0; i < node->n_parents; i++) {
        ready = ready && (node->parents[i] == QN_AIDGE_INPUT || m->done[node->parents[i]]);
    }
    return ready;
}

static void choose_coding(modeling *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    m->done[index] = true;
    if (node->op != QN_AIDGE_SCALING) {
        m->codings[index] = coding_of(m, node->parents[0]);
        return;
    }
    m->codings[index].is_unsigned = node->out_unsigned;
    if (qn_aidge_is_affine(&m->net->nodes[node->parents[0]])) {
        scale_of_layer(m, index);
    } else {
        scale_of_copy(m, index);
    }
}

/* In topological order but for branches that wait for the one whose scale they share; nothing that one needs waits for
 * them, as a branch is read by its join alone. Where the library's forks break that, the branch goes its own way. */
static void choose_scales(modeling *m)
{
    for (int n_left = m->net->n_nodes; n_left > 0;) {
        int n_before = n_left, waiting = -1;
        for (int k = 0; k < m->net->n_nodes; k++) {
            if (!m->done[k] && is_ready(m, k)) {
                choose_coding(m, k);
                n_left--;
            } else if (!m->done[k] && waiting < 0) {
                waiting = k;
            }
        }
        if (n_left == n_before) {
            m->same_as[waiting] = waiting;
        }
    }
}

/* The graph node that makes a value. */
static qn_node *producer_of(const modeling *m, qn_value_id id)
{
    return &m->graph->nodes[m->graph->values[id].producer];
}

/* Greatest sum that can occur, in doubles, which hold it: integers below 2^53 for all but absurd layers. */
static qn_status check_sums(const modeling *m, const qn_aidge_node *node, bool unsigned_input)
{
    double limit = unsigned_input ? qn_aidge_unsigned_max(m->options->bits) : qn_aidge_signed_max(m->options->bits) + 1;
    int64_t per_output = node->n_weights / node->weight_dims[0];
    for (int64_t o = 0; o < node->weight_dims[0]; o++) {
        double worst = node->bias != NULL ? fabs(node->bias[o]) : 0;
        for (int64_t i = 0; i < per_output; i++) {
            worst += fabs(node->weight[o * per_output + i]) * limit;
        }
        if (!(worst < 0x1p31)) {
            return qn_fail(
                m->err, QN_ERANGE, node->name,
                "sums of output channel %lld can reach %.0f, beyond 32 bits (its bias is %.0f); fewer bits or "
                "other calibration data may help",
                (long long)o, worst, node->bias != NULL ? node->bias[o] : 0);
        }
    }
    return QN_OK;
}

static qn_status code_weights(const modeling *m, const qn_aidge_node *node, qn_node *made, float scale)
{
    qn_graph *graph = m->graph;
    const qn_tensor *old = graph->values[made->inputs[1]].constant;
    qn_tensor codes = {0};
    qn_value_id id;
    const int32_t zero = 0;
    qn_quantizer q = {.format = {.bits = m->options->bits, .is_signed = true},
                      .axis = -1,
                      .n = 1,
                      .scale = &scale,
                      .zero_point = &zero};
    QN_TRY(qn_ptq_add_constant(graph, graph->values[made->inputs[1]].name, old, &id, m->err));
    QN_TRY(qn_tensor_alloc(&codes, qn_format_dtype(q.format), old->rank, old->dims, m->err));
    bool transposed = node->op == QN_AIDGE_FC && qn_node_int(made, "transB", 0) == 0;
    int64_t n_out = node->weight_dims[0], n_in = node->n_weights / n_out;
    for (int64_t i = 0; i < node->n_weights; i++) {
        int64_t to = transposed ? i % n_in * n_out + i / n_in : i;
        ((int8_t *)codes.data)[to] = (int8_t)node->weight[i];
    }
    qn_status status = qn_ptq_set_coded(graph, id, &q, &codes, m->err);
    qn_tensor_free(&codes);
    made->inputs[1] = id;
    return status;
}

static qn_status code_bias(const modeling *m, const qn_aidge_node *node, qn_node *made, float scale)
{
    if (node->bias == NULL) {
        return QN_OK;
    }
    qn_graph *graph = m->graph;
    qn_tensor codes = {0};
    qn_value_id id;
    const int32_t zero = 0;
    qn_quantizer q = {
        .format = {.bits = 32, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero};
    QN_TRY(qn_ptq_add_constant(graph, graph->values[made->inputs[2]].name, graph->values[made->inputs[2]].constant, &id,
                               m->err));
    QN_TRY(qn_tensor_alloc(&codes, QN_DTYPE_S32, 1, node->weight_dims, m->err));
    for (int64_t o = 0; o < node->weight_dims[0]; o++) {
        ((int32_t *)codes.data)[o] = (int32_t)node->bias[o];
    }
    qn_status status = qn_ptq_set_coded(graph, id, &q, &codes, m->err);
    qn_tensor_free(&codes);
    made->inputs[2] = id;
    return status;
}

static qn_status code_layer(const modeling *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    coding x = coding_of(m, node->parents[0]);
    qn_node *made = producer_of(m, node->value);
    float scale = m->weight_scale[index];
    QN_TRY(check_sums(m, node, x.is_unsigned));
    QN_TRY(code_weights(m, node, made, scale));
    return code_bias(m, node, made, x.scale * scale);
}

/* A residual node is an Identity whose output has parameters of its own. */
static qn_status add_residual(modeling *m, int index, qn_value_id from)
{
    qn_graph *graph = m->graph;
    const char *name = qn_graph_unique_name(graph, m->net->nodes[index].name);
    if (name == NULL) {
        return qn_fail_memory(m->err, m->net->nodes[index].name, 0);
    }
    QN_TRY(qn_graph_add_value(graph, name, &m->residual[index], m->err));
    qn_node identity = {.name = name,
                        .op_type = qn_op_type(QN_OP_IDENTITY),
                        .domain = "",
                        .op = QN_OP_IDENTITY,
                        .n_inputs = 1,
                        .n_outputs = 1,
                        .inputs = &from,
                        .outputs = &m->residual[index]};
    QN_TRY(qn_graph_add_node(graph, &identity, m->err));
    return set_int(m, m->residual[index], m->codings[index]);
}

static qn_status connect_residuals(modeling *m, const qn_aidge_node *join)
{
    for (int i = 0; i < join->n_parents; i++) {
        int parent = join->parents[i];
        if (!m->net->nodes[parent].is_residual) {
            continue;
        }
        if (m->residual[parent] == QN_NO_VALUE) {
            QN_TRY(add_residual(m, parent, producer_of(m, join->value)->inputs[i]));
        }
        producer_of(m, join->value)->inputs[i] = m->residual[parent];
    }
    return QN_OK;
}

static qn_status code_nodes(modeling *m)
{
    for (int k = 0; k < m->net->n_nodes; k++) {
        const qn_aidge_node *node = &m->net->nodes[k];
        if (node->op == QN_AIDGE_SCALING) {
            const qn_aidge_node *source = &m->net->nodes[node->parents[0]];
            if (!node->is_residual && source->value != QN_NO_VALUE) {
                QN_TRY(set_int(m, source->value, m->codings[k]));
            }
        } else if (qn_aidge_is_affine(node)) {
            QN_TRY(code_layer(m, k));
        } else if (qn_aidge_is_join(node)) {
            QN_TRY(connect_residuals(m, node));
        } else {
            QN_TRY(set_int(m, node->value, m->codings[k]));
        }
    }
    return QN_OK;
}

/* Flatten has no node in the network. Nodes are in topological order. */
static qn_status code_flattened(const modeling *m)
{
    qn_graph *graph = m->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        const qn_quantizer *q = node->op == QN_OP_FLATTEN ? graph->values[node->inputs[0]].quantizer : NULL;
        if (q != NULL) {
            QN_TRY(qn_graph_set_quantizer(graph, node->outputs[0], q, m->err));
        }
    }
    return QN_OK;
}

static qn_status record(const modeling *m, const qn_aidge *aidge)
{
    qn_arithmetic arithmetic = {.requantize = m->options->shift ? QN_REQUANTIZE_SHIFT : QN_REQUANTIZE_FLOAT};
    QN_TRY(qn_graph_set_arithmetic(m->graph, &arithmetic, m->err));
    const char *const pairs[][2] = {{"quern.version", qn_version()},
                                    {"quern.recipe", "aidge"},
                                    {"quern.model_sha256", aidge->model_sha256},
                                    {"quern.data_sha256", aidge->data_sha256}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i][1][0] != '\0') {
            QN_TRY(qn_graph_set_metadata(m->graph, pairs[i][0], pairs[i][1], m->err));
        }
    }
    m->graph->sha256[0] = '\0'; /* that was of the float file */
    return QN_OK;
}

static qn_status check_forms(const qn_aidge *aidge, qn_error *err)
{
    if (!aidge->options.round || aidge->options.bits > 8) {
        return qn_fail(err, QN_EUNSUPPORTED, "recipe aidge",
                       "a model needs integers of at most 8 bits; use round=1 and bits=2 to 8, or write .npz");
    }
    for (int k = 0; k < aidge->net.n_nodes; k++) {
        if (aidge->net.nodes[k].op == QN_AIDGE_LEAKY) {
            return qn_fail(err, QN_EUNSUPPORTED, aidge->net.nodes[k].name,
                           "LeakyRelu leaves real numbers between the integers; write .npz instead");
        }
    }
    return QN_OK;
}

static qn_status fill(modeling *m, const qn_aidge *aidge, qn_error *err)
{
    size_t n = (size_t)m->net->n_nodes;
    m->codings = qn_arena_array(&m->scratch, n, sizeof *m->codings);
    m->weight_scale = qn_arena_array(&m->scratch, n, sizeof *m->weight_scale);
    m->same_as = qn_arena_array(&m->scratch, n, sizeof *m->same_as);
    m->done = qn_arena_array(&m->scratch, n, sizeof *m->done);
    m->residual = qn_arena_array(&m->scratch, n, sizeof *m->residual);
    if (m->codings == NULL || m->weight_scale == NULL || m->same_as == NULL || m->done == NULL || m->residual == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *m->codings);
    }
    for (size_t k = 0; k < n; k++) {
        m->residual[k] = QN_NO_VALUE;
        m->same_as[k] = (int)k;
    }
    share_scales(m);
    choose_scales(m);
    QN_TRY(set_int(m, m->graph->inputs[0], coding_of(m, QN_AIDGE_INPUT)));
    QN_TRY(code_nodes(m));
    QN_TRY(code_flattened(m));
    QN_TRY(record(m, aidge));
    QN_TRY(qn_graph_tidy(m->graph, err));
    return qn_graph_verify(m->graph, err);
}

qn_status qn_aidge_model(qn_model **quantized, const qn_aidge *aidge, const qn_model *model, qn_error *err)
{
    *quantized = NULL;
    QN_TRY(check_forms(aidge, err));
    if (strcmp(model->graph.sha256, aidge->model_sha256) != 0) {
        return qn_fail(err, QN_EINVAL, model->graph.file, "is another network than the one that was quantized");
    }
    qn_model *result = qn_alloc(sizeof *result);
    if (result == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *result);
    }
    qn_status status = qn_aidge_prepare(&result->graph, model, err);
    modeling m = {.net = &aidge->net, .options = &aidge->options, .graph = &result->graph, .err = err};
    if (status == QN_OK) {
        status = fill(&m, aidge, err);
    }
    qn_arena_free(&m.scratch);
    if (status != QN_OK) {
        qn_model_free(result);
        return status;
    }
    *quantized = result;
    return QN_OK;
}
