/* Nodes whose loops the graph room has (graph/compute), and values of other types than f32: their elements lie in real
 * tensors all the same, as many f32 as hold their bytes. */
#include <string.h>

#include "engine/integer/island.h"
#include "graph/compute/compute.h"

_Static_assert((int)QN_ISLAND_ARGS >= (int)QN_COMPUTE_ARGS, "an island takes what a node computes from");

typedef struct compute_params {
    qn_compute_fn *run;
    const void *params;
} compute_params;

static void run_compute(const void *params, float *y, const float *const *x)
{
    const compute_params *p = params;
    const void *args[QN_COMPUTE_ARGS];
    for (int i = 0; i < QN_COMPUTE_ARGS; i++) {
        args[i] = x[i];
    }
    p->run(p->params, y, args);
}

typedef struct convert_params {
    qn_dtype to, from;
    int64_t n;
} convert_params;

static void run_convert(const void *params, float *y, const float *const *x)
{
    const convert_params *p = params;
    qn_convert_elements(p->to, y, p->from, x[0], p->n);
}

static bool new_tensor(qn_lowering *l, qn_value_id value, qn_dtype dtype, int *tensor)
{
    int64_t n;
    if (!qn_island_count(l, value, &n)) {
        return false;
    }
    const int64_t words = (n * (int64_t)qn_dtype_size(dtype) + 3) / 4;
    if (words > INT32_MAX) {
        l->reason = "a value of 2^31 elements";
        return false;
    }
    const qn_item_shape shape = {1, 1, (int)words};
    *tensor = qn_lower_real_tensor(l, value, &shape, false);
    return true;
}

/* From one tensor of the value to another of type `to`. */
static qn_status convert(qn_lowering *l, qn_value_id value, qn_dtype from, int source, qn_dtype to, int *y,
                         qn_error *err)
{
    qn_integer_island island = {.run = run_convert, .n_args = 1, .input = {source}};
    convert_params p = {.to = to, .from = from};
    if (!qn_island_count(l, value, &p.n) || !new_tensor(l, value, to, y)) {
        return QN_OK;
    }
    return qn_island_step(l, NULL, *y, &island, &p, sizeof p, err);
}

int qn_lower_typed(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err)
{
    const qn_dtype dtype = l->binding->values[value].dtype;
    *status = QN_OK;
    if (dtype == QN_DTYPE_F32) {
        return qn_lower_real(l, value, status, err);
    }
    if (l->real_of[value] >= 0) {
        return l->real_of[value];
    }
    int loaded, tensor = -1;
    if (l->input_of[value] < 0 || !new_tensor(l, value, QN_DTYPE_F32, &loaded)) {
        l->reason = "a value that nothing computes";
        return -1;
    }
    qn_lower_step(l, QN_STEP_LOAD, NULL, -1, loaded)->io = (size_t)l->input_of[value];
    *status = convert(l, value, QN_DTYPE_F32, loaded, dtype, &tensor, err);
    if (*status != QN_OK || tensor < 0) {
        return -1;
    }
    qn_lower_map(l, l->real_of, value, tensor);
    return tensor;
}

int qn_lower_as_floats(qn_lowering *l, qn_value_id value, qn_status *status, qn_error *err)
{
    const qn_dtype dtype = l->binding->values[value].dtype;
    int tensor = qn_lower_typed(l, value, status, err), y = -1;
    if (tensor < 0 || dtype == QN_DTYPE_F32) {
        return tensor;
    }
    *status = convert(l, value, dtype, tensor, QN_DTYPE_F32, &y, err);
    return *status == QN_OK ? y : -1;
}

bool qn_island_typed_argument(qn_lowering *l, qn_integer_island *island, qn_value_id value, qn_status *status,
                              qn_error *err)
{
    const qn_tensor *known = l->binding->values[value].known;
    const int i = island->n_args++;
    *status = QN_OK;
    island->input[i] = -1;
    if (known != NULL) {
        island->constant[i] = known->data;
        return true;
    }
    island->input[i] = qn_lower_typed(l, value, status, err);
    return island->input[i] >= 0;
}

/* Tensors are made in the order of the steps that write them, as planning wants: first what is read, then *y. */
static qn_status add_part(qn_lowering *l, const qn_node *node, qn_value_id value, const qn_compute *compute, int *y,
                          qn_error *err)
{
    qn_integer_island island = {.run = run_compute};
    const compute_params params = {compute->run, compute->params};
    for (int i = 0; i < compute->n_args; i++) {
        const int from = compute->args[i];
        qn_status status = QN_OK;
        if (from == QN_COMPUTE_PREVIOUS || from >= node->n_inputs || node->inputs[from] == QN_NO_VALUE) {
            island.input[island.n_args++] = from == QN_COMPUTE_PREVIOUS ? *y : -1;
        } else if (!qn_island_typed_argument(l, &island, node->inputs[from], &status, err)) {
            return status;
        }
    }
    return new_tensor(l, value, l->binding->values[value].dtype, y)
               ? qn_island_step(l, node, *y, &island, &params, sizeof params, err)
               : QN_OK;
}

static qn_status lower_result(qn_lowering *l, const qn_node *node, int output, qn_error *err)
{
    const qn_value_id value = node->outputs[output];
    qn_compute compute = {.parts = 1};
    int64_t n;
    int y = -1;
    if (!qn_island_count(l, value, &n)) {
        return QN_OK;
    }
    if (n == 0) {
        if (new_tensor(l, value, l->binding->values[value].dtype, &y)) {
            qn_island_define(l, value, y);
        }
        return QN_OK;
    }
    for (int part = 0; part < compute.parts; part++) {
        const qn_compute_job job = {.binding = l->binding,
                                    .node = node,
                                    .output = output,
                                    .part = part,
                                    .items = l->items,
                                    .cpu = l->cpu,
                                    .arena = l->arena,
                                    .err = err};
        const qn_status status = qn_compute_prepare(&compute, &job);
        if (status != QN_OK) {
            qn_error_prefix(err, l->graph->file); /* it names the node */
            return status;
        }
        QN_TRY(add_part(l, node, value, &compute, &y, err));
        if (l->reason != NULL) {
            return QN_OK;
        }
    }
    qn_island_define(l, value, y);
    return QN_OK;
}

qn_status qn_island_compute(qn_lowering *l, const qn_node *node, qn_error *err)
{
    for (int i = 0; i < node->n_outputs && l->reason == NULL; i++) {
        const qn_value_id value = node->outputs[i];
        if (value != QN_NO_VALUE && l->binding->used[value] && l->binding->values[value].known == NULL) {
            QN_TRY(lower_result(l, node, i, err));
        }
    }
    return QN_OK;
}
