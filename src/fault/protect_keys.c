/* Groups of faults, and what schemes cost and do. */
#include "fault/protect.h"

static const char *const scheme_texts[] = {
#define QN_SCHEME_TEXT(name, number, text) [name] = text,
    QN_SCHEME_LIST(QN_SCHEME_TEXT)
#undef QN_SCHEME_TEXT
};

const char *qn_scheme_text(int scheme)
{
    return scheme >= 0 && scheme < QN_N_SCHEMES ? scheme_texts[scheme] : "none";
}

static bool is_value(qn_fault_where where)
{
    return where == QN_FAULT_ACTIVATIONS || where == QN_FAULT_INPUTS;
}

bool qn_protect_applies(qn_scheme scheme, qn_fault_where where)
{
    if (scheme == QN_SCHEME_RANGE_CLAMP) {
        return is_value(where);
    }
    return where != QN_FAULT_PARTIAL_SUMS && where != QN_FAULT_PRODUCTS;
}

qn_protect_end qn_protect_end_of(int scheme, const qn_protect_case *c)
{
    if (scheme < 0 || c->n_changes != 1 || !qn_protect_applies((qn_scheme)scheme, c->where)) {
        return QN_PROTECT_PASSES;
    }
    const int struck = __builtin_popcount(c->mask); /* of noise and random codes: all that may be */
    switch ((qn_scheme)scheme) {
    case QN_SCHEME_PARITY:
        return struck == 1 ? QN_PROTECT_DETECTED : QN_PROTECT_PASSES;
    case QN_SCHEME_ECC:
        return struck == 1 ? QN_PROTECT_CORRECTED : struck == 2 ? QN_PROTECT_DETECTED : QN_PROTECT_PASSES;
    case QN_SCHEME_TMR:
        return QN_PROTECT_CORRECTED;
    default:
        return c->transient && c->low <= c->high && (c->after < c->low || c->after > c->high) ? QN_PROTECT_CLAMPED
                                                                                              : QN_PROTECT_PASSES;
    }
}

/* Check bits of a SEC-DED code over n bits: r with 2^r >= n + r + 1, and one for the parity of all. */
static int64_t check_bits(int64_t n)
{
    int r = 1;
    while ((INT64_C(1) << r) < n + r + 1) {
        r++;
    }
    return r + 1;
}

bool qn_protect_cost(int64_t *extra_bits, qn_scheme scheme, int64_t n, int code_bits, int word_bits)
{
    int64_t bits;
    if (__builtin_mul_overflow(n, (int64_t)code_bits, &bits) || bits > INT64_MAX / 4) {
        return false;
    }
    if (scheme == QN_SCHEME_TMR) {
        *extra_bits = 2 * bits;
        return true;
    }
    const int64_t word = word_bits > 0 ? word_bits : code_bits, whole = bits / word, rest = bits % word;
    switch (scheme) {
    case QN_SCHEME_PARITY:
        *extra_bits = whole + (rest > 0);
        return true;
    case QN_SCHEME_ECC:
        *extra_bits = whole * check_bits(word) + (rest > 0 ? check_bits(rest) : 0);
        return true;
    default:
        *extra_bits = 0;
        return true;
    }
}

/* A unit of its own for each target, or one for each place. */
static int32_t find_unit(const qn_protect_keys *keys, qn_fault_where where)
{
    for (int u = 0; !(keys->by & (QN_PROTECT_LAYERS | QN_PROTECT_CHANNELS)) && u < keys->n_units; u++) {
        if (keys->units[u].where == where) {
            return u;
        }
    }
    return -1;
}

static qn_status add_target(qn_protect_keys *keys, int t, qn_error *err)
{
    const qn_store_target *target = &keys->targets[t];
    if (!qn_fault_where_parse(&keys->where_of[t], target->place) || target->bits < 1 || target->bits > 32 ||
        target->n_elems < 0 || target->channels < 1 || target->channel_stride < 1) {
        return qn_fail(err, QN_EFORMAT, target->layer, "the store's target %d is none: place '%s', %d bits", t,
                       target->place, target->bits);
    }
    keys->unit_of[t] = find_unit(keys, keys->where_of[t]);
    if (keys->unit_of[t] < 0) {
        keys->unit_of[t] = keys->n_units;
        const bool alone = keys->by & (QN_PROTECT_LAYERS | QN_PROTECT_CHANNELS);
        keys->units[keys->n_units++] =
            (qn_protect_unit){.where = keys->where_of[t],
                              .target = alone ? t : -1,
                              .channels = keys->by & QN_PROTECT_CHANNELS ? target->channels : 1};
    }
    qn_protect_unit *unit = &keys->units[keys->unit_of[t]];
    unit->bits = unit->bits > target->bits ? unit->bits : target->bits;
    return QN_OK;
}

qn_status qn_protect_keys_make(qn_protect_keys *keys, qn_arena *arena, unsigned by, const qn_store_target *targets,
                               int n_targets, const bool *struck, qn_error *err)
{
    enum { MOST_KEYS = 1 << 22 };
    *keys = (qn_protect_keys){.by = by, .targets = targets, .n_targets = n_targets};
    keys->unit_of = qn_arena_array(arena, (size_t)n_targets, sizeof *keys->unit_of);
    keys->where_of = qn_arena_array(arena, (size_t)n_targets, sizeof *keys->where_of);
    keys->units = qn_arena_array(arena, (size_t)n_targets, sizeof *keys->units);
    if (keys->unit_of == NULL || keys->where_of == NULL || keys->units == NULL) {
        return qn_fail_memory(err, NULL, (size_t)n_targets * sizeof *keys->units);
    }
    for (int t = 0; t < n_targets; t++) {
        keys->unit_of[t] = -1;
        if (struck[t]) {
            QN_TRY(add_target(keys, t, err));
        }
    }
    for (int u = 0; u < keys->n_units; u++) {
        qn_protect_unit *unit = &keys->units[u];
        unit->first_key = keys->n_keys;
        unit->n_bits = by & QN_PROTECT_BITS ? unit->bits : 1;
        int64_t n;
        if (__builtin_mul_overflow(unit->channels, (int64_t)unit->n_bits, &n) || n > MOST_KEYS - keys->n_keys) {
            return qn_fail(err, QN_ELIMIT, NULL, "more than %d groups to choose from; leave out channels or bits",
                           MOST_KEYS);
        }
        keys->n_keys += n;
    }
    return QN_OK;
}

int64_t qn_protect_key(const qn_protect_keys *keys, int32_t target, int64_t element, uint32_t mask)
{
    if (target < 0 || target >= keys->n_targets || keys->unit_of[target] < 0) {
        return -1;
    }
    const qn_store_target *t = &keys->targets[target];
    const qn_protect_unit *unit = &keys->units[keys->unit_of[target]];
    int64_t key = unit->first_key;
    if (keys->by & QN_PROTECT_CHANNELS) {
        key += element / t->channel_stride % t->channels * unit->n_bits;
    }
    if (!(keys->by & QN_PROTECT_BITS)) {
        return key;
    }
    if (__builtin_popcount(mask) != 1 || __builtin_ctz(mask) >= unit->n_bits) {
        return -1;
    }
    return key + __builtin_ctz(mask);
}

const qn_protect_unit *qn_protect_key_parts(const qn_protect_keys *keys, int64_t key, int64_t *channel, int *bit,
                                            int64_t *n_codes, int *code_bits)
{
    int u = 0;
    while (u + 1 < keys->n_units && keys->units[u + 1].first_key <= key) {
        u++;
    }
    const qn_protect_unit *unit = &keys->units[u];
    const int64_t within = key - unit->first_key;
    *channel = keys->by & QN_PROTECT_CHANNELS && unit->channels > 1 ? within / unit->n_bits : -1;
    *bit = keys->by & QN_PROTECT_BITS ? (int)(within % unit->n_bits) : -1;
    *code_bits = *bit >= 0 ? 1 : unit->bits;
    *n_codes = 0;
    for (int t = 0; t < keys->n_targets; t++) {
        if (keys->unit_of[t] == u && (*bit < 0 || *bit < keys->targets[t].bits)) {
            *n_codes += keys->targets[t].n_elems / unit->channels;
        }
    }
    return unit;
}
