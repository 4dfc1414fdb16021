/* What codes of targets stand for, their fields, and changes with noise (doc/spec/arithmetic.md 7.1). */
#include <math.h>
#include <string.h>

#include "fault/targets.h"
#include "format/row.h"

static uint32_t low_bits(int bits)
{
    return bits >= 32 ? UINT32_MAX : ((uint32_t)1 << bits) - 1;
}

/* The parameter set of an element of a tensor of the target's shape; the quantizer counts axes in the value's, which may
 * have the batch before. */
static int64_t set_of(const qn_fault_target *t, const qn_quantizer *q, int value_rank, int64_t element)
{
    if (q->axis < 0) {
        return q->group > 0 ? element / q->group : 0;
    }
    const int axis = q->axis - (value_rank - t->rank);
    if (axis < 0) {
        return 0; /* along the batch, of which there is one item */
    }
    int64_t inner = 1;
    for (int i = axis + 1; i < t->rank; i++) {
        inner *= t->dims[i];
    }
    const int64_t size = t->dims[axis], along = element / inner % size;
    if (q->group == 0) {
        return along;
    }
    const int64_t outer = element / inner / size, groups = (size + q->group - 1) / q->group;
    return (outer * groups + along / q->group) * inner + element % inner;
}

/* False where parameters are only known when an item runs. */
static bool find_params(qn_params *params, const qn_fault_target *t, const qn_program *program, int64_t element)
{
    if (t->unscaled) {
        *params = qn_format_params_neutral();
        return false;
    }
    const qn_quantizer *q = qn_targets_quantizer(&program->graph, t->value);
    if (q == NULL || q->dynamic) {
        *params = qn_format_params_neutral();
        return q == NULL;
    }
    const int64_t set = set_of(t, q, program->binding.values[t->value].rank, element);
    *params = qn_quantizer_get(q, set < q->n ? set : 0);
    return true;
}

static float as_float(uint32_t code)
{
    float x;
    memcpy(&x, &code, sizeof x);
    return x;
}

static bool is_unsigned(const qn_fault_target *t)
{
    return t->where == QN_FAULT_ZERO_POINTS && !t->format.is_signed;
}

static double as_integer(const qn_fault_target *t, uint32_t code)
{
    const uint32_t mask = low_bits(t->bits), sign = (uint32_t)1 << (t->bits - 1);
    code &= mask;
    return is_unsigned(t) || (code & sign) == 0 ? (double)code : (double)code - (double)mask - 1;
}

static bool has_scale(const qn_fault_target *t)
{
    return t->coding == QN_FAULT_S32 && t->where == QN_FAULT_BIASES;
}

double qn_fault_value(const qn_fault_target *target, const qn_program *program, int64_t element, uint32_t code)
{
    qn_params params;
    switch (target->coding) {
    case QN_FAULT_F32:
        return (double)as_float(code);
    case QN_FAULT_BYTES:
        return (double)code;
    case QN_FAULT_S32:
        return has_scale(target) && find_params(&params, target, program, element)
                   ? as_integer(target, code) * (double)params.scale
                   : as_integer(target, code);
    case QN_FAULT_CODED:
    default:
        return find_params(&params, target, program, element) ? qn_format_value(target->format, &params, code)
                                                              : (double)NAN;
    }
}

static uint32_t span(int first, int n)
{
    return low_bits(n) << first;
}

static int fields_of(qn_field fields[QN_FIELDS_MAX], const qn_fault_target *t)
{
    switch (t->coding) {
    case QN_FAULT_CODED:
        return qn_format_fields(fields, t->format, 0);
    case QN_FAULT_F32:
        fields[0] = (qn_field){"sign", 31, 1};
        fields[1] = (qn_field){"exponent", 23, 8};
        fields[2] = (qn_field){"mantissa", 0, 23};
        return 3;
    case QN_FAULT_BYTES:
        return 0;
    case QN_FAULT_S32:
    default:
        fields[0] = (qn_field){"sign", t->bits - 1, is_unsigned(t) ? 0 : 1};
        fields[1] = (qn_field){"integer", 0, t->bits - fields[0].n_bits};
        return 2;
    }
}

uint32_t qn_fault_field_mask(const qn_fault_target *target, const char *field)
{
    qn_field fields[QN_FIELDS_MAX];
    if (strcmp(field, "msb") == 0) {
        return (uint32_t)1 << (target->bits - 1);
    }
    if (strcmp(field, "lsb") == 0) {
        return 1;
    }
    uint32_t mask = 0;
    for (int i = 0, n = fields_of(fields, target); i < n; i++) {
        if (strcmp(fields[i].name, field) == 0 && fields[i].n_bits > 0) {
            mask |= span(fields[i].first_bit, fields[i].n_bits);
        }
    }
    return mask;
}

static uint32_t nearest_integer(const qn_fault_target *t, double value)
{
    const double top = (double)low_bits(t->bits), lo = is_unsigned(t) ? 0 : -(top + 1) / 2, hi = lo + top;
    const double rounded = rint(value); /* NaN becomes lo, as in integer formats */
    return (uint32_t)(int64_t)(rounded > hi ? hi : rounded > lo ? rounded : lo) & low_bits(t->bits);
}

uint32_t qn_targets_encode(const qn_fault_target *target, const qn_program *program, int64_t element, double value)
{
    qn_params params;
    uint32_t code;
    const float narrowed = (float)value;
    switch (target->coding) {
    case QN_FAULT_F32:
        memcpy(&code, &narrowed, sizeof code);
        return code;
    case QN_FAULT_BYTES: /* no model that sets reals strikes these */
    case QN_FAULT_S32:
        return has_scale(target) && find_params(&params, target, program, element)
                   ? nearest_integer(target, value / (double)params.scale)
                   : nearest_integer(target, value);
    case QN_FAULT_CODED:
    default:
        (void)find_params(&params, target, program, element);
        return qn_format_code(target->format, &params, value, 0);
    }
}

/* The code with `add` put on what it stands for. */
static uint32_t add_to(const qn_fault_target *t, const qn_program *program, int64_t element, uint32_t code, double add)
{
    qn_params params;
    float sum;
    switch (t->coding) {
    case QN_FAULT_F32:
        sum = (float)((double)as_float(code) + add);
        memcpy(&code, &sum, sizeof code);
        return code;
    case QN_FAULT_BYTES:
    case QN_FAULT_S32:
        return nearest_integer(t, as_integer(t, code) + add);
    case QN_FAULT_CODED:
    default:
        return find_params(&params, t, program, element)
                   ? qn_format_code(t->format, &params, qn_format_value(t->format, &params, code) + add, 0)
                   : code;
    }
}

/* Codes of NaN and infinities are the same whatever the parameters, and formats that have them no zero point. */
static uint32_t suppressed(const qn_fault_target *t, uint32_t code)
{
    const qn_params params = qn_format_params_neutral();
    switch (t->coding) {
    case QN_FAULT_F32:
        return isfinite(as_float(code)) ? code : 0;
    case QN_FAULT_CODED:
        return isfinite(qn_format_value(t->format, &params, code)) ? code : qn_format_code(t->format, &params, 0, 0);
    case QN_FAULT_S32:
    case QN_FAULT_BYTES:
    default:
        return code;
    }
}

uint32_t qn_targets_force(const qn_fault_change *change, const qn_fault_target *target, uint32_t code)
{
    code = qn_fault_mask(change, code) & low_bits(target->bits);
    return change->suppress ? suppressed(target, code) : code;
}

uint32_t qn_fault_apply(const qn_fault_change *change, const qn_fault_target *target, const qn_program *program,
                        uint32_t code)
{
    if (change->add != 0) {
        code = add_to(target, program, change->element, code, change->add);
    }
    return qn_targets_force(change, target, code);
}
