/* The opaque qn_model of quern/model.h. */
#ifndef QN_GRAPH_MODEL_H
#define QN_GRAPH_MODEL_H

#include "graph/graph.h"
#include "quern/model.h"

struct qn_model {
    qn_graph graph;
};

#endif
