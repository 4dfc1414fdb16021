/* Does a plan fit a network; and plans of equal shares. */
#include <math.h>
#include <string.h>

#include "link/crossing.h"
#include "link/cut.h"
#include "link/plan.h"
#include "quern/policy.h"

qn_status qn_plan_message_bytes(int64_t *bytes, const qn_cuts *cuts, size_t position, const qn_link_choice *choice,
                                int64_t n, qn_error *err)
{
    qn_link_choice one = *choice;
    const qn_plan_link link = {.choices = &one, .n_choices = 1, .checksum = true};
    qn_crossing crossing;
    QN_TRY(qn_crossing_init(&crossing, cuts, position, &link, n, err));
    const size_t sum = qn_crossing_bytes(&crossing, 0, n);
    qn_crossing_free(&crossing);
    if (sum == 0 || sum > INT64_MAX) {
        return qn_fail(err, QN_ELIMIT, NULL, "the message behind '%s' is too large", qn_cuts_at(cuts, position)->name);
    }
    *bytes = (int64_t)sum;
    return QN_OK;
}

int64_t qn_plan_stage_bytes(qn_cut_span span, int64_t n, int64_t taken, int64_t given)
{
    int64_t activations, messages, sum;
    const bool over =
        __builtin_mul_overflow(span.activation_bytes, n, &activations) ||
        __builtin_add_overflow(taken, given, &messages) || __builtin_mul_overflow(messages, 2, &messages) ||
        __builtin_add_overflow(span.weight_bytes, activations, &sum) || __builtin_add_overflow(sum, messages, &sum);
    return over ? INT64_MAX : sum;
}

static qn_status check_model(const qn_plan *plan, const qn_cuts *cuts, qn_error *err)
{
    const qn_graph *g = &qn_cuts_model(cuts)->graph;
    if (plan->sha256[0] != '\0' && g->sha256[0] != '\0' && strcmp(plan->sha256, g->sha256) != 0) {
        return qn_fail(err, QN_EINVAL, g->file,
                       "the plan was made for another model%s%s%s: sha256 %s; this one has %s; make a plan for it with "
                       "quern partition",
                       plan->model[0] != '\0' ? ", '" : "", plan->model, plan->model[0] != '\0' ? "'" : "",
                       plan->sha256, g->sha256);
    }
    if (plan->engine_given && plan->engine != qn_cuts_engine(cuts)) {
        return qn_fail(err, QN_EINVAL, g->file, "the plan is for the %s engine, and the %s engine is to run it",
                       qn_engine_text(plan->engine), qn_engine_text(qn_cuts_engine(cuts)));
    }
    if (plan->microbatch < 1 || plan->microbatch > QN_PLAN_MAX_MICROBATCH) {
        return qn_fail(err, QN_EINVAL, g->file, "a plan with a microbatch of %lld; it is 1 to %d",
                       (long long)plan->microbatch, QN_PLAN_MAX_MICROBATCH);
    }
    if (plan->microbatch > 1 && !qn_cuts_batched(cuts)) {
        return qn_fail(
            err, QN_EINVAL, g->file,
            "a plan with a microbatch of %lld: what crosses in this network does not lead with the items of a "
            "batch, so that stages take one item at a time; write 'microbatch: 1'",
            (long long)plan->microbatch);
    }
    return QN_OK;
}

static qn_status check_positions(size_t *positions, const qn_plan *plan, const qn_cuts *cuts, qn_error *err)
{
    const char *file = qn_cuts_model(cuts)->graph.file;
    if (plan->n_stages == 0) {
        return qn_fail(err, QN_EINVAL, file, "a plan without stages");
    }
    positions[0] = 0;
    positions[plan->n_stages] = qn_cuts_last(cuts);
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        const char *until = plan->stages[k].until;
        if (until == NULL) {
            return qn_fail(err, QN_EINVAL, file, "stage %zu of the plan does not say where it ends", k);
        }
        QN_TRY(qn_cuts_find(&positions[k + 1], cuts, until, err));
        if (positions[k + 1] <= positions[k]) {
            return qn_fail(err, QN_EINVAL, file,
                           "stage %zu of the plan ends behind '%s', which is %s stage %zu ends: stages stand in the "
                           "network's order, and each runs a node at least",
                           k, until, positions[k + 1] == positions[k] ? "where" : "before the place where", k - 1);
        }
    }
    return QN_OK;
}

/* The bytes of the greatest message of a link, in any of its choices. */
static qn_status check_link(int64_t *most, const qn_plan *plan, size_t k, const qn_cuts *cuts, size_t position,
                            qn_error *err)
{
    const char *file = qn_cuts_model(cuts)->graph.file;
    const qn_plan_link *link = &plan->links[k];
    *most = 0;
    if (link->n_choices == 0) {
        return qn_fail(err, QN_EINVAL, file, "link %zu of the plan has no format", k);
    }
    if (!isnan(link->bandwidth) && !(link->bandwidth > 0 && isfinite(link->bandwidth))) {
        return qn_fail(err, QN_EINVAL, file, "link %zu of the plan has a bandwidth of %g bit/s: nothing gets through",
                       k, link->bandwidth);
    }
    if (!(link->latency >= 0 && isfinite(link->latency))) {
        return qn_fail(err, QN_EINVAL, file, "link %zu of the plan has a latency of %g s", k, link->latency);
    }
    for (size_t c = 0; c < link->n_choices; c++) {
        char text[QN_LINK_CHOICE_MAX];
        int64_t bytes;
        qn_error reason;
        qn_error_init(&reason);
        const qn_status status =
            qn_plan_message_bytes(&bytes, cuts, position, &link->choices[c], plan->microbatch, &reason);
        if (status != QN_OK) {
            qn_link_choice_text(text, &link->choices[c]);
            return qn_fail(err, status, file, "link %zu of the plan, %s behind '%s': %s", k, text,
                           qn_cuts_at(cuts, position)->name, reason.message);
        }
        *most = bytes > *most ? bytes : *most;
    }
    return QN_OK;
}

static qn_status check_memory(const qn_plan *plan, size_t k, const qn_cuts *cuts, const size_t *positions,
                              int64_t taken, int64_t given, qn_error *err)
{
    const qn_plan_stage *stage = &plan->stages[k];
    if (stage->memory == 0) {
        return QN_OK;
    }
    const qn_cut_span span = qn_cuts_span(cuts, positions[k], positions[k + 1]);
    const int64_t needed = qn_plan_stage_bytes(span, plan->microbatch, taken, given);
    if (needed <= stage->memory) {
        return QN_OK;
    }
    return qn_fail(err, QN_EINVAL, qn_cuts_model(cuts)->graph.file,
                   "stage %zu of the plan needs %lld bytes (weights %lld, activations %lld of each of %lld items, two "
                   "messages each way), and %s%s has %lld: %lld too few; cut elsewhere, or take a smaller microbatch",
                   k, (long long)needed, (long long)span.weight_bytes, (long long)span.activation_bytes,
                   (long long)plan->microbatch, stage->device != NULL ? "device " : "its device",
                   stage->device != NULL ? stage->device : "", (long long)stage->memory,
                   (long long)(needed - stage->memory));
}

qn_status qn_plan_check(size_t *positions, const qn_plan *plan, const qn_cuts *cuts, qn_error *err)
{
    qn_policy_kind kind;
    QN_TRY(check_model(plan, cuts, err));
    QN_TRY(check_positions(positions, plan, cuts, err));
    int64_t taken = 0;
    for (size_t k = 0; k < plan->n_stages; k++) {
        int64_t given = 0;
        if (k + 1 < plan->n_stages) {
            QN_TRY(check_link(&given, plan, k, cuts, positions[k + 1], err));
        }
        QN_TRY(check_memory(plan, k, cuts, positions, taken, given, err));
        taken = given;
    }
    return plan->policy[0] != '\0' ? qn_policy_kind_parse(&kind, plan->policy, err) : QN_OK;
}

static qn_status give_choice(qn_plan_link *link, qn_arena *arena, const qn_link_choice *choice, qn_error *err)
{
    link->choices = qn_arena_alloc(arena, sizeof *link->choices);
    if (link->choices == NULL) {
        return qn_fail_memory(err, NULL, sizeof *link->choices);
    }
    link->n_choices = 1;
    link->checksum = true;
    link->bandwidth = (double)NAN;
    *link->choices =
        choice != NULL ? *choice : (qn_link_choice){.format = "codes", .loss = (double)NAN, .sqnr_db = (double)NAN};
    link->choices->format = qn_arena_string(arena, link->choices->format);
    return link->choices->format != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
}

/* Where stages can part, the nearest to each share, leaving one for each stage to come. */
static void place_evenly(qn_plan *plan, const qn_cuts *cuts, const size_t *places, size_t n_places,
                         const int64_t *before)
{
    const double whole = (double)before[qn_cuts_last(cuts)];
    size_t next = 0;
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        const double wanted = whole * (double)(k + 1) / (double)plan->n_stages;
        const size_t end = n_places - (plan->n_stages - 2 - k);
        size_t best = next;
        for (size_t i = next; i < end; i++) {
            if (fabs((double)before[places[i]] - wanted) < fabs((double)before[places[best]] - wanted)) {
                best = i;
            }
        }
        plan->stages[k].until = qn_cuts_at(cuts, places[best])->name;
        next = best + 1;
    }
}

static qn_status fill_even(qn_plan *plan, qn_arena *arena, const qn_cuts *cuts, const qn_link_choice *choice,
                           qn_error *err)
{
    const qn_graph *g = &qn_cuts_model(cuts)->graph;
    const size_t last = qn_cuts_last(cuts);
    size_t n_places = 0;
    size_t *places = qn_arena_array(arena, last + 1, sizeof *places);
    int64_t *before = qn_arena_array(arena, last + 1, sizeof *before);
    plan->model = qn_arena_string(arena, g->file);
    plan->sha256 = qn_arena_string(arena, g->sha256);
    if (places == NULL || before == NULL || plan->model == NULL || plan->sha256 == NULL) {
        return qn_fail_memory(err, g->file, last * sizeof *before);
    }
    for (size_t p = 1; p <= last; p++) {
        before[p] = before[p - 1] + qn_node_macs(&cuts->binding, &g->nodes[cuts->order[p - 1]]);
        if (p < last && qn_cuts_at(cuts, p)->reason == NULL) {
            places[n_places++] = p;
        }
    }
    if (plan->n_stages == 0 || plan->n_stages > n_places + 1 || plan->n_stages > QN_PLAN_MAX_STAGES) {
        return qn_fail(err, QN_EINVAL, g->file,
                       "%zu stages; the network has %zu places where stages can part, so that "
                       "there are 1 to %zu",
                       plan->n_stages, n_places, n_places < QN_PLAN_MAX_STAGES ? n_places + 1 : QN_PLAN_MAX_STAGES);
    }
    plan->stages = qn_arena_array(arena, plan->n_stages, sizeof *plan->stages);
    plan->links = qn_arena_array(arena, plan->n_stages, sizeof *plan->links);
    if (plan->stages == NULL || plan->links == NULL) {
        return qn_fail_memory(err, g->file, plan->n_stages * sizeof *plan->links);
    }
    place_evenly(plan, cuts, places, n_places, before);
    for (size_t k = 0; k < plan->n_stages; k++) {
        qn_plan_stage *stage = &plan->stages[k];
        stage->seconds_per_item = (double)NAN;
        if (k + 1 < plan->n_stages) {
            stage->until = qn_arena_string(arena, stage->until);
            if (stage->until == NULL) {
                return qn_fail_memory(err, g->file, 0);
            }
            QN_TRY(give_choice(&plan->links[k], arena, choice, err));
        }
    }
    return QN_OK;
}

qn_status qn_plan_even(qn_plan *plan, const qn_cuts *cuts, size_t n_stages, int64_t microbatch,
                       const qn_link_choice *choice, qn_error *err)
{
    qn_arena *arena;
    QN_TRY(qn_plan_new(plan, &arena, err));
    plan->engine = qn_cuts_engine(cuts);
    plan->engine_given = true;
    plan->microbatch = microbatch;
    plan->n_stages = n_stages;
    qn_status status = check_model(plan, cuts, err);
    status = status == QN_OK ? fill_even(plan, arena, cuts, choice, err) : status;
    if (status != QN_OK) {
        qn_plan_free(plan);
    }
    return status;
}
