/* Preprocessing parameters: checks that public callers and the data set share. */
#ifndef QN_TENSOR_PREPROCESS_H
#define QN_TENSOR_PREPROCESS_H

#include "base/error.h"
#include "quern/dataset.h"

/* QN_EINVAL unless the rules in quern/dataset.h hold. */
qn_status qn_preprocess_check(const qn_preprocess *pre, qn_error *err);

/* The mean and std of channel c, with the meaning of 0 and 1 values filled in. */
double qn_preprocess_mean(const qn_preprocess *pre, int c);
double qn_preprocess_std(const qn_preprocess *pre, int c);

#endif
