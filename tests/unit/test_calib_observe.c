/* Observation kernels: each against a search in double over the elements a layout names, on inputs biased to extremes.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"

static const float specials[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, 1.0f, -1.0f};

static float any_float(uint64_t *random)
{
    uint64_t r = qn_test_random(random);
    return r % 8 == 0 ? specials[(r >> 8) % (sizeof specials / sizeof specials[0])] : qn_test_uniform(random, -3, 2);
}

/* What min, max and "no NaN" mean; zeros are positive. */
static bool search(const float *const *elements, int64_t n, float *min, float *max)
{
    double lo = INFINITY, hi = -INFINITY;
    bool ordered = true;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)*elements[i];
        ordered = ordered && !isnan(x);
        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
    }
    *min = lo == 0 ? 0.0f : (float)lo;
    *max = hi == 0 ? 0.0f : (float)hi;
    return ordered;
}

static void assert_same_bits(float a, float b)
{
    assert_memory_equal(&a, &b, sizeof a);
}

/* Buffers of exactly the size needed, so that a read past the end is seen by the sanitizer. */
static float *exact_buffer(int64_t n, uint64_t *random)
{
    float *x = malloc((size_t)n * sizeof *x + (n == 0));
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = any_float(random);
    }
    return x;
}

static void check_view(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item)
{
    float *min = malloc((size_t)view->channels * sizeof *min), *max = malloc((size_t)view->channels * sizeof *max);
    const float **elements = malloc((size_t)view->inner * sizeof *elements);
    assert_true(min != NULL && max != NULL && elements != NULL);
    for (int64_t c = 0; c < view->channels; c++) {
        min[c] = INFINITY;
        max[c] = -INFINITY;
    }
    bool ordered = qn_observe_item(kernels, view, item, min, max), expect_ordered = true;
    for (int64_t c = 0; c < view->channels; c++) {
        for (int64_t i = 0; i < view->inner; i++) {
            elements[i] = view->data + item * view->stride_n + (c / view->block) * view->stride_block +
                          i * view->stride_inner + c % view->block;
        }
        float expect_min, expect_max;
        expect_ordered &= search(elements, view->inner, &expect_min, &expect_max);
        assert_same_bits(min[c], expect_min);
        assert_same_bits(max[c], expect_max);
    }
    assert_int_equal(ordered, expect_ordered);
    free(min);
    free(max);
    free(elements);
}

/* The highest element of the last item that a view may read, plus one. */
static int64_t extent(const qn_value_view *v)
{
    return (v->n - 1) * v->stride_n + ((v->channels - 1) / v->block) * v->stride_block +
           (v->inner - 1) * v->stride_inner + (v->channels - 1) % v->block + 1;
}

static void check_layouts(const qn_observe_kernels *kernels, int64_t channels, int64_t inner, uint64_t *random)
{
    const int64_t blocks[] = {1, 8, 16, channels};
    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
        int64_t block = blocks[b], n_blocks = (channels + block - 1) / block;
        qn_value_view view = {.n = 2, .channels = channels, .inner = inner, .block = block};
        view.stride_inner = block;
        view.stride_block = block * inner;
        view.stride_n = n_blocks * block * inner;
        float *x = exact_buffer(view.stride_n + extent(&view), random);
        view.data = x;
        check_view(kernels, &view, 0);
        check_view(kernels, &view, 1);
        x[view.stride_n + (channels - 1) / block * view.stride_block + (channels - 1) % block] = NAN;
        check_view(kernels, &view, 0);
        check_view(kernels, &view, 1);
        free(x);
    }
}

static void every_kernel_finds_exact_ranges_in_every_layout(void **state)
{
    (void)state;
    size_t n;
    const qn_observe_kernels *kernels = qn_observe_kernels_all(&n);
    for (size_t k = 0; k < n; k++) {
        if (kernels[k].cpu > qn_cpu_best()) {
            print_message("skipped: %s needs a better CPU\n", kernels[k].name);
            continue;
        }
        uint64_t random = 0x1234567u;
        for (int64_t channels = 1; channels <= 35; channels++) {
            for (int64_t inner = 1; inner <= 70; inner += channels < 4 ? 1 : 5) {
                check_layouts(&kernels[k], channels, inner, &random);
            }
        }
    }
}

static void ranges_accumulate_and_a_nan_touches_nothing_else(void **state)
{
    (void)state;
    size_t n;
    const qn_observe_kernels *kernels = qn_observe_kernels_all(&n);
    for (size_t k = 0; k < n && kernels[k].cpu <= qn_cpu_best(); k++) {
        for (int64_t at = 0; at < 45; at++) {
            float x[45], min = -2, max = 5;
            for (int i = 0; i < 45; i++) {
                x[i] = (float)i / 8;
            }
            x[at] = NAN;
            assert_false(kernels[k].row(x, 45, &min, &max));
            assert_true(min == -2);
            assert_true(max == (at == 44 ? 43.0f / 8 : 44.0f / 8));
            x[at] = -7;
            assert_true(kernels[k].row(x, 45, &min, &max));
            assert_true(min == -7);
        }
    }
}

static void negative_zeros_become_positive(void **state)
{
    (void)state;
    size_t n;
    const qn_observe_kernels *kernels = qn_observe_kernels_all(&n);
    for (size_t k = 0; k < n && kernels[k].cpu <= qn_cpu_best(); k++) {
        float x[40];
        for (int i = 0; i < 40; i++) {
            x[i] = -0.0f;
        }
        for (int64_t length = 1; length <= 40; length++) {
            float min = INFINITY, max = -INFINITY, column_min[40], column_max[40];
            for (int i = 0; i < 40; i++) {
                column_min[i] = INFINITY;
                column_max[i] = -INFINITY;
            }
            assert_true(kernels[k].row(x, length, &min, &max));
            assert_true(kernels[k].columns(x, 1, 40, length, column_min, column_max));
            assert_false(signbit(min) || signbit(max) || signbit(column_min[length - 1]) ||
                         signbit(column_max[length - 1]));
        }
    }
}

static void the_choice_follows_the_cpu(void **state)
{
    (void)state;
    size_t n;
    const qn_observe_kernels *all = qn_observe_kernels_all(&n);
    assert_ptr_equal(qn_observe_kernels_for(QN_CPU_REFERENCE), &all[0]);
    assert_ptr_equal(qn_observe_kernels_for(QN_CPU_AMX), &all[n - 1]);
    for (size_t i = 1; i < n; i++) {
        assert_ptr_equal(qn_observe_kernels_for(all[i].cpu), &all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_finds_exact_ranges_in_every_layout),
        cmocka_unit_test(ranges_accumulate_and_a_nan_touches_nothing_else),
        cmocka_unit_test(negative_zeros_become_positive),
        cmocka_unit_test(the_choice_follows_the_cpu),
    };
    return cmocka_run_group_tests_name("calib_observe", tests, NULL, NULL);
}
