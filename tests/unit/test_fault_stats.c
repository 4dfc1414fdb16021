/* Quantiles, intervals and sample sizes against published numbers and independent sums; coverage by enumeration and by
 * simulation. */
#include "support.h"

#include <math.h>

#include "fault/stats.h"

static void assert_close(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("%.17g is not %.17g to %g", got, want, tolerance);
    }
}

/* Of the double nearest to p, from mpmath with 40 digits; those of 0.75, 0.9, 0.95, 0.975, 0.99, 0.995 and 0.999 are in every table. */
static void normal_quantiles(void **state)
{
    (void)state;
    static const struct {
        double p, x;
    } rows[] = {
        {0.5000001, 2.5066282733116483e-7}, {0.6, 0.253347103135799741},    {0.74, 0.643345405392916937},
        {0.75, 0.674489750196081743},       {0.76, 0.706302562840087484},   {0.9, 1.28155156554460059},
        {0.95, 1.64485362695147228},        {0.975, 1.95996398454005386},   {0.99, 2.32634787404084077},
        {0.995, 2.57582930354890045},       {0.999, 3.09023230616781328},   {0.9995, 3.29052673149192578},
        {1e-3, -3.09023230616781354},       {1e-5, -4.26489079392282461},   {1e-10, -6.3613409024040562},
        {1e-20, -9.26234008979840758},      {1e-100, -21.2734535609653243}, {1e-300, -37.0470962993611992},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_close(qn_normal_quantile(rows[i].p), rows[i].x, 1e-14 * fabs(rows[i].x));
    }
    assert_true(qn_normal_quantile(0.5) == 0);
}

/* Quantiles from mpmath, by bisection of its incomplete beta function. */
static void beta_quantiles(void **state)
{
    (void)state;
    static const struct {
        double p, a, b, x;
    } rows[] = {
        {0.025, 81, 183, 0.25273674558527116},    {0.025, 1, 20, 0.0012650894979498038},
        {0.005, 3.5, 96.5, 0.005047624636900157}, {0.5, 0.5, 0.5, 0.5},
        {1e-6, 2.25, 1e6, 3.2688733879586598e-9}, {0.95, 0.01, 5, 0.00074462015795720053},
        {0.05, 300, 0.3, 0.99543063248238556},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const double steep = 1 + 0.1 / fmin(rows[i].a, rows[i].b); /* of x by p, where the density piles up at an end */
        assert_close(qn_beta_quantile(rows[i].p, rows[i].a, rows[i].b), rows[i].x, 1e-13 * steep * rows[i].x);
    }
    assert_true(qn_beta_quantile(0, 2, 3) == 0 && qn_beta_quantile(1, 2, 3) == 1);
    assert_true(qn_beta_quantile(0.025, 0.001, 1000) < 1e-300); /* below what a double can say: but it ends */
}

/* I_x(a, b) = P(X >= a), X binomial of a + b - 1 trials: the sum over all that is not negligible, in long double. */
static double binomial_tail(double x, int64_t a, int64_t b)
{
    const int64_t n = a + b - 1;
    const long double log_x = logl((long double)x), log_y = log1pl(-(long double)x);
    long double sum = 0,
                term = expl(lgammal((long double)n + 1) - lgammal((long double)a + 1) -
                            lgammal((long double)(n - a) + 1) + (long double)a * log_x + (long double)(n - a) * log_y);
    for (int64_t k = a; k <= n && (k - a < 10 || term > sum * 1e-22L || (double)k < (double)n * x); k++) {
        sum += term;
        term *= (long double)(n - k) / (long double)(k + 1) * (long double)x / (1 - (long double)x);
    }
    return (double)sum;
}

static void beta_against_binomial_sums(void **state)
{
    (void)state;
    static const struct {
        double x;
        int64_t a, b;
    } rows[] = {{0.3, 2, 3},        {0.001, 1, 1000},      {0.5, 50, 50},          {0.9, 40, 8},
                {0.02, 1, 2},       {0.013, 1300, 100000}, {0.4999, 50000, 50001}, {0.2501, 250000, 750000},
                {1e-5, 20, 1500000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const double want = binomial_tail(rows[i].x, rows[i].a, rows[i].b);
        const double got = qn_incomplete_beta(rows[i].x, (double)rows[i].a, (double)rows[i].b);
        assert_close(got, want, 2e-11 * want); /* lgammal's own error at 1e6 is about 1e-12 */
        const double tail = want < 0.5 ? want : 0.1;
        const double x = qn_beta_quantile(tail, (double)rows[i].a, (double)rows[i].b);
        const double back = binomial_tail(x, rows[i].a, rows[i].b);
        assert_close(back, tail, 2e-11 * tail);
    }
}

/* Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I. */
static void intervals_of_newcombe(void **state)
{
    (void)state;
    static const struct {
        double k, n, wilson[2], exact[2];
    } rows[] = {{81, 263, {0.2553, 0.3662}, {0.2527, 0.3676}},
                {15, 148, {0.0624, 0.1605}, {0.0578, 0.1617}},
                {0, 20, {0, 0.1611}, {0, 0.1684}},
                {1, 29, {0.0061, 0.1718}, {0.0009, 0.1776}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const qn_interval w = qn_wilson(rows[i].k, rows[i].n, 0.95), c = qn_clopper_pearson(rows[i].k, rows[i].n, 0.95);
        assert_close(w.low, rows[i].wilson[0], 0.5001e-4);
        assert_close(w.high, rows[i].wilson[1], 0.5001e-4);
        assert_close(c.low, rows[i].exact[0], 0.5001e-4);
        assert_close(c.high, rows[i].exact[1], 0.5001e-4);
        assert_true(w.rate == rows[i].k / rows[i].n && c.rate == w.rate);
        /* the complement is the mirror image */
        const qn_interval m = qn_wilson(rows[i].n - rows[i].k, rows[i].n, 0.95);
        assert_close(m.high, 1 - w.low, 1e-15);
        assert_close(m.low, 1 - w.high, 1e-15);
    }
}

static void intervals_at_the_ends(void **state)
{
    (void)state;
    for (int n = 1; n < 2000; n += 37) { /* no hits: 1 - (alpha / 2)^(1 / n), and z^2 / (n + z^2) */
        const qn_interval c = qn_clopper_pearson(0, n, 0.99), w = qn_wilson(0, n, 0.99);
        const double z = 2.5758293035489004;
        assert_true(c.low == 0 && w.low == 0);
        assert_close(c.high, 1 - pow(0.005, 1.0 / n), 1e-14);
        assert_close(w.high, z * z / (n + z * z), 1e-14);
        assert_true(qn_clopper_pearson(n, n, 0.99).high == 1 && qn_wilson(n, n, 0.99).high == 1);
    }
    assert_true(qn_wilson(0, 0, 0.9).high == 1 && qn_clopper_pearson(0, 0, 0.9).low == 0);
    const qn_interval tiny = qn_wilson(1e-9, 1e6, 0.95);
    assert_true(tiny.low > 0 && tiny.low <= 1e-15);
    const qn_interval large = qn_clopper_pearson(1e9, 4e9, 0.99); /* the normal one, by now */
    assert_close(large.high - 0.25, 2.5758293035489004 * sqrt(0.25 * 0.75 / 4e9), 2e-9);
}

/* Leveugle et al., "Statistical fault injection: quantified error and confidence", DATE 2009. */
static void sample_sizes(void **state)
{
    (void)state;
    const double t258 = erf(2.58 / sqrt(2.0)); /* the paper rounds t to 2.58 */
    assert_int_equal(qn_sample_size(INT64_MAX, 0.01, 0.99, 0.5), 16588);
    assert_int_equal(qn_sample_size(INT64_MAX, 0.01, t258, 0.5), 16641);
    assert_int_equal(qn_sample_size(INT64_MAX, 0.01, 0.95, 0.5), 9604);
    assert_int_equal(qn_sample_size(INT64_MAX, 0.05, 0.95, 0.5), 385);
    const int64_t populations[] = {1, 2, 10, 100, 5000, 123456, 10000000, INT64_C(1) << 50};
    for (size_t i = 0; i < sizeof populations / sizeof populations[0]; i++) {
        const long double n = (long double)populations[i], t = 2.5758293035489004L;
        const long double want = n / (1 + 0.01L * 0.01L * (n - 1) / (t * t * 0.25L));
        assert_int_equal(qn_sample_size(populations[i], 0.01, 0.99, 0.5), (int64_t)ceill(want - 1e-9L * want));
    }
    assert_int_equal(qn_sample_size(0, 0.01, 0.99, 0.5), 0);
    assert_int_equal(qn_sample_size(1000, 1e-9, 0.99, 0.5), 1000);
}

static void rates_of_few(void **state)
{
    (void)state;
    qn_fault_tally t = {.population = INT64_MAX};
    qn_interval none = qn_fault_rate(&t, 1, 0.95, true);
    assert_true(none.rate == 0 && none.low == 0 && none.high == 1);
    for (int i = 0; i < 20; i++) {
        qn_fault_tally_add(&t, 0, 100);
    }
    assert_close(qn_fault_rate(&t, 1, 0.95, true).high, 0.1684, 0.5e-4);  /* 0 of 20 faults, not of 2000 pairs */
    assert_close(qn_fault_rate(&t, 1, 0.95, false).high, 0.1684, 0.5e-4); /* few: the wider of the two */
    qn_fault_tally alike = {.population = INT64_MAX};
    for (int i = 0; i < 20; i++) { /* no variance */
        qn_fault_tally_add(&alike, 25, 100);
    }
    const qn_interval five = qn_clopper_pearson(5, 20, 0.95), got = qn_fault_rate(&alike, 1, 0.95, true);
    assert_close(got.low, five.low, 1e-12);
    assert_close(got.high, five.high, 1e-12);
    qn_fault_tally single = {.population = INT64_MAX}; /* one image each: plain trials */
    for (int i = 0; i < 263; i++) {
        qn_fault_tally_add(&single, i < 81, 1);
    }
    assert_close(qn_fault_rate(&single, 1, 0.95, true).low, 0.2527, 0.5e-4);
    assert_close(qn_fault_rate(&single, 1, 0.95, false).high, 0.3662, 0.5e-4);
}

static void exhausted_is_exact(void **state)
{
    (void)state;
    qn_fault_tally t[2] = {{.population = 3}, {.population = 2}};
    for (int i = 0; i < 3; i++) {
        qn_fault_tally_add(&t[0], i, 10);
    }
    qn_fault_tally_add(&t[1], 7, 10);
    qn_interval r = qn_fault_rate(t, 1, 0.99, true);
    assert_true(r.low == r.rate && r.high == r.rate);
    assert_close(r.rate, 0.1, 1e-15);
    r = qn_fault_rate(t, 2, 0.99, true); /* one fault in five is open: 0..10 of 50 */
    assert_close(r.rate, (3 + 14) / 50.0, 1e-15);
    assert_close(r.low, 10 / 50.0, 1e-15);
    assert_close(r.high, 20 / 50.0, 1e-15);
    qn_fault_tally_add(&t[1], 1, 10);
    r = qn_fault_rate(t, 2, 0.99, false);
    assert_true(r.low == r.high);
    assert_close(r.rate, 11 / 50.0, 1e-15);
    qn_fault_tally open[2] = {t[0], {.population = 7}}; /* nothing drawn of 7 in 10 */
    r = qn_fault_rate(open, 2, 0.99, true);
    assert_close(r.low, 0.03, 1e-15);
    assert_close(r.high, 0.73, 1e-15);
}

static double log_choose(int n, int k)
{
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
}

/* All-or-nothing faults, N of which K hit, n drawn: the probability that the interval covers K / N, summed over all that can be drawn. */
static void finite_populations_by_enumeration(void **state)
{
    (void)state;
    static const double confidences[] = {0.9, 0.95, 0.99};
    double worst = 1;
    for (int c = 0; c < 3; c++) {
        for (int population = 2; population <= 50; population += 6) {
            for (int n = 1; n < population; n++) {
                qn_interval intervals[50];
                for (int x = 0; x <= n; x++) {
                    qn_fault_tally t = {.population = population};
                    for (int i = 0; i < n; i++) {
                        qn_fault_tally_add(&t, i < x ? 20 : 0, 20);
                    }
                    intervals[x] = qn_fault_rate(&t, 1, confidences[c], true);
                }
                for (int hits = 0; hits <= population; hits++) {
                    double covered = 0;
                    for (int x = 0; x <= n; x++) {
                        const double rate = (double)hits / population;
                        if (x <= hits && n - x <= population - hits && intervals[x].low <= rate + 1e-12 &&
                            intervals[x].high >= rate - 1e-12) {
                            covered += exp(log_choose(hits, x) + log_choose(population - hits, n - x) -
                                           log_choose(population, n));
                        }
                    }
                    worst = fmin(worst, covered - confidences[c]);
                    if (covered < confidences[c] - 1e-9) {
                        fail_msg("%d of %d hit, %d drawn: covered %.4f at %g", hits, population, n, covered,
                                 confidences[c]);
                    }
                }
            }
        }
    }
    assert_true(worst < 0.05); /* and is not wide beyond need */
}

/* Populations for simulation: strata of faults that hit hits[i] of pairs[i]. */
enum { MOST_STRATA = 24, MOST_FAULTS = 4000, REPETITIONS = 200 };
typedef struct {
    int n_faults, n_drawn;
    bool infinite;
    int hits[MOST_FAULTS], pairs[MOST_FAULTS];
} stratum;
static stratum strata[MOST_STRATA];
static uint64_t seed;

static double uniform(void)
{
    return (double)(qn_test_random(&seed) >> 11) / 9007199254740992.0;
}

static int below(int n)
{
    return (int)(uniform() * n);
}

/* Faults number first..: a share hits all images, the others each with probability rest. */
static void fill(stratum *s, int n, int drawn, int pairs, double share, double rest_low, double rest_high)
{
    s->n_faults = n;
    s->n_drawn = drawn;
    s->infinite = false;
    for (int i = 0; i < n; i++) {
        const double rest = rest_low + (rest_high - rest_low) * uniform();
        s->pairs[i] = pairs;
        s->hits[i] = 0;
        for (int k = 0; k < pairs; k++) {
            s->hits[i] += i < share * n || uniform() < rest;
        }
    }
}

static int rare(void)
{
    fill(&strata[0], 4000, 150, 100, 0.02, 0, 0);
    return 1;
}
static int very_rare(void)
{
    fill(&strata[0], 4000, 300, 50, 0.001, 0, 0);
    return 1;
}
static int rare_over_noise(void)
{
    fill(&strata[0], 4000, 200, 100, 0.01, 0.005, 0.015);
    return 1;
}
static int rare_over_flat(void)
{
    fill(&strata[0], 4000, 100, 200, 0.015, 0.3, 0.3);
    return 1;
}
static int smooth(void)
{
    fill(&strata[0], 4000, 150, 100, 0, 0, 0.6);
    return 1;
}
static int small_sample(void)
{
    fill(&strata[0], 1000, 12, 100, 0.1, 0, 0.4);
    return 1;
}
static int single_image(void)
{
    fill(&strata[0], 1000, 400, 1, 0, 0.05, 0.05);
    return 1;
}
static int nearly_exhausted(void)
{
    fill(&strata[0], 1000, 950, 10, 0.03, 0, 0.1);
    return 1;
}
static int infinite(void)
{
    fill(&strata[0], 4000, 200, 30, 0.05, 0, 0.02);
    strata[0].infinite = true;
    return 1;
}
static int unequal_pairs(void)
{
    fill(&strata[0], 3000, 120, 40, 0.2, 0, 0.2);
    for (int i = 0; i < 3000; i += 3) {
        strata[0].pairs[i] = 4;
        strata[0].hits[i] = (strata[0].hits[i] + 9) / 10;
    }
    return 1;
}
static int by_bit(void)
{
    for (int bit = 0; bit < 8; bit++) { /* rates that double with every bit */
        fill(&strata[bit], 1000, 40, 50, 0.001 * (1 << bit), 0, 0.0004 * (1 << bit));
    }
    return 8;
}
static int layer_by_bit(void)
{
    for (int i = 0; i < 24; i++) { /* three layers, of 30, 300 and 3000 weights; the first is exhausted */
        const int layer = i / 8, bit = i % 8, n = layer == 0 ? 30 : layer == 1 ? 300 : 3000;
        fill(&strata[i], n, 30, 20, bit == 7 ? 0.2 : 0.0, 0, 0.002 * (1 << bit) / 4);
    }
    return 24;
}

static int heavy_and_rare(void)
{
    fill(&strata[0], 4000, 60, 50, 0.01, 0, 0); /* nine tenths of all, mostly without a hit in the sample */
    for (int h = 1; h < 8; h++) {
        fill(&strata[h], 64, 30, 50, 0.1, 0, 0.5);
    }
    return 8;
}
static int many_rare(void)
{
    for (int h = 0; h < 24; h++) {
        fill(&strata[h], 500, 25, 50, h == 23 ? 0.3 : 0.004, 0, 0);
    }
    return 24;
}

static int true_for(const stratum *s, int n, double *rate)
{
    double all = 0, hit = 0;
    for (int h = 0; h < n; h++) {
        for (int i = 0; i < s[h].n_faults; i++) {
            all += s[h].pairs[i];
            hit += s[h].hits[i];
        }
    }
    *rate = hit / all;
    return n;
}

static void draw(qn_fault_tally *tally, stratum *s)
{
    *tally = (qn_fault_tally){.population = s->infinite ? INT64_MAX : s->n_faults};
    for (int i = 0; i < s->n_drawn; i++) {
        const int k = s->infinite ? below(s->n_faults) : i + below(s->n_faults - i);
        qn_fault_tally_add(tally, s->hits[k], s->pairs[k]);
        if (!s->infinite) {
            const int hits = s->hits[k], pairs = s->pairs[k];
            s->hits[k] = s->hits[i];
            s->pairs[k] = s->pairs[i];
            s->hits[i] = hits;
            s->pairs[i] = pairs;
        }
    }
}

/* P(X <= k), X binomial. */
static double binomial_below(int k, int n, double p)
{
    double sum = 0;
    for (int i = 0; i <= k; i++) {
        sum += exp(log_choose(n, i) + i * log(p) + (n - i) * log1p(-p));
    }
    return sum;
}

static void coverage_by_simulation(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int (*make)(void);
        double width; /* at 95 %, Clopper-Pearson, no more than this: in one stratum what as many plain trials as
                       * faults give */
    } populations[] = {{"rare", rare, 0.055},
                       {"very rare", very_rare, 0.015},
                       {"rare over noise", rare_over_noise, 0.048},
                       {"rare over flat", rare_over_flat, 0.1},
                       {"smooth", smooth, 0.1},
                       {"small sample", small_sample, 0.55},
                       {"single image", single_image, 0.04},
                       {"nearly exhausted", nearly_exhausted, 0.008},
                       {"infinite", infinite, 0.08},
                       {"unequal pairs", unequal_pairs, 0.19},
                       {"by bit", by_bit, 0.05},
                       {"layer by bit", layer_by_bit, 0.05},
                       {"heavy and rare", heavy_and_rare, 0.12},
                       {"many rare", many_rare, 0.04}};
    static const double confidences[] = {0.9, 0.95, 0.99};
    for (size_t p = 0; p < sizeof populations / sizeof populations[0]; p++) {
        seed = 1000 + p;
        double rate;
        const int n = true_for(strata, populations[p].make(), &rate);
        int covered[3][2] = {{0}};
        double width = 0;
        for (int repetition = 0; repetition < REPETITIONS; repetition++) {
            qn_fault_tally tallies[MOST_STRATA];
            for (int h = 0; h < n; h++) {
                draw(&tallies[h], &strata[h]);
            }
            for (int c = 0; c < 3; c++) {
                for (int clopper = 0; clopper < 2; clopper++) {
                    const qn_interval r = qn_fault_rate(tallies, n, confidences[c], clopper);
                    covered[c][clopper] += r.low <= rate + 1e-12 && rate - 1e-12 <= r.high;
                    width += c == 1 && clopper ? r.high - r.low : 0;
                }
            }
        }
        assert_true(width / REPETITIONS < populations[p].width);
        for (int c = 0; c < 3; c++) {
            for (int clopper = 0; clopper < 2; clopper++) {
                if (binomial_below(covered[c][clopper], REPETITIONS, confidences[c]) < 0.01) {
                    fail_msg("%s: %d of %d covered at %g, %s", populations[p].name, covered[c][clopper], REPETITIONS,
                             confidences[c], clopper ? "Clopper-Pearson" : "Wilson");
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_quantiles),
        cmocka_unit_test(beta_quantiles),
        cmocka_unit_test(beta_against_binomial_sums),
        cmocka_unit_test(intervals_of_newcombe),
        cmocka_unit_test(intervals_at_the_ends),
        cmocka_unit_test(sample_sizes),
        cmocka_unit_test(rates_of_few),
        cmocka_unit_test(exhausted_is_exact),
        cmocka_unit_test(finite_populations_by_enumeration),
        cmocka_unit_test(coverage_by_simulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
