/* Changes of constants, and of the parameters of their codes. */
#include "fault/inject_float.h"
#include "format/round.h"

static qn_status put_constant(const qn_injector *injector, qn_restart *restart, qn_graph *graph, qn_value_id value,
                              int64_t element, float x, qn_error *err)
{
    if (graph != NULL && graph->values[value].constant == NULL) {
        QN_TRY(qn_graph_settle(graph, value, injector->options.program->binding.values[value].known, err));
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
    QN_TRY(qn_floats_turn_parameters(injector, w, entry, target, true, &q, err));
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
        if (qn_bits_of_f32(before) != qn_bits_of_f32(after)) {
            status = put_constant(injector, restart, graph, t->value, e, after, err);
        }
    }
    QN_TRY(qn_floats_turn_parameters(injector, w, entry, target, false, &q, err));
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
        QN_TRY(qn_floats_turn_parameters(injector, w, entry, target, true, &copy, err));
    }
    const qn_quantizer *q = moved ? copy : place->quantizer;
    qn_status status = QN_OK;
    for (int64_t i = span->first; status == QN_OK && i < span->end; i++) {
        const qn_fault_change *change = &e->fault->changes[i];
        const bool coded = t->coding != QN_FAULT_F32;
        const int64_t set = coded ? qn_floats_set(place, change->element) : 0;
        const uint32_t before = constant_code(injector, place, t, change->element);
        const uint32_t after = qn_floats_change_code(injector, change, t, coded ? q : NULL, set, before);
        qn_floats_note_all(injector, w, entry, change, before, after);
        if (before != after) {
            const float x = coded ? qn_floats_decode(q, set, change->element, after) : qn_f32_of_bits(after);
            status = put_constant(injector, restart, graph, t->value, change->element, x, err);
        }
    }
    if (moved) {
        QN_TRY(qn_floats_turn_parameters(injector, w, entry, target, false, &copy, err));
    }
    return status;
}

/* Parameters first: a code that changes, too, is then decoded with them. */
qn_status qn_floats_change_constants(const qn_injector *injector, qn_floats_worker *worker, qn_restart *restart,
                                     qn_graph *graph, int32_t entry, qn_error *err)
{
    const qn_fault *fault = worker->entries[entry].fault;
    qn_floats_event span = {0};
    while (qn_floats_next_span(injector, fault, &span)) {
        if (span.kind == QN_FLOATS_CONSTANT_PARAMETER) {
            QN_TRY(change_sets(injector, worker, restart, graph, entry, &span, err));
        }
    }
    span = (qn_floats_event){0};
    while (qn_floats_next_span(injector, fault, &span)) {
        if (span.kind == QN_FLOATS_CONSTANT) {
            QN_TRY(change_elements(injector, worker, restart, graph, entry, &span, err));
        }
    }
    return QN_OK;
}
