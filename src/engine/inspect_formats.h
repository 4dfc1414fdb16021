/* How a file holds the quantizers around a node; for inspection. */
#ifndef QN_ENGINE_INSPECT_FORMATS_H
#define QN_ENGINE_INSPECT_FORMATS_H

#include "graph/graph.h"

/* Is the first output, or the constant that is the second input, coded by a node of domain org.quern? */
bool qn_node_is_org_quern(const qn_graph *graph, const qn_node *node);

#endif
