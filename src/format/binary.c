/* binary: code 1 is +scale, code 0 is -scale; 0 counts as positive. The scale is the mean of |x|, which is the least
 * squares; an all-zero tensor has scale 0. */
#include <math.h>
#include <stdio.h>

#include "format/row.h"

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head, (void)text, (void)err;
    f->bits = 1;
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, 1, 1);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)f, (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "binary");
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)f, (void)code;
    out[0] = (qn_field){"sign", 0, 1};
    return 1;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)f, (void)p, (void)random;
    return x < 0.0 ? 0 : 1;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)f;
    return code != 0 ? (double)p->scale : -(double)p->scale;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    (void)f, (void)code;
    return true;
}

static int64_t order(const qn_format *f, uint32_t code)
{
    (void)f;
    return code;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    (void)f;
    l->highest = l->smallest = (double)p->scale;
    l->lowest = -l->highest;
}

/* Of a range alone: the mean of magnitudes spread evenly over it. */
static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    (void)f;
    p->scale = (float)(fmax(fabs(lo), fabs(hi)) / 2.0);
}

static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    (void)f;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += fabs(x[i]);
    }
    p->scale = (float)(sum / (double)n);
    return true;
}

static const char *const heads[] = {"binary", NULL};

const qn_format_row qn_format_row_binary = {
    .about = {QN_FORMAT_BINARY, "binary", "+scale or -scale; the scale is the mean of |x|", "XNOR-Net", "binary"},
    .heads = heads,
    .parameters = QN_PARAM_SCALE,
    .parse = parse,
    .bounds = bounds,
    .print = print,
    .fields = fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = order,
    .limits = limits,
    .from_range = from_range,
    .from_values = from_values,
};
