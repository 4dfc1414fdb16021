/* Specifications put together: what was not given, what contradicts itself, and where messages point. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fault/spec_parts.h"

qn_status qn_spec_fail(qn_error *err, const qn_spec_place *place, const char *format, ...)
{
    char message[QN_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (place->line == 0) {
        return qn_fail(err, QN_EINVAL, NULL, "%s: %s", place->key, message);
    }
    return place->key != NULL
               ? qn_fail(err, QN_EFORMAT, place->where, "line %d, %s: %s", place->line, place->key, message)
               : qn_fail(err, QN_EFORMAT, place->where, "line %d: %s", place->line, message);
}

void qn_fault_spec_init(qn_fault_spec *spec)
{
    *spec = (qn_fault_spec){.where = "options"};
}

void qn_fault_spec_free(qn_fault_spec *spec)
{
    qn_arena_free(&spec->arena);
    *spec = (qn_fault_spec){0};
}

void qn_spec_draft_start(qn_spec_draft *draft, qn_fault_spec *spec, int line)
{
    *draft = (qn_spec_draft){.spec = spec};
    draft->set = (qn_fault_set){.n_bits = 1, .lifetime = -1, .line = line};
}

static bool given(const qn_spec_draft *draft, qn_spec_key_id key)
{
    return (draft->given & 1u << key) != 0;
}

/* A key that is given without what it belongs to. */
static qn_status only_with(const qn_spec_draft *draft, qn_spec_key_id key, bool belongs, const char *text,
                           const char *owner, const qn_spec_place *place, qn_error *err)
{
    return !given(draft, key) || belongs ? QN_OK
                                         : qn_spec_fail(err, place, "%s belongs to %s; leave it out", text, owner);
}

static qn_status check_model(const qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    const qn_fault_set *set = &draft->set;
    const bool uniform = qn_fault_is_uniform(set->model), normal = qn_fault_is_normal(set->model);
    const char *uniforms = "models uniform-noise and uniform-value", *normals = "models normal-noise and normal-value";
    QN_TRY(only_with(draft, QN_SPEC_VALUE, set->model == QN_FAULT_SET_VALUE, "value", "model set-value", place, err));
    QN_TRY(only_with(draft, QN_SPEC_LO, uniform, "lo", uniforms, place, err));
    QN_TRY(only_with(draft, QN_SPEC_HI, uniform, "hi", uniforms, place, err));
    QN_TRY(only_with(draft, QN_SPEC_MEAN, normal, "mean", normals, place, err));
    QN_TRY(only_with(draft, QN_SPEC_STD, normal, "std", normals, place, err));
    if (set->model == QN_FAULT_SET_VALUE && !given(draft, QN_SPEC_VALUE)) {
        return qn_spec_fail(err, place, "model set-value needs a value: the real to set");
    }
    if (uniform && !(given(draft, QN_SPEC_LO) && given(draft, QN_SPEC_HI) && set->lo <= set->hi)) {
        return qn_spec_fail(err, place, "model %s needs lo and hi, lo not above hi",
                            set->model == QN_FAULT_UNIFORM_NOISE ? "uniform-noise" : "uniform-value");
    }
    if (normal && !(given(draft, QN_SPEC_STD) && set->std >= 0)) {
        return qn_spec_fail(err, place, "model %s needs std, from 0 on (and mean, where it is not 0)",
                            set->model == QN_FAULT_NORMAL_NOISE ? "normal-noise" : "normal-value");
    }
    return QN_OK;
}

/* What travels are bits: what they stand for is only known once a frame is made. */
static qn_status check_link(const qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    const qn_fault_set *set = &draft->set;
    const unsigned links = set->select.where & QN_FAULT_LINK_PLACES;
    QN_TRY(only_with(draft, QN_SPEC_FRAME, links != 0, "frame", "places on links (where: link)", place, err));
    QN_TRY(only_with(draft, QN_SPEC_PATTERN, links != 0 || set->pattern != QN_FAULT_FRAME, "pattern frame",
                     "places on links (where: link)", place, err));
    if (links == 0) {
        return QN_OK;
    }
    if (links != set->select.where) {
        return qn_spec_fail(err, place,
                            "places on links and in the network at once; they are run apart: make two campaigns");
    }
    const bool bits = set->model == QN_FAULT_FLIP || set->model == QN_FAULT_STUCK_AT_0 ||
                      set->model == QN_FAULT_STUCK_AT_1 || set->model == QN_FAULT_RANDOM_CODE ||
                      set->model == QN_FAULT_NONE;
    return bits && !set->suppress_invalid
               ? QN_OK
               : qn_spec_fail(err, place,
                              "what travels are bits: take model flip, stuck-at-0, stuck-at-1, random-code or none, "
                              "without suppress-invalid; values are struck in activations");
}

static qn_status check_bits(const qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    const qn_fault_set *set = &draft->set;
    const qn_fault_selector *select = &set->select;
    const bool masks =
        set->model == QN_FAULT_FLIP || set->model == QN_FAULT_STUCK_AT_0 || set->model == QN_FAULT_STUCK_AT_1;
    const bool whole = !masks && set->model != QN_FAULT_RANDOM_CODE && set->model != QN_FAULT_NONE;
    const bool word = set->pattern == QN_FAULT_WORD, frame = set->pattern == QN_FAULT_FRAME;
    const char *of_bits = "models flip and stuck-at, where pattern is not rate";
    QN_TRY(only_with(draft, QN_SPEC_N_BITS, masks && set->pattern != QN_FAULT_RATE, "n-bits", of_bits, place, err));
    QN_TRY(only_with(draft, QN_SPEC_BURST, masks && set->pattern != QN_FAULT_RATE, "burst", of_bits, place, err));
    const bool several = set->pattern == QN_FAULT_CHANNEL || set->pattern == QN_FAULT_ARRAY ||
                         set->pattern == QN_FAULT_COUNT || set->pattern == QN_FAULT_ALL;
    QN_TRY(only_with(draft, QN_SPEC_TURNS, masks && several, "bits-in-turn",
                     "models flip and stuck-at and patterns channel, array, count and all", place, err));
    if (set->n_turns > 0 && (select->bits.n + select->fields.n > 0 || set->n_bits > 1)) {
        return qn_spec_fail(err, place, "bits-in-turn says which bits; leave bits, fields and n-bits out");
    }
    if (whole && (select->bits.n > 0 || select->fields.n > 0)) {
        return qn_spec_fail(err, place, "bits belong to models that change bits; this one changes whole values");
    }
    if ((word || frame) && !masks) {
        return qn_spec_fail(err, place, "pattern %s takes the models flip, stuck-at-0 and stuck-at-1",
                            word ? "word" : "frame");
    }
    if (word && set->n_bits > set->word_bits) {
        return qn_spec_fail(err, place, "n-bits %d are more than the %d bits of a word", set->n_bits, set->word_bits);
    }
    if (!word && !frame && set->n_bits > 32) {
        return qn_spec_fail(err, place, "n-bits %d: codes have at most 32 bits", set->n_bits);
    }
    return !set->burst || set->n_bits > 1 ? QN_OK : qn_spec_fail(err, place, "a burst needs n-bits of 2 or more");
}

static qn_status check_sample(const qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    const qn_fault_set *set = &draft->set;
    const bool drawn = set->pattern == QN_FAULT_RATE || set->pattern == QN_FAULT_COUNT ||
                       set->model == QN_FAULT_RANDOM_CODE || qn_fault_is_uniform(set->model) ||
                       qn_fault_is_normal(set->model);
    return set->sample.how == QN_FAULT_EXHAUSTIVE && drawn
               ? qn_spec_fail(
                     err, place,
                     "sample all: these faults are drawn at random, without end; give a number, margin or until")
               : QN_OK;
}

static qn_status check_name(qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    const qn_fault_spec *spec = draft->spec;
    if (draft->set.name == NULL) {
        draft->set.name = qn_arena_printf(&draft->spec->arena, "faults %d", spec->n_sets + 1);
        if (draft->set.name == NULL) {
            return qn_fail_memory(err, place->where, 0);
        }
    }
    for (int i = 0; i < spec->n_sets; i++) {
        if (strcmp(spec->sets[i].name, draft->set.name) == 0) {
            return qn_spec_fail(err, place, "another fault set is named '%s', too", draft->set.name);
        }
    }
    return QN_OK;
}

static qn_status add_set(qn_fault_spec *spec, const qn_fault_set *set, qn_error *err)
{
    const int n = spec->n_sets;
    if ((n & (n - 1)) == 0) { /* full: 0, or a power of two */
        qn_fault_set *sets = qn_arena_array(&spec->arena, n > 0 ? 2 * (size_t)n : 1, sizeof *sets);
        if (sets == NULL) {
            return qn_fail_memory(err, spec->where, 2 * (size_t)n * sizeof *sets);
        }
        for (int i = 0; i < n; i++) {
            sets[i] = spec->sets[i];
        }
        spec->sets = sets;
    }
    spec->sets[spec->n_sets++] = *set;
    return QN_OK;
}

qn_status qn_spec_draft_finish(qn_spec_draft *draft, const qn_spec_place *place, qn_error *err)
{
    qn_fault_set *set = &draft->set;
    const unsigned sums = 1u << QN_FAULT_PARTIAL_SUMS | 1u << QN_FAULT_PRODUCTS;
    const bool drawn = set->pattern == QN_FAULT_RATE || set->pattern == QN_FAULT_COUNT;
    if (set->select.where == 0) {
        return qn_spec_fail(
            err, place, "%s is missing: what is to be hit, such as weights, biases, activations, accumulators, link",
            place->line > 0 ? "where" : "--where");
    }
    if (!given(draft, QN_SPEC_SAMPLE)) {
        set->sample = (qn_fault_sample){.how = QN_FAULT_MARGIN, .margin = 0.01, .confidence = 0.99, .p = 0.5};
    }
    QN_TRY(only_with(draft, QN_SPEC_TERMS, (set->select.where & ~sums) == 0, "terms",
                     "partial-sums and products, in a fault set of their own", place, err));
    QN_TRY(only_with(draft, QN_SPEC_PER, drawn, "per", "patterns rate and count", place, err));
    if (set->per_item && set->lifetime >= 0 && set->lifetime != 1) {
        return qn_spec_fail(err, place, "faults per item last for one image: lifetime can only be transient");
    }
    QN_TRY(check_link(draft, place, err));
    QN_TRY(check_model(draft, place, err));
    QN_TRY(check_bits(draft, place, err));
    QN_TRY(check_sample(draft, place, err));
    QN_TRY(check_name(draft, place, err));
    if (draft->spec->n_sets == QN_SPEC_MAX_SETS) {
        return qn_spec_fail(err, place, "more than %d fault sets", QN_SPEC_MAX_SETS);
    }
    return add_set(draft->spec, set, err);
}
