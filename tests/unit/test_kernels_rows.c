/* Kernels of whole rows at the greatest sizes and numbers that there can be (doc/spec/arithmetic.md 3.10 to 3.12), at every
 * level, against wider integers. */
#include "graph_builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/integer/kernels/rows.h"

typedef unsigned __int128 wide;
typedef __int128 wide_signed;

/* Nearest, ties to even. */
static int64_t nearest(wide_signed n, wide_signed d)
{
    wide_signed q = n / d, rest = n % d;
    if (rest < 0) {
        rest += d, q--;
    }
    return (int64_t)(q + (2 * rest > d || (2 * rest == d && (q & 1) != 0)));
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* An element of 3.11 from the sum and the squares of its line. */
static uint8_t wide_norm_code(const qn_norm_codes *p, wide_signed sum, wide_signed squares, int code, int at)
{
    wide variance = (wide)(p->n * squares - sum * sum), root = 0;
    wide_signed z = 0;
    if (variance != 0) {
        int up = 0;
        variance = (variance << 2 * p->half) + (wide)p->add;
        while (variance << (2 * up + 2) < (wide)1 << 64) {
            up++;
        }
        variance <<= 2 * up;
        for (int bit = 32; bit >= 0; bit--) {
            const wide more = root | (wide)1 << bit;
            root = more * more <= variance ? more : root;
        }
        const int shift = 42 - up - p->half;
        const wide_signed factor = (wide_signed)((((wide)1 << 62) - 1) / root);
        z = ((p->n * code - sum) * factor + ((wide_signed)1 << (shift - 1))) >> shift;
    }
    const int64_t q = nearest(z * p->gain[at] + p->bias[at], (wide_signed)1 << p->right);
    return (uint8_t)clamp(q + p->zero_point, p->lo, p->hi);
}

/* The longest lines at the greatest numbers that there can be: nothing leaves 63 bits, at any level. */
static void the_longest_normalizations(void **unused)
{
    (void)unused;
    enum { N = QN_NORM_MOST };
    uint8_t *x = malloc(N), *y = malloc(N);
    int32_t *gain = malloc(N * sizeof *gain);
    int64_t *bias = malloc(N * sizeof *bias);
    for (int i = 0; i < N; i++) { /* also at the first element, which alone may be far off */
        gain[i] = i % 2 == 0 ? (1 << 30) - i % 5 : -(1 << 30) + i % 7;
        bias[i] = (i / 2 % 2 == 0 ? 1 : -1) * ((INT64_C(1) << 61) - i);
    }
    static const int64_t adds[] = {0, INT64_C(1) << 40, (INT64_C(1) << 62) - (INT64_C(1) << 60) - 1};
    for (int kind = 0; kind < 12; kind++) {
        qn_norm_codes p = {.n = N, .add = adds[kind % 3], .half = kind % 3 == 2 ? 2 : 3, .right = kind % 2 ? 50 : 45};
        p.gain = gain, p.bias = bias, p.zero_point = kind % 2 ? 255 : 0, p.hi = 255;
        wide_signed sum = 0, squares = 0;
        for (int i = 0; i < N; i++) {
            x[i] = kind / 3 == 0   ? (i % 2 == 0 ? 255 : 0)
                   : kind / 3 == 1 ? (i == 0 ? 255 : 0)
                   : kind / 3 == 2 ? (i == 0 ? 0 : 255)
                                   : (i == 0 ? 128 : 127);
            sum += x[i], squares += x[i] * x[i];
        }
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            if (cpu > QN_CPU_REFERENCE && qn_rows_lanes_for(cpu)->norm == qn_rows_lanes_for(cpu - 1)->norm) {
                continue;
            }
            qn_rows_lanes_for(cpu)->norm(y, x, &p);
            for (int i = 0; i < N; i += i < 64 ? 1 : 4097) {
                assert_int_equal(y[i], wide_norm_code(&p, sum, squares, x[i], i));
            }
        }
    }
    free(x);
    free(y);
    free(gain);
    free(bias);
}

static void the_longest_softmax(void **unused)
{
    (void)unused;
    enum { N = 1 << 23 };
    uint8_t *x = malloc(N), *y = malloc(N);
    for (int kind = 0; kind < 4; kind++) {
        qn_softmax_codes p = {
            .left = kind % 2 == 0 ? 25 : 0, .right = kind % 2 == 0 ? 0 : 8, .hi = 255, .zero_point = kind};
        for (int d = 0; d < 256; d++) {
            p.share[d] = d < 32 ? UINT32_C(1) << (31 - d) : 0;
            p.part[d] = d < 31 ? INT32_MAX >> d : 0;
        }
        wide sum = 0;
        memset(x, kind < 2 ? 200 : 0, N); /* all alike; or one far above the rest */
        x[N - 1] = 200;
        for (int i = 0; i < N; i++) {
            sum += p.share[200 - x[i]];
        }
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            if (cpu > QN_CPU_REFERENCE && qn_rows_lanes_for(cpu)->softmax == qn_rows_lanes_for(cpu - 1)->softmax) {
                continue;
            }
            qn_rows_lanes_for(cpu)->softmax(y, x, N, 1, &p);
            for (int i = 0; i < N; i += i < 64 || i >= N - 64 ? 1 : 64) {
                const int64_t q =
                    nearest((wide_signed)((wide)p.part[200 - x[i]] << p.left), (wide_signed)(sum << p.right));
                assert_int_equal(y[i], clamp(q + p.zero_point, 0, 255));
            }
        }
    }
    free(x);
    free(y);
}

/* So many terms that sums of the greatest ones wrap. */
static void long_products_wrap_alike(void **unused)
{
    (void)unused;
    enum { M = 3, N = 19, K = 70001 };
    uint8_t *a = malloc((size_t)M * K), *b = malloc((size_t)K * N), y[M * N];
    float ratio[N + 16];
    const qn_requantize_params requantize = {.bits = 32, .zero_point = 128, .hi = 255, .ratio = ratio};
    uint64_t seed = 9;
    size_t n_bytes;
    for (int i = 0; i < N + 16; i++) {
        ratio[i] = 0x1p-24f;
    }
    assert_true(qn_product_scratch(K, N, &n_bytes));
    void *scratch = qn_alloc(n_bytes);
    for (int kind = 0; kind < 3; kind++) {
        const int32_t zero_a = kind == 1 ? 255 : 0, zero_b = kind == 2 ? 255 : 0;
        memset(a, kind == 1 ? 0 : 255, (size_t)M * K);
        memset(b, kind == 2 ? 0 : 255, (size_t)K * N);
        for (int i = 0; i < K; i++) { /* one row of noise */
            a[i] = (uint8_t)(qn_test_random(&seed) >> 32);
        }
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            const qn_product_job job = {.a = a,
                                        .b = b,
                                        .y = y,
                                        .a_row = K,
                                        .b_row = N,
                                        .y_row = N,
                                        .m = M,
                                        .n = N,
                                        .k = K,
                                        .zero_a = zero_a,
                                        .zero_b = zero_b,
                                        .run = qn_requantize_select(cpu),
                                        .requantize = &requantize,
                                        .scratch = scratch};
            qn_rows_lanes_for(cpu)->product(&job);
            for (int i = 0; i < M * N; i++) {
                int64_t sum = 0;
                for (int k = 0; k < K; k++) {
                    sum += (int64_t)(a[i / N * K + k] - zero_a) * (b[k * N + i % N] - zero_b);
                }
                const float v = (float)(int32_t)(uint32_t)sum * ratio[0];
                assert_int_equal(y[i], clamp((int64_t)rintf(v) + 128, 0, 255));
            }
        }
    }
    free(a);
    free(b);
    qn_free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_normalizations),
        cmocka_unit_test(the_longest_softmax),
        cmocka_unit_test(long_products_wrap_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
