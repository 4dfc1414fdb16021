/* Rows of a sweep, kept as JSON: the file, the table and the Pareto fronts read the same objects. */
#ifndef QN_CLI_SWEEP_H
#define QN_CLI_SWEEP_H

#include "cli/study_args.h"

/* The object of a finished combination; NULL for one that is not among the rows. */
json_t *cli_sweep_find(const json_t *rows, const char *recipe_sha256, const char *weights, const char *activations);
/* The row of a combination that was measured, or of one that failed with `err`. */
json_t *cli_sweep_row(const char *recipe, const char *recipe_sha256, const char *weights, const char *activations,
                      const qn_study_result *result, const qn_error *err);
/* Set "pareto_sqnr" and "pareto_top1" of all rows: no other row is as small and as good, and better in one of the two. */
void cli_sweep_mark(json_t *rows);
void cli_sweep_print(const json_t *rows);

#endif
