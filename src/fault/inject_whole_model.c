/* Faults in constants and quantizers: another model (doc/spec/arithmetic.md 7.2, 7.5). */
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "base/ratio.h"
#include "engine/integer/integer.h"
#include "fault/inject_whole.h"
#include "fault/targets.h"
#include "format/quantizer.h"
#include "format/row.h"
#include "graph/model.h"

bool qn_whole_is_static(qn_fault_where where)
{
    return where == QN_FAULT_WEIGHTS || where == QN_FAULT_BIASES ||
           (where >= QN_FAULT_SCALES && where != QN_FAULT_TABLES);
}

void qn_whole_note(qn_whole_codes *codes, const qn_fault_change *change, uint32_t before, uint32_t after)
{
    codes->active |= before != after;
    if (change == codes->fault->changes) {
        codes->before = before;
        codes->after = after;
    }
    if (codes->noted != NULL) {
        codes->noted(codes->ctx, change, before, after);
    }
}

int64_t qn_whole_end(const qn_whole_codes *codes, int64_t first)
{
    int64_t end = first + 1;
    while (end < codes->fault->n_changes && codes->fault->changes[end].target == codes->fault->changes[first].target) {
        end++;
    }
    return end;
}

static uint32_t add_to_code(const qn_fault_change *change, const qn_fault_target *target, const qn_params *params,
                            uint32_t code)
{
    if (target->coding == QN_FAULT_F32) {
        return qn_bits_of_f32((float)((double)qn_f32_of_bits(code) + change->add));
    }
    if (target->coding == QN_FAULT_CODED) {
        return qn_format_code(target->format, params, qn_format_value(target->format, params, code) + change->add, 0);
    }
    const bool is_unsigned = target->where == QN_FAULT_ZERO_POINTS && !target->format.is_signed;
    const double lo = is_unsigned ? 0 : -ldexp(1, target->bits - 1), hi = lo + ldexp(1, target->bits) - 1;
    const double was = is_unsigned ? (double)code : (double)qn_wrap_bits((int32_t)code, target->bits);
    const double sum = rint(was + change->add);
    return (uint32_t)(int64_t)(sum > hi ? hi : sum >= lo ? sum : lo); /* NaN becomes lo */
}

static bool is_finite(const qn_fault_target *target, uint32_t code)
{
    const qn_params neutral = qn_format_params_neutral();
    switch (target->coding) {
    case QN_FAULT_F32:
        return (code >> 23 & 0xff) != 0xff;
    case QN_FAULT_CODED:
        return isfinite(qn_format_value(target->format, &neutral, code));
    default:
        return true;
    }
}

uint32_t qn_whole_change(const qn_fault_change *change, const qn_fault_target *target, const qn_params *params,
                         uint32_t code)
{
    code = change->add != 0 ? add_to_code(change, target, params, code) : code;
    code = (((code & change->and_mask) | change->or_mask) ^ change->xor_mask) & qn_whole_mask(target->bits);
    return change->suppress && !is_finite(target, code) ? 0 : code; /* 0 in all formats that have NaN or infinities */
}

int64_t qn_whole_set(const qn_quantizer *q, int rank, const int64_t *dims, int64_t element)
{
    if (q->axis < 0) {
        return q->group > 0 ? element / q->group : 0;
    }
    int64_t inner = 1;
    for (int i = q->axis + 1; i < rank; i++) {
        inner *= dims[i];
    }
    const int64_t size = dims[q->axis], along = element / inner % size;
    if (q->group == 0) {
        return along;
    }
    const int64_t outer = element / (inner * size), per_row = (size + q->group - 1) / q->group;
    return (outer * per_row + along / q->group) * inner + element % inner;
}

uint32_t qn_whole_get_code(const void *codes, size_t code_size, int64_t element, int bits)
{
    uint32_t code = code_size == 1   ? ((const uint8_t *)codes)[element]
                    : code_size == 2 ? ((const uint16_t *)codes)[element]
                                     : ((const uint32_t *)codes)[element];
    return code & qn_whole_mask(bits);
}

void qn_whole_set_code(void *codes, size_t code_size, int64_t element, int bits, bool is_signed, uint32_t code)
{
    const uint32_t stored = is_signed ? (uint32_t)qn_wrap_bits((int32_t)code, bits) : code;
    if (code_size == 1) {
        ((uint8_t *)codes)[element] = (uint8_t)stored;
    } else if (code_size == 2) {
        ((uint16_t *)codes)[element] = (uint16_t)stored;
    } else {
        ((uint32_t *)codes)[element] = stored;
    }
}

/* A value of the changed model. `quantizer` is a copy of its own; `codes` those of a constant.
 *  given    the model has the codes; else they are gone again in the end, and their reals take their place */
typedef struct changed {
    qn_graph *graph;
    qn_value *value;
    qn_quantizer *quantizer;
    qn_tensor codes;
    bool given;
} changed;

static qn_status fit(changed *c, const qn_quantizer **q, qn_quantizer **fitted, qn_error *err)
{
    *q = c->value->quantizer;
    if (!(*q)->dynamic) {
        return QN_OK;
    }
    if (c->value->constant == NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, c->graph->file,
                       "the parameters of '%s' are fitted to every item: there is none to strike", c->value->name);
    }
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = (*q)->axis;
    options.group = (*q)->group;
    options.nan = QN_NAN_ZERO;
    options.inf = QN_INF_CLAMP;
    QN_TRY(qn_fit(fitted, c->value->constant, (*q)->format, &options, err));
    *q = *fitted;
    return QN_OK;
}

static qn_status copy_quantizer(changed *c, const qn_quantizer *q, qn_error *err)
{
    size_t n_bytes;
    void *memory = qn_quantizer_bytes(&n_bytes, q->n) ? qn_arena_alloc(&c->graph->arena, n_bytes) : NULL;
    if (memory == NULL) {
        return qn_fail_memory(err, c->graph->file, (size_t)q->n * sizeof(qn_params));
    }
    c->quantizer = qn_quantizer_place(memory, q);
    for (int64_t set = 0; set < q->n; set++) {
        qn_quantizer_set(c->quantizer, set, qn_quantizer_get(q, set));
    }
    return QN_OK;
}

static qn_status open_codes(changed *c, qn_error *err)
{
    const qn_tensor *x = c->value->constant;
    c->given = c->value->codes != NULL;
    if (x == NULL || c->given) {
        c->codes = c->given ? *c->value->codes : c->codes;
        return QN_OK;
    }
    c->codes = *x;
    c->codes.dtype = qn_format_dtype(c->quantizer->format);
    c->codes.owns_data = false;
    c->codes.data = qn_arena_array(&c->graph->arena, (size_t)qn_tensor_count(x), qn_dtype_size(c->codes.dtype));
    if (c->codes.data == NULL) {
        return qn_fail_memory(err, c->graph->file, qn_tensor_bytes(&c->codes));
    }
    qn_quantizer_encode(c->codes.data, x->data, c->quantizer, x->rank, x->dims);
    return QN_OK;
}

static qn_status open_value(changed *c, qn_graph *graph, qn_value_id id, qn_error *err)
{
    *c = (changed){.graph = graph, .value = &graph->values[id]};
    qn_quantizer *fitted = NULL;
    const qn_quantizer *q;
    qn_status status = fit(c, &q, &fitted, err);
    status = status == QN_OK ? copy_quantizer(c, q, err) : status;
    qn_quantizer_free(fitted);
    return status == QN_OK ? open_codes(c, err) : status;
}

/* What the codes stand for; of those that did not change the constant keeps its own. */
static qn_status close_value(changed *c, const qn_whole_codes *codes, int64_t first, int64_t end, bool all,
                             qn_error *err)
{
    const qn_tensor *x = c->value->constant;
    c->value->quantizer = c->quantizer;
    if (x == NULL) {
        return QN_OK;
    }
    const int64_t n = qn_tensor_count(x);
    float *y = qn_alloc((size_t)n * sizeof *y), *to = x->data;
    if (y == NULL) {
        return qn_fail_memory(err, c->graph->file, (size_t)n * sizeof *y);
    }
    qn_quantizer_decode(y, c->codes.data, c->quantizer, x->rank, x->dims);
    if (all || !c->given) {
        memcpy(to, y, (size_t)n * sizeof *y);
    }
    for (int64_t i = first; !all && i < end; i++) {
        const int64_t element = codes->fault->changes[i].element;
        to[element] = y[element];
    }
    qn_free(y);
    if (!c->given) { /* reals must not be encoded again: some codes have the same real */
        c->value->quantizer = NULL;
    }
    return QN_OK;
}

static qn_status change_floats(qn_graph *graph, const qn_program *program, qn_whole_codes *codes, int64_t first,
                               int64_t end, qn_error *err)
{
    const qn_fault_target *target = qn_whole_target(codes, first);
    if (graph->values[target->value].constant == NULL) {
        QN_TRY(qn_graph_settle(graph, target->value, program->binding.values[target->value].known, err));
    }
    float *x = graph->values[target->value].constant->data;
    for (int64_t i = first; i < end; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        const uint32_t before = qn_bits_of_f32(x[change->element]);
        const uint32_t after = qn_whole_change(change, target, NULL, before);
        x[change->element] = qn_f32_of_bits(after);
        qn_whole_note(codes, change, before, after);
    }
    return QN_OK;
}

static qn_status change_constant(qn_graph *graph, qn_whole_codes *codes, int64_t first, int64_t end, qn_error *err)
{
    const qn_fault_target *target = qn_whole_target(codes, first);
    changed c;
    QN_TRY(open_value(&c, graph, target->value, err));
    const qn_format format = c.quantizer->format;
    const size_t size = qn_dtype_size(c.codes.dtype);
    for (int64_t i = first; i < end; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        const int64_t set = qn_whole_set(c.quantizer, c.codes.rank, c.codes.dims, change->element);
        const qn_params params = qn_quantizer_get(c.quantizer, set);
        const uint32_t before = qn_whole_get_code(c.codes.data, size, change->element, format.bits);
        const uint32_t after = qn_whole_change(change, target, &params, before);
        qn_whole_set_code(c.codes.data, size, change->element, format.bits,
                          format.kind == QN_FORMAT_INT && format.is_signed, after);
        qn_whole_note(codes, change, before, after);
    }
    return close_value(&c, codes, first, end, false, err);
}

static uint32_t parameter_code(qn_fault_where where, const qn_params *params)
{
    switch (where) {
    case QN_FAULT_SCALES:
        return qn_bits_of_f32(params->scale);
    case QN_FAULT_ZERO_POINTS:
        return (uint32_t)params->zero_point;
    default:
        return (uint32_t)params->exp_bias;
    }
}

/* A zero point is a code: signed where codes are. */
static void set_parameter(qn_params *params, const qn_fault_target *target, bool is_signed, uint32_t code)
{
    if (target->where == QN_FAULT_SCALES) {
        params->scale = qn_f32_of_bits(code);
    } else if (target->where == QN_FAULT_ZERO_POINTS) {
        params->zero_point = is_signed ? qn_wrap_bits((int32_t)code, target->bits) : (int32_t)code;
    } else {
        params->exp_bias = qn_wrap_bits((int32_t)code, target->bits);
    }
}

/* Do the parameters keep their rules? Those of activations are of one item, or of the whole value. */
static bool is_legal(const changed *c, const qn_program *program, qn_value_id id)
{
    const qn_tensor *x = c->value->constant;
    if (x != NULL) {
        return qn_quantizer_check(c->quantizer, x->rank, x->dims, NULL, NULL) == QN_OK;
    }
    const qn_bound_value *bound = &program->binding.values[id];
    int64_t dims[QN_MAX_RANK];
    memcpy(dims, bound->dims, sizeof dims);
    if (qn_quantizer_check(c->quantizer, bound->rank, dims, NULL, NULL) == QN_OK) {
        return true;
    }
    dims[0] = 1;
    return qn_quantizer_check(c->quantizer, bound->rank, dims, NULL, NULL) == QN_OK;
}

static qn_status change_parameters(qn_graph *graph, const qn_program *program, qn_whole_codes *codes, int64_t first,
                                   int64_t end, bool *refused, qn_error *err)
{
    const qn_fault_target *target = qn_whole_target(codes, first);
    changed c;
    QN_TRY(open_value(&c, graph, target->value, err));
    for (int64_t i = first; i < end; i++) {
        const qn_fault_change *change = &codes->fault->changes[i];
        qn_params params = qn_quantizer_get(c.quantizer, change->element);
        const uint32_t before = parameter_code(target->where, &params) & qn_whole_mask(target->bits);
        const uint32_t after = qn_whole_change(change, target, NULL, before);
        if (after != before) {
            set_parameter(&params, target, c.quantizer->format.is_signed, after);
            qn_quantizer_set(c.quantizer, change->element, params);
        }
        qn_whole_note(codes, change, before, after);
    }
    *refused = *refused || !is_legal(&c, program, target->value);
    return close_value(&c, codes, first, end, true, err);
}

/* The codes of a bias in the sums of a step; NULL where there are none. */
static const qn_value *bias_of(const qn_program *program, const qn_integer_step *step)
{
    const qn_graph *graph = &program->graph;
    const qn_node *node = step->node;
    const qn_integer_requantize *r = step->u.conv.requantize;
    const qn_integer_code *code = program->code;
    qn_value_id bias = node->n_inputs > 2 ? node->inputs[2] : QN_NO_VALUE;
    if (r != NULL && r->decode != NULL && r->decode->bias != NULL) {
        return NULL;
    }
    const qn_value_id made = code->tensors[step->output].value;
    for (int32_t at = graph->values[made].producer; bias == QN_NO_VALUE && at >= 0;) { /* an Add fused behind it */
        const qn_node *after = &graph->nodes[at];
        if (after == node) {
            break;
        }
        const bool second = after->op == QN_OP_ADD && after->inputs[1] == node->outputs[0];
        bias = after->op == QN_OP_ADD ? after->inputs[second ? 0 : 1] : QN_NO_VALUE;
        at = graph->values[after->inputs[0]].producer;
    }
    return bias != QN_NO_VALUE && graph->values[bias].codes != NULL ? &graph->values[bias] : NULL;
}

/* Biases in sums are at the scale of the sums, whatever that has become (2.4). */
static qn_status follow_biases(qn_graph *graph, const qn_program *program, qn_error *err)
{
    const qn_integer_code *code = program->code;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        const bool layer = step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
        const qn_value *bias = layer ? bias_of(program, step) : NULL;
        if (bias == NULL) {
            continue;
        }
        const qn_quantizer *x = qn_targets_quantizer(graph, step->node->inputs[0]);
        const qn_quantizer *w = graph->values[step->node->inputs[1]].quantizer;
        changed c;
        QN_TRY(open_value(&c, graph, (qn_value_id)(bias - program->graph.values), err));
        const int64_t n = c.quantizer->n;
        for (int64_t k = 0; k < n; k++) {
            qn_params params = qn_quantizer_get(c.quantizer, k);
            params.scale = qn_quantizer_get(x, 0).scale * qn_quantizer_get(w, w->n == 1 ? 0 : k).scale;
            qn_quantizer_set(c.quantizer, k, params);
        }
        QN_TRY(close_value(&c, NULL, 0, 0, true, err));
    }
    return QN_OK;
}

static qn_status change_model(qn_graph *graph, const qn_program *program, qn_whole_codes *codes, bool *refused,
                              qn_error *err)
{
    bool scales = false;
    for (int64_t first = 0, end; first < codes->fault->n_changes; first = end) {
        const qn_fault_target *target = qn_whole_target(codes, first);
        end = qn_whole_end(codes, first);
        if (!qn_whole_is_static(target->where)) {
            continue;
        }
        scales = scales || target->where == QN_FAULT_SCALES;
        if (target->where >= QN_FAULT_SCALES) {
            QN_TRY(change_parameters(graph, program, codes, first, end, refused, err));
        } else if (target->coding == QN_FAULT_F32) {
            QN_TRY(change_floats(graph, program, codes, first, end, err));
        } else {
            QN_TRY(change_constant(graph, codes, first, end, err));
        }
    }
    const bool sums = scales && !*refused && program->engine == &qn_engine_integer_ops;
    return sums ? follow_biases(graph, program, err) : QN_OK;
}

/* Does a node run in float that ran on codes? Then its scales have no multiplier, as no other rule hangs on what a fault
 * can change (7.5). */
static bool lacks_multiplier(const qn_program *golden, const qn_program *faulty)
{
    if (golden->engine != &qn_engine_integer_ops) {
        return false;
    }
    const qn_integer_code *before = golden->code, *after = faulty->code;
    for (size_t i = 0; i < golden->graph.n_nodes; i++) {
        if (before->island_reason[i] == NULL && after->island_reason[i] != NULL) {
            return true;
        }
    }
    return false;
}

qn_status qn_whole_program(qn_program **program, bool *refused, const qn_injector_options *options,
                           qn_whole_codes *codes, qn_error *err)
{
    qn_model model = {0};
    *program = NULL;
    *refused = false;
    qn_status status = qn_graph_clone(&model.graph, &options->model->graph, err);
    if (status == QN_OK && codes->fault != NULL) {
        status = change_model(&model.graph, options->program, codes, refused, err);
    }
    if (status == QN_OK && !*refused) {
        qn_error reason;
        qn_error_init(&reason);
        status = qn_program_create(program, &model, &options->program->options, &reason);
        *refused = status != QN_OK && status != QN_ENOMEM;
        status = *refused ? QN_OK : status;
        status = status == QN_OK ? QN_OK : qn_fail(err, status, model.graph.file, "%s", reason.message);
    }
    if (*program != NULL && lacks_multiplier(options->program, *program)) {
        *refused = true;
        qn_program_free(*program);
        *program = NULL;
    }
    qn_graph_free(&model.graph);
    return status;
}
