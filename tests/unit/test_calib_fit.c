/* Parameters from a calibration's histograms, against exhaustive search over the values themselves and the constants of
 * the ACIQ paper (Banner et al., Post training 4-bit quantization, 2019: table of optimal clipping values). */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "calib/tally.h"
#include "quern/codes.h"

enum { N = 20000 };
static float x[N];

typedef struct {
    const char *name;
    float (*draw)(uint64_t *random);
} shape;

static float draw_normal(uint64_t *random)
{
    double u = (double)qn_test_uniform(random, 1e-7F, 1), v = (double)qn_test_uniform(random, 0, 6.2831853F);
    return (float)(sqrt(-2 * log(u)) * cos(v));
}

static float draw_laplace(uint64_t *random)
{
    float u = qn_test_uniform(random, 1e-7F, 1);
    return (qn_test_random(random) & 1024) != 0 ? logf(u) : -logf(u);
}

/* A long tail on one side, a short one on the other. */
static float draw_skewed(uint64_t *random)
{
    float v = draw_laplace(random);
    return v < 0 ? 0.2F * v : 3 * v * v;
}

static float draw_half(uint64_t *random)
{
    float v = draw_laplace(random);
    return v > 0 ? v : 0;
}

static float draw_negative(uint64_t *random)
{
    return -fabsf(draw_normal(random));
}

static const shape shapes[] = {{"normal", draw_normal},
                               {"laplace", draw_laplace},
                               {"skewed", draw_skewed},
                               {"half", draw_half},
                               {"negative", draw_negative}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static qn_format parse(const char *text)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, text, &err), &err);
    return f;
}

/* A calibration with the value "v" that holds x. */
static qn_calibration *calibration_of(const float *values, int64_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_calibration *c = qn_alloc(sizeof *c);
    assert_non_null(c);
    qn_range *range;
    qn_range_arrays arrays;
    qn_assert_ok(qn_calibration_add_arrays(c, "v", 0, true, &range, &arrays, &err), &err);
    range->min = range->max = values[0];
    for (int64_t i = 0; i < n; i++) {
        range->min = fminf(range->min, values[i]), range->max = fmaxf(range->max, values[i]);
    }
    qn_tally tally = {.n = n, .counts = calloc(QN_TALLY_LENGTH, sizeof(int64_t))};
    assert_non_null(tally.counts);
    qn_tally_reach(&tally, range->min, range->max);
    qn_count_grid grid = qn_tally_grid(&tally);
    tally.n_zeros = qn_count_f32_reference(values, n, &grid);
    qn_histogram *histogram;
    qn_assert_ok(qn_tally_histogram(&histogram, &tally, false, range->min, range->max, &err), &err);
    qn_calibration_keep(c, range, histogram);
    free(tally.counts);
    return c;
}

static void fill(const shape *s)
{
    uint64_t random = 11;
    for (int i = 0; i < N; i++) {
        x[i] = s->draw(&random);
    }
}

/* Error of x, clamped to lo..hi, of all but each `step`th value. */
static double error_under(const char *format, qn_params p, double lo, double hi, bool squared, int step)
{
    qn_format f = parse(format);
    double sum = 0;
    for (int i = 0; i < N; i += step) {
        double v = fmin(fmax((double)x[i], lo), hi);
        double d = qn_format_value(f, &p, qn_format_code(f, &p, v, 0)) - v;
        sum += squared ? d * d : fabs(d);
    }
    return sum;
}

static qn_params fit(const qn_calibration *c, const char *format, const char *rule, double lo, double hi)
{
    qn_error err;
    qn_error_init(&err);
    qn_params p;
    qn_assert_ok(qn_calibration_fit(c, "v", parse(format), rule, lo, hi, &p, &err), &err);
    return p;
}

static qn_params of_range(const qn_calibration *c, const char *format, double lo, double hi)
{
    char rule[96];
    snprintf(rule, sizeof rule, "range=%.17g,%.17g", lo, hi);
    return fit(c, format, rule, -INFINITY, INFINITY);
}

/* No range of a grid over both ends has a lesser error, by more than a percent, than what was found in the histogram. */
static void check_search(const qn_calibration *c, const char *name, const char *format, const char *rule, double lo,
                         double hi)
{
    enum { GRID = 16, STEP = 16 };
    const bool squared = strcmp(rule, "mse") == 0;
    const qn_range *range = qn_calibration_find(c, "v");
    double min = fmin(fmax((double)range->min, lo), hi), max = fmin(fmax((double)range->max, lo), hi);
    qn_params found = fit(c, format, rule, lo, hi), best = found;
    double found_sample = error_under(format, found, lo, hi, squared, STEP), least = found_sample;
    for (int a = 0; a <= GRID; a++) {
        for (int b = 1; b <= GRID; b++) {
            if (min * a / GRID > max * b / GRID) {
                continue;
            }
            qn_params p = of_range(c, format, min * a / GRID, max * b / GRID);
            double error = error_under(format, p, lo, hi, squared, STEP);
            if (error < least) {
                best = p, least = error;
            }
        }
    }
    double error = error_under(format, found, lo, hi, squared, 1);
    double other = error_under(format, best, lo, hi, squared, 1);
    if (error > 1.01 * other) {
        fail_msg("%s, %s %s in %g..%g: error %.6g with scale %g, %.6g with %g", name, format, rule, lo, hi, error,
                 (double)found.scale, other, (double)best.scale);
    }
}

static void searches_find_what_a_grid_over_both_ends_finds(void **state)
{
    (void)state;
    static const char *const formats[] = {"uint4", "int4", "uint8", "uint3", "pipeedge<4>"};
    for (int s = 0; s < N_SHAPES; s++) {
        fill(&shapes[s]);
        qn_calibration *c = calibration_of(x, N);
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            check_search(c, shapes[s].name, formats[f], "mse", -INFINITY, INFINITY);
            check_search(c, shapes[s].name, formats[f], "l1", -INFINITY, INFINITY);
            check_search(c, shapes[s].name, formats[f], "mse", 0, 1.5);
        }
        qn_calibration_free(c);
    }
}

/* Enough values for the bins of a histogram. */
enum { MANY = 1 << 21 };
static float many[MANY];

static void fill_many(const shape *s)
{
    uint64_t random = 12;
    for (int i = 0; i < MANY; i++) {
        many[i] = s->draw(&random);
    }
}

/* Divergence of the many in 512 bins over min..max from what quantizing leaves, by its definition, zeros left out. */
static double divergence(const char *format, const qn_params *p, double min, double max)
{
    enum { BINS = 512 };
    static double count[BINS], inner[BINS];
    static uint32_t code[BINS];
    qn_format f = parse(format);
    qn_format_limits limits;
    qn_format_limits_get(&limits, f, p);
    double width = (max - min) / BINS, sum = 0, below = 0, above = 0, n_inner = 0;
    memset(inner, 0, sizeof inner);
    for (int i = 0; i < MANY; i++) {
        if ((double)many[i] < limits.lowest) {
            below++;
        } else if ((double)many[i] > limits.highest) {
            above++;
        } else if (many[i] != 0) {
            inner[(int)fmin(fmax(floor(((double)many[i] - min) / width), 0), BINS - 1)]++;
            n_inner++;
        }
    }
    memcpy(count, inner, sizeof inner);
    int first = 0, last = BINS - 1;
    for (; first < last && inner[first] == 0; first++) {
    }
    for (; last > first && inner[last] == 0; last--) {
    }
    count[first] += below, count[last] += above;
    const double n = n_inner + below + above;
    for (int i = 0; i < BINS; i++) {
        code[i] = qn_format_code(f, p, min + (i + 0.5) * width, 0);
    }
    for (int i = 0, end; i < BINS; i = end) {
        double mass = 0;
        int used = 0;
        for (end = i; end < BINS && code[end] == code[i]; end++) {
            mass += inner[end];
            used += count[end] > 0 ? 1 : 0;
        }
        for (int k = i; k < end; k++) {
            sum += count[k] > 0 ? count[k] / n * log(count[k] / n / (mass / used / n_inner)) : 0;
        }
    }
    return sum;
}

/* The divergence that kl finds is no worse than that of any range of a grid, in bins of another make. */
static void kl_is_no_worse_than_a_grid(void **state)
{
    (void)state;
    enum { GRID = 20 };
    for (int s = 0; s < 4; s++) {
        fill_many(&shapes[s]);
        qn_calibration *c = calibration_of(many, MANY);
        const qn_range *r = qn_calibration_find(c, "v");
        double min = (double)r->min, max = (double)r->max;
        qn_params found = fit(c, "uint4", "kl", -INFINITY, INFINITY);
        double d = divergence("uint4", &found, min, max), least = INFINITY;
        for (int i = 1; i <= GRID; i++) {
            qn_params p = of_range(c, "uint4", min * i / GRID, max * i / GRID);
            least = fmin(least, divergence("uint4", &p, min, max));
        }
        if (d > 1.1 * least) {
            fail_msg("%s: divergence %g, of a grid %g", shapes[s].name, d, least);
        }
        qn_calibration_free(c);
    }
}

/* Squared error of some of the many by a rule, over that of the whole range. */
static double error_against_minmax(const qn_calibration *c, const char *format, const char *rule)
{
    memcpy(x, many, sizeof x);
    qn_params whole = fit(c, format, "minmax", 0, INFINITY), found = fit(c, format, rule, 0, INFINITY);
    return error_under(format, found, 0, INFINITY, true, 1) / error_under(format, whole, 0, INFINITY, true, 1);
}

/* Most outputs of a Relu are zeros. They must not make kl cut off the others: at 8 bits it costs little against the whole
 * range, at 4 bits it is the better one. */
static void kl_serves_among_many_zeros(void **state)
{
    (void)state;
    for (int share = 1; share <= 9; share += 4) {
        fill_many(&shapes[1]);
        for (int i = 0; i < MANY; i++) {
            many[i] = i % 10 < share || many[i] < 0 ? 0 : many[i];
        }
        qn_calibration *c = calibration_of(many, MANY);
        double at_8 = error_against_minmax(c, "uint8", "kl"), at_4 = error_against_minmax(c, "uint4", "kl");
        if (!(at_8 < 1.6 && at_4 < 0.9)) { /* 2 dB worse, 0.5 dB better */
            fail_msg("squared error over that of the whole range: %g at 8 bits, %g at 4", at_8, at_4);
        }
        qn_calibration_free(c);
    }
}

/* Zeros have no say in the divergence: with more of them the parameters are the same. */
static void kl_takes_no_notice_of_zeros(void **state)
{
    (void)state;
    enum { ZEROS = MANY / 4 };
    for (int s = 1; s < 4; s++) {
        fill_many(&shapes[s]);
        for (int i = 0; i < ZEROS; i++) {
            many[i] = 0;
        }
        qn_calibration *more = calibration_of(many, MANY), *fewer = calibration_of(many + ZEROS - 1, MANY - ZEROS + 1);
        qn_params a = fit(more, "uint6", "kl", -INFINITY, INFINITY), b = fit(fewer, "uint6", "kl", -INFINITY, INFINITY);
        qn_params whole = fit(more, "uint6", "minmax", -INFINITY, INFINITY);
        assert_true(a.scale == b.scale && a.zero_point == b.zero_point && a.scale < whole.scale);
        qn_calibration_free(more);
        qn_calibration_free(fewer);
    }
}

/* What chance makes of few values is no reason to clip them. */
static void kl_of_few_values_is_the_whole_range(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        fill(&shapes[s]);
        qn_calibration *c = calibration_of(x, 1000);
        qn_params p = fit(c, "uint8", "kl", -INFINITY, INFINITY),
                  whole = fit(c, "uint8", "minmax", -INFINITY, INFINITY);
        assert_true(p.scale == whole.scale && p.zero_point == whole.zero_point);
        qn_calibration_free(c);
    }
}

/* What a clamp leaves: minmax and percentiles of clamped values. */
static void clamps_come_first(void **state)
{
    (void)state;
    fill(&shapes[0]);
    qn_calibration *c = calibration_of(x, N);
    const qn_range *r = qn_calibration_find(c, "v");
    qn_params p = fit(c, "uint8", "minmax", 0, 2);
    assert_true(p.zero_point == 0 && p.scale == 2.0F / 255);
    p = fit(c, "uint8", "minmax", 0, INFINITY);
    assert_true(p.zero_point == 0 && p.scale == r->max / 255);
    p = fit(c, "uint8", "minmax", -INFINITY, 0);
    assert_true(p.zero_point == 255 && p.scale == -r->min / 255);
    p = fit(c, "uint8", "mse", 0, 0); /* nothing but zeros */
    assert_true(p.scale > 0 && isfinite(p.scale));
    /* Half of all values become 0, so the quantile 0.99 of the clamped ones is that of all, 2.326 of a normal. */
    p = fit(c, "uint8", "percentile:98", 0, INFINITY);
    assert_true(p.zero_point == 0 && fabs((double)p.scale * 255 - 2.3263) < 0.06);
    p = fit(c, "uint8", "percentile:98", 0, 1);
    assert_true(fabs((double)p.scale * 255 - 1) < 1e-6);
    qn_calibration_free(c);
}

/* Clipping values in deviations: b of the Laplace density, sigma of the normal one; those of a ReLU are one bit up. */
static void aciq_has_the_constants_of_its_paper(void **state)
{
    (void)state;
    static const struct {
        int shape;
        const char *format;
        double lo, expected;
    } rows[] = {
        {1, "pipeedge<2>", -INFINITY, 2.83},
        {1, "pipeedge<3>", -INFINITY, 3.89},
        {1, "pipeedge<4>", -INFINITY, 5.03},
        {1, "pipeedge<6>", -INFINITY, 7.41},
        {0, "pipeedge<2>", -INFINITY, 1.71},
        {0, "pipeedge<3>", -INFINITY, 2.15},
        {0, "pipeedge<4>", -INFINITY, 2.55},
        {0, "pipeedge<7>", -INFINITY, 3.61},
        {1, "int4", -INFINITY, 5.03},
        {1, "uint3", 0, 5.03},
        {1, "uint2", 0, 3.89},
        {0, "uint3", 0, 2.55},
        {0, "uint2", 0, 2.15},
        {1, "int4", 0, 5.03},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fill(&shapes[rows[i].shape]);
        qn_calibration *c = calibration_of(x, N);
        qn_params p = fit(c, rows[i].format, "aciq", rows[i].lo, INFINITY);
        qn_format_limits limits;
        qn_format_limits_get(&limits, parse(rows[i].format), &p);
        if (fabs(limits.highest - rows[i].expected) > 0.03 * rows[i].expected) {
            fail_msg("%s %s from %g: clips at %g, the paper at %g", shapes[rows[i].shape].name, rows[i].format,
                     rows[i].lo, limits.highest, rows[i].expected);
        }
        qn_calibration_free(c);
    }
}

static void what_cannot_be_fitted_is_refused(void **state)
{
    (void)state;
    qn_error err;
    qn_params p;
    fill(&shapes[0]);
    qn_calibration *c = calibration_of(x, N);
    static const struct {
        const char *name, *rule;
        double lo, hi;
        const char *fragment;
    } rows[] = {{"w", "mse", 0, 1, "no value"},
                {"v", "msee", 0, 1, "'mse'"},
                {"v", "mse", 1, 0, "empty"},
                {"v", "mse", NAN, 1, "empty"},
                {"v", "params=x.json", 0, 1, "file of parameters"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error_init(&err);
        qn_status status =
            qn_calibration_fit(c, rows[i].name, parse("int8"), rows[i].rule, rows[i].lo, rows[i].hi, &p, &err);
        qn_assert_fails(status, &err, QN_EINVAL, rows[i].fragment);
    }
    qn_histogram_free(c->histograms[0]); /* as from an old file */
    c->histograms[0] = NULL;
    c->ranges[0].histogram = NULL;
    qn_error_init(&err);
    p = fit(c, "uint8", "minmax", 0, 2);
    assert_true(p.zero_point == 0 && p.scale == 2.0F / 255);
    qn_assert_fails(qn_calibration_fit(c, "v", parse("int8"), "kl", 0, 1, &p, &err), &err, QN_EINVAL, "no histogram");
    assert_true(qn_range_outlier_ratio(qn_calibration_find(c, "v")) == 1);
    qn_calibration_free(c);
}

/* Whatever the values, every rule gives finite parameters. */
static void odd_values_give_finite_parameters(void **state)
{
    (void)state;
    static const float sets[][4] = {
        {0, 0, 0, 0},    {3, 3, 3, 3}, {1, -1, 1e30F, 2}, {1e-45F, -1e-45F, 0, 1e-40F}, {3.4e38F, -3.4e38F, 1, 0},
        {-2, -2, -2, -2}};
    static const char *const rules[] = {"format", "minmax", "percentile:99.99", "abs-percentile:99.9", "mse", "l1",
                                        "kl",     "aciq",   "aciq-laplace"};
    static const char *const formats[] = {"int8", "uint8", "uint4", "adaptivfloat<8,3>", "int8:po2"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        qn_calibration *c = calibration_of(sets[i], 4);
        for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
            for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
                for (int relu = 0; relu < 2; relu++) {
                    qn_params p = fit(c, formats[f], rules[r], relu != 0 ? 0 : -INFINITY, INFINITY);
                    assert_true(isfinite(p.scale) && p.scale > 0 && isfinite(p.shift));
                }
            }
        }
        qn_calibration_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_find_what_a_grid_over_both_ends_finds),
        cmocka_unit_test(kl_is_no_worse_than_a_grid),
        cmocka_unit_test(kl_serves_among_many_zeros),
        cmocka_unit_test(kl_takes_no_notice_of_zeros),
        cmocka_unit_test(kl_of_few_values_is_the_whole_range),
        cmocka_unit_test(clamps_come_first),
        cmocka_unit_test(aciq_has_the_constants_of_its_paper),
        cmocka_unit_test(what_cannot_be_fitted_is_refused),
        cmocka_unit_test(odd_values_give_finite_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
