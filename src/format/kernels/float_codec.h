/* Small floats, and the small floats of mx blocks, whose shared exponent is one more bias; to nearest even.
 *
 * Normal values are rounded on the bits of fp32, the carry going into the exponent. Subnormal ones are multiples of a
 * unit, and adding 2^23 units rounds to them. */
#include "format/float.h"

typedef struct codec {
    uint32_t greatest_code;         /* as is: the sets of a run are many, blocks short */
    words cut, sign_shift;          /* mantissa bits of fp32 that go; from its sign down to the code's */
    words below_half, odd, kept;    /* 2^(cut-1) - 1; 1; fp32's bits that stay */
    words sign_bit, magnitude_mask; /* of a code */
    words greatest, overflow, nan;  /* codes; of what is beyond the greatest, and of NaN */
    words negative_zero;            /* what -0 becomes */
    words infinity_code, nan_code;  /* magnitude that is infinity, code that is NaN, or neither: all ones */
    words base, below_half_less_base,
        least;                     /* fp32 exponent fields of exponent field 0 (as bits), of the least normal */
    words normal_from;             /* codes of magnitudes below are multiples of unit */
    reals unit, subnormal_rounder; /* 2^23 units */
    words greatest_value, overflow_value, nan_value, negative_zero_value; /* as fp32 */
    words f32_magnitude, f32_sign, f32_infinity, f32_nan;
} codec;

static bool serves(const qn_format *f)
{
    bool element = f->kind == QN_FORMAT_MX && f->exponent_bits > 0;
    return (f->kind == QN_FORMAT_FLOAT || element) && f->bits <= 16 && f->rounding == QN_ROUND_NEAREST_EVEN &&
           qn_float_greatest(f) >> f->mantissa_bits > 0;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    const bool ieee = f->variant == QN_FLOAT_IEEE, fnuz = f->variant == QN_FLOAT_FNUZ,
               no_mantissa = f->mantissa_bits == 0;
    const bool infinite = f->overflow == QN_OVERFLOW_INFINITY;
    const uint32_t greatest = qn_float_greatest(f), sign_bit = (uint32_t)1 << (f->bits - 1);
    const int cut = QN_F32_MANTISSA - f->mantissa_bits;
    const uint32_t half = (uint32_t)1 << (cut - 1);
    c->greatest_code = greatest;
    c->cut = all_words((uint32_t)cut);
    c->sign_shift = all_words((uint32_t)(32 - f->bits));
    /* Without a mantissa the kept significand is 1, always odd. */
    c->below_half = all_words(no_mantissa ? half : half - 1);
    c->odd = all_words(no_mantissa ? 0 : 1);
    c->kept = all_words(~(2 * half - 1));
    c->sign_bit = all_words(sign_bit);
    c->magnitude_mask = all_words(sign_bit - 1);
    c->greatest = all_words(greatest);
    c->overflow = all_words(greatest + (infinite ? 1 : 0));
    c->nan = all_words(qn_float_nan(f));
    c->negative_zero = all_words(fnuz ? 0 : sign_bit);
    c->negative_zero_value = all_words(fnuz ? 0 : QN_F32_SIGN);
    c->infinity_code = all_words(ieee ? greatest + 1 : UINT32_MAX);
    c->nan_code = all_words(fnuz ? sign_bit : UINT32_MAX);
    c->nan_value = bits_of(all_reals((float)qn_float_decode(f, qn_float_nan(f))));
    c->f32_magnitude = all_words(~QN_F32_SIGN);
    c->f32_sign = all_words(QN_F32_SIGN);
    c->f32_infinity = all_words(QN_F32_INFINITY);
    c->f32_nan = all_words(QN_F32_NAN);
}

/* false beyond the exponents of fp32, where the 0xFF scale of mx is, too. */
LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    const int32_t shared = f->kind == QN_FORMAT_MX ? p->exp_bias : 0, m = f->mantissa_bits;
    const int32_t least = 1 - f->exponent_bias + shared + QN_F32_BIAS, rounder = least + QN_F32_MANTISSA - m;
    const uint32_t greatest = c->greatest_code, base = (uint32_t)(least - 1) << QN_F32_MANTISSA;
    if (least < 1 || least - 1 + (int32_t)(greatest >> m) > QN_F32_EXPONENT_MAX || rounder > QN_F32_EXPONENT_MAX) {
        return false;
    }
    const uint32_t greatest_value = (greatest << (QN_F32_MANTISSA - m)) + base;
    /* At the least exponent of fp32 its own subnormals have the same bits. The unit may be one of them. */
    const uint32_t unit =
        least > m ? (uint32_t)(least - m) << QN_F32_MANTISSA : (uint32_t)1 << (QN_F32_MANTISSA - 1 + least - m);
    c->base = all_words(base);
    c->below_half_less_base = sub(c->below_half, c->base);
    c->least = all_words((uint32_t)least << QN_F32_MANTISSA);
    c->normal_from = all_words(least > 1 ? (uint32_t)1 << m : 0);
    c->unit = real_of(all_words(least > 1 ? unit : 0));
    c->subnormal_rounder = real_of(all_words((uint32_t)rounder << QN_F32_MANTISSA));
    c->greatest_value = all_words(greatest_value);
    c->overflow_value = all_words(f->overflow == QN_OVERFLOW_INFINITY ? QN_F32_INFINITY : greatest_value);
    return true;
}

/* fp32 bits of a magnitude, plus what rounds them where the mantissa is cut; the bits below are anything. */
LANES_INLINE words rounded(const codec *c, words u, words below_half)
{
    return add(u, add(below_half, bit_and(down(u, c->cut), c->odd)));
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), u = bit_and(bits, c->f32_magnitude);
    words normal = down(rounded(c, u, c->below_half_less_base), c->cut);
    words subnormal = sub(bits_of(add_reals(real_of(u), c->subnormal_rounder)), bits_of(c->subnormal_rounder));
    words magnitude = pick(greater(c->least, u), subnormal, normal);
    /* Infinity, too, is beyond the greatest, which bind() keeps within fp32. */
    words code = merge(c->sign_bit, down(bits, c->sign_shift), min_u(magnitude, c->overflow));
    code = pick(equal(code, c->sign_bit), c->negative_zero, code);
    return pick(greater(u, c->f32_infinity), c->nan, code);
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    words own = bit_and(code, bit_or(c->sign_bit, c->magnitude_mask)), magnitude = bit_and(code, c->magnitude_mask);
    words sign = bit_and(up(code, c->sign_shift), c->f32_sign);
    words normal = add(up(magnitude, c->cut), c->base);
    words subnormal = bits_of(mul_reals(to_reals(magnitude), c->unit));
    words bits = pick(greater(c->normal_from, magnitude), subnormal, normal);
    bits = pick(greater(magnitude, c->greatest), c->f32_nan, bits);
    bits = pick(equal(magnitude, c->infinity_code), c->f32_infinity, bits);
    bits = pick(equal(own, c->nan_code), c->f32_nan, bits);
    return real_of(bit_or(bits, sign));
}

LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), u = bit_and(bits, c->f32_magnitude);
    words normal = bit_and(rounded(c, u, c->below_half), c->kept);
    reals shifted = add_reals(real_of(u), c->subnormal_rounder);
    words subnormal = bits_of(sub_reals(shifted, c->subnormal_rounder));
    words magnitude = pick(greater(c->least, u), subnormal, normal);
    magnitude = pick(greater(magnitude, c->greatest_value), c->overflow_value, magnitude);
    words value = merge(c->f32_sign, bits, magnitude);
    value = pick(equal(value, c->f32_sign), c->negative_zero_value, value);
    return real_of(pick(greater(u, c->f32_infinity), c->nan_value, value));
}
