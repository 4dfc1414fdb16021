/* An export as a whole: the model written and read again, its network, the targets, the manifest, a directory. */
#include <stdlib.h>
#include <string.h>

#include "export/faulty.h"
#include "export/manifest.h"
#include "export/target.h"
#include "export/verify.h"
#include "graph/model.h"
#include "onnx/onnx.h"

/* The model as its own file says it: what is exported then is what anybody finds who reads model.onnx. */
static qn_status reread(qn_export_job *job, const qn_model *model, qn_error *err)
{
    const char *file = model->graph.file != NULL && model->graph.file[0] != '\0' ? model->graph.file : "model.onnx";
    unsigned char *bytes, *again = NULL;
    size_t n_bytes, n_again;
    qn_model *read = NULL;
    QN_TRY(qn_onnx_export(&bytes, &n_bytes, &model->graph, err));
    job->onnx = bytes;
    job->n_onnx = n_bytes;
    QN_TRY(qn_model_load_memory(&read, bytes, n_bytes, file, err));
    job->model = read;
    QN_TRY(qn_onnx_export(&again, &n_again, &read->graph, err));
    const bool same = n_again == n_bytes && memcmp(again, bytes, n_bytes) == 0;
    qn_free(again);
    return same ? QN_OK
                : qn_fail(err, QN_EINTERNAL, file,
                          "is not the same bytes when it is written, read and written again; nothing was exported");
}

/* The vectors have to be items of the one input. */
static qn_status check_vectors(const qn_export_network *network, const qn_export_options *options, int64_t *n,
                               qn_error *err)
{
    *n = 0;
    if (options->vectors == NULL) {
        return QN_OK;
    }
    int64_t dims[QN_MAX_RANK];
    const int rank = qn_dataset_item_shape(options->vectors, dims);
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= dims[i];
    }
    if (network->n_inputs != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, network->graph->file, "has %d inputs; vectors are for networks of one",
                       network->n_inputs);
    }
    if (count != network->inputs[0].count) {
        return qn_fail(err, QN_ESHAPE, qn_dataset_name(options->vectors),
                       "has items of %lld elements; input '%s' of %s takes %lld", (long long)count,
                       network->inputs[0].name, network->graph->file, (long long)network->inputs[0].count);
    }
    const int64_t there = qn_dataset_count(options->vectors);
    if (there == 0) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(options->vectors), "has no items to make vectors of");
    }
    *n = options->n_vectors == 0 || options->n_vectors > there ? there : options->n_vectors;
    return QN_OK;
}

static qn_status make_lists(qn_export_job *job, qn_error *err)
{
    job->files = json_array();
    job->tensor_files = json_object();
    job->sections = json_object();
    return job->files != NULL && job->tensor_files != NULL && job->sections != NULL
               ? QN_OK
               : qn_fail_memory(err, job->model->graph.file, 0);
}

/* Vectors of faults: of a campaign, or those that a former export has. */
static qn_status write_faults(qn_export_job *job, const qn_model *model, qn_error *err)
{
    if (job->options->campaign == NULL && job->again_section == NULL) {
        return QN_OK;
    }
    job->section = json_object();
    QN_TRY(job->section == NULL             ? qn_fail_memory(err, model->graph.file, 0)
           : job->options->campaign != NULL ? qn_export_write_faulty(job, model->graph.file, model->graph.sha256, err)
                                            : qn_export_faulty_again(job, err));
    const bool kept = json_object_set(job->sections, "faulty", job->section) == 0;
    json_decref(job->section);
    job->section = NULL;
    return kept ? QN_OK : qn_fail_memory(err, model->graph.file, 0);
}

qn_status qn_export_run_job(qn_export_job *job, const qn_model *model, qn_error *err)
{
    qn_export_network *network = NULL;
    if (!qn_model_is_quantized(model)) {
        return qn_export_network_make(&network, model, err); /* its refusal */
    }
    qn_export_json_begin();
    QN_TRY(reread(job, model, err));
    QN_TRY(qn_export_network_make(&network, job->model, err));
    job->network = network;
    QN_TRY(check_vectors(network, job->options, &job->n_vectors, err));
    QN_TRY(make_lists(job, err));
    QN_TRY(qn_export_file(job, "model.onnx", "the model; all else here is made of it", job->onnx, job->n_onnx, err));
    QN_TRY(qn_export_write_vectors(job, err));
    QN_TRY(qn_export_write_targets(job, err));
    QN_TRY(write_faults(job, model, err));
    return qn_export_write_manifest(job, err);
}

void qn_export_job_free(qn_export_job *job)
{
    qn_free((void *)(uintptr_t)job->onnx);
    json_decref(job->files);
    json_decref(job->tensor_files);
    json_decref(job->sections);
    json_decref(job->section);
    qn_free(job->least);
    qn_free(job->greatest);
    qn_export_network_free((qn_export_network *)(uintptr_t)job->network);
    qn_model_free((qn_model *)(uintptr_t)job->model);
}

/* What is not there yet, and what contradicts itself. */
static qn_status check_options(const qn_export_options *options, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_export_options_init", err));
    if (options->n_vectors < 0) {
        return qn_fail(err, QN_EINVAL, "n_vectors", "%lld is negative", (long long)options->n_vectors);
    }
    if (options->cmsis_nn && (options->targets >> QN_EXPORT_C & 1) == 0) {
        return qn_fail(err, QN_EINVAL, "cmsis-nn", "is a kind of target c, which is not asked for");
    }
    if (options->onnx_form != QN_ONNX_AUTO && (options->targets >> QN_EXPORT_ONNX & 1) == 0) {
        return qn_fail(err, QN_EINVAL, "onnx_form", "is a form of target onnx, which is not asked for");
    }
    if (options->campaign == NULL && options->n_ids > 0) {
        return qn_fail(err, QN_EINVAL, "ids", "name faults of a campaign; say with --faulty which store has them");
    }
    return QN_OK;
}

qn_status qn_export(const qn_model *model, const char *directory, const qn_export_options *options, char **report,
                    qn_error *err)
{
    QN_TRY(check_options(options, err));
    const char *file = model->graph.file != NULL ? model->graph.file : "", *slash = strrchr(file, '/');
    qn_directory_out out;
    QN_TRY(options->overwrite ? qn_export_check_former(directory, err) : QN_OK);
    QN_TRY(qn_directory_create(&out, directory, options->overwrite, QN_EXPORT_MANIFEST_FILE, err));
    qn_export_text text = {0};
    qn_export_job job = {.options = options, .directory = &out, .report = &text};
    job.source = (qn_export_source){slash != NULL ? slash + 1 : file, model->graph.sha256};
    qn_status status = qn_export_run_job(&job, model, err);
    char *copy = NULL;
    if (status == QN_OK && report != NULL) {
        copy = strdup(text.n > 0 ? text.data : "");
        status = copy != NULL && !text.failed ? QN_OK : qn_fail_memory(err, directory, text.n);
    }
    if (status == QN_OK) {
        status = qn_directory_commit(&out, err);
    } else {
        qn_directory_abandon(&out);
    }
    if (status == QN_OK && report != NULL) {
        *report = copy;
    } else {
        free(copy);
    }
    qn_export_text_free(&text);
    qn_export_job_free(&job);
    return status;
}
