/* Mixed precision under way; shared by mixed_precision.c and mixed_search.c. */
#ifndef QN_PTQ_MIXED_H
#define QN_PTQ_MIXED_H

#include "ptq/knapsack.h"
#include "ptq/study.h"

enum { QN_MIXED_SETTING_MAX = 96 };

/* An assignment that was evaluated; widths are indices into options.widths. */
typedef struct qn_mixed_trial {
    struct qn_mixed_trial *next;
    const int *assigned;
    qn_study_result result;
} qn_mixed_trial;

/*  units     layers with weights only
 *  settings  "weights=int4" per width
 *  choices   n_units * n_widths costs and damages
 *  n_trials  counts assignments that were evaluated */
struct qn_mixed {
    qn_arena arena;
    qn_study *study;
    qn_mixed_options options;
    qn_study_unit *units;
    int n_units;
    char settings[QN_MIXED_MAX_WIDTHS][QN_MIXED_SETTING_MAX];
    qn_choice *choices;
    double *only_sqnr_db; /* as choices */
    qn_mixed_row *rows;
    qn_mixed_summary about;
    qn_mixed_trial *trials, *best;
};

static inline const qn_choice *qn_mixed_choice(const qn_mixed *mixed, int unit, int width)
{
    return &mixed->choices[(size_t)unit * (size_t)mixed->options.n_widths + (size_t)width];
}

int64_t qn_mixed_cost_of(const qn_mixed *mixed, const int *assigned);
/* Evaluate an assignment, unless it was already or trials are used up, and keep the best. `quantized` and `report`: NULL,
 * or what it makes, in any case. */
qn_status qn_mixed_try(qn_mixed *mixed, const int *assigned, qn_model **quantized, qn_quantize_report **report,
                       qn_error *err);
/* From the best assignment on, swap widths of two layers (or widen one) while that makes it better. */
qn_status qn_mixed_improve(qn_mixed *mixed, qn_error *err);

#endif
