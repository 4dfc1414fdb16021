/* The loops of quantized_product.c and quantized_conv.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set */

/* Sums of 16-bit products along n <= CHUNK, of ROWS rows of a and COLUMNS of b, each CHUNK apart. They stay below 2^31. */
LANES_ISA static void LANES(products)(int32_t sums[ROWS][COLUMNS], const int16_t *a, const int16_t *b, int64_t n)
{
    QN_UNROLL for (int r = 0; r < ROWS; r += 2)
    {
        const int16_t *x = a + r * CHUNK, *z = x + CHUNK, *p = b, *q = b + n, *s = q + n, *t = s + n;
        int32_t xp = 0, xq = 0, xs = 0, xt = 0, zp = 0, zq = 0, zs = 0, zt = 0;
#pragma omp simd reduction(+ : xp, xq, xs, xt, zp, zq, zs, zt)
        for (int64_t i = 0; i < n; i++) {
            xp += (int32_t)x[i] * p[i];
            xq += (int32_t)x[i] * q[i];
            xs += (int32_t)x[i] * s[i];
            xt += (int32_t)x[i] * t[i];
            zp += (int32_t)z[i] * p[i];
            zq += (int32_t)z[i] * q[i];
            zs += (int32_t)z[i] * s[i];
            zt += (int32_t)z[i] * t[i];
        }
        const int32_t two[2][COLUMNS] = {{xp, xq, xs, xt}, {zp, zq, zs, zt}};
        memcpy(sums[r], two, sizeof two);
    }
}

/* y[i] += w * (x[i * step] - zero), modulo 2^32. */
LANES_ISA static void LANES(add_u8)(int32_t *y, const uint8_t *x, int64_t n, int64_t step, int32_t w, int32_t zero)
{
    uint32_t *to = (uint32_t *)y;
    if (step == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] += (uint32_t)(w * (x[i] - zero));
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        to[i] += (uint32_t)(w * (x[i * step] - zero));
    }
}

LANES_ISA static void LANES(add_s8)(int32_t *y, const int8_t *x, int64_t n, int64_t step, int32_t w, int32_t zero)
{
    uint32_t *to = (uint32_t *)y;
    if (step == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] += (uint32_t)(w * (x[i] - zero));
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        to[i] += (uint32_t)(w * (x[i * step] - zero));
    }
}

LANES_ISA static void LANES(row_u8)(int16_t *y, const uint8_t *x, int64_t n, int16_t zero)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (int16_t)(x[i] - zero);
    }
}

LANES_ISA static void LANES(row_s8)(int16_t *y, const int8_t *x, int64_t n, int16_t zero)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (int16_t)(x[i] - zero);
    }
}

static const loops LANES(loops)[1] = {{LANES(products), LANES(add_u8), LANES(add_s8), LANES(row_u8), LANES(row_s8)}};
