/* The examples of doc/formats.md, line by line. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quern/codes.h"

enum { LINE_MAX_BYTES = 2048 };

static qn_format parse(const char *name)
{
    qn_format f;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_format_parse(&f, name, &err), &err);
    return f;
}

/* "scale=0.5 zero_point=3" over neutral parameters. */
static qn_params read_params(const char *text)
{
    qn_params p = {.scale = 1.0f, .multiplier = 1.0f};
    while (*(text += strspn(text, " ")) != '\0') {
        size_t key = strcspn(text, "=");
        char *end;
        double value = strtod(text + key + 1, &end);
        if (strncmp(text, "scale", key) == 0) {
            p.scale = (float)value;
        } else if (strncmp(text, "zero_point", key) == 0) {
            p.zero_point = (int32_t)value;
        } else if (strncmp(text, "exp_bias", key) == 0) {
            p.exp_bias = (int32_t)value;
        } else if (strncmp(text, "shift", key) == 0) {
            p.shift = (float)value;
        } else if (strncmp(text, "multiplier", key) == 0) {
            p.multiplier = (float)value;
        } else {
            fail_msg("no parameter is called '%s'", text);
        }
        text = end;
    }
    return p;
}

/* Bits of "0b0_01_1"; the underscores stand where fields meet. */
static uint32_t read_code(const char *text, qn_format f, const char *line)
{
    uint32_t code = 0;
    int n_bits = 0, n_fields = 1, widths[8] = {0};
    assert_true(strncmp(text, "0b", 2) == 0);
    for (const char *at = text + 2; *at == '0' || *at == '1' || *at == '_'; at++) {
        if (*at == '_') {
            n_fields++;
            continue;
        }
        code = code << 1 | (uint32_t)(*at - '0');
        widths[n_fields - 1]++;
        n_bits++;
    }
    qn_field fields[QN_FIELDS_MAX];
    int n = qn_format_fields(fields, f, code);
    bool agrees = n_bits == f.bits && n == n_fields;
    for (int i = 0; i < n && agrees; i++) {
        agrees = fields[i].n_bits == widths[i];
    }
    if (!agrees) {
        fail_msg("the fields of the code are not those of the format: %s", line);
    }
    return code;
}

/* NAME PARAMETERS: REAL -> CODE = VALUE */
static void check_code(char *line)
{
    char whole[LINE_MAX_BYTES];
    snprintf(whole, sizeof whole, "%s", line);
    char *arrow = strstr(line, " -> "), *equals = strstr(line, " = "), *colon = strstr(line, ": ");
    assert_true(arrow != NULL && equals != NULL && colon != NULL);
    *colon = *arrow = *equals = '\0';
    size_t name = strcspn(line, " ");
    qn_params p = read_params(line + name);
    line[name] = '\0';
    qn_format f = parse(line);
    uint32_t expected = read_code(arrow + 4, f, whole);
    uint32_t code = qn_format_code(f, &p, strtod(colon + 2, NULL), 0);
    double value = strtod(equals + 3, NULL);
    if (code != expected || qn_format_value(f, &p, code) != value) {
        fail_msg("%s: in fact %#x = %.17g", whole, (unsigned)code, qn_format_value(f, &p, code));
    }
}

/* fit NAME: REALS -> PARAMETERS */
static void check_fit(char *line)
{
    char whole[LINE_MAX_BYTES];
    snprintf(whole, sizeof whole, "%s", line);
    char *arrow = strstr(line, " -> "), *colon = strstr(line, ": ");
    assert_true(arrow != NULL && colon != NULL);
    *colon = *arrow = '\0';
    float x[16];
    int64_t n = 0;
    for (char *at = colon + 2, *end; strtod(at, &end), end != at; at = end) {
        x[n++] = (float)strtod(at, NULL);
    }
    const qn_tensor tensor = {.dtype = QN_DTYPE_F32, .rank = 1, .dims = {n}, .data = x};
    qn_quantizer *q;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_fit(&q, &tensor, parse(line + 4), NULL, &err), &err);
    qn_params got = qn_quantizer_get(q, 0), expected = read_params(arrow + 4);
    if (fabsf(got.scale - expected.scale) > 1e-7f * expected.scale || got.zero_point != expected.zero_point ||
        got.exp_bias != expected.exp_bias) {
        fail_msg("%s: in fact scale=%.9g zero_point=%d exp_bias=%d", whole, (double)got.scale, (int)got.zero_point,
                 (int)got.exp_bias);
    }
    qn_quantizer_free(q);
}

static void examples_are_true(void **state)
{
    (void)state;
    FILE *file = fopen(QN_SOURCE_DIR "/doc/formats.md", "r");
    assert_non_null(file);
    char line[LINE_MAX_BYTES];
    bool inside = false, seen[64] = {false};
    int n_examples = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "```", 3) == 0) {
            inside = strcmp(line, "```codes") == 0;
        } else if (inside && strncmp(line, "fit ", 4) == 0) {
            check_fit(line);
        } else if (inside) {
            check_code(line);
            seen[parse(line).kind] = true; /* the name is what is left of the line */
            n_examples++;
        }
    }
    fclose(file);
    assert_true(n_examples > 40);
    for (size_t i = 0; i < qn_format_count(); i++) {
        if (!seen[qn_format_describe(i).kind]) {
            fail_msg("doc/formats.md has no example of %s", qn_format_describe(i).synopsis);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples_are_true)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
