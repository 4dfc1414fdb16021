/* Where arrays differ: every kernel this machine can run, against a look at every byte. */
#include "guard.h"

#include <math.h>

#include "engine/integer/kernels/kernels.h"

static qn_cpu level(void)
{
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    return cpu;
}

static int below(int n, uint64_t *state)
{
    return (int)(qn_test_random(state) % (uint64_t)n);
}

static void random_range(int *low, int *high, int n, uint64_t *state)
{
    *low = below(n, state);
    *high = *low + 1 + below(n - *low, state);
}

static void widen(qn_box *box, int y, int x)
{
    box->y0 = y < box->y0 ? y : box->y0, box->y1 = y >= box->y1 ? y + 1 : box->y1;
    box->x0 = x < box->x0 ? x : box->x0, box->x1 = x >= box->x1 ? x + 1 : box->x1;
}

static void assert_box(const qn_box *box, const qn_box *expected)
{
    assert_memory_equal(box, expected, sizeof *box);
}

/* The box by looking at every byte from outside in. */
static bool expect_box(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    qn_box least = {1 << 30, 0, 1 << 30, 0, 1 << 30, 0};
    for (int y = box->y0; y < box->y1; y++) {
        for (int i = 0; i < (box->x1 - box->x0) * (box->k1 - box->k0); i++) {
            const int x = box->x0 + i / (box->k1 - box->k0), k = box->k0 + i % (box->k1 - box->k0);
            if (a[y * row + x * pixel + k] != b[y * row + x * pixel + k]) {
                widen(&least, y, x);
                least.k0 = k < least.k0 ? k : least.k0, least.k1 = k >= least.k1 ? k + 1 : least.k1;
            }
        }
    }
    const bool any = least.y1 > 0;
    *box = any ? least : *box;
    return any;
}

static void check_differ(const qn_kernel *kernel, const int size[3], int border, uint64_t *state)
{
    const ptrdiff_t pixel = size[2], row = (size[1] + border) * pixel;
    const size_t bytes = (size_t)((size[0] - 1) * row + size[1] * pixel);
    guarded a = guarded_new(bytes), b = guarded_new(bytes);
    for (int trial = 0; trial < 60; trial++) {
        for (size_t i = 0; i < bytes; i++) {
            a.data[i] = b.data[i] = (uint8_t)qn_test_random(state);
        }
        qn_box box = {0, size[0], 0, size[1], 0, size[2]};
        if (trial % 3 != 0) {
            random_range(&box.y0, &box.y1, size[0], state);
            random_range(&box.x0, &box.x1, size[1], state);
            random_range(&box.k0, &box.k1, size[2], state);
        }
        if (trial % 3 == 2) {
            box.k1 = box.k0 + 1;
        }
        const int changes[] = {0, 1, 2, 5, 40, 4000};
        for (int i = changes[trial % 6]; i > 0; i--) { /* anywhere, so that some are outside the box */
            b.data[qn_test_random(state) % bytes] ^= (uint8_t)(1 << below(8, state));
        }
        if (trial % 6 == 1) {
            b.data[box.y0 * row + (box.x1 - 1) * pixel + box.k1 - 1] ^= 0x80;
        }
        qn_box expected = box;
        const bool differs = expect_box(a.data, b.data, row, pixel, &expected);
        if (kernel->run.differ(a.data, b.data, row, pixel, &box) != differs) {
            fail_msg("%s: %d x %d x %d: not %d", kernel->name, size[0], size[1], size[2], differs);
        }
        assert_box(&box, &expected);
    }
    guarded_free(&a);
    guarded_free(&b);
}

static void differing_bytes_are_boxed(void **unused)
{
    (void)unused;
    static const int sizes[][3] = {{1, 1, 1},  {8, 8, 64},  {8, 8, 1},   {16, 16, 32}, {5, 7, 3},
                                   {3, 70, 1}, {1, 1, 400}, {2, 3, 130}, {9, 1, 100},  {1, 90, 2},
                                   {4, 5, 17}, {6, 6, 16},  {32, 3, 8},  {1, 3, 65}};
    uint64_t state = 31;
    int n = 0;
    for (size_t i = 0; i < qn_n_kernels; i++) {
        if (qn_kernels[i].op == QN_KERNEL_DIFFER && qn_kernels[i].cpu <= level()) {
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                check_differ(&qn_kernels[i], sizes[s], (int)s % 3, &state);
                n++;
            }
        }
    }
    assert_true(n > 0);
}

/* The bits of floats are compared: zeros of different signs differ, a NaN is like itself. */
static void differing_floats_are_boxed(void **unused)
{
    (void)unused;
    qn_differ_fn *differ = qn_kernel_select(QN_KERNEL_DIFFER, level(), 0)->run.differ;
    float a[2][3][5] = {{{NAN}}}, b[2][3][5];
    memcpy(b, a, sizeof a);
    const ptrdiff_t row = sizeof a[0], pixel = sizeof a[0][0];
    const qn_box whole = {0, 2, 0, 3, 0, 5};
    qn_box box = whole;
    assert_false(qn_differ_f32(differ, a[0][0], b[0][0], row, pixel, &box));
    assert_box(&box, &whole);
    b[1][2][3] = -0.0f;
    assert_true(qn_differ_f32(differ, a[0][0], b[0][0], row, pixel, &box));
    assert_box(&box, &(qn_box){1, 2, 2, 3, 3, 4});
    b[0][1][1] = 1.5f;
    box = whole;
    assert_true(qn_differ_f32(differ, a[0][0], b[0][0], row, pixel, &box));
    assert_box(&box, &(qn_box){0, 2, 1, 3, 1, 4});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differing_bytes_are_boxed),
        cmocka_unit_test(differing_floats_are_boxed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
