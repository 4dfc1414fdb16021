/* Reading specifications. The document is libyaml's, the parser beneath libcyaml: a key may hold one value or a list of them, and every
 * message names its line, neither of which schemas of libcyaml can say. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/names.h"
#include "base/yaml.h"
#include "fault/spec_parts.h"

/*  entries   scalars that may still be read: aliases can repeat them, and a small file must not become a large specification
 *  texts     of one key */
typedef struct spec_reader {
    qn_fault_spec *spec;
    yaml_document_t *document;
    int entries;
    const char *texts[QN_SPEC_MAX_ENTRIES];
    char flat[QN_SPEC_TEXT_MAX + 1];
} spec_reader;

/* The text of a scalar, without control characters. */
static qn_status scalar_text(spec_reader *reader, const char **text, const yaml_node_t *node, const char *wanted,
                             const qn_spec_place *place, qn_error *err)
{
    if (node->type != YAML_SCALAR_NODE) {
        return qn_spec_fail(err, place, "%s, where %s is wanted", qn_yaml_kind(node), wanted);
    }
    if (reader->entries-- == 0) {
        return qn_spec_fail(err, place, "more than %d values in a specification", 2 * QN_SPEC_MAX_ENTRIES);
    }
    const char *bytes = (const char *)node->data.scalar.value;
    for (size_t i = 0; i < node->data.scalar.length; i++) {
        if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) {
            return qn_spec_fail(err, place, "holds control characters");
        }
    }
    *text = bytes;
    return QN_OK;
}

static qn_status append(spec_reader *reader, const char *separator, const char *text, const qn_spec_place *place,
                        qn_error *err)
{
    size_t used = strlen(reader->flat), n = strlen(separator) + strlen(text);
    if (used + n >= sizeof reader->flat) {
        return qn_spec_fail(err, place, "a text of more than %d bytes", QN_SPEC_TEXT_MAX);
    }
    snprintf(reader->flat + used, sizeof reader->flat - used, "%s%s", separator, text);
    return QN_OK;
}

/* A mapping of a mapping at most, as its keys and values in a row; lists joined by commas. Deeper ones nobody writes. */
static qn_status flatten(spec_reader *reader, const yaml_node_t *node, int depth, const char *separator,
                         const qn_spec_place *place, qn_error *err)
{
    if (node->type == YAML_SCALAR_NODE || depth == 0) {
        const char *text;
        QN_TRY(scalar_text(reader, &text, node, "a single value", place, err));
        return append(reader, separator, text, place, err);
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
             item++) {
            const char *between = item > node->data.sequence.items.start ? "," : separator;
            QN_TRY(flatten(reader, yaml_document_get_node(reader->document, *item), 0, between, place, err));
        }
        return QN_OK;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        QN_TRY(flatten(reader, yaml_document_get_node(reader->document, pair->key), 0, separator, place, err));
        QN_TRY(flatten(reader, yaml_document_get_node(reader->document, pair->value), depth - 1, " ", place, err));
        separator = " ";
    }
    return QN_OK;
}

/* The value of a key of a fault set as texts. */
static qn_status texts_of(spec_reader *reader, qn_spec_texts *texts, const yaml_node_t *node, int key,
                          const qn_spec_place *place, qn_error *err)
{
    *texts = (qn_spec_texts){reader->texts, 1};
    if (node->type == YAML_MAPPING_NODE && qn_spec_key_takes_mapping(key)) {
        reader->flat[0] = '\0';
        reader->texts[0] = reader->flat;
        return flatten(reader, node, 2, "", place, err);
    }
    if (node->type != YAML_SEQUENCE_NODE) {
        return scalar_text(reader, &reader->texts[0], node, "a single value or a list", place, err);
    }
    texts->n = 0;
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        if (texts->n == QN_SPEC_MAX_ENTRIES) {
            return qn_spec_fail(err, place, "a list of more than %d entries", QN_SPEC_MAX_ENTRIES);
        }
        QN_TRY(scalar_text(reader, &reader->texts[texts->n++], yaml_document_get_node(reader->document, *item),
                           "a single value in the list", place, err));
    }
    return QN_OK;
}

static qn_status read_set(spec_reader *reader, const yaml_node_t *node, qn_error *err)
{
    qn_spec_place place = {reader->spec->where, qn_yaml_line(node), NULL};
    if (node->type != YAML_MAPPING_NODE) {
        return qn_spec_fail(err, &place, "%s, where a fault set is wanted: where, layers, bits, model, ...",
                            qn_yaml_kind(node));
    }
    qn_spec_draft draft;
    qn_spec_draft_start(&draft, reader->spec, place.line);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = yaml_document_get_node(reader->document, pair->key);
        qn_spec_place at = {reader->spec->where, qn_yaml_line(key_node), NULL};
        QN_TRY(scalar_text(reader, &at.key, key_node, "the name of a key", &place, err));
        const int key = qn_spec_find_key(at.key);
        if (key < 0) {
            const char *name = at.key;
            at.key = NULL;
            return qn_spec_fail(err, &at, "unknown key '%s' of a fault set; did you mean '%s'? doc/faults.md has all",
                                name, qn_spec_nearest_key(name));
        }
        qn_spec_texts texts;
        QN_TRY(texts_of(reader, &texts, yaml_document_get_node(reader->document, pair->value), key, &at, err));
        QN_TRY(qn_spec_draft_key(&draft, key, &texts, &at, err));
    }
    return qn_spec_draft_finish(&draft, &place, err);
}

static qn_status read_model(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err)
{
    if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64) {
        return qn_spec_fail(err, place, "'%s' is not the SHA-256 of a model, in 64 hexadecimal digits", text);
    }
    memcpy(reader->spec->model_sha256, text, sizeof reader->spec->model_sha256);
    return QN_OK;
}

static qn_status read_seed(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err)
{
    char *end;
    errno = 0;
    reader->spec->seed = strtoull(text, &end, 10);
    reader->spec->has_seed = true;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0
               ? QN_OK
               : qn_spec_fail(err, place, "'%s' is not a number from 0 to 18446744073709551615", text);
}

static qn_status read_verify(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err)
{
    double *share = &reader->spec->verify;
    return qn_spec_share(share, text) && *share >= 0 && *share <= 1
               ? QN_OK
               : qn_spec_fail(err, place, "'%s' is not a share from 0 to 100%%", text);
}

static qn_status read_threshold(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err)
{
    double *threshold = &reader->spec->rmse_threshold;
    return qn_spec_real(threshold, text) && *threshold >= 0
               ? QN_OK
               : qn_spec_fail(err, place, "'%s' is not a number from 0 on", text);
}

static qn_status read_prove(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err)
{
    return qn_spec_prove(&reader->spec->prove, text)
               ? QN_OK
               : qn_spec_fail(err, place,
                              "'%s' is not a way to prove outcomes; there are margin, margin-everywhere and none",
                              text);
}

static qn_status read_link(spec_reader *reader, const yaml_node_t *node, qn_error *err)
{
    qn_spec_place place = {reader->spec->where, qn_yaml_line(node), NULL};
    qn_fault_link link = {.line = place.line};
    unsigned given = 0;
    if (node->type != YAML_MAPPING_NODE) {
        return qn_spec_fail(err, &place, "%s, where a link is wanted: after, choice, checksum", qn_yaml_kind(node));
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = yaml_document_get_node(reader->document, pair->key);
        qn_spec_place at = {reader->spec->where, qn_yaml_line(key_node), NULL};
        const char *key, *text;
        QN_TRY(scalar_text(reader, &key, key_node, "the name of a key", &place, err));
        QN_TRY(scalar_text(reader, &text, yaml_document_get_node(reader->document, pair->value), "a single value", &at,
                           err));
        QN_TRY(qn_spec_link_key(reader->spec, &link, &given, key, text, &at, err));
    }
    return qn_spec_link_finish(reader->spec, &link, &place, err);
}

/* Keys of the document that are lists, and how an entry is read. */
typedef qn_status entry_fn(spec_reader *reader, const yaml_node_t *node, qn_error *err);

/* The document's own keys: of single values, or of lists. */
static const struct {
    const char *name;
    qn_status (*read)(spec_reader *reader, const char *text, const qn_spec_place *place, qn_error *err);
    entry_fn *entry;
    const char *entries;
} top_keys[] = {
    {"model", read_model, NULL, NULL},
    {"seed", read_seed, NULL, NULL},
    {"verify", read_verify, NULL, NULL},
    {"rmse-threshold", read_threshold, NULL, NULL},
    {"prove", read_prove, NULL, NULL},
    {"links", NULL, read_link, "links is wanted: '- after: NAME'"},
    {"faults", NULL, read_set, "fault sets is wanted: '- where: weights'"},
};
enum { N_TOP_KEYS = sizeof top_keys / sizeof top_keys[0] };

static qn_status read_entries(spec_reader *reader, const yaml_node_t *node, size_t key, const qn_spec_place *place,
                              qn_error *err)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        return qn_spec_fail(err, place, "%s, where a list of %s", qn_yaml_kind(node), top_keys[key].entries);
    }
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        QN_TRY(top_keys[key].entry(reader, yaml_document_get_node(reader->document, *item), err));
    }
    return QN_OK;
}

static qn_status read_top_key(spec_reader *reader, const yaml_node_pair_t *pair, unsigned *given, qn_error *err)
{
    const yaml_node_t *key_node = yaml_document_get_node(reader->document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
    qn_spec_place place = {reader->spec->where, qn_yaml_line(key_node), NULL};
    const char *key, *text;
    QN_TRY(scalar_text(reader, &key, key_node, "the name of a key", &place, err));
    for (size_t i = 0; i < N_TOP_KEYS; i++) {
        if (strcmp(top_keys[i].name, key) != 0) {
            continue;
        }
        place.key = key;
        if (*given & 1u << i) {
            return qn_spec_fail(err, &place, "is given twice");
        }
        *given |= 1u << i;
        if (top_keys[i].read == NULL) {
            return read_entries(reader, value, i, &place, err);
        }
        QN_TRY(scalar_text(reader, &text, value, "a single value", &place, err));
        return top_keys[i].read(reader, text, &place, err);
    }
    const char *names[N_TOP_KEYS];
    for (size_t i = 0; i < N_TOP_KEYS; i++) {
        names[i] = top_keys[i].name;
    }
    return qn_spec_fail(err, &place,
                        "unknown key '%s'; did you mean '%s'? There are model, seed, verify, rmse-threshold, prove, "
                        "links and faults",
                        key, names[qn_nearest_name(key, names, N_TOP_KEYS)]);
}

static qn_status read_document(spec_reader *reader, qn_error *err)
{
    const char *const remedy = "write 'faults:' with a list of fault sets; doc/faults.md has the keys";
    const yaml_node_t *root = yaml_document_get_root_node(reader->document);
    unsigned given = 0;
    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        return qn_fail(err, QN_EFORMAT, reader->spec->where, "is no specification of faults: %s; %s",
                       root == NULL ? "it is empty" : qn_yaml_kind(root), remedy);
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
        QN_TRY(read_top_key(reader, pair, &given, err));
    }
    return reader->spec->n_sets > 0 ? qn_spec_links_check(reader->spec, err)
                                    : qn_fail(err, QN_EFORMAT, reader->spec->where, "holds no fault sets; %s", remedy);
}

static qn_status parse(qn_fault_spec *spec, const char *text, size_t n, qn_error *err)
{
    yaml_document_t document;
    spec_reader *reader = qn_alloc(sizeof *reader);
    if (reader == NULL) {
        return qn_fail_memory(err, spec->where, sizeof *reader);
    }
    qn_status status = qn_yaml_load(&document, text, n, spec->where, err);
    if (status == QN_OK) {
        reader->spec = spec;
        reader->document = &document;
        reader->entries = 2 * QN_SPEC_MAX_ENTRIES;
        status = read_document(reader, err);
        yaml_document_delete(&document);
    }
    qn_free(reader);
    if (status != QN_OK) {
        spec->n_sets = 0; /* half a specification is none */
    }
    return status;
}

static qn_status start(qn_fault_spec *spec, const char *where, qn_error *err)
{
    qn_fault_spec_init(spec);
    spec->where = qn_arena_string(&spec->arena, where);
    return spec->where != NULL ? QN_OK : qn_fail_memory(err, where, strlen(where));
}

qn_status qn_fault_spec_parse(qn_fault_spec *spec, const char *text, const char *where, qn_error *err)
{
    QN_TRY(start(spec, where, err));
    return parse(spec, text, strlen(text), err);
}

qn_status qn_fault_spec_read(qn_fault_spec *spec, const char *path, qn_error *err)
{
    enum { MAX_BYTES = 1 << 20 };
    qn_file_bytes bytes;
    QN_TRY(start(spec, path, err));
    QN_TRY(qn_file_read(&bytes, path, err));
    qn_status status = bytes.size <= MAX_BYTES
                           ? parse(spec, (const char *)bytes.data, bytes.size, err)
                           : qn_fail(err, QN_ELIMIT, path, "a specification of more than 1 MiB; say more with globs");
    qn_file_bytes_free(&bytes);
    return status;
}
