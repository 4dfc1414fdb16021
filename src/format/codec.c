/* Runs go to a kernel whole when they are contiguous and there is one. Where their packed codes start within a byte, or
 * lie in words, the kernel leaves codes in containers, which move from there. Sets along the last axis make runs of one
 * element; there, kernels see columns of a tile of the tensor. All else passes, in blocks that stay in the first level
 * of cache, through the definition, which works on u32 codes. */
#include "format/codec.h"

#include <string.h>

#include "format/columns.h"
#include "format/move.h"
#include "format/quantizer.h"
#include "format/round.h"
#include "format/walk.h"

enum { BLOCK = 256, CHUNK = 1024, SLACK = QN_MOVE_SLACK / sizeof(uint32_t) };

typedef struct job {
    const qn_codec *c;
    const qn_quantizer *q;
    const qn_format_kernel *kernel;
    qn_run run;
} job;

/* Put codes into containers of c->code_size bytes, `stride` apart. */
static void store_codes(const qn_codec *c, const qn_format *f, int64_t first, int64_t stride, uint32_t *block,
                        int64_t n)
{
    if (c->packed != NULL) {
        if (stride == 1) {
            qn_narrow_codes(block, block, f->bits, n);
            qn_packed_put(c->packed, first, block, n);
            return;
        }
        for (int64_t i = 0; i < n; i++) {
            qn_packed_set(c->packed, first + i * stride, block[i]);
        }
        return;
    }
    if (c->extend && f->is_signed && f->bits < 32) {
        for (int64_t i = 0; i < n; i++) {
            block[i] = (uint32_t)qn_code_signed(block[i], f->bits);
        }
    }
    switch (c->code_size) {
    case 1:
        for (int64_t i = 0; i < n; i++) {
            ((uint8_t *)c->codes)[first + i * stride] = (uint8_t)block[i];
        }
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) {
            ((uint16_t *)c->codes)[first + i * stride] = (uint16_t)block[i];
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            ((uint32_t *)c->codes)[first + i * stride] = block[i];
        }
    }
}

static void load_codes(const qn_codec *c, const qn_format *f, int64_t first, int64_t stride, uint32_t *block, int64_t n)
{
    const uint32_t mask = qn_code_mask(f->bits);
    if (c->const_packed != NULL) {
        if (stride == 1) {
            uint32_t narrow[BLOCK + SLACK];
            qn_packed_take(narrow, c->const_packed, first, n);
            qn_widen_codes(block, narrow, f->bits, n);
            return;
        }
        for (int64_t i = 0; i < n; i++) {
            block[i] = qn_packed_get(c->const_packed, first + i * stride);
        }
        return;
    }
    switch (c->code_size) {
    case 1:
        for (int64_t i = 0; i < n; i++) {
            block[i] = ((const uint8_t *)c->const_codes)[first + i * stride] & mask;
        }
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) {
            block[i] = ((const uint16_t *)c->const_codes)[first + i * stride] & mask;
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            block[i] = ((const uint32_t *)c->const_codes)[first + i * stride] & mask;
        }
    }
}

static void encode_block(const job *j, const qn_run *run, int64_t first, int64_t stride, uint32_t *block, int64_t n)
{
    if (j->c->x64 != NULL) {
        double x[BLOCK];
        for (int64_t i = 0; i < n; i++) {
            x[i] = j->c->x64[first + i * stride];
        }
        qn_run_encode_f64(block, x, n, run);
    } else if (stride == 1) {
        qn_run_encode(block, j->c->x + first, n, run);
    } else {
        float x[BLOCK];
        for (int64_t i = 0; i < n; i++) {
            x[i] = j->c->x[first + i * stride];
        }
        qn_run_encode(block, x, n, run);
    }
}

static void decode_block(const job *j, const qn_run *run, int64_t first, int64_t stride, const uint32_t *block,
                         int64_t n)
{
    if (stride == 1) {
        qn_run_decode(j->c->y + first, block, n, run);
        return;
    }
    float y[BLOCK];
    qn_run_decode(y, block, n, run);
    for (int64_t i = 0; i < n; i++) {
        j->c->y[first + i * stride] = y[i];
    }
}

static void by_definition(job *j, const qn_span *span)
{
    const qn_codec *c = j->c;
    const qn_format *f = &j->q->format;
    bool encodes = c->x != NULL || c->x64 != NULL;
    for (int64_t done = 0; done < span->n; done += BLOCK) {
        uint32_t block[BLOCK + SLACK];
        int64_t n = span->n - done < BLOCK ? span->n - done : BLOCK, first = span->first + done * span->stride;
        qn_run run = j->run;
        run.first = first;
        if (encodes) {
            encode_block(j, &run, first, span->stride, block, n);
        } else {
            load_codes(c, f, first, span->stride, block, n);
        }
        if (c->y != NULL) {
            decode_block(j, &run, first, span->stride, block, n);
        } else {
            store_codes(c, f, first, span->stride, block, n);
        }
    }
}

/* Where a packed run starts on a byte and ends on one, or ends the tensor, it is a piece of the stream by itself.
 * Words that codes fill are a dense stream. */
static unsigned char *packed_piece(const qn_packed *p, const qn_span *span)
{
    int64_t first_bit = span->first * p->bits, end = span->first + span->n;
    bool dense = p->packing == QN_PACKING_DENSE || 32 % p->bits == 0;
    bool whole = dense && first_bit % 8 == 0 && (end * p->bits % 8 == 0 || end == p->n);
    return whole ? (unsigned char *)p->data + first_bit / 8 : NULL;
}

/* Codes of the signed dtypes are wider than the format's only here, so that kernels need not know. */
static bool extension_matters(const qn_codec *c, const qn_format *f)
{
    return c->extend && f->is_signed && (size_t)f->bits != 8 * c->code_size;
}

/* A kernel for containers does the run in chunks, and its codes are moved; false when there is none. */
static bool by_chunks(job *j, const qn_span *span)
{
    const qn_codec *c = j->c;
    const qn_format_kernel *k = j->kernel;
    if (c->packed != NULL ? k->encode == NULL : k->decode == NULL) {
        return false;
    }
    qn_run run = j->run;
    for (int64_t done = 0; done < span->n; done += CHUNK) {
        uint32_t codes[CHUNK + SLACK]; /* room for any containers */
        const int64_t n = span->n - done < CHUNK ? span->n - done : CHUNK, first = span->first + done;
        run.first = j->run.first + done;
        if (c->packed != NULL) {
            k->encode(codes, c->x + first, n, &run);
            qn_packed_put(c->packed, first, codes, n);
        } else {
            qn_packed_take(codes, c->const_packed, first, n);
            k->decode(c->y + first, codes, n, &run);
        }
    }
    return true;
}

/* Let a kernel do the run; false when none can. */
static bool by_kernel(job *j, const qn_span *span)
{
    const qn_codec *c = j->c;
    const qn_format_kernel *k = j->kernel;
    if (span->stride != 1 || c->x64 != NULL) {
        return false;
    }
    size_t offset = (size_t)span->first * c->code_size;
    if (c->x != NULL && c->y != NULL) {
        if (k->fake != NULL) {
            k->fake(c->y + span->first, c->x + span->first, span->n, &j->run);
        }
        return k->fake != NULL;
    }
    if (c->packed != NULL || c->const_packed != NULL) {
        unsigned char *piece = packed_piece(c->packed != NULL ? c->packed : c->const_packed, span);
        if (c->packed != NULL && k->encode_packed != NULL && piece != NULL) {
            k->encode_packed(piece, c->x + span->first, span->n, &j->run);
            return true;
        }
        if (c->const_packed != NULL && k->decode_packed != NULL && piece != NULL) {
            k->decode_packed(c->y + span->first, piece, span->n, &j->run);
            return true;
        }
        return j->run.block == 0 && by_chunks(j, span);
    }
    if (c->x != NULL && k->encode != NULL && !extension_matters(c, &j->q->format)) {
        k->encode((unsigned char *)c->codes + offset, c->x + span->first, span->n, &j->run);
        return true;
    }
    if (c->x == NULL && k->decode != NULL) {
        k->decode(c->y + span->first, (const unsigned char *)c->const_codes + offset, span->n, &j->run);
        return true;
    }
    return false;
}

static void do_span(void *ctx, const qn_span *span)
{
    job *j = ctx;
    j->run.params = qn_quantizer_get(j->q, span->set);
    j->run.first = span->first;
    j->run.stride = span->stride;
    if (!by_kernel(j, span)) {
        by_definition(j, span);
    }
}

/* Exponents shared by blocks of consecutive elements: a kernel takes a whole row of blocks, as a call for each would take
 * longer than its work. Rows without a short last block are one row. False when there is no kernel for it, before
 * anything is done. */
static bool by_blocks(job *j, int rank, const int64_t *dims)
{
    const qn_quantizer *q = j->q;
    const bool consecutive = q->group > 0 && (q->axis < 0 || q->axis == rank - 1);
    if (!consecutive || q->exp_bias == NULL || qn_format_parameters(q->format) != QN_PARAM_EXP_BIAS) {
        return false;
    }
    int64_t n = 1;
    for (int d = 0; d < rank; d++) {
        n *= dims[d];
    }
    int64_t row = q->axis < 0 || dims[q->axis] % q->group == 0 ? n : dims[q->axis];
    bool packs = j->c->packed != NULL || j->c->const_packed != NULL;
    if (n == 0 || (packs && (q->group * q->format.bits % 8 != 0 || (row < n && row * q->format.bits % 8 != 0)))) {
        return false;
    }
    const int64_t blocks = row / q->group + (row % q->group != 0 ? 1 : 0);
    j->run.stride = 1;
    j->run.block = q->group;
    j->run.exp_bias = q->exp_bias;
    for (int64_t first = 0; first < n; first += row, j->run.exp_bias += blocks) {
        j->run.first = first;
        if (!by_kernel(j, &(qn_span){.first = first, .n = row, .stride = 1})) {
            j->run.block = 0;
            return false;
        }
    }
    return true;
}

void qn_codec_run(const qn_codec *codec, const qn_quantizer *q, const qn_format_kernel *kernel, int rank,
                  const int64_t *dims)
{
    if (qn_codec_columns(codec, q, kernel, rank, dims)) {
        return;
    }
    job j = {.c = codec, .q = q, .kernel = kernel, .run = {.format = &q->format, .seed = codec->seed}};
    if (!by_blocks(&j, rank, dims)) {
        qn_walk(q->axis, q->group, rank, dims, do_span, &j);
    }
}

static size_t dtype_size_of(const qn_quantizer *q)
{
    return qn_dtype_size(qn_format_dtype(q->format));
}

static void run_default(const qn_codec *codec, const qn_quantizer *q, int rank, const int64_t *dims)
{
    qn_format_kernel kernel = qn_format_kernel_default(&q->format);
    qn_codec_run(codec, q, &kernel, rank, dims);
}

static bool is_signed_integer(const qn_quantizer *q)
{
    return q->format.kind == QN_FORMAT_INT && q->format.is_signed;
}

void qn_quantizer_encode(void *codes, const float *x, const qn_quantizer *q, int rank, const int64_t *dims)
{
    run_default(&(qn_codec){.x = x, .codes = codes, .code_size = dtype_size_of(q), .extend = is_signed_integer(q)}, q,
                rank, dims);
}

void qn_quantizer_decode(float *y, const void *codes, const qn_quantizer *q, int rank, const int64_t *dims)
{
    run_default(&(qn_codec){.y = y, .const_codes = codes, .code_size = dtype_size_of(q)}, q, rank, dims);
}

void qn_quantizer_fake(float *y, const float *x, const qn_quantizer *q, int rank, const int64_t *dims)
{
    run_default(&(qn_codec){.x = x, .y = y}, q, rank, dims);
}
