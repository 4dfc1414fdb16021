/* Post-training quantization. */
#ifndef QUERN_QUANTIZE_H
#define QUERN_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/arithmetic.h"
#include "quern/calibrate.h"
#include "quern/dataset.h"
#include "quern/model.h"

/* Settings of some nodes: those whose name or operator type matches the glob (fnmatch: * ? [...]). A node without a name
 * goes by that of its first output. Later ones win. */
typedef struct qn_quantize_set {
    const char *glob;
    const char *settings; /* "weights=int4,activations=int8,bias=int32,per=tensor" */
} qn_quantize_set;

/* How to quantize. Zero or NULL: as the recipe says.
 *  recipe       name of a recipe of the library, a file that ends in ".yaml", or either followed by ":option=value,...";
 *               NULL is "best"
 *  weights, activations, bias   names of formats (quern/format.h), or "float". An integer format without a fit of its own
 *               is affine for activations and symmetric for weights
 *  per          granularity of weights: "channel", "tensor" or "group:N"
 *  sets         overrides for some nodes
 *  keep_float   globs of nodes that stay in float
 *  ranges       "static" or "dynamic": dynamic ranges of activations are taken anew from each item (simulation only)
 *  arithmetic   how the integer network rounds
 *  no_rounding  do everything but the rounding: the result is a float network whose values are clipped to the ranges
 *  store        how files hold weights of 2 to 7 bits: "packed" (NULL), or "int8": as QDQ that ONNX Runtime runs, in
 *               metadata how many bits they have
 *  data         inputs for passes that run the network; NULL leaves those passes out, and the report names them
 *  n_threads    0: the processors this process may use
 *  progress     may be NULL
 * What pointers point to belongs to the caller. */
typedef struct qn_quantize_options {
    size_t struct_size;
    const char *recipe;
    const char *weights, *activations, *bias, *per, *ranges;
    const qn_quantize_set *sets;
    size_t n_sets;
    const char *const *keep_float;
    size_t n_keep_float;
    const qn_arithmetic *arithmetic;
    bool no_rounding;
    const qn_dataset *data;
    int n_threads;
    qn_progress_fn progress;
    void *progress_ctx;
    const char *store;
} qn_quantize_options;
QN_API void qn_quantize_options_init(qn_quantize_options *options);

/* The recipes of the library: name and one line about it; NULL beyond the last. */
QN_API const char *qn_recipe_name(size_t index);
QN_API const char *qn_recipe_summary(size_t index);
/* The YAML text of a recipe, options of `recipe` applied; it is released with free(). Errors: QN_EINVAL listing the
 * choices; QN_EIO, QN_EFORMAT with the line, for files. */
QN_API QN_NODISCARD qn_status qn_recipe_text(char **text, const char *recipe, qn_error *err);
/* The arithmetic a recipe asks for; errors as qn_recipe_text. */
QN_API QN_NODISCARD qn_status qn_recipe_arithmetic(qn_arithmetic *arithmetic, const char *recipe, qn_error *err);
/* The passes recipes are made of; false beyond the last. Strings are static. */
typedef struct qn_pass_info {
    const char *name, *summary;
    bool needs_data;
} qn_pass_info;
QN_API bool qn_pass_at(qn_pass_info *info, size_t index);
/* Option `option` of pass `index`: its name, default, and legal values in words; false beyond the last. */
typedef struct qn_pass_option_info {
    const char *name, *fallback, *choices;
} qn_pass_option_info;
QN_API bool qn_pass_option_at(qn_pass_option_info *info, size_t index, size_t option);

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

/* Remarks that belong to no single value, such as passes left out for want of data; NULL beyond the last. */
QN_API const char *qn_quantize_report_remark(const qn_quantize_report *report, size_t index);

/* Whether qn_quantize could take this model, as far as that does not depend on ranges: worth asking before a long
 * calibration. `options` may be NULL. Errors: QN_EUNSUPPORTED listing every node that no engine can run; QN_EINVAL for a
 * model that is quantized already, for options that contradict each other, unknown names, globs that match nothing; QN_ERANGE
 * for NaN in weights; those of shape inference; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantize_check(const qn_model *model, const qn_quantize_options *options,
                                                qn_error *err);

/* Quantize a float model by a recipe. The result takes and gives float.
 *  quantized    a new model; NULL unless QN_OK
 *  calibration  of this model; NULL: it is made from options->data
 *  options      NULL for the defaults
 *  report       may be NULL; otherwise a new report, released by qn_quantize_report_free
 * Errors: those of qn_quantize_check; QN_EINVAL when the calibration lacks a value, or when there is neither calibration nor
 * data; QN_ERANGE, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_quantize(qn_model **quantized, const qn_model *model,
                                          const qn_calibration *calibration, const qn_quantize_options *options,
                                          qn_quantize_report **report, qn_error *err);

#endif
