/* Values of the integer engine as reals, for those who look at them after a run. */
#include "engine/integer/integer.h"

bool qn_integer_read(const qn_program *program, const qn_workspace *workspace, qn_value_id value, float *x,
                     int64_t *count)
{
    const qn_integer_code *code = program->code;
    const int index = program->options.keep_values ? code->tensor_of[value] : -1;
    if (index < 0 || code->tensors[index].first_step < 0) {
        return false;
    }
    const qn_integer_tensor *t = &code->tensors[index];
    *count = (int64_t)t->height * t->width * t->channels;
    if (x == NULL) {
        return true;
    }
    const uint8_t *codes = qn_integer_workspace_run(workspace).memory + t->offset;
    for (int c = 0; c < t->channels; c++) {
        for (int row = 0; row < t->height; row++) {
            const uint8_t *line = codes + row * t->row + c;
            for (int column = 0; column < t->width; column++) {
                *x++ = (float)(line[column * t->pixel] - t->zero_point) * t->scale;
            }
        }
    }
    return true;
}
