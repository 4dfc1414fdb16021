/* Random numbers from counters (Philox), and permutations (Feistel networks with cycle walking). */
#include "fault/draw.h"

#include <math.h>

#include "base/random.h"

enum { TAG = 0x4c554146 /* "FAUL" */ };

qn_draw_stream qn_draw_stream_of(uint64_t seed, uint32_t set, uint32_t stratum)
{
    const uint32_t counter[4] = {set, stratum, TAG, 0}, key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t block[4];
    qn_philox4x32(block, counter, key);
    return (qn_draw_stream){{block[0], block[1]}, 0};
}

uint64_t qn_draw_bits(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32 << 8) | (uint32_t)purpose,
                                 (uint32_t)stream->draw, (uint32_t)(stream->draw >> 32)};
    uint32_t block[4];
    qn_philox4x32(block, counter, stream->key);
    return (uint64_t)block[1] << 32 | block[0];
}

/* The high 64 bits of a product. */
static uint64_t high_product(uint64_t a, uint64_t b)
{
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

uint64_t qn_draw_below(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index, uint64_t n)
{
    return high_product(qn_draw_bits(stream, purpose, index), n);
}

static double open_uniform(uint64_t bits)
{
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

double qn_draw_uniform(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index)
{
    return open_uniform(qn_draw_bits(stream, purpose, index));
}

/* log((1 + s) / (1 - s)) for |s| < 0.18: the first term that is left out is below 2^-60 of the first. */
static double log_ratio(double s)
{
    const double square = s * s;
    double sum = 0;
    for (int k = 25; k >= 3; k -= 2) {
        sum = sum * square + 1.0 / k;
    }
    return 2 * (s + s * square * sum);
}

double qn_draw_log(double x)
{
    int exponent;
    double fraction = frexp(x, &exponent); /* exact */
    if (fraction < 0x1.6a09e667f3bcdp-1) {
        fraction *= 2;
        exponent--;
    }
    const double log2_high = 0x1.62e42fee00000p-1, log2_low = 0x1.a39ef35793c76p-33; /* the first times 2^10 is exact */
    return exponent * log2_high + (exponent * log2_low + log_ratio((fraction - 1) / (fraction + 1)));
}

double qn_draw_log_of_failure(double p)
{
    if (p >= 1) {
        return -INFINITY;
    }
    return p < 0.25 ? log_ratio(-p / (2 - p)) : qn_draw_log(1 - p);
}

int64_t qn_draw_gap(const qn_draw_stream *stream, uint64_t index, double log_of_failure)
{
    const double gap = qn_draw_log(qn_draw_uniform(stream, QN_DRAW_GAP, index)) / log_of_failure;
    return gap < 0x1p62 ? (int64_t)gap : INT64_MAX;
}

double qn_draw_normal(const qn_draw_stream *stream, qn_draw_purpose purpose, uint64_t index)
{
    for (uint64_t attempt = 0;; attempt++) { /* the 2^8 attempts that fit fail with a probability of 10^-171 */
        const double u = 2 * qn_draw_uniform(stream, purpose, (index << 9) + 2 * (attempt % 256)) - 1;
        const double v = 2 * qn_draw_uniform(stream, purpose, (index << 9) + 2 * (attempt % 256) + 1) - 1;
        const double square = u * u + v * v;
        if (square > 0 && square < 1) {
            return u * sqrt(-2 * qn_draw_log(square) / square);
        }
    }
}

/* A bijection of 64 bits with good diffusion (Moremur's constants by Pelle Evensen), of which some bits are used. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 27;
    x *= 0x3C79AC492BA7B653u;
    x ^= x >> 33;
    x *= 0x1C69B3F74AC4AE35u;
    return x ^ x >> 27;
}

void qn_permutation_make(qn_permutation *permutation, uint64_t n, const qn_draw_stream *stream)
{
    int bits = 4;
    while (bits < 64 && n > (uint64_t)1 << bits) {
        bits++;
    }
    permutation->n = n;
    permutation->low_bits = bits / 2;
    permutation->low_mask = ((uint64_t)1 << bits / 2) - 1;
    permutation->high_mask = ((uint64_t)1 << (bits - bits / 2)) - 1;
    for (int i = 0; i < QN_PERMUTATION_ROUNDS; i++) {
        permutation->keys[i] = qn_draw_bits(stream, QN_DRAW_PLACES, (uint64_t)i);
    }
}

uint64_t qn_permutation_at(const qn_permutation *p, uint64_t i)
{
    if (p->n < 2) {
        return i;
    }
    do {
        uint64_t low = i & p->low_mask, high = i >> p->low_bits;
        for (int k = 0; k < QN_PERMUTATION_ROUNDS; k += 2) {
            high ^= mix(low + p->keys[k]) & p->high_mask;
            low ^= mix(high + p->keys[k + 1]) & p->low_mask;
        }
        i = high << p->low_bits | low;
    } while (i >= p->n);
    return i;
}
