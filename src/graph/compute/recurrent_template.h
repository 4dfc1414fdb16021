/* The loops of recurrent.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set */

/* sums[j] += x[0] * w[0][j], then x[1] * w[1][j], ...: for all columns of a packed matrix. */
LANES_ISA static void LANES(add_products)(float *sums, const float *x, const float *packed, int64_t n, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += COLUMNS, packed += n * COLUMNS) {
        column_block a, b, c, d; /* named, or they would not stay in registers */
        load_block(&a, sums + j);
        load_block(&b, sums + j + BLOCK);
        load_block(&c, sums + j + 2 * BLOCK);
        load_block(&d, sums + j + 3 * BLOCK);
        for (int64_t k = 0; k < n; k++) {
            const float *from = packed + k * COLUMNS;
            column_block w;
            load_block(&w, from);
            a = a + x[k] * w;
            load_block(&w, from + BLOCK);
            b = b + x[k] * w;
            load_block(&w, from + 2 * BLOCK);
            c = c + x[k] * w;
            load_block(&w, from + 3 * BLOCK);
            d = d + x[k] * w;
        }
        store_block(sums + j, &a);
        store_block(sums + j + BLOCK, &b);
        store_block(sums + j + 2 * BLOCK, &c);
        store_block(sums + j + 3 * BLOCK, &d);
    }
}

#define LANES_ACTIVATION(name, function)                                                                               \
    LANES_ISA static void LANES(name)(float *v, int64_t n, const float *c)                                             \
    {                                                                                                                  \
        int64_t i = 0;                                                                                                 \
        (void)c;                                                                                                       \
        for (; i + LANE_COUNT <= n; i += LANE_COUNT) {                                                                 \
            float *y = v + i;                                                                                          \
            function;                                                                                                  \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            float y[LANE_COUNT] = {0};                                                                                 \
            memcpy(y, v + i, (size_t)(n - i) * sizeof *y);                                                             \
            function;                                                                                                  \
            memcpy(v + i, y, (size_t)(n - i) * sizeof *y);                                                             \
        }                                                                                                              \
    }
LANES_ACTIVATION(elu, lane_eluf(y, y, c))
LANES_ACTIVATION(sigmoid, lane_sigmoidf(y, y))
LANES_ACTIVATION(softplus, lane_softplusf(y, y, c))
LANES_ACTIVATION(tangent, lane_tanhf(y, y))
#undef LANES_ACTIVATION

#define LANES_FORMULA(name, formula)                                                                                   \
    LANES_ISA static void LANES(name)(float *y, int64_t n, const float *c)                                             \
    {                                                                                                                  \
        const float a = c[0], b = c[1];                                                                                \
        (void)a, (void)b;                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            const float v = y[i];                                                                                      \
            y[i] = formula;                                                                                            \
        }                                                                                                              \
    }
LANES_FORMULA(affine, a *v + b)
LANES_FORMULA(hard_sigmoid, within_one(a *v + b))
LANES_FORMULA(leaky, (v < 0) ? (v *a) : v)
LANES_FORMULA(rectified, (v > 0) ? v : 0)
LANES_FORMULA(scaled, v *b)
LANES_FORMULA(times, v *a)
LANES_FORMULA(softsign, v / (1.0f + fabsf(v)))
LANES_FORMULA(thresholded, (v > a) ? v : 0)
#undef LANES_FORMULA

LANES_ISA static void LANES(scaled_tangent)(float *y, int64_t n, const float *c)
{
    LANES(scaled)(y, n, c);
    LANES(tangent)(y, n, c);
    LANES(times)(y, n, c);
}

static const loops LANES(all)[1] = {{LANES(add_products),
                                     {[QN_RECURRENT_AFFINE] = LANES(affine),
                                      [QN_RECURRENT_ELU] = LANES(elu),
                                      [QN_RECURRENT_HARD_SIGMOID] = LANES(hard_sigmoid),
                                      [QN_RECURRENT_LEAKY_RELU] = LANES(leaky),
                                      [QN_RECURRENT_RELU] = LANES(rectified),
                                      [QN_RECURRENT_SCALED_TANH] = LANES(scaled_tangent),
                                      [QN_RECURRENT_SIGMOID] = LANES(sigmoid),
                                      [QN_RECURRENT_SOFTPLUS] = LANES(softplus),
                                      [QN_RECURRENT_SOFTSIGN] = LANES(softsign),
                                      [QN_RECURRENT_TANH] = LANES(tangent),
                                      [QN_RECURRENT_THRESHOLDED_RELU] = LANES(thresholded)}}};
