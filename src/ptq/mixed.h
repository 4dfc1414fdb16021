/* Mixed precision under way; shared by mixed_precision.c and mixed_search.c. */
#ifndef QN_PTQ_MIXED_H
#define QN_PTQ_MIXED_H

#include "base/knapsack.h"
#include "ptq/study.h"

enum { QN_MIXED_SETTING_MAX = 96 };

/* What settings mean the input of a layer by: nodes that shape it, or the graph's input. n is 0 where its width is not to be
 * chosen. */
typedef struct qn_mixed_input {
    const char *globs[1 + QN_STUDY_FOLLOWERS];
    int n;
    int bits; /* as the study codes it */
} qn_mixed_input;

/* An assignment that was evaluated: indices of choices. Choice w * n_inputs + a is weights of widths[w] and an input of
 * activation_widths[a]. */
typedef struct qn_mixed_trial {
    struct qn_mixed_trial *next;
    const int *assigned;
    qn_study_result result;
} qn_mixed_trial;

/*  units     layers with weights only
 *  settings  "weights=int4" per width; input_settings "activations=uint4"
 *  n_inputs  widths of activations, at least 1
 *  choices   n_units * n_choices costs and damages
 *  n_trials  counts assignments that were evaluated */
struct qn_mixed {
    qn_arena arena;
    qn_study *study;
    qn_mixed_options options;
    qn_study_unit *units;
    int n_units;
    qn_mixed_input *inputs; /* as units */
    int n_inputs, n_choices;
    char settings[QN_MIXED_MAX_WIDTHS][QN_MIXED_SETTING_MAX];
    char input_settings[QN_MIXED_MAX_WIDTHS][QN_MIXED_SETTING_MAX];
    qn_choice *choices;
    double *only_sqnr_db; /* as choices */
    qn_mixed_row *rows;
    qn_mixed_summary about;
    qn_mixed_trial *trials, *best;
};

static inline const qn_choice *qn_mixed_choice(const qn_mixed *mixed, int unit, int choice)
{
    return &mixed->choices[(size_t)unit * (size_t)mixed->n_choices + (size_t)choice];
}

/* Append the sets that give a unit a choice; at most QN_MIXED_SETS_MAX of them. */
enum { QN_MIXED_SETS_MAX = 2 + QN_STUDY_FOLLOWERS };
size_t qn_mixed_add_sets(const qn_mixed *mixed, int unit, int choice, qn_quantize_set *sets, size_t n);
/* Bits of a unit's input with a choice. */
int qn_mixed_input_bits(const qn_mixed *mixed, int unit, int choice);
/* mixed_costs.c: the layers, their inputs, the costs of all choices. */
qn_status qn_mixed_find_layers(qn_mixed *mixed, qn_error *err);

/* NULL for an assignment that was not tried. */
const qn_mixed_trial *qn_mixed_find_trial(const qn_mixed *mixed, const int *assigned);
int64_t qn_mixed_cost_of(const qn_mixed *mixed, const int *assigned);
/* Evaluate an assignment, unless it was already or trials are used up, and keep the best. `quantized` and `report`: NULL,
 * or what it makes, in any case. */
qn_status qn_mixed_try(qn_mixed *mixed, const int *assigned, qn_model **quantized, qn_quantize_report **report,
                       qn_error *err);
/* From the best assignment on, swap widths of two layers (or widen one) while that makes it better. */
qn_status qn_mixed_improve(qn_mixed *mixed, qn_error *err);

#endif
