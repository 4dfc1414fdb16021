/* Times qn_program_run on one model: batches of float input to float output, on one or more threads with a workspace
 * each. usage: bench_engine MODEL [--engine float|simulate|integer] [--batch N] [--threads N] [--seconds S]
 * Prints one line of JSON: least and median milliseconds per item over rounds of about 50 ms, and of processor time,
 * which other work on the machine disturbs less. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/threads.h"
#include "quern/quern.h"

enum { MAX_ROUNDS = 4096, MAX_THREADS = 256 };

typedef struct {
    const char *model;
    qn_engine engine;
    int64_t batch;
    int n_threads;
    double seconds;
} arguments;

typedef struct {
    const qn_program *program;
    qn_workspace *workspaces[MAX_THREADS];
    float **inputs; /* shared, only read */
    float **outputs[MAX_THREADS];
} bench;

static double clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

static bool parse(arguments *args, int argc, char **argv)
{
    *args = (arguments){.engine = QN_ENGINE_FLOAT, .batch = 1, .n_threads = 1, .seconds = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (argv[i][0] != '-') {
            args->model = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--engine") == 0) {
            args->engine = strcmp(value, "integer") == 0    ? QN_ENGINE_INTEGER
                           : strcmp(value, "simulate") == 0 ? QN_ENGINE_SIMULATE
                                                            : QN_ENGINE_FLOAT;
        } else if (strcmp(argv[i], "--batch") == 0) {
            args->batch = atoll(value);
        } else if (strcmp(argv[i], "--threads") == 0) {
            args->n_threads = atoi(value);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            args->seconds = atof(value);
        } else {
            return false;
        }
        i++;
    }
    return args->model != NULL && args->n_threads >= 1 && args->n_threads <= MAX_THREADS && args->seconds > 0;
}

/* The wave that ort_bench.js feeds, so that both see the same numbers; integers (tokens, masks) are 0, 1, 0, 1 ... */
static float **make_inputs(const qn_program *program, const qn_model *model)
{
    size_t n = qn_program_n_inputs(program);
    float **inputs = qn_alloc(n * sizeof *inputs);
    for (size_t i = 0; inputs != NULL && i < n; i++) {
        size_t count = (size_t)(qn_program_batch(program) * qn_program_input_count(program, i));
        inputs[i] = qn_alloc(count * sizeof(float));
        qn_io_info info;
        bool wave = qn_model_input(model, i, &info, NULL) == QN_OK && info.dtype == QN_DTYPE_F32;
        for (size_t k = 0; inputs[i] != NULL && k < count; k++) {
            inputs[i][k] = wave ? (float)(100 + 90 * sin(0.31 * (double)k)) : (float)(k % 2);
        }
    }
    return inputs;
}

static float **make_outputs(const qn_program *program)
{
    size_t n = qn_program_n_outputs(program);
    float **outputs = qn_alloc(n * sizeof *outputs);
    for (size_t i = 0; outputs != NULL && i < n; i++) {
        outputs[i] =
            qn_alloc((size_t)(qn_program_batch(program) * qn_program_output_count(program, i)) * sizeof(float));
    }
    return outputs;
}

static qn_status run_one(void *ctx, int worker, int64_t item, qn_error *err)
{
    (void)item;
    bench *b = ctx;
    return qn_program_run(b->program, b->workspaces[worker], (const float *const *)b->inputs,
                          qn_program_batch(b->program), b->outputs[worker], err);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static qn_status measure(bench *b, const arguments *args, double *rounds, double *cpu_rounds, int *n_rounds,
                         qn_error *err)
{
    int64_t runs = 0;
    for (double start = now_ms(); now_ms() - start < 50; runs += args->n_threads) {
        QN_TRY(qn_parallel_for(args->n_threads, args->n_threads, run_one, b, err));
    }
    for (double start = now_ms(); *n_rounds < MAX_ROUNDS && now_ms() - start < args->seconds * 1e3; (*n_rounds)++) {
        const double from = now_ms(), cpu_from = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
        const double items = (double)(runs * qn_program_batch(b->program));
        QN_TRY(qn_parallel_for(args->n_threads, runs, run_one, b, err));
        rounds[*n_rounds] = (now_ms() - from) / items;
        cpu_rounds[*n_rounds] = (clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_from) / items;
    }
    qsort(rounds, (size_t)*n_rounds, sizeof *rounds, by_value);
    qsort(cpu_rounds, (size_t)*n_rounds, sizeof *cpu_rounds, by_value);
    return QN_OK;
}

static qn_status prepare(bench *b, const arguments *args, qn_program **program, qn_error *err)
{
    qn_model *model = NULL;
    QN_TRY(qn_model_load(&model, args->model, err));
    qn_program_options options;
    qn_status status = qn_program_options_init(&options, args->engine, err);
    if (status == QN_OK) {
        options.batch = args->batch;
        status = qn_program_create(program, model, &options, err);
    }
    b->program = *program;
    b->inputs = status == QN_OK ? make_inputs(*program, model) : NULL;
    qn_model_free(model);
    QN_TRY(status);
    for (int t = 0; t < args->n_threads; t++) {
        QN_TRY(qn_workspace_create(&b->workspaces[t], *program, err));
        b->outputs[t] = make_outputs(*program);
    }
    return QN_OK;
}

int main(int argc, char **argv)
{
    arguments args;
    if (!parse(&args, argc, argv)) {
        fprintf(
            stderr,
            "usage: bench_engine MODEL [--engine float|simulate|integer] [--batch N] [--threads N] [--seconds S]\n");
        return 2;
    }
    static bench b;
    static double rounds[MAX_ROUNDS], cpu_rounds[MAX_ROUNDS];
    int n_rounds = 0;
    qn_program *program = NULL;
    qn_error err;
    qn_error_init(&err);
    qn_status status = prepare(&b, &args, &program, &err);
    if (status == QN_OK) {
        status = measure(&b, &args, rounds, cpu_rounds, &n_rounds, &err);
    }
    if (status != QN_OK || n_rounds == 0) {
        fprintf(stderr, "bench_engine: %s: %s\n", err.where, err.message);
        return 1;
    }
    printf("{\"model\": \"%s\", \"engine\": \"%s\", \"threads\": %d, \"batch\": %lld, \"min_ms\": %.6f, \"median_ms\": "
           "%.6f, \"cpu_min_ms\": %.6f, \"cpu_median_ms\": %.6f}\n",
           args.model, qn_engine_text(args.engine), args.n_threads, (long long)qn_program_batch(program), rounds[0],
           rounds[n_rounds / 2], cpu_rounds[0], cpu_rounds[n_rounds / 2]);
    return 0; /* what was made lasts as long as the process */
}
