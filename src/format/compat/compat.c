#include "format/compat/compat.h"

#include <stdlib.h>

int qn_compat_integer_fields(qn_field fields[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    int n = 0;
    if (f->is_signed) {
        fields[n++] = (qn_field){"sign", f->bits - 1, 1};
    }
    if (f->bits > n) {
        fields[n] = (qn_field){"integer", 0, f->bits - n};
        n++;
    }
    return n;
}

int64_t qn_compat_integer(const qn_format *f, uint32_t code)
{
    return f->is_signed ? qn_code_signed(code, f->bits) : (int64_t)(code & qn_code_mask(f->bits));
}

uint32_t qn_compat_integer_code(const qn_format *f, float integer)
{
    int64_t top = ((int64_t)1 << (f->bits - (f->is_signed ? 1 : 0))) - 1;
    int64_t lowest = f->is_signed ? -top - 1 : 0;
    double v = (double)integer;
    int64_t code = v >= (double)top ? top : v <= (double)lowest ? lowest : (int64_t)v;
    return (uint32_t)code & qn_code_mask(f->bits);
}

int qn_compat_float_fields(qn_field fields[QN_FIELDS_MAX], const qn_format *f, uint32_t code)
{
    (void)code;
    fields[0] = (qn_field){"sign", f->bits - 1, 1};
    fields[1] = (qn_field){"exponent", f->mantissa_bits, f->exponent_bits};
    fields[2] = (qn_field){"mantissa", 0, f->mantissa_bits};
    return f->mantissa_bits > 0 ? 3 : 2;
}

int64_t qn_compat_magnitude_order(const qn_format *f, uint32_t code)
{
    uint32_t sign = (uint32_t)1 << (f->bits - 1);
    int64_t magnitude = code & (sign - 1);
    return (code & sign) != 0 ? -magnitude : magnitude;
}

bool qn_compat_all_canonical(const qn_format *f, uint32_t code)
{
    (void)f;
    (void)code;
    return true;
}

qn_status qn_compat_text_float(float *value, const qn_format_text *text, int index, float lo, float hi,
                               const char *what, qn_error *err)
{
    const char *arg = text->args[index];
    if (strcmp(arg, "None") == 0) {
        *value = 0.0f;
        return QN_OK;
    }
    char *end;
    float parsed = strtof(arg, &end);
    if (end == arg || *end != '\0' || !(parsed >= lo && parsed <= hi)) {
        return qn_fail(err, QN_EINVAL, text->where, "argument %d (%s) is '%s'; legal is a number from %g to %g",
                       index + 1, what, arg, (double)lo, (double)hi);
    }
    *value = parsed;
    return QN_OK;
}
