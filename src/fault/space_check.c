/* Settings of fault sets that contradict each other or are out of range. */
#include <math.h>

#include "fault/space_check.h"

static const char *model_text(qn_fault_model model)
{
    static const char *const texts[] = {
#define TEXT(name, value, text) [name] = text,
        QN_FAULT_MODEL_LIST(TEXT)
#undef TEXT
    };
    return (unsigned)model < sizeof texts / sizeof texts[0] ? texts[model] : "?";
}

static bool selects_inside(const qn_fault_selector *select)
{
    return select->channels.n + select->rows.n + select->columns.n + select->elements.n + select->terms.n > 0;
}

static qn_status check_model(const qn_fault_set *set, const char *where, qn_error *err)
{
    const bool bits = qn_plan_strikes_bits(set), selects = set->select.bits.n + set->select.fields.n > 0;
    const bool long_run = set->pattern == QN_FAULT_WORD || set->pattern == QN_FAULT_FRAME;
    if (bits && (set->n_bits < 1 || (set->n_bits > 32 && !long_run))) {
        return qn_fail(err, QN_EINVAL, where, "%d bits at once; 1 to 32 of a code can be struck", set->n_bits);
    }
    const bool one = set->pattern == QN_FAULT_SINGLE || set->pattern == QN_FAULT_WORD ||
                     set->pattern == QN_FAULT_FRAME || set->pattern == QN_FAULT_RATE;
    if (set->n_turns > 0 && (!bits || selects || set->n_bits != 1 || one)) {
        return qn_fail(err, QN_EINVAL, where,
                       "bits in turn belong to models flip and stuck-at and patterns channel, array, count and all, "
                       "without other choices of bits");
    }
    if (selects && !bits && set->model != QN_FAULT_RANDOM_CODE) {
        return qn_fail(err, QN_EINVAL, where, "bits and fields say nothing to model %s; leave them out",
                       model_text(set->model));
    }
    if (qn_fault_is_uniform(set->model) && !(isfinite(set->lo) && isfinite(set->hi) && set->lo <= set->hi)) {
        return qn_fail(err, QN_EINVAL, where, "%s between %g and %g; the bounds must be finite and in order",
                       model_text(set->model), set->lo, set->hi);
    }
    if (qn_fault_is_normal(set->model) && !(isfinite(set->mean) && isfinite(set->std) && set->std >= 0)) {
        return qn_fail(err, QN_EINVAL, where,
                       "%s of mean %g and deviation %g; both must be finite, the deviation not negative",
                       model_text(set->model), set->mean, set->std);
    }
    return QN_OK;
}

static qn_status check_word(const qn_fault_set *set, const char *where, qn_error *err)
{
    if (!qn_plan_strikes_bits(set)) {
        return qn_fail(err, QN_EINVAL, where, "pattern word strikes bits, model %s does not; take flip or stuck-at",
                       model_text(set->model));
    }
    if (set->word_bits < 1 || set->word_bits > 1 << 20) {
        return qn_fail(err, QN_EINVAL, where, "words of %d bits; 1 to 1048576 are possible", set->word_bits);
    }
    if (set->n_bits > set->word_bits) {
        return qn_fail(err, QN_EINVAL, where, "%d adjacent bits in a word of %d; there are fewer", set->n_bits,
                       set->word_bits);
    }
    if (selects_inside(&set->select) || set->select.bits.n + set->select.fields.n > 0) {
        return qn_fail(
            err, QN_EINVAL, where,
            "words hold codes of a whole layer: channels, rows, columns, elements, terms, bits and fields cannot "
            "select among them; leave them out");
    }
    return QN_OK;
}

static qn_status check_frame(const qn_fault_set *set, const char *where, qn_error *err)
{
    if (!qn_plan_strikes_bits(set)) {
        return qn_fail(err, QN_EINVAL, where, "pattern frame strikes bits, model %s does not; take flip or stuck-at",
                       model_text(set->model));
    }
    return selects_inside(&set->select) || set->select.bits.n + set->select.fields.n > 0
               ? qn_fail(err, QN_EINVAL, where,
                         "runs of a frame's bits go on from code to code: channels, rows, columns, elements, bits and "
                         "fields cannot select among them; leave them out")
               : QN_OK;
}

static qn_status check_pattern(const qn_fault_set *set, const char *where, qn_error *err)
{
    switch (set->pattern) {
    case QN_FAULT_ARRAY:
        return set->array.rows >= 1 && set->array.columns >= 1
                   ? QN_OK
                   : qn_fail(err, QN_EINVAL, where, "an array of %d x %d; both must be at least 1", set->array.rows,
                             set->array.columns);
    case QN_FAULT_WORD:
        return check_word(set, where, err);
    case QN_FAULT_FRAME:
        return check_frame(set, where, err);
    case QN_FAULT_RATE:
        if (!(set->rate >= 0 && set->rate <= 1)) {
            return qn_fail(err, QN_EINVAL, where, "rate %g is no probability; it must be 0 to 1", set->rate);
        }
        return qn_plan_strikes_bits(set) && set->n_bits != 1
                   ? qn_fail(err, QN_EINVAL, where, "with a rate each bit is struck for itself, not %d at once",
                             set->n_bits)
                   : QN_OK;
    case QN_FAULT_COUNT:
        return set->count >= 1
                   ? QN_OK
                   : qn_fail(err, QN_EINVAL, where, "a count of %lld; it must be at least 1", (long long)set->count);
    default:
        return QN_OK;
    }
}

static qn_status check_strata(const qn_fault_set *set, const char *where, qn_error *err)
{
    const bool by_bit = set->sample.by >> QN_FAULT_BY_BIT & 1, by_channel = set->sample.by >> QN_FAULT_BY_CHANNEL & 1;
    if (by_bit && (!qn_plan_strikes_bits(set) || set->n_bits != 1 || set->n_turns > 0 ||
                   set->pattern == QN_FAULT_WORD || set->pattern == QN_FAULT_FRAME)) {
        return qn_fail(
            err, QN_EINVAL, where,
            "strata by bit need faults that strike one bit of a code; leave out 'bit', or take model flip or "
            "stuck-at with 1 bit");
    }
    if (by_channel && (set->pattern == QN_FAULT_WORD || set->pattern == QN_FAULT_FRAME)) {
        return qn_fail(err, QN_EINVAL, where, "%s hold codes of several channels; leave 'channel' out of the strata",
                       set->pattern == QN_FAULT_WORD ? "words" : "frames");
    }
    if (set->sample.how == QN_FAULT_EXHAUSTIVE && qn_plan_is_drawn(set)) {
        return qn_fail(err, QN_EINVAL, where,
                       "faults of this pattern or model are drawn at random, there is no end of them; give a number to "
                       "sample, or a margin");
    }
    return QN_OK;
}

qn_status qn_space_check_set(const qn_fault_set *set, const char *where, qn_error *err)
{
    QN_TRY(check_model(set, where, err));
    QN_TRY(check_pattern(set, where, err));
    if (set->per_item && set->pattern != QN_FAULT_RATE && set->pattern != QN_FAULT_COUNT) {
        return qn_fail(err, QN_EINVAL, where, "faults for each item anew are of patterns rate and count only");
    }
    if (set->lifetime < -1) {
        return qn_fail(err, QN_EINVAL, where, "a lifetime of %lld inferences; 0 is permanent, 1 transient",
                       (long long)set->lifetime);
    }
    return check_strata(set, where, err);
}
