/* Rounding the weights of one layer by what its outputs lose, on plain arrays.
 *
 * A channel with weights w sees inputs x in the float network; its rounded weights v see inputs z in the quantized one.
 * Over the data, sum (w.x - v.z)^2 = (v - t)' H (v - t) + const with H = sum z z', G = sum z x' and the target
 * t = H^-1 G w. Rounding is a search for the v on the grid that makes this small: by feeding each error on to the
 * weights that are not rounded yet (gptq.c) and by descending from there (learned_rounding.c).
 * Everything is double and has one written order: the same codes on every CPU and for any number of threads.
 * Ownership: a metric owns its arrays; all else is the caller's. Reentrant over different work arrays. */
#ifndef QN_PTQ_ROUNDING_H
#define QN_PTQ_ROUNDING_H

#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "format/quantizer.h"

/* Which scales a grid may have. */
typedef enum qn_round_scale {
    QN_ROUND_SCALE_ANY = 0,
    QN_ROUND_SCALE_POWER_OF_TWO, /* formats with an exponent bias or a shared exponent instead */
    QN_ROUND_SCALE_ONE,          /* formats without parameters */
} qn_round_scale;

/* What a weight may become: scale * value(code) for lo <= code <= hi, where value(code) is levels[code - lo], ascending,
 * or the code itself when levels is NULL. */
typedef struct qn_round_grid {
    int32_t lo, hi;
    const double *levels;
    qn_round_scale step;
} qn_round_grid;

enum { QN_ROUND_BITS_MAX = 8, QN_ROUND_LEVELS = 1 << QN_ROUND_BITS_MAX };
/* The grid of a format: integers as they are; other formats by the finite values of their codes with neutral parameters,
 * written to `levels`, which the grid points to; codes are then indices, not the format's. Errors: QN_EUNSUPPORTED for
 * other formats of more than 8 bits. */
qn_status qn_round_grid_of_format(qn_round_grid *grid, double levels[QN_ROUND_LEVELS], qn_format format,
                                  const char *where, qn_error *err);
/* The least scale the grid may have that is not below `scale`, > 0; 1 where there is no choice. */
double qn_round_grid_scale(const qn_round_grid *grid, double scale);

double qn_round_value(const qn_round_grid *grid, int32_t code);
/* The code of the nearest value to x; ties go to the even integer, or to the greater level; NaN gives lo. */
int32_t qn_round_nearest(const qn_round_grid *grid, double x);

/* H, damped, and its factor.
 *  h       [k][k], H + damping * I
 *  lower   [k][k], H in `order` is lower lower'; above the diagonal undefined
 *  order   ascending by diagonal: rounding goes from the last to the first
 *  damping what was added to the diagonal, > 0 */
typedef struct qn_round_metric {
    int64_t k;
    double *h, *lower, damping;
    int64_t *order;
} qn_round_metric;

/* h: [k][k] symmetric, finite, positive semidefinite; damp: of the mean of the diagonal, > 0 (0.01 is usual). A matrix that
 * is not positive definite in doubles is damped more. Errors: QN_ELIMIT, QN_ENOMEM, QN_ERANGE for NaN. */
qn_status qn_round_metric_make(qn_round_metric *metric, const double *h, int64_t k, double damp, const char *where,
                               qn_error *err);
void qn_round_metric_free(qn_round_metric *metric);

/* targets = (H + damping)^-1 (G + damping) w for n channels, which is w where both networks see the same.
 *  targets, w  [n][k]
 *  g           [k][k], row z, column x; NULL copies w
 *  work        [QN_ROUND_TARGETS_AT_ONCE][k] */
enum { QN_ROUND_TARGETS_AT_ONCE = 16 };
void qn_round_targets(double *targets, const qn_round_metric *metric, const double *g, const double *w, int64_t n,
                      double *work);

/* One channel. scale[i / block] belongs to weight i. */
typedef struct qn_round_channel {
    const qn_round_metric *metric;
    const qn_round_grid *grid;
    const double *target; /* [k] */
    const double *scale;  /* [ceil(k / block)], > 0 */
    int64_t block;
} qn_round_channel;

/* (v - target)' H (v - target) of these codes. work: [2 * k]. */
double qn_round_loss(const qn_round_channel *channel, const int32_t *codes, double *work);
/* Round each weight by itself. */
void qn_round_each(const qn_round_channel *channel, int32_t *codes);
/* Error feedback (Frantar et al., "GPTQ", ICLR 2023): inputs of greatest diagonal first; what the rounding of one loses
 * is made good, as far as it can be, by those still to come. The result is the loss. work: [2 * k]. */
double qn_round_feed(const qn_round_channel *channel, int32_t *codes, double *work);

/* The layer-wise objective of AdaRound (Nagel et al., "Up or Down?", ICML 2020), solved by descent instead of a relaxed
 * gradient method: from given codes, the best step of one weight to a neighbouring code, as long as one helps; then steps
 * of two weights at once; and so on until neither helps.
 *  reach   how far a code may go from the one nearest to its target; 1 is about floor or ceiling
 *  pairs   whether to try two at once, k^2 each time
 * The result is the loss, never more than that of the codes given. work: [6 * k]. */
double qn_round_descend(const qn_round_channel *channel, int32_t *codes, int32_t reach, bool pairs, double *work);

#endif
