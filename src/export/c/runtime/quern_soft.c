/* Sums of maps and averages that the model defines in 32-bit float (IEEE 754, ties to even), in integers: the same
 * codes, without a float. Part of quern, Apache License 2.0. */
#include "quern_inline.h"

/* m * 2^e, |m| <= 2^24: what a float of 24 bits holds. Exponents stay far from a float's limits: constants lie
 * between 2^-40 and 2^40. */
typedef struct value {
    int64_t m;
    int32_t e;
} value;

/* Bits of x, 0 of 0. */
static int32_t length(uint64_t x)
{
    int32_t n = 0, step;
    for (step = 32; step > 0; step /= 2) {
        if (x >> step != 0) {
            x >>= step;
            n += step;
        }
    }
    return n + (x != 0);
}

static uint64_t magnitude(int64_t m)
{
    return m < 0 ? (uint64_t)-m : (uint64_t)m;
}

/* m * 2^e rounded to 24 bits; |m| < 2^62. */
static value rounded(int64_t m, int32_t e)
{
    const int32_t drop = length(magnitude(m)) - 24;
    value v;
    v.m = drop > 0 ? quern_shift(m, drop, QUERN_NEAREST_EVEN) : m;
    v.e = drop > 0 ? e + drop : e;
    return v;
}

/* The same number with 24 bits. */
static value filled(value v)
{
    const int32_t more = v.m == 0 ? 0 : 24 - length(magnitude(v.m));
    if (more > 0) {
        v.m *= (int64_t)1 << more;
        v.e -= more;
    }
    return v;
}

static value times(value a, value b)
{
    return rounded(a.m * b.m, a.e + b.e);
}

static value plus(value a, value b)
{
    enum { FAR = 36 };
    value big = filled(a), small = filled(b);
    if (big.m == 0 || (small.m != 0 && big.e < small.e)) {
        const value other = big;
        big = small;
        small = other;
    }
    if (small.m == 0 || big.e - small.e > FAR) { /* far below half of the last bit */
        return big;
    }
    return rounded(big.m * ((int64_t)1 << (big.e - small.e)) + small.m, small.e);
}

/* b is not 0. */
static value divided(value a, value b)
{
    const value x = filled(a), y = filled(b);
    const uint64_t n = magnitude(x.m) << 36, d = magnitude(y.m);
    const int64_t q = (int64_t)(n / d * 2 + (n % d != 0)); /* the last bit: there is a rest */
    return rounded((a.m < 0) != (b.m < 0) ? -q : q, x.e - y.e - 37);
}

static value whole(int32_t x)
{
    return rounded(x, 0);
}

/* clamp(the nearest integer, ties to even, lo, hi) */
static int32_t code_of(value v, int32_t lo, int32_t hi)
{
    int64_t x;
    if (v.e > 30) {
        return v.m == 0 ? quern_clamp(0, lo, hi) : v.m < 0 ? lo : hi;
    }
    x = v.e >= 0 ? v.m * ((int64_t)1 << v.e) : v.e < -60 ? 0 : quern_shift(v.m, -v.e, QUERN_NEAREST_EVEN);
    return quern_clamp(quern_clamp_wide(x), lo, hi);
}

/* Number i of a list of m and e. */
static value constant(const int32_t *list, int32_t i)
{
    value v;
    v.m = list[2 * i];
    v.e = list[2 * i + 1];
    return v;
}

void quern_add_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[4])
{
    const value ratio_a = constant(ratio, 0), ratio_b = constant(ratio, 1);
    const int32_t lo = p->lo - p->zero, hi = p->hi - p->zero;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const value left = times(whole(quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0]), ratio_a);
                const value right = times(whole(quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1]), ratio_b);
                y[c] = (uint8_t)(code_of(plus(left, right), lo, hi) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_mul_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[2])
{
    const value factor = constant(ratio, 0), offset = whole(p->zero);
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0];
                const int32_t right = quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1];
                const value code = plus(times(whole(left * right), factor), offset);
                y[c] = (uint8_t)code_of(code, p->lo, p->hi);
            }
            y += p->channels;
        }
    }
}

void quern_sub_soft(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t ratio[6])
{
    const value scale_a = constant(ratio, 0), scale_b = constant(ratio, 1), scale_y = constant(ratio, 2);
    const int32_t lo = p->lo - p->zero, hi = p->hi - p->zero;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0];
                const int32_t right = quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1];
                value x = times(whole(-right), scale_b);
                x = plus(times(whole(left), scale_a), x);
                y[c] = (uint8_t)(code_of(divided(x, scale_y), lo, hi) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_average_whole_soft(const quern_pool *p, const uint8_t *x, uint8_t *y, const int32_t ratio[2])
{
    const value factor = constant(ratio, 0);
    const int32_t lo = p->lo - p->zero, hi = p->hi - p->zero;
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
                *y++ = (uint8_t)(code_of(times(whole((int32_t)sum), factor), lo, hi) + p->zero);
            }
        }
    }
}

void quern_average_steps_soft(const quern_pool *p, const uint8_t *x, uint8_t *y, const int32_t ratio[4])
{
    const value scale_x = constant(ratio, 0), scale_y = constant(ratio, 1);
    int32_t row, column, c, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            const int32_t seen = (rows.last - rows.first) * (columns.last - columns.first);
            const value n = whole(p->divisor != 0 ? p->divisor : seen);
            for (c = 0; c < p->channels; c++) {
                value sum = whole(0);
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        const int32_t code = quern_code(x[at * p->channels + c], p->flip_x) - p->zero_x;
                        sum = plus(sum, times(scale_x, whole(code)));
                    }
                }
                sum = divided(divided(sum, n), scale_y);
                *y++ = (uint8_t)code_of(plus(sum, whole(p->zero)), p->lo, p->hi);
            }
        }
    }
}
