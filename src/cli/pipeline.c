/* quern pipeline: the stages of a plan at work, one to a rank. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/pipeline_policy.h"
#include "cli/pipeline_report.h"
#include "cli/pipeline_simulate.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "cli/transport.h"
#include "graph/model.h"

static const cli_option options[] = {
    CLI_PIPELINE_PLAN_OPTIONS,
    {"data", 0, "X", "inputs, which rank 0 reads; required"},
    {"labels", 0, "Y", "one integer class per input: prints the share that is right"},
    {"output", 'o', "FILE", "write the outputs as float32 .npy [N, ...]"},
    {"monitor", 0, "FILE", "write a CSV line for each micro-batch and stage, as they finish"},
    {"simulate", 0, "SPEC", "all stages in this process, in virtual time: bandwidth=10Mbit,latency=5ms,..."},
    {"throttle", 0, "SPEC", "make links slower: bandwidth=10Mbit,latency=5ms,... as --simulate has it"},
    CLI_PIPELINE_POLICY_OPTIONS,
    {"timeout", 0, "S", "seconds without a sign of life after which a link counts as stalled (default 60)"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    cli_pipeline_plan p;
    qn_dataset *data;
    qn_tensor labels;
    cli_pipeline_ends ends;
    cli_pipeline_log log;
    cli_rank_policy policy;
    qn_pipeline *pipeline;
    cli_progress progress;
    double timeout;
} state;

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* mpirun kills all that is left as soon as a rank has followed its SIGTERM: others than rank 0 stay until that has ended
 * the job, for this many seconds at most. */
enum { LINGER_SECONDS = 5 };

static void linger(int number)
{
    (void)number;
    (void)alarm(LINGER_SECONDS);
}

/* Rank 0 keeps what is finished when it is told to stop, as mpirun does when another rank dies, more than once. Of a
 * process alone a second signal is the end. */
static void watch_signals(bool talks)
{
    struct sigaction action = {.sa_handler = talks ? on_signal : linger,
                               .sa_flags = cli_ranks() == NULL ? (int)SA_RESETHAND : SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static qn_status read_items(void *ctx, int64_t first, int64_t n, float *x, qn_error *err)
{
    const state *s = ctx;
    return qn_dataset_read(s->data, first, n, x, err);
}

static qn_status take_outputs(void *ctx, int64_t first, int64_t n, const float *const *outputs, qn_error *err)
{
    state *s = ctx;
    QN_TRY(cli_pipeline_write(&s->ends, first, n, outputs[0], err));
    (void)cli_progress_step(&s->progress, first + n, s->ends.n_items);
    return QN_OK;
}

static qn_status take_record(void *ctx, const qn_pipeline_record *record, qn_error *err)
{
    state *s = ctx;
    return cli_pipeline_log_line(&s->log, record, err);
}

static qn_status choose(void *ctx, size_t stage, uint64_t sequence, size_t *choice, qn_error *err)
{
    state *s = ctx;
    (void)stage;
    return cli_rank_policy_choose(&s->policy, sequence, choice, err);
}

static void sent(void *ctx, size_t stage, uint64_t sequence, int64_t items, size_t n_bytes, double seconds)
{
    state *s = ctx;
    (void)stage;
    (void)sequence;
    cli_rank_policy_sent(&s->policy, items, n_bytes, seconds);
}

static cli_exit parse_timeout(const cli_args *args, double *seconds)
{
    const char *text = cli_value(args, "timeout");
    char *end;
    *seconds = 60;
    if (text == NULL) {
        return CLI_OK;
    }
    errno = 0;
    *seconds = strtod(text, &end);
    return errno != 0 || end == text || *end != '\0' || !(*seconds >= 0.1 && *seconds <= 1e6)
               ? cli_misuse("--timeout '%s' is not a number of seconds from 0.1 to 1000000", text)
               : CLI_OK;
}

/* No file is to be written twice. */
static cli_exit check_outputs(const cli_args *args)
{
    static const char *const names[] = {"output", "monitor", "policy-log"};
    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < i; k++) {
            const char *one = cli_value(args, names[k]), *other = cli_value(args, names[i]);
            if (one != NULL && other != NULL && strcmp(one, other) == 0) {
                return cli_misuse("--%s and --%s both name '%s'; give each a file of its own", names[k], names[i], one);
            }
        }
    }
    return CLI_OK;
}

/* Rank 0's: what goes in and what comes out. */
static cli_exit open_ends(const cli_args *args, state *s)
{
    qn_error err;
    qn_error_init(&err);
    const char *labels = cli_value(args, "labels");
    cli_record record;
    qn_preprocess pre;
    if (cli_check_output(args, cli_value(args, "output"), &err) != QN_OK ||
        cli_check_output(args, cli_value(args, "monitor"), &err) != QN_OK ||
        cli_check_output(args, cli_value(args, "policy-log"), &err) != QN_OK ||
        cli_record_of_model(&record, s->p.model, args->positional[0], &err) != QN_OK) {
        return cli_fail(&err);
    }
    cli_exit code = check_outputs(args);
    code = code == CLI_OK ? cli_preprocess(args, &record, 1, &pre) : code;
    if (code != CLI_OK) {
        return code;
    }
    if ((labels != NULL && qn_tensor_read(&s->labels, labels, &err) != QN_OK) ||
        qn_dataset_open(&s->data, cli_value(args, "data"), &pre, &err) != QN_OK ||
        cli_pipeline_ends_open(&s->ends, s->p.cuts, s->data, labels != NULL ? &s->labels : NULL, labels,
                               s->p.plan.microbatch, cli_value(args, "output") != NULL, &err) != QN_OK) {
        return cli_fail(&err);
    }
    return CLI_OK;
}

static cli_exit make_stage(const cli_args *args, state *s)
{
    qn_error err;
    qn_error_init(&err);
    qn_pipeline_options o;
    qn_pipeline_options_init(&o);
    const qn_campaign_ranks *ranks = cli_ranks();
    const qn_transport *transport = NULL;
    if (cli_rank_policy_open(&s->policy, args, s->p.cuts, &s->p.plan, s->p.positions, ranks != NULL ? ranks->rank : 0,
                             &err) != QN_OK ||
        cli_transport_open(&transport, &err) != QN_OK ||
        cli_rank_policy_transport(&s->policy, &o.transport, transport, &err) != QN_OK) {
        return cli_fail(&err);
    }
    o.timeout = s->timeout;
    o.stop = &stop;
    o.read = read_items;
    o.outputs = take_outputs;
    o.record = take_record;
    o.choose = choose;
    o.sent = sent;
    o.ctx = s;
    return qn_pipeline_create(&s->pipeline, s->p.cuts, &s->p.plan, s->p.positions, &o, &err) == QN_OK
               ? CLI_OK
               : cli_pipeline_refuse(&err);
}

/* This rank's value of what all need to have, unless it has failed already. */
static cli_exit compare(cli_exit code, const char *what, const char *value)
{
    qn_error err;
    qn_error_init(&err);
    const qn_status status = cli_transport_same(what, code == CLI_OK ? value : "", &err);
    return code != CLI_OK || status == QN_OK ? code : cli_pipeline_refuse(&err);
}

/* All that can be refused before a rank begins is; ranks agree on the model before each looks for places in it. */
static cli_exit open_all(const cli_args *args, state *s)
{
    char digest[65] = "";
    cli_exit code = CLI_OK;
    if (cli_value(args, "data") == NULL && cli_ranks_talks()) {
        code = cli_misuse("--data X is missing; usage: quern pipeline %s", args->command->usage);
    } else if (cli_value(args, "simulate") != NULL && (cli_ranks() != NULL || cli_value(args, "throttle") != NULL)) {
        code = cli_misuse(cli_ranks() != NULL
                              ? "--simulate runs all stages in one process; start it without mpirun, or leave it out"
                              : "--simulate and --throttle contradict each other: one process, or real ones");
    }
    code = code == CLI_OK ? parse_timeout(args, &s->timeout) : code;
    code = code == CLI_OK ? cli_pipeline_load(args, &s->p) : code;
    code = compare(code, "quern of version", qn_version());
    code = compare(code, "model of SHA-256", code == CLI_OK ? s->p.model->graph.sha256 : "");
    code = code == CLI_OK ? cli_pipeline_make_plan(args, &s->p) : code;
    code = code == CLI_OK ? cli_pipeline_policy(args, &s->p.plan) : code;
    if (code == CLI_OK) {
        cli_pipeline_digest(digest, &s->p);
    }
    code = compare(code, "plan of SHA-256", digest);
    code = code == CLI_OK ? cli_pipeline_check(&s->p) : code;
    code = code == CLI_OK && cli_ranks_talks() ? open_ends(args, s) : code;
    return code == CLI_OK && cli_value(args, "simulate") == NULL ? make_stage(args, s) : code;
}

/* What is finished when a run ends before its time is kept: outputs of the first items. */
static void keep_outputs(const cli_args *args, state *s, qn_error *err)
{
    qn_error own;
    qn_error_init(&own);
    const int64_t finished = qn_pipeline_finished(s->pipeline);
    const char *file = finished > 0 ? cli_value(args, "output") : NULL;
    if (file != NULL) {
        qn_tensor part = s->ends.outputs;
        part.dims[0] = finished;
        part.owns_data = false;
        if (qn_tensor_write_npy(&part, file, cli_has(args, "force"), &own) != QN_OK) {
            (void)cli_fail(&own);
            file = NULL;
        }
    }
    const size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n, "; %lld of %lld items were finished%s%s", (long long)finished,
             (long long)s->ends.n_items, file != NULL ? ", their outputs are in " : "", file != NULL ? file : "");
}

static cli_exit run_stages(const cli_args *args, state *s)
{
    qn_error err;
    qn_error_init(&err);
    const qn_campaign_ranks *ranks = cli_ranks();
    const bool talks = cli_ranks_talks();
    if (talks) {
        if (ranks != NULL && (size_t)ranks->size > s->p.plan.n_stages) {
            cli_note(args, "note: %zu of %d ranks %s idle: the plan has %zu stage%s",
                     (size_t)ranks->size - s->p.plan.n_stages, ranks->size,
                     (size_t)ranks->size - s->p.plan.n_stages == 1 ? "is" : "are", s->p.plan.n_stages,
                     s->p.plan.n_stages == 1 ? "" : "s");
        }
        cli_progress_start(&s->progress, args, "running"); /* which has a way of its own with signals */
        if (cli_pipeline_log_open(&s->log, cli_value(args, "monitor"), cli_has(args, "force"), &s->p.plan, &err) !=
            QN_OK) {
            return cli_fail(&err);
        }
    }
    watch_signals(talks);
    const double began = qn_now_seconds();
    cli_rank_policy_begin(&s->policy);
    qn_status status = qn_pipeline_run(s->pipeline, talks ? s->ends.n_items : 0, &err);
    const double seconds = qn_now_seconds() - began;
    if (status == QN_OK) {
        status = cli_rank_policy_gather(&s->policy, &err);
    }
    if (!talks) {
        return status == QN_OK ? CLI_OK : status == QN_ECANCELED ? CLI_FAILED : (cli_fail(&err), CLI_FAILED);
    }
    cli_progress_end(&s->progress);
    if (status == QN_OK) {
        status = cli_pipeline_log_close(&s->log, &err);
    }
    if (status != QN_OK) {
        qn_error ignored;
        qn_error_init(&ignored);
        keep_outputs(args, s, &err);
        (void)cli_pipeline_log_close(&s->log, &ignored);
        (void)cli_fail(&err);
        return CLI_FAILED;
    }
    const char *file = cli_value(args, "output");
    if (file != NULL && qn_tensor_write_npy(&s->ends.outputs, file, cli_has(args, "force"), &err) != QN_OK) {
        return cli_fail(&err);
    }
    cli_pipeline_report(args, &s->p, s->pipeline, &s->ends, seconds);
    return cli_rank_policy_report(&s->policy, args, s->ends.n_items, &err) == QN_OK ? CLI_OK : cli_fail(&err);
}

/* Instead of ranks: all stages here. */
static cli_exit simulate(const cli_args *args, state *s)
{
    qn_error err;
    qn_error_init(&err);
    const char *file = cli_value(args, "output");
    if (cli_pipeline_simulate(args, &s->p, &s->ends, &err) != QN_OK ||
        (file != NULL && qn_tensor_write_npy(&s->ends.outputs, file, cli_has(args, "force"), &err) != QN_OK)) {
        return cli_fail(&err);
    }
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    state s = {.p = {.name = ""}};
    const cli_exit ready = cli_ranks_agree(open_all(args, &s));
    const bool simulated = cli_value(args, "simulate") != NULL;
    const cli_exit code = ready != CLI_OK ? ready : simulated ? simulate(args, &s) : run_stages(args, &s);
    if (ready != CLI_OK || code == CLI_OK || simulated) { /* else the job is ended, with messages under way */
        cli_transport_close();
        qn_pipeline_free(s.pipeline);
        cli_rank_policy_close(&s.policy);
        cli_pipeline_unload(&s.p);
    }
    cli_pipeline_ends_close(&s.ends);
    qn_dataset_close(s.data);
    qn_tensor_free(&s.labels);
    return code;
}

const cli_command cli_pipeline = {
    .name = "pipeline",
    .summary = "run a network as stages on several machines",
    .usage = "MODEL (--plan FILE | --stages N [--link CHOICE]) --data X [preprocessing] [--labels Y] [-o Y.npy]",
    .description =
        "Under mpirun, rank k runs stage k of the plan (doc/links.md); rank 0 also reads the data and gets the "
        "outputs.\n"
        "Micro-batches go from stage to stage, one message each, in the format that the plan has for the link; with "
        "codes,\n"
        "the integer engine gives the bytes that 'quern eval' gives. All ranks need the same model, plan and quern, "
        "which "
        "is\n"
        "checked. While a stage computes, its next message comes and the last ones go; times in the report are seconds "
        "that\n"
        "a stage spent. A rank that dies, or a link that does not move for --timeout seconds, ends the job: what was\n"
        "finished is in -o and --monitor. A plan of one stage needs no mpirun.\n"
        "With --simulate all stages run in this process, their messages real, their time virtual; keys are bandwidth, "
        "latency,\n"
        "trace (a CSV of bandwidths) and compute (macs:RATE, plan or measured), link0.bandwidth and so on for one of "
        "them. A\n"
        "policy takes, for each window of micro-batches, what the link's choices in the plan allow.",
    .example = "mpirun -n 4 quern pipeline q.onnx --plan plan.yaml --data test_x.npy --labels test_y.npy\n"
               "mpirun -n 2 quern pipeline q.onnx --stages 2 --link int4/channel --data test_x.npy -o outputs.npy\n"
               "quern pipeline q.onnx --plan plan.yaml --data test_x.npy --simulate bandwidth=10Mbit,latency=5ms",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .ranks = true,
    .run = run,
};
