/* Rates with intervals, and sample sizes. Inside the fault room. Sources: Wilson (JASA 1927), Clopper and Pearson (Biometrika 1934), Leveugle et
 * al. (DATE 2009), Cochran (Sampling Techniques, ch. 5 and 9) for strata and clusters. */
#ifndef QN_FAULT_STATS_H
#define QN_FAULT_STATS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct qn_interval {
    double rate, low, high;
} qn_interval;

/* Quantile of the standard normal, 0 < p < 1, to 1e-14 of itself. */
double qn_normal_quantile(double p);
/* The regularized incomplete beta function I_x(a, b) and its inverse in x; a, b > 0. Reentrant. */
double qn_incomplete_beta(double x, double a, double b);
double qn_beta_quantile(double p, double a, double b);
/* k of n; n = 0 gives rate 0 and 0..1. k and n may be fractional (effective numbers). 0 < confidence < 1. */
qn_interval qn_wilson(double k, double n, double confidence);
qn_interval qn_clopper_pearson(double k, double n, double confidence);
/* Leveugle's sample size for population N (INT64_MAX: infinite), margin e, confidence, assumed rate p; t is not rounded;
 * the result is rounded up and at most N. */
int64_t qn_sample_size(int64_t population, double margin, double confidence, double p);

/* What one stratum has seen: sums over its faults of hits h and pairs m. A fault is a cluster of pairs. */
typedef struct qn_fault_tally {
    int64_t population; /* faults; INT64_MAX: infinite */
    int64_t n_faults;
    int64_t pairs, hits;
    double sum_hh, sum_hm, sum_mm;
} qn_fault_tally;
void qn_fault_tally_add(qn_fault_tally *tally, int64_t hits, int64_t pairs);
/* The rate over strata, each weighted by its population times its mean pairs per fault (strata of infinite population:
 * by their pairs), with an interval from the variance between faults (clusters), finite population and effective numbers.
 * Exact (low = high) when every stratum was exhausted. With few faults, or faults that are all alike, no more is claimed than
 * as many all-or-nothing trials as there are faults would tell; a finite stratum of which no fault was seen may be anything. See stats.c.
 * clopper: Clopper-Pearson on effective numbers, else Wilson (of few hits or misses whichever is wider). */
qn_interval qn_fault_rate(const qn_fault_tally *strata, int n, double confidence, bool clopper);

#endif
