/* Tensors and quantizers: granularities, fits, policies, packing; each against plain loops over single elements. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "format/quantizer.h"

enum { N0 = 3, N1 = 7, N2 = 5, N = N0 * N1 * N2 };
static const int64_t dims3[3] = {N0, N1, N2};

static qn_format parse(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

static void fill(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(&seed, -3.0f, 3.0f) * ldexpf(1.0f, (int)(qn_test_random(&seed) % 9) - 4);
    }
}

/* The parameter set of element (i, j, k) by the words of quern/codes.h. */
static int64_t set_of(int axis, int64_t group, const int64_t index[3], int64_t *n_sets)
{
    int64_t shape[3] = {N0, N1, N2}, at[3] = {index[0], index[1], index[2]};
    if (axis < 0) {
        int64_t flat = (index[0] * N1 + index[1]) * N2 + index[2];
        *n_sets = group > 0 ? (N + group - 1) / group : 1;
        return group > 0 ? flat / group : 0;
    }
    if (group == 0) {
        *n_sets = shape[axis];
        return index[axis];
    }
    shape[axis] = (shape[axis] + group - 1) / group;
    at[axis] /= group;
    *n_sets = shape[0] * shape[1] * shape[2];
    return (at[0] * shape[1] + at[1]) * shape[2] + at[2];
}

static uint32_t code_at(const qn_tensor *codes, int64_t i)
{
    return codes->dtype == QN_DTYPE_U8    ? ((const uint8_t *)codes->data)[i]
           : codes->dtype == QN_DTYPE_U16 ? ((const uint16_t *)codes->data)[i]
                                          : ((const uint32_t *)codes->data)[i];
}

/* Parameters by set are the format's from the set's own range, and each element is coded with those of its set; packed
 * codes and fake quantization agree with that. */
static void check_granularity(const char *name, int axis, int64_t group)
{
    float x[N];
    fill(x, N, 11);
    const qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 3, .dims = {N0, N1, N2}, .data = x};
    qn_format f = parse(name);
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = axis;
    options.group = group;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &tensor, f, &options, &err), &err);
    qn_assert_ok(qn_quantizer_check(q, 3, dims3, NULL, &err), &err);
    axis = q->axis, group = q->group;
    qn_tensor codes, y, fake, unpacked;
    qn_assert_ok(qn_encode(&codes, &tensor, q, NULL, &err), &err);
    qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
    qn_assert_ok(qn_fake_quantize(&fake, &tensor, q, NULL, &err), &err);
    unsigned char bytes[4 * N];
    qn_packed packed = {.data = bytes, .n = N, .bits = f.bits};
    qn_assert_ok(qn_encode_packed(&packed, &tensor, q, NULL, &err), &err);
    qn_assert_ok(qn_decode_packed(&unpacked, &packed, q, 3, dims3, &err), &err);
    assert_memory_equal(y.data, fake.data, sizeof x);
    assert_memory_equal(y.data, unpacked.data, sizeof x);

    double lo[N], hi[N];
    int64_t n_sets = 0;
    bool seen[N] = {false};
    for (int64_t i = 0; i < N; i++) {
        int64_t set = set_of(axis, group, (const int64_t[3]){i / (N1 * N2), i / N2 % N1, i % N2}, &n_sets);
        lo[set] = seen[set] ? fmin(lo[set], (double)x[i]) : (double)x[i];
        hi[set] = seen[set] ? fmax(hi[set], (double)x[i]) : (double)x[i];
        seen[set] = true;
    }
    assert_int_equal(q->n, n_sets);
    for (int64_t i = 0; i < N; i++) {
        int64_t set = set_of(axis, group, (const int64_t[3]){i / (N1 * N2), i / N2 % N1, i % N2}, &n_sets);
        qn_params p = qn_quantizer_get(q, set);
        double max = fmax(fabs(lo[set]), fabs(hi[set]));
        if (f.kind == QN_FORMAT_INT) {
            assert_true(p.scale == (float)max / (float)((1 << (f.bits - 1)) - 1));
        } else {
            assert_int_equal(p.exp_bias, ilogb(max) - (f.kind == QN_FORMAT_ADAPTIVFLOAT ? 7 : f.block > 0 ? 0 : 8));
        }
        /* Integers divide in f32 when x is f32; the quotient is then exact in the sense of qn_format_code. */
        double in = f.kind == QN_FORMAT_INT ? (double)(x[i] / p.scale) * (double)p.scale : (double)x[i];
        uint32_t code = qn_format_code(f, &p, in, 0);
        assert_int_equal(code_at(&codes, i), code);
        assert_int_equal(qn_packed_get(&packed, i), code);
        assert_true(((float *)y.data)[i] == (float)qn_format_value(f, &p, code));
    }
    qn_tensor_free(&codes), qn_tensor_free(&y), qn_tensor_free(&fake), qn_tensor_free(&unpacked);
    qn_quantizer_free(q);
}

static void every_granularity(void **state)
{
    (void)state;
    static const char *const names[] = {"int8", "int5", "int12", "adaptivfloat<8,3>", "adaptivfloat<11,3>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int axis = -1; axis < 3; axis++) {
            static const int64_t groups[] = {0, 1, 2, 3, 5, 100};
            for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
                check_granularity(names[i], axis, groups[g]);
            }
        }
    }
    for (int axis = -1; axis < 3; axis++) {
        check_granularity("bfp<6,2>", axis, 0);
        check_granularity("bfp<9,4>", axis, 0);
    }
}

static void doubles_are_not_narrowed(void **state)
{
    (void)state;
    /* Just above a tie, where an f32 would be on it. */
    double x[2] = {1.0 + 0x1p-11 + 0x1p-40, 0.5 - 0x1p-30};
    const qn_tensor t = {.dtype = QN_DTYPE_F64, .rank = 1, .dims = {2}, .data = x};
    qn_error err;
    qn_error_init(&err);
    qn_quantizer q = {.format = parse("fp16"), .axis = -1, .n = 1};
    qn_tensor codes;
    qn_assert_ok(qn_encode(&codes, &t, &q, NULL, &err), &err);
    assert_int_equal(((uint16_t *)codes.data)[0], 0x3C01);
    qn_tensor_free(&codes);
    q.format = parse("ap_fixed<8,8,RND,SAT>");
    qn_assert_ok(qn_encode(&codes, &t, &q, NULL, &err), &err);
    assert_int_equal(((uint8_t *)codes.data)[1], 0);
    qn_tensor_free(&codes);
}

static const char *const one_of_each[] = {"int8",
                                          "int4:po2",
                                          "uint8",
                                          "int4:qkeras-auto",
                                          "ap_fixed<8,4,RND_CONV,SAT>",
                                          "fp16",
                                          "fp8e4m3",
                                          "fp4e2m1",
                                          "adaptivfloat<8,3>",
                                          "bfp<8,16>",
                                          "mx<fp8e4m3>",
                                          "mx<int8>",
                                          "posit<8,1>",
                                          "po2<4>",
                                          "po2<4,nozero>",
                                          "po2<4,log>",
                                          "ternary",
                                          "binary"};
enum { N_KINDS = sizeof one_of_each / sizeof one_of_each[0] };

static void zeros_decode_to_zeros(void **state)
{
    (void)state;
    float x[40] = {0.0f};
    x[3] = -0.0f;
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {5, 8}, .data = x};
    for (int i = 0; i < N_KINDS; i++) {
        qn_quantizer *q;
        qn_tensor y;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_fit(&q, &t, parse(one_of_each[i]), NULL, &err), &err);
        qn_assert_ok(qn_fake_quantize(&y, &t, q, NULL, &err), &err);
        for (int k = 0; k < 40; k++) {
            assert_true(((float *)y.data)[k] == 0.0f);
        }
        qn_params p = qn_quantizer_get(q, 0);
        assert_true(p.scale == (q->format.kind == QN_FORMAT_BINARY ? 0.0f : 1.0f));
        qn_tensor_free(&y);
        qn_quantizer_free(q);
    }
}

static void what_is_not_a_number_is_refused_or_replaced(void **state)
{
    (void)state;
    float x[6] = {1.0f, -2.0f, 0.5f, NAN, -INFINITY, INFINITY};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {6}, .data = x};
    for (int i = 0; i < N_KINDS; i++) {
        qn_quantizer *q = NULL;
        qn_tensor y;
        qn_error err;
        qn_format f = parse(one_of_each[i]);
        qn_fit_options fit;
        qn_codec_options codec;
        qn_fit_options_init(&fit);
        qn_codec_options_init(&codec);
        qn_error_init(&err);
        qn_assert_fails(qn_fit(&q, &t, f, &fit, &err), &err, QN_ERANGE, "element 3 is NaN");
        fit.nan = codec.nan = QN_NAN_ZERO;
        qn_error_init(&err);
        qn_assert_fails(qn_fit(&q, &t, f, &fit, &err), &err, QN_ERANGE, "element 4 is infinite");
        assert_null(q);
        fit.inf = QN_INF_CLAMP;
        qn_error_init(&err);
        qn_assert_ok(qn_fit(&q, &t, f, &fit, &err), &err);
        qn_assert_fails(qn_fake_quantize(&y, &t, q, &codec, &err), &err, QN_ERANGE, "element 4 is infinite");
        codec.inf = QN_INF_CLAMP;
        qn_error_init(&err);
        qn_assert_ok(qn_fake_quantize(&y, &t, q, &codec, &err), &err);
        const float *out = y.data;
        for (int k = 0; k < 6; k++) {
            assert_true(isfinite(out[k]));
        }
        /* NaN is coded as 0 is, and infinities as the extremes. */
        qn_params last = qn_quantizer_get(q, q->n - 1);
        assert_true(out[3] == (float)qn_format_value(f, &last, qn_format_code(f, &last, 0.0, 0)));
        qn_format_limits limits;
        qn_format_limits_get(&limits, f, &last);
        assert_true(out[4] == (float)limits.lowest && out[5] == (float)limits.highest);
        qn_tensor_free(&y);
        qn_quantizer_free(q);
    }
}

static void wrong_tensors_and_options_are_refused(void **state)
{
    (void)state;
    int8_t bytes[6] = {0};
    float x[6] = {1.0f};
    const qn_tensor s8 = {.dtype = QN_DTYPE_S8, .rank = 1, .dims = {6}, .data = bytes};
    const qn_tensor f32 = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {6}, .data = x};
    qn_quantizer *q;
    qn_tensor out;
    qn_fit_options o;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_fit(&q, &s8, parse("int8"), NULL, &err), &err, QN_EINVAL, "elements are int8");
    static const struct {
        const char *format;
        int axis;
        int64_t group;
        const char *rule, *message;
    } rows[] = {
        {"int8", 1, 0, NULL, "axis 1 is outside a tensor of rank 1"},
        {"int8", -2, 0, NULL, "axis -2 is outside"},
        {"int8", 0, -1, NULL, "a group of -1 elements"},
        {"bfp<8,16>", 0, 8, NULL, "groups of 8 elements for a format with blocks of 16"},
        {"int8", 0, 0, "minmux", "'minmux' is no range rule; the nearest is 'minmax'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_fit_options_init(&o);
        o.axis = rows[i].axis, o.group = rows[i].group, o.rule = rows[i].rule;
        qn_error_init(&err);
        qn_assert_fails(qn_fit(&q, &f32, parse(rows[i].format), &o, &err), &err, QN_EINVAL, rows[i].message);
    }
    const float scale = 1.0f;
    const int32_t zero = 0;
    qn_quantizer good = {.format = parse("int12"), .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero};
    qn_error_init(&err);
    qn_assert_fails(qn_decode(&out, &s8, &good, &err), &err, QN_EINVAL, "codes of int12 are uint16, these are int8");
    qn_packed packed = {.data = bytes, .n = 6, .bits = 8};
    qn_error_init(&err);
    qn_assert_fails(qn_encode_packed(&packed, &f32, &good, NULL, &err), &err, QN_EINVAL, "6 of 12 are needed");
    qn_quantizer blocks = {.format = parse("bfp<8,16>"), .axis = 0, .n = 6};
    qn_error_init(&err);
    qn_assert_fails(qn_encode(&out, &f32, &blocks, NULL, &err), &err, QN_EINVAL, "for a format with blocks of 16");
}

static void fits_follow_their_formulas(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        double lo, hi, scale;
        int32_t zero_point;
    } rows[] = {
        {"int8", -1.0, 2.0, 2.0 / 127.0, 0},
        {"int8:symmetric-full", -1.0, 2.0, 4.0 / 255.0, 0},
        {"int8:lltfi", -1.0, 2.0, 4.0 / 127.0, 0},
        {"uint8", -1.0, 2.0, 3.0 / 255.0, 85},
        {"uint8", 1.0, 2.0, 2.0 / 255.0, 0},
        {"int8:affine", -1.0, 3.0, 4.0 / 255.0, -64},
        {"uint8:positive", 0.0, 2.0, 2.0 / 255.0, 0},
        {"int4:qkeras-auto", -7.0, 2.0, 1.0, 0},
        {"int1", -3.0, 3.0, 6.0, 0},
        {"int8", -1e-45, 1e-45, 0x1p-126, 0},
        {"uint8:affine", -3e38, 3e38, 6e38 / 255.0, 128},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float x[2] = {(float)rows[i].lo, (float)rows[i].hi};
        const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {2}, .data = x};
        qn_quantizer *q;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_fit(&q, &t, parse(rows[i].format), NULL, &err), &err);
        assert_true(fabs((double)q->scale[0] / rows[i].scale - 1.0) < 1e-7);
        assert_int_equal(q->zero_point[0], rows[i].zero_point);
        qn_quantizer_free(q);
    }
}

static double squared_error(const qn_tensor *t, const qn_quantizer *q)
{
    qn_tensor y;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fake_quantize(&y, t, q, NULL, &err), &err);
    double sum = 0.0;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        double d = (double)((const float *)y.data)[i] - (double)((const float *)t->data)[i];
        sum += d * d;
    }
    qn_tensor_free(&y);
    return sum;
}

/* No scale of a wide scan, in steps (exponents for po2), has less error. */
static void searched_scales_are_the_best(void **state)
{
    (void)state;
    static const char *const names[] = {"int2:po2", "int4:po2", "int8:po2", "ternary", "binary"};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        float x[200];
        fill(x, 200, seed);
        const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {200}, .data = x};
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            qn_quantizer *q;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_fit(&q, &t, parse(names[i]), NULL, &err), &err);
            double best = squared_error(&t, q);
            bool po2 = q->format.kind == QN_FORMAT_INT;
            for (int k = 0; k < (po2 ? 40 : 2000); k++) {
                float scale = po2 ? ldexpf(1.0f, k - 25) : 48.0f * (float)(k + 1) / 2000.0f;
                qn_quantizer other = {
                    .format = q->format, .axis = -1, .n = 1, .scale = &scale, .zero_point = q->zero_point};
                assert_true(squared_error(&t, &other) >= best * (1.0 - 1e-6));
            }
            qn_quantizer_free(q);
        }
    }
}

/* The number that element k draws depends on k and the seed, not on runs, blocks or layout. */
static void stochastic_rounding_draws_by_element(void **state)
{
    (void)state;
    enum { COUNT = 4096 };
    static float x[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = 10.25f;
    }
    qn_tensor flat = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {COUNT}, .data = x};
    qn_tensor square = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {64, 64}, .data = x};
    qn_format f = parse("ap_fixed<8,8,TRN,SAT>:stochastic");
    const qn_quantizer whole = {.format = f, .axis = -1, .n = 1}, rows = {.format = f, .axis = 0, .n = 64};
    const qn_quantizer groups = {.format = f, .axis = 0, .group = 7, .n = 640};
    qn_codec_options o;
    qn_codec_options_init(&o);
    o.seed = 42;
    qn_tensor a, b, c, d;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_encode(&a, &flat, &whole, &o, &err), &err);
    qn_assert_ok(qn_encode(&b, &square, &rows, &o, &err), &err);
    qn_assert_ok(qn_encode(&c, &square, &groups, &o, &err), &err);
    o.seed = 43;
    qn_assert_ok(qn_encode(&d, &flat, &whole, &o, &err), &err);
    assert_memory_equal(a.data, b.data, COUNT);
    assert_memory_equal(a.data, c.data, COUNT);
    assert_memory_not_equal(a.data, d.data, COUNT);
    int up = 0;
    for (int i = 0; i < COUNT; i++) {
        int code = ((uint8_t *)a.data)[i];
        assert_true(code == 10 || code == 11);
        up += code - 10;
    }
    assert_true(abs(up - COUNT / 4) < 140); /* five standard deviations */
    qn_tensor_free(&a), qn_tensor_free(&b), qn_tensor_free(&c), qn_tensor_free(&d);
}

/* Bit k of a packed array, by definition of the layout. */
static int bit_at(const unsigned char *bytes, int64_t bit)
{
    return bytes[bit / 8] >> bit % 8 & 1;
}

static void packed_codes_lie_where_they_should(void **state)
{
    (void)state;
    enum { COUNT = 67 };
    for (int packing = QN_PACKING_DENSE; packing <= QN_PACKING_WORD32; packing++) {
        for (int bits = 1; bits <= 32; bits++) {
            uint32_t codes[COUNT], back[COUNT];
            uint64_t seed = (uint64_t)bits;
            size_t n_bytes;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_packed_bytes(&n_bytes, COUNT, bits, (qn_packing)packing, &err), &err);
            size_t per_word = 32 / (size_t)bits;
            assert_int_equal(n_bytes, packing == QN_PACKING_DENSE ? ((size_t)(COUNT * bits) + 7) / 8
                                                                  : (COUNT + per_word - 1) / per_word * 4);
            unsigned char *bytes = malloc(n_bytes), *again = malloc(n_bytes); /* exact: ASan sees a byte too many */
            assert_non_null(bytes), assert_non_null(again);
            memset(bytes, 0xFF, n_bytes);
            memset(again, 0xFF, n_bytes);
            qn_packed p = {bytes, COUNT, bits, (qn_packing)packing}, r = {again, COUNT, bits, (qn_packing)packing};
            for (int i = 0; i < COUNT; i++) {
                codes[i] = (uint32_t)(qn_test_random(&seed) >> 32);
            }
            qn_pack(&p, codes, 4);
            qn_unpack(back, &p, 4);
            int64_t used = 0;
            for (int i = 0; i < COUNT; i++) {
                uint32_t code = codes[i] & (UINT32_MAX >> (32 - bits));
                int64_t first = packing == QN_PACKING_DENSE
                                    ? (int64_t)i * bits
                                    : (int64_t)((size_t)i / per_word * 32 + (size_t)i % per_word * (size_t)bits);
                for (int k = 0; k < bits; k++) {
                    assert_int_equal(bit_at(bytes, first + k), code >> k & 1);
                    used += bit_at(bytes, first + k);
                }
                assert_int_equal(back[i], code);
                assert_int_equal(qn_packed_get(&p, i), code);
            }
            for (int64_t bit = 0; bit < (int64_t)n_bytes * 8; bit++) {
                used -= bit_at(bytes, bit);
            }
            assert_int_equal(used, 0);        /* padding is 0 */
            for (int i = 0; i < COUNT; i++) { /* flips touch their own code only */
                qn_packed_flip(&p, i, codes[i]);
            }
            for (size_t i = 0; i < n_bytes; i++) {
                assert_int_equal(bytes[i], 0);
            }
            for (int i = COUNT - 1; i >= 0; i--) {
                qn_packed_set(&r, i, codes[i]);
            }
            for (int i = 0; i < COUNT; i++) {
                assert_int_equal(qn_packed_get(&r, i), back[i]);
            }
            free(bytes), free(again);
        }
    }
    size_t n_bytes;
    assert_int_equal(qn_packed_bytes(&n_bytes, 1, 0, QN_PACKING_DENSE, NULL), QN_EINVAL);
    assert_int_equal(qn_packed_bytes(&n_bytes, 1, 33, QN_PACKING_WORD32, NULL), QN_EINVAL);
    assert_int_equal(qn_packed_bytes(&n_bytes, INT64_MAX, 32, QN_PACKING_DENSE, NULL), QN_ELIMIT);
}

static void small_codes_pack_from_small_arrays(void **state)
{
    (void)state;
    const uint8_t bytes[3] = {1, 2, 3};
    const uint16_t halves[3] = {1, 2, 3};
    uint8_t back8[3];
    uint16_t back16[3];
    unsigned char a[2], b[2];
    qn_packed p = {a, 3, 4, QN_PACKING_DENSE}, r = {b, 3, 4, QN_PACKING_DENSE};
    qn_pack(&p, bytes, 1);
    qn_pack(&r, halves, 2);
    assert_memory_equal(a, "\x21\x03", 2);
    assert_memory_equal(b, a, 2);
    qn_unpack(back8, &p, 1);
    qn_unpack(back16, &p, 2);
    assert_memory_equal(back8, bytes, sizeof bytes);
    assert_memory_equal(back16, halves, sizeof halves);
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    float x[12] = {1.0f, NAN, -3.0f};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {3, 4}, .data = x};
    qn_codec_options codec;
    qn_fit_options fit;
    qn_codec_options_init(&codec);
    qn_fit_options_init(&fit);
    codec.nan = fit.nan = QN_NAN_ZERO;
    fit.axis = 0;
    for (int64_t countdown = 0; countdown < 8; countdown++) {
        qn_quantizer *q;
        qn_tensor codes;
        qn_error err;
        qn_error_init(&err);
        qn_alloc_fail_after(countdown);
        qn_status status = qn_fit(&q, &t, parse("adaptivfloat<8,3>"), &fit, &err);
        if (status == QN_OK) {
            status = qn_encode(&codes, &t, q, &codec, &err);
            if (status == QN_OK) {
                qn_tensor_free(&codes);
            }
            qn_quantizer_free(q);
        }
        qn_alloc_fail_after(-1);
        assert_int_equal(status, countdown < 5 ? QN_ENOMEM : QN_OK);
    }
}

static void tensors_may_be_empty_or_scalar(void **state)
{
    (void)state;
    float x[1] = {3.0f};
    const qn_tensor tensors[] = {{.dtype = QN_DTYPE_F32, .rank = 2, .dims = {0, 3}, .data = x},
                                 {.dtype = QN_DTYPE_F32, .rank = 0, .data = x}};
    for (size_t t = 0; t < 2; t++) {
        for (int i = 0; i < N_KINDS; i++) {
            qn_quantizer *q;
            qn_tensor codes, y;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_fit(&q, &tensors[t], parse(one_of_each[i]), NULL, &err), &err);
            qn_assert_ok(qn_encode(&codes, &tensors[t], q, NULL, &err), &err);
            qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
            assert_int_equal(qn_tensor_count(&y), t);
            if (t == 1) { /* the only value is the greatest: all formats come within a quarter of it */
                assert_true(fabsf(((float *)y.data)[0] - 3.0f) <= 1.0f);
            }
            qn_tensor_free(&codes), qn_tensor_free(&y);
            qn_quantizer_free(q);
        }
    }
}

static void copies_have_all_parameters(void **state)
{
    (void)state;
    const float scale[2] = {1.0f, 2.0f}, shift[2] = {3.0f, 4.0f};
    const int32_t zero_point[2] = {5, 6}, exp_bias[2] = {7, 8};
    const qn_quantizer q = {.format = parse("int8"),
                            .axis = 0,
                            .n = 2,
                            .group = 4,
                            .scale = scale,
                            .zero_point = zero_point,
                            .exp_bias = exp_bias,
                            .shift = shift};
    const qn_quantizer bare = {.format = parse("fp16"), .axis = -1, .n = 1};
    const qn_quantizer *copy;
    qn_arena arena = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_quantizer_copy_to_arena(&arena, &copy, &q, &err), &err);
    assert_true(qn_quantizer_equal(copy, &q));
    assert_ptr_not_equal(copy->shift, shift);
    qn_params second = qn_quantizer_get(copy, 1);
    assert_true(second.scale == 2.0f && second.zero_point == 6 && second.exp_bias == 8 && second.shift == 4.0f);
    qn_assert_ok(qn_quantizer_copy_to_arena(&arena, &copy, &bare, &err), &err);
    assert_true(qn_quantizer_equal(copy, &bare) && copy->scale == NULL);
    qn_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_granularity),
        cmocka_unit_test(doubles_are_not_narrowed),
        cmocka_unit_test(zeros_decode_to_zeros),
        cmocka_unit_test(what_is_not_a_number_is_refused_or_replaced),
        cmocka_unit_test(wrong_tensors_and_options_are_refused),
        cmocka_unit_test(fits_follow_their_formulas),
        cmocka_unit_test(searched_scales_are_the_best),
        cmocka_unit_test(stochastic_rounding_draws_by_element),
        cmocka_unit_test(packed_codes_lie_where_they_should),
        cmocka_unit_test(small_codes_pack_from_small_arrays),
        cmocka_unit_test(lack_of_memory_is_reported),
        cmocka_unit_test(tensors_may_be_empty_or_scalar),
        cmocka_unit_test(copies_have_all_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
