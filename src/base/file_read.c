/* Reading files. Nothing is mapped: a mapped file that another program cuts short ends in SIGBUS, a read file in an
 * error. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

qn_status qn_file_open(int *fd, int64_t *size, const char *path, qn_error *err)
{
    *fd = -1;
    if (path[0] == '\0') { /* the system's reason, "no such file", would come without a name */
        return qn_fail(err, QN_EINVAL, "''", "is not the name of a file");
    }
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not block before it is refused */
    if (opened < 0) {
        return qn_fail_errno(err, QN_EIO, errno, path, "cannot open");
    }
    struct stat info;
    if (fstat(opened, &info) != 0) {
        int reason = errno;
        close(opened);
        return qn_fail_errno(err, QN_EIO, reason, path, "cannot read the file's size");
    }
    if (!S_ISREG(info.st_mode)) {
        close(opened);
        return qn_fail(err, QN_EIO, path, "%s, where a file is needed",
                       S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file");
    }
    *fd = opened;
    *size = (int64_t)info.st_size;
    return QN_OK;
}

qn_status qn_file_read_at(int fd, void *data, size_t n, int64_t offset, size_t *n_read, const char *where,
                          qn_error *err)
{
    *n_read = 0;
    while (*n_read < n) {
        ssize_t got = pread(fd, (char *)data + *n_read, n - *n_read, (off_t)(offset + (int64_t)*n_read));
        if (got < 0 && errno != EINTR) {
            return qn_fail_errno(err, QN_EIO, errno, where, "cannot read");
        }
        if (got == 0) {
            break;
        }
        if (got > 0) {
            *n_read += (size_t)got;
        }
    }
    return QN_OK;
}

qn_status qn_file_read_exactly(int fd, void *data, size_t n, int64_t offset, const char *where, qn_error *err)
{
    size_t n_read;
    QN_TRY(qn_file_read_at(fd, data, n, offset, &n_read, where, err));
    return n_read == n ? QN_OK : qn_fail(err, QN_EIO, where, "the file has become shorter while it was in use");
}

qn_status qn_file_read(qn_file_bytes *bytes, const char *path, qn_error *err)
{
    int fd;
    int64_t size;
    QN_TRY(qn_file_open(&fd, &size, path, err));
    qn_status status = QN_OK;
    unsigned char *data = NULL;
    if (size > QN_FILE_READ_MAX) {
        status = qn_fail(err, QN_ELIMIT, path, "has %lld bytes, more than the %lld that such a file may have",
                         (long long)size, (long long)QN_FILE_READ_MAX);
    } else if ((data = qn_alloc_uncleared((size_t)size)) == NULL) {
        status = qn_fail_memory(err, path, (size_t)size);
    } else {
        status = qn_file_read_exactly(fd, data, (size_t)size, 0, path, err);
    }
    close(fd);
    if (status != QN_OK) {
        qn_free(data);
        return status;
    }
    *bytes = (qn_file_bytes){data, (size_t)size};
    return QN_OK;
}

void qn_file_bytes_free(qn_file_bytes *bytes)
{
    qn_free(bytes->data);
    *bytes = (qn_file_bytes){0};
}
