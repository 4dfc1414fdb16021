/* One array inside an .npz, which is a zip archive of .npy files; libzip does the unpacking. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "base/memory.h"
#include "tensor/spool.h"

enum { NAMES_MAX = 1024 };

typedef struct member_state {
    zip_t *archive;
    zip_file_t *file;
} member_state;

static qn_status member_read(void *state, void *data, size_t n, size_t *n_read, const char *where, qn_error *err)
{
    member_state *member = state;
    zip_int64_t got = zip_fread(member->file, data, n);
    if (got < 0) {
        return qn_fail(err, QN_EFORMAT, where, "damaged zip archive: %s", zip_file_strerror(member->file));
    }
    *n_read = (size_t)got;
    return QN_OK;
}

static void member_close(void *state)
{
    member_state *member = state;
    if (member->file != NULL) {
        zip_fclose(member->file);
    }
    zip_discard(member->archive);
    qn_free(member);
}

/* Length of the array's name: numpy appends ".npy" to what the user chose. */
static size_t array_name_length(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".npy") == 0 ? length - 4 : length;
}

/* "a, b, c", cut with "..." when long; bytes that could confuse a terminal become '?'. */
static void list_names(char list[NAMES_MAX], zip_t *archive)
{
    size_t used = 0;
    list[0] = '\0';
    for (zip_int64_t i = 0; i < zip_get_num_entries(archive, 0); i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, 0);
        if (name == NULL) {
            continue;
        }
        size_t length = array_name_length(name);
        if (used + length + 8 > NAMES_MAX) {
            memcpy(list + used, ", ...", 6);
            break;
        }
        used += (size_t)sprintf(list + used, "%s%.*s", used > 0 ? ", " : "", (int)length, name);
    }
    for (char *c = list; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            *c = '?';
        }
    }
}

/* The entry called `name` or `name`.npy; the only entry when `name` is NULL. */
static qn_status choose(zip_t *archive, const char *name, zip_uint64_t *entry, const char *where, qn_error *err)
{
    zip_int64_t n_entries = zip_get_num_entries(archive, 0);
    char names[NAMES_MAX];
    list_names(names, archive);
    if (n_entries == 0) {
        return qn_fail(err, QN_EFORMAT, where, "the archive holds no array");
    }
    if (name == NULL && n_entries > 1) {
        return qn_fail(err, QN_EINVAL, where, "the archive holds several arrays; choose one as FILE:NAME from %s",
                       names);
    }
    for (zip_int64_t i = 0; i < n_entries; i++) {
        const char *candidate = zip_get_name(archive, (zip_uint64_t)i, 0);
        if (name == NULL ||
            (candidate != NULL && (strcmp(candidate, name) == 0 || (array_name_length(candidate) == strlen(name) &&
                                                                    strncmp(candidate, name, strlen(name)) == 0)))) {
            *entry = (zip_uint64_t)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EINVAL, where, "the archive holds no array of that name; it holds %s", names);
}

static qn_status open_archive(zip_t **archive, int fd, const char *where, qn_error *err)
{
    int own = dup(fd), reason;
    if (own < 0) {
        return qn_fail_errno(err, QN_EIO, errno, where, "cannot read");
    }
    *archive = zip_fdopen(own, 0, &reason);
    if (*archive == NULL) {
        close(own);
        zip_error_t text;
        zip_error_init_with_code(&text, reason);
        qn_fail(err, QN_EFORMAT, where, "damaged zip archive: %s", zip_error_strerror(&text));
        zip_error_fini(&text);
        return QN_EFORMAT;
    }
    return QN_OK;
}

qn_status qn_stream_open_npz(qn_stream *stream, int fd, const char *name, const char *where, qn_error *err)
{
    member_state *member = qn_alloc(sizeof *member);
    if (member == NULL) {
        return qn_fail_memory(err, where, sizeof *member);
    }
    qn_status status = open_archive(&member->archive, fd, where, err);
    if (status != QN_OK) {
        qn_free(member);
        return status;
    }
    zip_uint64_t entry;
    status = choose(member->archive, name, &entry, where, err);
    if (status == QN_OK) {
        member->file = zip_fopen_index(member->archive, entry, 0);
        if (member->file == NULL) {
            status = qn_fail(err, QN_EFORMAT, where, "damaged zip archive: %s", zip_strerror(member->archive));
        }
    }
    if (status != QN_OK) {
        member_close(member);
        return status;
    }
    *stream = (qn_stream){.state = member, .where = where, .read = member_read, .close = member_close};
    return QN_OK;
}
