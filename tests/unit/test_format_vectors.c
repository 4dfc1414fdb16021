/* Formats against what others computed: the AdaptivFloat paper's algorithm by brute force, AMD's ap_fixed headers,
 * GoldenEye's casts. */
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/quantizer.h"
#include "npz_meta.h"

static qn_tensor read_member(const char *path, const char *member)
{
    char name[512];
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    snprintf(name, sizeof name, "%s:%s", path, member);
    qn_assert_ok(qn_tensor_read(&t, name, &err), &err);
    return t;
}

static qn_format parse(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

static int64_t integer_at(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_S64:
        return ((const int64_t *)t->data)[i];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)t->data)[i];
    default:
        fail_msg("integers of %s", qn_dtype_text(t->dtype));
        return 0;
    }
}

static bool same_float(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

/* `prefix` is "normal_13x17/n08e3/". Codes, decoded values and bias are the paper's. Release 1 equals the paper but at
 * half the least value, which it lets through unchanged. */
static void check_adaptivfloat(const char *path, const char *prefix)
{
    char member[128], text[32];
    int n, e;
    assert_int_equal(sscanf(strchr(prefix, '/'), "/n%de%d/", &n, &e), 2);
    snprintf(text, sizeof text, "adaptivfloat<%d,%d>", n, e);
    snprintf(member, sizeof member, "in/%.*s", (int)strcspn(prefix, "/"), prefix);
    qn_tensor x = read_member(path, member), members[4], codes, y;
    static const char *const names[4] = {"paper_code", "paper", "v1", "exp_bias"};
    for (int i = 0; i < 4; i++) {
        snprintf(member, sizeof member, "%s%s", prefix, names[i]);
        members[i] = read_member(path, member);
    }
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &x, parse(text), NULL, &err), &err);
    qn_assert_ok(qn_encode(&codes, &x, q, NULL, &err), &err);
    qn_assert_ok(qn_decode(&y, &codes, q, &err), &err);
    bool zero = true;
    const float *in = x.data, *paper = members[1].data, *v1 = members[2].data, *decoded = y.data;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        zero = zero && in[i] == 0.0f;
    }
    assert_int_equal(q->exp_bias[0], zero ? 0 : integer_at(&members[3], 0));
    double least = qn_format_value(q->format, &(qn_params){.exp_bias = q->exp_bias[0]}, 1);
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        int64_t code =
            codes.dtype == QN_DTYPE_U8 ? ((const uint8_t *)codes.data)[i] : ((const uint16_t *)codes.data)[i];
        if (code != integer_at(&members[0], i) || decoded[i] != paper[i]) {
            fail_msg("%s element %lld: %.9g is code %lld, %.9g; expected %lld, %.9g", prefix, (long long)i,
                     (double)in[i], (long long)code, (double)decoded[i], (long long)integer_at(&members[0], i),
                     (double)paper[i]);
        }
        if (fabs((double)in[i]) != least / 2.0) {
            assert_true(decoded[i] == v1[i]);
        }
    }
    for (int i = 0; i < 4; i++) {
        qn_tensor_free(&members[i]);
    }
    qn_tensor_free(&x), qn_tensor_free(&codes), qn_tensor_free(&y);
    qn_quantizer_free(q);
}

static void adaptivfloat_is_the_papers(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/adaptivfloat/adaptivfloat.npz");
    if (path == NULL) {
        skip();
    }
    char kept[512];
    snprintf(kept, sizeof kept, "%s", path);
    char **names = qn_npz_names(kept, "paper_code");
    int n = 0;
    for (; names[n] != NULL; n++) {
        check_adaptivfloat(kept, names[n]);
    }
    assert_true(n > 100);
    qn_npz_names_free(names);
}

/* `key` is "s_8_m2_": signed, W = 8, I = -2. */
static void check_ap_fixed(const char *path, const char *key)
{
    static const char *const roundings[] = {"TRN", "TRN_ZERO", "RND", "RND_CONV", "RND_INF", "RND_ZERO", "RND_MIN_INF"};
    static const char *const overflows[] = {"WRAP", "SAT", "SAT_SYM", "SAT_ZERO"};
    char member[64], integer[8];
    int width;
    assert_int_equal(sscanf(key + 2, "%d_%7[m0-9]_", &width, integer), 2);
    int integer_bits = integer[0] == 'm' ? -atoi(integer + 1) : atoi(integer);
    snprintf(member, sizeof member, "%sx", key);
    qn_tensor x = read_member(path, member);
    snprintf(member, sizeof member, "%sraw", key);
    qn_tensor raw = read_member(path, member);
    assert_int_equal(x.dtype, QN_DTYPE_F64);
    int64_t n = qn_tensor_count(&x), n_overflows = raw.dims[1];
    for (int r = 0; r < 7; r++) {
        for (int o = 0; o < 4; o++) {
            char name[QN_FORMAT_NAME_MAX];
            snprintf(name, sizeof name, "ap_%sfixed<%d,%d,%s,%s>", key[0] == 'u' ? "u" : "", width, integer_bits,
                     roundings[r], overflows[o]);
            qn_format f = parse(name);
            qn_params p = {.scale = 1.0f};
            for (int64_t i = 0; i < n; i++) {
                double in = ((const double *)x.data)[i];
                uint32_t code = qn_format_code(f, &p, in, 0);
                int64_t expected = integer_at(&raw, (r * n_overflows + o) * n + i);
                uint32_t mask = UINT32_MAX >> (32 - width);
                if (code != ((uint32_t)expected & mask)) {
                    fail_msg("%s of %.17g is %#x, expected %lld", name, in, (unsigned)code, (long long)expected);
                }
                assert_true(qn_format_value(f, &p, code) == ldexp((double)expected, integer_bits - width));
            }
        }
    }
    qn_tensor_free(&x), qn_tensor_free(&raw);
}

static void ap_fixed_is_amds(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/apfixed/ap_fixed_from_double.npz");
    if (path == NULL) {
        skip();
    }
    char kept[512];
    snprintf(kept, sizeof kept, "%s", path);
    char **names = qn_npz_names(kept, "raw");
    int n = 0;
    for (; names[n] != NULL; n++) {
        check_ap_fixed(kept, names[n]);
    }
    assert_true(n > 10);
    qn_npz_names_free(names);
}

/* Of GoldenEye's formats those that are ours too: casts to half and bfloat16 (which overflow to infinity), and two's
 * complement fixed point, rounded to nearest even. NaN, which a fixed point code cannot be, is left out there. */
static bool equal_format(char name[QN_FORMAT_NAME_MAX], const json_t *row)
{
    const char *class = json_string_value(json_object_get(row, "cls"));
    const json_t *args = json_object_get(row, "args");
    if (strcmp(class, "num_fp16") == 0 || strcmp(class, "num_bfloat16") == 0) {
        snprintf(name, QN_FORMAT_NAME_MAX, "%s:inf", class[4] == 'f' ? "fp16" : "bf16");
        return true;
    }
    if (strcmp(class, "num_fixed_pt") == 0) {
        int integer = (int)json_integer_value(json_object_get(args, "int_len")) + 1;
        int fraction = (int)json_integer_value(json_object_get(args, "frac_len"));
        snprintf(name, QN_FORMAT_NAME_MAX, "ap_fixed<%d,%d,RND_CONV,SAT>", integer + fraction, integer);
        return true;
    }
    return false;
}

static void goldeneye_casts_are_ours(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/goldeneye/formats.npz");
    if (path == NULL) {
        skip();
    }
    char kept[512], name[QN_FORMAT_NAME_MAX], member[64];
    snprintf(kept, sizeof kept, "%s", path);
    char *text = qn_npz_text(kept, "meta_json");
    json_t *rows = json_loads(text, 0, NULL), *row;
    assert_non_null(rows);
    size_t index, n_checked = 0;
    json_array_foreach(rows, index, row)
    {
        if (!equal_format(name, row) || json_is_string(json_object_get(row, "error"))) {
            continue;
        }
        qn_format f = parse(name);
        qn_tensor x = read_member(kept, json_string_value(json_object_get(row, "input")));
        snprintf(member, sizeof member, "out_%s", json_string_value(json_object_get(row, "key")));
        qn_tensor out = read_member(kept, member);
        const qn_quantizer q = {.format = f, .axis = -1, .n = 1};
        float *y = malloc(qn_tensor_bytes(&x));
        assert_non_null(y);
        qn_quantizer_fake(y, x.data, &q, x.rank, x.dims);
        for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
            float in = ((const float *)x.data)[i], expected = ((const float *)out.data)[i];
            if (f.kind == QN_FORMAT_FIXED ? !isnan(in) && y[i] != expected : !same_float(y[i], expected)) {
                fail_msg("%s of %.9g is %.9g, expected %.9g", name, (double)in, (double)y[i], (double)expected);
            }
        }
        n_checked++;
        free(y);
        qn_tensor_free(&x), qn_tensor_free(&out);
    }
    assert_true(n_checked > 80);
    json_decref(rows);
    free(text);
}

/* One case of QKeras' quantized_bits with alpha auto or auto_po2 along one axis: integers and steps, but where a channel is
 * all zero, whose step is ours. */
static void check_qkeras(const char *path, const json_t *config, const char *tensor, int axis)
{
    char name[QN_FORMAT_NAME_MAX], member[64];
    int id = (int)json_integer_value(json_object_get(config, "id"));
    bool po2 = strcmp(json_string_value(json_object_get(config, "alpha")), "auto_po2") == 0;
    snprintf(name, sizeof name, "int%d:%s", (int)json_integer_value(json_object_get(config, "bits")),
             po2 ? "qkeras-po2" : "qkeras-auto");
    snprintf(member, sizeof member, "%s_x", tensor);
    qn_tensor x = read_member(path, member), codes;
    snprintf(member, sizeof member, "%d_z2", id);
    qn_tensor twice = read_member(path, member);
    snprintf(member, sizeof member, "%d_s", id);
    qn_tensor steps = read_member(path, member);
    qn_fit_options options;
    qn_fit_options_init(&options);
    options.axis = axis;
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &x, parse(name), &options, &err), &err);
    qn_assert_ok(qn_encode(&codes, &x, q, NULL, &err), &err);
    int64_t n = qn_tensor_count(&x), inner = 1;
    for (int d = axis + 1; d < x.rank; d++) {
        inner *= x.dims[d];
    }
    const float *step = (const float *)steps.data + qn_tensor_count(&steps) / 2; /* the second row: effective steps */
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i / inner % q->n;
        uint32_t code =
            codes.dtype == QN_DTYPE_U8 ? ((const uint8_t *)codes.data)[i] : ((const uint16_t *)codes.data)[i];
        double z = qn_format_value(q->format, &(qn_params){.scale = 1.0f}, code);
        double expected = twice.dtype == QN_DTYPE_S8 ? ((const int8_t *)twice.data)[i] : (double)integer_at(&twice, i);
        if (2.0 * z != expected || (step[c] != q->scale[c] && ((const float *)x.data)[i] != 0.0f)) {
            fail_msg("%s, case %d, %s, element %lld: %.9g is %g, expected %g; scale %.9g, expected %.9g", name, id,
                     tensor, (long long)i, (double)((const float *)x.data)[i], z, expected / 2.0, (double)q->scale[c],
                     (double)step[c]);
        }
    }
    qn_quantizer_free(q);
    qn_tensor_free(&x), qn_tensor_free(&codes), qn_tensor_free(&twice), qn_tensor_free(&steps);
}

static void qkeras_fits_are_theirs(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        int axis;
    } tensors[] = {{"dense_12x10", 1}, {"conv_3x3x2x5", 3}, {"onnx_5x18_axis0", 0}, {"per_tensor_72x1", 1}};
    const char *path = qn_shared("vectors/qkeras/auto_alpha.npz");
    if (path == NULL) {
        skip();
    }
    char kept[512];
    snprintf(kept, sizeof kept, "%s", path);
    char *text = qn_npz_text(kept, "cfg_json");
    json_t *configs = json_loads(text, 0, NULL), *config;
    assert_non_null(configs);
    size_t index, n_checked = 0;
    json_array_foreach(configs, index, config)
    {
        const char *function = json_string_value(json_object_get(config, "fn"));
        bool plain = strcmp(function, "quantized_bits") == 0 && json_object_get(config, "elements_per_scale") == NULL &&
                     json_object_get(config, "min_po2_exponent") == NULL &&
                     json_integer_value(json_object_get(config, "integer")) == 0 &&
                     json_integer_value(json_object_get(config, "keep_negative")) == 1;
        for (size_t t = 0; plain && t < sizeof tensors / sizeof tensors[0]; t++) {
            if (strcmp(json_string_value(json_object_get(config, "tensor")), tensors[t].tensor) == 0) {
                check_qkeras(kept, config, tensors[t].tensor, tensors[t].axis);
                n_checked++;
            }
        }
    }
    assert_true(n_checked > 30);
    json_decref(configs);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adaptivfloat_is_the_papers),
        cmocka_unit_test(ap_fixed_is_amds),
        cmocka_unit_test(goldeneye_casts_are_ours),
        cmocka_unit_test(qkeras_fits_are_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
