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
    qn_quantizer q = {format, 1, CHANNELS, scales, zero_points};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_quantizer_check(&q, 3, dims, "test", &err), &err);
    for (int c = 0; c < CHANNELS; c++) {
        fill(x + c * N_PER_CHANNEL, N_PER_CHANNEL, scales[c], format.bits, &seed);
    }
    qn_encode(codes, x, &q, 3, dims);
    qn_decode(y, codes, &q, 3, dims);
    memcpy(z, x, sizeof z);
    qn_fake_quantize(z, z, &q, 3, dims);
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
        check_format((qn_format){bits, false, false});
        check_format((qn_format){bits, true, false});
        if (bits > 1) {
            check_format((qn_format){bits, true, true});
        }
    }
    check_format((qn_format){32, true, false});
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
            qn_quantizer q = {{16, false, false}, -1, 1, &scales[s], &zero_points[z]};
            qn_decode(x, codes, &q, 1, dims);
            qn_encode(again, x, &q, 1, dims);
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
        qn_quantizer q = {{8, true, false}, axis, dims[axis], scales, zero_points};
        qn_encode(codes, x, &q, 3, dims);
        qn_decode(y, codes, &q, 3, dims);
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
        {{8, true, false}, "int8", QN_DTYPE_S8, -128, 127},
        {{8, true, true}, "int8:narrow", QN_DTYPE_S8, -127, 127},
        {{8, false, false}, "uint8", QN_DTYPE_U8, 0, 255},
        {{1, true, false}, "int1", QN_DTYPE_S8, -1, 0},
        {{9, false, false}, "uint9", QN_DTYPE_U16, 0, 511},
        {{16, true, true}, "int16:narrow", QN_DTYPE_S16, -32767, 32767},
        {{32, true, false}, "int32", QN_DTYPE_S32, INT32_MIN, INT32_MAX},
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
    const qn_format s8 = {8, true, false};
    qn_error err;
    for (size_t i = 0; i < sizeof bad_scales / sizeof bad_scales[0]; i++) {
        qn_error_init(&err);
        qn_quantizer q = {s8, -1, 1, &bad_scales[i], zeros};
        qn_assert_fails(qn_quantizer_check(&q, 2, dims, "value 'x'", &err), &err, QN_EINVAL, "finite, normal");
    }
    const struct {
        qn_quantizer q;
        const char *message;
    } rows[] = {
        {{s8, 1, 3, good, beyond}, "zero point 2 is 128, outside the range of int8"},
        {{s8, 1, 2, good, zeros}, "2 quantization parameters where 3"},
        {{s8, -1, 3, good, zeros}, "3 quantization parameters where 1"},
        {{s8, 2, 3, good, zeros}, "axis 2 is outside"},
        {{s8, -2, 1, good, zeros}, "axis -2 is outside"},
        {{s8, 1, 3, NULL, zeros}, "0 quantization parameters"},
        {{{0, true, false}, -1, 1, good, zeros}, "no format int0"},
        {{{17, true, false}, -1, 1, good, zeros}, "no format int17"},
        {{{32, false, false}, -1, 1, good, zeros}, "no format uint32"},
        {{{8, false, true}, -1, 1, good, zeros}, "no format uint8:narrow"},
        {{{1, true, true}, -1, 1, good, zeros}, "no format int1:narrow"},
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
    const qn_format s8 = {8, true, false};
    const qn_quantizer a = {s8, 1, 2, scales, zeros};
    const qn_quantizer different[] = {
        {{8, true, true}, 1, 2, scales, zeros},
        {{8, false, false}, 1, 2, scales, zeros},
        {{7, true, false}, 1, 2, scales, zeros},
        {s8, 0, 2, scales, zeros},
        {s8, 1, 1, scales, zeros},
        {s8, 1, 2, other_scales, zeros},
        {s8, 1, 2, scales, other_zeros},
    };
    const float same_scales[2] = {1.0f, 2.0f};
    const int32_t same_zeros[2] = {0, 1};
    assert_true(qn_quantizer_equal(&a, &(qn_quantizer){s8, 1, 2, same_scales, same_zeros}));
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
