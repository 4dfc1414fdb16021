/* Watched programs: which values are shown after which step, and which follow from others. */
#include <math.h>

#include "engine/float/float_program.h"

static qn_status add_entry(qn_float_builder *b, const qn_watched *entry, qn_error *err)
{
    qn_program *program = b->program;
    void *watch = program->watch;
    QN_TRY(qn_grow(&watch, &program->watch_capacity, program->n_watch, sizeof *program->watch, err));
    program->watch = watch;
    b->watch[entry->value] = (int32_t)program->n_watch;
    program->watch[program->n_watch++] = *entry;
    return QN_OK;
}

/* Memory that is alive until the step before the next one is not written by others before the value is shown. */
static void keep_until_shown(const qn_float_builder *b, qn_float_id id)
{
    qn_float_slot *slot = &b->code->slots[qn_float_at(b, id)->slot];
    int32_t last = b->code->n_steps > 0 ? (int32_t)b->code->n_steps - 1 : 0;
    slot->last = slot->last > last ? slot->last : last;
}

qn_status qn_float_watch(qn_float_builder *b, qn_value_id value, qn_float_id id, qn_error *err)
{
    const qn_float_tensor *tensor = qn_float_at(b, id);
    if (!b->program->watched || b->watch[value] >= 0 || qn_float_bound(b, value)->known != NULL ||
        tensor->dtype != QN_DTYPE_F32 || tensor->n_elems == 0) {
        return QN_OK;
    }
    qn_float_program *code = b->code;
    void *shown = code->shown;
    QN_TRY(qn_grow(&shown, &code->shown_capacity, code->n_shown, sizeof *code->shown, err));
    code->shown = shown;
    code->shown[code->n_shown++] = (qn_float_shown){code->n_steps, b->program->n_watch, id};
    keep_until_shown(b, id);
    const qn_watched entry = {.value = value,
                              .rank = tensor->rank,
                              .channels = tensor->rank > 1 ? tensor->dims[1] : 1,
                              .from = -1,
                              .lo = -INFINITY,
                              .hi = INFINITY};
    return add_entry(b, &entry, err);
}

static bool all_finite(const float *x, int64_t n)
{
    bool finite = true;
    for (int64_t i = 0; x != NULL && i < n; i++) {
        finite = finite && isfinite(x[i]);
    }
    return finite;
}

qn_status qn_float_derive(qn_float_builder *b, qn_value_id value, qn_value_id from, const float *scale,
                          const float *shift, qn_float_clamp clamp, qn_error *err)
{
    if (!b->program->watched || b->watch[from] < 0 || qn_float_applied(b, value) != NULL) {
        return QN_OK;
    }
    const qn_watched *source = &b->program->watch[b->watch[from]];
    if (!all_finite(scale, source->channels) || !all_finite(shift, source->channels) || !(clamp.lo <= clamp.hi)) {
        return QN_OK;
    }
    const qn_watched entry = {.value = value,
                              .rank = source->rank,
                              .channels = source->channels,
                              .from = b->watch[from],
                              .scale = scale,
                              .shift = shift,
                              .lo = clamp.lo,
                              .hi = clamp.hi};
    return add_entry(b, &entry, err);
}

bool qn_float_derived(const qn_float_builder *b, qn_value_id value)
{
    return b->program->watched && b->watch[value] >= 0 && b->program->watch[b->watch[value]].from >= 0;
}

qn_value_view qn_float_layout_view(const qn_float_tensor *tensor, const float *data, int64_t n, int64_t batch)
{
    int64_t rows = tensor->rank > 0 ? tensor->dims[0] : 1, channels = tensor->rank > 1 ? tensor->dims[1] : 1, inner = 1;
    for (int i = 2; i < tensor->rank; i++) {
        inner *= tensor->dims[i];
    }
    qn_value_view view = {.data = data,
                          .n = rows % batch == 0 ? rows / batch * n : rows, /* all where rows do not count items */
                          .channels = channels,
                          .inner = inner,
                          .stride_n = channels * inner,
                          .stride_block = inner,
                          .stride_inner = 1,
                          .block = 1};
    if (tensor->layout == QN_FLOAT_BLOCKED) {
        view.block = tensor->block;
        view.stride_inner = tensor->block;
        view.stride_block = inner * tensor->block;
        view.stride_n = (channels + tensor->block - 1) / tensor->block * view.stride_block;
    } else if (tensor->layout == QN_FLOAT_LAST) {
        view.block = channels;
        view.stride_inner = channels;
        view.stride_block = channels * inner;
    }
    return view;
}
