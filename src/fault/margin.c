/* Plans and margins: made, freed, and where a bound is worth its work. */
#include "fault/margin.h"

#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

/*  HOPELESS   a bound of one code's change beyond which nothing before is looked at: no golden run has such an allowance
 *  TRIED      channels whose change is tried for that */
enum { TRIED = 32, LEAST_WORK = 10000 };
static const double HOPELESS = 1e4;

/* Multiplications of each step. */
static int64_t work_of(const qn_integer_code *code, const qn_integer_step *step)
{
    if (!qn_margin_is_conv(step)) {
        return 0;
    }
    const qn_integer_tensor *y = &code->tensors[step->output];
    const qn_integer_conv *conv = &step->u.conv;
    return (int64_t)y->height * y->width * y->channels * conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
}

static qn_status allocate(qn_margin_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    const size_t n_steps = (size_t)code->n_steps + 1, n_tensors = (size_t)code->n_tensors + 1;
    plan->steps = qn_arena_array(&plan->arena, n_steps, sizeof *plan->steps);
    plan->work = qn_arena_array(&plan->arena, n_steps, sizeof *plan->work);
    plan->first_channel = qn_arena_array(&plan->arena, n_tensors, sizeof *plan->first_channel);
    plan->typical = qn_arena_array(&plan->arena, n_tensors, sizeof *plan->typical);
    if (plan->steps == NULL || plan->work == NULL || plan->first_channel == NULL || plan->typical == NULL) {
        return qn_fail_memory(err, plan->region->program->graph.file, n_steps * sizeof *plan->steps);
    }
    size_t n_rounded = 0;
    for (int i = 0; i < code->n_tensors; i++) {
        plan->first_channel[i] = plan->n_channels;
        plan->n_channels += (size_t)code->tensors[i].channels;
        plan->typical[i] = INFINITY;
        plan->most_channels =
            plan->most_channels > code->tensors[i].channels ? plan->most_channels : code->tensors[i].channels;
    }
    for (int i = code->n_steps - 1; i >= 0; i--) {
        plan->work[i] = plan->work[i + 1] + work_of(code, &code->steps[i]);
        n_rounded += code->steps[i].output >= 0 ? (size_t)code->tensors[code->steps[i].output].channels : 0;
    }
    plan->usual.least = qn_arena_array(&plan->arena, n_rounded + 1, sizeof *plan->usual.least);
    plan->usual.counts =
        qn_arena_array(&plan->arena, (n_rounded + 1) * QN_MARGIN_BINS, sizeof *plan->usual.counts);
    return plan->usual.least != NULL && plan->usual.counts != NULL
               ? QN_OK
               : qn_fail_memory(err, plan->region->program->graph.file, n_rounded * sizeof(int32_t));
}

/* Thresholds evenly spread over the half of a code. */
static void set_usual(qn_margin_plan *plan, int index)
{
    const qn_margin_step *s = &plan->steps[index];
    if (!s->known || !s->rounds) {
        return;
    }
    const qn_integer_tensor *y = &plan->region->code->tensors[plan->region->code->steps[index].output];
    const int pixels = y->height * y->width, bins = QN_MARGIN_BINS / 2;
    for (int k = 0; k < y->channels; k++) {
        const size_t at = s->first + (size_t)k;
        plan->usual.least[at] = s->least + (1 - s->least) / 4 / (float)pixels;
        for (int bin = 0; bin < bins; bin++) {
            plan->usual.counts[at * QN_MARGIN_BINS + (size_t)bin] = (pixels + bin) / bins;
        }
    }
}

/* The least bound of one code's change in the middle of a channel of a tensor, of some channels. */
static double try_tensor(qn_margin *margin, int tensor)
{
    const qn_integer_tensor *t = &margin->plan->region->code->tensors[tensor];
    const qn_box middle = {t->height / 2, t->height / 2 + 1, t->width / 2, t->width / 2 + 1, 0, t->channels};
    double least = INFINITY;
    for (int i = 0; i < TRIED && i < t->channels; i++) {
        const int channel = t->channels <= TRIED ? i : (int)((int64_t)i * t->channels / TRIED);
        qn_margin_touch(margin, tensor, &middle);
        margin->total[margin->plan->first_channel[tensor] + (size_t)channel] = 1;
        margin->most[margin->plan->first_channel[tensor] + (size_t)channel] = 1;
        const double bound = qn_margin_follow(margin);
        least = bound < least ? bound : least;
    }
    return least;
}

/* From the end: steps before which nothing has hope are not looked at. */
static qn_status set_steps(qn_margin_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    qn_margin *margin;
    QN_TRY(qn_margin_make(&margin, plan, NULL, err));
    margin->allowance = HOPELESS;
    qn_status status = QN_OK;
    for (int i = code->n_steps - 1; i >= 0 && status == QN_OK; i--) {
        const int output = plan->region->steps[i].output;
        const bool codes = output >= 0 && !code->tensors[output].real;
        if (codes && plan->region->last_writer[output] == i) {
            plan->typical[output] = try_tensor(margin, output);
        }
        if (!codes || plan->typical[output] < HOPELESS) {
            status = qn_margin_set_step(plan, i, err);
            set_usual(plan, i);
        }
    }
    qn_margin_free(margin);
    return status;
}

qn_status qn_margin_plan_make(qn_margin_plan **plan, const qn_region_plan *region, int bits, bool saturates,
                              int64_t n_outputs, qn_error *err)
{
    qn_margin_plan *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, region->program->graph.file, sizeof *made);
    }
    made->region = region;
    made->bits = bits;
    made->saturates = saturates;
    made->n_outputs = (size_t)n_outputs;
    qn_status status = allocate(made, err);
    if (status == QN_OK) {
        status = set_steps(made, err);
    }
    if (status != QN_OK) {
        qn_margin_plan_free(made);
        return status;
    }
    *plan = made;
    return QN_OK;
}

void qn_margin_plan_free(qn_margin_plan *plan)
{
    if (plan != NULL) {
        qn_arena_free(&plan->arena);
        qn_free(plan);
    }
}

qn_status qn_margin_make(qn_margin **margin, const qn_margin_plan *plan, const qn_region *region, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    const size_t n_channels = plan->n_channels + 1, n_tensors = (size_t)code->n_tensors + 1;
    const size_t n_steps = (size_t)code->n_steps + 1, most = (size_t)plan->most_channels + 1;
    qn_margin *m = qn_alloc(sizeof *m);
    if (m == NULL) {
        return qn_fail_memory(err, plan->region->program->graph.file, sizeof *m);
    }
    m->plan = plan;
    m->region = region;
    m->allowance = -1;
    m->n_words = code->n_steps / 64 + 1;
    m->own.least = qn_alloc((plan->n_rounded + 1) * sizeof *m->own.least);
    m->own.counts = qn_alloc((plan->n_rounded + 1) * QN_MARGIN_BINS * sizeof *m->own.counts);
    m->made = qn_alloc(n_steps * sizeof *m->made);
    m->total = qn_alloc(n_channels * sizeof *m->total);
    m->most = qn_alloc(n_channels * sizeof *m->most);
    m->x_total = qn_alloc(most * sizeof *m->x_total);
    m->x_most = qn_alloc(most * sizeof *m->x_most);
    m->reals = qn_alloc(most * sizeof *m->reals);
    m->differences = qn_alloc(most * sizeof *m->differences);
    m->greatest = qn_alloc(most);
    m->box = qn_alloc(n_tensors * sizeof *m->box);
    m->live = qn_alloc(n_tensors * sizeof *m->live);
    m->touched = qn_alloc(n_tensors * sizeof *m->touched);
    m->pending = qn_alloc((size_t)m->n_words * sizeof *m->pending);
    if (m->own.least == NULL || m->own.counts == NULL || m->made == NULL || m->total == NULL || m->most == NULL ||
        m->x_total == NULL || m->x_most == NULL || m->reals == NULL || m->differences == NULL || m->greatest == NULL ||
        m->box == NULL || m->live == NULL || m->touched == NULL || m->pending == NULL) {
        qn_margin_free(m);
        return qn_fail_memory(err, plan->region->program->graph.file, n_channels * sizeof(float));
    }
    *margin = m;
    return QN_OK;
}

void qn_margin_free(qn_margin *margin)
{
    if (margin == NULL) {
        return;
    }
    qn_free(margin->own.least);
    qn_free(margin->own.counts);
    qn_free(margin->made);
    qn_free(margin->total);
    qn_free(margin->most);
    qn_free(margin->x_total);
    qn_free(margin->x_most);
    qn_free(margin->reals);
    qn_free(margin->differences);
    qn_free(margin->greatest);
    qn_free(margin->box);
    qn_free(margin->live);
    qn_free(margin->touched);
    qn_free(margin->pending);
    qn_free(margin);
}

void qn_margin_load(qn_margin *margin, double allowance)
{
    margin->allowance = allowance;
    margin->image++;
}

bool qn_margin_is_worth(const qn_margin *margin, int step)
{
    const qn_margin_plan *plan = margin->plan;
    const int output = plan->region->steps[step].output;
    return output >= 0 && plan->typical[output] <= margin->allowance && plan->work[step + 1] >= LEAST_WORK;
}
