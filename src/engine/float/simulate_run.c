#include "engine/float/simulate.h"

#include <string.h>

#include "format/codec.h"
#include "format/quantizer.h"
#include "format/walk.h"

static inline void move_tile(float *restrict to, int64_t to_a, const float *restrict from, int64_t from_a,
                             int64_t from_b, int64_t n_a, int64_t n_b)
{
    for (int64_t a = 0; a < n_a; a++) {
        float *restrict row = to + a * to_a;
        const float *restrict source = from + a * from_a;
        for (int64_t b = 0; b < n_b; b++) {
            row[b] = source[b * from_b];
        }
    }
}

/* One plane of a by b elements to other strides, the b consecutive in `to`; in tiles that stay in the first level of
 * cache, because lines that are a power of two apart push each other out of it. */
static void move(float *to, int64_t to_a, const float *from, int64_t from_a, int64_t from_b, int64_t n_a, int64_t n_b)
{
    enum { TILE = 16 };
    for (int64_t a = 0; a < n_a; a += TILE) {
        for (int64_t b = 0; b < n_b; b += TILE) {
            float *corner = to + a * to_a + b;
            const float *source = from + a * from_a + b * from_b;
            if (n_a - a >= TILE && n_b - b >= TILE) {
                move_tile(corner, to_a, source, from_a, from_b, TILE, TILE);
            } else {
                move_tile(corner, to_a, source, from_a, from_b, n_a - a < TILE ? n_a - a : TILE,
                          n_b - b < TILE ? n_b - b : TILE);
            }
        }
    }
}

/* Elements of the copy from a channel to the next, and from a place to the next. */
static int64_t channel_step(const qn_simulate *p)
{
    return p->form == QN_SIMULATE_CHANNELS_LAST ? 1 : p->inner;
}

static int64_t place_step(const qn_simulate *p)
{
    return p->form == QN_SIMULATE_CHANNELS_LAST ? p->channels : 1;
}

/* Blocks of one channel are all moved at once. */
static void gather(const qn_simulate *p, float *to, const float *from)
{
    const int64_t step_c = channel_step(p), step_i = place_step(p);
    if (p->block == 1) {
        move(to, step_i, from, 1, p->stride_block, p->inner, p->channels);
        return;
    }
    for (int64_t first = 0; first < p->channels; first += p->block, from += p->stride_block) {
        const int64_t n = p->channels - first < p->block ? p->channels - first : p->block;
        if (step_c == 1) {
            move(to + first, step_i, from, p->block, 1, p->inner, n);
        } else {
            move(to + first * step_c, step_c, from, 1, p->block, n, p->inner);
        }
    }
}

static void scatter(const qn_simulate *p, float *to, const float *from)
{
    const int64_t step_c = channel_step(p), step_i = place_step(p);
    if (p->block == 1) {
        move(to, p->stride_block, from, step_c, step_i, p->channels, p->inner);
        return;
    }
    for (int64_t first = 0; first < p->channels; first += p->block, to += p->stride_block) {
        const int64_t n = p->channels - first < p->block ? p->channels - first : p->block;
        move(to, p->block, from + first * step_c, step_i, step_c, p->inner, n);
    }
}

/* Padding is zero whatever the format makes of zeros. */
static void clear_padding(const qn_simulate *p, float *item)
{
    float *last = item + p->channels / p->block * p->stride_block + (p->block - p->n_padding);
    for (int64_t i = 0; i < p->inner; i++) {
        memset(last + i * p->block, 0, (size_t)p->n_padding * sizeof *last);
    }
}

typedef struct {
    float *x;
    const qn_quantizer *quantizer;
} holding;

static void hold_span(void *ctx, const qn_span *span)
{
    const holding *h = ctx;
    const qn_params params = qn_quantizer_get(h->quantizer, span->set);
    qn_format_limits limits;
    qn_format_limits_get(&limits, h->quantizer->format, &params);
    const float lo = (float)limits.lowest, hi = (float)limits.highest;
    for (int64_t i = 0; i < span->n; i++) {
        float *x = &h->x[span->first + i * span->stride];
        *x = *x < lo ? lo : *x > hi ? hi : *x;
    }
}

static void quantize(const qn_simulate *p, float *x, void *scratch)
{
    if (p->quantizer == NULL) {
        qn_dynamic_fake(&p->dynamic, x, x, scratch);
        return;
    }
    if (!p->rounds) {
        holding h = {x, p->quantizer};
        qn_walk(p->quantizer->axis, p->quantizer->group, p->rank, p->dims, hold_span, &h);
        return;
    }
    qn_codec codec = {.x = x, .y = x};
    qn_codec_run(&codec, p->quantizer, &p->kernel, p->rank, p->dims);
}

void qn_float_run_simulate(const void *params, void *const *args)
{
    const qn_simulate *p = params;
    float *item = args[0];
    unsigned char *scratch = args[2];
    for (int64_t i = 0; i < p->n_items; i++, item += p->item_stride) {
        if (p->form == QN_SIMULATE_AS_IT_LIES) {
            quantize(p, item, scratch);
        } else {
            float *copy = (float *)(void *)scratch;
            gather(p, copy, item);
            quantize(p, copy, scratch + p->copy_bytes);
            scatter(p, item, copy);
        }
        if (p->n_padding > 0) {
            clear_padding(p, item);
        }
    }
}
