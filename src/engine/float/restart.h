/* Restarting: the rest of a network again, from where a number was changed, by a program of the float or the simulate
 * engine that keeps its values.
 *
 * One fault-free run of a batch is *golden*: its values are kept beside those of the workspace. Each later run changes
 * elements of values (in single items of the batch) or of constants (for all items), in the order of the steps, and
 * executes only steps that read something that differs from golden; a tensor that comes out with golden's bytes stops it
 * there. What runs left in other tensors is put back when a step wants to read it.
 *
 * Constants are patched in copies of this workspace's own, made when one is patched for the first time, in the layouts in
 * which steps read them (oneDNN's packed ones too); the program, which threads share, stays as it is.
 *
 * Invariants: between qn_restart_undo and qn_restart_begin every constant has its own bytes, and every tensor is golden's
 * or marked as stale. Results are those of a run of the changed network from scratch with the same items in the same
 * places, byte for byte: all steps compute each time the same from the same.
 * Threads: one restart for each; they share the program. */
#ifndef QN_ENGINE_FLOAT_RESTART_H
#define QN_ENGINE_FLOAT_RESTART_H

#include "engine/float/float_program.h"

typedef struct qn_restart_undo_entry {
    float *at, was;
} qn_restart_undo_entry;

/* A step that reads or makes a slot, for the lists of slots. */
typedef struct qn_restart_list {
    int32_t *start, *list; /* of slot s: list[start[s]] .. list[start[s + 1] - 1] */
} qn_restart_list;

/* What is known of a slot's use.
 *  first_writer, last_writer   steps; -1: none (inputs without quantizer, constants)
 *  first_reader                step; n_steps: none */
typedef struct qn_restart_use {
    int32_t first_writer, last_writer, first_reader;
} qn_restart_use;

/* Can a step that made a constant be followed element by element? */
typedef enum qn_restart_map { QN_RESTART_UNKNOWN, QN_RESTART_MAPPED, QN_RESTART_OPAQUE } qn_restart_map;

typedef struct qn_restart {
    const qn_program *program;
    const qn_float_program *code;
    qn_workspace *workspace;
    qn_arena arena;        /* what has its size from the beginning */
    unsigned char *golden; /* as the workspace's arena */
    size_t *first_arg;     /* per step: in the workspace's args */
    qn_restart_use *use;   /* per slot */
    bool *by_item;         /* per slot: see qn_restart_is_by_item */
    qn_restart_list made;  /* steps of code->made that read a slot */
    unsigned char *map;    /* per step of code->made: qn_restart_map */
    void **own;            /* per slot: the copy of a constant, NULL while it was never patched */
    bool *forced;          /* per step: it runs though nothing it reads differs */
    bool *remake;          /* per step of code->made */
    bool remakes;
    /* Per slot: bytes differ from golden in this run; memory is not golden's; it is on `touched`. */
    bool *differs, *stale, *listed;
    int32_t *touched;
    size_t n_touched;
    qn_restart_undo_entry *undo;
    size_t n_undo, undo_capacity;
    int32_t next;               /* step */
    const float *const *inputs; /* of the golden run */
    int64_t n;
} qn_restart;

/* `program` was made with keep_values, for the float or the simulate engine, and outlives the restart.
 * Errors: QN_EINVAL (another program), QN_ENOMEM. *restart is released by qn_restart_free, which takes NULL. */
qn_status qn_restart_create(qn_restart **restart, const qn_program *program, qn_error *err);
void qn_restart_free(qn_restart *restart);

/* Run the network on n items, 1 <= n <= batch, which are golden from then on. Inputs as for qn_program_run; the
 * arrays, and the array of them, stay there as long as these items are golden. */
qn_status qn_restart_load(qn_restart *restart, const float *const *inputs, int64_t n, qn_error *err);

/* Places.
 * The step before which a value of the program (not constant, f32) is complete; of a constant the first one that reads it
 * or what is made of it. The number of steps when nothing does. */
int32_t qn_restart_step(const qn_restart *restart, qn_value_id value);
/* The first step that makes a value, 0 for inputs that nothing makes. */
int32_t qn_restart_first_step(const qn_restart *restart, qn_value_id value);
/* The step that puts a value through its quantizer, -1: none; and what it sees. */
const qn_float_quantized *qn_restart_quantized(const qn_restart *restart, qn_value_id value);
/* Is there such a value: neither constant nor left out? */
bool qn_restart_has(const qn_restart *restart, qn_value_id value);
/* Does an item of the batch have its part of the value, which nothing but it depends on? */
bool qn_restart_is_by_item(const qn_restart *restart, qn_value_id value);
/* Elements of a value that belong to one item of the batch: all where its first dimension does not count items. */
int64_t qn_restart_item_count(const qn_restart *restart, qn_value_id value);
/* An element of an item in the workspace, in the order of the value's own shape. `element` < qn_restart_item_count. */
float *qn_restart_at(qn_restart *restart, qn_value_id value, int64_t item, int64_t element);
/* Elements first .. first + n - 1 of an item. */
void qn_restart_read(qn_restart *restart, qn_value_id value, int64_t item, int64_t first, int64_t n, float *x);

/* Golden's element, and whether an item of a value has other bytes than golden's after a run. */
float qn_restart_golden_at(const qn_restart *restart, qn_value_id value, int64_t item, int64_t element);
bool qn_restart_item_differs(const qn_restart *restart, qn_value_id value, int64_t item);

/* A run: begin; then, in the order of the steps, changes, each after running up to the step of its value; then run to the end;
 * undo. Nothing allocates, but for the first patch of a constant and for a run with more changes than any before. */
void qn_restart_begin(qn_restart *restart);
/* Change an element of a value that is complete and not yet read. */
qn_status qn_restart_write(qn_restart *restart, qn_value_id value, int64_t item, int64_t element, float x,
                           qn_error *err);
/* The same for elements first .. first + n - 1. */
void qn_restart_write_many(qn_restart *restart, qn_value_id value, int64_t item, int64_t first, int64_t n,
                           const float *x);
/* Make the value again, though nothing differs that it is made of. */
void qn_restart_remake(qn_restart *restart, qn_value_id value);
/* Can elements of this constant be changed in place? Not where its numbers went into others while the graph was bound, or
 * into a step's parameters. */
bool qn_restart_can_patch(const qn_restart *restart, qn_value_id value);
/* Change an element (C order) of such a constant, before any step has run. */
qn_status qn_restart_patch(qn_restart *restart, qn_value_id value, int64_t element, float x, qn_error *err);
/* The constant's own elements. */
const float *qn_restart_constant(const qn_restart *restart, qn_value_id value);
/* Run the steps before step `end`, as far as they have not been run. */
qn_status qn_restart_run(qn_restart *restart, int32_t end, qn_error *err);
int32_t qn_restart_n_steps(const qn_restart *restart);
/* An item's elements of an output of the program, after all steps or (golden) after loading. */
const float *qn_restart_output(const qn_restart *restart, size_t index, int64_t item);
const float *qn_restart_golden(const qn_restart *restart, size_t index, int64_t item);
void qn_restart_undo(qn_restart *restart);

/* Where an element of a tensor in oneDNN's layout `to` lies that is at `offset` in the plain tensor `from`; -1 where the
 * layouts do not say. */
int64_t qn_restart_offset(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, int64_t offset);

/* Shared by restart*.c. */
static inline const qn_float_tensor *qn_restart_tensor_of(const qn_restart *restart, qn_value_id value)
{
    return &restart->code->tensors[restart->code->of_value[value]];
}

static inline unsigned char *qn_restart_arena_of(const qn_restart *restart)
{
    return ((const qn_float_workspace *)restart->workspace->memory)->arena;
}
/* Let a slot hold what it has in this run: golden's, unless it differs. */
void qn_restart_bring(qn_restart *restart, int32_t slot);
void qn_restart_find_items(qn_restart *restart);
void qn_restart_touch(qn_restart *restart, int32_t slot);
qn_status qn_restart_save(qn_restart *restart, float *at, qn_error *err);
qn_status qn_restart_remake_constants(qn_restart *restart, qn_error *err);

#endif
