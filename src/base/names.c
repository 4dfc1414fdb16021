/* Names that users write. */
#include "base/names.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

bool qn_glob_matches(const char *glob, const char *text)
{
    return text != NULL && fnmatch(glob, text, 0) == 0;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b, both shorter than 64 characters. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    int rows[3][LONGEST] = {{0}};
    int n_a = (int)strlen(a), n_b = (int)strlen(b);
    if (n_a >= LONGEST || n_b >= LONGEST) {
        return LONGEST;
    }
    for (int j = 0; j <= n_b; j++) {
        rows[0][j] = j;
    }
    for (int i = 1; i <= n_a; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n_b; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            int best = above[j - 1] + (ca != cb);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < best) {
                best = two_above[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

/* Edits, less the letters that both begin with: "fp9" is nearer to "fp8e4m3" than to "int8". */
static int distance_of(const char *word, const char *name)
{
    int same = 0;
    while (word[same] != '\0' && tolower((unsigned char)word[same]) == tolower((unsigned char)name[same])) {
        same++;
    }
    return edit_distance(word, name) - same;
}

int qn_nearest_name(const char *word, const char *const *names, int n)
{
    int best = 0, best_distance = distance_of(word, names[0]);
    for (int i = 1; i < n; i++) {
        int distance = distance_of(word, names[i]);
        if (distance < best_distance) {
            best = i, best_distance = distance;
        }
    }
    return best;
}

void qn_list_names(char *list, size_t n_bytes, const char *const *names, int n)
{
    size_t used = 0;
    list[0] = '\0';
    for (int i = 0; i < n && used < n_bytes; i++) {
        used += (size_t)snprintf(list + used, n_bytes - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
}
