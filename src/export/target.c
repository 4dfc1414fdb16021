/* Writing an export: the targets asked for, then the manifest. */
#include "export/target.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "export/faulty.h"
#include "graph/model.h"
#include "tensor/npy_write.h"

static const struct {
    const char *name, *summary;
    qn_export_target_fn *write; /* NULL: the manifest alone */
} rows[] = {
#define ROW(id, value, text, summary) [value] = {text, summary, NULL},
    QN_EXPORT_TARGET_LIST(ROW)
#undef ROW
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

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
        const size_t n = strcspn(word, ",");
        size_t i = 0;
        while (i < N_ROWS && (strlen(rows[i].name) != n || strncmp(rows[i].name, word, n) != 0)) {
            i++;
        }
        if (i == N_ROWS) {
            return fail_target(word, n, err);
        }
        found |= 1u << i;
        word += n;
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
    return qn_directory_write(job->directory, path, data, n_bytes, err);
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

static qn_status see_vectors(qn_export_job *job, qn_export_run *run, float *x, qn_export_see_fn *see, void *ctx,
                             qn_error *err)
{
    const float *inputs[1] = {x};
    for (int64_t i = 0; i < job->n_vectors; i++) {
        QN_TRY(qn_dataset_read(job->options->vectors, i, 1, x, err));
        QN_TRY(qn_export_run_image(run, inputs, err));
        QN_TRY(see(ctx, i, run, err));
        if (job->options->progress != NULL &&
            !job->options->progress(job->options->progress_ctx, i + 1, job->n_vectors)) {
            return qn_fail(err, QN_ECANCELED, NULL, "stopped after %lld of %lld vectors", (long long)i + 1,
                           (long long)job->n_vectors);
        }
    }
    return QN_OK;
}

qn_status qn_export_each_vector(qn_export_job *job, qn_export_see_fn *see, void *ctx, qn_error *err)
{
    if (job->n_vectors == 0) {
        return QN_OK;
    }
    qn_export_run *run;
    QN_TRY(qn_export_run_create(&run, job->network, err));
    const size_t n = (size_t)job->network->inputs[0].count;
    float *x = qn_alloc(n * sizeof *x);
    const qn_status status = x != NULL ? see_vectors(job, run, x, see, ctx, err)
                                       : qn_fail_memory(err, job->network->graph->file, n * sizeof *x);
    qn_free(x);
    qn_export_run_free(run);
    return status;
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
    *n = options->n_vectors == 0 || options->n_vectors > there ? there : options->n_vectors;
    return QN_OK;
}

static qn_status write_targets(qn_export_job *job, qn_error *err)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if ((job->options->targets >> i & 1) == 0 || rows[i].write == NULL) {
            continue;
        }
        QN_TRY(rows[i].write(job, err));
    }
    return QN_OK;
}

static qn_status write_all(qn_export_job *job, const char *directory, qn_error *err)
{
    qn_directory_out out;
    QN_TRY(qn_directory_create(&out, directory, job->options->overwrite, "manifest.json", err));
    job->directory = &out;
    qn_status status = write_targets(job, err);
    if (status == QN_OK && job->options->campaign != NULL) {
        status = qn_export_write_faulty(job, job->model->graph.file, job->model->graph.sha256, err);
    }
    if (status != QN_OK) {
        qn_directory_abandon(&out);
        return status;
    }
    return qn_directory_commit(&out, err);
}

qn_status qn_export(const qn_model *model, const char *directory, const qn_export_options *options, char **report,
                    qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_export_options_init", err));
    qn_export_network *network;
    QN_TRY(qn_export_network_make(&network, model, err));
    qn_export_text text = {0};
    qn_export_job job = {.model = model, .network = network, .options = options, .report = &text};
    job.files = json_array();
    job.section = json_object();
    qn_status status =
        job.files != NULL && job.section != NULL ? check_vectors(network, options, &job.n_vectors, err) : qn_fail_memory(err, directory, 0);
    if (status == QN_OK) {
        status = write_all(&job, directory, err);
    }
    if (status == QN_OK && report != NULL) {
        *report = strdup(text.n > 0 ? text.data : "");
        status = *report != NULL ? QN_OK : qn_fail_memory(err, directory, text.n);
    }
    qn_export_text_free(&text);
    json_decref(job.files);
    json_decref(job.section);
    qn_export_network_free(network);
    return status;
}
