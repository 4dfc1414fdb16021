/* What a policy is made of, checked. */
#include <math.h>
#include <stdio.h>

#include "link/policy.h"

static const int64_t most = (int64_t)1 << 40;

static qn_status check_numbers(const qn_policy_options *o, qn_policy_kind kind, qn_error *err)
{
    static const char where[] = "policy of links";
    if (kind == QN_POLICY_FIXED ? !(o->target_rate >= 0) : !(o->target_rate > 0)) {
        return qn_fail(err, QN_EINVAL, where, "policy %s needs a target rate above 0 items per second, not %g",
                       qn_policy_kind_text(kind), o->target_rate);
    }
    if (!isfinite(o->target_rate)) {
        return qn_fail(err, QN_EINVAL, where, "the target rate is %g items per second", o->target_rate);
    }
    if (o->window < 1 || o->window > QN_POLICY_MAX_WINDOW) {
        return qn_fail(err, QN_EINVAL, where, "a window of %lld micro-batches; it has 1 to %d", (long long)o->window,
                       QN_POLICY_MAX_WINDOW);
    }
    if (o->items < 1 || o->items > most) {
        return qn_fail(err, QN_EINVAL, where, "a micro-batch of %lld items; it has 1 to 2^40", (long long)o->items);
    }
    if (!(o->reserve >= 0) || !(o->reserve < 1)) {
        return qn_fail(err, QN_EINVAL, where, "a reserve of %g; it is a part of the bandwidth, 0 to below 1",
                       o->reserve);
    }
    if (isnan(o->accuracy_budget)) {
        return QN_OK;
    }
    if (kind != QN_POLICY_QUERN) {
        return qn_fail(err, QN_ECONFLICT, where, "policy %s knows no accuracy budget; policy quern does",
                       qn_policy_kind_text(kind));
    }
    if (!(o->accuracy_budget >= 0) || !(o->accuracy_budget <= 1)) {
        return qn_fail(err, QN_EINVAL, where, "an accuracy budget of %g; it is a fraction, 0 to 1", o->accuracy_budget);
    }
    return QN_OK;
}

static qn_status check_choice(const qn_policy_choice *c, const char *link, qn_error *err)
{
    if (c->format == NULL) {
        return qn_fail(err, QN_EINVAL, link, "a choice has no format");
    }
    if (!(c->bits > 0) || !isfinite(c->bits)) {
        return qn_fail(err, QN_EINVAL, link, "format %s has codes of %g bits", c->format, c->bits);
    }
    if (c->bytes < 1 || c->bytes > most) {
        return qn_fail(err, QN_EINVAL, link, "a message of format %s has %lld bytes; it has 1 to 2^40", c->format,
                       (long long)c->bytes);
    }
    if (c->loss < -1 || c->loss > 1) { /* NaN is neither */
        return qn_fail(err, QN_EINVAL, link, "format %s loses %g of top-1; a loss is a fraction, -1 to 1", c->format,
                       c->loss);
    }
    if (isinf(c->sqnr_db) && c->sqnr_db < 0) {
        return qn_fail(err, QN_EINVAL, link, "format %s has an SQNR of %g dB; what is not known is NaN", c->format,
                       c->sqnr_db);
    }
    return QN_OK;
}

static qn_status check_link(const qn_policy_link *link, qn_policy_kind kind, bool needs_loss, int index, qn_error *err)
{
    char where[QN_ERROR_WHERE_MAX];
    snprintf(where, sizeof where, "link %d '%s'", index, link->name != NULL ? link->name : "");
    if (link->name == NULL) {
        return qn_fail(err, QN_EINVAL, where, "it has no name");
    }
    if (link->n_choices < 1 || link->n_choices > QN_POLICY_MAX_CHOICES || link->choices == NULL) {
        return qn_fail(err, QN_EINVAL, where, "%d formats to choose from; there may be 1 to %d", link->n_choices,
                       QN_POLICY_MAX_CHOICES);
    }
    if (link->start < 0 || link->start >= link->n_choices) {
        return qn_fail(err, QN_EINVAL, where, "it starts with choice %d of %d", link->start, link->n_choices);
    }
    if (link->values < 0 || link->values > most || (link->values == 0 && kind == QN_POLICY_HEURISTIC2)) {
        return qn_fail(err, QN_EINVAL, where, "micro-batches of %lld numbers; policy %s needs 1 to 2^40",
                       (long long)link->values, qn_policy_kind_text(kind));
    }
    if (!(link->bandwidth >= 0) || !isfinite(link->bandwidth) || !(link->latency >= 0) || !isfinite(link->latency)) {
        return qn_fail(err, QN_EINVAL, where,
                       "a bandwidth of %g bytes per second and a latency of %g s; both are 0 "
                       "or more",
                       link->bandwidth, link->latency);
    }
    for (int k = 0; k < link->n_choices; k++) {
        QN_TRY(check_choice(&link->choices[k], where, err));
        if (needs_loss && isnan(link->choices[k].loss)) {
            return qn_fail(err, QN_ECONFLICT, where,
                           "an accuracy budget needs the loss of every format, but that of %s is not known; measure "
                           "it, leave the format out, or set no budget",
                           link->choices[k].format);
        }
    }
    return QN_OK;
}

qn_status qn_policy_check(qn_policy_kind *kind, const qn_policy_options *options, const qn_policy_link *links,
                          int n_links, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_policy_options_init", err));
    if (options->name == NULL) {
        return qn_fail(err, QN_EINVAL, "policy of links", "the options name no policy");
    }
    QN_TRY(qn_policy_kind_parse(kind, options->name, err));
    QN_TRY(check_numbers(options, *kind, err));
    if (n_links < 1 || n_links > QN_POLICY_MAX_LINKS) {
        return qn_fail(err, QN_EINVAL, "policy of links", "%d links; there may be 1 to %d", n_links,
                       QN_POLICY_MAX_LINKS);
    }
    const bool has_budget = !isnan(options->accuracy_budget);
    double at_start = 0, bytes = 0;
    for (int l = 0; l < n_links; l++) {
        QN_TRY(check_link(&links[l], *kind, has_budget, l, err));
        at_start += fmax(links[l].choices[links[l].start].loss, 0);
        double widest = 0;
        for (int k = 0; k < links[l].n_choices; k++) {
            widest = fmax(widest, (double)links[l].choices[k].bytes);
        }
        bytes += widest * (double)options->window;
    }
    if (bytes >= 0x1p62) {
        return qn_fail(err, QN_ELIMIT, "policy of links",
                       "the links' messages of a window of %lld micro-batches may have %g bytes; shorten the window",
                       (long long)options->window, bytes);
    }
    if (has_budget && at_start > options->accuracy_budget * (1 + 1e-12)) {
        return qn_fail(err, QN_ECONFLICT, "policy of links",
                       "the formats that the links start with lose %g, more than the accuracy budget of %g; start "
                       "with others, or raise the budget",
                       at_start, options->accuracy_budget);
    }
    return QN_OK;
}
