/* Codes move in 64-bit words of containers, whose codes are brought together, or apart, by a few shifts. Dense codes go
 * in arrays of such words, which compilers work on with whatever vectors there are. */
#include "format/move.h"

#include <stdbool.h>
#include <string.h>

#include "base/arch.h" /* little-endian */
#include "format/kernels/dense.h"

enum { WORD_BITS = 32, WORDS = 8 };

static uint32_t container(const void *codes, int bits, int64_t i)
{
    return bits <= 8    ? ((const uint8_t *)codes)[i]
           : bits <= 16 ? ((const uint16_t *)codes)[i]
                        : ((const uint32_t *)codes)[i];
}

static void set_container(void *codes, int bits, int64_t i, uint32_t code)
{
    if (bits <= 8) {
        ((uint8_t *)codes)[i] = (uint8_t)code;
    } else if (bits <= 16) {
        ((uint16_t *)codes)[i] = (uint16_t)code;
    } else {
        ((uint32_t *)codes)[i] = code;
    }
}

static void put_singly(qn_packed *p, int64_t first, const void *codes, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        qn_packed_set(p, first + i, container(codes, p->bits, i));
    }
}

static void take_singly(void *codes, const qn_packed *p, int64_t first, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        set_container(codes, p->bits, i, qn_packed_get(p, first + i));
    }
}

/* Codes of one 64-bit word of containers. */
static int lanes_of(int bits)
{
    return bits <= 8 ? 8 : bits <= 16 ? 4 : 1;
}

/* Containers in each of the words, closed up to consecutive bits; and the reverse. */
static void close_up(uint64_t words[WORDS], int bits)
{
    if (bits <= 8) {
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_close_gap(words[i], bits, 16);
        }
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_close_gap(words[i], 2 * bits, 32);
        }
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_close_gap(words[i], 4 * bits, 64);
        }
    } else if (bits <= 16) {
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_close_gap(qn_close_gap(words[i], bits, 32), 2 * bits, 64);
        }
    }
}

static void open_up(uint64_t words[WORDS], int bits)
{
    if (bits <= 8) {
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_open_gap(words[i], 4 * bits, 64);
        }
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_open_gap(words[i], 2 * bits, 32);
        }
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_open_gap(words[i], bits, 16);
        }
    } else if (bits <= 16) {
#pragma omp simd
        for (int i = 0; i < WORDS; i++) {
            words[i] = qn_open_gap(qn_open_gap(words[i], 2 * bits, 64), bits, 32);
        }
    }
}

/* The low n bits, 0 to 64. */
static uint64_t low(int n)
{
    return n == 0 ? 0 : UINT64_MAX >> (64 - n);
}

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Containers in one word, closed up to consecutive bits; and the reverse. */
ALWAYS_INLINE uint64_t closed(uint64_t word, int bits)
{
    if (bits <= 8) {
        return qn_close_gap(qn_close_gap(qn_close_gap(word, bits, 16), 2 * bits, 32), 4 * bits, 64);
    }
    return bits <= 16 ? qn_close_gap(qn_close_gap(word, bits, 32), 2 * bits, 64) : word;
}

ALWAYS_INLINE uint64_t opened(uint64_t word, int bits)
{
    if (bits <= 8) {
        return qn_open_gap(qn_open_gap(qn_open_gap(word, 4 * bits, 64), 2 * bits, 32), bits, 16);
    }
    return bits <= 16 ? qn_open_gap(qn_open_gap(word, 2 * bits, 64), bits, 32) : word;
}

/* n words of 32 bits of codes that do not fill them; per word, those of one word of containers and the rest. */
ALWAYS_INLINE void put_words_of(unsigned char *out, const unsigned char *codes, int64_t n, int bits)
{
    const int per_word = WORD_BITS / bits, lanes = lanes_of(bits), size = (int)qn_container_bytes(bits);
    const int few = per_word < lanes ? per_word : lanes, rest = per_word - few;
    for (int64_t i = 0; i < n; i++, codes += per_word * size, out += sizeof(uint32_t)) {
        uint64_t word, more;
        memcpy(&word, codes, sizeof word);
        uint32_t made = (uint32_t)closed(word & low(8 * size * few), bits);
        if (rest > 0) {
            memcpy(&more, codes + sizeof word, sizeof more);
            made |= (uint32_t)closed(more & low(8 * size * rest), bits) << (few * bits) % WORD_BITS;
        }
        memcpy(out, &made, sizeof made);
    }
}

ALWAYS_INLINE void take_words_of(unsigned char *codes, const unsigned char *in, int64_t n, int bits)
{
    const int per_word = WORD_BITS / bits, lanes = lanes_of(bits), size = (int)qn_container_bytes(bits);
    const int few = per_word < lanes ? per_word : lanes, rest = per_word - few;
    for (int64_t i = 0; i < n; i++, codes += per_word * size, in += sizeof(uint32_t)) {
        uint32_t read;
        memcpy(&read, in, sizeof read);
        const uint64_t word = opened(read & low(few * bits), bits);
        memcpy(codes, &word, sizeof word); /* what is too much is overwritten by the next word's */
        if (rest > 0) {
            const uint64_t more = opened(read >> (few * bits) % WORD_BITS & low(rest * bits), bits);
            memcpy(codes + sizeof word, &more, sizeof more);
        }
    }
}

/* Shifts by constants take half the time. */
#define EACH_WIDTH(X) X(3) X(5) X(6) X(7) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static void put_words(unsigned char *out, const unsigned char *codes, int64_t n, int bits)
{
    switch (bits) {
#define PUT(width)                                                                                                     \
    case width:                                                                                                        \
        put_words_of(out, codes, n, width);                                                                            \
        break;
        EACH_WIDTH(PUT)
#undef PUT
    default:
        put_words_of(out, codes, n, bits);
    }
}

static void take_words(unsigned char *codes, const unsigned char *in, int64_t n, int bits)
{
    switch (bits) {
#define TAKE(width)                                                                                                    \
    case width:                                                                                                        \
        take_words_of(codes, in, n, width);                                                                            \
        break;
        EACH_WIDTH(TAKE)
#undef TAKE
    default:
        take_words_of(codes, in, n, bits);
    }
}

/* A stream of bits that is written in words, from any bit on. */
typedef struct stream {
    unsigned char *out;
    uint64_t held;
    int n_held; /* 0 to 63 */
} stream;

static inline void append(stream *s, uint64_t bits, int n)
{
    s->held |= bits << s->n_held;
    if (s->n_held + n >= 64) {
        memcpy(s->out, &s->held, sizeof s->held);
        s->out += sizeof s->held;
        s->held = s->n_held > 0 ? bits >> (64 - s->n_held) : 0;
        s->n_held -= 64;
    }
    s->n_held += n;
}

/* The bits after the last one stay as they are. */
static void finish(stream *s)
{
    for (; s->n_held >= 8; s->n_held -= 8, s->held >>= 8) {
        *s->out++ = (unsigned char)s->held;
    }
    if (s->n_held > 0) {
        const unsigned char mask = (unsigned char)low(s->n_held);
        *s->out = (unsigned char)((*s->out & ~mask) | (s->held & mask));
    }
}

static void put_dense(qn_packed *p, int64_t first, const unsigned char *codes, int64_t n)
{
    const int bits = p->bits, lanes = lanes_of(bits), size = (int)qn_container_bytes(bits);
    const int64_t bit = first * bits;
    if (bits == 8 * size) {
        memcpy((unsigned char *)p->data + first * size, codes, (size_t)(n * size));
        return;
    }
    stream s = {(unsigned char *)p->data + bit / 8, 0, (int)(bit % 8)};
    s.held = s.n_held > 0 ? *s.out & low(s.n_held) : 0;
    int64_t done = 0;
    for (; lanes > 1 && n - done >= lanes; done += (int64_t)WORDS * lanes) {
        uint64_t words[WORDS] = {0};
        const int64_t whole = (n - done) / lanes;
        const int count = whole < WORDS ? (int)whole : WORDS;
        memcpy(words, codes + done * size, (size_t)count * sizeof words[0]);
        close_up(words, bits);
        for (int i = 0; i < count; i++) {
            append(&s, words[i], lanes * bits);
        }
        if (count < WORDS) {
            done += (int64_t)count * lanes;
            break;
        }
    }
    for (; done < n; done++) {
        append(&s, container(codes, bits, done), bits);
    }
    finish(&s);
}

/* 64 bits from any bit on, of which the last 7 or fewer may be missing; 9 bytes are there. */
static inline uint64_t bits_at(const unsigned char *bytes, int64_t bit)
{
    uint64_t word;
    memcpy(&word, bytes + bit / 8, sizeof word);
    const int shift = (int)(bit % 8);
    return shift > 0 ? word >> shift | (uint64_t)bytes[bit / 8 + 8] << (64 - shift) : word;
}

static int64_t take_dense(unsigned char *codes, const qn_packed *p, int64_t first, int64_t n)
{
    enum { READ = 9 };
    const int bits = p->bits, lanes = lanes_of(bits), size = (int)qn_container_bytes(bits);
    const int64_t last_start = (p->n * bits + 7) / 8 - READ; /* byte */
    const uint64_t mask = low(lanes * bits);
    int64_t done = 0;
    if (bits == 8 * size) {
        memcpy(codes, (const unsigned char *)p->data + first * size, (size_t)(n * size));
        return n;
    }
    for (;;) {
        uint64_t words[WORDS] = {0};
        const int64_t whole = (n - done) / lanes;
        int count = 0;
        for (; count < WORDS && count < whole; count++) {
            const int64_t bit = (first + done + (int64_t)count * lanes) * bits;
            if (bit / 8 > last_start) {
                break;
            }
            words[count] = bits_at(p->data, bit) & mask;
        }
        if (lanes == 1) {
            for (int i = 0; i < count; i++) {
                set_container(codes, bits, done + i, (uint32_t)words[i]);
            }
        } else {
            open_up(words, bits);
            memcpy(codes + done * size, words, (size_t)count * sizeof words[0]);
        }
        done += (int64_t)count * lanes;
        if (count < WORDS) {
            return done;
        }
    }
}

/* Words that codes fill are a dense stream. */
static bool is_dense(const qn_packed *p)
{
    return p->packing == QN_PACKING_DENSE || WORD_BITS % p->bits == 0;
}

/* Codes before the start of the next word, of which the first may be one; n where none starts. */
static int64_t before_word(const qn_packed *p, int64_t first, int64_t n)
{
    const int64_t per_word = WORD_BITS / p->bits, ahead = (per_word - first % per_word) % per_word;
    return ahead < n ? ahead : n;
}

void qn_packed_put(qn_packed *p, int64_t first, const void *codes, int64_t n)
{
    if (is_dense(p)) {
        put_dense(p, first, codes, n);
        return;
    }
    const int64_t ahead = before_word(p, first, n), per_word = WORD_BITS / p->bits;
    unsigned char *out = (unsigned char *)p->data + (first + ahead) / per_word * 4;
    put_singly(p, first, codes, 0, ahead);
    const int64_t words = (n - ahead) / per_word;
    put_words(out, (const unsigned char *)codes + (size_t)ahead * qn_container_bytes(p->bits), words, p->bits);
    put_singly(p, first, codes, ahead + words * per_word, n);
}

void qn_packed_take(void *codes, const qn_packed *p, int64_t first, int64_t n)
{
    if (is_dense(p)) {
        take_singly(codes, p, first, take_dense(codes, p, first, n), n);
        return;
    }
    const int64_t ahead = before_word(p, first, n), per_word = WORD_BITS / p->bits;
    const unsigned char *in = (const unsigned char *)p->data + (first + ahead) / per_word * 4;
    take_singly(codes, p, first, 0, ahead);
    const int64_t words = (n - ahead) / per_word;
    take_words((unsigned char *)codes + (size_t)ahead * qn_container_bytes(p->bits), in, words, p->bits);
    take_singly(codes, p, first, ahead + words * per_word, n);
}
