/* Patterns: what one fault strikes at once. */
#include <string.h>

#include "fault/spec_parts.h"

static const char *const pattern_names[] = {"single", "channel", "array", "word", "rate", "count", "all", "frame"};
enum { N_PATTERNS = sizeof pattern_names / sizeof pattern_names[0] };

static qn_status read_side(int *side, const char *key, const char *text, const qn_spec_place *place, qn_error *err)
{
    int64_t n;
    if (!qn_spec_count(&n, text, 1) || n > 65536) {
        return qn_spec_fail(err, place, "%s '%s' is not a number from 1 to 65536", key, text);
    }
    *side = (int)n;
    return QN_OK;
}

static qn_status read_array_key(qn_fault_array *array, int key, const char *text, const qn_spec_place *place,
                                qn_error *err)
{
    static const char *const stationary[] = {"weight", "output"}, *const parts[] = {"pe", "row", "column"};
    int index;
    switch (key) {
    case 0:
        return read_side(&array->rows, "rows", text, place, err);
    case 1:
        return read_side(&array->columns, "columns", text, place, err);
    case 2:
        QN_TRY(qn_spec_choose(&index, text, stationary, 2, "kind of stationary", place, err));
        array->output_stationary = index == 1;
        return QN_OK;
    default:
        QN_TRY(qn_spec_choose(&index, text, parts, 3, "part of an array", place, err));
        array->part = (qn_fault_array_part)index;
        return QN_OK;
    }
}

/* "16x16" or "rows 16 columns 16", "stationary weight", "part pe". */
static qn_status read_array(qn_fault_array *array, qn_spec_words *walk, const qn_spec_place *place, qn_error *err)
{
    static const char *const keys[] = {"rows", "columns", "stationary", "part"};
    *array = (qn_fault_array){.part = QN_FAULT_PE};
    while (qn_spec_next_word(walk)) {
        char *times = strchr(walk->word, 'x');
        int key;
        if (times != NULL && walk->word[0] >= '0' && walk->word[0] <= '9') {
            *times = '\0';
            QN_TRY(read_array_key(array, 0, walk->word, place, err));
            QN_TRY(read_array_key(array, 1, times + 1, place, err));
            continue;
        }
        QN_TRY(qn_spec_choose(&key, walk->word, keys, 4, "key of an array", place, err));
        if (!qn_spec_next_word(walk)) {
            return qn_spec_fail(err, place, "no value follows '%s'", keys[key]);
        }
        QN_TRY(read_array_key(array, key, walk->word, place, err));
    }
    return array->rows > 0 && array->columns > 0
               ? QN_OK
               : qn_spec_fail(err, place, "an array needs rows and columns: array 16x16 stationary weight part pe");
}

static qn_status read_pattern_number(qn_fault_set *set, const char *text, const qn_spec_place *place, qn_error *err)
{
    int64_t n;
    switch (set->pattern) {
    case QN_FAULT_WORD:
        if (!qn_spec_count(&n, text, 1) || n > 1 << 20) {
            return qn_spec_fail(err, place, "word '%s' is not a number of bits from 1 to 1048576", text);
        }
        set->word_bits = (int)n;
        return QN_OK;
    case QN_FAULT_RATE:
        return qn_spec_share(&set->rate, text) && set->rate >= 0 && set->rate <= 1
                   ? QN_OK
                   : qn_spec_fail(err, place, "rate '%s' is no probability, from 0 to 1", text);
    default:
        return qn_spec_count(&set->count, text, 1)
                   ? QN_OK
                   : qn_spec_fail(err, place, "count '%s' is not a number of elements from 1 on", text);
    }
}

qn_status qn_spec_read_pattern(qn_fault_set *set, const qn_spec_texts *texts, const qn_spec_place *place, qn_error *err)
{
    const char *text;
    QN_TRY(qn_spec_one_text(&text, texts, place, err));
    qn_spec_words walk = {.texts = texts, .at = ""};
    int pattern;
    QN_TRY(qn_spec_next_word(&walk)
               ? qn_spec_choose(&pattern, walk.word, pattern_names, N_PATTERNS, "pattern", place, err)
               : qn_spec_fail(err, place, "has no value"));
    set->pattern = (qn_fault_pattern)pattern;
    if (set->pattern == QN_FAULT_ARRAY) {
        return read_array(&set->array, &walk, place, err);
    }
    if (set->pattern == QN_FAULT_WORD || set->pattern == QN_FAULT_RATE || set->pattern == QN_FAULT_COUNT) {
        if (!qn_spec_next_word(&walk)) {
            return qn_spec_fail(err, place, "a number follows '%s': word 32, rate 1e-6, count 10",
                                pattern_names[pattern]);
        }
        QN_TRY(read_pattern_number(set, walk.word, place, err));
    }
    return qn_spec_next_word(&walk) ? qn_spec_fail(err, place, "'%s' after '%s' means nothing", walk.word, text)
                                    : QN_OK;
}
