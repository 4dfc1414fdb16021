/* Integers: what their codes and their fits share. */
#ifndef QN_FORMAT_INT_H
#define QN_FORMAT_INT_H

#include "quern/format.h"

/* Least and greatest code of an integer format. */
void qn_int_range(const qn_format *f, int32_t *lo, int32_t *hi);

/* Parameters by the format's fit (int_fit.c). As the hooks of qn_format_row. */
void qn_int_from_range(qn_params *p, const qn_format *f, double lo, double hi);
bool qn_int_from_values(qn_params *p, const qn_format *f, double *x, int64_t n);

#endif
