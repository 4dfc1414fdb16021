/* If, Loop and Scan, taken apart before nodes are read (doc/spec/onnx.md 5): what comes of a graph that has some is one
 * without, in other messages that share what they can with the file's. Inside the onnx room only.
 *
 * Names of a subgraph are its own. Each time that one is written out its values get names that nothing else has, and
 * `names` holds all that there are; a scope says which of them a subgraph's name means there. */
#ifndef QN_ONNX_CONTROL_FLOW_H
#define QN_ONNX_CONTROL_FLOW_H

#include "graph/graph.h"
#include "onnx/onnx.h"

/* Nodes and turns of loops that come of one file; ancestors that are looked at to know values ahead; inputs, constants,
 * nodes and outputs of all subgraphs, as often as they are written out. */
enum { QN_CONTROL_MOST = 1 << 16, QN_CONTROL_LOOKS = 1 << 21, QN_CONTROL_NAMES = 1 << 20 };

/* Does the graph have a node that is to be taken apart? */
bool qn_control_flow_has(const Onnx__GraphProto *graph);
/* `expanded` is in the arena, as are the messages that it has not from `graph`. Errors: QN_EUNSUPPORTED naming the node,
 * and why it cannot be taken apart; QN_EFORMAT; QN_ELIMIT when what comes of it is too large. */
qn_status qn_control_flow_expand(Onnx__GraphProto **expanded, const Onnx__GraphProto *graph, int64_t opset,
                                 const qn_tensor_home *home, qn_arena *arena, qn_error *err);

/* What the files share from here on. */

/* What is known ahead of one value: its elements when `known`, its type and shape in any case. */
typedef struct qn_ahead {
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    const qn_tensor *known;
} qn_ahead;

/* Where a value comes from: an index in the lists of the expansion, -1: not from there. */
typedef struct qn_origin {
    int64_t node, initializer, input;
    const qn_tensor *known; /* was looked at, and is the same for each batch */
    uint64_t mark;
} qn_origin;

typedef struct qn_scope {
    const struct qn_scope *outer;
    qn_graph local;     /* for its names */
    qn_value_id *means; /* per local value, in `names` */
    size_t capacity;
} qn_scope;

typedef struct qn_expansion {
    qn_arena *arena;
    const Onnx__GraphProto *top;
    const qn_tensor_home *home;
    int64_t opset;
    qn_graph names;
    qn_origin *origins; /* per value of `names` */
    size_t origins_capacity;
    qn_graph node_names; /* as values */
    Onnx__NodeProto **nodes;
    size_t n_nodes, nodes_capacity;
    Onnx__TensorProto **initializers;
    size_t n_initializers, initializers_capacity;
    qn_graph shared; /* addresses of constants of subgraphs that are written out: by them, in order of shared_means */
    qn_value_id *shared_means;
    size_t shared_capacity;
    qn_value_id yes, *numbers; /* constants: true; 0, 1, ... as far as they were asked for */
    size_t n_numbers, numbers_capacity;
    int64_t turns, looks;
    size_t names_met;
    uint64_t mark;
    const char *where; /* of the node of the file that is taken apart */
    qn_error *err;
} qn_expansion;

/* A name of the outermost graph, which is new and stays as it is. */
qn_status qn_expansion_outer_name(qn_expansion *e, const char *name, qn_value_id *id);
/* Append a node or an initializer like one of the file, with other names. *made may be NULL. */
qn_status qn_expansion_append(qn_expansion *e, const Onnx__NodeProto *like, size_t n_inputs, const qn_value_id *inputs,
                              size_t n_outputs, const qn_value_id *outputs, Onnx__NodeProto **made);
qn_status qn_expansion_append_initializer(qn_expansion *e, const Onnx__TensorProto *like, qn_value_id id);
/* A new name in `names`, `stem` or like it. */
qn_status qn_expansion_name(qn_expansion *e, const char *stem, qn_value_id *id);
/* Append a node of given operator; inputs and outputs by id, QN_NO_VALUE for absent ones. *node may be NULL. */
qn_status qn_expansion_add(qn_expansion *e, const char *op_type, int n_inputs, const qn_value_id *inputs, qn_value_id y,
                           Onnx__NodeProto **node);
qn_status qn_expansion_int(qn_expansion *e, Onnx__NodeProto *node, const char *name, int64_t value);
/* An int64 (or bool) initializer; rank 0 or 1. */
qn_status qn_expansion_constant(qn_expansion *e, const char *stem, bool is_bool, int rank, int64_t n, const int64_t *v,
                                qn_value_id *id);
/* The int64 scalars 0, 1, ..., and true; each is made once. */
qn_status qn_expansion_number(qn_expansion *e, int64_t number, qn_value_id *id);
qn_status qn_expansion_yes(qn_expansion *e, qn_value_id *id);
/* y = x */
qn_status qn_expansion_equal(qn_expansion *e, qn_value_id x, qn_value_id y);
/* cond ? a : b, after it has been seen that both are of one type and shape. */
qn_status qn_expansion_where(qn_expansion *e, qn_value_id cond, qn_value_id a, qn_value_id b, qn_value_id y);
/* A condition as a scalar. */
qn_status qn_expansion_scalar(qn_expansion *e, qn_value_id cond, qn_value_id *scalar);

/* The value that a name means; QN_NO_VALUE for the absent input. QN_EFORMAT when there is none. */
qn_status qn_scope_find(qn_expansion *e, const qn_scope *scope, const char *name, qn_value_id *id);
qn_status qn_scope_bind(qn_expansion *e, qn_scope *scope, const char *name, qn_value_id id);
void qn_scope_end(qn_scope *scope);
/* Write out a subgraph whose inputs are bound already; the ids of its n outputs go to `outputs`.
 *  turn  of a loop, for names; -1: none */
qn_status qn_expansion_inline(qn_expansion *e, const qn_scope *scope, const Onnx__GraphProto *graph,
                              const qn_value_id *inputs, int64_t turn, qn_value_id *outputs);

/* What can be known of values now. `why` (of QN_AHEAD_WHY bytes) gets the reason where something is not known at all
 * (*seen false), as when a node is wrong. */
enum { QN_AHEAD_WHY = 1100 };
qn_status qn_expansion_look(qn_expansion *e, int n, const qn_value_id *ids, qn_ahead *ahead, bool *seen,
                            char why[QN_AHEAD_WHY]);
/* One element, of int64 or bool, if it is known. */
qn_status qn_expansion_scalar_ahead(qn_expansion *e, qn_value_id id, bool *known, int64_t *value,
                                    char why[QN_AHEAD_WHY]);

/* Nodes of a scope, by their operators (control_flow_loop.c). */
qn_status qn_expand_loop(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node);
qn_status qn_expand_scan(qn_expansion *e, const qn_scope *scope, const Onnx__NodeProto *node);
/* The graph that an attribute holds; QN_EFORMAT when there is none. */
qn_status qn_expansion_graph(qn_expansion *e, const Onnx__NodeProto *node, const char *name,
                             const Onnx__GraphProto **graph);
/* QN_EUNSUPPORTED for declared sequences, maps and optionals. */
qn_status qn_expansion_want_tensors(qn_expansion *e, Onnx__ValueInfoProto *const *values, size_t n);

#endif
