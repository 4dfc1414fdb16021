/* The model in the forms of quantized ONNX that other tools read. */
#ifndef QN_EXPORT_ONNX_FORMS_H
#define QN_EXPORT_ONNX_FORMS_H

#include "export/target.h"

/* Write the model to `path` in a form. Where the form does not hold it, nothing is written and `why` says what it
 * cannot hold (its status is QN_EUNSUPPORTED); it is QN_OK otherwise. */
qn_status qn_export_onnx_form(qn_export_job *job, qn_onnx_form form, const char *path, qn_error *why, qn_error *err);
/* A form of a manifest's section of this target: QN_ONNX_AUTO where it names none. */
qn_onnx_form qn_export_onnx_form_of(const json_t *section);

#endif
