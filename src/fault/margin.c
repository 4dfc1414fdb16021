/* Plans and margins: made, freed, and where a bound is worth its work. */
#include "fault/margin.h"

#include <math.h>
#include <string.h>

#include "fault/margin_inside.h"

/*  TRIED       channels of a tensor whose change is tried
 *  SATURATING  how many multiplications one costs whose sum saturates */
enum { TRIED = 32, SATURATING = 50 };
/* Multiplications of a pixel of a step's output; what has to be summed term by term costs more. */
static double price_of(const qn_region_plan *plan, int index)
{
    const qn_integer_step *step = &plan->code->steps[index];
    if (step->kind == QN_STEP_ROWS && step->u.rows.product != NULL) {
        const qn_integer_product *p = step->u.rows.product;
        return (double)p->n * p->k * (p->saturate_bits > 0 ? SATURATING : 1);
    }
    if (!qn_margin_is_conv(step)) {
        return 0;
    }
    const qn_integer_conv *conv = &step->u.conv;
    const double channels = plan->code->tensors[step->output].channels;
    return channels * conv->kernel[0] * conv->kernel[1] * conv->group_inputs *
           (plan->steps[index].linear ? 1 : SATURATING);
}

/* The same of the whole output. */
static double work_of(const qn_margin_plan *plan, int index)
{
    const int output = plan->region->code->steps[index].output;
    const qn_integer_tensor *y = &plan->region->code->tensors[output < 0 ? 0 : output];
    return plan->price[index] * y->height * y->width;
}

static qn_status allocate(qn_margin_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    const size_t n_steps = (size_t)code->n_steps + 1, n_tensors = (size_t)code->n_tensors + 1;
    plan->steps = qn_arena_array(&plan->arena, n_steps, sizeof *plan->steps);
    plan->place = qn_arena_array(&plan->arena, n_steps, sizeof *plan->place);
    plan->price = qn_arena_array(&plan->arena, n_steps, sizeof *plan->price);
    plan->first_channel = qn_arena_array(&plan->arena, n_tensors, sizeof *plan->first_channel);
    plan->typical = qn_arena_array(&plan->arena, n_tensors, sizeof *plan->typical);
    plan->typical_all = qn_arena_array(&plan->arena, n_tensors, sizeof *plan->typical_all);
    if (plan->steps == NULL || plan->place == NULL || plan->price == NULL || plan->first_channel == NULL ||
        plan->typical == NULL || plan->typical_all == NULL) {
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
        plan->price[i] = price_of(plan->region, i);
        n_rounded += code->steps[i].output >= 0 ? (size_t)code->tensors[code->steps[i].output].channels : 0;
    }
    plan->usual.least = qn_arena_array(&plan->arena, n_rounded + 1, sizeof *plan->usual.least);
    plan->usual.all = qn_arena_array(&plan->arena, (n_rounded + 1) * QN_MARGIN_BINS, sizeof(float));
    plan->usual.free = qn_arena_array(&plan->arena, (n_rounded + 1) * QN_MARGIN_BINS, sizeof(float));
    return plan->usual.least != NULL && plan->usual.all != NULL && plan->usual.free != NULL
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
    const qn_margin_seen seen = qn_margin_seen_of(&plan->usual, s);
    const double pixels = (double)y->height * y->width;
    double count[QN_MARGIN_BINS], sum[QN_MARGIN_BINS], from = 0;
    for (int bin = 0; bin < QN_MARGIN_BINS; bin++) {
        const double edge = (double)qn_margin_edges[bin];
        count[bin] = edge <= 0.5 ? pixels * (edge - from) / 0.5 : 0;
        sum[bin] = count[bin] * (from + edge) / 2;
        from = edge;
    }
    for (int k = 0; k < y->channels; k++) {
        seen.least[k] = (float)(0.25 / pixels);
        qn_margin_sum_bins(&seen, k, y->channels, count, sum, sum);
    }
}

static qn_box middle_of(const qn_integer_tensor *t)
{
    return (qn_box){t->height / 2, t->height / 2 + 1, t->width / 2, t->width / 2 + 1, 0, t->channels};
}

/* The bound of changes by one code in all channels of a pixel. */
static double try_pixel(qn_margin *margin, int tensor)
{
    const qn_integer_tensor *t = &margin->plan->region->code->tensors[tensor];
    const qn_box middle = middle_of(t);
    qn_margin_touch(margin, tensor, &middle);
    for (int i = 0; i < t->channels; i++) {
        margin->total[margin->plan->first_channel[tensor] + (size_t)i] = 1;
        margin->most[margin->plan->first_channel[tensor] + (size_t)i] = 1;
    }
    return qn_margin_follow(margin);
}

/* The least bound of one code's change in the middle of a channel of a tensor, of some channels. */
static double try_tensor(qn_margin *margin, int tensor)
{
    const qn_integer_tensor *t = &margin->plan->region->code->tensors[tensor];
    const qn_box middle = middle_of(t);
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

/* Work that a difference in a step's output leads to: of all steps that it reaches. Steps with enough of it have a
 * place. */
static qn_status set_places(qn_margin_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    bool *reached = qn_alloc((size_t)code->n_tensors + 1);
    if (reached == NULL) {
        return qn_fail_memory(err, plan->region->program->graph.file, (size_t)code->n_tensors);
    }
    int n_places = 0;
    for (int i = code->n_steps - 1; i >= 0; i--) {
        const int output = plan->region->steps[i].output;
        double work = 0;
        plan->place[i] = -1;
        if (output < 0 || !isfinite(plan->typical[output]) || n_places == QN_MARGIN_PLACES) {
            continue;
        }
        memset(reached, 0, (size_t)code->n_tensors);
        reached[output] = true;
        for (int j = i + 1; j < code->n_steps; j++) {
            int n_inputs;
            const int *inputs = qn_integer_inputs(&code->steps[j], &n_inputs);
            bool meets = false;
            for (int k = 0; k < n_inputs; k++) {
                meets = meets || (inputs[k] >= 0 && reached[qn_region_base(code, inputs[k])]);
            }
            work += meets ? work_of(plan, j) : 0;
            if (meets && plan->region->steps[j].output >= 0) {
                reached[plan->region->steps[j].output] = true;
            }
        }
        plan->place[i] = work >= plan->least_work ? n_places++ : -1;
    }
    qn_free(reached);
    return QN_OK;
}

/* From the end: steps before which nothing has hope are not looked at. */
static qn_status set_steps(qn_margin_plan *plan, qn_error *err)
{
    const qn_integer_code *code = plan->region->code;
    qn_margin *margin;
    QN_TRY(qn_margin_make(&margin, plan, NULL, err));
    qn_status status = QN_OK;
    for (int i = code->n_steps - 1; i >= 0 && status == QN_OK; i--) {
        const int output = plan->region->steps[i].output;
        const bool codes = output >= 0 && !code->tensors[output].real;
        if (codes && plan->region->last_writer[output] == i) {
            plan->typical[output] = try_tensor(margin, output);
            plan->typical_all[output] = try_pixel(margin, output);
        }
        if (!codes || plan->typical[output] < plan->hopeless) {
            status = qn_margin_set_step(plan, i, err);
            set_usual(plan, i);
        }
    }
    qn_margin_free(margin);
    return status;
}

qn_status qn_margin_plan_make(qn_margin_plan **plan, const qn_region_plan *region, int bits, bool saturates,
                              int64_t n_outputs, double most, double least_work, qn_error *err)
{
    qn_margin_plan *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, region->program->graph.file, sizeof *made);
    }
    made->region = region;
    made->lanes = qn_margin_lanes_for(region->program->options.cpu);
    made->hopeless = most;
    made->least_work = least_work;
    made->bits = bits;
    made->saturates = saturates;
    made->n_outputs = (size_t)n_outputs;
    qn_status status = allocate(made, err);
    if (status == QN_OK) {
        status = set_steps(made, err);
    }
    if (status == QN_OK) {
        status = set_places(made, err);
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
    m->own.all = qn_alloc((plan->n_rounded + 1) * QN_MARGIN_BINS * sizeof *m->own.all);
    m->own.free = qn_alloc((plan->n_rounded + 1) * QN_MARGIN_BINS * sizeof *m->own.free);
    m->sums = qn_alloc(most * QN_MARGIN_BINS * 3 * sizeof *m->sums);
    m->extra = qn_alloc(most * sizeof *m->extra);
    m->group_total = qn_alloc((most + QN_MARGIN_LANES) * sizeof(float));
    m->group_most = qn_alloc((most + QN_MARGIN_LANES) * sizeof(float));
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
    if (m->own.least == NULL || m->own.all == NULL || m->own.free == NULL || m->sums == NULL || m->extra == NULL ||
        m->group_total == NULL || m->group_most == NULL || m->made == NULL || m->total == NULL || m->most == NULL ||
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
    qn_free(margin->own.all);
    qn_free(margin->own.free);
    qn_free(margin->sums);
    qn_free(margin->extra);
    qn_free(margin->group_total);
    qn_free(margin->group_most);
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

int qn_margin_place(qn_margin *margin, int step)
{
    const qn_margin_plan *plan = margin->plan;
    const int output = plan->region->steps[step].output;
    if (plan->place[step] < 0 || !(plan->typical[output] <= margin->allowance)) {
        return -1;
    }
    const qn_box *box = &margin->region->dirty[output];
    const double share = (box->k1 - box->k0 - 1) / (double)plan->region->code->tensors[output].channels;
    const double about = plan->typical[output] + share * (plan->typical_all[output] - plan->typical[output]);
    return about <= margin->allowance && qn_margin_work(margin) >= plan->least_work ? plan->place[step] : -1;
}
