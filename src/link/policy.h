/* Policies of links (doc/spec/policy.md).
 *
 * policy.c makes them and passes calls on, policy_check.c refuses, policy_pipeedge.c has PipeEdge's three,
 * policy_quern.c quern's own, with the plans that policy_plans.c found worth having. policy_units.c and policy_trace.c
 * stand apart.
 *
 * Invariants: everything a policy refers to is in its arena; what was measured is finite and above 0. */
#ifndef QN_LINK_POLICY_H
#define QN_LINK_POLICY_H

#include "base/error.h"
#include "base/knapsack.h"
#include "base/memory.h"
#include "quern/policy.h"

/* How many of the latest bandwidths of a link are remembered; how many plans of a link are chosen from, at most. */
enum { QN_POLICY_HISTORY = 3, QN_POLICY_MAX_PLANS = 128 };

/* PipeEdge's AdaptiveBitwidthPerformanceController. */
typedef struct qn_policy_controller {
    int n; /* different widths, falling: choice[0] is the widest */
    int choice[QN_POLICY_MAX_CHOICES];
    double bits[QN_POLICY_MAX_CHOICES];
    double reference; /* items per second */
    double u;         /* speed-up over the widest */
    double x_hat, p;  /* Kalman filter: base rate and its variance */
} qn_policy_controller;

/* A plan of a link: n of the window's micro-batches with one choice, the others with another. Its bytes and its damage
 * are in the medium's table. */
typedef struct qn_policy_pair {
    int choice[2];
    int64_t n; /* of choice[0]; the whole window of it alone */
} qn_policy_pair;

typedef struct qn_policy_member { /* a link */
    qn_policy_link about;
    int medium;
    bool knows_loss;
    bool ignored;
    qn_policy_measure last;            /* messages is 0 before the first */
    double history[QN_POLICY_HISTORY]; /* bytes per second, the newest first */
    int n_history;
    double busy; /* share of the window that the link was busy; above 1 where messages overlap */
    qn_policy_controller controller;
    qn_policy_pair *plans; /* by rising bytes and falling damage */
    int n_plans;
    int current;     /* index of a plan, or -1 for the start */
    qn_choice start; /* bytes and damage of a window of it */
    qn_policy_plan plan;
} qn_policy_member;

typedef struct qn_policy_medium {
    int *links;
    int n_links;
    int n_choices;      /* the most plans of a link */
    qn_choice *choices; /* n_links * n_choices; a link with fewer plans repeats its last */
    int *chosen;        /* n_links plans: what is being decided */
    double capacity;    /* bytes per second; NaN: not known */
} qn_policy_medium;

struct qn_policy {
    qn_arena arena;
    qn_policy_options options;
    qn_policy_kind kind;
    int n_links, n_media;
    qn_policy_member *links;
    qn_policy_medium *media;
    bool stale; /* quern: something was measured since the last decision */
};

/* A decimal number at the start of n bytes: sign, digits with or without a point, exponent; neither hexadecimal nor in
 * words. Returns its length, 0 where there is none, or one of more than 63 characters. */
size_t qn_policy_read_number(double *value, const char *text, size_t n);

/* Errors: those of qn_policy_create. */
qn_status qn_policy_check(qn_policy_kind *kind, const qn_policy_options *options, const qn_policy_link *links,
                          int n_links, qn_error *err);

/* Bytes per second of the last measurement. */
double qn_policy_bandwidth(const qn_policy_member *link);
/* The whole window with one choice. */
void qn_policy_plan_one(qn_policy_plan *plan, const qn_policy *p, const qn_policy_member *link, int choice);
/* n micro-batches with the choice `a`, the rest with `b`. */
void qn_policy_plan_two(qn_policy_plan *plan, const qn_policy *p, const qn_policy_member *link, int a, int b,
                        int64_t n);
/* The widest choice of at most `bits`; where there is none, the narrowest; the first of equals. */
int qn_policy_choice_of_bits(const qn_policy_link *link, double bits);

/* PipeEdge's constrain_max_bitwidth: seconds, Mbit, Mbit per second, the most bits; in float32 as there. */
int qn_policy_constrain_bits(double time, double size, double speed, int most);
void qn_policy_controller_start(qn_policy_controller *c, const qn_policy_link *link, double reference);
/* The next window, from the measured rate: indices of two widths, and how many micro-batches the slower one gets. */
void qn_policy_controller_step(qn_policy_controller *c, double rate, int64_t window, int *slow, int *fast,
                               int64_t *n_slow);
/* The plan of a link that has just been measured. */
void qn_policy_plan_pipeedge(qn_policy *p, qn_policy_member *link);

/* The damage by which quern orders a link's choices: its loss; where one is not known, the noise (policy.md 4.1). */
void qn_policy_damages(double damages[QN_POLICY_MAX_CHOICES], bool *knows_loss, const qn_policy_link *link);
/* The plans of all links that no other plan beats in bytes and damage, and the media's tables. Errors: QN_ENOMEM. */
qn_status qn_policy_make_plans(qn_policy *p, qn_error *err);
/* Decide anew for all links. Errors: QN_ENOMEM; plans are as before then. */
qn_status qn_policy_decide(qn_policy *p, qn_error *err);

#endif
