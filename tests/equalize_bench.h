/* What tests of equalization share: uneven layers, and the float network before and after. */
#ifndef QN_TESTS_EQUALIZE_BENCH_H
#define QN_TESTS_EQUALIZE_BENCH_H

#include "support.h"

#include <math.h>
#include <string.h>

#include "engine/program.h"
#include "graph/model.h"
#include "graph_builder.h"
#include "ptq/ptq.h"

static inline qn_model new_model(void)
{
    return (qn_model){.graph = {.opset = 13, .file = "test.onnx"}};
}

/* Weights whose output channel o is 3.7^(o % 5 - 2) as large as noise. */
static inline void uneven(qn_graph *graph, const char *name, int rank, const int64_t *dims, bool transposed)
{
    qn_value_id id = qn_test_floats(graph, name, rank, dims, NULL);
    const qn_tensor *t = graph->values[id].constant;
    qn_error err;
    qn_error_init(&err);
    qn_tensor copy;
    qn_assert_ok(qn_tensor_alloc(&copy, QN_DTYPE_F32, rank, dims, &err), &err);
    int64_t inner = 1;
    for (int d = 1; d < rank; d++) {
        inner *= dims[d];
    }
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        int64_t o = transposed ? i % dims[1] : i / inner;
        ((float *)copy.data)[i] = ((const float *)t->data)[i] * powf(3.7f, (float)(o % 5) - 2);
    }
    qn_assert_ok(qn_graph_set_constant(graph, id, &copy, &err), &err);
    qn_tensor_free(&copy);
}

enum { ITEMS = 3 };

/* The float engine's outputs for reproducible noise. */
static inline float *outputs_of(const qn_model *model, int64_t *count)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &err), &err);
    options.batch = 1;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    int64_t n_in = qn_program_input_count(program, 0), n_out = qn_program_output_count(program, 0);
    float *x = qn_alloc((size_t)n_in * sizeof *x), *y = qn_alloc((size_t)(ITEMS * n_out) * sizeof *y);
    uint64_t state = 7;
    for (int item = 0; item < ITEMS; item++) {
        for (int64_t i = 0; i < n_in; i++) {
            x[i] = qn_test_uniform(&state, -1, 2);
        }
        float *out = y + item * n_out;
        qn_assert_ok(qn_program_run(program, workspace, (const float *const *)&x, 1, &out, &err), &err);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_free(x);
    *count = ITEMS * n_out;
    return y;
}

static const qn_ptq_equalize_options *chosen;
static inline qn_status run_chosen(qn_ptq *ptq, qn_error *err)
{
    return qn_ptq_equalize_with(ptq, chosen, err);
}

/* Run `options` on a copy; the number of values it changed. */
static inline int equalized(qn_model *copy, const qn_model *model, const qn_ptq_equalize_options *options,
                            const qn_calibration *calibration)
{
    qn_error err;
    qn_error_init(&err);
    *copy = (qn_model){0};
    qn_assert_ok(qn_graph_clone(&copy->graph, &model->graph, &err), &err);
    qn_ptq ptq = {.graph = &copy->graph, .calibration = calibration};
    chosen = options;
    qn_assert_ok(qn_ptq_run_pass(&ptq, run_chosen, &err), &err);
    qn_assert_ok(qn_graph_verify(&copy->graph, &err), &err);
    int n = 0;
    for (size_t id = 0; id < copy->graph.n_values; id++) {
        n += qn_ptq_is_stale(&ptq, (qn_value_id)id);
    }
    assert_int_equal(n > 0, qn_ptq_is_stale(&ptq, QN_NO_VALUE));
    qn_arena_free(&ptq.scratch);
    return n;
}

static inline void expect_same(const qn_model *model, const qn_model *copy, double tolerance)
{
    int64_t n, m;
    float *before = outputs_of(model, &n), *after = outputs_of(copy, &m);
    assert_int_equal(n, m);
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fabs((double)before[i]) > most ? fabs((double)before[i]) : most;
    }
    assert_true(most > 0);
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs((double)before[i] - (double)after[i]) <= tolerance * most)) {
            fail_msg("output %lld was %.9g, is %.9g", (long long)i, (double)before[i], (double)after[i]);
        }
    }
    if (tolerance == 0) {
        assert_memory_equal(before, after, (size_t)n * sizeof *before);
    }
    qn_free(before);
    qn_free(after);
}

#endif
