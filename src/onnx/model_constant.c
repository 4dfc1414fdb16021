/* Constants of a model as tensors of their own. */
#include <stdio.h>
#include <string.h>

#include "format/quantizer.h"
#include "graph/model.h"
#include "tensor/alloc.h"

static bool is_float_constant(const qn_value *value)
{
    return (value->constant != NULL && value->constant->dtype == QN_DTYPE_F32) ||
           (value->codes != NULL && value->quantizer != NULL);
}

/* "'a', 'b', ...": as many of the names there are as fit, for the message. */
static void list_names(char *text, size_t size, const qn_graph *graph)
{
    static const char more[] = ", ...";
    size_t used = 0, room = size - sizeof more;
    snprintf(text, size, "none of floats");
    for (size_t i = 0; i < graph->n_values; i++) {
        if (!is_float_constant(&graph->values[i])) {
            continue;
        }
        int n = snprintf(text + used, room - used, "%s'%s'", used > 0 ? ", " : "", graph->values[i].name);
        if (n < 0 || (size_t)n >= room - used) {
            snprintf(text + used, size - used, "%s", used > 0 ? more : more + 2);
            return;
        }
        used += (size_t)n;
    }
}

qn_status qn_model_constant(qn_tensor *t, const qn_model *model, const char *name, qn_error *err)
{
    const qn_graph *graph = &model->graph;
    qn_value_id id = qn_graph_find(graph, name);
    const qn_value *value = id != QN_NO_VALUE ? &graph->values[id] : NULL;
    if (value == NULL || (value->constant == NULL && value->codes == NULL)) {
        char names[200];
        list_names(names, sizeof names, graph);
        return qn_fail(err, QN_EINVAL, graph->file, "%s '%s'; there are %s",
                       value == NULL ? "has no value" : "has no constant", name, names);
    }
    if (!is_float_constant(value)) {
        return qn_fail(err, QN_EUNSUPPORTED, graph->file, "constant '%s' is %s; formats take float32", name,
                       qn_dtype_text(value->constant != NULL ? value->constant->dtype : value->codes->dtype));
    }
    const qn_tensor *from = value->constant != NULL ? value->constant : value->codes;
    QN_TRY(qn_tensor_alloc_uncleared(t, QN_DTYPE_F32, from->rank, from->dims, err));
    if (value->constant == NULL) {
        qn_quantizer_decode(t->data, from->data, value->quantizer, from->rank, from->dims);
    } else if (qn_tensor_bytes(from) > 0) {
        memcpy(t->data, from->data, qn_tensor_bytes(from));
    }
    return QN_OK;
}
