/* What a campaign costs around the injector: an injector that does nothing but answer, in processor time of one thread.
 * usage: bench_fault_campaign MODEL DATA [N_IMAGES]
 * Prints, for permanent faults, nanoseconds per pair, and for transient ones, each a row, rows per second. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fault/campaign.h"
#include "quern/quern.h"

static qn_status create(qn_injector *injector, qn_error *err)
{
    (void)injector, (void)err;
    return QN_OK;
}

static void release(qn_injector *injector)
{
    (void)injector;
}

static int64_t group(const qn_injector *injector)
{
    (void)injector;
    return 1;
}

static qn_status golden(qn_injector *injector, int worker, int64_t first, int64_t n, float *outputs, qn_error *err)
{
    (void)worker, (void)first, (void)err;
    for (int64_t i = 0; i < n * injector->output_count; i++) {
        outputs[i] = (float)(i % injector->output_count);
    }
    return QN_OK;
}

static qn_status run(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    (void)injector, (void)worker, (void)n, (void)err;
    for (int64_t f = 0; f < n_faults; f++) {
        const qn_fault_effect effect = {
            .end = QN_FAULT_IN_LAYER, .before = 3, .after = 3u ^ (uint32_t)faults[f]->draw, .died_at = -1};
        emit(ctx, f, first, &effect);
    }
    return QN_OK;
}

static const qn_injector_ops nothing = {"nothing", create, release, group, golden, run, NULL};

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void measure(const qn_model *model, const qn_dataset *data, int64_t n_images, const char *yaml, bool rows)
{
    qn_error err;
    qn_error_init(&err);
    qn_campaign_options options;
    qn_campaign_stats stats = {0};
    qn_fault_spec *spec = NULL;
    qn_status status = qn_campaign_options_init(&options, model, &err);
    if (status == QN_OK) {
        status = qn_fault_spec_of_text(&spec, yaml, "bench", &err);
    }
    options.data = data;
    options.n_images = n_images;
    options.spec = spec;
    options.store = "bench_fault_campaign.db";
    options.overwrite = true;
    options.n_threads = 1;
    const double start = processor_seconds();
    if (status == QN_OK) {
        status = qn_campaign_run(&options, &stats, &err);
    }
    const double seconds = processor_seconds() - start;
    if (status != QN_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        exit(1);
    }
    if (rows) {
        printf("%lld rows: %.0f ns a row in all; storing (wall) %.0f rows/s\n", (long long)stats.faults,
               1e9 * seconds / (double)stats.faults, (double)stats.faults / stats.storing_seconds);
    } else {
        printf("%lld pairs: %.1f ns a pair in all\n", (long long)stats.pairs, 1e9 * seconds / (double)stats.pairs);
    }
    qn_fault_spec_close(spec);
    unlink(options.store);
}

int main(int argc, char **argv)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_dataset *data;
    qn_preprocess pre;
    bool found;
    if (argc < 3 || qn_model_load(&model, argv[1], &err) != QN_OK ||
        qn_model_preprocess(model, &pre, &found, &err) != QN_OK ||
        qn_dataset_open(&data, argv[2], found ? &pre : NULL, &err) != QN_OK) {
        fprintf(stderr, "usage: bench_fault_campaign MODEL DATA [N_IMAGES]\n%s\n", err.message);
        return 2;
    }
    const int64_t n_images = argc > 3 ? atoll(argv[3]) : 0;
    qn_campaign_fake.injector = &nothing;
    for (int i = 0; i < 3; i++) {
        measure(model, data, n_images, "faults: [{where: weights, sample: 20000}]", false);
        measure(model, data, n_images, "faults: [{where: activations, sample: 400000}]", true);
    }
    qn_dataset_close(data);
    qn_model_free(model);
    return 0;
}
