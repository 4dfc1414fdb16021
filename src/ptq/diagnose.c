/* Likely reasons why a node suffers from quantization, for the table of sensitivities. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ptq/ptq.h"

/* What counts as conspicuous: ratios. A channel 16 times smaller than the greatest has 4 of 8 bits left. */
static const double uneven_channels = 16, uneven_join = 4, weight_outlier = 10, value_outlier = 100;

typedef struct {
    const qn_ptq *ptq;
    char *text;
    size_t n, used;
    qn_error *err;
} report;

/* Whole sentences only. */
QN_PRINTF(2, 3)
static void say(report *r, const char *format, ...)
{
    char sentence[256];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    const char *between = r->used > 0 ? "; " : "";
    if (r->used + strlen(between) + strlen(sentence) < r->n) {
        r->used += (size_t)snprintf(r->text + r->used, r->n - r->used, "%s%s", between, sentence);
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of magnitudes: how many are 0, and the greatest over the median of the others. */
typedef struct {
    int64_t n_dead;
    double spread;
    int64_t greatest;
} spread;

static qn_status spread_of(report *r, spread *s, const float *magnitudes, int64_t n)
{
    *s = (spread){.spread = 1};
    float *sorted = qn_alloc((size_t)n * sizeof *sorted);
    if (sorted == NULL) {
        return qn_fail_memory(r->err, NULL, (size_t)n * sizeof *sorted);
    }
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = magnitudes[i];
        s->n_dead += !(magnitudes[i] > 0);
        s->greatest = magnitudes[i] > magnitudes[s->greatest] ? i : s->greatest;
    }
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    int64_t alive = n - s->n_dead;
    if (alive > 0) {
        s->spread = (double)sorted[n - 1] / (double)sorted[s->n_dead + (alive - 1) / 2];
    }
    qn_free(sorted);
    return QN_OK;
}

static const qn_range *range_of(const report *r, qn_value_id id)
{
    return r->ptq->calibration != NULL && id != QN_NO_VALUE
               ? qn_calibration_find(r->ptq->calibration, r->ptq->graph->values[id].name)
               : NULL;
}

static qn_status look_at_value(report *r, qn_value_id id, const char *role)
{
    const qn_range *range = range_of(r, id);
    if (range == NULL) {
        return QN_OK;
    }
    if (range->min == range->max) {
        say(r, "%s is always %.4g", role, (double)range->min);
        return QN_OK;
    }
    const double ratio = qn_range_outlier_ratio(range);
    if (ratio > value_outlier) {
        say(r, "%s has outliers: the greatest is %.0f times what 99.99 %% of its elements stay below", role, ratio);
    }
    if (range->n_channels < 2 || range->absmax == NULL) {
        return QN_OK;
    }
    spread s;
    QN_TRY(spread_of(r, &s, range->absmax, range->n_channels));
    if (s.spread > uneven_channels) {
        say(r, "%s channels uneven: channel %lld is %.0f times the median", role, (long long)s.greatest, s.spread);
    }
    if (s.n_dead > 0) {
        say(r, "%s has %lld of %lld channels that are always 0", role, (long long)s.n_dead,
            (long long)range->n_channels);
    }
    return QN_OK;
}

static double width_of(const qn_range *range)
{
    double lo = range->min < 0 ? (double)range->min : 0, hi = range->max > 0 ? (double)range->max : 0;
    return hi - lo;
}

static void look_at_join(report *r, const qn_node *node)
{
    double least = INFINITY, most = 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const qn_range *range = range_of(r, node->inputs[i]);
        double width = range != NULL ? width_of(range) : 0;
        least = width > 0 && width < least ? width : least;
        most = width > most ? width : most;
    }
    if (most > uneven_join * least) {
        say(r, "joins ranges of unequal width: %.4g and %.4g", least, most);
    }
}

/* Greatest magnitude per output channel, and the greatest ratio of a weight to its channel's RMS. */
static double measure_weights(const qn_tensor *t, int axis, float *absmax, int64_t *channel)
{
    const float *w = t->data;
    int64_t n = t->dims[axis], inner = 1, count = qn_tensor_count(t);
    double most = 0;
    for (int d = axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    for (int64_t c = 0; c < n; c++) {
        double sum = 0;
        for (int64_t i = 0; i < count / n; i++) {
            float a = fabsf(w[(i / inner * n + c) * inner + i % inner]);
            sum += (double)a * (double)a;
            absmax[c] = a > absmax[c] ? a : absmax[c];
        }
        double ratio = sum > 0 ? (double)absmax[c] / sqrt(sum / (double)(count / n)) : 0;
        *channel = ratio > most ? c : *channel;
        most = ratio > most ? ratio : most;
    }
    return most;
}

static qn_status look_at_weights(report *r, const qn_node *node)
{
    const qn_tensor *t = qn_ptq_float_constant(r->ptq->graph, node->inputs[1]);
    int axis = qn_ptq_channel_axis(node);
    if (t == NULL || t->rank <= axis || qn_tensor_count(t) == 0) {
        return QN_OK;
    }
    for (const qn_ptq_note *note = r->ptq->notes; note != NULL; note = note->next) {
        if (note->value == node->inputs[1] && note->n_raised > 0) {
            say(r, "large biases raised the weight scale of %lld of %lld channels", (long long)note->n_raised,
                (long long)t->dims[axis]);
        }
    }
    float *absmax = qn_alloc((size_t)t->dims[axis] * sizeof *absmax);
    if (absmax == NULL) {
        return qn_fail_memory(r->err, NULL, (size_t)t->dims[axis] * sizeof *absmax);
    }
    int64_t channel = 0;
    spread s;
    double ratio = measure_weights(t, axis, absmax, &channel);
    qn_status status = spread_of(r, &s, absmax, t->dims[axis]);
    qn_free(absmax);
    QN_TRY(status);
    if (ratio > weight_outlier) {
        say(r, "a weight of channel %lld is %.0f times the channel's RMS", (long long)channel, ratio);
    }
    if (s.spread > uneven_channels) {
        say(r, "weights uneven: channel %lld is %.0f times the median", (long long)s.greatest, s.spread);
    }
    if (s.n_dead > 0) {
        say(r, "%lld of %lld channels have no weights", (long long)s.n_dead, (long long)t->dims[axis]);
    }
    return QN_OK;
}

qn_status qn_ptq_diagnose(const qn_ptq *ptq, const qn_node *node, char *text, size_t n, qn_error *err)
{
    report r = {.ptq = ptq, .text = text, .n = n, .err = err};
    const qn_ptq_rule *rule = qn_ptq_rule_of(node->op);
    text[0] = '\0';
    if (rule->joins) {
        look_at_join(&r, node);
    }
    if (rule->has_weights) {
        QN_TRY(look_at_weights(&r, node));
        QN_TRY(look_at_value(&r, node->inputs[0], "input"));
    }
    return node->n_outputs > 0 ? look_at_value(&r, node->outputs[0], "output") : QN_OK;
}
