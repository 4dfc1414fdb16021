/* The step that puts a tensor through a quantizer in place (simulate_run.c), as simulate.c plans it. */
#ifndef QN_ENGINE_FLOAT_SIMULATE_H
#define QN_ENGINE_FLOAT_SIMULATE_H

#include "format/dynamic.h"

/* How the codec sees an item: as it lies in memory, or a copy in C order, or one with the channels innermost. */
typedef enum qn_simulate_form {
    QN_SIMULATE_AS_IT_LIES,
    QN_SIMULATE_C_ORDER,
    QN_SIMULATE_CHANNELS_LAST
} qn_simulate_form;

typedef struct qn_simulate {
    const qn_quantizer *quantizer; /* its parameters; NULL: dynamic */
    qn_format_kernel kernel;
    qn_dynamic dynamic; /* made for the item as the codec sees it */
    bool rounds;        /* else values are only held within reach of the codes */
    int rank;           /* of the item as the codec sees it */
    int64_t dims[QN_MAX_RANK];
    int64_t n_items, item_stride; /* elements in memory from one item to the next */
    qn_simulate_form form;
    int64_t channels, inner, block, stride_block; /* of the item in memory, as in qn_value_view */
    int64_t n_padding;                            /* elements behind the last channel at each place, to be kept zero */
    size_t copy_bytes;                            /* at the start of scratch; the rest is for dynamic */
} qn_simulate;

/* A qn_float_kernel: params is a qn_simulate; args are the tensor, the same once more, and scratch (NULL: none needed). */
void qn_float_run_simulate(const void *params, void *const *args);

#endif
