/* Vectors of an export: codes and floats of inputs and outputs. */
#ifndef QN_EXPORT_VECTORS_H
#define QN_EXPORT_VECTORS_H

#include "export/target.h"

/* dtype that holds a tensor's codes by value: int8, uint8; int16 for what they do not hold. */
qn_dtype qn_export_code_dtype(int bits, bool is_signed);
/* Codes as numbers of that dtype. */
void qn_export_narrow(void *to, qn_dtype dtype, const int16_t *codes, int64_t n);
/* Place of element i, in C order of the tensor's own shape, in the network's order. */
int64_t qn_export_place(const qn_export_tensor *t, int64_t i);
/* Axes of a tensor's codes: in the network's order (`pixels`), or in the model's; `dims` has room for 3 and for its
 * rank. Returns the rank. */
int qn_export_code_shape(const qn_export_tensor *t, bool model_order, int64_t *dims);

#endif
