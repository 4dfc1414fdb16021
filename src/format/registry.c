/* The registry: rows by kind, and what follows from a row alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "format/round.h"
#include "format/row.h"

#define DECLARE_ROW(kind, value, row) extern const qn_format_row row;
QN_FORMAT_LIST(DECLARE_ROW)

static const qn_format_row *const rows[] = {
#define ROW(kind, value, row) &row,
    QN_FORMAT_LIST(ROW)
#undef ROW
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static bool kind_known(qn_format_kind kind)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i]->about.kind == kind) {
            return true;
        }
    }
    return false;
}

const qn_format_row *qn_format_row_of(qn_format_kind kind)
{
    for (size_t i = 1; i < N_ROWS; i++) {
        if (rows[i]->about.kind == kind) {
            return rows[i];
        }
    }
    return rows[0];
}

size_t qn_format_count(void)
{
    return N_ROWS;
}

qn_format_description qn_format_describe(size_t index)
{
    return rows[index]->about;
}

unsigned qn_format_parameters(qn_format format)
{
    return qn_format_row_of(format.kind)->parameters;
}

bool qn_format_integers(qn_format *as, float *unit, qn_format format)
{
    const qn_format_row *row = qn_format_row_of(format.kind);
    return row->integers != NULL && row->integers(as, unit, &format);
}

qn_format qn_format_holding(int32_t lo, int32_t hi)
{
    qn_format f = {.bits = 2, .is_signed = true};
    const int32_t below = lo < 0 ? -1 - lo : 0;
    while (hi >> (f.bits - 1) != 0 || below >> (f.bits - 1) != 0) {
        f.bits++;
    }
    return f;
}

bool qn_format_equal(qn_format a, qn_format b)
{
    return a.bits == b.bits && a.is_signed == b.is_signed && a.narrow == b.narrow && a.no_zero == b.no_zero &&
           a.log == b.log && a.kind == b.kind && a.rounding == b.rounding && a.overflow == b.overflow &&
           a.fit == b.fit && a.variant == b.variant && a.exponent_bits == b.exponent_bits &&
           a.mantissa_bits == b.mantissa_bits && a.exponent_bias == b.exponent_bias &&
           a.integer_bits == b.integer_bits && a.block == b.block && a.mode == b.mode && a.alpha == b.alpha &&
           a.threshold == b.threshold;
}

static int *field_of(qn_format *f, const qn_bound *bound)
{
    return (int *)(void *)((char *)f + bound->offset);
}

/* Bring every field into its range, first to last. */
static void clamp_fields(qn_format *f, const qn_format_row *row)
{
    qn_bound bounds[QN_BOUNDS_MAX];
    int n = row->bounds(f, bounds);
    for (int i = 0; i < n; i++) {
        row->bounds(f, bounds); /* later ranges may depend on fields that were just changed */
        int *field = field_of(f, &bounds[i]);
        *field = *field < bounds[i].lo ? bounds[i].lo : *field > bounds[i].hi ? bounds[i].hi : *field;
        if (row->derive != NULL) {
            row->derive(f);
        }
    }
}

qn_status qn_format_check(qn_format format, const char *where, qn_error *err)
{
    if (!kind_known(format.kind)) {
        return qn_fail(err, QN_EINVAL, where, "there is no format kind %d", (int)format.kind);
    }
    const qn_format_row *row = qn_format_row_of(format.kind);
    char name[QN_FORMAT_NAME_MAX], near[QN_FORMAT_NAME_MAX];
    qn_format_name(name, format);
    qn_format legal = format;
    qn_bound bounds[QN_BOUNDS_MAX];
    int n = row->bounds(&format, bounds);
    for (int i = 0; i < n; i++) {
        int value = *field_of(&legal, &bounds[i]);
        if (value < bounds[i].lo || value > bounds[i].hi) {
            clamp_fields(&legal, row);
            qn_format_name(near, legal);
            return qn_fail(err, QN_EINVAL, where,
                           "there is no format %s: %s is %d, legal is %d to %d; the nearest is %s", name,
                           bounds[i].what, value, bounds[i].lo, bounds[i].hi, near);
        }
    }
    const char *reason = row->refuse != NULL ? row->refuse(&format) : NULL;
    if (reason != NULL) {
        return qn_fail(err, QN_EINVAL, where, "there is no format %s: %s", name, reason);
    }
    if (row->derive != NULL) {
        row->derive(&legal);
    }
    if (!qn_format_equal(legal, format)) {
        return qn_fail(err, QN_EINVAL, where, "the fields of this %s format contradict each other", row->heads[0]);
    }
    return QN_OK;
}

qn_dtype qn_format_code_dtype(qn_format format)
{
    return format.bits > 16 ? QN_DTYPE_U32 : format.bits > 8 ? QN_DTYPE_U16 : QN_DTYPE_U8;
}

qn_dtype qn_format_dtype(qn_format format)
{
    if (format.kind != QN_FORMAT_INT || !format.is_signed) {
        return qn_format_code_dtype(format);
    }
    return format.bits > 16 ? QN_DTYPE_S32 : format.bits > 8 ? QN_DTYPE_S16 : QN_DTYPE_S8;
}

int qn_format_fields(qn_field fields[QN_FIELDS_MAX], qn_format format, uint32_t code)
{
    return qn_format_row_of(format.kind)->fields(fields, &format, code & qn_code_mask(format.bits));
}

double qn_format_value(qn_format format, const qn_params *params, uint32_t code)
{
    return qn_format_row_of(format.kind)->decode(&format, params, code & qn_code_mask(format.bits));
}

uint32_t qn_format_code(qn_format format, const qn_params *params, double x, uint32_t random)
{
    return qn_format_row_of(format.kind)->encode(&format, params, x, random);
}

void qn_format_limits_get(qn_format_limits *limits, qn_format format, const qn_params *params)
{
    qn_format_row_of(format.kind)->limits(limits, &format, params);
}

qn_params qn_format_params_neutral(void)
{
    return (qn_params){.scale = 1.0f, .multiplier = 1.0f};
}

void qn_format_params_from_range(qn_format format, double lo, double hi, qn_params *params)
{
    const qn_format_row *row = qn_format_row_of(format.kind);
    *params = qn_format_params_neutral();
    if (row->from_range != NULL) {
        row->from_range(params, &format, lo, hi);
    }
}

/* The stream of numbers that stochastic rounding draws from, apart from all other users of the same seed. */
enum { ROUNDING_STREAM = 1 };

uint32_t qn_run_draw(const qn_run *run, int64_t i)
{
    if (run->format->rounding != QN_ROUND_STOCHASTIC) {
        return 0;
    }
    return qn_random_u32(run->seed, ROUNDING_STREAM, (uint64_t)(run->first + i * run->stride));
}

void qn_run_encode_f64(uint32_t *codes, const double *x, int64_t n, const qn_run *run)
{
    const qn_format_row *row = qn_format_row_of(run->format->kind);
    for (int64_t i = 0; i < n; i++) {
        codes[i] = row->encode(run->format, &run->params, x[i], qn_run_draw(run, i));
    }
}

void qn_run_encode(uint32_t *codes, const float *x, int64_t n, const qn_run *run)
{
    const qn_format_row *row = qn_format_row_of(run->format->kind);
    if (row->encode_run != NULL) {
        row->encode_run(codes, x, n, run);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        codes[i] = row->encode(run->format, &run->params, (double)x[i], qn_run_draw(run, i));
    }
}

void qn_run_decode(float *y, const uint32_t *codes, int64_t n, const qn_run *run)
{
    const qn_format_row *row = qn_format_row_of(run->format->kind);
    if (row->decode_run != NULL) {
        row->decode_run(y, codes, n, run);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = (float)row->decode(run->format, &run->params, codes[i]);
    }
}
