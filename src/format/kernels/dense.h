/* A chunk of codes between containers and dense bits: eight codes of b bits are b bytes. Words are little-endian, as
 * kernels are for x86 only. */
#ifndef QN_FORMAT_DENSE_H
#define QN_FORMAT_DENSE_H

#include <stdint.h>
#include <string.h>
/* A chunk, the bytes beyond a chunk's own that packing may write and unpacking read, and room for both. */
enum { QN_CHUNK = 64, QN_DENSE_SLACK = 8, QN_DENSE_BYTES = QN_CHUNK * 2 + QN_DENSE_SLACK };

/* The low `bits` bits, 1 to 64, of every field of `width` bits. */
static inline uint64_t qn_low_bits(int bits, int width)
{
    uint64_t mask = UINT64_MAX >> (64 - bits);
    mask |= width <= 16 ? mask << 16 : 0;
    return mask | (width <= 32 ? mask << 32 : 0);
}

/* Every field of `width` bits consists of two halves with `bits` bits in each: move the upper bits down to the lower. */
static inline uint64_t qn_close_gap(uint64_t w, int bits, int width)
{
    uint64_t low = qn_low_bits(bits, width);
    return (w & low) | (w >> (width / 2 - bits) & low << bits);
}

/* The reverse. */
static inline uint64_t qn_open_gap(uint64_t w, int bits, int width)
{
    uint64_t low = qn_low_bits(bits, width);
    return (w & low) | (w & low << bits) << (width / 2 - bits);
}

/* A chunk of codes of 1 to 8 bits, in bytes, as 8*bits bytes. Up to QN_DENSE_SLACK bytes more are overwritten. */
static inline void qn_pack_bytes(unsigned char *out, const uint8_t *codes, int bits)
{
    uint64_t eights[QN_CHUNK / 8];
    memcpy(eights, codes, sizeof eights);
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        uint64_t w = qn_close_gap(qn_close_gap(eights[i], bits, 16), 2 * bits, 32);
        eights[i] = qn_close_gap(w, 4 * bits, 64);
    }
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        memcpy(out + i * bits, &eights[i], sizeof eights[i]);
    }
}

/* The reverse. Up to QN_DENSE_SLACK bytes more are read. */
static inline void qn_unpack_bytes(uint8_t *codes, const unsigned char *in, int bits)
{
    uint64_t eights[QN_CHUNK / 8];
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        memcpy(&eights[i], in + i * bits, sizeof eights[i]);
    }
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        uint64_t w = qn_open_gap(eights[i] & qn_low_bits(8 * bits, 64), 4 * bits, 64);
        eights[i] = qn_open_gap(qn_open_gap(w, 2 * bits, 32), bits, 16);
    }
    memcpy(codes, eights, sizeof eights);
}

/* A chunk of codes of 9 to 16 bits, in u16: eight are two words of four, of 4*bits bits each. */
static inline void qn_pack_halves(unsigned char *out, const uint16_t *codes, int bits)
{
    uint64_t eights[QN_CHUNK / 4];
    memcpy(eights, codes, sizeof eights);
    for (int i = 0; i < QN_CHUNK / 4; i++) {
        eights[i] = qn_close_gap(qn_close_gap(eights[i], bits, 32), 2 * bits, 64);
    }
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        /* Shifts in two steps: 4*bits may be 64. */
        uint64_t pair[2] = {eights[2 * i] | eights[2 * i + 1] << (2 * bits) << (2 * bits),
                            eights[2 * i + 1] >> (64 - 4 * bits)};
        memcpy(out + i * bits, pair, sizeof pair);
    }
}

static inline void qn_unpack_halves(uint16_t *codes, const unsigned char *in, int bits)
{
    uint64_t eights[QN_CHUNK / 4];
    const uint64_t four = qn_low_bits(4 * bits, 64);
    for (int i = 0; i < QN_CHUNK / 8; i++) {
        uint64_t pair[2];
        memcpy(pair, in + i * bits, sizeof pair);
        eights[2 * i] = pair[0] & four;
        eights[2 * i + 1] = (pair[0] >> (2 * bits) >> (2 * bits) | pair[1] << (64 - 4 * bits)) & four;
    }
    for (int i = 0; i < QN_CHUNK / 4; i++) {
        eights[i] = qn_open_gap(qn_open_gap(eights[i], 2 * bits, 64), bits, 32);
    }
    memcpy(codes, eights, sizeof eights);
}

#endif
