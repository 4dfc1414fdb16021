/* What the files of margins share. */
#ifndef QN_FAULT_MARGIN_INSIDE_H
#define QN_FAULT_MARGIN_INSIDE_H

#include "fault/margin.h"

/* Bins of thresholds from margin_step.least to 1; those beyond are told by the least of the channel alone. */
enum { QN_MARGIN_BINS = 16 };

/* A step as bounds see it.
 *  known      what it does to a difference is
 *  rounds     its results are rounded: it has thresholds
 *  decodes    they are floats: no thresholds, but what float operations may add
 *  total, most   gains, in codes of the result (floats: in reals). Convolutions: [input channel][output of the group];
 *             others: of operand 0, 1 alone
 *  error      a code is within so much of the real that it was rounded from; floats: per channel, see slack
 *  least      1 - 2 * error: no threshold is below
 *  range      hi - lo
 *  first      of its output channels in the arrays of an image
 *  from_first, from   gathers: input channels that output channel k has elements of */
typedef struct qn_margin_step {
    bool known, rounds, decodes;
    const float *total, *most;
    float gain[2], most_gain[2];
    double error;
    float least, range;
    const float *slack;
    size_t first;
    const int32_t *from_first, *from;
} qn_margin_step;

/* Thresholds of the output of a step: per channel the least of all, and how many in each bin. */
typedef struct qn_margin_thresholds {
    float *least;
    int32_t *counts; /* [channel][QN_MARGIN_BINS] */
} qn_margin_thresholds;

/*  first_channel  per tensor: its channel 0 in arrays over all; n_channels of them
 *  n_rounded      output channels of all steps that round
 *  most_channels  of one tensor
 *  typical        per tensor: about what a change of one code comes to, INFINITY: hopeless
 *  work           per tensor: multiplications that are left after the step that writes it
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
    double *typical;
    int64_t *work;
    qn_margin_thresholds usual;
};

/* A difference on its way.
 *  region     NULL: thresholds are the usual ones
 *  made       per step: the image that its thresholds are of
 *  total, most   of all channels of all tensors, where live;  box: pixels, per tensor
 *  x_total, x_most, reals, differences, greatest   room for those of one step's channels
 *  touched    tensors that are live: those of `live` */
struct qn_margin {
    const qn_margin_plan *plan;
    const qn_region *region;
    qn_margin_thresholds own;
    uint32_t *made, image;
    double allowance;
    float *total, *most, *x_total, *x_most;
    double *reals;
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
/* Thresholds of a step, of the image that the region has (margin_image.c). */
void qn_margin_see(qn_margin *margin, int step);
/* What is live, followed through what is pending (margin_bound.c). */
double qn_margin_follow(qn_margin *margin);
/* A tensor differs in pixels of the box; its readers become pending. Its channels are zero where it was not live before. */
void qn_margin_touch(qn_margin *margin, int tensor, const qn_box *box);

#endif
