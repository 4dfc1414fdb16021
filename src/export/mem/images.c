/* The list of memory images of a network. */
#include "export/mem/images.h"

#include <stdio.h>
#include <string.h>

int qn_export_conv_lanes(const qn_export_conv *conv)
{
    int lanes = 1;
    while (2 * lanes <= QN_IMAGE_LANES && 2 * lanes <= conv->group_outputs) {
        lanes *= 2;
    }
    return lanes;
}

bool qn_export_conv_uneven(const qn_export_conv *conv)
{
    for (int k = 0; k < conv->outputs; k++) {
        if (conv->zero_w[k] != 0) {
            return true;
        }
    }
    return false;
}

int64_t qn_export_image_element(const qn_export_image *image, int64_t word, int lane)
{
    if (image->outputs == 0) {
        return word;
    }
    const int64_t blocks = (image->outputs + image->lanes - 1) / image->lanes;
    const int64_t block = word / image->terms, term = word % image->terms;
    const int64_t within = block % blocks * image->lanes + lane;
    return within < image->outputs ? (block / blocks * image->outputs + within) * image->terms + term : -1;
}

uint64_t qn_export_image_bits_of(const qn_export_image *image, int64_t element)
{
    uint64_t bits;
    if (image->f32 != NULL) {
        uint32_t pattern;
        memcpy(&pattern, &image->f32[element], sizeof pattern);
        bits = pattern;
    } else {
        bits = (uint64_t)(int64_t)(image->s32 != NULL ? image->s32[element] : image->s16[element]);
    }
    return bits & (UINT64_MAX >> (64 - image->elem_bits));
}

uint64_t qn_export_image_word(const qn_export_image *image, int64_t word)
{
    uint64_t bits = 0;
    for (int lane = image->lanes - 1; lane >= 0; lane--) {
        const int64_t element = qn_export_image_element(image, word, lane);
        bits = bits << image->elem_bits | (element >= 0 ? qn_export_image_bits_of(image, element) : 0);
    }
    return bits;
}

void qn_export_images_free(qn_export_images *images)
{
    qn_arena_free(&images->arena);
    qn_free(images->list);
    *images = (qn_export_images){0};
}

/* One list of elements, one a word; `id` and `part` make the file's name. */
static qn_status add(qn_export_images *images, const char *id, const char *part, qn_export_image image, qn_error *err)
{
    void *list = images->list;
    const qn_status status = qn_grow(&list, &images->capacity, images->n, sizeof *images->list, err);
    images->list = list;
    QN_TRY(status);
    image.file = qn_arena_printf(&images->arena, "%s.%s", id, part);
    if (image.file == NULL) {
        return qn_fail_memory(err, id, 0);
    }
    image.lanes = image.lanes > 0 ? image.lanes : 1;
    if (image.n_words == 0) {
        image.n_words = 1;
        for (int i = 0; i < image.rank; i++) {
            image.n_words *= image.dims[i];
        }
    }
    images->list[images->n++] = image;
    return QN_OK;
}

static qn_status add_weights(qn_export_images *images, const qn_export_layer *layer, qn_error *err)
{
    const qn_export_conv *conv = &layer->u.conv;
    const int lanes = qn_export_conv_lanes(conv);
    qn_export_image image = {.of = conv->weight_name,
                             .value = conv->weight_value,
                             .what = "weights",
                             .order = "[k][r][s][c]: output channel, kernel row, kernel column, input channel of the "
                                      "group",
                             .elem_bits = conv->weight_bits,
                             .is_signed = conv->weight_signed,
                             .rank = 4,
                             .dims = {conv->outputs, conv->kernel[0], conv->kernel[1], conv->group_inputs},
                             .s16 = conv->weights};
    QN_TRY(add(images, layer->id, "weights", image, err));
    if (lanes == 1) {
        return QN_OK;
    }
    char part[24];
    snprintf(part, sizeof part, "weights_x%d", lanes);
    image.lanes = lanes;
    image.order = "[group][block of channels][r][s][c]: a word holds a block's output channels, the first in the low "
                  "bits; those that a group does not have are 0";
    image.outputs = conv->group_outputs;
    image.terms = (int64_t)conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
    image.n_words = conv->groups * ((int64_t)(conv->group_outputs + lanes - 1) / lanes) * image.terms;
    return add(images, layer->id, part, image, err);
}

static qn_status add_channels(qn_export_images *images, const qn_export_layer *layer, const char *part,
                              const char *what, int bits, const int32_t *s32, const float *f32, qn_error *err)
{
    const qn_export_image image = {.of = layer->name,
                                   .value = QN_NO_VALUE,
                                   .what = what,
                                   .order = "[k]: output channel",
                                   .elem_bits = bits,
                                   .is_signed = f32 == NULL,
                                   .rank = 1,
                                   .dims = {layer->u.conv.outputs},
                                   .s32 = s32,
                                   .f32 = f32};
    return add(images, layer->id, part, image, err);
}

static qn_status add_conv(qn_export_images *images, const qn_export_layer *layer, qn_error *err)
{
    const qn_export_conv *conv = &layer->u.conv;
    const qn_export_requantize *r = &conv->requantize;
    QN_TRY(add_weights(images, layer, err));
    if (qn_export_conv_uneven(conv)) {
        QN_TRY(add_channels(images, layer, "zero_w", "zero points of the weights", conv->weight_bits, conv->zero_w,
                            NULL, err));
    }
    QN_TRY(add_channels(images, layer, "bias", "biases", 32, conv->bias, NULL, err));
    images->list[images->n - 1].value = conv->bias_value;
    if (conv->decodes) {
        QN_TRY(add_channels(images, layer, "out_scale_f32", "scales of float results, as the bits of an f32", 32, NULL,
                            conv->out_scale, err));
        return conv->out_bias == NULL
                   ? QN_OK
                   : add_channels(images, layer, "out_bias_f32", "biases of float results, as the bits of an f32", 32,
                                  NULL, conv->out_bias, err);
    }
    if (r->ratio != NULL) {
        return add_channels(images, layer, "ratio_f32", "ratios of scales, as the bits of an f32", 32, NULL, r->ratio,
                            err);
    }
    QN_TRY(add_channels(images, layer, "multiplier", "multipliers of requantization", 32, r->multiplier, NULL, err));
    return add_channels(images, layer, "shift", "shifts of requantization, to the right where positive", 8, r->shift,
                        NULL, err);
}

static qn_status add_few(qn_export_images *images, const qn_export_layer *layer, const char *part, const char *what,
                         const char *order, int n, int bits, const int32_t *s32, const float *f32, qn_error *err)
{
    const qn_export_image image = {.of = layer->name,
                                   .value = QN_NO_VALUE,
                                   .what = what,
                                   .order = order,
                                   .elem_bits = bits,
                                   .is_signed = f32 == NULL,
                                   .rank = 1,
                                   .dims = {n},
                                   .s32 = s32,
                                   .f32 = f32};
    return add(images, layer->id, part, image, err);
}

/* n ratios, as two images. */
static qn_status add_ratios(qn_export_images *images, const qn_export_layer *layer, const char *order,
                            const qn_ratio *ratio, int n, qn_error *err)
{
    int32_t *multiplier = qn_arena_array(&images->arena, (size_t)n, sizeof *multiplier);
    int32_t *shift = qn_arena_array(&images->arena, (size_t)n, sizeof *shift);
    if (multiplier == NULL || shift == NULL) {
        return qn_fail_memory(err, layer->name, 0);
    }
    for (int i = 0; i < n; i++) {
        multiplier[i] = ratio[i].multiplier;
        shift[i] = ratio[i].shift;
    }
    QN_TRY(add_few(images, layer, "multiplier", "multipliers of requantization", order, n, 32, multiplier, NULL, err));
    return add_few(images, layer, "shift", "shifts of requantization, to the right where positive", order, n, 8, shift,
                   NULL, err);
}

static qn_status add_average(qn_export_images *images, const qn_export_layer *layer, qn_error *err)
{
    const qn_export_pool *pool = &layer->u.pool;
    if (pool->is_fixed) {
        return pool->rescales ? add_ratios(images, layer, "of the sum", &pool->ratio, 1, err) : QN_OK;
    }
    float *f32 = qn_arena_array(&images->arena, 2, sizeof *f32);
    if (f32 == NULL) {
        return qn_fail_memory(err, layer->name, 0);
    }
    f32[0] = pool->whole ? pool->multiplier : pool->scale_x;
    f32[1] = pool->scale_y;
    return add_few(images, layer, pool->whole ? "ratio_f32" : "scales_f32",
                   pool->whole ? "ratio of the sum, as the bits of an f32" : "scales, as the bits of an f32",
                   pool->whole ? "one word" : "input, output", pool->whole ? 1 : 2, 32, NULL, f32, err);
}

static qn_status add_layer(qn_export_images *images, const qn_export_network *network, const qn_export_layer *layer,
                           qn_error *err)
{
    const qn_export_tensor *y = &network->tensors[layer->output];
    qn_export_image image = {.of = layer->name, .value = QN_NO_VALUE, .rank = 1};
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        return add_conv(images, layer, err);
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        return layer->u.add.is_fixed
                   ? add_ratios(images, layer, "first operand, second operand, their sum; of a product only the last",
                                layer->u.add.fixed, 3, err)
                   : add_few(images, layer, "ratio_f32", "ratios of scales, or scales, as the bits of an f32",
                             layer->kind == QN_EXPORT_MUL ? "the product" : "first operand, second operand, difference",
                             layer->u.add.n_ratios, 32, NULL, layer->u.add.ratio, err);
    case QN_EXPORT_ADD:
        return layer->u.add.is_fixed
                   ? add_ratios(images, layer, "first operand, second operand, their sum", layer->u.add.fixed, 3, err)
                   : add_few(images, layer, "ratio_f32", "ratios of scales, as the bits of an f32",
                             "first operand, second operand", 2, 32, NULL, layer->u.add.ratio, err);
    case QN_EXPORT_AVERAGE:
        return add_average(images, layer, err);
    case QN_EXPORT_LOOKUP:
        image.what = "table";
        image.order = "[input code - lowest code of its format]";
        image.elem_bits = y->bits;
        image.is_signed = y->is_signed;
        image.dims[0] = layer->u.lookup.n_table;
        image.s16 = layer->u.lookup.table;
        return image.s16 != NULL ? add(images, layer->id, "table", image, err) : QN_OK;
    case QN_EXPORT_GATHER:
        image.what = "where each element of the output comes from in the input";
        image.order = "[element of the output]";
        image.elem_bits = 32;
        image.dims[0] = y->count;
        image.s32 = layer->u.index;
        return add(images, layer->id, "index", image, err);
    default:
        return QN_OK;
    }
}

qn_status qn_export_images_make(qn_export_images *images, const qn_export_network *network, qn_error *err)
{
    *images = (qn_export_images){0};
    for (int i = 0; i < network->n_layers; i++) {
        QN_TRY(add_layer(images, network, &network->layers[i], err));
    }
    for (int i = 0; i < network->n_tensors; i++) {
        const qn_export_tensor *t = &network->tensors[i];
        if (t->constant != NULL && t->used) {
            const qn_export_image image = {.of = t->name,
                                           .value = t->value,
                                           .what = "codes of a constant",
                                           .order = "[y][x][channel]",
                                           .elem_bits = t->bits,
                                           .is_signed = t->is_signed,
                                           .rank = 3,
                                           .dims = {t->height, t->width, t->channels},
                                           .s16 = t->constant};
            QN_TRY(add(images, t->id, "constant", image, err));
        }
    }
    return QN_OK;
}
