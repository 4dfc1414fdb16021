/* The rules that compute a range, of values and of bins. The ACIQ rules keep to the f32 arithmetic of PipeEdge and of
 * H. Wang's directed search, so that their clamps are the same bits. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "format/histogram.h"
#include "format/lambert.h"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Percentile p of sorted values: linear between order statistics, as numpy has it. */
static double percentile_of(const double *sorted, int64_t n, double p)
{
    double at = p / 100.0 * (double)(n - 1), below = floor(at);
    int64_t i = (int64_t)below;
    return i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static void min_max(double *lo, double *hi, const double *x, int64_t n)
{
    *lo = *hi = x[0];
    for (int64_t i = 1; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

static void percentile_range(double *lo, double *hi, const qn_fit_rule *rule, double *x, int64_t n)
{
    bool absolute = rule->kind == QN_RULE_ABS_PERCENTILE;
    for (int64_t i = 0; absolute && i < n; i++) {
        x[i] = fabs(x[i]);
    }
    qsort(x, (size_t)n, sizeof x[0], compare);
    if (absolute) {
        *hi = percentile_of(x, n, rule->percentile);
        *lo = -*hi;
    } else {
        *lo = percentile_of(x, n, (100.0 - rule->percentile) / 2.0);
        *hi = percentile_of(x, n, (100.0 + rule->percentile) / 2.0);
    }
}

/* The factor of an ACIQ clamp for b-bit codes: W(3 * 4^b). */
static double factor_of(int b)
{
    return qn_lambert_w(3.0 * ldexp(1.0, 2 * b));
}

static float laplace_clamp(const qn_moments *m, int bits)
{
    return (float)factor_of(bits) * sqrtf(0.5f * (float)m->variance);
}

static float gelu_clamp(const qn_moments *m, int bits)
{
    return (float)factor_of(bits + 1) * sqrtf((float)(m->n * m->mean_square) / (float)m->n);
}

/* The clamp, in standard deviations, of a normal density for b-bit codes: where the clipped tail's error grows as fast as
 * the rounding's falls, t / (3 * 4^b) = 2 (phi(t) - t Q(t)). The left side grows with t, the right one falls. */
static double gauss_factor(int b)
{
    const double pi = 3.14159265358979323846, rounding = 1.0 / (3.0 * ldexp(1.0, 2 * b));
    double low = 0.0, high = 32.0;
    for (int i = 0; i < 64; i++) {
        double t = 0.5 * (low + high);
        double tail = exp(-0.5 * t * t) / sqrt(2.0 * pi) - 0.5 * t * erfc(t / sqrt(2.0));
        if (t * rounding < 2.0 * tail) {
            low = t;
        } else {
            high = t;
        }
    }
    return high;
}

/* The clamp for the likelier of the Laplace density with mean deviation `scale` and the normal one with deviation
 * `sigma`: log(2 e scale) against log(sigma sqrt(2 pi e)). */
static double likelier_clamp(double scale, double sigma, int b)
{
    const double pi = 3.14159265358979323846, e = 2.71828182845904523536;
    bool laplace = 2.0 * e * scale < sigma * sqrt(2.0 * pi * e);
    return laplace ? factor_of(b) * scale : gauss_factor(b) * sigma;
}

/* [lo, hi] clipped to +-a. */
static void clip(double *lo, double *hi, double a)
{
    *lo = fmin(fmax(*lo, -a), a);
    *hi = fmin(fmax(*hi, -a), a);
}

/* Are all codes of the range's parameters on one side of zero? */
static bool codes_on_one_side(const qn_format *f, double lo, double hi)
{
    qn_params params;
    qn_format_limits limits;
    qn_params_of_range(&params, f, &(qn_fit_rule){.kind = QN_RULE_MINMAX}, lo, hi);
    qn_format_limits_get(&limits, *f, &params);
    return limits.lowest >= 0.0 || limits.highest <= 0.0;
}

static void aciq_range(double *lo, double *hi, const qn_moments *m, const qn_format *f)
{
    if (*lo < 0.0 && *hi > 0.0) {
        double a = likelier_clamp(m->deviation, sqrt(m->variance), f->bits);
        *lo = fmax(*lo, fmin(m->mean - a, *hi));
        *hi = fmin(*hi, fmax(m->mean + a, *lo));
    } else if (m->n > m->n_zeros) {
        double counted = (m->n - m->n_zeros) / m->n;
        int bits = f->bits + (codes_on_one_side(f, *lo, *hi) ? 1 : 0);
        clip(lo, hi, likelier_clamp(m->mean_magnitude / counted, sqrt(m->mean_square / counted), bits));
    }
}

enum { DS_BINS = 200, DS_STEPS = 100 };

/* The Laplace density with parameter b at the points t, scaled to the sum 1. Returns its greatest value. */
static double laplace_density(double density[DS_BINS], const double t[DS_BINS], double b)
{
    double sum = 0.0, max = 0.0;
    for (int i = 0; i < DS_BINS; i++) {
        density[i] = exp(-fabs(t[i]) / b) / (2.0 * b);
        sum += density[i];
    }
    for (int i = 0; i < DS_BINS; i++) {
        density[i] /= sum;
        max = fmax(max, density[i]);
    }
    return max;
}

/* DS-ACIQ: from the mean magnitude b0, walk in the direction in which the density's peak comes nearer to the
 * histogram's, and keep the b with the least squared difference. `share` is the histogram of DS_BINS bins from lo to hi,
 * of sum 1. */
static double directed_search(const double share[DS_BINS], double lo, double hi, double b0)
{
    double t[DS_BINS], density[DS_BINS], peak = 0.0, width = (hi - lo) / (DS_BINS - 1);
    for (int i = 0; i < DS_BINS; i++) {
        t[i] = i < DS_BINS - 1 ? (double)i * width + lo : hi;
        peak = fmax(peak, share[i]);
    }
    double fit_peak = laplace_density(density, t, b0), direction = peak > fit_peak ? -1.0 : 1.0;
    double step = fabs(1.0 / (2.0 * peak) - 1.0 / (2.0 * fit_peak)) * b0 / (DS_STEPS * (1.0 / (2.0 * fit_peak)));
    double best = b0, best_error = INFINITY;
    for (int i = 0; i <= DS_STEPS; i++) {
        double b = b0 + direction * step * i, error = 0.0;
        if (!(b > 0.0)) {
            break;
        }
        laplace_density(density, t, b);
        for (int k = 0; k < DS_BINS; k++) {
            error += (share[k] - density[k]) * (share[k] - density[k]);
        }
        if (error < best_error) {
            best = b, best_error = error;
        }
    }
    return best;
}

/* The bin of numpy's histogram, whose borders are f32. */
static int ds_bin(float x, const float edges[DS_BINS + 1])
{
    int low = 0, high = DS_BINS;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (x >= edges[middle]) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void ds_edges(float edges[DS_BINS + 1], float lo, float hi)
{
    double width = ((double)hi - (double)lo) / DS_BINS;
    for (int i = 0; i < DS_BINS; i++) {
        edges[i] = (float)((double)i * width + (double)lo);
    }
    edges[DS_BINS] = hi;
}

static float ds_clamp(const qn_reals *reals, float lo, float hi, int bits)
{
    float edges[DS_BINS + 1];
    int64_t counts[DS_BINS];
    double share[DS_BINS];
    ds_edges(edges, lo, hi);
    qn_reals_count(counts, reals, edges, DS_BINS);
    for (int i = 0; i < DS_BINS; i++) {
        share[i] = (double)counts[i] / (double)reals->n;
    }
    const double magnitude = (double)qn_magnitudes_sum(reals) / (double)reals->n;
    return (float)(factor_of(bits + 1) * directed_search(share, (double)lo, (double)hi, magnitude));
}

static void absolute(double *lo, double *hi)
{
    *hi = fmax(fabs(*lo), fabs(*hi));
    *lo = -*hi;
}

void qn_range_of_reals(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, const qn_reals *reals)
{
    const unsigned wanted = rule->kind == QN_RULE_ACIQ_LAPLACE ? QN_MOMENT_MEAN | QN_MOMENT_SPREAD
                            : rule->kind == QN_RULE_ACIQ_GELU  ? QN_MOMENT_SQUARE
                            : rule->kind == QN_RULE_ACIQ       ? QN_MOMENT_ALL
                                                               : 0;
    const qn_moments m = qn_moments_of(reals, wanted);
    *lo = m.min, *hi = m.max;
    switch (rule->kind) {
    case QN_RULE_ACIQ_LAPLACE:
        if (*lo < *hi) { /* a constant, which has no spread, would be clamped to 0 */
            clip(lo, hi, (double)laplace_clamp(&m, f->bits));
        }
        break;
    case QN_RULE_ACIQ:
        aciq_range(lo, hi, &m, f);
        break;
    case QN_RULE_ACIQ_GELU:
        clip(lo, hi, (double)gelu_clamp(&m, f->bits));
        break;
    case QN_RULE_DS_ACIQ:
        if (*lo < *hi) {
            clip(lo, hi, (double)ds_clamp(reals, (float)*lo, (float)*hi, f->bits));
        }
        break;
    default:
        break;
    }
}

void qn_range_of_values(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, double *x, int64_t n)
{
    const qn_reals reals = {.x = x, .n = n};
    switch (rule->kind) {
    case QN_RULE_ABSMAX:
        min_max(lo, hi, x, n);
        absolute(lo, hi);
        break;
    case QN_RULE_PERCENTILE:
    case QN_RULE_ABS_PERCENTILE:
        percentile_range(lo, hi, rule, x, n);
        break;
    case QN_RULE_ACIQ_LAPLACE:
    case QN_RULE_ACIQ:
    case QN_RULE_ACIQ_GELU:
    case QN_RULE_DS_ACIQ:
        qn_range_of_reals(lo, hi, rule, f, &reals);
        break;
    case QN_RULE_RANGE:
        *lo = rule->lo, *hi = rule->hi;
        break;
    default:
        min_max(lo, hi, x, n);
        break;
    }
}

static qn_moments moments_of_bins(const qn_bins *b)
{
    qn_moments m = {0};
    for (int i = 0; i < b->n; i++) {
        m.n += b->count[i];
        m.mean += b->count[i] * b->x[i];
        m.mean_square += b->count[i] * b->x[i] * b->x[i];
        m.mean_magnitude += b->count[i] * fabs(b->x[i]);
        m.n_zeros += b->x[i] == 0.0 ? b->count[i] : 0.0;
    }
    m.mean /= m.n;
    m.mean_square /= m.n;
    m.mean_magnitude /= m.n;
    for (int i = 0; i < b->n; i++) {
        m.variance += b->count[i] * (b->x[i] - m.mean) * (b->x[i] - m.mean);
        m.deviation += b->count[i] * fabs(b->x[i] - m.mean);
    }
    m.variance /= m.n;
    m.deviation /= m.n;
    return m;
}

/* Where the bins' counts, from below, reach `rank` (of the magnitudes' counts, when those are asked for). */
static double magnitude_at(const qn_bins *b, double rank)
{
    int low = 0, high = b->n - 1;
    double left = 0.0;
    for (int i = 0; i < b->n; i++) {
        left += b->count[i];
    }
    /* From the greatest magnitude inwards, until only `rank` values are left. */
    while (low < high) {
        int *end = fabs(b->x[low]) > fabs(b->x[high]) ? &low : &high;
        if (left - b->count[*end] <= rank) {
            return fmin(fabs(b->x[*end]) + 0.5 * b->width, fmax(fabs(b->min), fabs(b->max)));
        }
        left -= b->count[*end];
        *end += end == &low ? 1 : -1;
    }
    return fabs(b->x[low]);
}

static double value_at(const qn_bins *b, double rank)
{
    double seen = 0.0;
    for (int i = 0; i < b->n; i++) {
        if (seen + b->count[i] > rank) { /* within the bin, evenly spread; a zero is a zero */
            double inside = b->x[i] == 0.0 ? 0.0 : ((rank - seen) / b->count[i] - 0.5) * b->width;
            return fmin(fmax(b->x[i] + inside, b->min), b->max);
        }
        seen += b->count[i];
    }
    return b->max;
}

static float ds_clamp_of_bins(const qn_bins *b, const qn_moments *m, int bits)
{
    float edges[DS_BINS + 1];
    double share[DS_BINS] = {0};
    ds_edges(edges, (float)b->min, (float)b->max);
    for (int i = 0; i < b->n; i++) {
        share[ds_bin((float)b->x[i], edges)] += b->count[i] / m->n;
    }
    return (float)(factor_of(bits + 1) * directed_search(share, b->min, b->max, m->mean_magnitude));
}

void qn_range_of_bins(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, const qn_bins *b)
{
    const int bits = f->bits;
    qn_moments m = moments_of_bins(b);
    *lo = b->min, *hi = b->max;
    switch (rule->kind) {
    case QN_RULE_ABSMAX:
        absolute(lo, hi);
        break;
    case QN_RULE_PERCENTILE:
        *lo = value_at(b, (100.0 - rule->percentile) / 200.0 * (m.n - 1.0));
        *hi = value_at(b, (100.0 + rule->percentile) / 200.0 * (m.n - 1.0));
        break;
    case QN_RULE_ABS_PERCENTILE:
        *hi = magnitude_at(b, rule->percentile / 100.0 * (m.n - 1.0));
        *lo = -*hi;
        break;
    case QN_RULE_ACIQ_LAPLACE:
        if (*lo < *hi) {
            clip(lo, hi, (double)laplace_clamp(&m, bits));
        }
        break;
    case QN_RULE_ACIQ:
        aciq_range(lo, hi, &m, f);
        break;
    case QN_RULE_ACIQ_GELU:
        clip(lo, hi, (double)gelu_clamp(&m, bits));
        break;
    case QN_RULE_DS_ACIQ:
        if (*lo < *hi) {
            clip(lo, hi, (double)ds_clamp_of_bins(b, &m, bits));
        }
        break;
    case QN_RULE_RANGE:
        *lo = rule->lo, *hi = rule->hi;
        break;
    default:
        break;
    }
}

bool qn_rule_searches(const qn_fit_rule *rule)
{
    return rule->kind == QN_RULE_MSE || rule->kind == QN_RULE_L1 || rule->kind == QN_RULE_KL;
}
