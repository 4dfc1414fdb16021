/* Models: ONNX files in, ONNX files out. */
#ifndef QUERN_MODEL_H
#define QUERN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/dataset.h"
#include "quern/tensor.h"

/* A network: a float graph whose values may carry quantizers (QDQ pairs and org.quern nodes of the file are folded into
 * them: doc/spec/onnx.md). */
typedef struct qn_model qn_model;

/* Read an ONNX file (opset 7 to 21, IR version 3 to 10; external data is looked for beside the file and nowhere else).
 * Operators and attributes quern does not know, and nodes with a wrong number of inputs, are refused, all of them in one list
 * with the nodes' names and what to do.
 * Errors: QN_EIO, QN_EFORMAT (not ONNX, truncated, inconsistent, a quantizer or metadata quern.* that break their rules:
 * names the node, tensor or key), QN_EUNSUPPORTED, QN_ELIMIT, QN_ERANGE (NaN or infinity in an initializer, or what codes
 * stand for), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_model_load(qn_model **model, const char *path, qn_error *err);
/* The same from memory, which is not needed afterwards. `name` stands for the path in messages. */
QN_API QN_NODISCARD qn_status qn_model_load_memory(qn_model **model, const void *data, size_t n_bytes, const char *name,
                                                   qn_error *err);
/* The two with such nodes, to look at: qn_inspect (inspect.h) tells of them, making a program refuses them. */
QN_API QN_NODISCARD qn_status qn_model_load_any(qn_model **model, const char *path, qn_error *err);
QN_API QN_NODISCARD qn_status qn_model_load_any_memory(qn_model **model, const void *data, size_t n_bytes,
                                                       const char *name, qn_error *err);
QN_API void qn_model_free(qn_model *model);

/* How a file says quantization (doc/spec/onnx.md). X(name, value, text, summary); values are part of the ABI.
 *  auto       pairs where they hold a quantizer, nodes of domain org.quern for the rest: holds every model
 *  qdq        pairs alone; the opset is raised to 19 or 21 where float8 or int4 need it
 *  qoperator  integer operators (QLinearConv, com.microsoft.QGemm, ...) on codes; other nodes in float between
 *             DequantizeLinear and QuantizeLinear; codes of 8, 16 and 32 bits
 *  qonnx      Quant, FloatQuant and BipolarQuant of domain qonnx.custom_op.general on floats
 *  org        FakeQuantize and Dequantize of domain org.quern alone: holds every model */
#define QN_ONNX_FORM_LIST(X)                                                                                           \
    X(QN_ONNX_AUTO, 0, "auto", "QuantizeLinear, DequantizeLinear; what they cannot hold in nodes of org.quern")        \
    X(QN_ONNX_QDQ, 1, "qdq", "QuantizeLinear, DequantizeLinear and nothing else")                                      \
    X(QN_ONNX_QOPERATOR, 2, "qoperator", "QLinearConv, QGemm and the like, on codes")                                  \
    X(QN_ONNX_QONNX, 3, "qonnx", "Quant, FloatQuant, BipolarQuant of qonnx.custom_op.general")                         \
    X(QN_ONNX_ORG, 4, "org", "nodes of org.quern and nothing else")

typedef enum qn_onnx_form {
#define QN_ONNX_FORM_ENUM(name, value, text, summary) name = value,
    QN_ONNX_FORM_LIST(QN_ONNX_FORM_ENUM)
#undef QN_ONNX_FORM_ENUM
} qn_onnx_form;
/* Name and summary; NULL beyond the last. Static. */
QN_API const char *qn_onnx_form_text(qn_onnx_form form);
QN_API const char *qn_onnx_form_summary(qn_onnx_form form);
/* QN_EINVAL listing the names and the nearest. */
QN_API QN_NODISCARD qn_status qn_onnx_form_parse(qn_onnx_form *form, const char *text, qn_error *err);

/* Write ONNX, which qn_model_load reads as the same model, and saves as the same bytes. Quantizers of any format: those that
 * QuantizeLinear and DequantizeLinear hold become such pairs (the opset is raised to 13, for 16 bits to 21; int4 and float8
 * only where it is 21 or 19 already), all others nodes of domain org.quern (doc/spec/onnx.md). Constants with a quantizer
 * and no codes yet are encoded. The file appears whole or not at all.
 * Errors: QN_EEXIST unless `overwrite`; QN_EIO; QN_EUNSUPPORTED for operators quern does not know, quantized constants that
 * are not finite float32 or have a dynamic quantizer; QN_EINVAL for quantizers that break their rules; QN_ELIMIT (2 GiB);
 * QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_model_save(const qn_model *model, const char *path, bool overwrite, qn_error *err);
/* The same in a form of the caller's choice. QN_EUNSUPPORTED too where the form does not hold a quantizer or a node: lists
 * their values, format, reason and remedy. QN_EINVAL for a model without quantizers, which has no form but `auto`. */
QN_API QN_NODISCARD qn_status qn_model_save_as(const qn_model *model, const char *path, qn_onnx_form form,
                                               bool overwrite, qn_error *err);

/* `name` belongs to the model; rank -1 where the file declares no shape. */
typedef struct qn_io_info {
    const char *name;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK]; /* -1 for dynamic */
} qn_io_info;
/* QN_EINVAL when there is no such input or output. */
QN_API QN_NODISCARD qn_status qn_model_input(const qn_model *model, size_t index, qn_io_info *info, qn_error *err);
QN_API QN_NODISCARD qn_status qn_model_output(const qn_model *model, size_t index, qn_io_info *info, qn_error *err);

/* A copy of a constant (initializer) as float32, decoded where the model holds it in codes. Errors: QN_EINVAL (no such
 * constant; names some that there are), QN_EUNSUPPORTED (not numbers of a float type), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_model_constant(qn_tensor *t, const qn_model *model, const char *name, qn_error *err);

/* The integers of a coded constant (weight, bias) and what makes reals of them:
 *
 *     x[k] == (float)(z[k] - zero_point[s]) * scale[s]        s = k / run % n_scales, the product in float32
 *
 * for every element k, x being what qn_model_constant gives and what every engine computes with. Views, which belong to the
 * model and last as long.
 *  z           s8, u8, s16, u16 or s32 (of codes with few bits, the smallest of them), the constant's shape, C order
 *  bits        of a code, 1..32; two's complement where z is of a signed type
 *  scale       n_scales of them, finite, normal, above 0
 *  zero_point  n_scales of them, or NULL, which stands for zeros; weights and biases that quern codes have zeros
 *  axis        the one that has a scale for each index (output channels); -1: one scale for all, n_scales 1
 *  run         consecutive elements that share a scale: those behind the axis */
typedef struct qn_integer_constant {
    qn_tensor z;
    int bits;
    const float *scale;
    const int32_t *zero_point;
    int64_t n_scales;
    int axis;
    int64_t run;
} qn_integer_constant;
/* Errors: QN_EINVAL (no such constant; names some that there are), QN_EUNSUPPORTED (its codes are no integers, or groups of
 * elements along an axis share scales: says which format; qn_model_constant has the reals). */
QN_API QN_NODISCARD qn_status qn_integers(qn_integer_constant *integers, const qn_model *model, const char *name,
                                          qn_error *err);
/* The name of constant `index` of those for which qn_integers gives some, in the model's order; NULL beyond the last. */
QN_API const char *qn_integers_name(const qn_model *model, size_t index);

/* Does any value carry a quantizer, or any node quantize while the network runs? */
QN_API bool qn_model_is_quantized(const qn_model *model);

/* metadata_props. NULL when absent; the text belongs to the model and lasts until the key is set again. */
QN_API const char *qn_model_metadata(const qn_model *model, const char *key);
QN_API QN_NODISCARD qn_status qn_model_set_metadata(qn_model *model, const char *key, const char *value, qn_error *err);
/* The recorded preprocessing (key "quern.preprocess"); *found says whether there is one, and `pre` is set only then. */
QN_API QN_NODISCARD qn_status qn_model_preprocess(const qn_model *model, qn_preprocess *pre, bool *found,
                                                  qn_error *err);

#endif
