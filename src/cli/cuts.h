/* quern cuts: what its table, its JSON and its summary are made of. */
#ifndef QN_CLI_CUTS_H
#define QN_CLI_CUTS_H

#include "cli/session.h"
#include "quern/cut_study.h"

enum { CLI_MAX_CHOICES = 64 };

/* listed: positions to show, places to part stages only; NULL study: times */
typedef struct cli_cuts {
    const char *file; /* of the model, as given */
    char sha256[65];
    qn_model *model;
    qn_cuts *cuts;
    qn_dataset *data;
    qn_tensor labels;
    char formats[CLI_MAX_CHOICES][QN_FORMAT_NAME_MAX];
    qn_link_choice choices[CLI_MAX_CHOICES];
    size_t n_choices;
    bool *listed;
    qn_cut_study *study;
    qn_cut_times times;
    int rounds;
} cli_cuts_state;

json_t *cli_cuts_json(const cli_args *args, const cli_cuts_state *s);
json_t *cli_cuts_times_json(const cli_args *args, const cli_cuts_state *s);
/* Places, and with --all positions that are none; or means over all places, of each choice. */
void cli_cuts_print(const cli_args *args, const cli_cuts_state *s);
void cli_cuts_print_summary(const cli_cuts_state *s);
void cli_cuts_print_times(const cli_cuts_state *s);

#endif
