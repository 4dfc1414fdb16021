/* PipeEdge's codes of at most 16 bits: both ways in f32, as numpy has it. A quotient of integers below 2^24 that is
 * rounded to f64 and then to f32 is the f32 quotient (f64 has more than twice the bits), so that decoding needs no
 * doubles. */
#include "format/round.h"

typedef struct codec {
    reals shift, scale, top, zero, rounder; /* top: 2^b - 1 */
    words mask;
} codec;

static bool serves(const qn_format *f)
{
    return f->kind == QN_FORMAT_PIPEEDGE && f->bits <= 16;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    c->mask = all_words(qn_code_mask(f->bits));
    c->top = all_reals((float)qn_code_mask(f->bits));
    c->zero = all_reals(0.0f);
    c->rounder = all_reals(QN_ROUNDER);
}

LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    (void)f;
    c->shift = all_reals(p->shift);
    c->scale = all_reals(p->scale);
    return true;
}

/* The code in the low bits of a sum with the rounder; NaN becomes 0. */
LANES_INLINE reals rounded(const codec *c, reals x)
{
    reals v = mul_reals(c->top, div_reals(sub_reals(x, c->shift), c->scale));
    return add_reals(min_reals(max_reals(v, c->zero), c->top), c->rounder);
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    return bit_and(bits_of(rounded(c, x)), c->mask); /* the rounder's low bits are 0 */
}

LANES_INLINE reals restored(const codec *c, reals integer)
{
    return add_reals(mul_reals(div_reals(integer, c->top), c->scale), c->shift);
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    return restored(c, to_reals(bit_and(code, c->mask)));
}

LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    return restored(c, sub_reals(rounded(c, x), c->rounder));
}
