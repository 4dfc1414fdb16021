/* The bits of a float, and the float of bits. */
#ifndef QN_BASE_FLOAT_BITS_H
#define QN_BASE_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t qn_bits_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float qn_f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
