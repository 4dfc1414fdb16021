/* Drawing: random numbers that follow from a key and a counter, and permutations. The same on every machine: only
 * integers, and IEEE operations that are rounded alike everywhere. Inside the fault room. */
#ifndef QN_FAULT_DRAW_H
#define QN_FAULT_DRAW_H

#include <stdint.h>

/* What a number is drawn for; numbers of different purposes are independent. */
typedef enum qn_draw_purpose {
    QN_DRAW_IMAGE,
    QN_DRAW_SITE,
    QN_DRAW_BITS,
    QN_DRAW_CODE,
    QN_DRAW_GAP,
    QN_DRAW_PLACES
} qn_draw_purpose;

/* A stream: the key of a stratum and the number of a draw. */
typedef struct qn_draw_stream {
    uint32_t key[2];
    uint64_t draw;
} qn_draw_stream;
/* Stratum `stratum` of fault set `set` under a seed; draw 0. */
qn_draw_stream qn_draw_stream_of(uint64_t seed, uint32_t set, uint32_t stratum);
/* Number `index` < 2^40 for a purpose: 64 uniform bits. */
uint64_t qn_draw_bits(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index);
/* Uniform in 0 .. n-1, n >= 1. */
uint64_t qn_draw_below(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index, uint64_t n);
/* Uniform in (0, 1), multiples of 2^-53 plus 2^-54. */
double qn_draw_uniform(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index);
/* Standard normal (Marsaglia's polar method). */
double qn_draw_normal(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index);
/* Trials without success before the first success of probability p, 0 < p <= 1; INT64_MAX: as many or more. */
int64_t qn_draw_gap(const qn_draw_stream *stream, uint64_t index, double log_of_failure);
/* log(1 - p), 0 <= p < 1, for qn_draw_gap; -infinity for 1. */
double qn_draw_log_of_failure(double p);
/* log x of normal x > 0, to 1e-15. */
double qn_draw_log(double x);

/* A pseudo-random permutation of 0 .. n-1: a Feistel network over the least power of two that holds n, walked until it is
 * back below n. */
enum { QN_PERMUTATION_ROUNDS = 8 };
typedef struct qn_permutation {
    uint64_t n;
    int low_bits; /* the lower half's; the upper half has as many or one more */
    uint64_t low_mask, high_mask;
    uint64_t keys[QN_PERMUTATION_ROUNDS];
} qn_permutation;
/* n >= 1; keys from the stream, for its draw. */
void qn_permutation_make(qn_permutation *permutation, uint64_t n, const qn_draw_stream *stream);
/* 0 <= i < n. */
uint64_t qn_permutation_at(const qn_permutation *permutation, uint64_t i);

#endif
