/* ap_fixed<W,I,Q,O>, ap_ufixed<W,I,Q,O>: fixed point as AMD's UG1399 defines it; value = raw * 2^-(W-I). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/round.h"
#include "format/row.h"

enum { WIDTH_MAX = 32, INTEGER_LIMIT = 256 };

static const char *const roundings[] = {
#define AP_ROUND(name, value, text, ap_name) ap_name,
    QN_ROUND_LIST(AP_ROUND)
#undef AP_ROUND
};
enum { N_AP_ROUNDINGS = QN_ROUND_STOCHASTIC }; /* the last has no name there */

static const char *const overflows[] = {[QN_OVERFLOW_SATURATE] = "SAT",
                                        [QN_OVERFLOW_WRAP] = "WRAP",
                                        [QN_OVERFLOW_SYMMETRIC] = "SAT_SYM",
                                        [QN_OVERFLOW_ZERO] = "SAT_ZERO"};
enum { N_OVERFLOWS = sizeof overflows / sizeof overflows[0] };

/* The mode's name without "AP_". */
static const char *bare(const char *mode)
{
    return strncmp(mode, "AP_", 3) == 0 ? mode + 3 : mode;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    f->is_signed = head % 2 == 0;
    f->rounding = QN_ROUND_FLOOR;
    f->overflow = QN_OVERFLOW_WRAP;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "width W", err));
    QN_TRY(qn_format_text_int(&f->integer_bits, text, 1, "integer bits I", err));
    int index;
    if (text->n_args > 2) {
        QN_TRY(qn_format_text_word(&index, bare(text->args[2]), roundings, N_AP_ROUNDINGS, "quantization mode (Q)",
                                   text->where, err));
        f->rounding = (qn_rounding)index;
    }
    if (text->n_args > 3) {
        if (strcmp(bare(text->args[3]), "WRAP_SM") == 0) {
            return qn_fail(err, QN_EINVAL, text->where,
                           "overflow mode WRAP_SM (sign-magnitude wrap) is not offered; "
                           "there are SAT, WRAP, SAT_SYM, SAT_ZERO");
        }
        QN_TRY(qn_format_text_word(&index, bare(text->args[3]), overflows, N_OVERFLOWS, "overflow mode (O)",
                                   text->where, err));
        f->overflow = (qn_overflow)index;
    }
    if (text->n_args > 4 && strcmp(text->args[4], "0") != 0) {
        return qn_fail(err, QN_EINVAL, text->where, "N = %s saturation bits in wrap mode are not offered; only 0 is",
                       text->args[4]);
    }
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("width W", bits, 1, WIDTH_MAX);
    b[1] = QN_BOUND("integer bits I", integer_bits, -INTEGER_LIMIT, INTEGER_LIMIT);
    b[2] = QN_BOUND("overflow mode", overflow, 0, N_OVERFLOWS - 1);
    return 3;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    bool stochastic = f->rounding == QN_ROUND_STOCHASTIC;
    implied->rounding = stochastic ? QN_ROUND_FLOOR : f->rounding;
    char modes[32] = "";
    if (implied->rounding != QN_ROUND_FLOOR || f->overflow != QN_OVERFLOW_WRAP) {
        const char *overflow = (unsigned)f->overflow < N_OVERFLOWS ? overflows[f->overflow] : "?";
        snprintf(modes, sizeof modes, ",%s%s%s", roundings[implied->rounding],
                 f->overflow != QN_OVERFLOW_WRAP ? "," : "", f->overflow != QN_OVERFLOW_WRAP ? overflow : "");
    }
    snprintf(name, QN_FORMAT_NAME_MAX, "ap_%sfixed<%d,%d%s>", f->is_signed ? "" : "u", f->bits, f->integer_bits, modes);
}

/* Bits of the code before the point: some, all or none of them. */
static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    int n = 0, top = f->bits;
    if (f->is_signed) {
        out[n++] = (qn_field){"sign", --top, 1};
    }
    int fraction = f->bits - f->integer_bits;
    fraction = fraction < 0 ? 0 : fraction > top ? top : fraction;
    if (top > fraction) {
        out[n++] = (qn_field){"integer", fraction, top - fraction};
    }
    if (fraction > 0) {
        out[n++] = (qn_field){"fraction", 0, fraction};
    }
    return n;
}

static void raw_range(const qn_format *f, int64_t *lo, int64_t *hi)
{
    int64_t top = (int64_t)1 << (f->bits - (f->is_signed ? 1 : 0));
    *lo = f->is_signed ? -top : 0;
    *hi = top - 1;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    if (isnan(x)) {
        return 0;
    }
    double rounded = qn_round_to_integer(qn_scale_exact(x, f->bits - f->integer_bits), f->rounding, random);
    int64_t lo, hi;
    raw_range(f, &lo, &hi);
    if (f->overflow == QN_OVERFLOW_SYMMETRIC && f->is_signed) {
        lo = -hi;
    }
    if (rounded < (double)lo || rounded > (double)hi) {
        switch (f->overflow) {
        case QN_OVERFLOW_WRAP: /* what overflows a double is a multiple of 2^W */
            rounded = isinf(rounded) ? 0.0 : fmod(rounded, ldexp(1.0, f->bits));
            break;
        case QN_OVERFLOW_ZERO:
            rounded = 0.0;
            break;
        default:
            rounded = (double)(rounded < 0.0 ? lo : hi);
        }
    }
    return (uint32_t)(int64_t)rounded & qn_code_mask(f->bits);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    double raw = f->is_signed ? (double)qn_code_signed(code, f->bits) : (double)code;
    return ldexp(raw, f->integer_bits - f->bits);
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return f->is_signed ? qn_code_signed(code, f->bits) : (int64_t)code;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    int64_t lo, hi;
    raw_range(f, &lo, &hi);
    return !(f->overflow == QN_OVERFLOW_SYMMETRIC && f->is_signed && order(f, code) == lo);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    (void)p;
    int64_t lo, hi;
    raw_range(f, &lo, &hi);
    if (f->overflow == QN_OVERFLOW_SYMMETRIC && f->is_signed) {
        lo = -hi;
    }
    l->lowest = ldexp((double)lo, f->integer_bits - f->bits);
    l->highest = ldexp((double)hi, f->integer_bits - f->bits);
    l->smallest = ldexp(1.0, f->integer_bits - f->bits);
}

static const char *const heads[] = {"ap_fixed", "ap_ufixed", "fixed", "ufixed", NULL};

const qn_format_row qn_format_row_fixed = {
    .about = {QN_FORMAT_FIXED, "ap_fixed<W,I,Q,O>, ap_ufixed<W,I,Q,O>",
              "fixed point: W bits (1 to 32), I of them before the point (sign included; may be below 0 or above W), "
              "rounding Q (TRN), overflow O (WRAP)",
              "AMD Vitis HLS, UG1399", "ap_fixed<16,6> ap_fixed<8,1,RND_CONV,SAT> ap_ufixed<8,0,RND,SAT>"},
    .heads = heads,
    .args_min = 2,
    .args_max = 5,
    .roundings = 1u << QN_ROUND_STOCHASTIC,
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
