/* What all kernels of formats share.
 *
 * A family of formats (int, float, ...) is a header FAMILY_codec.h: what a run's format and parameters come to, and
 * functions that encode and decode a vector of elements without a branch. It is written in the names of lanes_avx2.h
 * and lanes_avx512.h. A file FAMILY_ISA.c includes one of these, the family, and template.h, which has the loops. No
 * result depends on the instruction set: rounding comes from integer arithmetic, or from one addition that the hardware
 * rounds to nearest even. Kernels own nothing and are reentrant. */
#ifndef QN_FORMAT_KERNELS_H
#define QN_FORMAT_KERNELS_H

#include <stdint.h>

#include "format/kernel.h"

/* Fields of an fp32, and 1.5 * 2^23: added to |v| <= 2^22 it leaves rne(v) in the low bits of the sum. */
#define QN_F32_SIGN     UINT32_C(0x80000000)
#define QN_F32_INFINITY UINT32_C(0x7f800000)
#define QN_F32_NAN      UINT32_C(0x7fc00000)
#define QN_F32_HIDDEN   UINT32_C(0x00800000)
#define QN_ROUNDER      0x1.8p23f
enum { QN_F32_MANTISSA = 23, QN_F32_BIAS = 127, QN_F32_EXPONENT_MAX = 254 };

/* The definition behind the interface of kernels: what a kernel does with parameters beyond its arithmetic, and what
 * tests hold kernels against. */
void qn_encode_definition(void *codes, const float *x, int64_t n, const qn_run *run);
void qn_decode_definition(float *y, const void *codes, int64_t n, const qn_run *run);
void qn_encode_packed_definition(void *packed, const float *x, int64_t n, const qn_run *run);
void qn_decode_packed_definition(float *y, const void *packed, int64_t n, const qn_run *run);
void qn_fake_definition(float *y, const float *x, int64_t n, const qn_run *run);

#endif
