/* Loops of quantized_product.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set */

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
