/* Where the buffers of a run lie in one piece of memory: those that live at the same time do not overlap, and the
 * piece is as small as can be found. */
#ifndef QN_EXPORT_C_PLAN_MEMORY_H
#define QN_EXPORT_C_PLAN_MEMORY_H

#include <stdint.h>

#include "base/error.h"

/*  n_bytes      > 0
 *  first, last  steps from which and up to which it is needed, both included
 *  offset       where it lies, set by the plan */
typedef struct qn_plan_buffer {
    int64_t n_bytes, offset;
    int first, last;
} qn_plan_buffer;

/*  peak   bytes of the whole
 *  bound  the greatest number of bytes that live at one step: no plan is smaller */
typedef struct qn_plan_memory {
    int64_t peak, bound;
} qn_plan_memory;

/* Set the offsets of n buffers, from 0 on. The same input gives the same plan. QN_ENOMEM. */
qn_status qn_plan_memory_make(qn_plan_memory *plan, qn_plan_buffer *buffers, int n, qn_error *err);

#endif
