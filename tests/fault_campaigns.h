/* Campaigns for tests: an injector whose every answer is a function of fault and image, options around it, and stores
 * compared row by row. */
#ifndef QN_TESTS_FAULT_CAMPAIGNS_H
#define QN_TESTS_FAULT_CAMPAIGNS_H

#include "support.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "fault/campaign.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { CAMPAIGN_IMAGES = 20, CAMPAIGN_CLASSES = 10 };

/* What the injector made up does besides. */
static struct {
    int64_t group;      /* images of a call of run */
    bool divides;       /* or fewer */
    int64_t n_divided;  /* calls that did not begin with a group; atomic */
    int64_t stop_after; /* sets `stopped` after so many pairs; 0: never */
    volatile sig_atomic_t stopped;
    int64_t n_pairs;     /* atomic */
    int64_t wrong_fault; /* whose answer on wrong_image is wrong; -1: nobody's */
    int64_t wrong_image;
    int64_t fail_fault; /* running it is an error; -1: none */
    double sdc_share;   /* of pairs with another top-1, beside what differs by itself; 0: those alone */
} made_up;

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9E3779B97F4A7C15u + b * 0xC2B2AE3D27D4EB4Fu + 1;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    return x ^ x >> 32;
}

static void made_up_outputs(float *outputs, int64_t image)
{
    for (int i = 0; i < CAMPAIGN_CLASSES; i++) {
        outputs[i] = (float)(mix((uint64_t)image, (uint64_t)i) % 1000) / 100;
    }
}

/* What a fault does on an image; `outputs` is room for its outputs. */
static qn_fault_effect made_up_effect(const qn_fault *fault, int64_t image, float *outputs)
{
    const uint64_t key = mix((uint64_t)fault->stratum * 1000003 + (uint64_t)fault->draw, (uint64_t)image);
    qn_fault_effect effect = {.end = (qn_fault_end)(key % 5), .before = (uint32_t)(key >> 8 & 0xFF), .died_at = -1};
    effect.after = effect.end == QN_FAULT_INACTIVE && (key & 1) != 0 ? effect.before : effect.before ^ 4;
    if (made_up.sdc_share > 0) {
        effect.end = (double)(key % 1000) < 1000 * made_up.sdc_share ? QN_FAULT_AT_OUTPUT : QN_FAULT_IN_LAYER;
    }
    if (effect.end == QN_FAULT_AT_OUTPUT) {
        made_up_outputs(outputs, image);
        outputs[key >> 16 & 7] += made_up.sdc_share > 0 ? 100 : (float)(key >> 24 & 0xFF) / 32;
        outputs[9] = (key >> 40 & 31) == 0 ? INFINITY : outputs[9];
        effect.outputs = outputs;
    }
    return effect;
}

static qn_status made_up_create(qn_injector *injector, qn_error *err)
{
    (void)injector, (void)err;
    return QN_OK;
}

static void made_up_release(qn_injector *injector)
{
    (void)injector;
}

static int64_t made_up_group(const qn_injector *injector)
{
    (void)injector;
    return made_up.group;
}

static qn_status made_up_golden(qn_injector *injector, int worker, int64_t first, int64_t n, float *outputs,
                                qn_error *err)
{
    (void)injector, (void)worker, (void)err;
    for (int64_t i = 0; i < n; i++) {
        made_up_outputs(outputs + i * CAMPAIGN_CLASSES, first + i);
    }
    return QN_OK;
}

static qn_status made_up_run_as(bool wrong, int64_t first, int64_t n, const qn_fault *const *faults, int64_t n_faults,
                                qn_fault_emit *emit, void *ctx, qn_error *err)
{
    __atomic_add_fetch(&made_up.n_divided, first % made_up.group != 0, __ATOMIC_RELAXED);
    for (int64_t k = 0; k < n_faults * n; k++) {
        /* In an order of its own. */
        const int64_t f = n_faults - 1 - k / n;
        const int64_t image = first + n - 1 - k % n;
        const qn_fault *fault = faults[f];
        if ((image - fault->first_image + CAMPAIGN_IMAGES) % CAMPAIGN_IMAGES >= fault->n_images) {
            continue;
        }
        if (fault->id == made_up.fail_fault) {
            return qn_fail(err, QN_ERANGE, "made up", "fault %lld fails", (long long)fault->id);
        }
        float outputs[CAMPAIGN_CLASSES];
        qn_fault_effect effect = made_up_effect(fault, image, outputs);
        if (wrong && fault->id == made_up.wrong_fault && image == made_up.wrong_image) {
            made_up_outputs(outputs, image);
            outputs[3] += 0.5f;
            effect.end = QN_FAULT_AT_OUTPUT;
            effect.outputs = outputs;
        }
        emit(ctx, f, image, &effect);
        const int64_t done = __atomic_add_fetch(&made_up.n_pairs, 1, __ATOMIC_RELAXED);
        if (made_up.stop_after > 0 && done >= made_up.stop_after) {
            made_up.stopped = 1;
        }
    }
    return QN_OK;
}

static qn_status made_up_run(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                             int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    (void)injector, (void)worker;
    return made_up_run_as(true, first, n, faults, n_faults, emit, ctx, err);
}

static qn_status made_up_run_right(qn_injector *injector, int worker, int64_t first, int64_t n,
                                   const qn_fault *const *faults, int64_t n_faults, qn_fault_emit *emit, void *ctx,
                                   qn_error *err)
{
    (void)injector, (void)worker;
    return made_up_run_as(false, first, n, faults, n_faults, emit, ctx, err);
}

static bool made_up_divides(const qn_injector *injector, const qn_fault *fault)
{
    (void)injector, (void)fault;
    return made_up.divides;
}

static const qn_injector_ops made_up_injector = {"made up",      made_up_create, made_up_release, made_up_group,
                                                 made_up_golden, made_up_run,    made_up_divides};
static const qn_injector_ops made_up_whole = {"made up from scratch", made_up_create,    made_up_release, made_up_group,
                                              made_up_golden,         made_up_run_right, made_up_divides};

/* The digits network and its data. */
static struct {
    qn_model *model;
    qn_dataset *data;
    qn_tensor labels;
} digits;

static int open_digits(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    bool found;
    qn_preprocess pre;
    qn_assert_ok(qn_model_load(&digits.model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_model_preprocess(digits.model, &pre, &found, &err), &err);
    qn_assert_ok(qn_dataset_open(&digits.data, QN_SOURCE_DIR "/examples/digits/test_x_u8.npy", &pre, &err), &err);
    qn_assert_ok(qn_tensor_read(&digits.labels, QN_SOURCE_DIR "/examples/digits/test_y_u8.npy", &err), &err);
    return 0;
}

static int close_digits(void **state)
{
    (void)state;
    qn_dataset_close(digits.data);
    qn_tensor_free(&digits.labels);
    qn_model_free(digits.model);
    return 0;
}

static qn_fault_spec *spec_of(const char *yaml)
{
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec;
    qn_assert_ok(qn_fault_spec_of_text(&spec, yaml, "faults.yaml", &err), &err);
    return spec;
}

/* Options with the injector made up, one thread, small blocks. */
static qn_campaign_options options_of(qn_fault_spec *spec, const char *store)
{
    qn_error err;
    qn_error_init(&err);
    qn_campaign_options options;
    qn_assert_ok(qn_campaign_options_init(&options, digits.model, &err), &err);
    options.data = digits.data;
    options.labels = &digits.labels;
    options.spec = spec;
    options.store = qn_scratch_file(store);
    options.n_images = CAMPAIGN_IMAGES;
    options.n_threads = 1;
    options.block_pairs = 700;
    options.stop = &made_up.stopped;
    memset(&made_up, 0, sizeof made_up);
    made_up.group = 1;
    made_up.wrong_fault = made_up.fail_fault = -1;
    qn_campaign_fake = (qn_campaign_fakes){&made_up_injector, &made_up_whole};
    return options;
}

/* The first number of a query. */
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

static void assert_intact(const char *path)
{
    assert_int_equal(query(path, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    /* Whole blocks: their faults, and no others. */
    assert_int_equal(query(path, "SELECT count(*) FROM faults"), query(path, "SELECT ifnull(sum(n), 0) FROM blocks"));
    assert_int_equal(query(path, "SELECT count(*) FROM faults f WHERE NOT EXISTS (SELECT 1 FROM blocks b WHERE f.id >= "
                                 "b.first_id AND f.id < b.first_id + b.n)"),
                     0);
}

static void assert_same_rows(const char *a, const char *b)
{
    static const char *const tables[] = {"faults", "changes", "pairs", "parts", "targets", "strata", "images"};
    assert_true(query(a, "SELECT count(*) FROM faults") > 0);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[512];
        sqlite3 *db;
        assert_int_equal(sqlite3_open_v2(a, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
        snprintf(sql, sizeof sql, "ATTACH '%s' AS other", b);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        snprintf(sql, sizeof sql,
                 "SELECT (SELECT count(*) FROM (SELECT * FROM main.%s EXCEPT SELECT * FROM other.%s)) + "
                 "(SELECT count(*) FROM (SELECT * FROM other.%s EXCEPT SELECT * FROM main.%s))",
                 tables[i], tables[i], tables[i], tables[i]);
        sqlite3_stmt *statement;
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        if (sqlite3_column_int64(statement, 0) != 0) {
            fail_msg("%lld rows of '%s' differ between %s and %s", (long long)sqlite3_column_int64(statement, 0),
                     tables[i], a, b);
        }
        sqlite3_finalize(statement);
        sqlite3_close(db);
    }
}

static qn_campaign_stats run_campaign(const qn_campaign_options *options)
{
    qn_error err;
    qn_error_init(&err);
    qn_campaign_stats stats;
    qn_assert_ok(qn_campaign_run(options, &stats, &err), &err);
    assert_intact(options->store);
    return stats;
}

#endif
