/* Counting elements in bins while a network runs, in memory that does not grow.
 *
 * Negative and positive elements have QN_TALLY_HALF bins each, [k, k+1) * 2^e, with the least e >= -126 for which the
 * greatest magnitude of their sign is below 2^(e + 11): the counts depend on the elements alone, in whatever order they
 * came, since going from e to e + 1 adds bins in pairs. So do the counts of max(x, 0), which are those of the positive
 * side. The caller knows the range of the elements beforehand. */
#ifndef QN_CALIB_TALLY_H
#define QN_CALIB_TALLY_H

#include "calib/calib.h"
#include "quern/fit.h"

enum { QN_TALLY_LENGTH = 2 * QN_TALLY_HALF + QN_TALLY_SPARE };

typedef struct qn_tally {
    int64_t n, n_zeros;  /* elements, zeros */
    int32_t exponent[2]; /* of the negative and the positive bins */
    bool used[2];
    int64_t *counts; /* [QN_TALLY_LENGTH], all zero at first; borrowed */
} qn_tally;

/* Let it take elements from min to max, both finite. */
void qn_tally_reach(qn_tally *tally, float min, float max);
/* Where to count; within what was reached. The caller adds to n and n_zeros. */
qn_count_grid qn_tally_grid(const qn_tally *tally);
/* Add what `other` holds, whose counts change. */
void qn_tally_join(qn_tally *tally, qn_tally *other);
/* The histogram of the elements, or of max(x, 0), whose exact range is min..max. Errors: QN_ENOMEM. */
qn_status qn_tally_histogram(qn_histogram **histogram, const qn_tally *tally, bool positive, float min, float max,
                             qn_error *err);

#endif
