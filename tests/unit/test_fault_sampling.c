/* Sampled campaigns against the exhaustive one: over many seeds, intervals cover the true rate no less often than they state. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fault/campaign.h"
#include "graph/model.h"

enum { N_ITEMS = 12, N_IN = 10, N_HIDDEN = 14, N_OUT = 5, REPETITIONS = 200, BITS = 32, MOST = N_HIDDEN * N_IN };

typedef struct {
    qn_tensor x;
    qn_dataset *set;
    qn_model *model;
    qn_error err;
    qn_program *program;
    qn_fault_targets targets;
    int64_t hits[8][MOST][BITS]; /* SDC-1 of each weight bit, over all images */
} fixture;

static void setup(fixture *f)
{
    qn_error_init(&f->err);
    uint64_t seed = 77;
    qn_assert_ok(qn_tensor_alloc(&f->x, QN_DTYPE_F32, 2, (int64_t[]){N_ITEMS, N_IN}, &f->err), &f->err);
    for (int i = 0; i < N_ITEMS * N_IN; i++) {
        ((float *)f->x.data)[i] = qn_test_uniform(&seed, -1, 1);
    }
    qn_assert_ok(qn_dataset_of_tensor(&f->set, &f->x, NULL, &f->err), &f->err);
    f->model = qn_alloc(sizeof *f->model);
    assert_non_null(f->model);
    qn_graph *graph = &f->model->graph;
    graph->opset = 13;
    graph->file = "two_layers.onnx";
    float w1[N_HIDDEN * N_IN], w2[N_OUT * N_HIDDEN];
    for (int i = 0; i < N_HIDDEN * N_IN; i++) {
        w1[i] = qn_test_uniform(&seed, -1, 1);
    }
    for (int i = 0; i < N_OUT * N_HIDDEN; i++) {
        w2[i] = qn_test_uniform(&seed, -1, 1);
    }
    qn_test_input(graph, "x", DIMS(-1, N_IN));
    qn_test_floats(graph, "w1", DIMS(N_HIDDEN, N_IN), w1);
    qn_test_floats(graph, "w2", DIMS(N_OUT, N_HIDDEN), w2);
    NODE_WITH(graph, "Gemm", "x w1", "h", A_INT("transB", 1));
    NODE(graph, "Relu", "h", "r");
    NODE_WITH(graph, "Gemm", "r w2", "y", A_INT("transB", 1));
    qn_test_output(graph, "y");
}

static int bit_of(uint32_t mask)
{
    assert_int_equal(__builtin_popcount(mask), 1);
    return __builtin_ctz(mask);
}

/* Every fault on every image, by a real campaign. */
static void run_all(fixture *f)
{
    qn_fault_spec *spec;
    qn_campaign_options options;
    qn_campaign_stats stats;
    qn_store *store;
    qn_assert_ok(
        qn_fault_spec_of_text(&spec, "faults:\n  - {where: weights, bits: [16-31], sample: all}\n", "all", &f->err),
        &f->err);
    qn_assert_ok(qn_campaign_options_init(&options, f->model, &f->err), &f->err);
    options.data = f->set;
    options.spec = spec;
    options.store = qn_scratch_file("all.db");
    options.n_threads = 1;
    qn_assert_ok(qn_campaign_run(&options, &stats, &f->err), &f->err);
    qn_assert_ok(qn_store_open(&store, options.store, &f->err), &f->err);
    qn_fault_row row;
    bool found = true;
    assert_int_equal(stats.faults, (N_HIDDEN * N_IN + N_OUT * N_HIDDEN) * 16);
    for (int64_t id = 0; id < stats.faults; id++) {
        qn_assert_ok(qn_store_row(store, id, &row, &found, &f->err), &f->err);
        assert_true(found && row.pairs == N_ITEMS && row.target < 8 && row.element < MOST);
        f->hits[row.target][row.element][bit_of(row.mask)] = row.counts[2];
    }
    qn_store_close(store);
    qn_fault_spec_close(spec);
    qn_program_options program;
    qn_assert_ok(qn_program_options_init(&program, QN_ENGINE_FLOAT, &f->err), &f->err);
    program.keep_values = true;
    qn_assert_ok(qn_program_create(&f->program, f->model, &program, &f->err), &f->err);
    qn_assert_ok(qn_fault_targets_make(&f->targets, f->program, &f->err), &f->err);
}

/* The tallies that a campaign with this seed comes to, round by round; *truth: of each stratum and, last, of all. */
static void sample(fixture *f, const qn_fault_spec *spec, uint64_t seed, qn_fault_tally *tallies, int n_strata)
{
    qn_fault_space space;
    qn_campaign_rounds rounds = {.block_pairs = 1000};
    qn_arena arena = {0};
    qn_assert_ok(qn_fault_space_make(&space, spec, &f->targets, f->program, seed, N_ITEMS, &f->err), &f->err);
    assert_int_equal(space.n_strata, n_strata);
    for (int h = 0; h < n_strata; h++) {
        tallies[h] = (qn_fault_tally){.population = space.strata[h].population};
    }
    bool more = true;
    size_t done = 0;
    for (;;) {
        qn_assert_ok(qn_campaign_rounds_next(&rounds, &space, tallies, &more, &f->err), &f->err);
        if (!more) {
            break;
        }
        for (; done < rounds.n_parts; done++) {
            const qn_store_part *part = &rounds.parts[done];
            for (int64_t i = 0; i < part->n; i++) {
                qn_fault fault = {0};
                qn_assert_ok(qn_fault_space_draw(&space, part->stratum, part->first_draw + i, &arena, &fault, &f->err),
                             &f->err);
                const qn_fault_change *c = fault.changes;
                qn_fault_tally_add(&tallies[part->stratum], f->hits[c->target][c->element][bit_of(c->xor_mask)],
                                   N_ITEMS);
            }
        }
        qn_arena_free(&arena);
    }
    qn_campaign_rounds_free(&rounds);
    qn_fault_space_free(&space);
}

/* The true tallies: every draw of every stratum. */
static int truth_of(fixture *f, const qn_fault_spec *spec, qn_fault_tally *tallies, int most)
{
    qn_fault_space space;
    qn_arena arena = {0};
    qn_assert_ok(qn_fault_space_make(&space, spec, &f->targets, f->program, 0, N_ITEMS, &f->err), &f->err);
    assert_true(space.n_strata <= most);
    const int n = space.n_strata;
    for (int h = 0; h < n; h++) {
        tallies[h] = (qn_fault_tally){.population = space.strata[h].population};
        for (int64_t i = 0; i < space.strata[h].population; i++) {
            qn_fault fault = {0};
            qn_assert_ok(qn_fault_space_draw(&space, h, i, &arena, &fault, &f->err), &f->err);
            const qn_fault_change *c = fault.changes;
            qn_fault_tally_add(&tallies[h], f->hits[c->target][c->element][bit_of(c->xor_mask)], N_ITEMS);
        }
    }
    qn_arena_free(&arena);
    qn_fault_space_free(&space);
    return n;
}

static double binomial_below(int64_t k, int64_t n, double p)
{
    double sum = 0;
    for (int64_t i = 0; i <= k; i++) {
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * log(p) +
                   (double)(n - i) * log1p(-p));
    }
    return sum;
}

static void covers(double rate, const qn_interval *interval, int64_t *n_covered)
{
    *n_covered += interval->low <= rate + 1e-12 && rate - 1e-12 <= interval->high;
}

static void check(const char *what, int64_t covered, double confidence)
{
    if (binomial_below(covered, REPETITIONS, confidence) < 0.01) {
        fail_msg("%s: %lld of %d intervals cover the true rate at %g", what, (long long)covered, REPETITIONS,
                 confidence);
    }
}

static void intervals_cover_the_exhaustive_rate(void **state)
{
    enum { MOST_STRATA = 64 };
    static const char *const samples[] = {"'40'",
                                          "'400'",
                                          "'10 per layer,bit'",
                                          "'40 per bit'",
                                          "'margin 5% confidence 95% per layer'",
                                          "'until 4% confidence 90%'",
                                          "'until 8% confidence 95% per layer'",
                                          "'until 10% confidence 99% per bit'"};
    static const double confidences[] = {0.9, 0.95, 0.99};
    fixture *f = *state;
    for (size_t s = 0; s < sizeof samples / sizeof samples[0]; s++) {
        char text[200];
        snprintf(text, sizeof text, "faults:\n  - {where: weights, bits: [16-31], sample: %s}\n", samples[s]);
        qn_fault_spec *spec;
        qn_assert_ok(qn_fault_spec_of_text(&spec, text, "sampled", &f->err), &f->err);
        qn_fault_tally truth[MOST_STRATA], tallies[MOST_STRATA];
        const int n = truth_of(f, spec, truth, MOST_STRATA);
        const double rate = qn_fault_rate(truth, n, 0.95, false).rate;
        assert_true(rate > 0.005 && rate < 0.5);
        int64_t covered[3][2] = {{0}}, strata[MOST_STRATA] = {0};
        for (uint64_t seed = 1; seed <= REPETITIONS; seed++) {
            sample(f, spec, seed, tallies, n);
            for (int c = 0; c < 3; c++) {
                for (int clopper = 0; clopper < 2; clopper++) {
                    const qn_interval all = qn_fault_rate(tallies, n, confidences[c], clopper);
                    covers(rate, &all, &covered[c][clopper]);
                }
            }
            for (int h = 0; h < n; h++) { /* each alone, as sequential sampling looks at them */
                const qn_interval alone = qn_fault_rate(&tallies[h], 1, 0.95, false);
                covers((double)truth[h].hits / (double)truth[h].pairs, &alone, &strata[h]);
            }
        }
        for (int c = 0; c < 3; c++) {
            check(samples[s], covered[c][0], confidences[c]);
            check(samples[s], covered[c][1], confidences[c]);
        }
        for (int h = 0; h < n; h++) {
            check(samples[s], strata[h], 0.95);
        }
        qn_fault_spec_close(spec);
    }
}

/* All changes of a block are in memory at once. */
static void faults_of_many_codes_make_small_blocks(void **state)
{
    enum { N_WEIGHTS = N_HIDDEN * N_IN + N_OUT * N_HIDDEN, MOST_CHANGES = 1 << 21 };
    fixture *f = *state;
    qn_fault_spec *spec;
    qn_fault_space space;
    qn_campaign_rounds rounds = {.block_pairs = INT64_C(1) << 40};
    qn_fault_tally tally;
    bool more;
    qn_assert_ok(qn_fault_spec_of_text(&spec,
                                       "faults:\n  - {where: weights, model: set-zero, pattern: all, sample: 1}\n"
                                       "  - {where: weights, pattern: count 200, sample: 20000}\n",
                                       "many", &f->err),
                 &f->err);
    qn_assert_ok(qn_fault_space_make(&space, spec, &f->targets, f->program, 1, N_ITEMS, &f->err), &f->err);
    assert_int_equal(space.n_strata, 2);
    assert_true(space.strata[0].n_changes == N_WEIGHTS && space.strata[1].n_changes == 200);
    qn_assert_ok(qn_campaign_rounds_next(&rounds, &space, &tally, &more, &f->err), &f->err);
    int64_t n = 0;
    for (size_t b = 0; b < rounds.n_blocks; b++) {
        assert_true(rounds.blocks[b].n > 0 && rounds.blocks[b].n * 200 <= MOST_CHANGES);
        assert_true(rounds.blocks[b].first_id == n);
        n += rounds.blocks[b].n;
    }
    assert_int_equal(n, 20001);
    assert_int_equal(rounds.n_blocks, 2);
    qn_campaign_rounds_free(&rounds);
    qn_fault_space_free(&space);
    qn_fault_spec_close(spec);
}

static int make(void **state)
{
    fixture *f = qn_alloc(sizeof *f);
    setup(f);
    run_all(f);
    *state = f;
    return 0;
}

static int release(void **state)
{
    fixture *f = *state;
    qn_fault_targets_free(&f->targets);
    qn_program_free(f->program);
    qn_model_free(f->model);
    qn_dataset_close(f->set);
    qn_tensor_free(&f->x);
    qn_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_cover_the_exhaustive_rate),
        cmocka_unit_test(faults_of_many_codes_make_small_blocks),
    };
    return cmocka_run_group_tests(tests, make, release);
}
