/* YAML files of this room (plans, devices, links) as mappings of known keys: a table says which, and what reads them.
 * Unknown keys, keys given twice and missing ones are refused, with the line. Texts lie in the arena. */
#ifndef QN_LINK_DOCUMENT_H
#define QN_LINK_DOCUMENT_H

#include "base/memory.h"
#include "base/yaml.h"

/*  left   nodes that may still be read: aliases can repeat them, and a small file must not become a large plan */
typedef struct qn_document {
    yaml_document_t yaml;
    const char *where; /* the file */
    qn_arena *arena;
    int left;
} qn_document;
/* A file of at most 1 MiB; qn_document_close releases it, but for the arena. */
qn_status qn_document_open(qn_document *document, qn_arena *arena, const char *path, qn_error *err);
void qn_document_close(qn_document *document);

/* The value of a key, or an entry of a list under it: key is NULL at the document's root. */
typedef struct qn_entry {
    qn_document *document;
    const yaml_node_t *node;
    int line;
    const char *key;
} qn_entry;
qn_status qn_document_root(qn_entry *root, qn_document *document, qn_error *err);
/* "line 3, bandwidth: ..." with QN_EFORMAT. */
qn_status qn_entry_fail(qn_error *err, const qn_entry *entry, const char *format, ...) QN_PRINTF(3, 4);
/* What a parser of texts said, with the line; what is no fault of the text (memory) as it is. */
qn_status qn_entry_pass(qn_error *err, const qn_entry *entry, qn_status status, const qn_error *reason);

typedef struct qn_key {
    const char *name;
    qn_status (*read)(void *target, qn_entry *value, qn_error *err);
    bool needed;
} qn_key;
/* A key's `read` that is one call: `t` is the target, `value` the entry. */
#define QN_KEY_READER(name, type, call)                                                                                \
    static qn_status name(void *target, qn_entry *value, qn_error *err)                                                \
    {                                                                                                                  \
        type *t = target;                                                                                              \
        return call;                                                                                                   \
    }
/* Read a mapping into a target; `what` it is is for messages: "a stage". */
qn_status qn_entry_mapping(void *target, qn_entry *entry, const char *what, const qn_key *keys, int n_keys,
                           qn_error *err);
/* Entries of a list; *n of them, at least 1 and at most `max`. `what` entries are: "stages". */
qn_status qn_entry_list(size_t *n, const qn_entry *entry, const char *what, size_t max, qn_error *err);
qn_status qn_entry_item(qn_entry *item, const qn_entry *list, size_t index, qn_error *err);
bool qn_entry_is_mapping(const qn_entry *entry);

qn_status qn_entry_text(const char **text, qn_entry *entry, qn_error *err);
qn_status qn_entry_integer(int64_t *value, qn_entry *entry, int64_t least, int64_t most, qn_error *err);
/* Above 0, or from 0 on, and finite. */
qn_status qn_entry_real(double *value, qn_entry *entry, bool zero, qn_error *err);
qn_status qn_entry_bool(bool *value, qn_entry *entry, qn_error *err);
qn_status qn_entry_bandwidth(double *bits_per_second, qn_entry *entry, qn_error *err);
qn_status qn_entry_latency(double *seconds, qn_entry *entry, qn_error *err);
qn_status qn_entry_memory(int64_t *bytes, qn_entry *entry, qn_error *err);
qn_status qn_entry_share(double *share, qn_entry *entry, double least, qn_error *err); /* least to 1 */
qn_status qn_entry_sha256(const char **hex, qn_entry *entry, qn_error *err);
/* A key's `read` of `version: 1`, which is what this quern knows; target may be NULL. */
qn_status qn_read_version(void *target, qn_entry *value, qn_error *err);

#endif
