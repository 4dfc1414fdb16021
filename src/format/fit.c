/* Parameters from values: a tensor's set by set, or a histogram's. A rule gives a range, the format's row parameters for
 * it; or the row makes them from the values, where the format's fit needs those. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "format/histogram.h"
#include "format/quantizer.h"
#include "format/row.h"
#include "format/values.h"

void qn_fit_options_init(qn_fit_options *options)
{
    *options = (qn_fit_options){.struct_size = sizeof *options, .axis = -1};
}

/* Parameters are f32, and so is what they are made of. */
static void hold_values(const qn_format *f, double *x, int64_t n)
{
    const double reach = qn_params_reach(f);
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] > reach ? reach : x[i] < -reach ? -reach : x[i];
    }
}

/* Parameters from n > 0 values, which may be changed; false when the format makes none of values. */
static bool params_of_values(qn_params *params, const qn_format *f, double *x, int64_t n)
{
    const qn_format_row *row = qn_format_row_of(f->kind);
    if (row->from_values == NULL) {
        return false;
    }
    hold_values(f, x, n);
    bool made = row->from_values(params, f, x, n);
    qn_params_hold(params);
    return made;
}

/* n > 0 values, which may be reordered. */
static qn_status fit_values(qn_params *params, const qn_format *f, const qn_fit_rule *rule, double *x, int64_t n,
                            qn_error *err)
{
    *params = qn_format_params_neutral();
    if (rule->kind == QN_RULE_FORMAT && params_of_values(params, f, x, n)) {
        return QN_OK;
    }
    if (qn_rule_searches(rule)) {
        return qn_search_values(params, f, rule, x, n, err);
    }
    double lo, hi;
    qn_range_of_values(&lo, &hi, rule, f, x, n);
    qn_params_of_range(params, f, rule, lo, hi);
    return QN_OK;
}

static qn_status fit_sets(qn_quantizer *q, int rank, const qn_values *values, const qn_fit_rule *rule, qn_error *err)
{
    const qn_format_row *row = qn_format_row_of(q->format.kind);
    if (rule->kind == QN_RULE_FORMAT && row->from_tensor != NULL) {
        hold_values(&q->format, values->x, values->start[values->n_sets]);
        if (row->from_tensor(q, rank, values)) {
            return QN_OK;
        }
    }
    for (int64_t set = 0; set < values->n_sets; set++) {
        int64_t n = values->start[set + 1] - values->start[set];
        if (n == 0) {
            continue; /* neutral */
        }
        qn_params params;
        QN_TRY(fit_values(&params, &q->format, rule, values->x + values->start[set], n, err));
        qn_quantizer_set(q, set, params);
    }
    return QN_OK;
}

void qn_fit_values(qn_quantizer *q, int rank, const qn_values *values)
{
    static const qn_fit_rule format_rule = {.kind = QN_RULE_FORMAT};
    (void)!fit_sets(q, rank, values, &format_rule, NULL); /* only searches can fail */
}

bool qn_fit_is_of_range(const qn_format *f)
{
    const qn_format_row *row = qn_format_row_of(f->kind);
    qn_params params = qn_format_params_neutral();
    double zero = 0.0;
    return row->from_values == NULL || !row->from_values(&params, f, &zero, 1);
}

void qn_fit_range(qn_params *params, const qn_format *f, double lo, double hi)
{
    static const qn_fit_rule format_rule = {.kind = QN_RULE_FORMAT};
    qn_params_of_range(params, f, &format_rule, lo, hi);
}

/* The parameters of a file, which must be for this format and shape. */
static qn_status read_params(qn_quantizer **q, const qn_tensor *x, qn_format format, const qn_fit_options *o,
                             const char *path, qn_error *err)
{
    qn_quantizer *stored;
    QN_TRY(qn_quantizer_read_json(&stored, NULL, NULL, path, err));
    qn_status status = qn_quantizer_check(stored, x->rank, x->dims, path, err);
    bool any_granularity = o->axis == -1 && o->group == 0;
    if (status == QN_OK && !qn_format_equal(stored->format, format)) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, stored->format);
        status = qn_fail(err, QN_EINVAL, path, "these parameters are for %s", name);
    } else if (status == QN_OK && !any_granularity && (stored->axis != o->axis || stored->group != o->group)) {
        status = qn_fail(err, QN_EINVAL, path, "these parameters are for axis %d and groups of %lld", stored->axis,
                         (long long)stored->group);
    }
    if (status != QN_OK) {
        qn_quantizer_free(stored);
        return status;
    }
    *q = stored;
    return QN_OK;
}

qn_status qn_fit(qn_quantizer **q, const qn_tensor *x, qn_format format, const qn_fit_options *options, qn_error *err)
{
    qn_fit_options o;
    qn_fit_options_init(&o);
    if (options != NULL) {
        QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_fit_options_init", err));
        o = *options;
    }
    qn_fit_rule rule = {0};
    if (o.rule != NULL) {
        QN_TRY(qn_fit_rule_parse(&rule, o.rule, err));
    }
    bool has_nan;
    QN_TRY(qn_values_check(x, o.nan, o.inf, &has_nan, err));
    if (rule.kind == QN_RULE_PARAMS) {
        return read_params(q, x, format, &o, rule.path, err);
    }
    qn_quantizer *result;
    QN_TRY(qn_quantizer_new(&result, format, o.axis, o.group, x->rank, x->dims, err));
    qn_values values;
    qn_status status = qn_values_gather(&values, x, result->axis, result->group, err);
    if (status == QN_OK) {
        status = fit_sets(result, x->rank, &values, &rule, err);
        qn_values_free(&values);
    }
    if (status != QN_OK) {
        qn_quantizer_free(result);
        return status;
    }
    *q = result;
    return QN_OK;
}

/* Values that stand for bins: each middle as often as its share of at most MOST values. *n starts at 0. */
static qn_status values_of_bins(double **x, int64_t *n, const qn_bins *bins, qn_error *err)
{
    static const double MOST = 65536.0;
    double total = 0.0;
    for (int i = 0; i < bins->n; i++) {
        total += bins->count[i];
    }
    double share = total > MOST ? MOST / total : 1.0;
    size_t n_bytes = ((size_t)MOST + (size_t)bins->n) * sizeof(double);
    *x = qn_alloc(n_bytes);
    if (*x == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    for (int i = 0; i < bins->n; i++) {
        int64_t copies = (int64_t)fmax(floor(bins->count[i] * share), 1.0);
        double value = i == 0 ? bins->min : i == bins->n - 1 ? bins->max : bins->x[i];
        for (int64_t k = 0; k < copies; k++) {
            (*x)[(*n)++] = value;
        }
    }
    return QN_OK;
}

static qn_status fit_bins(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const qn_bins *bins,
                          qn_error *err)
{
    const qn_format_row *row = qn_format_row_of(f->kind);
    if (qn_rule_searches(rule)) {
        return qn_search_bins(params, f, rule, bins, err);
    }
    if (rule->kind == QN_RULE_FORMAT && row->from_values != NULL) {
        double *x;
        int64_t n = 0;
        QN_TRY(values_of_bins(&x, &n, bins, err));
        bool done = params_of_values(params, f, x, n);
        qn_free(x);
        if (done) {
            return QN_OK;
        }
        *params = qn_format_params_neutral();
    }
    double lo, hi;
    qn_range_of_bins(&lo, &hi, rule, f, bins);
    qn_params_of_range(params, f, rule, lo, hi);
    return QN_OK;
}

qn_status qn_fit_histogram_clamped(qn_params *params, qn_format format, const qn_fit_rule *rule,
                                   const qn_histogram *histogram, double lo, double hi, qn_error *err)
{
    QN_TRY(qn_format_check(format, NULL, err));
    if (rule->kind == QN_RULE_PARAMS) {
        return qn_fail(err, QN_EINVAL, NULL, "a file of parameters cannot be fitted to a histogram");
    }
    qn_bins bins;
    void *memory;
    QN_TRY(qn_histogram_bins_alloc(&bins, &memory, histogram, err));
    qn_bins_clamp(&bins, lo, hi);
    qn_params result = qn_format_params_neutral();
    qn_status status = bins.n > 0 ? fit_bins(&result, &format, rule, &bins, err) : QN_OK;
    qn_free(memory);
    if (status == QN_OK) {
        *params = result;
    }
    return status;
}

qn_status qn_fit_histogram(qn_params *params, qn_format format, const qn_fit_rule *rule, const qn_histogram *histogram,
                           qn_error *err)
{
    return qn_fit_histogram_clamped(params, format, rule, histogram, -INFINITY, INFINITY, err);
}
