/* Where tensors lie: inputs and outputs in the caller's structures, constants in arrays, all others in one planned
 * buffer. A layer that works element by element may write over what it reads last. */
#include <string.h>

#include "base/memory.h"
#include "export/c/cmsis.h"
#include "export/c/plan_memory.h"

const qn_c_place *qn_c_place_of(const qn_c_plan *plan, int tensor)
{
    return &plan->places[qn_export_base(plan->network, tensor)];
}

bool qn_c_is_sums(const qn_export_network *network, int tensor)
{
    return network->tensors[qn_export_base(network, tensor)].real;
}

static bool decodes(const qn_export_network *n, int tensor)
{
    const int maker = n->tensors[tensor].maker;
    return maker >= 0 && n->layers[maker].kind == QN_EXPORT_CONV && n->layers[maker].u.conv.decodes;
}

/* Floats that quern_soft.c computes with. */
static bool is_moderate(float x)
{
    return x >= 0x1p-40f && x <= 0x1p40f;
}

static qn_status check_soft(const qn_export_network *n, const qn_export_layer *l, qn_error *err)
{
    const qn_export_pool *p = &l->u.pool;
    bool pairs = true;
    for (int i = 0; qn_export_is_pair(l->kind) && !l->u.add.is_fixed && i < l->u.add.n_ratios; i++) {
        pairs = pairs && is_moderate(l->u.add.ratio[i]);
    }
    const bool average = l->kind == QN_EXPORT_AVERAGE && !p->is_fixed;
    if (!pairs ||
        (average && !(p->whole ? is_moderate(p->multiplier) : is_moderate(p->scale_x) && is_moderate(p->scale_y)))) {
        return qn_fail(
            err, QN_EUNSUPPORTED, n->graph->file,
            "cannot be exported to c: the scales of '%s' are further than 2^40 apart or from 1; quantize with "
            "sums in integers (--profile tflite), or its data to another range",
            l->name);
    }
    return QN_OK;
}

/* What the runtime cannot hold. */
static qn_status check_limits(const qn_export_network *n, qn_error *err)
{
    enum { MOST = 65535 };
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (t->used && t->real && t->base < 0 && !decodes(n, i)) {
            return qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                           "cannot be exported to c: '%s' is float and no sum of a layer; give it a quantizer",
                           t->name);
        }
        if (t->used && (t->height > MOST || (t->width > MOST && t->height > 1) || t->count > INT32_MAX)) {
            return qn_fail(
                err, QN_EUNSUPPORTED, n->graph->file,
                "cannot be exported to c: '%s' is a map of %d x %d x %d; its sides may be %d, its bytes 2^31", t->name,
                t->height, t->width, t->channels, MOST);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (qn_c_is_soft(n)) {
            QN_TRY(check_soft(n, layer, err));
        }
        if (layer->kind == QN_EXPORT_CONV && !qn_c_is_matrix(n, layer) &&
            (n->tensors[layer->input[0]].channels > MOST || layer->u.conv.outputs > MOST)) {
            return qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                           "cannot be exported to c: '%s' has %d input and %d output channels; there may be %d of both",
                           layer->name, n->tensors[layer->input[0]].channels, layer->u.conv.outputs, MOST);
        }
        if (layer->kind == QN_EXPORT_CONV && layer->u.conv.weight_bits > 8) {
            return qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                           "cannot be exported to c: the weights of '%s' have %d bits; quantize them to 8 or fewer",
                           layer->name, layer->u.conv.weight_bits);
        }
    }
    return QN_OK;
}

/* Tensors in the caller's structures, and constants. The first output that shows a tensor holds it. */
static void place_outside(qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    for (int i = 0; i < n->n_tensors; i++) {
        if (n->tensors[i].constant != NULL && n->tensors[i].base < 0 && n->tensors[i].used) {
            plan->places[i].where = QN_C_CONSTANT;
        }
    }
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].tensor >= 0) {
            plan->places[qn_export_base(n, n->inputs[i].tensor)] = (qn_c_place){.where = QN_C_INPUT, .io = i};
        }
    }
    for (int i = 0; i < n->n_outputs; i++) {
        const int tensor = n->outputs[i].tensor;
        qn_c_place *place = tensor >= 0 ? &plan->places[qn_export_base(n, tensor)] : NULL;
        if (place != NULL && place->where == QN_C_NOWHERE) {
            *place = (qn_c_place){.where = QN_C_OUTPUT, .io = i};
        }
    }
}

/* The buffers to plan: `owner` of each tensor, -1: none; a tensor made in place has that of the one it replaces. */
typedef struct buffers {
    qn_plan_buffer *list;
    int *owner;
    int n;
} buffers;

/* May the layer write over input j? Element by element, of the same size, and read by nothing afterwards. */
static bool replaces(const qn_c_plan *plan, const buffers *b, int layer, int j)
{
    const qn_export_network *n = plan->network;
    const qn_export_layer *l = &n->layers[layer];
    const int x = qn_export_base(n, l->input[j]), y = qn_export_base(n, l->output);
    const bool elementwise = qn_export_is_pair(l->kind) || l->kind == QN_EXPORT_LOOKUP;
    return elementwise && b->owner[x] >= 0 && n->tensors[x].last_reader == layer && n->tensors[y].maker == layer &&
           n->tensors[x].count == n->tensors[y].count && n->tensors[l->input[j]].count == n->tensors[l->output].count;
}

static void add_buffer(const qn_c_plan *plan, buffers *b, int tensor)
{
    const qn_export_network *n = plan->network;
    const qn_export_tensor *t = &n->tensors[tensor];
    const int last = t->last_reader > t->maker ? t->last_reader : t->maker;
    const qn_export_layer *maker = &n->layers[t->maker];
    for (int j = 0; j < maker->n_inputs && b->owner[tensor] < 0; j++) {
        if (replaces(plan, b, t->maker, j)) {
            b->owner[tensor] = b->owner[qn_export_base(n, maker->input[j])];
            b->list[b->owner[tensor]].last = last;
        }
    }
    if (b->owner[tensor] < 0) {
        b->owner[tensor] = b->n;
        b->list[b->n++] = (qn_plan_buffer){.n_bytes = t->count, .first = t->maker, .last = last};
    }
}

static qn_status place_buffers(qn_c_plan *plan, buffers *b, qn_error *err)
{
    const qn_export_network *n = plan->network;
    for (int i = 0; i < n->n_layers; i++) {
        const int y = qn_export_base(n, n->layers[i].output);
        if (n->tensors[y].maker == i && plan->places[y].where == QN_C_NOWHERE && n->tensors[y].used) {
            add_buffer(plan, b, y);
        }
    }
    qn_plan_memory memory;
    QN_TRY(qn_plan_memory_make(&memory, b->list, b->n, err));
    for (int i = 0; i < n->n_tensors; i++) {
        if (b->owner[i] >= 0) {
            plan->places[i] = (qn_c_place){.where = QN_C_BUFFER, .offset = b->list[b->owner[i]].offset};
        }
    }
    plan->peak = memory.peak;
    plan->bound = memory.bound;
    return QN_OK;
}

static qn_status place_all(qn_c_plan *plan, qn_error *err)
{
    const size_t count = (size_t)plan->network->n_tensors + 1;
    buffers b = {.list = qn_alloc(count * sizeof *b.list), .owner = qn_alloc(count * sizeof *b.owner)};
    plan->places = qn_alloc(count * sizeof *plan->places);
    qn_status status;
    if (b.list == NULL || b.owner == NULL || plan->places == NULL) {
        status = qn_fail_memory(err, plan->network->graph->file, count * sizeof *b.list);
    } else {
        memset(b.owner, 0xff, count * sizeof *b.owner);
        place_outside(plan);
        status = place_buffers(plan, &b, err);
    }
    qn_free(b.list);
    qn_free(b.owner);
    return status;
}

qn_status qn_c_plan_make(qn_c_plan *plan, const qn_export_network *network, bool cmsis_nn, qn_error *err)
{
    *plan = (qn_c_plan){.network = network, .cmsis_nn = cmsis_nn};
    QN_TRY(qn_export_need_integers(network, "c", err));
    QN_TRY(check_limits(network, err));
    QN_TRY(qn_c_cmsis_check(plan, err));
    qn_status status = place_all(plan, err);
    if (status == QN_OK) {
        status = qn_c_arrays_list(&plan->arrays, &plan->n_arrays, network, cmsis_nn ? network : NULL, err);
    }
    if (status != QN_OK) {
        qn_c_plan_free(plan);
        return status;
    }
    for (int i = 0; i < plan->n_arrays; i++) {
        plan->constant_bytes += plan->arrays[i].count * plan->arrays[i].n_bytes;
    }
    return QN_OK;
}

void qn_c_plan_free(qn_c_plan *plan)
{
    qn_free(plan->places);
    qn_free(plan->arrays);
    *plan = (qn_c_plan){0};
}
