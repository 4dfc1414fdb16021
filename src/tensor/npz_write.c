/* libzip makes the archive in memory; the file is then written in one piece (base/file.h). */
#include "tensor/npz_write.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

#include "base/file.h"
#include "base/memory.h"
#include "tensor/npy_write.h"

struct qn_npz_out {
    zip_t *archive;
    zip_source_t *bytes; /* what the archive is written to */
    bool stores;
};

void qn_npz_store(qn_npz_out *out)
{
    out->stores = true;
}

/* The source outlives the archive, which is written to it when it is closed. */
qn_status qn_npz_begin(qn_npz_out **out, qn_error *err)
{
    *out = NULL;
    qn_npz_out *made = qn_alloc(sizeof *made);
    zip_error_t reason;
    zip_error_init(&reason);
    if (made != NULL) {
        made->bytes = zip_source_buffer_create(NULL, 0, 0, &reason);
    }
    if (made != NULL && made->bytes != NULL) {
        zip_source_keep(made->bytes);
        made->archive = zip_open_from_source(made->bytes, ZIP_TRUNCATE, &reason);
        if (made->archive == NULL) { /* it would own the other reference */
            zip_source_free(made->bytes);
        }
    }
    zip_error_fini(&reason);
    if (made == NULL || made->archive == NULL) {
        if (made != NULL && made->bytes != NULL) {
            zip_source_free(made->bytes);
        }
        qn_free(made);
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    *out = made;
    return QN_OK;
}

void qn_npz_abandon(qn_npz_out *out)
{
    if (out != NULL) {
        if (out->archive != NULL) {
            zip_discard(out->archive);
        }
        zip_source_free(out->bytes);
        qn_free(out);
    }
}

/* Header and data as one member. */
static qn_status add_member(qn_npz_out *out, const char *name, const char *header, size_t n_header, const void *data,
                            size_t n_data, qn_error *err)
{
    qn_arena scratch = {0};
    char *member = qn_arena_printf(&scratch, "%s.npy", name);
    char *bytes = malloc(n_header + n_data); /* libzip releases it with free() */
    if (member == NULL || bytes == NULL) {
        free(bytes);
        qn_arena_free(&scratch);
        return qn_fail_memory(err, name, n_header + n_data);
    }
    memcpy(bytes, header, n_header);
    if (n_data > 0) {
        memcpy(bytes + n_header, data, n_data);
    }
    qn_status status = QN_OK;
    zip_source_t *source = zip_source_buffer(out->archive, bytes, n_header + n_data, 1);
    if (source == NULL) {
        free(bytes);
        status = qn_fail_memory(err, name, n_header + n_data);
    } else {
        zip_int64_t index = zip_file_add(out->archive, member, source, ZIP_FL_ENC_UTF_8);
        if (index < 0) {
            zip_source_free(source);
            status = qn_fail(err, QN_EINVAL, name, "cannot be added to the archive: %s", zip_strerror(out->archive));
        } else if (zip_file_set_dostime(out->archive, (zip_uint64_t)index, 0, (1 << 5) | 1, 0) != 0) { /* 1980-01-01 */
            status = qn_fail(err, QN_EIO, name, "cannot be added to the archive: %s", zip_strerror(out->archive));
        } else if (out->stores && zip_set_file_compression(out->archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0) {
            status = qn_fail(err, QN_EIO, name, "cannot be added to the archive: %s", zip_strerror(out->archive));
        }
    }
    qn_arena_free(&scratch);
    return status;
}

qn_status qn_npz_add(qn_npz_out *out, const char *name, const qn_tensor *t, qn_error *err)
{
    char header[QN_NPY_HEADER_MAX];
    size_t n_header;
    QN_TRY(qn_npy_make_header(header, &n_header, t, name, err));
    return add_member(out, name, header, n_header, t->data, qn_tensor_bytes(t), err);
}

qn_status qn_npz_add_text(qn_npz_out *out, const char *name, const char *text, qn_error *err)
{
    char header[QN_NPY_HEADER_MAX];
    size_t n = strlen(text), n_bytes;
    uint32_t *characters = qn_mul_size(n, sizeof *characters, &n_bytes) ? qn_alloc(n_bytes) : NULL;
    if (characters == NULL) {
        return qn_fail_memory(err, name, n);
    }
    for (size_t i = 0; i < n; i++) {
        characters[i] = (unsigned char)text[i];
    }
    size_t n_header = qn_npy_make_text_header(header, n);
    qn_status status = add_member(out, name, header, n_header, characters, n_bytes, err);
    qn_free(characters);
    return status;
}

/* The finished archive's bytes; qn_free releases them. */
static qn_status read_bytes(zip_source_t *source, void **data, size_t *n, const char *path, qn_error *err)
{
    zip_stat_t stat;
    *data = NULL;
    if (zip_source_stat(source, &stat) != 0 || (stat.valid & ZIP_STAT_SIZE) == 0 || zip_source_open(source) != 0) {
        return qn_fail(err, QN_EIO, path, "cannot make the archive: %s", zip_error_strerror(zip_source_error(source)));
    }
    *n = (size_t)stat.size;
    *data = qn_alloc_uncleared(*n);
    qn_status status = *data != NULL ? QN_OK : qn_fail_memory(err, path, *n);
    if (status == QN_OK && zip_source_read(source, *data, *n) != (zip_int64_t)*n) {
        status = qn_fail(err, QN_EIO, path, "cannot make the archive: it was cut short");
    }
    zip_source_close(source);
    return status;
}

qn_status qn_npz_finish(qn_npz_out *out, void **data, size_t *n, const char *path, qn_error *err)
{
    qn_status status = QN_OK;
    *data = NULL;
    *n = 0;
    if (zip_close(out->archive) != 0) {
        status = qn_fail(err, QN_EIO, path, "cannot make the archive: %s", zip_strerror(out->archive));
    } else {
        out->archive = NULL;
    }
    if (status == QN_OK) {
        status = read_bytes(out->bytes, data, n, path, err);
    }
    if (status != QN_OK) {
        qn_free(*data);
        *data = NULL;
    }
    qn_npz_abandon(out);
    return status;
}

qn_status qn_npz_write(qn_npz_out *out, const char *path, bool overwrite, qn_error *err)
{
    void *data;
    size_t n;
    QN_TRY(qn_npz_finish(out, &data, &n, path, err));
    const qn_status status = qn_file_write_all(path, overwrite, data, n, err);
    qn_free(data);
    return status;
}
