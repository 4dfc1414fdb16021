/* Faults of which another model is made: parameters of activations, constants of nodes in float, and constants that several
 * nodes read (doc/spec/arithmetic.md 7.2, 7.5). */
#include <string.h>

#include "fault/inject_integer.h"
#include "fault/targets.h"
#include "graph/model.h"

bool qn_fault_needs_model(const qn_machine *machine, const qn_fault *fault)
{
    for (int64_t i = 0; i < fault->n_changes; i++) {
        if (machine->sites[fault->changes[i].target].kind == QN_SITE_MODEL) {
            return true;
        }
    }
    return false;
}

/* Scales of weights join the others: ratios are checked, and scales of biases follow, with all of them. */
static bool is_of_model(const qn_machine *golden, int32_t target)
{
    return golden->sites[target].kind == QN_SITE_MODEL || golden->sites[target].kind == QN_SITE_SCALES;
}

/* The faulty model under way. */
typedef struct faulty {
    const qn_machine *golden;
    const qn_fault *fault;
    qn_model model;
    bool refused;
    uint32_t *before, *after;
} faulty;

static uint32_t apply(faulty *f, int64_t change, uint32_t code)
{
    const qn_fault_change *c = &f->fault->changes[change];
    const uint32_t after = qn_fault_apply(c, &f->golden->targets->list[c->target], f->golden->program, code);
    if (change == 0) {
        *f->before = code;
        *f->after = after;
    }
    return after;
}

/* A tensor of the clone, which nobody else has. */
static void *elements_of(const qn_tensor *t)
{
    return t->data;
}

static void set_code(const qn_tensor *codes, int64_t element, int32_t number)
{
    if (codes->dtype == QN_DTYPE_S32) {
        ((int32_t *)elements_of(codes))[element] = number;
    } else {
        ((uint8_t *)elements_of(codes))[element] = (uint8_t)number;
    }
}

/* One element of a coded constant: its code, and what that stands for. Those that have reals only are coded first. */
static qn_status change_code(faulty *f, int64_t change, const qn_fault_target *t, qn_value *v, qn_error *err)
{
    const int64_t element = f->fault->changes[change].element, n = qn_tensor_count(v->constant);
    const bool is_signed = v->quantizer->format.is_signed || t->coding == QN_FAULT_S32;
    float *decoded = qn_alloc((size_t)n * sizeof *decoded), *reals = elements_of(v->constant);
    qn_tensor made = *v->constant;
    made.dtype = qn_format_dtype(v->quantizer->format);
    made.data = v->codes == NULL ? qn_alloc((size_t)n * qn_dtype_size(made.dtype)) : NULL;
    if (decoded == NULL || (v->codes == NULL && made.data == NULL)) {
        qn_free(decoded);
        qn_free(made.data);
        return qn_fail_memory(err, t->layer, (size_t)n * sizeof *decoded);
    }
    const qn_tensor *codes = v->codes != NULL ? v->codes : &made;
    if (v->codes == NULL) {
        qn_quantizer_encode(made.data, reals, v->quantizer, made.rank, made.dims);
    }
    set_code(codes, element,
             qn_pattern_number(apply(f, change, qn_constant_pattern(codes, element, t->bits)), t->bits, is_signed));
    qn_quantizer_decode(decoded, codes->data, v->quantizer, codes->rank, codes->dims);
    if (v->codes != NULL) {
        reals[element] = decoded[element];
    } else {
        memcpy(reals, decoded, (size_t)n * sizeof *reals);
    }
    qn_free(decoded);
    qn_free(made.data);
    return QN_OK;
}

/* One element of a constant. */
static qn_status change_constant(faulty *f, int64_t change, qn_error *err)
{
    const qn_fault_change *c = &f->fault->changes[change];
    const qn_fault_target *t = &f->golden->targets->list[c->target];
    if (f->model.graph.values[t->value].constant == NULL) {
        QN_TRY(qn_graph_settle(&f->model.graph, t->value, f->golden->program->binding.values[t->value].known, err));
    }
    qn_value *v = &f->model.graph.values[t->value];
    if (t->coding != QN_FAULT_F32) {
        return change_code(f, change, t, v, err);
    }
    float *real = (float *)elements_of(v->constant) + c->element;
    uint32_t bits;
    memcpy(&bits, real, sizeof bits);
    bits = apply(f, change, bits);
    memcpy(real, &bits, sizeof bits);
    return QN_OK;
}

static qn_status set_quantizer(faulty *f, qn_value_id value, const qn_fault_target *t, int64_t element, float scale,
                               int32_t zero_point, qn_error *err)
{
    const qn_quantizer *old = f->model.graph.values[value].quantizer;
    qn_quantizer q = *old;
    const size_t n = (size_t)q.n;
    float *scales = qn_alloc(n * sizeof *scales);
    int32_t *zeros = qn_alloc(n * sizeof *zeros);
    qn_status status = scales != NULL && zeros != NULL ? QN_OK : qn_fail_memory(err, t->layer, n * sizeof *scales);
    if (status == QN_OK) {
        memcpy(scales, q.scale, n * sizeof *scales);
        memcpy(zeros, q.zero_point, n * sizeof *zeros);
        scales[element] = scale;
        zeros[element] = zero_point;
        q.scale = scales;
        q.zero_point = zeros;
        status = qn_graph_set_quantizer(&f->model.graph, value, &q, err);
    }
    qn_free(scales);
    qn_free(zeros);
    return status;
}

static qn_status change_parameter(faulty *f, int64_t change, qn_error *err)
{
    const qn_fault_change *c = &f->fault->changes[change];
    const qn_fault_target *t = &f->golden->targets->list[c->target];
    const qn_quantizer *q = f->model.graph.values[t->value].quantizer;
    float scale = q->scale[c->element];
    int32_t zero = q->zero_point[c->element], lo, hi;
    if (t->where == QN_FAULT_SCALES) {
        uint32_t bits;
        memcpy(&bits, &scale, sizeof bits);
        bits = apply(f, change, bits);
        memcpy(&scale, &bits, sizeof scale);
        f->refused |= !(scale >= 0x1p-126f && scale <= 0x1.fffffep127f);
    } else {
        const uint32_t mask = t->bits >= 32 ? UINT32_MAX : (UINT32_C(1) << t->bits) - 1;
        zero = qn_pattern_number(apply(f, change, (uint32_t)zero & mask), t->bits, t->format.is_signed);
        qn_format_range(q->format, &lo, &hi);
        f->refused |= zero < lo || zero > hi;
    }
    const qn_value *v = &f->model.graph.values[t->value];
    if (v->constant != NULL || v->codes != NULL) {
        QN_TRY(set_quantizer(f, t->value, t, c->element, scale, zero, err));
        float *real = v->constant != NULL ? elements_of(v->constant) : NULL;
        if (real != NULL && v->codes != NULL) { /* the codes stay, and stand for something else */
            qn_quantizer_decode(real, v->codes->data, v->quantizer, v->codes->rank, v->codes->dims);
        }
        return QN_OK;
    }
    return set_quantizer(f, t->value, t, c->element, scale, zero, err);
}

/* Biases in sums are added as they are: what their scale says follows what it has to be. */
static qn_status follow_biases(faulty *f, qn_error *err)
{
    const qn_integer_code *code = f->golden->plan->code;
    const qn_graph *graph = &f->model.graph;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        const bool conv = step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
        if (!conv || step->u.conv.bias_value == QN_NO_VALUE || f->golden->plan->steps[i].finish.bias != NULL) {
            continue;
        }
        const qn_quantizer *w = graph->values[step->u.conv.weights_value].quantizer;
        qn_value_id x = step->node->inputs[0];
        const qn_quantizer *qx = qn_targets_quantizer(graph, x);
        qn_quantizer b = *graph->values[step->u.conv.bias_value].quantizer;
        float *scale = qn_alloc((size_t)b.n * sizeof *scale);
        if (scale == NULL) {
            return qn_fail_memory(err, graph->file, (size_t)b.n * sizeof *scale);
        }
        for (int64_t k = 0; k < b.n; k++) {
            scale[k] = qx->scale[0] * w->scale[w->n == 1 ? 0 : k];
            f->refused |= !(scale[k] >= 0 && scale[k] <= 0x1.fffffep127f);
        }
        b.scale = scale;
        const qn_status status = qn_graph_set_quantizer(&f->model.graph, step->u.conv.bias_value, &b, err);
        qn_free(scale);
        QN_TRY(status);
    }
    return QN_OK;
}

static qn_status change_model(faulty *f, qn_error *err)
{
    bool parameters = false;
    for (int64_t i = 0; i < f->fault->n_changes; i++) {
        const int32_t target = f->fault->changes[i].target;
        const qn_fault_where where = f->golden->targets->list[target].where;
        if (!is_of_model(f->golden, target)) {
            continue;
        }
        if (where == QN_FAULT_WEIGHTS || where == QN_FAULT_BIASES) {
            QN_TRY(change_constant(f, i, err));
        } else if (where == QN_FAULT_SCALES || where == QN_FAULT_ZERO_POINTS) {
            QN_TRY(change_parameter(f, i, err));
            parameters = true;
        } else {
            return qn_fail(err, QN_EUNSUPPORTED, f->golden->targets->list[target].layer,
                           "%s of '%s' have no place in the integer engine", qn_fault_where_text(where),
                           f->golden->targets->list[target].value_name);
        }
    }
    return parameters && !f->refused ? follow_biases(f, err) : QN_OK;
}

/* Does a node run in float that ran on codes, because its scales have no multiplier any more (7.5)? */
static bool lacks_multiplier(const qn_program *golden, const qn_program *made)
{
    const qn_integer_code *before = golden->code, *after = made->code;
    for (size_t i = 0; i < golden->graph.n_nodes; i++) {
        if (before->island_reason[i] == NULL && after->island_reason[i] != NULL) {
            return true;
        }
    }
    return false;
}

/* A model that the engine does not take because of a ratio of scales is refused as a fault is, not an error. */
static qn_status compile(faulty *f, qn_machine *machine, qn_error *err)
{
    qn_program *program = NULL;
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_program_create(&program, &f->model, &f->golden->program->options, &reason);
    if (status == QN_EUNSUPPORTED || status == QN_ERANGE || status == QN_EINVAL || status == QN_EFORMAT) {
        f->refused = true;
        return QN_OK;
    }
    if (status != QN_OK) {
        if (err != NULL) {
            *err = reason;
        }
        return status;
    }
    if (lacks_multiplier(f->golden->program, program)) {
        f->refused = true;
        qn_program_free(program);
        return QN_OK;
    }
    QN_TRY(qn_machine_make(machine, program, true, f->golden->targets, err));
    for (int i = 0; i < machine->targets->n; i++) {
        machine->sites[i].kind = is_of_model(machine, i) ? QN_SITE_MODEL : machine->sites[i].kind;
    }
    return QN_OK;
}

qn_status qn_machine_make_faulty(qn_machine *machine, const qn_machine *golden, const qn_model *model,
                                 const qn_fault *fault, bool *refused, uint32_t *before, uint32_t *after, qn_error *err)
{
    faulty f = {.golden = golden, .fault = fault, .before = before, .after = after};
    qn_status status = qn_graph_clone(&f.model.graph, &model->graph, err);
    if (status == QN_OK) {
        status = change_model(&f, err);
    }
    if (status == QN_OK && !f.refused) {
        status = compile(&f, machine, err);
    }
    qn_graph_free(&f.model.graph);
    *refused = f.refused;
    return status;
}
