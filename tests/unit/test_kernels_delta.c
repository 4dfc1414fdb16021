/* Kernels that compute again what a change touches: every one this machine can run, against whole convolutions of the
 * changed input, or with the changed weight, over plain weights and in 64 bits. */
#include "guard.h"

#include <math.h>
#include <stdlib.h>

#include "engine/integer/kernels/kernels.h"

static qn_cpu level(void)
{
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    return cpu;
}

static int below(int n, uint64_t *state)
{
    return (int)(qn_test_random(state) % (uint64_t)n);
}

static void random_range(int *low, int *high, int n, uint64_t *state)
{
    *low = below(n, state);
    *high = *low + 1 + below(n - *low, state);
}

typedef struct shape {
    int channels, height, width, outputs;
    int rows, columns, stride_y, stride_x, dilation_y, dilation_x;
    int pad_y, pad_x; /* before; the border behind is as wide */
    int others;       /* channels of other groups in every pixel */
} shape;

static const shape shapes[] = {
    {64, 8, 8, 64, 3, 3, 1, 1, 1, 1, 1, 1, 0},  {16, 9, 7, 32, 3, 3, 2, 2, 1, 1, 1, 1, 0},
    {3, 9, 11, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0},  {1, 13, 10, 24, 10, 4, 2, 2, 1, 1, 4, 1, 0},
    {6, 7, 8, 17, 5, 5, 1, 1, 1, 1, 0, 0, 0},   {30, 6, 6, 33, 3, 2, 1, 2, 1, 1, 1, 1, 0},
    {16, 8, 9, 80, 3, 3, 1, 1, 2, 2, 2, 2, 0},  {3, 7, 9, 5, 2, 3, 1, 2, 2, 3, 1, 2, 0},
    {64, 5, 6, 20, 1, 1, 2, 2, 1, 1, 0, 0, 0},  {400, 1, 1, 120, 1, 1, 1, 1, 1, 1, 0, 0, 0},
    {6, 4, 5, 84, 4, 5, 1, 1, 1, 1, 0, 0, 0},   {8, 7, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 16},
    {5, 6, 7, 40, 3, 3, 2, 1, 1, 1, 1, 1, 7},   {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},
    {16, 6, 7, 64, 7, 1, 1, 1, 1, 1, 3, 0, 0},  {4, 10, 3, 130, 1, 7, 1, 1, 1, 1, 0, 3, 0},
    {64, 4, 5, 48, 3, 3, 3, 3, 1, 1, 1, 1, 0},  {2, 3, 70, 16, 3, 5, 1, 1, 1, 1, 1, 2, 0},
    {1, 99, 101, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0}, {1, 1, 9000, 1, 1, 3, 1, 1, 1, 1, 0, 1, 0},
    {32, 7, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 0},  {256, 6, 7, 12, 3, 3, 1, 1, 1, 1, 1, 1, 0},
    {6, 9, 11, 70, 3, 3, 1, 1, 1, 1, 1, 1, 10}, {8, 8, 9, 16, 3, 3, 2, 2, 1, 1, 1, 1, 24},
    {16, 70, 40, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0}, {16, 5, 7, 20, 2, 2, 1, 1, 1, 1, 0, 0, 0},
    /* as many groups, or pixels, as a list holds, all of which differ at times */
    {16, 40, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0}, {4, 40, 32, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0},
    {12, 40, 16, 3, 2, 3, 2, 1, 3, 1, 2, 1, 4},
};

enum pattern { RANDOM, RISING, FALLING, SMALL, PATTERNS };

typedef struct problem {
    shape s;
    int height_out, width_out, pitch, n_out, elem_bytes;
    size_t origin; /* of input element (0, 0, 0) */
    int32_t *weights, *bias, *sums_before, *sums_after;
    float *multiplier;
    guarded x_old, x_new, packed, y;
    qn_conv_delta_job job;
} problem;

static int weight_index(const shape *s, int k, int r, int c, int channel)
{
    return ((k * s->rows + r) * s->columns + c) * s->channels + channel;
}

/* The definition: every output of the whole map. */
static void convolve(const problem *p, const uint8_t *x, int32_t *sums)
{
    const shape *s = &p->s;
    const int pixel = s->channels + s->others;
    for (int i = 0; i < p->n_out; i++) {
        const int k = i % s->outputs, column = i / s->outputs % p->width_out, row = i / s->outputs / p->width_out;
        int64_t sum = p->bias[k];
        for (int r = 0; r < s->rows; r++) {
            for (int c = 0; c < s->columns; c++) {
                const int y = row * s->stride_y + r * s->dilation_y, at = column * s->stride_x + c * s->dilation_x;
                const uint8_t *codes = x + (y * p->pitch + at) * pixel;
                const int32_t *w = p->weights + weight_index(s, k, r, c, 0);
                for (int channel = 0; channel < s->channels; channel++) {
                    sum += (int64_t)codes[channel] * w[channel];
                }
            }
        }
        sums[i] = (int32_t)(uint32_t)(uint64_t)sum;
    }
}

static void pack(problem *p, bool tiles)
{
    const shape *s = &p->s;
    const bool rows_adjoin = s->others == 0 && (s->dilation_x == 1 || s->columns == 1);
    const qn_weight_layout layout =
        qn_conv_layout(s->outputs, rows_adjoin ? s->rows : s->rows * s->columns,
                       rows_adjoin ? s->columns * s->channels : s->channels, p->elem_bytes, tiles);
    size_t n_bytes;
    assert_true(qn_layout_bytes(&layout, &n_bytes));
    p->packed = guarded_new(n_bytes);
    for (int i = 0; i < s->outputs * s->rows * s->columns * s->channels; i++) {
        const int c = i % s->channels, column = i / s->channels % s->columns;
        const int r = i / s->channels / s->columns % s->rows, k = i / s->channels / s->columns / s->rows;
        qn_layout_set(&layout, p->packed.data, k, rows_adjoin ? r : r * s->columns + column,
                      rows_adjoin ? column * s->channels + c : c, p->weights[i]);
    }
    p->job.layout = layout;
    p->job.weights = p->packed.data;
    p->job.rows_adjoin = rows_adjoin;
}

static void fill(problem *p, uint64_t *state)
{
    const shape *s = &p->s;
    const int low = p->elem_bytes == 1 ? -128 : -255, high = p->elem_bytes == 1 ? 127 : 255;
    for (int i = 0; i < s->outputs * s->rows * s->columns * s->channels; i++) {
        p->weights[i] = below(8, state) == 0 ? (below(2, state) ? low : high) : low + below(high - low + 1, state);
    }
    for (size_t i = 0; i < p->x_old.size; i++) {
        p->x_old.data[i] = (uint8_t)qn_test_random(state);
    }
    const float spread = 60.0f / sqrtf((float)(s->rows * s->columns * s->channels)) / 9000.0f;
    for (int k = 0; k < s->outputs; k++) {
        p->bias[k] = below(40001, state) - 20000;
        p->multiplier[k] = qn_test_uniform(state, 0.2f, 2.0f) * spread;
    }
    p->bias[0] = INT32_MAX - 5; /* one channel wraps */
    p->multiplier[s->outputs - 1] = 3e30f;
    const int32_t zero_point = below(256, state);
    p->job.requantize = (qn_requantize){NULL, p->multiplier, zero_point, 0, 255};
    if (below(2, state) == 0) {
        p->job.requantize.lo = zero_point;
        p->job.requantize.hi = zero_point + (255 - zero_point) / 2;
    }
}

static void setup(problem *p, const shape *s, const qn_kernel *kernel, int elem_bytes, bool tiles, uint64_t *state)
{
    *p = (problem){.s = *s, .elem_bytes = elem_bytes, .pitch = s->width + 2 * s->pad_x};
    const int pixel = s->channels + s->others, padded_height = s->height + 2 * s->pad_y;
    p->height_out = (padded_height - (s->rows - 1) * s->dilation_y - 1) / s->stride_y + 1;
    p->width_out = (p->pitch - (s->columns - 1) * s->dilation_x - 1) / s->stride_x + 1;
    p->n_out = p->height_out * p->width_out * s->outputs;
    p->weights = calloc((size_t)(s->outputs * s->rows * s->columns * s->channels), sizeof(int32_t));
    p->bias = calloc((size_t)s->outputs, sizeof(int32_t));
    p->multiplier = calloc((size_t)s->outputs + 16, sizeof(float));
    p->sums_before = calloc((size_t)p->n_out, sizeof(int32_t));
    p->sums_after = calloc((size_t)p->n_out, sizeof(int32_t));
    const size_t bytes = (size_t)padded_height * (size_t)p->pitch * (size_t)pixel - (size_t)s->others;
    p->x_old = guarded_new(bytes + (size_t)kernel->overread_bytes);
    p->x_new = guarded_new(bytes + (size_t)kernel->overread_bytes);
    p->y = guarded_new((size_t)p->n_out);
    p->origin = (size_t)((s->pad_y * p->pitch + s->pad_x) * pixel);
    p->job = (qn_conv_delta_job){
        .x_old = p->x_old.data + p->origin,
        .x_new = p->x_new.data + p->origin,
        .x_row = (ptrdiff_t)p->pitch * pixel,
        .x_pixel = pixel,
        .kernel = {s->rows, s->columns},
        .stride = {s->stride_y, s->stride_x},
        .dilation = {s->dilation_y, s->dilation_x},
        .pad = {s->pad_y, s->pad_x},
        .channels = s->channels,
        .accumulators = p->sums_before,
        .accumulator_row = (ptrdiff_t)p->width_out * s->outputs,
        .accumulator_pixel = s->outputs,
        .y = p->y.data,
        .y_row = (ptrdiff_t)p->width_out * s->outputs,
        .y_pixel = s->outputs,
    };
    fill(p, state);
    pack(p, tiles);
    convolve(p, p->x_old.data, p->sums_before);
}

static void teardown(problem *p)
{
    guarded_free(&p->x_old);
    guarded_free(&p->x_new);
    guarded_free(&p->packed);
    guarded_free(&p->y);
    free(p->weights);
    free(p->bias);
    free(p->multiplier);
    free(p->sums_before);
    free(p->sums_after);
}

static uint8_t changed_code(uint8_t old, enum pattern pattern, uint64_t *state)
{
    const int code = pattern == SMALL ? old ^ 1 << below(3, state) : (int)(qn_test_random(state) % 256);
    return (uint8_t)(pattern == RISING ? 255 : pattern == FALLING ? 0 : code);
}

/* One element, one channel, one pixel, any box, or all of the input becomes another. */
static void change(problem *p, enum pattern pattern, int kind, uint64_t *state)
{
    const int stay = (int[]){0, 1, 9}[below(3, state)]; /* of ten */
    const shape *s = &p->s;
    qn_box *box = &p->job.changed;
    random_range(&box->y0, &box->y1, s->height, state);
    random_range(&box->x0, &box->x1, s->width, state);
    random_range(&box->k0, &box->k1, s->channels, state);
    if (kind == 0 || kind == 2) {
        box->y1 = box->y0 + 1, box->x1 = box->x0 + 1;
    }
    if (kind == 0 || kind == 1) {
        box->k1 = box->k0 + 1;
    }
    if (kind == 1 && below(2, state) == 0) {
        box->y0 = box->x0 = 0, box->y1 = s->height, box->x1 = s->width;
    }
    if (kind == 4) {
        *box = (qn_box){0, s->height, 0, s->width, 0, s->channels};
    }
    if (kind == 5) { /* none: the change is in another group's channels */
        box->k0 = box->k1 = 0;
    }
    memcpy(p->x_new.data, p->x_old.data, p->x_old.size);
    for (int y = box->y0; y < box->y1; y++) {
        for (int x = box->x0; x < box->x1; x++) {
            for (int c = box->k0; c < box->k1; c++) {
                uint8_t *code = p->x_new.data + p->origin + y * p->job.x_row + x * p->job.x_pixel + c;
                *code = below(10, state) < stay ? *code : changed_code(*code, pattern, state);
            }
            for (int c = s->channels; c < s->channels + s->others; c++) { /* which is not looked at */
                p->x_new.data[p->origin + y * p->job.x_row + x * p->job.x_pixel + c] ^= (uint8_t)below(3, state);
            }
        }
    }
    convolve(p, p->x_new.data, p->sums_after);
}

static uint8_t code_of(const problem *p, int i)
{
    const qn_requantize *r = &p->job.requantize;
    const double code = rint((double)((float)p->sums_after[i] * r->multiplier[i % p->s.outputs])) + r->zero_point;
    return (uint8_t)(code < r->lo ? r->lo : code > r->hi ? r->hi : code);
}

static bool inside(const problem *p, const qn_box *box, int i)
{
    const int k = i % p->s.outputs, x = i / p->s.outputs % p->width_out, y = i / p->s.outputs / p->width_out;
    return y >= box->y0 && y < box->y1 && x >= box->x0 && x < box->x1 && k >= box->k0 && k < box->k1;
}

static void check_codes(problem *p, const qn_kernel *kernel)
{
    memset(p->y.data, 0xa5, p->y.size);
    kernel->run.conv_delta(&p->job);
    for (int i = 0; i < p->n_out; i++) {
        const int expected = inside(p, &p->job.box, i) ? code_of(p, i) : 0xa5;
        if (p->y.data[i] != expected) {
            fail_msg("%s, C %d K %d %dx%d, weights of %d bytes: code %d is %d, not %d", kernel->name, p->s.channels,
                     p->s.outputs, p->s.rows, p->s.columns, p->elem_bytes, i, p->y.data[i], expected);
        }
    }
}

static void check_sums(problem *p, const qn_kernel *kernel)
{
    const qn_box *box = &p->job.box;
    const int n_k = box->k1 - box->k0, n_x = box->x1 - box->x0;
    guarded sums = guarded_new((size_t)(n_k * n_x * (box->y1 - box->y0)) * sizeof(int32_t));
    p->job.sums = (int32_t *)(void *)sums.data;
    p->job.sums_row = (ptrdiff_t)n_k * n_x, p->job.sums_pixel = n_k;
    kernel->run.conv_delta(&p->job);
    const int32_t *sum = p->job.sums;
    for (int i = 0; i < p->n_out; i++) {
        if (inside(p, box, i) && *sum++ != p->sums_after[i]) {
            fail_msg("%s, C %d K %d %dx%d: sum %d is %d, not %d", kernel->name, p->s.channels, p->s.outputs, p->s.rows,
                     p->s.columns, i, sum[-1], p->sums_after[i]);
        }
    }
    p->job.sums = NULL;
    guarded_free(&sums);
}

/* No sum changes beyond the reach, and the edges of the reach meet the change. */
static bool check_reach(problem *p)
{
    qn_box *box = &p->job.box;
    box->k0 = 0, box->k1 = p->s.outputs;
    const bool any = qn_conv_delta_reach(&p->job, p->height_out, p->width_out, box);
    for (int i = 0; i < p->n_out; i++) {
        if (!any || !inside(p, box, i)) {
            assert_int_equal(p->sums_before[i], p->sums_after[i]);
        }
    }
    if (any && p->s.dilation_y == 1) {
        assert_true(box->y0 * p->s.stride_y - p->s.pad_y + p->s.rows > p->job.changed.y0 || box->y0 == 0);
        assert_true((box->y1 - 1) * p->s.stride_y - p->s.pad_y < p->job.changed.y1);
    }
    return any;
}

static void check_conv_delta(const qn_kernel *kernel, const shape *s, int elem_bytes, bool tiles, uint64_t *state)
{
    problem p;
    setup(&p, s, kernel, elem_bytes, tiles, state);
    for (int trial = 0; trial < 5 * PATTERNS + 1; trial++) {
        change(&p, (enum pattern)(trial % PATTERNS), trial / PATTERNS, state);
        if (!check_reach(&p)) {
            continue;
        }
        check_codes(&p, kernel);
        check_sums(&p, kernel);
        random_range(&p.job.box.y0, &p.job.box.y1, p.height_out, state);
        random_range(&p.job.box.x0, &p.job.box.x1, p.width_out, state);
        random_range(&p.job.box.k0, &p.job.box.k1, s->outputs, state);
        check_codes(&p, kernel);
        check_sums(&p, kernel);
    }
    teardown(&p);
}

static void changed_inputs_give_the_codes_of_whole_convolutions(void **unused)
{
    (void)unused;
    uint64_t state = 4711;
    int n = 0;
    for (size_t i = 0; i < qn_n_kernels; i++) {
        const qn_kernel *kernel = &qn_kernels[i];
        if (kernel->op != QN_KERNEL_CONV_DELTA || kernel->cpu > level()) {
            continue;
        }
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            for (int form = 0; form < 3; form++) { /* s8, s8 in rows of tiles, s16 */
                const int elem_bytes = form == 2 ? 2 : 1;
                if (kernel->elem_bytes == 0 || kernel->elem_bytes == elem_bytes) {
                    check_conv_delta(kernel, &shapes[s], elem_bytes, form == 1, &state);
                    n++;
                }
            }
        }
    }
    assert_true(n > 0);
}

/* --- one weight --- */

typedef struct plane {
    int height, width, x_pixel, accumulator_pixel, y_pixel;
    guarded x, accumulators, y;
    qn_weight_delta_job job;
} plane;

static ptrdiff_t row_of(int pixel, int width)
{
    return (ptrdiff_t)pixel * (width + 2);
}

/* Bytes from the first element to the last one and no further. */
static size_t span(int height, int width, int pixel)
{
    return (size_t)(row_of(pixel, width) * (height - 1) + (ptrdiff_t)pixel * (width - 1) + 1);
}

static int32_t weight_sum(const qn_weight_delta_job *j, int y, int x)
{
    const int64_t code = (int64_t)j->x[y * j->x_row + x * j->x_pixel] - j->zero_x;
    return (int32_t)(uint32_t)(uint64_t)(j->accumulators[y * j->accumulator_row + x * j->accumulator_pixel] +
                                         j->delta * code);
}

static uint8_t plane_code(const qn_weight_delta_job *j, int32_t sum)
{
    const double code = rint((double)((float)sum * j->multiplier)) + j->zero_point;
    return (uint8_t)(code < j->lo ? j->lo : code > j->hi ? j->hi : code);
}

static void setup_plane(plane *p, int height, int width, int trial, uint64_t *state)
{
    static const int pixels[] = {1, 1, 3, 16, 64, 2, 5, 7};
    const bool planes = trial % 3 == 0;
    *p = (plane){.height = height, .width = width};
    int *const steps[] = {&p->x_pixel, &p->accumulator_pixel, &p->y_pixel};
    for (int i = 0; i < 3; i++) {
        *steps[i] = planes && i < 2 ? 1 : pixels[below(8, state)];
    }
    p->x = guarded_new(span(height, width, p->x_pixel));
    p->accumulators = guarded_new(span(height, width, p->accumulator_pixel) * sizeof(int32_t));
    p->y = guarded_new(span(height, width, p->y_pixel));
    const int32_t zero_point = below(256, state);
    qn_weight_delta_job *j = &p->job;
    *j = (qn_weight_delta_job){.x = p->x.data,
                               .x_row = row_of(p->x_pixel, width),
                               .x_pixel = p->x_pixel,
                               .zero_x = below(256, state),
                               .delta = trial % 7 == 6 ? 0 : below(511, state) - 255,
                               .accumulators = (const int32_t *)(const void *)p->accumulators.data,
                               .accumulator_row = row_of(p->accumulator_pixel, width),
                               .accumulator_pixel = p->accumulator_pixel,
                               .multiplier = trial % 8 == 7 ? 3e30f : expf(qn_test_uniform(state, -9, -3)),
                               .zero_point = zero_point,
                               .lo = trial % 2 == 0 ? zero_point : 0,
                               .hi = trial % 2 == 0 ? zero_point + (255 - zero_point) / 2 : 255,
                               .y = p->y.data,
                               .y_row = row_of(p->y_pixel, width),
                               .y_pixel = p->y_pixel,
                               .height = height,
                               .width = width};
    const int zeros = trial % 5; /* 4: all; the others: many to none */
    for (size_t i = 0; i < p->x.size; i++) {
        p->x.data[i] = (uint8_t)(below(4, state) < zeros ? j->zero_x : below(256, state));
    }
    int32_t *accumulators = (int32_t *)(void *)p->accumulators.data;
    for (size_t i = 0; i < p->accumulators.size / sizeof(int32_t); i++) {
        accumulators[i] = below(40, state) == 0 ? (below(2, state) ? INT32_MAX - below(99, state) : INT32_MIN)
                                                : below(80001, state) - 40000;
    }
    memset(p->y.data, 0xa5, p->y.size);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            p->y.data[y * j->y_row + x * j->y_pixel] =
                plane_code(j, j->accumulators[y * j->accumulator_row + x * j->accumulator_pixel]);
        }
    }
}

static void widen(qn_box *box, int y, int x)
{
    box->y0 = y < box->y0 ? y : box->y0, box->y1 = y >= box->y1 ? y + 1 : box->y1;
    box->x0 = x < box->x0 ? x : box->x0, box->x1 = x >= box->x1 ? x + 1 : box->x1;
}

static void assert_box(const qn_box *box, const qn_box *expected)
{
    assert_memory_equal(box, expected, sizeof *box);
}

static void check_result(const qn_kernel *kernel, const qn_weight_delta_result *result, bool active, const qn_box *box)
{
    if (result->active != active || result->differs != (box->y1 > 0)) {
        fail_msg("%s: active %d differs %d", kernel->name, result->active, result->differs);
    }
    if (result->differs) {
        assert_box(&result->box, box);
    }
}

static void check_weight_delta(const qn_kernel *kernel, int height, int width, int trial, uint64_t *state)
{
    plane p;
    setup_plane(&p, height, width, trial, state);
    qn_weight_delta_job *j = &p.job;
    uint8_t *expected = malloc(p.y.size);
    memcpy(expected, p.y.data, p.y.size);
    int32_t *expected_sums = calloc((size_t)(height * width), sizeof *expected_sums);
    qn_box codes = {height, 0, width, 0, 0, 1}, sums = codes;
    bool active = false;
    for (int i = 0; i < height * width; i++) {
        const int y = i / width, x = i % width;
        expected_sums[i] = weight_sum(j, y, x);
        const uint8_t code = plane_code(j, expected_sums[i]);
        const bool moved = j->x[y * j->x_row + x * j->x_pixel] != j->zero_x;
        active |= moved;
        if (code != expected[y * j->y_row + x * j->y_pixel]) {
            widen(&codes, y, x);
            expected[y * j->y_row + x * j->y_pixel] = code;
        }
        if (moved && j->delta != 0) {
            widen(&sums, y, x);
        }
    }
    guarded dense = guarded_new((size_t)(height * width) * sizeof(int32_t));
    j->sums = (int32_t *)(void *)dense.data;
    qn_weight_delta_result result = kernel->run.weight_delta(j);
    check_result(kernel, &result, active, &sums);
    assert_memory_equal(dense.data, expected_sums, dense.size);
    j->sums = NULL;
    result = kernel->run.weight_delta(j);
    check_result(kernel, &result, active, &codes);
    assert_memory_equal(p.y.data, expected, p.y.size);
    guarded_free(&dense);
    guarded_free(&p.x);
    guarded_free(&p.accumulators);
    guarded_free(&p.y);
    free(expected);
    free(expected_sums);
}

static void changed_weights_give_the_codes_of_whole_convolutions(void **unused)
{
    (void)unused;
    static const int sizes[][2] = {{8, 8}, {16, 16}, {32, 32}, {1, 1}, {5, 3}, {7, 17}, {2, 33}, {25, 5}, {1, 70}};
    uint64_t state = 815;
    int n = 0;
    for (size_t i = 0; i < qn_n_kernels; i++) {
        if (qn_kernels[i].op != QN_KERNEL_WEIGHT_DELTA || qn_kernels[i].cpu > level()) {
            continue;
        }
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (int trial = 0; trial < 40; trial++) {
                check_weight_delta(&qn_kernels[i], sizes[s][0], sizes[s][1], trial, &state);
                n++;
            }
        }
    }
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_inputs_give_the_codes_of_whole_convolutions),
        cmocka_unit_test(changed_weights_give_the_codes_of_whole_convolutions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
