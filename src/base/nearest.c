#include "base/nearest.h"

#include <string.h>

size_t qn_edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1], n = strlen(b);
    if (n > LONGEST || strlen(a) > LONGEST) {
        return LONGEST;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] : row[j - 1];
            row[j] = least + 1 < substitute ? least + 1 : substitute;
        }
    }
    return row[n];
}

size_t qn_edit_tolerance(const char *wrong)
{
    return strlen(wrong) / 3 + 1;
}

const char *qn_nearest_name(const char *wrong, const char *(*next)(void *ctx), void *ctx)
{
    const char *nearest = NULL;
    size_t least = qn_edit_tolerance(wrong) + 1;
    for (const char *name = next(ctx); name != NULL; name = next(ctx)) {
        size_t distance = qn_edit_distance(wrong, name);
        if (distance < least) {
            least = distance;
            nearest = name;
        }
    }
    return nearest;
}
