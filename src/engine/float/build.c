/* Building blocks of lowering: slots, tensors, steps, and the layouts a value exists in. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/float/float_program.h"

qn_status qn_float_fail(const qn_float_builder *b, qn_error *err, qn_status status, const char *format, ...)
{
    char where[QN_NODE_WHERE_MAX + 64], node[QN_NODE_WHERE_MAX], text[512];
    const char *name = b->node >= 0 ? qn_node_where(node, b->graph, &b->graph->nodes[b->node]) : "inputs and outputs";
    snprintf(where, sizeof where, "%.60s, %s", b->graph->file != NULL ? b->graph->file : "", name);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return qn_fail(err, status, where, "%s", text);
}

qn_status qn_float_fail_dnnl(const qn_float_builder *b, qn_error *err, dnnl_status_t status, const char *what)
{
    qn_status mapped = status == dnnl_out_of_memory   ? QN_ENOMEM
                       : status == dnnl_unimplemented ? QN_EUNSUPPORTED
                                                      : QN_EINTERNAL;
    return qn_float_fail(b, err, mapped, "oneDNN cannot make the %s (its status is %d)", what, (int)status);
}

void *qn_float_memory(qn_float_builder *b, size_t n, size_t elem_size, qn_error *err)
{
    void *memory = qn_arena_array(&b->program->arena, n, elem_size);
    if (memory == NULL) {
        (void)qn_fail_memory(err, b->graph->file, n * elem_size);
    }
    return memory;
}

const qn_bound_value *qn_float_bound(const qn_float_builder *b, qn_value_id value)
{
    return &b->binding->values[value];
}

bool qn_float_has_input(const qn_node *node, int index)
{
    return index < node->n_inputs && node->inputs[index] != QN_NO_VALUE;
}

static qn_status new_slot(qn_float_builder *b, size_t n_bytes, void *constant, int32_t *index, qn_error *err)
{
    qn_float_program *code = b->code;
    QN_TRY(qn_grow((void **)&code->slots, &code->slots_capacity, code->n_slots, sizeof *code->slots, err));
    code->slots[code->n_slots] =
        (qn_float_slot){.n_bytes = n_bytes, .constant = constant, .first = INT32_MAX, .last = -1};
    *index = (int32_t)code->n_slots++;
    return QN_OK;
}

static qn_status push_tensor(qn_float_builder *b, const qn_float_tensor *tensor, qn_float_id *id, qn_error *err)
{
    qn_float_program *code = b->code;
    QN_TRY(qn_grow((void **)&code->tensors, &code->tensors_capacity, code->n_tensors, sizeof *code->tensors, err));
    code->tensors[code->n_tensors] = *tensor;
    *id = (qn_float_id)code->n_tensors++;
    return QN_OK;
}

static qn_status describe_plain(qn_float_tensor *tensor, qn_dtype dtype, int rank, const int64_t *dims, qn_error *err)
{
    *tensor =
        (qn_float_tensor){.dtype = dtype, .rank = rank, .layout = QN_FLOAT_PLAIN, .block = 1, .variant = QN_FLOAT_NONE};
    memcpy(tensor->dims, dims, (size_t)rank * sizeof *dims);
    QN_TRY(qn_shape_count(dims, rank, &tensor->n_elems, err));
    tensor->n_stored = tensor->n_elems;
    if (dtype == QN_DTYPE_F32) {
        tensor->md = qn_float_md_plain(rank, dims);
    }
    return QN_OK;
}

qn_status qn_float_new_constant(qn_float_builder *b, qn_dtype dtype, int rank, const int64_t *dims, void *data,
                                qn_float_id *id, qn_error *err)
{
    qn_float_tensor tensor;
    QN_TRY(describe_plain(&tensor, dtype, rank, dims, err));
    size_t n_bytes;
    if (!qn_mul_size((size_t)tensor.n_elems, qn_dtype_size(dtype), &n_bytes)) {
        return qn_float_fail(b, err, QN_ELIMIT, "a tensor is too large");
    }
    QN_TRY(new_slot(b, n_bytes, data, &tensor.slot, err));
    return push_tensor(b, &tensor, id, err);
}

qn_status qn_float_new(qn_float_builder *b, qn_dtype dtype, int rank, const int64_t *dims, qn_float_id *id,
                       qn_error *err)
{
    return qn_float_new_constant(b, dtype, rank, dims, NULL, id, err);
}

qn_status qn_float_new_output(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    const qn_bound_value *bound = qn_float_bound(b, value);
    return qn_float_new(b, bound->dtype, bound->rank, bound->dims, id, err);
}

qn_status qn_float_new_md(qn_float_builder *b, const dnnl_memory_desc_t *md, qn_float_id *id, qn_error *err)
{
    int ndims = md->ndims < QN_MAX_RANK ? md->ndims : QN_MAX_RANK; /* grouped weights have one more than their values */
    qn_float_tensor tensor;
    QN_TRY(describe_plain(&tensor, QN_DTYPE_F32, ndims, md->dims, err));
    tensor.md = *md;
    tensor.layout = qn_float_classify(md, &tensor.block);
    size_t n_bytes = dnnl_memory_desc_get_size(md);
    tensor.n_stored = (int64_t)(n_bytes / sizeof(float));
    QN_TRY(new_slot(b, n_bytes, NULL, &tensor.slot, err));
    return push_tensor(b, &tensor, id, err);
}

qn_status qn_float_new_like(qn_float_builder *b, qn_float_id like, qn_float_id *id, qn_error *err)
{
    qn_float_tensor tensor = *qn_float_at(b, like);
    tensor.variant = QN_FLOAT_NONE;
    QN_TRY(new_slot(b, (size_t)tensor.n_stored * qn_dtype_size(tensor.dtype), NULL, &tensor.slot, err));
    return push_tensor(b, &tensor, id, err);
}

qn_status qn_float_view(qn_float_builder *b, qn_float_id source, int rank, const int64_t *dims, qn_float_id *id,
                        qn_error *err)
{
    qn_float_tensor tensor, viewed = *qn_float_at(b, source);
    QN_TRY(describe_plain(&tensor, viewed.dtype, rank, dims, err));
    if (viewed.layout != QN_FLOAT_PLAIN || tensor.n_elems != viewed.n_elems) {
        return qn_float_fail(b, err, QN_EINTERNAL, "a view of %lld elements over a tensor of %lld",
                             (long long)tensor.n_elems, (long long)viewed.n_elems);
    }
    tensor.slot = viewed.slot;
    return push_tensor(b, &tensor, id, err);
}

/* The tensor of a constant: its own memory, or its codes' values where it carries a quantizer but was given as reals.
 * */
static qn_status import_constant(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    const qn_tensor *known = qn_float_bound(b, value)->known;
    const qn_value *v = &b->graph->values[value];
    void *data = known->data;
    if (v->quantizer != NULL && v->codes == NULL && known->dtype == QN_DTYPE_F32) {
        data = qn_float_memory(b, (size_t)qn_tensor_count(known), sizeof(float), err);
        if (data == NULL) {
            return QN_ENOMEM;
        }
        QN_TRY(qn_float_fake_constant(b, value, data, known, err));
    }
    return qn_float_new_constant(b, known->dtype, known->rank, known->dims, data, id, err);
}

static qn_status read_value(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    qn_float_id *first = &b->code->of_value[value];
    if (*first == QN_FLOAT_NONE) {
        if (qn_float_bound(b, value)->known == NULL) {
            return qn_float_fail(b, err, QN_EINTERNAL, "value '%s' is read before it is made",
                                 b->graph->values[value].name);
        }
        QN_TRY(import_constant(b, value, first, err));
    }
    *id = *first;
    return QN_OK;
}

qn_status qn_float_read(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    QN_TRY(read_value(b, value, id, err));
    qn_dtype dtype = qn_float_at(b, *id)->dtype;
    if (dtype != QN_DTYPE_F32) {
        return qn_float_fail(b, err, QN_EUNSUPPORTED,
                             "reads '%s', which is %s at run time; only float32 is computed with",
                             b->graph->values[value].name, qn_dtype_text(dtype));
    }
    return QN_OK;
}

qn_status qn_float_read_plain(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    qn_float_id source;
    QN_TRY(qn_float_read(b, value, &source, err));
    return qn_float_to_plain(b, source, id, err);
}

qn_status qn_float_read_any(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err)
{
    qn_float_id source;
    QN_TRY(read_value(b, value, &source, err));
    return qn_float_to_plain(b, source, id, err);
}

qn_status qn_float_to_plain(qn_float_builder *b, qn_float_id source, qn_float_id *id, qn_error *err)
{
    const qn_float_tensor *tensor = qn_float_at(b, source);
    if (tensor->layout == QN_FLOAT_PLAIN) {
        *id = source;
        return QN_OK;
    }
    dnnl_memory_desc_t md = qn_float_md_plain(tensor->rank, tensor->dims);
    return qn_float_reorder(b, source, &md, id, err);
}

/* Where values are kept, how a constant was made of others is kept, too. The step owns the primitive. */
static qn_status keep_made(qn_float_builder *b, const qn_float_step *proto, qn_float_id destination, int n_sources,
                           const qn_float_id *sources, size_t n_bytes, qn_error *err)
{
    qn_float_program *code = b->code;
    void *made = code->made;
    QN_TRY(qn_grow(&made, &code->made_capacity, code->n_made, sizeof *code->made, err));
    code->made = made;
    qn_float_id *args = qn_float_memory(b, (size_t)n_sources + 1, sizeof *args, err);
    const void *params =
        n_bytes > 0 ? (const void *)qn_arena_bytes(&b->program->arena, proto->params, n_bytes) : proto->params;
    if (args == NULL || (n_bytes > 0 && params == NULL)) {
        return qn_fail_memory(err, b->graph->file, n_bytes);
    }
    args[0] = destination;
    memcpy(args + 1, sources, (size_t)n_sources * sizeof *sources);
    qn_float_step step = *proto;
    step.params = params;
    step.args = args;
    step.n_args = n_sources + 1;
    step.node = b->node;
    code->made[code->n_made++] = step;
    return QN_OK;
}

/* Run a reorder now, from memory of the program to memory of the program. */
static dnnl_status_t reorder_constant(const qn_float_builder *b, dnnl_primitive_t primitive,
                                      const dnnl_memory_desc_t *from_md, void *from, const dnnl_memory_desc_t *to_md,
                                      void *to)
{
    dnnl_stream_t stream = NULL;
    dnnl_memory_t from_memory = NULL, to_memory = NULL;
    dnnl_status_t status = dnnl_stream_create(&stream, b->code->engine, dnnl_stream_default_flags);
    if (status == dnnl_success) {
        status = dnnl_memory_create(&from_memory, from_md, b->code->engine, from);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_create(&to_memory, to_md, b->code->engine, to);
    }
    if (status == dnnl_success) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from_memory}, {DNNL_ARG_TO, to_memory}};
        status = dnnl_primitive_execute(primitive, stream, 2, args);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(stream);
    }
    (void)dnnl_memory_destroy(to_memory);
    (void)dnnl_memory_destroy(from_memory);
    (void)dnnl_stream_destroy(stream);
    return status;
}

static qn_status make_reorder(qn_float_builder *b, dnnl_primitive_desc_t pd, qn_float_id from, qn_float_id to,
                              qn_error *err)
{
    if (!qn_float_is_constant(b, from)) {
        const int kinds[] = {DNNL_ARG_TO, DNNL_ARG_FROM};
        const qn_float_id args[] = {to, from};
        return qn_float_add_primitive(b, pd, 2, kinds, args, err);
    }
    qn_float_slot *slot = &b->code->slots[qn_float_at(b, to)->slot];
    slot->constant = qn_float_memory(b, slot->n_bytes, 1, err);
    if (slot->constant == NULL) {
        return QN_ENOMEM;
    }
    const qn_float_tensor *source = qn_float_at(b, from);
    qn_float_step step = {0};
    dnnl_status_t status = dnnl_primitive_create(&step.primitive, pd);
    if (status != dnnl_success) {
        return qn_float_fail_dnnl(b, err, status, "reorder");
    }
    status = reorder_constant(b, step.primitive, &source->md, b->code->slots[source->slot].constant,
                              &qn_float_at(b, to)->md, slot->constant);
    qn_status made = status == dnnl_success ? QN_OK : qn_float_fail_dnnl(b, err, status, "reorder");
    const bool keeps = made == QN_OK && b->program->options.keep_values;
    made = keeps ? keep_made(b, &step, to, 1, &from, 0, err) : made;
    if (!keeps || made != QN_OK) {
        (void)dnnl_primitive_destroy(step.primitive);
    }
    return made;
}

qn_status qn_float_reorder(qn_float_builder *b, qn_float_id source, const dnnl_memory_desc_t *md, qn_float_id *id,
                           qn_error *err)
{
    const dnnl_memory_desc_t wanted = *md; /* `md` may lie in the array of tensors, which grows */
    for (qn_float_id v = source; v != QN_FLOAT_NONE; v = qn_float_at(b, v)->variant) {
        if (dnnl_memory_desc_equal(&qn_float_at(b, v)->md, &wanted)) {
            *id = v;
            return QN_OK;
        }
    }
    QN_TRY(qn_float_new_md(b, &wanted, id, err));
    dnnl_primitive_attr_t attr = NULL;
    QN_TRY(qn_float_attr(b, &attr, (qn_float_clamp){-INFINITY, INFINITY}, err));
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&pd, &qn_float_at(b, source)->md, b->code->engine,
                                                              &wanted, b->code->engine, attr);
    (void)dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
        return qn_float_fail_dnnl(b, err, status, "reorder");
    }
    qn_status made = make_reorder(b, pd, source, *id, err);
    (void)dnnl_primitive_desc_destroy(pd);
    QN_TRY(made);
    qn_float_at(b, *id)->variant = qn_float_at(b, source)->variant;
    qn_float_at(b, source)->variant = *id;
    return QN_OK;
}

qn_status qn_float_define(qn_float_builder *b, qn_value_id value, qn_float_id id, qn_error *err)
{
    if (qn_float_at(b, id)->layout == QN_FLOAT_OTHER) {
        QN_TRY(qn_float_to_plain(b, id, &id, err));
    }
    QN_TRY(qn_float_simulate(b, value, &id, err));
    b->code->of_value[value] = id;
    return qn_float_watch(b, value, id, err);
}

static qn_status new_step(qn_float_builder *b, int n_args, qn_float_step **step, qn_float_id **args, qn_error *err)
{
    qn_float_program *code = b->code;
    QN_TRY(qn_grow((void **)&code->steps, &code->steps_capacity, code->n_steps, sizeof *code->steps, err));
    *args = qn_float_memory(b, (size_t)n_args, sizeof **args, err);
    if (*args == NULL) {
        return QN_ENOMEM;
    }
    *step = &code->steps[code->n_steps];
    **step = (qn_float_step){.args = *args, .n_args = n_args, .node = b->node};
    return QN_OK;
}

/* The step exists from here on: its slots live through it. */
static void commit_step(qn_float_builder *b, const qn_float_step *step)
{
    qn_float_program *code = b->code;
    int32_t now = (int32_t)code->n_steps++;
    code->n_args += (size_t)step->n_args;
    for (int i = 0; i < step->n_args; i++) {
        if (step->args[i] != QN_FLOAT_NONE) {
            qn_float_slot *slot = &code->slots[qn_float_at(b, step->args[i])->slot];
            slot->first = now < slot->first ? now : slot->first;
            slot->last = now;
        }
    }
}

static bool all_constant(const qn_float_builder *b, int n, const qn_float_id *ids)
{
    for (int i = 0; i < n; i++) {
        if (ids[i] != QN_FLOAT_NONE && !qn_float_is_constant(b, ids[i])) {
            return false;
        }
    }
    return n > 0;
}

enum { MAX_CONSTANT_SOURCES = 16 };

static qn_status run_now(qn_float_builder *b, qn_float_kernel kernel, const void *params, size_t n_bytes,
                         qn_float_id destination, int n_sources, const qn_float_id *sources, qn_error *err)
{
    qn_float_slot *slot = &b->code->slots[qn_float_at(b, destination)->slot];
    if (slot->constant == NULL) {
        slot->constant = qn_float_memory(b, slot->n_bytes, 1, err);
        if (slot->constant == NULL) {
            return QN_ENOMEM;
        }
    }
    void *args[1 + MAX_CONSTANT_SOURCES] = {slot->constant};
    for (int i = 0; i < n_sources; i++) {
        args[1 + i] = sources[i] == QN_FLOAT_NONE ? NULL : b->code->slots[qn_float_at(b, sources[i])->slot].constant;
    }
    kernel(params, args);
    const qn_float_step step = {.kernel = kernel, .params = params};
    return b->program->options.keep_values ? keep_made(b, &step, destination, n_sources, sources, n_bytes, err) : QN_OK;
}

qn_status qn_float_add_kernel(qn_float_builder *b, qn_float_kernel kernel, const void *params, size_t n_bytes,
                              qn_float_id destination, int n_sources, const qn_float_id *sources, qn_error *err)
{
    if (n_sources <= MAX_CONSTANT_SOURCES && all_constant(b, n_sources, sources)) {
        return run_now(b, kernel, params, n_bytes, destination, n_sources, sources, err);
    }
    qn_float_step *step;
    qn_float_id *args;
    QN_TRY(new_step(b, 1 + n_sources, &step, &args, err));
    args[0] = destination;
    memcpy(args + 1, sources, (size_t)n_sources * sizeof *sources);
    step->kernel = kernel;
    step->params = qn_arena_bytes(&b->program->arena, params, n_bytes);
    if (step->params == NULL) {
        return qn_fail_memory(err, b->graph->file, n_bytes);
    }
    commit_step(b, step);
    return QN_OK;
}

qn_status qn_float_add_primitive(qn_float_builder *b, const_dnnl_primitive_desc_t pd, int n_args, const int *kinds,
                                 const qn_float_id *ids, qn_error *err)
{
    qn_float_step *step;
    qn_float_id *args;
    QN_TRY(new_step(b, n_args, &step, &args, err));
    memcpy(args, ids, (size_t)n_args * sizeof *ids);
    int *own_kinds = qn_float_memory(b, (size_t)n_args, sizeof *own_kinds, err);
    if (own_kinds == NULL) {
        return QN_ENOMEM;
    }
    memcpy(own_kinds, kinds, (size_t)n_args * sizeof *kinds);
    step->kinds = own_kinds;
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (scratch != NULL) {
        step->scratch = *scratch;
        size_t n_bytes = dnnl_memory_desc_get_size(scratch);
        b->code->scratch_bytes = n_bytes > b->code->scratch_bytes ? n_bytes : b->code->scratch_bytes;
    }
    dnnl_status_t status = dnnl_primitive_create(&step->primitive, pd);
    if (status != dnnl_success) {
        step->primitive = NULL;
        return qn_float_fail_dnnl(b, err, status, "primitive");
    }
    commit_step(b, step);
    return QN_OK;
}
