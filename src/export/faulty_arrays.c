/* Arrays of a case, as .npy, and as .mem where memory images are exported. */
#include "export/faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/manifest.h"
#include "export/mem/formats.h"

/* Their path goes into `files` under `key`. */
static qn_status write_array(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                             const char *suffix, const char *what, const qn_tensor *t, qn_error *err)
{
    char path[192], line[160];
    snprintf(path, sizeof path, "%s/%s_%s.npy", w->path, id, suffix);
    snprintf(line, sizeof line, "fault %" PRId64 ", image %" PRId64 ": %s", w->fault, w->image, what);
    qn_export_json_set(files, key, json_string(path));
    return qn_export_npy(w->job, path, line, t, err);
}

/* In the network's order: rows, columns, channels; plain ones in their own shape. */
static void set_shape(qn_tensor *x, const qn_export_tensor *t)
{
    if (t->plain && t->rank > 0) {
        x->rank = t->rank;
        memcpy(x->dims, t->dims, sizeof x->dims);
    } else {
        x->rank = 3;
        x->dims[0] = t->height, x->dims[1] = t->width, x->dims[2] = t->channels;
    }
}

/* The same as words for $readmemh, where memory images are exported; one of s16 and s32 is not NULL. */
static qn_status write_words(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                             const char *suffix, int bits, int64_t count, const int16_t *s16, const int32_t *s32,
                             qn_error *err)
{
    if ((w->job->options->targets & (1u << QN_EXPORT_MEM | 1u << QN_EXPORT_VERILOG)) == 0) {
        return QN_OK;
    }
    char path[192], line[96];
    qn_export_text text = {0};
    snprintf(path, sizeof path, "%s/%s_%s.mem", w->path, id, suffix);
    snprintf(line, sizeof line, "fault %" PRId64 ", image %" PRId64 ": the .npy file of this name, for $readmemh",
             w->fault, w->image);
    qn_export_json_set(files, key, json_string(path));
    for (int64_t i = 0; i < count; i++) {
        const uint32_t word = (uint32_t)(s16 != NULL ? s16[i] : s32[i]) & qn_whole_mask(bits);
        qn_mem_word(&text, QN_MEM_READMEMH, bits, count, i, word);
    }
    return qn_export_text_file(w->job, path, line, &text, err);
}

qn_status qn_export_faulty_put_codes(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                                     const char *suffix, const char *what, const qn_export_tensor *t,
                                     const int16_t *codes, qn_error *err)
{
    int8_t *bytes = qn_alloc((size_t)t->count);
    if (bytes == NULL) {
        return qn_fail_memory(err, t->name, (size_t)t->count);
    }
    for (int64_t i = 0; i < t->count; i++) {
        bytes[i] = (int8_t)(uint8_t)codes[i];
    }
    qn_tensor x = {.dtype = t->is_signed ? QN_DTYPE_S8 : QN_DTYPE_U8, .data = bytes};
    set_shape(&x, t);
    const qn_status status = write_array(w, files, key, id, suffix, what, &x, err);
    qn_free(bytes);
    char words[32];
    snprintf(words, sizeof words, "%s_mem", key);
    return status != QN_OK ? status : write_words(w, files, words, id, suffix, t->bits, t->count, codes, NULL, err);
}

qn_status qn_export_faulty_put_reals(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                                     const char *suffix, const char *what, int rank, const int64_t *dims,
                                     const float *x, qn_error *err)
{
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = rank, .data = (void *)(uintptr_t)x};
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    return write_array(w, files, key, id, suffix, what, &t, err);
}

qn_status qn_export_faulty_put_sums(const qn_export_faulty_folder *w, json_t *files, const char *id,
                                    const qn_export_tensor *t, const int32_t *sums, qn_error *err)
{
    qn_tensor x = {.dtype = QN_DTYPE_S32, .data = (void *)(uintptr_t)sums};
    set_shape(&x, t);
    QN_TRY(write_array(w, files, "sums", id, "sums_faulty", "accumulators with the fault", &x, err));
    return write_words(w, files, "sums_mem", id, "sums_faulty", 32, t->count, NULL, sums, err);
}
