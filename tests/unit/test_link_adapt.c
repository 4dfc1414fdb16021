/* Policies in pipelines: windows are counted, measured and mixed as said, and a rate holds while a bandwidth falls. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "link/adapt.h"
#include "link/adapt_transport.h"
#include "link/message.h"
#include "link/virtual.h"

static const qn_link_choice choices[] = {{.format = "fp32", .loss = 0, .sqnr_db = NAN},
                                         {.format = "int8", .loss = 0.01, .sqnr_db = NAN},
                                         {.format = "int4", .per = QN_LINK_PER_CHANNEL, .loss = 0.05, .sqnr_db = NAN}};
static const size_t bytes[] = {4000, 1000, 500};
enum { N = 300, WINDOW = 10 };

static qn_adapt_link link_of(const char *name, const char *medium)
{
    return (qn_adapt_link){.name = name,
                           .medium = medium,
                           .choices = choices,
                           .n_choices = 3,
                           .bytes = bytes,
                           .code_bits = 8000,
                           .values = 1000,
                           .known = NAN};
}

static qn_adapt_options options_of(const char *policy)
{
    return (qn_adapt_options){.policy = policy, .rate = 10, .accuracy_budget = NAN, .window = WINDOW, .microbatch = 1};
}

/* Stages that take no time, but the first, which makes 20 messages a second; links of 400 kbit/s each, or one medium of
 * 400 kbit/s, that fall to a quarter from 10 s to 20 s. */
typedef struct {
    qn_adapt *adapt;
    qn_virtual run;
    qn_virtual_link links[2];
    int64_t told[2];
    size_t chosen[2][N];
} bench;

static qn_status nothing(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)context, (void)stage, (void)m, (void)now, (void)err;
    *seconds = 0;
    return QN_OK;
}
static qn_status compute(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)context, (void)m, (void)now, (void)err;
    *seconds = stage == 0 ? 0.05 : 0;
    return QN_OK;
}
static qn_status give(void *context, size_t stage, int64_t m, double now, double *seconds, size_t *n, qn_error *err)
{
    bench *b = context;
    *seconds = 0;
    for (; b->told[stage] < m && qn_virtual_send_of(&b->run, stage, b->told[stage])->sent <= now; b->told[stage]++) {
        const qn_virtual_send *sent = qn_virtual_send_of(&b->run, stage, b->told[stage]);
        qn_adapt_sent(b->adapt, stage, 1, sent->bytes, sent->sent - sent->start);
    }
    QN_TRY(qn_adapt_choose(b->adapt, stage, m, now, &b->chosen[stage][m], err));
    *n = bytes[b->chosen[stage][m]];
    return QN_OK;
}
static double finish(void *context, size_t link, double start, double n)
{
    (void)context, (void)link;
    const double ends[] = {10, 20, INFINITY}, rates[] = {50000, 12500, 50000};
    for (int i = 0;; i++) {
        const double until = start + n / rates[i];
        if (until <= ends[i]) {
            return until;
        }
        if (start < ends[i]) {
            n -= (ends[i] - start) * rates[i];
            start = ends[i];
        }
    }
}

static void play(bench *b, const char *policy, size_t n_links, bool shared)
{
    qn_error err;
    qn_error_init(&err);
    memset(b, 0, sizeof *b);
    const char *medium = shared ? "air" : NULL;
    const qn_adapt_link about[] = {link_of("link1", medium), link_of("link2", medium)};
    const qn_adapt_options options = options_of(policy);
    qn_assert_ok(qn_adapt_create(&b->adapt, &options, about, n_links, &err), &err);
    b->links[1].medium = shared ? 0 : 1;
    const qn_virtual_host host = {b, nothing, compute, give, finish};
    qn_assert_ok(qn_virtual_create(&b->run, n_links + 1, N, b->links, &host, &err), &err);
    qn_assert_ok(qn_virtual_run(&b->run, &err), &err);
    for (size_t l = 0; l < n_links; l++) {
        qn_adapt_close(b->adapt, l, b->run.end);
    }
}

static void stop(bench *b)
{
    qn_adapt_free(b->adapt);
    qn_virtual_free(&b->run);
}

/* Windows of a link against its messages, counted one by one. */
static void check_windows(const bench *b, size_t link)
{
    assert_int_equal(qn_adapt_n_windows(b->adapt, link), N / WINDOW);
    for (size_t w = 0; w < N / WINDOW; w++) {
        const qn_adapt_window *window = qn_adapt_window_of(b->adapt, link, w);
        assert_int_equal(window->first, w * WINDOW);
        assert_int_equal(window->n, WINDOW);
        assert_true(window->from == qn_virtual_step_of(&b->run, link, window->first)->give);
        int64_t n_of[3] = {0}, messages = 0;
        double sum = 0, seconds = 0;
        for (int64_t m = 0; m < N; m++) {
            const qn_virtual_send *sent = qn_virtual_send_of(&b->run, link, m);
            if (m >= window->first && m < window->first + WINDOW) {
                n_of[b->chosen[link][m]]++;
                assert_int_equal(sent->bytes, bytes[b->chosen[link][m]]);
            }
            /* The first of the next window is given when others have left by then. */
            if (sent->sent > window->from && sent->sent <= window->to && w + 1 < N / WINDOW) {
                messages++;
                sum += (double)sent->bytes;
                seconds += sent->sent - sent->start;
            }
        }
        for (int p = 0; p < window->plan.n_parts; p++) {
            assert_int_equal(n_of[window->plan.parts[p].choice], window->plan.parts[p].n_microbatches);
        }
        if (w + 1 < N / WINDOW) {
            assert_true(window->to == qn_virtual_step_of(&b->run, link, window->first + WINDOW)->give);
            assert_int_equal(window->sent.messages, messages);
            assert_true(window->sent.bytes == sum);
            assert_true(fabs(window->sent.seconds - seconds) < 1e-9);
        }
    }
}

/* Messages of the link that leave from one time to another, in a second. */
static double rate_between(const bench *b, size_t link, double from, double to)
{
    int64_t n = 0;
    for (int64_t m = 0; m < N; m++) {
        const double sent = qn_virtual_send_of(&b->run, link, m)->sent;
        n += sent > from && sent <= to;
    }
    return (double)n / (to - from);
}

static void test_fixed_falls_with_the_bandwidth(void **unused)
{
    (void)unused;
    static bench b;
    play(&b, "", 1, false);
    check_windows(&b, 0);
    for (int64_t m = 0; m < N; m++) {
        assert_int_equal(b.chosen[0][m], 0);
    }
    assert_true(rate_between(&b, 0, 2, 10) >= 12.4);
    assert_true(rate_between(&b, 0, 11, 19) <= 3.2); /* 12500 / 4000 */
    stop(&b);
}

static void test_quern_holds_the_rate(void **unused)
{
    (void)unused;
    static bench b;
    play(&b, "quern", 1, false);
    check_windows(&b, 0);
    assert_true(rate_between(&b, 0, 2, 10) >= 10);
    /* A window begun at 12.5 a second ends within 10 messages of 0.32 s, and two that were given before. */
    assert_true(rate_between(&b, 0, 14, 19.9) >= 10);
    assert_int_equal(b.chosen[0][N - 1], 0);
    stop(&b);
}

/* Two links on one medium: 4000 bytes twice at 10 a second are 80 kB/s, more than there are; the sum fits. */
static void test_links_of_one_medium_are_decided_together(void **unused)
{
    (void)unused;
    static bench b;
    play(&b, "quern", 2, true);
    check_windows(&b, 0);
    check_windows(&b, 1);
    assert_true(rate_between(&b, 1, 5, 9.9) >= 10);
    stop(&b);
    play(&b, "fixed", 2, true);
    assert_true(rate_between(&b, 1, 5, 9.9) < 7);
    stop(&b);
}

static void test_pipeedges_policies_run(void **unused)
{
    (void)unused;
    static bench b;
    for (int i = 0; i < 3; i++) {
        play(&b, (const char *[]){"heuristic", "heuristic2", "controller"}[i], 1, false);
        check_windows(&b, 0);
        int64_t other = 0;
        for (int64_t m = 0; m < N; m++) {
            other += b.chosen[0][m] != 0;
        }
        assert_true(other > 0);
        stop(&b);
    }
}

/* A message that began in the window before may have been on its way for longer than the window; it counts. */
static void test_a_message_may_take_longer_than_a_window(void **unused)
{
    (void)unused;
    qn_error err;
    qn_error_init(&err);
    const qn_adapt_link link = link_of("link0", NULL);
    qn_adapt_options options = options_of("quern");
    options.window = 1;
    qn_adapt *adapt;
    size_t choice;
    qn_assert_ok(qn_adapt_create(&adapt, &options, &link, 1, &err), &err);
    qn_assert_ok(qn_adapt_choose(adapt, 0, 0, 0, &choice, &err), &err);
    qn_assert_ok(qn_adapt_choose(adapt, 0, 1, 1, &choice, &err), &err);
    qn_adapt_sent(adapt, 0, 1, 4000, 1.5);
    qn_assert_ok(qn_adapt_choose(adapt, 0, 2, 2, &choice, &err), &err);
    const qn_adapt_window *before = qn_adapt_window_of(adapt, 0, 1), *now = qn_adapt_window_of(adapt, 0, 2);
    assert_true(before->sent.elapsed == 1.5 && before->to - before->from == 1);
    assert_int_equal(now->plan.flags & (QN_PLAN_IGNORED | QN_PLAN_UNMEASURED), 0);
    assert_int_equal(choice, 2); /* int4, as 2667 bytes a second carry no 10 messages a second */
    qn_adapt_free(adapt);
}

static void fails(qn_adapt_options options, qn_adapt_link link, qn_status status, const char *fragment)
{
    qn_error err;
    qn_error_init(&err);
    qn_adapt *adapt;
    qn_assert_fails(qn_adapt_create(&adapt, &options, &link, 1, &err), &err, status, fragment);
    assert_null(adapt);
}

static void test_refusals(void **unused)
{
    (void)unused;
    qn_adapt_link link = link_of("link1", NULL);
    qn_adapt_options options = options_of("best");
    fails(options, link, QN_EINVAL, "no policy");
    options = options_of("quern");
    options.window = 0;
    fails(options, link, QN_EINVAL, "window of 0");
    options = options_of("quern");
    options.rate = NAN;
    fails(options, link, QN_EINVAL, "rate");
    link.n_choices = 1;
    fails(options_of("quern"), link, QN_ECONFLICT, "nothing to choose from");

    qn_error err;
    qn_error_init(&err);
    qn_adapt *adapt;
    link = link_of("link1", NULL);
    options = options_of("quern");
    int64_t left = 0;
    for (qn_status status = QN_ENOMEM; status != QN_OK; left++) {
        qn_error_init(&err);
        qn_alloc_fail_after(left);
        status = qn_adapt_create(&adapt, &options, &link, 1, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
    }
    assert_true(left > 3);
    size_t choice;
    qn_assert_fails(qn_adapt_choose(adapt, 0, 1, 0, &choice, &err), &err, QN_EINTERNAL, "instead of 0");
    qn_adapt_free(adapt);
}

static void test_text(void **unused)
{
    (void)unused;
    char text[QN_ADAPT_TEXT];
    const qn_policy_plan one = {.n_parts = 1, .parts = {{1, 10}}}, two = {.n_parts = 2, .parts = {{1, 6}, {2, 4}}};
    assert_string_equal(qn_adapt_text(text, &one, choices), "int8/tensor");
    assert_string_equal(qn_adapt_text(text, &two, choices), "6 x int8/tensor, 4 x int4/channel");
}

/* A transport that notes what begins, and ends what it is told to. */
static struct {
    size_t begun[8];
    int n_begun;
    bool over[16], receives;
    double now;
} wire;

static qn_status wire_send(void *ctx, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                           qn_error *err)
{
    (void)ctx, (void)to, (void)channel, (void)data, (void)n_bytes, (void)err;
    wire.begun[wire.n_begun++] = slot;
    return QN_OK;
}
static qn_status wire_receive(void *ctx, size_t slot, int from, qn_channel channel, void *data, size_t room,
                              qn_error *err)
{
    (void)ctx, (void)slot, (void)from, (void)channel, (void)data, (void)room, (void)err;
    wire.receives = true;
    return QN_OK;
}
static qn_status wire_test(void *ctx, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err)
{
    (void)ctx, (void)err;
    *over = wire.over[slot];
    *n_bytes = 0;
    *from = -1;
    return QN_OK;
}
static void wire_rest(void *ctx, double seconds)
{
    (void)ctx, (void)seconds;
}
static double wire_now(void)
{
    return wire.now;
}

static bool is_over(const qn_transport *t, size_t slot)
{
    qn_error err;
    qn_error_init(&err);
    bool over;
    size_t n_bytes;
    int from;
    qn_assert_ok(t->test(t->ctx, slot, &over, &n_bytes, &from, &err), &err);
    return over;
}

enum { MESSAGE = 100, SLOT = 2 };

/* Messages of 100 bytes in slots 2 and 3, then the end in slot 4, handed over at once. */
static void open_wire(qn_adapt_transport *t, qn_transport *outer, const qn_virtual_speed *speed, qn_adapt *adapt)
{
    static unsigned char data[3][MESSAGE];
    qn_error err;
    qn_error_init(&err);
    memset(&wire, 0, sizeof wire);
    wire.now = 1000;
    const qn_transport real = {NULL, 0, 3, wire_send, wire_receive, wire_test, wire_rest};
    qn_assert_ok(qn_adapt_transport_open(t, outer, &real, speed, adapt, &err), &err);
    assert_true(t->n_slots <= 32 && t->n_slots > 5);
    t->now = wire_now;
    qn_adapt_transport_begin(t);
    size_t choice;
    for (int64_t m = 0; m < 2; m++) {
        qn_assert_ok(qn_adapt_choose(adapt, 0, m, 0, &choice, &err), &err);
        const qn_message message = {
            .kind = QN_MESSAGE_DATA, .frames = 1, .sequence = (uint64_t)m, .items = 4, .n_bytes = MESSAGE};
        qn_message_write(data[m], &message);
        qn_assert_ok(outer->send(outer->ctx, SLOT + (size_t)m, 1, QN_CHANNEL_DATA, data[m], MESSAGE, &err), &err);
    }
    const size_t n_bytes = qn_message_end(data[2], 0, 2, 8);
    qn_assert_ok(outer->send(outer->ctx, SLOT + 2, 1, QN_CHANNEL_DATA, data[2], n_bytes, &err), &err);
}

static void test_a_throttled_transport_keeps_the_links_time(void **unused)
{
    (void)unused;
    qn_error err;
    qn_error_init(&err);
    qn_adapt *adapt;
    const qn_adapt_link link = link_of("link0", NULL);
    const qn_adapt_options options = options_of("quern");
    qn_assert_ok(qn_adapt_create(&adapt, &options, &link, 1, &err), &err);
    qn_virtual_speed speed = {.latency = 0.5};
    qn_assert_ok(qn_bandwidth_trace_constant(&speed.trace, 8000, &err), &err); /* 0.1 s a message */
    qn_adapt_transport t;
    qn_transport outer;
    open_wire(&t, &outer, &speed, adapt);
    memset(wire.over, 1, sizeof wire.over); /* the real one is faster than anything */
    const struct {
        double at;
        int begun;
    } steps[] = {{0.3, 0}, {0.59, 0}, {0.61, 1}, {0.69, 1}, {0.71, 3}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        wire.now = 1000 + steps[i].at;
        /* The end, which could go at once, does not overtake. */
        assert_true(is_over(&outer, SLOT + 2) == (steps[i].begun == 3));
        assert_int_equal(wire.n_begun, steps[i].begun);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(wire.begun[i], SLOT + i);
    }
    assert_true(is_over(&outer, SLOT) && is_over(&outer, SLOT + 1));
    qn_adapt_close(adapt, 0, 1);
    const qn_adapt_window *window = qn_adapt_window_of(adapt, 0, 0);
    assert_int_equal(window->sent.messages, 2);
    assert_int_equal(window->sent.items, 8);
    assert_true(window->sent.bytes == 2 * MESSAGE);
    assert_true(fabs(window->sent.seconds - 0.2) < 1e-9);
    /* Other channels, and receiving, are not its matter. */
    qn_assert_ok(outer.send(outer.ctx, 5, 0, QN_CHANNEL_NOTE, "", 0, &err), &err);
    assert_int_equal(wire.n_begun, 4);
    qn_assert_ok(outer.receive(outer.ctx, 0, 1, QN_CHANNEL_DATA, NULL, 0, &err), &err);
    assert_true(wire.receives);
    qn_adapt_transport_close(&t);
    qn_bandwidth_trace_free(speed.trace);
    qn_adapt_free(adapt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_falls_with_the_bandwidth),
        cmocka_unit_test(test_quern_holds_the_rate),
        cmocka_unit_test(test_links_of_one_medium_are_decided_together),
        cmocka_unit_test(test_pipeedges_policies_run),
        cmocka_unit_test(test_a_message_may_take_longer_than_a_window),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_a_throttled_transport_keeps_the_links_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
