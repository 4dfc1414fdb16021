/* Engines: run a model on batches of inputs.
 *
 * A program is a model made ready for one engine and batch size; it never changes and many threads may share it. A
 * workspace is the memory of one running thread. Nothing allocates while a program runs. */
#ifndef QUERN_ENGINE_H
#define QUERN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/cpu.h"
#include "quern/model.h"

/* float     float32 through oneDNN. Of a quantized model the weights are what their codes stand for, and activations are
 *           not rounded, only held within the range of their codes (a Relu may have been fused into that). Close to other float implementations, not the same bits on every CPU.
 * integer   on codes, exact: the same bytes on every CPU, at every batch size and thread count (doc/spec/arithmetic.md).
 *           Nodes whose operator has no integer form, or whose values have no quantizers, run in float as it defines, with
 *           the same bytes everywhere, too, but slowly; quern/inspect.h tells which.
 * simulate  the float engine, with every value that has a quantizer encoded and decoded where it arises ("fake
 *           quantization"): any format of the format room in any place, item by item (arithmetic.md, section 5). */
typedef enum qn_engine { QN_ENGINE_FLOAT = 0, QN_ENGINE_INTEGER = 1, QN_ENGINE_SIMULATE = 2 } qn_engine;

/* "float", "integer", "simulate"; NULL for what is no engine. */
QN_API const char *qn_engine_text(qn_engine engine);
/* The engine to run a model with when nobody says: float for a float model; for a quantized one integer where the integer
 * engine can run it and has codes to compute on, which is tried, else simulate. Errors: QN_ENOMEM, QN_EINVAL (QUERN_CPU). */
QN_API QN_NODISCARD qn_status qn_engine_choose(qn_engine *engine, const qn_model *model, qn_error *err);

/*  cpu          highest level to use; default: QUERN_CPU or the best
 *  batch        items per run, 1..4096; default 8, 1 for integer. A model of fixed batch keeps its own, one
 *               that can take only one item gets 1: see qn_program_batch.
 *  keep_values  give every value memory of its own, so that all can be read after a run
 *  whole        a run is one item, which is everything, also where all inputs and outputs of fixed shapes lead with the
 *               same dimension: of a part of a network, that need not count items */
typedef struct qn_program_options {
    size_t struct_size;
    qn_engine engine;
    qn_cpu cpu;
    int64_t batch;
    bool keep_values;
    bool whole;
} qn_program_options;
QN_API QN_NODISCARD qn_status qn_program_options_init(qn_program_options *options, qn_engine engine, qn_error *err);

typedef struct qn_program qn_program;
typedef struct qn_workspace qn_workspace;

/* The program keeps what it needs of the model, which may be freed; a program must outlive its workspaces.
 * Errors: QN_EINVAL (options), QN_EUNSUPPORTED listing all nodes the engine cannot run, with names; QN_ESHAPE,
 * QN_EFORMAT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_program_create(qn_program **program, const qn_model *model,
                                                const qn_program_options *options, qn_error *err);
QN_API void qn_program_free(qn_program *program);
QN_API QN_NODISCARD qn_status qn_workspace_create(qn_workspace **workspace, const qn_program *program, qn_error *err);
QN_API void qn_workspace_free(qn_workspace *workspace);

QN_API int64_t qn_program_batch(const qn_program *program);
QN_API size_t qn_program_n_inputs(const qn_program *program);
QN_API size_t qn_program_n_outputs(const qn_program *program);
/* Elements of one item of input or output `index`, and its shape without the batch dimension (rank returned). */
QN_API int64_t qn_program_input_count(const qn_program *program, size_t index);
QN_API int64_t qn_program_output_count(const qn_program *program, size_t index);
QN_API int qn_program_input_shape(const qn_program *program, size_t index, int64_t *dims);
QN_API int qn_program_output_shape(const qn_program *program, size_t index, int64_t *dims);

/* Run n items, 1 <= n <= batch.
 *  inputs   one pointer per input: f32[n * input_count], NCHW, finite (NaN is unspecified but safe)
 *  outputs  one pointer per output: f32[n * output_count]; integer engine: dequantized
 * Reentrant over different workspaces. */
QN_API QN_NODISCARD qn_status qn_program_run(const qn_program *program, qn_workspace *workspace,
                                             const float *const *inputs, int64_t n, float *const *outputs,
                                             qn_error *err);

#endif
