/* Hashing names from files for open-addressed tables: a polynomial over the bytes modulo 2^31 - 1, evaluated at a point
 * taken from the table's address, so that a file cannot be written to make its names collide. */
#ifndef QN_BASE_HASH_H
#define QN_BASE_HASH_H

#include <stdint.h>

static const uint64_t QN_HASH_PRIME = 0x7FFFFFFF;

/* 256 <= point < 2^31 - 1. */
static inline uint64_t qn_hash_point(const void *table)
{
    return 256 + ((uint64_t)(uintptr_t)table * 0x9E3779B97F4A7C15u >> 20) % (QN_HASH_PRIME - 256);
}

/* Every bit counts: slots may be taken from the low ones. */
static inline uint32_t qn_hash_text(const char *text, uint64_t point)
{
    uint64_t sum = 1;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        sum = (sum * point + *p) % QN_HASH_PRIME;
    }
    return (uint32_t)(sum ^ (sum >> 15));
}

#endif
