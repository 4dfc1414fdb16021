/* Gemm and MatMul: oneDNN matrix products. Constant right sides are packed as oneDNN likes, before any run. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

/* One product; the shapes of the operands agree with their tensors. `bias` may be absent.
 *  scale  of the product, before the bias */
typedef struct {
    qn_float_id a, b, bias;
    dnnl_memory_desc_t a_md, b_md, bias_md;
    int rank; /* of the product, at least 2 */
    int64_t dims[QN_MAX_RANK];
    float scale;
    qn_float_clamp clamp;
} product;

static dnnl_status_t describe(const qn_float_builder *b, const product *p, const dnnl_memory_desc_t *b_md,
                              dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd)
{
    dnnl_memory_desc_t output_md = qn_float_md_plain(p->rank, p->dims);
    dnnl_matmul_desc_t desc;
    dnnl_status_t status =
        dnnl_matmul_desc_init(&desc, &p->a_md, b_md, p->bias == QN_FLOAT_NONE ? NULL : &p->bias_md, &output_md);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &desc, attr, b->code->engine, NULL);
}

/* The tensor seen through `md`, which must cover the same memory: a transposed or reshaped operand. */
static qn_status see_as(qn_float_builder *b, qn_float_id id, const dnnl_memory_desc_t *md, qn_float_id *seen,
                        qn_error *err)
{
    QN_TRY(qn_float_view(b, id, md->ndims, md->dims, seen, err));
    qn_float_tensor *tensor = qn_float_at(b, *seen);
    tensor->md = *md;
    tensor->layout = qn_float_classify(md, &tensor->block);
    return QN_OK;
}

static qn_status add_step(qn_float_builder *b, const product *p, const_dnnl_primitive_desc_t pd, qn_float_id *output,
                          qn_error *err)
{
    qn_float_id left, right, bias = QN_FLOAT_NONE;
    QN_TRY(see_as(b, p->a, &p->a_md, &left, err));
    QN_TRY(see_as(b, p->b, &p->b_md, &right, err));
    QN_TRY(qn_float_reorder(b, right, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &right, err));
    if (p->bias != QN_FLOAT_NONE) {
        QN_TRY(see_as(b, p->bias, &p->bias_md, &bias, err));
    }
    QN_TRY(qn_float_new(b, QN_DTYPE_F32, p->rank, p->dims, output, err));
    const int kinds[] = {DNNL_ARG_DST, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS};
    const qn_float_id args[] = {*output, left, right, bias};
    return qn_float_add_primitive(b, pd, bias == QN_FLOAT_NONE ? 3 : 4, kinds, args, err);
}

static qn_status add_product(qn_float_builder *b, const product *p, qn_float_id *output, qn_error *err)
{
    dnnl_primitive_attr_t attr;
    QN_TRY(qn_float_attr(b, &attr, p->clamp, err));
    dnnl_status_t status = p->scale == 1 ? dnnl_success : dnnl_primitive_attr_set_output_scales(attr, 1, 0, &p->scale);
    dnnl_primitive_desc_t pd = NULL;
    if (status == dnnl_success) {
        bool pack = qn_float_is_constant(b, p->b) && p->rank == 2;
        dnnl_memory_desc_t any_md = qn_float_md_any(p->b_md.ndims, p->b_md.dims);
        status = describe(b, p, pack ? &any_md : &p->b_md, attr, &pd);
    }
    (void)dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) {
        return qn_float_fail_dnnl(b, err, status, "matrix product");
    }
    qn_status made = add_step(b, p, pd, output, err);
    (void)dnnl_primitive_desc_destroy(pd);
    return made;
}

/* Products over an empty sum are 0. */
static void fill_zero(const void *params, void *const *args)
{
    memset(args[0], 0, (size_t) * (const int64_t *)params * sizeof(float));
}

static qn_status add_zero(qn_float_builder *b, int rank, const int64_t *dims, qn_float_id *output, qn_error *err)
{
    QN_TRY(qn_float_new(b, QN_DTYPE_F32, rank, dims, output, err));
    int64_t n = qn_float_at(b, *output)->n_elems;
    return n == 0 ? QN_OK : qn_float_add_kernel(b, fill_zero, &n, sizeof n, *output, 0, output, err);
}

static dnnl_memory_desc_t matrix_md(int64_t rows, int64_t columns, bool transposed)
{
    dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : columns, transposed ? rows : 1};
    dnnl_memory_desc_t md;
    memset(&md, 0, sizeof md);
    (void)dnnl_memory_desc_init_by_strides(&md, 2, dims, dnnl_f32, strides);
    return md;
}

/* y = x * factor, for the beta of Gemm. */
static qn_status scaled(qn_float_builder *b, qn_float_id x, float factor, qn_float_id *y, qn_error *err)
{
    *y = x;
    if (factor == 1) {
        return QN_OK;
    }
    float *data = qn_float_memory(b, 1, sizeof *data, err);
    if (data == NULL) {
        return QN_ENOMEM;
    }
    *data = factor;
    qn_float_id constant;
    QN_TRY(qn_float_new_constant(b, QN_DTYPE_F32, 1, (const int64_t[]){1}, data, &constant, err));
    const qn_float_tensor *tensor = qn_float_at(b, x);
    int64_t dims[QN_MAX_RANK];
    int rank = tensor->rank;
    memcpy(dims, tensor->dims, sizeof dims);
    return qn_float_add_binary(b, QN_FLOAT_MUL, x, constant, rank, dims, y, err);
}

/* Is C one row for all, which oneDNN adds as its bias? */
static bool is_row(const qn_float_tensor *c, int64_t n)
{
    return c->n_elems == n && c->rank >= 1 && c->dims[c->rank - 1] == n;
}

static qn_status add_clamp(qn_float_builder *b, qn_float_id x, qn_float_clamp clamp, qn_float_id *y, qn_error *err)
{
    *y = x;
    return qn_float_clamps(clamp) ? qn_float_add_clamp(b, x, clamp, y, err) : QN_OK;
}

qn_status qn_float_lower_gemm(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_gemm gemm;
    QN_TRY(qn_gemm_of_node(&gemm, b->binding, node, err));
    product p = {.bias = QN_FLOAT_NONE, .rank = 2, .dims = {gemm.m, gemm.n}, .scale = gemm.alpha};
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &p.a, err));
    QN_TRY(qn_float_read_plain(b, node->inputs[1], &p.b, err));
    p.a_md = matrix_md(gemm.m, gemm.k, gemm.trans_a);
    p.b_md = matrix_md(gemm.k, gemm.n, gemm.trans_b);
    qn_float_id c = QN_FLOAT_NONE, output;
    if (qn_float_has_input(node, 2) && gemm.beta != 0) {
        QN_TRY(qn_float_read_plain(b, node->inputs[2], &c, err));
        QN_TRY(scaled(b, c, gemm.beta, &c, err));
    }
    qn_float_clamp clamp;
    qn_value_id result;
    QN_TRY(qn_float_fuse_clamp(b, node, &result, &clamp, err));
    bool empty = gemm.m == 0 || gemm.n == 0 || gemm.k == 0;
    if (!empty && c != QN_FLOAT_NONE && gemm.alpha == 1 && is_row(qn_float_at(b, c), gemm.n)) {
        p.bias = c; /* oneDNN scales the sum of product and bias, so only where there is no scale */
        p.bias_md = matrix_md(1, gemm.n, false);
        c = QN_FLOAT_NONE;
    }
    p.clamp = c == QN_FLOAT_NONE ? clamp : (qn_float_clamp){-INFINITY, INFINITY};
    QN_TRY(empty ? add_zero(b, p.rank, p.dims, &output, err) : add_product(b, &p, &output, err));
    if (c != QN_FLOAT_NONE || empty) {
        if (c != QN_FLOAT_NONE) {
            QN_TRY(qn_float_add_binary(b, QN_FLOAT_ADD, output, c, p.rank, p.dims, &output, err));
        }
        QN_TRY(add_clamp(b, output, clamp, &output, err));
    }
    return qn_float_define(b, result, output, err);
}

/* numpy's matmul: rank 1 operands become a row or a column, leading dimensions broadcast. */
typedef struct {
    int rank; /* at least 2, of both sides after extension */
    int64_t a[QN_MAX_RANK], b[QN_MAX_RANK], output[QN_MAX_RANK];
} matmul_shape;

static void extend(int64_t *dims, int to_rank, const qn_float_tensor *tensor, bool column)
{
    int64_t own[QN_MAX_RANK] = {0};
    int rank = tensor->rank;
    memcpy(own, tensor->dims, sizeof own);
    if (rank == 1) {
        own[column ? 1 : 0] = 1;
        own[column ? 0 : 1] = tensor->dims[0];
        rank = 2;
    }
    for (int i = 0; i < to_rank; i++) {
        int from = rank - to_rank + i;
        dims[i] = from < 0 ? 1 : own[from];
    }
}

static int at_least_two(int rank)
{
    return rank < 2 ? 2 : rank;
}

static matmul_shape shape_of(const qn_float_tensor *a, const qn_float_tensor *b)
{
    matmul_shape s = {.rank = at_least_two(a->rank)};
    s.rank = at_least_two(b->rank) > s.rank ? at_least_two(b->rank) : s.rank;
    extend(s.a, s.rank, a, false);
    extend(s.b, s.rank, b, true);
    for (int i = 0; i < s.rank - 2; i++) {
        s.output[i] = s.a[i] == 1 ? s.b[i] : s.a[i];
    }
    s.output[s.rank - 2] = s.a[s.rank - 2];
    s.output[s.rank - 1] = s.b[s.rank - 1];
    return s;
}

/* One matrix on the right for all on the left is one product with more rows. */
static void merge_rows(matmul_shape *s)
{
    int64_t rows = 1, others = 1;
    for (int i = 0; i < s->rank - 2; i++) {
        others *= s->b[i];
    }
    if (s->rank == 2 || others != 1) {
        return;
    }
    for (int i = 0; i < s->rank - 1; i++) {
        rows *= s->a[i];
    }
    int64_t k = s->a[s->rank - 1], n = s->b[s->rank - 1];
    *s = (matmul_shape){.rank = 2, .a = {rows, k}, .b = {k, n}, .output = {rows, n}};
}

static bool has_zero(const matmul_shape *s)
{
    for (int i = 0; i < s->rank; i++) {
        if (s->a[i] == 0 || s->b[i] == 0) {
            return true;
        }
    }
    return false;
}

qn_status qn_float_lower_matmul(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    product p = {.bias = QN_FLOAT_NONE, .scale = 1};
    QN_TRY(qn_float_read_plain(b, node->inputs[0], &p.a, err));
    QN_TRY(qn_float_read_plain(b, node->inputs[1], &p.b, err));
    matmul_shape shape = shape_of(qn_float_at(b, p.a), qn_float_at(b, p.b));
    merge_rows(&shape);
    p.rank = shape.rank;
    memcpy(p.dims, shape.output, sizeof p.dims);
    p.a_md = qn_float_md_plain(shape.rank, shape.a);
    p.b_md = qn_float_md_plain(shape.rank, shape.b);
    qn_value_id result;
    QN_TRY(qn_float_fuse_clamp(b, node, &result, &p.clamp, err));
    qn_float_id output;
    if (has_zero(&shape)) {
        QN_TRY(add_zero(b, p.rank, p.dims, &output, err));
        QN_TRY(add_clamp(b, output, p.clamp, &output, err));
    } else {
        QN_TRY(add_product(b, &p, &output, err));
    }
    const qn_bound_value *bound = qn_float_bound(b, result);
    QN_TRY(qn_float_view(b, output, bound->rank, bound->dims, &output, err));
    return qn_float_define(b, result, output, err);
}
