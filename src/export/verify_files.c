/* What lies in the directory of an export, and what its manifest says lies there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/verify.h"

enum { DEPTH_MAX = 8, FILES_MAX = 200000 };

static char *join(const char *directory, const char *name)
{
    const size_t n = strlen(directory) + strlen(name) + 2;
    char *path = qn_alloc(n);
    if (path != NULL) {
        snprintf(path, n, directory[0] != '\0' ? "%s/%s" : "%s%s", directory, name);
    }
    return path;
}

static qn_status add(qn_export_checking *c, char *path, int64_t n_bytes, qn_error *err)
{
    if (c->n_files == FILES_MAX) {
        qn_free(path);
        return qn_fail(err, QN_ELIMIT, c->directory, "holds more than %d files; no export does", FILES_MAX);
    }
    void *files = c->files;
    const qn_status status = qn_grow(&files, &c->files_capacity, c->n_files, sizeof *c->files, err);
    c->files = files;
    if (status != QN_OK) {
        qn_free(path);
        return status;
    }
    c->files[c->n_files++] = (qn_export_found){.path = path, .n_bytes = n_bytes, .index = -1};
    return QN_OK;
}

static qn_status walk(qn_export_checking *c, int fd, const char *below, int depth, qn_error *err);

static qn_status visit(qn_export_checking *c, int fd, const char *below, const char *name, int depth, qn_error *err)
{
    struct stat info;
    char *path = join(below, name);
    if (path == NULL) {
        return qn_fail_memory(err, c->directory, 0);
    }
    if (depth == 1 && strcmp(name, "build") == 0) { /* c/build and the like: what make left there */
        qn_free(path);
        return QN_OK;
    }
    qn_status status = QN_OK;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        status = qn_fail_errno(err, QN_EIO, errno, path, "cannot be looked at");
    } else if (S_ISREG(info.st_mode)) {
        return add(c, path, info.st_size, err);
    } else if (S_ISDIR(info.st_mode) && depth < DEPTH_MAX) {
        const int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        status = inner >= 0 ? walk(c, inner, path, depth + 1, err)
                            : qn_fail_errno(err, QN_EIO, errno, path, "cannot be read");
    } else {
        qn_export_differs(c, "%s: %s; no export has one, and it is not followed", path,
                          S_ISLNK(info.st_mode)   ? "is a symbolic link"
                          : S_ISDIR(info.st_mode) ? "is a folder too deep"
                                                  : "is neither file nor folder");
    }
    qn_free(path);
    return status;
}

/* Takes fd. */
static qn_status walk(qn_export_checking *c, int fd, const char *below, int depth, qn_error *err)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        const int reason = errno;
        close(fd);
        return qn_fail_errno(err, QN_EIO, reason, c->directory, "cannot be read");
    }
    qn_status status = QN_OK;
    for (const struct dirent *e; status == QN_OK && (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            status = visit(c, fd, below, e->d_name, depth, err);
        }
    }
    closedir(dir);
    return status;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const qn_export_found *)a)->path, ((const qn_export_found *)b)->path);
}

qn_status qn_export_walk(qn_export_checking *c, qn_error *err)
{
    const int fd = open(c->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return qn_fail_errno(err, QN_EIO, errno, c->directory, "cannot be opened as a directory");
    }
    QN_TRY(walk(c, fd, "", 0, err));
    if (c->n_files > 0) {
        qsort(c->files, c->n_files, sizeof *c->files, compare);
    }
    return QN_OK;
}

qn_export_found *qn_export_find(qn_export_checking *c, const char *path)
{
    const qn_export_found key = {.path = (char *)(uintptr_t)path};
    return c->n_files > 0 ? bsearch(&key, c->files, c->n_files, sizeof *c->files, compare) : NULL;
}

qn_status qn_export_read_found(qn_file_bytes *bytes, const qn_export_checking *c, const qn_export_found *file,
                               qn_error *err)
{
    char *path = join(c->directory, file->path);
    if (path == NULL) {
        return qn_fail_memory(err, file->path, 0);
    }
    const qn_status status = qn_file_read(bytes, path, err);
    qn_free(path);
    return status;
}

static qn_status check_hash(qn_export_checking *c, qn_export_found *file, const char *expected, qn_error *err)
{
    char hex[QN_SHA256_HEX];
    static const size_t piece = 1 << 20;
    struct sha256_ctx hash;
    int fd;
    int64_t size;
    char *path = join(c->directory, file->path);
    unsigned char *buffer = qn_alloc_uncleared(piece);
    if (path == NULL || buffer == NULL) {
        qn_free(path);
        qn_free(buffer);
        return qn_fail_memory(err, file->path, piece);
    }
    qn_status status = qn_file_open(&fd, &size, path, err);
    sha256_init(&hash);
    size_t n = piece;
    for (int64_t at = 0; status == QN_OK && n == piece && at < size; at += (int64_t)n) {
        status = qn_file_read_at(fd, buffer, piece, at, &n, path, err);
        if (status == QN_OK) {
            sha256_update(&hash, n, buffer);
        }
    }
    qn_sha256_finish(hex, &hash);
    file->altered = status == QN_OK && strcmp(hex, expected) != 0;
    if (fd >= 0) {
        close(fd);
    }
    qn_free(path);
    qn_free(buffer);
    return status;
}

/* A relative path that stays below. */
static bool is_below(const char *path)
{
    for (const char *part = path;; part++) {
        const size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.')) {
            return false;
        }
        part += n;
        if (*part == '\0') {
            return true;
        }
    }
}

static qn_status check_entry(qn_export_checking *c, int index, const json_t *entry, qn_error *err)
{
    const json_t *path = json_object_get(entry, "path"), *hash = json_object_get(entry, "sha256");
    const json_t *n_bytes = json_object_get(entry, "bytes");
    if (!json_is_string(path) || !json_is_string(hash) || !json_is_integer(n_bytes)) {
        qn_export_differs(c, "%s: files[%d] is no object of path, bytes and sha256", QN_EXPORT_MANIFEST_FILE, index);
        return QN_OK;
    }
    const char *name = json_string_value(path);
    if (!is_below(name)) {
        qn_export_differs(c, "%s: files[%d].path '%.100s' leads out of the directory; it is not read",
                          QN_EXPORT_MANIFEST_FILE, index, name);
        return QN_OK;
    }
    qn_export_found *file = qn_export_find(c, name);
    if (file == NULL) {
        qn_export_differs(c, "%.200s: is missing", name);
        return QN_OK;
    }
    if (file->listed) { /* a list of one large file a million times is not read a million times */
        qn_export_differs(c, "%s: files[%d] lists '%.200s' again", QN_EXPORT_MANIFEST_FILE, index, name);
        return QN_OK;
    }
    file->listed = true;
    file->index = index;
    if (file->n_bytes != json_integer_value(n_bytes)) {
        qn_export_differs(c, "%s: has %lld bytes, the manifest says %lld", file->path, (long long)file->n_bytes,
                          (long long)json_integer_value(n_bytes));
        file->told = true;
        return QN_OK;
    }
    return check_hash(c, file, json_string_value(hash), err);
}

qn_status qn_export_check_list(qn_export_checking *c, qn_error *err)
{
    const json_t *files = json_object_get(c->manifest, "files");
    if (!json_is_array(files)) {
        return qn_fail(err, QN_EFORMAT, c->directory, "%s: 'files' is no list", QN_EXPORT_MANIFEST_FILE);
    }
    for (size_t i = 0; i < json_array_size(files); i++) {
        QN_TRY(check_entry(c, (int)i, json_array_get(files, i), err));
        c->check->n_files++;
    }
    for (size_t i = 0; i < c->n_files; i++) {
        qn_export_found *file = &c->files[i];
        if (!file->listed && strcmp(file->path, QN_EXPORT_MANIFEST_FILE) != 0) {
            qn_export_differs(c, "%s: is not listed in the manifest", file->path);
            file->told = true;
        }
    }
    return QN_OK;
}
