#define _XOPEN_SOURCE 700 /* realpath */
#include "tensor/external_data.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

typedef struct location {
    const char *path;
    uint64_t offset, length;
    bool has_length;
} location;

/* Decimal digits only: strtoull would take signs and blanks. */
static bool parse_u64(uint64_t *value, const char *text)
{
    *value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*text - '0'), value)) {
            return false;
        }
    }
    return true;
}

static qn_status parse_location(location *at, const Onnx__TensorProto *proto, const char *where, qn_error *err)
{
    *at = (location){0};
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const char *key = proto->external_data[i]->key, *value = proto->external_data[i]->value;
        if (key == NULL || value == NULL) {
            return qn_fail(err, QN_EFORMAT, where, "external_data has an entry without key or value");
        }
        if (strcmp(key, "location") == 0) {
            at->path = value;
        }
        at->has_length = at->has_length || strcmp(key, "length") == 0;
        uint64_t *number = strcmp(key, "offset") == 0 ? &at->offset : strcmp(key, "length") == 0 ? &at->length : NULL;
        if (number != NULL && !parse_u64(number, value)) {
            return qn_fail(err, QN_EFORMAT, where, "external_data: %s '%s' is not a number", key, value);
        }
    }
    if (at->path == NULL || at->path[0] == '\0') {
        return qn_fail(err, QN_EFORMAT, where, "external_data names no location");
    }
    return QN_OK;
}

static bool has_parent_step(const char *path)
{
    for (const char *step = path; step != NULL; step = strchr(step, '/')) {
        step += *step == '/';
        if (strncmp(step, "..", 2) == 0 && (step[2] == '/' || step[2] == '\0')) {
            return true;
        }
    }
    return false;
}

/* The real path of directory/relative, which must be below the real path of directory. */
static qn_status resolve(char resolved[PATH_MAX], const char *directory, const char *relative, const char *where,
                         qn_error *err)
{
    char base[PATH_MAX], joined[PATH_MAX];
    int length = snprintf(joined, sizeof joined, "%s/%s", directory, relative);
    if (length < 0 || length >= (int)sizeof joined) {
        return qn_fail(err, QN_ELIMIT, where, "external data path is too long");
    }
    if (realpath(directory, base) == NULL || realpath(joined, resolved) == NULL) {
        return qn_fail_errno(err, QN_EIO, errno, where, "cannot open external data '%s'", joined);
    }
    size_t n = strcmp(base, "/") == 0 ? 0 : strlen(base);
    if (strncmp(base, resolved, n) != 0 || resolved[n] != '/') {
        return qn_fail(err, QN_EFORMAT, where, "external data '%s' is a link out of the model's directory", relative);
    }
    return QN_OK;
}

static qn_status check_range(const location *at, uint64_t file_size, size_t n_bytes, const char *where, qn_error *err)
{
    if (at->has_length && at->length != n_bytes) {
        return qn_fail(err, QN_EFORMAT, where, "external data has length %llu, but the shape takes %zu bytes",
                       (unsigned long long)at->length, n_bytes);
    }
    if (at->offset > file_size || n_bytes > file_size - at->offset) {
        return qn_fail(err, QN_EFORMAT, where,
                       "external data '%s' has %llu bytes, but %zu are needed from offset %llu on", at->path,
                       (unsigned long long)file_size, n_bytes, (unsigned long long)at->offset);
    }
    return QN_OK;
}

qn_status qn_external_data_open(qn_external_data *data, const Onnx__TensorProto *proto, size_t n_bytes,
                                const char *directory, const char *where, qn_error *err)
{
    location at;
    QN_TRY(parse_location(&at, proto, where, err));
    if (directory == NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, where, "its data is external ('%s'), which only a model file can have",
                       at.path);
    }
    if (at.path[0] == '/' || has_parent_step(at.path)) {
        return qn_fail(err, QN_EFORMAT, where, "external data '%s' is not a path inside the model's directory",
                       at.path);
    }
    char path[PATH_MAX];
    QN_TRY(resolve(path, directory, at.path, where, err));
    int64_t size;
    qn_status status = qn_file_open(&data->fd, &size, path, err);
    if (status != QN_OK) {
        qn_error_prefix(err, where);
        return status;
    }
    status = check_range(&at, (uint64_t)size, n_bytes, where, err);
    if (status != QN_OK) {
        close(data->fd);
        return status;
    }
    data->offset = (int64_t)at.offset;
    return QN_OK;
}

qn_status qn_external_data_read(qn_external_data *data, void *bytes, size_t n_bytes, const char *where, qn_error *err)
{
    return qn_file_read_exactly(data->fd, bytes, n_bytes, data->offset, where, err);
}

void qn_external_data_close(qn_external_data *data)
{
    close(data->fd);
    data->fd = -1;
}
