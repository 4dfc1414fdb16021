/* One fault on one image, value by value: two runs from scratch side by side, without the fault and with it. */
#include <math.h>
#include <string.h>

#include "base/float_bits.h"
#include "fault/inject_whole.h"
#include "fault/targets.h"

/* A program and what it left.
 *  own      NULL where it is options->program */
typedef struct side {
    qn_program *own;
    qn_workspace *workspace;
    float **outputs;
    uint32_t *codes; /* of one value */
} side;

typedef struct tracing {
    const qn_injector_options *options;
    const qn_program *programs[2]; /* without the fault, with it */
    side sides[2];
    qn_whole_hooks hooks;
    float *input;
    qn_whole_codes codes;
    int32_t last; /* target of the last value that differs, -1 none */
} tracing;

static bool is_integer(const tracing *t)
{
    return t->options->program->engine == &qn_engine_integer_ops;
}

static void release(tracing *t)
{
    const size_t n_outputs = qn_program_n_outputs(t->options->program);
    for (int i = 0; i < 2; i++) {
        side *s = &t->sides[i];
        qn_workspace_free(s->workspace);
        qn_program_free(s->own);
        for (size_t k = 0; s->outputs != NULL && k < n_outputs; k++) {
            qn_free(s->outputs[k]);
        }
        qn_free(s->outputs);
        qn_free(s->codes);
    }
    qn_free(t->input);
}

static int64_t most_elements(const qn_fault_targets *targets)
{
    int64_t most = 1;
    for (int i = 0; i < targets->n; i++) {
        most = targets->list[i].n_elems > most ? targets->list[i].n_elems : most;
    }
    return most;
}

static qn_status make_side(tracing *t, int index, qn_error *err)
{
    const qn_program *program = t->options->program;
    const size_t n_outputs = qn_program_n_outputs(program), most = (size_t)most_elements(t->options->targets);
    side *s = &t->sides[index];
    s->outputs = qn_alloc(n_outputs * sizeof *s->outputs);
    s->codes = qn_alloc(most * sizeof *s->codes);
    bool made = s->outputs != NULL && s->codes != NULL;
    for (size_t i = 0; made && i < n_outputs; i++) {
        s->outputs[i] = qn_alloc((size_t)qn_program_output_count(program, i) * sizeof(float));
        made = s->outputs[i] != NULL;
    }
    return made ? qn_workspace_create(&s->workspace, t->programs[index], err)
                : qn_fail_memory(err, NULL, most * sizeof *s->codes);
}

/* Both programs; *refused: there is no faulty one. */
static qn_status make_programs(tracing *t, const qn_fault *fault, bool *refused, qn_error *err)
{
    bool statics = !is_integer(t);
    for (int64_t i = 0; i < fault->n_changes; i++) {
        statics = statics || qn_whole_is_static(qn_whole_target(&t->codes, i)->where);
    }
    t->programs[0] = t->programs[1] = t->options->program;
    if (statics) {
        QN_TRY(qn_whole_program(&t->sides[1].own, refused, t->options, &t->codes, err));
        t->programs[1] = t->sides[1].own;
    }
    if (!*refused && !is_integer(t)) {
        QN_TRY(qn_whole_hook(t->sides[1].own, &t->hooks, t->options->targets, err));
    }
    return QN_OK;
}

static qn_status run_both(tracing *t, int64_t image, qn_error *err)
{
    t->input = qn_alloc((size_t)qn_program_input_count(t->options->program, 0) * sizeof *t->input);
    if (t->input == NULL) {
        return qn_fail_memory(err, NULL, 0);
    }
    QN_TRY(qn_dataset_read(t->options->data, image, 1, t->input, err));
    const float *inputs[] = {t->input};
    QN_TRY(qn_program_run(t->programs[0], t->sides[0].workspace, inputs, 1, t->sides[0].outputs, err));
    if (is_integer(t)) {
        return qn_whole_run_integer(t->programs[1], t->sides[1].workspace, inputs, t->sides[1].outputs, &t->codes, err);
    }
    t->hooks.codes = &t->codes;
    t->hooks.n_codes = 1;
    t->hooks.err = err;
    QN_TRY(qn_program_run(t->programs[1], t->sides[1].workspace, inputs, 1, t->sides[1].outputs, err));
    return t->hooks.status;
}

static bool read_codes(tracing *t, int index, const qn_fault_target *target)
{
    side *s = &t->sides[index];
    if (is_integer(t)) {
        return qn_whole_read_integer(t->programs[index], s->workspace, target, s->codes);
    }
    int64_t n;
    return qn_program_read(t->programs[index], s->workspace, target->value, NULL, &n) && n == target->n_elems &&
           qn_program_read(t->programs[index], s->workspace, target->value, (float *)(void *)s->codes, &n);
}

static double real_of(const tracing *t, int index, const qn_fault_target *target, int64_t element)
{
    const uint32_t code = t->sides[index].codes[element];
    return is_integer(t) ? qn_fault_value(target, t->programs[index], element, code) : (double)qn_f32_of_bits(code);
}

/* The code of a value that the simulate engine holds as its real. */
static uint32_t code_of(const tracing *t, int index, const qn_fault_target *target, int64_t element)
{
    const uint32_t code = t->sides[index].codes[element];
    const qn_quantizer *q = t->programs[index]->graph.values[target->value].quantizer;
    if (is_integer(t) || target->coding != QN_FAULT_CODED || q == NULL || q->dynamic) {
        return code;
    }
    int64_t dims[QN_MAX_RANK] = {1};
    const int lead = t->programs[index]->binding.values[target->value].rank - target->rank;
    memcpy(dims + lead, target->dims, (size_t)target->rank * sizeof *dims);
    const qn_params params = qn_quantizer_get(q, qn_whole_set(q, target->rank + lead, dims, element));
    return qn_format_code(q->format, &params, (double)qn_f32_of_bits(code), 0);
}

static void compare(tracing *t, int32_t index, qn_fault_trace_fn *fn, void *ctx)
{
    const qn_fault_target *target = &t->options->targets->list[index];
    qn_fault_trace trace = {
        .target = index, .value = target->value, .node = target->node, .n_elems = target->n_elems, .first = -1};
    if (!read_codes(t, 0, target) || !read_codes(t, 1, target)) {
        return;
    }
    for (int64_t i = 0; i < target->n_elems; i++) {
        const double before = real_of(t, 0, target, i), after = real_of(t, 1, target, i);
        const bool same_real = before == after || (isnan(before) && isnan(after));
        if (t->sides[0].codes[i] == t->sides[1].codes[i] && same_real) {
            continue;
        }
        if (trace.n_differ++ == 0) {
            trace.first = i;
            trace.before = code_of(t, 0, target, i);
            trace.after = code_of(t, 1, target, i);
            trace.value_before = before;
            trace.value_after = after;
        }
        const double by = isfinite(before) && isfinite(after) ? fabs(before - after) : (double)INFINITY;
        trace.max_abs = by > trace.max_abs ? by : trace.max_abs;
    }
    if (trace.n_differ > 0) {
        t->last = index;
        if (fn != NULL) {
            fn(ctx, &trace);
        }
    }
}

static bool outputs_differ(const tracing *t)
{
    const qn_program *program = t->options->program;
    for (size_t i = 0; i < qn_program_n_outputs(program); i++) {
        const size_t n_bytes = (size_t)qn_program_output_count(program, i) * sizeof(float);
        if (memcmp(t->sides[0].outputs[i], t->sides[1].outputs[i], n_bytes) != 0) {
            return true;
        }
    }
    return false;
}

/* The last node that reads the value, or what shows it in another shape. */
static int32_t last_reader(const qn_graph *graph, qn_value_id value)
{
    int32_t last = -1;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        for (int k = 0; k < node->n_inputs && node->op != QN_OP_REMOVED; k++) {
            last = node->inputs[k] == value ? (int32_t)i : last;
        }
    }
    return last;
}

static void conclude(const tracing *t, const qn_fault *fault, qn_fault_effect *effect)
{
    effect->before = t->codes.before;
    effect->after = t->codes.after;
    if (outputs_differ(t)) {
        effect->end = QN_FAULT_AT_OUTPUT;
        return;
    }
    if (!t->codes.active) {
        effect->end = QN_FAULT_INACTIVE;
        return;
    }
    const qn_fault_target *struck = qn_whole_target(&t->codes, 0);
    if (t->last < 0 && struck->where != QN_FAULT_ACTIVATIONS && struck->where != QN_FAULT_INPUTS) {
        effect->end = QN_FAULT_IN_LAYER;
        effect->died_at = struck->node;
    } else {
        const qn_value_id value = t->options->targets->list[t->last >= 0 ? t->last : fault->changes[0].target].value;
        effect->end = QN_FAULT_ON_THE_WAY;
        effect->died_at = last_reader(&t->options->program->graph, value);
    }
}

static qn_status trace(tracing *t, const qn_fault *fault, int64_t image, qn_fault_trace_fn *fn, void *ctx,
                       qn_fault_effect *effect, qn_error *err)
{
    bool refused = false;
    QN_TRY(make_programs(t, fault, &refused, err));
    if (refused) {
        effect->end = QN_FAULT_REFUSED;
        effect->before = t->codes.before;
        effect->after = t->codes.after;
        return QN_OK;
    }
    QN_TRY(make_side(t, 0, err));
    QN_TRY(make_side(t, 1, err));
    QN_TRY(run_both(t, image, err));
    for (int32_t i = 0; i < t->options->targets->n; i++) {
        const qn_fault_where where = t->options->targets->list[i].where;
        if (where == QN_FAULT_ACTIVATIONS || where == QN_FAULT_INPUTS) {
            compare(t, i, fn, ctx);
        }
    }
    conclude(t, fault, effect);
    return QN_OK;
}

qn_status qn_fault_trace_run(const qn_injector_options *options, const qn_fault *fault, int64_t image,
                             qn_fault_trace_fn *fn, void *ctx, qn_fault_effect *effect, qn_error *err)
{
    tracing t = {.options = options, .last = -1, .codes = {.fault = fault, .targets = options->targets}};
    *effect = (qn_fault_effect){.died_at = -1};
    const qn_status status = trace(&t, fault, image, fn, ctx, effect, err);
    release(&t);
    return status;
}
