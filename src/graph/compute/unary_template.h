/* The loops of unary.c for one instruction set. Included several times, each time with
 *  LANES(name)  the function's name with the set's suffix
 *  LANES_ISA    the attribute that selects the set */

#define LANES_FUNCTION(name, function)                                                                                 \
    LANES_ISA static void LANES(name)(float *y, const float *x, int64_t n, const float *c)                             \
    {                                                                                                                  \
        int64_t i = 0;                                                                                                 \
        for (; i + LANE_COUNT <= n; i += LANE_COUNT) {                                                                 \
            function(y + i, x + i, c);                                                                                 \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            float rest[LANE_COUNT] = {0};                                                                              \
            memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);                                                          \
            function(rest, rest, c);                                                                                   \
            memcpy(y + i, rest, (size_t)(n - i) * sizeof *y);                                                          \
        }                                                                                                              \
    }

LANES_FUNCTION(arc_cosine, lane_acosf)
LANES_FUNCTION(arc_cosine_h, lane_acoshf)
LANES_FUNCTION(arc_sine, lane_asinf)
LANES_FUNCTION(arc_sine_h, lane_asinhf)
LANES_FUNCTION(arc_tangent, lane_atanf)
LANES_FUNCTION(arc_tangent_h, lane_atanhf)
LANES_FUNCTION(celu, lane_celuf)
LANES_FUNCTION(cosine, lane_cosf)
LANES_FUNCTION(cosine_h, lane_coshf)
LANES_FUNCTION(elu, lane_eluf)
LANES_FUNCTION(error_function, lane_erf_of)
LANES_FUNCTION(exponential, lane_exp_of)
LANES_FUNCTION(sigmoid, lane_sigmoid_of)
LANES_FUNCTION(tangent_h, lane_tanh_of)
LANES_FUNCTION(gelu, lane_geluf)
LANES_FUNCTION(gelu_tanh, lane_gelu_tanhf)
LANES_FUNCTION(logarithm, lane_logf)
LANES_FUNCTION(mish, lane_mishf)
LANES_FUNCTION(selu, lane_seluf)
LANES_FUNCTION(sine, lane_sinf)
LANES_FUNCTION(sine_h, lane_sinhf)
LANES_FUNCTION(softplus, lane_softplusf)
LANES_FUNCTION(tangent, lane_tanf)
#undef LANES_FUNCTION

#define LANES_FORMULA(name, formula)                                                                                   \
    LANES_ISA static void LANES(name)(float *y, const float *x, int64_t n, const float *c)                             \
    {                                                                                                                  \
        const float a = c[0], b = c[1];                                                                                \
        (void)a, (void)b;                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                            \
        {                                                                                                              \
            const float v = x[i];                                                                                      \
            y[i] = formula;                                                                                            \
        }                                                                                                              \
    }

LANES_FORMULA(absolute, fabsf(v))
LANES_FORMULA(above, ceilf(v))
LANES_FORMULA(below, floorf(v))
LANES_FORMULA(nearest, rintf(v))
LANES_FORMULA(reciprocal, 1.0f / v)
LANES_FORMULA(shrink, (v < -a) ? (v + b) : (v > a) ? (v - b) : 0.0f)
LANES_FORMULA(sign, v > 0 ? 1.0f : v < 0 ? -1.0f : v)
LANES_FORMULA(softsign, v / (1.0f + fabsf(v)))
LANES_FORMULA(thresholded, v > a ? v : 0.0f)
LANES_FORMULA(hard_sigmoid, within_one(a *v + b))
LANES_FORMULA(hard_swish, v *within_one(v *(1.0f / 6) + 0.5f))
#undef LANES_FORMULA

static qn_unary_fn *const LANES(functions)[N_FUNCTIONS] = {
    [ABSOLUTE] = LANES(absolute),
    [ABOVE] = LANES(above),
    [ARC_COSINE] = LANES(arc_cosine),
    [ARC_COSINE_H] = LANES(arc_cosine_h),
    [ARC_SINE] = LANES(arc_sine),
    [ARC_SINE_H] = LANES(arc_sine_h),
    [ARC_TANGENT] = LANES(arc_tangent),
    [ARC_TANGENT_H] = LANES(arc_tangent_h),
    [BELOW] = LANES(below),
    [CELU] = LANES(celu),
    [COSINE] = LANES(cosine),
    [COSINE_H] = LANES(cosine_h),
    [ELU] = LANES(elu),
    [ERROR_FUNCTION] = LANES(error_function),
    [EXPONENTIAL] = LANES(exponential),
    [GELU] = LANES(gelu),
    [GELU_TANH] = LANES(gelu_tanh),
    [HARD_SIGMOID] = LANES(hard_sigmoid),
    [HARD_SWISH] = LANES(hard_swish),
    [LOGARITHM] = LANES(logarithm),
    [MISH] = LANES(mish),
    [NEAREST] = LANES(nearest),
    [RECIPROCAL] = LANES(reciprocal),
    [SELU] = LANES(selu),
    [SHRINK] = LANES(shrink),
    [SIGMOID] = LANES(sigmoid),
    [SIGN] = LANES(sign),
    [SINE] = LANES(sine),
    [SINE_H] = LANES(sine_h),
    [SOFTPLUS] = LANES(softplus),
    [SOFTSIGN] = LANES(softsign),
    [TANGENT] = LANES(tangent),
    [TANGENT_H] = LANES(tangent_h),
    [THRESHOLDED] = LANES(thresholded),
};
