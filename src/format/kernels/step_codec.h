/* Signed integers of a step that is a power of two: blocks of bfp, and of mx with int8 elements; to nearest even. */
#include "format/round.h"

typedef struct codec {
    reals factor, step; /* 2^-exponent, 2^exponent */
    reals low, high, rounder;
    words mask, sign_bit;
} codec;

enum { MX_INT8_FRACTION = 6, FACTOR_MAX = 126, MX_SCALE_NAN = 128 };

static bool serves(const qn_format *f)
{
    bool element = f->kind == QN_FORMAT_MX && f->exponent_bits == 0;
    return (f->kind == QN_FORMAT_BFP || element) && f->bits <= 16 && f->rounding == QN_ROUND_NEAREST_EVEN;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    const int32_t top = 1 << (f->bits - 1);
    c->low = all_reals((float)-top);
    c->high = all_reals((float)(top - 1));
    c->rounder = all_reals(QN_ROUNDER);
    c->mask = all_words(qn_code_mask(f->bits));
    c->sign_bit = all_words((uint32_t)top);
}

/* 2^k, -126 <= k <= 127. */
LANES_INLINE reals power_of_two(int32_t k)
{
    return real_of(all_words((uint32_t)(k + QN_F32_BIAS) << QN_F32_MANTISSA));
}

/* Within these exponents products of codes and step are exact, or rounded once. */
LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    const bool mx = f->kind == QN_FORMAT_MX;
    const int32_t exponent = p->exp_bias - (mx ? MX_INT8_FRACTION : f->bits - 2);
    if (exponent < -FACTOR_MAX || exponent > FACTOR_MAX || (mx && p->exp_bias == MX_SCALE_NAN)) {
        return false;
    }
    c->factor = power_of_two(-exponent);
    c->step = power_of_two(exponent);
    return true;
}

/* The code, still in the low bits of a sum with the rounder. A product below the normal fp32 may be rounded before, but
 * becomes 0 anyway. */
LANES_INLINE reals rounded(const codec *c, reals x)
{
    reals v = max_reals(mul_reals(without_nan(x), c->factor), c->low);
    return add_reals(min_reals(v, c->high), c->rounder);
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    return bit_and(bits_of(rounded(c, x)), c->mask); /* the rounder's low bits are 0 */
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    words integer = sub(bit_xor(bit_and(code, c->mask), c->sign_bit), c->sign_bit);
    return mul_reals(to_reals(integer), c->step);
}

LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    return mul_reals(sub_reals(rounded(c, x), c->rounder), c->step);
}
