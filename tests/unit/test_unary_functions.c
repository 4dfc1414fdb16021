/* Functions of one value: against long double arithmetic, and the same bits from every instruction set. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compute/unary.h"

/* Distance of a result from the true value in units of the last place of f32 there. */
static double ulps(float y, long double wanted)
{
    if (isinf(y) || fabsl(wanted) >= 0x1.ffffffp127L) {
        return (float)wanted == y ? 0 : 1e9;
    }
    int exponent;
    (void)frexpl(wanted, &exponent);
    exponent = exponent < -125 ? -125 : exponent;
    return (double)(fabsl((long double)y - wanted) / ldexpl(1, exponent - 24));
}

static long double celu(long double x)
{
    return x < 0 ? 2 * expm1l(x / 2) : x;
}

static long double elu(long double x)
{
    return x < 0 ? 1.5L * expm1l(x) : x;
}

static long double gelu(long double x)
{
    return x * 0.5L * erfcl(-x * sqrtl(0.5L));
}

static long double gelu_tanh(long double x)
{
    const long double u = sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x);
    return x / (1 + expl(-2 * u)); /* x (1 + tanh(u)) / 2 without its cancellation */
}

static long double mish(long double x)
{
    return x * tanhl(log1pl(expl(x)));
}

static long double selu(long double x)
{
    return 1.05070102214813232421875L * (x <= 0 ? 1.67326319217681884765625L * expm1l(x) : x);
}

static long double softplus(long double x)
{
    return x > 50 ? x + expl(-x) : log1pl(expl(x));
}

static long double sign(long double x)
{
    return (x > 0) - (x < 0);
}

static long double reciprocal(long double x)
{
    return 1 / x;
}

/* In float, where each operation is rounded: by its definition. */
static long double softsign(long double x)
{
    return (long double)((float)x / (1.0f + fabsf((float)x)));
}

static long double hard_sigmoid(long double x)
{
    const float v = 0.2f * (float)x + 0.5f;
    return (long double)(v < 0 ? 0 : v > 1 ? 1 : v);
}

static long double hard_swish(long double x)
{
    const float v = (float)x * (1.0f / 6) + 0.5f;
    return (long double)((float)x * (v < 0 ? 0 : v > 1 ? 1 : v));
}

static long double thresholded(long double x)
{
    return x > 1 ? x : 0;
}

/* lo..hi: where the formula of the truth holds up; `absolute` allows for results that vanish far out. */
static const struct {
    qn_op op;
    const char *approximate;
    float alpha;
    long double (*truth)(long double);
    double lo, hi, absolute;
} rows[] = {
    {QN_OP_ABS, NULL, NAN, fabsl, -INFINITY, INFINITY, 0},
    {QN_OP_CEIL, NULL, NAN, ceill, -INFINITY, INFINITY, 0},
    {QN_OP_CELU, NULL, 2, celu, -INFINITY, INFINITY, 0},
    {QN_OP_COS, NULL, NAN, cosl, -1e9, 1e9, 0},
    {QN_OP_ELU, NULL, 1.5f, elu, -INFINITY, INFINITY, 0},
    {QN_OP_FLOOR, NULL, NAN, floorl, -INFINITY, INFINITY, 0},
    {QN_OP_GELU, NULL, NAN, gelu, -100, INFINITY, 5e-8},
    {QN_OP_GELU, "tanh", NAN, gelu_tanh, -100, INFINITY, 1e-37},
    {QN_OP_HARD_SIGMOID, NULL, NAN, hard_sigmoid, -1e30, 1e30, 0},
    {QN_OP_HARD_SWISH, NULL, NAN, hard_swish, -1e30, 1e30, 0},
    {QN_OP_LOG, NULL, NAN, logl, -INFINITY, INFINITY, 0},
    {QN_OP_MISH, NULL, NAN, mish, -100, 1e4, 1e-37},
    {QN_OP_RECIPROCAL, NULL, NAN, reciprocal, -INFINITY, INFINITY, 0},
    {QN_OP_ROUND, NULL, NAN, rintl, -INFINITY, INFINITY, 0},
    {QN_OP_SELU, NULL, NAN, selu, -INFINITY, INFINITY, 0},
    {QN_OP_SIGN, NULL, NAN, sign, -INFINITY, INFINITY, 0},
    {QN_OP_SIN, NULL, NAN, sinl, -1e9, 1e9, 0},
    {QN_OP_SOFTPLUS, NULL, NAN, softplus, -INFINITY, INFINITY, 0},
    {QN_OP_SOFTSIGN, NULL, NAN, softsign, -1e30, 1e30, 0},
    {QN_OP_THRESHOLDED_RELU, NULL, NAN, thresholded, -INFINITY, INFINITY, 0},
};

enum { SAMPLES = 200003 }; /* no multiple of a vector */

/* Every magnitude, and the range in which the functions bend. */
static void sample(float *x)
{
    uint64_t seed = 1;
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t bits = (uint32_t)(qn_test_random(&seed) >> 32);
        memcpy(&x[i], &bits, sizeof bits);
        x[i] = i % 4 == 0 && isfinite(x[i]) ? x[i] : qn_test_uniform(&seed, -12, 12);
        x[i] = i % 4 == 1 ? x[i] * 9 : i % 4 == 2 ? x[i] * 1e-6f : x[i];
    }
    static const float special[] = {0.0f, INFINITY, -INFINITY, 4,     -4,      1,
                                    0.5f, 1.5f,     0x1p-149f, 88.7f, 0x1p20f, 6.2831853f};
    memcpy(x, special, sizeof special);
}

static qn_status find(qn_unary *unary, size_t row, qn_cpu cpu)
{
    qn_attribute attributes[] = {{.name = "alpha", .type = QN_ATTRIBUTE_FLOAT, .f = rows[row].alpha},
                                 {.name = "approximate", .type = QN_ATTRIBUTE_STRING, .s = rows[row].approximate}};
    const bool alpha = !isnan(rows[row].alpha), approximate = rows[row].approximate != NULL;
    const qn_graph graph = {0};
    const qn_node node = {.name = "",
                          .op_type = "",
                          .op = rows[row].op,
                          .attributes = attributes + (alpha ? 0 : 1),
                          .n_attributes = alpha || approximate ? 1 : 0};
    assert_true(qn_unary_has(node.op));
    return qn_unary_of_node(unary, &graph, &node, cpu, NULL);
}

static void functions_are_right_to_half_a_unit(void **unused)
{
    (void)unused;
    float *x = malloc(SAMPLES * sizeof *x), *y = malloc(SAMPLES * sizeof *y);
    sample(x);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        qn_unary unary;
        assert_int_equal(find(&unary, row, QN_CPU_REFERENCE), QN_OK);
        unary.run(y, x, SAMPLES, unary.c);
        for (int i = 0; i < SAMPLES; i++) {
            const long double wanted = rows[row].truth((long double)x[i]);
            const bool seen = (double)x[i] >= rows[row].lo && (double)x[i] <= rows[row].hi;
            if (seen && (isnan(wanted) ? !isnan(y[i])
                                       : !(ulps(y[i], wanted) <= 0.51) &&
                                             !(fabsl((long double)y[i] - wanted) <= (long double)rows[row].absolute))) {
                fail_msg("%s of %a is %a, %.3f units off %La", qn_op_type(rows[row].op), (double)x[i], (double)y[i],
                         ulps(y[i], wanted), wanted);
            }
        }
        assert_true(!unary.keeps_zero || y[0] == 0);
    }
    free(x);
    free(y);
}

static void instruction_sets_agree(void **unused)
{
    (void)unused;
    float *x = malloc(SAMPLES * sizeof *x), *y = malloc(SAMPLES * sizeof *y), *other = malloc(SAMPLES * sizeof *other);
    sample(x);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        qn_unary unary;
        assert_int_equal(find(&unary, row, QN_CPU_REFERENCE), QN_OK);
        unary.run(y, x, SAMPLES, unary.c);
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            assert_int_equal(find(&unary, row, cpu), QN_OK);
            unary.run(other, x, SAMPLES, unary.c);
            for (int i = 0; i < SAMPLES; i++) { /* a NaN's sign and payload are nobody's */
                assert_true(memcmp(&y[i], &other[i], sizeof *y) == 0 || (isnan(y[i]) && isnan(other[i])));
            }
        }
    }
    free(x);
    free(y);
    free(other);
}

static void other_ways_to_approximate_are_refused(void **unused)
{
    (void)unused;
    qn_attribute attribute = {.name = "approximate", .type = QN_ATTRIBUTE_STRING, .s = "fast"};
    const qn_graph graph = {0};
    const qn_node node = {
        .name = "g", .op_type = "Gelu", .op = QN_OP_GELU, .attributes = &attribute, .n_attributes = 1};
    qn_unary unary;
    qn_error err;
    qn_error_init(&err);
    assert_int_equal(qn_unary_of_node(&unary, &graph, &node, QN_CPU_REFERENCE, &err), QN_EUNSUPPORTED);
    assert_string_equal(err.message, "attribute approximate is 'fast', expected none or tanh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_right_to_half_a_unit),
        cmocka_unit_test(instruction_sets_agree),
        cmocka_unit_test(other_ways_to_approximate_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
