/* Codes of weights and biases, on the grids that choose_weights left.
 *
 * Where the input is coded in integers, too, weights of Conv, Gemm and MatMul are symmetric integers per output channel or
 * per tensor and biases integers at scale_x * scale_w[c]: what the integer engine computes with. A channel whose sums
 * could reach 2^31 gets a greater weight scale (arithmetic.md 2.4). Formats of others whose values are integers times a
 * scale, as QKeras' quantized_bits, become such integers, too: codes and scales are theirs (arithmetic.md 2.6). All other
 * weights are coded as their grid says, and simulated. */
#include <math.h>
#include <string.h>

#include "ptq/settings.h"

/* The coded forms under way. */
typedef struct {
    int64_t n; /* channels */
    bool per_tensor;
    qn_tensor weights, bias;
    float *scale, *bias_scale; /* one each per channel */
    int32_t *zero_point;       /* n zeros */
    int64_t n_raised;
} coded_weights;

static qn_status coded_alloc(coded_weights *coded, qn_ptq *ptq, const qn_tensor *weights, int64_t n, bool has_bias,
                             qn_error *err)
{
    coded->n = n;
    coded->scale = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->scale);
    coded->bias_scale = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->bias_scale);
    coded->zero_point = qn_arena_array(&ptq->scratch, (size_t)n, sizeof *coded->zero_point);
    if (coded->scale == NULL || coded->bias_scale == NULL || coded->zero_point == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *coded->scale);
    }
    QN_TRY(qn_tensor_alloc(&coded->weights, QN_DTYPE_S8, weights->rank, weights->dims, err));
    return has_bias ? qn_tensor_alloc(&coded->bias, QN_DTYPE_S32, 1, &n, err) : QN_OK;
}

/* What a node's coding depends on. */
typedef struct {
    const qn_node *node;
    const qn_tensor *weights, *bias; /* bias NULL when there is none, or when it stays float */
    qn_node *bias_node;              /* the node that reads the bias, and as which input */
    int bias_input;
    const qn_quantizer *grid, *q_x;
    const qn_arithmetic *arithmetic;
    qn_format codes;      /* integers for the engine */
    float unit;           /* scales of the grid that one of them counts */
    const qn_format *own; /* NULL, or the format that alone says what the codes are */
    float scale_y;        /* 0: the result is not coded */
    int bias_bits;
    int axis;
    const char *where;
} coding;

static bool all_zero(const qn_ptq_channel *channel)
{
    bool zero = true;
    for (int64_t k = 0; zero && k < channel->n; k++) {
        zero = channel->weights[(k / channel->run) * channel->step + k % channel->run] == 0;
    }
    return zero;
}

/* Scales that are somebody else's are not moved to where shifts have their ratio. */
static qn_status check_ratio(const coding *c, float scale, int64_t channel, qn_error *err)
{
    if (c->own == NULL || c->scale_y <= 0 || scale <= 0 ||
        qn_ptq_ratio_scale(c->arithmetic, c->q_x->scale[0], c->scale_y, scale) == scale) {
        return QN_OK;
    }
    char name[QN_FORMAT_NAME_MAX];
    qn_format_name(name, *c->own);
    return qn_fail(
        err, QN_EINVAL, c->where,
        "weights in %s keep their scales: channel %lld's gives the ratio %.9g, which '%s' does not have; take "
        "alpha=auto_po2 with activations uint8:po2 (recipe po2), or requantize float or fixed",
        name, (long long)channel, (double)c->q_x->scale[0] * (double)scale / (double)c->scale_y,
        qn_requantize_text(c->arithmetic->requantize));
}

/* All channels once, asking for `common` scale where it is not 0, else for the grid's; *greatest is the greatest scale
 * that came out. */
static qn_status encode_once(coded_weights *coded, const coding *c, float common, float *greatest, qn_error *err)
{
    int64_t n_elems = qn_tensor_count(c->weights), inner = 1;
    for (int d = c->axis + 1; d < c->weights->rank; d++) {
        inner *= c->weights->dims[d];
    }
    int32_t zero = c->q_x->zero_point[0], lo, hi;
    qn_format_range(c->q_x->format, &lo, &hi);
    qn_ptq_channel channel = {.n = n_elems / (coded->n > 0 ? coded->n : 1),
                              .run = inner,
                              .step = inner * coded->n,
                              .has_bias = c->bias != NULL,
                              .scale_x = c->q_x->scale[0],
                              .max_x = hi - zero > zero - lo ? hi - zero : zero - lo,
                              .bits = c->codes.bits,
                              .format = c->own,
                              .unit = c->unit,
                              .po2 = c->own != NULL && c->own->fit == QN_FIT_QKERAS_PO2,
                              .limit_b = ldexp(1, c->bias_bits - 1),
                              .arithmetic = c->arithmetic,
                              .scale_y = c->scale_y};
    coded->n_raised = 0;
    *greatest = 0;
    for (int64_t k = 0; k < coded->n; k++) {
        int32_t bias_code;
        bool raised;
        channel.weights = (const float *)c->weights->data + k * inner;
        channel.bias = c->bias != NULL ? ((const float *)c->bias->data)[k] : 0;
        channel.own_scale = c->grid->scale[c->grid->n == 1 ? 0 : k];
        const bool fitted = c->own == NULL || c->own->fit != QN_FIT_DEFAULT;
        const bool only_bias = fitted && channel.has_bias && !coded->per_tensor && all_zero(&channel);
        channel.wanted = common > 0 ? common : only_bias ? 0 : channel.own_scale * c->unit;
        QN_TRY(common > 0 ? QN_OK : check_ratio(c, channel.wanted, k, err));
        QN_TRY(qn_ptq_channel_encode(&channel, &coded->scale[k], (int8_t *)coded->weights.data + k * inner, &bias_code,
                                     &raised, c->where, err));
        coded->n_raised += raised;
        coded->bias_scale[k] = c->q_x->scale[0] * coded->scale[k];
        *greatest = coded->scale[k] > *greatest ? coded->scale[k] : *greatest;
        if (c->bias != NULL) {
            ((int32_t *)coded->bias.data)[k] = bias_code;
        }
    }
    return QN_OK;
}

/* Per tensor, all channels have the scale that the most demanding one needs. */
static qn_status encode_channels(coded_weights *coded, const coding *c, qn_error *err)
{
    enum { MAX_ROUNDS = 64 };
    float greatest;
    QN_TRY(encode_once(coded, c, 0, &greatest, err));
    int64_t raised = coded->n_raised;
    for (int round = 0; coded->per_tensor && round < MAX_ROUNDS; round++) {
        const float common = greatest;
        QN_TRY(encode_once(coded, c, common, &greatest, err));
        if (greatest == common) {
            coded->n_raised = raised > 0 ? 1 : 0; /* the one scale of all */
            return QN_OK;
        }
    }
    return coded->per_tensor ? qn_fail(err, QN_ERANGE, c->where, "no scale per tensor keeps all sums below 2^31")
                             : QN_OK;
}

/* Put the coded forms in the place of the float constants. */
static qn_status install(qn_ptq *ptq, qn_node *node, const coded_weights *coded, const coding *c, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    qn_value_id weights = node->inputs[1], bias;
    const int64_t n = coded->per_tensor ? 1 : coded->n;
    qn_quantizer q_w = {.format = c->codes,
                        .axis = coded->per_tensor ? -1 : c->axis,
                        .n = n,
                        .scale = coded->scale,
                        .zero_point = coded->zero_point};
    QN_TRY(qn_ptq_set_coded(graph, weights, &q_w, &coded->weights, err));
    if (coded->bias.data != NULL) {
        QN_TRY(qn_ptq_own_constant(ptq, c->bias_node, c->bias_input, &bias, err));
        qn_quantizer q_b = {.format = {.bits = 32, .is_signed = true},
                            .axis = coded->per_tensor ? -1 : 0,
                            .n = n,
                            .scale = coded->bias_scale,
                            .zero_point = coded->zero_point};
        QN_TRY(qn_ptq_set_coded(graph, bias, &q_b, &coded->bias, err));
    }
    char name[QN_FORMAT_NAME_MAX];
    if (c->own != NULL) {
        qn_format_name(name, *c->own);
        QN_TRY(qn_ptq_add_note(ptq, weights, 0, err, "codes and scales of %s", name));
    }
    if (coded->n_raised > 0) {
        return qn_ptq_add_note(ptq, weights, coded->n_raised, err,
                               "scale raised in %lld of %lld channels, so that bias and sum stay below 2^31%s",
                               (long long)coded->n_raised, (long long)n,
                               c->own != NULL ? "; codes there are those of the raised scale" : "");
    }
    return QN_OK;
}

static qn_status code_integers(qn_ptq *ptq, qn_node *node, const coding *c, qn_error *err)
{
    coded_weights coded = {.per_tensor = c->grid->n == 1 && c->grid->axis < 0};
    qn_status status = coded_alloc(&coded, ptq, c->weights, c->weights->dims[c->axis], c->bias != NULL, err);
    if (status == QN_OK) {
        status = encode_channels(&coded, c, err);
        if (status != QN_OK && ptq->graph->file != NULL) {
            qn_error_prefix(err, ptq->graph->file);
        }
    }
    if (status == QN_OK) {
        status = install(ptq, node, &coded, c, err);
    }
    qn_tensor_free(&coded.weights);
    qn_tensor_free(&coded.bias);
    return status;
}

/* A constant coded as `q` says. */
static qn_status code_constant(qn_graph *graph, qn_value_id id, const qn_quantizer *q, qn_error *err)
{
    const qn_tensor *t = graph->values[id].constant;
    qn_tensor codes = {0};
    QN_TRY(qn_tensor_alloc(&codes, qn_format_dtype(q->format), t->rank, t->dims, err));
    qn_quantizer_encode(codes.data, t->data, q, t->rank, t->dims);
    qn_status status = qn_ptq_set_coded(graph, id, q, &codes, err);
    qn_tensor_free(&codes);
    return status;
}

/* Weights in somebody's format whose sums are not integers: as the integers that its codes stand for, which more can read,
 * where their scales are normal. */
static qn_status code_own(qn_graph *graph, qn_value_id id, const coding *c, qn_arena *arena, qn_error *err)
{
    const qn_tensor *t = graph->values[id].constant;
    const int64_t n = qn_tensor_count(t), n_sets = c->grid->n;
    float *scale = qn_arena_array(arena, (size_t)n_sets, sizeof *scale);
    int32_t *zeros = qn_arena_array(arena, (size_t)n_sets, sizeof *zeros);
    if (scale == NULL || zeros == NULL) {
        return qn_fail_memory(err, c->where, (size_t)n_sets * sizeof *scale);
    }
    bool normal = true;
    for (int64_t s = 0; s < n_sets; s++) {
        scale[s] = c->grid->scale[s] * c->unit;
        normal = normal && isnormal(scale[s]);
    }
    if (!normal) {
        return code_constant(graph, id, c->grid, err);
    }
    const qn_params one = {.scale = 1, .multiplier = 1};
    int64_t inner = 1;
    for (int d = c->grid->axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    qn_tensor codes = {0};
    QN_TRY(qn_tensor_alloc(&codes, QN_DTYPE_S8, t->rank, t->dims, err));
    for (int64_t k = 0; k < n; k++) {
        const qn_params own = qn_quantizer_get(c->grid, k / inner % n_sets);
        const uint32_t code = qn_format_code(*c->own, &own, (double)((const float *)t->data)[k], 0);
        ((int8_t *)codes.data)[k] = (int8_t)(qn_format_value(*c->own, &one, code) / (double)c->unit);
    }
    const qn_quantizer q = {
        .format = c->codes, .axis = c->grid->axis, .n = n_sets, .scale = scale, .zero_point = zeros};
    qn_status status = qn_ptq_set_coded(graph, id, &q, &codes, err);
    qn_tensor_free(&codes);
    return status;
}

/* A bias that has no accumulator to go to: in the format that was asked for, unless that is the integer of accumulators. */
static qn_status code_bias(qn_ptq *ptq, qn_node *node, const qn_ptq_formats *formats, qn_error *err)
{
    qn_value_id id;
    QN_TRY(qn_ptq_own_constant(ptq, node, 2, &id, err));
    qn_fit_options options;
    qn_fit_options_init(&options);
    if (formats->bias.block > 0) {
        options.axis = 0;
        options.group = formats->bias.block;
    }
    qn_quantizer *q;
    QN_TRY(qn_fit(&q, ptq->graph->values[id].constant, formats->bias, &options, err));
    qn_status status = code_constant(ptq->graph, id, q, err);
    qn_quantizer_free(q);
    return status;
}

float qn_ptq_result_scale(const qn_ptq *ptq, const qn_node *node)
{
    const qn_graph *graph = ptq->graph;
    int operand;
    const qn_node *add = qn_ptq_bias_add(ptq, node, &operand);
    node = add != NULL && graph->values[node->outputs[0]].quantizer == NULL ? add : node;
    const qn_quantizer *q = graph->values[node->outputs[0]].quantizer;
    for (size_t n = 0; q == NULL && n < graph->n_nodes; n++) {
        const qn_node *next = &graph->nodes[n];
        bool clips = next->op == QN_OP_RELU || next->op == QN_OP_CLIP;
        q = clips && next->inputs[0] == node->outputs[0] ? graph->values[next->outputs[0]].quantizer : NULL;
    }
    return q != NULL && !q->dynamic && q->n == 1 && q->scale != NULL ? q->scale[0] : 0;
}

static bool is_integer_input(const qn_quantizer *q)
{
    return q != NULL && !q->dynamic && q->n == 1 && qn_ptq_is_integer_code(q->format);
}

/* Whether a grid's codes are integers that the engine takes, and which. */
static bool is_integer_grid(coding *c)
{
    bool rounds;
    bool has = qn_ptq_weight_integers(&c->codes, &c->unit, &rounds, c->grid->format) && c->grid->group == 0 &&
               (c->grid->axis == c->axis || c->grid->axis < 0);
    c->own = rounds ? NULL : &c->grid->format;
    return has;
}

static qn_status quantize_node(qn_ptq *ptq, qn_node *node, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    char where[QN_NODE_WHERE_MAX];
    qn_node_where(where, graph, node);
    const qn_quantizer *grid = qn_ptq_grid_of(ptq, node->inputs[1]);
    if (grid == NULL) {
        return QN_OK; /* stays float */
    }
    const qn_ptq_formats formats = qn_ptq_formats_of(ptq->settings, node, node->name);
    qn_node *bias_node = node;
    int bias_input = 2;
    bool has_bias = node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE && !formats.bias_float;
    if (!has_bias && graph->values[node->outputs[0]].quantizer == NULL) {
        qn_node *add = qn_ptq_bias_add(ptq, node, &bias_input);
        has_bias = add != NULL && !formats.bias_float;
        bias_node = has_bias ? add : node;
    }
    coding c = {.node = node,
                .bias_node = bias_node,
                .bias_input = bias_input,
                .weights = qn_ptq_float_constant(graph, node->inputs[1]),
                .bias = has_bias ? qn_ptq_float_constant(graph, bias_node->inputs[bias_input]) : NULL,
                .grid = grid,
                .q_x = graph->values[node->inputs[0]].quantizer,
                .arithmetic = &ptq->settings->arithmetic,
                .scale_y = qn_ptq_result_scale(ptq, node),
                .bias_bits = formats.bias.kind == QN_FORMAT_INT ? formats.bias.bits : 32,
                .axis = qn_ptq_channel_axis(node),
                .where = where};
    if (c.weights == NULL || (has_bias && c.bias == NULL)) {
        return qn_fail(err, QN_EINTERNAL, where, "the weights or bias are not ready to be coded");
    }
    const bool integers = is_integer_grid(&c);
    if (is_integer_input(c.q_x) && integers && !formats.bias_float && formats.bias.kind == QN_FORMAT_INT) {
        return code_integers(ptq, node, &c, err);
    }
    QN_TRY(integers && c.own != NULL ? code_own(graph, node->inputs[1], &c, &ptq->scratch, err)
                                     : code_constant(graph, node->inputs[1], grid, err));
    return has_bias && bias_node == node && formats.bias.kind != QN_FORMAT_INT ? code_bias(ptq, node, &formats, err)
                                                                               : QN_OK;
}

qn_status qn_ptq_quantize_weights(qn_ptq *ptq, qn_error *err)
{
    qn_graph *graph = ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        const qn_quantizer *alone =
            qn_ptq_rule_of(node->op)->only_weights ? qn_ptq_grid_of(ptq, node->inputs[1]) : NULL;
        if (qn_ptq_rule_of(node->op)->has_weights) {
            QN_TRY(quantize_node(ptq, &graph->nodes[n], err));
        } else if (alone != NULL) {
            QN_TRY(code_constant(graph, node->inputs[1], alone, err));
        }
    }
    return QN_OK;
}
