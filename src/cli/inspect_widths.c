#include "cli/inspect_widths.h"

#include <stdio.h>

static qn_status observe(const cli_args *args, const qn_model *model, qn_widths *widths, const qn_preprocess *pre,
                         qn_error *err)
{
    qn_dataset *data = NULL;
    QN_TRY(cli_open_data(&data, args, model, pre, err));
    cli_progress progress;
    cli_progress_start(&progress, args, "observing");
    qn_status status = qn_widths_observe(widths, data, cli_threads(args), cli_progress_step, &progress, err);
    cli_progress_end(&progress);
    qn_dataset_close(data);
    return status;
}

cli_exit cli_find_widths(const cli_args *args, const qn_model *model, cli_widths *widths)
{
    const bool observes = cli_has(args, "data");
    cli_record record;
    qn_preprocess pre;
    qn_error err;
    qn_error_init(&err);
    qn_error_init(&widths->reason);
    if (observes && !qn_model_is_quantized(model)) {
        return cli_misuse("--data observes the sums of a quantized model, which %s is not", args->positional[0]);
    }
    for (const cli_option *option = cli_preprocess_options; !observes && option->name != NULL; option++) {
        if (cli_has(args, option->name)) {
            return cli_misuse("--%s is how to read --data, which is missing", option->name);
        }
    }
    if (!qn_model_is_quantized(model)) {
        return CLI_OK;
    }
    if (qn_widths_prove(&widths->widths, model, &widths->reason) != QN_OK) {
        return observes || widths->reason.status == QN_ENOMEM ? cli_fail(&widths->reason) : CLI_OK;
    }
    if (!observes) {
        return CLI_OK;
    }
    if (cli_record_of_model(&record, model, args->positional[0], &err) != QN_OK) {
        return cli_fail(&err);
    }
    cli_exit code = cli_preprocess(args, &record, 1, &pre);
    if (code == CLI_OK && observe(args, model, widths->widths, &pre, &err) != QN_OK) {
        code = cli_fail(&err);
    }
    return code;
}

void cli_print_widths(const cli_widths *widths)
{
    char op[CLI_NAME_MAX], output[CLI_NAME_MAX], seen[CLI_COUNT_MAX];
    if (widths->widths == NULL || qn_widths_at(widths->widths, 0) == NULL) {
        if (widths->reason.status != QN_OK) {
            char reason[CLI_NAME_MAX];
            printf("\nsums        unknown: %s\n", cli_name(reason, widths->reason.message));
        }
        return;
    }
    const int64_t n_items = qn_widths_n_items(widths->widths);
    printf("\n%-18s %-28s %5s %7s %7s %9s  %s\n", "sums of", "output", "bias", "proven", "seen", "headroom", "bits");
    const qn_layer_width *layer;
    for (size_t i = 0; (layer = qn_widths_at(widths->widths, i)) != NULL; i++) {
        snprintf(seen, sizeof seen, "%d", layer->observed_bits);
        printf("%-18s %-28s %5d %7d %7s %9d  of %d, channel %lld of %lld%s\n", cli_name(op, layer->op_type),
               cli_name(output, layer->output_name), layer->bias_bits, layer->proven_bits, n_items > 0 ? seen : "-",
               layer->headroom_bits, layer->accumulator_bits, (long long)layer->worst_channel,
               (long long)layer->n_channels, layer->headroom_bits < 0 ? ": may overflow" : "");
    }
    if (n_items > 0) {
        printf("seen        %lld items\n", (long long)n_items);
    }
}

void cli_json_widths(json_t *object, const cli_widths *widths)
{
    if (widths->widths == NULL) {
        return;
    }
    json_t *sums = json_array();
    const bool seen = qn_widths_n_items(widths->widths) > 0;
    const qn_layer_width *layer;
    for (size_t i = 0; (layer = qn_widths_at(widths->widths, i)) != NULL; i++) {
        json_t *bits = json_array();
        for (int64_t k = 0; k < layer->n_channels; k++) {
            json_array_append_new(bits, json_integer(layer->channel_bits[k]));
        }
        json_t *row =
            json_pack("{s:o, s:o, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:o}", "name",
                      cli_json_string(layer->node_name), "output", cli_json_string(layer->output_name), "op",
                      layer->op_type, "accumulator_bits", layer->accumulator_bits, "proven_bits", layer->proven_bits,
                      "bias_bits", layer->bias_bits, "headroom_bits", layer->headroom_bits, "worst_channel",
                      (json_int_t)layer->worst_channel, "proven_min", (json_int_t)layer->proven_min, "proven_max",
                      (json_int_t)layer->proven_max, "bound", (json_int_t)layer->bound, "channel_bits", bits);
        if (seen) {
            json_object_set_new(row, "observed_bits", json_integer(layer->observed_bits));
            json_object_set_new(row, "observed_min", json_integer((json_int_t)layer->observed_min));
            json_object_set_new(row, "observed_max", json_integer((json_int_t)layer->observed_max));
        }
        json_array_append_new(sums, row);
    }
    json_object_set_new(object, "sums", sums);
    json_object_set_new(object, "items_seen", json_integer((json_int_t)qn_widths_n_items(widths->widths)));
}
