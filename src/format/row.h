/* Inside of the format room: what one format is, as the registry sees it.
 *
 * Each format is one file that defines one qn_format_row, named in QN_FORMAT_LIST (quern/format.h). The row's functions
 * are the definition of the format: scalar, exact, the same on every CPU. Faster kernels (kernel.h) are tested against
 * them. Rows are constant and own nothing; all functions are reentrant and total: no code, parameter or real makes
 * them fail, once qn_format_check has passed the format. */
#ifndef QN_FORMAT_ROW_H
#define QN_FORMAT_ROW_H

#include "base/error.h"
#include "quern/codes.h"
#include "quern/format.h"

/* A name taken apart: "head<arg,arg>:word:word". */
enum { QN_TEXT_ARGS = 6, QN_TEXT_WORDS = 4, QN_TEXT_PART = 24 };
typedef struct qn_format_text {
    const char *where; /* for messages: "format 'adaptivfloat<8,9>'" */
    char head[QN_TEXT_PART];
    char args[QN_TEXT_ARGS][QN_TEXT_PART];
    char words[QN_TEXT_WORDS][QN_TEXT_PART];
    int n_args, n_words;
} qn_format_text;

/* An integer field of a format with its legal range, which may depend on the fields before it. */
typedef struct qn_bound {
    const char *what; /* "exponent bits e" */
    size_t offset;    /* of the int in qn_format */
    int lo, hi;
} qn_bound;
enum { QN_BOUNDS_MAX = 5, QN_BLOCK_MAX = 65536 };
#define QN_BOUND(what, field, lo, hi) ((qn_bound){what, offsetof(qn_format, field), lo, hi})

/* A run: elements that share parameters. */
typedef struct qn_run {
    const qn_format *format;
    qn_params params;
    uint64_t seed;  /* stochastic rounding: element k of the tensor draws number k of this stream */
    int64_t first;  /* index in the tensor of the run's first element ... */
    int64_t stride; /* ... and from each to the next */
    /* For kernels only: with block > 0, params.exp_bias of elements [k*block, (k+1)*block) is exp_bias[k]. */
    int64_t block;
    const int32_t *exp_bias;
} qn_run;

struct qn_values; /* values.h */

typedef struct qn_format_row {
    qn_format_description about;
    const char *const *heads; /* names before '<', NULL at the end; the first is the canonical one */
    int args_min, args_max;   /* number of arguments */
    bool digits;              /* "int8" is "int<8>" */
    unsigned roundings;       /* bit set of qn_rounding that may follow a colon */
    unsigned fits;            /* bit set of qn_fit_kind that may follow a colon */
    unsigned parameters;      /* bit set of QN_PARAM_* */

    /* Set the fields that the head (its index in heads) and the arguments name; ranges are checked later. */
    qn_status (*parse)(qn_format *f, int head, const qn_format_text *text, qn_error *err);
    /* Act on a word after a colon that is this format's own; false when it is not. May be NULL. */
    bool (*word)(qn_format *f, const char *word);
    /* Set the fields that follow from others, and what a fit implies. Twice is the same as once. May be NULL. */
    void (*derive)(qn_format *f);
    /* The integer fields and their ranges. Returns their number. */
    int (*bounds)(const qn_format *f, qn_bound bounds[QN_BOUNDS_MAX]);
    /* What bounds cannot say: NULL, or what is wrong in a sentence without a period. May be NULL. */
    const char *(*refuse)(const qn_format *f);
    /* Write the name without rounding and fit, which the registry appends when f's differ from `implied` (what parsing
     * the written name would give). */
    void (*print)(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied);

    int (*fields)(qn_field fields[QN_FIELDS_MAX], const qn_format *f, uint32_t code);
    /* The definition: see qn_format_code and qn_format_value. NaN is the format's NaN
     * if it has one, else 0 (int: the lowest code, as ONNX Runtime has it). */
    uint32_t (*encode)(const qn_format *f, const qn_params *p, double x, uint32_t random);
    double (*decode)(const qn_format *f, const qn_params *p, uint32_t code);
    /* For formats whose f32 arithmetic differs from doing the same in f64, or that have a fast portable loop: n
     * elements at once. NULL: encode (decode) of each. */
    void (*encode_run)(uint32_t *codes, const float *x, int64_t n, const qn_run *run);
    void (*decode_run)(float *y, const uint32_t *codes, int64_t n, const qn_run *run);

    /* Where values are integers times the scale, and the scale is all there is outside the codes: the least signed int
     * that holds them, and how many scales one of them counts (1; 1/2 where a peer counts halves). NULL or false: they
     * are not. */
    bool (*integers)(qn_format *as, float *unit, const qn_format *f);

    /* Is this the code that encode gives for its own value? (Not: NaN, second zeros, codes beyond a narrow range.) */
    bool (*canonical)(const qn_format *f, uint32_t code);
    /* A key by which canonical codes are in ascending order of value. */
    int64_t (*order)(const qn_format *f, uint32_t code);
    void (*limits)(qn_format_limits *limits, const qn_format *f, const qn_params *p);

    /* Parameters for values in [lo, hi], finite, lo <= hi. NULL: the format has none. */
    void (*from_range)(qn_params *p, const qn_format *f, double lo, double hi);
    /* It looks only at floor(log2) of the greatest magnitude, or that there is none, and gives an exp_bias alone. */
    bool by_exponent;
    /* The same for a range that was measured in a tensor, where a peer computes that in another way than a range it is
     * told. NULL: from_range. */
    void (*from_measured)(qn_params *p, const qn_format *f, double lo, double hi);
    /* Parameters for these n > 0 finite values, where the range is not enough for the format's fit; false: it is. May
     * be NULL. `x` may be reordered. */
    bool (*from_values)(qn_params *p, const qn_format *f, double *x, int64_t n);
    /* Parameters of all sets of a tensor of this rank at once, where they depend on one another; false: they do not. May
     * be NULL. */
    bool (*from_tensor)(qn_quantizer *q, int rank, const struct qn_values *values);
} qn_format_row;

/* The row of a format; `kind` must be one of the list. */
const qn_format_row *qn_format_row_of(qn_format_kind kind);

/* qn_format_row.integers of a format; false for those that have none. */
bool qn_format_integers(qn_format *as, float *unit, qn_format format);
/* The least signed int format that holds integers from lo to hi, lo <= 0 <= hi; for `integers` of rows. */
qn_format qn_format_holding(int32_t lo, int32_t hi);

/* Parse argument `index`; QN_EINVAL when it is not an integer. `what` as in qn_bound. */
qn_status qn_format_text_int(int *value, const qn_format_text *text, int index, const char *what, qn_error *err);
/* Find `word` among n names; QN_EINVAL lists them and says which is nearest. `what` is the kind of word. */
qn_status qn_format_text_word(int *index, const char *word, const char *const *names, int n, const char *what,
                              const char *where, qn_error *err);

/* Parameters for a clipping range, by the format's fit. An all-zero range gives what decodes to zeros. */
void qn_format_params_from_range(qn_format format, double lo, double hi, qn_params *params);
/* Neutral parameters: scale and multiplier 1, the rest 0. */
qn_params qn_format_params_neutral(void);

/* The 32 random bits of the run's element i, 0 unless the format rounds stochastically. */
uint32_t qn_run_draw(const qn_run *run, int64_t i);

/* Encode and decode runs by the definition. Codes are bit patterns, high bits 0. */
void qn_run_encode(uint32_t *codes, const float *x, int64_t n, const qn_run *run);
void qn_run_encode_f64(uint32_t *codes, const double *x, int64_t n, const qn_run *run);
void qn_run_decode(float *y, const uint32_t *codes, int64_t n, const qn_run *run);

#endif
