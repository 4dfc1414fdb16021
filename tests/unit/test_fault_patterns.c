/* Patterns of faults against plain loops over all codes; and what specifications are refused for. */
#include "fault_space_bench.h"

#include <math.h>

enum { W = 1u << QN_FAULT_WEIGHTS, ACTIVATIONS = 1u << QN_FAULT_ACTIVATIONS, PRODUCTS = 1u << QN_FAULT_PRODUCTS };

/* Coordinates of an element. */
static void place(const qn_fault_target *t, int64_t element, int64_t index[QN_MAX_RANK])
{
    for (int i = t->rank - 1; i >= 0; i--) {
        index[i] = element % t->dims[i];
        element /= t->dims[i];
    }
}

/* The faults are exactly these: for each site of the stratum the codes for which `strikes` says yes. */
typedef bool strikes_fn(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site);
static void expect_sites(fault_bench *b, int target, int64_t first_site, int64_t n_sites, int n_bits,
                         strikes_fn *strikes)
{
    const qn_fault_target *t = &b->targets.list[target];
    for (int64_t site = 0; site < n_sites; site++) {
        for (int bit = 0; bit < n_bits; bit++) {
            const qn_fault f = bench_draw(b, 0, first_site + site * n_bits + bit);
            int64_t n = 0;
            while (n < f.n_changes && f.changes[n].target != target) {
                n++;
            }
            for (int64_t at = 0; at < t->n_elems * t->n_terms; at++) {
                int64_t index[QN_MAX_RANK];
                place(t, at / t->n_terms, index);
                if (strikes(t, index, at % t->n_terms, site)) {
                    assert_true(n < f.n_changes);
                    assert_int_equal(f.changes[n].target, target);
                    assert_int_equal(f.changes[n].element, at / t->n_terms);
                    assert_int_equal(f.changes[n].term, at % t->n_terms);
                    assert_int_equal(f.changes[n].xor_mask, (uint32_t)1 << bit);
                    n++;
                }
            }
            assert_true(n == f.n_changes || f.changes[n].target != target);
        }
    }
}

static bool in_channel(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)term;
    return index[t->channel_axis] == site;
}

static void channels_are_struck_whole(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->set.pattern = QN_FAULT_CHANNEL;
    bench_space(b, 1);
    assert_int_equal(bench_population(b), (4 + 4 + 10) * 8);
    expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, "c1"), 0, 4, 8, in_channel);
    expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, "d1"), 32, 4, 8, in_channel);
    expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, "g1"), 64, 10, 8, in_channel);
    bench_reset(b, ACTIVATIONS);
    b->set.pattern = QN_FAULT_CHANNEL;
    b->set.sample.by = 1u << QN_FAULT_BY_CHANNEL;
    bench_space(b, 1);
    assert_int_equal(b->space.n_strata, 10);
    assert_int_equal(b->space.strata[9].population, 8);
    const qn_fault f = bench_draw(b, 3, 2);
    assert_int_equal(f.n_changes, 36);
    bench_close(b);
}

/* Weight-stationary arrays of 5 rows and 3 columns: sites are rows x columns, in this order. */
static int64_t term_of_weight(const qn_fault_target *t, const int64_t *i)
{
    return t->rank == 4 ? (i[2] * t->dims[3] + i[3]) * t->dims[1] + i[1] : i[1];
}

static bool in_weight_pe(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)term;
    return term_of_weight(t, index) % 5 == site / 3 && index[0] % 3 == site % 3;
}

static bool in_weight_row(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)term;
    return term_of_weight(t, index) % 5 == site;
}

static bool in_product_pe(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)t;
    return term % 5 == site / 3 && index[0] % 3 == site % 3;
}

static bool in_column(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)t;
    (void)term;
    return index[0] % 3 == site;
}

static bool in_output_pe(const qn_fault_target *t, const int64_t *index, int64_t term, int64_t site)
{
    (void)term;
    const int64_t at = t->rank == 3 ? index[1] * t->dims[2] + index[2] : 0;
    return at % 5 == site / 3 && index[0] % 3 == site % 3;
}

static void use_array(fault_bench *b, unsigned where, qn_fault_array_part part, bool output_stationary)
{
    bench_reset(b, where);
    b->set.pattern = QN_FAULT_ARRAY;
    b->set.array = (qn_fault_array){5, 3, output_stationary, part};
}

static void arrays_hold_what_is_mapped_to_them(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    static const char *const layers[] = {"c1", "d1", "g1"};
    /* permanent: all layers see the fault */
    use_array(b, W, QN_FAULT_PE, false);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 5 * 3 * 8);
    for (int i = 0; i < 3; i++) {
        expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, layers[i]), 0, 15, 8, in_weight_pe);
    }
    use_array(b, W, QN_FAULT_ARRAY_ROW, false);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 5 * 8);
    expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, "c1"), 0, 5, 8, in_weight_row);
    use_array(b, W, QN_FAULT_ARRAY_COLUMN, false);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 3 * 8);
    expect_sites(b, bench_target(b, QN_FAULT_WEIGHTS, "d1"), 0, 3, 8, in_column);
    /* transient: one layer each */
    use_array(b, PRODUCTS, QN_FAULT_PE, false);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 3 * 5 * 3 * 32);
    for (int i = 0; i < 3; i++) {
        expect_sites(b, bench_target(b, QN_FAULT_PRODUCTS, layers[i]), i * 15 * 32, 15, 32, in_product_pe);
    }
    use_array(b, 1u << QN_FAULT_ACCUMULATORS, QN_FAULT_ARRAY_COLUMN, false);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 3 * 3 * 32);
    expect_sites(b, bench_target(b, QN_FAULT_ACCUMULATORS, "d1"), 3 * 32, 3, 32, in_column);
    use_array(b, 1u << QN_FAULT_ACCUMULATORS, QN_FAULT_PE, true);
    bench_space(b, 1);
    assert_int_equal(bench_population(b), (2 * 15 + 3) * 32); /* the last layer has one place */
    expect_sites(b, bench_target(b, QN_FAULT_ACCUMULATORS, "c1"), 0, 15, 32, in_output_pe);
    expect_sites(b, bench_target(b, QN_FAULT_ACCUMULATORS, "g1"), 2 * 15 * 32, 3, 32, in_output_pe);
    bench_close(b);
}

/* A word is `word_bits` bits of codes packed densely; a code's bits are struck where the burst is. */
static void check_words(fault_bench *b, int word_bits, int n_bits)
{
    bench_reset(b, W);
    b->set.pattern = QN_FAULT_WORD;
    b->set.word_bits = word_bits;
    b->set.n_bits = n_bits;
    bench_space(b, 1);
    int64_t site = 0;
    for (int i = 0; i < b->targets.n; i++) {
        const qn_fault_target *t = &b->targets.list[i];
        const int64_t bits = t->where == QN_FAULT_WEIGHTS ? t->n_elems * t->bits : 0;
        for (int64_t first = 0; first + n_bits <= bits; first++) {
            if (first / word_bits != (first + n_bits - 1) / word_bits) {
                continue; /* it would reach into the next word */
            }
            const qn_fault f = bench_draw(b, 0, site++);
            int64_t struck = 0;
            for (int64_t k = 0; k < f.n_changes; k++) {
                assert_int_equal(f.changes[k].target, i);
                for (int bit = 0; bit < 32; bit++) {
                    if (f.changes[k].xor_mask >> bit & 1) {
                        const int64_t at = f.changes[k].element * t->bits + bit;
                        assert_true(bit < t->bits && at >= first && at < first + n_bits);
                        struck++;
                    }
                }
            }
            assert_int_equal(struck, n_bits);
        }
    }
    assert_int_equal(bench_population(b), site);
}

static void words_hit_the_codes_in_them(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model("adaptivfloat<5,2>"), QN_ENGINE_SIMULATE);
    static const int cases[][2] = {{32, 1}, {32, 2}, {32, 7}, {64, 40}, {7, 7}, {16, 16}, {1, 1}, {4096, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_words(b, cases[i][0], cases[i][1]);
    }
    bench_close(b);
}

static int64_t struck_bits(const qn_fault *f)
{
    int64_t n = 0;
    for (int64_t i = 0; i < f->n_changes; i++) {
        n += __builtin_popcount(f->changes[i].xor_mask);
    }
    return n;
}

/* Bits are struck with the probability, each alike: total and per bit within four standard errors. */
static void rates_strike_every_bit_alike(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->n_images = 10;
    static const double rates[] = {0.001, 0.03, 0.6};
    for (int r = 0; r < 3; r++) {
        bench_reset(b, W);
        b->set.pattern = QN_FAULT_RATE;
        b->set.rate = rates[r];
        b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 100};
        bench_space(b, 1);
        assert_int_equal(b->space.strata[0].population, INT64_MAX);
        enum { N = 1000 };
        double total = 0, per_bit[8] = {0}, first = 0, last = 0;
        for (int64_t i = 0; i < N; i++) {
            const qn_fault f = bench_draw(b, 0, i);
            total += (double)struck_bits(&f);
            for (int64_t k = 0; k < f.n_changes; k++) {
                for (int bit = 0; bit < 8; bit++) {
                    per_bit[bit] += f.changes[k].xor_mask >> bit & 1;
                }
            }
            first += f.n_changes > 0 && f.changes[0].element == 0 &&
                     f.changes[0].target == bench_target(b, QN_FAULT_WEIGHTS, "c1") && (f.changes[0].xor_mask & 1);
            last += f.n_changes > 0 && f.changes[f.n_changes - 1].element == 359 &&
                    f.changes[f.n_changes - 1].xor_mask >> 7;
        }
        const double p = rates[r], n = 504.0 * N;
        assert_true(fabs(total / (8 * n) - p) < 4 * sqrt(p * (1 - p) / (8 * n)));
        for (int bit = 0; bit < 8; bit++) {
            assert_true(fabs(per_bit[bit] / n - p) < 4 * sqrt(p * (1 - p) / n));
        }
        assert_true(fabs(first / N - p) < 4 * sqrt(p * (1 - p) / N));
        assert_true(fabs(last / N - p) < 4 * sqrt(p * (1 - p) / N));
    }
    b->set.rate = 1;
    bench_space(b, 1);
    qn_fault f = bench_draw(b, 0, 0);
    assert_int_equal(struck_bits(&f), 504 * 8);
    b->set.rate = 0;
    bench_space(b, 1);
    f = bench_draw(b, 0, 0);
    assert_int_equal(f.n_changes, 0);
    /* codes that are drawn: the rate is of codes */
    b->set.model = QN_FAULT_RANDOM_CODE;
    b->set.rate = 0.25;
    bench_space(b, 1);
    double codes = 0;
    for (int64_t i = 0; i < 200; i++) {
        codes += (double)bench_draw(b, 0, i).n_changes;
    }
    assert_true(fabs(codes / (504 * 200) - 0.25) < 4 * sqrt(0.25 * 0.75 / (504 * 200)));
    /* one image for each */
    b->set.per_item = true;
    bench_space(b, 1);
    for (int64_t i = 0; i < 30; i++) {
        f = bench_draw(b, 0, i);
        assert_int_equal(f.first_image, i % 10);
        assert_int_equal(f.n_images, 1);
    }
    bench_close(b);
}

static void counts_are_exact(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    static const int64_t counts[] = {1, 5, 100, 504};
    for (int c = 0; c < 4; c++) {
        bench_reset(b, W);
        b->set.pattern = QN_FAULT_COUNT;
        b->set.count = counts[c];
        b->set.n_bits = 2;
        b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 100};
        bench_space(b, 1);
        double hits[504] = {0}, chi = 0;
        enum { N = 2000 };
        for (int64_t i = 0; i < N; i++) {
            const qn_fault f = bench_draw(b, 0, i); /* which checks that no code comes twice */
            assert_int_equal(f.n_changes, counts[c]);
            assert_int_equal(struck_bits(&f), 2 * counts[c]);
            for (int64_t k = 0; k < f.n_changes; k++) {
                const int64_t before = f.changes[k].target == bench_target(b, QN_FAULT_WEIGHTS, "c1")   ? 0
                                       : f.changes[k].target == bench_target(b, QN_FAULT_WEIGHTS, "d1") ? 108
                                                                                                        : 144;
                hits[before + f.changes[k].element]++;
            }
        }
        const double expected = (double)(N * counts[c]) / 504;
        for (int i = 0; i < 504; i++) {
            chi += (hits[i] - expected) * (hits[i] - expected) / expected;
        }
        assert_true(chi < 605); /* 503 degrees, 0.1 %: 605.4; less with more than one at once */
        assert_true(c > 2 || chi > 300);
    }
    bench_close(b);
}

static void all_is_all(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->n_images = 10;
    b->set.pattern = QN_FAULT_ALL;
    b->set.model = QN_FAULT_STUCK_AT_1;
    b->set.select.where = W | 1u << QN_FAULT_BIASES;
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 32); /* a bit of every code that has it */
    qn_fault f = bench_draw(b, 0, 3);
    assert_int_equal(f.n_changes, 504 + 18);
    assert_int_equal(f.changes[0].or_mask, 8);
    f = bench_draw(b, 0, 20);
    assert_int_equal(f.n_changes, 18);
    b->set.sample.by = 1u << QN_FAULT_BY_LAYER;
    b->set.model = QN_FAULT_SET_ZERO;
    bench_space(b, 1);
    assert_int_equal(b->space.n_strata, 3);
    assert_int_equal(b->space.strata[2].population, 1);
    f = bench_draw(b, 2, 0);
    assert_int_equal(f.n_changes, 370);
    assert_int_equal(f.n_images, 10);
    bench_close(b);
}

/* Each code of a fault in a bit of its own, over and over: of all codes, and of those that a count draws. */
static void bits_come_in_turn(void **state)
{
    (void)state;
    static const uint8_t turns[] = {6, 3, 0, 6};
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const qn_fault_range places[] = {{3, 3}, {7, 8}, {12, 13}};
    b->set.select.elements = (qn_fault_ranges){places, 3};
    b->set.turns = turns;
    b->set.n_turns = 4;
    b->set.pattern = QN_FAULT_ALL;
    bench_space(b, 1);
    assert_int_equal(bench_population(b), 1);
    qn_fault f = bench_draw(b, 0, 0);
    static const int64_t elements[] = {3, 7, 8, 12, 13};
    assert_int_equal(f.n_changes, 3 * 5);
    for (int64_t i = 0; i < f.n_changes; i++) {
        assert_int_equal(f.changes[i].element, elements[i % 5]);
        assert_int_equal(f.changes[i].xor_mask, 1 << turns[i % 4]);
    }
    b->set.pattern = QN_FAULT_COUNT;
    b->set.count = 9;
    b->set.model = QN_FAULT_STUCK_AT_1;
    b->set.sample = (qn_fault_sample){.how = QN_FAULT_N, .n = 10};
    bench_space(b, 1);
    for (int64_t draw = 0; draw < 10; draw++) {
        f = bench_draw(b, 0, draw);
        assert_int_equal(f.n_changes, 9);
        for (int64_t i = 0; i < f.n_changes; i++) {
            assert_int_equal(f.changes[i].or_mask, 1 << turns[i % 4]);
            assert_int_equal(f.changes[i].xor_mask, 0);
        }
    }
    bench_close(b);
}

static fault_bench *refusing;

static void refused(const char *fragment)
{
    bench_space_free(refusing);
    qn_assert_fails(qn_fault_space_make(&refusing->space, &refusing->spec, &refusing->targets, refusing->program, 1, 10,
                                        &refusing->err),
                    &refusing->err, QN_EINVAL, fragment);
    assert_non_null(strstr(refusing->err.where, "faults.yaml, line 7, fault set 'test'"));
    qn_error_init(&refusing->err);
    bench_reset(refusing, W);
}

/* Set a field of the set's, and expect this message. */
#define REFUSED(field, value, fragment)                                                                                \
    do {                                                                                                               \
        refusing->set.field = value;                                                                                   \
        refused(fragment);                                                                                             \
    } while (0)

static void what_selects_nothing_is_refused(void **state)
{
    (void)state;
    refusing = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const char *layers[] = {"c*", "convolution*"}, *values[] = {"w"}, *ops[] = {"Gem"}, *gemm[] = {"Gemm"},
               *c[] = {"c1"};
    const char *fields[] = {"exponent"};
    const qn_fault_range high = {3, 10}, one = {10, 10}, back = {3, 2}, negative = {-1, 2}, bit = {8, 8},
                         far = {400, 400};
    REFUSED(select.layers, ((qn_fault_names){layers, 2}),
            "no layer that can be struck there matches 'convolution*'; the nearest is 'c1'; there are: c1, d1, g1");
    REFUSED(select.values, ((qn_fault_names){values, 1}),
            "no value that can be struck there matches 'w'; the nearest is 'c1.w'");
    REFUSED(select.ops, ((qn_fault_names){ops, 1}),
            "no operator type that can be struck there matches 'Gem'; the nearest is 'Gemm'; there are: Conv, Gemm");
    REFUSED(select.where, W | 1u << QN_FAULT_SHARED_EXPONENTS,
            "the model has no shared-exponents in the integer engine; it has weights, biases, activations, inputs, "
            "accumulators, partial-sums, products, scales, zero-points");
    refusing->set.select.layers = (qn_fault_names){c, 1};
    REFUSED(select.ops, ((qn_fault_names){gemm, 1}), "nothing matches layers, values and ops at once");
    REFUSED(select.channels, ((qn_fault_ranges){&high, 1}),
            "there is no channel 10: 'g1.w' (weights), which has the most of what is selected, has 10, 0 to 9");
    REFUSED(select.rows, ((qn_fault_ranges){&one, 1}), "there is no row 10");
    REFUSED(select.columns, ((qn_fault_ranges){&back, 1}), "columns 3-2: the first is beyond the last");
    REFUSED(select.elements, ((qn_fault_ranges){&far, 1}), "there is no element 400");
    REFUSED(select.elements, ((qn_fault_ranges){&negative, 1}), "there is no element -1");
    REFUSED(select.bits, ((qn_fault_ranges){&bit, 1}),
            "there is no bit 8: 'c1.w' (weights), which has the most of what is "
            "selected, has 8, 0 to 7");
    REFUSED(select.terms, ((qn_fault_ranges){&one, 1}), "nothing that is selected has terms; leave 'terms' out");
    refusing->set.select.where = 1u << QN_FAULT_ZERO_POINTS;
    REFUSED(select.rows, ((qn_fault_ranges){&one, 1}), "nothing that is selected has rows; leave 'rows' out");
    REFUSED(select.fields, ((qn_fault_names){fields, 1}),
            "nothing that is selected has a field 'exponent'; there are: sign, integer, msb, lsb");
    refusing->set.select.channels = (qn_fault_ranges){&high, 1}; /* 3 and more, in elements of channel 0 */
    const qn_fault_range start = {0, 8}, third = {3, 3};
    refusing->set.select.channels = (qn_fault_ranges){&third, 1};
    REFUSED(select.elements, ((qn_fault_ranges){&start, 1}),
            "channels, rows, columns and elements have nothing in common");
    bench_close(refusing);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    refusing = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    const qn_fault_range bit = {1, 1};
    REFUSED(n_bits, 0, "0 bits at once; 1 to 32 of a code can be struck");
    REFUSED(n_bits, 9, "none of the codes selected has 9 bits among those selected");
    static const uint8_t turns[] = {1, 8};
    refusing->set.turns = turns;
    REFUSED(n_turns, 2, "bits in turn belong to models flip and stuck-at and patterns channel");
    refusing->set.turns = turns;
    refusing->set.pattern = QN_FAULT_ALL;
    REFUSED(n_turns, 2, "none of the codes selected has all of the bits in turn");
    refusing->set.turns = turns;
    refusing->set.pattern = QN_FAULT_ALL;
    refusing->set.n_turns = 1;
    REFUSED(sample.by, 1u << QN_FAULT_BY_BIT, "strata by bit need faults that strike one bit");
    refusing->set.model = QN_FAULT_SET_ZERO;
    REFUSED(select.bits, ((qn_fault_ranges){&bit, 1}), "bits and fields say nothing to model set-zero");
    refusing->set.model = QN_FAULT_UNIFORM_NOISE;
    REFUSED(lo, 1, "uniform-noise between 1 and 0");
    refusing->set.model = QN_FAULT_UNIFORM_VALUE;
    REFUSED(lo, INFINITY, "uniform-value between inf and 0; the bounds must be finite");
    refusing->set.model = QN_FAULT_NORMAL_NOISE;
    REFUSED(std, -1, "the deviation not negative");
    refusing->set.model = QN_FAULT_NORMAL_VALUE;
    REFUSED(std, NAN, "normal-value of mean 0 and deviation nan");
    refusing->set.model = QN_FAULT_NORMAL_VALUE;
    REFUSED(sample.how, QN_FAULT_EXHAUSTIVE, "there is no end of them");
    refusing->set.pattern = QN_FAULT_RATE;
    refusing->set.sample.how = QN_FAULT_N;
    REFUSED(rate, 1.5, "rate 1.5 is no probability; it must be 0 to 1");
    refusing->set.pattern = QN_FAULT_RATE;
    REFUSED(rate, NAN, "is no probability");
    refusing->set.pattern = QN_FAULT_RATE;
    REFUSED(rate, 0.5, "there is no end of them; give a number to sample, or a margin");
    refusing->set.pattern = QN_FAULT_RATE;
    REFUSED(n_bits, 2, "with a rate each bit is struck for itself, not 2 at once");
    refusing->set.pattern = QN_FAULT_COUNT;
    REFUSED(count, 0, "a count of 0; it must be at least 1");
    refusing->set.pattern = QN_FAULT_COUNT;
    refusing->set.sample.how = QN_FAULT_N;
    REFUSED(count, 505, "a count of 505, but stratum 'all' has 504 codes");
    refusing->set.pattern = QN_FAULT_ARRAY;
    REFUSED(array.rows, 4, "an array of 4 x 0; both must be at least 1");
    refusing->set.pattern = QN_FAULT_ARRAY;
    refusing->set.array = (qn_fault_array){.rows = 4, .columns = 4};
    REFUSED(select.where, 1u << QN_FAULT_BIASES,
            "nothing that is selected is in the array; a weight-stationary one holds");
    refusing->set.pattern = QN_FAULT_ARRAY;
    refusing->set.array = (qn_fault_array){.rows = 4, .columns = 4, .output_stationary = true};
    REFUSED(select.where, W, "nothing that is selected is in the array");
    refusing->set.pattern = QN_FAULT_WORD;
    REFUSED(word_bits, 0, "words of 0 bits");
    refusing->set.pattern = QN_FAULT_WORD;
    refusing->set.n_bits = 17;
    REFUSED(word_bits, 16, "17 adjacent bits in a word of 16");
    refusing->set.pattern = QN_FAULT_WORD;
    refusing->set.word_bits = 32;
    REFUSED(select.bits, ((qn_fault_ranges){&bit, 1}), "words hold codes of a whole layer");
    refusing->set.pattern = QN_FAULT_WORD;
    refusing->set.word_bits = 32;
    REFUSED(model, QN_FAULT_SET_ZERO, "pattern word strikes bits, model set-zero does not");
    refusing->set.pattern = QN_FAULT_WORD;
    refusing->set.word_bits = 32;
    REFUSED(select.where, PRODUCTS, "products and partial sums are not");
    refusing->set.pattern = QN_FAULT_WORD;
    refusing->set.word_bits = 1 << 20;
    refusing->set.n_bits = 1 << 20;
    refused("stratum 'all' has no faults: it holds fewer than 1048576 bits");
    refusing->set.n_bits = 2;
    REFUSED(sample.by, 1u << QN_FAULT_BY_BIT, "strata by bit need faults that strike one bit");
    REFUSED(per_item, true, "faults for each item anew are of patterns rate and count only");
    REFUSED(lifetime, -2, "a lifetime of -2 inferences");
    refusing->spec.n_sets = 0;
    bench_space_free(refusing);
    qn_assert_fails(qn_fault_space_make(&refusing->space, &refusing->spec, &refusing->targets, refusing->program, 1, 10,
                                        &refusing->err),
                    &refusing->err, QN_EINVAL, "there are no fault sets");
    bench_close(refusing);
}

/* resnet8 has 12.5 million products: all of them and their partial sums are more than one fault may strike. */
static void faults_have_a_size(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_quantized_model("resnet8_cifar10", NULL), QN_ENGINE_INTEGER);
    bench_reset(b, PRODUCTS | 1u << QN_FAULT_PARTIAL_SUMS);
    b->set.pattern = QN_FAULT_ALL;
    qn_assert_fails(qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, 1, 10, &b->err), &b->err,
                    QN_ELIMIT, "a fault of stratum 'all' strikes 2.5e+07 codes at once; at most 16777216 are possible");
    qn_error_init(&b->err);
    b->set.pattern = QN_FAULT_RATE;
    b->set.rate = 0.1;
    b->set.sample.how = QN_FAULT_N;
    qn_assert_fails(qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, 1, 10, &b->err), &b->err,
                    QN_ELIMIT, "or a lower rate");
    qn_error_init(&b->err);
    b->set.rate = 1e-7;
    bench_space(b, 1);
    const qn_fault f = bench_draw(b, 0, 0);
    assert_in_range(f.n_changes, 40, 130); /* 2 x 12.5 million x 32 bits: 80 in the mean */
    bench_close(b);
}

/* Running out of memory leaves nothing behind. */
static void spaces_out_of_memory(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    b->set.sample.by = 15;
    for (int64_t i = 0; i < 400; i++) {
        qn_alloc_fail_after(i);
        const qn_status status = qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, 1, 10, &b->err);
        qn_alloc_fail_after(-1);
        qn_fault_space_free(&b->space);
        if (status == QN_OK) {
            assert_true(i > 5);
            bench_close(b);
            return;
        }
        assert_int_equal(status, QN_ENOMEM);
        qn_error_init(&b->err);
    }
    fail_msg("never enough memory");
}

static void targets_out_of_memory(void **state)
{
    (void)state;
    fault_bench *b = bench_open(qn_test_small_model(NULL), QN_ENGINE_INTEGER);
    for (int64_t i = 0; i < 400; i++) {
        qn_fault_targets targets;
        qn_alloc_fail_after(i);
        const qn_status status = qn_fault_targets_make(&targets, b->program, &b->err);
        qn_alloc_fail_after(-1);
        qn_fault_targets_free(&targets);
        if (status == QN_OK) {
            assert_true(i > 3);
            bench_close(b);
            return;
        }
        assert_int_equal(status, QN_ENOMEM);
        qn_error_init(&b->err);
    }
    fail_msg("never enough memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_are_struck_whole),
        cmocka_unit_test(arrays_hold_what_is_mapped_to_them),
        cmocka_unit_test(words_hit_the_codes_in_them),
        cmocka_unit_test(rates_strike_every_bit_alike),
        cmocka_unit_test(counts_are_exact),
        cmocka_unit_test(all_is_all),
        cmocka_unit_test(bits_come_in_turn),
        cmocka_unit_test(what_selects_nothing_is_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(faults_have_a_size),
        cmocka_unit_test(spaces_out_of_memory),
        cmocka_unit_test(targets_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
