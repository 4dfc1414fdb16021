/* quern protect: which bits, channels or layers to harden, and what that leaves. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"
#include "fault/spec_parts.h"
#include "fault/store.h"

static const cli_option options[] = {
    {"budget", 0, "B", "extra bits, as a share such as 5% (default), or a number of bits such as 4096b"},
    {"of", 0, "WHAT", "bits that the share is of: weights (with biases; default), or targets: all that was struck"},
    {"by", 0, "KEYS", "what is hardened together: layer, bit, channel; default layer,bit"},
    {"scheme", 0, "S,..", "what may be had: ecc (default), parity, tmr, range-clamp, all"},
    {"word", 0, "BITS", "bits of a group that share check bits (default 64); 0: each code has its own"},
    {"outcome", 0, "NAME", "what is to become rare: sdc1 (default), sdc5, sdc10, sdc20, critical, nonfinite"},
    {"groups", 0, "N", "list the N groups that come first (default 20; 0: all)"},
    {"interval", 0, "KIND", "wilson (default) or clopper-pearson"},
    {"confidence", 0, "C", "of intervals (default: the campaign's)"},
    {"apply", 0, NULL, "run the faults again with the protection modelled, and compare"},
    {"seed", 0, "N", "with --apply: fresh faults with this seed, as many as there were"},
    {"model", 0, "MODEL", "with --apply: the campaign's model, where it is not in the place that the store names"},
    {"data", 0, "X", "its inputs, likewise"},
    {"labels", 0, "Y", "its labels, likewise"},
    {NULL, 0, NULL, NULL},
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* Bits of the words of a list that are in `names`; misuse for others. */
static cli_exit parse_words(const char *option, const char *text, const char *const *names, int n, const char *legal,
                            unsigned *bits)
{
    *bits = 0;
    for (const char *at = text; at != NULL; at = *at == ',' ? at + 1 : NULL) {
        const size_t length = strcspn(at, ",");
        int k = 0;
        while (k < n && (strlen(names[k]) != length || strncmp(names[k], at, length) != 0)) {
            k++;
        }
        if (k == n) {
            return cli_misuse("--%s '%.*s' is none of %s", option, (int)(length < 40 ? length : 40), at, legal);
        }
        *bits |= 1u << k;
        at += length;
    }
    return CLI_OK;
}

static cli_exit parse_budget(const char *text, qn_protect_options *o)
{
    const size_t n = text != NULL ? strlen(text) : 0;
    if (text == NULL) {
        return CLI_OK;
    }
    if (n > 1 && text[n - 1] == 'b') {
        char *end;
        errno = 0;
        const long long bits = strtoll(text, &end, 10);
        if (errno == 0 && end == text + n - 1 && bits >= 0) {
            o->budget_bits = bits;
            return CLI_OK;
        }
    } else if (qn_spec_share(&o->budget, text) && o->budget >= 0 && o->budget <= 100) {
        return CLI_OK;
    }
    return cli_misuse("--budget '%s' is neither a share such as 5%% or 0.05 nor a number of bits such as 4096b", text);
}

static cli_exit parse_whole(const char *option, const char *text, long most, int *value)
{
    char *end;
    errno = 0;
    const long n = text != NULL ? strtol(text, &end, 10) : 0;
    if (text != NULL && (errno != 0 || end == text || *end != '\0' || n < 0 || n > most)) {
        return cli_misuse("--%s '%s' is not a number from 0 to %ld", option, text, most);
    }
    *value = text != NULL ? (int)n : *value;
    return CLI_OK;
}

static cli_exit parse_names(const cli_args *args, qn_protect_options *o)
{
    static const char *const by_names[] = {"layer", "bit", "channel"};
    static const char *const scheme_names[] = {"parity", "ecc", "tmr", "range-clamp", "all"};
    const char *by = cli_value(args, "by"), *scheme = cli_value(args, "scheme"), *of = cli_value(args, "of");
    const char *kind = cli_value(args, "interval");
    cli_exit code = by != NULL ? parse_words("by", by, by_names, 3, "layer, bit and channel", &o->by) : CLI_OK;
    if (code == CLI_OK && scheme != NULL) {
        code = parse_words("scheme", scheme, scheme_names, 5, "parity, ecc, tmr, range-clamp and all", &o->schemes);
        o->schemes = o->schemes >> 4 & 1 ? 15 : o->schemes;
    }
    o->of_targets = of != NULL && strcmp(of, "targets") == 0;
    if (code == CLI_OK && of != NULL && !o->of_targets && strcmp(of, "weights") != 0) {
        return cli_misuse("--of '%s' is neither weights nor targets", of);
    }
    o->clopper = kind != NULL && strcmp(kind, "clopper-pearson") == 0;
    if (code == CLI_OK && kind != NULL && !o->clopper && strcmp(kind, "wilson") != 0) {
        return cli_misuse("--interval '%s' is neither wilson nor clopper-pearson", kind);
    }
    return code;
}

static cli_exit parse_options(const cli_args *args, qn_protect_options *o, int *n_groups)
{
    static const char *const with_apply[] = {"seed", "model", "data", "labels"};
    const char *confidence = cli_value(args, "confidence"), *outcome = cli_value(args, "outcome");
    qn_protect_options_init(o);
    cli_exit code = parse_names(args, o);
    code = code == CLI_OK ? parse_budget(cli_value(args, "budget"), o) : code;
    code = code == CLI_OK ? parse_whole("word", cli_value(args, "word"), 1024, &o->word_bits) : code;
    code = code == CLI_OK ? parse_whole("groups", cli_value(args, "groups"), 1000000, n_groups) : code;
    if (code == CLI_OK && confidence != NULL &&
        !(qn_spec_share(&o->confidence, confidence) && o->confidence >= 0.5 && o->confidence <= 0.999999)) {
        return cli_misuse("--confidence '%s' is not a share from 50%% to 99.9999%%", confidence);
    }
    for (size_t i = 0; code == CLI_OK && i < sizeof with_apply / sizeof with_apply[0]; i++) {
        if (cli_has(args, with_apply[i]) && !cli_has(args, "apply")) {
            return cli_misuse("--%s says how to run faults again; give --apply, too", with_apply[i]);
        }
    }
    o->outcome = outcome != NULL ? outcome : o->outcome;
    return code;
}

/* -- again ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    qn_model *model;
    qn_dataset *data;
    qn_tensor labels;
} session;

static cli_exit parse_seed(const cli_args *args, qn_campaign_options *o)
{
    const char *text = cli_value(args, "seed");
    char *end;
    errno = 0;
    o->seed = text != NULL ? strtoull(text, &end, 0) : 0;
    if (text != NULL && (errno != 0 || end == text || *end != '\0' || text[0] == '-')) {
        return cli_misuse("--seed '%s' is not a number from 0 to 18446744073709551615", text);
    }
    o->has_seed = text != NULL;
    return CLI_OK;
}

static void on_progress(void *ctx, const qn_campaign_progress *now)
{
    (void)cli_progress_step(ctx, now->faults, now->faults_total);
}

/* What the store names, unless the command line says where it is. */
static const char *place_of(const cli_args *args, const char *option, const char *stored)
{
    const char *given = cli_value(args, option);
    return given != NULL ? given : stored;
}

static qn_status open_session(const cli_args *args, session *s, const qn_store_about *about, qn_error *err)
{
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    if (about->preprocess[0] != '\0') {
        QN_TRY(qn_preprocess_from_json(&pre, about->preprocess, err));
    }
    QN_TRY(qn_model_load(&s->model, place_of(args, "model", about->model_file), err));
    QN_TRY(qn_dataset_open(&s->data, place_of(args, "data", about->data_file), &pre, err));
    const char *labels = place_of(args, "labels", about->labels_file);
    return labels[0] != '\0' ? qn_tensor_read(&s->labels, labels, err) : QN_OK;
}

static void close_session(session *s)
{
    qn_model_free(s->model);
    qn_dataset_close(s->data);
    qn_tensor_free(&s->labels);
}

static qn_status run_again(const cli_args *args, const qn_protection *p, qn_campaign_options *given,
                           qn_protect_measure *measure, qn_error *err)
{
    qn_store *store = NULL;
    session s = {0};
    QN_TRY(qn_store_open(&store, args->positional[0], err));
    qn_campaign_options o;
    qn_status status = open_session(args, &s, qn_store_about_of(store), err);
    status = status == QN_OK ? qn_campaign_options_init(&o, s.model, err) : status;
    if (status == QN_OK) {
        o.data = s.data;
        o.labels = s.labels.data != NULL ? &s.labels : NULL;
        o.cpu = args->cpu;
        o.n_threads = cli_threads(args);
        o.has_seed = given->has_seed;
        o.seed = given->seed;
        cli_progress progress;
        cli_progress_start(&progress, args, "injecting");
        o.stop = &stop;
        o.progress = on_progress;
        o.progress_ctx = &progress;
        sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, NULL);
        status = qn_protection_apply(p, &o, measure, err);
        cli_progress_end(&progress);
    }
    close_session(&s);
    qn_store_close(store);
    return status;
}

/* -- what is said ----------------------------------------------------------------------------------------------------- */

static json_t *rate_json(const qn_protect_rate *r)
{
    json_t *object = json_object();
    json_object_set_new(object, "rate", json_real(r->rate));
    json_object_set_new(object, "low", json_real(r->low));
    json_object_set_new(object, "high", json_real(r->high));
    return object;
}

static json_t *group_json(const qn_protect_group *g)
{
    json_t *object = json_object();
    json_object_set_new(object, "where", json_string(g->place));
    json_object_set_new(object, "layer", g->layer[0] != '\0' ? cli_json_string(g->layer) : json_null());
    json_object_set_new(object, "format", g->format[0] != '\0' ? cli_json_string(g->format) : json_null());
    json_object_set_new(object, "channel", g->channel >= 0 ? json_integer(g->channel) : json_null());
    json_object_set_new(object, "bit", g->bit >= 0 ? json_integer(g->bit) : json_null());
    json_object_set_new(object, "scheme", json_string(qn_scheme_text(g->scheme)));
    json_object_set_new(object, "bits", json_integer(g->bits));
    json_object_set_new(object, "extra_bits", json_integer(g->extra_bits));
    json_object_set_new(object, "hits", json_integer(g->hits));
    json_object_set_new(object, "share", json_real(g->share));
    json_object_set_new(object, "removed", json_real(g->removed));
    return object;
}

static void print_json(const cli_args *args, const qn_protection *p, int n_groups, const qn_protect_measure *measure)
{
    const qn_protect_summary *about = qn_protection_about(p);
    json_t *object = cli_json_start(args), *groups = json_array();
    json_object_set_new(object, "outcome", json_string(about->outcome));
    json_object_set_new(object, "confidence", json_real(about->confidence));
    json_object_set_new(object, "n_faults", json_integer(about->n_faults));
    json_object_set_new(object, "n_pairs", json_integer(about->n_pairs));
    json_object_set_new(object, "n_choosing", json_integer(about->n_choosing));
    json_object_set_new(object, "n_judging", json_integer(about->n_judging));
    json_object_set_new(object, "n_fleeting", json_integer(about->n_fleeting));
    json_object_set_new(object, "n_several", json_integer(about->n_several));
    json_object_set_new(object, "n_wide", json_integer(about->n_wide));
    json_object_set_new(object, "n_unmet", json_integer(about->n_unmet));
    json_object_set_new(object, "bits", json_integer(about->bits));
    json_object_set_new(object, "budget_bits", json_integer(about->budget_bits));
    json_object_set_new(object, "extra_bits", json_integer(about->extra_bits));
    json_object_set_new(object, "n_groups", json_integer((json_int_t)about->n_groups));
    json_object_set_new(object, "n_protected", json_integer((json_int_t)about->n_protected));
    json_object_set_new(object, "before", rate_json(&about->before));
    json_object_set_new(object, "left", rate_json(&about->left));
    json_object_set_new(object, "left_all", rate_json(&about->left_all));
    json_object_set_new(object, "detected", json_real(about->detected));
    if (measure != NULL) {
        json_t *m = rate_json(&measure->rate);
        json_object_set_new(m, "faults", json_integer(measure->faults));
        json_object_set_new(m, "pairs", json_integer(measure->pairs));
        json_object_set_new(m, "corrected", json_integer(measure->corrected));
        json_object_set_new(m, "detected", json_integer(measure->detected));
        json_object_set_new(m, "clamped", json_integer(measure->clamped));
        json_object_set_new(object, "measured", m);
    }
    const qn_protect_group *g;
    for (size_t i = 0; (n_groups == 0 || i < (size_t)n_groups) && (g = qn_protection_at(p, i)) != NULL; i++) {
        json_array_append_new(groups, group_json(g));
    }
    json_object_set_new(object, "groups", groups);
    cli_print_json(object);
}

static void print_rate(const char *label, const qn_protect_rate *r, double confidence, const char *what)
{
    printf("%-10s %.4g %% (%g %%: %.4g .. %.4g %%)%s\n", label, 100 * r->rate, 100 * confidence, 100 * r->low,
           100 * r->high, what);
}

/* "SDC-1" of "sdc1". */
static const char *outcome_text(const char *column)
{
#define QN_OUTCOME_PAIR(name, bit, text, column) {text, column},
    static const char *const names[][2] = {QN_OUTCOME_LIST(QN_OUTCOME_PAIR)};
#undef QN_OUTCOME_PAIR
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if (strcmp(names[i][1], column) == 0) {
            return names[i][0];
        }
    }
    return column;
}

static void print_groups(const qn_protection *p, int n_groups)
{
    const qn_protect_summary *about = qn_protection_about(p);
    const qn_protect_group *g;
    const char *share = about->outcome[0] == 's' ? "SDC %" : about->outcome[0] == 'c' ? "critical %" : "non-fin. %";
    printf("%-14s %-24s %7s %4s %-11s %12s %10s %8s %10s %10s\n", "where", "layer", "channel", "bit", "scheme", "bits",
           "extra", "hits", share, "removed %");
    size_t i = 0;
    for (; (n_groups == 0 || i < (size_t)n_groups) && (g = qn_protection_at(p, i)) != NULL; i++) {
        char name[CLI_NAME_MAX], channel[24] = "-", bit[16] = "-";
        if (g->channel >= 0) {
            snprintf(channel, sizeof channel, "%lld", (long long)g->channel);
        }
        if (g->bit >= 0) {
            snprintf(bit, sizeof bit, "%d", g->bit);
        }
        printf("%-14s %-24s %7s %4s %-11s %12lld %10lld %8lld %10.4g %10.4g\n", g->place,
               g->layer[0] != '\0' ? cli_name(name, g->layer) : "-", channel, bit, qn_scheme_text(g->scheme),
               (long long)g->bits, (long long)g->extra_bits, (long long)g->hits, 100 * g->share, 100 * g->removed);
    }
    if (i < about->n_groups) {
        printf("and %zu groups more, of them %zu protected (--groups 0)\n", about->n_groups - i,
               about->n_protected > i ? about->n_protected - i : 0);
    }
}

/* Faults that nothing helps against, and why. */
static void print_helpless(const qn_protect_summary *about)
{
    const struct {
        int64_t n;
        const char *what;
    } kinds[] = {
        {about->n_fleeting, "strike products or partial sums, which are in no memory"},
        {about->n_several, "change several codes at once, which no scheme is made for"},
        {about->n_wide, "change several bits of a code, so they are in no group of one bit (--by layer)"},
        {about->n_unmet, "are none that the schemes given correct, detect or clamp (--scheme all)"},
    };
    const char *label = "no help";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].n > 0) {
            printf("%-10s %lld of %lld faults %s\n", label, (long long)kinds[i].n, (long long)about->n_faults,
                   kinds[i].what);
            label = "";
        }
    }
}

/* What is left as faults say that had no part in the choice, and as all say. */
static void print_left(const qn_protect_summary *about, bool again)
{
    const bool halves = about->n_judging < about->n_faults;
    char what[160] = ", exactly: every fault was run";
    if (halves) {
        snprintf(what, sizeof what, ", resting on %lld of %lld faults: those that the choice was not made by%s",
                 (long long)about->n_judging, (long long)about->n_faults,
                 about->n_judging + about->n_choosing > about->n_faults ? ", or of which all were run" : "");
    }
    print_rate("left", &about->left, about->confidence, what);
    if (halves || again) {
        print_rate(again ? "predicted" : "left, all", &about->left_all, about->confidence,
                   halves ? ", by all faults, also those that the choice was made by"
                          : ", for all the faults of the campaign");
    }
    if (about->detected > 0) {
        printf("%-10s %.4g %% of pairs, which is not silent\n", "detected", 100 * about->detected);
    }
}

static void print_text(const qn_protection *p, int n_groups, const qn_protect_measure *measure, bool fresh)
{
    const qn_protect_summary *about = qn_protection_about(p);
    const double share = about->bits > 0 ? 100 * (double)about->extra_bits / (double)about->bits : 0;
    printf("%lld faults, %lld pairs; outcome %s\n", (long long)about->n_faults, (long long)about->n_pairs,
           outcome_text(about->outcome));
    print_rate("as it is", &about->before, about->confidence, "");
    printf("%-10s %lld of %lld bits more, %lld spent (%.3g %%): %zu of %zu groups\n", "budget",
           (long long)about->budget_bits, (long long)about->bits, (long long)about->extra_bits, share,
           about->n_protected, about->n_groups);
    print_helpless(about);
    print_groups(p, n_groups);
    print_left(about, measure != NULL);
    if (measure != NULL) {
        print_rate("measured", &measure->rate, about->confidence, fresh ? ", of fresh faults" : ", of the same faults");
        printf("%-10s %lld faults, %lld pairs: %lld corrected, %lld detected, %lld clamped\n", "",
               (long long)measure->faults, (long long)measure->pairs, (long long)measure->corrected,
               (long long)measure->detected, (long long)measure->clamped);
    }
}

static cli_exit run(cli_args *args)
{
    qn_protect_options how;
    qn_campaign_options again = {0};
    int n_groups = 20;
    cli_exit code = parse_options(args, &how, &n_groups);
    code = code == CLI_OK ? parse_seed(args, &again) : code;
    if (code != CLI_OK) {
        return code;
    }
    qn_error err;
    qn_error_init(&err);
    qn_protection *p = NULL;
    qn_protect_measure measure;
    const bool apply = cli_has(args, "apply");
    qn_status status = qn_protection_make(&p, args->positional[0], &how, &err);
    if (status == QN_OK && apply) {
        status = run_again(args, p, &again, &measure, &err);
    }
    if (status == QN_OK && args->json) {
        print_json(args, p, n_groups, apply ? &measure : NULL);
    } else if (status == QN_OK) {
        print_text(p, n_groups, apply ? &measure : NULL, again.has_seed);
    }
    qn_protection_free(p);
    return status == QN_OK ? CLI_OK : cli_fail(&err);
}

const cli_command cli_protect = {
    .name = "protect",
    .summary = "choose which bits, channels or layers to harden, and tell what that leaves",
    .usage = "CAMPAIGN.db [--budget 5%] [--by layer,bit] [--scheme ecc] [--apply]",
    .description =
        "Groups of bits are chosen such that the least SDC is left for so many extra bits (exactly, by a knapsack). "
        "Half of\n"
        "a sample's faults choose, the other half tells what is left, since a choice looks better than it is to the "
        "faults\n"
        "it was made by; where every fault was run, all do both. 'hits', pairs with the outcome; 'SDC %', what they "
        "add to the\n"
        "rate; and 'removed %', how much of that a scheme takes away, are as the choosing faults say: one hit is "
        "little.\n"
        "Where they know of no more harm, the budget goes to groups in which they could have missed most.\n\n"
        "  parity       1 bit a word; a fault in one bit of a code is detected: not silent, but the word must be had "
        "again\n"
        "  ecc          Hamming's SEC-DED, 8 bits for a word of 64; one bit of a code is corrected, two are detected\n"
        "  tmr          two copies more; one faulty code is corrected, whatever its bits\n"
        "  range-clamp  no bits, a comparison: activations and inputs are held to the range they have without "
        "faults\n\n"
        "A word holds bits of one group from different codes, placed so that one event strikes one of them. With "
        "several\n"
        "schemes, what detects is taken only where correcting is too dear. Faults that change several codes at once "
        "are\n"
        "left as they are, as are products and partial sums, which are in no memory.\n\n"
        "A clamped value is supposed to do as much harm as faults that stay within the range that the faults have "
        "shown.\n"
        "--apply knows: it runs the faults of the campaign again, corrected and detected ones as no change, clamped "
        "ones as\n"
        "the end of the value's true range. Clamps are modelled for faults that are present in one inference.",
    .example = "quern protect campaign.db --budget 5%\n"
               "quern protect campaign.db --budget 2% --by channel --scheme ecc,parity --apply\n"
               "quern protect campaign.db --budget 0 --scheme range-clamp --by layer --apply --seed 2 --json",
    .positional = {"CAMPAIGN.db"},
    .options = options,
    .run = run,
};
