/* Equalization under way; inside equalize.c and smooth.c only. */
#ifndef QN_PTQ_EQUALIZE_H
#define QN_PTQ_EQUALIZE_H

#include "ptq/channels.h"

/* Sums of logarithms of ranges, per leading variable. */
typedef struct qn_range_mean {
    double sum;
    int n;
} qn_range_mean;

/* Shared by the two balances. */
typedef struct qn_equalizer {
    qn_ptq *ptq;
    const qn_binding *binding;
    const qn_ptq_equalize_options *options;
    qn_ptq_channels channels;
    double **magnitude; /* per layer: [n_out][n_in], the greatest |w| over the kernel */
    int32_t *of;        /* per variable: the one that stands for it */
    double *log_factor; /* per leading variable, base 2 */
    double *up, *down;  /* 2^log_factor and its reciprocal */
    double *peak;       /* per leading variable: zero between uses */
    qn_range_mean *made, *read;
    qn_arena arena;
    qn_error *err;
} qn_equalizer;

/* The variable whose factor is that of variable first + i; the pinned one for first -1. */
static inline int32_t qn_equalizer_leader(const qn_equalizer *e, int32_t first, int64_t i)
{
    return first < 0 ? e->of[0] : e->of[first + (int32_t)i];
}

static inline bool qn_equalizer_pinned(const qn_equalizer *e, int32_t variable)
{
    return variable == e->of[0];
}

static inline int64_t qn_layer_inputs(const qn_ptq_layer *layer)
{
    return layer->n_out / layer->group_outputs * layer->n_in;
}

/* Within the limits of the options. */
void qn_equalizer_set(qn_equalizer *e, int32_t v, double log_factor);

/* Balance activations against the weights that read them. */
qn_status qn_equalizer_smooth(qn_equalizer *e);

#endif
