/* The text in .npz files of reference vectors: 0-d string arrays, which the tensor room does not read. */
#ifndef QN_TESTS_NPZ_META_H
#define QN_TESTS_NPZ_META_H

#include <stdint.h>

/* The string array "member" (without .npy), its first element, as ASCII in memory that free() releases; the test fails if
 * there is none. */
char *qn_npz_text(const char *npz_path, const char *member);

/* Names of the members of the archive that end in `suffix`, without ".npy" and the suffix; ends with NULL.
 * qn_npz_names_free releases it. */
char **qn_npz_names(const char *npz_path, const char *suffix);
void qn_npz_names_free(char **names);

#endif
