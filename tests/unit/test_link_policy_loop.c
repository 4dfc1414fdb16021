/* Each policy with a link in the loop, whose bandwidth falls to a quarter and recovers: what rate is reached, and at what
 * loss. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quern/policy.h"

/* Micro-batches of 1024 numbers; 10 a second are wanted, in windows of 10. fp32 needs 40960 bytes a second. */
static const qn_policy_choice choices[] = {
    {"fp32", 32, 4096, 0, INFINITY},     {"pipeedge<16>", 16, 2048, 1e-5, 90}, {"pipeedge<10>", 10, 1368, 1e-4, 52},
    {"pipeedge<8>", 8, 1024, 0.002, 40}, {"pipeedge<6>", 6, 820, 0.01, 28},    {"pipeedge<5>", 5, 684, 0.02, 22},
    {"pipeedge<4>", 4, 512, 0.05, 16},   {"pipeedge<3>", 3, 412, 0.15, 10},    {"pipeedge<2>", 2, 256, 0.40, 4}};
enum { N_CHOICES = sizeof choices / sizeof choices[0], WINDOW = 10, N_WINDOWS = 60, FALL = 20, RISE = 40 };
static const double TARGET = 10;

typedef struct {
    double rate[N_WINDOWS]; /* items per second that the link carries, of each window */
    double loss[N_WINDOWS];
    qn_policy_plan plans[N_WINDOWS]; /* of the window */
} history;

/* A source that has something to send whenever the link is free, so that windows end when their bytes have passed. The
 * bandwidth changes between windows: the trace is cut where window FALL and window RISE begin. */
static void run(history *h, const char *policy, double fast, double slow, double accuracy_budget)
{
    const qn_policy_link link = {.name = "1 to 2", .choices = choices, .n_choices = N_CHOICES, .values = 1024};
    qn_policy_options o;
    qn_policy_options_init(&o);
    o.name = policy;
    o.target_rate = TARGET;
    o.accuracy_budget = accuracy_budget;
    qn_policy *p;
    qn_bandwidth_trace *traces[2];
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_create(&p, &o, &link, 1, &err), &err);
    qn_assert_ok(qn_bandwidth_trace_constant(&traces[0], 8 * fast, &err), &err);
    qn_assert_ok(qn_bandwidth_trace_constant(&traces[1], 8 * slow, &err), &err);
    qn_policy_plan plan;
    qn_assert_ok(qn_policy_plan_next(p, 0, &plan, &err), &err);
    assert_int_equal(plan.flags, QN_PLAN_UNMEASURED);
    double now = 0;
    for (int w = 0; w < N_WINDOWS; w++) {
        const double start = now;
        qn_policy_measure m = {.messages = WINDOW, .items = WINDOW};
        h->plans[w] = plan;
        h->loss[w] = 0;
        for (int k = 0; k < WINDOW; k++) {
            const qn_policy_choice *c = &choices[qn_policy_choice_at(&plan, k)];
            const double end = qn_trace_finish(traces[w >= FALL && w < RISE], 0, now, (double)c->bytes, 0);
            m.bytes += (double)c->bytes;
            m.seconds += end - now;
            h->loss[w] += c->loss / WINDOW;
            now = end;
        }
        m.elapsed = now - start;
        h->rate[w] = WINDOW / m.elapsed;
        qn_assert_ok(qn_policy_next(p, 0, &m, &plan, &err), &err);
        assert_int_equal(plan.flags & (QN_PLAN_IGNORED | QN_PLAN_UNMEASURED), 0);
    }
    qn_policy_free(p);
    qn_bandwidth_trace_free(traces[0]);
    qn_bandwidth_trace_free(traces[1]);
}

static bool nearly_holds(const history *h, int from, int to, double part)
{
    for (int w = from; w < to; w++) {
        if (h->rate[w] < TARGET * part) {
            return false;
        }
    }
    return true;
}

static bool holds(const history *h, int from, int to)
{
    return nearly_holds(h, from, to, 1 - 1e-9);
}

static double mean_loss(const history *h, int from, int to)
{
    double sum = 0;
    for (int w = from; w < to; w++) {
        sum += h->loss[w];
    }
    return sum / (to - from);
}

static void show(const char *policy, const history *h)
{
    int first = FALL;
    while (first < RISE && !nearly_holds(h, first, RISE, 0.98)) {
        first++;
    }
    printf("policy %-10s: 98 %% of the rate is held %d windows after the fall, at a loss of %.4f; before %.4f, after "
           "%.4f\n",
           policy, first - FALL, mean_loss(h, FALL + 1, RISE), mean_loss(h, 0, FALL),
           mean_loss(h, RISE + 3, N_WINDOWS));
}

static history of_fixed, of_heuristic, of_heuristic2, of_controller, of_quern;

static void test_fall(void **state)
{
    (void)state;
    run(&of_fixed, "fixed", 50000, 12500, NAN);
    run(&of_heuristic, "heuristic", 50000, 12500, NAN);
    run(&of_heuristic2, "heuristic2", 50000, 12500, NAN);
    run(&of_controller, "controller", 50000, 12500, NAN);
    run(&of_quern, "quern", 50000, 12500, NAN);
    show("fixed", &of_fixed);
    show("heuristic", &of_heuristic);
    show("heuristic2", &of_heuristic2);
    show("controller", &of_controller);
    show("quern", &of_quern);

    /* Before the fall all but the controller, whose first steps overshoot, hold with float32. */
    assert_true(holds(&of_fixed, 0, FALL) && mean_loss(&of_fixed, 0, FALL) == 0);
    assert_true(holds(&of_heuristic, 0, FALL) && holds(&of_heuristic2, 0, FALL) && holds(&of_quern, 0, FALL));
    assert_true(mean_loss(&of_quern, 0, FALL) == 0 && of_quern.plans[FALL].parts[0].choice == 0);

    /* The window of the fall is lost to all; fixed never recovers. */
    for (int w = FALL; w < RISE; w++) {
        assert_true(fabs(of_fixed.rate[w] - 12500.0 / 4096) < 1e-9);
    }
    assert_true(!holds(&of_quern, FALL, FALL + 1));
    assert_true(holds(&of_heuristic, FALL + 1, RISE) && holds(&of_heuristic2, FALL + 1, RISE));
    assert_true(holds(&of_quern, FALL + 1, N_WINDOWS));

    /* PipeEdge's heuristic takes 8 bits of 32 / (41 / 12.5) = 9.8, heuristic2 knows no packing that is between. quern
     * mixes, and keeps a reserve. */
    assert_true(of_heuristic.plans[FALL + 1].n_parts == 1 && of_heuristic.plans[FALL + 1].parts[0].choice == 3);
    assert_true(of_heuristic2.plans[FALL + 1].n_parts == 1 && of_heuristic2.plans[FALL + 1].parts[0].choice == 3);
    assert_int_equal(of_quern.plans[FALL + 1].n_parts, 2);
    assert_true(mean_loss(&of_quern, FALL + 1, RISE) < mean_loss(&of_heuristic, FALL + 1, RISE));

    /* Up again three windows after the rise at the latest. */
    assert_true(holds(&of_quern, RISE, N_WINDOWS) && mean_loss(&of_quern, RISE + 3, N_WINDOWS) == 0);
    assert_true(mean_loss(&of_heuristic2, RISE + 1, N_WINDOWS) == 0);
    for (int w = FALL + 2; w < RISE; w++) { /* and it does not flap */
        assert_memory_equal(of_quern.plans[w].parts, of_quern.plans[FALL + 1].parts, sizeof of_quern.plans[w].parts);
    }

    /* The controller needs its windows: its filter has grown sure of the old rate. */
    assert_true(!nearly_holds(&of_controller, FALL + 1, FALL + 4, 0.98) &&
                nearly_holds(&of_controller, FALL + 10, RISE, 0.98));
}

/* Nothing suffices, or only what the accuracy budget forbids. */
static void test_too_slow(void **state)
{
    (void)state;
    static history h;
    run(&h, "quern", 50000, 2000, NAN);
    for (int w = FALL + 1; w < RISE; w++) {
        assert_true(h.plans[w].n_parts == 1 && h.plans[w].parts[0].choice == N_CHOICES - 1);
        assert_int_equal(h.plans[w].flags, QN_PLAN_RATE_MISSED);
        assert_true(fabs(h.plans[w].rate - h.rate[w]) < 1e-9);
    }
    assert_true(holds(&h, RISE, N_WINDOWS) && mean_loss(&h, RISE + 3, N_WINDOWS) == 0);

    /* 5120 bytes a second suffice for 4 bits, which lose 0.05. */
    run(&h, "quern", 50000, 5300, 0.02);
    for (int w = FALL + 1; w < RISE; w++) {
        assert_int_equal(h.plans[w].flags, QN_PLAN_RATE_MISSED | QN_PLAN_ACCURACY_KEPT);
        assert_true(h.loss[w] <= 0.02 * (1 + 1e-9));
        assert_true(fabs(h.plans[w].rate - h.rate[w]) < 1e-9 && h.rate[w] > 7.7); /* 684 bytes: 7.75 */
    }
    assert_true(holds(&h, RISE, N_WINDOWS));
}

/* Real traces do not wait for windows: within two of a change all is well. */
static void test_trace(void **state)
{
    (void)state;
    static const char text[] = "seconds,bits_per_second\n0,400000\n10.33,100000\n25.71,0\n27,100000\n40.05,400000\n";
    static const double steps[] = {10.33, 25.71, 27, 40.05};
    const qn_policy_link link = {.name = "1 to 2", .choices = choices, .n_choices = N_CHOICES};
    qn_policy_options o;
    qn_policy_options_init(&o);
    o.target_rate = TARGET;
    qn_policy *p;
    qn_bandwidth_trace *trace;
    qn_policy_plan plan;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_create(&p, &o, &link, 1, &err), &err);
    qn_assert_ok(qn_bandwidth_trace_parse(&trace, text, sizeof text - 1, "trace", &err), &err);
    qn_assert_ok(qn_policy_plan_next(p, 0, &plan, &err), &err);
    double now = 0, changed = -INFINITY;
    int settled = 0;
    for (int w = 0; w < 80; w++) {
        const double start = now;
        qn_policy_measure m = {.messages = WINDOW, .items = WINDOW};
        for (int k = 0; k < WINDOW; k++) { /* each is there when it is due */
            const double due = (double)(w * WINDOW + k) / TARGET, from = fmax(now, due);
            const double bytes = (double)choices[qn_policy_choice_at(&plan, k)].bytes;
            now = qn_trace_finish(trace, 0, from, bytes, 0);
            m.bytes += bytes;
            m.seconds += now - from;
        }
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            changed = steps[i] >= start && steps[i] <= now ? w : changed;
        }
        m.elapsed = now - start;
        if (w > changed + 1) {
            assert_true(m.seconds <= WINDOW / TARGET);
            settled++;
        }
        qn_assert_ok(qn_policy_next(p, 0, &m, &plan, &err), &err);
    }
    assert_true(settled > 60 && now < 80 && plan.n_parts == 1 && plan.parts[0].choice == 0);
    qn_policy_free(p);
    qn_bandwidth_trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fall), cmocka_unit_test(test_too_slow),
                                       cmocka_unit_test(test_trace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
