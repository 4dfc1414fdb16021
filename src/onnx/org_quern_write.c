/* Quantizers as nodes of domain org.quern. */
#include <string.h>

#include "onnx/org_quern.h"
#include "onnx/unfold.h"

enum { MAX_INPUTS = 1 + QN_ORG_PARAMETERS, MAX_ATTRIBUTES = 5 };

/* A node under way: attributes with the default value are left out. */
typedef struct draft {
    char format[QN_FORMAT_NAME_MAX];
    qn_attribute attributes[MAX_ATTRIBUTES];
    qn_value_id inputs[MAX_INPUTS];
    int n_attributes;
} draft;

static void put_int(draft *d, const char *name, int64_t value, int64_t fallback)
{
    if (value != fallback) {
        d->attributes[d->n_attributes++] = (qn_attribute){.name = name, .type = QN_ATTRIBUTE_INT, .i = value};
    }
}

static qn_status start(const qn_unfolder *u, draft *d, const char *name, const qn_quantizer *q)
{
    *d = (draft){0};
    qn_format_name(d->format, q->format);
    d->attributes[d->n_attributes++] = (qn_attribute){.name = "format", .type = QN_ATTRIBUTE_STRING, .s = d->format};
    put_int(d, "axis", q->axis, -1);
    put_int(d, "group", q->group, 0);
    const unsigned used = q->dynamic ? 0 : qn_format_parameters(q->format);
    for (int i = 0; i < QN_ORG_PARAMETERS; i++) {
        const qn_org_parameter *p = &qn_org_parameters[i];
        void *array;
        memcpy(&array, (const char *)q + p->offset, sizeof array);
        d->inputs[i + 1] = QN_NO_VALUE;
        if ((used & p->bit) != 0 && array != NULL) {
            qn_tensor tensor = {.dtype = p->dtype, .rank = 1, .dims = {q->n}, .data = array};
            const char *suffix = qn_arena_printf(&u->to->arena, "_%s", p->name);
            if (suffix == NULL) {
                return qn_fail_memory(u->err, NULL, 0);
            }
            QN_TRY(qn_unfold_add_constant(u, name, suffix, &tensor, &d->inputs[i + 1]));
        }
    }
    return QN_OK;
}

static qn_status finish(const qn_unfolder *u, draft *d, const char *op_type, const char *name, qn_value_id y)
{
    qn_node node = {
        .name = qn_arena_printf(&u->to->arena, "%s_%s", name, op_type),
        .op_type = op_type,
        .domain = qn_org_domain,
        .op = QN_OP_UNKNOWN,
        .n_inputs = MAX_INPUTS,
        .n_outputs = 1,
        .n_attributes = d->n_attributes,
        .inputs = d->inputs,
        .outputs = &y,
        .attributes = d->attributes,
    };
    return node.name != NULL ? qn_graph_add_node(u->to, &node, u->err) : qn_fail_memory(u->err, NULL, 0);
}

qn_status qn_org_add_fake(const qn_unfolder *u, const char *name, const qn_quantizer *q, qn_value_id x, qn_value_id y)
{
    draft d;
    QN_TRY(start(u, &d, name, q));
    put_int(&d, "dynamic", q->dynamic ? 1 : 0, 0);
    put_int(&d, "sets", q->n, q->dynamic ? 0 : 1);
    d.inputs[0] = x;
    return finish(u, &d, "FakeQuantize", name, y);
}

qn_status qn_org_add_constant(const qn_unfolder *u, const char *name, const qn_quantizer *q, const qn_tensor *codes,
                              qn_value_id y)
{
    draft d;
    QN_TRY(start(u, &d, name, q));
    d.attributes[d.n_attributes++] =
        (qn_attribute){.name = "shape", .type = QN_ATTRIBUTE_INTS, .ints = codes->dims, .n = codes->rank};
    qn_packed packed = {.n = qn_tensor_count(codes), .bits = q->format.bits};
    size_t n_bytes;
    QN_TRY(qn_packed_bytes(&n_bytes, packed.n, packed.bits, packed.packing, u->err));
    const int64_t length = (int64_t)n_bytes;
    qn_tensor bytes;
    QN_TRY(qn_tensor_alloc(&bytes, QN_DTYPE_U8, 1, &length, u->err));
    packed.data = bytes.data;
    qn_pack(&packed, codes->data, qn_dtype_size(codes->dtype));
    qn_status status = qn_unfold_add_constant(u, name, "_codes", &bytes, &d.inputs[0]);
    qn_tensor_free(&bytes);
    QN_TRY(status);
    return finish(u, &d, "Dequantize", name, y);
}
