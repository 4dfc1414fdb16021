/* The loops of float_lanes.h for one instruction set. Included several times by float_lanes.c, each time with
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

LANES_ISA static void LANES(affine_rows)(float *y, const float *x, const float *scale, const float *shift,
                                         int64_t n_rows, int64_t width)
{
    for (int64_t row = 0; row < n_rows; row++) {
        float *to = y + row * width;
        const float *from = x + row * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            to[i] = from[i] * scale[i] + shift[i];
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
