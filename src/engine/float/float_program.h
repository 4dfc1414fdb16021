/* The float engine: a graph lowered to oneDNN primitives and own kernels over float32 tensors.
 *
 * A value of the graph may exist as several tensors, one per memory layout; its producer chose that of the first, the
 * others are reorders made because a consumer needed them. A tensor lives in a slot: planned memory of the workspace,
 * or a constant of the program. Tensors may share a slot (views).
 *
 * Invariants: float tensors are plain (C order), channels last, or blocked by 8 or 16 channels with zeros in the
 * padding of the last block; tensors of other types are plain. A step reads and writes whole tensors.
 * Threads: building belongs to one thread; the built program never changes, and only workspaces hold what a run writes.
 * Results follow oneDNN, which picks its own instruction set (environment variable ONEDNN_MAX_CPU_ISA):
 * qn_program_options.cpu steers only the kernels written here, whose results do not depend on it. */
#ifndef QN_ENGINE_FLOAT_PROGRAM_H
#define QN_ENGINE_FLOAT_PROGRAM_H

#include <oneapi/dnnl/dnnl.h>

#include "engine/float/lanes.h"
#include "engine/program.h"

typedef int32_t qn_float_id; /* index of a tensor */
#define QN_FLOAT_NONE ((qn_float_id)-1)

typedef enum qn_float_layout {
    QN_FLOAT_PLAIN,
    QN_FLOAT_BLOCKED, /* axis 1 in blocks, innermost */
    QN_FLOAT_LAST,    /* axis 1 innermost */
    QN_FLOAT_OTHER,   /* only inside a lowering, for weights */
} qn_float_layout;

/*  n_bytes            of the largest tensor in it
 *  constant           not NULL: memory of the program, written before any run only
 *  offset             in the workspace's arena, once planned
 *  first, last        steps that touch it: the planner's live range, -1 before the first step */
typedef struct qn_float_slot {
    size_t n_bytes, offset;
    void *constant;
    int32_t first, last;
} qn_float_slot;

/*  n_stored  elements in memory, padding included
 *  block     channels per block (QN_FLOAT_BLOCKED), else 1
 *  md        oneDNN's description; only for float32
 *  variant   the same value in another layout, or QN_FLOAT_NONE */
typedef struct qn_float_tensor {
    int32_t slot;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n_elems, n_stored;
    qn_float_layout layout;
    int64_t block;
    dnnl_memory_desc_t md;
    qn_float_id variant;
} qn_float_tensor;

/* args[0] is the destination, sources follow; absent optional sources are NULL. */
typedef void (*qn_float_kernel)(const void *params, void *const *args);

/* Either an own kernel or a primitive; kinds[i] is the DNNL_ARG_ of args[i] for primitives. */
typedef struct qn_float_step {
    qn_float_kernel kernel;
    const void *params;
    dnnl_primitive_t primitive;
    const int *kinds;
    const qn_float_id *args;
    int n_args;
    dnnl_memory_desc_t scratch; /* of a primitive; ndims 0 when it needs none */
    int32_t node;               /* for messages; -1 for inputs and outputs */
} qn_float_step;

/* program->watch[entry] is complete before step `step` runs, in tensor `id`. */
typedef struct qn_float_shown {
    size_t step, entry;
    qn_float_id id;
} qn_float_shown;

/* A value that is put through its quantizer.
 *  step         does it, in place, on tensor `id`; -1 where it was done when the program was made
 *  rank, dims   of what the quantizer sees as one item, in the value's order; n_items of them make up the tensor */
typedef struct qn_float_quantized {
    qn_value_id value;
    int32_t step;
    qn_float_id id;
    int rank;
    int64_t dims[QN_MAX_RANK], n_items;
} qn_float_quantized;

/* program->code. The arrays grow while building. */
typedef struct qn_float_program {
    dnnl_engine_t engine;
    const qn_float_lanes *lanes;
    qn_float_slot *slots;
    qn_float_tensor *tensors;
    qn_float_step *steps;
    size_t n_slots, slots_capacity, n_tensors, tensors_capacity, n_steps, steps_capacity;
    qn_float_id *of_value; /* per value of the graph: the first of its tensors, or QN_FLOAT_NONE */
    qn_float_id *inputs, *outputs;
    size_t arena_bytes, scratch_bytes;
    size_t n_args;         /* of all steps */
    qn_float_shown *shown; /* of watched programs, by step */
    size_t n_shown, shown_capacity;
    /* Of programs that keep their values: how constants follow from other constants, in the order in which they were made, and
     * which values have quantizers. */
    qn_float_step *made;
    qn_float_quantized *quantized;
    size_t n_made, made_capacity, n_quantized, quantized_capacity;
} qn_float_program;

/* workspace->memory. Pointers and memory objects are fixed when it is made: running only reads them. */
typedef struct qn_float_workspace {
    unsigned char *arena;       /* values, then the scratchpad of the running step */
    void **args;                /* of all steps, in order */
    dnnl_exec_arg_t *exec_args; /* the same for primitives, each followed by its scratchpad */
    dnnl_memory_t *memories;    /* per tensor; NULL where no primitive touches it */
    dnnl_memory_t *scratch;     /* per step; NULL where there is none */
    dnnl_stream_t stream;
} qn_float_workspace;

/* One step. `args` and `exec_args` are those of the step. */
qn_status qn_float_run_step(const qn_workspace *workspace, size_t index, void *const *args,
                            const dnnl_exec_arg_t *exec_args, qn_error *err);
/* Put n items of an input of a run in place; items that are not there repeat the last one. */
void qn_float_load_input(const qn_workspace *workspace, size_t index, const float *input, int64_t n);
/* oneDNN plans for the number of OpenMP threads it sees, so that number must be one whenever it is called. Returns what
 * omp_set_num_threads brings back. */
int qn_float_hold_threads(void);

/* What lowering needs besides the program. */
typedef struct qn_float_builder {
    qn_program *program;
    qn_float_program *code;
    const qn_graph *graph;
    const qn_binding *binding;
    int32_t *n_uses; /* per value: readers, graph outputs included */
    int32_t *reader; /* per value: the node that reads it last, -1 if none */
    int32_t *watch;  /* per value: its entry in program->watch, -1 if none */
    bool *done;      /* per node: fused into one before it */
    bool *batched;   /* per value: its first dimension counts items */
    int32_t node;    /* being lowered */
} qn_float_builder;

/* Can the float engine run `node`? `reason` as in qn_engine_ops. */
bool qn_float_supports(const qn_graph *graph, const qn_node *node, const char **reason);
qn_status qn_float_lower_node(qn_float_builder *b, const qn_node *node, qn_error *err);

/* Building (build.c). Everything fails with the node's name; nothing needs releasing. */
qn_status qn_float_fail(const qn_float_builder *b, qn_error *err, qn_status status, const char *format, ...)
    QN_PRINTF(4, 5);
qn_status qn_float_fail_dnnl(const qn_float_builder *b, qn_error *err, dnnl_status_t status, const char *what);
void *qn_float_memory(qn_float_builder *b, size_t n, size_t elem_size, qn_error *err); /* of the program's arena */

/* New tensors: plain, of a oneDNN layout, over memory of the program, over another plain tensor's slot. */
qn_status qn_float_new(qn_float_builder *b, qn_dtype dtype, int rank, const int64_t *dims, qn_float_id *id,
                       qn_error *err);
qn_status qn_float_new_md(qn_float_builder *b, const dnnl_memory_desc_t *md, qn_float_id *id, qn_error *err);
qn_status qn_float_new_constant(qn_float_builder *b, qn_dtype dtype, int rank, const int64_t *dims, void *data,
                                qn_float_id *id, qn_error *err);
qn_status qn_float_view(qn_float_builder *b, qn_float_id source, int rank, const int64_t *dims, qn_float_id *id,
                        qn_error *err);
/* The plain tensor of a node's output, as bound. */
qn_status qn_float_new_output(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err);
/* A tensor with the layout of `like`. */
qn_status qn_float_new_like(qn_float_builder *b, qn_float_id like, qn_float_id *id, qn_error *err);

/* Tensors of values: float32 in the layout it has, float32 and plain, of any type. */
qn_status qn_float_read(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err);
qn_status qn_float_read_plain(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err);
qn_status qn_float_read_any(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err);
/* The same tensor in layout `md`; reordered at most once per layout, constants before any run. */
qn_status qn_float_reorder(qn_float_builder *b, qn_float_id source, const dnnl_memory_desc_t *md, qn_float_id *id,
                           qn_error *err);
qn_status qn_float_to_plain(qn_float_builder *b, qn_float_id source, qn_float_id *id, qn_error *err);
/* `id` is the tensor of `value` from here on; put in place through its quantizer, if any. */
qn_status qn_float_define(qn_float_builder *b, qn_value_id value, qn_float_id id, qn_error *err);

/* Append a step; params are copied. When all sources are constant the kernel runs now and the result is constant. */
qn_status qn_float_add_kernel(qn_float_builder *b, qn_float_kernel kernel, const void *params, size_t n_bytes,
                              qn_float_id destination, int n_sources, const qn_float_id *sources, qn_error *err);
/* Append a primitive made of `pd`, which stays the caller's; args[0] is the destination. */
qn_status qn_float_add_primitive(qn_float_builder *b, const_dnnl_primitive_desc_t pd, int n_args, const int *kinds,
                                 const qn_float_id *args, qn_error *err);

const qn_bound_value *qn_float_bound(const qn_float_builder *b, qn_value_id value);
bool qn_float_has_input(const qn_node *node, int index);
static inline qn_float_tensor *qn_float_at(const qn_float_builder *b, qn_float_id id)
{
    return &b->code->tensors[id];
}
static inline bool qn_float_is_constant(const qn_float_builder *b, qn_float_id id)
{
    return b->code->slots[b->code->tensors[id].slot].constant != NULL;
}

/* min(max(x, lo), hi) */
typedef struct qn_float_clamp {
    float lo, hi;
} qn_float_clamp;
/* Of a Relu or Clip. */
qn_status qn_float_clamp_of_node(const qn_float_builder *b, const qn_node *node, qn_float_clamp *clamp, qn_error *err);
/* A Relu or Clip that alone reads the node's output is applied by the node itself.
 *  result  the value the node now produces
 *  clamp   -inf and +inf when there is none */
qn_status qn_float_fuse_clamp(qn_float_builder *b, const qn_node *node, qn_value_id *result, qn_float_clamp *clamp,
                              qn_error *err);
bool qn_float_clamps(qn_float_clamp clamp);
/* x * Sigmoid(x) of the node's output x, which nothing else reads, is computed by the node itself; `result` is the product
 * then, and else as it was. Not where values are watched or kept. */
bool qn_float_fuse_silu(qn_float_builder *b, const qn_node *node, qn_value_id *result);

/* Simulation (simulate.c). */
/* The quantizer that the value is put through in this program, or NULL. */
const qn_quantizer *qn_float_applied(const qn_float_builder *b, qn_value_id value);
/* Put the value's tensor through its quantizer, in place: rounded by programs of the simulate engine, else only held
 * within reach of the codes. *id changes where its layout has to. */
qn_status qn_float_simulate(qn_float_builder *b, qn_value_id value, qn_float_id *id, qn_error *err);
/* y, of x's shape, gets what the value's quantizer makes of x; done now. */
qn_status qn_float_fake_constant(qn_float_builder *b, qn_value_id value, float *y, const qn_tensor *x, qn_error *err);
/* Fill b->batched, for a graph with quantizers. `whole`: one run is one item. */
qn_status qn_float_find_batched(qn_float_builder *b, bool whole, qn_error *err);

/* Watching (watch.c); nothing happens in programs that are not watched. */
/* The value is what the tensor holds from here on, unless it was said to be derived. */
qn_status qn_float_watch(qn_float_builder *b, qn_value_id value, qn_float_id id, qn_error *err);
/* A value that is not defined yet, or never: qn_watched tells how it is made of `from`. Values with quantizers are not, nor
 * those that are made of constants or with numbers that are not finite. */
qn_status qn_float_derive(qn_float_builder *b, qn_value_id value, qn_value_id from, const float *scale,
                          const float *shift, qn_float_clamp clamp, qn_error *err);
bool qn_float_derived(const qn_float_builder *b, qn_value_id value);
/* How a tensor at `data` is laid out, over the rows that n items of `batch` fill. */
qn_value_view qn_float_layout_view(const qn_float_tensor *tensor, const float *data, int64_t n, int64_t batch);

/* oneDNN attributes: user scratchpad, the clamp as post-operation. Released by the caller; NULL after an error. */
qn_status qn_float_attr(const qn_float_builder *b, dnnl_primitive_attr_t *attr, qn_float_clamp clamp, qn_error *err);
qn_status qn_float_attr_silu(const qn_float_builder *b, dnnl_primitive_attr_t *attr,
                             qn_error *err); /* x * Sigmoid(x) */

/* oneDNN layouts (float_layout.c). Rank 0 is described as one dimension of 1. */
dnnl_memory_desc_t qn_float_md_plain(int rank, const int64_t *dims);
dnnl_memory_desc_t qn_float_md_any(int rank, const int64_t *dims);
qn_float_layout qn_float_classify(const dnnl_memory_desc_t *md, int64_t *block);
bool qn_float_padded(const qn_float_tensor *tensor);

/* Memory planning (float_plan.c): offsets for all slots that are not constant. */
qn_status qn_float_plan(qn_float_program *code, bool keep_all, qn_arena *scratch, qn_error *err);

#endif
