/* AdaptivFloat: a binade is rounded on the bits of fp32, the carry going into the exponent; what is below the least
 * magnitude becomes it or 0. To nearest even. */
typedef struct codec {
    words cut, sign_shift;       /* mantissa bits of fp32 that go; from its sign down to the code's */
    words below_half, odd, kept; /* 2^(cut-1) - 1; 1; fp32's bits that stay */
    words sign_bit, magnitude_mask;
    words base;                        /* fp32 exponent field of the least exponent, at the place of codes */
    words least_value, greatest_value; /* as fp32 */
    words below_half_least;            /* the greatest fp32 below half the least magnitude */
    words f32_magnitude, f32_sign, beyond_infinity, one, zero;
} codec;

static bool serves(const qn_format *f)
{
    return f->kind == QN_FORMAT_ADAPTIVFLOAT && f->rounding == QN_ROUND_NEAREST_EVEN;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    const int cut = QN_F32_MANTISSA - f->mantissa_bits;
    const uint32_t sign_bit = (uint32_t)1 << (f->bits - 1), half = (uint32_t)1 << (cut - 1);
    const bool no_mantissa = f->mantissa_bits == 0;
    c->cut = all_words((uint32_t)cut);
    c->sign_shift = all_words((uint32_t)(32 - f->bits));
    /* Without a mantissa the kept significand is 1, always odd. */
    c->below_half = all_words(no_mantissa ? half : half - 1);
    c->odd = all_words(no_mantissa ? 0 : 1);
    c->kept = all_words(~(2 * half - 1));
    c->sign_bit = all_words(sign_bit);
    c->magnitude_mask = all_words(sign_bit - 1);
    c->f32_magnitude = all_words(~QN_F32_SIGN);
    c->f32_sign = all_words(QN_F32_SIGN);
    c->beyond_infinity = all_words(QN_F32_INFINITY + 1);
    c->one = all_words(1);
    c->zero = all_words(0);
}

LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    const int32_t least = p->exp_bias + QN_F32_BIAS, top = least + (1 << f->exponent_bits) - 1;
    if (least < 2 || top > QN_F32_EXPONENT_MAX) {
        return false;
    }
    const uint32_t step = (uint32_t)1 << (QN_F32_MANTISSA - f->mantissa_bits);
    c->base = all_words((uint32_t)least << f->mantissa_bits);
    c->least_value = all_words(((uint32_t)least << QN_F32_MANTISSA) + step);
    c->greatest_value = all_words(((uint32_t)(top + 1) << QN_F32_MANTISSA) - step);
    c->below_half_least = all_words(((uint32_t)(least - 1) << QN_F32_MANTISSA) + step - 1);
    return true;
}

/* fp32 bits of a magnitude, rounded where the mantissa is cut; the bits below are anything. */
LANES_INLINE words rounded(const codec *c, words u)
{
    return add(u, add(c->below_half, bit_and(down(u, c->cut), c->odd)));
}

/* `code` or `value` of magnitudes that do not become 0, as NaN does. */
LANES_INLINE words unless_zero(const codec *c, words u, words x)
{
    return where(greater(c->beyond_infinity, u), where(greater(u, c->below_half_least), x));
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), u = bit_and(bits, c->f32_magnitude), sign = down(bits, c->sign_shift);
    words code = sub(down(rounded(c, u), c->cut), c->base);
    return unless_zero(c, u, merge(c->sign_bit, sign, min_u(max_s(code, c->one), c->magnitude_mask)));
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    words magnitude = bit_and(code, c->magnitude_mask), sign = bit_and(up(code, c->sign_shift), c->f32_sign);
    words bits = bit_or(up(add(magnitude, c->base), c->cut), sign);
    return real_of(where(greater(magnitude, c->zero), bits));
}

LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), u = bit_and(bits, c->f32_magnitude);
    words value = bit_and(rounded(c, u), c->kept);
    return real_of(unless_zero(c, u, merge(c->f32_sign, bits, min_u(max_s(value, c->least_value), c->greatest_value))));
}
