/* The greatest and the least numbers through every format and every range rule: parameters are legal whatever the tensor,
 * so that it can be encoded, and no code stands for NaN. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quern/fit.h"

static const double tensors[][4] = {
    {FLT_MAX, -FLT_MAX, 1.0, 0.0},
    {FLT_MAX, 0.0, 0.0, 0.0},
    {-FLT_MAX, -1.0, -FLT_MAX, -FLT_MAX},
    {0x1p-149, -0x1p-148, 0.0, 0x1p-126},
    {0x1p-149, 0x1p-149, 0x1p-149, 0x1p-149},
    {1e300, -1e300, 2.0, 0.0},
    {DBL_MAX, -DBL_MAX, DBL_MAX, 1.0},
    {1e-300, -0x1p-1074, 0.0, 1e-310},
    {DBL_MAX, 0x1p-1074, FLT_MAX, 0x1p-149},
};
enum { N_TENSORS = sizeof tensors / sizeof tensors[0], LENGTH = 4 };

static const char *const rules[] = {"format", "minmax",  "absmax",       "percentile:90", "abs-percentile:50",
                                    "mse",    "l1",      "aciq-laplace", "aciq-gelu",     "ds-aciq",
                                    "kl",     "range=0", "range=1e300",  "minmax*1e30"};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static void check(const char *name, const char *rule, const qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    qn_format f;
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.rule = rule;
    qn_quantizer *q;
    qn_tensor codes, y;
    if (qn_fit(&q, x, f, &options, &err) != QN_OK || qn_encode(&codes, x, q, NULL, &err) != QN_OK ||
        qn_decode(&y, &codes, q, &err) != QN_OK) {
        fail_msg("%s, %s, of %g, %g...: %s", name, rule, ((const double *)x->data)[0], ((const double *)x->data)[1],
                 err.message);
        return;
    }
    for (int64_t i = 0; i < qn_tensor_count(&y); i++) {
        assert_false(isnan(((const float *)y.data)[i]));
    }
    qn_tensor_free(&codes), qn_tensor_free(&y);
    qn_quantizer_free(q);
}

/* Every legal name that the registry gives as an example. */
static void every_tensor_can_be_encoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < qn_format_count(); i++) {
        char examples[512];
        const char *text = qn_format_describe(i).examples;
        assert_true(strlen(text) < sizeof examples);
        strcpy(examples, text);
        for (char *name = strtok(examples, " "); name != NULL; name = strtok(NULL, " ")) {
            for (int t = 0; t < N_TENSORS; t++) {
                double data[LENGTH];
                memcpy(data, tensors[t], sizeof data);
                const qn_tensor x = {.dtype = QN_DTYPE_F64, .rank = 1, .dims = {LENGTH}, .data = data};
                for (int r = 0; r < N_RULES; r++) {
                    check(name, rules[r], &x);
                }
            }
        }
    }
}

/* Which code of a W-bit type holds raw * 2^-from, cast with RND or TRN and WRAP or SAT: in integers. */
static uint32_t cast(int64_t raw, int from, int bits, int to, bool is_signed, bool rounds, bool saturates)
{
    int shift = to - from;
    int64_t n = raw;
    if (shift >= 0) {
        n = raw * ((int64_t)1 << shift);
    } else {
        int64_t unit = (int64_t)1 << -shift, rest;
        n += rounds ? unit / 2 : 0;
        rest = n % unit;
        n = (n - rest) / unit - (rest < 0 ? 1 : 0);
    }
    int64_t top = (int64_t)1 << (bits - (is_signed ? 1 : 0)), low = is_signed ? -top : 0;
    n = saturates && n < low ? low : saturates && n > top - 1 ? top - 1 : n;
    return (uint32_t)(uint64_t)n & (UINT32_MAX >> (32 - bits));
}

/* The value of a fixed point code is exact in a double, whatever its width; so a cast between types is one call after
 * the other. */
static void fixed_point_casts_are_exact(void **state)
{
    (void)state;
    uint64_t seed = 7;
    const qn_params p = {.scale = 1.0f, .multiplier = 1.0f};
    for (int i = 0; i < 200000; i++) {
        uint64_t r = qn_test_random(&seed);
        int bits[2] = {1 + (int)(r % 32), 1 + (int)(r / 32 % 32)};
        int fraction[2] = {(int)(r / 1024 % 29) - 4, (int)(r / 32768 % 29) - 4};
        bool is_signed[2] = {(r >> 40 & 1) != 0, (r >> 41 & 1) != 0}, rounds = (r >> 42 & 1) != 0;
        bool saturates = (r >> 43 & 1) != 0;
        qn_format f[2];
        for (int k = 0; k < 2; k++) {
            f[k] = (qn_format){.kind = QN_FORMAT_FIXED,
                               .bits = bits[k],
                               .integer_bits = bits[k] - fraction[k],
                               .is_signed = is_signed[k],
                               .rounding = rounds ? QN_ROUND_NEAREST_UP : QN_ROUND_FLOOR,
                               .overflow = saturates ? QN_OVERFLOW_SATURATE : QN_OVERFLOW_WRAP};
        }
        uint32_t code = (uint32_t)qn_test_random(&seed) & (UINT32_MAX >> (32 - bits[0]));
        int64_t raw = (int64_t)code - (is_signed[0] && code >> (bits[0] - 1) != 0 ? (int64_t)1 << bits[0] : 0);
        uint32_t expected = cast(raw, fraction[0], bits[1], fraction[1], is_signed[1], rounds, saturates);
        assert_int_equal(qn_format_code(f[1], &p, qn_format_value(f[0], &p, code), 0), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_can_be_encoded),
        cmocka_unit_test(fixed_point_casts_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
