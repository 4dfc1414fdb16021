/* Loops of islands that matter, once per instruction set: the same bits from all (doc/spec/arithmetic.md, section 6). */
#ifndef QN_ENGINE_ISLAND_LANES_H
#define QN_ENGINE_ISLAND_LANES_H

#include <stdint.h>

#include "quern/cpu.h"

/* n values; y may be x. */
typedef void qn_island_map_fn(float *y, const float *x, int64_t n);
typedef enum qn_island_map {
    QN_ISLAND_ERF,
    QN_ISLAND_EXP,
    QN_ISLAND_NEG,
    QN_ISLAND_SIGMOID,
    QN_ISLAND_SQRT,
    QN_ISLAND_TANH,
    QN_ISLAND_MAPS
} qn_island_map;

/* y[m][n] = sum over k, from 0 and in order, of a[m][k] * b[k][n]: each product and each sum rounded.
 *  a_row, a_k, b_k  elements from one row, or k, to the next; y is dense */
typedef struct qn_island_product {
    int64_t m, n, k, a_row, a_k, b_k;
} qn_island_product;

/* Codes are bytes that stand for code - zero. */
typedef struct qn_island_codes {
    int32_t zero_a, zero_b;
    int bits; /* of the accumulator */
    float scale;
} qn_island_codes;

typedef struct qn_island_lanes {
    qn_island_map_fn *map[QN_ISLAND_MAPS];
    void (*product)(float *y, const float *a, const float *b, const qn_island_product *p);
    /* The same over codes: int32 sums that wrap to so many bits, then one product with the scale. */
    void (*product_codes)(float *y, const uint8_t *a, const uint8_t *b, const qn_island_product *p,
                          const qn_island_codes *codes);
    /* y[i] = y[i] + w * x[i * step] */
    void (*add_scaled)(float *y, const float *x, float w, int64_t n, int64_t step);
    /* y[i] = e^(x[i] - greatest) */
    void (*exp_below)(float *y, const float *x, float greatest, int64_t n);
} qn_island_lanes;

/* The best variant for instruction sets up to `cpu`. */
const qn_island_lanes *qn_island_lanes_for(qn_cpu cpu);

#endif
