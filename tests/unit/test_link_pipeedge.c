/* PipeEdge's five tensors against those PipeEdge made, bit for bit, with and without its clamps; read and written. */
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz_json.h"
#include "quern/link.h"

static void assert_same(const qn_tensor *got, const qn_tensor *want, const char *name)
{
    bool same = got->dtype == want->dtype && got->rank == want->rank &&
                memcmp(got->dims, want->dims, (size_t)want->rank * sizeof want->dims[0]) == 0;
    if (!same || memcmp(got->data, want->data, qn_tensor_bytes(want)) != 0) {
        fail_msg("%s differs%s", name, same ? "" : " in shape or type");
    }
}

/* Arrays "<prefix>comm" and so on; those that the archive has not (hook_shape, hook_bit) are not compared. */
static int64_t check(const char *path, const char *prefix, const qn_tensor *x, int bits, qn_link_clamp clamp)
{
    char name[128], format[32];
    snprintf(name, sizeof name, "%scomm", prefix);
    qn_tensor want = npz_read_optional(path, name);
    if (want.data == NULL) {
        return 0;
    }
    qn_tensor_free(&want);
    qn_link_options o;
    qn_link_options_init(&o);
    snprintf(format, sizeof format, "pipeedge<%d>", bits);
    o.format = format;
    o.per = QN_LINK_PER_ITEM;
    o.clamp = clamp;
    qn_pipeedge sent, again;
    qn_tensor y;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_pipeedge_encode(&sent, x, &o, &err), &err);
    static char file[4096];
    if (file[0] == '\0') {
        snprintf(file, sizeof file, "%s", qn_scratch_file("sent.npz"));
    }
    qn_assert_ok(qn_pipeedge_write(&sent, file, true, &err), &err);
    qn_assert_ok(qn_pipeedge_read(&again, file, &err), &err);
    qn_assert_ok(qn_pipeedge_decode(&y, &again, &err), &err);
    const struct {
        const char *name;
        const qn_tensor *got;
    } arrays[] = {{"comm", &again.comm},   {"shape", &again.shape}, {"scale", &again.scale},
                  {"shift", &again.shift}, {"bit", &again.bit},     {"dec", &y}};
    int n_compared = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, arrays[i].name);
        want = npz_read_optional(path, name);
        if (want.data != NULL) {
            assert_same(arrays[i].got, &want, name);
            n_compared++;
        }
        qn_tensor_free(&want);
    }
    assert_true(n_compared >= 4);
    const int64_t n = qn_tensor_count(&y);
    qn_tensor_free(&y);
    qn_pipeedge_free(&sent);
    qn_pipeedge_free(&again);

    /* A frame of the same format has the same numbers. */
    qn_frame frame, parsed;
    qn_frame_verdict verdict;
    qn_assert_ok(qn_frame_plan(&frame, &o, x->rank, x->dims, &err), &err);
    unsigned char *data = malloc(frame.n_bytes);
    float *z = malloc((size_t)n * sizeof *z);
    qn_assert_ok(qn_frame_encode(data, &frame, x, &o, &err), &err);
    assert_int_equal(qn_frame_parse(&parsed, &verdict, data, frame.n_bytes, SIZE_MAX), QN_FRAME_COMPLETE);
    qn_assert_ok(qn_frame_decode(z, &parsed, &err), &err);
    snprintf(name, sizeof name, "%sdec", prefix);
    want = npz_read(path, name);
    assert_memory_equal(z, want.data, (size_t)n * sizeof *z);
    qn_tensor_free(&want);
    free(data);
    free(z);
    return n;
}

static void test_quant(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/quant.npz");
    if (path == NULL) {
        skip();
    }
    int64_t n = 0;
    int n_inputs = 0;
    for (char *input; (input = npz_name(path, "in/", n_inputs)) != NULL; n_inputs++) {
        char name[128];
        snprintf(name, sizeof name, "in/%s", input);
        qn_tensor x = npz_read(path, name);
        for (int bits = 1; bits <= 32; bits++) {
            snprintf(name, sizeof name, "%s/b%02d/", input, bits);
            n += check(path, name, &x, bits, QN_LINK_CLAMP_NONE);
        }
        qn_tensor_free(&x);
        free(input);
    }
    printf("pipeedge: %d inputs, %lld values as PipeEdge sends and receives them\n", n_inputs, (long long)n);
    assert_true(n > 10000);
}

/* The clamp that PipeEdge's hook chooses, then its encoding. */
static void test_clamps(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/clamp.npz");
    if (path == NULL) {
        skip();
    }
    int64_t n = 0;
    int n_inputs = 0;
    for (char *input; (input = npz_name(path, "in/", n_inputs)) != NULL; n_inputs++) {
        char name[128];
        snprintf(name, sizeof name, "in/%s", input);
        qn_tensor x = npz_read(path, name);
        float min = INFINITY;
        for (int64_t k = 0; k < qn_tensor_count(&x); k++) {
            min = fminf(min, ((const float *)x.data)[k]);
        }
        for (int bits = 1; bits <= 32; bits++) {
            snprintf(name, sizeof name, "%s/b%02d/hook_", input, bits);
            n += check(path, name, &x, bits, min < 0.2f ? QN_LINK_CLAMP_LAPLACE : QN_LINK_CLAMP_GELU);
        }
        qn_tensor_free(&x);
        free(input);
    }
    printf("pipeedge: %d clamped inputs, %lld values\n", n_inputs, (long long)n);
    assert_true(n > 1000);
}

/* The a of DS-ACIQ: what a frame of wide codes has as its greatest magnitude. */
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
        char name[64], format[32];
        snprintf(name, sizeof name, "in/%s", inputs[i]);
        qn_tensor x = npz_read(path, name);
        for (int bits = 1; bits <= 16; bits++) {
            snprintf(name, sizeof name, "%s/b%02d/alpha", inputs[i], bits);
            qn_tensor alpha = npz_read_optional(path, name);
            if (alpha.data == NULL) {
                continue;
            }
            /* One item: shift and shift + scale are the ends of the clamped values. */
            qn_tensor one = {.dtype = x.dtype, .rank = 2, .dims = {1, qn_tensor_count(&x)}, .data = x.data};
            qn_link_options o;
            qn_link_options_init(&o);
            snprintf(format, sizeof format, "pipeedge<%d>", bits);
            o.format = format;
            o.per = QN_LINK_PER_ITEM;
            o.clamp = QN_LINK_CLAMP_DS_ACIQ;
            qn_pipeedge sent;
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_pipeedge_encode(&sent, &one, &o, &err), &err);
            double a = *(const double *)alpha.data, lo = INFINITY, hi = -INFINITY;
            for (int64_t k = 0; k < one.dims[1]; k++) {
                double v = fmin(fmax((double)((const float *)x.data)[k], -a), a);
                lo = fmin(lo, v);
                hi = fmax(hi, v);
            }
            const float shift = (float)lo, scale = (float)hi - shift;
            assert_memory_equal(sent.shift.data, &shift, sizeof shift);
            assert_memory_equal(sent.scale.data, &scale, sizeof scale);
            n_alphas++;
            qn_pipeedge_free(&sent);
            qn_tensor_free(&alpha);
        }
        qn_tensor_free(&x);
    }
    assert_int_equal(n_alphas, 18);
}

static qn_pipeedge encode(const qn_tensor *x, const char *format)
{
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = format;
    o.per = QN_LINK_PER_ITEM;
    qn_pipeedge sent;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_pipeedge_encode(&sent, x, &o, &err), &err);
    return sent;
}

/* What kills a stage of PipeEdge: constant items, scalars as items, empty items. Bit 0 is the numbers themselves. */
static void test_edges(void **state)
{
    (void)state;
    float x[6] = {1.5f, 1.5f, 1.5f, -1.0f, 0.0f, 2.0f};
    static const struct {
        int rank;
        int64_t dims[3];
    } shapes[] = {{2, {2, 3}}, {1, {6}}, {2, {2, 0}}, {3, {2, 3, 1}}};
    static const char *const formats[] = {"pipeedge<8>", "pipeedge<3>", "fp32"};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = shapes[s].rank, .data = x}, y;
            memcpy(t.dims, shapes[s].dims, sizeof shapes[s].dims);
            qn_pipeedge sent = encode(&t, formats[f]);
            qn_error err;
            qn_error_init(&err);
            qn_assert_ok(qn_pipeedge_decode(&y, &sent, &err), &err);
            assert_int_equal(y.rank, t.rank);
            for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
                assert_true(fabsf(((const float *)y.data)[i] - x[i]) <= (f == 0 ? 0.006f : f == 1 ? 0.22f : 0.0f));
            }
            assert_true(qn_tensor_count(&t) == 0 || ((const float *)y.data)[0] == 1.5f); /* a constant is exact */
            assert_int_equal(sent.shape.dtype, f == 2 ? QN_DTYPE_S64 : QN_DTYPE_S32);
            qn_tensor_free(&y);
            qn_pipeedge_free(&sent);
        }
    }
    qn_tensor none = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {0, 3}, .data = x};
    qn_link_options o;
    qn_link_options_init(&o);
    o.per = QN_LINK_PER_ITEM;
    o.format = "pipeedge<8>";
    qn_pipeedge sent;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_pipeedge_encode(&sent, &none, &o, &err), &err, QN_EINVAL, "without items");
    qn_error_init(&err);
    o.format = "int8";
    qn_assert_fails(qn_pipeedge_encode(&sent, &none, &o, &err), &err, QN_EINVAL, "not int8");
}

/* The numbers of "name=[1, 2.5]" in a text, which may stop early; returns how many there are. */
static int numbers_of(double *numbers, int most, const char *text, const char *name)
{
    char key[16];
    snprintf(key, sizeof key, "%s=[", name);
    const char *at = strstr(text, key);
    assert_non_null(at);
    int n = 0;
    for (at += strlen(key); *at != ']' && n < most; n++) {
        char *end;
        numbers[n] = strtod(at, &end);
        assert_true(end != at);
        at = end + strspn(end, ", ");
    }
    return n;
}

/* What PipeEdge makes of inputs other than batches of float32: element types, views, 24 bits and more. */
static void test_edge_cases(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/pipeedge/edge_cases.json");
    if (path == NULL) {
        skip();
    }
    static const double three[] = {1, 2, 3}, columns[] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, unit[] = {0, 1, 0.5};
    static const struct {
        const char *name;
        int bits;
        int64_t items;
        const double *x;
    } rows[] = {{"float64", 8, 1, three},    {"int64", 8, 1, three},      {"non-contiguous", 8, 4, columns},
                {"bit 24 max", 24, 1, unit}, {"bit 25 max", 25, 1, unit}, {"bit 31 max", 31, 1, unit},
                {"bit 32 max", 32, 1, unit}};
    json_t *root = json_load_file(path, 0, NULL), *cases = json_object_get(root, "edge_cases");
    assert_true(json_is_object(cases));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *text = json_string_value(json_object_get(cases, rows[i].name));
        assert_non_null(text);
        const qn_tensor x = {
            .dtype = QN_DTYPE_F64, .rank = 2, .dims = {rows[i].items, 3}, .data = (void *)(uintptr_t)rows[i].x};
        char format[32];
        snprintf(format, sizeof format, "pipeedge<%d>", rows[i].bits);
        qn_pipeedge sent = encode(&x, format);
        qn_tensor y;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_pipeedge_decode(&y, &sent, &err), &err);
        double want[16];
        for (int k = numbers_of(want, 16, text, "dec") - 1; k >= 0; k--) {
            assert_true((double)((const float *)y.data)[k] == want[k]);
        }
        for (int k = numbers_of(want, 16, text, "comm") - 1; k >= 0; k--) {
            assert_true((double)((const uint8_t *)sent.comm.data)[k] == want[k]);
        }
        for (int k = numbers_of(want, 16, text, "scale") - 1; k >= 0; k--) {
            assert_true((double)((const float *)sent.scale.data)[k] == want[k]);
        }
        for (int k = numbers_of(want, 16, text, "shift") - 1; k >= 0; k--) {
            assert_true((double)((const float *)sent.shift.data)[k] == want[k]);
        }
        qn_tensor_free(&y);
        qn_pipeedge_free(&sent);
    }
    json_decref(root);
}

/* A constant batch keeps its number under every clamp, where PipeEdge stops; numbers beyond float32 are refused. */
static void test_constants(void **state)
{
    (void)state;
    float x[6] = {1.5f, 1.5f, 1.5f, 1.5f, 1.5f, 1.5f};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = x};
    for (int clamp = QN_LINK_CLAMP_NONE; clamp <= QN_LINK_CLAMP_MSE; clamp++) {
        qn_link_options o;
        qn_link_options_init(&o);
        o.format = "pipeedge<4>";
        o.per = QN_LINK_PER_ITEM;
        o.clamp = (qn_link_clamp)clamp;
        qn_pipeedge sent;
        qn_tensor y;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_pipeedge_encode(&sent, &t, &o, &err), &err);
        qn_assert_ok(qn_pipeedge_decode(&y, &sent, &err), &err);
        for (int i = 0; i < 6; i++) {
            assert_true(((const float *)y.data)[i] == 1.5f);
        }
        qn_tensor_free(&y);
        qn_pipeedge_free(&sent);
    }
    double wide[2] = {1.0, 1e300};
    const qn_tensor d = {.dtype = QN_DTYPE_F64, .rank = 2, .dims = {1, 2}, .data = wide};
    static const char *const formats[] = {"fp32", "pipeedge<8>"};
    for (int i = 0; i < 2; i++) {
        qn_link_options o;
        qn_link_options_init(&o);
        o.format = formats[i];
        o.per = QN_LINK_PER_ITEM;
        qn_pipeedge sent;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_pipeedge_encode(&sent, &d, &o, &err), &err, QN_ERANGE,
                        "element 1 is 1e+300, beyond float32");
    }
}

/* Arrays that contradict each other. */
static void test_contradictions(void **state)
{
    (void)state;
    float x[6] = {1.0f, 2.0f, 3.0f, -1.0f, 0.0f, 2.0f};
    const qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 3}, .data = x};
    for (int i = 0; i < 7; i++) {
        qn_pipeedge sent = encode(&t, "pipeedge<8>");
        static const char *const says[] = {"item 1 has 4 bits",  "item 1 differs in shape", "item 1 has scale nan",
                                           "item 0 has 33 bits", "3 codes of 8 bits",       "entry per item",
                                           "entry per item"};
        switch (i) {
        case 0:
            ((int8_t *)sent.bit.data)[1] = 4;
            break;
        case 1:
            ((int32_t *)sent.shape.data)[1] = 4;
            break;
        case 2:
            ((float *)sent.scale.data)[1] = NAN;
            break;
        case 3:
            ((int8_t *)sent.bit.data)[0] = ((int8_t *)sent.bit.data)[1] = 33;
            break;
        case 4:
            sent.comm.dims[1] = 3;
            break;
        case 5:
            sent.shift.dims[0] = 1;
            break;
        default:
            sent.scale.dtype = QN_DTYPE_S32;
        }
        qn_tensor y;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_pipeedge_decode(&y, &sent, &err), &err, QN_EFORMAT, says[i]);
        qn_pipeedge_free(&sent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quant),         cmocka_unit_test(test_clamps),
                                       cmocka_unit_test(test_dsaciq),        cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_edge_cases),    cmocka_unit_test(test_constants),
                                       cmocka_unit_test(test_contradictions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
