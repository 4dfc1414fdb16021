/* How much of a range to keep: searches over c = 0.02 .. 0.99 on histograms of |x| / range. The first minimum wins. The
 * library computes the cost of 0.01, too, but never returns it. */
#include <math.h>
#include <string.h>

#include "ptq/aidge/aidge.h"

enum { N_STEPS = 100 };

int64_t qn_aidge_n_bins(int bits)
{
    return (int64_t)1 << (bits + 4);
}

static double bin_value(int64_t bin, int64_t n_bins)
{
    return ((double)bin + 0.5) / (double)n_bins;
}

static double error_of(double keep, const int64_t *counts, int64_t n_bins, int bits, int exponent)
{
    double scale = qn_aidge_signed_max(bits) / keep, sum = 0;
    for (int64_t bin = 0; bin < n_bins; bin++) {
        double v = bin_value(bin, n_bins);
        double q = round(v * scale) / scale;
        double e = fabs((q < keep ? q : keep) - v);
        sum += (exponent == 2 ? e * e : e) * (double)counts[bin];
    }
    return sum;
}

/* KL(Q || P) over the bins that are kept; what is cut off does not count. `coarse` has 2^(bits-1) - 1 bins. */
static double divergence_of(double keep, const int64_t *counts, int64_t n_bins, double total, int n_coarse,
                            double *coarse)
{
    memset(coarse, 0, (size_t)n_coarse * sizeof *coarse);
    for (int64_t bin = 0; bin < n_bins; bin++) {
        int64_t j = (int64_t)floor(bin_value(bin, n_bins) / keep * n_coarse);
        coarse[j < n_coarse ? j : n_coarse - 1] += (double)counts[bin];
    }
    double norm = 0, sum = 0;
    for (int64_t bin = 0; bin < n_bins; bin++) {
        int64_t j = (int64_t)floor(bin_value(bin, n_bins) / keep * n_coarse);
        norm += j < n_coarse ? coarse[j] : 0;
    }
    for (int64_t bin = 0; bin < n_bins; bin++) {
        int64_t j = (int64_t)floor(bin_value(bin, n_bins) / keep * n_coarse);
        if (j < n_coarse && coarse[j] > 0 && counts[bin] > 0) {
            double p = (double)counts[bin] / total, q = coarse[j] / norm;
            sum += q * log(q / p);
        }
    }
    return sum;
}

double qn_aidge_clip_error(const int64_t *counts, int64_t n_bins, int bits, int exponent)
{
    int best = 0;
    double least = INFINITY;
    for (int step = 2; step < N_STEPS; step++) {
        double error = error_of((double)step / N_STEPS, counts, n_bins, bits, exponent);
        if (error < least || best == 0) {
            least = error;
            best = step;
        }
    }
    return (double)best / N_STEPS;
}

double qn_aidge_clip_divergence(const int64_t *counts, int64_t n_bins, int bits, double *scratch)
{
    double total = 0, least = INFINITY;
    for (int64_t bin = 0; bin < n_bins; bin++) {
        total += (double)counts[bin];
    }
    int best = 0;
    for (int step = 2; step < N_STEPS; step++) {
        double cost =
            divergence_of((double)step / N_STEPS, counts, n_bins, total, (int)qn_aidge_signed_max(bits), scratch);
        if (cost < least || best == 0) {
            least = cost;
            best = step;
        }
    }
    return (double)best / N_STEPS;
}

static double keep_of(qn_aidge_clip clip, const int64_t *counts, int64_t n_bins, int bits, double *scratch)
{
    return clip == QN_AIDGE_CLIP_KL ? qn_aidge_clip_divergence(counts, n_bins, bits, scratch)
                                    : qn_aidge_clip_error(counts, n_bins, bits, clip == QN_AIDGE_CLIP_MSE ? 2 : 1);
}

qn_status qn_aidge_adjust_ranges(qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                 qn_error *err)
{
    if (options->clip == QN_AIDGE_CLIP_MAX) {
        return QN_OK;
    }
    int64_t n_bins = qn_aidge_n_bins(options->bits);
    size_t n_counts = 0, n_bytes = 0;
    bool fits = qn_mul_size((size_t)net->n_nodes, (size_t)n_bins, &n_counts) &&
                qn_mul_size(n_counts, sizeof(int64_t), &n_bytes);
    int64_t *counts = fits ? qn_alloc(n_bytes) : NULL;
    double *scratch = qn_alloc((size_t)n_bins * sizeof *scratch);
    qn_status status = counts != NULL && scratch != NULL ? QN_OK : qn_fail_memory(err, NULL, n_bytes);
    if (status == QN_OK) {
        status = qn_aidge_observe_histograms(net, data, options, n_bins, counts, err);
    }
    for (int k = 0; status == QN_OK && k < net->n_nodes; k++) {
        if (net->nodes[k].op == QN_AIDGE_SCALING) {
            net->nodes[k].range *= keep_of(options->clip, counts + k * n_bins, n_bins, options->bits, scratch);
        }
    }
    qn_free(counts);
    qn_free(scratch);
    return status;
}
