/* Fault sets from options of the command line. */
#include <string.h>

#include "fault/spec_parts.h"

enum { MAX_TEXTS = 128 };

/* What a specification can be written as: UTF-8 without control characters. */
static qn_status check_text(const char *text, const qn_spec_place *place, qn_error *err)
{
    uint32_t character;
    for (int n; *text != '\0'; text += n) {
        n = qn_spec_character(&character, text);
        if (n == 0 || character < 0x20 || character == 0x7f) {
            return qn_spec_fail(err, place, "holds bytes that are no text; in globs write '?' for each");
        }
    }
    return QN_OK;
}

/* One key, in all options that give it. */
static qn_status read_key(qn_spec_draft *draft, const qn_fault_option *options, size_t n, size_t first, qn_error *err)
{
    const qn_spec_place place = {draft->spec->where, 0, options[first].label};
    const char *list[MAX_TEXTS];
    qn_spec_texts texts = {list, 0};
    const int key = qn_spec_find_key(options[first].key);
    if (key < 0) {
        return qn_spec_fail(err, &place, "unknown key '%s' of a fault set", options[first].key);
    }
    for (size_t i = first; i < n; i++) {
        if (strcmp(options[i].key, options[first].key) == 0) {
            QN_TRY(check_text(options[i].text, &place, err));
            if (texts.n == MAX_TEXTS) {
                return qn_spec_fail(err, &place, "given more than %d times; a file takes more", MAX_TEXTS);
            }
            list[texts.n++] = options[i].text;
        }
    }
    return qn_spec_draft_key(draft, key, &texts, &place, err);
}

qn_status qn_fault_spec_add_options(qn_fault_spec *spec, const qn_fault_option *options, size_t n, qn_error *err)
{
    const qn_spec_place place = {spec->where, 0, "fault set"};
    qn_spec_draft draft;
    qn_spec_draft_start(&draft, spec, 0);
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) {
            seen = strcmp(options[k].key, options[i].key) == 0;
        }
        QN_TRY(seen ? QN_OK : read_key(&draft, options, n, i, err));
    }
    return qn_spec_draft_finish(&draft, &place, err);
}
