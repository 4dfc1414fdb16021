/* Virtual time: what can be worked out by hand, and random pipelines against the recurrences of doc/spec/pipeline.md. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/virtual.h"
#include "link/virtual_spec.h"

enum { MOST_STAGES = 6, MOST_MICROBATCHES = 16 };

/* A pipeline by numbers: quarters of seconds, so that sums are exact and events fall together. */
typedef struct {
    size_t n_stages;
    int64_t n;
    qn_virtual_link links[MOST_STAGES];
    double take[MOST_STAGES][MOST_MICROBATCHES], compute[MOST_STAGES][MOST_MICROBATCHES];
    double give[MOST_STAGES][MOST_MICROBATCHES];
    size_t bytes[MOST_STAGES][MOST_MICROBATCHES];
    double slow_from, slow_until; /* a quarter of the bandwidth of 1 byte/s */
    double now;                   /* of the last call */
    int64_t calls;
} pipeline;

static qn_status said(pipeline *p, double now, double *seconds, double is)
{
    assert_true(now >= p->now); /* in the order of time */
    p->now = now;
    p->calls++;
    *seconds = is;
    return QN_OK;
}
static qn_status take(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    pipeline *p = context;
    (void)err;
    return said(p, now, seconds, p->take[stage][m]);
}
static qn_status compute(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    pipeline *p = context;
    (void)err;
    return said(p, now, seconds, p->compute[stage][m]);
}
static qn_status give(void *context, size_t stage, int64_t m, double now, double *seconds, size_t *bytes, qn_error *err)
{
    pipeline *p = context;
    (void)err;
    *bytes = p->bytes[stage][m];
    return said(p, now, seconds, p->give[stage][m]);
}
static double finish(void *context, size_t link, double start, double bytes)
{
    const pipeline *p = context;
    (void)link;
    while (bytes > 0) { /* a quarter of a second at a time */
        const bool slow = start >= p->slow_from && start < p->slow_until;
        bytes -= slow ? 0.0625 : 0.25;
        start += 0.25;
    }
    return start;
}

static void run_of(qn_virtual *run, pipeline *p)
{
    qn_error err;
    qn_error_init(&err);
    const qn_virtual_host host = {p, take, compute, give, finish};
    qn_assert_ok(qn_virtual_create(run, p->n_stages, p->n, p->links, &host, &err), &err);
    p->now = 0;
    p->calls = 0;
    const uint64_t allocations = qn_alloc_count();
    qn_assert_ok(qn_virtual_run(run, &err), &err);
    assert_int_equal(qn_alloc_count(), allocations);
    assert_int_equal(p->calls, (3 * (int64_t)p->n_stages - 1) * p->n);
}

/* The recurrences, all at once and again and again until nothing changes: what depends only on what is earlier settles
 * from the beginning on. */
typedef struct {
    qn_virtual_step steps[MOST_STAGES][MOST_MICROBATCHES];
    qn_virtual_send sends[MOST_STAGES][MOST_MICROBATCHES];
} times;
typedef struct {
    size_t link;
    int64_t m;
    double ready;
} turn;

static int in_turn(const void *a, const void *b)
{
    const turn *x = a, *y = b;
    if (x->ready != y->ready) {
        return x->ready < y->ready ? -1 : 1;
    }
    if (x->link != y->link) {
        return x->link < y->link ? -1 : 1;
    }
    return x->m < y->m ? -1 : 1;
}

static double later(double a, double b)
{
    return a > b ? a : b;
}

static void once(pipeline *p, times *t)
{
    const size_t n_links = p->n_stages - 1;
    for (size_t k = 0; k < p->n_stages; k++) {
        for (int64_t m = 0; m < p->n; m++) {
            qn_virtual_step *s = &t->steps[k][m];
            s->begin = later(k > 0 ? t->sends[k - 1][m].arrived : 0, m > 0 ? t->steps[k][m - 1].done : 0);
            s->taken = s->begin + p->take[k][m];
            s->computed = s->taken + p->compute[k][m];
            if (k == n_links) {
                s->give = s->done = s->computed;
                continue;
            }
            s->give = later(s->computed, m > 1 ? t->sends[k][m - 2].sent : 0);
            s->done = s->give + p->give[k][m];
            t->sends[k][m].ready =
                later(later(s->done, m > 0 ? t->sends[k][m - 1].sent : 0), m > 1 ? t->steps[k + 1][m - 2].taken : 0);
            t->sends[k][m].bytes = p->bytes[k][m];
        }
    }
    for (size_t medium = 0; medium < n_links; medium++) {
        turn turns[MOST_STAGES * MOST_MICROBATCHES];
        size_t n = 0;
        for (size_t k = 0; k < n_links; k++) {
            for (int64_t m = 0; m < p->n && p->links[k].medium == medium; m++) {
                turns[n++] = (turn){k, m, t->sends[k][m].ready};
            }
        }
        qsort(turns, n, sizeof *turns, in_turn);
        double until = 0;
        for (size_t i = 0; i < n; i++) {
            qn_virtual_send *s = &t->sends[turns[i].link][turns[i].m];
            s->start = later(s->ready, until);
            s->sent = until = finish(p, turns[i].link, s->start, (double)s->bytes);
            s->arrived = s->sent + p->links[turns[i].link].latency;
        }
    }
}

static void check(pipeline *p)
{
    static times t, before;
    memset(&t, 0, sizeof t);
    int rounds = 0;
    do {
        before = t;
        once(p, &t);
        assert_true(++rounds < 10000);
    } while (memcmp(&before, &t, sizeof t) != 0);
    qn_virtual run;
    run_of(&run, p);
    for (size_t k = 0; k < p->n_stages; k++) {
        for (int64_t m = 0; m < p->n; m++) {
            const qn_virtual_step *a = qn_virtual_step_of(&run, k, m), *b = &t.steps[k][m];
            if (memcmp(a, b, sizeof *a) != 0) {
                fail_msg("stage %zu micro-batch %lld: begin %g %g, taken %g %g, computed %g %g, give %g %g, done %g %g",
                         k, (long long)m, a->begin, b->begin, a->taken, b->taken, a->computed, b->computed, a->give,
                         b->give, a->done, b->done);
            }
            const qn_virtual_send *c = qn_virtual_send_of(&run, k, m), *d = &t.sends[k][m];
            if (k + 1 < p->n_stages && memcmp(c, d, sizeof *c) != 0) {
                fail_msg("link %zu message %lld: ready %g %g, start %g %g, sent %g %g, arrived %g %g", k, (long long)m,
                         c->ready, d->ready, c->start, d->start, c->sent, d->sent, c->arrived, d->arrived);
            }
        }
    }
    assert_true(run.end == t.steps[p->n_stages - 1][p->n - 1].done);
    qn_virtual_free(&run);
}

static double quarters(uint64_t *state, uint64_t most)
{
    return (double)(qn_test_random(state) % (most + 1)) / 4;
}

static void test_random_pipelines_follow_the_recurrences(void **unused)
{
    (void)unused;
    uint64_t state = 77;
    static pipeline p;
    for (int trial = 0; trial < 3000; trial++) {
        p.n_stages = 1 + qn_test_random(&state) % MOST_STAGES;
        p.n = 1 + (int64_t)(qn_test_random(&state) % MOST_MICROBATCHES);
        p.slow_from = quarters(&state, 40);
        p.slow_until = p.slow_from + quarters(&state, 40);
        const uint64_t most[3] = {qn_test_random(&state) % 4, qn_test_random(&state) % 20, qn_test_random(&state) % 4};
        for (size_t k = 0; k < p.n_stages; k++) {
            p.links[k] = (qn_virtual_link){0, quarters(&state, 6)};
            const bool own = trial % 3 == 0;
            p.links[k].medium = own || p.n_stages < 2 ? k : qn_test_random(&state) % (p.n_stages - 1);
            for (int64_t m = 0; m < p.n; m++) {
                p.take[k][m] = quarters(&state, most[0]);
                p.compute[k][m] = quarters(&state, most[1]);
                p.give[k][m] = quarters(&state, most[2]);
                p.bytes[k][m] = 1 + qn_test_random(&state) % 4;
            }
        }
        check(&p);
    }
}

static void all(pipeline *p, size_t n_stages, int64_t n, double seconds, size_t bytes)
{
    *p = (pipeline){.n_stages = n_stages, .n = n};
    for (size_t k = 0; k < n_stages; k++) {
        p->links[k].medium = k;
        for (int64_t m = 0; m < n; m++) {
            p->compute[k][m] = seconds;
            p->bytes[k][m] = bytes;
        }
    }
}

/* Worked out by hand: two stages of 2 s, messages of 1 s, half a second on the way. */
static void test_stages_and_links_work_at_the_same_time(void **unused)
{
    (void)unused;
    pipeline p;
    qn_virtual run;
    all(&p, 2, 5, 2, 1);
    p.links[0].latency = 0.5;
    run_of(&run, &p);
    assert_true(run.end == 2 + 1 + 0.5 + 5 * 2);
    assert_true(qn_virtual_step_of(&run, 1, 3)->begin == 4 * 2 + 1 + 0.5);
    qn_virtual_free(&run);
}

/* The slowest link sets the pace, and the stage before it is held up when both of its buffers wait: stage 0 can give
 * message m when message m - 2 has left. */
static void test_a_slow_link_holds_up_the_stage_before_it(void **unused)
{
    (void)unused;
    pipeline p;
    qn_virtual run;
    all(&p, 3, 6, 1, 1);
    for (int64_t m = 0; m < 6; m++) {
        p.bytes[0][m] = 4;
    }
    run_of(&run, &p);
    assert_true(qn_virtual_send_of(&run, 0, 0)->start == 1);
    for (int64_t m = 0; m < 6; m++) {
        assert_true(qn_virtual_send_of(&run, 0, m)->sent == 5 + 4 * (double)m);
        assert_true(qn_virtual_step_of(&run, 0, m)->give == (m < 2 ? 1 + (double)m : 5 + 4 * (double)(m - 2)));
    }
    assert_true(run.end == 5 + 4 * 5 + 1 + 1 + 1);
    qn_virtual_free(&run);
}

/* A slow stage holds up the link: message m goes when message m - 2 was taken. */
static void test_a_slow_stage_holds_up_the_link_before_it(void **unused)
{
    (void)unused;
    pipeline p;
    qn_virtual run;
    all(&p, 2, 6, 0.25, 1);
    for (int64_t m = 0; m < 6; m++) {
        p.compute[1][m] = 8;
    }
    run_of(&run, &p);
    for (int64_t m = 2; m < 6; m++) {
        assert_true(qn_virtual_send_of(&run, 0, m)->start == later(0.25 + (double)m, 1.25 + 8 * (double)(m - 2)));
    }
    assert_true(run.end == 1.25 + 6 * 8);
    qn_virtual_free(&run);
}

/* Two links on one medium take turns: half the rate of two media. */
static void test_links_on_one_medium_take_turns(void **unused)
{
    (void)unused;
    pipeline p;
    qn_virtual run;
    all(&p, 3, 16, 0, 2);
    p.links[1].medium = 0;
    run_of(&run, &p);
    assert_true(run.end == 16 * 4);
    for (int64_t m = 1; m + 1 < 16; m++) {
        assert_true(qn_virtual_send_of(&run, 0, m + 1)->start - qn_virtual_send_of(&run, 0, m)->start == 4);
    }
    qn_virtual_free(&run);
    p.links[1].medium = 1;
    run_of(&run, &p);
    assert_true(run.end == 17 * 2);
    qn_virtual_free(&run);
}

static double never(void *context, size_t link, double start, double bytes)
{
    return link == 1 && start > 3 ? INFINITY : finish(context, link, start, bytes);
}

static qn_status breaks(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    if (stage == 1 && m == 2) {
        return qn_fail(err, QN_EIO, "stage 1", "broken");
    }
    return compute(context, stage, m, now, seconds, err);
}

static void test_failures_are_told(void **unused)
{
    (void)unused;
    static pipeline p;
    qn_virtual run;
    qn_error err;
    qn_error_init(&err);
    all(&p, 3, 6, 1, 1);
    qn_virtual_host host = {&p, take, compute, give, never};
    qn_assert_ok(qn_virtual_create(&run, 3, 6, p.links, &host, &err), &err);
    qn_assert_fails(qn_virtual_run(&run, &err), &err, QN_ERANGE, "message 1 of link 1, begun at 4 s, never arrives");
    qn_virtual_free(&run);
    qn_error_init(&err);
    host = (qn_virtual_host){&p, take, breaks, give, finish};
    p.now = 0;
    qn_assert_ok(qn_virtual_create(&run, 3, 6, p.links, &host, &err), &err);
    qn_assert_fails(qn_virtual_run(&run, &err), &err, QN_EIO, "broken");
    qn_virtual_free(&run);
    qn_error_init(&err);
    qn_assert_fails(qn_virtual_create(&run, SIZE_MAX / 2, 6, p.links, &host, &err), &err, QN_ELIMIT, "too many");
    for (int64_t left = 0; left < 6; left++) {
        qn_error_init(&err);
        qn_alloc_fail_after(left);
        const qn_status status = qn_virtual_create(&run, 3, 6, p.links, &host, &err);
        qn_alloc_fail_after(-1);
        assert_int_equal(status, QN_ENOMEM);
    }
}

/* Three stages; link 1 has a bandwidth in the plan. */
static void plan_of(qn_plan *plan, qn_plan_stage stages[3], qn_plan_link links[2])
{
    for (int k = 0; k < 3; k++) {
        stages[k] = (qn_plan_stage){.seconds_per_item = NAN};
    }
    links[0] = (qn_plan_link){.bandwidth = NAN};
    links[1] = (qn_plan_link){.bandwidth = 5e6, .latency = 0.25};
    *plan = (qn_plan){.n_stages = 3, .stages = stages, .links = links};
}

static void test_spec_is_read(void **unused)
{
    (void)unused;
    qn_plan plan;
    qn_plan_stage stages[3];
    qn_plan_link links[2];
    plan_of(&plan, stages, links);
    qn_virtual_spec spec;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_virtual_spec_read(&spec, "--simulate", "link0.bandwidth=10Mbit", &plan, &err), &err);
    assert_true(qn_trace_bandwidth(spec.links[0].trace, spec.links[0].trace_link, 7) == 1e7);
    assert_true(qn_trace_bandwidth(spec.links[1].trace, spec.links[1].trace_link, 7) == 5e6);
    assert_true(spec.links[0].latency == 0 && spec.links[1].latency == 0.25);
    assert_int_equal(spec.stages[0].compute, QN_VIRTUAL_MEASURED);
    qn_virtual_spec_free(&spec);

    for (int k = 0; k < 3; k++) {
        stages[k].seconds_per_item = 0.5;
    }
    const char *text = "latency=5ms,bandwidth=1kB/s,link1.latency=1s,stage2.compute=macs:2e6";
    qn_assert_ok(qn_virtual_spec_read(&spec, "--simulate", text, &plan, &err), &err);
    for (int k = 0; k < 2; k++) { /* what is said goes before the plan */
        assert_true(qn_trace_bandwidth(spec.links[k].trace, spec.links[k].trace_link, 0) == 8000);
        assert_true(spec.links[k].latency == (k == 0 ? 0.005 : 1));
    }
    assert_int_equal(spec.stages[0].compute, QN_VIRTUAL_PLAN);
    assert_int_equal(spec.stages[2].compute, QN_VIRTUAL_MACS);
    assert_true(spec.stages[2].macs_per_second == 2e6);
    qn_virtual_spec_free(&spec);

    char csv[512];
    snprintf(csv, sizeof csv, "trace=%s,compute=measured", qn_scratch_file("bw.csv"));
    FILE *file = fopen(qn_scratch_file("bw.csv"), "w");
    fputs("0,1000,link1\n0,500,link0\n5,250,link0\n", file);
    fclose(file);
    qn_assert_ok(qn_virtual_spec_read(&spec, "--simulate", csv, &plan, &err), &err);
    assert_true(qn_trace_bandwidth(spec.links[0].trace, spec.links[0].trace_link, 6) == 250);
    assert_true(qn_trace_bandwidth(spec.links[1].trace, spec.links[1].trace_link, 6) == 1000);
    assert_true(qn_trace_end(spec.links[0].trace, spec.links[0].trace_link) == 5);
    assert_true(qn_trace_end(spec.links[1].trace, spec.links[1].trace_link) == 0);
    assert_true(isnan(qn_trace_end(spec.links[1].trace, 9)));
    assert_int_equal(spec.stages[1].compute, QN_VIRTUAL_MEASURED);
    qn_virtual_spec_free(&spec);
    file = fopen(qn_scratch_file("bw.csv"), "w");
    fputs("0,1000,link1\n", file);
    fclose(file);
    qn_assert_fails(qn_virtual_spec_read(&spec, "--simulate", csv, &plan, &err), &err, QN_EINVAL, "none of link0");
}

static void test_spec_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *fragment;
    } rows[] = {
        {"bandwidth", "not KEY=VALUE"},
        {"bandwidth=", "not KEY=VALUE"},
        {"speed=10Mbit", "'speed' is no key; there are bandwidth, latency, trace, compute"},
        {"link0.compute=measured", "is no key"},
        {"stage0.latency=5ms", "is no key"},
        {"link=10Mbit", "is no key"},
        {"link2.bandwidth=10Mbit", "the plan has 2 links, which count from 0"},
        {"link.bandwidth=10Mbit", "is no key"},
        {"link12345678901.bandwidth=10Mbit", "2 links"},
        {"stage3.compute=measured", "the plan has 3 stages"},
        {"bandwidth=10Mbit,bandwidth=5Mbit", "twice"},
        {"bandwidth=0Mbit", "0"},
        {"bandwidth=10", "unit"},
        {"bandwidth=10Mbit,latency=5", "5"},
        {"bandwidth=10Mbit,latency=-5ms", "-5ms"},
        {"bandwidth=10Mbit,trace=x.csv", "contradict"},
        {"latency=5ms", "nothing says how fast link 0 is"},
        {"bandwidth=10Mbit,compute=fast", "none of measured, macs:RATE and plan"},
        {"bandwidth=10Mbit,compute=macs:0", "macs:1e9"},
        {"bandwidth=10Mbit,compute=macs:1e9x", "macs:1e9"},
        {"bandwidth=10Mbit,compute=plan", "does not say what stage 0 takes"},
        {"trace=/nowhere/bw.csv", "/nowhere/bw.csv"},
    };
    qn_plan plan;
    qn_plan_stage stages[3];
    qn_plan_link links[2];
    plan_of(&plan, stages, links);
    qn_virtual_spec spec;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        const qn_status status = qn_virtual_spec_read(&spec, "--simulate", rows[i].text, &plan, &err);
        qn_assert_fails(status, &err, i + 1 == sizeof rows / sizeof rows[0] ? QN_EIO : QN_EINVAL, rows[i].fragment);
    }
    for (int64_t left = 0;; left++) {
        qn_error err;
        qn_error_init(&err);
        qn_alloc_fail_after(left);
        const qn_status status = qn_virtual_spec_read(&spec, "--simulate", "bandwidth=10Mbit", &plan, &err);
        qn_alloc_fail_after(-1);
        if (status == QN_OK) {
            qn_virtual_spec_free(&spec);
            break;
        }
        assert_int_equal(status, QN_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_pipelines_follow_the_recurrences),
        cmocka_unit_test(test_stages_and_links_work_at_the_same_time),
        cmocka_unit_test(test_a_slow_link_holds_up_the_stage_before_it),
        cmocka_unit_test(test_a_slow_stage_holds_up_the_link_before_it),
        cmocka_unit_test(test_links_on_one_medium_take_turns),
        cmocka_unit_test(test_failures_are_told),
        cmocka_unit_test(test_spec_is_read),
        cmocka_unit_test(test_spec_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
