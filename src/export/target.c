/* The table of targets, and what they write with. */
#include "export/target.h"

#include <string.h>

#include "base/file.h"
#include "tensor/npy_write.h"

static const struct {
    const char *name, *summary;
} rows[] = {
#define ROW(id, value, text, summary) [value] = {text, summary},
    QN_EXPORT_TARGET_LIST(ROW)
#undef ROW
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

/*  write  NULL: the manifest alone
 *  check  NULL: `quern verify` compares bytes */
static const struct {
    qn_export_target_fn *write;
    qn_export_check_fn *check;
} work[N_ROWS] = {
    [QN_EXPORT_NPZ] = {qn_export_write_npz, qn_export_check_npz},
    [QN_EXPORT_C] = {qn_export_write_c, qn_export_check_c},
    [QN_EXPORT_HLS] = {qn_export_write_hls, qn_export_check_hls},
    [QN_EXPORT_MEM] = {qn_export_write_mem, qn_export_check_mem},
    [QN_EXPORT_VERILOG] = {qn_export_write_verilog, NULL},
    [QN_EXPORT_ONNX] = {qn_export_write_onnx, NULL},
};

const char *qn_export_target_text(qn_export_target target)
{
    return (unsigned)target < N_ROWS ? rows[target].name : NULL;
}

const char *qn_export_target_summary(qn_export_target target)
{
    return (unsigned)target < N_ROWS ? rows[target].summary : NULL;
}

static qn_status fail_target(const char *word, size_t n, qn_error *err)
{
    char names[128] = "";
    for (size_t i = 0; i < N_ROWS; i++) {
        strncat(names, i == 0 ? "" : i + 1 == N_ROWS ? " and " : ", ", sizeof names - strlen(names) - 1);
        strncat(names, rows[i].name, sizeof names - strlen(names) - 1);
    }
    return qn_fail(err, QN_EINVAL, NULL, "'%.*s' is no target of an export; there are %s", (int)(n < 60 ? n : 60), word,
                   names);
}

qn_status qn_export_targets_parse(unsigned *targets, const char *text, qn_error *err)
{
    unsigned found = 0;
    for (const char *word = text;; word++) {
        word += strspn(word, " ");
        const size_t n = strcspn(word, ", ");
        size_t i = 0;
        while (i < N_ROWS && (strlen(rows[i].name) != n || strncmp(rows[i].name, word, n) != 0)) {
            i++;
        }
        if (i == N_ROWS) {
            return fail_target(word, n, err);
        }
        found |= 1u << i;
        word += n;
        word += strspn(word, " ");
        if (*word != '\0' && *word != ',') {
            return fail_target(word, strcspn(word, ","), err);
        }
        if (*word == '\0') {
            break;
        }
    }
    *targets = found;
    return QN_OK;
}

void qn_export_options_init(qn_export_options *options)
{
    *options = (qn_export_options){.struct_size = sizeof *options, .targets = 1u << QN_EXPORT_MANIFEST};
}

qn_status qn_export_file(qn_export_job *job, const char *path, const char *what, const void *data, size_t n_bytes,
                         qn_error *err)
{
    char hex[QN_SHA256_HEX];
    qn_sha256_hex(hex, data, n_bytes);
    json_t *file =
        json_pack("{s:s, s:I, s:s, s:s}", "path", path, "bytes", (json_int_t)n_bytes, "sha256", hex, "what", what);
    if (file == NULL || json_array_append_new(job->files, file) != 0) {
        return qn_fail_memory(err, path, n_bytes);
    }
    return job->directory != NULL ? qn_directory_write(job->directory, path, data, n_bytes, err)
                                  : job->take(job->take_ctx, path, data, n_bytes, err);
}

qn_status qn_export_holds(qn_export_job *job, const char *id, const char *path, qn_error *err)
{
    json_t *list = json_object_get(job->tensor_files, id);
    if (list == NULL) {
        list = json_array();
        if (json_object_set_new(job->tensor_files, id, list) != 0) {
            return qn_fail_memory(err, path, 0);
        }
    }
    return json_array_append_new(list, json_string(path)) == 0 ? QN_OK : qn_fail_memory(err, path, 0);
}

qn_status qn_export_text_file(qn_export_job *job, const char *path, const char *what, qn_export_text *text,
                              qn_error *err)
{
    const qn_status status = text->failed
                                 ? qn_fail_memory(err, path, text->n)
                                 : qn_export_file(job, path, what, text->n > 0 ? text->data : "", text->n, err);
    qn_export_text_free(text);
    return status;
}

qn_status qn_export_npy(qn_export_job *job, const char *path, const char *what, const qn_tensor *t, qn_error *err)
{
    char header[QN_NPY_HEADER_MAX];
    size_t n;
    QN_TRY(qn_npy_make_header(header, &n, t, path, err));
    qn_export_text bytes = {0};
    qn_export_append(&bytes, header, n);
    qn_export_append(&bytes, t->data, (size_t)qn_tensor_count(t) * qn_dtype_size(t->dtype));
    return qn_export_text_file(job, path, what, &bytes, err);
}

qn_status qn_export_write_targets(qn_export_job *job, qn_error *err)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if ((job->options->targets >> i & 1) == 0 || i == QN_EXPORT_MANIFEST) {
            continue;
        }
        if (work[i].write == NULL) {
            return qn_fail(err, QN_EUNSUPPORTED, rows[i].name, "is a target that this build of quern cannot write");
        }
        job->section = json_object();
        QN_TRY(job->section != NULL ? work[i].write(job, err) : qn_fail_memory(err, rows[i].name, 0));
        const bool failed =
            json_object_size(job->section) > 0 && json_object_set(job->sections, rows[i].name, job->section) != 0;
        json_decref(job->section);
        job->section = NULL;
        QN_TRY(failed ? qn_fail_memory(err, rows[i].name, 0) : QN_OK);
    }
    return QN_OK;
}

qn_export_check_fn *qn_export_checker_of(const char *path)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        const size_t n = strlen(rows[i].name);
        if (strncmp(path, rows[i].name, n) == 0 && path[n] == '/') {
            return work[i].check;
        }
    }
    return NULL;
}
