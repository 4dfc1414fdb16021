/* Nodes whose loops the graph room has (graph/compute): over plain tensors of any type. */
#include <string.h>

#include "engine/float/ops.h"
#include "graph/compute/compute.h"

typedef struct {
    qn_compute_fn *run;
    const void *params;
} compute_params;

static void run_compute(const void *params, void *const *args)
{
    const compute_params *p = params;
    const void *x[QN_COMPUTE_ARGS] = {NULL};
    memcpy(x, args + 1, sizeof x); /* as many are always given */
    p->run(p->params, args[0], x);
}

static qn_status add_part(qn_float_builder *b, const qn_node *node, const qn_compute *compute, qn_float_id previous,
                          qn_float_id y, qn_error *err)
{
    qn_float_id sources[QN_COMPUTE_ARGS];
    for (int i = 0; i < QN_COMPUTE_ARGS; i++) {
        sources[i] = QN_FLOAT_NONE;
        if (i < compute->n_args && compute->args[i] == QN_COMPUTE_PREVIOUS) {
            sources[i] = previous;
        } else if (i < compute->n_args && qn_float_has_input(node, compute->args[i])) {
            QN_TRY(qn_float_read_any(b, node->inputs[compute->args[i]], &sources[i], err));
        }
    }
    const compute_params params = {compute->run, compute->params};
    return qn_float_add_kernel(b, run_compute, &params, sizeof params, y, QN_COMPUTE_ARGS, sources, err);
}

static qn_status lower_result(qn_float_builder *b, const qn_node *node, int output, qn_error *err)
{
    qn_float_id y = QN_FLOAT_NONE;
    qn_compute compute = {.parts = 1};
    for (int part = 0; part < compute.parts; part++) {
        const qn_float_id previous = y;
        const qn_compute_job job = {.binding = b->binding,
                                    .node = node,
                                    .output = output,
                                    .part = part,
                                    .items = 1,
                                    .cpu = b->program->options.cpu,
                                    .arena = &b->program->arena,
                                    .err = err};
        QN_TRY(qn_float_new_output(b, node->outputs[output], &y, err));
        if (qn_float_at(b, y)->n_elems == 0) {
            break;
        }
        const qn_status status = qn_compute_prepare(&compute, &job);
        if (status != QN_OK) {
            qn_error_prefix(err, b->graph->file); /* it names the node */
            return status;
        }
        QN_TRY(add_part(b, node, &compute, previous, y, err));
    }
    return qn_float_define(b, node->outputs[output], y, err);
}

qn_status qn_float_lower_compute(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    for (int i = 0; i < node->n_outputs; i++) {
        const qn_value_id value = node->outputs[i];
        if (value != QN_NO_VALUE && b->n_uses[value] > 0 && qn_float_bound(b, value)->known == NULL) {
            QN_TRY(lower_result(b, node, i, err));
        }
    }
    return QN_OK;
}

typedef struct {
    qn_dtype from, to;
    int64_t n;
} convert_params;

static void run_convert(const void *params, void *const *args)
{
    const convert_params *p = params;
    qn_convert_elements(p->to, args[0], p->from, args[1], p->n);
}

qn_status qn_float_convert(qn_float_builder *b, qn_float_id x, qn_dtype to, qn_float_id *y, qn_error *err)
{
    const qn_float_tensor source = *qn_float_at(b, x);
    if (source.dtype == to) {
        *y = x;
        return QN_OK;
    }
    const convert_params params = {.from = source.dtype, .to = to, .n = source.n_elems};
    QN_TRY(qn_float_new(b, to, source.rank, source.dims, y, err));
    return params.n == 0 ? QN_OK : qn_float_add_kernel(b, run_convert, &params, sizeof params, *y, 1, &x, err);
}
