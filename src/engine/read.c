/* Values of a run as dense reals, whatever engine made them. */
#include "engine/integer/integer.h"
#include "engine/program.h"

bool qn_program_read(const qn_program *program, const qn_workspace *workspace, qn_value_id value, float *x,
                     int64_t *count)
{
    if (value < 0 || (size_t)value >= program->graph.n_values) {
        return false;
    }
    if (program->engine == &qn_engine_integer_ops) {
        return qn_integer_read(program, workspace, value, x, count);
    }
    qn_value_view v;
    if (!qn_program_view(program, workspace, value, 1, &v)) {
        return false;
    }
    *count = v.n * v.channels * v.inner;
    for (int64_t n = 0; x != NULL && n < v.n; n++) {
        for (int64_t c = 0; c < v.channels; c++) {
            const float *from = v.data + n * v.stride_n + c / v.block * v.stride_block + c % v.block;
            for (int64_t i = 0; i < v.inner; i++) {
                *x++ = from[i * v.stride_inner];
            }
        }
    }
    return true;
}
