/* Widths of accumulators: proven from the codes of weights and biases and the ranges of input codes, and observed over
 * data.
 *
 * A sum of products grows term by term from its bias or ends with it; each term is 0, in the padding, or lies between
 * w * (lo - z) and w * (hi - z), of codes lo..hi widened to hold the zero point z. So every partial sum in any order
 * lies between
 *   min(bias, 0) + sum min(w * (lo - z), w * (hi - z))  and  max(bias, 0) + sum max(...),
 * which is never wider than the symmetric bound of arithmetic.md 3.8. */
#include <string.h>

#include "engine/feed.h"
#include "engine/integer/integer.h"
#include "graph/arithmetic.h"
#include "graph/model.h"
#include "quern/inspect.h"

struct qn_widths {
    qn_arena arena;
    qn_program *program; /* keeps values, one item at a time */
    qn_layer_width *layers;
    int *steps; /* of the layers */
    size_t n_layers;
    int64_t n_items;
};

/* Two's complement bits that hold min..max, at least 1. */
static int bits_of(int64_t min, int64_t max)
{
    int bits = 1;
    while (bits < 64 && (min < -((int64_t)1 << (bits - 1)) || max > ((int64_t)1 << (bits - 1)) - 1)) {
        bits++;
    }
    return bits;
}

static int64_t integer_at(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[i];
    case QN_DTYPE_U8:
        return ((const uint8_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

static int channel_axis(const qn_node *node)
{
    return node->op == QN_OP_CONV || (node->op == QN_OP_GEMM && qn_node_int(node, "transB", 0) != 0) ? 0 : 1;
}

/* Bounds of one output channel. */
typedef struct {
    int64_t min, max, bound;
} span;

/* Input codes less zero point lie in below..above, below <= 0 <= above. */
static span span_of_channel(const qn_value *weights, int axis, int64_t k, int64_t bias, int64_t below, int64_t above)
{
    const qn_tensor *codes = weights->codes;
    const qn_quantizer *q = weights->quantizer;
    int64_t inner = 1, n = codes->dims[axis], zero = q->zero_point[q->n == 1 ? 0 : k];
    for (int d = axis + 1; d < codes->rank; d++) {
        inner *= codes->dims[d];
    }
    span s = {.min = bias < 0 ? bias : 0, .max = bias > 0 ? bias : 0, .bound = bias < 0 ? -bias : bias};
    int64_t most = above > -below ? above : -below;
    for (int64_t i = 0; i < qn_tensor_count(codes) / n; i++) {
        int64_t w = integer_at(codes, (i / inner * n + k) * inner + i % inner) - zero;
        s.min += w < 0 ? w * above : w * below;
        s.max += w < 0 ? w * below : w * above;
        s.bound += (w < 0 ? -w : w) * most;
    }
    return s;
}

/* The bias codes of a layer: its own, or those that an Add behind a MatMul adds to its sums (arithmetic.md 6.6); NULL when
 * it has none. */
static const qn_tensor *bias_of(const qn_graph *graph, const qn_node *node)
{
    if (node->n_inputs > 2 && node->inputs[2] != QN_NO_VALUE) {
        return graph->values[node->inputs[2]].codes;
    }
    for (size_t n = 0; node->op == QN_OP_MATMUL && n < graph->n_nodes; n++) {
        const qn_node *add = &graph->nodes[n];
        for (int i = 0; add->op == QN_OP_ADD && i < 2; i++) {
            const qn_tensor *codes = graph->values[add->inputs[1 - i]].codes;
            if (add->inputs[i] == node->outputs[0] && codes != NULL && codes->dtype == QN_DTYPE_S32 &&
                graph->values[node->outputs[0]].quantizer == NULL) {
                return codes;
            }
        }
    }
    return NULL;
}

static void widen(int64_t *min, int64_t *max, int64_t value)
{
    *min = value < *min ? value : *min;
    *max = value > *max ? value : *max;
}

static qn_status prove_layer(qn_widths *widths, qn_layer_width *layer, const qn_integer_step *step, qn_error *err)
{
    const qn_graph *graph = &widths->program->graph;
    const qn_integer_tensor *x = &((const qn_integer_code *)widths->program->code)->tensors[step->input[0]];
    const qn_node *node = step->node;
    const qn_value *weights = &graph->values[node->inputs[1]];
    const bool apart = step->u.conv.requantize != NULL && step->u.conv.requantize->decode != NULL &&
                       step->u.conv.requantize->decode->bias != NULL; /* added in float, behind the sums */
    const qn_tensor *biases = apart ? NULL : bias_of(graph, node);
    int axis = channel_axis(node);
    *layer = (qn_layer_width){.node_name = node->name,
                              .op_type = node->op_type,
                              .output_name = graph->values[node->outputs[0]].name,
                              .n_channels = weights->codes->dims[axis],
                              .accumulator_bits = layer->accumulator_bits};
    int *bits = qn_arena_array(&widths->arena, (size_t)layer->n_channels, sizeof *bits);
    if (bits == NULL) {
        return qn_fail_memory(err, graph->file, (size_t)layer->n_channels * sizeof *bits);
    }
    /* A Clip may leave no code of 0; padding, and terms not yet summed, are 0 all the same. */
    const int64_t below = x->lo < x->zero_point ? x->lo - x->zero_point : 0;
    const int64_t above = x->hi > x->zero_point ? x->hi - x->zero_point : 0;
    for (int64_t k = 0; k < layer->n_channels; k++) {
        int64_t bias = biases == NULL ? 0 : integer_at(biases, qn_tensor_count(biases) == 1 ? 0 : k);
        span s = span_of_channel(weights, axis, k, bias, below, above);
        bits[k] = bits_of(s.min, s.max);
        if (bits[k] > layer->proven_bits) {
            layer->proven_bits = bits[k];
            layer->worst_channel = k;
        }
        layer->bound = s.bound > layer->bound ? s.bound : layer->bound;
        widen(&layer->proven_min, &layer->proven_max, s.min);
        widen(&layer->proven_min, &layer->proven_max, s.max);
        widen(&layer->bias_min, &layer->bias_max, bias);
    }
    layer->bias_bits = biases != NULL ? bits_of(layer->bias_min, layer->bias_max) : 0;
    layer->headroom_bits = layer->accumulator_bits - layer->proven_bits;
    layer->channel_bits = bits;
    return QN_OK;
}

static bool is_layer(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}

static qn_status prove(qn_widths *widths, qn_error *err)
{
    const qn_integer_code *code = widths->program->code;
    qn_arithmetic arithmetic;
    QN_TRY(qn_graph_get_arithmetic(&widths->program->graph, &arithmetic, err));
    widths->layers = qn_arena_array(&widths->arena, (size_t)code->n_steps, sizeof *widths->layers);
    widths->steps = qn_arena_array(&widths->arena, (size_t)code->n_steps, sizeof *widths->steps);
    if (widths->layers == NULL || widths->steps == NULL) {
        return qn_fail_memory(err, widths->program->graph.file, (size_t)code->n_steps * sizeof *widths->layers);
    }
    for (int i = 0; i < code->n_steps; i++) {
        if (is_layer(&code->steps[i])) {
            qn_layer_width *layer = &widths->layers[widths->n_layers];
            layer->accumulator_bits = arithmetic.accumulator_bits != 0 ? arithmetic.accumulator_bits : 32;
            widths->steps[widths->n_layers++] = i;
            QN_TRY(prove_layer(widths, layer, &code->steps[i], err));
        }
    }
    return QN_OK;
}

qn_status qn_widths_prove(qn_widths **widths, const qn_model *model, qn_error *err)
{
    *widths = NULL;
    if (!qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EINVAL, model->graph.file, "is not quantized; quantize the model first");
    }
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    options.batch = 1;
    options.keep_values = true;
    qn_widths *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    qn_status status = qn_program_create(&made->program, model, &options, err);
    if (status == QN_OK) {
        status = prove(made, err);
    }
    if (status != QN_OK) {
        qn_widths_free(made);
        return status;
    }
    *widths = made;
    return QN_OK;
}

/* What one worker has seen: least and greatest sum per layer, and room for the sums of the widest layer. */
typedef struct {
    int64_t *min, *max;
    int32_t *sums;
} seen;

typedef struct {
    const qn_widths *widths;
    seen *workers;
} watch;

static size_t box_count(const qn_box *box)
{
    return (size_t)(box->y1 - box->y0) * (size_t)(box->x1 - box->x0) * (size_t)(box->k1 - box->k0);
}

/* One item per batch: its values are all there still. */
static qn_status look(void *ctx, const qn_feed_batch *batch, qn_error *err)
{
    const watch *w = ctx;
    const qn_integer_code *code = w->widths->program->code;
    const qn_integer_run run = qn_integer_workspace_run(batch->workspace);
    seen *mine = &w->workers[batch->worker];
    (void)err;
    for (size_t i = 0; i < w->widths->n_layers; i++) {
        const qn_box box = qn_integer_full_box(code, w->widths->steps[i]);
        if (qn_integer_accumulators(&run, w->widths->steps[i], &box, mine->sums)) {
            for (size_t k = 0; k < box_count(&box); k++) {
                widen(&mine->min[i], &mine->max[i], mine->sums[k]);
            }
        }
    }
    return QN_OK;
}

static qn_status make_workers(const qn_widths *widths, seen *workers, int n, qn_arena *arena, qn_error *err)
{
    size_t widest = 1;
    for (size_t i = 0; i < widths->n_layers; i++) {
        const qn_box box = qn_integer_full_box(widths->program->code, widths->steps[i]);
        widest = box_count(&box) > widest ? box_count(&box) : widest;
    }
    for (int i = 0; i < n; i++) {
        workers[i].min = qn_arena_array(arena, widths->n_layers, sizeof *workers[i].min);
        workers[i].max = qn_arena_array(arena, widths->n_layers, sizeof *workers[i].max);
        workers[i].sums = qn_arena_array(arena, widest, sizeof *workers[i].sums);
        if (workers[i].min == NULL || workers[i].max == NULL || workers[i].sums == NULL) {
            return qn_fail_memory(err, NULL, widest * sizeof *workers[i].sums);
        }
        for (size_t k = 0; k < widths->n_layers; k++) {
            workers[i].min[k] = INT64_MAX;
            workers[i].max[k] = INT64_MIN;
        }
    }
    return QN_OK;
}

static void merge(qn_widths *widths, const seen *workers, int n, int64_t n_items)
{
    for (size_t k = 0; k < widths->n_layers; k++) {
        qn_layer_width *layer = &widths->layers[k];
        int64_t min = INT64_MAX, max = INT64_MIN;
        for (int i = 0; i < n; i++) {
            min = workers[i].min[k] < min ? workers[i].min[k] : min;
            max = workers[i].max[k] > max ? workers[i].max[k] : max;
        }
        layer->observed_min = min <= max ? min : 0;
        layer->observed_max = min <= max ? max : 0;
        layer->observed_bits = bits_of(layer->observed_min, layer->observed_max);
    }
    widths->n_items = n_items;
}

qn_status qn_widths_observe(qn_widths *widths, const qn_dataset *data, int n_threads, qn_progress_fn progress,
                            void *progress_ctx, qn_error *err)
{
    if (n_threads < 1) {
        return qn_fail(err, QN_EINVAL, "n_threads", "%d threads; at least 1 is needed", n_threads);
    }
    if (qn_program_batch(widths->program) != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, widths->program->graph.file,
                       "takes %lld items at once; sums are observed for networks that can take one",
                       (long long)qn_program_batch(widths->program));
    }
    qn_arena arena = {0};
    watch w = {.widths = widths, .workers = qn_arena_array(&arena, (size_t)n_threads, sizeof *w.workers)};
    qn_status status = w.workers != NULL ? make_workers(widths, w.workers, n_threads, &arena, err)
                                         : qn_fail_memory(err, NULL, (size_t)n_threads * sizeof *w.workers);
    if (status == QN_OK) {
        qn_feed feed = {.program = widths->program,
                        .data = data,
                        .n_threads = n_threads,
                        .progress = progress,
                        .progress_ctx = progress_ctx,
                        .each = look,
                        .ctx = &w};
        status = qn_feed_run(&feed, NULL, err);
    }
    if (status == QN_OK) {
        merge(widths, w.workers, n_threads, qn_dataset_count(data));
    }
    qn_arena_free(&arena);
    return status;
}

void qn_widths_free(qn_widths *widths)
{
    if (widths != NULL) {
        qn_program_free(widths->program);
        qn_arena_free(&widths->arena);
        qn_free(widths);
    }
}

size_t qn_widths_count(const qn_widths *widths)
{
    return widths->n_layers;
}

const qn_layer_width *qn_widths_at(const qn_widths *widths, size_t index)
{
    return index < widths->n_layers ? &widths->layers[index] : NULL;
}

int64_t qn_widths_n_items(const qn_widths *widths)
{
    return widths->n_items;
}
