/* Steps in other arithmetics than the default. */
#ifndef QN_ENGINE_INTEGER_RUN_REQUANTIZE_H
#define QN_ENGINE_INTEGER_RUN_REQUANTIZE_H

#include "engine/integer/integer.h"

/* One job per group whose channels the box meets (run.c). */
void qn_integer_run_groups(const qn_integer_conv *conv, const qn_conv_job *whole, qn_conv_fn *kernel,
                           const qn_box *box);
/* A convolution with conv.requantize; job as for the step's own kernel, without a box; sums: room for a row. */
void qn_integer_run_requantized(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int32_t *sums);
/* The same with float results, into `y`. */
void qn_integer_run_decoded(const qn_integer_step *step, const qn_conv_job *job, const qn_integer_tensor *y,
                            const qn_box *box, int32_t *sums);
/* Its sums as the accumulator holds them in the end: s32[y][x][k] of the box, dense. */
void qn_integer_narrow_sums(const qn_integer_step *step, const qn_conv_job *job, const qn_box *box, int32_t *sums);
void qn_integer_fixed_add_codes(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n,
                                const qn_integer_fixed_add *add);
void qn_integer_fixed_average_codes(uint8_t *y, const qn_pool_window *window, const qn_integer_fixed_average *average,
                                    int32_t divisor, int32_t lo, int32_t hi);

#endif
