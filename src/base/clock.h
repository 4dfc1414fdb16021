/* Seconds of a clock that nobody sets. */
#ifndef QN_BASE_CLOCK_H
#define QN_BASE_CLOCK_H

#include <time.h>

static inline double qn_now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
