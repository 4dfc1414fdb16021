/* The keys of a fault set: what each may hold. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/names.h"
#include "fault/spec_parts.h"

typedef qn_status key_fn(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err);

static const char *const model_names[] = {
#define QN_FAULT_MODEL_TEXT(name, value, text) [name] = text,
    QN_FAULT_MODEL_LIST(QN_FAULT_MODEL_TEXT)
#undef QN_FAULT_MODEL_TEXT
};
static const char *const where_names[] = {
#define QN_FAULT_WHERE_NAME(name, value, text) [name] = text,
    QN_FAULT_WHERE_LIST(QN_FAULT_WHERE_NAME)
#undef QN_FAULT_WHERE_NAME
};
static const char *const field_names[] = {"sign",    "exponent",  "mantissa", "fraction", "regime",
                                          "integer", "magnitude", "msb",      "lsb"};
enum {
    N_MODELS = sizeof model_names / sizeof model_names[0],
    N_WHERE = sizeof where_names / sizeof where_names[0],
    N_FIELDS = sizeof field_names / sizeof field_names[0],
};

static qn_status read_name(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    const char *text;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    draft->set.name = qn_arena_string(&draft->spec->arena, text);
    return draft->set.name != NULL ? QN_OK : qn_fail_memory(err, place->where, strlen(text));
}

static qn_status read_where(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    qn_spec_words walk = {.texts = texts, .at = ""};
    while (qn_spec_next_word(&walk)) {
        int where;
        if (strcmp(walk.word, "all") == 0 || strcmp(walk.word, "link") == 0) {
            draft->set.select.where |= walk.word[0] == 'a' ? QN_FAULT_NETWORK_PLACES : QN_FAULT_LINK_PLACES;
            continue;
        }
        QN_TRY(qn_spec_choose(&where, walk.word, where_names, N_WHERE, "place", place, err));
        draft->set.select.where |= 1u << where;
    }
    return QN_OK;
}

static qn_status add_name(qn_fault_names *names, qn_arena *arena, const char *text, const char *where, qn_error *err)
{
    const char **list = qn_arena_array(arena, (size_t)names->n + 1, sizeof *list);
    char *copy = qn_arena_string(arena, text);
    if (list == NULL || copy == NULL) {
        return qn_fail_memory(err, where, strlen(text));
    }
    for (int i = 0; i < names->n; i++) {
        list[i] = names->list[i];
    }
    list[names->n++] = copy;
    names->list = list;
    return QN_OK;
}

static qn_status read_names(qn_fault_names *names, qn_spec_draft *draft, const qn_spec_texts *texts,
                            const qn_spec_place *place, qn_error *err)
{
    const char **list = qn_arena_array(&draft->spec->arena, (size_t)texts->n, sizeof *list);
    if (list == NULL) {
        return qn_fail_memory(err, place->where, (size_t)texts->n * sizeof *list);
    }
    for (int i = 0; i < texts->n; i++) {
        list[i] = qn_arena_string(&draft->spec->arena, texts->list[i]);
        if (list[i] == NULL) {
            return qn_fail_memory(err, place->where, strlen(texts->list[i]));
        }
    }
    *names = (qn_fault_names){list, texts->n};
    return QN_OK;
}

static qn_status read_layers(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                             qn_error *err)
{
    return read_names(&draft->set.select.layers, draft, texts, place, err);
}

static qn_status read_values(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                             qn_error *err)
{
    return read_names(&draft->set.select.values, draft, texts, place, err);
}

static qn_status read_ops(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    return read_names(&draft->set.select.ops, draft, texts, place, err);
}

static qn_status read_frame(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    qn_spec_words walk = {.texts = texts, .at = ""};
    while (qn_spec_next_word(&walk)) {
        QN_TRY(add_name(&draft->set.select.frame, &draft->spec->arena, walk.word, place->where, err));
    }
    return QN_OK;
}

/* The texts joined by commas, in the arena. */
static qn_status join(const char **joined, qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                      qn_error *err)
{
    size_t n = 1;
    for (int i = 0; i < texts->n; i++) {
        n += strlen(texts->list[i]) + 1;
    }
    char *text = qn_arena_alloc(&draft->spec->arena, n), *at = text;
    if (text == NULL) {
        return qn_fail_memory(err, place->where, n);
    }
    for (int i = 0; i < texts->n; i++) {
        at += snprintf(at, n - (size_t)(at - text), "%s%s", i > 0 ? "," : "", texts->list[i]);
    }
    *joined = text;
    return QN_OK;
}

static qn_status parse_ranges(qn_fault_ranges *ranges, qn_spec_draft *draft, const char *text,
                              const qn_spec_place *place, qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    qn_status status = qn_fault_ranges_parse(ranges, &draft->spec->arena, text, &reason);
    return status == QN_OK       ? QN_OK
           : status == QN_EINVAL ? qn_spec_fail(err, place, "%s", reason.message)
                                 : qn_fail(err, status, place->where, "%s", reason.message);
}

static qn_status read_ranges(qn_fault_ranges *ranges, qn_spec_draft *draft, const qn_spec_texts *texts,
                             const qn_spec_place *place, qn_error *err)
{
    const char *text = NULL;
    QN_TRY(join(&text, draft, texts, place, err));
    return parse_ranges(ranges, draft, text, place, err);
}

#define RANGES(key)                                                                                                    \
    static qn_status read_##key(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,          \
                                qn_error *err)                                                                         \
    {                                                                                                                  \
        return read_ranges(&draft->set.select.key, draft, texts, place, err);                                          \
    }
RANGES(channels)
RANGES(rows)
RANGES(columns)
RANGES(elements)
RANGES(terms)
#undef RANGES

static qn_status add_field(qn_spec_draft *draft, const char *text, const qn_spec_place *place, qn_error *err)
{
    qn_fault_names *fields = &draft->set.select.fields;
    int index;
    QN_TRY(qn_spec_choose(&index, text, field_names, N_FIELDS, "field of bits", place, err));
    for (int i = 0; i < fields->n; i++) {
        if (strcmp(fields->list[i], text) == 0) {
            return QN_OK;
        }
    }
    return add_name(fields, &draft->spec->arena, text, place->where, err);
}

static qn_status read_fields(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                             qn_error *err)
{
    qn_spec_words walk = {.texts = texts, .at = ""};
    while (qn_spec_next_word(&walk)) {
        QN_TRY(add_field(draft, walk.word, place, err));
    }
    return QN_OK;
}

/* Numbers, ranges and names of fields; "all" alone. */
static qn_status read_bits(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    const char *numbers = "";
    qn_spec_words walk = {.texts = texts, .at = ""};
    int n = 0;
    for (bool all = false; qn_spec_next_word(&walk); n++) {
        if (all || (n > 0 && strcmp(walk.word, "all") == 0)) {
            return qn_spec_fail(err, place, "'all' stands alone");
        }
        all = strcmp(walk.word, "all") == 0;
        if (!all && (walk.word[0] < '0' || walk.word[0] > '9')) {
            QN_TRY(add_field(draft, walk.word, place, err));
        } else if (!all) {
            numbers = qn_arena_printf(&draft->spec->arena, "%s%s%s", numbers, numbers[0] != '\0' ? "," : "", walk.word);
            if (numbers == NULL) {
                return qn_fail_memory(err, place->where, 0);
            }
        }
    }
    if (numbers[0] == '\0') {
        return QN_OK;
    }
    qn_fault_ranges *bits = &draft->set.select.bits;
    QN_TRY(parse_ranges(bits, draft, numbers, place, err));
    return bits->list[bits->n - 1].last < 32 ? QN_OK
                                             : qn_spec_fail(err, place, "bit %lld: codes have at most 32 bits, 0 to 31",
                                                            (long long)bits->list[bits->n - 1].last);
}

static qn_status read_n_bits(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                             qn_error *err)
{
    const char *text;
    int64_t n;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    if (!qn_spec_count(&n, text, 1) || n > 1 << 20) {
        return qn_spec_fail(err, place, "'%s' is not a number of bits from 1 on", text);
    }
    draft->set.n_bits = (int)n;
    return QN_OK;
}

/* Numbers in the order given. */
static qn_status read_turns(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    qn_spec_words walk = {.texts = texts, .at = ""};
    uint8_t *turns = NULL;
    for (int n = 0; qn_spec_next_word(&walk); n++) {
        int64_t bit;
        if (!qn_spec_count(&bit, walk.word, 0) || bit > 31) {
            return qn_spec_fail(err, place, "'%s' is no bit: codes have at most 32, 0 to 31", walk.word);
        }
        if (n == QN_SPEC_MAX_ENTRIES) {
            return qn_spec_fail(err, place, "more than %d bits", QN_SPEC_MAX_ENTRIES);
        }
        if (turns == NULL) {
            turns = qn_arena_alloc(&draft->spec->arena, QN_SPEC_MAX_ENTRIES);
        }
        if (turns == NULL) {
            return qn_fail_memory(err, place->where, QN_SPEC_MAX_ENTRIES);
        }
        turns[n] = (uint8_t)bit;
        draft->set.n_turns = n + 1;
    }
    draft->set.turns = turns;
    return QN_OK;
}

static qn_status read_switch(bool *on, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    static const char *const words[] = {"false", "no", "true", "yes"};
    const char *text;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    for (int i = 0; i < 4; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *on = i >= 2;
            return QN_OK;
        }
    }
    return qn_spec_fail(err, place, "'%s' is neither true nor false", text);
}

static qn_status read_burst(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    return read_switch(&draft->set.burst, texts, place, err);
}

static qn_status read_suppress_invalid(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                                       qn_error *err)
{
    return read_switch(&draft->set.suppress_invalid, texts, place, err);
}

#define REAL(key)                                                                                                      \
    static qn_status read_##key(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,          \
                                qn_error *err)                                                                         \
    {                                                                                                                  \
        const char *text;                                                                                              \
        QN_TRY(qn_spec_one_text(&text, texts, place, err));                                                            \
        return qn_spec_real(&draft->set.key, text) ? QN_OK                                                             \
                                                   : qn_spec_fail(err, place, "'%s' is no finite number", text);       \
    }
REAL(value)
REAL(lo)
REAL(hi)
REAL(mean)
REAL(std)
#undef REAL

/* "flip", and keys of its own behind it: "normal-noise mean 0 std 0.5". */
static qn_status read_model(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    const char *text;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    qn_spec_words walk = {.texts = texts, .at = ""};
    int model;
    QN_TRY(qn_spec_next_word(&walk)
               ? qn_spec_choose(&model, walk.word, model_names, N_MODELS, "fault model", place, err)
               : qn_spec_fail(err, place, "has no value"));
    draft->set.model = (qn_fault_model)model;
    while (qn_spec_next_word(&walk)) {
        static const char *const own[] = {"n-bits", "burst", "value", "lo", "hi", "mean", "std", "suppress-invalid"};
        int index;
        QN_TRY(qn_spec_choose(&index, walk.word, own, sizeof own / sizeof own[0], "key of a fault model", place, err));
        if (!qn_spec_next_word(&walk)) {
            return qn_spec_fail(err, place, "no value follows '%s'", own[index]);
        }
        const char *const value = walk.word;
        const qn_spec_texts one = {&value, 1};
        QN_TRY(qn_spec_draft_key(draft, qn_spec_find_key(own[index]), &one, place, err));
    }
    return QN_OK;
}

static qn_status read_pattern(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                              qn_error *err)
{
    return qn_spec_read_pattern(&draft->set, texts, place, err);
}

static qn_status read_per(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    static const char *const names[] = {"campaign", "item"};
    const char *text;
    int index;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    QN_TRY(qn_spec_choose(&index, text, names, 2, "choice", place, err));
    draft->set.per_item = index == 1;
    return QN_OK;
}

static qn_status read_lifetime(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                               qn_error *err)
{
    const char *text;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    const bool transient = strcmp(text, "transient") == 0, permanent = strcmp(text, "permanent") == 0;
    if (transient || permanent) {
        draft->set.lifetime = transient ? 1 : 0;
        return QN_OK;
    }
    return qn_spec_count(&draft->set.lifetime, text, 1)
               ? QN_OK
               : qn_spec_fail(err, place, "'%s' is neither transient, permanent nor a number of inferences", text);
}

static qn_status read_sample(qn_spec_draft *draft, const qn_spec_texts *texts, const qn_spec_place *place,
                             qn_error *err)
{
    const char *text;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    return qn_fault_sample_parse(&draft->set.sample, text, &reason) == QN_OK
               ? QN_OK
               : qn_spec_fail(err, place, "%s", reason.message);
}

static const struct {
    const char *name;
    bool mapping;
    key_fn *read;
} keys[] = {
#define QN_SPEC_KEY(id, name, mapping, read) [id] = {name, mapping, read},
    QN_SPEC_KEY_LIST(QN_SPEC_KEY)
#undef QN_SPEC_KEY
};

int qn_spec_find_key(const char *key)
{
    for (int i = 0; i < QN_SPEC_N_KEYS; i++) {
        if (strcmp(keys[i].name, key) == 0) {
            return i;
        }
    }
    return -1;
}

const char *qn_spec_nearest_key(const char *key)
{
    const char *names[QN_SPEC_N_KEYS];
    for (int i = 0; i < QN_SPEC_N_KEYS; i++) {
        names[i] = keys[i].name;
    }
    return names[qn_nearest_name(key, names, QN_SPEC_N_KEYS)];
}

bool qn_spec_key_takes_mapping(int key)
{
    return keys[key].mapping;
}

qn_status qn_spec_draft_key(qn_spec_draft *draft, int key, const qn_spec_texts *texts, const qn_spec_place *place,
                            qn_error *err)
{
    if (draft->given & 1u << key) {
        return qn_spec_fail(err, place, "%s is given twice", keys[key].name);
    }
    for (int i = 0; i < texts->n; i++) {
        const char *text = texts->list[i];
        if (text[strspn(text, " \t,")] == '\0') {
            return qn_spec_fail(err, place, "has no value; leave it out, or give it one");
        }
        if (strlen(text) > QN_SPEC_TEXT_MAX) {
            return qn_spec_fail(err, place, "a text of more than %d bytes", QN_SPEC_TEXT_MAX);
        }
    }
    if (texts->n == 0) {
        return qn_spec_fail(err, place, "an empty list; leave the key out to select everything");
    }
    draft->given |= 1u << key;
    return keys[key].read(draft, texts, place, err);
}
