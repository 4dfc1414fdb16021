/* Speed of the kernels that compute again what a change touches, in nanoseconds, beside that of the whole convolution
 * at the same level where there is one.
 *
 * usage: bench_kernels_delta [kernel name part]     Pin it to a core (taskset -c 1) and compare numbers of one run only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "engine/integer/kernels/kernels.h"

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

typedef void work_fn(void *ctx);

/* Least time of one call over several rounds. */
static double least_time(work_fn *work, void *ctx)
{
    double least = 1e30;
    int calls = 100;
    for (int round = 0; round < 30; round++) {
        const double start = now_ns();
        for (int i = 0; i < calls; i++) {
            work(ctx);
        }
        const double each = (now_ns() - start) / calls;
        least = each < least ? each : least;
        calls = each * calls < 500000 ? calls * 2 : calls;
    }
    return least;
}

static void *allocate(size_t n_bytes)
{
    void *memory = qn_alloc(n_bytes);
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void scatter(uint8_t *bytes, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

static const struct conv_case {
    const char *text;
    int channels, height, width, outputs, rows, columns, stride;
    int y, x, k, n_y, n_x, n_k; /* the change */
    int one_in;                 /* so many elements of it differs; 0, 1: every one */
} conv_cases[] = {
    {"400 -> 120, one input", 400, 1, 1, 120, 1, 1, 1, 0, 0, 203, 1, 1, 1, 0},
    {"120 -> 84, one input", 120, 1, 1, 84, 1, 1, 1, 0, 0, 77, 1, 1, 1, 0},
    {"400 -> 120, one in ten of 400", 400, 1, 1, 120, 1, 1, 1, 0, 0, 0, 1, 1, 400, 10},
    {"84 -> 10, all inputs", 84, 1, 1, 10, 1, 1, 1, 0, 0, 0, 1, 1, 84, 0},
    {"3x3 8x8x64 -> 64, one channel", 64, 8, 8, 64, 3, 3, 1, 0, 0, 21, 8, 8, 1, 0},
    {"3x3 16x16x32 -> 32, one channel", 32, 16, 16, 32, 3, 3, 1, 0, 0, 21, 16, 16, 1, 0},
    {"3x3 32x32x16 -> 16, one channel", 16, 32, 32, 16, 3, 3, 1, 0, 0, 5, 32, 32, 1, 0},
    {"3x3/2 32x32x16 -> 32, one channel", 16, 32, 32, 32, 3, 3, 2, 0, 0, 5, 32, 32, 1, 0},
    {"1x1 25x5x64 -> 64, one channel", 64, 25, 5, 64, 1, 1, 1, 0, 0, 21, 25, 5, 1, 0},
    {"5x5 14x14x6 -> 16, one channel", 6, 14, 14, 16, 5, 5, 1, 0, 0, 2, 14, 14, 1, 0},
    {"5x5 14x14x6 -> 16, one input", 6, 14, 14, 16, 5, 5, 1, 5, 6, 2, 1, 1, 1, 0},
    {"3x3 16x16x32 -> 32, one input", 32, 16, 16, 32, 3, 3, 1, 7, 7, 5, 1, 1, 1, 0},
    {"3x3 8x8x64 -> 64, one input", 64, 8, 8, 64, 3, 3, 1, 4, 4, 21, 1, 1, 1, 0},
    {"3x3 8x8x64 -> 64, 3x3x64", 64, 8, 8, 64, 3, 3, 1, 3, 3, 0, 3, 3, 64, 0},
    {"3x3 8x8x64 -> 64, one in ten of 3x3x64", 64, 8, 8, 64, 3, 3, 1, 3, 3, 0, 3, 3, 64, 10},
    {"3x3 8x8x64 -> 64, one in ten of all", 64, 8, 8, 64, 3, 3, 1, 0, 0, 0, 8, 8, 64, 10},
    {"3x3 8x8x64 -> 64, all", 64, 8, 8, 64, 3, 3, 1, 0, 0, 0, 8, 8, 64, 0},
    {"3x3 16x16x32 -> 32, one in ten of all", 32, 16, 16, 32, 3, 3, 1, 0, 0, 0, 16, 16, 32, 10},
};

typedef struct conv_work {
    qn_conv_delta_fn *kernel;
    qn_conv_delta_job job;
    qn_conv_fn *whole;
    qn_conv_job whole_job;
} conv_work;

static void run_conv_delta(void *ctx)
{
    const conv_work *work = ctx;
    work->kernel(&work->job);
}

static void run_whole(void *ctx)
{
    const conv_work *work = ctx;
    work->whole(&work->whole_job);
}

static void bench_conv_delta(const qn_kernel *kernel, const struct conv_case *s)
{
    const int pad = s->rows == 3 ? 1 : 0, pitch = s->width + 2 * pad, padded_height = s->height + 2 * pad;
    const int height = (padded_height - s->rows) / s->stride + 1, width = (pitch - s->columns) / s->stride + 1;
    const int elem_bytes = kernel->elem_bytes != 0 ? kernel->elem_bytes : 2;
    const qn_weight_layout layout = qn_conv_layout(s->outputs, s->rows, s->columns * s->channels, elem_bytes, false);
    size_t weight_bytes = 0;
    (void)qn_layout_bytes(&layout, &weight_bytes);
    const size_t input_bytes = (size_t)pitch * (size_t)padded_height * (size_t)s->channels + 64;
    const size_t outputs = (size_t)height * (size_t)width * (size_t)s->outputs;
    uint8_t *x_old = allocate(input_bytes), *x_new = allocate(input_bytes), *weights = allocate(weight_bytes);
    uint8_t *y = allocate(outputs);
    int32_t *accumulators = allocate(outputs * sizeof *accumulators);
    int32_t *bias = allocate(((size_t)s->outputs + 32) * sizeof *bias);
    float *multiplier = allocate(((size_t)s->outputs + 32) * sizeof *multiplier);
    ptrdiff_t *segment = allocate((size_t)s->rows * sizeof *segment);
    for (int k = 0; k < s->outputs; k++) {
        multiplier[k] = 0.001f, bias[k] = 0;
    }
    scatter(x_old, input_bytes);
    scatter(weights, weight_bytes);
    memset(accumulators, 0, outputs * sizeof *accumulators);
    memcpy(x_new, x_old, input_bytes);
    const ptrdiff_t row = (ptrdiff_t)pitch * s->channels, origin = pad * row + pad * s->channels;
    for (int r = 0; r < s->rows; r++) {
        segment[r] = r * row;
    }
    conv_work work = {
        .kernel = kernel->run.conv_delta,
        .job = {.x_old = x_old + origin,
                .x_new = x_new + origin,
                .x_row = row,
                .x_pixel = s->channels,
                .changed = {s->y, s->y + s->n_y, s->x, s->x + s->n_x, s->k, s->k + s->n_k},
                .kernel = {s->rows, s->columns},
                .stride = {s->stride, s->stride},
                .dilation = {1, 1},
                .pad = {pad, pad},
                .channels = s->channels,
                .rows_adjoin = true,
                .weights = weights,
                .layout = layout,
                .accumulators = accumulators,
                .accumulator_row = (ptrdiff_t)width * s->outputs,
                .accumulator_pixel = s->outputs,
                .requantize = {bias, multiplier, 3, 3, 255},
                .y = y,
                .y_row = (ptrdiff_t)width * s->outputs,
                .y_pixel = s->outputs,
                .box = {.k1 = s->outputs}},
    };
    for (int i = 0; i<s->n_y * s->n_x * s->n_k; i += s->one_in> 1 ? s->one_in : 1) {
        const int k = i % s->n_k, column = i / s->n_k % s->n_x, line = i / s->n_k / s->n_x;
        x_new[origin + (s->y + line) * row + (s->x + column) * s->channels + s->k + k] ^= 4;
    }
    (void)qn_conv_delta_reach(&work.job, height, width, &work.job.box);
    const double ns = least_time(run_conv_delta, &work);
    const qn_cpu below_tiles = kernel->cpu < QN_CPU_AMX ? kernel->cpu : QN_CPU_VNNI;
    const qn_kernel *whole = qn_kernel_select(QN_KERNEL_CONV, below_tiles, elem_bytes);
    work.whole = whole->run.conv;
    work.whole_job = (qn_conv_job){.x = x_new,
                                   .x_row = s->stride * row,
                                   .x_pixel = (ptrdiff_t)s->stride * s->channels,
                                   .segment = segment,
                                   .weights = weights,
                                   .layout = layout,
                                   .requantize = work.job.requantize,
                                   .y = y,
                                   .y_row = work.job.y_row,
                                   .y_pixel = work.job.y_pixel,
                                   .box = work.job.box};
    printf("%-28s %-36s %9.1f ns   box by %s %9.1f ns\n", kernel->name, s->text, ns, whole->name,
           least_time(run_whole, &work));
    void *all[] = {x_old, x_new, weights, y, accumulators, bias, multiplier, segment};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        qn_free(all[i]);
    }
}

typedef struct weight_work {
    qn_weight_delta_fn *kernel;
    qn_weight_delta_job job;
    bool differs;
} weight_work;

static void run_weight_delta(void *ctx)
{
    weight_work *work = ctx;
    work->differs |= work->kernel(&work->job).differs;
}

/* Pixels of `channels`, or planes: of all but the result. */
static void bench_weight_delta(const qn_kernel *kernel, int size, int channels, bool planes)
{
    const size_t n = (size_t)(size * size) * (size_t)channels;
    uint8_t *x = allocate(n), *y = allocate(n + 192);
    int32_t *accumulators = allocate(n * sizeof *accumulators);
    scatter(x, n);
    for (size_t i = 0; i < n; i++) {
        accumulators[i] = x[i] * 1000 - 100000;
        y[192 + i] = (uint8_t)(accumulators[i] < 0 ? 0 : (accumulators[i] + 500) / 1000);
    }
    const int pixel = planes ? 1 : channels;
    weight_work work = {kernel->run.weight_delta,
                        {.x = x,
                         .x_row = (ptrdiff_t)size * pixel,
                         .x_pixel = pixel,
                         .zero_x = 0,
                         .delta = 4,
                         .accumulators = accumulators,
                         .accumulator_row = (ptrdiff_t)size * pixel,
                         .accumulator_pixel = pixel,
                         .multiplier = 0.001f,
                         .zero_point = 0,
                         .lo = 0,
                         .hi = 255,
                         .y = y + 192, /* not a multiple of a page from x */
                         .y_row = (ptrdiff_t)size * channels,
                         .y_pixel = channels,
                         .height = size,
                         .width = size},
                        false};
    const double few = least_time(run_weight_delta, &work);
    work.job.delta = 64;
    printf("%-28s %2dx%2d of %2d%-25s %9.1f ns (a low bit) %9.1f ns (a high bit)\n", kernel->name, size, size, channels,
           planes ? ", planes" : "", few, least_time(run_weight_delta, &work));
    void *all[] = {x, y, accumulators};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        qn_free(all[i]);
    }
}

typedef struct differ_work {
    qn_differ_fn *kernel;
    const uint8_t *a, *b;
    ptrdiff_t row, pixel;
    qn_box box;
    int found;
} differ_work;

static void run_differ(void *ctx)
{
    differ_work *work = ctx;
    qn_box box = work->box;
    work->found += work->kernel(work->a, work->b, work->row, work->pixel, &box);
}

static void bench_differ(const qn_kernel *kernel, int size, int channels, int n_k)
{
    const size_t n = (size_t)(size * size) * (size_t)channels;
    uint8_t *a = allocate(n), *b = allocate(n);
    scatter(a, n);
    memcpy(b, a, n);
    differ_work work = {kernel->run.differ, a, b, (ptrdiff_t)size * channels, channels, {0, size, 0, size, 0, n_k}, 0};
    const double same = least_time(run_differ, &work);
    for (size_t i = 0; i < n; i += 3) {
        b[i] ^= 1;
    }
    printf("%-28s %2dx%2dx%2d of %2d channels %15s %9.1f ns (same) %9.1f ns (one in three differs)\n", kernel->name,
           size, size, n_k, channels, "", same, least_time(run_differ, &work));
    qn_free(a);
    qn_free(b);
}

int main(int argc, char **argv)
{
    static const int differ_cases[][3] = {{1, 64, 1},  {1, 64, 64},  {3, 64, 64}, {8, 64, 1},
                                          {8, 64, 64}, {16, 32, 32}, {32, 16, 16}};
    static const int weight_cases[][2] = {{8, 64}, {16, 32}, {32, 16}};
    const char *part = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < qn_n_kernels; i++) {
        const qn_kernel *kernel = &qn_kernels[i];
        if (kernel->cpu > qn_cpu_best() || strstr(kernel->name, part) == NULL) {
            continue;
        }
        for (size_t c = 0; kernel->op == QN_KERNEL_CONV_DELTA && c < sizeof conv_cases / sizeof conv_cases[0]; c++) {
            bench_conv_delta(kernel, &conv_cases[c]);
        }
        for (size_t c = 0; kernel->op == QN_KERNEL_WEIGHT_DELTA && c < 6; c++) {
            bench_weight_delta(kernel, weight_cases[c / 2][0], weight_cases[c / 2][1], c % 2 == 1);
        }
        for (size_t c = 0; kernel->op == QN_KERNEL_DIFFER && c < sizeof differ_cases / sizeof differ_cases[0]; c++) {
            bench_differ(kernel, differ_cases[c][0], differ_cases[c][1], differ_cases[c][2]);
        }
    }
    return 0;
}
