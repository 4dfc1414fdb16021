/* The loops of rows.h for one instruction set, included by base/each_isa.inc. `omp simd` is what makes -O2 vectorize. */

LANES_ISA static uint8_t LANES(greatest_code)(const uint8_t *x, int64_t n)
{
    uint8_t most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

/* Codes of parts in f64, whose quotient is within 2^-40 of the true one below TOP. False where that does not tell how one
 * rounds. */
LANES_ISA static bool LANES(divide_parts)(uint8_t *y, const double *part, int n, double factor,
                                          const qn_softmax_codes *p)
{
    enum { TOP = 512 }; /* beyond all codes */
    const double zero_point = p->zero_point, lo = p->lo, hi = p->hi;
    int doubtful = 0;
#pragma omp simd reduction(+ : doubtful)
    for (int i = 0; i < n; i++) {
        double q = part[i] * factor;
        q = q < TOP ? q : TOP;
        const double whole = (q + 0x1.8p52) - 0x1.8p52; /* ties to even */
        const double off = q > whole ? q - whole : whole - q;
        doubtful += off > 0.5 - 0x1p-30;
        double code = whole + zero_point;
        code = code > lo ? code : lo;
        code = code < hi ? code : hi;
        y[i] = (uint8_t)(int32_t)code;
    }
    return doubtful == 0;
}

LANES_ISA static void LANES(softmax_line)(uint8_t *y, const uint8_t *x, int64_t n, const qn_softmax_codes *p)
{
    enum { SOME = 64 };
    const uint8_t most = LANES(greatest_code)(x, n);
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += p->share[most - x[i]];
    }
    const double factor = (double)(UINT64_C(1) << p->left) / (double)(sum << p->right);
    for (int64_t done = 0; done < n; done += SOME) {
        const int some = n - done < SOME ? (int)(n - done) : SOME;
        double part[SOME];
        for (int i = 0; i < some; i++) {
            part[i] = (double)p->part[most - x[done + i]];
        }
        if (!LANES(divide_parts)(y + done, part, some, factor, p)) {
            for (int i = 0; i < some; i++) {
                y[done + i] = qn_softmax_code((uint32_t)part[i], sum, p);
            }
        }
    }
}

LANES_ISA static void LANES(softmax)(uint8_t *y, const uint8_t *x, int64_t n, ptrdiff_t step, const qn_softmax_codes *p)
{
    if (step == 1) {
        LANES(softmax_line)(y, x, n, p);
        return;
    }
    uint8_t most = 0;
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        most = x[i * step] > most ? x[i * step] : most;
    }
    for (int64_t i = 0; i < n; i++) {
        sum += p->share[most - x[i * step]];
    }
    for (int64_t i = 0; i < n; i++) {
        y[i * step] = qn_softmax_code(p->part[most - x[i * step]], sum, p);
    }
}

/* Sums of fewer than 2^15 codes, and of their squares, fit 32 bits. */
LANES_ISA static void LANES(sum_codes)(const uint8_t *x, int64_t n, int64_t *sum, int64_t *squares)
{
    enum { SOME = 1 << 15 };
    *sum = *squares = 0;
    for (int64_t done = 0; done < n; done += SOME) {
        const int64_t end = n - done < SOME ? n : done + SOME;
        uint32_t s = 0, q = 0;
#pragma omp simd reduction(+ : s, q)
        for (int64_t i = done; i < end; i++) {
            s += x[i];
            q += (uint32_t)x[i] * x[i];
        }
        *sum += s;
        *squares += q;
    }
}

LANES_ISA static void LANES(norm)(uint8_t *y, const uint8_t *x, const qn_norm_codes *p)
{
    int64_t sum, squares;
    LANES(sum_codes)(x, p->n, &sum, &squares);
    const qn_norm_line line = qn_norm_line_of(p->n, sum, squares, p);
    const int32_t n = (int32_t)p->n, centre = (int32_t)line.sum, factor = line.factor;
    const int64_t half = INT64_C(1) << (line.shift - 1), low = p->lo - p->zero_point, high = p->hi - p->zero_point;
    const int64_t below = (INT64_C(1) << (p->right - 1)) - 1;
    const int32_t *gain = p->gain;
    const int64_t *bias = p->bias;
    const int shift = line.shift, right = p->right, zero_point = p->zero_point;
#pragma omp simd
    for (int64_t i = 0; i < p->n; i++) {
        const int32_t off = n * x[i] - centre;
        const int32_t z = (int32_t)(((int64_t)off * factor + half) >> shift);
        const int64_t v = (int64_t)z * gain[i] + bias[i];
        int64_t code = (v + below + (v >> right & 1)) >> right;
        code = code > low ? code : low;
        code = code < high ? code : high;
        y[i] = (uint8_t)(code + zero_point);
    }
}

static const qn_rows_lanes LANES(rows_table) = {
    .softmax = LANES(softmax), .norm = LANES(norm), .product = qn_product_reference};
