#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"

void qn_error_init(qn_error *err)
{
    if (err != NULL) {
        err->status = QN_OK;
        err->sys_errno = 0;
        err->byte_offset = -1;
        err->where[0] = '\0';
        err->message[0] = '\0';
    }
}

const char *qn_status_text(qn_status status)
{
    switch (status) {
#define QN_STATUS_CASE(name, value, text)                                                                              \
    case name:                                                                                                         \
        return text;
        QN_STATUS_LIST(QN_STATUS_CASE)
#undef QN_STATUS_CASE
    }
    return "unknown status";
}

const char *qn_version(void)
{
    return QN_VERSION_STRING;
}

/* A cut must not split a UTF-8 sequence: step back over continuation bytes. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - 4;
    while (end > 0 && ((unsigned char)text[end] & 0xC0u) == 0x80u) {
        end--;
    }
    memcpy(text + end, "...", 4);
}

/* Names from files may hold anything; a message is one line and does not steer the terminal. */
static void replace_controls(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7F) {
            *text = '?';
        }
    }
}

static void format_into(char *text, size_t size, const char *format, va_list args)
{
    int length = vsnprintf(text, size, format, args);
    if (length >= (int)size) {
        mark_cut(text, size);
    }
}

static qn_status record(qn_error *err, qn_status status, int sys_errno, int64_t byte_offset, const char *where,
                        const char *format, va_list args)
{
    if (err == NULL || err->status != QN_OK) {
        return status;
    }
    err->status = status;
    err->sys_errno = sys_errno;
    err->byte_offset = byte_offset;
    int length = snprintf(err->where, sizeof err->where, "%s", where != NULL ? where : "");
    if (length >= (int)sizeof err->where) {
        mark_cut(err->where, sizeof err->where);
    }
    format_into(err->message, sizeof err->message, format, args);
    replace_controls(err->where);
    replace_controls(err->message);
    if (sys_errno != 0) {
        char reason[128];
        size_t used = strlen(err->message);
        if (strerror_r(sys_errno, reason, sizeof reason) == 0) {
            snprintf(err->message + used, sizeof err->message - used, ": %s", reason);
        }
    }
    return status;
}

qn_status qn_fail(qn_error *err, qn_status status, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(err, status, 0, -1, where, format, args);
    va_end(args);
    return status;
}

qn_status qn_fail_errno(qn_error *err, qn_status status, int sys_errno, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(err, status, sys_errno, -1, where, format, args);
    va_end(args);
    return status;
}

qn_status qn_fail_at(qn_error *err, qn_status status, int64_t byte_offset, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(err, status, 0, byte_offset, where, format, args);
    va_end(args);
    return status;
}

qn_status qn_check_options_size(size_t given, size_t known, const char *init, qn_error *err)
{
    if (given != known) {
        return qn_fail(err, QN_EINVAL, "options", "have %zu bytes, this library knows %zu; start from %s", given, known,
                       init);
    }
    return QN_OK;
}

void qn_error_prefix(qn_error *err, const char *prefix)
{
    if (err == NULL || err->status == QN_OK) {
        return;
    }
    char joined[QN_ERROR_WHERE_MAX];
    int length = snprintf(joined, sizeof joined, err->where[0] != '\0' ? "%s, %s" : "%s%s", prefix, err->where);
    if (length >= (int)sizeof joined) {
        mark_cut(joined, sizeof joined);
    }
    memcpy(err->where, joined, sizeof joined);
}
