/* Plans, inside: plan_read.c and plan_write.c know the file, plan_check.c what fits a network, plan_units.c texts of
 * numbers. What a stage needs of memory, and the bytes of a message, are counted here for all. */
#ifndef QN_LINK_PLAN_H
#define QN_LINK_PLAN_H

#include "base/error.h"
#include "base/memory.h"
#include "quern/plan.h"

/* A plan of nothing but defaults, with its arena. */
qn_status qn_plan_new(qn_plan *plan, qn_arena **arena, qn_error *err);

/* Texts that the parsers read back as the same number. */
enum { QN_NUMBER_MAX = 48 };
void qn_number_text(char text[QN_NUMBER_MAX], double value);
void qn_bandwidth_text(char text[QN_NUMBER_MAX], double bits_per_second);
void qn_latency_text(char text[QN_NUMBER_MAX], double seconds);
void qn_memory_text(char text[QN_NUMBER_MAX], int64_t bytes);
/* A decimal number and nothing else; neither NaN nor infinity. */
bool qn_number_parse(double *value, const char *text);

#endif
