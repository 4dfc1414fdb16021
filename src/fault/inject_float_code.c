/* Codes and parameters of float and simulated networks, and their changes. */
#include <string.h>

#include "fault/inject_float.h"
#include "fault/targets.h"
#include "format/quantizer.h"
#include "format/round.h"
#include "format/row.h"

uint32_t qn_floats_encode(const qn_quantizer *q, int64_t set, int64_t k, float x)
{
    const qn_run run = {.format = &q->format, .params = qn_quantizer_get(q, set), .first = k, .stride = 1};
    uint32_t code;
    qn_run_encode(&code, &x, 1, &run);
    return code;
}

float qn_floats_decode(const qn_quantizer *q, int64_t set, int64_t k, uint32_t code)
{
    const qn_run run = {.format = &q->format, .params = qn_quantizer_get(q, set), .first = k, .stride = 1};
    float x;
    qn_run_decode(&x, &code, 1, &run);
    return x;
}

/* arithmetic.md 7.1; the parameters are those at hand, which the program need not have. */
uint32_t qn_floats_change_code(const qn_injector *injector, const qn_fault_change *change,
                               const qn_fault_target *target, const qn_quantizer *q, int64_t set, uint32_t code)
{
    if (change->add == 0 || q == NULL || target->coding != QN_FAULT_CODED) {
        return qn_fault_apply(change, target, injector->options.program, code);
    }
    const qn_params params = qn_quantizer_get(q, set);
    code = qn_format_code(target->format, &params, qn_format_value(target->format, &params, code) + change->add, 0);
    return qn_targets_force(change, target, code);
}

void qn_floats_note(const qn_injector *injector, qn_floats_worker *w, int32_t entry, int64_t slot,
                    const qn_fault_change *change, uint32_t before, uint32_t after)
{
    qn_floats_pair *pair = &w->pairs[w->entries[entry].pairs * qn_floats_state(injector)->batch + slot];
    pair->active |= before != after;
    if (change == w->entries[entry].fault->changes) {
        pair->before = before;
        pair->after = after;
    }
}

void qn_floats_note_all(const qn_injector *injector, qn_floats_worker *w, int32_t entry, const qn_fault_change *change,
                        uint32_t before, uint32_t after)
{
    for (int64_t slot = 0; slot < w->n; slot++) {
        qn_floats_note(injector, w, entry, slot, change, before, after);
    }
}

/* A quantizer with parameters of its own to change, the same as the target's. */
static qn_status copy_of(const qn_injector *injector, qn_floats_worker *w, int32_t target, qn_quantizer **copy,
                         qn_error *err)
{
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    const qn_quantizer *q = place->quantizer;
    if (w->changed[target] == NULL) {
        size_t n_bytes;
        void *memory = qn_quantizer_bytes(&n_bytes, q->n) ? qn_alloc(n_bytes) : NULL;
        if (memory == NULL) {
            return qn_fail_memory(err, injector->options.program->graph.file, (size_t)q->n * sizeof(qn_params));
        }
        w->changed[target] = qn_quantizer_place(memory, q);
        for (int64_t set = 0; set < q->n; set++) {
            qn_quantizer_set(w->changed[target], set, qn_quantizer_get(q, set));
        }
    }
    *copy = w->changed[target];
    return QN_OK;
}

static uint32_t parameter_code(const qn_fault_target *t, const qn_params *params)
{
    const uint32_t code = t->where == QN_FAULT_SCALES        ? qn_bits_of_f32(params->scale)
                          : t->where == QN_FAULT_ZERO_POINTS ? (uint32_t)params->zero_point
                                                             : (uint32_t)params->exp_bias;
    return code & qn_code_mask(t->bits);
}

/* A zero point is signed where codes are, an exponent always. */
static void set_parameter(qn_params *params, const qn_fault_target *t, uint32_t code)
{
    switch (t->where) {
    case QN_FAULT_SCALES:
        params->scale = qn_f32_of_bits(code);
        break;
    case QN_FAULT_ZERO_POINTS:
        params->zero_point = t->format.is_signed ? qn_code_signed(code, t->bits) : (int32_t)code;
        break;
    default:
        params->exp_bias = qn_code_signed(code, t->bits);
        break;
    }
}

/* The entry's changes of parameters of the target's value: made in the copy, or taken back. */
qn_status qn_floats_turn_parameters(const qn_injector *injector, qn_floats_worker *w, int32_t entry, int32_t target,
                                    bool make, qn_quantizer **copy, qn_error *err)
{
    const qn_floats_injector *state = qn_floats_state(injector);
    const qn_fault *fault = w->entries[entry].fault;
    const qn_fault_target *list = injector->options.targets->list;
    const int32_t first = state->places[target].parameters;
    QN_TRY(copy_of(injector, w, first, copy, err));
    for (int64_t i = 0; i < fault->n_changes; i++) {
        const qn_fault_change *change = &fault->changes[i];
        const qn_fault_target *t = &list[change->target];
        if (t->value != list[target].value || t->where < QN_FAULT_SCALES) {
            continue;
        }
        qn_params params = qn_quantizer_get(make ? *copy : state->places[first].quantizer, change->element);
        if (make) {
            const uint32_t before = parameter_code(t, &params);
            const uint32_t after = qn_floats_change_code(injector, change, t, NULL, 0, before);
            qn_floats_note_all(injector, w, entry, change, before, after);
            if (before != after) {
                set_parameter(&params, t, after);
            }
        }
        qn_quantizer_set(*copy, change->element, params);
    }
    return QN_OK;
}

qn_status qn_floats_refuses(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, bool *refuses,
                            qn_error *err)
{
    const qn_fault *fault = worker->entries[entry].fault;
    int32_t last = -1;
    *refuses = false;
    for (int64_t i = 0; i < fault->n_changes; i++) {
        const int32_t target = fault->changes[i].target;
        const qn_floats_place *place = &qn_floats_state(injector)->places[target];
        const bool parameter = place->kind == QN_FLOATS_CONSTANT_PARAMETER || place->kind == QN_FLOATS_VALUE_PARAMETER;
        if (!parameter || target == last) {
            continue;
        }
        qn_quantizer *q;
        QN_TRY(qn_floats_turn_parameters(injector, worker, entry, target, true, &q, err));
        *refuses |= qn_quantizer_check(q, place->rank, place->dims, NULL, NULL) != QN_OK;
        QN_TRY(qn_floats_turn_parameters(injector, worker, entry, target, false, &q, err));
        last = target;
    }
    return QN_OK;
}

/* The next changes that are of one target, from span->end on. */
bool qn_floats_next_span(const qn_injector *injector, const qn_fault *fault, qn_floats_event *span)
{
    span->first = span->end;
    if (span->first >= fault->n_changes) {
        return false;
    }
    const int32_t target = fault->changes[span->first].target;
    while (span->end < fault->n_changes && fault->changes[span->end].target == target) {
        span->end++;
    }
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    span->kind = place->kind;
    span->at = place->at;
    span->value = injector->options.targets->list[target].value;
    return true;
}
