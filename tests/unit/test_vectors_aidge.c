/* The recipe `aidge` against what aidge_quantization 0.3.1 itself computed. Every kind of number is counted: a row that is
 * lost from the vectors fails, too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "npz_json.h"
#include "ptq/aidge/aidge.h"
#include "quern/engine.h"
#include "support.h"

enum { N_COMBOS = 32, N_NOQUANT = 3, N_TRACES = 4 };
static const char *const net_names[] = {"a_golden", "b_mlp",    "c_conv",    "d_bn",
                                        "e_res",    "f_concat", "f_concat2", "h_avg"};
enum { N_NETS = sizeof net_names / sizeof net_names[0] };

/* Numbers compared, by kind. */
static struct {
    int64_t weights, biases, scales, clips, coefs, outputs, dequants, ranges, adjusted, bins, norm_scales, traces,
        noquant_parameters, noquant_outputs, folded, refused;
} counted;

static qn_error err;
static char path[1024];

static double element(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_F64:
        return ((const double *)t->data)[i];
    case QN_DTYPE_F32:
        return (double)((const float *)t->data)[i];
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[i];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[i];
    default:
        fail_msg("vectors of type %s", qn_dtype_text(t->dtype));
        return 0;
    }
}

static qn_tensor read_array(const char *net, const char *format, const char *name)
{
    char key[256], suffix[160];
    snprintf(suffix, sizeof suffix, format, name);
    snprintf(key, sizeof key, "%s%s%s", net, net[0] != '\0' ? "/" : "", suffix);
    return npz_read(path, key);
}

static bool is_close(double a, double b, double tolerance)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * fabs(b);
}

/* Row `row` of a [rows, n] array equals x. */
static void expect_row(const char *what, const qn_tensor *t, int64_t row, const double *x, int64_t n, double tolerance,
                       int64_t *count)
{
    assert_true(qn_tensor_count(t) % n == 0);
    for (int64_t i = 0; i < n; i++) {
        double expected = element(t, row * n + i);
        if (!is_close(x[i], expected, tolerance)) {
            fail_msg("%s, row %lld, element %lld: %.17g, expected %.17g", what, (long long)row, (long long)i, x[i],
                     expected);
        }
        ++*count;
    }
}

static qn_model *load(const char *name)
{
    char relative[128];
    snprintf(relative, sizeof relative, "vectors/aidge/%s.onnx", name);
    const char *file = qn_shared(relative);
    qn_model *model = NULL;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, file, &err), &err);
    return model;
}

/* One net of the vectors with its data. */
typedef struct subject {
    const char *name;
    qn_model *model;
    qn_tensor cal, test;
    qn_dataset *data;
} subject;

static void open_subject(subject *s, const char *name)
{
    *s = (subject){.name = name, .model = load(name)};
    s->cal = read_array(name, "%s", "cal");
    s->test = read_array(name, "%s", "test");
    qn_assert_ok(qn_dataset_of_tensor(&s->data, &s->cal, NULL, &err), &err);
}

static void close_subject(subject *s)
{
    qn_dataset_close(s->data);
    qn_tensor_free(&s->cal);
    qn_tensor_free(&s->test);
    qn_model_free(s->model);
}

static bool is_defect(const char *name)
{
    return strcmp(name, "f_concat2") == 0;
}

static qn_aidge_options options_of(const subject *s, const qn_tensor *combos, int row, bool round)
{
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    options.bits = (int)element(combos, row * 4);
    options.clip = (qn_aidge_clip)(int)element(combos, row * 4 + 1);
    options.signs = element(combos, row * 4 + 2) != 0;
    options.shift = element(combos, row * 4 + 3) != 0;
    options.round = round;
    options.forks = is_defect(s->name) ? QN_AIDGE_FORKS_LIBRARY : QN_AIDGE_FORKS_RESIDUAL;
    return options;
}

static int scalings_of(qn_aidge_net *net, const int **indices)
{
    int n = 0;
    qn_assert_ok(qn_aidge_sorted_scalings(net, &net->arena, indices, &n, &err), &err);
    return n;
}

static void expect_parameters(const subject *s, const qn_aidge *aidge, int row, bool round)
{
    for (int k = 0; k < aidge->net.n_nodes; k++) {
        const qn_aidge_node *node = &aidge->net.nodes[k];
        if (!qn_aidge_is_affine(node)) {
            continue;
        }
        qn_tensor w = read_array(s->name, round ? "int/weight/%s" : "noquant/weight/%s", node->name);
        qn_tensor b = read_array(s->name, round ? "int/bias/%s" : "noquant/bias/%s", node->name);
        double tolerance = round ? 0 : 1e-13;
        expect_row(node->name, &w, row, node->weight, node->n_weights, tolerance,
                   round ? &counted.weights : &counted.noquant_parameters);
        expect_row(node->name, &b, row, node->bias, node->weight_dims[0], tolerance,
                   round ? &counted.biases : &counted.noquant_parameters);
        qn_tensor_free(&w);
        qn_tensor_free(&b);
    }
}

static void expect_quantizers(const subject *s, qn_aidge *aidge, int row, bool round)
{
    const int *indices;
    int n = scalings_of(&aidge->net, &indices);
    qn_tensor scale = read_array(s->name, round ? "int/%s" : "noquant/%s", "scale");
    qn_tensor coef = read_array(s->name, round ? "int/%s" : "noquant/%s", "coef");
    assert_int_equal(scale.dims[1], n);
    for (int i = 0; i < n; i++) {
        const qn_aidge_node *node = &aidge->net.nodes[indices[i]];
        expect_row(node->name, &scale, row * n + i, &node->scale, 1, 1e-14, &counted.scales);
        expect_row(node->name, &coef, row * n + i, &node->coef, 1, 0, &counted.coefs);
        if (round) {
            qn_tensor clip = read_array(s->name, "int/%s", "clip");
            expect_row(node->name, &clip, row * n + i, (double[]){node->lo, node->hi}, 2, 0, &counted.clips);
            qn_tensor_free(&clip);
        }
    }
    qn_tensor_free(&scale);
    qn_tensor_free(&coef);
}

static void expect_outputs(const subject *s, const qn_aidge *aidge, int row, bool round)
{
    int64_t n_items = s->test.dims[0], n_out = qn_aidge_output_count(aidge), n = n_items * n_out;
    double *y = calloc((size_t)n, sizeof *y), greatest = 0;
    assert_non_null(y);
    qn_assert_ok(qn_aidge_run(aidge, s->test.data, n_items, y, &err), &err);
    qn_tensor expected = read_array(s->name, round ? "int/%s" : "noquant/%s", "test_out");
    if (round) {
        expect_row("test_out", &expected, row, y, n, 0, &counted.outputs);
        qn_tensor dequant = read_array(s->name, "int/%s", "dequant");
        double scale = qn_aidge_output_scale(aidge);
        expect_row("dequant", &dequant, row, &scale, 1, 1e-13, &counted.dequants);
        qn_tensor_free(&dequant);
    }
    for (int64_t i = 0; i < n; i++) {
        greatest = fmax(greatest, fabs(element(&expected, row * n + i)));
    }
    for (int64_t i = 0; !round && i < n; i++) {
        assert_true(fabs(y[i] - element(&expected, row * n + i)) <= 1e-14 * greatest);
        counted.noquant_outputs++;
    }
    qn_tensor_free(&expected);
    free(y);
}

static void check_combo(const subject *s, const qn_tensor *combos, int row, bool round)
{
    qn_aidge_options options = options_of(s, combos, row, round);
    qn_aidge *aidge = NULL;
    qn_status status = qn_aidge_quantize(&aidge, s->model, s->data, &options, &err);
    if (is_defect(s->name) && options.signs) {
        qn_assert_fails(status, &err, QN_EUNSUPPORTED, "'pool'");
        qn_error_init(&err);
        counted.refused++;
        return;
    }
    qn_assert_ok(status, &err);
    expect_parameters(s, aidge, row, round);
    expect_quantizers(s, aidge, row, round);
    expect_outputs(s, aidge, row, round);
    qn_aidge_free(aidge);
}

static void check_trace(const subject *s, const qn_tensor *combos, int row)
{
    qn_aidge_options options = options_of(s, combos, row, true);
    if (is_defect(s->name) && options.signs) {
        return;
    }
    qn_aidge *aidge = NULL;
    qn_assert_ok(qn_aidge_quantize(&aidge, s->model, s->data, &options, &err), &err);
    const qn_aidge_net *net = &aidge->net;
    double **values = qn_aidge_values_new(net), *input = calloc((size_t)net->n_input, sizeof *input);
    assert_true(values != NULL && input != NULL);
    for (int64_t item = 0; item < s->test.dims[0]; item++) {
        for (int64_t i = 0; i < net->n_input; i++) {
            input[i] = rint(element(&s->test, item * net->n_input + i) * qn_aidge_input_scale(aidge));
        }
        qn_aidge_forward(net, input, values);
        for (int k = 0; k < net->n_nodes; k++) {
            if (net->nodes[k].op == QN_AIDGE_SCALING) {
                char format[64];
                snprintf(format, sizeof format, "trace/%d/%%s", row);
                qn_tensor trace = read_array(s->name, format, net->nodes[k].name);
                expect_row(net->nodes[k].name, &trace, item, values[k], net->nodes[k].n, 0, &counted.traces);
                qn_tensor_free(&trace);
            }
        }
    }
    qn_free(values);
    free(input);
    qn_aidge_free(aidge);
}

static void check_folded(const subject *s, const qn_aidge_net *net)
{
    for (int k = 0; k < net->n_nodes; k++) {
        const qn_aidge_node *node = &net->nodes[k];
        if (qn_aidge_is_affine(node)) {
            qn_tensor w = read_array(s->name, "folded/%s/w", node->name);
            qn_tensor b = read_array(s->name, "folded/%s/b", node->name);
            expect_row(node->name, &w, 0, node->weight, node->n_weights, 0, &counted.folded);
            expect_row(node->name, &b, 0, node->bias, node->weight_dims[0], 0, &counted.folded);
            qn_tensor_free(&w);
            qn_tensor_free(&b);
        }
    }
}

static void expect_scalings(const subject *s, qn_aidge_net *net, const char *array, int64_t row, size_t field,
                            double tolerance, int64_t *count)
{
    const int *indices;
    int n = scalings_of(net, &indices);
    qn_tensor t = read_array(s->name, "%s", array);
    for (int i = 0; i < n; i++) {
        double value;
        memcpy(&value, (const char *)&net->nodes[indices[i]] + field, sizeof value);
        expect_row(array, &t, row * n + i, &value, 1, tolerance, count);
    }
    qn_tensor_free(&t);
}

static void check_histograms(const subject *s, qn_aidge_net *net, const qn_aidge_options *options)
{
    int64_t n_bins = qn_aidge_n_bins(options->bits);
    int64_t *counts = calloc((size_t)(net->n_nodes * n_bins), sizeof *counts);
    assert_non_null(counts);
    qn_assert_ok(qn_aidge_observe_histograms(net, s->data, options, n_bins, counts, &err), &err);
    qn_tensor t = read_array(s->name, "%s", options->bits == 4 ? "hist_n4" : "hist_n8");
    const int *indices;
    int n = scalings_of(net, &indices);
    assert_int_equal(qn_tensor_count(&t), n * n_bins);
    for (int i = 0; i < n; i++) {
        for (int64_t bin = 0; bin < n_bins; bin++) {
            assert_true((double)counts[indices[i] * n_bins + bin] == element(&t, i * n_bins + bin));
            counted.bins++;
        }
    }
    qn_tensor_free(&t);
    free(counts);
}

/* What the stages before the integers leave behind. */
static void check_stages(const subject *s, int bits)
{
    qn_aidge_options options;
    qn_aidge_options_init(&options);
    options.bits = bits;
    options.forks = is_defect(s->name) ? QN_AIDGE_FORKS_LIBRARY : QN_AIDGE_FORKS_RESIDUAL;
    qn_graph graph = {0};
    qn_aidge_net net = {0};
    qn_assert_ok(qn_aidge_prepare(&graph, s->model, &err), &err);
    qn_assert_ok(qn_aidge_build(&net, &graph, &err), &err);
    if (strcmp(s->name, "d_bn") == 0) {
        check_folded(s, &net);
    }
    qn_assert_ok(qn_aidge_insert_scalings(&net, &options, &err), &err);
    qn_assert_ok(qn_aidge_normalize_parameters(&net, 1, &err), &err);
    expect_scalings(s, &net, "norm_scale", 0, offsetof(qn_aidge_node, scale), 1e-14, &counted.norm_scales);
    qn_assert_ok(qn_aidge_observe_ranges(&net, s->data, &options, &err), &err);
    expect_scalings(s, &net, "ranges", 0, offsetof(qn_aidge_node, range), 1e-14, &counted.ranges);
    check_histograms(s, &net, &options);
    double kept[64];
    for (int k = 0; k < net.n_nodes; k++) {
        kept[k] = net.nodes[k].range;
    }
    for (int clip = QN_AIDGE_CLIP_MAX; clip <= QN_AIDGE_CLIP_KL; clip++) {
        options.clip = (qn_aidge_clip)clip;
        qn_assert_ok(qn_aidge_adjust_ranges(&net, s->data, &options, &err), &err);
        expect_scalings(s, &net, bits == 4 ? "adjusted_ranges_n4" : "adjusted_ranges_n8", clip - 1,
                        offsetof(qn_aidge_node, range), 1e-14, &counted.adjusted);
        for (int k = 0; k < net.n_nodes; k++) {
            net.nodes[k].range = kept[k];
        }
    }
    qn_assert_ok(qn_aidge_normalize_activations(&net, &err), &err);
    expect_scalings(s, &net, "norm_act_scale_max", 0, offsetof(qn_aidge_node, scale), 1e-14, &counted.norm_scales);
    qn_arena_free(&net.arena);
    qn_graph_free(&graph);
}

/* Outputs of the integer engine, by how far their codes are from the library's. */
typedef struct agreement {
    int64_t n, n_equal;
    double apart; /* at most, in codes */
} agreement;

/* An input that is the real of its code: x = 0.5 lies half way between codes, and f32's 1/127 is not 1/127. */
static void put_on_codes(float *x, const float *from, int64_t n, double scale)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(rint((double)from[i] * scale) / scale);
    }
}

/* Of the model's output scale, which takes the rounding of integer factors into account; the library's does not. */
static double scale_tolerance(const qn_aidge *aidge)
{
    double tolerance = 1e-5;
    for (int k = 0; k < aidge->net.n_nodes; k++) {
        const qn_aidge_node *node = &aidge->net.nodes[k];
        tolerance += node->op == QN_AIDGE_SCALING && !isnan(node->coef) ? 0.5 / node->coef : 0;
    }
    return tolerance;
}

/* The model of one combination, run by the integer engine on the test inputs. */
static void compare_engine(const subject *s, const qn_aidge *aidge, const qn_tensor *expected, int row, agreement *a)
{
    qn_model *quantized = NULL;
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_program_options options;
    qn_assert_ok(qn_aidge_model(&quantized, aidge, s->model, &err), &err);
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    qn_assert_ok(qn_program_create(&program, quantized, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    int64_t n_out = qn_program_output_count(program, 0), n_in = qn_program_input_count(program, 0);
    assert_int_equal(n_out, qn_aidge_output_count(aidge));
    const qn_graph *graph = &quantized->graph;
    double scale = (double)graph->values[graph->outputs[0]].quantizer->scale[0];
    assert_true(fabs(scale - qn_aidge_output_scale(aidge)) <= scale_tolerance(aidge) * scale);
    float y[64], x[256];
    assert_true(n_out <= 64 && n_in <= 256);
    for (int64_t item = 0; item < s->test.dims[0]; item++) {
        const float *input = x;
        float *output = y;
        put_on_codes(x, (const float *)s->test.data + item * n_in, n_in, qn_aidge_input_scale(aidge));
        qn_assert_ok(qn_program_run(program, workspace, &input, 1, &output, &err), &err);
        for (int64_t i = 0; i < n_out; i++) {
            double code = rint((double)y[i] / scale);
            double apart = fabs(code - element(expected, (row * s->test.dims[0] + item) * n_out + i));
            a->n++;
            a->n_equal += apart == 0;
            a->apart = fmax(a->apart, apart);
        }
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_model_free(quantized);
}

static bool open_vectors(const char *file)
{
    qn_error_init(&err);
    const char *shared = qn_shared(file);
    if (shared != NULL) {
        snprintf(path, sizeof path, "%s", shared);
    }
    return shared != NULL;
}

/* The sizes of the arrays in the file, less the 16 combinations of f_concat2 that are refused; stages are looked
 * at for 4 and for 8 bits. */
static void expect_counts(void)
{
    const struct {
        const char *kind;
        int64_t n, expected;
    } rows[] = {
        {"weights", counted.weights, 117504},
        {"biases", counted.biases, 3568},
        {"scales", counted.scales, 1005},
        {"clips", counted.clips, 1824},
        {"coefs", counted.coefs, 1005},
        {"outputs", counted.outputs, 3712},
        {"dequants", counted.dequants, 240},
        {"ranges", counted.ranges, 62},
        {"adjusted ranges", counted.adjusted, 248},
        {"bins", counted.bins, 134912},
        {"normalized scales", counted.norm_scales, 124},
        {"traces", counted.traces, 45136},
        {"parameters without rounding", counted.noquant_parameters, 12117},
        {"outputs without rounding", counted.noquant_outputs, 372},
        {"folded parameters", counted.folded, 936},
        {"refused", counted.refused, 16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].n != rows[i].expected) {
            fail_msg("%lld %s compared, expected %lld", (long long)rows[i].n, rows[i].kind,
                     (long long)rows[i].expected);
        }
    }
}

/* All nets, all combinations. */
static void same_numbers_as_the_library(void **state)
{
    (void)state;
    if (!open_vectors("vectors/aidge/nets.npz")) {
        skip();
    }
    memset(&counted, 0, sizeof counted);
    qn_tensor combos = npz_read(path, "combos"), noquant = npz_read(path, "combos_noquant"),
              traces = npz_read(path, "trace_combos");
    assert_int_equal(combos.dims[0], N_COMBOS);
    assert_int_equal(noquant.dims[0], N_NOQUANT);
    assert_int_equal(traces.dims[0], N_TRACES);
    for (int n = 0; n < N_NETS; n++) {
        subject s;
        open_subject(&s, net_names[n]);
        check_stages(&s, 4);
        check_stages(&s, 8);
        for (int row = 0; row < N_COMBOS; row++) {
            check_combo(&s, &combos, row, true);
        }
        for (int row = 0; row < N_NOQUANT; row++) {
            check_combo(&s, &noquant, row, false);
        }
        for (int row = 0; row < N_TRACES; row++) {
            check_trace(&s, &traces, row);
        }
        close_subject(&s);
    }
    qn_tensor_free(&combos);
    qn_tensor_free(&noquant);
    qn_tensor_free(&traces);
    expect_counts();
}

/* A network that is neither rounded nor clipped is the float network, forks included. */
static void without_rounding_nothing_changes(void **state)
{
    (void)state;
    if (!open_vectors("vectors/aidge/nets.npz")) {
        skip();
    }
    int64_t n_compared = 0;
    for (int n = 0; n < N_NETS; n++) {
        subject s;
        open_subject(&s, net_names[n]);
        qn_aidge_options options;
        qn_aidge_options_init(&options);
        options.round = false;
        options.clip = QN_AIDGE_CLIP_MSE;
        qn_aidge *aidge = NULL;
        qn_assert_ok(qn_aidge_quantize(&aidge, s.model, s.data, &options, &err), &err);
        qn_tensor expected = read_array(s.name, "%s", "float_out");
        int64_t n_values = qn_tensor_count(&expected);
        double *y = calloc((size_t)n_values, sizeof *y);
        assert_non_null(y);
        qn_assert_ok(qn_aidge_run(aidge, s.test.data, s.test.dims[0], y, &err), &err);
        for (int64_t i = 0; i < n_values; i++) {
            assert_true(fabs(y[i] * qn_aidge_output_scale(aidge) - element(&expected, i)) < 1e-14);
            n_compared++;
        }
        free(y);
        qn_tensor_free(&expected);
        qn_aidge_free(aidge);
        close_subject(&s);
    }
    assert_int_equal(n_compared, 124);
}

/* By net and shift: outputs, how many must be equal, how far the others may be off. Shifts of e_res meet exact halves behind
 * integer factors, which f32 ratios do not hold; the pools of h_avg are rounded to codes, which the library leaves out. */
static const struct {
    int64_t n, n_equal;
    double apart;
} agreements[N_NETS][2] = {{{192, 192, 0}, {192, 192, 0}}, {{256, 256, 0}, {256, 256, 0}},
                           {{320, 320, 0}, {320, 320, 0}}, {{192, 192, 0}, {192, 192, 0}},
                           {{256, 256, 0}, {256, 240, 1}}, {{256, 256, 0}, {256, 256, 0}},
                           {{128, 128, 0}, {128, 128, 0}}, {{256, 150, 3}, {256, 150, 3}}};

static void engine_agrees_with_the_library(void **state)
{
    (void)state;
    if (!open_vectors("vectors/aidge/nets.npz")) {
        skip();
    }
    qn_tensor combos = npz_read(path, "combos");
    for (int n = 0; n < N_NETS; n++) {
        subject s;
        agreement a[2] = {{0}};
        open_subject(&s, net_names[n]);
        qn_tensor expected = read_array(s.name, "%s", "int/test_out");
        for (int row = 0; row < N_COMBOS; row++) {
            qn_aidge_options options = options_of(&s, &combos, row, true);
            if (is_defect(s.name) && options.signs) {
                continue;
            }
            qn_aidge *aidge = NULL;
            qn_assert_ok(qn_aidge_quantize(&aidge, s.model, s.data, &options, &err), &err);
            compare_engine(&s, aidge, &expected, row, &a[options.shift]);
            qn_aidge_free(aidge);
        }
        for (int shift = 0; shift < 2; shift++) {
            assert_int_equal(a[shift].n, agreements[n][shift].n);
            if (a[shift].n_equal < agreements[n][shift].n_equal || a[shift].apart > agreements[n][shift].apart) {
                fail_msg("%s, shift %d: %lld outputs equal, the others up to %g off", s.name, shift,
                         (long long)a[shift].n_equal, a[shift].apart);
            }
        }
        qn_tensor_free(&expected);
        close_subject(&s);
    }
    qn_tensor_free(&combos);
}

static void same_clippings_as_the_library(void **state)
{
    (void)state;
    if (!open_vectors("vectors/aidge/clipping.npz")) {
        skip();
    }
    int n_equal = 0;
    for (int bits = 4; bits <= 8; bits += 4) {
        char key[4][16];
        static const char *const arrays[] = {"hist", "me2", "me1", "kl"};
        qn_tensor t[4];
        for (int a = 0; a < 4; a++) {
            snprintf(key[a], sizeof key[a], "n%d/%s", bits, arrays[a]);
            t[a] = npz_read(path, key[a]);
        }
        int64_t n_bins = qn_aidge_n_bins(bits), counts[4096];
        double scratch[4096];
        assert_int_equal(t[0].dims[1], n_bins);
        for (int64_t row = 0; row < t[0].dims[0]; row++) {
            for (int64_t bin = 0; bin < n_bins; bin++) {
                counts[bin] = (int64_t)element(&t[0], row * n_bins + bin);
            }
            assert_true(qn_aidge_clip_error(counts, n_bins, bits, 2) == element(&t[1], row));
            assert_true(qn_aidge_clip_error(counts, n_bins, bits, 1) == element(&t[2], row));
            assert_true(qn_aidge_clip_divergence(counts, n_bins, bits, scratch) == element(&t[3], row));
            n_equal += 3;
        }
        for (int a = 0; a < 4; a++) {
            qn_tensor_free(&t[a]);
        }
    }
    assert_int_equal(n_equal, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_clippings_as_the_library),
        cmocka_unit_test(same_numbers_as_the_library),
        cmocka_unit_test(without_rounding_nothing_changes),
        cmocka_unit_test(engine_agrees_with_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
