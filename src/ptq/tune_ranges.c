/* Ranges of activations by what they do to the network's output.
 *
 * A rule such as least squared error looks at one value at a time, and does not know which of its elements matter to the
 * answer. This pass starts from what such a rule chose for all values, tries what other rules would choose for all of them,
 * and then moves one range after the other: to the whole calibrated range, or in steps outwards or inwards, as long as
 * the squared error of the output over some of the calibration set falls.
 * Weights are still float, so nothing but activations is tuned. Values that only move codes follow. One sweep in the order
 * of the network, so the result depends on nothing but graph, ranges and data. */
#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "ptq/recipe.h"
#include "quern/evaluate.h"

enum { MAX_ITEMS = 256, MIN_ITEMS = 8, MAX_STEPS = 4 };
static const double step_ratio = 1.15, least_gain = 0.01;

typedef struct tuner {
    qn_ptq *ptq;
    qn_tensor *items; /* f32, some of the calibration set, preprocessed: one for each input of the network */
    size_t n_items;
    qn_dataset *data;
    qn_tensor wanted; /* the float network's output */
    double loss[2];   /* of the items with even and with odd numbers */
    int64_t n_units;
} tuner;

/* May the parameters of this value be moved? */
static bool is_tunable(const qn_quantizer *q)
{
    return q != NULL && !q->dynamic && q->n == 1 &&
           (qn_format_parameters(q->format) & (QN_PARAM_SCALE | QN_PARAM_EXP_BIAS)) != 0 &&
           q->format.kind <= QN_FORMAT_TERNARY;
}

/* Values chosen by themselves: not those that moves hand on. */
static bool is_unit(const qn_graph *graph, qn_value_id id)
{
    const qn_value *value = &graph->values[id];
    if (!is_tunable(value->quantizer) || value->constant != NULL) {
        return false;
    }
    const qn_node *producer = value->producer >= 0 ? &graph->nodes[value->producer] : NULL;
    return producer == NULL || qn_ptq_rule_of(producer->op)->role != QN_PTQ_MOVE ||
           graph->values[producer->inputs[0]].quantizer == NULL;
}

/* Give `id` parameters, and what moves its codes the same. */
static qn_status set_params(qn_graph *graph, qn_value_id id, const qn_params *params, qn_error *err)
{
    const qn_format format = graph->values[id].quantizer->format;
    QN_TRY(qn_ptq_set_params(graph, id, format, params, err));
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        if (node->op == QN_OP_REMOVED || qn_ptq_rule_of(node->op)->role != QN_PTQ_MOVE) {
            continue;
        }
        const qn_quantizer *moved = graph->values[node->inputs[0]].quantizer;
        for (int i = 0; moved != NULL && i < node->n_outputs; i++) {
            const qn_value_id out = node->outputs[i];
            if (out != QN_NO_VALUE && graph->values[out].quantizer != NULL &&
                !qn_quantizer_equal(moved, graph->values[out].quantizer)) {
                QN_TRY(qn_graph_set_quantizer(graph, out, moved, err));
            }
        }
    }
    return QN_OK;
}

static qn_status run(const tuner *t, qn_engine engine, qn_tensor *output, qn_error *err)
{
    qn_evaluate_options options;
    qn_evaluation result;
    QN_TRY(qn_evaluate_options_init(&options, t->ptq->model, err));
    options.engine = engine;
    options.n_threads = t->ptq->n_threads;
    options.against = NULL;
    return qn_evaluate(&result, t->ptq->model, t->data, &options, output, err);
}

static qn_status measure(tuner *t, double loss[2], qn_error *err)
{
    qn_tensor output = {0};
    QN_TRY(run(t, QN_ENGINE_SIMULATE, &output, err));
    const float *a = output.data, *b = t->wanted.data;
    const int64_t n = output.dims[0], per_item = n > 0 ? qn_tensor_count(&output) / n : 0;
    loss[0] = loss[1] = 0;
    for (int64_t i = 0; i < n * per_item; i++) {
        double d = (double)a[i] - (double)b[i];
        loss[i / per_item % 2] += d * d;
    }
    qn_tensor_free(&output);
    return QN_OK;
}

/* Try parameters; they stay when the output gains enough, on both halves of the items: what only fits one is chance. */
static qn_status try_params(tuner *t, qn_value_id id, const qn_params *params, bool *kept, qn_error *err)
{
    qn_graph *graph = t->ptq->graph;
    const qn_params was = qn_quantizer_get(graph->values[id].quantizer, 0);
    double loss[2];
    QN_TRY(set_params(graph, id, params, err));
    QN_TRY(measure(t, loss, err));
    *kept = loss[0] < t->loss[0] && loss[1] < t->loss[1] && /* false for NaN */
            loss[0] + loss[1] < (t->loss[0] + t->loss[1]) * (1 - least_gain);
    if (*kept) {
        memcpy(t->loss, loss, sizeof loss);
        return QN_OK;
    }
    return set_params(graph, id, &was, err);
}

static bool same_params(const qn_params *a, const qn_params *b)
{
    return a->scale == b->scale && a->zero_point == b->zero_point && a->exp_bias == b->exp_bias;
}

/* Parameters for a range `ratio` times as wide, within what the calibration saw. */
static qn_params scaled(const tuner *t, qn_value_id id, double ratio)
{
    const qn_value *value = &t->ptq->graph->values[id];
    const qn_format format = value->quantizer->format;
    qn_params params = qn_quantizer_get(value->quantizer, 0);
    if (format.kind == QN_FORMAT_INT && format.fit == QN_FIT_AFFINE) {
        const qn_range *range = qn_calibration_find(t->ptq->calibration, value->name);
        qn_format_limits limits;
        qn_format_limits_get(&limits, format, &params);
        double lo = limits.lowest * ratio, hi = limits.highest * ratio;
        if (range != NULL && lo < (double)range->min) {
            lo = range->min < 0 ? (double)range->min : 0;
        }
        if (range != NULL && hi > (double)range->max) {
            hi = range->max > 0 ? (double)range->max : 0;
        }
        qn_ptq_affine(format, lo, hi, &params.scale, &params.zero_point);
    } else if ((qn_format_parameters(format) & QN_PARAM_EXP_BIAS) != 0) {
        params.exp_bias += ratio > 1 ? 1 : -1;
    } else {
        bool doubles = format.fit == QN_FIT_PO2;
        double scale = (double)params.scale * (!doubles ? ratio : ratio > 1 ? 2 : 0.5);
        params.scale = scale >= 0x1p-126 && scale <= 0x1p126 ? (float)scale : params.scale;
    }
    return params;
}

/* Steps in one direction while they help; *moved says whether any did. */
static qn_status walk(tuner *t, qn_value_id id, double ratio, bool *moved, qn_error *err)
{
    *moved = false;
    for (int i = 0; i < MAX_STEPS; i++) {
        const qn_params now = qn_quantizer_get(t->ptq->graph->values[id].quantizer, 0), next = scaled(t, id, ratio);
        bool kept = false;
        if (same_params(&now, &next)) {
            break;
        }
        QN_TRY(try_params(t, id, &next, &kept, err));
        if (!kept) {
            break;
        }
        *moved = true;
    }
    return QN_OK;
}

static qn_status tune(tuner *t, qn_value_id id, qn_error *err)
{
    const double whole = 1e30; /* held to what the calibration saw */
    const qn_quantizer *q = t->ptq->graph->values[id].quantizer;
    bool moved = false;
    if (q->format.kind == QN_FORMAT_INT && q->format.fit == QN_FIT_AFFINE) {
        const qn_params now = qn_quantizer_get(q, 0), next = scaled(t, id, whole);
        if (!same_params(&now, &next)) {
            QN_TRY(try_params(t, id, &next, &moved, err));
        }
    }
    if (!moved) {
        QN_TRY(walk(t, id, step_ratio, &moved, err));
    }
    return moved ? QN_OK : walk(t, id, 1 / step_ratio, &moved, err);
}

/* Parameters that a rule gives a value, clamped by a Relu or Clip that makes it. */
static qn_status fit(const tuner *t, qn_value_id id, const char *rule, qn_params *params, qn_error *err)
{
    const qn_graph *graph = t->ptq->graph;
    const qn_value *value = &graph->values[id];
    const qn_node *producer = value->producer >= 0 ? &graph->nodes[value->producer] : NULL;
    float lo = -INFINITY, hi = INFINITY;
    if (producer != NULL && (!qn_ptq_bounds(graph, producer, &lo, &hi) || lo > hi)) {
        lo = -INFINITY;
        hi = INFINITY;
    }
    return qn_calibration_fit(t->ptq->calibration, value->name, value->quantizer->format, rule, (double)lo, (double)hi,
                              params, err);
}

/* One rule for all values, where the output gains by it. Formats with a fit of their own for values keep it. */
static qn_status try_rule(tuner *t, const char *rule, qn_error *err)
{
    qn_graph *graph = t->ptq->graph;
    qn_params *was = qn_arena_array(&t->ptq->scratch, graph->n_values + 1, sizeof *was);
    double loss[2];
    if (was == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *was);
    }
    for (size_t v = 0; v < graph->n_values; v++) {
        if (is_unit(graph, (qn_value_id)v)) {
            qn_params params;
            was[v] = qn_quantizer_get(graph->values[v].quantizer, 0);
            QN_TRY(fit(t, (qn_value_id)v, rule, &params, err));
            QN_TRY(set_params(graph, (qn_value_id)v, &params, err));
        }
    }
    QN_TRY(measure(t, loss, err));
    if (loss[0] < t->loss[0] && loss[1] < t->loss[1]) {
        memcpy(t->loss, loss, sizeof loss);
        return QN_OK;
    }
    for (size_t v = 0; v < graph->n_values; v++) {
        if (is_unit(graph, (qn_value_id)v)) {
            QN_TRY(set_params(graph, (qn_value_id)v, &was[v], err));
        }
    }
    return QN_OK;
}

/* Items at equal distances, as many as the network's size allows. */
static int64_t choose_items(const tuner *t, qn_error *err)
{
    const double budget = 4e11; /* multiply-accumulates of the whole pass, about */
    qn_binding binding = {0};
    if (qn_graph_bind(&binding, t->ptq->graph, 1, err) != QN_OK) {
        return -1;
    }
    double macs = 1e4;
    for (size_t n = 0; n < t->ptq->graph->n_nodes; n++) {
        macs += (double)qn_node_macs(&binding, &t->ptq->graph->nodes[n]);
    }
    qn_binding_free(&binding);
    double n = budget / (macs * 3 * (double)(t->n_units + 1));
    int64_t most = qn_dataset_count(t->ptq->data) < MAX_ITEMS ? qn_dataset_count(t->ptq->data) : MAX_ITEMS;
    return n < (double)most ? (int64_t)n : most;
}

static qn_status read_array(const qn_dataset *data, int64_t n, qn_tensor *items, qn_error *err)
{
    int64_t item[QN_MAX_RANK], dims[QN_MAX_RANK] = {n}, count = 1, total = qn_dataset_count(data);
    const int rank = qn_dataset_item_shape(data, item) + 1;
    if (rank > QN_MAX_RANK) {
        return qn_fail(err, QN_ELIMIT, qn_dataset_name(data), "items of %d dimensions", rank - 1);
    }
    for (int i = 1; i < rank; i++) {
        dims[i] = item[i - 1];
        count *= dims[i]; /* the data set has it */
    }
    QN_TRY(qn_tensor_alloc(items, QN_DTYPE_F32, rank, dims, err));
    for (int64_t i = 0; i < n; i++) {
        QN_TRY(qn_dataset_read(data, i * total / n, 1, (float *)items->data + i * count, err));
    }
    return QN_OK;
}

static qn_status read_items(tuner *t, int64_t n, qn_error *err)
{
    const size_t n_arrays = qn_dataset_n_arrays(t->ptq->data);
    t->items = qn_arena_array(&t->ptq->scratch, n_arrays, sizeof *t->items);
    if (t->items == NULL) {
        return qn_fail_memory(err, t->ptq->graph->file, n_arrays * sizeof *t->items);
    }
    for (; t->n_items < n_arrays; t->n_items++) {
        t->items[t->n_items] = (qn_tensor){0};
        QN_TRY(read_array(qn_dataset_array(t->ptq->data, t->n_items), n, &t->items[t->n_items], err));
    }
    return qn_dataset_of_tensors(&t->data, t->items, n_arrays, err);
}

/* What the network gives without any quantizer. Weights are float still. */
static qn_status run_float(tuner *t, qn_error *err)
{
    qn_graph *graph = t->ptq->graph;
    const qn_quantizer **kept = qn_arena_array(&t->ptq->scratch, graph->n_values + 1, sizeof *kept);
    if (kept == NULL) {
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *kept);
    }
    for (size_t v = 0; v < graph->n_values; v++) {
        kept[v] = graph->values[v].quantizer;
        graph->values[v].quantizer = NULL;
    }
    qn_status status = run(t, QN_ENGINE_FLOAT, &t->wanted, err);
    for (size_t v = 0; v < graph->n_values; v++) {
        graph->values[v].quantizer = kept[v];
    }
    return status;
}

static qn_status tune_all(tuner *t, qn_error *err)
{
    qn_ptq *ptq = t->ptq;
    int64_t done = 0;
    QN_TRY(run_float(t, err));
    QN_TRY(measure(t, t->loss, err));
    static const char *const rules[] = {"minmax", "percentile:99.999", "percentile:99.99", "percentile:99.9"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        QN_TRY(try_rule(t, rules[i], err));
    }
    for (size_t v = 0; v < ptq->graph->n_values; v++) {
        if (!is_unit(ptq->graph, (qn_value_id)v)) {
            continue;
        }
        QN_TRY(tune(t, (qn_value_id)v, err));
        if (ptq->progress != NULL && !ptq->progress(ptq->progress_ctx, ++done, t->n_units)) {
            return qn_fail(err, QN_ECANCELED, ptq->graph->file, "tuning of ranges was stopped");
        }
    }
    return QN_OK;
}

qn_status qn_ptq_tune_ranges(qn_ptq *ptq, qn_error *err)
{
    tuner t = {.ptq = ptq};
    for (size_t v = 0; v < ptq->graph->n_values; v++) {
        t.n_units += is_unit(ptq->graph, (qn_value_id)v);
    }
    int64_t n = choose_items(&t, err);
    if (n < 0) {
        return err != NULL ? err->status : QN_EINVAL;
    }
    if (n < MIN_ITEMS || t.n_units == 0) {
        return t.n_units == 0 ? QN_OK
                              : qn_ptq_add_remark(ptq, err, "pass tune-ranges is left out: %s",
                                                  qn_dataset_count(ptq->data) < MIN_ITEMS
                                                      ? "it needs 8 items of data or more"
                                                      : "the network is too large to run that often");
    }
    qn_status status = read_items(&t, n, err);
    status = status == QN_OK ? tune_all(&t, err) : status;
    qn_dataset_close(t.data);
    for (size_t i = 0; i < t.n_items; i++) {
        qn_tensor_free(&t.items[i]);
    }
    qn_tensor_free(&t.wanted);
    return status;
}
