/* A pipeline in one process: the workers of all stages, real messages between them, virtual time. Its bytes and results
 * are those of the same plan and choices over MPI, where a worker runs on each rank. */
#ifndef QN_LINK_VIRTUAL_WORKERS_H
#define QN_LINK_VIRTUAL_WORKERS_H

#include "link/adapt.h"
#include "link/virtual.h"
#include "link/virtual_spec.h"
#include "link/worker.h"

/* Where items come from and go to; all calls in the order of items.
 *  read   items first to first + n - 1: inputs, one pointer per input of the network, valid until the next call
 *  write  the worker of the last stage has the outputs of these */
typedef struct qn_virtual_ends {
    void *context;
    qn_status (*read)(void *context, int64_t first, int64_t n, const float *const **inputs, qn_error *err);
    qn_status (*write)(void *context, int64_t first, int64_t n, const qn_worker *last, qn_error *err);
} qn_virtual_ends;

typedef struct qn_virtual_workers {
    const qn_plan *plan;
    const qn_virtual_spec *spec;
    int64_t n_items;
    qn_virtual_ends ends;
    qn_worker **workers;    /* n_stages */
    qn_virtual_link *links; /* n_stages - 1 */
    qn_virtual run;
    qn_adapt *adapt;
    int64_t *macs;  /* per stage, of an item */
    size_t **given; /* [n_stages - 1]: the choice of each message */
    struct qn_virtual_message *messages;
    int64_t *told; /* per link: messages that the policy knows of */
    qn_arena arena;
} qn_virtual_workers;

/* Everything is made, and plan, cuts and spec must outlive it. Errors: those of qn_worker_create, qn_adapt_create and
 * qn_virtual_create. */
qn_status qn_virtual_workers_create(qn_virtual_workers *all, const qn_cuts *cuts, const qn_plan *plan,
                                    const size_t *positions, const qn_virtual_spec *spec, int64_t n_items,
                                    const qn_virtual_ends *ends, qn_error *err);
/* All items from end to end. Errors: those of workers and ends, and of qn_virtual_run. */
qn_status qn_virtual_workers_run(qn_virtual_workers *all, qn_error *err);
void qn_virtual_workers_free(qn_virtual_workers *all);

/* Items of micro-batch m. */
int64_t qn_virtual_workers_items(const qn_virtual_workers *all, int64_t m);

#endif
