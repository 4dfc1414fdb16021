/* Filling in error records (see quern/status.h). Used by every room. */
#ifndef QN_BASE_ERROR_H
#define QN_BASE_ERROR_H

#include <stddef.h>

#include "quern/status.h"

/* Record an error unless `err` is NULL or already holds one; returns `status` so that callers can
 * `return qn_fail(...)`. `where` may be NULL. Messages too long are cut at a character boundary with "...". */
qn_status qn_fail(qn_error *err, qn_status status, const char *where, const char *format, ...) QN_PRINTF(4, 5);

/* The same for a failed system call: appends strerror(sys_errno). */
qn_status qn_fail_errno(qn_error *err, qn_status status, int sys_errno, const char *where, const char *format, ...)
    QN_PRINTF(5, 6);

/* The same with a position in the input file. */
qn_status qn_fail_at(qn_error *err, qn_status status, int64_t byte_offset, const char *where, const char *format, ...)
    QN_PRINTF(5, 6);

/* Options structs start with their size, which their `init` function sets: QN_EINVAL naming that function when it is not
 * the one this library knows. */
qn_status qn_check_options_size(size_t given, size_t known, const char *init, qn_error *err);

/* Put "prefix, " in front of err->where: a caller that knows the file adds it to what the callee knew. */
void qn_error_prefix(qn_error *err, const char *prefix);

/* `QN_TRY(call)`: return its status when it is not QN_OK. Only where nothing needs releasing. */
#define QN_TRY(call)                                                                                                   \
    do {                                                                                                               \
        qn_status try_status_ = (call);                                                                                \
        if (try_status_ != QN_OK) {                                                                                    \
            return try_status_;                                                                                        \
        }                                                                                                              \
    } while (0)

#endif
