/* Every convolution and depthwise kernel this machine can run, against sums over plain weights in 64 bits. */
#include "guard.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arith.h"
#include "base/memory.h"
#include "engine/integer/kernels/kernels.h"

typedef struct shape {
    int channels, height, width, outputs; /* outputs == 0: depthwise */
    int rows, columns, stride_y, stride_x, dilation_y, dilation_x;
    int pad_y, pad_x; /* before; the border behind is as wide as the windows need */
} shape;

static const shape conv_shapes[] = {
    {3, 7, 9, 16, 3, 3, 1, 1, 1, 1, 1, 1},    {16, 5, 32, 16, 3, 3, 1, 1, 1, 1, 1, 1},
    {16, 6, 11, 32, 3, 3, 2, 2, 1, 1, 0, 1},  {64, 8, 8, 64, 3, 3, 1, 1, 1, 1, 1, 1},
    {1, 13, 10, 64, 10, 4, 2, 2, 1, 1, 4, 1}, {64, 25, 5, 64, 1, 1, 1, 1, 1, 1, 0, 0},
    {32, 9, 7, 80, 1, 1, 2, 2, 1, 1, 0, 0},   {5, 6, 7, 3, 2, 3, 1, 2, 2, 3, 1, 2},
    {17, 3, 13, 49, 3, 2, 1, 1, 1, 1, 2, 0},  {66, 1, 40, 17, 1, 5, 1, 3, 1, 1, 0, 2},
    {70, 1, 1, 33, 1, 1, 1, 1, 1, 1, 0, 0},   {2, 4, 5, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    {130, 2, 3, 130, 1, 1, 1, 1, 1, 1, 0, 0}, {7, 19, 6, 20, 7, 1, 3, 1, 1, 1, 3, 0},
};
static const shape depthwise_shapes[] = {
    {64, 6, 5, 0, 3, 3, 1, 1, 1, 1, 1, 1},  {16, 5, 7, 0, 3, 3, 2, 2, 1, 1, 0, 1},
    {65, 4, 3, 0, 5, 5, 1, 1, 1, 1, 2, 2},  {3, 6, 9, 0, 2, 3, 1, 2, 2, 3, 1, 2},
    {130, 3, 3, 0, 1, 1, 1, 1, 1, 1, 0, 0}, {24, 9, 4, 0, 4, 1, 3, 1, 1, 1, 1, 0},
};

enum pattern { RANDOM, HIGH_LOW, HIGH_HIGH, ALTERNATING, PATTERNS };

typedef struct problem {
    shape s;
    int height_out, width_out, outputs;
    int pitch, padded_height; /* of the bordered input, in pixels */
    int elem_bytes;
    int32_t *weights; /* [outputs][rows][columns][channels or 1] */
    guarded x, packed, y;
    uint8_t *expected;
    int32_t *sums; /* with bias */
    int32_t *bias;
    float *multiplier;
    ptrdiff_t *segment;
    qn_conv_job job;
} problem;

static int input_channels(const problem *p)
{
    return p->s.outputs == 0 ? 1 : p->s.channels;
}

static int32_t *weight_at(const problem *p, int k, int r, int c, int channel)
{
    return &p->weights[((k * p->s.rows + r) * p->s.columns + c) * input_channels(p) + channel];
}

static void fill(problem *p, enum pattern pattern, uint64_t *state)
{
    int low = p->elem_bytes == 1 ? -128 : -255, high = p->elem_bytes == 1 ? 127 : 255;
    for (size_t i = 0; i < p->x.size; i++) {
        p->x.data[i] = pattern == RANDOM ? (uint8_t)qn_test_random(state) : 255;
    }
    int n = p->outputs * p->s.rows * p->s.columns * input_channels(p);
    for (int i = 0; i < n; i++) {
        int32_t any = low + (int32_t)(qn_test_random(state) % (uint64_t)(high - low + 1));
        const int32_t of_pattern[PATTERNS] = {any, low, high, i % 2 == 0 ? low : high};
        p->weights[i] = of_pattern[pattern];
    }
}

/* The definition, over plain weights and in 64 bits; every value of these sizes fits an int32 before the bias. */
static void expect(problem *p)
{
    const shape *s = &p->s;
    const qn_requantize *r = &p->job.requantize;
    for (int i = 0; i < p->height_out * p->width_out * p->outputs; i++) {
        int k = i % p->outputs, column = i / p->outputs % p->width_out, row = i / p->outputs / p->width_out;
        int64_t sum = 0;
        for (int ky = 0; ky < s->rows; ky++) {
            for (int kx = 0; kx < s->columns; kx++) {
                int y = row * s->stride_y + ky * s->dilation_y, x = column * s->stride_x + kx * s->dilation_x;
                const uint8_t *pixel = p->x.data + ((size_t)y * (size_t)p->pitch + (size_t)x) * (size_t)s->channels;
                for (int c = 0; c < input_channels(p); c++) {
                    sum += (int64_t)pixel[s->outputs == 0 ? k : c] * *weight_at(p, k, ky, kx, c);
                }
            }
        }
        int at = qn_layout_channel(&p->job.layout, k);
        p->sums[i] = (int32_t)(uint32_t)(uint64_t)(sum + p->bias[at]);
        double code = rint((double)((float)p->sums[i] * p->multiplier[at])) + r->zero_point;
        p->expected[i] = (uint8_t)(code < r->lo ? r->lo : code > r->hi ? r->hi : code);
    }
}

static void pack(problem *p, bool tiles)
{
    const shape *s = &p->s;
    bool rows_adjoin = s->outputs != 0 && s->dilation_x == 1;
    int n_segments = rows_adjoin ? s->rows : s->rows * s->columns;
    int elems = rows_adjoin ? s->columns * s->channels : input_channels(p);
    qn_weight_layout layout = s->outputs == 0 ? qn_depthwise_layout(p->outputs, n_segments, p->elem_bytes)
                                              : qn_conv_layout(p->outputs, n_segments, elems, p->elem_bytes, tiles);
    size_t n_bytes;
    assert_true(qn_layout_bytes(&layout, &n_bytes));
    p->packed = guarded_new(n_bytes);
    for (int k = 0; k < p->outputs; k++) {
        for (int i = 0; i < s->rows * s->columns * input_channels(p); i++) {
            int c = i % input_channels(p), kx = i / input_channels(p) % s->columns;
            int ky = i / input_channels(p) / s->columns;
            int segment = rows_adjoin ? ky : ky * s->columns + kx, j = rows_adjoin ? kx * s->channels + c : c;
            qn_layout_set(&layout, p->packed.data, k, segment, j, *weight_at(p, k, ky, kx, c));
        }
    }
    for (int i = 0; i < n_segments; i++) {
        int ky = rows_adjoin ? i : i / s->columns, kx = rows_adjoin ? 0 : i % s->columns;
        p->segment[i] = ((ptrdiff_t)ky * s->dilation_y * p->pitch + kx * s->dilation_x) * s->channels;
    }
    p->job.layout = layout;
    p->job.weights = p->packed.data;
}

static void setup(problem *p, const shape *s, const qn_kernel *kernel, int elem_bytes, enum pattern pattern,
                  uint64_t *state)
{
    *p = (problem){.s = *s, .elem_bytes = elem_bytes, .outputs = s->outputs != 0 ? s->outputs : s->channels};
    int reach_y = (s->rows - 1) * s->dilation_y + 1, reach_x = (s->columns - 1) * s->dilation_x + 1;
    p->pitch = s->width + 2 * s->pad_x, p->padded_height = s->height + 2 * s->pad_y;
    p->height_out = (p->padded_height - reach_y) / s->stride_y + 1;
    p->width_out = (p->pitch - reach_x) / s->stride_x + 1;
    int n_weights = p->outputs * s->rows * s->columns * input_channels(p);
    int n_out = p->outputs * p->height_out * p->width_out;
    p->weights = malloc(sizeof(int32_t) * (size_t)n_weights);
    p->sums = malloc(sizeof(int32_t) * (size_t)n_out);
    p->expected = malloc((size_t)n_out);
    p->segment = malloc(sizeof(ptrdiff_t) * (size_t)(s->rows * s->columns));
    p->bias = calloc((size_t)p->outputs + 64, sizeof(int32_t));
    p->multiplier = calloc((size_t)p->outputs + 64, sizeof(float));
    p->job = (qn_conv_job){.x_row = (ptrdiff_t)s->stride_y * p->pitch * s->channels,
                           .x_pixel = (ptrdiff_t)s->stride_x * s->channels,
                           .segment = p->segment,
                           .y_row = (ptrdiff_t)(p->width_out + 2) * p->outputs,
                           .y_pixel = p->outputs,
                           .box = {0, p->height_out, 0, p->width_out, 0, p->outputs}};
    size_t windows = (size_t)p->padded_height * (size_t)p->pitch * (size_t)s->channels;
    p->x = guarded_new(windows + qn_conv_overread(kernel, &p->job));
    p->y = guarded_new((size_t)p->job.y_row * (size_t)p->height_out);
    fill(p, pattern, state);
    pack(p, kernel->tiles);
    float spread = 60.0f / sqrtf((float)(s->rows * s->columns * input_channels(p))) / 9000.0f;
    for (int k = 0; k < p->outputs; k++) {
        int at = qn_layout_channel(&p->job.layout, k);
        p->bias[at] = (int32_t)(qn_test_random(state) % 40001) - 20000;
        p->multiplier[at] = qn_test_uniform(state, 0.2f, 2.0f) * spread;
    }
    p->bias[0] = INT32_MAX - 5; /* one channel wraps or saturates the float */
    p->multiplier[qn_layout_channel(&p->job.layout, p->outputs - 1)] = 3e30f;
    int32_t zero_point = (int32_t)(qn_test_random(state) % 256);
    p->job.requantize = (qn_requantize){p->bias, p->multiplier, zero_point, 0, 255};
    if (qn_test_random(state) % 2 == 0) {
        p->job.requantize.lo = zero_point;
        p->job.requantize.hi = zero_point + (255 - zero_point) / 2;
    }
    p->job.x = p->x.data;
    p->job.y = p->y.data;
    expect(p);
}

static void teardown(problem *p)
{
    guarded_free(&p->x);
    guarded_free(&p->packed);
    guarded_free(&p->y);
    free(p->weights);
    free(p->sums);
    free(p->expected);
    free(p->segment);
    free(p->bias);
    free(p->multiplier);
}

/* Inside the box the expected codes, outside what was there before. */
static void check_box(problem *p, const qn_kernel *kernel, qn_box box, const char *what)
{
    memset(p->y.data, 0xa5, p->y.size);
    p->job.box = box;
    if (kernel->cpu == QN_CPU_AMX) {
        qn_tiles_begin();
    }
    kernel->run.conv(&p->job);
    if (kernel->cpu == QN_CPU_AMX) {
        qn_tiles_end();
    }
    for (size_t i = 0; i < p->y.size; i++) {
        int row = (int)(i / (size_t)p->job.y_row), rest = (int)(i % (size_t)p->job.y_row);
        int column = rest / p->outputs, k = rest % p->outputs;
        bool inside = row >= box.y0 && row < box.y1 && column >= box.x0 && column < box.x1 && k >= box.k0 && k < box.k1;
        int expected = inside ? p->expected[(row * p->width_out + column) * p->outputs + k] : 0xa5;
        if (p->y.data[i] != expected) {
            fail_msg("%s, %s, C %d K %d %dx%d map %dx%d, weights of %d bytes: (%d, %d, %d) is %d, not %d", kernel->name,
                     what, p->s.channels, p->outputs, p->s.rows, p->s.columns, p->s.height, p->s.width, p->elem_bytes,
                     row, column, k, p->y.data[i], expected);
        }
    }
}

static void random_range(int *low, int *high, int n, uint64_t *state)
{
    *low = (int)(qn_test_random(state) % (uint64_t)n);
    *high = *low + 1 + (int)(qn_test_random(state) % (uint64_t)(n - *low));
}

static void check_accumulators(problem *p, const qn_kernel *kernel)
{
    size_t n = (size_t)p->height_out * (size_t)p->width_out * (size_t)p->outputs;
    int32_t *sums = calloc(n, sizeof *sums);
    p->job.accumulators = sums;
    p->job.accumulator_row = (ptrdiff_t)p->width_out * p->outputs;
    p->job.accumulator_pixel = p->outputs;
    p->job.box = (qn_box){0, p->height_out, 0, p->width_out, 0, p->outputs};
    kernel->run.conv(&p->job);
    assert_memory_equal(sums, p->sums, n * sizeof *sums);
    p->job.accumulators = NULL;
    free(sums);
}

/* The sums of a box, dense, and nothing behind them. */
static void check_sums(problem *p, const qn_kernel *kernel, qn_box box)
{
    const int columns = box.x1 - box.x0, channels = box.k1 - box.k0, n = (box.y1 - box.y0) * columns * channels;
    guarded sums = guarded_new((size_t)n * sizeof(int32_t));
    p->job.accumulators = (int32_t *)(void *)sums.data;
    p->job.accumulator_row = (ptrdiff_t)columns * channels;
    p->job.accumulator_pixel = channels;
    p->job.box = box;
    kernel->run.conv(&p->job);
    for (int i = 0; i < n; i++) {
        int k = box.k0 + i % channels, column = box.x0 + i / channels % columns, row = box.y0 + i / channels / columns;
        int32_t expected = p->sums[(row * p->width_out + column) * p->outputs + k];
        if (p->job.accumulators[i] != expected) {
            fail_msg("%s: sum (%d, %d, %d) is %d, not %d", kernel->name, row, column, k, p->job.accumulators[i],
                     expected);
        }
    }
    p->job.accumulators = NULL;
    guarded_free(&sums);
}

static bool makes_sums(const qn_kernel *kernel)
{
    return kernel->op == QN_KERNEL_CONV_SUMS || kernel->op == QN_KERNEL_DEPTHWISE_SUMS;
}

static void check_kernel(const qn_kernel *kernel, const shape *s, int elem_bytes, enum pattern pattern, uint64_t *state)
{
    problem p;
    setup(&p, s, kernel, elem_bytes, pattern, state);
    const bool sums = makes_sums(kernel);
    if (sums) {
        check_sums(&p, kernel, p.job.box);
    } else {
        check_box(&p, kernel, p.job.box, "dense");
    }
    for (int i = 0; i < 6; i++) {
        qn_box box;
        random_range(&box.y0, &box.y1, p.height_out, state);
        random_range(&box.x0, &box.x1, p.width_out, state);
        random_range(&box.k0, &box.k1, p.outputs, state);
        if (sums) {
            check_sums(&p, kernel, box);
        } else {
            check_box(&p, kernel, box, "box");
        }
    }
    if (kernel->cpu == QN_CPU_REFERENCE && !kernel->tiles) {
        check_accumulators(&p, kernel);
    }
    teardown(&p);
}

static void check_all(qn_kernel_op op, const shape *shapes, size_t n_shapes)
{
    uint64_t state = 88172645463325252u;
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    int n_checked = 0;
    for (size_t i = 0; i < qn_n_kernels; i++) {
        const qn_kernel *kernel = &qn_kernels[i];
        if (kernel->op != op || kernel->cpu > cpu) {
            continue;
        }
        for (int elem_bytes = 1; elem_bytes <= 2; elem_bytes++) {
            if (kernel->elem_bytes != 0 && kernel->elem_bytes != elem_bytes) {
                continue;
            }
            for (size_t s = 0; s < n_shapes; s++) {
                for (int pattern = 0; pattern < PATTERNS; pattern++) {
                    check_kernel(kernel, &shapes[s], elem_bytes, (enum pattern)pattern, &state);
                    n_checked++;
                }
            }
        }
    }
    assert_true(n_checked > 0);
}

static void conv_kernels_give_the_defined_codes(void **unused)
{
    (void)unused;
    check_all(QN_KERNEL_CONV, conv_shapes, sizeof conv_shapes / sizeof conv_shapes[0]);
}

static void depthwise_kernels_give_the_defined_codes(void **unused)
{
    (void)unused;
    check_all(QN_KERNEL_DEPTHWISE, depthwise_shapes, sizeof depthwise_shapes / sizeof depthwise_shapes[0]);
}

static void sums_are_those_before_requantization(void **unused)
{
    (void)unused;
    check_all(QN_KERNEL_CONV_SUMS, conv_shapes, sizeof conv_shapes / sizeof conv_shapes[0]);
    check_all(QN_KERNEL_DEPTHWISE_SUMS, depthwise_shapes, sizeof depthwise_shapes / sizeof depthwise_shapes[0]);
}

/* One weight changed in the packed bytes is one weight changed in the result. */
static void a_patched_weight_acts_like_a_packed_one(void **unused)
{
    (void)unused;
    uint64_t state = 7;
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    const qn_kernel *kernel = qn_kernel_select(QN_KERNEL_CONV, cpu, 1);
    problem p;
    setup(&p, &conv_shapes[2], kernel, 1, RANDOM, &state);
    int32_t *w = weight_at(&p, 21, 1, 2, 5);
    *w = *w == 100 ? -100 : 100;
    p.packed.data[qn_layout_offset(&p.job.layout, 21, 1, 2 * p.s.channels + 5)] = (uint8_t)(int8_t)*w;
    expect(&p);
    check_box(&p, kernel, p.job.box, "patched");
    teardown(&p);
}

typedef float sum_fn(float sum, int32_t first, int32_t second);

static float in_float(float sum, int32_t first, int32_t second)
{
    return sum + (float)(first + second);
}

static float saturating_pairs(float sum, int32_t first, int32_t second)
{
    return sum + (float)qn_clamp_s32(first + second, INT16_MIN, INT16_MAX);
}

/* A convolution that is wrong as `add` is. */
static void wrong_conv(const qn_conv_job *job, sum_fn *add)
{
    const qn_requantize *r = &job->requantize;
    for (int i = 0; i < job->box.y1 * job->box.x1 * job->box.k1; i++) {
        int k = i % job->box.k1, column = i / job->box.k1 % job->box.x1, row = i / job->box.k1 / job->box.x1;
        const uint8_t *x = job->x + row * job->x_row + column * job->x_pixel;
        float sum = (float)r->bias[k];
        for (int j = 0; j < job->layout.n_segments * job->layout.segment_elems; j += 2) {
            int s = j / job->layout.segment_elems, at = j % job->layout.segment_elems;
            const uint8_t *codes = x + job->segment[s] + at;
            sum = add(sum, codes[0] * qn_layout_get(&job->layout, job->weights, k, s, at),
                      codes[1] * qn_layout_get(&job->layout, job->weights, k, s, at + 1));
        }
        job->y[row * job->y_row + column * job->y_pixel + k] =
            (uint8_t)qn_round_clamp(sum * r->multiplier[k], r->zero_point, r->lo, r->hi);
    }
}

static void conv_in_float(const qn_conv_job *job)
{
    wrong_conv(job, in_float);
}

static void conv_of_saturating_pairs(const qn_conv_job *job)
{
    wrong_conv(job, saturating_pairs);
}

/* Tiles are used where their self-test passes: it must see what is wrong with sums that are not exact. */
static void the_self_test_of_tiles_tells_right_from_wrong(void **unused)
{
    (void)unused;
    assert_true(qn_tiles_agree(qn_conv_u8s8_tiles_portable));
    assert_false(qn_tiles_agree(conv_in_float));
    assert_false(qn_tiles_agree(conv_of_saturating_pairs));
}

static void offsets_of_different_weights_differ(void **unused)
{
    (void)unused;
    const qn_weight_layout layouts[] = {qn_conv_layout(37, 3, 21, 1, true), qn_conv_layout(37, 3, 21, 2, false),
                                        qn_depthwise_layout(100, 9, 1), qn_depthwise_layout(100, 9, 2)};
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        size_t n_bytes;
        assert_true(qn_layout_bytes(&layouts[i], &n_bytes));
        char *seen = calloc(n_bytes, 1);
        for (int k = 0; k < layouts[i].n_channels; k++) {
            for (int s = 0; s < layouts[i].n_segments; s++) {
                for (int j = 0; j < layouts[i].segment_elems; j++) {
                    size_t offset = qn_layout_offset(&layouts[i], k, s, j);
                    assert_true(offset + (size_t)layouts[i].elem_bytes <= n_bytes);
                    assert_int_equal(offset % (size_t)layouts[i].elem_bytes, 0);
                    assert_false(seen[offset]);
                    seen[offset] = 1;
                }
            }
        }
        free(seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_kernels_give_the_defined_codes),
        cmocka_unit_test(depthwise_kernels_give_the_defined_codes),
        cmocka_unit_test(sums_are_those_before_requantization),
        cmocka_unit_test(a_patched_weight_acts_like_a_packed_one),
        cmocka_unit_test(the_self_test_of_tiles_tells_right_from_wrong),
        cmocka_unit_test(offsets_of_different_weights_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
