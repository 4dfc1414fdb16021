/* The loops of reduce.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set
 * One step takes an element for each of n accumulators: `apart` elements from one's to the next's. A run takes `length`
 * adjoining elements for each of RUNS accumulators. No loop sums across accumulators. */

#define LANES_STEP(name, formula)                                                                                      \
    LANES_ISA static void LANES(step_##name)(double *sum, const float *x, const float *greatest, int64_t n)            \
    {                                                                                                                  \
        (void)greatest;                                                                                                \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            const double v = (double)x[i], s = sum[i];                                                                 \
            sum[i] = formula;                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    LANES_ISA static void LANES(run_##name)(double *sums, const float *x, const float *greatest, int64_t length,       \
                                            int64_t apart)                                                             \
    {                                                                                                                  \
        double sum[RUNS];                                                                                              \
        (void)greatest;                                                                                                \
        memcpy(sum, sums, sizeof sum);                                                                                 \
        for (int64_t i = 0; i < length; i++) {                                                                         \
            QN_UNROLL for (int r = 0; r < RUNS; r++)                                                                   \
            {                                                                                                          \
                const double v = (double)x[r * apart + i], s = sum[r];                                                 \
                sum[r] = formula;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        memcpy(sums, sum, sizeof sum);                                                                                 \
    }

LANES_STEP(sum, s + v)
LANES_STEP(squares, s + v * v)
LANES_STEP(magnitudes, s + fabs(v))
LANES_STEP(product, s *v)
LANES_STEP(greatest, v > s || v != v ? v : s)
LANES_STEP(least, v < s || v != v ? v : s)
#undef LANES_STEP

LANES_ISA static void LANES(step_exponentials)(double *sum, const float *x, const float *greatest, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANE_COUNT) {
        const int64_t now = n - i < LANE_COUNT ? n - i : LANE_COUNT;
        float e[LANE_COUNT] = {0};
        for (int64_t j = 0; j < now; j++) {
            e[j] = x[i + j] - greatest[i + j];
        }
        lane_expf(e, e);
        for (int64_t j = 0; j < now; j++) {
            sum[i + j] += (double)e[j];
        }
    }
}

LANES_ISA static void LANES(run_exponentials)(double *sums, const float *x, const float *greatest, int64_t length,
                                              int64_t apart)
{
    for (int64_t i = 0; i < length; i += LANE_COUNT) {
        const int64_t now = length - i < LANE_COUNT ? length - i : LANE_COUNT;
        for (int r = 0; r < RUNS; r++) {
            float e[LANE_COUNT] = {0};
            for (int64_t j = 0; j < now; j++) {
                e[j] = x[r * apart + i + j] - greatest[r];
            }
            lane_expf(e, e);
            for (int64_t j = 0; j < now; j++) {
                sums[r] += (double)e[j];
            }
        }
    }
}

static const loops LANES(loops)[N_TERMS] = {
    [TERM_SUM] = {LANES(step_sum), LANES(run_sum)},
    [TERM_SQUARE] = {LANES(step_squares), LANES(run_squares)},
    [TERM_MAGNITUDE] = {LANES(step_magnitudes), LANES(run_magnitudes)},
    [TERM_PRODUCT] = {LANES(step_product), LANES(run_product)},
    [TERM_GREATEST] = {LANES(step_greatest), LANES(run_greatest)},
    [TERM_LEAST] = {LANES(step_least), LANES(run_least)},
    [TERM_EXPONENTIAL] = {LANES(step_exponentials), LANES(run_exponentials)},
};
