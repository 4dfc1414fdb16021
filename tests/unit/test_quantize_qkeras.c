/* Weights in QKeras' formats through the whole of qn_quantize: networks whose weights are the inputs of QKeras' vectors get its
 * integers and steps, bit for bit, in layers that the integer engine runs, and keep them in the file. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "npz_json.h"
#include "qkeras_vectors.h"
#include "quern/quern.h"

enum { MAX_ELEMENTS = 1024 };

/* How a tensor of the vectors becomes a layer's weights. */
typedef enum { AS_MATMUL, AS_GEMM, AS_CONV, AS_DEPTHWISE, N_LAYERS } layer_kind;

typedef struct {
    layer_kind kind;
    const qn_tensor *x;       /* of the vectors */
    int64_t at[MAX_ELEMENTS]; /* where element k of the weights is in x */
    bool float_too;           /* the same weights between float activations */
    qn_model model;
} network;

/* Element k of weights [channels, rest...] or, for MatMul, [rest, channels]. */
static void arrange(network *n)
{
    const int64_t *d = n->x->dims, count = qn_tensor_count(n->x);
    assert_true(count <= MAX_ELEMENTS);
    for (int64_t k = 0; k < count; k++) {
        const int64_t channels = d[n->x->rank - 1];
        if (n->kind == AS_CONV) { /* height, width, in, out -> out, in, height, width */
            const int64_t window = d[0] * d[1], out = k / (d[2] * window), in = k / window % d[2];
            n->at[k] = (k % window * d[2] + in) * channels + out;
        } else {
            const int64_t rest = count / channels;
            n->at[k] = n->kind == AS_DEPTHWISE ? k % rest * channels + k / rest : k;
        }
    }
}

static void build(network *n, const float *bias)
{
    qn_graph *g = &n->model.graph;
    const int64_t *d = n->x->dims, count = qn_tensor_count(n->x);
    float weights[MAX_ELEMENTS];
    arrange(n);
    for (int64_t k = 0; k < count; k++) {
        weights[k] = ((const float *)n->x->data)[n->at[k]];
    }
    memset(&n->model, 0, sizeof n->model);
    g->opset = 13;
    g->file = "net.onnx";
    if (n->kind == AS_MATMUL) {
        qn_test_input(g, "x", DIMS(-1, d[0]));
        qn_test_floats(g, "w", DIMS(d[0], d[1]), weights);
        NODE(g, "MatMul", "x w", "y");
    } else if (n->kind == AS_GEMM) {
        qn_test_input(g, "x", DIMS(-1, d[1]));
        qn_test_floats(g, "w", DIMS(d[0], d[1]), weights);
        if (bias != NULL) {
            qn_test_floats(g, "b", DIMS(d[0]), bias);
        }
        NODE_WITH(g, "Gemm", bias != NULL ? "x w b" : "x w", "y", A_INT("transB", 1));
    } else if (n->kind == AS_CONV) {
        qn_test_input(g, "x", DIMS(-1, d[2], d[0], d[1]));
        qn_test_floats(g, "w", DIMS(d[3], d[2], d[0], d[1]), weights);
        NODE(g, "Conv", "x w", "y");
    } else {
        qn_test_input(g, "x", DIMS(-1, d[1], 1, d[0]));
        qn_test_floats(g, "w", DIMS(d[1], 1, 1, d[0]), weights);
        NODE_WITH(g, "Conv", "x w", "y", A_INT("group", d[1]));
    }
    qn_test_output(g, "y");
}

static qn_status quantize_with(qn_model **quantized, const network *n, const qn_quantize_options *given,
                               qn_quantize_report **report, qn_error *err)
{
    qn_quantize_options options = *given;
    qn_io_info info;
    qn_tensor x = {0};
    qn_dataset *data = NULL;
    uint64_t state = 7;
    qn_error_init(err);
    qn_assert_ok(qn_model_input(&n->model, 0, &info, err), err);
    info.dims[0] = 2;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, info.rank, info.dims, err), err);
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&state, 0, 1);
    }
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, err), err);
    options.data = data;
    options.n_threads = 1;
    qn_status status = qn_quantize(quantized, &n->model, NULL, &options, report, err);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    return status;
}

static qn_model *quantize(const network *n, const char *weights, const char *activations)
{
    qn_error err;
    qn_model *quantized = NULL;
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.store = "int8";
    options.weights = weights;
    options.activations = activations;
    qn_assert_ok(quantize_with(&quantized, n, &options, NULL, &err), &err);
    return quantized;
}

static int64_t integer_at(const qn_tensor *t, int64_t k)
{
    switch (t->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[k];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[k];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[k];
    default:
        fail_msg("integers of type %s", qn_dtype_text(t->dtype));
        return 0;
    }
}

/* Twice the integers and steps that QKeras has; a step per channel. */
typedef struct {
    const qn_tensor *z2;
    const float *step;
    bool halves;   /* integers are -1/2 and 1/2 */
    bool unsteady; /* the step of a channel of zeros is not QKeras' 0 */
} expected;

static int64_t compare(const network *n, const qn_model *quantized, const expected *want, const char *name)
{
    qn_error err;
    qn_error_init(&err);
    qn_integer_constant w;
    qn_assert_ok(qn_integers(&w, quantized, "w", &err), &err);
    const int64_t count = qn_tensor_count(n->x), per = want->halves ? 1 : 2;
    assert_int_equal(qn_tensor_count(&w.z), count);
    assert_int_equal(w.axis, n->kind == AS_MATMUL ? 1 : 0);
    for (int64_t k = 0; k < count; k++) {
        const int64_t c = k / w.run % w.n_scales, z2 = integer_at(want->z2, n->at[k]), got = integer_at(&w.z, k) * per;
        if (got != z2) {
            fail_msg("%s in layer %d, element %lld: 2z = %lld for %lld", name, (int)n->kind, (long long)k,
                     (long long)got, (long long)z2);
        }
        const float step = want->step[c] == 0 && want->unsteady ? 1 : want->step[c] * (want->halves ? 0.5f : 1);
        if (w.scale[c] != step) {
            fail_msg("%s in layer %d, channel %lld: scale %.9g for %.9g", name, (int)n->kind, (long long)c,
                     (double)w.scale[c], (double)step);
        }
        assert_true(w.zero_point == NULL || w.zero_point[c] == 0);
    }
    return count;
}

/* The integer engine runs it, and the file keeps it. */
static void check_model(const network *n, const qn_model *quantized, const expected *want, const char *name)
{
    qn_error err;
    qn_error_init(&err);
    qn_widths *widths = NULL;
    qn_assert_ok(qn_widths_prove(&widths, quantized, &err), &err);
    assert_int_equal(qn_widths_count(widths), 1);
    qn_widths_free(widths);
    const char *path = qn_scratch_file("q.onnx");
    qn_model *again = NULL;
    qn_assert_ok(qn_model_save(quantized, path, true, &err), &err);
    qn_assert_ok(qn_model_load(&again, path, &err), &err);
    compare(n, again, want, name);
    qn_format_use uses[8];
    const size_t n_uses = qn_model_formats(again, uses, 8);
    for (size_t i = 0; i < n_uses; i++) { /* so that others run it */
        assert_false(uses[i].org_quern);
    }
    qn_model_free(again);
}

static int64_t check(network *n, const char *name, const expected *want)
{
    build(n, NULL);
    qn_model *quantized = quantize(n, name, NULL);
    const int64_t count = compare(n, quantized, want, name);
    check_model(n, quantized, want, name);
    qn_model_free(quantized);
    if (n->float_too) {
        quantized = quantize(n, name, "float");
        compare(n, quantized, want, name);
        qn_model_free(quantized);
    }
    qn_graph_free(&n->model.graph);
    return count;
}

static qn_tensor array_of(const char *path, const char *prefix, const char *suffix)
{
    char key[64];
    snprintf(key, sizeof key, "%s%s", prefix, suffix);
    return npz_read(path, key);
}

static int64_t check_auto(const char *path, const json_t *row, int64_t n_of[N_LAYERS])
{
    char name[NAME_SIZE], id[16];
    snprintf(id, sizeof id, "%d", integer(row, "id"));
    qn_tensor x = array_of(path, text(row, "tensor"), "_x"), z2 = array_of(path, id, "_z2"),
              s = array_of(path, id, "_s");
    name_uniform(name, row);
    const expected want = {.z2 = &z2,
                           .step = (const float *)s.data + qn_tensor_count(&s) / 2,
                           .halves = integer(row, "bits") == 1 && integer(row, "keep_negative") == 1,
                           .unsteady = true};
    static network n;
    n.float_too = true;
    n.x = &x;
    n.kind = x.rank == 4 ? AS_CONV : axis_of(row, x.rank) == 0 ? AS_GEMM : AS_MATMUL;
    int64_t count = check(&n, name, &want);
    n_of[n.kind]++;
    if (n.kind == AS_MATMUL && x.dims[1] > 1) {
        n.kind = AS_DEPTHWISE;
        count += check(&n, name, &want);
        n_of[AS_DEPTHWISE]++;
    }
    qn_tensor_free(&x);
    qn_tensor_free(&z2);
    qn_tensor_free(&s);
    return count;
}

static void test_auto_alpha(void **state)
{
    (void)state;
    const char *found = qn_shared("vectors/qkeras/auto_alpha.npz");
    if (found == NULL) {
        skip();
    }
    char path[4096]; /* the names of other files take the place of `found` */
    snprintf(path, sizeof path, "%s", found);
    json_t *cfg = npz_meta_read(path, "cfg_json"), *row;
    int64_t n_equal = 0, n_left = 0, n_of[N_LAYERS] = {0};
    size_t c;
    json_array_foreach(cfg, c, row)
    {
        /* vectors are no weights, more than 8 bits no integer engine's, blocks across channels and frozen steps no
         * format's own */
        const bool beyond = integer(row, "bits") == 8 && integer(row, "keep_negative") == 0 &&
                            strcmp(text(row, "fn"), "quantized_linear") == 0; /* 255 */
        const bool serves = integer(row, "bits") <= 8 && !beyond && !has_blocks(row) &&
                            json_object_get(row, "post_training_scale") == NULL &&
                            strstr(text(row, "tensor"), "rank1") == NULL;
        n_left += !serves;
        n_equal += serves ? check_auto(path, row, n_of) : 0;
    }
    printf(
        "qkeras auto_alpha: %lld integers equal, with steps, in %lld MatMul, %lld Gemm, %lld Conv and %lld depthwise "
        "layers; left out: %lld configurations that no layer can have\n",
        (long long)n_equal, (long long)n_of[AS_MATMUL], (long long)n_of[AS_GEMM], (long long)n_of[AS_CONV],
        (long long)n_of[AS_DEPTHWISE], (long long)n_left);
    for (int i = 0; i < N_LAYERS; i++) {
        assert_true(n_of[i] > 20);
    }
    json_decref(cfg);
}

static void test_fixed_alpha(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/qkeras/fixed_alpha.npz");
    if (path == NULL) {
        skip();
    }
    qn_tensor x = npz_read(path, "x"), z2 = npz_read(path, "z2"), s_eff = npz_read(path, "s_eff");
    json_t *cfg = npz_meta_read(path, "cfg_json"), *row;
    const int64_t count = qn_tensor_count(&x);
    x.rank = 2;
    x.dims[0] = 1;
    x.dims[1] = count;
    int64_t n_equal = 0, n_left = 0;
    size_t c;
    json_array_foreach(cfg, c, row)
    {
        /* 255 is beyond 8 signed bits */
        if (integer(row, "bits") > 8 || (integer(row, "bits") == 8 && integer(row, "keep_negative") == 0)) {
            n_left++;
            continue;
        }
        char name[NAME_SIZE];
        name_uniform(name, row);
        qn_tensor z = {
            .dtype = QN_DTYPE_S32, .rank = 1, .dims = {count}, .data = (int32_t *)z2.data + c * (size_t)count};
        const expected want = {.z2 = &z,
                               .step = (const float *)s_eff.data + c,
                               .halves = strcmp(text(row, "fn"), "quantized_linear") == 0 &&
                                         integer(row, "bits") == 1 && integer(row, "keep_negative") == 1};
        static network n;
        n.x = &x;
        n.kind = AS_GEMM;
        n_equal += check(&n, name, &want);
    }
    printf("qkeras fixed_alpha: %lld integers equal; left out: %lld formats of more than 8 signed bits\n",
           (long long)n_equal, (long long)n_left);
    assert_true(n_equal > 10000);
    json_decref(cfg);
    qn_tensor_free(&x);
    qn_tensor_free(&z2);
    qn_tensor_free(&s_eff);
}

/* Channel 0 is zeros with a bias, 1 has a bias that int32 has no room for at QKeras' scale, 2 neither. */
static void test_biases(void **state)
{
    (void)state;
    float weights[] = {0, 0, 0, 0, 1e-4f, -2e-5f, 3e-5f, 4e-5f, 1, -0.5f, 0.25f, 0.126f};
    const float bias[] = {0.5f, 4000, 1};
    const qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {3, 4}, .data = weights};
    static const char *const formats[] = {"qkeras-bits<8,0,alpha=auto>", "qkeras-bits<8,0,alpha=auto_po2>"};
    for (int f = 0; f < 2; f++) {
        static network n;
        n.kind = AS_GEMM;
        n.x = &x;
        build(&n, bias);
        qn_error err;
        qn_model *quantized = NULL;
        qn_quantize_report *report = NULL;
        qn_quantize_options options;
        qn_quantize_options_init(&options);
        options.recipe = "minmax";
        options.weights = formats[f];
        qn_assert_ok(quantize_with(&quantized, &n, &options, &report, &err), &err);
        qn_integer_constant w;
        qn_assert_ok(qn_integers(&w, quantized, "w", &err), &err);
        const int8_t *z = w.z.data;
        for (int k = 0; k < 4; k++) {
            assert_int_equal(z[k], 0);
        }
        /* the third channel is untouched: step 1/127, or 2^-7 */
        assert_true(w.scale[2] == (f == 0 ? 1.0f / 127 : 0x1p-7f));
        const int8_t expected_z[2][4] = {{127, -64, 32, 16}, {127, -64, 32, 16}}; /* 63.5 goes away from zero */
        assert_memory_equal(z + 8, expected_z[f], 4);
        bool told = false;
        for (size_t i = 0; i < qn_quantize_report_count(report); i++) {
            const qn_quantize_row *row = qn_quantize_report_at(report, i);
            told = told || (strcmp(row->role, "weight") == 0 && row->n_raised == 1 &&
                            strstr(row->note, "codes and scales of qkeras-bits<8,0,1,1>:qkeras-") != NULL &&
                            strstr(row->note, "codes there are those of the raised scale") != NULL);
        }
        assert_true(told);
        for (int c = 0; f == 1 && c < 3; c++) { /* also where it was raised or is only the bias' */
            int exponent;
            assert_true(frexpf(w.scale[c], &exponent) == 0.5f);
        }
        qn_quantize_report_free(report);
        qn_model_free(quantized);
        qn_graph_free(&n.model.graph);
    }
}

/* What would change the integers behind the user's back is refused or left out, and told. */
static void test_nothing_moves(void **state)
{
    (void)state;
    float weights[24];
    uint64_t noise = 3;
    for (int i = 0; i < 24; i++) {
        weights[i] = qn_test_uniform(&noise, -1, 1);
    }
    const float bias[] = {0.5f, -0.25f, 1};
    const qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {3, 8}, .data = weights};
    static network n;
    n.kind = AS_GEMM;
    n.x = &x;
    build(&n, bias);
    qn_error err;
    qn_model *plain = NULL, *best = NULL, *shifts = NULL;
    qn_quantize_report *report = NULL;
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.weights = "qkeras-bits<4,0,alpha=auto>";
    options.recipe = "minmax";
    qn_assert_ok(quantize_with(&plain, &n, &options, NULL, &err), &err);
    options.recipe = "best";
    qn_assert_ok(quantize_with(&best, &n, &options, &report, &err), &err);
    qn_integer_constant a, b;
    qn_assert_ok(qn_integers(&a, plain, "w", &err), &err);
    qn_assert_ok(qn_integers(&b, best, "w", &err), &err);
    assert_memory_equal(a.z.data, b.z.data, 24);
    assert_memory_equal(a.scale, b.scale, 3 * sizeof *a.scale);
    bool told = false;
    for (size_t i = 0; qn_quantize_report_remark(report, i) != NULL; i++) {
        told = told ||
               strstr(qn_quantize_report_remark(report, i), "1 layer keeps the codes that qkeras-bits<4,0") != NULL;
    }
    assert_true(told);

    qn_arithmetic arithmetic;
    qn_assert_ok(qn_recipe_arithmetic(&arithmetic, "po2", &err), &err);
    options.arithmetic = &arithmetic;
    qn_assert_fails(quantize_with(&shifts, &n, &options, NULL, &err), &err, QN_EINVAL, "channel 0");
    options.weights = "qkeras-bits<4,0,alpha=auto_po2>";
    qn_assert_fails(quantize_with(&shifts, &n, &options, NULL, &err), &err, QN_EINVAL, "uint8:po2");
    options.activations = "uint8:po2";
    qn_assert_ok(quantize_with(&shifts, &n, &options, NULL, &err), &err);
    qn_model_free(shifts);
    qn_model_free(plain);
    qn_model_free(best);
    qn_quantize_report_free(report);
    qn_graph_free(&n.model.graph);
}

/* One scale for all channels is that of the greatest weight, also when the first channel has nothing but a bias. */
static void test_per_tensor(void **state)
{
    (void)state;
    float weights[] = {0, 0, 0, 0, 1, -0.5f, 0.25f, 0.126f};
    const float bias[] = {0.5f, 1};
    const qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {2, 4}, .data = weights};
    static const char *const formats[] = {"int8", "qkeras-bits<8,0,alpha=auto>"};
    for (int f = 0; f < 2; f++) {
        static network n;
        n.kind = AS_GEMM;
        n.x = &x;
        build(&n, bias);
        qn_error err;
        qn_model *quantized = NULL;
        qn_quantize_options options;
        qn_quantize_options_init(&options);
        options.recipe = "minmax";
        options.per = "tensor";
        options.weights = formats[f];
        qn_assert_ok(quantize_with(&quantized, &n, &options, NULL, &err), &err);
        qn_integer_constant w;
        qn_assert_ok(qn_integers(&w, quantized, "w", &err), &err);
        assert_int_equal(w.n_scales, 1);
        assert_true(w.scale[0] == 1.0f / 127);
        const int8_t want[] = {0, 0, 0, 0, 127, -64, 32, 16};
        assert_memory_equal(w.z.data, want, sizeof want);
        qn_model_free(quantized);
        qn_graph_free(&n.model.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_auto_alpha), cmocka_unit_test(test_fixed_alpha),
                                       cmocka_unit_test(test_biases), cmocka_unit_test(test_nothing_moves),
                                       cmocka_unit_test(test_per_tensor)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
