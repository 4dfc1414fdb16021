/* The manifest found against the one that should be, as trees, so that what differs is told by its place. */
#include <stdio.h>
#include <string.h>

#include "export/verify.h"

typedef struct comparison {
    qn_export_checking *c;
    char path[512];
    const char *kind, *name; /* the tensor, layer or file that is compared, NULL: none */
} comparison;

static void tell(comparison *p, const char *found, const char *expected)
{
    char of[300] = "";
    if (p->name != NULL) {
        snprintf(of, sizeof of, ", of %s '%.200s'", p->kind, p->name);
    }
    p->c->manifest_told = true;
    qn_export_differs(p->c, "%s: %s%s: is %s, should be %s", QN_EXPORT_MANIFEST_FILE, p->path, of, found, expected);
}

/* A value in few words. */
static const char *show(char text[120], const json_t *value)
{
    if (value == NULL) {
        return "absent";
    }
    if (json_is_object(value) || json_is_array(value)) {
        snprintf(text, 120, json_is_array(value) ? "a list of %zu" : "an object of %zu",
                 json_is_array(value) ? json_array_size(value) : json_object_size(value));
    } else if (json_is_string(value)) {
        snprintf(text, 120, "\"%.100s\"", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(text, 120, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, 120, "%.17g", json_real_value(value));
    } else {
        snprintf(text, 120, "%s", json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    }
    return text;
}

/* Strings are shown from shortly before where they differ. */
static void tell_strings(comparison *p, const char *found, const char *expected)
{
    size_t at = 0;
    while (found[at] != '\0' && found[at] == expected[at]) {
        at++;
    }
    const size_t skip = at > 40 ? at - 40 : 0;
    char a[120], b[120];
    snprintf(a, sizeof a, "\"%s%.80s\"", skip > 0 ? "..." : "", found + skip);
    snprintf(b, sizeof b, "\"%s%.80s\"", skip > 0 ? "..." : "", expected + skip);
    tell(p, a, b);
}

static void compare(comparison *p, const json_t *found, const json_t *expected);

static void compare_member(comparison *p, const char *key, const json_t *found, const json_t *expected)
{
    const size_t n = strlen(p->path);
    snprintf(p->path + n, sizeof p->path - n, n > 0 ? ".%.60s" : "%.60s", key);
    compare(p, found, expected);
    p->path[n] = '\0';
}

/* Of the whole: what cannot be made again, which the digest covers. */
static bool is_taken(const comparison *p, const char *key)
{
    return (p->path[0] == '\0' && (strcmp(key, "quern") == 0 || strcmp(key, "digest") == 0)) ||
           (strcmp(p->path, "model") == 0 && strcmp(key, "source") == 0);
}

static void compare_objects(comparison *p, const json_t *found, const json_t *expected)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)expected, key, value)
    {
        if (!is_taken(p, key)) {
            compare_member(p, key, json_object_get(found, key), value);
        }
    }
    json_object_foreach((json_t *)(uintptr_t)found, key, value)
    {
        if (json_object_get(expected, key) == NULL) {
            compare_member(p, key, value, NULL);
        }
    }
}

static void compare_arrays(comparison *p, const json_t *found, const json_t *expected)
{
    static const struct {
        const char *list, *kind, *key;
    } named[] = {{"tensors", "tensor", "name"},
                 {"layers", "layer", "name"},
                 {"files", "file", "path"},
                 {"inputs", "input", "name"},
                 {"outputs", "output", "name"}};
    const size_t n = json_array_size(expected), n_found = json_array_size(found), length = strlen(p->path);
    const char *kind = p->kind, *name = p->name;
    if (n != n_found) {
        char a[120], b[120];
        tell(p, show(a, found), show(b, expected));
    }
    for (size_t i = 0; i < n && i < n_found; i++) {
        for (size_t k = 0; k < sizeof named / sizeof named[0]; k++) {
            if (strcmp(p->path, named[k].list) == 0) {
                p->kind = named[k].kind;
                p->name = json_string_value(json_object_get(json_array_get(expected, i), named[k].key));
            }
        }
        snprintf(p->path + length, sizeof p->path - length, "[%zu]", i);
        compare(p, json_array_get(found, i), json_array_get(expected, i));
        p->path[length] = '\0';
        p->kind = kind;
        p->name = name;
    }
}

static void compare(comparison *p, const json_t *found, const json_t *expected)
{
    char a[120], b[120];
    if (found == NULL || expected == NULL || json_typeof(found) != json_typeof(expected)) {
        tell(p, show(a, found), show(b, expected));
    } else if (json_is_object(expected)) {
        compare_objects(p, found, expected);
    } else if (json_is_array(expected)) {
        compare_arrays(p, found, expected);
    } else if (json_is_string(expected)) {
        if (strcmp(json_string_value(found), json_string_value(expected)) != 0) {
            tell_strings(p, json_string_value(found), json_string_value(expected));
        }
    } else if (!json_equal(found, expected)) {
        tell(p, show(a, found), show(b, expected));
    }
}

static qn_status check_digest(qn_export_checking *c, qn_error *err)
{
    char hex[65];
    QN_TRY(qn_export_digest(hex, c->manifest, err));
    const char *found = json_string_value(json_object_get(c->manifest, "digest"));
    if (found != NULL && strcmp(found, hex) == 0) {
        return QN_OK;
    }
    if (!c->manifest_told) {
        qn_export_differs(c,
                          "%s: digest does not fit the rest, all of which that can be made again is right: quern, "
                          "model.source or the digest itself was changed",
                          QN_EXPORT_MANIFEST_FILE);
        c->manifest_told = true;
    }
    return QN_OK;
}

/* The same tree in other bytes: blanks, escapes, order. */
static qn_status check_writing(qn_export_checking *c, qn_error *err)
{
    qn_export_text text = {0};
    qn_export_json_print(&text, c->manifest);
    const qn_status status = text.failed ? qn_fail_memory(err, QN_EXPORT_MANIFEST_FILE, text.n) : QN_OK;
    if (status == QN_OK &&
        (text.n != c->manifest_bytes.size || memcmp(text.data, c->manifest_bytes.data, text.n) != 0)) {
        qn_export_bytes_differ(c, QN_EXPORT_MANIFEST_FILE " (the same content, written otherwise)", text.data, text.n,
                               (const char *)c->manifest_bytes.data, c->manifest_bytes.size);
    }
    qn_export_text_free(&text);
    return status;
}

qn_status qn_export_check_manifest(qn_export_checking *c, const char *text, size_t n, qn_error *err)
{
    json_error_t where;
    json_t *expected = json_loadb(text, n, 0, &where);
    if (expected == NULL) {
        return qn_fail(err, QN_EINTERNAL, QN_EXPORT_MANIFEST_FILE, "what should be there does not parse: %s",
                       where.text);
    }
    comparison p = {.c = c};
    compare(&p, c->manifest, expected);
    json_decref(expected);
    QN_TRY(check_digest(c, err));
    return c->manifest_told ? QN_OK : check_writing(c, err);
}
