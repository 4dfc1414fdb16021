/* Protection, inside the fault room: groups, what schemes cost, what they do to a fault.
 *
 *   keys    which group a fault is in                                   (protect_keys.c)
 *   passes  over the store's faults: tallies, benefits                  (protect_passes.c)
 *   choice  the knapsack, what is left                                  (protect.c)
 *   apply   the faults again, with the protection modelled              (protect_apply.c) */
#ifndef QN_FAULT_PROTECT_H
#define QN_FAULT_PROTECT_H

#include "fault/store.h"
#include "quern/protect.h"

/* What a fault comes to where it meets a scheme. */
typedef enum qn_protect_end {
    QN_PROTECT_PASSES,
    QN_PROTECT_CORRECTED,
    QN_PROTECT_DETECTED,
    QN_PROTECT_CLAMPED,
} qn_protect_end;

/* What the rules look at.
 *  mask, n_changes  of qn_fault_row: bits that the first change forces or flips, all changes
 *  transient        present in one image, so that its codes before and after are the row's
 *  after            the real value it makes; NaN unknown;  low, high: of the value without faults, low > high unknown */
typedef struct qn_protect_case {
    qn_fault_where where;
    uint32_t mask;
    int64_t n_changes;
    bool transient;
    double after, low, high;
} qn_protect_case;
/* Only faults of one change are credited to a scheme: several codes at once may share a word. scheme -1: passes. */
qn_protect_end qn_protect_end_of(int scheme, const qn_protect_case *c);
/* Can the scheme be had there? Words need memory: sums on their way through an adder have none; clamps are for values. */
bool qn_protect_applies(qn_scheme scheme, qn_fault_where where);
/* Bits that a scheme adds to n codes of code_bits protected bits each; word_bits as in the options. False on overflow. */
bool qn_protect_cost(int64_t *extra_bits, qn_scheme scheme, int64_t n, int code_bits, int word_bits);

/* Groups, numbered: unit (a target, or a place when layers are not told apart), channel in it, bit. */
typedef struct qn_protect_unit {
    qn_fault_where where;
    int32_t target; /* -1: several */
    int bits, n_bits;
    int64_t channels, first_key;
} qn_protect_unit;
typedef struct qn_protect_keys {
    unsigned by;
    const qn_store_target *targets;
    int n_targets;
    int32_t *unit_of;         /* of each target; -1 not struck */
    qn_fault_where *where_of; /* of each target */
    qn_protect_unit *units;
    int n_units;
    int64_t n_keys;
} qn_protect_keys;
/* struck: of each target, whether the campaign has faults in it. Memory from `arena`. Errors: QN_ELIMIT, QN_EFORMAT, QN_ENOMEM. */
qn_status qn_protect_keys_make(qn_protect_keys *keys, qn_arena *arena, unsigned by, const qn_store_target *targets,
                               int n_targets, const bool *struck, qn_error *err);
/* -1: in no group (several bits where bits are told apart, a target that was not struck). */
int64_t qn_protect_key(const qn_protect_keys *keys, int32_t target, int64_t element, uint32_t mask);
/* The group of a key: unit, channel (-1), bit (-1), how many codes it is, and how many bits of each. */
const qn_protect_unit *qn_protect_key_parts(const qn_protect_keys *keys, int64_t key, int64_t *channel, int *bit,
                                            int64_t *n_codes, int *code_bits);

/* Ranges of values without faults, per target of the store. */
typedef struct qn_protect_range {
    double low, high;
} qn_protect_range;

struct qn_protection {
    qn_arena arena;
    qn_protect_options options;
    int outcome; /* bit of QN_OUTCOME_LIST */
    qn_store *store;
    qn_protect_keys keys;
    signed char *scheme_of; /* of each key; -1 none */
    qn_protect_range *ranges;
    qn_protect_summary about;
    qn_protect_group *groups;
};

#endif
