/* Every format kernel against the definition, to the bit: special values, the neighbourhood of every boundary between
 * codes, a sample of all fp32 patterns, all codes, odd lengths and odd addresses at the end of mapped memory. */
#include "guard.h" /* first: it chooses what headers declare */

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/codec.h"
#include "format/kernels/kernels.h"
#include "quern/codes.h"
#include "support.h"

static const char *const names[] = {
    "int8",
    "uint8",
    "int<4>",
    "uint<4>",
    "int<1>",
    "uint<1>",
    "int<3>",
    "int<5>",
    "uint<7>",
    "int<9>",
    "int8:narrow",
    "int<13>",
    "uint<16>",
    "int<16>",
    "fp16",
    "fp16:inf",
    "bf16",
    "bf16:inf",
    "fp8e4m3",
    "fp8e5m2",
    "fp8e5m2:inf",
    "fp6e3m2",
    "fp6e2m3",
    "fp4e2m1",
    "float<4,3,fnuz>",
    "float<5,2,fnuz>",
    "float<8,0,ieee>",
    "float<3,0,finite>",
    "float<1,6,finite>",
    "float<6,9,ieee>",
    "float<8,7,finite,100>",
    "float<4,3,fn,-100>",
    "float<10,2,ieee>",
    "adaptivfloat<8,3>",
    "adaptivfloat<4,2>",
    "adaptivfloat<16,5>",
    "adaptivfloat<2,1>",
    "adaptivfloat<5,4>",
    "adaptivfloat<12,8>",
    "bfp<8,16>",
    "bfp<2,16>",
    "bfp<5,32>",
    "bfp<16,16>",
    "mx<fp8e4m3>",
    "mx<fp8e5m2>",
    "mx<fp6e3m2>",
    "mx<fp6e2m3>",
    "mx<fp4e2m1>",
    "mx<int8>",
    "posit<2,0>",
    "posit<3,1>",
    "posit<4,3>",
    "posit<8,0>",
    "posit<8,1>",
    "posit<8,2>",
    "posit<8,3>",
    "posit<11,1>",
    "posit<16,1>",
    "posit<16,3>",
    "pipeedge<1>",
    "pipeedge<2>",
    "pipeedge<3>",
    "pipeedge<4>",
    "pipeedge<7>",
    "pipeedge<8>",
    "pipeedge<11>",
    "pipeedge<16>",
};
enum { N_NAMES = sizeof names / sizeof names[0] };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static qn_format parse(const char *name)
{
    qn_error err;
    qn_error_init(&err);
    qn_format f;
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

/* Parameters to try: usual ones, and those at and beyond what kernels compute themselves. Returns their number. */
static int parameters_of(qn_params out[16], const qn_format *f)
{
    static const float scales[] = {1.0f, 0.0123f, 3.7e-3f, 1.1754944e-38f, 1.5e38f};
    static const int32_t biases[] = {0, -9, -4, 3, 30, -125, -126, -127, -140, 100, 119, 121, 126, 127, 128};
    int n = 0;
    if (f->kind == QN_FORMAT_INT) {
        for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
            out[n++] = (qn_params){.scale = scales[i]};
            uint32_t half = (uint32_t)1 << (f->bits - 1);
            out[n++] = (qn_params){.scale = scales[i], .zero_point = f->is_signed ? -(int32_t)half : (int32_t)half};
            out[n++] = (qn_params){.scale = scales[i], .zero_point = (int32_t)half - 1};
        }
        return n;
    }
    if (f->kind == QN_FORMAT_PIPEEDGE) {
        static const float shifts[] = {0.0f, -2.6180339f, 3.0e38f};
        for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
            for (size_t k = 0; k < sizeof shifts / sizeof shifts[0]; k++) {
                out[n++] = (qn_params){.scale = scales[i], .shift = shifts[k], .multiplier = 1.0f};
            }
        }
        out[n++] = (qn_params){.scale = FLT_MAX, .shift = -FLT_MAX, .multiplier = 1.0f};
        return n;
    }
    bool biased = (qn_format_parameters(*f) & QN_PARAM_EXP_BIAS) != 0;
    for (size_t i = 0; i < (biased ? sizeof biases / sizeof biases[0] : 1); i++) {
        out[n++] = (qn_params){.scale = 1.0f, .exp_bias = biases[i]};
    }
    return n;
}

/* Inputs for a format with these parameters. */
typedef struct {
    float *x;
    int64_t n;
} inputs;
enum { SAMPLES = 40000, SPECIALS = 20, AROUND = 10, CODES_TRIED = 2048, GUARD_LENGTH = 75 };

static void add_around(inputs *in, double v)
{
    float x = (float)v;
    in->x[in->n++] = x;
    in->x[in->n++] = nextafterf(x, INFINITY);
    in->x[in->n++] = nextafterf(x, -INFINITY);
}

static inputs inputs_of(const qn_format *f, const qn_params *p, uint32_t seed)
{
    static const float specials[SPECIALS] = {0.0f,    -0.0f,           INFINITY,        -INFINITY,     1e-45f,
                                             -1e-45f, 1.17549421e-38f, 1.17549435e-38f, 3.4028235e38f, -3.4028235e38f,
                                             0.5f,    0.49999997f,     -0.49999997f,    1.5f,          2.5f,
                                             -2.5f,   8388609.0f,      -8388609.0f,     1e30f,         -1e30f};
    inputs in = {malloc(sizeof(float) * (size_t)(SAMPLES + SPECIALS + 4 + CODES_TRIED * AROUND)), 0};
    assert_non_null(in.x);
    memcpy(in.x, specials, sizeof specials);
    in.n = SPECIALS;
    static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff};
    memcpy(in.x + in.n, nans, sizeof nans);
    in.n += 4;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint32_t bits = seed + i * UINT32_C(715827883); /* through all sums of exponent and mantissa */
        memcpy(&in.x[in.n++], &bits, sizeof bits);
    }
    /* Codes, boundaries between them, and what is next to both; codes of wide formats from both ends of the range. */
    uint32_t n_codes = (uint32_t)1 << f->bits, tried = n_codes < CODES_TRIED ? n_codes : CODES_TRIED;
    for (uint32_t i = 0; i < tried; i++) {
        uint32_t code = n_codes > CODES_TRIED ? i * (n_codes / CODES_TRIED) + i % 3 : i;
        double v = qn_format_value(*f, p, code), next = qn_format_value(*f, p, (code + 1) & (n_codes - 1));
        if (isfinite(v) && isfinite(next)) {
            add_around(&in, v);
            add_around(&in, (v + next) / 2);
            add_around(&in, sqrt(fabs(v * next)));
        }
    }
    return in;
}

static void fail_at(const qn_format_kernel *k, const qn_run *run, const char *what, int64_t i, uint32_t input,
                    uint32_t got, uint32_t want)
{
    char name[QN_FORMAT_NAME_MAX];
    qn_format_name(name, *run->format);
    fail_msg("%s %s %s, exp_bias %d, scale %a, zero point %d: element %lld, input %08x: %08x instead of %08x", k->name,
             what, name, (int)run->params.exp_bias, (double)run->params.scale, (int)run->params.zero_point,
             (long long)i, input, got, want);
}

static uint32_t element_at(const void *codes, int64_t i, size_t size)
{
    return size == 1 ? ((const uint8_t *)codes)[i] : ((const uint16_t *)codes)[i];
}

static void same_codes(const qn_format_kernel *k, const qn_run *run, const char *what, const void *got,
                       const void *want, const float *x, int64_t n, size_t size)
{
    if (memcmp(got, want, (size_t)n * size) == 0) {
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint32_t a = element_at(got, i, size), b = element_at(want, i, size);
        if (a != b) {
            fail_at(k, run, what, i, x != NULL ? bits_of(x[i]) : 0, a, b);
        }
    }
}

static void same_floats(const qn_format_kernel *k, const qn_run *run, const char *what, const float *got,
                        const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (bits_of(got[i]) != bits_of(want[i])) {
            fail_at(k, run, what, i, (uint32_t)i, bits_of(got[i]), bits_of(want[i]));
        }
    }
}

static size_t packed_size(int64_t n, int bits)
{
    return (size_t)((n * bits + 7) / 8);
}

static void check_encoding(const qn_format_kernel *k, const qn_run *run, const inputs *in)
{
    size_t size = run->format->bits <= 8 ? 1 : 2, n = (size_t)in->n, packed = packed_size(in->n, run->format->bits);
    uint8_t *want = malloc(2 * n), *got = malloc(2 * n);
    float *y = malloc(n * sizeof *y), *y_want = malloc(n * sizeof *y);
    assert_true(want != NULL && got != NULL && y != NULL && y_want != NULL);
    qn_encode_definition(want, in->x, in->n, run);
    k->encode(got, in->x, in->n, run);
    same_codes(k, run, "encode", got, want, in->x, in->n, size);
    qn_encode_packed_definition(want, in->x, in->n, run);
    k->encode_packed(got, in->x, in->n, run);
    same_codes(k, run, "encode_packed", got, want, NULL, (int64_t)packed, 1);
    qn_fake_definition(y_want, in->x, in->n, run);
    k->fake(y, in->x, in->n, run);
    same_floats(k, run, "fake", y, y_want, in->n);
    memcpy(y, in->x, n * sizeof *y);
    k->fake(y, y, in->n, run);
    same_floats(k, run, "fake in place", y, y_want, in->n);
    free(want);
    free(got);
    free(y);
    free(y_want);
}

/* All codes, and containers with bits above the format's. */
static void check_decoding(const qn_format_kernel *k, const qn_run *run)
{
    enum { N = 65536 };
    static uint8_t bytes[N], packed[2 * N];
    static uint16_t halves[N];
    static float got[N], want[N];
    const int bits = run->format->bits;
    const void *codes = bits <= 8 ? (const void *)bytes : halves;
    for (uint32_t i = 0; i < N; i++) {
        bytes[i] = (uint8_t)i;
        halves[i] = (uint16_t)i;
    }
    int64_t n = bits <= 8 ? 512 : N;
    qn_decode_definition(want, codes, n, run);
    k->decode(got, codes, n, run);
    same_floats(k, run, "decode", got, want, n);
    qn_packed p = {packed, n, bits, QN_PACKING_DENSE};
    qn_pack(&p, codes, bits <= 8 ? 1 : 2);
    k->decode_packed(got, packed, n, run);
    same_floats(k, run, "decode_packed", got, want, n);
}

/* Every length up to GUARD_LENGTH, ending where memory ends, and with what is before left alone. */
static void check_edges(const qn_format_kernel *k, const qn_run *run)
{
    const int bits = run->format->bits;
    const size_t size = bits <= 8 ? 1 : 2;
    uint64_t state = 7;
    for (int64_t n = 0; n <= GUARD_LENGTH; n += n < 40 ? 1 : 5) {
        size_t floats = (size_t)n * sizeof(float), codes = (size_t)n * size, dense = packed_size(n, bits);
        guarded x = guarded_new(floats), y = guarded_new(floats), c = guarded_new(codes), p = guarded_new(dense);
        float want_y[GUARD_LENGTH + 1], *in = (float *)(void *)x.data;
        uint8_t want[2 * GUARD_LENGTH + 2];
        for (int64_t i = 0; i < n; i++) {
            in[i] = qn_test_uniform(&state, -3.0f, 3.0f);
        }
        uint8_t *before[] = {y.data, c.data, p.data};
        for (int i = 0; i < 3; i++) {
            before[i][-1] = 0xa5;
        }
        k->encode(c.data, in, n, run);
        qn_encode_definition(want, in, n, run);
        same_codes(k, run, "encode at the edge", c.data, want, in, n, size);
        k->decode((float *)(void *)y.data, c.data, n, run);
        qn_decode_definition(want_y, c.data, n, run);
        same_floats(k, run, "decode at the edge", (float *)(void *)y.data, want_y, n);
        k->encode_packed(p.data, in, n, run);
        qn_encode_packed_definition(want, in, n, run);
        same_codes(k, run, "encode_packed at the edge", p.data, want, NULL, (int64_t)dense, 1);
        memset(y.data, 0, floats);
        k->decode_packed((float *)(void *)y.data, p.data, n, run);
        same_floats(k, run, "decode_packed at the edge", (float *)(void *)y.data, want_y, n);
        k->fake((float *)(void *)y.data, in, n, run);
        qn_fake_definition(want_y, in, n, run);
        same_floats(k, run, "fake at the edge", (float *)(void *)y.data, want_y, n);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(before[i][-1], 0xa5);
        }
        guarded *all[] = {&x, &y, &c, &p};
        for (int i = 0; i < 4; i++) {
            guarded_free(all[i]);
        }
    }
}

/* How many formats of the list a kernel serves. */
static int check_kernel(const qn_format_kernel *k)
{
    int served = 0;
    for (int i = 0; i < N_NAMES; i++) {
        qn_format f = parse(names[i]);
        if (!k->serves(&f)) {
            continue;
        }
        served++;
        qn_params params[16];
        int n = parameters_of(params, &f);
        for (int p = 0; p < n; p++) {
            qn_run run = {.format = &f, .params = params[p], .stride = 1};
            inputs in = inputs_of(&f, &params[p], (uint32_t)(i * 16 + p));
            check_encoding(k, &run, &in);
            check_decoding(k, &run);
            free(in.x);
        }
        qn_run run = {.format = &f, .params = params[1 % n], .stride = 1};
        check_edges(k, &run);
    }
    return served;
}

static void kernels_equal_the_definition(void **state)
{
    (void)state;
    qn_cpu level;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_cpu_from_environment(&level, NULL, &err), &err);
    for (int i = 0; i < qn_format_n_kernels; i++) {
        if (qn_format_kernels[i]->cpu > level) {
            continue;
        }
        assert_true(check_kernel(qn_format_kernels[i]) > 0);
    }
}

/* Blocks of one row, of rows with a short last block, and of odd numbers of bits: tensors with kernels and without. */
static void check_blocks(const qn_format_kernel *kernel, const char *name, int64_t group, int rank, const int64_t *dims)
{
    static const qn_format_kernel none = {.name = "definition"};
    qn_error err;
    qn_error_init(&err);
    qn_tensor x, want, got, y, y_want;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, rank, dims, &err), &err);
    int64_t n = qn_tensor_count(&x);
    uint64_t state = 99;
    for (int64_t i = 0; i < n; i++) {
        ((float *)x.data)[i] = ldexpf(qn_test_uniform(&state, -1.0f, 1.0f), (int)(i / 7 % 40) - 20);
    }
    qn_format f = parse(name);
    qn_quantizer *q;
    const qn_fit_options options = {sizeof options, .axis = -1, .group = group};
    qn_assert_ok(qn_fit(&q, &x, f, &options, &err), &err);
    /* Big enough for packed codes, too. */
    qn_assert_ok(qn_tensor_alloc(&want, QN_DTYPE_U16, rank, dims, &err), &err);
    qn_assert_ok(qn_tensor_alloc(&got, QN_DTYPE_U16, rank, dims, &err), &err);
    qn_assert_ok(qn_tensor_alloc(&y, QN_DTYPE_F32, rank, dims, &err), &err);
    qn_assert_ok(qn_tensor_alloc(&y_want, QN_DTYPE_F32, rank, dims, &err), &err);
    size_t size = f.bits <= 8 ? 1 : 2, n_bytes = (size_t)n * 2, y_bytes = (size_t)n * sizeof(float);
    qn_packed packed = {got.data, n, f.bits, QN_PACKING_DENSE}, packed_want = {want.data, n, f.bits, QN_PACKING_DENSE};
    const qn_codec works[][2] = {
        {{.x = x.data, .codes = got.data, .code_size = size}, {.x = x.data, .codes = want.data, .code_size = size}},
        {{.y = y.data, .const_codes = got.data, .code_size = size},
         {.y = y_want.data, .const_codes = got.data, .code_size = size}},
        {{.x = x.data, .packed = &packed}, {.x = x.data, .packed = &packed_want}},
        {{.y = y.data, .const_packed = &packed}, {.y = y_want.data, .const_packed = &packed}},
        {{.x = x.data, .y = y.data}, {.x = x.data, .y = y_want.data}},
    };
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        memset(y.data, 0, y_bytes);
        memset(y_want.data, 1, y_bytes);
        if (works[i][0].y == NULL) {
            memset(got.data, 0, n_bytes);
            memset(want.data, 0, n_bytes);
        }
        qn_codec_run(&works[i][0], q, kernel, rank, dims);
        qn_codec_run(&works[i][1], q, &none, rank, dims);
        if (works[i][0].y != NULL) {
            assert_memory_equal(y.data, y_want.data, y_bytes);
        } else {
            assert_memory_equal(got.data, want.data, n_bytes);
        }
    }
    qn_tensor *all[] = {&x, &want, &got, &y, &y_want};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        qn_tensor_free(all[i]);
    }
    qn_quantizer_free(q);
}

static void blocks_equal_the_definition(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t group;
    } cases[] = {{"mx<fp8e4m3>", 0}, {"mx<fp4e2m1>", 0},      {"mx<fp6e2m3,5>", 0},      {"mx<int8,16>", 0},
                 {"bfp<8,16>", 0},   {"bfp<5,8>", 0},         {"adaptivfloat<8,3>", 24}, {"int8", 24},
                 {"bfp<12,33>", 0},  {"adaptivfloat<7,3>", 9}};
    static const int64_t shapes[][3] = {{1, 1, 96}, {3, 5, 70}, {4, 2, 64}, {1, 1, 7}, {2, 3, 1}, {2, 0, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_format f = parse(cases[i].name);
        qn_format_kernel kernel = qn_format_kernel_default(&f);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            check_blocks(&kernel, cases[i].name, cases[i].group, 3, shapes[s]);
        }
    }
}

/* Other roundings than the kernels' must not reach them. */
static void kernels_leave_other_roundings_alone(void **state)
{
    (void)state;
    static const char *const others[] = {"int8:stochastic",        "fp8e4m3:toward-zero", "adaptivfloat<8,3>:floor",
                                         "bfp<8,16>:nearest-away", "mx<int8>:stochastic", "int<32>"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        qn_format f = parse(others[i]);
        qn_format_kernel k = qn_format_kernel_select(&f, QN_CPU_AMX);
        assert_true(k.encode == NULL && k.decode == NULL && k.fake == NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_equal_the_definition),
        cmocka_unit_test(blocks_equal_the_definition),
        cmocka_unit_test(kernels_leave_other_roundings_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
