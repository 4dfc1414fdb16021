/* Scales for a model of the quantized network: f32, chosen from the input on so that the integer engine's ratios
 * (s_x * s_w) / s_y (doc/spec/arithmetic.md 3.3) are the network's factors, rounded to f32; powers of two are exact. Where a
 * join reads several branches, all get one scale. */
#include <math.h>

#include "ptq/aidge/aidge.h"

enum { MAX_FINER = 8 };

typedef struct choosing {
    const qn_aidge_net *net;
    const qn_aidge_options *options;
    qn_aidge_coding *codings;
    int *same_as; /* per node: of scaling nodes of a join's branch, the one whose scale all have; or its own index */
    bool *done;   /* per node: its coding is chosen */
} choosing;

qn_aidge_coding qn_aidge_input_coding(const qn_aidge_options *options)
{
    return (qn_aidge_coding){.scale = (float)(options->input / qn_aidge_signed_max(options->bits))};
}

static qn_aidge_coding coding_of(const choosing *m, int index)
{
    return index == QN_AIDGE_INPUT ? qn_aidge_input_coding(m->options) : m->codings[index];
}

/* The weight scale next to `wanted` for which (scale_x * scale) / scale_y is exactly `factor`; `wanted` when there is none. */
static float settle_weight_scale(float wanted, float scale_x, float scale_y, float factor)
{
    float up = wanted, down = wanted;
    for (int i = 0; i < 64; i++) {
        if (scale_x * up / scale_y == factor) {
            return up;
        }
        if (scale_x * down / scale_y == factor) {
            return down;
        }
        up = nextafterf(up, INFINITY);
        down = nextafterf(down, 0);
    }
    return wanted;
}

/* The scale of a scaling node's output, and for a layer before it that of its weights. */
static void scale_of_layer(choosing *m, int index)
{
    const qn_aidge_node *scaling = &m->net->nodes[index];
    int layer = scaling->parents[0];
    const qn_aidge_node *node = &m->net->nodes[layer];
    qn_aidge_coding x = coding_of(m, node->parents[0]);
    double exact = ldexp(scaling->scale, -x.finer);
    float scale_x = x.scale, factor = (float)exact;
    float weight = (float)(1 / node->gain);
    float scale_y = (float)((double)(scale_x * weight) / exact);
    if (m->same_as[index] != index) {
        float shared = m->codings[m->same_as[index]].scale;
        float settled = settle_weight_scale((float)((double)shared * exact / (double)scale_x), scale_x, shared, factor);
        if (scale_x * settled / shared == factor || !m->options->shift) {
            weight = settled;
            scale_y = shared;
        }
    }
    m->codings[layer].weight_scale = weight;
    m->codings[index].scale = scale_y;
}

/* y = x * factor of codes: of a join, or a residual copy. The scale next to it at which the ratio is the factor's f32. */
static void scale_of_copy(choosing *m, int index)
{
    const qn_aidge_node *scaling = &m->net->nodes[index];
    double factor = scaling->scale * (isnan(scaling->coef) ? 1 : scaling->coef);
    float scale_x = coding_of(m, scaling->parents[0]).scale;
    float scale = (float)((double)scale_x / factor);
    if (m->same_as[index] != index) {
        scale = m->codings[m->same_as[index]].scale;
    } else {
        const float beside[2] = {nextafterf(scale, INFINITY), nextafterf(scale, 0)};
        for (int i = 0; i < 2 && scale_x / scale != (float)factor; i++) {
            scale = scale_x / beside[i] == (float)factor ? beside[i] : scale;
        }
    }
    m->codings[index].scale = scale;
}

/* All branches of a join share one scale: that of a copy, whose factor binds it to its source's, sooner than that of a layer,
 * whose weights can have any. */
static void share_scales(choosing *m)
{
    for (int k = 0; k < m->net->n_nodes; k++) {
        const qn_aidge_node *join = &m->net->nodes[k];
        int leader = -1;
        for (int i = 0; qn_aidge_is_join(join) && i < join->n_parents; i++) {
            int at = qn_aidge_previous_scaling(m->net, join->parents[i]);
            bool copies = !qn_aidge_is_affine(&m->net->nodes[m->net->nodes[at].parents[0]]);
            leader = leader < 0 || (copies && qn_aidge_is_affine(&m->net->nodes[m->net->nodes[leader].parents[0]]))
                         ? at
                         : leader;
        }
        for (int i = 0; leader >= 0 && i < join->n_parents; i++) {
            m->same_as[qn_aidge_previous_scaling(m->net, join->parents[i])] = leader;
        }
    }
}

static bool is_ready(const choosing *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    bool ready = m->same_as[index] == index || m->done[m->same_as[index]];
    for (int i = 0; i < node->n_parents; i++) {
        ready = ready && (node->parents[i] == QN_AIDGE_INPUT || m->done[node->parents[i]]);
    }
    return ready;
}

/* Do only layers read this node, be it through moves and activations? */
static bool feeds_layers(const choosing *m, int index)
{
    bool only = index != m->net->output;
    for (int k = index + 1; only && k < m->net->n_nodes; k++) {
        const qn_aidge_node *node = &m->net->nodes[k];
        for (int i = 0; only && i < node->n_parents; i++) {
            if (node->parents[i] == index && !qn_aidge_is_affine(node)) {
                only = !qn_aidge_is_join(node) && node->op != QN_AIDGE_SCALING && feeds_layers(m, k);
            }
        }
    }
    return only;
}

/* The library does not round averages, which are small as a rule: codes as coarse as the pool's input would lose most of
 * them. How many bits finer they fit into as many bits, where the next layer's bias can take that up. */
static int finer_of(const choosing *m, int index)
{
    const qn_aidge_node *pool = &m->net->nodes[index];
    int from = qn_aidge_previous_scaling(m->net, index);
    if (from == QN_AIDGE_INPUT || !(pool->range > 0) || !feeds_layers(m, index)) {
        return 0;
    }
    double finer = floor(-log2(pool->range / m->net->nodes[from].range));
    return finer < 0 ? 0 : finer < MAX_FINER ? (int)finer : MAX_FINER;
}

static void choose_coding(choosing *m, int index)
{
    const qn_aidge_node *node = &m->net->nodes[index];
    m->done[index] = true;
    if (node->op != QN_AIDGE_SCALING) {
        m->codings[index] = coding_of(m, node->parents[0]);
        if (node->op == QN_AIDGE_AVERAGE_POOL && m->codings[index].finer == 0) {
            m->codings[index].finer = finer_of(m, index);
            m->codings[index].scale = ldexpf(m->codings[index].scale, -m->codings[index].finer);
        }
        return;
    }
    m->codings[index].is_unsigned = node->out_unsigned;
    if (qn_aidge_is_affine(&m->net->nodes[node->parents[0]])) {
        scale_of_layer(m, index);
    } else {
        scale_of_copy(m, index);
    }
}

/* In topological order but for branches that wait for the one whose scale they share; nothing that one needs waits for
 * them, as a branch is read by its join alone. Where the library's forks break that, the branch goes its own way. */
static void choose_scales(choosing *m)
{
    for (int n_left = m->net->n_nodes; n_left > 0;) {
        int n_before = n_left, waiting = -1;
        for (int k = 0; k < m->net->n_nodes; k++) {
            if (!m->done[k] && is_ready(m, k)) {
                choose_coding(m, k);
                n_left--;
            } else if (!m->done[k] && waiting < 0) {
                waiting = k;
            }
        }
        if (n_left == n_before) {
            m->same_as[waiting] = waiting;
        }
    }
}

qn_status qn_aidge_choose_codings(const qn_aidge_coding **codings, const qn_aidge_net *net,
                                  const qn_aidge_options *options, qn_arena *arena, qn_error *err)
{
    size_t n = (size_t)net->n_nodes;
    choosing m = {.net = net, .options = options};
    m.codings = qn_arena_array(arena, n, sizeof *m.codings);
    m.same_as = qn_arena_array(arena, n, sizeof *m.same_as);
    m.done = qn_arena_array(arena, n, sizeof *m.done);
    if (m.codings == NULL || m.same_as == NULL || m.done == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *m.codings);
    }
    for (size_t k = 0; k < n; k++) {
        m.same_as[k] = (int)k;
    }
    share_scales(&m);
    choose_scales(&m);
    *codings = m.codings;
    return QN_OK;
}
