/* One layer's weights on the way to their grid: the part between networks (round_weights.c) and channels (rounding.h). */
#ifndef QN_PTQ_ROUND_LAYER_H
#define QN_PTQ_ROUND_LAYER_H

#include "ptq/moments.h"
#include "ptq/rounding.h"

/*  m            output channels, a whole number for each group of the moments
 *  moments      [n_folds], of different items
 *  weights      [m][k], as in the float network
 *  targets      [m][k], what codes come near to
 *  codes        [m][k]
 *  fixed        [m], the scales that the grid has; they stay unless the options search and `may_scale`
 *  scale        [m]; 0 for a channel of zeros, which is left to its bias
 *  bias_change  [m], what the bias has to make good */
typedef struct qn_round_layer {
    int64_t m, k;
    const qn_moments *moments;
    int n_folds; /* 1 or 2 */
    qn_round_grid grid;
    bool may_scale;
    double *fixed, *weights, *targets, *bias_change;
    int32_t *codes;
    float *scale;
} qn_round_layer;

/* The moments must outlive it. Errors: QN_ENOMEM, QN_ELIMIT. */
qn_status qn_round_layer_make(qn_round_layer *layer, int64_t m, const qn_moments *moments, int n_folds,
                              const char *where, qn_error *err);
void qn_round_layer_free(qn_round_layer *layer);
/* To and from constants [m][k] (rows) or [k][m]; scatter writes codes * scale. */
void qn_round_layer_gather(qn_round_layer *layer, const float *constant, bool rows);
void qn_round_layer_scatter(float *constant, const qn_round_layer *layer, bool rows);
/* h and g ([k][k]; g NULL when not wanted) of a group: of one fold, or of both for fold -1. centered: without the part of
 * the means. A layer without products has the identity for h. */
void qn_round_layer_products(double *h, double *g, const qn_round_layer *layer, int64_t group, int fold, bool centered);
/* Set the targets: the best real weights for the quantized input, ridged towards the weights themselves. How much is
 * chosen for the whole layer by cross-validation: targets learned on one fold are tried on the other, since few data
 * and many weights make targets that fit nothing else. The weights when there is no g. Errors: QN_ENOMEM, QN_ERANGE. */
qn_status qn_round_layer_aim(qn_round_layer *layer, bool centered, const char *where, qn_error *err);
/* Choose scales and codes. centered: means do not count, because a bias will take care of them.
 * Errors: QN_ERANGE for weights or moments that are not finite; QN_ENOMEM. */
qn_status qn_round_layer_run(qn_round_layer *layer, const qn_ptq_round_options *options, bool centered, int n_threads,
                             const char *where, qn_error *err);
/* Take the codes of a constant that is on the grid of these scales already. Errors: QN_EINTERNAL when it is not. */
qn_status qn_round_layer_keep(qn_round_layer *layer, const float *on_grid, const float *scale, bool rows,
                              const char *where, qn_error *err);
/* bias_change = E[w.x] - E[v.z]: then the mean of every output channel is that of the float network, on these data
 * (Nagel et al., "Data-free quantization", ICCV 2019, section 4.2, with means that were measured). */
void qn_round_layer_correct(qn_round_layer *layer);

/* All of that for a node of ptq->graph, and the results into its constants, pinned. Errors: as above. */
qn_status qn_round_node(qn_ptq *ptq, qn_node *node, const qn_ptq_round_options *options, const qn_moments *moments,
                        int n_folds, qn_error *err);

#endif
