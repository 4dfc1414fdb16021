/* Per-channel cross-layer equalization over the variables of channels.h.
 *
 * Weights (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", 4.1): for a channel
 * between two layers with ranges r1 (its weights in the first) and r2 (in the second) the best factor is sqrt(r2 / r1),
 * after which both ranges are sqrt(r1 r2). A channel that several layers make or read has their geometric means in the
 * place of r1 and r2: the scale of a layer as a whole does not matter to its quantizer, so ratios are what counts. Layers
 * share channels, so this is swept until it settles.
 * Activations: smooth.c.
 * Dead channels (a range of 0) keep factor 1. */
#include <math.h>
#include <string.h>

#include "ptq/equalize.h"
#include "ptq/settings.h"

qn_ptq_equalize_options qn_ptq_equalize_defaults(qn_ptq_balance balance)
{
    return (qn_ptq_equalize_options){.balance = balance,
                                     .alpha = -1,
                                     .activation_bits = 8,
                                     .weight_bits = 8,
                                     .tolerance = 1e-3,
                                     .max_sweeps = 100,
                                     .max_exponent = 16};
}

static qn_status measure_layer(qn_equalizer *e, size_t index)
{
    const qn_ptq_layer *layer = &e->channels.layers[index];
    const qn_graph *graph = e->ptq->graph;
    const float *weights = graph->values[graph->nodes[layer->node].inputs[1]].constant->data;
    double *m = qn_arena_array(&e->arena, (size_t)(layer->n_out * layer->n_in), sizeof *m);
    if (m == NULL) {
        return qn_fail_memory(e->err, graph->file, (size_t)(layer->n_out * layer->n_in) * sizeof *m);
    }
    e->magnitude[index] = m;
    for (int64_t o = 0; o < layer->n_out; o++) {
        for (int64_t j = 0; j < layer->n_in; j++) {
            const float *w = weights + o * layer->step_o + j * layer->step_j;
            double most = 0;
            for (int64_t k = 0; k < layer->n_kernel; k++) {
                double a = fabs((double)w[k]);
                most = a > most ? a : most;
            }
            m[o * layer->n_in + j] = most;
        }
    }
    return QN_OK;
}

static qn_status make_arrays(qn_equalizer *e)
{
    size_t n = (size_t)e->channels.n_variables;
    e->magnitude = qn_arena_array(&e->arena, e->channels.n_layers, sizeof *e->magnitude);
    e->of = qn_arena_array(&e->arena, n, sizeof *e->of);
    e->log_factor = qn_arena_array(&e->arena, n, sizeof *e->log_factor);
    e->up = qn_arena_array(&e->arena, n, sizeof *e->up);
    e->down = qn_arena_array(&e->arena, n, sizeof *e->down);
    e->peak = qn_arena_array(&e->arena, n, sizeof *e->peak);
    e->made = qn_arena_array(&e->arena, n, sizeof *e->made);
    e->read = qn_arena_array(&e->arena, n, sizeof *e->read);
    if (e->magnitude == NULL || e->of == NULL || e->log_factor == NULL || e->up == NULL || e->down == NULL ||
        e->peak == NULL || e->made == NULL || e->read == NULL) {
        return qn_fail_memory(e->err, e->ptq->graph->file, n * sizeof *e->made);
    }
    for (size_t v = 0; v < n; v++) {
        e->of[v] = qn_ptq_channels_leader(&e->channels, (int32_t)v);
        e->up[v] = e->down[v] = 1;
    }
    for (size_t i = 0; i < e->channels.n_layers; i++) {
        QN_TRY(measure_layer(e, i));
    }
    return QN_OK;
}

/* Take the peaks of variables first..first+n into their means and clear them. */
static void collect(qn_equalizer *e, qn_range_mean *means, int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t v = qn_equalizer_leader(e, first, i);
        if (e->peak[v] > 0 && isfinite(e->peak[v])) {
            means[v].sum += log2(e->peak[v]);
            means[v].n++;
        }
        e->peak[v] = 0;
    }
}

/* Ranges of a layer's output channels, or of its input channels, under the factors so far. */
static void add_ranges(qn_equalizer *e, size_t index, bool of_outputs)
{
    const qn_ptq_layer *layer = &e->channels.layers[index];
    const double *magnitude = e->magnitude[index];
    for (int64_t o = 0; o < layer->n_out; o++) {
        int32_t out = qn_equalizer_leader(e, layer->out, o);
        for (int64_t j = 0; j < layer->n_in; j++) {
            int32_t in = qn_equalizer_leader(e, layer->in, qn_ptq_input_channel(layer, o, j));
            double m = *magnitude++ * e->up[out] * e->down[in], *peak = &e->peak[of_outputs ? out : in];
            *peak = m > *peak ? m : *peak;
        }
    }
    collect(e, of_outputs ? e->made : e->read, of_outputs ? layer->out : layer->in,
            of_outputs ? layer->n_out : qn_layer_inputs(layer));
}

static void clear(qn_equalizer *e, int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        e->made[qn_equalizer_leader(e, first, i)] = e->read[qn_equalizer_leader(e, first, i)] = (qn_range_mean){0};
    }
}

void qn_equalizer_set(qn_equalizer *e, int32_t v, double log_factor)
{
    double most = e->options->max_exponent;
    log_factor = log_factor > most ? most : log_factor < -most ? -most : log_factor;
    e->log_factor[v] = log_factor;
    e->up[v] = exp2(log_factor);
    e->down[v] = exp2(-log_factor);
}

/* Balance the variables first..first+n once; the greatest change of a logarithm. */
static double balance(qn_equalizer *e, int32_t first, int64_t n)
{
    double change = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t v = qn_equalizer_leader(e, first, i);
        if (qn_equalizer_pinned(e, v) || e->made[v].n == 0 || e->read[v].n == 0) {
            continue;
        }
        double step = 0.5 * (e->read[v].sum / e->read[v].n - e->made[v].sum / e->made[v].n);
        double before = e->log_factor[v];
        qn_equalizer_set(e, v, before + step);
        double moved = fabs(e->log_factor[v] - before);
        change = moved > change ? moved : change;
        e->made[v].n = 0; /* done, should the variable come again */
    }
    return change;
}

static bool in_family(const qn_equalizer *e, int32_t first, int32_t family)
{
    return first >= 0 && qn_ptq_channels_family(&e->channels, first) == family;
}

/* All channels of a family at once; then the next family sees the new ranges. */
static double sweep_family(qn_equalizer *e, int32_t family)
{
    const qn_ptq_channels *c = &e->channels;
    double change = 0;
    for (size_t i = 0; i < c->n_layers; i++) {
        if (in_family(e, c->layers[i].out, family)) {
            clear(e, c->layers[i].out, c->layers[i].n_out);
        }
        if (in_family(e, c->layers[i].in, family)) {
            clear(e, c->layers[i].in, qn_layer_inputs(&c->layers[i]));
        }
    }
    for (size_t i = 0; i < c->n_layers; i++) {
        if (in_family(e, c->layers[i].out, family)) {
            add_ranges(e, i, true);
        }
        if (in_family(e, c->layers[i].in, family)) {
            add_ranges(e, i, false);
        }
    }
    for (size_t i = 0; i < c->n_layers; i++) {
        if (in_family(e, c->layers[i].out, family)) {
            double moved = balance(e, c->layers[i].out, c->layers[i].n_out);
            change = moved > change ? moved : change;
        }
    }
    return change;
}

/* Whether layer `index` is the first that makes values of its family. */
static bool leads_family(const qn_equalizer *e, size_t index)
{
    int32_t out = e->channels.layers[index].out;
    if (out < 0) {
        return false;
    }
    int32_t family = qn_ptq_channels_family(&e->channels, out);
    for (size_t i = 0; i < index; i++) {
        if (in_family(e, e->channels.layers[i].out, family)) {
            return false;
        }
    }
    return true;
}

static void balance_weights(qn_equalizer *e)
{
    double change = INFINITY, enough = log2(1 + e->options->tolerance);
    for (int sweep = 0; sweep < e->options->max_sweeps && change > enough; sweep++) {
        change = 0;
        for (size_t i = 0; i < e->channels.n_layers; i++) {
            if (leads_family(e, i)) {
                double moved = sweep_family(e, qn_ptq_channels_family(&e->channels, e->channels.layers[i].out));
                change = moved > change ? moved : change;
            }
        }
    }
}

static qn_status apply(qn_equalizer *e)
{
    for (int32_t v = 0; v < e->channels.n_variables; v++) {
        double f = e->log_factor[e->of[v]];
        e->up[v] = qn_equalizer_pinned(e, e->of[v]) ? 1 : exp2(e->options->powers_of_two ? rint(f) : f);
    }
    return qn_ptq_channels_apply(&e->channels, e->ptq, e->binding, e->up, e->err);
}

static qn_status equalize(qn_equalizer *e)
{
    QN_TRY(qn_ptq_channels_make(&e->channels, e->ptq, e->binding, e->options->free_caps, &e->arena, e->err));
    QN_TRY(make_arrays(e));
    if (e->options->balance == QN_PTQ_BALANCE_WEIGHTS) {
        balance_weights(e);
    } else {
        QN_TRY(qn_equalizer_smooth(e));
    }
    return apply(e);
}

static bool is_width(int bits)
{
    return bits >= 2 && bits <= 16;
}

qn_status qn_ptq_equalize_with(qn_ptq *ptq, const qn_ptq_equalize_options *options, qn_error *err)
{
    if (!(options->alpha <= 1) || options->max_exponent < 1 || options->max_exponent > 60 ||
        !(options->tolerance >= 0) || options->max_sweeps < 1 || !is_width(options->activation_bits) ||
        !is_width(options->weight_bits)) {
        return qn_fail(err, QN_EINVAL, "equalization",
                       "an option is out of range: alpha up to 1, bits 2..16, exponent 1..60, sweeps > 0");
    }
    if (options->balance == QN_PTQ_BALANCE_ACTIVATIONS && qn_ptq_is_stale(ptq, QN_NO_VALUE)) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file,
                       "values were scaled since the calibration; calibrate again before equalizing activations");
    }
    if (options->balance == QN_PTQ_BALANCE_ACTIVATIONS && ptq->calibration == NULL) {
        return qn_fail(err, QN_EINVAL, ptq->graph->file, "equalizing activations needs a calibration");
    }
    qn_binding binding = {0};
    qn_equalizer e = {.ptq = ptq, .binding = &binding, .options = options, .err = err};
    qn_status status = qn_graph_bind(&binding, ptq->graph, 1, err);
    if (status == QN_OK) {
        status = equalize(&e);
    }
    qn_arena_free(&e.arena);
    qn_binding_free(&binding);
    return status;
}

/* With the options of the pass under way. */
static qn_status equalize_by_options(qn_ptq *ptq, qn_ptq_balance balance, qn_error *err)
{
    qn_ptq_equalize_options options = qn_ptq_equalize_defaults(balance);
    if (ptq->step != NULL) {
        options.powers_of_two = strcmp(qn_ptq_option(ptq, "powers-of-two"), "yes") == 0;
        options.free_caps = strcmp(qn_ptq_option(ptq, "free-caps"), "yes") == 0;
        options.alpha = balance == QN_PTQ_BALANCE_ACTIVATIONS ? qn_ptq_option_number(ptq, "alpha") : options.alpha;
        const qn_ptq_formats *base = &ptq->settings->base;
        options.weight_bits = base->weights.bits >= 2 && base->weights.bits <= 16 ? base->weights.bits : 8;
        options.activation_bits =
            base->activations.bits >= 2 && base->activations.bits <= 16 ? base->activations.bits : 8;
    }
    return qn_ptq_equalize_with(ptq, &options, err);
}

qn_status qn_ptq_equalize(qn_ptq *ptq, qn_error *err)
{
    return equalize_by_options(ptq, QN_PTQ_BALANCE_WEIGHTS, err);
}

qn_status qn_ptq_smooth(qn_ptq *ptq, qn_error *err)
{
    return equalize_by_options(ptq, QN_PTQ_BALANCE_ACTIVATIONS, err);
}
