/* Moving runs of codes into and out of packed form, against codes one by one; and matrices with a parameter set for
 * each column, of more than one tile, against the scalar definition. */
#include "guard.h" /* first: it chooses what headers declare */

#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/move.h"
#include "format/row.h"
#include "quern/link.h"

enum { TOTAL = 700, ROOM = TOTAL * 4 + 8 };

static uint32_t get(const void *codes, int bits, int64_t i)
{
    uint32_t wide;
    qn_widen_codes(&wide, (const unsigned char *)codes + (size_t)i * qn_container_bytes(bits), bits, 1);
    return wide;
}

static void check_move(int bits, qn_packing packing, int64_t first, int64_t n, uint64_t *random)
{
    unsigned char bytes[ROOM], expected[ROOM];
    uint32_t codes[TOTAL + QN_MOVE_SLACK / 4], taken[TOTAL + QN_MOVE_SLACK / 4], wide[TOTAL];
    size_t n_bytes;
    assert_int_equal(qn_packed_bytes(&n_bytes, TOTAL, bits, packing, NULL), QN_OK);
    for (size_t i = 0; i < n_bytes; i++) {
        bytes[i] = expected[i] = (unsigned char)(qn_test_random(random) >> 40);
    }
    qn_packed want = {expected, TOTAL, bits, packing};
    /* Where nothing more can be read or written. */
    static guarded page;
    if (page.data == NULL) {
        page = guarded_new(ROOM);
    }
    unsigned char *at = page.data + page.size - n_bytes;
    memcpy(at, bytes, n_bytes);
    qn_packed p = {at, TOTAL, bits, packing};
    for (int64_t i = 0; i < n; i++) {
        wide[i] = (uint32_t)(qn_test_random(random) >> 32) & (uint32_t)(UINT64_MAX >> (64 - bits));
        qn_packed_set(&want, first + i, wide[i]);
    }
    qn_narrow_codes(codes, wide, bits, n);
    qn_packed_put(&p, first, codes, n);
    for (int64_t i = 0; i < TOTAL; i++) {
        if (qn_packed_get(&p, i) != qn_packed_get(&want, i)) {
            fail_msg("%d bits, packing %d, %lld from %lld: code %lld is %x, not %x", bits, (int)packing, (long long)n,
                     (long long)first, (long long)i, (unsigned)qn_packed_get(&p, i), (unsigned)qn_packed_get(&want, i));
        }
    }
    if (packing == QN_PACKING_DENSE) { /* padding, too */
        assert_memory_equal(at, expected, n_bytes);
    }
    qn_packed_take(taken, &p, first, n);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(get(taken, bits, i), wide[i]);
    }
}

static void test_moves(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int bits = 1; bits <= 32; bits++) {
        for (int packing = 0; packing < 2; packing++) {
            check_move(bits, (qn_packing)packing, 0, TOTAL, &random);
            check_move(bits, (qn_packing)packing, TOTAL, 0, &random);
            for (int64_t n = 0; n <= 140; n++) {
                const int64_t first = (int64_t)(qn_test_random(&random) % (uint64_t)(TOTAL - n + 1));
                check_move(bits, (qn_packing)packing, first, n, &random);
                check_move(bits, (qn_packing)packing, TOTAL - n, n, &random);
            }
        }
    }
}

/* Words as PipeEdge has them are whole when they are written from the start: padding is 0. */
static void test_padding(void **state)
{
    (void)state;
    for (int bits = 1; bits <= 32; bits++) {
        unsigned char bytes[ROOM], expected[ROOM];
        uint32_t wide[TOTAL], codes[TOTAL + QN_MOVE_SLACK / 4];
        size_t n_bytes;
        uint64_t random = (uint64_t)bits;
        assert_int_equal(qn_packed_bytes(&n_bytes, TOTAL, bits, QN_PACKING_WORD32, NULL), QN_OK);
        memset(bytes, 0, n_bytes);
        for (int i = 0; i < TOTAL; i++) {
            wide[i] = (uint32_t)(qn_test_random(&random) >> 32) & (uint32_t)(UINT64_MAX >> (64 - bits));
        }
        qn_packed p = {bytes, TOTAL, bits, QN_PACKING_WORD32}, want = {expected, TOTAL, bits, QN_PACKING_WORD32};
        memset(expected, 0, n_bytes);
        for (int i = 0; i < TOTAL; i++) {
            qn_packed_set(&want, i, wide[i]);
        }
        qn_narrow_codes(codes, wide, bits, TOTAL);
        qn_packed_put(&p, 0, codes, TOTAL);
        assert_memory_equal(bytes, expected, n_bytes);
        for (size_t size = qn_container_bytes(bits); size <= 4; size *= 2) { /* with whatever above the codes */
            unsigned char containers[TOTAL * 4];
            memset(bytes, 0xff, n_bytes);
            for (int packing = 0; packing < 2; packing++) {
                qn_packed q = {bytes, TOTAL, bits, (qn_packing)packing};
                for (int i = 0; i < TOTAL; i++) {
                    const uint32_t mask = (uint32_t)(UINT64_MAX >> (64 - bits)), odd = wide[i] | (0xa5a5a5a5u & ~mask);
                    memcpy(containers + (size_t)i * size, &odd, size);
                }
                qn_pack(&q, containers, size);
                assert_true(packing == QN_PACKING_DENSE || memcmp(bytes, expected, n_bytes) == 0);
                memset(containers, 0, sizeof containers);
                qn_unpack(containers, &q, size);
                for (int i = 0; i < TOTAL; i++) {
                    uint32_t got = 0;
                    memcpy(&got, containers + (size_t)i * size, size);
                    assert_int_equal(got, wide[i]);
                    assert_int_equal(qn_packed_get(&q, i), wide[i]);
                }
            }
        }
    }
}

/* Tiles have 128 rows and 64 columns. */
static void check_columns(const char *format, int64_t items, int64_t tokens, int64_t features, bool odd)
{
    const int64_t rows = items * tokens, n = rows * features;
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y), *column = malloc((size_t)rows * 4);
    uint64_t random = (uint64_t)n;
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(&random, -1.0f, 2.0f) * (float)(i % features + 1);
    }
    if (odd) { /* in three columns, of which one has nothing else */
        x[features + 1] = NAN;
        x[2 * features + 2] = -INFINITY;
        for (int64_t r = 0; r < rows; r++) {
            x[r * features] = NAN;
        }
    }
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 3, .dims = {items, tokens, features}, .data = x};
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = format;
    o.per = QN_LINK_PER_CHANNEL;
    o.nan = QN_NAN_ZERO;
    o.inf = QN_INF_CLAMP;
    qn_frame frame;
    qn_frame_verdict v;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, &o, 3, t.dims, &err), &err);
    unsigned char *data = malloc(frame.n_bytes);
    qn_assert_ok(qn_frame_encode(data, &frame, &t, &o, &err), &err);
    assert_int_equal(qn_frame_parse(&frame, &v, data, frame.n_bytes, SIZE_MAX), QN_FRAME_COMPLETE);
    qn_assert_ok(qn_frame_decode(y, &frame, &err), &err);
    const qn_packed packed = {(void *)(uintptr_t)frame.codes, n, frame.format.bits, QN_PACKING_DENSE};
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.nan = QN_NAN_ZERO;
    fit.inf = QN_INF_CLAMP;
    for (int64_t c = 0; c < features; c++) {
        for (int64_t r = 0; r < rows; r++) {
            column[r] = x[r * features + c];
            column[r] = isnan(column[r]) && (frame.flags & QN_FRAME_NAN_ZEROED) != 0 ? 0.0f : column[r];
        }
        const qn_tensor vector = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {rows}, .data = column};
        qn_quantizer *q;
        qn_assert_ok(qn_fit(&q, &vector, frame.format, &fit, &err), &err);
        const qn_run run = {.format = &frame.format, .params = qn_quantizer_get(q, 0), .stride = 1};
        for (int64_t r = 0; r < rows; r++) {
            uint32_t code;
            float value;
            qn_run_encode(&code, column + r, 1, &run);
            qn_run_decode(&value, &code, 1, &run);
            if (qn_packed_get(&packed, r * features + c) != code || memcmp(&value, &y[r * features + c], 4) != 0) {
                fail_msg("%s, row %lld, column %lld", format, (long long)r, (long long)c);
            }
        }
        qn_quantizer_free(q);
    }
    free(x);
    free(y);
    free(column);
    free(data);
}

static void test_columns(void **state)
{
    (void)state;
    static const char *const formats[] = {"int8",        "uint4",       "uint3",
                                          "int12",       "pipeedge<8>", "pipeedge<5>",
                                          "posit<8,1>",  "fp8e4m3",     "adaptivfloat<6,3>",
                                          "binary",      "int16",       "uint1",
                                          "pipeedge<20>"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        check_columns(formats[i], 2, 67, 133, false);
        check_columns(formats[i], 1, 129, 300, true);
        check_columns(formats[i], 2, 2, 7, false);
        check_columns(formats[i], 1, 3, 70, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moves), cmocka_unit_test(test_padding),
                                       cmocka_unit_test(test_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
