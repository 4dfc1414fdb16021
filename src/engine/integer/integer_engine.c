/* The integer engine as program.c sees it: compile, workspaces, runs. */
#include "engine/integer/integer.h"

#include <string.h>

#include "base/memory.h"

/* A workspace: where floats of the image under way are, and the arena of codes. */
typedef struct integer_memory {
    qn_integer_run run;
    const float **inputs;
    float **outputs;
    uint8_t *arena;
} integer_memory;

bool qn_integer_computes_on_codes(const qn_program *program)
{
    const qn_integer_code *code = program->code;
    bool others = false, float_layers = false;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        if (step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE) {
            return true;
        }
        if (step->kind == QN_STEP_ISLAND && step->node != NULL) { /* without a node it converts an input */
            const qn_op op = step->node->op;
            float_layers |= (op == QN_OP_CONV || op == QN_OP_GEMM || op == QN_OP_MATMUL) &&
                            code->island_reason[step->node - program->graph.nodes] != NULL;
        } else {
            others |= step->node != NULL;
        }
    }
    return others && !float_layers;
}

static void release_program(qn_program *program)
{
    program->code = NULL; /* the program's arena owns it */
}

static void release_workspace(qn_workspace *workspace)
{
    integer_memory *memory = workspace->memory;
    if (memory != NULL) {
        qn_free(memory->arena);
        qn_free(memory->inputs);
        qn_free(memory->outputs);
        qn_free(memory);
        workspace->memory = NULL;
    }
}

static void place_constant(uint8_t *arena, const qn_integer_tensor *t)
{
    memset(arena + t->offset - t->top * t->row - t->left * t->pixel, t->zero_point, t->n_bytes);
    const size_t row = (size_t)t->width * (size_t)t->channels;
    for (int y = 0; y < t->height; y++) {
        memcpy(arena + t->offset + y * t->row, t->initial + (size_t)y * row, row);
    }
}

void qn_integer_place_constants(const qn_integer_code *code, uint8_t *arena)
{
    for (int i = 0; i < code->n_tensors; i++) {
        if (code->tensors[i].initial != NULL && code->tensors[i].first_step >= 0) {
            place_constant(arena, &code->tensors[i]);
        }
    }
}

static qn_status create_workspace(qn_workspace *workspace, qn_error *err)
{
    const qn_program *program = workspace->program;
    const qn_integer_code *code = program->code;
    integer_memory *memory = qn_alloc(sizeof *memory);
    if (memory == NULL) {
        return qn_fail_memory(err, program->graph.file, sizeof *memory);
    }
    workspace->memory = memory;
    memory->arena = qn_alloc(code->arena_bytes);
    memory->inputs = qn_alloc(program->n_inputs * sizeof *memory->inputs);
    memory->outputs = qn_alloc(program->n_outputs * sizeof *memory->outputs);
    if (memory->arena == NULL || memory->inputs == NULL || memory->outputs == NULL) {
        release_workspace(workspace);
        return qn_fail_memory(err, program->graph.file, code->arena_bytes);
    }
    qn_integer_place_constants(code, memory->arena);
    memory->run = (qn_integer_run){code, memory->arena, memory->inputs, memory->outputs};
    return QN_OK;
}

qn_integer_run qn_integer_workspace_run(const qn_workspace *workspace)
{
    return ((const integer_memory *)workspace->memory)->run;
}

static qn_status run_images(const qn_program *program, qn_workspace *workspace, const float *const *inputs, int64_t n,
                            float *const *outputs, qn_error *err)
{
    (void)err;
    const qn_integer_code *code = program->code;
    integer_memory *memory = workspace->memory;
    if (code->tiles) {
        qn_tiles_begin();
    }
    for (int64_t image = 0; image < n; image++) {
        for (size_t i = 0; i < program->n_inputs; i++) {
            memory->inputs[i] = inputs[i] + image * program->inputs[i].count;
        }
        for (size_t i = 0; i < program->n_outputs; i++) {
            memory->outputs[i] = outputs[i] + image * program->outputs[i].count;
        }
        qn_integer_run_steps(&memory->run, 0, code->n_steps);
    }
    if (code->tiles) {
        qn_tiles_end();
    }
    return QN_OK;
}

const qn_engine_ops qn_engine_integer_ops = {
    .name = "integer",
    .one_by_one = true,
    .supports = qn_integer_supports,
    .compile = qn_integer_lower,
    .release = release_program,
    .workspace_create = create_workspace,
    .workspace_release = release_workspace,
    .run = run_images,
};
