/* Names of formats, and any codes and reals in what they name.
 *
 * The input is a name up to the first zero byte, then parameters and reals. Whatever the bytes, parsing ends in a format or
 * a message; a format prints as a name that means the same; every code has a value, and every real a code, whose value the
 * format encodes as itself. */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/row.h"

static void require(bool kept)
{
    if (!kept) {
        abort();
    }
}

static void check_name(qn_format f)
{
    char name[QN_FORMAT_NAME_MAX];
    qn_format again;
    qn_format_name(name, f);
    require(qn_format_parse(&again, name, NULL) == QN_OK && qn_format_equal(f, again));
}

static void check_code(qn_format f, const qn_params *p, uint32_t code)
{
    qn_field fields[QN_FIELDS_MAX];
    int n = qn_format_fields(fields, f, code), below = f.bits;
    for (int i = 0; i < n; i++) {
        require(fields[i].n_bits > 0 && fields[i].first_bit + fields[i].n_bits == below);
        below = fields[i].first_bit;
    }
    require(below == 0);
    (void)qn_format_value(f, p, code);
}

/* Codes are numbers of the format's bits, and integers that come back. */
static void check_real(qn_format f, const qn_params *p, double x)
{
    uint32_t code = qn_format_code(f, p, x, 0x80000000u);
    require(f.bits == 32 || code >> f.bits == 0);
    check_code(f, p, code);
    if (f.kind == QN_FORMAT_FIXED) {
        require(qn_format_code(f, p, qn_format_value(f, p, code), 0) == code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[256] = "";
    size_t n_name = strnlen((const char *)data, size < sizeof name - 1 ? size : sizeof name - 1);
    memcpy(name, data, n_name);
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    if (qn_format_parse(&f, name, &err) != QN_OK) {
        require(err.status == QN_EINVAL && err.message[0] != '\0');
        return 0;
    }
    check_name(f);
    data += n_name, size -= n_name;
    qn_params p = {.scale = 0.75f, .zero_point = 0, .exp_bias = -3};
    int16_t exponent;
    if (size >= sizeof exponent) {
        memcpy(&exponent, data, sizeof exponent);
        p.exp_bias = exponent % 4096;
    }
    for (; size >= sizeof(double); data += sizeof(double), size -= sizeof(double)) {
        double x;
        uint32_t code;
        memcpy(&x, data, sizeof x);
        memcpy(&code, data, sizeof code);
        check_real(f, &p, x);
        check_code(f, &p, code);
        if (isfinite(x)) {
            qn_format_params_from_range(f, fmin(x, 0.0), fmax(x, 0.0), &p);
            check_real(f, &p, x);
        }
    }
    return 0;
}
