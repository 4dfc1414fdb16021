#include "cli/pipeline_policy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/ranks.h"

enum { DEFAULT_WINDOW = 10 };

cli_exit cli_pipeline_policy(const cli_args *args, qn_plan *plan)
{
    const char *policy = cli_value(args, "policy"), *rate = cli_value(args, "rate");
    const char *window = cli_value(args, "window"), *drop = cli_value(args, "accuracy-drop");
    qn_error err;
    qn_error_init(&err);
    if (policy != NULL) {
        qn_policy_kind kind;
        if (qn_policy_kind_parse(&kind, policy, &err) != QN_OK) {
            return cli_misuse("--policy %s", err.message);
        }
        plan->policy = policy;
    }
    if (rate != NULL) {
        char *end;
        errno = 0;
        plan->rate = strtod(rate, &end);
        if (errno != 0 || end == rate || *end != '\0' || !(plan->rate > 0) || !isfinite(plan->rate)) {
            return cli_misuse("--rate '%s' is no number of items per second above 0", rate);
        }
    }
    if (window != NULL) {
        char *end;
        errno = 0;
        plan->window = strtoll(window, &end, 10);
        if (errno != 0 || end == window || *end != '\0' || plan->window < 1 || plan->window > QN_POLICY_MAX_WINDOW) {
            return cli_misuse("--window '%s' is no number of micro-batches from 1 to %d", window, QN_POLICY_MAX_WINDOW);
        }
    }
    if (drop != NULL && qn_share_parse(&plan->accuracy_budget, drop, &err) != QN_OK) {
        return cli_misuse("--accuracy-drop: %s", err.message);
    }
    if (plan->policy[0] == '\0' && (rate != NULL || window != NULL || drop != NULL)) {
        return cli_misuse("%s belongs to a policy, and neither --policy nor the plan names one",
                          rate != NULL ? "--rate" : window != NULL ? "--window" : "--accuracy-drop");
    }
    if (drop == NULL && strcmp(plan->policy, "quern") != 0) {
        plan->accuracy_budget = (double)NAN; /* the plan's, for the policy that knows budgets */
    }
    plan->window = plan->window > 0 ? plan->window : DEFAULT_WINDOW;
    const bool adapts = plan->policy[0] != '\0' && strcmp(plan->policy, "fixed") != 0;
    if (adapts && !(plan->rate > 0)) {
        return cli_misuse("policy %s holds a rate, and nothing says which; give --rate ITEMS_PER_SECOND", plan->policy);
    }
    return CLI_OK;
}

static qn_status refuse_shared(const qn_plan *plan, qn_error *err)
{
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        for (size_t l = 0; l < k; l++) {
            if (plan->links[k].medium != NULL && plan->links[l].medium != NULL &&
                strcmp(plan->links[k].medium, plan->links[l].medium) == 0) {
                return qn_fail(
                    err, QN_ECONFLICT, "--throttle",
                    "links %zu and %zu share the medium '%s', and ranks cannot take turns on it; use --simulate", l, k,
                    plan->links[k].medium);
            }
        }
    }
    return QN_OK;
}

/* Links with something to choose have equal parts of the budget, or of what those without leave of it.
 *  n  links with several choices */
static qn_status share_budget(double *share, size_t *n, const qn_plan *plan, qn_error *err)
{
    double left = plan->accuracy_budget;
    *n = 0;
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        const qn_plan_link *link = &plan->links[k];
        *n += link->n_choices > 1;
        if (link->n_choices == 1 && !isnan(plan->accuracy_budget)) {
            left -= link->choices[0].loss < 0 ? 0 : link->choices[0].loss;
            if (!(left >= 0)) {
                return qn_fail(err, QN_ECONFLICT, "policy of links",
                               isnan(left) ? "an accuracy budget needs the loss of every format, but that of link %zu, "
                                             "%s, is not known; measure it, or set no budget"
                                           : "link %zu, which has no choice but %s, loses more than the accuracy "
                                             "budget; raise it, or give that link other formats",
                               k, link->choices[0].format);
            }
        }
    }
    *share = *n > 0 ? left / (double)*n : left;
    return QN_OK;
}

static qn_status make_adapt(cli_rank_policy *p, const qn_cuts *cuts, const size_t *positions, qn_error *err)
{
    const qn_plan *plan = p->plan;
    double share = (double)NAN;
    size_t n_choosing = 0;
    QN_TRY(share_budget(&share, &n_choosing, plan, err));
    const bool chooses = plan->links[p->stage].n_choices > 1 || n_choosing == 0;
    const qn_adapt_options options = {.policy = chooses ? plan->policy : qn_policy_kind_text(QN_POLICY_FIXED),
                                      .rate = plan->rate,
                                      .accuracy_budget = chooses ? share : (double)NAN,
                                      .window = plan->window,
                                      .microbatch = plan->microbatch};
    qn_adapt_link link;
    size_t bytes[QN_PLAN_MAX_CHOICES];
    char name[32];
    QN_TRY(qn_adapt_describe(&link, bytes, plan, cuts, positions, p->stage, err));
    snprintf(name, sizeof name, "link%zu", p->stage);
    link.name = name;
    return qn_adapt_create(&p->adapt, &options, &link, 1, err);
}

qn_status cli_rank_policy_open(cli_rank_policy *p, const cli_args *args, const qn_cuts *cuts, const qn_plan *plan,
                               const size_t *positions, int rank, qn_error *err)
{
    *p = (cli_rank_policy){.plan = plan, .stage = (size_t)rank};
    const char *throttle = cli_value(args, "throttle");
    if (throttle != NULL) {
        QN_TRY(refuse_shared(plan, err));
        QN_TRY(qn_virtual_spec_read(&p->spec, "--throttle", throttle, plan, err));
        if (p->spec.says_compute) {
            return qn_fail(err, QN_EINVAL, "--throttle",
                           "'compute' is for --simulate: these stages are real, and take what they take; leave it out");
        }
        p->throttled = true;
    }
    return p->stage + 1 < plan->n_stages ? make_adapt(p, cuts, positions, err) : QN_OK;
}

qn_status cli_rank_policy_transport(cli_rank_policy *p, const qn_transport **used, const qn_transport *real,
                                    qn_error *err)
{
    *used = real;
    if (p->throttled && p->adapt != NULL && real != NULL) {
        QN_TRY(qn_adapt_transport_open(&p->held, &p->outer, real, &p->spec.links[p->stage], p->adapt, err));
        *used = &p->outer;
    }
    return QN_OK;
}

void cli_rank_policy_begin(cli_rank_policy *p)
{
    p->began = qn_now_seconds();
    if (p->throttled && p->adapt != NULL) {
        qn_adapt_transport_begin(&p->held);
    }
}

qn_status cli_rank_policy_choose(cli_rank_policy *p, uint64_t sequence, size_t *choice, qn_error *err)
{
    return qn_adapt_choose(p->adapt, 0, (int64_t)sequence, qn_now_seconds() - p->began, choice, err);
}

void cli_rank_policy_sent(cli_rank_policy *p, int64_t items, size_t n_bytes, double seconds)
{
    if (!p->throttled) {
        qn_adapt_sent(p->adapt, 0, items, n_bytes, seconds);
    }
}

/* The windows of stage k's link, from its rank. */
static qn_status receive_windows(cli_monitor_link *link, const qn_campaign_ranks *ranks, size_t k, qn_error *err)
{
    uint64_t n = 0;
    QN_TRY(ranks->receive(ranks->ctx, (int)k, &n, sizeof n, err));
    qn_adapt_window *windows = qn_alloc((size_t)n * sizeof *windows);
    if (windows == NULL) {
        return qn_fail_memory(err, "windows of a policy", (size_t)n * sizeof *windows);
    }
    link->windows = windows;
    link->n_windows = (size_t)n;
    return n > 0 ? ranks->receive(ranks->ctx, (int)k, windows, (size_t)n * sizeof *windows, err) : QN_OK;
}

static qn_status own_windows(cli_monitor_link *link, const qn_adapt *adapt, qn_error *err)
{
    const size_t n = qn_adapt_n_windows(adapt, 0);
    qn_adapt_window *windows = qn_alloc(n * sizeof *windows);
    if (windows == NULL) {
        return qn_fail_memory(err, "windows of a policy", n * sizeof *windows);
    }
    for (size_t w = 0; w < n; w++) {
        windows[w] = *qn_adapt_window_of(adapt, 0, w);
    }
    link->windows = windows;
    link->n_windows = n;
    return QN_OK;
}

qn_status cli_rank_policy_gather(cli_rank_policy *p, qn_error *err)
{
    const qn_campaign_ranks *ranks = cli_ranks();
    const size_t n_links = p->plan->n_stages - 1;
    if (p->adapt != NULL) {
        qn_adapt_close(p->adapt, 0, qn_now_seconds() - p->began);
    }
    if (p->stage > 0) {
        const uint64_t n = p->adapt != NULL ? qn_adapt_n_windows(p->adapt, 0) : 0;
        if (p->adapt == NULL || ranks == NULL) {
            return QN_OK;
        }
        QN_TRY(ranks->send(ranks->ctx, 0, &n, sizeof n, err));
        return n > 0 ? ranks->send(ranks->ctx, 0, qn_adapt_window_of(p->adapt, 0, 0),
                                   (size_t)n * sizeof(qn_adapt_window), err)
                     : QN_OK;
    }
    p->links = qn_alloc((n_links + 1) * sizeof *p->links);
    if (p->links == NULL) {
        return qn_fail_memory(err, "windows of a policy", (n_links + 1) * sizeof *p->links);
    }
    for (size_t k = 0; k < n_links; k++) {
        p->links[k].choices = p->plan->links[k].choices;
        QN_TRY(k == 0 ? own_windows(&p->links[k], p->adapt, err) : receive_windows(&p->links[k], ranks, k, err));
    }
    return QN_OK;
}

qn_status cli_rank_policy_report(const cli_rank_policy *p, const cli_args *args, int64_t n_items, qn_error *err)
{
    const size_t n_links = p->plan->n_stages - 1;
    const char *file = cli_value(args, "policy-log");
    if (p->plan->policy[0] != '\0' && !args->json) {
        cli_monitor_print(p->links, n_links, p->plan, n_items);
        fflush(stdout);
    }
    cli_monitor_notes(args, p->links, n_links, p->plan, n_items);
    return file != NULL ? cli_monitor_write(file, cli_has(args, "force"), p->links, n_links, p->plan, n_items, err)
                        : QN_OK;
}

void cli_rank_policy_close(cli_rank_policy *p)
{
    for (size_t k = 0; p->links != NULL && k + 1 < p->plan->n_stages; k++) {
        qn_free((void *)(uintptr_t)p->links[k].windows);
    }
    qn_free(p->links);
    qn_adapt_transport_close(&p->held);
    qn_adapt_free(p->adapt);
    qn_virtual_spec_free(&p->spec);
    *p = (cli_rank_policy){0};
}
