/* Arrays and JSON texts in .npz files of reference vectors. */
#ifndef QN_TESTS_NPZ_JSON_H
#define QN_TESTS_NPZ_JSON_H

#include <jansson.h>

#include "quern/tensor.h"

/* The JSON in string array `name` of an archive; NaN in it is 0, infinities null. The test fails when there is none.
 * Release with json_decref. */
json_t *npz_meta_read(const char *path, const char *name);

/* The numeric array `name` of an archive; fails the test when there is none. Release with qn_tensor_free. */
qn_tensor npz_read(const char *path, const char *name);
/* The same, or an array without data when there is none. */
qn_tensor npz_read_optional(const char *path, const char *name);

/* Name number `index` of the arrays that start with `prefix`, without it; NULL when there are not so many. The string
 * is the caller's to free. */
char *npz_name(const char *path, const char *prefix, int index);

#endif
