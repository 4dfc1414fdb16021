/* What a node of domain org.quern says. */
#include "onnx/org_quern.h"

#include <stddef.h>
#include <string.h>

#include "format/round.h"

const char qn_org_domain[] = "org.quern";

const qn_org_parameter qn_org_parameters[QN_ORG_PARAMETERS] = {
    {"scale", QN_PARAM_SCALE, QN_DTYPE_F32, offsetof(qn_quantizer, scale)},
    {"zero_point", QN_PARAM_ZERO_POINT, QN_DTYPE_S32, offsetof(qn_quantizer, zero_point)},
    {"exp_bias", QN_PARAM_EXP_BIAS, QN_DTYPE_S32, offsetof(qn_quantizer, exp_bias)},
    {"shift", QN_PARAM_SHIFT, QN_DTYPE_F32, offsetof(qn_quantizer, shift)},
    {"multiplier", QN_PARAM_MULTIPLIER, QN_DTYPE_F32, offsetof(qn_quantizer, multiplier)},
};

static bool is_type(const qn_node *node, const char *op_type)
{
    return strcmp(node->op_type, op_type) == 0 && strcmp(node->domain, qn_org_domain) == 0;
}

bool qn_org_is_fake_quantize(const qn_node *node)
{
    return is_type(node, "FakeQuantize");
}

bool qn_org_is_dequantize(const qn_node *node)
{
    return is_type(node, "Dequantize");
}

typedef struct reader {
    const qn_graph *graph;
    const qn_node *node;
    char where[QN_NODE_WHERE_MAX];
    qn_error *err;
} reader;

static void start(reader *r, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    *r = (reader){.graph = graph, .node = node, .err = err};
    qn_node_where(r->where, graph, node);
}

/* A check of another room failed: the file's fault, not the caller's. */
static qn_status fail_inner(const reader *r, const qn_error *inner)
{
    return qn_fail(r->err, inner->status == QN_ENOMEM ? QN_ENOMEM : QN_EFORMAT, r->where, "%s", inner->message);
}

static qn_status check_frame(const reader *r, const char *const *attributes, int n_attributes)
{
    const qn_node *node = r->node;
    if (node->n_inputs < 1 || node->n_inputs > 1 + QN_ORG_PARAMETERS || node->n_outputs != 1 ||
        node->inputs[0] == QN_NO_VALUE || node->outputs[0] == QN_NO_VALUE) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "it must have 1 to %d inputs and 1 output", 1 + QN_ORG_PARAMETERS);
    }
    for (int i = 0; i < node->n_attributes; i++) {
        int known = 0;
        while (known < n_attributes && strcmp(attributes[known], node->attributes[i].name) != 0) {
            known++;
        }
        if (known == n_attributes) {
            return qn_fail(r->err, QN_EFORMAT, r->where, "attribute %s is not one of version %d",
                           node->attributes[i].name, QN_ORG_VERSION);
        }
    }
    return QN_OK;
}

static qn_status read_int(const reader *r, int64_t *value, const char *name, int64_t fallback, int64_t lo, int64_t hi)
{
    const qn_attribute *a = qn_node_attribute(r->node, name);
    *value = a != NULL ? a->i : fallback;
    if (a != NULL && a->type != QN_ATTRIBUTE_INT) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "attribute %s is not an integer", name);
    }
    if (*value < lo || *value > hi) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "attribute %s is %lld; it must be %lld to %lld", name,
                       (long long)*value, (long long)lo, (long long)hi);
    }
    return QN_OK;
}

static qn_status read_format(const reader *r, qn_quantizer *q)
{
    const qn_attribute *a = qn_node_attribute(r->node, "format");
    if (a == NULL || a->type != QN_ATTRIBUTE_STRING) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "it needs the attribute format, a text");
    }
    qn_error inner;
    qn_error_init(&inner);
    return qn_format_parse(&q->format, a->s, &inner) == QN_OK ? QN_OK : fail_inner(r, &inner);
}

static qn_status read_granularity(const reader *r, qn_quantizer *q)
{
    int64_t axis;
    QN_TRY(read_format(r, q));
    QN_TRY(read_int(r, &axis, "axis", -1, -1, QN_MAX_RANK - 1));
    q->axis = (int)axis;
    return read_int(r, &q->group, "group", 0, 0, INT64_MAX);
}

/* Point the quantizer's arrays at the constants, which must have q->n elements. */
static qn_status read_parameters(const reader *r, qn_quantizer *q)
{
    const unsigned used = q->dynamic ? 0 : qn_format_parameters(q->format);
    for (int i = 0; i < QN_ORG_PARAMETERS; i++) {
        const qn_org_parameter *p = &qn_org_parameters[i];
        if (i + 1 >= r->node->n_inputs || r->node->inputs[i + 1] == QN_NO_VALUE) {
            continue;
        }
        if ((used & p->bit) == 0) {
            return qn_fail(r->err, QN_EFORMAT, r->where, "it has a %s, which %s", p->name,
                           q->dynamic ? "a dynamic quantizer does not keep" : "its format does not use");
        }
        const qn_value *value = &r->graph->values[r->node->inputs[i + 1]];
        if (value->constant == NULL || value->constant->dtype != p->dtype || value->constant->rank != 1) {
            return qn_fail(r->err, QN_EFORMAT, r->where, "%s must be a constant of %s with one dimension", p->name,
                           qn_dtype_text(p->dtype));
        }
        if (value->constant->dims[0] != q->n) {
            return qn_fail(r->err, QN_EFORMAT, r->where, "%s has %lld elements where %lld are needed", p->name,
                           (long long)value->constant->dims[0], (long long)q->n);
        }
        memcpy((char *)q + p->offset, &value->constant->data, sizeof(void *));
    }
    return QN_OK;
}

qn_status qn_org_read_fake(qn_coding *c, const qn_graph *graph, const qn_node *node, qn_error *err)
{
    static const char *const attributes[] = {"format", "axis", "group", "dynamic", "sets"};
    reader r;
    start(&r, graph, node, err);
    *c = (qn_coding){0};
    qn_quantizer *q = &c->quantizer;
    int64_t dynamic;
    QN_TRY(check_frame(&r, attributes, 5));
    QN_TRY(read_granularity(&r, q));
    QN_TRY(read_int(&r, &dynamic, "dynamic", 0, 0, 1));
    q->dynamic = dynamic != 0;
    QN_TRY(read_int(&r, &q->n, "sets", q->dynamic ? 0 : 1, 0, q->dynamic ? 0 : INT32_MAX));
    QN_TRY(read_parameters(&r, q));
    const qn_value *x = &graph->values[node->inputs[0]];
    qn_error inner;
    qn_error_init(&inner);
    return qn_quantizer_check_alone(q, x->rank, &inner) == QN_OK ? QN_OK : fail_inner(&r, &inner);
}

qn_status qn_org_check_constant(const qn_coding *c, const qn_graph *graph, const qn_node *node, const qn_tensor *x,
                                qn_error *err)
{
    reader r;
    start(&r, graph, node, err);
    qn_error inner;
    qn_error_init(&inner);
    if (c->quantizer.dynamic) {
        return qn_fail(err, QN_EFORMAT, r.where, "its input is a constant, which no dynamic quantizer can have");
    }
    return qn_quantizer_check(&c->quantizer, x->rank, x->dims, NULL, &inner) == QN_OK ? QN_OK : fail_inner(&r, &inner);
}

/* Bits that follow the last code. */
static bool has_clean_padding(const qn_packed *p, size_t n_bytes)
{
    unsigned used = (unsigned)((uint64_t)p->n * (uint64_t)p->bits % 8);
    return used == 0 || ((const unsigned char *)p->data)[n_bytes - 1] >> used == 0;
}

static void extend_sign(qn_tensor *codes, int bits)
{
    int64_t n = qn_tensor_count(codes);
    for (int64_t i = 0; i < n; i++) {
        if (codes->dtype == QN_DTYPE_S8) {
            ((int8_t *)codes->data)[i] = (int8_t)qn_code_signed(((const uint8_t *)codes->data)[i], bits);
        } else if (codes->dtype == QN_DTYPE_S16) {
            ((int16_t *)codes->data)[i] = (int16_t)qn_code_signed(((const uint16_t *)codes->data)[i], bits);
        }
    }
}

static qn_status unpack(const reader *r, qn_tensor **codes, qn_arena *arena, const qn_quantizer *q, int rank,
                        const int64_t *dims)
{
    const qn_value *value = &r->graph->values[r->node->inputs[0]];
    const qn_tensor *bytes = value->constant;
    if (bytes == NULL || bytes->dtype != QN_DTYPE_U8 || bytes->rank != 1 || value->stored_type != 0) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "its codes must be a constant of uint8 with one dimension");
    }
    qn_tensor shape = {.dtype = qn_format_dtype(q->format), .rank = rank};
    memcpy(shape.dims, dims, (size_t)rank * sizeof *dims);
    qn_packed packed = {.data = bytes->data, .n = qn_tensor_count(&shape), .bits = q->format.bits};
    size_t n_bytes;
    qn_error inner;
    qn_error_init(&inner);
    if (qn_packed_bytes(&n_bytes, packed.n, packed.bits, packed.packing, &inner) != QN_OK) {
        return fail_inner(r, &inner);
    }
    if (n_bytes != qn_tensor_bytes(bytes)) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "its codes have %zu bytes, but the shape and format take %zu",
                       qn_tensor_bytes(bytes), n_bytes);
    }
    if (!has_clean_padding(&packed, n_bytes)) {
        return qn_fail(r->err, QN_EFORMAT, r->where, "bits after its last code are not 0");
    }
    size_t width = qn_dtype_size(shape.dtype);
    qn_tensor *made = qn_arena_alloc(arena, sizeof *made);
    shape.data = qn_arena_array(arena, (size_t)packed.n, width);
    if (made == NULL || shape.data == NULL) {
        return qn_fail_memory(r->err, r->where, (size_t)packed.n);
    }
    qn_unpack(shape.data, &packed, width);
    extend_sign(&shape, q->format.bits);
    *made = shape;
    *codes = made;
    return QN_OK;
}

qn_status qn_org_read_constant(qn_tensor **codes, qn_coding *c, qn_graph *graph, const qn_node *node, qn_error *err)
{
    static const char *const attributes[] = {"format", "axis", "group", "shape"};
    reader r;
    start(&r, graph, node, err);
    *c = (qn_coding){0};
    qn_quantizer *q = &c->quantizer;
    QN_TRY(check_frame(&r, attributes, 4));
    QN_TRY(read_granularity(&r, q));
    const qn_attribute *shape = qn_node_attribute(node, "shape");
    if (shape == NULL || shape->type != QN_ATTRIBUTE_INTS || shape->n > QN_MAX_RANK) {
        return qn_fail(err, QN_EFORMAT, r.where, "it needs the attribute shape, a list of at most %d integers",
                       QN_MAX_RANK);
    }
    int rank = (int)shape->n;
    qn_error inner;
    qn_error_init(&inner);
    if (qn_quantizer_sets(&q->n, q->axis, q->group, rank, shape->ints, &inner) != QN_OK) {
        return fail_inner(&r, &inner);
    }
    QN_TRY(read_parameters(&r, q));
    if (qn_quantizer_check(q, rank, shape->ints, NULL, &inner) != QN_OK) {
        return fail_inner(&r, &inner);
    }
    return unpack(&r, codes, &graph->arena, q, rank, shape->ints);
}
