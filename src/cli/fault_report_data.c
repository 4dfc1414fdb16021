/* The same numbers as CSV and JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/fault_report.h"

/* A field of RFC 4180. */
static void put_field(const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        printf("%s,", text);
        return;
    }
    putchar('"');
    for (; *text != '\0'; text++) {
        printf(*text == '"' ? "\"\"" : "%c", *text);
    }
    printf("\",");
}

qn_status cli_report_csv(qn_store *store, unsigned by, const cli_interval_how *how, qn_error *err)
{
    qn_store_groups groups;
    char text[32];
    const unsigned outcomes = cli_outcomes_of(store);
    qn_status status = qn_store_rates(&groups, store, by, CLI_ALL_OUTCOMES, err);
    for (int k = 0; k < CLI_N_BY && status == QN_OK; k++) {
        if (by >> k & 1) {
            printf("%s,", cli_by_names[k]);
        }
    }
    if (status == QN_OK) {
        printf("faults,pairs,activated");
        for (int i = 0; i < QN_FAULT_N_ENDS; i++) {
            if (cli_has_end(outcomes, i)) {
                printf(",%s", cli_end_names[i]);
            }
        }
        for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
            if ((outcomes & cli_outcomes[i].flag) == 0) {
                continue;
            }
            const char *name = cli_outcomes[i].column;
            printf(",%s,%s_rate,%s_low,%s_high", name, name, name, name);
        }
        printf(",rmse_sum,rmse_max\n");
    }
    for (size_t g = 0; g < groups.n && status == QN_OK; g++) {
        const qn_store_group *group = &groups.list[g];
        for (int k = 0; k < CLI_N_BY; k++) {
            if (by >> k & 1) {
                put_field(cli_group_key(group, k, text));
            }
        }
        printf("%lld,%lld,%lld", (long long)group->n_faults, (long long)group->pairs, (long long)group->activated);
        for (int i = 0; i < QN_FAULT_N_ENDS; i++) {
            if (cli_has_end(outcomes, i)) {
                printf(",%lld", (long long)group->ends[i]);
            }
        }
        for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
            if ((outcomes & cli_outcomes[i].flag) == 0) {
                continue;
            }
            const qn_interval rate = cli_group_rate(group, i, how);
            printf(",%lld,%.9g,%.9g,%.9g", (long long)group->counts[i], rate.rate, rate.low, rate.high);
        }
        printf(",%.9g,%.9g\n", group->rmse_sum, group->rmse_max);
    }
    qn_store_groups_free(&groups);
    return status;
}

static json_t *group_json(const qn_store_group *group, unsigned by, unsigned outcomes_of, const cli_interval_how *how)
{
    char text[32];
    json_t *object = json_object(), *outcomes = json_object(), *ends = json_object();
    for (int k = 0; k < CLI_N_BY; k++) {
        const char *key = cli_group_key(group, k, text);
        const bool number = 1 << k == QN_STORE_BY_BIT || 1 << k == QN_STORE_BY_CHANNEL;
        if (by >> k & 1) {
            json_object_set_new(object, cli_by_names[k],
                                key[0] == '\0' ? json_null()
                                : number       ? json_integer(1 << k == QN_STORE_BY_BIT ? group->bit : group->channel)
                                               : cli_json_string(key));
        }
    }
    json_object_set_new(object, "faults", json_integer(group->n_faults));
    json_object_set_new(object, "pairs", json_integer(group->pairs));
    json_object_set_new(object, "activated", json_integer(group->activated));
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((outcomes_of & cli_outcomes[i].flag) == 0) {
            continue;
        }
        const qn_interval rate = cli_group_rate(group, i, how);
        json_object_set_new(outcomes, cli_outcomes[i].column,
                            json_pack("{s:I, s:f, s:f, s:f}", "pairs", (json_int_t)group->counts[i], "rate", rate.rate,
                                      "low", rate.low, "high", rate.high));
    }
    for (int i = 0; i < QN_FAULT_N_ENDS; i++) {
        if (cli_has_end(outcomes_of, i)) {
            json_object_set_new(ends, cli_end_names[i], json_integer(group->ends[i]));
        }
    }
    json_object_set_new(object, "outcomes", outcomes);
    json_object_set_new(object, "ends", ends);
    json_object_set_new(object, "rmse_sum", cli_json_real(group->rmse_sum));
    json_object_set_new(object, "rmse_max", cli_json_real(group->rmse_max));
    return object;
}

static json_t *known(int64_t n)
{
    return n >= 0 ? json_integer(n) : json_null();
}

static qn_status about_json(json_t *object, qn_store *store, qn_error *err)
{
    const qn_store_about *about = qn_store_about_of(store);
    qn_store_totals totals;
    qn_store_golden golden;
    char seed[32];
    QN_TRY(qn_store_total(store, &totals, err));
    QN_TRY(qn_store_golden_of(store, &golden, err));
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)about->seed);
    json_object_set_new(object, "store", cli_json_string(qn_store_path(store)));
    json_object_set_new(object, "complete", json_boolean(about->complete));
    json_object_set_new(object, "shard", json_integer(about->shard));
    json_object_set_new(object, "n_shards", json_integer(about->n_shards));
    json_object_set_new(object, "model", cli_json_string(about->model_file));
    json_object_set_new(object, "model_sha256", cli_json_string(about->model_sha256));
    json_object_set_new(object, "data", cli_json_string(about->data_file));
    json_object_set_new(object, "engine", cli_json_string(about->engine));
    json_object_set_new(object, "seed", json_string(seed)); /* 64 bits: more than JSON's numbers keep */
    json_object_set_new(object, "spec", cli_json_string(about->spec));
    json_object_set_new(object, "faults", json_integer(totals.faults));
    json_object_set_new(object, "pairs", json_integer(totals.pairs));
    json_object_set_new(object, "verified", json_integer(totals.verified));
    json_object_set_new(object, "images", json_integer(golden.images));
    json_object_set_new(object, "right", known(golden.right));
    json_object_set_new(object, "float_right", known(golden.float_right));
    json_object_set_new(object, "float_agree", known(golden.float_agree));
    json_object_set_new(object, "float_rmse", cli_json_real(golden.float_rmse));
    return QN_OK;
}

static qn_status add_groups(json_t *object, const char *name, qn_store *store, unsigned by, const cli_interval_how *how,
                            qn_error *err)
{
    qn_store_groups groups;
    json_t *list = json_array();
    qn_status status = qn_store_rates(&groups, store, by, CLI_ALL_OUTCOMES, err);
    for (size_t i = 0; i < groups.n && status == QN_OK; i++) {
        json_array_append_new(list, group_json(&groups.list[i], by, cli_outcomes_of(store), how));
    }
    qn_store_groups_free(&groups);
    if (by != 0) {
        json_object_set_new(object, name, list);
        return status;
    }
    json_object_set(object, name, json_array_size(list) > 0 ? json_array_get(list, 0) : json_null());
    json_decref(list);
    return status;
}

static qn_status add_worst(json_t *object, qn_store *store, size_t n, qn_error *err)
{
    qn_store_site *sites = qn_alloc(n * sizeof *sites);
    const qn_store_target *targets = NULL;
    int n_targets = 0;
    size_t found = 0;
    json_t *list = json_array();
    qn_status status = sites != NULL ? qn_store_targets(store, &targets, &n_targets, err)
                                     : qn_fail_memory(err, qn_store_path(store), n * sizeof *sites);
    status = status == QN_OK ? qn_store_worst(store, QN_OUTCOME_SDC1, true, sites, n, &found, err) : status;
    for (size_t i = 0; i < found && status == QN_OK; i++) {
        const qn_store_target *target = &targets[sites[i].target];
        json_t *site = json_object();
        json_object_set_new(site, "where", cli_json_string(target->place));
        json_object_set_new(site, "layer", cli_json_string(target->layer));
        json_object_set_new(site, "value", cli_json_string(target->value));
        if (target->field[0] != '\0') {
            json_object_set_new(site, "field", cli_json_string(target->field));
        }
        json_object_set_new(site, "element", json_integer(sites[i].element));
        json_object_set_new(site, "term", json_integer(sites[i].term));
        json_object_set_new(site, "channel",
                            json_integer(sites[i].element / target->channel_stride % target->channels));
        json_object_set_new(site, "bit", known(sites[i].bit));
        json_object_set_new(site, "sdc1", json_integer(sites[i].hits));
        json_object_set_new(site, "pairs", json_integer(sites[i].pairs));
        json_object_set_new(site, "faults", json_integer(sites[i].n_faults));
        json_object_set_new(site, "fault", json_integer(sites[i].first_fault));
        json_array_append_new(list, site);
    }
    json_object_set_new(object, "worst", list);
    qn_free(sites);
    return status;
}

qn_status cli_report_json(json_t *object, qn_store *store, unsigned by, size_t worst, const cli_interval_how *how,
                          qn_error *err)
{
    QN_TRY(about_json(object, store, err));
    json_object_set_new(object, "confidence", json_real(how->confidence));
    json_object_set_new(object, "interval", json_string(how->clopper ? "clopper-pearson" : "wilson"));
    QN_TRY(add_groups(object, "total", store, 0, how, err));
    if (by != 0) {
        QN_TRY(add_groups(object, "groups", store, by, how, err));
    }
    return worst > 0 ? add_worst(object, store, worst, err) : QN_OK;
}
