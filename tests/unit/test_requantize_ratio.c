/* Ratios of scales against rational arithmetic in 128 bits. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ratio.h"
#include "engine/integer/kernels/requantize.h"
#include "ptq/ptq.h"

typedef __int128 wide;

/* num / 2^p by the definition of each rounding: the floor, and what is left. */
static wide round_exact(wide num, int p, qn_rounding rounding)
{
    const wide one = (wide)1 << p;
    wide q = num / one, left = num % one;
    if (left < 0) {
        left += one;
        q--;
    }
    const wide twice = 2 * left;
    switch (rounding) {
    case QN_ROUND_FLOOR:
        return q;
    case QN_ROUND_NEAREST_UP:
        return q + (twice >= one);
    case QN_ROUND_NEAREST_AWAY:
        return q + (num >= 0 ? twice >= one : twice > one);
    default:
        return q + (twice > one || (twice == one && q % 2 != 0));
    }
}

static int32_t saturate(wide x)
{
    return (int32_t)(x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : x);
}

static const int32_t extremes[] = {0,
                                   1,
                                   -1,
                                   2,
                                   -2,
                                   3,
                                   -3,
                                   127,
                                   -128,
                                   32767,
                                   -32768,
                                   (1 << 24) + 1,
                                   -(1 << 24) - 1,
                                   1 << 30,
                                   -(1 << 30),
                                   (1 << 30) - 1,
                                   1 - (1 << 30),
                                   INT32_MAX,
                                   INT32_MAX - 1,
                                   INT32_MIN + 1,
                                   INT32_MIN};
enum { N_EXTREMES = sizeof extremes / sizeof extremes[0] };
static const qn_rounding roundings[] = {QN_ROUND_NEAREST_EVEN, QN_ROUND_NEAREST_AWAY, QN_ROUND_NEAREST_UP,
                                        QN_ROUND_FLOOR};

/* Every shift, extreme and random sums and multipliers, and products that are ties. */
static void one_rounding_is_exact(void **unused)
{
    (void)unused;
    uint64_t state = 9;
    for (int shift = -31; shift <= 62; shift++) {
        for (int i = 0; i < 3 * N_EXTREMES; i++) {
            for (int j = 0; j < 3 * N_EXTREMES; j++) {
                int32_t x = i < N_EXTREMES ? extremes[i] : (int32_t)(uint32_t)qn_test_random(&state);
                int32_t m = j < N_EXTREMES ? extremes[j] : (int32_t)(uint32_t)qn_test_random(&state);
                m = m == INT32_MIN ? INT32_MAX : abs(m);
                x >>= i % 3 == 0 ? 0 : (int)(qn_test_random(&state) % 31);
                m >>= j % 3 == 0 ? 0 : (int)(qn_test_random(&state) % 31);
                for (int r = 0; r < 4; r++) {
                    const qn_ratio_rounding how = {roundings[r], false};
                    wide exact = (wide)x * m;
                    exact = shift > 0 ? round_exact(exact, shift, roundings[r]) : exact * ((wide)1 << -shift);
                    assert_int_equal(qn_ratio_apply(x, (qn_ratio){m, shift}, how), saturate(exact));
                }
            }
        }
    }
}

/* As published for gemmlowp: the nudge depends on the sign and the division truncates; then the remainder of a shift is
 * compared with a threshold that depends on the sign. */
static int32_t published(int32_t x, int32_t m, int exponent)
{
    const int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
    const wide product = (wide)saturate((wide)x * ((wide)1 << left)) * m;
    const wide nudge = product >= 0 ? (wide)1 << 30 : 1 - ((wide)1 << 30);
    const int64_t high = (int64_t)((product + nudge) / ((wide)1 << 31));
    const int64_t mask = (INT64_C(1) << right) - 1, threshold = (mask >> 1) + (high < 0);
    return (int32_t)((high >> right) + ((high & mask) > threshold));
}

static void two_roundings_are_those_of_gemmlowp(void **unused)
{
    (void)unused;
    uint64_t state = 77;
    const qn_ratio_rounding how = {QN_ROUND_NEAREST_AWAY, true};
    int64_t differ = 0;
    for (int exponent = -31; exponent <= 30; exponent++) {
        for (int i = 0; i < 4000; i++) {
            int32_t x = i < N_EXTREMES ? extremes[i] : (int32_t)(uint32_t)qn_test_random(&state);
            x >>= i % 4 * 8;
            int32_t m = (int32_t)((UINT32_C(1) << 30) + (qn_test_random(&state) & ((1 << 30) - 1)));
            m = i % 7 == 0 ? 1 << 30 : i % 7 == 1 ? INT32_MAX : m;
            const qn_ratio ratio = {m, 31 - exponent};
            const int32_t twice = qn_ratio_apply(x, ratio, how);
            assert_int_equal(twice, published(x, m, exponent));
            differ += twice != qn_ratio_apply(x, ratio, (qn_ratio_rounding){QN_ROUND_NEAREST_AWAY, false});
        }
    }
    assert_true(differ > 0); /* rounding twice is not rounding once */
}

static void fixed_ratios_have_31_bits(void **unused)
{
    (void)unused;
    uint64_t state = 3;
    qn_ratio r;
    for (int i = 0; i < 100000; i++) {
        double value =
            ldexp(1 + (double)(qn_test_random(&state) >> 11) * 0x1p-53, (int)(qn_test_random(&state) % 62) - 32);
        assert_true(qn_ratio_of(&r, value, QN_REQUANTIZE_FIXED));
        if (r.multiplier != 0) {
            assert_in_range(r.multiplier, 1 << 30, INT32_MAX);
            assert_true(fabs(qn_ratio_value(&r) - value) <= ldexp(0.5, -r.shift));
        } else {
            assert_true(value < 0x1p-31);
        }
        assert_in_range(r.shift, 1, 62);
    }
    const struct {
        double value;
        int32_t multiplier, shift;
    } cases[] = {{1, 1 << 30, 30},       {0.5, 1 << 30, 31},    {0, 0, 31},
                 {0x1p-32, 1 << 30, 62}, {0x1p-33, 0, 31},      {1 - 0x1p-33, 1 << 30, 30},
                 {0x1p29, 1 << 30, 1},   {0x1p200, 1 << 30, 1}, {1 - 0x1p-31, INT32_MAX, 31}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(qn_ratio_of(&r, cases[i].value, QN_REQUANTIZE_FIXED));
        assert_int_equal(r.multiplier, cases[i].multiplier);
        assert_int_equal(r.shift, cases[i].shift);
    }
    assert_false(qn_ratio_of(&r, -1, QN_REQUANTIZE_FIXED));
    assert_false(qn_ratio_of(&r, NAN, QN_REQUANTIZE_FIXED));
    assert_false(qn_ratio_of(&r, INFINITY, QN_REQUANTIZE_SHIFT));
}

/* The nearest sum of two powers of two by trying all. */
static double nearest_sum(double value, bool two)
{
    double best = 0;
    for (int a = -40; a <= 40; a++) {
        for (int b = two ? a - 20 : a; b <= a; b++) {
            double sum = two ? ldexp(1, a) + ldexp(1, b) : ldexp(1, a);
            best = fabs(sum - value) < fabs(best - value) ? sum : best;
        }
    }
    return best;
}

static void shifts_are_found_where_there_are_any(void **unused)
{
    (void)unused;
    uint64_t state = 21;
    int found = 0;
    for (int i = 0; i < 20000; i++) {
        const bool two = i % 2 == 0;
        int e = (int)(qn_test_random(&state) % 60) - 30;
        double value = ldexp(1, e), tilt = (double)(qn_test_random(&state) >> 11) * 0x1p-53;
        value += two ? ldexp(1, e - (int)(qn_test_random(&state) % 21)) : 0;
        value *= i % 4 < 2 ? 1 + (tilt - 0.5) * 0x1p-18 : 1 + tilt;
        double nearest = nearest_sum(value, two);
        qn_ratio r;
        bool is = qn_ratio_of(&r, value, two ? QN_REQUANTIZE_DOUBLE_SHIFT : QN_REQUANTIZE_SHIFT);
        assert_int_equal(is, fabs(nearest - value) <= 0x1p-20 * value);
        if (is && nearest <= 0x1p30 && nearest >= 0x1p-32) {
            assert_true(fabs(qn_ratio_value(&r) - value) <= fabs(nearest - value) + 0x1p-50 * value);
            found++;
        }
    }
    assert_true(found > 5000);
}

static void wrapping_keeps_the_low_bits(void **unused)
{
    (void)unused;
    for (int n = 8; n <= 32; n++) {
        for (int i = 0; i < N_EXTREMES; i++) {
            const wide one = (wide)1 << n;
            wide low = ((wide)extremes[i] % one + one) % one;
            low -= low >= one / 2 ? one : 0;
            assert_int_equal(qn_wrap_bits(extremes[i], n), (int32_t)low);
        }
    }
}

/* Every vectorized epilogue against the definition: all shifts, mixed, ties, narrow sums, every length. */
static void check_epilogue(qn_requantize_fn *fast)
{
    enum { N = 70, FIRST = 3 };
    uint64_t state = 4321;
    int32_t multiplier[N + FIRST + 16], shift[N + FIRST + 16], sums[N];
    for (int trial = 0; trial < 30000; trial++) {
        const int spread = trial % 3 == 0 ? 94 : 32, least = trial % 3 == 0 ? -31 : trial % 3 == 1 ? 31 : 1;
        const uint64_t bits = qn_test_random(&state);
        const int32_t zero = (int32_t)(bits % 256), one = (int32_t)(bits >> 8) & 255,
                      other = (int32_t)(bits >> 16) & 255;
        const qn_requantize_params p = {.multiplier = multiplier,
                                        .shift = shift,
                                        .how = {roundings[trial % 4], trial % 5 == 0},
                                        .bits = trial % 7 == 0 ? 8 + (int)(bits >> 24 & 15) : 32,
                                        .zero_point = zero,
                                        .lo = one < other ? one : other,
                                        .hi = one < other ? other : one};
        for (int i = 0; i < N + FIRST; i++) {
            multiplier[i] = (int32_t)(qn_test_random(&state) >> 33) >> (trial % 2 * (qn_test_random(&state) % 31));
            shift[i] = least + (int)(qn_test_random(&state) % (uint64_t)spread);
            shift[i] = shift[i] > 62 ? 62 : shift[i];
        }
        for (int i = 0; i < N; i++) { /* most near the codes' range, and ties among them */
            sums[i] = trial % 4 == 0 ? extremes[qn_test_random(&state) % N_EXTREMES]
                                     : (int32_t)(uint32_t)qn_test_random(&state) >> (qn_test_random(&state) % 32);
            if (trial % 6 == 1 && shift[FIRST + i] > 0 && shift[FIRST + i] < 24) {
                multiplier[FIRST + i] = 1;
                sums[i] = ((sums[i] >> 22) * 2 + 1) * (1 << (shift[FIRST + i] - 1));
            }
        }
        const size_t pixels = 1 + trial % 4, n = 1 + qn_test_random(&state) % (N / pixels), step = n + 2;
        uint8_t y[2 * N + 8];
        memset(y, 0x5a, sizeof y);
        fast(y, (ptrdiff_t)step, sums, pixels, n, &p, FIRST);
        for (size_t i = 0; i < pixels * step; i++) {
            const size_t pixel = i / step, k = i % step;
            assert_int_equal(y[i], k < n ? qn_requantize_one(sums[pixel * n + k], &p, FIRST + k) : 0x5a);
        }
    }
}

static void epilogues_give_the_defined_codes(void **unused)
{
    (void)unused;
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    for (int level = QN_CPU_REFERENCE; level <= (int)cpu; level++) {
        check_epilogue(qn_requantize_select((qn_cpu)level));
    }
}

/* All ratios that one or two shifts have. */
static size_t all_ratios(double *ratios, bool two)
{
    size_t n = 0;
    for (int a = -32; a <= 30; a++) {
        ratios[n++] = ldexp(1, a);
        for (int d = 1; two && d <= 20; d++) {
            ratios[n++] = ldexp(1, a) + ldexp(1, a - d);
        }
    }
    return n;
}

static void weight_scales_make_ratios_exact(void **unused)
{
    (void)unused;
    static double ratios[63 * 21];
    uint64_t state = 1234;
    for (int two = 0; two < 2; two++) {
        const qn_arithmetic a = {.requantize = two ? QN_REQUANTIZE_DOUBLE_SHIFT : QN_REQUANTIZE_SHIFT};
        const size_t n = all_ratios(ratios, two != 0);
        for (int i = 0; i < 20000; i++) {
            const float x = ldexpf(qn_test_uniform(&state, 1, 2), (int)(qn_test_random(&state) % 20) - 12);
            const float y = ldexpf(qn_test_uniform(&state, 1, 2), (int)(qn_test_random(&state) % 20) - 12);
            float wanted = ldexpf(qn_test_uniform(&state, 1, 2), (int)(qn_test_random(&state) % 30) - 20);
            if (i % 4 == 0) { /* one that is exact itself */
                wanted = (float)(ratios[qn_test_random(&state) % n] * (double)y / (double)x);
            }
            const double ratio = (double)x * (double)wanted / (double)y;
            double above = INFINITY, below = 0, meant = ratio;
            for (size_t r = 0; r < n; r++) {
                meant = fabs(ratios[r] - ratio) <= 0x1p-22 * ratio ? ratios[r] : meant;
            }
            for (size_t r = 0; r < n; r++) {
                above = ratios[r] >= meant && ratios[r] < above ? ratios[r] : above;
                below = ratios[r] < meant && ratios[r] > below ? ratios[r] : below;
            }
            float candidates[2];
            const int found = qn_ptq_ratio_candidates(&a, x, y, wanted, candidates);
            const float scale = qn_ptq_ratio_scale(&a, x, y, wanted);
            if (ratio < 0x1p-30 || ratio > 0x1p29) {
                continue; /* the ends of the range */
            }
            assert_int_equal(found, 2);
            assert_true(meant == ratio || scale == wanted || scale <= wanted * (1 + 0x1p-22f));
            assert_true(scale == candidates[0] && scale >= wanted && candidates[1] < candidates[0]);
            for (int c = 0; c < 2; c++) {
                const double exact = c == 0 ? above : below;
                qn_ratio q;
                assert_true(qn_ratio_of(&q, (double)x * (double)candidates[c] / (double)y, a.requantize));
                assert_true(fabs(qn_ratio_value(&q) - exact) <= 0x1p-22 * exact);
                assert_true(fabs((double)x * (double)candidates[c] / (double)y - exact) <= 0x1p-22 * exact);
            }
        }
    }
    const qn_arithmetic fixed = {.requantize = QN_REQUANTIZE_FIXED}, shift = {.requantize = QN_REQUANTIZE_SHIFT};
    assert_true(qn_ptq_ratio_scale(&fixed, 0.1f, 0.3f, 0.7f) == 0.7f);
    assert_true(qn_ptq_ratio_scale(&shift, 1, 1, 5) == 8); /* above 1 */
    assert_true(qn_ptq_ratio_scale(&shift, 1, 1, 8) == 8);
    assert_true(qn_ptq_ratio_scale(&shift, 1, 1, 0x1p40f) == 0);
    assert_true(qn_ptq_ratio_scale(&shift, 0x1p100f, 0x1p-100f, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rounding_is_exact),           cmocka_unit_test(two_roundings_are_those_of_gemmlowp),
        cmocka_unit_test(fixed_ratios_have_31_bits),       cmocka_unit_test(shifts_are_found_where_there_are_any),
        cmocka_unit_test(wrapping_keeps_the_low_bits),     cmocka_unit_test(epilogues_give_the_defined_codes),
        cmocka_unit_test(weight_scales_make_ratios_exact),
    };
    return cmocka_run_group_tests_name("requantize_ratio", tests, NULL, NULL);
}
