/* The graph room: a float network whose values may carry quantizers.
 *
 * Invariants (qn_graph_verify): nodes are in topological order; every value has at most one producer; names of values
 * are unique and not empty; a value is a graph input, or has a producer, or is constant, never two of these.
 * Ownership: the graph's arena owns names, attributes, constants and quantizers; nothing in it is freed singly.
 * Threads: a graph that nobody changes may be read by many threads. */
#ifndef QN_GRAPH_GRAPH_H
#define QN_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "format/quantizer.h"
#include "graph/ops.h"
#include "quern/tensor.h"

typedef int32_t qn_value_id; /* index into graph->values; QN_NO_VALUE for an absent optional input or output */
#define QN_NO_VALUE ((qn_value_id)-1)

typedef enum qn_attribute_type {
    QN_ATTRIBUTE_INT,
    QN_ATTRIBUTE_FLOAT,
    QN_ATTRIBUTE_STRING,
    QN_ATTRIBUTE_INTS,
    QN_ATTRIBUTE_FLOATS,
    QN_ATTRIBUTE_STRINGS,
    QN_ATTRIBUTE_TENSOR,
} qn_attribute_type;

typedef struct qn_attribute {
    const char *name;
    qn_attribute_type type;
    int64_t i;
    float f;
    const char *s; /* 0-terminated; embedded zeros are refused on import */
    const int64_t *ints;
    const float *floats;
    const char *const *strings;
    int64_t n; /* of ints, floats or strings */
    const qn_tensor *tensor;
} qn_attribute;

typedef struct qn_node {
    const char *name;    /* never NULL; "" when the file gives none */
    const char *op_type; /* as in the file */
    const char *domain;  /* "" for the default domain */
    qn_op op;            /* QN_OP_UNKNOWN when quern has no such operator */
    int n_inputs, n_outputs, n_attributes;
    qn_value_id *inputs, *outputs;
    qn_attribute *attributes;
} qn_node;

/* A value: graph input, node output or constant.
 *  dtype, rank, dims  as declared by the file, for messages and export; rank -1 when the file says nothing; a dimension
 *                     of -1 is dynamic. What an engine needs comes from qn_graph_bind.
 *  constant           the tensor of an initializer or Constant; for a quantized constant its decoded float values
 *  quantizer          how the value is coded; NULL for plain float values
 *  codes              of a quantized constant: its codes; NULL otherwise
 *  stored_type        the ONNX data type for which there is no dtype (int4, float8); else 0. Of a constant, whose elements
 *                     are the bytes of `constant`: on the way from and to a file, and where nodes quantize with it while
 *                     they run. Of an input or output of the graph: what the file declares, carried as `dtype` */
typedef struct qn_value {
    const char *name;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    const char *dim_names[QN_MAX_RANK]; /* name of a dynamic dimension, may be NULL */
    const qn_tensor *constant;
    const qn_quantizer *quantizer;
    const qn_tensor *codes;
    int32_t stored_type;
    int32_t producer; /* node index, -1 if none */
} qn_value;

typedef struct qn_metadata {
    const char *key, *value;
} qn_metadata;

typedef struct qn_name_index qn_name_index;

typedef struct qn_graph {
    qn_arena arena;
    const char *name;
    const char *file;     /* path it was read from, "" if none; for messages */
    const char *producer; /* producer_name of the file, "" if none */
    int64_t opset;        /* of the default domain */
    int64_t ir_version;
    char sha256[65]; /* of the file and its external data (quern/inspect.h), "" if none */
    qn_node *nodes;
    size_t n_nodes, nodes_capacity;
    qn_value *values;
    size_t n_values, values_capacity;
    qn_value_id *inputs; /* without initializers */
    qn_value_id *outputs;
    size_t n_inputs, inputs_capacity, n_outputs, outputs_capacity;
    qn_metadata *metadata;
    size_t n_metadata, metadata_capacity;
    qn_name_index *index;
} qn_graph;

/* Building. A graph starts as {0}; qn_graph_free releases everything. Strings and arrays are copied into the arena. */
void qn_graph_free(qn_graph *graph);
qn_status qn_graph_add_value(qn_graph *graph, const char *name, qn_value_id *id,
                             qn_error *err);                        /* QN_EFORMAT: name taken */
qn_value_id qn_graph_find(const qn_graph *graph, const char *name); /* QN_NO_VALUE if absent */
/* A name not yet used: `stem`, or `stem` + "_2", ... Owned by the arena; NULL when out of memory. */
const char *qn_graph_unique_name(qn_graph *graph, const char *stem);
qn_status qn_graph_rename(qn_graph *graph, qn_value_id id, const char *name, qn_error *err);
/* Append a node: `proto`'s arrays are copied; sets its outputs' producer. */
qn_status qn_graph_add_node(qn_graph *graph, const qn_node *proto, qn_error *err);
qn_status qn_graph_add_io(qn_graph *graph, bool is_output, qn_value_id id, qn_error *err);
qn_status qn_graph_set_metadata(qn_graph *graph, const char *key, const char *value, qn_error *err);
const char *qn_graph_get_metadata(const qn_graph *graph, const char *key); /* NULL if absent */
/* Make value `id` a constant holding a copy of `t`, or mark it as coded. Copies go to the arena. */
qn_status qn_graph_set_constant(qn_graph *graph, qn_value_id id, const qn_tensor *t, qn_error *err);
/* The same without a copy of the elements, which must stay as they are while the graph lives. */
qn_status qn_graph_share_constant(qn_graph *graph, qn_value_id id, const qn_tensor *t, qn_error *err);
qn_status qn_graph_set_quantizer(qn_graph *graph, qn_value_id id, const qn_quantizer *q, qn_error *err);
qn_status qn_graph_set_codes(qn_graph *graph, qn_value_id id, const qn_tensor *codes, qn_error *err);
/* A deep copy in an arena of its own. */
qn_status qn_graph_clone(qn_graph *copy, const qn_graph *graph, qn_error *err);

/* Changing. Passes edit nodes in place, mark dead ones with op QN_OP_REMOVED, and call qn_graph_tidy at the end. */
/* Let every consumer and graph output that reads `from` read `to` instead. */
void qn_graph_replace_uses(qn_graph *graph, qn_value_id from, qn_value_id to);
/* A value that binding computes from constants becomes one itself, with a copy of `known`: what reads it can then be given another. Its
 * node makes a new value instead, which nobody reads. */
qn_status qn_graph_settle(qn_graph *graph, qn_value_id id, const qn_tensor *known, qn_error *err);
/* Per value: how often nodes read it, plus 1 per graph output. Released with qn_free; NULL when out of memory. */
int32_t *qn_graph_count_uses(const qn_graph *graph);
bool qn_graph_is_output(const qn_graph *graph, qn_value_id id);
/* Drop removed nodes and nodes nobody reads, sort topologically (stable), recompute producers.
 * QN_EFORMAT naming the nodes of a cycle. */
qn_status qn_graph_tidy(qn_graph *graph, qn_error *err);
/* Check the invariants; QN_EFORMAT with the offending node or value. */
qn_status qn_graph_verify(const qn_graph *graph, qn_error *err);

/* Attributes. The getters return `fallback` when absent; _require_ fails with QN_EFORMAT when absent or of another
 * type. */
const qn_attribute *qn_node_attribute(const qn_node *node, const char *name);
int64_t qn_node_int(const qn_node *node, const char *name, int64_t fallback);
float qn_node_float(const qn_node *node, const char *name, float fallback);
const char *qn_node_string(const qn_node *node, const char *name, const char *fallback);
/* The list's length, 0 when absent; *ints points into the graph. */
int64_t qn_node_ints(const qn_node *node, const char *name, const int64_t **ints);

/* "node 12 Conv 'layer1.conv1'" into buffer; returns it. For `where` of errors. */
enum { QN_NODE_WHERE_MAX = 256 };
const char *qn_node_where(char buffer[QN_NODE_WHERE_MAX], const qn_graph *graph, const qn_node *node);

#endif
