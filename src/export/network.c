/* From a program of the integer engine to tensors and layers in the model's terms. */
#include "export/network.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "export/network_parts.h"
#include "graph/arithmetic.h"
#include "graph/model.h"
#include "graph/node_list.h"

const char *qn_export_kind_text(qn_export_kind kind)
{
    static const char *const texts[] = {
        [QN_EXPORT_CONV] = "convolution",
        [QN_EXPORT_ADD] = "add",
        [QN_EXPORT_MUL] = "multiply",
        [QN_EXPORT_SUB] = "subtract",
        [QN_EXPORT_MAX_POOL] = "max pool",
        [QN_EXPORT_AVERAGE] = "average",
        [QN_EXPORT_LOOKUP] = "lookup",
        [QN_EXPORT_GATHER] = "gather",
        [QN_EXPORT_FLOAT] = "float layer",
        [QN_EXPORT_SOFTMAX] = "softmax",
        [QN_EXPORT_NORM] = "normalization",
        [QN_EXPORT_PRODUCT] = "product",
        [QN_EXPORT_PAD] = "pad",
    };
    return texts[kind];
}

qn_status qn_export_no_memory(const qn_export_network *n, qn_error *err)
{
    return qn_fail_memory(err, n->graph->file, 0);
}

/* Identifiers: of a name what identifiers hold, and a number where one has it already.
 *  slots   an open table, half empty
 *  n_slots    a power of two
 *  next    per slot: the number that the next one of the same stem may have
 *  makers  per tensor: the step that makes it, -1: none */
typedef struct id_maker {
    qn_export_network *network;
    const char **slots;
    size_t n_slots;
    int *next;
    const int *makers;
} id_maker;

enum { ID_MAX = 40 };

static size_t find_slot(const id_maker *ids, const char *id)
{
    size_t at = qn_hash_text(id, qn_hash_point(ids));
    while (ids->slots[at & (ids->n_slots - 1)] != NULL && strcmp(ids->slots[at & (ids->n_slots - 1)], id) != 0) {
        at++;
    }
    return at & (ids->n_slots - 1);
}

static const char *make_id(id_maker *ids, const char *prefix, const char *name)
{
    char stem[ID_MAX + 8];
    size_t length = 0;
    for (const char *p = prefix; *p != '\0'; p++) {
        stem[length++] = *p;
    }
    for (const char *p = name; *p != '\0' && length < ID_MAX; p++) {
        const char c = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p); /* in any locale */
        const bool legal = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (legal || (length > 0 && stem[length - 1] != '_')) {
            stem[length++] = legal ? c : '_';
        }
    }
    while (length > 1 && stem[length - 1] == '_') {
        length--;
    }
    stem[length] = '\0';
    const char *id = qn_arena_string(&ids->network->arena, stem);
    int *next = &ids->next[find_slot(ids, stem)];
    while (id != NULL && ids->slots[find_slot(ids, id)] != NULL) {
        *next = *next > 2 ? *next : 2;
        id = qn_arena_printf(&ids->network->arena, "%s_%d", stem, (*next)++);
    }
    if (id != NULL) {
        ids->slots[find_slot(ids, id)] = id;
    }
    return id;
}

static bool is_codes_layer(const qn_integer_step *step)
{
    switch (step->kind) {
    case QN_STEP_CONV:
    case QN_STEP_DEPTHWISE:
    case QN_STEP_POOL:
    case QN_STEP_LOOKUP:
    case QN_STEP_GATHER:
    case QN_STEP_ROWS:
        return true;
    case QN_STEP_ADD:
        return !step->u.add.params.fused;
    default:
        return false;
    }
}

/* The quantizer whose codes tensor `index` holds: that of its value where a step makes codes of its own, else that of what
 * the step reads. NULL for real tensors. */
static const qn_quantizer *quantizer_of(const qn_export_network *n, const qn_integer_code *code, const int *makers,
                                        int index)
{
    for (int guard = 0; guard <= code->n_tensors; guard++) {
        const qn_integer_tensor *t = &code->tensors[index];
        const qn_quantizer *own = n->graph->values[t->value].quantizer;
        const qn_integer_step *maker = makers[index] >= 0 ? &code->steps[makers[index]] : NULL;
        const bool passes = maker != NULL && (maker->kind == QN_STEP_GATHER ||
                                              (maker->kind == QN_STEP_POOL && maker->kernel->op == QN_KERNEL_MAXPOOL));
        if (t->base >= 0) {
            index = t->base;
        } else if (passes || (own == NULL && maker != NULL && maker->kind == QN_STEP_LOOKUP)) {
            index = maker->input[0];
        } else {
            return own;
        }
    }
    return NULL;
}

static qn_status set_tensor(qn_export_network *n, const qn_integer_code *code, int index, id_maker *ids, qn_error *err)
{
    const qn_integer_tensor *t = &code->tensors[index];
    qn_export_tensor *e = &n->tensors[index];
    const qn_bound_value *bound = &n->program->binding.values[t->value];
    *e = (qn_export_tensor){.name = n->graph->values[t->value].name,
                            .value = t->value,
                            .height = t->height,
                            .width = t->width,
                            .channels = t->channels,
                            .count = (int64_t)t->height * t->width * t->channels,
                            .plain = t->plain,
                            .real = t->real,
                            .base = t->base,
                            .scale = t->scale,
                            .maker = -1,
                            .last_reader = -1};
    e->id = make_id(ids, "t_", e->name);
    if (e->id == NULL) {
        return qn_export_no_memory(n, err);
    }
    const bool batched = t->initial == NULL && bound->rank > 0; /* the batch is no dimension of an item */
    for (int i = batched ? 1 : 0; i < bound->rank; i++) {
        e->dims[e->rank++] = bound->dims[i];
    }
    if (t->real) {
        return QN_OK;
    }
    const qn_quantizer *q = quantizer_of(n, code, ids->makers, index);
    if (q == NULL) {
        return qn_fail(err, QN_EINTERNAL, n->graph->file, "the codes of '%s' have no quantizer", e->name);
    }
    const int32_t raised = q->format.is_signed ? 128 : 0;
    e->bits = q->format.bits;
    e->is_signed = q->format.is_signed;
    e->zero_point = t->zero_point - raised;
    e->lo = t->lo - raised;
    e->hi = t->hi - raised;
    if (t->initial != NULL) {
        int16_t *copy = qn_arena_array(&n->arena, (size_t)e->count, sizeof *copy);
        if (copy == NULL) {
            return qn_export_no_memory(n, err);
        }
        for (int64_t i = 0; i < e->count; i++) {
            copy[i] = (int16_t)(t->initial[i] - raised);
        }
        e->constant = copy;
    }
    return QN_OK;
}

static const char *layer_name(const qn_export_network *n, const qn_integer_step *step)
{
    if (step->node == NULL) {
        return step->output >= 0 ? n->tensors[step->output].name : n->tensors[step->input[0]].name;
    }
    return step->node->name != NULL && step->node->name[0] != '\0' ? step->node->name
                                                                   : n->graph->values[step->node->outputs[0]].name;
}

/* A node's float step, or what goes between codes and floats. */
static void set_float(qn_export_network *n, const qn_integer_code *code, const qn_integer_step *step,
                      qn_export_layer *layer)
{
    layer->kind = QN_EXPORT_FLOAT;
    if (step->node == NULL) {
        const bool encodes = step->kind == QN_STEP_ENCODE;
        layer->op_type = encodes ? "Quantize" : step->kind == QN_STEP_LOAD ? "Load" : "Dequantize";
        layer->reason = encodes                      ? "codes are made of a float result"
                        : step->kind == QN_STEP_LOAD ? "an input that is read in float"
                                                     : "codes are read in float";
        return;
    }
    const char *reason = code->island_reason[step->node - n->graph->nodes];
    layer->reason = reason != NULL              ? reason
                    : step->kind == QN_STEP_ADD ? "its sum is fused as in ONNX Runtime, which exports do not have (--sums float: two rounded products)"
                                                : "a product of two activations";
}

static qn_status set_layer(qn_export_network *n, const qn_region_plan *plan, int index, qn_export_layer *layer,
                           id_maker *ids, qn_error *err)
{
    const qn_integer_code *code = n->program->code;
    const qn_integer_step *step = &code->steps[index];
    *layer = (qn_export_layer){.name = layer_name(n, step), .output = step->output, .step = index};
    layer->op_type = step->node != NULL ? step->node->op_type : "";
    int n_inputs;
    const int *inputs = qn_integer_inputs(step, &n_inputs);
    for (int i = 0; i < n_inputs; i++) {
        if (inputs[i] >= 0) {
            layer->input[layer->n_inputs++] = inputs[i];
        }
    }
    layer->id = make_id(ids, "l_", layer->name);
    if (layer->id == NULL) {
        return qn_export_no_memory(n, err);
    }
    if (!is_codes_layer(step)) {
        set_float(n, code, step, layer);
        return QN_OK;
    }
    return qn_export_read_step(n, step, &plan->steps[index], layer, err);
}

/* Codes of an input that are wanted in a second order are the first ones, moved. */
static qn_status set_reorder(qn_export_network *n, int from, int to, id_maker *ids, qn_error *err)
{
    qn_export_layer *layer = &n->layers[n->n_layers];
    const qn_integer_code *code = n->program->code;
    const qn_integer_tensor *a = &code->tensors[from], *b = &code->tensors[to];
    int32_t *index = qn_arena_array(&n->arena, (size_t)n->tensors[to].count, sizeof *index);
    *layer = (qn_export_layer){.kind = QN_EXPORT_GATHER,
                               .name = n->tensors[to].name,
                               .op_type = "Transpose",
                               .n_inputs = 1,
                               .input = {from},
                               .output = to,
                               .step = -1,
                               .u.index = index};
    layer->id = make_id(ids, "l_", layer->name);
    if (index == NULL || layer->id == NULL) {
        return qn_export_no_memory(n, err);
    }
    for (int64_t i = 0; i < n->tensors[to].count; i++) {
        const qn_region_place pa = qn_region_place_of(a, i), pb = qn_region_place_of(b, i);
        index[((int64_t)pb.y * b->width + pb.x) * b->channels + pb.k] = (pa.y * a->width + pa.x) * a->channels + pa.k;
    }
    n->n_layers++;
    return QN_OK;
}

static bool is_input_step(const qn_integer_step *step)
{
    return step->input[0] < 0 && (step->kind == QN_STEP_ENCODE || step->kind == QN_STEP_LOAD);
}

static bool is_output_step(const qn_integer_step *step)
{
    return step->output < 0; /* a decoding or storing one */
}

static qn_status set_layers(qn_export_network *n, const qn_region_plan *plan, id_maker *ids, qn_error *err)
{
    const qn_integer_code *code = n->program->code;
    for (int i = 0; i < code->n_steps; i++) {
        const qn_integer_step *step = &code->steps[i];
        if (is_output_step(step)) {
            n->outputs[step->io].tensor = step->input[0];
        } else if (is_input_step(step) && n->inputs[step->io].tensor < 0) {
            n->inputs[step->io].tensor = step->output;
        } else if (is_input_step(step) && step->kind == QN_STEP_ENCODE &&
                   !n->tensors[n->inputs[step->io].tensor].real) {
            QN_TRY(set_reorder(n, n->inputs[step->io].tensor, step->output, ids, err));
        } else {
            QN_TRY(set_layer(n, plan, i, &n->layers[n->n_layers], ids, err));
            n->n_float += n->layers[n->n_layers].kind == QN_EXPORT_FLOAT;
            n->n_layers++;
        }
    }
    return QN_OK;
}

/* Who makes and who reads each tensor. */
static void set_uses(qn_export_network *n)
{
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        qn_export_tensor *made = &n->tensors[qn_export_base(n, layer->output)];
        made->maker = made->maker < 0 ? i : made->maker;
        made->used = n->tensors[layer->output].used = true;
        for (int j = 0; j < layer->n_inputs; j++) {
            qn_export_tensor *read = &n->tensors[qn_export_base(n, layer->input[j])];
            read->last_reader = i;
            read->used = n->tensors[layer->input[j]].used = true;
        }
    }
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const int tensor = i < n->n_inputs ? n->inputs[i].tensor : n->outputs[i - n->n_inputs].tensor;
        if (tensor >= 0) {
            n->tensors[tensor].used = n->tensors[qn_export_base(n, tensor)].used = true;
        }
    }
}

static qn_status set_ios(qn_export_network *n, qn_export_io *ios, const qn_program_io *from, int count, id_maker *ids,
                         qn_error *err)
{
    for (int i = 0; i < count; i++) {
        ios[i] = (qn_export_io){
            .name = n->graph->values[from[i].value].name, .tensor = -1, .rank = from[i].rank, .count = from[i].count};
        memcpy(ios[i].dims, from[i].dims, sizeof ios[i].dims);
        ios[i].id = make_id(ids, ios == n->inputs ? "in_" : "out_", ios[i].name);
        if (ios[i].id == NULL) {
            return qn_export_no_memory(n, err);
        }
    }
    return QN_OK;
}

static qn_status fill(qn_export_network *n, qn_error *err)
{
    const qn_program *p = n->program;
    const qn_integer_code *code = p->code;
    n->graph = &p->graph;
    n->n_tensors = code->n_tensors;
    n->n_inputs = (int)p->n_inputs;
    n->n_outputs = (int)p->n_outputs;
    const size_t n_tensors = (size_t)code->n_tensors, n_steps = (size_t)code->n_steps;
    n->tensors = qn_arena_array(&n->arena, n_tensors + 1, sizeof *n->tensors);
    n->layers = qn_arena_array(&n->arena, n_steps + 1, sizeof *n->layers);
    n->inputs = qn_arena_array(&n->arena, p->n_inputs + 1, sizeof *n->inputs);
    n->outputs = qn_arena_array(&n->arena, p->n_outputs + 1, sizeof *n->outputs);
    int *makers = qn_arena_array(&n->arena, n_tensors + 1, sizeof *makers);
    id_maker ids = {.network = n, .n_slots = 16, .makers = makers};
    while (ids.n_slots < 2 * (n_tensors + n_steps + p->n_inputs + p->n_outputs)) {
        ids.n_slots *= 2;
    }
    ids.slots = qn_arena_array(&n->arena, ids.n_slots, sizeof *ids.slots);
    ids.next = qn_arena_array(&n->arena, ids.n_slots, sizeof *ids.next);
    if (n->tensors == NULL || n->layers == NULL || n->inputs == NULL || n->outputs == NULL || ids.slots == NULL ||
        ids.next == NULL || makers == NULL) {
        return qn_export_no_memory(n, err);
    }
    memset(makers, 0xff, n_tensors * sizeof *makers);
    for (int i = code->n_steps - 1; i >= 0; i--) {
        if (code->steps[i].output >= 0) {
            makers[code->steps[i].output] = i;
        }
    }
    QN_TRY(set_ios(n, n->inputs, p->inputs, n->n_inputs, &ids, err));
    QN_TRY(set_ios(n, n->outputs, p->outputs, n->n_outputs, &ids, err));
    for (int i = 0; i < n->n_tensors; i++) {
        QN_TRY(set_tensor(n, code, i, &ids, err));
    }
    qn_region_plan *plan;
    QN_TRY(qn_region_plan_make(&plan, p, err));
    const qn_status status = set_layers(n, plan, &ids, err);
    qn_region_plan_free(plan);
    set_uses(n);
    return status;
}

qn_status qn_export_network_make(qn_export_network **network, const qn_model *model, qn_error *err)
{
    *network = NULL;
    if (!qn_model_is_quantized(model)) {
        return qn_fail(err, QN_EINVAL, model->graph.file,
                       "is a float network: there are no integers to export; quantize it first: quern quantize");
    }
    qn_program_options options;
    qn_program *program;
    QN_TRY(qn_program_options_init(&options, QN_ENGINE_INTEGER, err));
    options.keep_values = true;
    QN_TRY(qn_program_create(&program, model, &options, err));
    return qn_export_network_of(network, program, err);
}

qn_status qn_export_network_of(qn_export_network **network, qn_program *program, qn_error *err)
{
    qn_export_network *n = qn_alloc(sizeof *n);
    *network = NULL;
    if (n == NULL) {
        qn_program_free(program);
        return qn_fail_memory(err, NULL, sizeof *n);
    }
    n->program = program;
    qn_status status = qn_graph_get_arithmetic(&program->graph, &n->arithmetic, err);
    if (status == QN_OK) {
        status = fill(n, err);
    }
    if (status != QN_OK) {
        qn_export_network_free(n);
        return status;
    }
    *network = n;
    return QN_OK;
}

void qn_export_network_free(qn_export_network *network)
{
    if (network != NULL) {
        qn_program_free(network->program);
        qn_arena_free(&network->arena);
        qn_free(network);
    }
}

/* Layers without a node of their own, where there is nothing else to name. */
static qn_status fail_between(const qn_export_network *network, const char *lead, qn_error *err)
{
    for (int i = 0; i < network->n_layers; i++) {
        const qn_export_layer *layer = &network->layers[i];
        if (layer->kind == QN_EXPORT_FLOAT) {
            return qn_fail(err, QN_EUNSUPPORTED, network->graph->file, "%s: '%s': %s", lead, layer->name,
                           layer->reason);
        }
    }
    return QN_OK;
}

qn_status qn_export_need_other_kinds(const qn_export_network *network, const char *target, unsigned kinds,
                                     qn_error *err)
{
    char lead[256];
    snprintf(lead, sizeof lead,
             "cannot be exported to %s, which has no such layers (keep these in float by --keep-float and export "
             "what lies between, or export to c)",
             target);
    qn_node_list list = {0};
    const qn_integer_code *code = network->program->code;
    for (int i = 0; i < network->n_layers; i++) {
        const qn_export_layer *layer = &network->layers[i];
        if ((kinds >> layer->kind & 1) != 0) {
            const qn_status status =
                qn_node_list_add(&list, code->steps[layer->step].node, qn_export_kind_text(layer->kind), err);
            if (status != QN_OK) {
                qn_node_list_free(&list);
                return status;
            }
        }
    }
    return qn_node_list_fail(&list, network->graph, QN_EUNSUPPORTED, lead, err);
}

qn_status qn_export_need_integers(const qn_export_network *network, const char *target, qn_error *err)
{
    char lead[256];
    snprintf(
        lead, sizeof lead,
        "cannot be exported to %s, which holds integers only; these run in float (give them quantizers, or replace "
        "them by operators with an integer form: quern inspect lists them)",
        target);
    qn_node_list list = {0};
    const qn_integer_code *code = network->program->code;
    for (int i = 0; i < network->n_layers; i++) {
        const qn_export_layer *layer = &network->layers[i];
        const qn_node *node = layer->step >= 0 ? code->steps[layer->step].node : NULL;
        const bool again = list.n > 0 && list.nodes[list.n - 1] == node; /* nodes of several steps */
        if (layer->kind == QN_EXPORT_FLOAT && node != NULL && !again) {
            const qn_status status = qn_node_list_add(&list, node, layer->reason, err);
            if (status != QN_OK) {
                qn_node_list_free(&list);
                return status;
            }
        }
    }
    return list.n > 0 ? qn_node_list_fail(&list, network->graph, QN_EUNSUPPORTED, lead, err)
                      : fail_between(network, lead, err);
}
