/* Simulation (doc/spec/arithmetic.md, section 5): values are encoded and decoded where they arise, item by item.
 *
 * The item of a value that has a batch dimension is one index of its first dimension, any other value is one item. Where
 * all elements share one parameter set, their order does not matter and they are quantized where they lie; otherwise in
 * C order, which for other layouts is made in scratch memory. Groups along an axis are the same elements when the axis
 * comes last, where they are consecutive.
 *
 * In programs of the float engine values are not rounded, but held between the least and the greatest that their codes
 * reach: a Relu or Clip may have been fused into those. */
#include <string.h>

#include "engine/float/float_program.h"
#include "engine/float/simulate.h"
#include "format/histogram.h"
#include "format/quantizer.h"

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

static void set_shape(qn_simulate *p, int rank, const int64_t *dims)
{
    p->rank = rank;
    memcpy(p->dims, dims, (size_t)rank * sizeof *dims);
}

/* One row of everything in memory: elements that share their parameters need no order. */
static void see_flat(qn_simulate *p, int64_t n_stored, bool all_items)
{
    int64_t n = all_items ? n_stored : n_stored / p->n_items;
    p->n_items = all_items ? 1 : p->n_items;
    p->form = QN_SIMULATE_AS_IT_LIES;
    set_shape(p, 1, &n);
}

/* Describe the item in memory. */
static void describe_item(qn_simulate *p, const qn_float_tensor *tensor, int64_t n_items)
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

/* An item's dimensions in the order they have in memory; returns their number and where axis `axis` of the value is. */
static int dims_in_memory(const qn_float_tensor *tensor, int axis, int64_t dims[QN_MAX_RANK], int *at)
{
    int rank = 0;
    bool last = tensor->layout == QN_FLOAT_LAST;
    if (!last) {
        dims[rank++] = tensor->dims[1];
    }
    for (int i = 2; i < tensor->rank; i++) {
        dims[rank++] = tensor->dims[i];
    }
    if (last) {
        dims[rank++] = tensor->dims[1];
    }
    *at = !last ? axis - 1 : axis == 1 ? rank - 1 : axis - 2;
    return rank;
}

/* Groups along an axis behind the batch, of a tensor whose layout is not blocked: whatever lies before the axis counts as
 * more items, and what lies behind it as places, whose channels are what is along the axis. */
static void see_groups(qn_simulate *p, const qn_float_tensor *tensor, int axis)
{
    int64_t dims[QN_MAX_RANK], outer = 1;
    int at, rank = dims_in_memory(tensor, axis, dims, &at);
    p->inner = 1;
    for (int i = 0; i < rank; i++) {
        outer *= i < at ? dims[i] : 1;
        p->inner *= i > at ? dims[i] : 1;
    }
    p->channels = dims[at];
    p->block = 1;
    p->stride_block = p->inner;
    if (p->inner == 1) {
        p->form = QN_SIMULATE_AS_IT_LIES;
        set_shape(p, 2, (const int64_t[]){outer, p->channels});
        return;
    }
    p->form = QN_SIMULATE_CHANNELS_LAST;
    p->n_items *= outer;
    p->item_stride /= outer;
    set_shape(p, 2, (const int64_t[]){p->inner, p->channels});
}

/* The item's shape is `dims`; `axis` is that of the quantizer in the shape that the codec sees. */
static void choose_form(qn_simulate *p, const qn_float_tensor *tensor, const qn_quantizer *q, const int64_t *dims,
                        int *axis)
{
    bool by_index = q->format.rounding == QN_ROUND_STOCHASTIC; /* what is drawn depends on the place in C order */
    bool of_range = qn_fit_is_of_range(&q->format);            /* which the order of values does not change */
    bool one_set = q->axis < 0 && q->group == 0 && !by_index;
    bool groups = q->dynamic && q->group > 0 && !by_index && of_range && dims[0] == 1;
    set_shape(p, tensor->rank, dims);
    *axis = q->axis;
    if (one_set && !q->dynamic && p->n_padding == 0) {
        see_flat(p, tensor->n_stored, true);
    } else if (one_set && (!q->dynamic || (p->n_padding == 0 && of_range))) {
        see_flat(p, tensor->n_stored, false);
    } else if (groups && q->axis > 0 && tensor->layout != QN_FLOAT_BLOCKED) {
        see_groups(p, tensor, q->axis);
        *axis = 1;
    } else if (groups && q->axis == 1) {
        p->form = QN_SIMULATE_CHANNELS_LAST;
        set_shape(p, 2, (const int64_t[]){p->inner, p->channels});
    } else {
        p->form = tensor->layout == QN_FLOAT_PLAIN ? QN_SIMULATE_AS_IT_LIES : QN_SIMULATE_C_ORDER;
    }
    if (p->form != QN_SIMULATE_AS_IT_LIES) {
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

static qn_status add_step(qn_float_builder *b, qn_simulate *p, qn_float_id id, qn_error *err)
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
    return qn_float_add_kernel(b, qn_float_run_simulate, p, sizeof *p, id, 2, sources, err);
}

/* For those who look at a program that keeps its values. */
static qn_status keep_record(qn_float_builder *b, qn_value_id value, qn_float_id id, int rank, const int64_t *dims,
                             int64_t n_items, qn_error *err)
{
    qn_float_program *code = b->code;
    if (!b->program->options.keep_values) {
        return QN_OK;
    }
    void *list = code->quantized;
    QN_TRY(qn_grow(&list, &code->quantized_capacity, code->n_quantized, sizeof *code->quantized, err));
    code->quantized = list;
    qn_float_quantized *record = &code->quantized[code->n_quantized++];
    *record = (qn_float_quantized){.value = value, .step = -1, .id = id, .rank = rank, .n_items = n_items};
    record->step = qn_float_is_constant(b, id) ? -1 : (int32_t)code->n_steps; /* the one to come */
    memcpy(record->dims, dims, (size_t)rank * sizeof *dims);
    return QN_OK;
}

static qn_status prepare_codec(qn_float_builder *b, qn_simulate *p, const qn_quantizer *q, int axis, qn_error *err)
{
    const qn_cpu cpu = b->program->options.cpu;
    p->rounds = simulates(b);
    p->kernel = qn_format_kernel_select(&q->format, cpu);
    if (p->form != QN_SIMULATE_AS_IT_LIES) {
        p->copy_bytes = (size_t)(p->channels * p->inner) * sizeof(float);
        p->copy_bytes += (QN_CACHE_LINE - p->copy_bytes % QN_CACHE_LINE) % QN_CACHE_LINE;
    }
    if (!q->dynamic) {
        p->quantizer = q;
        return QN_OK;
    }
    qn_quantizer seen = *q;
    seen.axis = axis;
    return qn_dynamic_init(&p->dynamic, &seen, p->rank, p->dims, cpu, err);
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
    qn_simulate params = {0};
    describe_item(&params, &seen, n_items);
    int axis;
    choose_form(&params, &seen, q, dims, &axis);
    QN_TRY(prepare_codec(b, &params, q, axis, err));
    QN_TRY(keep_record(b, value, *id, seen.rank, dims, n_items, err));
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
