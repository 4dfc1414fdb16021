#include "ptq_pass.h"

qn_ptq_settings qn_test_ptq_settings(int bits)
{
    const qn_format weights = {.bits = bits, .is_signed = true}, activations = {.bits = 8, .fit = QN_FIT_AFFINE};
    return (qn_ptq_settings){
        .base = {.weights = weights, .activations = activations, .bias = {.bits = 32, .is_signed = true}}};
}

qn_status qn_test_ptq_pass(qn_ptq *ptq, qn_ptq_pass_fn pass, qn_error *err)
{
    qn_ptq_step step = {.pass = NULL};
    for (size_t i = 0; i < qn_ptq_n_passes; i++) {
        step.pass = qn_ptq_passes[i].run == pass ? &qn_ptq_passes[i] : step.pass;
    }
    for (int k = 0; step.pass != NULL && step.pass->options[k].name != NULL; k++) {
        step.values[k] = step.pass->options[k].fallback;
    }
    ptq->step = step.pass != NULL ? &step : NULL;
    qn_status status = qn_ptq_run_pass(ptq, pass, err);
    ptq->step = NULL;
    return status;
}
