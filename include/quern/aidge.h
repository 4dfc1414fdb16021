/* The recipe `aidge`: post-training quantization as the library aidge_quantization 0.3.1 does it, number for number
 * (doc/passes.md). Per tensor, symmetric, in double throughout. */
#ifndef QUERN_AIDGE_H
#define QUERN_AIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/model.h"

/* How a range is clipped. X(name, value, text); the values are Aidge's. */
#define QN_AIDGE_CLIP_LIST(X)                                                                                          \
    X(QN_AIDGE_CLIP_MAX, 1, "max") /* not at all */                                                                    \
    X(QN_AIDGE_CLIP_MSE, 2, "mse") /* least squared error */                                                           \
    X(QN_AIDGE_CLIP_AA, 3, "aa")   /* least absolute error */                                                          \
    X(QN_AIDGE_CLIP_KL, 4, "kl")   /* least divergence of the quantized from the original distribution */

typedef enum qn_aidge_clip {
#define QN_AIDGE_CLIP_ENUM(name, value, text) name = value,
    QN_AIDGE_CLIP_LIST(QN_AIDGE_CLIP_ENUM)
#undef QN_AIDGE_CLIP_ENUM
} qn_aidge_clip;

/* A branch that reaches an Add, Sub or Concat through nodes behind a fork gets no scaling node of its own from Aidge, which
 * then rescales both consumers of the fork: its result is wrong.
 *  residual  the branch gets one
 *  library   Aidge's numbers, wrong ones; refused together with `signs` */
typedef enum qn_aidge_forks { QN_AIDGE_FORKS_RESIDUAL = 0, QN_AIDGE_FORKS_LIBRARY = 1 } qn_aidge_forks;

/*  bits       of weights and activations, 2..16; default 8
 *  clip       default max
 *  signs      activations that cannot be negative are unsigned; default false
 *  shift      every quantizer's factor becomes a power of two, rounded up; default false
 *  round      default true; false leaves real numbers and no bounds (Aidge's no_quantization)
 *  forks      default residual
 *  input      the real that is the input's greatest code; default 1, Aidge's only choice. Finite, > 0
 *  n_threads  at least 1; default: the processors this process may use. The result does not depend on it
 *  progress   may be NULL; called by several threads, one at a time, with done of total images */
typedef struct qn_aidge_options {
    size_t struct_size;
    int bits;
    qn_aidge_clip clip;
    bool signs, shift, round;
    qn_aidge_forks forks;
    double input;
    int n_threads;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_aidge_options;
QN_API void qn_aidge_options_init(qn_aidge_options *options);
/* Set fields from "bits=4,clip=mse,signs=1,shift=1,round=1,forks=residual,input=1"; "" sets none. Errors: QN_EINVAL for unknown keys
 * and values, with the choices, and for a key given twice; `options` is untouched then. */
QN_API QN_NODISCARD qn_status qn_aidge_options_parse(qn_aidge_options *options, const char *text, qn_error *err);

typedef struct qn_aidge qn_aidge;

/* Quantize a float network of one input and one output, calibrated on all of `data`, whose values should lie in -input..input
 * (codes are rint(x / input * (2^(bits-1) - 1)); a note tells when they do not).
 *  result   a new one, released by qn_aidge_free; NULL unless QN_OK. It keeps nothing of model and data
 *  options  NULL for the defaults
 * Errors: QN_EINVAL (options, an empty set, a model that is quantized); QN_ECONFLICT (signs without round); QN_EUNSUPPORTED
 * listing every node Aidge has no form for; QN_ESHAPE; QN_ERANGE (weights or a layer's outputs that are all 0, values that
 * are not finite); QN_ECANCELED; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_aidge_quantize(qn_aidge **result, const qn_model *model, const qn_dataset *data,
                                                const qn_aidge_options *options, qn_error *err);
QN_API void qn_aidge_free(qn_aidge *aidge);

/* Remarks on what was skipped or done otherwise, one sentence each; NULL beyond the last. Belongs to `aidge`. */
QN_API const char *qn_aidge_note(const qn_aidge *aidge, size_t index);

/* Elements of one input and of one output. */
QN_API int64_t qn_aidge_input_count(const qn_aidge *aidge);
QN_API int64_t qn_aidge_output_count(const qn_aidge *aidge);
/* What a float input is multiplied by, (2^(bits-1) - 1) / input, and what takes an output of the network back to reals. */
QN_API double qn_aidge_input_scale(const qn_aidge *aidge);
QN_API double qn_aidge_output_scale(const qn_aidge *aidge);
/* Run n inputs in double.
 *  x  f32[n * input_count], as the float network takes it; coded as rint(x / input * (2^(bits-1) - 1)), not clipped; without rint when
 *     round is off
 *  y  f64[n * output_count]: the integers of the last quantizer, not scaled
 * Reentrant. Errors: QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_aidge_run(const qn_aidge *aidge, const float *x, int64_t n, double *y, qn_error *err);

/* Write all numbers as .npz, f64: "weight/NODE" and "bias/NODE" per layer; over the quantizers in the order of their names
 * "scale" [n], "clip" [n, 2] and "coef" [n] (the integer factor in front, NaN where there is none); "input_scale" and
 * "output_scale" []; and the text "meta_json" with the names. Without `round` there are no bounds, and no "clip".
 * Errors: QN_EEXIST unless `overwrite`; QN_EIO; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_aidge_write_npz(const qn_aidge *aidge, const char *path, bool overwrite,
                                                 qn_error *err);

/* The network as a model of integers: the same codes of weights and biases, quantizers whose f32 scales have Aidge's
 * factors as ratios (exactly so for `shift`).
 *  model  the one that was quantized
 * Errors: QN_EUNSUPPORTED (more than 8 bits, not rounded, LeakyRelu); QN_ERANGE (a bias beyond 32 bits); QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_aidge_model(qn_model **quantized, const qn_aidge *aidge, const qn_model *model,
                                             qn_error *err);

#endif
