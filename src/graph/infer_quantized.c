/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, products of codes: shapes, types, where parameters lie. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/qdq_opset.h"
#include "tensor/tensor_proto.h"

enum { TYPE_UINT8 = 2, TYPE_INT32 = 6, FIRST_FLOAT8 = 17, LAST_FLOAT8 = 20 };

static bool is_float8(int32_t type)
{
    return type >= FIRST_FLOAT8 && type <= LAST_FLOAT8;
}

/* The ONNX type of the codes that input i has, of a constant as the file has it; 0 when it is absent. */
static int32_t type_of_input(const qn_infer *c, int i)
{
    const qn_bound_value *v = qn_infer_input(c, i);
    const int32_t stored = v != NULL ? c->binding->graph->values[c->node->inputs[i]].stored_type : 0;
    return v == NULL ? 0 : stored != 0 ? stored : qn_dtype_to_onnx(v->dtype);
}

/* The type in which values of a type of codes are: float8 by value, int4 in a byte each. */
static qn_dtype dtype_of_type(int32_t type)
{
    qn_format format;
    if (!qn_qdq_format(&format, type)) {
        return QN_DTYPE_NONE;
    }
    return is_float8(type) ? QN_DTYPE_F32 : qn_format_dtype(format);
}

static qn_status check_scale(const qn_infer *c, const qn_bound_value *scale)
{
    QN_TRY(qn_infer_want_float(c, 1));
    for (int64_t i = 0; scale->known != NULL && i < scale->n_elems; i++) {
        const float s = ((const float *)scale->known->data)[i];
        if (!(s > 0) || !isfinite(s)) {
            return qn_infer_fail(c, QN_EFORMAT, "input 1", "scale %lld is %g, expected a finite number above 0",
                                 (long long)i, (double)s);
        }
    }
    return QN_OK;
}

static qn_status check_zero_point(const qn_infer *c, qn_linear *l, const qn_bound_value *scale)
{
    const qn_bound_value *zero = qn_infer_input(c, 2);
    char text[QN_DIMS_TEXT_MAX];
    if (zero == NULL) {
        return QN_OK;
    }
    if (zero->n_elems != scale->n_elems) {
        return qn_infer_fail(c, QN_ESHAPE, "input 2", "zero points of shape %s for %lld scales",
                             qn_dims_text(text, zero->rank, zero->dims), (long long)scale->n_elems);
    }
    if (!is_float8(l->type)) {
        return QN_OK;
    }
    if (zero->known == NULL) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "input 2", "zero points of float8 codes must be constant 0");
    }
    const unsigned char *bytes = zero->known->data;
    for (size_t i = 0; i < (size_t)zero->n_elems * qn_dtype_size(zero->dtype); i++) {
        if (bytes[i] != 0) {
            return qn_infer_fail(c, QN_EUNSUPPORTED, "input 2", "zero points of float8 codes must be 0");
        }
    }
    return QN_OK;
}

/* One set for each block of elements along the axis, for every place of the other axes. */
static qn_status set_blocks(const qn_infer *c, qn_linear *l, const qn_bound_value *scale, int axis, int64_t block)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    char text[QN_DIMS_TEXT_MAX];
    int64_t wanted[QN_MAX_RANK];
    memcpy(wanted, x->dims, sizeof wanted);
    wanted[axis] = block > 0 ? x->dims[axis] / block + (x->dims[axis] % block != 0) : 0;
    if (block < 1 || scale->rank != x->rank || memcmp(wanted, scale->dims, (size_t)x->rank * sizeof *wanted) != 0) {
        char wanted_text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 1", "scales of shape %s, but blocks of %lld along axis %d need %s",
                             qn_dims_text(text, scale->rank, scale->dims), (long long)block, axis,
                             block < 1 ? "a size above 0" : qn_dims_text(wanted_text, x->rank, wanted));
    }
    l->block = block;
    l->by_outer = wanted[axis] * l->inner;
    l->by_block = l->inner;
    l->by_inner = 1;
    return QN_OK;
}

static qn_status find_sets(const qn_infer *c, qn_linear *l, const qn_bound_value *scale)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    const int64_t block = qn_node_int(c->node, "block_size", 0);
    char text[QN_DIMS_TEXT_MAX];
    int axis;
    *l = (qn_linear){.type = l->type, .codes = l->codes, .outer = 1, .n = 1, .inner = x->n_elems, .block = 1};
    if (scale->n_elems == 1 && scale->rank <= 1 && block == 0) {
        return QN_OK;
    }
    QN_TRY(qn_infer_axis(c, "attribute axis", qn_node_int(c->node, "axis", 1), x->rank, &axis));
    l->outer = qn_dims_product(x->dims, 0, axis);
    l->n = x->dims[axis];
    l->inner = qn_dims_product(x->dims, axis + 1, x->rank);
    if (block != 0) {
        return set_blocks(c, l, scale, axis, block);
    }
    if (scale->rank != 1 || scale->n_elems != l->n) {
        return qn_infer_fail(c, QN_ESHAPE, "input 1",
                             "scales of shape %s; expected one, or one for each of the %lld indices of axis %d",
                             qn_dims_text(text, scale->rank, scale->dims), (long long)l->n, axis);
    }
    l->by_block = 1;
    return QN_OK;
}

qn_status qn_linear_of_node(qn_linear *linear, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    const qn_infer c = {binding, node, err};
    const qn_bound_value *scale = qn_infer_input(&c, 1);
    const bool encodes = node->op == QN_OP_QUANTIZE_LINEAR;
    const int32_t named = (int32_t)(encodes ? qn_node_int(node, "output_dtype", 0) : 0), zero = type_of_input(&c, 2);
    const bool by_value = !encodes && qn_infer_input(&c, 0)->dtype == QN_DTYPE_F32; /* float8 that was computed */
    linear->type = by_value    ? (is_float8(zero) ? zero : FIRST_FLOAT8)
                   : !encodes  ? type_of_input(&c, 0)
                   : named > 0 ? named
                   : zero != 0 ? zero
                               : TYPE_UINT8;
    linear->codes = dtype_of_type(linear->type);
    if (linear->codes == QN_DTYPE_NONE || (encodes && linear->type == TYPE_INT32)) {
        return qn_infer_fail(&c, QN_EUNSUPPORTED, NULL,
                             "codes of type %d (%s); known are int4, int8, int16, their "
                             "unsigned forms, float8, and int32 for DequantizeLinear",
                             linear->type, qn_onnx_type_name(linear->type));
    }
    if (zero != 0 && !by_value && dtype_of_type(zero) != linear->codes) {
        return qn_infer_fail(&c, QN_EFORMAT, "input 2", "a zero point of type %s for codes of type %s",
                             qn_onnx_type_name(zero), qn_onnx_type_name(linear->type));
    }
    QN_TRY(check_scale(&c, scale));
    QN_TRY(check_zero_point(&c, linear, scale));
    return find_sets(&c, linear, scale);
}

qn_status qn_infer_quantize(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_linear l;
    if (x->dtype == QN_DTYPE_S32) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "input 0", "int32; cast it to float32 first");
    }
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(qn_linear_of_node(&l, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, l.codes, x->rank, x->dims);
}

qn_status qn_infer_dequantize(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    qn_linear l;
    QN_TRY(qn_linear_of_node(&l, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims);
}

qn_status qn_infer_dynamic_quantize(const qn_infer *c)
{
    const qn_bound_value *x = qn_infer_input(c, 0);
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(qn_infer_set(c, 0, QN_DTYPE_U8, x->rank, x->dims));
    QN_TRY(qn_infer_set(c, 1, QN_DTYPE_F32, 0, NULL));
    return qn_infer_set(c, 2, QN_DTYPE_U8, 0, NULL);
}

/* The factors are 8-bit codes, and their zero points of the same types. */
static qn_status check_factors(const qn_infer *c)
{
    for (int i = 0; i < 4; i++) {
        const qn_bound_value *v = qn_infer_input(c, i);
        const qn_bound_value *factor = qn_infer_input(c, i % 2);
        if (v != NULL && v->dtype != QN_DTYPE_U8 && v->dtype != QN_DTYPE_S8) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is %s, expected int8 or uint8", i,
                                 qn_dtype_text(v->dtype));
        }
        if (v != NULL && v->dtype != factor->dtype) {
            return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d, a zero point, is %s, but the codes are %s", i,
                                 qn_dtype_text(v->dtype), qn_dtype_text(factor->dtype));
        }
    }
    return QN_OK;
}

static qn_status fail_zero_points(const qn_infer *c, int i, const char *expected)
{
    const qn_bound_value *zero = qn_infer_input(c, i);
    char text[QN_DIMS_TEXT_MAX];
    return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d: zero points of shape %s, expected %s", i,
                         qn_dims_text(text, zero->rank, zero->dims), expected);
}

/* Zero points of a matrix: one; or one for each row (column), as a list or with the other axis of one element. */
static bool fits_matrix(const qn_bound_value *zero, const qn_bound_value *matrix, bool rows)
{
    const int rank = matrix->rank;
    bool fits = zero->rank == rank && rank >= 2;
    for (int i = 0; fits && i < rank; i++) {
        const bool other = i == (rows ? rank - 1 : rank - 2);
        fits = zero->dims[i] == (other ? 1 : matrix->dims[i]);
    }
    return zero->n_elems == 1 || fits ||
           (zero->rank == 1 && rank >= 2 && zero->dims[0] == matrix->dims[rows ? rank - 2 : rank - 1]);
}

qn_status qn_infer_matmul_integer(const qn_infer *c)
{
    const qn_bound_value *a_zero = qn_infer_input(c, 2), *b_zero = qn_infer_input(c, 3);
    QN_TRY(check_factors(c));
    if (a_zero != NULL && !fits_matrix(a_zero, qn_infer_input(c, 0), true)) {
        return fail_zero_points(c, 2, "one, or one for each row");
    }
    if (b_zero != NULL && !fits_matrix(b_zero, qn_infer_input(c, 1), false)) {
        return fail_zero_points(c, 3, "one, or one for each column");
    }
    return qn_infer_product(c, QN_DTYPE_S32);
}

qn_status qn_infer_conv_integer(const qn_infer *c)
{
    const qn_bound_value *x_zero = qn_infer_input(c, 2), *w_zero = qn_infer_input(c, 3);
    QN_TRY(check_factors(c));
    if (x_zero != NULL && x_zero->n_elems != 1) {
        return fail_zero_points(c, 2, "one");
    }
    if (w_zero != NULL && w_zero->n_elems != 1 &&
        (w_zero->rank != 1 || w_zero->dims[0] != qn_infer_input(c, 1)->dims[0])) {
        return fail_zero_points(c, 3, "one, or one for each output channel");
    }
    return qn_infer_window(c, QN_DTYPE_S32);
}
