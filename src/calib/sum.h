/* Sums that do not depend on the order of their terms, so that they are the same for any number of threads.
 *
 * A term is cut exactly into digits of base 2^32 at fixed places; three places are kept, the lowest being where the last
 * bit of the greatest term lies. What a term has below that is cut off, and what lies below depends on the greatest
 * term alone. The error is less than one unit in the last place of the greatest term for each term. */
#ifndef QN_CALIB_SUM_H
#define QN_CALIB_SUM_H

#include <stdbool.h>
#include <stdint.h>

enum { QN_SUM_PLACES = 3 };

/* Zeroed, it is 0. digit[k] counts units of 2^(32 (place + k)); room for 2^31 terms. */
typedef struct qn_sum {
    int64_t digit[QN_SUM_PLACES];
    int32_t place;
    bool used;
} qn_sum;

/* x is finite. */
void qn_sum_add(qn_sum *sum, double x);
void qn_sum_join(qn_sum *sum, const qn_sum *other);
/* Rounded a few times; a function of the digits alone. */
double qn_sum_value(const qn_sum *sum);

#endif
