/* int<b>, uint<b>: affine integers, x = (code - zero_point) * scale (arithmetic.md 2.1, 2.2). */
#include "format/int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/round.h"
#include "format/row.h"

enum { BIAS_BITS = 32 };

void qn_int_range(const qn_format *f, int32_t *lo, int32_t *hi)
{
    int value_bits = f->bits - (f->is_signed ? 1 : 0);
    int64_t top = (int64_t)((uint64_t)1 << value_bits);
    *hi = (int32_t)(top - 1);
    *lo = f->is_signed ? (int32_t)(-top + (f->narrow ? 1 : 0)) : 0;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    f->is_signed = head == 0;
    return qn_format_text_int(&f->bits, text, 0, "bits", err);
}

static bool word(qn_format *f, const char *text)
{
    f->narrow = f->narrow || strcmp(text, "narrow") == 0;
    return strcmp(text, "narrow") == 0;
}

/* Some fits fix the range of codes and the rounding. */
static void derive(qn_format *f)
{
    if (f->fit == QN_FIT_SYMMETRIC) {
        f->narrow = true;
    }
    if (f->fit == QN_FIT_QKERAS_AUTO || f->fit == QN_FIT_QKERAS_PO2) {
        f->narrow = true;
        f->rounding = QN_ROUND_NEAREST_AWAY;
    }
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    bool is_bias = f->bits == BIAS_BITS && f->is_signed && !f->narrow;
    b[0] = QN_BOUND("bits", bits, 1, is_bias ? BIAS_BITS : 16);
    return 1;
}

static const char *refuse(const qn_format *f)
{
    if (f->narrow && (!f->is_signed || f->bits < 2)) {
        return "only signed integers of 2 to 16 bits can be narrow (and have the fits that are)";
    }
    if (f->fit == QN_FIT_POSITIVE && f->is_signed) {
        return "the fit 'positive' is for unsigned integers";
    }
    if ((f->fit == QN_FIT_SYMMETRIC_FULL && (!f->is_signed || f->narrow)) ||
        (f->fit == QN_FIT_LLTFI && (!f->is_signed || f->bits < 2))) {
        return "the fits 'symmetric-full' (never narrow) and 'lltfi' (2 bits or more) are for signed integers";
    }
    if (f->fit == QN_FIT_PO2 && f->is_signed && f->bits < 2) {
        return "the fit 'po2' needs a code above 0, so at least 2 bits";
    }
    return NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    implied->fit = f->fit;
    derive(implied);
    snprintf(name, QN_FORMAT_NAME_MAX, "%sint%d%s", f->is_signed ? "" : "u", f->bits,
             f->narrow && !implied->narrow ? ":narrow" : "");
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    int n = 0;
    if (f->is_signed) {
        out[n++] = (qn_field){"sign", f->bits - 1, 1};
    }
    if (f->bits > n) {
        out[n] = (qn_field){"integer", 0, f->bits - n};
        n++;
    }
    return n;
}

/* The code as the integer it stands for. */
static int32_t integer_of(const qn_format *f, uint32_t code)
{
    return f->is_signed ? qn_code_signed(code, f->bits) : (int32_t)code;
}

static uint32_t code_of(const qn_format *f, const qn_params *p, double quotient, uint32_t random)
{
    int32_t lo, hi;
    qn_int_range(f, &lo, &hi);
    double v = qn_round_to_integer(quotient, f->rounding, random) + (double)p->zero_point;
    v = v > (double)lo ? v : (double)lo; /* NaN too becomes lo */
    v = v < (double)hi ? v : (double)hi;
    return (uint32_t)(int32_t)v & qn_code_mask(f->bits);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    return code_of(f, p, x / (double)p->scale, random);
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    int64_t difference = (int64_t)integer_of(f, code) - p->zero_point;
    return (double)((float)difference * p->scale);
}

/* Up to 16 bits, to nearest even. After the clamp |v| <= 2^17, where adding and subtracting 1.5 * 2^23 rounds as rintf
 * does, in instructions that every x86-64 has in vector form. */
static void encode_nearest(uint32_t *codes, const float *x, int64_t n, const qn_run *run)
{
    int32_t lo, hi;
    qn_int_range(run->format, &lo, &hi);
    const float magic = 0x1.8p23f, scale = run->params.scale;
    const int32_t zero_point = run->params.zero_point;
    const float low = (float)(lo - zero_point), high = (float)(hi - zero_point);
    const uint32_t mask = qn_code_mask(run->format->bits);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] / scale;
        v = v > low ? v : low; /* NaN too becomes low */
        v = v > high ? high : v;
        codes[i] = (uint32_t)((int32_t)((v + magic) - magic) + zero_point) & mask;
    }
}

static void encode_run(uint32_t *codes, const float *x, int64_t n, const qn_run *run)
{
    const qn_format *f = run->format;
    if (f->bits <= 16 && f->rounding == QN_ROUND_NEAREST_EVEN) {
        encode_nearest(codes, x, n, run);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        /* int32: float has too few digits for such codes, so the quotient is a double. */
        double v = f->bits > 16 ? (double)x[i] / (double)run->params.scale : (double)(x[i] / run->params.scale);
        codes[i] = code_of(f, &run->params, v, qn_run_draw(run, i));
    }
}

static void decode_run(float *y, const uint32_t *codes, int64_t n, const qn_run *run)
{
    const float scale = run->params.scale;
    const int32_t zero_point = run->params.zero_point;
    if (run->format->bits > 16) {
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)decode(run->format, &run->params, codes[i]);
        }
        return;
    }
    const uint32_t mask = qn_code_mask(run->format->bits);
    const uint32_t sign = run->format->is_signed ? (uint32_t)1 << (run->format->bits - 1) : 0;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        int32_t code = (int32_t)(((codes[i] & mask) ^ sign) - sign);
        y[i] = (float)(code - zero_point) * scale;
    }
}

/* Of codes that are symmetric around zero, as weights are. */
static bool integers(qn_format *as, float *unit, const qn_format *f)
{
    int32_t lo, hi;
    qn_int_range(f, &lo, &hi);
    *as = qn_format_holding(lo, hi);
    *unit = 1.0f;
    return f->is_signed && f->bits >= 2 && f->bits <= 16 && f->fit != QN_FIT_AFFINE &&
           f->rounding != QN_ROUND_STOCHASTIC;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    int32_t lo, hi, integer = integer_of(f, code);
    qn_int_range(f, &lo, &hi);
    return integer >= lo && integer <= hi;
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return integer_of(f, code);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    int32_t lo, hi;
    qn_int_range(f, &lo, &hi);
    l->lowest = decode(f, p, (uint32_t)lo);
    l->highest = decode(f, p, (uint32_t)hi);
    l->smallest = (double)p->scale;
}

static const char *const heads[] = {"int", "uint", NULL};

const qn_format_row qn_format_row_int = {
    .about = {QN_FORMAT_INT, "int<bits>, uint<bits>",
              "integers of 1 to 16 bits (or int32), scale and zero point; ':narrow' leaves out the lowest code",
              "ONNX QuantizeLinear, TFLite", "int8 uint8 int<4> int8:narrow int8:po2 uint8:positive int4:qkeras-auto"},
    .heads = heads,
    .args_min = 1,
    .args_max = 1,
    .digits = true,
    .roundings = 1u << QN_ROUND_NEAREST_EVEN | 1u << QN_ROUND_NEAREST_AWAY | 1u << QN_ROUND_TOWARD_ZERO |
                 1u << QN_ROUND_FLOOR | 1u << QN_ROUND_STOCHASTIC,
    .fits = 1u << QN_FIT_SYMMETRIC | 1u << QN_FIT_SYMMETRIC_FULL | 1u << QN_FIT_LLTFI | 1u << QN_FIT_AFFINE |
            1u << QN_FIT_POSITIVE | 1u << QN_FIT_QKERAS_AUTO | 1u << QN_FIT_QKERAS_PO2 | 1u << QN_FIT_PO2,
    .parameters = QN_PARAM_SCALE | QN_PARAM_ZERO_POINT,
    .parse = parse,
    .word = word,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .encode_run = encode_run,
    .decode_run = decode_run,
    .integers = integers,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = qn_int_from_range,
    .from_values = qn_int_from_values,
};
