/* PipeEdge's policies against what PipeEdge chose, the formulas where it recorded nothing, refusals. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/policy.h"
#include "npz_json.h"

/* PipeEdge's widths, with what a micro-batch of 1024 numbers takes in its packing. */
static const qn_policy_choice pipeedge[] = {
    {"fp32", 32, 4096, NAN, NAN},       {"pipeedge<16>", 16, 2048, NAN, NAN}, {"pipeedge<10>", 10, 1368, NAN, NAN},
    {"pipeedge<8>", 8, 1024, NAN, NAN}, {"pipeedge<6>", 6, 820, NAN, NAN},    {"pipeedge<5>", 5, 684, NAN, NAN},
    {"pipeedge<4>", 4, 512, NAN, NAN},  {"pipeedge<3>", 3, 412, NAN, NAN},    {"pipeedge<2>", 2, 256, NAN, NAN}};
enum { N_PIPEEDGE = sizeof pipeedge / sizeof pipeedge[0] };

static const qn_policy_link pipeedge_link = {
    .name = "1 to 2", .choices = pipeedge, .n_choices = N_PIPEEDGE, .values = 1024};

static qn_policy *create(const char *name, double target, const qn_policy_link *link)
{
    qn_policy_options o;
    qn_policy_options_init(&o);
    o.name = name;
    o.target_rate = target;
    qn_policy *p;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_create(&p, &o, link, 1, &err), &err);
    return p;
}

static qn_policy_plan next(qn_policy *p, const qn_policy_measure *m)
{
    qn_policy_plan plan;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_policy_next(p, 0, m, &plan, &err), &err);
    return plan;
}

/* A window of 10 micro-batches of one item. */
static qn_policy_measure measure(double bytes, double seconds)
{
    return (qn_policy_measure){.messages = 10, .items = 10, .bytes = bytes, .seconds = seconds};
}

static void test_constrain(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/policies.npz");
    if (path == NULL) {
        skip();
    }
    qn_tensor in = npz_read(path, "cmb_in"), out = npz_read(path, "cmb_out");
    const double *rows = in.data;
    for (int64_t i = 0; i < in.dims[0]; i++) {
        const double *row = rows + 4 * i;
        const int bits = qn_policy_constrain_bits(row[0], row[1], row[2], (int)row[3]);
        if (bits != ((const int64_t *)out.data)[i]) {
            fail_msg("row %lld: %d bits", (long long)i, bits);
        }
    }
    assert_int_equal(in.dims[0], 200);
    qn_tensor_free(&in);
    qn_tensor_free(&out);
}

static void test_controller(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/policies.npz");
    if (path == NULL) {
        skip();
    }
    int n_rows = 0;
    char *reference;
    for (int i = 0; (reference = npz_name(path, "ctl_ref", i)) != NULL; i++) {
        char name[64];
        snprintf(name, sizeof name, "ctl_ref%s", reference);
        qn_tensor rows = npz_read(path, name);
        qn_policy_controller c;
        qn_policy_controller_start(&c, &pipeedge_link, strtod(reference, NULL));
        assert_int_equal(c.n, N_PIPEEDGE);
        qn_policy *p = create("controller", strtod(reference, NULL), &pipeedge_link);
        for (int64_t r = 0; r < rows.dims[0]; r++, n_rows++) {
            const double *row = (const double *)rows.data + 5 * r;
            int slow, fast;
            int64_t n_slow;
            qn_policy_controller_step(&c, row[0], 10, &slow, &fast, &n_slow);
            if (c.bits[slow] != row[1] || c.bits[fast] != row[2] || (double)n_slow != row[3] || c.u != row[4]) {
                fail_msg("%s row %lld: %g %g %lld, u %.17g", name, (long long)r, c.bits[slow], c.bits[fast],
                         (long long)n_slow, c.u);
            }
            /* The same through the door: rates that are not quotients of 10 items differ in the last place. */
            const qn_policy_measure m = measure(10240, 10 / row[0]);
            const qn_policy_plan plan = next(p, &m);
            int64_t n[2] = {0, 0};
            for (int64_t k = 0; k < 10; k++) {
                const double bits = pipeedge[qn_policy_choice_at(&plan, k)].bits;
                assert_true(bits == (k < n_slow ? row[1] : row[2]));
                n[bits == row[1] && k < n_slow ? 0 : 1]++;
            }
            assert_int_equal(n[0], n_slow);
        }
        qn_policy_free(p);
        qn_tensor_free(&rows);
        free(reference);
    }
    assert_int_equal(n_rows, 72);
}

/* compress_ratio = int(sent (32 / q) / (time bandwidth)) + 1: with 10 items in 10 s to go, and all sent at fp32 in s
 * seconds, it is int(s / 10) + 1. */
static void test_heuristic(void **state)
{
    (void)state;
    static const struct {
        double seconds, bits;
    } cases[] = {{0.1, 32}, {9.99, 32}, {10.01, 16}, {19.9, 16}, {20.1, 8}, {39.9, 8},
                 {40.1, 6}, {49.9, 6},  {50.1, 4},   {79.9, 4},  {80.1, 2}, {1e9, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_policy *p = create("heuristic", 1, &pipeedge_link);
        const qn_policy_measure m = measure(40960, cases[i].seconds);
        qn_policy_plan plan = next(p, &m);
        assert_int_equal(plan.n_parts, 1);
        assert_true(pipeedge[plan.parts[0].choice].bits == cases[i].bits);
        /* What is sent with q bits is taken for q / 32 of it. */
        const qn_policy_measure again = measure(40960 * cases[i].bits / 32, cases[i].seconds * cases[i].bits / 32);
        plan = next(p, &again);
        assert_true(pipeedge[plan.parts[0].choice].bits == cases[i].bits);
        qn_policy_free(p);
    }
}

static void test_heuristic2(void **state)
{
    (void)state;
    /* 0.032768 Mbit of float32 in a second: bandwidth / 0.032768 >= 1 / floor(32 / b). */
    static const struct {
        double part, bits;
    } cases[] = {{5, 32},   {1.01, 32}, {0.99, 16}, {0.51, 16}, {0.49, 10}, {0.34, 10}, {0.26, 8},
                 {0.24, 6}, {0.19, 5},  {0.15, 4},  {0.12, 3},  {0.07, 2},  {0.04, 2},  {0.001, 2}};
    qn_policy *p = create("heuristic2", 1, &pipeedge_link);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const qn_policy_measure m = measure(4096 * cases[i].part, 1);
        const qn_policy_plan plan = next(p, &m);
        if (pipeedge[plan.parts[0].choice].bits != cases[i].bits) {
            fail_msg("%g of the bandwidth: %s", cases[i].part, pipeedge[plan.parts[0].choice].format);
        }
        assert_true(fabs(plan.bandwidth - 4096 * cases[i].part) < 1e-9);
    }
    qn_policy_free(p);
}

/* Widths that a link lacks become the next narrower ones it has. */
static void test_other_tables(void **state)
{
    (void)state;
    static const qn_policy_choice few[] = {
        {"int4", 4, 600, NAN, NAN}, {"fp32", 32, 4160, NAN, NAN}, {"int8", 8, 1100, NAN, NAN}};
    const qn_policy_link link = {.name = "a", .choices = few, .n_choices = 3, .start = 1, .values = 1024};
    qn_policy *p = create("heuristic", 1, &link);
    static const struct {
        double seconds;
        int choice;
    } cases[] = {{1, 1}, {15, 2}};
    for (size_t i = 0; i < 2; i++) {
        const qn_policy_measure m = measure(41600, cases[i].seconds);
        assert_int_equal(next(p, &m).parts[0].choice, cases[i].choice);
    }
    qn_policy_free(p);
    assert_int_equal(qn_policy_choice_of_bits(&link, 2), 0);
    assert_int_equal(qn_policy_choice_of_bits(&link, 31), 2);
    qn_policy_controller c;
    qn_policy_controller_start(&c, &link, 1);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.choice[0], 1);
    assert_int_equal(c.choice[2], 0);
}

/* Numbers that cannot be change nothing, whatever the policy; plans stay plans. */
static void test_absurd(void **state)
{
    (void)state;
    static const double odd[] = {0, -1, NAN, INFINITY, -INFINITY, 1e-320, 1e308, 5e-324, 1};
    enum { N_ODD = sizeof odd / sizeof odd[0] };
    for (int kind = 0; qn_policy_kind_text((qn_policy_kind)kind) != NULL; kind++) {
        qn_policy *p = create(qn_policy_kind_text((qn_policy_kind)kind), 2, &pipeedge_link);
        const qn_policy_measure fine = measure(40960, 16);
        qn_policy_plan before = next(p, &fine);
        assert_int_equal(before.flags & QN_PLAN_IGNORED, 0);
        int n_ignored = 0, n_all = 0;
        for (int i = 0; i < N_ODD * N_ODD * N_ODD; i++) {
            for (int64_t messages = 0; messages <= 10; messages += 10) {
                qn_policy_measure m = {messages, messages, odd[i % N_ODD], odd[i / N_ODD % N_ODD],
                                       odd[i / N_ODD / N_ODD]};
                qn_policy_plan plan = next(p, &m);
                int64_t n = 0;
                assert_in_range(plan.n_parts, 1, 2);
                for (int k = 0; k < plan.n_parts; k++) {
                    assert_in_range(plan.parts[k].choice, 0, N_PIPEEDGE - 1);
                    assert_true(plan.parts[k].n_microbatches > 0);
                    n += plan.parts[k].n_microbatches;
                }
                assert_int_equal(n, 10);
                n_all++;
                if (plan.flags & QN_PLAN_IGNORED) {
                    n_ignored++;
                    plan.flags &= ~(unsigned)QN_PLAN_IGNORED;
                    assert_memory_equal(plan.parts, before.parts, sizeof plan.parts);
                    assert_true(plan.flags == before.flags);
                }
                before = plan;
            }
        }
        assert_true(n_ignored > n_all / 2 && n_ignored < n_all);
        if (kind != QN_POLICY_CONTROLLER) { /* whose filter remembers: policy.md 3.3 */
            for (int i = 0; i < 4; i++) {   /* 2560 bytes a second, as in `fine` */
                const double bytes = 10.0 * (double)pipeedge[before.parts[0].choice].bytes;
                const qn_policy_measure again = measure(bytes, bytes / 2560);
                before = next(p, &again);
            }
            qn_policy *other = create(qn_policy_kind_text((qn_policy_kind)kind), 2, &pipeedge_link);
            const qn_policy_plan want = next(other, &fine);
            assert_int_equal(before.parts[0].choice, want.parts[0].choice);
            qn_policy_free(other);
        }
        qn_policy_free(p);
    }
}

/* Ten messages can keep a link busy for ten times a window, if they overlap, but not for longer. */
static void test_busy(void **state)
{
    (void)state;
    qn_policy *p = create("quern", 2, &pipeedge_link);
    const qn_policy_measure overlapping = {10, 10, 1000, 10, 1}, impossible = {10, 10, 1000, 10.1, 1};
    qn_policy_plan plan = next(p, &overlapping);
    assert_true(fabs(plan.bandwidth - 1000) < 1e-9 && !(plan.flags & QN_PLAN_IGNORED));
    plan = next(p, &impossible);
    assert_true((plan.flags & QN_PLAN_IGNORED) != 0);
    qn_policy_free(p);
}

/* What orders choices: losses, else SQNRs, else bits; never more than 1. */
static void test_damages(void **state)
{
    (void)state;
    qn_policy_choice choices[] = {{"a", 8, 100, -0.5, INFINITY}, {"b", 4, 90, 0.25, 20}, {"c", 1, 80, 0.5, -4000}};
    const qn_policy_link link = {.name = "a", .choices = choices, .n_choices = 3};
    static const double want[3][3] = {{0, 0.25, 0.5}, {0, 0.01, 1}, {0x1p-16, 0x1p-8, 0.25}};
    for (int i = 0; i < 3; i++) {
        choices[1].loss = i > 0 ? NAN : choices[1].loss;
        choices[2].sqnr_db = i > 1 ? NAN : choices[2].sqnr_db;
        double damages[QN_POLICY_MAX_CHOICES];
        bool knows_loss;
        qn_policy_damages(damages, &knows_loss, &link);
        assert_true(knows_loss == (i == 0));
        for (int k = 0; k < 3; k++) {
            assert_true(fabs(damages[k] - want[i][k]) < 1e-15);
        }
    }
}

static void test_refusals(void **state)
{
    (void)state;
    enum { CASES = 22 };
    static const char *const says[CASES] = {"fixed, heuristic, heuristic2, controller, quern; nearest is quern",
                                            "target rate above 0",
                                            "target rate above 0",
                                            "window of 0",
                                            "micro-batch of 0",
                                            "reserve of 1",
                                            "budget of 2",
                                            "policy controller knows no accuracy budget",
                                            "0 links",
                                            "link 0 'a'",
                                            "0 formats",
                                            "starts with choice 3 of 3",
                                            "needs 1 to 2^40",
                                            "latency of -1",
                                            "codes of 0 bits",
                                            "1 to 2^40",
                                            "loses 2",
                                            "that of int8 is not known",
                                            "lose 0.2, more than",
                                            "no name",
                                            "SQNR of -inf",
                                            "shorten the window"};
    for (int i = 0; i < CASES; i++) {
        qn_policy_choice choices[] = {
            {"fp32", 32, 4096, 0, INFINITY}, {"int8", 8, 1024, 0.2, 30}, {"int4", 4, 512, 0.3, 10}};
        qn_policy_link link = {.name = "a", .choices = choices, .n_choices = 3};
        qn_policy_options o;
        qn_policy_options_init(&o);
        o.target_rate = 1;
        int n_links = 1;
        qn_status want = QN_EINVAL;
        switch (i) {
        case 0:
            o.name = "qern";
            break;
        case 1:
            o.target_rate = 0;
            break;
        case 2:
            o.target_rate = NAN;
            break;
        case 3:
            o.window = 0;
            break;
        case 4:
            o.items = 0;
            break;
        case 5:
            o.reserve = 1;
            break;
        case 6:
            o.accuracy_budget = 2;
            break;
        case 7:
            o.accuracy_budget = 0.1;
            o.name = "controller";
            want = QN_ECONFLICT;
            break;
        case 8:
            n_links = 0;
            break;
        case 9:
            choices[2].format = NULL;
            break;
        case 10:
            link.n_choices = 0;
            break;
        case 11:
            link.start = 3;
            break;
        case 12:
            o.name = "heuristic2";
            break;
        case 13:
            link.latency = -1;
            break;
        case 14:
            choices[1].bits = 0;
            break;
        case 15:
            choices[1].bytes = 0;
            break;
        case 16:
            choices[2].loss = 2;
            break;
        case 17:
            choices[1].loss = NAN;
            o.accuracy_budget = 0.1;
            want = QN_ECONFLICT;
            break;
        case 18:
            link.start = 1;
            o.accuracy_budget = 0.1;
            want = QN_ECONFLICT;
            break;
        case 19:
            link.name = NULL;
            break;
        case 20:
            choices[1].sqnr_db = -INFINITY;
            break;
        default:
            choices[0].bytes = (int64_t)1 << 40;
            o.window = QN_POLICY_MAX_WINDOW;
            n_links = 8;
            want = QN_ELIMIT;
        }
        const qn_policy_link links[8] = {link, link, link, link, link, link, link, link};
        qn_policy *p;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_policy_create(&p, &o, links, n_links, &err), &err, want, says[i]);
        assert_null(p);
    }
    qn_policy *p = create("fixed", 0, &pipeedge_link);
    qn_policy_plan plan;
    const qn_policy_measure m = measure(1, 1);
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_policy_next(p, 1, &m, &plan, &err), &err, QN_EINVAL, "link 1 is not one of 1");
    qn_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constrain),  cmocka_unit_test(test_controller),   cmocka_unit_test(test_heuristic),
        cmocka_unit_test(test_heuristic2), cmocka_unit_test(test_other_tables), cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_busy),       cmocka_unit_test(test_damages),      cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
