/* Shapes of the layers: convolution, pooling, normalization, matrix products, softmax. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/recurrent.h"

qn_status qn_infer_window(const qn_infer *c, qn_dtype dtype)
{
    qn_volume w;
    QN_TRY(qn_volume_of_node(&w, c->binding, c->node, c->err));
    int rank = qn_infer_input(c, 0)->rank;
    int64_t dims[5] = {w.n, w.c_out};
    for (int i = 2; i < rank; i++) {
        dims[i] = w.out[5 - rank + i - 2];
    }
    QN_TRY(qn_infer_set(c, 1, QN_DTYPE_S64, rank, dims)); /* MaxPool's indices */
    return qn_infer_set(c, 0, dtype, rank, dims);
}

qn_status qn_infer_conv(const qn_infer *c)
{
    for (int i = 0; i < 3; i++) {
        QN_TRY(qn_infer_want_float(c, i));
    }
    return qn_infer_window(c, QN_DTYPE_F32);
}

qn_status qn_infer_pool(const qn_infer *c)
{
    const bool any = c->node->op == QN_OP_MAX_POOL && qn_infer_input(c, 0)->dtype != QN_DTYPE_BOOL;
    const int64_t p = qn_node_int(c->node, "p", 2);
    QN_TRY(any ? QN_OK : qn_infer_want_float(c, 0));
    if (p < 1) {
        return qn_infer_fail(c, QN_EFORMAT, "attribute p", "%lld, expected at least 1", (long long)p);
    }
    return qn_infer_window(c, qn_infer_input(c, 0)->dtype);
}

/* Inference only. Before opset 14 training is asked for by listing more outputs, afterwards by an attribute. */
qn_status qn_infer_batch_normalization(const qn_infer *c)
{
    static const char *const names[] = {"X", "scale", "B", "mean", "var"};
    const qn_bound_value *x = qn_infer_input(c, 0);
    for (int i = 0; i < 5; i++) {
        QN_TRY(qn_infer_want_float(c, i));
    }
    if (qn_node_int(c->node, "training_mode", 0) != 0) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute training_mode",
                             "the node normalizes by its batch; export the network for inference");
    }
    if (qn_node_int(c->node, "spatial", 1) != 1) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, "attribute spatial", "only 1 is supported");
    }
    for (int i = 1; i < 5; i++) {
        QN_TRY(qn_infer_refuse_output(c, i, "a statistic of training"));
    }
    if (x->rank < 2) {
        return qn_infer_fail(c, QN_ESHAPE, "input 0", "%d dimensions, expected at least 2", x->rank);
    }
    for (int i = 1; i < 5; i++) {
        const qn_bound_value *parameter = qn_infer_input(c, i);
        if (parameter->rank != 1 || parameter->dims[0] != x->dims[1]) {
            char text[QN_DIMS_TEXT_MAX];
            return qn_infer_fail(c, QN_ESHAPE, names[i], "shape %s, expected %lld elements",
                                 qn_dims_text(text, parameter->rank, parameter->dims), (long long)x->dims[1]);
        }
    }
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims);
}

qn_status qn_infer_gemm(const qn_infer *c)
{
    qn_gemm gemm;
    QN_TRY(qn_infer_want_one_type(c));
    QN_TRY(qn_gemm_of_node(&gemm, c->binding, c->node, c->err));
    return qn_infer_set(c, 0, qn_infer_input(c, 0)->dtype, 2, (int64_t[]){gemm.m, gemm.n});
}

static qn_status fail_product(const qn_infer *c)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1);
    char a_text[QN_DIMS_TEXT_MAX], b_text[QN_DIMS_TEXT_MAX];
    return qn_infer_fail(c, QN_ESHAPE, NULL, "matrices of shape %s and %s cannot be multiplied",
                         qn_dims_text(a_text, a->rank, a->dims), qn_dims_text(b_text, b->rank, b->dims));
}

/* Vectors are matrices of one row (left) or one column (right), which the result then drops. */
qn_status qn_infer_product(const qn_infer *c, qn_dtype dtype)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1);
    if (a->rank == 0 || b->rank == 0) {
        return fail_product(c);
    }
    int64_t k_a = a->dims[a->rank - 1];
    int64_t k_b = b->rank == 1 ? b->dims[0] : b->dims[b->rank - 2];
    int rank, a_batch = a->rank > 2 ? a->rank - 2 : 0, b_batch = b->rank > 2 ? b->rank - 2 : 0;
    int64_t dims[QN_MAX_RANK + 2];
    if (k_a != k_b || !qn_broadcast_dims(&rank, dims, a_batch, a->dims, b_batch, b->dims)) {
        return fail_product(c);
    }
    if (a->rank > 1) {
        dims[rank++] = a->dims[a->rank - 2];
    }
    if (b->rank > 1) {
        dims[rank++] = b->dims[b->rank - 1];
    }
    return qn_infer_set(c, 0, dtype, rank, dims);
}

qn_status qn_infer_matmul(const qn_infer *c)
{
    QN_TRY(qn_infer_want_one_type(c));
    return qn_infer_product(c, qn_infer_input(c, 0)->dtype);
}

qn_status qn_infer_softmax(const qn_infer *c)
{
    qn_softmax softmax;
    QN_TRY(qn_infer_want_float(c, 0));
    QN_TRY(qn_softmax_of_node(&softmax, c->binding, c->node, c->err));
    const qn_bound_value *x = qn_infer_input(c, 0);
    return qn_infer_set(c, 0, QN_DTYPE_F32, x->rank, x->dims);
}

/* The bias of a Gemm is stretched to m x n, never the other way round. */
static bool stretches_to(const qn_bound_value *bias, int64_t m, int64_t n)
{
    int64_t columns = bias->rank >= 1 ? bias->dims[bias->rank - 1] : 1;
    int64_t rows = bias->rank >= 2 ? bias->dims[0] : 1;
    return bias->rank <= 2 && (columns == n || columns == 1) && (rows == m || rows == 1);
}

static qn_status gemm_of_gemm(qn_gemm *gemm, const qn_infer *c)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1), *bias = qn_infer_input(c, 2);
    gemm->trans_a = qn_node_int(c->node, "transA", 0) != 0;
    gemm->trans_b = qn_node_int(c->node, "transB", 0) != 0;
    gemm->alpha = qn_node_float(c->node, "alpha", 1.0F);
    gemm->beta = qn_node_float(c->node, "beta", 1.0F);
    if (!isfinite(gemm->alpha) || !isfinite(gemm->beta)) {
        return qn_infer_fail(c, QN_ERANGE, "attributes alpha and beta", "not finite");
    }
    if (a->rank != 2 || b->rank != 2 || a->dims[!gemm->trans_a] != b->dims[gemm->trans_b]) {
        return fail_product(c);
    }
    gemm->m = a->dims[gemm->trans_a];
    gemm->k = a->dims[!gemm->trans_a];
    gemm->n = b->dims[!gemm->trans_b];
    if (bias != NULL && !stretches_to(bias, gemm->m, gemm->n)) {
        char text[QN_DIMS_TEXT_MAX];
        return qn_infer_fail(c, QN_ESHAPE, "input 2", "bias of shape %s does not broadcast to %lldx%lld",
                             qn_dims_text(text, bias->rank, bias->dims), (long long)gemm->m, (long long)gemm->n);
    }
    return QN_OK;
}

static qn_status gemm_of_matmul(qn_gemm *gemm, const qn_infer *c)
{
    const qn_bound_value *a = qn_infer_input(c, 0), *b = qn_infer_input(c, 1);
    if (b->rank != 2 || a->rank < 1) {
        return qn_infer_fail(c, QN_EUNSUPPORTED, NULL, "the right factor has %d dimensions, expected a matrix",
                             b->rank);
    }
    if (a->dims[a->rank - 1] != b->dims[0]) {
        return fail_product(c);
    }
    gemm->alpha = gemm->beta = 1.0F;
    gemm->k = b->dims[0];
    gemm->n = b->dims[1];
    gemm->m = 1; /* a count of elements is bounded, so is this product */
    for (int i = 0; i < a->rank - 1; i++) {
        gemm->m *= a->dims[i];
    }
    return QN_OK;
}

qn_status qn_gemm_of_node(qn_gemm *gemm, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_infer c = {binding, node, err};
    *gemm = (qn_gemm){0};
    return node->op == QN_OP_GEMM ? gemm_of_gemm(gemm, &c) : gemm_of_matmul(gemm, &c);
}

static int64_t product_or_max(const int64_t *factors, int n)
{
    int64_t product = 1;
    for (int i = 0; i < n; i++) {
        if (__builtin_mul_overflow(product, factors[i], &product)) {
            return INT64_MAX;
        }
    }
    return product;
}

int64_t qn_node_macs(const qn_binding *binding, const qn_node *node)
{
    qn_infer c = {binding, node, NULL};
    qn_volume w;
    qn_gemm gemm;
    if ((node->op == QN_OP_CONV || node->op == QN_OP_CONV_INTEGER) &&
        qn_volume_of_node(&w, binding, node, NULL) == QN_OK) {
        return product_or_max((int64_t[]){w.n, w.c_out, w.out[0], w.out[1], w.out[2], w.c_in / w.group, w.kernel[0],
                                          w.kernel[1], w.kernel[2]},
                              9);
    }
    qn_recurrent r;
    const bool recurs = node->op == QN_OP_LSTM || node->op == QN_OP_GRU || node->op == QN_OP_RNN;
    if (recurs && qn_recurrent_of_node(&r, binding, node, NULL) == QN_OK) {
        return product_or_max((int64_t[]){r.steps, r.batch, r.directions, r.gates, r.hidden, r.inputs + r.hidden}, 6);
    }
    qn_transposed t;
    if (node->op == QN_OP_CONV_TRANSPOSE && qn_transposed_of_node(&t, binding, node, NULL) == QN_OK) {
        return product_or_max((int64_t[]){t.n, t.c_in, t.in[0], t.in[1], t.in[2], t.c_out / t.group, t.kernel[0],
                                          t.kernel[1], t.kernel[2]},
                              9);
    }
    if (node->op == QN_OP_GEMM && qn_gemm_of_node(&gemm, binding, node, NULL) == QN_OK) {
        return product_or_max((int64_t[]){gemm.m, gemm.n, gemm.k}, 3);
    }
    if ((node->op == QN_OP_MATMUL || node->op == QN_OP_MATMUL_INTEGER) && qn_infer_output(&c, 0) != NULL) {
        const qn_bound_value *a = qn_infer_input(&c, 0);
        return product_or_max((int64_t[]){qn_infer_output(&c, 0)->n_elems, a->dims[a->rank - 1]}, 2);
    }
    return 0;
}
