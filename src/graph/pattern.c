/* Finding patterns. Where there is a choice (alternatives, the order of operands) the match is tried from the start
 * with the next choice, as if by a clock whose digits are the choices: no step has to be undone. */
#include "graph/pattern.h"

#include <math.h>
#include <string.h>

#include "graph/compute/compute.h"

enum { MAX_CHOICES = 64, MAX_TRIES = 20000 };
static const double tolerance = 1e-6;

typedef struct matcher {
    qn_match *match;
    unsigned char pick[MAX_CHOICES], limit[MAX_CHOICES];
    int n_choices, at;
} matcher;

static int choose(matcher *m, int limit)
{
    if (limit <= 1) {
        return 0;
    }
    if (m->at == m->n_choices) {
        if (m->n_choices == MAX_CHOICES) {
            return 0;
        }
        m->pick[m->n_choices] = 0;
        m->limit[m->n_choices++] = (unsigned char)limit;
    }
    return m->pick[m->at++];
}

static bool next_choice(matcher *m)
{
    while (m->n_choices > 0 && m->pick[m->n_choices - 1] + 1 == m->limit[m->n_choices - 1]) {
        m->n_choices--;
    }
    if (m->n_choices == 0) {
        return false;
    }
    m->pick[m->n_choices - 1]++;
    return true;
}

const qn_bound_value *qn_match_bound(const qn_match *match, qn_value_id id)
{
    return id != QN_NO_VALUE && (size_t)id < match->binding->n_values ? &match->binding->values[id] : NULL;
}

bool qn_known_number(const qn_binding *binding, qn_value_id id, double *number)
{
    if (id == QN_NO_VALUE || (size_t)id >= binding->n_values || binding->graph->values[id].quantizer != NULL) {
        return false;
    }
    const qn_bound_value *value = &binding->values[id];
    if (value->known == NULL || value->n_elems != 1 || value->dtype == QN_DTYPE_BOOL) {
        return false;
    }
    if (value->known->dtype == QN_DTYPE_S64) {
        *number = (double)*(const int64_t *)value->known->data;
        return true;
    }
    float single;
    qn_convert_elements(QN_DTYPE_F32, &single, value->known->dtype, value->known->data, 1);
    *number = (double)single;
    return true;
}

static bool is_near(double value, double wanted)
{
    return fabs(value - wanted) <= tolerance * fabs(wanted);
}

static bool fits_sign(const qn_match *match, char sign, qn_value_id id)
{
    double number;
    if (sign == '#') {
        return qn_known_number(match->binding, id, &number);
    }
    const qn_value *value = id != QN_NO_VALUE ? &match->binding->graph->values[id] : NULL;
    return sign == 0 || (value != NULL && qn_match_bound(match, id) != NULL && value->constant != NULL &&
                         value->constant->dtype == QN_DTYPE_F32);
}

static bool match_term(matcher *m, int term, qn_value_id id);

/* The node that makes a value, where it makes nothing else. */
static const qn_node *producer(const matcher *m, qn_value_id id)
{
    const qn_graph *graph = m->match->binding->graph;
    if (id == QN_NO_VALUE || graph->values[id].producer < 0) {
        return NULL;
    }
    const qn_node *node = &graph->nodes[graph->values[id].producer];
    for (int i = 1; i < node->n_outputs; i++) {
        if (node->outputs[i] != QN_NO_VALUE && m->match->uses[node->outputs[i]] > 0) {
            return NULL;
        }
    }
    return node->outputs[0] == id && node->op != QN_OP_REMOVED ? node : NULL;
}

static bool keep_node(qn_match *match, const qn_node *node)
{
    const int32_t index = (int32_t)(node - match->binding->graph->nodes);
    for (int i = 0; i < match->n_nodes; i++) {
        if (match->nodes[i] == index) {
            return true;
        }
    }
    if (match->n_nodes == QN_PATTERN_NODES) {
        return false;
    }
    match->nodes[match->n_nodes++] = index;
    return true;
}

/* The first operand by its term, the others by numbers. */
static bool match_clip(matcher *m, const qn_pattern_term *term, const qn_node *node)
{
    const double infinity = (double)INFINITY;
    qn_clip clip;
    qn_error err;
    qn_error_init(&err);
    if (term->n_args != 3 || qn_clip_of_node(&clip, m->match->binding, node, &err) != QN_OK) {
        return false;
    }
    const double bounds[2] = {clip.lo, clip.hi};
    for (int i = 0; i < 2; i++) {
        const qn_pattern_term *wanted = &m->match->pattern->terms[term->args[1 + i]];
        if (wanted->kind != QN_TERM_NUMBER || fabs(bounds[i]) == infinity || !is_near(bounds[i], wanted->number)) {
            return false;
        }
    }
    for (int i = 1; i < node->n_inputs; i++) { /* a bound that is coded is not what it seems */
        if (node->inputs[i] != QN_NO_VALUE && m->match->binding->graph->values[node->inputs[i]].quantizer != NULL) {
            return false;
        }
    }
    return match_term(m, term->args[0], node->inputs[0]);
}

static bool match_node(matcher *m, const qn_pattern_term *term, const qn_node *node)
{
    if (node == NULL || node->op != term->op || node->n_inputs < 1 || !keep_node(m->match, node)) {
        return false;
    }
    if (term->op == QN_OP_CLIP) {
        return match_clip(m, term, node);
    }
    if (node->n_inputs < term->n_args) {
        return false;
    }
    for (int i = term->n_args; i < node->n_inputs; i++) {
        const qn_bound_value *more = qn_match_bound(m->match, node->inputs[i]);
        if (more == NULL || more->known == NULL || more->dtype == QN_DTYPE_F32) {
            return false;
        }
    }
    const bool either =
        (node->op == QN_OP_ADD || node->op == QN_OP_MUL || node->op == QN_OP_MAX || node->op == QN_OP_MIN) &&
        term->n_args == 2 && node->inputs[0] != node->inputs[1];
    const int swap = either ? choose(m, 2) : 0;
    for (int i = 0; i < term->n_args; i++) {
        if (!match_term(m, term->args[i], node->inputs[swap ? 1 - i : i])) {
            return false;
        }
    }
    return true;
}

/* Alternatives that can be meant, by their operator alone. */
static int candidates(const matcher *m, const qn_pattern_name *rule, const qn_node *made_by,
                      int list[QN_PATTERN_ALTERNATIVES])
{
    int n = 0;
    for (int i = 0; i < rule->n_alternatives; i++) {
        const qn_pattern_term *term = &m->match->pattern->terms[rule->alternatives[i]];
        if (term->kind != QN_TERM_NODE || (made_by != NULL && made_by->op == term->op)) {
            list[n++] = rule->alternatives[i];
        }
    }
    return n;
}

static bool match_name(matcher *m, int index, qn_value_id id)
{
    qn_match *match = m->match;
    const qn_pattern_name *name = &match->pattern->names[index];
    if (match->values[index] != QN_NO_VALUE || id == QN_NO_VALUE) {
        return id != QN_NO_VALUE && match->values[index] == id;
    }
    if (!fits_sign(match, name->sign, id)) {
        return false;
    }
    match->values[index] = id;
    if (name->n_alternatives == 0) {
        return true;
    }
    int list[QN_PATTERN_ALTERNATIVES];
    const int n = candidates(m, name, producer(m, id), list);
    return n > 0 && match_term(m, list[choose(m, n)], id);
}

static bool match_term(matcher *m, int index, qn_value_id id)
{
    const qn_pattern_term *term = &m->match->pattern->terms[index];
    double number;
    switch (term->kind) {
    case QN_TERM_NAME:
        return match_name(m, term->name, id);
    case QN_TERM_NUMBER:
        return qn_known_number(m->match->binding, id, &number) && is_near(number, term->number);
    default:
        return match_node(m, term, producer(m, id));
    }
}

/* What is made inside is read inside only, and floats. */
static bool is_closed(const qn_match *match)
{
    const qn_graph *graph = match->binding->graph;
    for (int i = 1; i < match->n_nodes; i++) {
        const qn_value_id made = graph->nodes[match->nodes[i]].outputs[0];
        int32_t inside = 0;
        for (int k = 0; k < match->n_nodes; k++) {
            const qn_node *reader = &graph->nodes[match->nodes[k]];
            for (int j = 0; j < reader->n_inputs; j++) {
                inside += reader->inputs[j] == made ? 1 : 0;
            }
        }
        if (inside != match->uses[made] || graph->values[made].quantizer != NULL) {
            return false;
        }
    }
    return match->n_nodes > 0;
}

static bool may_make(const qn_pattern *pattern, int name, qn_op op, int depth)
{
    const qn_pattern_name *rule = &pattern->names[name];
    bool may = false;
    for (int i = 0; i < rule->n_alternatives && !may; i++) {
        const qn_pattern_term *term = &pattern->terms[rule->alternatives[i]];
        may = term->kind == QN_TERM_NODE
                  ? term->op == op
                  : term->kind == QN_TERM_NAME && depth > 0 && may_make(pattern, term->name, op, depth - 1);
    }
    return may;
}

bool qn_pattern_may_end(const qn_pattern *pattern, qn_op op)
{
    return may_make(pattern, 0, op, QN_PATTERN_NAMES);
}

bool qn_pattern_match(qn_match *match, size_t root)
{
    matcher m = {.match = match};
    const qn_node *node = &match->binding->graph->nodes[root];
    if (node->op == QN_OP_REMOVED || node->n_outputs < 1 || node->outputs[0] == QN_NO_VALUE ||
        !qn_pattern_may_end(match->pattern, node->op)) {
        return false;
    }
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        m.at = 0;
        match->n_nodes = 0;
        for (int i = 0; i < QN_PATTERN_NAMES; i++) {
            match->values[i] = QN_NO_VALUE;
        }
        if (match_name(&m, 0, node->outputs[0]) && is_closed(match)) {
            return true;
        }
        if (!next_choice(&m)) {
            return false;
        }
    }
    return false;
}

qn_value_id qn_match_value(const qn_match *match, const char *name)
{
    for (int i = 0; i < match->pattern->n_names; i++) {
        if (strcmp(match->pattern->names[i].text, name) == 0) {
            return match->values[i];
        }
    }
    return QN_NO_VALUE;
}

const qn_node *qn_match_node(const qn_match *match, const char *name)
{
    const qn_value_id id = qn_match_value(match, name);
    const int32_t index = id != QN_NO_VALUE ? match->binding->graph->values[id].producer : -1;
    for (int i = 0; i < match->n_nodes; i++) {
        if (match->nodes[i] == index) {
            return &match->binding->graph->nodes[index];
        }
    }
    return NULL;
}

double qn_match_number(const qn_match *match, const char *name)
{
    double number = 0;
    (void)qn_known_number(match->binding, qn_match_value(match, name), &number);
    return number;
}
