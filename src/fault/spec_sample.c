/* How faults are sampled, ranges of indices, and the numbers in them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/spec_parts.h"

bool qn_spec_real(double *value, const char *text)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && text[0] > ' ' && isfinite(*value);
}

bool qn_spec_share(double *value, const char *text)
{
    size_t n = strlen(text);
    char plain[64];
    if (n < 2 || text[n - 1] != '%') {
        return qn_spec_real(value, text);
    }
    /* Not a division: 0.1% shall be the same double as 0.001. */
    if (strspn(text, "0123456789.") != n - 1 || n + 3 > sizeof plain) {
        return false;
    }
    snprintf(plain, sizeof plain, "%.*se-2", (int)n - 1, text);
    return qn_spec_real(value, plain);
}

bool qn_spec_count(int64_t *value, const char *text, int64_t least)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    double real;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    if (*end != '\0' || errno != 0) {
        if (!qn_spec_real(&real, text) || !(real >= 0 && real <= 0x1p53) || real != floor(real)) {
            return false;
        }
        n = (long long)real;
    }
    *value = n;
    return n >= least;
}

/* Words of a text in a row, split at blanks; a list may have blanks behind its commas. */
typedef struct sample_words {
    char text[QN_SPEC_TEXT_MAX + 1];
    char *rest;
} sample_words;

static const char *next_word(sample_words *words)
{
    return strtok_r(NULL, " \t", &words->rest);
}

static qn_status refuse(qn_error *err, const char *text, const char *reason)
{
    return qn_fail(err, QN_EINVAL, NULL,
                   "'%s' %s; samples are: all; 1000; 1000 per layer,bit; margin 1%% confidence 99%% [p 0.5] [per ...]; "
                   "until 1%% confidence 95%% [per ...] [max 100000]",
                   text, reason);
}

static qn_status read_by(qn_fault_sample *sample, sample_words *words, const char *text, qn_error *err)
{
    static const char *const names[] = {
#define QN_FAULT_STRATUM_TEXT(name, value, label) [name] = label,
        QN_FAULT_STRATUM_LIST(QN_FAULT_STRATUM_TEXT)
#undef QN_FAULT_STRATUM_TEXT
    };
    bool more = true;
    while (more) {
        const char *word = next_word(words);
        if (word == NULL) {
            return refuse(err, text, "ends where strata are wanted: where, layer, bit or channel");
        }
        more = word[strlen(word) - 1] == ',';
        char list[QN_SPEC_TEXT_MAX + 1], *rest = NULL;
        snprintf(list, sizeof list, "%s", word);
        for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
            size_t i = 0;
            while (i < sizeof names / sizeof names[0] && strcmp(names[i], name) != 0) {
                i++;
            }
            if (i == sizeof names / sizeof names[0]) {
                return qn_fail(err, QN_EINVAL, NULL, "'%s': '%s' is none of where, layer, bit and channel", text, name);
            }
            sample->by |= 1u << i;
        }
    }
    return QN_OK;
}

static qn_status read_first(qn_fault_sample *sample, sample_words *words, const char *text, qn_error *err)
{
    char *first = strtok_r(words->text, " \t", &words->rest);
    if (first == NULL) {
        return refuse(err, text, "is empty");
    }
    const bool margin = strcmp(first, "margin") == 0, until = strcmp(first, "until") == 0;
    if (margin || until) {
        const char *share = next_word(words);
        sample->how = margin ? QN_FAULT_MARGIN : QN_FAULT_UNTIL;
        if (share == NULL || !qn_spec_share(&sample->margin, share) || !(sample->margin > 0 && sample->margin <= 0.5)) {
            return refuse(err, text, "has no margin between 0 and 50%");
        }
        sample->confidence = 0.99;
        sample->p = margin ? 0.5 : 0;
        return QN_OK;
    }
    if (strcmp(first, "all") == 0) {
        sample->how = QN_FAULT_EXHAUSTIVE;
        return QN_OK;
    }
    sample->how = QN_FAULT_N;
    return qn_spec_count(&sample->n, first, 1) ? QN_OK : refuse(err, text, "is no sample");
}

/* One "key value" after the first words. */
static qn_status read_option(qn_fault_sample *sample, const char *key, sample_words *words, const char *text,
                             qn_error *err)
{
    const bool margin = sample->how == QN_FAULT_MARGIN, until = sample->how == QN_FAULT_UNTIL;
    if (strcmp(key, "per") == 0) {
        return read_by(sample, words, text, err);
    }
    const bool confidence = strcmp(key, "confidence") == 0 && (margin || until), p = strcmp(key, "p") == 0 && margin;
    if (confidence || p) {
        double *share = confidence ? &sample->confidence : &sample->p;
        const char *value = next_word(words);
        if (value == NULL || !qn_spec_share(share, value) || !(*share > 0 && *share < 1)) {
            return refuse(err, text, confidence ? "has no confidence between 0 and 100%" : "has no p between 0 and 1");
        }
        return QN_OK;
    }
    if (strcmp(key, "max") == 0 && until) {
        const char *value = next_word(words);
        return value != NULL && qn_spec_count(&sample->n, value, 1)
                   ? QN_OK
                   : refuse(err, text, "has no number of at least 1 after max");
    }
    char reason[QN_SPEC_TEXT_MAX + 32];
    snprintf(reason, sizeof reason, "has '%s' where it means nothing", key);
    return refuse(err, text, reason);
}

qn_status qn_fault_sample_parse(qn_fault_sample *sample, const char *text, qn_error *err)
{
    sample_words words = {.rest = NULL};
    qn_fault_sample made = {0};
    if (strlen(text) > QN_SPEC_TEXT_MAX) {
        return qn_fail(err, QN_EINVAL, NULL, "a sample of more than %d bytes", QN_SPEC_TEXT_MAX);
    }
    snprintf(words.text, sizeof words.text, "%s", text);
    QN_TRY(read_first(&made, &words, text, err));
    for (const char *key = next_word(&words); key != NULL; key = next_word(&words)) {
        QN_TRY(read_option(&made, key, &words, text, err));
    }
    *sample = made;
    return QN_OK;
}

/* "3" or "8-15" of n bytes. */
static bool parse_range(qn_fault_range *range, const char *text, size_t n)
{
    char *end;
    while (n > 0 && (text[0] == ' ' || text[0] == '\t')) {
        text++, n--;
    }
    errno = 0;
    if (n == 0 || text[0] < '0' || text[0] > '9') {
        return false;
    }
    range->first = range->last = strtoll(text, &end, 10);
    if (*end == '-' && end[1] >= '0' && end[1] <= '9') {
        range->last = strtoll(end + 1, &end, 10);
    }
    while (*end == ' ' || *end == '\t') {
        end++;
    }
    return errno == 0 && end == text + n && range->first <= range->last;
}

static int by_first(const void *a, const void *b)
{
    const qn_fault_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorted, and none touches the next. */
static int unite(qn_fault_range *list, int n)
{
    int kept = 0;
    qsort(list, (size_t)n, sizeof *list, by_first);
    for (int i = 1; i < n; i++) {
        if (list[kept].last == INT64_MAX || list[i].first <= list[kept].last + 1) {
            list[kept].last = list[i].last > list[kept].last ? list[i].last : list[kept].last;
        } else {
            list[++kept] = list[i];
        }
    }
    return n > 0 ? kept + 1 : 0;
}

qn_status qn_fault_ranges_parse(qn_fault_ranges *ranges, qn_arena *arena, const char *text, qn_error *err)
{
    *ranges = (qn_fault_ranges){0};
    if (strcmp(text, "all") == 0) {
        return QN_OK;
    }
    size_t n = 1;
    for (const char *c = text; *c != '\0'; c++) {
        n += *c == ',';
    }
    qn_fault_range *list = n <= QN_SPEC_MAX_ENTRIES ? qn_arena_array(arena, n, sizeof *list) : NULL;
    if (list == NULL) {
        return n > QN_SPEC_MAX_ENTRIES ? qn_fail(err, QN_EINVAL, NULL, "more than %d ranges", QN_SPEC_MAX_ENTRIES)
                                       : qn_fail_memory(err, "ranges", n * sizeof *list);
    }
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(at, ",");
        if (!parse_range(&list[i], at, length)) {
            return qn_fail(err, QN_EINVAL, NULL, "'%.*s' is no index from 0 on and no range such as 8-15",
                           (int)(length < 100 ? length : 100), at);
        }
        at += length + 1;
    }
    *ranges = (qn_fault_ranges){list, unite(list, (int)n)};
    return QN_OK;
}
