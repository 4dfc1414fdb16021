/* Reading model.c back: the numbers behind each marker, weights unpacked, against the network. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "export/c/parts.h"
#include "export/verify.h"

static const char marker[] = "/* tensor: ";

typedef struct reader {
    const qn_export_network *network;
    qn_export_checking *checking;
    const char *text, *end;
} reader;

/* The place behind `word`, or NULL; within [p, end). */
static const char *find(const char *p, const char *end, const char *word)
{
    const size_t n = strlen(word);
    for (; (size_t)(end - p) >= n; p++) {
        p = memchr(p, word[0], (size_t)(end - p) - n + 1);
        if (p == NULL) {
            return NULL;
        }
        if (memcmp(p, word, n) == 0) {
            return p + n;
        }
    }
    return NULL;
}

static int digit_of(char c, int base)
{
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
    return value < base ? value : -1;
}

/* Digits of a number up to 2^62, `count` of them read. */
static int64_t read_digits(const char **p, const char *end, int base, int *count)
{
    int64_t value = 0;
    for (*count = 0; *p < end && digit_of(**p, base) >= 0 && value < INT64_C(1) << 59; (*p)++, (*count)++) {
        value = value * base + digit_of(**p, base);
    }
    return value;
}

static bool read_sign(const char **p, const char *end)
{
    const bool negative = *p < end && **p == '-';
    *p += *p < end && (**p == '-' || **p == '+');
    return negative;
}

static bool skip(const char **p, const char *end, const char *word)
{
    const size_t n = strlen(word);
    const bool there = (size_t)(end - *p) >= n && memcmp(*p, word, n) == 0;
    *p += there ? n : 0;
    return there;
}

/* A hex float of C, as bits. */
static bool read_float(const char **p, const char *end, int64_t *value)
{
    int n, n_fraction = 0, n_exponent;
    const bool negative = read_sign(p, end);
    if (!skip(p, end, "0x")) {
        return false;
    }
    int64_t mantissa = read_digits(p, end, 16, &n);
    if (skip(p, end, ".")) {
        const int64_t fraction = read_digits(p, end, 16, &n_fraction);
        mantissa = n_fraction <= 8 && mantissa < 16 ? (mantissa << 4 * n_fraction) + fraction : -1;
    }
    if (n == 0 || mantissa < 0 || !skip(p, end, "p")) {
        return false;
    }
    const bool down = read_sign(p, end);
    const int64_t exponent = read_digits(p, end, 10, &n_exponent);
    if (n_exponent == 0 || exponent > 999 || !skip(p, end, "f")) {
        return false;
    }
    const float x = (float)ldexp((double)mantissa, (int)(down ? -exponent : exponent) - 4 * n_fraction);
    const float signed_x = negative ? -x : x;
    uint32_t bits;
    memcpy(&bits, &signed_x, sizeof bits);
    *value = bits;
    return true;
}

static bool read_number(const char **p, const char *end, bool is_float, int64_t *value)
{
    int n;
    if (is_float) {
        return read_float(p, end, value);
    }
    if (skip(p, end, "INT32_MIN")) {
        *value = INT32_MIN;
        return true;
    }
    const bool negative = read_sign(p, end);
    *value = read_digits(p, end, 10, &n);
    *value = negative ? -*value : *value;
    return n > 0;
}

static void skip_blanks(const char **p, const char *end)
{
    while (*p < end && (**p == ' ' || **p == '\n' || **p == '\r' || **p == '\t')) {
        (*p)++;
    }
}

/* The numbers between braces; how many, -1: something else is there. */
static int64_t read_numbers(const char *p, const char *end, bool is_float, int64_t *values, int64_t most)
{
    int64_t n = 0;
    skip_blanks(&p, end);
    while (p < end && *p != '}') {
        int64_t value;
        if (!read_number(&p, end, is_float, &value)) {
            return -1;
        }
        if (n < most) {
            values[n] = value;
        }
        n++;
        skip_blanks(&p, end);
        if (p < end && *p != '}' && !skip(&p, end, ",")) {
            return -1;
        }
        skip_blanks(&p, end);
    }
    return p < end ? n : -1;
}

/* Weights by their places in the network. */
static void compare_weights(const reader *r, const qn_c_array *a, const qn_export_conv *c, const int64_t *found)
{
    const int bits = c->weight_bits, inputs = c->group_inputs, taps = c->kernel[0] * c->kernel[1];
    for (int64_t i = 0; i < c->n_weights; i++) {
        const int64_t place = qn_c_weight_place(c, i);
        int64_t code = bits == 8 ? found[place] : 0;
        for (int bit = 0; bit < bits && bits < 8; bit++) {
            const int64_t at = place * bits + bit;
            code |= (found[at / 8] >> at % 8 & 1) << bit;
        }
        if (bits < 8 && c->weight_signed && code >> (bits - 1) != 0) {
            code -= (int64_t)1 << bits;
        }
        if (code != c->weights[i]) {
            const int tap = (int)(i / inputs % taps);
            qn_export_differs(
                r->checking, "c/model.c: %s: '%s', output %lld, row %d, column %d, input %lld: is %lld, should be %d",
                a->name, c->weight_name != NULL ? c->weight_name : "", (long long)(i / inputs / taps),
                tap / c->kernel[1], tap % c->kernel[1], (long long)(i % inputs), (long long)code, c->weights[i]);
        }
    }
    r->checking->check->n_elements += c->n_weights;
}

static qn_status compare_array(const reader *r, const qn_c_array *a, const int64_t *found, qn_error *err)
{
    if (a->role == QN_C_WEIGHTS) {
        compare_weights(r, a, &r->network->layers[a->owner].u.conv, found);
        return QN_OK;
    }
    int64_t *expected = qn_alloc((size_t)a->count * sizeof *expected);
    if (expected == NULL) {
        return qn_fail_memory(err, "c/model.c", (size_t)a->count * sizeof *expected);
    }
    qn_c_array_values(r->network, a, expected);
    for (int64_t i = 0; i < a->count; i++) {
        if (found[i] != expected[i]) {
            qn_export_differs(r->checking, "c/model.c: %s[%lld]: is %lld, should be %lld%s", a->name, (long long)i,
                              (long long)found[i], (long long)expected[i],
                              a->role == QN_C_RATIO ? " (the bits of floats)" : "");
        }
    }
    r->checking->check->n_elements += a->count;
    qn_free(expected);
    return QN_OK;
}

/* Find it, once, with its own type and count, and compare. */
static qn_status check_array(const reader *r, const qn_c_array *a, qn_error *err)
{
    char head[256];
    snprintf(head, sizeof head, "%s%s */\nstatic const %s %s[%lld] = {", marker, a->name, a->type, a->name,
             (long long)a->count);
    const char *p = find(r->text, r->end, head);
    if (p == NULL || find(p, r->end, head) != NULL) {
        qn_export_differs(r->checking, "c/model.c: %s: %s an array %s of %lld", a->name,
                          p != NULL ? "there is twice" : "there is no", a->type, (long long)a->count);
        return QN_OK;
    }
    int64_t *found = qn_alloc((size_t)a->count * sizeof *found);
    if (found == NULL) {
        return qn_fail_memory(err, "c/model.c", (size_t)a->count * sizeof *found);
    }
    qn_status status = QN_OK;
    const int64_t n = read_numbers(p, r->end, a->role == QN_C_RATIO, found, a->count);
    if (n == a->count) {
        status = compare_array(r, a, found, err);
        r->checking->check->n_tensors++;
    } else if (n < 0) {
        qn_export_differs(r->checking, "c/model.c: %s: is no list of numbers", a->name);
    } else {
        qn_export_differs(r->checking, "c/model.c: %s: has %lld elements, should have %lld", a->name, (long long)n,
                          (long long)a->count);
    }
    qn_free(found);
    return status;
}

qn_status qn_export_check_c(qn_export_checking *c, const char *path, const void *found, size_t n_found,
                            const void *expected, size_t n_expected, qn_error *err)
{
    (void)expected, (void)n_expected;
    if (strcmp(path, "c/model.c") != 0) {
        return QN_OK;
    }
    const reader r = {.network = c->job->network, .checking = c, .text = found, .end = (const char *)found + n_found};
    const bool cmsis_nn = c->job->options != NULL && c->job->options->cmsis_nn;
    qn_c_array *arrays;
    int n_arrays, markers = 0;
    QN_TRY(qn_c_arrays_list(&arrays, &n_arrays, r.network, cmsis_nn ? r.network : NULL, err));
    qn_status status = QN_OK;
    for (int i = 0; i < n_arrays && status == QN_OK; i++) {
        status = check_array(&r, &arrays[i], err);
    }
    for (const char *p = r.text; (p = find(p, r.end, marker)) != NULL;) {
        markers++;
    }
    if (markers != n_arrays) {
        qn_export_differs(c, "c/model.c: has %d arrays, should have %d", markers, n_arrays);
    }
    qn_free(arrays);
    return status;
}
