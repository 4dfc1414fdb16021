/* quern verify: the directory's list, then all of it made again from its model.onnx and compared. */
#include "export/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "export/onnx/forms.h"
#include "graph/model.h"

enum { MANIFEST_MAX = 512 << 20 };

/* ---- reading the manifest ---- */

static qn_status check_schema(const qn_export_checking *c, qn_error *err)
{
    const json_t *schema = json_object_get(c->manifest, "schema"), *version = json_object_get(c->manifest, "version");
    if (!json_is_string(schema) || strcmp(json_string_value(schema), QN_EXPORT_SCHEMA) != 0) {
        return qn_fail(err, QN_EFORMAT, c->directory, "%s: is no manifest of an export: 'schema' is not \"%s\"",
                       QN_EXPORT_MANIFEST_FILE, QN_EXPORT_SCHEMA);
    }
    if (!json_is_integer(version) || json_integer_value(version) != QN_EXPORT_SCHEMA_VERSION) {
        return qn_fail(err, QN_EFORMAT, c->directory,
                       "%s: has a schema version that this quern does not know; it knows %d: export anew",
                       QN_EXPORT_MANIFEST_FILE, QN_EXPORT_SCHEMA_VERSION);
    }
    return QN_OK;
}

static qn_status read_manifest(qn_export_checking *c, qn_error *err)
{
    json_error_t where;
    const qn_export_found *file = qn_export_find(c, QN_EXPORT_MANIFEST_FILE);
    if (file == NULL) {
        return qn_fail(err, QN_EFORMAT, c->directory, "holds no %s: it is no export", QN_EXPORT_MANIFEST_FILE);
    }
    if (file->n_bytes > MANIFEST_MAX) {
        return qn_fail(err, QN_ELIMIT, c->directory, "%s: has %lld bytes; more than %d are not read",
                       QN_EXPORT_MANIFEST_FILE, (long long)file->n_bytes, MANIFEST_MAX);
    }
    QN_TRY(qn_export_read_found(&c->manifest_bytes, c, file, err));
    c->manifest =
        json_loadb((const char *)c->manifest_bytes.data, c->manifest_bytes.size, JSON_REJECT_DUPLICATES, &where);
    if (c->manifest == NULL && json_error_code(&where) == json_error_out_of_memory) {
        return qn_fail_memory(err, c->directory, c->manifest_bytes.size);
    }
    if (c->manifest == NULL) {
        return qn_fail(err, QN_EFORMAT, c->directory, "%s: line %d, column %d: %s", QN_EXPORT_MANIFEST_FILE, where.line,
                       where.column, where.text);
    }
    if (!json_is_object(c->manifest)) {
        return qn_fail(err, QN_EFORMAT, c->directory, "%s: is no JSON object", QN_EXPORT_MANIFEST_FILE);
    }
    return check_schema(c, err);
}

/* ---- the options it was made with ---- */

static bool target_named(const char *name, size_t n, unsigned *targets)
{
    for (int i = 0; qn_export_target_text((qn_export_target)i) != NULL; i++) {
        const char *text = qn_export_target_text((qn_export_target)i);
        if (strlen(text) == n && strncmp(text, name, n) == 0) {
            *targets |= 1u << i;
            return true;
        }
    }
    return false;
}

/* Those that the manifest names; where it names none that there are, the folders. */
static unsigned read_targets(const qn_export_checking *c)
{
    const json_t *list = json_object_get(json_object_get(c->manifest, "options"), "targets");
    unsigned targets = 1u << QN_EXPORT_MANIFEST;
    bool known = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        known = name != NULL && target_named(name, strlen(name), &targets) && known;
    }
    for (size_t i = 0; i < c->n_files && !known; i++) {
        (void)target_named(c->files[i].path, strcspn(c->files[i].path, "/"), &targets);
    }
    return targets;
}

/* The floats that went in, as they lie there; *there: there are some. */
static qn_status read_inputs(qn_export_checking *c, qn_file_bytes *bytes, qn_tensor *x, bool *there, qn_error *err)
{
    char path[128];
    const char *id =
        json_string_value(json_object_get(json_array_get(json_object_get(c->manifest, "inputs"), 0), "id"));
    const qn_export_found *file = NULL;
    *there = false;
    if (json_is_object(json_object_get(c->manifest, "vectors")) && id != NULL) {
        snprintf(path, sizeof path, "vectors/%.64s_floats.npy", id);
        file = qn_export_find(c, path);
    }
    for (size_t i = 0; i < c->n_files && file == NULL; i++) { /* whatever the manifest says */
        const char *p = c->files[i].path, *end = strstr(p, "_floats.npy");
        file = strncmp(p, "vectors/in_", 11) == 0 && end != NULL && end[11] == '\0' ? &c->files[i] : NULL;
    }
    if (file == NULL) {
        return QN_OK;
    }
    if (file->altered) {
        qn_export_differs(c,
                          "%s: its SHA-256 is not that of the manifest: inputs were changed; below, what should be "
                          "follows from them as they are now",
                          file->path);
        qn_export_find(c, file->path)->told = true;
    }
    QN_TRY(qn_export_read_found(bytes, c, file, err));
    qn_error why;
    qn_error_init(&why);
    if (qn_export_read_npy(x, bytes->data, bytes->size, file->path, &why) != QN_OK || x->dtype != QN_DTYPE_F32 ||
        x->rank < 1 || x->dims[0] < 1) {
        qn_export_differs(c, "%s: is no list of float32 inputs%s%s", file->path, why.message[0] != '\0' ? ": " : "",
                          why.message);
        qn_export_find(c, file->path)->told = true;
        qn_file_bytes_free(bytes);
        return QN_OK;
    }
    *there = true;
    return QN_OK;
}

/* ---- comparing ---- */

/* Look at one file that was made again. */
static qn_status compare_file(qn_export_checking *c, qn_export_found *file, const void *expected, size_t n,
                              qn_error *err)
{
    qn_file_bytes bytes;
    QN_TRY(qn_export_read_found(&bytes, c, file, err));
    const bool same = bytes.size == n && memcmp(bytes.data, expected, n) == 0;
    const int64_t before = c->check->n_differences;
    qn_export_check_fn *check =
        strncmp(file->path, "vectors/", 8) == 0 ? qn_export_check_vectors : qn_export_checker_of(file->path);
    qn_status status = check != NULL ? check(c, file->path, bytes.data, bytes.size, expected, n, err) : QN_OK;
    if (status == QN_OK && !same && c->check->n_differences == before) {
        qn_export_bytes_differ(c, file->path, expected, n, (const char *)bytes.data, bytes.size);
    }
    file->told = file->told || c->check->n_differences > before;
    qn_file_bytes_free(&bytes);
    return status;
}

static qn_status take(void *ctx, const char *path, const void *data, size_t n_bytes, qn_error *err)
{
    qn_export_checking *c = ctx;
    if (!c->has_constants) {
        QN_TRY(qn_export_constants_list(&c->constants, c->job->network, err));
        c->has_constants = true;
    }
    if (strcmp(path, QN_EXPORT_MANIFEST_FILE) == 0) {
        return qn_export_check_manifest(c, data, n_bytes, err);
    }
    qn_export_found *file = qn_export_find(c, path);
    if (file == NULL) {
        return QN_OK; /* a listed one was told; another is told with the manifest */
    }
    file->made = true;
    if (file->n_bytes != (int64_t)n_bytes) {
        if (!file->told) {
            qn_export_differs(c, "%s: has %lld bytes, should have %zu", path, (long long)file->n_bytes, n_bytes);
            file->told = true;
        }
        return QN_OK;
    }
    return compare_file(c, file, data, n_bytes, err);
}

/* Files that are not what the manifest's hash says, where nothing else told that. */
static void tell_altered(qn_export_checking *c)
{
    for (size_t i = 0; i < c->n_files; i++) {
        if (c->files[i].altered && !c->files[i].told && (!c->files[i].made || c->check->n_differences == 0)) {
            qn_export_differs(c, "%s: its SHA-256 is not that of the manifest", c->files[i].path);
        }
    }
}

/* Is it this quern's to tell, or was the export written by another version? */
static void remark_version(qn_export_checking *c)
{
    const char *version = json_string_value(json_object_get(c->manifest, "quern"));
    bool altered = false;
    for (size_t i = 0; i < c->n_files; i++) {
        altered = altered || c->files[i].altered;
    }
    if (c->check->n_differences > 0 && !altered && version != NULL && strcmp(version, qn_version()) != 0) {
        qn_export_printf(&c->text,
                         "every file is what its SHA-256 says; quern %.40s wrote them, and this is %s, which may write "
                         "others\n",
                         version, qn_version());
    }
}

static qn_status make_again(qn_export_checking *c, qn_export_job *job, qn_export_options *options, const qn_tensor *x,
                            qn_error *err)
{
    qn_dataset *vectors = NULL;
    const json_t *source = json_object_get(json_object_get(c->manifest, "model"), "source");
    const char *name = json_string_value(json_object_get(source, "name"));
    const char *hash = json_string_value(json_object_get(source, "sha256"));
    job->source = (qn_export_source){name != NULL ? name : "", hash != NULL ? hash : ""};
    if (x != NULL) {
        QN_TRY(qn_dataset_of_tensor(&vectors, x, NULL, err));
        options->vectors = vectors;
        c->check->n_vectors = x->dims[0];
    }
    const qn_status status = qn_export_run_job(job, c->model, err);
    qn_dataset_close(vectors);
    return status;
}

/* What the directory says cannot be made again is a difference; what this machine lacks is an error. */
static bool is_of_directory(qn_status status)
{
    return status == QN_EUNSUPPORTED || status == QN_EINVAL || status == QN_ESHAPE || status == QN_ERANGE ||
           status == QN_EFORMAT || status == QN_ELIMIT;
}

static qn_status compare_all(qn_export_checking *c, qn_progress_fn progress, void *progress_ctx, qn_error *err)
{
    qn_export_options options;
    qn_export_text report = {0};
    qn_export_options_init(&options);
    options.targets = read_targets(c);
    options.cmsis_nn = json_is_true(json_object_get(json_object_get(c->manifest, "options"), "cmsis_nn"));
    options.onnx_form = qn_export_onnx_form_of(json_object_get(json_object_get(c->manifest, "targets"), "onnx"));
    options.progress = progress;
    options.progress_ctx = progress_ctx;
    qn_export_job job = {.options = &options, .take = take, .take_ctx = c, .report = &report};
    job.again = c;
    job.again_section = json_object_get(json_object_get(c->manifest, "targets"), "faulty");
    qn_file_bytes bytes = {0};
    qn_tensor x = {0};
    bool there;
    QN_TRY(read_inputs(c, &bytes, &x, &there, err));
    c->job = &job;
    qn_error why;
    qn_error_init(&why);
    qn_status status = make_again(c, &job, &options, there ? &x : NULL, &why);
    if (is_of_directory(status)) {
        qn_export_differs(c, "cannot be made again as the manifest says: %s: %s", why.where, why.message);
        status = QN_OK;
    } else if (status != QN_OK && err != NULL && err->status == QN_OK) {
        *err = why;
    }
    qn_export_text_free(&report);
    if (c->has_constants) {
        qn_export_constants_free(&c->constants);
    }
    qn_export_job_free(&job);
    if (there) {
        qn_file_bytes_free(&bytes);
    }
    return status;
}

/* ---- the whole ---- */

static qn_status load_model(qn_export_checking *c, qn_error *err)
{
    char hex[QN_SHA256_HEX];
    qn_file_bytes bytes;
    qn_export_found *file = qn_export_find(c, "model.onnx");
    if (file == NULL) {
        return QN_OK; /* told */
    }
    QN_TRY(qn_export_read_found(&bytes, c, file, err));
    const char *hash = json_string_value(json_object_get(json_object_get(c->manifest, "model"), "sha256"));
    qn_sha256_hex(hex, bytes.data, bytes.size);
    if (hash == NULL || strcmp(hash, hex) != 0) {
        qn_export_differs(c, "model.onnx: its SHA-256 is %s, the manifest's model.sha256 is %.80s", hex,
                          hash != NULL ? hash : "absent");
        file->told = true;
    }
    qn_error why;
    qn_error_init(&why);
    const qn_status status = qn_model_load_memory(&c->model, bytes.data, bytes.size, "model.onnx", &why);
    qn_file_bytes_free(&bytes);
    if (status == QN_ENOMEM) {
        return qn_fail_memory(err, "model.onnx", 0);
    }
    if (status != QN_OK) {
        qn_export_differs(c, "model.onnx: cannot be read: %s: %s; nothing else was compared with it", why.where,
                          why.message);
        file->told = true;
    }
    return QN_OK;
}

static qn_status check_all(qn_export_checking *c, qn_progress_fn progress, void *progress_ctx, qn_error *err)
{
    QN_TRY(qn_export_walk(c, err));
    QN_TRY(read_manifest(c, err));
    QN_TRY(qn_export_check_list(c, err));
    QN_TRY(load_model(c, err));
    if (c->model != NULL) {
        QN_TRY(compare_all(c, progress, progress_ctx, err));
    }
    tell_altered(c);
    remark_version(c);
    if (c->check->n_differences > c->n_told) {
        qn_export_printf(&c->text, "... and %lld more\n", (long long)(c->check->n_differences - c->n_told));
    }
    return c->text.failed ? qn_fail_memory(err, c->directory, c->text.n) : QN_OK;
}

static void release(qn_export_checking *c)
{
    for (size_t i = 0; i < c->n_files; i++) {
        qn_free(c->files[i].path);
    }
    qn_free(c->files);
    if (c->manifest_bytes.data != NULL) {
        qn_file_bytes_free(&c->manifest_bytes);
    }
    json_decref(c->manifest);
    qn_model_free(c->model);
    qn_export_text_free(&c->text);
}

/* What the export there did not write is the user's. */
static qn_status check_nothing_else(qn_export_checking *c, qn_error *err)
{
    const json_t *files = json_object_get(c->manifest, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *path = json_string_value(json_object_get(json_array_get(files, i), "path"));
        qn_export_found *file = path != NULL ? qn_export_find(c, path) : NULL;
        if (file != NULL) {
            file->listed = true;
        }
    }
    for (size_t i = 0; i < c->n_files; i++) {
        if (!c->files[i].listed && strcmp(c->files[i].path, QN_EXPORT_MANIFEST_FILE) != 0) {
            return qn_fail(err, QN_EINVAL, c->directory,
                           "holds %.200s, which no export wrote, and is not replaced; move that away, or name another "
                           "directory",
                           c->files[i].path);
        }
    }
    return QN_OK;
}

qn_status qn_export_check_former(const char *directory, qn_error *err)
{
    struct stat info;
    if (lstat(directory, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return QN_OK; /* directory.h says what that means */
    }
    qn_export_check check = {0};
    qn_export_checking c = {.directory = directory, .check = &check};
    qn_status status = qn_export_walk(&c, err);
    if (status == QN_OK && qn_export_find(&c, QN_EXPORT_MANIFEST_FILE) != NULL) {
        qn_error why;
        qn_error_init(&why);
        status = read_manifest(&c, &why);
        status = status != QN_OK ? qn_fail(err, status == QN_ENOMEM ? status : QN_EINVAL, directory,
                                           "holds a %s that no export wrote (%s), and is not replaced; name another "
                                           "directory",
                                           QN_EXPORT_MANIFEST_FILE, why.message)
                                 : check_nothing_else(&c, err);
        if (status == QN_OK && check.n_differences > 0) { /* links and the like */
            status = qn_fail(err, QN_EINVAL, directory, "is not replaced: %.*s", (int)strcspn(c.text.data, "\n"),
                             c.text.data);
        }
    }
    release(&c);
    return status;
}

qn_status qn_export_verify(qn_export_check *check, const char *directory, qn_progress_fn progress, void *progress_ctx,
                           qn_error *err)
{
    *check = (qn_export_check){0};
    qn_export_checking c = {.directory = directory, .check = check};
    qn_status status = check_all(&c, progress, progress_ctx, err);
    if (status == QN_OK) {
        check->text = strdup(c.text.n > 0 ? c.text.data : "");
        status = check->text != NULL ? QN_OK : qn_fail_memory(err, directory, c.text.n);
    }
    if (status != QN_OK) {
        *check = (qn_export_check){0};
    }
    release(&c);
    return status;
}
