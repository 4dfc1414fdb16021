/* Constants of a model as the integers and scales that hardware takes. */
#include <stdio.h>

#include "format/quantizer.h"
#include "graph/model.h"

/* Why a coded constant has no integers with scales of their own; NULL when it has. */
static const char *reason_against(const qn_value *value)
{
    const qn_quantizer *q = value->quantizer;
    if (value->codes == NULL || q == NULL) {
        return "is not coded";
    }
    if (q->format.kind != QN_FORMAT_INT) {
        return "has codes that are no integers";
    }
    return q->group > 0 ? "has scales for groups of elements" : NULL;
}

const char *qn_integers_name(const qn_model *model, size_t index)
{
    const qn_graph *graph = &model->graph;
    for (size_t i = 0; i < graph->n_values; i++) {
        if (reason_against(&graph->values[i]) == NULL && index-- == 0) {
            return graph->values[i].name;
        }
    }
    return NULL;
}

static qn_status refuse(const qn_model *model, const qn_value *value, const char *name, qn_error *err)
{
    if (value != NULL && value->quantizer != NULL && value->codes != NULL) {
        char format[QN_FORMAT_NAME_MAX];
        qn_format_name(format, value->quantizer->format);
        return qn_fail(err, QN_EUNSUPPORTED, model->graph.file,
                       "constant '%s' %s: it is %s; qn_model_constant has its reals", name, reason_against(value),
                       format);
    }
    char names[200] = "";
    size_t used = 0;
    for (size_t i = 0; qn_integers_name(model, i) != NULL && used < sizeof names; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s'%s'", i > 0 ? ", " : "", qn_integers_name(model, i));
        used += n > 0 ? (size_t)n : 0;
    }
    return qn_fail(err, QN_EINVAL, model->graph.file, "'%s' is no constant in integers; %s%s%s", name,
                   names[0] != '\0' ? "there are " : "there are none", names, used >= sizeof names ? "..." : "");
}

qn_status qn_integers(qn_integer_constant *integers, const qn_model *model, const char *name, qn_error *err)
{
    const qn_value_id id = qn_graph_find(&model->graph, name);
    const qn_value *value = id != QN_NO_VALUE ? &model->graph.values[id] : NULL;
    if (value == NULL || reason_against(value) != NULL) {
        return refuse(model, value, name, err);
    }
    const qn_quantizer *q = value->quantizer;
    int64_t run = 1;
    for (int d = q->axis + 1; d < value->codes->rank; d++) {
        run *= value->codes->dims[d];
    }
    *integers = (qn_integer_constant){.z = *value->codes,
                                      .bits = q->format.bits,
                                      .scale = q->scale,
                                      .zero_point = q->zero_point,
                                      .n_scales = q->n,
                                      .axis = q->axis,
                                      .run = run};
    return QN_OK;
}
