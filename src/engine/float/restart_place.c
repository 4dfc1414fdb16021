/* Where elements of values are in a restart's memory. */
#include <string.h>

#include "engine/float/restart.h"

bool qn_restart_has(const qn_restart *restart, qn_value_id value)
{
    const qn_float_id id = restart->code->of_value[value];
    return id != QN_FLOAT_NONE && restart->code->tensors[id].dtype == QN_DTYPE_F32 &&
           restart->code->slots[restart->code->tensors[id].slot].constant == NULL;
}

/* The first step that reads a constant slot, or one that is made of it. */
static int32_t first_reader(const qn_restart *r, int32_t slot)
{
    int32_t first = r->use[slot].first_reader;
    for (int32_t i = r->made.start[slot]; i < r->made.start[slot + 1]; i++) {
        const int32_t made = r->code->tensors[r->code->made[r->made.list[i]].args[0]].slot;
        const int32_t found = made != slot ? first_reader(r, made) : first;
        first = found < first ? found : first;
    }
    return first;
}

int32_t qn_restart_step(const qn_restart *restart, qn_value_id value)
{
    const int32_t slot = qn_restart_tensor_of(restart, value)->slot;
    return restart->code->slots[slot].constant != NULL ? first_reader(restart, slot)
                                                       : restart->use[slot].last_writer + 1;
}

int32_t qn_restart_first_step(const qn_restart *restart, qn_value_id value)
{
    const int32_t first = restart->use[qn_restart_tensor_of(restart, value)->slot].first_writer;
    return first < 0 ? 0 : first;
}

const qn_float_quantized *qn_restart_quantized(const qn_restart *restart, qn_value_id value)
{
    for (size_t i = 0; i < restart->code->n_quantized; i++) {
        if (restart->code->quantized[i].value == value && restart->code->quantized[i].step >= 0) {
            return &restart->code->quantized[i];
        }
    }
    return NULL;
}

int32_t qn_restart_n_steps(const qn_restart *restart)
{
    return (int32_t)restart->code->n_steps;
}

/* Rows of the first dimension that an item has, 0: there are no items in it. */
static int64_t rows_per_item(const qn_restart *r, const qn_float_tensor *tensor)
{
    const int64_t batch = r->program->options.batch;
    return tensor->rank > 0 && tensor->dims[0] % batch == 0 ? tensor->dims[0] / batch : 0;
}

bool qn_restart_is_by_item(const qn_restart *restart, qn_value_id value)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    return restart->by_item[tensor->slot] &&
           (restart->program->options.batch == 1 || rows_per_item(restart, tensor) > 0);
}

int64_t qn_restart_item_count(const qn_restart *restart, qn_value_id value)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    return rows_per_item(restart, tensor) > 0 ? tensor->n_elems / restart->program->options.batch : tensor->n_elems;
}

/* The place of element `element` of the tensor's whole value. */
static int64_t place(const qn_value_view *v, int64_t element)
{
    const int64_t row = v->channels * v->inner, rest = element % row, c = rest / v->inner;
    return element / row * v->stride_n + c / v->block * v->stride_block + rest % v->inner * v->stride_inner +
           c % v->block;
}

static qn_value_view view_of(const qn_restart *r, const qn_float_tensor *tensor)
{
    return qn_float_layout_view(
        tensor, (const float *)(void *)(qn_restart_arena_of(r) + r->code->slots[tensor->slot].offset), 1, 1);
}

float *qn_restart_at(qn_restart *restart, qn_value_id value, int64_t item, int64_t element)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    qn_restart_bring(restart, tensor->slot);
    const qn_value_view view = view_of(restart, tensor);
    const int64_t first = rows_per_item(restart, tensor) * item * view.channels * view.inner;
    return (float *)(void *)(qn_restart_arena_of(restart) + restart->code->slots[tensor->slot].offset) +
           place(&view, first + element);
}

float qn_restart_golden_at(const qn_restart *restart, qn_value_id value, int64_t item, int64_t element)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    const qn_value_view view = view_of(restart, tensor);
    const int64_t first = rows_per_item(restart, tensor) * item * view.channels * view.inner;
    return ((const float *)(const void *)(restart->golden +
                                          restart->code->slots[tensor->slot].offset))[place(&view, first + element)];
}

bool qn_restart_item_differs(const qn_restart *restart, qn_value_id value, int64_t item)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    const qn_float_slot *slot = &restart->code->slots[tensor->slot];
    if (!restart->differs[tensor->slot]) {
        return false;
    }
    const int64_t rows = rows_per_item(restart, tensor);
    const size_t row = rows > 0 ? (size_t)(tensor->n_stored / tensor->dims[0]) * sizeof(float) : 0;
    const size_t first = slot->offset + (size_t)(rows * item) * row, n = rows > 0 ? (size_t)rows * row : slot->n_bytes;
    return memcmp(qn_restart_arena_of(restart) + first, restart->golden + first, n) != 0;
}

void qn_restart_read(qn_restart *restart, qn_value_id value, int64_t item, int64_t first, int64_t n, float *x)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    qn_restart_bring(restart, tensor->slot);
    const qn_value_view view = view_of(restart, tensor);
    first += rows_per_item(restart, tensor) * item * view.channels * view.inner;
    if (view.block == 1) {
        memcpy(x, view.data + first, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] = view.data[place(&view, first + i)];
    }
}

qn_status qn_restart_write(qn_restart *restart, qn_value_id value, int64_t item, int64_t element, float x,
                           qn_error *err)
{
    const int32_t slot = qn_restart_tensor_of(restart, value)->slot;
    float *at = qn_restart_at(restart, value, item, element);
    QN_TRY(qn_restart_save(restart, at, err));
    qn_restart_touch(restart, slot);
    *at = x;
    return QN_OK;
}

void qn_restart_write_many(qn_restart *restart, qn_value_id value, int64_t item, int64_t first, int64_t n,
                           const float *x)
{
    const qn_float_tensor *tensor = qn_restart_tensor_of(restart, value);
    qn_restart_bring(restart, tensor->slot);
    const qn_value_view view = view_of(restart, tensor);
    float *to = (float *)(void *)(qn_restart_arena_of(restart) + restart->code->slots[tensor->slot].offset);
    first += rows_per_item(restart, tensor) * item * view.channels * view.inner;
    bool same = true;
    for (int64_t i = 0; i < n; i++) {
        float *at = &to[place(&view, first + i)];
        same &= memcmp(at, &x[i], sizeof *at) == 0;
        *at = x[i];
    }
    if (!same) {
        qn_restart_touch(restart, tensor->slot);
        restart->stale[tensor->slot] = true;
    }
}
