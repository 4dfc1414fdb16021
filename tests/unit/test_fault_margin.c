/* Bounds on the change of outputs: never below the change there is, by brute force, after every step of every run;
 * and campaigns that prove pairs by them count what campaigns that run all of them count. */
#include "fault_agree.h"
#include "fault_campaigns.h"
#include "fault_models.h"
#include "random_networks.h"

#include "fault/inject_integer.h"
#include "fault/margin.h"

/*  bounds    after the steps of a run, as told
 *  seen, exact_zero   finite ones; of them, those that are 0
 *  tight     of the finite ones above 0, those no more than ten times the change there was */
typedef struct {
    qn_margin *margin;
    double bounds[256];
    int n;
    int64_t seen, zero, tight, unknown;
} told;

static bool tell(void *ctx, int step)
{
    told *t = ctx;
    (void)step;
    assert_true(t->n < 256);
    t->bounds[t->n++] = qn_margin_bound(t->margin);
    return false;
}

static double change_of(const qn_region *region, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)region->all_outputs[i] - (double)region->golden_outputs[i]));
    }
    return most;
}

static void check_bounds(told *t, const qn_region *region, int64_t n, const char *name, const qn_fault_targets *targets,
                         const qn_fault *fault)
{
    const double change = change_of(region, n);
    for (int i = 0; i < t->n; i++) {
        if (!(change <= t->bounds[i])) {
            fail_msg(
                "%s: outputs change by %.9g, the bound after %d more steps was %.9g; %s, element %lld, masks %x %x %x",
                name, change, t->n - 1 - i, t->bounds[i],
                qn_fault_where_text(targets->list[fault->changes[0].target].where),
                (long long)fault->changes[0].element, fault->changes[0].and_mask, fault->changes[0].or_mask,
                fault->changes[0].xor_mask);
        }
        t->seen += isfinite(t->bounds[i]);
        t->unknown += !isfinite(t->bounds[i]);
        t->zero += t->bounds[i] == 0;
        t->tight += t->bounds[i] > 0 && t->bounds[i] <= 10 * change;
    }
}

/* Random faults, of up to three changes, on the images of a data set. */
static void brute_force(told *t, const char *name, const qn_program *program, const qn_dataset *data,
                        const qn_fault_targets *targets, uint64_t seed, int n_faults)
{
    qn_error err;
    qn_error_init(&err);
    qn_machine machine = {0};
    qn_injection injection = {0};
    qn_margin_plan *plan;
    qn_assert_ok(qn_machine_make(&machine, program, false, targets, &err), &err);
    qn_assert_ok(qn_injection_make(&injection, &machine, &err), &err);
    int64_t n_outputs = 0;
    for (size_t i = 0; i < qn_program_n_outputs(program); i++) {
        n_outputs += qn_program_output_count(program, i);
    }
    qn_assert_ok(
        qn_margin_plan_make(&plan, machine.plan, machine.accumulator_bits, machine.saturates, n_outputs, 1e30, 0, &err),
        &err);
    qn_assert_ok(qn_margin_make(&t->margin, plan, &injection.region, &err), &err);
    agree drawn = {.targets = targets, .random = seed * 2 + 1};
    float *inputs = calloc((size_t)qn_program_input_count(program, 0), sizeof *inputs);
    uint8_t *golden = qn_alloc(machine.plan->golden_bytes);
    assert_true(inputs != NULL && golden != NULL);
    for (int64_t image = 0; image < qn_dataset_count(data); image++) {
        qn_assert_ok(qn_dataset_read(data, image, 1, inputs, &err), &err);
        const float *list[] = {inputs};
        injection.region.ends = NULL;
        qn_region_compute(&injection.region, list, golden);
        qn_region_load(&injection.region, golden);
        qn_margin_load(t->margin, 1e30);
        injection.region.ends = tell;
        injection.region.ends_ctx = t;
        for (int i = 0; i < n_faults; i++) {
            qn_fault_change changes[3];
            const bool little =
                i % 2 != 0; /* one activation's or weight's lowest bits: little moves, thresholds tell */
            const int n = little ? 1 : 1 + (int)agree_below(&drawn, 3);
            for (int k = 0; k < n; k++) {
                const int where = i % 4 == 1   ? (int)QN_FAULT_ACTIVATIONS
                                  : i % 4 == 0 ? AGREE_ANY
                                               : (int)QN_FAULT_WEIGHTS;
                changes[k] = agree_change(&drawn, agree_target(&drawn, where));
                if (little) {
                    changes[k].and_mask = UINT32_MAX;
                    changes[k].or_mask = 0;
                    changes[k].xor_mask = 1u << agree_below(&drawn, 2);
                }
            }
            qsort(changes, (size_t)n, sizeof *changes, agree_compare);
            int kept = 1;
            for (int k = 1; k < n; k++) {
                if (agree_compare(&changes[k], &changes[kept - 1]) != 0) {
                    changes[kept++] = changes[k];
                }
            }
            const qn_fault fault = {.n_images = 1, .n_changes = kept, .changes = changes};
            if (qn_fault_needs_model(&machine, &fault)) {
                continue;
            }
            qn_assert_ok(qn_injection_prepare(&injection, &fault, &err), &err);
            if (injection.refused) {
                continue;
            }
            t->n = 0;
            qn_injection_run(&injection);
            check_bounds(t, &injection.region, n_outputs, name, targets, &fault);
            qn_region_restore(&injection.region);
        }
    }
    qn_margin_free(t->margin);
    qn_margin_plan_free(plan);
    qn_injection_free(&injection);
    qn_machine_free(&machine);
    qn_free(golden);
    free(inputs);
}

/* Bounds on a network, made by whoever calls and released here, of images of reals within `reach`. */
static void network(told *t, random_net *net, const char *name, uint64_t seed, const qn_arithmetic *arithmetic,
                    int64_t n_images, float reach, int n_faults)
{
    qn_assert_ok(qn_graph_set_arithmetic(&net->model.graph, arithmetic, &net->err), &net->err);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(&net->model, QN_ENGINE_INTEGER, &targets);
    int64_t dims[QN_MAX_RANK] = {n_images};
    qn_tensor x;
    const int rank = 1 + qn_program_input_shape(program, 0, dims + 1);
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, rank, dims, &net->err), &net->err);
    uint64_t random = seed + 1;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&random, -reach, reach);
    }
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &net->err), &net->err);
    brute_force(t, name, program, data, &targets, seed, n_faults);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    net_release(net);
}

static void random_network(told *t, uint64_t seed, const qn_arithmetic *arithmetic, int n_faults)
{
    random_net net;
    char name[64];
    net_of_any(&net, seed);
    snprintf(name, sizeof name, "random network %d", (int)seed);
    network(t, &net, name, seed, arithmetic, 3, seed % 2 ? 12 : 2, n_faults);
}

/* Two matrices, the codes between them saturated at either end as often as not: the thresholds of clamps. */
static void bounds_beyond_clamps(void **state)
{
    (void)state;
    int64_t zero = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        told t = {0};
        random_net net;
        const qn_arithmetic arithmetic = net_arithmetic(seed % 2 ? 0 : 2); /* floats; integers, rounded twice */
        qn_graph *g = net_start(&net, seed);
        qn_test_input(g, "x", DIMS(-1, 3));
        net_code(&net, "x", NET_EXPONENT, pick(&net, -10, 10), true);
        net_matrix(&net, "x", "h", 3, 6, true);
        net_matrix(&net, "h", "y", 6, 2, true);
        qn_test_output(g, "y");
        network(&t, &net, "two matrices", seed, &arithmetic, 200, 4, 40);
        assert_true(t.seen > 500);
        zero += t.zero;
    }
    assert_true(zero > 1000);
}

static void bounds_on_random_networks(void **state)
{
    (void)state;
    told t = {0};
    for (uint64_t seed = 0; seed < 48; seed++) {
        const qn_arithmetic arithmetic = net_arithmetic(seed / 3);
        random_network(&t, seed, &arithmetic, 120);
    }
    printf("bounds: %lld, of them 0: %lld, within ten times the change: %lld; unknown %lld\n", (long long)t.seen,
           (long long)t.zero, (long long)t.tight, (long long)t.unknown);
    assert_true(t.seen > 2000 && t.tight > t.seen / 50 && t.zero > 0);
}

/* Where sums may wrap there is no bound before the layer; the same sums in 32 bits have one. */
static void narrow_sums_that_wrap(void **state)
{
    (void)state;
    int64_t seen[2] = {0};
    for (int narrow = 0; narrow < 2; narrow++) {
        told t = {0};
        const qn_arithmetic arithmetic = {.accumulator_bits = narrow ? 9 : 32};
        for (uint64_t seed = 0; seed < 6; seed++) {
            random_network(&t, seed, &arithmetic, 20);
        }
        seen[narrow] = t.seen;
    }
    assert_true(seen[0] > 0 && seen[1] < seen[0] / 2);
}

static void bounds_on_shared_models(void **state)
{
    (void)state;
    static const char *const names[] = {"lenet_cifar10", "resnet8_cifar10", "kws_dscnn"};
    if (qn_shared("data/models") == NULL) {
        printf("skipped: the shared models are not here\n");
        skip();
    }
    for (int i = 0; i < 3; i++) {
        told t = {0};
        qn_fault_targets targets;
        qn_model *model = qn_test_quantized_model(names[i], "int8");
        qn_program *program = qn_test_fault_program(model, QN_ENGINE_INTEGER, &targets);
        qn_tensor x;
        qn_dataset *data = agree_images(names[i], 3, &x);
        brute_force(&t, names[i], program, data, &targets, 3, 150);
        printf("%s: %lld bounds, of them 0: %lld, within ten times the change: %lld\n", names[i], (long long)t.seen,
               (long long)t.zero, (long long)t.tight);
        assert_true(t.seen > 300);
        qn_dataset_close(data);
        qn_tensor_free(&x);
        qn_fault_targets_free(&targets);
        qn_program_free(program);
        qn_model_free(model);
    }
}

/* Allowances: outputs that differ by as much in the worst directions are settled; by a little more they may not be. */
static void allowances_settle(void **state)
{
    (void)state;
    uint64_t random = 7;
    int64_t beyond = 0;
    for (int trial = 0; trial < 3000; trial++) {
        float logits[12], worse[12];
        const int n = 1 + trial % 12;
        const float spread = (float[]){0.1f, 1, 8, 30}[trial / 12 % 4];
        for (int i = 0; i < n; i++) {
            logits[i] = qn_test_uniform(&random, -spread, spread);
        }
        qn_golden golden;
        qn_golden_make(&golden, logits, n, trial % 2 ? 0 : -1);
        const double allowed = qn_outcome_allowance(logits, n, 0);
        if (allowed < 0) {
            continue;
        }
        for (int way = 0; way < 4; way++) {
            bool within = true; /* after rounding */
            const double d = (way & 1 ? 1.01 : 1 - 1e-6) * fmin(allowed, 50);
            for (int i = 0; i < n; i++) {
                const bool up = (i == golden.top1) == (way >= 2);
                worse[i] = (float)((double)logits[i] + (up ? d : -d) * (way & 1 ? 1 : 1 - 1e-5));
                within = within && fabs((double)worse[i] - (double)logits[i]) <= allowed;
            }
            const unsigned flags = qn_outcome_of(&golden, worse, n, 0).flags;
            if ((way & 1) == 0 && within) {
                assert_int_equal(flags, QN_OUTCOME_TOLERATED);
            }
            beyond += flags != QN_OUTCOME_TOLERATED;
        }
    }
    assert_true(beyond > 500); /* allowances are not much too small */
    const float bad[] = {1, NAN, 0}, tie[] = {3, 3, 1}, one[] = {2};
    assert_true(qn_outcome_allowance(bad, 3, 0) < 0 && qn_outcome_allowance(bad, 3, 1) < 0);
    assert_true(qn_outcome_allowance(tie, 3, 0) < 0);
    assert_true(qn_outcome_allowance(one, 1, 0) > 100);
    assert_true(qn_outcome_allowance(tie, 3, 0.5) <= 0.5 && qn_outcome_allowance(tie, 3, 0.5) > 0.499);
}

static const char weights_and_activations[] = "faults:\n"
                                              "  - name: w\n    where: weights\n    sample: 200\n"
                                              "  - name: a\n    where: [activations, accumulators]\n    sample: 800\n";

static qn_fault_spec *spec_with(const char *head)
{
    char text[512];
    snprintf(text, sizeof text, "%s%s", head, weights_and_activations);
    return spec_of(text);
}

static qn_campaign_options real_options(qn_fault_spec *spec, const char *store)
{
    qn_campaign_options options = options_of(spec, store);
    qn_campaign_fake = (qn_campaign_fakes){NULL, NULL};
    options.keep_pairs = true;
    options.n_images = 18;
    return options;
}

/* Rows of two stores side by side: what has to be equal, fault by fault. */
static void compare_counts(const char *without, const char *with)
{
    char sql[1024];
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(without, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    snprintf(sql, sizeof sql, "ATTACH '%s' AS other", with);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(
            db,
            "SELECT count(*), total(b.proven), total(a.sdc1) FROM main.faults a JOIN other.faults b USING (id) WHERE "
            "a.sdc1 = b.sdc1 "
            "AND a.sdc5 = b.sdc5 AND a.sdc10 = b.sdc10 AND a.sdc20 = b.sdc20 AND a.critical = b.critical AND "
            "a.nonfinite = b.nonfinite AND a.pairs = b.pairs AND a.activated = b.activated AND a.proven = 0 AND "
            "a.masked + a.tolerated = b.masked + b.tolerated + b.proven AND a.masked >= b.masked AND "
            "a.element = b.element AND a.before = b.before AND a.after = b.after AND b.pairs = b.proven + b.inactive + "
            "b.in_layer + b.on_the_way + b.at_output + b.refused AND b.rmse_max <= a.rmse_max",
            -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(statement, 0), query(without, "SELECT count(*) FROM faults"));
    printf("%lld pairs proven, %lld SDC-1\n", (long long)sqlite3_column_int64(statement, 1),
           (long long)sqlite3_column_int64(statement, 2));
    assert_true(sqlite3_column_int64(statement, 1) > 500 && sqlite3_column_int64(statement, 2) > 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* With and without; with threads, in shards that are merged, stopped and gone on with: the same rows. Every pair is
 * verified. */
static void campaigns_count_the_same(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *plain = spec_with("seed: 5\n"), *margin = spec_with("seed: 5\nprove: margin-everywhere\n");
    qn_campaign_options options = real_options(plain, "margin_none.db");
    (void)run_campaign(&options);
    options = real_options(margin, "margin_one.db");
    options.verify = 0.3;
    (void)run_campaign(&options);
    compare_counts(qn_scratch_file("margin_none.db"), qn_scratch_file("margin_one.db"));
    const char *one = qn_scratch_file("margin_one.db");
    assert_int_equal(query(one, "SELECT count(*) FROM pairs WHERE flags = 256 AND ended = 5 AND rmse IS NULL"),
                     query(one, "SELECT sum(proven) FROM faults"));
    options = real_options(margin, "margin_threads.db");
    options.n_threads = 3;
    options.memory_bytes = 1;
    (void)run_campaign(&options);
    assert_same_rows(one, options.store);
    const char *shards[3];
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "margin_shard%d.db", i);
        options = real_options(margin, name);
        options.shard = i + 1;
        options.n_shards = 3;
        shards[i] = options.store;
        (void)run_campaign(&options);
    }
    char *missing = NULL;
    qn_assert_ok(qn_store_merge(qn_scratch_file("margin_merged.db"), true, shards, 3, &missing, &err), &err);
    assert_string_equal(missing, "");
    free(missing);
    assert_same_rows(one, qn_scratch_file("margin_merged.db"));
    qn_fault_spec_close(plain);
    qn_fault_spec_close(margin);
}

/* Of outputs that are no classes: an RMSE within the threshold. */
static void thresholds_of_rmse(void **state)
{
    (void)state;
    qn_fault_spec *plain = spec_with("rmse-threshold: 0.4\n"),
                  *margin = spec_with("rmse-threshold: 0.4\nprove: margin-everywhere\n");
    qn_campaign_options options = real_options(plain, "rmse_none.db");
    options.labels = NULL;
    (void)run_campaign(&options);
    options = real_options(margin, "rmse_margin.db");
    options.verify = 0.3;
    options.labels = NULL;
    (void)run_campaign(&options);
    compare_counts(qn_scratch_file("rmse_none.db"), qn_scratch_file("rmse_margin.db"));
    qn_fault_spec_close(plain);
    qn_fault_spec_close(margin);
}

/* The integer injector, but pairs that are at the output are said to be bounded: by 0, or by anything. */
static struct {
    qn_fault_emit *emit;
    void *ctx;
    double bound;
} lie;

static void emit_lie(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    qn_fault_effect told_so = *effect;
    (void)ctx;
    if (effect->end == QN_FAULT_AT_OUTPUT) {
        told_so.end = QN_FAULT_BOUNDED;
        told_so.outputs = NULL;
        told_so.bound = lie.bound;
    }
    lie.emit(lie.ctx, fault, image, &told_so);
}

static qn_status run_lie(qn_injector *injector, int worker, int64_t first, int64_t n, const qn_fault *const *faults,
                         int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    lie.emit = emit;
    lie.ctx = ctx;
    return qn_injector_integer.run(injector, worker, first, n, faults, n_faults, emit_lie, NULL, err);
}

static void verification_sees_false_proofs(void **state)
{
    (void)state;
    qn_error err;
    qn_injector_ops liar = qn_injector_integer;
    liar.run = run_lie;
    static const char *const message[] = {"proven to change by 0 at most", "proven not to change"};
    for (int i = 0; i < 2; i++) {
        qn_error_init(&err);
        qn_fault_spec *spec = spec_with("seed: 5\n");
        qn_campaign_options options = real_options(spec, "lie.db");
        options.overwrite = true;
        options.verify = 1;
        qn_campaign_fake = (qn_campaign_fakes){&liar, &qn_injector_whole};
        lie.bound = i == 0 ? 0 : 1e30;
        qn_campaign_stats stats;
        assert_int_equal(qn_campaign_run(&options, &stats, &err), QN_EINTERNAL);
        assert_non_null(strstr(err.message, message[i]));
        qn_campaign_fake = (qn_campaign_fakes){NULL, NULL};
        qn_fault_spec_close(spec);
    }
}

static void other_engines_refuse(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_with("prove: margin\n");
    qn_campaign_options options = real_options(spec, "float.db");
    options.engine = QN_ENGINE_FLOAT;
    qn_campaign_stats stats;
    assert_int_equal(qn_campaign_run(&options, &stats, &err), QN_ECONFLICT);
    assert_non_null(strstr(err.message, "prove: margin is of the integer engine"));
    qn_fault_spec_close(spec);
}

static int open_quantized_digits(void **state)
{
    qn_error err;
    qn_error_init(&err);
    (void)open_digits(state);
    qn_quantize_options options;
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.data = digits.data;
    qn_model *quantized;
    qn_assert_ok(qn_quantize(&quantized, digits.model, NULL, &options, NULL, &err), &err);
    qn_model_free(digits.model);
    digits.model = quantized;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_on_random_networks), cmocka_unit_test(bounds_beyond_clamps),
        cmocka_unit_test(narrow_sums_that_wrap),     cmocka_unit_test(bounds_on_shared_models),
        cmocka_unit_test(allowances_settle),         cmocka_unit_test(campaigns_count_the_same),
        cmocka_unit_test(thresholds_of_rmse),        cmocka_unit_test(verification_sees_false_proofs),
        cmocka_unit_test(other_engines_refuse),
    };
    return cmocka_run_group_tests(tests, open_quantized_digits, close_digits);
}
