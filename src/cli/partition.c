/* quern partition: the best cuts, devices and link formats together. */
#include "cli/partition.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const cli_option options[] = {
    {"devices", 0, "FILE", "types of devices: how many, how fast, how much memory (doc/links.md)"},
    {"links", 0, "FILE", "bandwidths and latencies between them"},
    {"cuts", 0, "FILE", "what formats cost in accuracy, from 'quern cuts MODEL --data X -o FILE'"},
    {"data", 0, "X", "instead of --cuts: inputs, to measure that now; the whole plan is measured, too"},
    {"labels", 0, "Y", "one integer class per input: top-1; else what argmax does"},
    {"link", 0, "CHOICES", "ways to travel: codes, fp32, FORMAT[/PER][/CLAMP], in a list (default: codes)"},
    {"profile", 0, "[TYPE=]FILE...", "times from 'quern cuts MODEL --times', of a type, or of all that name no other"},
    {"accuracy-drop", 0, "DROP",
     "the most that links may lose in sum: 0.5% or 0.005 (default 1% where it is measured)"},
    {"objective", 0, "WHAT", "throughput (default) or latency"},
    {"microbatch", 0, "N", "items of a message (default 1)"},
    {"stages", 0, "MAX", "stages at most (default: as many as there are devices)"},
    {"engine", 0, "ENGINE", "float, simulate or integer (default: as 'quern eval')"},
    {"output", 'o', "FILE", "write the plan, for 'quern pipeline --plan'"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

static cli_exit parse_count(const cli_args *args, const char *name, long most, long *value)
{
    const char *text = cli_value(args, name);
    char *end;
    if (text == NULL) {
        return CLI_OK;
    }
    errno = 0;
    *value = strtol(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || *value < 1 || *value > most
               ? cli_misuse("--%s '%s' is not a number from 1 to %ld", name, text, most)
               : CLI_OK;
}

static cli_exit parse_options(const cli_args *args, cli_partition_state *s)
{
    qn_error err;
    qn_error_init(&err);
    long microbatch = 1, stages = 0;
    const char *drop = cli_value(args, "accuracy-drop"), *objective = cli_value(args, "objective");
    const char *const needed[] = {"devices", "links"};
    qn_partition_options_init(&s->options);
    for (int i = 0; i < 2; i++) {
        if (!cli_has(args, needed[i])) {
            return cli_misuse("--%s FILE is missing; usage: quern partition %s", needed[i], args->command->usage);
        }
    }
    if (cli_has(args, "labels") && !cli_has(args, "data")) {
        return cli_misuse("--labels goes with --data X, which is missing");
    }
    if (cli_has(args, "cuts") && cli_has(args, "link")) {
        return cli_misuse("--link does not go with --cuts, whose choices are those that were measured; leave one out");
    }
    if (drop != NULL &&
        (qn_share_parse(&s->options.accuracy_drop, drop, &err) != QN_OK || s->options.accuracy_drop < 0)) {
        return cli_misuse("--accuracy-drop '%s' is no share from 0 to 100%%: write 0.5%%, or 0.005 for the same", drop);
    }
    if (objective != NULL && strcmp(objective, "throughput") != 0 && strcmp(objective, "latency") != 0) {
        return cli_misuse("--objective '%s' is none; there are throughput and latency", objective);
    }
    s->options.latency = objective != NULL && strcmp(objective, "latency") == 0;
    cli_exit code = parse_count(args, "microbatch", QN_PLAN_MAX_MICROBATCH, &microbatch);
    code = code == CLI_OK ? parse_count(args, "stages", QN_PLAN_MAX_STAGES, &stages) : code;
    s->options.microbatch = microbatch;
    s->options.max_stages = (size_t)stages;
    return code;
}

static qn_status parse_choices(const cli_args *args, cli_partition_state *s, qn_error *err)
{
    const char *next = cli_value(args, "link");
    s->losses = (qn_cut_losses){.choices = s->choices};
    for (next = next != NULL ? next : "codes"; next != NULL; s->losses.n_choices++) {
        const size_t n = s->losses.n_choices;
        if (n == QN_PLAN_MAX_CHOICES) {
            return qn_fail(err, QN_EINVAL, NULL, "--link names more than %d choices", QN_PLAN_MAX_CHOICES);
        }
        QN_TRY(qn_link_choice_parse(&s->choices[n], s->formats[n], next, &next, err));
    }
    return QN_OK;
}

/* A profile of a type: that of --profile TYPE=FILE, else the device file's, else that of --profile FILE. */
static qn_status read_profiles(const cli_args *args, cli_partition_state *s, qn_error *err)
{
    const char *given[QN_DEVICES_MAX_TYPES + 1];
    bool used[QN_DEVICES_MAX_TYPES + 1] = {false};
    const size_t n = cli_all_values(args, "profile", given, QN_DEVICES_MAX_TYPES + 1);
    for (size_t t = 0; t < s->devices.n_types; t++) {
        const qn_device_type *type = &s->devices.types[t];
        const char *path = NULL;
        for (size_t i = 0; i < n && isnan(type->macs_per_second); i++) {
            const size_t length = strlen(type->name);
            const bool own = strncmp(given[i], type->name, length) == 0 && given[i][length] == '=';
            if (own || (strchr(given[i], '=') == NULL && path == NULL && type->profile == NULL)) {
                path = own ? given[i] + length + 1 : given[i];
                used[i] = true;
            }
        }
        path = path != NULL || !isnan(type->macs_per_second) ? path : type->profile;
        if (path != NULL) {
            QN_TRY(qn_device_profile_read(&s->read[t], path, s->cuts, err));
            s->profiles[t] = &s->read[t];
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!used[i]) {
            return qn_fail(err, QN_EINVAL, NULL, "--profile '%s' is of no type of devices that needs one", given[i]);
        }
    }
    return QN_OK;
}

static qn_status measure_losses(const cli_args *args, cli_partition_state *s, const qn_preprocess *pre, qn_error *err)
{
    cli_progress progress;
    qn_cut_study_options o;
    const char *labels = cli_value(args, "labels");
    if (qn_cuts_at(s->cuts, 0)->n_tensors != 1) {
        return qn_fail(err, QN_EINVAL, s->file, "has several inputs, and --data feeds exactly one");
    }
    QN_TRY(qn_dataset_open(&s->data, cli_value(args, "data"), pre, err));
    if (labels != NULL) {
        QN_TRY(qn_tensor_read(&s->labels, labels, err));
    }
    if (cli_has(args, "cuts")) {
        return QN_OK; /* the data are for the whole plan */
    }
    QN_TRY(qn_cut_study_options_init(&o, err));
    o.choices = s->choices;
    o.n_choices = s->losses.n_choices;
    o.data = s->data;
    o.message_items = s->options.microbatch;
    o.labels = labels != NULL ? &s->labels : NULL;
    o.labels_name = labels;
    o.n_threads = cli_threads(args);
    o.cpu = args->cpu;
    o.progress = cli_progress_step;
    o.progress_ctx = &progress;
    cli_progress_start(&progress, args, "cutting");
    qn_status status = qn_cut_study_run(&s->study, s->cuts, &o, err);
    cli_progress_end(&progress);
    const size_t n = (qn_cuts_last(s->cuts) + 1) * s->losses.n_choices;
    s->measured = status == QN_OK ? qn_alloc(2 * n * sizeof *s->measured) : NULL;
    if (status == QN_OK && s->measured == NULL) {
        status = qn_fail_memory(err, NULL, n * sizeof *s->measured);
    }
    for (size_t i = 0; i < n && status == QN_OK; i++) {
        const qn_cut_result *r = qn_cut_study_at(s->study, i / s->losses.n_choices, i % s->losses.n_choices);
        s->measured[i] = r != NULL && r->error == NULL ? r->loss : (double)NAN;
        s->measured[n + i] = r != NULL && r->error == NULL ? r->sqnr_db : (double)NAN;
    }
    s->losses.losses = s->measured;
    s->losses.sqnr_db = status == QN_OK ? s->measured + n : NULL;
    return status;
}

static qn_status prepare(const cli_args *args, cli_partition_state *s, const qn_preprocess *pre, qn_engine engine,
                         qn_error *err)
{
    QN_TRY(qn_devices_read(&s->devices, cli_value(args, "devices"), err));
    QN_TRY(qn_device_links_read(&s->links, cli_value(args, "links"), err));
    QN_TRY(qn_cuts_create(&s->cuts, s->model, engine, err));
    QN_TRY(read_profiles(args, s, err));
    QN_TRY(cli_has(args, "cuts") ? qn_cut_losses_read(&s->losses, cli_value(args, "cuts"), s->cuts, err)
                                 : parse_choices(args, s, err));
    if (cli_has(args, "data")) {
        QN_TRY(measure_losses(args, s, pre, err));
    }
    s->options.devices = &s->devices;
    s->options.links = &s->links;
    s->options.profiles = s->profiles;
    s->options.losses = &s->losses;
    if (!cli_has(args, "accuracy-drop") && s->losses.losses != NULL) {
        s->options.accuracy_drop = 0.01;
    }
    return QN_OK;
}

static qn_status plan(const cli_args *args, cli_partition_state *s, qn_error *err)
{
    const char *output = cli_value(args, "output");
    QN_TRY(qn_partition_make(&s->partition, s->cuts, &s->options, err));
    QN_TRY(qn_partition_to_plan(&s->plan, &s->partition, s->cuts, &s->options, err));
    if (s->data != NULL) {
        QN_TRY(cli_partition_measure(args, s, err));
    }
    if (output != NULL) {
        QN_TRY(qn_plan_write(&s->plan, output, cli_has(args, "force"), err));
    }
    if (args->json) {
        cli_print_json(cli_partition_json(args, s));
    } else {
        cli_partition_print(args, s);
    }
    return QN_OK;
}

/* What would be misuse is an input refused: it is in a file. */
static cli_exit refuse(const qn_error *err)
{
    const cli_exit code = cli_fail(err);
    return code == CLI_USAGE && err->status != QN_EEXIST ? CLI_REFUSED : code;
}

static cli_exit run(cli_args *args)
{
    static cli_partition_state s; /* large */
    qn_error err;
    qn_error_init(&err);
    cli_record record;
    qn_preprocess pre;
    qn_engine engine = QN_ENGINE_FLOAT;
    s.file = args->positional[0];
    s.top1 = s.uncut_top1 = s.agreement = (double)NAN;
    cli_exit code = parse_options(args, &s);
    if (code == CLI_OK &&
        (cli_check_output(args, cli_value(args, "output"), &err) != QN_OK ||
         qn_model_load(&s.model, s.file, &err) != QN_OK || qn_engine_choose(&engine, s.model, &err) != QN_OK ||
         cli_record_of_model(&record, s.model, s.file, &err) != QN_OK)) {
        code = cli_fail(&err);
    }
    code = code == CLI_OK ? cli_parse_engine(args, &engine) : code;
    code = code == CLI_OK ? cli_preprocess(args, &record, 1, &pre) : code;
    if (code == CLI_OK) {
        qn_status status = prepare(args, &s, &pre, engine, &err);
        status = status == QN_OK ? plan(args, &s, &err) : status;
        code = status == QN_OK ? CLI_OK : refuse(&err);
    }
    qn_plan_free(&s.plan);
    qn_partition_free(&s.partition);
    qn_cut_study_free(s.study);
    qn_free(s.measured);
    qn_tensor_free(&s.labels);
    qn_dataset_close(s.data);
    qn_cut_losses_free(&s.losses);
    for (size_t t = 0; t < QN_DEVICES_MAX_TYPES; t++) {
        qn_device_profile_free(&s.read[t]);
    }
    qn_device_links_free(&s.links);
    qn_devices_free(&s.devices);
    qn_cuts_free(s.cuts);
    qn_model_free(s.model);
    return code;
}

const cli_command cli_partition = {
    .name = "partition",
    .summary = "find the best cuts, devices and link formats for a network on several unequal machines",
    .usage = "MODEL --devices FILE --links FILE [--cuts FILE | --data X [preprocessing] [--labels Y]] [-o PLAN]",
    .description =
        "Which stages of the network run on which devices, and in which formats tensors travel between them: of all\n"
        "plans that fit the devices' memory and the accuracy that may be lost, the one of the highest rate, or of the\n"
        "least latency. It is the best one, not a good one; ties go to fewer stages, then to less loss.\n"
        "A stage takes the time of its nodes: MACs over macs_per_second, or times that 'quern cuts --times' took on\n"
        "such a device. A link is occupied for the bits of a message over its bandwidth, while devices compute; its\n"
        "latency delays each message, of which two are on their way at most.\n"
        "Losses of links are taken to add; with --data the whole plan is run, and what it loses is told, too.\n"
        "Told is also what takes longest, and which format or device would help.",
    .example = "quern partition model.onnx --devices devices.yaml --links links.yaml -o plan.yaml\n"
               "quern partition model.onnx --devices devices.yaml --links links.yaml --link 'codes,int8,int4' \\\n"
               "    --data test_x.npy --labels test_y.npy --accuracy-drop 0.5% -o plan.yaml",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
