/* The arithmetic of quern_soft.c, a part of C exports: what this machine's floats give, for every operation. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "export/c/runtime/quern_soft.c"

enum { N = 2000000 };

static value of_float(float x)
{
    int e;
    const float m = frexpf(x, &e);
    return (value){(int64_t)ldexpf(m, 24), e - 24};
}

static float to_float(value v)
{
    return (float)ldexp((double)v.m, v.e);
}

/* Any sign and mantissa, often a short one; exponents within `range` of 0; now and then 0. */
static float draw(uint64_t *seed, int range)
{
    const uint64_t r = qn_test_random(seed);
    uint32_t bits = (uint32_t)(r & 0x807fffff) | (uint32_t)(127 - range + (int)(r >> 40) % (2 * range + 1)) << 23;
    bits &= (r >> 32 & 15) == 0 ? 0xfff00001 : 0xffffffff;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (r >> 36 & 15) == 0 ? 0 : x;
}

static void test_operations(void **state)
{
    (void)state;
    static const int ranges[] = {3, 24, 45};
    uint64_t seed = 20261126;
    for (int i = 0; i < N; i++) {
        const float a = draw(&seed, ranges[i % 3]);
        float b = draw(&seed, ranges[i % 3]);
        if (i % 8 == 0) { /* sums that cancel, nearly or quite */
            b = -a * (1 + (float)((int)(qn_test_random(&seed) % 5) - 2) * 0x1p-23f);
        }
        const float sum = a + b, product = a * b;
        assert_true(to_float(plus(of_float(a), of_float(b))) == sum);
        assert_true(to_float(times(of_float(a), of_float(b))) == product);
        if (b != 0) {
            const float quotient = a / b;
            assert_true(to_float(divided(of_float(a), of_float(b))) == quotient);
        }
        const int32_t x = (int32_t)(uint32_t)qn_test_random(&seed) >> i % 31;
        assert_true(to_float(whole(x)) == (float)x);
    }
}

/* To codes: ties, and beyond the bounds. */
static void test_codes(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < N; i++) {
        const int32_t lo = -(int32_t)(qn_test_random(&seed) % 300), hi = (int32_t)(qn_test_random(&seed) % 300);
        const float x = i % 4 == 0 ? (float)((int)(qn_test_random(&seed) % 1400) - 700) / 2 : draw(&seed, 12 + i % 60);
        const float clamped = x < (float)lo ? (float)lo : x > (float)hi ? (float)hi : x;
        assert_int_equal(code_of(of_float(x), lo, hi), (int32_t)rintf(clamped));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
