/* The layers of networks whose requantization is a product in 32-bit float (IEEE 754, ties to even). Part of quern,
 * Apache License 2.0.
 *
 * Without libm: rounding looks at the bits of the float. A product that is added to something passes through the bits
 * of an integer first, on which the compiler cannot see that nothing changes, so that it is rounded by itself even
 * where products and sums are fused otherwise. Not for -ffast-math. */
#include "quern_float.h"
#include "quern_inline.h"

#ifdef __FAST_MATH__
#error "quern_float.c needs floats as IEEE 754 has them: no -ffast-math"
#endif

typedef char quern_floats_of_32_bits[sizeof(float) == 4 ? 1 : -1];

typedef union {
    float f;
    uint32_t bits;
} float_bits;

static const volatile uint32_t nothing = 0;

/* x itself, rounded to a float. */
static float rounded(float x, uint32_t zero)
{
    float_bits u;
    u.f = x;
    u.bits ^= zero;
    return u.f;
}

/* The nearest integer, ties to even; |x| < 2^23. */
static int32_t nearest(float x)
{
    float_bits u;
    int32_t exponent, shift, whole;
    uint32_t mantissa, rest, half;
    u.f = x;
    exponent = (int32_t)(u.bits >> 23 & 0xff) - 127;
    if (exponent < -1) {
        return 0;
    }
    mantissa = (u.bits & UINT32_C(0x7fffff)) | UINT32_C(0x800000);
    shift = 23 - exponent;
    rest = mantissa & ((UINT32_C(1) << shift) - 1);
    half = UINT32_C(1) << (shift - 1);
    whole = (int32_t)(mantissa >> shift);
    whole += rest > half || (rest == half && (whole & 1) != 0);
    return u.bits >> 31 != 0 ? -whole : whole;
}

/* clamp(nearest(x), lo, hi) */
static int32_t code_of(float x, int32_t lo, int32_t hi)
{
    const float low = (float)lo, high = (float)hi;
    return x <= low ? lo : x >= high ? hi : nearest(x);
}

void quern_requantize_float(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y)
{
    const float *ratio = (const float *)r->multiplier + k * r->codes->multiplier_step;
    const int32_t lo = r->codes->lo - r->codes->zero, hi = r->codes->hi - r->codes->zero;
    uint8_t *to = (uint8_t *)y;
    int32_t i;
    for (i = 0; i < n; i++) {
        to[i] = (uint8_t)(code_of((float)sums[i] * *ratio, lo, hi) + r->codes->zero);
        ratio += r->codes->multiplier_step;
    }
}

void quern_add_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[2])
{
    const int32_t lo = p->lo - p->zero, hi = p->hi - p->zero;
    const uint32_t zero = nothing;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const float left = (float)(quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0]) * ratio[0];
                const float right = (float)(quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1]) * ratio[1];
                y[c] = (uint8_t)(code_of(rounded(left, zero) + rounded(right, zero), lo, hi) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_mul_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[1])
{
    const float offset = (float)p->zero;
    const uint32_t zero = nothing;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0];
                const int32_t right = quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1];
                const float product = (float)(left * right) * ratio[0];
                y[c] = (uint8_t)code_of(rounded(product, zero) + offset, p->lo, p->hi);
            }
            y += p->channels;
        }
    }
}

void quern_sub_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[3])
{
    const int32_t lo = p->lo - p->zero, hi = p->hi - p->zero;
    const uint32_t zero = nothing;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0];
                const int32_t right = quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1];
                const float x = rounded((float)left * ratio[0], zero) - rounded((float)right * ratio[1], zero);
                y[c] = (uint8_t)(code_of(rounded(x, zero) / ratio[2], lo, hi) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_average_whole(const quern_pool *p, const uint8_t *x, uint8_t *y, const float ratio[1])
{
    int32_t row, column, c, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            for (c = 0; c < p->channels; c++) {
                uint32_t sum = 0;
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        sum += (uint32_t)(quern_code(x[at * p->channels + c], p->flip_x) - p->zero_x);
                    }
                }
                *y++ = (uint8_t)(code_of((float)(int32_t)sum * ratio[0], p->lo - p->zero, p->hi - p->zero) + p->zero);
            }
        }
    }
}

void quern_average_steps(const quern_pool *p, const uint8_t *x, uint8_t *y, const float ratio[2])
{
    const uint32_t zero = nothing;
    int32_t row, column, c, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            const int32_t seen = (rows.last - rows.first) * (columns.last - columns.first);
            const float n = (float)(p->divisor != 0 ? p->divisor : seen);
            for (c = 0; c < p->channels; c++) {
                float sum = 0, quotient;
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        const int32_t code = quern_code(x[at * p->channels + c], p->flip_x) - p->zero_x;
                        sum = rounded(sum + rounded(ratio[0] * (float)code, zero), zero);
                    }
                }
                quotient = rounded(rounded(sum / n, zero) / ratio[1], zero);
                *y++ = (uint8_t)code_of(quotient + (float)p->zero, p->lo, p->hi);
            }
        }
    }
}
