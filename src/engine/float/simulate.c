/* Simulation (doc/spec/arithmetic.md, section 5): values are encoded and decoded where they arise, item by item.
 *
 * The item of a value that has a batch dimension is one index of its first dimension, any other value is one item. Where
 * all elements share one parameter set, their order does not matter and they are quantized where they lie; otherwise in
 * C order, which for other layouts is made in scratch memory. Groups along the channels are the same elements when the
 * channels come last.
 *
 * In programs of the float engine values are not rounded, but held between the least and the greatest that their codes
 * reach: a Relu or Clip may have been fused into those. */
#include <string.h>

#include "engine/float/float_program.h"
#include "format/codec.h"
#include "format/dynamic.h"
#include "format/histogram.h"
#include "format/quantizer.h"
#include "format/walk.h"

/* How the codec sees an item: as it lies, or a copy in C order with the channels in their place or innermost. */
typedef enum item_form { AS_IT_LIES, CHANNELS_FIRST, CHANNELS_LAST } item_form;

typedef struct {
    const qn_quantizer *quantizer; /* its parameters; not for dynamic ones */
    qn_format_kernel kernel;
    qn_dynamic dynamic; /* made for the item as the codec sees it */
    int rank;           /* of that */
    int64_t dims[QN_MAX_RANK];
    int64_t n_items, item_stride; /* elements in memory from one item to the next */
    item_form form;
    int64_t channels, inner, block, stride_block; /* of the item in memory, as in qn_value_view */
    size_t copy_bytes;                            /* at the start of scratch; the rest is for dynamic */
    bool rounds;                                  /* else values are only held within reach of the codes */
    int64_t n_padding;                            /* elements after the last channel at each place */
} simulate_params;

static bool simulates(const qn_float_builder *b)
{
    return b->program->options.engine == QN_ENGINE_SIMULATE;
}

/* Dynamic parameters, and formats that do not saturate, hold back nothing. */
const qn_quantizer *qn_float_applied(const qn_float_builder *b, qn_value_id value)
{
    const qn_quantizer *q = b->graph->values[value].quantizer;
    bool holds = q != NULL && !q->dynamic && q->format.overflow == QN_OVERFLOW_SATURATE;
    return simulates(b) || holds ? q : NULL;
}

static void gather(const simulate_params *p, float *to, const float *from)
{
    const int64_t step_c = p->form == CHANNELS_LAST ? 1 : p->inner, step_i = p->form == CHANNELS_LAST ? p->channels : 1;
    for (int64_t first = 0; first < p->channels; first += p->block) {
        int64_t n = p->channels - first < p->block ? p->channels - first : p->block;
        const float *block = from + first / p->block * p->stride_block;
        for (int64_t i = 0; i < p->inner; i++) {
            for (int64_t c = 0; c < n; c++) {
                to[(first + c) * step_c + i * step_i] = block[i * p->block + c];
            }
        }
    }
}

static void scatter(const simulate_params *p, float *to, const float *from)
{
    const int64_t step_c = p->form == CHANNELS_LAST ? 1 : p->inner, step_i = p->form == CHANNELS_LAST ? p->channels : 1;
    for (int64_t first = 0; first < p->channels; first += p->block) {
        int64_t n = p->channels - first < p->block ? p->channels - first : p->block;
        float *block = to + first / p->block * p->stride_block;
        for (int64_t i = 0; i < p->inner; i++) {
            for (int64_t c = 0; c < n; c++) {
                block[i * p->block + c] = from[(first + c) * step_c + i * step_i];
            }
        }
    }
}

/* Padding is zero whatever the format makes of zeros. */
static void clear_padding(const simulate_params *p, float *item)
{
    float *last = item + p->channels / p->block * p->stride_block + (p->block - p->n_padding);
    for (int64_t i = 0; i < p->inner; i++) {
        memset(last + i * p->block, 0, (size_t)p->n_padding * sizeof *last);
    }
}

typedef struct {
    float *x;
    const qn_quantizer *quantizer;
} holding;

static void hold_span(void *ctx, const qn_span *span)
{
    const holding *h = ctx;
    const qn_params params = qn_quantizer_get(h->quantizer, span->set);
    qn_format_limits limits;
    qn_format_limits_get(&limits, h->quantizer->format, &params);
    const float lo = (float)limits.lowest, hi = (float)limits.highest;
    for (int64_t i = 0; i < span->n; i++) {
        float *x = &h->x[span->first + i * span->stride];
        *x = *x < lo ? lo : *x > hi ? hi : *x;
    }
}

static void quantize(const simulate_params *p, float *x, void *scratch)
{
    if (p->quantizer == NULL) {
        qn_dynamic_fake(&p->dynamic, x, x, scratch);
        return;
    }
    if (!p->rounds) {
        holding h = {x, p->quantizer};
        qn_walk(p->quantizer->axis, p->quantizer->group, p->rank, p->dims, hold_span, &h);
        return;
    }
    qn_codec codec = {.x = x, .y = x};
    qn_codec_run(&codec, p->quantizer, &p->kernel, p->rank, p->dims);
}

static void run_simulate(const void *params, void *const *args)
{
    const simulate_params *p = params;
    float *item = args[0];
    unsigned char *scratch = args[2];
    for (int64_t i = 0; i < p->n_items; i++, item += p->item_stride) {
        if (p->form == AS_IT_LIES) {
            quantize(p, item, scratch);
        } else {
            float *copy = (float *)(void *)scratch;
            gather(p, copy, item);
            quantize(p, copy, scratch + p->copy_bytes);
            scatter(p, item, copy);
        }
        if (p->n_padding > 0) {
            clear_padding(p, item);
        }
    }
}

static void set_shape(simulate_params *p, int rank, const int64_t *dims)
{
    p->rank = rank;
    memcpy(p->dims, dims, (size_t)rank * sizeof *dims);
}

/* One row of everything in memory: elements that share their parameters need no order. */
static void see_flat(simulate_params *p, int64_t n_stored, bool all_items)
{
    int64_t n = all_items ? n_stored : n_stored / p->n_items;
    p->n_items = all_items ? 1 : p->n_items;
    p->form = AS_IT_LIES;
    set_shape(p, 1, &n);
}

/* Describe the item in memory. */
static void describe_item(simulate_params *p, const qn_float_tensor *tensor, int64_t n_items)
{
    qn_value_view view = qn_float_layout_view(tensor, NULL, 1, 1);
    p->n_items = n_items;
    p->item_stride = tensor->n_stored / n_items;
    p->channels = view.channels;
    p->inner = view.inner;
    p->block = view.block;
    p->stride_block = view.stride_block;
    p->n_padding = tensor->layout == QN_FLOAT_BLOCKED ? (p->block - p->channels % p->block) % p->block : 0;
}

/* The item's shape is `dims`. Channels that come last are axis 1 of two. */
static void choose_form(simulate_params *p, const qn_float_tensor *tensor, const qn_quantizer *q, const int64_t *dims)
{
    bool by_index = q->format.rounding == QN_ROUND_STOCHASTIC; /* what is drawn depends on the place in C order */
    bool of_range = qn_fit_is_of_range(&q->format);            /* which the order of values does not change */
    bool one_set = q->axis < 0 && q->group == 0 && !by_index;
    set_shape(p, tensor->rank, dims);
    if (one_set && !q->dynamic && p->n_padding == 0) {
        see_flat(p, tensor->n_stored, true);
    } else if (one_set && (!q->dynamic || (p->n_padding == 0 && of_range))) {
        see_flat(p, tensor->n_stored, false);
    } else if (q->dynamic && q->group > 0 && q->axis == 1 && p->inner > 1 && !by_index && of_range) {
        p->form = tensor->layout == QN_FLOAT_LAST ? AS_IT_LIES : CHANNELS_LAST;
        set_shape(p, 2, (const int64_t[]){p->inner, p->channels});
    } else {
        p->form = tensor->layout == QN_FLOAT_PLAIN ? AS_IT_LIES : CHANNELS_FIRST;
    }
    if (p->form != AS_IT_LIES) {
        p->n_padding = 0; /* what is not scattered stays */
    }
}

/* Parameters are those of one item; or, of a model with fixed shapes, of the whole value. */
static qn_status check_parameters(const qn_float_builder *b, qn_value_id value, const qn_quantizer *q, int rank,
                                  int64_t *dims, int64_t *n_items, qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    if (qn_quantizer_check(q, rank, dims, NULL, &reason) == QN_OK) {
        return QN_OK;
    }
    if (*n_items > 1) {
        int64_t first = dims[0];
        dims[0] = *n_items;
        if (qn_quantizer_check(q, rank, dims, NULL, NULL) == QN_OK) {
            *n_items = 1;
            return QN_OK;
        }
        dims[0] = first;
    }
    return qn_float_fail(b, err, reason.status, "the quantizer of '%s' does not fit it: %s",
                         b->graph->values[value].name, reason.message);
}

static qn_status add_step(qn_float_builder *b, simulate_params *p, qn_float_id id, qn_error *err)
{
    int64_t n_bytes = (int64_t)(p->copy_bytes + p->dynamic.n_bytes);
    qn_float_id sources[] = {id, QN_FLOAT_NONE};
    if (n_bytes > 0) {
        void *constant = NULL;
        if (qn_float_is_constant(b, id)) {
            constant = qn_float_memory(b, (size_t)n_bytes, 1, err);
            if (constant == NULL) {
                return QN_ENOMEM;
            }
        }
        QN_TRY(qn_float_new_constant(b, QN_DTYPE_U8, 1, &n_bytes, constant, &sources[1], err));
    }
    return qn_float_add_kernel(b, run_simulate, p, sizeof *p, id, 2, sources, err);
}

static qn_status prepare_codec(qn_float_builder *b, simulate_params *p, const qn_quantizer *q, qn_error *err)
{
    const qn_cpu cpu = b->program->options.cpu;
    p->rounds = simulates(b);
    p->kernel = qn_format_kernel_select(&q->format, cpu);
    if (p->form != AS_IT_LIES) {
        p->copy_bytes = (size_t)(p->channels * p->inner) * sizeof(float);
        p->copy_bytes += (QN_CACHE_LINE - p->copy_bytes % QN_CACHE_LINE) % QN_CACHE_LINE;
    }
    if (!q->dynamic) {
        p->quantizer = q;
        return QN_OK;
    }
    return qn_dynamic_init(&p->dynamic, q, p->rank, p->dims, cpu, err);
}

qn_status qn_float_simulate(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    const qn_quantizer *q = qn_float_applied(b, value);
    const qn_float_tensor *tensor = qn_float_at(b, *id);
    if (q == NULL || tensor->dtype != QN_DTYPE_F32 || tensor->n_elems == 0) {
        return QN_OK;
    }
    int64_t n_items = b->batched[value] ? tensor->dims[0] : 1, dims[QN_MAX_RANK];
    memcpy(dims, tensor->dims, sizeof dims);
    dims[0] = b->batched[value] ? 1 : dims[0];
    QN_TRY(check_parameters(b, value, q, tensor->rank, dims, &n_items, err));
    if (tensor->layout == QN_FLOAT_OTHER || (tensor->layout != QN_FLOAT_PLAIN && dims[0] != 1)) {
        QN_TRY(qn_float_to_plain(b, *id, id, err));
    }
    const qn_float_tensor seen = *qn_float_at(b, *id); /* the array of tensors grows */
    simulate_params params = {0};
    describe_item(&params, &seen, n_items);
    choose_form(&params, &seen, q, dims);
    QN_TRY(prepare_codec(b, &params, q, err));
    return add_step(b, &params, *id, err);
}

qn_status qn_float_fake_constant(qn_float_builder *b, qn_value_id value, float *y, const qn_tensor *x, qn_error *err)
{
    const qn_quantizer *q = b->graph->values[value].quantizer;
    int64_t dims[QN_MAX_RANK], n_items = 1;
    memcpy(dims, x->dims, sizeof dims);
    QN_TRY(check_parameters(b, value, q, x->rank, dims, &n_items, err));
    if (!q->dynamic) {
        qn_quantizer_fake(y, x->data, q, x->rank, dims);
        return QN_OK;
    }
    qn_dynamic dynamic;
    QN_TRY(qn_dynamic_init(&dynamic, q, x->rank, dims, b->program->options.cpu, err));
    void *scratch = qn_alloc(dynamic.n_bytes);
    if (scratch == NULL) {
        return qn_fail_memory(err, b->graph->file, dynamic.n_bytes);
    }
    qn_dynamic_fake(&dynamic, y, x->data, scratch);
    qn_free(scratch);
    return QN_OK;
}

static bool has_quantizers(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        if (graph->values[i].quantizer != NULL) {
            return true;
        }
    }
    return false;
}

/* Does the first dimension count items? It does when it changes with the batch. Networks of fixed shapes, and those that
 * take no other batch, have only the one: there a first dimension of that size is taken for it. */
qn_status qn_float_find_batched(qn_float_builder *b, bool whole, qn_error *err)
{
    const qn_graph *graph = b->graph;
    if (whole || !has_quantizers(graph)) {
        return QN_OK;
    }
    qn_binding other;
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_graph_bind(&other, graph, b->binding->batch + 1, &reason);
    if (status == QN_ENOMEM) {
        return qn_fail(err, QN_ENOMEM, graph->file, "%s", reason.message);
    }
    bool compared = status == QN_OK && other.batch != b->binding->batch;
    for (size_t i = 0; i < graph->n_values; i++) {
        const qn_bound_value *value = &b->binding->values[i];
        int64_t expected = compared ? other.values[i].dims[0] : b->binding->batch;
        b->batched[i] = value->known == NULL && value->rank > 0 && (expected != value->dims[0]) == compared;
    }
    if (status == QN_OK) {
        qn_binding_free(&other);
    }
    return QN_OK;
}
