/* Stages made ready for several workers. */
#include "link/measure.h"

static qn_status open(qn_measure_stage *s, const qn_cuts *cuts, size_t from, size_t to, int64_t batch, qn_cpu cpu,
                      int n_workers, qn_error *err)
{
    const qn_model *model = cuts->model;
    qn_program_options options;
    if (from < to) {
        QN_TRY(qn_stage_create(&s->stage, cuts, from, to, err));
        model = s->stage.model;
    }
    QN_TRY(qn_program_options_init(&options, cuts->engine, err));
    options.whole = from < to && !cuts->batched;
    options.cpu = cpu;
    options.batch = !cuts->batched ? 1 : batch > 0 ? batch : options.batch;
    QN_TRY(qn_program_create(&s->program, model, &options, err));
    s->workspaces = qn_alloc((size_t)n_workers * sizeof *s->workspaces);
    if (s->workspaces == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_workers * sizeof *s->workspaces);
    }
    for (; s->n_workspaces < (size_t)n_workers; s->n_workspaces++) {
        QN_TRY(qn_workspace_create(&s->workspaces[s->n_workspaces], s->program, err));
    }
    return QN_OK;
}

qn_status qn_measure_stage_open(qn_measure_stage *s, const qn_cuts *cuts, size_t from, size_t to, int64_t batch,
                                qn_cpu cpu, int n_workers, qn_error *err)
{
    *s = (qn_measure_stage){0};
    qn_status status = open(s, cuts, from, to, batch, cpu, n_workers, err);
    if (status != QN_OK) {
        qn_measure_stage_close(s);
    }
    return status;
}

void qn_measure_stage_close(qn_measure_stage *s)
{
    for (size_t w = 0; w < s->n_workspaces; w++) {
        qn_workspace_free(s->workspaces[w]);
    }
    qn_free(s->workspaces);
    qn_program_free(s->program);
    qn_stage_free(&s->stage);
    *s = (qn_measure_stage){0};
}

qn_status qn_measure_stage_run(const qn_measure_stage *s, int worker, const float *const *inputs, int64_t n,
                               float *const *outputs, qn_error *err)
{
    const qn_program *p = s->program;
    const size_t n_in = p->n_inputs, n_out = p->n_outputs;
    const float **in = qn_alloc(n_in * sizeof *in);
    float **out = qn_alloc(n_out * sizeof *out);
    qn_status status = in != NULL && out != NULL ? QN_OK : qn_fail_memory(err, NULL, (n_in + n_out) * sizeof *in);
    for (int64_t i = 0; i < n && status == QN_OK; i += p->options.batch) {
        for (size_t k = 0; k < n_in; k++) {
            in[k] = inputs[k] + i * p->inputs[k].count;
        }
        for (size_t k = 0; k < n_out; k++) {
            out[k] = outputs[k] + i * p->outputs[k].count;
        }
        const int64_t some = n - i < p->options.batch ? n - i : p->options.batch;
        status = qn_program_run(p, s->workspaces[worker], in, some, out, err);
    }
    qn_free(in);
    qn_free(out);
    return status;
}
