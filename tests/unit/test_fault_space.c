/* Spaces of single faults: what selectors select, strata, populations, draws. Patterns: test_fault_patterns.c. */
#include "fault_space_bench.h"

#include <math.h>

enum { W = 1u << QN_FAULT_WEIGHTS, SUMS = 1u << QN_FAULT_PARTIAL_SUMS | 1u << QN_FAULT_PRODUCTS };

/* What is visited is counted per (target, element, term, bit). */
typedef struct visits {
    unsigned char *seen;
    int64_t *first; /* per target */
    int64_t n;
} visits;

static visits visits_new(const fault_bench *b)
{
    visits v = {.first = calloc((size_t)b->targets.n, sizeof *v.first)};
    for (int i = 0; i < b->targets.n; i++) {
        v.first[i] = v.n;
        v.n += b->targets.list[i].n_elems * b->targets.list[i].n_terms * 32;
    }
    v.seen = calloc((size_t)v.n, 1);
    return v;
}

static void visits_free(visits *v)
{
    free(v->seen);
    free(v->first);
}

static int bit_number(uint32_t mask)
{
    assert_true(mask != 0 && (mask & (mask - 1)) == 0);
    int bit = 0;
    while (mask >> bit != 1) {
        bit++;
    }
    return bit;
}

/* Draw everything; each site exactly once, one bit flipped, nothing else. */
static void draw_all(fault_bench *b, visits *v)
{
    for (int s = 0; s < b->space.n_strata; s++) {
        for (int64_t i = 0; i < b->space.strata[s].population; i++) {
            const qn_fault f = bench_draw(b, s, i);
            assert_int_equal(f.n_changes, 1);
            const qn_fault_change *c = f.changes;
            assert_int_equal(c->and_mask, UINT32_MAX);
            assert_int_equal(c->or_mask, 0);
            assert_true(c->add == 0);
            const int64_t place = c->element * b->targets.list[c->target].n_terms + c->term;
            unsigned char *seen = &v->seen[v->first[c->target] + place * 32 + bit_number(c->xor_mask)];
            assert_int_equal(*seen, 0);
            *seen = 1;
        }
    }
}

static bool in_ranges(const qn_fault_ranges *ranges, int64_t index)
{
    bool in = ranges->n == 0;
    for (int i = 0; i < ranges->n; i++) {
        in |= index >= ranges->list[i].first && index <= ranges->list[i].last;
    }
    return in;
}

/* Is the axis' index among those asked for? A target without the axis is not, unless nothing is asked. */
static bool axis_selected(const qn_fault_target *t, const qn_fault_ranges *ranges, int axis, int64_t element)
{
    if (axis < 0) {
        return ranges->n == 0;
    }
    for (int i = t->rank - 1; i > axis; i--) {
        element /= t->dims[i];
    }
    return in_ranges(ranges, element % t->dims[axis]);
}

static bool selected(const qn_fault_selector *s, const qn_fault_target *t, int64_t element, int64_t term, int bit)
{
    const bool sum = t->where == QN_FAULT_PARTIAL_SUMS || t->where == QN_FAULT_PRODUCTS;
    return (s->where >> t->where & 1) != 0 && axis_selected(t, &s->channels, t->channel_axis, element) &&
           axis_selected(t, &s->rows, t->row_axis, element) && axis_selected(t, &s->columns, t->column_axis, element) &&
           in_ranges(&s->elements, element) && (sum ? in_ranges(&s->terms, term) : s->terms.n == 0) && bit < t->bits &&
           in_ranges(&s->bits, bit);
}

static void compare_with_enumeration(fault_bench *b)
{
    visits v = visits_new(b);
    draw_all(b, &v);
    for (int i = 0; i < b->targets.n; i++) {
        const qn_fault_target *t = &b->targets.list[i];
        for (int64_t place = 0; place < t->n_elems * t->n_terms; place++) {
            for (int bit = 0; bit < 32; bit++) {
                const bool wanted = selected(&b->set.select, t, place / t->n_terms, place % t->n_terms, bit);
                assert_int_equal(v.seen[v.first[i] + place * 32 + bit], wanted);
            }
        }
    }
    visits_free(&v);
}

static void exhaustive_visits_each_site_once(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    bench_space(b, 1);
    assert_int_equal(b->space.n_strata, 1);
    assert_string_equal(b->space.strata[0].label, "all");
    assert_int_equal(b->space.strata[0].population, (108 + 36 + 360) * 8);
    compare_with_enumeration(b);
    bench_reset(b, QN_FAULT_NETWORK_PLACES); /* all places; those there are none of are no error then */
    bench_space(b, 1);
    assert_int_equal(bench_population(b), (108 + 36 + 360) * 8 + (4 + 4 + 10) * 32 + (144 + 36 + 10) * 8 + 108 * 8 +
                                              (144 + 36 + 10) * 32 + 2 * (144 * 27 + 36 * 9 + 10 * 36) * 32 +
                                              (4 + 4 + 10 + 4) * (32 + 8));
    compare_with_enumeration(b);
    bench_close(b);
}

/* Up to three ranges below `size`. */
static qn_fault_ranges random_ranges(uint64_t *random, qn_fault_range list[3], int64_t size)
{
    qn_fault_ranges ranges = {list, (int)(qn_test_random(random) % 4)};
    for (int i = 0; i < ranges.n; i++) {
        list[i].first = (int64_t)(qn_test_random(random) % (uint64_t)size);
        list[i].last = list[i].first + (int64_t)(qn_test_random(random) % (uint64_t)(size - list[i].first));
    }
    return ranges;
}

static void selectors_select_what_enumeration_does(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    static const unsigned wheres[] = {W, W | 1u << QN_FAULT_BIASES, 1u << QN_FAULT_ACTIVATIONS, SUMS,
                                      1u << QN_FAULT_INPUTS | 1u << QN_FAULT_ACCUMULATORS};
    static const int64_t channels[] = {4, 4, 4, 4, 3}, elements[] = {36, 4, 10, 10, 10};
    uint64_t random = 1;
    int made = 0;
    for (int i = 0; i < 60; i++) {
        qn_fault_range lists[6][3];
        const int w = i % 5;
        bench_reset(b, wheres[w]);
        qn_fault_selector *s = &b->set.select;
        s->channels = random_ranges(&random, lists[0], channels[w]);
        s->rows = random_ranges(&random, lists[1], 3);
        s->columns = random_ranges(&random, lists[2], 3);
        s->bits = random_ranges(&random, lists[3], 8);
        if (i % 3 == 0) {
            s->elements = random_ranges(&random, lists[4], elements[w]);
        }
        if (wheres[w] == SUMS) {
            s->terms = random_ranges(&random, lists[5], 9);
        }
        bench_space_free(b);
        if (qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, 1, b->n_images, &b->err) != QN_OK) {
            assert_non_null(strstr(b->err.message, "nothing in common")); /* elements, and what else is asked */
            qn_error_init(&b->err);
            continue;
        }
        made++;
        compare_with_enumeration(b);
    }
    assert_true(made >= 45);
    bench_close(b);
}

/* Layer x bit x where x channel, and each of them alone: strata part the same sites, and each holds what its name says. */
static void strata_part_the_space(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    /* per set of parts: where, layer, bit, channel */
    static const int counts[16] = {1, 2, 3, 6, 32, 40, 96, 120, 10, 20, 18, 36, 320, 400, 576, 720};
    for (unsigned by = 0; by < 16; by++) {
        bench_reset(b, W | 1u << QN_FAULT_BIASES);
        b->set.sample.by = by;
        bench_space(b, 1);
        assert_int_equal(bench_population(b), 504 * 8 + 18 * 32);
        assert_int_equal(b->space.n_strata, counts[by]);
        compare_with_enumeration(b);
        for (int s = 0; s < b->space.n_strata; s++) {
            const qn_fault_stratum *stratum = &b->space.strata[s];
            for (int64_t i = 0; i < stratum->population; i += 1 + stratum->population / 5) {
                const qn_fault f = bench_draw(b, s, i);
                const qn_fault_target *t = &b->targets.list[f.changes[0].target];
                int64_t channel = f.changes[0].element;
                for (int k = t->rank - 1; k > 0; k--) {
                    channel /= t->dims[k]; /* channels of weights and biases come first here */
                }
                assert_int_equal(stratum->where, by & 1 ? (int)t->where : -1);
                assert_int_equal(stratum->layer != NULL, by >> 1 & 1);
                assert_true(stratum->layer == NULL || strcmp(stratum->layer, t->layer) == 0);
                assert_int_equal(stratum->bit, by >> 2 & 1 ? bit_number(f.changes[0].xor_mask) : -1);
                assert_int_equal(stratum->channel, by >> 3 & 1 ? channel : -1);
            }
        }
    }
    assert_string_equal(b->space.strata[0].label, "c1 / channel 0 / bit 0 / weights");
    bench_close(b);
}

/* Sampling: a permutation, so without duplicates until all is drawn; natural order when exhaustive. */
static void samples_have_no_duplicates(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 100, .by = 1u << QN_FAULT_BY_LAYER};
    bench_space(b, 1);
    compare_with_enumeration(b);
    int64_t ascending = 0, last = -1;
    for (int64_t i = 0; i < 200; i++) {
        const qn_fault f = bench_draw(b, 0, i);
        ascending += f.changes[0].element > last;
        last = f.changes[0].element;
    }
    assert_in_range(ascending, 60, 140);
    bench_close(b);
}

/* The first 4000 of 37 million partial sums' bits: bits, channels and terms come equally often (99.9 % of chi-square). */
static void draws_are_uniform(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    bench_reset(b, 1u << QN_FAULT_PARTIAL_SUMS);
    const char *layers[] = {"c1"};
    b->set.select.layers = (qn_fault_names){layers, 1};
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 4000};
    b->n_images = 10;
    for (uint64_t seed = 0; seed < 5; seed++) {
        bench_space(b, seed);
        assert_int_equal(bench_population(b), 144 * 27 * 32 * 10);
        int bits[32] = {0}, terms[27] = {0}, elements[144] = {0}, images[10] = {0};
        enum { N = 40000 };
        for (int64_t i = 0; i < N; i++) {
            const qn_fault f = bench_draw(b, 0, i);
            bits[bit_number(f.changes[0].xor_mask)]++;
            terms[f.changes[0].term]++;
            elements[f.changes[0].element]++;
            images[f.first_image]++;
            assert_int_equal(f.n_images, 1);
        }
        const struct {
            const int *counts;
            int n;
            double most;
        } tests[] = {{bits, 32, 61.1}, {terms, 27, 54.1}, {elements, 144, 201.0}, {images, 10, 27.9}};
        for (int k = 0; k < 4; k++) {
            double chi = 0, expected = (double)N / tests[k].n;
            for (int i = 0; i < tests[k].n; i++) {
                chi += (tests[k].counts[i] - expected) * (tests[k].counts[i] - expected) / expected;
            }
            assert_true(chi < tests[k].most);
        }
    }
    bench_close(b);
}

/* A draw is the same whatever was drawn before, and another with another seed, set or stratum. */
static void draws_follow_from_seed_and_number(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 100, .by = 1u << QN_FAULT_BY_LAYER};
    b->set.lifetime = 1;
    b->n_images = 10;
    enum { N = 100 };
    qn_fault_change first[N];
    int64_t images[N];
    bench_space(b, 1);
    for (int i = 0; i < N; i++) {
        const qn_fault f = bench_draw(b, 1, i);
        first[i] = f.changes[0];
        images[i] = f.first_image;
    }
    bench_space(b, 1);
    for (int i = N - 1; i >= 0; i--) {
        const qn_fault f = bench_draw(b, 1, i);
        assert_memory_equal(f.changes, &first[i], sizeof first[i]);
        assert_int_equal(f.first_image, images[i]);
    }
    int same = 0;
    bench_space(b, 2);
    for (int i = 0; i < N; i++) {
        const qn_fault f = bench_draw(b, 1, i);
        same += memcmp(f.changes, &first[i], sizeof first[i]) == 0;
    }
    assert_true(same < 20); /* of 288 sites */
    qn_fault fault = {0};
    qn_assert_fails(qn_fault_space_draw(&b->space, 1, 36 * 8 * 10, &b->arena, &fault, &b->err), &b->err, QN_EINVAL,
                    "2880");
    bench_close(b);
}

static void check_images(fault_bench *b, int64_t lifetime, unsigned where, int64_t n_images, bool drawn)
{
    bench_reset(b, where);
    b->set.lifetime = lifetime;
    b->n_images = 10;
    bench_space(b, 3);
    int64_t firsts = 0;
    for (int64_t i = 0; i < 60; i++) {
        const qn_fault f = bench_draw(b, 0, i);
        assert_int_equal(f.n_images, n_images);
        assert_in_range(f.first_image, 0, 9);
        firsts |= (int64_t)1 << f.first_image;
    }
    assert_int_equal(firsts == 1, !drawn);
    assert_true(!drawn || firsts == 1023); /* all ten of them */
}

static void lifetimes_choose_images(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    check_images(b, -1, W, 10, false);
    check_images(b, -1, 1u << QN_FAULT_SCALES, 10, false);
    check_images(b, -1, 1u << QN_FAULT_ACTIVATIONS, 1, true);
    check_images(b, -1, 1u << QN_FAULT_INPUTS, 1, true);
    check_images(b, -1, 1u << QN_FAULT_PRODUCTS, 1, true);
    check_images(b, 0, 1u << QN_FAULT_ACTIVATIONS, 10, false);
    check_images(b, 1, W, 1, true);
    check_images(b, 3, W, 3, true);
    check_images(b, 100, W, 10, false);
    bench_close(b);
}

/* Exhaustive transient faults: every site in every image, once. */
static void transient_sites_meet_every_image(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const char *layers[] = {"c1"};
    b->set.select.layers = (qn_fault_names){layers, 1};
    b->set.lifetime = 3;
    b->n_images = 10;
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 108 * 8 * 10);
    static bool seen[108][8][10];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < 108 * 8 * 10; i++) {
        const qn_fault f = bench_draw(b, 0, i);
        bool *here = &seen[f.changes[0].element][bit_number(f.changes[0].xor_mask)][f.first_image];
        assert_false(*here);
        *here = true;
        assert_int_equal(f.n_images, 3);
    }
    bench_close(b);
}

/* Weights stay, activations do not: they are told apart, and each is drawn by itself. */
static void strata_never_mix_lifetimes(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    bench_reset(b, W | 1u << QN_FAULT_ACTIVATIONS);
    b->n_images = 10;
    bench_space(b, 1);
    assert_int_equal(b->space.n_strata, 2);
    assert_string_equal(b->space.strata[0].label, "permanent");
    assert_string_equal(b->space.strata[1].label, "transient");
    assert_int_equal(b->space.strata[0].images, 10);
    assert_int_equal(b->space.strata[1].images, 1);
    assert_int_equal(b->space.strata[0].population, (108 + 36 + 360) * 8);
    assert_int_equal(b->space.strata[1].population, (144 + 36 + 10) * 8 * 10);
    bench_close(b);
}

/* Combinations of bits: each once; bursts are adjacent. */
static void several_bits_are_numbered(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const qn_fault_range one = {0, 0}, bits[2] = {{1, 5}, {7, 7}};
    for (int n = 1; n <= 6; n++) {
        for (int burst = 0; burst < 2; burst++) {
            bench_reset(b, 1u << QN_FAULT_BIASES);
            const char *layers[] = {"c1"};
            b->set.select.layers = (qn_fault_names){layers, 1};
            b->set.select.channels = (qn_fault_ranges){&one, 1};
            b->set.select.bits = (qn_fault_ranges){bits, 2};
            b->set.n_bits = n;
            b->set.burst = burst;
            b->set.model = n % 2 == 0 ? QN_FAULT_STUCK_AT_0 : QN_FAULT_STUCK_AT_1;
            uint32_t wanted[64];
            int n_wanted = 0;
            for (uint32_t mask = 1; mask < 256; mask++) {
                const uint32_t low = mask & (~mask + 1);
                const bool fits = __builtin_popcount(mask) == n && (mask & ~0xbeu) == 0;
                if (fits && (!burst || mask == low * (((uint32_t)1 << n) - 1))) {
                    wanted[n_wanted++] = mask;
                }
            }
            if (n_wanted == 0) {
                bench_space_free(b);
                qn_assert_fails(
                    qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, 1, b->n_images, &b->err), &b->err,
                    QN_EINVAL, "none of the codes selected has 6 adjacent bits");
                qn_error_init(&b->err);
                continue;
            }
            bench_space(b, 1);
            assert_int_equal(bench_population(b), n_wanted);
            for (int64_t i = 0; i < n_wanted; i++) {
                const qn_fault f = bench_draw(b, 0, i);
                const uint32_t struck = n % 2 == 0 ? ~f.changes[0].and_mask : f.changes[0].or_mask;
                int found = 0;
                for (int k = 0; k < n_wanted; k++) {
                    if (wanted[k] == struck) {
                        wanted[k] = 0;
                        found++;
                    }
                }
                assert_int_equal(found, 1);
            }
        }
    }
    bench_close(b);
}

static qn_fault_change draw_model(fault_bench *b, qn_fault_model model, qn_fault_where where, int64_t draw)
{
    bench_reset(b, 1u << where);
    const char *layers[] = {"c1"};
    b->set.select.layers = (qn_fault_names){layers, 1};
    b->set.model = model;
    b->set.value = 0.25;
    b->set.lo = -2, b->set.hi = 3;
    b->set.mean = 5, b->set.std = 0.5;
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 10};
    bench_space(b, 1);
    return bench_draw(b, 0, draw).changes[0];
}

/* encode(0.25) is the nearest code: no other stands for something closer. */
static void models_change_codes(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const int w = bench_target(b, QN_FAULT_WEIGHTS, "c1");
    for (int64_t i = 0; i < 40; i++) {
        qn_fault_change c = draw_model(b, QN_FAULT_SET_VALUE, QN_FAULT_WEIGHTS, i);
        const uint32_t code = qn_fault_mask(&c, (uint32_t)i);
        const double error = fabs(qn_fault_value(&b->targets.list[w], b->program, c.element, code) - 0.25);
        for (uint32_t other = 0; other < 256; other++) {
            assert_true(error <= fabs(qn_fault_value(&b->targets.list[w], b->program, c.element, other) - 0.25));
        }
        c = draw_model(b, QN_FAULT_SET_ZERO, QN_FAULT_WEIGHTS, i);
        assert_true(qn_fault_value(&b->targets.list[w], b->program, c.element, qn_fault_mask(&c, 77)) == 0);
        c = draw_model(b, QN_FAULT_NONE, QN_FAULT_WEIGHTS, i);
        assert_int_equal(qn_fault_mask(&c, (uint32_t)i), i);
        assert_true(c.add == 0);
    }
    qn_fault_change c = draw_model(b, QN_FAULT_SET_VALUE, QN_FAULT_SCALES, 0);
    assert_int_equal(qn_fault_mask(&c, 5), 0x3e800000);
    c = draw_model(b, QN_FAULT_SET_VALUE, QN_FAULT_ACCUMULATORS, 0);
    assert_int_equal(qn_fault_mask(&c, 5), 0);
    int counts[8] = {0};
    double least = 9, most = -9, sum = 0, squares = 0;
    draw_model(b, QN_FAULT_RANDOM_CODE, QN_FAULT_WEIGHTS, 0);
    enum { N = 4000 };
    for (int64_t i = 0; i < N; i++) {
        const qn_fault_change r = bench_draw(b, 0, i).changes[0];
        assert_int_equal(qn_fault_mask(&r, 0x5a) & 0xff, qn_fault_mask(&r, 0xa5) & 0xff);
        counts[qn_fault_mask(&r, 0) >> 5 & 7]++;
    }
    draw_model(b, QN_FAULT_UNIFORM_NOISE, QN_FAULT_ACTIVATIONS, 0);
    for (int64_t i = 0; i < N; i++) {
        const double add = bench_draw(b, 0, i).changes[0].add;
        least = add < least ? add : least;
        most = add > most ? add : most;
    }
    draw_model(b, QN_FAULT_NORMAL_NOISE, QN_FAULT_ACTIVATIONS, 0);
    for (int64_t i = 0; i < N; i++) {
        const double add = bench_draw(b, 0, i).changes[0].add;
        sum += add;
        squares += (add - 5) * (add - 5);
    }
    double chi = 0;
    for (int i = 0; i < 8; i++) {
        chi += (counts[i] - N / 8) * (counts[i] - N / 8) / (N / 8.0);
    }
    assert_true(chi < 24.4); /* 7 degrees, 0.1 % */
    assert_true(least >= -2 && least < -1.98 && most <= 3 && most > 2.98);
    assert_true(fabs(sum / N - 5) < 4 * 0.5 / sqrt((double)N));
    assert_true(fabs(squares / N - 0.25) < 4 * 0.25 * sqrt(2.0 / N));
    assert_int_equal(b->space.strata[0].population, INT64_MAX);
    bench_close(b);
}

/* Values that are drawn replace whatever was there: exact in floats, the nearest code elsewhere; of every number in the range
 * about as many. */
static void drawn_values_replace(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const qn_fault_target *scale = &b->targets.list[bench_target(b, QN_FAULT_SCALES, "c1")];
    enum { N = 4000 };
    double sum = 0, squares = 0, chi = 0;
    int counts[10] = {0};
    draw_model(b, QN_FAULT_NORMAL_VALUE, QN_FAULT_SCALES, 0);
    assert_int_equal(b->space.strata[0].population, INT64_MAX);
    assert_int_equal(scale->coding, QN_FAULT_F32);
    for (int64_t i = 0; i < N; i++) {
        const qn_fault_change c = bench_draw(b, 0, i).changes[0];
        assert_true(c.add == 0);
        const uint32_t code = qn_fault_mask(&c, 0x12345678);
        assert_int_equal(code, qn_fault_mask(&c, 0xedcba987));
        const double value = qn_fault_value(&b->targets.list[c.target], b->program, c.element, code);
        sum += value;
        squares += (value - 5) * (value - 5);
    }
    assert_true(fabs(sum / N - 5) < 4 * 0.5 / sqrt((double)N));
    assert_true(fabs(squares / N - 0.25) < 4 * 0.25 * sqrt(2.0 / N));
    draw_model(b, QN_FAULT_UNIFORM_VALUE, QN_FAULT_SCALES, 0);
    for (int64_t i = 0; i < N; i++) {
        const qn_fault_change c = bench_draw(b, 0, i).changes[0];
        const double value =
            qn_fault_value(&b->targets.list[c.target], b->program, c.element, qn_fault_mask(&c, (uint32_t)i));
        assert_true(value >= -2 && value <= 3);
        counts[value < 3 ? (int)((value + 2) * 2) : 9]++;
    }
    for (int i = 0; i < 10; i++) {
        chi += (counts[i] - N / 10) * (counts[i] - N / 10) / (N / 10.0);
    }
    assert_true(chi < 27.9); /* 9 degrees, 0.1 % */
    /* codes: the nearest to what set-value of the same real gives, and each change of a fault has a draw of its own */
    bench_reset(b, 1u << QN_FAULT_WEIGHTS);
    b->set.model = QN_FAULT_UNIFORM_VALUE;
    b->set.lo = b->set.hi = 0.25;
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 10};
    bench_space(b, 1);
    for (int64_t i = 0; i < 40; i++) {
        const qn_fault_change c = bench_draw(b, 0, i).changes[0];
        const qn_fault_target *t = &b->targets.list[c.target];
        const double error = fabs(qn_fault_value(t, b->program, c.element, qn_fault_mask(&c, (uint32_t)i)) - 0.25);
        for (uint32_t other = 0; other < 256; other++) {
            assert_true(error <= fabs(qn_fault_value(t, b->program, c.element, other) - 0.25));
        }
    }
    b->set.lo = -0.2, b->set.hi = 0.2;
    b->set.pattern = QN_FAULT_COUNT;
    b->set.count = 300;
    bench_space(b, 1);
    const qn_fault f = bench_draw(b, 0, 0);
    bool seen[256] = {false};
    int distinct = 0;
    for (int64_t i = 0; i < f.n_changes; i++) {
        const uint32_t code = qn_fault_mask(&f.changes[i], 0) & 255;
        distinct += !seen[code];
        seen[code] = true;
    }
    assert_true(distinct > 30);
    bench_close(b);
}

/* Fields by name, of formats that have them; and globs. */
static void fields_and_globs_select(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model("adaptivfloat<8,3>"), QN_ENGINE_SIMULATE);
    const char *fields[] = {"sign", "exponent"}, *layers[] = {"c?", "g*"}, *values[] = {"*.w"}, *ops[] = {"Gemm"};
    b->set.select.fields = (qn_fault_names){fields, 2};
    b->set.select.layers = (qn_fault_names){layers, 2};
    b->set.select.values = (qn_fault_names){values, 1};
    b->set.sample.by = 1u << QN_FAULT_BY_BIT;
    bench_space(b, 1);
    assert_int_equal(b->space.n_strata, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(b->space.strata[i].bit, 4 + i); /* 0xf0: sign and 3 exponent bits */
        assert_int_equal(b->space.strata[i].population, 108 + 360);
    }
    b->set.select.ops = (qn_fault_names){ops, 1};
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 4 * 360);
    bench_close(b);
}

/* All weight bits of a network that is really used, from counts by hand; a margin's draws are of the whole. */
static void shared_models_have_their_spaces(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_quantized_model("kws_dscnn", NULL), QN_ENGINE_INTEGER);
    b->set.sample.by = 1u << QN_FAULT_BY_LAYER | 1u << QN_FAULT_BY_BIT;
    bench_space(b, 1);
    assert_int_equal(bench_population(b), (2560 + 4 * (576 + 4096) + 768) * 8);
    assert_int_equal(b->space.n_strata, 10 * 8);
    compare_with_enumeration(b);
    bench_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exhaustive_visits_each_site_once),
        cmocka_unit_test(selectors_select_what_enumeration_does),
        cmocka_unit_test(strata_part_the_space),
        cmocka_unit_test(samples_have_no_duplicates),
        cmocka_unit_test(draws_are_uniform),
        cmocka_unit_test(draws_follow_from_seed_and_number),
        cmocka_unit_test(lifetimes_choose_images),
        cmocka_unit_test(transient_sites_meet_every_image),
        cmocka_unit_test(strata_never_mix_lifetimes),
        cmocka_unit_test(several_bits_are_numbered),
        cmocka_unit_test(models_change_codes),
        cmocka_unit_test(drawn_values_replace),
        cmocka_unit_test(fields_and_globs_select),
        cmocka_unit_test(shared_models_have_their_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
