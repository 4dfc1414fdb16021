#include "cli/fault_args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options that are keys of a fault set. */
static const struct {
    const char *option, *label, *key;
} set_options[] = {
    {"where", "--where", "where"},          {"layers", "--layers", "layers"},
    {"values", "--values", "values"},       {"ops", "--ops", "ops"},
    {"channels", "--channels", "channels"}, {"rows", "--rows", "rows"},
    {"columns", "--columns", "columns"},    {"elements", "--elements", "elements"},
    {"terms", "--terms", "terms"},          {"bits", "--bits", "bits"},
    {"frame", "--frame", "frame"},          {"fault", "--fault", "model"},
    {"pattern", "--pattern", "pattern"},    {"per", "--per", "per"},
    {"lifetime", "--lifetime", "lifetime"}, {"sample", "--sample", "sample"},
};
enum { N_SET_OPTIONS = sizeof set_options / sizeof set_options[0] };

static cli_exit spec_of_options(const cli_args *args, cli_campaign *c, qn_error *err)
{
    qn_fault_option options[CLI_MAX_OPTIONS];
    size_t n = 0;
    for (size_t i = 0; i < args->n_given; i++) {
        for (size_t k = 0; k < N_SET_OPTIONS; k++) {
            if (strcmp(args->given[i]->name, set_options[k].option) == 0) {
                options[n++] = (qn_fault_option){set_options[k].key, set_options[k].label, args->values[i]};
            }
        }
    }
    const char *path = cli_value(args, "spec");
    const char *names[CLI_MAX_OPTIONS];
    int n_names = 0;
    for (size_t i = 0; i < args->n_given; i++) {
        if (strcmp(args->given[i]->name, "after") == 0) {
            names[n_names++] = args->values[i];
        }
    }
    static const char *const of_links[] = {"after", "link", "checksum"};
    for (size_t k = 0; path != NULL && k < 3; k++) {
        if (cli_has(args, of_links[k])) {
            return cli_misuse("--%s and --spec contradict each other: '%s' says which links", of_links[k], path);
        }
    }
    if (path != NULL) {
        return n > 0 ? cli_misuse("%s and --spec contradict each other: '%s' says which faults", options[0].label, path)
               : qn_fault_spec_open(&c->spec, path, err) == QN_OK ? CLI_OK
                                                                  : cli_fail(err);
    }
    if (!cli_has(args, "where")) {
        return cli_misuse("which faults? Give --spec FILE, or --where weights (or biases, activations, ...); usage: "
                          "quern %s %s",
                          args->command->name, args->command->usage);
    }
    c->spec = qn_alloc(sizeof *c->spec);
    if (c->spec == NULL) {
        (void)qn_fail_memory(err, "options", sizeof *c->spec);
        return cli_fail(err);
    }
    qn_fault_spec_init(c->spec);
    return qn_fault_spec_add_options(c->spec, options, n, err) == QN_OK &&
                   qn_fault_spec_add_links(c->spec, names, n_names, cli_value(args, "link"),
                                           cli_value(args, "checksum"), err) == QN_OK
               ? CLI_OK
               : cli_fail(err);
}

static cli_exit parse_seed(const cli_args *args, qn_campaign_options *options)
{
    const char *text = cli_value(args, "seed");
    if (text == NULL) {
        return CLI_OK;
    }
    char *end;
    errno = 0;
    options->seed = strtoull(text, &end, 10);
    options->has_seed = true;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0
               ? CLI_OK
               : cli_misuse("--seed '%s' is not a number from 0 to 18446744073709551615", text);
}

/* Bytes, or with K, M, G, T behind: of 1024. */
static cli_exit parse_memory(const cli_args *args, size_t *bytes)
{
    const char *text = cli_value(args, "memory");
    if (text == NULL) {
        return CLI_OK;
    }
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    const int shift = unit != NULL ? 10 * (int)(unit - units + 1) : 0;
    end += unit != NULL;
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n == 0 || n > (SIZE_MAX >> shift)) {
        return cli_misuse("--memory '%s' is not a size such as 512M or 4G", text);
    }
    *bytes = (size_t)n << shift;
    return CLI_OK;
}

static cli_exit parse_shard(const cli_args *args, qn_campaign_options *options)
{
    const char *text = cli_value(args, "shard");
    if (text == NULL) {
        return CLI_OK;
    }
    char *end;
    errno = 0;
    const long shard = strtol(text, &end, 10), n = *end == '/' ? strtol(end + 1, &end, 10) : 0;
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || shard < 1 || shard > n || n > 1000000) {
        return cli_misuse("--shard '%s' is not I/N with I from 1 to N, such as 3/16", text);
    }
    options->shard = (int)shard;
    options->n_shards = (int)n;
    return CLI_OK;
}

cli_exit cli_parse_confidence(const cli_args *args, double *confidence)
{
    const char *text = cli_value(args, "confidence");
    return text == NULL || (qn_spec_share(confidence, text) && *confidence >= 0.5 && *confidence <= 0.999999)
               ? CLI_OK
               : cli_misuse("--confidence '%s' is not a share from 50%% to 99.9999%%", text);
}

static cli_exit parse_numbers(const cli_args *args, cli_campaign *c)
{
    const char *images = cli_value(args, "images"), *verify = cli_value(args, "verify");
    const char *rmse = cli_value(args, "rmse-threshold");
    qn_campaign_options *options = &c->options;
    if (images != NULL && !qn_spec_count(&options->n_images, images, 1)) {
        return cli_misuse("--images '%s' is not a number from 1 on", images);
    }
    if (verify != NULL && !(qn_spec_share(&options->verify, verify) && options->verify >= 0 && options->verify <= 1)) {
        return cli_misuse("--verify '%s' is not a share from 0 to 100%%", verify);
    }
    const char *block = cli_value(args, "block");
    if (block != NULL && (!qn_spec_count(&options->block_pairs, block, 1) || options->block_pairs > 1000000000)) {
        return cli_misuse("--block '%s' is not a number of pairs from 1 to 1e9", block);
    }
    double *threshold = &c->spec->rmse_threshold;
    if (rmse != NULL && !(qn_spec_real(threshold, rmse) && *threshold > 0)) {
        return cli_misuse("--rmse-threshold '%s' is not a number above 0", rmse);
    }
    const char *prove = cli_value(args, "prove");
    if (prove != NULL && !qn_spec_prove(&c->spec->prove, prove)) {
        return cli_misuse("--prove '%s' is not a way to prove outcomes; there are margin, margin-everywhere and none",
                          prove);
    }
    return cli_parse_confidence(args, &options->confidence);
}

static cli_exit parse_options(const cli_args *args, cli_campaign *c)
{
    cli_exit code = cli_parse_engine(args, &c->options.engine);
    code = code == CLI_OK ? cli_parse_batch(args, &c->options.batch) : code;
    code = code == CLI_OK ? parse_seed(args, &c->options) : code;
    code = code == CLI_OK ? parse_memory(args, &c->options.memory_bytes) : code;
    code = code == CLI_OK ? parse_shard(args, &c->options) : code;
    return code == CLI_OK ? parse_numbers(args, c) : code;
}

/* The command line again, for the record; words that a shell would split are quoted. NULL when out of memory. */
static char *join_arguments(const cli_args *args)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (out == NULL) {
        return NULL;
    }
    fprintf(out, "%s %s", args->command->name, args->positional[0]);
    for (size_t i = 0; i < args->n_given; i++) {
        const char *value = args->values[i];
        const bool plain = value[0] != '\0' && strpbrk(value, " \t\n*?[]{}$'\"\\;&|<>()#~`!") == NULL;
        fprintf(out, " --%s", args->given[i]->name);
        if (args->given[i]->argument != NULL) {
            fprintf(out, plain ? " %s" : " '%s'", value);
        }
    }
    return fclose(out) == 0 ? text : NULL;
}

static qn_status open_files(const cli_args *args, cli_campaign *c, cli_record records[2], qn_error *err)
{
    const char *file = args->positional[0], *float_file = cli_value(args, "float-model");
    QN_TRY(qn_model_load(&c->model, file, err));
    if (float_file != NULL) {
        QN_TRY(qn_model_load(&c->float_model, float_file, err));
    }
    QN_TRY(cli_record_of_model(&records[0], c->model, file, err));
    QN_TRY(cli_record_of_model(&records[1], c->float_model, float_file, err));
    return qn_campaign_options_init(&c->options, c->model, err);
}

static qn_status open_data(const cli_args *args, cli_campaign *c, qn_error *err)
{
    const char *labels = cli_value(args, "labels");
    if (labels != NULL) {
        QN_TRY(qn_tensor_read(&c->labels, labels, err));
        c->options.labels = &c->labels;
        c->options.labels_name = labels;
    }
    QN_TRY(qn_dataset_open(&c->data, cli_value(args, "data"), &c->pre, err));
    c->options.float_model = c->float_model;
    c->options.data = c->data;
    c->options.spec = c->spec;
    c->options.cpu = args->cpu;
    c->options.n_threads = cli_threads(args);
    c->arguments = join_arguments(args);
    c->options.arguments = c->arguments;
    return QN_OK;
}

cli_exit cli_campaign_open(const cli_args *args, cli_campaign *c, qn_error *err)
{
    if (!cli_has(args, "data")) {
        return cli_misuse("--data X is missing; usage: quern %s %s", args->command->name, args->command->usage);
    }
    cli_record records[2];
    cli_exit code = spec_of_options(args, c, err);
    if (code == CLI_OK && open_files(args, c, records, err) != QN_OK) {
        return cli_fail(err);
    }
    code = code == CLI_OK ? parse_options(args, c) : code;
    code = code == CLI_OK ? cli_preprocess(args, records, 2, &c->pre) : code;
    return code == CLI_OK && open_data(args, c, err) != QN_OK ? cli_fail(err) : code;
}

void cli_campaign_close(cli_campaign *c)
{
    free(c->arguments);
    qn_fault_spec_close(c->spec);
    qn_tensor_free(&c->labels);
    qn_dataset_close(c->data);
    qn_model_free(c->float_model);
    qn_model_free(c->model);
}

cli_exit cli_campaign_fail(const qn_error *err)
{
    const cli_exit code = cli_fail(err);
    return err->status == QN_EINVAL ? CLI_REFUSED : code;
}
