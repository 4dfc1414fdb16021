/* Machines: where targets are in a program of the integer engine. */
#include <string.h>

#include "fault/inject_integer.h"
#include "fault/targets.h"

static bool is_conv(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}

/* The only step that `match` finds, when it alone reads the constant; else -1. */
static int reader_of(const qn_machine *m, const int32_t *uses, qn_value_id value, bool bias)
{
    const qn_integer_code *code = m->plan->code;
    int found = -1;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_conv *conv = &code->steps[i].u.conv;
        if (is_conv(&code->steps[i]) && (bias ? conv->bias_value : conv->weights_value) == value) {
            found = found < 0 ? i : -2;
        }
    }
    return found >= 0 && uses[value] == 1 ? found : -1;
}

static void place_constant(const qn_machine *m, const int32_t *uses, const qn_fault_target *t, qn_site *site)
{
    const qn_value *v = &m->program->graph.values[t->value];
    const bool bias = t->where == QN_FAULT_BIASES;
    const int step = reader_of(m, uses, t->value, bias);
    const bool float_bias =
        bias && step >= 0 && m->plan->steps[step].finish.decodes && m->plan->steps[step].finish.bias != NULL;
    if (step < 0 || (v->codes == NULL && !float_bias)) {
        return; /* another model */
    }
    const qn_integer_step *s = &m->plan->code->steps[step];
    const qn_integer_conv *conv = &s->u.conv;
    const int n_channels = conv->n_groups * conv->group_outputs;
    *site = (qn_site){.step = step, .tensor = s->output, .codes = v->codes, .quantizer = v->quantizer};
    site->floats = v->constant != NULL ? v->constant->data : NULL;
    site->terms = (int64_t)conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
    const bool by_rows =
        s->node->op == QN_OP_CONV || (s->node->op == QN_OP_GEMM && qn_node_int(s->node, "transB", 0) != 0);
    site->columns = by_rows ? 0 : n_channels;
    site->one = t->n_elems == 1 && n_channels > 1;
    switch (t->where) {
    case QN_FAULT_WEIGHTS:
        site->kind = QN_SITE_WEIGHTS;
        break;
    case QN_FAULT_BIASES:
        site->kind = float_bias ? QN_SITE_FLOAT_BIASES : QN_SITE_BIASES;
        break;
    case QN_FAULT_SCALES:
        site->kind = QN_SITE_SCALES;
        break;
    case QN_FAULT_ZERO_POINTS:
        site->kind = QN_SITE_ZERO_POINTS;
        break;
    default:
        site->kind = QN_SITE_MODEL;
        break;
    }
}

static bool makes(const qn_node *node, qn_value_id value)
{
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == value) {
            return true;
        }
    }
    return false;
}

/* The tensor in which a value's codes come about: others are the same in another order, made of it for a reader. */
static int first_tensor(const qn_machine *m, int tensor)
{
    const qn_integer_code *code = m->plan->code;
    for (;;) {
        tensor = qn_region_base(code, tensor);
        const qn_integer_tensor *t = &code->tensors[tensor];
        const qn_integer_step *maker = t->first_step >= 0 ? &code->steps[t->first_step] : NULL;
        if (maker == NULL || maker->kind != QN_STEP_GATHER || maker->output != tensor || maker->node == NULL ||
            makes(maker->node, t->value)) {
            return tensor;
        }
        tensor = maker->input[0];
    }
}

/* Does the node show its input, so that its floats are those of the input's tensor? */
static bool shows(const qn_node *node)
{
    switch (node->op) {
    case QN_OP_RESHAPE:
    case QN_OP_FLATTEN:
    case QN_OP_IDENTITY:
    case QN_OP_DROPOUT:
    case QN_OP_SQUEEZE:
    case QN_OP_UNSQUEEZE:
    case QN_OP_CAST:
        return true;
    default:
        return false;
    }
}

static int real_tensor(const qn_machine *m, qn_value_id value)
{
    const qn_integer_code *code = m->plan->code;
    const qn_graph *graph = &m->program->graph;
    for (;;) {
        for (int i = 0; i < code->n_tensors; i++) {
            if (code->tensors[i].real && code->tensors[i].value == value && m->plan->last_writer[i] >= 0) {
                return i;
            }
        }
        const int32_t producer = graph->values[value].producer;
        if (producer < 0 || !shows(&graph->nodes[producer])) {
            return -1;
        }
        value = graph->nodes[producer].inputs[0];
    }
}

static void place_activation(const qn_machine *m, const qn_fault_target *t, qn_site *site)
{
    const int coded = m->plan->code->tensor_of[t->value];
    if (t->coding == QN_FAULT_CODED && coded >= 0) {
        site->tensor = first_tensor(m, coded);
        site->kind = QN_SITE_CODES;
        site->raise = t->format.is_signed ? 128 : 0;
    } else if (t->coding == QN_FAULT_F32) {
        site->tensor = real_tensor(m, t->value);
        site->kind = QN_SITE_REALS;
    }
    site->step = site->tensor >= 0 ? m->plan->last_writer[site->tensor] : -1;
}

static void place_sums(const qn_machine *m, const qn_fault_target *t, qn_site *site)
{
    const qn_integer_code *code = m->plan->code;
    for (int i = 0; i < code->n_steps; i++) {
        if (is_conv(&code->steps[i]) && code->steps[i].node == &m->program->graph.nodes[t->node]) {
            site->step = i;
            site->tensor = code->steps[i].output;
            site->kind = t->where == QN_FAULT_ACCUMULATORS ? QN_SITE_ACCUMULATORS
                         : t->where == QN_FAULT_PRODUCTS   ? QN_SITE_PRODUCTS
                                                           : QN_SITE_PARTIAL_SUMS;
            return;
        }
    }
}

static void place_tables(const qn_machine *m, const qn_fault_target *t, qn_site *site)
{
    qn_fault_table table;
    site->kind = QN_SITE_TABLES;
    if (qn_targets_find_table(m->program, t->value, 0, &table)) {
        site->tensor = m->plan->code->steps[table.step].output;
        site->step = m->plan->last_writer[qn_region_base(m->plan->code, site->tensor)];
        site->raise = m->plan->code->tensors[site->tensor].raised;
    }
}

static void place(const qn_machine *m, const int32_t *uses, const qn_fault_target *t, qn_site *site)
{
    const qn_value *v = &m->program->graph.values[t->value];
    const bool constant = v->constant != NULL || v->codes != NULL;
    *site = (qn_site){.kind = QN_SITE_MODEL, .step = -1, .tensor = -1};
    switch (t->where) {
    case QN_FAULT_INPUTS:
    case QN_FAULT_ACTIVATIONS:
        place_activation(m, t, site);
        break;
    case QN_FAULT_ACCUMULATORS:
    case QN_FAULT_PARTIAL_SUMS:
    case QN_FAULT_PRODUCTS:
        place_sums(m, t, site);
        break;
    case QN_FAULT_TABLES:
        place_tables(m, t, site);
        break;
    default:
        if (constant) {
            place_constant(m, uses, t, site);
        }
        break;
    }
}

static qn_status place_all(qn_machine *m, qn_error *err)
{
    const qn_fault_targets *targets = m->targets;
    m->sites = qn_alloc(((size_t)targets->n + 1) * sizeof *m->sites);
    int32_t *uses = qn_graph_count_uses(&m->program->graph);
    if (m->sites == NULL || uses == NULL) {
        qn_free(uses);
        return qn_fail_memory(err, m->program->graph.file, (size_t)targets->n * sizeof *m->sites);
    }
    for (int i = 0; i < targets->n; i++) {
        place(m, uses, &targets->list[i], &m->sites[i]);
    }
    qn_free(uses);
    return QN_OK;
}

static void measure(qn_machine *m)
{
    const qn_integer_code *code = m->plan->code;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_conv *conv = &code->steps[i].u.conv;
        if (is_conv(&code->steps[i])) {
            const int terms = conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
            m->most_terms = m->most_terms > terms ? m->most_terms : terms;
        }
    }
}

qn_status qn_machine_make(qn_machine *machine, const qn_program *program, bool own, const qn_fault_targets *targets,
                          qn_error *err)
{
    *machine = (qn_machine){.program = program, .targets = targets};
    qn_status status = qn_graph_get_arithmetic(&program->graph, &machine->arithmetic, err);
    if (status == QN_OK) {
        status = qn_region_plan_make(&machine->plan, program, err);
    }
    if (status == QN_OK) {
        status = place_all(machine, err);
    }
    if (status == QN_OK) {
        machine->accumulator_bits =
            machine->arithmetic.accumulator_bits > 0 ? machine->arithmetic.accumulator_bits : 32;
        machine->saturates = machine->arithmetic.saturate;
        measure(machine);
    }
    machine->owns = own;
    return status;
}

void qn_machine_free(qn_machine *machine)
{
    qn_region_plan_free(machine->plan);
    qn_free(machine->sites);
    if (machine->owns) {
        union {
            const qn_program *borrowed;
            qn_program *own;
        } program = {machine->program};
        qn_program_free(program.own);
    }
    *machine = (qn_machine){0};
}

qn_weight_place qn_site_weight(const qn_site *site, const qn_integer_conv *conv, int64_t element)
{
    const int64_t k = site->columns > 0 ? element % site->columns : element / site->terms;
    const int64_t i = site->columns > 0 ? element / site->columns : element % site->terms;
    const int pixels = conv->kernel[0] * conv->kernel[1];
    return (qn_weight_place){(int)k, (int)(i % pixels) / conv->kernel[1], (int)(i % pixels) % conv->kernel[1],
                             (int)(i / pixels)};
}

static uint32_t low_bits(int bits)
{
    return bits >= 32 ? UINT32_MAX : (UINT32_C(1) << bits) - 1;
}

uint32_t qn_constant_pattern(const qn_tensor *codes, int64_t element, int bits)
{
    const int32_t code = codes->dtype == QN_DTYPE_S32  ? ((const int32_t *)codes->data)[element]
                         : codes->dtype == QN_DTYPE_S8 ? ((const int8_t *)codes->data)[element]
                                                       : ((const uint8_t *)codes->data)[element];
    return (uint32_t)code & low_bits(bits);
}

int32_t qn_pattern_number(uint32_t pattern, int bits, bool is_signed)
{
    return is_signed ? qn_wrap_bits((int32_t)pattern, bits) : (int32_t)(pattern & low_bits(bits));
}
