/* LSTM, GRU, RNN (doc/spec/arithmetic.md 6.3): one item of the batch after the other, step by step; all gates of a step
 * side by side. Constant weights are packed once so that the outputs of a product lie together. */
#include "graph/recurrent.h"

#include <math.h>
#include <string.h>

#include "graph/compute/job.h"
#include "graph/compute/real_functions.h"

typedef float column_block __attribute__((vector_size(64)));
enum { BLOCK = 16, COLUMNS = 64 };

QN_INLINE void load_block(column_block *to, const float *x)
{
    memcpy(to, x, sizeof *to);
}

QN_INLINE void store_block(float *y, const column_block *from)
{
    memcpy(y, from, sizeof *from);
}

QN_INLINE float within_one(float x)
{
    x = x > 0 ? x : 0;
    return x < 1 ? x : 1;
}

typedef struct loops {
    void (*add_products)(float *sums, const float *x, const float *packed, int64_t n, int64_t columns);
    void (*activations[QN_RECURRENT_THRESHOLDED_RELU + 1])(float *v, int64_t n, const float *constants);
} loops;

#define LANES_TEMPLATE "graph/compute/recurrent_template.h"
#include "base/each_isa.inc"

enum { X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, P, N_INPUTS };
enum { HIDDEN = QN_RECURRENT_HIDDEN_MOST, SUMS = 4 * QN_RECURRENT_HIDDEN_MOST + COLUMNS };

/* Constant weights as they were packed. Who strikes a constant gives a copy of it: then what was packed does not count. */
typedef struct packed_from {
    const void *data; /* NULL where they are computed while the network runs */
    size_t n_bytes;
} packed_from;

/* Gates whose sums are taken together: of a GRU the last one follows the others. */
typedef struct gate_group {
    int first, n;
    const float *packed[2][2]; /* of W and R, in each direction; of constant weights */
} gate_group;

typedef struct recurrent_params {
    qn_recurrent r;
    const loops *loops;
    gate_group groups[2];
    packed_from from[2]; /* W, R */
    int output;
} recurrent_params;

/* One direction of one item under way. */
typedef struct walk {
    const recurrent_params *p;
    const float *x[N_INPUTS];
    int direction;
    bool packed[2]; /* W, R */
    float h[HIDDEN], c[HIDDEN], reset[HIDDEN], sums[SUMS];
} walk;

/* sums += input times gates of W (which 0) or R (1). */
static void add_products(walk *w, const gate_group *g, int which, const float *input, float *sums)
{
    const qn_recurrent *r = &w->p->r;
    const int64_t n = which == 0 ? r->inputs : r->hidden, columns = g->n * r->hidden;
    const float *packed = g->packed[which][w->direction];
    if (w->packed[which]) {
        w->p->loops->add_products(sums, input, packed, n, columns);
        return;
    }
    const float *rows = w->x[which == 0 ? W : R] + (w->direction * r->gates + g->first) * r->hidden * n;
    for (int64_t j = 0; j < columns; j++) {
        float sum = sums[j];
        for (int64_t k = 0; k < n; k++) {
            sum = sum + input[k] * rows[j * n + k];
        }
        sums[j] = sum;
    }
}

/* Row `gate` of the biases of W (0) or R (1); NULL where there are none. */
static const float *bias_of(const walk *w, int which, int gate)
{
    const qn_recurrent *r = &w->p->r;
    return w->x[B] == NULL ? NULL : w->x[B] + ((w->direction * 2 + which) * r->gates + gate) * r->hidden;
}

static void add_row(float *v, const float *row, int64_t n)
{
    for (int64_t i = 0; row != NULL && i < n; i++) {
        v[i] = v[i] + row[i];
    }
}

static void add_biases(const walk *w, float *v, int gate)
{
    add_row(v, bias_of(w, 0, gate), w->p->r.hidden);
    add_row(v, bias_of(w, 1, gate), w->p->r.hidden);
}

/* Part 0, 1, 2 of the peepholes: i, o, f. */
static void add_peephole(const walk *w, float *v, int part)
{
    const int64_t n = w->p->r.hidden;
    const float *row = w->x[P] == NULL ? NULL : w->x[P] + (w->direction * 3 + part) * n;
    for (int64_t i = 0; row != NULL && i < n; i++) {
        v[i] = v[i] + row[i] * w->c[i];
    }
}

static void activate(const walk *w, float *v, int which)
{
    const qn_recurrent *r = &w->p->r;
    const qn_recurrent_activation *a = &r->activations[w->direction][which];
    if (!isinf(r->clip)) {
        for (int64_t i = 0; i < r->hidden; i++) {
            const float x = v[i] > -r->clip ? v[i] : -r->clip;
            v[i] = x < r->clip ? x : r->clip;
        }
    }
    w->p->loops->activations[a->function](v, r->hidden, (float[]){a->alpha, a->beta});
}

static void step_lstm(walk *w, const float *x)
{
    const int64_t n = w->p->r.hidden;
    float *in = w->sums, *out = in + n, *forget = out + n, *cell = forget + n;
    add_products(w, &w->p->groups[0], 0, x, w->sums);
    add_products(w, &w->p->groups[0], 1, w->h, w->sums);
    for (int gate = 0; gate < 4; gate++) {
        add_biases(w, w->sums + gate * n, gate);
    }
    add_peephole(w, in, 0);
    add_peephole(w, forget, 2);
    activate(w, in, 0);
    activate(w, forget, 0);
    activate(w, cell, 1);
    for (int64_t i = 0; i < n; i++) {
        const float kept = w->p->r.input_forget ? 1 - in[i] : forget[i];
        w->c[i] = kept * w->c[i] + in[i] * cell[i];
    }
    add_peephole(w, out, 1);
    activate(w, out, 0);
    memcpy(w->h, w->c, (size_t)n * sizeof *w->h);
    const qn_recurrent_activation *last = &w->p->r.activations[w->direction][2];
    w->p->loops->activations[last->function](w->h, n, (float[]){last->alpha, last->beta});
    for (int64_t i = 0; i < n; i++) {
        w->h[i] = out[i] * w->h[i];
    }
}

static void step_gru(walk *w, const float *x)
{
    const qn_recurrent *r = &w->p->r;
    const int64_t n = r->hidden;
    float *update = w->sums, *reset = update + n, *next = reset + n;
    add_products(w, &w->p->groups[0], 0, x, w->sums);
    add_products(w, &w->p->groups[0], 1, w->h, w->sums);
    for (int gate = 0; gate < 2; gate++) {
        add_biases(w, w->sums + gate * n, gate);
        activate(w, w->sums + gate * n, 0);
    }
    /* what the padding of the first product left there is no part of this one */
    memset(next, 0, (size_t)(n + COLUMNS) * sizeof *next);
    add_products(w, &w->p->groups[1], 0, x, next);
    if (r->linear_before_reset) {
        float product[HIDDEN + COLUMNS] = {0};
        add_products(w, &w->p->groups[1], 1, w->h, product);
        add_row(product, bias_of(w, 1, 2), n);
        for (int64_t i = 0; i < n; i++) {
            next[i] = next[i] + reset[i] * product[i];
        }
        add_row(next, bias_of(w, 0, 2), n);
    } else {
        for (int64_t i = 0; i < n; i++) {
            w->reset[i] = reset[i] * w->h[i];
        }
        add_products(w, &w->p->groups[1], 1, w->reset, next);
        add_biases(w, next, 2);
    }
    activate(w, next, 1);
    for (int64_t i = 0; i < n; i++) {
        w->h[i] = (1 - update[i]) * next[i] + update[i] * w->h[i];
    }
}

static void step_rnn(walk *w, const float *x)
{
    const int64_t n = w->p->r.hidden;
    add_products(w, &w->p->groups[0], 0, x, w->sums);
    add_products(w, &w->p->groups[0], 1, w->h, w->sums);
    add_biases(w, w->sums, 0);
    activate(w, w->sums, 0);
    memcpy(w->h, w->sums, (size_t)n * sizeof *w->h);
}

/* Where direction d of item b begins in a tensor of states. */
static int64_t state_at(const qn_recurrent *r, int64_t b, int64_t d)
{
    return (r->batch_leads ? b * r->directions + d : d * r->batch + b) * r->hidden;
}

static void start(float *state, const float *initial, const qn_recurrent *r, int64_t at)
{
    if (initial != NULL) {
        memcpy(state, initial + at, (size_t)r->hidden * sizeof *state);
    } else {
        memset(state, 0, (size_t)r->hidden * sizeof *state);
    }
}

static void run_item(walk *w, float *y, int64_t b)
{
    static void (*const steps[])(walk * w, const float *x) = {[1] = step_rnn, [3] = step_gru, [4] = step_lstm};
    const qn_recurrent *r = &w->p->r;
    const int d = w->direction;
    const int64_t at = state_at(r, b, d);
    const size_t n_bytes = (size_t)r->hidden * sizeof *y;
    int64_t length = w->x[LENGTHS] != NULL ? ((const int32_t *)(const void *)w->x[LENGTHS])[b] : r->steps;
    length = length < 0 ? 0 : length > r->steps ? r->steps : length;
    start(w->h, w->x[INITIAL_H], r, at);
    start(w->c, w->x[INITIAL_C], r, at);
    for (int64_t i = 0; i < r->steps; i++) {
        const bool backwards = r->reversed || d == 1;
        const int64_t t = i < length && backwards ? length - 1 - i : i;
        float *to =
            y + (r->batch_leads ? (b * r->steps + t) * r->directions + d : (t * r->directions + d) * r->batch + b) *
                    r->hidden;
        if (i < length) {
            memset(w->sums, 0, (size_t)(r->gates * r->hidden + COLUMNS) * sizeof *w->sums);
            steps[r->gates](w, w->x[X] + (r->batch_leads ? b * r->steps + t : t * r->batch + b) * r->inputs);
        }
        if (w->p->output == 0 && i < length) {
            memcpy(to, w->h, n_bytes);
        } else if (w->p->output == 0) {
            memset(to, 0, n_bytes);
        }
    }
    if (w->p->output != 0) {
        memcpy(y + at, w->p->output == 1 ? w->h : w->c, n_bytes);
    }
}

static void run_recurrent(const void *params, void *y, const void *const *x)
{
    walk w = {.p = params};
    for (int i = 0; i < N_INPUTS; i++) {
        w.x[i] = x[i];
    }
    for (int i = 0; i < 2; i++) {
        const packed_from *from = &w.p->from[i];
        const void *now = x[i == 0 ? W : R];
        w.packed[i] = from->data != NULL && (from->data == now || memcmp(from->data, now, from->n_bytes) == 0);
    }
    for (w.direction = 0; w.direction < w.p->r.directions; w.direction++) {
        for (int64_t b = 0; b < w.p->r.batch; b++) {
            run_item(&w, y, b);
        }
    }
}

/* Rows of columns: block by block, in each the inputs, in each COLUMNS outputs; zeros where there are no more. */
static qn_status pack(const float **packed, const qn_compute_job *job, const float *rows, int64_t n, int64_t columns)
{
    const int64_t blocks = (columns + COLUMNS - 1) / COLUMNS;
    float *to = qn_arena_array(job->arena, (size_t)(blocks * COLUMNS * n), sizeof *to);
    if (to == NULL) {
        return qn_fail_memory(job->err, NULL, (size_t)(blocks * COLUMNS * n) * sizeof *to);
    }
    for (int64_t j = 0; j < columns; j++) {
        for (int64_t k = 0; k < n; k++) {
            to[(j / COLUMNS * n + k) * COLUMNS + j % COLUMNS] = rows[j * n + k];
        }
    }
    *packed = to;
    return QN_OK;
}

qn_status qn_prepare_recurrent(qn_compute *compute, const qn_compute_job *job)
{
    recurrent_params p = {.loops = QN_LANES_FOR(job->cpu, all), .output = job->output};
    QN_TRY(qn_recurrent_of_node(&p.r, job->binding, job->node, job->err));
    p.r.batch /= job->items; /* the batch leads, or the node is not taken apart */
    for (int i = 0; i < 2; i++) {
        const qn_bound_value weights = qn_job_input(job, i == 0 ? W : R);
        p.from[i] =
            (packed_from){weights.known != NULL ? weights.known->data : NULL, (size_t)weights.n_elems * sizeof(float)};
    }
    const bool two = p.r.gates == 3;
    p.groups[0] = (gate_group){.first = 0, .n = two ? 2 : p.r.gates};
    p.groups[1] = (gate_group){.first = 2, .n = two ? 1 : 0};
    for (int i = 0; i < 2 * 2 * p.r.directions; i++) {
        const int which = i % 2, d = i / 4;
        gate_group *g = &p.groups[i / 2 % 2];
        const qn_bound_value weights = qn_job_input(job, which == 0 ? W : R);
        const int64_t n = which == 0 ? p.r.inputs : p.r.hidden;
        if (weights.known != NULL && g->n > 0) {
            QN_TRY(pack(&g->packed[which][d], job,
                        (const float *)weights.known->data + (d * p.r.gates + g->first) * p.r.hidden * n, n,
                        g->n * p.r.hidden));
        }
    }
    return qn_job_set(compute, job, run_recurrent, &p, sizeof p, N_INPUTS);
}
