/* quern show: what a store of faults tells. */
#include <stdio.h>
#include <string.h>

#include "base/names.h"
#include "cli/fault_args.h"
#include "cli/fault_report.h"

static const cli_option options[] = {
    {"by", 0, "KEYS", "rates apart by layer, bit, channel, where, format, set, stratum, field; several with commas"},
    {"worst", 0, "N", "list the N sites with the most SDC-1 (default 5; 0: none)"},
    {"interval", 0, "KIND", "wilson (default) or clopper-pearson"},
    {"confidence", 0, "C", "of intervals (default: the campaign's)"},
    {"csv", 0, NULL, "print a table of comma-separated values, with a row for each group"},
    {NULL, 0, NULL, NULL},
};

static cli_exit parse_by(const cli_args *args, unsigned *by)
{
    const char *at = cli_value(args, "by");
    char word[32];
    *by = 0;
    for (; at != NULL; at = *at == ',' ? at + 1 : NULL) {
        const size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), at);
        int key = 0;
        while (key < CLI_N_BY && strcmp(cli_by_names[key], word) != 0) {
            key++;
        }
        if (key == CLI_N_BY) {
            char known[100];
            qn_list_names(known, sizeof known, cli_by_names, CLI_N_BY);
            return cli_misuse("--by '%s': did you mean '%s'? There are %s", word,
                              cli_by_names[qn_nearest_name(word, cli_by_names, CLI_N_BY)], known);
        }
        *by |= 1u << key;
        at += n;
    }
    return CLI_OK;
}

static cli_exit parse_options(const cli_args *args, unsigned *by, int64_t *worst, cli_interval_how *how)
{
    const char *n = cli_value(args, "worst"), *kind = cli_value(args, "interval");
    if (cli_has(args, "csv") && args->json) {
        return cli_misuse("--csv and --json contradict each other; choose one");
    }
    if (n != NULL && (!qn_spec_count(worst, n, 0) || *worst > 1000000)) {
        return cli_misuse("--worst '%s' is not a number from 0 to 1000000", n);
    }
    how->clopper = kind != NULL && strcmp(kind, "clopper-pearson") == 0;
    if (kind != NULL && !how->clopper && strcmp(kind, "wilson") != 0) {
        return cli_misuse("--interval '%s' is neither wilson nor clopper-pearson", kind);
    }
    cli_exit code = cli_parse_confidence(args, &how->confidence);
    return code == CLI_OK ? parse_by(args, by) : code;
}

static qn_status print_json(const cli_args *args, qn_store *store, unsigned by, int64_t worst,
                            const cli_interval_how *how, qn_error *err)
{
    json_t *object = cli_json_start(args);
    qn_status status = cli_report_json(object, store, by, (size_t)worst, how, err);
    if (status == QN_OK) {
        cli_print_json(object);
    } else {
        json_decref(object);
    }
    return status;
}

static qn_status print_text(qn_store *store, unsigned by, int64_t worst, const cli_interval_how *how, qn_error *err)
{
    QN_TRY(cli_report_about(store, err));
    QN_TRY(cli_report_total(store, how, err));
    if (by != 0) {
        QN_TRY(cli_report_groups(store, by, how, err));
    }
    return worst > 0 ? cli_report_worst(store, (size_t)worst, err) : QN_OK;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    unsigned by = 0;
    int64_t worst = 5;
    cli_interval_how how = {0};
    cli_exit code = parse_options(args, &by, &worst, &how);
    if (code != CLI_OK) {
        return code;
    }
    qn_store *store = NULL;
    qn_status status = qn_store_open(&store, args->positional[0], &err);
    if (status == QN_OK) {
        how.confidence = how.confidence > 0 ? how.confidence : qn_store_about_of(store)->confidence;
        status = args->json             ? print_json(args, store, by, worst, &how, &err)
                 : cli_has(args, "csv") ? cli_report_csv(store, by, &how, &err)
                                        : print_text(store, by, worst, &how, &err);
    }
    qn_store_close(store);
    return status == QN_OK ? CLI_OK : cli_fail(&err);
}

const cli_command cli_show = {
    .name = "show",
    .summary = "print the rates that a campaign found, with intervals, and the worst sites",
    .usage = "campaign.db [--by layer,bit,channel,where,format] [--csv | --json] [--worst N] [--interval KIND]",
    .description =
        "Rates are shares of (fault, image) pairs, weighted by how many faults each stratum has. Intervals count a "
        "fault\n"
        "as one cluster of its pairs, and shrink to nothing where every fault was tried. The error of quantization\n"
        "(float against fault-free) stands apart from that of faults (fault-free against faulty). A campaign under "
        "way\n"
        "can be looked at.",
    .example = "quern show campaign.db --by layer,bit\n"
               "quern show campaign.db --by channel --csv --interval clopper-pearson --confidence 99%",
    .positional = {"campaign.db"},
    .options = options,
    .run = run,
};
