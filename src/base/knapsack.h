/* The multiple-choice knapsack: one of several choices for each group, the least damage within a budget. */
#ifndef QN_BASE_KNAPSACK_H
#define QN_BASE_KNAPSACK_H

#include <stdint.h>

#include "base/error.h"

/*  cost    >= 0; the sum of all is below 2^63
 *  damage  finite, >= 0 */
typedef struct qn_choice {
    int64_t cost;
    double damage;
} qn_choice;

enum { QN_KNAPSACK_STATES = 1 << 15 };

/* Choose for n_groups groups of n_choices each: choices[g * n_choices + k].
 *  chosen  n_groups indices; of equal damage the lesser cost
 * Exact as long as no more than QN_KNAPSACK_STATES partial sums are worth keeping at a group; beyond that, evenly spaced
 * ones are kept, and the result is within the budget all the same. Errors: QN_EINVAL when nothing fits, QN_ENOMEM. */
qn_status qn_knapsack_choose(int *chosen, const qn_choice *choices, int n_groups, int n_choices, int64_t budget,
                             qn_error *err);

#endif
