/* Calibration: the ranges of a network's values over real inputs. */
#ifndef QUERN_CALIBRATE_H
#define QUERN_CALIBRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/dataset.h"
#include "quern/fit.h"
#include "quern/model.h"

typedef struct qn_calibration qn_calibration;

/* done of total items; return false to stop (QN_ECANCELED). */
typedef bool (*qn_progress_fn)(void *ctx, int64_t done, int64_t total);

typedef struct qn_calibrate_options {
    size_t struct_size;
    int n_threads;
    int64_t batch; /* 0: the default */
    qn_progress_fn progress;
    void *progress_ctx;
} qn_calibrate_options;
QN_API void qn_calibrate_options_init(qn_calibrate_options *options);

/* Run the float network over the whole set and record, for every float value: min, max, a histogram of all elements and,
 * per channel (axis 1, which is the last of rank 2 values), least, greatest, greatest magnitude, mean and variance. Memory
 * does not grow with the set. What is computed from given values depends neither on n_threads nor on the batch.
 *  calibration  a new one; NULL unless QN_OK
 *  options      NULL for the defaults
 * Errors: QN_EINVAL for an empty set; QN_ESHAPE (model and data differ); QN_ERANGE (NaN or infinity, naming value and
 * item); QN_ECANCELED (progress said so). */
QN_API QN_NODISCARD qn_status qn_calibrate(qn_calibration **calibration, const qn_model *model, const qn_dataset *data,
                                           const qn_calibrate_options *options, qn_error *err);
QN_API void qn_calibration_free(qn_calibration *calibration);

/* Belongs to the calibration. Arrays hold one number a channel. Files of earlier versions have nothing but min, max and
 * absmax; then the rest is NULL. */
typedef struct qn_range {
    const char *value_name;
    float min, max;
    int64_t n_channels;  /* 0 for values without a channel axis */
    const float *absmax; /* >= 0 */
    const float *channel_min, *channel_max;
    const double *mean, *variance; /* of the population: the mean of squares less the square of the mean; >= 0 */
    const qn_histogram *histogram; /* of all elements, 2048 bins; the least width for which they reach over zero */
} qn_range;
QN_API int64_t qn_calibration_n_items(const qn_calibration *calibration);
QN_API size_t qn_calibration_count(const qn_calibration *calibration);
/* NULL where there is none. */
QN_API const qn_range *qn_calibration_at(const qn_calibration *calibration, size_t index);
QN_API const qn_range *qn_calibration_find(const qn_calibration *calibration, const char *value_name);

/* calib.json: {"quern": version, "schema": 2, "model": {file, sha256}, "data": {file, sha256, count}, "preprocess": {...},
 * "values": {name: {min, max, absmax: [...], channel_min: [...], channel_max: [...], mean: [...], variance: [...],
 * histogram: {n, zeros, width_log2, first, counts}}}}, numbers that survive the round trip. Bin i of a histogram is
 * [first + i, first + i + 1) * 2^width_log2 and holds no zeros; `counts` is a string of the bins from the first that is
 * used to the last, separated by spaces, COUNT*TIMES for TIMES equal ones; n = zeros + their sum. Schema 1 ends at absmax
 * and is read too. The model's sha256 covers its external data (qn_model_info in inspect.h).
 * Loading: QN_EFORMAT for what is malformed or contradicts itself (sums, ranges, counts below 0, NaN), naming the value. */
QN_API QN_NODISCARD qn_status qn_calibration_save(const qn_calibration *calibration, const char *path, bool overwrite,
                                                  qn_error *err);
QN_API QN_NODISCARD qn_status qn_calibration_load(qn_calibration **calibration, const char *path, qn_error *err);
/* Preprocessing the data had; *found as in qn_model_preprocess. */
QN_API QN_NODISCARD qn_status qn_calibration_preprocess(const qn_calibration *calibration, qn_preprocess *pre,
                                                        bool *found, qn_error *err);

/* Parameters of a format, one set for a whole value, by a rule of fit.h ("minmax", "percentile:99.99", "mse", "kl",
 * "aciq", ...), from the histogram alone.
 *  lo, hi  values are clamped to [lo, hi] first, as by the activation that follows: 0 and INFINITY for ReLU, 0 and 6 for
 *          ReLU6, -INFINITY and INFINITY for none; lo <= hi
 *  params  untouched unless QN_OK
 * The full range after clamping is among the candidates of a search, and candidates are compared by the codes that the
 * format really gives them. A value of zeros alone gets neutral parameters. Without histogram (schema 1) only format,
 * minmax, absmax and range= are left. Errors: QN_EINVAL (no such value; rule, format, clamp), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_calibration_fit(const qn_calibration *calibration, const char *value_name,
                                                 qn_format format, const char *rule, double lo, double hi,
                                                 qn_params *params, qn_error *err);
/* The greatest magnitude of a value over its quantile 0.9999 (to a bin, from above; so at most 2048), 1 or more: large
 * where a few elements take the range from all others. 1 for zeros alone and without histogram. */
QN_API double qn_range_outlier_ratio(const qn_range *range);

#endif
