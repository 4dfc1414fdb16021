/* The target "mem": memory images of all constants, and with vectors the codes and sums of the first items. */
#include "export/mem/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/constants.h"
#include "export/manifest.h"
#include "export/mem/formats.h"
#include "export/mem/images.h"
#include "graph/model.h"

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

/* `constants`: those of the network, whose entries in the manifest list the files that hold them. */
static qn_status write_image(qn_export_job *job, const qn_export_constants *constants, const qn_export_image *image,
                             qn_mem_format format, qn_error *err)
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
    QN_TRY(qn_export_text_file(job, path, what, &text, err));
    const int row = image->value != QN_NO_VALUE ? constants->of_value[image->value] : -1;
    return row >= 0 ? qn_export_holds(job, constants->rows[row].id, path, err) : QN_OK;
}

/* For the manifest: what a block RAM has to hold. */
static qn_status list_image(qn_export_job *job, json_t *list, const qn_export_image *image, qn_error *err)
{
    json_t *row = json_pack("{s:s, s:o, s:s, s:s, s:i, s:i, s:b, s:I}", "file", image->file, "of",
                            qn_export_json_string(image->of), "what", image->what, "order", image->order, "bits",
                            image->elem_bits, "lanes", image->lanes, "signed", image->is_signed, "words",
                            (json_int_t)image->n_words);
    return row != NULL && json_array_append_new(list, row) == 0 ? QN_OK
                                                                : qn_fail_memory(err, job->model->graph.file, 0);
}

static qn_status write_images(qn_export_job *job, qn_error *err)
{
    qn_export_images images;
    qn_export_constants constants = {0};
    QN_TRY(qn_export_need_other_kinds(job->network, "mem", QN_EXPORT_OF_ROWS | 1u << QN_EXPORT_PAD, err));
    qn_status status = qn_export_images_make(&images, job->network, err);
    if (status == QN_OK) {
        status = qn_export_constants_list(&constants, job->network, err);
    }
    json_t *list = status == QN_OK ? json_array() : NULL;
    if (status == QN_OK && (list == NULL || json_object_set_new(job->section, "images", list) != 0)) {
        status = qn_fail_memory(err, job->model->graph.file, 0);
    }
    for (size_t i = 0; i < images.n && status == QN_OK; i++) {
        status = list_image(job, list, &images.list[i], err);
        for (int format = 0; format < QN_N_MEM_FORMATS && status == QN_OK; format++) {
            status = write_image(job, &constants, &images.list[i], (qn_mem_format)format, err);
        }
    }
    qn_export_constants_free(&constants);
    qn_export_images_free(&images);
    return status;
}

qn_status qn_export_write_mem(qn_export_job *job, qn_error *err)
{
    QN_TRY(write_images(job, err));
    QN_TRY(qn_mem_write_vectors(job, err));
    if (job->network->arithmetic.requantize == QN_REQUANTIZE_FLOAT) {
        qn_export_printf(job->report, "mem: the model requantizes in float: files *ratio_f32* hold the bits of f32 "
                                      "ratios; quern quantize --requantize fixed gives multipliers and shifts\n");
    }
    if (job->network->n_float > 0) {
        qn_export_printf(job->report,
                         "mem: %d layers run in float and have no memory images: quern inspect lists them\n",
                         job->network->n_float);
    }
    return QN_OK;
}
