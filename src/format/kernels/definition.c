/* The definition of every format as kernels have it: codes in containers or packed, in blocks that stay in cache. */
#include "format/kernels/kernels.h"

#include "quern/codes.h"

enum { BLOCK = 256 };

/* The run's elements from `done` on, at most a block of them. */
static int64_t next_block(qn_run *part, const qn_run *run, int64_t done, int64_t n)
{
    *part = *run;
    part->first += done * run->stride;
    return n - done < BLOCK ? n - done : BLOCK;
}

void qn_encode_definition(void *codes, const float *x, int64_t n, const qn_run *run)
{
    qn_run part;
    for (int64_t done = 0; done < n; done += BLOCK) {
        uint32_t block[BLOCK];
        int64_t count = next_block(&part, run, done, n);
        qn_run_encode(block, x + done, count, &part);
        for (int64_t i = 0; i < count; i++) {
            if (run->format->bits <= 8) {
                ((uint8_t *)codes)[done + i] = (uint8_t)block[i];
            } else if (run->format->bits <= 16) {
                ((uint16_t *)codes)[done + i] = (uint16_t)block[i];
            } else {
                ((uint32_t *)codes)[done + i] = block[i];
            }
        }
    }
}

void qn_decode_definition(float *y, const void *codes, int64_t n, const qn_run *run)
{
    const uint32_t mask = UINT32_MAX >> (32 - run->format->bits);
    qn_run part;
    for (int64_t done = 0; done < n; done += BLOCK) {
        uint32_t block[BLOCK];
        int64_t count = next_block(&part, run, done, n);
        for (int64_t i = 0; i < count; i++) {
            block[i] = mask & (run->format->bits <= 8    ? ((const uint8_t *)codes)[done + i]
                               : run->format->bits <= 16 ? ((const uint16_t *)codes)[done + i]
                                                         : ((const uint32_t *)codes)[done + i]);
        }
        qn_run_decode(y + done, block, count, &part);
    }
}

void qn_encode_packed_definition(void *packed, const float *x, int64_t n, const qn_run *run)
{
    const int bits = run->format->bits;
    qn_run part;
    for (int64_t done = 0; done < n; done += BLOCK) {
        uint32_t block[BLOCK];
        int64_t count = next_block(&part, run, done, n);
        qn_run_encode(block, x + done, count, &part);
        qn_packed piece = {(unsigned char *)packed + done * bits / 8, count, bits, QN_PACKING_DENSE};
        qn_pack(&piece, block, sizeof block[0]);
    }
}

void qn_decode_packed_definition(float *y, const void *packed, int64_t n, const qn_run *run)
{
    const int bits = run->format->bits;
    qn_run part;
    for (int64_t done = 0; done < n; done += BLOCK) {
        uint32_t block[BLOCK];
        int64_t count = next_block(&part, run, done, n);
        size_t first = (size_t)(done * bits / 8);
        qn_packed piece = {(unsigned char *)(uintptr_t)packed + first, count, bits, QN_PACKING_DENSE};
        qn_unpack(block, &piece, sizeof block[0]);
        qn_run_decode(y + done, block, count, &part);
    }
}

void qn_fake_definition(float *y, const float *x, int64_t n, const qn_run *run)
{
    qn_run part;
    for (int64_t done = 0; done < n; done += BLOCK) {
        uint32_t block[BLOCK];
        int64_t count = next_block(&part, run, done, n);
        qn_run_encode(block, x + done, count, &part);
        qn_run_decode(y + done, block, count, &part);
    }
}
