/* Histograms whose bins are [k, k+1) * 2^e for consecutive k. The exponent e is the least one for which the bins
 * suffice and k stays exact in a double; both depend on the least and the greatest value alone, and going from e to e+1
 * maps bin k to floor(k / 2): so the counts depend on the values alone, in whatever order they came. */
#include "format/histogram.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "format/round.h"
#include "format/values.h"

enum { DEFAULT_BINS = 2048, BINS_MIN = 16, BINS_MAX = 65536, INDEX_BITS = 50 };
static const int64_t INDEX_MAX = INT64_C(1) << INDEX_BITS;

struct qn_histogram {
    int n_bins;
    int n_stored; /* of them in counts: all, but in a histogram that was made of counts and never changes */
    int64_t n, n_zeros;
    double min, max;
    int exponent;      /* bins are 2^exponent wide */
    int64_t first_bin; /* of counts[0] */
    int64_t counts[];
};

qn_status qn_histogram_new(qn_histogram **histogram, int n_bins, qn_error *err)
{
    n_bins = n_bins == 0 ? DEFAULT_BINS : n_bins;
    if (n_bins < BINS_MIN || n_bins > BINS_MAX) {
        return qn_fail(err, QN_EINVAL, NULL, "a histogram of %d bins; legal is %d to %d", n_bins, BINS_MIN, BINS_MAX);
    }
    size_t n_bytes = sizeof(qn_histogram) + (size_t)n_bins * sizeof(int64_t);
    qn_histogram *h = qn_alloc(n_bytes);
    if (h == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    h->n_bins = h->n_stored = n_bins;
    *histogram = h;
    return QN_OK;
}

static int64_t bin_of(double x, int exponent)
{
    return (int64_t)floor(ldexp(x, -exponent));
}

/* The sum of the counts; false when one is negative, an end is 0, or the sum overflows. */
static bool sum_counts(int64_t *sum, const qn_histogram_view *view)
{
    bool legal =
        view->n_zeros >= 0 && (view->n_bins == 0 || (view->counts[0] > 0 && view->counts[view->n_bins - 1] > 0));
    *sum = view->n_zeros;
    for (int i = 0; legal && i < view->n_bins; i++) {
        legal = view->counts[i] >= 0 && !__builtin_add_overflow(*sum, view->counts[i], sum);
    }
    return legal;
}

qn_status qn_histogram_of_counts(qn_histogram **histogram, const qn_histogram_view *view, int n_bins, const char *where,
                                 qn_error *err)
{
    enum { EXPONENT_MAX = 1000 };
    int exponent = 0;
    int64_t n;
    if (view->n_bins < 0 || view->n_bins > n_bins || !sum_counts(&n, view) || n != view->n) {
        return qn_fail(
            err, QN_EFORMAT, where,
            "a histogram's counts must be 0 or more, the first and the last above 0, at most %d of them, and "
            "with the zeros add up to n",
            n_bins);
    }
    if (!isfinite(view->min) || !isfinite(view->max) || view->min > view->max || view->first_bin < -INDEX_MAX ||
        view->first_bin > INDEX_MAX ||
        (view->n_bins > 0 && (!(view->width > 0.0) || !isfinite(view->width) || frexp(view->width, &exponent) != 0.5 ||
                              exponent < -EXPONENT_MAX || exponent > EXPONENT_MAX))) {
        return qn_fail(err, QN_EFORMAT, where,
                       "a histogram's bins must be a power of two wide and their indices below 2^%d", INDEX_BITS);
    }
    qn_histogram *h;
    size_t n_bytes = sizeof *h + (size_t)view->n_bins * sizeof(int64_t);
    h = qn_alloc(n_bytes);
    if (h == NULL) {
        return qn_fail_memory(err, where, n_bytes);
    }
    *h = (qn_histogram){.n_bins = n_bins, .n_stored = view->n_bins, .n = n, .n_zeros = view->n_zeros};
    if (view->n_bins > 0) {
        h->exponent = exponent - 1;
        h->first_bin = view->first_bin;
        memcpy(h->counts, view->counts, (size_t)view->n_bins * sizeof(int64_t));
        /* The least and the greatest but for zero, where zeros hide them: a border of their bin. */
        int64_t last_bin = view->first_bin + view->n_bins - 1;
        bool hidden_min = view->n_zeros > 0 && view->min == 0.0, hidden_max = view->n_zeros > 0 && view->max == 0.0;
        h->min = hidden_min ? (double)h->first_bin * view->width : view->min;
        h->max = hidden_max ? (double)last_bin * view->width : view->max;
        if (bin_of(h->min, h->exponent) != h->first_bin || bin_of(h->max, h->exponent) != last_bin) {
            qn_free(h);
            return qn_fail(err, QN_EFORMAT, where, "a histogram's bins do not reach from its min to its max");
        }
    }
    *histogram = h;
    return QN_OK;
}

void qn_histogram_free(qn_histogram *histogram)
{
    qn_free(histogram);
}

/* Least exponent for values from min to max. Widths below 2^-1000 are no use to anyone. */
static int exponent_for(double min, double max, int n_bins)
{
    enum { LEAST = -1000 };
    double greatest = fmax(fabs(min), fabs(max));
    int exponent = greatest > 0.0 ? qn_exponent_of(greatest) - INDEX_BITS : LEAST;
    exponent = exponent < LEAST ? LEAST : exponent;
    while (bin_of(max, exponent) - bin_of(min, exponent) >= n_bins) {
        exponent++;
    }
    return exponent;
}

static int64_t halved(int64_t bin)
{
    return (bin - (bin < 0 ? 1 : 0)) / 2; /* floor */
}

/* Make the bins reach from min to max. Counts are moved within the array: a pair never goes beyond where it was, and
 * counts[0] is placed at the bin of min. */
static void widen(qn_histogram *h, double min, double max)
{
    int exponent = exponent_for(min, max, h->n_bins);
    for (; h->exponent < exponent; h->exponent++) {
        int64_t first = halved(h->first_bin);
        for (int i = 0; i < h->n_bins; i++) {
            int64_t to = halved(h->first_bin + i) - first, count = h->counts[i];
            h->counts[i] = 0;
            h->counts[to] += count;
        }
        h->first_bin = first;
    }
    int64_t lower = h->first_bin - bin_of(min, h->exponent);
    if (lower > 0) { /* the counts up to the old max still fit */
        memmove(h->counts + lower, h->counts, (size_t)(h->n_bins - lower) * sizeof h->counts[0]);
        memset(h->counts, 0, (size_t)lower * sizeof h->counts[0]);
        h->first_bin -= lower;
    }
}

/* Let the histogram take values from min to max. */
static void reach(qn_histogram *h, double min, double max)
{
    if (h->n == h->n_zeros) { /* nothing is in bins yet */
        h->exponent = exponent_for(min, max, h->n_bins);
        h->first_bin = bin_of(min, h->exponent);
        h->min = min, h->max = max;
        return;
    }
    h->min = fmin(h->min, min), h->max = fmax(h->max, max);
    widen(h, h->min, h->max);
}

void qn_histogram_count(qn_histogram *h, const double *x, int64_t n)
{
    double min = INFINITY, max = -INFINITY;
    int64_t n_zeros = 0;
    for (int64_t i = 0; i < n; i++) {
        if (x[i] == 0.0) {
            n_zeros++;
            continue;
        }
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
    }
    if (n_zeros < n) {
        reach(h, min, max);
    }
    for (int64_t i = 0; i < n; i++) {
        if (x[i] != 0.0) {
            h->counts[bin_of(x[i], h->exponent) - h->first_bin]++;
        }
    }
    h->n += n;
    h->n_zeros += n_zeros;
}

qn_status qn_histogram_add(qn_histogram *h, const qn_tensor *x, qn_nan_policy nan, qn_inf_policy inf, qn_error *err)
{
    bool has_nan;
    QN_TRY(qn_values_check(x, nan, inf, &has_nan, err));
    qn_values values;
    QN_TRY(qn_values_gather(&values, x, -1, 0, err));
    qn_histogram_count(h, values.x, values.start[1]);
    qn_values_free(&values);
    return QN_OK;
}

qn_status qn_histogram_merge(qn_histogram *h, const qn_histogram *other, qn_error *err)
{
    if (h->n_bins != other->n_bins) {
        return qn_fail(err, QN_EINVAL, NULL, "histograms of %d and %d bins cannot be merged", h->n_bins, other->n_bins);
    }
    if (other->n > other->n_zeros) {
        reach(h, other->min, other->max);
        for (int i = 0; i < other->n_stored; i++) {
            if (other->counts[i] > 0) {
                int64_t bin = other->first_bin + i;
                for (int e = other->exponent; e < h->exponent; e++) {
                    bin = halved(bin);
                }
                h->counts[bin - h->first_bin] += other->counts[i];
            }
        }
    }
    h->n += other->n;
    h->n_zeros += other->n_zeros;
    return QN_OK;
}

void qn_histogram_get(qn_histogram_view *view, const qn_histogram *h)
{
    *view = (qn_histogram_view){.n = h->n, .n_zeros = h->n_zeros, .counts = h->counts};
    if (h->n == h->n_zeros) {
        return;
    }
    view->min = h->n_zeros > 0 ? fmin(h->min, 0.0) : h->min;
    view->max = h->n_zeros > 0 ? fmax(h->max, 0.0) : h->max;
    view->width = ldexp(1.0, h->exponent);
    view->first_bin = h->first_bin;
    view->n_bins = (int)(bin_of(h->max, h->exponent) - h->first_bin) + 1;
}

static void add_bin(qn_bins *bins, double x, int64_t count)
{
    bins->x[bins->n] = x;
    bins->count[bins->n++] = (double)count;
}

qn_status qn_histogram_bins_alloc(qn_bins *bins, void **memory, const qn_histogram *h, qn_error *err)
{
    size_t n_most = (size_t)h->n_stored + 1, n_bytes = 2 * n_most * sizeof(double);
    double *x = qn_alloc(n_bytes);
    if (x == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    *memory = x;
    qn_histogram_view view;
    qn_histogram_get(&view, h);
    *bins = (qn_bins){.x = x, .count = x + n_most, .min = view.min, .max = view.max, .width = view.width};
    bool zeros_due = view.n_zeros > 0;
    for (int i = 0; i < view.n_bins; i++) {
        if (zeros_due && view.first_bin + i >= 0) {
            add_bin(bins, 0.0, view.n_zeros);
            zeros_due = false;
        }
        if (view.counts[i] > 0) {
            double middle = ((double)(view.first_bin + i) + 0.5) * view.width;
            add_bin(bins, fmin(fmax(middle, view.min), view.max), view.counts[i]);
        }
    }
    if (zeros_due) {
        add_bin(bins, 0.0, view.n_zeros);
    }
    return QN_OK;
}

void qn_bins_clamp(qn_bins *bins, double lo, double hi)
{
    int n = 0;
    for (int i = 0; i < bins->n; i++) {
        double x = fmin(fmax(bins->x[i], lo), hi), count = bins->count[i];
        if (n > 0 && bins->x[n - 1] == x) {
            bins->count[n - 1] += count;
            continue;
        }
        bins->x[n] = x;
        bins->count[n++] = count;
    }
    bins->n = n;
    bins->min = fmin(fmax(bins->min, lo), hi);
    bins->max = fmin(fmax(bins->max, lo), hi);
}
