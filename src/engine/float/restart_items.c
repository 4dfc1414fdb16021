/* Which tensors hold the items of the batch one after another, each made of the same item of what it is made of. */
#include "engine/float/restart.h"
#include "engine/float/simulate.h"
#include "graph/compute/compute.h"

static bool has_rows(const qn_restart *r, qn_float_id id)
{
    const qn_float_tensor *tensor = &r->code->tensors[id];
    return tensor->rank > 0 && tensor->dims[0] % r->program->options.batch == 0;
}

static bool is_constant(const qn_restart *r, qn_float_id id)
{
    return id == QN_FLOAT_NONE || r->code->slots[r->code->tensors[id].slot].constant != NULL;
}

/* All of what is read and not constant has the rows of the result. */
static bool same_rows(const qn_restart *r, const qn_float_step *step)
{
    const qn_float_tensor *y = &r->code->tensors[step->args[0]];
    bool same = true;
    for (int i = 1; i < step->n_args; i++) {
        const qn_float_tensor *x = is_constant(r, step->args[i]) ? y : &r->code->tensors[step->args[i]];
        same &= x->rank == y->rank && x->dims[0] == y->dims[0];
    }
    return same;
}

/* Nothing but the first source is made while the network runs. */
static bool constant_rest(const qn_restart *r, const qn_float_step *step)
{
    bool constant = true;
    for (int i = 2; i < step->n_args; i++) {
        constant &= is_constant(r, step->args[i]);
    }
    return constant;
}

static bool keeps_slice(const qn_binding *binding, const qn_node *node)
{
    qn_slice slice;
    return qn_slice_of_node(&slice, binding, node, NULL) == QN_OK && slice.start[0] == 0 && slice.step[0] == 1 &&
           slice.out[0] == binding->values[node->inputs[0]].dims[0];
}

/* Does the operator treat each index of the first axis by itself? */
static bool keeps_rows(const qn_restart *r, const qn_float_step *step)
{
    const qn_binding *binding = &r->program->binding;
    const qn_node *node = &r->program->graph.nodes[step->node];
    int axis, perm[QN_MAX_RANK];
    qn_softmax softmax;
    switch (node->op) {
    case QN_OP_ADD:
    case QN_OP_SUB:
    case QN_OP_MUL:
    case QN_OP_DIV:
    case QN_OP_POW:
        return same_rows(r, step);
    case QN_OP_CONV:
    case QN_OP_BATCH_NORMALIZATION:
        return constant_rest(r, step);
    case QN_OP_GEMM:
        return qn_node_int(node, "transA", 0) == 0 && (constant_rest(r, step) || step->primitive == NULL) &&
               (step->primitive != NULL || same_rows(r, step));
    case QN_OP_MATMUL: /* of two activations: both with the batch in front, neither spread over it */
        return constant_rest(r, step) || (binding->values[node->inputs[0]].rank > 2 &&
                                          binding->values[node->inputs[1]].rank > 2 && same_rows(r, step));
    case QN_OP_SOFTMAX:
        return qn_softmax_of_node(&softmax, binding, node, NULL) == QN_OK &&
               softmax.outer % r->program->options.batch == 0;
    case QN_OP_TRANSPOSE:
        return qn_transpose_of_node(perm, binding, node, NULL) == QN_OK && perm[0] == 0;
    case QN_OP_CONCAT:
        return qn_axis_of_node(&axis, binding, node, NULL) == QN_OK && axis > 0;
    case QN_OP_SLICE:
        return keeps_slice(binding, node);
    case QN_OP_AVERAGE_POOL:
    case QN_OP_CAST:
    case QN_OP_CLIP:
    case QN_OP_DROPOUT:
    case QN_OP_ERF:
    case QN_OP_EXP:
    case QN_OP_FLATTEN:
    case QN_OP_GLOBAL_AVERAGE_POOL:
    case QN_OP_GLOBAL_MAX_POOL:
    case QN_OP_IDENTITY:
    case QN_OP_LEAKY_RELU:
    case QN_OP_MAX_POOL:
    case QN_OP_NEG:
    case QN_OP_RELU:
    case QN_OP_RESHAPE:
    case QN_OP_SIGMOID:
    case QN_OP_SQRT:
    case QN_OP_SQUEEZE:
    case QN_OP_TANH:
    case QN_OP_UNSQUEEZE:
        return true;
    default:
        return qn_compute_keeps_rows(binding, node);
    }
}

static bool keeps_items(const qn_restart *r, const qn_float_step *step)
{
    if (step->kernel == qn_float_run_simulate) {
        return r->by_item[r->code->tensors[step->args[0]].slot];
    }
    bool keeps = has_rows(r, step->args[0]);
    for (int i = 1; i < step->n_args; i++) {
        const qn_float_id id = step->args[i];
        keeps &= is_constant(r, id) || (has_rows(r, id) && r->by_item[r->code->tensors[id].slot]);
    }
    const bool reorders = step->primitive != NULL && step->kinds[0] == DNNL_ARG_TO;
    return keeps && (reorders || step->node < 0 || keeps_rows(r, step));
}

void qn_restart_find_items(qn_restart *restart)
{
    const qn_float_program *code = restart->code;
    if (restart->program->options.batch == 1) {
        for (size_t s = 0; s < code->n_slots; s++) {
            restart->by_item[s] = true;
        }
        return;
    }
    for (size_t i = 0; i < restart->program->n_inputs; i++) {
        restart->by_item[code->tensors[code->inputs[i]].slot] = true;
    }
    for (size_t i = 0; i < code->n_steps; i++) {
        const qn_float_step *step = &code->steps[i];
        restart->by_item[code->tensors[step->args[0]].slot] = keeps_items(restart, step);
    }
}
