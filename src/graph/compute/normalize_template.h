/* The loops of normalize.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set
 * No loop sums across its vector. */

/* ROWS rows of n elements, `apart` elements apart; each sum by itself and in order. */
LANES_ISA static void LANES(sums)(double sums[ROWS], const float *x, int64_t n, int64_t apart)
{
    double sum[ROWS] = {0};
    for (int64_t i = 0; i < n; i++) {
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            sum[r] += (double)x[r * apart + i];
        }
    }
    memcpy(sums, sum, sizeof sum);
}

LANES_ISA static void LANES(deviations)(double sums[ROWS], const float *x, const double mean[ROWS], int64_t n,
                                        int64_t apart)
{
    double sum[ROWS] = {0}, m[ROWS];
    memcpy(m, mean, sizeof m);
    for (int64_t i = 0; i < n; i++) {
        QN_UNROLL for (int r = 0; r < ROWS; r++)
        {
            const double d = (double)x[r * apart + i] - m[r];
            sum[r] += d * d;
        }
    }
    memcpy(sums, sum, sizeof sum);
}

LANES_ISA static void LANES(scale_by_element)(float *y, const float *x, float mean, float factor, const float *scale,
                                              const float *bias, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (x[i] - mean) * factor * scale[i] + bias[i];
    }
}

LANES_ISA static void LANES(scale_all)(float *y, const float *x, float mean, float factor, float scale, float bias,
                                       int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (x[i] - mean) * factor * scale + bias;
    }
}

/* y = x * base^-beta, base = bias + share * squares, for LANE_COUNT values. */
LANES_ISA static void LANES(respond)(float *y, const float *x, const double *squares, double bias, double share,
                                     double beta)
{
    lane_reals sum, v, power;
    memcpy(&sum, squares, sizeof sum);
    lane_load(&v, x);
    const lane_reals base = sum * share + bias;
    lane_log(&power, &base);
    power = power * -beta;
    lane_exp(&power, &power);
    power = power * v;
    lane_store(y, &power);
}

static const loops LANES(loops)[1] = {
    {LANES(sums), LANES(deviations), LANES(scale_by_element), LANES(scale_all), LANES(respond)}};
