#define _GNU_SOURCE /* renameat2, where there is one */
#include "base/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { MOST = 200 }; /* bytes of the last name that are kept: with the suffix they fit NAME_MAX */

/* "a/b" in memory of its own; NULL when out of memory. */
static char *join(const char *directory, const char *name)
{
    const size_t n = strlen(directory), m = strlen(name);
    char *path = qn_alloc(n + m + 2);
    if (path != NULL) {
        memcpy(path, directory, n);
        path[n] = '/';
        memcpy(path + n + 1, name, m);
    }
    return path;
}

static void remove_tree(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0) {
        return;
    }
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            remove_tree(fd, e->d_name);
        }
    }
    closedir(dir);
    unlinkat(parent, name, AT_REMOVEDIR);
}

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool empty = dir != NULL;
    for (const struct dirent *e; empty && (e = readdir(dir)) != NULL;) {
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return empty;
}

/* Only what a former run made, or nothing, is replaced. */
static qn_status check_replaceable(const char *path, const char *mark, qn_error *err)
{
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return qn_fail(err, QN_EINVAL, path, "is not a directory, and is not replaced; name another one");
    }
    if (is_empty(path)) {
        return QN_OK;
    }
    char *marked = join(path, mark);
    if (marked == NULL) {
        return qn_fail_memory(err, path, strlen(path));
    }
    const bool found = lstat(marked, &info) == 0 && S_ISREG(info.st_mode);
    qn_free(marked);
    return found ? QN_OK
                 : qn_fail(err, QN_EINVAL, path,
                           "holds no %s: it was not made by a former run, and is not replaced; name another directory",
                           mark);
}

static qn_status check(const qn_directory_out *out, qn_error *err)
{
    struct stat info;
    if (lstat(out->path, &info) != 0) {
        return QN_OK;
    }
    return out->overwrite ? check_replaceable(out->path, out->mark, err)
                          : qn_fail(err, QN_EEXIST, out->path, "already exists");
}

static void release(qn_directory_out *out)
{
    if (out->temporary != NULL) {
        remove_tree(AT_FDCWD, out->temporary);
    }
    qn_free(out->path);
    qn_free(out->temporary);
    *out = (qn_directory_out){0};
}

/* Two names beside `path`; false when none can be made. */
static bool make_beside(const char *path, char *name, size_t size)
{
    static _Atomic unsigned counter;
    const char *slash = strrchr(path, '/');
    const size_t directory = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    size_t length = strlen(path);
    length = length - directory > MOST ? directory + MOST : length;
    for (int attempt = 0; attempt < 100; attempt++) {
        snprintf(name, size, "%.*s.tmp.%ld.%u", (int)length, path, (long)getpid(), counter++);
        if (mkdir(name, 0777) == 0) {
            return true;
        }
        if (errno != EEXIST) {
            return false;
        }
    }
    return false;
}

qn_status qn_directory_create(qn_directory_out *out, const char *path, bool overwrite, const char *mark, qn_error *err)
{
    *out = (qn_directory_out){.overwrite = overwrite, .mark = mark};
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length == 0) {
        return qn_fail(err, QN_EINVAL, "''", "is not the name of a directory");
    }
    out->path = qn_alloc(length + 1);
    char *temporary = qn_alloc(length + 48);
    if (out->path == NULL || temporary == NULL) {
        qn_free(temporary);
        release(out);
        return qn_fail_memory(err, path, length);
    }
    memcpy(out->path, path, length);
    const char *last = strrchr(out->path, '/');
    last = last != NULL && last[1] != '\0' ? last + 1 : out->path;
    qn_status status = strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strcmp(last, "/") == 0
                           ? qn_fail(err, QN_EINVAL, path, "cannot be replaced as a whole; name a new directory")
                           : check(out, err);
    if (status == QN_OK && !make_beside(out->path, temporary, length + 48)) {
        status = qn_fail_errno(err, QN_EIO, errno, path, "cannot create");
    }
    if (status != QN_OK) {
        qn_free(temporary);
        release(out);
        return status;
    }
    out->temporary = temporary;
    return QN_OK;
}

/* The folders of a file below the directory. */
static qn_status make_folders(char *path, size_t from, qn_error *err)
{
    for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const int failed = mkdir(path, 0777);
        const int reason = errno;
        const qn_status status =
            failed != 0 && reason != EEXIST ? qn_fail_errno(err, QN_EIO, reason, path, "cannot create") : QN_OK;
        *slash = '/';
        QN_TRY(status);
    }
    return QN_OK;
}

qn_status qn_directory_write(qn_directory_out *out, const char *name, const void *data, size_t n_bytes, qn_error *err)
{
    char *path = join(out->temporary, name);
    if (path == NULL) {
        return qn_fail_memory(err, name, strlen(name));
    }
    qn_status status = make_folders(path, strlen(out->temporary) + 1, err);
    if (status == QN_OK) {
        status = qn_file_write_all(path, false, data, n_bytes, err);
    }
    qn_free(path);
    return status;
}

/* 0, or -1 with errno: EEXIST where something has the name. */
static int rename_to_new(const char *from, const char *to)
{
#ifdef RENAME_NOREPLACE
    const int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (failed == 0 || errno == EEXIST) {
        return failed;
    }
#endif
    struct stat info;
    if (lstat(to, &info) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

/* The old one is moved into the new one's place among temporary names, and comes back when the new one does not get there. */
static qn_status replace(qn_directory_out *out, qn_error *err)
{
    const size_t size = strlen(out->path) + 48;
    char *old = qn_alloc(size);
    if (old == NULL) {
        return qn_fail_memory(err, out->path, size);
    }
    qn_status status = QN_OK;
    if (!make_beside(out->path, old, size) || rename(out->path, old) != 0) { /* over the empty one just made */
        status = qn_fail_errno(err, QN_EIO, errno, out->path, "cannot replace");
        rmdir(old);
    } else if (rename_to_new(out->temporary, out->path) != 0) {
        status = qn_fail_errno(err, QN_EIO, errno, out->path, "cannot finish writing");
        (void)rename_to_new(old, out->path);
    } else {
        remove_tree(AT_FDCWD, old);
    }
    qn_free(old);
    return status;
}

qn_status qn_directory_commit(qn_directory_out *out, qn_error *err)
{
    qn_status status = check(out, err);
    struct stat info;
    if (status == QN_OK && lstat(out->path, &info) == 0) {
        status = replace(out, err);
    } else if (status == QN_OK && rename_to_new(out->temporary, out->path) != 0) {
        status = errno == EEXIST ? qn_fail(err, QN_EEXIST, out->path, "already exists")
                                 : qn_fail_errno(err, QN_EIO, errno, out->path, "cannot finish writing");
    }
    release(out);
    return status;
}

void qn_directory_abandon(qn_directory_out *out)
{
    release(out);
}
