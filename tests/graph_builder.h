/* Small graphs for tests, built in a line per node. Every call fails the test when something is wrong. */
#ifndef QN_TESTS_GRAPH_BUILDER_H
#define QN_TESTS_GRAPH_BUILDER_H

#include "support.h"

#include "graph/bind.h"
#include "graph/graph.h"

/* A float32 graph input; a leading -1 is dynamic. */
qn_value_id qn_test_input(qn_graph *graph, const char *name, int rank, const int64_t *dims);
/* Constants. `values` NULL gives reproducible noise in -1..1. */
qn_value_id qn_test_floats(qn_graph *graph, const char *name, int rank, const int64_t *dims, const float *values);
qn_value_id qn_test_ints(qn_graph *graph, const char *name, int n, const int64_t *values);
/* A node of whatever domain has the type, over values by name, separated by spaces, "-" for an absent one; outputs are made. Returns the first output. */
qn_value_id qn_test_node(qn_graph *graph, const char *type, const char *inputs, const char *outputs, int n_attributes,
                         const qn_attribute *attributes);
void qn_test_output(qn_graph *graph, const char *name);
/* The bound shape of a value. */
void qn_test_expect_shape(const qn_binding *binding, const char *name, int rank, const int64_t *dims);

#define DIMS(...)                                                                                                      \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                                       \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define NODE(graph, type, inputs, outputs) qn_test_node(graph, type, inputs, outputs, 0, NULL)
#define NODE_WITH(graph, type, inputs, outputs, ...)                                                                   \
    qn_test_node(graph, type, inputs, outputs, (int)(sizeof((qn_attribute[]){__VA_ARGS__}) / sizeof(qn_attribute)),    \
                 (const qn_attribute[]){__VA_ARGS__})
#define A_INT(name_, value)                                                                                            \
    {                                                                                                                  \
        .name = name_, .type = QN_ATTRIBUTE_INT, .i = value                                                            \
    }
#define A_FLOAT(name_, value)                                                                                          \
    {                                                                                                                  \
        .name = name_, .type = QN_ATTRIBUTE_FLOAT, .f = value                                                          \
    }
#define A_STRING(name_, value)                                                                                         \
    {                                                                                                                  \
        .name = name_, .type = QN_ATTRIBUTE_STRING, .s = value                                                         \
    }
#define A_INTS(name_, ...)                                                                                             \
    {                                                                                                                  \
        .name = name_, .type = QN_ATTRIBUTE_INTS, .ints = (const int64_t[]){__VA_ARGS__},                              \
        .n = (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))                                             \
    }

#endif
