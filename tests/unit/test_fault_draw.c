/* Permutations and random numbers that faults are drawn with. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fault/draw.h"

static void permutes_all(uint64_t n, uint64_t seed, unsigned char *seen)
{
    const qn_draw_stream stream = qn_draw_stream_of(seed, 1, 2);
    qn_permutation p;
    qn_permutation_make(&p, n, &stream);
    memset(seen, 0, n);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t at = qn_permutation_at(&p, i);
        assert_true(at < n);
        assert_int_equal(seen[at]++, 0);
    }
}

static void permutations_visit_each_place_once(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    unsigned char *seen = qn_alloc(MOST);
    for (uint64_t n = 1; n <= 2000; n++) {
        permutes_all(n, n % 3, seen);
    }
    static const uint64_t larger[] = {4093, 65535, 65536, 65537, 262147, 1000003};
    for (size_t i = 0; i < sizeof larger / sizeof larger[0]; i++) {
        permutes_all(larger[i], 5, seen);
    }
    qn_free(seen);
}

static int compare(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static void large_permutations_do_not_repeat(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {((uint64_t)1 << 33) + 1, ((uint64_t)1 << 47) - 115, INT64_MAX,
                                     ((uint64_t)1 << 62) + 1};
    enum { N = 50000 };
    uint64_t *drawn = qn_alloc(N * sizeof *drawn);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const qn_draw_stream stream = qn_draw_stream_of(9, 0, 0);
        qn_permutation p;
        qn_permutation_make(&p, sizes[k], &stream);
        double mean = 0;
        for (uint64_t i = 0; i < N; i++) {
            drawn[i] = qn_permutation_at(&p, i % 2 ? sizes[k] - 1 - i / 2 : i / 2);
            assert_true(drawn[i] < sizes[k]);
            mean += (double)drawn[i] / (double)sizes[k] / N;
        }
        assert_true(fabs(mean - 0.5) < 4 / sqrt(12.0 * N));
        qsort(drawn, N, sizeof *drawn, compare);
        for (int i = 1; i < N; i++) {
            assert_true(drawn[i] != drawn[i - 1]);
        }
    }
    qn_free(drawn);
}

/* Every place comes equally often first, over seeds: chi-square of 30 places, 29 degrees, 58.3 at 0.1 %; and so do pairs
 * of the first two places of 6: 29 degrees. */
static void first_places_are_uniform_over_seeds(void **state)
{
    (void)state;
    enum { N = 30, SEEDS = 30000 };
    int first[N] = {0}, pairs[36] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const qn_draw_stream stream = qn_draw_stream_of(seed, 0, 0);
        qn_permutation p, small;
        qn_permutation_make(&p, N, &stream);
        qn_permutation_make(&small, 6, &stream);
        first[qn_permutation_at(&p, 0)]++;
        pairs[qn_permutation_at(&small, 0) * 6 + qn_permutation_at(&small, 1)]++;
    }
    double chi = 0, chi_pairs = 0;
    for (int i = 0; i < N; i++) {
        chi += (first[i] - SEEDS / N) * (first[i] - SEEDS / N) / (double)(SEEDS / N);
    }
    for (int i = 0; i < 36; i++) {
        chi_pairs += i % 7 == 0 ? pairs[i] * 1e9 : (pairs[i] - 1000) * (pairs[i] - 1000) / 1000.0;
    }
    assert_true(chi < 58.3);
    assert_true(chi_pairs < 58.3);
}

static void logarithms_are_right(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int i = 0; i < 200000; i++) {
        const double x =
            ldexp(1 + (double)(qn_test_random(&random) >> 12) * 0x1p-52, (int)(qn_test_random(&random) % 200) - 190);
        const double wanted = log(x), got = qn_draw_log(x);
        assert_true(fabs(got - wanted) <= 4e-16 * fabs(wanted) + 1e-16);
        const double p = (double)qn_test_uniform(&random, 0, 1) * pow(10, -(double)(i % 12));
        assert_true(fabs(qn_draw_log_of_failure(p) - log1p(-p)) <= 1e-15 * fabs(log1p(-p)));
    }
    assert_true(qn_draw_log(1) == 0);
    assert_true(isinf(qn_draw_log_of_failure(1)));
}

/* Means and variances within four standard errors. */
static void distributions_have_their_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    const qn_draw_stream stream = qn_draw_stream_of(11, 3, 4);
    double sum = 0, squares = 0, fourth = 0, gaps = 0, uniform = 0;
    int zero_gaps = 0, below[7] = {0};
    const double p = 0.03, log_of_failure = qn_draw_log_of_failure(p);
    for (uint64_t i = 0; i < N; i++) {
        const double z = qn_draw_normal(&stream, QN_DRAW_CODE, i);
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
        const int64_t gap = qn_draw_gap(&stream, i, log_of_failure);
        gaps += (double)gap;
        zero_gaps += gap == 0;
        uniform += qn_draw_uniform(&stream, QN_DRAW_SITE, i);
        below[qn_draw_below(&stream, QN_DRAW_BITS, i, 7)]++;
    }
    const double error = 4 / sqrt((double)N);
    assert_true(fabs(sum / N) < error);
    assert_true(fabs(squares / N - 1) < error * sqrt(2.0));
    assert_true(fabs(fourth / N - 3) < error * sqrt(96.0));
    assert_true(fabs(gaps / N - (1 - p) / p) < error * sqrt(1 - p) / p);
    assert_true(fabs((double)zero_gaps / N - p) < error * sqrt(p * (1 - p)));
    assert_true(fabs(uniform / N - 0.5) < error / sqrt(12.0));
    double chi = 0;
    for (int i = 0; i < 7; i++) {
        chi += (below[i] - N / 7.0) * (below[i] - N / 7.0) / (N / 7.0);
    }
    assert_true(chi < 22.5); /* 6 degrees, 0.1 % */
    assert_int_equal(qn_draw_gap(&stream, 0, qn_draw_log_of_failure(1)), 0);
    assert_int_equal(qn_draw_gap(&stream, 0, qn_draw_log_of_failure(1e-300)), INT64_MAX);
}

/* Draws, purposes, sets and strata have numbers of their own. */
static void streams_differ(void **state)
{
    (void)state;
    enum { N = 2 * 3 * 3 * 3 * 3 * 4 };
    uint64_t bits[N];
    int n = 0;
    for (uint64_t seed = 0; seed < 2; seed++) {
        for (uint32_t set = 0; set < 3; set++) {
            for (uint32_t stratum = 0; stratum < 3; stratum++) {
                qn_draw_stream stream = qn_draw_stream_of(seed << 40, set, stratum);
                for (int draw = 0; draw < 3; draw++) {
                    stream.draw = (uint64_t)draw << 32;
                    for (int purpose = 0; purpose < 3; purpose++) {
                        for (uint64_t index = 0; index < 4; index++) {
                            bits[n++] = qn_draw_bits(&stream, (qn_draw_purpose)purpose, index << 34);
                        }
                    }
                }
            }
        }
    }
    assert_int_equal(n, N);
    qsort(bits, N, sizeof bits[0], compare);
    for (int i = 1; i < N; i++) {
        assert_true(bits[i] != bits[i - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutations_visit_each_place_once),  cmocka_unit_test(large_permutations_do_not_repeat),
        cmocka_unit_test(first_places_are_uniform_over_seeds), cmocka_unit_test(logarithms_are_right),
        cmocka_unit_test(distributions_have_their_moments),    cmocka_unit_test(streams_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
