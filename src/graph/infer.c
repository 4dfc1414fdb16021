/* What all inference functions share: access to the node's values, checks, messages. */
#include "graph/infer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "graph/compute/compute.h"

static const qn_bound_value *bound(const qn_infer *c, const qn_value_id *ids, int n, int i)
{
    return i < n && ids[i] != QN_NO_VALUE ? &c->binding->values[ids[i]] : NULL;
}

const qn_bound_value *qn_infer_input(const qn_infer *c, int i)
{
    return bound(c, c->node->inputs, c->node->n_inputs, i);
}

const qn_bound_value *qn_infer_output(const qn_infer *c, int i)
{
    return bound(c, c->node->outputs, c->node->n_outputs, i);
}

bool qn_infer_output_used(const qn_infer *c, int i)
{
    return qn_infer_output(c, i) != NULL && c->binding->used[c->node->outputs[i]];
}

qn_status qn_infer_fail(const qn_infer *c, qn_status status, const char *what, const char *format, ...)
{
    char node[QN_NODE_WHERE_MAX], where[QN_ERROR_WHERE_MAX], message[512];
    qn_node_where(node, c->binding->graph, c->node);
    snprintf(where, sizeof where, "%s%s%s", node, what != NULL ? ", " : "", what != NULL ? what : "");
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return qn_fail(c->err, status, where, "%s", message);
}

qn_dtype qn_computed_dtype(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F64 || dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16 ? QN_DTYPE_F32 : dtype;
}

qn_status qn_infer_set(const qn_infer *c, int i, qn_dtype dtype, int rank, const int64_t *dims)
{
    if (qn_infer_output(c, i) == NULL) {
        return QN_OK;
    }
    if (rank > QN_MAX_RANK) {
        return qn_infer_fail(c, QN_ELIMIT, NULL, "output %d has %d dimensions, the limit is %d", i, rank, QN_MAX_RANK);
    }
    int64_t n_elems;
    if (!qn_count_elems(rank, dims, &n_elems)) {
        char text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ELIMIT, NULL, "output %d of shape %s is beyond 2^31 elements", i,
                             qn_dims_text(text, rank, dims));
    }
    qn_bound_value *value = &c->binding->values[c->node->outputs[i]];
    *value = (qn_bound_value){.dtype = qn_computed_dtype(dtype), .rank = rank, .n_elems = n_elems};
    if (rank > 0) {
        memcpy(value->dims, dims, (size_t)rank * sizeof *dims);
    }
    return QN_OK;
}

qn_status qn_infer_want_float(const qn_infer *c, int i)
{
    const qn_bound_value *input = qn_infer_input(c, i);
    if (input == NULL || input->dtype == QN_DTYPE_F32) {
        return QN_OK;
    }
    return qn_infer_fail(c, QN_EUNSUPPORTED, NULL, "input %d is %s; this operator is supported for float32 only", i,
                         qn_dtype_text(input->dtype));
}

qn_status qn_infer_refuse_output(const qn_infer *c, int i, const char *meaning)
{
    if (!qn_infer_output_used(c, i)) {
        return QN_OK;
    }
    return qn_infer_fail(c, QN_EUNSUPPORTED, NULL, "output %d (%s) is read by the network, which is not supported", i,
                         meaning);
}

qn_status qn_infer_axis(const qn_infer *c, const char *what, int64_t given, int rank, int *axis)
{
    if (given < -rank || given >= rank) {
        return qn_infer_fail(c, QN_EFORMAT, what, "%lld is outside the %d dimensions of the input", (long long)given,
                             rank);
    }
    *axis = (int)(given < 0 ? given + rank : given);
    return QN_OK;
}

int64_t qn_known_int(const qn_tensor *t, int64_t i)
{
    return t->dtype == QN_DTYPE_S32 ? ((const int32_t *)t->data)[i] : ((const int64_t *)t->data)[i];
}

static qn_status list_of_input(const qn_infer *c, int input, const qn_bound_value *value, qn_int_list *list)
{
    if (value->known == NULL) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL,
                             "input %d is computed while the network runs; it must be constant", input);
    }
    if (value->dtype != QN_DTYPE_S64 && value->dtype != QN_DTYPE_S32) {
        return qn_infer_fail(c, QN_EFORMAT, NULL, "input %d is %s, expected int64", input, qn_dtype_text(value->dtype));
    }
    if (value->rank > 1 || value->n_elems > QN_MAX_LIST) {
        return qn_infer_fail(c, QN_EFORMAT, NULL,
                             "input %d has rank %d and %lld elements, expected a list of at most %d", input,
                             value->rank, (long long)value->n_elems, QN_MAX_LIST);
    }
    list->n = (int)value->n_elems;
    for (int i = 0; i < list->n; i++) {
        list->v[i] = qn_known_int(value->known, i);
    }
    return QN_OK;
}

qn_status qn_infer_list(const qn_infer *c, const char *attribute, int input, qn_int_list *list)
{
    *list = (qn_int_list){0};
    const qn_attribute *found = attribute != NULL ? qn_node_attribute(c->node, attribute) : NULL;
    const qn_bound_value *value = input >= 0 ? qn_infer_input(c, input) : NULL;
    list->present = found != NULL || value != NULL;
    if (found != NULL && value != NULL) {
        return qn_infer_fail(c, QN_EFORMAT, NULL, "%s is given as an attribute and as input %d", attribute, input);
    }
    if (value != NULL) {
        return list_of_input(c, input, value, list);
    }
    if (found == NULL) {
        return QN_OK;
    }
    if (found->n > QN_MAX_LIST) {
        return qn_infer_fail(c, QN_EFORMAT, attribute, "%lld elements, expected at most %d", (long long)found->n,
                             QN_MAX_LIST);
    }
    list->n = (int)found->n;
    for (int i = 0; i < list->n; i++) {
        list->v[i] = found->ints[i];
    }
    return QN_OK;
}

qn_status qn_infer_scalar(const qn_infer *c, int input, double *value)
{
    const qn_bound_value *in = qn_infer_input(c, input);
    if (in == NULL) {
        return QN_OK;
    }
    if (in->known == NULL) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL,
                             "input %d is computed while the network runs; it must be constant", input);
    }
    if (in->n_elems != 1) {
        return qn_infer_fail(c, QN_ESHAPE, NULL, "input %d has %lld elements, expected one", input,
                             (long long)in->n_elems);
    }
    qn_convert_elements(QN_DTYPE_F64, value, in->dtype, in->known->data, 1);
    return QN_OK;
}

const char *qn_dims_text(char buffer[QN_DIMS_TEXT_MAX], int rank, const int64_t *dims)
{
    if (rank == 0) {
        memcpy(buffer, "scalar", sizeof "scalar");
    }
    size_t used = 0;
    for (int i = 0; i < rank && i < QN_MAX_RANK; i++) {
        used +=
            (size_t)snprintf(buffer + used, QN_DIMS_TEXT_MAX - used, "%s%lld", i > 0 ? "x" : "", (long long)dims[i]);
    }
    return buffer;
}

int64_t qn_dims_product(const int64_t *dims, int first, int end)
{
    int64_t product = 1;
    for (int i = first; i < end; i++) {
        if (__builtin_mul_overflow(product, dims[i], &product)) {
            return INT64_MAX;
        }
    }
    return product;
}

bool qn_count_elems(int rank, const int64_t *dims, int64_t *n_elems)
{
    *n_elems = 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || dims[i] > QN_MAX_ELEMS) {
            return false;
        }
        *n_elems *= dims[i]; /* at most 2^62 */
        if (*n_elems > QN_MAX_ELEMS) {
            return false;
        }
    }
    return true;
}

void qn_shape_range(const qn_infer *c, int64_t *first, int64_t *n)
{
    int64_t rank = qn_infer_input(c, 0)->rank;
    int64_t start = qn_node_int(c->node, "start", 0), end = qn_node_int(c->node, "end", rank);
    start = qn_clamp_s64(start < 0 ? start + rank : start, 0, rank);
    end = qn_clamp_s64(end < 0 ? end + rank : end, 0, rank);
    *first = start;
    *n = end > start ? end - start : 0;
}

bool qn_broadcast_dims(int *rank, int64_t dims[QN_MAX_RANK], int a_rank, const int64_t *a, int b_rank, const int64_t *b)
{
    int joined = a_rank > b_rank ? a_rank : b_rank;
    int64_t result[QN_MAX_RANK];
    for (int i = 0; i < joined; i++) {
        int64_t x = i < joined - a_rank ? 1 : a[i - (joined - a_rank)];
        int64_t y = i < joined - b_rank ? 1 : b[i - (joined - b_rank)];
        if (x != y && x != 1 && y != 1) {
            return false;
        }
        result[i] = x == 1 ? y : x;
    }
    memcpy(dims, result, (size_t)joined * sizeof *dims);
    *rank = joined;
    return true;
}
