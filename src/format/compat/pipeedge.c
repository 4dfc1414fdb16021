/* pipeedge<b>: the link quantizer of PipeEdge, tensor_encode with min and max. In f32, with shift = min and
 * scale = max(x - shift): q = rint((2^b-1) * ((x - shift) / scale)), from 17 bits on with the product in f64;
 * x' = f32(f64(q) / (2^b-1)) * scale + shift. PipeEdge has one set of parameters per item (axis 0) and packs codes in
 * 32-bit words (QN_PACKING_WORD32). */
#include <float.h>

#include "format/compat/compat.h"

enum { F32_BITS = 16 }; /* up to here numpy keeps the product in f32 */

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head;
    f->is_signed = false;
    return qn_format_text_int(&f->bits, text, 0, "bits", err);
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, 1, 32);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "pipeedge<%d>", f->bits);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)random;
    const uint32_t top = qn_code_mask(f->bits);
    float from_min = (float)x - p->shift, ratio = from_min / p->scale;
    double q = f->bits <= F32_BITS ? (double)rintf((float)top * ratio) : rint((double)top * (double)ratio);
    return q >= (double)top ? top : q > 0.0 ? (uint32_t)q : 0; /* NaN too becomes 0 */
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    float ratio = (float)((double)code / (double)qn_code_mask(f->bits)), scaled = ratio * p->scale;
    return (double)(scaled + p->shift);
}

static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    (void)f;
    p->shift = (float)lo;
    float width = (float)hi - p->shift;
    p->scale = width == 0.0f ? 1.0f : isfinite(width) ? width : FLT_MAX;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    l->lowest = decode(f, p, 0);
    l->highest = decode(f, p, qn_code_mask(f->bits));
    l->smallest = (double)p->scale / (double)qn_code_mask(f->bits);
}

static const char *const heads[] = {"pipeedge", NULL};

const qn_format_row qn_format_row_pipeedge = {
    .about = {QN_FORMAT_PIPEEDGE, "pipeedge<bits>",
              "PipeEdge's quantization of links, bit for bit: 1 to 32 bits between minimum and maximum; its items are "
              "axis 0",
              "PipeEdge", "pipeedge<8> pipeedge<2> pipeedge<32>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 1,
    .digits = true,
    .parameters = QN_PARAM_SCALE | QN_PARAM_SHIFT,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = qn_compat_all_canonical,
    .order = qn_compat_integer,
    .limits = limits,
    .from_range = from_range,
};
