/* Studies, inside the ptq room: the network with names that mean one node each, its calibration and its float logits, kept
 * over many quantizations. One thread works on a study; each evaluation uses options.n_threads. */
#ifndef QN_PTQ_STUDY_H
#define QN_PTQ_STUDY_H

#include "graph/model.h"
#include "ptq/ptq.h"
#include "quern/study.h"

/* A node that computes on codes with the Relus and Clips behind it that no other node reads past.
 *  globs     of the names of node and followers, escaped; n_globs of them
 *  n_weights elements of the coded weights, 0 for joins; macs: per item */
enum { QN_STUDY_FOLLOWERS = 4 };
typedef struct qn_study_unit {
    const char *name, *op_type, *output_name;
    const char *globs[1 + QN_STUDY_FOLLOWERS];
    int n_globs;
    int64_t n_weights, macs;
} qn_study_unit;

struct qn_study {
    qn_arena arena;
    qn_study_options options;
    qn_quantize_options how;
    qn_quantize_set *sets; /* how's, keep_float among them */
    size_t n_sets;
    qn_model *model;
    const qn_calibration *calibration;
    qn_calibration *own;
    qn_tensor logits;
    qn_evaluation reference;
    bool simulate;   /* evaluations are of single nodes: for those simulation is exact enough, and faster */
    bool quick;      /* leave out passes that run the network: many quantizations are only compared with each other */
    bool needs_data; /* but the recipe cannot do without */
    int64_t step, n_steps; /* evaluations done of those that progress is told of */
};

/* The units of a network that qn_quantize made of the study's. In the study's arena. */
qn_status qn_study_find_units(qn_study *study, const qn_model *quantized, qn_study_unit **units, size_t *n_units,
                              qn_error *err);
/* The glob that matches a name alone; NULL when out of memory. */
const char *qn_study_escape(qn_arena *arena, const char *name);
/* As qn_study_try, with further sets behind those of all quantizations. */
qn_status qn_study_try_sets(qn_study *study, const qn_quantize_set *sets, size_t n_sets, qn_study_result *result,
                            qn_model **quantized, qn_quantize_report **report, qn_error *err);

/* Why the node could be sensitive: from ranges, scales and the report of the whole quantization. `text` is "" when nothing
 * stands out. */
void qn_study_explain(const qn_study *study, const qn_model *quantized, const qn_quantize_report *report,
                      const char *node_name, char *text, size_t n);

#endif
