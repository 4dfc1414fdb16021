/* From networks, devices and links to numbers. */
#include "link/partition_problem.h"

#include <math.h>
#include <string.h>

#include "link/link.h"
#include "link/plan.h"

static const double picoseconds = 1e12, longest = 1e4; /* seconds */

/* Whole picoseconds, at most 10^16; sums of them stay within int64. */
static qn_status to_picoseconds(int64_t *time, double seconds, const char *what, const char *name, qn_error *err)
{
    if (!(seconds >= 0 && seconds <= longest)) {
        return qn_fail(err, QN_EINVAL, NULL, "%s '%s' takes %g s; times of more than %g s are not planned with", what,
                       name, seconds, longest);
    }
    *time = llround(seconds * picoseconds);
    return QN_OK;
}

/* In which a message occupies a link: not its latency. */
static double link_seconds(const qn_device_link *link, int64_t bytes)
{
    return 8.0 * (double)bytes / link->bandwidth;
}

const qn_device_link *qn_part_setup_link(const qn_part_setup *setup, size_t sender, size_t receiver)
{
    const qn_device_type *types = setup->options->devices->types;
    return qn_device_links_find(setup->options->links, types[sender].name, types[receiver].name);
}

const qn_device_link *qn_part_setup_first(const qn_part_setup *setup, size_t type)
{
    const qn_devices *devices = setup->options->devices;
    return qn_device_links_find(setup->options->links, devices->data, devices->types[type].name);
}

const qn_device_link *qn_part_setup_last(const qn_part_setup *setup, size_t type)
{
    const qn_devices *devices = setup->options->devices;
    return qn_device_links_find(setup->options->links, devices->types[type].name, devices->results);
}

static int type_named(const qn_devices *devices, const char *name)
{
    for (size_t t = 0; name != NULL && t < devices->n_types; t++) {
        if (strcmp(devices->types[t].name, name) == 0) {
            return (int)t;
        }
    }
    return -1;
}

static qn_status check_options(const qn_part_setup *s, qn_error *err)
{
    const qn_partition_options *o = s->options;
    const qn_devices *devices = o->devices;
    if (o->microbatch < 1 || o->microbatch > QN_PLAN_MAX_MICROBATCH) {
        return qn_fail(err, QN_EINVAL, NULL, "a microbatch of %lld; it is 1 to %d", (long long)o->microbatch,
                       QN_PLAN_MAX_MICROBATCH);
    }
    QN_TRY(qn_cuts_check_items(s->cuts, err));
    if (o->microbatch > 1 && !qn_cuts_batched(s->cuts)) {
        return qn_fail(
            err, QN_EINVAL, s->cuts->model->graph.file,
            "what crosses in this network does not lead with the items of a batch, so that stages take one item "
            "at a time; the microbatch is 1");
    }
    if (!isnan(o->accuracy_drop) && !(o->accuracy_drop >= 0 && o->accuracy_drop <= 1)) {
        return qn_fail(err, QN_EINVAL, NULL, "an accuracy drop of %g; it is a fraction from 0 to 1", o->accuracy_drop);
    }
    for (size_t t = 0; t < devices->n_types; t++) {
        if (isnan(devices->types[t].macs_per_second) && (o->profiles == NULL || o->profiles[t] == NULL)) {
            return qn_fail(
                err, QN_EINVAL, NULL,
                "nobody says how fast '%s' is: give it macs_per_second, or a profile, which 'quern cuts MODEL "
                "--times -o FILE' takes there",
                devices->types[t].name);
        }
    }
    for (size_t i = 0; i < o->links->n_links; i++) {
        const char *ends[] = {o->links->links[i].from, o->links->links[i].to};
        for (int k = 0; k < 2 && ends[k] != NULL; k++) {
            const bool is_end = (devices->data != NULL && strcmp(ends[k], devices->data) == 0) ||
                                (devices->results != NULL && strcmp(ends[k], devices->results) == 0);
            if (type_named(devices, ends[k]) < 0 && !is_end) {
                return qn_fail(
                    err, QN_EINVAL, NULL,
                    "a link of '%s', which is no type of the devices, nor where data or results are: name one of "
                    "these in the file of links, or that type in the file of devices",
                    ends[k]);
            }
        }
    }
    return QN_OK;
}

static qn_status find_places(qn_part_setup *s, qn_error *err)
{
    const size_t last = qn_cuts_last(s->cuts);
    size_t n = 0;
    s->place = qn_arena_array(&s->arena, last + 1, sizeof *s->place);
    if (s->place == NULL) {
        return qn_fail_memory(err, NULL, last * sizeof *s->place);
    }
    for (size_t p = 0; p <= last; p++) {
        if (p == 0 || p == last || qn_cuts_at(s->cuts, p)->reason == NULL) {
            s->place[n++] = p;
        }
    }
    if (n < 2 || n > QN_PART_MAX_PLACES) {
        return qn_fail(err, QN_ELIMIT, s->cuts->model->graph.file,
                       "%zu places to part stages; planned is with up to %d", n, QN_PART_MAX_PLACES);
    }
    if (s->options->max_stages > n - 1) {
        return qn_fail(err, QN_EINVAL, s->cuts->model->graph.file,
                       "%zu stages; the network has %zu places where stages can part: at most %zu stages",
                       s->options->max_stages, n - 2, n - 1);
    }
    s->problem.n_places = n;
    return QN_OK;
}

/* Does nothing get lost in a choice? */
static bool is_exact(const qn_part_setup *s, size_t position, const qn_link_choice *choice)
{
    const qn_cut *cut = qn_cuts_at(s->cuts, position);
    if (strcmp(choice->format, "fp32") == 0) {
        return true;
    }
    bool coded = false;
    for (size_t i = 0; i < cut->n_tensors; i++) {
        coded = coded || cut->tensors[i].coded;
    }
    return strcmp(choice->format, "codes") == 0 && (!coded || s->cuts->engine != QN_ENGINE_FLOAT);
}

/* Bytes and losses of all choices at a place; -1 bytes: it cannot be. */
static qn_status fill_choices(qn_part_setup *s, size_t i, qn_error *err)
{
    const qn_cut_losses *losses = s->options->losses;
    for (size_t c = 0; c < losses->n_choices; c++) {
        const size_t at = i * losses->n_choices + c, measured = s->place[i] * losses->n_choices + c;
        qn_error ignored;
        qn_error_init(&ignored);
        const qn_status status = qn_plan_message_bytes(&s->bytes[at], s->cuts, s->place[i], &losses->choices[c],
                                                       s->options->microbatch, &ignored);
        if (status == QN_ENOMEM) {
            return qn_fail_memory(err, NULL, 0);
        }
        double loss = s->real_loss && losses->losses != NULL ? losses->losses[measured] : 0;
        if (s->real_loss && isnan(loss) && is_exact(s, s->place[i], &losses->choices[c])) {
            loss = 0;
        }
        if (status != QN_OK || isnan(loss)) {
            s->bytes[at] = -1;
            continue;
        }
        const int32_t least = is_exact(s, s->place[i], &losses->choices[c]) ? 0 : 1; /* a tie goes to what is exact */
        s->losses[at] = (int32_t)llround((loss > 0 ? loss : 0) * QN_PART_LOSS_ONE);
        s->losses[at] = s->losses[at] > least ? s->losses[at] : least;
        s->largest[i] = s->bytes[at] > s->largest[i] ? s->bytes[at] : s->largest[i];
    }
    for (size_t c = 0; c < losses->n_choices && !s->real_loss; c++) {
        const size_t at = i * losses->n_choices + c; /* the fewer bytes, the more may be lost */
        s->losses[at] = s->bytes[at] < 0
                            ? 0
                            : (int32_t)(100000 - llround(1e5 * (double)s->bytes[at] / (double)(s->largest[i] + 1)));
    }
    return QN_OK;
}

static qn_status fill_times(qn_part_setup *s, size_t i, qn_error *err)
{
    const size_t n_types = s->problem.n_types, n_choices = s->problem.n_choices;
    for (size_t c = 0; c < n_choices; c++) {
        const size_t at = i * n_choices + c;
        for (size_t k = 0; k < n_types * n_types; k++) {
            const qn_device_link *link = qn_part_setup_link(s, k / n_types, k % n_types);
            int64_t *time = &s->times[at * n_types * n_types + k];
            *time = QN_PART_NONE;
            if (link != NULL && s->bytes[at] >= 0) {
                QN_TRY(to_picoseconds(time, link_seconds(link, s->bytes[at]), "a link behind",
                                      qn_cuts_at(s->cuts, s->place[i])->name, err));
            }
        }
    }
    return QN_OK;
}

static qn_status fill_delays(qn_part_setup *s, qn_error *err)
{
    const size_t n = s->problem.n_types;
    for (size_t k = 0; k < n * n; k++) {
        const qn_device_link *link = qn_part_setup_link(s, k / n, k % n);
        if (link != NULL) {
            QN_TRY(to_picoseconds(&s->delays[k], link->latency, "the latency of a link from",
                                  s->options->devices->types[k / n].name, err));
        }
    }
    return QN_OK;
}

static qn_status allocate(qn_part_setup *s, qn_error *err)
{
    const size_t n = s->problem.n_places, n_types = s->options->devices->n_types;
    const size_t n_choices = s->options->losses->n_choices;
    s->types = qn_arena_array(&s->arena, n_types, sizeof *s->types);
    s->largest = qn_arena_array(&s->arena, n, sizeof *s->largest);
    s->needs = qn_arena_array(&s->arena, n * n, sizeof *s->needs);
    s->bytes = qn_arena_array(&s->arena, n * n_choices, sizeof *s->bytes);
    s->losses = qn_arena_array(&s->arena, n * n_choices, sizeof *s->losses);
    s->times = qn_arena_array(&s->arena, n * n_choices * n_types * n_types, sizeof *s->times);
    s->delays = qn_arena_array(&s->arena, n_types * n_types, sizeof *s->delays);
    s->shared = qn_arena_array(&s->arena, n_types * n_types, sizeof *s->shared);
    if (s->types == NULL || s->largest == NULL || s->needs == NULL || s->bytes == NULL || s->losses == NULL ||
        s->times == NULL || s->delays == NULL || s->shared == NULL) {
        return qn_fail_memory(err, NULL, n * n * sizeof *s->needs);
    }
    s->problem.n_types = n_types;
    s->problem.n_choices = n_choices;
    s->problem.types = s->types;
    s->problem.needs = s->needs;
    s->problem.bytes = s->bytes;
    s->problem.losses = s->losses;
    s->problem.times = s->times;
    s->problem.delays = s->delays;
    return QN_OK;
}

static double values_at(const qn_cuts *cuts, size_t position)
{
    const qn_cut *cut = qn_cuts_at(cuts, position);
    double n = 0;
    for (size_t i = 0; i < cut->n_tensors; i++) {
        n += (double)cut->tensors[i].count;
    }
    return n;
}

static qn_status fill_type(qn_part_setup *s, size_t t, qn_error *err)
{
    const qn_partition_options *o = s->options;
    const qn_device_type *type = &o->devices->types[t];
    const size_t n = s->problem.n_places;
    const double items = (double)o->microbatch;
    int64_t *before = qn_arena_array(&s->arena, n, sizeof *before);
    int64_t *codec = qn_arena_array(&s->arena, n, sizeof *codec);
    if (before == NULL || codec == NULL) {
        return qn_fail_memory(err, NULL, n * sizeof *before);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t p = s->place[i];
        const bool is_end = i == 0 || i + 1 == n;
        const bool crosses = !is_end || (i == 0 ? o->devices->data : o->devices->results) != NULL;
        const double seconds = isnan(type->macs_per_second) ? o->profiles[t]->seconds_before[p] / type->speed
                                                            : (double)s->rows.macs[p] / type->macs_per_second;
        QN_TRY(to_picoseconds(&before[i], items * seconds, "all of the network on", type->name, err));
        if (crosses && !isnan(type->codec)) {
            QN_TRY(to_picoseconds(&codec[i], items * 4 * values_at(s->cuts, p) / type->codec, "a message on",
                                  type->name, err));
        }
    }
    s->types[t] = (qn_part_type){
        .count = type->count, .memory = type->memory > 0 ? type->memory : INT64_MAX, .before = before, .codec = codec};
    return QN_OK;
}

/* A transfer at an end; there may be no link for it. */
static qn_status fill_end(int64_t *time, int64_t *delay, const qn_device_link *link, int64_t bytes, const char *what,
                          const char *name, qn_error *err)
{
    *time = QN_PART_NONE;
    *delay = 0;
    if (link != NULL) {
        QN_TRY(to_picoseconds(time, link_seconds(link, bytes), what, name, err));
        QN_TRY(to_picoseconds(delay, link->latency, what, name, err));
    }
    return QN_OK;
}

/* Transfers at the ends, which lose nothing: codes, and results as pipelines send them. */
static qn_status fill_ends(qn_part_setup *s, qn_error *err)
{
    const qn_partition_options *o = s->options;
    const qn_devices *devices = o->devices;
    const qn_link_choice codes = {.format = "codes"}, raw = {.format = qn_link_raw_name};
    const int at_data = type_named(devices, devices->data), at_results = type_named(devices, devices->results);
    QN_TRY(qn_plan_message_bytes(&s->first_bytes, s->cuts, 0, &codes, o->microbatch, err));
    QN_TRY(qn_plan_message_bytes(&s->last_bytes, s->cuts, qn_cuts_last(s->cuts), &raw, o->microbatch, err));
    for (size_t t = 0; t < devices->n_types; t++) {
        qn_part_type *type = &s->types[t];
        if (devices->data != NULL && at_data != (int)t) {
            QN_TRY(fill_end(&type->start, &type->start_delay, qn_part_setup_first(s, t), s->first_bytes,
                            "the first transfer to", devices->types[t].name, err));
        }
        if (devices->results != NULL && at_results != (int)t) {
            QN_TRY(fill_end(&type->end, &type->end_delay, qn_part_setup_last(s, t), s->last_bytes,
                            "the last transfer from", devices->types[t].name, err));
        }
    }
    s->same_end = at_data >= 0 && at_data == at_results ? at_data : -1;
    return QN_OK;
}

/* The one medium that several links share: of a link that is alone on its medium the name says nothing. */
static qn_status find_medium(qn_part_setup *s, qn_error *err)
{
    const size_t n = s->problem.n_types;
    const qn_devices *devices = s->options->devices;
    for (size_t k = 0; !s->options->latency && k < n * n + 2 * n; k++) { /* one micro-batch has it for itself */
        const size_t t = (k - n * n) % n;
        const qn_device_link *link = k < n * n ? qn_part_setup_link(s, k / n, k % n) : NULL;
        if (k >= n * n && k < n * n + n) {
            link = devices->data != NULL ? qn_part_setup_first(s, t) : NULL;
        } else if (k >= n * n + n) {
            link = devices->results != NULL ? qn_part_setup_last(s, t) : NULL;
        }
        if (link == NULL || link->medium == NULL) {
            continue;
        }
        if (s->medium != NULL && strcmp(s->medium, link->medium) != 0) {
            return qn_fail(
                err, QN_EUNSUPPORTED, NULL,
                "two shared media, '%s' and '%s': plans are made with one at most; leave out 'medium' of the "
                "links that have room to spare",
                s->medium, link->medium);
        }
        s->medium = link->medium;
        if (k < n * n) {
            s->shared[k] = true;
        } else if (k < n * n + n) {
            s->types[t].start_shared = true;
        } else {
            s->types[t].end_shared = true;
        }
    }
    s->problem.shared = s->medium != NULL ? s->shared : NULL;
    return QN_OK;
}

static bool losses_are_real(const qn_part_setup *s)
{
    const qn_cut_losses *losses = s->options->losses;
    for (size_t c = 0; c < losses->n_choices && losses->losses == NULL; c++) {
        for (size_t i = 1; i + 1 < s->problem.n_places; i++) {
            if (!is_exact(s, s->place[i], &losses->choices[c])) {
                return false;
            }
        }
    }
    return true; /* measured, or nothing is lost */
}

static qn_status fill_needs(qn_part_setup *s)
{
    const size_t n = s->problem.n_places;
    for (size_t i = 0; i + 1 < n; i++) {
        qn_cut_row(&s->rows, s->place[i]);
        for (size_t j = i + 1; j < n; j++) {
            const size_t p = s->place[j];
            const qn_cut_span span = {.weight_bytes = s->rows.weights[p], .activation_bytes = s->rows.activations[p]};
            s->needs[i * n + j] = qn_plan_stage_bytes(span, s->options->microbatch, s->largest[i], s->largest[j]);
        }
    }
    return QN_OK;
}

qn_status qn_part_setup_make(qn_part_setup *s, const qn_cuts *cuts, const qn_partition_options *options, qn_error *err)
{
    *s = (qn_part_setup){.cuts = cuts, .options = options, .same_end = -1};
    QN_TRY(check_options(s, err));
    QN_TRY(find_places(s, err));
    QN_TRY(allocate(s, err));
    QN_TRY(qn_cut_rows_make(&s->rows, &s->arena, cuts, err));
    s->real_loss = losses_are_real(s);
    if (!s->real_loss && !isnan(options->accuracy_drop)) {
        return qn_fail(
            err, QN_EINVAL, NULL,
            "nobody knows what the formats of links cost in accuracy, so that no drop can be kept: give --cuts "
            "FILE ('quern cuts MODEL --data X --labels Y -o FILE') or --data X --labels Y");
    }
    for (size_t i = 1; i + 1 < s->problem.n_places; i++) {
        QN_TRY(fill_choices(s, i, err));
        QN_TRY(fill_times(s, i, err));
    }
    QN_TRY(fill_delays(s, err));
    for (size_t k = 0; k < s->problem.n_choices * s->problem.n_types * s->problem.n_types; k++) {
        s->times[k] = QN_PART_NONE; /* the ends are no links between stages */
        s->times[(s->problem.n_places - 1) * s->problem.n_choices * s->problem.n_types * s->problem.n_types + k] =
            QN_PART_NONE;
    }
    for (size_t t = 0; t < s->problem.n_types; t++) {
        QN_TRY(fill_type(s, t, err));
    }
    QN_TRY(fill_ends(s, err));
    QN_TRY(find_medium(s, err));
    s->problem.max_stages = options->max_stages > 0 ? options->max_stages : QN_PART_MAX_STAGES;
    /* What breaks ties is no loss: a budget of 0 has room for formats that lose nothing. */
    const double budget = isnan(options->accuracy_drop) ? 1 : options->accuracy_drop;
    s->problem.budget = (int32_t)llround(budget * (QN_PART_LOSS_ONE - QN_PART_MAX_STAGES)) + QN_PART_MAX_STAGES;
    s->problem.latency = options->latency;
    return fill_needs(s);
}

void qn_part_setup_free(qn_part_setup *s)
{
    qn_arena_free(&s->arena);
}

static qn_status solve_with(qn_part_plan *best, qn_part_type ends[2], qn_part_problem *p, qn_part_type *types,
                            qn_error *err)
{
    qn_part_plan plan;
    p->types = types;
    QN_TRY(qn_part_solve(&plan, p, err));
    if (qn_part_is_better(p, &plan, best)) {
        *best = plan;
        ends[0] = types[plan.type[0]];
        ends[1] = types[plan.type[plan.n_stages - 1]];
    }
    return QN_OK;
}

/* One device has the data and wants the results: it can be the first or the last of several stages, or the only one. */
qn_status qn_part_setup_solve(qn_part_plan *plan, qn_part_type ends[2], qn_part_setup *s, qn_error *err)
{
    qn_part_type types[QN_PART_MAX_TYPES];
    qn_part_problem p = s->problem;
    plan->n_stages = 0;
    ends[0] = ends[1] = (qn_part_type){0};
    memcpy(types, s->types, p.n_types * sizeof *types);
    if (s->same_end < 0) {
        return solve_with(plan, ends, &p, types, err);
    }
    const size_t at = (size_t)s->same_end;
    const qn_device_link *link = qn_part_setup_link(s, at, at);
    qn_part_type with_first = types[at], with_last = types[at];
    const char *name = s->options->devices->types[at].name;
    QN_TRY(
        fill_end(&with_first.start, &with_first.start_delay, link, s->first_bytes, "the first transfer to", name, err));
    QN_TRY(fill_end(&with_last.end, &with_last.end_delay, link, s->last_bytes, "the last transfer from", name, err));
    p.max_stages = 1;
    QN_TRY(solve_with(plan, ends, &p, types, err));
    p.max_stages = s->problem.max_stages;
    types[at] = with_last;
    QN_TRY(solve_with(plan, ends, &p, types, err));
    types[at] = with_first;
    return solve_with(plan, ends, &p, types, err);
}
