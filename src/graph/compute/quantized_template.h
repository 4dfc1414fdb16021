/* The loops of quantized.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set */

LANES_ISA static void LANES(encode)(int32_t *codes, const float *x, int64_t n, float scale, const code_range *r)
{
    const float low = (float)(r->lo - r->zero), high = (float)(r->hi - r->zero);
    const int32_t zero = r->zero;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] / scale;
        v = v > low ? v : low;
        v = v < high ? v : high;
        codes[i] = (int32_t)rintf(v) + zero;
    }
}

LANES_ISA static void LANES(decode)(float *y, const int32_t *codes, int64_t n, float scale, int32_t zero)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)(int32_t)((uint32_t)codes[i] - (uint32_t)zero) * scale;
    }
}

LANES_ISA static void LANES(extremes)(float range[2], const float *x, int64_t n)
{
    float least[EXTREMES], most[EXTREMES];
    for (int k = 0; k < EXTREMES; k++) {
        least[k] = range[0];
        most[k] = range[1];
    }
    int64_t i = 0;
    for (; i + EXTREMES <= n; i += EXTREMES) {
#pragma omp simd
        for (int k = 0; k < EXTREMES; k++) {
            least[k] = x[i + k] < least[k] ? x[i + k] : least[k];
            most[k] = x[i + k] > most[k] ? x[i + k] : most[k];
        }
    }
    for (int k = 0; i < n; i++, k++) {
        least[k] = x[i] < least[k] ? x[i] : least[k];
        most[k] = x[i] > most[k] ? x[i] : most[k];
    }
    for (int k = 0; k < EXTREMES; k++) {
        range[0] = least[k] < range[0] ? least[k] : range[0];
        range[1] = most[k] > range[1] ? most[k] : range[1];
    }
}

static const loops LANES(loops)[1] = {{LANES(encode), LANES(decode), LANES(extremes)}};
