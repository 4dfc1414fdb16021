/* A network with a fault in it, by the means of brute force: another program where memory is struck, changes between
 * steps otherwise. */
#include "export/faulty.h"

#include "engine/integer/region.h"

/* A sum that holds changes; `at` in the order of the layer's output. */
typedef struct qn_export_faulty_sum {
    int step;
    int64_t at;
    int32_t sum;
} qn_export_faulty_sum;

static void note(void *ctx, const qn_fault_change *change, uint32_t before, uint32_t after)
{
    qn_export_faulty_run *r = ctx;
    const int64_t i = change - r->codes.fault->changes;
    r->before[i] = before;
    r->after[i] = after;
}

static void note_sum(void *ctx, int step, int64_t element, int32_t sum)
{
    qn_export_faulty_run *r = ctx;
    const qn_integer_code *code = r->network->program->code;
    const qn_integer_tensor *y = &code->tensors[code->steps[step].output];
    if (qn_grow((void **)&r->sums, &r->capacity, r->n_sums, sizeof *r->sums, NULL) != QN_OK) {
        r->failed = true;
        return;
    }
    const qn_region_place p = qn_region_place_of(y, element);
    r->sums[r->n_sums++] = (qn_export_faulty_sum){step, ((int64_t)p.y * y->width + p.x) * y->channels + p.k, sum};
}

static bool strikes_memory(const qn_fault_targets *targets, const qn_fault *fault)
{
    for (int64_t i = 0; i < fault->n_changes; i++) {
        if (qn_export_faulty_in_memory(targets, &fault->changes[i])) {
            return true;
        }
    }
    return false;
}

qn_status qn_export_faulty_run_begin(qn_export_faulty_run *r, const qn_export_job *job, const qn_fault_targets *targets,
                                     const qn_fault *fault, qn_error *err)
{
    *r = (qn_export_faulty_run){.network = job->network};
    const size_t n = (size_t)fault->n_changes + 1;
    r->before = qn_alloc(n * sizeof *r->before);
    r->after = qn_alloc(n * sizeof *r->after);
    if (r->before == NULL || r->after == NULL) {
        return qn_fail_memory(err, job->network->graph->file, n * sizeof *r->before);
    }
    r->statics = (qn_whole_codes){.fault = fault, .targets = targets, .noted = note, .summed = note_sum, .ctx = r};
    r->codes = r->statics;
    if (strikes_memory(targets, fault)) {
        const qn_injector_options options = {.program = job->network->program, .model = job->model, .targets = targets};
        qn_program *program;
        QN_TRY(qn_whole_program(&program, &r->refused, &options, &r->statics, err));
        if (r->refused) {
            return QN_OK;
        }
        QN_TRY(qn_export_network_of(&r->own, program, err));
        r->network = r->own;
    }
    return qn_export_run_create(&r->run, r->network, err);
}

void qn_export_faulty_run_end(qn_export_faulty_run *r)
{
    qn_export_run_free(r->run);
    qn_export_network_free(r->own);
    qn_free(r->before);
    qn_free(r->after);
    qn_free(r->sums);
    *r = (qn_export_faulty_run){0};
}

qn_status qn_export_faulty_run_image(qn_export_faulty_run *r, const float *input, qn_error *err)
{
    const float *inputs[] = {input};
    r->n_sums = 0;
    r->codes = r->statics;
    QN_TRY(qn_whole_run_integer(r->network->program, qn_export_run_workspace(r->run), inputs,
                                qn_export_run_outputs(r->run), &r->codes, err));
    return r->failed ? qn_fail_memory(err, r->network->graph->file, r->n_sums * sizeof *r->sums) : QN_OK;
}

void qn_export_faulty_run_sums(const qn_export_faulty_run *r, int layer, int32_t *sums)
{
    qn_export_run_sums(r->run, layer, sums);
    for (size_t i = 0; i < r->n_sums; i++) {
        if (r->sums[i].step == r->network->layers[layer].step) {
            sums[r->sums[i].at] = r->sums[i].sum;
        }
    }
}
