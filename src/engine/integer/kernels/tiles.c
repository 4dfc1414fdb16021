/* The start-up self-test of the tile kernels, against the reference: sums that would saturate 16-bit intermediates, and
 * odd sums beyond 2^24, which a float does not hold. Where a kernel differs, tiles are not used. */
#include <pthread.h>
#include <string.h>

#include "engine/integer/kernels/kernels.h"

enum { ROWS = 5, COLUMNS = 21, CHANNELS = 70, OUTPUTS = 40, SIDE = 3 };
enum { PITCH = COLUMNS + SIDE - 1, INPUT_BYTES = (ROWS + SIDE - 1) * PITCH * CHANNELS, SEGMENT = SIDE * CHANNELS };
enum { OVERREAD = 15 * CHANNELS + 63, GROUP_PITCH = 64, WEIGHT_BYTES = 48 * SIDE * GROUP_PITCH * 4 };

/* What a test convolution reads and writes. */
typedef struct scene {
    uint8_t x[INPUT_BYTES + OVERREAD], fast[ROWS * COLUMNS * OUTPUTS], slow[ROWS * COLUMNS * OUTPUTS];
    _Alignas(64) int8_t weights[WEIGHT_BYTES];
    int32_t bias[48];
    float multiplier[48];
    ptrdiff_t segment[SIDE];
    qn_conv_job job;
} scene;

/* The sum of the weights of channel k. */
static int32_t fill_weights(scene *s, int k)
{
    int32_t sum = 0;
    for (int j = 0; j < SIDE * SEGMENT; j++) {
        int32_t w = k % 3 == 0 ? 127 : k % 3 == 1 ? -128 : (j * 37 + k) % 255 - 127;
        qn_layout_set(&s->job.layout, s->weights, k, j / SEGMENT, j % SEGMENT, w);
        sum += w;
    }
    return sum;
}

static void set_scene(scene *s)
{
    s->job = (qn_conv_job){.x = s->x,
                           .x_row = PITCH * CHANNELS,
                           .x_pixel = CHANNELS,
                           .segment = s->segment,
                           .weights = s->weights,
                           .layout = qn_conv_layout(OUTPUTS, SIDE, SEGMENT, 1, true),
                           .requantize = {s->bias, s->multiplier, 128, 0, 255},
                           .y_row = COLUMNS * OUTPUTS,
                           .y_pixel = OUTPUTS,
                           .box = {0, ROWS, 0, COLUMNS, 0, OUTPUTS}};
    for (int i = 0; i < SIDE; i++) {
        s->segment[i] = (ptrdiff_t)i * PITCH * CHANNELS;
    }
}

static bool same_codes(scene *s, qn_conv_fn *kernel)
{
    s->job.y = s->fast;
    kernel(&s->job);
    s->job.y = s->slow;
    qn_conv_reference(&s->job);
    return memcmp(s->fast, s->slow, sizeof s->fast) == 0;
}

bool qn_tiles_agree(qn_conv_fn *kernel)
{
    static scene s;
    set_scene(&s);
    for (int k = 0; k < OUTPUTS; k++) { /* sums whose last bits show, around the bias that takes their bulk away */
        s.bias[k] = k % 7 - 255 * fill_weights(&s, k);
        s.multiplier[k] = 1;
    }
    memset(s.x, 255, sizeof s.x);
    bool same = same_codes(&s, kernel);
    for (int i = 0; i < INPUT_BYTES; i++) { /* windows that differ */
        s.x[i] = (uint8_t)(i % 7 == 0 ? i % 251 : 255);
    }
    for (int k = 0; k < OUTPUTS; k++) {
        s.bias[k] = k * 1234567 - 20000001;
        s.multiplier[k] = 1.0f / (float)(100000 + 7919 * k);
    }
    return same_codes(&s, kernel) && same;
}

static bool usable;

#if QN_X86_64
static void self_test(void)
{
    if (qn_cpu_best() < QN_CPU_AMX) {
        return;
    }
    qn_tiles_begin();
    usable = qn_tiles_agree(qn_conv_u8s8_amx);
    qn_tiles_end();
}
#else
static void self_test(void)
{
}

void qn_tiles_begin(void)
{
}

void qn_tiles_end(void)
{
}
#endif

bool qn_tiles_usable(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, self_test);
    return usable;
}
