/* Shapes of operators that work element by element. */
#include <string.h>

#include "graph/infer.h"

static bool is_number(qn_dtype dtype)
{
    return dtype != QN_DTYPE_BOOL && dtype != QN_DTYPE_NONE;
}

static qn_status want_number(const qn_infer *c, int i)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    if (x == NULL || is_number(x->dtype)) {
        return QN_OK;
    }
    return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is %s, expected numbers", i, qn_dtype_text(x->dtype));
}

static qn_status want_type(const qn_infer *c, int i, qn_dtype dtype)
{
    const qn_bound_value *x = qn_infer_input(c, i);
    if (x->dtype == dtype) {
        return QN_OK;
    }
    return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is %s, expected %s", i, qn_dtype_text(x->dtype),
                         qn_dtype_text(dtype));
}

/* The joined shape of all inputs. */
static qn_status set_broadcast(const qn_infer *c, qn_dtype dtype)
{
    const qn_bound_value *first = qn_infer_input(c, 0);
    int rank = first->rank;
    int64_t dims[QN_MAX_RANK];
    memcpy(dims, first->dims, sizeof dims);
    for (int i = 1; i < c->node->n_inputs; i++) {
        const qn_bound_value *x = qn_infer_input(c, i);
        const int rank_before = rank;
        if (!qn_broadcast_dims(&rank, dims, rank_before, dims, x->rank, x->dims)) {
            char a_text[QN_DIMS_TEXT_MAX], b_text[QN_DIMS_TEXT_MAX];
            return qn_infer_fail(c, QN_ESHAPE, NULL, "shapes %s and %s do not broadcast",
                                 qn_dims_text(a_text, rank_before, dims), qn_dims_text(b_text, x->rank, x->dims));
        }
    }
    return qn_infer_set(c, 0, dtype, rank, dims);
}

static qn_status want_one_type(const qn_infer *c, int first)
{
    const qn_bound_value *a = qn_infer_input(c, first);
    for (int i = first + 1; i < c->node->n_inputs; i++) {
        const qn_bound_value *b = qn_infer_input(c, i);
        if (b != NULL && a->dtype != b->dtype) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "inputs of different types, %s and %s", qn_dtype_text(a->dtype),
                                 qn_dtype_text(b->dtype));
        }
    }
    return QN_OK;
}

qn_status qn_infer_want_one_type(const qn_infer *c)
{
    QN_TRY(want_one_type(c, 0));
    return want_number(c, 0);
}

/* Add, Sub, Mul, Div; Min, Max, Sum and Mean of any number of inputs. */
qn_status qn_infer_broadcast(const qn_infer *c)
{
    QN_TRY(want_one_type(c, 0));
    QN_TRY(want_number(c, 0));
    return set_broadcast(c, qn_infer_input(c, 0)->dtype);
}

qn_status qn_infer_mean(const qn_infer *c)
{
    QN_TRY(qn_infer_want_float(c, 0));
    return qn_infer_broadcast(c);
}

/* Base and exponent may be of different types. */
qn_status qn_infer_pow(const qn_infer *c)
{
    QN_TRY(want_number(c, 0));
    QN_TRY(want_number(c, 1));
    return set_broadcast(c, qn_infer_input(c, 0)->dtype);
}

qn_status qn_infer_comparison(const qn_infer *c)
{
    QN_TRY(want_one_type(c, 0));
    if (c->node->op != QN_OP_EQUAL) {
        QN_TRY(want_number(c, 0));
    }
    return set_broadcast(c, QN_DTYPE_BOOL);
}

/* BitwiseAnd and its kin; BitShift, which is of unsigned integers. */
qn_status qn_infer_bits(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const char *direction = qn_node_string(c->node, "direction", "");
    const bool is_shift = c->node->op == QN_OP_BIT_SHIFT;
    QN_TRY(want_one_type(c, 0));
    if (x->dtype == QN_DTYPE_F32 || !is_number(x->dtype)) {
        return qn_infer_fail(c, QN_EFORMAT, "input 0", "is %s, expected integers", qn_dtype_text(x->dtype));
    }
    if (is_shift && strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute direction", "'%s' is neither LEFT nor RIGHT", direction);
    }
    return set_broadcast(c, x->dtype);
}

qn_status qn_infer_mod(const qn_infer *c)
{
    if (qn_infer_input(c, 0)->dtype == QN_DTYPE_F32 && qn_node_int(c->node, "fmod", 0) == 0) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute fmod", "is 0, but the inputs are floats, which want 1");
    }
    return qn_infer_broadcast(c);
}

/* IsNaN, IsInf */
qn_status qn_infer_is_special(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    QN_TRY(qn_infer_want_float(c, 0));
    return qn_infer_set(c, 0, QN_DTYPE_BOOL, x->rank, x->dims);
}

qn_status qn_infer_logic(const qn_infer *c)
{
    for (int i = 0; i < c->node->n_inputs; i++) {
        QN_TRY(want_type(c, i, QN_DTYPE_BOOL));
    }
    return set_broadcast(c, QN_DTYPE_BOOL);
}

qn_status qn_infer_where(const qn_infer *c)
{
    QN_TRY(want_type(c, 0, QN_DTYPE_BOOL));
    QN_TRY(want_one_type(c, 1));
    return set_broadcast(c, qn_infer_input(c, 1)->dtype);
}

/* The slope is stretched to the input, never the other way round. */
qn_status qn_infer_prelu(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0), *slope = qn_infer_input(c, 1);
    int rank;
    int64_t dims[QN_MAX_RANK];
    QN_TRY(want_number(c, 0));
    QN_TRY(want_one_type(c, 0));
    if (!qn_broadcast_dims(&rank, dims, x->rank, x->dims, slope->rank, slope->dims) || rank != x->rank ||
        (rank > 0 && memcmp(dims, x->dims, (size_t)rank * sizeof *dims) != 0)) {
        char a[QN_DIMS_TEXT_MAX], b[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "a slope of shape %s does not broadcast to %s",
                             qn_dims_text(a, slope->rank, slope->dims), qn_dims_text(b, x->rank, x->dims));
    }
    return qn_infer_same(c);
}

qn_status qn_infer_number_unary(const qn_infer *c)
{
    QN_TRY(want_number(c, 0));
    return qn_infer_same(c);
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

qn_status qn_infer_gelu(const qn_infer *c)
{
    const char *approximate = qn_node_string(c->node, "approximate", "none");
    if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute approximate", "'%s' is neither none nor tanh", approximate);
    }
    return qn_infer_float_unary(c);
}

qn_status qn_infer_clip(const qn_infer *c)
{
    qn_clip clip;
    QN_TRY(want_number(c, 0));
    QN_TRY(want_one_type(c, 0));
    QN_TRY(qn_clip_of_node(&clip, c->binding, c->node, c->err));
    return qn_infer_same(c);
}

/* torch exports a functional dropout of share 0 as one in training. */
static bool drops_nothing(const qn_bound_value *ratio)
{
    return ratio != NULL && ratio->known != NULL && ratio->dtype == QN_DTYPE_F32 && ratio->n_elems == 1 &&
           *(const float *)ratio->known->data == 0;
}

/* The identity at inference, and with ratio 0. Training is asked for by the third input (opset 12). */
qn_status qn_infer_dropout(const qn_infer *c)
{
    const qn_bound_value *training = qn_infer_input(c, 2);
    if (training != NULL && !drops_nothing(qn_infer_input(c, 1)) &&
        (training->known == NULL || training->dtype != QN_DTYPE_BOOL || training->n_elems != 1 ||
         *(const unsigned char *)training->known->data != 0)) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "training_mode",
                             "the node drops values; export the network for inference");
    }
    const qn_bound_value *x = qn_infer_input(c, 0);
    QN_TRY(qn_infer_set(c, 1, c->binding->graph->opset < 10 ? x->dtype : QN_DTYPE_BOOL, x->rank, x->dims));
    return qn_infer_same(c);
}

/* TensorProto.DataType to ours; the rest are strings, complex numbers and types of fewer bits. */
static const qn_dtype cast_types[] = {
    [1] = QN_DTYPE_F32,  [2] = QN_DTYPE_U8,   [3] = QN_DTYPE_S8,    [4] = QN_DTYPE_U16,  [5] = QN_DTYPE_S16,
    [6] = QN_DTYPE_S32,  [7] = QN_DTYPE_S64,  [9] = QN_DTYPE_BOOL,  [10] = QN_DTYPE_F16, [11] = QN_DTYPE_F64,
    [12] = QN_DTYPE_U32, [13] = QN_DTYPE_U64, [16] = QN_DTYPE_BF16,
};

qn_dtype qn_infer_type(const qn_node *node, const char *attribute, qn_dtype fallback)
{
    if (qn_node_attribute(node, attribute) == NULL) {
        return fallback;
    }
    const int64_t type = qn_node_int(node, attribute, 0);
    const bool inside = type > 0 && type < (int64_t)(sizeof cast_types / sizeof cast_types[0]);
    return inside ? cast_types[type] : QN_DTYPE_NONE;
}

qn_status qn_infer_cast(const qn_infer *c)
{
    const qn_dtype to = qn_infer_type(c->node, "to", QN_DTYPE_NONE);
    if (to == QN_DTYPE_NONE) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute to", "type %lld is not supported",
                             (long long)qn_node_int(c->node, "to", 0));
    }
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, to, x->rank, x->dims);
}

qn_dtype qn_like_type(const qn_binding *binding, const qn_node *node)
{
    const qn_value *like = &binding->graph->values[node->inputs[1]];
    const qn_dtype bound = binding->values[node->inputs[1]].dtype;
    const qn_dtype said = like->constant != NULL ? like->constant->dtype : like->dtype;
    return qn_computed_dtype(said) == bound ? said : bound; /* float16 is bound as float32 */
}

qn_status qn_infer_cast_like(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, qn_infer_input(c, 1)->dtype, x->rank, x->dims);
}
