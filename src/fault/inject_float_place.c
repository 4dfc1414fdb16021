/* Where the targets of a float or simulated network are in its program. */
#include <string.h>

#include "fault/inject_float.h"
#include "format/quantizer.h"

int64_t qn_floats_set(const qn_floats_place *place, int64_t element)
{
    const qn_quantizer *q = place->quantizer;
    if (q->axis < 0) {
        return q->group > 0 ? element / q->group : 0;
    }
    int64_t inner = 1;
    for (int i = q->axis + 1; i < place->rank; i++) {
        inner *= place->dims[i];
    }
    const int64_t size = place->dims[q->axis], along = element / inner % size;
    if (q->group == 0) {
        return along;
    }
    const int64_t groups = size / q->group + (size % q->group != 0 ? 1 : 0);
    return (element / inner / size * groups + along / q->group) * inner + element % inner;
}

static void set_shape(qn_floats_place *p, int rank, const int64_t *dims)
{
    p->rank = rank;
    p->count = 1;
    for (int i = 0; i < rank; i++) {
        p->dims[i] = dims[i];
        p->count *= dims[i];
    }
}

/* The parameters of a constant that are made when a program is: those that the format's fit gives. */
static qn_status fit(qn_floats_place *p, const qn_tensor *constant, qn_error *err)
{
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = p->quantizer->axis;
    options.group = p->quantizer->group;
    options.nan = QN_NAN_ZERO;
    options.inf = QN_INF_CLAMP;
    QN_TRY(qn_fit(&p->fitted, constant, p->quantizer->format, &options, err));
    p->quantizer = p->fitted;
    return QN_OK;
}

static qn_status place_constant(qn_floats_place *p, const qn_fault_target *t, const qn_restart *restart, qn_error *err)
{
    const qn_value *stored = &restart->program->graph.values[t->value];
    const qn_tensor *known = restart->program->binding.values[t->value].known;
    p->kind = t->where >= QN_FAULT_SCALES ? QN_FLOATS_CONSTANT_PARAMETER : QN_FLOATS_CONSTANT;
    p->quantizer = stored->quantizer;
    p->whole_batch = true;
    p->patchable = qn_restart_can_patch(restart, t->value);
    p->start = p->patchable ? qn_restart_step(restart, t->value) : 0;
    set_shape(p, known->rank, known->dims);
    return p->quantizer != NULL && p->quantizer->dynamic ? fit(p, known, err) : QN_OK;
}

static qn_status place_dynamic(qn_floats_injector *state, qn_floats_place *p, const qn_restart *restart, qn_error *err)
{
    p->dynamic = qn_alloc(sizeof *p->dynamic);
    if (p->dynamic == NULL) {
        return qn_fail_memory(err, restart->program->graph.file, sizeof *p->dynamic);
    }
    QN_TRY(qn_dynamic_init(p->dynamic, p->quantizer, p->rank, p->dims, restart->program->options.cpu, err));
    if (p->dynamic->n_bytes > state->scratch_bytes) {
        state->scratch_bytes = p->dynamic->n_bytes;
    }
    return QN_OK;
}

/* Codes of values are followed where the program puts them through their quantizer. */
static qn_status place_value(qn_floats_injector *state, qn_floats_place *p, const qn_fault_target *t,
                             const qn_restart *restart, qn_error *err)
{
    const bool parameter = t->where >= QN_FAULT_SCALES;
    p->at = qn_restart_step(restart, t->value);
    p->start = p->at;
    p->per_item = qn_restart_item_count(restart, t->value);
    p->whole_batch = !qn_restart_is_by_item(restart, t->value);
    if (t->coding == QN_FAULT_F32 && !parameter) {
        p->kind = QN_FLOATS_VALUE;
        return QN_OK;
    }
    p->quantized = qn_restart_quantized(restart, t->value);
    p->quantizer = restart->program->graph.values[t->value].quantizer;
    if (p->quantized == NULL || p->quantizer == NULL || (parameter && p->quantizer->dynamic)) {
        return QN_OK;
    }
    p->kind = parameter ? QN_FLOATS_VALUE_PARAMETER : QN_FLOATS_VALUE;
    set_shape(p, p->quantized->rank, p->quantized->dims);
    if (parameter || p->quantizer->dynamic) {
        const size_t n = (size_t)(p->quantized->n_items * p->count);
        state->tensor_elems = n > state->tensor_elems ? n : state->tensor_elems;
        p->start = qn_restart_first_step(restart, t->value);
    }
    return p->quantizer->dynamic ? place_dynamic(state, p, restart, err) : QN_OK;
}

static qn_status place(qn_floats_injector *state, qn_floats_place *p, const qn_fault_target *t,
                       const qn_restart *restart, qn_error *err)
{
    switch (t->where) {
    case QN_FAULT_ACCUMULATORS:
    case QN_FAULT_PARTIAL_SUMS:
    case QN_FAULT_PRODUCTS:
        return QN_OK;
    default:
        break;
    }
    if (restart->program->binding.values[t->value].known != NULL) {
        return place_constant(p, t, restart, err);
    }
    return qn_restart_has(restart, t->value) ? place_value(state, p, t, restart, err) : QN_OK;
}

qn_status qn_floats_places(qn_floats_injector *state, const qn_injector_options *options, const qn_restart *restart,
                           qn_error *err)
{
    const qn_fault_targets *targets = options->targets;
    state->places = qn_alloc((size_t)targets->n * sizeof *state->places);
    if (state->places == NULL) {
        return qn_fail_memory(err, options->program->graph.file, (size_t)targets->n * sizeof *state->places);
    }
    QN_TRY(qn_floats_find_ways(state, options->program, restart, err));
    for (int i = 0; i < targets->n; i++) {
        qn_floats_place *p = &state->places[i];
        p->parameters = -1;
        QN_TRY(place(state, p, &targets->list[i], restart, err));
        for (int k = 0; k < targets->n && p->parameters < 0; k++) {
            const qn_fault_target *other = &targets->list[k];
            p->parameters = other->value == targets->list[i].value && other->where >= QN_FAULT_SCALES ? k : -1;
        }
    }
    return QN_OK;
}

void qn_floats_places_free(qn_floats_injector *state, int n_targets)
{
    qn_free(state->ways);
    for (int i = 0; state->places != NULL && i < n_targets; i++) {
        qn_quantizer_free(state->places[i].fitted);
        qn_free(state->places[i].dynamic);
    }
    qn_free(state->places);
}
