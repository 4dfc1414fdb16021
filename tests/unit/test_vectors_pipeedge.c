/* PipeEdge's link quantizer, its clamps, and the directed search for a clamp, against what they gave: codes as packed,
 * parameters, decoded values, clamped tensors, factors. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/histogram.h"
#include "format/lambert.h"
#include "npz_json.h"
#include "quern/fit.h"

/* Index of the first byte that differs, or -1. */
static int64_t first_difference(const void *a, const void *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((const unsigned char *)a)[i] != ((const unsigned char *)b)[i]) {
            return (int64_t)i;
        }
    }
    return -1;
}

static void assert_same_bytes(const void *a, const void *b, size_t n, const char *what, int bits)
{
    int64_t at = first_difference(a, b, n);
    if (at >= 0) {
        fail_msg("%s, %d bits: byte %lld of %zu differs", what, bits, (long long)at, n);
    }
}

/* Arrays "<prefix>comm", scale, shift and dec against the encoding of x item by item. */
static int64_t check_encoding(const char *path, const char *prefix, const qn_tensor *x, int bits)
{
    char name[128];
    snprintf(name, sizeof name, "%scomm", prefix);
    qn_tensor comm = npz_read_optional(path, name);
    if (comm.data == NULL) {
        return 0;
    }
    snprintf(name, sizeof name, "%sscale", prefix);
    qn_tensor scale = npz_read(path, name);
    snprintf(name, sizeof name, "%sshift", prefix);
    qn_tensor shift = npz_read(path, name);
    snprintf(name, sizeof name, "%sdec", prefix);
    qn_tensor dec = npz_read(path, name);

    qn_error err;
    qn_error_init(&err);
    char format_name[32];
    snprintf(format_name, sizeof format_name, "pipeedge<%d>", bits);
    qn_format format;
    qn_assert_ok(qn_format_parse(&format, format_name, &err), &err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = 0;
    qn_quantizer *q;
    qn_assert_ok(qn_fit(&q, x, format, &fit, &err), &err);
    assert_same_bytes(q->scale, scale.data, qn_tensor_bytes(&scale), prefix, bits);
    assert_same_bytes(q->shift, shift.data, qn_tensor_bytes(&shift), prefix, bits);

    qn_tensor codes, y;
    qn_assert_ok(qn_encode(&codes, x, q, NULL, &err), &err);
    qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
    assert_same_bytes(y.data, dec.data, qn_tensor_bytes(&dec), prefix, bits);
    int64_t items = x->dims[0], n = qn_tensor_count(x) / items;
    size_t code_size = qn_dtype_size(codes.dtype), n_bytes;
    qn_assert_ok(qn_packed_bytes(&n_bytes, n, bits, QN_PACKING_WORD32, &err), &err);
    assert_int_equal(n_bytes, comm.dims[1]);
    void *packed_bytes = malloc(n_bytes);
    for (int64_t item = 0; item < items; item++) {
        qn_packed packed = {packed_bytes, n, bits, QN_PACKING_WORD32};
        qn_pack(&packed, (const char *)codes.data + (size_t)(item * n) * code_size, code_size);
        assert_same_bytes(packed_bytes, (const char *)comm.data + (size_t)item * n_bytes, n_bytes, prefix, bits);
    }
    free(packed_bytes);
    qn_quantizer_free(q);
    qn_tensor *owned[] = {&codes, &y, &comm, &scale, &shift, &dec};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
    return items * n;
}

static void test_quant(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/quant.npz");
    if (path == NULL) {
        skip();
    }
    int64_t n = 0, n_inputs = 0;
    for (char *input; (input = npz_name(path, "in/", (int)n_inputs)) != NULL; n_inputs++) {
        char name[128];
        snprintf(name, sizeof name, "in/%s", input);
        qn_tensor x = npz_read(path, name);
        for (int bits = 1; bits <= 32; bits++) {
            snprintf(name, sizeof name, "%s/b%02d/", input, bits);
            n += check_encoding(path, name, &x, bits);
        }
        qn_tensor_free(&x);
        free(input);
    }
    printf("pipeedge quant: %lld inputs, %lld codes and values equal, with packing and parameters\n",
           (long long)n_inputs, (long long)n);
    assert_true(n > 10000);
}

static qn_tensor clamped(const qn_tensor *x, qn_rule_kind kind, int bits)
{
    int64_t n = qn_tensor_count(x);
    double *values = malloc((size_t)n * sizeof(double)), lo, hi;
    for (int64_t i = 0; i < n; i++) {
        values[i] = (double)((const float *)x->data)[i];
    }
    qn_range_of_values(&lo, &hi, &(qn_fit_rule){.kind = kind}, &(qn_format){.bits = bits}, values, n);
    free(values);
    qn_tensor y;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&y, QN_DTYPE_F32, x->rank, x->dims, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        double v = (double)((const float *)x->data)[i];
        ((float *)y.data)[i] = (float)fmin(fmax(v, lo), hi);
    }
    return y;
}

static int64_t check_clamp(const char *path, const char *input, const qn_tensor *x, int bits, bool is_gelu)
{
    static const struct {
        const char *name;
        qn_rule_kind kind;
    } clamps[] = {{"laplace", QN_RULE_ACIQ_LAPLACE}, {"gelu", QN_RULE_ACIQ_GELU}};
    int64_t n = 0;
    for (int i = 0; i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/b%02d/%s", input, bits, clamps[i].name);
        qn_tensor expected = npz_read_optional(path, name);
        if (expected.data == NULL) {
            continue;
        }
        qn_tensor y = clamped(x, clamps[i].kind, bits);
        assert_same_bytes(y.data, expected.data, qn_tensor_bytes(&expected), name, bits);
        n += qn_tensor_count(&y);
        if (is_gelu == (i == 1)) {
            snprintf(name, sizeof name, "%s/b%02d/hook_", input, bits);
            n += check_encoding(path, name, &y, bits);
        }
        qn_tensor_free(&y);
        qn_tensor_free(&expected);
    }
    return n;
}

static void test_clamp(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/clamp.npz");
    if (path == NULL) {
        skip();
    }
    int64_t n = 0, n_inputs = 0;
    for (char *input; (input = npz_name(path, "in/", (int)n_inputs)) != NULL; n_inputs++) {
        char name[128];
        snprintf(name, sizeof name, "in/%s", input);
        qn_tensor x = npz_read(path, name);
        float min = INFINITY; /* PipeEdge's choice of clamp */
        for (int64_t k = 0; k < qn_tensor_count(&x); k++) {
            min = fminf(min, ((const float *)x.data)[k]);
        }
        for (int bits = 1; bits <= 32; bits++) {
            n += check_clamp(path, input, &x, bits, !(min < 0.2f));
        }
        qn_tensor_free(&x);
        free(input);
    }
    printf("pipeedge clamp: %lld inputs, %lld values equal\n", (long long)n_inputs, (long long)n);
    assert_true(n > 1000);
}

/* The factors are scipy's doubles; Lambert's function here may differ in the last digit or two. */
static void test_factors(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/clamp.npz");
    if (path == NULL) {
        skip();
    }
    qn_tensor laplace = npz_read(path, "factor_laplace"), gelu = npz_read(path, "factor_gelu");
    for (int bits = 1; bits <= 32; bits++) {
        double expected[2] = {((const double *)laplace.data)[bits - 1], ((const double *)gelu.data)[bits - 1]};
        for (int i = 0; i < 2; i++) {
            double w = qn_lambert_w(3.0 * ldexp(1.0, 2 * (bits + i)));
            assert_true(fabs(w - expected[i]) <= 4e-16 * expected[i]);
        }
    }
    qn_tensor_free(&laplace);
    qn_tensor_free(&gelu);
}

static void test_dsaciq(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/dsaciq.npz");
    if (path == NULL) {
        skip();
    }
    static const char *const inputs[] = {"laplace", "gelu", "student_t"};
    int n_alphas = 0;
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "in/%s", inputs[i]);
        qn_tensor x = npz_read(path, name);
        for (int bits = 1; bits <= 16; bits++) {
            snprintf(name, sizeof name, "%s/b%02d/alpha", inputs[i], bits);
            qn_tensor alpha = npz_read_optional(path, name);
            if (alpha.data == NULL) {
                continue;
            }
            double expected = *(const double *)alpha.data, max = 0.0, reached = 0.0;
            qn_tensor y = clamped(&x, QN_RULE_DS_ACIQ, bits);
            for (int64_t k = 0; k < qn_tensor_count(&x); k++) {
                max = fmax(max, fabs((double)((const float *)x.data)[k]));
                reached = fmax(reached, fabs((double)((const float *)y.data)[k]));
            }
            assert_true(reached == fmin(expected, max));
            n_alphas++;
            qn_tensor_free(&y);
            qn_tensor_free(&alpha);
        }
        qn_tensor_free(&x);
    }
    printf("pipeedge dsaciq: %d clamps equal\n", n_alphas);
    assert_int_equal(n_alphas, 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quant), cmocka_unit_test(test_clamp),
                                       cmocka_unit_test(test_factors), cmocka_unit_test(test_dsaciq)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
