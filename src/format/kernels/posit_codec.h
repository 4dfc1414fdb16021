/* Posits of at most 16 bits. The string of bits after the sign is left-aligned in 32 bits: exponent and fraction follow
 * one another in fp32 as they do in a posit, and the regime is made by one arithmetic shift to the right, which repeats
 * the first bit of 10 or 01 as often as it takes. */
typedef struct codec {
    words cut, code_shift;     /* bits of the string that go, 33 - n; 32 - n */
    words tail_shift, k_shift; /* 9 - es, 23 + es */
    words least_dropped;       /* bits of exponent and fraction that go with the shortest regime: 23 + es - (n - 3) */
    words least, greatest;     /* bits of the least and the greatest value, powers of two */
    words below_half, nar, mask;
    words f32_magnitude, f32_infinity, f32_one, f32_sign, f32_nan, one, two, zero, all, first_ten, ten_or_one;
} codec;

static bool serves(const qn_format *f)
{
    return f->kind == QN_FORMAT_POSIT && f->bits <= 16;
}

LANES_INLINE void prepare(codec *c, const qn_format *f)
{
    const int es = f->exponent_bits, cut = 33 - f->bits, top = (f->bits - 2) * (1 << es); /* top: at most 14 * 8 */
    c->cut = all_words((uint32_t)cut);
    c->code_shift = all_words((uint32_t)(cut - 1));
    c->tail_shift = all_words((uint32_t)(32 - QN_F32_MANTISSA - es));
    c->k_shift = all_words((uint32_t)(QN_F32_MANTISSA + es));
    c->least_dropped = all_words((uint32_t)(QN_F32_MANTISSA + es - (f->bits - 3)));
    c->least = all_words((uint32_t)(QN_F32_BIAS - top) << QN_F32_MANTISSA);
    c->greatest = all_words((uint32_t)(QN_F32_BIAS + top) << QN_F32_MANTISSA);
    c->below_half = all_words(((uint32_t)1 << (cut - 1)) - 1);
    c->nar = all_words((uint32_t)1 << (f->bits - 1));
    c->mask = all_words(((uint32_t)1 << f->bits) - 1);
    c->f32_magnitude = all_words(~QN_F32_SIGN);
    c->f32_infinity = all_words(QN_F32_INFINITY);
    c->f32_one = all_words((uint32_t)QN_F32_BIAS << QN_F32_MANTISSA);
    c->f32_sign = all_words(QN_F32_SIGN);
    c->f32_nan = all_words(QN_F32_NAN);
    c->one = all_words(1);
    c->two = all_words(2);
    c->zero = all_words(0);
    c->all = all_words(UINT32_MAX);
    c->first_ten = all_words(UINT32_C(2) << 30);
    c->ten_or_one = all_words(UINT32_C(3) << 30);
}

LANES_INLINE bool bind(codec *c, const qn_format *f, const qn_params *p)
{
    (void)c, (void)f, (void)p;
    return true;
}

LANES_INLINE words encode_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), magnitude = bit_and(bits, c->f32_magnitude), negative = sign_words(bits);
    words u = max_s(min_u(magnitude, c->greatest), c->least);
    /* Real exponent and fraction as one number; k = floor(exponent / 2^es) is its top. The regime repeats its first bit
     * k or -k - 1 times more. */
    words whole = sub(u, c->f32_one), below = sign_words(whole);
    words repeats = bit_xor(down_signed(whole, c->k_shift), below);
    words regime = bit_xor(c->first_ten, bit_and(below, c->ten_or_one));
    words start = bit_or(regime, down(up(whole, c->tail_shift), c->two));
    words string = down_signed(start, repeats);
    /* Bits that fell off below only matter as being there. */
    string = pick(equal(up(string, repeats), start), string, bit_or(string, c->one));
    words odd = bit_and(down(string, c->cut), c->one);
    words code = down(add(string, add(c->below_half, odd)), c->cut);
    code = bit_and(sub(bit_xor(code, negative), negative), c->mask);
    code = where(greater(magnitude, c->zero), code);
    return pick(greater(magnitude, c->f32_infinity), c->nar, code);
}

LANES_INLINE reals decode_lanes(const codec *c, words code)
{
    words aligned = up(code, c->code_shift), magnitude = magnitudes(aligned);
    words string = add(magnitude, magnitude), first = sign_words(string);
    words run = leading_zeros(bit_xor(string, first));
    words k = bit_xor(sub(run, c->one), bit_xor(first, c->all)); /* run - 1, or -run */
    words tail = up(add(string, string), run);
    words bits = add(add(up(k, c->k_shift), down(tail, c->tail_shift)), c->f32_one);
    bits = merge(c->f32_sign, aligned, bits);
    bits = pick(equal(aligned, c->zero), c->zero, bits);
    return real_of(pick(equal(aligned, c->f32_sign), c->f32_nan, bits));
}

/* The code's last bit stands, in exponent and fraction as one number, at the bit where rounding cuts: further up for each
 * bit the regime takes, and at most at k, where exponent and fraction are cut whole. There the code ends with the bit that
 * ends the regime: 0 for k >= 0, else 1. */
LANES_INLINE reals fake_lanes(const codec *c, reals x)
{
    words bits = bits_of(x), magnitude = bit_and(bits, c->f32_magnitude);
    words u = max_s(min_u(magnitude, c->greatest), c->least);
    words whole = sub(u, c->f32_one), below = sign_words(whole);
    words repeats = bit_xor(down_signed(whole, c->k_shift), below);
    words dropped = min_u(add(repeats, c->least_dropped), c->k_shift);
    words last = pick(equal(dropped, c->k_shift), below, down(whole, dropped));
    words rest = sub(up(c->one, dropped), c->one), below_half = down(rest, c->one);
    words rounded = add(add(whole, below_half), bit_and(last, c->one));
    words value = add(sub(rounded, bit_and(rounded, rest)), c->f32_one);
    value = where(greater(magnitude, c->zero), merge(c->f32_sign, bits, value));
    return real_of(pick(greater(magnitude, c->f32_infinity), c->f32_nan, value));
}
