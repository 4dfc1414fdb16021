/* Campaigns: rows against brute force, and the same whatever threads, groups, blocks, shards, ranks and interruptions do. */
#include "fault_campaigns.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Every lifetime, one change and several. */
static const char mixed[] = "seed: 7\n"
                            "faults:\n"
                            "  - {name: stay, where: weights, sample: 60 per layer}\n"
                            "  - {name: pass, where: activations, sample: 150}\n"
                            "  - {name: window, where: weights, lifetime: 7, sample: 90}\n"
                            "  - {name: several, where: weights, pattern: count 3, lifetime: 3, sample: 40}\n";

static void add_brute(qn_fault_row *row, const qn_fault *fault, int64_t image, int64_t label)
{
    float golden_outputs[CAMPAIGN_CLASSES], outputs[CAMPAIGN_CLASSES];
    made_up_outputs(golden_outputs, image);
    const qn_fault_effect effect = made_up_effect(fault, image, outputs);
    qn_golden golden;
    qn_golden_make(&golden, golden_outputs, CAMPAIGN_CLASSES, (int)label);
    qn_outcome outcome = qn_outcome_of(&golden, effect.outputs, CAMPAIGN_CLASSES, 0);
    if (effect.end == QN_FAULT_REFUSED) {
        outcome.flags = QN_OUTCOME_NONFINITE;
    }
    row->pairs++;
    row->ends[effect.end]++;
    row->activated += effect.before != effect.after || effect.end != QN_FAULT_INACTIVE;
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        row->counts[i] += (outcome.flags >> i & 1) != 0;
    }
    if (effect.end == QN_FAULT_AT_OUTPUT && isfinite(outcome.rmse)) {
        row->rmse_sum += outcome.rmse;
        row->rmse_max = fmax(row->rmse_max, outcome.rmse);
    }
    if (image == fault->first_image) {
        row->before = effect.before;
        row->after = effect.after;
    }
}

static void rows_are_what_brute_force_gives(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "brute.db");
    const qn_campaign_stats stats = run_campaign(&options);
    assert_true(stats.complete);
    qn_campaign_site site;
    qn_assert_ok(qn_campaign_site_make(&site, &options, &err), &err);
    qn_store *store;
    qn_assert_ok(qn_store_open(&store, options.store, &err), &err);
    int64_t id = 0, n_pairs = 0;
    const uint8_t *labels = digits.labels.data;
    for (int s = 0; s < site.space.n_strata; s++) {
        int64_t n_min, n_max;
        qn_campaign_sizes(&site.space, s, &n_min, &n_max);
        for (int64_t d = 0; d < n_min; d++, id++) {
            qn_arena arena = {0};
            qn_fault fault = {0};
            qn_fault_row brute = {0}, row;
            bool found;
            qn_assert_ok(qn_fault_space_draw(&site.space, s, d, &arena, &fault, &err), &err);
            fault.stratum = s;
            fault.draw = d;
            for (int64_t image = 0; image < CAMPAIGN_IMAGES; image++) {
                for (int64_t k = 0; k < fault.n_images; k++) {
                    if ((fault.first_image + k) % CAMPAIGN_IMAGES == image) {
                        add_brute(&brute, &fault, image, labels[image]);
                    }
                }
            }
            qn_assert_ok(qn_store_row(store, id, &row, &found, &err), &err);
            assert_true(found);
            assert_int_equal(row.stratum, s);
            assert_int_equal(row.draw, d);
            assert_int_equal(row.n_changes, fault.n_changes);
            assert_int_equal(row.target, fault.changes[0].target);
            assert_int_equal(row.element, fault.changes[0].element);
            assert_int_equal(row.pairs, brute.pairs);
            assert_int_equal(row.activated, brute.activated);
            assert_memory_equal(row.counts, brute.counts, sizeof row.counts);
            assert_memory_equal(row.ends, brute.ends, sizeof row.ends);
            assert_memory_equal(&row.rmse_sum, &brute.rmse_sum, sizeof row.rmse_sum);
            assert_memory_equal(&row.rmse_max, &brute.rmse_max, sizeof row.rmse_max);
            assert_int_equal(row.before, brute.before);
            assert_int_equal(row.after, brute.after);
            n_pairs += brute.pairs;
            const qn_fault_change *changes;
            int64_t n_changes;
            qn_assert_ok(qn_store_changes(store, id, &arena, &changes, &n_changes, &err), &err);
            assert_int_equal(n_changes, fault.n_changes > 1 ? fault.n_changes : 0);
            for (int64_t k = 0; k < n_changes; k++) {
                assert_int_equal(changes[k].target, fault.changes[k].target);
                assert_int_equal(changes[k].element, fault.changes[k].element);
                assert_int_equal(changes[k].xor_mask, fault.changes[k].xor_mask);
            }
            qn_arena_free(&arena);
        }
    }
    assert_int_equal(stats.faults, id);
    assert_int_equal(stats.pairs, n_pairs);
    assert_int_equal(query(options.store, "SELECT count(*) FROM faults"), id);
    qn_store_close(store);
    qn_campaign_site_free(&site);
    qn_fault_spec_close(spec);
}

static void threads_groups_and_blocks_change_nothing(void **state)
{
    (void)state;
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "threads1.db");
    const char *first = options.store;
    options.keep_pairs = true;
    const qn_campaign_stats stats = run_campaign(&options);
    assert_int_equal(query(first, "SELECT count(*) FROM pairs"), stats.pairs);
    assert_int_equal(query(first, "SELECT total(activated) FROM faults"),
                     query(first, "SELECT count(*) FROM pairs p JOIN faults f ON f.id = p.fault WHERE ended != 0") +
                         query(first, "SELECT total(activated - (pairs - inactive)) FROM faults"));
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "threads2_%d.db", i);
        options = options_of(spec, name);
        options.keep_pairs = true;
        options.n_threads = 2;
        options.block_pairs = i % 3 == 0 ? 1 : i % 3 == 1 ? 1 << 20 : 333;
        made_up.group = i % 3 == 0 ? 1 : i % 3 == 1 ? 3 : 8;
        made_up.divides = i >= 3;
        made_up.n_divided = 0;
        run_campaign(&options);
        assert_true((made_up.n_divided > 0) == (i == 5));
        assert_same_rows(first, options.store);
    }
    qn_fault_spec_close(spec);
}

static void a_campaign_that_was_stopped_goes_on_to_the_same_rows(void **state)
{
    (void)state;
    qn_error err;
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "whole.db");
    const char *whole = options.store;
    run_campaign(&options);
    options = options_of(spec, "stopped.db");
    int stops = 0;
    bool complete = false;
    int64_t faults = 0;
    while (!complete) {
        assert_true(stops < 50);
        qn_campaign_stats stats;
        qn_error_init(&err);
        made_up.stop_after = 4000;
        made_up.n_pairs = 0;
        made_up.stopped = 0;
        const qn_status status = qn_campaign_run(&options, &stats, &err);
        assert_intact(options.store);
        complete = status == QN_OK;
        if (!complete) {
            qn_assert_fails(status, &err, QN_ECANCELED, "stopped");
            assert_false(stats.complete);
            assert_int_equal(query(options.store, "SELECT complete FROM campaign"), 0);
            stops++;
        }
        assert_int_equal(stats.faults, query(options.store, "SELECT count(*) FROM faults"));
        assert_int_equal(stats.faults, faults + stats.new_faults);
        faults = stats.faults;
    }
    assert_true(stops > 1);
    assert_same_rows(whole, options.store);
    assert_int_equal(query(options.store, "SELECT complete FROM campaign"), 1);
    /* Once complete there is nothing to do. */
    made_up.stop_after = 0;
    made_up.stopped = 0;
    const qn_campaign_stats stats = run_campaign(&options);
    assert_int_equal(stats.new_faults, 0);
    assert_true(stats.complete);
    qn_fault_spec_close(spec);
}

static void shards_merge_to_the_whole(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "all.db");
    options.keep_pairs = true;
    const char *whole = options.store, *shards[3], *doubled[2];
    run_campaign(&options);
    int64_t n = 0;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "shard%d.db", i);
        options = options_of(spec, name);
        options.keep_pairs = true;
        options.shard = i + 1;
        options.n_shards = 3;
        const qn_campaign_stats stats = run_campaign(&options);
        assert_true(stats.faults > 0 && stats.complete);
        n += stats.faults;
        shards[i] = options.store;
    }
    assert_int_equal(n, query(whole, "SELECT count(*) FROM faults"));
    char *missing;
    const char *some = qn_scratch_file("some.db"), *merged = qn_scratch_file("merged.db");
    qn_assert_ok(qn_campaign_merge(some, false, shards, 2, &missing, &err), &err);
    assert_string_equal(missing, "shard 3/3 is missing");
    free(missing);
    assert_int_equal(query(some, "SELECT complete FROM campaign"), 0);
    /* What was merged merges further; the same twice does not. */
    doubled[0] = some;
    doubled[1] = shards[1];
    qn_assert_fails(qn_campaign_merge(merged, false, doubled, 2, &missing, &err), &err, QN_ECONFLICT,
                    "give each shard once");
    qn_error_init(&err);
    doubled[1] = shards[2];
    qn_assert_ok(qn_campaign_merge(merged, false, doubled, 2, &missing, &err), &err);
    assert_string_equal(missing, "");
    free(missing);
    assert_intact(merged);
    assert_same_rows(whole, merged);
    assert_int_equal(query(merged, "SELECT complete FROM campaign"), 1);
    qn_assert_fails(qn_campaign_merge(merged, false, shards, 3, &missing, &err), &err, QN_EEXIST, "exists");
    qn_error_init(&err);
    doubled[0] = shards[0];
    doubled[1] = whole;
    qn_assert_fails(qn_campaign_merge(merged, true, doubled, 2, &missing, &err), &err, QN_ECONFLICT, "shards");
    qn_error_init(&err);
    doubled[1] = shards[0];
    qn_assert_fails(qn_campaign_merge(merged, true, doubled, 2, &missing, &err), &err, QN_ECONFLICT,
                    "shard 1/3, and so is");
    assert_same_rows(whole, merged); /* which the refusals left alone */
    qn_fault_spec_close(spec);
}

static void an_exhaustive_campaign_has_every_fault_once(void **state)
{
    (void)state;
    qn_fault_spec *spec =
        spec_of("faults:\n  - {where: biases, bits: [0, 3-5, 31], lifetime: 2, sample: all per bit}\n");
    qn_campaign_options options = options_of(spec, "exhaustive.db");
    const qn_campaign_stats stats = run_campaign(&options);
    const int64_t elements = query(options.store, "SELECT sum(n_elems) FROM targets WHERE place = 'biases'");
    assert_true(elements > 0);
    const int64_t faults = elements * 5 * stats.images; /* each may begin in any image */
    assert_int_equal(stats.faults, faults);
    assert_int_equal(
        query(options.store, "SELECT count(*) FROM (SELECT DISTINCT target, element, mask, first_image FROM faults)"),
        faults);
    assert_int_equal(query(options.store, "SELECT count(DISTINCT bit) FROM faults JOIN bits USING (mask)"), 5);
    assert_int_equal(query(options.store, "SELECT sum(population) FROM strata"), faults);
    qn_fault_spec_close(spec);
}

static void sampling_goes_on_until_intervals_are_narrow(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of("faults:\n  - {where: weights, sample: until 2% confidence 95% per layer}\n"
                                  "  - {name: few, where: activations, sample: until 0.1% max 400}\n");
    qn_campaign_options options = options_of(spec, "until.db");
    const char *whole = options.store;
    options.block_pairs = 3000;
    made_up.sdc_share = 0.2;
    qn_campaign_stats stats = run_campaign(&options);
    assert_true(stats.rounds > 1);
    qn_store *store;
    qn_store_groups groups;
    qn_assert_ok(qn_store_open(&store, whole, &err), &err);
    qn_assert_ok(qn_store_rates(&groups, store, QN_STORE_BY_SET | QN_STORE_BY_STRATUM, QN_OUTCOME_SDC1, &err), &err);
    assert_true(groups.n > 2);
    for (size_t g = 0; g < groups.n; g++) {
        const qn_store_group *group = &groups.list[g];
        if (strcmp(group->set, "few") == 0) {
            assert_int_equal(group->n_faults, 400);
            continue;
        }
        const qn_interval interval = qn_fault_rate(group->tallies[2], group->n_tallies, 0.95, false);
        assert_true((interval.high - interval.low) / 2 <= 0.02);
        /* And not many more than that takes: pairs of one fault are independent here. */
        assert_true(interval.low == interval.high || (interval.high - interval.low) / 2 > 0.01);
    }
    qn_store_groups_free(&groups);
    qn_store_close(store);
    options = options_of(spec, "until2.db");
    options.n_threads = 2;
    options.block_pairs = 1000;
    bool complete = false;
    for (int i = 0; i < 200 && !complete; i++) {
        made_up.sdc_share = 0.2;
        made_up.stop_after = 30000;
        made_up.n_pairs = 0;
        made_up.stopped = 0;
        qn_error_init(&err);
        complete = qn_campaign_run(&options, &stats, &err) == QN_OK;
        assert_true(complete || err.status == QN_ECANCELED);
    }
    assert_true(complete);
    assert_same_rows(whole, options.store);
    qn_fault_spec_close(spec);
}

static void a_wrong_byte_fails_the_campaign(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of("verify: 100%\nfaults:\n  - {where: weights, sample: 100}\n");
    for (int group = 1; group <= 4; group += 3) {
        qn_campaign_options options = options_of(spec, "verified.db");
        options.overwrite = true;
        made_up.group = group;
        const qn_campaign_stats stats = run_campaign(&options);
        assert_int_equal(stats.n_verified, 100 * CAMPAIGN_IMAGES);
        options = options_of(spec, "wrong.db");
        options.overwrite = true;
        made_up.group = group;
        made_up.wrong_fault = 77;
        made_up.wrong_image = 13;
        qn_error_init(&err);
        qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_EINTERNAL, "fault 77 (weights of '");
        assert_non_null(strstr(err.message, "on image 13: output 3 is"));
        assert_intact(options.store);
        assert_int_equal(query(options.store, "SELECT complete FROM campaign"), 0);
    }
    /* A share of pairs is about that share. */
    qn_campaign_options options = options_of(spec, "share.db");
    options.verify = 0.1;
    const qn_campaign_stats stats = run_campaign(&options);
    assert_in_range(stats.n_verified, 140, 260);
    qn_fault_spec_close(spec);
}

static void nothing_changed_is_masked(void **state)
{
    (void)state;
    qn_fault_spec *spec = spec_of("verify: 100%\nfaults:\n  - {where: [weights, activations, inputs], model: none, "
                                  "lifetime: permanent, sample: 10}\n");
    qn_campaign_options options = options_of(spec, "none.db");
    options.n_threads = 2;
    options.n_images = 5;
    qn_campaign_fake = (qn_campaign_fakes){NULL, NULL};
    const qn_campaign_stats stats = run_campaign(&options);
    assert_int_equal(stats.n_verified, 10 * 5);
    assert_int_equal(query(options.store, "SELECT sum(masked) FROM faults"), 10 * 5);
    assert_int_equal(query(options.store, "SELECT sum(inactive) FROM faults"), 10 * 5);
    assert_int_equal(query(options.store, "SELECT sum(activated) FROM faults"), 0);
    qn_fault_spec_close(spec);
}

/* A fault that was not undone shows in what the network answers afterwards. */
static void fault_free_outputs_are_checked_by_the_network(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of("faults:\n  - {where: weights, sample: 1}\n");
    qn_campaign_options options = options_of(spec, "checked.db");
    options.n_threads = 2;
    qn_campaign_fake = (qn_campaign_fakes){NULL, NULL};
    qn_campaign_site site;
    qn_assert_ok(qn_campaign_site_make(&site, &options, &err), &err);
    qn_assert_ok(qn_campaign_site_golden(&site, &err), &err);
    qn_assert_ok(qn_campaign_site_check(&site, &err), &err);
    site.outputs[3 * site.output_count + 1] += 1;
    qn_assert_fails(qn_campaign_site_check(&site, &err), &err, QN_EINTERNAL, "outputs of image 3 differ");
    qn_campaign_site_free(&site);
    qn_fault_spec_close(spec);
}

/* What users decide, refused before anything is written. */
static void refusals(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of("faults:\n  - {where: weights, sample: until 5%}\n");
    qn_campaign_options options = options_of(spec, "refused.db");
    options.n_shards = 2;
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_ECONFLICT, "use ranks (mpirun) in place of shards");
    options.shard = 3;
    qn_error_init(&err);
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_EINVAL, "shard is 3/2");
    options.shard = options.n_shards = 1;
    options.n_images = 1001;
    qn_error_init(&err);
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_EINVAL,
                    "1001 images are asked for, there are 1000");
    options.n_images = 5;
    qn_tensor labels = digits.labels;
    labels.dims[0] = 7;
    options.labels = &labels;
    qn_error_init(&err);
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_ESHAPE, "one label for each is needed");
    uint8_t wrong[1000] = {0, 1, 10};
    labels = (qn_tensor){.dtype = QN_DTYPE_U8, .rank = 1, .dims = {1000}, .data = wrong};
    qn_error_init(&err);
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_ERANGE, "label of item 2 is 10");
    options.labels = NULL;
    strcpy(spec->model_sha256, "abcdef");
    qn_error_init(&err);
    qn_assert_fails(qn_campaign_run(&options, NULL, &err), &err, QN_EINVAL, "is for the model with sha256 abcdef");
    assert_int_not_equal(access(options.store, F_OK), 0);
    qn_fault_spec_close(spec);
}

static void a_plan_counts_what_a_campaign_runs(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "planned.db");
    qn_campaign_plan *plan;
    qn_assert_ok(qn_campaign_plan_make(&plan, &options, 0.05, &err), &err);
    const qn_campaign_plan_summary *about = qn_campaign_plan_about(plan);
    const qn_campaign_stats stats = run_campaign(&options);
    assert_int_equal(about->n_min, stats.faults);
    assert_int_equal(about->n_max, stats.faults);
    assert_int_equal(about->pairs_min, stats.pairs);
    assert_true(about->pairs_per_second > 0 && about->seconds_min > 0);
    int64_t n = 0;
    for (int i = 0; i < about->n_strata; i++) {
        n += qn_campaign_plan_at(plan, i)->n_min;
    }
    assert_int_equal(n, stats.faults);
    assert_null(qn_campaign_plan_at(plan, about->n_strata));
    qn_campaign_plan_free(plan);
    qn_fault_spec_close(spec);
}

/* -- ranks, as processes that talk over sockets ------------------------------------------------------------------------ */

enum { N_RANKS = 4 };
typedef struct {
    int sockets[N_RANKS]; /* to each of the others */
    int size;
} wires;

static qn_status wire_send(void *ctx, int to, const void *data, size_t n_bytes, qn_error *err)
{
    const wires *w = ctx;
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = send(w->sockets[to], (const char *)data + done, n_bytes - done, MSG_NOSIGNAL);
        if (n <= 0) {
            return qn_fail(err, QN_EIO, "wire", "rank %d is gone", to);
        }
        done += (size_t)n;
    }
    return QN_OK;
}

static qn_status wire_receive(void *ctx, int from, void *data, size_t n_bytes, qn_error *err)
{
    const wires *w = ctx;
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = recv(w->sockets[from], (char *)data + done, n_bytes - done, 0);
        if (n <= 0) {
            return qn_fail(err, QN_EIO, "wire", "rank %d is gone", from);
        }
        done += (size_t)n;
    }
    return QN_OK;
}

static qn_status wire_probe(void *ctx, bool wait, int *from, qn_error *err)
{
    (void)err;
    const wires *w = ctx;
    struct pollfd fds[N_RANKS];
    for (int r = 0; r < w->size; r++) {
        fds[r] = (struct pollfd){.fd = w->sockets[r], .events = POLLIN};
    }
    *from = -1;
    if (poll(fds, (nfds_t)w->size, wait ? -1 : 0) > 0) {
        for (int r = 0; r < w->size && *from < 0; r++) {
            *from = (fds[r].revents & (POLLIN | POLLHUP)) != 0 ? r : -1;
        }
    }
    return QN_OK;
}

/* Runs the campaign over `size` processes; this one is rank 0. `spoil` is called in each with its rank. */
static qn_status run_ranks(qn_campaign_options *options, int size, void (*spoil)(int rank), qn_campaign_stats *stats,
                           qn_error *err)
{
    int pairs[N_RANKS][2];
    pid_t children[N_RANKS];
    wires w = {.size = size};
    w.sockets[0] = -1;
    for (int r = 1; r < size; r++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[r]), 0);
        children[r] = fork();
        assert_true(children[r] >= 0);
        if (children[r] == 0) {
            w = (wires){.sockets = {pairs[r][1], -1, -1, -1}, .size = 1};
            const qn_campaign_ranks ranks = {&w, r, size, wire_send, wire_receive, wire_probe};
            options->ranks = &ranks;
            if (spoil != NULL) {
                spoil(r);
            }
            const qn_status status = qn_campaign_run(options, NULL, NULL);
            _exit(status == QN_OK ? 0 : 1);
        }
        close(pairs[r][1]);
        w.sockets[r] = pairs[r][0];
    }
    const qn_campaign_ranks ranks = {&w, 0, size, wire_send, wire_receive, wire_probe};
    options->ranks = &ranks;
    const qn_status status = qn_campaign_run(options, stats, err);
    options->ranks = NULL;
    for (int r = 1; r < size; r++) {
        int exit_status;
        assert_int_equal(waitpid(children[r], &exit_status, 0), children[r]);
        assert_true(WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0);
        close(w.sockets[r]);
    }
    return status;
}

static void spoil_rank_2(int rank)
{
    made_up.fail_fault = rank == 2 ? 200 : -1;
}

/* Every rank runs into it, whoever gets the block. */
static void spoil_all(int rank)
{
    (void)rank;
    made_up.fail_fault = 200;
}

static void ranks_change_nothing(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = spec_of(mixed);
    qn_campaign_options options = options_of(spec, "alone.db");
    const char *alone = options.store;
    options.keep_pairs = true;
    run_campaign(&options);
    for (int size = 2; size <= N_RANKS; size += 2) {
        char name[32];
        snprintf(name, sizeof name, "ranks%d.db", size);
        options = options_of(spec, name);
        options.keep_pairs = true;
        options.block_pairs = 100;
        qn_campaign_stats stats;
        qn_assert_ok(run_ranks(&options, size, NULL, &stats, &err), &err);
        assert_true(stats.complete);
        assert_intact(options.store);
        assert_same_rows(alone, options.store);
    }
    options = options_of(spec, "failing.db");
    options.block_pairs = 100;
    made_up.fail_fault = 200;
    qn_status status = run_ranks(&options, 3, spoil_all, NULL, &err);
    qn_assert_fails(status, &err, QN_ERANGE, "fault 200 fails");
    assert_intact(options.store);
    options = options_of(spec, "failing.db"); /* and goes on from there */
    options.block_pairs = 100;
    qn_error_init(&err);
    status = run_ranks(&options, 3, spoil_rank_2, NULL, &err);
    if (status != QN_OK) {
        qn_assert_fails(status, &err, QN_ERANGE, "rank 2, made up");
        options = options_of(spec, "failing.db");
        options.block_pairs = 100;
        run_campaign(&options);
    }
    options.keep_pairs = false;
    assert_intact(options.store);
    assert_int_equal(query(options.store, "SELECT count(*) FROM faults"), query(alone, "SELECT count(*) FROM faults"));
    qn_fault_spec_close(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_brute_force_gives),
        cmocka_unit_test(threads_groups_and_blocks_change_nothing),
        cmocka_unit_test(a_campaign_that_was_stopped_goes_on_to_the_same_rows),
        cmocka_unit_test(shards_merge_to_the_whole),
        cmocka_unit_test(an_exhaustive_campaign_has_every_fault_once),
        cmocka_unit_test(sampling_goes_on_until_intervals_are_narrow),
        cmocka_unit_test(a_wrong_byte_fails_the_campaign),
        cmocka_unit_test(nothing_changed_is_masked),
        cmocka_unit_test(fault_free_outputs_are_checked_by_the_network),
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_plan_counts_what_a_campaign_runs),
        cmocka_unit_test(ranks_change_nothing),
    };
    return cmocka_run_group_tests(tests, open_digits, close_digits);
}
