/* Times calibration against the float inference of the same items: qn_calibrate and qn_evaluate, each a whole call with
 * the defaults of `quern calibrate` and `quern eval` on one thread, in turns.
 * usage: bench_calibrate MODEL DATA [--threads N] [--batch N] [--seconds S]
 * Prints one line of JSON: the least milliseconds of each, their ratio, and the process's peak of memory. --batch is calibration's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "quern/quern.h"

typedef struct {
    const char *model, *data;
    int n_threads;
    int64_t batch;
    double seconds;
} arguments;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Most memory that the process has had. */
static double peak_mib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024.0 : 0.0;
}

static bool parse(arguments *args, int argc, char **argv)
{
    *args = (arguments){.n_threads = 1, .seconds = 5};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (argv[i][0] != '-') {
            *(args->model == NULL ? &args->model : &args->data) = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--threads") == 0) {
            args->n_threads = atoi(value);
        } else if (strcmp(argv[i], "--batch") == 0) {
            args->batch = atoll(value);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            args->seconds = atof(value);
        } else {
            return false;
        }
        i++;
    }
    return args->data != NULL && args->n_threads >= 1 && args->batch >= 0 && args->seconds > 0;
}

static qn_status calibrate(const qn_model *model, const qn_dataset *data, const arguments *args, double *least,
                           qn_error *err)
{
    qn_calibrate_options options;
    qn_calibrate_options_init(&options);
    options.n_threads = args->n_threads;
    options.batch = args->batch;
    qn_calibration *calibration = NULL;
    double from = now_ms();
    qn_status status = qn_calibrate(&calibration, model, data, &options, err);
    double taken = now_ms() - from;
    qn_calibration_free(calibration);
    *least = taken < *least ? taken : *least;
    return status;
}

static qn_status infer(const qn_model *model, const qn_dataset *data, const arguments *args, double *least,
                       qn_error *err)
{
    qn_evaluate_options options;
    qn_status status = qn_evaluate_options_init(&options, model, err);
    if (status != QN_OK) {
        return status;
    }
    options.engine = QN_ENGINE_FLOAT;
    options.n_threads = args->n_threads;
    qn_evaluation result;
    double from = now_ms();
    status = qn_evaluate(&result, model, data, &options, NULL, err);
    double taken = now_ms() - from;
    *least = taken < *least ? taken : *least;
    return status;
}

static qn_status measure(const qn_model *model, const qn_dataset *data, const arguments *args, qn_error *err)
{
    double calibration = 1e300, inference = 1e300;
    qn_status status = QN_OK;
    for (double start = now_ms(); status == QN_OK && now_ms() - start < args->seconds * 1e3;) {
        status = calibrate(model, data, args, &calibration, err);
        if (status == QN_OK) {
            status = infer(model, data, args, &inference, err);
        }
    }
    if (status == QN_OK) {
        printf("{\"model\": \"%s\", \"items\": %lld, \"threads\": %d, \"calibrate_ms\": %.3f, \"infer_ms\": %.3f, "
               "\"ratio\": %.3f, \"peak_mib\": %.1f}\n",
               args->model, (long long)qn_dataset_count(data), args->n_threads, calibration, inference,
               calibration / inference, peak_mib());
    }
    return status;
}

int main(int argc, char **argv)
{
    arguments args;
    if (!parse(&args, argc, argv)) {
        fprintf(stderr, "usage: bench_calibrate MODEL DATA [--threads N] [--batch N] [--seconds S]\n");
        return 2;
    }
    qn_model *model = NULL;
    qn_dataset *data = NULL;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_model_load(&model, args.model, &err);
    if (status == QN_OK) {
        status = qn_dataset_open(&data, args.data, NULL, &err);
    }
    if (status == QN_OK) {
        status = measure(model, data, &args, &err);
    }
    if (status != QN_OK) {
        fprintf(stderr, "bench_calibrate: %s: %s\n", err.where, err.message);
    }
    qn_dataset_close(data);
    qn_model_free(model);
    return status == QN_OK ? 0 : 1;
}
