/* QuantizeLinear -> DequantizeLinear pairs, and nodes of domain org.quern, become quantizers on values; whatever forms
 * no pair stays and computes.
 *
 *  x -> Q -> DQ -> y, x read by Q alone: x carries the quantizer and is read instead of y (and takes the name of y when
 *      that is a graph output)
 *  x -> Q -> DQ -> y, x read by others: DQ becomes an Identity from x to y, and y carries the quantizer
 *  constant codes -> DQ -> y: y is a quantized constant
 *  constant -> Q -> DQ -> y: the same, encoded here
 *  x -> FakeQuantize -> y: as a pair; codes -> Dequantize -> y: as a DQ
 *  x -> Quant (and the like of QONNX) -> y: as a pair, where a quantizer says the same; else it stays, and y carries the
 *      quantizer on whose grid it lies. Of constants: y is a constant, quantized where it lies on a grid
 *  x -> Q -> codes, read by others than DQ: Q stays; x carries the quantizer, too, when nobody else reads it
 *  codes -> DQ -> y, codes from elsewhere: DQ stays, and y carries the quantizer
 *
 * The latter two only where one set of at most 8-bit integers codes the value: a node computes the same in every engine,
 * whereas not every engine has values of other codings. Q and DQ stay without quantizers where their parameters are
 * computed, or no quantizer can hold them. Codes of a type that does not exist are refused, all of them at once. Inputs
 * and outputs of the graph keep their names. */
#include <math.h>
#include <string.h>

#include "graph/bind.h"
#include "graph/node_list.h"
#include "onnx/onnx.h"
#include "onnx/org_quern.h"
#include "onnx/qdq.h"
#include "onnx/qoperator.h"

typedef struct folder {
    qn_graph *graph;
    qn_arena scratch;
    int32_t *uses;            /* per value: readers, graph outputs included */
    int32_t *dq_uses;         /* per value: DequantizeLinear nodes that decode it */
    qn_value_id *replaced;    /* per value: what is read instead; itself, mostly */
    qn_coding *codings;       /* per node; of Q and FakeQuantize nodes only */
    qn_value_id *targets;     /* per node; of the same: the value that got the quantizer, QN_NO_VALUE before */
    bool *kept;               /* per node; of Q nodes: it stays */
    size_t n_values, n_nodes; /* when folding began */
    qn_node_list refused;
    qn_error *err;
} folder;

static qn_status fail_memory(const folder *f)
{
    return qn_fail_memory(f->err, NULL, 0);
}

static qn_status refuse(folder *f, const qn_node *node, const char *reason)
{
    return qn_node_list_add(&f->refused, node, reason, f->err);
}

static bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

/* Value `id` becomes the constant that `codes` (owned by the arena) stand for. Its producer, the node that decodes, is
 * removed. */
static qn_status set_coded_constant(folder *f, qn_value_id id, const qn_tensor *codes, const qn_quantizer *q)
{
    qn_graph *graph = f->graph;
    qn_node *dq = &graph->nodes[graph->values[id].producer];
    char where[QN_NODE_WHERE_MAX];
    qn_tensor decoded;
    QN_TRY(qn_tensor_alloc(&decoded, QN_DTYPE_F32, codes->rank, codes->dims, f->err));
    qn_quantizer_decode(decoded.data, codes->data, q, codes->rank, codes->dims);
    qn_status status =
        all_finite(decoded.data, qn_tensor_count(&decoded))
            ? QN_OK
            : qn_fail(f->err, QN_ERANGE, qn_node_where(where, graph, dq), "its codes stand for NaN or infinity");
    dq->op = QN_OP_REMOVED;
    graph->values[id].producer = -1;
    status = status == QN_OK ? qn_graph_set_constant(graph, id, &decoded, f->err) : status;
    qn_tensor_free(&decoded);
    QN_TRY(status);
    QN_TRY(qn_graph_set_quantizer(graph, id, q, f->err));
    graph->values[id].codes = codes;
    return QN_OK;
}

/* Codes times a scale that their format does not have are a constant without quantizer. */
static qn_status set_scaled_constant(folder *f, qn_node *dq, const qn_tensor *codes, qn_coding *c)
{
    qn_tensor decoded;
    const qn_value_id id = dq->outputs[0];
    QN_TRY(qn_tensor_alloc(&decoded, QN_DTYPE_F32, codes->rank, codes->dims, f->err));
    const qn_quantizer scaled = c->quantizer;
    c->quantizer = (qn_quantizer){.format = scaled.format, .axis = -1, .n = 1};
    qn_quantizer_decode(decoded.data, codes->data, &c->quantizer, codes->rank, codes->dims);
    qn_scale_sets(decoded.data, &scaled, codes->rank, codes->dims);
    char where[QN_NODE_WHERE_MAX];
    qn_status status =
        all_finite(decoded.data, qn_tensor_count(&decoded))
            ? QN_OK
            : qn_fail(f->err, QN_ERANGE, qn_node_where(where, f->graph, dq), "its codes stand for NaN or infinity");
    dq->op = QN_OP_REMOVED;
    f->graph->values[id].producer = -1;
    status = status == QN_OK ? qn_graph_set_constant(f->graph, id, &decoded, f->err) : status;
    qn_tensor_free(&decoded);
    return status;
}

static qn_status fold_constant(folder *f, qn_node *dq)
{
    const qn_tensor *codes = qn_constant_input(f->graph, dq, 0);
    qn_coding c;
    QN_TRY(qn_coding_read(&c, &f->scratch, f->graph, dq, f->err));
    int32_t type = qn_constant_type(&f->graph->values[dq->inputs[0]]);
    if (c.reason != NULL) {
        return c.refused ? refuse(f, dq, c.reason) : QN_OK;
    }
    if (c.type != 0 && c.type != type) {
        return refuse(f, dq, "input and zero point have different types");
    }
    c.type = type;
    QN_TRY(qn_coding_complete(&c, f->graph, dq, codes->rank, codes->dims, f->err));
    if (c.reason != NULL && c.scaled) {
        return set_scaled_constant(f, dq, codes, &c);
    }
    return c.reason != NULL ? refuse(f, dq, c.reason) : set_coded_constant(f, dq->outputs[0], codes, &c.quantizer);
}

/* Constant -> Q -> DQ, or FakeQuantize: the codes are made here. */
static qn_status encode_constant(folder *f, const qn_node *q_node, qn_value_id id, const qn_tensor *x, qn_coding *c)
{
    bool is_pair = qn_is_quantize_linear(q_node);
    QN_TRY(is_pair ? qn_coding_complete(c, f->graph, q_node, x->rank, x->dims, f->err)
                   : qn_org_check_constant(c, f->graph, q_node, x, f->err));
    qn_tensor made;
    QN_TRY(qn_tensor_alloc(&made, qn_format_dtype(c->quantizer.format), x->rank, x->dims, f->err));
    qn_quantizer_encode(made.data, x->data, &c->quantizer, x->rank, x->dims);
    qn_status status = qn_graph_set_codes(f->graph, id, &made, f->err);
    qn_tensor_free(&made);
    QN_TRY(status);
    return set_coded_constant(f, id, f->graph->values[id].codes, &c->quantizer);
}

/* The DQ node stays as the Identity from `from` to the value that carries the quantizer. */
static qn_status make_identity(folder *f, qn_node *dq, qn_value_id from, const qn_quantizer *q)
{
    dq->op = QN_OP_IDENTITY;
    dq->op_type = "Identity";
    dq->domain = "";
    dq->inputs[0] = from;
    dq->n_inputs = 1;
    dq->n_attributes = 0;
    return qn_graph_set_quantizer(f->graph, dq->outputs[0], q, f->err);
}

/* Choose the value for the quantizer of a Q at its first DQ; of a FakeQuantize, which is both. */
static qn_status choose_target(folder *f, int32_t q_index, qn_node *dq)
{
    const qn_node *q_node = &f->graph->nodes[q_index];
    qn_coding *c = &f->codings[q_index];
    qn_value_id original = q_node->inputs[0], from = f->replaced[original];
    const qn_value *value = &f->graph->values[from];
    f->targets[q_index] = dq->outputs[0];
    if (value->constant != NULL) {
        return encode_constant(f, q_node, dq->outputs[0], value->constant, c);
    }
    if (f->uses[original] == 1 && value->quantizer != NULL && qn_quantizer_equal(value->quantizer, &c->quantizer)) {
        f->targets[q_index] = from;
        return QN_OK;
    }
    if (f->uses[original] == 1 && value->quantizer == NULL) {
        f->targets[q_index] = from;
        return qn_graph_set_quantizer(f->graph, from, &c->quantizer, f->err);
    }
    return make_identity(f, dq, from, &c->quantizer);
}

static bool is_graph_input(const qn_graph *graph, qn_value_id id)
{
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (graph->inputs[i] == id) {
            return true;
        }
    }
    return false;
}

/* `target` is to be called as the graph output `output`, which it replaces. */
static qn_status take_name(folder *f, qn_value_id target, qn_value_id output)
{
    qn_graph *graph = f->graph;
    const char *name = graph->values[output].name;
    const char *spare = qn_graph_unique_name(graph, graph->values[target].name);
    if (spare == NULL) {
        return fail_memory(f);
    }
    QN_TRY(qn_graph_rename(graph, output, spare, f->err));
    QN_TRY(qn_graph_rename(graph, target, name, f->err));
    qn_value *to = &graph->values[target];
    const qn_value *from = &graph->values[output];
    if (to->constant == NULL && from->rank >= 0) {
        to->rank = from->rank;
        memcpy(to->dims, from->dims, sizeof to->dims);
        memcpy(to->dim_names, from->dim_names, sizeof to->dim_names);
    }
    to->dtype = from->dtype != QN_DTYPE_NONE ? from->dtype : to->dtype;
    return QN_OK;
}

/* Let a value carry the quantizer of node `q_index`, whose result `dq` makes. */
static qn_status settle(folder *f, int32_t q_index, qn_node *dq)
{
    qn_value_id out = dq->outputs[0];
    if (f->targets[q_index] == QN_NO_VALUE) {
        QN_TRY(choose_target(f, q_index, dq));
    }
    qn_value_id target = f->targets[q_index];
    if (target == out) {
        return QN_OK;
    }
    if (qn_graph_is_output(f->graph, out)) {
        if (is_graph_input(f->graph, target) || qn_graph_is_output(f->graph, f->replaced[target])) {
            return make_identity(f, dq, target, &f->codings[q_index].quantizer);
        }
        QN_TRY(take_name(f, target, out));
        for (size_t i = 0; i < f->graph->n_outputs; i++) {
            f->graph->outputs[i] = f->graph->outputs[i] == out ? target : f->graph->outputs[i];
        }
    }
    f->replaced[out] = target;
    dq->op = QN_OP_REMOVED;
    return QN_OK;
}

/* Is it what every engine can hold? */
static bool is_plain(const qn_quantizer *q)
{
    return q->format.kind == QN_FORMAT_INT && q->format.bits <= 8 && q->n == 1 && q->axis < 0 && q->group == 0;
}

static qn_status keep_dequantize(folder *f, const qn_node *dq, qn_coding *c)
{
    if (c->reason != NULL || c->type == 0) {
        return c->refused ? refuse(f, dq, c->reason) : QN_OK;
    }
    QN_TRY(qn_coding_complete(c, f->graph, dq, 0, NULL, f->err));
    if (c->refused) {
        return refuse(f, dq, c->reason);
    }
    return c->reason == NULL && is_plain(&c->quantizer)
               ? qn_graph_set_quantizer(f->graph, dq->outputs[0], &c->quantizer, f->err)
               : QN_OK;
}

/* A Q node that stays, and whose codes nobody decodes again: its input is coded, too, when it is not read otherwise. */
static qn_status keep_quantize(folder *f, int32_t index)
{
    const qn_node *node = &f->graph->nodes[index];
    const qn_coding *c = &f->codings[index];
    const qn_value_id original = node->inputs[0], from = f->replaced[original];
    const qn_value *x = &f->graph->values[from];
    const bool alone = f->uses[original] == 1 && x->quantizer == NULL && x->constant == NULL;
    return c->reason == NULL && f->targets[index] == QN_NO_VALUE && alone && is_plain(&c->quantizer)
               ? qn_graph_set_quantizer(f->graph, from, &c->quantizer, f->err)
               : QN_OK;
}

static qn_status fold_pair(folder *f, int32_t q_index, qn_node *dq)
{
    qn_coding *q = &f->codings[q_index];
    qn_coding c;
    QN_TRY(qn_coding_read(&c, &f->scratch, f->graph, dq, f->err));
    if (q->reason != NULL || c.reason != NULL || !qn_coding_undoes(q, &c)) {
        f->kept[q_index] = true;
        c.type = c.type != 0 ? c.type : q->type;
        return keep_dequantize(f, dq, &c);
    }
    return settle(f, q_index, dq);
}

/* A node of domain org.quern that makes floats. */
static qn_status visit_org(folder *f, int32_t index)
{
    qn_node *node = &f->graph->nodes[index];
    qn_coding *c = &f->codings[index];
    qn_tensor *codes;
    bool is_fake = qn_org_is_fake_quantize(node);
    QN_TRY(is_fake ? qn_org_read_fake(c, f->graph, node, f->err)
                   : qn_org_read_constant(&codes, c, f->graph, node, f->err));
    const qn_value *y = &f->graph->values[node->outputs[0]];
    if (y->dtype != QN_DTYPE_NONE && y->dtype != QN_DTYPE_F32) {
        return refuse(f, node, "its output is not float32");
    }
    return is_fake ? settle(f, index, node) : set_coded_constant(f, node->outputs[0], codes, &c->quantizer);
}

/* What a node of QONNX makes of constants: codes, where those stand for just that. */
static qn_status set_qonnx_constant(folder *f, qn_node *node, const qn_tensor *y)
{
    const qn_value_id id = node->outputs[0];
    qn_coding c;
    bool exact;
    QN_TRY(qn_qonnx_read(&c, &exact, &f->scratch, f->graph, node, y->rank, y->dims, f->err));
    if (c.reason == NULL && qn_quantizer_check(&c.quantizer, y->rank, y->dims, NULL, NULL) == QN_OK) {
        const int64_t n = qn_tensor_count(y);
        const float *wanted = y->data;
        float *decoded = qn_arena_array(&f->scratch, (size_t)n, sizeof *decoded);
        qn_tensor codes = {.dtype = qn_format_dtype(c.quantizer.format), .rank = y->rank};
        memcpy(codes.dims, y->dims, sizeof codes.dims);
        codes.data = qn_arena_array(&f->scratch, (size_t)n, qn_dtype_size(codes.dtype));
        if (decoded == NULL || codes.data == NULL) {
            return fail_memory(f);
        }
        qn_quantizer_encode(codes.data, wanted, &c.quantizer, y->rank, y->dims);
        qn_quantizer_decode(decoded, codes.data, &c.quantizer, y->rank, y->dims);
        bool equal = true;
        for (int64_t i = 0; i < n; i++) {
            equal &= decoded[i] == wanted[i];
        }
        if (equal) {
            QN_TRY(qn_graph_set_codes(f->graph, id, &codes, f->err));
            return set_coded_constant(f, id, f->graph->values[id].codes, &c.quantizer);
        }
    }
    node->op = QN_OP_REMOVED;
    f->graph->values[id].producer = -1;
    return qn_graph_set_constant(f->graph, id, y, f->err);
}

/* A node of QONNX. Where something is wrong with it, it stays: binding says what. */
static qn_status visit_qonnx(folder *f, int32_t index)
{
    qn_node *node = &f->graph->nodes[index];
    qn_coding *c = &f->codings[index];
    if (qn_node_check(f->graph, node, NULL) != QN_OK) {
        return QN_OK;
    }
    const qn_value *x = &f->graph->values[f->replaced[node->inputs[0]]];
    if (x->constant != NULL) {
        qn_tensor y;
        qn_status status = qn_node_of_constants(&y, f->graph, node, NULL);
        if (status != QN_OK) {
            return status == QN_ENOMEM ? fail_memory(f) : QN_OK;
        }
        status = all_finite(y.data, qn_tensor_count(&y)) ? set_qonnx_constant(f, node, &y) : QN_OK;
        qn_tensor_free(&y);
        return status;
    }
    bool exact;
    const qn_value *told = x->rank >= 0 ? x : &f->graph->values[node->inputs[0]];
    QN_TRY(qn_qonnx_read(c, &exact, &f->scratch, f->graph, node, told->rank, told->dims, f->err));
    if (c->reason != NULL || (x->dtype != QN_DTYPE_NONE && x->dtype != QN_DTYPE_F32)) {
        return QN_OK;
    }
    if (exact) {
        return settle(f, index, node);
    }
    return is_plain(&c->quantizer) ? qn_graph_set_quantizer(f->graph, node->outputs[0], &c->quantizer, f->err) : QN_OK;
}

static qn_status visit_quantize(folder *f, int32_t index)
{
    const qn_node *node = &f->graph->nodes[index];
    qn_coding *c = &f->codings[index];
    QN_TRY(qn_coding_read(c, &f->scratch, f->graph, node, f->err));
    if (c->refused) {
        return refuse(f, node, c->reason);
    }
    if (c->reason == NULL) {
        const qn_value *x = &f->graph->values[f->replaced[node->inputs[0]]];
        const qn_dtype dtype = x->constant != NULL ? x->constant->dtype : x->dtype;
        QN_TRY(qn_coding_complete(c, f->graph, node, 0, NULL, f->err));
        if (c->reason == NULL && c->quantizer.format.bits == 32) {
            c->reason = "it cannot encode as int32";
            c->refused = true;
        }
        if (c->refused) {
            return refuse(f, node, c->reason);
        }
        if (c->reason == NULL &&
            ((dtype != QN_DTYPE_NONE && dtype != QN_DTYPE_F32) || (c->quantizer.group != 0 && x->constant == NULL))) {
            c->reason = "no quantizer holds what it does";
        }
    }
    const qn_value_id codes = node->outputs[0];
    f->kept[index] = c->reason != NULL || f->uses[codes] != f->dq_uses[codes];
    return QN_OK;
}

static qn_status visit_dequantize(folder *f, int32_t index)
{
    qn_node *node = &f->graph->nodes[index];
    if (node->n_inputs == 0 || node->inputs[0] == QN_NO_VALUE || node->n_outputs != 1 ||
        node->outputs[0] == QN_NO_VALUE) {
        return refuse(f, node, "it must have 2 or 3 inputs and 1 output");
    }
    const qn_value *x = &f->graph->values[node->inputs[0]], *y = &f->graph->values[node->outputs[0]];
    const bool has_producer = x->producer >= 0 && qn_is_quantize_linear(&f->graph->nodes[x->producer]);
    if (y->dtype != QN_DTYPE_NONE && y->dtype != QN_DTYPE_F32) {
        if (has_producer) {
            f->kept[x->producer] = true;
        }
        return QN_OK;
    }
    if (x->constant != NULL) {
        return fold_constant(f, node);
    }
    if (has_producer) {
        return fold_pair(f, x->producer, node);
    }
    qn_coding c;
    QN_TRY(qn_coding_read(&c, &f->scratch, f->graph, node, f->err));
    c.type = c.type != 0 ? c.type : qn_qoperator_type(f->graph, node->inputs[0]);
    return keep_dequantize(f, node, &c);
}

static qn_status prepare(folder *f)
{
    qn_graph *graph = f->graph;
    f->n_values = graph->n_values;
    f->n_nodes = graph->n_nodes;
    f->uses = qn_arena_array(&f->scratch, f->n_values, sizeof *f->uses);
    f->dq_uses = qn_arena_array(&f->scratch, f->n_values, sizeof *f->dq_uses);
    f->replaced = qn_arena_array(&f->scratch, f->n_values, sizeof *f->replaced);
    f->codings = qn_arena_array(&f->scratch, f->n_nodes, sizeof *f->codings);
    f->targets = qn_arena_array(&f->scratch, f->n_nodes, sizeof *f->targets);
    f->kept = qn_arena_array(&f->scratch, f->n_nodes, sizeof *f->kept);
    if (f->uses == NULL || f->dq_uses == NULL || f->replaced == NULL || f->codings == NULL || f->targets == NULL ||
        f->kept == NULL) {
        return fail_memory(f);
    }
    for (size_t i = 0; i < f->n_values; i++) {
        f->replaced[i] = (qn_value_id)i;
    }
    for (size_t n = 0; n < f->n_nodes; n++) {
        qn_node *node = &graph->nodes[n];
        f->targets[n] = QN_NO_VALUE;
        if (qn_is_quantize_linear(node) || qn_is_dequantize_linear(node)) { /* com.microsoft's are the same */
            node->op = qn_is_quantize_linear(node) ? QN_OP_QUANTIZE_LINEAR : QN_OP_DEQUANTIZE_LINEAR;
            node->domain = "";
        }
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                f->uses[node->inputs[i]]++;
                f->dq_uses[node->inputs[i]] += i == 0 && qn_is_dequantize_linear(node);
            }
        }
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        f->uses[graph->outputs[i]]++;
    }
    return QN_OK;
}

/* Let everybody read what replaces a DQ's output, and drop the Q nodes that are not kept. */
static void replace_all(folder *f)
{
    for (size_t n = 0; n < f->n_nodes; n++) {
        qn_node *node = &f->graph->nodes[n];
        if (qn_is_quantize_linear(node) && !f->kept[n]) {
            node->op = QN_OP_REMOVED;
        }
        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != QN_NO_VALUE) {
                node->inputs[i] = f->replaced[node->inputs[i]];
            }
        }
    }
}

static qn_status fold(folder *f)
{
    QN_TRY(prepare(f));
    for (size_t n = 0; n < f->n_nodes; n++) { /* topological: a Q comes before its DQs */
        const qn_node *node = &f->graph->nodes[n];
        if (qn_is_quantize_linear(node)) {
            QN_TRY(visit_quantize(f, (int32_t)n));
        } else if (qn_is_dequantize_linear(node)) {
            QN_TRY(visit_dequantize(f, (int32_t)n));
        } else if (qn_org_is_fake_quantize(node) || qn_org_is_dequantize(node)) {
            QN_TRY(visit_org(f, (int32_t)n));
        } else if (qn_is_qonnx(node)) {
            QN_TRY(visit_qonnx(f, (int32_t)n));
        }
    }
    QN_TRY(qn_node_list_fail(&f->refused, f->graph, QN_EUNSUPPORTED, "quantization that quern does not know", f->err));
    for (size_t n = 0; n < f->n_nodes; n++) {
        if (qn_is_quantize_linear(&f->graph->nodes[n]) && f->kept[n]) {
            QN_TRY(keep_quantize(f, (int32_t)n));
        }
    }
    replace_all(f);
    return QN_OK;
}

qn_status qn_qdq_fold(qn_graph *graph, qn_error *err)
{
    folder f = {.graph = graph, .err = err};
    QN_TRY(qn_qonnx_find_ranks(graph, err));
    qn_status status = fold(&f);
    qn_node_list_free(&f.refused);
    qn_arena_free(&f.scratch);
    return status;
}
