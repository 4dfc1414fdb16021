#include "cli/fault_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fault/spec.h"

enum { PROVEN = 8, DETECTED = 9 }; /* of cli_outcomes */

const cli_outcome cli_outcomes[QN_OUTCOME_COUNT] = {
#define QN_OUTCOME_ROW(name, bit, text, column) {name, text, column},
    QN_OUTCOME_LIST(QN_OUTCOME_ROW)
#undef QN_OUTCOME_ROW
};
const char *const cli_by_names[CLI_N_BY] = {
#define QN_BY_NAME(name, bit, text) text,
    QN_STORE_BY_LIST(QN_BY_NAME)
#undef QN_BY_NAME
};
const char *const cli_end_names[QN_FAULT_N_ENDS] = {
#define QN_END_NAME(name, value) [value] = #name,
    QN_FAULT_END_LIST(QN_END_NAME)
#undef QN_END_NAME
};

const char *cli_whole(char text[64], int64_t n)
{
    if (n == INT64_MAX) {
        snprintf(text, 64, "infinitely many");
    } else {
        snprintf(text, 64, "%lld", (long long)n);
    }
    return text;
}

const char *cli_duration(char text[CLI_DURATION_MAX], double seconds)
{
    const double minutes = floor(seconds / 60), hours = floor(seconds / 3600);
    if (seconds < 60) {
        snprintf(text, CLI_DURATION_MAX, "%.1f s", seconds);
    } else if (seconds < 3600) {
        snprintf(text, CLI_DURATION_MAX, "%.0f min %02.0f s", minutes, floor(seconds - 60 * minutes));
    } else if (hours < 100000) {
        snprintf(text, CLI_DURATION_MAX, "%.0f h %02.0f min", hours, minutes - 60 * hours);
    } else {
        snprintf(text, CLI_DURATION_MAX, "more than 11 years");
    }
    return text;
}

const char *cli_group_key(const qn_store_group *group, int key, char text[32])
{
    const int64_t number = 1 << key == QN_STORE_BY_BIT ? group->bit : group->channel;
    switch (1 << key) {
    case QN_STORE_BY_LAYER:
        return group->layer;
    case QN_STORE_BY_WHERE:
        return group->place;
    case QN_STORE_BY_FORMAT:
        return group->format;
    case QN_STORE_BY_SET:
        return group->set;
    case QN_STORE_BY_STRATUM:
        return group->stratum;
    case QN_STORE_BY_FIELD:
        return group->field;
    default:
        text[0] = '\0';
        if (number >= 0) {
            snprintf(text, 32, "%lld", (long long)number);
        }
        return text;
    }
}

qn_interval cli_group_rate(const qn_store_group *group, int outcome, const cli_interval_how *how)
{
    return qn_fault_rate(group->tallies[outcome], group->n_tallies, how->confidence, how->clopper);
}

static void print_golden(const qn_store_golden *golden)
{
    const double n = golden->images > 0 ? (double)golden->images : 1;
    printf("fault-free   ");
    if (golden->right >= 0) {
        printf("%.2f %% right (%lld of %lld)\n", 100 * (double)golden->right / n, (long long)golden->right,
               (long long)golden->images);
    } else {
        printf("%lld images without labels\n", (long long)golden->images);
    }
    if (golden->float_agree >= 0) {
        printf("quantization ");
        if (golden->float_right >= 0) {
            printf("float %.2f %% right, ", 100 * (double)golden->float_right / n);
        }
        printf("top-1 agrees on %.2f %%, RMSE of the outputs %.4g\n", 100 * (double)golden->float_agree / n,
               golden->float_rmse);
    }
}

/* Of an exhaustive campaign under way the first faults are known, which are no sample of all. */
static void warn_of_order(const qn_store *store)
{
    const qn_store_about *about = qn_store_about_of(store);
    qn_fault_spec *spec = NULL;
    bool in_order = false;
    if (about->complete || qn_fault_spec_of_text(&spec, about->spec, qn_store_path(store), NULL) != QN_OK) {
        return;
    }
    for (int i = 0; i < spec->n_sets; i++) {
        in_order = in_order || spec->sets[i].sample.how == QN_FAULT_EXHAUSTIVE;
    }
    if (in_order) {
        printf(
            "so far       'sample: all' runs faults in their order: rates are those of the first, no sample of all\n");
    }
    qn_fault_spec_close(spec);
}

/* Links are in place without faults, too, so they belong to what the campaign is. */
static void print_links(const qn_store *store)
{
    const qn_store_about *about = qn_store_about_of(store);
    qn_fault_spec *spec = NULL;
    char name[CLI_NAME_MAX];
    if (qn_fault_spec_of_text(&spec, about->spec, qn_store_path(store), NULL) != QN_OK) {
        return;
    }
    const bool is_float = strcmp(about->engine, qn_engine_text(QN_ENGINE_FLOAT)) == 0;
    for (int i = 0; i < spec->n_links; i++) {
        const qn_fault_link *link = &spec->links[i];
        printf("link         behind %s: %s, checksums %s\n", cli_name(name, link->after),
               qn_fault_link_choice(link, is_float ? QN_ENGINE_FLOAT : QN_ENGINE_INTEGER),
               link->unchecked ? "off" : "on");
    }
    qn_fault_spec_close(spec);
}

qn_status cli_report_about(qn_store *store, qn_error *err)
{
    const qn_store_about *about = qn_store_about_of(store);
    qn_store_totals totals;
    qn_store_golden golden;
    char name[CLI_NAME_MAX];
    QN_TRY(qn_store_total(store, &totals, err));
    QN_TRY(qn_store_golden_of(store, &golden, err));
    printf("campaign     %s", cli_name(name, qn_store_path(store)));
    if (!about->complete) {
        printf(", not complete (%s)", about->shard > 0 ? "the same 'quern inject' goes on" : "shards are missing");
    }
    if (about->n_shards > 1 && about->shard > 0) {
        printf(", shard %d of %d", about->shard, about->n_shards);
    }
    printf(": %lld faults, %lld pairs", (long long)totals.faults, (long long)totals.pairs);
    if (totals.verified > 0) {
        printf(", %lld verified", (long long)totals.verified);
    }
    printf("\nmodel        %s (%s engine)", cli_name(name, about->model_file), about->engine);
    printf(", %lld images of %s, seed %llu\n", (long long)about->n_images, cli_name(name, about->data_file),
           (unsigned long long)about->seed);
    print_links(store);
    print_golden(&golden);
    warn_of_order(store);
    return QN_OK;
}

unsigned cli_outcomes_of(const qn_store *store)
{
    qn_fault_spec *spec = NULL;
    unsigned outcomes = CLI_ALL_OUTCOMES; /* a specification that cannot be read may say anything */
    if (qn_fault_spec_of_text(&spec, qn_store_about_of(store)->spec, qn_store_path(store), NULL) == QN_OK) {
        outcomes &= spec->prove != QN_PROVE_NONE ? ~0u : ~(unsigned)QN_OUTCOME_PROVEN;
        outcomes &= spec->n_links > 0 ? ~0u : ~(unsigned)QN_OUTCOME_DETECTED;
        qn_fault_spec_close(spec);
    }
    return outcomes;
}

bool cli_has_end(unsigned outcomes, int end)
{
    return cli_end_names[end] != NULL &&
           (!qn_fault_is_detected((qn_fault_end)end) || (outcomes & QN_OUTCOME_DETECTED) != 0);
}

typedef struct end_line {
    int end;
    const char *name, *text;
} end_line;

static void print_ends(const qn_store_group *all, const end_line *lines)
{
    for (int k = 0; k < 3; k++) {
        printf("    %-10s %13lld   %s\n", lines[k].name, (long long)all->ends[lines[k].end], lines[k].text);
    }
}

static void print_outcomes(const qn_store_group *all, bool labels, unsigned outcomes, const cli_interval_how *how)
{
    const bool links = (outcomes & QN_OUTCOME_DETECTED) != 0;
    const end_line masked_by[] = {
        {QN_FAULT_INACTIVE, "inactive",
         links ? "no bit changed" : "no code changed, or nothing that reads it can see it"},
        {QN_FAULT_IN_LAYER, "in layer", links ? "the same numbers arrived" : "no code that the layer makes differs"},
        {QN_FAULT_ON_THE_WAY, "on the way", "it died in a later layer"}};
    static const end_line detected_by[] = {{QN_FAULT_BY_HEADER_CRC, "header CRC", "the header's checksum differs"},
                                           {QN_FAULT_BY_BODY_CRC, "body CRC", "the body's checksum differs"},
                                           {QN_FAULT_UNREADABLE, "reader", "refused without a checksum's help"}};
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((outcomes & cli_outcomes[i].flag) == 0 || (cli_outcomes[i].flag == QN_OUTCOME_CRITICAL && !labels)) {
            continue;
        }
        const qn_interval rate = cli_group_rate(all, i, how);
        printf("  %-11s %14lld %10.4f %%   %8.4f .. %8.4f %%\n", cli_outcomes[i].text, (long long)all->counts[i],
               100 * rate.rate, 100 * rate.low, 100 * rate.high);
        if (cli_outcomes[i].flag == QN_OUTCOME_MASKED) {
            print_ends(all, masked_by);
        } else if (cli_outcomes[i].flag == QN_OUTCOME_DETECTED) {
            print_ends(all, detected_by);
        }
    }
}

qn_status cli_report_total(qn_store *store, const cli_interval_how *how, qn_error *err)
{
    const bool labels = qn_store_about_of(store)->labels_sha256[0] != '\0';
    qn_store_groups groups;
    qn_status status = qn_store_rates(&groups, store, 0, CLI_ALL_OUTCOMES, err);
    if (status == QN_OK && groups.n > 0) {
        const qn_store_group *all = &groups.list[0];
        const int64_t differ = all->ends[QN_FAULT_AT_OUTPUT] + all->ends[QN_FAULT_REFUSED];
        const unsigned outcomes = cli_outcomes_of(store);
        printf("faults       pairs, and rates weighted by populations, with %g %% intervals for these images (%s):\n",
               100 * how->confidence, how->clopper ? "Clopper-Pearson" : "Wilson");
        print_outcomes(all, labels, outcomes, how);
        printf("  a code changed in %lld of %lld pairs; where outputs differ, their RMSE is %.4g on average, %.4g at "
               "most\n",
               (long long)all->activated, (long long)all->pairs, differ > 0 ? all->rmse_sum / (double)differ : 0.0,
               all->rmse_max);
        if ((outcomes & QN_OUTCOME_PROVEN) != 0) {
            printf(
                "  proven: masked or tolerated, by a bound on the change of the outputs; the RMSE of these %lld pairs "
                "was not measured\n",
                (long long)all->counts[PROVEN]);
        }
    } else if (status == QN_OK) {
        printf("faults       none yet\n");
    }
    qn_store_groups_free(&groups);
    return status;
}

static int width_of(const qn_store_groups *groups, int key)
{
    char text[32];
    size_t width = strlen(cli_by_names[key]);
    for (size_t i = 0; i < groups->n; i++) {
        const size_t n = strlen(cli_group_key(&groups->list[i], key, text));
        width = n > width ? n : width;
    }
    return (int)(width < 40 ? width : 40);
}

qn_status cli_report_groups(qn_store *store, unsigned by, const cli_interval_how *how, qn_error *err)
{
    enum { SHOWN = 7 };
    /* of cli_outcomes: masked, tolerated, SDC-1, SDC-5, non-finite, proven, detected */
    static const int shown[SHOWN] = {0, 1, 2, 3, 7, PROVEN, DETECTED};
    const unsigned outcomes = (QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | QN_OUTCOME_SDC5 |
                               QN_OUTCOME_NONFINITE | QN_OUTCOME_PROVEN | QN_OUTCOME_DETECTED) &
                              cli_outcomes_of(store);
    qn_store_groups groups;
    int widths[CLI_N_BY];
    char text[32], name[CLI_NAME_MAX];
    qn_status status = qn_store_rates(&groups, store, by, outcomes, err);
    for (int k = 0; k < CLI_N_BY && status == QN_OK; k++) {
        widths[k] = width_of(&groups, k);
        if (by >> k & 1) {
            printf("%-*s ", widths[k], cli_by_names[k]);
        }
    }
    if (status == QN_OK) {
        printf("%9s %12s %9s %9s %9s %22s %9s %9s%s%s\n", "faults", "pairs", "masked %", "toler. %", "SDC-1 %",
               "interval", "SDC-5 %", "non-fin. %", (outcomes & QN_OUTCOME_PROVEN) != 0 ? "  proven %" : "",
               (outcomes & QN_OUTCOME_DETECTED) != 0 ? " detected %" : "");
    }
    for (size_t i = 0; i < groups.n && status == QN_OK; i++) {
        const qn_store_group *group = &groups.list[i];
        for (int k = 0; k < CLI_N_BY; k++) {
            const char *key = cli_group_key(group, k, text);
            if (by >> k & 1) {
                printf("%-*s ", widths[k], cli_name(name, key[0] != '\0' ? key : "-"));
            }
        }
        printf("%9lld %12lld", (long long)group->n_faults, (long long)group->pairs);
        for (int s = 0; s < SHOWN; s++) {
            if ((outcomes & cli_outcomes[shown[s]].flag) == 0) {
                continue;
            }
            const qn_interval rate = cli_group_rate(group, shown[s], how);
            printf(shown[s] == DETECTED ? " %10.4f" : " %9.4f", 100 * rate.rate);
            if (cli_outcomes[shown[s]].flag == QN_OUTCOME_SDC1) {
                printf("  %8.4f .. %8.4f", 100 * rate.low, 100 * rate.high);
            }
        }
        printf("\n");
    }
    qn_store_groups_free(&groups);
    return status;
}

qn_status cli_report_worst(qn_store *store, size_t n, qn_error *err)
{
    qn_store_site *sites = qn_alloc(n * sizeof *sites);
    const qn_store_target *targets = NULL;
    int n_targets = 0;
    size_t found = 0;
    char name[CLI_NAME_MAX], bit[16], element[48];
    if (sites == NULL) {
        return qn_fail_memory(err, qn_store_path(store), n * sizeof *sites);
    }
    qn_status status = qn_store_targets(store, &targets, &n_targets, err);
    status = status == QN_OK ? qn_store_worst(store, QN_OUTCOME_SDC1, true, sites, n, &found, err) : status;
    if (status == QN_OK) {
        printf(found > 0 ? "worst sites, by SDC-1:\n%12s %12s %12s %8s %4s  %-16s %s\n" : "no site with SDC-1\n",
               "SDC-1", "pairs", "element", "channel", "bit", "where", "layer, and a fault for 'quern replay'");
    }
    for (size_t i = 0; i < found && status == QN_OK; i++) {
        const qn_store_site *site = &sites[i];
        const qn_store_target *target = &targets[site->target];
        snprintf(bit, sizeof bit, site->bit >= 0 ? "%d" : "-", site->bit);
        snprintf(element, sizeof element, target->n_terms > 1 ? "%lld:%lld" : "%lld", (long long)site->element,
                 (long long)site->term);
        printf("%12lld %12lld %12s %8lld %4s  %-16s %s, %lld\n", (long long)site->hits, (long long)site->pairs, element,
               (long long)(site->element / target->channel_stride % target->channels), bit, target->place,
               cli_name(name, target->layer), (long long)site->first_fault);
    }
    qn_free(sites);
    return status;
}
