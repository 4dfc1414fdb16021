/* Vectors: what goes in and comes out, as floats and as codes, for some items; and how far sums go on the way. */
#include <stdio.h>
#include <string.h>

#include "export/target.h"
#include "export/vectors.h"

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

qn_dtype qn_export_code_dtype(int bits, bool is_signed)
{
    return bits <= 8 ? (is_signed ? QN_DTYPE_S8 : QN_DTYPE_U8) : QN_DTYPE_S16;
}

void qn_export_narrow(void *to, qn_dtype dtype, const int16_t *codes, int64_t n)
{
    if (dtype == QN_DTYPE_S16) {
        memcpy(to, codes, (size_t)n * sizeof *codes);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        ((uint8_t *)to)[i] = (uint8_t)codes[i]; /* the byte of int8, too */
    }
}

int64_t qn_export_place(const qn_export_tensor *t, int64_t i)
{
    const int64_t pixels = (int64_t)t->height * t->width;
    return t->plain ? i : i % pixels * t->channels + i / pixels;
}

int qn_export_code_shape(const qn_export_tensor *t, bool model_order, int64_t *dims)
{
    if (t->plain || model_order) {
        memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
        return t->rank;
    }
    dims[0] = t->height, dims[1] = t->width, dims[2] = t->channels;
    return 3;
}

/* One input or output. */
typedef struct vector_io {
    const qn_export_io *io;
    int tensor, output;      /* -1: none; -1: an input */
    qn_tensor floats, codes; /* all items; codes.data NULL: it has none */
} vector_io;

typedef struct vector_set {
    qn_export_job *job;
    vector_io *ios;
    int n;
    int16_t *codes; /* of one tensor */
    int32_t *sums;  /* of one layer */
} vector_set;

static qn_status start_io(vector_set *set, vector_io *v, qn_error *err)
{
    const qn_export_network *network = set->job->network;
    int64_t dims[QN_MAX_RANK] = {set->job->n_vectors};
    if (v->io->rank >= QN_MAX_RANK) {
        return qn_fail(err, QN_EUNSUPPORTED, v->io->name, "has %d axes, and no room for one that counts vectors",
                       v->io->rank);
    }
    memcpy(dims + 1, v->io->dims, (size_t)v->io->rank * sizeof *dims);
    QN_TRY(qn_tensor_alloc(&v->floats, QN_DTYPE_F32, v->io->rank + 1, dims, err));
    const qn_export_tensor *t = v->tensor >= 0 ? &network->tensors[v->tensor] : NULL;
    if (t == NULL || t->real) {
        return QN_OK;
    }
    const int rank = qn_export_code_shape(t, false, dims + 1);
    return qn_tensor_alloc(&v->codes, qn_export_code_dtype(t->bits, t->is_signed), rank + 1, dims, err);
}

static qn_status start(vector_set *set, qn_error *err)
{
    const qn_export_network *n = set->job->network;
    int64_t most = 1, most_sums = 1;
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        vector_io *v = &set->ios[set->n++];
        const bool input = i < n->n_inputs;
        *v = (vector_io){.io = input ? &n->inputs[i] : &n->outputs[i - n->n_inputs],
                         .output = input ? -1 : i - n->n_inputs};
        v->tensor = v->io->tensor;
        QN_TRY(start_io(set, v, err));
    }
    for (int i = 0; i < n->n_tensors; i++) {
        most = n->tensors[i].count > most ? n->tensors[i].count : most;
    }
    for (int i = 0; i < n->n_layers; i++) {
        const int64_t count = n->tensors[n->layers[i].output].count;
        most_sums = n->layers[i].kind == QN_EXPORT_CONV && count > most_sums ? count : most_sums;
    }
    const size_t n_layers = (size_t)n->n_layers + 1;
    set->codes = qn_alloc((size_t)most * sizeof *set->codes);
    set->sums = qn_alloc((size_t)most_sums * sizeof *set->sums);
    set->job->least = qn_alloc(n_layers * sizeof *set->job->least);
    set->job->greatest = qn_alloc(n_layers * sizeof *set->job->greatest);
    return set->codes != NULL && set->sums != NULL && set->job->least != NULL && set->job->greatest != NULL
               ? QN_OK
               : qn_fail_memory(err, n->graph->file, (size_t)most_sums * sizeof *set->sums);
}

static void see_sums(vector_set *set, int64_t i, const qn_export_run *run)
{
    const qn_export_network *n = set->job->network;
    for (int layer = 0; layer < n->n_layers; layer++) {
        if (n->layers[layer].kind != QN_EXPORT_CONV) {
            continue;
        }
        const int64_t count = n->tensors[n->layers[layer].output].count;
        qn_export_run_sums(run, layer, set->sums);
        int32_t least = i == 0 ? set->sums[0] : set->job->least[layer];
        int32_t greatest = i == 0 ? set->sums[0] : set->job->greatest[layer];
        for (int64_t k = 0; k < count; k++) {
            least = set->sums[k] < least ? set->sums[k] : least;
            greatest = set->sums[k] > greatest ? set->sums[k] : greatest;
        }
        set->job->least[layer] = least;
        set->job->greatest[layer] = greatest;
    }
}

static qn_status see(void *ctx, int64_t i, const qn_export_run *run, qn_error *err)
{
    vector_set *set = ctx;
    for (int k = 0; k < set->n; k++) {
        vector_io *v = &set->ios[k];
        float *floats = (float *)v->floats.data + i * v->io->count;
        if (v->output >= 0) {
            memcpy(floats, qn_export_run_output(run, v->output), (size_t)v->io->count * sizeof *floats);
        } else {
            QN_TRY(qn_dataset_read(set->job->options->vectors, i, 1, floats, err));
        }
        if (v->codes.data != NULL) {
            const int64_t count = set->job->network->tensors[v->tensor].count;
            qn_export_run_codes(run, v->tensor, set->codes);
            char *to = (char *)v->codes.data + (size_t)(i * count) * qn_dtype_size(v->codes.dtype);
            qn_export_narrow(to, v->codes.dtype, set->codes, count);
        }
    }
    see_sums(set, i, run);
    return QN_OK;
}

static qn_status write_io(qn_export_job *job, vector_io *v, qn_error *err)
{
    char path[128], what[96];
    const bool output = v->output >= 0;
    snprintf(path, sizeof path, "vectors/%s_floats.npy", v->io->id);
    snprintf(what, sizeof what, output ? "outputs, dequantized" : "inputs, as the network reads them");
    QN_TRY(qn_export_npy(job, path, what, &v->floats, err));
    if (v->codes.data == NULL) {
        return QN_OK;
    }
    const qn_export_tensor *t = &job->network->tensors[v->tensor];
    snprintf(path, sizeof path, "vectors/%s_codes.npy", v->io->id);
    snprintf(what, sizeof what, "codes of %s, %s", output ? "outputs" : "inputs",
             t->plain ? "in the order of the model" : "rows, columns, channels");
    QN_TRY(qn_export_npy(job, path, what, &v->codes, err));
    return qn_export_holds(job, t->id, path, err);
}

qn_status qn_export_write_vectors(qn_export_job *job, qn_error *err)
{
    if (job->n_vectors == 0) {
        return QN_OK;
    }
    const size_t n = (size_t)(job->network->n_inputs + job->network->n_outputs);
    vector_set set = {.job = job, .ios = qn_alloc(n * sizeof *set.ios)};
    qn_status status = set.ios != NULL ? start(&set, err) : qn_fail_memory(err, NULL, n * sizeof *set.ios);
    if (status == QN_OK) {
        status = qn_export_each_vector(job, see, &set, err);
    }
    for (int i = 0; i < set.n; i++) {
        if (status == QN_OK) {
            status = write_io(job, &set.ios[i], err);
        }
        qn_tensor_free(&set.ios[i].floats);
        qn_tensor_free(&set.ios[i].codes);
    }
    qn_free(set.ios);
    qn_free(set.codes);
    qn_free(set.sums);
    return status;
}
