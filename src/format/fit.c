/* Parameters from a tensor: its values set by set, a range from them by the rule, parameters from the range by the
 * format's row (or from the values, where the format's fit needs those). */
#include <math.h>
#include <string.h>

#include "format/quantizer.h"
#include "format/row.h"
#include "format/values.h"

void qn_fit_options_init(qn_fit_options *options)
{
    *options = (qn_fit_options){.struct_size = sizeof *options, .axis = -1};
}

static void range_minmax(double *lo, double *hi, const double *x, int64_t n)
{
    *lo = *hi = x[0];
    for (int64_t i = 1; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

static void range_absmax(double *lo, double *hi, const double *x, int64_t n)
{
    range_minmax(lo, hi, x, n);
    *hi = fmax(fabs(*lo), fabs(*hi));
    *lo = -*hi;
}

static const struct {
    const char *name;
    void (*range)(double *lo, double *hi, const double *x, int64_t n);
} rules[] = {{"minmax", range_minmax}, {"absmax", range_absmax}};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static qn_status find_rule(int *rule, const char *name, qn_error *err)
{
    const char *names[N_RULES];
    for (int i = 0; i < N_RULES; i++) {
        names[i] = rules[i].name;
    }
    return qn_format_text_word(rule, name, names, N_RULES, "range rule", NULL, err);
}

/* `rule` is -1 where the format's own fit decides all. */
static void fit_sets(qn_quantizer *q, const qn_values *values, int rule)
{
    const qn_format_row *row = qn_format_row_of(q->format.kind);
    for (int64_t set = 0; set < values->n_sets; set++) {
        double *x = values->x + values->start[set], lo, hi;
        int64_t n = values->start[set + 1] - values->start[set];
        if (n == 0) {
            continue; /* neutral */
        }
        qn_params params = qn_format_params_neutral();
        if (rule >= 0 || row->from_values == NULL || !row->from_values(&params, &q->format, x, n)) {
            rules[rule >= 0 ? rule : 0].range(&lo, &hi, x, n);
            qn_format_params_from_range(q->format, lo, hi, &params);
        }
        qn_quantizer_set(q, set, params);
    }
}

qn_status qn_fit(qn_quantizer **q, const qn_tensor *x, qn_format format, const qn_fit_options *options, qn_error *err)
{
    qn_fit_options o;
    qn_fit_options_init(&o);
    if (options != NULL) {
        memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    }
    int rule = -1;
    if (o.rule != NULL) {
        QN_TRY(find_rule(&rule, o.rule, err));
    }
    bool has_nan;
    QN_TRY(qn_values_check(x, o.nan, o.inf, &has_nan, err));
    qn_quantizer *result;
    QN_TRY(qn_quantizer_new(&result, format, o.axis, o.group, x->rank, x->dims, err));
    qn_values values;
    qn_status status = qn_values_gather(&values, x, result->axis, result->group, err);
    if (status != QN_OK) {
        qn_quantizer_free(result);
        return status;
    }
    fit_sets(result, &values, rule);
    qn_values_free(&values);
    *q = result;
    return QN_OK;
}
