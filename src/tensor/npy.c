/* Reading .npy headers, format versions 1.0 to 3.0.
 *
 * The header is the text of a Python dictionary with the keys descr, fortran_order and shape in any order. Only that is
 * parsed, strictly: numpy evaluates it as a literal, and whatever is not such a dictionary is refused. */
#include "tensor/npy.h"

#include <stdio.h>
#include <string.h>

static const unsigned char npy_magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

/* The text between `next` and `end`; `start` is the file's first byte, for positions in messages. */
typedef struct scanner {
    const unsigned char *start, *next, *end;
    const char *where;
    qn_error *err;
} scanner;

bool qn_npy_recognize(const unsigned char *head, size_t n_head)
{
    return n_head >= sizeof npy_magic && memcmp(head, npy_magic, sizeof npy_magic) == 0;
}

static qn_status refuse(const scanner *s, const char *reason)
{
    return qn_fail_at(s->err, QN_EFORMAT, s->next - s->start, s->where, "malformed .npy header at byte %lld: %s",
                      (long long)(s->next - s->start), reason);
}

static void skip_space(scanner *s)
{
    while (s->next < s->end && (*s->next == ' ' || *s->next == '\n' || *s->next == '\t' || *s->next == '\r')) {
        s->next++;
    }
}

static bool accept(scanner *s, char wanted)
{
    skip_space(s);
    if (s->next == s->end || *s->next != (unsigned char)wanted) {
        return false;
    }
    s->next++;
    return true;
}

static bool accept_word(scanner *s, const char *word)
{
    size_t length = strlen(word);
    skip_space(s);
    if ((size_t)(s->end - s->next) < length || memcmp(s->next, word, length) != 0) {
        return false;
    }
    s->next += length;
    return true;
}

/* A quoted string without escapes into text[size]. */
static qn_status parse_string(scanner *s, char *text, size_t size)
{
    char quote = accept(s, '\'') ? '\'' : accept(s, '"') ? '"' : '\0';
    if (quote == '\0') {
        return refuse(s, "a quoted string is missing");
    }
    size_t length = 0;
    for (; s->next < s->end && *s->next != (unsigned char)quote; s->next++) {
        if (*s->next < 0x20 || *s->next >= 0x7F || *s->next == '\\' || length + 1 == size) {
            return refuse(s, "not the string of a key or an element type");
        }
        text[length++] = (char)*s->next;
    }
    text[length] = '\0';
    return accept(s, quote) ? QN_OK : refuse(s, "a string does not end");
}

static qn_status parse_dimension(scanner *s, int64_t *dim)
{
    skip_space(s);
    if (s->next < s->end && *s->next == '-') {
        return refuse(s, "a dimension is negative");
    }
    const unsigned char *first = s->next;
    int64_t value = 0;
    for (; s->next < s->end && *s->next >= '0' && *s->next <= '9'; s->next++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *s->next - '0', &value)) {
            return refuse(s, "a dimension is too large");
        }
    }
    if (s->next == first) {
        return refuse(s, "a dimension is not a whole number");
    }
    if (s->next < s->end && *s->next == 'L') { /* Python 2 wrote long integers so */
        s->next++;
    }
    *dim = value;
    return QN_OK;
}

/* (), (3,), (3, 4), (3, 4,): a lone number needs its comma, as in Python. */
static qn_status parse_shape(scanner *s, qn_array_header *h)
{
    if (!accept(s, '(')) {
        return refuse(s, "shape is not a tuple");
    }
    bool comma = true;
    h->rank = 0;
    while (!accept(s, ')')) {
        if (!comma) {
            return refuse(s, "a comma is missing in shape");
        }
        if (h->rank == QN_MAX_RANK) {
            return qn_fail(s->err, QN_ELIMIT, s->where, "the array has more than %d dimensions", QN_MAX_RANK);
        }
        QN_TRY(parse_dimension(s, &h->dims[h->rank]));
        h->rank++;
        comma = accept(s, ',');
    }
    return h->rank == 1 && !comma ? refuse(s, "shape is not a tuple") : QN_OK;
}

typedef struct descr_row {
    char code[3];
    qn_dtype dtype;
} descr_row;

static const descr_row descrs[] = {
    {"b1", QN_DTYPE_BOOL}, {"i1", QN_DTYPE_S8},  {"u1", QN_DTYPE_U8},  {"i2", QN_DTYPE_S16},
    {"u2", QN_DTYPE_U16},  {"i4", QN_DTYPE_S32}, {"u4", QN_DTYPE_U32}, {"i8", QN_DTYPE_S64},
    {"u8", QN_DTYPE_U64},  {"f2", QN_DTYPE_F16}, {"f4", QN_DTYPE_F32}, {"f8", QN_DTYPE_F64},
};

static bool byte_order_swapped(char order)
{
    const uint16_t probe = 1;
    const bool little = *(const unsigned char *)&probe == 1;
    return order == (little ? '>' : '<');
}

/* "<f4", "|u1", ">i8", "=f8", or without a byte order. */
static qn_status parse_descr(scanner *s, qn_array_header *h)
{
    skip_space(s);
    if (s->next < s->end && *s->next == '[') {
        return qn_fail(s->err, QN_EUNSUPPORTED, s->where,
                       "the array has a structured element type; save each field as an array of its own");
    }
    char text[64];
    QN_TRY(parse_string(s, text, sizeof text));
    const char *code = text[0] != '\0' && strchr("<>|=", text[0]) != NULL ? text + 1 : text;
    for (size_t i = 0; i < sizeof descrs / sizeof descrs[0]; i++) {
        if (strcmp(code, descrs[i].code) == 0) {
            h->dtype = descrs[i].dtype;
            h->swapped = qn_dtype_size(h->dtype) > 1 && byte_order_swapped(text[0]);
            return QN_OK;
        }
    }
    if (code[0] == 'O') {
        return qn_fail(s->err, QN_EUNSUPPORTED, s->where,
                       "the array holds pickled Python objects; save numbers instead");
    }
    return qn_fail(s->err, QN_EUNSUPPORTED, s->where,
                   "element type '%s' is not supported; booleans, integers and real floats of 16 to 64 bits are", text);
}

static qn_status parse_order(scanner *s, qn_array_header *h)
{
    h->fortran = accept_word(s, "True");
    return h->fortran || accept_word(s, "False") ? QN_OK : refuse(s, "fortran_order is neither True nor False");
}

typedef struct key_row {
    const char *name;
    qn_status (*parse)(scanner *s, qn_array_header *h);
} key_row;

static const key_row keys[] = {{"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_shape}};

enum { N_KEYS = (int)(sizeof keys / sizeof keys[0]) };

static qn_status parse_entry(scanner *s, qn_array_header *h, bool seen[N_KEYS])
{
    char name[16];
    QN_TRY(parse_string(s, name, sizeof name));
    if (!accept(s, ':')) {
        return refuse(s, "a colon is missing after a key");
    }
    for (int k = 0; k < N_KEYS; k++) {
        if (strcmp(name, keys[k].name) == 0) {
            if (seen[k]) {
                return refuse(s, "a key is there twice");
            }
            seen[k] = true;
            return keys[k].parse(s, h);
        }
    }
    return refuse(s, "a key is not one of descr, fortran_order and shape");
}

static qn_status parse_dictionary(scanner *s, qn_array_header *h)
{
    bool seen[N_KEYS] = {false}, comma = true;
    if (!accept(s, '{')) {
        return refuse(s, "it is not a dictionary");
    }
    while (!accept(s, '}')) {
        if (!comma) {
            return refuse(s, "a comma is missing between entries");
        }
        QN_TRY(parse_entry(s, h, seen));
        comma = accept(s, ',');
    }
    skip_space(s);
    if (s->next != s->end) {
        return refuse(s, "text follows the dictionary");
    }
    for (int k = 0; k < N_KEYS; k++) {
        if (!seen[k]) {
            return qn_fail(s->err, QN_EFORMAT, s->where, "malformed .npy header: it has no %s", keys[k].name);
        }
    }
    return QN_OK;
}

qn_status qn_array_header_size(qn_array_header *h, const char *where, qn_error *err)
{
    int64_t n_elems;
    qn_status status = qn_shape_count(h->dims, h->rank, &n_elems, err);
    if (status != QN_OK) {
        qn_error_prefix(err, where);
        return status;
    }
    h->n_bytes = n_elems * (int64_t)qn_dtype_size(h->dtype); /* qn_shape_count leaves a factor of 8 */
    if (h->n_bytes > INT64_MAX - QN_ARRAY_HEAD_MAX) { /* positions in the file are sums with the header's size */
        return qn_fail(err, QN_ELIMIT, where, "the array is too large");
    }
    return QN_OK;
}

qn_status qn_npy_parse(qn_array_header *h, const unsigned char *head, size_t n_head, const char *where, qn_error *err)
{
    /* magic, major, minor, header length in 2 bytes (version 1) or 4, little endian */
    size_t prefix = n_head > 6 && head[6] == 1 ? 10 : 12;
    if (n_head < prefix) {
        return qn_fail(err, QN_EFORMAT, where, "truncated: the .npy header is cut off at byte %zu", n_head);
    }
    if (head[6] < 1 || head[6] > 3 || head[7] != 0) {
        return qn_fail(err, QN_EUNSUPPORTED, where, ".npy format version %d.%d is not supported; 1.0, 2.0 and 3.0 are",
                       head[6], head[7]);
    }
    size_t length = (size_t)head[8] | (size_t)head[9] << 8;
    if (prefix == 12) {
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (length > QN_ARRAY_HEAD_MAX - prefix) {
        return qn_fail(err, QN_ELIMIT, where, "the .npy header claims %zu bytes; at most %zu are accepted", length,
                       QN_ARRAY_HEAD_MAX - prefix);
    }
    if (length > n_head - prefix) {
        return qn_fail(err, QN_EFORMAT, where, "truncated: the .npy header has %zu bytes, of which %zu are there",
                       length, n_head - prefix);
    }
    scanner s = {.start = head, .next = head + prefix, .end = head + prefix + length, .where = where, .err = err};
    *h = (qn_array_header){.data_offset = (int64_t)(prefix + length)};
    QN_TRY(parse_dictionary(&s, h));
    return qn_array_header_size(h, where, err);
}
