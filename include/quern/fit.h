/* Range rules: how parameters of a format are chosen for values, given as a tensor (qn_fit in codes.h, which takes a
 * rule's name) or as a histogram that was gathered batch by batch. */
#ifndef QUERN_FIT_H
#define QUERN_FIT_H

#include <stddef.h>
#include <stdint.h>

#include "quern/codes.h"
#include "quern/format.h"
#include "quern/tensor.h"

/* X(name, value, text). What the range [lo, hi] is that a format's parameters are made for:
 *  format          what the format's own fit says (of its values, where it needs them; else minmax)
 *  minmax, absmax  [min, max]; [-m, m] with m the greatest magnitude
 *  percentile:P    from percentile (100-P)/2 to (100+P)/2 of the values, 0 < P <= 100, between order statistics linearly
 *  abs-percentile:P  [-m, m] with m percentile P of the magnitudes
 *  mse, l1, kl     [c min, c max] with the c of 1/1000 to 1 whose codes have the least squared error, absolute error, or
 *                  Kullback-Leibler divergence from the values; and from there, where the format's parameters follow both
 *                  ends, [a min, b max] as long as it gets better. l1 weighs a clipped value no more than a rounded one:
 *                  of b-bit codes it clips about one in 2^(b+2) of the values that are not zero, whatever their tail, so
 *                  at 8 bits mse keeps more of a signal. kl is KL(P||Q) over the bins of a histogram that the codes
 *                  reach, zeros left out of both: P is what they hold, those beyond added to the outermost; Q is what they
 *                  hold without those, bins that share a code sharing its mass evenly unless empty. Bins hold at least
 *                  1024 values on the average, and codes are no finer than bins: of few values the range is the whole
 *  aciq-laplace    [min, max] clipped to +-a, a = W(3*4^b) sqrt(variance/2) for b-bit codes (Banner et al., 2019)
 *  aciq-gelu       the same, a = W(3*4^(b+1)) sqrt(mean x^2)
 *  ds-aciq         the same, a = W(3*4^(b+1)) b*, b* by directed search for the Laplace density nearest to the values'
 *  aciq            a for the density, Laplace's or Gauss', that makes the values likelier (Banner et al., 2019): mean +- a,
 *                  clipped to [min, max], with a = W(3*4^b) E|x - mean|, or sqrt(variance) times the t that has t/(3*4^b) =
 *                  2(phi(t) - t Q(t)). Of values of one sign: half such a density about 0, zeros left out; b + 1 for b
 *                  where the format then gives all codes to that side. It trusts the density's tail: right at 4 bits and
 *                  fewer, while at 8 bits (9.89 E|x - mean|, 3.92 deviations) the real tail is heavier and minmax better
 *  range=R         [-R, R]; range=LO,HI too
 *  params=FILE     no range: the parameters of a file written by qn_quantizer_write_json
 * All but format and params may end in "*F": the range is multiplied by F. W is Lambert's function. */
#define QN_RULE_LIST(X)                                                                                                \
    X(QN_RULE_FORMAT, 0, "format")                                                                                     \
    X(QN_RULE_MINMAX, 1, "minmax")                                                                                     \
    X(QN_RULE_ABSMAX, 2, "absmax")                                                                                     \
    X(QN_RULE_PERCENTILE, 3, "percentile")                                                                             \
    X(QN_RULE_ABS_PERCENTILE, 4, "abs-percentile")                                                                     \
    X(QN_RULE_MSE, 5, "mse")                                                                                           \
    X(QN_RULE_L1, 6, "l1")                                                                                             \
    X(QN_RULE_KL, 7, "kl")                                                                                             \
    X(QN_RULE_ACIQ_LAPLACE, 8, "aciq-laplace")                                                                         \
    X(QN_RULE_ACIQ_GELU, 9, "aciq-gelu")                                                                               \
    X(QN_RULE_DS_ACIQ, 10, "ds-aciq")                                                                                  \
    X(QN_RULE_RANGE, 11, "range")                                                                                      \
    X(QN_RULE_PARAMS, 12, "params")                                                                                    \
    X(QN_RULE_ACIQ, 13, "aciq")

typedef enum qn_rule_kind {
#define QN_RULE_ENUM(name, value, text) name = value,
    QN_RULE_LIST(QN_RULE_ENUM)
#undef QN_RULE_ENUM
} qn_rule_kind;

enum { QN_RULE_PATH_MAX = 1024, QN_RULE_NAME_MAX = QN_RULE_PATH_MAX + 16 };

/* A rule, plain data. Zeroed, it is the format's own. */
typedef struct qn_fit_rule {
    qn_rule_kind kind;
    double percentile;           /* percentile, abs-percentile: in (0, 100] */
    double lo, hi;               /* range: finite, lo <= hi */
    double factor;               /* of the range; 0 stands for 1 */
    char path[QN_RULE_PATH_MAX]; /* params */
} qn_fit_rule;

/* Make a rule from its text: "mse", "percentile:99.9", "range=-1,3", "absmax*0.5". `rule` is untouched unless QN_OK.
 * Errors: QN_EINVAL, which says what part is wrong, what is legal, and the nearest rule. */
QN_API QN_NODISCARD qn_status qn_fit_rule_parse(qn_fit_rule *rule, const char *text, qn_error *err);
/* The canonical text, which parses to the same rule. */
QN_API void qn_fit_rule_name(char name[QN_RULE_NAME_MAX], const qn_fit_rule *rule);

/* Counts of values in bins whose width is a power of two, with bin borders at its multiples. As values come, the width
 * doubles whenever they would need more than the bins there are; so what a histogram holds depends on the values alone,
 * not on their order, batches or merging. Zeros are counted apart. Owned by the caller; one thread at a time. */
typedef struct qn_histogram qn_histogram;

/* n_bins: 0 for the default of 2048, or 16 to 65536. Errors: QN_EINVAL, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_histogram_new(qn_histogram **histogram, int n_bins, qn_error *err);
QN_API void qn_histogram_free(qn_histogram *histogram);
/* Count the values of a tensor, f32 or f64. NaN and infinities by policy: NaN as zero, infinities left out. Errors:
 * QN_EINVAL, QN_ERANGE (the element named). The histogram is as before unless QN_OK. */
QN_API QN_NODISCARD qn_status qn_histogram_add(qn_histogram *histogram, const qn_tensor *x, qn_nan_policy nan,
                                               qn_inf_policy inf, qn_error *err);
/* Add the counts of `other`, which has the same number of bins (QN_EINVAL). */
QN_API QN_NODISCARD qn_status qn_histogram_merge(qn_histogram *histogram, const qn_histogram *other, qn_error *err);

/* What a histogram holds. Bin i is [first_bin + i, first_bin + i + 1) * width; counts belong to the histogram and stay
 * until it is changed. */
typedef struct qn_histogram_view {
    int64_t n; /* values, zeros included */
    int64_t n_zeros;
    double min, max; /* exact; 0 when n is 0 */
    double width;
    int64_t first_bin;
    int n_bins; /* from the first that is used to the last */
    const int64_t *counts;
} qn_histogram_view;
QN_API void qn_histogram_get(qn_histogram_view *view, const qn_histogram *histogram);

/* Parameters of a format for the values of a histogram. The format's own fit of values, where it has one, is made from
 * the bins' middles. An empty histogram gives neutral parameters. Errors: QN_EINVAL (format, rule; params=). */
QN_API QN_NODISCARD qn_status qn_fit_histogram(qn_params *params, qn_format format, const qn_fit_rule *rule,
                                               const qn_histogram *histogram, qn_error *err);

/* A quantizer as a JSON file: {"format", "axis", "group", "shape", and those of "scale", "zero_point", "exp_bias",
 * "shift", "multiplier" that the format has, one number per set}; numbers are decimal and read back as they were.
 * Errors: QN_EINVAL (the quantizer does not fit the shape), QN_EIO, QN_EEXIST unless `overwrite`, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantizer_write_json(const qn_quantizer *q, int rank, const int64_t *dims,
                                                      const char *path, bool overwrite, qn_error *err);
/* Read one, as if made by qn_quantizer_new. The shape it was made for goes to *rank and dims, which may be NULL.
 * Errors: QN_EIO, QN_EFORMAT, QN_EINVAL, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantizer_read_json(qn_quantizer **q, int *rank, int64_t dims[QN_MAX_RANK],
                                                     const char *path, qn_error *err);

#endif
