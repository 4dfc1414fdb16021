/* Speed of every convolution and depthwise kernel this machine can run, in GMAC/s and as a share of the peak that a loop
 * of multiply-accumulate instructions over registers reaches on the same level; bytes per second for the others.
 *
 * usage: bench_kernels [kernel name part]     Pin it to a core (taskset -c 1) and compare numbers of one run only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "engine/integer/kernels/kernels.h"
#if QN_X86_64
#include <immintrin.h>
#endif

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

typedef void work_fn(void *ctx);

/* Least time of one call over several rounds, in microseconds. */
static double least_time(work_fn *work, void *ctx)
{
    double least = 1e30;
    int calls = 1;
    for (int round = 0; round < 20; round++) {
        double start = now_us();
        for (int i = 0; i < calls; i++) {
            work(ctx);
        }
        double each = (now_us() - start) / calls;
        least = each < least ? each : least;
        calls = each * calls < 1000 ? calls * 2 : calls;
    }
    return least;
}

#if QN_X86_64
/* Twelve independent sums, so that latency does not count; 10000 rounds. */
#define PEAK_FUNCTION(name, targets, vector, zero, operation)                                                          \
    __attribute__((target(targets))) static void name(void *ctx)                                                       \
    {                                                                                                                  \
        vector acc[12], x = zero, w = zero;                                                                            \
        QN_UNROLL for (int i = 0; i < 12; i++)                                                                         \
        {                                                                                                              \
            acc[i] = zero;                                                                                             \
        }                                                                                                              \
        for (int round = 0; round < 10000; round++) {                                                                  \
            QN_UNROLL for (int i = 0; i < 12; i++)                                                                     \
            {                                                                                                          \
                acc[i] = operation(acc[i], x, w);                                                                      \
                __asm__ volatile("" : "+v"(acc[i]), "+v"(x), "+v"(w));                                                 \
            }                                                                                                          \
        }                                                                                                              \
        (void)ctx;                                                                                                     \
    }
#define MADD512(acc, x, w) _mm512_add_epi32(acc, _mm512_madd_epi16(x, w))
#define MADD256(acc, x, w) _mm256_add_epi32(acc, _mm256_madd_epi16(x, w))
PEAK_FUNCTION(peak_vnni, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32)
PEAK_FUNCTION(peak_avx512, "avx512f,avx512bw", __m512i, _mm512_setzero_si512(), MADD512)
PEAK_FUNCTION(peak_avx2, "avx2", __m256i, _mm256_setzero_si256(), MADD256)

__attribute__((target("amx-tile,amx-int8"))) static void peak_amx(void *ctx)
{
    (void)ctx;
    for (int round = 0; round < 10000; round++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}
#endif

/* MACs of one call of each level's loop; the reference has none. */
static const struct {
    qn_cpu cpu;
    work_fn *loop;
    double macs;
} peaks[] = {
    {QN_CPU_REFERENCE, NULL, 0},
#if QN_X86_64
    {QN_CPU_AVX2, peak_avx2, 12e4 * 16}, {QN_CPU_AVX512, peak_avx512, 12e4 * 32},
    {QN_CPU_VNNI, peak_vnni, 12e4 * 64}, {QN_CPU_AMX, peak_amx, 4e4 * 16 * 16 * 64},
#endif
};

/* GMAC/s; 0 for the reference. */
static double peak_of(qn_cpu cpu)
{
    for (size_t i = 0; i < sizeof peaks / sizeof peaks[0]; i++) {
        if (peaks[i].cpu == cpu && peaks[i].loop != NULL && cpu <= qn_cpu_best()) {
            return peaks[i].macs / least_time(peaks[i].loop, NULL) * 1e-3;
        }
    }
    return 0;
}

static const struct shape {
    const char *text;
    int channels, height, width, outputs, rows, columns, stride;
} conv_shapes[] =
    {
        {"3x3 32x32x3 -> 16", 3, 32, 32, 16, 3, 3, 1},     {"3x3 32x32x16 -> 16", 16, 32, 32, 16, 3, 3, 1},
        {"3x3/2 32x32x16 -> 32", 16, 32, 32, 32, 3, 3, 2}, {"3x3 16x16x32 -> 32", 32, 16, 16, 32, 3, 3, 1},
        {"3x3/2 16x16x32 -> 64", 32, 16, 16, 64, 3, 3, 2}, {"3x3 8x8x64 -> 64", 64, 8, 8, 64, 3, 3, 1},
        {"1x1/2 16x16x32 -> 64", 32, 16, 16, 64, 1, 1, 2}, {"10x4/2 49x10x1 -> 64", 1, 49, 10, 64, 10, 4, 2},
        {"1x1 25x5x64 -> 64", 64, 25, 5, 64, 1, 1, 1},     {"1x1 14x14x256 -> 256", 256, 14, 14, 256, 1, 1, 1},
        {"3x3 56x56x64 -> 64", 64, 56, 56, 64, 3, 3, 1},   {"1x1 1x1x64 -> 12", 64, 1, 1, 12, 1, 1, 1},
},
  depthwise_shapes[] = {
      {"3x3 25x5x64", 64, 25, 5, 64, 3, 3, 1},
      {"3x3 28x28x192", 192, 28, 28, 192, 3, 3, 1},
      {"3x3/2 48x48x16", 16, 48, 48, 16, 3, 3, 2},
};

typedef struct conv_work {
    qn_conv_fn *kernel;
    qn_conv_job job;
} conv_work;

static void run_conv(void *ctx)
{
    const conv_work *work = ctx;
    work->kernel(&work->job);
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

/* One layer as the engine runs it: a bordered input, packed weights, requantized output. */
static void bench_conv(const qn_kernel *kernel, const struct shape *s, double peak)
{
    const bool depthwise = kernel->op == QN_KERNEL_DEPTHWISE;
    const int n_segments = depthwise ? s->rows * s->columns : s->rows;
    const int pitch = s->width + s->columns - 1, height_out = s->height / s->stride, width_out = s->width / s->stride;
    const int elem_bytes = kernel->elem_bytes != 0 ? kernel->elem_bytes : 2;
    qn_weight_layout layout =
        depthwise ? qn_depthwise_layout(s->outputs, n_segments, elem_bytes)
                  : qn_conv_layout(s->outputs, n_segments, s->columns * s->channels, elem_bytes, kernel->tiles);
    size_t weight_bytes = 0;
    (void)qn_layout_bytes(&layout, &weight_bytes);
    size_t input_bytes = (size_t)pitch * (size_t)(s->height + s->rows - 1) * (size_t)s->channels;
    size_t entries = (size_t)qn_layout_channels(&layout) + 16;
    ptrdiff_t *segment = allocate((size_t)n_segments * sizeof *segment);
    for (int i = 0; i < n_segments; i++) {
        segment[i] = depthwise ? ((ptrdiff_t)(i / s->columns) * pitch + i % s->columns) * s->channels
                               : (ptrdiff_t)i * pitch * s->channels;
    }
    float *multiplier = allocate(entries * sizeof *multiplier);
    for (size_t i = 0; i < entries; i++) {
        multiplier[i] = 0.001f;
    }
    conv_work work = {kernel->run.conv,
                      {.x_row = (ptrdiff_t)s->stride * pitch * s->channels,
                       .x_pixel = (ptrdiff_t)s->stride * s->channels,
                       .segment = segment,
                       .layout = layout,
                       .y_row = (ptrdiff_t)(width_out + 2) * s->outputs,
                       .y_pixel = s->outputs,
                       .box = {0, height_out, 0, width_out, 0, s->outputs}}};
    uint8_t *x = allocate(input_bytes + qn_conv_overread(kernel, &work.job));
    int8_t *weights = allocate(weight_bytes);
    memset(x, 0x55, input_bytes);
    memset(weights, 0x13, weight_bytes);
    work.job.x = x;
    work.job.weights = weights;
    work.job.y = allocate((size_t)work.job.y_row * (size_t)height_out);
    work.job.requantize = (qn_requantize){allocate(entries * sizeof(int32_t)), multiplier, 3, 3, 255};
    if (kernel->cpu == QN_CPU_AMX) {
        qn_tiles_begin();
    }
    double us = least_time(run_conv, &work);
    if (kernel->cpu == QN_CPU_AMX) {
        qn_tiles_end();
    }
    double macs = (double)height_out * width_out * s->outputs * s->rows * s->columns * (depthwise ? 1 : s->channels);
    printf("%-28s %-24s %9.2f us %8.1f GMAC/s", kernel->name, s->text, us, macs / us * 1e-3);
    printf(peak > 0 ? " %5.1f %% of peak\n" : "\n", macs / us * 0.1 / (peak > 0 ? peak : 1));
    void *all[] = {segment, multiplier, x, weights, work.job.y, (void *)(uintptr_t)work.job.requantize.bias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        qn_free(all[i]);
    }
}

enum { BYTES = 16384 };
typedef struct other_work {
    const qn_kernel *kernel;
    uint8_t y[BYTES], a[BYTES], b[BYTES];
    float x[BYTES];
} other_work;

static void run_other(void *ctx)
{
    other_work *w = ctx;
    static const qn_add_params add = {.ratio_a = 0.5f, .ratio_b = 0.7f, .zero_a = 3, .zero_b = 5, .zero_point = 7, .hi = 255,
                                      .scale = 0.3f};
    static const qn_pool_params pool = {0.01f, 0.1f, 0.2f, 4, 3, 5, 0, 255, 0};
    static const qn_encode_params encode = {0.7f, 3, 0, 255};
    const qn_pool_window window = {w->a, 2048, 64, 8, 32, 64};
    switch (w->kernel->op) {
    case QN_KERNEL_ADD:
    case QN_KERNEL_MUL:
    case QN_KERNEL_SUB:
        w->kernel->run.add(w->y, w->a, w->b, BYTES, &add);
        break;
    case QN_KERNEL_LOOKUP:
        w->kernel->run.lookup(w->y, w->a, BYTES, w->b);
        break;
    case QN_KERNEL_ENCODE:
        w->kernel->run.encode(w->y, w->x, BYTES / 4, 3, BYTES / 4, &encode);
        break;
    default:
        w->kernel->run.pool(w->y, &window, &pool);
    }
}

static void bench_other(const qn_kernel *kernel)
{
    static other_work work;
    work.kernel = kernel;
    printf("%-28s %-24s %9.2f us\n", kernel->name, "16 KiB", least_time(run_other, &work));
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < qn_n_kernels; i++) {
        const qn_kernel *kernel = &qn_kernels[i];
        bool emulated = kernel->tiles && kernel->cpu == QN_CPU_REFERENCE;
        bool sums = kernel->op == QN_KERNEL_CONV_SUMS || kernel->op == QN_KERNEL_DEPTHWISE_SUMS;
        bool delta = kernel->op >= QN_KERNEL_DIFFER;
        if (kernel->cpu > qn_cpu_best() || emulated || sums || delta || strstr(kernel->name, part) == NULL) {
            continue;
        }
        if (kernel->op != QN_KERNEL_CONV && kernel->op != QN_KERNEL_DEPTHWISE) {
            bench_other(kernel);
            continue;
        }
        if (kernel->cpu == QN_CPU_AMX) {
            qn_tiles_begin();
        }
        double peak = peak_of(kernel->cpu);
        if (kernel->cpu == QN_CPU_AMX) {
            qn_tiles_end();
        }
        bool depthwise = kernel->op == QN_KERNEL_DEPTHWISE;
        size_t n = depthwise ? sizeof depthwise_shapes / sizeof depthwise_shapes[0]
                             : sizeof conv_shapes / sizeof conv_shapes[0];
        for (size_t s = 0; s < n; s++) {
            bench_conv(kernel, depthwise ? &depthwise_shapes[s] : &conv_shapes[s], peak);
        }
        printf("%-28s %-24s %24.1f GMAC/s\n", kernel->name, "peak, registers only", peak);
    }
    return 0;
}
