/* Affine integer formats. Elements go through a small block of int32 codes, so that one set of loops serves every
 * code dtype, and encode, decode and fake quantization share them. */
#include "format/quantizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"

enum { BLOCK = 256 };

static bool format_valid(qn_format format)
{
    if (format.bits == 32) {
        return format.is_signed && !format.narrow;
    }
    return format.bits >= 1 && format.bits <= 16 && (!format.narrow || (format.is_signed && format.bits >= 2));
}

void qn_format_name(char name[QN_FORMAT_NAME_MAX], qn_format format)
{
    snprintf(name, QN_FORMAT_NAME_MAX, "%sint%d%s", format.is_signed ? "" : "u", format.bits,
             format.narrow ? ":narrow" : "");
}

qn_dtype qn_format_dtype(qn_format format)
{
    if (format.bits > 16) {
        return QN_DTYPE_S32;
    }
    if (format.bits > 8) {
        return format.is_signed ? QN_DTYPE_S16 : QN_DTYPE_U16;
    }
    return format.is_signed ? QN_DTYPE_S8 : QN_DTYPE_U8;
}

void qn_format_range(qn_format format, int32_t *lo, int32_t *hi)
{
    int value_bits = format.bits - (format.is_signed ? 1 : 0);
    int64_t top = (int64_t)((uint64_t)1 << value_bits);
    *hi = (int32_t)(top - 1);
    *lo = format.is_signed ? (int32_t)(-top + (format.narrow ? 1 : 0)) : 0;
}

qn_status qn_quantizer_check(const qn_quantizer *q, int rank, const int64_t *dims, const char *where, qn_error *err)
{
    char name[QN_FORMAT_NAME_MAX];
    qn_format_name(name, q->format);
    if (!format_valid(q->format)) {
        return qn_fail(
            err, QN_EINVAL, where,
            "there is no format %s; integers have 1 to 16 bits, or are int32, and only signed ones of 2 to 16 "
            "bits can be narrow",
            name);
    }
    if (q->axis < -1 || q->axis >= rank) {
        return qn_fail(err, QN_EINVAL, where, "quantization axis %d is outside a tensor of rank %d", q->axis, rank);
    }
    int64_t n = q->axis < 0 ? 1 : dims[q->axis];
    if (q->n != n || q->scale == NULL || q->zero_point == NULL) {
        return qn_fail(err, QN_EINVAL, where, "%lld quantization parameters where %lld are needed",
                       q->scale == NULL || q->zero_point == NULL ? 0LL : (long long)q->n, (long long)n);
    }
    int32_t lo, hi;
    qn_format_range(q->format, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        if (!isnormal(q->scale[i]) || q->scale[i] < 0.0f) {
            return qn_fail(err, QN_EINVAL, where, "scale %lld is %g; it must be a finite, normal number above 0",
                           (long long)i, (double)q->scale[i]);
        }
        if (q->zero_point[i] < lo || q->zero_point[i] > hi) {
            return qn_fail(err, QN_EINVAL, where, "zero point %lld is %ld, outside the range of %s (%ld to %ld)",
                           (long long)i, (long)q->zero_point[i], name, (long)lo, (long)hi);
        }
    }
    return QN_OK;
}

bool qn_quantizer_equal(const qn_quantizer *a, const qn_quantizer *b)
{
    if (a->format.bits != b->format.bits || a->format.is_signed != b->format.is_signed ||
        a->format.narrow != b->format.narrow || a->axis != b->axis || a->n != b->n) {
        return false;
    }
    for (int64_t i = 0; i < a->n; i++) {
        if (a->scale[i] != b->scale[i] || a->zero_point[i] != b->zero_point[i]) {
            return false;
        }
    }
    return true;
}

/* The parameters of one run of elements. */
typedef struct affine {
    int bits;
    float scale;
    int32_t zero_point, lo, hi;
} affine;

/* Up to 16 bits. After the clamp |v| <= 2^17, where adding and subtracting 1.5 * 2^23 rounds to nearest even as rintf
 * does, in instructions that every x86-64 has in vector form. */
static void encode_narrow(int32_t *codes, const float *x, int64_t n, affine p)
{
    const float magic = 0x1.8p23f;
    const float low = (float)(p.lo - p.zero_point), high = (float)(p.hi - p.zero_point);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] / p.scale;
        v = v >= low ? v : low; /* NaN too */
        v = v > high ? high : v;
        codes[i] = (int32_t)((v + magic) - magic) + p.zero_point;
    }
}

/* int32: float has too few digits for such codes, so the quotient is a double. */
static void encode_wide(int32_t *codes, const float *x, int64_t n, affine p)
{
    for (int64_t i = 0; i < n; i++) {
        double v = rint((double)x[i] / (double)p.scale) + (double)p.zero_point;
        v = v >= (double)p.lo ? v : (double)p.lo;
        codes[i] = (int32_t)(v > (double)p.hi ? (double)p.hi : v);
    }
}

static void encode_block(int32_t *codes, const float *x, int64_t n, affine p)
{
    (p.bits > 16 ? encode_wide : encode_narrow)(codes, x, n, p);
}

static void decode_block(float *y, const int32_t *codes, int64_t n, affine p)
{
    if (p.bits > 16) {
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)((int64_t)codes[i] - p.zero_point) * p.scale;
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)(codes[i] - p.zero_point) * p.scale;
    }
}

#define STORE(type)                                                                                                    \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        ((type *)codes)[first + i] = (type)block[i];                                                                   \
    }
#define LOAD(type)                                                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        block[i] = (int32_t)((const type *)codes)[first + i];                                                          \
    }

static void store_block(void *codes, qn_dtype dtype, int64_t first, const int32_t *block, int64_t n)
{
    switch (qn_dtype_size(dtype)) {
    case 1:
        STORE(uint8_t) /* two's complement: the low byte is right for both signs */
        break;
    case 2:
        STORE(uint16_t)
        break;
    default:
        memcpy((int32_t *)codes + first, block, (size_t)n * sizeof *block);
    }
}

static void load_block(int32_t *block, const void *codes, qn_dtype dtype, int64_t first, int64_t n)
{
    switch (dtype) {
    case QN_DTYPE_S8:
        LOAD(int8_t)
        break;
    case QN_DTYPE_U8:
        LOAD(uint8_t)
        break;
    case QN_DTYPE_S16:
        LOAD(int16_t)
        break;
    case QN_DTYPE_U16:
        LOAD(uint16_t)
        break;
    default:
        memcpy(block, (const int32_t *)codes + first, (size_t)n * sizeof *block);
    }
}

/* What to do with elements first..first+n-1, n <= BLOCK, which share parameters. */
typedef struct buffers {
    const float *x;
    float *y;
    void *codes;             /* written */
    const void *const_codes; /* read */
    qn_dtype dtype;
} buffers;

typedef void (*block_fn)(const buffers *b, int64_t first, int64_t n, affine p);

static void encode_step(const buffers *b, int64_t first, int64_t n, affine p)
{
    int32_t block[BLOCK];
    encode_block(block, b->x + first, n, p);
    store_block(b->codes, b->dtype, first, block, n);
}

static void decode_step(const buffers *b, int64_t first, int64_t n, affine p)
{
    int32_t block[BLOCK];
    load_block(block, b->const_codes, b->dtype, first, n);
    decode_block(b->y + first, block, n, p);
}

static void fake_step(const buffers *b, int64_t first, int64_t n, affine p)
{
    int32_t block[BLOCK];
    encode_block(block, b->x + first, n, p);
    decode_block(b->y + first, block, n, p);
}

/* Visit the tensor as outer x n x inner: a run of `inner` elements shares one parameter set. */
static void for_blocks(const buffers *b, block_fn fn, const qn_quantizer *q, int rank, const int64_t *dims)
{
    int64_t outer = 1, inner = 1;
    for (int d = 0; d < rank; d++) {
        if (d < q->axis) {
            outer *= dims[d];
        } else if (d > q->axis) {
            inner *= dims[d];
        }
    }
    affine p = {.bits = q->format.bits};
    qn_format_range(q->format, &p.lo, &p.hi);
    int64_t first = 0;
    for (int64_t run = 0; run < outer * q->n; run++) {
        p.scale = q->scale[run % q->n];
        p.zero_point = q->zero_point[run % q->n];
        for (int64_t done = 0; done < inner; done += BLOCK) {
            fn(b, first + done, inner - done < BLOCK ? inner - done : BLOCK, p);
        }
        first += inner;
    }
}

void qn_encode(void *codes, const float *x, const qn_quantizer *q, int rank, const int64_t *dims)
{
    for_blocks(&(buffers){.x = x, .codes = codes, .dtype = qn_format_dtype(q->format)}, encode_step, q, rank, dims);
}

void qn_decode(float *y, const void *codes, const qn_quantizer *q, int rank, const int64_t *dims)
{
    for_blocks(&(buffers){.y = y, .const_codes = codes, .dtype = qn_format_dtype(q->format)}, decode_step, q, rank,
               dims);
}

void qn_fake_quantize(float *y, const float *x, const qn_quantizer *q, int rank, const int64_t *dims)
{
    for_blocks(&(buffers){.x = x, .y = y}, fake_step, q, rank, dims);
}
