/* Quantizers as data: making, checking, comparing, copying. */
#include "format/quantizer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/int.h"
#include "format/row.h"

void qn_format_range(qn_format format, int32_t *lo, int32_t *hi)
{
    qn_int_range(&format, lo, hi);
}

qn_params qn_quantizer_get(const qn_quantizer *q, int64_t set)
{
    return (qn_params){
        .scale = q->scale != NULL ? q->scale[set] : 1.0f,
        .zero_point = q->zero_point != NULL ? q->zero_point[set] : 0,
        .exp_bias = q->exp_bias != NULL ? q->exp_bias[set] : 0,
        .shift = q->shift != NULL ? q->shift[set] : 0.0f,
        .multiplier = q->multiplier != NULL ? q->multiplier[set] : 1.0f,
    };
}

/* One set of an integer format: the rules of arithmetic.md section 2. */
static qn_status check_integer_set(const qn_quantizer *q, int64_t set, const char *where, qn_error *err)
{
    qn_params p = qn_quantizer_get(q, set);
    int32_t lo, hi;
    qn_int_range(&q->format, &lo, &hi);
    if (p.zero_point < lo || p.zero_point > hi) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, q->format);
        return qn_fail(err, QN_EINVAL, where, "zero point %lld is %ld, outside the range of %s (%ld to %ld)",
                       (long long)set, (long)p.zero_point, name, (long)lo, (long)hi);
    }
    if (!isnormal(p.scale) || p.scale < 0.0f) {
        return qn_fail(err, QN_EINVAL, where, "scale %lld is %g; it must be a finite, normal number above 0",
                       (long long)set, (double)p.scale);
    }
    return QN_OK;
}

enum { EXPONENT_LIMIT = 4096 };

/* Is every number in [least, most], and none NaN? NULL has none. */
static bool all_within(const float *x, int64_t n, float least, float most)
{
    unsigned wrong = 0;
#pragma omp simd reduction(| : wrong)
    for (int64_t i = 0; i < (x != NULL ? n : 0); i++) {
        wrong |= x[i] >= least && x[i] <= most ? 0 : 1;
    }
    return wrong == 0;
}

/* Do all sets pass check_set, in the arrays that the format uses? Blocks have so many sets that asking one by one takes
 * longer than encoding. */
static bool sets_in_order(const qn_quantizer *q)
{
    const unsigned used = qn_format_parameters(q->format);
    const int64_t n_exponents = q->exp_bias != NULL && (used & QN_PARAM_EXP_BIAS) != 0 ? q->n : 0;
    unsigned wrong = 0;
#pragma omp simd reduction(| : wrong)
    for (int64_t i = 0; i < n_exponents; i++) {
        wrong |= (uint32_t)q->exp_bias[i] + EXPONENT_LIMIT > 2 * EXPONENT_LIMIT ? 1 : 0;
    }
    return wrong == 0 && all_within((used & QN_PARAM_SCALE) != 0 ? q->scale : NULL, q->n, 0.0f, FLT_MAX) &&
           all_within((used & QN_PARAM_SHIFT) != 0 ? q->shift : NULL, q->n, -FLT_MAX, FLT_MAX) &&
           all_within((used & QN_PARAM_MULTIPLIER) != 0 ? q->multiplier : NULL, q->n, -FLT_MAX, FLT_MAX);
}

/* What holds for all formats: exponents that shift no double out of reach, finite scale and shift. */
static qn_status check_set(const qn_quantizer *q, int64_t set, const char *where, qn_error *err)
{
    qn_params p = qn_quantizer_get(q, set);
    if (p.exp_bias < -EXPONENT_LIMIT || p.exp_bias > EXPONENT_LIMIT) {
        return qn_fail(err, QN_EINVAL, where, "exponent bias %lld is %ld; it must be %d to %d", (long long)set,
                       (long)p.exp_bias, -EXPONENT_LIMIT, EXPONENT_LIMIT);
    }
    if (!isfinite(p.scale) || p.scale < 0.0f || !isfinite(p.shift) || !isfinite(p.multiplier)) {
        return qn_fail(err, QN_EINVAL, where,
                       "scale %lld is %g, shift %g, multiplier %g; all must be finite, the scale not negative",
                       (long long)set, (double)p.scale, (double)p.shift, (double)p.multiplier);
    }
    return QN_OK;
}

static qn_status check_dynamic(const qn_quantizer *q, const char *where, qn_error *err)
{
    bool kept =
        q->scale != NULL || q->zero_point != NULL || q->exp_bias != NULL || q->shift != NULL || q->multiplier != NULL;
    return q->n == 0 && !kept
               ? QN_OK
               : qn_fail(err, QN_EINVAL, where, "a dynamic quantizer keeps no parameters, but this one has %lld sets",
                         (long long)q->n);
}

qn_status qn_quantizer_check(const qn_quantizer *q, int rank, const int64_t *dims, const char *where, qn_error *err)
{
    QN_TRY(qn_format_check(q->format, where, err));
    int64_t n;
    qn_status status = qn_quantizer_sets(&n, q->axis, q->group, rank, dims, err);
    if (status != QN_OK) {
        if (where != NULL) {
            qn_error_prefix(err, where);
        }
        return status;
    }
    if (q->format.block > 0 && q->group != q->format.block) {
        return qn_fail(err, QN_EINVAL, where, "groups of %lld elements for a format with blocks of %d",
                       (long long)q->group, q->format.block);
    }
    if (q->dynamic) {
        return check_dynamic(q, where, err);
    }
    bool integer = q->format.kind == QN_FORMAT_INT;
    bool missing = integer && (q->scale == NULL || q->zero_point == NULL);
    if (q->n != n || missing) {
        return qn_fail(err, QN_EINVAL, where, "%lld quantization parameters where %lld are needed",
                       missing ? 0LL : (long long)q->n, (long long)n);
    }
    if (!integer && sets_in_order(q)) {
        return QN_OK;
    }
    for (int64_t set = 0; set < n; set++) {
        QN_TRY((integer ? check_integer_set : check_set)(q, set, where, err));
    }
    return QN_OK;
}

bool qn_quantizer_equal(const qn_quantizer *a, const qn_quantizer *b)
{
    if (!qn_format_equal(a->format, b->format) || a->axis != b->axis || a->group != b->group || a->n != b->n ||
        a->dynamic != b->dynamic) {
        return false;
    }
    for (int64_t set = 0; set < a->n; set++) {
        qn_params p = qn_quantizer_get(a, set), r = qn_quantizer_get(b, set);
        if (p.scale != r.scale || p.zero_point != r.zero_point || p.exp_bias != r.exp_bias || p.shift != r.shift ||
            p.multiplier != r.multiplier) {
            return false;
        }
    }
    return true;
}

qn_status qn_quantizer_copy_to_arena(qn_arena *arena, const qn_quantizer **copy, const qn_quantizer *q, qn_error *err)
{
    const void *sources[] = {q->scale, q->zero_point, q->exp_bias, q->shift, q->multiplier};
    enum { N_ARRAYS = sizeof sources / sizeof sources[0] };
    void *copies[N_ARRAYS] = {NULL};
    qn_quantizer *quantizer = qn_arena_alloc(arena, sizeof *quantizer);
    bool failed = quantizer == NULL;
    for (int i = 0; i < N_ARRAYS; i++) {
        if (sources[i] == NULL) {
            continue;
        }
        copies[i] = qn_arena_array(arena, (size_t)q->n, sizeof(float)); /* and int32: as wide */
        if (copies[i] == NULL) {
            failed = true;
        } else if (q->n > 0) {
            memcpy(copies[i], sources[i], (size_t)q->n * sizeof(float));
        }
    }
    if (failed) {
        return qn_fail_memory(err, NULL, (size_t)q->n * sizeof(float));
    }
    *quantizer = *q;
    quantizer->scale = copies[0];
    quantizer->zero_point = copies[1];
    quantizer->exp_bias = copies[2];
    quantizer->shift = copies[3];
    quantizer->multiplier = copies[4];
    *copy = quantizer;
    return QN_OK;
}

/* A quantizer that owns its arrays: they follow it in the same allocation. */
typedef struct owned_quantizer {
    qn_quantizer q; /* first, so that a pointer to it is one to all */
    float *scale, *shift, *multiplier;
    int32_t *zero_point, *exp_bias;
} owned_quantizer;

bool qn_quantizer_bytes(size_t *n_bytes, int64_t n)
{
    return qn_mul_size((size_t)n, 5 * sizeof(float), n_bytes) &&
           qn_add_size(*n_bytes, sizeof(owned_quantizer), n_bytes);
}

qn_quantizer *qn_quantizer_place(void *memory, const qn_quantizer *like)
{
    owned_quantizer *owned = memory;
    const int64_t n = like->n;
    float *reals = (float *)(void *)(owned + 1);
    int32_t *integers = (int32_t *)(void *)(reals + 3 * n);
    *owned = (owned_quantizer){.scale = reals,
                               .shift = reals + n,
                               .multiplier = reals + 2 * n,
                               .zero_point = integers,
                               .exp_bias = integers + n};
    owned->q = (qn_quantizer){.format = like->format,
                              .axis = like->axis,
                              .group = like->group,
                              .n = n,
                              .scale = owned->scale,
                              .zero_point = owned->zero_point,
                              .exp_bias = owned->exp_bias,
                              .shift = owned->shift,
                              .multiplier = owned->multiplier};
    qn_params neutral = qn_format_params_neutral();
    for (int64_t set = 0; set < n; set++) {
        qn_quantizer_set(&owned->q, set, neutral);
    }
    return &owned->q;
}

qn_status qn_quantizer_new(qn_quantizer **q, qn_format format, int axis, int64_t group, int rank, const int64_t *dims,
                           qn_error *err)
{
    QN_TRY(qn_format_check(format, NULL, err));
    if (format.block > 0) {
        group = group == 0 ? format.block : group;
        axis = axis == -1 && rank > 0 ? rank - 1 : axis;
        if (group != format.block) {
            return qn_fail(err, QN_EINVAL, NULL, "groups of %lld elements for a format with blocks of %d",
                           (long long)group, format.block);
        }
    }
    int64_t n;
    QN_TRY(qn_quantizer_sets(&n, axis, group, rank, dims, err));
    size_t n_bytes;
    if (!qn_quantizer_bytes(&n_bytes, n)) {
        return qn_fail(err, QN_ELIMIT, NULL, "%lld parameter sets are too many", (long long)n);
    }
    void *memory = qn_alloc(n_bytes);
    if (memory == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    const qn_quantizer made = {.format = format, .axis = axis, .group = group, .n = n};
    *q = qn_quantizer_place(memory, &made);
    return QN_OK;
}

void qn_quantizer_free(qn_quantizer *q)
{
    qn_free(q);
}

void qn_quantizer_set(qn_quantizer *q, int64_t set, qn_params params)
{
    owned_quantizer *owned = (owned_quantizer *)(void *)q;
    owned->scale[set] = params.scale;
    owned->shift[set] = params.shift;
    owned->multiplier[set] = params.multiplier;
    owned->zero_point[set] = params.zero_point;
    owned->exp_bias[set] = params.exp_bias;
}
