/* How an integer network rounds. It is data of the model, never a build option: doc/spec/arithmetic.md, section 4. */
#ifndef QUERN_ARITHMETIC_H
#define QUERN_ARITHMETIC_H

#include <stdbool.h>

#include "quern/format.h"

/* How an accumulator is brought to the scale of the output codes. X(name, value, text). */
#define QN_REQUANTIZE_LIST(X)                                                                                          \
    X(QN_REQUANTIZE_FLOAT, 0, "float")               /* an f32 product, as ONNX Runtime */                             \
    X(QN_REQUANTIZE_FIXED, 1, "fixed")               /* a 31-bit multiplier and a shift, as TFLite */                  \
    X(QN_REQUANTIZE_SHIFT, 2, "shift")               /* one shift: scales are such that the ratio is a power of two */ \
    X(QN_REQUANTIZE_DOUBLE_SHIFT, 3, "double-shift") /* the sum of two shifts */

typedef enum qn_requantization {
#define QN_REQUANTIZE_ENUM(name, value, text) name = value,
    QN_REQUANTIZE_LIST(QN_REQUANTIZE_ENUM)
#undef QN_REQUANTIZE_ENUM
} qn_requantization;

/* The arithmetic of a network. All zero is the default: profile "ort".
 *  requantize        of Conv, Gemm and MatMul
 *  rounding          of the product or shift: nearest-even (0), nearest-away, nearest-up or floor
 *  twice             fixed: round the high half of the product first and the shift then, as TFLite does by default
 *  fixed_sums        Add and average pools in integers, as TFLite's kernels, instead of f32
 *  fused_sums        Add in f32 with fused operations, as ONNX Runtime's kernels; never together with fixed_sums
 *  saturate          sums that leave the accumulator saturate instead of wrapping
 *  accumulator_bits  8..32; 0 means 32 */
typedef struct qn_arithmetic {
    qn_requantization requantize;
    qn_rounding rounding;
    bool twice, fixed_sums, saturate;
    int accumulator_bits;
    bool fused_sums;
} qn_arithmetic;

/* A named set of the above: "ort", "tflite", "tflite-single", "cmsis-nn", "aidge", "n2d2". */
typedef struct qn_profile {
    const char *name, *summary;
    qn_arithmetic arithmetic;
} qn_profile;
/* NULL beyond the last one. */
QN_API const qn_profile *qn_profile_at(size_t index);
/* QN_EINVAL listing the names. */
QN_API QN_NODISCARD qn_status qn_profile_find(const qn_profile **profile, const char *name, qn_error *err);

QN_API const char *qn_requantize_text(qn_requantization requantize);
/* QN_EINVAL listing the names. */
QN_API QN_NODISCARD qn_status qn_requantize_parse(qn_requantization *requantize, const char *text, qn_error *err);
/* The same for the roundings that requantization knows: nearest-even, nearest-away, nearest-up, floor. */
QN_API const char *qn_requantize_rounding_text(qn_rounding rounding);
QN_API QN_NODISCARD qn_status qn_requantize_rounding_parse(qn_rounding *rounding, const char *text, qn_error *err);
/* QN_EINVAL when fields contradict each other or are out of range. `where` may be NULL. */
QN_API QN_NODISCARD qn_status qn_arithmetic_check(const qn_arithmetic *arithmetic, const char *where, qn_error *err);

#endif
