/* What clamps are made of: sums, extremes, histograms and errors, against one number after the other; the same bits for
 * floats and doubles, and at every level. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/moments.h"
#include "quern/link.h"

enum { MOST = 3000 };

static void fill(float *narrow, double *x, int64_t n, uint64_t *random)
{
    for (int64_t i = 0; i < n; i++) {
        narrow[i] = qn_test_uniform(random, -3.0f, 5.0f);
        narrow[i] = qn_test_random(random) % 8 == 0 ? 0.0f : narrow[i];
        x[i] = (double)narrow[i];
    }
}

static void near(double got, long double want)
{
    assert_true(fabsl((long double)got - want) <= 1e-12L * (1.0L + fabsl(want)));
}

static void test_sums(void **state)
{
    (void)state;
    static float narrow[MOST];
    static double x[MOST];
    uint64_t random = 1;
    for (int64_t n = 1; n <= MOST; n += n < 70 ? 1 : 293) {
        fill(narrow, x, n, &random);
        long double sum = 0, square = 0, magnitude = 0, variance = 0, deviation = 0, zeros = 0;
        double min = INFINITY, max = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            sum += (long double)x[i];
            square += (long double)x[i] * (long double)x[i];
            magnitude += fabsl((long double)x[i]);
            zeros += x[i] == 0.0 ? 1 : 0;
            min = fmin(min, x[i]);
            max = fmax(max, x[i]);
        }
        for (int64_t i = 0; i < n; i++) {
            const long double d = (long double)x[i] - sum / n;
            variance += d * d;
            deviation += fabsl(d);
        }
        const unsigned wanted[] = {QN_MOMENT_ALL, QN_MOMENT_MEAN | QN_MOMENT_SPREAD, QN_MOMENT_SQUARE, 0,
                                   QN_MOMENT_MEAN | QN_MOMENT_MAGNITUDE};
        for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++) {
            const qn_reals wide = {.x = x, .n = n}, thin = {.narrow = narrow, .n = n};
            const qn_moments m = qn_moments_of(&wide, wanted[k]), same = qn_moments_of(&thin, wanted[k]);
            assert_memory_equal(&m, &same, sizeof m);
            setenv("QUERN_CPU", "reference", 1); /* the level that tests run at is tested the other times */
            const qn_moments portable = qn_moments_of(&thin, wanted[k]);
            unsetenv("QUERN_CPU");
            const qn_moments best = qn_moments_of(&thin, wanted[k]);
            assert_memory_equal(&m, &portable, sizeof m);
            assert_memory_equal(&m, &best, sizeof m);
            assert_true(m.min == min && m.max == max && m.n == (double)n);
            if ((wanted[k] & QN_MOMENT_MEAN) != 0) {
                near(m.mean, sum / n);
            }
            if ((wanted[k] & QN_MOMENT_SQUARE) != 0) {
                near(m.mean_square, square / n);
            }
            if ((wanted[k] & QN_MOMENT_MAGNITUDE) != 0) {
                near(m.mean_magnitude, magnitude / n);
                assert_true(m.n_zeros == (double)zeros);
            }
            if ((wanted[k] & QN_MOMENT_SPREAD) != 0) {
                near(m.variance, variance / n);
            }
            if (wanted[k] == QN_MOMENT_ALL) {
                near(m.deviation, deviation / n);
            }
        }
    }
}

/* Bins by the edges alone, also where those coincide. */
static void test_counts(void **state)
{
    (void)state;
    enum { BINS = 200 };
    static float narrow[MOST];
    static double x[MOST];
    uint64_t random = 2;
    for (int round = 0; round < 40; round++) {
        const float scale = round % 4 == 0 ? 1e-44f : round % 4 == 1 ? 1e-7f : round % 4 == 2 ? 1.0f : 1e37f;
        const float offset = round % 4 == 1 ? 1.0f : 0.0f;
        float lo = INFINITY, hi = -INFINITY, edges[BINS + 1];
        int64_t counts[BINS], thin[BINS], want[BINS] = {0};
        for (int i = 0; i < MOST; i++) {
            narrow[i] = offset + scale * qn_test_uniform(&random, -3.0f, 5.0f);
            x[i] = (double)narrow[i];
            lo = fminf(lo, narrow[i]);
            hi = fmaxf(hi, narrow[i]);
        }
        for (int i = 0; i <= BINS; i++) {
            edges[i] = i < BINS ? (float)((double)i * ((double)hi - (double)lo) / BINS + (double)lo) : hi;
        }
        for (int i = 0; i < MOST; i++) {
            int bin = BINS - 1;
            while (bin > 0 && narrow[i] < edges[bin]) {
                bin--;
            }
            want[bin]++;
        }
        qn_reals_count(counts, &(qn_reals){.x = x, .n = MOST}, edges, BINS);
        qn_reals_count(thin, &(qn_reals){.narrow = narrow, .n = MOST}, edges, BINS);
        assert_memory_equal(counts, want, sizeof want);
        assert_memory_equal(thin, want, sizeof want);
    }
}

static void test_differences(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    static double weights[MOST], unused[MOST];
    uint64_t random = 3;
    for (int64_t n = 0; n <= 100; n++) {
        fill(x, weights, n, &random);
        fill(y, unused, n, &random);
        for (int k = 0; k < 4; k++) {
            const bool squared = k % 2 == 0;
            const double *w = k < 2 ? NULL : weights;
            double lanes[8] = {0};
            for (int64_t i = 0; i < n; i++) {
                const double d = (double)y[i] - (double)x[i], error = squared ? d * d : fabs(d);
                lanes[i % 8] += w != NULL ? error * w[i] : error;
            }
            const double want =
                ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
            assert_true(qn_differences_for(QN_CPU_REFERENCE)(x, y, w, n, squared) == want);
            assert_true(qn_differences_for(qn_cpu_best())(x, y, w, n, squared) == want);
        }
    }
}

/* A frame under a clamp is the frame of values that were clamped before, at every level and for floats as for doubles.
 * The flag tells whether any was. */
static void test_clamped_frames(void **state)
{
    (void)state;
    static float x[MOST], clamped[MOST], y[MOST], z[MOST];
    static double wide[MOST];
    static unsigned char data[MOST * 4 + 200], again[MOST * 4 + 200], plain[MOST * 4 + 200];
    uint64_t random = 4;
    for (int k = 0; k < 12; k++) {
        const int64_t n = k % 4 == 0 ? 37 : MOST - k;
        fill(x, wide, n, &random);
        qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {n}, .data = x};
        qn_link_options o;
        qn_link_options_init(&o);
        o.format = k < 6 ? "pipeedge<2>" : "int8";
        o.clamp = (qn_link_clamp)(QN_LINK_CLAMP_LAPLACE + k % 3);
        qn_frame frame, parsed;
        qn_frame_verdict v;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_frame_plan(&frame, &o, 1, t.dims, &err), &err);
        qn_assert_ok(qn_frame_encode(data, &frame, &t, &o, &err), &err);
        assert_int_equal(qn_frame_parse(&parsed, &v, data, frame.n_bytes, SIZE_MAX), QN_FRAME_COMPLETE);
        qn_assert_ok(qn_frame_decode(y, &parsed, &err), &err);
        const qn_tensor doubles = {.dtype = QN_DTYPE_F64, .rank = 1, .dims = {n}, .data = wide};
        setenv("QUERN_CPU", "reference", 1);
        qn_assert_ok(qn_frame_encode(again, &frame, &t, &o, &err), &err);
        unsetenv("QUERN_CPU");
        assert_memory_equal(data, again, frame.n_bytes);
        qn_frame narrow_frame = frame;
        qn_assert_ok(qn_frame_encode(again, &narrow_frame, &doubles, &o, &err), &err);
        assert_int_equal(narrow_frame.flags, frame.flags);
        float lo = INFINITY, hi = -INFINITY, least = INFINITY, most = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            lo = fminf(lo, y[i]);
            hi = fmaxf(hi, y[i]);
            least = fminf(least, x[i]);
            most = fmaxf(most, x[i]);
        }
        if (k >= 6) {
            continue;
        }
        /* pipeedge's least and greatest code are the ends of the range. */
        for (int64_t i = 0; i < n; i++) {
            clamped[i] = fminf(fmaxf(x[i], lo), hi);
        }
        assert_int_equal((frame.flags & QN_FRAME_VALUES_CLAMPED) != 0, lo > least || hi < most);
        t.data = clamped;
        o.clamp = QN_LINK_CLAMP_NONE;
        qn_assert_ok(qn_frame_encode(plain, &frame, &t, &o, &err), &err);
        assert_int_equal(qn_frame_parse(&parsed, &v, plain, frame.n_bytes, SIZE_MAX), QN_FRAME_COMPLETE);
        qn_assert_ok(qn_frame_decode(z, &parsed, &err), &err);
        for (int64_t i = 0; i < n; i++) {
            assert_true(fabsf(z[i] - y[i]) <= 1e-5f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_counts),
                                       cmocka_unit_test(test_differences), cmocka_unit_test(test_clamped_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
