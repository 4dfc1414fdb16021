/* Frames: what goes in comes out, for every format, size and granularity; and bytes that are not quite a frame. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "format/row.h"
#include "quern/link.h"

enum { LIMIT = 1 << 24, SIZE_MOST = 300 };

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
static void sets_by_hand(int *axis, int64_t *group, const qn_tensor *x, const qn_format *f, const qn_link_options *o)
{
    static const int channel[] = {-1, 0, 1, 2, 1, 1, 1, 1, 1};
    const int last = x->rank - 1;
    *axis = -1;
    *group = 0;
    switch (o->per) {
    case QN_LINK_PER_GROUP:
        *group = o->group;
        break;
    case QN_LINK_PER_ITEM:
        *axis = x->rank > 0 ? 0 : -1;
        break;
    case QN_LINK_PER_CHANNEL:
        *axis = channel[x->rank];
        break;
    case QN_LINK_PER_TOKEN:
        *axis = last;
        *group = x->rank > 0 ? (x->dims[last] > 0 ? x->dims[last] : 1) : 0;
        break;
    case QN_LINK_PER_BLOCK:
        *axis = last;
        *group = f->block;
        break;
    default:
        break;
    }
}

/* Elements by sets: those of set k are at[start[k]] to at[start[k + 1] - 1], in the order of the tensor. */
typedef struct sets {
    int64_t n, start[3 * SIZE_MOST], at[SIZE_MOST];
} sets;

static void number_sets(sets *s, const qn_tensor *x, int axis, int64_t group)
{
    int64_t outer = 1, length = 1, inner = 1, set_of[SIZE_MOST], next[3 * SIZE_MOST];
    for (int d = 0; d < x->rank; d++) {
        *(axis < 0 || d == axis ? &length : d < axis ? &outer : &inner) *= x->dims[d];
    }
    const int64_t groups = group > 0 ? (length + group - 1) / group : 0, n = outer * length * inner;
    s->n = group > 0 ? outer * groups * inner : axis >= 0 ? length : 1;
    assert_true(n <= SIZE_MOST && s->n < 3 * SIZE_MOST);
    memset(s->start, 0, sizeof s->start);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i / inner % length;
        set_of[i] = group > 0 ? (i / inner / length * groups + at / group) * inner + i % inner : axis >= 0 ? at : 0;
        s->start[set_of[i] + 1]++;
    }
    for (int64_t set = 0; set < s->n; set++) {
        s->start[set + 1] += s->start[set];
        next[set] = s->start[set];
    }
    for (int64_t i = 0; i < n; i++) {
        s->at[next[set_of[i]]++] = i;
    }
}

/* Parameters of a set: those that fitting its values, brought together in a vector of their own, gives. */
static qn_params params_of_set(const qn_tensor *x, const qn_format *f, const sets *s, int64_t set, const char *rule)
{
    static double memory[SIZE_MOST];
    qn_tensor values = {.dtype = x->dtype, .rank = 1, .data = memory};
    const size_t size = qn_dtype_size(x->dtype);
    for (int64_t k = s->start[set]; k < s->start[set + 1]; k++) {
        memcpy((char *)memory + (size_t)values.dims[0]++ * size, (const char *)x->data + (size_t)s->at[k] * size, size);
    }
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.rule = rule;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &values, *f, &fit, &err), &err);
    assert_true(q->n <= 1);
    const qn_params params = q->n > 0 ? qn_quantizer_get(q, 0) : qn_format_params_neutral();
    qn_quantizer_free(q);
    return params;
}

/* Some formats' parameters of one set depend on the other sets. */
static qn_quantizer *fit_together(const qn_tensor *x, const qn_format *f, int axis, int64_t group)
{
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, x, *f, &fit, &err), &err);
    return q;
}

/* The code of an element and what it stands for, by the scalar definition. */
static uint32_t by_definition(float *value, const qn_tensor *x, const qn_format *f, const qn_params *p, int64_t i)
{
    const qn_run run = {.format = f, .params = *p, .first = i, .stride = 1};
    uint32_t code;
    if (x->dtype == QN_DTYPE_F32) {
        qn_run_encode(&code, (const float *)x->data + i, 1, &run);
    } else {
        qn_run_encode_f64(&code, (const double *)x->data + i, 1, &run);
    }
    qn_run_decode(value, &code, 1, &run);
    return code;
}

/* Each code of the frame is the one that the definition gives for its element and its set's parameters, which are those
 * of the set's values by themselves; the numbers are what it says the codes are; the bits after the last code are 0. */
static void check_options(const qn_tensor *x, const qn_link_options *options)
{
    const qn_link_options o = *options;
    const char *const format = o.format;
    const qn_link_per per = o.per;
    const int64_t group = o.group;
    made m = make(x, &o);
    qn_frame parsed;
    qn_frame_verdict verdict;
    assert_int_equal(qn_frame_parse(&parsed, &verdict, m.data, m.frame.n_bytes, LIMIT), QN_FRAME_COMPLETE);
    assert_int_equal(verdict.need, m.frame.n_bytes);
    assert_string_equal(parsed.name, m.frame.name);
    assert_int_equal(parsed.rank, x->rank);
    assert_int_equal(parsed.per, per);
    assert_memory_equal(parsed.dims, x->dims, sizeof x->dims);

    static sets s;
    static float y[SIZE_MOST];
    const qn_format *f = &parsed.format;
    const int64_t n = qn_tensor_count(x);
    int axis;
    int64_t axis_group;
    sets_by_hand(&axis, &axis_group, x, f, &o);
    number_sets(&s, x, axis, axis_group);
    const char *const rule = o.clamp == QN_LINK_CLAMP_MSE ? "mse" : NULL;
    const bool together = qn_format_row_of(f->kind)->from_tensor != NULL;
    qn_quantizer *q = together ? fit_together(x, f, axis, axis_group) : NULL;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_decode(y, &parsed, &err), &err);
    assert_int_equal(s.n, parsed.n_sets);
    assert_int_equal(parsed.code_bytes, (n * f->bits + 7) / 8);
    const qn_packed packed = {(void *)(uintptr_t)parsed.codes, n, f->bits, QN_PACKING_DENSE};
    for (int64_t set = 0; set < s.n && n > 0; set++) {
        const qn_params p = together ? qn_quantizer_get(q, set) : params_of_set(x, f, &s, set, rule);
        for (int64_t k = s.start[set]; k < s.start[set + 1]; k++) {
            const int64_t i = s.at[k];
            float value;
            const uint32_t code = by_definition(&value, x, f, &p, i);
            if (qn_packed_get(&packed, i) != code || memcmp(&value, &y[i], sizeof value) != 0) {
                fail_msg("%s, per %d group %lld, element %lld of %lld: code %x, %g where %x, %g was expected", format,
                         (int)per, (long long)group, (long long)i, (long long)n, (unsigned)qn_packed_get(&packed, i),
                         (double)y[i], (unsigned)code, (double)value);
            }
        }
    }
    const int used = (int)(n * f->bits % 8);
    assert_true(used == 0 || parsed.codes[parsed.code_bytes - 1] >> used == 0);
    free(m.data);
    qn_quantizer_free(q);
}

static void check_round_trip(const qn_tensor *x, const char *format, qn_link_per per, int64_t group)
{
    const qn_link_options o = options_for(format, per, group);
    check_options(x, &o);
}

/* Every granularity the format takes. */
static int check_granularities(const qn_tensor *x, const char *format)
{
    qn_format f;
    assert_int_equal(qn_format_parse(&f, format, NULL), QN_OK);
    if (f.block > 0) {
        check_round_trip(x, format, QN_LINK_PER_BLOCK, 0);
        check_round_trip(x, format, QN_LINK_PER_GROUP, f.block);
        return 2;
    }
    static const struct {
        qn_link_per per;
        int64_t group;
    } all[] = {{QN_LINK_PER_TENSOR, 0}, {QN_LINK_PER_ITEM, 0},  {QN_LINK_PER_CHANNEL, 0}, {QN_LINK_PER_TOKEN, 0},
               {QN_LINK_PER_GROUP, 1},  {QN_LINK_PER_GROUP, 7}, {QN_LINK_PER_GROUP, 64}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].group != 1 || qn_tensor_count(x) <= 64) { /* a fit by hand for each element takes its time */
            check_round_trip(x, format, all[i].per, all[i].group);
        }
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

/* Some shape of n elements. */
static qn_tensor shape_of(int64_t n, float *x, uint64_t *random)
{
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = (int)(qn_test_random(random) % 4) + 1, .data = x};
    for (int d = 0; d < t.rank - 1; d++) {
        int64_t part = (int64_t)(qn_test_random(random) % 12) + 1;
        while (n % part != 0) {
            part--;
        }
        t.dims[d] = part;
        n /= part;
    }
    t.dims[t.rank - 1] = n;
    return t;
}

static void sizes_of(const char *format, void *ctx)
{
    static float x[SIZE_MOST];
    fill(x, SIZE_MOST, ctx);
    for (int64_t n = 0; n <= SIZE_MOST; n++) {
        const qn_tensor t = shape_of(n, x, ctx);
        check_granularities(&t, format);
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
        x[i] = ((double)qn_test_uniform(&random, -1.0f, 1.0f) + 1e-12) / (1 + i); /* blocks differ */
    }
    const qn_tensor t = {.dtype = QN_DTYPE_F64, .rank = 2, .dims = {3, 20}, .data = x};
    static const char *const formats[] = {"int8",       "ap_fixed<24,4>", "adaptivfloat<8,3>", "pipeedge<5>",
                                          "posit<8,1>", "ternary",        "bfp<8,16>",         "mx<fp4e2m1>"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        check_granularities(&t, formats[i]);
    }
}

/* Parameters by search, with the sets that the frame has: blocks in C order, too. */
static void test_searched(void **state)
{
    (void)state;
    float x[60];
    uint64_t random = 4;
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {3, 20}, .data = x};
    static const struct {
        const char *format;
        qn_link_per per;
        int64_t group;
    } rows[] = {{"int4", QN_LINK_PER_ITEM, 0},          {"uint3", QN_LINK_PER_CHANNEL, 0},
                {"pipeedge<2>", QN_LINK_PER_TENSOR, 0}, {"adaptivfloat<6,3>", QN_LINK_PER_GROUP, 7},
                {"bfp<5,16>", QN_LINK_PER_GROUP, 16},   {"bfp<5,16>", QN_LINK_PER_BLOCK, 0},
                {"mx<fp4e2m1>", QN_LINK_PER_GROUP, 32}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fill(x, 60, &random);
        qn_link_options o = options_for(rows[i].format, rows[i].per, rows[i].group);
        o.clamp = QN_LINK_CLAMP_MSE;
        check_options(&t, &o);
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
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_shapes),        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_searched), cmocka_unit_test(test_raw),           cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_oddities), cmocka_unit_test(test_refused_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
