/* Equalization of activations: a factor per channel that makes the channels of a value more alike, at the cost of the
 * weights that read it (Xiao et al. 2023, "SmoothQuant"), here on every value whose neighbours can take the factor:
 *   factor = reach^beta / magnitude^alpha, both relative to the greatest of the value,
 * with the calibrated greatest magnitude of a channel, and the reach of its weights: the greatest |w| relative to the
 * greatest of its output channel. With alpha given, beta = 1 - alpha; otherwise the pair is the one of a grid, 0 and 0
 * among them, that has the least estimated noise behind the layers that read the value, relative to what they compute:
 *   activations  (A / levels_x)^2 sum w^2 / factor^2,            A the greatest magnitude after scaling
 *   weights      sum over outputs of (W / levels_w)^2 sum factor^2 x^2,  W the greatest |w| of the output after scaling
 * Depthwise layers have a weight scale per channel, so that to them all factors are the same. */
#include <math.h>
#include <string.h>

#include "ptq/equalize.h"

typedef struct {
    qn_equalizer *e;
    int32_t *family;   /* per variable */
    double *seen;      /* per variable: greatest calibrated magnitude */
    double *magnitude; /* per leader: the same over all its variables */
    double *reach;     /* per leader */
    double *widest;    /* per family: greatest magnitude */
    double *trial;     /* per leader: factor under test */
    double **energy;   /* per layer: [n_out][n_in], sum of w^2 over the kernel */
} smoother;

/* Mean of x^2 over the square of the greatest |x|. It matters to the balance of the two noises only; of 0.02 to 0.33 this
 * served best on the calibration sets of small networks of images and sounds; the calibrated mean of squares of each
 * channel in its place, which after a Relu is much less, lost 1.5 dB on each. */
static const double typical_power = 0.2;

/* Whether a value is coded as it is: read by something that is not its activation function. */
static bool is_coded(const qn_equalizer *e, qn_value_id id)
{
    const qn_graph *graph = e->ptq->graph;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const qn_node *node = &graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] == id && node->op != QN_OP_RELU && node->op != QN_OP_CLIP) {
                return true;
            }
        }
    }
    return false;
}

/* The calibration keeps channels of axis 1. */
static void measure_values(smoother *s)
{
    qn_equalizer *e = s->e;
    const qn_graph *graph = e->ptq->graph;
    for (size_t id = 0; id < e->channels.n_values; id++) {
        int32_t first = e->channels.first[id];
        const qn_range *range = first >= 0 ? qn_calibration_find(e->ptq->calibration, graph->values[id].name) : NULL;
        if (range == NULL || e->channels.axis[id] != 1 || range->n_channels != e->binding->values[id].dims[1] ||
            !is_coded(e, (qn_value_id)id)) {
            continue;
        }
        for (int64_t i = 0; i < range->n_channels; i++) {
            double a = (double)range->absmax[i], *seen = &s->seen[first + i];
            *seen = a > *seen ? a : *seen;
        }
    }
    for (int32_t v = 1; v < e->channels.n_variables; v++) {
        double *magnitude = &s->magnitude[e->of[v]], *widest = &s->widest[s->family[v]];
        *magnitude = s->seen[v] > *magnitude ? s->seen[v] : *magnitude;
        *widest = s->seen[v] > *widest ? s->seen[v] : *widest;
    }
}

static int32_t leader_of_input(const smoother *s, const qn_ptq_layer *layer, int64_t o, int64_t j)
{
    return qn_equalizer_leader(s->e, layer->in, qn_ptq_input_channel(layer, o, j));
}

static qn_status measure_weights(smoother *s, size_t index)
{
    const qn_ptq_layer *layer = &s->e->channels.layers[index];
    const qn_graph *graph = s->e->ptq->graph;
    const float *weights = graph->values[graph->nodes[layer->node].inputs[1]].constant->data;
    double *energy = qn_arena_array(&s->e->arena, (size_t)(layer->n_out * layer->n_in), sizeof *energy);
    if (energy == NULL) {
        return qn_fail_memory(s->e->err, graph->file, (size_t)(layer->n_out * layer->n_in) * sizeof *energy);
    }
    s->energy[index] = energy;
    for (int64_t o = 0; o < layer->n_out; o++) {
        const double *row = s->e->magnitude[index] + o * layer->n_in;
        double most = 0;
        for (int64_t j = 0; j < layer->n_in; j++) {
            const float *w = weights + o * layer->step_o + j * layer->step_j;
            for (int64_t k = 0; k < layer->n_kernel; k++) {
                energy[o * layer->n_in + j] += (double)w[k] * (double)w[k];
            }
            most = row[j] > most ? row[j] : most;
        }
        for (int64_t j = 0; layer->n_in > 1 && most > 0 && j < layer->n_in; j++) {
            double *reach = &s->reach[leader_of_input(s, layer, o, j)];
            *reach = row[j] / most > *reach ? row[j] / most : *reach;
        }
    }
    return QN_OK;
}

static double trial_of(const smoother *s, int32_t leader)
{
    return qn_equalizer_pinned(s->e, leader) ? 1 : s->trial[leader];
}

/* Logarithm of the factor that alpha and beta give; a channel that is always 0 keeps its own. Where only depthwise layers
 * read it, its reach is unknown and does not matter. */
static double log_factor(const smoother *s, int32_t leader, double alpha, double beta)
{
    double a = s->magnitude[leader], reach = s->reach[leader];
    return a > 0 ? alpha * log2(s->widest[s->family[leader]] / a) + (reach > 0 ? beta * log2(reach) : 0) : 0;
}

static void set_trial(smoother *s, int32_t family, double alpha, double beta)
{
    for (int32_t v = 1; v < s->e->channels.n_variables; v++) {
        if (s->family[v] == family && s->e->of[v] == v) {
            double f = log_factor(s, v, alpha, beta);
            s->trial[v] = exp2(s->e->options->powers_of_two ? rint(f) : f);
        }
    }
}

/* Noise of one layer's output over its signal, for activations whose greatest magnitude is `greatest`. */
static double layer_noise(const smoother *s, size_t index, double greatest)
{
    const qn_ptq_layer *layer = &s->e->channels.layers[index];
    const qn_ptq_equalize_options *options = s->e->options;
    double step_x = greatest / (exp2(options->activation_bits) - 1), levels = exp2(options->weight_bits - 1) - 1;
    double noise = 0, signal = 0;
    for (int64_t o = 0; o < layer->n_out; o++) {
        const double *row = s->e->magnitude[index] + o * layer->n_in, *energy = s->energy[index] + o * layer->n_in;
        double most = 0, power = 0;
        for (int64_t j = 0; j < layer->n_in; j++) {
            int32_t v = leader_of_input(s, layer, o, j);
            double f = trial_of(s, v), down = 1 / f, x = s->magnitude[v] * s->magnitude[v] * typical_power;
            most = row[j] * down > most ? row[j] * down : most;
            power += f * f * x * (double)layer->n_kernel;
            noise += energy[j] * (step_x * down) * (step_x * down);
            signal += energy[j] * x;
        }
        noise += most / levels * (most / levels) * power;
    }
    return signal > 0 ? noise / signal : 0;
}

static double family_noise(const smoother *s, int32_t family)
{
    double greatest = 0, noise = 0;
    for (int32_t v = 1; v < s->e->channels.n_variables; v++) {
        double a = s->family[v] == family ? s->seen[v] * trial_of(s, s->e->of[v]) : 0;
        greatest = a > greatest ? a : greatest;
    }
    for (size_t i = 0; i < s->e->channels.n_layers; i++) {
        int32_t in = s->e->channels.layers[i].in;
        noise += in >= 0 && s->family[in] == family ? layer_noise(s, i, greatest) : 0;
    }
    return noise;
}

static void choose(smoother *s, int32_t family)
{
    enum { STEPS = 4 };
    double alpha = s->e->options->alpha, beta = 1 - alpha;
    if (alpha < 0) {
        double least = INFINITY;
        for (int i = 0; i < (STEPS + 1) * (STEPS + 1); i++) {
            double a = (double)(i / (STEPS + 1)) / STEPS, b = (double)(i % (STEPS + 1)) / STEPS;
            set_trial(s, family, a, b);
            double noise = family_noise(s, family);
            if (noise < least) {
                least = noise;
                alpha = a;
                beta = b;
            }
        }
    }
    for (int32_t v = 1; v < s->e->channels.n_variables; v++) {
        if (s->family[v] == family && s->e->of[v] == v && !qn_equalizer_pinned(s->e, v)) {
            qn_equalizer_set(s->e, v, log_factor(s, v, alpha, beta));
        }
    }
}

static qn_status make_arrays(smoother *s)
{
    qn_arena *arena = &s->e->arena;
    size_t n = (size_t)s->e->channels.n_variables;
    s->family = qn_arena_array(arena, n, sizeof *s->family);
    s->seen = qn_arena_array(arena, n, sizeof *s->seen);
    s->magnitude = qn_arena_array(arena, n, sizeof *s->magnitude);
    s->reach = qn_arena_array(arena, n, sizeof *s->reach);
    s->widest = qn_arena_array(arena, n, sizeof *s->widest);
    s->trial = qn_arena_array(arena, n, sizeof *s->trial);
    s->energy = qn_arena_array(arena, s->e->channels.n_layers, sizeof *s->energy);
    if (s->family == NULL || s->seen == NULL || s->magnitude == NULL || s->reach == NULL || s->widest == NULL ||
        s->trial == NULL || s->energy == NULL) {
        return qn_fail_memory(s->e->err, s->e->ptq->graph->file, n * sizeof *s->trial);
    }
    for (size_t v = 0; v < n; v++) {
        s->family[v] = qn_ptq_channels_family(&s->e->channels, (int32_t)v);
    }
    return QN_OK;
}

qn_status qn_equalizer_smooth(qn_equalizer *e)
{
    smoother s = {.e = e};
    QN_TRY(make_arrays(&s));
    measure_values(&s);
    for (size_t i = 0; i < e->channels.n_layers; i++) {
        QN_TRY(measure_weights(&s, i));
    }
    for (int32_t v = 1; v < e->channels.n_variables; v++) {
        if (s.family[v] == v && s.widest[v] > 0) {
            choose(&s, v);
        }
    }
    return QN_OK;
}
