/* Rounding with error feedback: GPTQ, which is Babai's nearest plane in the lattice of the weights.
 *
 * GPTQ takes the Cholesky factor of H^-1 and after rounding weight i subtracts its error from those that follow. The same
 * numbers come from a factor of H itself. With H = L L' in ascending order, the loss of an error e is |y|^2 with
 * y_i = sum over j >= i of L_ji e_j: going from the last weight to the first, y_i depends on weights that are settled but
 * for e_i, and rounding target_i + (sum over j > i of L_ji e_j) / L_ii makes |y_i| least. No inverse is needed, and
 * the loss comes with it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ptq/rounding.h"

/* Ascending by diagonal; equal ones keep their order. */
static int compare_diagonals(const void *a, const void *b)
{
    const double *x = a, *y = b;
    if (x[0] != y[0]) {
        return x[0] < y[0] ? -1 : 1;
    }
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static qn_status sort_inputs(qn_round_metric *metric, const double *h, const char *where, qn_error *err)
{
    int64_t k = metric->k;
    double *pairs = qn_alloc((size_t)k * 2 * sizeof *pairs);
    if (pairs == NULL) {
        return qn_fail_memory(err, where, (size_t)k * 2 * sizeof *pairs);
    }
    for (int64_t i = 0; i < k; i++) {
        pairs[2 * i] = h[i * k + i];
        pairs[2 * i + 1] = (double)i;
    }
    qsort(pairs, (size_t)k, 2 * sizeof *pairs, compare_diagonals);
    for (int64_t i = 0; i < k; i++) {
        metric->order[i] = (int64_t)pairs[2 * i + 1];
    }
    qn_free(pairs);
    return QN_OK;
}

/* Eight running sums, so that the order is the same however wide the vectors are. */
static double dot(const double *a, const double *b, int64_t n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            sum[l] += a[i + l] * b[i + l];
        }
    }
    for (int l = 0; i < n; i++, l++) {
        sum[l] += a[i] * b[i];
    }
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* lower lower' = h in order; false when a pivot is not safely positive. A few rows go along together, so that those above
 * are read once for all of them. */
static bool factor(qn_round_metric *metric, double tiny)
{
    enum { PANEL = 8 };
    int64_t k = metric->k;
    double *l = metric->lower;
    for (int64_t first = 0; first < k; first += PANEL) {
        int64_t last = first + PANEL < k ? first + PANEL : k;
        for (int64_t j = 0; j < last; j++) {
            for (int64_t i = first > j ? first : j; i < last; i++) {
                double h = metric->h[metric->order[i] * k + metric->order[j]];
                double rest = h - dot(l + i * k, l + j * k, j);
                if (i == j && !(rest > tiny)) {
                    return false;
                }
                l[i * k + j] = i == j ? sqrt(rest) : rest / l[j * k + j];
            }
        }
    }
    return true;
}

static double mean_diagonal(const double *h, int64_t k)
{
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
        sum += h[i * k + i];
    }
    return sum / (double)k;
}

static void damp_diagonal(qn_round_metric *metric, const double *h, double damping)
{
    for (int64_t i = 0; i < metric->k; i++) {
        metric->h[i * metric->k + i] = h[i * metric->k + i] + damping;
    }
    metric->damping = damping;
}

static qn_status fill(qn_round_metric *metric, const double *h, double damp, const char *where, qn_error *err)
{
    enum { ATTEMPTS = 12 };
    int64_t k = metric->k;
    double mean = mean_diagonal(h, k);
    if (!(mean >= 0 && mean <= DBL_MAX)) {
        return qn_fail(err, QN_ERANGE, where, "the inputs' products are not finite");
    }
    mean = mean > 0 ? mean : 1; /* inputs that are always 0: every rounding is as good */
    memcpy(metric->h, h, (size_t)k * (size_t)k * sizeof *h);
    QN_TRY(sort_inputs(metric, h, where, err));
    for (int attempt = 0; attempt < ATTEMPTS; attempt++, damp *= 10) {
        damp_diagonal(metric, h, damp * mean);
        if (factor(metric, mean * 0x1p-50)) {
            return QN_OK;
        }
    }
    return qn_fail(err, QN_ERANGE, where, "the inputs' products are not a matrix of sums of squares");
}

qn_status qn_round_metric_make(qn_round_metric *metric, const double *h, int64_t k, double damp, const char *where,
                               qn_error *err)
{
    size_t n_bytes;
    *metric = (qn_round_metric){.k = k};
    if (k < 1 || !qn_mul_size((size_t)k, (size_t)k, &n_bytes) || !qn_mul_size(n_bytes, sizeof(double), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, where, "too many inputs per channel");
    }
    metric->h = qn_alloc_uncleared(n_bytes);
    metric->lower = qn_alloc_uncleared(n_bytes);
    metric->order = qn_alloc((size_t)k * sizeof *metric->order);
    qn_status status = metric->h == NULL || metric->lower == NULL || metric->order == NULL
                           ? qn_fail_memory(err, where, n_bytes)
                           : fill(metric, h, damp, where, err);
    if (status != QN_OK) {
        qn_round_metric_free(metric);
    }
    return status;
}

void qn_round_metric_free(qn_round_metric *metric)
{
    qn_free(metric->h);
    qn_free(metric->lower);
    qn_free(metric->order);
    *metric = (qn_round_metric){0};
}

/* Rows in the outer loops, so that a few channels read each row of the matrices once. */
static void solve_targets(double *target, const qn_round_metric *metric, const double *g, const double *w, int64_t n,
                          double *work)
{
    int64_t k = metric->k;
    const double *l = metric->lower;
    for (int64_t i = 0; i < k; i++) { /* L y = (G + damping) w */
        int64_t row = metric->order[i];
        for (int64_t c = 0; c < n; c++) {
            double *y = work + c * k, right = dot(g + row * k, w + c * k, k) + metric->damping * w[c * k + row];
            y[i] = (right - dot(l + i * k, y, i)) / l[i * k + i];
        }
    }
    for (int64_t i = k - 1; i >= 0; i--) { /* L' t = y */
        for (int64_t c = 0; c < n; c++) {
            double *y = work + c * k, t = y[i] / l[i * k + i];
            target[c * k + metric->order[i]] = t;
#pragma omp simd
            for (int64_t j = 0; j < i; j++) {
                y[j] -= l[i * k + j] * t;
            }
        }
    }
}

void qn_round_targets(double *targets, const qn_round_metric *metric, const double *g, const double *w, int64_t n,
                      double *work)
{
    int64_t k = metric->k;
    if (g == NULL) {
        memcpy(targets, w, (size_t)(n * k) * sizeof *w);
        return;
    }
    for (int64_t c = 0; c < n; c += QN_ROUND_TARGETS_AT_ONCE) {
        int64_t some = n - c < QN_ROUND_TARGETS_AT_ONCE ? n - c : QN_ROUND_TARGETS_AT_ONCE;
        solve_targets(targets + c * k, metric, g, w + c * k, some, work);
    }
}

void qn_round_each(const qn_round_channel *channel, int32_t *codes)
{
    for (int64_t i = 0; i < channel->metric->k; i++) {
        codes[i] = qn_round_nearest(channel->grid, channel->target[i] / channel->scale[i / channel->block]);
    }
}

double qn_round_loss(const qn_round_channel *channel, const int32_t *codes, double *work)
{
    int64_t k = channel->metric->k;
    double loss = 0;
    for (int64_t i = 0; i < k; i++) {
        work[i] = qn_round_value(channel->grid, codes[i]) * channel->scale[i / channel->block] - channel->target[i];
    }
    for (int64_t i = 0; i < k; i++) {
        loss += work[i] * dot(channel->metric->h + i * k, work, k);
    }
    return loss;
}

double qn_round_feed(const qn_round_channel *channel, int32_t *codes, double *work)
{
    int64_t k = channel->metric->k;
    double loss = 0, *owed = work; /* sum over settled j of L_ji (v_j - target_j) */
    memset(owed, 0, (size_t)k * sizeof *owed);
    for (int64_t i = k - 1; i >= 0; i--) {
        const double *l = channel->metric->lower + i * k;
        int64_t input = channel->metric->order[i];
        double scale = channel->scale[input / channel->block];
        int32_t code = qn_round_nearest(channel->grid, (channel->target[input] - owed[i] / l[i]) / scale);
        double error = qn_round_value(channel->grid, code) * scale - channel->target[input];
        double y = owed[i] + l[i] * error;
        codes[input] = code;
        loss += y * y;
#pragma omp simd
        for (int64_t j = 0; j < i; j++) {
            owed[j] += l[j] * error;
        }
    }
    return loss;
}
