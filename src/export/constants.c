#include "export/constants.h"

#include <math.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "graph/model.h"

/* Parameters per set of an integer format that are kept, and shared by all or by the indices of one axis. */
bool qn_export_is_affine(const qn_quantizer *q)
{
    return q->format.kind == QN_FORMAT_INT && !q->dynamic && q->group == 0 && q->scale != NULL;
}

int64_t qn_export_code_at(const qn_tensor *codes, int64_t i)
{
    switch (codes->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)codes->data)[i];
    case QN_DTYPE_U8:
        return ((const uint8_t *)codes->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)codes->data)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)codes->data)[i];
    case QN_DTYPE_U32:
        return ((const uint32_t *)codes->data)[i];
    default:
        return ((const int32_t *)codes->data)[i];
    }
}

bool qn_export_exponent(int *e, float scale)
{
    const float mantissa = frexpf(scale, e);
    *e -= 1;
    return mantissa == 0.5f;
}

static int64_t elements_behind(const qn_tensor *t, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < t->rank; i++) {
        n *= t->dims[i];
    }
    return n;
}

static qn_status fail_element(const qn_export_constant *c, int64_t i, double decoded, qn_error *err)
{
    return qn_fail(
        err, QN_EINTERNAL, c->name,
        "element %lld: code %lld stands for %.9g, and the model says %.9g; (z - zero_point) * scale does not "
        "describe this constant",
        (long long)i, (long long)qn_export_code_at(c->codes, i), decoded, (double)((const float *)c->reals->data)[i]);
}

static qn_status check_format(const qn_export_constant *c, qn_error *err)
{
    const int64_t n = qn_tensor_count(c->codes);
    float *x = qn_alloc_uncleared((size_t)n * sizeof *x);
    if (x == NULL) {
        return qn_fail_memory(err, c->name, (size_t)n * sizeof *x);
    }
    qn_quantizer_decode(x, c->codes->data, c->q, c->codes->rank, c->codes->dims);
    int64_t i = 0;
    while (i < n && x[i] == ((const float *)c->reals->data)[i]) {
        i++;
    }
    const qn_status status = i < n ? fail_element(c, i, (double)x[i], err) : QN_OK;
    qn_free(x);
    return status;
}

qn_status qn_export_check_invariant(const qn_export_constant *c, qn_error *err)
{
    if (c->reals == NULL || c->reals->dtype != QN_DTYPE_F32) {
        return QN_OK;
    }
    if (!qn_export_is_affine(c->q)) {
        return check_format(c, err);
    }
    const qn_quantizer *q = c->q;
    const float *x = c->reals->data;
    const int64_t n = qn_tensor_count(c->codes), inner = q->n == 1 ? n : elements_behind(c->codes, q->axis);
    for (int64_t i = 0, set = 0; i < n; set = set + 1 == q->n ? 0 : set + 1) {
        const int32_t zero = q->zero_point != NULL ? q->zero_point[set] : 0;
        for (const int64_t end = i + inner; i < end; i++) {
            const float decoded = (float)(qn_export_code_at(c->codes, i) - zero) * q->scale[set];
            if (decoded != x[i]) {
                return fail_element(c, i, (double)decoded, err);
            }
        }
    }
    return QN_OK;
}

qn_export_usage qn_export_use_of(const qn_export_constant *c)
{
    qn_export_usage u = {0};
    const int64_t n = qn_tensor_count(c->codes);
    for (int64_t i = 0; i < n; i++) {
        const int64_t code = qn_export_code_at(c->codes, i);
        u.least = i == 0 || code < u.least ? code : u.least;
        u.greatest = i == 0 || code > u.greatest ? code : u.greatest;
    }
    if (c->q->format.kind != QN_FORMAT_INT) {
        return u;
    }
    int32_t lo, hi;
    qn_format_range(c->q->format, &lo, &hi);
    lo = c->q->format.is_signed && u.least > lo ? -hi : lo; /* a range kept symmetric ends there */
    for (int64_t i = 0; i < n && (u.least <= lo || u.greatest >= hi); i++) {
        const int64_t code = qn_export_code_at(c->codes, i);
        u.saturated += code <= lo || code >= hi;
    }
    return u;
}

/* O: outputs, I: inputs (of a group), H, W: of the kernel. */
static void set_axes(qn_export_constant *c, const qn_node *node)
{
    const int rank = c->codes->rank;
    if (c->role == QN_EXPORT_BIASES) {
        memcpy(c->axes, rank == 1 ? "O" : "", rank == 1 ? 2 : 1);
    } else if (node->op == QN_OP_CONV && rank >= 3 && rank <= 4) {
        memcpy(c->axes, rank == 4 ? "OIHW" : "OIW", rank == 4 ? 5 : 4);
    } else if (rank == 2) {
        const bool rows = node->op == QN_OP_GEMM && qn_node_int(node, "transB", 0) != 0;
        memcpy(c->axes, rows ? "OI" : "IO", 3);
    }
}

static qn_status add(qn_export_constants *list, const qn_export_network *network, qn_value_id value,
                     qn_export_role role, int layer, int tensor, qn_error *err)
{
    const qn_value *v = &network->graph->values[value];
    if (list->of_value[value] >= 0 || v->codes == NULL || v->quantizer == NULL) {
        return QN_OK;
    }
    qn_export_constant *c = &list->rows[list->n];
    *c = (qn_export_constant){.name = v->name,
                              .role = role,
                              .value = value,
                              .q = v->quantizer,
                              .codes = v->codes,
                              .reals = v->constant,
                              .layer = layer};
    if (layer >= 0) {
        c->id = qn_arena_printf(&list->arena, "%s%s", role == QN_EXPORT_WEIGHTS ? "w_" : "b_",
                                network->layers[layer].id + strlen("l_"));
    }
    if (layer < 0 && tensor >= 0) {
        c->id = network->tensors[tensor].id;
    } else if (layer < 0) { /* what islands read as floats */
        c->id = qn_arena_printf(&list->arena, "c_%d", (int)value);
    }
    if (c->id == NULL) {
        return qn_fail_memory(err, network->graph->file, 0);
    }
    list->of_value[value] = list->n++;
    return QN_OK;
}

static qn_status list_all(qn_export_constants *list, const qn_export_network *network, const int32_t *uses,
                          qn_error *err)
{
    const qn_integer_code *code = network->program->code;
    for (int i = 0; i < network->n_layers; i++) {
        const qn_export_layer *layer = &network->layers[i];
        if (layer->kind == QN_EXPORT_CONV) {
            QN_TRY(add(list, network, layer->u.conv.weight_value, QN_EXPORT_WEIGHTS, i, -1, err));
        }
        if (layer->kind == QN_EXPORT_CONV && layer->u.conv.bias_value != QN_NO_VALUE) {
            QN_TRY(add(list, network, layer->u.conv.bias_value, QN_EXPORT_BIASES, i, -1, err));
        }
    }
    for (int i = 0; i < network->n_tensors; i++) {
        if (network->tensors[i].constant != NULL) {
            QN_TRY(add(list, network, network->tensors[i].value, QN_EXPORT_OPERAND, -1, i, err));
        }
    }
    for (size_t v = 0; v < network->graph->n_values; v++) {
        if (uses[v] > 0) {
            QN_TRY(add(list, network, (qn_value_id)v, QN_EXPORT_OPERAND, -1, -1, err));
        }
    }
    for (int i = 0; i < list->n; i++) {
        if (list->rows[i].layer >= 0) {
            set_axes(&list->rows[i], code->steps[network->layers[list->rows[i].layer].step].node);
        }
    }
    return QN_OK;
}

qn_status qn_export_constants_list(qn_export_constants *list, const qn_export_network *network, qn_error *err)
{
    const size_t n = network->graph->n_values;
    *list = (qn_export_constants){0};
    list->rows = qn_arena_array(&list->arena, n + 1, sizeof *list->rows);
    list->of_value = qn_arena_array(&list->arena, n + 1, sizeof *list->of_value);
    int32_t *uses = qn_graph_count_uses(network->graph);
    qn_status status = list->rows == NULL || list->of_value == NULL || uses == NULL
                           ? qn_fail_memory(err, network->graph->file, n * sizeof *list->rows)
                           : QN_OK;
    if (status == QN_OK) {
        memset(list->of_value, 0xff, n * sizeof *list->of_value);
        status = list_all(list, network, uses, err);
    }
    qn_free(uses);
    if (status != QN_OK) {
        qn_export_constants_free(list);
    }
    return status;
}

void qn_export_constants_free(qn_export_constants *list)
{
    qn_arena_free(&list->arena);
    *list = (qn_export_constants){0};
}
