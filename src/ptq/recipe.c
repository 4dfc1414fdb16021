/* Reading recipes. */
#include "ptq/recipe.h"

#include <cyaml/cyaml.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "graph/arithmetic.h"
#include "quern/fit.h"

static const struct {
    const char *name, *about, *yaml;
} library[] = {
#define QN_RECIPE(name, about, yaml) {name, about, "recipe: " name "\nabout: " about "\n" yaml},
#include "ptq/recipes.inc"
#undef QN_RECIPE
};
enum { N_LIBRARY = sizeof library / sizeof library[0] };

/* A recipe as it stands in YAML. */
typedef struct yaml_recipe {
    char *recipe, *about, *weights, *activations, *bias, *per, *ranges;
    char *profile, *requantize, *rounding, *sums, *accumulator, *overflow;
    char **sets, **passes;
    unsigned sets_count, passes_count;
} yaml_recipe;

#define WORD(key) CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_OPTIONAL, yaml_recipe, key, 0, 200)
static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 400)};
static const cyaml_schema_field_t fields[] = {
    WORD(recipe),
    WORD(about),
    WORD(weights),
    WORD(activations),
    WORD(bias),
    WORD(per),
    WORD(ranges),
    WORD(profile),
    WORD(requantize),
    WORD(rounding),
    WORD(accumulator),
    WORD(sums),
    WORD(overflow),
    CYAML_FIELD_SEQUENCE("sets", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, yaml_recipe, sets, &text_schema, 0, 1000),
    CYAML_FIELD_SEQUENCE("passes", CYAML_FLAG_POINTER, yaml_recipe, passes, &text_schema, 1, QN_PTQ_MAX_STEPS),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t recipe_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, yaml_recipe, fields)};

/* libcyaml says what is wrong, and in which line, through its log: keep the first lines of it. */
typedef struct yaml_log {
    char text[400];
} yaml_log;

static void keep_log(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    yaml_log *log = ctx;
    size_t used = strlen(log->text);
    if (level >= CYAML_LOG_ERROR && used + 2 < sizeof log->text) {
        vsnprintf(log->text + used, sizeof log->text - used, format, args);
        for (char *c = log->text + used; *c != '\0'; c++) {
            *c = *c == '\n' ? ' ' : *c;
        }
    }
}

static const char *keep(qn_ptq_recipe *recipe, const char *text, const char *fallback)
{
    return qn_arena_string(&recipe->arena, text != NULL ? text : fallback);
}

static qn_status check_option(const qn_ptq_pass *pass, const qn_ptq_pass_option *option, const char *value,
                              const char *where, qn_error *err)
{
    if (option->kind == QN_PTQ_RULE) {
        qn_fit_rule rule;
        return qn_fit_rule_parse(&rule, value, err);
    }
    if (option->kind == QN_PTQ_NUMBER) {
        char *end;
        double number = strtod(value, &end);
        if (end == value || *end != '\0' || !(number >= option->lo && number <= option->hi)) {
            return qn_fail(err, QN_EINVAL, where, "option %s=%s of pass %s is not a number from %g to %g", option->name,
                           value, pass->name, option->lo, option->hi);
        }
    }
    if (option->kind == QN_PTQ_CHOICE) {
        size_t n = strlen(value);
        for (const char *at = option->choices; at != NULL; at = strchr(at, '|')) {
            at += *at == '|' ? 1 : 0;
            if (strncmp(at, value, n) == 0 && (at[n] == '|' || at[n] == '\0')) {
                return QN_OK;
            }
        }
        return qn_fail(err, QN_EINVAL, where, "option %s=%s of pass %s is none of %s", option->name, value, pass->name,
                       option->choices);
    }
    return QN_OK;
}

static int find_option(const qn_ptq_pass *pass, const char *name)
{
    for (int i = 0; pass->options[i].name != NULL; i++) {
        if (strcmp(pass->options[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static void list_options(const qn_ptq_pass *pass, char *text, size_t n)
{
    snprintf(text, n, "%s", pass->options[0].name == NULL ? "no options" : "");
    for (int i = 0; pass->options[i].name != NULL; i++) {
        size_t used = strlen(text);
        snprintf(text + used, n - used, "%s%s", i > 0 ? ", " : "", pass->options[i].name);
    }
}

/* "key=value" for a step. */
static qn_status set_option(qn_ptq_recipe *recipe, qn_ptq_step *step, const char *text, const char *where,
                            qn_error *err)
{
    const char *equals = strchr(text, '=');
    char name[64], known[300];
    snprintf(name, sizeof name, "%.*s", equals != NULL ? (int)(equals - text) : (int)strlen(text), text);
    int index = equals != NULL ? find_option(step->pass, name) : -1;
    if (index < 0) {
        list_options(step->pass, known, sizeof known);
        return qn_fail(err, QN_EINVAL, where, "'%s' is no option of pass %s, which has %s", text, step->pass->name,
                       known);
    }
    QN_TRY(check_option(step->pass, &step->pass->options[index], equals + 1, where, err));
    step->values[index] = keep(recipe, equals + 1, "");
    return step->values[index] != NULL ? QN_OK : qn_fail_memory(err, where, strlen(text));
}

static qn_status unknown_pass(const char *name, const char *where, qn_error *err)
{
    char names[900] = "";
    for (size_t i = 0; i < qn_ptq_n_passes; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", qn_ptq_passes[i].name);
    }
    return qn_fail(err, QN_EINVAL, where, "unknown pass '%s'; there are %s", name, names);
}

/* "NAME key=value key=value" */
static qn_status add_step(qn_ptq_recipe *recipe, const char *text, const char *where, qn_error *err)
{
    char *words = qn_arena_string(&recipe->arena, text), *rest = NULL;
    if (words == NULL) {
        return qn_fail_memory(err, where, strlen(text));
    }
    const char *name = strtok_r(words, " \t", &rest);
    const qn_ptq_pass *pass = name != NULL ? qn_ptq_find_pass(name) : NULL;
    if (pass == NULL) {
        return unknown_pass(name != NULL ? name : "", where, err);
    }
    if (recipe->n_steps == QN_PTQ_MAX_STEPS) {
        return qn_fail(err, QN_EINVAL, where, "more than %d passes", QN_PTQ_MAX_STEPS);
    }
    qn_ptq_step *step = &recipe->steps[recipe->n_steps++];
    *step = (qn_ptq_step){.pass = pass};
    for (int i = 0; pass->options[i].name != NULL; i++) {
        step->values[i] = pass->options[i].fallback;
    }
    for (const char *word; (word = strtok_r(NULL, " \t", &rest)) != NULL;) {
        QN_TRY(set_option(recipe, step, word, where, err));
    }
    return QN_OK;
}

static qn_status read_arithmetic(qn_ptq_recipe *recipe, const yaml_recipe *yaml, const char *where, qn_error *err)
{
    qn_arithmetic *a = &recipe->arithmetic;
    const qn_profile *profile;
    if (yaml->profile != NULL) {
        QN_TRY(qn_profile_find(&profile, yaml->profile, err));
        *a = profile->arithmetic;
    }
    if (yaml->requantize != NULL) {
        *a = (qn_arithmetic){.fixed_sums = a->fixed_sums};
        QN_TRY(qn_requantize_parse(&a->requantize, yaml->requantize, err));
    }
    if (yaml->rounding != NULL) {
        a->twice = strcmp(yaml->rounding, "twice") == 0;
        a->rounding = QN_ROUND_NEAREST_AWAY;
        QN_TRY(a->twice ? QN_OK : qn_requantize_rounding_parse(&a->rounding, yaml->rounding, err));
    }
    if (yaml->sums != NULL) {
        a->fixed_sums = strcmp(yaml->sums, "fixed") == 0;
        if (!a->fixed_sums && strcmp(yaml->sums, "float") != 0) {
            return qn_fail(err, QN_EINVAL, where, "sums '%s' is neither float nor fixed", yaml->sums);
        }
    }
    if (yaml->accumulator != NULL) {
        char *end;
        const long bits = strtol(yaml->accumulator, &end, 10);
        if (end == yaml->accumulator || *end != '\0' || bits < 8 || bits > 32) {
            return qn_fail(err, QN_EINVAL, where, "accumulator '%s' is not a number of bits from 8 to 32",
                           yaml->accumulator);
        }
        a->accumulator_bits = (int)bits;
    }
    if (yaml->overflow != NULL) {
        a->saturate = strcmp(yaml->overflow, "saturate") == 0;
        if (!a->saturate && strcmp(yaml->overflow, "wrap") != 0) {
            return qn_fail(err, QN_EINVAL, where, "overflow '%s' is neither wrap nor saturate", yaml->overflow);
        }
    }
    return qn_arithmetic_check(a, where, err);
}

static qn_status add_set(qn_ptq_recipe *recipe, const char *text, const char *where, qn_error *err)
{
    const char *colon = strchr(text, ':'); /* globs have no colon, formats may */
    if (colon == NULL || colon == text) {
        return qn_fail(err, QN_EINVAL, where, "set '%s' is not of the form GLOB:key=value,...", text);
    }
    char *glob = qn_arena_string(&recipe->arena, text);
    if (glob == NULL) {
        return qn_fail_memory(err, where, strlen(text));
    }
    glob[colon - text] = '\0';
    qn_ptq_set *set = &recipe->sets[recipe->n_sets++];
    *set = (qn_ptq_set){glob, glob + (colon - text) + 1};
    qn_ptq_formats scratch = {0};
    return qn_ptq_formats_apply(&scratch, set->settings, where, err);
}

static qn_status from_yaml(qn_ptq_recipe *recipe, const yaml_recipe *yaml, const char *where, qn_error *err)
{
    recipe->where = keep(recipe, NULL, where);
    recipe->name = keep(recipe, yaml->recipe, where);
    recipe->about = keep(recipe, yaml->about, "");
    recipe->weights = keep(recipe, yaml->weights, "int8");
    recipe->activations = keep(recipe, yaml->activations, "uint8");
    recipe->bias = keep(recipe, yaml->bias, "int32");
    recipe->per = keep(recipe, yaml->per, "channel");
    recipe->ranges = keep(recipe, yaml->ranges, "static");
    recipe->profile = keep(recipe, yaml->profile, "");
    recipe->sets = qn_arena_array(&recipe->arena, (size_t)yaml->sets_count + 1, sizeof *recipe->sets);
    if (recipe->where == NULL || recipe->name == NULL || recipe->about == NULL || recipe->weights == NULL ||
        recipe->activations == NULL || recipe->bias == NULL || recipe->per == NULL || recipe->ranges == NULL ||
        recipe->profile == NULL || recipe->sets == NULL) {
        return qn_fail_memory(err, where, sizeof *recipe);
    }
    QN_TRY(read_arithmetic(recipe, yaml, where, err));
    for (unsigned i = 0; i < yaml->sets_count; i++) {
        QN_TRY(add_set(recipe, yaml->sets[i], where, err));
    }
    for (unsigned i = 0; i < yaml->passes_count; i++) {
        QN_TRY(add_step(recipe, yaml->passes[i], where, err));
    }
    return QN_OK;
}

static qn_status read_text(qn_ptq_recipe *recipe, const char *text, size_t n, const char *where, qn_error *err)
{
    yaml_log log = {""};
    const cyaml_config_t config = {
        .log_fn = keep_log, .log_ctx = &log, .log_level = CYAML_LOG_ERROR, .mem_fn = cyaml_mem};
    cyaml_data_t *data = NULL;
    cyaml_err_t status = cyaml_load_data((const uint8_t *)text, n, &config, &recipe_schema, &data, NULL);
    if (status != CYAML_OK) {
        return qn_fail(err, QN_EFORMAT, where, "is no recipe: %s (%s)", cyaml_strerror(status), log.text);
    }
    if (data == NULL) {
        return qn_fail(err, QN_EFORMAT, where, "is no recipe: it is empty; see 'quern recipe best' for one");
    }
    qn_status made = from_yaml(recipe, data, where, err);
    (void)cyaml_free(&config, &recipe_schema, data, 0);
    return made;
}

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

static qn_status read_file(qn_ptq_recipe *recipe, const char *path, qn_error *err)
{
    enum { MAX_BYTES = 1 << 20 };
    qn_file_bytes bytes;
    QN_TRY(qn_file_read(&bytes, path, err));
    qn_status status = bytes.size <= MAX_BYTES ? read_text(recipe, (const char *)bytes.data, bytes.size, path, err)
                                               : qn_fail(err, QN_ELIMIT, path, "a recipe of more than 1 MiB");
    qn_file_bytes_free(&bytes);
    return status;
}

static qn_status unknown_recipe(const char *name, size_t n, qn_error *err)
{
    char names[200] = "";
    for (size_t i = 0; i < N_LIBRARY; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", library[i].name);
    }
    return qn_fail(err, QN_EINVAL, NULL, "unknown recipe '%.*s'; there are %s, and files that end in .yaml", (int)n,
                   name, names);
}

/* "option=value" goes to every pass that has the option, "pass.option=value" to that pass. */
static qn_status override(qn_ptq_recipe *recipe, const char *text, qn_error *err)
{
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    dot = dot != NULL && equals != NULL && dot < equals ? dot : NULL;
    const char *option = dot != NULL ? dot + 1 : text;
    char name[64], pass[64];
    snprintf(name, sizeof name, "%.*s", equals != NULL ? (int)(equals - option) : (int)strlen(option), option);
    snprintf(pass, sizeof pass, "%.*s", dot != NULL ? (int)(dot - text) : 0, text);
    bool found = false;
    for (size_t i = 0; equals != NULL && i < recipe->n_steps; i++) {
        const bool meant = pass[0] == '\0' || strcmp(pass, recipe->steps[i].pass->name) == 0;
        if (meant && find_option(recipe->steps[i].pass, name) >= 0) {
            QN_TRY(set_option(recipe, &recipe->steps[i], option, recipe->name, err));
            found = true;
        }
    }
    if (found) {
        return QN_OK;
    }
    char known[400] = "";
    for (size_t i = 0; i < recipe->n_steps; i++) {
        for (int k = 0; recipe->steps[i].pass->options[k].name != NULL; k++) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s of %s", used > 0 ? ", " : "",
                     recipe->steps[i].pass->options[k].name, recipe->steps[i].pass->name);
        }
    }
    return qn_fail(err, QN_EINVAL, recipe->name, "'%s' is no option of the recipe's passes; there are %s", text, known);
}

qn_status qn_ptq_recipe_read(qn_ptq_recipe *recipe, const char *name, qn_error *err)
{
    *recipe = (qn_ptq_recipe){0};
    name = name != NULL ? name : library[0].name;
    const char *options = strchr(name, ':');
    size_t n = options != NULL ? (size_t)(options - name) : strlen(name);
    char *copy = qn_arena_string(&recipe->arena, name);
    if (copy == NULL) {
        return qn_fail_memory(err, name, n);
    }
    copy[n] = '\0';
    if (options != NULL && options[1] == '\0') {
        return qn_fail(err, QN_EINVAL, copy, "no option follows the colon; write %s:rule=mse", copy);
    }
    if (ends_with(name, n, ".yaml") || ends_with(name, n, ".yml")) {
        QN_TRY(read_file(recipe, copy, err));
    } else {
        size_t i = 0;
        while (i < N_LIBRARY && strcmp(library[i].name, copy) != 0) {
            i++;
        }
        if (i == N_LIBRARY) {
            return unknown_recipe(name, n, err);
        }
        QN_TRY(read_text(recipe, library[i].yaml, strlen(library[i].yaml), copy, err));
    }
    char *rest = NULL;
    for (char *word = options != NULL ? strtok_r(copy + n + 1, ",", &rest) : NULL; word != NULL;
         word = strtok_r(NULL, ",", &rest)) {
        QN_TRY(override(recipe, word, err));
    }
    return QN_OK;
}

void qn_ptq_recipe_free(qn_ptq_recipe *recipe)
{
    qn_arena_free(&recipe->arena);
}

const char *qn_recipe_name(size_t index)
{
    return index < N_LIBRARY ? library[index].name : NULL;
}

const char *qn_recipe_summary(size_t index)
{
    return index < N_LIBRARY ? library[index].about : NULL;
}

/* A growing text. */
typedef struct text_out {
    char *text;
    size_t n, capacity;
    bool failed;
} text_out;

static void QN_PRINTF(2, 3) put(text_out *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char line[600];
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t need = out->n + (size_t)(n < (int)sizeof line ? n : (int)sizeof line - 1) + 1;
    if (!out->failed && need > out->capacity) {
        char *grown = realloc(out->text, 2 * need);
        out->failed = grown == NULL;
        out->text = grown != NULL ? grown : out->text;
        out->capacity = grown != NULL ? 2 * need : out->capacity;
    }
    if (!out->failed) {
        memcpy(out->text + out->n, line, need - out->n);
        out->n = need - 1;
    }
}

static void put_arithmetic(text_out *out, const qn_ptq_recipe *recipe)
{
    const qn_arithmetic *a = &recipe->arithmetic;
    const qn_profile *profile;
    if (recipe->profile[0] != '\0' && qn_profile_find(&profile, recipe->profile, NULL) == QN_OK) {
        const qn_arithmetic *p = &profile->arithmetic;
        put(out, "profile: %s\n", recipe->profile);
        if (p->requantize == a->requantize && p->rounding == a->rounding && p->twice == a->twice &&
            p->saturate == a->saturate && p->accumulator_bits == a->accumulator_bits &&
            p->fixed_sums == a->fixed_sums) {
            return; /* nothing overrides it */
        }
    }
    put(out, "requantize: %s\nrounding: %s\nsums: %s\naccumulator: %d\noverflow: %s\n",
        qn_requantize_text(a->requantize), a->twice ? "twice" : qn_requantize_rounding_text(a->rounding),
        qn_sums_text(a),
        a->accumulator_bits == 0 ? 32 : a->accumulator_bits, a->saturate ? "saturate" : "wrap");
}

static void put_recipe(text_out *out, const qn_ptq_recipe *recipe)
{
    put(out, "recipe: %s\nabout: %s\nweights: %s\nactivations: %s\nbias: %s\nper: %s\nranges: %s\n", recipe->name,
        recipe->about, recipe->weights, recipe->activations, recipe->bias, recipe->per, recipe->ranges);
    put_arithmetic(out, recipe);
    put(out, "%s", recipe->n_sets > 0 ? "sets:\n" : "");
    for (size_t i = 0; i < recipe->n_sets; i++) {
        put(out, "  - '%s:%s'\n", recipe->sets[i].glob, recipe->sets[i].settings);
    }
    put(out, "passes:\n");
    for (size_t i = 0; i < recipe->n_steps; i++) {
        const qn_ptq_step *step = &recipe->steps[i];
        put(out, "  - %s", step->pass->name);
        for (int k = 0; step->pass->options[k].name != NULL; k++) {
            put(out, " %s=%s", step->pass->options[k].name, step->values[k]);
        }
        put(out, "\n");
    }
}

qn_status qn_recipe_text(char **text, const char *name, qn_error *err)
{
    *text = NULL;
    qn_ptq_recipe *recipe = qn_alloc(sizeof *recipe);
    if (recipe == NULL) {
        return qn_fail_memory(err, name, sizeof *recipe);
    }
    text_out out = {0};
    qn_status status = qn_ptq_recipe_read(recipe, name, err);
    if (status == QN_OK) {
        put_recipe(&out, recipe);
        status = out.failed ? qn_fail_memory(err, name, out.n) : QN_OK;
    }
    if (status == QN_OK) {
        *text = out.text;
    } else {
        free(out.text);
    }
    qn_ptq_recipe_free(recipe);
    qn_free(recipe);
    return status;
}

qn_status qn_recipe_arithmetic(qn_arithmetic *arithmetic, const char *name, qn_error *err)
{
    qn_ptq_recipe *recipe = qn_alloc(sizeof *recipe);
    if (recipe == NULL) {
        return qn_fail_memory(err, name, sizeof *recipe);
    }
    qn_status status = qn_ptq_recipe_read(recipe, name, err);
    *arithmetic = status == QN_OK ? recipe->arithmetic : (qn_arithmetic){0};
    qn_ptq_recipe_free(recipe);
    qn_free(recipe);
    return status;
}

bool qn_pass_at(qn_pass_info *info, size_t index)
{
    if (index >= qn_ptq_n_passes) {
        return false;
    }
    const qn_ptq_pass *pass = &qn_ptq_passes[index];
    *info = (qn_pass_info){pass->name, pass->summary, (pass->flags & (QN_PTQ_NEEDS_DATA | QN_PTQ_REQUIRES_DATA)) != 0};
    return true;
}

bool qn_pass_option_at(qn_pass_option_info *info, size_t index, size_t option)
{
    if (index >= qn_ptq_n_passes || option >= QN_PTQ_MAX_OPTIONS || qn_ptq_passes[index].options[option].name == NULL) {
        return false;
    }
    const qn_ptq_pass_option *row = &qn_ptq_passes[index].options[option];
    *info = (qn_pass_option_info){row->name, row->fallback,
                                  row->choices != NULL         ? row->choices
                                  : row->kind == QN_PTQ_RULE   ? "a range rule"
                                  : row->kind == QN_PTQ_NUMBER ? "a number"
                                                               : "a text"};
    return true;
}
