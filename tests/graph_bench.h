/* One node on a bench: a graph over input x whose value y is bound and its shape checked. */
#ifndef QN_TESTS_GRAPH_BENCH_H
#define QN_TESTS_GRAPH_BENCH_H

#include "graph_builder.h"

typedef struct bench {
    qn_graph graph;
    qn_binding binding;
    qn_error err;
} bench;

static inline void start(bench *b, int64_t opset, int rank, const int64_t *dims)
{
    *b = (bench){.graph = {.opset = opset}};
    qn_error_init(&b->err);
    qn_test_input(&b->graph, "x", rank, dims);
}

static inline qn_status bind_y(bench *b, int64_t batch)
{
    qn_test_output(&b->graph, "y");
    return qn_graph_bind(&b->binding, &b->graph, batch, &b->err);
}

static inline void expect(bench *b, int rank, const int64_t *dims)
{
    qn_assert_ok(bind_y(b, 1), &b->err);
    qn_test_expect_shape(&b->binding, "y", rank, dims);
    qn_binding_free(&b->binding);
    qn_graph_free(&b->graph);
}

static inline void refuse(bench *b, qn_status status, const char *fragment)
{
    qn_assert_fails(bind_y(b, 1), &b->err, status, fragment);
    assert_null(b->binding.values);
    qn_graph_free(&b->graph);
}

#endif
