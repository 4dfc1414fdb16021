/* The loops of lanes.h for one instruction set. Included several times by lanes.c, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set
 * `omp simd` is what makes -O2 vectorize; it promises that iterations are independent, which y == a allows. */

#define LANES_BINARY(name, op)                                                                                         \
    LANES_ISA static void LANES(name##_vv)(float *y, const float *a, const float *b, int64_t n)                        \
    {                                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            y[i] = a[i] op b[i];                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    LANES_ISA static void LANES(name##_vs)(float *y, const float *a, const float *b, int64_t n)                        \
    {                                                                                                                  \
        const float s = *b;                                                                                            \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            y[i] = a[i] op s;                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    LANES_ISA static void LANES(name##_sv)(float *y, const float *a, const float *b, int64_t n)                        \
    {                                                                                                                  \
        const float s = *a;                                                                                            \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            y[i] = s op b[i];                                                                                          \
        }                                                                                                              \
    }

LANES_BINARY(add, +)
LANES_BINARY(sub, -)
LANES_BINARY(mul, *)
LANES_BINARY(div, /)

LANES_ISA static void LANES(clamp)(float *y, const float *x, float lo, float hi, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] > lo ? x[i] : lo;
        y[i] = v < hi ? v : hi;
    }
}

LANES_ISA static void LANES(affine)(float *y, const float *x, float scale, float shift, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * scale + shift;
    }
}

/* A full block of columns: scale and shift stay in registers. */
LANES_ISA static void LANES(affine_columns)(float *y, const float *x, const float *scale, const float *shift,
                                            int64_t n_rows, int64_t stride)
{
    float s[LANES_COLUMNS], t[LANES_COLUMNS];
    memcpy(s, scale, sizeof s);
    memcpy(t, shift, sizeof t);
    for (int64_t row = 0; row < n_rows; row++) {
        float *to = y + row * stride;
        const float *from = x + row * stride;
#pragma omp simd
        for (int i = 0; i < LANES_COLUMNS; i++) {
            to[i] = from[i] * s[i] + t[i];
        }
    }
}

LANES_ISA static void LANES(affine_rows)(float *y, const float *x, const float *scale, const float *shift,
                                         int64_t n_rows, int64_t width)
{
    int64_t c = 0;
    for (; c + LANES_COLUMNS <= width; c += LANES_COLUMNS) {
        LANES(affine_columns)(y + c, x + c, scale + c, shift + c, n_rows, width);
    }
    for (int64_t row = 0; c < width && row < n_rows; row++) {
#pragma omp simd
        for (int64_t i = c; i < width; i++) {
            y[row * width + i] = x[row * width + i] * scale[i] + shift[i];
        }
    }
}

LANES_ISA static void LANES(leaky)(float *y, const float *x, float slope, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] < 0 ? x[i] * slope : x[i];
    }
}

static const qn_float_lanes LANES(table) = {
    .binary =
        {
            [QN_FLOAT_ADD] = {LANES(add_vv), LANES(add_vs), LANES(add_sv)},
            [QN_FLOAT_SUB] = {LANES(sub_vv), LANES(sub_vs), LANES(sub_sv)},
            [QN_FLOAT_MUL] = {LANES(mul_vv), LANES(mul_vs), LANES(mul_sv)},
            [QN_FLOAT_DIV] = {LANES(div_vv), LANES(div_vs), LANES(div_sv)},
        },
    .clamp = LANES(clamp),
    .affine_rows = LANES(affine_rows),
    .affine = LANES(affine),
    .leaky = LANES(leaky),
};

#undef LANES_BINARY
