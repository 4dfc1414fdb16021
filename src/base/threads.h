/* Threads: work is split over independent items (images, faults), never inside a layer. */
#ifndef QN_BASE_THREADS_H
#define QN_BASE_THREADS_H

#include <stdint.h>

#include "base/error.h"

/* Work on item `item` in worker `worker` (0 <= worker < n_threads; two items never run at once in one worker).
 * Errors go to `err`, which is private to the worker; the one of the lowest failing item wins, and no further
 * items are started. */
typedef qn_status (*qn_work_fn)(void *ctx, int worker, int64_t item, qn_error *err);

/* Run fn for items 0..n_items-1 on n_threads threads (1 = in the caller). Items are handed out in order.
 * Library threads (OpenMP inside oneDNN) are held to one per worker. */
qn_status qn_parallel_for(int n_threads, int64_t n_items, qn_work_fn fn, void *ctx, qn_error *err);

/* Processors this process may run on, at least 1. */
int qn_processor_count(void);

#endif
