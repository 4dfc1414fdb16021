/* MRFI's error modes. */
#include "fault/compat_mrfi.h"

#include <math.h>
#include <string.h>

#include "base/float_bits.h"

/* cvttss2si */
static int32_t to_int32(float x)
{
    return x >= -2147483648.0f && x < 2147483648.0f ? (int32_t)x : INT32_MIN;
}

static float flip_int(float x, int width, int bit)
{
    const uint32_t mask = UINT32_C(1) << bit;
    return (float)(int32_t)((uint32_t)to_int32(x) ^ (bit == width - 1 ? 0u - mask : mask));
}

/* To binary16, ties to even. NaN keeps the top of its payload and becomes quiet. */
static uint16_t to_half(float x)
{
    const uint32_t bits = qn_bits_of_f32(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    }
    const float least = ldexpf(1, -14), a = qn_f32_of_bits(magnitude);
    if (a < least) { /* subnormals are multiples of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(ldexpf(a, 24)));
    }
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded >= 0x47800000 ? 0x7c00 : (rounded - 0x38000000) >> 13));
}

static float from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0x1f) {
        return qn_f32_of_bits(sign | 0x7f800000 | mantissa << 13 | (mantissa != 0 ? 0x400000 : 0));
    }
    const float a =
        exponent == 0 ? ldexpf((float)mantissa, -24) : qn_f32_of_bits((exponent + 112) << 23 | mantissa << 13);
    return qn_f32_of_bits(sign | qn_bits_of_f32(a));
}

static float flip_float(float x, int float_bits, int bit)
{
    if (float_bits == 16) {
        return from_half((uint16_t)(to_half(x) ^ (1u << bit)));
    }
    if (float_bits == 32) {
        return qn_f32_of_bits(qn_bits_of_f32(x) ^ UINT32_C(1) << bit);
    }
    double wide = (double)x;
    uint64_t bits;
    memcpy(&bits, &wide, sizeof bits);
    bits ^= UINT64_C(1) << bit;
    memcpy(&wide, &bits, sizeof wide);
    return (float)wide;
}

float qn_mrfi_apply(const qn_mrfi_error *error, float x)
{
    switch (error->mode) {
    case QN_MRFI_INT_SIGN_BIT_FLIP:
        return flip_int(x, error->bit_width, error->bit_width - 1);
    case QN_MRFI_INT_BIT_FLIP:
        return flip_int(x, error->bit_width, error->bit);
    case QN_MRFI_FLOAT_BIT_FLIP: {
        const float y = flip_float(x, error->float_bits, error->bit);
        return error->suppress_invalid && !isfinite(y) ? 0.0f : y;
    }
    case QN_MRFI_SET_VALUE:
        return error->value;
    case QN_MRFI_SET_ZERO:
    default:
        return 0.0f;
    }
}

/* A value set, as a code of the target. */
static bool set_value(qn_fault_change *change, const qn_fault_target *target, float value)
{
    change->and_mask = 0;
    if (target->coding == QN_FAULT_F32) {
        change->or_mask = qn_bits_of_f32(value);
        return true;
    }
    const bool is_signed = target->coding == QN_FAULT_S32 || target->format.is_signed;
    const double top = ldexp(1, is_signed ? target->bits - 1 : target->bits), low = is_signed ? -top : 0;
    const uint32_t mask = target->bits >= 32 ? UINT32_MAX : (UINT32_C(1) << target->bits) - 1;
    change->or_mask = (uint32_t)(int64_t)value & mask;
    return value == truncf(value) && (double)value >= low && (double)value < top;
}

bool qn_mrfi_change(qn_fault_change *change, const qn_mrfi_error *error, const qn_fault_target *target)
{
    const bool flips_int = error->mode == QN_MRFI_INT_SIGN_BIT_FLIP || error->mode == QN_MRFI_INT_BIT_FLIP;
    const int bit = error->mode == QN_MRFI_INT_SIGN_BIT_FLIP ? error->bit_width - 1 : error->bit;
    change->and_mask = UINT32_MAX;
    change->or_mask = change->xor_mask = 0;
    change->add = 0;
    change->suppress = error->mode == QN_MRFI_FLOAT_BIT_FLIP && error->suppress_invalid;
    if (flips_int) {
        const bool is_signed = target->coding == QN_FAULT_S32 || target->format.is_signed;
        change->xor_mask = UINT32_C(1) << bit;
        return target->coding != QN_FAULT_F32 && error->bit_width == target->bits &&
               (is_signed || bit < error->bit_width - 1);
    }
    if (error->mode == QN_MRFI_FLOAT_BIT_FLIP) {
        change->xor_mask = error->float_bits == 32 ? UINT32_C(1) << bit : 0;
        return target->coding == QN_FAULT_F32 && error->float_bits == 32;
    }
    return set_value(change, target, error->mode == QN_MRFI_SET_VALUE ? error->value : 0.0f);
}
