/* Changes in the float and the simulate engine: steps of their own behind those that make a value, and before its quantizer, which
 * shows the reals whose codes are struck (doc/spec/arithmetic.md 7.3). */
#include <string.h>

#include "engine/float/float_program.h"
#include "engine/float/simulate.h"
#include "fault/inject_whole.h"
#include "format/dynamic.h"
#include "format/quantizer.h"

/* A value's steps: `look` before its quantizer, where codes are struck, and `strike` when it is complete.
 *  reals   of the whole batch in C order, as they were before the quantizer */
typedef struct hook {
    qn_whole_hooks *hooks;
    const qn_fault_target *target;
    int32_t target_index;
    const qn_float_tensor *tensor;
    float *reals;
} hook;

typedef struct layout {
    qn_value_view view;
    int64_t per_row;
} layout;

static layout layout_of(const qn_float_tensor *tensor, const float *data)
{
    const qn_value_view v = qn_float_layout_view(tensor, data, 1, 1);
    return (layout){v, v.channels * v.inner};
}

/* Element i of the tensor in C order. */
static float *element(const layout *l, int64_t i)
{
    const qn_value_view *v = &l->view;
    const int64_t n = i / l->per_row, c = i % l->per_row / v->inner, inner = i % v->inner;
    return (float *)(uintptr_t)v->data + n * v->stride_n + c / v->block * v->stride_block + inner * v->stride_inner +
           c % v->block;
}

/* The changes of a target in a fault: its first, and how many. */
static int64_t find_changes(const qn_whole_codes *codes, int32_t target, int64_t *n)
{
    const qn_fault *fault = codes->fault;
    int64_t first = 0, end;
    while (fault != NULL && first < fault->n_changes && fault->changes[first].target != target) {
        first++;
    }
    *n = fault == NULL || first == fault->n_changes ? 0 : (end = qn_whole_end(codes, first)) - first;
    return first;
}

static bool is_struck(const hook *h)
{
    int64_t n = 0;
    for (int64_t i = 0; h->hooks->codes != NULL && i < h->hooks->n_codes && n == 0; i++) {
        (void)find_changes(&h->hooks->codes[i], h->target_index, &n);
    }
    return n > 0;
}

static void look(const void *params, void *const *args)
{
    const hook *h = *(hook *const *)params;
    if (is_struck(h)) {
        const layout l = layout_of(h->tensor, args[0]);
        for (int64_t i = 0; i < h->tensor->n_elems; i++) {
            h->reals[i] = *element(&l, i);
        }
    }
}

/* What the quantizer made of one item, or of everything where its parameters are those of the whole value. */
typedef struct coded {
    qn_quantizer *fitted;
    const qn_quantizer *q;
    int rank;
    int64_t dims[QN_MAX_RANK], n;
    void *codes;
    size_t size;
    float *y;
} coded;

static qn_status fit_item(coded *c, const qn_quantizer *q, float *x, qn_error *err)
{
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = c->rank, .data = x};
    memcpy(t.dims, c->dims, sizeof t.dims);
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = q->axis;
    options.group = q->group;
    options.nan = QN_NAN_ZERO;
    options.inf = QN_INF_CLAMP;
    QN_TRY(qn_fit(&c->fitted, &t, q->format, &options, err));
    c->q = c->fitted;
    return QN_OK;
}

static qn_status encode(coded *c, const hook *h, int64_t *item, qn_error *err)
{
    const qn_quantizer *q = h->hooks->program->graph.values[h->target->value].quantizer;
    const int64_t n_items = h->tensor->n_elems / h->target->n_elems;
    c->rank = h->tensor->rank;
    memcpy(c->dims, h->tensor->dims, sizeof c->dims);
    c->dims[0] /= n_items;
    c->q = q;
    if (!q->dynamic && qn_quantizer_check(q, c->rank, c->dims, NULL, NULL) != QN_OK) {
        c->dims[0] *= n_items;
        *item = -1;
    }
    c->n = *item < 0 ? h->tensor->n_elems : h->target->n_elems;
    float *x = h->reals + (*item < 0 ? 0 : *item * c->n);
    if (q->dynamic) {
        QN_TRY(fit_item(c, q, x, err));
    }
    c->size = qn_dtype_size(qn_format_dtype(q->format));
    c->codes = qn_alloc((size_t)c->n * c->size);
    c->y = qn_alloc((size_t)c->n * sizeof *c->y);
    if (c->codes == NULL || c->y == NULL) {
        return qn_fail_memory(err, NULL, (size_t)c->n * sizeof *c->y);
    }
    qn_quantizer_encode(c->codes, x, c->q, c->rank, c->dims);
    return QN_OK;
}

static qn_status strike_codes(const hook *h, const layout *l, qn_whole_codes *codes, int64_t item, int64_t first,
                              int64_t n, qn_error *err)
{
    coded c = {0};
    int64_t own = item;
    qn_status status = encode(&c, h, &own, err);
    const int64_t offset = item * h->target->n_elems, base = own < 0 ? offset : 0;
    const qn_format format = h->target->format;
    for (int64_t i = first; status == QN_OK && i < first + n; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        const int64_t at = base + change->element;
        const qn_params params = qn_quantizer_get(c.q, qn_whole_set(c.q, c.rank, c.dims, at));
        const uint32_t before = qn_whole_get_code(c.codes, c.size, at, format.bits);
        const uint32_t after = qn_whole_change(change, h->target, &params, before);
        qn_whole_set_code(c.codes, c.size, at, format.bits, format.kind == QN_FORMAT_INT && format.is_signed, after);
        qn_whole_note(codes, change, before, after);
    }
    if (status == QN_OK) {
        qn_quantizer_decode(c.y, c.codes, c.q, c.rank, c.dims);
    }
    for (int64_t i = first; status == QN_OK && i < first + n; i++) {
        const int64_t e = codes->fault->changes[i].element;
        *element(l, offset + e) = c.y[base + e];
    }
    qn_quantizer_free(c.fitted);
    qn_free(c.codes);
    qn_free(c.y);
    return status;
}

static void strike_floats(const hook *h, const layout *l, qn_whole_codes *codes, int64_t item, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        float *x = element(l, item * h->target->n_elems + change->element);
        uint32_t before;
        memcpy(&before, x, sizeof before);
        const uint32_t after = qn_whole_change(change, h->target, NULL, before);
        memcpy(x, &after, sizeof after);
        qn_whole_note(codes, change, before, after);
    }
}

static void strike(const void *params, void *const *args)
{
    const hook *h = *(hook *const *)params;
    const layout l = layout_of(h->tensor, args[0]);
    for (int64_t item = 0; h->hooks->codes != NULL && item < h->hooks->n_codes; item++) {
        qn_whole_codes *codes = &h->hooks->codes[item];
        int64_t n;
        const int64_t first = find_changes(codes, h->target_index, &n);
        if (n > 0 && h->target->coding == QN_FAULT_CODED && h->hooks->status == QN_OK) {
            h->hooks->status = strike_codes(h, &l, codes, item, first, n, h->hooks->err);
        } else if (n > 0 && h->target->coding == QN_FAULT_F32) {
            strike_floats(h, &l, codes, item, first, n);
        }
    }
}

/* A step at `at`; the others move up. */
static qn_status insert(qn_program *program, size_t at, qn_float_kernel kernel, hook *h, qn_float_id id, qn_error *err)
{
    qn_float_program *code = program->code;
    QN_TRY(qn_grow((void **)&code->steps, &code->steps_capacity, code->n_steps, sizeof *code->steps, err));
    qn_float_id *args = qn_arena_array(&program->arena, 1, sizeof *args);
    hook **params = qn_arena_array(&program->arena, 1, sizeof *params);
    if (args == NULL || params == NULL) {
        return qn_fail_memory(err, NULL, sizeof *params);
    }
    *args = id;
    *params = h;
    memmove(&code->steps[at + 1], &code->steps[at], (code->n_steps - at) * sizeof *code->steps);
    code->steps[at] = (qn_float_step){.kernel = kernel, .params = params, .args = args, .n_args = 1, .node = -1};
    code->n_steps++;
    code->n_args++;
    return QN_OK;
}

static qn_status hook_value(qn_program *program, qn_whole_hooks *hooks, const qn_fault_targets *targets, int32_t index,
                            qn_error *err)
{
    qn_float_program *code = program->code;
    const qn_fault_target *target = &targets->list[index];
    const qn_float_id id = code->of_value[target->value];
    if (id == QN_FLOAT_NONE || code->slots[code->tensors[id].slot].constant != NULL) {
        return QN_OK;
    }
    hook *h = qn_arena_alloc(&program->arena, sizeof *h);
    if (h == NULL) {
        return qn_fail_memory(err, NULL, sizeof *h);
    }
    *h = (hook){.hooks = hooks, .target = target, .target_index = index, .tensor = &code->tensors[id]};
    const int32_t slot = code->tensors[id].slot;
    size_t end = 0, quantizer = SIZE_MAX;
    for (size_t i = 0; i < code->n_steps; i++) {
        const qn_float_id to = code->steps[i].args[0];
        const bool own = code->steps[i].kernel == look || code->steps[i].kernel == strike;
        if (!own && to != QN_FLOAT_NONE && code->tensors[to].slot == slot) {
            end = i + 1;
            quantizer = code->steps[i].kernel == qn_float_run_simulate ? i : quantizer;
        }
    }
    QN_TRY(insert(program, end, strike, h, id, err));
    if (target->coding != QN_FAULT_CODED || quantizer == SIZE_MAX) {
        return QN_OK;
    }
    h->reals = qn_arena_array(&program->arena, (size_t)h->tensor->n_elems, sizeof *h->reals);
    return h->reals != NULL ? insert(program, quantizer, look, h, id, err) : qn_fail_memory(err, NULL, 0);
}

qn_status qn_whole_hook(qn_program *program, qn_whole_hooks *hooks, const qn_fault_targets *targets, qn_error *err)
{
    *hooks = (qn_whole_hooks){.program = program};
    for (int i = 0; i < targets->n; i++) {
        const qn_fault_where where = targets->list[i].where;
        if (where == QN_FAULT_ACTIVATIONS || where == QN_FAULT_INPUTS) {
            QN_TRY(hook_value(program, hooks, targets, i, err));
        }
    }
    return QN_OK;
}
