/* Scales of sums: after settling, no pair of codes is rounded differently by the orders of evaluation in use. */
#include <math.h>

#include "ptq/ptq.h"
#include "support.h"

static int32_t saturate(double rounded)
{
    return rounded < 0 ? 0 : rounded > 255 ? 255 : (int32_t)rounded;
}

/* As arithmetic.md defines it. */
static int32_t defined(int i, int j, const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y, float scale)
{
    float ratio_a = a->scale / scale, ratio_b = b->scale / scale;
    float left = (float)(i - a->zero_point) * ratio_a, right = (float)(j - b->zero_point) * ratio_b;
    return saturate((double)rintf(left + right) + y->zero_point);
}

/* As ONNX Runtime 1.30 computes it on x86-64 with FMA, found by running all pairs of codes of 60 sums through it. */
static int32_t fused(int i, int j, const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y, float scale)
{
    float ratio_a = a->scale / scale, ratio_b = b->scale / scale;
    float moved = (float)b->zero_point * ratio_b;
    float fixed = (float)y->zero_point - fmaf((float)a->zero_point, ratio_a, moved);
    return saturate((double)rintf(fmaf((float)i, ratio_a, fmaf((float)j, ratio_b, fixed))));
}

static int n_differing(const qn_ptq_code *a, const qn_ptq_code *b, const qn_ptq_code *y, float scale)
{
    int n = 0;
    for (int i = 0; i < 256; i++) {
        for (int j = 0; j < 256; j++) {
            n += defined(i, j, a, b, y, scale) != fused(i, j, a, b, y, scale);
        }
    }
    return n;
}

/* A residual sum of a real network, in which ONNX Runtime gives 61 for the codes 54 and 144 and the definition 60. */
static void a_known_disagreement_is_settled(void **state)
{
    (void)state;
    const qn_ptq_code a = {0.029285211f, 0, 0, 255}, b = {0.106847644f, 129, 0, 255}, y = {0.052630022f, 0, 0, 255};
    assert_int_equal(defined(54, 144, &a, &b, &y, y.scale), 60);
    assert_int_equal(fused(54, 144, &a, &b, &y, y.scale), 61);
    float scale = qn_ptq_sum_scale(&a, &b, &y);
    assert_true(scale > y.scale && scale < y.scale * (1 + 0x1p-14f));
    assert_int_equal(n_differing(&a, &b, &y, scale), 0);
}

static void every_sum_is_settled(void **state)
{
    (void)state;
    uint64_t random = 20;
    int unsettled_before = 0;
    for (int k = 0; k < 40; k++) {
        qn_ptq_code a = {qn_test_uniform(&random, 0.01f, 0.2f), (int32_t)(qn_test_random(&random) % 256), 0, 255};
        qn_ptq_code b = {qn_test_uniform(&random, 0.01f, 0.2f), (int32_t)(qn_test_random(&random) % 256), 0, 255};
        qn_ptq_code y = {(a.scale > b.scale ? a.scale : b.scale) * qn_test_uniform(&random, 0.7f, 1.8f),
                         (int32_t)(qn_test_random(&random) % 256), 0, 255};
        float scale = qn_ptq_sum_scale(&a, &b, &y);
        assert_true(scale >= y.scale && scale < y.scale * (1 + 0x1p-14f));
        assert_int_equal(n_differing(&a, &b, &y, scale), 0);
        unsettled_before += n_differing(&a, &b, &y, y.scale) > 0;
    }
    assert_true(unsettled_before > 0); /* otherwise there was nothing to test */
}

static void sums_that_agree_are_left_alone(void **state)
{
    (void)state;
    const qn_ptq_code a = {0.5f, 3, 0, 255}, b = {0.25f, 128, 0, 255}, y = {0.5f, 100, 0, 255};
    assert_true(qn_ptq_sum_scale(&a, &b, &y) == y.scale); /* powers of two: every order is exact */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_disagreement_is_settled),
        cmocka_unit_test(every_sum_is_settled),
        cmocka_unit_test(sums_that_agree_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
