/* Changes of values on the way through a network. */
#include <stdlib.h>

#include "fault/inject_float.h"
#include "format/codec.h"
#include "format/quantizer.h"

qn_status qn_floats_add_events(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, qn_error *err)
{
    qn_floats_event span = {0};
    while (qn_floats_next_span(injector, worker->entries[entry].fault, &span)) {
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

/* Keep what the value's quantizer is about to get. */
static void look(qn_floats_worker *w, qn_restart *restart, const qn_floats_place *place, qn_value_id value)
{
    const int64_t total = place->quantized->n_items * place->count;
    for (int64_t first = 0; first < total; first += place->per_item) {
        qn_restart_read(restart, value, first / place->per_item, 0, place->per_item, w->seen + first);
    }
}

/* Make the value again, and keep the parameters that its quantizer fits to each item. */
static qn_status fit_all(qn_floats_worker *w, const qn_floats_place *place, qn_value_id value, qn_floats_fits *fits,
                         qn_error *err)
{
    qn_restart_begin(w->restart);
    qn_restart_remake(w->restart, value);
    QN_TRY(qn_restart_run(w->restart, place->quantized->step, err));
    look(w, w->restart, place, value);
    QN_TRY(qn_restart_run(w->restart, place->quantized->step + 1, err));
    for (int64_t i = 0; i < place->quantized->n_items; i++) {
        const qn_quantizer *q = qn_dynamic_fit(place->dynamic, w->seen + i * place->count, w->scratch);
        qn_quantizer *kept = qn_quantizer_place(fits->quantizers + (size_t)i * fits->n_bytes, q);
        for (int64_t set = 0; set < q->n; set++) {
            qn_quantizer_set(kept, set, qn_quantizer_get(q, set));
        }
    }
    return QN_OK;
}

static qn_status allocate_fits(const qn_floats_place *place, qn_floats_fits *fits, qn_error *err)
{
    size_t n_bytes;
    if (!qn_quantizer_bytes(&fits->n_bytes, place->dynamic->quantizer.n) ||
        !qn_add_size(fits->n_bytes, QN_CACHE_LINE - 1, &fits->n_bytes)) {
        return qn_fail_memory(err, NULL, fits->n_bytes);
    }
    fits->n_bytes = fits->n_bytes / QN_CACHE_LINE * QN_CACHE_LINE;
    if (!qn_mul_size(fits->n_bytes, (size_t)place->quantized->n_items, &n_bytes) ||
        (fits->quantizers = qn_alloc(n_bytes)) == NULL) {
        return qn_fail_memory(err, NULL, fits->n_bytes);
    }
    return QN_OK;
}

/* What golden's item `item` was quantized with. */
static qn_status find_fit(const qn_injector *injector, qn_floats_worker *w, int32_t target, int64_t item,
                          const qn_quantizer **q, qn_error *err)
{
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    qn_floats_fits *fits = &w->fits[target];
    if (fits->quantizers == NULL) {
        QN_TRY(allocate_fits(place, fits, err));
    }
    if (fits->n != w->n || fits->first != w->first) {
        fits->n = 0;
        const qn_status status = fit_all(w, place, injector->options.targets->list[target].value, fits, err);
        qn_restart_undo(w->restart);
        QN_TRY(status);
        fits->first = w->first;
        fits->n = w->n;
    }
    *q = (const qn_quantizer *)(const void *)(fits->quantizers + (size_t)item * fits->n_bytes);
    return QN_OK;
}

/* Nothing has run: what the value holds is golden's. */
qn_status qn_floats_find_writes(const qn_injector *injector, qn_floats_worker *worker, int32_t entry, int64_t slot,
                                qn_floats_write writes[QN_FLOATS_FEW], int *n, qn_error *err)
{
    const qn_fault *fault = worker->entries[entry].fault;
    const int32_t target = fault->changes[0].target;
    const qn_floats_place *place = &qn_floats_state(injector)->places[target];
    const qn_fault_target *t = &injector->options.targets->list[target];
    const bool coded = t->coding != QN_FAULT_F32;
    *n = 0;
    for (int64_t i = 0; i < fault->n_changes; i++) {
        const qn_fault_change *change = &fault->changes[i];
        const float x = qn_restart_golden_at(worker->restart, t->value, slot, change->element);
        const int64_t at = slot * place->per_item + change->element, k = coded ? at % place->count : 0;
        const qn_quantizer *q = place->quantizer;
        if (place->dynamic != NULL) {
            QN_TRY(find_fit(injector, worker, target, at / place->count, &q, err));
        }
        const int64_t set = coded ? qn_floats_set(place, k) : 0;
        const uint32_t before = coded ? qn_floats_encode(q, set, k, x) : qn_bits_of_f32(x);
        const uint32_t after = qn_floats_change_code(injector, change, t, q, set, before);
        qn_floats_note(injector, worker, entry, slot, change, before, after);
        const float y = coded ? qn_floats_decode(q, set, k, after) : qn_f32_of_bits(after);
        if (before != after && qn_bits_of_f32(x) != qn_bits_of_f32(y)) {
            writes[(*n)++] = (qn_floats_write){change->element, y};
        }
    }
    return QN_OK;
}

/* The value as the quantizer with other parameters makes it. */
static qn_status change_quantizer(const qn_injector *injector, qn_floats_worker *w, qn_restart *restart,
                                  const qn_floats_event *event, qn_error *err)
{
    const qn_floats_place *place = place_of(injector, w, event);
    const int32_t target = w->entries[event->entry].fault->changes[event->first].target;
    qn_quantizer *q;
    QN_TRY(qn_floats_turn_parameters(injector, w, event->entry, target, true, &q, err));
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
    return qn_floats_turn_parameters(injector, w, event->entry, target, false, &q, err);
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
            const uint32_t after = qn_floats_change_code(injector, change, t, NULL, 0, qn_bits_of_f32(x));
            qn_floats_note(injector, w, event->entry, slot, change, qn_bits_of_f32(x), after);
            if (after != qn_bits_of_f32(x)) {
                QN_TRY(qn_restart_write(restart, event->value, slot, change->element, qn_f32_of_bits(after), err));
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
                       after = qn_floats_change_code(injector, change, t, q, set, before);
        qn_floats_note(injector, w, event->entry, slot, change, before, after);
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
        QN_TRY(qn_floats_turn_parameters(injector, w, event->entry, target, true, &copy, err));
    }
    const int64_t batch = qn_floats_state(injector)->batch;
    qn_status status = QN_OK;
    for (int64_t slot = 0; status == QN_OK && slot < w->n; slot++) {
        if (w->pairs[w->entries[event->entry].pairs * batch + slot].present) {
            status = change_slot(injector, w, restart, event, moved ? copy : place->quantizer, slot, err);
        }
    }
    if (moved) {
        QN_TRY(qn_floats_turn_parameters(injector, w, event->entry, target, false, &copy, err));
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
            look(w, restart, place_of(injector, w, &events[i]), events[i].value);
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
