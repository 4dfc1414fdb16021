/* Runs of codes between containers and any place in packed form, at the speed of moving words. */
#ifndef QN_FORMAT_MOVE_H
#define QN_FORMAT_MOVE_H

#include <stdint.h>
#include <string.h>

#include "quern/codes.h"

/* Containers are 1, 2 or 4 bytes by the codes' bits (qn_format_code_dtype); after the last of them these many bytes may
 * be read by putting, and overwritten by taking. */
enum { QN_MOVE_SLACK = 16 };

/* Bytes of a container for codes of so many bits. */
static inline size_t qn_container_bytes(int bits)
{
    return bits <= 8 ? 1 : bits <= 16 ? 2 : 4;
}

/* Codes between u32 and containers; `codes` and `narrow` may be the same when narrowing. */
static inline void qn_narrow_codes(void *narrow, const uint32_t *codes, int bits, int64_t n)
{
    for (int64_t i = 0; bits <= 8 && i < n; i++) {
        ((unsigned char *)narrow)[i] = (unsigned char)codes[i];
    }
    for (int64_t i = 0; bits > 8 && bits <= 16 && i < n; i++) {
        const uint16_t code = (uint16_t)codes[i];
        memcpy((unsigned char *)narrow + 2 * i, &code, sizeof code);
    }
    if (bits > 16 && narrow != codes) {
        memcpy(narrow, codes, (size_t)n * sizeof *codes);
    }
}
static inline void qn_widen_codes(uint32_t *codes, const void *narrow, int bits, int64_t n)
{
    for (int64_t i = 0; bits <= 8 && i < n; i++) {
        codes[i] = ((const uint8_t *)narrow)[i];
    }
    for (int64_t i = 0; bits > 8 && bits <= 16 && i < n; i++) {
        codes[i] = ((const uint16_t *)narrow)[i];
    }
    if (bits > 16) {
        memcpy(codes, narrow, (size_t)n * sizeof *codes);
    }
}

/* Put n codes, whose upper bits are 0, to codes first, first + 1, ... of p; or take them from there. No bit of another
 * code is touched. */
void qn_packed_put(qn_packed *p, int64_t first, const void *codes, int64_t n);
void qn_packed_take(void *codes, const qn_packed *p, int64_t first, int64_t n);

#endif
