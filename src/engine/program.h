/* The engine room: a graph lowered to a program of steps over planned memory.
 *
 * program.c holds what all engines share (options, input and output shapes, dispatch); float_*.c and integer_*.c are the
 * engines. A program owns a prepared copy of the graph and its binding, and is immutable once created: threads share it.
 * A workspace holds everything that changes during a run. Nothing allocates while a program runs. */
#ifndef QN_ENGINE_PROGRAM_H
#define QN_ENGINE_PROGRAM_H

#include "graph/bind.h"
#include "graph/graph.h"
#include "quern/engine.h"

typedef struct qn_program_io {
    qn_value_id value; /* in program->graph */
    int rank;          /* of one item */
    int64_t dims[QN_MAX_RANK];
    int64_t count; /* elements of one item */
} qn_program_io;

/* What an engine offers. */
typedef struct qn_engine_ops {
    const char *name;
    /* Can the engine run this node, in general? For lists of unsupported nodes; *reason (may be NULL) says why not. */
    bool (*supports)(const qn_graph *graph, const qn_node *node, const char **reason);
    /* May be NULL: edits program->graph, which is not bound yet. */
    qn_status (*prepare)(qn_program *program, qn_error *err);
    qn_status (*compile)(qn_program *program, qn_error *err); /* fills program->code */
    /* Also called for a program whose creation failed at any point: code may be NULL or half made. */
    void (*release)(qn_program *program);
    qn_status (*workspace_create)(qn_workspace *workspace, qn_error *err); /* fills workspace->memory */
    void (*workspace_release)(qn_workspace *workspace); /* as release: memory may be NULL or half made */
    qn_status (*run)(const qn_program *program, qn_workspace *workspace, const float *const *inputs, int64_t n,
                     float *const *outputs, qn_error *err);
} qn_engine_ops;

extern const qn_engine_ops qn_engine_float_ops;
extern const qn_engine_ops qn_engine_integer_ops;

struct qn_program {
    const qn_engine_ops *engine;
    qn_program_options options;
    qn_arena arena;
    qn_graph graph;
    qn_binding binding;
    qn_program_io *inputs, *outputs;
    size_t n_inputs, n_outputs;
    void *code; /* the engine's own */
};

struct qn_workspace {
    const qn_program *program;
    void *memory; /* the engine's own */
};

/* Observation: after a run of a program made with keep_values, where each float value is and how it is laid out.
 * Element (n, c, i) of a value with channel axis 1 and i over the axes behind it is
 *   data[n * stride_n + (c / block) * stride_block + i * stride_inner + c % block]
 * with block 1 (plain: stride_inner 1), 8 or 16 (blocked), or block == channels (channels last).
 * Channels beyond `channels` in the last block are padding and not to be read. */
typedef struct qn_value_view {
    const float *data;
    int64_t n, channels, inner;
    int64_t stride_n, stride_block, stride_inner, block;
} qn_value_view;

/* The view of a value after qn_program_run with `n` items; false when there is none: constants, values that are not float,
 * programs that do not keep values. `value` is an id in the graph of the qn_model the program was made of. Float engine
 * only. Programs made with keep_values fuse nothing and fold no BatchNorm, so that every value of the model exists. */
bool qn_program_view(const qn_program *program, const qn_workspace *workspace, qn_value_id value, int64_t n,
                     qn_value_view *view);

#endif
