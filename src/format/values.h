/* The elements of a tensor as input of formats: the policy for what is not a number, and the values of each parameter
 * set brought together. */
#ifndef QN_FORMAT_VALUES_H
#define QN_FORMAT_VALUES_H

#include "base/error.h"
#include "quern/codes.h"

/* QN_EINVAL unless x is f32 or f64; QN_ERANGE, naming the first element, for what the policies refuse. *has_nan tells
 * of NaN that is not refused. */
qn_status qn_values_check(const qn_tensor *x, qn_nan_policy nan, qn_inf_policy inf, bool *has_nan, qn_error *err);
/* A copy with 0 for NaN. Errors: QN_ENOMEM. */
qn_status qn_values_without_nan(qn_tensor *clean, const qn_tensor *x, qn_error *err);

/* The finite values of each set, set after set, NaN as 0, infinities left out. Released by qn_values_free. */
typedef struct qn_values {
    int64_t n_sets;
    int64_t *start; /* n_sets + 1: the values of set s are at x[start[s]] to x[start[s + 1] - 1] */
    double *x;
} qn_values;

/* Gather for a granularity that qn_quantizer_sets accepts. Errors: QN_EINVAL, QN_ELIMIT, QN_ENOMEM. */
qn_status qn_values_gather(qn_values *values, const qn_tensor *x, int axis, int64_t group, qn_error *err);
/* The same into memory of the caller: n_sets is right, start (n_sets + 1) is zeroed, x has room for all elements. */
void qn_values_place(qn_values *values, const qn_tensor *x, int axis, int64_t group);
void qn_values_free(qn_values *values);

#endif
