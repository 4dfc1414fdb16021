/* Status codes and the error record. Every fallible call returns a qn_status and takes, as its
 * last argument, a caller-owned qn_error that may be NULL. */
#ifndef QUERN_STATUS_H
#define QUERN_STATUS_H

#include <stdint.h>

#if defined(__GNUC__)
#define QN_API                          __attribute__((visibility("default")))
#define QN_NODISCARD                    __attribute__((warn_unused_result))
#define QN_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#else
#define QN_API
#define QN_NODISCARD
#define QN_PRINTF(fmt_index, first_arg)
#endif

/* X(name, value, text). Values are part of the ABI: never renumbered, new rows go last. */
#define QN_STATUS_LIST(X)                                                                                              \
    X(QN_OK, 0, "ok")                                                                                                  \
    X(QN_EINVAL, 1, "invalid argument")                                                                                \
    X(QN_ENOMEM, 2, "out of memory")                                                                                   \
    X(QN_EIO, 3, "input/output error")                                                                                 \
    X(QN_EFORMAT, 4, "malformed input")                                                                                \
    X(QN_EUNSUPPORTED, 5, "unsupported input")                                                                         \
    X(QN_ESHAPE, 6, "shape mismatch")                                                                                  \
    X(QN_ERANGE, 7, "value out of range")                                                                              \
    X(QN_ELIMIT, 8, "limit exceeded")                                                                                  \
    X(QN_EEXIST, 9, "output exists")                                                                                   \
    X(QN_ECONFLICT, 10, "contradicting settings")                                                                      \
    X(QN_EINTERNAL, 11, "internal error")                                                                              \
    X(QN_ECANCELED, 12, "canceled")

typedef enum qn_status {
#define QN_STATUS_ENUM(name, value, text) name = value,
    QN_STATUS_LIST(QN_STATUS_ENUM)
#undef QN_STATUS_ENUM
} qn_status;

enum { QN_ERROR_WHERE_MAX = 512, QN_ERROR_MESSAGE_MAX = 8192 };

/* What went wrong. The first failure wins: a record that already holds an error keeps it.
 *  where    the thing in the user's terms: "model.onnx, node 12 Conv 'layer1.conv1', attribute pads"
 *  message  reason and remedy in one line, without a trailing newline */
typedef struct qn_error {
    qn_status status;
    int sys_errno;       /* errno of the failed system call, 0 if none */
    int64_t byte_offset; /* into the input file, -1 if unknown */
    char where[QN_ERROR_WHERE_MAX];
    char message[QN_ERROR_MESSAGE_MAX];
} qn_error;

/* Reset `err` to QN_OK. Must be called before a record is first used. NULL is allowed. */
QN_API void qn_error_init(qn_error *err);

/* Short English text of a status; never NULL, also for unknown values. Static storage. */
QN_API const char *qn_status_text(qn_status status);

/* Library version, "MAJOR.MINOR.PATCH". Static storage. */
QN_API const char *qn_version(void);

#endif
