#include "link/policy.h"

#include <math.h>
#include <string.h>

#include "base/names.h"

static const char *const kind_texts[] = {
#define KIND_TEXT(name, value, text, what) [name] = text,
    QN_POLICY_LIST(KIND_TEXT)
#undef KIND_TEXT
};
static const char *const kind_abouts[] = {
#define KIND_ABOUT(name, value, text, what) [name] = what,
    QN_POLICY_LIST(KIND_ABOUT)
#undef KIND_ABOUT
};
enum { N_KINDS = sizeof kind_texts / sizeof kind_texts[0] };

const char *qn_policy_kind_text(qn_policy_kind kind)
{
    return (unsigned)kind < N_KINDS ? kind_texts[kind] : NULL;
}

const char *qn_policy_kind_about(qn_policy_kind kind)
{
    return (unsigned)kind < N_KINDS ? kind_abouts[kind] : NULL;
}

qn_status qn_policy_kind_parse(qn_policy_kind *kind, const char *text, qn_error *err)
{
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(text, kind_texts[i]) == 0) {
            *kind = (qn_policy_kind)i;
            return QN_OK;
        }
    }
    char list[256];
    qn_list_names(list, sizeof list, kind_texts, N_KINDS);
    return qn_fail(err, QN_EINVAL, NULL, "'%s' is no policy; there are %s; nearest is %s", text, list,
                   kind_texts[qn_nearest_name(text, kind_texts, N_KINDS)]);
}

const char *qn_plan_flag_text(unsigned flag)
{
    switch (flag) {
#define FLAG_TEXT(name, bit, text)                                                                                     \
    case name:                                                                                                         \
        return text;
        QN_PLAN_FLAG_LIST(FLAG_TEXT)
#undef FLAG_TEXT
    default:
        return "not a flag of plans";
    }
}

void qn_policy_options_init(qn_policy_options *options)
{
    *options = (qn_policy_options){.struct_size = sizeof *options,
                                   .name = kind_texts[QN_POLICY_QUERN],
                                   .window = 10,
                                   .items = 1,
                                   .accuracy_budget = NAN,
                                   .reserve = 0.1};
}

double qn_policy_bandwidth(const qn_policy_member *link)
{
    return link->last.bytes / link->last.seconds;
}

/* What goes with the parts: loss, and the rate where the link has its bandwidth for itself. */
static void describe(qn_policy_plan *plan, const qn_policy *p, const qn_policy_member *link)
{
    const double window = (double)p->options.window;
    double bytes = 0, loss = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const qn_policy_choice *choice = &link->about.choices[plan->parts[i].choice];
        bytes += (double)plan->parts[i].n_microbatches * (double)choice->bytes;
        loss += (double)plan->parts[i].n_microbatches * choice->loss;
    }
    plan->loss = loss / window;
    plan->bandwidth = link->last.messages > 0 ? qn_policy_bandwidth(link) : NAN;
    plan->rate = window * (double)p->options.items / (bytes / plan->bandwidth + window * link->about.latency);
    plan->flags = isnan(plan->bandwidth) ? QN_PLAN_UNMEASURED : 0;
    plan->flags |= plan->rate < p->options.target_rate * (1 - 1e-9) ? QN_PLAN_RATE_MISSED : 0;
}

void qn_policy_plan_two(qn_policy_plan *plan, const qn_policy *p, const qn_policy_member *link, int a, int b, int64_t n)
{
    const int64_t window = p->options.window;
    if (n <= 0 || n >= window || a == b) {
        *plan = (qn_policy_plan){.n_parts = 1, .parts = {{n <= 0 ? b : a, window}}};
    } else {
        *plan = (qn_policy_plan){.n_parts = 2, .parts = {{a, n}, {b, window - n}}};
    }
    describe(plan, p, link);
}

void qn_policy_plan_one(qn_policy_plan *plan, const qn_policy *p, const qn_policy_member *link, int choice)
{
    qn_policy_plan_two(plan, p, link, choice, choice, p->options.window);
}

/* Links, choices and names, in the policy's own memory; false when that does not suffice. */
static bool copy_links(qn_policy *p, const qn_policy_link *links)
{
    p->links = qn_arena_array(&p->arena, (size_t)p->n_links, sizeof *p->links);
    for (int l = 0; p->links != NULL && l < p->n_links; l++) {
        qn_policy_link *to = &p->links[l].about;
        *to = links[l];
        const size_t n = (size_t)to->n_choices;
        qn_policy_choice *choices = qn_arena_array(&p->arena, n, sizeof *choices);
        to->name = qn_arena_string(&p->arena, links[l].name);
        to->medium = links[l].medium != NULL ? qn_arena_string(&p->arena, links[l].medium) : NULL;
        if (choices == NULL || to->name == NULL || (links[l].medium != NULL && to->medium == NULL)) {
            return false;
        }
        for (size_t k = 0; k < n; k++) {
            choices[k] = links[l].choices[k];
            if (choices[k].loss < 0) { /* chance: what a measured loss differs from none by */
                choices[k].loss = 0;
            }
            choices[k].format = qn_arena_string(&p->arena, links[l].choices[k].format);
            if (choices[k].format == NULL) {
                return false;
            }
        }
        to->choices = choices;
    }
    return p->links != NULL;
}

/* Links of one medium's name are together; a link without has a medium of its own. */
static bool find_media(qn_policy *p)
{
    p->media = qn_arena_array(&p->arena, (size_t)p->n_links, sizeof *p->media);
    for (int l = 0; p->media != NULL && l < p->n_links; l++) {
        const char *name = p->links[l].about.medium;
        int first = name != NULL ? 0 : l;
        while (first < l && (p->links[first].about.medium == NULL || strcmp(p->links[first].about.medium, name) != 0)) {
            first++;
        }
        p->links[l].medium = first < l ? p->links[first].medium : p->n_media++;
        p->media[p->links[l].medium].n_links++;
    }
    for (int m = 0; p->media != NULL && m < p->n_media; m++) {
        qn_policy_medium *medium = &p->media[m];
        const size_t n = (size_t)medium->n_links;
        medium->links = qn_arena_array(&p->arena, n, sizeof *medium->links);
        medium->chosen = qn_arena_array(&p->arena, n, sizeof *medium->chosen);
        if (medium->links == NULL || medium->chosen == NULL) {
            return false;
        }
        for (int l = 0, k = 0; l < p->n_links; l++) {
            if (p->links[l].medium == m) {
                medium->links[k++] = l;
            }
        }
    }
    return p->media != NULL;
}

static qn_status fill(qn_policy *p, const qn_policy_link *links, qn_error *err)
{
    p->options.name = kind_texts[p->kind];
    if (!copy_links(p, links) || !find_media(p)) {
        return qn_fail_memory(err, "policy of links", 0);
    }
    for (int l = 0; l < p->n_links; l++) {
        qn_policy_member *link = &p->links[l];
        link->current = -1;
        qn_policy_plan_one(&link->plan, p, link, link->about.start);
        if (p->kind == QN_POLICY_CONTROLLER) {
            qn_policy_controller_start(&link->controller, &link->about, p->options.target_rate);
        }
        if (link->about.bandwidth > 0) {
            link->history[link->n_history++] = link->about.bandwidth;
            link->busy = 1;
            p->stale = true;
        }
    }
    return p->kind == QN_POLICY_QUERN ? qn_policy_make_plans(p, err) : QN_OK;
}

qn_status qn_policy_create(qn_policy **policy, const qn_policy_options *options, const qn_policy_link *links,
                           int n_links, qn_error *err)
{
    *policy = NULL;
    qn_policy_kind kind;
    QN_TRY(qn_policy_check(&kind, options, links, n_links, err));
    qn_policy *p = qn_alloc(sizeof *p);
    if (p == NULL) {
        return qn_fail_memory(err, "policy of links", sizeof *p);
    }
    p->options = *options;
    p->kind = kind;
    p->n_links = n_links;
    const qn_status status = fill(p, links, err);
    if (status != QN_OK) {
        qn_policy_free(p);
        return status;
    }
    *policy = p;
    return QN_OK;
}

void qn_policy_free(qn_policy *policy)
{
    if (policy != NULL) {
        qn_arena_free(&policy->arena);
        qn_free(policy);
    }
}

qn_policy_kind qn_policy_kind_of(const qn_policy *policy)
{
    return policy->kind;
}

/* Can it have been? */
static bool is_possible(const qn_policy_measure *m)
{
    const double bandwidth = m->bytes / m->seconds;
    if (m->messages < 1 || m->items < 1 || !(m->bytes > 0) || !(m->seconds > 0) || !isfinite(m->bytes) ||
        !isfinite(m->seconds) || !isfinite(bandwidth) || !(bandwidth > 0) || !(m->elapsed >= 0) ||
        !isfinite(m->elapsed)) {
        return false;
    }
    return m->elapsed == 0 || m->seconds <= m->elapsed * (double)m->messages * (1 + 1e-9);
}

static qn_status find_link(qn_policy_member **found, qn_policy *policy, int link, qn_error *err)
{
    if (link < 0 || link >= policy->n_links) {
        return qn_fail(err, QN_EINVAL, "policy of links", "link %d is not one of %d", link, policy->n_links);
    }
    *found = &policy->links[link];
    return QN_OK;
}

qn_status qn_policy_observe(qn_policy *policy, int link, const qn_policy_measure *window, qn_error *err)
{
    qn_policy_member *member = NULL;
    QN_TRY(find_link(&member, policy, link, err));
    /* What latency takes is no bandwidth. */
    qn_policy_measure taken = *window;
    if (policy->kind == QN_POLICY_QUERN) {
        taken.seconds -= (double)taken.messages * member->about.latency;
    }
    member->ignored = !is_possible(window) || !is_possible(&taken);
    if (member->ignored) {
        return QN_OK;
    }
    member->last = taken;
    memmove(member->history + 1, member->history, (QN_POLICY_HISTORY - 1) * sizeof member->history[0]);
    member->history[0] = qn_policy_bandwidth(member);
    member->n_history += member->n_history < QN_POLICY_HISTORY;
    member->busy = taken.elapsed > 0 ? taken.seconds / taken.elapsed : 1;
    policy->stale = true;
    if (policy->kind != QN_POLICY_QUERN) {
        qn_policy_plan_pipeedge(policy, member);
    }
    return QN_OK;
}

qn_status qn_policy_plan_next(qn_policy *policy, int link, qn_policy_plan *plan, qn_error *err)
{
    qn_policy_member *member = NULL;
    QN_TRY(find_link(&member, policy, link, err));
    if (policy->kind == QN_POLICY_QUERN && policy->stale) {
        QN_TRY(qn_policy_decide(policy, err));
        policy->stale = false;
    }
    *plan = member->plan;
    plan->flags |= member->ignored ? QN_PLAN_IGNORED : 0;
    return QN_OK;
}

qn_status qn_policy_next(qn_policy *policy, int link, const qn_policy_measure *window, qn_policy_plan *plan,
                         qn_error *err)
{
    QN_TRY(qn_policy_observe(policy, link, window, err));
    return qn_policy_plan_next(policy, link, plan, err);
}

int qn_policy_choice_at(const qn_policy_plan *plan, int64_t k)
{
    if (plan->n_parts == 1) {
        return plan->parts[0].choice;
    }
    const int64_t first = plan->parts[0].n_microbatches, window = first + plan->parts[1].n_microbatches;
    k = k < 0 ? 0 : k % window;
    const bool is_first = plan->spread ? (k + 1) * first / window > k * first / window : k < first;
    return plan->parts[is_first ? 0 : 1].choice;
}
