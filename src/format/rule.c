/* Range rules as texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/row.h"
#include "quern/fit.h"

static const char *const names[] = {
#define RULE_TEXT(name, value, text) text,
    QN_RULE_LIST(RULE_TEXT)
#undef RULE_TEXT
};
enum { N_RULES = sizeof names / sizeof names[0], NUMBER_MAX = 32 };

/* A finite number that takes up text[0, length). */
static qn_status parse_number(double *value, const char *text, size_t length, const char *what, const char *where,
                              qn_error *err)
{
    char copy[NUMBER_MAX + 1];
    size_t n = length < NUMBER_MAX ? length : NUMBER_MAX;
    memcpy(copy, text, n);
    copy[n] = '\0';
    char *end;
    double parsed = strtod(copy, &end);
    if (end == copy || *end != '\0' || length > NUMBER_MAX || !isfinite(parsed)) {
        return qn_fail(err, QN_EINVAL, where, "%s is '%s', which is not a finite number", what, copy);
    }
    *value = parsed;
    return QN_OK;
}

static qn_status parse_percentile(qn_fit_rule *rule, const char *text, size_t length, const char *where, qn_error *err)
{
    QN_TRY(parse_number(&rule->percentile, text, length, "the percentile", where, err));
    if (rule->percentile <= 0.0 || rule->percentile > 100.0) {
        return qn_fail(err, QN_EINVAL, where, "the percentile is %g; legal is above 0, at most 100", rule->percentile);
    }
    return QN_OK;
}

static qn_status parse_range(qn_fit_rule *rule, const char *text, size_t length, const char *where, qn_error *err)
{
    const char *comma = memchr(text, ',', length);
    if (comma == NULL) {
        QN_TRY(parse_number(&rule->hi, text, length, "the range", where, err));
        rule->lo = -rule->hi;
    } else {
        size_t n = (size_t)(comma - text);
        QN_TRY(parse_number(&rule->lo, text, n, "the range's lower end", where, err));
        QN_TRY(parse_number(&rule->hi, comma + 1, length - n - 1, "the range's upper end", where, err));
    }
    if (rule->lo > rule->hi) {
        return qn_fail(err, QN_EINVAL, where,
                       "the range goes from %g down to %g; write range=R with R of 0 or more, "
                       "or range=LO,HI with LO <= HI",
                       rule->lo, rule->hi);
    }
    return QN_OK;
}

static qn_status parse_path(qn_fit_rule *rule, const char *text, size_t length, const char *where, qn_error *err)
{
    if (length == 0 || length >= QN_RULE_PATH_MAX) {
        return qn_fail(err, QN_EINVAL, where, "params= takes the name of a file, of at most %d bytes",
                       QN_RULE_PATH_MAX - 1);
    }
    memcpy(rule->path, text, length);
    rule->path[length] = '\0';
    return QN_OK;
}

/* How a rule's argument begins, and what reads it; rules that are not here take none. */
static const struct {
    qn_rule_kind kind;
    char separator;
    const char *example;
    qn_status (*parse)(qn_fit_rule *rule, const char *text, size_t length, const char *where, qn_error *err);
} arguments[] = {
    {QN_RULE_PERCENTILE, ':', "percentile:99.9", parse_percentile},
    {QN_RULE_ABS_PERCENTILE, ':', "abs-percentile:99.9", parse_percentile},
    {QN_RULE_RANGE, '=', "range=2.5 or range=-1,3", parse_range},
    {QN_RULE_PARAMS, '=', "params=p.json", parse_path},
};
enum { N_ARGUMENTS = sizeof arguments / sizeof arguments[0] };

static int argument_of(qn_rule_kind kind)
{
    for (int i = 0; i < N_ARGUMENTS; i++) {
        if (arguments[i].kind == kind) {
            return i;
        }
    }
    return -1;
}

static qn_status parse_kind(qn_fit_rule *rule, const char *text, size_t length, const char *where, qn_error *err)
{
    char name[NUMBER_MAX];
    size_t n = length < NUMBER_MAX - 1 ? length : NUMBER_MAX - 1;
    memcpy(name, text, n);
    name[n] = '\0';
    int index;
    QN_TRY(qn_format_text_word(&index, name, names, N_RULES, "range rule", where, err));
    rule->kind = (qn_rule_kind)index;
    return QN_OK;
}

/* "*F" at the end of length bytes of text, which it shortens. */
static qn_status parse_factor(qn_fit_rule *rule, const char *text, size_t *length, const char *where, qn_error *err)
{
    const char *star = strrchr(text, '*');
    if (star == NULL) {
        return QN_OK;
    }
    QN_TRY(parse_number(&rule->factor, star + 1, strlen(star + 1), "the factor after '*'", where, err));
    if (rule->factor <= 0.0) {
        return qn_fail(err, QN_EINVAL, where, "the factor after '*' is %g; it must be above 0", rule->factor);
    }
    if (rule->kind == QN_RULE_FORMAT) {
        return qn_fail(err, QN_EINVAL, where, "the rule 'format' takes no factor; minmax*%g does", rule->factor);
    }
    *length = (size_t)(star - text);
    return QN_OK;
}

qn_status qn_fit_rule_parse(qn_fit_rule *rule, const char *text, qn_error *err)
{
    qn_fit_rule r = {0};
    char where[64];
    snprintf(where, sizeof where, "fit '%.48s'", text);
    QN_TRY(parse_kind(&r, text, strcspn(text, ":=*"), where, err));
    size_t length = strlen(text), name = strlen(names[r.kind]);
    if (r.kind != QN_RULE_PARAMS) {
        QN_TRY(parse_factor(&r, text, &length, where, err));
    }
    int argument = argument_of(r.kind);
    if (argument < 0 && length != name) {
        return qn_fail(err, QN_EINVAL, where, "'%.*s' after '%s' is not understood; write %s", (int)(length - name),
                       text + name, names[r.kind], names[r.kind]);
    }
    if (argument >= 0) {
        if (length <= name || text[name] != arguments[argument].separator) {
            return qn_fail(err, QN_EINVAL, where, "%s needs an argument, as in %s", names[r.kind],
                           arguments[argument].example);
        }
        QN_TRY(arguments[argument].parse(&r, text + name + 1, length - name - 1, where, err));
    }
    *rule = r;
    return QN_OK;
}

/* The shortest decimal that reads back as x, without an exponent where that is no shorter. */
static void print_number(char text[NUMBER_MAX], double x)
{
    int digits = 1;
    do {
        snprintf(text, NUMBER_MAX, "%.*g", digits, x);
    } while (strtod(text, NULL) != x && ++digits <= 17);
    char plain[NUMBER_MAX];
    snprintf(plain, sizeof plain, "%.15g", x);
    if (strtod(plain, NULL) == x && strlen(plain) <= strlen(text)) {
        memcpy(text, plain, sizeof plain);
    }
}

void qn_fit_rule_name(char name[QN_RULE_NAME_MAX], const qn_fit_rule *rule)
{
    char a[NUMBER_MAX], b[NUMBER_MAX];
    const char *head = (unsigned)rule->kind < N_RULES ? names[rule->kind] : "?";
    switch (rule->kind) {
    case QN_RULE_PERCENTILE:
    case QN_RULE_ABS_PERCENTILE:
        print_number(a, rule->percentile);
        snprintf(name, QN_RULE_NAME_MAX, "%s:%s", head, a);
        break;
    case QN_RULE_RANGE:
        print_number(a, rule->lo);
        print_number(b, rule->hi);
        snprintf(name, QN_RULE_NAME_MAX, rule->lo == -rule->hi ? "%s=%s" : "%s=%s,%s", head,
                 rule->lo == -rule->hi ? b : a, b);
        break;
    case QN_RULE_PARAMS:
        snprintf(name, QN_RULE_NAME_MAX, "%s=%s", head, rule->path);
        return;
    default:
        snprintf(name, QN_RULE_NAME_MAX, "%s", head);
    }
    if (rule->factor != 0.0 && rule->factor != 1.0) {
        size_t used = strlen(name);
        print_number(a, rule->factor);
        snprintf(name + used, QN_RULE_NAME_MAX - used, "*%s", a);
    }
}
