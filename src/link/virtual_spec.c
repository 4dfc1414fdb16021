#include "link/virtual_spec.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "link/policy.h"

enum { KEY_BANDWIDTH, KEY_LATENCY, KEY_TRACE, KEY_COMPUTE, N_KEYS };
static const char *const keys[N_KEYS] = {"bandwidth", "latency", "trace", "compute"};

static const char *const compute_texts[] = {
#define COMPUTE_TEXT(name, value, text, what) [name] = text,
    QN_VIRTUAL_COMPUTE_LIST(COMPUTE_TEXT)
#undef COMPUTE_TEXT
};

const char *qn_virtual_compute_text(qn_virtual_compute compute)
{
    return compute_texts[compute];
}

/* What the text says: of all in row 0, of link or stage i in row i + 1; NULL: nothing. */
typedef struct reader {
    const char *option;
    const qn_plan *plan;
    qn_virtual_spec *spec;
    const char *(*rows)[N_KEYS];
} reader;

static qn_status refuse_key(const reader *r, const char *key, qn_error *err)
{
    char list[128];
    qn_list_names(list, sizeof list, keys, N_KEYS);
    return qn_fail(err, QN_EINVAL, r->option,
                   "'%s' is no key; there are %s, and link0.bandwidth, stage0.compute and so on for one link or stage",
                   key, list);
}

/* "link2.latency": row 3, latency. */
static qn_status find_key(const reader *r, const char *key, size_t *row, int *which, qn_error *err)
{
    const char *name = key;
    const bool is_link = strncmp(key, "link", 4) == 0, is_stage = strncmp(key, "stage", 5) == 0;
    *row = 0;
    if (is_link || is_stage) {
        const size_t most = is_link ? r->plan->n_stages - 1 : r->plan->n_stages;
        const char *digits = key + (is_link ? 4 : 5);
        const size_t n = strspn(digits, "0123456789");
        const unsigned long index = n < 10 ? strtoul(digits, NULL, 10) : ULONG_MAX;
        if (n == 0 || digits[n] != '.') {
            return refuse_key(r, key, err);
        }
        if (index >= most) {
            return qn_fail(err, QN_EINVAL, r->option, "'%s': the plan has %zu %s%s, which count%s from 0", key, most,
                           is_link ? "link" : "stage", most == 1 ? "" : "s", most == 1 ? "s" : "");
        }
        *row = index + 1;
        name = digits + n + 1;
    }
    for (*which = 0; *which < N_KEYS; (*which)++) {
        if (strcmp(name, keys[*which]) == 0 && (*row == 0 || is_stage == (*which == KEY_COMPUTE))) {
            return QN_OK;
        }
    }
    return refuse_key(r, key, err);
}

static qn_status split(reader *r, const char *text, qn_error *err)
{
    char *copy = qn_arena_string(&r->spec->arena, text);
    r->rows = qn_arena_array(&r->spec->arena, r->plan->n_stages + 1, sizeof *r->rows);
    if (copy == NULL || r->rows == NULL) {
        return qn_fail_memory(err, r->option, 0);
    }
    char *rest = NULL;
    for (char *piece = strtok_r(copy, ",", &rest); piece != NULL; piece = strtok_r(NULL, ",", &rest)) {
        piece += strspn(piece, " ");
        char *equals = strchr(piece, '=');
        if (equals == NULL || equals[1] == '\0') {
            return qn_fail(err, QN_EINVAL, r->option, "'%s' is not KEY=VALUE, as bandwidth=10Mbit is", piece);
        }
        *equals = '\0';
        size_t row;
        int which;
        QN_TRY(find_key(r, piece, &row, &which, err));
        if (r->rows[row][which] != NULL) {
            return qn_fail(err, QN_EINVAL, r->option, "'%s' is there twice", piece);
        }
        r->rows[row][which] = equals + 1;
    }
    return QN_OK;
}

/* An error of a value gets the option as its place. */
static qn_status placed(const reader *r, qn_status status, const qn_error *inner, qn_error *err)
{
    return status == QN_OK
               ? QN_OK
               : qn_fail(err, status, inner->where[0] != '\0' ? inner->where : r->option, "%s", inner->message);
}

static qn_status read_trace(const reader *r, size_t link, const char *file, qn_error *err)
{
    qn_virtual_speed *speed = &r->spec->links[link];
    char name[32];
    snprintf(name, sizeof name, "link%zu", link);
    QN_TRY(qn_bandwidth_trace_read(&speed->trace, file, err));
    speed->file = file;
    speed->trace_link = qn_trace_link(speed->trace, name);
    if (speed->trace_link < 0) {
        return qn_fail(err, QN_EINVAL, file, "it has bandwidths of '%s', but none of %s; links are link0 to link%zu",
                       qn_trace_link_name(speed->trace, 0), name, r->plan->n_stages - 2);
    }
    return QN_OK;
}

/* Bandwidth: of the link, of all links, of the plan. */
static qn_status read_bandwidth(const reader *r, size_t link, qn_error *err)
{
    qn_virtual_speed *speed = &r->spec->links[link];
    qn_error inner;
    qn_error_init(&inner);
    for (int i = 0; i < 2; i++) {
        const char *const *row = r->rows[i == 0 ? link + 1 : 0];
        if (row[KEY_BANDWIDTH] != NULL && row[KEY_TRACE] != NULL) {
            return qn_fail(err, QN_EINVAL, r->option, "bandwidth and trace contradict each other; give one of them");
        }
        if (row[KEY_TRACE] != NULL) {
            return read_trace(r, link, row[KEY_TRACE], err);
        }
        if (row[KEY_BANDWIDTH] != NULL) {
            double bits;
            QN_TRY(placed(r, qn_bandwidth_parse(&bits, row[KEY_BANDWIDTH], &inner), &inner, err));
            return qn_bandwidth_trace_constant(&speed->trace, bits, err);
        }
    }
    const double planned = r->plan->links[link].bandwidth;
    if (!(planned > 0)) {
        return qn_fail(
            err, QN_EINVAL, r->option,
            "nothing says how fast link %zu is; say bandwidth=10Mbit or link%zu.bandwidth=10Mbit, or write it "
            "in the plan",
            link, link);
    }
    return qn_bandwidth_trace_constant(&speed->trace, planned, err);
}

static qn_status read_latency(const reader *r, size_t link, qn_error *err)
{
    const char *text =
        r->rows[link + 1][KEY_LATENCY] != NULL ? r->rows[link + 1][KEY_LATENCY] : r->rows[0][KEY_LATENCY];
    const double planned = r->plan->links[link].latency;
    qn_error inner;
    qn_error_init(&inner);
    r->spec->links[link].latency = planned > 0 ? planned : 0;
    return text == NULL ? QN_OK : placed(r, qn_latency_parse(&r->spec->links[link].latency, text, &inner), &inner, err);
}

static qn_status read_compute(const reader *r, size_t stage, bool all_planned, qn_error *err)
{
    qn_virtual_stage *to = &r->spec->stages[stage];
    const char *own = r->rows[stage + 1][KEY_COMPUTE], *text = own != NULL ? own : r->rows[0][KEY_COMPUTE];
    *to = (qn_virtual_stage){all_planned ? QN_VIRTUAL_PLAN : QN_VIRTUAL_MEASURED, 0};
    if (text == NULL) {
        return QN_OK;
    }
    r->spec->says_compute = true;
    if (strncmp(text, "macs:", 5) == 0) {
        const size_t n = qn_policy_read_number(&to->macs_per_second, text + 5, strlen(text + 5));
        to->compute = QN_VIRTUAL_MACS;
        if (n == 0 || text[5 + n] != '\0' || !(to->macs_per_second > 0) || !isfinite(to->macs_per_second)) {
            return qn_fail(err, QN_EINVAL, r->option,
                           "compute=%s: macs:1e9 is a thousand million multiplications a second", text);
        }
        return QN_OK;
    }
    if (strcmp(text, compute_texts[QN_VIRTUAL_PLAN]) == 0) {
        to->compute = QN_VIRTUAL_PLAN;
        if (!(r->plan->stages[stage].seconds_per_item >= 0)) {
            return qn_fail(err, QN_EINVAL, r->option,
                           "compute=plan, but the plan does not say what stage %zu takes; give it seconds_per_item, or "
                           "compute=macs:1e9 or measured",
                           stage);
        }
        return QN_OK;
    }
    if (strcmp(text, compute_texts[QN_VIRTUAL_MEASURED]) == 0) {
        to->compute = QN_VIRTUAL_MEASURED;
        return QN_OK;
    }
    return qn_fail(err, QN_EINVAL, r->option, "compute=%s is none of measured, macs:RATE and plan", text);
}

static qn_status read_all(reader *r, const char *text, qn_error *err)
{
    qn_virtual_spec *spec = r->spec;
    const qn_plan *plan = r->plan;
    spec->links = qn_arena_array(&spec->arena, plan->n_stages, sizeof *spec->links);
    spec->stages = qn_arena_array(&spec->arena, plan->n_stages, sizeof *spec->stages);
    if (spec->links == NULL || spec->stages == NULL) {
        return qn_fail_memory(err, r->option, 0);
    }
    QN_TRY(split(r, text, err));
    bool all_planned = true;
    for (size_t k = 0; k < plan->n_stages; k++) {
        all_planned = all_planned && plan->stages[k].seconds_per_item >= 0;
    }
    for (size_t k = 0; k < plan->n_stages; k++) {
        QN_TRY(read_compute(r, k, all_planned, err));
    }
    for (size_t k = 0; k + 1 < plan->n_stages; k++) {
        QN_TRY(read_bandwidth(r, k, err));
        QN_TRY(read_latency(r, k, err));
    }
    return QN_OK;
}

qn_status qn_virtual_spec_read(qn_virtual_spec *spec, const char *option, const char *text, const qn_plan *plan,
                               qn_error *err)
{
    *spec = (qn_virtual_spec){.n_stages = plan->n_stages};
    reader r = {option, plan, spec, NULL};
    const qn_status status = read_all(&r, text, err);
    if (status != QN_OK) {
        qn_virtual_spec_free(spec);
    }
    return status;
}

void qn_virtual_spec_free(qn_virtual_spec *spec)
{
    for (size_t k = 0; spec->links != NULL && k + 1 < spec->n_stages; k++) {
        qn_bandwidth_trace_free(spec->links[k].trace);
    }
    qn_arena_free(&spec->arena);
    *spec = (qn_virtual_spec){0};
}
