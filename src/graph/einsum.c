/* The equation of an Einsum: which axes of each operand and of the output have one letter. */
#include <ctype.h>
#include <string.h>

#include "graph/infer.h"

/* Letters of one term; the ellipsis becomes so many labels of its own as the operand has axes left. */
typedef struct term {
    int n;
    int labels[QN_MAX_RANK + 1];
    int ellipsis; /* its place, -1: none */
} term;

enum { LETTERS = 52, ELLIPSIS = LETTERS, LABELS = LETTERS + QN_MAX_RANK };

static int label_of(char letter)
{
    return letter >= 'a' ? letter - 'a' : 26 + letter - 'A';
}

static qn_status read_term(const qn_infer *c, const char *text, const char *end, term *t)
{
    *t = (term){.ellipsis = -1};
    for (; text < end; text++) {
        if (*text == ' ') {
            continue;
        }
        if (*text == '.' && end - text >= 3 && text[1] == '.' && text[2] == '.' && t->ellipsis < 0) {
            t->ellipsis = t->n;
            text += 2;
            continue;
        }
        const bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
        if (!letter || t->n >= QN_MAX_RANK) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute equation", "'%c' is no letter, or one too many", *text);
        }
        t->labels[t->n++] = label_of(*text);
    }
    return QN_OK;
}

/* Put the ellipsis' labels, right-aligned to those of other operands, in its place. */
static qn_status spread(const qn_infer *c, term *t, int axes)
{
    if (axes < 0 || (axes > 0 && t->ellipsis < 0) || t->n + axes > QN_MAX_RANK) {
        return qn_infer_fail(c, QN_ESHAPE, "attribute equation", "a term of %d letters does not fit its operand", t->n);
    }
    if (t->ellipsis < 0) {
        return QN_OK;
    }
    memmove(t->labels + t->ellipsis + axes, t->labels + t->ellipsis,
            (size_t)(t->n - t->ellipsis) * sizeof t->labels[0]);
    for (int i = 0; i < axes; i++) {
        t->labels[t->ellipsis + i] = ELLIPSIS + QN_MAX_RANK - axes + i;
    }
    t->n += axes;
    return QN_OK;
}

/* Dimensions of labels, and the operand's strides along them; an axis of 1 is stretched. */
static qn_status place_operand(const qn_infer *c, qn_einsum *e, int k, const term *t, int64_t dims[LABELS],
                               int64_t strides[LABELS])
{
    const qn_bound_value *x = qn_infer_input(c, k);
    int64_t stride = 1;
    (void)e;
    for (int i = x->rank - 1; i >= 0; i--) {
        int64_t *dim = &dims[t->labels[i]];
        if (*dim > 1 && x->dims[i] > 1 && *dim != x->dims[i]) {
            return qn_infer_fail(c, QN_ESHAPE, "attribute equation", "one letter for axes of %lld and %lld elements",
                                 (long long)*dim, (long long)x->dims[i]);
        }
        *dim = *dim < 0 || *dim == 1 ? x->dims[i] : *dim;
        strides[t->labels[i]] += x->dims[i] == 1 ? 0 : stride;
        stride *= x->dims[i];
    }
    return QN_OK;
}

/* Without an arrow: the ellipsis, then letters that come once, in order of the alphabet (capitals first). */
static void imply_output(const term *in, int n, term *out)
{
    int count[LABELS] = {0};
    *out = (term){.ellipsis = 0};
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < in[k].n; i++) {
            count[in[k].labels[i]]++;
        }
    }
    for (int i = 0; i < QN_MAX_RANK; i++) {
        if (count[ELLIPSIS + i] > 0 && out->n < QN_MAX_RANK) {
            out->labels[out->n++] = ELLIPSIS + i;
        }
    }
    for (int i = 0; i < LETTERS; i++) {
        const int label = (i + 26) % LETTERS;
        if (count[label] == 1 && out->n < QN_MAX_RANK) {
            out->labels[out->n++] = label;
        }
    }
}

static qn_status read_equation(const qn_infer *c, const char *equation, term in[QN_EINSUM_OPERANDS], term *out)
{
    const char *arrow = strstr(equation, "->"), *end = arrow != NULL ? arrow : equation + strlen(equation);
    int n = 0, axes = 0;
    for (const char *text = equation; text <= end; n++) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *term_end = comma != NULL ? comma : end;
        if (n >= c->node->n_inputs) {
            return qn_infer_fail(c, QN_EFORMAT, "attribute equation", "more terms than inputs, which are %d",
                                 c->node->n_inputs);
        }
        QN_TRY(read_term(c, text, term_end, &in[n]));
        const int left = qn_infer_input(c, n)->rank - in[n].n;
        axes = left > axes ? left : axes;
        QN_TRY(spread(c, &in[n], left));
        text = term_end + 1;
    }
    if (n != c->node->n_inputs) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute equation", "%d terms for %d inputs", n, c->node->n_inputs);
    }
    if (arrow == NULL) {
        imply_output(in, n, out);
        return QN_OK;
    }
    QN_TRY(read_term(c, arrow + 2, equation + strlen(equation), out));
    return out->ellipsis >= 0 ? spread(c, out, axes) : QN_OK;
}

qn_status qn_einsum_of_node(qn_einsum *einsum, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const char *equation = qn_node_string(node, "equation", NULL);
    term in[QN_EINSUM_OPERANDS] = {{0}}, out = {0};
    int64_t dims[LABELS], strides[QN_EINSUM_OPERANDS][LABELS] = {{0}};
    bool done[LABELS] = {false};
    *einsum = (qn_einsum){0};
    if (equation == NULL || node->n_inputs > QN_EINSUM_OPERANDS) {
        return equation == NULL ? qn_infer_fail(&c, QN_EFORMAT, "attribute equation", "missing")
                                : qn_infer_fail(&c, QN_EUNSUPPORTED, NULL,
                                                "%d operands, at most %d are supported; split it into several nodes",
                                                node->n_inputs, QN_EINSUM_OPERANDS);
    }
    memset(dims, 0xff, sizeof dims);
    QN_TRY(read_equation(&c, equation, in, &out));
    for (int k = 0; k < node->n_inputs; k++) {
        QN_TRY(place_operand(&c, einsum, k, &in[k], dims, strides[k]));
    }
    for (int pass = 0; pass < 2; pass++) { /* the output's labels, then those that are summed over */
        for (int i = 0; i < (pass == 0 ? out.n : LABELS); i++) {
            const int label = pass == 0 ? out.labels[i] : i;
            const int rank = einsum->rank + einsum->summed;
            if (pass == 1 && (done[label] || dims[label] < 0)) {
                continue;
            }
            if (done[label] || dims[label] < 0 || rank >= QN_EINSUM_AXES) {
                return qn_infer_fail(&c, QN_EFORMAT, "attribute equation",
                                     "a letter of the output comes twice, or in no term, or there are too many");
            }
            done[label] = true;
            einsum->dims[rank] = dims[label];
            for (int k = 0; k < node->n_inputs; k++) {
                einsum->strides[k][rank] = strides[k][label];
            }
            *(pass == 0 ? &einsum->rank : &einsum->summed) += 1;
        }
    }
    return QN_OK;
}

qn_status qn_infer_einsum(const qn_infer *c)
{
    qn_einsum einsum;
    QN_TRY(qn_infer_want_one_type(c));
    QN_TRY(qn_einsum_of_node(&einsum, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, qn_infer_input(c, 0)->dtype, einsum.rank, einsum.dims);
}
