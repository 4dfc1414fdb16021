/* qn_partition_make: the best plan, told in words of devices and links; or why there is none. */
#include <math.h>
#include <string.h>

#include "link/partition_problem.h"
#include "link/plan.h"

void qn_partition_options_init(qn_partition_options *options)
{
    *options = (qn_partition_options){.struct_size = sizeof *options, .accuracy_drop = (double)NAN, .microbatch = 1};
}

static double seconds_of(int64_t picoseconds)
{
    return (double)picoseconds / 1e12;
}

/* Below one for each link a plan can have, it is what ties between formats were broken with. */
static double loss_of(int64_t loss)
{
    return loss < QN_PART_MAX_STAGES ? 0 : (double)loss / QN_PART_LOSS_ONE;
}

/* Without some of what limits plans: is there one then? */
static qn_status solve_freely(qn_part_plan *plan, const qn_part_setup *s, int32_t budget, int64_t more_memory,
                              bool latency, qn_error *err)
{
    qn_part_setup freely = *s;
    qn_part_type types[QN_PART_MAX_TYPES];
    qn_part_type ends[2];
    memcpy(types, s->types, s->problem.n_types * sizeof *types);
    for (size_t t = 0; t < s->problem.n_types; t++) {
        types[t].memory = types[t].memory < INT64_MAX - more_memory ? types[t].memory + more_memory : INT64_MAX;
    }
    freely.types = types;
    freely.problem.budget = budget;
    freely.problem.latency = latency;
    freely.problem.shared = NULL;
    return qn_part_setup_solve(plan, ends, &freely, err);
}

/* The least memory that every device would have to have more, and the stage that would need it. */
static qn_status fail_memory_short(const qn_part_setup *s, qn_error *err)
{
    qn_part_plan plan, found;
    int64_t low = 0, high = INT64_MAX / 4;
    QN_TRY(solve_freely(&plan, s, QN_PART_LOSS_ONE, high, false, err));
    while (low + 1 < high) {
        /* The worst stage of a plan that fits says how much is enough. */
        int64_t worst = 0;
        for (size_t k = 0; k < plan.n_stages; k++) {
            const int64_t more =
                s->needs[plan.place[k] * s->problem.n_places + plan.place[k + 1]] - s->types[plan.type[k]].memory;
            worst = more > worst ? more : worst;
        }
        high = worst < high ? worst : high;
        const int64_t middle = low + (high - low) / 2;
        if (middle == low) {
            break;
        }
        QN_TRY(solve_freely(&found, s, QN_PART_LOSS_ONE, middle, false, err));
        if (found.n_stages > 0) {
            plan = found;
        } else {
            low = middle;
        }
    }
    size_t worst = 0;
    int64_t short_of = 0;
    for (size_t k = 0; k < plan.n_stages; k++) {
        const int64_t more =
            s->needs[plan.place[k] * s->problem.n_places + plan.place[k + 1]] - s->types[plan.type[k]].memory;
        if (more > short_of) {
            short_of = more;
            worst = k;
        }
    }
    const size_t type = (size_t)plan.type[worst], from = s->place[plan.place[worst]],
                 to = s->place[plan.place[worst + 1]];
    const char *begin = qn_cuts_at(s->cuts, from)->name, *end = qn_cuts_at(s->cuts, to)->name;
    return qn_fail(
        err, QN_ERANGE, s->cuts->model->graph.file,
        "fits in no way on these devices: the plan that misses by least lacks %lld bytes, on '%s', which has "
        "%lld and would run what is from '%s' to '%s'; give it more memory, or more devices, or take a smaller "
        "microbatch or fewer choices of formats (the greatest message of any counts)",
        (long long)short_of, s->options->devices->types[type].name, (long long)s->types[type].memory,
        from == 0 ? "the inputs" : begin, end);
}

/* The least loss within which there is a plan. */
static qn_status fail_budget(const qn_part_setup *s, qn_part_plan *plan, qn_error *err)
{
    qn_part_plan found;
    int64_t low = s->problem.budget, high = plan->loss;
    while (low + 1 < high) {
        QN_TRY(solve_freely(&found, s, (int32_t)(low + (high - low) / 2), 0, false, err));
        if (found.n_stages > 0) {
            high = found.loss;
        } else {
            low = low + (high - low) / 2;
        }
    }
    return qn_fail(
        err, QN_ERANGE, s->cuts->model->graph.file,
        "no plan keeps the accuracy drop of %.4g %%: the least that links lose in any is %.4g %%; allow that, or "
        "offer finer formats",
        100 * loss_of(s->problem.budget), 100 * loss_of(high));
}

/* Why there is no plan: the first limit without which there is one. */
static qn_status fail(const qn_part_setup *s, qn_error *err)
{
    qn_part_plan plan;
    QN_TRY(solve_freely(&plan, s, QN_PART_LOSS_ONE, 0, false, err));
    if (plan.n_stages > 0) {
        return fail_budget(s, &plan, err);
    }
    QN_TRY(solve_freely(&plan, s, QN_PART_LOSS_ONE, INT64_MAX / 4, false, err));
    if (plan.n_stages > 0) {
        return fail_memory_short(s, err);
    }
    return qn_fail(err, QN_ERANGE, s->cuts->model->graph.file,
                   "there is no plan: no device is joined to where data (or results) are, by a link of its own or a "
                   "default");
}

static void fill_stage(qn_partition_stage *stage, const qn_part_setup *s, const qn_part_plan *plan, size_t k)
{
    const size_t type = (size_t)plan->type[k];
    *stage = (qn_partition_stage){
        .from = s->place[plan->place[k]],
        .to = s->place[plan->place[k + 1]],
        .type = type,
        .needed = s->needs[plan->place[k] * s->problem.n_places + plan->place[k + 1]],
        .memory = s->options->devices->types[type].memory,
        .seconds = seconds_of(qn_part_stage_time(&s->problem, type, plan->place[k], plan->place[k + 1]))};
    stage->span = qn_cuts_span(s->cuts, stage->from, stage->to);
}

static void fill_link(qn_partition_link *link, const qn_part_setup *s, const qn_part_plan *plan, size_t k)
{
    const size_t at = plan->place[k + 1] * s->problem.n_choices + (size_t)plan->choice[k];
    const size_t a = (size_t)plan->type[k], b = (size_t)plan->type[k + 1];
    const qn_device_link *found = qn_part_setup_link(s, a, b);
    *link = (qn_partition_link){
        .position = s->place[plan->place[k + 1]],
        .choice = plan->choice[k],
        .bytes = s->bytes[at],
        .seconds = seconds_of(qn_part_link_busy(&s->problem, plan->place[k + 1], plan->choice[k], a, b)),
        .period = seconds_of(qn_part_link_period(&s->problem, plan->place[k + 1], plan->choice[k], a, b)),
        .loss = s->real_loss ? loss_of(s->losses[at]) : (double)NAN,
        .bandwidth = found->bandwidth,
        .latency = found->latency,
        .medium = found->medium};
}

static void fill_end(qn_partition_link *end, const qn_device_link *link, size_t position, int64_t bytes, int64_t time,
                     int64_t period)
{
    *end = (qn_partition_link){.position = position, .choice = -1};
    if (time > 0) {
        end->bytes = bytes;
        end->seconds = seconds_of(time);
        end->period = seconds_of(period);
        end->bandwidth = link->bandwidth;
        end->latency = link->latency;
        end->medium = link->medium;
    }
}

/* What takes as long as the period; stages first. */
static void find_bottleneck(qn_partition *p)
{
    double most = -1;
    for (size_t k = 0; k < p->n_stages; k++) {
        if (p->stages[k].seconds > most) {
            most = p->stages[k].seconds;
            p->bottleneck = QN_BOTTLENECK_STAGE;
            p->index = k;
        }
    }
    for (size_t k = 0; k + 1 < p->n_stages; k++) {
        if (p->links[k].period > most) {
            most = p->links[k].period;
            p->bottleneck = QN_BOTTLENECK_LINK;
            p->index = k;
        }
    }
    if (p->first.period > most) {
        most = p->first.period;
        p->bottleneck = QN_BOTTLENECK_FIRST;
    }
    if (p->last.period > most) {
        most = p->last.period;
        p->bottleneck = QN_BOTTLENECK_LAST;
    }
    if (p->medium != NULL && p->medium_seconds > most) {
        p->bottleneck = QN_BOTTLENECK_MEDIUM;
    }
}

static qn_status describe(qn_partition *p, const qn_part_setup *s, const qn_part_plan *plan, const qn_part_type ends[2],
                          qn_error *err)
{
    qn_arena *arena = p->memory;
    p->n_stages = plan->n_stages;
    p->stages = qn_arena_array(arena, plan->n_stages, sizeof *p->stages);
    p->links = qn_arena_array(arena, plan->n_stages, sizeof *p->links);
    p->medium = s->problem.shared != NULL ? qn_arena_string(arena, s->medium) : NULL;
    if (p->stages == NULL || p->links == NULL || (s->problem.shared != NULL && p->medium == NULL)) {
        return qn_fail_memory(err, NULL, plan->n_stages * sizeof *p->stages);
    }
    for (size_t k = 0; k < plan->n_stages; k++) {
        fill_stage(&p->stages[k], s, plan, k);
        if (k + 1 < plan->n_stages) {
            fill_link(&p->links[k], s, plan, k);
            p->medium_seconds += p->medium != NULL && p->links[k].medium != NULL ? p->links[k].seconds : 0;
        }
    }
    const size_t last = plan->n_stages - 1;
    fill_end(&p->first, ends[0].start > 0 ? qn_part_setup_first(s, (size_t)plan->type[0]) : NULL, 0, s->first_bytes,
             ends[0].start, qn_part_start_period(&ends[0]));
    fill_end(&p->last, ends[1].end > 0 ? qn_part_setup_last(s, (size_t)plan->type[last]) : NULL, qn_cuts_last(s->cuts),
             s->last_bytes, ends[1].end, qn_part_end_period(&ends[1]));
    p->medium_seconds += p->medium != NULL && p->first.medium != NULL ? p->first.seconds : 0;
    p->medium_seconds += p->medium != NULL && p->last.medium != NULL ? p->last.seconds : 0;
    p->microbatch = s->options->microbatch;
    p->period = seconds_of(plan->period);
    p->latency = seconds_of(plan->latency);
    p->loss = s->real_loss ? loss_of(plan->loss) : (double)NAN;
    find_bottleneck(p);
    return QN_OK;
}

static void advise(qn_partition *p, qn_partition_advice advice, double now)
{
    if (p->n_advice < QN_PARTITION_MAX_ADVICE && advice.seconds < now * 0.995) {
        p->advice[p->n_advice++] = advice;
    }
}

/* Other formats for the link that is the bottleneck: the fastest for its loss. */
static void advise_choices(qn_partition *p, const qn_part_setup *s, const qn_part_plan *plan)
{
    for (int c = 0; c < (int)s->problem.n_choices && p->bottleneck == QN_BOTTLENECK_LINK; c++) {
        qn_part_plan other = *plan;
        const size_t k = p->index;
        other.choice[k] = c;
        const int64_t time =
            qn_part_link_busy(&s->problem, plan->place[k + 1], c, (size_t)plan->type[k], (size_t)plan->type[k + 1]);
        if (time != QN_PART_NONE) {
            qn_part_evaluate(&s->problem, &other);
            advise(p,
                   (qn_partition_advice){.link = (int)k,
                                         .choice = c,
                                         .type = -1,
                                         .seconds = seconds_of(other.period),
                                         .loss = s->real_loss ? loss_of(other.loss) : (double)NAN},
                   p->period);
        }
    }
}

/* One more device of each type: the one that helps most. */
static qn_status advise_devices(qn_partition *p, qn_part_setup *s, qn_error *err)
{
    qn_partition_advice best = {.link = -1, .choice = -1, .type = -1};
    const double now = s->problem.latency ? p->latency : p->period;
    for (size_t t = 0; t < s->problem.n_types; t++) {
        qn_part_plan other;
        qn_part_type ends[2];
        qn_error ignored;
        qn_error_init(&ignored);
        s->types[t].count++;
        const qn_status status = qn_part_setup_solve(&other, ends, s, &ignored);
        s->types[t].count--;
        if (status == QN_ENOMEM) {
            return qn_fail_memory(err, NULL, 0);
        }
        if (status != QN_OK || other.n_stages == 0) {
            continue;
        }
        const double seconds = seconds_of(s->problem.latency ? other.latency : other.period);
        if (best.type < 0 || seconds < best.seconds) {
            best.type = (int)t;
            best.seconds = seconds;
            best.loss = s->real_loss ? loss_of(other.loss) : (double)NAN;
        }
    }
    if (best.type >= 0) {
        advise(p, best, now);
    }
    return QN_OK;
}

static qn_status make(qn_partition *p, qn_part_setup *s, const qn_cuts *cuts, const qn_partition_options *options,
                      qn_error *err)
{
    qn_part_plan plan;
    qn_part_type ends[2];
    QN_TRY(qn_part_setup_make(s, cuts, options, err));
    QN_TRY(qn_part_setup_solve(&plan, ends, s, err));
    if (plan.n_stages == 0) {
        return fail(s, err);
    }
    QN_TRY(describe(p, s, &plan, ends, err));
    if (!options->latency) {
        advise_choices(p, s, &plan);
    }
    return advise_devices(p, s, err);
}

qn_status qn_partition_make(qn_partition *partition, const qn_cuts *cuts, const qn_partition_options *options,
                            qn_error *err)
{
    qn_part_setup setup;
    *partition = (qn_partition){0};
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_partition_options_init", err));
    partition->memory = qn_alloc(sizeof(qn_arena));
    if (partition->memory == NULL) {
        return qn_fail_memory(err, NULL, sizeof(qn_arena));
    }
    const qn_status status = make(partition, &setup, cuts, options, err);
    qn_part_setup_free(&setup);
    if (status != QN_OK) {
        qn_partition_free(partition);
    }
    return status;
}

void qn_partition_free(qn_partition *partition)
{
    if (partition->memory != NULL) {
        qn_arena_free(partition->memory);
        qn_free(partition->memory);
    }
    *partition = (qn_partition){0};
}

/* The chosen way first, then the others that are known at the place. */
static qn_status fill_plan_link(qn_plan_link *to, qn_arena *arena, const qn_partition_link *link,
                                const qn_cut_losses *losses, const qn_cuts *cuts, int64_t microbatch, qn_error *err)
{
    *to = (qn_plan_link){.checksum = true, .bandwidth = link->bandwidth, .latency = link->latency};
    to->choices = qn_arena_array(arena, losses->n_choices, sizeof *to->choices);
    to->medium = link->medium != NULL ? qn_arena_string(arena, link->medium) : NULL;
    if (to->choices == NULL || (link->medium != NULL && to->medium == NULL)) {
        return qn_fail_memory(err, NULL, losses->n_choices * sizeof *to->choices);
    }
    for (size_t i = 0; i < losses->n_choices; i++) {
        /* 0: the chosen one; then the others in their order */
        const size_t c = i == 0 ? (size_t)link->choice : i <= (size_t)link->choice ? i - 1 : i;
        const size_t at = link->position * losses->n_choices + c;
        int64_t bytes;
        qn_error ignored;
        qn_error_init(&ignored);
        qn_link_choice choice = losses->choices[c];
        choice.loss = losses->losses != NULL ? losses->losses[at] : (double)NAN;
        choice.sqnr_db = losses->sqnr_db != NULL ? losses->sqnr_db[at] : (double)NAN;
        const bool known = losses->losses == NULL || !isnan(choice.loss);
        if (i > 0 &&
            (!known || qn_plan_message_bytes(&bytes, cuts, link->position, &choice, microbatch, &ignored) != QN_OK)) {
            continue;
        }
        choice.format = qn_arena_string(arena, choice.format);
        if (choice.format == NULL) {
            return qn_fail_memory(err, NULL, 0);
        }
        to->choices[to->n_choices++] = choice;
    }
    return QN_OK;
}

static qn_status fill_plan(qn_plan *plan, qn_arena *arena, const qn_partition *partition, const qn_cuts *cuts,
                           const qn_partition_options *options, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    plan->model = qn_arena_string(arena, g->file);
    plan->sha256 = qn_arena_string(arena, g->sha256);
    plan->stages = qn_arena_array(arena, partition->n_stages, sizeof *plan->stages);
    plan->links = qn_arena_array(arena, partition->n_stages, sizeof *plan->links);
    if (plan->model == NULL || plan->sha256 == NULL || plan->stages == NULL || plan->links == NULL) {
        return qn_fail_memory(err, g->file, partition->n_stages * sizeof *plan->links);
    }
    plan->n_stages = partition->n_stages;
    for (size_t k = 0; k < plan->n_stages; k++) {
        const qn_partition_stage *stage = &partition->stages[k];
        qn_plan_stage *to = &plan->stages[k];
        to->device = qn_arena_string(arena, options->devices->types[stage->type].name);
        to->until = k + 1 < plan->n_stages ? qn_arena_string(arena, qn_cuts_at(cuts, stage->to)->name) : NULL;
        to->memory = stage->memory;
        to->seconds_per_item = stage->seconds / (double)partition->microbatch;
        if (to->device == NULL || (k + 1 < plan->n_stages && to->until == NULL)) {
            return qn_fail_memory(err, g->file, 0);
        }
        if (k + 1 < plan->n_stages) {
            QN_TRY(fill_plan_link(&plan->links[k], arena, &partition->links[k], options->losses, cuts,
                                  partition->microbatch, err));
        }
    }
    return QN_OK;
}

/* A policy keeps to a budget only where it knows what every format costs. */
static bool losses_known(const qn_plan *plan)
{
    bool known = plan->n_stages > 1;
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        for (size_t c = 0; c < plan->links[k].n_choices; c++) {
            known = known && !isnan(plan->links[k].choices[c].loss);
        }
    }
    return known;
}

qn_status qn_partition_to_plan(qn_plan *plan, const qn_partition *partition, const qn_cuts *cuts,
                               const qn_partition_options *options, qn_error *err)
{
    qn_arena *arena;
    QN_TRY(qn_plan_new(plan, &arena, err));
    plan->engine = qn_cuts_engine(cuts);
    plan->engine_given = true;
    plan->microbatch = partition->microbatch;
    const qn_status status = fill_plan(plan, arena, partition, cuts, options, err);
    plan->accuracy_budget = losses_known(plan) ? options->accuracy_drop : (double)NAN;
    if (status != QN_OK) {
        qn_plan_free(plan);
    }
    return status;
}
