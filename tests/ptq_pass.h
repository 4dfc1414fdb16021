/* Running single passes of quantization in tests, as a recipe would. */
#ifndef QN_TEST_PTQ_PASS_H
#define QN_TEST_PTQ_PASS_H

#include "ptq/recipe.h"

/* Settings of integers: weights of `bits` bits per channel, activations uint8, biases int32. */
qn_ptq_settings qn_test_ptq_settings(int bits);
/* One pass with its default options, as qn_ptq_run_pass. */
qn_status qn_test_ptq_pass(qn_ptq *ptq, qn_ptq_pass_fn pass, qn_error *err);

#endif
