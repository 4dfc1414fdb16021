/* The start-up self-test of the tile kernels: a convolution whose sums are odd, exceed 2^24 and would saturate 16-bit
 * intermediates, against the reference. Where it differs, tiles are not used. */
#include <pthread.h>
#include <string.h>

#include "engine/kernels/kernels.h"

enum { ROWS = 5, COLUMNS = 21, CHANNELS = 70, OUTPUTS = 40, SIDE = 3 };
enum { PITCH = COLUMNS + SIDE - 1, INPUT_BYTES = (ROWS + SIDE - 1) * PITCH * CHANNELS };
enum { OVERREAD = 15 * CHANNELS + 63, GROUP_PITCH = 64, WEIGHT_BYTES = 48 * SIDE * GROUP_PITCH * 4 };

static bool usable;

static void self_test(void)
{
    if (qn_cpu_best() < QN_CPU_AMX) {
        return;
    }
    static uint8_t x[INPUT_BYTES + OVERREAD], fast[ROWS * COLUMNS * OUTPUTS], slow[ROWS * COLUMNS * OUTPUTS];
    static _Alignas(64) int8_t weights[WEIGHT_BYTES];
    static int32_t bias[48];
    static float multiplier[48];
    ptrdiff_t segment[SIDE];
    for (int i = 0; i < INPUT_BYTES; i++) {
        x[i] = (uint8_t)(i % 7 == 0 ? i % 251 : 255);
    }
    qn_weight_layout layout = qn_conv_layout(OUTPUTS, SIDE, SIDE * CHANNELS, 1, true);
    for (int k = 0; k < OUTPUTS; k++) {
        for (int j = 0; j < SIDE * SIDE * CHANNELS; j++) {
            int32_t w = k % 3 == 0 ? 127 : k % 3 == 1 ? -128 : (j * 37 + k) % 255 - 127;
            qn_layout_set(&layout, weights, k, j / (SIDE * CHANNELS), j % (SIDE * CHANNELS), w);
        }
        bias[k] = k * 1234567 - 20000001;
        multiplier[k] = 1.0f / (float)(100000 + 7919 * k);
    }
    for (int s = 0; s < SIDE; s++) {
        segment[s] = (ptrdiff_t)s * PITCH * CHANNELS;
    }
    qn_conv_job job = {.x = x,
                       .x_row = PITCH * CHANNELS,
                       .x_pixel = CHANNELS,
                       .segment = segment,
                       .weights = weights,
                       .layout = layout,
                       .requantize = {bias, multiplier, 128, 0, 255},
                       .y = fast,
                       .y_row = COLUMNS * OUTPUTS,
                       .y_pixel = OUTPUTS,
                       .box = {0, ROWS, 0, COLUMNS, 0, OUTPUTS}};
    qn_tiles_begin();
    qn_conv_u8s8_amx(&job);
    qn_tiles_end();
    job.y = slow;
    qn_conv_reference(&job);
    usable = memcmp(fast, slow, sizeof fast) == 0;
}

bool qn_tiles_usable(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, self_test);
    return usable;
}
