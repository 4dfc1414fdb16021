/* The planner's solvers against brute force: all cuts, all orders of devices, all formats, on thousands of small
 * problems; periods against pipelines that run in virtual time; and what earlier planners get wrong. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/cut.h"
#include "link/partition.h"
#include "link/virtual.h"
#include "quern/quern.h"

enum { MAX_PLACES = 8, MAX_TYPES = 4, MAX_CHOICES = 4 };

typedef struct {
    qn_part_problem p;
    qn_part_type types[MAX_TYPES];
    int64_t before[MAX_TYPES][MAX_PLACES], codec[MAX_TYPES][MAX_PLACES];
    int64_t needs[MAX_PLACES * MAX_PLACES], bytes[MAX_PLACES * MAX_CHOICES];
    int64_t times[MAX_PLACES * MAX_CHOICES * MAX_TYPES * MAX_TYPES], delays[MAX_TYPES * MAX_TYPES];
    int32_t losses[MAX_PLACES * MAX_CHOICES];
    bool shared[MAX_TYPES * MAX_TYPES];
} setting;

static uint64_t below(uint64_t *state, uint64_t n)
{
    return (qn_test_random(state) >> 20) % n;
}

static void connect(setting *s)
{
    for (size_t t = 0; t < s->p.n_types; t++) {
        s->types[t].before = s->before[t];
        s->types[t].codec = s->codec[t];
    }
    s->p.types = s->types;
    s->p.needs = s->needs;
    s->p.times = s->times;
    s->p.delays = s->delays;
    s->p.bytes = s->bytes;
    s->p.losses = s->losses;
}

/* Small numbers, so that ties are many. */
static void draw(setting *s, uint64_t *state)
{
    *s = (setting){.p = {.n_places = 2 + below(state, MAX_PLACES - 2),
                         .n_types = 1 + below(state, 3),
                         .n_choices = 1 + below(state, MAX_CHOICES - 1),
                         .max_stages = 1 + below(state, 6)}};
    qn_part_problem *p = &s->p;
    const bool uniform = below(state, 2) == 0, memory = below(state, 2) == 0, codec = below(state, 4) == 0;
    const bool ends = below(state, 3) == 0, zero = below(state, 3) == 0;
    const bool late = below(state, 2) == 0;
    p->latency = below(state, 3) == 0;
    p->shared = below(state, 3) == 0 ? s->shared : NULL;
    p->budget = below(state, 4) == 0 ? QN_PART_LOSS_ONE : (int32_t)below(state, 12);
    for (size_t t = 0; t < p->n_types; t++) {
        qn_part_type *type = &s->types[t];
        type->count = (int64_t)below(state, 3) + (zero ? 0 : 1);
        type->memory = memory ? 4 + (int64_t)below(state, 20) : INT64_MAX;
        type->start = ends ? (int64_t)below(state, 8) : 0;
        type->end = ends ? (int64_t)below(state, 8) : 0;
        type->start = ends && below(state, 8) == 0 ? QN_PART_NONE : type->start;
        type->start_delay = late && type->start > 0 && type->start < QN_PART_NONE ? (int64_t)below(state, 12) : 0;
        type->end_delay = late && type->end > 0 ? (int64_t)below(state, 12) : 0;
        type->start_shared = ends && below(state, 2) == 0;
        type->end_shared = ends && below(state, 2) == 0;
        const uint64_t speed = 1 + below(state, 4);
        for (size_t i = 0; i < p->n_places; i++) {
            s->before[t][i] = i == 0 ? 0 : s->before[t][i - 1] + (int64_t)(below(state, 3) * speed);
            s->codec[t][i] = codec ? (int64_t)below(state, 3) : 0;
        }
    }
    for (size_t i = 0; i < p->n_places; i++) {
        int64_t need = 0;
        for (size_t j = i + 1; j < p->n_places; j++) {
            need += (int64_t)below(state, 6);
            s->needs[i * p->n_places + j] = need + (int64_t)below(state, 4); /* not always rising */
        }
        for (size_t c = 0; c < p->n_choices; c++) {
            const size_t at = i * p->n_choices + c;
            s->bytes[at] = 1 + (int64_t)below(state, 9);
            s->losses[at] = (int32_t)below(state, 6);
            for (size_t a = 0; a < p->n_types; a++) {
                for (size_t b = 0; b < p->n_types; b++) {
                    const int64_t time = s->bytes[at] * (uniform ? 1 : 1 + (int64_t)((a * 3 + b * 5) % 4)) +
                                         (uniform ? 0 : (int64_t)below(state, 3));
                    s->times[(at * p->n_types + a) * p->n_types + b] = below(state, 40) == 0 ? QN_PART_NONE : time;
                }
            }
        }
    }
    for (size_t k = 0; k < MAX_TYPES * MAX_TYPES; k++) {
        s->shared[k] = below(state, 2) == 0;
        s->delays[k] = late ? (int64_t)below(state, 24) : 0;
    }
    connect(s);
}

/* A link is as slow as its transfers, or as two transfers in what one is on its way. */
static int64_t of_link(int64_t transfer, int64_t delay, int64_t take)
{
    const int64_t twice = transfer + delay + take;
    return 2 * transfer >= twice ? transfer : twice / 2 + twice % 2;
}

/* What a plan takes, from the definition. */
static void count(const qn_part_problem *p, qn_part_plan *plan)
{
    int64_t times[2 * MAX_PLACES + 2], medium = 0, delays;
    size_t n = 0;
    const qn_part_type *first = &p->types[plan->type[0]], *last = &p->types[plan->type[plan->n_stages - 1]];
    plan->loss = plan->period = 0;
    times[n++] = of_link(first->start, first->start_delay, first->codec[0]);
    times[n++] = of_link(last->end, last->end_delay, 0);
    plan->latency = first->start + first->start_delay + last->end + last->end_delay;
    medium += first->start_shared ? first->start : 0;
    medium += last->end_shared ? last->end : 0;
    for (size_t k = 0; k < plan->n_stages; k++) {
        const qn_part_type *type = &p->types[plan->type[k]];
        const size_t to = plan->place[k + 1];
        times[n] = type->codec[plan->place[k]] + type->codec[to];
        for (size_t i = plan->place[k]; i < to; i++) {
            times[n] += type->before[i + 1] - type->before[i];
        }
        plan->latency += times[n++];
        if (k + 1 < plan->n_stages) {
            const size_t at = to * p->n_choices + (size_t)plan->choice[k];
            const size_t a = (size_t)plan->type[k], b = (size_t)plan->type[k + 1];
            const int64_t transfer = p->times[(at * p->n_types + a) * p->n_types + b];
            delays = p->delays[a * p->n_types + b];
            medium += p->shared != NULL && p->shared[a * p->n_types + b] ? transfer : 0;
            plan->latency += transfer + delays;
            times[n++] = of_link(transfer, delays, p->types[b].codec[to]);
            plan->loss += p->losses[at];
        }
    }
    for (size_t i = 0; i < n; i++) {
        plan->period = times[i] > plan->period ? times[i] : plan->period;
    }
    plan->period = p->shared != NULL && medium > plan->period ? medium : plan->period;
}

/* A plan as a pipeline in virtual time. Where there are transfers at the ends, a stage that does nothing has the data,
 * or the results. */
enum { MAX_RUN = MAX_PLACES + 2 };
typedef struct {
    size_t n;
    int64_t take[MAX_RUN], compute[MAX_RUN], give[MAX_RUN], transfer[MAX_RUN];
    qn_virtual_link links[MAX_RUN];
} running;

static void add_stage(running *r, int64_t take, int64_t compute, int64_t give)
{
    r->take[r->n] = take;
    r->compute[r->n] = compute;
    r->give[r->n++] = give;
}

static void add_link(running *r, int64_t transfer, int64_t delay, bool on_medium)
{
    const size_t k = r->n - 1;
    r->transfer[k] = transfer;
    r->links[k] = (qn_virtual_link){on_medium ? MAX_RUN : k, (double)delay}; /* MAX_RUN: which one, is not known yet */
}

/* The shared medium has the index of the first link on it. */
static void name_medium(running *r)
{
    size_t first = MAX_RUN;
    for (size_t k = 0; k + 1 < r->n; k++) {
        if (r->links[k].medium == MAX_RUN) {
            first = first == MAX_RUN ? k : first;
            r->links[k].medium = first;
        }
    }
}

static qn_status run_take(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)m, (void)now, (void)err;
    *seconds = (double)((running *)context)->take[stage];
    return QN_OK;
}

static qn_status run_compute(void *context, size_t stage, int64_t m, double now, double *seconds, qn_error *err)
{
    (void)m, (void)now, (void)err;
    *seconds = (double)((running *)context)->compute[stage];
    return QN_OK;
}

static qn_status run_give(void *context, size_t stage, int64_t m, double now, double *seconds, size_t *bytes,
                          qn_error *err)
{
    (void)m, (void)now, (void)err;
    *seconds = (double)((running *)context)->give[stage];
    *bytes = 1;
    return QN_OK;
}

static double run_finish(void *context, size_t link, double start, double bytes)
{
    (void)bytes;
    return start + (double)((running *)context)->transfer[link];
}

/* Seconds between two micro-batches, of `n`, when it has long settled: over an even number, since buffers are two. The
 * last do not count, for which the first stages no longer need the medium. */
enum { RUN_OUT = 40 };
static double run(const qn_part_problem *p, const qn_part_plan *plan, int64_t n, int64_t over)
{
    running r = {0};
    const qn_part_type *first = &p->types[plan->type[0]], *last = &p->types[plan->type[plan->n_stages - 1]];
    if (first->start > 0) {
        add_stage(&r, 0, 0, 0);
        add_link(&r, first->start, first->start_delay, p->shared != NULL && first->start_shared);
    }
    for (size_t k = 0; k < plan->n_stages; k++) {
        const qn_part_type *type = &p->types[plan->type[k]];
        const size_t from = plan->place[k], to = plan->place[k + 1];
        const bool end = k + 1 == plan->n_stages && last->end == 0; /* which gives nothing: what it does, it computes */
        add_stage(&r, type->codec[from], type->before[to] - type->before[from] + (end ? type->codec[to] : 0),
                  end ? 0 : type->codec[to]);
        if (k + 1 < plan->n_stages) {
            const size_t at = to * p->n_choices + (size_t)plan->choice[k];
            const size_t pair = (size_t)plan->type[k] * p->n_types + (size_t)plan->type[k + 1];
            add_link(&r, p->times[at * p->n_types * p->n_types + pair], p->delays[pair],
                     p->shared != NULL && p->shared[pair]);
        }
    }
    if (last->end > 0) {
        add_link(&r, last->end, last->end_delay, p->shared != NULL && last->end_shared);
        add_stage(&r, 0, 0, 0);
    }
    name_medium(&r);
    const qn_virtual_host host = {&r, run_take, run_compute, run_give, run_finish};
    qn_virtual virtual;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_virtual_create(&virtual, r.n, n, r.links, &host, &err), &err);
    qn_assert_ok(qn_virtual_run(&virtual, &err), &err);
    const int64_t until = n - 1 - RUN_OUT;
    const double begin = qn_virtual_step_of(&virtual, r.n - 1, until - over)->done;
    const double seconds = (qn_virtual_step_of(&virtual, r.n - 1, until)->done - begin) / (double)over;
    qn_virtual_free(&virtual);
    return seconds;
}

/* Every plan, one after another. */
typedef struct {
    const qn_part_problem *p;
    bool by_running; /* periods are those of pipelines that run */
    size_t n;
    qn_part_plan now, best;
    size_t used[MAX_TYPES];
} force;

static void extend(force *f)
{
    const qn_part_problem *p = f->p;
    const size_t from = f->now.place[f->now.n_stages];
    if (from == p->n_places - 1) {
        if (p->types[f->now.type[f->now.n_stages - 1]].end != QN_PART_NONE) {
            count(p, &f->now);
            f->n++;
            if (f->by_running && f->now.loss <= p->budget) {
                f->now.period = (int64_t)ceil(run(p, &f->now, 200, 40));
            }
            if (f->now.loss <= p->budget && qn_part_is_better(p, &f->now, &f->best)) {
                f->best = f->now;
            }
        }
        return;
    }
    if (f->now.n_stages == p->max_stages) {
        return;
    }
    for (size_t to = from + 1; to < p->n_places; to++) {
        for (size_t t = 0; t < p->n_types; t++) {
            const size_t k = f->now.n_stages;
            if ((int64_t)f->used[t] == p->types[t].count || p->needs[from * p->n_places + to] > p->types[t].memory ||
                (k == 0 && p->types[t].start == QN_PART_NONE)) {
                continue;
            }
            f->used[t]++;
            f->now.type[k] = (int)t;
            f->now.place[k + 1] = to;
            for (int c = 0; c < (k == 0 ? 1 : (int)p->n_choices); c++) {
                if (k > 0) {
                    f->now.choice[k - 1] = c;
                    if (qn_part_link_time(p, from, c, (size_t)f->now.type[k - 1], t) == QN_PART_NONE) {
                        continue;
                    }
                }
                f->now.n_stages = k + 1;
                extend(f);
            }
            f->now.n_stages = k;
            f->used[t]--;
        }
    }
}

static void by_force(qn_part_plan *best, const qn_part_problem *p)
{
    force f = {.p = p};
    extend(&f);
    *best = f.best;
}

static void solve(qn_part_plan *plan, const qn_part_problem *p)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_part_solve(plan, p, &err), &err);
}

static void check_valid(const qn_part_problem *p, const qn_part_plan *plan)
{
    qn_part_plan again = *plan;
    size_t used[MAX_TYPES] = {0};
    count(p, &again);
    assert_true(again.period == plan->period && again.latency == plan->latency && again.loss == plan->loss);
    assert_true(plan->loss <= p->budget && plan->n_stages <= p->max_stages);
    assert_int_equal(plan->place[0], 0);
    assert_int_equal(plan->place[plan->n_stages], p->n_places - 1);
    for (size_t k = 0; k < plan->n_stages; k++) {
        assert_true(plan->place[k] < plan->place[k + 1]);
        assert_true((int64_t)++used[plan->type[k]] <= p->types[plan->type[k]].count);
        assert_true(p->needs[plan->place[k] * p->n_places + plan->place[k + 1]] <= p->types[plan->type[k]].memory);
    }
}

/* The same objective, stages and loss, cut at the same places on the same devices: ties are broken as said. */
static void agree_with_brute_force(void **state)
{
    (void)state;
    uint64_t seed = 20;
    size_t n_none = 0, n_several = 0, n_rate = 0, n_medium = 0, n_latency = 0, n_loss = 0;
    for (int i = 0; i < 30000; i++) {
        setting s;
        qn_part_plan expected, found;
        draw(&s, &seed);
        by_force(&expected, &s.p);
        solve(&found, &s.p);
        if (expected.n_stages != found.n_stages) {
            fail_msg("problem %d: %zu stages, not %zu", i, found.n_stages, expected.n_stages);
        }
        n_none += expected.n_stages == 0;
        n_several += expected.n_stages > 1;
        if (expected.n_stages == 0) {
            continue;
        }
        n_latency += s.p.latency;
        n_medium += !s.p.latency && s.p.shared != NULL;
        n_rate += !s.p.latency && s.p.shared == NULL;
        n_loss += expected.loss > 0;
        check_valid(&s.p, &found);
        if (qn_part_is_better(&s.p, &expected, &found) || qn_part_is_better(&s.p, &found, &expected)) {
            fail_msg("problem %d%s%s: period %lld latency %lld loss %lld, ends at %zu; not %lld %lld %lld, %zu", i,
                     s.p.latency ? " of latency" : "", s.p.shared != NULL ? " with a medium" : "",
                     (long long)found.period, (long long)found.latency, (long long)found.loss, found.place[1],
                     (long long)expected.period, (long long)expected.latency, (long long)expected.loss,
                     expected.place[1]);
        }
    }
    print_message(
        "%zu without a plan, %zu of several stages, %zu with loss; %zu of rate, %zu with a medium, %zu of latency\n",
        n_none, n_several, n_loss, n_rate, n_medium, n_latency);
    assert_true(n_none > 1000 && n_several > 5000 && n_rate > 5000 && n_medium > 2000 && n_latency > 5000 &&
                n_loss > 2000);
}

/* Every time twice, so that halves of them are whole. */
static void twice(setting *s)
{
    const qn_part_problem *p = &s->p;
    for (size_t t = 0; t < p->n_types; t++) {
        qn_part_type *type = &s->types[t];
        type->start *= type->start == QN_PART_NONE ? 1 : 2;
        type->start_delay *= 2;
        type->end *= 2;
        type->end_delay *= 2;
        for (size_t i = 0; i < p->n_places; i++) {
            s->before[t][i] *= 2;
            s->codec[t][i] *= 2;
        }
    }
    for (size_t i = 0; i < p->n_places * p->n_choices * p->n_types * p->n_types; i++) {
        s->times[i] *= s->times[i] == QN_PART_NONE ? 1 : 2;
    }
    for (size_t i = 0; i < p->n_types * p->n_types; i++) {
        s->delays[i] *= 2;
    }
}

/* Any plan, of as many stages as there are places and devices for; false: it cannot be. */
static bool draw_plan(const qn_part_problem *p, qn_part_plan *plan, uint64_t *state)
{
    *plan = (qn_part_plan){0};
    for (size_t at = 0; at + 1 < p->n_places && plan->n_stages < 6;) {
        const size_t k = plan->n_stages++;
        at += 1 + below(state, 2);
        at = at < p->n_places ? at : p->n_places - 1;
        plan->place[k + 1] = at;
        plan->type[k] = (int)below(state, p->n_types);
        plan->choice[k] = (int)below(state, p->n_choices);
        if ((k == 0 && p->types[plan->type[0]].start == QN_PART_NONE) ||
            (k > 0 && qn_part_link_busy(p, plan->place[k], plan->choice[k - 1], (size_t)plan->type[k - 1],
                                        (size_t)plan->type[k]) == QN_PART_NONE)) {
            return false;
        }
    }
    return plan->place[plan->n_stages] == p->n_places - 1;
}

/* What is said of a plan is what its pipeline does: with links of their own exactly; on a medium, where messages also
 * wait for each other in their order, it is never faster. */
static void periods_are_those_of_pipelines(void **state)
{
    (void)state;
    uint64_t seed = 7;
    size_t n = 0, n_late = 0, n_medium = 0, n_met = 0;
    double worst = 1;
    const double settled = 0.01; /* orders on a medium may come again only after many micro-batches */
    for (int i = 0; i < 6000; i++) {
        setting s;
        qn_part_plan plan;
        draw(&s, &seed);
        twice(&s);
        s.p.latency = false;
        if (!draw_plan(&s.p, &plan, &seed)) {
            continue;
        }
        qn_part_evaluate(&s.p, &plan);
        const double seconds = run(&s.p, &plan, 440, 120), period = (double)plan.period;
        if (s.p.shared == NULL) {
            n++;
            if (fabs(seconds - period) > 1e-9 * period) {
                fail_msg("plan %d of %zu stages: a period of %g, not %g", i, plan.n_stages, period, seconds);
            }
            s.p.delays = (int64_t[MAX_TYPES * MAX_TYPES]){0};
            qn_part_evaluate(&s.p, &plan);
            n_late += period > (double)plan.period;
        } else {
            n_medium++;
            n_met += seconds <= period * (1 + settled);
            worst = period > 0 && seconds / period > worst ? seconds / period : worst;
            if (seconds < period * (1 - settled)) {
                fail_msg("plan %d of %zu stages on a medium: a period of %g, but it is %g", i, plan.n_stages, period,
                         seconds);
            }
        }
    }
    print_message("%zu plans, latency is what bounds %zu; on a medium %zu, of which %zu are as fast as said, and the "
                  "slowest takes %.3f of that\n",
                  n, n_late, n_medium, n_met, worst);
    assert_true(n > 1500 && n_late > 300 && n_medium > 800 && n_met > n_medium / 2);
}

/* No pipeline of any plan is faster than that of the plan that is found. */
static void agree_with_pipelines(void **state)
{
    (void)state;
    uint64_t seed = 99;
    size_t n_problems = 0, n_several = 0, n_plans = 0;
    for (int i = 0; n_problems < 60; i++) {
        setting s;
        qn_part_plan found;
        draw(&s, &seed);
        force f = {.p = &s.p, .by_running = true};
        if (s.p.latency || s.p.shared != NULL || s.p.n_places > 5) {
            continue;
        }
        n_problems++;
        extend(&f);
        solve(&found, &s.p);
        n_plans += f.n;
        n_several += found.n_stages > 1;
        assert_int_equal(found.n_stages, f.best.n_stages);
        if (found.n_stages > 0 &&
            (qn_part_is_better(&s.p, &f.best, &found) || qn_part_is_better(&s.p, &found, &f.best))) {
            fail_msg("problem %d: a period of %lld, and loss %lld, not %lld, %lld", i, (long long)found.period,
                     (long long)found.loss, (long long)f.best.period, (long long)f.best.loss);
        }
    }
    print_message("%zu problems, %zu with several stages; %zu pipelines run\n", n_problems, n_several, n_plans);
    assert_true(n_several > 10);
}

/* Six layers of one unit each, links of no time. */
static void six_layers(setting *s, int64_t fast, int64_t slow, const char *second)
{
    *s = (setting){.p = {.n_places = 7, .n_types = 2, .n_choices = 1, .max_stages = 6, .budget = QN_PART_LOSS_ONE}};
    const bool tiny = strcmp(second, "tiny") == 0;
    s->types[0] = (qn_part_type){.count = fast, .memory = 1000};
    s->types[1] = (qn_part_type){.count = slow, .memory = tiny ? 5 : 1000};
    for (size_t i = 0; i < 7; i++) {
        s->before[0][i] = (int64_t)i;
        s->before[1][i] = (int64_t)i * (tiny ? 1 : 10);
        for (size_t j = i + 1; j < 7; j++) {
            s->needs[i * 7 + j] = (int64_t)(j - i) * 10;
        }
    }
    connect(s);
}

/* A planner that takes a host's number for its type's gives the last layers to the slow one. */
static void hosts_are_not_types(void **state)
{
    (void)state;
    setting s;
    qn_part_plan plan;
    six_layers(&s, 2, 1, "slow");
    solve(&plan, &s.p);
    assert_int_equal(plan.period, 3);
    assert_int_equal(plan.n_stages, 2);
    assert_int_equal(plan.place[1], 3);
    assert_true(plan.type[0] == 0 && plan.type[1] == 0);
    six_layers(&s, 2, 1, "tiny");
    solve(&plan, &s.p);
    assert_int_equal(plan.period, 3);
    assert_true(plan.n_stages == 2 && plan.type[0] == 0 && plan.type[1] == 0);
    six_layers(&s, 0, 1, "tiny");
    solve(&plan, &s.p);
    assert_int_equal(plan.n_stages, 0);
    six_layers(&s, 0, 0, "slow");
    solve(&plan, &s.p);
    assert_int_equal(plan.n_stages, 0);
    six_layers(&s, 1, 0, "slow");
    solve(&plan, &s.p);
    assert_true(plan.n_stages == 1 && plan.period == 6 && plan.latency == 6);
}

/* A large network on many devices, which is to take seconds at most: how long, a person sees. */
static int64_t slow = 1;
static void large(size_t n_places, bool uniform, bool latency, bool medium, bool memory)
{
    uint64_t seed = 3;
    enum { N_TYPES = 8, N_CHOICES = 4 };
    qn_arena arena = {0};
    qn_part_type types[N_TYPES];
    int64_t *needs = qn_arena_array(&arena, n_places * n_places, sizeof *needs);
    int64_t *bytes = qn_arena_array(&arena, n_places * N_CHOICES, sizeof *bytes);
    int32_t *losses = qn_arena_array(&arena, n_places * N_CHOICES, sizeof *losses);
    int64_t *times = qn_arena_array(&arena, n_places * N_CHOICES * N_TYPES * N_TYPES, sizeof *times);
    int64_t *work = qn_arena_array(&arena, n_places, sizeof *work);
    bool shared[N_TYPES * N_TYPES];
    int64_t delays[N_TYPES * N_TYPES];
    for (size_t k = 0; k < N_TYPES * N_TYPES; k++) {
        delays[k] = uniform ? 1000000 : 500000 + (int64_t)(k * 5 % 7) * 100000;
    }
    memset(shared, 1, sizeof shared);
    for (size_t i = 0; i < n_places; i++) {
        work[i] = 1000 + (int64_t)below(&seed, 100000);
        for (size_t c = 0; c < N_CHOICES; c++) {
            bytes[i * N_CHOICES + c] = (1000 + (int64_t)below(&seed, 20000)) / (int64_t)(c + 1);
            losses[i * N_CHOICES + c] = (int32_t)(c * c * below(&seed, 6) * 200000);
            for (size_t k = 0; k < N_TYPES * N_TYPES; k++) {
                const int64_t factor = uniform ? 100 : 50 + (int64_t)((k * 7) % 13) * 10;
                times[(i * N_CHOICES + c) * N_TYPES * N_TYPES + k] = bytes[i * N_CHOICES + c] * factor * slow;
            }
        }
        for (size_t j = i + 1; j < n_places; j++) {
            needs[i * n_places + j] = (int64_t)(j - i) * 1000 + bytes[i * N_CHOICES] + bytes[j * N_CHOICES];
        }
    }
    for (size_t t = 0; t < N_TYPES; t++) {
        int64_t *before = qn_arena_array(&arena, n_places, sizeof *before);
        int64_t *codec = qn_arena_array(&arena, n_places, sizeof *codec);
        for (size_t i = 1; i < n_places; i++) {
            before[i] = before[i - 1] + work[i] * (int64_t)(10 + 5 * t);
        }
        types[t] = (qn_part_type){.count = 2, .before = before, .codec = codec};
        types[t].memory = memory ? (int64_t)(n_places * 1000 / (5 + 2 * t)) + 50000 : INT64_MAX;
    }
    const qn_part_problem p = {.n_places = n_places,
                               .n_types = N_TYPES,
                               .n_choices = N_CHOICES,
                               .types = types,
                               .needs = needs,
                               .times = times,
                               .delays = delays,
                               .bytes = bytes,
                               .losses = losses,
                               .shared = medium ? shared : NULL,
                               .budget = 10000000,
                               .max_stages = 16,
                               .latency = latency};
    qn_part_plan plan;
    solve(&plan, &p);
    print_message("%zu places%s%s%s%s: %zu stages, period %lld, latency %lld, loss %lld\n", n_places,
                  uniform ? "" : ", unequal links", latency ? ", latency" : "", medium ? ", one medium" : "",
                  memory ? ", little memory" : "", plan.n_stages, (long long)plan.period, (long long)plan.latency,
                  (long long)plan.loss);
    assert_true(plan.n_stages > 0);
    qn_arena_free(&arena);
}

static void large_networks(void **state)
{
    (void)state;
    large(200, true, false, false, true);
    large(200, false, false, false, true);
    large(400, false, true, false, false);
    large(100, true, false, true, false);
}

/* Rows of spans are spans, one by one. */
static void rows_are_spans(void **state)
{
    (void)state;
    qn_error err;
    qn_model *model;
    qn_cuts *cuts;
    qn_cut_rows rows;
    qn_arena arena = {0};
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_cuts_create(&cuts, model, QN_ENGINE_FLOAT, &err), &err);
    qn_assert_ok(qn_cut_rows_make(&rows, &arena, cuts, &err), &err);
    for (size_t i = 0; i < qn_cuts_last(cuts); i++) {
        qn_cut_row(&rows, i);
        for (size_t j = i; j <= qn_cuts_last(cuts); j++) {
            const qn_cut_span span = qn_cuts_span(cuts, i, j);
            assert_int_equal(rows.weights[j], span.weight_bytes);
            assert_int_equal(rows.activations[j], span.activation_bytes);
            assert_int_equal(rows.macs[j] - rows.macs[i], span.macs);
        }
    }
    qn_arena_free(&arena);
    qn_cuts_free(cuts);
    qn_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc >= 2) {
        slow = argc > 3 ? atoi(argv[3]) : 1;
        for (const char *c = argv[1]; *c != 0; c++) {
            const int k = *c - 'a';
            large(argc > 2 ? (size_t)atoi(argv[2]) : 1000, k & 1, k & 2, k & 4, k & 8);
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agree_with_brute_force), cmocka_unit_test(periods_are_those_of_pipelines),
        cmocka_unit_test(agree_with_pipelines),   cmocka_unit_test(hosts_are_not_types),
        cmocka_unit_test(large_networks),         cmocka_unit_test(rows_are_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
