/* Faults in a float or simulated network: (fault, image) pairs per second of processor time of the restarting injector, one thread, against
 * whole runs of the network without faults.
 * usage: bench_fault_float MODEL [BATCH [IMAGES]]   (simulated where the model is quantized; batch 32, 96 images of noise)
 * Prints one line of JSON; each number is of the best of some rounds in alternation. Faults flip one random bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "fault/injector.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { ROUNDS = 5, N_WEIGHTS = 128, PER_IMAGE = 128 };

typedef struct {
    qn_injector injector;
    const char *what;
    qn_fault *faults;
    qn_fault_change *changes;
    const qn_fault **list;
    int64_t n_faults;
    double best; /* pairs per second */
    int64_t pairs, differ;
} bench;

/* Of this process: others may run beside it. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t draw(uint64_t n)
{
    static uint64_t index;
    const uint64_t high = qn_random_u32(1, 7, index), low = qn_random_u32(1, 8, index);
    index++;
    return (high << 32 | low) % n;
}

/* A random bit of all the targets of one kind. */
static qn_fault_change flip(const qn_fault_targets *targets, qn_fault_where where)
{
    int64_t total = 0;
    for (int i = 0; i < targets->n; i++) {
        total += targets->list[i].where == where ? targets->list[i].n_elems : 0;
    }
    int64_t element = (int64_t)draw((uint64_t)total);
    int i = 0;
    for (; targets->list[i].where != where || element >= targets->list[i].n_elems; i++) {
        element -= targets->list[i].where == where ? targets->list[i].n_elems : 0;
    }
    return (qn_fault_change){.target = i,
                             .element = element,
                             .and_mask = UINT32_MAX,
                             .xor_mask = UINT32_C(1) << draw((uint64_t)targets->list[i].bits)};
}

static qn_status prepare(bench *b, qn_fault_where where, int64_t n_images, qn_error *err)
{
    const bool each = where == QN_FAULT_ACTIVATIONS; /* in one image */
    b->what = qn_fault_where_text(where);
    b->n_faults = each ? PER_IMAGE * n_images : N_WEIGHTS;
    b->faults = qn_alloc((size_t)b->n_faults * sizeof *b->faults);
    b->changes = qn_alloc((size_t)b->n_faults * sizeof *b->changes);
    b->list = qn_alloc((size_t)b->n_faults * sizeof *b->list);
    if (b->faults == NULL || b->changes == NULL || b->list == NULL) {
        return qn_fail_memory(err, NULL, (size_t)b->n_faults * sizeof *b->faults);
    }
    for (int64_t i = 0; i < b->n_faults; i++) {
        b->changes[i] = flip(b->injector.options.targets, where);
        b->faults[i] = (qn_fault){.id = i,
                                  .first_image = each ? i % n_images : 0,
                                  .n_images = each ? 1 : n_images,
                                  .n_changes = 1,
                                  .changes = &b->changes[i]};
        b->list[i] = &b->faults[i];
    }
    return qn_injector_float.create(&b->injector, err);
}

static void count(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    (void)fault;
    (void)image;
    bench *b = ctx;
    b->pairs++;
    b->differ += effect->end == QN_FAULT_AT_OUTPUT;
}

static qn_status round_of(bench *b, int64_t n_images, qn_error *err)
{
    const int64_t group = qn_injector_float.group(&b->injector);
    b->pairs = b->differ = 0;
    const double from = now();
    for (int64_t first = 0; first < n_images; first += group) {
        const int64_t n = n_images - first < group ? n_images - first : group;
        QN_TRY(qn_injector_float.run(&b->injector, 0, first, n, b->list, b->n_faults, count, b, err));
    }
    b->best = fmax(b->best, (double)b->pairs / (now() - from));
    return QN_OK;
}

static qn_status round_of_scratch(const qn_program *program, qn_workspace *workspace, const float *x, float *y,
                                  double *best, qn_error *err)
{
    enum { RUNS = 20 };
    const double from = now();
    for (int i = 0; i < RUNS; i++) {
        QN_TRY(qn_program_run(program, workspace, &x, qn_program_batch(program), &y, err));
    }
    *best = fmax(*best, RUNS * (double)qn_program_batch(program) / (now() - from));
    return QN_OK;
}

static qn_status images(qn_tensor *t, const qn_program *program, int64_t n, qn_error *err)
{
    int64_t dims[QN_MAX_RANK];
    const int rank = qn_program_input_shape(program, 0, dims + 1);
    dims[0] = n;
    QN_TRY(qn_tensor_alloc(t, QN_DTYPE_F32, rank + 1, dims, err));
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        ((float *)t->data)[i] = (float)qn_random_u32(1, 9, (uint64_t)i) * 0x1p-31F - 1;
    }
    return QN_OK;
}

/* Programs, data and results live as long as the process. */
static qn_status measure(const char *file, int64_t batch, int64_t n_images, qn_error *err)
{
    static bench benches[2];
    static qn_fault_targets targets;
    static qn_tensor x;
    qn_model *model;
    qn_program *program, *scratch;
    qn_workspace *workspace;
    qn_dataset *data;
    QN_TRY(qn_model_load(&model, file, err));
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, qn_model_is_quantized(model) ? QN_ENGINE_SIMULATE : QN_ENGINE_FLOAT, err));
    options.batch = batch;
    QN_TRY(qn_program_create(&scratch, model, &options, err));
    QN_TRY(qn_workspace_create(&workspace, scratch, err));
    options.keep_values = true;
    QN_TRY(qn_program_create(&program, model, &options, err));
    QN_TRY(qn_fault_targets_make(&targets, program, err));
    QN_TRY(images(&x, program, n_images, err));
    QN_TRY(qn_dataset_of_tensor(&data, &x, NULL, err));
    for (int i = 0; i < 2; i++) {
        benches[i].injector = (qn_injector){
            .ops = &qn_injector_float,
            .options = {.program = program, .model = model, .data = data, .targets = &targets, .n_workers = 1},
            .output_count = qn_program_output_count(program, 0)};
        QN_TRY(prepare(&benches[i], i == 0 ? QN_FAULT_WEIGHTS : QN_FAULT_ACTIVATIONS, n_images, err));
    }
    float *y = qn_alloc((size_t)(qn_program_batch(scratch) * qn_program_output_count(scratch, 0)) * sizeof *y);
    double per_second = 0;
    for (int i = 0; i < ROUNDS && y != NULL; i++) {
        QN_TRY(round_of_scratch(scratch, workspace, x.data, y, &per_second, err));
        QN_TRY(round_of(&benches[0], n_images, err));
        QN_TRY(round_of(&benches[1], n_images, err));
    }
    printf("{\"model\": \"%s\", \"batch\": %lld, \"scratch_per_s\": %.0f", file, (long long)qn_program_batch(program),
           per_second);
    for (int i = 0; i < 2; i++) {
        printf(", \"%s\": {\"pairs_per_s\": %.0f, \"ratio\": %.1f, \"differ\": %.3f}", benches[i].what, benches[i].best,
               benches[i].best / per_second, (double)benches[i].differ / (double)benches[i].pairs);
    }
    printf("}\n");
    return QN_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_fault_float MODEL [BATCH [IMAGES]]\n");
        return 2;
    }
    qn_error err;
    qn_error_init(&err);
    const int64_t batch = argc > 2 ? strtoll(argv[2], NULL, 10) : 32;
    if (measure(argv[1], batch, argc > 3 ? strtoll(argv[3], NULL, 10) : 96, &err) != QN_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    return 0;
}
