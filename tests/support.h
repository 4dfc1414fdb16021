/* What every test program needs: cmocka with its prerequisites, the shared material, errors as assertions. */
#ifndef QN_TESTS_SUPPORT_H
#define QN_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "quern/status.h"

/* Path of a file below the folder of shared vectors and data ("data/models/lenet_cifar10.onnx"): $QN_SHARED, or
 * ../shared beside the source tree. NULL when it is absent, after saying on stderr what is skipped; the caller then
 * calls skip(). The string lives until the next 8 calls. */
const char *qn_shared(const char *relative);

/* A new empty directory for this test program's files; removed at exit. */
const char *qn_scratch(void);
/* "scratch/name"; lives until the next 8 calls. */
const char *qn_scratch_file(const char *name);

/* Fail the test with the error's text unless status is QN_OK. */
void qn_assert_ok(qn_status status, const qn_error *err);
/* The call failed with this status, and where or message contains `fragment`. */
void qn_assert_fails(qn_status status, const qn_error *err, qn_status expected, const char *fragment);

/* Reproducible noise for inputs: xorshift64*, never zero state. */
uint64_t qn_test_random(uint64_t *state);
float qn_test_uniform(uint64_t *state, float lo, float hi);

#endif
