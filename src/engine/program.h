/* The engine room: a graph lowered to a program of steps over planned memory.
 *
 * program.c holds what all engines share (options, input and output shapes, dispatch); float/ and integer/ are the
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
    bool one_by_one; /* it takes the items of a run one after another: graphs of dynamic batch are bound for one */
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

/* Observation: where a float value is during or after a run and how it is laid out.
 * Element (n, c, i) of a value with channel axis 1 and i over the axes behind it is
 *   data[n * stride_n + (c / block) * stride_block + i * stride_inner + c % block]
 * with block 1 (plain: stride_inner 1), 8 or 16 (blocked), or block == channels (channels last).
 * Channels beyond `channels` in the last block are padding and not to be read. */
typedef struct qn_value_view {
    const float *data;
    int64_t n, channels, inner;
    int64_t stride_n, stride_block, stride_inner, block;
} qn_value_view;

/* Watching: a value of a program made by qn_program_create_watched, in the order of making.
 *  value     an id in the graph of the model
 *  rank      2 or more: it has a channel axis
 *  channels  of its views
 *  from      -1: qn_program_run_watched shows it. Else an earlier entry with the same channels, which this one is made of
 *            element by element, and it is not shown: y = min(max(x * scale[c] + shift[c], lo), hi), rounded after each
 *            operation, which is monotonic in x; scale and shift are finite, or NULL for 1 and 0 */
typedef struct qn_watched {
    qn_value_id value;
    int rank;
    int64_t channels;
    int32_t from;
    const float *scale, *shift;
    float lo, hi;
} qn_watched;

/* The view of entry `index` holds until `show` returns: the memory is used again by later values. */
typedef struct qn_watcher {
    void (*show)(void *ctx, size_t index, const qn_value_view *view);
    void *ctx;
} qn_watcher;

extern const qn_engine_ops qn_engine_float_ops;
extern const qn_engine_ops qn_engine_simulate_ops; /* the float engine that obeys quantizers */
extern const qn_engine_ops qn_engine_integer_ops;

/* Could the integer engine run this node on codes if its values had quantizers? Otherwise it runs in float, as an island
 * (doc/spec/arithmetic.md, section 6). Nodes that need not run at all have a form. `binding` is one of `graph`, which need
 * not be quantized. A MatMul of two activations has none that would be worth coding its result for: where both are coded it
 * computes on codes nevertheless (6.7). *reason (may be NULL) says why not; NULL when the operator as such has no integer form. */
bool qn_integer_has_form(const qn_graph *graph, const qn_binding *binding, const qn_node *node, const char **reason);

/* Does a program of the integer engine spend its time on codes? A layer does; or something else does, and no layer runs in
 * float. Otherwise simulation is as good, and faster. */
bool qn_integer_computes_on_codes(const qn_program *program);

struct qn_program {
    const qn_engine_ops *engine;
    qn_program_options options;
    qn_arena arena;
    qn_graph graph;
    qn_binding binding;
    qn_program_io *inputs, *outputs;
    size_t n_inputs, n_outputs;
    bool whole; /* one run is one item, which is everything */
    void *code; /* the engine's own */
    bool watched;
    qn_watched *watch;
    size_t n_watch, watch_capacity;
};

struct qn_workspace {
    const qn_program *program;
    void *memory;              /* the engine's own */
    const qn_watcher *watcher; /* NULL but in qn_program_run_watched */
};

/* The view of a value after qn_program_run with `n` items; false when there is none: constants, values that are not float,
 * programs that do not keep values. `value` is an id in the graph of the qn_model the program was made of. Not for the
 * integer engine. Programs made with keep_values fuse nothing and fold no BatchNorm, so that every value of the model exists. */
bool qn_program_view(const qn_program *program, const qn_workspace *workspace, qn_value_id value, int64_t n,
                     qn_value_view *view);

/* A value after qn_program_run with one item, of any engine, in the order of the value's own shape.
 *  x      f32[*count], or NULL to ask for the count alone, which needs no run
 *  count  elements
 * False when there is none, as for qn_program_view. */
bool qn_program_read(const qn_program *program, const qn_workspace *workspace, qn_value_id value, float *x,
                     int64_t *count);

/* A program of the float or the simulate engine whose values, as with keep_values, are all of the model's, but live no longer than they
 * are needed, so that they can be looked at while they are in the caches. program->watch lists them: float values that
 * are not constant and not empty. */
qn_status qn_program_create_watched(qn_program **program, const qn_model *model, const qn_program_options *options,
                                    qn_error *err);
/* As qn_program_run, showing each watched value when it is made, in order. */
qn_status qn_program_run_watched(const qn_program *program, qn_workspace *workspace, const float *const *inputs,
                                 int64_t n, float *const *outputs, const qn_watcher *watcher, qn_error *err);

#endif
