/* Simulation: every format in every place, against qn_fit and qn_fake_quantize of each item alone. */
#include "simulate_places.h"

/* The value as float computes it, quantized item by item with public calls, against the engine at three batch sizes. */
static void check_place(const place *p, qn_format format, int axis, int64_t group, const float *x, const float *v)
{
    qn_model model = place_model(p);
    set_dynamic(&model.graph, "v", format, axis, group);
    int64_t dims[4], count = 1;
    memcpy(dims, p->dims, sizeof dims);
    dims[0] = 1;
    for (int i = 1; i < p->rank; i++) {
        count *= dims[i];
    }
    float *wanted = qn_alloc((size_t)(N_ITEMS * count) * sizeof *wanted);
    for (int64_t i = 0; i < N_ITEMS; i++) {
        expect_item(wanted + i * count, v + i * count, format, axis, group, p->rank, dims);
    }
    static const int64_t batches[] = {1, 3, N_ITEMS};
    for (int i = 0; i < 3; i++) {
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batches[i], x, N_ITEMS, &out);
        assert_int_equal(out, count);
        compare(y, wanted, N_ITEMS * count, format, axis, group, p->what);
        qn_free(y);
    }
    qn_free(wanted);
    qn_graph_free(&model.graph);
}

static void every_format_in_every_place(void **state)
{
    (void)state;
    qn_format formats[MAX_CASES];
    int n_formats = all_formats(formats);
    assert_true(n_formats > 60);
    for (int i = 0; i < N_PLACES; i++) {
        const place *p = &places[i];
        int64_t n_in, out;
        float *x = place_input(p, &n_in);
        qn_model plain = place_model(p);
        float *v = run_model(&plain, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
        qn_graph_free(&plain.graph);
        for (int f = 0; f < n_formats; f++) {
            const int64_t block = formats[f].block;
            for (int axis = -1; axis < p->rank; axis++) {
                if (block > 0) {
                    check_place(p, formats[f], axis, block, x, v);
                    continue;
                }
                check_place(p, formats[f], axis, 0, x, v);
                check_place(p, formats[f], axis, 3, x, v);
            }
        }
        qn_free(x);
        qn_free(v);
    }
}

/* Parameters that are kept are those of one item, here of item 0, and serve all items. */
static void check_kept(const place *p, qn_format format, int axis, int64_t group, const float *x, const float *v)
{
    qn_error err;
    qn_error_init(&err);
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = axis;
    fit.group = group;
    int64_t count = 1;
    qn_tensor item = {.dtype = QN_DTYPE_F32, .rank = p->rank, .data = (void *)(uintptr_t)v}, faked;
    for (int i = 0; i < p->rank; i++) {
        item.dims[i] = i == 0 ? 1 : p->dims[i];
        count *= item.dims[i];
    }
    qn_quantizer *q;
    qn_assert_ok(qn_fit(&q, &item, format, &fit, &err), &err);
    float *wanted = qn_alloc((size_t)(N_ITEMS * count) * sizeof *wanted);
    for (int64_t i = 0; i < N_ITEMS; i++) {
        item.data = (void *)(uintptr_t)(v + i * count);
        qn_assert_ok(qn_fake_quantize(&faked, &item, q, NULL, &err), &err);
        memcpy(wanted + i * count, faked.data, (size_t)count * sizeof *wanted);
        qn_tensor_free(&faked);
    }
    qn_model model = place_model(p);
    qn_assert_ok(qn_graph_set_quantizer(&model.graph, qn_graph_find(&model.graph, "v"), q, &err), &err);
    for (int64_t batch = 1; batch <= N_ITEMS; batch += 3) {
        int64_t out;
        float *y = run_model(&model, QN_ENGINE_SIMULATE, batch, x, N_ITEMS, &out);
        compare(y, wanted, N_ITEMS * count, format, axis, group, p->what);
        qn_free(y);
    }
    qn_quantizer_free(q);
    qn_free(wanted);
    qn_graph_free(&model.graph);
}

static void kept_parameters_serve_every_item(void **state)
{
    (void)state;
    static const char *const names[] = {"int8",     "uint8",         "adaptivfloat<8,3>",
                                        "bfp<8,3>", "mx<fp8e4m3,4>", "posit<8,1>",
                                        "binary",   "pipeedge<8>",   "bfp<4,16>:stochastic"};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        qn_error err;
        qn_error_init(&err);
        qn_format format;
        qn_assert_ok(qn_format_parse(&format, names[f], &err), &err);
        for (int i = 1; i < N_PLACES; i++) {
            const place *p = &places[i];
            int64_t n_in, out;
            float *x = place_input(p, &n_in);
            for (int64_t k = 0; k < N_ITEMS * n_in; k++) {
                x[k] = isfinite(x[k]) ? x[k] : 1;
            }
            qn_model plain = place_model(p);
            float *v = run_model(&plain, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
            qn_graph_free(&plain.graph);
            for (int axis = format.block > 0 ? 1 : -1; axis < p->rank; axis++) {
                check_kept(p, format, axis, format.block, x, v);
                if (format.block == 0) {
                    check_kept(p, format, axis, 5, x, v);
                }
            }
            qn_free(x);
            qn_free(v);
        }
    }
}

/* Behind the last channel of blocked layouts, which some instruction sets lead to, there are zeros. */
static void check_padding(const qn_model *model, const float *x)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
    options.batch = 1;
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    float *y = qn_alloc((size_t)qn_program_output_count(program, 0) * sizeof *y);
    qn_assert_ok(qn_program_run(program, workspace, &x, 1, &y, &err), &err);
    qn_value_view view;
    assert_true(qn_program_view(program, workspace, qn_graph_find(&model->graph, "v"), 1, &view));
    const int64_t stored = (view.channels + view.block - 1) / view.block * view.block;
    for (int64_t c = view.channels; c < stored; c++) {
        for (int64_t i = 0; i < view.inner; i++) {
            float padding = view.data[c / view.block * view.stride_block + i * view.stride_inner + c % view.block];
            assert_float_equal(padding, 0, 0);
        }
    }
    qn_free(y);
    qn_workspace_free(workspace);
    qn_program_free(program);
}

/* x [N, 16, 4, 4] -> 3x3 Conv to 20 channels, as binary codes, which have no zero -> 1x1 Conv. The second sums 20 channels,
 * whatever fills the blocks of the first. All numbers are small integers or halves. */
static void padding_takes_no_part(void **state)
{
    (void)state;
    enum { MIDDLE = 20, PLACES = 16 };
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        qn_model model = new_model();
        qn_graph *g = &model.graph;
        qn_error err;
        qn_error_init(&err);
        float w[MIDDLE * 16 * 9], u[32 * MIDDLE], x[N_ITEMS * 16 * PLACES];
        uint64_t seed = 3;
        for (size_t i = 0; i < sizeof w / sizeof w[0]; i++) {
            w[i] = rintf(qn_test_uniform(&seed, -3, 3));
        }
        for (size_t i = 0; i < sizeof u / sizeof u[0]; i++) {
            u[i] = rintf(qn_test_uniform(&seed, -3, 3));
        }
        for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
            x[i] = rintf(qn_test_uniform(&seed, -5, 5));
        }
        qn_test_input(g, "x", DIMS(-1, 16, 4, 4));
        qn_test_floats(g, "w", DIMS(MIDDLE, 16, 3, 3), w);
        qn_test_floats(g, "u", DIMS(32, MIDDLE, 1, 1), u);
        NODE_WITH(g, "Conv", "x w", "v", A_INTS("pads", 1, 1, 1, 1));
        qn_test_output(g, "v");
        int64_t out;
        float *v = run_model(&model, QN_ENGINE_FLOAT, N_ITEMS, x, N_ITEMS, &out);
        g->n_outputs = 0;
        NODE(g, "Conv", "v u", "y");
        qn_test_output(g, "y");
        const float scale = 0.5f;
        const qn_quantizer q = {
            .format = {.kind = QN_FORMAT_BINARY, .bits = 1, .is_signed = true}, .axis = -1, .n = 1, .scale = &scale};
        float scales[N_ITEMS];
        if (dynamic) {
            set_dynamic(g, "v", q.format, -1, 0);
        } else {
            qn_assert_ok(qn_graph_set_quantizer(g, qn_graph_find(g, "v"), &q, &err), &err);
        }
        for (int64_t n = 0; n < N_ITEMS; n++) {
            double sum = 0;
            for (int64_t i = 0; i < MIDDLE * PLACES; i++) {
                sum += fabs((double)v[n * MIDDLE * PLACES + i]);
            }
            scales[n] = dynamic ? (float)(sum / (MIDDLE * PLACES)) : scale;
        }
        check_padding(&model, x);
        float *y = run_model(&model, QN_ENGINE_SIMULATE, 3, x, N_ITEMS, &out);
        for (int64_t i = 0; i < N_ITEMS * 32 * PLACES; i++) {
            int64_t n = i / (32 * PLACES), k = i / PLACES % 32, at = i % PLACES;
            double sum = 0;
            for (int64_t c = 0; c < MIDDLE; c++) {
                sum += (v[(n * MIDDLE + c) * PLACES + at] < 0 ? -1 : 1) * (double)u[k * MIDDLE + c];
            }
            assert_float_equal(y[i], sum * (double)scales[n], dynamic ? 1e-4 * (double)scales[n] : 0);
        }
        qn_free(y);
        qn_free(v);
        qn_graph_free(g);
    }
}

static void a_run_allocates_nothing(void **state)
{
    (void)state;
    qn_format formats[MAX_CASES];
    int n_formats = all_formats(formats);
    const place *p = &places[N_PLACES - 1];
    int64_t n_in;
    float *x = place_input(p, &n_in);
    for (int i = 0; i < n_formats; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = place_model(p);
        set_dynamic(&model.graph, "v", formats[i], 1, formats[i].block);
        qn_program_options options;
        qn_program *program;
        qn_workspace *workspace;
        qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_SIMULATE, &err), &err);
        options.batch = N_ITEMS;
        qn_assert_ok(qn_program_create(&program, &model, &options, &err), &err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
        float *y = qn_alloc((size_t)(N_ITEMS * qn_program_output_count(program, 0)) * sizeof *y);
        const float *inputs[] = {x};
        float *outputs[] = {y};
        uint64_t before = qn_alloc_count();
        qn_assert_ok(qn_program_run(program, workspace, inputs, N_ITEMS, outputs, &err), &err);
        assert_int_equal(qn_alloc_count(), before);
        qn_free(y);
        qn_workspace_free(workspace);
        qn_program_free(program);
        qn_graph_free(&model.graph);
    }
    qn_free(x);
}

static void threads_and_batches_change_nothing(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_model model = place_model(&places[N_PLACES - 1]);
    qn_graph *g = &model.graph;
    qn_format format;
    qn_assert_ok(qn_format_parse(&format, "bfp<6,8>", &err), &err);
    set_dynamic(g, "x", format, 1, 8);
    set_dynamic(g, "v", (qn_format){.bits = 5, .is_signed = true}, -1, 0);
    int64_t n_in;
    float *x = place_input(&places[N_PLACES - 1], &n_in);
    qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {N_ITEMS, 16, 4, 3}, .data = x}, first = {0};
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &tensor, NULL, &err), &err);
    for (int i = 0; i < 9; i++) {
        qn_evaluate_options options;
        qn_evaluation result;
        qn_tensor logits;
        qn_assert_ok(qn_evaluate_options_init(&options, &model, &err), &err);
        assert_int_equal(options.engine, QN_ENGINE_SIMULATE); /* no integers here */
        options.batch = (const int64_t[]){1, 3, 8}[i % 3];
        options.n_threads = 1 + i / 3;
        qn_assert_ok(qn_evaluate(&result, &model, data, &options, &logits, &err), &err);
        if (i == 0) {
            first = logits;
            continue;
        }
        assert_memory_equal(logits.data, first.data, (size_t)qn_tensor_count(&first) * sizeof(float));
        qn_tensor_free(&logits);
    }
    qn_tensor_free(&first);
    qn_dataset_close(data);
    qn_free(x);
    qn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_in_every_place),
        cmocka_unit_test(kept_parameters_serve_every_item),
        cmocka_unit_test(padding_takes_no_part),
        cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(threads_and_batches_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
