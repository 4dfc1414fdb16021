/* MatMulInteger and ConvInteger: exact sums of products of codes less their zero points, in int32 modulo 2^32
 * (doc/spec/arithmetic.md 6.8). */
#include <string.h>

#include "base/arch.h"
#include "graph/compute/job.h"

#if QN_X86_64
#include <immintrin.h>
#endif

enum { ROWS = 4, COLUMNS = 32, CHUNK = 512 };

typedef struct loops {
    void (*products)(int32_t sums[ROWS][COLUMNS], const int16_t *a, const int16_t *b, int64_t pairs);
    void (*add_u8)(int32_t *y, const uint8_t *x, int64_t n, int64_t step, int32_t w, int32_t zero);
    void (*add_s8)(int32_t *y, const int8_t *x, int64_t n, int64_t step, int32_t w, int32_t zero);
    void (*row_u8)(int16_t *y, const uint8_t *x, int64_t n, int16_t zero);
    void (*row_s8)(int16_t *y, const int8_t *x, int64_t n, int16_t zero);
} loops;

/* Sums of 16-bit products along 2 * pairs <= CHUNK terms, which stay below 2^31.
 *  a  ROWS rows, CHUNK apart
 *  b  two terms of each of COLUMNS columns, then the next two */
static void products_reference(int32_t sums[ROWS][COLUMNS], const int16_t *a, const int16_t *b, int64_t pairs)
{
    memset(sums, 0, ROWS * sizeof sums[0]);
    for (int64_t i = 0; i < pairs; i++, b += 2 * COLUMNS) {
        for (int r = 0; r < ROWS; r++) {
            const int32_t first = a[r * CHUNK + 2 * i], second = a[r * CHUNK + 2 * i + 1];
            for (int c = 0; c < COLUMNS; c++) {
                sums[r][c] += first * b[2 * c] + second * b[2 * c + 1];
            }
        }
    }
}

#if QN_X86_64
static inline int32_t pair_at(const int16_t *a)
{
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    return pair;
}

__attribute__((target("avx2"))) static void products_avx2(int32_t sums[ROWS][COLUMNS], const int16_t *a,
                                                          const int16_t *b, int64_t pairs)
{
    enum { WIDE = 16, VECTORS = 2 };
    for (int c = 0; c < COLUMNS; c += WIDE) {
        __m256i sum[ROWS][VECTORS] = {{_mm256_setzero_si256()}};
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        }
        for (int64_t i = 0; i < pairs; i++) {
            const __m256i *from = (const __m256i *)(const void *)(b + 2 * (i * COLUMNS + c));
            const __m256i left = _mm256_loadu_si256(from), right = _mm256_loadu_si256(from + 1);
            QN_UNROLL for (int r = 0; r < ROWS; r++)
            {
                const __m256i x = _mm256_set1_epi32(pair_at(a + r * CHUNK + 2 * i));
                sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(x, left));
                sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(x, right));
            }
        }
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            _mm256_storeu_si256((__m256i *)(void *)&sums[r][c], sum[r][0]);
            _mm256_storeu_si256((__m256i *)(void *)&sums[r][c + WIDE / 2], sum[r][1]);
        }
    }
}

__attribute__((target("avx512f,avx512bw"))) static void products_avx512(int32_t sums[ROWS][COLUMNS], const int16_t *a,
                                                                        const int16_t *b, int64_t pairs)
{
    __m512i sum[ROWS][2];
    QN_UNROLL for (int r = 0; r < ROWS; r++)
    {
        sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    }
    for (int64_t i = 0; i < pairs; i++, b += 2 * COLUMNS) {
        const __m512i left = _mm512_loadu_si512(b), right = _mm512_loadu_si512(b + COLUMNS);
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            const __m512i x = _mm512_set1_epi32(pair_at(a + r * CHUNK + 2 * i));
            sum[r][0] = _mm512_add_epi32(sum[r][0], _mm512_madd_epi16(x, left));
            sum[r][1] = _mm512_add_epi32(sum[r][1], _mm512_madd_epi16(x, right));
        }
    }
    QN_UNROLL for (int r = 0; r < ROWS; r++)
    {
        _mm512_storeu_si512(&sums[r][0], sum[r][0]);
        _mm512_storeu_si512(&sums[r][COLUMNS / 2], sum[r][1]);
    }
}
#endif

#define LANES_TEMPLATE "graph/compute/quantized_product_template.h"
#define LANES_AVX512   "avx512f,avx512bw,avx512dq"
#include "base/each_isa.inc"

/* 8-bit codes and their zero points; `zeros` of them, NULL data: 0. */
static int32_t code_at(const void *data, bool is_signed, int64_t i)
{
    return data == NULL ? 0 : is_signed ? (int32_t)((const int8_t *)data)[i] : (int32_t)((const uint8_t *)data)[i];
}

/*  m, n, k       of one product of matrices
 *  batches       products; `a_of`, `b_of` say which matrices each has
 *  a_zeros       zero points of a: 1; m, the same for all matrices; m for each matrix. b_zeros so, of n
 *  packed        columns of the constant b, less their zero points: for each chunk of k, for each COLUMNS of them, as
 *                products_reference takes them */
typedef struct product_params {
    const loops *loops;
    int64_t m, n, k, batches, a_zeros, b_zeros;
    const int32_t *a_of, *b_of;
    bool a_signed, b_signed;
    const int16_t *packed;
} product_params;

static int64_t padded(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int64_t chunk_at(const product_params *p, int64_t first)
{
    return p->k - first < CHUNK ? p->k - first : CHUNK;
}

/* COLUMNS columns of b from `column` on, rows from `first` on, in pairs; what is beyond n and `count` is 0. */
static void pack_columns(const product_params *p, int16_t *to, const void *b, const void *zeros, int64_t matrix,
                         int64_t column, int64_t first, int64_t count)
{
    const char *bytes = (const char *)b + matrix * p->k * p->n;
    memset(to, 0, (size_t)(padded(count, 2) * COLUMNS) * sizeof *to);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < COLUMNS && column + j < p->n; j++) {
            const int64_t at = p->b_zeros <= 1 ? 0 : (p->b_zeros == p->n ? 0 : matrix * p->n) + column + j;
            const int32_t code = code_at(bytes, p->b_signed, (first + i) * p->n + column + j);
            to[(i / 2 * COLUMNS + j) * 2 + i % 2] = (int16_t)(code - code_at(zeros, p->b_signed, at));
        }
    }
}

static void pack_rows(const product_params *p, int16_t *to, const void *a, const void *zeros, int64_t matrix,
                      int64_t row, int64_t first, int64_t count)
{
    for (int64_t i = row; i < row + ROWS; i++, to += CHUNK) {
        const int64_t last = i < p->m ? i : p->m - 1; /* rows beyond are not used */
        const int64_t at = p->a_zeros <= 1 ? 0 : p->a_zeros == p->m ? last : matrix * p->m + last;
        const int16_t zero = (int16_t)code_at(zeros, p->a_signed, at);
        const size_t from = (size_t)((matrix * p->m + last) * p->k + first);
        if (p->a_signed) {
            p->loops->row_s8(to, (const int8_t *)a + from, count, zero);
        } else {
            p->loops->row_u8(to, (const uint8_t *)a + from, count, zero);
        }
        if (count % 2 != 0) {
            to[count] = 0;
        }
    }
}

static void add_block(const product_params *p, int32_t *y, const int16_t *a, const int16_t *b, int64_t row,
                      int64_t column, int64_t first, int64_t count)
{
    int32_t sums[ROWS][COLUMNS];
    p->loops->products(sums, a, b, padded(count, 2) / 2);
    for (int64_t r = 0; r < ROWS && row + r < p->m; r++) {
        for (int64_t c = 0; c < COLUMNS && column + c < p->n; c++) {
            int32_t *to = &y[(row + r) * p->n + column + c];
            *to = (int32_t)((first > 0 ? (uint32_t)*to : 0U) + (uint32_t)sums[r][c]);
        }
    }
}

static void run_packed(const product_params *p, int32_t *y, const void *const *x, int64_t a_matrix)
{
    int16_t a[ROWS * CHUNK];
    const int16_t *b = p->packed;
    for (int64_t first = 0; first < p->k; first += CHUNK) {
        const int64_t count = chunk_at(p, first);
        for (int64_t row = 0; row < p->m; row += ROWS) {
            pack_rows(p, a, x[0], x[2], a_matrix, row, first, count);
            for (int64_t column = 0; column < p->n; column += COLUMNS) {
                add_block(p, y, a, b + column * padded(count, 2), row, column, first, count);
            }
        }
        b += padded(p->n, COLUMNS) * padded(count, 2);
    }
}

static void run_both(const product_params *p, int32_t *y, const void *const *x, int64_t a_matrix, int64_t b_matrix)
{
    int16_t a[ROWS * CHUNK], b[COLUMNS * CHUNK];
    for (int64_t first = 0; first < p->k; first += CHUNK) {
        const int64_t count = chunk_at(p, first);
        for (int64_t column = 0; column < p->n; column += COLUMNS) {
            pack_columns(p, b, x[1], x[3], b_matrix, column, first, count);
            for (int64_t row = 0; row < p->m; row += ROWS) {
                pack_rows(p, a, x[0], x[2], a_matrix, row, first, count);
                add_block(p, y, a, b, row, column, first, count);
            }
        }
    }
}

static void run_product(const void *params, void *to, const void *const *x)
{
    const product_params *p = params;
    int32_t *y = to;
    if (p->k == 0) {
        memset(y, 0, (size_t)(p->batches * p->m * p->n) * sizeof *y);
        return;
    }
    for (int64_t i = 0; i < p->batches; i++, y += p->m * p->n) {
        if (p->packed != NULL) {
            run_packed(p, y, x, p->a_of[i]);
        } else {
            run_both(p, y, x, p->a_of[i], p->b_of[i]);
        }
    }
}

/* A constant matrix is made ready once. */
static qn_status pack(product_params *p, const qn_compute_job *job)
{
    const qn_bound_value b = qn_job_input(job, 1), zero = qn_job_input(job, 3);
    if (b.known == NULL || b.rank != 2 || (zero.dtype != QN_DTYPE_NONE && zero.known == NULL)) {
        return QN_OK;
    }
    int16_t *to = qn_arena_array(job->arena, (size_t)(padded(p->n, COLUMNS) * padded(p->k, 2)), sizeof *to);
    if (to == NULL) {
        return qn_fail_memory(job->err, NULL, (size_t)(p->n * p->k) * sizeof *to);
    }
    p->packed = to;
    for (int64_t first = 0; first < p->k; first += CHUNK) {
        const int64_t count = chunk_at(p, first);
        for (int64_t column = 0; column < p->n; column += COLUMNS, to += COLUMNS * padded(count, 2)) {
            pack_columns(p, to, b.known->data, zero.known != NULL ? zero.known->data : NULL, 0, column, first, count);
        }
    }
    return QN_OK;
}

/* Which matrix of an operand each product has, whose batch axes are stretched to the result's. */
static qn_status find_matrices(const int32_t **of, const qn_compute_job *job, const qn_bound_value *x, int batch_rank,
                               const int64_t *batch_dims, int64_t n)
{
    int32_t *matrices = qn_arena_array(job->arena, (size_t)n, sizeof *matrices);
    const int own = x->rank > 2 ? x->rank - 2 : 0;
    if (matrices == NULL) {
        return qn_fail_memory(job->err, NULL, (size_t)n * sizeof *matrices);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, at = 0, stride = 1;
        for (int axis = batch_rank - 1, mine = own - 1; axis >= 0; axis--, mine--) {
            at += mine >= 0 && x->dims[mine] > 1 ? rest % batch_dims[axis] * stride : 0;
            stride *= mine >= 0 ? x->dims[mine] : 1;
            rest /= batch_dims[axis];
        }
        matrices[i] = (int32_t)at;
    }
    *of = matrices;
    return QN_OK;
}

qn_status qn_prepare_matmul_integer(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value a = qn_job_input(job, 0), b = qn_job_input(job, 1), y = qn_job_output(job);
    product_params p = {.loops = QN_LANES_FOR(job->cpu, loops),
                        .k = a.dims[a.rank - 1],
                        .m = a.rank > 1 ? a.dims[a.rank - 2] : 1,
                        .n = b.rank > 1 ? b.dims[b.rank - 1] : 1,
                        .a_zeros = qn_job_input(job, 2).n_elems,
                        .b_zeros = qn_job_input(job, 3).n_elems,
                        .a_signed = a.dtype == QN_DTYPE_S8,
                        .b_signed = b.dtype == QN_DTYPE_S8};
    p.batches = p.m * p.n > 0 ? y.n_elems / (p.m * p.n) : 0;
    const int rank = y.rank - (a.rank > 1) - (b.rank > 1);
    QN_TRY(find_matrices(&p.a_of, job, &a, rank, y.dims, p.batches));
    QN_TRY(find_matrices(&p.b_of, job, &b, rank, y.dims, p.batches));
    if (b.known != NULL && b.rank == 2 && a.rank > 2 && p.a_zeros <= 1) { /* one tall matrix */
        p.m *= p.batches;
        p.batches = 1;
    }
    QN_TRY(pack(&p, job));
    return qn_job_set(compute, job, run_product, &p, sizeof p, 4);
}

typedef struct conv_params {
    const loops *loops;
    qn_window w;
    int64_t w_zeros;
    bool x_signed, w_signed;
} conv_params;

/* The outputs along axis a whose tap k lies in the input: first..end-1. */
static void inside(const qn_window *w, int a, int64_t k, int64_t *first, int64_t *end)
{
    const int64_t shift = k * w->dilation[a] - w->pad_begin[a], last = w->in[a] - 1 - shift;
    *first = shift >= 0 ? 0 : (-shift + w->stride[a] - 1) / w->stride[a];
    *end = last < 0 ? 0 : last / w->stride[a] + 1;
    *end = *end < w->out[a] ? *end : w->out[a];
}

/* One tap of one input channel, on one output channel. */
static void add_tap(const conv_params *p, int32_t *y, const char *plane, int64_t kh, int64_t kw, int32_t weight,
                    int32_t zero)
{
    const qn_window *w = &p->w;
    int64_t top, bottom, left, right;
    inside(w, 0, kh, &top, &bottom);
    inside(w, 1, kw, &left, &right);
    for (int64_t row = top; row < bottom && left < right; row++) {
        const int64_t h = row * w->stride[0] + kh * w->dilation[0] - w->pad_begin[0];
        const char *x = plane + h * w->in[1] + left * w->stride[1] + kw * w->dilation[1] - w->pad_begin[1];
        int32_t *to = y + row * w->out[1] + left;
        if (p->x_signed) {
            p->loops->add_s8(to, (const int8_t *)x, right - left, w->stride[1], weight, zero);
        } else {
            p->loops->add_u8(to, (const uint8_t *)x, right - left, w->stride[1], weight, zero);
        }
    }
}

static void run_conv(const void *params, void *to, const void *const *x)
{
    const conv_params *p = params;
    const qn_window *w = &p->w;
    const int64_t taps = w->kernel[0] * w->kernel[1], channels = w->c_in / w->group, plane = w->in[0] * w->in[1];
    const int32_t x_zero = code_at(x[2], p->x_signed, 0);
    int32_t *y = to;
    for (int64_t i = 0; i < w->n * w->c_out; i++, y += w->out[0] * w->out[1]) {
        const int64_t k = i % w->c_out, first = k / (w->c_out / w->group) * channels;
        const int32_t w_zero = code_at(x[3], p->w_signed, p->w_zeros > 1 ? k : 0);
        memset(y, 0, (size_t)(w->out[0] * w->out[1]) * sizeof *y);
        for (int64_t tap = 0; tap < channels * taps; tap++) {
            const char *map = (const char *)x[0] + (i / w->c_out * w->c_in + first + tap / taps) * plane;
            const int32_t weight = code_at(x[1], p->w_signed, k * channels * taps + tap) - w_zero;
            add_tap(p, y, map, tap % taps / w->kernel[1], tap % w->kernel[1], weight, x_zero);
        }
    }
}

qn_status qn_prepare_conv_integer(qn_compute *compute, const qn_compute_job *job)
{
    conv_params p = {.loops = QN_LANES_FOR(job->cpu, loops),
                     .w_zeros = qn_job_input(job, 3).n_elems,
                     .x_signed = qn_job_input(job, 0).dtype == QN_DTYPE_S8,
                     .w_signed = qn_job_input(job, 1).dtype == QN_DTYPE_S8};
    QN_TRY(qn_window_of_node(&p.w, job->binding, job->node, job->err));
    p.w.n /= job->items;
    return qn_job_set(compute, job, run_conv, &p, sizeof p, 4);
}
