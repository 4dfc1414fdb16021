/* What formats the user and the recipe want, for each node. Inside the ptq room.
 *
 * Settings are made once per quantization and never change. A node's formats are the base ones with the sets applied whose
 * glob matches the node's name or operator type, in order. */
#ifndef QN_PTQ_SETTINGS_H
#define QN_PTQ_SETTINGS_H

#include "ptq/ptq.h"

typedef enum qn_ptq_per { QN_PTQ_PER_CHANNEL, QN_PTQ_PER_TENSOR, QN_PTQ_PER_GROUP } qn_ptq_per;

/*  *_float  no quantizer: stays as it is
 *  group    weights that share parameters along the axis of input channels, for QN_PTQ_PER_GROUP */
typedef struct qn_ptq_formats {
    qn_format weights, activations, bias;
    bool weights_float, activations_float, bias_float;
    bool keep_float; /* the whole node */
    bool keep_codes; /* computes on codes even where what it reads is not coded for another's sake */
    qn_ptq_per per;
    int64_t group;
} qn_ptq_formats;

typedef struct qn_ptq_set {
    const char *glob;
    const char *settings;
} qn_ptq_set;

struct qn_ptq_settings {
    qn_ptq_formats base;
    qn_ptq_set *sets; /* a settings text each, checked */
    size_t n_sets;
    bool dynamic;
    bool no_rounding;
    qn_arithmetic arithmetic;
};

/* Change `formats` by "weights=int4,per=tensor,...". Keys: weights, activations, bias (names of formats, or "float"), per
 * (channel, tensor, group:N), keep (float; or codes, the contrary). Errors: QN_EINVAL with the choices; `formats` may then be half changed. */
qn_status qn_ptq_formats_apply(qn_ptq_formats *formats, const char *settings, const char *where, qn_error *err);
/* The formats of a node; of a graph input when `node` is NULL and `name` is the value's. */
qn_ptq_formats qn_ptq_formats_of(const qn_ptq_settings *settings, const qn_node *node, const char *name);
/* Refuse what contradicts itself, and the first glob that matches no node of the graph, or none that the settings concern.
 * Errors: QN_EINVAL. */
qn_status qn_ptq_settings_check(const qn_ptq_settings *settings, const qn_graph *graph, qn_error *err);

/* Integers that are symmetric around zero become unsigned for values that are never negative, which doubles their
 * resolution, and signed for others. Other formats stay as they are. */
qn_format qn_ptq_fit_sign(qn_format format, bool nonnegative);
/* Does the integer engine work on codes of this format? */
bool qn_ptq_is_integer_code(qn_format format);
/* The signed integers of 2 to 8 bits that weights of this format are coded as for the integer engine, and how many scales one of
 * them counts; false for formats whose values are no such integers times a scale.
 *  rounds  integers to nearest even, which passes may move. Others are somebody's definition of the codes, which no pass
 *          changes */
bool qn_ptq_weight_integers(qn_format *codes, float *unit, bool *rounds, qn_format format);
/* Will the node compute on codes: has it an integer form, are its inputs coded, does nobody want it in float? For each node
 * of a bound graph, and whether each value is to carry a quantizer. Both arrays are in the scratch arena. */
typedef struct qn_ptq_plan {
    bool *on_codes; /* per node */
    bool *coded;    /* per value, constants excepted */
} qn_ptq_plan;
qn_status qn_ptq_make_plan(qn_ptq *ptq, const qn_binding *binding, qn_ptq_plan *plan, qn_error *err);

#endif
