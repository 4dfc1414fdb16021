/* Format names: "head<arg,arg>:word:word" to formats and back. The registry's rows say what heads, arguments and words
 * there are; everything that can be wrong in a name is reported here, with the nearest right one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "format/row.h"

static const char *const rounding_names[] = {
#define ROUND_TEXT(name, value, text, ap_name) text,
    QN_ROUND_LIST(ROUND_TEXT)
#undef ROUND_TEXT
};
static const char *const fit_names[] = {
#define FIT_TEXT(name, value, text) text,
    QN_FIT_LIST(FIT_TEXT)
#undef FIT_TEXT
};
enum {
    N_ROUNDINGS = sizeof rounding_names / sizeof rounding_names[0],
    N_FITS = sizeof fit_names / sizeof fit_names[0],
    LIST_MAX = 1024
};

qn_status qn_format_text_word(int *index, const char *word, const char *const *names, int n, const char *what,
                              const char *where, qn_error *err)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(word, names[i]) == 0) {
            *index = i;
            return QN_OK;
        }
    }
    char list[LIST_MAX];
    qn_list_names(list, sizeof list, names, n);
    return qn_fail(err, QN_EINVAL, where, "'%s' is no %s; the nearest is '%s'; there are: %s", word, what,
                   names[qn_nearest_name(word, names, n)], list);
}

qn_status qn_format_text_int(int *value, const qn_format_text *text, int index, const char *what, qn_error *err)
{
    const char *arg = text->args[index];
    char *end;
    long parsed = strtol(arg, &end, 10);
    if (*arg == '\0' || *end != '\0' || isspace((unsigned char)*arg) || parsed < -1000000000 || parsed > 1000000000) {
        return qn_fail(err, QN_EINVAL, text->where, "argument %d (%s) is '%s', which is not an integer in reach",
                       index + 1, what, arg);
    }
    *value = (int)parsed;
    return QN_OK;
}

/* Copy the part that ends at `end` (blanks around it left out). */
static qn_status copy_part(char part[QN_TEXT_PART], const char *start, const char *end, const qn_format_text *text,
                           qn_error *err)
{
    while (start < end && *start == ' ') {
        start++;
    }
    while (end > start && end[-1] == ' ') {
        end--;
    }
    if (start == end || end - start >= QN_TEXT_PART) {
        return qn_fail(err, QN_EINVAL, text->where, "%s part in the name; names look like adaptivfloat<8,3>",
                       start == end ? "there is an empty" : "there is too long a");
    }
    memcpy(part, start, (size_t)(end - start));
    part[end - start] = '\0';
    return QN_OK;
}

/* Take "head<arg,arg>:word:word" apart. Angle brackets nest: mx<float<4,3,fn>,32> has two arguments. */
static qn_status split(qn_format_text *text, const char *name, qn_error *err)
{
    const char *at = name + strcspn(name, "<:");
    QN_TRY(copy_part(text->head, name, at, text, err));
    if (*at == '<') {
        int depth = 0;
        const char *start = at + 1;
        do {
            depth += *at == '<' ? 1 : *at == '>' ? -1 : 0;
            if (depth == 0 || (depth == 1 && *at == ',')) {
                if (text->n_args == QN_TEXT_ARGS) {
                    return qn_fail(err, QN_EINVAL, text->where, "there are more than %d arguments", QN_TEXT_ARGS);
                }
                QN_TRY(copy_part(text->args[text->n_args++], start, at, text, err));
                start = at + 1;
            }
        } while (*at++ != '\0' && depth > 0);
        if (depth > 0) {
            return qn_fail(err, QN_EINVAL, text->where, "'<' without '>'");
        }
    }
    while (*at == ':') {
        const char *start = at + 1;
        at = start + strcspn(start, ":");
        if (text->n_words == QN_TEXT_WORDS) {
            return qn_fail(err, QN_EINVAL, text->where, "there are more than %d words after colons", QN_TEXT_WORDS);
        }
        QN_TRY(copy_part(text->words[text->n_words++], start, at, text, err));
    }
    return *at == '\0' ? QN_OK : qn_fail(err, QN_EINVAL, text->where, "'%s' after the '>' is not understood", at);
}

/* Find the row that has this head, or, for "int8", this head without its digits, which then become the argument. */
static const qn_format_row *find_head(qn_format_text *text, int *head)
{
    size_t digits = strlen(text->head);
    while (digits > 0 && isdigit((unsigned char)text->head[digits - 1])) {
        digits--;
    }
    for (size_t i = 0; i < qn_format_count(); i++) {
        const qn_format_row *row = qn_format_row_of(qn_format_describe(i).kind);
        for (int h = 0; row->heads[h] != NULL; h++) {
            bool whole = strcmp(text->head, row->heads[h]) == 0;
            bool numbered = row->digits && text->n_args == 0 && text->head[digits] != '\0' &&
                            strlen(row->heads[h]) == digits && strncmp(text->head, row->heads[h], digits) == 0;
            if (whole || numbered) {
                if (!whole) {
                    memcpy(text->args[text->n_args++], text->head + digits, sizeof text->head - digits);
                }
                *head = h;
                return row;
            }
        }
    }
    return NULL;
}

static qn_status refuse_head(const qn_format_text *text, qn_error *err)
{
    const char *names[128];
    int n = 0;
    for (size_t i = 0; i < qn_format_count(); i++) {
        const qn_format_row *row = qn_format_row_of(qn_format_describe(i).kind);
        for (int h = 0; row->heads[h] != NULL && n < 128; h++) {
            names[n++] = row->heads[h];
        }
    }
    char list[LIST_MAX];
    qn_list_names(list, sizeof list, names, n);
    return qn_fail(err, QN_EINVAL, text->where, "there is no format '%s'; the nearest is '%s'; there are: %s",
                   text->head, names[qn_nearest_name(text->head, names, n)], list);
}

/* Words that every format reads the same way: roundings and fits, of those the row allows. */
static qn_status common_word(qn_format *f, const qn_format_row *row, const qn_format_text *text, const char *word,
                             qn_error *err)
{
    const char *legal[N_ROUNDINGS + N_FITS];
    int n = 0;
    for (int r = 0; r < N_ROUNDINGS; r++) {
        if (row->roundings >> r & 1) {
            if (strcmp(word, rounding_names[r]) == 0) {
                f->rounding = (qn_rounding)r;
                return QN_OK;
            }
            legal[n++] = rounding_names[r];
        }
    }
    for (int i = 1; i < N_FITS; i++) {
        if (row->fits >> i & 1) {
            if (strcmp(word, fit_names[i]) == 0) {
                f->fit = (qn_fit_kind)i;
                return QN_OK;
            }
            legal[n++] = fit_names[i];
        }
    }
    if (n == 0) {
        return qn_fail(err, QN_EINVAL, text->where, "nothing may follow a colon in %s, '%s' does", row->about.synopsis,
                       word);
    }
    int index;
    return qn_format_text_word(&index, word, legal, n, "rounding or fit of this format", text->where, err);
}

static qn_status parse_words(qn_format *f, const qn_format_row *row, const qn_format_text *text, qn_error *err)
{
    for (int i = 0; i < text->n_words; i++) {
        for (int earlier = 0; earlier < i; earlier++) {
            if (strcmp(text->words[i], text->words[earlier]) == 0) {
                return qn_fail(err, QN_EINVAL, text->where, "'%s' stands there twice", text->words[i]);
            }
        }
        qn_format before = *f;
        if (row->word == NULL || !row->word(f, text->words[i])) {
            QN_TRY(common_word(f, row, text, text->words[i], err));
        }
        if (before.fit != QN_FIT_DEFAULT && before.fit != f->fit) {
            return qn_fail(err, QN_EINVAL, text->where, "there are two fits, '%s' and '%s'; leave one out",
                           fit_names[before.fit], fit_names[f->fit]);
        }
    }
    return QN_OK;
}

qn_status qn_format_parse(qn_format *format, const char *name, qn_error *err)
{
    char where[QN_FORMAT_NAME_MAX + 16];
    snprintf(where, sizeof where, "format '%.*s'", QN_FORMAT_NAME_MAX, name);
    qn_format_text text = {.where = where};
    QN_TRY(split(&text, name, err));
    int head = 0;
    const qn_format_row *row = find_head(&text, &head);
    if (row == NULL) {
        return refuse_head(&text, err);
    }
    if (text.n_args < row->args_min || text.n_args > row->args_max) {
        return qn_fail(err, QN_EINVAL, where, "%d arguments; write %s, as in %s", text.n_args, row->about.synopsis,
                       row->about.examples);
    }
    qn_format f = {.is_signed = true, .kind = row->about.kind};
    QN_TRY(row->parse(&f, head, &text, err));
    QN_TRY(parse_words(&f, row, &text, err));
    const qn_format written = f;
    if (row->derive != NULL) {
        row->derive(&f);
    }
    if (written.rounding != f.rounding && written.rounding != QN_ROUND_NEAREST_EVEN) {
        return qn_fail(err, QN_EINVAL, where, "'%s' and '%s' contradict each other: that fit has its own rounding",
                       fit_names[f.fit], rounding_names[written.rounding]);
    }
    QN_TRY(qn_format_check(f, where, err));
    *format = f;
    return QN_OK;
}

void qn_format_name(char name[QN_FORMAT_NAME_MAX], qn_format format)
{
    const qn_format_row *row = qn_format_row_of(format.kind);
    qn_format implied = {0};
    row->print(name, &format, &implied);
    size_t used = strlen(name);
    if (format.fit != QN_FIT_DEFAULT) {
        used += (size_t)snprintf(name + used, QN_FORMAT_NAME_MAX - used, ":%s", fit_names[format.fit]);
    }
    if (format.rounding != implied.rounding && used < QN_FORMAT_NAME_MAX) {
        snprintf(name + used, QN_FORMAT_NAME_MAX - used, ":%s", rounding_names[format.rounding]);
    }
}
