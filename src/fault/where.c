/* Names, and what a change does to a code (doc/spec/arithmetic.md 7.1). */
#include <string.h>

#include "fault/fault.h"

static const char *const texts[] = {
#define QN_FAULT_WHERE_TEXT(name, value, text) [name] = text,
    QN_FAULT_WHERE_LIST(QN_FAULT_WHERE_TEXT)
#undef QN_FAULT_WHERE_TEXT
};

const char *qn_fault_where_text(qn_fault_where where)
{
    return (unsigned)where < QN_FAULT_N_WHERE ? texts[where] : NULL;
}

bool qn_fault_where_parse(qn_fault_where *where, const char *text)
{
    for (int i = 0; i < QN_FAULT_N_WHERE; i++) {
        if (strcmp(texts[i], text) == 0) {
            *where = (qn_fault_where)i;
            return true;
        }
    }
    return false;
}
