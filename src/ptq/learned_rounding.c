/* Learned rounding by descent over the quadratic form. Moving weight i by d changes the loss by d^2 H_ii + 2 d r_i, with
 * r = H (v - target); moving two adds 2 d_i d_j H_ij. */
#include <math.h>

#include "ptq/rounding.h"

enum { DOWN = 0, UP = 1 };

/* The state of one channel. For both directions of every weight: the step d to the next code, and what it does to the
 * loss by itself, infinite where the code may not go. */
typedef struct {
    const qn_round_channel *channel;
    int32_t *codes, reach;
    double least; /* gains below are noise */
    double *r, *nearest, *d[2], *change[2];
} descent;

typedef struct {
    int64_t input;
    int direction;
} flip;

static void price(descent *s, int64_t i, int direction)
{
    const qn_round_channel *c = s->channel;
    int32_t to = s->codes[i] + (direction == UP ? 1 : -1);
    s->d[direction][i] = 0;
    s->change[direction][i] = INFINITY;
    if (to >= c->grid->lo && to <= c->grid->hi && fabs((double)to - s->nearest[i]) <= (double)s->reach) {
        double d = (qn_round_value(c->grid, to) - qn_round_value(c->grid, s->codes[i])) * c->scale[i / c->block];
        s->d[direction][i] = d;
        s->change[direction][i] = d * d * c->metric->h[i * c->metric->k + i] + 2 * d * s->r[i];
    }
}

static void price_all(descent *s)
{
    for (int64_t i = 0; i < s->channel->metric->k; i++) {
        price(s, i, DOWN);
        price(s, i, UP);
    }
}

static void take(descent *s, flip f)
{
    int64_t k = s->channel->metric->k;
    const double *h = s->channel->metric->h + f.input * k;
    double d = s->d[f.direction][f.input];
    s->codes[f.input] += f.direction == UP ? 1 : -1;
#pragma omp simd
    for (int64_t j = 0; j < k; j++) {
        s->r[j] += d * h[j];
    }
}

/* The step that helps most by itself. */
static bool find_single(const descent *s, flip *best)
{
    double least = -s->least;
    bool found = false;
    for (int64_t i = 0; i < s->channel->metric->k; i++) {
        for (int direction = DOWN; direction <= UP; direction++) {
            if (s->change[direction][i] < least) {
                least = s->change[direction][i];
                *best = (flip){i, direction};
                found = true;
            }
        }
    }
    return found;
}

/* The best second step beside f, of weights after f's. */
static double find_second(const descent *s, flip f, flip *best)
{
    int64_t k = s->channel->metric->k;
    const double *h = s->channel->metric->h + f.input * k;
    double d2 = 2 * s->d[f.direction][f.input], least = INFINITY;
    for (int direction = DOWN; direction <= UP; direction++) {
        const double *d = s->d[direction], *change = s->change[direction];
        for (int64_t j = f.input + 1; j < k; j++) {
            double joint = change[j] + d2 * d[j] * h[j];
            if (joint < least) {
                least = joint;
                *best = (flip){j, direction};
            }
        }
    }
    return least + s->change[f.direction][f.input];
}

/* One sweep over first steps, taking each pair that helps; was there one? */
static bool sweep_pairs(descent *s)
{
    bool any = false;
    for (int64_t i = 0; i < s->channel->metric->k; i++) {
        for (int direction = DOWN; direction <= UP; direction++) {
            flip first = {i, direction}, second = {0, 0};
            if (s->change[direction][i] < INFINITY && find_second(s, first, &second) < -s->least) {
                take(s, first);
                take(s, second);
                price_all(s);
                any = true;
            }
        }
    }
    return any;
}

static void start(descent *s)
{
    const qn_round_channel *c = s->channel;
    int64_t k = c->metric->k;
    double *error = s->d[0];
    for (int64_t i = 0; i < k; i++) {
        double scale = c->scale[i / c->block];
        error[i] = qn_round_value(c->grid, s->codes[i]) * scale - c->target[i];
        s->nearest[i] = qn_round_nearest(c->grid, c->target[i] / scale);
        s->r[i] = 0;
    }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++) {
            s->r[j] += error[i] * c->metric->h[i * k + j];
        }
    }
    price_all(s);
}

double qn_round_descend(const qn_round_channel *channel, int32_t *codes, int32_t reach, bool pairs, double *work)
{
    enum { MAX_SWEEPS = 64 };
    int64_t k = channel->metric->k, max_flips = 64 * k;
    descent s = {.channel = channel,
                 .codes = codes,
                 .reach = reach,
                 .least = 1e-9 * qn_round_loss(channel, codes, work),
                 .r = work,
                 .nearest = work + k,
                 .d = {work + 2 * k, work + 3 * k},
                 .change = {work + 4 * k, work + 5 * k}};
    start(&s);
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        flip best;
        for (int64_t n = 0; n < max_flips && find_single(&s, &best); n++) {
            take(&s, best);
            price_all(&s);
        }
        if (!pairs || !sweep_pairs(&s)) {
            break;
        }
    }
    return qn_round_loss(channel, codes, work);
}
