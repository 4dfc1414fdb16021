/* Stores: what is written is read, rates are those of plain loops, every refusal leaves a store as it was, and whatever kills
 * a writer leaves whole blocks. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault/store.h"

enum { N_STRATA = 3, N_TARGETS = 3, BLOCK = 200 };

static qn_fault_target targets_list[N_TARGETS] = {
    {.where = QN_FAULT_WEIGHTS,
     .node = 0,
     .layer = "second",
     .value_name = "w1",
     .op_type = "Conv",
     .format = {.bits = 8, .is_signed = true},
     .bits = 8,
     .rank = 4,
     .dims = {4, 3, 2, 2},
     .n_elems = 48,
     .n_terms = 1,
     .channel_axis = 0,
     .row_axis = 2,
     .column_axis = 3},
    {.where = QN_FAULT_ACTIVATIONS,
     .node = 0,
     .layer = "second",
     .value_name = "a1",
     .op_type = "Conv",
     .coding = QN_FAULT_F32,
     .bits = 32,
     .rank = 3,
     .dims = {4, 5, 5},
     .n_elems = 100,
     .n_terms = 1,
     .channel_axis = 0,
     .row_axis = 1,
     .column_axis = 2},
    {.where = QN_FAULT_BIASES,
     .node = 1,
     .layer = "first by name",
     .value_name = "b2",
     .op_type = "Gemm",
     .coding = QN_FAULT_S32,
     .bits = 32,
     .rank = 1,
     .dims = {6},
     .n_elems = 6,
     .n_terms = 1,
     .channel_axis = -1,
     .row_axis = -1,
     .column_axis = -1},
};
static qn_fault_targets targets = {.list = targets_list, .n = N_TARGETS};
static qn_fault_set sets[2] = {{.name = "one"}, {.name = "two"}};
static qn_fault_spec spec = {.where = "test", .sets = sets, .n_sets = 2};
static qn_fault_stratum strata[N_STRATA] = {
    {.set = 0,
     .label = "weights",
     .population = 1000,
     .where = QN_FAULT_WEIGHTS,
     .bit = -1,
     .layer = "second",
     .channel = -1},
    {.set = 1, .label = "all", .population = INT64_MAX, .where = -1, .bit = -1, .channel = -1},
    {.set = 1, .label = "bit 3", .population = 200, .where = -1, .bit = 3, .channel = 2},
};
static qn_fault_space space = {.spec = &spec, .targets = &targets, .strata = strata, .n_strata = N_STRATA};
static const qn_store_image images[3] = {
    {.id = 0, .top1 = 3, .label = 3, .float_top1 = 3, .probability = 0.5, .float_probability = 0.25, .float_rmse = 3},
    {.id = 1, .top1 = 1, .label = 2, .float_top1 = 2, .probability = 0.75, .float_probability = 1, .float_rmse = 4},
    {.id = 2, .top1 = 9, .label = -1, .float_top1 = -1, .probability = 1, .float_probability = NAN, .float_rmse = NAN},
};

static qn_store_about about_of(void)
{
    return (qn_store_about){.tool = "quern test",
                            .spec = "seed: 5\nfaults:\n  - {where: weights}\n",
                            .seed = UINT64_MAX - 1,
                            .engine = "integer",
                            .cpu = "reference",
                            .model_file = "m.onnx",
                            .model_sha256 = "aaaaaaaaaaaaaaaa",
                            .data_file = "x.npy",
                            .data_sha256 = "bbbbbbbbbbbbbbbb",
                            .preprocess = "{}",
                            .labels_file = "y.npy",
                            .labels_sha256 = "cccccccccccccccc",
                            .float_file = "",
                            .float_sha256 = "",
                            .golden_sha256 = "dddd",
                            .n_images = 3,
                            .confidence = 0.99,
                            .shard = 1,
                            .n_shards = 1,
                            .keep_pairs = true,
                            .block_pairs = 600,
                            .arguments = "inject m.onnx"};
}

static qn_store *create(const char *name, bool overwrite, bool *resumed)
{
    qn_error err;
    qn_error_init(&err);
    const qn_store_about about = about_of();
    const qn_store_begin begin = {.about = &about, .space = &space, .images = images, .n_images = 3};
    qn_store *store;
    qn_assert_ok(qn_store_create(&store, qn_scratch_file(name), overwrite, &begin, resumed, &err), &err);
    return store;
}

/* Rows that follow from their numbers. */
static qn_fault_row row_of(int64_t id)
{
    uint64_t x = (uint64_t)id * 0x9E3779B97F4A7C15u + 12345;
    x ^= x >> 31;
    const int target = (int)(x % N_TARGETS);
    qn_fault_row row = {.id = id,
                        .draw = id * 3,
                        .element = (int64_t)(x >> 8) % targets_list[target].n_elems,
                        .term = (int64_t)(x >> 16 & 3),
                        .n_changes = id % 10 == 0 ? 3 : 1,
                        .first_image = (int64_t)(x >> 20 & 1),
                        .n_images = 3,
                        .stratum = (int32_t)((x >> 24) % N_STRATA),
                        .target = target,
                        .mask = id % 10 == 0 ? 0xF : 1u << (x >> 28 & 31),
                        .before = (uint32_t)(x >> 3),
                        .after = (uint32_t)(x >> 5),
                        .value_before = (x >> 33 & 7) == 0 ? (double)NAN : (double)(x >> 34) / 7,
                        .value_after = -(double)(x >> 36) / 3,
                        .pairs = 3,
                        .activated = (int64_t)(x >> 40 & 3),
                        .rmse_sum = (double)(x >> 44) / 11,
                        .rmse_max = (double)(x >> 45) / 13};
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        row.counts[i] = (int64_t)(x >> (2 * i + 17) & 3);
    }
    for (int i = 0; i < 5; i++) {
        row.ends[i] = (int64_t)(x >> (3 * i + 19) & 3);
    }
    return row;
}

/* Block `number` of BLOCK faults; memory is the caller's to be reused. */
static qn_store_block block_of(int64_t number)
{
    static qn_fault_row rows[BLOCK];
    static qn_store_change changes[BLOCK];
    static qn_fault_pair pairs[BLOCK];
    qn_store_block block = {.number = number,
                            .first_id = number * BLOCK,
                            .n = BLOCK,
                            .n_pairs = 3 * BLOCK,
                            .verified = 7,
                            .seconds = 0.25,
                            .rows = rows,
                            .changes = changes,
                            .pairs = pairs};
    for (int64_t i = 0; i < BLOCK; i++) {
        rows[i] = row_of(number * BLOCK + i);
        for (int64_t k = 0; rows[i].n_changes > 1 && k < rows[i].n_changes && block.n_changes < BLOCK; k++) {
            changes[block.n_changes++] = (qn_store_change){
                .fault = rows[i].id,
                .number = k,
                .change = {.target = 1, .element = k, .term = 2, .and_mask = UINT32_MAX, .xor_mask = 8, .add = 0.5}};
        }
        pairs[block.n_kept_pairs++] = (qn_fault_pair){
            .fault = rows[i].id, .image = 1, .flags = QN_OUTCOME_SDC1, .end = QN_FAULT_AT_OUTPUT, .rmse = 0.125};
    }
    return block;
}

static qn_status add_block(qn_store *store, int64_t number, qn_error *err)
{
    const qn_store_block block = block_of(number);
    return qn_store_add_block(store, &block, err);
}

static int64_t query(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* Returns the number of blocks. */
static int64_t assert_intact(const char *path)
{
    assert_int_equal(query(path, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    const int64_t blocks = query(path, "SELECT count(*) FROM blocks");
    assert_int_equal(query(path, "SELECT count(*) FROM faults"), blocks * BLOCK);
    assert_int_equal(query(path, "SELECT count(*) FROM pairs"), blocks * BLOCK);
    return blocks;
}

static bool same_real(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    qn_store *store = create("written.db", false, &resumed);
    assert_false(resumed);
    const qn_store_part part = {.first_id = 0, .n = 600, .round = 1, .stratum = 2, .first_draw = 17};
    qn_assert_ok(qn_store_add_parts(store, &part, 1, &err), &err);
    for (int64_t b = 2; b >= 0; b--) { /* in any order */
        qn_assert_ok(add_block(store, b, &err), &err);
    }
    qn_assert_ok(qn_store_finish(store, &err), &err);
    qn_store_close(store);
    qn_assert_ok(qn_store_open(&store, qn_scratch_file("written.db"), &err), &err);
    const qn_store_about *about = qn_store_about_of(store), wrote = about_of();
    assert_string_equal(about->spec, wrote.spec);
    assert_true(about->seed == wrote.seed && about->confidence == wrote.confidence && about->complete);
    assert_string_equal(about->arguments, "inject m.onnx");
    for (int64_t id = 0; id < 600; id++) {
        qn_fault_row row, expected = row_of(id);
        bool found;
        qn_assert_ok(qn_store_row(store, id, &row, &found, &err), &err);
        assert_true(found);
        assert_true(same_real(row.value_before, expected.value_before));
        row.value_before = expected.value_before;
        assert_memory_equal(&row, &expected, sizeof row);
    }
    bool found;
    qn_fault_row row;
    qn_assert_ok(qn_store_row(store, 600, &row, &found, &err), &err);
    assert_false(found);
    qn_arena arena = {0};
    const qn_fault_change *changes;
    int64_t n_changes;
    qn_assert_ok(qn_store_changes(store, 410, &arena, &changes, &n_changes, &err), &err);
    assert_int_equal(n_changes, 3);
    assert_true(changes[2].element == 2 && changes[2].xor_mask == 8 && changes[2].add == 0.5);
    qn_arena_free(&arena);
    const qn_store_part *parts;
    size_t n_parts;
    qn_assert_ok(qn_store_parts(store, &parts, &n_parts, &err), &err);
    assert_int_equal(n_parts, 1);
    assert_memory_equal(parts, &part, sizeof part);
    qn_store_totals totals;
    qn_assert_ok(qn_store_total(store, &totals, &err), &err);
    assert_true(totals.blocks == 3 && totals.faults == 600 && totals.pairs == 1800 && totals.verified == 21);
    const qn_store_target *t;
    const qn_store_stratum *s;
    int n;
    qn_assert_ok(qn_store_targets(store, &t, &n, &err), &err);
    assert_int_equal(n, N_TARGETS);
    assert_string_equal(t[0].format, "int8");
    assert_string_equal(t[1].format, "float32");
    assert_string_equal(t[2].format, "int32");
    assert_true(t[0].channels == 4 && t[0].channel_stride == 12 && t[2].channels == 1);
    qn_assert_ok(qn_store_strata(store, &s, &n, &err), &err);
    assert_int_equal(n, N_STRATA);
    assert_true(s[0].population == 1000 && s[1].population == INT64_MAX && s[2].bit == 3 && s[2].channel == 2);
    assert_int_equal(s[0].n + s[1].n + s[2].n, 600);
    qn_store_golden golden;
    qn_assert_ok(qn_store_golden_of(store, &golden, &err), &err);
    assert_true(golden.images == 3 && golden.right == 1 && golden.float_right == 2 && golden.float_agree == 1);
    assert_true(golden.float_rmse == sqrt(12.5));
    qn_store_close(store);
    assert_int_equal(assert_intact(qn_scratch_file("written.db")), 3);
}

/* The group of a row, as text. */
static void key_of(char key[200], unsigned by, const qn_fault_row *row)
{
    const qn_fault_target *t = &targets_list[row->target];
    static const char *const formats[N_TARGETS] = {"int8", "float32", "int32"};
    const bool one_bit = (row->mask & (row->mask - 1)) == 0;
    const int64_t stride = row->target == 0 ? 12 : 25;
    snprintf(key, 200, "%s|%s|%s|%s|%s|%d|%lld", by & QN_STORE_BY_LAYER ? t->layer : "",
             by & QN_STORE_BY_WHERE ? qn_fault_where_text(t->where) : "",
             by & QN_STORE_BY_FORMAT ? formats[row->target] : "",
             by & QN_STORE_BY_SET ? sets[strata[row->stratum].set].name : "",
             by & QN_STORE_BY_STRATUM ? strata[row->stratum].label : "",
             by & QN_STORE_BY_BIT && one_bit ? __builtin_ctz(row->mask) : -1,
             by & QN_STORE_BY_CHANNEL && row->target != 2 ? (long long)(row->element / stride) : -1);
}

/* What was drawn once is drawn again, or the rows of both would be mixed. */
static void other_parts_are_refused(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    qn_store *store = create("parts.db", false, &resumed);
    qn_store_part part = {.first_id = 100, .n = 50, .round = 1, .stratum = 2, .first_draw = 17};
    qn_assert_ok(qn_store_add_parts(store, &part, 1, &err), &err);
    qn_assert_ok(qn_store_add_parts(store, &part, 1, &err), &err);
    qn_assert_ok(qn_store_flush(store, true, &err), &err);
    part.n++;
    qn_assert_fails(qn_store_add_parts(store, &part, 1, &err), &err, QN_ECONFLICT, "other faults from number 100");
    qn_store_close(store);
    assert_int_equal(query(qn_scratch_file("parts.db"), "SELECT count(*) = 1 AND sum(n) = 50 FROM parts"), 1);
}

static void rates_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const unsigned by_all[] = {0,
                                      QN_STORE_BY_LAYER,
                                      QN_STORE_BY_BIT,
                                      QN_STORE_BY_CHANNEL,
                                      QN_STORE_BY_WHERE | QN_STORE_BY_SET,
                                      QN_STORE_BY_FORMAT | QN_STORE_BY_STRATUM,
                                      QN_STORE_BY_LAYER | QN_STORE_BY_BIT | QN_STORE_BY_CHANNEL};
    enum { N = 1000 };
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    qn_store *store = create("rates.db", false, &resumed);
    for (int64_t b = 0; b < N / BLOCK; b++) {
        qn_assert_ok(add_block(store, b, &err), &err);
    }
    int64_t in_stratum[N_STRATA] = {0};
    for (int64_t id = 0; id < N; id++) {
        in_stratum[row_of(id).stratum]++;
    }
    for (size_t k = 0; k < sizeof by_all / sizeof by_all[0]; k++) {
        const unsigned by = by_all[k];
        qn_store_groups groups;
        qn_assert_ok(qn_store_rates(&groups, store, by, QN_OUTCOME_SDC1 | QN_OUTCOME_CRITICAL, &err), &err);
        int64_t total = 0;
        bool first_layer = true;
        for (size_t g = 0; g < groups.n; g++) {
            const qn_store_group *group = &groups.list[g];
            char key[200], other[200];
            snprintf(key, sizeof key, "%s|%s|%s|%s|%s|%d|%lld", group->layer, group->place, group->format, group->set,
                     group->stratum, group->bit, (long long)group->channel);
            int64_t n = 0, hits = 0, n_of[N_STRATA] = {0};
            double hh[N_STRATA] = {0}, hm = 0;
            for (int64_t id = 0; id < N; id++) {
                const qn_fault_row row = row_of(id);
                key_of(other, by, &row);
                if (strcmp(key, other) == 0) {
                    n++;
                    n_of[row.stratum]++;
                    hits += row.counts[2];
                    hh[row.stratum] += (double)(row.counts[2] * row.counts[2]);
                    hm += (double)(row.counts[6] * row.pairs);
                }
            }
            assert_true(n > 0);
            assert_int_equal(group->n_faults, n);
            assert_int_equal(group->counts[2], hits);
            assert_null(group->tallies[0]);
            double critical_hm = 0;
            for (int i = 0, s = 0; i < group->n_tallies; i++, s++) {
                while (n_of[s] == 0) {
                    s++;
                }
                const qn_fault_tally *tally = &group->tallies[2][i];
                assert_int_equal(tally->n_faults, n_of[s]);
                assert_true(tally->sum_hh == hh[s]);
                assert_int_equal(tally->pairs, 3 * n_of[s]);
                assert_true(tally->sum_mm == 9.0 * (double)n_of[s]);
                const double share = round(1000.0 * (double)n_of[s] / (double)in_stratum[s]);
                const int64_t population = s == 1   ? INT64_MAX
                                           : s == 2 ? (n_of[s] == in_stratum[s] ? 200 : n_of[s]) /* exhausted */
                                                    : (int64_t)fmax(share, (double)n_of[s]);
                assert_int_equal(tally->population, population);
                critical_hm += group->tallies[6][i].sum_hm;
            }
            assert_true(critical_hm == hm);
            total += n;
            /* In the order of the network, not of the alphabet. */
            if ((by & QN_STORE_BY_LAYER) != 0) {
                first_layer = first_layer && strcmp(group->layer, "second") == 0;
                assert_true(first_layer || strcmp(group->layer, "first by name") == 0);
            }
        }
        assert_int_equal(total, N);
        qn_store_groups_free(&groups);
    }
    qn_fault_tally tallies[N_STRATA];
    qn_assert_ok(qn_store_tallies(store, QN_OUTCOME_SDC1, 500, tallies, N_STRATA, &err), &err);
    assert_int_equal(tallies[0].n_faults + tallies[1].n_faults + tallies[2].n_faults, 500);
    qn_store_site sites[20];
    size_t n;
    qn_assert_ok(qn_store_worst(store, QN_OUTCOME_SDC1, true, sites, 20, &n, &err), &err);
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++) {
        int64_t hits = 0;
        for (int64_t id = 0; id < N; id++) {
            const qn_fault_row row = row_of(id);
            const int bit = (row.mask & (row.mask - 1)) == 0 ? __builtin_ctz(row.mask) : -1;
            hits += row.target == sites[i].target && row.element == sites[i].element && row.term == sites[i].term &&
                            bit == sites[i].bit
                        ? row.counts[2]
                        : 0;
        }
        assert_int_equal(sites[i].hits, hits);
        assert_true(i == 0 || sites[i - 1].hits >= hits);
    }
    qn_store_close(store);
}

/* What differs from a store's campaign, and the words for it. */
typedef struct {
    const char *fragment;
    qn_store_about about;
} other_campaign;

static void another_campaign_is_refused_by_what_differs(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    qn_store *store = create("mine.db", false, &resumed);
    qn_assert_ok(add_block(store, 0, &err), &err);
    qn_store_close(store);
    other_campaign others[11];
    for (int i = 0; i < 11; i++) {
        others[i].about = about_of();
    }
    others[0].about.model_sha256 = "eeee";
    others[0].fragment = "the model is m.onnx (sha256 aaaaaaaaaaaa...) there, m.onnx (sha256 eeee...) here";
    others[1].about.data_sha256 = "eeee";
    others[1].fragment = "the data are";
    others[2].about.seed = 5;
    others[2].fragment = "the seed is 18446744073709551614 there, 5 here";
    others[3].about.spec = "seed: 5\nfaults:\n  - {where: biases}\n";
    others[3].fragment = "the specification has '- {where: weights}' there, '- {where: biases}' here";
    others[4].about.n_images = 2;
    others[4].fragment = "there are 3 images there, 2 here";
    others[5].about.labels_sha256 = "";
    others[5].fragment = "the labels are y.npy (sha256 cccccccccccc...) there, none here";
    others[6].about.engine = "float";
    others[6].fragment = "the engine is integer there, float here";
    others[7].about.shard = 2, others[7].about.n_shards = 3;
    others[7].fragment = "the shard is 1/1 there, 2/3 here";
    others[8].about.tool = "quern 99";
    others[8].fragment = "it was begun by quern test, this is quern 99";
    others[9].about.golden_sha256 = "ffff";
    others[9].fragment = "fault-free outputs differ";
    others[10].about.keep_pairs = false;
    others[10].fragment = "single pairs are kept there, not kept here";
    for (int i = 0; i < 11; i++) {
        const qn_store_begin begin = {.about = &others[i].about, .space = &space, .images = images, .n_images = 3};
        qn_error_init(&err);
        qn_assert_fails(qn_store_create(&store, qn_scratch_file("mine.db"), false, &begin, &resumed, &err), &err,
                        QN_ECONFLICT, others[i].fragment);
        assert_non_null(strstr(err.message, "use another -o, or -f to start anew"));
        assert_int_equal(assert_intact(qn_scratch_file("mine.db")), 1);
    }
    store = create("mine.db", false, &resumed);
    assert_true(resumed);
    bool has;
    qn_assert_ok(qn_store_has_block(store, 0, &has, NULL), NULL);
    assert_true(has);
    qn_assert_ok(qn_store_has_block(store, 1, &has, NULL), NULL);
    assert_false(has);
    qn_store_close(store);
    store = create("mine.db", true, &resumed);
    assert_false(resumed);
    qn_store_close(store);
    assert_int_equal(assert_intact(qn_scratch_file("mine.db")), 0);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(qn_scratch_file(name), "w");
    fputs(text, file);
    fclose(file);
}

static void sql(const char *name, const char *statements)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(qn_scratch_file(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statements, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void what_is_no_store_is_refused(void **state)
{
    (void)state;
    qn_error err;
    qn_store *store;
    bool resumed;
    const qn_store_about about = about_of();
    const qn_store_begin begin = {.about = &about, .space = &space, .images = images, .n_images = 3};
    char text[4096];
    memset(text, 'x', sizeof text);
    text[4095] = '\0';
    write_file("text.db", text);
    sql("other.db", "CREATE TABLE mine(a)");
    store = create("version.db", false, &resumed);
    qn_store_close(store);
    sql("version.db", "PRAGMA user_version = 1");
    const struct {
        const char *name;
        qn_status status;
        const char *fragment;
    } files[] = {{"text.db", QN_EFORMAT, "is not a campaign store"},
                 {"other.db", QN_EFORMAT, "choose another file (or, to put a new store in its place, quern inject -f)"},
                 {"version.db", QN_EUNSUPPORTED, "of schema version 1, this quern"}};
    for (size_t i = 0; i < 3; i++) {
        const char *path = qn_scratch_file(files[i].name);
        qn_error_init(&err);
        qn_assert_fails(qn_store_open(&store, path, &err), &err, files[i].status, files[i].fragment);
        qn_error_init(&err);
        qn_assert_fails(qn_store_create(&store, path, false, &begin, &resumed, &err), &err, files[i].status,
                        files[i].fragment);
        qn_error_init(&err);
        qn_assert_fails(qn_store_check(path, false, &about, &err), &err, files[i].status, files[i].fragment);
    }
    assert_int_equal(query(qn_scratch_file("other.db"), "SELECT count(*) FROM mine"), 0);
    qn_error_init(&err);
    qn_assert_fails(qn_store_open(&store, qn_scratch_file("absent.db"), &err), &err, QN_EIO, "No such file");
    qn_error_init(&err);
    qn_assert_fails(qn_store_open(&store, qn_scratch(), &err), &err, QN_EIO, "directory");
    qn_error_init(&err);
    qn_assert_fails(qn_store_create(&store, qn_scratch_file("no/such.db"), false, &begin, &resumed, &err), &err, QN_EIO,
                    "cannot be created");
    qn_error_init(&err);
    qn_assert_fails(qn_store_open(&store, "", &err), &err, QN_EINVAL, "empty");
    /* -f puts a store in place of anything. */
    store = create("text.db", true, &resumed);
    qn_store_close(store);
    assert_int_equal(assert_intact(qn_scratch_file("text.db")), 0);
    /* An empty file, as a writer killed at once leaves it, is a new store. */
    write_file("empty.db", "");
    store = create("empty.db", false, &resumed);
    assert_false(resumed);
    qn_store_close(store);
}

static bool says(qn_status status, const qn_error *err, const char *fragment)
{
    if (status != QN_EIO || strstr(err->message, fragment) == NULL) {
        fprintf(stderr, "status '%s', message '%s' lacks '%s'\n", qn_status_text(status), err->message, fragment);
        return false;
    }
    return true;
}

/* As somebody whom directories can stop. */
static bool closed_directory_is_told(void)
{
    qn_error err, written_err;
    qn_error_init(&err);
    qn_error_init(&written_err);
    qn_store *store;
    bool resumed;
    const qn_store_about about = about_of();
    const qn_store_begin begin = {.about = &about, .space = &space, .images = images, .n_images = 3};
    const qn_status checked = qn_store_check(qn_scratch_file("closed/new.db"), false, &about, &err);
    qn_status written =
        qn_store_create(&store, qn_scratch_file("closed/made.db"), false, &begin, &resumed, &written_err);
    if (written == QN_OK) {
        written = add_block(store, 0, &written_err);
        written = written == QN_OK ? qn_store_flush(store, true, &written_err) : written;
        qn_store_close(store);
    }
    return says(checked, &err, "ermission") &&
           says(written, &written_err, "the file and its directory must be writable");
}

static void a_directory_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    bool resumed;
    const char *directory = qn_scratch_file("closed");
    assert_int_equal(mkdir(directory, 0755), 0);
    qn_store_close(create("closed/made.db", false, &resumed));
    assert_int_equal(chmod(qn_scratch_file("closed/made.db"), 0666), 0);
    assert_int_equal(chmod(directory, 0555), 0);
    assert_int_equal(chmod(qn_scratch(), 0755), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit((geteuid() != 0 || setuid(65534) == 0) && closed_directory_is_told() ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(assert_intact(qn_scratch_file("closed/made.db")), 0);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    qn_store *store = create("locked.db", false, &resumed), *second;
    qn_assert_ok(add_block(store, 0, &err), &err);
    qn_assert_ok(qn_store_flush(store, true, &err), &err);
    const qn_store_about about = about_of();
    const qn_store_begin begin = {.about = &about, .space = &space, .images = images, .n_images = 3};
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        qn_error_init(&err);
        qn_assert_fails(qn_store_create(&second, qn_scratch_file("locked.db"), overwrite != 0, &begin, &resumed, &err),
                        &err, QN_EIO, "another quern is writing this store");
    }
    qn_error_init(&err);
    qn_assert_fails(qn_store_check(qn_scratch_file("locked.db"), false, &about, &err), &err, QN_EIO, "is locked");
    /* Readers may look, and the writer goes on. */
    qn_error_init(&err);
    qn_assert_ok(qn_store_open(&second, qn_scratch_file("locked.db"), &err), &err);
    qn_store_totals totals;
    qn_assert_ok(qn_store_total(second, &totals, &err), &err);
    assert_int_equal(totals.faults, BLOCK);
    qn_assert_ok(add_block(store, 1, &err), &err);
    qn_store_close(second);
    qn_store_close(store);
    assert_int_equal(assert_intact(qn_scratch_file("locked.db")), 2);
    store = create("locked.db", false, &resumed); /* free again */
    assert_true(resumed);
    qn_store_close(store);
}

/* A child writes as fast as it can, and is killed in the middle of it, again and again. */
static void killed_at_any_moment_whole_blocks_remain(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("killed.db");
    uint64_t random = 99;
    int64_t last = 0;
    for (int round = 0; round < 12; round++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const qn_store_about about = about_of();
            const qn_store_begin begin = {.about = &about, .space = &space, .images = images, .n_images = 3};
            qn_store *store;
            bool resumed, has;
            if (qn_store_create(&store, path, false, &begin, &resumed, NULL) != QN_OK) {
                _exit(1);
            }
            for (int64_t b = 0; b < 100000; b++) {
                if (qn_store_has_block(store, b, &has, NULL) != QN_OK ||
                    (!has && (add_block(store, b, NULL) != QN_OK || qn_store_flush(store, true, NULL) != QN_OK))) {
                    _exit(2);
                }
            }
            _exit(0);
        }
        const struct timespec wait = {.tv_nsec = (long)(qn_test_random(&random) % 60) * 1000000};
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        if (access(path, F_OK) != 0 || query(path, "SELECT count(*) FROM sqlite_schema") == 0) {
            continue; /* before it had begun */
        }
        const int64_t blocks = assert_intact(path);
        assert_true(blocks >= last);
        last = blocks;
    }
    assert_true(last > 0);
}

static void a_full_disk_keeps_what_was_done(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool resumed;
    const char *path = qn_scratch_file("full.db");
    qn_store *store = create("full.db", false, &resumed);
    qn_assert_ok(add_block(store, 0, &err), &err);
    qn_assert_ok(qn_store_flush(store, true, &err), &err);
    /* The file may not grow any more: writing beyond fails as on a full disk. */
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = (rlim_t)file.st_size + 65536;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    qn_status status = QN_OK;
    int64_t n = 0;
    for (int64_t b = 1; status == QN_OK && b < 100; b++) {
        status = add_block(store, b, &err);
        if (status == QN_OK) {
            status = qn_store_flush(store, true, &err);
        }
        n += status == QN_OK;
    }
    qn_store_close(store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    qn_assert_fails(status, &err, QN_EIO, "is intact and keeps what was done so far");
    assert_int_equal(assert_intact(path), 1 + n);
    store = create("full.db", false, &resumed); /* with room again it goes on */
    assert_true(resumed);
    qn_error_init(&err);
    qn_assert_ok(add_block(store, 1 + n, &err), &err);
    qn_store_close(store);
    assert_int_equal(assert_intact(path), 2 + n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(other_parts_are_refused),
        cmocka_unit_test(rates_are_those_of_plain_loops),
        cmocka_unit_test(another_campaign_is_refused_by_what_differs),
        cmocka_unit_test(what_is_no_store_is_refused),
        cmocka_unit_test(a_directory_that_cannot_be_written_is_told),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(killed_at_any_moment_whole_blocks_remain),
        cmocka_unit_test(a_full_disk_keeps_what_was_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
