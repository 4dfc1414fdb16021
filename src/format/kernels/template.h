/* The loops of one family on one instruction set. The includer has included the lanes and FAMILY_codec.h, which defines
 *   codec                                  constants in vectors
 *   serves(format)                         codes of 1 to 16 bits
 *   prepare(codec, format)                 set what follows from the format
 *   bind(codec, format, params)            set what follows from a set of parameters; false: beyond its arithmetic
 *   encode_lanes(codec, x)                 codes, bits above the format's 0
 *   decode_lanes(codec, codes)             bits above the format's ignored
 *   fake_lanes(codec, x)
 * What is left at the end of a run goes through local buffers, so that nothing outside the run is read or written. */
#include <string.h>

#include "format/kernels/dense.h"
#include "format/kernels/kernels.h"

LANES_INLINE void encode_bytes(uint8_t *codes, const float *x, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_bytes(codes + i, encode_lanes(c, load_reals(x + i)));
    }
    if (i < n) {
        float rest[LANES] = {0};
        uint8_t made[LANES];
        memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
        store_bytes(made, encode_lanes(c, load_reals(rest)));
        memcpy(codes + i, made, (size_t)(n - i) * sizeof *made);
    }
}

LANES_INLINE void encode_halves(uint16_t *codes, const float *x, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_halves(codes + i, encode_lanes(c, load_reals(x + i)));
    }
    if (i < n) {
        float rest[LANES] = {0};
        uint16_t made[LANES];
        memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
        store_halves(made, encode_lanes(c, load_reals(rest)));
        memcpy(codes + i, made, (size_t)(n - i) * sizeof *made);
    }
}

LANES_INLINE void decode_bytes(float *y, const uint8_t *codes, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_reals(y + i, decode_lanes(c, load_bytes(codes + i)));
    }
    if (i < n) {
        uint8_t rest[LANES] = {0};
        float made[LANES];
        memcpy(rest, codes + i, (size_t)(n - i) * sizeof *codes);
        store_reals(made, decode_lanes(c, load_bytes(rest)));
        memcpy(y + i, made, (size_t)(n - i) * sizeof *made);
    }
}

LANES_INLINE void decode_halves(float *y, const uint16_t *codes, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_reals(y + i, decode_lanes(c, load_halves(codes + i)));
    }
    if (i < n) {
        uint16_t rest[LANES] = {0};
        float made[LANES];
        memcpy(rest, codes + i, (size_t)(n - i) * sizeof *codes);
        store_reals(made, decode_lanes(c, load_halves(rest)));
        memcpy(y + i, made, (size_t)(n - i) * sizeof *made);
    }
}

/* One chunk or what is left of a run, n <= QN_CHUNK codes; up to QN_DENSE_SLACK bytes more are overwritten. */
LANES_INLINE void encode_chunk(unsigned char *out, const float *x, int64_t n, int bits, const codec *c)
{
    if (bits <= 8) {
        uint8_t codes[QN_CHUNK] = {0};
        encode_bytes(codes, x, n, c);
        qn_pack_bytes(out, codes, bits);
    } else {
        uint16_t codes[QN_CHUNK] = {0};
        encode_halves(codes, x, n, c);
        qn_pack_halves(out, codes, bits);
    }
}

/* The same; up to QN_DENSE_SLACK bytes more are read. */
LANES_INLINE void decode_chunk(float *y, const unsigned char *in, int64_t n, int bits, const codec *c)
{
    if (bits <= 8) {
        uint8_t codes[QN_CHUNK];
        qn_unpack_bytes(codes, in, bits);
        decode_bytes(y, codes, n, c);
    } else {
        uint16_t codes[QN_CHUNK];
        qn_unpack_halves(codes, in, bits);
        decode_halves(y, codes, n, c);
    }
}

/* Bytes of a run of packed codes. */
static inline int64_t packed_bytes(int64_t n, int bits)
{
    return (n * bits + 7) / 8;
}

LANES_INLINE void encode_dense(unsigned char *out, const float *x, int64_t n, int bits, const codec *c)
{
    const int64_t step = packed_bytes(QN_CHUNK, bits), end = packed_bytes(n, bits), few = packed_bytes(LANES, bits);
    int64_t i = 0, at = 0;
    for (; bits <= 8 && n - i >= LANES; i += LANES, at += few) {
        const words codes = encode_lanes(c, load_reals(x + i));
        if (end - at >= few + QN_DENSE_SLACK) {
            store_dense(out + at, codes, bits);
        } else {
            unsigned char piece[LANES + QN_DENSE_SLACK];
            store_dense(piece, codes, bits);
            memcpy(out + at, piece, (size_t)few);
        }
    }
    for (; n - i >= QN_CHUNK && end - at >= step + QN_DENSE_SLACK; i += QN_CHUNK, at += step) {
        encode_chunk(out + at, x + i, QN_CHUNK, bits, c);
    }
    for (; i < n; i += QN_CHUNK, at += step) {
        unsigned char piece[QN_DENSE_BYTES];
        int64_t left = n - i < QN_CHUNK ? n - i : QN_CHUNK;
        encode_chunk(piece, x + i, left, bits, c);
        memcpy(out + at, piece, (size_t)packed_bytes(left, bits));
    }
}

LANES_INLINE void decode_dense(float *y, const unsigned char *in, int64_t n, int bits, const codec *c,
                               const unpacking *u)
{
    const int64_t step = packed_bytes(QN_CHUNK, bits), end = packed_bytes(n, bits), few = packed_bytes(LANES, bits);
    int64_t i = 0, at = 0;
    for (; bits <= 8 && n - i >= LANES; i += LANES, at += few) {
        if (end - at >= LANES_READ) {
            store_reals(y + i, decode_lanes(c, load_dense(in + at, u)));
        } else {
            unsigned char piece[LANES_READ] = {0};
            memcpy(piece, in + at, (size_t)few);
            store_reals(y + i, decode_lanes(c, load_dense(piece, u)));
        }
    }
    for (; n - i >= QN_CHUNK && end - at >= step + QN_DENSE_SLACK; i += QN_CHUNK, at += step) {
        decode_chunk(y + i, in + at, QN_CHUNK, bits, c);
    }
    for (; i < n; i += QN_CHUNK, at += step) {
        unsigned char piece[QN_DENSE_BYTES] = {0};
        int64_t left = n - i < QN_CHUNK ? n - i : QN_CHUNK;
        memcpy(piece, in + at, (size_t)packed_bytes(left, bits));
        decode_chunk(y + i, piece, left, bits, c);
    }
}

/* Codes of 4 bits go to their bytes without a stop. */
LANES_INLINE void encode_nibbles(unsigned char *out, const float *x, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_nibbles(out + i / 2, encode_lanes(c, load_reals(x + i)));
    }
    if (i < n) {
        encode_dense(out + i / 2, x + i, n - i, 4, c);
    }
}

LANES_INLINE void decode_nibbles(float *y, const unsigned char *in, int64_t n, const codec *c, const unpacking *u)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_reals(y + i, decode_lanes(c, load_nibbles(in + i / 2)));
    }
    if (i < n) {
        decode_dense(y + i, in + i / 2, n - i, 4, c, u);
    }
}

LANES_INLINE void fake_all(float *y, const float *x, int64_t n, const codec *c)
{
    int64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        store_reals(y + i, fake_lanes(c, load_reals(x + i)));
    }
    if (i < n) {
        float rest[LANES] = {0};
        memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
        store_reals(rest, fake_lanes(c, load_reals(rest)));
        memcpy(y + i, rest, (size_t)(n - i) * sizeof *y);
    }
}

/* The blocks of a run: where each lies, and a run of its own for the definition. */
typedef struct block {
    qn_run run;
    int64_t first, n;
} block;

static inline bool next_block(block *b, int64_t n, const qn_run *run)
{
    b->first += b->n;
    b->n = run->block > 0 && run->block < n - b->first ? run->block : n - b->first;
    b->run.first = run->first + b->first;
    b->run.params = run->params;
    if (run->block > 0 && b->n > 0) {
        b->run.params.exp_bias = run->exp_bias[b->first / run->block];
    }
    return b->n > 0;
}

static inline block before_blocks(const qn_run *run)
{
    block b = {.run = *run};
    b.run.block = 0;
    return b;
}

LANES_TARGET static void encode(void *codes, const float *x, int64_t n, const qn_run *run)
{
    codec c;
    prepare(&c, run->format);
    for (block b = before_blocks(run); next_block(&b, n, run);) {
        if (run->format->bits <= 8 && bind(&c, run->format, &b.run.params)) {
            encode_bytes((uint8_t *)codes + b.first, x + b.first, b.n, &c);
        } else if (run->format->bits > 8 && bind(&c, run->format, &b.run.params)) {
            encode_halves((uint16_t *)codes + b.first, x + b.first, b.n, &c);
        } else {
            size_t size = run->format->bits <= 8 ? 1 : 2;
            qn_encode_definition((unsigned char *)codes + (size_t)b.first * size, x + b.first, b.n, &b.run);
        }
    }
}

LANES_TARGET static void decode(float *y, const void *codes, int64_t n, const qn_run *run)
{
    codec c;
    prepare(&c, run->format);
    for (block b = before_blocks(run); next_block(&b, n, run);) {
        if (run->format->bits <= 8 && bind(&c, run->format, &b.run.params)) {
            decode_bytes(y + b.first, (const uint8_t *)codes + b.first, b.n, &c);
        } else if (run->format->bits > 8 && bind(&c, run->format, &b.run.params)) {
            decode_halves(y + b.first, (const uint16_t *)codes + b.first, b.n, &c);
        } else {
            size_t size = run->format->bits <= 8 ? 1 : 2;
            qn_decode_definition(y + b.first, (const unsigned char *)codes + (size_t)b.first * size, b.n, &b.run);
        }
    }
}

/* Codes of 8 and 16 bits are their own packed form. */
LANES_TARGET static void encode_packed(void *packed, const float *x, int64_t n, const qn_run *run)
{
    const int bits = run->format->bits;
    if (bits == 8 || bits == 16) {
        encode(packed, x, n, run);
        return;
    }
    codec c;
    prepare(&c, run->format);
    for (block b = before_blocks(run); next_block(&b, n, run);) {
        unsigned char *out = (unsigned char *)packed + b.first * bits / 8;
        if (!bind(&c, run->format, &b.run.params)) {
            qn_encode_packed_definition(out, x + b.first, b.n, &b.run);
        } else if (bits == 4) {
            encode_nibbles(out, x + b.first, b.n, &c);
        } else {
            encode_dense(out, x + b.first, b.n, bits, &c);
        }
    }
}

LANES_TARGET static void decode_packed(float *y, const void *packed, int64_t n, const qn_run *run)
{
    const int bits = run->format->bits;
    if (bits == 8 || bits == 16) {
        decode(y, packed, n, run);
        return;
    }
    const unpacking u = unpacking_of(bits <= 8 ? bits : 8);
    codec c;
    prepare(&c, run->format);
    for (block b = before_blocks(run); next_block(&b, n, run);) {
        const unsigned char *in = (const unsigned char *)packed + b.first * bits / 8;
        if (!bind(&c, run->format, &b.run.params)) {
            qn_decode_packed_definition(y + b.first, in, b.n, &b.run);
        } else if (bits == 4) {
            decode_nibbles(y + b.first, in, b.n, &c, &u);
        } else {
            decode_dense(y + b.first, in, b.n, bits, &c, &u);
        }
    }
}

LANES_TARGET static void fake(float *y, const float *x, int64_t n, const qn_run *run)
{
    codec c;
    prepare(&c, run->format);
    for (block b = before_blocks(run); next_block(&b, n, run);) {
        if (bind(&c, run->format, &b.run.params)) {
            fake_all(y + b.first, x + b.first, b.n, &c);
        } else {
            qn_fake_definition(y + b.first, x + b.first, b.n, &b.run);
        }
    }
}
