/* Networks built by a test and run by every instruction set, at once and item by item. */
#ifndef QN_TESTS_RUN_NETWORK_H
#define QN_TESTS_RUN_NETWORK_H

#include "graph_builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/model.h"
#include "quern/quern.h"

typedef struct {
    qn_model model;
    qn_error err;
} net;

static inline qn_graph *start(net *t)
{
    memset(t, 0, sizeof *t);
    qn_error_init(&t->err);
    t->model.graph.opset = 13;
    t->model.graph.file = "net.onnx";
    return &t->model.graph;
}

/* All items at once, or one after another; by every instruction set: in the integer engine always the same bytes. y: from the
 * last. */
static inline void run(net *t, qn_engine engine, const float *x, int64_t n_x, int64_t items, float *y, int64_t n_y)
{
    float *first = malloc((size_t)(items * n_y) * sizeof *first);
    bool compares = false;
    for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
        for (int64_t batch = 1; batch <= items; batch += items > 1 ? items - 1 : 1) {
            qn_program_options options;
            qn_program *program = NULL;
            qn_workspace *workspace = NULL;
            qn_assert_ok(qn_program_options_init(&options, engine, &t->err), &t->err);
            options.cpu = cpu;
            options.batch = batch;
            qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
            qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
            for (int64_t i = 0; i < items; i += batch) {
                const float *input = x + i * n_x;
                float *output = y + i * n_y;
                qn_assert_ok(qn_program_run(program, workspace, &input, batch, &output, &t->err), &t->err);
            }
            for (int64_t i = 0; compares && i < items * n_y;
                 i++) { /* oneDNN may add in another order for another batch */
                const float apart = engine == QN_ENGINE_FLOAT ? 1e-5f * (1 + fabsf(first[i])) : 0;
                assert_true(memcmp(&y[i], &first[i], sizeof *y) == 0 || fabsf(y[i] - first[i]) <= apart);
            }
            memcpy(first, y, (size_t)(items * n_y) * sizeof *y);
            compares = true;
            qn_workspace_free(workspace);
            qn_program_free(program);
        }
    }
    free(first);
}

static inline void fill(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        x[i] = qn_test_uniform(&seed, -2, 2);
    }
}

#endif
