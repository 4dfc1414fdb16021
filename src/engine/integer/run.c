/* Running steps of the integer engine, whole or over a box. */
#include "engine/integer/run_requantize.h"

#include <string.h>

#include "base/arith.h"

static const qn_integer_tensor *tensor(const qn_integer_run *run, int index)
{
    return &run->code->tensors[index];
}

/* Element (y, x, 0). */
static uint8_t *at(const qn_integer_run *run, const qn_integer_tensor *t, int y, int x)
{
    return run->memory + t->offset + y * t->row + x * t->pixel;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int greatest(int a, int b)
{
    return a > b ? a : b;
}

static qn_conv_job conv_job(const qn_integer_run *run, const qn_integer_step *step)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *x = tensor(run, step->input[0]), *y = tensor(run, step->output);
    return (qn_conv_job){
        .x = at(run, x, 0, 0) - conv->pad[0] * x->row - conv->pad[1] * x->pixel,
        .x_row = conv->stride[0] * x->row,
        .x_pixel = conv->stride[1] * x->pixel,
        .segment = conv->segment,
        .weights = conv->weights,
        .layout = conv->layout,
        .requantize = {conv->bias, conv->multiplier, conv->zero_point, conv->lo, conv->hi},
        .y = at(run, y, 0, 0),
        .y_row = y->row,
        .y_pixel = y->pixel,
    };
}

void qn_integer_run_groups(const qn_integer_conv *conv, const qn_conv_job *whole, qn_conv_fn *kernel, const qn_box *box)
{
    for (int g = box->k0 / conv->group_outputs; g * conv->group_outputs < box->k1; g++) {
        qn_conv_job job = *whole;
        const int first = g * conv->group_outputs;
        job.box = *box;
        job.box.k0 = greatest(box->k0 - first, 0);
        job.box.k1 = least(box->k1 - first, conv->group_outputs);
        job.x += g * conv->group_inputs;
        job.y += first;
        job.weights = (const char *)job.weights + (size_t)g * conv->group_bytes;
        job.requantize.bias += (size_t)g * conv->group_entries;
        job.requantize.multiplier += (size_t)g * conv->group_entries;
        job.accumulators = job.accumulators != NULL ? job.accumulators + first + job.box.k0 - box->k0 : NULL;
        kernel(&job);
    }
}

static int32_t *sums_of(const qn_integer_run *run)
{
    return (int32_t *)(void *)(run->memory + run->code->sums_offset);
}

static void run_apart(const qn_integer_run *run, const qn_integer_step *step, const qn_conv_job *job, const qn_box *box)
{
    if (step->u.conv.requantize->decode != NULL) {
        qn_integer_run_decoded(step, job, tensor(run, step->output), box, sums_of(run));
    } else {
        qn_integer_run_requantized(step, job, box, sums_of(run));
    }
}

static void run_conv(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_conv_job job = conv_job(run, step);
    if (step->u.conv.requantize != NULL) {
        run_apart(run, step, &job, box);
        return;
    }
    qn_integer_run_groups(&step->u.conv, &job, step->kernel->run.conv, box);
}

static void run_depthwise(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    qn_conv_job job = conv_job(run, step);
    if (step->u.conv.requantize != NULL) {
        run_apart(run, step, &job, box);
        return;
    }
    job.box = *box;
    step->kernel->run.conv(&job);
}

static void add_codes(const qn_integer_step *step, uint8_t *to, const uint8_t *left, const uint8_t *right, size_t n)
{
    const qn_integer_add *add = &step->u.add;
    if (add->fixed != NULL) {
        qn_integer_fixed_add_codes(to, left, right, n, add->fixed);
    } else {
        step->kernel->run.add(to, left, right, n, &add->params);
    }
}

/* One channel of n pixels of a row, brought together for the kernel. */
static void add_channel(const qn_integer_step *step, uint8_t *to, ptrdiff_t pixel, const uint8_t *left,
                        const uint8_t *right, int n)
{
    enum { SOME = 64 };
    const ptrdiff_t left_pixel = step->u.add.pixel[0], right_pixel = step->u.add.pixel[1];
    uint8_t a[SOME], b[SOME], sums[SOME];
    for (int done = 0; done < n; done += SOME) {
        const int some = least(n - done, SOME);
        for (int i = 0; i < some; i++, left += left_pixel, right += right_pixel) {
            a[i] = *left;
            b[i] = *right;
        }
        add_codes(step, sums, a, b, (size_t)some);
        for (int i = 0; i < some; i++, to += pixel) {
            *to = sums[i];
        }
    }
}

static void run_add(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_add *add = &step->u.add;
    const qn_integer_tensor *y = tensor(run, step->output);
    const uint8_t *a = run->memory + tensor(run, step->input[0])->offset;
    const uint8_t *b = run->memory + tensor(run, step->input[1])->offset;
    bool rows = add->pixel[0] == y->pixel && add->pixel[1] == y->pixel && box->k1 - box->k0 == y->channels;
    const bool channel = !rows && box->k1 - box->k0 == 1;
    const int columns = rows || channel ? 1 : box->x1 - box->x0;
    const size_t n = (size_t)(rows ? (box->x1 - box->x0) * y->channels : box->k1 - box->k0);
    for (int row = box->y0; row < box->y1; row++) {
        for (int i = 0; i < columns; i++) {
            const int column = box->x0 + i;
            uint8_t *to = at(run, y, row, column) + box->k0;
            const uint8_t *left = a + row * add->row[0] + column * add->pixel[0] + box->k0;
            const uint8_t *right = b + row * add->row[1] + column * add->pixel[1] + box->k0;
            if (channel) {
                add_channel(step, to, y->pixel, left, right, box->x1 - box->x0);
            } else {
                add_codes(step, to, left, right, n);
            }
        }
    }
}

/* First and number of the window positions of one axis that fall inside the input. */
static void cut_window(const qn_integer_pool *pool, int axis, int out, int size, int *first, int *n)
{
    const int start = out * pool->stride[axis] - pool->pad[axis], step = pool->dilation[axis];
    const int skipped = start < 0 ? (-start + step - 1) / step : 0;
    *first = start + skipped * step;
    *n = least(pool->kernel[axis] - skipped, (size - *first + step - 1) / step);
}

static void run_pool(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_pool *pool = &step->u.pool;
    const qn_integer_tensor *x = tensor(run, step->input[0]), *y = tensor(run, step->output);
    qn_pool_params params = pool->params;
    qn_pool_window window = {
        .row = pool->dilation[0] * x->row, .pixel = pool->dilation[1] * x->pixel, .n_channels = box->k1 - box->k0};
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            int first_row, first_column;
            cut_window(pool, 0, row, x->height, &first_row, &window.rows);
            cut_window(pool, 1, column, x->width, &first_column, &window.columns);
            params.divisor = pool->divisor != 0 ? pool->divisor : (float)(window.rows * window.columns);
            window.x = at(run, x, first_row, first_column) + box->k0;
            uint8_t *to = at(run, y, row, column) + box->k0;
            if (pool->fixed != NULL) {
                const int n = pool->divisor != 0 ? (int)pool->divisor : window.rows * window.columns;
                qn_integer_fixed_average_codes(to, &window, pool->fixed, n, params.lo, params.hi);
            } else {
                step->kernel->run.pool(to, &window, &params);
            }
        }
    }
}

/* The box is one of the output; the input is placed at (y, x, k) in it. */
static void run_lookup(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_lookup *lookup = &step->u.lookup;
    const qn_integer_tensor *x = tensor(run, step->input[0]), *y = tensor(run, step->output);
    const int row1 = least(box->y1 - lookup->y, x->height), column1 = least(box->x1 - lookup->x, x->width);
    const int k0 = greatest(box->k0 - lookup->k, 0), k1 = least(box->k1 - lookup->k, x->channels);
    const int column0 = greatest(box->x0 - lookup->x, 0);
    if (k0 >= k1 || column0 >= column1) {
        return;
    }
    const bool rows = x->channels == y->channels && k1 - k0 == x->channels;
    const size_t n = (size_t)(rows ? (column1 - column0) * x->channels : k1 - k0);
    for (int row = greatest(box->y0 - lookup->y, 0); row < row1; row++) {
        for (int column = column0; column < (rows ? column0 + 1 : column1); column++) {
            const uint8_t *from = at(run, x, row, column) + k0;
            uint8_t *to = at(run, y, row + lookup->y, column + lookup->x) + lookup->k + k0;
            if (lookup->table != NULL) {
                step->kernel->run.lookup(to, from, n, lookup->table);
            } else {
                memcpy(to, from, n);
            }
        }
    }
}

static void run_gather(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_tensor *x = tensor(run, step->input[0]), *y = tensor(run, step->output);
    const int32_t per_row = x->width * x->channels;
    if (x->row == per_row) { /* no border: places are offsets */
        const uint8_t *from = at(run, x, 0, 0);
        for (int row = box->y0; row < box->y1; row++) {
            for (int column = box->x0; column < box->x1; column++) {
                const int32_t *index = step->u.gather.index + ((ptrdiff_t)row * y->width + column) * y->channels;
                uint8_t *to = at(run, y, row, column);
                for (int k = box->k0; k < box->k1; k++) {
                    to[k] = index[k] < 0 ? step->u.gather.fill : from[index[k]];
                }
            }
        }
        return;
    }
    for (int row = box->y0; row < box->y1; row++) {
        for (int column = box->x0; column < box->x1; column++) {
            const int32_t *index = step->u.gather.index + ((ptrdiff_t)row * y->width + column) * y->channels;
            uint8_t *to = at(run, y, row, column);
            for (int k = box->k0; k < box->k1; k++) {
                to[k] = index[k] < 0 ? step->u.gather.fill : at(run, x, index[k] / per_row, 0)[index[k] % per_row];
            }
        }
    }
}

/* One row of a product whose accumulator saturates after every term (4.5). */
static void saturating_product(const qn_integer_product *p, const qn_product_job *job)
{
    const int64_t limit = INT64_C(1) << (p->saturate_bits - 1);
    int32_t *sums = job->scratch;
    for (int64_t i = 0; i < job->m; i++) {
        for (int64_t j = 0; j < job->n; j++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < job->k; k++) {
                const int64_t left = job->a[i * job->a_row + k] - job->zero_a;
                sum = qn_clamp_s64(sum + left * (job->b[k * job->b_row + j] - job->zero_b), -limit, limit - 1);
            }
            sums[j] = (int32_t)sum;
        }
        job->run(job->y + i * job->y_row, 0, sums, 1, (size_t)job->n, job->requantize, job->first);
    }
}

static void run_product(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_product *p = step->u.rows.product;
    const qn_integer_tensor *a = tensor(run, step->input[0]), *b = tensor(run, step->input[1]);
    const qn_integer_tensor *y = tensor(run, step->output);
    qn_product_job job = {.a_row = p->k,
                          .b_row = p->n,
                          .y_row = p->n,
                          .n = box->k1 - box->k0,
                          .k = p->k,
                          .zero_a = a->zero_point,
                          .zero_b = b->zero_point,
                          .run = p->run,
                          .requantize = &p->requantize,
                          .first = (size_t)box->k0,
                          .scratch = run->memory + run->code->sums_offset};
    for (int i = box->x0 / p->m; i * p->m < box->x1; i++) {
        const int first = greatest(box->x0 - i * p->m, 0);
        job.m = least(box->x1 - i * p->m, p->m) - first;
        job.a = run->memory + a->offset + ((ptrdiff_t)p->left[i] + first) * p->k;
        job.b = run->memory + b->offset + (ptrdiff_t)p->right[i] * p->n + box->k0;
        job.y = run->memory + y->offset + ((ptrdiff_t)i * p->m + first) * p->n + box->k0;
        if (p->saturate_bits > 0) {
            saturating_product(p, &job);
        } else {
            step->u.rows.lanes->product(&job);
        }
    }
}

/* Whole pixels, whatever the channels of the box. */
static void run_rows(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    const qn_integer_rows *rows = &step->u.rows;
    if (rows->product != NULL) {
        run_product(run, step, box);
        return;
    }
    const qn_integer_tensor *x = tensor(run, step->input[0]), *y = tensor(run, step->output);
    for (int row = box->x0; row < box->x1; row++) {
        const uint8_t *from = run->memory + x->offset + (ptrdiff_t)row * y->channels;
        uint8_t *to = at(run, y, 0, row);
        if (rows->norm != NULL) {
            rows->lanes->norm(to, from, rows->norm);
        }
        for (int i = 0; rows->softmax != NULL && i < rows->inner; i++) {
            rows->lanes->softmax(to + i, from + i, rows->n, rows->inner, rows->softmax);
        }
    }
}

/* Elements of a real tensor. */
static float *reals(const qn_integer_run *run, int index)
{
    return (float *)(void *)(run->memory + tensor(run, index)->offset);
}

static void run_encode(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    (void)box;
    const qn_integer_tensor *y = tensor(run, step->output);
    const float *x = step->input[0] >= 0 ? reals(run, step->input[0]) : run->inputs[step->io];
    if (y->plain) {
        step->kernel->run.encode(at(run, y, 0, 0), x, (size_t)y->width * (size_t)y->channels, 1, 0, &step->u.encode);
        return;
    }
    const ptrdiff_t plane = (ptrdiff_t)y->height * y->width;
    if (plane == 1 || y->channels == 1) { /* the order of the floats is that of the codes */
        const size_t n = (size_t)(plane == 1 ? y->channels : y->width);
        for (int row = 0; row < y->height; row++) {
            step->kernel->run.encode(at(run, y, row, 0), x + row * y->width, n, 1, 0, &step->u.encode);
        }
        return;
    }
    for (int row = 0; row < y->height; row++) {
        step->kernel->run.encode(at(run, y, row, 0), x + (ptrdiff_t)row * y->width, (size_t)y->width, y->channels,
                                 plane, &step->u.encode);
    }
}

static void run_decode(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    (void)box;
    const qn_integer_tensor *x = tensor(run, step->input[0]);
    float *y = step->output >= 0 ? reals(run, step->output) : run->outputs[step->io];
    if (x->plain) {
        const uint8_t *codes = at(run, x, 0, 0);
#pragma omp simd
        for (ptrdiff_t i = 0; i < (ptrdiff_t)x->width * x->channels; i++) {
            y[i] = (float)(codes[i] - x->zero_point) * x->scale;
        }
        return;
    }
    for (int c = 0; c < x->channels; c++) {
        for (int row = 0; row < x->height; row++) {
            const uint8_t *codes = at(run, x, row, 0) + c;
            for (int column = 0; column < x->width; column++) {
                *y++ = (float)(codes[column * x->pixel] - x->zero_point) * x->scale;
            }
        }
    }
}

static void run_load(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    (void)box;
    memcpy(reals(run, step->output), run->inputs[step->io],
           (size_t)tensor(run, step->output)->channels * sizeof(float));
}

static void run_store(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    (void)box;
    const float *x = step->input[0] >= 0 ? reals(run, step->input[0]) : step->u.store.constant;
    memcpy(run->outputs[step->io], x, (size_t)step->u.store.n * sizeof(float));
}

static void run_island(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box)
{
    (void)box;
    const qn_integer_island *island = &step->u.island;
    const float *x[QN_ISLAND_ARGS] = {NULL};
    for (int i = 0; i < island->n_args; i++) {
        x[i] = island->input[i] >= 0 ? reals(run, island->input[i]) : island->constant[i];
    }
    island->run(island->params, reals(run, step->output), x);
}

typedef void run_fn(const qn_integer_run *run, const qn_integer_step *step, const qn_box *box);
static run_fn *const run_functions[QN_STEP_KINDS] = {
    [QN_STEP_ENCODE] = run_encode, [QN_STEP_CONV] = run_conv,     [QN_STEP_DEPTHWISE] = run_depthwise,
    [QN_STEP_ADD] = run_add,       [QN_STEP_POOL] = run_pool,     [QN_STEP_LOOKUP] = run_lookup,
    [QN_STEP_GATHER] = run_gather, [QN_STEP_DECODE] = run_decode, [QN_STEP_LOAD] = run_load,
    [QN_STEP_STORE] = run_store,   [QN_STEP_ISLAND] = run_island, [QN_STEP_ROWS] = run_rows,
};

/* Borders are filled whenever the tensor is written: its memory may have served another in between. */
static void fill_border(const qn_integer_run *run, const qn_integer_tensor *t)
{
    if (t->real || t->n_bytes == (size_t)t->height * (size_t)t->width * (size_t)t->channels) {
        return;
    }
    uint8_t *first = at(run, t, -t->top, -t->left);
    const size_t left = (size_t)(t->left * t->pixel), right = (size_t)(t->right * t->pixel);
    const size_t row = (size_t)t->row;
    memset(first, t->zero_point, (size_t)t->top * row + left);
    for (int y = 0; y + 1 < t->height; y++) { /* the end of one row adjoins the start of the next */
        memset(at(run, t, y, t->width), t->zero_point, right + left);
    }
    memset(at(run, t, t->height - 1, t->width), t->zero_point, right + (size_t)t->bottom * row);
}

const int *qn_integer_inputs(const qn_integer_step *step, int *n)
{
    *n = step->kind == QN_STEP_ISLAND ? step->u.island.n_args : 2;
    return step->kind == QN_STEP_ISLAND ? step->u.island.input : step->input;
}

qn_box qn_integer_full_box(const qn_integer_code *code, int step)
{
    int output = code->steps[step].output;
    if (output < 0) {
        return (qn_box){0};
    }
    const qn_integer_tensor *y = &code->tensors[output];
    return (qn_box){0, y->height, 0, y->width, 0, y->channels};
}

void qn_integer_run_box(const qn_integer_run *run, int step, const qn_box *box)
{
    const qn_integer_step *s = &run->code->steps[step];
    run_functions[s->kind](run, s, box);
}

void qn_integer_run_steps(const qn_integer_run *run, int first, int last)
{
    for (int i = first; i < last; i++) {
        const qn_integer_step *step = &run->code->steps[i];
        const qn_box box = qn_integer_full_box(run->code, i);
        if (step->output >= 0 && run->code->tensors[step->output].first_step == i) {
            fill_border(run, &run->code->tensors[step->output]);
        }
        run_functions[step->kind](run, step, &box);
    }
}

bool qn_integer_accumulators(const qn_integer_run *run, int step, const qn_box *box, int32_t *accumulators)
{
    const qn_integer_step *s = &run->code->steps[step];
    if (s->kind != QN_STEP_CONV && s->kind != QN_STEP_DEPTHWISE) {
        return false;
    }
    qn_conv_job job = conv_job(run, s);
    if (s->u.conv.requantize != NULL) {
        qn_integer_narrow_sums(s, &job, box, accumulators);
        return true;
    }
    const ptrdiff_t channels = box->k1 - box->k0, columns = box->x1 - box->x0;
    job.accumulator_pixel = channels;
    job.accumulator_row = channels * columns;
    job.accumulators = accumulators;
    if (s->kind == QN_STEP_DEPTHWISE) {
        job.box = *box;
        s->u.conv.sums(&job);
    } else {
        qn_integer_run_groups(&s->u.conv, &job, s->u.conv.sums, box);
    }
    return true;
}

int64_t qn_integer_bound(const qn_integer_code *code, int step, int k)
{
    const qn_integer_step *s = &code->steps[step];
    return s->kind == QN_STEP_CONV || s->kind == QN_STEP_DEPTHWISE ? s->u.conv.bound[k] : 0;
}
