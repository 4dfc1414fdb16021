/* Bandwidths over time, from CSV that nobody vouches for. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "link/policy.h"

enum { MAX_STEPS = 1 << 22, MAX_LINKS = 256, MAX_NAME = 255 };

typedef struct {
    double time, bandwidth; /* seconds, bits per second */
} step;

typedef struct {
    char *name; /* NULL: of a trace that names no links */
    step *steps;
    size_t n, capacity;
    bool has_bandwidth;
} series;

struct qn_bandwidth_trace {
    int n_series;
    series *series; /* MAX_LINKS, or 1 */
};

void qn_bandwidth_trace_free(qn_bandwidth_trace *trace)
{
    if (trace == NULL) {
        return;
    }
    for (int i = 0; i < trace->n_series; i++) {
        qn_free(trace->series[i].name);
        qn_free(trace->series[i].steps);
    }
    qn_free(trace->series);
    qn_free(trace);
}

static qn_bandwidth_trace *new_trace(int n_series)
{
    qn_bandwidth_trace *trace = qn_alloc(sizeof *trace);
    if (trace != NULL) {
        trace->series = qn_alloc((size_t)n_series * sizeof *trace->series);
        if (trace->series == NULL) {
            qn_free(trace);
            return NULL;
        }
    }
    return trace;
}

/* A part of the text. */
typedef struct {
    const char *at;
    size_t n;
} piece;

static piece trim(piece p)
{
    while (p.n > 0 && (p.at[0] == ' ' || p.at[0] == '\t')) {
        p.at++;
        p.n--;
    }
    while (p.n > 0 && (p.at[p.n - 1] == ' ' || p.at[p.n - 1] == '\t' || p.at[p.n - 1] == '\r')) {
        p.n--;
    }
    return p;
}

static bool is(piece p, const char *text)
{
    return p.n == strlen(text) && memcmp(p.at, text, p.n) == 0;
}

/* Up to the next `end`, which is left out of both; `rest` is what follows. */
static piece cut(piece *rest, char end)
{
    const char *found = rest->n > 0 ? memchr(rest->at, end, rest->n) : NULL;
    const size_t n = found != NULL ? (size_t)(found - rest->at) : rest->n;
    const piece head = {rest->at, n};
    const size_t past = found != NULL ? n + 1 : n;
    rest->at += past;
    rest->n -= past;
    return head;
}

/* Reading. */
typedef struct {
    qn_bandwidth_trace *trace;
    const char *where;
    int n_columns; /* 0 before the first line */
    size_t n_steps;
    int latest; /* series of the line before */
    char place[QN_ERROR_WHERE_MAX];
    qn_error *err;
} reader;

static qn_status find_series(reader *r, piece name, int *found)
{
    qn_bandwidth_trace *trace = r->trace;
    for (int i = 0; i < trace->n_series; i++) { /* most often the same as before, or the next */
        const int at = (r->latest + i) % trace->n_series;
        if (is(name, trace->series[at].name)) {
            *found = r->latest = at;
            return QN_OK;
        }
    }
    if (name.n == 0 || name.n > MAX_NAME || memchr(name.at, '\0', name.n) != NULL ||
        memchr(name.at, '"', name.n) != NULL) {
        return qn_fail(r->err, QN_EFORMAT, r->place,
                       "a link's name has 1 to %d bytes, without quotes and zeros; this has %zu", MAX_NAME, name.n);
    }
    if (trace->n_series == MAX_LINKS) {
        return qn_fail(r->err, QN_ELIMIT, r->place, "more than %d links", MAX_LINKS);
    }
    series *s = &trace->series[trace->n_series];
    s->name = qn_alloc(name.n + 1);
    if (s->name == NULL) {
        return qn_fail_memory(r->err, r->place, name.n + 1);
    }
    memcpy(s->name, name.at, name.n);
    *found = r->latest = trace->n_series++;
    return QN_OK;
}

static qn_status read_number(reader *r, piece field, const char *what, double *value)
{
    if (qn_policy_read_number(value, field.at, field.n) != field.n || field.n == 0 || !isfinite(*value)) {
        return qn_fail(r->err, QN_EFORMAT, r->place, "'%.*s' is not a number of %s", (int)(field.n < 64 ? field.n : 64),
                       field.at, what);
    }
    return QN_OK;
}

static qn_status add_step(reader *r, series *s, double time, double bandwidth)
{
    if (s->n > 0 && !(time > s->steps[s->n - 1].time)) {
        return qn_fail(r->err, QN_EFORMAT, r->place, "time %g s does not come after %g s%s%s", time,
                       s->steps[s->n - 1].time, s->name != NULL ? " of link " : "", s->name != NULL ? s->name : "");
    }
    if (bandwidth < 0) {
        return qn_fail(r->err, QN_EFORMAT, r->place, "a bandwidth of %g bits per second; it is 0 or more", bandwidth);
    }
    if (r->n_steps++ >= MAX_STEPS) {
        return qn_fail(r->err, QN_ELIMIT, r->place, "more than %d steps", MAX_STEPS);
    }
    void *steps = s->steps;
    const qn_status status = qn_grow(&steps, &s->capacity, s->n, sizeof *s->steps, r->err);
    s->steps = steps;
    if (status == QN_OK) {
        s->steps[s->n++] = (step){time, bandwidth};
        s->has_bandwidth = s->has_bandwidth || bandwidth > 0;
    }
    return status;
}

static qn_status read_line(reader *r, piece line)
{
    piece fields[3] = {{"", 0}};
    int n = 0;
    piece rest = line;
    for (bool more = true; more;) {
        more = memchr(rest.at, ',', rest.n) != NULL;
        if (n == 3) {
            return qn_fail(r->err, QN_EFORMAT, r->place, "more than 3 columns");
        }
        fields[n++] = trim(cut(&rest, ','));
    }
    if (n < 2) {
        return qn_fail(r->err, QN_EFORMAT, r->place,
                       "one column; a line is seconds,bits_per_second or "
                       "seconds,bits_per_second,link");
    }
    if (r->n_columns == 0) {
        r->n_columns = n;
        r->trace->n_series = n == 2 ? 1 : 0;
        if (is(fields[0], "seconds")) {
            if (!is(fields[1], "bits_per_second") || (n == 3 && !is(fields[2], "link"))) {
                return qn_fail(r->err, QN_EFORMAT, r->place,
                               "the names of columns are seconds,bits_per_second, with or without ,link");
            }
            return QN_OK;
        }
    }
    if (n != r->n_columns) {
        return qn_fail(r->err, QN_EFORMAT, r->place, "%d columns, where the first line has %d", n, r->n_columns);
    }
    double time, bandwidth;
    int found = 0;
    QN_TRY(read_number(r, fields[0], "seconds", &time));
    QN_TRY(read_number(r, fields[1], "bits per second", &bandwidth));
    if (n == 3) {
        QN_TRY(find_series(r, fields[2], &found));
    }
    return add_step(r, &r->trace->series[found], time, bandwidth);
}

static qn_status read_all(reader *r, piece text)
{
    if (text.n >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text.at += 3;
        text.n -= 3;
    }
    for (int64_t number = 1; text.n > 0; number++) {
        const piece line = trim(cut(&text, '\n'));
        if (line.n > 0 && line.at[0] != '#') {
            snprintf(r->place, sizeof r->place, "%s, line %lld", r->where, (long long)number);
            QN_TRY(read_line(r, line));
        }
    }
    if (r->n_steps == 0) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "no bandwidth in it; a line is seconds,bits_per_second");
    }
    for (int i = 0; i < r->trace->n_series; i++) {
        const series *s = &r->trace->series[i];
        if (!s->has_bandwidth) {
            return qn_fail(r->err, QN_EFORMAT, r->where, "the bandwidth%s%s is always 0", s->name ? " of link " : "",
                           s->name ? s->name : "");
        }
    }
    return QN_OK;
}

qn_status qn_bandwidth_trace_parse(qn_bandwidth_trace **trace, const void *text, size_t n, const char *where,
                                   qn_error *err)
{
    reader r = {.trace = new_trace(MAX_LINKS), .where = where, .err = err};
    *trace = NULL;
    if (r.trace == NULL) {
        return qn_fail_memory(err, where, sizeof *r.trace);
    }
    const qn_status status = read_all(&r, (piece){text, n});
    if (status != QN_OK) {
        qn_bandwidth_trace_free(r.trace);
        return status;
    }
    *trace = r.trace;
    return QN_OK;
}

qn_status qn_bandwidth_trace_read(qn_bandwidth_trace **trace, const char *path, qn_error *err)
{
    qn_file_bytes bytes;
    *trace = NULL;
    QN_TRY(qn_file_read(&bytes, path, err));
    const qn_status status = qn_bandwidth_trace_parse(trace, bytes.data, bytes.size, path, err);
    qn_file_bytes_free(&bytes);
    return status;
}

qn_status qn_bandwidth_trace_constant(qn_bandwidth_trace **trace, double bits_per_second, qn_error *err)
{
    *trace = NULL;
    if (!(bits_per_second > 0) || !isfinite(bits_per_second)) {
        return qn_fail(err, QN_EINVAL, NULL, "a bandwidth of %g bits per second; it is above 0, and finite",
                       bits_per_second);
    }
    reader r = {.trace = new_trace(1), .place = "bandwidth", .err = err};
    if (r.trace == NULL) {
        return qn_fail_memory(err, NULL, sizeof *r.trace);
    }
    r.trace->n_series = 1;
    const qn_status status = add_step(&r, &r.trace->series[0], 0, bits_per_second);
    if (status != QN_OK) {
        qn_bandwidth_trace_free(r.trace);
        return status;
    }
    *trace = r.trace;
    return QN_OK;
}

int qn_trace_link(const qn_bandwidth_trace *trace, const char *name)
{
    if (trace->series[0].name == NULL) {
        return 0;
    }
    for (int i = 0; i < trace->n_series; i++) {
        if (strcmp(trace->series[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int qn_trace_n_links(const qn_bandwidth_trace *trace)
{
    return trace->series[0].name != NULL ? trace->n_series : 0;
}

const char *qn_trace_link_name(const qn_bandwidth_trace *trace, int link)
{
    return link >= 0 && link < trace->n_series ? trace->series[link].name : NULL;
}

/* The last step that has begun; before all, the first. */
static size_t step_at(const series *s, double time)
{
    size_t lo = 0, hi = s->n;
    while (hi - lo > 1) {
        const size_t middle = lo + (hi - lo) / 2;
        if (s->steps[middle].time <= time) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    return lo;
}

double qn_trace_bandwidth(const qn_bandwidth_trace *trace, int link, double time)
{
    if (link < 0 || link >= trace->n_series || isnan(time)) {
        return NAN;
    }
    const series *s = &trace->series[link];
    return s->steps[step_at(s, time)].bandwidth;
}

double qn_trace_end(const qn_bandwidth_trace *trace, int link)
{
    if (link < 0 || link >= trace->n_series) {
        return NAN;
    }
    const series *s = &trace->series[link];
    return s->steps[s->n - 1].time;
}

double qn_trace_finish(const qn_bandwidth_trace *trace, int link, double start_time, double bytes, double latency)
{
    if (link < 0 || link >= trace->n_series || !isfinite(start_time) || !(bytes >= 0) || !isfinite(bytes) ||
        !(latency >= 0) || !isfinite(latency)) {
        return NAN;
    }
    const series *s = &trace->series[link];
    double now = start_time, bits = 8 * bytes;
    for (size_t i = step_at(s, now); bits > 0; i++) {
        const double bandwidth = s->steps[i].bandwidth, end = i + 1 < s->n ? s->steps[i + 1].time : INFINITY;
        const double passed = bandwidth > 0 ? bandwidth * (end - now) : 0;
        if (bits <= passed) {
            return fmin(now + bits / bandwidth, end) + latency;
        }
        if (i + 1 == s->n) {
            return INFINITY;
        }
        bits -= passed;
        now = end;
    }
    return now + latency;
}
