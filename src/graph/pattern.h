/* Patterns of nodes, written as text and found in a graph; inside the graph room only.
 *
 *   y = Mul(h, p) | Mul(x, q); h = Mul(x, 0.5) | Div(x, 2); ...
 *
 * A rule names a value and says, in alternatives, what makes it; the first rule is the pattern's last value. A name
 * without a rule is any value, #name any constant of one element, @name any constant of floats; a number is a constant
 * of one element within 1e-6 of it, relatively. A name means the same value wherever it stands. Operands of Add, Mul,
 * Max and Min come in either order; bounds of a Clip are those that it has, from inputs or attributes; operands after
 * those that a rule lists have to be known integers (the axes of a Reduce). All values inside are read inside only,
 * are no graph outputs and carry no quantizers. */
#ifndef QN_GRAPH_PATTERN_H
#define QN_GRAPH_PATTERN_H

#include "graph/bind.h"

enum { QN_PATTERN_TERMS = 96, QN_PATTERN_NAMES = 32, QN_PATTERN_ALTERNATIVES = 8, QN_PATTERN_NODES = 32 };

typedef enum qn_term_kind { QN_TERM_NAME, QN_TERM_NUMBER, QN_TERM_NODE } qn_term_kind;
typedef struct qn_pattern_term {
    qn_term_kind kind;
    int name;
    double number;
    qn_op op;
    int n_args, args[4]; /* terms */
} qn_pattern_term;

typedef struct qn_pattern_name {
    char text[16];
    char sign;                                                 /* '#', '@', or 0 */
    int n_alternatives, alternatives[QN_PATTERN_ALTERNATIVES]; /* terms; none: anything */
} qn_pattern_name;

typedef struct qn_pattern {
    int n_terms, n_names;
    qn_pattern_term terms[QN_PATTERN_TERMS];
    qn_pattern_name names[QN_PATTERN_NAMES]; /* the pattern's last value is the first */
} qn_pattern;

/* QN_EINVAL with the place for text that is no pattern. */
qn_status qn_pattern_parse(qn_pattern *pattern, const char *text, qn_error *err);

/* Can a node of this operator be the last of the pattern? */
bool qn_pattern_may_end(const qn_pattern *pattern, qn_op op);

/* What a pattern matched: a value per name, QN_NO_VALUE where the alternatives taken do not have it, and the nodes,
 * each once, the last of the pattern first. */
typedef struct qn_match {
    const qn_pattern *pattern;
    const qn_binding *binding;
    const int32_t *uses; /* qn_graph_count_uses */
    qn_value_id values[QN_PATTERN_NAMES];
    int n_nodes;
    int32_t nodes[QN_PATTERN_NODES]; /* indices */
} qn_match;

/* Does the pattern end in node `root`? `match` has pattern, binding and uses. */
bool qn_pattern_match(qn_match *match, size_t root);

qn_value_id qn_match_value(const qn_match *match, const char *name); /* QN_NO_VALUE when nothing is called so */
/* The node that makes the value, NULL where there is none or it is not one of the pattern's. */
const qn_node *qn_match_node(const qn_match *match, const char *name);
double qn_match_number(const qn_match *match, const char *name); /* of a #name */
/* What binding says of a value; NULL for values that are newer than the binding. */
const qn_bound_value *qn_match_bound(const qn_match *match, qn_value_id id);
/* A known value of one element without a quantizer, as a number. */
bool qn_known_number(const qn_binding *binding, qn_value_id id, double *number);

#endif
