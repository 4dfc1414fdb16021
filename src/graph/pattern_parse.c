/* Reading the text of a pattern. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "graph/pattern.h"

typedef struct parser {
    qn_pattern *pattern;
    const char *text, *at;
    qn_error *err;
} parser;

static qn_status fail(const parser *p, const char *what)
{
    return qn_fail(p->err, QN_EINVAL, p->text, "is no pattern: %s at character %d", what, (int)(p->at - p->text));
}

static char next(parser *p)
{
    while (isspace((unsigned char)*p->at)) {
        p->at++;
    }
    return *p->at;
}

static bool accept(parser *p, char c)
{
    const bool found = next(p) == c;
    p->at += found ? 1 : 0;
    return found;
}

static qn_status word(parser *p, char *text, size_t size)
{
    size_t n = 0;
    for (next(p); isalnum((unsigned char)*p->at) || *p->at == '_'; p->at++) {
        if (n + 1 == size) {
            return fail(p, "a name too long");
        }
        text[n++] = *p->at;
    }
    text[n] = '\0';
    return n > 0 ? QN_OK : fail(p, "a name is missing");
}

static qn_status name(parser *p, const char *text, char sign, int *index)
{
    qn_pattern *pattern = p->pattern;
    for (*index = 0; *index < pattern->n_names; ++*index) {
        if (strcmp(pattern->names[*index].text, text) == 0) {
            return pattern->names[*index].sign == sign ? QN_OK : fail(p, "one name with two signs");
        }
    }
    if (pattern->n_names == QN_PATTERN_NAMES || strlen(text) >= sizeof pattern->names[0].text) {
        return fail(p, "too many names, or too long a name");
    }
    qn_pattern_name *added = &pattern->names[pattern->n_names++];
    *added = (qn_pattern_name){.sign = sign};
    strcpy(added->text, text);
    return QN_OK;
}

static qn_status term(parser *p, int *index);

static qn_status node(parser *p, const char *type, qn_pattern_term *made)
{
    made->kind = QN_TERM_NODE;
    made->op = qn_op_find(QN_DOMAIN_ONNX, type);
    if (made->op == QN_OP_UNKNOWN || !accept(p, '(')) {
        return fail(p, "an operator that is unknown or without operands");
    }
    do {
        if (made->n_args == (int)(sizeof made->args / sizeof made->args[0])) {
            return fail(p, "too many operands");
        }
        QN_TRY(term(p, &made->args[made->n_args++]));
    } while (accept(p, ','));
    return accept(p, ')') ? QN_OK : fail(p, "')' is missing");
}

static qn_status term(parser *p, int *index)
{
    qn_pattern_term made = {0};
    char text[40];
    const char first = next(p);
    if (isdigit((unsigned char)first) || first == '-') {
        char *end;
        made.kind = QN_TERM_NUMBER;
        made.number = strtod(p->at, &end);
        p->at = end;
    } else {
        const char sign = (char)(first == '#' || first == '@' ? first : 0);
        p->at += sign != 0 ? 1 : 0;
        QN_TRY(word(p, text, sizeof text));
        if (isupper((unsigned char)text[0])) {
            QN_TRY(node(p, text, &made));
        } else {
            QN_TRY(name(p, text, sign, &made.name));
        }
    }
    if (p->pattern->n_terms == QN_PATTERN_TERMS) {
        return fail(p, "too many terms");
    }
    *index = p->pattern->n_terms++;
    p->pattern->terms[*index] = made;
    return QN_OK;
}

static qn_status rule(parser *p)
{
    char text[40];
    int index;
    QN_TRY(word(p, text, sizeof text));
    QN_TRY(name(p, text, 0, &index));
    if (!accept(p, '=')) {
        return fail(p, "'=' is missing");
    }
    qn_pattern_name *rule = &p->pattern->names[index];
    do {
        if (rule->n_alternatives == QN_PATTERN_ALTERNATIVES) {
            return fail(p, "too many alternatives");
        }
        QN_TRY(term(p, &rule->alternatives[rule->n_alternatives++]));
    } while (accept(p, '|'));
    return QN_OK;
}

qn_status qn_pattern_parse(qn_pattern *pattern, const char *text, qn_error *err)
{
    parser p = {pattern, text, text, err};
    *pattern = (qn_pattern){0};
    do {
        QN_TRY(rule(&p));
    } while (accept(&p, ';') && next(&p) != '\0');
    return next(&p) == '\0' ? QN_OK : fail(&p, "something that does not belong there");
}
