/* What a pipeline needs of frames: known parameters, codes as they are, no allocation after the first, no checksums.
 * The oracle is the scalar definition of formats, element by element. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quern/link.h"

enum { LIMIT = 1 << 24, ROOM = 1 << 14, MOST = 2 * 3 * 4 * 5 };

static qn_format format_of(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

static qn_frame parse(const unsigned char *data, size_t n)
{
    qn_frame frame;
    qn_frame_verdict verdict;
    assert_int_equal(qn_frame_parse(&frame, &verdict, data, n, LIMIT), QN_FRAME_COMPLETE);
    return frame;
}

/* The parameter set of element i, from the words of quantizers alone. */
static int64_t set_of(const qn_quantizer *q, const qn_tensor *x, int64_t i)
{
    if (q->axis < 0) {
        return q->group > 0 ? i / q->group : 0;
    }
    int64_t inner = 1;
    for (int d = q->axis + 1; d < x->rank; d++) {
        inner *= x->dims[d];
    }
    const int64_t length = x->dims[q->axis], at = i / inner % length;
    if (q->group == 0) {
        return at;
    }
    const int64_t groups = (length + q->group - 1) / q->group;
    return (i / inner / length * groups + at / q->group) * inner + i % inner;
}

static const struct {
    const char *format;
    int axis;
    int64_t group;
    qn_link_per per; /* that a frame calls it */
    int rank;
    int64_t dims[4];
} known[] = {
    {"int8", -1, 0, QN_LINK_PER_TENSOR, 4, {2, 3, 4, 5}},
    {"uint8", -1, 0, QN_LINK_PER_TENSOR, 2, {3, 7}},
    {"int4", -1, 0, QN_LINK_PER_TENSOR, 1, {13}},
    {"int8", 1, 0, QN_LINK_PER_CHANNEL, 4, {2, 3, 4, 5}},
    {"uint8", 2, 0, QN_LINK_PER_CHANNEL, 3, {2, 5, 9}},
    {"int4", 1, 0, QN_LINK_PER_CHANNEL, 4, {1, 5, 3, 3}},
    {"int4", 1, 0, QN_LINK_PER_CHANNEL, 2, {5, 11}},
    {"int3:narrow", 2, 0, QN_LINK_PER_CHANNEL, 3, {2, 3, 7}},
    {"int12", 1, 0, QN_LINK_PER_CHANNEL, 4, {2, 3, 1, 5}},
    {"int32", -1, 0, QN_LINK_PER_TENSOR, 2, {3, 4}},
    {"uint5", 0, 0, QN_LINK_PER_ITEM, 2, {4, 9}},
    {"uint16", 1, 9, QN_LINK_PER_TOKEN, 2, {4, 9}},
    {"int7", -1, 8, QN_LINK_PER_GROUP, 2, {4, 9}},
    {"int2", 0, 0, QN_LINK_PER_ITEM, 1, {9}},
    {"adaptivfloat<6,3>", 1, 0, QN_LINK_PER_CHANNEL, 2, {4, 9}},
    {"bfp<5,4>", 1, 4, QN_LINK_PER_BLOCK, 2, {4, 9}},
    {"mx<fp4e2m1,8>", -1, 8, QN_LINK_PER_GROUP, 2, {4, 9}},
    {"ternary", 2, 0, QN_LINK_PER_CHANNEL, 3, {2, 2, 3}},
    {"int8", -1, 0, QN_LINK_PER_TENSOR, 0, {0}},
    {"int8", 1, 0, QN_LINK_PER_CHANNEL, 2, {0, 3}},
};
enum { N_KNOWN = sizeof known / sizeof known[0] };

/* Parameters such as calibration makes them, different in every set. */
static qn_quantizer *make_known(size_t k, uint64_t *random)
{
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_format f = format_of(known[k].format);
    qn_assert_ok(qn_quantizer_new(&q, f, known[k].axis, known[k].group, known[k].rank, known[k].dims, &err), &err);
    if (q->axis != known[k].axis) { /* blocks of C order, which qn_quantizer_new does not make */
        int64_t n;
        qn_assert_ok(qn_quantizer_sets(&n, known[k].axis, known[k].group, known[k].rank, known[k].dims, &err), &err);
        assert_true(n <= q->n);
        q->n = n;
        q->axis = known[k].axis;
    }
    for (int64_t set = 0; set < q->n; set++) {
        qn_params p = qn_quantizer_get(q, set);
        p.scale = qn_test_uniform(random, 0.001f, 0.5f);
        if (f.kind == QN_FORMAT_INT && f.bits < 32) {
            p.zero_point = (int32_t)(qn_test_random(random) % 3) - (f.is_signed ? 1 : 0);
        }
        if ((qn_format_parameters(f) & QN_PARAM_EXP_BIAS) != 0) {
            p.exp_bias = (int32_t)(qn_test_random(random) % 7) - 3;
        }
        qn_quantizer_set(q, set, p);
    }
    return q;
}

static uint32_t container(const void *codes, size_t size, int64_t i)
{
    return size == 1   ? ((const uint8_t *)codes)[i]
           : size == 2 ? ((const uint16_t *)codes)[i]
                       : ((const uint32_t *)codes)[i];
}

/* A frame of known parameters holds the codes that the definition gives, or those that were given, and decodes to what
 * the definition says they are, to the bit. */
static void check_known(size_t k, uint64_t *random, qn_frame_coder *coder)
{
    float x[MOST], y[MOST];
    uint32_t codes[MOST], seen[MOST]; /* room for any container */
    unsigned char data[ROOM], again[ROOM];
    qn_quantizer *q = make_known(k, random);
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = known[k].rank, .data = x};
    memcpy(t.dims, known[k].dims, sizeof known[k].dims);
    const int64_t n = qn_tensor_count(&t);
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(random, -2.0f, 3.0f);
    }
    qn_frame frame;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan_for(&frame, q, NULL, t.rank, t.dims, &err), &err);
    assert_int_equal(frame.per, known[k].per);
    assert_true(frame.n_bytes <= ROOM);
    qn_assert_ok(qn_frame_encode_with(data, &frame, &t, q, NULL, coder, &err), &err);
    const qn_frame got = parse(data, frame.n_bytes);
    qn_assert_ok(qn_frame_decode_with(y, &got, coder, &err), &err);

    const qn_dtype dtype = qn_format_dtype(q->format);
    const size_t size = qn_dtype_size(dtype);
    const uint32_t mask = q->format.bits < 32 ? (1u << q->format.bits) - 1 : UINT32_MAX;
    const qn_packed packed = {(void *)(uintptr_t)got.codes, n, q->format.bits, QN_PACKING_DENSE};
    qn_assert_ok(qn_frame_codes(seen, &got, &err), &err);
    const bool is_signed = q->format.kind == QN_FORMAT_INT && q->format.is_signed;
    for (int64_t i = 0; i < n; i++) {
        const qn_params p = qn_quantizer_get(q, set_of(q, &t, i));
        const uint32_t code = qn_format_code(q->format, &p, (double)x[i], 0) & mask;
        const float value = (float)qn_format_value(q->format, &p, code);
        assert_int_equal(qn_packed_get(&packed, i), code);
        assert_memory_equal(&y[i], &value, sizeof value);
        const bool negative = is_signed && code >> (q->format.bits - 1) != 0;
        const uint32_t wide = negative ? code | ~mask : code, room = (uint32_t)(UINT64_MAX >> (64 - 8 * size));
        assert_int_equal(container(seen, size, i), wide & room);
        memcpy((unsigned char *)codes + (size_t)i * size, &wide, size);
    }
    /* The codes themselves, in the dtype that models have. */
    t.dtype = dtype;
    t.data = codes;
    qn_assert_ok(qn_frame_encode_with(again, &frame, &t, q, NULL, coder, &err), &err);
    assert_memory_equal(data, again, frame.n_bytes);
    qn_quantizer_free(q);
}

static void test_known(void **state)
{
    (void)state;
    uint64_t random = 1;
    qn_frame_coder *coder;
    assert_int_equal(qn_frame_coder_new(&coder, NULL), QN_OK);
    for (int round = 0; round < 50; round++) {
        for (size_t k = 0; k < N_KNOWN; k++) {
            check_known(k, &random, round % 2 == 0 ? coder : NULL);
        }
    }
    qn_frame_coder_free(coder);
}

/* The frame's parameters are the quantizer's. */
static void test_parameters(void **state)
{
    (void)state;
    uint64_t random = 2;
    qn_frame_coder *coder;
    assert_int_equal(qn_frame_coder_new(&coder, NULL), QN_OK);
    for (size_t k = 0; k < N_KNOWN; k++) {
        float x[MOST] = {0};
        unsigned char data[ROOM];
        qn_quantizer *q = make_known(k, &random), got;
        qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = known[k].rank, .data = x};
        memcpy(t.dims, known[k].dims, sizeof known[k].dims);
        qn_frame frame;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_frame_plan_for(&frame, q, NULL, t.rank, t.dims, &err), &err);
        qn_assert_ok(qn_frame_encode_with(data, &frame, &t, q, NULL, coder, &err), &err);
        frame = parse(data, frame.n_bytes);
        qn_assert_ok(qn_frame_quantizer(&got, &frame, coder, &err), &err);
        assert_int_equal(got.n, q->n);
        assert_int_equal(got.axis, q->axis);
        assert_int_equal(got.group, q->group);
        const unsigned used = qn_format_parameters(q->format);
        for (int64_t set = 0; set < q->n; set++) {
            const qn_params a = qn_quantizer_get(q, set), b = qn_quantizer_get(&got, set);
            assert_true((used & QN_PARAM_SCALE) == 0 || a.scale == b.scale);
            assert_true((used & QN_PARAM_ZERO_POINT) == 0 || a.zero_point == b.zero_point);
            assert_true((used & QN_PARAM_EXP_BIAS) == 0 || a.exp_bias == b.exp_bias);
        }
        qn_quantizer_free(q);
    }
    qn_frame_coder_free(coder);
}

static void expect_no_plan(const char *format, int axis, int64_t group, int rank, const char *says)
{
    const int64_t dims[4] = {2, 3, 4, 5};
    qn_quantizer *q;
    qn_frame frame;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_quantizer_new(&q, format_of(format), axis, group, rank, dims, &err), &err);
    qn_assert_fails(qn_frame_plan_for(&frame, q, NULL, rank, dims, &err), &err, QN_EINVAL, says);
    qn_quantizer_free(q);
}

/* Parameters that no frame, or not this one, can hold. */
static void test_refusals(void **state)
{
    (void)state;
    expect_no_plan("int8", 2, 0, 4, "channel (axis 1)");
    expect_no_plan("int8", 3, 0, 4, "cannot hold parameters along axis 3");
    expect_no_plan("int8", 1, 0, 3, "channel (axis 2)");
    expect_no_plan("int8", 1, 2, 4, "in groups of 2");
    expect_no_plan("bfp<8,2>", 1, 2, 4, "along axis 1 in groups of 2");

    float x[6] = {0.5f, 1.0f, -1.0f, NAN, 0.0f, 2.0f};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = x};
    unsigned char data[ROOM];
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = "int8";
    o.per = QN_LINK_PER_CHANNEL;
    qn_frame frame;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, &o, 2, t.dims, &err), &err);
    qn_assert_ok(qn_quantizer_new(&q, format_of("int8"), -1, 0, 2, t.dims, &err), &err);
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, &o, NULL, &err), &err, QN_EINVAL,
                    "of int8 with axis -1 and group 0, the frame of int8 with axis 1 and group 0");
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan_for(&frame, q, NULL, 2, t.dims, &err), &err);
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, NULL, NULL, &err), &err, QN_ERANGE, "element 3 is NaN");
    qn_error_init(&err);
    o.clamp = QN_LINK_CLAMP_LAPLACE;
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, &o, NULL, &err), &err, QN_EINVAL, "these are known");
    o.clamp = QN_LINK_CLAMP_NONE;
    qn_error_init(&err);
    qn_quantizer_set(q, 0, (qn_params){.scale = 1.0f, .zero_point = 128});
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, NULL, NULL, &err), &err, QN_EINVAL,
                    "zero point 0 is 128");
    qn_error_init(&err);
    qn_quantizer_set(q, 0, (qn_params){.scale = 1.0f});
    q->dynamic = true;
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, NULL, NULL, &err), &err, QN_EINVAL, "dynamic");
    qn_error_init(&err);
    qn_assert_fails(qn_frame_plan_for(&frame, q, NULL, 2, t.dims, &err), &err, QN_EINVAL, "dynamic");
    q->dynamic = false;
    qn_error_init(&err);
    const qn_tensor wide = {.dtype = QN_DTYPE_S16, .rank = 2, .dims = {2, 3}, .data = x}; /* codes of int8 are bytes */
    qn_assert_fails(qn_frame_encode_with(data, &frame, &wide, q, NULL, NULL, &err), &err, QN_EINVAL, "int16");
    qn_error_init(&err);
    const qn_tensor bytes = {
        .dtype = QN_DTYPE_S8, .rank = 2, .dims = {2, 3}, .data = x}; /* codes of nobody knows what */
    qn_assert_fails(qn_frame_encode(data, &frame, &bytes, &o, &err), &err, QN_EINVAL, "int8");
    qn_quantizer_free(q);

    qn_error_init(&err);
    qn_assert_ok(qn_quantizer_new(&q, format_of("mx<fp4e2m1,4>"), -1, 0, 2, t.dims, &err), &err);
    qn_quantizer_set(q, 1, (qn_params){.exp_bias = 129});
    qn_assert_ok(qn_frame_plan_for(&frame, q, NULL, 2, t.dims, &err), &err);
    x[3] = 0.0f;
    qn_assert_fails(qn_frame_encode_with(data, &frame, &t, q, NULL, NULL, &err), &err, QN_EINVAL,
                    "exponent 1 is 129, beyond what a frame holds: -127 to 128");
    qn_quantizer_free(q);
}

/* What happens in a pipeline's loop, for one kind of frame. */
static void run(qn_frame_coder *coder, const qn_tensor *x, const qn_link_options *o, unsigned char *data, float *y)
{
    qn_frame frame;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, o, x->rank, x->dims, &err), &err);
    assert_true(frame.n_bytes <= ROOM);
    qn_assert_ok(qn_frame_encode_with(data, &frame, x, NULL, o, coder, &err), &err);
    frame = parse(data, frame.n_bytes);
    qn_assert_ok(qn_frame_decode_with(y, &frame, coder, &err), &err);
}

/* The first frame allocates, those like it do not; and a coder changes no byte. */
static void test_steady(void **state)
{
    (void)state;
    static const char *const formats[] = {"int8",       "uint4",         "adaptivfloat<8,4>", "pipeedge<3>",
                                          "posit<8,1>", "ap_fixed<8,3>", "ternary",           "int8:qkeras-auto",
                                          "po2<4>",     "fp16",          "bfp<8,16>",         "mx<int8>"};
    static const qn_link_per pers[] = {QN_LINK_PER_TENSOR, QN_LINK_PER_ITEM, QN_LINK_PER_CHANNEL, QN_LINK_PER_TOKEN,
                                       QN_LINK_PER_GROUP};
    static const qn_link_clamp clamps[] = {QN_LINK_CLAMP_NONE, QN_LINK_CLAMP_LAPLACE, QN_LINK_CLAMP_GELU,
                                           QN_LINK_CLAMP_DS_ACIQ};
    float x[MOST], y[MOST];
    double wide[MOST];
    unsigned char data[ROOM], plain[ROOM];
    uint64_t random = 3;
    qn_frame_coder *coder;
    assert_int_equal(qn_frame_coder_new(&coder, NULL), QN_OK);
    for (size_t k = 0; k < sizeof formats / sizeof formats[0] * 5 * 4 * 2; k++) {
        qn_link_options o;
        qn_link_options_init(&o);
        o.format = formats[k / 40];
        o.per = format_of(o.format).block > 0 ? QN_LINK_PER_BLOCK : pers[k % 5];
        o.group = o.per == QN_LINK_PER_GROUP ? 7 : 0;
        o.clamp = clamps[k / 5 % 4];
        o.nan = QN_NAN_ZERO;
        const bool narrow = k / 20 % 2 == 0;
        const qn_tensor t = {.dtype = narrow ? QN_DTYPE_F32 : QN_DTYPE_F64,
                             .rank = 3,
                             .dims = {2, 3, 20},
                             .data = narrow ? (void *)x : (void *)wide};
        uint64_t before = 0;
        for (int frame = 0; frame < 4; frame++) {
            for (int i = 0; i < MOST; i++) {
                wide[i] = x[i] = qn_test_uniform(&random, -1.0f, 2.0f);
            }
            wide[5] = x[5] = frame == 3 ? x[5] : NAN;
            run(coder, &t, &o, data, y);
            if (frame > 0) {
                assert_int_equal(qn_alloc_count(), before);
            }
            before = qn_alloc_count();
        }
        run(NULL, &t, &o, plain, y);
        assert_memory_equal(data, plain, parse(data, ROOM).n_bytes);
    }
    qn_frame_coder_free(coder);
}

/* A failing allocation is told, wherever it is, and the coder serves on. */
static void test_failing(void **state)
{
    (void)state;
    float x[MOST], y[MOST];
    double wide[MOST];
    uint64_t random = 4;
    for (int i = 0; i < MOST; i++) {
        wide[i] = x[i] = qn_test_uniform(&random, -1.0f, 2.0f);
    }
    wide[1] = x[1] = NAN;
    for (int clamp = QN_LINK_CLAMP_NONE; clamp <= QN_LINK_CLAMP_MSE; clamp++) {
        for (int narrow = 0; narrow < 2; narrow++) {
            qn_link_options o;
            qn_link_options_init(&o);
            o.format = "int8";
            o.per = QN_LINK_PER_ITEM;
            o.clamp = (qn_link_clamp)clamp;
            o.nan = QN_NAN_ZERO;
            const qn_tensor t = {.dtype = narrow ? QN_DTYPE_F32 : QN_DTYPE_F64,
                                 .rank = 2,
                                 .dims = {4, 30},
                                 .data = narrow ? (void *)x : (void *)wide};
            qn_frame_coder *coder;
            assert_int_equal(qn_frame_coder_new(&coder, NULL), QN_OK);
            int n_failures = 0;
            for (qn_status status = QN_ENOMEM; status != QN_OK; n_failures++) {
                unsigned char data[ROOM];
                qn_frame frame;
                assert_int_equal(qn_frame_plan(&frame, &o, 2, t.dims, NULL), QN_OK);
                qn_alloc_fail_after(n_failures);
                status = qn_frame_encode_with(data, &frame, &t, NULL, &o, n_failures % 2 == 0 ? NULL : coder, NULL);
                qn_alloc_fail_after(-1);
                assert_true(status == QN_OK || status == QN_ENOMEM);
                if (status == QN_OK) {
                    frame = parse(data, frame.n_bytes);
                    assert_int_equal(qn_frame_decode_with(y, &frame, coder, NULL), QN_OK);
                }
                assert_true(n_failures < 100);
            }
            assert_true(n_failures > 1);
            qn_frame_coder_free(coder);
        }
    }
    qn_alloc_fail_after(0);
    qn_frame_coder *none;
    const qn_status status = qn_frame_coder_new(&none, NULL);
    qn_alloc_fail_after(-1);
    assert_int_equal(status, QN_ENOMEM);
    qn_frame_coder_free(NULL);
}

/* Without checksums a frame is the same but for its flag and two fields of zeros; flips in the body go through, and
 * change the numbers they strike and no others; those of the fields of zeros do not. */
static void test_unchecked(void **state)
{
    (void)state;
    enum { AT_FLAGS = 6, AT_BODY_CRC = 12, N = 20 };
    float x[N], y[N], struck[N];
    uint64_t random = 5;
    for (int i = 0; i < N; i++) {
        x[i] = qn_test_uniform(&random, -1.0f, 2.0f);
    }
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {N}, .data = x};
    unsigned char with[ROOM], without[ROOM];
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = "int4";
    qn_frame frame;
    qn_frame_verdict v;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, &o, 1, t.dims, &err), &err);
    qn_assert_ok(qn_frame_encode(with, &frame, &t, &o, &err), &err);
    assert_int_equal(parse(with, frame.n_bytes).flags, 0);
    o.checksum = QN_LINK_CHECKSUM_OFF;
    qn_assert_ok(qn_frame_encode(without, &frame, &t, &o, &err), &err);
    const qn_frame got = parse(without, frame.n_bytes);
    assert_int_equal(got.flags, QN_FRAME_UNCHECKED);
    assert_int_equal(without[AT_FLAGS], QN_FRAME_UNCHECKED);
    for (size_t i = 0; i < frame.n_bytes; i++) {
        const bool crc =
            (i >= AT_BODY_CRC && i < AT_BODY_CRC + 4) || (i >= frame.header_bytes - 4 && i < frame.header_bytes);
        assert_true(crc ? without[i] == 0 : i == AT_FLAGS || without[i] == with[i]);
    }
    qn_assert_ok(qn_frame_decode(y, &got, &err), &err);
    for (size_t bit = 0; bit < 8 * frame.n_bytes; bit++) {
        without[bit / 8] ^= (unsigned char)(1u << bit % 8);
        const qn_frame_state state_got = qn_frame_parse(&frame, &v, without, got.n_bytes, LIMIT);
        const size_t codes_at = got.header_bytes + got.parameter_bytes;
        if (bit / 8 >= got.header_bytes) {
            assert_int_equal(state_got, QN_FRAME_COMPLETE);
        } else if ((bit / 8 >= AT_BODY_CRC && bit / 8 < AT_BODY_CRC + 4) || bit / 8 >= got.header_bytes - 4) {
            assert_true(state_got == QN_FRAME_BAD && v.fault == QN_FRAME_FLAGS && v.offset == AT_FLAGS);
        } else if (bit == 8 * AT_FLAGS + 3) {
            assert_true(state_got == QN_FRAME_BAD && v.fault == QN_FRAME_HEADER_CRC);
        }
        if (bit / 8 >= codes_at) {
            qn_assert_ok(qn_frame_decode(struck, &frame, &err), &err);
            for (size_t i = 0; i < N; i++) {
                assert_true((struck[i] != y[i]) == (i == (bit - 8 * codes_at) / 4));
            }
        }
        without[bit / 8] ^= (unsigned char)(1u << bit % 8);
        frame = got;
    }
    qn_link_checksum c;
    assert_int_equal(qn_link_checksum_parse(&c, "off", NULL), QN_OK);
    assert_int_equal(c, QN_LINK_CHECKSUM_OFF);
    assert_int_equal(qn_link_checksum_parse(&c, "on", NULL), QN_OK);
    assert_int_equal(c, QN_LINK_CHECKSUM_ON);
    qn_assert_fails(qn_link_checksum_parse(&c, "crc", &err), &err, QN_EINVAL, "'crc' is not on or off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),  cmocka_unit_test(test_parameters), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_steady), cmocka_unit_test(test_failing),    cmocka_unit_test(test_unchecked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
