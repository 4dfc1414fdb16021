/* JSON of the manifest: small makers, and the printer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "export/manifest.h"

/* A member that is not there, or finds no room, is missed by nobody until the text is made. */
static _Thread_local bool lacks_member;

void qn_export_json_begin(void)
{
    lacks_member = false;
}

int qn_export_json_set(json_t *object, const char *key, json_t *value)
{
    const int result = json_object_set_new(object, key, value);
    lacks_member = lacks_member || result != 0;
    return result;
}

int qn_export_json_append(json_t *array, json_t *value)
{
    const int result = json_array_append_new(array, value);
    lacks_member = lacks_member || result != 0;
    return result;
}

json_t *qn_export_json_string(const char *text)
{
    json_t *string = json_string(text);
    string = string != NULL ? string : json_string(text); /* memory may have been short: no '?' for that */
    if (string != NULL) {
        return string;
    }
    const size_t length = strlen(text);
    char *ascii = qn_alloc(length + 1);
    for (size_t i = 0; ascii != NULL && i < length; i++) {
        ascii[i] = '?';
        if ((unsigned char)text[i] < 0x80) {
            ascii[i] = text[i];
        }
    }
    string = ascii != NULL ? json_string(ascii) : NULL;
    qn_free(ascii);
    return string;
}

/* Jansson tells failures by NULL, which containers pass on: a failed member leaves a failed tree. */
static json_t *appended(json_t *array, json_t *item)
{
    if (qn_export_json_append(array, item) != 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

json_t *qn_export_json_ints(const int32_t *x, int64_t n)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < n && array != NULL; i++) {
        array = appended(array, json_integer(x != NULL ? x[i] : 0));
    }
    return array;
}

json_t *qn_export_json_reals(const float *x, int64_t n)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < n && array != NULL; i++) {
        array = appended(array, json_real((double)x[i]));
    }
    return array;
}

json_t *qn_export_json_hex(const float *x, int64_t n)
{
    char text[QN_EXPORT_FLOAT_MAX];
    json_t *array = json_array();
    for (int64_t i = 0; i < n && array != NULL; i++) {
        array = appended(array, json_string(qn_export_hex_float(text, x[i])));
    }
    return array;
}

json_t *qn_export_json_exponents(const float *x, int64_t n)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < n && array != NULL; i++) {
        int e;
        if (!qn_export_exponent(&e, x[i])) {
            json_decref(array);
            return json_null();
        }
        array = appended(array, json_integer(e));
    }
    return array;
}

json_t *qn_export_json_shape(int rank, const int64_t *dims)
{
    json_t *array = json_array();
    for (int i = 0; i < rank && array != NULL; i++) {
        array = appended(array, json_integer(dims[i]));
    }
    return array;
}

static int append(const char *data, size_t n, void *ctx)
{
    qn_export_append(ctx, data, n);
    return 0;
}

/* Nine digits read as the same float, or as what nine digits were read as. */
static bool nine_digits_do(double x)
{
    char text[QN_EXPORT_FLOAT_MAX];
    if ((double)(float)x == x) {
        return true;
    }
    snprintf(text, sizeof text, "%.9g", x);
    return strtod(text, NULL) == x;
}

static void print_plain(qn_export_text *text, const json_t *value)
{
    const size_t digits = json_is_real(value) && !nine_digits_do(json_real_value(value)) ? 17 : 9;
    if (json_is_integer(value)) {
        qn_export_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_dump_callback(value, append, text, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits)) != 0) {
        text->failed = true;
    }
}

static bool is_plain(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static void start_line(qn_export_text *text, int depth)
{
    qn_export_printf(text, "\n%*s", depth, "");
}

static void print(qn_export_text *text, const json_t *value, int depth);

static void print_array(qn_export_text *text, const json_t *array, int depth)
{
    const size_t n = json_array_size(array);
    const bool flat = n == 0 || is_plain(json_array_get(array, 0));
    qn_export_append(text, "[", 1);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            qn_export_append(text, ", ", flat ? 2 : 1);
        }
        if (!flat) {
            start_line(text, depth + 1);
        }
        print(text, json_array_get(array, i), depth + 1);
    }
    if (!flat) {
        start_line(text, depth);
    }
    qn_export_append(text, "]", 1);
}

static void print_object(qn_export_text *text, const json_t *object, int depth)
{
    const char *key;
    json_t *value;
    bool first = true;
    qn_export_append(text, "{", 1);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        qn_export_append(text, ",", first ? 0 : 1);
        start_line(text, depth + 1);
        json_t *name = json_string(key);
        print_plain(text, name);
        json_decref(name);
        qn_export_append(text, ": ", 2);
        print(text, value, depth + 1);
        first = false;
    }
    if (!first) {
        start_line(text, depth);
    }
    qn_export_append(text, "}", 1);
}

static void print(qn_export_text *text, const json_t *value, int depth)
{
    if (json_is_object(value)) {
        print_object(text, value, depth);
    } else if (json_is_array(value)) {
        print_array(text, value, depth);
    } else {
        print_plain(text, value);
    }
}

void qn_export_json_print(qn_export_text *text, const json_t *tree)
{
    print(text, tree, 0);
    qn_export_append(text, "\n", 1);
    text->failed = text->failed || lacks_member;
}

qn_status qn_export_digest(char hex[65], const json_t *manifest, qn_error *err)
{
    json_t *rest = json_copy((json_t *)(uintptr_t)manifest);
    qn_export_text text = {0};
    if (rest != NULL) {
        json_object_del(rest, "digest");
        qn_export_json_print(&text, rest);
    }
    const bool failed = rest == NULL || text.failed;
    json_decref(rest);
    if (!failed) {
        qn_sha256_hex(hex, text.data, text.n);
    }
    qn_export_text_free(&text);
    return failed ? qn_fail_memory(err, QN_EXPORT_MANIFEST_FILE, 0) : QN_OK;
}
