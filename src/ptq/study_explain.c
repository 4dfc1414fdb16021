/* Why a node loses accuracy when it is quantized: what stands out most in its ranges and scales. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ptq/study.h"

enum { TEXT_MAX = 128, CAUSES_MAX = 8, CAUSES_TOLD = 2 };

/* Something conspicuous: `weight` is how many times it exceeds what is usual. */
typedef struct {
    double weight;
    char text[TEXT_MAX];
} cause;

typedef struct {
    const qn_study *study;
    const qn_graph *graph;
    const qn_quantize_report *report;
    const qn_node *node;
    cause causes[CAUSES_MAX];
    int n;
} inquiry;

static void add(inquiry *q, double value, double usual, const char *format, ...) QN_PRINTF(4, 5);
static void add(inquiry *q, double value, double usual, const char *format, ...)
{
    if (q->n == CAUSES_MAX || !(value > usual)) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(q->causes[q->n].text, TEXT_MAX, format, args);
    va_end(args);
    q->causes[q->n++].weight = value / usual;
}

static const qn_range *range_of(const inquiry *q, qn_value_id id)
{
    return id != QN_NO_VALUE ? qn_calibration_find(q->study->calibration, q->graph->values[id].name) : NULL;
}

/* Values whose range a few elements take. */
static void look_for_outliers(inquiry *q, qn_value_id id, const char *which)
{
    const qn_range *range = range_of(q, id);
    const double ratio = range != NULL ? qn_range_outlier_ratio(range) : 1;
    add(q, ratio, 2, "outliers in its %s: the greatest is %.3g times the 99.99 %% quantile", which, ratio);
}

static int64_t count_dead(const qn_range *range)
{
    int64_t dead = 0;
    for (int64_t c = 0; c < range->n_channels; c++) {
        dead += range->absmax[c] == 0;
    }
    return dead;
}

/* The greatest channel over the mean of the channels that live. */
static double imbalance(const float *absmax, int64_t n)
{
    double sum = 0, most = 0;
    int64_t alive = 0;
    for (int64_t c = 0; c < n; c++) {
        sum += (double)absmax[c];
        most = (double)absmax[c] > most ? (double)absmax[c] : most;
        alive += absmax[c] > 0;
    }
    return alive > 0 ? most * (double)alive / sum : 1;
}

static void look_at_channels(inquiry *q, qn_value_id id, const char *which)
{
    const qn_range *range = range_of(q, id);
    if (range == NULL || range->absmax == NULL || range->n_channels < 2) {
        return;
    }
    const int64_t dead = count_dead(range);
    const double ratio = imbalance(range->absmax, range->n_channels);
    add(q, ratio, 4, "channels of its %s are unequal: the greatest has %.3g times the mean range", which, ratio);
    add(q, (double)dead / (double)range->n_channels, 0.25, "%lld of %lld channels of its %s are dead", (long long)dead,
        (long long)range->n_channels, which);
}

/* Weights that share one scale although their channels differ. */
static void look_at_weights(inquiry *q)
{
    const qn_value *weights = &q->graph->values[q->node->inputs[1]];
    const qn_quantizer *how = weights->quantizer;
    if (how == NULL || weights->constant == NULL) {
        return;
    }
    add(q, 8.0 / how->format.bits, 1.5, "weights of %d bits", how->format.bits);
    const int axis = qn_ptq_channel_axis(q->node);
    const qn_tensor *t = weights->constant;
    int64_t inner = 1, n = t->dims[axis], count = qn_tensor_count(t);
    for (int d = axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    double sum = 0, greatest = 0;
    for (int64_t c = 0; c < n && how->n == 1; c++) {
        double most = 0;
        for (int64_t k = 0; k < count / n; k++) {
            const double w = fabs((double)((const float *)t->data)[(k / inner) * inner * n + c * inner + k % inner]);
            most = w > most ? w : most;
        }
        sum += most;
        greatest = most > greatest ? most : greatest;
    }
    const double ratio = sum > 0 ? greatest * (double)n / sum : 1;
    add(q, ratio, 3, "channels of its weights are unequal (%.3g times the mean) and share a scale", ratio);
}

/* Weights whose scale the bias raised, as the report tells. */
static void look_at_bias(inquiry *q)
{
    const char *name = q->graph->values[q->node->inputs[1]].name;
    for (size_t i = 0; i < qn_quantize_report_count(q->report); i++) {
        const qn_quantize_row *row = qn_quantize_report_at(q->report, i);
        if (row->n_raised > 0 && strcmp(row->value_name, name) == 0) {
            add(q, 1 + (double)row->n_raised, 1, "the scale of %lld of %lld weight channels was raised for the bias",
                (long long)row->n_raised, (long long)row->n_channels);
        }
    }
}

/* Operands of a join share the result's steps. Constants are as fine as they need be. */
static void look_at_join(inquiry *q)
{
    double least = INFINITY, greatest = 0;
    for (int i = 0; i < q->node->n_inputs; i++) {
        const qn_value *operand = q->node->inputs[i] != QN_NO_VALUE ? &q->graph->values[q->node->inputs[i]] : NULL;
        const qn_quantizer *how = operand != NULL && operand->constant == NULL ? operand->quantizer : NULL;
        if (how != NULL && how->n == 1 && how->scale != NULL && how->scale[0] > 0) {
            least = fmin(least, (double)how->scale[0]);
            greatest = fmax(greatest, (double)how->scale[0]);
        }
    }
    add(q, greatest / least, 3, "joins unequal ranges: one operand has %.3g times the step of the other",
        greatest / least);
}

static void tell(inquiry *q, char *text, size_t n)
{
    size_t used = 0;
    for (int told = 0; told < CAUSES_TOLD; told++) {
        cause *worst = NULL;
        for (int i = 0; i < q->n; i++) {
            worst = q->causes[i].weight > (worst != NULL ? worst->weight : 0) ? &q->causes[i] : worst;
        }
        if (worst == NULL || used + 1 >= n) {
            return;
        }
        const int written = snprintf(text + used, n - used, "%s%s", told > 0 ? "; " : "", worst->text);
        used += written > 0 ? (size_t)written : 0;
        worst->weight = 0;
    }
}

void qn_study_explain(const qn_study *study, const qn_model *quantized, const qn_quantize_report *report,
                      const char *node_name, char *text, size_t n)
{
    const qn_graph *graph = &quantized->graph;
    inquiry q = {.study = study, .graph = graph, .report = report};
    text[0] = '\0';
    for (size_t i = 0; i < graph->n_nodes && q.node == NULL; i++) {
        q.node = strcmp(graph->nodes[i].name, node_name) == 0 ? &graph->nodes[i] : NULL;
    }
    if (q.node == NULL) {
        return;
    }
    if (qn_ptq_rule_of(q.node->op)->has_weights) {
        look_at_weights(&q);
        look_at_bias(&q);
        look_for_outliers(&q, q.node->inputs[0], "input");
        look_at_channels(&q, q.node->inputs[0], "input");
    } else {
        look_at_join(&q);
    }
    look_for_outliers(&q, q.node->outputs[0], "output");
    look_at_channels(&q, q.node->outputs[0], "output");
    tell(&q, text, n);
}
