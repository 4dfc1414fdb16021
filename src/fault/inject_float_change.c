/* Changes in float and simulated networks: codes out of reals and back, and where they go. */
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "fault/inject_float.h"
#include "format/codec.h"
#include "format/quantizer.h"
#include "format/round.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

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
static uint32_t change_code(const qn_injector *injector, const qn_fault_change *change, const qn_fault_target *target,
                            const qn_quantizer *q, int64_t set, uint32_t code)
{
    if (change->add == 0 || q == NULL || target->coding != QN_FAULT_CODED) {
        return qn_fault_apply(change, target, injector->options.program, code);
    }
    const qn_params params = qn_quantizer_get(q, set);
    code = qn_format_code(target->format, &params, qn_format_value(target->format, &params, code) + change->add, 0);
    return qn_fault_mask(change, code) & qn_code_mask(target->bits);
}

static void note(const qn_injector *injector, qn_floats_worker *w, int32_t entry, int64_t slot,
                 const qn_fault_change *change, uint32_t before, uint32_t after)
{
    qn_floats_pair *pair = &w->pairs[w->entries[entry].pairs * qn_floats_state(injector)->batch + slot];
    pair->active |= before != after;
    if (change == w->entries[entry].fault->changes) {
        pair->before = before;
        pair->after = after;
    }
}

static void note_all(const qn_injector *injector, qn_floats_worker *w, int32_t entry, const qn_fault_change *change,
                     uint32_t before, uint32_t after)
{
    for (int64_t slot = 0; slot < w->n; slot++) {
        note(injector, w, entry, slot, change, before, after);
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
    const uint32_t code = t->where == QN_FAULT_SCALES        ? bits_of(params->scale)
                          : t->where == QN_FAULT_ZERO_POINTS ? (uint32_t)params->zero_point
                                                             : (uint32_t)params->exp_bias;
    return code & qn_code_mask(t->bits);
}

/* A zero point is signed where codes are, an exponent always. */
static void set_parameter(qn_params *params, const qn_fault_target *t, uint32_t code)
{
    switch (t->where) {
    case QN_FAULT_SCALES:
        params->scale = float_of(code);
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
static qn_status turn_parameters(const qn_injector *injector, qn_floats_worker *w, int32_t entry, int32_t target,
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
            const uint32_t after = change_code(injector, change, t, NULL, 0, before);
            note_all(injector, w, entry, change, before, after);
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
        QN_TRY(turn_parameters(injector, worker, entry, target, true, &q, err));
        *refuses |= qn_quantizer_check(q, place->rank, place->dims, NULL, NULL) != QN_OK;
        QN_TRY(turn_parameters(injector, worker, entry, target, false, &q, err));
        last = target;
    }
    return QN_OK;
}

/* Constants. */

static qn_status put_constant(qn_restart *restart, qn_graph *graph, qn_value_id value, int64_t element, float x,
                              qn_error *err)
{
    if (graph != NULL && graph->values[value].constant == NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file,
                       "'%s' is computed from constants and goes into others; fold it in the model to strike it",
                       graph->values[value].name);
    }
    if (graph != NULL) {
        ((float *)graph->values[value].constant->data)[element] = x;
        return QN_OK;
    }
    return qn_restart_patch(restart, value, element, x, err);
}

static uint32_t constant_code(const qn_injector *injector, const qn_floats_place *place, const qn_fault_target *t,
                              int64_t element)
{
    const qn_program *program = injector->options.program;
    const qn_tensor *codes = program->graph.values[t->value].codes;
    const qn_tensor *known = program->binding.values[t->value].known;
    if (t->coding == QN_FAULT_F32) {
        return ((const uint32_t *)known->data)[element];
    }
    if (codes == NULL) {
        return qn_floats_encode(place->quantizer, qn_floats_set(place, element), element,
                                ((const float *)known->data)[element]);
    }
    switch (qn_dtype_size(codes->dtype)) {
    case 1:
        return ((const uint8_t *)codes->data)[element] & qn_code_mask(t->bits);
    case 2:
        return ((const uint16_t *)codes->data)[element] & qn_code_mask(t->bits);
    default:
        return ((const uint32_t *)codes->data)[element] & qn_code_mask(t->bits);
    }
}

/* All elements of the sets whose parameters change. */
static qn_status change_sets(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart, qn_graph *graph,
                             int32_t entry, const qn_floats_event *span, qn_error *err)
{
    const qn_fault *fault = w->entries[entry].fault;
    const int32_t target = fault->changes[span->first].target;
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    const qn_fault_target *t = &injector->options.targets->list[target];
    qn_quantizer *q;
    QN_TRY(turn_parameters(injector, w, entry, target, true, &q, err));
    /* the codes are those of the constant, whose target may have other bits than the parameter */
    const qn_fault_target constant = {.value = t->value, .coding = QN_FAULT_CODED, .bits = q->format.bits};
    qn_status status = QN_OK;
    for (int64_t e = 0; status == QN_OK && e < place->count; e++) {
        const int64_t set = qn_floats_set(place, e);
        const qn_params was = qn_quantizer_get(place->quantizer, set), is = qn_quantizer_get(q, set);
        if (was.scale == is.scale && was.zero_point == is.zero_point && was.exp_bias == is.exp_bias) {
            continue;
        }
        const uint32_t code = constant_code(injector, place, &constant, e);
        const float before = qn_floats_decode(place->quantizer, set, e, code),
                    after = qn_floats_decode(q, set, e, code);
        if (bits_of(before) != bits_of(after)) {
            status = put_constant(restart, graph, t->value, e, after, err);
        }
    }
    QN_TRY(turn_parameters(injector, w, entry, target, false, &q, err));
    return status;
}

static qn_status change_elements(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart, qn_graph *graph,
                                 int32_t entry, const qn_floats_event *span, qn_error *err)
{
    const qn_floats_entry *e = &w->entries[entry];
    const int32_t target = e->fault->changes[span->first].target;
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    const qn_fault_target *t = &injector->options.targets->list[target];
    const bool moved = e->parameters && place->parameters >= 0 && t->coding != QN_FAULT_F32;
    qn_quantizer *copy = NULL;
    if (moved) {
        QN_TRY(turn_parameters(injector, w, entry, target, true, &copy, err));
    }
    const qn_quantizer *q = moved ? copy : place->quantizer;
    qn_status status = QN_OK;
    for (int64_t i = span->first; status == QN_OK && i < span->end; i++) {
        const qn_fault_change *change = &e->fault->changes[i];
        const bool coded = t->coding != QN_FAULT_F32;
        const int64_t set = coded ? qn_floats_set(place, change->element) : 0;
        const uint32_t before = constant_code(injector, place, t, change->element);
        const uint32_t after = change_code(injector, change, t, coded ? q : NULL, set, before);
        note_all(injector, w, entry, change, before, after);
        if (before != after) {
            const float x = coded ? qn_floats_decode(q, set, change->element, after) : float_of(after);
            status = put_constant(restart, graph, t->value, change->element, x, err);
        }
    }
    if (moved) {
        QN_TRY(turn_parameters(injector, w, entry, target, false, &copy, err));
    }
    return status;
}

/* The next changes that are of one target, from span->end on. */
static bool next_span(const qn_injector *injector, const qn_fault *fault, qn_floats_event *span)
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

/* Parameters first: a code that changes, too, is then decoded with them. */
qn_status qn_floats_change_constants(const qn_injector *injector, qn_floats_worker *worker, qn_restart *restart,
                                     qn_graph *graph, int32_t entry, qn_error *err)
{
    const qn_fault *fault = worker->entries[entry].fault;
    qn_floats_event span = {0};
    while (next_span(injector, fault, &span)) {
        if (span.kind == QN_FLOATS_CONSTANT_PARAMETER) {
            QN_TRY(change_sets(injector, worker, restart, graph, entry, &span, err));
        }
    }
    span = (qn_floats_event){0};
    while (next_span(injector, fault, &span)) {
        if (span.kind == QN_FLOATS_CONSTANT) {
            QN_TRY(change_elements(injector, worker, restart, graph, entry, &span, err));
        }
    }
    return QN_OK;
}

/* Values. */

/* Nothing has run: what the value holds is golden's. */
void qn_floats_find_writes(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, int64_t slot,
                           qn_floats_write writes[QN_FLOATS_FEW], int *n)
{
    const qn_fault *fault = worker->entries[entry].fault;
    const qn_floats_place *place = &qn_floats_state(injector)->places[fault->changes[0].target];
    const qn_fault_target *t = &injector->options.targets->list[fault->changes[0].target];
    *n = 0;
    for (int64_t i = 0; i < fault->n_changes; i++) {
        const qn_fault_change *change = &fault->changes[i];
        const float x = qn_restart_golden_at(worker->restart, t->value, slot, change->element);
        const bool coded = t->coding != QN_FAULT_F32;
        const int64_t k = coded ? (slot * place->per_item + change->element) % place->count : 0;
        const int64_t set = coded ? qn_floats_set(place, k) : 0;
        const uint32_t before = coded ? qn_floats_encode(place->quantizer, set, k, x) : bits_of(x);
        const uint32_t after = change_code(injector, change, t, place->quantizer, set, before);
        note(injector, worker, entry, slot, change, before, after);
        const float y = coded ? qn_floats_decode(place->quantizer, set, k, after) : float_of(after);
        if (before != after && bits_of(x) != bits_of(y)) {
            writes[(*n)++] = (qn_floats_write){change->element, y};
        }
    }
}

qn_status qn_floats_add_events(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, qn_error *err)
{
    qn_floats_event span = {0};
    while (next_span(injector, worker->entries[entry].fault, &span)) {
        if (span.kind != QN_FLOATS_VALUE && span.kind != QN_FLOATS_VALUE_PARAMETER) {
            continue;
        }
        void *list = worker->events;
        QN_TRY(qn_grow(&list, &worker->events_capacity, worker->n_events, sizeof *worker->events, err));
        worker->events = list;
        worker->events[worker->n_events] = span;
        worker->events[worker->n_events].job = -1;
        worker->events[worker->n_events++].entry = entry;
    }
    return QN_OK;
}

/* In the order of the steps, then of values, parameters before codes; then by entry. */
static int by_step(const void *left, const void *right)
{
    const qn_floats_event *a = left, *b = right;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    if (a->value != b->value) {
        return a->value < b->value ? -1 : 1;
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    return a->entry < b->entry ? -1 : a->entry > b->entry;
}

static const qn_floats_place *place_of(const qn_injector *injector, const qn_floats_worker *w,
                                       const qn_floats_event *event)
{
    return &qn_floats_state(injector)->places[w->entries[event->entry].fault->changes[event->first].target];
}

static bool looks_before(const qn_injector *injector, const qn_floats_worker *w, const qn_floats_event *event)
{
    return event->job < 0 &&
           (event->kind == QN_FLOATS_VALUE_PARAMETER || place_of(injector, w, event)->dynamic != NULL);
}

/* Keep what the quantizer is about to get. */
static void look(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart, const qn_floats_event *event)
{
    const qn_floats_place *place = place_of(injector, w, event);
    const int64_t total = place->quantized->n_items * place->count;
    for (int64_t first = 0; first < total; first += place->per_item) {
        qn_restart_read(restart, event->value, first / place->per_item, 0, place->per_item, w->seen + first);
    }
}

/* The value as the quantizer with other parameters makes it. */
static qn_status change_quantizer(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart,
                                  const qn_floats_event *event, qn_error *err)
{
    const qn_floats_place *place = place_of(injector, w, event);
    const int32_t target = w->entries[event->entry].fault->changes[event->first].target;
    qn_quantizer *q;
    QN_TRY(turn_parameters(injector, w, event->entry, target, true, &q, err));
    const qn_format_kernel kernel = qn_format_kernel_select(&q->format, injector->options.program->options.cpu);
    for (int64_t i = 0; i < place->quantized->n_items; i++) {
        const qn_codec codec = {.x = w->seen + i * place->count, .y = w->made + i * place->count};
        qn_codec_run(&codec, q, &kernel, place->rank, place->dims);
    }
    const int64_t batch = qn_floats_state(injector)->batch, total = place->quantized->n_items * place->count;
    for (int64_t slot = 0; slot < w->n; slot++) {
        if (w->pairs[w->entries[event->entry].pairs * batch + slot].present) {
            const int64_t first = place->per_item < total ? slot * place->per_item : 0;
            qn_restart_write_many(restart, event->value, slot, 0, place->per_item, w->made + first);
        }
    }
    return turn_parameters(injector, w, event->entry, target, false, &q, err);
}

/* Codes of one image. `q`: kept parameters, NULL: dynamic or none. */
static qn_status change_slot(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart,
                             const qn_floats_event *event, const qn_quantizer *q, int64_t slot, qn_error *err)
{
    const qn_floats_place *place = place_of(injector, w, event);
    const qn_fault *fault = w->entries[event->entry].fault;
    const qn_fault_target *t = &injector->options.targets->list[fault->changes[event->first].target];
    const bool whole = place->quantized != NULL && place->per_item == place->quantized->n_items * place->count;
    int64_t fitted = -1;
    for (int64_t i = event->first; i < event->end; i++) {
        const qn_fault_change *change = &fault->changes[i];
        const float x = *qn_restart_at(restart, event->value, slot, change->element);
        if (t->coding == QN_FAULT_F32) {
            const uint32_t after = change_code(injector, change, t, NULL, 0, bits_of(x));
            note(injector, w, event->entry, slot, change, bits_of(x), after);
            if (after != bits_of(x)) {
                QN_TRY(qn_restart_write(restart, event->value, slot, change->element, float_of(after), err));
            }
            continue;
        }
        const int64_t at = change->element + (whole ? 0 : slot * place->per_item), k = at % place->count;
        if (place->dynamic != NULL && fitted != at / place->count) {
            fitted = at / place->count;
            q = qn_dynamic_fit(place->dynamic, w->seen + fitted * place->count, w->scratch);
        }
        const int64_t set = qn_floats_set(place, k);
        const uint32_t before = qn_floats_encode(q, set, k, x),
                       after = change_code(injector, change, t, q, set, before);
        note(injector, w, event->entry, slot, change, before, after);
        if (before != after) {
            QN_TRY(qn_restart_write(restart, event->value, slot, change->element, qn_floats_decode(q, set, k, after),
                                    err));
        }
    }
    return QN_OK;
}

static qn_status change_codes(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart,
                              const qn_floats_event *event, qn_error *err)
{
    const qn_floats_place *place = place_of(injector, w, event);
    const int32_t target = w->entries[event->entry].fault->changes[event->first].target;
    const bool moved = w->entries[event->entry].parameters && place->parameters >= 0 && place->quantizer != NULL &&
                       place->dynamic == NULL;
    qn_quantizer *copy = NULL;
    if (moved) {
        QN_TRY(turn_parameters(injector, w, event->entry, target, true, &copy, err));
    }
    const int64_t batch = qn_floats_state(injector)->batch;
    qn_status status = QN_OK;
    for (int64_t slot = 0; status == QN_OK && slot < w->n; slot++) {
        if (w->pairs[w->entries[event->entry].pairs * batch + slot].present) {
            status = change_slot(injector, w, restart, event, moved ? copy : place->quantizer, slot, err);
        }
    }
    if (moved) {
        QN_TRY(turn_parameters(injector, w, event->entry, target, false, &copy, err));
    }
    return status;
}

static qn_status write_job(const qn_floats_worker *w, qn_restart *restart, const qn_floats_event *event, qn_error *err)
{
    const qn_floats_job *job = &w->jobs[event->job];
    for (int64_t i = job->first; i < job->first + job->n; i++) {
        QN_TRY(qn_restart_write(restart, job->value, job->slot, w->writes[i].element, w->writes[i].x, err));
    }
    return QN_OK;
}

/* Does any event of this value, of which `first` is the first, want to see what its quantizer gets? */
static qn_status look_if_wanted(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart, size_t first,
                                qn_error *err)
{
    const qn_floats_event *events = w->events;
    for (size_t i = first; i < w->n_events && events[i].value == events[first].value; i++) {
        if (looks_before(injector, w, &events[i])) {
            QN_TRY(qn_restart_run(restart, place_of(injector, w, &events[i])->quantized->step, err));
            look(injector, w, restart, &events[i]);
            return QN_OK;
        }
    }
    return QN_OK;
}

qn_status qn_floats_change_values(const qn_injector *injector, qn_floats_worker *worker, qn_restart *restart,
                                  qn_error *err)
{
    const qn_floats_event *events = worker->events;
    if (worker->n_events > 1) {
        qsort(worker->events, worker->n_events, sizeof *worker->events, by_step);
    }
    for (size_t i = 0; i < worker->n_events; i++) {
        if (looks_before(injector, worker, &events[i])) {
            qn_restart_remake(restart, events[i].value);
        }
    }
    for (size_t i = 0; i < worker->n_events; i++) {
        const qn_floats_event *event = &events[i];
        if (i == 0 || event[-1].value != event->value) {
            QN_TRY(look_if_wanted(injector, worker, restart, i, err));
        }
        QN_TRY(qn_restart_run(restart, event->at, err));
        QN_TRY(event->job >= 0                            ? write_job(worker, restart, event, err)
               : event->kind == QN_FLOATS_VALUE_PARAMETER ? change_quantizer(injector, worker, restart, event, err)
                                                          : change_codes(injector, worker, restart, event, err));
    }
    return qn_restart_run(restart, qn_restart_n_steps(restart), err);
}
