/* Words of keys' values, and choices among names. */
#include <stdio.h>
#include <string.h>

#include "base/names.h"
#include "fault/spec_parts.h"

qn_status qn_spec_choose(int *index, const char *text, const char *const *names, int n, const char *what,
                         const qn_spec_place *place, qn_error *err)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            *index = i;
            return QN_OK;
        }
    }
    char known[300];
    qn_list_names(known, sizeof known, names, n);
    return qn_spec_fail(err, place, "unknown %s '%s'; did you mean '%s'? There are %s", what, text,
                        names[qn_nearest_name(text, names, n)], known);
}

qn_status qn_spec_one_text(const char **text, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    *text = texts->list[0];
    return texts->n == 1 ? QN_OK : qn_spec_fail(err, place, "a list, where one value is wanted");
}

bool qn_spec_next_word(qn_spec_words *walk)
{
    for (;;) {
        walk->at += strspn(walk->at, " \t,");
        size_t n = strcspn(walk->at, " \t,");
        if (n > 0) {
            snprintf(walk->word, sizeof walk->word, "%.*s", (int)n, walk->at);
            walk->at += n;
            return true;
        }
        if (walk->text == walk->texts->n) {
            return false;
        }
        walk->at = walk->texts->list[walk->text++];
    }
}

static const char *const prove_texts[] = {"none", "margin", "margin-everywhere"};

const char *qn_spec_prove_text(qn_prove prove)
{
    return prove_texts[prove];
}

bool qn_spec_prove(qn_prove *prove, const char *text)
{
    for (size_t i = 0; i < sizeof prove_texts / sizeof prove_texts[0]; i++) {
        if (strcmp(text, prove_texts[i]) == 0) {
            *prove = (qn_prove)i;
            return true;
        }
    }
    return false;
}
