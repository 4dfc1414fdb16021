/* What can be known of values while control flow is taken apart: the graph that leads to them, as far as it is written
 * out, is imported and bound. */
#include "onnx/control_flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/bind.h"

/* Two batch sizes: what is the same in both follows from no batch size. */
enum { N_BATCHES = 2, MOST_KEPT = 64 };
static const int64_t batches[N_BATCHES] = {1, 3};

/* All that leads to some values, and what comes of it. */
typedef struct look {
    qn_arena arena;
    qn_value_id *found; /* in the order in which they were met */
    size_t n, capacity;
    Onnx__GraphProto graph;
    qn_graph imported;
    qn_binding bound[N_BATCHES];
    int n_bound;
} look;

static qn_status fail_memory(const qn_expansion *e)
{
    return qn_fail_memory(e->err, e->where, 0);
}

static qn_status meet(qn_expansion *e, look *l, qn_value_id id)
{
    if (id == QN_NO_VALUE || e->origins[id].mark == e->mark) {
        return QN_OK;
    }
    void *found = l->found;
    const qn_status status = qn_grow(&found, &l->capacity, l->n, sizeof *l->found, e->err);
    l->found = found;
    QN_TRY(status);
    e->origins[id].mark = e->mark;
    l->found[l->n++] = id;
    return QN_OK;
}

/* Breadth first, and no further than to what is known already. */
static qn_status find_ancestors(qn_expansion *e, look *l, int n, const qn_value_id *ids)
{
    e->mark++;
    for (int i = 0; i < n; i++) {
        QN_TRY(meet(e, l, ids[i]));
    }
    for (size_t i = 0; i < l->n; i++) {
        const qn_origin *from = &e->origins[l->found[i]];
        const Onnx__NodeProto *node = from->known == NULL && from->node >= 0 ? e->nodes[from->node] : NULL;
        for (size_t k = 0; node != NULL && k < node->n_input; k++) {
            QN_TRY(meet(e, l, node->input[k][0] != '\0' ? qn_graph_find(&e->names, node->input[k]) : QN_NO_VALUE));
        }
        if (++e->looks > QN_CONTROL_LOOKS) {
            return qn_fail(e->err, QN_ELIMIT, e->where,
                           "conditions and trip counts follow from more than %d values; export the network without "
                           "control flow",
                           QN_CONTROL_LOOKS);
        }
    }
    return QN_OK;
}

static Onnx__TensorProto *proto_of(look *l, const qn_tensor *t, const char *name)
{
    static const Onnx__TensorProto initial = ONNX__TENSOR_PROTO__INIT;
    Onnx__TensorProto *proto = qn_arena_alloc(&l->arena, sizeof *proto);
    if (proto != NULL) {
        *proto = initial;
        proto->name = (char *)(uintptr_t)name;
        proto->has_data_type = proto->has_raw_data = 1;
        proto->data_type = t->dtype == QN_DTYPE_S64   ? ONNX__TENSOR_PROTO__DATA_TYPE__INT64
                           : t->dtype == QN_DTYPE_S32 ? ONNX__TENSOR_PROTO__DATA_TYPE__INT32
                                                      : ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
        proto->n_dims = (size_t)t->rank;
        proto->dims = (int64_t *)(uintptr_t)t->dims;
        proto->raw_data = (ProtobufCBinaryData){.len = qn_tensor_bytes(t), .data = t->data};
    }
    return proto;
}

/* A copy whose outputs may be renamed. */
static Onnx__NodeProto *copy_of(look *l, const Onnx__NodeProto *node)
{
    Onnx__NodeProto *copy = qn_arena_alloc(&l->arena, sizeof *copy);
    if (copy != NULL) {
        *copy = *node;
        copy->output = qn_arena_array(&l->arena, node->n_output, sizeof *copy->output);
        if (copy->output != NULL) {
            memcpy(copy->output, node->output, node->n_output * sizeof *copy->output);
        }
    }
    return copy != NULL && copy->output != NULL ? copy : NULL;
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static qn_status collect(qn_expansion *e, look *l)
{
    static const Onnx__GraphProto initial = ONNX__GRAPH_PROTO__INIT;
    Onnx__GraphProto *g = &l->graph;
    int64_t *nodes = qn_arena_array(&l->arena, l->n, sizeof *nodes);
    *g = initial;
    g->node = qn_arena_array(&l->arena, l->n, sizeof *g->node);
    g->initializer = qn_arena_array(&l->arena, l->n, sizeof *g->initializer);
    g->input = qn_arena_array(&l->arena, l->n, sizeof *g->input);
    size_t n = 0;
    if (nodes == NULL || g->node == NULL || g->initializer == NULL || g->input == NULL) {
        return fail_memory(e);
    }
    for (size_t i = 0; i < l->n; i++) {
        const qn_origin *from = &e->origins[l->found[i]];
        if (from->known != NULL) {
            g->initializer[g->n_initializer++] = proto_of(l, from->known, e->names.values[l->found[i]].name);
            if (g->initializer[g->n_initializer - 1] == NULL) {
                return fail_memory(e);
            }
        } else if (from->node >= 0) {
            nodes[n++] = from->node;
        } else if (from->initializer >= 0) {
            g->initializer[g->n_initializer++] = e->initializers[from->initializer];
        } else if (from->input >= 0) {
            g->input[g->n_input++] = e->top->input[from->input];
        }
    }
    qsort(nodes, n, sizeof *nodes, by_number);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || nodes[i] != nodes[i - 1]) { /* once, however many of its outputs are met */
            g->node[g->n_node] = copy_of(l, e->nodes[nodes[i]]);
            if (g->node[g->n_node++] == NULL) {
                return fail_memory(e);
            }
        }
    }
    return QN_OK;
}

/* A node met for one of its outputs makes all of them, some of which may be known: those are not made again. */
static void drop_known_outputs(const qn_expansion *e, look *l)
{
    static char none[1];
    for (size_t i = 0; i < l->graph.n_node; i++) {
        for (size_t k = 0; k < l->graph.node[i]->n_output; k++) {
            char **name = &l->graph.node[i]->output[k];
            const qn_value_id id = (*name)[0] != '\0' ? qn_graph_find(&e->names, *name) : QN_NO_VALUE;
            *name = id != QN_NO_VALUE && e->origins[id].known != NULL ? none : *name;
        }
    }
}

static qn_status import_and_bind(qn_expansion *e, look *l, int n, const qn_value_id *ids, qn_error *err)
{
    qn_graph *g = &l->imported;
    const qn_tensor_home home = {.directory = e->home != NULL ? e->home->directory : NULL, .lasting = true};
    g->opset = e->opset;
    g->file = g->producer = "";
    QN_TRY(qn_onnx_import_parts(g, &l->graph, &home, err));
    for (int i = 0; i < n; i++) {
        const qn_value_id id = qn_graph_find(g, e->names.values[ids[i]].name);
        if (id == QN_NO_VALUE) {
            return qn_fail(err, QN_EFORMAT, NULL, "'%s' is made by no earlier node", e->names.values[ids[i]].name);
        }
        QN_TRY(qn_graph_is_output(g, id) ? QN_OK : qn_graph_add_io(g, true, id, err));
    }
    QN_TRY(qn_graph_tidy(g, err));
    QN_TRY(qn_onnx_read_quantizers(g, err));
    QN_TRY(qn_graph_tidy(g, err));
    QN_TRY(qn_graph_bind_folding(&l->bound[0], g, batches[0], err));
    l->n_bound = 1;
    l->n_bound +=
        qn_graph_bind_folding(&l->bound[1], g, batches[1], NULL) == QN_OK; /* some networks have one batch size only */
    return QN_OK;
}

static bool same_tensor(const qn_tensor *a, const qn_tensor *b)
{
    return a != NULL && b != NULL && a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0 &&
           memcmp(a->data, b->data, qn_tensor_bytes(a)) == 0;
}

static const qn_tensor *known_of(const look *l, qn_value_id id)
{
    const qn_tensor *first = l->bound[0].values[id].known;
    return l->n_bound == 1 || same_tensor(first, l->bound[1].values[id].known) ? first : NULL;
}

static qn_status keep_known(qn_expansion *e, look *l)
{
    for (size_t i = 0; i < l->n; i++) {
        qn_origin *from = &e->origins[l->found[i]];
        const qn_value_id id = qn_graph_find(&l->imported, e->names.values[l->found[i]].name);
        const qn_tensor *known = id != QN_NO_VALUE && from->node >= 0 ? known_of(l, id) : NULL;
        if (known == NULL || from->known != NULL || qn_tensor_count(known) > MOST_KEPT ||
            (known->dtype != QN_DTYPE_S64 && known->dtype != QN_DTYPE_S32 && known->dtype != QN_DTYPE_BOOL)) {
            continue;
        }
        qn_tensor *copy = qn_arena_alloc(e->arena, sizeof *copy);
        void *data = qn_arena_bytes(e->arena, known->data, qn_tensor_bytes(known));
        if (copy == NULL || data == NULL) {
            return fail_memory(e);
        }
        *copy = *known;
        copy->data = data;
        copy->owns_data = false;
        from->known = copy;
    }
    return QN_OK;
}

static qn_status tell(qn_expansion *e, look *l, int n, const qn_value_id *ids, qn_ahead *ahead)
{
    for (int i = 0; i < n; i++) {
        const qn_value_id id = qn_graph_find(&l->imported, e->names.values[ids[i]].name);
        const qn_bound_value *value = &l->bound[l->n_bound - 1].values[id];
        ahead[i] = (qn_ahead){.dtype = value->dtype, .rank = value->rank};
        memcpy(ahead[i].dims, value->dims, sizeof ahead[i].dims);
        const qn_tensor *known = known_of(l, id);
        if (known != NULL && qn_tensor_count(known) <= MOST_KEPT) {
            qn_tensor *copy = qn_arena_alloc(e->arena, sizeof *copy);
            void *data = qn_arena_bytes(e->arena, known->data, qn_tensor_bytes(known));
            if (copy == NULL || data == NULL) {
                return fail_memory(e);
            }
            *copy = *known;
            copy->data = data;
            copy->owns_data = false;
            ahead[i].known = copy;
        }
    }
    return keep_known(e, l);
}

static void end_look(look *l)
{
    for (int i = 0; i < l->n_bound; i++) {
        qn_binding_free(&l->bound[i]);
    }
    qn_graph_free(&l->imported);
    qn_arena_free(&l->arena);
    qn_free(l->found);
}

qn_status qn_expansion_look(qn_expansion *e, int n, const qn_value_id *ids, qn_ahead *ahead, bool *seen,
                            char why[QN_AHEAD_WHY])
{
    look l = {.n = 0};
    qn_error inner;
    qn_error_init(&inner);
    *seen = false;
    qn_status status = find_ancestors(e, &l, n, ids);
    if (status == QN_OK) {
        status = collect(e, &l);
    }
    if (status == QN_OK) {
        drop_known_outputs(e, &l);
        const qn_status bound = import_and_bind(e, &l, n, ids, &inner);
        *seen = bound == QN_OK;
        status = bound == QN_ENOMEM ? fail_memory(e) : bound == QN_OK ? tell(e, &l, n, ids, ahead) : QN_OK;
        snprintf(why, QN_AHEAD_WHY, "%.512s%s%.512s", inner.where, inner.where[0] != '\0' ? ": " : "", inner.message);
    }
    end_look(&l);
    return status;
}

qn_status qn_expansion_scalar_ahead(qn_expansion *e, qn_value_id id, bool *known, int64_t *value,
                                    char why[QN_AHEAD_WHY])
{
    qn_ahead ahead;
    QN_TRY(qn_expansion_look(e, 1, &id, &ahead, known, why));
    if (*known && ahead.known == NULL) {
        *known = false;
        snprintf(why, QN_AHEAD_WHY, "it follows from the network's inputs or from the batch size");
    }
    if (!*known) {
        return QN_OK;
    }
    const qn_tensor *t = ahead.known;
    if (qn_tensor_count(t) != 1 || (t->dtype != QN_DTYPE_S64 && t->dtype != QN_DTYPE_BOOL)) {
        return qn_fail(e->err, QN_EFORMAT, e->where, "'%s' is %s of %lld elements, expected one of int64 or bool",
                       e->names.values[id].name, qn_dtype_text(t->dtype), (long long)qn_tensor_count(t));
    }
    *value = t->dtype == QN_DTYPE_BOOL ? *(const uint8_t *)t->data != 0 : *(const int64_t *)t->data;
    return QN_OK;
}
