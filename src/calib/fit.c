/* Parameters for a value by a range rule, from what calibration kept. */
#include <math.h>

#include "calib/calib.h"
#include "format/histogram.h"

/* Rules that need no more than the range do without a histogram. */
static qn_status fit_range(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const qn_range *range,
                           double lo, double hi, qn_error *err)
{
    double min = fmin(fmax((double)range->min, lo), hi), max = fmin(fmax((double)range->max, lo), hi);
    double m = fmax(fabs(min), fabs(max));
    QN_TRY(qn_format_check(*f, NULL, err));
    switch (rule->kind) {
    case QN_RULE_FORMAT:
    case QN_RULE_MINMAX:
        qn_params_of_range(params, f, rule, min, max);
        return QN_OK;
    case QN_RULE_ABSMAX:
        qn_params_of_range(params, f, rule, -m, m);
        return QN_OK;
    case QN_RULE_RANGE:
        qn_params_of_range(params, f, rule, rule->lo, rule->hi);
        return QN_OK;
    default:
        return qn_fail(err, QN_EINVAL, range->value_name,
                       "the calibration has no histogram of this value, which the rule needs; calibrate again, or use "
                       "minmax");
    }
}

qn_status qn_calibration_fit(const qn_calibration *calibration, const char *value_name, qn_format format,
                             const char *rule, double lo, double hi, qn_params *params, qn_error *err)
{
    const qn_range *range = qn_calibration_find(calibration, value_name);
    if (range == NULL) {
        return qn_fail(err, QN_EINVAL, value_name, "the calibration has no value of this name");
    }
    if (!(lo <= hi)) {
        return qn_fail(err, QN_EINVAL, value_name, "the clamp from %g to %g is empty", lo, hi);
    }
    qn_fit_rule parsed;
    QN_TRY(qn_fit_rule_parse(&parsed, rule, err));
    if (range->histogram == NULL) {
        return fit_range(params, &format, &parsed, range, lo, hi, err);
    }
    return qn_fit_histogram_clamped(params, format, &parsed, range->histogram, lo, hi, err);
}

/* The greatest magnitude that bin i may hold. */
static double outer_edge(const qn_histogram_view *v, int i)
{
    double bin = (double)(v->first_bin + i);
    return fmax(fabs(bin), fabs(bin + 1.0)) * v->width;
}

double qn_range_outlier_ratio(const qn_range *range)
{
    static const double SHARE = 1e-4; /* of the values that are above the quantile */
    double greatest = fmax(fabs((double)range->min), fabs((double)range->max));
    if (range->histogram == NULL || greatest == 0.0) {
        return 1.0;
    }
    qn_histogram_view v;
    qn_histogram_get(&v, range->histogram);
    double above = floor(SHARE * (double)v.n), n = 0.0, edge = greatest;
    /* Bins from the greatest magnitude inwards, until more values are in them than may be above the quantile. */
    for (int low = 0, high = v.n_bins - 1; low <= high && n <= above;) {
        double lowest = outer_edge(&v, low), highest = outer_edge(&v, high);
        edge = fmin(edge, fmax(lowest, highest));
        n += (double)v.counts[lowest > highest ? low++ : high--];
    }
    /* When the quantile is a zero, the least bin is as much as the histogram can tell. */
    return greatest / (n > above ? edge : fmin(v.width, greatest));
}
