/* Inside of fitting: values as arrays, values as bins, and the ranges that rules find in them. */
#ifndef QN_FORMAT_HISTOGRAM_H
#define QN_FORMAT_HISTOGRAM_H

#include "base/error.h"
#include "format/moments.h"
#include "format/values.h"
#include "quern/fit.h"

/* Values as bins that are not empty, in ascending order: `count[i]` values near `x[i]`. */
typedef struct qn_bins {
    int n;
    double *x, *count; /* borrowed */
    double min, max;   /* of the values */
    double width;      /* of all bins but that of the zeros */
} qn_bins;

/* A histogram that never changes, of what a view shows, with room for no more; `n_bins` is what histograms it is merged into
 * have. `where` is for errors: QN_EFORMAT when the parts of the view contradict each other (min and max of zeros alone are 0), QN_ENOMEM. */
qn_status qn_histogram_of_counts(qn_histogram **histogram, const qn_histogram_view *view, int n_bins, const char *where,
                                 qn_error *err);
/* Count n finite values. */
void qn_histogram_count(qn_histogram *histogram, const double *x, int64_t n);
/* Range of n > 0 values by a rule that needs no search; x may be reordered. */
void qn_range_of_values(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, double *x, int64_t n);
/* The same for numbers that stay as they are, by a rule of the ACIQ family. */
void qn_range_of_reals(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, const qn_reals *reals);
/* The same for bins. */
void qn_range_of_bins(double *lo, double *hi, const qn_fit_rule *rule, const qn_format *f, const qn_bins *bins);
/* Does the rule search (mse, l1, kl)? */
bool qn_rule_searches(const qn_fit_rule *rule);

/* The histogram as bins, x being their middles, zeros in a bin of their own, in memory of their own; *memory goes to qn_free. Errors: QN_ENOMEM. */
qn_status qn_histogram_bins_alloc(qn_bins *bins, void **memory, const qn_histogram *histogram, qn_error *err);

/* Are parameters of a range [lo, hi], lo < 0 < hi, made of both ends, so that moving either changes them? */
bool qn_params_see_both_ends(const qn_format *f, double lo, double hi);

/* Move the values below lo and above hi to there; lo <= hi. */
void qn_bins_clamp(qn_bins *bins, double lo, double hi);
/* qn_fit_histogram of the values clamped so. */
qn_status qn_fit_histogram_clamped(qn_params *params, qn_format format, const qn_fit_rule *rule,
                                   const qn_histogram *histogram, double lo, double hi, qn_error *err);

/* Parameters by search over the ranges [a min, b max]. A factor of the rule comes on top of what is found.
 * Errors: QN_ENOMEM. */
qn_status qn_search_values(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const double *x, int64_t n,
                           qn_error *err);
qn_status qn_search_bins(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const qn_bins *bins,
                         qn_error *err);

/* The format's own fit, of all sets of a tensor of this rank; the values may be changed. Never allocates. */
void qn_fit_values(qn_quantizer *q, int rank, const qn_values *values);
/* Does the format's own fit depend on least and greatest value alone, each set by itself? Then qn_fit_range is it. */
bool qn_fit_is_of_range(const qn_format *f);
void qn_fit_range(qn_params *params, const qn_format *f, double lo, double hi);

/* Parameters for a range that a rule gave, whose factor is applied here. */
void qn_params_of_range(qn_params *params, const qn_format *f, const qn_fit_rule *rule, double lo, double hi);
/* The greatest magnitude that parameters are made of: formats with f32 parameters count what is beyond f32 as its
 * greatest number. */
double qn_params_reach(const qn_format *f);
/* Bring the f32 parameters that went to infinity back to the greatest number. */
void qn_params_hold(qn_params *params);

#endif
