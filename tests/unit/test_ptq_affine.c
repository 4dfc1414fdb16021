/* Parameters from ranges: every choice against an exhaustive search in double. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "ptq/ptq.h"

static const qn_format u8 = {.bits = 8};

static float wide_float(uint64_t *random)
{
    float mantissa = qn_test_uniform(random, -1, 1);
    return ldexpf(mantissa, (int)(qn_test_random(random) % 240) - 120);
}

static void check_activation_range(float min, float max)
{
    float scale;
    int32_t zero_point;
    qn_ptq_affine(u8, (double)min, (double)max, &scale, &zero_point);
    double lo = fmin((double)min, 0), hi = fmax((double)max, 0);
    assert_true(isnormal(scale) && scale > 0);
    assert_in_range(zero_point, 0, 255);
    /* 255 steps cover the range, and no float just below would do. */
    assert_true(255.0 * (double)scale >= (hi - lo) * (1 - 0x1p-23));
    assert_true(scale == FLT_MIN || 255.0 * (double)nextafterf(scale, 0) <= (hi - lo));
    double best = INFINITY;
    for (int z = 0; z <= 255; z++) {
        best = fmin(best, fabs(-lo / (double)scale - z));
    }
    assert_true(fabs(-lo / (double)scale - zero_point) == best);
    if (min >= 0) {
        assert_int_equal(zero_point, 0);
    }
}

static void activation_parameters_cover_the_range_and_hold_zero(void **state)
{
    (void)state;
    uint64_t random = 99;
    for (int i = 0; i < 20000; i++) {
        float a = wide_float(&random), b = i % 2 ? wide_float(&random) : a * qn_test_uniform(&random, -2, 2);
        if (a != 0 || b != 0) {
            check_activation_range(a < b ? a : b, a < b ? b : a);
        }
    }
    check_activation_range(0, 6);
    check_activation_range(-1, 1);
    check_activation_range(3, 5);
    check_activation_range(-5, -3);
    check_activation_range(0, FLT_MIN);
    check_activation_range(0, FLT_TRUE_MIN);
    check_activation_range(-FLT_TRUE_MIN, FLT_TRUE_MIN);
}

static void widest_and_empty_ranges(void **state)
{
    (void)state;
    float scale;
    int32_t zero_point;
    qn_ptq_affine(u8, -(double)FLT_MAX, (double)FLT_MAX, &scale, &zero_point);
    assert_true(isnormal(scale));
    assert_int_equal(zero_point, 128);
    qn_ptq_affine(u8, 0, 0, &scale, &zero_point);
    assert_true(scale == 1.0f);
    assert_int_equal(zero_point, 0);
}

enum { N_WEIGHTS = 12, RUN = 3, STEP = 7, SPAN = 4 * STEP };

static qn_ptq_channel any_channel(float *weights, uint64_t *random, float magnitude)
{
    for (int i = 0; i < SPAN; i++) {
        weights[i] = qn_test_uniform(random, -magnitude, magnitude);
    }
    return (qn_ptq_channel){.weights = weights,
                            .n = N_WEIGHTS,
                            .run = RUN,
                            .step = STEP,
                            .has_bias = true,
                            .bias = qn_test_uniform(random, -3, 3),
                            .scale_x = qn_test_uniform(random, 1e-3f, 0.1f),
                            .max_x = 128 + (int32_t)(qn_test_random(random) % 128),
                            .bits = 8,
                            .limit_b = 0x1p31};
}

static int index_of(int k)
{
    return k / RUN * STEP + k % RUN;
}

/* Each code is a nearest one, elements outside the channel are untouched, the bias is nearest too. */
static void check_codes(const qn_ptq_channel *c, float scale, const int8_t *codes, int32_t bias_code)
{
    double distances[SPAN];
    for (int i = 0; i < SPAN; i++) {
        distances[i] = -1;
    }
    for (int k = 0; k < N_WEIGHTS; k++) {
        double w = (double)c->weights[index_of(k)], best = INFINITY;
        for (int q = -127; q <= 127; q++) {
            best = fmin(best, fabs(w - q * (double)scale));
        }
        distances[index_of(k)] = best;
        assert_true(fabs(w - codes[index_of(k)] * (double)scale) == best);
    }
    for (int i = 0; i < SPAN; i++) {
        assert_true(distances[i] >= 0 || codes[i] == 99);
    }
    double bias_scale = (double)(c->scale_x * scale);
    assert_true(fabs((double)c->bias - bias_code * bias_scale) <= bias_scale / 2);
}

/* The greatest magnitude of bias + sum(w * x) over all x with |x| <= max_x. */
static int64_t worst_sum(const qn_ptq_channel *c, const int8_t *codes, int32_t bias_code)
{
    int64_t sum = bias_code < 0 ? -(int64_t)bias_code : bias_code;
    for (int k = 0; k < N_WEIGHTS; k++) {
        int64_t code = codes[index_of(k)];
        sum += (code < 0 ? -code : code) * c->max_x;
    }
    return sum;
}

static void weights_and_biases_get_the_nearest_codes(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int i = 0; i < 3000; i++) {
        float weights[SPAN], scale, greatest = 0;
        int8_t codes[SPAN];
        int32_t bias_code;
        bool raised;
        qn_error err;
        qn_error_init(&err);
        memset(codes, 99, sizeof codes);
        qn_ptq_channel c = any_channel(weights, &random, i % 3 == 0 ? 1e-2f : 2);
        qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
        for (int k = 0; k < N_WEIGHTS; k++) {
            greatest = fmaxf(greatest, fabsf(weights[index_of(k)]));
        }
        assert_true(scale == (float)((double)greatest / 127));
        assert_false(raised);
        check_codes(&c, scale, codes, bias_code);
    }
}

static void a_sum_that_could_overflow_raises_the_scale_just_enough(void **state)
{
    (void)state;
    uint64_t random = 8;
    for (int i = 0; i < 1000; i++) {
        float weights[SPAN], scale;
        int8_t codes[SPAN];
        int32_t bias_code;
        bool raised;
        qn_error err;
        qn_error_init(&err);
        memset(codes, 99, sizeof codes);
        qn_ptq_channel c = any_channel(weights, &random, 1e-6f);
        c.bias = qn_test_uniform(&random, 20, 1e9f) * (i % 2 ? 1 : -1);
        qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
        assert_true(raised);
        check_codes(&c, scale, codes, bias_code);
        int64_t worst = worst_sum(&c, codes, bias_code);
        assert_true(worst <= INT32_MAX);
        assert_true((double)worst > 0x1p31 * (1 - 0x1p-12));
    }
}

static void a_channel_of_zeros_keeps_its_bias(void **state)
{
    (void)state;
    float weights[SPAN] = {0}, scale;
    int8_t codes[SPAN];
    int32_t bias_code;
    bool raised;
    qn_error err;
    qn_error_init(&err);
    qn_ptq_channel c = {.weights = weights,
                        .n = N_WEIGHTS,
                        .run = RUN,
                        .step = STEP,
                        .scale_x = 0.25f,
                        .max_x = 255,
                        .bits = 8,
                        .limit_b = 0x1p31};
    qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
    assert_true(scale == 1.0f);
    assert_int_equal(bias_code, 0);
    c.has_bias = true;
    c.bias = -0.3f;
    qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
    double bias_scale = (double)(c.scale_x * scale);
    assert_true(fabs(bias_code * bias_scale + 0.3) < 1e-6);
    assert_false(raised);
    c.bias = 0;
    qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
    assert_true(scale == 1.0f);
}

static void scales_stay_normal(void **state)
{
    (void)state;
    float weights[SPAN], scale;
    int8_t codes[SPAN];
    int32_t bias_code;
    bool raised;
    uint64_t random = 3;
    const float magnitudes[] = {FLT_TRUE_MIN, 1e-42f, FLT_MIN, 1e-30f}, inputs[] = {FLT_MIN, 1e-20f, 1, 1e6f};
    for (size_t m = 0; m < 4; m++) {
        for (size_t s = 0; s < 4; s++) {
            qn_error err;
            qn_error_init(&err);
            qn_ptq_channel c = any_channel(weights, &random, 1);
            for (int i = 0; i < SPAN; i++) {
                weights[i] = i % 2 ? magnitudes[m] : -magnitudes[m];
            }
            c.bias = 0;
            c.scale_x = inputs[s];
            qn_assert_ok(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err);
            assert_true(isnormal(scale) && isnormal(c.scale_x * scale));
        }
    }
}

static void impossible_channels_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float weights[SPAN], scale;
    int8_t codes[SPAN];
    int32_t bias_code;
    bool raised;
    uint64_t random = 5;
    qn_error err;
    for (size_t i = 0; i < 3; i++) {
        qn_ptq_channel c = any_channel(weights, &random, 1);
        weights[index_of(5)] = bad[i];
        qn_error_init(&err);
        qn_assert_fails(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node 4 Conv 'c'", &err), &err,
                        QN_ERANGE, "node 4 Conv 'c'");
        c = any_channel(weights, &random, 1);
        c.bias = bad[i];
        qn_error_init(&err);
        qn_assert_fails(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err, QN_ERANGE,
                        "NaN or infinite");
    }
    qn_ptq_channel c = any_channel(weights, &random, 1e30f);
    c.scale_x = 1e30f;
    qn_error_init(&err);
    qn_assert_fails(qn_ptq_channel_encode(&c, &scale, codes, &bias_code, &raised, "node", &err), &err, QN_ERANGE,
                    "too wide");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activation_parameters_cover_the_range_and_hold_zero),
        cmocka_unit_test(widest_and_empty_ranges),
        cmocka_unit_test(weights_and_biases_get_the_nearest_codes),
        cmocka_unit_test(a_sum_that_could_overflow_raises_the_scale_just_enough),
        cmocka_unit_test(a_channel_of_zeros_keeps_its_bias),
        cmocka_unit_test(scales_stay_normal),
        cmocka_unit_test(impossible_channels_are_refused),
    };
    return cmocka_run_group_tests_name("ptq_affine", tests, NULL, NULL);
}
