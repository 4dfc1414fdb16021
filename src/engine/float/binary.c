/* Add, Sub, Mul, Div, Pow with numpy broadcasting. */
#include <math.h>
#include <string.h>

#include "engine/float/ops.h"

/* Both operands in one layout, or one of them a single element: one flat loop over everything stored. */
typedef struct {
    qn_float_binary_fn fn;
    void (*clamp)(float *y, const float *x, float lo, float hi, int64_t n);
    int64_t n;
    bool left_scalar, right_scalar, clamps;
    qn_float_clamp bounds;
} flat_params;

/* Elements per turn where a clamp follows: they stay in the first cache. */
enum { CHUNK = 2048 };

static void run_flat(const void *params, void *const *args)
{
    const flat_params *p = params;
    float *y = args[0];
    const float *left = args[1], *right = args[2];
    int64_t step = p->clamps ? CHUNK : p->n;
    for (int64_t i = 0; i < p->n; i += step) {
        int64_t n = p->n - i < step ? p->n - i : step;
        p->fn(y + i, p->left_scalar ? left : left + i, p->right_scalar ? right : right + i, n);
        if (p->clamps) {
            p->clamp(y + i, y + i, p->bounds.lo, p->bounds.hi, n);
        }
    }
}

typedef struct {
    qn_float_binary_fn fn;
    qn_float_walk walk; /* strides[0] of left, strides[1] of right */
} broadcast_params;

static void run_broadcast(const void *params, void *const *args)
{
    const broadcast_params *p = params;
    float *y = args[0];
    const float *left = args[1], *right = args[2];
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0}, n = p->walk.dims[p->walk.rank - 1];
    do {
        p->fn(y, left + offsets[0], right + offsets[1], n);
        y += n;
    } while (qn_float_walk_next(&p->walk, index, offsets));
}

static void pow_vv(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = powf(a[i], b[i]);
    }
}

static void pow_vs(float *y, const float *a, const float *b, int64_t n)
{
    float exponent = *b;
    for (int64_t i = 0; i < n; i++) {
        y[i] = exponent == 2 ? a[i] * a[i] : powf(a[i], exponent);
    }
}

static void pow_sv(float *y, const float *a, const float *b, int64_t n)
{
    float base = *a;
    for (int64_t i = 0; i < n; i++) {
        y[i] = powf(base, b[i]);
    }
}

static const qn_float_binary_fn pow_fns[QN_FLOAT_N_SHAPES] = {pow_vv, pow_vs, pow_sv};

static const qn_float_binary_fn *functions(const qn_float_builder *b, qn_float_binary op)
{
    return op == QN_FLOAT_POW ? pow_fns : b->code->lanes->binary[op];
}

/* 0 op 0 = 0, so that the padding of blocked layouts stays zero? And against any one element? */
static bool keeps_zero(qn_float_binary op, bool against_scalar)
{
    return op == QN_FLOAT_MUL || (!against_scalar && (op == QN_FLOAT_ADD || op == QN_FLOAT_SUB));
}

static bool same_shape(const qn_float_tensor *tensor, int rank, const int64_t *dims)
{
    return tensor->rank == rank && memcmp(tensor->dims, dims, (size_t)rank * sizeof *dims) == 0;
}

/* Bring both operands into one layout where that makes a flat loop. False: broadcast plain tensors. */
static qn_status try_flat(qn_float_builder *b, qn_float_binary op, qn_float_id *left, qn_float_id *right, int rank,
                          const int64_t *dims, bool *flat, qn_error *err)
{
    const qn_float_tensor *l = qn_float_at(b, *left), *r = qn_float_at(b, *right);
    bool left_full = same_shape(l, rank, dims), right_full = same_shape(r, rank, dims);
    *flat = true;
    if (left_full && right_full) {
        bool from_left = l->layout != QN_FLOAT_PLAIN;
        const qn_float_tensor *shaped = from_left ? l : r;
        if (qn_float_padded(shaped) && !keeps_zero(op, false)) {
            *flat = false;
            return QN_OK;
        }
        qn_float_id *other = from_left ? right : left;
        if (l->layout == r->layout && l->block == r->block) {
            return QN_OK;
        }
        return qn_float_reorder(b, *other, &shaped->md, other, err);
    }
    const qn_float_tensor *full = left_full ? l : r, *single = left_full ? r : l;
    *flat = (left_full || right_full) && single->n_elems == 1 && (!qn_float_padded(full) || keeps_zero(op, true));
    return QN_OK;
}

static qn_status add_flat(qn_float_builder *b, qn_float_binary op, qn_float_id left, qn_float_id right, int rank,
                          const int64_t *dims, qn_float_clamp clamp, qn_float_id *y, qn_error *err)
{
    int64_t n_left = qn_float_at(b, left)->n_elems, n_right = qn_float_at(b, right)->n_elems;
    bool left_scalar = n_left == 1 && n_right != 1, right_scalar = n_right == 1 && n_left != 1;
    qn_float_id like = same_shape(qn_float_at(b, left), rank, dims) ? left : right;
    QN_TRY(qn_float_new_like(b, like, y, err));
    qn_float_shape shape = left_scalar    ? QN_FLOAT_SCALAR_LEFT
                           : right_scalar ? QN_FLOAT_SCALAR_RIGHT
                                          : QN_FLOAT_BOTH_VECTORS;
    const flat_params params = {.fn = functions(b, op)[shape],
                                .clamp = b->code->lanes->clamp,
                                .n = qn_float_at(b, like)->n_stored,
                                .left_scalar = left_scalar,
                                .right_scalar = right_scalar,
                                .clamps = qn_float_clamps(clamp),
                                .bounds = clamp};
    const qn_float_id sources[] = {left, right};
    return qn_float_add_kernel(b, run_flat, &params, sizeof params, *y, 2, sources, err);
}

/* Strides of an operand inside the result: 0 along dimensions it is broadcast over. */
static void broadcast_strides(const qn_float_tensor *tensor, int rank, int64_t *strides)
{
    int64_t own[QN_MAX_RANK];
    qn_float_strides(tensor->rank, tensor->dims, own);
    for (int i = 0; i < rank; i++) {
        int from = tensor->rank - rank + i;
        strides[i] = from < 0 || tensor->dims[from] == 1 ? 0 : own[from];
    }
}

static qn_status add_broadcast(qn_float_builder *b, qn_float_binary op, qn_float_id left, qn_float_id right, int rank,
                               const int64_t *dims, qn_float_id *y, qn_error *err)
{
    QN_TRY(qn_float_to_plain(b, left, &left, err));
    QN_TRY(qn_float_to_plain(b, right, &right, err));
    broadcast_params params = {.walk = {.rank = rank}};
    memcpy(params.walk.dims, dims, (size_t)rank * sizeof *dims);
    broadcast_strides(qn_float_at(b, left), rank, params.walk.strides[0]);
    broadcast_strides(qn_float_at(b, right), rank, params.walk.strides[1]);
    qn_float_walk_simplify(&params.walk);
    int last = params.walk.rank - 1;
    qn_float_shape shape = params.walk.strides[0][last] == 0   ? QN_FLOAT_SCALAR_LEFT
                           : params.walk.strides[1][last] == 0 ? QN_FLOAT_SCALAR_RIGHT
                                                               : QN_FLOAT_BOTH_VECTORS;
    params.fn = functions(b, op)[shape];
    QN_TRY(qn_float_new(b, QN_DTYPE_F32, rank, dims, y, err));
    const qn_float_id sources[] = {left, right};
    return qn_float_add_kernel(b, run_broadcast, &params, sizeof params, *y, 2, sources, err);
}

static qn_status add_clamped(qn_float_builder *b, qn_float_binary op, qn_float_id left, qn_float_id right, int rank,
                             const int64_t *dims, qn_float_clamp clamp, qn_float_id *y, qn_error *err)
{
    int64_t n;
    QN_TRY(qn_shape_count(dims, rank, &n, err));
    if (n == 0) {
        return qn_float_new(b, QN_DTYPE_F32, rank, dims, y, err);
    }
    bool flat;
    QN_TRY(try_flat(b, op, &left, &right, rank, dims, &flat, err));
    bool padded = qn_float_padded(qn_float_at(b, left)) || qn_float_padded(qn_float_at(b, right));
    if (flat && (!padded || (clamp.lo <= 0 && clamp.hi >= 0))) {
        return add_flat(b, op, left, right, rank, dims, clamp, y, err);
    }
    QN_TRY(add_broadcast(b, op, left, right, rank, dims, y, err));
    return qn_float_clamps(clamp) ? qn_float_add_clamp(b, *y, clamp, y, err) : QN_OK;
}

qn_status qn_float_add_binary(qn_float_builder *b, qn_float_binary op, qn_float_id left, qn_float_id right, int rank,
                              const int64_t *dims, qn_float_id *y, qn_error *err)
{
    return add_clamped(b, op, left, right, rank, dims, (qn_float_clamp){-INFINITY, INFINITY}, y, err);
}

static qn_float_binary binary_of(qn_op op)
{
    switch (op) {
    case QN_OP_ADD:
        return QN_FLOAT_ADD;
    case QN_OP_SUB:
        return QN_FLOAT_SUB;
    case QN_OP_MUL:
        return QN_FLOAT_MUL;
    case QN_OP_DIV:
        return QN_FLOAT_DIV;
    default:
        return QN_FLOAT_POW;
    }
}

qn_status qn_float_lower_binary(qn_float_builder *b, const qn_node *node, qn_error *err)
{
    qn_float_id left, right, y;
    QN_TRY(qn_float_read(b, node->inputs[0], &left, err));
    QN_TRY(qn_float_read(b, node->inputs[1], &right, err));
    qn_float_clamp clamp;
    qn_value_id result;
    QN_TRY(qn_float_fuse_clamp(b, node, &result, &clamp, err));
    const qn_bound_value *bound = qn_float_bound(b, node->outputs[0]);
    QN_TRY(add_clamped(b, binary_of(node->op), left, right, bound->rank, bound->dims, clamp, &y, err));
    return qn_float_define(b, result, y, err);
}
