/* Spelling: which of the known names a wrong one may have meant. */
#ifndef QN_BASE_NEAREST_H
#define QN_BASE_NEAREST_H

#include <stddef.h>

/* Edit distance (Levenshtein); of texts longer than 63 bytes, 63. */
size_t qn_edit_distance(const char *a, const char *b);
/* The greatest distance at which a wrong name still is a misspelling. */
size_t qn_edit_tolerance(const char *wrong);
/* The nearest of names that `next` yields until NULL; NULL when none is near. */
const char *qn_nearest_name(const char *wrong, const char *(*next)(void *ctx), void *ctx);

#endif
