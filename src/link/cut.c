/* What crosses where, and whether stages can part there. */
#include "link/cut.h"

#include <stdio.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "link/link.h"

/* Tensors of a value as constants of stages: what binding knows, unless it differs with the batch. A Reshape that names
 * the batch and no other unknown can be told to find it. */
static qn_status settle(qn_cuts *cuts, const qn_binding *two, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    const qn_binding *one = &cuts->binding;
    for (size_t p = 0; p < cuts->n_nodes; p++) {
        const qn_node *node = &g->nodes[cuts->order[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            const qn_value_id id = node->inputs[i];
            const qn_tensor *a = id != QN_NO_VALUE ? one->values[id].known : NULL;
            if (a == NULL) {
                continue;
            }
            cuts->known[id] = a;
            const qn_tensor *b = two != NULL ? two->values[id].known : NULL;
            if (two == NULL || g->values[id].constant != NULL ||
                (b != NULL && a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
                 memcmp(a->data, b->data, (size_t)one->values[id].n_elems * qn_dtype_size(a->dtype)) == 0)) {
                continue;
            }
            const int64_t *shape = a->data;
            bool lone = node->op == QN_OP_RESHAPE && i == 1 && a->dtype == QN_DTYPE_S64 && a->rank == 1 &&
                        a->dims[0] > 0 && shape[0] == 1 && b != NULL && b->rank == 1 && b->dims[0] == a->dims[0] &&
                        memcmp(shape + 1, (const int64_t *)b->data + 1, (size_t)(a->dims[0] - 1) * sizeof *shape) == 0;
            for (int64_t k = 1; lone && k < a->dims[0]; k++) {
                lone = shape[k] > 0;
            }
            if (!lone) {
                cuts->batched = false;
                continue;
            }
            int64_t *found = qn_arena_array(&cuts->arena, (size_t)a->dims[0], sizeof *found);
            qn_tensor *t = qn_arena_alloc(&cuts->arena, sizeof *t);
            if (found == NULL || t == NULL) {
                return qn_fail_memory(err, g->file, sizeof *t);
            }
            memcpy(found, shape, (size_t)a->dims[0] * sizeof *shape);
            found[0] = -1;
            *t = *a;
            t->data = found;
            t->owns_data = false;
            cuts->known[id] = t;
        }
    }
    return QN_OK;
}

/* Does a value lead with the items of a batch? */
static bool leads(const qn_bound_value *one, const qn_bound_value *two)
{
    return one->rank > 0 && one->rank == two->rank && one->dims[0] == 1 && two->dims[0] == 2 &&
           memcmp(one->dims + 1, two->dims + 1, (size_t)(one->rank - 1) * sizeof *one->dims) == 0;
}

static bool crosses_inside(const qn_cuts *cuts, size_t v)
{
    return cuts->life[v].made >= 0 && cuts->life[v].last > cuts->life[v].made;
}

/* Bound for one item and for two: what changes with the batch, and how. */
static qn_status study_batch(qn_cuts *cuts, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    qn_binding two = {0};
    qn_error ignored;
    qn_error_init(&ignored);
    const bool any = qn_graph_bind(&two, g, 2, &ignored) == QN_OK && two.batch == 2 && cuts->binding.batch == 1;
    if (ignored.status == QN_ENOMEM) {
        return qn_fail_memory(err, g->file, 0);
    }
    cuts->batched = any;
    for (size_t v = 0; v < g->n_values && any; v++) {
        if (crosses_inside(cuts, v) && !leads(&cuts->binding.values[v], &two.values[v])) {
            cuts->batched = false;
        }
    }
    qn_status status = settle(cuts, any ? &two : NULL, err);
    qn_binding_free(&two);
    return status;
}

static qn_status describe(qn_cuts *cuts, qn_cut_tensor *t, qn_value_id id, qn_error *err)
{
    const qn_value *value = &cuts->model->graph.values[id];
    const qn_bound_value *bound = &cuts->binding.values[id];
    const int skipped = cuts->batched ? 1 : 0;
    *t = (qn_cut_tensor){.name = value->name,
                         .rank = bound->rank - skipped,
                         .count = bound->n_elems,
                         .format = qn_link_raw_name,
                         .code_bits = 32,
                         .value = id};
    memcpy(t->dims, bound->dims + skipped, (size_t)t->rank * sizeof *t->dims);
    const qn_quantizer *q = cuts->coding[id];
    if (q != NULL && !q->dynamic && value->constant == NULL) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, q->format);
        t->coded = true;
        t->code_bits = q->format.bits;
        t->format = qn_arena_string(&cuts->arena, name);
        if (t->format == NULL) {
            return qn_fail_memory(err, NULL, sizeof name);
        }
    }
    return QN_OK;
}

/* Values that only move have the codes of what they are moved from: a stage that begins with one reads codes, too. */
static void find_codings(qn_cuts *cuts, const qn_program *program)
{
    const qn_graph *g = &cuts->model->graph;
    const qn_integer_code *code = cuts->engine == QN_ENGINE_INTEGER ? program->code : NULL;
    for (size_t v = 0; v < g->n_values; v++) {
        qn_value_id from = (qn_value_id)v;
        while (code != NULL && code->tensor_of[v] >= 0 && g->values[from].quantizer == NULL &&
               g->values[from].producer >= 0) {
            from = g->nodes[g->values[from].producer].inputs[0];
        }
        cuts->coding[v] = g->values[from].quantizer;
    }
}

/* What the engine has of a network, to ask it which values there are. */
static bool is_there(const qn_cuts *cuts, const qn_program *program, qn_value_id id)
{
    int64_t count;
    const qn_graph *g = &cuts->model->graph;
    return cuts->life[id].made == 0 || cuts->engine != QN_ENGINE_INTEGER || qn_graph_is_output(g, id) ||
           qn_program_read(program, NULL, id, NULL, &count);
}

static const char *find_reason(qn_cuts *cuts, const qn_program *program, const qn_cut *cut)
{
    const qn_graph *g = &cuts->model->graph;
    for (size_t i = 0; i < cut->n_tensors; i++) {
        const qn_cut_tensor *t = &cut->tensors[i];
        const qn_dtype dtype = cuts->binding.values[t->value].dtype;
        if (dtype != QN_DTYPE_F32) {
            return qn_arena_printf(&cuts->arena, "'%s' is of type %s; only float32 crosses", t->name,
                                   qn_dtype_text(dtype));
        }
        if (t->count == 0) {
            return qn_arena_printf(&cuts->arena, "'%s' has no elements", t->name);
        }
        if (!is_there(cuts, program, t->value)) {
            const qn_value *value = &g->values[t->value];
            return qn_arena_printf(&cuts->arena,
                                   "'%s' is never made: the integer engine computes %s together with what reads it",
                                   t->name, value->producer >= 0 ? g->nodes[value->producer].op_type : "it");
        }
    }
    return NULL;
}

static qn_status fill_cut(qn_cuts *cuts, const qn_program *program, size_t p, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    qn_cut *cut = &cuts->cuts[p];
    const bool last = p == cuts->n_nodes;
    size_t n = 0, capacity = last ? g->n_outputs : 0;
    for (size_t v = 0; v < g->n_values && !last; v++) {
        capacity += cuts->life[v].made >= 0 && (size_t)cuts->life[v].made <= p && cuts->life[v].last > (int32_t)p;
    }
    capacity = p == 0 ? g->n_inputs : capacity;
    qn_cut_tensor *tensors = qn_arena_array(&cuts->arena, capacity + 1, sizeof *tensors);
    if (tensors == NULL) {
        return qn_fail_memory(err, g->file, capacity * sizeof *tensors);
    }
    if (last || p == 0) {
        for (; n < capacity; n++) {
            QN_TRY(describe(cuts, &tensors[n], last ? g->outputs[n] : g->inputs[n], err));
        }
    }
    /* In the order in which they are made: inputs first. */
    for (size_t i = 0; i < g->n_inputs && n < capacity; i++) {
        if (cuts->life[g->inputs[i]].last > (int32_t)p) {
            QN_TRY(describe(cuts, &tensors[n++], g->inputs[i], err));
        }
    }
    for (size_t k = 0; k < p && n < capacity; k++) {
        const qn_node *node = &g->nodes[cuts->order[k]];
        for (int i = 0; i < node->n_outputs && n < capacity; i++) {
            const qn_value_id id = node->outputs[i];
            if (id != QN_NO_VALUE && cuts->life[id].made == (int32_t)k + 1 && cuts->life[id].last > (int32_t)p) {
                QN_TRY(describe(cuts, &tensors[n++], id, err));
            }
        }
    }
    const qn_node *before = p > 0 ? &g->nodes[cuts->order[p - 1]] : NULL;
    *cut = (qn_cut){.position = p, .name = "", .node = "", .op_type = "", .n_tensors = n, .tensors = tensors};
    for (int i = before != NULL ? before->n_outputs - 1 : -1; i >= 0; i--) {
        cut->name = before->outputs[i] != QN_NO_VALUE ? g->values[before->outputs[i]].name : cut->name;
    }
    if (before != NULL) {
        cut->op_type = before->op_type;
        cut->node = before->name[0] != '\0' ? before->name : before->op_type;
    }
    if (p > 0 && !last) {
        cut->reason = find_reason(cuts, program, cut);
    }
    return QN_OK;
}

static qn_status refuse_idle_outputs(const qn_cuts *cuts, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (cuts->life[g->outputs[i]].made < 0) {
            return qn_fail(err, QN_EUNSUPPORTED, g->file, "output '%s' does not depend on any input: no stage makes it",
                           g->values[g->outputs[i]].name);
        }
    }
    return QN_OK;
}

static qn_status make(qn_cuts *cuts, qn_error *err)
{
    const qn_graph *g = &cuts->model->graph;
    qn_program_options options;
    qn_program *program = NULL;
    QN_TRY(qn_program_options_init(&options, cuts->engine, err));
    options.keep_values = cuts->engine == QN_ENGINE_INTEGER;
    QN_TRY(qn_program_create(&program, cuts->model, &options, err)); /* what no engine can run is refused here */
    qn_status status = qn_graph_bind(&cuts->binding, g, 1, err);
    cuts->life = qn_arena_array(&cuts->arena, g->n_values + 1, sizeof *cuts->life);
    cuts->known = qn_arena_array(&cuts->arena, g->n_values + 1, sizeof *cuts->known);
    cuts->coding = qn_arena_array(&cuts->arena, g->n_values + 1, sizeof *cuts->coding);
    if (status == QN_OK && (cuts->life == NULL || cuts->known == NULL || cuts->coding == NULL)) {
        status = qn_fail_memory(err, g->file, g->n_values * sizeof *cuts->life);
    }
    if (status == QN_OK) {
        find_codings(cuts, program);
    }
    status = status == QN_OK ? qn_cuts_order(cuts, err) : status;
    if (status == QN_OK) {
        qn_cuts_live(cuts, cuts->order, cuts->life);
        status = refuse_idle_outputs(cuts, err);
    }
    status = status == QN_OK ? study_batch(cuts, err) : status;
    cuts->cuts = qn_arena_array(&cuts->arena, cuts->n_nodes + 1, sizeof *cuts->cuts);
    if (status == QN_OK && cuts->cuts == NULL) {
        status = qn_fail_memory(err, g->file, cuts->n_nodes * sizeof *cuts->cuts);
    }
    for (size_t p = 0; p <= cuts->n_nodes && status == QN_OK; p++) {
        status = fill_cut(cuts, program, p, err);
    }
    qn_program_free(program);
    return status;
}

qn_status qn_cuts_create(qn_cuts **cuts, const qn_model *model, qn_engine engine, qn_error *err)
{
    qn_cuts *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *made);
    }
    made->model = model;
    made->engine = engine;
    qn_status status = make(made, err);
    status = status == QN_OK ? qn_cuts_try(made, err) : status;
    if (status != QN_OK) {
        qn_cuts_free(made);
        return status;
    }
    *cuts = made;
    return QN_OK;
}

void qn_cuts_free(qn_cuts *cuts)
{
    if (cuts != NULL) {
        qn_binding_free(&cuts->binding);
        qn_arena_free(&cuts->arena);
        qn_free(cuts);
    }
}

const qn_model *qn_cuts_model(const qn_cuts *cuts)
{
    return cuts->model;
}

qn_engine qn_cuts_engine(const qn_cuts *cuts)
{
    return cuts->engine;
}

size_t qn_cuts_last(const qn_cuts *cuts)
{
    return cuts->n_nodes;
}

const qn_cut *qn_cuts_at(const qn_cuts *cuts, size_t position)
{
    return position <= cuts->n_nodes ? &cuts->cuts[position] : NULL;
}

static bool has_items(const qn_cuts *cuts)
{
    return qn_binding_has_items(&cuts->binding, &cuts->model->graph);
}

qn_status qn_cuts_check_items(const qn_cuts *cuts, qn_error *err)
{
    return cuts->binding.batch == 1 || !has_items(cuts)
               ? QN_OK
               : qn_fail(err, QN_EINVAL, cuts->model->graph.file,
                         "has a fixed batch of %lld; make the first dimension of its input dynamic",
                         (long long)cuts->binding.batch);
}

int qn_cuts_item_shape(int64_t dims[QN_MAX_RANK], const qn_cuts *cuts, const qn_cut_tensor *end)
{
    const int skipped = !cuts->batched && has_items(cuts) ? 1 : 0;
    memcpy(dims, end->dims + skipped, (size_t)(end->rank - skipped) * sizeof *dims);
    return end->rank - skipped;
}

bool qn_cuts_batched(const qn_cuts *cuts)
{
    return cuts->batched;
}

qn_status qn_cuts_find(size_t *position, const qn_cuts *cuts, const char *name, qn_error *err)
{
    for (size_t p = 1; p < cuts->n_nodes; p++) {
        const qn_cut *cut = &cuts->cuts[p];
        if (strcmp(cut->name, name) != 0) {
            continue;
        }
        if (cut->reason != NULL) {
            return qn_fail(err, QN_EINVAL, cuts->model->graph.file, "stages cannot part behind '%s': %s", name,
                           cut->reason);
        }
        *position = p;
        return QN_OK;
    }
    char some[256] = "";
    size_t used = 0, n = 0;
    for (size_t p = 1; p < cuts->n_nodes && n < 3; p++) {
        if (cuts->cuts[p].reason == NULL && strlen(cuts->cuts[p].name) < 64) {
            used += (size_t)snprintf(some + used, sizeof some - used, "%s'%s'", n > 0 ? ", " : "", cuts->cuts[p].name);
            n++;
        }
    }
    return qn_fail(err, QN_EINVAL, cuts->model->graph.file,
                   "no place to part stages is behind '%s'; there are %s%s (quern cuts lists them)", name,
                   n > 0 ? some : "none", n == 3 ? ", ..." : "");
}

int64_t qn_cut_constant_bytes(const qn_cuts *cuts, qn_value_id id)
{
    if (cuts->known[id] == NULL) {
        return 0;
    }
    const qn_value *value = &cuts->model->graph.values[id];
    const int bits =
        value->codes != NULL ? value->quantizer->format.bits : 8 * (int)qn_dtype_size(cuts->known[id]->dtype);
    return (cuts->binding.values[id].n_elems * bits + 7) / 8;
}

/* Constants that nodes of a span read, each once. */
static int64_t weights_of(const qn_cuts *cuts, size_t from, size_t to)
{
    const qn_graph *g = &cuts->model->graph;
    int64_t bytes = 0;
    for (size_t p = from; p < to; p++) {
        const qn_node *node = &g->nodes[cuts->order[p]];
        for (int i = 0; i < node->n_inputs; i++) {
            const qn_value_id id = node->inputs[i];
            if (id == QN_NO_VALUE || cuts->known[id] == NULL) {
                continue;
            }
            bool before = false;
            for (size_t k = from; k <= p && !before; k++) {
                const qn_node *other = &g->nodes[cuts->order[k]];
                for (int j = 0; j < (k < p ? other->n_inputs : i); j++) {
                    before = before || other->inputs[j] == id;
                }
            }
            bytes += before ? 0 : qn_cut_constant_bytes(cuts, id);
        }
    }
    return bytes;
}

static int64_t alive_at(const qn_cuts *cuts, size_t p) /* while node p (from 1) runs */
{
    const qn_graph *g = &cuts->model->graph;
    int64_t bytes = 0;
    for (size_t v = 0; v < g->n_values; v++) {
        const qn_cut_life life = cuts->life[v];
        if (life.made >= 0 && life.made <= (int32_t)p && (life.last >= (int32_t)p || life.made == (int32_t)p)) {
            const qn_quantizer *q = cuts->coding[v];
            const int bits = q != NULL && !q->dynamic ? q->format.bits : 32;
            bytes += (cuts->binding.values[v].n_elems * bits + 7) / 8;
        }
    }
    return bytes;
}

qn_cut_span qn_cuts_span(const qn_cuts *cuts, size_t from, size_t to)
{
    qn_cut_span span = {.n_nodes = (int64_t)(to - from), .weight_bytes = weights_of(cuts, from, to)};
    for (size_t p = from; p < to; p++) {
        const int64_t alive = alive_at(cuts, p + 1);
        span.macs += qn_node_macs(&cuts->binding, &cuts->model->graph.nodes[cuts->order[p]]);
        span.activation_bytes = alive > span.activation_bytes ? alive : span.activation_bytes;
    }
    return span;
}
