/* MRFI's error modes, bit for bit, and the changes of codes that are the same. Inside the fault room.
 *
 * MRFI keeps integers as f32 and turns them to int32 with x86's conversion: truncated toward zero; NaN and what is out of range become
 * -2^31. A flip of the top bit of a width flips all bits above it too, so that int8 codes flip their sign; of PositiveQuantization's codes,
 * which have none, it makes negative numbers that are no codes. */
#ifndef QN_FAULT_COMPAT_MRFI_H
#define QN_FAULT_COMPAT_MRFI_H

#include "fault/fault.h"

typedef enum qn_mrfi_mode {
    QN_MRFI_INT_SIGN_BIT_FLIP, /* IntSignBitFlip(bit_width) */
    QN_MRFI_INT_BIT_FLIP,   /* IntFixedBitFlip(bit_width, bit), and what IntRandomBitFlip does with the bit it draws */
    QN_MRFI_FLOAT_BIT_FLIP, /* FloatFixedBitFlip(bit, floattype, suppress_invalid), FloatRandomBitFlip likewise */
    QN_MRFI_SET_ZERO,
    QN_MRFI_SET_VALUE, /* in the integer domain where there is a quantizer */
} qn_mrfi_mode;

/*  bit_width         of integers, 2..32;  float_bits: 16, 32 or 64
 *  suppress_invalid  NaN and infinities become 0 */
typedef struct qn_mrfi_error {
    qn_mrfi_mode mode;
    int bit_width, float_bits, bit;
    bool suppress_invalid;
    float value;
} qn_mrfi_error;

/* What MRFI's error mode makes of one value: an integer kept as f32, or a float. */
float qn_mrfi_apply(const qn_mrfi_error *error, float x);
/* The masks of a change that does the same to every code of a target; target, element and term stay the caller's. False where
 * there are none: a width other than the code's, integers without sign and their top bit, floats of 16 or 64 bits, a
 * value that is no code. */
bool qn_mrfi_change(qn_fault_change *change, const qn_mrfi_error *error, const qn_fault_target *target);

#endif
