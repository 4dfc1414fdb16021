/* The target `c`: integer inference in C99, written down.
 *
 * plan.c says where each tensor lies, arrays.c which constants there are, layer.c how a layer is described and called;
 * model.c (the writer of model.h and model.c), vectors.c and write.c put files together. runtime/ holds the fixed
 * files. check.c reads the constants back. doc/spec/export.md, section c, is the order and packing of everything. */
#ifndef QN_EXPORT_C_PARTS_H
#define QN_EXPORT_C_PARTS_H

#include "export/target.h"

/* Where a tensor is while the network runs. */
typedef enum qn_c_where {
    QN_C_NOWHERE,  /* never used */
    QN_C_INPUT,    /* member number `io` of model_in_t */
    QN_C_OUTPUT,   /* of model_out_t */
    QN_C_BUFFER,   /* byte `offset` of the activations */
    QN_C_CONSTANT, /* an array */
} qn_c_where;
typedef struct qn_c_place {
    qn_c_where where;
    int io;
    int64_t offset;
} qn_c_place;

/* What an array holds. */
typedef enum qn_c_role {
    QN_C_WEIGHTS,
    QN_C_ZERO_W,
    QN_C_BIAS,
    QN_C_MULTIPLIER,
    QN_C_SHIFT,
    QN_C_RATIO, /* floats, as their bits */
    QN_C_SOFT,  /* floats m * 2^e as m, e */
    QN_C_TABLE,
    QN_C_INDEX,
    QN_C_SHARE, /* of Softmax */
    QN_C_PART,
    QN_C_GAIN, /* of normalizations; their biases are QN_C_OFFSET */
    QN_C_OFFSET,
    QN_C_LEFT, /* rows at which the factors of products start */
    QN_C_RIGHT,
    QN_C_CODES, /* a constant tensor */
} qn_c_role;
/*  owner   a layer; of QN_C_CODES a tensor
 *  type    of an element in C, n_bytes long; count elements
 *  cmsis   multipliers and shifts in CMSIS-NN's terms (cmsis.h) */
typedef struct qn_c_array {
    qn_c_role role;
    int owner;
    bool cmsis;
    char name[80];
    const char *type;
    int n_bytes;
    int64_t count;
} qn_c_array;

/*  places   per tensor that is its own base
 *  peak, bound  bytes of activations, and how few no plan can do without
 *  constant_bytes  of all arrays
 *  cmsis_nn  layers are calls of CMSIS-NN where they can be (cmsis.h) */
typedef struct qn_c_plan {
    const qn_export_network *network;
    bool cmsis_nn;
    qn_c_place *places;
    int64_t peak, bound;
    qn_c_array *arrays;
    int n_arrays;
    int64_t constant_bytes;
} qn_c_plan;

qn_status qn_c_plan_make(qn_c_plan *plan, const qn_export_network *network, bool cmsis_nn, qn_error *err);
void qn_c_plan_free(qn_c_plan *plan);
/* The place of a tensor, by its base. */
const qn_c_place *qn_c_place_of(const qn_c_plan *plan, int tensor);
/* The tensor holds sums, s32, as its layer has them: a float result in the model. */
bool qn_c_is_sums(const qn_export_network *network, int tensor);

/* Layers as the runtime takes them. */
/* Sums and averages that are defined in float: computed in integers where requantization is no float. */
bool qn_c_is_soft(const qn_export_network *network);
bool qn_c_is_depthwise(const qn_export_conv *conv);
/* A matrix times rows of codes: a kernel of one pixel, or as large as the map; not where sums saturate. */
bool qn_c_is_matrix(const qn_export_network *network, const qn_export_layer *layer);
/* Signed 8-bit weights without zero points. */
bool qn_c_is_plain(const qn_export_conv *conv);

/* The arrays of a network, in the order of model.c; memory of the caller, released with qn_free. cmsis_nn: the network
 * that says which layers call CMSIS-NN, the same or the one without a fault; NULL: none does. */
qn_status qn_c_arrays_list(qn_c_array **arrays, int *n, const qn_export_network *network,
                           const qn_export_network *cmsis_nn, qn_error *err);
/* The array of that owner and role, or NULL: left out, as all of it is 0, or a multiplier 1. */
const qn_c_array *qn_c_array_find(const qn_c_plan *plan, int owner, qn_c_role role);
/* Its count elements. */
void qn_c_array_values(const qn_export_network *network, const qn_c_array *array, int64_t *values);
/* Where weight number i of the network's order is in the array's. */
int64_t qn_c_weight_place(const qn_export_conv *conv, int64_t i);
/* "static const int8_t NAME[n] = {...};" behind its marker. */
qn_status qn_c_array_print(qn_export_text *text, const qn_export_network *network, const qn_c_array *array,
                           qn_error *err);

/* Text of a model's name that a comment of C may hold, in quotes. */
void qn_c_print_name(qn_export_text *text, const char *name);
/* A float as a literal of C, "0.5f". */
void qn_c_print_float(qn_export_text *text, float x);
/* "int8 [32 x 32 x 16], scale 0.02, zero point 3" */
void qn_c_print_tensor(qn_export_text *text, const qn_export_network *network, int tensor);
/* An address of a tensor's bytes, `more` beyond its start. */
void qn_c_print_place(qn_export_text *text, const qn_c_plan *plan, int tensor, int64_t more);

/* What a layer does, as a comment. */
void qn_c_print_comment(qn_export_text *text, const qn_c_plan *plan, int layer);
/* Its structure of the runtime: the type (NULL: a layer that needs none), and ".ID = {...},", a member of `layers`;
 * and the call in model_run. */
const char *qn_c_layer_type(const qn_c_plan *plan, int layer);
void qn_c_print_layer(qn_export_text *text, const qn_c_plan *plan, int layer);
void qn_c_print_call(qn_export_text *text, const qn_c_plan *plan, int layer);

void qn_c_print_header(qn_export_text *text, const qn_c_plan *plan);
qn_status qn_c_print_model(qn_export_text *text, const qn_c_plan *plan, qn_error *err);
/* vectors.h, vectors.c, and the bytes of all vectors. */
qn_status qn_c_write_vectors(qn_export_job *job, const qn_c_plan *plan, qn_error *err);

#endif
