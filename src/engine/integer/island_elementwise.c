/* Functions of one value or two, element by element, with broadcasting (doc/spec/arithmetic.md 6.2, 6.4). */
#include <string.h>

#include "engine/float/lanes.h"
#include "engine/float/walk.h"
#include "engine/integer/island.h"
#include "graph/compute/real_math.h"

typedef struct unary_params {
    qn_island_map_fn *map;
    const qn_float_lanes *lanes;
    int64_t n;
    float lo, hi, slope;
} unary_params;

static void run_map(const void *params, float *y, const float *const *x)
{
    const unary_params *p = params;
    p->map(y, x[0], p->n);
}

static void run_clamp(const void *params, float *y, const float *const *x)
{
    const unary_params *p = params;
    p->lanes->clamp(y, x[0], p->lo, p->hi, p->n);
}

static void run_leaky(const void *params, float *y, const float *const *x)
{
    const unary_params *p = params;
    p->lanes->leaky(y, x[0], p->slope, p->n);
}

static qn_island_map map_of(qn_op op)
{
    static const struct {
        qn_op op;
        qn_island_map map;
    } maps[] = {{QN_OP_ERF, QN_ISLAND_ERF},         {QN_OP_EXP, QN_ISLAND_EXP},   {QN_OP_NEG, QN_ISLAND_NEG},
                {QN_OP_SIGMOID, QN_ISLAND_SIGMOID}, {QN_OP_SQRT, QN_ISLAND_SQRT}, {QN_OP_TANH, QN_ISLAND_TANH}};
    size_t i = 0;
    while (i < sizeof maps / sizeof maps[0] && maps[i].op != op) {
        i++;
    }
    return i < sizeof maps / sizeof maps[0] ? maps[i].map : QN_ISLAND_MAPS;
}

qn_status qn_island_unary(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_map};
    qn_status status;
    unary_params p = {.lanes = qn_float_lanes_for(l->cpu), .slope = qn_node_float(node, "alpha", 0.01f)};
    qn_clip clip = {0, INFINITY};
    qn_island_map map = map_of(node->op);
    if (map != QN_ISLAND_MAPS) {
        p.map = qn_island_lanes_for(l->cpu)->map[map];
    } else {
        island.run = node->op == QN_OP_LEAKY_RELU ? run_leaky : run_clamp;
    }
    if (node->op == QN_OP_CLIP) {
        QN_TRY(qn_clip_of_node(&clip, l->binding, node, err));
        clip.lo = clip.lo > clip.hi ? clip.hi : clip.lo;
    }
    p.lo = (float)clip.lo;
    p.hi = (float)clip.hi;
    if (!qn_island_input(l, &island, node, 0, &status, err) || !qn_island_count(l, node->outputs[0], &p.n)) {
        return status;
    }
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}

typedef struct binary_params {
    qn_float_binary_fn fn;
    qn_float_walk walk; /* strides[0] of the left operand, strides[1] of the right */
} binary_params;

static void run_binary(const void *params, float *y, const float *const *x)
{
    const binary_params *p = params;
    int64_t index[QN_MAX_RANK] = {0}, offsets[2] = {0, 0}, n = p->walk.dims[p->walk.rank - 1];
    do {
        p->fn(y, x[0] + offsets[0], x[1] + offsets[1], n);
        y += n;
    } while (qn_float_walk_next(&p->walk, index, offsets));
}

static void pow_vv(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = real_powf(a[i], b[i]);
    }
}

static void pow_vs(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = *b == 2 ? a[i] * a[i] : real_powf(a[i], *b);
    }
}

static void pow_sv(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] = real_powf(*a, b[i]);
    }
}

static const qn_float_binary_fn *functions_of(const qn_lowering *l, qn_op op)
{
    static const qn_float_binary_fn pow_fns[QN_FLOAT_N_SHAPES] = {pow_vv, pow_vs, pow_sv};
    const qn_float_lanes *lanes = qn_float_lanes_for(l->cpu);
    switch (op) {
    case QN_OP_ADD:
        return lanes->binary[QN_FLOAT_ADD];
    case QN_OP_SUB:
        return lanes->binary[QN_FLOAT_SUB];
    case QN_OP_MUL:
        return lanes->binary[QN_FLOAT_MUL];
    case QN_OP_DIV:
        return lanes->binary[QN_FLOAT_DIV];
    default:
        return pow_fns;
    }
}

/* Strides of an operand in an output of `rank` dimensions: 0 along the axes that it is stretched over. */
static bool operand_strides(qn_lowering *l, qn_value_id value, int rank, int64_t *strides)
{
    int64_t dims[QN_MAX_RANK], own[QN_MAX_RANK];
    int own_rank;
    if (!qn_lower_dims(l, value, dims, &own_rank)) {
        return false;
    }
    qn_float_strides(own_rank, dims, own);
    for (int i = 0; i < rank; i++) {
        int from = own_rank - rank + i;
        strides[i] = from < 0 || dims[from] == 1 ? 0 : own[from];
    }
    return true;
}

qn_status qn_island_binary(qn_lowering *l, const qn_node *node, qn_error *err)
{
    qn_integer_island island = {.run = run_binary};
    qn_status status;
    binary_params p = {0};
    if (!qn_lower_dims(l, node->outputs[0], p.walk.dims, &p.walk.rank)) {
        return QN_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (!operand_strides(l, node->inputs[i], p.walk.rank, p.walk.strides[i]) ||
            !qn_island_input(l, &island, node, i, &status, err)) {
            return l->reason != NULL ? QN_OK : status;
        }
    }
    qn_float_walk_simplify(&p.walk);
    const int last = p.walk.rank - 1;
    qn_float_shape shape = p.walk.strides[0][last] == 0   ? QN_FLOAT_SCALAR_LEFT
                           : p.walk.strides[1][last] == 0 ? QN_FLOAT_SCALAR_RIGHT
                                                          : QN_FLOAT_BOTH_VECTORS;
    if (p.walk.strides[0][last] == 0 && p.walk.strides[1][last] == 0) { /* one element each */
        shape = QN_FLOAT_BOTH_VECTORS;
    }
    p.fn = functions_of(l, node->op)[shape];
    return qn_island_step(l, node, qn_island_output(l, node), &island, &p, sizeof p, err);
}
