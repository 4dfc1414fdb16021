/* quern plan: what a fault campaign would be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/fault_args.h"
#include "cli/fault_report.h"

static const cli_option options[] = {
    CLI_FAULT_OPTIONS,
    {"measure", 0, "S", "seconds to measure the speed for, which tells the time (default 1; 0: no estimate)"},
    {NULL, 0, NULL, NULL},
};

static json_t *count_json(int64_t n)
{
    return n == INT64_MAX ? json_null() : json_integer(n);
}

static void print_json(const cli_args *args, const cli_campaign *c, const qn_campaign_plan *plan)
{
    const qn_campaign_plan_summary *s = qn_campaign_plan_about(plan);
    json_t *object = cli_json_start(args), *rows = json_array();
    json_object_set_new(object, "engine", json_string(qn_engine_text(c->options.engine)));
    json_object_set_new(object, "images", json_integer(s->n_images));
    json_object_set_new(object, "targets", json_integer(s->n_targets));
    json_object_set_new(object, "population", count_json(s->population));
    json_object_set_new(object, "faults_min", count_json(s->n_min));
    json_object_set_new(object, "faults_max", count_json(s->n_max));
    json_object_set_new(object, "pairs_min", count_json(s->pairs_min));
    json_object_set_new(object, "pairs_max", count_json(s->pairs_max));
    json_object_set_new(object, "memory_bytes", json_integer((json_int_t)c->options.memory_bytes));
    const bool measured = s->pairs_per_second > 0;
    json_object_set_new(object, "pairs_per_second", measured ? json_real(s->pairs_per_second) : json_null());
    json_object_set_new(object, "seconds_min", measured ? cli_json_real(s->seconds_min) : json_null());
    json_object_set_new(object, "seconds_max",
                        measured && s->pairs_max < INT64_MAX ? cli_json_real(s->seconds_max) : json_null());
    const qn_campaign_plan_row *row;
    for (int i = 0; (row = qn_campaign_plan_at(plan, i)) != NULL; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "set", cli_json_string(row->set));
        json_object_set_new(item, "stratum", cli_json_string(row->label));
        json_object_set_new(item, "population", count_json(row->population));
        json_object_set_new(item, "faults_min", count_json(row->n_min));
        json_object_set_new(item, "faults_max", count_json(row->n_max));
        json_object_set_new(item, "images", json_integer(row->images));
        json_array_append_new(rows, item);
    }
    json_object_set_new(object, "strata", rows);
    cli_print_json(object);
}

/* "1200", "1200 to 5000", "1200 or more". */
static const char *span(char text[64], int64_t least, int64_t most)
{
    if (least == most) {
        cli_whole(text, least);
    } else if (most == INT64_MAX) {
        snprintf(text, 64, "%lld or more", (long long)least);
    } else {
        snprintf(text, 64, "%lld to %lld", (long long)least, (long long)most);
    }
    return text;
}

static void print_text(const cli_args *args, const cli_campaign *c, const qn_campaign_plan *plan)
{
    const qn_campaign_plan_summary *s = qn_campaign_plan_about(plan);
    char a[64], b[64], d[CLI_COUNT_MAX], e[CLI_DURATION_MAX], f[CLI_DURATION_MAX];
    printf("%s: %s engine, %lld images, %d targets\n", args->positional[0], qn_engine_text(c->options.engine),
           (long long)s->n_images, s->n_targets);
    printf("%-40s %16s %20s %10s\n", "stratum", "faults there are", "to inject", "images");
    const qn_campaign_plan_row *row;
    for (int i = 0; (row = qn_campaign_plan_at(plan, i)) != NULL; i++) {
        char label[300], name[CLI_NAME_MAX];
        snprintf(label, sizeof label, "%s: %s", row->set, row->label);
        printf("%-40s %16s %20s %10lld\n", cli_name(name, label), cli_whole(a, row->population),
               span(b, row->n_min, row->n_max), (long long)row->images);
    }
    printf("faults  %s of %s\n", span(a, s->n_min, s->n_max), cli_whole(b, s->population));
    printf("pairs   %s (fault, image)%s\n", span(a, s->pairs_min, s->pairs_max),
           c->options.n_shards > 1 ? ", of all shards" : "");
    printf("memory  at most %.0f MiB for fault-free values\n", (double)c->options.memory_bytes / (1 << 20));
    if (s->pairs_per_second <= 0) {
        return;
    }
    printf("speed   %s pairs/s\n", cli_count(d, s->pairs_per_second));
    if (s->pairs_max < INT64_MAX && s->seconds_max > s->seconds_min) {
        printf("time    %s to %s\n", cli_duration(e, s->seconds_min), cli_duration(f, s->seconds_max));
    } else {
        printf("time    %s%s\n", cli_duration(e, s->seconds_min), s->pairs_max == INT64_MAX ? " or more" : "");
    }
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    cli_campaign c = {0};
    double seconds = 1;
    const char *measure = cli_value(args, "measure");
    if (measure != NULL && !(qn_spec_real(&seconds, measure) && seconds >= 0 && seconds <= 3600)) {
        return cli_misuse("--measure '%s' is not a number of seconds from 0 to 3600", measure);
    }
    cli_exit code = cli_campaign_open(args, &c, &err);
    if (code == CLI_OK) {
        qn_campaign_plan *plan = NULL;
        if (qn_campaign_plan_make(&plan, &c.options, seconds, &err) != QN_OK) {
            code = cli_campaign_fail(&err);
        } else if (args->json) {
            print_json(args, &c, plan);
        } else {
            print_text(args, &c, plan);
        }
        qn_campaign_plan_free(plan);
    }
    cli_campaign_close(&c);
    return code;
}

const cli_command cli_plan = {
    .name = "plan",
    .summary = "tell how many faults a campaign would inject, and how long it takes",
    .usage = "MODEL --data X (--spec FILE | --where W,.. [--layers GLOB].. [--bits ..]) [--sample TEXT]",
    .description = "Takes the arguments of 'quern inject' and injects nothing: for each stratum, how many faults there "
                   "are and how\n"
                   "many of them the sample takes; the (fault, image) pairs that makes, and the time for them by a "
                   "measurement of\n"
                   "about a second on this machine.",
    .example = "quern plan q.onnx --data test_x.npy --where weights --sample all\n"
               "quern plan q.onnx --data test_x.npy --where weights --sample 'margin 1% confidence 99% per layer,bit'",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
