/* Patching constants: an element of a constant in every layout in which steps read it, in copies of the restart's own. */
#include <string.h>

#include "engine/float/restart.h"

/* Coordinates of the element at `offset` of a tensor whose dimensions lie in some order without gaps. */
static bool coordinates(const dnnl_memory_desc_t *md, int64_t offset, int64_t *at)
{
    const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
    if (md->format_kind != dnnl_blocked || blocking->inner_nblks != 0 || md->offset0 != 0) {
        return false;
    }
    bool done[DNNL_MAX_NDIMS] = {false};
    int64_t covered = 1;
    for (int k = 0; k < md->ndims; k++) { /* the innermost dimension that is left */
        int next = -1;
        for (int d = 0; d < md->ndims; d++) {
            if (!done[d] && (md->dims[d] == 1 || blocking->strides[d] == covered)) {
                next = d;
                break;
            }
        }
        if (next < 0 || md->padded_dims[next] != md->dims[next]) {
            return false;
        }
        done[next] = true;
        at[next] = md->dims[next] == 1 ? 0 : offset / covered % md->dims[next];
        covered *= md->dims[next];
    }
    return offset < covered;
}

int64_t qn_restart_offset(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, int64_t offset)
{
    int64_t at[DNNL_MAX_NDIMS];
    if (to->format_kind != dnnl_blocked || to->extra.flags != 0 || to->ndims != from->ndims ||
        memcmp(to->dims, from->dims, (size_t)to->ndims * sizeof to->dims[0]) != 0 || !coordinates(from, offset, at)) {
        return -1;
    }
    const dnnl_blocking_desc_t *blocking = &to->format_desc.blocking;
    int64_t found = to->offset0, unit = 1;
    for (int i = blocking->inner_nblks - 1; i >= 0; i--) {
        const int64_t block = blocking->inner_blks[i];
        int64_t *x = &at[blocking->inner_idxs[i]];
        found += *x % block * unit;
        *x /= block;
        unit *= block;
    }
    for (int d = 0; d < to->ndims; d++) {
        if (to->padded_offsets[d] != 0) {
            return -1;
        }
        found += at[d] * blocking->strides[d];
    }
    return found;
}

/* Let all steps read the copy. */
static qn_status bind(qn_restart *r, int32_t slot, qn_error *err)
{
    const qn_float_program *code = r->code;
    qn_float_workspace *memory = r->workspace->memory;
    for (size_t i = 0; i < code->n_steps; i++) {
        for (int j = 0; j < code->steps[i].n_args; j++) {
            const qn_float_id id = code->steps[i].args[j];
            if (id != QN_FLOAT_NONE && code->tensors[id].slot == slot) {
                memory->args[r->first_arg[i] + (size_t)j] = r->own[slot];
            }
        }
    }
    for (size_t id = 0; id < code->n_tensors; id++) {
        if (code->tensors[id].slot == slot && memory->memories[id] != NULL &&
            dnnl_memory_set_data_handle(memory->memories[id], r->own[slot]) != dnnl_success) {
            return qn_fail_memory(err, "oneDNN's memory objects", 0);
        }
    }
    return QN_OK;
}

static qn_status own(qn_restart *r, int32_t slot, qn_error *err)
{
    if (r->own[slot] != NULL) {
        return QN_OK;
    }
    const qn_float_slot *s = &r->code->slots[slot];
    r->own[slot] = qn_alloc(s->n_bytes);
    if (r->own[slot] == NULL) {
        return qn_fail_memory(err, r->program->graph.file, s->n_bytes);
    }
    memcpy(r->own[slot], s->constant, s->n_bytes);
    return bind(r, slot, err);
}

static qn_status remake_all(qn_restart *r, int32_t slot, qn_error *err);

/* This step must make its result anew, and so must those that read that. */
static qn_status remake_one(qn_restart *r, int32_t made, qn_error *err)
{
    const qn_float_step *step = &r->code->made[made];
    const int32_t slot = r->code->tensors[step->args[0]].slot;
    if (r->remake[made]) {
        return QN_OK;
    }
    r->remake[made] = r->remakes = true;
    QN_TRY(own(r, slot, err));
    qn_restart_touch(r, slot);
    r->stale[slot] = true;
    return remake_all(r, slot, err);
}

static qn_status remake_all(qn_restart *r, int32_t slot, qn_error *err)
{
    for (int32_t i = r->made.start[slot]; i < r->made.start[slot + 1]; i++) {
        QN_TRY(remake_one(r, r->made.list[i], err));
    }
    return QN_OK;
}

/* Is every element where the layouts say? Then so it is when one has changed. */
static bool is_mapped(const qn_restart *r, const qn_float_step *step)
{
    if (step->primitive == NULL) {
        return false;
    }
    const qn_float_tensor *from = &r->code->tensors[step->args[1]], *to = &r->code->tensors[step->args[0]];
    const float *source = r->code->slots[from->slot].constant, *made = r->code->slots[to->slot].constant;
    for (int64_t i = 0; i < from->n_elems; i++) {
        const int64_t found = qn_restart_offset(&from->md, &to->md, i);
        if (found < 0 || found >= to->n_stored || memcmp(source + i, made + found, sizeof *made) != 0) {
            return false;
        }
    }
    return true;
}

static bool maps(qn_restart *r, int32_t made)
{
    if (r->map[made] == QN_RESTART_UNKNOWN) {
        r->map[made] = is_mapped(r, &r->code->made[made]) ? QN_RESTART_MAPPED : QN_RESTART_OPAQUE;
    }
    return r->map[made] == QN_RESTART_MAPPED;
}

/* The copy of a constant that nothing reads but steps that are followed is never made. */
static qn_status patch_slot(qn_restart *r, int32_t slot, int64_t offset, float x, qn_error *err)
{
    qn_restart_touch(r, slot);
    bool read = r->use[slot].first_reader < (int32_t)r->code->n_steps || r->made.start[slot] == r->made.start[slot + 1];
    for (int32_t i = r->made.start[slot]; i < r->made.start[slot + 1]; i++) {
        const int32_t made = r->made.list[i];
        const qn_float_tensor *from = &r->code->tensors[r->code->made[made].args[1]],
                              *to = &r->code->tensors[r->code->made[made].args[0]];
        read |= !maps(r, made);
        QN_TRY(maps(r, made) ? patch_slot(r, to->slot, qn_restart_offset(&from->md, &to->md, offset), x, err)
                             : remake_one(r, made, err));
    }
    if (read) {
        QN_TRY(own(r, slot, err));
        float *at = (float *)r->own[slot] + offset;
        QN_TRY(qn_restart_save(r, at, err));
        *at = x;
    }
    return QN_OK;
}

/* Numbers of an operator that its lowering reads itself. */
static bool is_number(const qn_node *node, int input)
{
    return node->op == QN_OP_CLIP || (node->op == QN_OP_PAD && input > 0) || (node->op == QN_OP_DROPOUT && input > 0);
}

static bool goes_elsewhere(const qn_restart *r, const qn_node *node, qn_value_id value)
{
    bool reads = false, number = false, known = node->op != QN_OP_REMOVED;
    for (int i = 0; i < node->n_inputs; i++) {
        reads |= node->inputs[i] == value;
        number |= node->inputs[i] == value && is_number(node, i);
    }
    for (int i = 0; reads && i < node->n_outputs; i++) {
        known &= node->outputs[i] == QN_NO_VALUE || r->program->binding.values[node->outputs[i]].known != NULL;
    }
    return reads && node->op != QN_OP_REMOVED && (number || known);
}

bool qn_restart_can_patch(const qn_restart *restart, qn_value_id value)
{
    const qn_float_program *code = restart->code;
    const qn_float_id id = code->of_value[value];
    if (id == QN_FLOAT_NONE || code->tensors[id].dtype != QN_DTYPE_F32 || code->tensors[id].layout != QN_FLOAT_PLAIN ||
        code->slots[code->tensors[id].slot].constant == NULL) {
        return false;
    }
    const qn_graph *graph = &restart->program->graph;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (goes_elsewhere(restart, &graph->nodes[i], value)) {
            return false;
        }
    }
    return true;
}

const float *qn_restart_constant(const qn_restart *restart, qn_value_id value)
{
    const qn_float_program *code = restart->code;
    return code->slots[code->tensors[code->of_value[value]].slot].constant;
}

qn_status qn_restart_patch(qn_restart *restart, qn_value_id value, int64_t element, float x, qn_error *err)
{
    return patch_slot(restart, restart->code->tensors[restart->code->of_value[value]].slot, element, x, err);
}

static void *constant_of(const qn_restart *r, qn_float_id id)
{
    const int32_t slot = r->code->tensors[id].slot;
    return r->own[slot] != NULL ? r->own[slot] : r->code->slots[slot].constant;
}

static qn_status reorder(qn_restart *r, const qn_float_step *step, qn_error *err)
{
    const qn_float_workspace *memory = r->workspace->memory;
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_status_t status =
        dnnl_memory_create(&from, &r->code->tensors[step->args[1]].md, r->code->engine, constant_of(r, step->args[1]));
    if (status == dnnl_success) {
        status = dnnl_memory_create(&to, &r->code->tensors[step->args[0]].md, r->code->engine,
                                    constant_of(r, step->args[0]));
    }
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        status = dnnl_primitive_execute(step->primitive, memory->stream, 2, args);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(memory->stream);
    }
    (void)dnnl_memory_destroy(to);
    (void)dnnl_memory_destroy(from);
    return status == dnnl_success ? QN_OK
                                  : qn_fail(err, QN_EINTERNAL, r->program->graph.file, "oneDNN failed to reorder");
}

enum { MAX_SOURCES = 16 }; /* build.c runs no others ahead */

qn_status qn_restart_remake_constants(qn_restart *restart, qn_error *err)
{
    restart->remakes = false;
    for (size_t i = 0; i < restart->code->n_made; i++) {
        const qn_float_step *step = &restart->code->made[i];
        if (!restart->remake[i]) {
            continue;
        }
        restart->remake[i] = false;
        if (step->primitive != NULL) {
            QN_TRY(reorder(restart, step, err));
            continue;
        }
        void *args[1 + MAX_SOURCES] = {NULL};
        for (int j = 0; j < step->n_args && j <= MAX_SOURCES; j++) {
            args[j] = step->args[j] != QN_FLOAT_NONE ? constant_of(restart, step->args[j]) : NULL;
        }
        step->kernel(step->params, args);
    }
    return QN_OK;
}
