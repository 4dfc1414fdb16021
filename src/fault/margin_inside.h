/* What the files of margins share. */
#ifndef QN_FAULT_MARGIN_INSIDE_H
#define QN_FAULT_MARGIN_INSIDE_H

#include "fault/margin.h"

/* Upper ends of bins of thresholds; those beyond 1 are told by the least of the channel alone. */
enum { QN_MARGIN_BINS = 16 };
extern const float qn_margin_edges[QN_MARGIN_BINS];

/* A step as bounds see it.
 *  known      what it does to a difference is
 *  rounds     its results are rounded: it has thresholds
 *  decodes    they are floats: no thresholds, but what float operations may add
 *  total, most   gains, in codes of the result (floats: in reals). Convolutions: [input channel][output of the group,
 *             `width` of them with zeros]; others: of operand 0, 1 alone
 *  error      a code is within so much of the real that it was rounded from; floats: per channel, see slack
 *  most_extra 1 - t of no threshold t is more: 2 * error
 *  range      hi - lo
 *  first      of its output channels in the arrays of an image
 *  from_first, from   gathers: input channels that output channel k has elements of */
typedef struct qn_margin_step {
    bool known, rounds, decodes;
    const float *total, *most;
    int width;
    float gain[2], most_gain[2];
    double error;
    float most_extra, range;
    const float *slack;
    size_t first;
    const int32_t *from_first, *from;
} qn_margin_step;

/* Thresholds t of a channel's pixels. When reals move by `total` in all and by `most` at most, a code that moves
 * takes a share of at least t, also where t < 0 at least 0, and moves by 1 - t more than its share: `extra` in all.
 *  least   of all
 *  all     [bin][channel]: sum of 1 - t over t < edge: extra, for most < edge
 *  free    [bin][channel]: for any edge e and price p = (1 - e) / e, extra <= total * p + the sum over t < e of
 *          1 - t - p * max(t, 0): that sum (what is paid for beyond e is worth no more than its price) */
typedef struct qn_margin_seen {
    float *least, *all, *free;
} qn_margin_seen;

/* Channels k0..k1 - 1 of a step's output: total, most, and room. */
typedef struct qn_margin_moved {
    float *total, *most, *extra;
    int k0, k1;
} qn_margin_moved;

/* Loops over channels (margin_lanes.c).
 *  products     x_total += total * gain, x_most += most * most_gain: matrices [n_inputs][n], n a multiple of
 *             QN_MARGIN_LANES
 *  each         the same of single channels
 *  differences  |now - golden| of some pixels `step` bytes apart, added to and compared with what the channels have
 *  round        reals to codes, of n channels those that moved, in so many pixels; false where nothing moves any more */
enum { QN_MARGIN_LANES = 16 };
typedef struct qn_margin_lanes {
    void (*products)(float *restrict x_total, float *restrict x_most, const float *restrict gain,
                     const float *restrict most_gain, const float *restrict total, const float *restrict most,
                     int n_inputs, int n);
    void (*each)(float *restrict x_total, float *restrict x_most, const float *restrict gain,
                 const float *restrict most_gain, const float *restrict total, const float *restrict most, int n);
    void (*differences)(int32_t *restrict total, uint8_t *restrict most, const uint8_t *restrict now,
                        const uint8_t *restrict golden, int n, int pixels, ptrdiff_t step);
    bool (*round)(const qn_margin_moved *moved, const qn_margin_seen *seen, int n, int pixels, float range,
                  float most_extra);
} qn_margin_lanes;
const qn_margin_lanes *qn_margin_lanes_for(qn_cpu cpu);

/*  first_channel  per tensor: its channel 0 in arrays over all; n_channels of them
 *  n_rounded      output channels of all steps that round
 *  most_channels  of one tensor
 *  typical        per tensor: about what a change of one code comes to, from `hopeless` on nothing before is looked at
 *  typical_all    the same of a change of each channel of a pixel
 *  place          per step: see qn_margin_place
 *  price          per step: what a pixel of its output costs, in multiplications
 *  usual          thresholds as they are in about any image: evenly spread */
struct qn_margin_plan {
    const qn_region_plan *region;
    qn_arena arena;
    int bits;
    bool saturates;
    size_t n_outputs;
    qn_margin_step *steps;
    size_t *first_channel, n_channels, n_rounded;
    int most_channels;
    double *typical, *typical_all, hopeless, least_work;
    int *place;
    double *price;
    qn_margin_seen usual;
    const qn_margin_lanes *lanes;
};

/* A difference on its way.
 *  region     NULL: thresholds are the usual ones
 *  made       per step: the image that its thresholds are of
 *  total, most   of all channels of all tensors, where live;  box: pixels, per tensor
 *  x_total, x_most, extra, reals, differences, greatest   room for those of one step's channels
 *  touched    tensors that are live: those of `live` */
struct qn_margin {
    const qn_margin_plan *plan;
    const qn_region *region;
    qn_margin_seen own;
    uint32_t *made, image;
    double allowance;
    float *total, *most, *x_total, *x_most, *extra;
    float *group_total, *group_most;
    double *reals, *sums; /* sums: of bins, see margin_image.c */
    int32_t *differences;
    uint8_t *greatest;
    qn_box *box;
    bool *live;
    int *touched, n_touched;
    uint64_t *pending;
    int n_words;
};

static inline bool qn_margin_is_conv(const qn_integer_step *step)
{
    return step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
}
static inline float qn_margin_up(double x)
{
    return (float)(x * (1 + 1e-6));
}
/* What one unit of channel k's sum is in codes of the result. */
double qn_margin_ratio(const qn_requantize_params *params, int k);
/* What a step does to differences; step->known stays false where it cannot be said (margin_steps.c). */
qn_status qn_margin_set_step(qn_margin_plan *plan, int index, qn_error *err);
/* The arrays of a step in those of all. */
static inline qn_margin_seen qn_margin_seen_of(const qn_margin_seen *all, const qn_margin_step *step)
{
    return (qn_margin_seen){all->least + step->first, all->all + step->first * QN_MARGIN_BINS,
                            all->free + step->first * QN_MARGIN_BINS};
}
/* Thresholds of a step, of the image that the region has (margin_image.c). */
void qn_margin_see(qn_margin *margin, int step);
/* What is live, followed through what is pending (margin_bound.c). */
double qn_margin_follow(qn_margin *margin);
/* What is pending, in multiplications; about. */
double qn_margin_work(qn_margin *margin);
/* Bins' sums of one channel to `all` and `free` of channel k of n: counts, sums of t and of max(t, 0) of each bin. */
void qn_margin_sum_bins(const qn_margin_seen *seen, int k, int n, const double count[QN_MARGIN_BINS],
                        const double sum[QN_MARGIN_BINS], const double positive[QN_MARGIN_BINS]);
/* A tensor differs in pixels of the box; its readers become pending. Its channels are zero where it was not live
 * before. */
void qn_margin_touch(qn_margin *margin, int tensor, const qn_box *box);

#endif
