/* Ranges and histograms of the scaling nodes' outputs over the calibration data. Threads take items; maxima and counts are
 * the same in any order. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/threads.h"
#include "ptq/aidge/aidge.h"

/* What one worker sees. */
typedef struct sight {
    float *x;
    double *input;
    double **values;
    double input_max;
    double *max;     /* per node */
    int64_t *counts; /* node * n_bins + bin; NULL without histograms */
} sight;

typedef struct observing {
    const qn_aidge_net *net;
    const qn_dataset *data;
    const qn_aidge_options *options;
    int64_t n_bins; /* 0: ranges */
    sight *sights;
    int n_sights;
    pthread_mutex_t lock;
    int64_t n_done;
} observing;

/* The ranges of average pools are for models of integers, which round what the library does not (to_model.c). */
static bool has_range(const qn_aidge_node *node)
{
    return node->op == QN_AIDGE_SCALING || node->op == QN_AIDGE_AVERAGE_POOL;
}

static void observe_range(const qn_aidge_node *node, const double *x, double *max)
{
    for (int64_t i = 0; i < node->n; i++) {
        double v = fabs(x[i]);
        *max = v > *max ? v : *max;
    }
}

/* The bin is rounded to, not floored, as the library does; the searches take (bin + 0.5) / n_bins for its value. */
static void count_values(const qn_aidge_node *node, const double *x, int64_t n_bins, int64_t *counts)
{
    for (int64_t i = 0; i < node->n; i++) {
        double at = round(fabs(x[i]) / node->range * (double)n_bins);
        counts[at < (double)n_bins ? (int64_t)at : n_bins - 1]++;
    }
}

static qn_status tell_progress(observing *o, qn_error *err)
{
    if (o->options->progress == NULL) {
        return QN_OK;
    }
    int64_t n = qn_dataset_count(o->data);
    bool twice = o->options->clip != QN_AIDGE_CLIP_MAX;
    pthread_mutex_lock(&o->lock);
    int64_t done = ++o->n_done + (o->n_bins > 0 ? n : 0);
    bool go_on = o->options->progress(o->options->progress_ctx, done, twice ? 2 * n : n);
    pthread_mutex_unlock(&o->lock);
    return go_on ? QN_OK : qn_fail(err, QN_ECANCELED, qn_dataset_name(o->data), "stopped while calibrating");
}

static qn_status observe_item(void *ctx, int worker, int64_t item, qn_error *err)
{
    observing *o = ctx;
    sight *s = &o->sights[worker];
    QN_TRY(qn_dataset_read(o->data, item, 1, s->x, err));
    for (int64_t i = 0; i < o->net->n_input; i++) {
        s->input[i] = (double)s->x[i] / o->options->input;
        s->input_max = fabs(s->input[i]) > s->input_max ? fabs(s->input[i]) : s->input_max;
    }
    qn_aidge_forward(o->net, s->input, s->values);
    for (int k = 0; k < o->net->n_nodes; k++) {
        const qn_aidge_node *node = &o->net->nodes[k];
        if (node->op == QN_AIDGE_SCALING && s->counts != NULL) {
            count_values(node, s->values[k], o->n_bins, s->counts + k * o->n_bins);
        } else if (has_range(node)) {
            observe_range(node, s->values[k], &s->max[k]);
        }
    }
    return tell_progress(o, err);
}

static qn_status allocate(observing *o, qn_error *err)
{
    size_t n_nodes = (size_t)o->net->n_nodes, n_counts = n_nodes * (size_t)o->n_bins;
    o->sights = qn_alloc((size_t)o->n_sights * sizeof *o->sights);
    if (o->sights == NULL) {
        return qn_fail_memory(err, NULL, (size_t)o->n_sights * sizeof *o->sights);
    }
    for (int w = 0; w < o->n_sights; w++) {
        sight *s = &o->sights[w];
        s->x = qn_alloc((size_t)o->net->n_input * sizeof *s->x);
        s->input = qn_alloc((size_t)o->net->n_input * sizeof *s->input);
        s->values = qn_aidge_values_new(o->net);
        s->max = qn_alloc(n_nodes * sizeof *s->max);
        s->counts = n_counts > 0 ? qn_alloc(n_counts * sizeof *s->counts) : NULL;
        if (s->x == NULL || s->input == NULL || s->values == NULL || s->max == NULL ||
            (n_counts > 0 && s->counts == NULL)) {
            return qn_fail_memory(err, NULL, n_counts * sizeof *s->counts);
        }
    }
    return QN_OK;
}

static void release(observing *o)
{
    for (int w = 0; o->sights != NULL && w < o->n_sights; w++) {
        qn_free(o->sights[w].x);
        qn_free(o->sights[w].input);
        qn_free(o->sights[w].values);
        qn_free(o->sights[w].max);
        qn_free(o->sights[w].counts);
    }
    qn_free(o->sights);
}

static qn_status run(observing *o, qn_error *err)
{
    int64_t n = qn_dataset_count(o->data);
    o->n_sights = o->options->n_threads < 1 ? 1 : n < o->options->n_threads ? (int)n : o->options->n_threads;
    pthread_mutex_init(&o->lock, NULL);
    qn_status status = allocate(o, err);
    if (status == QN_OK) {
        status = qn_parallel_for(o->n_sights, n, observe_item, o, err);
    }
    pthread_mutex_destroy(&o->lock);
    return status;
}

/* Real data set for this network? */
static qn_status check_data(const qn_aidge_net *net, const qn_dataset *data, qn_error *err)
{
    int64_t dims[QN_MAX_RANK], n = 1;
    int rank = qn_dataset_item_shape(data, dims);
    for (int d = 0; d < rank; d++) {
        n *= dims[d];
    }
    if (qn_dataset_count(data) == 0) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(data), "no items to calibrate on");
    }
    bool fits = rank == net->input_rank;
    for (int d = 0; fits && d < rank; d++) {
        fits = dims[d] == net->input_dims[d];
    }
    if (!fits) {
        return qn_fail(err, QN_ESHAPE, qn_dataset_name(data),
                       "items of rank %d with %lld elements; the network takes rank %d with %lld", rank, (long long)n,
                       net->input_rank, (long long)net->n_input);
    }
    return QN_OK;
}

qn_status qn_aidge_observe_ranges(qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                  qn_error *err)
{
    observing o = {.net = net, .data = data, .options = options};
    QN_TRY(check_data(net, data, err));
    qn_status status = run(&o, err);
    for (int k = 0; status == QN_OK && k < net->n_nodes; k++) {
        qn_aidge_node *node = &net->nodes[k];
        for (int w = 0; has_range(node) && w < o.n_sights; w++) {
            node->range = o.sights[w].max[k] > node->range ? o.sights[w].max[k] : node->range;
        }
        if (node->op == QN_AIDGE_SCALING && !(node->range > 0 && node->range < INFINITY)) {
            status = qn_fail(err, QN_ERANGE, node->name,
                             node->range > 0 ? "values are infinite over the calibration data"
                                             : "all values are 0 over the calibration data, so there is no scale for "
                                               "them; use other data or remove the layer");
        }
    }
    double input_max = 0;
    for (int w = 0; status == QN_OK && w < o.n_sights; w++) {
        input_max = fmax(input_max, o.sights[w].input_max);
    }
    if (status == QN_OK && input_max > 1) {
        status =
            qn_aidge_note_add(net, err,
                              "inputs reach %g times the greatest code, beyond which an integer input saturates; use "
                              "input=%g or scale them",
                              input_max, ceil(input_max * options->input));
    }
    release(&o);
    return status;
}

qn_status qn_aidge_observe_histograms(const qn_aidge_net *net, const qn_dataset *data, const qn_aidge_options *options,
                                      int64_t n_bins, int64_t *counts, qn_error *err)
{
    observing o = {.net = net, .data = data, .options = options, .n_bins = n_bins};
    qn_status status = run(&o, err);
    for (int64_t i = 0; status == QN_OK && i < net->n_nodes * n_bins; i++) {
        for (int w = 0; w < o.n_sights; w++) {
            counts[i] += o.sights[w].counts[i];
        }
    }
    release(&o);
    return status;
}
