/* Counting and summing kernels, each against a plain definition in double; tallies that grow; sums without an order. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "calib/sum.h"
#include "calib/tally.h"

/* Zeros of both signs, borders of bins, and the least floats, besides numbers of all magnitudes up to `most`. */
static float any_finite(uint64_t *random, float most)
{
    static const float specials[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1.17549435e-38f, -1.17549435e-38f};
    uint64_t r = qn_test_random(random);
    if (r % 8 == 0) {
        return specials[(r >> 8) % 6];
    }
    if (r % 8 == 1) {
        return ldexpf((r >> 8 & 1) != 0 ? 1.0f : -1.0f, (int)((r >> 16) % 12) - 11) * most / 2; /* often a border */
    }
    return qn_test_uniform(random, -1, 1) * most;
}

/* Buffers of exactly the size needed, so that a read past the end is seen by the sanitizer. */
static float *exact_buffer(int64_t n, uint64_t *random, float most)
{
    float *x = malloc((size_t)n * sizeof *x + (n == 0));
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = any_finite(random, most);
    }
    return x;
}

static void check_count(const qn_observe_kernels *kernels, int64_t n, float most, uint64_t *random)
{
    float *x = exact_buffer(n, random, most);
    int64_t *counts = calloc(QN_TALLY_LENGTH, sizeof *counts), *expected = calloc(QN_TALLY_LENGTH, sizeof *expected);
    assert_true(counts != NULL && expected != NULL);
    qn_tally tally = {.counts = counts};
    float least = 0, greatest = 0;
    for (int64_t i = 0; i < n; i++) {
        least = fminf(least, x[i]), greatest = fmaxf(greatest, x[i]);
    }
    qn_tally_reach(&tally, least, greatest);
    qn_count_grid grid = qn_tally_grid(&tally);
    int64_t n_zeros = kernels->count(x, n, &grid), zeros = 0;
    for (int64_t i = 0; i < n; i++) {
        double bin = floor(ldexp((double)x[i], -tally.exponent[x[i] < 0 ? 0 : 1]));
        assert_true(bin >= -QN_TALLY_HALF && bin < QN_TALLY_HALF);
        zeros += x[i] == 0 ? 1 : 0;
        expected[QN_TALLY_HALF + (int)bin] += x[i] != 0 ? 1 : 0;
    }
    assert_int_equal(n_zeros, zeros);
    assert_memory_equal(counts, expected, QN_TALLY_LENGTH * sizeof *counts);
    free(x);
    free(counts);
    free(expected);
}

static void kernels_count_every_element(void **state)
{
    (void)state;
    size_t n_kernels;
    const qn_observe_kernels *all = qn_observe_kernels_all(&n_kernels);
    uint64_t random = 3;
    for (size_t k = 0; k < n_kernels; k++) {
        if (all[k].cpu > qn_cpu_best()) {
            continue;
        }
        for (int64_t n = 0; n < 70; n++) {
            check_count(&all[k], n, 2.0f, &random);
        }
        static const float mosts[] = {1e-42f, 1e-36f, 1.0f, 1.999f, 3e4f, 1.7014118e38f, 3.4028235e38f};
        for (size_t m = 0; m < sizeof mosts / sizeof mosts[0]; m++) {
            check_count(&all[k], 3000, mosts[m], &random);
        }
    }
}

/* In the order that is written: element i of a row goes to sum i % 16, and those are joined by halves. */
static double sum_in_order(const float *x, int64_t n, float lo, bool squares)
{
    double lane[16] = {0};
    for (int64_t i = 0; i < n; i++) {
        double v = (double)(x[i] > lo ? x[i] : lo);
        lane[i % 16] += squares ? v * v : v;
    }
    for (int half = 8; half > 0; half /= 2) {
        for (int k = 0; k < half; k++) {
            lane[k] += lane[k + half];
        }
    }
    return lane[0];
}

static void kernels_sum_in_the_written_order(void **state)
{
    (void)state;
    size_t n_kernels;
    const qn_observe_kernels *all = qn_observe_kernels_all(&n_kernels);
    static const float floors[] = {-INFINITY, 0.0f, 0.25f};
    uint64_t random = 3;
    for (size_t k = 0; k < n_kernels; k++) {
        for (int64_t n = 1; n < 200 && all[k].cpu <= qn_cpu_best(); n += n < 70 ? 1 : 13) {
            float lo = floors[n % 3], *x = exact_buffer(n, &random, 100.0f);
            double sum, squares;
            all[k].moments_row(x, n, lo, &sum, &squares);
            assert_true(sum == sum_in_order(x, n, lo, false) && squares == sum_in_order(x, n, lo, true));
            /* As columns: rows of `width`, the last without what would follow it. */
            int64_t width = 1 + n % 21, stride = width + n % 3, rows = (n - width) / stride + 1;
            double column_sum[21], column_squares[21];
            if (n < width) {
                free(x);
                continue;
            }
            all[k].moments_columns(x, rows, stride, width, lo, column_sum, column_squares);
            for (int64_t c = 0; c < width; c++) {
                double s = 0, q = 0;
                for (int64_t row = 0; row < rows; row++) {
                    double v = (double)fmaxf(x[row * stride + c], lo);
                    s += v;
                    q += v * v;
                }
                assert_true(column_sum[c] == s && column_squares[c] == q);
            }
            free(x);
        }
    }
}

/* Counting all at once, or in parts whose range grows, or in two tallies that are joined, is the same. */
static void tallies_do_not_depend_on_the_order(void **state)
{
    (void)state;
    enum { PARTS = 12, PART = 97 };
    static const float mosts[PARTS] = {1e-3f, 0.02f, 0.01f, 5.0f, 0.3f, 1.0f, 700.0f, 1e-9f, 2.0f, 1e5f, 3.0f, 1e-40f};
    static float x[PARTS * PART];
    static int64_t counts[3][QN_TALLY_LENGTH];
    qn_tally tallies[3] = {{.counts = counts[0]}, {.counts = counts[1]}, {.counts = counts[2]}};
    uint64_t random = 9;
    for (int i = 0; i < PARTS * PART; i++) {
        x[i] = any_finite(&random, mosts[i / PART]);
    }
    float least = 0, greatest = 0;
    for (int part = 0; part < PARTS; part++) {
        float lo = 0, hi = 0;
        for (int i = 0; i < PART; i++) {
            lo = fminf(lo, x[part * PART + i]), hi = fmaxf(hi, x[part * PART + i]);
        }
        least = fminf(least, lo), greatest = fmaxf(greatest, hi);
        qn_tally *t = &tallies[1 + part % 2];
        qn_tally_reach(t, lo, hi);
        qn_count_grid grid = qn_tally_grid(t);
        t->n_zeros += qn_count_f32_reference(x + part * PART, PART, &grid);
        t->n += PART;
    }
    qn_tally_reach(&tallies[0], least, greatest);
    qn_count_grid grid = qn_tally_grid(&tallies[0]);
    tallies[0].n_zeros = qn_count_f32_reference(x, PARTS * PART, &grid);
    tallies[0].n = PARTS * PART;
    qn_tally_join(&tallies[1], &tallies[2]);
    assert_memory_equal(counts[0], counts[1], sizeof counts[0]);
    assert_memory_equal(tallies[0].exponent, tallies[1].exponent, sizeof tallies[0].exponent);
    assert_true(tallies[0].n == tallies[1].n && tallies[0].n_zeros == tallies[1].n_zeros);
}

/* Forwards, backwards and in two halves, sums are the same bits, and right to the precision of the greatest term. */
static void sums_do_not_depend_on_the_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    static double x[N];
    uint64_t random = 5;
    for (int spread = 0; spread < 300; spread += 7) {
        long double exact = 0;
        double greatest = 0;
        for (int i = 0; i < N; i++) {
            int exponent = spread == 0 ? 0 : (int)(qn_test_random(&random) % (uint64_t)(2 * spread)) - spread;
            x[i] = ldexp((double)qn_test_uniform(&random, -1, 1) + 1e-9 * (double)qn_test_uniform(&random, -1, 1),
                         exponent);
            exact += (long double)x[i];
            greatest = fmax(greatest, fabs(x[i]));
        }
        qn_sum forward = {0}, backward = {0}, odd = {0}, even = {0};
        for (int i = 0; i < N; i++) {
            qn_sum_add(&forward, x[i]);
            qn_sum_add(&backward, x[N - 1 - i]);
            qn_sum_add(i % 2 == 0 ? &even : &odd, x[i]);
        }
        qn_sum_join(&odd, &even);
        double sum = qn_sum_value(&forward);
        assert_true(sum == qn_sum_value(&backward) && sum == qn_sum_value(&odd));
        assert_true(fabsl((long double)sum - exact) <= (long double)(N * greatest) * 0x1p-52L);
    }
}

/* Sums of small integers and of one term are exact, at both ends of the doubles too. */
static void sums_of_few_bits_are_exact(void **state)
{
    (void)state;
    static const double terms[] = {1.0, -3.5, 5e-324, -1.7976931348623157e308, 2.2250738585072014e-308, 0x1p-1074 * 3};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        qn_sum one = {0};
        qn_sum_add(&one, terms[i]);
        assert_true(qn_sum_value(&one) == terms[i]);
        qn_sum_add(&one, -terms[i]);
        assert_true(qn_sum_value(&one) == 0);
    }
    qn_sum sum = {0};
    for (int i = 1; i <= 100000; i++) {
        qn_sum_add(&sum, i % 3 == 0 ? -i : i);
    }
    /* Sum of 1..100000 less twice the multiples of 3: 5000050000 - 2 * 3 * (33333 * 33334 / 2). */
    assert_true(qn_sum_value(&sum) == 5000050000.0 - 3.0 * 33333.0 * 33334.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_count_every_element),        cmocka_unit_test(kernels_sum_in_the_written_order),
        cmocka_unit_test(tallies_do_not_depend_on_the_order), cmocka_unit_test(sums_do_not_depend_on_the_order),
        cmocka_unit_test(sums_of_few_bits_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
