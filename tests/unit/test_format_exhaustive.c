/* Every code of every kind of format up to 16 bits: what it stands for, by formulas written again here; that encoding its
 * value gives it back; that codes are in order; and that encoding takes the nearest code, or what the rounding says. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/quantizer.h"
#include "format/row.h"

/* Which code a real halfway between two codes gets. */
typedef enum tie {
    TO_EVEN,              /* the even code */
    UPWARD,               /* the greater magnitude */
    INWARD,               /* the lesser magnitude */
    HIGHER,               /* the greater value */
    LOWER,                /* the lesser value */
    TO_EVEN_BUT_LEAST_UP, /* the even code; half of the least magnitude goes up */
} tie;

static qn_format parse(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

/* 2^e without the library's help, exact in long double. */
static long double power(int e)
{
    long double p = 1.0L;
    for (; e > 0; e--) {
        p *= 2.0L;
    }
    for (; e < 0; e++) {
        p /= 2.0L;
    }
    return p;
}

static int64_t twos_complement(uint32_t code, int bits)
{
    int64_t value = code;
    return value >= power(bits - 1) ? value - (int64_t)power(bits) : value;
}

/* A posit of n bits, read bit by bit as the standard says: sign, regime, exponent, fraction of the magnitude. */
static long double posit_value(uint32_t code, int n, int es)
{
    if (code == 0) {
        return 0.0L;
    }
    bool negative = (code >> (n - 1) & 1) != 0;
    uint32_t body = negative ? (uint32_t)(power(n) - code) : code;
    int at = n - 2, run = 0, first = body >> at & 1;
    for (; at >= 0 && (int)(body >> at & 1) == first; at--) {
        run++;
    }
    at--; /* the bit that ends the run */
    int scale = (first != 0 ? run - 1 : -run) * (1 << es);
    for (int weight = es - 1; weight >= 0; weight--, at--) {
        scale += at >= 0 && (body >> at & 1) != 0 ? 1 << weight : 0;
    }
    long double significand = 1.0L, step = 0.5L;
    for (; at >= 0; at--, step /= 2.0L) {
        significand += (body >> at & 1) != 0 ? step : 0.0L;
    }
    return (negative ? -significand : significand) * power(scale);
}

/* Sign, exponent, mantissa of a float code: the value of its magnitude, subnormal where `subnormals` and the exponent is 0. */
static long double float_value(const qn_format *f, uint32_t code, int bias, bool subnormals)
{
    uint32_t m = (uint32_t)f->mantissa_bits, magnitude = code % (1u << (f->bits - 1));
    int exponent = (int)(magnitude >> m);
    long double mantissa = (long double)(magnitude % (1u << m)) / power((int)m);
    long double value =
        subnormals && exponent == 0 ? mantissa * power(1 - bias) : (1.0L + mantissa) * power(exponent - bias);
    return code >> (f->bits - 1) != 0 ? -value : value;
}

/* What a canonical code stands for. */
static long double value_by_definition(const qn_format *f, const qn_params *p, uint32_t code)
{
    bool low_half = code % (1u << (f->bits - 1)) == 0;
    uint32_t field = code % (1u << (f->bits - 1));
    long double sign = code >> (f->bits - 1) != 0 ? -1.0L : 1.0L;
    switch (f->kind) {
    case QN_FORMAT_INT:
        return (long double)((float)((f->is_signed ? twos_complement(code, f->bits) : code) - p->zero_point) *
                             p->scale);
    case QN_FORMAT_FIXED:
        return (long double)(f->is_signed ? twos_complement(code, f->bits) : code) * power(f->integer_bits - f->bits);
    case QN_FORMAT_FLOAT:
        return float_value(f, code, f->exponent_bias, true);
    case QN_FORMAT_ADAPTIVFLOAT:
        return low_half ? 0.0L : float_value(f, code, -p->exp_bias, false);
    case QN_FORMAT_BFP:
        return (long double)twos_complement(code, f->bits) * power(p->exp_bias - f->bits + 2);
    case QN_FORMAT_MX:
        return power(p->exp_bias) * (f->exponent_bits == 0 ? (long double)twos_complement(code, 8) / 64.0L
                                                           : float_value(f, code, f->exponent_bias, true));
    case QN_FORMAT_POSIT:
        return posit_value(code, f->bits, f->exponent_bits);
    case QN_FORMAT_PO2:
        return field == 0 && !f->no_zero ? 0.0L : sign * power(p->exp_bias + (int)field);
    case QN_FORMAT_TERNARY:
        return (long double)twos_complement(code, 2) * (long double)p->scale;
    default:
        return code != 0 ? (long double)p->scale : -(long double)p->scale;
    }
}

/* The real where the nearest code changes from a to its neighbour b: their mean, or what the format says. */
static long double boundary(const qn_format *f, uint32_t lower_magnitude, long double a, long double b)
{
    if (f->kind == QN_FORMAT_POSIT) { /* the posit with one bit more between them */
        long double between = posit_value(2 * lower_magnitude + 1, f->bits + 1, f->exponent_bits);
        return a < 0.0L || b < 0.0L ? -between : between;
    }
    return f->log ? sqrtl(a * b) * (a < 0.0L ? -1.0L : 1.0L) : (a + b) / 2.0L;
}

typedef struct entry {
    int64_t order;
    uint32_t code;
    double value;
} entry;

static int by_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

/* Canonical codes with finite values, in order. */
static int64_t collect(entry *entries, const qn_format *f, const qn_params *p)
{
    const qn_format_row *row = qn_format_row_of(f->kind);
    int64_t n = 0;
    for (uint32_t code = 0; code < 1u << f->bits; code++) {
        double value = qn_format_value(*f, p, code);
        if (!row->canonical(f, code) || !isfinite(value)) {
            continue;
        }
        if ((long double)value != value_by_definition(f, p, code)) {
            fail_msg("kind %d, %d bits: code %#x is %.17g, not %.17Lg", (int)f->kind, f->bits, (unsigned)code, value,
                     value_by_definition(f, p, code));
        }
        if (qn_format_code(*f, p, value, 0) != code) {
            fail_msg("kind %d, %d bits: %.17g of code %#x is encoded as %#x", (int)f->kind, f->bits, value,
                     (unsigned)code, (unsigned)qn_format_code(*f, p, value, 0));
        }
        entries[n++] = (entry){row->order(f, code), code, value};
    }
    qsort(entries, (size_t)n, sizeof *entries, by_order);
    return n;
}

static uint32_t tied_code(tie rule, const entry *a, const entry *b)
{
    const entry *less = fabs(a->value) < fabs(b->value) ? a : b, *more = less == a ? b : a;
    bool least = less->value == 0.0;
    if (rule == UPWARD || (rule == TO_EVEN_BUT_LEAST_UP && least)) {
        return more->code;
    }
    if (rule == HIGHER || rule == LOWER || rule == INWARD) {
        return rule == INWARD ? less->code : rule == HIGHER ? b->code : a->code;
    }
    return a->code % 2 == 0 ? a->code : b->code;
}

static void expect(const qn_format *f, const qn_params *p, double x, uint32_t expected)
{
    uint32_t code = qn_format_code(*f, p, x, 0);
    /* Zeros of both signs are one value. */
    if (code != expected && !(qn_format_value(*f, p, code) == 0.0 && qn_format_value(*f, p, expected) == 0.0)) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, *f);
        fail_msg("%s, scale %g, zero point %d, exponent %d: %.17g is code %#x (%.17g), expected %#x (%.17g)", name,
                 (double)p->scale, (int)p->zero_point, (int)p->exp_bias, x, (unsigned)code,
                 qn_format_value(*f, p, code), (unsigned)expected, qn_format_value(*f, p, expected));
    }
}

static void check_between(const qn_format *f, const qn_params *p, tie rule, const entry *a, const entry *b)
{
    const entry *less = fabs(a->value) < fabs(b->value) ? a : b;
    uint32_t lower = less->value < 0.0 ? (uint32_t)(power(f->bits) - less->code) : less->code;
    if (f->kind == QN_FORMAT_POSIT && less->value == 0.0) { /* nothing but 0 becomes 0 */
        expect(f, p, a->value < 0.0 ? a->value * 0x1p-60 : b->value * 0x1p-60, less == a ? b->code : a->code);
        return;
    }
    long double exact = boundary(f, lower, a->value, b->value);
    double middle = (double)exact;
    expect(f, p, nextafter(middle, -INFINITY), a->code);
    expect(f, p, nextafter(middle, INFINITY), b->code);
    expect(f, p, a->value + (middle - a->value) * 0.5, a->code);
    expect(f, p, b->value - (b->value - middle) * 0.5, b->code);
    if (!f->log && (long double)middle == exact) {
        expect(f, p, middle, tied_code(rule, a, b));
    }
}

static void check_format(const char *name, qn_params p, tie rule)
{
    qn_format f = parse(name);
    entry *entries = malloc(sizeof *entries << f.bits);
    assert_non_null(entries);
    int64_t n = collect(entries, &f, &p);
    assert_true(n > 1);
    for (int64_t i = 0; i + 1 < n; i++) {
        assert_true(entries[i].value <= entries[i + 1].value);
        if (entries[i].value < entries[i + 1].value) {
            check_between(&f, &p, rule, &entries[i], &entries[i + 1]);
        }
    }
    qn_format_limits limits;
    qn_format_limits_get(&limits, f, &p);
    assert_true(limits.lowest == entries[0].value && limits.highest == entries[n - 1].value);
    if (f.kind != QN_FORMAT_FIXED || f.overflow == QN_OVERFLOW_SATURATE || f.overflow == QN_OVERFLOW_SYMMETRIC) {
        expect(&f, &p, INFINITY, entries[n - 1].code);
        expect(&f, &p, 1e300, entries[n - 1].code);
        expect(&f, &p, -INFINITY, entries[0].code);
    }
    free(entries);
}

static void integers(void **state)
{
    (void)state;
    /* A quotient of doubles is rounded: powers of two keep the boundaries exact. */
    static const float scales[] = {1.0f, 0x1p-20f, 0x1p10f};
    for (int s = 0; s < 3; s++) {
        for (int bits = 1; bits <= 16; bits++) {
            char name[32];
            snprintf(name, sizeof name, "int%d", bits);
            check_format(name, (qn_params){.scale = scales[s]}, TO_EVEN);
            snprintf(name, sizeof name, "uint%d", bits);
            check_format(name, (qn_params){.scale = scales[s], .zero_point = bits > 2 ? 2 : 0}, TO_EVEN);
        }
        check_format("int8:narrow", (qn_params){.scale = scales[s]}, TO_EVEN);
    }
    check_format("int8:qkeras-auto", (qn_params){.scale = 0.5f}, UPWARD);
}

static void fixed_point(void **state)
{
    (void)state;
    static const char *const names[] = {"ap_fixed<8,4,RND_CONV,SAT>",      "ap_fixed<8,20,RND_CONV,SAT>",
                                        "ap_fixed<8,-3,RND_CONV,SAT_SYM>", "ap_ufixed<8,0,RND_CONV,SAT>",
                                        "ap_fixed<16,6,RND_CONV,SAT>",     "ap_ufixed<16,200,RND_CONV,SAT>",
                                        "ap_fixed<1,1,RND_CONV,SAT>",      "ap_fixed<4,-200,RND_CONV,SAT>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_format(names[i], (qn_params){0}, TO_EVEN);
    }
    check_format("ap_fixed<12,3,RND_INF,SAT>", (qn_params){0}, UPWARD);
    check_format("ap_fixed<12,3,RND,SAT>", (qn_params){0}, HIGHER);
    check_format("ap_fixed<12,3,RND_MIN_INF,SAT>", (qn_params){0}, LOWER);
    check_format("ap_fixed<12,3,RND_ZERO,SAT>", (qn_params){0}, INWARD);
}

/* Integers around and far from a 6-bit range, with two bits after the point cut off. */
static void fixed_point_overflows(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_signed;
    } rows[] = {{"ap_fixed<6,4,TRN", true}, {"ap_ufixed<6,4,TRN", false}};
    for (int r = 0; r < 2; r++) {
        for (int64_t n = -1000; n <= 1000; n++) {
            static const char *const modes[] = {"WRAP", "SAT", "SAT_SYM", "SAT_ZERO"};
            int64_t lo = rows[r].is_signed ? -32 : 0, hi = rows[r].is_signed ? 31 : 63;
            int64_t symmetric = rows[r].is_signed ? -31 : 0;
            bool inside = n >= lo && n <= hi;
            int64_t expected[] = {n,
                                  inside   ? n
                                  : n < lo ? lo
                                           : hi,
                                  n < symmetric ? symmetric
                                  : n > hi      ? hi
                                                : n,
                                  inside ? n : 0};
            for (int m = 0; m < 4; m++) {
                char name[48];
                snprintf(name, sizeof name, "%s,%s>", rows[r].name, modes[m]);
                /* 0.7 of a step above, which TRN takes away */
                uint32_t code = qn_format_code(parse(name), &(qn_params){0}, ((double)n + 0.7) / 4.0, 0);
                assert_int_equal(code, (uint32_t)expected[m] & 63);
                int64_t inward = n < 0 ? n + 1 : n;
                snprintf(name, sizeof name, "%.*s_ZERO,WRAP>", (int)strlen(rows[r].name), rows[r].name);
                assert_int_equal(qn_format_code(parse(name), &(qn_params){0}, ((double)n + 0.7) / 4.0, 0),
                                 (uint32_t)inward & 63);
            }
        }
    }
    assert_int_equal(qn_format_code(parse("ap_fixed<6,4>"), &(qn_params){0}, 0x1p100 + 0x1p60, 0), 0);
    assert_int_equal(qn_format_code(parse("ap_fixed<32,-200>"), &(qn_params){0}, 1e300, 0), 0);
    assert_int_equal(qn_format_code(parse("ap_fixed<8,250>"), &(qn_params){0}, -1e-310, 0), 0xFF);
}

static void floats(void **state)
{
    (void)state;
    static const char *const names[] = {
        "fp16",
        "bf16",
        "fp8e4m3",
        "fp8e5m2",
        "fp6e3m2",
        "fp6e2m3",
        "fp4e2m1",
        "float<4,3,fnuz>",
        "float<5,2,fnuz>",
        "float<1,6,finite>",
        "float<1,3,ieee>",
        "float<8,7,finite>",
        "float<10,5,ieee>",
        "float<6,9,finite>",
        "float<4,3,ieee,12>",
        "float<2,1,fn>",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_format(names[i], (qn_params){0}, TO_EVEN);
    }
    check_format("fp16:nearest-away", (qn_params){0}, UPWARD);
}

static void adaptivfloats(void **state)
{
    (void)state;
    for (int n = 2; n <= 12; n++) {
        for (int e = 1; e < n && e <= 8; e++) {
            char name[32];
            snprintf(name, sizeof name, "adaptivfloat<%d,%d>", n, e);
            bool no_mantissa = e == n - 1;
            check_format(name, (qn_params){.exp_bias = -3}, no_mantissa ? UPWARD : TO_EVEN_BUT_LEAST_UP);
        }
    }
    check_format("adaptivfloat<16,5>", (qn_params){.exp_bias = 90}, TO_EVEN_BUT_LEAST_UP);
    check_format("adaptivfloat<16,8>", (qn_params){.exp_bias = -404}, TO_EVEN_BUT_LEAST_UP);
}

static void blocks(void **state)
{
    (void)state;
    check_format("bfp<8,16>", (qn_params){.exp_bias = 3}, TO_EVEN);
    check_format("bfp<2,16>", (qn_params){.exp_bias = -149}, TO_EVEN);
    check_format("bfp<16,32>", (qn_params){.exp_bias = 127}, TO_EVEN);
    static const char *const names[] = {"mx<fp8e4m3>", "mx<fp8e5m2>", "mx<fp6e3m2>",
                                        "mx<fp6e2m3>", "mx<fp4e2m1>", "mx<int8>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_format(names[i], (qn_params){.exp_bias = -127}, TO_EVEN);
        check_format(names[i], (qn_params){.exp_bias = 127}, TO_EVEN);
        qn_format f = parse(names[i]);
        assert_true(isnan(qn_format_value(f, &(qn_params){.exp_bias = 128}, 1)));
    }
}

static void posits(void **state)
{
    (void)state;
    for (int es = 0; es <= 3; es++) {
        for (int n = 2; n <= 16; n += n < 10 ? 1 : 3) {
            char name[32];
            snprintf(name, sizeof name, "posit<%d,%d>", n, es);
            check_format(name, (qn_params){0}, TO_EVEN);
        }
    }
    qn_format f = parse("posit<8,2>");
    assert_int_equal(qn_format_code(f, &(qn_params){0}, NAN, 0), 0x80);
    assert_true(isnan(qn_format_value(f, &(qn_params){0}, 0x80)));
}

static void powers(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 8; bits++) {
        static const char *const options[] = {"", ",nozero", ",log"};
        for (int i = 0; i < 3; i++) {
            char name[32];
            snprintf(name, sizeof name, "po2<%d%s>", bits, options[i]);
            qn_format f = parse(name);
            if (i == 0) {
                check_format(name, (qn_params){.exp_bias = -7}, UPWARD);
                continue;
            }
            /* Without a zero there is no boundary to test between -2^exp_bias and 2^exp_bias but the sign. */
            const qn_params p = {.exp_bias = -7};
            uint32_t half = 1u << (bits - 1);
            for (uint32_t code = 0; code < half; code++) {
                double value = qn_format_value(f, &p, code), up = i == 2 ? sqrt(2.0) : 1.5;
                assert_true((long double)value == power((int)code - 7));
                expect(&f, &p, value, code);
                expect(&f, &p, -value, code | half);
                expect(&f, &p, value * nextafter(up, 0.0), code);
                expect(&f, &p, value * up, code + 1 < half ? code + 1 : code);
            }
            expect(&f, &p, 1e-300, 0);
            expect(&f, &p, -1e-300, half);
        }
    }
}

static void two_and_three_values(void **state)
{
    (void)state;
    check_format("ternary", (qn_params){.scale = 0.75f}, TO_EVEN);
    qn_format f = parse("binary");
    const qn_params p = {.scale = 0.75f};
    assert_true(qn_format_value(f, &p, 1) == 0.75 && qn_format_value(f, &p, 0) == -0.75);
    assert_int_equal(qn_format_code(f, &p, 0.0, 0), 1);
    assert_int_equal(qn_format_code(f, &p, -0.0, 0), 1);
    assert_int_equal(qn_format_code(f, &p, -1e-300, 0), 0);
    assert_true(qn_format_value(parse("ternary"), &p, 2) == -0.75);
}

/* Toward zero and down give the neighbour on that side; stochastic gives the farther one from zero exactly when the random
 * fraction is below the real one. */
static void other_roundings(void **state)
{
    (void)state;
    static const char *const bases[] = {"int8",      "fp8e4m3",     "fp16",    "adaptivfloat<8,3>",
                                        "bfp<6,16>", "mx<fp6e3m2>", "mx<int8>"};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        char name[64];
        qn_params p = {.scale = 1.0f, .exp_bias = 2};
        qn_format exact = parse(bases[i]);
        snprintf(name, sizeof name, "%s:toward-zero", bases[i]);
        qn_format inward = parse(name);
        snprintf(name, sizeof name, "%s:floor", bases[i]);
        qn_format down = parse(name);
        snprintf(name, sizeof name, "%s:stochastic", bases[i]);
        qn_format stochastic = parse(name);
        entry *entries = malloc(sizeof *entries << exact.bits);
        assert_non_null(entries);
        int64_t n = collect(entries, &exact, &p);
        for (int64_t k = 0; k + 1 < n; k++) {
            const entry *a = &entries[k], *b = &entries[k + 1];
            double x = a->value + (b->value - a->value) * 0.25;
            if (a->value == b->value) {
                continue;
            }
            bool positive = a->value >= 0.0;
            expect(&inward, &p, x, positive ? a->code : b->code);
            expect(&down, &p, x, a->code);
            expect(&inward, &p, a->value, a->code);
            expect(&down, &p, a->value, a->code);
            /* A quarter of the way up from a: away from zero is up for positive reals. */
            double away = positive ? 0.25 : 0.75;
            uint32_t below = (uint32_t)(away * 0x1p32) - 1, above = (uint32_t)(away * 0x1p32);
            uint32_t outer = positive ? b->code : a->code, inner = positive ? a->code : b->code;
            assert_true(qn_format_value(stochastic, &p, qn_format_code(stochastic, &p, x, below)) ==
                        qn_format_value(exact, &p, outer));
            assert_true(qn_format_value(stochastic, &p, qn_format_code(stochastic, &p, x, above)) ==
                        qn_format_value(exact, &p, inner));
            assert_true(qn_format_value(stochastic, &p, qn_format_code(stochastic, &p, a->value, 0)) == a->value);
        }
        free(entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),        cmocka_unit_test(fixed_point),   cmocka_unit_test(fixed_point_overflows),
        cmocka_unit_test(floats),          cmocka_unit_test(adaptivfloats), cmocka_unit_test(blocks),
        cmocka_unit_test(posits),          cmocka_unit_test(powers),        cmocka_unit_test(two_and_three_values),
        cmocka_unit_test(other_roundings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
