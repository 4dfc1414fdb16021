#include "cli/demo_faults.h"

#include <stdio.h>
#include <string.h>

#include "cli/fault_report.h"
#include "cli/session.h"

enum { IMAGES = 50, BITS = 8, MASKED = 0, SDC1 = 2 }; /* the last two: bits of QN_OUTCOME_LIST */
static const char spec_text[] = "faults:\n"
                                "  - name: weight bits\n"
                                "    where: weights\n"
                                "    model: flip\n"
                                "    sample: 20 per layer,bit\n";

qn_status cli_demo_inject(const cli_args *args, const qn_model *model, const qn_dataset *data, const qn_tensor *labels,
                          const char *path, qn_campaign_stats *stats, qn_error *err)
{
    qn_campaign_options options;
    qn_fault_spec *spec = NULL;
    QN_TRY(qn_campaign_options_init(&options, model, err));
    QN_TRY(qn_fault_spec_of_text(&spec, spec_text, "the demo's specification", err));
    options.data = data;
    options.labels = labels;
    options.labels_name = "test_y_u8.npy (built in)";
    options.n_images = IMAGES;
    options.spec = spec;
    options.store = path;
    options.overwrite = true;
    options.arguments = "quern demo";
    options.cpu = args->cpu;
    options.n_threads = cli_threads(args);
    const qn_status status = qn_campaign_run(&options, stats, err);
    qn_fault_spec_close(spec);
    return status;
}

static qn_status read_rates(qn_store_groups *groups, const char *path, qn_error *err)
{
    qn_store *store = NULL;
    QN_TRY(qn_store_open(&store, path, err));
    const qn_status status = qn_store_rates(groups, store, QN_STORE_BY_LAYER | QN_STORE_BY_BIT, QN_OUTCOME_SDC1, err);
    qn_store_close(store);
    return status;
}

static const cli_interval_how how = {.confidence = 0.95};

/* One line a layer, the highest bit first. Groups of a layer adjoin. */
static void print_layers(const qn_store_groups *groups)
{
    for (size_t i = 0; i < groups->n;) {
        const char *layer = groups->list[i].layer;
        double seen[BITS] = {0};
        int64_t pairs = 0, wrong = 0;
        for (; i < groups->n && strcmp(groups->list[i].layer, layer) == 0; i++) {
            const qn_store_group *g = &groups->list[i];
            pairs += g->pairs;
            wrong += g->counts[SDC1];
            if (g->bit >= 0 && g->bit < BITS && g->pairs > 0) {
                seen[g->bit] = 100 * (1 - (double)g->counts[MASKED] / (double)g->pairs);
            }
        }
        printf("%-24.24s", layer);
        for (int bit = BITS - 1; bit >= 0; bit--) {
            printf(" %6.1f", seen[bit]);
        }
        printf(" %7.3f\n", pairs > 0 ? 100 * (double)wrong / (double)pairs : 0);
    }
}

qn_status cli_demo_print_faults(const char *path, const qn_campaign_stats *stats, qn_error *err)
{
    qn_store_groups groups = {0};
    char rate[CLI_COUNT_MAX], pairs[CLI_COUNT_MAX];
    const qn_status status = read_rates(&groups, path, err);
    if (status == QN_OK) {
        printf("\nbit flips in weights: %lld faults, %s pairs (fault, image), %s pairs/s -> %s\n",
               (long long)stats->faults, cli_count(pairs, (double)stats->pairs),
               cli_count(rate, (double)stats->new_pairs / (stats->seconds > 0 ? stats->seconds : 1)), path);
        printf("runs, in %%, whose logits differ at all, by bit; and whose answer does (SDC-1)\n%-24s", "layer");
        for (int bit = BITS - 1; bit >= 0; bit--) {
            printf("  bit %d", bit);
        }
        printf("   SDC-1\n");
        print_layers(&groups);
    }
    qn_store_groups_free(&groups);
    return status;
}

qn_status cli_demo_json_faults(json_t **rows, const char *path, qn_error *err)
{
    qn_store_groups groups = {0};
    const qn_status status = read_rates(&groups, path, err);
    *rows = status == QN_OK ? json_array() : NULL;
    for (size_t i = 0; status == QN_OK && i < groups.n; i++) {
        const qn_store_group *g = &groups.list[i];
        const qn_interval rate = cli_group_rate(g, SDC1, &how);
        json_array_append_new(*rows, json_pack("{s:o, s:i, s:I, s:f, s:f, s:f}", "layer", cli_json_string(g->layer),
                                               "bit", g->bit, "faults", (json_int_t)g->n_faults, "sdc1", rate.rate,
                                               "low", rate.low, "high", rate.high));
    }
    qn_store_groups_free(&groups);
    return status;
}
