/* posit<n,es>: posits of the Posit Standard (2022), with any es of 0 to 3 (the standard's is 2). sign | regime (a run of
 * equal bits and the bit that ends it) | es exponent bits | fraction; negative numbers are two's complement; 10...0 is NaR.
 * Rounding is done on the string of bits: where exponent bits are cut off, the boundary between two posits is not their
 * mean. Nothing but 0 becomes 0, and no finite number becomes NaR. */
#include <math.h>
#include <stdio.h>

#include "format/round.h"
#include "format/row.h"

enum { DEFAULT_ES = 2, FRACTION_KEPT = 40 };

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    f->exponent_bits = DEFAULT_ES;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits n", err));
    return text->n_args > 1 ? qn_format_text_int(&f->exponent_bits, text, 1, "exponent bits es", err) : QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits n", bits, 2, 16);
    b[1] = QN_BOUND("exponent bits es", exponent_bits, 0, 3);
    return 2;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "posit<%d,%d>", f->bits, f->exponent_bits);
}

static uint32_t nar(const qn_format *f)
{
    return (uint32_t)1 << (f->bits - 1);
}

/* Length of the run of equal bits below the sign. */
static int run_length(const qn_format *f, uint32_t code)
{
    uint32_t first = code >> (f->bits - 2) & 1;
    int run = 1;
    while (run < f->bits - 1 && (code >> (f->bits - 2 - run) & 1) == first) {
        run++;
    }
    return run;
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    int below = f->bits - 1, run = run_length(f, code), n = 0;
    int regime = run < below ? run + 1 : run;
    out[n++] = (qn_field){"sign", below, 1};
    below -= regime;
    out[n++] = (qn_field){"regime", below, regime};
    int exponent = below < f->exponent_bits ? below : f->exponent_bits;
    below -= exponent;
    if (exponent > 0) {
        out[n++] = (qn_field){"exponent", below, exponent};
    }
    if (below > 0) {
        out[n++] = (qn_field){"mantissa", 0, below};
    }
    return n;
}

/* The code of a magnitude: a positive posit. */
static uint32_t encode_magnitude(const qn_format *f, double magnitude)
{
    int n = f->bits, es = f->exponent_bits, exponent = qn_exponent_of(magnitude);
    int k = (exponent - (exponent & ((1 << es) - 1))) / (1 << es); /* floor(exponent / 2^es) */
    if (k >= n - 2) {
        return nar(f) - 1;
    }
    if (k < -(n - 2)) {
        return 1;
    }
    /* The whole string: regime, exponent, fraction, and a last bit for whatever is left of the fraction. */
    double fraction = ldexp(ldexp(magnitude, -exponent) - 1.0, FRACTION_KEPT);
    uint64_t kept = (uint64_t)fraction, rest = (double)kept != fraction ? 1 : 0;
    uint64_t regime = k >= 0 ? ((uint64_t)1 << (k + 2)) - 2 : 1;
    int length = (k >= 0 ? k + 2 : -k + 1) + es + FRACTION_KEPT + 1;
    uint64_t string = ((regime << es | (uint64_t)(exponent & ((1 << es) - 1))) << FRACTION_KEPT | kept) << 1 | rest;
    int cut = length - (n - 1);
    uint64_t code = string >> cut, lost = string & (((uint64_t)1 << cut) - 1), half = (uint64_t)1 << (cut - 1);
    return (uint32_t)(code + (lost > half || (lost == half && (code & 1) != 0) ? 1 : 0));
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p, (void)random;
    if (isnan(x)) {
        return nar(f);
    }
    if (x == 0.0) {
        return 0;
    }
    uint32_t code = isinf(x) ? nar(f) - 1 : encode_magnitude(f, fabs(x));
    return x < 0.0 ? (0u - code) & qn_code_mask(f->bits) : code;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    if (code == 0 || code == nar(f)) {
        return code == 0 ? 0.0 : NAN;
    }
    bool negative = (code & nar(f)) != 0;
    uint32_t magnitude = negative ? (0u - code) & qn_code_mask(f->bits) : code;
    int run = run_length(f, magnitude), es = f->exponent_bits;
    int k = (magnitude >> (f->bits - 2) & 1) != 0 ? run - 1 : -run;
    int below = f->bits - 2 - run; /* bits under the regime */
    below = below < 0 ? 0 : below;
    uint32_t tail = magnitude & (((uint32_t)1 << below) - 1);
    /* Exponent bits that were cut off are 0. */
    uint32_t exponent = below >= es ? tail >> (below - es) : tail << (es - below);
    int fraction_bits = below > es ? below - es : 0;
    uint32_t fraction = tail & (((uint32_t)1 << fraction_bits) - 1);
    double significand = (double)(fraction | (uint32_t)1 << fraction_bits);
    double value = ldexp(significand, k * (1 << es) + (int)exponent - fraction_bits);
    return negative ? -value : value;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    return code != nar(f);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return qn_code_signed(code, f->bits);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->highest = decode(f, p, nar(f) - 1);
    l->lowest = -l->highest;
    l->smallest = decode(f, p, 1);
}

static const char *const heads[] = {"posit", NULL};

const qn_format_row qn_format_row_posit = {
    .about = {QN_FORMAT_POSIT, "posit<n,es>", "posit of n bits (2 to 16), es exponent bits (0 to 3; 2)",
              "Standard for Posit Arithmetic (2022)", "posit<8,2> posit<8,1> posit<16>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 2,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = order,
    .limits = limits,
};
