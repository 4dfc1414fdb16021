/* What steps do to differences: gains and errors of rounding. */
#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

enum { MOST_INPUTS = 4096, MOST_TAPS = 64, LEAST_MULTIPLIER = 1 << 30 };

static const double FLOAT_ERROR = 0x1p-10; /* of f32 products and sums near codes, generously */

/* Inputs of one axis by the kernel's taps that meet outputs there: sets that are part of no other. */
typedef struct tap_sets {
    uint64_t set[MOST_TAPS];
    int n;
} tap_sets;

static void add_set(tap_sets *sets, uint64_t set)
{
    int kept = 0;
    for (int i = 0; i < sets->n; i++) {
        if ((set & ~sets->set[i]) == 0) {
            return;
        }
        if ((sets->set[i] & ~set) != 0) {
            sets->set[kept++] = sets->set[i];
        }
    }
    sets->n = kept;
    sets->set[sets->n++] = set;
}

/* False where there are too many. */
static bool find_sets(tap_sets *sets, int kernel, int stride, int dilation, int pad, int n_in, int n_out)
{
    sets->n = 0;
    if (kernel > MOST_TAPS) {
        return false;
    }
    for (int at = 0; at < n_in; at++) {
        uint64_t set = 0;
        for (int tap = 0; tap < kernel; tap++) {
            const int64_t from = (int64_t)at + pad - (int64_t)tap * dilation;
            if (from >= 0 && from % stride == 0 && from / stride < n_out) {
                set |= UINT64_C(1) << tap;
            }
        }
        if (sets->n == MOST_TAPS) {
            return false;
        }
        add_set(sets, set);
    }
    return true;
}

static int most_of(const tap_sets *sets)
{
    int most = 0;
    for (int i = 0; i < sets->n; i++) {
        const int n = __builtin_popcountll(sets->set[i]);
        most = n > most ? n : most;
    }
    return most;
}

double qn_margin_ratio(const qn_requantize_params *params, int k)
{
    return params->ratio != NULL ? (double)params->ratio[k] : ldexp(params->multiplier[k], -params->shift[k]);
}

/* How far a code may be from the real that it is rounded from; INFINITY: not known. */
static double error_of(const qn_requantize_params *params, int n_channels)
{
    if (params->ratio != NULL) {
        return 0.5 + FLOAT_ERROR;
    }
    if (!params->how.twice) {
        return params->how.rounding == QN_ROUND_FLOOR ? 1 : 0.5 + 0x1p-20;
    }
    double error = 0;
    for (int k = 0; k < n_channels; k++) {
        const int right = params->shift[k] - 31;
        if (right < 0 && params->multiplier[k] < LEAST_MULTIPLIER) {
            return INFINITY; /* sums that saturate before the product may be codes */
        }
        const double both = 0.5 + (right > 0 ? ldexp(0.5, -right) : 0) + 0x1p-20;
        error = both > error ? both : error;
    }
    return error;
}

static void set_rounding(qn_margin_plan *plan, qn_margin_step *s, const qn_integer_tensor *y, double error, int32_t lo,
                         int32_t hi)
{
    s->rounds = true;
    s->error = error;
    s->most_extra = qn_margin_up(2 * error) + 0x1p-20f;
    s->range = (float)(hi - lo);
    s->first = plan->n_rounded;
    plan->n_rounded += (size_t)y->channels;
    s->known = isfinite(error) && hi >= lo;
}

/* Sums of |weight| of output channel k and input channel c: over the taps that one input meets, at most; over all. */
static void sum_taps(const qn_integer_step *step, const tap_sets sets[2], int k, int c, double *one, double *all)
{
    double weight[MOST_TAPS * MOST_TAPS];
    const int rows = step->u.conv.kernel[0], columns = step->u.conv.kernel[1];
    *one = *all = 0;
    for (int tap = 0; tap < rows * columns; tap++) {
        weight[tap] = fabs((double)qn_region_weight(step, k, tap, c));
        *all += weight[tap];
    }
    for (int i = 0; i < sets[0].n; i++) {
        for (int j = 0; j < sets[1].n; j++) {
            double sum = 0;
            for (int tap = 0; tap < rows * columns; tap++) {
                const bool meets =
                    (sets[0].set[i] >> (tap / columns) & 1) != 0 && (sets[1].set[j] >> (tap % columns) & 1) != 0;
                sum += meets ? weight[tap] : 0;
            }
            *one = sum > *one ? sum : *one;
        }
    }
}

/* The most that |sum| of channel k can be, also for codes that no golden run has. */
static double bound_of(const qn_margin_plan *plan, int index, const qn_integer_tensor *x, int k)
{
    const qn_integer_step *step = &plan->region->code->steps[index];
    const qn_integer_conv *conv = &step->u.conv;
    const int farthest = x->zero_point > 255 - x->zero_point ? x->zero_point : 255 - x->zero_point;
    double sum = 0;
    for (int tap = 0; tap < conv->kernel[0] * conv->kernel[1]; tap++) {
        for (int c = 0; c < conv->group_inputs; c++) {
            sum += fabs((double)qn_region_weight(step, k, tap, c));
        }
    }
    return fabs((double)plan->region->steps[index].plain_bias[k]) + sum * farthest;
}

/* Float results: gains in reals, and what the float operations of two results may differ by besides. */
static void set_decode(qn_margin_step *s, const qn_region_finish *finish, float *slack, const double *bounds,
                       int n_channels)
{
    s->decodes = true;
    s->known = true;
    for (int k = 0; k < n_channels; k++) {
        const double bias = finish->bias != NULL ? fabs((double)finish->bias[k]) : 0;
        slack[k] = qn_margin_up((bounds[k] * fabs((double)finish->scale[k]) + bias) * 0x1p-21);
        s->known = s->known && isfinite(slack[k]);
    }
    s->slack = slack;
}

static qn_status set_conv(qn_margin_plan *plan, int index, qn_margin_step *s, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    const qn_integer_step *step = &code->steps[index];
    const qn_integer_conv *conv = &step->u.conv;
    const qn_region_finish *finish = &plan->region->steps[index].finish;
    const qn_integer_tensor *x = &code->tensors[step->input[0]], *y = &code->tensors[step->output];
    const int n_outputs = conv->n_groups * conv->group_outputs, n_inputs = conv->n_groups * conv->group_inputs;
    tap_sets sets[2];
    for (int a = 0; a < 2; a++) {
        if (!find_sets(&sets[a], conv->kernel[a], conv->stride[a], conv->dilation[a], conv->pad[a],
                       a == 0 ? x->height : x->width, a == 0 ? y->height : y->width)) {
            return QN_OK;
        }
    }
    if (conv->group_inputs > MOST_INPUTS || n_inputs != x->channels || n_outputs != y->channels) {
        return QN_OK;
    }
    const int width =
        conv->group_outputs == 1 ? 1 : (conv->group_outputs + QN_MARGIN_LANES - 1) / QN_MARGIN_LANES * QN_MARGIN_LANES;
    float *total = qn_arena_array(&plan->arena, (size_t)n_inputs * (size_t)width, sizeof *total);
    float *most = qn_arena_array(&plan->arena, (size_t)n_inputs * (size_t)width, sizeof *most);
    float *slack = qn_arena_array(&plan->arena, (size_t)n_outputs, sizeof *slack);
    double *bounds = qn_arena_array(&plan->arena, (size_t)n_outputs, sizeof *bounds);
    if (total == NULL || most == NULL || slack == NULL || bounds == NULL) {
        return qn_fail_memory(err, plan->region->program->graph.file, (size_t)n_inputs * (size_t)n_outputs);
    }
    for (int k = 0; k < n_outputs; k++) {
        bounds[k] = bound_of(plan, index, x, k);
        if (!plan->saturates && bounds[k] >= ldexp(1, plan->bits - 1)) {
            return QN_OK; /* a sum may wrap */
        }
        const double ratio = finish->decodes ? fabs((double)finish->scale[k]) : qn_margin_ratio(&finish->params, k);
        for (int c = 0; c < conv->group_inputs; c++) {
            double one, all;
            sum_taps(step, sets, k, c, &one, &all);
            const size_t at =
                ((size_t)(k / conv->group_outputs) * (size_t)conv->group_inputs + (size_t)c) * (size_t)width +
                (size_t)(k % conv->group_outputs);
            total[at] = qn_margin_up(one * ratio);
            most[at] = qn_margin_up(all * ratio);
        }
    }
    s->total = total;
    s->most = most;
    s->width = width;
    if (finish->decodes) {
        set_decode(s, finish, slack, bounds, n_outputs);
        return QN_OK;
    }
    set_rounding(plan, s, y, error_of(&finish->params, n_outputs), finish->params.lo, finish->params.hi);
    return QN_OK;
}

/* The greatest change of a table from one entry to the next. */
static double slope_of(const int32_t term[256])
{
    double most = 0;
    for (int i = 0; i < 255; i++) {
        const double change = fabs((double)term[i + 1] - (double)term[i]);
        most = change > most ? change : most;
    }
    return most;
}

/* The most that a code can be away from its zero point. */
static double farthest(int32_t zero_point)
{
    return zero_point > 255 - zero_point ? zero_point : 255 - zero_point;
}

static void set_add(qn_margin_plan *plan, const qn_integer_step *step, qn_margin_step *s)
{
    const qn_integer_code *code = plan->region->code;
    const qn_integer_tensor *y = &code->tensors[step->output];
    const qn_add_params *p = &step->u.add.params;
    const qn_integer_fixed_add *fixed = step->u.add.fixed;
    double gain[2] = {(double)p->ratio_a, (double)p->ratio_b};
    /* three roundings; fused, five, of numbers that are no greater */
    double error = 0.5 + FLOAT_ERROR + 256 * (gain[0] + gain[1]) * (p->fused ? 0x1p-21 : 0x1p-22);
    if (step->kernel->op == QN_KERNEL_SUB) {
        gain[0] /= (double)p->scale, gain[1] /= (double)p->scale;
        error = 0.5 + FLOAT_ERROR + 256 * (gain[0] + gain[1]) * 0x1p-21;
    } else if (step->kernel->op == QN_KERNEL_MUL) { /* times the most that the other operand can be */
        const double ratio = fixed != NULL ? qn_margin_ratio(&fixed->params, 0) : (double)p->ratio_a;
        gain[0] = ratio * farthest(p->zero_b);
        gain[1] = ratio * farthest(p->zero_a);
        error = 0.5 + FLOAT_ERROR + (256 + farthest(p->zero_a) * gain[0]) * 0x1p-22;
    }
    for (int i = 0; i < 2; i++) {
        const qn_integer_tensor *x = &code->tensors[step->input[i]];
        if (x->channels != y->channels || x->real) {
            return;
        }
        if (fixed != NULL && !fixed->product) {
            gain[i] = slope_of(fixed->term[i]) * qn_margin_ratio(&fixed->params, 0);
        }
        const double copies = (double)y->height * y->width / ((double)x->height * x->width);
        s->gain[i] = qn_margin_up(gain[i] * copies);
        s->most_gain[i] = qn_margin_up(gain[i]);
    }
    if (fixed != NULL) {
        error = error_of(&fixed->params, 1);
    }
    set_rounding(plan, s, y, error, fixed != NULL ? fixed->params.lo : p->lo, fixed != NULL ? fixed->params.hi : p->hi);
}

static void set_pool(qn_margin_plan *plan, const qn_integer_step *step, qn_margin_step *s)
{
    const qn_integer_pool *pool = &step->u.pool;
    const qn_integer_tensor *x = &plan->region->code->tensors[step->input[0]];
    const qn_integer_tensor *y = &plan->region->code->tensors[step->output];
    const qn_op op = step->node->op;
    double overlap = 1;
    for (int a = 0; a < 2; a++) {
        tap_sets sets;
        if (!find_sets(&sets, pool->kernel[a], pool->stride[a], pool->dilation[a], pool->pad[a],
                       a == 0 ? x->height : x->width, a == 0 ? y->height : y->width)) {
            return;
        }
        overlap *= most_of(&sets);
    }
    if (x->channels != y->channels) {
        return;
    }
    if (op == QN_OP_MAX_POOL || op == QN_OP_GLOBAL_MAX_POOL) {
        s->gain[0] = (float)overlap;
        s->most_gain[0] = 1;
        s->known = true;
        return;
    }
    /* windows that padding cuts have fewer pixels: one at least */
    const double pixels = (double)pool->kernel[0] * pool->kernel[1];
    const bool whole = pool->kernel[0] == x->height && pool->kernel[1] == x->width && y->height * y->width == 1;
    const double least = pool->divisor != 0 ? (double)pool->divisor : whole ? pixels : 1;
    const qn_integer_fixed_average *fixed = pool->fixed;
    double gain = (double)pool->params.scale_x / (double)pool->params.scale_y;
    /* a sum of floats, each operation rounded, of terms of 255 codes at most */
    const double cut =
        pool->divisor != 0 ? pixels / (double)pool->divisor : 1; /* pixels of a window over its divisor */
    double error = 0.5 + FLOAT_ERROR + 256 * gain * (pixels + 4) * 0x1p-22 * cut;
    if (fixed != NULL) {
        gain = fixed->rescales ? ldexp(fixed->ratio.multiplier, -fixed->ratio.shift) : 1;
        error = 0.5 + 0x1p-20 + (fixed->rescales ? 1 / least : 0);
        if (pixels * 256 * (gain > 1 ? gain : 1) >= 0x1p30) {
            return;
        }
    }
    s->gain[0] = qn_margin_up(gain * overlap / least);
    s->most_gain[0] = qn_margin_up(gain * cut);
    set_rounding(plan, s, y, error, pool->params.lo, pool->params.hi);
}

static void set_lookup(const qn_margin_plan *plan, const qn_integer_step *step, qn_margin_step *s)
{
    const uint8_t *table = step->u.lookup.table;
    double slope = table == NULL;
    for (int i = 0; table != NULL && i < 255; i++) {
        slope = fmax(slope, fabs((double)table[i + 1] - table[i]));
    }
    s->gain[0] = s->most_gain[0] = (float)slope;
    s->known = !plan->region->code->tensors[step->output].real;
}

/* Which input channels each output channel has elements of. */
static qn_status set_gather(qn_margin_plan *plan, const qn_integer_step *step, qn_margin_step *s, qn_error *err)
{
    const qn_integer_tensor *x = &plan->region->code->tensors[step->input[0]];
    const qn_integer_tensor *y = &plan->region->code->tensors[step->output];
    const size_t pixels = (size_t)y->height * (size_t)y->width, channels = (size_t)y->channels;
    const size_t n = (size_t)x->height * (size_t)x->width * (size_t)x->channels;
    int32_t *first = qn_arena_array(&plan->arena, channels + 1, sizeof *first);
    int32_t *from = qn_arena_array(&plan->arena, pixels * channels, sizeof *from);
    int32_t *seen = qn_alloc((size_t)x->channels * sizeof *seen);
    uint8_t *copies = qn_alloc(n);
    if (first == NULL || from == NULL || seen == NULL || copies == NULL) {
        qn_free(seen);
        qn_free(copies);
        return qn_fail_memory(err, plan->region->program->graph.file, pixels * channels * sizeof *from);
    }
    int32_t n_from = 0;
    s->known = true;
    for (size_t k = 0; k < channels; k++) {
        first[k] = n_from;
        for (size_t p = 0; p < pixels; p++) {
            const int32_t index = step->u.gather.index[p * channels + k], c = index % x->channels;
            if (index < 0) {
                continue;
            }
            s->known = s->known && copies[index]++ == 0; /* an element twice would count twice */
            if (seen[c] != (int32_t)k + 1) {
                seen[c] = (int32_t)k + 1;
                from[n_from++] = c;
            }
        }
    }
    first[channels] = n_from;
    s->from_first = first;
    s->from = from;
    qn_free(seen);
    qn_free(copies);
    return QN_OK;
}

static qn_status set_out(qn_margin_plan *plan, const qn_integer_step *step, qn_margin_step *s, qn_error *err)
{
    const qn_integer_tensor *x = &plan->region->code->tensors[step->input[0]];
    s->decodes = true;
    s->known = true;
    if (step->kind == QN_STEP_STORE) {
        s->gain[0] = s->most_gain[0] = 1;
        return QN_OK;
    }
    float *slack = qn_arena_array(&plan->arena, (size_t)x->channels, sizeof *slack);
    if (slack == NULL) {
        return qn_fail_memory(err, plan->region->program->graph.file, (size_t)x->channels * sizeof *slack);
    }
    for (int k = 0; k < x->channels; k++) {
        slack[k] = qn_margin_up(256 * (double)x->scale * 0x1p-21);
    }
    s->gain[0] = s->most_gain[0] = qn_margin_up((double)x->scale);
    s->slack = slack;
    return QN_OK;
}

qn_status qn_margin_set_step(qn_margin_plan *plan, int index, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    const qn_integer_step *step = &code->steps[index];
    qn_margin_step *s = &plan->steps[index];
    *s = (qn_margin_step){.known = false};
    for (int i = 0; i < 2; i++) {
        if (step->input[i] >= 0 &&
            code->tensors[step->input[i]].channels != code->tensors[plan->region->steps[index].input[i]].channels) {
            return QN_OK; /* a view in another shape */
        }
    }
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
        return set_conv(plan, index, s, err);
    case QN_STEP_ADD:
        set_add(plan, step, s);
        return QN_OK;
    case QN_STEP_POOL:
        set_pool(plan, step, s);
        return QN_OK;
    case QN_STEP_LOOKUP:
        set_lookup(plan, step, s);
        return QN_OK;
    case QN_STEP_GATHER:
        return set_gather(plan, step, s, err);
    case QN_STEP_DECODE:
    case QN_STEP_STORE:
        return step->input[0] >= 0 ? set_out(plan, step, s, err) : QN_OK;
    default:
        return QN_OK;
    }
}
