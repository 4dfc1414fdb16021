/* manifest.json as a whole. */
#include "export/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "graph/arithmetic.h"
#include "graph/model.h"

static const char invariant[] =
    "x == (z - zero_point) * scale: z the integer, as the files have it; the difference in integers, then one product "
    "in float32. It was checked for every element of every constant when this was written.";

static json_t *model_json(const qn_export_job *job)
{
    char hex[QN_SHA256_HEX];
    qn_preprocess pre;
    bool found = false;
    char *text = NULL;
    json_t *preprocess = NULL;
    qn_sha256_hex(hex, job->onnx, job->n_onnx);
    if (qn_model_preprocess(job->model, &pre, &found, NULL) == QN_OK && found) {
        preprocess = qn_preprocess_to_json(&pre, &text, NULL) == QN_OK ? json_loads(text, 0, NULL) : NULL;
        free(text);
        if (preprocess == NULL) {
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:{s:o, s:o}, s:o, s:o}", "file", "model.onnx", "sha256", hex, "source", "name",
                     qn_export_json_string(job->source.name), "sha256",
                     job->source.sha256[0] != '\0' ? json_string(job->source.sha256) : json_null(), "name",
                     qn_export_json_string(job->model->graph.name != NULL ? job->model->graph.name : ""), "preprocess",
                     preprocess != NULL ? preprocess : json_null());
}

static json_t *options_json(const qn_export_job *job)
{
    json_t *targets = json_array();
    for (int i = 0; qn_export_target_text((qn_export_target)i) != NULL; i++) {
        if (job->options->targets >> i & 1 || i == QN_EXPORT_MANIFEST) {
            qn_export_json_append(targets, json_string(qn_export_target_text((qn_export_target)i)));
        }
    }
    return json_pack("{s:o, s:b, s:I}", "targets", targets, "cmsis_nn", job->options->cmsis_nn, "vectors",
                     (json_int_t)job->n_vectors);
}

static json_t *arithmetic_json(const qn_arithmetic *a)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:b, s:s}", "requantize", qn_requantize_text(a->requantize), "rounding",
                     a->twice ? "twice" : qn_requantize_rounding_text(a->rounding), "sums",
                     qn_sums_text(a), "accumulator_bits",
                     a->accumulator_bits > 0 ? a->accumulator_bits : 32, "accumulator_saturates", a->saturate,
                     "defined_by", "quern's doc/spec/arithmetic.md");
}

static json_t *io_json(const qn_export_job *job, const qn_export_io *io)
{
    return json_pack("{s:o, s:s, s:o, s:o}", "name", qn_export_json_string(io->name), "id", io->id, "tensor",
                     io->tensor >= 0 ? json_string(job->network->tensors[io->tensor].id) : json_null(), "shape",
                     qn_export_json_shape(io->rank, io->dims));
}

static json_t *ios_json(const qn_export_job *job, const qn_export_io *ios, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        if (qn_export_json_append(list, io_json(job, &ios[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool is_io(const qn_export_io *ios, int n, int tensor)
{
    for (int i = 0; i < n; i++) {
        if (ios[i].tensor == tensor) {
            return true;
        }
    }
    return false;
}

static json_t *tensors_json(const qn_export_job *job, const qn_export_constants *constants)
{
    const qn_export_network *n = job->network;
    json_t *list = json_array();
    bool failed = list == NULL;
    for (int i = 0; i < n->n_tensors && !failed; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (!t->used || t->constant != NULL) {
            continue;
        }
        const char *role = is_io(n->inputs, n->n_inputs, i)     ? "input"
                           : is_io(n->outputs, n->n_outputs, i) ? "output"
                                                                : "activation";
        failed = qn_export_json_append(list, qn_export_tensor_json(job, t, role)) != 0;
    }
    for (int i = 0; i < constants->n && !failed; i++) {
        failed = qn_export_json_append(list, qn_export_constant_json(job, &constants->rows[i])) != 0;
    }
    if (failed) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *layers_json(const qn_export_job *job, const qn_export_constants *constants)
{
    json_t *list = json_array();
    for (int i = 0; i < job->network->n_layers; i++) {
        if (qn_export_json_append(list, qn_export_layer_json(job, constants, i)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *vectors_json(const qn_export_job *job)
{
    if (job->n_vectors == 0) {
        return json_null();
    }
    return json_pack(
        "{s:I, s:s}", "count", (json_int_t)job->n_vectors, "files",
        "vectors/ID_floats.npy of every input and output, and vectors/ID_codes.npy of those with codes; ID as "
        "under inputs and outputs, the first axis counts vectors");
}

static json_t *make(const qn_export_job *job, const qn_export_constants *constants)
{
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O, s:O}", "schema", QN_EXPORT_SCHEMA, "version",
        QN_EXPORT_SCHEMA_VERSION, "quern", qn_version(), "invariant", invariant, "model", model_json(job), "options",
        options_json(job), "arithmetic", arithmetic_json(&job->network->arithmetic), "vectors", vectors_json(job),
        "inputs", ios_json(job, job->network->inputs, job->network->n_inputs), "outputs",
        ios_json(job, job->network->outputs, job->network->n_outputs), "tensors", tensors_json(job, constants),
        "layers", layers_json(job, constants), "targets", job->sections, "files", job->files);
}

static qn_status write(qn_export_job *job, const qn_export_constants *constants, qn_error *err)
{
    for (int i = 0; i < constants->n; i++) {
        QN_TRY(qn_export_check_invariant(&constants->rows[i], err));
    }
    json_t *root = make(job, constants);
    char hex[65];
    qn_export_text text = {0};
    qn_status status =
        root != NULL ? qn_export_digest(hex, root, err) : qn_fail_memory(err, QN_EXPORT_MANIFEST_FILE, 0);
    if (status == QN_OK && qn_export_json_set(root, "digest", json_string(hex)) != 0) {
        status = qn_fail_memory(err, QN_EXPORT_MANIFEST_FILE, 0);
    }
    if (status == QN_OK) {
        qn_export_json_print(&text, root);
        status = qn_export_text_file(job, QN_EXPORT_MANIFEST_FILE, "", &text, err);
    }
    json_decref(root);
    return status;
}

qn_status qn_export_write_manifest(qn_export_job *job, qn_error *err)
{
    qn_export_constants constants;
    QN_TRY(qn_export_constants_list(&constants, job->network, err));
    const qn_status status = write(job, &constants, err);
    qn_export_constants_free(&constants);
    return status;
}
