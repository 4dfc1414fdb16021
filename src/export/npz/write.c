/* Target npz: integers as numpy reads them, and as bytes.
 *
 * Per constant ID: ID.npy (the model's shape and order), ID.bin (the same integers, little-endian), ID.packed.bin
 * (codes of fewer than 8 bits, dense: code i is bits i * b .. i * b + b - 1 of a little-endian stream of bits), and its
 * scales and zero points. weights.npz holds all of them. Per input and output with codes, with vectors: the same of its
 * codes, one axis that counts vectors in front. */
#include <stdio.h>
#include <string.h>

#include "export/constants.h"
#include "export/target.h"
#include "export/vectors.h"
#include "tensor/npz_write.h"

static qn_status put_packed(qn_export_job *job, const char *id, const char *tensor, const qn_tensor *codes, int bits,
                            qn_error *err)
{
    char path[128];
    size_t n_bytes;
    snprintf(path, sizeof path, "npz/%s.packed.bin", id);
    QN_TRY(qn_packed_bytes(&n_bytes, qn_tensor_count(codes), bits, QN_PACKING_DENSE, err));
    qn_packed p = {.data = qn_alloc(n_bytes), .n = qn_tensor_count(codes), .bits = bits, .packing = QN_PACKING_DENSE};
    if (p.data == NULL) {
        return qn_fail_memory(err, path, n_bytes);
    }
    qn_pack(&p, codes->data, qn_dtype_size(codes->dtype));
    qn_status status = qn_export_file(job, path, "codes, dense, least significant bits first", p.data, n_bytes, err);
    qn_free(p.data);
    return status == QN_OK ? qn_export_holds(job, tensor, path, err) : status;
}

/* The integers of tensor `tensor`, in files named by `id`, in each form. */
static qn_status put_codes(qn_export_job *job, const char *id, const char *tensor, const qn_tensor *codes, int bits,
                           qn_error *err)
{
    char path[128], what[64];
    snprintf(path, sizeof path, "npz/%s.npy", id);
    QN_TRY(qn_export_npy(job, path, "codes, in the model's shape", codes, err));
    QN_TRY(qn_export_holds(job, tensor, path, err));
    snprintf(path, sizeof path, "npz/%s.bin", id);
    snprintf(what, sizeof what, "codes as %s, little-endian", qn_dtype_text(codes->dtype));
    QN_TRY(qn_export_file(job, path, what, codes->data, qn_tensor_bytes(codes), err));
    QN_TRY(qn_export_holds(job, tensor, path, err));
    return bits < 8 ? put_packed(job, id, tensor, codes, bits, err) : QN_OK;
}

static qn_status put_parameters(qn_export_job *job, qn_npz_out *all, const qn_export_constant *c, qn_error *err)
{
    char path[128], name[112];
    if (!qn_export_is_affine(c->q)) {
        return QN_OK;
    }
    qn_tensor scales = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {c->q->n}, .data = (void *)(uintptr_t)c->q->scale};
    qn_tensor zeros;
    snprintf(name, sizeof name, "%s_scales", c->id);
    snprintf(path, sizeof path, "npz/%s.npy", name);
    QN_TRY(qn_export_npy(job, path, "scales", &scales, err));
    QN_TRY(qn_npz_add(all, name, &scales, err));
    QN_TRY(qn_tensor_alloc(&zeros, QN_DTYPE_S32, 1, scales.dims, err));
    if (c->q->zero_point != NULL) {
        memcpy(zeros.data, c->q->zero_point, qn_tensor_bytes(&zeros));
    }
    snprintf(name, sizeof name, "%s_zero_points", c->id);
    snprintf(path, sizeof path, "npz/%s.npy", name);
    qn_status status = qn_export_npy(job, path, "zero points", &zeros, err);
    if (status == QN_OK) {
        status = qn_npz_add(all, name, &zeros, err);
    }
    qn_tensor_free(&zeros);
    return status;
}

static qn_status put_constants(qn_export_job *job, const qn_export_constants *constants, qn_npz_out *all, qn_error *err)
{
    for (int i = 0; i < constants->n; i++) {
        const qn_export_constant *c = &constants->rows[i];
        QN_TRY(put_codes(job, c->id, c->id, c->codes, c->q->format.bits, err));
        QN_TRY(qn_npz_add(all, c->id, c->codes, err));
        QN_TRY(put_parameters(job, all, c, err));
    }
    return QN_OK;
}

static qn_status write_constants(qn_export_job *job, const qn_export_constants *constants, qn_error *err)
{
    qn_npz_out *all;
    if (constants->n == 0) {
        return QN_OK; /* archives of nothing cannot be made */
    }
    QN_TRY(qn_npz_begin(&all, err));
    qn_npz_store(all); /* so that its bytes do not depend on a version of zlib */
    qn_status status = put_constants(job, constants, all, err);
    if (status != QN_OK) {
        qn_npz_abandon(all);
        return status;
    }
    void *bytes;
    size_t n;
    QN_TRY(qn_npz_finish(all, &bytes, &n, "npz/weights.npz", err));
    status = qn_export_file(job, "npz/weights.npz", "all constants: ID, ID_scales, ID_zero_points", bytes, n, err);
    qn_free(bytes);
    return status;
}

/* ---- vectors, in the model's order ---- */

typedef struct vector_codes {
    const qn_export_tensor *t;
    int tensor;
    const char *id;
    qn_tensor codes;
} vector_codes;

typedef struct vector_list {
    vector_codes *rows;
    int n;
    int16_t *from, *to;
} vector_list;

static qn_status see(void *ctx, int64_t i, const qn_export_run *run, qn_error *err)
{
    const vector_list *list = ctx;
    (void)err;
    for (int k = 0; k < list->n; k++) {
        const vector_codes *v = &list->rows[k];
        qn_export_run_codes(run, v->tensor, list->from);
        for (int64_t e = 0; e < v->t->count; e++) {
            list->to[e] = list->from[qn_export_place(v->t, e)];
        }
        char *to = (char *)v->codes.data + (size_t)(i * v->t->count) * qn_dtype_size(v->codes.dtype);
        qn_export_narrow(to, v->codes.dtype, list->to, v->t->count);
    }
    return QN_OK;
}

static qn_status list_vectors(vector_list *list, const qn_export_job *job, qn_error *err)
{
    const qn_export_network *n = job->network;
    int64_t most = 1;
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const qn_export_io *io = i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
        if (io->tensor < 0 || n->tensors[io->tensor].real) {
            continue;
        }
        vector_codes *v = &list->rows[list->n++];
        *v = (vector_codes){.t = &n->tensors[io->tensor], .tensor = io->tensor, .id = io->id};
        int64_t dims[QN_MAX_RANK] = {job->n_vectors};
        const int rank = qn_export_code_shape(v->t, true, dims + 1);
        QN_TRY(qn_tensor_alloc(&v->codes, qn_export_code_dtype(v->t->bits, v->t->is_signed), rank + 1, dims, err));
        most = v->t->count > most ? v->t->count : most;
    }
    list->from = qn_alloc((size_t)most * sizeof *list->from);
    list->to = qn_alloc((size_t)most * sizeof *list->to);
    return list->from != NULL && list->to != NULL ? QN_OK : qn_fail_memory(err, n->graph->file, (size_t)most);
}

static qn_status write_vectors(qn_export_job *job, qn_error *err)
{
    const size_t n = (size_t)(job->network->n_inputs + job->network->n_outputs);
    vector_list list = {.rows = qn_alloc(n * sizeof *list.rows)};
    qn_status status = list.rows != NULL ? list_vectors(&list, job, err) : qn_fail_memory(err, NULL, n);
    if (status == QN_OK) {
        status = qn_export_each_vector(job, see, &list, err);
    }
    for (int i = 0; i < list.n; i++) {
        if (status == QN_OK) {
            status =
                put_codes(job, list.rows[i].id, list.rows[i].t->id, &list.rows[i].codes, list.rows[i].t->bits, err);
        }
        qn_tensor_free(&list.rows[i].codes);
    }
    qn_free(list.rows);
    qn_free(list.from);
    qn_free(list.to);
    return status;
}

qn_status qn_export_write_npz(qn_export_job *job, qn_error *err)
{
    qn_export_constants constants;
    QN_TRY(qn_export_constants_list(&constants, job->network, err));
    const qn_status status = write_constants(job, &constants, err);
    qn_export_constants_free(&constants);
    return status == QN_OK && job->n_vectors > 0 ? write_vectors(job, err) : status;
}
