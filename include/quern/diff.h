/* Where two networks part: their values compared by name, item by item. */
#ifndef QUERN_DIFF_H
#define QUERN_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/arithmetic.h"
#include "quern/calibrate.h" /* qn_progress_fn */
#include "quern/engine.h"

/*  arithmetic  of a and of b, instead of what the model says; NULL: the model's own. A model with one is run by the integer
 *              engine, others by the engine that qn_engine_choose gives
 *  n_threads   0: the processors this process may use
 *  progress    may be NULL; called by several threads, one at a time
 * What pointers point to belongs to the caller. */
typedef struct qn_diff_options {
    size_t struct_size;
    const qn_arithmetic *arithmetic[2];
    qn_cpu cpu;
    int n_threads;
    qn_progress_fn progress;
    void *progress_ctx;
} qn_diff_options;
/* Errors: QN_EINVAL (QUERN_CPU). */
QN_API QN_NODISCARD qn_status qn_diff_options_init(qn_diff_options *options, qn_error *err);

/* A value that both networks have, over all items. Codes are compared as the reals they stand for.
 *  value_name   in a; other_name in b, which is another only for outputs
 *  node_name, op_type   the node of a that makes it; "" for inputs
 *  n_elems      compared; n_different: not equal (NaN equals NaN)
 *  sqnr_db      10 log10(sum a^2 / sum (a - b)^2), +inf when equal
 *  greatest     |a - b| of element `element` of item `item`, the first of the greatest; there are a and b
 *  steps        greatest in steps of the code, where both have the same integer code; else 0 */
typedef struct qn_diff_row {
    const char *value_name, *other_name, *node_name, *op_type;
    bool is_output;
    int64_t n_elems, n_different;
    double sqnr_db;
    double greatest;
    int64_t item, element;
    float a, b;
    double steps;
} qn_diff_row;
typedef struct qn_diff qn_diff;

/* Run both over a set. Errors: QN_ESHAPE when inputs or outputs differ in number or shape, naming both; QN_EUNSUPPORTED for
 * models of a fixed batch other than 1; QN_EINVAL for an arithmetic of a float model; those of making and running programs; QN_EINVAL, QN_ECANCELED, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_diff_measure(qn_diff **diff, const qn_model *a, const qn_model *b,
                                              const qn_dataset *data, const qn_diff_options *options, qn_error *err);
QN_API void qn_diff_free(qn_diff *diff);
/* In the order in which a makes them; NULL beyond the last. */
QN_API size_t qn_diff_count(const qn_diff *diff);
QN_API const qn_diff_row *qn_diff_at(const qn_diff *diff, size_t index);
/* Of a (0) and b (1). */
QN_API qn_engine qn_diff_engine(const qn_diff *diff, int side);

#endif
