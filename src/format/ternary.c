/* ternary: -1, 0 and +1 times a scale, as two's complement 2-bit codes 11, 00, 01; 10 is read as -1 and never written.
 * Scale and threshold minimise the squared error together: for a given scale the best threshold is half of it. */
#include <math.h>
#include <stdio.h>

#include "format/round.h"
#include "format/row.h"

enum { BITS = 2, MINUS = 3, PLUS = 1 };

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    (void)head, (void)text, (void)err;
    f->bits = BITS;
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    (void)f;
    b[0] = QN_BOUND("bits", bits, BITS, BITS);
    return 1;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)f, (void)implied;
    snprintf(name, QN_FORMAT_NAME_MAX, "ternary");
}

static int fields(qn_field out[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)f, (void)code;
    out[0] = (qn_field){"sign", 1, 1};
    out[1] = (qn_field){"magnitude", 0, 1};
    return 2;
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)f, (void)random;
    double half = (double)p->scale / 2.0;
    return x > half ? PLUS : x < -half ? MINUS : 0;
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)f;
    return code == 0 ? 0.0 : code == PLUS ? (double)p->scale : -(double)p->scale;
}

static bool canonical(const qn_format *f, uint32_t code)
{
    (void)f;
    return code != 2;
}

static int64_t order(const qn_format *f, uint32_t code)
{
    return qn_code_signed(code, f->bits);
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    (void)f;
    l->highest = l->smallest = (double)p->scale;
    l->lowest = -l->highest;
}

/* Of a range alone: the least squares for values spread evenly over it. */
static void from_range(qn_params *p, const qn_format *f, double lo, double hi)
{
    (void)f;
    double max = fmax(fabs(lo), fabs(hi));
    p->scale = max == 0.0 ? 1.0f : (float)(max * (2.0 / 3.0));
}

/* Let x[root] sink in the min-heap x[0, n). */
static void sink(double *x, int64_t root, int64_t n)
{
    double held = x[root];
    for (int64_t child; (child = 2 * root + 1) < n; root = child) {
        child += child + 1 < n && x[child + 1] < x[child] ? 1 : 0;
        if (x[child] >= held) {
            break;
        }
        x[root] = x[child];
    }
    x[root] = held;
}

/* Heapsort: unlike qsort it never allocates, and fits are made while networks run. */
static void sort_descending(double *x, int64_t n)
{
    for (int64_t root = n / 2; root-- > 0;) {
        sink(x, root, n);
    }
    for (int64_t end = n - 1; end > 0; end--) {
        double least = x[0];
        x[0] = x[end];
        x[end] = least;
        sink(x, 0, end);
    }
}

/* With the k greatest magnitudes coded as +-1 the best scale is their mean, and the error is sum x^2 - (sum of them)^2 / k. */
static bool from_values(qn_params *p, const qn_format *f, double *x, int64_t n)
{
    (void)f;
    for (int64_t i = 0; i < n; i++) {
        x[i] = fabs(x[i]);
    }
    sort_descending(x, n);
    double sum = 0.0, best = 0.0;
    for (int64_t k = 1; k <= n; k++) {
        sum += x[k - 1];
        double gain = sum / (double)k * sum;
        if (gain > best) {
            best = gain;
            p->scale = (float)(sum / (double)k);
        }
    }
    return true;
}

static const char *const heads[] = {"ternary", NULL};

const qn_format_row qn_format_row_ternary = {
    .about = {QN_FORMAT_TERNARY, "ternary", "-1, 0, +1 times a scale, fitted by least squares",
              "ternary weight networks", "ternary"},
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
