/* Sums of products of columns. A tile of rows and 16 columns of the matrix stays in registers while the positions go by,
 * so every element is added up in the order of positions, whatever the width of a vector. */
#include <math.h>
#include <string.h>

#include "base/arch.h"
#include "ptq/moments.h"

qn_status qn_moments_make(qn_moments *moments, const qn_columns *columns, bool products, bool cross, qn_error *err)
{
    size_t n_sums, n_squares;
    *moments = (qn_moments){.n_groups = columns->n_groups, .k = columns->k};
    if (!qn_mul_size((size_t)columns->n_groups, (size_t)columns->k, &n_sums) ||
        !qn_mul_size(n_sums, (size_t)columns->k, &n_squares) || !qn_mul_size(n_squares, sizeof(double), &n_squares)) {
        return qn_fail(err, QN_ELIMIT, NULL, "too many inputs per channel");
    }
    moments->z = qn_alloc(n_sums * sizeof *moments->z);
    moments->x = qn_alloc(n_sums * sizeof *moments->x);
    moments->h = products ? qn_alloc(n_squares) : NULL;
    moments->g = products && cross ? qn_alloc(n_squares) : NULL;
    if (moments->z == NULL || moments->x == NULL || (products && moments->h == NULL) ||
        (products && cross && moments->g == NULL)) {
        qn_moments_free(moments);
        return qn_fail_memory(err, NULL, n_squares);
    }
    return QN_OK;
}

void qn_moments_free(qn_moments *moments)
{
    qn_free(moments->h);
    qn_free(moments->g);
    qn_free(moments->z);
    qn_free(moments->x);
    *moments = (qn_moments){0};
}

/* 16 floats; the compiler splits it where the processor's vectors are narrower. */
typedef float lanes16 __attribute__((vector_size(64)));
enum { TILE = 4 };

/* sum[r][c] = sum over p of z[p * stride + r] * x[p * stride + c]; x is 64-byte aligned. */
static inline __attribute__((always_inline)) void tile(const float *z, const float *x, int64_t n, int64_t stride,
                                                       float sum[TILE][QN_COLUMN_LANES])
{
    lanes16 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (int64_t p = 0; p < n; p++) {
        lanes16 columns;
        memcpy(&columns, x + p * stride, sizeof columns);
        s0 += columns * z[p * stride];
        s1 += columns * z[p * stride + 1];
        s2 += columns * z[p * stride + 2];
        s3 += columns * z[p * stride + 3];
    }
    memcpy(sum[0], &s0, sizeof s0);
    memcpy(sum[1], &s1, sizeof s1);
    memcpy(sum[2], &s2, sizeof s2);
    memcpy(sum[3], &s3, sizeof s3);
}

typedef void tile_fn(const float *z, const float *x, int64_t n, int64_t stride, float sum[TILE][QN_COLUMN_LANES]);

static void tile_reference(const float *z, const float *x, int64_t n, int64_t stride, float sum[TILE][QN_COLUMN_LANES])
{
    tile(z, x, n, stride, sum);
}

#if QN_X86_64
__attribute__((target("avx2"))) static void tile_avx2(const float *z, const float *x, int64_t n, int64_t stride,
                                                      float sum[TILE][QN_COLUMN_LANES])
{
    tile(z, x, n, stride, sum);
}

__attribute__((target("avx512f"))) static void tile_avx512(const float *z, const float *x, int64_t n, int64_t stride,
                                                           float sum[TILE][QN_COLUMN_LANES])
{
    tile(z, x, n, stride, sum);
}
#endif

static tile_fn *tile_for(qn_cpu cpu)
{
#if QN_X86_64
    return cpu >= QN_CPU_AVX512 ? tile_avx512 : cpu >= QN_CPU_AVX2 ? tile_avx2 : tile_reference;
#else
    (void)cpu;
    return tile_reference;
#endif
}

/* Rows first..last-1 of a [k][k] matrix; only from the tile of the diagonal on when it is symmetric. */
static void add_products(double *matrix, int64_t k, int64_t first, int64_t last, bool symmetric, const float *z,
                         const float *x, int64_t n, int64_t stride, tile_fn *sum_tile)
{
    float sum[TILE][QN_COLUMN_LANES];
    for (int64_t r = first; r < last; r += TILE) {
        int64_t start = symmetric ? r / QN_COLUMN_LANES * QN_COLUMN_LANES : 0;
        for (int64_t c = start; c < k; c += QN_COLUMN_LANES) {
            sum_tile(z + r, x + c, n, stride, sum);
            for (int64_t i = 0; i < TILE && r + i < last; i++) {
                for (int64_t j = 0; j < QN_COLUMN_LANES && c + j < k; j++) {
                    matrix[(r + i) * k + c + j] += (double)sum[i][j];
                }
            }
        }
    }
}

static void add_sums(double *sums, int64_t k, const float *x, int64_t n, int64_t stride)
{
    for (int64_t p = 0; p < n; p++) {
        for (int64_t i = 0; i < k; i++) {
            sums[i] += (double)x[p * stride + i];
        }
    }
}

void qn_moments_add(qn_moments *moments, int64_t group, int64_t first, int64_t last, const float *z, const float *x,
                    int64_t n, int64_t stride, qn_cpu cpu)
{
    int64_t k = moments->k, row = stride * moments->n_groups;
    const float *z_group = z + group * stride, *x_group = x + group * stride;
    tile_fn *sum_tile = tile_for(cpu);
    if (first == 0) {
        add_sums(moments->z + group * k, k, z_group, n, row);
        add_sums(moments->x + group * k, k, x_group, n, row);
    }
    for (int64_t p = 0; p < n && (moments->h != NULL || moments->g != NULL); p += QN_MOMENTS_CHUNK) {
        int64_t chunk = n - p < QN_MOMENTS_CHUNK ? n - p : QN_MOMENTS_CHUNK;
        const float *z_chunk = z_group + p * row, *x_chunk = x_group + p * row;
        if (moments->h != NULL) {
            add_products(moments->h + group * k * k, k, first, last, true, z_chunk, z_chunk, chunk, row, sum_tile);
        }
        if (moments->g != NULL) {
            add_products(moments->g + group * k * k, k, first, last, false, z_chunk, x_chunk, chunk, row, sum_tile);
        }
    }
}

qn_status qn_moments_finish(qn_moments *m, double unit, const char *where, qn_error *err)
{
    bool finite = true;
    for (int64_t j = 0; j < m->n_groups * m->k; j++) {
        m->z[j] *= unit;
        m->x[j] *= unit;
        finite = finite && isfinite(m->z[j]) && isfinite(m->x[j]);
    }
    for (int64_t row = 0; row < m->n_groups * m->k; row++) {
        int64_t r = row % m->k;
        double *h = m->h != NULL ? m->h + (row - r) * m->k : NULL, *g = m->g != NULL ? m->g + row * m->k : NULL;
        for (int64_t c = 0; h != NULL && c < m->k; c++) {
            h[r * m->k + c] = c < r ? h[c * m->k + r] : h[r * m->k + c] * unit * unit;
        }
        for (int64_t c = 0; g != NULL && c < m->k; c++) {
            g[c] *= unit * unit;
        }
    }
    return finite ? QN_OK : qn_fail(err, QN_ERANGE, where, "a value is NaN or infinite; look at the data");
}
