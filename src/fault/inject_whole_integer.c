/* One image through the integer engine from scratch, with changes between steps (doc/spec/arithmetic.md 7.3, 7.4, 7.8). */
#include <string.h>

#include "base/ratio.h"
#include "engine/integer/integer.h"
#include "fault/inject_whole.h"
#include "fault/targets.h"

/* Changes first..end-1 of one value: in `tensor`, complete after step `after` (-1: before the first). tensor -1: the
 * program does not compute the value. */
typedef struct place {
    int64_t first, end;
    int tensor, after;
} place;

/* Is the tensor only another order of what is there already? */
static bool is_copy(const qn_integer_code *code, int tensor)
{
    const qn_integer_step *maker = &code->steps[code->tensors[tensor].first_step];
    return maker->kind == QN_STEP_GATHER && code->tensors[maker->input[0]].value == code->tensors[tensor].value;
}

/* The last of the value's tensors, of floats or of codes: one before it, of a pool behind which a table follows, has not
 * yet the value's parameters. */
int qn_whole_tensor(const qn_program *program, qn_value_id value, bool real)
{
    const qn_integer_code *code = program->code;
    int best = -1;
    for (int i = 0; i < code->n_tensors; i++) {
        const qn_integer_tensor *t = &code->tensors[i];
        if (t->value == value && t->real == real && t->first_step >= 0 && t->base < 0 && !is_copy(code, i) &&
            (best < 0 || t->first_step > code->tensors[best].first_step)) {
            best = i;
        }
    }
    return best < 0 && !real ? code->tensor_of[value] : best;
}

static int last_writer(const qn_integer_code *code, int tensor)
{
    const int base = code->tensors[tensor].base >= 0 ? code->tensors[tensor].base : tensor;
    int last = -1;
    for (int i = 0; i < code->n_steps; i++) {
        const int output = code->steps[i].output;
        if (output >= 0 && (output == base || code->tensors[output].base == base)) {
            last = i;
        }
    }
    return last;
}

static void change_real(const qn_integer_run *run, const qn_integer_tensor *t, const qn_fault_change *change,
                        qn_whole_codes *codes)
{
    uint8_t *x = run->memory + t->offset + (size_t)change->element * sizeof(float);
    uint32_t before;
    memcpy(&before, x, sizeof before);
    const uint32_t after = qn_whole_change(change, &codes->targets->list[change->target], NULL, before);
    memcpy(x, &after, sizeof after);
    qn_whole_note(codes, change, before, after);
}

static uint8_t *byte_at(const qn_integer_run *run, const qn_integer_tensor *t, int64_t i)
{
    const int64_t pixels = (int64_t)t->height * t->width, pixel = i % pixels;
    return run->memory + t->offset +
           (t->plain ? i : pixel / t->width * t->row + pixel % t->width * t->pixel + i / pixels);
}

/* Kept codes are raised by 128 where the format is signed. */
static void change_code(const qn_program *program, const qn_integer_run *run, const qn_integer_tensor *t,
                        const qn_fault_change *change, qn_whole_codes *codes)
{
    const qn_fault_target *target = &codes->targets->list[change->target];
    uint8_t *x = byte_at(run, t, change->element);
    const bool is_signed = target->format.is_signed;
    const qn_quantizer *q = qn_targets_quantizer(&program->graph, target->value);
    const qn_params params = q != NULL && q->n > 0 ? qn_quantizer_get(q, 0) : (qn_params){.scale = 1};
    const uint32_t before = (uint32_t)(*x - (is_signed ? 128 : 0)) & qn_whole_mask(target->bits);
    const uint32_t after = qn_whole_change(change, target, &params, before);
    *x = (uint8_t)(is_signed ? qn_wrap_bits((int32_t)after, target->bits) + 128 : (int32_t)after);
    qn_whole_note(codes, change, before, after);
}

static void change_values(const qn_program *program, const qn_integer_run *run, const place *p, qn_whole_codes *codes)
{
    const qn_integer_tensor *t = &run->code->tensors[p->tensor];
    for (int64_t i = p->first; i < p->end; i++) {
        if (t->real) {
            change_real(run, t, &codes->fault->changes[i], codes);
        } else {
            change_code(program, run, t, &codes->fault->changes[i], codes);
        }
    }
}

bool qn_whole_read_integer(const qn_program *program, const qn_workspace *workspace, const qn_fault_target *target,
                           uint32_t *codes)
{
    const bool real = target->coding == QN_FAULT_F32;
    const int tensor = qn_whole_tensor(program, target->value, real);
    if (tensor < 0) {
        return false;
    }
    const qn_integer_run run = qn_integer_workspace_run(workspace);
    const qn_integer_tensor *t = &run.code->tensors[tensor];
    if (real) {
        memcpy(codes, run.memory + t->offset, (size_t)target->n_elems * sizeof *codes);
    }
    const int raised = target->format.is_signed ? 128 : 0;
    for (int64_t i = 0; !real && i < target->n_elems; i++) {
        codes[i] = (uint32_t)(*byte_at(&run, t, i) - raised) & qn_whole_mask(target->bits);
    }
    return true;
}

static bool is_value(qn_fault_where where)
{
    return where == QN_FAULT_ACTIVATIONS || where == QN_FAULT_INPUTS;
}

/* Where each changed value is; their number. */
static int64_t find_places(const qn_program *program, const qn_whole_codes *codes, place *places)
{
    int64_t n = 0;
    for (int64_t first = 0, end; codes->fault != NULL && first < codes->fault->n_changes; first = end) {
        const qn_fault_target *target = qn_whole_target(codes, first);
        end = qn_whole_end(codes, first);
        if (is_value(target->where)) {
            const int tensor = qn_whole_tensor(program, target->value, target->coding == QN_FAULT_F32);
            places[n++] = (place){first, end, tensor, tensor >= 0 ? last_writer(program->code, tensor) : -1};
        }
    }
    return n;
}

/* What a step makes by its table with the changes of one target in it, of all of its input. */
static void change_table(const qn_program *program, const qn_integer_run *run, int step, int64_t first,
                         qn_whole_codes *codes)
{
    const qn_integer_step *s = &run->code->steps[step];
    const qn_integer_lookup *lookup = &s->u.lookup;
    const qn_integer_tensor *x = &run->code->tensors[s->input[0]], *y = &run->code->tensors[s->output];
    const int64_t end = qn_whole_end(codes, first);
    const int raised = y->raised;
    const qn_quantizer *q = qn_targets_quantizer(&program->graph, y->value);
    const qn_params params = q != NULL && q->n > 0 ? qn_quantizer_get(q, 0) : (qn_params){.scale = 1};
    uint8_t table[256];
    bool changed = false;
    memcpy(table, lookup->table, sizeof table);
    for (int64_t i = first; i < end; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        const qn_fault_target *target = &codes->targets->list[change->target];
        qn_fault_table at;
        if (!qn_targets_find_table(program, y->value, change->element, &at) || at.step != step) {
            continue;
        }
        uint8_t *entry = &table[at.lowest + (int)(change->element - at.first)];
        const uint32_t before = (uint32_t)(*entry - raised) & qn_whole_mask(target->bits);
        const uint32_t after = qn_whole_change(change, target, &params, before);
        *entry = (uint8_t)(raised > 0 ? qn_wrap_bits((int32_t)after, target->bits) + raised : (int32_t)after);
        qn_whole_note(codes, change, before, after);
        changed = true;
    }
    for (int row = 0; changed && row < x->height; row++) {
        for (int column = 0; column < x->width; column++) {
            const uint8_t *from = run->memory + x->offset + row * x->row + column * x->pixel;
            uint8_t *to = run->memory + y->offset + (row + lookup->y) * y->row + (column + lookup->x) * y->pixel;
            for (int k = 0; k < x->channels; k++) {
                to[lookup->k + k] = table[from[k]];
            }
        }
    }
}

static void change_tables(const qn_program *program, const qn_integer_run *run, int step, qn_whole_codes *codes)
{
    const qn_integer_step *s = &run->code->steps[step];
    for (int64_t first = 0, end; first < codes->fault->n_changes; first = end) {
        const qn_fault_target *target = qn_whole_target(codes, first);
        end = qn_whole_end(codes, first);
        if (target->where == QN_FAULT_TABLES && target->value == run->code->tensors[s->output].value) {
            change_table(program, run, step, first, codes);
        }
    }
}

static qn_status run_steps(const qn_program *program, const qn_integer_run *run, qn_whole_codes *codes,
                           const place *places, int64_t n_places, qn_error *err)
{
    qn_status status = QN_OK;
    for (int step = 0; status == QN_OK && step < run->code->n_steps; step++) {
        const qn_integer_kind kind = run->code->steps[step].kind;
        qn_integer_run_steps(run, step, step + 1);
        if (codes->fault != NULL && (kind == QN_STEP_CONV || kind == QN_STEP_DEPTHWISE)) {
            status = qn_whole_change_sums(program, run, step, codes, err);
        }
        if (codes->fault != NULL && kind == QN_STEP_LOOKUP && run->code->steps[step].u.lookup.table != NULL) {
            change_tables(program, run, step, codes);
        }
        for (int64_t i = 0; i < n_places; i++) {
            if (places[i].after == step) {
                change_values(program, run, &places[i], codes);
            }
        }
    }
    return status;
}

qn_status qn_whole_run_integer(const qn_program *program, qn_workspace *workspace, const float *const *inputs,
                               float *const *outputs, qn_whole_codes *codes, qn_error *err)
{
    const qn_integer_code *code = program->code;
    const size_t n_changes = codes->fault != NULL ? (size_t)codes->fault->n_changes : 0;
    place *places = qn_alloc((n_changes + 1) * sizeof *places);
    if (places == NULL) {
        return qn_fail_memory(err, NULL, n_changes * sizeof *places);
    }
    qn_integer_run run = qn_integer_workspace_run(workspace);
    run.inputs = inputs;
    run.outputs = outputs;
    const int64_t n = find_places(program, codes, places);
    if (code->tiles) {
        qn_tiles_begin();
    }
    const qn_status status = run_steps(program, &run, codes, places, n, err);
    if (code->tiles) {
        qn_tiles_end();
    }
    qn_free(places);
    return status;
}
