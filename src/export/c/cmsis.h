/* Layers that CMSIS-NN computes, of an export with that option.
 *
 * Which ones: those whose result is the model's, byte for byte, on every processor that the library has code for
 * (cmsis_why.c). How they are called: cmsis_print.c. doc/spec/export.md, 5.1, says of what version, and where each fact
 * about it is from. All of it is nothing for an export without the option. */
#ifndef QN_EXPORT_C_CMSIS_H
#define QN_EXPORT_C_CMSIS_H

#include "export/c/parts.h"

/* Why a layer is not computed by CMSIS-NN; NULL: it is. */
const char *qn_c_cmsis_why(const qn_export_network *network, int layer);
/* The function that computes such a layer. */
const char *qn_c_cmsis_function(const qn_export_network *network, int layer);
/* The option was given, and CMSIS-NN computes the layer. */
bool qn_c_cmsis_takes(const qn_c_plan *plan, int layer);
/* A matrix, or a kernel of one pixel without padding: a 1 x 1 convolution to CMSIS-NN. */
bool qn_c_cmsis_is_pixel(const qn_export_network *network, const qn_export_layer *layer);

/* CMSIS-NN's terms for a ratio: multiplier * 2^(shift - 31), the multiplier 2^30 or greater where it can be. */
qn_ratio qn_c_cmsis_ratio(qn_ratio ratio);

/* Scratch memory in bytes: of the code for any processor, for those with the DSP extension, the same built by armclang,
 * and for those with MVE. */
typedef enum qn_c_cmsis_processor {
    QN_C_CMSIS_ANY,
    QN_C_CMSIS_DSP,
    QN_C_CMSIS_DSP_ARMCLANG,
    QN_C_CMSIS_MVE,
    QN_C_CMSIS_PROCESSORS,
} qn_c_cmsis_processor;
int64_t qn_c_cmsis_bytes(const qn_export_network *network, int layer, qn_c_cmsis_processor processor);
/* The most that a layer of the network asks for. */
int64_t qn_c_cmsis_most_bytes(const qn_c_plan *plan, qn_c_cmsis_processor processor);

/* How the library has to be built. */
typedef enum qn_c_cmsis_rounding { QN_C_CMSIS_ANY_ROUNDING, QN_C_CMSIS_TWICE, QN_C_CMSIS_SINGLE } qn_c_cmsis_rounding;
qn_c_cmsis_rounding qn_c_cmsis_rounding_of(const qn_c_plan *plan);

/* Text in model.h; in model.c before everything, a function for each layer, a call in model_run. */
void qn_c_cmsis_print_header(qn_export_text *text, const qn_c_plan *plan);
void qn_c_cmsis_print_start(qn_export_text *text, const qn_c_plan *plan);
void qn_c_cmsis_print_layers(qn_export_text *text, const qn_c_plan *plan);
void qn_c_cmsis_print_call(qn_export_text *text, const qn_c_plan *plan, int layer);

/* Refuse a network of which CMSIS-NN computes nothing: QN_EUNSUPPORTED with all reasons. */
qn_status qn_c_cmsis_check(const qn_c_plan *plan, qn_error *err);
/* cmsis_nn.mk, the report, the section of the manifest. */
qn_status qn_c_cmsis_write(qn_export_job *job, const qn_c_plan *plan, qn_error *err);

#endif
