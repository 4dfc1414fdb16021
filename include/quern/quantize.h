/* Post-training quantization. */
#ifndef QUERN_QUANTIZE_H
#define QUERN_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/calibrate.h"
#include "quern/model.h"

typedef struct qn_quantize_options {
    size_t struct_size;
} qn_quantize_options;
QN_API void qn_quantize_options_init(qn_quantize_options *options);

/* What was done to one value, and why. Strings belong to the report. */
typedef struct qn_quantize_row {
    const char *node_name, *op_type; /* the node whose output or weight it is; "" for a graph input */
    const char *value_name;
    const char *role;   /* "input", "activation", "weight", "bias" */
    const char *format; /* "uint8", "int8 per channel", "int32" */
    float min, max;     /* real range represented; infinite where it is beyond float32, and null in JSON */
    float scale_min, scale_max;
    int32_t zero_point; /* of the first channel */
    int64_t n_channels; /* 1 for per tensor */
    int64_t n_raised;   /* weight channels whose scale was raised so that the int32 bias fits */
    const char *note;   /* "" or a sentence */
} qn_quantize_row;
typedef struct qn_quantize_report qn_quantize_report;
QN_API size_t qn_quantize_report_count(const qn_quantize_report *report);
QN_API const qn_quantize_row *qn_quantize_report_at(const qn_quantize_report *report, size_t index);
QN_API void qn_quantize_report_free(qn_quantize_report *report);
/* JSON object as text, released with free(). */
QN_API QN_NODISCARD qn_status qn_quantize_report_to_json(const qn_quantize_report *report, char **text, qn_error *err);

/* Whether qn_quantize could take this model, as far as that does not depend on ranges: worth asking before a long
 * calibration. Errors: QN_EUNSUPPORTED listing every node without an integer form; QN_EINVAL for a model that is quantized
 * already; QN_ERANGE for NaN in weights; those of shape inference; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantize_check(const qn_model *model, qn_error *err);

/* Make an int8 model: fold BatchNorm, fuse ReLU and Clip, weights int8 symmetric per channel, activations uint8 affine
 * per tensor from the calibrated min and max, biases int32. The result takes and gives float.
 *  quantized  a new model; NULL unless QN_OK
 *  options    NULL for the defaults
 *  report     may be NULL; otherwise a new report, released by qn_quantize_report_free
 * Errors: QN_EUNSUPPORTED listing every node without an integer form; QN_EINVAL when the calibration lacks a value;
 * QN_ERANGE for NaN in weights; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantize(qn_model **quantized, const qn_model *model,
                                          const qn_calibration *calibration, const qn_quantize_options *options,
                                          qn_quantize_report **report, qn_error *err);

#endif
