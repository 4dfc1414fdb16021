/* What whoever quantizes should know of data and weights before trusting the result: remarks, one of a kind, each with the
 * worst few names and how many there are. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ptq/settings.h"

enum { SHOWN = 5, NAME_MAX_SHOWN = 60, FEW_ITEMS = 32 };

/* A range so much wider than nearly all of its values, or weights so much larger than the median, leave nearly all of
 * them less than two of 8 bits. */
static const double outlier = 100;

/* The worst of those that a remark is on, the worst first, and the number of all. */
typedef struct {
    int64_t n;
    struct {
        double badness;
        char text[NAME_MAX_SHOWN + 80];
    } worst[SHOWN];
} findings;

QN_PRINTF(4, 5)
static void find(findings *f, double badness, const char *name, const char *format, ...)
{
    int at = f->n < SHOWN ? (int)f->n : SHOWN;
    f->n++;
    for (; at > 0 && badness > f->worst[at - 1].badness; at--) {
        if (at < SHOWN) {
            f->worst[at] = f->worst[at - 1];
        }
    }
    if (at == SHOWN) {
        return;
    }
    f->worst[at].badness = badness;
    char *text = f->worst[at].text;
    const size_t size = sizeof f->worst[at].text;
    snprintf(text, size, "'%.*s'", NAME_MAX_SHOWN, name);
    va_list args;
    va_start(args, format);
    vsnprintf(text + strlen(text), size - strlen(text), format, args);
    va_end(args);
}

/* "3 values WHAT: 'a' (...), 'b' (...), 'c' (...); REMEDY" */
static qn_status remark(qn_ptq *ptq, const findings *f, const char *one, const char *many, const char *remedy,
                        qn_error *err)
{
    char names[SHOWN * sizeof f->worst[0].text] = "";
    for (int i = 0; i < SHOWN && i < f->n; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", f->worst[i].text);
    }
    if (f->n == 0) {
        return QN_OK;
    }
    return qn_ptq_add_remark(ptq, err, "%lld %s: %s%s; %s", (long long)f->n, f->n == 1 ? one : many, names,
                             f->n > SHOWN ? ", ..." : "", remedy);
}

typedef struct {
    findings outliers, constant, dead, dead_channels, weights;
    qn_ptq *ptq;
    qn_error *err;
} warner;

/* Do the codes reach so far that the outliers of the value are among them? What a rule clipped harms nobody; neither do
 * outliers of codes whose steps grow with the value. */
static bool reaches(const qn_quantizer *q, const qn_range *range)
{
    const double greatest = fmax(fabs((double)range->min), fabs((double)range->max));
    if (q->format.kind != QN_FORMAT_INT && q->format.kind != QN_FORMAT_FIXED) {
        return false;
    }
    if (q->dynamic) {
        return true;
    }
    const qn_params params = qn_quantizer_get(q, 0);
    qn_format_limits limits;
    qn_format_limits_get(&limits, q->format, &params);
    return fmax(fabs(limits.lowest), fabs(limits.highest)) >= 0.5 * greatest;
}

static void look_at_value(warner *w, qn_value_id id)
{
    const qn_value *value = &w->ptq->graph->values[id];
    const qn_range *range = id != QN_NO_VALUE && value->quantizer != NULL && !qn_ptq_is_stale(w->ptq, id)
                                ? qn_calibration_find(w->ptq->calibration, value->name)
                                : NULL;
    if (range == NULL) {
        return;
    }
    if (range->min == range->max) {
        if (range->min == 0.0F) {
            find(&w->dead, 0, value->name, "%s", "");
        } else {
            find(&w->constant, 0, value->name, " (%.4g)", (double)range->min);
        }
        return;
    }
    const double ratio = qn_range_outlier_ratio(range);
    if (ratio > outlier && reaches(value->quantizer, range)) {
        find(&w->outliers, ratio, value->name, " (%.4g times)", ratio);
    }
    int64_t n_dead = 0;
    for (int64_t c = 0; c < range->n_channels; c++) {
        n_dead += !(range->absmax[c] > 0.0F);
    }
    if (n_dead > 0) {
        find(&w->dead_channels, (double)n_dead, value->name, " (%lld of %lld)", (long long)n_dead,
             (long long)range->n_channels);
    }
}

static void look_at_values(warner *w)
{
    const qn_graph *graph = w->ptq->graph;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        look_at_value(w, graph->inputs[i]);
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        bool moves = qn_ptq_rule_of(node->op)->role == QN_PTQ_MOVE && node->inputs[0] != QN_NO_VALUE &&
                     graph->values[node->inputs[0]].quantizer != NULL; /* told where it comes from */
        bool own = node->op != QN_OP_REMOVED && !moves;
        for (int i = 0; own && i < node->n_outputs; i++) {
            look_at_value(w, node->outputs[i]);
        }
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The greatest of n magnitudes, which are put in order, over the median of those that are not 0; 1 for zeros alone. */
static double spread_of(float *magnitudes, int64_t n)
{
    qsort(magnitudes, (size_t)n, sizeof *magnitudes, compare);
    int64_t zeros = 0;
    while (zeros < n && !(magnitudes[zeros] > 0.0F)) {
        zeros++;
    }
    return zeros < n ? (double)magnitudes[n - 1] / (double)magnitudes[zeros + (n - zeros - 1) / 2] : 1.0;
}

/* Magnitudes of the weights of output channel c. */
static void gather_channel(float *magnitudes, const qn_tensor *t, int axis, int64_t c)
{
    const float *weights = t->data;
    int64_t inner = 1, n = qn_tensor_count(t) / t->dims[axis];
    for (int d = axis + 1; d < t->rank; d++) {
        inner *= t->dims[d];
    }
    for (int64_t i = 0; i < n; i++) {
        magnitudes[i] = fabsf(weights[(i / inner * t->dims[axis] + c) * inner + i % inner]);
    }
}

/* Coded per channel, a weight among those of its channel; per tensor, a channel among the others. */
static qn_status look_at_weights(warner *w, const qn_node *node)
{
    const qn_tensor *t = qn_ptq_float_constant(w->ptq->graph, node->inputs[1]);
    const qn_quantizer *grid = qn_ptq_grid_of(w->ptq, node->inputs[1]);
    const int axis = qn_ptq_channel_axis(node);
    if (t == NULL || grid == NULL || t->rank <= axis || qn_tensor_count(t) == 0) {
        return QN_OK;
    }
    const int64_t n = t->dims[axis], per_channel = qn_tensor_count(t) / n;
    const size_t n_bytes = (size_t)(n + per_channel) * sizeof(float);
    float *magnitudes = qn_alloc(n_bytes), *greatest = magnitudes + per_channel, most = 0.0F;
    if (magnitudes == NULL) {
        return qn_fail_memory(w->err, node->name, n_bytes);
    }
    double worst = 0.0;
    int64_t channel = 0;
    for (int64_t c = 0; c < n; c++) {
        gather_channel(magnitudes, t, axis, c);
        double spread = spread_of(magnitudes, per_channel);
        greatest[c] = magnitudes[per_channel - 1];
        bool worse = grid->axis >= 0 ? spread > worst : greatest[c] > most;
        channel = worse ? c : channel;
        worst = fmax(worst, spread);
        most = fmaxf(most, greatest[c]);
    }
    worst = grid->axis >= 0 ? worst : spread_of(greatest, n);
    if (worst > outlier) {
        find(&w->weights, worst, node->name, " (channel %lld: %.4g times)", (long long)channel, worst);
    }
    qn_free(magnitudes);
    return QN_OK;
}

static qn_status look_at_items(const warner *w)
{
    const long long n = (long long)qn_calibration_n_items(w->ptq->calibration);
    if (n == 0 || n >= FEW_ITEMS) { /* 0: the calibration does not tell */
        return QN_OK;
    }
    return qn_ptq_add_remark(w->ptq, w->err,
                             "the ranges are those of %lld item%s, and whatever exceeds them is clipped; calibrate on "
                             "%d or more",
                             n, n == 1 ? "" : "s", (int)FEW_ITEMS);
}

static qn_status make_warner(warner **w, qn_ptq *ptq, qn_error *err)
{
    *w = qn_arena_array(&ptq->scratch, 1, sizeof **w);
    if (*w == NULL) {
        return qn_fail_memory(err, ptq->graph->file, sizeof **w);
    }
    **w = (warner){.ptq = ptq, .err = err};
    return QN_OK;
}

qn_status qn_ptq_warn_of_weights(qn_ptq *ptq, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    warner *w;
    QN_TRY(make_warner(&w, ptq, err));
    for (size_t n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].op != QN_OP_REMOVED && qn_ptq_rule_of(graph->nodes[n].op)->has_weights) {
            QN_TRY(look_at_weights(w, &graph->nodes[n]));
        }
    }
    return remark(ptq, &w->weights, "node's greatest weights are far beyond the median",
                  "nodes' greatest weights are far beyond the median",
                  "most others become 0: check them, or use --per channel, --keep-float", err);
}

qn_status qn_ptq_warn_of_values(qn_ptq *ptq, qn_error *err)
{
    warner *w;
    if (ptq->calibration == NULL) {
        return QN_OK;
    }
    QN_TRY(make_warner(&w, ptq, err));
    look_at_values(w);
    QN_TRY(look_at_items(w));
    static const char *const check = "are these the right network and data?";
    QN_TRY(remark(ptq, &w->outliers, "value's greatest element is far beyond 99.99 % of the others",
                  "values' greatest elements are far beyond 99.99 % of the others",
                  "remove them, or try --recipe best:rule=percentile:99.99", err));
    QN_TRY(remark(ptq, &w->constant, "value is always the same", "values are always the same", check, err));
    QN_TRY(remark(ptq, &w->dead, "value is always 0", "values are always 0", check, err));
    return remark(ptq, &w->dead_channels, "value has channels that are always 0",
                  "values have channels that are always 0", "the network could do without them", err);
}
