/* quern cuts: where a network can be taken apart, what crosses there, and what that costs. */
#include "cli/cuts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/names.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs: what cutting costs in accuracy is measured; without, bytes alone are told"},
    {"labels", 0, "Y", "one integer class per input: top-1"},
    {"link", 0, "CHOICES", "ways to travel: codes, fp32, FORMAT[/PER][/CLAMP], in a list (default: codes,int8,int4)"},
    {"engine", 0, "ENGINE", "float, simulate or integer (default: as 'quern eval')"},
    {"at", 0, "GLOBS", "only places with these names, parted by commas"},
    {"items", 0, "N", "measure on the first N inputs"},
    {"microbatch", 0, "M", "inputs of a message (default 1)"},
    {"single", 0, NULL, "only places where a single tensor crosses"},
    {"all", 0, NULL, "also list places where stages cannot part, and why"},
    {"summary", 0, NULL, "instead of places: bytes, SQNR and loss of each choice over all of them"},
    {"times", 0, NULL, "instead: how long the nodes before each place take on this machine, one thread"},
    {"rounds", 0, "R", "with --times: passes over all places, of which the fastest counts (default 3)"},
    {"output", 'o', "FILE", "write everything as JSON (doc/links.md)"},
    {"force", 'f', NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

static cli_exit parse_count(const cli_args *args, const char *name, long most, int64_t *value)
{
    const char *text = cli_value(args, name);
    if (text == NULL) {
        return CLI_OK;
    }
    char *end;
    errno = 0;
    const long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < 1 || n > most) {
        return cli_misuse("--%s '%s' is not a number from 1 to %ld", name, text, most);
    }
    *value = n;
    return CLI_OK;
}

static cli_exit check_options(const cli_args *args)
{
    static const char *const need_data[] = {"labels", "items"};
    static const char *const not_times[] = {"labels", "link", "at", "items", "microbatch", "single", "all", "summary"};
    for (size_t i = 0; i < sizeof need_data / sizeof *need_data; i++) {
        if (cli_has(args, need_data[i]) && !cli_has(args, "data")) {
            return cli_misuse("--%s goes with --data X, which is missing", need_data[i]);
        }
    }
    for (size_t i = 0; cli_has(args, "times") && i < sizeof not_times / sizeof *not_times; i++) {
        if (cli_has(args, not_times[i])) {
            return cli_misuse("--%s does not go with --times, which takes the time of every place; leave one out",
                              not_times[i]);
        }
    }
    if (cli_has(args, "rounds") && !cli_has(args, "times")) {
        return cli_misuse("--rounds goes with --times, which is missing");
    }
    return CLI_OK;
}

static bool any_coded(const qn_cuts *cuts)
{
    for (size_t p = 1; p < qn_cuts_last(cuts); p++) {
        const qn_cut *cut = qn_cuts_at(cuts, p);
        for (size_t t = 0; t < cut->n_tensors; t++) {
            if (cut->tensors[t].coded) {
                return true;
            }
        }
    }
    return false;
}

static qn_status parse_choices(const cli_args *args, cli_cuts_state *s, qn_error *err)
{
    const char *next = cli_value(args, "link");
    next = next != NULL ? next : any_coded(s->cuts) ? "codes,int8,int4" : "fp32,int8,int4";
    while (next != NULL) {
        if (s->n_choices == CLI_MAX_CHOICES) {
            return qn_fail(err, QN_EINVAL, NULL, "--link names more than %d choices; measure them in several runs",
                           CLI_MAX_CHOICES);
        }
        qn_link_choice *choice = &s->choices[s->n_choices];
        QN_TRY(qn_link_choice_parse(choice, s->formats[s->n_choices], next, &next, err));
        char text[QN_LINK_CHOICE_MAX], other[QN_LINK_CHOICE_MAX];
        qn_link_choice_text(text, choice);
        for (size_t i = 0; i < s->n_choices; i++) {
            qn_link_choice_text(other, &s->choices[i]);
            if (strcmp(text, other) == 0) {
                return qn_fail(err, QN_EINVAL, NULL, "--link names '%s' twice; name it once", text);
            }
        }
        s->n_choices++;
    }
    return QN_OK;
}

static bool can_part(const qn_cuts *cuts, size_t p)
{
    return p > 0 && p < qn_cuts_last(cuts) && qn_cuts_at(cuts, p)->reason == NULL;
}

/* One glob of --at; what matches nothing is told as a name that is none. */
static qn_status mark(cli_cuts_state *s, const char *glob, qn_error *err)
{
    size_t n = 0;
    for (size_t p = 1; p < qn_cuts_last(s->cuts); p++) {
        if (can_part(s->cuts, p) && qn_glob_matches(glob, qn_cuts_at(s->cuts, p)->name)) {
            s->listed[p] = true;
            n++;
        }
    }
    size_t found;
    return n > 0 ? QN_OK : qn_cuts_find(&found, s->cuts, glob, err);
}

static qn_status choose_places(const cli_args *args, cli_cuts_state *s, qn_error *err)
{
    const size_t last = qn_cuts_last(s->cuts);
    const char *at = cli_value(args, "at");
    s->listed = qn_alloc((last + 1) * sizeof *s->listed);
    if (s->listed == NULL) {
        return qn_fail_memory(err, NULL, last + 1);
    }
    size_t n = 0;
    for (size_t p = 1; p < last && at == NULL; p++) {
        s->listed[p] = can_part(s->cuts, p);
    }
    while (at != NULL) {
        char glob[256];
        const size_t length = strcspn(at, ",");
        if (length >= sizeof glob) {
            return qn_fail(err, QN_EINVAL, NULL, "--at '%.40s...' is too long; names may be shortened with *", at);
        }
        snprintf(glob, sizeof glob, "%.*s", (int)length, at);
        QN_TRY(mark(s, glob, err));
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    for (size_t p = 1; p < last; p++) {
        s->listed[p] = s->listed[p] && (!cli_has(args, "single") || qn_cuts_at(s->cuts, p)->n_tensors == 1);
        n += s->listed[p];
    }
    if (n == 0 && cli_has(args, "single")) {
        return qn_fail(err, QN_EINVAL, s->file, "a single tensor crosses at none of these places; leave out --single");
    }
    return QN_OK;
}

static qn_status open_data(const cli_args *args, cli_cuts_state *s, const qn_preprocess *pre, qn_error *err)
{
    const char *data = cli_value(args, "data"), *labels = cli_value(args, "labels");
    if (data == NULL) {
        return QN_OK;
    }
    if (qn_cuts_at(s->cuts, 0)->n_tensors != 1) {
        return qn_fail(err, QN_EINVAL, s->file,
                       "has %zu inputs, and --data feeds exactly one; without --data places and bytes are listed",
                       qn_cuts_at(s->cuts, 0)->n_tensors);
    }
    QN_TRY(qn_dataset_open(&s->data, data, pre, err));
    return labels != NULL ? qn_tensor_read(&s->labels, labels, err) : QN_OK;
}

static qn_status study(const cli_args *args, cli_cuts_state *s, qn_cut_study_options *o, qn_error *err)
{
    cli_progress progress;
    QN_TRY(parse_choices(args, s, err));
    QN_TRY(choose_places(args, s, err));
    o->choices = s->choices;
    o->n_choices = s->n_choices;
    o->studied = s->listed;
    o->data = s->data;
    o->labels = cli_has(args, "labels") ? &s->labels : NULL;
    o->labels_name = cli_value(args, "labels");
    o->n_threads = cli_threads(args);
    o->cpu = args->cpu;
    o->progress = cli_progress_step;
    o->progress_ctx = &progress;
    cli_progress_start(&progress, args, "cutting");
    qn_status status = qn_cut_study_run(&s->study, s->cuts, o, err);
    cli_progress_end(&progress);
    return status;
}

static qn_status take_times(const cli_args *args, cli_cuts_state *s, qn_error *err)
{
    cli_progress progress;
    qn_cut_times_options o;
    QN_TRY(qn_cut_times_options_init(&o, err));
    o.data = s->data;
    o.rounds = s->rounds;
    o.cpu = args->cpu;
    o.progress = cli_progress_step;
    o.progress_ctx = &progress;
    cli_progress_start(&progress, args, "timing");
    qn_status status = qn_cut_times_measure(&s->times, s->cuts, &o, err);
    cli_progress_end(&progress);
    return status;
}

static qn_status write_json(const cli_args *args, const char *path, const json_t *object, qn_error *err)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    const size_t n = text != NULL ? strlen(text) : 0;
    char *line = qn_alloc(n + 2);
    qn_status status = text != NULL && line != NULL ? QN_OK : qn_fail_memory(err, path, n);
    if (status == QN_OK) {
        memcpy(line, text, n);
        line[n] = '\n';
        status = cli_write_text(args, path, line, err);
    }
    qn_free(line);
    free(text);
    return status;
}

static qn_status tell(const cli_args *args, const cli_cuts_state *s, qn_error *err)
{
    const char *output = cli_value(args, "output");
    const bool times = cli_has(args, "times");
    if (args->json || output != NULL) {
        json_t *object = times ? cli_cuts_times_json(args, s) : cli_cuts_json(args, s);
        qn_status status = output != NULL ? write_json(args, output, object, err) : QN_OK;
        if (status == QN_OK && args->json) {
            cli_print_json(object);
        } else {
            json_decref(object);
        }
        QN_TRY(status);
    }
    if (args->json) {
        return QN_OK;
    }
    if (times) {
        cli_cuts_print_times(s);
    } else if (cli_has(args, "summary")) {
        cli_cuts_print_summary(s);
    } else {
        cli_cuts_print(args, s);
    }
    return QN_OK;
}

static qn_status open_model(const cli_args *args, cli_cuts_state *s, cli_record *record, qn_engine *engine,
                            qn_error *err)
{
    s->file = args->positional[0];
    QN_TRY(cli_check_output(args, cli_value(args, "output"), err));
    QN_TRY(qn_model_load(&s->model, s->file, err));
    qn_inspection *inspection;
    QN_TRY(qn_inspect(&inspection, s->model, err));
    snprintf(s->sha256, sizeof s->sha256, "%s", qn_inspection_model(inspection)->sha256);
    qn_inspection_free(inspection);
    QN_TRY(qn_engine_choose(engine, s->model, err));
    return cli_record_of_model(record, s->model, s->file, err);
}

static cli_exit prepare(const cli_args *args, cli_cuts_state *s, qn_cut_study_options *o, qn_error *err)
{
    qn_engine engine;
    cli_record record;
    qn_preprocess pre;
    int64_t rounds = 3;
    cli_exit code = check_options(args);
    code = code == CLI_OK ? parse_count(args, "items", LONG_MAX, &o->n_items) : code;
    code = code == CLI_OK ? parse_count(args, "microbatch", 4096, &o->message_items) : code;
    code = code == CLI_OK ? parse_count(args, "rounds", 1000, &rounds) : code;
    s->rounds = (int)rounds;
    if (code == CLI_OK && open_model(args, s, &record, &engine, err) != QN_OK) {
        return cli_fail(err);
    }
    code = code == CLI_OK ? cli_parse_engine(args, &engine) : code;
    code = code == CLI_OK ? cli_preprocess(args, &record, 1, &pre) : code;
    if (code == CLI_OK && engine == QN_ENGINE_INTEGER && !qn_model_is_quantized(s->model)) {
        qn_fail(err, QN_EUNSUPPORTED, s->file, "is not quantized; quantize the model first");
        return cli_fail(err);
    }
    if (code == CLI_OK &&
        (qn_cuts_create(&s->cuts, s->model, engine, err) != QN_OK || open_data(args, s, &pre, err) != QN_OK)) {
        return cli_fail(err);
    }
    return code;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    static cli_cuts_state s; /* large */
    qn_cut_study_options o;
    cli_exit code = qn_cut_study_options_init(&o, &err) == QN_OK ? CLI_OK : cli_fail(&err);
    code = code == CLI_OK ? prepare(args, &s, &o, &err) : code;
    if (code == CLI_OK) {
        qn_status status = cli_has(args, "times") ? take_times(args, &s, &err) : study(args, &s, &o, &err);
        status = status == QN_OK ? tell(args, &s, &err) : status;
        code = status == QN_OK ? CLI_OK : cli_fail(&err);
    }
    qn_cut_study_free(s.study);
    qn_cut_times_free(&s.times);
    qn_free(s.listed);
    qn_tensor_free(&s.labels);
    qn_dataset_close(s.data);
    qn_cuts_free(s.cuts);
    qn_model_free(s.model);
    return code;
}

const cli_command cli_cuts = {
    .name = "cuts",
    .summary = "list where a network can be cut into stages, and what each link format costs there",
    .usage = "MODEL [--data X [preprocessing] [--labels Y]] [--link CHOICES] [--at GLOBS] [-o FILE]",
    .description =
        "Stages run one after another, on machines with links between them. For every place where two can part: the "
        "tensors "
        "that\ncross, the bytes of a message that carries them, and, with --data, what the network's outputs are then: "
        "SQNR "
        "in dB and\nagreement of argmax with the uncut network of the same engine, and top-1.\n"
        "A choice is how all tensors of a link travel. 'codes': those with codes in the model as these codes, others "
        "as "
        "float32;\n'fp32': all as float32; else a format for all, such as int8, 'adaptivfloat<6,4>/token' or "
        "int4/channel/laplace: PER is\nitem (default), tensor, channel, token, group:N, or block for bfp and mx; CLAMP "
        "is "
        "none, laplace, gelu, ds-aciq or mse,\nas in 'quern pack'. Every value goes through a real frame and back.\n"
        "--times takes the time of the nodes before each place, for 'quern partition'.",
    .example = "quern cuts model.onnx\n"
               "quern cuts model.onnx --data test_x.npy --labels test_y.npy --link 'int8,int4,adaptivfloat<8,4>' -o "
               "cuts.json\n"
               "quern cuts model.onnx --times -o profile.json",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
