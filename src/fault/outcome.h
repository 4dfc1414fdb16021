/* Outcomes of (fault, image) pairs. Inside the fault room. Classes after Li et al. (SC 2017) and doc/faults.md. */
#ifndef QN_FAULT_OUTCOME_H
#define QN_FAULT_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, bit, text, column): flags of a pair. Kept in stores: never renumbered. Of MASKED, TOLERATED, SDC1,
 * NONFINITE, PROVEN and DETECTED exactly one is set. */
#define QN_OUTCOME_LIST(X)                                                                                             \
    X(QN_OUTCOME_MASKED, 0, "masked", "masked")          /* proven: outputs are the same bytes */                      \
    X(QN_OUTCOME_TOLERATED, 1, "tolerated", "tolerated") /* outputs differ, same top-1 (RMSE within the threshold) */  \
    X(QN_OUTCOME_SDC1, 2, "SDC-1", "sdc1")               /* another top-1 (RMSE beyond the threshold) */               \
    X(QN_OUTCOME_SDC5, 3, "SDC-5", "sdc5")               /* the new top-1 is not among golden's first five */          \
    X(QN_OUTCOME_SDC10, 4, "SDC-10%",                                                                                  \
      "sdc10") /* softmax probability of golden's top-1 changed by more than 10 % of it */                             \
    X(QN_OUTCOME_SDC20, 5, "SDC-20%", "sdc20")                                                                         \
    X(QN_OUTCOME_CRITICAL, 6, "critical", "critical")     /* golden was right, this is wrong; needs labels */          \
    X(QN_OUTCOME_NONFINITE, 7, "non-finite", "nonfinite") /* an output is NaN or infinite, or a parameter refused */   \
    X(QN_OUTCOME_PROVEN, 8, "proven", "proven") /* masked or tolerated, none of SDC-5 to critical: a bound says so */  \
    X(QN_OUTCOME_DETECTED, 9, "detected", "detected") /* of frames: refused by who received it */
enum {
#define QN_OUTCOME_ENUM(name, bit, text, column) name = 1 << bit,
    QN_OUTCOME_LIST(QN_OUTCOME_ENUM)
#undef QN_OUTCOME_ENUM
        QN_OUTCOME_COUNT = 10
};

/* What is known of the fault-free run of one image. */
typedef struct qn_golden {
    const float *outputs; /* n of them: those of the program's first output are the logits */
    int top1, label;      /* label -1: none */
    int top5[5];          /* best first; -1 beyond the classes */
    double probability;   /* softmax of top1 */
} qn_golden;
/* n >= 1 logits. top-1 is the greatest, ties to the lowest index; NaN is less than anything. label -1: none. `outputs` must
 * outlive golden. */
void qn_golden_make(qn_golden *golden, const float *outputs, int n, int label);

/*  flags   QN_OUTCOME_*
 *  rmse    over the outputs, in double; NaN where non-finite */
typedef struct qn_outcome {
    unsigned flags;
    double rmse;
} qn_outcome;
/* outputs: n as golden has, NULL: masked (what is not NULL differs somewhere, if only in outputs beyond the first).
 * rmse_threshold 0: outputs are classes. With non-finite outputs, which a user can see, no SDC flag is set; critical is where the
 * top-1 is wrong or NaN. The same bits on every machine. Golden outputs must be finite for SDC-10 % and SDC-20 % to be told. */
qn_outcome qn_outcome_of(const qn_golden *golden, const float *outputs, int n, double rmse_threshold);
/* Changes of outputs that settle an outcome: the greatest d for which outputs that differ from golden's by no more
 * than d each are tolerated, with no SDC flag, not critical and finite. Below 0: none. Where outputs are classes the
 * probability of top1 is told from the odds, which change by a factor of e^(2d) at most; the result is on the safe
 * side of all roundings. The same bits on every machine. */
double qn_outcome_allowance(const float *outputs, int n, double rmse_threshold);
/* Allowances are no greater, but for images whose top-1 is all but certain. */
static inline double qn_outcome_most_allowance(double rmse_threshold)
{
    return rmse_threshold > 0 ? rmse_threshold : 20;
}

#endif
