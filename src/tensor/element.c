/* One loop per element type; the names say which. */
#include "tensor/element.h"

#include <math.h>
#include <string.h>

#define WIDEN(name, type)                                                                                              \
    static void name(double *v, const void *elems, size_t n)                                                           \
    {                                                                                                                  \
        const type *from = elems;                                                                                      \
        for (size_t i = 0; i < n; i++) {                                                                               \
            v[i] = (double)from[i];                                                                                    \
        }                                                                                                              \
    }

WIDEN(widen_f32, float)
WIDEN(widen_f64, double)
WIDEN(widen_s8, int8_t)
WIDEN(widen_u8, uint8_t)
WIDEN(widen_s16, int16_t)
WIDEN(widen_u16, uint16_t)
WIDEN(widen_s32, int32_t)
WIDEN(widen_u32, uint32_t)
WIDEN(widen_s64, int64_t)
WIDEN(widen_u64, uint64_t)

/* Sign, 5 exponent bits of bias 15, 10 mantissa bits. */
static double half_value(uint16_t half)
{
    int exponent = (half >> 10) & 0x1F, mantissa = half & 0x3FF;
    double magnitude = exponent == 0x1F ? (mantissa != 0 ? (double)NAN : (double)INFINITY)
                       : exponent == 0  ? ldexp(mantissa, -24)
                                        : ldexp(0x400 + mantissa, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void widen_f16(double *v, const void *elems, size_t n)
{
    const uint16_t *from = elems;
    for (size_t i = 0; i < n; i++) {
        v[i] = half_value(from[i]);
    }
}

/* The upper half of a float32. */
static void widen_bf16(double *v, const void *elems, size_t n)
{
    const uint16_t *from = elems;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)from[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        v[i] = (double)value;
    }
}

static const qn_widen_fn table[] = {
    [QN_DTYPE_F32] = widen_f32, [QN_DTYPE_F64] = widen_f64, [QN_DTYPE_F16] = widen_f16, [QN_DTYPE_BF16] = widen_bf16,
    [QN_DTYPE_S8] = widen_s8,   [QN_DTYPE_U8] = widen_u8,   [QN_DTYPE_S16] = widen_s16, [QN_DTYPE_U16] = widen_u16,
    [QN_DTYPE_S32] = widen_s32, [QN_DTYPE_U32] = widen_u32, [QN_DTYPE_S64] = widen_s64, [QN_DTYPE_U64] = widen_u64,
    [QN_DTYPE_BOOL] = widen_u8,
};

qn_widen_fn qn_widen(qn_dtype dtype)
{
    return (size_t)dtype < sizeof table / sizeof table[0] ? table[dtype] : NULL;
}
