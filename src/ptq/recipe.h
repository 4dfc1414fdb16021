/* Recipes: lists of passes with options, and the formats they start from. Inside the ptq room.
 *
 * A recipe is YAML, the library's own (recipes.inc) as much as a user's file:
 *
 *   recipe: NAME              about: one line
 *   weights: int8             activations, bias: names of formats; per: channel; ranges: static
 *   profile: ort              or requantize, rounding, sums, accumulator, overflow
 *   sets: ['Gemm:per=tensor'] settings for some nodes
 *   passes: [fold-batchnorm, choose-ranges rule=mse, ...]
 *
 * A pass is a row of pass_table.c. Everything in a recipe is checked when it is read. */
#ifndef QN_PTQ_RECIPE_H
#define QN_PTQ_RECIPE_H

#include "ptq/settings.h"

typedef enum qn_ptq_option_kind {
    QN_PTQ_CHOICE, /* one of `choices`, separated by | */
    QN_PTQ_NUMBER, /* lo..hi */
    QN_PTQ_RULE,   /* a range rule (quern/fit.h) */
    QN_PTQ_TEXT,
} qn_ptq_option_kind;

typedef struct qn_ptq_pass_option {
    const char *name;
    const char *fallback;
    qn_ptq_option_kind kind;
    const char *choices;
    double lo, hi;
} qn_ptq_pass_option;

/* When a pass runs. */
enum {
    QN_PTQ_FORM = 1,          /* needs no ranges: these alone decide whether a network can be quantized */
    QN_PTQ_NEEDS_RANGES = 2,  /* ptq->calibration is of the graph as it is */
    QN_PTQ_NEEDS_DATA = 4,    /* left out, with a remark, when there is none */
    QN_PTQ_REQUIRES_DATA = 8, /* refused when there is none: nothing would be left of the recipe */
    QN_PTQ_ROUNDS = 16,       /* left out where nothing is to be rounded */
    QN_PTQ_CLEANS = 64,       /* of any float network: at the head of a recipe, ranges are taken behind these */
    QN_PTQ_ALONE = 32,        /* chooses all formats itself: settings of any kind are refused */
};

enum { QN_PTQ_MAX_OPTIONS = 8, QN_PTQ_MAX_STEPS = 64 };
typedef struct qn_ptq_pass {
    const char *name, *summary;
    qn_ptq_pass_fn run;
    unsigned flags;
    qn_ptq_pass_option options[QN_PTQ_MAX_OPTIONS + 1]; /* ends with a row without name */
} qn_ptq_pass;
extern const qn_ptq_pass qn_ptq_passes[];
extern const size_t qn_ptq_n_passes;
const qn_ptq_pass *qn_ptq_find_pass(const char *name); /* NULL when there is none */

typedef struct qn_ptq_step {
    const qn_ptq_pass *pass;
    const char *values[QN_PTQ_MAX_OPTIONS]; /* of pass->options */
} qn_ptq_step;

typedef struct qn_ptq_recipe {
    qn_arena arena;
    const char *where; /* the file, or the name of a built-in recipe */
    const char *name, *about;
    const char *weights, *activations, *bias, *per, *ranges;
    qn_arithmetic arithmetic;
    const char *profile; /* "" when it is none of the named ones */
    qn_ptq_set *sets;
    size_t n_sets;
    qn_ptq_step steps[QN_PTQ_MAX_STEPS];
    size_t n_steps;
} qn_ptq_recipe;

/* Read a recipe by its name or file, with options: see qn_quantize_options. Released by qn_ptq_recipe_free, also after an
 * error. Errors: QN_EINVAL with the choices; QN_EIO; QN_EFORMAT with the line. */
qn_status qn_ptq_recipe_read(qn_ptq_recipe *recipe, const char *name, qn_error *err);
void qn_ptq_recipe_free(qn_ptq_recipe *recipe);

#endif
