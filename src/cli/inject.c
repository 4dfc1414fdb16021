/* quern inject: run a fault campaign into a store. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/fault_args.h"
#include "cli/fault_report.h"
#include "cli/ranks.h"

static const cli_option options[] = {
    CLI_FAULT_OPTIONS,
    {"pairs", 0, NULL, "keep a row for each (fault, input) pair, too"},
    {"output", 'o', "FILE", "the store (SQLite); one of the same campaign is gone on with; required"},
    {"force", 'f', NULL, "overwrite FILE: start anew"},
    {NULL, 0, NULL, NULL},
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* A second Ctrl-C kills; the store survives that, too. */
static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* On a terminal, one line that is written over. */
typedef struct inject_progress {
    bool shown;
    double next; /* seconds at which it is written again */
    qn_campaign_progress first, last;
} inject_progress;

static void on_progress(void *ctx, const qn_campaign_progress *now)
{
    inject_progress *progress = ctx;
    char rate[CLI_COUNT_MAX], left[CLI_DURATION_MAX];
    if (progress->last.faults_total == 0) {
        progress->first = *now; /* what earlier runs did is not this run's speed */
    }
    progress->last = *now;
    if (!progress->shown || now->seconds < progress->next) {
        return;
    }
    progress->next = now->seconds + 0.2;
    const double seconds = now->seconds - progress->first.seconds;
    const double done = (double)(now->faults - progress->first.faults);
    const double speed = seconds > 0 ? (double)(now->pairs - progress->first.pairs) / seconds : 0;
    const double wait = done > 0 ? seconds * (double)(now->faults_total - now->faults) / done : 0;
    fprintf(stderr, "\rinjecting %3d %%, %lld of %lld faults, %s pairs/s, %s left    ",
            (int)(100 * (double)now->faults / (double)(now->faults_total > 0 ? now->faults_total : 1)),
            (long long)now->faults, (long long)now->faults_total, cli_count(rate, speed), cli_duration(left, wait));
    fflush(stderr);
}

static void add_stats(json_t *object, const qn_campaign_stats *stats)
{
    json_object_set_new(object, "new_faults", json_integer(stats->new_faults));
    json_object_set_new(object, "new_pairs", json_integer(stats->new_pairs));
    json_object_set_new(object, "rounds", json_integer(stats->rounds));
    json_object_set_new(object, "seconds", json_real(stats->seconds));
    json_object_set_new(object, "injecting_seconds", json_real(stats->injecting_seconds));
    json_object_set_new(object, "storing_seconds", json_real(stats->storing_seconds));
    json_object_set_new(object, "pairs_per_second",
                        stats->seconds > 0 ? json_real((double)stats->new_pairs / stats->seconds) : json_null());
}

static void print_speed(const qn_campaign_stats *stats)
{
    char rate[CLI_COUNT_MAX], took[CLI_DURATION_MAX];
    if (stats->new_pairs == 0) {
        printf("this run     nothing was left to do\n");
        return;
    }
    printf("this run     %lld faults, %lld pairs in %s", (long long)stats->new_faults, (long long)stats->new_pairs,
           cli_duration(took, stats->seconds));
    if (stats->seconds > 0) {
        printf(", %s pairs/s", cli_count(rate, (double)stats->new_pairs / stats->seconds));
    }
    printf("\n");
}

static qn_status print_summary(const cli_args *args, const cli_campaign *c, const qn_campaign_stats *stats,
                               qn_error *err)
{
    qn_store *store = NULL;
    const cli_interval_how how = {.confidence = c->options.confidence};
    QN_TRY(qn_store_open(&store, c->options.store, err));
    qn_status status;
    if (args->json) {
        json_t *object = cli_json_start(args);
        add_stats(object, stats);
        status = cli_report_json(object, store, 0, 0, &how, err);
        if (status == QN_OK) {
            cli_print_json(object);
        } else {
            json_decref(object);
        }
    } else {
        status = cli_report_about(store, err);
        if (status == QN_OK) {
            print_speed(stats);
            status = cli_report_total(store, &how, err);
        }
    }
    qn_store_close(store);
    return status;
}

/* Stopped by a signal: what is there, and how to go on. */
static cli_exit say_stopped(const cli_campaign *c, const inject_progress *progress, const qn_campaign_stats *stats)
{
    qn_error err;
    qn_error_init(&err);
    (void)qn_fail(&err, QN_ECANCELED, c->options.store,
                  "stopped with %lld of %lld faults done, which are kept; the same command goes on",
                  (long long)stats->faults, (long long)progress->last.faults_total);
    return cli_fail(&err);
}

static cli_exit inject(const cli_args *args, cli_campaign *c, qn_error *err)
{
    inject_progress progress = {.shown = !args->quiet && !args->json && isatty(STDERR_FILENO) && cli_ranks_talks()};
    qn_campaign_stats stats = {0};
    c->options.store = cli_value(args, "output");
    c->options.overwrite = cli_has(args, "force");
    c->options.keep_pairs = cli_has(args, "pairs");
    c->options.ranks = cli_ranks();
    if (args->n_threads == 0 && c->options.ranks != NULL) {
        c->options.n_threads = cli_ranks_threads();
    }
    c->options.stop = &stop;
    c->options.progress = on_progress;
    c->options.progress_ctx = &progress;
    watch_signals();
    qn_status status = qn_campaign_run(&c->options, &stats, err);
    if (progress.shown) {
        fprintf(stderr, "\r%*s\r", 100, "");
    }
    if (!cli_ranks_talks()) {
        return status == QN_OK ? CLI_OK : cli_campaign_fail(err);
    }
    if (status == QN_ECANCELED) {
        cli_ranks_stopped();
        return say_stopped(c, &progress, &stats);
    }
    if (status != QN_OK) {
        return cli_campaign_fail(err);
    }
    return print_summary(args, c, &stats, err) == QN_OK ? CLI_OK : cli_fail(err);
}

static bool is_same_file(const char *path, const struct stat *file)
{
    struct stat other;
    return path != NULL && stat(path, &other) == 0 && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
}

/* A store put in an input's place, which -f allows, would be the end of it. */
static cli_exit check_output(const cli_args *args)
{
    static const char *const inputs[] = {"data", "labels", "spec", "float-model"};
    const char *output = cli_value(args, "output");
    if (output == NULL) {
        return cli_misuse("-o FILE is missing; usage: quern inject %s", args->command->usage);
    }
    struct stat file;
    if (stat(output, &file) != 0) {
        return CLI_OK;
    }
    bool same = is_same_file(args->positional[0], &file);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        same = same || is_same_file(cli_value(args, inputs[i]), &file);
    }
    return same ? cli_misuse("%s: is an input of the campaign; choose another -o", output) : CLI_OK;
}

/* Everything that can be refused before any rank begins is. */
static cli_exit open_campaign(const cli_args *args, cli_campaign *c, qn_error *err)
{
    const cli_exit code = check_output(args);
    return code == CLI_OK ? cli_campaign_open(args, c, err) : code;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    cli_campaign c = {0};
    cli_exit code = cli_ranks_agree(open_campaign(args, &c, &err));
    code = code == CLI_OK ? inject(args, &c, &err) : code;
    cli_campaign_close(&c);
    return code;
}

const cli_command cli_inject = {
    .name = "inject",
    .summary = "inject faults into a network and keep what they do, with intervals",
    .usage = "MODEL --data X (--spec FILE | --where W,.. [--layers GLOB].. [--bits ..]) [--sample TEXT] -o FILE",
    .description =
        "Faults are drawn from the seed, run on every input they are present in, and sorted into masked (proven: the\n"
        "outputs are the same bytes), tolerated (same top-1), SDC-1 (another top-1), SDC-5, SDC-10%, SDC-20%, "
        "critical\n"
        "(was right, now wrong), non-finite and, on links, detected. The store has a row for each fault; "
        "doc/faults.md\n"
        "has its schema and that of faults.yaml. Ctrl-C, or being killed, loses nothing but the block under way: the\n"
        "same command goes on, and ends with the same rows. Under mpirun, the campaign is divided over the ranks.",
    .example = "quern inject q.onnx --data test_x.npy --labels test_y.npy --spec faults.yaml -o campaign.db\n"
               "quern inject q.onnx --data test_x.npy --where weights --bits all --layers 'conv*' --sample 1000 -o "
               "campaign.db\n"
               "quern inject q.onnx --data test_x.npy --where link --after pool.out --checksum off --sample '1000 per "
               "where' -o w.db",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .ranks = true,
    .run = run,
};
