/* What inject and show print of a store: rates with intervals, by groups, and the worst sites. */
#ifndef QN_CLI_FAULT_REPORT_H
#define QN_CLI_FAULT_REPORT_H

#include "cli/cli.h"
#include "fault/store.h"

/* How intervals are made. */
typedef struct cli_interval_how {
    double confidence;
    bool clopper;
} cli_interval_how;

/* "1200", "infinite" for INT64_MAX. `text` has 64 bytes. */
const char *cli_whole(char text[64], int64_t n);
/* "3.2 s", "4 min 05 s", "3 h 20 min" */
enum { CLI_DURATION_MAX = 32 };
const char *cli_duration(char text[CLI_DURATION_MAX], double seconds);

/* What the campaign is, how far it is, and the fault-free runs: the error of quantization. */
qn_status cli_report_about(qn_store *store, qn_error *err);
/* Rates over all faults. */
qn_status cli_report_total(qn_store *store, const cli_interval_how *how, qn_error *err);
/* A row for each group; `by` is not 0. */
qn_status cli_report_groups(qn_store *store, unsigned by, const cli_interval_how *how, qn_error *err);
qn_status cli_report_worst(qn_store *store, size_t n, qn_error *err);
qn_status cli_report_csv(qn_store *store, unsigned by, const cli_interval_how *how, qn_error *err);
/* All of it as members of `object`; by 0: no groups, worst 0: no sites. */
qn_status cli_report_json(json_t *object, qn_store *store, unsigned by, size_t worst, const cli_interval_how *how,
                          qn_error *err);

/* -- inside: shared by fault_report.c and fault_report_data.c -- */

/* Outcomes in the order of their bits. `text` as people read it, `column` as in the store. */
typedef struct cli_outcome {
    unsigned flag;
    const char *text, *column;
} cli_outcome;
extern const cli_outcome cli_outcomes[QN_OUTCOME_COUNT];
enum { CLI_ALL_OUTCOMES = (1 << QN_OUTCOME_COUNT) - 1, CLI_N_BY = 8 };
/* Those of them that the store's campaign may have: proven ones with --prove alone, detected ones on links. */
unsigned cli_outcomes_of(const qn_store *store);
/* May it have pairs of that end? Of what is detected, on links. */
bool cli_has_end(unsigned outcomes, int end);
extern const char *const cli_by_names[CLI_N_BY];
extern const char *const cli_end_names[QN_FAULT_N_ENDS]; /* NULL for what is not counted */
/* The part of a group's name that `by` number `key` asks for; "" for none. `text` has room for a number. */
const char *cli_group_key(const qn_store_group *group, int key, char text[32]);
qn_interval cli_group_rate(const qn_store_group *group, int outcome, const cli_interval_how *how);

#endif
