/* Memory sizes, shares and numbers as users write them, and texts of numbers that read back as the same. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "link/plan.h"
#include "link/policy.h"

bool qn_number_parse(double *value, const char *text)
{
    const size_t n = qn_policy_read_number(value, text, strlen(text));
    return n > 0 && text[n] == '\0';
}

qn_status qn_memory_parse(int64_t *bytes, const char *text, qn_error *err)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},     {"B", 1},      {"kB", 1e3},      {"MB", 1e6},
                 {"GB", 1e9}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    double value;
    const size_t n = qn_policy_read_number(&value, text, strlen(text));
    const char *rest = text + n + strspn(text + n, " ");
    for (size_t i = 0; i < sizeof units / sizeof units[0] && n > 0; i++) {
        if (strcmp(rest, units[i].name) != 0) {
            continue;
        }
        const double x = value * units[i].factor;
        if (!(x >= 1 && x <= 0x1p53)) {
            return qn_fail(err, QN_EINVAL, NULL, "a memory of '%.60s'; it is 1 B to 8 PiB", text);
        }
        *bytes = (int64_t)floor(x);
        return QN_OK;
    }
    return qn_fail(err, QN_EINVAL, NULL,
                   "'%.60s' is no size of a memory: it is a number and a unit, as 512kB or 64MiB; units are B, kB, MB, "
                   "GB (of 1000) and KiB, MiB, GiB (of 1024)",
                   text);
}

qn_status qn_share_parse(double *share, const char *text, qn_error *err)
{
    char plain[64];
    double value;
    const size_t n = strlen(text);
    const bool percent = n > 1 && text[n - 1] == '%';
    /* Not a division: 0.1% is the same double as 0.001. */
    size_t digits = percent ? n - 1 : n;
    while (percent && digits > 0 && text[digits - 1] == ' ') {
        digits--;
    }
    const bool fits = digits < sizeof plain - 4 && (!percent || strspn(text, "-0123456789.") == digits);
    snprintf(plain, sizeof plain, "%.*s%s", fits ? (int)digits : 0, text, percent ? "e-2" : "");
    if (!fits || !qn_number_parse(&value, plain) || !isfinite(value) || value > 1 || value < -1) {
        return qn_fail(err, QN_EINVAL, NULL, "'%.60s' is no share: write 0.5%%, or 0.005 for the same", text);
    }
    *share = value + 0.0;
    return QN_OK;
}

/* The fewest digits that read back as the same number. */
static void shortest(char text[QN_NUMBER_MAX], double value)
{
    double back;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, QN_NUMBER_MAX, "%.*g", digits, value);
        if (qn_number_parse(&back, text) && back == value) {
            return;
        }
    }
}

void qn_number_text(char text[QN_NUMBER_MAX], double value)
{
    shortest(text, value);
}

/* The largest unit in which a number above 1 with few digits reads back as the same, else the last unit, which is 1. */
static void with_unit(char text[QN_NUMBER_MAX], double value, const double *sizes, const char *const *names, int n,
                      qn_status (*parse)(double *, const char *, qn_error *))
{
    for (int i = 0; i < n; i++) {
        double back;
        char number[QN_NUMBER_MAX - 8];
        snprintf(number, sizeof number, "%.9g", value / sizes[i]);
        snprintf(text, QN_NUMBER_MAX, "%s%s", number, names[i]);
        if (value / sizes[i] >= 1 && parse(&back, text, NULL) == QN_OK && back == value) {
            return;
        }
    }
    shortest(text, value);
    snprintf(text + strlen(text), QN_NUMBER_MAX - strlen(text), "%s", names[n - 1]);
}

void qn_bandwidth_text(char text[QN_NUMBER_MAX], double bits_per_second)
{
    static const double sizes[] = {1e9, 1e6, 1e3, 1};
    static const char *const names[] = {"Gbit", "Mbit", "kbit", "bit"};
    with_unit(text, bits_per_second, sizes, names, 4, qn_bandwidth_parse);
}

void qn_latency_text(char text[QN_NUMBER_MAX], double seconds)
{
    static const double sizes[] = {1e-3, 1e-6, 1e-9, 1};
    static const char *const names[] = {"ms", "us", "ns", "s"};
    if (seconds == 0) {
        snprintf(text, QN_NUMBER_MAX, "0s");
    } else {
        with_unit(text, seconds, sizes, names, 4, qn_latency_parse);
    }
}

void qn_memory_text(char text[QN_NUMBER_MAX], int64_t bytes)
{
    static const struct {
        const char *name;
        int64_t size;
    } units[] = {{"GB", 1000000000}, {"GiB", 1073741824}, {"MB", 1000000}, {"MiB", 1048576},
                 {"kB", 1000},       {"KiB", 1024},       {"B", 1}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes % units[i].size == 0) {
            snprintf(text, QN_NUMBER_MAX, "%lld%s", (long long)(bytes / units[i].size), units[i].name);
            return;
        }
    }
}
