/* The target "mem": memory images of all constants, and with vectors the codes and sums of the first items. */
#include "export/mem/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/mem/formats.h"
#include "export/mem/images.h"

const char *qn_mem_name(char text[QN_MEM_NAME_MAX], const char *name)
{
    size_t n = 0;
    for (; *name != '\0' && n < QN_MEM_NAME_MAX - 1; name++) {
        text[n++] = *name >= ' ' && *name <= '~' ? *name : '?';
    }
    text[n] = '\0';
    return text;
}

static void print_header(qn_export_text *text, qn_mem_format format, const qn_export_image *image)
{
    const char *lead = qn_mem_formats[format].comment;
    char name[QN_MEM_NAME_MAX], dims[80] = "";
    for (int i = 0; i < image->rank; i++) {
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%" PRId64, i == 0 ? "" : " x ", image->dims[i]);
    }
    qn_export_printf(text, "%s %s of '%s' (%s)\n", lead, image->what, qn_mem_name(name, image->of), dims);
    qn_export_printf(text, "%s order %s\n", lead, image->order);
    qn_export_printf(text, "%s %d-bit %s, ", lead, image->elem_bits,
                     image->f32 != NULL ? "patterns of f32"
                     : image->is_signed ? "two's complement"
                                        : "unsigned");
    if (image->lanes == 1) {
        qn_export_printf(text, "one a word, ");
    } else {
        qn_export_printf(text, "%d a word of %d bits, ", image->lanes, qn_export_image_bits(image));
    }
    qn_export_printf(text, "%" PRId64 " words\n", image->n_words);
}

static qn_status write_image(qn_export_job *job, const qn_export_image *image, qn_mem_format format, qn_error *err)
{
    const int bits = qn_export_image_bits(image);
    qn_export_text text = {0};
    print_header(&text, format, image);
    qn_mem_begin(&text, format, bits, image->n_words);
    for (int64_t i = 0; i < image->n_words; i++) {
        qn_mem_word(&text, format, bits, image->n_words, i, qn_export_image_word(image, i));
    }
    qn_mem_end(&text, format);
    char path[128], what[160];
    snprintf(path, sizeof path, "mem/%s.%s", image->file, qn_mem_formats[format].suffix);
    snprintf(what, sizeof what, "%s, for %s", image->what, qn_mem_formats[format].whose);
    return qn_export_text_file(job, path, what, &text, err);
}

static qn_status write_images(qn_export_job *job, qn_error *err)
{
    qn_export_images images;
    qn_status status = qn_export_images_make(&images, job->network, err);
    for (size_t i = 0; i < images.n && status == QN_OK; i++) {
        for (int format = 0; format < QN_N_MEM_FORMATS && status == QN_OK; format++) {
            status = write_image(job, &images.list[i], (qn_mem_format)format, err);
        }
    }
    qn_export_images_free(&images);
    return status;
}

/* The vectors' codes and sums: one text a tensor, one a layer with sums. */
typedef struct vector_texts {
    qn_export_job *job;
    int64_t n;
    qn_export_text *tensors, *layers;
    void *scratch; /* of the largest tensor, 4 bytes an element */
} vector_texts;

static void append_words(qn_export_text *text, int bits, int64_t count, int64_t vector, const int16_t *s16,
                         const int32_t *s32)
{
    const uint32_t mask = UINT32_MAX >> (32 - bits);
    qn_export_printf(text, "// vector %" PRId64 "\n", vector);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t word = (uint32_t)(s16 != NULL ? s16[i] : s32[i]) & mask;
        qn_mem_word(text, QN_MEM_READMEMH, bits, count, i, word);
    }
}

static qn_status see_vector(void *ctx, int64_t vector, const qn_export_run *run, qn_error *err)
{
    vector_texts *texts = ctx;
    const qn_export_network *n = texts->job->network;
    (void)err;
    if (vector >= texts->n) {
        return QN_OK;
    }
    for (int i = 0; i < n->n_tensors; i++) {
        if (qn_mem_has_vectors(&n->tensors[i])) {
            qn_export_run_codes(run, i, texts->scratch);
            append_words(&texts->tensors[i], n->tensors[i].bits, n->tensors[i].count, vector, texts->scratch, NULL);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        if (n->layers[i].kind == QN_EXPORT_CONV) {
            qn_export_run_sums(run, i, texts->scratch);
            append_words(&texts->layers[i], 32, n->tensors[n->layers[i].output].count, vector, NULL, texts->scratch);
        }
    }
    return QN_OK;
}

static void print_vector_header(qn_export_text *text, const char *what, const char *name, const qn_export_tensor *t,
                                int bits, bool is_signed, int64_t n)
{
    char shown[QN_MEM_NAME_MAX];
    qn_export_printf(text, "// %s of '%s', %" PRId64 " vectors one after the other\n", what, qn_mem_name(shown, name),
                     n);
    qn_export_printf(text, "// order [y][x][channel] = %d x %d x %d\n", t->height, t->width, t->channels);
    qn_export_printf(text, "// %d-bit %s, one a word, %" PRId64 " words\n", bits,
                     is_signed ? "two's complement" : "unsigned", n * t->count);
}

static qn_status fill_texts(vector_texts *texts, qn_error *err)
{
    qn_export_job *job = texts->job;
    const qn_export_network *n = job->network;
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (qn_mem_has_vectors(t)) {
            print_vector_header(&texts->tensors[i], "codes", t->name, t, t->bits, t->is_signed, texts->n);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (layer->kind == QN_EXPORT_CONV) {
            print_vector_header(&texts->layers[i], "accumulators with bias, before requantization,", layer->name,
                                &n->tensors[layer->output], 32, true, texts->n);
        }
    }
    return qn_export_each_vector(job, see_vector, texts, err);
}

static qn_status write_texts(vector_texts *texts, qn_error *err)
{
    const qn_export_network *n = texts->job->network;
    char path[128];
    for (int i = 0; i < n->n_tensors; i++) {
        if (qn_mem_has_vectors(&n->tensors[i])) {
            snprintf(path, sizeof path, "mem/vectors/%s.mem", n->tensors[i].id);
            QN_TRY(qn_export_text_file(texts->job, path, "codes of the first vectors, for $readmemh",
                                       &texts->tensors[i], err));
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        if (n->layers[i].kind == QN_EXPORT_CONV) {
            snprintf(path, sizeof path, "mem/vectors/%s.sums.mem", n->layers[i].id);
            QN_TRY(qn_export_text_file(texts->job, path, "accumulators of the first vectors, for $readmemh",
                                       &texts->layers[i], err));
        }
    }
    return QN_OK;
}

static qn_status write_vectors(qn_export_job *job, qn_error *err)
{
    const qn_export_network *n = job->network;
    vector_texts texts = {.job = job, .n = qn_mem_vectors(job)};
    if (texts.n == 0) {
        return QN_OK;
    }
    size_t most = 1;
    for (int i = 0; i < n->n_tensors; i++) {
        most = (size_t)n->tensors[i].count > most ? (size_t)n->tensors[i].count : most;
    }
    texts.tensors = qn_alloc((size_t)n->n_tensors * sizeof *texts.tensors);
    texts.layers = qn_alloc((size_t)n->n_layers * sizeof *texts.layers);
    texts.scratch = qn_alloc(most * sizeof(int32_t));
    qn_status status = texts.tensors == NULL || texts.layers == NULL || texts.scratch == NULL
                           ? qn_fail_memory(err, n->graph->file, most * sizeof(int32_t))
                           : fill_texts(&texts, err);
    if (status == QN_OK) {
        status = write_texts(&texts, err);
    }
    for (int i = 0; texts.tensors != NULL && i < n->n_tensors; i++) {
        qn_export_text_free(&texts.tensors[i]);
    }
    for (int i = 0; texts.layers != NULL && i < n->n_layers; i++) {
        qn_export_text_free(&texts.layers[i]);
    }
    qn_free(texts.tensors);
    qn_free(texts.layers);
    qn_free(texts.scratch);
    if (status == QN_OK && texts.n < job->n_vectors) {
        qn_export_printf(job->report, "mem: the first %" PRId64 " of %" PRId64 " vectors are written as .mem files\n",
                         texts.n, job->n_vectors);
    }
    return status;
}

qn_status qn_export_write_mem(qn_export_job *job, qn_error *err)
{
    QN_TRY(write_images(job, err));
    QN_TRY(write_vectors(job, err));
    if (job->network->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        qn_export_printf(job->report, "mem: the model requantizes in float: files *ratio_f32* hold the bits of f32 "
                                      "ratios; quern quantize --requantize fixed gives multipliers and shifts\n");
    }
    if (job->network->n_float > 0) {
        qn_export_printf(job->report,
                         "mem: %d layers run in float and have no memory images: quern inspect --nodes "
                         "lists them\n",
                         job->network->n_float);
    }
    return QN_OK;
}
