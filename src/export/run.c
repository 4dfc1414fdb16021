/* Codes and sums of an image, by the integer engine, in a network's order. */
#include <string.h>

#include "engine/integer/integer.h"
#include "export/network.h"

struct qn_export_run {
    const qn_export_network *network;
    qn_workspace *workspace;
    float **outputs;
    float *all;
};

qn_status qn_export_run_create(qn_export_run **run, const qn_export_network *network, qn_error *err)
{
    const qn_program *p = network->program;
    size_t n = 0;
    for (size_t i = 0; i < p->n_outputs; i++) {
        n += (size_t)p->outputs[i].count;
    }
    qn_export_run *made = qn_alloc(sizeof *made);
    *run = NULL;
    if (made == NULL) {
        return qn_fail_memory(err, network->graph->file, sizeof *made);
    }
    made->network = network;
    made->outputs = qn_alloc(p->n_outputs * sizeof *made->outputs);
    made->all = qn_alloc(n * sizeof *made->all);
    qn_status status = made->outputs == NULL || made->all == NULL
                           ? qn_fail_memory(err, network->graph->file, n * sizeof *made->all)
                           : qn_workspace_create(&made->workspace, p, err);
    if (status != QN_OK) {
        qn_export_run_free(made);
        return status;
    }
    float *next = made->all;
    for (size_t i = 0; i < p->n_outputs; i++) {
        made->outputs[i] = next;
        next += p->outputs[i].count;
    }
    *run = made;
    return QN_OK;
}

void qn_export_run_free(qn_export_run *run)
{
    if (run != NULL) {
        qn_workspace_free(run->workspace);
        qn_free(run->outputs);
        qn_free(run->all);
        qn_free(run);
    }
}

qn_status qn_export_run_image(qn_export_run *run, const float *const *inputs, qn_error *err)
{
    return qn_program_run(run->network->program, run->workspace, inputs, 1, run->outputs, err);
}

qn_workspace *qn_export_run_workspace(qn_export_run *run)
{
    return run->workspace;
}

float *const *qn_export_run_outputs(qn_export_run *run)
{
    return run->outputs;
}

const float *qn_export_run_output(const qn_export_run *run, int output)
{
    return run->outputs[output];
}

static const uint8_t *memory_of(const qn_export_run *run, const qn_integer_tensor *t)
{
    return qn_integer_workspace_run(run->workspace).memory + t->offset;
}

void qn_export_run_codes(const qn_export_run *run, int tensor, int16_t *codes)
{
    const qn_integer_code *code = run->network->program->code;
    const qn_integer_tensor *t = &code->tensors[tensor];
    const uint8_t *from = memory_of(run, t);
    const int32_t raised = run->network->tensors[tensor].is_signed ? 128 : 0;
    const int per_row = t->width * t->channels; /* pixels adjoin */
    for (int y = 0; y < t->height; y++) {
        for (int i = 0; i < per_row; i++) {
            *codes++ = (int16_t)(from[y * t->row + i] - raised);
        }
    }
}

void qn_export_run_reals(const qn_export_run *run, int tensor, float *x)
{
    const qn_integer_code *code = run->network->program->code;
    memcpy(x, memory_of(run, &code->tensors[tensor]), (size_t)run->network->tensors[tensor].count * sizeof *x);
}

void qn_export_run_sums(const qn_export_run *run, int layer, int32_t *sums)
{
    const qn_integer_run r = qn_integer_workspace_run(run->workspace);
    const int step = run->network->layers[layer].step;
    const qn_box box = qn_integer_full_box(r.code, step);
    (void)qn_integer_accumulators(&r, step, &box, sums); /* layers with sums have them */
}
