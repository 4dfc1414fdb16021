/* Reading a node's attributes, and naming a node in messages. */
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

const qn_attribute *qn_node_attribute(const qn_node *node, const char *name)
{
    for (int i = 0; i < node->n_attributes; i++) {
        if (strcmp(node->attributes[i].name, name) == 0) {
            return &node->attributes[i];
        }
    }
    return NULL;
}

static const qn_attribute *typed(const qn_node *node, const char *name, qn_attribute_type type)
{
    const qn_attribute *attribute = qn_node_attribute(node, name);
    return attribute != NULL && attribute->type == type ? attribute : NULL;
}

int64_t qn_node_int(const qn_node *node, const char *name, int64_t fallback)
{
    const qn_attribute *attribute = typed(node, name, QN_ATTRIBUTE_INT);
    return attribute != NULL ? attribute->i : fallback;
}

float qn_node_float(const qn_node *node, const char *name, float fallback)
{
    const qn_attribute *attribute = typed(node, name, QN_ATTRIBUTE_FLOAT);
    return attribute != NULL ? attribute->f : fallback;
}

const char *qn_node_string(const qn_node *node, const char *name, const char *fallback)
{
    const qn_attribute *attribute = typed(node, name, QN_ATTRIBUTE_STRING);
    return attribute != NULL ? attribute->s : fallback;
}

int64_t qn_node_ints(const qn_node *node, const char *name, const int64_t **ints)
{
    const qn_attribute *attribute = typed(node, name, QN_ATTRIBUTE_INTS);
    if (attribute == NULL) {
        return 0;
    }
    *ints = attribute->ints;
    return attribute->n;
}

const char *qn_node_where(char buffer[QN_NODE_WHERE_MAX], const qn_graph *graph, const qn_node *node)
{
    /* A copy of a node, not yet in the graph, has no index. */
    uintptr_t first = (uintptr_t)graph->nodes, at = (uintptr_t)node;
    bool inside = at >= first && at < first + graph->n_nodes * sizeof *node;
    if (inside) {
        snprintf(buffer, QN_NODE_WHERE_MAX, "node %td %s '%s'", node - graph->nodes, node->op_type, node->name);
    } else {
        snprintf(buffer, QN_NODE_WHERE_MAX, "node %s '%s'", node->op_type, node->name);
    }
    return buffer;
}
