/* What simulation costs: a float network against the same with every activation put through a format, one thread.
 * usage: bench_simulate MODEL FORMAT [AXIS [GROUP]]   (per tensor unless an axis is given; -1 for groups in C order)
 * Prints one line of JSON: least microseconds per item over interleaved rounds, with kept and with dynamic parameters, and
 * their ratios to float. Formats with blocks have only dynamic ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "graph/bind.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { BATCH = 8, ROUNDS = 50, N_KINDS = 3 };

typedef struct {
    qn_program *program;
    qn_workspace *workspace;
    float *x, *y;
    double best_us;
} runner;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* On every value that is made while the network runs and whose rank has the axis. Kept parameters, one set, are those for
 * -8 to 8. */
static qn_status put_quantizers(qn_graph *graph, const qn_quantizer *q, qn_error *err)
{
    qn_binding binding;
    QN_TRY(qn_graph_bind(&binding, graph, BATCH, err));
    qn_status status = QN_OK;
    for (size_t i = 0; i < graph->n_values && status == QN_OK; i++) {
        const qn_bound_value *value = &binding.values[i];
        if (value->known == NULL && value->dtype == QN_DTYPE_F32 && value->rank > q->axis) {
            status = qn_graph_set_quantizer(graph, (qn_value_id)i, q, err);
        }
    }
    qn_binding_free(&binding);
    return status;
}

static qn_status prepare(runner *r, qn_model *model, qn_engine engine, qn_error *err)
{
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, engine, err));
    options.batch = BATCH;
    QN_TRY(qn_program_create(&r->program, model, &options, err));
    QN_TRY(qn_workspace_create(&r->workspace, r->program, err));
    const int64_t n = BATCH * qn_program_input_count(r->program, 0);
    r->x = qn_alloc((size_t)n * sizeof *r->x);
    r->y = qn_alloc((size_t)(BATCH * qn_program_output_count(r->program, 0)) * sizeof *r->y);
    for (int64_t i = 0; r->x != NULL && i < n; i++) {
        r->x[i] = (float)(100 + 90 * sin(0.31 * (double)i));
    }
    r->best_us = INFINITY;
    return r->x != NULL && r->y != NULL ? QN_OK : qn_fail_memory(err, NULL, (size_t)n);
}

static qn_status round_of(runner *r, qn_error *err)
{
    const float *inputs[] = {r->x};
    float *outputs[] = {r->y};
    double from = now_us();
    QN_TRY(qn_program_run(r->program, r->workspace, inputs, BATCH, outputs, err));
    r->best_us = fmin(r->best_us, (now_us() - from) / BATCH);
    return QN_OK;
}

static qn_status measure(const char *file, const char *text, int axis, int64_t group, runner runners[N_KINDS],
                         qn_error *err)
{
    qn_format format;
    QN_TRY(qn_format_parse(&format, text, err));
    float ends[] = {-8, 8};
    const qn_tensor range = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {2}, .data = ends};
    qn_quantizer *kept;
    QN_TRY(qn_fit(&kept, &range, format, NULL, err));
    const qn_quantizer dynamic = {
        .format = format, .axis = axis, .group = format.block > 0 ? format.block : group, .dynamic = true};
    for (int i = 0; i < N_KINDS; i++) {
        qn_model *model;
        QN_TRY(qn_model_load(&model, file, err));
        if (i > 0 && (i == 2 || format.block == 0)) {
            QN_TRY(put_quantizers(&model->graph, i == 1 ? kept : &dynamic, err));
        }
        QN_TRY(prepare(&runners[i], model, i == 0 ? QN_ENGINE_FLOAT : QN_ENGINE_SIMULATE, err));
        qn_model_free(model);
    }
    for (int k = 0; k < ROUNDS; k++) {
        for (int i = 0; i < N_KINDS; i++) {
            QN_TRY(round_of(&runners[i], err));
        }
    }
    qn_quantizer_free(kept);
    return QN_OK;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: bench_simulate MODEL FORMAT [AXIS [GROUP]]\n");
        return 2;
    }
    static runner runners[N_KINDS];
    qn_error err;
    qn_error_init(&err);
    int axis = argc > 3 ? atoi(argv[3]) : -1;
    int64_t group = argc > 4 ? atoll(argv[4]) : 0;
    if (measure(argv[1], argv[2], axis, group, runners, &err) != QN_OK) {
        fprintf(stderr, "bench_simulate: %s: %s\n", err.where, err.message);
        return 1;
    }
    printf("{\"model\": \"%s\", \"format\": \"%s\", \"axis\": %d, \"float_us\": %.2f, \"kept_us\": %.2f, "
           "\"dynamic_us\": %.2f, \"kept_ratio\": %.3f, \"dynamic_ratio\": %.3f}\n",
           argv[1], argv[2], axis, runners[0].best_us, runners[1].best_us, runners[2].best_us,
           runners[1].best_us / runners[0].best_us, runners[2].best_us / runners[0].best_us);
    return 0; /* what was made lasts as long as the process */
}
