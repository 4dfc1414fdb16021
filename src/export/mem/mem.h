/* What the Verilog target takes from the one of memory images. */
#ifndef QN_EXPORT_MEM_MEM_H
#define QN_EXPORT_MEM_MEM_H

#include "export/target.h"

/* Test vectors are written as .mem files for so many items at most: they are read by simulators. */
enum { QN_MEM_VECTORS = 8 };
static inline int64_t qn_mem_vectors(const qn_export_job *job)
{
    return job->n_vectors < QN_MEM_VECTORS ? job->n_vectors : QN_MEM_VECTORS;
}
/* Are there vectors of this tensor: codes of its own, which an input or a layer makes? */
static inline bool qn_mem_has_vectors(const qn_export_tensor *t)
{
    return t->used && t->base < 0 && !t->real && t->constant == NULL;
}
/* The folder mem/vectors. */
qn_status qn_mem_write_vectors(qn_export_job *job, qn_error *err);
/* A name of the model for a line of comment: what is not printable as '?', long ones cut. */
enum { QN_MEM_NAME_MAX = 96 };
const char *qn_mem_name(char text[QN_MEM_NAME_MAX], const char *name);

#endif
