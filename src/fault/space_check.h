/* Checks of fault sets that need no targets. Inside the fault room. */
#ifndef QN_FAULT_SPACE_CHECK_H
#define QN_FAULT_SPACE_CHECK_H

#include "fault/space_plan.h"

/* QN_EINVAL for what is out of range or contradicts itself. `where` names the set. */
qn_status qn_space_check_set(const qn_fault_set *set, const char *where, qn_error *err);

#endif
