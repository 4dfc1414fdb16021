/* weights/ read again: the integers, and the decimals digit by digit, against the codes of the network. */
#include <stdio.h>
#include <string.h>

#include "export/hls/hls.h"
#include "export/verify.h"

enum { MAX_DIGITS = 64 };

/* What is left of a text. */
typedef struct reader {
    const char *at, *end;
} reader;

/* Go behind the next `text`; false: there is none. */
static bool skip_to(reader *r, const char *text)
{
    const size_t n = strlen(text);
    for (; (size_t)(r->end - r->at) >= n; r->at++) {
        if (memcmp(r->at, text, n) == 0) {
            r->at += n;
            return true;
        }
    }
    return false;
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == ',')) {
        r->at++;
    }
}

/* Digits behind the point, doubled in place; what comes out in front of it. */
static int double_digits(char *digits, int n)
{
    int carry = 0;
    for (int i = n - 1; i >= 0; i--) {
        const int twice = 2 * digits[i] + carry;
        digits[i] = (char)(twice % 10);
        carry = twice / 10;
    }
    return carry;
}

/* The next number times 2^fraction. False: it is none, or no integer then. */
static bool read_number(reader *r, int fraction, int64_t *value)
{
    char digits[MAX_DIGITS];
    int64_t whole = 0;
    int n = 0, n_read = 0;
    skip_blanks(r);
    const bool negative = r->at < r->end && *r->at == '-';
    r->at += negative;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, n_read++) {
        if (whole > (INT64_C(1) << 56)) {
            return false;
        }
        whole = whole * 10 + (*r->at - '0');
    }
    if (r->at < r->end && *r->at == '.') {
        for (r->at++; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
            if (n == MAX_DIGITS) {
                return false;
            }
            digits[n++] = (char)(*r->at - '0');
        }
    }
    for (int i = 0; i < fraction; i++) {
        if (whole > (INT64_C(1) << 56)) {
            return false;
        }
        whole = 2 * whole + double_digits(digits, n);
    }
    if (fraction < 0) {
        if (whole % (INT64_C(1) << -fraction) != 0) {
            return false;
        }
        whole >>= -fraction;
    }
    for (int i = 0; i < n; i++) {
        if (digits[i] != 0) {
            return false;
        }
    }
    *value = negative ? -whole : whole;
    return n_read > 0;
}

static int64_t code_at(const qn_hls_array *a, int64_t i)
{
    return a->s16 != NULL ? a->s16[i] : a->s32[i];
}

typedef struct request {
    qn_export_checking *c;
    const char *path;
    reader r;
    char letter;
    int number;
} request;

static int shape_of(const request *q, const qn_hls *hls, const qn_hls_array *a, int64_t dims[4])
{
    dims[0] = a->n;
    if (q->letter != 'w') {
        return 1;
    }
    const qn_export_conv *conv = &hls->network->layers[a->layer].u.conv;
    dims[0] = conv->outputs, dims[1] = conv->kernel[0], dims[2] = conv->kernel[1], dims[3] = conv->group_inputs;
    return 4;
}

/* One initializer. */
static void compare_numbers(request *q, const qn_hls *hls, const qn_hls_array *a, bool decimals)
{
    const char *name = a->layer >= 0 ? hls->network->layers[a->layer].name : hls->network->tensors[a->tensor].name;
    char head[64];
    int64_t dims[4];
    const int rank = shape_of(q, hls, a, dims);
    snprintf(head, sizeof head, " %c%d[%lld] = {", a->letter, a->number, (long long)a->n);
    if (!skip_to(&q->r, head)) {
        qn_export_differs(q->c, "%s: '%s': there is no '%s'", q->path, name, head + 1);
        return;
    }
    q->c->check->n_tensors++;
    q->c->check->n_elements += a->n;
    for (int64_t i = 0; i < a->n; i++) {
        const int raise = decimals ? a->raise[i / a->per] : 0;
        const int64_t expected = code_at(a, i) * (INT64_C(1) << raise);
        int64_t value;
        if (!read_number(&q->r, decimals ? a->fraction : 0, &value)) {
            qn_export_differs(q->c, "%s: '%s': number %lld is none of its format", q->path, name, (long long)i);
            return;
        }
        if (value != expected) {
            qn_export_element_differs(q->c, q->path, name, rank, dims, i, (double)expected, (double)value);
        }
    }
    skip_blanks(&q->r);
    if (q->r.at == q->r.end || *q->r.at != '}') {
        qn_export_differs(q->c, "%s: '%s': holds more than %lld numbers", q->path, name, (long long)a->n);
    }
}

static qn_status look(void *ctx, const qn_hls *hls, const qn_hls_array *a, qn_error *err)
{
    (void)err;
    request *q = ctx;
    if (a->letter != q->letter || a->number != q->number || a->real != NULL) {
        return QN_OK;
    }
    if (a->raise != NULL) {
        compare_numbers(q, hls, a, true);
    }
    compare_numbers(q, hls, a, false);
    return QN_OK;
}

qn_status qn_export_check_hls(qn_export_checking *c, const char *path, const void *found, size_t n_found,
                              const void *expected, size_t n_expected, qn_error *err)
{
    (void)expected, (void)n_expected;
    request q = {.c = c, .path = path, .r = {found, (const char *)found + n_found}};
    char end;
    if (sscanf(path, "hls/weights/%c%d.%c", &q.letter, &q.number, &end) != 3 || end != 'h') {
        return QN_OK; /* bytes are compared */
    }
    qn_hls hls = {.network = c->job->network};
    qn_status status = qn_hls_decide(&hls, err);
    if (status == QN_OK) {
        status = qn_hls_each_array(&hls, look, &q, err);
    }
    qn_arena_free(&hls.arena);
    return status;
}
