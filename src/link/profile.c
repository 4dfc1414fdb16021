/* Times of what lies before each position. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/threads.h"
#include "engine/feed.h"
#include "link/measure.h"

enum { ROUNDS = 3, LEAST_RUNS = 3, MOST_RUNS = 100 };
static const double LEAST_SECONDS = 0.02; /* of runs at one position in one round */

qn_status qn_cut_times_options_init(qn_cut_times_options *options, qn_error *err)
{
    *options = (qn_cut_times_options){.struct_size = sizeof *options, .rounds = ROUNDS};
    return qn_cpu_from_environment(&options->cpu, NULL, err);
}

typedef struct {
    const qn_cuts *cuts;
    const qn_cut_times_options *options;
    qn_cut_times *times;
    float **inputs; /* of the network */
    size_t n_inputs;
} profile;

static qn_status fill_inputs(profile *t, const qn_program *program, qn_error *err)
{
    const int64_t batch = program->options.batch;
    t->times->batch = batch;
    if (t->options->data != NULL) {
        QN_TRY(qn_feed_check(program, t->options->data, err));
    }
    t->inputs = qn_alloc((program->n_inputs + 1) * sizeof *t->inputs);
    for (size_t i = 0; t->inputs != NULL && i < program->n_inputs; i++, t->n_inputs++) {
        const int64_t count = program->inputs[i].count;
        t->inputs[i] = qn_alloc((size_t)(batch * count) * sizeof(float));
        if (t->inputs[i] == NULL) {
            return qn_fail_memory(err, NULL, (size_t)(batch * count) * sizeof(float));
        }
        for (int64_t k = 0; t->options->data == NULL && k < batch * count; k++) {
            t->inputs[i][k] = ldexpf((float)qn_random_u32(1, i, (uint64_t)k), -31) - 1.0f;
        }
        for (int64_t k = 0; t->options->data != NULL && k < batch; k++) {
            QN_TRY(qn_dataset_read(t->options->data, k % qn_dataset_count(t->options->data), 1,
                                   t->inputs[i] + k * count, err));
        }
    }
    return t->inputs != NULL ? QN_OK : qn_fail_memory(err, NULL, program->n_inputs * sizeof *t->inputs);
}

/* The least seconds of some runs of a stage. */
static qn_status time_stage(double *least, const profile *t, const qn_measure_stage *s, qn_error *err)
{
    const qn_program *p = s->program;
    const int64_t batch = t->times->batch;
    const float **in = qn_alloc((p->n_inputs + 1) * sizeof *in);
    float **out = qn_alloc((p->n_outputs + 1) * sizeof *out);
    qn_status status = in != NULL && out != NULL ? QN_OK : qn_fail_memory(err, NULL, p->n_inputs * sizeof *in);
    for (size_t i = 0; status == QN_OK && i < p->n_inputs; i++) {
        in[i] = t->inputs[s->stage.inputs != NULL ? s->stage.inputs[i] : i];
    }
    for (size_t i = 0; status == QN_OK && i < p->n_outputs; i++) {
        const size_t bytes = (size_t)(batch * p->outputs[i].count) * sizeof **out;
        out[i] = qn_alloc(bytes);
        status = out[i] != NULL ? QN_OK : qn_fail_memory(err, NULL, bytes);
    }
    const double begin = qn_now_seconds();
    for (int run = 0;
         status == QN_OK && (run <= LEAST_RUNS || (run < MOST_RUNS && qn_now_seconds() - begin < LEAST_SECONDS));
         run++) {
        const double start = qn_now_seconds();
        status = qn_measure_stage_run(s, 0, in, batch, out, err);
        const double taken = qn_now_seconds() - start;
        *least = run > 0 && taken < *least ? taken : *least; /* the first is to warm up */
    }
    for (size_t i = 0; out != NULL && i < p->n_outputs; i++) {
        qn_free(out[i]);
    }
    qn_free(out);
    qn_free(in);
    return status;
}

/* From MACs of their neighbours, those positions that have no time. */
static void interpolate(const profile *t)
{
    double *x = t->times->seconds_before;
    size_t from = 0;
    for (size_t p = 1; p < t->times->n; p++) {
        if (t->cuts->cuts[p].reason != NULL) {
            continue;
        }
        const double macs = (double)qn_cuts_span(t->cuts, from, p).macs;
        for (size_t k = from + 1; k < p; k++) {
            const double part =
                macs > 0 ? (double)qn_cuts_span(t->cuts, from, k).macs / macs : (double)(k - from) / (double)(p - from);
            x[k] = x[from] + part * (x[p] - x[from]);
        }
        from = p;
    }
}

/* The nearest times that never fall, by least squares: those that do become their mean. None is above the last. */
static qn_status straighten(const profile *t, qn_error *err)
{
    const size_t n = t->times->n;
    double *x = t->times->seconds_before, *mean = qn_alloc(n * sizeof *mean);
    size_t *length = qn_alloc(n * sizeof *length), used = 0;
    if (mean == NULL || length == NULL) {
        qn_free(mean);
        qn_free(length);
        return qn_fail_memory(err, NULL, n * sizeof *mean);
    }
    for (size_t p = 1; p < n; p++) {
        if (t->cuts->cuts[p].reason != NULL) {
            continue;
        }
        mean[used] = x[p] < x[n - 1] ? x[p] : x[n - 1];
        length[used++] = 1;
        while (used > 1 && mean[used - 2] > mean[used - 1]) {
            const double a = (double)length[used - 2], b = (double)length[used - 1];
            mean[used - 2] = (a * mean[used - 2] + b * mean[used - 1]) / (a + b);
            length[used - 2] += length[used - 1];
            used--;
        }
    }
    size_t k = 0;
    for (size_t p = 1; p < n; p++) {
        if (t->cuts->cuts[p].reason == NULL) {
            x[p] = mean[k];
            k += --length[k] == 0;
        }
    }
    qn_free(mean);
    qn_free(length);
    return QN_OK;
}

static void name_machine(char *text, size_t n_bytes, qn_cpu cpu)
{
    char line[256], name[128] = "";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && name[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " "), "\n"),
                     colon + 1 + strspn(colon + 1, " "));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    snprintf(text, n_bytes, "%s%s%s", name, name[0] != '\0' ? ", " : "", qn_cpu_text(cpu));
}

static qn_status measure(void *ctx, int worker, int64_t item, qn_error *err)
{
    (void)worker;
    (void)item;
    profile *t = ctx;
    const qn_cut_times_options *o = t->options;
    const size_t last = t->cuts->n_nodes;
    double *x = t->times->seconds_before;
    int64_t done = 0;
    for (size_t p = 1; p <= last; p++) {
        x[p] = (double)INFINITY;
    }
    for (int round = 0; round < o->rounds; round++) {
        for (size_t p = 1; p <= last; p++, done++) {
            if (t->cuts->cuts[p].reason != NULL) {
                continue;
            }
            qn_measure_stage stage;
            QN_TRY(qn_measure_stage_open(&stage, t->cuts, 0, p, t->times->batch, o->cpu, 1, err));
            qn_status status = time_stage(&x[p], t, &stage, err);
            qn_measure_stage_close(&stage);
            QN_TRY(status);
            if (o->progress != NULL && !o->progress(o->progress_ctx, done, (int64_t)last * o->rounds)) {
                return qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
            }
        }
    }
    for (size_t p = 1; p <= last; p++) {
        x[p] /= (double)t->times->batch;
    }
    QN_TRY(straighten(t, err));
    interpolate(t);
    return QN_OK;
}

static qn_status prepare(profile *t, qn_error *err)
{
    qn_measure_stage whole;
    QN_TRY(qn_measure_stage_open(&whole, t->cuts, 0, 0, t->options->batch, t->options->cpu, 0, err));
    qn_status status = fill_inputs(t, whole.program, err);
    qn_measure_stage_close(&whole);
    return status;
}

qn_status qn_cut_times_measure(qn_cut_times *times, const qn_cuts *cuts, const qn_cut_times_options *options,
                               qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_cut_times_options_init", err));
    if (options->rounds < 1 || options->batch < 0) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "%d rounds of batches of %lld: rounds must be 1 or more, batches 0 or more", options->rounds,
                       (long long)options->batch);
    }
    qn_cut_times made = {.n = cuts->n_nodes + 1};
    profile t = {.cuts = cuts, .options = options, .times = &made};
    made.seconds_before = qn_alloc(made.n * sizeof *made.seconds_before);
    qn_status status = made.seconds_before != NULL ? prepare(&t, err)
                                                   : qn_fail_memory(err, NULL, made.n * sizeof *made.seconds_before);
    status =
        status == QN_OK ? qn_parallel_for(1, 1, measure, &t, err) : status; /* which holds libraries to one thread */
    for (size_t i = 0; i < t.n_inputs; i++) {
        qn_free(t.inputs[i]);
    }
    qn_free(t.inputs);
    if (status != QN_OK) {
        qn_cut_times_free(&made);
        return status;
    }
    name_machine(made.machine, sizeof made.machine, options->cpu);
    *times = made;
    return QN_OK;
}

void qn_cut_times_free(qn_cut_times *times)
{
    qn_free(times->seconds_before);
    *times = (qn_cut_times){0};
}
