/* quern partition: what its table and its JSON are made of. */
#ifndef QN_CLI_PARTITION_H
#define QN_CLI_PARTITION_H

#include "cli/session.h"
#include "quern/cut_study.h"
#include "quern/partition.h"

/*  profiles    per type, pointing into `read`
 *  study       losses were measured now
 *  top1, agreement  of the plan as a whole, NaN when not measured; uncut_top1 of the network */
typedef struct cli_partition_state {
    const char *file;
    qn_model *model;
    qn_cuts *cuts;
    qn_devices devices;
    qn_device_links links;
    qn_device_profile read[QN_DEVICES_MAX_TYPES];
    const qn_device_profile *profiles[QN_DEVICES_MAX_TYPES];
    qn_cut_losses losses;
    char formats[QN_PLAN_MAX_CHOICES][QN_FORMAT_NAME_MAX];
    qn_link_choice choices[QN_PLAN_MAX_CHOICES];
    double *measured; /* losses and decibels of the study */
    qn_dataset *data;
    qn_tensor labels;
    qn_cut_study *study;
    qn_partition_options options;
    qn_partition partition;
    qn_plan plan;
    bool default_drop;
    int64_t items;
    double top1, uncut_top1, agreement;
} cli_partition_state;

void cli_partition_print(const cli_args *args, const cli_partition_state *s);
json_t *cli_partition_json(const cli_args *args, const cli_partition_state *s);
/* The plan's stages one after another over all items, every link as chosen; and the uncut network. */
qn_status cli_partition_measure(const cli_args *args, cli_partition_state *s, qn_error *err);

#endif
