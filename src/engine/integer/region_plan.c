/* Plans of regions: who reads what, how sums become codes, golden's layout. */
#include "engine/integer/region.h"

#include <string.h>

#include "base/arith.h"
#include "base/memory.h"

enum { VECTOR = 16 };

static bool is_conv(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}

/* Index of output channel k in arrays kept in the layout's order. */
static size_t entry_of(const qn_integer_step *step, int k)
{
    const qn_integer_conv *conv = &step->u.conv;
    const int per = step->kind == QN_STEP_DEPTHWISE ? conv->n_groups : conv->group_outputs;
    return (size_t)(k / per) * conv->group_entries + (size_t)qn_layout_channel(&conv->layout, k % per);
}

static qn_status set_finish(qn_region_plan *plan, const qn_integer_step *step, qn_region_finish *finish, qn_error *err)
{
    const qn_integer_conv *conv = &step->u.conv;
    const int n = conv->n_groups * conv->group_outputs;
    if (conv->requantize != NULL) {
        *finish = (qn_region_finish){.params = conv->requantize->params, .run = conv->requantize->run};
        const qn_integer_decode *decode = conv->requantize->decode;
        if (decode != NULL) {
            finish->decodes = true;
            finish->scale = decode->scale;
            finish->bias = decode->bias;
            finish->low = decode->lo;
            finish->high = decode->hi;
        }
        return QN_OK;
    }
    float *ratio = qn_arena_array(&plan->arena, (size_t)n + VECTOR, sizeof *ratio);
    if (ratio == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *ratio);
    }
    for (int k = 0; k < n; k++) {
        ratio[k] = conv->multiplier[entry_of(step, k)];
    }
    finish->params = (qn_requantize_params){
        .ratio = ratio, .bits = 32, .zero_point = conv->zero_point, .lo = conv->lo, .hi = conv->hi};
    finish->run = qn_requantize_select(plan->program->options.cpu);
    return QN_OK;
}

int32_t qn_region_weight(const qn_integer_step *step, int k, int tap, int c)
{
    const qn_integer_conv *conv = &step->u.conv;
    if (step->kind == QN_STEP_DEPTHWISE) {
        return qn_layout_get(&conv->layout, conv->weights, k, tap, 0);
    }
    const int segment = conv->rows_adjoin ? tap / conv->kernel[1] : tap;
    const int j = conv->rows_adjoin ? tap % conv->kernel[1] * conv->group_inputs + c : c;
    const void *weights = (const char *)conv->weights + (size_t)(k / conv->group_outputs) * conv->group_bytes;
    return qn_layout_get(&conv->layout, weights, k % conv->group_outputs, segment, j);
}

/* Biases as they were before zero points of the input were folded into them. */
static qn_status set_bias(qn_region_plan *plan, const qn_integer_step *step, qn_region_step *s, int32_t zero_x,
                          qn_error *err)
{
    const qn_integer_conv *conv = &step->u.conv;
    const int n = conv->n_groups * conv->group_outputs, n_taps = conv->kernel[0] * conv->kernel[1];
    s->plain_bias = qn_arena_array(&plan->arena, (size_t)n, sizeof *s->plain_bias);
    if (s->plain_bias == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n * sizeof *s->plain_bias);
    }
    for (int k = 0; k < n; k++) {
        int32_t sum = 0;
        for (int tap = 0; tap < n_taps; tap++) {
            for (int c = 0; c < conv->group_inputs; c++) {
                sum = qn_add_wrap_s32(sum, qn_region_weight(step, k, tap, c));
            }
        }
        s->plain_bias[k] = qn_add_wrap_s32(conv->bias[entry_of(step, k)], qn_mul_wrap_s32(zero_x, sum));
    }
    return QN_OK;
}

/* Which outputs each input element of a gather becomes. */
static qn_status set_gather(qn_region_plan *plan, const qn_integer_step *step, qn_region_step *s, qn_error *err)
{
    const qn_integer_tensor *x = &plan->code->tensors[step->input[0]], *y = &plan->code->tensors[step->output];
    const size_t n = (size_t)x->height * (size_t)x->width * (size_t)x->channels;
    const size_t n_out = (size_t)y->height * (size_t)y->width * (size_t)y->channels;
    s->first = qn_arena_array(&plan->arena, n + 2, sizeof *s->first);
    s->to = qn_arena_array(&plan->arena, n_out + 1, sizeof *s->to);
    if (s->first == NULL || s->to == NULL) {
        return qn_fail_memory(err, NULL, (n + n_out) * sizeof *s->to);
    }
    for (size_t i = 0; i < n_out; i++) {
        if (step->u.gather.index[i] >= 0) {
            s->first[step->u.gather.index[i] + 2]++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        s->first[i + 2] += s->first[i + 1];
    }
    for (size_t i = 0; i < n_out; i++) {
        if (step->u.gather.index[i] >= 0) {
            s->to[s->first[step->u.gather.index[i] + 1]++] = (int32_t)i;
        }
    }
    return QN_OK;
}

static qn_status set_step(qn_region_plan *plan, int index, size_t *n_sums, qn_error *err)
{
    const qn_integer_step *step = &plan->code->steps[index];
    qn_region_step *s = &plan->steps[index];
    s->output = step->output >= 0 ? qn_region_base(plan->code, step->output) : -1;
    for (int i = 0; i < 2; i++) {
        s->input[i] = step->input[i] >= 0 ? qn_region_base(plan->code, step->input[i]) : -1;
    }
    if (s->output >= 0) {
        plan->last_writer[s->output] = index;
    }
    if (step->kind == QN_STEP_GATHER) {
        return set_gather(plan, step, s, err);
    }
    if (!is_conv(step)) {
        return QN_OK;
    }
    const qn_integer_tensor *y = &plan->code->tensors[step->output];
    s->sums = *n_sums;
    s->n_sums = (size_t)y->height * (size_t)y->width * (size_t)y->channels;
    const qn_kernel *delta =
        qn_kernel_select(QN_KERNEL_CONV_DELTA, plan->program->options.cpu, step->u.conv.layout.elem_bytes);
    s->delta = delta->run.conv_delta;
    s->lists = delta->cpu >= QN_CPU_VNNI;
    s->linear = step->u.conv.requantize == NULL || step->u.conv.requantize->sums != NULL;
    if (!qn_add_size(*n_sums, s->n_sums, n_sums)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the sums of an image do not fit an address space");
    }
    plan->most_sums = plan->most_sums > s->n_sums ? plan->most_sums : s->n_sums;
    QN_TRY(set_finish(plan, step, &s->finish, err));
    return set_bias(plan, step, s, plan->code->tensors[step->input[0]].zero_point, err);
}

/* Steps that read each tensor, whatever the shape they see it in. */
static qn_status set_readers(qn_region_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->code;
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < code->n_steps; i++) {
            int n_inputs;
            const int *inputs = qn_integer_inputs(&code->steps[i], &n_inputs);
            for (int j = 0; j < n_inputs; j++) {
                if (inputs[j] < 0) {
                    continue;
                }
                const int base = qn_region_base(code, inputs[j]);
                if (pass == 0) {
                    plan->reader_first[base + 2]++;
                    n++;
                } else {
                    plan->readers[plan->reader_first[base + 1]++] = i;
                }
            }
        }
        for (int t = 0; pass == 0 && t < code->n_tensors; t++) {
            plan->reader_first[t + 2] += plan->reader_first[t + 1];
        }
        if (pass == 0) {
            plan->readers = qn_arena_array(&plan->arena, n + 1, sizeof *plan->readers);
            if (plan->readers == NULL) {
                return qn_fail_memory(err, NULL, n * sizeof *plan->readers);
            }
        }
    }
    return QN_OK;
}

static size_t round_up(size_t n)
{
    return (n + QN_CACHE_LINE - 1) / QN_CACHE_LINE * QN_CACHE_LINE;
}

static qn_status fill(qn_region_plan *plan, const qn_program *program, qn_error *err)
{
    const qn_integer_code *code = plan->code;
    const size_t n_steps = (size_t)code->n_steps, n_tensors = (size_t)code->n_tensors;
    plan->steps = qn_arena_array(&plan->arena, n_steps + 1, sizeof *plan->steps);
    plan->reader_first = qn_arena_array(&plan->arena, n_tensors + 3, sizeof *plan->reader_first);
    plan->last_writer = qn_arena_array(&plan->arena, n_tensors + 1, sizeof *plan->last_writer);
    plan->output_first = qn_arena_array(&plan->arena, program->n_outputs + 1, sizeof *plan->output_first);
    if (plan->steps == NULL || plan->reader_first == NULL || plan->last_writer == NULL || plan->output_first == NULL) {
        return qn_fail_memory(err, NULL, n_steps * sizeof *plan->steps);
    }
    memset(plan->last_writer, 0xff, n_tensors * sizeof *plan->last_writer);
    size_t n_sums = 0, n_outputs = 0;
    for (int i = 0; i < code->n_steps; i++) {
        QN_TRY(set_step(plan, i, &n_sums, err));
    }
    QN_TRY(set_readers(plan, err));
    for (size_t i = 0; i < program->n_outputs; i++) {
        plan->output_first[i] = n_outputs;
        n_outputs += (size_t)program->outputs[i].count;
    }
    plan->output_first[program->n_outputs] = n_outputs;
    size_t sums_bytes;
    plan->sums_offset = round_up(code->sums_offset);
    if (!qn_mul_size(n_sums, sizeof(int32_t), &sums_bytes) ||
        !qn_add_size(plan->sums_offset, round_up(sums_bytes), &plan->outputs_offset) ||
        !qn_add_size(plan->outputs_offset, round_up(n_outputs * sizeof(float)), &plan->golden_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the sums of an image do not fit an address space");
    }
    return QN_OK;
}

qn_status qn_region_plan_make(qn_region_plan **plan, const qn_program *program, qn_error *err)
{
    qn_region_plan *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, program->graph.file, sizeof *made);
    }
    made->program = program;
    made->code = program->code;
    made->differ = qn_kernel_select(QN_KERNEL_DIFFER, program->options.cpu, 0)->run.differ;
    made->weight_delta = qn_kernel_select(QN_KERNEL_WEIGHT_DELTA, program->options.cpu, 0)->run.weight_delta;
    qn_status status = fill(made, program, err);
    if (status != QN_OK) {
        qn_region_plan_free(made);
        return status;
    }
    *plan = made;
    return QN_OK;
}

void qn_region_plan_free(qn_region_plan *plan)
{
    if (plan != NULL) {
        qn_arena_free(&plan->arena);
        qn_free(plan);
    }
}
