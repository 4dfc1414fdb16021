#include "base/random.h"

enum { ROUNDS = 10 };

void qn_philox4x32(uint32_t block[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio and sqrt 3 - 1: Weyl sequences that change the key each round */
        k1 += 0xBB67AE85u;
    }
    block[0] = c0, block[1] = c1, block[2] = c2, block[3] = c3;
}

uint32_t qn_random_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    const uint64_t block_index = index / 4;
    const uint32_t counter[4] = {(uint32_t)block_index, (uint32_t)(block_index >> 32), (uint32_t)stream,
                                 (uint32_t)(stream >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t block[4];
    qn_philox4x32(block, counter, key);
    return block[index % 4];
}
