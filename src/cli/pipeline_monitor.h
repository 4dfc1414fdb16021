/* What a policy did in a pipeline, window by window: the lines of a run's report, and the file of --policy-log. */
#ifndef QN_CLI_PIPELINE_MONITOR_H
#define QN_CLI_PIPELINE_MONITOR_H

#include "cli/cli.h"
#include "link/adapt.h"

/* A link's windows. They are the caller's; choices are those of its plan. */
typedef struct cli_monitor_link {
    const qn_link_choice *choices;
    const qn_adapt_window *windows;
    size_t n_windows;
} cli_monitor_link;

/* "2.51 M": bits per second to three digits; "-" when nothing was sent. */
const char *cli_monitor_bandwidth(char text[CLI_COUNT_MAX], double bytes, double seconds);
/* Top-1 expected to be lost, over all links: the mean of their windows' plans, by items; NaN when not known. */
double cli_monitor_loss(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items);

/* Items a window's micro-batches have, of n_items in all. */
int64_t cli_monitor_items(const qn_adapt_window *window, int64_t microbatch, int64_t n_items);

/* The CSV: one line for each window and link, links and windows counted from 0. Errors: QN_EEXIST, QN_EIO, QN_ENOMEM. */
qn_status cli_monitor_write(const char *path, bool overwrite, const cli_monitor_link *links, size_t n_links,
                            const qn_plan *plan, int64_t n_items, qn_error *err);
/* The same as a table on stdout; runs of windows with the same plan are one line. */
void cli_monitor_print(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items);
json_t *cli_monitor_json(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items);
/* "link 1 missed the rate ..." on stderr for each link whose windows could not hold the plan's rate: by how much. */
void cli_monitor_notes(const cli_args *args, const cli_monitor_link *links, size_t n_links, const qn_plan *plan,
                       int64_t n_items);

#endif
