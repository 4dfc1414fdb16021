/* Integers for the weights, quantizers for the scaling nodes, and factors that are powers of two. */
#include <math.h>

#include "ptq/aidge/aidge.h"

static double level(bool is_unsigned, int bits)
{
    return is_unsigned ? qn_aidge_unsigned_max(bits) : qn_aidge_signed_max(bits);
}

static void rescale(double *x, int64_t n, double factor, bool round)
{
    for (int64_t i = 0; x != NULL && i < n; i++) {
        double y = x[i] * factor;
        x[i] = round ? rint(y) : y;
    }
}

static void rescale_layer(qn_aidge_node *layer, double weights, double bias, bool round)
{
    rescale(layer->weight, layer->n_weights, weights, round);
    rescale(layer->bias, layer->weight_dims[0], bias, round);
    layer->gain *= weights;
}

/* The factor that the levels of a scaling node's input and output ask for. The levels of its output are those its bounds
 * are made of; the library takes the layer's, which differ where a join made the branch signed. */
static void fit_scaling(qn_aidge_net *net, qn_aidge_node *scaling, const qn_aidge_options *options)
{
    int bits = options->bits;
    qn_aidge_node *source = &net->nodes[scaling->parents[0]];
    double signed_max = qn_aidge_signed_max(bits), in = level(source->in_unsigned, bits);
    if (scaling->is_residual || scaling->parents[0] == QN_AIDGE_INPUT) {
        in = level(scaling->in_unsigned, bits);
    }
    double rescaling = 1.0;
    if (qn_aidge_is_affine(source)) {
        rescale_layer(source, signed_max, in * signed_max, options->round);
        rescaling /= signed_max;
    }
    rescaling /= in;
    rescaling *= level(scaling->out_unsigned, bits);
    scaling->scale *= rescaling;
    scaling->coef = NAN;
    scaling->is_quantizer = options->round;
    scaling->lo = scaling->out_unsigned ? 0 : -signed_max - 1;
    scaling->hi = level(scaling->out_unsigned, bits);
}

void qn_aidge_make_integers(qn_aidge_net *net, const qn_aidge_options *options)
{
    for (int k = 0; k < net->n_nodes; k++) {
        if (net->nodes[k].op == QN_AIDGE_SCALING) {
            fit_scaling(net, &net->nodes[k], options);
        }
    }
    int last = qn_aidge_previous_scaling(net, net->output);
    net->output_scale /= level(net->nodes[last].out_unsigned, options->bits);
}

/* The weights take what the factor loses, and are rounded a second time: up to one bit of them is lost. */
void qn_aidge_single_shift(qn_aidge_net *net, const qn_aidge_options *options)
{
    for (int k = 0; k < net->n_nodes; k++) {
        qn_aidge_node *scaling = &net->nodes[k];
        if (scaling->op != QN_AIDGE_SCALING) {
            continue;
        }
        qn_aidge_node *source = &net->nodes[scaling->parents[0]];
        bool follows_layer = qn_aidge_is_affine(source);
        if (!follows_layer && !options->round) {
            continue;
        }
        if (!follows_layer) {
            scaling->coef = qn_aidge_signed_max(options->bits);
            scaling->scale /= scaling->coef;
        }
        double exact = scaling->scale;
        scaling->scale = pow(2, ceil(log2(exact)));
        double ratio = exact / scaling->scale;
        if (follows_layer) {
            rescale_layer(source, ratio, ratio, options->round);
        } else {
            scaling->coef = rint(scaling->coef * ratio);
        }
    }
}
