/* quern's own policy (policy.md 4): of each medium the bytes that pass in a window's time at the target rate, and
 * within them the least loss. */
#include <float.h>
#include <math.h>

#include "link/policy.h"

/* Bytes per second of a link: low at once, high when two windows of three say so. */
static double estimate(const qn_policy_member *link)
{
    const double *h = link->history;
    if (link->n_history < QN_POLICY_HISTORY) {
        return link->n_history == 1 ? h[0] : fmin(h[0], h[1]);
    }
    return fmin(h[0], fmax(h[1], h[2]));
}

/* Bytes per second of a medium. While all its links wait for each other, it is their bytes by their busy time; where
 * they are busy for longer than the time there was, they overlapped, and it is their bytes by that time. */
static double capacity_of(const qn_policy *p, const qn_policy_medium *medium)
{
    double bytes = 0, busy = 0; /* in a second */
    for (int l = 0; l < medium->n_links; l++) {
        const qn_policy_member *link = &p->links[medium->links[l]];
        if (link->n_history > 0) {
            bytes += link->busy * estimate(link);
            busy += link->busy;
        }
    }
    return busy > 0 ? bytes / fmin(busy, 1) : NAN;
}

static double latency_of(const qn_policy *p, const qn_policy_medium *medium)
{
    double latency = 0;
    for (int l = 0; l < medium->n_links; l++) {
        latency += p->links[medium->links[l]].about.latency;
    }
    return latency * (double)p->options.window;
}

/* Seconds that a window may take. */
static double time_of(const qn_policy *p)
{
    return (double)p->options.window * (double)p->options.items / p->options.target_rate;
}

/* Bytes that pass in that many seconds, of a part of the bandwidth; below 0 when not even the latency fits. */
static int64_t budget_of(const qn_policy *p, const qn_policy_medium *medium, double part, double seconds)
{
    const double bytes = part * medium->capacity * (seconds - latency_of(p, medium));
    return !(bytes >= 0) ? -1 : bytes < 0x1p62 ? (int64_t)(bytes * (1 + 1e-12)) : (int64_t)1 << 62;
}

static const qn_choice *sum_of(const qn_policy *p, const qn_policy_medium *medium, int l, int plan)
{
    return plan >= 0 ? &medium->choices[l * medium->n_choices + plan] : &p->links[medium->links[l]].start;
}

/* Of the plans chosen, or of those that are current. */
static qn_choice total(const qn_policy *p, const qn_policy_medium *medium, bool chosen)
{
    qn_choice sum = {0, 0};
    for (int l = 0; l < medium->n_links; l++) {
        const int plan = chosen ? medium->chosen[l] : p->links[medium->links[l]].current;
        const qn_choice *own = sum_of(p, medium, l, plan);
        sum.cost += own->cost;
        sum.damage += own->damage;
    }
    return sum;
}

static void keep(const qn_policy *p, qn_policy_medium *medium)
{
    for (int l = 0; l < medium->n_links; l++) {
        medium->chosen[l] = p->links[medium->links[l]].current;
    }
}

/* The least damage within the budget; the fewest bytes, and false, where nothing fits. */
static qn_status choose(bool *fits, qn_policy_medium *medium, int64_t budget, qn_error *err)
{
    const int n = medium->n_choices;
    int64_t least = 0;
    for (int l = 0; l < medium->n_links; l++) {
        medium->chosen[l] = 0;
        least += medium->choices[l * n].cost;
    }
    *fits = least <= budget;
    if (!*fits) {
        return QN_OK;
    }
    if (medium->n_links > 1) {
        return qn_knapsack_choose(medium->chosen, medium->choices, medium->n_links, n, budget, err);
    }
    while (medium->chosen[0] + 1 < n && medium->choices[medium->chosen[0] + 1].cost <= budget) {
        medium->chosen[0]++;
    }
    return QN_OK;
}

/* What holds the rate on one medium. What is current stays while it fits, unless something better fits with the
 * reserve. */
static qn_status hold_rate(const qn_policy *p, qn_policy_medium *medium, qn_error *err)
{
    const double time = time_of(p);
    const int64_t all = budget_of(p, medium, 1, time);
    bool fits;
    QN_TRY(choose(&fits, medium, budget_of(p, medium, 1 - p->options.reserve, time), err));
    const qn_choice now = total(p, medium, false), then = total(p, medium, true);
    const bool is_better = then.damage < now.damage || (then.damage == now.damage && then.cost < now.cost);
    if (now.cost <= all && !(fits && is_better)) {
        keep(p, medium);
        return QN_OK;
    }
    return fits ? QN_OK : choose(&fits, medium, all, err);
}

/* Of all links; where nothing is known of a medium, its links stay as they are. */
static double total_damage(const qn_policy *p, bool chosen)
{
    double damage = 0;
    for (int m = 0; m < p->n_media; m++) {
        damage += total(p, &p->media[m], chosen && !isnan(p->media[m].capacity)).damage;
    }
    return damage;
}

/* Items per second that a medium can carry. */
static double rate_of(const qn_policy *p, const qn_policy_medium *medium, bool chosen)
{
    const double seconds = (double)total(p, medium, chosen).cost / medium->capacity + latency_of(p, medium);
    return (double)p->options.window * (double)p->options.items / seconds;
}

static double least_rate(const qn_policy *p, bool chosen)
{
    double least = INFINITY;
    for (int m = 0; m < p->n_media; m++) {
        if (!isnan(p->media[m].capacity)) {
            least = fmin(least, rate_of(p, &p->media[m], chosen));
        }
    }
    return least;
}

/* The least damage at a part of the target rate. */
static qn_status choose_at(qn_policy *p, double part, qn_error *err)
{
    for (int m = 0; m < p->n_media; m++) {
        qn_policy_medium *medium = &p->media[m];
        bool fits;
        if (!isnan(medium->capacity)) {
            QN_TRY(choose(&fits, medium, budget_of(p, medium, 1, time_of(p) / part), err));
        }
    }
    return QN_OK;
}

/* The greatest rate that the accuracy budget allows. With rising rate the least damage does not fall. */
static qn_status hold_accuracy(qn_policy *p, double most_damage, bool *gave_way, qn_error *err)
{
    static const double close = 1e-6;
    double lo = 0, hi = 1; /* parts of the target: one whose damage is within the budget, one whose damage may not be */
    QN_TRY(choose_at(p, hi, err));
    if (total_damage(p, true) <= most_damage) {
        lo = hi;
    }
    while (hi - lo > close * hi && hi > 1e-30) {
        const double middle = lo > 0 ? lo + (hi - lo) / 2 : hi / 16;
        QN_TRY(choose_at(p, middle, err));
        *(total_damage(p, true) <= most_damage ? &lo : &hi) = middle;
    }
    *gave_way = lo < 1;
    QN_TRY(choose_at(p, lo, err)); /* at 0 all time is theirs */
    const double close_enough = (1 - p->options.reserve) * least_rate(p, true);
    if (total_damage(p, false) <= most_damage && least_rate(p, false) >= close_enough) {
        for (int m = 0; m < p->n_media; m++) {
            keep(p, &p->media[m]);
        }
    }
    return QN_OK;
}

static void commit(qn_policy *p, bool gave_way)
{
    const int64_t window = p->options.window;
    for (int m = 0; m < p->n_media; m++) {
        qn_policy_medium *medium = &p->media[m];
        for (int l = 0; l < medium->n_links && !isnan(medium->capacity); l++) {
            qn_policy_member *link = &p->links[medium->links[l]];
            link->current = medium->chosen[l];
            const qn_policy_pair start = {{link->about.start, link->about.start}, window};
            const qn_policy_pair *pair = link->current >= 0 ? &link->plans[link->current] : &start;
            qn_policy_plan_two(&link->plan, p, link, pair->choice[0], pair->choice[1], pair->n);
            link->plan.spread = true;
            link->plan.bandwidth = medium->capacity;
            link->plan.rate = rate_of(p, medium, true);
            const bool missed = link->plan.rate < p->options.target_rate * (1 - 1e-9);
            link->plan.flags = !missed    ? 0
                               : gave_way ? QN_PLAN_RATE_MISSED | QN_PLAN_ACCURACY_KEPT
                                          : QN_PLAN_RATE_MISSED;
        }
    }
}

qn_status qn_policy_decide(qn_policy *p, qn_error *err)
{
    for (int m = 0; m < p->n_media; m++) {
        qn_policy_medium *medium = &p->media[m];
        const double capacity = capacity_of(p, medium);
        medium->capacity = capacity > DBL_MAX ? DBL_MAX : capacity; /* nonsense, but finite */
        if (!isnan(medium->capacity)) {
            QN_TRY(hold_rate(p, medium, err));
        }
    }
    const double most_damage = p->options.accuracy_budget * (double)p->options.window * (1 + 1e-12);
    bool gave_way = false;
    if (total_damage(p, true) > most_damage) { /* never of no budget, NaN */
        QN_TRY(hold_accuracy(p, most_damage, &gave_way, err));
    }
    commit(p, gave_way);
    return QN_OK;
}
