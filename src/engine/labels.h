/* Labels: the classes that items of a data set belong to. */
#ifndef QN_ENGINE_LABELS_H
#define QN_ENGINE_LABELS_H

#include "base/error.h"
#include "quern/dataset.h"
#include "quern/tensor.h"

/* What can be known of labels before anything runs: integers, one per item. NULL is none, and well. `name` is for
 * messages, NULL: "labels". Errors: QN_EINVAL, QN_ESHAPE. */
qn_status qn_labels_check(const qn_tensor *labels, const char *name, const qn_dataset *data, qn_error *err);
/* Label `index`; -1, which no class is, for what int64 cannot hold. */
int64_t qn_label_at(const qn_tensor *labels, int64_t index);
/* The class that n >= 1 finite outputs speak for: the index of the greatest, of equals the first. */
int64_t qn_argmax(const float *x, int64_t n);

#endif
