/* A tile of the matrix is transposed, so that kernels see columns as runs; codes go back into rows, which are moved. */
#include "format/columns.h"

#include <string.h>

#include "base/arch.h"
#include "format/move.h"

#if QN_X86_64
#include <emmintrin.h>
#endif

enum { ROWS = 128, COLUMNS = 64, FEW_ROWS = 4, FLOAT_STEP = 4, BYTE_STEP = 8 };

/* One tile: elements and codes, column by column, and the codes of one row. A column starts off the borders of cache
 * lines that all columns would share. */
enum { FLOAT_COLUMN = ROWS + 16, CODE_COLUMN = (ROWS + 16) * sizeof(uint16_t) };
typedef struct tile {
    float reals[COLUMNS * FLOAT_COLUMN];
    unsigned char codes[COLUMNS * CODE_COLUMN];
    unsigned char rows[ROWS * COLUMNS * sizeof(uint16_t) + QN_MOVE_SLACK];
} tile;

/* to[c * to_step + r] = from[r * from_step + c] */
static void transpose_floats(float *to, int64_t to_step, const float *from, int64_t from_step, int64_t rows,
                             int64_t columns)
{
    int64_t r = 0;
#if QN_X86_64
    for (; r + FLOAT_STEP <= rows; r += FLOAT_STEP) {
        int64_t c = 0;
        for (; c + FLOAT_STEP <= columns; c += FLOAT_STEP) {
            const float *at = from + r * from_step + c;
            __m128 a = _mm_loadu_ps(at), b = _mm_loadu_ps(at + from_step), d = _mm_loadu_ps(at + 2 * from_step),
                   e = _mm_loadu_ps(at + 3 * from_step);
            _MM_TRANSPOSE4_PS(a, b, d, e);
            float *out = to + c * to_step + r;
            _mm_storeu_ps(out, a);
            _mm_storeu_ps(out + to_step, b);
            _mm_storeu_ps(out + 2 * to_step, d);
            _mm_storeu_ps(out + 3 * to_step, e);
        }
        for (; c < columns; c++) {
            for (int64_t k = r; k < r + FLOAT_STEP; k++) {
                to[c * to_step + k] = from[k * from_step + c];
            }
        }
    }
#endif
    for (; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            to[c * to_step + r] = from[r * from_step + c];
        }
    }
}

static void transpose_singly(unsigned char *to, int64_t to_step, const unsigned char *from, int64_t from_step,
                             int64_t first_row, int64_t rows, int64_t first_column, int64_t columns, size_t size)
{
    for (int64_t r = first_row; r < rows; r++) {
        for (int64_t c = first_column; c < columns; c++) {
            memcpy(to + c * to_step + r * (int64_t)size, from + r * from_step + c * (int64_t)size, size);
        }
    }
}

#if QN_X86_64
static __m128i eight_bytes(const unsigned char *at)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)at);
}

static void store_two(unsigned char *low, unsigned char *high, __m128i x)
{
    _mm_storel_epi64((__m128i *)(void *)low, x);
    _mm_storel_epi64((__m128i *)(void *)high, _mm_unpackhi_epi64(x, x));
}

static void transpose_eight(unsigned char *to, int64_t to_step, const unsigned char *from, int64_t from_step)
{
    __m128i pairs[4];
    for (int i = 0; i < 4; i++) {
        pairs[i] =
            _mm_unpacklo_epi8(eight_bytes(from + 2 * i * from_step), eight_bytes(from + (2 * i + 1) * from_step));
    }
    const __m128i a = _mm_unpacklo_epi16(pairs[0], pairs[1]), b = _mm_unpackhi_epi16(pairs[0], pairs[1]),
                  c = _mm_unpacklo_epi16(pairs[2], pairs[3]), d = _mm_unpackhi_epi16(pairs[2], pairs[3]);
    store_two(to, to + to_step, _mm_unpacklo_epi32(a, c));
    store_two(to + 2 * to_step, to + 3 * to_step, _mm_unpackhi_epi32(a, c));
    store_two(to + 4 * to_step, to + 5 * to_step, _mm_unpacklo_epi32(b, d));
    store_two(to + 6 * to_step, to + 7 * to_step, _mm_unpackhi_epi32(b, d));
}
#endif

/* The same for containers of 1 or 2 bytes; steps are in bytes. */
static void transpose_codes(unsigned char *to, int64_t to_step, const unsigned char *from, int64_t from_step,
                            int64_t rows, int64_t columns, size_t size)
{
    int64_t whole_rows = 0, whole_columns = 0;
#if QN_X86_64
    if (size == 1) {
        whole_rows = rows / BYTE_STEP * BYTE_STEP;
        whole_columns = columns / BYTE_STEP * BYTE_STEP;
        for (int64_t r = 0; r < whole_rows; r += BYTE_STEP) {
            for (int64_t c = 0; c < whole_columns; c += BYTE_STEP) {
                transpose_eight(to + c * to_step + r, to_step, from + r * from_step + c, from_step);
            }
        }
    }
#endif
    if (size == sizeof(uint16_t)) {
        transpose_singly(to, to_step, from, from_step, 0, rows, 0, columns, sizeof(uint16_t));
    } else {
        transpose_singly(to, to_step, from, from_step, 0, whole_rows, whole_columns, columns, 1);
        transpose_singly(to, to_step, from, from_step, whole_rows, rows, 0, columns, 1);
    }
}

/* Where a tile lies in the matrix. */
typedef struct place {
    int64_t row, column, rows, columns, length;
} place;

static int64_t index_of(const place *p, int64_t row)
{
    return (p->row + row) * p->length + p->column;
}

static qn_run run_of(const place *p, const qn_quantizer *q, int64_t column, uint64_t seed)
{
    return (qn_run){.format = &q->format,
                    .params = qn_quantizer_get(q, p->column + column),
                    .seed = seed,
                    .first = index_of(p, 0) + column,
                    .stride = p->length};
}

static void encode_tile(tile *t, const place *p, const qn_codec *c, const qn_quantizer *q, const qn_format_kernel *k)
{
    const size_t size = qn_container_bytes(q->format.bits);
    transpose_floats(t->reals, FLOAT_COLUMN, c->x + index_of(p, 0), p->length, p->rows, p->columns);
    for (int64_t i = 0; i < p->columns; i++) {
        const qn_run run = run_of(p, q, i, c->seed);
        k->encode(t->codes + i * CODE_COLUMN, t->reals + i * FLOAT_COLUMN, p->rows, &run);
    }
    transpose_codes(t->rows, p->columns * (int64_t)size, t->codes, CODE_COLUMN, p->columns, p->rows, size);
    for (int64_t r = 0; r < p->rows; r++) {
        qn_packed_put(c->packed, index_of(p, r), t->rows + (size_t)(r * p->columns) * size, p->columns);
    }
}

static void decode_tile(tile *t, const place *p, const qn_codec *c, const qn_quantizer *q, const qn_format_kernel *k)
{
    const size_t size = qn_container_bytes(q->format.bits);
    for (int64_t r = 0; r < p->rows; r++) {
        qn_packed_take(t->rows + (size_t)(r * p->columns) * size, c->const_packed, index_of(p, r), p->columns);
    }
    transpose_codes(t->codes, CODE_COLUMN, t->rows, p->columns * (int64_t)size, p->rows, p->columns, size);
    for (int64_t i = 0; i < p->columns; i++) {
        const qn_run run = run_of(p, q, i, 0);
        k->decode(t->reals + i * FLOAT_COLUMN, t->codes + i * CODE_COLUMN, p->rows, &run);
    }
    transpose_floats(c->y + index_of(p, 0), p->length, t->reals, FLOAT_COLUMN, p->columns, p->rows);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool qn_codec_columns(const qn_codec *c, const qn_quantizer *q, const qn_format_kernel *k, int rank,
                      const int64_t *dims)
{
    const bool encodes = c->x != NULL && c->packed != NULL, decodes = c->y != NULL && c->const_packed != NULL;
    if (rank < 1 || q->axis != rank - 1 || q->group != 0 || q->format.bits > 16 ||
        (encodes ? k->encode == NULL : k->decode == NULL) || !(encodes || decodes)) {
        return false;
    }
    int64_t n_rows = 1;
    const int64_t length = dims[rank - 1];
    for (int d = 0; d < rank - 1; d++) {
        n_rows *= dims[d];
    }
    if (n_rows < FEW_ROWS) {
        return false;
    }
    tile t;
    for (int64_t row = 0; row < n_rows; row += ROWS) {
        for (int64_t column = 0; column < length; column += COLUMNS) {
            const place p = {row, column, least(ROWS, n_rows - row), least(COLUMNS, length - column), length};
            (encodes ? encode_tile : decode_tile)(&t, &p, c, q, k);
        }
    }
    return true;
}
