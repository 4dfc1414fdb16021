/* The quantized network as a model: the float graph whose values carry quantizers.
 *
 * Codes of weights and biases are the network's own; scales are those of codings.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arithmetic.h"
#include "graph/model.h"
#include "ptq/aidge/aidge.h"
#include "ptq/ptq.h"

typedef struct modeling {
    const qn_aidge_net *net;
    const qn_aidge_options *options;
    qn_graph *graph;
    qn_arena scratch;
    const qn_aidge_coding *codings; /* per node */
    qn_value_id *residual;          /* per node: the value that a residual node makes */
    qn_error *err;
} modeling;

static qn_aidge_coding coding_of(const modeling *m, int index)
{
    return index == QN_AIDGE_INPUT ? qn_aidge_input_coding(m->options) : m->codings[index];
}

static qn_status set_int(const modeling *m, qn_value_id id, qn_aidge_coding c)
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

/* The graph node that makes a value. */
static qn_node *producer_of(const modeling *m, qn_value_id id)
{
    return &m->graph->nodes[m->graph->values[id].producer];
}

/* Greatest sum that can occur, in doubles, which hold it: integers below 2^53 for all but absurd layers. */
static qn_status check_sums(const modeling *m, const qn_aidge_node *node, qn_aidge_coding x)
{
    double limit = x.is_unsigned ? qn_aidge_unsigned_max(m->options->bits) : qn_aidge_signed_max(m->options->bits) + 1;
    int64_t per_output = node->n_weights / node->weight_dims[0];
    for (int64_t o = 0; o < node->weight_dims[0]; o++) {
        double worst = node->bias != NULL ? ldexp(fabs(node->bias[o]), x.finer) : 0;
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

static qn_status code_bias(const modeling *m, const qn_aidge_node *node, qn_node *made, float scale, int finer)
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
        ((int32_t *)codes.data)[o] = (int32_t)ldexp(node->bias[o], finer);
    }
    qn_status status = qn_ptq_set_coded(graph, id, &q, &codes, m->err);
    qn_tensor_free(&codes);
    made->inputs[2] = id;
    return status;
}

static qn_status code_layer(const modeling *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    qn_aidge_coding x = coding_of(m, node->parents[0]);
    qn_node *made = producer_of(m, node->value);
    float scale = m->codings[index].weight_scale;
    QN_TRY(check_sums(m, node, x));
    QN_TRY(code_weights(m, node, made, scale));
    return code_bias(m, node, made, x.scale * scale, x.finer);
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
    char *text = NULL;
    QN_TRY(qn_preprocess_to_json(&aidge->preprocess, &text, m->err));
    qn_status status = qn_graph_set_metadata(m->graph, "quern.preprocess", text, m->err);
    free(text);
    return status;
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
    m->residual = qn_arena_array(&m->scratch, n, sizeof *m->residual);
    if (m->residual == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *m->residual);
    }
    for (size_t k = 0; k < n; k++) {
        m->residual[k] = QN_NO_VALUE;
    }
    QN_TRY(qn_aidge_choose_codings(&m->codings, m->net, m->options, &m->scratch, err));
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
