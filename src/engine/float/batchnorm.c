/* BatchNormalization that was not folded into a convolution: one multiplication and addition per element, in the layout
 * the input has. Its four parameters become scale and shift first, before any run when they are constant. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

typedef struct {
    int64_t channels, padded; /* padded: a whole number of blocks */
    float epsilon;
} fold_params;

/* args[0]: scale[padded], then shift[padded]; 0 in the padding, which so stays 0. Sources: gamma, beta, mean,
 * variance. */
static void run_fold(const void *params, void *const *args)
{
    const fold_params *p = params;
    float *scale = args[0], *shift = scale + p->padded;
    const float *gamma = args[1], *beta = args[2], *mean = args[3], *variance = args[4];
    memset(scale, 0, 2 * (size_t)p->padded * sizeof *scale);
    for (int64_t c = 0; c < p->channels; c++) {
        double s = gamma[c] / sqrt((double)variance[c] + (double)p->epsilon);
        scale[c] = (float)s;
        shift[c] = (float)(beta[c] - mean[c] * s);
    }
}

/* Rows of `width` channels (channels innermost), n_rows of them in each of n_groups groups; group g starts at channel
 * g * width modulo `padded`. Plain layouts: width 1, and a group is one channel's plane. */
typedef struct {
    const qn_float_lanes *lanes;
    int64_t padded, width, n_groups, n_rows;
    qn_float_clamp clamp; /* afterwards */
} apply_params;

/* Elements per turn where a clamp follows: they stay in the first cache. */
enum { CHUNK = 2048 };

/* `n_rows` rows of one group. */
static void apply_rows(const apply_params *p, float *y, const float *x, const float *scale, const float *shift,
                       int64_t n_rows)
{
    if (p->width == 1) {
        p->lanes->affine(y, x, *scale, *shift, n_rows);
    } else {
        p->lanes->affine_rows(y, x, scale, shift, n_rows, p->width);
    }
    if (qn_float_clamps(p->clamp)) {
        p->lanes->clamp(y, y, p->clamp.lo, p->clamp.hi, n_rows * p->width);
    }
}

static void run_apply(const void *params, void *const *args)
{
    const apply_params *p = params;
    const float *x = args[1], *scale = args[2], *shift = scale + p->padded;
    float *y = args[0];
    int64_t channel = 0, turn = qn_float_clamps(p->clamp) && p->width < CHUNK ? CHUNK / p->width : p->n_rows;
    for (int64_t g = 0; g < p->n_groups; g++) {
        for (int64_t row = 0; row < p->n_rows; row += turn) {
            int64_t n = p->n_rows - row < turn ? p->n_rows - row : turn;
            apply_rows(p, y, x, scale + channel, shift + channel, n);
            x += n * p->width;
            y += n * p->width;
        }
        channel = channel + p->width == p->padded ? 0 : channel + p->width;
    }
}

static apply_params apply_to(const qn_float_builder *b, const qn_float_tensor *x)
{
    int64_t inner = 1, channels = x->rank > 1 ? x->dims[1] : 1;
    for (int i = 2; i < x->rank; i++) {
        inner *= x->dims[i];
    }
    apply_params p = {.lanes = b->code->lanes, .padded = channels, .width = 1, .n_rows = inner};
    if (x->layout == QN_FLOAT_BLOCKED) {
        p.width = x->block;
        p.padded = (channels + x->block - 1) / x->block * x->block;
    } else if (x->layout == QN_FLOAT_LAST || inner == 1) {
        p.width = channels;
    }
    p.n_groups = x->n_stored / (p.n_rows * p.width);
    return p;
}

/* In a watched program: y follows from x, when its parameters are known. */
static qn_status derive(qn_float_builder *b, const qn_node *node, qn_float_id folded, int64_t padded, qn_error *err)
{
    if (!qn_float_is_constant(b, folded)) {
        return QN_OK;
    }
    const float *scale = b->code->slots[qn_float_at(b, folded)->slot].constant;
    const qn_float_clamp none = {-INFINITY, INFINITY};
    return qn_float_derive(b, node->outputs[0], node->inputs[0], scale, scale + padded, none, err);
}

qn_status qn_float_lower_batchnorm(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id x, y, folded, parameters[4];
    qn_value_id result = node->outputs[0];
    QN_TRY(qn_float_read(b, node->inputs[0], &x, err));
    for (int i = 0; i < 4; i++) {
        QN_TRY(qn_float_read_plain(b, node->inputs[1 + i], &parameters[i], err));
    }
    QN_TRY(qn_float_new_like(b, x, &y, err));
    if (qn_float_at(b, x)->n_elems > 0) {
        apply_params apply = apply_to(b, qn_float_at(b, x));
        const fold_params fold = {.channels = qn_float_at(b, parameters[0])->n_elems,
                                  .padded = apply.padded,
                                  .epsilon = qn_node_float(node, "epsilon", 1e-5f)};
        QN_TRY(qn_float_new(b, QN_DTYPE_F32, 1, (int64_t[]){2 * apply.padded}, &folded, err));
        QN_TRY(qn_float_add_kernel(b, run_fold, &fold, sizeof fold, folded, 4, parameters, err));
        QN_TRY(derive(b, node, folded, apply.padded, err));
        qn_float_clamp clamp;
        QN_TRY(qn_float_fuse_clamp(b, node, &result, &clamp, err));
        bool padding_moves = qn_float_padded(qn_float_at(b, x)) && !(clamp.lo <= 0 && clamp.hi >= 0);
        apply.clamp = padding_moves ? (qn_float_clamp){-INFINITY, INFINITY} : clamp;
        const qn_float_id sources[] = {x, folded};
        QN_TRY(qn_float_add_kernel(b, run_apply, &apply, sizeof apply, y, 2, sources, err));
        if (padding_moves) {
            QN_TRY(qn_float_add_clamp(b, y, clamp, &y, err));
        }
    }
    return qn_float_define(b, result, y, err);
}
