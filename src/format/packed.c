/* Packed codes: where in the bytes a code lies, and moving codes there and back. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "format/move.h"
#include "format/round.h"
#include "quern/codes.h"

enum { WORD_BITS = 32, CHUNK = 512 };

qn_status qn_packed_bytes(size_t *n_bytes, int64_t n, int bits, qn_packing packing, qn_error *err)
{
    if (bits < 1 || bits > WORD_BITS || n < 0) {
        return qn_fail(err, QN_EINVAL, NULL, "cannot pack %lld codes of %d bits; codes have 1 to 32", (long long)n,
                       bits);
    }
    size_t total, per_word = (size_t)(WORD_BITS / bits), count = (size_t)n;
    if (packing == QN_PACKING_WORD32) {
        total = count / per_word + (count % per_word != 0 ? 1 : 0);
        if (!qn_mul_size(total, 4, n_bytes)) {
            return qn_fail(err, QN_ELIMIT, NULL, "%lld codes are too many", (long long)n);
        }
        return QN_OK;
    }
    /* Bit positions are kept in int64. */
    if (n > INT64_MAX / WORD_BITS || !qn_mul_size(count, (size_t)bits, &total)) {
        return qn_fail(err, QN_ELIMIT, NULL, "%lld codes are too many", (long long)n);
    }
    *n_bytes = total / 8 + (total % 8 != 0 ? 1 : 0);
    return QN_OK;
}

/* First bit of a code in the stream of bytes, which both packings are. */
static int64_t bit_of(const qn_packed *p, int64_t index)
{
    if (p->packing == QN_PACKING_DENSE) {
        return index * p->bits;
    }
    int64_t per_word = WORD_BITS / p->bits;
    return index / per_word * WORD_BITS + index % per_word * p->bits;
}

/* The bytes that hold `bits` bits from bit `shift` of the first one: 1 to 5. */
static int bytes_spanned(int shift, int bits)
{
    return (shift + bits + 7) / 8;
}

uint32_t qn_packed_get(const qn_packed *p, int64_t index)
{
    int64_t bit = bit_of(p, index);
    const unsigned char *bytes = (const unsigned char *)p->data + bit / 8;
    int shift = (int)(bit % 8);
    uint64_t window = 0;
    for (int i = bytes_spanned(shift, p->bits) - 1; i >= 0; i--) {
        window = window << 8 | bytes[i];
    }
    return (uint32_t)(window >> shift) & qn_code_mask(p->bits);
}

/* Replace the bits of `mask` at a code's place by `code XOR (what is there AND keep)`. */
static void put(const qn_packed *p, int64_t index, uint32_t code, uint64_t keep)
{
    int64_t bit = bit_of(p, index);
    unsigned char *bytes = (unsigned char *)p->data + bit / 8;
    int shift = (int)(bit % 8), n = bytes_spanned(shift, p->bits);
    uint64_t field = (uint64_t)qn_code_mask(p->bits) << shift, window = 0;
    for (int i = n - 1; i >= 0; i--) {
        window = window << 8 | bytes[i];
    }
    window = (window & (~field | keep)) ^ (((uint64_t)code << shift) & field);
    for (int i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(window >> 8 * i);
    }
}

void qn_packed_set(qn_packed *p, int64_t index, uint32_t code)
{
    put(p, index, code, 0);
}

void qn_packed_flip(qn_packed *p, int64_t index, uint32_t mask)
{
    put(p, index, mask, UINT64_MAX);
}

/* n codes of containers of any size from `first` on, as u32, without the bits above the format's; and back. */
static void load(uint32_t *wide, const void *codes, size_t code_size, int64_t first, int64_t n, uint32_t mask)
{
    for (int64_t i = 0; i < n; i++) {
        wide[i] = mask & (code_size == 1   ? ((const uint8_t *)codes)[first + i]
                          : code_size == 2 ? ((const uint16_t *)codes)[first + i]
                                           : ((const uint32_t *)codes)[first + i]);
    }
}

static void store(void *codes, size_t code_size, int64_t first, const uint32_t *wide, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (code_size == 1) {
            ((uint8_t *)codes)[first + i] = (uint8_t)wide[i];
        } else if (code_size == 2) {
            ((uint16_t *)codes)[first + i] = (uint16_t)wide[i];
        } else {
            ((uint32_t *)codes)[first + i] = wide[i];
        }
    }
}

void qn_pack(qn_packed *p, const void *codes, size_t code_size)
{
    size_t n_bytes;
    if (p->n == 0 || qn_packed_bytes(&n_bytes, p->n, p->bits, p->packing, NULL) != QN_OK) {
        return;
    }
    if (p->packing == QN_PACKING_WORD32) {
        memset(p->data, 0, n_bytes); /* the padding of every word */
    } else {
        ((unsigned char *)p->data)[n_bytes - 1] = 0;
    }
    for (int64_t first = 0; first < p->n; first += CHUNK) {
        uint32_t block[CHUNK + QN_MOVE_SLACK / sizeof(uint32_t)];
        const int64_t n = p->n - first < CHUNK ? p->n - first : CHUNK;
        load(block, codes, code_size, first, n, qn_code_mask(p->bits));
        qn_narrow_codes(block, block, p->bits, n);
        qn_packed_put(p, first, block, n);
    }
}

void qn_unpack(void *codes, const qn_packed *p, size_t code_size)
{
    for (int64_t first = 0; first < p->n; first += CHUNK) {
        uint32_t narrow[CHUNK + QN_MOVE_SLACK / sizeof(uint32_t)], wide[CHUNK];
        const int64_t n = p->n - first < CHUNK ? p->n - first : CHUNK;
        qn_packed_take(narrow, p, first, n);
        qn_widen_codes(wide, narrow, p->bits, n);
        store(codes, code_size, first, wide, n);
    }
}
