/* Selectors against targets: what is selected, and everything in them that selects nothing. */
#include <stdio.h>
#include <string.h>

#include "base/names.h"
#include "fault/space_plan.h"

enum { LIST_MAX = 1200 };

typedef struct selecting {
    const qn_fault_set *set;
    const qn_fault_targets *targets;
    const qn_program *program;
    const char *where;
    qn_arena *arena;
    bool *chosen; /* per target */
} selecting;

static const qn_fault_target *target(const selecting *s, int i)
{
    return &s->targets->list[i];
}

static int count_chosen(const selecting *s)
{
    int n = 0;
    for (int i = 0; i < s->targets->n; i++) {
        n += s->chosen[i];
    }
    return n;
}

/* Each kind of place must be there, unless all kinds are asked for. */
static qn_status choose_where(const selecting *s, qn_error *err)
{
    const unsigned every = QN_FAULT_NETWORK_PLACES, whole = QN_FAULT_LINK_PLACES, asked = s->set->select.where;
    unsigned there = 0;
    for (int i = 0; i < s->targets->n; i++) {
        there |= 1u << target(s, i)->where;
        s->chosen[i] = (asked >> target(s, i)->where & 1) != 0;
    }
    for (int w = 0; w < QN_FAULT_N_WHERE; w++) {
        if (asked != every && asked != whole && (asked & ~there) >> w & 1) {
            const char *names[QN_FAULT_N_WHERE];
            char list[LIST_MAX];
            int n = 0;
            for (int k = 0; k < QN_FAULT_N_WHERE; k++) {
                if (there >> k & 1) {
                    names[n++] = qn_fault_where_text((qn_fault_where)k);
                }
            }
            qn_list_names(list, sizeof list, names, n);
            if (qn_fault_on_link((qn_fault_where)w)) {
                return qn_fail(err, QN_EINVAL, s->where,
                               "the links' frames have no %s, as those of fp32 have none; there are %s: leave it out, "
                               "or choose a format that has some",
                               qn_fault_where_text((qn_fault_where)w), list);
            }
            return qn_fail(err, QN_EINVAL, s->where, "the model has no %s in the %s engine; it has %s",
                           qn_fault_where_text((qn_fault_where)w), qn_engine_text(s->program->options.engine), list);
        }
    }
    return count_chosen(s) > 0 ? QN_OK : qn_fail(err, QN_EINVAL, s->where, "nothing is selected: 'where' is empty");
}

typedef const char *name_of(const qn_fault_target *t);

static const char *layer_of(const qn_fault_target *t)
{
    return t->layer;
}

static const char *value_of(const qn_fault_target *t)
{
    return t->value_name;
}

static const char *op_of(const qn_fault_target *t)
{
    return t->op_type;
}

static const char *field_of(const qn_fault_target *t)
{
    return t->field != NULL ? t->field : "";
}

static qn_status fail_glob(const selecting *s, const char *glob, const char *what, name_of *name, qn_error *err)
{
    const char **names = qn_arena_array(s->arena, (size_t)s->targets->n + 1, sizeof *names);
    if (names == NULL) {
        return qn_fail_memory(err, s->where, (size_t)s->targets->n * sizeof *names);
    }
    int n = 0;
    for (int i = 0; i < s->targets->n; i++) {
        bool seen = !s->chosen[i];
        for (int k = 0; k < n && !seen; k++) {
            seen = strcmp(names[k], name(target(s, i))) == 0;
        }
        if (!seen) {
            names[n++] = name(target(s, i));
        }
    }
    char list[LIST_MAX];
    qn_list_names(list, sizeof list - 8, names, n);
    if (name == field_of && (qn_glob_matches(glob, "header-crc") || qn_glob_matches(glob, "body-crc"))) {
        return qn_fail(err, QN_EINVAL, s->where,
                       "no %s that can be struck there matches '%s': the frames have no checksums, and zeros in their "
                       "place (the field 'zeros'); take checksum on, or one of: %s",
                       what, glob, list);
    }
    return qn_fail(err, QN_EINVAL, s->where,
                   "no %s that can be struck there matches '%s'; the nearest is '%s'; there are: %s", what, glob,
                   names[qn_nearest_name(glob, names, n)], list);
}

static bool matches_any(const qn_fault_names *globs, const char *text)
{
    bool any = globs->n == 0;
    for (int i = 0; i < globs->n && !any; i++) {
        any = qn_glob_matches(globs->list[i], text);
    }
    return any;
}

static qn_status choose_names(const selecting *s, qn_error *err)
{
    const qn_fault_selector *select = &s->set->select;
    const struct {
        const qn_fault_names *globs;
        const char *what;
        name_of *name;
    } kinds[] = {{&select->layers, "layer", layer_of},
                 {&select->values, "value", value_of},
                 {&select->ops, "operator type", op_of},
                 {&select->frame, "field of a frame", field_of}};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (int g = 0; g < kinds[k].globs->n; g++) {
            bool found = false;
            for (int i = 0; i < s->targets->n && !found; i++) {
                found = s->chosen[i] && qn_glob_matches(kinds[k].globs->list[g], kinds[k].name(target(s, i)));
            }
            if (!found) {
                return fail_glob(s, kinds[k].globs->list[g], kinds[k].what, kinds[k].name, err);
            }
        }
    }
    for (int i = 0; i < s->targets->n; i++) {
        const qn_fault_target *t = target(s, i);
        s->chosen[i] = s->chosen[i] && matches_any(&select->layers, t->layer) &&
                       matches_any(&select->values, t->value_name) && matches_any(&select->ops, t->op_type) &&
                       matches_any(&select->frame, field_of(t));
    }
    return count_chosen(s) > 0 ? QN_OK
                               : qn_fail(err, QN_EINVAL, s->where,
                                         "nothing matches layers, values%s and ops at once; leave one of them out",
                                         select->frame.n > 0 ? ", frame" : "");
}

typedef int64_t size_of(const qn_fault_target *t);

static int64_t along(const qn_fault_target *t, int axis)
{
    return axis >= 0 ? t->dims[axis] : 0;
}

static int64_t channels_of(const qn_fault_target *t)
{
    return along(t, t->channel_axis);
}

static int64_t rows_of(const qn_fault_target *t)
{
    return along(t, t->row_axis);
}

static int64_t columns_of(const qn_fault_target *t)
{
    return along(t, t->column_axis);
}

static int64_t elements_of(const qn_fault_target *t)
{
    return t->n_elems;
}

static int64_t terms_of(const qn_fault_target *t)
{
    return t->where == QN_FAULT_PARTIAL_SUMS || t->where == QN_FAULT_PRODUCTS ? t->n_terms : 0;
}

static int64_t bits_of(const qn_fault_target *t)
{
    return t->bits;
}

/* Indices must be in reach of a target that is selected; those that have no such indices are selected no more. */
static qn_status choose_indices(const selecting *s, const qn_fault_ranges *ranges, const char *what, size_of *size,
                                qn_error *err)
{
    const qn_fault_target *largest = NULL;
    for (int i = 0; i < s->targets->n && ranges->n > 0; i++) {
        s->chosen[i] = s->chosen[i] && size(target(s, i)) > 0;
        if (s->chosen[i] && (largest == NULL || size(target(s, i)) > size(largest))) {
            largest = target(s, i);
        }
    }
    if (ranges->n > 0 && largest == NULL) {
        return qn_fail(err, QN_EINVAL, s->where, "nothing that is selected has %ss; leave '%ss' out", what, what);
    }
    for (int r = 0; r < ranges->n; r++) {
        const qn_fault_range range = ranges->list[r];
        const int64_t last = range.last == INT64_MAX ? range.first : range.last; /* open: to the end */
        if (range.first > last) {
            return qn_fail(err, QN_EINVAL, s->where, "%ss %lld-%lld: the first is beyond the last", what,
                           (long long)range.first, (long long)last);
        }
        const int64_t bad = range.first < 0 ? range.first : last;
        if (range.first < 0 || last >= size(largest)) {
            return qn_fail(
                err, QN_EINVAL, s->where,
                "there is no %s %lld: '%s' (%s), which has the most of what is selected, has %lld, 0 to %lld", what,
                (long long)bad, largest->value_name, qn_fault_where_text(largest->where), (long long)size(largest),
                (long long)size(largest) - 1);
        }
    }
    return QN_OK;
}

static const char *const field_names[] = {"sign",    "exponent",  "mantissa", "fraction", "regime",
                                          "integer", "magnitude", "msb",      "lsb"};
enum { N_FIELDS = sizeof field_names / sizeof field_names[0] };

static bool has_field(const selecting *s, const char *field)
{
    for (int i = 0; i < s->targets->n; i++) {
        if (s->chosen[i] && qn_fault_field_mask(target(s, i), field) != 0) {
            return true;
        }
    }
    return false;
}

static qn_status check_fields(const selecting *s, qn_error *err)
{
    for (int f = 0; f < s->set->select.fields.n; f++) {
        if (has_field(s, s->set->select.fields.list[f])) {
            continue;
        }
        const char *names[N_FIELDS];
        char list[LIST_MAX];
        int n = 0;
        for (int k = 0; k < N_FIELDS; k++) {
            if (has_field(s, field_names[k])) {
                names[n++] = field_names[k];
            }
        }
        qn_list_names(list, sizeof list, names, n);
        return qn_fail(err, QN_EINVAL, s->where, "nothing that is selected has a field '%s'; there are: %s",
                       s->set->select.fields.list[f], list);
    }
    return QN_OK;
}

static uint32_t mask_of(const selecting *s, const qn_fault_target *t)
{
    const qn_fault_selector *select = &s->set->select;
    const uint32_t whole = t->bits == 32 ? UINT32_MAX : ((uint32_t)1 << t->bits) - 1;
    uint32_t mask = select->bits.n == 0 && select->fields.n == 0 ? whole : 0;
    if (s->set->n_turns > 0) {
        return whole & qn_plan_turns(s->set);
    }
    for (int r = 0; r < select->bits.n; r++) {
        for (int64_t bit = select->bits.list[r].first; bit <= select->bits.list[r].last && bit < t->bits; bit++) {
            mask |= (uint32_t)1 << bit;
        }
    }
    for (int f = 0; f < select->fields.n; f++) {
        mask |= qn_fault_field_mask(t, select->fields.list[f]);
    }
    return mask;
}

static bool is_sum(const qn_fault_target *t)
{
    return t->where == QN_FAULT_PARTIAL_SUMS || t->where == QN_FAULT_PRODUCTS;
}

static qn_plan_terms terms_kind(const qn_fault_target *t)
{
    if (is_sum(t)) {
        return QN_PLAN_OF_SUMS;
    }
    if (t->where != QN_FAULT_WEIGHTS || t->channel_axis < 0) {
        return QN_PLAN_NO_TERMS;
    }
    const bool matrix = strcmp(t->op_type, "Gemm") == 0 || strcmp(t->op_type, "MatMul") == 0;
    return strcmp(t->op_type, "Conv") == 0 ? QN_PLAN_OF_KERNEL
           : matrix && t->rank == 2        ? QN_PLAN_OF_MATRIX
                                           : QN_PLAN_NO_TERMS;
}

/* Has an array of this kind something of the target in it? */
static bool fits_array(const qn_fault_array *array, const qn_fault_target *t)
{
    if (t->channel_axis < 0) {
        return false;
    }
    if (array->output_stationary) {
        return is_sum(t) || t->where == QN_FAULT_ACCUMULATORS || t->where == QN_FAULT_ACTIVATIONS;
    }
    return terms_kind(t) != QN_PLAN_NO_TERMS ||
           (t->where == QN_FAULT_ACCUMULATORS && array->part == QN_FAULT_ARRAY_COLUMN);
}

static bool fits_pattern(const qn_fault_set *set, const qn_fault_target *t)
{
    switch (set->pattern) {
    case QN_FAULT_CHANNEL:
        return t->channel_axis >= 0;
    case QN_FAULT_ARRAY:
        return fits_array(&set->array, t);
    case QN_FAULT_WORD:
        return !is_sum(t);
    case QN_FAULT_FRAME:
        return t->frame >= 0;
    default:
        return true;
    }
}

static qn_status choose_fitting(const selecting *s, qn_error *err)
{
    static const char *const remedies[] = {
        [QN_FAULT_CHANNEL] = "has output channels",
        [QN_FAULT_ARRAY] =
            "is in the array; a weight-stationary one holds weights of Conv, Gemm and MatMul, products and "
            "partial sums, and its columns accumulators; an output-stationary one accumulators, products, "
            "partial sums and activations",
        [QN_FAULT_WORD] = "is in words of memory; products and partial sums are not",
        [QN_FAULT_FRAME] = "is in a frame; take where: link",
    };
    for (int i = 0; i < s->targets->n; i++) {
        s->chosen[i] = s->chosen[i] && fits_pattern(s->set, target(s, i));
    }
    return count_chosen(s) > 0
               ? QN_OK
               : qn_fail(err, QN_EINVAL, s->where, "nothing that is selected %s", remedies[s->set->pattern]);
}

/* Values have to be coded when the fault is drawn. */
static qn_status check_coding(const selecting *s, qn_error *err)
{
    const qn_fault_model model = s->set->model;
    const bool codes = model == QN_FAULT_SET_VALUE || model == QN_FAULT_SET_ZERO || model == QN_FAULT_UNIFORM_VALUE ||
                       model == QN_FAULT_NORMAL_VALUE;
    for (int i = 0; i < s->targets->n && codes; i++) {
        const qn_fault_target *t = target(s, i);
        const qn_quantizer *q = s->program->graph.values[t->value].quantizer;
        if (s->chosen[i] && t->coding == QN_FAULT_CODED && q != NULL && q->dynamic) {
            return qn_fail(err, QN_EINVAL, s->where,
                           "'%s' has parameters only when it is computed, so that no value can be coded for it before; "
                           "take another model or static ranges",
                           t->value_name);
        }
    }
    return QN_OK;
}

static qn_status fill_part(const selecting *s, int index, qn_plan_part *part, qn_error *err)
{
    const qn_fault_target *t = target(s, index);
    static const qn_fault_ranges all;
    qn_selection *elements = qn_arena_alloc(s->arena, sizeof *elements);
    qn_subset *terms = qn_arena_alloc(s->arena, sizeof *terms);
    if (elements == NULL || terms == NULL) {
        return qn_fail_memory(err, s->where, sizeof *elements);
    }
    *part = (qn_plan_part){
        .target = index, .mask = mask_of(s, t), .elements = elements, .terms = terms, .counts_terms = terms_kind(t)};
    QN_TRY(qn_selection_make(elements, s->arena, &s->set->select, t, -1, err));
    return qn_subset_make(terms, s->arena, is_sum(t) ? &s->set->select.terms : &all, t->n_terms, err);
}

static qn_status list_parts(const selecting *s, qn_plan_targets *selected, qn_error *err)
{
    const qn_fault_set *set = s->set;
    selected->list = qn_arena_array(s->arena, (size_t)count_chosen(s), sizeof *selected->list);
    if (selected->list == NULL) {
        return qn_fail_memory(err, s->where, (size_t)count_chosen(s) * sizeof *selected->list);
    }
    bool elements = false;
    for (int i = 0; i < s->targets->n; i++) {
        qn_plan_part *part = &selected->list[selected->n];
        if (!s->chosen[i]) {
            continue;
        }
        QN_TRY(fill_part(s, i, part, err));
        elements |= part->elements->n > 0;
        const bool has_bits =
            set->pattern == QN_FAULT_WORD || set->pattern == QN_FAULT_FRAME || qn_plan_bit_sites(set, part->mask) > 0;
        selected->n += part->elements->n > 0 && part->terms->n > 0 && has_bits;
    }
    if (selected->n > 0) {
        return QN_OK;
    }
    if (elements && set->n_turns > 0) {
        return qn_fail(err, QN_EINVAL, s->where,
                       "none of the codes selected has all of the bits in turn; leave out some");
    }
    return elements
               ? qn_fail(err, QN_EINVAL, s->where,
                         "none of the codes selected has %d %sbits among those selected; select more, or fewer at once",
                         set->n_bits, set->burst ? "adjacent " : "")
               : qn_fail(err, QN_EINVAL, s->where,
                         "channels, rows, columns and elements have nothing in common; leave one of them out");
}

static qn_status choose(const selecting *s, qn_plan_targets *selected, qn_error *err)
{
    const qn_fault_selector *select = &s->set->select;
    QN_TRY(choose_where(s, err));
    QN_TRY(choose_names(s, err));
    QN_TRY(choose_fitting(s, err));
    QN_TRY(choose_indices(s, &select->channels, "channel", channels_of, err));
    QN_TRY(choose_indices(s, &select->rows, "row", rows_of, err));
    QN_TRY(choose_indices(s, &select->columns, "column", columns_of, err));
    QN_TRY(choose_indices(s, &select->elements, "element", elements_of, err));
    QN_TRY(choose_indices(s, &select->terms, "term", terms_of, err));
    QN_TRY(choose_indices(s, &select->bits, "bit", bits_of, err));
    QN_TRY(check_fields(s, err));
    QN_TRY(check_coding(s, err));
    return list_parts(s, selected, err);
}

qn_status qn_plan_select(qn_plan_targets *selected, qn_arena *arena, const qn_fault_set *set,
                         const qn_fault_targets *targets, const qn_program *program, const char *where, qn_error *err)
{
    *selected = (qn_plan_targets){0};
    selecting s = {.set = set,
                   .targets = targets,
                   .program = program,
                   .where = where,
                   .arena = arena,
                   .chosen = qn_alloc((size_t)targets->n + 1)};
    if (s.chosen == NULL) {
        return qn_fail_memory(err, where, (size_t)targets->n + 1);
    }
    const qn_status status = choose(&s, selected, err);
    qn_free(s.chosen);
    return status;
}
