/* Specifications: which faults, how many, in what lifetime. Plain data, made from YAML (spec_read.c) or from options of the
 * command line (spec_options.c), checked against a program's targets when a space is made. doc/faults.md has the schema. Inside the fault room. */
#ifndef QN_FAULT_SPEC_H
#define QN_FAULT_SPEC_H

#include "fault/fault.h"

/* Indices: a union of first..last ranges, both included; n 0: all. */
typedef struct qn_fault_range {
    int64_t first, last;
} qn_fault_range;
typedef struct qn_fault_ranges {
    const qn_fault_range *list;
    int n;
} qn_fault_ranges;
typedef struct qn_fault_names {
    const char *const *list;
    int n;
} qn_fault_names;

/* What can be hit; an absent part selects everything.
 *  where      bit set of 1 << qn_fault_where; never 0 once read
 *  layers, values, ops   globs over names of layers and of values, and operator types; an entry that matches nothing is an error
 *  channels, rows, columns, elements, terms   indices along the target's axes; flat element numbers; terms of sums
 *  bits, fields          bit numbers, and names of fields; both: their union
 *  frame                 globs over names of a frame's fields, of places on links */
typedef struct qn_fault_selector {
    unsigned where;
    qn_fault_names layers, values, ops, fields, frame;
    qn_fault_ranges channels, rows, columns, elements, terms, bits;
} qn_fault_selector;

/* X(name, value, text) */
#define QN_FAULT_MODEL_LIST(X)                                                                                         \
    X(QN_FAULT_FLIP, 0, "flip")                                                                                        \
    X(QN_FAULT_STUCK_AT_0, 1, "stuck-at-0")                                                                            \
    X(QN_FAULT_STUCK_AT_1, 2, "stuck-at-1")                                                                            \
    X(QN_FAULT_RANDOM_CODE, 3, "random-code")                                                                          \
    X(QN_FAULT_SET_VALUE, 4, "set-value")                                                                              \
    X(QN_FAULT_SET_ZERO, 5, "set-zero")                                                                                \
    X(QN_FAULT_UNIFORM_NOISE, 6, "uniform-noise")                                                                      \
    X(QN_FAULT_NORMAL_NOISE, 7, "normal-noise")                                                                        \
    X(QN_FAULT_NONE, 8, "none") /* mask 0: a fault that changes nothing */                                             \
    X(QN_FAULT_UNIFORM_VALUE, 9, "uniform-value")                                                                      \
    X(QN_FAULT_NORMAL_VALUE, 10, "normal-value")
typedef enum qn_fault_model {
#define QN_FAULT_MODEL_ENUM(name, value, text) name = value,
    QN_FAULT_MODEL_LIST(QN_FAULT_MODEL_ENUM)
#undef QN_FAULT_MODEL_ENUM
} qn_fault_model;
/* Draws reals from lo .. hi, or of mean and std? Either is added, or replaces the value. */
static inline bool qn_fault_is_uniform(qn_fault_model model)
{
    return model == QN_FAULT_UNIFORM_NOISE || model == QN_FAULT_UNIFORM_VALUE;
}
static inline bool qn_fault_is_normal(qn_fault_model model)
{
    return model == QN_FAULT_NORMAL_NOISE || model == QN_FAULT_NORMAL_VALUE;
}

/* What one fault strikes at once. */
typedef enum qn_fault_pattern {
    QN_FAULT_SINGLE,  /* one element */
    QN_FAULT_CHANNEL, /* a whole output channel */
    QN_FAULT_ARRAY,   /* what a processing element, row or column of an n x m array holds or computes */
    QN_FAULT_WORD,    /* adjacent bits of a memory word of packed codes */
    QN_FAULT_RATE,    /* every bit with a probability (bit error rate) */
    QN_FAULT_COUNT,   /* an exact number of elements */
    QN_FAULT_ALL,     /* every selected element */
    QN_FAULT_FRAME,   /* adjacent bits of a frame, across its fields and codes */
} qn_fault_pattern;

typedef enum qn_fault_array_part { QN_FAULT_PE, QN_FAULT_ARRAY_ROW, QN_FAULT_ARRAY_COLUMN } qn_fault_array_part;
/*  weight stationary: rows are terms of the sums, columns output channels, both modulo the array's size (tiles follow each other);
 *  output stationary: rows are places of the output map in order, columns output channels */
typedef struct qn_fault_array {
    int rows, columns;
    bool output_stationary;
    qn_fault_array_part part;
} qn_fault_array;

/* X(name, value, text): by what strata are told apart; a bit set of 1 << value. */
#define QN_FAULT_STRATUM_LIST(X)                                                                                       \
    X(QN_FAULT_BY_WHERE, 0, "where")                                                                                   \
    X(QN_FAULT_BY_LAYER, 1, "layer")                                                                                   \
    X(QN_FAULT_BY_BIT, 2, "bit")                                                                                       \
    X(QN_FAULT_BY_CHANNEL, 3, "channel")
typedef enum qn_fault_by {
#define QN_FAULT_STRATUM_ENUM(name, value, text) name = value,
    QN_FAULT_STRATUM_LIST(QN_FAULT_STRATUM_ENUM)
#undef QN_FAULT_STRATUM_ENUM
} qn_fault_by;

typedef enum qn_fault_sampling {
    QN_FAULT_EXHAUSTIVE,
    QN_FAULT_N,      /* n of every stratum (one stratum: n in all) */
    QN_FAULT_MARGIN, /* Leveugle's number for margin and confidence, of every stratum */
    QN_FAULT_UNTIL, /* until every stratum's interval of the SDC-1 rate is no wider than +- margin; at most n, where given */
} qn_fault_sampling;
/*  by          strata: bit set of qn_fault_by; 0: one stratum per fault set
 *  margin      half width, as a fraction; confidence: 0.99; p: the rate assumed (0.5 is the worst case) */
typedef struct qn_fault_sample {
    qn_fault_sampling how;
    int64_t n;
    double margin, confidence, p;
    unsigned by;
} qn_fault_sample;

/* One fault set.
 *  n_bits, burst   flip, stuck: bits of the code struck at once, drawn at random or adjacent
 *  turns           flip, stuck, of patterns that strike several codes: the bit of each code in its turn, over and over
 *  value           of set-value, a real;  lo, hi: of uniform noise and values;  mean, std: of normal ones
 *  suppress_invalid   codes that come out as NaN or infinities become that of 0
 *  count, rate     of their patterns;  rate is per bit (one that flips changes its code only in that bit)
 *  word_bits       of its pattern, packed densely; n_bits adjacent bits of it
 *  per_item        faults of patterns rate and count are drawn anew for each image (one image per fault)
 *  lifetime        inferences a fault is present in: 1 transient, 0 permanent (every image), or n. Of transient ones the image
 *                  is drawn. -1: the default, transient for activations, inputs, sums and products, else permanent
 *  line            in the file, 0 none: for messages */
typedef struct qn_fault_set {
    const char *name;
    qn_fault_selector select;
    qn_fault_model model;
    int n_bits;
    bool burst;
    const uint8_t *turns;
    int n_turns;
    double value, lo, hi, mean, std;
    bool suppress_invalid;
    qn_fault_pattern pattern;
    qn_fault_array array;
    int64_t count;
    double rate;
    int word_bits;
    bool per_item;
    int64_t lifetime;
    qn_fault_sample sample;
    int line;
} qn_fault_set;

/* A link that the network is cut by: what crosses behind `after` travels in frames (link_path.h).
 *  choice    as qn_link_choice_parse reads it; NULL: codes, of the float engine fp32
 *  line      in the file, 0 none: for messages */
typedef struct qn_fault_link {
    const char *after, *choice;
    bool unchecked;
    int line;
} qn_fault_link;

typedef enum qn_prove { QN_PROVE_NONE, QN_PROVE_MARGIN, QN_PROVE_MARGIN_EVERYWHERE } qn_prove;

/*  model_sha256   "" or the model this was written for
 *  rmse_threshold of outputs that are no classes: a greater RMSE counts as SDC-1; 0: outputs are classes
 *  verify         share of pairs to run again by brute force
 *  links          all in place at once, also in fault-free runs; with them, faults are in what travels alone
 *  prove          pairs whose outcome a bound on the change of the outputs settles are not run to their end: where that is less
 *                 work, or wherever there is a bound */
typedef struct qn_fault_spec {
    qn_arena arena;
    const char *where; /* file, or "options" */
    char model_sha256[65];
    uint64_t seed;
    bool has_seed;
    double rmse_threshold, verify;
    qn_prove prove;
    qn_fault_link *links;
    int n_links;
    qn_fault_set *sets;
    int n_sets;
} qn_fault_spec;

/* From a file. Errors: QN_EIO; QN_EFORMAT with line and key; QN_EINVAL. Released by qn_fault_spec_free, also after an error. */
qn_status qn_fault_spec_read(qn_fault_spec *spec, const char *path, qn_error *err);
/* A spec without fault sets. */
void qn_fault_spec_init(qn_fault_spec *spec);
void qn_fault_spec_free(qn_fault_spec *spec);
/* The text that reads as the same spec: canonical, for stores and their comparison. In the spec's arena. */
qn_status qn_fault_spec_text(qn_fault_spec *spec, const char **text, qn_error *err);
qn_status qn_fault_spec_parse(qn_fault_spec *spec, const char *text, const char *where, qn_error *err);
/* Add a fault set from options, whose keys are those of files. Lists are separated by commas, except that names (layers, values,
 * ops) are given by one option each. `label` is how messages call the option: "--layers".
 * Errors: QN_EINVAL with label and what is legal; the specification stays as it was. */
typedef struct qn_fault_option {
    const char *key, *label, *text;
} qn_fault_option;
qn_status qn_fault_spec_add_options(qn_fault_spec *spec, const qn_fault_option *options, size_t n, qn_error *err);
/* Add links from options: one behind each of `after`, all alike; NULL for choice and checksum ("on" or "off"): the defaults.
 * Errors: QN_EINVAL with what is legal. */
qn_status qn_fault_spec_add_links(qn_fault_spec *spec, const char *const *after, int n, const char *choice,
                                  const char *checksum, qn_error *err);
/* How a link's tensors travel in an engine, as qn_link_choice_parse reads it. */
const char *qn_fault_link_choice(const qn_fault_link *link, qn_engine engine);
/* Parts that the command line has, too. `arena` owns what is made. Errors: QN_EINVAL with what is legal. */
qn_status qn_fault_sample_parse(qn_fault_sample *sample, const char *text, qn_error *err);
qn_status qn_fault_ranges_parse(qn_fault_ranges *ranges, qn_arena *arena, const char *text, qn_error *err);
/* Numbers, whole texts only: shares are fractions or percents ("1%", "0.01"); counts may be written as 1e6. */
bool qn_spec_real(double *value, const char *text);
bool qn_spec_share(double *value, const char *text);
bool qn_spec_count(int64_t *value, const char *text, int64_t least);
/* "margin", "margin-everywhere" or "none". */
bool qn_spec_prove(qn_prove *prove, const char *text);
const char *qn_spec_prove_text(qn_prove prove);

#endif
