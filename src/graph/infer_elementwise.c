/* Shapes of operators that work element by element. */
#include "graph/infer.h"

static bool is_number(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F32 || dtype == QN_DTYPE_S32 || dtype == QN_DTYPE_S64;
}

/* Add, Sub, Mul, Div: float32 at run time, integers in shape arithmetic. */
qn_status qn_infer_broadcast(const qn_infer *c)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1);
    if (a->dtype != b->dtype) {
        return qn_infer_fail(c, QN_EFORMAT, NULL, "inputs of different types, %s and %s", qn_dtype_text(a->dtype),
                             qn_dtype_text(b->dtype));
    }
    if (!is_number(a->dtype)) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL, "inputs are %s; float32, int32 and int64 are supported",
                             qn_dtype_text(a->dtype));
    }
    int rank;
    int64_t dims[QN_MAX_RANK];
    if (!qn_broadcast_dims(&rank, dims, a->rank, a->dims, b->rank, b->dims)) {
        char a_text[QN_DIMS_TEXT_MAX], b_text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, NULL, "shapes %s and %s do not broadcast",
                             qn_dims_text(a_text, a->rank, a->dims), qn_dims_text(b_text, b->rank, b->dims));
    }
    return qn_infer_set(c, 0, a->dtype, rank, dims);
}

qn_status qn_infer_pow(const qn_infer *c)
{
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(qn_infer_want_float(c, 1));
    return qn_infer_broadcast(c);
}

qn_status qn_infer_same(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, x->dtype, x->rank, x->dims);
}

qn_status qn_infer_float_unary(const qn_infer *c)
{
    QN_TRY(qn_infer_want_float(c, 0));
    return qn_infer_same(c);
}

qn_status qn_infer_clip(const qn_infer *c)
{
    qn_clip clip;
    for (int i = 0; i < 3; i++) {
        QN_TRY(qn_infer_want_float(c, i));
    }
    QN_TRY(qn_clip_of_node(&clip, c->binding, c->node, c->err));
    return qn_infer_same(c);
}

/* The identity at inference. Training is asked for by the third input (opset 12). */
qn_status qn_infer_dropout(const qn_infer *c)
{
    const qn_bound_value *training = qn_infer_input(c, 2);
    if (training != NULL && (training->known == NULL || training->dtype != QN_DTYPE_BOOL || training->n_elems != 1 ||
                             *(const unsigned char *)training->known->data != 0)) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "training_mode",
                             "the node drops values; export the network for inference");
    }
    QN_TRY(qn_infer_refuse_output(c, 1, "mask"));
    return qn_infer_same(c);
}

/* TensorProto.DataType to ours; the rest are strings, complex numbers and types of fewer bits. */
static const qn_dtype cast_types[] = {
    [1] = QN_DTYPE_F32,  [2] = QN_DTYPE_U8,   [3] = QN_DTYPE_S8,    [4] = QN_DTYPE_U16,  [5] = QN_DTYPE_S16,
    [6] = QN_DTYPE_S32,  [7] = QN_DTYPE_S64,  [9] = QN_DTYPE_BOOL,  [10] = QN_DTYPE_F16, [11] = QN_DTYPE_F64,
    [12] = QN_DTYPE_U32, [13] = QN_DTYPE_U64, [16] = QN_DTYPE_BF16,
};

qn_status qn_infer_cast(const qn_infer *c)
{
    int64_t to = qn_node_int(c->node, "to", 0);
    bool inside = to > 0 && to < (int64_t)(sizeof cast_types / sizeof cast_types[0]);
    if (!inside || cast_types[to] == QN_DTYPE_NONE) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute to", "type %lld is not supported", (long long)to);
    }
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, cast_types[to], x->rank, x->dims);
}
