/* Which plans a link chooses from: of all windows of one format or two, those that no other beats in bytes and loss.
 * The lower convex hull of loss against bytes is among them, and what integers leave between its corners. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "link/policy.h"

typedef struct {
    qn_choice sum; /* over the window */
    qn_policy_pair pair;
} candidate;

void qn_policy_damages(double damages[QN_POLICY_MAX_CHOICES], bool *knows_loss, const qn_policy_link *link)
{
    bool knows_sqnr = true;
    *knows_loss = true;
    for (int k = 0; k < link->n_choices; k++) {
        *knows_loss = *knows_loss && !isnan(link->choices[k].loss);
        knows_sqnr = knows_sqnr && !isnan(link->choices[k].sqnr_db);
    }
    for (int k = 0; k < link->n_choices; k++) {
        const qn_policy_choice *c = &link->choices[k];
        const double noise = knows_sqnr ? pow(10, -c->sqnr_db / 10) : pow(4, -c->bits);
        damages[k] = *knows_loss ? fmax(c->loss, 0) : fmin(noise, 1);
    }
}

static int by_cost(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->sum.cost != y->sum.cost) {
        return x->sum.cost < y->sum.cost ? -1 : 1;
    }
    if (x->sum.damage != y->sum.damage) {
        return x->sum.damage < y->sum.damage ? -1 : 1;
    }
    for (int i = 0; i < 2; i++) {
        if (x->pair.choice[i] != y->pair.choice[i]) {
            return x->pair.choice[i] - y->pair.choice[i];
        }
    }
    return x->pair.n < y->pair.n ? -1 : x->pair.n > y->pair.n;
}

/* Sorts, keeps those that no cheaper one equals in damage, returns their number. */
static int prune(candidate *candidates, int n)
{
    int kept = 0;
    qsort(candidates, (size_t)n, sizeof *candidates, by_cost);
    for (int i = 0; i < n; i++) {
        if (kept == 0 || candidates[i].sum.damage < candidates[kept - 1].sum.damage) {
            candidates[kept++] = candidates[i];
        }
    }
    return kept;
}

static candidate make(const qn_policy_link *link, const double *damages, int a, int b, int64_t n, int64_t window)
{
    const int64_t rest = window - n;
    return (candidate){{n * link->choices[a].bytes + rest * link->choices[b].bytes,
                        (double)n * damages[a] + (double)rest * damages[b]},
                       {{a, b}, n}};
}

/* With at most `steps` ways to divide a window between two formats. `singles` formats are worth mixing. */
static int enumerate(candidate *made, const candidate *singles, int n_singles, const qn_policy_link *link,
                     const double *damages, int64_t window, int64_t steps)
{
    const int64_t step = (window + steps - 1) / steps;
    int n = 0;
    for (int i = 0; i < n_singles; i++) {
        const int a = singles[i].pair.choice[0];
        made[n++] = singles[i];
        for (int j = i + 1; j < n_singles; j++) {
            for (int64_t k = step; k < window; k += step) {
                made[n++] = make(link, damages, a, singles[j].pair.choice[0], k, window);
            }
        }
    }
    return prune(made, n);
}

/* Plans of a link in its own array; their sums go to candidates, which the caller releases with qn_free. */
static qn_status make_link(qn_policy *p, qn_policy_member *link, candidate **candidates, qn_error *err)
{
    enum { STEPS = 20 };
    const int64_t window = p->options.window;
    double damages[QN_POLICY_MAX_CHOICES];
    candidate singles[QN_POLICY_MAX_CHOICES];
    qn_policy_damages(damages, &link->knows_loss, &link->about);
    int n_singles = link->about.n_choices;
    for (int k = 0; k < n_singles; k++) {
        singles[k] = make(&link->about, damages, k, k, window, window);
    }
    link->start = singles[link->about.start].sum;
    n_singles = prune(singles, n_singles);
    int64_t steps = window < STEPS ? window : STEPS;
    const size_t n_most = (size_t)n_singles + (size_t)(n_singles * (n_singles - 1) / 2) * (size_t)steps;
    *candidates = qn_alloc(n_most * sizeof **candidates);
    if (*candidates == NULL) {
        return qn_fail_memory(err, "policy of links", n_most * sizeof **candidates);
    }
    do {
        link->n_plans = enumerate(*candidates, singles, n_singles, &link->about, damages, window, steps);
        steps /= 2;
    } while (link->n_plans > QN_POLICY_MAX_PLANS && steps > 0);
    link->plans = qn_arena_array(&p->arena, (size_t)link->n_plans, sizeof *link->plans);
    if (link->plans == NULL) {
        return qn_fail_memory(err, "policy of links", (size_t)link->n_plans * sizeof *link->plans);
    }
    for (int i = 0; i < link->n_plans; i++) {
        link->plans[i] = (*candidates)[i].pair;
    }
    return QN_OK;
}

static qn_status make_medium(qn_policy *p, qn_policy_medium *medium, candidate **of_links, qn_error *err)
{
    for (int l = 0; l < medium->n_links; l++) {
        const int n = p->links[medium->links[l]].n_plans;
        medium->n_choices = n > medium->n_choices ? n : medium->n_choices;
    }
    const size_t n_all = (size_t)medium->n_links * (size_t)medium->n_choices;
    medium->choices = qn_arena_array(&p->arena, n_all, sizeof *medium->choices);
    if (medium->choices == NULL) {
        return qn_fail_memory(err, "policy of links", n_all * sizeof *medium->choices);
    }
    for (int l = 0; l < medium->n_links; l++) {
        const int link = medium->links[l], n = p->links[link].n_plans;
        for (int k = 0; k < medium->n_choices; k++) {
            medium->choices[l * medium->n_choices + k] = of_links[link][k < n ? k : n - 1].sum;
        }
    }
    return QN_OK;
}

qn_status qn_policy_make_plans(qn_policy *p, qn_error *err)
{
    candidate **of_links = qn_alloc((size_t)p->n_links * sizeof *of_links);
    if (of_links == NULL) {
        return qn_fail_memory(err, "policy of links", (size_t)p->n_links * sizeof *of_links);
    }
    qn_status status = QN_OK;
    for (int l = 0; l < p->n_links && status == QN_OK; l++) {
        status = make_link(p, &p->links[l], &of_links[l], err);
    }
    for (int m = 0; m < p->n_media && status == QN_OK; m++) {
        status = make_medium(p, &p->media[m], of_links, err);
    }
    for (int l = 0; l < p->n_links; l++) {
        qn_free(of_links[l]);
    }
    qn_free(of_links);
    return status;
}
