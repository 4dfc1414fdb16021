/* Classes of outcomes against their definitions, with the softmax in long double. */
#include "support.h"

#include <float.h>
#include <math.h>

#include "fault/outcome.h"

static void golden_of_logits(void **state)
{
    (void)state;
    const float logits[] = {1, 3, 3, -2, 7, 0, 3};
    qn_golden g;
    qn_golden_make(&g, logits, 7, 4);
    const int order[] = {4, 1, 2, 6, 0};
    assert_int_equal(g.top1, 4);
    assert_memory_equal(g.top5, order, sizeof order);
    assert_int_equal(g.label, 4);
    const float few[] = {-1, -1, NAN};
    qn_golden_make(&g, few, 3, -1);
    const int padded[] = {0, 1, 2, -1, -1};
    assert_memory_equal(g.top5, padded, sizeof padded);
    const float nan_first[] = {NAN, -INFINITY, NAN};
    qn_golden_make(&g, nan_first, 3, -1);
    assert_int_equal(g.top1, 1);
    const float alone[] = {-5};
    qn_golden_make(&g, alone, 1, 0);
    assert_true(g.top1 == 0 && g.probability == 1);
}

static long double softmax(const float *logits, int n, int at)
{
    long double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += expl((long double)logits[i] - logits[at]);
    }
    return 1 / sum;
}

static void probabilities(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int trial = 0; trial < 3000; trial++) {
        float logits[20];
        const int n = 1 + (int)(qn_test_random(&seed) % 20);
        const float scale = trial % 3 == 0 ? 1e-3f : trial % 3 == 1 ? 10 : 1000;
        for (int i = 0; i < n; i++) {
            logits[i] = qn_test_uniform(&seed, -scale, scale);
        }
        qn_golden g;
        qn_golden_make(&g, logits, n, -1);
        const long double want = softmax(logits, n, g.top1);
        assert_true(fabsl(g.probability - want) <= 1e-14L * want);
    }
    const float extreme[] = {-FLT_MAX, FLT_MAX, 0};
    qn_golden g;
    qn_golden_make(&g, extreme, 3, -1);
    assert_true(g.top1 == 1 && g.probability == 1);
}

/* What the flags of finite logits must be, from the words of the definitions. */
static unsigned expected(const float *before, const float *after, int n, int label, bool *close)
{
    int first = 0, now = 0, better = 0;
    for (int i = 1; i < n; i++) {
        first = before[i] > before[first] ? i : first;
        now = after[i] > after[now] ? i : now;
    }
    for (int i = 0; i < n; i++) {
        better += before[i] > before[now] || (before[i] == before[now] && i < now);
    }
    const long double p = softmax(before, n, first), q = softmax(after, n, first), change = fabsl(q - p) / p;
    *close = fabsl(change - 0.1L) < 1e-12L || fabsl(change - 0.2L) < 1e-12L;
    unsigned flags = now == first ? QN_OUTCOME_TOLERATED : QN_OUTCOME_SDC1;
    flags |= better >= 5 ? QN_OUTCOME_SDC5 : 0;
    flags |= change > 0.1L ? QN_OUTCOME_SDC10 : 0;
    flags |= change > 0.2L ? QN_OUTCOME_SDC20 : 0;
    flags |= label == first && now != label ? QN_OUTCOME_CRITICAL : 0;
    return flags;
}

static void classes_by_definition(void **state)
{
    (void)state;
    uint64_t seed = 5;
    int64_t seen[QN_OUTCOME_COUNT] = {0};
    for (int trial = 0; trial < 20000; trial++) {
        float before[12], after[12];
        const int n = 2 + (int)(qn_test_random(&seed) % 11);
        const float reach = trial % 2 ? 0.3f : 4.0f;
        double squares = 0;
        for (int i = 0; i < n; i++) { /* of quarters: ties happen */
            before[i] = floorf(qn_test_uniform(&seed, -12, 12)) / 4;
            after[i] = qn_test_random(&seed) % 2 ? before[i] + qn_test_uniform(&seed, -reach, reach) : before[i];
            squares += ((double)after[i] - before[i]) * ((double)after[i] - before[i]);
        }
        const int label = (int)(qn_test_random(&seed) % (uint64_t)(n + 1)) - 1;
        qn_golden g;
        qn_golden_make(&g, before, n, label);
        const qn_outcome outcome = qn_outcome_of(&g, after, n, 0);
        bool close;
        const unsigned want = expected(before, after, n, label, &close);
        if (!close) {
            assert_int_equal(outcome.flags, want);
        }
        assert_true(fabs(outcome.rmse - sqrt(squares / n)) <= 1e-14 * outcome.rmse);
        for (int k = 0; k < QN_OUTCOME_COUNT; k++) {
            seen[k] += outcome.flags >> k & 1;
        }
    }
    for (int k = 0; k < QN_OUTCOME_COUNT; k++) { /* the trial is not empty */
        assert_true((k == 0 || k == 7 || k == 8 || k == 9) == (seen[k] < 100));
    }
}

static void masked_and_non_finite(void **state)
{
    (void)state;
    const float before[] = {1, 2, 3};
    qn_golden g;
    qn_golden_make(&g, before, 3, 2);
    qn_outcome outcome = qn_outcome_of(&g, NULL, 3, 0);
    assert_true(outcome.flags == QN_OUTCOME_MASKED && outcome.rmse == 0);
    const float right[] = {1, NAN, 3};
    outcome = qn_outcome_of(&g, right, 3, 0);
    assert_true(outcome.flags == QN_OUTCOME_NONFINITE && isnan(outcome.rmse));
    const float wrong[] = {1, INFINITY, 3}, all[] = {NAN, NAN, NAN}, below[] = {1, -INFINITY, 3};
    assert_int_equal(qn_outcome_of(&g, wrong, 3, 0).flags, QN_OUTCOME_NONFINITE | QN_OUTCOME_CRITICAL);
    assert_int_equal(qn_outcome_of(&g, all, 3, 0).flags, QN_OUTCOME_NONFINITE | QN_OUTCOME_CRITICAL);
    assert_int_equal(qn_outcome_of(&g, below, 3, 0).flags, QN_OUTCOME_NONFINITE);
    qn_golden_make(&g, before, 3, 0); /* wrong without a fault, too */
    assert_int_equal(qn_outcome_of(&g, all, 3, 0).flags, QN_OUTCOME_NONFINITE);
    const float first_nan[] = {NAN, 2, 3};
    qn_golden_make(&g, before, 3, 2);
    assert_int_equal(qn_outcome_of(&g, first_nan, 3, 0).flags, QN_OUTCOME_NONFINITE);
}

static void regression(void **state)
{
    (void)state;
    const float before[] = {0, 0, 0, 10}, near[] = {3, 0, 0, 14}; /* RMSE 2.5 */
    qn_golden g;
    qn_golden_make(&g, before, 4, -1);
    qn_outcome outcome = qn_outcome_of(&g, near, 4, 2.5);
    assert_true(outcome.rmse == 2.5 && outcome.flags == QN_OUTCOME_TOLERATED);
    assert_int_equal(qn_outcome_of(&g, near, 4, 2.4999).flags, QN_OUTCOME_SDC1);
    const float top[] = {20, 0, 0, 10};
    assert_int_equal(qn_outcome_of(&g, top, 4, 100).flags, QN_OUTCOME_TOLERATED);
    const float bad[] = {0, 0, NAN, 10};
    assert_int_equal(qn_outcome_of(&g, bad, 4, 100).flags, QN_OUTCOME_NONFINITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_of_logits),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(classes_by_definition),
        cmocka_unit_test(masked_and_non_finite),
        cmocka_unit_test(regression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
