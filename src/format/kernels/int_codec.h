/* Affine integers of at most 16 bits, to nearest even: arithmetic.md 2.1, 2.2. */
#include "format/int.h"
#include "format/round.h"

typedef struct codec {
    reals scale, low, high, rounder; /* low and high: of code - zero_point, so at most 2^17 in magnitude */
    words zero_point, offset;        /* offset: zero_point less the bits of the rounder */
    words mask, sign_bit;
} codec;

static bool serves(const qn_format *f)
{
    return f->kind == QN_FORMAT_INT && f->bits <= 16 && f->rounding == QN_ROUND_NEAREST_EVEN;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    c->rounder = all_reals(QN_ROUNDER);
    c->mask = all_words(qn_code_mask(f->bits));
    c->sign_bit = all_words(f->is_signed ? (uint32_t)1 << (f->bits - 1) : 0);
}

LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    int32_t lo, hi;
    qn_int_range(f, &lo, &hi);
    c->scale = all_reals(p->scale);
    c->low = all_reals((float)(lo - p->zero_point));
    c->high = all_reals((float)(hi - p->zero_point));
    c->zero_point = all_words((uint32_t)p->zero_point);
    c->offset = sub(c->zero_point, bits_of(c->rounder));
    return true;
}

/* code - zero_point, still in the low bits of a sum with the rounder. NaN becomes the lowest code. */
LANES_INLINE reals rounded(const codec *c, reals x)
{
    reals v = max_reals(div_reals(x, c->scale), c->low);
    return add_reals(min_reals(v, c->high), c->rounder);
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    return bit_and(add(bits_of(rounded(c, x)), c->offset), c->mask);
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    words integer = sub(bit_xor(bit_and(code, c->mask), c->sign_bit), c->sign_bit);
    return mul_reals(to_reals(sub(integer, c->zero_point)), c->scale);
}

LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    return mul_reals(sub_reals(rounded(c, x), c->rounder), c->scale);
}
