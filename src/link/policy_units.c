/* Bandwidths and latencies as users write them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/policy.h"

typedef struct {
    const char *name;
    double factor, divisor; /* one is 1; divisors keep 5ms what 0.005 is */
} unit;

static const unit bandwidths[] = {{"bit", 1, 1},   {"kbit", 1e3, 1},   {"Mbit", 1e6, 1},   {"Gbit", 1e9, 1},
                                  {"bit/s", 1, 1}, {"kbit/s", 1e3, 1}, {"Mbit/s", 1e6, 1}, {"Gbit/s", 1e9, 1},
                                  {"B/s", 8, 1},   {"kB/s", 8e3, 1},   {"MB/s", 8e6, 1},   {"GB/s", 8e9, 1}};
static const unit latencies[] = {{"ns", 1, 1e9}, {"us", 1, 1e6}, {"ms", 1, 1e3}, {"s", 1, 1}};
enum { N_BANDWIDTHS = sizeof bandwidths / sizeof bandwidths[0], N_LATENCIES = sizeof latencies / sizeof latencies[0] };

static size_t skip_digits(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] >= '0' && text[at] <= '9') {
        at++;
    }
    return at;
}

size_t qn_policy_read_number(double *value, const char *text, size_t n)
{
    char copy[64];
    const size_t first = n > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    size_t at = skip_digits(text, n, first), n_digits = at - first;
    if (at < n && text[at] == '.') {
        const size_t end = skip_digits(text, n, at + 1);
        n_digits += end - at - 1;
        at = end;
    }
    if (n_digits == 0) {
        return 0;
    }
    if (at < n && (text[at] == 'e' || text[at] == 'E')) {
        const size_t digits = at + 1 < n && (text[at + 1] == '-' || text[at + 1] == '+') ? at + 2 : at + 1;
        const size_t end = skip_digits(text, n, digits);
        at = end > digits ? end : at;
    }
    if (at >= sizeof copy) {
        return 0;
    }
    memcpy(copy, text, at);
    copy[at] = '\0';
    char *end;
    *value = strtod(copy, &end);
    return *end == '\0' ? at : 0;
}

static const unit *find(const unit *units, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(units[i].name, name) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* The number and what follows it and spaces; NULL when there is no number. */
static const char *split(double *value, const char *text)
{
    const size_t n = qn_policy_read_number(value, text, strlen(text));
    const char *rest = text + n;
    return n > 0 ? rest + strspn(rest, " ") : NULL;
}

qn_status qn_bandwidth_parse(double *bits_per_second, const char *text, qn_error *err)
{
    static const char units[] = "bit, kbit, Mbit, Gbit (a second, with or without '/s'), B/s, kB/s, MB/s, GB/s";
    double value;
    const char *rest = split(&value, text);
    const unit *u = rest != NULL ? find(bandwidths, N_BANDWIDTHS, rest) : NULL;
    if (u == NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "'%s' is no bandwidth: it is a number and a unit, as 10Mbit; units are %s",
                       text, units);
    }
    value *= u->factor;
    if (!(value > 0) || !isfinite(value)) {
        return qn_fail(err, QN_EINVAL, NULL, "a bandwidth of '%s'; it is above 0, and finite", text);
    }
    *bits_per_second = value;
    return QN_OK;
}

qn_status qn_latency_parse(double *seconds, const char *text, qn_error *err)
{
    double value;
    const char *rest = split(&value, text);
    const unit *u = rest != NULL ? find(latencies, N_LATENCIES, rest) : NULL;
    if (rest != NULL && *rest == '\0' && value == 0) {
        u = &latencies[N_LATENCIES - 1];
    }
    if (u == NULL) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "'%s' is no latency: it is a number and a unit, as 5ms; units are ns, us, ms, s", text);
    }
    value /= u->divisor;
    if (!(value >= 0) || !isfinite(value)) {
        return qn_fail(err, QN_EINVAL, NULL, "a latency of '%s'; it is 0 or more, and finite", text);
    }
    *seconds = value + 0.0; /* of -0 too */
    return QN_OK;
}
