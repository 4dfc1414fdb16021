/* The planner's solvers against brute force: all cuts, all orders of devices, all formats, on thousands of small
 * problems; and what earlier planners get wrong. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/cut.h"
#include "link/partition.h"
#include "quern/quern.h"

enum { MAX_PLACES = 8, MAX_TYPES = 4, MAX_CHOICES = 4 };

typedef struct {
    qn_part_problem p;
    qn_part_type types[MAX_TYPES];
    int64_t before[MAX_TYPES][MAX_PLACES], codec[MAX_TYPES][MAX_PLACES];
    int64_t needs[MAX_PLACES * MAX_PLACES], bytes[MAX_PLACES * MAX_CHOICES];
    int64_t times[MAX_PLACES * MAX_CHOICES * MAX_TYPES * MAX_TYPES];
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
    }
    connect(s);
}

/* What a plan takes, from the definition. */
static void count(const qn_part_problem *p, qn_part_plan *plan)
{
    int64_t times[2 * MAX_PLACES + 2], medium = 0;
    size_t n = 0;
    const qn_part_type *first = &p->types[plan->type[0]], *last = &p->types[plan->type[plan->n_stages - 1]];
    plan->loss = plan->latency = plan->period = 0;
    times[n++] = first->start;
    times[n++] = last->end;
    medium += first->start_shared ? first->start : 0;
    medium += last->end_shared ? last->end : 0;
    for (size_t k = 0; k < plan->n_stages; k++) {
        const qn_part_type *type = &p->types[plan->type[k]];
        const size_t to = plan->place[k + 1];
        times[n] = type->codec[plan->place[k]] + type->codec[to];
        for (size_t i = plan->place[k]; i < to; i++) {
            times[n] += type->before[i + 1] - type->before[i];
        }
        n++;
        if (k + 1 < plan->n_stages) {
            const size_t at = to * p->n_choices + (size_t)plan->choice[k];
            const size_t a = (size_t)plan->type[k], b = (size_t)plan->type[k + 1];
            times[n] = p->times[(at * p->n_types + a) * p->n_types + b];
            medium += p->shared != NULL && p->shared[a * p->n_types + b] ? times[n] : 0;
            n++;
            plan->loss += p->losses[at];
        }
    }
    for (size_t i = 0; i < n; i++) {
        plan->latency += times[i];
        plan->period = times[i] > plan->period ? times[i] : plan->period;
    }
    plan->period = p->shared != NULL && medium > plan->period ? medium : plan->period;
}

/* Every plan, one after another. */
typedef struct {
    const qn_part_problem *p;
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
        cmocka_unit_test(agree_with_brute_force),
        cmocka_unit_test(hosts_are_not_types),
        cmocka_unit_test(large_networks),
        cmocka_unit_test(rows_are_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
