/* YAML files of known keys. */
#include "link/document.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/names.h"
#include "link/plan.h"
#include "quern/policy.h"

enum { MAX_BYTES = 1 << 20, MAX_NODES = 200000 };

qn_status qn_document_open(qn_document *document, qn_arena *arena, const char *path, qn_error *err)
{
    qn_file_bytes bytes;
    *document = (qn_document){.where = qn_arena_string(arena, path), .arena = arena, .left = MAX_NODES};
    if (document->where == NULL) {
        return qn_fail_memory(err, path, strlen(path));
    }
    QN_TRY(qn_file_read(&bytes, path, err));
    const qn_status status =
        bytes.size <= MAX_BYTES
            ? qn_yaml_load(&document->yaml, (const char *)bytes.data, bytes.size, document->where, err)
            : qn_fail(err, QN_ELIMIT, path, "more than 1 MiB; files of this kind have some hundred lines");
    qn_file_bytes_free(&bytes);
    return status;
}

void qn_document_close(qn_document *document)
{
    yaml_document_delete(&document->yaml);
}

qn_status qn_document_root(qn_entry *root, qn_document *document, qn_error *err)
{
    *root = (qn_entry){document, yaml_document_get_root_node(&document->yaml), 1, NULL};
    return root->node != NULL ? QN_OK : qn_fail(err, QN_EFORMAT, document->where, "is empty");
}

qn_status qn_entry_fail(qn_error *err, const qn_entry *entry, const char *format, ...)
{
    char message[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return qn_fail(err, QN_EFORMAT, entry->document->where, "line %d%s%s: %s", entry->line,
                   entry->key != NULL ? ", " : "", entry->key != NULL ? entry->key : "", message);
}

static qn_status count(qn_entry *entry, qn_error *err)
{
    return entry->document->left-- > 0 ? QN_OK : qn_entry_fail(err, entry, "more than %d values", MAX_NODES);
}

qn_status qn_entry_text(const char **text, qn_entry *entry, qn_error *err)
{
    enum { MAX = 4096 };
    const yaml_node_t *node = entry->node;
    QN_TRY(count(entry, err));
    if (node->type != YAML_SCALAR_NODE) {
        return qn_entry_fail(err, entry, "%s, where a single value is wanted", qn_yaml_kind(node));
    }
    const char *bytes = (const char *)node->data.scalar.value;
    const size_t n = node->data.scalar.length;
    if (n == 0 || n > MAX) {
        return qn_entry_fail(err, entry, n == 0 ? "has no value" : "has more than 4096 characters");
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) {
            return qn_entry_fail(err, entry, "holds control characters");
        }
    }
    *text = qn_arena_string(entry->document->arena, bytes);
    return *text != NULL ? QN_OK : qn_fail_memory(err, entry->document->where, n);
}

static qn_status fail_key(qn_error *err, const qn_entry *at, const char *what, const qn_key *keys, int n_keys,
                          const char *wrong)
{
    char all[400];
    const char *names[32];
    for (int i = 0; i < n_keys; i++) {
        names[i] = keys[i].name;
    }
    qn_list_names(all, sizeof all, names, n_keys);
    return qn_entry_fail(err, at, "unknown key '%s' of %s; did you mean '%s'? There are %s", wrong, what,
                         names[qn_nearest_name(wrong, names, n_keys)], all);
}

qn_status qn_entry_mapping(void *target, qn_entry *entry, const char *what, const qn_key *keys, int n_keys,
                           qn_error *err)
{
    unsigned given = 0;
    yaml_document_t *yaml = &entry->document->yaml;
    QN_TRY(count(entry, err));
    if (entry->node->type != YAML_MAPPING_NODE) {
        return qn_entry_fail(err, entry, "%s, where %s is wanted: '%s: ...'", qn_yaml_kind(entry->node), what,
                             keys[0].name);
    }
    const qn_entry whole = {entry->document, entry->node, qn_yaml_line(entry->node), entry->key};
    for (const yaml_node_pair_t *pair = entry->node->data.mapping.pairs.start;
         pair < entry->node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = yaml_document_get_node(yaml, pair->key);
        qn_entry name = {entry->document, key_node, qn_yaml_line(key_node), entry->key};
        const char *key;
        QN_TRY(qn_entry_text(&key, &name, err));
        int i = 0;
        while (i < n_keys && strcmp(keys[i].name, key) != 0) {
            i++;
        }
        if (i == n_keys) {
            return fail_key(err, &name, what, keys, n_keys, key);
        }
        qn_entry value = {entry->document, yaml_document_get_node(yaml, pair->value), name.line, keys[i].name};
        if (given & 1u << i) {
            return qn_entry_fail(err, &value, "is given twice");
        }
        given |= 1u << i;
        QN_TRY(keys[i].read(target, &value, err));
    }
    for (int i = 0; i < n_keys; i++) {
        if (keys[i].needed && !(given & 1u << i)) {
            return qn_entry_fail(err, &whole, "%s has no '%s'", what, keys[i].name);
        }
    }
    return QN_OK;
}

qn_status qn_entry_list(size_t *n, const qn_entry *entry, const char *what, size_t max, qn_error *err)
{
    if (entry->node->type != YAML_SEQUENCE_NODE) {
        return qn_entry_fail(err, entry, "%s, where a list of %s is wanted, each behind '- '",
                             qn_yaml_kind(entry->node), what);
    }
    *n = (size_t)(entry->node->data.sequence.items.top - entry->node->data.sequence.items.start);
    if (*n == 0 || *n > max) {
        return qn_entry_fail(err, entry, *n == 0 ? "has no %s" : "has more than %2$zu %1$s", what, max);
    }
    return QN_OK;
}

qn_status qn_entry_item(qn_entry *item, const qn_entry *list, size_t index, qn_error *err)
{
    yaml_document_t *yaml = &list->document->yaml;
    const yaml_node_t *node = yaml_document_get_node(yaml, list->node->data.sequence.items.start[index]);
    *item = (qn_entry){list->document, node, qn_yaml_line(node), list->key};
    return count(item, err);
}

bool qn_entry_is_mapping(const qn_entry *entry)
{
    return entry->node->type == YAML_MAPPING_NODE;
}

qn_status qn_entry_integer(int64_t *value, qn_entry *entry, int64_t least, int64_t most, qn_error *err)
{
    const char *text;
    char *end;
    QN_TRY(qn_entry_text(&text, entry, err));
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    if (strspn(text, "0123456789") != strlen(text) || errno != 0 || n < least || n > most) {
        return qn_entry_fail(err, entry, "'%.60s' is not a whole number from %lld to %lld", text, (long long)least,
                             (long long)most);
    }
    *value = n;
    return QN_OK;
}

qn_status qn_entry_real(double *value, qn_entry *entry, bool zero, qn_error *err)
{
    const char *text;
    double x;
    QN_TRY(qn_entry_text(&text, entry, err));
    if (!qn_number_parse(&x, text) || !isfinite(x) || x < 0 || (x == 0 && !zero)) {
        return qn_entry_fail(err, entry, "'%.60s' is not a number %s", text, zero ? "of 0 or more" : "above 0");
    }
    *value = x + 0.0; /* of -0 too */
    return QN_OK;
}

qn_status qn_entry_bool(bool *value, qn_entry *entry, qn_error *err)
{
    static const char *const words[] = {"false", "no", "off", "true", "yes", "on"};
    const char *text;
    QN_TRY(qn_entry_text(&text, entry, err));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i >= 3;
            return QN_OK;
        }
    }
    return qn_entry_fail(err, entry, "'%.60s' is neither true nor false", text);
}

qn_status qn_entry_pass(qn_error *err, const qn_entry *entry, qn_status status, const qn_error *reason)
{
    return status == QN_OK       ? QN_OK
           : status == QN_EINVAL ? qn_entry_fail(err, entry, "%s", reason->message)
                                 : qn_fail(err, status, entry->document->where, "%s", reason->message);
}

qn_status qn_entry_bandwidth(double *bits_per_second, qn_entry *entry, qn_error *err)
{
    const char *text;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_entry_text(&text, entry, err));
    return qn_entry_pass(err, entry, qn_bandwidth_parse(bits_per_second, text, &reason), &reason);
}

qn_status qn_entry_latency(double *seconds, qn_entry *entry, qn_error *err)
{
    const char *text;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_entry_text(&text, entry, err));
    return qn_entry_pass(err, entry, qn_latency_parse(seconds, text, &reason), &reason);
}

qn_status qn_entry_memory(int64_t *bytes, qn_entry *entry, qn_error *err)
{
    const char *text;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_entry_text(&text, entry, err));
    return qn_entry_pass(err, entry, qn_memory_parse(bytes, text, &reason), &reason);
}

qn_status qn_entry_share(double *share, qn_entry *entry, double least, qn_error *err)
{
    const char *text;
    double value;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_entry_text(&text, entry, err));
    QN_TRY(qn_entry_pass(err, entry, qn_share_parse(&value, text, &reason), &reason));
    if (value < least) {
        return qn_entry_fail(err, entry, "'%.60s' is below %g", text, least);
    }
    *share = value;
    return QN_OK;
}

qn_status qn_entry_sha256(const char **hex, qn_entry *entry, qn_error *err)
{
    const char *text;
    QN_TRY(qn_entry_text(&text, entry, err));
    if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64) {
        return qn_entry_fail(err, entry, "'%.80s' is not the SHA-256 of a model, in 64 hexadecimal digits", text);
    }
    *hex = text;
    return QN_OK;
}

qn_status qn_read_version(void *target, qn_entry *value, qn_error *err)
{
    int64_t version;
    (void)target;
    QN_TRY(qn_entry_integer(&version, value, 0, INT64_MAX, err));
    return version == 1 ? QN_OK : qn_entry_fail(err, value, "is %lld; this quern reads version 1", (long long)version);
}
