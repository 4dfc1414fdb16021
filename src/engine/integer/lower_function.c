/* Functions of one value as tables: of every code the one that the nodes, run in float, would make of it (doc/spec/arithmetic.md
 * 3.7). */
#include <string.h>

#include "base/memory.h"
#include "engine/integer/function.h"
#include "engine/integer/lower.h"

enum { CODES = 256 };

qn_binding *qn_lower_scratch(qn_lowering *l)
{
    const size_t n_values = l->graph->n_values;
    if (l->scratch == NULL) {
        qn_binding *scratch = qn_arena_alloc(l->arena, sizeof *scratch);
        qn_bound_value *values = qn_arena_array(l->arena, n_values + 1, sizeof *values);
        if (scratch == NULL || values == NULL) {
            return NULL;
        }
        *scratch = *l->binding;
        scratch->values = values;
        memcpy(values, l->binding->values, n_values * sizeof *values);
        l->scratch = scratch;
    }
    return l->scratch;
}

static void make_row(qn_binding *binding, qn_value_id value)
{
    qn_bound_value *v = &binding->values[value];
    for (int i = 0; i < v->rank; i++) {
        v->dims[i] = i == v->rank - 1 ? CODES : 1;
    }
    v->n_elems = CODES;
    v->known = NULL;
}

static void set_rows(const qn_lowering *l, const qn_function *f, bool rows)
{
    for (int i = -1; i < f->n; i++) {
        const qn_value_id value = i < 0 ? f->source : f->nodes[i]->outputs[0];
        if (rows) {
            make_row(l->scratch, value);
        } else {
            l->scratch->values[value] = l->binding->values[value];
        }
    }
}

/* Run the islands' steps from `first` on over `buffers`, one per tensor from `base` on. */
static void run_islands(const qn_lowering *l, int first, int base, float (*buffers)[CODES])
{
    for (int i = first; i < l->code->n_steps; i++) {
        const qn_integer_step *step = &l->code->steps[i];
        const qn_integer_island *island = &step->u.island;
        const float *x[QN_ISLAND_ARGS] = {NULL};
        for (int k = 0; k < island->n_args; k++) {
            x[k] = island->input[k] >= 0 ? buffers[island->input[k] - base] : island->constant[k];
        }
        island->run(island->params, buffers[step->output - base], x);
    }
}

/* The islands that the nodes would be, over x; what they add to the lowering is taken back. */
static qn_status compute(qn_lowering *l, const qn_function *f, const float x[CODES], float y[CODES], qn_error *err)
{
    const qn_binding *binding = l->binding;
    const int64_t items = l->items;
    const int n_steps = l->code->n_steps, base = l->code->n_tensors, real = l->real_of[f->source];
    const size_t n_changes = l->n_changes;
    qn_status status = QN_OK;
    l->binding = l->scratch;
    l->items = 1;
    l->real_of[f->source] = qn_lower_real_tensor(l, f->source, &(qn_item_shape){1, 1, CODES}, false);
    for (int i = 0; i < f->n && status == QN_OK && l->reason == NULL; i++) {
        status = qn_lower_island(l, f->nodes[i], err);
    }
    const int result = l->raw_of[f->result];
    float(*buffers)[CODES] = NULL;
    if (status == QN_OK && l->reason == NULL) {
        const size_t n = (size_t)(l->code->n_tensors - base);
        buffers = qn_alloc(n * sizeof *buffers);
        status = buffers != NULL ? QN_OK : qn_fail_memory(err, l->graph->file, n * sizeof *buffers);
    }
    if (buffers != NULL) {
        memcpy(buffers[0], x, sizeof buffers[0]);
        run_islands(l, n_steps, base, buffers);
        memcpy(y, buffers[result - base], sizeof buffers[0]);
        qn_free(buffers);
    }
    qn_lower_take_back(l, n_steps, base, n_changes);
    l->real_of[f->source] = real;
    l->binding = binding;
    l->items = items;
    return status;
}

/* NULL with a reason or *status. */
static const uint8_t *make_table(qn_lowering *l, const qn_function *f, const qn_code_params *from,
                                 const qn_code_params *to, qn_status *status, qn_error *err)
{
    float x[CODES], y[CODES];
    uint8_t *table = qn_arena_alloc(l->arena, CODES);
    if (table == NULL || qn_lower_scratch(l) == NULL) {
        *status = qn_fail_memory(err, l->graph->file, CODES);
        return NULL;
    }
    for (int code = 0; code < CODES; code++) {
        x[code] = (float)(code - from->zero_point) * from->scale;
    }
    set_rows(l, f, true);
    *status = compute(l, f, x, y, err);
    set_rows(l, f, false);
    if (*status != QN_OK || l->reason != NULL) {
        return NULL;
    }
    const qn_encode_params encode = {to->scale, to->zero_point, to->lo, to->hi};
    qn_kernel_reference(QN_KERNEL_ENCODE)->run.encode(table, y, CODES, 1, 0, &encode);
    return table;
}

static void explain(qn_lowering *l, const qn_node *node)
{
    qn_value_id source = QN_NO_VALUE;
    if (!qn_function_of(l->graph, l->binding, node, &source)) {
        l->reason = "it is no function of one value and of constants of one number";
    } else if (l->graph->values[source].quantizer == NULL && l->code->tensor_of[source] < 0) {
        l->reason = "an input has no quantizer";
    } else {
        l->reason = "its output has no quantizer";
    }
}

qn_status qn_lower_function(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_function f;
    qn_status status;
    qn_code_params to;
    if (!qn_function_find(&f, l->graph, l->binding, l->uses, false, node)) {
        explain(l, node);
        return QN_OK;
    }
    const int input = qn_lower_codes(l, f.source, !qn_lower_wants_plain(l, f.result), &status, err);
    if (input < 0 || !qn_lower_params(l, f.result, &to)) {
        return status;
    }
    const qn_integer_tensor x = *qn_lower_tensor_at(l, input);
    const qn_code_params from = qn_code_params_of(&x);
    const uint8_t *table = make_table(l, &f, &from, &to, &status, err);
    if (table == NULL) {
        return status;
    }
    for (int i = 1; i < f.n; i++) { /* they lie behind it */
        l->done[f.nodes[i] - l->graph->nodes] = true;
    }
    const int output = qn_lower_tensor(l, f.result, &(qn_item_shape){x.height, x.width, x.channels}, &to);
    l->code->tensors[output].plain = x.plain;
    qn_integer_step *step = qn_lower_step(l, QN_STEP_LOOKUP, f.nodes[f.n - 1], input, output);
    step->kernel = qn_kernel_select(QN_KERNEL_LOOKUP, l->cpu, 0);
    step->u.lookup = (qn_integer_lookup){.table = table};
    return QN_OK;
}
