/* Reading memory images again: every element against the network's, told by tensor and element. */
#include <stdio.h>
#include <string.h>

#include "export/mem/formats.h"
#include "export/mem/images.h"
#include "export/mem/mem.h"
#include "export/verify.h"

/* The value of an element of a word, as a number. */
static double value_of(const qn_export_image *image, uint64_t bits)
{
    if (image->f32 != NULL) {
        const uint32_t pattern = (uint32_t)bits;
        float x;
        memcpy(&x, &pattern, sizeof x);
        return x;
    }
    const bool negative = image->is_signed && (bits >> (image->elem_bits - 1) & 1) != 0;
    return negative ? (double)bits - (double)(UINT64_C(1) << image->elem_bits) : (double)bits;
}

static void compare_word(qn_export_checking *c, const char *path, const qn_export_image *image, int64_t word,
                         uint64_t found)
{
    const uint64_t mask = UINT64_MAX >> (64 - image->elem_bits);
    for (int lane = 0; lane < image->lanes; lane++) {
        const int64_t element = qn_export_image_element(image, word, lane);
        const uint64_t expected = element >= 0 ? qn_export_image_bits_of(image, element) : 0;
        const uint64_t bits = found >> (lane * image->elem_bits) & mask;
        if (bits != expected && element < 0) {
            qn_export_differs(c, "%s: '%s': word %lld: lane %d, which is no channel, is not 0", path, image->of,
                              (long long)word, lane);
        } else if (bits != expected) {
            qn_export_element_differs(c, path, image->of, image->rank, image->dims, element, value_of(image, expected),
                                      value_of(image, bits));
        }
    }
}

/* n words of a text that need not end with a 0 byte. NULL: told. */
static uint64_t *read_words(qn_export_checking *c, const char *path, const char *name, qn_mem_format format, int bits,
                            int64_t n, const void *text, size_t n_text, qn_status *status, qn_error *err)
{
    qn_export_text copy = {0};
    qn_error why;
    uint64_t *words = qn_alloc((size_t)n * sizeof *words);
    qn_error_init(&why);
    qn_export_append(&copy, text, n_text);
    if (words == NULL || copy.failed) {
        *status = qn_fail_memory(err, path, (size_t)n * sizeof *words);
    } else if (qn_mem_parse(words, format, bits, n, copy.data, path, &why) == QN_OK) {
        qn_export_text_free(&copy);
        return words;
    } else {
        qn_export_differs(c, "%s: '%s': %s", path, name, why.message);
    }
    qn_export_text_free(&copy);
    qn_free(words);
    return NULL;
}

static qn_status compare_image(qn_export_checking *c, const char *path, const qn_export_image *image,
                               qn_mem_format format, const void *found, size_t n_found, qn_error *err)
{
    qn_status status = QN_OK;
    uint64_t *words = read_words(c, path, image->of, format, qn_export_image_bits(image), image->n_words, found,
                                 n_found, &status, err);
    if (words != NULL) {
        c->check->n_tensors++;
        c->check->n_elements += image->n_words;
    }
    for (int64_t i = 0; words != NULL && i < image->n_words; i++) {
        if (words[i] != qn_export_image_word(image, i)) {
            compare_word(c, path, image, i, words[i]);
        }
    }
    qn_free(words);
    return status;
}

/* Vectors of a tensor, or sums of a layer: words against words. */
static qn_status compare_vectors(qn_export_checking *c, const char *path, const char *name, const qn_export_tensor *t,
                                 bool sums, const void *found, size_t n_found, const void *expected, size_t n_expected,
                                 qn_error *err)
{
    const int64_t dims[4] = {c->job->n_vectors < QN_MEM_VECTORS ? c->job->n_vectors : QN_MEM_VECTORS, t->height,
                             t->width, t->channels};
    const int64_t n = dims[0] * t->count;
    const int bits = sums ? 32 : t->bits;
    qn_export_image image = {.elem_bits = bits, .is_signed = sums || t->is_signed};
    qn_status status = QN_OK;
    uint64_t *a = read_words(c, path, name, QN_MEM_READMEMH, bits, n, expected, n_expected, &status, err), *b = NULL;
    if (a != NULL) {
        b = read_words(c, path, name, QN_MEM_READMEMH, bits, n, found, n_found, &status, err);
    }
    if (b != NULL) {
        c->check->n_tensors++;
        c->check->n_elements += n;
    }
    for (int64_t i = 0; b != NULL && i < n; i++) {
        if (a[i] != b[i]) {
            qn_export_element_differs(c, path, name, 4, dims, i, value_of(&image, a[i]), value_of(&image, b[i]));
        }
    }
    qn_free(a);
    qn_free(b);
    return status;
}

/* "mem/ID.PART.SUFFIX" of an image: its name without suffix. */
static bool names_image(const char *name, const qn_export_image *image, const char *suffix)
{
    const size_t n = strlen(image->file);
    return strncmp(name, image->file, n) == 0 && name[n] == '.' && strcmp(name + n + 1, suffix) == 0;
}

static qn_status check_vectors(qn_export_checking *c, const char *path, const char *name, const void *found,
                               size_t n_found, const void *expected, size_t n_expected, qn_error *err)
{
    const qn_export_network *n = c->job->network;
    const char *dot = strchr(name, '.');
    const size_t length = dot != NULL ? (size_t)(dot - name) : strlen(name);
    if (dot == NULL || (strcmp(dot, ".mem") != 0 && strcmp(dot, ".sums.mem") != 0)) {
        return qn_export_check_vectors(c, path, found, n_found, expected, n_expected, err);
    }
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (strlen(t->id) == length && strncmp(t->id, name, length) == 0) {
            return compare_vectors(c, path, t->name, t, false, found, n_found, expected, n_expected, err);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (strlen(layer->id) == length && strncmp(layer->id, name, length) == 0) {
            return compare_vectors(c, path, layer->name, &n->tensors[layer->output], true, found, n_found, expected,
                                   n_expected, err);
        }
    }
    return QN_OK;
}

qn_status qn_export_check_mem(qn_export_checking *c, const char *path, const void *found, size_t n_found,
                              const void *expected, size_t n_expected, qn_error *err)
{
    const char *name = strrchr(path, '/') + 1;
    if (strncmp(path, "mem/vectors/", 12) == 0) {
        return check_vectors(c, path, name, found, n_found, expected, n_expected, err);
    }
    qn_export_images images;
    qn_status status = qn_export_images_make(&images, c->job->network, err);
    for (size_t i = 0; i < images.n && status == QN_OK; i++) {
        for (int format = 0; format < QN_N_MEM_FORMATS && status == QN_OK; format++) {
            if (names_image(name, &images.list[i], qn_mem_formats[format].suffix)) {
                status = compare_image(c, path, &images.list[i], (qn_mem_format)format, found, n_found, err);
            }
        }
    }
    qn_export_images_free(&images);
    return status;
}
