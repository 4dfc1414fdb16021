/* One item through the network, in double. Sums start with the bias and run over input channels, rows, columns; integer
 * networks are exact in any order. */
#include <math.h>
#include <string.h>

#include "ptq/aidge/aidge.h"

/* Outputs o of an axis whose input coordinate o * stride - pad + k * dilation lies in 0..in-1: first to last - 1. */
static void valid_range(const qn_window *w, int axis, int64_t k, int64_t *first, int64_t *last)
{
    int64_t offset = k * w->dilation[axis] - w->pad_begin[axis], stride = w->stride[axis];
    *first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    int64_t room = w->in[axis] - 1 - offset;
    *last = room < 0 ? 0 : room / stride + 1;
    *last = *last < w->out[axis] ? *last : w->out[axis];
}

/* y += weight * x over all pixels that tap (ky, kx) of one input plane reaches. */
static void add_tap(double *y, const double *x, const qn_window *w, int64_t ky, int64_t kx, double weight)
{
    int64_t top, bottom, left, right;
    valid_range(w, 0, ky, &top, &bottom);
    valid_range(w, 1, kx, &left, &right);
    for (int64_t oy = top; oy < bottom; oy++) {
        int64_t iy = oy * w->stride[0] + ky * w->dilation[0] - w->pad_begin[0];
        const double *row = x + iy * w->in[1] + kx * w->dilation[1] - w->pad_begin[1];
        double *out = y + oy * w->out[1];
        if (w->stride[1] == 1) {
            for (int64_t ox = left; ox < right; ox++) {
                out[ox] += weight * row[ox];
            }
        } else {
            for (int64_t ox = left; ox < right; ox++) {
                out[ox] += weight * row[ox * w->stride[1]];
            }
        }
    }
}

static void run_conv(const qn_aidge_node *node, const double *x, double *y)
{
    const qn_window *w = &node->window;
    int64_t n_out = w->out[0] * w->out[1], n_in = w->in[0] * w->in[1], per_group = w->c_in / w->group;
    const double *weight = node->weight;
    for (int64_t o = 0; o < w->c_out; o++) {
        double *plane = y + o * n_out;
        for (int64_t i = 0; i < n_out; i++) {
            plane[i] = node->bias != NULL ? node->bias[o] : 0;
        }
        const double *from = x + o / (w->c_out / w->group) * per_group * n_in;
        for (int64_t c = 0; c < per_group; c++, from += n_in) {
            for (int64_t ky = 0; ky < w->kernel[0]; ky++) {
                for (int64_t kx = 0; kx < w->kernel[1]; kx++) {
                    add_tap(plane, from, w, ky, kx, *weight++);
                }
            }
        }
    }
}

static void run_fc(const qn_aidge_node *node, const double *x, double *y)
{
    const double *weight = node->weight;
    for (int64_t o = 0; o < node->weight_dims[0]; o++) {
        double sum = node->bias != NULL ? node->bias[o] : 0;
        for (int64_t i = 0; i < node->weight_dims[1]; i++) {
            sum += *weight++ * x[i];
        }
        y[o] = sum;
    }
}

/* Maximum or mean of the pixels a window sees; means divide by the window's size with count_include_pad. */
static double pool_window(const qn_window *w, bool max, const double *x, int64_t oy, int64_t ox)
{
    double sum = 0, greatest = -INFINITY;
    int64_t n = 0;
    for (int64_t ky = 0; ky < w->kernel[0]; ky++) {
        int64_t iy = oy * w->stride[0] + ky * w->dilation[0] - w->pad_begin[0];
        for (int64_t kx = 0; kx < w->kernel[1]; kx++) {
            int64_t ix = ox * w->stride[1] + kx * w->dilation[1] - w->pad_begin[1];
            if (iy >= 0 && iy < w->in[0] && ix >= 0 && ix < w->in[1]) {
                double v = x[iy * w->in[1] + ix];
                sum += v;
                greatest = v > greatest ? v : greatest;
                n++;
            }
        }
    }
    if (max) {
        return greatest;
    }
    return sum / (double)(w->count_include_pad ? w->kernel[0] * w->kernel[1] : n);
}

static void run_pool(const qn_aidge_node *node, const double *x, double *y)
{
    const qn_window *w = &node->window;
    for (int64_t c = 0; c < w->c_in; c++, x += w->in[0] * w->in[1]) {
        for (int64_t oy = 0; oy < w->out[0]; oy++) {
            for (int64_t ox = 0; ox < w->out[1]; ox++) {
                *y++ = pool_window(w, node->op == QN_AIDGE_MAX_POOL, x, oy, ox);
            }
        }
    }
}

static void run_join(const qn_aidge_node *node, const double *const *operands, double *y)
{
    const double *a = operands[0], *b = operands[1];
    for (int64_t i = 0; i < node->n; i++) {
        y[i] = node->op == QN_AIDGE_ADD ? a[i] + b[i] : a[i] - b[i];
    }
}

/* The strides of a shape, in elements. */
static void strides_of(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= dims[d];
    }
}

/* Transpose and Pad: every output element is an input element or 0. */
static void run_move(const qn_aidge_node *node, const int64_t *in_dims, int in_rank, const double *x, double *y)
{
    int64_t in_strides[QN_MAX_RANK], index[QN_MAX_RANK] = {0};
    strides_of(in_rank, in_dims, in_strides);
    for (int64_t i = 0; i < node->n; i++) {
        int64_t offset = 0;
        bool inside = true;
        for (int d = 0; d < node->rank; d++) {
            int from = node->op == QN_AIDGE_TRANSPOSE ? node->perm[d] : d;
            int64_t at = index[d] - (node->op == QN_AIDGE_PAD ? node->pad.begin[d + 1] : 0);
            inside = inside && at >= 0 && at < in_dims[from];
            offset += at * in_strides[from];
        }
        y[i] = inside ? x[offset] : 0;
        for (int d = node->rank - 1; d >= 0 && ++index[d] == node->dims[d]; d--) {
            index[d] = 0;
        }
    }
}

static void run_scaling(const qn_aidge_node *node, const double *x, double *y)
{
    bool has_coef = node->is_quantizer && !isnan(node->coef);
    for (int64_t i = 0; i < node->n; i++) {
        double v = (has_coef ? x[i] * node->coef : x[i]) * node->scale;
        if (node->is_quantizer) {
            v = rint(v);
            v = v < node->lo ? node->lo : v > node->hi ? node->hi : v;
        }
        y[i] = v;
    }
}

static void run_activation(const qn_aidge_node *node, const double *x, double *y)
{
    for (int64_t i = 0; i < node->n; i++) {
        y[i] = x[i] > 0 ? x[i] : x[i] * node->slope;
    }
}

/* Operands along the axis one after another, once for each index of the axes before it. */
static void run_concat(const qn_aidge_net *net, const qn_aidge_node *node, double *const *values, double *y)
{
    int64_t outer = 1;
    for (int d = 0; d < node->axis; d++) {
        outer *= node->dims[d];
    }
    for (int64_t o = 0; o < outer; o++) {
        for (int i = 0; i < node->n_parents; i++) {
            int64_t n = net->nodes[node->parents[i]].n / outer;
            memcpy(y, values[node->parents[i]] + o * n, (size_t)n * sizeof *y);
            y += n;
        }
    }
}

static void run_node(const qn_aidge_net *net, const qn_aidge_node *node, const double *input, double *const *values,
                     double *y)
{
    int parent = node->parents[0];
    const double *x = parent == QN_AIDGE_INPUT ? input : values[parent];
    const double *operands[2] = {x, node->n_parents > 1 ? values[node->parents[1]] : NULL};
    switch (node->op) {
    case QN_AIDGE_CONV:
        run_conv(node, x, y);
        break;
    case QN_AIDGE_FC:
        run_fc(node, x, y);
        break;
    case QN_AIDGE_RELU:
    case QN_AIDGE_LEAKY:
        run_activation(node, x, y);
        break;
    case QN_AIDGE_MAX_POOL:
    case QN_AIDGE_AVERAGE_POOL:
        run_pool(node, x, y);
        break;
    case QN_AIDGE_COPY:
        memcpy(y, x, (size_t)node->n * sizeof *y);
        break;
    case QN_AIDGE_TRANSPOSE:
    case QN_AIDGE_PAD:
        run_move(node, parent == QN_AIDGE_INPUT ? net->input_dims : net->nodes[parent].dims, node->rank, x, y);
        break;
    case QN_AIDGE_ADD:
    case QN_AIDGE_SUB:
        run_join(node, operands, y);
        break;
    case QN_AIDGE_CONCAT:
        run_concat(net, node, values, y);
        break;
    case QN_AIDGE_SCALING:
        run_scaling(node, x, y);
        break;
    }
}

double **qn_aidge_values_new(const qn_aidge_net *net)
{
    size_t n_total = 0, table = (size_t)net->n_nodes * sizeof(double *), n_bytes;
    table = (table + sizeof(double) - 1) / sizeof(double) * sizeof(double);
    bool fits = true;
    for (int k = 0; k < net->n_nodes; k++) {
        fits = fits && qn_add_size(n_total, (size_t)net->nodes[k].n, &n_total);
    }
    fits = fits && qn_mul_size(n_total, sizeof(double), &n_bytes) && qn_add_size(n_bytes, table, &n_bytes);
    char *memory = fits ? qn_alloc(n_bytes) : NULL;
    if (memory == NULL) {
        return NULL;
    }
    double **values = (double **)(void *)memory;
    double *next = (double *)(void *)(memory + table);
    for (int k = 0; k < net->n_nodes; k++) {
        values[k] = next;
        next += net->nodes[k].n;
    }
    return values;
}

void qn_aidge_forward(const qn_aidge_net *net, const double *input, double *const *values)
{
    for (int k = 0; k < net->n_nodes; k++) {
        run_node(net, &net->nodes[k], input, values, values[k]);
    }
}
