/* The plan of activations: nothing overlaps, and the peak is near the bytes that live at once, on networks of many
 * shapes. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include "export/c/plan_memory.h"

enum { MOST = 120 };

static int between(uint64_t *seed, int low, int high)
{
    return low + (int)(qn_test_random(seed) % (uint64_t)(high - low + 1));
}

/* Brute force: no two that live at one step share a byte; the peak is the greatest end; the bound is what lives at
 * once. */
static void check_plan(const qn_plan_buffer *b, int n, const qn_plan_memory *plan)
{
    int64_t end = 0, bound = 0;
    int steps = 0;
    for (int i = 0; i < n; i++) {
        assert_true(b[i].offset >= 0);
        end = b[i].offset + b[i].n_bytes > end ? b[i].offset + b[i].n_bytes : end;
        steps = b[i].last > steps ? b[i].last : steps;
        for (int j = 0; j < i; j++) {
            const bool meet = b[i].first <= b[j].last && b[j].first <= b[i].last;
            const bool apart = b[i].offset + b[i].n_bytes <= b[j].offset || b[j].offset + b[j].n_bytes <= b[i].offset;
            assert_true(!meet || apart);
        }
    }
    for (int step = 0; step <= steps; step++) {
        int64_t live = 0;
        for (int i = 0; i < n; i++) {
            live += b[i].first <= step && step <= b[i].last ? b[i].n_bytes : 0;
        }
        bound = live > bound ? live : bound;
    }
    assert_int_equal(plan->peak, end);
    assert_int_equal(plan->bound, bound);
    assert_true(plan->peak >= plan->bound);
}

/* A network: each layer makes a buffer and reads some of the last ones, now and then one from far back; maps shrink and
 * grow as those of convolutional and U-shaped networks do. */
static int draw_network(uint64_t *seed, qn_plan_buffer *b)
{
    const int n = between(seed, 1, MOST), far = between(seed, 1, 12), branching = between(seed, 0, 3);
    int64_t size = between(seed, 1, 4000);
    for (int i = 0; i < n; i++) {
        if (between(seed, 0, 3) == 0) {
            size = between(seed, 0, 1) == 0 ? size / 2 + 1 : size * 2;
            size = size > 1 << 20 ? 1 << 20 : size;
        }
        b[i] = (qn_plan_buffer){
            .n_bytes = between(seed, 0, 4) == 0 ? between(seed, 1, 6000) : size, .first = i, .last = i};
        for (int j = 1; j <= 1 + branching && i - j >= 0; j++) {
            if (j == 1 || between(seed, 0, 2) == 0) {
                b[i - j].last = i;
            }
        }
        if (between(seed, 0, 5) == 0 && i >= far) {
            b[i - far].last = i;
        }
    }
    return n;
}

static void test_networks(void **state)
{
    (void)state;
    enum { N = 400 };
    qn_plan_buffer b[MOST];
    int optimal = 0;
    double worst = 1, sum = 0;
    for (uint64_t seed = 1; seed <= N; seed++) {
        uint64_t random = seed * 0x9e3779b97f4a7c15u;
        const int n = draw_network(&random, b);
        qn_plan_memory plan;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_plan_memory_make(&plan, b, n, &err), &err);
        check_plan(b, n, &plan);
        const double over = (double)plan.peak / (double)plan.bound;
        worst = over > worst ? over : worst;
        sum += over;
        optimal += plan.peak == plan.bound;
    }
    print_message("peak / bound: worst %.4f, mean %.4f; %d of %d reach it\n", worst, sum / N, optimal, N);
    assert_true(worst <= 1.1);
    assert_true(optimal >= N * 9 / 10);
}

/* Any intervals: correct, whatever the peak. */
static void test_any_lifetimes(void **state)
{
    (void)state;
    qn_plan_buffer b[MOST], again[MOST];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t random = seed * 0x2545f4914f6cdd1du;
        const int n = between(&random, 1, 40);
        for (int i = 0; i < n; i++) {
            const int first = between(&random, 0, 60);
            b[i] = (qn_plan_buffer){
                .n_bytes = between(&random, 1, 1000), .first = first, .last = first + between(&random, 0, 30)};
            again[i] = b[i];
        }
        qn_plan_memory plan, second;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_plan_memory_make(&plan, b, n, &err), &err);
        check_plan(b, n, &plan);
        qn_assert_ok(qn_plan_memory_make(&second, again, n, &err), &err);
        assert_memory_equal(b, again, (size_t)n * sizeof *b);
    }
}

static void test_nothing_to_plan(void **state)
{
    (void)state;
    qn_plan_memory plan;
    qn_assert_ok(qn_plan_memory_make(&plan, NULL, 0, NULL), NULL);
    assert_int_equal(plan.peak, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_any_lifetimes),
        cmocka_unit_test(test_nothing_to_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
