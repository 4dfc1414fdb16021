/* Values of the integer engine as reals, for those who look at them after a run. */
#include "engine/integer/integer.h"

#include <string.h>

/* The tensor that holds a value: its codes, or reals where a node runs in float. */
static const qn_integer_tensor *find_tensor(const qn_program *program, qn_value_id value)
{
    const qn_integer_code *code = program->code;
    if (program->binding.values[value].dtype != QN_DTYPE_F32) {
        return NULL;
    }
    const int index = code->tensor_of[value];
    const qn_integer_tensor *found = index >= 0 ? &code->tensors[index] : NULL;
    for (int i = 0; found == NULL && i < code->n_tensors; i++) {
        found = code->tensors[i].real && code->tensors[i].value == value ? &code->tensors[i] : NULL;
    }
    return found != NULL && found->first_step >= 0 ? found : NULL;
}

static void read_codes(float *x, const qn_integer_tensor *t, const uint8_t *codes)
{
    for (int i = 0; t->plain && i < t->width * t->channels; i++) {
        *x++ = (float)(codes[i] - t->zero_point) * t->scale;
    }
    for (int c = 0; !t->plain && c < t->channels; c++) {
        for (int row = 0; row < t->height; row++) {
            const uint8_t *line = codes + row * t->row + c;
            for (int column = 0; column < t->width; column++) {
                *x++ = (float)(line[column * t->pixel] - t->zero_point) * t->scale;
            }
        }
    }
}

bool qn_integer_read(const qn_program *program, const qn_workspace *workspace, qn_value_id value, float *x,
                     int64_t *count)
{
    const qn_integer_tensor *t = program->options.keep_values ? find_tensor(program, value) : NULL;
    if (t == NULL) {
        return false;
    }
    *count = (int64_t)t->height * t->width * t->channels;
    if (x != NULL) {
        const uint8_t *memory = qn_integer_workspace_run(workspace).memory + t->offset;
        if (t->real) {
            memcpy(x, memory, (size_t)*count * sizeof *x);
        } else {
            read_codes(x, t, memory);
        }
    }
    return true;
}
