/* Regions: what differs from a run that is already known, and only that, computed again.
 *
 * The **golden** values of an image are those of an undisturbed run: the codes and floats of every tensor, the sums of every
 * convolution and the program's outputs. A **region** holds *work* memory that equals golden except inside one box per tensor,
 * the tensor's dirty box. Somebody alters codes, or the sums of a convolution; qn_region_spread then runs the steps
 * that can see it, in their order, each over no more of its output than can differ, compares with golden, keeps the smallest box
 * around what does differ, and ends when nothing is left to run. Convolutions add products of what changed in
 * their input to golden sums where that is less work than summing again; sums are linear (1.3), so the bytes are the same.
 *
 * The program has keep_values: every tensor has memory of its own. Borders are never altered.
 * Ownership: a plan belongs to a program, is immutable and serves all threads; a region belongs to one thread. Nothing
 * allocates between qn_region_load and qn_region_restore. Where code->tiles, the thread has its tiles configured. */
#ifndef QN_ENGINE_REGION_H
#define QN_ENGINE_REGION_H

#include "engine/integer/integer.h"

/* How a convolution's sums become codes or floats: entry k is output channel k's, in order.
 *  params   ratio or multiplier and shift; bits, zero_point, lo, hi
 *  scale, bias, low, high   where results are floats (`decodes`) */
typedef struct qn_region_finish {
    qn_requantize_params params;
    qn_requantize_fn *run;
    bool decodes;
    const float *scale, *bias;
    float low, high;
} qn_region_finish;

/* A step as regions see it.
 *  output    tensor whose dirty box it writes: a view's base; -1: an output of the program
 *  input     the same of what it reads
 *  sums      of convolutions: index of golden's first sum; n_sums of them
 *  linear    they can be had from golden's; false where they saturate
 *  delta     kernel for sums after a change of the input; lists: it makes a list of what differs
 *  plain_bias  per output channel, before zero points were folded in
 *  first, to  of gathers: element i of the input's dense codes is what outputs to[first[i]..first[i + 1]-1] are */
typedef struct qn_region_step {
    int output, input[2];
    size_t sums, n_sums;
    bool linear, lists;
    qn_region_finish finish;
    qn_conv_delta_fn *delta;
    int32_t *plain_bias;
    int32_t *first, *to;
} qn_region_step;

typedef struct qn_region_plan {
    const qn_program *program;
    const qn_integer_code *code;
    qn_arena arena;
    qn_region_step *steps;
    int *reader_first, *readers; /* per tensor: steps that read it or its views */
    int *last_writer;            /* per tensor */
    size_t sums_offset, outputs_offset, golden_bytes;
    size_t *output_first; /* per output of the program: its first float; and the end of the last */
    size_t most_sums;     /* of one step */
    qn_differ_fn *differ;
    qn_weight_delta_fn *weight_delta;
} qn_region_plan;

qn_status qn_region_plan_make(qn_region_plan **plan, const qn_program *program, qn_error *err);
void qn_region_plan_free(qn_region_plan *plan);
/* The packed weight, its zero point subtracted, of output channel k, kernel place `tap` (rows, in them columns) and input
 * channel c of the group. */
int32_t qn_region_weight(const qn_integer_step *step, int k, int tap, int c);
/* The tensor whose memory `tensor` shows. */
static inline int qn_region_base(const qn_integer_code *code, int tensor)
{
    return code->tensors[tensor].base >= 0 ? code->tensors[tensor].base : tensor;
}

typedef struct qn_region {
    const qn_region_plan *plan;
    qn_integer_run run; /* over work memory */
    uint8_t *arena;
    const uint8_t *golden;
    const int32_t *golden_sums;
    const float *golden_outputs;
    const float **inputs;
    float **outputs, *all_outputs;
    qn_box *dirty; /* per tensor; meaningful where is_dirty */
    uint8_t *is_dirty;
    int *dirty_list, n_dirty;
    bool *output_dirty;
    uint64_t *pending;
    int n_words;
    int32_t *sums; /* room for those of any step */
    bool outputs_differ;
    int died_at; /* the step at which a difference ended last, -1 */
    /* Asked after steps at which something still differs, once nothing more is altered: true ends the run, and then what is
     * pending never ran: `ended`. NULL: run to the end. */
    bool (*ends)(void *ctx, int step);
    void *ends_ctx;
    bool ended;
} qn_region;

/* A region is made zeroed: `qn_region region = {0}`; freed also when making it failed. */
qn_status qn_region_make(qn_region *region, const qn_region_plan *plan, qn_error *err);
void qn_region_free(qn_region *region);

/* Run an image, and keep what comes about.
 *  inputs  one pointer per input of the program, f32 of one item
 *  golden  plan->golden_bytes, 64-byte aligned */
void qn_region_compute(qn_region *region, const float *const *inputs, uint8_t *golden);
/* Take up the values of an image; golden stays the caller's and must outlive their use. */
void qn_region_load(qn_region *region, const uint8_t *golden);

/* Something altered at one step, besides what comes by its inputs.
 *  box     outputs whose sums are altered, or that are finished otherwise; empty where only codes are
 *  finish  NULL: the step's own
 *  sums    may be NULL: alters the sums s32[y][x][k] of `box`, which holds this box, in place
 *  codes   may be NULL: alters codes of the step's output in work memory; `box` becomes one around them (it comes empty) */
typedef struct qn_region_alteration {
    int step;
    qn_box box;
    const qn_region_finish *finish;
    void (*sums)(void *ctx, const struct qn_region *region, const qn_box *box, int32_t *sums);
    void (*codes)(void *ctx, struct qn_region *region, qn_box *box);
    void *ctx;
} qn_region_alteration;

/* Let alterations, sorted by step and at most one of each, take effect. Afterwards work memory, all_outputs and what is
 * said to be dirty are those of the altered run. */
void qn_region_spread(qn_region *region, const qn_region_alteration *list, int n);
/* Work memory becomes golden again. */
void qn_region_restore(qn_region *region);

/* Element i, in the order of the value (channels, rows, columns; plain: C order), of a tensor. */
typedef struct qn_region_place {
    int y, x, k;
} qn_region_place;
static inline qn_region_place qn_region_place_of(const qn_integer_tensor *t, int64_t i)
{
    if (t->plain) {
        return (qn_region_place){0, (int)(i / t->channels), (int)(i % t->channels)};
    }
    const int64_t plane = (int64_t)t->height * t->width;
    return (qn_region_place){(int)(i % plane / t->width), (int)(i % t->width), (int)(i / plane)};
}
static inline qn_box qn_region_box_at(qn_region_place p)
{
    return (qn_box){p.y, p.y + 1, p.x, p.x + 1, p.k, p.k + 1};
}
/* The offset in the arena of an element of codes; of a real tensor. */
static inline size_t qn_region_offset(const qn_integer_tensor *t, qn_region_place p)
{
    if (t->real) {
        const ptrdiff_t at =
            t->plain ? (ptrdiff_t)p.x * t->channels + p.k : ((ptrdiff_t)p.k * t->height + p.y) * t->width + p.x;
        return (size_t)((ptrdiff_t)t->offset + at * (ptrdiff_t)sizeof(float));
    }
    return (size_t)((ptrdiff_t)t->offset + p.y * t->row + p.x * t->pixel + p.k);
}

/* Boxes (region_box.c). */
static inline bool qn_box_is_empty(const qn_box *b)
{
    return b->y0 >= b->y1 || b->x0 >= b->x1 || b->k0 >= b->k1;
}
static inline int64_t qn_box_count(const qn_box *b)
{
    return (int64_t)(b->y1 - b->y0) * (b->x1 - b->x0) * (b->k1 - b->k0);
}
/* The smallest around both; empty ones do not count. */
qn_box qn_box_join(const qn_box *a, const qn_box *b);
/* The part of the step's output that reads dirty parts of its inputs. */
qn_box qn_region_reach(const qn_region *region, int step);
/* The smallest box around what differs from golden in a box of a tensor. */
qn_box qn_region_differ(const qn_region *region, int tensor, const qn_box *box);

/* Sums (region_sums.c). */
/* Those of a box of a convolution's output, of what is in work memory. */
void qn_region_sums(const qn_region *region, int step, const qn_box *box, int32_t *sums);
/* What changed in the input, on top of golden sums, and codes or floats of it. Where qn_region_prefers_sums. */
void qn_region_add_changes(qn_region *region, int step, const qn_box *box);
/* From sums to the codes or floats of the box, in work memory. */
void qn_region_finish_sums(qn_region *region, int step, const qn_region_finish *finish, const qn_box *box,
                           const int32_t *sums);
/* Is adding what changed less work than summing again? */
bool qn_region_prefers_sums(const qn_region *region, int step, const qn_box *box);

#endif
