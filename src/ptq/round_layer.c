/* Scales and codes of one layer's channels, group by group. */
#include "ptq/round_layer.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/threads.h"

qn_status qn_round_layer_make(qn_round_layer *layer, int64_t m, const qn_moments *moments, int n_folds,
                              const char *where, qn_error *err)
{
    size_t n;
    *layer = (qn_round_layer){.m = m, .k = moments->k, .moments = moments, .n_folds = n_folds};
    if (!qn_mul_size((size_t)m, (size_t)moments->k, &n) || n > SIZE_MAX / sizeof(double)) {
        return qn_fail(err, QN_ELIMIT, where, "too many weights");
    }
    layer->weights = qn_alloc(n * sizeof *layer->weights);
    layer->targets = qn_alloc(n * sizeof *layer->targets);
    layer->codes = qn_alloc(n * sizeof *layer->codes);
    layer->fixed = qn_alloc((size_t)m * sizeof *layer->fixed);
    layer->scale = qn_alloc((size_t)m * sizeof *layer->scale);
    layer->bias_change = qn_alloc((size_t)m * sizeof *layer->bias_change);
    if (layer->weights == NULL || layer->targets == NULL || layer->codes == NULL || layer->fixed == NULL ||
        layer->scale == NULL || layer->bias_change == NULL) {
        qn_round_layer_free(layer);
        return qn_fail_memory(err, where, n * sizeof *layer->weights);
    }
    return QN_OK;
}

void qn_round_layer_free(qn_round_layer *layer)
{
    qn_free(layer->weights);
    qn_free(layer->targets);
    qn_free(layer->codes);
    qn_free(layer->fixed);
    qn_free(layer->scale);
    qn_free(layer->bias_change);
    *layer = (qn_round_layer){0};
}

void qn_round_layer_gather(qn_round_layer *layer, const float *constant, bool rows)
{
    for (int64_t c = 0; c < layer->m; c++) {
        for (int64_t i = 0; i < layer->k; i++) {
            layer->weights[c * layer->k + i] = (double)constant[rows ? c * layer->k + i : i * layer->m + c];
        }
    }
}

void qn_round_layer_scatter(float *constant, const qn_round_layer *layer, bool rows)
{
    for (int64_t c = 0; c < layer->m; c++) {
        for (int64_t i = 0; i < layer->k; i++) {
            float code = (float)qn_round_value(&layer->grid, layer->codes[c * layer->k + i]);
            constant[rows ? c * layer->k + i : i * layer->m + c] = code * layer->scale[c] + 0.0f; /* no -0 */
        }
    }
}

/* The channels of one group. */
typedef struct {
    qn_round_layer *layer;
    const qn_ptq_round_options *options;
    qn_round_metric metric;
    int64_t first;  /* channel */
    double *work;   /* per worker: [6 * k] */
    int32_t *codes; /* per worker: [k] */
    const char *where;
} group_state;

static double greatest(const double *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double a = fabs(x[i]);
        most = a > most || a != a ? a : most;
    }
    return most;
}

/* Codes for one scale; the result is the loss. */
static double round_channel(const group_state *s, const qn_round_channel *channel, int32_t *codes, double *work)
{
    if (s->options->feed) {
        return qn_round_feed(channel, codes, work);
    }
    qn_round_each(channel, codes);
    return qn_round_loss(channel, codes, work);
}

/* The loss of nearest codes if inputs were independent. */
static double diagonal_loss(const group_state *s, const double *target, double scale)
{
    const qn_round_grid *grid = &s->layer->grid;
    int64_t k = s->layer->k;
    double loss = 0;
    for (int64_t i = 0; i < k; i++) {
        double error = qn_round_value(grid, qn_round_nearest(grid, target[i] / scale)) * scale - target[i];
        loss += s->metric.h[i * k + i] * error * error;
    }
    return loss;
}

/* The candidate of least loss: of the rounding itself or, where that takes long, as if inputs were independent. */
static double search_scale(const group_state *s, const qn_round_channel *channel, double *scale, double most,
                           int32_t *codes, double *work)
{
    enum { CANDIDATES = 21, MOST_INPUTS = 1200 };
    double best = INFINITY, chosen = 0, last = 0;
    for (int i = 0; i < CANDIDATES; i++) { /* from 1 to 0.5 */
        float f = (float)(most * (1 - 0.5 * i / (CANDIDATES - 1)));
        *scale = qn_round_grid_scale(channel->grid, (double)(f < FLT_MIN ? FLT_MIN : f));
        if (*scale != last) {
            double loss = s->layer->k > MOST_INPUTS ? diagonal_loss(s, channel->target, *scale)
                                                    : round_channel(s, channel, codes, work);
            chosen = loss < best || i == 0 ? *scale : chosen;
            best = loss < best || i == 0 ? loss : best;
        }
        last = *scale;
    }
    return chosen;
}

static qn_status choose_codes(void *ctx, int worker, int64_t index, qn_error *err)
{
    const group_state *s = ctx;
    qn_round_layer *layer = s->layer;
    int64_t k = layer->k, c = s->first + index;
    const double *target = layer->targets + c * k;
    double *work = s->work + worker * 6 * k, scale;
    int32_t *codes = s->codes + worker * k;
    double absmax = greatest(layer->weights + c * k, k);
    const bool searches = s->options->search && layer->may_scale;
    double reach = searches ? greatest(target, k) : absmax;
    if (!(reach <= (double)FLT_MAX) || !(absmax <= (double)FLT_MAX)) {
        return qn_fail(err, QN_ERANGE, s->where, "a weight is NaN or infinite; it cannot be quantized");
    }
    if (absmax == 0 || reach == 0) { /* codes are 0 */
        return QN_OK;
    }
    qn_round_channel channel = {
        .metric = &s->metric, .grid = &layer->grid, .target = target, .scale = &scale, .block = k};
    scale = layer->fixed[c];
    if (searches) {
        scale = search_scale(s, &channel, &scale, reach / qn_round_value(&layer->grid, layer->grid.hi), codes, work);
    }
    layer->scale[c] = (float)scale;
    round_channel(s, &channel, layer->codes + c * k, work);
    if (s->options->descend) {
        enum { MOST_INPUTS_FOR_PAIRS = 1200 };
        int32_t limit = s->options->reach > 0 ? s->options->reach : INT32_MAX;
        qn_round_descend(&channel, layer->codes + c * k, limit, k <= MOST_INPUTS_FOR_PAIRS, work);
    }
    return QN_OK;
}

qn_status qn_round_layer_run(qn_round_layer *layer, const qn_ptq_round_options *options, bool centered, int n_threads,
                             const char *where, qn_error *err)
{
    int64_t k = layer->k, per_group = layer->m / layer->moments->n_groups;
    n_threads = n_threads > 1 ? n_threads : 1;
    group_state s = {.layer = layer, .options = options, .where = where};
    size_t n_square = (size_t)k * (size_t)k * sizeof(double); /* fits: the moments do */
    double *h = qn_alloc_uncleared(n_square), damp = options->damp > 0 ? options->damp : 0.01;
    s.work = qn_alloc((size_t)n_threads * 6 * (size_t)k * sizeof *s.work);
    s.codes = qn_alloc((size_t)n_threads * (size_t)k * sizeof *s.codes);
    qn_status status = h == NULL || s.work == NULL || s.codes == NULL ? qn_fail_memory(err, where, n_square)
                                                                      : qn_round_layer_aim(layer, centered, where, err);
    for (int64_t group = 0; status == QN_OK && group < layer->moments->n_groups; group++) {
        qn_round_layer_products(h, NULL, layer, group, -1, centered);
        status = qn_round_metric_make(&s.metric, h, k, damp, where, err);
        if (status == QN_OK) {
            s.first = group * per_group;
            status = qn_parallel_for(n_threads, per_group, choose_codes, &s, err);
            qn_round_metric_free(&s.metric);
        }
    }
    qn_free(h);
    qn_free(s.work);
    qn_free(s.codes);
    return status;
}

qn_status qn_round_layer_keep(qn_round_layer *layer, const float *on_grid, const float *scale, bool rows,
                              const char *where, qn_error *err)
{
    memcpy(layer->scale, scale, (size_t)layer->m * sizeof *scale);
    for (int64_t c = 0; c < layer->m; c++) {
        for (int64_t i = 0; i < layer->k; i++) {
            float w = on_grid[rows ? c * layer->k + i : i * layer->m + c];
            int32_t code = scale[c] > 0 ? qn_round_nearest(&layer->grid, (double)w / (double)scale[c]) : 0;
            if ((float)qn_round_value(&layer->grid, code) * scale[c] != w) {
                return qn_fail(err, QN_EINTERNAL, where, "weights are not on the grid that they are pinned to");
            }
            layer->codes[c * layer->k + i] = code;
        }
    }
    return QN_OK;
}

void qn_round_layer_correct(qn_round_layer *layer)
{
    int64_t per_group = layer->m / layer->moments->n_groups, n = 0;
    for (int f = 0; f < layer->n_folds; f++) {
        n += layer->moments[f].n;
    }
    for (int64_t c = 0; c < layer->m; c++) {
        double change = 0;
        for (int f = 0; f < layer->n_folds; f++) {
            const double *z = layer->moments[f].z + c / per_group * layer->k;
            const double *x = layer->moments[f].x + c / per_group * layer->k;
            for (int64_t i = 0; i < layer->k; i++) {
                double v = qn_round_value(&layer->grid, layer->codes[c * layer->k + i]) * (double)layer->scale[c];
                change += layer->weights[c * layer->k + i] * x[i] - v * z[i];
            }
        }
        layer->bias_change[c] = change / (double)n;
    }
}
