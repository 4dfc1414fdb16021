/* Spaces: strata of what fault sets select, their populations, and drawing from them. */
#include "fault/space.h"

#include <string.h>

#include "fault/space_check.h"

enum { MAX_STRATA = 1 << 20 };

/* Strata of one set under way. Their arrays grow, so they are not the arena's.
 *  where_text  names the set in messages
 *  first       of the set's strata in the space
 *  slots       hash table of them: index + 1, 0 for none; n_slots is a power of two */
typedef struct making {
    qn_fault_space *space;
    qn_plans *plans;
    const qn_program *program;
    const qn_fault_set *set;
    const char *where_text;
    int set_index, first;
    bool mixed; /* lifetimes */
    size_t strata_capacity, plans_capacity;
    int *slots;
    size_t n_slots;
} making;

static bool by(const making *m, qn_fault_by part)
{
    return (m->set->sample.by >> part & 1) != 0;
}

static bool same_key(const qn_fault_stratum *a, const qn_fault_stratum *b)
{
    return a->where == b->where && a->bit == b->bit && a->channel == b->channel && a->images == b->images &&
           (a->layer == b->layer || (a->layer != NULL && b->layer != NULL && strcmp(a->layer, b->layer) == 0));
}

static uint64_t hash_key(const qn_fault_stratum *key)
{
    uint64_t hash = (uint64_t)(key->where + 1) * 0x9E3779B97F4A7C15u ^ (uint64_t)(key->bit + 1) * 0xD6E8FEB86659FD93u ^
                    (uint64_t)(key->channel + 1) * 0xC2B2AE3D27D4EB4Fu ^ (uint64_t)key->images * 0x165667B19E3779F9u;
    for (const char *c = key->layer; c != NULL && *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    }
    return hash ^ hash >> 29;
}

static const char *make_label(const making *m, const qn_fault_stratum *key)
{
    qn_arena *arena = &m->space->arena;
    const char *label = key->layer != NULL ? key->layer : "";
    const char *gap = key->layer != NULL ? " / " : "";
    if (key->channel >= 0 && label != NULL) {
        label = qn_arena_printf(arena, "%s%schannel %lld", label, gap, (long long)key->channel);
        gap = " / ";
    }
    if (key->bit >= 0 && label != NULL) {
        label = qn_arena_printf(arena, "%s%sbit %d", label, gap, key->bit);
        gap = " / ";
    }
    if (key->where >= 0 && label != NULL) {
        label = qn_arena_printf(arena, "%s%s%s", label, gap, qn_fault_where_text((qn_fault_where)key->where));
        gap = " / ";
    }
    if (m->mixed && label != NULL) {
        label =
            qn_arena_printf(arena, "%s%s%s", label, gap, key->images == m->space->n_images ? "permanent" : "transient");
    }
    return label != NULL && label[0] == '\0' ? "all" : label;
}

static qn_status grow_slots(making *m, qn_error *err)
{
    const size_t n = (size_t)(m->space->n_strata - m->first);
    if (2 * (n + 1) <= m->n_slots) {
        return QN_OK;
    }
    const size_t grown = m->n_slots > 0 ? 4 * m->n_slots : 64;
    int *slots = qn_alloc(grown * sizeof *slots);
    if (slots == NULL) {
        return qn_fail_memory(err, m->where_text, grown * sizeof *slots);
    }
    for (int i = m->first; i < m->space->n_strata; i++) {
        size_t slot = hash_key(&m->space->strata[i]) & (grown - 1);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (grown - 1);
        }
        slots[slot] = i + 1;
    }
    qn_free(m->slots);
    m->slots = slots;
    m->n_slots = grown;
    return QN_OK;
}

/* The stratum of this key, made when it is the first of it. */
static qn_status find_stratum(making *m, const qn_fault_stratum *key, int *index, qn_error *err)
{
    qn_fault_space *space = m->space;
    QN_TRY(grow_slots(m, err));
    size_t slot = hash_key(key) & (m->n_slots - 1);
    while (m->slots[slot] != 0 && !same_key(&space->strata[m->slots[slot] - 1], key)) {
        slot = (slot + 1) & (m->n_slots - 1);
    }
    if (m->slots[slot] != 0) {
        *index = m->slots[slot] - 1;
        return QN_OK;
    }
    if (space->n_strata >= MAX_STRATA) {
        return qn_fail(err, QN_ELIMIT, m->where_text, "more than %d strata; select fewer layers or leave out 'channel'",
                       (int)MAX_STRATA);
    }
    const size_t n = (size_t)space->n_strata;
    QN_TRY(qn_grow((void **)&space->strata, &m->strata_capacity, n, sizeof *space->strata, err));
    QN_TRY(qn_grow((void **)&m->plans->strata, &m->plans_capacity, n, sizeof *m->plans->strata, err));
    space->strata[n] = *key;
    space->strata[n].label = make_label(m, key);
    m->plans->strata[n] = (qn_plan_stratum){.set = m->set};
    if (space->strata[n].label == NULL) {
        return qn_fail_memory(err, m->where_text, 64);
    }
    *index = space->n_strata++;
    m->slots[slot] = *index + 1;
    return QN_OK;
}

/* Room for one more part: doubled in the arena, which keeps the old. */
static qn_status add_part(const making *m, qn_plan_stratum *stratum, const qn_plan_part *part, qn_error *err)
{
    const int n = stratum->n_parts;
    if ((n & (n - 1)) == 0) {
        const int room = n > 0 ? 2 * n : 1;
        qn_plan_part *parts = qn_arena_array(&m->space->arena, (size_t)room, sizeof *parts);
        if (parts == NULL) {
            return qn_fail_memory(err, m->where_text, (size_t)room * sizeof *parts);
        }
        if (n > 0) {
            memcpy(parts, stratum->parts, (size_t)n * sizeof *parts);
        }
        stratum->parts = parts;
    }
    stratum->parts[stratum->n_parts++] = *part;
    return QN_OK;
}

static bool finish_part(const qn_fault_set *set, qn_plan_part *part)
{
    part->n_ways = qn_plan_bit_sites(set, part->mask);
    part->n_bits = 0;
    for (int bit = 0; bit < 32; bit++) {
        if (part->mask >> bit & 1) {
            part->bit[part->n_bits++] = (uint8_t)bit;
        }
    }
    return !__builtin_mul_overflow(part->elements->n, part->terms->n, &part->n_units);
}

static qn_status too_many(const making *m, qn_error *err)
{
    return qn_fail(err, QN_ELIMIT, m->where_text, "2^63 faults and more; select fewer layers or terms");
}

/* Inferences that faults of a target are present in. */
static int64_t images_of(const making *m, const qn_fault_target *target)
{
    const int64_t lifetime = qn_space_lifetime(m->set, target);
    return lifetime == 0 || lifetime > m->space->n_images ? m->space->n_images : lifetime;
}

/* A part of one channel (-1: all) divided over strata by bits. */
static qn_status place_part(making *m, qn_plan_part part, int64_t channel, qn_error *err)
{
    const qn_fault_target *t = &m->space->targets->list[part.target];
    const uint32_t whole = part.mask;
    if (part.elements->n == 0) {
        return QN_OK;
    }
    for (int bit = by(m, QN_FAULT_BY_BIT) ? 0 : 31; bit < 32; bit++) {
        const qn_fault_stratum key = {.set = m->set_index,
                                      .images = images_of(m, t),
                                      .where = by(m, QN_FAULT_BY_WHERE) ? (int)t->where : -1,
                                      .bit = by(m, QN_FAULT_BY_BIT) ? bit : -1,
                                      .layer = by(m, QN_FAULT_BY_LAYER) ? t->layer : NULL,
                                      .channel = channel,
                                      .exhaustive = m->set->sample.how == QN_FAULT_EXHAUSTIVE};
        part.mask = by(m, QN_FAULT_BY_BIT) ? whole & (uint32_t)1 << bit : whole;
        int index = 0;
        if (by(m, QN_FAULT_BY_BIT) && part.mask == 0) {
            continue;
        }
        if (!finish_part(m->set, &part)) {
            return too_many(m, err);
        }
        QN_TRY(find_stratum(m, &key, &index, err));
        QN_TRY(add_part(m, &m->plans->strata[index], &part, err));
    }
    return QN_OK;
}

static qn_status divide(making *m, const qn_plan_targets *selected, qn_error *err)
{
    for (int i = 0; i < selected->n; i++) {
        qn_plan_part part = selected->list[i];
        const qn_fault_target *t = &m->space->targets->list[part.target];
        if (!by(m, QN_FAULT_BY_CHANNEL) || t->channel_axis < 0) {
            QN_TRY(place_part(m, part, -1, err));
            continue;
        }
        const qn_subset *channels = &part.elements->axis[t->channel_axis];
        for (int64_t k = 0; k < channels->n; k++) {
            qn_selection *one = qn_arena_alloc(&m->space->arena, sizeof *one);
            if (one == NULL) {
                return qn_fail_memory(err, m->where_text, sizeof *one);
            }
            const int64_t channel = qn_subset_at(channels, k);
            QN_TRY(qn_selection_make(one, &m->space->arena, &m->set->select, t, channel, err));
            part.elements = one;
            QN_TRY(place_part(m, part, channel, err));
        }
    }
    return QN_OK;
}

/* Do faults of the set last longer than an inference, so that all layers that use an array see them? */
static bool is_together(const qn_fault_set *set, const qn_fault_target *first)
{
    const int64_t lifetime = qn_space_lifetime(set, first);
    return set->pattern == QN_FAULT_ALL || (set->pattern == QN_FAULT_ARRAY && lifetime != 1);
}

static void measure_array(const qn_fault_set *set, const qn_fault_targets *targets, qn_plan_stratum *stratum)
{
    for (int i = 0; set->pattern == QN_FAULT_ARRAY && i < stratum->n_parts; i++) {
        qn_plan_part *part = &stratum->parts[i];
        const qn_fault_target *t = &targets->list[part->target];
        const int64_t rows = qn_plan_array_rows(t, part->counts_terms, set->array.output_stationary);
        const int64_t columns = t->dims[t->channel_axis];
        part->n_rows = rows < set->array.rows ? (int)rows : set->array.rows;
        part->n_columns = columns < set->array.columns ? (int)columns : set->array.columns;
        stratum->n_rows = part->n_rows > stratum->n_rows ? part->n_rows : stratum->n_rows;
        stratum->n_columns = part->n_columns > stratum->n_columns ? part->n_columns : stratum->n_columns;
    }
}

/* Sites where each fault strikes one target. */
static bool number_parts(const qn_fault_set *set, const qn_fault_targets *targets, qn_plan_stratum *stratum)
{
    for (int i = 0; i < stratum->n_parts; i++) {
        qn_plan_part *part = &stratum->parts[i];
        part->first_site = stratum->n_sites;
        if (!qn_pattern_sites(set, part, &targets->list[part->target], &part->n_sites) ||
            __builtin_add_overflow(stratum->n_sites, part->n_sites, &stratum->n_sites)) {
            return false;
        }
    }
    return true;
}

/* Sites where each fault strikes all parts. */
static bool number_together(const qn_fault_set *set, qn_plan_stratum *stratum)
{
    stratum->n_sites = stratum->n_bit_sites;
    if (set->pattern != QN_FAULT_ARRAY) {
        return true;
    }
    const int64_t rows = set->array.part == QN_FAULT_ARRAY_COLUMN ? 1 : stratum->n_rows;
    const int64_t columns = set->array.part == QN_FAULT_ARRAY_ROW ? 1 : stratum->n_columns;
    return !__builtin_mul_overflow(stratum->n_sites, rows * columns, &stratum->n_sites);
}

/* What a stratum's rate or count counts: codes, or bits of them. */
static bool count_units(const qn_fault_set *set, qn_plan_stratum *stratum)
{
    const bool bits = set->pattern == QN_FAULT_RATE && qn_plan_strikes_bits(set);
    for (int i = 0; i < stratum->n_parts; i++) {
        qn_plan_part *part = &stratum->parts[i];
        int64_t n;
        part->first_site = stratum->n_units;
        if (__builtin_mul_overflow(part->n_units, bits ? (int64_t)part->n_bits : 1, &n) ||
            __builtin_add_overflow(stratum->n_units, n, &stratum->n_units)) {
            return false;
        }
        part->n_sites = n;
    }
    return true;
}

/* Codes that one fault strikes, on average. */
static double mean_changes(const qn_fault_set *set, const qn_plan_stratum *stratum)
{
    double n = 0, n_sites = 0; /* n_sites: of those that share out the codes */
    for (int i = 0; i < stratum->n_parts; i++) {
        n += (double)stratum->parts[i].n_units;
        n_sites +=
            stratum->parts[i].n_ways > 0 ? (double)stratum->parts[i].n_sites / (double)stratum->parts[i].n_ways : 0;
    }
    switch (set->pattern) {
    case QN_FAULT_RATE:
        return set->rate * (double)stratum->n_units;
    case QN_FAULT_COUNT:
        return (double)set->count;
    case QN_FAULT_ALL:
        return n;
    case QN_FAULT_ARRAY:
        n_sites = stratum->together && stratum->n_bit_sites > 0
                      ? (double)stratum->n_sites / (double)stratum->n_bit_sites
                      : n_sites;
        return n_sites > 0 ? n / n_sites : 0;
    case QN_FAULT_CHANNEL:
        return n_sites > 0 ? n / n_sites : 0;
    case QN_FAULT_WORD:
    case QN_FAULT_FRAME:
        return set->n_bits;
    default:
        return 1;
    }
}

static qn_status check_size(const making *m, int index, const qn_plan_stratum *stratum, qn_error *err)
{
    const double n = mean_changes(m->set, stratum);
    m->space->strata[index].n_changes = n > 1 ? n : 1;
    return n <= QN_PLAN_MAX_CHANGES
               ? QN_OK
               : qn_fail(err, QN_ELIMIT, m->where_text,
                         "a fault of stratum '%s' strikes %.4g codes at once; at most %d are possible: select fewer%s",
                         m->space->strata[index].label, n, (int)QN_PLAN_MAX_CHANGES,
                         m->set->pattern == QN_FAULT_RATE ? ", or a lower rate" : "");
}

static qn_status number_stratum(const making *m, int index, qn_error *err)
{
    qn_plan_stratum *stratum = &m->plans->strata[index];
    const qn_fault_set *set = m->set;
    const qn_fault_targets *targets = m->space->targets;
    const bool counted = set->pattern == QN_FAULT_RATE || set->pattern == QN_FAULT_COUNT;
    for (int i = 0; i < stratum->n_parts; i++) {
        stratum->mask |= stratum->parts[i].mask;
    }
    stratum->n_bit_sites = qn_plan_bit_sites(set, stratum->mask);
    stratum->endless = qn_plan_is_drawn(set);
    stratum->together = is_together(set, &targets->list[stratum->parts[0].target]);
    measure_array(set, targets, stratum);
    const bool fits = counted             ? count_units(set, stratum)
                      : stratum->together ? number_together(set, stratum)
                                          : number_parts(set, targets, stratum);
    if (!fits) {
        return too_many(m, err);
    }
    QN_TRY(check_size(m, index, stratum, err));
    if (set->pattern == QN_FAULT_COUNT && set->count > stratum->n_units) {
        return qn_fail(err, QN_EINVAL, m->where_text, "a count of %lld, but stratum '%s' has %lld codes",
                       (long long)set->count, m->space->strata[index].label, (long long)stratum->n_units);
    }
    if (!counted && stratum->n_sites == 0) {
        return qn_fail(err, QN_EINVAL, m->where_text, "stratum '%s' has no faults: it holds fewer than %d bits",
                       m->space->strata[index].label, set->n_bits);
    }
    int64_t population;
    stratum->n_starts = counted || m->space->strata[index].images == m->space->n_images ? 1 : m->space->n_images;
    if (__builtin_mul_overflow(stratum->n_sites, stratum->n_starts, &population)) {
        return too_many(m, err);
    }
    m->space->strata[index].population = stratum->endless ? INT64_MAX : population;
    stratum->stream = qn_draw_stream_of(m->space->seed, (uint32_t)m->set_index, (uint32_t)(index - m->first));
    qn_permutation_make(&stratum->permutation, counted ? 1 : (uint64_t)population, &stratum->stream);
    return QN_OK;
}

static qn_status make_set(making *m, qn_error *err)
{
    qn_plan_targets selected;
    const qn_fault_set *set = m->set;
    const char *where = m->space->spec->where != NULL ? m->space->spec->where : "faults";
    m->where_text = set->line > 0 ? qn_arena_printf(&m->space->arena, "%s, line %d, fault set '%s'", where, set->line,
                                                    set->name != NULL ? set->name : "")
                                  : qn_arena_printf(&m->space->arena, "%s, fault set '%s'", where,
                                                    set->name != NULL ? set->name : "");
    if (m->where_text == NULL) {
        return qn_fail_memory(err, where, 64);
    }
    QN_TRY(qn_space_check_set(set, m->where_text, err));
    QN_TRY(qn_plan_select(&selected, &m->space->arena, set, m->space->targets, m->plans->program, m->where_text, err));
    m->first = m->space->n_strata;
    m->mixed = false;
    for (int i = 1; i < selected.n; i++) {
        const qn_fault_target *list = m->space->targets->list;
        m->mixed |= images_of(m, &list[selected.list[i].target]) != images_of(m, &list[selected.list[0].target]);
    }
    QN_TRY(divide(m, &selected, err));
    for (int i = m->first; i < m->space->n_strata; i++) {
        QN_TRY(number_stratum(m, i, err));
    }
    return QN_OK;
}

static qn_status make_sets(making *m, qn_error *err)
{
    const qn_fault_spec *spec = m->space->spec;
    if (m->space->n_images < 1) {
        return qn_fail(err, QN_EINVAL, spec->where, "there are no images to run faults on");
    }
    if (spec->n_sets < 1) {
        return qn_fail(err, QN_EINVAL, spec->where, "there are no fault sets");
    }
    m->plans = qn_alloc(sizeof *m->plans);
    if (m->plans == NULL) {
        return qn_fail_memory(err, spec->where, sizeof *m->plans);
    }
    m->plans->program = m->program;
    m->space->plans = m->plans;
    for (int i = 0; i < spec->n_sets; i++) {
        m->set = &spec->sets[i];
        m->set_index = i;
        qn_free(m->slots);
        m->slots = NULL;
        m->n_slots = 0;
        QN_TRY(make_set(m, err));
    }
    return QN_OK;
}

qn_status qn_fault_space_make(qn_fault_space *space, const qn_fault_spec *spec, const qn_fault_targets *targets,
                              const qn_program *program, uint64_t seed, int64_t n_images, qn_error *err)
{
    *space = (qn_fault_space){.spec = spec, .targets = targets, .seed = seed, .n_images = n_images};
    making m = {.space = space, .program = program};
    const qn_status status = make_sets(&m, err);
    qn_free(m.slots);
    if (status != QN_OK) {
        qn_fault_space_free(space);
    }
    return status;
}

void qn_fault_space_free(qn_fault_space *space)
{
    qn_plans *plans = space->plans;
    if (plans != NULL) {
        qn_free(plans->strata);
        qn_free(plans);
    }
    qn_free(space->strata);
    qn_arena_free(&space->arena);
    *space = (qn_fault_space){0};
}
