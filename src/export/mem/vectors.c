/* Test vectors as memory images: codes of every tensor, sums of every convolution, as .mem and .npy. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/mem/formats.h"
#include "export/mem/mem.h"
#include "export/vectors.h"

/* One file: a tensor's codes, or a layer's sums.
 *  tensor, layer  -1: the other
 *  t          whose shape it has */
typedef struct vector_list {
    int tensor, layer;
    const qn_export_tensor *t;
    const char *id, *name;
    int bits;
    bool is_signed;
    qn_export_text text;
    qn_tensor array; /* [vector][y][x][channel] */
} vector_list;

typedef struct vector_lists {
    qn_export_job *job;
    int64_t n_vectors;
    vector_list *rows;
    int n;
    void *scratch; /* of the largest tensor, 4 bytes an element */
} vector_lists;

static qn_status start_list(vector_lists *lists, vector_list row, qn_error *err)
{
    char name[QN_MEM_NAME_MAX];
    const int64_t dims[4] = {lists->n_vectors, row.t->height, row.t->width, row.t->channels};
    vector_list *list = &lists->rows[lists->n++];
    *list = row;
    qn_export_printf(&list->text, "// %s of '%s', %" PRId64 " vectors one after the other\n",
                     row.layer >= 0 ? "accumulators with bias, before requantization," : "codes",
                     qn_mem_name(name, row.name), lists->n_vectors);
    qn_export_printf(&list->text, "// order [y][x][channel] (%d x %d x %d)\n", row.t->height, row.t->width,
                     row.t->channels);
    qn_export_printf(&list->text, "// %d-bit %s, one a word, %" PRId64 " words\n", row.bits,
                     row.is_signed ? "two's complement" : "unsigned", lists->n_vectors * row.t->count);
    const qn_dtype dtype = row.layer >= 0 ? QN_DTYPE_S32 : qn_export_code_dtype(row.bits, row.is_signed);
    return qn_tensor_alloc(&list->array, dtype, 4, dims, err);
}

static qn_status start_lists(vector_lists *lists, qn_error *err)
{
    const qn_export_network *n = lists->job->network;
    int64_t most = 1;
    for (int i = 0; i < n->n_tensors; i++) {
        most = n->tensors[i].count > most ? n->tensors[i].count : most;
    }
    lists->rows = qn_alloc((size_t)(n->n_tensors + n->n_layers + 1) * sizeof *lists->rows);
    lists->scratch = qn_alloc((size_t)most * sizeof(int32_t));
    if (lists->rows == NULL || lists->scratch == NULL) {
        return qn_fail_memory(err, n->graph->file, (size_t)most * sizeof(int32_t));
    }
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (qn_mem_has_vectors(t)) {
            const vector_list row = {.tensor = i,
                                     .layer = -1,
                                     .t = t,
                                     .id = t->id,
                                     .name = t->name,
                                     .bits = t->bits,
                                     .is_signed = t->is_signed};
            QN_TRY(start_list(lists, row, err));
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (layer->kind == QN_EXPORT_CONV) {
            const vector_list row = {.tensor = -1,
                                     .layer = i,
                                     .t = &n->tensors[layer->output],
                                     .id = layer->id,
                                     .name = layer->name,
                                     .bits = 32,
                                     .is_signed = true};
            QN_TRY(start_list(lists, row, err));
        }
    }
    return QN_OK;
}

static qn_status see_vector(void *ctx, int64_t vector, const qn_export_run *run, qn_error *err)
{
    vector_lists *lists = ctx;
    (void)err;
    for (int i = 0; i < lists->n && vector < lists->n_vectors; i++) {
        vector_list *list = &lists->rows[i];
        const int64_t count = list->t->count;
        const size_t size = qn_dtype_size(list->array.dtype);
        char *to = (char *)list->array.data + (size_t)(vector * count) * size;
        int16_t *codes = lists->scratch;
        int32_t *sums = lists->scratch;
        if (list->layer >= 0) {
            qn_export_run_sums(run, list->layer, sums);
            memcpy(to, sums, (size_t)count * size);
        } else {
            qn_export_run_codes(run, list->tensor, codes);
            qn_export_narrow(to, list->array.dtype, codes, count);
        }
        qn_export_printf(&list->text, "// vector %" PRId64 "\n", vector);
        for (int64_t k = 0; k < count; k++) {
            const uint32_t word = (uint32_t)(list->layer >= 0 ? sums[k] : codes[k]) & UINT32_MAX >> (32 - list->bits);
            qn_mem_word(&list->text, QN_MEM_READMEMH, list->bits, count, k, word);
        }
    }
    return QN_OK;
}

static qn_status write_list(qn_export_job *job, vector_list *list, qn_error *err)
{
    const bool sums = list->layer >= 0;
    char path[128];
    snprintf(path, sizeof path, "mem/vectors/%s%s.mem", list->id, sums ? ".sums" : "");
    QN_TRY(qn_export_text_file(job, path, sums ? "accumulators, for $readmemh" : "codes, for $readmemh", &list->text,
                               err));
    QN_TRY(sums ? QN_OK : qn_export_holds(job, list->id, path, err));
    snprintf(path, sizeof path, "mem/vectors/%s%s.npy", list->id, sums ? ".sums" : "");
    QN_TRY(qn_export_npy(job, path, sums ? "accumulators" : "codes", &list->array, err));
    return sums ? QN_OK : qn_export_holds(job, list->id, path, err);
}

qn_status qn_mem_write_vectors(qn_export_job *job, qn_error *err)
{
    vector_lists lists = {.job = job, .n_vectors = qn_mem_vectors(job)};
    if (lists.n_vectors == 0) {
        return QN_OK;
    }
    qn_status status = start_lists(&lists, err);
    if (status == QN_OK) {
        status = qn_export_each_vector(job, see_vector, &lists, err);
    }
    for (int i = 0; i < lists.n; i++) {
        if (status == QN_OK) {
            status = write_list(job, &lists.rows[i], err);
        }
        qn_export_text_free(&lists.rows[i].text);
        qn_tensor_free(&lists.rows[i].array);
    }
    qn_free(lists.rows);
    qn_free(lists.scratch);
    if (status == QN_OK && lists.n_vectors < job->n_vectors) {
        qn_export_printf(job->report,
                         "mem: values of the first %" PRId64 " of %" PRId64 " vectors are in mem/vectors\n",
                         lists.n_vectors, job->n_vectors);
    }
    return status;
}
