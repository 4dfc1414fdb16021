/* Rounding of weights on plain arrays, against every rounding there is and against GPTQ as the paper writes it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ptq/rounding.h"
#include "support.h"

enum { MAX_K = 24 };

/* Products of n correlated inputs. */
static void random_products(double *h, int64_t k, int n, uint64_t *seed)
{
    memset(h, 0, (size_t)(k * k) * sizeof *h);
    for (int p = 0; p < n; p++) {
        double z[MAX_K], common = (double)qn_test_uniform(seed, -1, 1);
        for (int64_t i = 0; i < k; i++) {
            z[i] = (1 + (double)(i % 3)) * ((double)qn_test_uniform(seed, -1, 1) + common);
        }
        for (int64_t i = 0; i < k * k; i++) {
            h[i] += z[i / k] * z[i % k];
        }
    }
}

static void random_weights(double *w, int64_t k, uint64_t *seed)
{
    for (int64_t i = 0; i < k; i++) {
        w[i] = (double)qn_test_uniform(seed, -1, 1);
    }
}

/* The definition, term by term. */
static double plain_loss(const double *h, const double *v, const double *t, int64_t k)
{
    double loss = 0;
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) {
            loss += (v[i] - t[i]) * h[i * k + j] * (v[j] - t[j]);
        }
    }
    return loss;
}

/* The least loss of all combinations of the `n_near` codes around each target, by trying all. */
static double brute_force(const double *h, const double *t, double scale, const qn_round_grid *grid, int64_t k)
{
    double best = INFINITY, v[MAX_K];
    for (uint32_t choice = 0; choice < 1u << k; choice++) {
        for (int64_t i = 0; i < k; i++) {
            double below = floor(t[i] / scale), code = below + (double)(choice >> i & 1u);
            code = code < grid->lo ? grid->lo : code > grid->hi ? grid->hi : code;
            v[i] = code * scale;
        }
        double loss = plain_loss(h, v, t, k);
        best = loss < best ? loss : best;
    }
    return best;
}

static void test_descent_is_near_the_best_of_all_roundings(void **state)
{
    (void)state;
    const qn_round_grid grid = {.lo = -7, .hi = 7};
    uint64_t seed = 11;
    double total = 0, total_best = 0;
    for (int round = 0; round < 60; round++) {
        int64_t k = 2 + round % 9;
        double h[MAX_K * MAX_K], w[MAX_K], work[6 * MAX_K], scale = 1.0 / 7;
        int32_t codes[MAX_K], nearest[MAX_K];
        random_products(h, k, 3 * MAX_K, &seed);
        random_weights(w, k, &seed);
        qn_error err;
        qn_error_init(&err);
        qn_round_metric metric;
        qn_assert_ok(qn_round_metric_make(&metric, h, k, 1e-9, "test", &err), &err);
        qn_round_channel channel = {&metric, &grid, w, &scale, k};
        qn_round_each(&channel, nearest);
        double loss_nearest = qn_round_loss(&channel, nearest, work);
        double loss_feed = qn_round_feed(&channel, codes, work);
        double loss = qn_round_descend(&channel, codes, INT32_MAX, true, work);
        double from_nearest = qn_round_descend(&channel, nearest, INT32_MAX, true, work);
        double best = brute_force(metric.h, w, scale, &grid, k);
        assert_true(loss <= loss_feed * (1 + 1e-9));
        assert_true(from_nearest <= loss_nearest * (1 + 1e-9));
        loss = loss < from_nearest ? loss : from_nearest;
        assert_true(loss <= loss_nearest * (1 + 1e-9));
        total += loss;
        total_best += best;
        qn_round_metric_free(&metric);
    }
    assert_true(total <= 1.01 * total_best);
}

static void test_reach_keeps_codes_near_their_targets(void **state)
{
    (void)state;
    const qn_round_grid grid = {.lo = -127, .hi = 127};
    uint64_t seed = 5;
    int moved = 0;
    for (int round = 0; round < 40; round++) {
        int64_t k = 16;
        double h[MAX_K * MAX_K], w[MAX_K], work[6 * MAX_K], scale = 1.0 / 127;
        int32_t codes[MAX_K], nearest[MAX_K];
        random_products(h, k, 40, &seed);
        random_weights(w, k, &seed);
        qn_error err;
        qn_error_init(&err);
        qn_round_metric metric;
        qn_assert_ok(qn_round_metric_make(&metric, h, k, 0.01, "test", &err), &err);
        qn_round_channel channel = {&metric, &grid, w, &scale, k};
        qn_round_each(&channel, nearest);
        memcpy(codes, nearest, sizeof codes);
        qn_round_descend(&channel, codes, 1, true, work);
        for (int64_t i = 0; i < k; i++) {
            assert_true(abs(codes[i] - nearest[i]) <= 1);
            moved += codes[i] != nearest[i];
        }
        qn_round_metric_free(&metric);
    }
    assert_true(moved > 0);
}

/* Gauss-Jordan, with the greatest pivot. */
static void invert(double *inverse, const double *matrix, int64_t n)
{
    double a[MAX_K * MAX_K];
    memcpy(a, matrix, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n * n; i++) {
        inverse[i] = i / n == i % n;
    }
    for (int64_t c = 0; c < n; c++) {
        int64_t pivot = c;
        for (int64_t r = c; r < n; r++) {
            pivot = fabs(a[r * n + c]) > fabs(a[pivot * n + c]) ? r : pivot;
        }
        for (int64_t j = 0; j < n; j++) {
            double swap = a[c * n + j];
            a[c * n + j] = a[pivot * n + j];
            a[pivot * n + j] = swap;
            swap = inverse[c * n + j];
            inverse[c * n + j] = inverse[pivot * n + j];
            inverse[pivot * n + j] = swap;
        }
        double by = a[c * n + c];
        for (int64_t j = 0; j < n; j++) {
            a[c * n + j] /= by;
            inverse[c * n + j] /= by;
        }
        for (int64_t r = 0; r < n; r++) {
            double f = a[r * n + c];
            for (int64_t j = 0; j < n && r != c; j++) {
                a[r * n + j] -= f * a[c * n + j];
                inverse[r * n + j] -= f * inverse[c * n + j];
            }
        }
    }
}

/* GPTQ as Frantar et al. state it (equation 2): round the input of greatest H_ii, subtract
 * (w_q - v_q) / [H_F^-1]_qq * [H_F^-1]_:,q from the weights left, where H_F is H of the inputs left, inverted anew each
 * time. */
static void reference_gptq(const double *h, const double *t, double scale, const qn_round_grid *grid, int64_t k,
                           int32_t *codes)
{
    double w[MAX_K], part[MAX_K * MAX_K], inverse[MAX_K * MAX_K];
    int64_t left[MAX_K], n = k;
    memcpy(w, t, (size_t)k * sizeof *w);
    for (int64_t i = 0; i < k; i++) {
        left[i] = i;
    }
    for (; n > 0; n--) {
        int64_t at = 0;
        for (int64_t i = 0; i < n; i++) {
            at = h[left[i] * k + left[i]] >= h[left[at] * k + left[at]] ? i : at;
        }
        for (int64_t i = 0; i < n * n; i++) {
            part[i] = h[left[i / n] * k + left[i % n]];
        }
        invert(inverse, part, n);
        int64_t q = left[at];
        double code = rint(w[q] / scale);
        code = code < grid->lo ? grid->lo : code > grid->hi ? grid->hi : code;
        codes[q] = (int32_t)code;
        double error = (w[q] - code * scale) / inverse[at * n + at];
        for (int64_t i = 0; i < n; i++) {
            w[left[i]] -= error * inverse[i * n + at];
        }
        memmove(left + at, left + at + 1, (size_t)(n - at - 1) * sizeof *left);
    }
}

static void test_feedback_is_gptq(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int differs = 0;
    for (int round = 0; round < 80; round++) {
        int64_t k = 2 + round % (MAX_K - 1);
        qn_round_grid grid = {.lo = round % 2 ? -7 : -128, .hi = round % 2 ? 7 : 127};
        double h[MAX_K * MAX_K], w[MAX_K], work[6 * MAX_K], v[MAX_K], scale = round % 2 ? 0.15 : 0.0081;
        int32_t codes[MAX_K], expected[MAX_K], nearest[MAX_K];
        random_products(h, k, 2 * MAX_K, &seed);
        random_weights(w, k, &seed);
        qn_error err;
        qn_error_init(&err);
        qn_round_metric metric;
        qn_assert_ok(qn_round_metric_make(&metric, h, k, 0.01, "test", &err), &err);
        qn_round_channel channel = {&metric, &grid, w, &scale, k};
        double loss = qn_round_feed(&channel, codes, work);
        reference_gptq(metric.h, w, scale, &grid, k, expected);
        qn_round_each(&channel, nearest);
        for (int64_t i = 0; i < k; i++) {
            assert_int_equal(codes[i], expected[i]);
            differs += codes[i] != nearest[i];
            v[i] = codes[i] * scale;
        }
        double plain = plain_loss(metric.h, v, w, k);
        assert_true(fabs(loss - plain) <= 1e-9 * plain);
        assert_true(fabs(qn_round_loss(&channel, codes, work) - plain) <= 1e-9 * plain);
        qn_round_metric_free(&metric);
    }
    assert_true(differs > 100);
}

static void test_target_solves_the_damped_equations(void **state)
{
    (void)state;
    uint64_t seed = 17;
    int64_t k = 20;
    double h[MAX_K * MAX_K], g[MAX_K * MAX_K], w[MAX_K], t[MAX_K], work[6 * MAX_K];
    random_products(h, k, 90, &seed);
    for (int64_t i = 0; i < k * k; i++) {
        g[i] = h[i] + (double)qn_test_uniform(&seed, -1, 1); /* not symmetric */
    }
    random_weights(w, k, &seed);
    qn_error err;
    qn_error_init(&err);
    qn_round_metric metric;
    qn_assert_ok(qn_round_metric_make(&metric, h, k, 0.01, "test", &err), &err);
    qn_round_targets(t, &metric, g, w, 1, work);
    for (int64_t i = 0; i < k; i++) {
        double left = metric.damping * (t[i] - w[i]), right = 0;
        for (int64_t j = 0; j < k; j++) {
            left += h[i * k + j] * t[j];
            right += g[i * k + j] * w[j];
        }
        assert_true(fabs(left - right) < 1e-9 * (1 + fabs(right)));
    }
    enum { MANY = 2 * QN_ROUND_TARGETS_AT_ONCE + 3 };
    double many[MANY * MAX_K], targets[MANY * MAX_K], room[QN_ROUND_TARGETS_AT_ONCE * MAX_K];
    for (int64_t c = 0; c < MANY; c++) {
        random_weights(many + c * k, k, &seed);
    }
    qn_round_targets(targets, &metric, g, many, MANY, room);
    for (int64_t c = 0; c < MANY; c++) { /* each as if it were alone */
        qn_round_targets(t, &metric, g, many + c * k, 1, work);
        assert_memory_equal(targets + c * k, t, (size_t)k * sizeof *t);
    }
    qn_round_targets(t, &metric, NULL, w, 1, work);
    assert_memory_equal(t, w, (size_t)k * sizeof *t);
    qn_round_metric_free(&metric);
}

/* Inputs that are always zero, or always equal, leave H singular. */
static void test_singular_products_are_damped(void **state)
{
    (void)state;
    const qn_round_grid grid = {.lo = -7, .hi = 7};
    double zero[9] = {0}, equal[9] = {4, 4, 4, 4, 4, 4, 4, 4, 4}, dead[9] = {2, 0, 1, 0, 0, 0, 1, 0, 2};
    const double *all[3] = {zero, equal, dead};
    for (int m = 0; m < 3; m++) {
        double w[3] = {0.31, -0.77, 0.5}, scale = 0.11, work[18];
        int32_t codes[3];
        qn_error err;
        qn_error_init(&err);
        qn_round_metric metric;
        qn_assert_ok(qn_round_metric_make(&metric, all[m], 3, 1e-20, "test", &err), &err);
        assert_true(metric.damping > 0);
        qn_round_channel channel = {&metric, &grid, w, &scale, 3};
        double loss = qn_round_feed(&channel, codes, work);
        assert_true(loss >= 0 && loss < 1);
        qn_round_metric_free(&metric);
    }
    double bad[4] = {NAN, 0, 0, 1};
    qn_error err;
    qn_error_init(&err);
    qn_round_metric metric;
    qn_assert_fails(qn_round_metric_make(&metric, bad, 2, 0.01, "node 3", &err), &err, QN_ERANGE, "node 3");
}

/* A grid that is not uniform: levels of a tiny float, checked by trying all. */
static void test_levels(void **state)
{
    (void)state;
    const double levels[] = {-6, -3, -1.5, -0.5, 0, 0.5, 1.5, 3, 6};
    const qn_round_grid grid = {.lo = -4, .hi = 4, .levels = levels};
    uint64_t seed = 29;
    for (int round = 0; round < 2000; round++) {
        double x = (double)qn_test_uniform(&seed, -8, 8), best = INFINITY;
        for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
            best = fabs(levels[i] - x) < best ? fabs(levels[i] - x) : best;
        }
        int32_t code = qn_round_nearest(&grid, x);
        assert_in_range(code + 4, 0, 8);
        assert_true(fabs(qn_round_value(&grid, code) - x) == best);
    }
    assert_int_equal(qn_round_nearest(&grid, INFINITY), 4);
    assert_int_equal(qn_round_nearest(&grid, -INFINITY), -4);
    assert_int_equal(qn_round_nearest(&grid, NAN), -4);
    double h[36], w[6], work[36], scale[3] = {0.1, 0.2, 0.3};
    int32_t codes[6];
    random_products(h, 6, 40, &seed);
    random_weights(w, 6, &seed);
    qn_error err;
    qn_error_init(&err);
    qn_round_metric metric;
    qn_assert_ok(qn_round_metric_make(&metric, h, 6, 0.01, "test", &err), &err);
    qn_round_channel channel = {&metric, &grid, w, scale, 2}; /* blocks of two inputs */
    qn_round_each(&channel, codes);
    double nearest = qn_round_loss(&channel, codes, work), fed = qn_round_feed(&channel, codes, work);
    double least = qn_round_descend(&channel, codes, INT32_MAX, true, work), best = INFINITY;
    for (int all = 0; all < 9 * 9 * 9 * 9 * 9 * 9; all++) {
        double v[6];
        for (int i = 0, rest = all; i < 6; i++, rest /= 9) {
            v[i] = levels[rest % 9] * scale[i / 2];
        }
        double loss = plain_loss(metric.h, v, w, 6);
        best = loss < best ? loss : best;
    }
    assert_true(least >= best * (1 - 1e-9) && least <= fed * (1 + 1e-9));
    assert_true(least <= nearest);
    qn_round_metric_free(&metric);
}

/* Grids of formats against the format room's own rounding. */
static void test_grids_of_formats_hold_their_values(void **state)
{
    (void)state;
    static const char *const names[] = {"int4:narrow", "int8",          "adaptivfloat<6,3>",
                                        "fp4e2m1",     "float<4,3,fn>", "ternary"};
    uint64_t seed = 31;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_format format;
        qn_round_grid grid;
        double levels[QN_ROUND_LEVELS];
        qn_assert_ok(qn_format_parse(&format, names[i], &err), &err);
        qn_assert_ok(qn_round_grid_of_format(&grid, levels, format, "test", &err), &err);
        const qn_params neutral = {.scale = 1, .multiplier = 1};
        qn_format_limits limits;
        qn_format_limits_get(&limits, format, &neutral);
        assert_true(qn_round_value(&grid, grid.lo) == limits.lowest &&
                    qn_round_value(&grid, grid.hi) == limits.highest);
        for (int32_t code = grid.lo; code <= grid.hi; code++) {
            double value = qn_round_value(&grid, code);
            assert_true(qn_format_value(format, &neutral, qn_format_code(format, &neutral, value, 0)) == value);
            assert_true(code == grid.lo || value > qn_round_value(&grid, code - 1));
            assert_int_equal(qn_round_nearest(&grid, value), code);
        }
        for (int n = 0; n < 3000 && format.kind != QN_FORMAT_TERNARY; n++) { /* ternary has a threshold of its own */
            double x = (double)qn_test_uniform(&seed, (float)limits.lowest, (float)limits.highest);
            double theirs = qn_format_value(format, &neutral, qn_format_code(format, &neutral, x, 0));
            assert_true(fabs(qn_round_value(&grid, qn_round_nearest(&grid, x)) - x) <= fabs(theirs - x));
        }
    }
    qn_error err;
    qn_error_init(&err);
    qn_format format;
    qn_round_grid grid;
    double levels[QN_ROUND_LEVELS];
    qn_assert_ok(qn_format_parse(&format, "fp16", &err), &err);
    qn_assert_fails(qn_round_grid_of_format(&grid, levels, format, "node 1", &err), &err, QN_EUNSUPPORTED, "8 bits");
    const qn_round_grid any = {.hi = 1}, power = {.hi = 1, .step = QN_ROUND_SCALE_POWER_OF_TWO};
    assert_true(qn_round_grid_scale(&any, 0.3) == 0.3);
    assert_true(qn_round_grid_scale(&power, 0.3) == 0.5 && qn_round_grid_scale(&power, 0.25) == 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descent_is_near_the_best_of_all_roundings),
        cmocka_unit_test(test_reach_keeps_codes_near_their_targets),
        cmocka_unit_test(test_feedback_is_gptq),
        cmocka_unit_test(test_target_solves_the_damped_equations),
        cmocka_unit_test(test_singular_products_are_damped),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_grids_of_formats_hold_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
