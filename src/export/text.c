/* Text that grows, and numbers in it. */
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/target.h"

static bool reserve(qn_export_text *text, size_t n)
{
    size_t need;
    if (text->failed || !qn_add_size(text->n, n, &need) || !qn_add_size(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity) {
        return true;
    }
    size_t capacity = text->capacity > 0 ? text->capacity : 1024;
    while (capacity < need) {
        capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : need;
    }
    char *grown = qn_alloc_uncleared(capacity);
    if (grown == NULL) {
        text->failed = true;
        return false;
    }
    if (text->n > 0) {
        memcpy(grown, text->data, text->n);
    }
    qn_free(text->data);
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void qn_export_append(qn_export_text *text, const char *data, size_t n)
{
    if (reserve(text, n)) {
        memcpy(text->data + text->n, data, n);
        text->n += n;
        text->data[text->n] = '\0';
    }
}

void qn_export_printf(qn_export_text *text, const char *format, ...)
{
    va_list args;
    char small[256];
    va_start(args, format);
    const int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof small) {
        qn_export_append(text, small, (size_t)n);
    } else if (n >= 0 && reserve(text, (size_t)n)) {
        va_start(args, format);
        vsnprintf(text->data + text->n, (size_t)n + 1, format, args);
        va_end(args);
        text->n += (size_t)n;
    } else if (n < 0) {
        text->failed = true;
    }
}

void qn_export_integer(qn_export_text *text, int64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    qn_export_append(text, digits + at, sizeof digits - at);
}

void qn_export_hex(qn_export_text *text, uint64_t value, int n_digits)
{
    char digits[16];
    int n = 16;
    while (n > 0 && (16 - n < n_digits || value > 0)) {
        digits[--n] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
    qn_export_append(text, digits + n, (size_t)(16 - n));
}

void qn_export_text_free(qn_export_text *text)
{
    qn_free(text->data);
    *text = (qn_export_text){0};
}

/* Numbers are printed and read in the C locale, whatever the program's is. */
static locale_t enter_c(locale_t *c)
{
    *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return *c != (locale_t)0 ? uselocale(*c) : (locale_t)0;
}

static void leave_c(locale_t c, locale_t old)
{
    if (c != (locale_t)0) {
        uselocale(old);
        freelocale(c);
    }
}

const char *qn_export_float(char text[QN_EXPORT_FLOAT_MAX], float x)
{
    locale_t c;
    const locale_t old = enter_c(&c);
    for (int digits = 1; digits <= 9; digits++) { /* 9 always do */
        snprintf(text, QN_EXPORT_FLOAT_MAX, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) {
            break;
        }
    }
    leave_c(c, old);
    return text;
}

const char *qn_export_hex_float(char text[QN_EXPORT_FLOAT_MAX], float x)
{
    locale_t c;
    const locale_t old = enter_c(&c);
    snprintf(text, QN_EXPORT_FLOAT_MAX, "%a", (double)x); /* as many digits as it has */
    leave_c(c, old);
    return text;
}
