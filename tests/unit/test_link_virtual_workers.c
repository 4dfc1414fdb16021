/* Pipelines in one process: their messages and results are those of workers called by hand, whatever time it is. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "link/virtual_workers.h"
#include "quern/quern.h"

enum { N_ITEMS = 50, MICROBATCH = 4, N = 13, STAGES = 3, WINDOW = 2, OUTPUTS = 10 };

static const qn_link_choice choices[] = {
    {.format = "fp32", .loss = 0, .sqnr_db = NAN},
    {.format = "int8", .per = QN_LINK_PER_ITEM, .loss = 0.01, .sqnr_db = NAN},
    {.format = "int4", .per = QN_LINK_PER_ITEM, .loss = 0.05, .sqnr_db = NAN},
};

typedef struct {
    qn_model *model;
    qn_cuts *cuts;
    qn_plan plan;
    qn_plan_stage stages[STAGES];
    qn_plan_link links[STAGES - 1];
    size_t positions[STAGES + 1];
    float *x, y[N_ITEMS * OUTPUTS];
    const float *in[1];
    int64_t next;
} bench;

static qn_status read_items(void *context, int64_t first, int64_t n, const float *const **inputs, qn_error *err)
{
    bench *b = context;
    (void)n, (void)err;
    b->in[0] = b->x + first * 784;
    *inputs = b->in;
    return QN_OK;
}

static qn_status write_items(void *context, int64_t first, int64_t n, const qn_worker *last, qn_error *err)
{
    bench *b = context;
    (void)err;
    assert_int_equal(first, b->next);
    b->next += n;
    memcpy(b->y + first * OUTPUTS, qn_worker_output(last, 0), (size_t)(n * OUTPUTS) * sizeof(float));
    return QN_OK;
}

static void set_up(bench *b)
{
    qn_error err;
    qn_error_init(&err);
    memset(b, 0, sizeof *b);
    qn_assert_ok(qn_model_load(&b->model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_cuts_create(&b->cuts, b->model, QN_ENGINE_FLOAT, &err), &err);
    const char *names[] = {"pool.out", "res.relu.out"};
    for (int k = 0; k < STAGES; k++) {
        b->stages[k] = (qn_plan_stage){.until = k + 1 < STAGES ? names[k] : NULL, .seconds_per_item = 0.01};
        b->positions[k + 1] = qn_cuts_last(b->cuts);
        if (k + 1 < STAGES) {
            qn_assert_ok(qn_cuts_find(&b->positions[k + 1], b->cuts, names[k], &err), &err);
            b->links[k] = (qn_plan_link){(qn_link_choice *)(uintptr_t)choices, 3, true, NAN, 0, NULL};
        }
    }
    b->plan = (qn_plan){.model = "",
                        .sha256 = "",
                        .engine = QN_ENGINE_FLOAT,
                        .microbatch = MICROBATCH,
                        .n_stages = STAGES,
                        .stages = b->stages,
                        .links = b->links,
                        .policy = "",
                        .rate = NAN,
                        .accuracy_budget = NAN,
                        .window = WINDOW};
    b->x = qn_alloc(N_ITEMS * 784 * sizeof *b->x);
    uint64_t state = 3;
    for (int64_t i = 0; i < N_ITEMS * 784; i++) {
        b->x[i] = qn_test_uniform(&state, -1, 2);
    }
}

static void tear_down(bench *b)
{
    qn_free(b->x);
    qn_cuts_free(b->cuts);
    qn_model_free(b->model);
}

static void play(bench *b, qn_virtual_workers *all, qn_virtual_spec *spec, const char *said)
{
    qn_error err;
    qn_error_init(&err);
    b->next = 0;
    qn_assert_ok(qn_virtual_spec_read(spec, "--simulate", said, &b->plan, &err), &err);
    const qn_virtual_ends ends = {b, read_items, write_items};
    qn_assert_ok(qn_virtual_workers_create(all, b->cuts, &b->plan, b->positions, spec, N_ITEMS, &ends, &err), &err);
    qn_assert_ok(qn_virtual_workers_run(all, &err), &err);
    assert_int_equal(b->next, N_ITEMS);
}

/* One micro-batch after another through workers of their own, with the choices that the run took. */
static void check_by_hand(const bench *b, const qn_virtual_workers *all)
{
    qn_error err;
    qn_error_init(&err);
    qn_worker *workers[STAGES];
    for (size_t k = 0; k < STAGES; k++) {
        qn_assert_ok(qn_worker_create(&workers[k], b->cuts, &b->plan, b->positions, k, &err), &err);
    }
    unsigned char *message = qn_alloc(1 << 20);
    for (int64_t m = 0; m < N; m++) {
        const int64_t n = m + 1 < N ? MICROBATCH : N_ITEMS - (N - 1) * MICROBATCH;
        const float *in[] = {b->x + m * MICROBATCH * 784};
        assert_int_equal(qn_virtual_workers_items(all, m), n);
        qn_assert_ok(qn_worker_feed(workers[0], (uint64_t)m, in, n, &err), &err);
        for (size_t k = 0; k < STAGES; k++) {
            size_t n_bytes;
            qn_assert_ok(qn_worker_compute(workers[k], &err), &err);
            if (k + 1 < STAGES) {
                assert_true(qn_worker_most_given(workers[k]) <= 1 << 20);
                qn_assert_ok(qn_worker_give(workers[k], all->given[k][m], message, &n_bytes, &err), &err);
                assert_int_equal(qn_virtual_send_of(&all->run, k, m)->bytes, n_bytes);
                assert_int_equal(n_bytes, qn_worker_bytes(workers[k], all->given[k][m], n));
                int64_t told; /* to the policy */
                qn_assert_ok(
                    qn_plan_message_bytes(&told, b->cuts, b->positions[k + 1], &choices[all->given[k][m]], n, &err),
                    &err);
                assert_int_equal(told, n_bytes);
                qn_assert_ok(qn_worker_take(workers[k + 1], message, n_bytes, &err), &err);
            }
        }
        assert_memory_equal(b->y + m * MICROBATCH * OUTPUTS, qn_worker_output(workers[STAGES - 1], 0),
                            (size_t)(n * OUTPUTS) * sizeof(float));
    }
    qn_free(message);
    for (size_t k = 0; k < STAGES; k++) {
        qn_worker_free(workers[k]);
    }
}

/* At the end of each window the policy has been told of what had left by then, and of nothing else. */
static void check_told(const qn_virtual_workers *all)
{
    for (size_t k = 0; k + 1 < STAGES; k++) {
        int64_t told = 0;
        for (size_t w = 0; w + 1 < qn_adapt_n_windows(all->adapt, k); w++) {
            const qn_adapt_window *window = qn_adapt_window_of(all->adapt, k, w);
            int64_t left = 0;
            for (int64_t m = 0; m < N; m++) {
                left += qn_virtual_send_of(&all->run, k, m)->sent <= window->to;
            }
            told += window->sent.messages;
            assert_int_equal(told, left);
        }
    }
}

static void stop(qn_virtual_workers *all, qn_virtual_spec *spec)
{
    qn_virtual_workers_free(all);
    qn_virtual_spec_free(spec);
}

/* 10 ms an item and 40 ms a micro-batch; fast links. */
static void test_plan_seconds_make_the_time(void **unused)
{
    (void)unused;
    static bench b;
    qn_virtual_workers all;
    qn_virtual_spec spec;
    set_up(&b);
    play(&b, &all, &spec, "bandwidth=1Gbit,latency=1ms");
    check_by_hand(&b, &all);
    double wire = 0;
    for (size_t k = 0; k + 1 < STAGES; k++) {
        wire += (double)qn_virtual_send_of(&all.run, k, 0)->bytes * 8 / 1e9 + 0.001;
    }
    /* The first micro-batch through all, the last one, of two items, through the last two. */
    assert_true(all.run.end > wire + 0.04 * (N - 1) + 0.02 + 0.04 + 0.02 - 0.001);
    assert_true(all.run.end < wire + 0.04 * (N + 2));
    stop(&all, &spec);
    tear_down(&b);
}

static void test_a_policy_changes_messages_and_results_alike(void **unused)
{
    (void)unused;
    static bench b, again;
    qn_virtual_workers all, other;
    qn_virtual_spec spec, other_spec;
    set_up(&b);
    set_up(&again);
    b.plan.policy = again.plan.policy = "quern";
    b.plan.rate = again.plan.rate = 80;
    play(&b, &all, &spec, "bandwidth=2Mbit,compute=macs:1e9");
    check_by_hand(&b, &all);
    check_told(&all);
    size_t seen = 0;
    for (int64_t m = 0; m < N; m++) {
        seen |= (size_t)1 << all.given[0][m];
    }
    assert_true((seen & 1) != 0 && seen != 1); /* fp32, and then others */
    play(&again, &other, &other_spec, "bandwidth=2Mbit,compute=macs:1e9");
    assert_memory_equal(all.run.steps, other.run.steps, STAGES * N * sizeof *all.run.steps);
    assert_memory_equal(b.y, again.y, sizeof b.y);
    stop(&other, &other_spec);
    stop(&all, &spec);
    /* Links on one medium. */
    b.links[0].medium = b.links[1].medium = "air";
    play(&b, &all, &spec, "bandwidth=2Mbit,compute=measured");
    check_by_hand(&b, &all);
    for (int64_t m = 0; m < N; m++) {
        for (int64_t i = 0; i < N; i++) {
            const qn_virtual_send *x = qn_virtual_send_of(&all.run, 0, m), *y = qn_virtual_send_of(&all.run, 1, i);
            assert_true(x->sent <= y->start || y->sent <= x->start);
        }
    }
    stop(&all, &spec);
    tear_down(&b);
    tear_down(&again);
}

/* Unquantized links are exact enough for the network's own outputs. */
static void test_outputs_are_the_networks(void **unused)
{
    (void)unused;
    static bench b;
    qn_virtual_workers all;
    qn_virtual_spec spec;
    qn_error err;
    qn_error_init(&err);
    set_up(&b);
    play(&b, &all, &spec, "bandwidth=1Mbit");
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = N_ITEMS;
    qn_assert_ok(qn_program_create(&program, b.model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    static float expected[N_ITEMS * OUTPUTS];
    const float *in[] = {b.x};
    float *out[] = {expected};
    qn_assert_ok(qn_program_run(program, workspace, in, N_ITEMS, out, &err), &err);
    for (size_t i = 0; i < N_ITEMS * OUTPUTS; i++) {
        assert_true(fabsf(b.y[i] - expected[i]) < 1e-3f);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    stop(&all, &spec);
    tear_down(&b);
}

static void test_memory_failures(void **unused)
{
    (void)unused;
    static bench b;
    qn_virtual_workers all;
    qn_virtual_spec spec;
    qn_error err;
    qn_error_init(&err);
    set_up(&b);
    qn_assert_ok(qn_virtual_spec_read(&spec, "--simulate", "bandwidth=1Mbit", &b.plan, &err), &err);
    const qn_virtual_ends ends = {&b, read_items, write_items};
    int64_t left = 0;
    for (qn_status status = QN_ENOMEM; status != QN_OK; left += 7) {
        qn_error_init(&err);
        qn_alloc_fail_after(left);
        status = qn_virtual_workers_create(&all, b.cuts, &b.plan, b.positions, &spec, N_ITEMS, &ends, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
    }
    assert_true(left > 20);
    stop(&all, &spec);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_seconds_make_the_time),
        cmocka_unit_test(test_a_policy_changes_messages_and_results_alike),
        cmocka_unit_test(test_outputs_are_the_networks),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
