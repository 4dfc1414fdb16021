/* A policy over ranks: each decides for the link behind its stage alone, from what that link did; rank 0 gathers. And
 * --throttle, which makes the links of real processes slower. */
#ifndef QN_CLI_PIPELINE_POLICY_H
#define QN_CLI_PIPELINE_POLICY_H

#include "cli/pipeline_monitor.h"
#include "link/adapt_transport.h"

#define CLI_PIPELINE_POLICY_OPTIONS                                                                                    \
    {"policy", 0, "POLICY", "fixed, quern, heuristic, heuristic2 or controller (default: the plan's, else fixed)"},    \
        {"rate", 0, "R", "items per second that the policy holds (default: the plan's)"},                              \
        {"window", 0, "W", "micro-batches between two decisions (default: the plan's, else 10)"},                      \
        {"accuracy-drop", 0, "SHARE",                                                                                  \
         "most top-1 that policy quern may spend on all links: 0.5% (default: the plan's)"},                           \
    {                                                                                                                  \
        "policy-log", 0, "FILE", "write a CSV line for each window and link: what was measured and chosen"             \
    }

/* --policy, --rate, --window and --accuracy-drop over what the plan says. CLI_USAGE for what they cannot be. */
cli_exit cli_pipeline_policy(const cli_args *args, qn_plan *plan);

typedef struct cli_rank_policy {
    const qn_plan *plan;
    size_t stage;
    qn_adapt *adapt; /* NULL: no link behind */
    bool throttled;
    qn_virtual_spec spec;
    qn_adapt_transport held;
    qn_transport outer;
    double began;
    cli_monitor_link *links; /* rank 0, gathered */
} cli_rank_policy;

/* This rank's policy. An accuracy that may be spent on all links is parted equally among them. Errors: those of
 * qn_adapt_create and, with --throttle, qn_virtual_spec_read; QN_ECONFLICT: throttled links that share a medium. */
qn_status cli_rank_policy_open(cli_rank_policy *p, const cli_args *args, const qn_cuts *cuts, const qn_plan *plan,
                               const size_t *positions, int rank, qn_error *err);
/* The transport to use: the real one, or one that throttles it. */
qn_status cli_rank_policy_transport(cli_rank_policy *p, const qn_transport **used, const qn_transport *real,
                                    qn_error *err);
/* Time is 0 now; at about the same moment on all ranks. */
void cli_rank_policy_begin(cli_rank_policy *p);
/* For qn_pipeline_options. What a throttled link took it tells itself. */
qn_status cli_rank_policy_choose(cli_rank_policy *p, uint64_t sequence, size_t *choice, qn_error *err);
void cli_rank_policy_sent(cli_rank_policy *p, int64_t items, size_t n_bytes, double seconds);
/* All ranks, after a run that ended well: at rank 0 `links` has the windows of all links. Errors: QN_ENOMEM, those of
 * ranks. */
qn_status cli_rank_policy_gather(cli_rank_policy *p, qn_error *err);
/* Rank 0, then: windows, unless --json or without a policy, and --policy-log. Errors: those of cli_monitor_write. */
qn_status cli_rank_policy_report(const cli_rank_policy *p, const cli_args *args, int64_t n_items, qn_error *err);
void cli_rank_policy_close(cli_rank_policy *p);

#endif
