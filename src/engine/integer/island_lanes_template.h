/* The loops of island_lanes.h for one instruction set. Included several times by island_lanes.c, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set
 * `omp simd` is what makes -O2 vectorize; no loop under it sums across its elements. y may be x. */

#define LANES_MAP(name, function)                                                                                      \
    LANES_ISA static void LANES(name)(float *y, const float *x, int64_t n)                                             \
    {                                                                                                                  \
        int64_t i = 0;                                                                                                 \
        for (; i + LANE_COUNT <= n; i += LANE_COUNT) {                                                                 \
            function(y + i, x + i);                                                                                    \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            float rest[LANE_COUNT] = {0};                                                                              \
            memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);                                                          \
            function(rest, rest);                                                                                      \
            memcpy(y + i, rest, (size_t)(n - i) * sizeof *y);                                                          \
        }                                                                                                              \
    }

LANES_MAP(erf, lane_erff)
LANES_MAP(exp, lane_expf)
LANES_MAP(sigmoid, lane_sigmoidf)
LANES_MAP(tanh, lane_tanhf)
#undef LANES_MAP

LANES_ISA static void LANES(neg)(float *y, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = -x[i];
    }
}

LANES_ISA static void LANES(sqrt)(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = sqrtf(x[i]);
    }
}

LANES_ISA static void LANES(exp_below)(float *y, const float *x, float greatest, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] - greatest;
    }
    LANES(exp)(y, y, n);
}

LANES_ISA static void LANES(add_scaled)(float *y, const float *x, float w, int64_t n, int64_t step)
{
    if (step == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            y[i] = y[i] + w * x[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = y[i] + w * x[i * step];
    }
}

/* ROWS x COLUMNS sums in registers. */
#define LANES_BLOCK(name, ROWS)                                                                                        \
    LANES_ISA static void LANES(name)(float *y, const float *a, const float *b, const qn_island_product *p)            \
    {                                                                                                                  \
        columns sum[ROWS] = {{0}};                                                                                     \
        for (int64_t k = 0; k < p->k; k++) {                                                                           \
            columns row;                                                                                               \
            memcpy(&row, b + k * p->b_k, sizeof row);                                                                  \
            QN_UNROLL for (int r = 0; r < ROWS; r++)                                                                   \
            {                                                                                                          \
                sum[r] = sum[r] + a[r * p->a_row + k * p->a_k] * row;                                                  \
            }                                                                                                          \
        }                                                                                                              \
        for (int r = 0; r < ROWS; r++) {                                                                               \
            memcpy(y + r * p->n, &sum[r], sizeof sum[r]);                                                              \
        }                                                                                                              \
    }
LANES_BLOCK(block4, 4)
LANES_BLOCK(block1, 1)
#undef LANES_BLOCK

/* Fewer columns than a vector has. */
LANES_ISA static void LANES(narrow)(float *y, const float *a, const float *b, const qn_island_product *p, int64_t n)
{
    float sum[COLUMNS] = {0};
    for (int64_t k = 0; k < p->k; k++) {
        const float w = a[k * p->a_k];
        for (int64_t i = 0; i < n; i++) {
            sum[i] = sum[i] + w * b[k * p->b_k + i];
        }
    }
    memcpy(y, sum, (size_t)n * sizeof *y);
}

LANES_ISA static void LANES(product)(float *y, const float *a, const float *b, const qn_island_product *p)
{
    for (int64_t n = 0; n < p->n; n += COLUMNS) {
        const int64_t left = p->n - n;
        int64_t m = 0;
        for (; left >= COLUMNS && m + 4 <= p->m; m += 4) {
            LANES(block4)(y + m * p->n + n, a + m * p->a_row, b + n, p);
        }
        for (; m < p->m; m++) {
            if (left >= COLUMNS) {
                LANES(block1)(y + m * p->n + n, a + m * p->a_row, b + n, p);
            } else {
                LANES(narrow)(y + m * p->n + n, a + m * p->a_row, b + n, p, left);
            }
        }
    }
}

/* n <= CODE_COLUMNS columns of one row. */
LANES_ISA static void LANES(row_of_codes)(float *y, const uint8_t *a, const uint8_t *b, const qn_island_product *p,
                                          const qn_island_codes *codes, int64_t n)
{
    uint32_t sum[CODE_COLUMNS] = {0};
    for (int64_t k = 0; k < p->k; k++, b += p->b_k) {
        const int32_t left = a[k * p->a_k] - codes->zero_a;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            sum[i] += (uint32_t)(left * (b[i] - codes->zero_b));
        }
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)qn_wrap_bits((int32_t)sum[i], codes->bits) * codes->scale;
    }
}

LANES_ISA static void LANES(product_codes)(float *y, const uint8_t *a, const uint8_t *b, const qn_island_product *p,
                                           const qn_island_codes *codes)
{
    for (int64_t m = 0; m < p->m; m++) {
        for (int64_t n = 0; n < p->n; n += CODE_COLUMNS) {
            const int64_t left = p->n - n;
            LANES(row_of_codes)
            (y + m * p->n + n, a + m * p->a_row, b + n, p, codes, left < CODE_COLUMNS ? left : CODE_COLUMNS);
        }
    }
}

static const qn_island_lanes LANES(table) = {
    .map =
        {
            [QN_ISLAND_ERF] = LANES(erf),
            [QN_ISLAND_EXP] = LANES(exp),
            [QN_ISLAND_NEG] = LANES(neg),
            [QN_ISLAND_SIGMOID] = LANES(sigmoid),
            [QN_ISLAND_SQRT] = LANES(sqrt),
            [QN_ISLAND_TANH] = LANES(tanh),
        },
    .product = LANES(product),
    .product_codes = LANES(product_codes),
    .add_scaled = LANES(add_scaled),
    .exp_below = LANES(exp_below),
};
