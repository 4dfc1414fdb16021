/* Histograms in calib.json: an object whose counts are one string, as thousands of numbers on lines of their own would
 * be most of the file. */
#include "calib/histogram_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calib/tally.h"
#include "format/histogram.h"

enum { TOKEN_MAX = 32 };

/* Counts as text, runs of equal ones as COUNT*TIMES; NULL when out of memory. For qn_free. */
static char *counts_to_text(const qn_histogram_view *view)
{
    size_t length = 0;
    char *text = qn_alloc((size_t)view->n_bins * TOKEN_MAX + 1);
    for (int i = 0, end; text != NULL && i < view->n_bins; i = end) {
        for (end = i + 1; end < view->n_bins && view->counts[end] == view->counts[i]; end++) {
        }
        const char *gap = i > 0 ? " " : "";
        bool run = end - i > 1;
        length += (size_t)snprintf(text + length, TOKEN_MAX, run ? "%s%lld*%d" : "%s%lld", gap,
                                   (long long)view->counts[i], end - i);
    }
    return text;
}

json_t *qn_histogram_to_json(const qn_histogram *histogram)
{
    qn_histogram_view view;
    qn_histogram_get(&view, histogram);
    char *text = counts_to_text(&view);
    if (text == NULL) {
        return NULL;
    }
    int exponent = view.n_bins > 0 ? (int)lrint(log2(view.width)) : 0;
    json_t *object = json_pack("{s:I, s:I, s:i, s:I, s:s}", "n", (json_int_t)view.n, "zeros", (json_int_t)view.n_zeros,
                               "width_log2", exponent, "first", (json_int_t)view.first_bin, "counts", text);
    qn_free(text);
    return object;
}

/* A number without a sign; false when there is none or it is beyond int64. */
static bool read_count(const char **text, int64_t *count)
{
    const char *from = *text;
    *count = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (__builtin_mul_overflow(*count, 10, count) || __builtin_add_overflow(*count, **text - '0', count)) {
            return false;
        }
    }
    return *text > from;
}

/* At most QN_TALLY_HALF counts; false when the text is anything else. */
static bool read_counts(const char *text, int64_t counts[QN_TALLY_HALF], int *n)
{
    *n = 0;
    for (bool more = *text != '\0'; more;) {
        int64_t count, times = 1;
        if (!read_count(&text, &count)) {
            return false;
        }
        if (*text == '*' && (text++, !read_count(&text, &times))) {
            return false;
        }
        if ((*text != ' ' && *text != '\0') || times < 1 || times > QN_TALLY_HALF - *n) {
            return false;
        }
        for (; times > 0; times--) {
            counts[(*n)++] = count;
        }
        more = *text == ' ';
        text += more ? 1 : 0;
    }
    return true;
}

qn_status qn_histogram_from_json(qn_histogram **histogram, const json_t *object, const qn_range *range,
                                 const char *path, qn_error *err)
{
    enum { EXPONENT_MAX = 1000 };
    static const char *const numbers[] = {"n", "zeros", "width_log2", "first"};
    json_int_t number[4];
    for (int i = 0; i < 4; i++) {
        const json_t *field = json_object_get(object, numbers[i]);
        if (!json_is_integer(field)) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': \"%s\" of its histogram is not an integer",
                           range->value_name, numbers[i]);
        }
        number[i] = json_integer_value(field);
    }
    const char *text = json_string_value(json_object_get(object, "counts"));
    int64_t counts[QN_TALLY_HALF];
    qn_histogram_view view = {.n = number[0],
                              .n_zeros = number[1],
                              .min = (double)range->min,
                              .max = (double)range->max,
                              .first_bin = number[3],
                              .counts = counts};
    if (text == NULL || !read_counts(text, counts, &view.n_bins) || number[2] < -EXPONENT_MAX ||
        number[2] > EXPONENT_MAX) {
        return qn_fail(err, QN_EFORMAT, path,
                       "value '%s': \"counts\" of its histogram is not a string of at most %d numbers such as \"3 0*17 "
                       "5\", or \"width_log2\" is beyond %d",
                       range->value_name, QN_TALLY_HALF, EXPONENT_MAX);
    }
    view.width = ldexp(1.0, (int)number[2]);
    char where[QN_ERROR_WHERE_MAX];
    snprintf(where, sizeof where, "%s, value '%s'", path, range->value_name);
    return qn_histogram_of_counts(histogram, &view, QN_TALLY_HALF, where, err);
}
