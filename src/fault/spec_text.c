/* Specifications as canonical text: what reads as the same. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fault/spec_parts.h"

/* A growing text in an arena; `failed` once memory ran out. */
typedef struct text_out {
    qn_arena *arena;
    char *text;
    size_t n, capacity;
    bool failed;
} text_out;

static void put_bytes(text_out *out, const char *bytes, size_t n)
{
    if (!out->failed && out->n + n + 1 > out->capacity) {
        const size_t capacity = 2 * (out->n + n + 256);
        char *grown = qn_arena_alloc(out->arena, capacity);
        out->failed = grown == NULL;
        if (grown != NULL && out->n > 0) {
            memcpy(grown, out->text, out->n);
        }
        out->text = grown;
        out->capacity = capacity;
    }
    if (!out->failed) {
        memcpy(out->text + out->n, bytes, n);
        out->n += n;
        out->text[out->n] = '\0';
    }
}

static void QN_PRINTF(2, 3) put(text_out *out, const char *format, ...)
{
    char line[200]; /* nothing but numbers and our own words */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put_bytes(out, line, (size_t)n);
}

int qn_spec_character(uint32_t *code_point, const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const int n = c[0] < 0x80 ? 1 : c[0] >= 0xF8 ? 0 : c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : c[0] >= 0xC0 ? 2 : 0;
    uint32_t value = n > 1 ? c[0] & (0x7Fu >> n) : c[0];
    for (int i = 1; i < n; i++) {
        if ((c[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (c[i] & 0x3Fu);
    }
    *code_point = value;
    return n > 0 && value >= least[n] && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF) ? n : 0;
}

/* Quoted; characters beyond ASCII escaped, as some of them break lines in YAML. */
static void put_string(text_out *out, const char *text)
{
    uint32_t c;
    put(out, "\"");
    for (int n; *text != '\0'; text += n) {
        n = qn_spec_character(&c, text);
        if (n == 0) {
            out->failed = true; /* cannot be: readers take UTF-8 only */
            return;
        }
        if (c >= 0x80) {
            put(out, c < 0x10000 ? "\\u%04" PRIX32 : "\\U%08" PRIX32, c);
        } else {
            put(out, c == '"' || c == '\\' ? "\\%c" : "%c", (int)c);
        }
    }
    put(out, "\"");
}

static void put_names(text_out *out, const char *key, const qn_fault_names *names)
{
    for (int i = 0; i < names->n; i++) {
        put(out, i == 0 ? "    %s: [" : ", ", key);
        put_string(out, names->list[i]);
    }
    put(out, names->n > 0 ? "]\n" : "");
}

static void put_ranges(text_out *out, const char *key, const qn_fault_ranges *ranges)
{
    for (int i = 0; i < ranges->n; i++) {
        const qn_fault_range *range = &ranges->list[i];
        put(out, i == 0 ? "    %s: [" : ", ", key);
        put(out, range->first == range->last ? "%" PRId64 : "%" PRId64 "-%" PRId64, range->first, range->last);
    }
    put(out, ranges->n > 0 ? "]\n" : "");
}

static void put_set_bits(text_out *out, const char *before, unsigned set, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (set >> i & 1) {
            put(out, "%s%s", before, names[i]);
            before = ",";
        }
    }
}

static void put_select(text_out *out, const qn_fault_selector *select)
{
    const char *names[QN_FAULT_N_WHERE];
    for (int i = 0; i < QN_FAULT_N_WHERE; i++) {
        names[i] = qn_fault_where_text((qn_fault_where)i);
    }
    put_set_bits(out, "    where: ", select->where, names, QN_FAULT_N_WHERE);
    put(out, "\n");
    put_names(out, "layers", &select->layers);
    put_names(out, "values", &select->values);
    put_names(out, "ops", &select->ops);
    put_ranges(out, "channels", &select->channels);
    put_ranges(out, "rows", &select->rows);
    put_ranges(out, "columns", &select->columns);
    put_ranges(out, "elements", &select->elements);
    put_ranges(out, "terms", &select->terms);
    put_ranges(out, "bits", &select->bits);
    put_names(out, "fields", &select->fields);
    put_names(out, "frame", &select->frame);
}

static void put_model(text_out *out, const qn_fault_set *set)
{
    static const char *const names[] = {
#define QN_FAULT_MODEL_TEXT(name, value, text) [name] = text,
        QN_FAULT_MODEL_LIST(QN_FAULT_MODEL_TEXT)
#undef QN_FAULT_MODEL_TEXT
    };
    put(out, "    model: %s\n", names[set->model]);
    if (set->n_bits > 1) {
        put(out, "    n-bits: %d\n", set->n_bits);
    }
    if (set->burst) {
        put(out, "    burst: true\n");
    }
    for (int i = 0; i < set->n_turns; i++) {
        put(out, i == 0 ? "    bits-in-turn: [%d" : ", %d", set->turns[i]);
    }
    put(out, set->n_turns > 0 ? "]\n" : "");
    if (set->model == QN_FAULT_SET_VALUE) {
        put(out, "    value: %.17g\n", set->value);
    } else if (qn_fault_is_uniform(set->model)) {
        put(out, "    lo: %.17g\n    hi: %.17g\n", set->lo, set->hi);
    } else if (qn_fault_is_normal(set->model)) {
        put(out, "    mean: %.17g\n    std: %.17g\n", set->mean, set->std);
    }
    put(out, set->suppress_invalid ? "    suppress-invalid: true\n" : "");
}

static void put_pattern(text_out *out, const qn_fault_set *set)
{
    static const char *const parts[] = {"pe", "row", "column"};
    const qn_fault_array *array = &set->array;
    switch (set->pattern) {
    case QN_FAULT_SINGLE:
        put(out, "    pattern: single\n");
        break;
    case QN_FAULT_CHANNEL:
        put(out, "    pattern: channel\n");
        break;
    case QN_FAULT_ARRAY:
        put(out, "    pattern: array rows %d columns %d stationary %s part %s\n", array->rows, array->columns,
            array->output_stationary ? "output" : "weight", parts[array->part]);
        break;
    case QN_FAULT_WORD:
        put(out, "    pattern: word %d\n", set->word_bits);
        break;
    case QN_FAULT_RATE:
        put(out, "    pattern: rate %.17g\n", set->rate);
        break;
    case QN_FAULT_COUNT:
        put(out, "    pattern: count %" PRId64 "\n", set->count);
        break;
    case QN_FAULT_ALL:
        put(out, "    pattern: all\n");
        break;
    case QN_FAULT_FRAME:
        put(out, "    pattern: frame\n");
        break;
    }
    put(out, set->per_item ? "    per: item\n" : "");
}

static void put_sample(text_out *out, const qn_fault_sample *sample)
{
    static const char *const strata[] = {
#define QN_FAULT_STRATUM_TEXT(name, value, text) [name] = text,
        QN_FAULT_STRATUM_LIST(QN_FAULT_STRATUM_TEXT)
#undef QN_FAULT_STRATUM_TEXT
    };
    switch (sample->how) {
    case QN_FAULT_EXHAUSTIVE:
        put(out, "    sample: all");
        break;
    case QN_FAULT_N:
        put(out, "    sample: %" PRId64, sample->n);
        break;
    case QN_FAULT_MARGIN:
        put(out, "    sample: margin %.17g confidence %.17g p %.17g", sample->margin, sample->confidence, sample->p);
        break;
    case QN_FAULT_UNTIL:
        put(out, "    sample: until %.17g confidence %.17g", sample->margin, sample->confidence);
        if (sample->n > 0) {
            put(out, " max %" PRId64, sample->n);
        }
        break;
    }
    put_set_bits(out, " per ", sample->by, strata, sizeof strata / sizeof strata[0]);
    put(out, "\n");
}

static void put_set(text_out *out, const qn_fault_set *set)
{
    put(out, "  - name: ");
    put_string(out, set->name);
    put(out, "\n");
    put_select(out, &set->select);
    put_model(out, set);
    put_pattern(out, set);
    if (set->lifetime == 0 || set->lifetime == 1) {
        put(out, "    lifetime: %s\n", set->lifetime == 0 ? "permanent" : "transient");
    } else if (set->lifetime > 1) {
        put(out, "    lifetime: %" PRId64 "\n", set->lifetime);
    }
    put_sample(out, &set->sample);
}

static void put_link(text_out *out, const qn_fault_link *link, bool first)
{
    put(out, first ? "links:\n  - after: " : "  - after: ");
    put_string(out, link->after);
    if (link->choice != NULL) {
        put(out, "\n    choice: ");
        put_string(out, link->choice);
    }
    put(out, link->unchecked ? "\n    checksum: \"off\"\n" : "\n");
}

qn_status qn_fault_spec_text(qn_fault_spec *spec, const char **text, qn_error *err)
{
    text_out out = {.arena = &spec->arena};
    if (spec->model_sha256[0] != '\0') {
        put(&out, "model: %s\n", spec->model_sha256);
    }
    if (spec->has_seed) {
        put(&out, "seed: %" PRIu64 "\n", spec->seed);
    }
    if (spec->verify > 0) {
        put(&out, "verify: %.17g\n", spec->verify);
    }
    if (spec->rmse_threshold > 0) {
        put(&out, "rmse-threshold: %.17g\n", spec->rmse_threshold);
    }
    if (spec->prove != QN_PROVE_NONE) {
        put(&out, "prove: %s\n", qn_spec_prove_text(spec->prove));
    }
    for (int i = 0; i < spec->n_links; i++) {
        put_link(&out, &spec->links[i], i == 0);
    }
    put(&out, "faults:\n");
    for (int i = 0; i < spec->n_sets; i++) {
        put_set(&out, &spec->sets[i]);
    }
    *text = out.failed ? NULL : out.text;
    return out.failed ? qn_fail_memory(err, spec->where, out.n) : QN_OK;
}
