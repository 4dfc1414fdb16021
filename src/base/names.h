/* Names that users write: globs, and what they may have meant. */
#ifndef QN_BASE_NAMES_H
#define QN_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Does the text match the shell's pattern (*, ?, [...], a backslash escapes)? Never for NULL. */
bool qn_glob_matches(const char *glob, const char *text);
/* Index of the name that is nearest to `word` by edits, case aside, the first of several; n >= 1. */
int qn_nearest_name(const char *word, const char *const *names, int n);
/* "a, b, c" of n names, cut at n_bytes >= 1. */
void qn_list_names(char *list, size_t n_bytes, const char *const *names, int n);

#endif
