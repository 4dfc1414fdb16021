/* Specifications one key at a time: what files (spec_read.c) and options (spec_options.c) share. Private to spec_*.c. */
#ifndef QN_FAULT_SPEC_PARTS_H
#define QN_FAULT_SPEC_PARTS_H

#include "fault/spec.h"

/* Where a text stands, for messages: a line and key of a file, or an option.
 *  line    0: an option, whose spelling is `key` */
typedef struct qn_spec_place {
    const char *where;
    int line;
    const char *key;
} qn_spec_place;
/* "line 3, bits: ..." with QN_EFORMAT, or "--bits: ..." with QN_EINVAL. */
qn_status qn_spec_fail(qn_error *err, const qn_spec_place *place, const char *format, ...) QN_PRINTF(3, 4);

/* The texts of one key: one scalar, or the entries of a list. Texts have at most QN_SPEC_TEXT_MAX bytes. */
enum { QN_SPEC_TEXT_MAX = 400, QN_SPEC_MAX_SETS = 1000, QN_SPEC_MAX_ENTRIES = 10000 };
typedef struct qn_spec_texts {
    const char *const *list;
    int n;
} qn_spec_texts;

/* X(ID, key, may be a mapping, function): the keys of a fault set. A mapping reads as its keys and values in a row: "array rows 16
 * columns 16". */
#define QN_SPEC_KEY_LIST(X)                                                                                            \
    X(QN_SPEC_NAME, "name", false, read_name)                                                                          \
    X(QN_SPEC_WHERE, "where", false, read_where)                                                                       \
    X(QN_SPEC_LAYERS, "layers", false, read_layers)                                                                    \
    X(QN_SPEC_VALUES, "values", false, read_values)                                                                    \
    X(QN_SPEC_OPS, "ops", false, read_ops)                                                                             \
    X(QN_SPEC_CHANNELS, "channels", false, read_channels)                                                              \
    X(QN_SPEC_ROWS, "rows", false, read_rows)                                                                          \
    X(QN_SPEC_COLUMNS, "columns", false, read_columns)                                                                 \
    X(QN_SPEC_ELEMENTS, "elements", false, read_elements)                                                              \
    X(QN_SPEC_TERMS, "terms", false, read_terms)                                                                       \
    X(QN_SPEC_BITS, "bits", false, read_bits)                                                                          \
    X(QN_SPEC_FIELDS, "fields", false, read_fields)                                                                    \
    X(QN_SPEC_FRAME, "frame", false, read_frame)                                                                       \
    X(QN_SPEC_MODEL, "model", true, read_model)                                                                        \
    X(QN_SPEC_N_BITS, "n-bits", false, read_n_bits)                                                                    \
    X(QN_SPEC_BURST, "burst", false, read_burst)                                                                       \
    X(QN_SPEC_TURNS, "bits-in-turn", false, read_turns)                                                                \
    X(QN_SPEC_VALUE, "value", false, read_value)                                                                       \
    X(QN_SPEC_LO, "lo", false, read_lo)                                                                                \
    X(QN_SPEC_HI, "hi", false, read_hi)                                                                                \
    X(QN_SPEC_MEAN, "mean", false, read_mean)                                                                          \
    X(QN_SPEC_STD, "std", false, read_std)                                                                             \
    X(QN_SPEC_SUPPRESS_INVALID, "suppress-invalid", false, read_suppress_invalid)                                      \
    X(QN_SPEC_PATTERN, "pattern", true, read_pattern)                                                                  \
    X(QN_SPEC_PER, "per", false, read_per)                                                                             \
    X(QN_SPEC_LIFETIME, "lifetime", false, read_lifetime)                                                              \
    X(QN_SPEC_SAMPLE, "sample", true, read_sample)
typedef enum qn_spec_key_id {
#define QN_SPEC_KEY_ENUM(id, name, mapping, read) id,
    QN_SPEC_KEY_LIST(QN_SPEC_KEY_ENUM)
#undef QN_SPEC_KEY_ENUM
        QN_SPEC_N_KEYS
} qn_spec_key_id;

/* A fault set under way.
 *  given   bit set of 1 << qn_spec_key_id */
typedef struct qn_spec_draft {
    qn_fault_spec *spec;
    qn_fault_set set;
    unsigned given;
} qn_spec_draft;

/* Index of a key in the table; -1. The nearest one, for messages. */
int qn_spec_find_key(const char *key);
const char *qn_spec_nearest_key(const char *key);
/* May the key's value be a mapping, read as its keys and values in a row ("array rows 16 columns 16")? */
bool qn_spec_key_takes_mapping(int key);

void qn_spec_draft_start(qn_spec_draft *draft, qn_fault_spec *spec, int line);
/* Texts are copied. Errors: QN_EFORMAT or QN_EINVAL, as the place says; QN_ENOMEM. */
qn_status qn_spec_draft_key(qn_spec_draft *draft, int key, const qn_spec_texts *texts, const qn_spec_place *place,
                            qn_error *err);
/* Fill in what was not given, refuse what contradicts itself, and add the set to the specification. */
qn_status qn_spec_draft_finish(qn_spec_draft *draft, const qn_spec_place *place, qn_error *err);

/* Index of a name in a list; the error says what may have been meant, and what there is. `what` as in "unknown WHAT 'x'". */
qn_status qn_spec_choose(int *index, const char *text, const char *const *names, int n, const char *what,
                         const qn_spec_place *place, qn_error *err);
/* The only text. */
qn_status qn_spec_one_text(const char **text, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err);
/* The words of texts, separated by blanks and commas, one after another into `word`. Starts as {.texts = texts, .at = ""}. */
typedef struct qn_spec_words {
    const qn_spec_texts *texts;
    int text;
    const char *at;
    char word[QN_SPEC_TEXT_MAX + 1];
} qn_spec_words;
bool qn_spec_next_word(qn_spec_words *walk);

/* A link under way: "after", "choice" or "checksum" of it. `given` has a bit for each key. */
qn_status qn_spec_link_key(qn_fault_spec *spec, qn_fault_link *link, unsigned *given, const char *key, const char *text,
                           const qn_spec_place *place, qn_error *err);
/* Refuse what is missing or there twice, and add it. */
qn_status qn_spec_link_finish(qn_fault_spec *spec, const qn_fault_link *link, const qn_spec_place *place,
                              qn_error *err);
/* Places of fault sets and links go together: once all is read. */
qn_status qn_spec_links_check(const qn_fault_spec *spec, qn_error *err);

/* pattern, array, word_bits, rate, count of a set. */
qn_status qn_spec_read_pattern(qn_fault_set *set, const qn_spec_texts *texts, const qn_spec_place *place,
                               qn_error *err);

/* Bytes of the character at `text`, which is its code point then; 0 for what is no UTF-8. */
int qn_spec_character(uint32_t *code_point, const char *text);

#endif
