/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011). Number k of a stream depends on the seed and k alone, so any split over threads or machines draws the
 * same. */
#ifndef QN_BASE_RANDOM_H
#define QN_BASE_RANDOM_H

#include <stdint.h>

/* One block: four words from a 128-bit counter and a 64-bit key. */
void qn_philox4x32(uint32_t block[4], const uint32_t counter[4], const uint32_t key[2]);

/* 32 uniform bits: number `index` of the stream `stream` of `seed`. */
uint32_t qn_random_u32(uint64_t seed, uint64_t stream, uint64_t index);

#endif
