/* Group after group, all sums of cost and damage that no other sum beats in both, and that can still lead to less damage
 * than an assignment known from the start. What they can lead to is bounded by the Lagrangian: with any price p >= 0 of
 * cost, damage + p (cost - budget) + the sum over the groups to come of min (damage + p cost) is at most the damage of what
 * fits. The price is the least with which choosing by damage + p cost alone fits. */
#include "base/knapsack.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct {
    int64_t cost;
    double damage;
    int32_t parent; /* among the states of the group before */
    int32_t choice;
} state;

typedef struct {
    state *states;
    int n;
} level;

static int by_cost(const void *a, const void *b)
{
    const state *x = a, *y = b;
    if (x->cost != y->cost) {
        return x->cost < y->cost ? -1 : 1;
    }
    if (x->damage != y->damage) {
        return x->damage < y->damage ? -1 : 1;
    }
    return x->parent != y->parent ? (x->parent < y->parent ? -1 : 1) : x->choice - y->choice;
}

/* Keep what no cheaper state equals in damage; thin out what is too much. */
static int prune(state *states, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (kept == 0 || states[i].damage < states[kept - 1].damage) {
            states[kept++] = states[i];
        }
    }
    if (kept <= QN_KNAPSACK_STATES) {
        return kept;
    }
    for (int i = 0; i < QN_KNAPSACK_STATES; i++) { /* the first and the last stay */
        states[i] = states[(int64_t)i * (kept - 1) / (QN_KNAPSACK_STATES - 1)];
    }
    return QN_KNAPSACK_STATES;
}

/* What the search is bounded by. */
typedef struct {
    const qn_choice *choices;
    int n_groups, n_choices;
    int64_t budget;
    double price, known; /* known: damage of an assignment that fits */
} problem;

/* The choice of least damage + price * cost; of equal ones the cheapest. */
static int best_at(const problem *p, int group, double price)
{
    const qn_choice *own = p->choices + (size_t)group * (size_t)p->n_choices;
    int best = 0;
    for (int k = 1; k < p->n_choices; k++) {
        const double a = own[k].damage + price * (double)own[k].cost;
        const double b = own[best].damage + price * (double)own[best].cost;
        best = a < b || (a == b && own[k].cost < own[best].cost) ? k : best;
    }
    return best;
}

static double bound_of(const problem *p, int group)
{
    const qn_choice *best = &p->choices[(size_t)group * (size_t)p->n_choices + (size_t)best_at(p, group, p->price)];
    return best->damage + p->price * (double)best->cost;
}

/* Cost and damage of choosing at a price. */
static int64_t choose_at(const problem *p, double price, double *damage)
{
    int64_t cost = 0;
    *damage = 0;
    for (int g = 0; g < p->n_groups; g++) {
        const qn_choice *best = &p->choices[(size_t)g * (size_t)p->n_choices + (size_t)best_at(p, g, price)];
        cost += best->cost;
        *damage += best->damage;
    }
    return cost;
}

/* False when no price makes it fit: then only the cheapest choices may, and nothing is bounded. */
static bool find_price(problem *p)
{
    enum { HALVINGS = 200 };
    double lo = 0, hi = 1e-30;
    while (hi < 1e60 && choose_at(p, hi, &p->known) > p->budget) {
        lo = hi;
        hi *= 1024;
    }
    if (choose_at(p, hi, &p->known) > p->budget) {
        return false;
    }
    for (int i = 0; i < HALVINGS; i++) {
        const double middle = lo + (hi - lo) / 2;
        double damage;
        if (choose_at(p, middle, &damage) > p->budget) {
            lo = middle;
        } else {
            hi = middle;
            p->known = damage;
        }
    }
    p->price = hi;
    return true;
}

/* Could the state lead to less than what is known? `rest`: the bounds of the groups to come. */
static bool is_hopeful(const problem *p, int64_t cost, double damage, double rest)
{
    const double least = damage + rest + p->price * ((double)cost - (double)p->budget);
    const double slack = 1e-9 * (p->known + p->price * (double)p->budget); /* of rounding */
    return p->known < 0 || least <= p->known + slack;
}

/* `room`: what the groups up to this one may cost, so that the rest can still fit. */
static qn_status extend(qn_arena *arena, level *to, const level *from, const problem *p, int group, int64_t room,
                        double rest, qn_error *err)
{
    const int n_choices = p->n_choices;
    const qn_choice *choices = p->choices + (size_t)group * (size_t)n_choices;
    const size_t most = (size_t)from->n * (size_t)n_choices;
    state *made = qn_alloc(most * sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, most * sizeof *made);
    }
    int n = 0;
    for (int i = 0; i < from->n; i++) {
        for (int k = 0; k < n_choices; k++) {
            const int64_t cost = from->states[i].cost + choices[k].cost;
            const double damage = from->states[i].damage + choices[k].damage;
            if (cost <= room && is_hopeful(p, cost, damage, rest)) {
                made[n++] = (state){cost, damage, i, k};
            }
        }
    }
    qsort(made, (size_t)n, sizeof *made, by_cost);
    to->n = prune(made, n);
    to->states = qn_arena_array(arena, (size_t)to->n, sizeof *made);
    if (to->states != NULL && to->n > 0) {
        memcpy(to->states, made, (size_t)to->n * sizeof *made);
    }
    qn_free(made);
    return to->states != NULL ? QN_OK : qn_fail_memory(err, NULL, (size_t)to->n * sizeof *made);
}

static int64_t least_cost(const qn_choice *choices, int n_choices)
{
    int64_t least = choices[0].cost;
    for (int k = 1; k < n_choices; k++) {
        least = choices[k].cost < least ? choices[k].cost : least;
    }
    return least;
}

static qn_status solve(qn_arena *arena, int *chosen, const qn_choice *choices, int n_groups, int n_choices,
                       int64_t budget, qn_error *err)
{
    level *levels = qn_arena_array(arena, (size_t)n_groups + 1, sizeof *levels);
    state start = {0};
    if (levels == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_groups * sizeof *levels);
    }
    levels[0] = (level){&start, 1};
    int64_t rest = 0;
    for (int g = 0; g < n_groups; g++) {
        rest += least_cost(choices + (size_t)g * (size_t)n_choices, n_choices);
    }
    if (rest > budget) {
        return qn_fail(err, QN_EINVAL, NULL, "the budget is %lld, but the least cost is %lld", (long long)budget,
                       (long long)rest);
    }
    problem p = {.choices = choices, .n_groups = n_groups, .n_choices = n_choices, .budget = budget};
    if (!find_price(&p)) {
        p.known = -1;
    }
    double *bounds = qn_arena_array(arena, (size_t)n_groups + 1, sizeof *bounds); /* of the groups from here on */
    if (bounds == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_groups * sizeof *bounds);
    }
    for (int g = n_groups; g-- > 0;) {
        bounds[g] = bounds[g + 1] + bound_of(&p, g);
    }
    for (int g = 0; g < n_groups; g++) {
        rest -= least_cost(choices + (size_t)g * (size_t)n_choices, n_choices);
        QN_TRY(extend(arena, &levels[g + 1], &levels[g], &p, g, budget - rest, bounds[g + 1], err));
    }
    int at = levels[n_groups].n - 1; /* the costliest has the least damage */
    if (at < 0) {
        return qn_fail(err, QN_EINTERNAL, NULL, "the search lost the assignment it knew");
    }
    for (int g = n_groups; g > 0; g--) {
        chosen[g - 1] = levels[g].states[at].choice;
        at = levels[g].states[at].parent;
    }
    return QN_OK;
}

qn_status qn_knapsack_choose(int *chosen, const qn_choice *choices, int n_groups, int n_choices, int64_t budget,
                             qn_error *err)
{
    qn_arena arena = {0};
    qn_status status = solve(&arena, chosen, choices, n_groups, n_choices, budget, err);
    qn_arena_free(&arena);
    return status;
}
