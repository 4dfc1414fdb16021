/* Addition, pooling, lookup and encoding: every kernel this machine can run, against plain arithmetic in the test. */
#include "guard.h"

#include <math.h>
#include <stdlib.h>

#include "engine/integer/kernels/kernels.h"

static qn_cpu level(void)
{
    qn_cpu cpu;
    assert_int_equal(qn_cpu_from_environment(&cpu, NULL, NULL), QN_OK);
    return cpu;
}

static uint8_t code_of(float x, int zero_point, int lo, int hi)
{
    double code = rint((double)x) + zero_point;
    return (uint8_t)(code < lo ? lo : code > hi ? hi : code);
}

typedef void check_fn(const qn_kernel *kernel, uint64_t *state);

static void for_each_kernel(qn_kernel_op op, check_fn *check)
{
    uint64_t state = 99;
    int n = 0;
    for (size_t i = 0; i < qn_n_kernels; i++) {
        if (qn_kernels[i].op == op && qn_kernels[i].cpu <= level()) {
            check(&qn_kernels[i], &state);
            n++;
        }
    }
    assert_true(n > 0);
}

/* All pairs of codes, then odd lengths at the edge of a page. */
static void check_add(const qn_kernel *kernel, uint64_t *state)
{
    enum { ALL = 65536 };
    guarded a = guarded_new(ALL), b = guarded_new(ALL), y = guarded_new(ALL);
    for (int i = 0; i < ALL; i++) {
        a.data[i] = (uint8_t)(i % 256);
        b.data[i] = (uint8_t)(i / 256);
    }
    for (int trial = 0; trial < 60; trial++) {
        qn_add_params p = {.ratio_a = expf(qn_test_uniform(state, -3, 3)),
                           .ratio_b = expf(qn_test_uniform(state, -3, 3)),
                           .zero_a = (int32_t)(qn_test_random(state) % 256),
                           .zero_b = trial * 6,
                           .zero_point = (int32_t)(qn_test_random(state) % 256),
                           .hi = 255};
        if (trial % 3 == 0) {
            p.ratio_a = 0.5f, p.ratio_b = trial % 2 == 0 ? 1.5f : 1e30f; /* ties; far too large sums */
            p.lo = p.zero_point, p.hi = p.zero_point + (255 - p.zero_point) / 3;
        }
        p.fused = trial >= 40;
        p.fixed = qn_test_uniform(state, -100, 300);
        p.raised_a = trial % 2 * 128, p.raised_b = trial / 2 % 2 * 128, p.raised = trial / 4 % 2 * 128;
        size_t n = trial < 3 || (p.fused && trial < 43) ? ALL : 1 + qn_test_random(state) % 200;
        uint8_t *first = a.data + ALL - n, *second = b.data + ALL - n, *out = y.data + ALL - n;
        kernel->run.add(out, first, second, n, &p);
        for (size_t i = 0; i < n; i++) {
            float left = (float)(first[i] - p.zero_a) * p.ratio_a, right = (float)(second[i] - p.zero_b) * p.ratio_b;
            const float fused = fmaf((float)(first[i] - p.raised_a), p.ratio_a,
                                     fmaf((float)(second[i] - p.raised_b), p.ratio_b, p.fixed));
            assert_int_equal(out[i], p.fused ? code_of(fused, p.raised, p.lo, p.hi)
                                             : code_of(left + right, p.zero_point, p.lo, p.hi));
        }
    }
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&y);
}

/* The same for products and differences; floats by name, so that nothing is fused. */
static void check_pair(const qn_kernel *kernel, uint64_t *state)
{
    enum { ALL = 65536 };
    const bool product = kernel->op == QN_KERNEL_MUL;
    guarded a = guarded_new(ALL), b = guarded_new(ALL), y = guarded_new(ALL);
    for (int i = 0; i < ALL; i++) {
        a.data[i] = (uint8_t)(i % 256);
        b.data[i] = (uint8_t)(i / 256);
    }
    for (int trial = 0; trial < 60; trial++) {
        qn_add_params p = {.ratio_a = expf(qn_test_uniform(state, -8, 1)),
                           .ratio_b = expf(qn_test_uniform(state, -8, 1)),
                           .scale = expf(qn_test_uniform(state, -8, 1)),
                           .zero_a = (int32_t)(qn_test_random(state) % 256),
                           .zero_b = trial * 4,
                           .zero_point = (int32_t)(qn_test_random(state) % 256),
                           .hi = 255,
                           .raised = product && trial % 2 != 0 ? 128 : 0};
        if (trial % 3 == 0) { /* ties; far too large */
            p.ratio_a = trial % 2 == 0 ? 0.5f : 1e30f, p.ratio_b = 1.5f, p.scale = 1;
            p.lo = p.zero_point, p.hi = p.zero_point + (255 - p.zero_point) / 3;
        }
        size_t n = trial < 12 ? ALL : 1 + qn_test_random(state) % 200;
        uint8_t *first = a.data + ALL - n, *second = b.data + ALL - n, *out = y.data + ALL - n;
        kernel->run.add(out, first, second, n, &p);
        for (size_t i = 0; i < n; i++) {
            const int left = first[i] - p.zero_a, right = second[i] - p.zero_b;
            volatile float x, z;
            if (product) {
                x = (float)(left * right) * p.ratio_a;
                z = x + (float)(p.zero_point - p.raised);
            } else {
                x = (float)left * p.ratio_a;
                z = (float)right * p.ratio_b;
                x = x - z;
                z = x / p.scale;
            }
            assert_int_equal(out[i], code_of(z, product ? p.raised : p.zero_point, p.lo, p.hi));
        }
    }
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&y);
}

typedef uint8_t pool_oracle(const qn_pool_window *w, int c, const qn_pool_params *p);

static uint8_t greatest_of(const qn_pool_window *w, int c, const qn_pool_params *p)
{
    int greatest = -1;
    for (int i = 0; i < w->rows * w->columns; i++) {
        int x = w->x[i / w->columns * w->row + i % w->columns * w->pixel + c];
        greatest = x > greatest ? x : greatest;
    }
    return (uint8_t)(greatest < p->lo ? p->lo : greatest > p->hi ? p->hi : greatest);
}

static uint8_t sum_of(const qn_pool_window *w, int c, const qn_pool_params *p)
{
    int sum = 0;
    for (int i = 0; i < w->rows * w->columns; i++) {
        sum += w->x[i / w->columns * w->row + i % w->columns * w->pixel + c] - p->zero_x;
    }
    return code_of((float)sum * p->multiplier, p->zero_point, p->lo, p->hi);
}

static uint8_t average_of(const qn_pool_window *w, int c, const qn_pool_params *p)
{
    float sum = 0;
    for (int i = 0; i < w->rows * w->columns; i++) {
        int x = w->x[i / w->columns * w->row + i % w->columns * w->pixel + c] - p->zero_x;
        sum = sum + p->scale_x * (float)x;
    }
    return code_of(sum / p->divisor / p->scale_y + (float)(p->zero_point - p->raised), p->raised, p->lo, p->hi);
}

static void check_pool(const qn_kernel *kernel, pool_oracle *oracle, uint64_t *state)
{
    static const int channels[] = {1, 3, 16, 17, 63, 64, 65, 130, 200};
    for (int trial = 0; trial < 90; trial++) {
        qn_pool_window w = {.rows = 1 + trial % 4, .columns = 1 + trial % 9, .n_channels = channels[trial % 9]};
        w.pixel = w.n_channels * (1 + trial % 2), w.row = w.pixel * (w.columns + trial % 3);
        size_t n_bytes = (size_t)((w.rows - 1) * w.row + (w.columns - 1) * w.pixel + w.n_channels);
        guarded x = guarded_new(n_bytes), y = guarded_new((size_t)w.n_channels);
        for (size_t i = 0; i < n_bytes; i++) {
            x.data[i] = trial % 5 == 0 ? 255 : (uint8_t)qn_test_random(state);
        }
        w.x = x.data;
        qn_pool_params p = {.multiplier = qn_test_uniform(state, 0.01f, 0.3f),
                            .scale_x = 0.037f,
                            .scale_y = 0.029f,
                            .divisor = (float)(w.rows * w.columns),
                            .zero_x = (int32_t)(qn_test_random(state) % 256),
                            .zero_point = (int32_t)(qn_test_random(state) % 256),
                            .hi = 255,
                            .raised = trial / 45 * 128};
        if (trial % 4 == 0) {
            p.lo = p.zero_point, p.hi = p.zero_point + (255 - p.zero_point) / 2;
        }
        kernel->run.pool(y.data, &w, &p);
        for (int c = 0; c < w.n_channels; c++) {
            assert_int_equal(y.data[c], oracle(&w, c, &p));
        }
        guarded_free(&x);
        guarded_free(&y);
    }
}

static void check_maxpool(const qn_kernel *kernel, uint64_t *state)
{
    check_pool(kernel, greatest_of, state);
}
static void check_sumpool(const qn_kernel *kernel, uint64_t *state)
{
    check_pool(kernel, sum_of, state);
}
static void check_averagepool(const qn_kernel *kernel, uint64_t *state)
{
    check_pool(kernel, average_of, state);
}

static void check_lookup(const qn_kernel *kernel, uint64_t *state)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)qn_test_random(state);
    }
    for (size_t n = 1; n < 300; n += 7) {
        guarded x = guarded_new(n), y = guarded_new(n);
        for (size_t i = 0; i < n; i++) {
            x.data[i] = (uint8_t)(i + n);
        }
        kernel->run.lookup(y.data, x.data, n, table);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(y.data[i], table[(uint8_t)(i + n)]);
        }
        guarded_free(&x);
        guarded_free(&y);
    }
}

static void check_encode(const qn_kernel *kernel, uint64_t *state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 0.0f, -0.0f, 1e-40f, 0.5f, 1.5f, 2.5f, -0.5f};
    for (int trial = 0; trial < 80; trial++) {
        int n_channels = 1 + trial % 6;
        size_t n = 1 + (size_t)trial % 37, plane = n + (size_t)trial % 3;
        guarded x = guarded_new(((size_t)(n_channels - 1) * plane + n) * sizeof(float));
        guarded y = guarded_new(n * (size_t)n_channels);
        float *values = (float *)(void *)x.data;
        for (size_t i = 0; i < x.size / sizeof(float); i++) {
            values[i] = i % 5 == 0 ? odd[i / 5 % 12] : qn_test_uniform(state, -300, 300);
        }
        qn_encode_params p = {.scale = trial % 2 == 0 ? 1.0f : qn_test_uniform(state, 0.1f, 3),
                              .hi = 255,
                              .zero_point = (int32_t)(qn_test_random(state) % 256)};
        kernel->run.encode(y.data, values, n, n_channels, (ptrdiff_t)plane, &p);
        for (size_t i = 0; i < n * (size_t)n_channels; i++) {
            float v = values[i % (size_t)n_channels * plane + i / (size_t)n_channels];
            assert_int_equal(y.data[i], isnan(v) ? 0 : code_of(v / p.scale, p.zero_point, 0, 255));
        }
        guarded_free(&x);
        guarded_free(&y);
    }
}

static void add_kernels_agree_with_the_definition(void **unused)
{
    (void)unused;
    for_each_kernel(QN_KERNEL_ADD, check_add);
    for_each_kernel(QN_KERNEL_MUL, check_pair);
    for_each_kernel(QN_KERNEL_SUB, check_pair);
}
static void pool_kernels_agree_with_the_definition(void **unused)
{
    (void)unused;
    for_each_kernel(QN_KERNEL_MAXPOOL, check_maxpool);
    for_each_kernel(QN_KERNEL_SUMPOOL, check_sumpool);
    for_each_kernel(QN_KERNEL_AVERAGEPOOL, check_averagepool);
}
static void lookup_kernels_agree_with_the_definition(void **unused)
{
    (void)unused;
    for_each_kernel(QN_KERNEL_LOOKUP, check_lookup);
}
static void encode_kernels_agree_with_the_definition(void **unused)
{
    (void)unused;
    for_each_kernel(QN_KERNEL_ENCODE, check_encode);
}

static void selection_never_exceeds_the_level(void **unused)
{
    (void)unused;
    for (int op = QN_KERNEL_CONV; op <= QN_KERNEL_WEIGHT_DELTA; op++) {
        for (int cpu = QN_CPU_REFERENCE; cpu <= QN_CPU_AMX; cpu++) {
            for (int elem_bytes = 1; elem_bytes <= 2; elem_bytes++) {
                const qn_kernel *kernel = qn_kernel_select((qn_kernel_op)op, (qn_cpu)cpu, elem_bytes);
                assert_int_equal(kernel->op, op);
                assert_true(kernel->cpu <= (qn_cpu)cpu);
                assert_true(kernel->elem_bytes == 0 || kernel->elem_bytes == elem_bytes);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_kernels_agree_with_the_definition),
        cmocka_unit_test(pool_kernels_agree_with_the_definition),
        cmocka_unit_test(lookup_kernels_agree_with_the_definition),
        cmocka_unit_test(encode_kernels_agree_with_the_definition),
        cmocka_unit_test(selection_never_exceeds_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
