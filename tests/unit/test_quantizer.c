/* Affine integer formats against brute force in double. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "format/quantizer.h"

/* The definition: the quotient is rounded to float once (as IEEE division does), then to the nearest integer, ties to
 * even. Nothing is shared with the code under test: the nearest integer is found with floor and fmod. */
static int64_t encode_by_definition(float x, float scale, int32_t zero_point, int64_t lo, int64_t hi, bool wide)
{
    double v = (double)x / (double)scale;
    if (!wide) {
        v = (double)(float)v; /* double has more than twice float's digits, so rounding twice is rounding once */
    }
    if (isnan(v)) {
        return lo;
    }
    if (isinf(v) || fabs(v) > 1e15) {
        return v > 0 ? hi : lo;
    }
    double down = floor(v), rest = v - down;
    int64_t code = (int64_t)down + (rest > 0.5 || (rest == 0.5 && fmod(down, 2.0) != 0.0) ? 1 : 0) + zero_point;
    return code < lo ? lo : code > hi ? hi : code;
}

static int64_t load_code(const void *codes, qn_dtype dtype, size_t i)
{
    switch (dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)codes)[i];
    case QN_DTYPE_U8:
        return ((const uint8_t *)codes)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)codes)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)codes)[i];
    default:
        return ((const int32_t *)codes)[i];
    }
}

static const float specials[] = {0.0f,   -0.0f,       INFINITY, -INFINITY,  NAN,       3e38f,    -3e38f,
                                 1e-40f, -1e-40f,     0.5f,     -0.5f,      1.5f,      2.5f,     -1.5f,
                                 -2.5f,  0.49999997f, 127.5f,   -128.5f,    255.5f,    65535.5f, 2e9f,
                                 -2e9f,  2.2e9f,      -2.2e9f,  8388609.0f, 4194304.5f};
enum { N_SPECIALS = (int)(sizeof specials / sizeof specials[0]), N_PER_CHANNEL = 1000, CHANNELS = 3 };

static void fill(float *x, size_t n, float scale, int bits, uint64_t *seed)
{
    float reach = ldexpf(scale, bits > 16 ? 32 : bits);
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = qn_test_random(seed) % 4;
        if (kind == 0) {
            x[i] = specials[qn_test_random(seed) % N_SPECIALS] * (qn_test_random(seed) % 2 == 0 ? 1.0f : scale);
        } else if (kind == 1) { /* ties and their neighbours */
            float tie =
                (floorf(qn_test_uniform(seed, -0.6f, 0.6f) * ldexpf(1.0f, bits > 16 ? 22 : bits)) + 0.5f) * scale;
            x[i] = nextafterf(tie, tie + (float)((int)(qn_test_random(seed) % 3) - 1));
        } else {
            x[i] = qn_test_uniform(seed, -reach, reach);
        }
    }
}

static void check_format(qn_format format)
{
    static const float scales[CHANNELS] = {1.0f, 0.0123456f, 7.5e-5f};
    static float x[CHANNELS * N_PER_CHANNEL], y[CHANNELS * N_PER_CHANNEL], z[CHANNELS * N_PER_CHANNEL];
    static int32_t codes[CHANNELS * N_PER_CHANNEL];
    const int64_t dims[3] = {1, CHANNELS, N_PER_CHANNEL};
    int32_t lo, hi, zero_points[CHANNELS];
    uint64_t seed = 7 + (uint64_t)format.bits;
    qn_format_range(format, &lo, &hi);
    zero_points[0] = format.bits == 32 ? 0 : lo;
    zero_points[1] = format.bits == 32 ? -12345 : hi;
    zero_points[2] = lo <= 0 ? 0 : lo;
    qn_quantizer q = {.format = format, .axis = 1, .n = CHANNELS, .scale = scales, .zero_point = zero_points};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_quantizer_check(&q, 3, dims, "test", &err), &err);
    for (int c = 0; c < CHANNELS; c++) {
        fill(x + c * N_PER_CHANNEL, N_PER_CHANNEL, scales[c], format.bits, &seed);
    }
    qn_quantizer_encode(codes, x, &q, 3, dims);
    qn_quantizer_decode(y, codes, &q, 3, dims);
    memcpy(z, x, sizeof z);
    qn_quantizer_fake(z, z, &q, 3, dims);
    for (size_t i = 0; i < CHANNELS * N_PER_CHANNEL; i++) {
        size_t c = i / N_PER_CHANNEL;
        int64_t expected = encode_by_definition(x[i], scales[c], zero_points[c], lo, hi, format.bits == 32);
        int64_t code = load_code(codes, qn_format_dtype(format), i);
        if (code != expected) {
            fail_msg("%d bits, signed %d: %.9g / %.9g is code %lld, expected %lld", format.bits, format.is_signed,
                     (double)x[i], (double)scales[c], (long long)code, (long long)expected);
        }
        float real = (float)(code - zero_points[c]) * scales[c];
        assert_memory_equal(&y[i], &real, sizeof real);
        assert_memory_equal(&z[i], &real, sizeof real);
    }
}

static void every_width_matches_the_definition(void **state)
{
    (void)state;
    for (int bits = 1; bits <= 16; bits++) {
        check_format((qn_format){.bits = bits, .is_signed = false, .narrow = false});
        check_format((qn_format){.bits = bits, .is_signed = true, .narrow = false});
        if (bits > 1) {
            check_format((qn_format){.bits = bits, .is_signed = true, .narrow = true});
        }
    }
    check_format((qn_format){.bits = 32, .is_signed = true, .narrow = false});
}

static void every_code_survives_decode_and_encode(void **state)
{
    (void)state;
    static uint16_t codes[65536], again[65536];
    static float x[65536];
    const int64_t dims[1] = {65536};
    const float scales[] = {1.0f, 0.1f, 3.3333e-7f, 1.17549435e-38f, 1e30f};
    const int32_t zero_points[] = {0, 1, 32768, 65535};
    for (int i = 0; i < 65536; i++) {
        codes[i] = (uint16_t)i;
    }
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        for (size_t z = 0; z < sizeof zero_points / sizeof zero_points[0]; z++) {
            qn_quantizer q = {.format = {.bits = 16, .is_signed = false, .narrow = false},
                              .axis = -1,
                              .n = 1,
                              .scale = &scales[s],
                              .zero_point = &zero_points[z]};
            qn_quantizer_decode(x, codes, &q, 1, dims);
            qn_quantizer_encode(again, x, &q, 1, dims);
            assert_memory_equal(codes, again, sizeof codes);
        }
    }
}

static void the_axis_may_be_anywhere(void **state)
{
    (void)state;
    const int64_t dims[3] = {3, 5, 7};
    float x[105], y[105];
    uint64_t seed = 3;
    for (int i = 0; i < 105; i++) {
        x[i] = qn_test_uniform(&seed, -40.0f, 40.0f);
    }
    const float scales[7] = {0.5f, 0.25f, 1.0f, 2.0f, 0.125f, 0.75f, 1.5f};
    const int32_t zero_points[7] = {-3, 0, 5, 1, -1, 20, -100};
    const int64_t strides[3] = {35, 7, 1};
    int8_t codes[105];
    for (int axis = 0; axis < 3; axis++) {
        qn_quantizer q = {.format = {.bits = 8, .is_signed = true, .narrow = false},
                          .axis = axis,
                          .n = dims[axis],
                          .scale = scales,
                          .zero_point = zero_points};
        qn_quantizer_encode(codes, x, &q, 3, dims);
        qn_quantizer_decode(y, codes, &q, 3, dims);
        for (int i = 0; i < 105; i++) {
            int c = (int)(i / strides[axis] % dims[axis]);
            int64_t expected = encode_by_definition(x[i], scales[c], zero_points[c], -128, 127, false);
            assert_int_equal(codes[i], expected);
            assert_true(y[i] == (float)(expected - zero_points[c]) * scales[c]);
        }
    }
}

static void names_dtypes_and_ranges(void **state)
{
    (void)state;
    static const struct {
        qn_format format;
        const char *name;
        qn_dtype dtype;
        int32_t lo, hi;
    } rows[] = {
        {{.bits = 8, .is_signed = true, .narrow = false}, "int8", QN_DTYPE_S8, -128, 127},
        {{.bits = 8, .is_signed = true, .narrow = true}, "int8:narrow", QN_DTYPE_S8, -127, 127},
        {{.bits = 8, .is_signed = false, .narrow = false}, "uint8", QN_DTYPE_U8, 0, 255},
        {{.bits = 1, .is_signed = true, .narrow = false}, "int1", QN_DTYPE_S8, -1, 0},
        {{.bits = 9, .is_signed = false, .narrow = false}, "uint9", QN_DTYPE_U16, 0, 511},
        {{.bits = 16, .is_signed = true, .narrow = true}, "int16:narrow", QN_DTYPE_S16, -32767, 32767},
        {{.bits = 32, .is_signed = true, .narrow = false}, "int32", QN_DTYPE_S32, INT32_MIN, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[QN_FORMAT_NAME_MAX];
        int32_t lo, hi;
        qn_format_name(name, rows[i].format);
        qn_format_range(rows[i].format, &lo, &hi);
        assert_string_equal(name, rows[i].name);
        assert_int_equal(qn_format_dtype(rows[i].format), rows[i].dtype);
        assert_int_equal(lo, rows[i].lo);
        assert_int_equal(hi, rows[i].hi);
    }
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    const int64_t dims[2] = {2, 3};
    static const float good[3] = {1.0f, 1.0f, 1.0f};
    static const float bad_scales[] = {0.0f, -1.0f, NAN, INFINITY, 1e-40f};
    static const int32_t zeros[3] = {0, 0, 0}, beyond[3] = {0, 0, 128};
    const qn_format s8 = {.bits = 8, .is_signed = true, .narrow = false};
    qn_error err;
    for (size_t i = 0; i < sizeof bad_scales / sizeof bad_scales[0]; i++) {
        qn_error_init(&err);
        qn_quantizer q = {.format = s8, .axis = -1, .n = 1, .scale = &bad_scales[i], .zero_point = zeros};
        qn_assert_fails(qn_quantizer_check(&q, 2, dims, "value 'x'", &err), &err, QN_EINVAL, "finite, normal");
    }
    const struct {
        qn_quantizer q;
        const char *message;
    } rows[] = {
        {{.format = s8, .axis = 1, .n = 3, .scale = good, .zero_point = beyond},
         "zero point 2 is 128, outside the range of int8"},
        {{.format = s8, .axis = 1, .n = 2, .scale = good, .zero_point = zeros}, "2 quantization parameters where 3"},
        {{.format = s8, .axis = -1, .n = 3, .scale = good, .zero_point = zeros}, "3 quantization parameters where 1"},
        {{.format = s8, .axis = 2, .n = 3, .scale = good, .zero_point = zeros}, "axis 2 is outside"},
        {{.format = s8, .axis = -2, .n = 1, .scale = good, .zero_point = zeros}, "axis -2 is outside"},
        {{.format = s8, .axis = 1, .n = 3, .scale = NULL, .zero_point = zeros}, "0 quantization parameters"},
        {{.format = {.bits = 0, .is_signed = true, .narrow = false},
          .axis = -1,
          .n = 1,
          .scale = good,
          .zero_point = zeros},
         "no format int0"},
        {{.format = {.bits = 17, .is_signed = true, .narrow = false},
          .axis = -1,
          .n = 1,
          .scale = good,
          .zero_point = zeros},
         "no format int17"},
        {{.format = {.bits = 32, .is_signed = false, .narrow = false},
          .axis = -1,
          .n = 1,
          .scale = good,
          .zero_point = zeros},
         "no format uint32"},
        {{.format = {.bits = 8, .is_signed = false, .narrow = true},
          .axis = -1,
          .n = 1,
          .scale = good,
          .zero_point = zeros},
         "no format uint8:narrow"},
        {{.format = {.bits = 1, .is_signed = true, .narrow = true},
          .axis = -1,
          .n = 1,
          .scale = good,
          .zero_point = zeros},
         "no format int1:narrow"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_quantizer_check(&rows[i].q, 2, dims, "value 'x'", &err), &err, QN_EINVAL, rows[i].message);
    }
}

static void equality_looks_at_every_parameter(void **state)
{
    (void)state;
    const float scales[2] = {1.0f, 2.0f}, other_scales[2] = {1.0f, 2.5f};
    const int32_t zeros[2] = {0, 1}, other_zeros[2] = {0, 2};
    const qn_format s8 = {.bits = 8, .is_signed = true, .narrow = false};
    const qn_quantizer a = {.format = s8, .axis = 1, .n = 2, .scale = scales, .zero_point = zeros};
    const qn_quantizer different[] = {
        {.format = {.bits = 8, .is_signed = true, .narrow = true},
         .axis = 1,
         .n = 2,
         .scale = scales,
         .zero_point = zeros},
        {.format = {.bits = 8, .is_signed = false, .narrow = false},
         .axis = 1,
         .n = 2,
         .scale = scales,
         .zero_point = zeros},
        {.format = {.bits = 7, .is_signed = true, .narrow = false},
         .axis = 1,
         .n = 2,
         .scale = scales,
         .zero_point = zeros},
        {.format = s8, .axis = 0, .n = 2, .scale = scales, .zero_point = zeros},
        {.format = s8, .axis = 1, .n = 1, .scale = scales, .zero_point = zeros},
        {.format = s8, .axis = 1, .n = 2, .scale = other_scales, .zero_point = zeros},
        {.format = s8, .axis = 1, .n = 2, .scale = scales, .zero_point = other_zeros},
    };
    const float same_scales[2] = {1.0f, 2.0f};
    const int32_t same_zeros[2] = {0, 1};
    assert_true(qn_quantizer_equal(
        &a, &(qn_quantizer){.format = s8, .axis = 1, .n = 2, .scale = same_scales, .zero_point = same_zeros}));
    for (size_t i = 0; i < sizeof different / sizeof different[0]; i++) {
        assert_false(qn_quantizer_equal(&a, &different[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_matches_the_definition), cmocka_unit_test(every_code_survives_decode_and_encode),
        cmocka_unit_test(the_axis_may_be_anywhere),           cmocka_unit_test(names_dtypes_and_ranges),
        cmocka_unit_test(bad_parameters_are_refused),         cmocka_unit_test(equality_looks_at_every_parameter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
