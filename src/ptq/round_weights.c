/* Weights and biases from data, layer by layer in the order of the network: gather moments, round, go on with the rounded
 * layer in place. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "ptq/moments.h"
#include "ptq/round_layer.h"
#include "ptq/settings.h"

/* A node with weights that can be rounded. */
typedef struct {
    qn_node *node;
    qn_columns columns;
    qn_ptq_round_options options; /* those asked for, without what the layer is too wide for */
    bool done;
} layer;

typedef struct {
    qn_ptq *ptq;
    const qn_ptq_round_options *options;
    layer *layers;
    size_t n_layers;
    qn_graph reference;
} rounding;

static bool wants_products(const qn_ptq_round_options *o)
{
    return o->feed || o->descend || o->search || o->target;
}

enum { MAX_PRODUCTS = 2304 };

/* The format of a node's grid where it alone says what the codes are; NULL where passes may move them. */
static const qn_format *held_format(const qn_ptq *ptq, const qn_node *node)
{
    const qn_quantizer *grid = qn_ptq_grid_of(ptq, node->inputs[1]);
    qn_format codes;
    float unit;
    bool rounds;
    return grid != NULL && qn_ptq_weight_integers(&codes, &unit, &rounds, grid->format) && !rounds ? &grid->format
                                                                                                   : NULL;
}

static qn_status remark_held(qn_ptq *ptq, const qn_format *held, int64_t n_held, qn_error *err)
{
    char name[QN_FORMAT_NAME_MAX];
    if (n_held == 0) {
        return QN_OK;
    }
    qn_format_name(name, *held);
    return qn_ptq_add_remark(
        ptq, err, "%lld %s the codes that %s gives: weights there are not rounded by data, nor biases corrected",
        (long long)n_held, n_held == 1 ? "layer keeps" : "layers keep", name);
}

static qn_status list_layers(rounding *r, qn_error *err)
{
    const qn_format *held = NULL;
    int64_t n_wide = 0, n_held = 0;
    qn_graph *graph = r->ptq->graph;
    qn_binding binding = {0};
    r->layers = qn_alloc(graph->n_nodes * sizeof *r->layers);
    if (r->layers == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_nodes * sizeof *r->layers);
    }
    qn_status status = qn_graph_bind(&binding, graph, 1, err);
    for (size_t n = 0; status == QN_OK && n < graph->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        layer *next = &r->layers[r->n_layers];
        bool has = false;
        const qn_format *own = qn_ptq_rule_of(node->op)->has_weights ? held_format(r->ptq, node) : NULL;
        n_held += own != NULL;
        held = own != NULL ? own : held;
        if (!qn_ptq_rule_of(node->op)->has_weights || qn_ptq_float_constant(graph, node->inputs[1]) == NULL ||
            !qn_ptq_can_round(r->ptq, node)) {
            continue;
        }
        next->node = node;
        next->options = *r->options;
        status = qn_columns_of_node(&next->columns, &has, &binding, node, err);
        if (has && next->columns.k > MAX_PRODUCTS && wants_products(&next->options)) {
            /* matrices of K x K: memory and time grow faster than what they bring */
            next->options = (qn_ptq_round_options){.correct = r->options->correct};
            n_wide++;
        }
        r->n_layers += has;
    }
    qn_binding_free(&binding);
    status = status == QN_OK ? remark_held(r->ptq, held, n_held, err) : status;
    if (status == QN_OK && n_wide > 0) {
        status =
            qn_ptq_add_remark(r->ptq, err, "%lld layers with more than %d weights per output are rounded to nearest",
                              (long long)n_wide, (int)MAX_PRODUCTS);
    }
    return status;
}

/* The network as it was before anything was rounded. */
static qn_status make_reference(rounding *r, qn_error *err)
{
    QN_TRY(qn_graph_clone(&r->reference, r->ptq->graph, err));
    for (const qn_ptq_pin *pin = r->ptq->pins; pin != NULL; pin = pin->next) {
        r->reference.values[pin->weights].constant = pin->original;
        if (pin->bias != QN_NO_VALUE) {
            r->reference.values[pin->bias].constant = pin->original_bias;
        }
    }
    return QN_OK;
}

/* A constant of the node's own for the bias, zeros if there was none; false for operators without one. */
static qn_status own_bias(qn_ptq *ptq, qn_node *node, int64_t n, qn_value_id *id, bool *has, qn_error *err)
{
    *has = node->op != QN_OP_MATMUL;
    if (!*has) {
        int operand;
        qn_node *add = qn_ptq_bias_add(ptq, node, &operand);
        *has = add != NULL;
        return *has ? qn_ptq_own_constant(ptq, add, operand, id, err) : QN_OK;
    }
    if (node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE) {
        const qn_tensor *bias = qn_ptq_float_constant(ptq->graph, node->inputs[2]);
        *has = bias != NULL && bias->rank == 1 && bias->dims[0] == n;
        return *has ? qn_ptq_own_constant(ptq, node, 2, id, err) : QN_OK;
    }
    qn_tensor zeros = {0};
    QN_TRY(qn_tensor_alloc(&zeros, QN_DTYPE_F32, 1, &n, err));
    qn_status status = qn_ptq_add_constant(ptq->graph, ptq->graph->values[node->inputs[1]].name, &zeros, id, err);
    qn_tensor_free(&zeros);
    QN_TRY(status);
    qn_value_id inputs[3] = {node->inputs[0], node->inputs[1], *id};
    return qn_ptq_set_inputs(ptq->graph, node, inputs, 3, err);
}

static qn_status install(qn_ptq *ptq, const qn_node *node, const qn_round_layer *data, qn_value_id weights,
                         qn_value_id bias, qn_error *err)
{
    const qn_tensor *old = ptq->graph->values[weights].constant;
    qn_tensor on_grid = {0}, corrected = {0};
    QN_TRY(qn_tensor_alloc(&on_grid, QN_DTYPE_F32, old->rank, old->dims, err));
    qn_round_layer_scatter(on_grid.data, data, qn_ptq_channel_axis(node) == 0);
    qn_status status = qn_ptq_pin_scale(ptq, weights, &on_grid, qn_ptq_channel_axis(node), data->m, data->scale, err);
    qn_tensor_free(&on_grid);
    if (status != QN_OK || bias == QN_NO_VALUE) {
        return status;
    }
    qn_ptq_pin *pin = qn_ptq_find_pin(ptq, weights);
    const qn_tensor *was = pin->bias != QN_NO_VALUE ? pin->original_bias : ptq->graph->values[bias].constant;
    QN_TRY(qn_tensor_alloc(&corrected, QN_DTYPE_F32, 1, &data->m, err));
    for (int64_t c = 0; c < data->m; c++) {
        ((float *)corrected.data)[c] = (float)((double)((const float *)was->data)[c] + data->bias_change[c]);
    }
    pin->bias = bias;
    pin->original_bias = was;
    status = qn_graph_set_constant(ptq->graph, bias, &corrected, err);
    qn_tensor_free(&corrected);
    return status;
}

/* Scales, codes and what biases have to make good, for weights that are the node's own. */
static qn_status settle(qn_ptq *ptq, const qn_node *node, const qn_ptq_round_options *options, bool has_bias,
                        qn_round_layer *data, const char *where, qn_error *err)
{
    const qn_tensor *now = ptq->graph->values[node->inputs[1]].constant;
    const qn_ptq_pin *pin = qn_ptq_find_pin(ptq, node->inputs[1]);
    bool rows = qn_ptq_channel_axis(node) == 0, keeps = pin != NULL && !wants_products(options);
    qn_round_layer_gather(data, pin != NULL ? pin->original->data : now->data, rows);
    QN_TRY(keeps ? qn_round_layer_keep(data, now->data, pin->scale, rows, where, err)
                 : qn_round_layer_run(data, options, has_bias, ptq->n_threads, where, err));
    qn_round_layer_correct(data);
    return QN_OK;
}

qn_status qn_round_node(qn_ptq *ptq, qn_node *node, const qn_ptq_round_options *options, const qn_moments *moments,
                        int n_folds, qn_error *err)
{
    char where[QN_NODE_WHERE_MAX];
    qn_node_where(where, ptq->graph, node);
    qn_value_id weights, bias = QN_NO_VALUE;
    const qn_quantizer *wanted = qn_ptq_grid_of(ptq, node->inputs[1]);
    double levels[QN_ROUND_LEVELS];
    qn_round_grid grid;
    bool has_bias = false;
    QN_TRY(qn_round_grid_of_format(&grid, levels, wanted->format, where, err));
    if (wanted->format.kind == QN_FORMAT_INT) {
        grid.lo = -grid.hi; /* symmetric, as the codes of quantize_weights are */
    }
    QN_TRY(qn_ptq_own_constant(ptq, node, 1, &weights, err));
    int64_t m = ptq->graph->values[weights].constant->dims[qn_ptq_channel_axis(node)];
    if (options->correct) {
        QN_TRY(own_bias(ptq, node, m, &bias, &has_bias, err));
    }
    qn_round_layer data;
    QN_TRY(qn_round_layer_make(&data, m, moments, n_folds, where, err));
    data.grid = grid;
    data.may_scale = qn_ptq_may_scale(ptq, wanted);
    for (int64_t c = 0; c < m; c++) {
        data.fixed[c] = qn_ptq_grid_scale(wanted, c);
    }
    qn_status status = settle(ptq, node, options, has_bias, &data, where, err);
    if (status == QN_OK) {
        status = install(ptq, node, &data, weights, has_bias ? bias : QN_NO_VALUE, err);
    }
    qn_round_layer_free(&data);
    return status;
}

/* Two, to see how targets learned on one half do on the other; one where matrices are so large that memory counts. */
static int folds_of(const rounding *r, const layer *l)
{
    return l->options.target && l->columns.k <= 2048 && qn_dataset_count(r->ptq->data) >= 2 ? 2 : 1;
}

static int64_t bytes_of(const rounding *r, const layer *l)
{
    int64_t squares = wants_products(&l->options) ? l->columns.k * l->columns.n_groups * l->columns.k : 0;
    return 16 * folds_of(r, l) * (squares + l->columns.k * l->columns.n_groups);
}

/* The layers of the next run, from `first` on: all that read the same value or, when layers do not wait for each other, as
 * many as fit into memory. */
static size_t choose_run(const rounding *r, size_t first, size_t *chosen)
{
    const int64_t most = 256 << 20;
    int64_t n_bytes = 0;
    size_t n = 0;
    for (size_t i = first; i < r->n_layers; i++) {
        const layer *l = &r->layers[i];
        bool fits = i == first || n_bytes + bytes_of(r, l) <= most;
        bool together = r->options->float_only || l->node->inputs[0] == r->layers[first].node->inputs[0];
        if (!l->done && fits && together) {
            n_bytes += bytes_of(r, l);
            chosen[n++] = i;
        }
    }
    return n;
}

static qn_status run_layers(rounding *r, const size_t *chosen, size_t n, qn_error *err)
{
    qn_moments *moments = qn_alloc(n * 2 * sizeof *moments);
    qn_moments_wish *wishes = qn_alloc(n * sizeof *wishes);
    qn_status status = moments == NULL || wishes == NULL ? qn_fail_memory(err, NULL, n * sizeof *wishes) : QN_OK;
    qn_moments_options options = {.float_only = r->options->float_only, .reference = &r->reference};
    for (size_t i = 0; status == QN_OK && i < n; i++) {
        const layer *l = &r->layers[chosen[i]];
        int64_t enough = 4 * l->columns.k > 16384 ? 4 * l->columns.k : 16384;
        wishes[i] = (qn_moments_wish){.node = l->node,
                                      .columns = l->columns,
                                      .products = wants_products(&l->options),
                                      .cross = l->options.target,
                                      .n_columns = r->options->n_columns > 0 ? r->options->n_columns : enough,
                                      .n_folds = folds_of(r, l),
                                      .moments = &moments[2 * i]};
    }
    if (status == QN_OK) {
        status = qn_moments_gather(r->ptq, &options, wishes, n, err);
    }
    bool gathered = status == QN_OK;
    for (size_t i = 0; status == QN_OK && i < n; i++) {
        status = qn_round_node(r->ptq, r->layers[chosen[i]].node, &r->layers[chosen[i]].options, &moments[2 * i],
                               wishes[i].n_folds, err);
        r->layers[chosen[i]].done = true;
    }
    for (size_t i = 0; gathered && i < 2 * n; i++) {
        qn_moments_free(&moments[i]);
    }
    qn_free(moments);
    qn_free(wishes);
    return status;
}

static qn_status run_all(rounding *r, qn_error *err)
{
    QN_TRY(list_layers(r, err));
    QN_TRY(make_reference(r, err));
    size_t *chosen = qn_alloc(r->n_layers * sizeof *chosen);
    qn_status status = chosen != NULL ? QN_OK : qn_fail_memory(err, NULL, r->n_layers * sizeof *chosen);
    for (size_t first = 0; status == QN_OK && first < r->n_layers; first++) {
        if (!r->layers[first].done) {
            status = run_layers(r, chosen, choose_run(r, first, chosen), err);
        }
    }
    qn_free(chosen);
    return status;
}

qn_status qn_ptq_round_weights(qn_ptq *ptq, const qn_ptq_round_options *options, qn_error *err)
{
    rounding r = {.ptq = ptq, .options = options};
    if (ptq->data == NULL || qn_dataset_count(ptq->data) < 1) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file, "rounding weights by data needs a data set");
    }
    qn_status status = run_all(&r, err);
    qn_graph_free(&r.reference);
    qn_free(r.layers);
    return status;
}

/* An option of the pass under way, which a caller without a recipe does not have. */
static bool wants(const qn_ptq *ptq, const char *name, bool fallback)
{
    const char *text = ptq->step != NULL ? qn_ptq_option(ptq, name) : "";
    return text[0] != '\0' ? strcmp(text, "yes") == 0 : fallback;
}

static qn_status round_by_options(qn_ptq *ptq, bool descend, qn_error *err)
{
    const qn_ptq_round_options options = {.feed = true,
                                          .descend = descend,
                                          .search = wants(ptq, "search", true),
                                          .target = wants(ptq, "target", true),
                                          .float_only = wants(ptq, "one-run", false),
                                          .correct = wants(ptq, "biases", true)};
    return qn_ptq_round_weights(ptq, &options, err);
}

qn_status qn_ptq_gptq(qn_ptq *ptq, qn_error *err)
{
    return round_by_options(ptq, false, err);
}

qn_status qn_ptq_learned_rounding(qn_ptq *ptq, qn_error *err)
{
    return round_by_options(ptq, true, err);
}

qn_status qn_ptq_correct_bias(qn_ptq *ptq, qn_error *err)
{
    const qn_ptq_round_options options = {.correct = true};
    return qn_ptq_round_weights(ptq, &options, err);
}
