/* The part of quern inspect that tells of accumulators. */
#ifndef QN_CLI_INSPECT_WIDTHS_H
#define QN_CLI_INSPECT_WIDTHS_H

#include "cli/session.h"

/* widths is NULL for float networks, and where the integer engine cannot run the network: then `reason` says why. */
typedef struct cli_widths {
    qn_widths *widths;
    qn_error reason;
} cli_widths;

/* Prove, and observe where --data is given. */
cli_exit cli_find_widths(const cli_args *args, const qn_model *model, cli_widths *widths);
void cli_print_widths(const cli_widths *widths);
void cli_json_widths(json_t *object, const cli_widths *widths);

#endif
