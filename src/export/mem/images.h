/* Memory images: the constants of a network as lists of words for block RAMs and ROMs, in a stated order. mem.c writes
 * them, check.c reads them again, the Verilog target names them. */
#ifndef QN_EXPORT_MEM_IMAGES_H
#define QN_EXPORT_MEM_IMAGES_H

#include "export/network.h"

enum { QN_IMAGE_RANK = 4, QN_IMAGE_LANES = 4 };

/* Elements are `elem_bits` of two's complement (or unsigned, or the bits of an f32); a word holds `lanes` of them, the
 * first in its low bits, so that no word has more than 64 bits.
 *  file    name below mem/, without suffix
 *  of      the constant, tensor or layer in the model it belongs to
 *  what    of it: "weights"
 *  order   of the words: "[k][r][s][c]"
 *  rank, dims   of the elements, lane by lane: names them in messages
 *  value   the constant of the model whose codes these are, QN_NO_VALUE: none
 *  s16, s32, f32   where they come from: one is not NULL
 *  outputs, terms  with lanes: channels of a group, and terms a channel sums (outputs 0: one element a word, in
 *             order) */
typedef struct qn_export_image {
    const char *file, *of, *what, *order;
    int elem_bits, lanes;
    bool is_signed;
    int64_t n_words;
    int rank;
    int64_t dims[QN_IMAGE_RANK];
    qn_value_id value;
    const int16_t *s16;
    const int32_t *s32;
    const float *f32;
    int outputs;
    int64_t terms;
} qn_export_image;

typedef struct qn_export_images {
    qn_arena arena;
    qn_export_image *list;
    size_t n, capacity;
} qn_export_images;

/* All constants of the network, in the order of its layers. They point into the network. Released by the caller, also
 * on failure. */
qn_status qn_export_images_make(qn_export_images *images, const qn_export_network *network, qn_error *err);
void qn_export_images_free(qn_export_images *images);

/* Bits of a word. */
static inline int qn_export_image_bits(const qn_export_image *image)
{
    return image->elem_bits * image->lanes;
}
/* The element in lane `lane` of word `word`, an index into the source; -1: padding, which is 0. */
int64_t qn_export_image_element(const qn_export_image *image, int64_t word, int lane);
/* The element as the low elem_bits of a word. */
uint64_t qn_export_image_bits_of(const qn_export_image *image, int64_t element);
uint64_t qn_export_image_word(const qn_export_image *image, int64_t word);

/* How many output channels of a group share a word of packed weights, and so are computed side by side: the greatest
 * power of two up to QN_IMAGE_LANES that the group has. 1: the weights are not packed. */
int qn_export_conv_lanes(const qn_export_conv *conv);
/* Are there zero points of weights that are not 0? */
bool qn_export_conv_uneven(const qn_export_conv *conv);

#endif
