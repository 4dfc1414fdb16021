/* Frames: what goes in comes out, for every format, size and granularity; and bytes that are not quite a frame. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quern/link.h"

enum { LIMIT = 1 << 24 };

typedef struct made {
    unsigned char *data;
    qn_frame frame;
} made;

static qn_link_options options_for(const char *format, qn_link_per per, int64_t group)
{
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = format;
    o.per = per;
    o.group = group;
    return o;
}

static made make(const qn_tensor *x, const qn_link_options *o)
{
    made m = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&m.frame, o, x->rank, x->dims, &err), &err);
    m.data = malloc(m.frame.n_bytes);
    assert_non_null(m.data);
    memset(m.data, 0xa5, m.frame.n_bytes);
    qn_assert_ok(qn_frame_encode(m.data, &m.frame, x, o, &err), &err);
    return m;
}

static bool block_format(const char *name)
{
    qn_format f;
    assert_int_equal(qn_format_parse(&f, name, NULL), QN_OK);
    return f.block > 0;
}

/* The granularity in the words of quantizers, apart from the library's. */
static void fit_by_hand(qn_quantizer **q, const qn_tensor *x, const char *format, const qn_link_options *o)
{
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    const int last = x->rank - 1;
    if (o->per == QN_LINK_PER_GROUP) {
        fit.group = o->group;
    } else if (x->rank > 0 && o->per == QN_LINK_PER_ITEM) {
        fit.axis = 0;
    } else if (x->rank > 0 && o->per == QN_LINK_PER_CHANNEL) {
        static const int channel[] = {0, 0, 1, 2, 1, 1, 1, 1, 1};
        fit.axis = channel[x->rank];
    } else if (x->rank > 0 && o->per == QN_LINK_PER_TOKEN) {
        fit.axis = last;
        fit.group = x->dims[last] > 0 ? x->dims[last] : 1;
    }
    fit.nan = QN_NAN_ZERO;
    fit.inf = QN_INF_CLAMP;
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, format, &err), &err);
    qn_assert_ok(qn_fit(q, x, f, &fit, &err), &err);
}

/* The frame's numbers are those of qn_fit, qn_encode and qn_decode; its codes those of qn_pack. */
static void check_round_trip(const qn_tensor *x, const char *format, qn_link_per per, int64_t group)
{
    const qn_link_options o = options_for(format, per, group);
    made m = make(x, &o);
    qn_frame parsed;
    qn_frame_verdict verdict;
    assert_int_equal(qn_frame_parse(&parsed, &verdict, m.data, m.frame.n_bytes, LIMIT), QN_FRAME_COMPLETE);
    assert_int_equal(verdict.need, m.frame.n_bytes);
    assert_string_equal(parsed.name, m.frame.name);
    assert_int_equal(parsed.rank, x->rank);
    assert_int_equal(parsed.per, per);
    assert_memory_equal(parsed.dims, x->dims, sizeof x->dims);

    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    fit_by_hand(&q, x, format, &o);
    qn_tensor codes, expected;
    qn_assert_ok(qn_encode(&codes, x, q, NULL, &err), &err);
    qn_assert_ok(qn_decode(&expected, &codes, q, &err), &err);
    const int64_t n = qn_tensor_count(x);
    size_t n_bytes;
    qn_assert_ok(qn_packed_bytes(&n_bytes, n, parsed.format.bits, QN_PACKING_DENSE, &err), &err);
    assert_int_equal(n_bytes, parsed.code_bytes);
    unsigned char *packed_bytes = malloc(n_bytes + 1);
    float *y = malloc((size_t)n * sizeof *y + 1);
    qn_packed packed = {packed_bytes, n, parsed.format.bits, QN_PACKING_DENSE};
    qn_pack(&packed, codes.data, qn_dtype_size(codes.dtype));
    qn_assert_ok(qn_frame_decode(y, &parsed, &err), &err);
    bool right =
        memcmp(packed_bytes, parsed.codes, n_bytes) == 0 && memcmp(y, expected.data, (size_t)n * sizeof *y) == 0;
    if (!right || q->n != parsed.n_sets) {
        fail_msg("%s, per %d group %lld, %lld elements: frame and encoding differ", format, (int)per, (long long)group,
                 (long long)n);
    }
    free(packed_bytes);
    free(y);
    free(m.data);
    qn_quantizer_free(q);
    qn_tensor_free(&codes);
    qn_tensor_free(&expected);
}

/* Every granularity the format takes. */
static int check_granularities(const qn_tensor *x, const char *format)
{
    if (block_format(format)) {
        check_round_trip(x, format, QN_LINK_PER_BLOCK, 0);
        return 1;
    }
    static const struct {
        qn_link_per per;
        int64_t group;
    } all[] = {{QN_LINK_PER_TENSOR, 0}, {QN_LINK_PER_ITEM, 0},  {QN_LINK_PER_CHANNEL, 0}, {QN_LINK_PER_TOKEN, 0},
               {QN_LINK_PER_GROUP, 1},  {QN_LINK_PER_GROUP, 7}, {QN_LINK_PER_GROUP, 64}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check_round_trip(x, format, all[i].per, all[i].group);
    }
    return sizeof all / sizeof all[0];
}

static void fill(float *x, int64_t n, uint64_t *random)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(random, -2.0f, 3.0f);
    }
}

/* The next name of a list with blanks between; false at the end. */
static bool next_word(char word[QN_FORMAT_NAME_MAX], const char **list)
{
    *list += strspn(*list, " ");
    size_t length = strcspn(*list, " ");
    snprintf(word, QN_FORMAT_NAME_MAX, "%.*s", (int)length, *list);
    *list += length;
    return length > 0;
}

static void for_every_format(void (*fn)(const char *format, void *ctx), void *ctx)
{
    int n_formats = 0;
    for (size_t i = 0; i < qn_format_count(); i++) {
        const char *list = qn_format_describe(i).examples;
        for (char name[QN_FORMAT_NAME_MAX]; next_word(name, &list); n_formats++) {
            fn(name, ctx);
        }
    }
    assert_true(n_formats > 40);
}

static void sizes_of(const char *format, void *ctx)
{
    static float x[300];
    fill(x, 300, ctx);
    for (int64_t n = 0; n <= 300; n++) {
        const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {n}, .data = x};
        if (block_format(format)) {
            check_round_trip(&t, format, QN_LINK_PER_BLOCK, 0);
        } else {
            check_round_trip(&t, format, QN_LINK_PER_TENSOR, 0);
            check_round_trip(&t, format, QN_LINK_PER_GROUP, 13);
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    uint64_t random = 1;
    for_every_format(sizes_of, &random);
}

static void shapes_of(const char *format, void *ctx)
{
    static const struct {
        int rank;
        int64_t dims[QN_MAX_RANK];
    } shapes[] = {{0, {0}},
                  {1, {5}},
                  {2, {3, 7}},
                  {3, {2, 5, 9}},
                  {4, {2, 3, 4, 5}},
                  {3, {4, 1, 33}},
                  {2, {0, 4}},
                  {2, {4, 0}},
                  {3, {2, 0, 3}},
                  {8, {1, 2, 1, 2, 1, 2, 1, 3}},
                  {5, {2, 1, 3, 2, 2}}};
    static float x[200];
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        fill(x, 200, ctx);
        qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = shapes[i].rank, .data = x};
        memcpy(t.dims, shapes[i].dims, sizeof t.dims);
        check_granularities(&t, format);
        for (int k = 0; k < 200; k++) { /* constant items: no range */
            x[k] = 0.75f;
        }
        check_granularities(&t, format);
        memset(x, 0, sizeof x);
        check_granularities(&t, format);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    uint64_t random = 2;
    for_every_format(shapes_of, &random);
}

/* Doubles are not narrowed first, where the format can tell. */
static void test_doubles(void **state)
{
    (void)state;
    double x[60];
    uint64_t random = 3;
    for (int i = 0; i < 60; i++) {
        x[i] = (double)qn_test_uniform(&random, -1.0f, 1.0f) + 1e-12;
    }
    const qn_tensor t = {.dtype = QN_DTYPE_F64, .rank = 2, .dims = {3, 20}, .data = x};
    static const char *const formats[] = {"int8",        "ap_fixed<24,4>", "adaptivfloat<8,3>",
                                          "pipeedge<5>", "posit<8,1>",     "ternary"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        check_granularities(&t, formats[i]);
    }
}

static void decode(float *y, const made *m)
{
    qn_frame parsed;
    qn_frame_verdict verdict;
    qn_error err;
    qn_error_init(&err);
    assert_int_equal(qn_frame_parse(&parsed, &verdict, m->data, m->frame.n_bytes, LIMIT), QN_FRAME_COMPLETE);
    assert_int_equal(parsed.flags, m->frame.flags);
    qn_assert_ok(qn_frame_decode(y, &parsed, &err), &err);
}

/* fp32 keeps every bit, NaN's too. */
static void test_raw(void **state)
{
    (void)state;
    uint32_t bits[6] = {0x7fc12345, 0xff800000, 0x80000000, 1, 0x7f800001, 0x3f800000}, back[6];
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = bits};
    const qn_link_options o = options_for("fp32", QN_LINK_PER_TENSOR, 0);
    made m = make(&t, &o);
    assert_int_equal(m.frame.n_bytes, m.frame.header_bytes + 24);
    decode((float *)(void *)back, &m);
    assert_memory_equal(bits, back, sizeof bits);
    free(m.data);
    double wide[2] = {0.1, 1e300};
    const qn_tensor d = {.dtype = QN_DTYPE_F64, .rank = 1, .dims = {2}, .data = wide};
    unsigned char room[128];
    qn_frame frame;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, &o, 1, d.dims, &err), &err);
    qn_assert_fails(qn_frame_encode(room, &frame, &d, &o, &err), &err, QN_ERANGE, "element 1 is 1e+300");
}

/* NaN and infinities: the format's own where it has them; else refused, or made a number. */
static void test_not_finite(void **state)
{
    (void)state;
    float x[4] = {1.0f, NAN, INFINITY, -INFINITY}, y[4];
    static const struct {
        const char *format;
        bool nan, inf; /* has codes for them */
        float clamped;
    } rows[] = {{"fp16:inf", true, true, 0},
                {"fp16", true, false, 65504},
                {"fp8e4m3", true, false, 448},
                {"posit<8,1>", true, false, 4096},
                {"adaptivfloat<8,3>", false, false, 1.9375f},
                {"int8", false, false, 1.0f},
                {"pipeedge<8>", false, false, 1.0f}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {4}, .data = x};
        qn_link_options o = options_for(rows[i].format, QN_LINK_PER_TENSOR, 0);
        unsigned char room[256];
        qn_frame frame;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_frame_plan(&frame, &o, 1, t.dims, &err), &err);
        if (!rows[i].nan) {
            qn_assert_fails(qn_frame_encode(room, &frame, &t, &o, &err), &err, QN_ERANGE, "element 1 is NaN");
        } else if (!rows[i].inf) {
            qn_assert_fails(qn_frame_encode(room, &frame, &t, &o, &err), &err, QN_ERANGE, "element 2 is infinite");
        }
        o.nan = QN_NAN_ZERO;
        o.inf = QN_INF_CLAMP;
        made m = make(&t, &o);
        assert_int_equal(m.frame.flags,
                         (rows[i].nan ? 0 : QN_FRAME_NAN_ZEROED) | (rows[i].inf ? 0 : QN_FRAME_INF_CLAMPED));
        decode(y, &m);
        assert_true(rows[i].nan ? isnan(y[1]) : fabsf(y[1]) < 1e-6f);
        assert_true(rows[i].inf ? y[2] == INFINITY && y[3] == -INFINITY : y[2] == rows[i].clamped);
        assert_true(fabsf(y[0] - 1.0f) < 0.01f);
        free(m.data);
    }
}

/* Every format: what is not a number is refused by its index, or comes out as it went in; on request it becomes a
 * number. NaN, which counts as 0 in ranges, leaves its neighbours alone. */
static void oddities_of(const char *format, void *ctx)
{
    (void)ctx;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        float x[40], y[40], plain[40];
        uint64_t random = 11;
        fill(x, 40, &random);
        x[17] = 0.0f;
        const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 20}, .data = x};
        qn_link_options o = options_for(format, block_format(format) ? QN_LINK_PER_BLOCK : QN_LINK_PER_TENSOR, 0);
        made m = make(&t, &o);
        decode(plain, &m);
        x[17] = odd[i];
        qn_error err;
        qn_error_init(&err);
        if (qn_frame_encode(m.data, &m.frame, &t, &o, &err) == QN_OK) {
            decode(y, &m);
            assert_true(isnan(odd[i]) ? isnan(y[17]) : y[17] == odd[i]);
        } else {
            qn_assert_fails(err.status, &err, QN_ERANGE,
                            isnan(odd[i]) ? "element 17 is NaN" : "element 17 is infinite");
            o.nan = QN_NAN_ZERO;
            o.inf = QN_INF_CLAMP;
            qn_error_init(&err);
            qn_assert_ok(qn_frame_encode(m.data, &m.frame, &t, &o, &err), &err);
            assert_int_equal(m.frame.flags, isnan(odd[i]) ? QN_FRAME_NAN_ZEROED : QN_FRAME_INF_CLAMPED);
            decode(y, &m);
            assert_true(isfinite(y[17]));
            assert_true(!isnan(odd[i]) || y[17] == plain[17]);
        }
        for (int k = 0; k < 40 && isnan(odd[i]); k++) {
            assert_true(k == 17 || y[k] == plain[k]);
        }
        free(m.data);
    }
}

static void test_oddities(void **state)
{
    (void)state;
    for_every_format(oddities_of, NULL);
}

/* A frame that cannot be planned says why. */
static void test_refused_plans(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        qn_link_per per;
        int64_t group;
        const char *says;
    } rows[] = {{"fp32", QN_LINK_PER_ITEM, 0, "fp32 has no parameters"},
                {"bfp<8,16>", QN_LINK_PER_ITEM, 0, "write block or group:16"},
                {"bfp<8,16>", QN_LINK_PER_GROUP, 8, "write block or group:16"},
                {"int8", QN_LINK_PER_BLOCK, 0, "int8 has no blocks"},
                {"int8", QN_LINK_PER_GROUP, 0, "a group is less than 1"},
                {"int8", QN_LINK_PER_ITEM, 4, "write item"},
                {"int77", QN_LINK_PER_ITEM, 0, "bits is 77"}};
    const int64_t dims[2] = {4, 4};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const qn_link_options o = options_for(rows[i].format, rows[i].per, rows[i].group);
        qn_frame frame;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_frame_plan(&frame, &o, 2, dims, &err), &err, QN_EINVAL, rows[i].says);
    }
    const qn_link_options ok = options_for("bfp<8,16>", QN_LINK_PER_GROUP, 16);
    qn_frame frame;
    assert_int_equal(qn_frame_plan(&frame, &ok, 2, dims, NULL), QN_OK);
    const int64_t huge[2] = {INT64_MAX / 16, 1};
    const qn_link_options wide = options_for("fp32", QN_LINK_PER_TENSOR, 0);
    assert_int_equal(qn_frame_plan(&frame, &wide, 2, huge, NULL), QN_ELIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_shapes),     cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_raw),           cmocka_unit_test(test_not_finite), cmocka_unit_test(test_oddities),
        cmocka_unit_test(test_refused_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
