/* The recipe's options, from fields or text. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "ptq/aidge/aidge.h"

void qn_aidge_options_init(qn_aidge_options *options)
{
    *options = (qn_aidge_options){.struct_size = sizeof *options,
                                  .bits = 8,
                                  .clip = QN_AIDGE_CLIP_MAX,
                                  .round = true,
                                  .input = 1,
                                  .n_threads = qn_processor_count()};
}

typedef enum option_kind {
    KIND_BITS,
    KIND_CLIP,
    KIND_FORKS,
    KIND_SIGNS,
    KIND_SHIFT,
    KIND_ROUND,
    KIND_INPUT,
    N_KINDS
} option_kind;

static const struct {
    const char *key, *choices;
    struct {
        const char *text;
        int value;
    } values[4]; /* none: a number */
} rows[N_KINDS] = {
    [KIND_BITS] = {"bits", "2 to 16", {{NULL, 0}}},
    [KIND_CLIP] =
        {"clip",
         "max, mse, aa or kl",
         {{"max", QN_AIDGE_CLIP_MAX}, {"mse", QN_AIDGE_CLIP_MSE}, {"aa", QN_AIDGE_CLIP_AA}, {"kl", QN_AIDGE_CLIP_KL}}},
    [KIND_FORKS] = {"forks",
                    "residual or library",
                    {{"residual", QN_AIDGE_FORKS_RESIDUAL}, {"library", QN_AIDGE_FORKS_LIBRARY}}},
    [KIND_SIGNS] = {"signs", "0 or 1", {{"0", 0}, {"1", 1}}},
    [KIND_SHIFT] = {"shift", "0 or 1", {{"0", 0}, {"1", 1}}},
    [KIND_ROUND] = {"round", "0 or 1", {{"0", 0}, {"1", 1}}},
    [KIND_INPUT] = {"input", "a number above 0, such as 1, 255 or 0.5", {{NULL, 0}}},
};
enum { MIN_BITS = 2, MAX_BITS = 16 };

static bool is_text(const char *at, size_t n, const char *text)
{
    return strlen(text) == n && memcmp(at, text, n) == 0;
}

static bool parse_bits(const char *at, size_t n, int *value)
{
    *value = 0;
    for (size_t i = 0; i < n && n <= 2; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        *value = *value * 10 + (at[i] - '0');
    }
    return *value >= MIN_BITS && *value <= MAX_BITS;
}

static bool parse_value(option_kind kind, const char *at, size_t n, int *value)
{
    if (kind == KIND_BITS) {
        return parse_bits(at, n, value);
    }
    for (size_t i = 0; i < 4 && rows[kind].values[i].text != NULL; i++) {
        if (is_text(at, n, rows[kind].values[i].text)) {
            *value = rows[kind].values[i].value;
            return true;
        }
    }
    return false;
}

static void set_option(qn_aidge_options *options, option_kind kind, int value)
{
    switch (kind) {
    case KIND_BITS:
        options->bits = value;
        break;
    case KIND_CLIP:
        options->clip = (qn_aidge_clip)value;
        break;
    case KIND_FORKS:
        options->forks = (qn_aidge_forks)value;
        break;
    case KIND_SIGNS:
        options->signs = value != 0;
        break;
    case KIND_SHIFT:
        options->shift = value != 0;
        break;
    case KIND_ROUND:
        options->round = value != 0;
        break;
    case KIND_INPUT: /* no int */
    case N_KINDS:
        break;
    }
}

/* Digits with at most one point between or around them, 15 digits at most: a quotient of two exact doubles, whatever the
 * locale. */
static bool parse_input(const char *at, size_t n, double *value)
{
    double number = 0, divisor = 1;
    int n_digits = 0;
    bool point = false;
    for (size_t i = 0; i < n; i++) {
        if (at[i] == '.' && !point) {
            point = true;
        } else if (at[i] >= '0' && at[i] <= '9' && ++n_digits <= 15) {
            number = number * 10 + (at[i] - '0');
            divisor *= point ? 10 : 1;
        } else {
            return false;
        }
    }
    *value = number / divisor;
    return number > 0;
}

/* One "key=value" of n characters. */
static qn_status parse_option(qn_aidge_options *options, bool seen[N_KINDS], const char *at, size_t n, qn_error *err)
{
    const char *equals = memchr(at, '=', n);
    size_t n_key = equals != NULL ? (size_t)(equals - at) : n;
    int kind = 0, value = 0;
    double input = options->input;
    while (kind < N_KINDS && !is_text(at, n_key, rows[kind].key)) {
        kind++;
    }
    if (kind == N_KINDS) {
        return qn_fail(err, QN_EINVAL, "recipe aidge",
                       "unknown option '%.*s'; there are bits, clip, signs, shift, round, forks and input", (int)n_key,
                       at);
    }
    size_t n_value = equals != NULL ? n - n_key - 1 : 0;
    if (equals == NULL || !(kind == KIND_INPUT ? parse_input(equals + 1, n_value, &input)
                                               : parse_value((option_kind)kind, equals + 1, n_value, &value))) {
        return qn_fail(err, QN_EINVAL, "recipe aidge", "option '%s' has the value '%.*s'; it can be %s", rows[kind].key,
                       (int)n_value, equals != NULL ? equals + 1 : "", rows[kind].choices);
    }
    if (seen[kind]) {
        return qn_fail(err, QN_EINVAL, "recipe aidge", "option '%s' is given twice; give it once", rows[kind].key);
    }
    seen[kind] = true;
    set_option(options, (option_kind)kind, value);
    options->input = input;
    return QN_OK;
}

qn_status qn_aidge_options_parse(qn_aidge_options *options, const char *text, qn_error *err)
{
    qn_aidge_options parsed = *options;
    bool seen[N_KINDS] = {false};
    while (*text != '\0') {
        size_t n = strcspn(text, ",");
        QN_TRY(parse_option(&parsed, seen, text, n, err));
        text += n;
        if (*text == ',' && *++text == '\0') {
            return qn_fail(err, QN_EINVAL, "recipe aidge", "an option is missing behind the last comma");
        }
    }
    *options = parsed;
    return QN_OK;
}

qn_status qn_aidge_check_options(const qn_aidge_options *options, qn_error *err)
{
    QN_TRY(qn_check_options_size(options->struct_size, sizeof *options, "qn_aidge_options_init", err));
    if (options->bits < MIN_BITS || options->bits > MAX_BITS) {
        return qn_fail(err, QN_EINVAL, "recipe aidge", "%d bits; there are %d to %d", options->bits, MIN_BITS,
                       MAX_BITS);
    }
    if (options->clip < QN_AIDGE_CLIP_MAX || options->clip > QN_AIDGE_CLIP_KL) {
        return qn_fail(err, QN_EINVAL, "recipe aidge", "unknown clipping; it can be %s", rows[KIND_CLIP].choices);
    }
    if (!(options->input > 0 && options->input < INFINITY)) {
        return qn_fail(err, QN_EINVAL, "recipe aidge", "input is %g; it can be %s", options->input,
                       rows[KIND_INPUT].choices);
    }
    if (options->signs && !options->round) {
        return qn_fail(err, QN_ECONFLICT, "recipe aidge",
                       "unsigned activations exist only where values are rounded; use signs=0 or round=1");
    }
    return QN_OK;
}
