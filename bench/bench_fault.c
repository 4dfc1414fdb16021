/* Pairs (fault, image) per second of the injector of integer networks, against quern's own full re-execution of the same
 * network: usage: bench_fault MODEL IMAGES [--where weights|biases|activations|accumulators|...] [--images N] [--faults N]
 * [--layer VALUE] [--seconds S] [--scratch N]. Random single bit flips, uniform over the bits of all targets of a kind; every fault on
 * N images, or with --images 0 on one image of its own. Outputs that differ are classified (outcome.h). Rounds of both alternate, timed by the processor;
 * the best of each counts. Prints one line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "fault/injector.h"
#include "fault/outcome.h"
#include "graph/model.h"
#include "quern/quern.h"

typedef struct arguments {
    const char *model, *data, *layer;
    qn_fault_where where;
    int64_t n_images, n_faults;
    double seconds;
} arguments;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool parse(arguments *a, int argc, char **argv)
{
    *a = (arguments){.where = QN_FAULT_WEIGHTS, .n_images = 100, .n_faults = 2000, .seconds = 2};
    const char *files[2] = {NULL, NULL};
    int n = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (argv[i][0] != '-') {
            if (n == 2) {
                return false;
            }
            files[n++] = argv[i];
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--where") == 0) {
            if (!qn_fault_where_parse(&a->where, value)) {
                return false;
            }
        } else if (strcmp(argv[i - 1], "--images") == 0) {
            a->n_images = atoll(value);
        } else if (strcmp(argv[i - 1], "--faults") == 0) {
            a->n_faults = atoll(value);
        } else if (strcmp(argv[i - 1], "--layer") == 0) {
            a->layer = value;
        } else if (strcmp(argv[i - 1], "--seconds") == 0) {
            a->seconds = atof(value);
        } else {
            return false;
        }
    }
    a->model = files[0];
    a->data = files[1];
    return n == 2 && a->n_images >= 0 && a->n_faults >= 1;
}

typedef struct bench {
    arguments arguments;
    qn_model *model;
    qn_program *program;
    qn_workspace *workspace;
    qn_dataset *data;
    qn_fault_targets targets;
    qn_injector *injector;
    qn_fault *faults;
    qn_fault_change *changes;
    const qn_fault **list;
    float *golden, *inputs, *outputs;
    qn_golden *goldens;
    int64_t n_images, ends[5], sdc;
} bench;

/* Fault i: a bit of all the bits there are of the kind. */
static void draw(bench *b)
{
    int64_t n_bits = 0;
    for (int i = 0; i < b->targets.n; i++) {
        const qn_fault_target *t = &b->targets.list[i];
        if (t->where == b->arguments.where &&
            (b->arguments.layer == NULL || strcmp(t->value_name, b->arguments.layer) == 0)) {
            n_bits += t->n_elems * t->bits;
        }
    }
    for (int64_t i = 0; n_bits > 0 && i < b->arguments.n_faults; i++) {
        const uint64_t random =
            (uint64_t)qn_random_u32(1, 1, (uint64_t)i * 2) << 32 | qn_random_u32(1, 1, (uint64_t)i * 2 + 1);
        int64_t bit = (int64_t)(random % (uint64_t)n_bits);
        int target = -1;
        for (int t = 0; target < 0; t++) {
            const qn_fault_target *at = &b->targets.list[t];
            if (at->where != b->arguments.where ||
                (b->arguments.layer != NULL && strcmp(at->value_name, b->arguments.layer) != 0)) {
                continue;
            }
            if (bit < at->n_elems * at->bits) {
                target = t;
            } else {
                bit -= at->n_elems * at->bits;
            }
        }
        const qn_fault_target *t = &b->targets.list[target];
        b->changes[i] = (qn_fault_change){.target = target,
                                          .element = bit / t->bits,
                                          .term = (int64_t)(random >> 33) % t->n_terms,
                                          .and_mask = UINT32_MAX,
                                          .xor_mask = UINT32_C(1) << bit % t->bits};
        b->faults[i] = (qn_fault){.id = i, .n_changes = 1, .changes = &b->changes[i], .n_images = b->n_images};
        if (b->arguments.n_images == 0) {
            b->faults[i].first_image = (int64_t)(random >> 20) % b->n_images;
            b->faults[i].n_images = 1;
        }
        b->list[i] = &b->faults[i];
    }
}

static qn_status open_bench(bench *b, qn_error *err)
{
    qn_program_options options;
    QN_TRY(qn_model_load(&b->model, b->arguments.model, err));
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    options.keep_values = true;
    QN_TRY(qn_program_create(&b->program, b->model, &options, err));
    QN_TRY(qn_workspace_create(&b->workspace, b->program, err));
    qn_preprocess pre;
    bool found;
    QN_TRY(qn_model_preprocess(b->model, &pre, &found, err));
    QN_TRY(qn_dataset_open(&b->data, b->arguments.data, found ? &pre : NULL, err));
    QN_TRY(qn_fault_targets_make(&b->targets, b->program, err));
    const qn_injector_options to = {.program = b->program,
                                    .model = b->model,
                                    .data = b->data,
                                    .targets = &b->targets,
                                    .n_workers = 1,
                                    .memory_bytes = (size_t)1 << 30};
    QN_TRY(qn_injector_create(&b->injector, &to, false, err));
    b->n_images = b->arguments.n_images > 0 ? b->arguments.n_images : 100;
    b->n_images = b->n_images < qn_dataset_count(b->data) ? b->n_images : qn_dataset_count(b->data);
    const size_t n = (size_t)b->arguments.n_faults, n_out = (size_t)b->injector->output_count;
    const size_t n_in = (size_t)qn_program_input_count(b->program, 0);
    b->faults = qn_alloc(n * sizeof *b->faults);
    b->changes = qn_alloc(n * sizeof *b->changes);
    b->list = qn_alloc(n * sizeof *b->list);
    b->golden = qn_alloc((size_t)b->n_images * n_out * sizeof(float));
    b->outputs = qn_alloc(n_out * sizeof(float));
    b->inputs = qn_alloc((size_t)b->n_images * n_in * sizeof(float));
    b->goldens = qn_alloc((size_t)b->n_images * sizeof *b->goldens);
    if (b->faults == NULL || b->changes == NULL || b->list == NULL || b->golden == NULL || b->outputs == NULL ||
        b->inputs == NULL || b->goldens == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *b->faults);
    }
    QN_TRY(qn_dataset_read(b->data, 0, b->n_images, b->inputs, err));
    for (int64_t i = 0; i < b->n_images; i++) {
        QN_TRY(b->injector->ops->golden(b->injector, 0, i, 1, b->golden + (size_t)i * n_out, err));
        qn_golden_make(&b->goldens[i], b->golden + (size_t)i * n_out, (int)n_out, -1);
    }
    draw(b);
    return QN_OK;
}

static void count(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    bench *b = ctx;
    (void)fault;
    b->ends[effect->end]++;
    if (effect->outputs != NULL) {
        b->sdc += (qn_outcome_of(&b->goldens[image], effect->outputs, (int)b->injector->output_count, 0).flags &
                   QN_OUTCOME_SDC1) != 0;
    }
}

/* All pairs once; their number. */
static qn_status round_of_faults(bench *b, int64_t *pairs, qn_error *err)
{
    memset(b->ends, 0, sizeof b->ends);
    b->sdc = 0;
    const int64_t group = b->injector->ops->group(b->injector);
    for (int64_t first = 0; first < b->n_images; first += group) {
        const int64_t n = b->n_images - first < group ? b->n_images - first : group;
        QN_TRY(b->injector->ops->run(b->injector, 0, first, n, b->list, b->arguments.n_faults, count, b, err));
    }
    *pairs = 0;
    for (int i = 0; i < 5; i++) {
        *pairs += b->ends[i];
    }
    return QN_OK;
}

static qn_status round_of_networks(bench *b, double *seconds, qn_error *err)
{
    const int64_t n_in = qn_program_input_count(b->program, 0);
    const double start = now();
    for (int64_t i = 0; i < b->n_images; i++) {
        const float *in = b->inputs + i * n_in;
        float *out = b->outputs;
        QN_TRY(qn_program_run(b->program, b->workspace, &in, 1, &out, err));
    }
    *seconds = (now() - start) / (double)b->n_images;
    return QN_OK;
}

static qn_status measure(bench *b, qn_error *err)
{
    double best = 1e30, network = 1e30, one;
    int64_t pairs = 0;
    for (double start = now(); now() - start < b->arguments.seconds;) {
        QN_TRY(round_of_networks(b, &one, err));
        network = one < network ? one : network;
        one = now();
        QN_TRY(round_of_faults(b, &pairs, err));
        one = (now() - one) / (double)pairs;
        best = one < best ? one : best;
    }
    printf("{\"where\": \"%s\", \"pairs\": %lld, \"pairs_per_s\": %.0f, \"network_us\": %.2f, \"times\": %.1f, "
           "\"inactive\": %.4f, "
           "\"in_layer\": %.4f, \"on_the_way\": %.4f, \"at_output\": %.4f, \"sdc1\": %.4f}\n",
           qn_fault_where_text(b->arguments.where), (long long)pairs, 1 / best, network * 1e6, network / best,
           (double)b->ends[0] / (double)pairs, (double)b->ends[1] / (double)pairs, (double)b->ends[2] / (double)pairs,
           (double)b->ends[3] / (double)pairs, (double)b->sdc / (double)pairs);
    return QN_OK;
}

int main(int argc, char **argv)
{
    bench b = {0};
    qn_error err;
    qn_error_init(&err);
    if (!parse(&b.arguments, argc, argv)) {
        fprintf(stderr, "usage: bench_fault MODEL IMAGES [--where KIND] [--images N] [--faults N] [--layer VALUE] "
                        "[--seconds S]\n");
        return 2;
    }
    qn_status status = open_bench(&b, &err);
    status = status == QN_OK ? measure(&b, &err) : status;
    if (status != QN_OK) {
        fprintf(stderr, "bench_fault: %s: %s\n", err.where, err.message);
    }
    qn_injector_free(b.injector);
    qn_fault_targets_free(&b.targets);
    qn_dataset_close(b.data);
    qn_workspace_free(b.workspace);
    qn_program_free(b.program);
    qn_model_free(b.model);
    qn_free(b.faults);
    qn_free(b.changes);
    qn_free(b.list);
    qn_free(b.golden);
    qn_free(b.outputs);
    qn_free(b.inputs);
    qn_free(b.goldens);
    return status == QN_OK ? 0 : 1;
}
