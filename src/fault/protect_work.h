/* What the files that make a choice share. */
#ifndef QN_FAULT_PROTECT_WORK_H
#define QN_FAULT_PROTECT_WORK_H

#include "fault/protect.h"

typedef struct {
    qn_fault_tally all, choosing, judging, left, left_all;
    bool exhausted, plain; /* plain: all its faults strike one bit */
    double weight, open;   /* of one hit, in the rate, by the faults that choose; share of its faults not drawn */
} qn_protect_sums;

/* Per target: pairs and hits of faults that stay in the range of the value, by the faults that choose. */
typedef struct {
    double pairs, hits;
} qn_protect_stays;

typedef struct {
    qn_protection *p;
    const qn_store_stratum *strata;
    int n_strata;
    qn_protect_sums *sums;
    qn_protect_stays *stays;
    double (*benefit)[QN_N_SCHEMES]; /* [key][scheme]: rate removed */
    double (*alarms)[QN_N_SCHEMES];  /* rate of pairs detected */
    double *share;                   /* [key]: rate added */
    int64_t *hits;                   /* [key]: what it is made of */
    double *open;                    /* [key]: share of the pairs that were not drawn */
    double *n;                       /* [key]: faults that choose */
    double (*covered)[QN_N_SCHEMES]; /* [key][scheme]: of them, those that it would end or clamp */
    bool *seen;
    double detected;
} qn_protect_work;

/* Passes over the faults of the store, in this order.
 *  look    tallies of all; ranges of values, and into struck[n_targets] which targets have faults. Needs keys.n_targets
 *  divide  halves of the tallies; harm within the range. Needs keys
 *  weigh   benefit, alarms, share, hits, seen; faults that nothing helps against. Needs weights
 *  judge   what is left, and detected. Needs scheme_of. Memory from the protection's arena */
qn_status qn_protect_look(qn_protect_work *w, bool *struck, qn_error *err);
qn_status qn_protect_divide(qn_protect_work *w, qn_error *err);
qn_status qn_protect_weigh(qn_protect_work *w, qn_error *err);
qn_status qn_protect_judge(qn_protect_work *w, qn_error *err);
/* "sdc1" of the number of an outcome. */
const char *qn_protect_column(int outcome);

#endif
