/* Cases read from a former export, to be written again and compared. */
#include "export/faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/verify.h"

typedef struct reading {
    qn_export_job *job;
    qn_fault_targets targets;
    json_t *list;
} reading;

static qn_status fail_json(const char *path, const char *what, qn_error *err)
{
    return qn_fail(err, QN_EFORMAT, path, "%s; it is not as quern export wrote it", what);
}

/* Not by its path alone: what is there may be a link to anywhere. */
static qn_status read_file(qn_file_bytes *bytes, const reading *r, const char *path, qn_error *err)
{
    const qn_export_found *file = qn_export_find(r->job->again, path);
    return file != NULL ? qn_export_read_found(bytes, r->job->again, file, err)
                        : qn_fail(err, QN_EFORMAT, path, "is missing, or no regular file");
}

static qn_status read_json(json_t **root, const reading *r, const char *path, int64_t id, qn_error *err)
{
    qn_file_bytes bytes;
    json_error_t error;
    QN_TRY(read_file(&bytes, r, path, err));
    *root = json_loadb((const char *)bytes.data, bytes.size, JSON_REJECT_DUPLICATES, &error);
    qn_file_bytes_free(&bytes);
    if (*root == NULL) {
        return fail_json(path, error.text, err);
    }
    const char *schema = json_string_value(json_object_get(*root, "schema"));
    if (schema == NULL || strcmp(schema, QN_EXPORT_FAULTY_SCHEMA) != 0 ||
        json_integer_value(json_object_get(*root, "schema_version")) != QN_EXPORT_FAULTY_VERSION) {
        return fail_json(path, "is of another schema than " QN_EXPORT_FAULTY_SCHEMA " 1", err);
    }
    return json_integer_value(json_object_get(*root, "id")) == id ? QN_OK : fail_json(path, "is of another id", err);
}

static qn_status read_changes(qn_export_faulty_case *c, const reading *r, const json_t *root, const char *path,
                              qn_fault_change *changes, qn_error *err)
{
    const json_t *list = json_object_get(root, "changes");
    for (size_t i = 0; i < json_array_size(list); i++) {
        QN_TRY(qn_export_faulty_parse(&changes[i], json_array_get(list, i), &r->targets, path, err));
    }
    c->fault.changes = changes;
    c->fault.n_changes = (int64_t)json_array_size(list);
    return QN_OK;
}

static qn_status read_lifetime(qn_export_faulty_case *c, const json_t *root, const char *path, qn_error *err)
{
    const json_t *lifetime = json_object_get(root, "lifetime");
    c->fault.first_image = json_integer_value(json_object_get(lifetime, "first_image"));
    c->fault.n_images = json_integer_value(json_object_get(lifetime, "images"));
    c->n_of = json_integer_value(json_object_get(lifetime, "of"));
    if (c->n_of <= 0 || c->n_of > INT64_MAX - QN_EXPORT_FAULTY_IMAGES || c->fault.first_image < 0 ||
        c->fault.first_image >= c->n_of || c->fault.n_images <= 0) {
        return fail_json(path, "its lifetime is none", err);
    }
    const int64_t n = c->fault.n_images;
    c->n_images = (int)(n < QN_EXPORT_FAULTY_IMAGES ? n : QN_EXPORT_FAULTY_IMAGES);
    for (int i = 0; i < c->n_images; i++) {
        c->images[i] = (c->fault.first_image + i) % c->n_of;
    }
    return QN_OK;
}

static qn_status read_input(float *to, const reading *r, int64_t id, int64_t image, qn_error *err)
{
    const qn_export_io *in = &r->job->network->inputs[0];
    char path[128];
    qn_file_bytes bytes;
    qn_tensor x;
    snprintf(path, sizeof path, "faulty/%" PRId64 "/image_%" PRId64 "/%s_floats.npy", id, image, in->id);
    QN_TRY(read_file(&bytes, r, path, err));
    qn_status status = qn_export_read_npy(&x, bytes.data, bytes.size, path, err);
    if (status == QN_OK) {
        const bool fits = x.dtype == QN_DTYPE_F32 && qn_tensor_count(&x) == in->count;
        status = fits ? QN_OK : fail_json(path, "is no input of the model", err);
        if (fits) {
            memcpy(to, x.data, (size_t)in->count * sizeof *to);
        }
    }
    qn_file_bytes_free(&bytes);
    return status;
}

static qn_status again(const reading *r, const json_t *root, const char *path, int64_t id, qn_error *err)
{
    qn_export_faulty_case c = {
        .fault = {.id = id}, .campaign = json_object_get(root, "campaign"), .store = json_object_get(root, "store")};
    const size_t n = json_array_size(json_object_get(root, "changes"));
    const size_t count = (size_t)r->job->network->inputs[0].count;
    if (n > QN_EXPORT_FAULTY_CHANGES) {
        return fail_json(path, "has too many changes", err);
    }
    qn_fault_change *changes = qn_alloc((n + 1) * sizeof *changes);
    c.inputs = qn_alloc(count * QN_EXPORT_FAULTY_IMAGES * sizeof *c.inputs);
    qn_status status = changes != NULL && c.inputs != NULL
                           ? read_changes(&c, r, root, path, changes, err)
                           : qn_fail_memory(err, path, count * QN_EXPORT_FAULTY_IMAGES * sizeof *c.inputs);
    if (status == QN_OK) {
        status = read_lifetime(&c, root, path, err);
    }
    const bool refused = json_is_true(json_object_get(root, "refused")); /* then there are no inputs */
    for (int i = 0; status == QN_OK && !refused && i < c.n_images; i++) {
        status = read_input(c.inputs + (size_t)i * count, r, id, c.images[i], err);
    }
    if (status == QN_OK) {
        status = qn_export_faulty_write_case(r->job, &r->targets, &c, r->list, err);
    }
    qn_free(changes);
    qn_free(c.inputs);
    return status;
}

static qn_status read_all(reading *r, qn_error *err)
{
    const json_t *section = r->job->again_section;
    const json_t *faults = json_object_get(section, "faults");
    json_t *campaign = json_object_get(section, "campaign");
    QN_TRY(qn_fault_targets_make(&r->targets, r->job->network->program, err));
    for (size_t i = 0; i < json_array_size(faults); i++) {
        const int64_t id = json_integer_value(json_object_get(json_array_get(faults, i), "id"));
        char path[64];
        json_t *root = NULL;
        snprintf(path, sizeof path, "faulty/%" PRId64 "/fault.json", id);
        qn_status status = read_json(&root, r, path, id, err);
        if (status == QN_OK) {
            status = again(r, root, path, id, err);
        }
        json_decref(root);
        QN_TRY(status);
    }
    const bool kept = campaign != NULL && json_object_set(r->job->section, "campaign", campaign) == 0 &&
                      json_object_set(r->job->section, "faults", r->list) == 0;
    return kept ? QN_OK : fail_json(QN_EXPORT_MANIFEST_FILE, "section faulty names no campaign", err);
}

qn_status qn_export_faulty_again(qn_export_job *job, qn_error *err)
{
    reading r = {.job = job, .list = json_array()};
    QN_TRY(qn_export_need_integers(job->network, "vectors of faults", err));
    const qn_status status =
        r.list == NULL ? qn_fail_memory(err, QN_EXPORT_MANIFEST_FILE, 0)
        : job->network->n_inputs == 1
            ? read_all(&r, err)
            : fail_json(QN_EXPORT_MANIFEST_FILE, "has vectors of faults of a model with several inputs", err);
    qn_fault_targets_free(&r.targets);
    json_decref(r.list);
    return status;
}
