/* What the text of a pattern cannot say: axes, shapes, attributes. */
#include <math.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/recognize.h"

static const double sixth = 1.0 / 6.0;

static void set_float(qn_rewrite *r, const char *name, double value)
{
    r->attributes[r->n_attributes++] = (qn_attribute){.name = name, .type = QN_ATTRIBUTE_FLOAT, .f = (float)value};
}

static void set_int(qn_rewrite *r, const char *name, int64_t value)
{
    r->attributes[r->n_attributes++] = (qn_attribute){.name = name, .type = QN_ATTRIBUTE_INT, .i = value};
}

static qn_value_id last(const qn_rewrite *r)
{
    return r->match->values[0];
}

/* A new constant named after the pattern's last value; QN_NO_VALUE when that failed. */
static qn_value_id add_constant(qn_rewrite *r, const char *what, int rank, const int64_t *dims, const float *values)
{
    qn_graph *graph = r->graph;
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = rank, .data = (void *)(uintptr_t)values};
    for (int i = 0; i < rank; i++) { /* `dims` is NULL of a scalar */
        t.dims[i] = dims[i];
    }
    const char *stem = qn_arena_printf(&graph->arena, "%s_%s", graph->values[last(r)].name, what);
    const char *name = stem != NULL ? qn_graph_unique_name(graph, stem) : NULL;
    qn_value_id id = QN_NO_VALUE;
    r->status = name != NULL ? qn_graph_add_value(graph, name, &id, r->err) : qn_fail_memory(r->err, graph->file, 0);
    if (r->status == QN_OK) {
        r->status = qn_graph_set_constant(graph, id, &t, r->err);
    }
    return r->status == QN_OK ? id : QN_NO_VALUE;
}

/* One value everywhere. */
static qn_value_id add_filled(qn_rewrite *r, const char *what, int rank, const int64_t *dims, float value)
{
    const int64_t n = qn_dims_product(dims, 0, rank);
    float *values = qn_arena_array(&r->graph->arena, (size_t)n, sizeof *values);
    if (values == NULL) {
        r->status = qn_fail_memory(r->err, r->graph->file, (size_t)n * sizeof *values);
        return QN_NO_VALUE;
    }
    for (int64_t i = 0; i < n; i++) {
        values[i] = value;
    }
    return add_constant(r, what, rank, dims, values);
}

bool qn_finish_same(qn_rewrite *r)
{
    const qn_bound_value *x = qn_match_bound(r->match, r->inputs[0]), *y = qn_match_bound(r->match, last(r));
    return x != NULL && y != NULL && x->dtype == QN_DTYPE_F32 && x->rank == y->rank &&
           memcmp(x->dims, y->dims, (size_t)x->rank * sizeof x->dims[0]) == 0;
}

/* From which axis on a Reduce works, to the last one and with all dimensions kept; -1 for others. */
static int trailing_axis(const qn_rewrite *r, const char *name, int rank)
{
    const qn_node *node = qn_match_node(r->match, name);
    qn_reduce reduce;
    qn_error err;
    qn_error_init(&err);
    if (node == NULL || qn_reduce_of_node(&reduce, r->match->binding, node, &err) != QN_OK || !reduce.keepdims) {
        return -1;
    }
    int axis = rank;
    while (axis > 0 && reduce.reduced[axis - 1]) {
        axis--;
    }
    for (int i = 0; i < axis; i++) {
        if (reduce.reduced[i]) {
            return -1;
        }
    }
    return axis < rank ? axis : -1;
}

/* Scale or bias over the last n dimensions: as it is, or one number for all of them stretched. */
static bool fit_parameter(qn_rewrite *r, int input, const char *what, int n, const int64_t *dims)
{
    const qn_value *value = &r->graph->values[r->inputs[input]];
    const qn_tensor *t = value->constant;
    bool same = t->rank >= n, one = t->rank <= n;
    for (int i = 0; i < t->rank; i++) {
        const int at = i - (t->rank - n);
        same = same && t->dims[i] == (at >= 0 ? dims[at] : 1);
        one = one && t->dims[i] == 1;
    }
    if (same && t->rank == n) {
        return true;
    }
    if (value->quantizer != NULL || (!same && !one)) {
        return false;
    }
    r->inputs[input] =
        one ? add_filled(r, what, n, dims, *(const float *)t->data) : add_constant(r, what, n, dims, t->data);
    return r->status == QN_OK;
}

bool qn_finish_layer_normalization(qn_rewrite *r)
{
    const qn_bound_value *x = qn_match_bound(r->match, r->inputs[0]);
    const double epsilon = qn_match_number(r->match, "epsilon");
    if (!qn_finish_same(r) || !(epsilon > 0)) {
        return false;
    }
    const int axis = trailing_axis(r, "v", x->rank);
    if (axis < 0 || trailing_axis(r, "m", x->rank) != axis || trailing_axis(r, "m2", x->rank) != axis) {
        return false;
    }
    const int n = x->rank - axis;
    if (r->inputs[1] == QN_NO_VALUE) {
        r->inputs[1] = add_filled(r, "scale", n, x->dims + axis, 1.0F);
    } else if (!fit_parameter(r, 1, "scale", n, x->dims + axis)) {
        return false;
    }
    if (r->status == QN_OK && r->inputs[2] != QN_NO_VALUE && !fit_parameter(r, 2, "bias", n, x->dims + axis)) {
        return false;
    }
    set_int(r, "axis", axis - x->rank);
    set_float(r, "epsilon", epsilon);
    return true;
}

bool qn_finish_gelu(qn_rewrite *r)
{
    return qn_finish_same(r);
}

bool qn_finish_gelu_tanh(qn_rewrite *r)
{
    r->attributes[r->n_attributes++] = (qn_attribute){.name = "approximate", .type = QN_ATTRIBUTE_STRING, .s = "tanh"};
    return qn_finish_same(r);
}

static bool is_near(double value, double wanted)
{
    return fabs(value - wanted) <= 1e-6;
}

bool qn_finish_hard_swish(qn_rewrite *r)
{
    const qn_node *s = qn_match_node(r->match, "s");
    if (s != NULL && s->op == QN_OP_HARD_SIGMOID &&
        !(is_near((double)qn_node_float(s, "alpha", 0.2F), sixth) &&
          is_near((double)qn_node_float(s, "beta", 0.5F), 0.5))) {
        return false;
    }
    return qn_finish_same(r);
}

bool qn_finish_hard_sigmoid(qn_rewrite *r)
{
    set_float(r, "alpha", sixth);
    set_float(r, "beta", 0.5);
    return qn_finish_same(r);
}

/* Bounds of a Clip are scalars. */
static void set_bounds(qn_rewrite *r, double lo, double hi)
{
    const float low = (float)lo, high = (float)hi;
    r->n_inputs = 3;
    r->inputs[1] = add_constant(r, "min", 0, NULL, &low);
    r->inputs[2] = r->status == QN_OK ? add_constant(r, "max", 0, NULL, &high) : QN_NO_VALUE;
}

bool qn_finish_clip(qn_rewrite *r)
{
    const double lo = qn_match_number(r->match, "lo"), hi = qn_match_number(r->match, "hi");
    if (!qn_finish_same(r) || !(lo <= hi)) {
        return false;
    }
    set_bounds(r, lo, hi);
    return true;
}

bool qn_finish_relu_n(qn_rewrite *r)
{
    const double hi = qn_match_number(r->match, "hi");
    if (!qn_finish_same(r) || !(hi >= 0)) {
        return false;
    }
    set_bounds(r, 0, hi);
    return true;
}

static bool all_are(const qn_rewrite *r, const char *name, float value)
{
    const qn_value_id id = qn_match_value(r->match, name);
    const qn_tensor *t = r->graph->values[id].constant;
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        if (((const float *)t->data)[i] != value) {
            return false;
        }
    }
    return r->graph->values[id].quantizer == NULL;
}

/* A scale or bias with one number for each of n channels, or for all: as a vector. */
static bool fit_channels(qn_rewrite *r, int input, const char *what, int rank, int64_t n)
{
    const qn_tensor *t = r->graph->values[r->inputs[input]].constant;
    bool fits = r->graph->values[r->inputs[input]].quantizer == NULL && t->rank <= rank;
    for (int i = 0; fits && i < t->rank; i++) {
        fits = t->dims[i] == 1 || (rank - t->rank + i == 1 && t->dims[i] == n);
    }
    if (fits) {
        r->inputs[input] = qn_tensor_count(t) == 1 ? add_filled(r, what, 1, &n, *(const float *)t->data)
                                                   : add_constant(r, what, 1, &n, t->data);
    }
    return fits && r->status == QN_OK;
}

/* Before opset 21 scales were those of groups: only later graphs can say it. */
bool qn_finish_group_normalization(qn_rewrite *r)
{
    const qn_node *i = qn_match_node(r->match, "i");
    const qn_bound_value *x = qn_match_bound(r->match, r->inputs[0]);
    const qn_bound_value *grouped = qn_match_bound(r->match, qn_match_value(r->match, "r"));
    if (!qn_finish_same(r) || r->graph->opset < 21 || grouped == NULL || x->rank < 2 || grouped->rank < 3 ||
        grouped->dims[0] != x->dims[0] || grouped->dims[1] < 1 || x->dims[1] % grouped->dims[1] != 0 ||
        !all_are(r, "ones", 1) || !all_are(r, "zeros", 0)) {
        return false;
    }
    const int64_t channels = x->dims[1];
    if (r->inputs[1] == QN_NO_VALUE) {
        r->inputs[1] = add_filled(r, "scale", 1, &channels, 1.0F);
    } else if (!fit_channels(r, 1, "scale", x->rank, channels)) {
        return false;
    }
    if (r->inputs[2] == QN_NO_VALUE) {
        r->inputs[2] = add_filled(r, "bias", 1, &channels, 0.0F);
    } else if (!fit_channels(r, 2, "bias", x->rank, channels)) {
        return false;
    }
    set_int(r, "num_groups", grouped->dims[1]);
    set_float(r, "epsilon", (double)qn_node_float(i, "epsilon", 1e-5F));
    return true;
}

/* Height and width. What is dropped of them goes in a Flatten behind. */
bool qn_finish_pool(qn_rewrite *r)
{
    const qn_node *node = qn_match_node(r->match, "y");
    const qn_bound_value *x = qn_match_bound(r->match, r->inputs[0]);
    qn_reduce reduce;
    qn_error err;
    qn_error_init(&err);
    if (x == NULL || x->dtype != QN_DTYPE_F32 || x->rank != 4 ||
        qn_reduce_of_node(&reduce, r->match->binding, node, &err) != QN_OK) {
        return false;
    }
    for (int i = 0; i < x->rank; i++) {
        if (reduce.reduced[i] != (i >= 2)) {
            return false;
        }
    }
    r->flatten = !reduce.keepdims;
    return reduce.keepdims || !qn_graph_is_output(r->graph, last(r));
}
