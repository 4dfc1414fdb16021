/* Names, types and numbers as C++ has them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "export/hls/hls.h"

static int input_of(const qn_export_network *n, int tensor)
{
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].tensor >= 0 && qn_export_base(n, n->inputs[i].tensor) == tensor) {
            return i;
        }
    }
    return -1;
}

const char *qn_hls_type(char text[QN_HLS_NAME_MAX], const qn_export_network *n, int tensor)
{
    const int base = qn_export_base(n, tensor);
    const qn_export_tensor *t = &n->tensors[base];
    if (t->real) {
        snprintf(text, QN_HLS_NAME_MAX, "float");
    } else if (t->maker >= 0) {
        snprintf(text, QN_HLS_NAME_MAX, "result%d_t", t->maker + 1);
    } else if (input_of(n, base) >= 0) {
        snprintf(text, QN_HLS_NAME_MAX, "input%d_t", input_of(n, base) + 1);
    } else {
        snprintf(text, QN_HLS_NAME_MAX, "constant%d_t", base + 1);
    }
    return text;
}

const char *qn_hls_variable(const qn_export_network *n, int tensor)
{
    return n->tensors[qn_export_base(n, tensor)].id;
}

const char *qn_hls_rounding(qn_rounding rounding)
{
    switch (rounding) {
    case QN_ROUND_FLOOR:
        return "AP_TRN";
    case QN_ROUND_NEAREST_UP:
        return "AP_RND";
    case QN_ROUND_NEAREST_AWAY:
        return "AP_RND_INF";
    default:
        return "AP_RND_CONV";
    }
}

const char *qn_hls_name(char text[QN_HLS_NAME_MAX], const char *name)
{
    size_t n = 0;
    for (; name != NULL && name[n] != '\0' && n + 1 < QN_HLS_NAME_MAX; n++) {
        const char c = name[n]; /* no line that goes on, and no trigraph that says so */
        text[n] = c >= ' ' && c <= '~' && c != '\\' && c != '?' ? c : '_';
    }
    text[n] = '\0';
    return text;
}

const char *qn_hls_builtin(int64_t lo, int64_t hi)
{
    return lo >= INT8_MIN && hi <= INT8_MAX     ? "signed char"
           : lo >= 0 && hi <= UINT8_MAX         ? "unsigned char"
           : lo >= INT16_MIN && hi <= INT16_MAX ? "short"
                                                : "int";
}

void qn_hls_decimal(qn_export_text *text, int64_t code, int fraction)
{
    const uint64_t magnitude = code < 0 ? -(uint64_t)code : (uint64_t)code;
    const char *sign = code < 0 ? "-" : "";
    if (fraction <= 0) {
        qn_export_printf(text, "%s%llu", sign, (unsigned long long)(magnitude << -fraction));
        return;
    }
    uint64_t rest = magnitude & ((UINT64_C(1) << fraction) - 1);
    char digits[64];
    for (int i = 0; i < fraction; i++) { /* as many digits as bits: 2^-n = 5^n / 10^n */
        rest *= 10;
        digits[i] = (char)('0' + (rest >> fraction));
        rest &= (UINT64_C(1) << fraction) - 1;
    }
    qn_export_printf(text, "%s%llu.%.*s", sign, (unsigned long long)(magnitude >> fraction), fraction, digits);
}

const char *qn_hls_float(char text[QN_EXPORT_FLOAT_MAX], float x)
{
    qn_export_float(text, x);
    if (strpbrk(text, ".e") == NULL) {
        strcat(text, ".0");
    }
    return strcat(text, "f");
}
