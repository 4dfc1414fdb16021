/* quern's policy: joint choices against brute force, the accuracy budget, estimates, what is not known. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quern/policy.h"

enum { MOST_LINKS = 4, MOST_CHOICES = 4 };

typedef struct {
    qn_policy_options options;
    int n_links;
    qn_policy_choice choices[MOST_LINKS][MOST_CHOICES];
    qn_policy_link links[MOST_LINKS];
    double bandwidth[MOST_LINKS]; /* of the medium of each link */
} instance;

static const char *const media[] = {"air", "wire"};

/* n_media 0: each link has its own. */
static void draw(instance *x, uint64_t *seed, int n_media)
{
    memset(x, 0, sizeof *x);
    qn_policy_options_init(&x->options);
    x->options.window = 1 + (int64_t)(qn_test_random(seed) % 4);
    x->options.items = 1 + (int64_t)(qn_test_random(seed) % 3);
    x->options.target_rate = qn_test_uniform(seed, 0.5f, 4);
    x->options.reserve = 0;
    x->n_links = 1 + (int)(qn_test_random(seed) % 3);
    const double shared[2] = {qn_test_uniform(seed, 50, 600), qn_test_uniform(seed, 50, 600)};
    for (int l = 0; l < x->n_links; l++) {
        const int medium = n_media > 0 ? (int)(qn_test_random(seed) % (unsigned)n_media) : -1;
        const int n = 1 + (int)(qn_test_random(seed) % MOST_CHOICES);
        for (int k = 0; k < n; k++) {
            const double loss = (double)(qn_test_random(seed) % 20) / 256; /* sums without rounding */
            x->choices[l][k] = (qn_policy_choice){"int8", 8, 10 + (int64_t)(qn_test_random(seed) % 200), loss, NAN};
        }
        x->links[l] = (qn_policy_link){.name = "link",
                                       .medium = medium >= 0 ? media[medium] : NULL,
                                       .choices = x->choices[l],
                                       .n_choices = n,
                                       .start = (int)(qn_test_random(seed) % (unsigned)n)};
        x->bandwidth[l] = medium >= 0 ? shared[medium] : qn_test_uniform(seed, 50, 600);
    }
}

static bool share(const instance *x, int a, int b)
{
    return a == b || (x->links[a].medium != NULL && x->links[b].medium != NULL &&
                      strcmp(x->links[a].medium, x->links[b].medium) == 0);
}

/* All links of a medium sent at its bandwidth: in turn, or (overlapping) all the time at once. */
static void observe_all(qn_policy *p, const instance *x, bool overlapping)
{
    for (int l = 0; l < x->n_links; l++) {
        int n = 0;
        for (int k = 0; k < x->n_links; k++) {
            n += share(x, l, k);
        }
        const double elapsed = 3, seconds = overlapping ? elapsed : elapsed / n;
        const qn_policy_measure m = {x->options.window, x->options.window * x->options.items,
                                     x->bandwidth[l] * elapsed / n, seconds, elapsed};
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_policy_observe(p, l, &m, &err), &err);
    }
}

typedef struct {
    int a, b;
    int64_t n; /* of a */
} mixture;

static int64_t bytes_of(const instance *x, int l, mixture m)
{
    return m.n * x->choices[l][m.a].bytes + (x->options.window - m.n) * x->choices[l][m.b].bytes;
}

static double loss_of(const instance *x, int l, mixture m)
{
    return ((double)m.n * x->choices[l][m.a].loss + (double)(x->options.window - m.n) * x->choices[l][m.b].loss) /
           (double)x->options.window;
}

/* What one assignment means. rate: of the slowest medium. */
typedef struct {
    bool holds;
    double rate, loss;
} outcome;

static outcome judge(const instance *x, const mixture *m)
{
    const double items = (double)(x->options.window * x->options.items);
    outcome o = {true, INFINITY, 0};
    for (int l = 0; l < x->n_links; l++) {
        int64_t bytes = 0;
        for (int k = 0; k < x->n_links; k++) {
            bytes += share(x, l, k) ? bytes_of(x, k, m[k]) : 0;
        }
        o.rate = fmin(o.rate, items / ((double)bytes / x->bandwidth[l]));
        o.loss += loss_of(x, l, m[l]);
    }
    o.holds = o.rate >= x->options.target_rate * (1 - 1e-11);
    return o;
}

/* All assignments: the least loss that holds the rate (infinity: none does), and the greatest rate, not above the
 * target, within the accuracy budget. */
static void brute(const instance *x, double *least_loss, double *best_rate)
{
    static mixture all[MOST_LINKS][1000];
    int n[MOST_LINKS] = {0}, at[MOST_LINKS] = {0};
    for (int l = 0; l < x->n_links; l++) {
        for (int a = 0; a < x->links[l].n_choices; a++) {
            for (int b = 0; b < x->links[l].n_choices; b++) {
                for (int64_t k = 0; k <= x->options.window; k++) {
                    all[l][n[l]++] = (mixture){a, b, k};
                }
            }
        }
    }
    *least_loss = INFINITY;
    *best_rate = 0;
    for (int l = 0; l < x->n_links;) {
        mixture m[MOST_LINKS];
        for (int k = 0; k < x->n_links; k++) {
            m[k] = all[k][at[k]];
        }
        const outcome o = judge(x, m);
        if (o.holds) {
            *least_loss = fmin(*least_loss, o.loss);
        }
        if (o.loss <= x->options.accuracy_budget * (1 + 1e-12)) {
            *best_rate = fmax(*best_rate, fmin(o.rate, x->options.target_rate));
        }
        for (l = 0; l < x->n_links && ++at[l] == n[l]; l++) {
            at[l] = 0;
        }
    }
}

static void take(const instance *x, qn_policy *p, mixture *m, qn_policy_plan *plans)
{
    for (int l = 0; l < x->n_links; l++) {
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_policy_plan_next(p, l, &plans[l], &err), &err);
        const qn_policy_part *parts = plans[l].parts;
        m[l] = (mixture){parts[0].choice, parts[plans[l].n_parts - 1].choice, parts[0].n_microbatches};
        int64_t n = 0;
        for (int64_t k = 0; k < x->options.window; k++) {
            n += qn_policy_choice_at(&plans[l], k) == m[l].a;
        }
        assert_int_equal(n, m[l].n);
        assert_true(fabs(plans[l].loss - loss_of(x, l, m[l])) < 1e-12);
    }
}

static qn_policy *create(const instance *x)
{
    qn_policy *p;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_create(&p, &x->options, x->links, x->n_links, &err), &err);
    return p;
}

/* Each medium takes the least loss that fits, or the fewest bytes. Since losses of media add up and bytes of different
 * ones do not, the least loss of all that holds everywhere is the sum. */
static void test_joint(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int n_held = 0, n_missed = 0;
    for (int trial = 0; trial < 1500; trial++) {
        instance x;
        draw(&x, &seed, trial % 3);
        qn_policy *p = create(&x);
        mixture m[MOST_LINKS];
        qn_policy_plan plans[MOST_LINKS];
        observe_all(p, &x, trial % 2 == 0);
        take(&x, p, m, plans);
        double least_loss, best_rate;
        brute(&x, &least_loss, &best_rate);
        const outcome o = judge(&x, m);
        unsigned flags = 0;
        double rate = INFINITY;
        for (int l = 0; l < x.n_links; l++) {
            flags |= plans[l].flags;
            rate = fmin(rate, plans[l].rate);
            assert_true(fabs(plans[l].bandwidth - x.bandwidth[l]) < 1e-9 * x.bandwidth[l]);
        }
        assert_true(fabs(rate - o.rate) <= 1e-9 * rate);
        if (isfinite(least_loss)) {
            n_held++;
            if (!o.holds || fabs(o.loss - least_loss) > 1e-12 || flags != 0) {
                fail_msg("trial %d: loss %g, rate %g, flags %u; the least loss is %g", trial, o.loss, o.rate, flags,
                         least_loss);
            }
        } else {
            n_missed++;
            assert_true(!o.holds && flags == QN_PLAN_RATE_MISSED);
            for (int l = 0; l < x.n_links; l++) { /* links of a medium that misses take the fewest bytes */
                for (int k = 0; k < x.links[l].n_choices && plans[l].flags != 0; k++) {
                    assert_true(bytes_of(&x, l, m[l]) <= x.options.window * x.choices[l][k].bytes);
                }
            }
        }
        qn_policy_free(p);
    }
    printf("policy: %d instances held, %d not\n", n_held, n_missed);
    assert_true(n_held > 300 && n_missed > 300);
}

/* With an accuracy budget: never beyond it, and the rate is the best it allows. */
static void test_accuracy(void **state)
{
    (void)state;
    uint64_t seed = 8;
    int n_gave_way = 0;
    for (int trial = 0; trial < 3000; trial++) {
        instance x;
        draw(&x, &seed, trial % 3);
        double at_start = 0;
        for (int l = 0; l < x.n_links; l++) {
            at_start += x.choices[l][x.links[l].start].loss;
        }
        x.options.accuracy_budget = at_start;
        qn_policy *p = create(&x);
        mixture m[MOST_LINKS];
        qn_policy_plan plans[MOST_LINKS];
        observe_all(p, &x, false);
        take(&x, p, m, plans);
        double least_loss, best_rate;
        brute(&x, &least_loss, &best_rate);
        const outcome o = judge(&x, m);
        if (!(o.loss <= at_start * (1 + 1e-9)) || !(o.rate >= best_rate * (1 - 2e-6))) {
            fail_msg("trial %d: loss %g of %g, rate %g, the best is %g", trial, o.loss, at_start, o.rate, best_rate);
        }
        unsigned flags = 0;
        for (int l = 0; l < x.n_links; l++) {
            flags |= plans[l].flags;
        }
        if (isfinite(least_loss) && least_loss > at_start * (1 + 1e-9)) {
            n_gave_way++;
            assert_true(flags == (QN_PLAN_RATE_MISSED | QN_PLAN_ACCURACY_KEPT));
        }
        assert_true(((flags & QN_PLAN_RATE_MISSED) == 0) == o.holds);
        qn_policy_free(p);
    }
    printf("policy: %d instances where the rate gave way\n", n_gave_way);
    assert_true(n_gave_way > 50);
}

static const qn_policy_choice usual[] = {{"fp32", 32, 4096, 0, INFINITY},
                                         {"int8", 8, 1056, 0.001, 40},
                                         {"int6", 6, 800, 0.004, 28},
                                         {"int4", 4, 544, 0.03, 16},
                                         {"int2", 2, 288, 0.3, 5}};

static qn_policy *usual_policy(double reserve, double latency)
{
    const qn_policy_link link = {.name = "a", .choices = usual, .n_choices = 5, .latency = latency};
    qn_policy_options o;
    qn_policy_options_init(&o);
    o.target_rate = 10; /* 1 s for a window */
    o.reserve = reserve;
    qn_policy *p;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_create(&p, &o, &link, 1, &err), &err);
    return p;
}

static qn_policy_plan at(qn_policy *p, double bandwidth)
{
    qn_policy_plan plan;
    const qn_policy_measure m = {10, 10, bandwidth, 1, 1};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_next(p, 0, &m, &plan, &err), &err);
    return plan;
}

/* A window's bytes of a plan. */
static double need(const qn_policy_plan *plan)
{
    double bytes = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        bytes += (double)plan->parts[i].n_microbatches * (double)usual[plan->parts[i].choice].bytes;
    }
    return bytes;
}

/* Down at once, up when two of three windows say so; one window far off does not stay. */
static void test_estimate(void **state)
{
    (void)state;
    qn_policy *p = usual_policy(0, 0);
    static const struct {
        double measured, bandwidth;
    } windows[] = {{50000, 50000}, {50000, 50000}, {50000, 50000}, {1e9, 50000},   {50000, 50000},
                   {9000, 9000},   {50000, 50000}, {50000, 50000}, {12000, 12000}, {12000, 12000},
                   {12000, 12000}, {50000, 12000}, {50000, 50000}, {60000, 50000}, {60000, 60000}};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const qn_policy_plan plan = at(p, windows[i].measured);
        assert_true(plan.bandwidth == windows[i].bandwidth);
        assert_true(need(&plan) <= windows[i].bandwidth);
        assert_int_equal(plan.parts[0].choice == 0 && plan.n_parts == 1, windows[i].bandwidth >= 40960);
    }
    qn_policy_free(p);
}

/* Noise within the reserve: plans settle. Without a reserve they do not. */
static void test_hysteresis(void **state)
{
    (void)state;
    enum { WINDOWS = 200 };
    int n_changes[2] = {0, 0};
    for (int with = 0; with < 2; with++) {
        uint64_t seed = 17;
        for (int middle = 12000; middle < 40000; middle += 700) {
            qn_policy *p = usual_policy(with ? 0.1 : 0, 0);
            qn_policy_plan before = at(p, middle);
            int n = 0, latest = 0;
            for (int i = 0; i < WINDOWS; i++) {
                const double bandwidth = middle * (double)qn_test_uniform(&seed, 0.96f, 1.04f);
                const qn_policy_plan plan = at(p, bandwidth);
                if (memcmp(plan.parts, before.parts, sizeof plan.parts) != 0) {
                    n++;
                    latest = i;
                }
                assert_true(need(&plan) <= plan.bandwidth);
                before = plan;
            }
            n_changes[with] += n;
            assert_true(!with || (n <= 2 && latest < WINDOWS / 2));
            qn_policy_free(p);
        }
    }
    printf("policy: %d plans without a reserve, %d with\n", n_changes[0], n_changes[1]);
    assert_true(n_changes[0] > 20 * n_changes[1]);

    /* What does not leave the reserve is taken where nothing does. */
    qn_policy *p = usual_policy(0.9, 0);
    const qn_policy_plan plan = at(p, 12000);
    assert_true(plan.flags == 0 && need(&plan) > 10000 && need(&plan) <= 12000);
    qn_policy_free(p);
}

/* Latency that is paid for each message leaves less time for bytes. */
static void test_latency(void **state)
{
    (void)state;
    qn_policy *p = usual_policy(0, 0.05);
    qn_policy_plan plan;
    /* 10 messages: 0.5 s of latency and 0.5 s for 10560 bytes; 21120 bytes a second. */
    const qn_policy_measure m = {10, 10, 10560, 1, 1};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_next(p, 0, &m, &plan, &err), &err);
    assert_true(fabs(plan.bandwidth - 21120) < 1e-6 && plan.flags == 0);
    assert_true(plan.n_parts == 1 && plan.parts[0].choice == 1 && fabs(plan.rate - 10) < 1e-6);
    const qn_policy_measure all_latency = {10, 10, 10560, 0.5, 1};
    qn_assert_ok(qn_policy_next(p, 0, &all_latency, &plan, &err), &err);
    assert_true((plan.flags & QN_PLAN_IGNORED) != 0 && plan.parts[0].choice == 1);
    qn_policy_free(p);
    p = usual_policy(0, 0.2);
    const qn_policy_measure slow = {10, 10, 10560, 3, 3};
    qn_assert_ok(qn_policy_next(p, 0, &slow, &plan, &err), &err);
    assert_true(plan.flags == QN_PLAN_RATE_MISSED && plan.parts[0].choice == 4 && plan.rate < 5);
    qn_policy_free(p);
}

/* Without losses the order is SQNR's, and without that the bits'. */
static void test_unknown(void **state)
{
    (void)state;
    qn_policy_choice choices[] = {
        {"a", 32, 400, NAN, NAN}, {"b", 8, 200, NAN, NAN}, {"c", 8, 190, NAN, NAN}, {"d", 4, 100, NAN, NAN}};
    const double sqnr[] = {INFINITY, 40, 20, 45}; /* "d" is smaller and better than "b" and "c" */
    static const struct {
        double bandwidth;
        int by_bits, by_sqnr;
    } cases[] = {{4000, 0, 0}, {2000, 2, 3}, {1900, 2, 3}, {1000, 3, 3}, {100, 3, 3}};
    for (int knows = 0; knows < 2; knows++) {
        for (int k = 0; k < 4; k++) {
            choices[k].sqnr_db = knows ? sqnr[k] : NAN;
        }
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const qn_policy_link link = {
                .name = "a", .choices = choices, .n_choices = 4, .bandwidth = cases[i].bandwidth};
            qn_policy_options o;
            qn_policy_options_init(&o);
            o.target_rate = 10;
            o.window = 1;
            o.reserve = 0;
            qn_policy *p;
            qn_policy_plan plan;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_policy_create(&p, &o, &link, 1, &err), &err);
            qn_assert_ok(qn_policy_plan_next(p, 0, &plan, &err), &err); /* from what is known beforehand */
            assert_int_equal(plan.flags & QN_PLAN_UNMEASURED, 0);
            assert_true(isnan(plan.loss));
            /* with 10 items a second and one to a window, 1/10 of the bandwidth */
            assert_int_equal(plan.parts[0].choice, knows ? cases[i].by_sqnr : cases[i].by_bits);
            qn_policy_free(p);
        }
    }
}

/* Nothing known: the start. Large tables, long windows and many links on one medium: soon enough, and exact memory. */
static void test_large(void **state)
{
    (void)state;
    enum { LINKS = 8, CHOICES = 12 };
    qn_policy_choice choices[LINKS][CHOICES];
    qn_policy_link links[LINKS];
    uint64_t seed = 23;
    for (int l = 0; l < LINKS; l++) {
        for (int k = 0; k < CHOICES; k++) {
            const double bits = 2 + 2.5 * k;
            const int64_t bytes = (int64_t)(bits * 5000) + (int64_t)(qn_test_random(&seed) % 5000) + 100;
            choices[l][k] =
                (qn_policy_choice){"x", bits, bytes, pow(3, -bits / 2) * qn_test_uniform(&seed, 0.5f, 2), NAN};
        }
        links[l] = (qn_policy_link){
            .name = "l", .medium = "air", .choices = choices[l], .n_choices = CHOICES, .start = CHOICES - 1};
    }
    for (int64_t window = 10; window <= QN_POLICY_MAX_WINDOW; window *= 100) {
        qn_policy_options o;
        qn_policy_options_init(&o);
        o.target_rate = 10;
        o.window = window;
        qn_policy *p;
        qn_policy_plan plan;
        qn_error err;
        qn_error_init(&err);
        qn_status status = QN_ENOMEM;
        for (int countdown = 0; status != QN_OK; countdown++) {
            qn_error_init(&err);
            qn_alloc_fail_after(countdown);
            status = qn_policy_create(&p, &o, links, LINKS, &err);
            qn_alloc_fail_after(-1);
            assert_true(status == QN_OK || (status == QN_ENOMEM && p == NULL));
        }
        qn_assert_ok(qn_policy_plan_next(p, 3, &plan, &err), &err);
        assert_true(plan.flags == QN_PLAN_UNMEASURED && plan.parts[0].choice == CHOICES - 1 && isnan(plan.rate));
        for (int step = 1; step < 8; step++) {
            const double bandwidth = step * 1.5e6;
            double bytes = 0;
            for (int l = 0; l < LINKS; l++) {
                const qn_policy_measure m = {window, window, bandwidth, 1, 8};
                qn_assert_ok(qn_policy_observe(p, l, &m, &err), &err);
            }
            status = QN_ENOMEM;
            for (int countdown = 0; status != QN_OK; countdown++) {
                qn_error_init(&err);
                qn_alloc_fail_after(countdown);
                status = qn_policy_plan_next(p, 0, &plan, &err);
                qn_alloc_fail_after(-1);
                assert_true(status == QN_OK || status == QN_ENOMEM);
            }
            for (int l = 0; l < LINKS; l++) {
                qn_assert_ok(qn_policy_plan_next(p, l, &plan, &err), &err);
                for (int i = 0; i < plan.n_parts; i++) {
                    bytes += (double)plan.parts[i].n_microbatches * (double)choices[l][plan.parts[i].choice].bytes;
                }
            }
            assert_true(bytes <= plan.bandwidth * (double)window / 10 && plan.flags == 0);
        }
        qn_policy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_joint),    cmocka_unit_test(test_accuracy),
                                       cmocka_unit_test(test_estimate), cmocka_unit_test(test_hysteresis),
                                       cmocka_unit_test(test_latency),  cmocka_unit_test(test_unknown),
                                       cmocka_unit_test(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
