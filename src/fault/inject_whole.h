/* The injector that runs whole networks from scratch, in parts (inject_whole*.c). Inside the fault room.
 *
 * Changes of weights, biases and parameters make another model, hence another program (inject_whole_model.c). All other
 * changes are made while a program runs, right after what they change has been computed: between steps in the integer
 * engine (inject_whole_integer.c; sums are taken anew term by term in inject_whole_sums.c), by steps of their own in the
 * float and the simulate engine (inject_whole_float.c). */
#ifndef QN_FAULT_INJECT_WHOLE_H
#define QN_FAULT_INJECT_WHOLE_H

#include "fault/injector.h"

/* What became of a fault's changes in one image.
 *  fault           NULL: none strikes
 *  active          a code changed
 *  before, after   of the fault's first change
 *  noted           NULL, or called for every change that is made
 *  summed          NULL, or called for every sum that holds changes, before requantization: of a step of the integer
 *                  engine, and an element of its result in the value's own order */
typedef struct qn_whole_codes {
    const qn_fault *fault;
    const qn_fault_targets *targets;
    bool active;
    uint32_t before, after;
    void (*noted)(void *ctx, const qn_fault_change *change, uint32_t before, uint32_t after);
    void (*summed)(void *ctx, int step, int64_t element, int32_t sum);
    void *ctx;
} qn_whole_codes;
void qn_whole_note(qn_whole_codes *codes, const qn_fault_change *change, uint32_t before, uint32_t after);

/* Is it in constants and quantizers? */
bool qn_whole_is_static(qn_fault_where where);
static inline const qn_fault_target *qn_whole_target(const qn_whole_codes *codes, int64_t change)
{
    return &codes->targets->list[codes->fault->changes[change].target];
}
/* Changes of the same target as `first`, from there on: their end. */
int64_t qn_whole_end(const qn_whole_codes *codes, int64_t first);

static inline uint32_t qn_whole_mask(int bits)
{
    return bits >= 32 ? UINT32_MAX : (UINT32_C(1) << bits) - 1;
}
/* arithmetic.md 7.1; params: of the element's set, read where noise is added to codes of a format. */
uint32_t qn_whole_change(const qn_fault_change *change, const qn_fault_target *target, const qn_params *params,
                         uint32_t code);
/* The parameter set of an element of a tensor. */
int64_t qn_whole_set(const qn_quantizer *q, int rank, const int64_t *dims, int64_t element);
/* Codes as a tensor of codes has them: of 1, 2 or 4 bytes, signed ones extended. */
uint32_t qn_whole_get_code(const void *codes, size_t code_size, int64_t element, int bits);
void qn_whole_set_code(void *codes, size_t code_size, int64_t element, int bits, bool is_signed, uint32_t code);

/* A program of the model with the static changes, for the engine and batch of options->program. *refused: a parameter
 * breaks its rules, or no program can be made with it; *program is NULL then. */
qn_status qn_whole_program(qn_program **program, bool *refused, const qn_injector_options *options,
                           qn_whole_codes *codes, qn_error *err);

/* One image through the integer engine, with the other changes made; codes->fault NULL: none. */
qn_status qn_whole_run_integer(const qn_program *program, qn_workspace *workspace, const float *const *inputs,
                               float *const *outputs, qn_whole_codes *codes, qn_error *err);

/* The tensor of a program of the integer engine that holds a value's codes (`real`: floats) as changes strike them; -1:
 * none. */
int qn_whole_tensor(const qn_program *program, qn_value_id value, bool real);
/* The codes of a value (inputs, activations) after a run of the integer engine, in its own order: bit patterns, of floats
 * where the target is floats. u32[target->n_elems]. False when the program does not compute it. */
bool qn_whole_read_integer(const qn_program *program, const qn_workspace *workspace, const qn_fault_target *target,
                           uint32_t *codes);

/* Changes of sums at one convolution step that has just run. */
typedef struct qn_integer_run qn_integer_run;
qn_status qn_whole_change_sums(const qn_program *program, const qn_integer_run *run, int step, qn_whole_codes *codes,
                               qn_error *err);

/* Steps that make the changes, in a program of the float or the simulate engine that nobody else uses and no workspace has
 * been made for. They do nothing unless `codes` is set: n_codes items of it, of a batch.
 *  status, err   of what went wrong meanwhile */
typedef struct qn_whole_hooks {
    qn_whole_codes *codes;
    int64_t n_codes;
    const qn_program *program;
    qn_status status;
    qn_error *err;
} qn_whole_hooks;
qn_status qn_whole_hook(qn_program *program, qn_whole_hooks *hooks, const qn_fault_targets *targets, qn_error *err);

#endif
