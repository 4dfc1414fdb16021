/* Protection: what schemes cost and do, the choice against all assignments, what is left against direct sums. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "fault/protect.h"

/* Published codes: Hamming's (8,4) [Hamming 1950], (13,8), (22,16), (39,32), (72,64) [Hsiao 1970]. */
static void costs(void **state)
{
    (void)state;
    static const struct {
        int word;
        int64_t check;
    } codes[] = {{4, 4}, {8, 5}, {16, 6}, {32, 7}, {64, 8}, {128, 9}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        int64_t bits;
        assert_true(qn_protect_cost(&bits, QN_SCHEME_ECC, 10, codes[i].word, 0)); /* code by code */
        assert_int_equal(bits, 10 * codes[i].check);
        assert_true(qn_protect_cost(&bits, QN_SCHEME_ECC, 3 * codes[i].word, 1, codes[i].word));
        assert_int_equal(bits, 3 * codes[i].check);
        assert_true(qn_protect_cost(&bits, QN_SCHEME_PARITY, 10, codes[i].word, 0));
        assert_int_equal(bits, 10);
        assert_true(qn_protect_cost(&bits, QN_SCHEME_TMR, 10, codes[i].word, 64));
        assert_int_equal(bits, 20 * codes[i].word);
    }
    int64_t bits;
    assert_true(qn_protect_cost(&bits, QN_SCHEME_ECC, 9, 8, 64)); /* 72 bits: a whole word and 8 more */
    assert_int_equal(bits, 8 + 5);
    assert_true(qn_protect_cost(&bits, QN_SCHEME_PARITY, 9, 8, 64));
    assert_int_equal(bits, 2);
    assert_true(qn_protect_cost(&bits, QN_SCHEME_RANGE_CLAMP, 9, 8, 64));
    assert_int_equal(bits, 0);
    assert_false(qn_protect_cost(&bits, QN_SCHEME_TMR, INT64_MAX / 4, 8, 64));
}

static void ends(void **state)
{
    (void)state;
    const qn_protect_case one = {.where = QN_FAULT_WEIGHTS, .mask = 0x40, .n_changes = 1};
    qn_protect_case c = one;
    assert_int_equal(qn_protect_end_of(-1, &c), QN_PROTECT_PASSES);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_PARITY, &c), QN_PROTECT_DETECTED);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_ECC, &c), QN_PROTECT_CORRECTED);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_TMR, &c), QN_PROTECT_CORRECTED);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_PASSES);
    c.mask = 3;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_PARITY, &c), QN_PROTECT_PASSES);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_ECC, &c), QN_PROTECT_DETECTED);
    c.mask = 7;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_ECC, &c), QN_PROTECT_PASSES);
    assert_int_equal(qn_protect_end_of(QN_SCHEME_TMR, &c), QN_PROTECT_CORRECTED);
    c = one;
    c.n_changes = 2;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_TMR, &c), QN_PROTECT_PASSES);
    c = one;
    c.where = QN_FAULT_PRODUCTS; /* not in memory */
    assert_int_equal(qn_protect_end_of(QN_SCHEME_ECC, &c), QN_PROTECT_PASSES);
    c = (qn_protect_case){
        .where = QN_FAULT_ACTIVATIONS, .mask = 1, .n_changes = 1, .transient = true, .after = 9, .low = -1, .high = 8};
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_CLAMPED);
    c.after = 8;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_PASSES);
    c.after = NAN;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_PASSES);
    c.after = -INFINITY;
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_CLAMPED);
    c.transient = false; /* another code in every image */
    assert_int_equal(qn_protect_end_of(QN_SCHEME_RANGE_CLAMP, &c), QN_PROTECT_PASSES);
}

/* A campaign made by hand: three layers of 4-bit weights, a stratum for each layer and bit; element e of a stratum hits
 * hits_of(...) of its images. */
enum { LAYERS = 3, BITS = 4, STRATA = LAYERS * BITS, IMAGES = 10 };
static const int64_t sizes[LAYERS] = {40, 200, 24};

static int64_t hits_of(int layer, int bit, int64_t element)
{
    const uint32_t h = (uint32_t)element * 2654435761u + (uint32_t)(layer * 97 + bit * 31);
    const int reach = bit * bit + layer; /* the higher bits do more harm */
    return (h >> 16) % 7 == 0 ? (h >> 20) % (uint32_t)(reach + 1) % (IMAGES + 1) : 0;
}

static const char *make_store(const char *name, int64_t drawn_of_100)
{
    const char *path = qn_scratch_file(name);
    qn_error err;
    qn_error_init(&err);
    static qn_fault_target list[LAYERS + 1];
    static const char *const layers[] = {"conv1", "conv2", "fc"};
    for (int l = 0; l < LAYERS; l++) {
        list[l] = (qn_fault_target){.where = QN_FAULT_WEIGHTS,
                                    .layer = layers[l],
                                    .value_name = layers[l],
                                    .op_type = "Conv",
                                    .coding = QN_FAULT_S32,
                                    .bits = BITS,
                                    .rank = 2,
                                    .dims = {4, sizes[l] / 4},
                                    .n_elems = sizes[l],
                                    .n_terms = 1,
                                    .channel_axis = 0};
    }
    list[LAYERS] = list[0]; /* not struck */
    list[LAYERS].where = QN_FAULT_BIASES;
    list[LAYERS].n_elems = 4;
    list[LAYERS].bits = 32;
    qn_fault_targets targets = {.list = list, .n = LAYERS + 1};
    qn_fault_set set = {.name = "weights"};
    qn_fault_spec spec = {.where = "test", .sets = &set, .n_sets = 1};
    qn_fault_stratum strata[STRATA];
    qn_store_part parts[STRATA];
    static qn_fault_row rows[STRATA * 200];
    int64_t n = 0;
    memset(rows, 0, sizeof rows);
    for (int h = 0; h < STRATA; h++) {
        const int layer = h / BITS, bit = h % BITS;
        strata[h] = (qn_fault_stratum){.label = "",
                                       .population = sizes[layer],
                                       .where = QN_FAULT_WEIGHTS,
                                       .bit = bit,
                                       .layer = layers[layer],
                                       .channel = -1};
        const int64_t drawn = sizes[layer] * drawn_of_100 / 100;
        parts[h] = (qn_store_part){.first_id = n, .n = drawn, .stratum = h};
        for (int64_t draw = 0; draw < drawn; draw++) {
            const int64_t element = draw * 7 % sizes[layer]; /* 7 divides no size: a permutation */
            const int64_t hits = hits_of(layer, bit, element);
            rows[n] = (qn_fault_row){.id = n,
                                     .draw = draw,
                                     .element = element,
                                     .n_changes = 1,
                                     .n_images = IMAGES,
                                     .stratum = h,
                                     .target = layer,
                                     .mask = 1u << bit,
                                     .value_before = 1,
                                     .value_after = 2,
                                     .pairs = IMAGES,
                                     .activated = IMAGES};
            rows[n].counts[2] = hits;
            rows[n].counts[0] = IMAGES - hits;
            n++;
        }
    }
    qn_fault_space space = {
        .spec = &spec, .targets = &targets, .n_images = IMAGES, .strata = strata, .n_strata = STRATA};
    const qn_store_about about = {.tool = "test",
                                  .spec = "",
                                  .engine = "integer",
                                  .n_images = IMAGES,
                                  .confidence = 0.95,
                                  .shard = 1,
                                  .n_shards = 1};
    const qn_store_begin begin = {.about = &about, .space = &space};
    const qn_store_block block = {.n = n, .n_pairs = n * IMAGES, .rows = rows};
    qn_store *store = NULL;
    bool resumed;
    qn_assert_ok(qn_store_create(&store, path, true, &begin, &resumed, &err), &err);
    if (n > 0) {
        qn_assert_ok(qn_store_add_parts(store, parts, STRATA, &err), &err);
        qn_assert_ok(qn_store_add_block(store, &block, &err), &err);
    }
    qn_store_close(store);
    return path;
}

/* Rates of the groups layer x bit in an exhaustive campaign. */
static double share_of(int layer, int bit)
{
    double hits = 0, all = 0;
    for (int64_t e = 0; e < sizes[layer]; e++) {
        hits += (double)hits_of(layer, bit, e);
    }
    for (int l = 0; l < LAYERS; l++) {
        all += (double)(sizes[l] * BITS * IMAGES);
    }
    return hits / all;
}

static void exhaustive_choice_is_the_best(void **state)
{
    (void)state;
    const char *path = make_store("all.db", 100);
    qn_error err;
    qn_error_init(&err);
    for (int64_t budget = 0; budget <= 160; budget += 8) {
        qn_protect_options options;
        qn_protect_options_init(&options);
        options.budget_bits = budget;
        options.word_bits = 16;
        qn_protection *p = NULL;
        qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
        double before = 0, best = 1;
        for (int h = 0; h < STRATA; h++) {
            before += share_of(h / BITS, h % BITS);
        }
        for (int subset = 0; subset < 1 << STRATA; subset++) {
            int64_t cost = 0;
            double left = before;
            for (int h = 0; h < STRATA; h++) {
                if (subset >> h & 1) {
                    const int64_t n = sizes[h / BITS];
                    cost += n / 16 * 6 + (n % 16 == 8 ? 5 : 0); /* (22,16), and (13,8) for the rest */
                    left -= share_of(h / BITS, h % BITS);
                }
            }
            best = cost <= budget && left < best ? left : best;
        }
        const qn_protect_summary *about = qn_protection_about(p);
        assert_true(fabs(about->before.rate - before) < 1e-12 && about->before.low == about->before.high);
        assert_true(fabs(about->left.rate - best) < 1e-12 && about->left.low == about->left.high);
        assert_true(about->extra_bits <= budget && about->budget_bits == budget);
        assert_int_equal(about->n_choosing, 264 * BITS);
        assert_int_equal(about->n_judging, 264 * BITS);
        int64_t extra = 0;
        double removed = 0, share = 0;
        for (size_t i = 0; i < about->n_groups; i++) {
            const qn_protect_group *g = qn_protection_at(p, i);
            extra += g->extra_bits;
            removed += g->removed;
            share += g->share;
            assert_string_equal(g->place, "weights");
            assert_true((g->scheme == QN_SCHEME_ECC) == (i < about->n_protected));
        }
        assert_null(qn_protection_at(p, about->n_groups));
        assert_int_equal(extra, about->extra_bits);
        assert_true(fabs(share - before) < 1e-12 && fabs(removed - (before - best)) < 1e-12);
        qn_protection_free(p);
    }
}

/* Parity is cheaper, but detects; with room for all, errors are corrected. */
static void detection_only_where_correction_is_too_dear(void **state)
{
    (void)state;
    const char *path = make_store("schemes.db", 100);
    qn_error err;
    qn_error_init(&err);
    qn_protect_options options;
    qn_protect_options_init(&options);
    options.schemes = 1u << QN_SCHEME_PARITY | 1u << QN_SCHEME_ECC | 1u << QN_SCHEME_TMR;
    options.by = QN_PROTECT_LAYERS;
    options.budget_bits = 3 + 13 + 2; /* of 40, 200 and 24 codes of 4 bits: parity of words of 64 bits */
    qn_protection *p = NULL;
    qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
    const qn_protect_summary *about = qn_protection_about(p);
    assert_true(about->left.rate == 0 && about->left.high == 0 && fabs(about->detected - 1) < 1e-12);
    assert_int_equal(about->extra_bits, 18);
    assert_int_equal(qn_protection_at(p, 0)->scheme, QN_SCHEME_PARITY);
    qn_protection_free(p);
    options.budget_bits = 10000;
    qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
    about = qn_protection_about(p);
    assert_true(about->left.rate == 0 && about->detected == 0);
    for (size_t i = 0; i < about->n_groups; i++) {
        assert_int_equal(qn_protection_at(p, i)->scheme, QN_SCHEME_ECC);
    }
    qn_protection_free(p);
}

static void sampled_campaign_is_judged_by_the_other_half(void **state)
{
    (void)state;
    const char *path = make_store("half.db", 50);
    qn_error err;
    qn_error_init(&err);
    qn_protect_options options;
    qn_protect_options_init(&options);
    options.budget = 0.03;
    qn_protection *p = NULL;
    qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
    const qn_protect_summary *about = qn_protection_about(p);
    assert_int_equal(about->bits, 264 * BITS + 4 * 32); /* the biases count, too */
    assert_int_equal(about->budget_bits, (264 * BITS + 4 * 32) * 3 / 100);
    assert_int_equal(about->n_choosing, about->n_judging);
    assert_int_equal(about->n_choosing + about->n_judging, about->n_faults);
    bool is_protected[LAYERS][BITS] = {{false}};
    for (size_t i = 0; i < about->n_protected; i++) {
        const qn_protect_group *g = qn_protection_at(p, i);
        const int layer = strcmp(g->layer, "conv1") == 0 ? 0 : strcmp(g->layer, "conv2") == 0 ? 1 : 2;
        is_protected[layer][g->bit] = true;
    }
    double rate[2] = {0, 0}, before = 0; /* of odd draws, and of all */
    for (int h = 0; h < STRATA; h++) {
        const int layer = h / BITS, bit = h % BITS;
        const double weight = (double)sizes[layer] / (264.0 * BITS);
        double hits[2] = {0, 0}, n[2] = {0, 0};
        for (int64_t draw = 0; draw < sizes[layer] / 2; draw++) {
            hits[draw % 2] += (double)hits_of(layer, bit, draw * 7 % sizes[layer]);
            n[draw % 2] += IMAGES;
        }
        before += weight * (hits[0] + hits[1]) / (n[0] + n[1]);
        rate[0] += is_protected[layer][bit] ? 0 : weight * hits[1] / n[1];
        rate[1] += is_protected[layer][bit] ? 0 : weight * (hits[0] + hits[1]) / (n[0] + n[1]);
    }
    assert_true(about->n_protected > 0 && about->n_protected < STRATA);
    assert_true(fabs(about->before.rate - before) < 1e-12);
    assert_true(fabs(about->left.rate - rate[0]) < 1e-12);
    assert_true(fabs(about->left_all.rate - rate[1]) < 1e-12);
    assert_true(about->left.low <= about->left.rate && about->left.rate < about->left.high);
    qn_protection_free(p);
    options.budget = 0.9; /* all of it: what cannot be struck is no question of samples */
    qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
    about = qn_protection_about(p);
    double most = 0;
    for (size_t i = about->n_protected; i < about->n_groups; i++) {
        most += qn_protection_at(p, i)->share;
    }
    assert_true(most == 0); /* what is left alone did nothing in the half that chooses */
    qn_protection_free(p);
}

static void groups_by_other_things(void **state)
{
    (void)state;
    const char *path = make_store("by.db", 100);
    qn_error err;
    qn_error_init(&err);
    static const struct {
        unsigned by;
        size_t n_groups;
    } rows[] = {{QN_PROTECT_BITS, BITS},
                {QN_PROTECT_LAYERS, LAYERS},
                {QN_PROTECT_CHANNELS, LAYERS * 4},
                {QN_PROTECT_CHANNELS | QN_PROTECT_BITS, LAYERS * 4 * BITS}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_protect_options options;
        qn_protect_options_init(&options);
        options.by = rows[i].by;
        options.budget = 1;
        options.of_targets = true;
        qn_protection *p = NULL;
        qn_assert_ok(qn_protection_make(&p, path, &options, &err), &err);
        const qn_protect_summary *about = qn_protection_about(p);
        int64_t bits = 0;
        for (size_t g = 0; g < about->n_groups; g++) {
            bits += qn_protection_at(p, g)->bits;
        }
        assert_int_equal(about->n_groups, rows[i].n_groups);
        assert_int_equal(bits, 264 * BITS);
        assert_int_equal(about->bits, 264 * BITS);
        assert_true(about->left.rate == 0);
        qn_protection_free(p);
    }
}

static void refusals(void **state)
{
    (void)state;
    const char *path = make_store("refused.db", 100), *empty = make_store("empty.db", 0);
    qn_error err;
    qn_error_init(&err);
    qn_protect_options good, options;
    qn_protect_options_init(&good);
    qn_protection *p = NULL;
    options = good;
    qn_error_init(&err);
    options.outcome = "masked";
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "'masked' is none of sdc1");
    options = good;
    qn_error_init(&err);
    options.by = 0;
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "by:");
    options = good;
    qn_error_init(&err);
    options.schemes = 16;
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "scheme:");
    options = good;
    qn_error_init(&err);
    options.budget = -1;
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "budget -1");
    options = good;
    qn_error_init(&err);
    options.word_bits = 2000;
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "word: 2000");
    options = good;
    qn_error_init(&err);
    options.confidence = 0.3;
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "confidence 0.3");
    qn_error_init(&err);
    qn_assert_fails(qn_protection_make(&p, empty, &good, &err), &err, QN_EINVAL, "no faults to choose by");
    assert_null(p);
    assert_string_equal(qn_scheme_text(QN_SCHEME_TMR), "tmr");
    assert_string_equal(qn_scheme_text(-1), "none");
}

static void memory_that_is_not_there(void **state)
{
    (void)state;
    const char *path = make_store("memory.db", 50);
    qn_error err;
    qn_protect_options options;
    qn_protect_options_init(&options);
    qn_status status = QN_ENOMEM;
    int64_t countdown = 0;
    for (; status != QN_OK && countdown < 1000; countdown++) {
        qn_protection *p = NULL;
        qn_error_init(&err);
        qn_alloc_fail_after(countdown);
        status = qn_protection_make(&p, path, &options, &err);
        qn_alloc_fail_after(-1);
        if (status != QN_OK) {
            assert_int_equal(status, QN_ENOMEM);
            assert_null(p);
        }
        qn_protection_free(p);
    }
    assert_true(countdown > 10 && countdown < 1000);
    options.struct_size = 3;
    qn_protection *p = NULL;
    qn_error_init(&err);
    qn_assert_fails(qn_protection_make(&p, path, &options, &err), &err, QN_EINVAL, "qn_protect_options_init");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs),
        cmocka_unit_test(ends),
        cmocka_unit_test(exhaustive_choice_is_the_best),
        cmocka_unit_test(detection_only_where_correction_is_too_dear),
        cmocka_unit_test(sampled_campaign_is_judged_by_the_other_half),
        cmocka_unit_test(groups_by_other_things),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
