/* The target `hls`: C++ for Vitis HLS (doc/spec/export.md, section hls).
 *
 * fixed.c decides what can be said in ap_fixed. names.c has types, names and arrays as text; defines.c, parameters.c,
 * config_conv.c, weights.c, model.c and vectors.c write a file each; write.c puts them together; check.c reads the
 * constants back. quern_ap.h, quern_hls.h, Makefile and vitis_hls.tcl go along as they are (texts.S). */
#ifndef QN_EXPORT_HLS_H
#define QN_EXPORT_HLS_H

#include "export/constants.h"
#include "export/target.h"

/* Numbers of more bits may lose some as doubles, in which decimals are read. */
enum { QN_HLS_EXACT_BITS = 53 };

/* A convolution in fixed point: x, w and sums as numbers, whose conversion to the output's type is the requantization.
 *  reason        why there is no such view; NULL: there is
 *  fraction_w    bits of weights behind the point, the most that a channel has; width_w bits in all
 *  fraction_sum, width_sum  of the accumulator; width_bias of the bias, with as many behind the point
 *  raise         per output channel: weights and bias are codes * 2^raise in that grid */
typedef struct qn_hls_fixed {
    const char *reason;
    int fraction_w, width_w, fraction_sum, width_sum, width_bias;
    int *raise;
} qn_hls_fixed;

/*  fixed       per layer; of layers other than convolutions only `reason` counts
 *  constants   of the network, by whose ids the manifest finds files
 *  arena       of the writing */
typedef struct qn_hls {
    qn_export_job *job;
    const qn_export_network *network;
    qn_hls_fixed *fixed;
    int n_fixed; /* layers in fixed point */
    qn_export_constants constants;
    qn_arena arena;
} qn_hls;

/* fixed.c */
/* Can the tensor's codes be ap_fixed: scale 2^-fraction, zero point 0? */
bool qn_hls_tensor_fraction(const qn_export_tensor *t, int *fraction);
qn_status qn_hls_decide(qn_hls *hls, qn_error *err);

/* names.c; types and variables of tensors are those of their bases. */
enum { QN_HLS_NAME_MAX = 64 };
const char *qn_hls_type(char text[QN_HLS_NAME_MAX], const qn_export_network *n, int tensor);
const char *qn_hls_variable(const qn_export_network *n, int tensor);
/* "AP_RND_CONV" ... */
const char *qn_hls_rounding(qn_rounding rounding);
/* A name of the model in a comment: what is not printable ASCII, and what could join lines, as '_'. */
const char *qn_hls_name(char text[QN_HLS_NAME_MAX], const char *name);
/* The least built-in type that holds lo..hi. */
const char *qn_hls_builtin(int64_t lo, int64_t hi);
/* Decimals of code * 2^-fraction, all digits. */
void qn_hls_decimal(qn_export_text *text, int64_t code, int fraction);
/* A float as a C++ literal. */
const char *qn_hls_float(char text[QN_EXPORT_FLOAT_MAX], float x);

/* One file each. */
qn_status qn_hls_write_defines(qn_hls *hls, qn_error *err);
qn_status qn_hls_write_parameters(qn_hls *hls, qn_error *err);
qn_status qn_hls_write_weights(qn_hls *hls, qn_error *err);
qn_status qn_hls_write_model(qn_hls *hls, qn_error *err);
qn_status qn_hls_write_bench(qn_hls *hls, qn_error *err);
qn_status qn_hls_write_vectors(qn_hls *hls, qn_error *err);
/* model.c: is no later layer writing the same tensor? */
bool qn_hls_completes(const qn_export_network *n, int layer);
/* config_conv.c: the configuration of a convolution. */
void qn_hls_print_conv(const qn_hls *hls, int layer, qn_export_text *text);

/* Constants, in the order in which they are written: letter and number name array and file, "w3" in weights/w3.h.
 *  what        for people; of layer `layer`, or of constant tensor `tensor` (-1: none)
 *  type        of the elements in C++; NULL: real
 *  s16, s32, real   one of them, n elements
 *  raise, per      decimals: element i is code * 2^(raise[i / per] - fraction); raise NULL: no decimals
 *  fraction */
typedef struct qn_hls_array {
    char letter;
    int number, layer, tensor;
    const char *what;
    char type[QN_HLS_NAME_MAX];
    const int16_t *s16;
    const int32_t *s32;
    const float *real;
    int64_t n;
    const int *raise;
    int64_t per;
    int fraction;
} qn_hls_array;
typedef qn_status qn_hls_each_fn(void *ctx, const qn_hls *hls, const qn_hls_array *array, qn_error *err);
/* Arrays of every layer and constant tensor. Where all elements are the same there is a number in the text instead. */
qn_status qn_hls_each_array(const qn_hls *hls, qn_hls_each_fn *each, void *ctx, qn_error *err);

#endif
