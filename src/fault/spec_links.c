/* Links of specifications. */
#include <string.h>

#include "base/names.h"
#include "fault/spec_parts.h"
#include "quern/plan.h"

const char *qn_fault_link_choice(const qn_fault_link *link, qn_engine engine)
{
    return link->choice != NULL ? link->choice : engine == QN_ENGINE_FLOAT ? "fp32" : "codes";
}

/* As its canonical text. */
static qn_status read_choice(qn_fault_spec *spec, const char **choice, const char *text, const qn_spec_place *place,
                             qn_error *err)
{
    qn_link_choice parsed;
    char format[QN_FORMAT_NAME_MAX], canonical[QN_LINK_CHOICE_MAX];
    qn_error reason;
    qn_error_init(&reason);
    const qn_status status = qn_link_choice_parse(&parsed, format, text, NULL, &reason);
    if (status != QN_OK) {
        return status == QN_ENOMEM ? qn_fail_memory(err, place->where, 0)
                                   : qn_spec_fail(err, place, "%s", reason.message);
    }
    qn_link_choice_text(canonical, &parsed);
    *choice = qn_arena_string(&spec->arena, canonical);
    return *choice != NULL ? QN_OK : qn_fail_memory(err, place->where, sizeof canonical);
}

static qn_status read_checksum(bool *unchecked, const char *text, const qn_spec_place *place, qn_error *err)
{
    qn_link_checksum checksum;
    if (qn_link_checksum_parse(&checksum, text, NULL) != QN_OK) {
        return qn_spec_fail(err, place, "'%.64s' is not on or off", text);
    }
    *unchecked = checksum == QN_LINK_CHECKSUM_OFF;
    return QN_OK;
}

qn_status qn_spec_link_key(qn_fault_spec *spec, qn_fault_link *link, unsigned *given, const char *key, const char *text,
                           const qn_spec_place *place, qn_error *err)
{
    static const char *const keys[] = {"after", "choice", "checksum"};
    int index;
    QN_TRY(qn_spec_choose(&index, key, keys, 3, "key of a link", place, err));
    if ((*given & 1u << index) != 0) {
        return qn_spec_fail(err, place, "%s is given twice", keys[index]);
    }
    *given |= 1u << index;
    if (text[0] == '\0') {
        return qn_spec_fail(err, place, "%s has no value; leave it out, or give it one", keys[index]);
    }
    switch (index) {
    case 0:
        link->after = qn_arena_string(&spec->arena, text);
        return link->after != NULL ? QN_OK : qn_fail_memory(err, place->where, strlen(text));
    case 1:
        return read_choice(spec, &link->choice, text, place, err);
    default:
        return read_checksum(&link->unchecked, text, place, err);
    }
}

qn_status qn_spec_link_finish(qn_fault_spec *spec, const qn_fault_link *link, const qn_spec_place *place, qn_error *err)
{
    if (link->after == NULL) {
        return qn_spec_fail(err, place, "a link needs 'after': the name of what is made before it (quern cuts)");
    }
    for (int i = 0; i < spec->n_links; i++) {
        if (strcmp(spec->links[i].after, link->after) == 0) {
            return qn_spec_fail(err, place, "a second link behind '%s'; one place has one", link->after);
        }
    }
    const int n = spec->n_links;
    if ((n & (n - 1)) == 0) { /* full: 0, or a power of two */
        qn_fault_link *links = qn_arena_array(&spec->arena, n > 0 ? 2 * (size_t)n : 1, sizeof *links);
        if (links == NULL) {
            return qn_fail_memory(err, spec->where, 2 * (size_t)n * sizeof *links);
        }
        for (int i = 0; i < n; i++) {
            links[i] = spec->links[i];
        }
        spec->links = links;
    }
    spec->links[spec->n_links++] = *link;
    return QN_OK;
}

qn_status qn_spec_links_check(const qn_fault_spec *spec, qn_error *err)
{
    for (int i = 0; i < spec->n_sets; i++) {
        const qn_fault_set *set = &spec->sets[i];
        const bool on_links = (set->select.where & QN_FAULT_LINK_PLACES) != 0;
        const qn_spec_place place = {spec->where, set->line, set->line > 0 ? "where" : "--where"};
        if (on_links && spec->n_links == 0) {
            return qn_spec_fail(err, &place, "faults on links, but no link: say behind what, with %s",
                                set->line > 0 ? "'links: [{after: NAME}]'" : "--after NAME");
        }
        if (!on_links && spec->n_links > 0) {
            return qn_spec_fail(err, &place,
                                "there are links, and faults in the network's own codes; with links only what travels "
                                "is struck (where: link): make two campaigns");
        }
    }
    return QN_OK;
}

qn_status qn_fault_spec_add_links(qn_fault_spec *spec, const char *const *after, int n, const char *choice,
                                  const char *checksum, qn_error *err)
{
    const struct {
        const char *key, *label, *text;
    } shared[] = {{"choice", "--link", choice}, {"checksum", "--checksum", checksum}};
    for (int i = 0; i < n; i++) {
        qn_fault_link link = {0};
        unsigned given = 0;
        const qn_spec_place place = {spec->where, 0, "--after"};
        QN_TRY(qn_spec_link_key(spec, &link, &given, "after", after[i], &place, err));
        for (int k = 0; k < 2; k++) {
            const qn_spec_place at = {spec->where, 0, shared[k].label};
            QN_TRY(shared[k].text == NULL
                       ? QN_OK
                       : qn_spec_link_key(spec, &link, &given, shared[k].key, shared[k].text, &at, err));
        }
        QN_TRY(qn_spec_link_finish(spec, &link, &place, err));
    }
    for (int k = 0; k < 2 && n == 0; k++) {
        const qn_spec_place at = {spec->where, 0, shared[k].label};
        QN_TRY(shared[k].text == NULL ? QN_OK : qn_spec_fail(err, &at, "belongs to a link; give --after NAME, too"));
    }
    return qn_spec_links_check(spec, err);
}
