/* Formats of nodes: settings texts, globs, defaults. */
#include "ptq/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "format/row.h"

enum { TEXT_MAX = 160 };

/* An integer format without a fit is affine where it codes activations: that is what runtimes do. */
static void give_fit(qn_format *format, bool activations)
{
    if (format->kind == QN_FORMAT_INT && format->fit == QN_FIT_DEFAULT) {
        format->fit = activations ? QN_FIT_AFFINE : QN_FIT_DEFAULT;
    }
}

static qn_status set_format(qn_format *format, bool *is_float, const char *text, bool activations, const char *where,
                            qn_error *err)
{
    *is_float = strcmp(text, "float") == 0;
    if (*is_float) {
        return QN_OK;
    }
    qn_status status = qn_format_parse(format, text, err);
    if (status != QN_OK) {
        if (where != NULL) {
            qn_error_prefix(err, where);
        }
        return status;
    }
    give_fit(format, activations);
    return QN_OK;
}

static qn_status set_per(qn_ptq_formats *formats, const char *text, const char *where, qn_error *err)
{
    char *end = NULL;
    long group = strncmp(text, "group:", 6) == 0 ? strtol(text + 6, &end, 10) : 0;
    if (strcmp(text, "channel") == 0 || strcmp(text, "tensor") == 0) {
        formats->per = text[0] == 'c' ? QN_PTQ_PER_CHANNEL : QN_PTQ_PER_TENSOR;
    } else if (end != NULL && end != text + 6 && *end == '\0' && group >= 1 && group <= 65536) {
        formats->per = QN_PTQ_PER_GROUP;
        formats->group = group;
    } else {
        return qn_fail(err, QN_EINVAL, where, "granularity '%s' is none of channel, tensor, group:N with N up to 65536",
                       text);
    }
    return QN_OK;
}

static qn_status set_one(qn_ptq_formats *f, const char *key, const char *value, const char *where, qn_error *err)
{
    if (strcmp(key, "weights") == 0) {
        return set_format(&f->weights, &f->weights_float, value, false, where, err);
    }
    if (strcmp(key, "activations") == 0) {
        return set_format(&f->activations, &f->activations_float, value, true, where, err);
    }
    if (strcmp(key, "bias") == 0) {
        return set_format(&f->bias, &f->bias_float, value, false, where, err);
    }
    if (strcmp(key, "per") == 0) {
        return set_per(f, value, where, err);
    }
    if (strcmp(key, "keep") == 0 && (strcmp(value, "float") == 0 || strcmp(value, "codes") == 0)) {
        f->keep_float = value[0] == 'f';
        f->keep_codes = !f->keep_float;
        return QN_OK;
    }
    return qn_fail(err, QN_EINVAL, where,
                   "'%s=%s' is no setting; there are weights, activations, bias, per, keep=float, keep=codes", key,
                   value);
}

/* Formats have commas inside <>: those separate no settings. */
static size_t setting_length(const char *text)
{
    int depth = 0;
    size_t n = 0;
    for (; text[n] != '\0' && (depth > 0 || text[n] != ','); n++) {
        depth += text[n] == '<' ? 1 : text[n] == '>' ? -1 : 0;
    }
    return n;
}

qn_status qn_ptq_formats_apply(qn_ptq_formats *formats, const char *settings, const char *where, qn_error *err)
{
    for (const char *at = settings; *at != '\0';) {
        size_t n = setting_length(at);
        char text[TEXT_MAX];
        if (n >= sizeof text) {
            return qn_fail(err, QN_EINVAL, where, "a setting of %zu characters; %zu are the most", n, sizeof text - 1);
        }
        memcpy(text, at, n);
        text[n] = '\0';
        char *equals = strchr(text, '=');
        if (equals == NULL) {
            return qn_fail(err, QN_EINVAL, where, "'%s' is no setting; it has the form key=value", text);
        }
        *equals = '\0';
        QN_TRY(set_one(formats, text, equals + 1, where, err));
        at += n;
        if (*at == ',' && *++at == '\0') {
            return qn_fail(err, QN_EINVAL, where, "'%s' ends in a comma; a setting must follow it", settings);
        }
    }
    return QN_OK;
}

qn_ptq_formats qn_ptq_formats_of(const qn_ptq_settings *settings, const qn_node *node, const char *name)
{
    qn_ptq_formats formats = settings->base;
    for (size_t i = 0; i < settings->n_sets; i++) {
        const qn_ptq_set *set = &settings->sets[i];
        if (qn_glob_matches(set->glob, node != NULL ? node->name : name) ||
            (node != NULL && qn_glob_matches(set->glob, node->op_type))) {
            (void)qn_ptq_formats_apply(&formats, set->settings, NULL, NULL); /* checked when it was made */
        }
    }
    return formats;
}

/* Could settings of weights be of use to the node? Some become layers with weights only on the way. */
static bool may_have_weights(const qn_graph *graph, const qn_node *node)
{
    bool may = qn_ptq_rule_of(node->op)->has_weights || qn_ptq_rule_of(node->op)->only_weights;
    for (int i = 0; i < node->n_inputs; i++) {
        may = may || qn_ptq_float_constant(graph, node->inputs[i]) != NULL;
    }
    return may;
}

/* Whether the settings are of nothing but weights and biases. */
static bool only_of_weights(const char *settings)
{
    bool only = true;
    for (const char *at = settings; *at != '\0'; at += setting_length(at), at += *at == ',' ? 1 : 0) {
        only = only && strncmp(at, "activations=", 12) != 0 && strncmp(at, "keep=", 5) != 0;
    }
    return only;
}

/* Nodes and inputs that the glob matches, and those of them for which the settings can do something. */
static void count_matches(const qn_ptq_set *set, const qn_graph *graph, size_t *n, size_t *n_served)
{
    const bool only_weights = only_of_weights(set->settings);
    *n = *n_served = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        if (node->op != QN_OP_REMOVED &&
            (qn_glob_matches(set->glob, node->name) || qn_glob_matches(set->glob, node->op_type))) {
            ++*n;
            *n_served += !only_weights || may_have_weights(graph, node);
        }
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (qn_glob_matches(set->glob, graph->values[graph->inputs[i]].name)) {
            ++*n;
            *n_served += !only_weights;
        }
    }
}

static qn_status check_set(const qn_ptq_set *set, const qn_graph *graph, qn_error *err)
{
    enum { SHOWN = 6 };
    size_t n, n_served;
    count_matches(set, graph, &n, &n_served);
    if (n_served > 0) {
        return QN_OK;
    }
    if (n > 0) {
        return qn_fail(err, QN_EINVAL, graph->file, "nothing that matches '%s' has weights, so '%s' says nothing",
                       set->glob, set->settings);
    }
    char names[200] = "";
    for (size_t i = 0; i < graph->n_nodes && i < SHOWN; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%.24s", i > 0 ? ", " : "", graph->nodes[i].name);
    }
    return qn_fail(err, QN_EINVAL, graph->file, "no node has a name or operator type that matches '%s'; names are %s%s",
                   set->glob, names, graph->n_nodes > SHOWN ? ", ..." : "");
}

qn_status qn_ptq_settings_check(const qn_ptq_settings *settings, const qn_graph *graph, qn_error *err)
{
    if (settings->dynamic && settings->no_rounding) {
        return qn_fail(err, QN_EINVAL, NULL,
                       "without rounding what is left of quantization is clipping, and dynamic ranges clip nothing; "
                       "take static ranges");
    }
    for (size_t i = 0; i < settings->n_sets; i++) {
        QN_TRY(check_set(&settings->sets[i], graph, err));
    }
    return QN_OK;
}

bool qn_ptq_is_integer_code(qn_format format)
{
    return format.kind == QN_FORMAT_INT && format.bits <= 8 && format.rounding == QN_ROUND_NEAREST_EVEN;
}

bool qn_ptq_weight_integers(qn_format *codes, float *unit, bool *rounds, qn_format format)
{
    *rounds = qn_ptq_is_integer_code(format);
    return qn_format_integers(codes, unit, format) && codes->bits <= 8;
}
