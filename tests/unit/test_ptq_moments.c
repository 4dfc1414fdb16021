/* Moments of inputs against the definition of convolution, and the passes that use them. */
#include "graph_builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "graph/model.h"
#include "ptq/moments.h"
#include "ptq_pass.h"

/* A convolution's output element by its definition: one more way through the input than qn_columns_read takes. */
static double conv_at(const qn_window *w, const float *x, const float *weights, int64_t out, int64_t oy, int64_t ox)
{
    int64_t in_per_group = w->c_in / w->group, group = out / (w->c_out / w->group);
    double sum = 0;
    for (int64_t y = 0; y < w->in[0]; y++) {
        for (int64_t xx = 0; xx < w->in[1]; xx++) {
            int64_t dy = y + w->pad_begin[0] - oy * w->stride[0], dx = xx + w->pad_begin[1] - ox * w->stride[1];
            if (dy < 0 || dx < 0 || dy % w->dilation[0] != 0 || dx % w->dilation[1] != 0 ||
                dy / w->dilation[0] >= w->kernel[0] || dx / w->dilation[1] >= w->kernel[1]) {
                continue;
            }
            for (int64_t c = 0; c < in_per_group; c++) {
                int64_t tap = dy / w->dilation[0] * w->kernel[1] + dx / w->dilation[1];
                sum += (double)x[((group * in_per_group + c) * w->in[0] + y) * w->in[1] + xx] *
                       (double)weights[(out * in_per_group + c) * w->kernel[0] * w->kernel[1] + tap];
            }
        }
    }
    return sum;
}

static int64_t pick(uint64_t *seed, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(qn_test_random(seed) % (uint64_t)(hi - lo + 1));
}

static void columns_times_weights_is_the_convolution(void **state)
{
    (void)state;
    uint64_t seed = 23;
    for (int round = 0; round < 60; round++) {
        int64_t group = pick(&seed, 1, 3), c_in = group * pick(&seed, 1, 3), c_out = group * pick(&seed, 1, 2);
        int64_t kh = pick(&seed, 1, 3), kw = pick(&seed, 1, 4), h = pick(&seed, 7, 11), w = pick(&seed, 7, 11);
        int64_t strides[2] = {pick(&seed, 1, 3), pick(&seed, 1, 2)};
        int64_t dilations[2] = {pick(&seed, 1, 2), pick(&seed, 1, 2)};
        int64_t pads[4] = {pick(&seed, 0, 2), pick(&seed, 0, 2), pick(&seed, 0, 2), pick(&seed, 0, 2)};
        qn_graph graph = {.opset = 13};
        qn_test_input(&graph, "x", DIMS(-1, c_in, h, w));
        qn_test_floats(&graph, "w", DIMS(c_out, c_in / group, kh, kw), NULL);
        qn_test_node(&graph, "Conv", "x w", "y", 4,
                     (const qn_attribute[]){A_INT("group", group),
                                            {.name = "strides", .type = QN_ATTRIBUTE_INTS, .ints = strides, .n = 2},
                                            {.name = "dilations", .type = QN_ATTRIBUTE_INTS, .ints = dilations, .n = 2},
                                            {.name = "pads", .type = QN_ATTRIBUTE_INTS, .ints = pads, .n = 4}});
        qn_test_output(&graph, "y");
        qn_error err;
        qn_error_init(&err);
        qn_binding binding = {0};
        qn_columns columns;
        bool has;
        qn_assert_ok(qn_graph_bind(&binding, &graph, 1, &err), &err);
        qn_assert_ok(qn_columns_of_node(&columns, &has, &binding, &graph.nodes[0], &err), &err);
        assert_true(has);
        assert_int_equal(columns.k, c_in / group * kh * kw);
        assert_int_equal(columns.n_elems, c_in * h * w);
        float x[9 * 11 * 11], column[3 * 48];
        for (int64_t i = 0; i < columns.n_elems; i++) {
            x[i] = qn_test_uniform(&seed, -1, 1);
        }
        const float *weights = graph.values[qn_graph_find(&graph, "w")].constant->data;
        for (int64_t p = 0; p < columns.n_positions; p++) {
            qn_columns_read(&columns, x, p, column, 48);
            for (int64_t c = 0; c < c_out; c++) {
                double sum = 0;
                for (int64_t i = 0; i < columns.k; i++) {
                    sum += (double)column[c / (c_out / group) * 48 + i] * (double)weights[c * columns.k + i];
                }
                double expected =
                    conv_at(&columns.window, x, weights, c, p / columns.window.out[1], p % columns.window.out[1]);
                assert_true(fabs(sum - expected) < 1e-9);
            }
        }
        qn_binding_free(&binding);
        qn_graph_free(&graph);
    }
}

static void samples_are_different_positions_in_order(void **state)
{
    (void)state;
    for (int64_t n_positions = 1; n_positions < 70; n_positions++) {
        qn_columns columns = {.n_positions = n_positions};
        bool varies = false;
        for (int64_t n = 1; n <= n_positions; n++) {
            int64_t last = -1;
            for (int64_t s = 0; s < n; s++) {
                int64_t position = qn_columns_sample(&columns, 3, s, n);
                assert_true(position > last && position < n_positions);
                varies |= position != qn_columns_sample(&columns, 4, s, n);
                last = position;
            }
            assert_true(n < n_positions || last == n - 1);
        }
        assert_true(varies || n_positions < 4);
    }
}

/* Codes are summed exactly; reals the same at every level. */
static void sums_are_exact_and_the_same_everywhere(void **state)
{
    (void)state;
    enum { N = 1000, K = 37, STRIDE = 48, GROUPS = 2 };
    uint64_t seed = 7;
    float *z = qn_alloc(N * GROUPS * STRIDE * sizeof *z), *x = qn_alloc(N * GROUPS * STRIDE * sizeof *x);
    for (int64_t i = 0; i < N * GROUPS * STRIDE; i++) {
        z[i] = i % STRIDE < K ? (float)pick(&seed, 100, 255) : 0;
        x[i] = i % STRIDE < K ? qn_test_uniform(&seed, -300, 300) : 0;
    }
    qn_columns columns = {.k = K, .n_groups = GROUPS};
    qn_error err;
    qn_error_init(&err);
    qn_moments first = {0};
    for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
        qn_moments m;
        qn_assert_ok(qn_moments_make(&m, &columns, true, true, &err), &err);
        for (int64_t group = 0; group < GROUPS; group++) {
            qn_moments_add(&m, group, 0, 32, z, x, N, STRIDE, cpu);
            qn_moments_add(&m, group, 32, K, z, x, N, STRIDE, cpu);
        }
        for (int64_t i = 0; i < GROUPS * K * K && cpu == QN_CPU_REFERENCE; i++) {
            int64_t group = i / K / K, r = i / K % K, c = i % K, exact = 0;
            double cross = 0;
            for (int64_t p = 0; p < N; p++) {
                const float *row = z + (p * GROUPS + group) * STRIDE;
                exact += (int64_t)row[r] * (int64_t)row[c];
                cross += (double)row[r] * (double)x[(p * GROUPS + group) * STRIDE + c];
            }
            assert_true(c < r || m.h[i] == (double)exact);
            assert_true(fabs(m.g[i] - cross) <= 1e-5 * 255 * 300 * N);
        }
        if (cpu == QN_CPU_REFERENCE) {
            first = m;
            continue;
        }
        assert_memory_equal(m.h, first.h, GROUPS * K * K * sizeof *m.h);
        assert_memory_equal(m.g, first.g, GROUPS * K * K * sizeof *m.g);
        assert_memory_equal(m.x, first.x, GROUPS * K * sizeof *m.x);
        qn_moments_free(&m);
    }
    qn_moments_free(&first);
    qn_free(z);
    qn_free(x);
}

/* A network with every kind of layer that has weights, data for it, and what passes need. */
typedef struct {
    qn_model *model;
    qn_calibration *calibration;
    qn_tensor x;
    qn_dataset *data;
    qn_ptq_settings settings;
    qn_error err;
} bed;

static void bed_make(bed *b)
{
    enum { ITEMS = 45 };
    memset(b, 0, sizeof *b);
    qn_error_init(&b->err);
    b->model = qn_alloc(sizeof *b->model);
    qn_graph *g = &b->model->graph;
    g->opset = 13;
    g->file = g->name = g->producer = "";
    qn_test_input(g, "x", DIMS(-1, 3, 9, 8));
    qn_test_floats(g, "w1", DIMS(6, 3, 3, 3), NULL);
    qn_test_floats(g, "b1", DIMS(6), NULL);
    NODE_WITH(g, "Conv", "x w1 b1", "c1", A_INTS("pads", 1, 1, 1, 1), A_INTS("strides", 2, 2));
    NODE(g, "Relu", "c1", "r1");
    qn_test_floats(g, "w2", DIMS(6, 1, 3, 3), NULL);
    NODE_WITH(g, "Conv", "r1 w2", "c2", A_INT("group", 6), A_INTS("pads", 1, 1, 1, 1));
    qn_test_floats(g, "w3", DIMS(6, 6, 1, 1), NULL);
    qn_test_floats(g, "b3", DIMS(6), NULL);
    NODE(g, "Conv", "r1 w3 b3", "c3");
    NODE(g, "Add", "c2 c3", "s");
    NODE(g, "Relu", "s", "r2");
    NODE(g, "Flatten", "r2", "f");
    qn_test_floats(g, "w4", DIMS(120, 7), NULL);
    NODE(g, "MatMul", "f w4", "m");
    NODE(g, "Relu", "m", "r3");
    qn_test_floats(g, "w5", DIMS(5, 7), NULL);
    qn_test_floats(g, "b5", DIMS(5), NULL);
    NODE_WITH(g, "Gemm", "r3 w5 b5", "y", A_INT("transB", 1));
    qn_test_output(g, "y");
    qn_assert_ok(qn_graph_tidy(g, &b->err), &b->err);
    qn_assert_ok(qn_tensor_alloc(&b->x, QN_DTYPE_F32, 4, (const int64_t[]){ITEMS, 3, 9, 8}, &b->err), &b->err);
    uint64_t seed = 99;
    for (int64_t i = 0; i < qn_tensor_count(&b->x); i++) {
        ((float *)b->x.data)[i] = qn_test_uniform(&seed, -1, 2);
    }
    qn_assert_ok(qn_dataset_of_tensor(&b->data, &b->x, NULL, &b->err), &b->err);
    qn_assert_ok(qn_calibrate(&b->calibration, b->model, b->data, NULL, &b->err), &b->err);
}

static void bed_free(bed *b)
{
    qn_model_free(b->model);
    qn_calibration_free(b->calibration);
    qn_dataset_close(b->data);
    qn_tensor_free(&b->x);
}

static const qn_ptq_round_options *current; /* what round_now does */

static qn_status round_now(qn_ptq *ptq, qn_error *err)
{
    return qn_ptq_round_weights(ptq, current, err);
}

/* Ranges, then rounding; the graph is a copy of the model's. */
static void round_copy(bed *b, qn_ptq *ptq, qn_graph *graph, int n_threads, int bits,
                       const qn_ptq_round_options *options)
{
    qn_assert_ok(qn_graph_clone(graph, &b->model->graph, &b->err), &b->err);
    b->settings = qn_test_ptq_settings(bits);
    *ptq = (qn_ptq){.graph = graph,
                    .calibration = b->calibration,
                    .data = b->data,
                    .n_threads = n_threads,
                    .settings = &b->settings};
    current = options;
    qn_assert_ok(qn_test_ptq_pass(ptq, qn_ptq_choose_ranges, &b->err), &b->err);
    qn_assert_ok(qn_test_ptq_pass(ptq, qn_ptq_choose_weights, &b->err), &b->err);
    qn_assert_ok(qn_test_ptq_pass(ptq, round_now, &b->err), &b->err);
}

static const qn_ptq_round_options everything = {
    .feed = true, .descend = true, .search = true, .target = true, .correct = true};

/* Mean over items and positions of a value, per channel: [n_channels]. */
static void means_of(const bed *b, const qn_graph *graph, bool quantized, const char *name, double *means, int64_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_model model;
    memset(&model, 0, sizeof model);
    qn_assert_ok(qn_graph_clone(&model.graph, graph, &err), &err);
    for (size_t v = 0; v < model.graph.n_values; v++) {
        const char *value =
            model.graph.values[v].name; /* what is compared, or only feeds a Relu, is not rounded itself */
        if (!quantized || strcmp(value, name) == 0 || strstr(" c1 s m ", value) != NULL) {
            model.graph.values[v].quantizer = NULL;
        }
    }
    model.graph.n_outputs = 0;
    qn_assert_ok(qn_graph_add_io(&model.graph, true, qn_graph_find(&model.graph, name), &err), &err);
    qn_assert_ok(qn_graph_tidy(&model.graph, &err), &err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
    options.batch = 1;
    qn_assert_ok(qn_program_create(&program, &model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    int64_t count = qn_program_output_count(program, 0), items = b->x.dims[0], inner_count = count / n;
    float *out = qn_alloc((size_t)count * sizeof *out);
    memset(means, 0, (size_t)n * sizeof *means);
    for (int64_t i = 0; i < items; i++) {
        const float *inputs[1] = {(const float *)b->x.data + i * 3 * 9 * 8};
        float *outputs[1] = {out};
        qn_assert_ok(qn_program_run(program, workspace, inputs, 1, outputs, &err), &err);
        for (int64_t j = 0; j < count; j++) {
            means[j / inner_count] += (double)out[j] / (double)(items * inner_count);
        }
    }
    qn_free(out);
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

static double mean_error(const bed *b, const qn_graph *graph, const char *name, int64_t n)
{
    double is[8], should[8], worst = 0;
    means_of(b, graph, true, name, is, n);
    means_of(b, &b->model->graph, false, name, should, n);
    for (int64_t c = 0; c < n; c++) {
        worst = fabs(is[c] - should[c]) > worst ? fabs(is[c] - should[c]) : worst;
    }
    return worst;
}

static void bias_correction_makes_the_mean_error_zero(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    const qn_ptq_round_options nearest = {0}, correct = {.correct = true};
    const qn_ptq_round_options *const methods[3] = {&nearest, &correct, &everything};
    for (int m = 0; m < 3; m++) {
        qn_ptq ptq;
        qn_graph graph;
        round_copy(&b, &ptq, &graph, 1, 4, methods[m]);
        double c1 = mean_error(&b, &graph, "c1", 6), c2 = mean_error(&b, &graph, "c2", 6);
        double c3 = mean_error(&b, &graph, "c3", 6), y = mean_error(&b, &graph, "y", 5);
        bool small = c1 < 1e-5 && c2 < 1e-5 && c3 < 1e-5 && y < 1e-4;
        assert_int_equal(small, methods[m]->correct);
        qn_arena_free(&ptq.scratch);
        qn_graph_free(&graph);
    }
    bed_free(&b);
}

/* The pass that corrects biases alone, after one that rounds: codes stay, means become right. */
static void bias_correction_can_follow_rounding(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    const qn_ptq_round_options feed = {.feed = true, .search = true};
    qn_ptq ptq;
    qn_graph graph;
    round_copy(&b, &ptq, &graph, 1, 3, &feed);
    qn_value_id w3 = qn_graph_find(&graph, "w3");
    float before[36];
    memcpy(before, graph.values[w3].constant->data, sizeof before);
    assert_true(mean_error(&b, &graph, "c3", 6) > 1e-4);
    qn_assert_ok(qn_ptq_run_pass(&ptq, qn_ptq_correct_bias, &b.err), &b.err);
    assert_memory_equal(graph.values[w3].constant->data, before, sizeof before);
    assert_true(mean_error(&b, &graph, "c3", 6) < 1e-5);
    assert_true(mean_error(&b, &graph, "y", 5) < 1e-4);
    qn_arena_free(&ptq.scratch);
    qn_graph_free(&graph);
    bed_free(&b);
}

/* Weights lie on their grids, and coding them later gives these codes and scales. */
static void pinned_weights_keep_codes_and_scales(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    for (int bits = 2; bits <= 8; bits++) {
        qn_ptq ptq;
        qn_graph graph;
        round_copy(&b, &ptq, &graph, 2, bits, &everything);
        const qn_ptq_pass_fn rest[] = {qn_ptq_fuse_activation, qn_ptq_quantize_joins, qn_ptq_settle_sums,
                                       qn_ptq_quantize_weights};
        qn_tensor on_grid = {0};
        const qn_tensor *w1 = graph.values[qn_graph_find(&graph, "w1")].constant;
        qn_assert_ok(qn_tensor_alloc(&on_grid, QN_DTYPE_F32, 4, w1->dims, &b.err), &b.err);
        memcpy(on_grid.data, w1->data, (size_t)qn_tensor_count(w1) * sizeof(float));
        for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
            qn_assert_ok(qn_ptq_run_pass(&ptq, rest[i], &b.err), &b.err);
        }
        for (const qn_ptq_pin *pin = ptq.pins; pin != NULL; pin = pin->next) {
            const qn_value *v = &graph.values[pin->weights];
            int32_t most = 0;
            assert_non_null(v->codes);
            assert_int_equal(v->quantizer->n, pin->n);
            assert_memory_equal(v->quantizer->scale, pin->scale, (size_t)pin->n * sizeof(float));
            for (int64_t i = 0; i < qn_tensor_count(v->codes); i++) {
                int32_t code = ((const int8_t *)v->codes->data)[i];
                most = abs(code) > most ? abs(code) : most;
            }
            assert_true(most <= (1 << (bits - 1)) - 1 && most > (bits > 2 ? 1 << (bits - 2) : 0));
        }
        const qn_value *coded = &graph.values[qn_graph_find(&graph, "w1")];
        assert_memory_equal(coded->constant->data, on_grid.data, (size_t)qn_tensor_count(w1) * sizeof(float));
        qn_tensor_free(&on_grid);
        qn_arena_free(&ptq.scratch);
        qn_graph_free(&graph);
    }
    bed_free(&b);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    for (int float_only = 0; float_only < 2; float_only++) {
        qn_ptq_round_options options = everything;
        options.float_only = float_only != 0;
        options.n_columns = 300; /* samples */
        qn_ptq ptq[2];
        qn_graph graphs[2];
        for (int i = 0; i < 2; i++) {
            round_copy(&b, &ptq[i], &graphs[i], i == 0 ? 1 : 3, 4, &options);
        }
        assert_int_equal(graphs[0].n_values, graphs[1].n_values);
        for (size_t v = 0; v < graphs[0].n_values; v++) {
            const qn_tensor *one = graphs[0].values[v].constant, *many = graphs[1].values[v].constant;
            if (one != NULL && one->dtype == QN_DTYPE_F32) {
                assert_memory_equal(one->data, many->data, (size_t)qn_tensor_count(one) * sizeof(float));
            }
        }
        for (int i = 0; i < 2; i++) {
            qn_arena_free(&ptq[i].scratch);
            qn_graph_free(&graphs[i]);
        }
    }
    bed_free(&b);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    const qn_ptq_settings settings = qn_test_ptq_settings(8);
    qn_ptq ptq = {.graph = &b.model->graph, .calibration = b.calibration, .settings = &settings};
    qn_assert_fails(qn_ptq_gptq(&ptq, &b.err), &b.err, QN_EINVAL, "data set");
    qn_arena_free(&ptq.scratch);
    bed_free(&b);
}

static void other_data_are_refused(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    qn_tensor x = {0};
    qn_dataset *data;
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, 4, (const int64_t[]){4, 3, 5, 5}, &b.err), &b.err);
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &b.err), &b.err);
    const qn_ptq_settings settings = qn_test_ptq_settings(8);
    qn_ptq ptq = {.graph = &b.model->graph, .calibration = b.calibration, .data = data, .settings = &settings};
    qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_weights, &b.err), &b.err);
    qn_assert_fails(qn_test_ptq_pass(&ptq, qn_ptq_gptq, &b.err), &b.err, QN_ESHAPE, "75 elements");
    qn_arena_free(&ptq.scratch);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    bed_free(&b);
}

static void running_out_of_memory_is_survived(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    b.x.dims[0] = 3; /* few, as this runs often */
    qn_dataset_close(b.data);
    qn_assert_ok(qn_dataset_of_tensor(&b.data, &b.x, NULL, &b.err), &b.err);
    qn_ptq_round_options options = everything;
    options.n_columns = 16;
    current = &options;
    qn_status status = QN_ENOMEM;
    for (int64_t countdown = 0; status != QN_OK; countdown += 1 + countdown / 20) {
        qn_graph graph;
        qn_assert_ok(qn_graph_clone(&graph, &b.model->graph, &b.err), &b.err);
        const qn_ptq_settings settings = qn_test_ptq_settings(8);
        qn_ptq ptq = {.graph = &graph, .calibration = b.calibration, .data = b.data, .settings = &settings};
        qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_ranges, &b.err), &b.err);
        qn_assert_ok(qn_test_ptq_pass(&ptq, qn_ptq_choose_weights, &b.err), &b.err);
        qn_alloc_fail_after(countdown);
        status = qn_test_ptq_pass(&ptq, round_now, &b.err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
        qn_error_init(&b.err);
        qn_arena_free(&ptq.scratch);
        qn_graph_free(&graph);
    }
    bed_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_times_weights_is_the_convolution),
        cmocka_unit_test(samples_are_different_positions_in_order),
        cmocka_unit_test(sums_are_exact_and_the_same_everywhere),
        cmocka_unit_test(bias_correction_makes_the_mean_error_zero),
        cmocka_unit_test(bias_correction_can_follow_rounding),
        cmocka_unit_test(pinned_weights_keep_codes_and_scales),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(other_data_are_refused),
        cmocka_unit_test(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
