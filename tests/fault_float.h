/* Networks for faults in the float and the simulate engine. */
#ifndef QN_TESTS_FAULT_FLOAT_H
#define QN_TESTS_FAULT_FLOAT_H

#include "graph_builder.h"

#include "engine/program.h"
#include "graph/model.h"
#include "quern/quern.h"

/* Residual blocks, Concat, BatchNormalization, grouped and plain convolutions, a product with bias. */
static void residual_graph(qn_graph *graph)
{
    qn_test_input(graph, "x", DIMS(-1, 3, 9, 9));
    qn_test_floats(graph, "w1", DIMS(10, 3, 3, 3), NULL);
    qn_test_floats(graph, "b1", DIMS(10), NULL);
    NODE_WITH(graph, "Conv", "x w1 b1", "c1", A_INTS("pads", 1, 1, 1, 1));
    static const float positive[10] = {1, .5f, .8f, 1.5f, 2, .7f, .9f, 1.1f, 1.3f, .6f};
    qn_test_floats(graph, "gamma", DIMS(10), NULL);
    qn_test_floats(graph, "beta", DIMS(10), NULL);
    qn_test_floats(graph, "mean", DIMS(10), NULL);
    qn_test_floats(graph, "variance", DIMS(10), positive);
    NODE(graph, "BatchNormalization", "c1 gamma beta mean variance", "n1");
    NODE(graph, "Relu", "n1", "r1");
    qn_test_floats(graph, "w2", DIMS(10, 5, 3, 3), NULL);
    NODE_WITH(graph, "Conv", "r1 w2", "c2", A_INTS("pads", 1, 1, 1, 1), A_INT("group", 2));
    NODE(graph, "Add", "c2 r1", "sum");
    NODE(graph, "Relu", "sum", "r2");
    NODE_WITH(graph, "Concat", "r2 c1", "cat", A_INT("axis", 1));
    NODE_WITH(graph, "MaxPool", "cat", "pool", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    NODE_WITH(graph, "Flatten", "pool", "flat", A_INT("axis", 1));
    qn_test_floats(graph, "w3", DIMS(7, 320), NULL);
    qn_test_floats(graph, "b3", DIMS(7), NULL);
    NODE_WITH(graph, "Gemm", "flat w3 b3", "y", A_INT("transB", 1));
    qn_test_output(graph, "y");
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_verify(graph, &err), &err);
}

static qn_program *make_program(const qn_model *model, qn_engine engine, int64_t batch)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.batch = batch;
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    return program;
}

#endif
