#include "engine/inspect_formats.h"

#include <string.h>

#include "graph/model.h"
#include "graph/qdq_opset.h"
#include "quern/inspect.h"

static bool is_org_quern(const qn_graph *graph, const qn_value *value)
{
    return value->quantizer != NULL && qn_qdq_type(graph, value, graph->opset) == 0;
}

bool qn_node_is_org_quern(const qn_graph *graph, const qn_node *node)
{
    qn_value_id output = node->n_outputs > 0 ? node->outputs[0] : QN_NO_VALUE;
    qn_value_id weight = node->n_inputs > 1 ? node->inputs[1] : QN_NO_VALUE;
    return (output != QN_NO_VALUE && is_org_quern(graph, &graph->values[output])) ||
           (weight != QN_NO_VALUE && graph->values[weight].codes != NULL &&
            is_org_quern(graph, &graph->values[weight]));
}

static qn_format_use *find_use(qn_format_use *uses, size_t n, const qn_format_use *wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(uses[i].format, wanted->format) == 0 && uses[i].dynamic == wanted->dynamic &&
            uses[i].org_quern == wanted->org_quern) {
            return &uses[i];
        }
    }
    return NULL;
}

size_t qn_model_formats(const qn_model *model, qn_format_use *uses, size_t max)
{
    const qn_graph *graph = &model->graph;
    size_t n = 0;
    for (size_t v = 0; v < graph->n_values; v++) {
        const qn_value *value = &graph->values[v];
        if (value->quantizer == NULL) {
            continue;
        }
        qn_format_use use = {.dynamic = value->quantizer->dynamic, .org_quern = is_org_quern(graph, value)};
        qn_format_name(use.format, value->quantizer->format);
        qn_format_use *found = find_use(uses, n, &use);
        if (found == NULL && n < max) {
            found = &uses[n++];
            *found = use;
        }
        if (found != NULL) {
            *(value->codes != NULL || value->constant != NULL ? &found->n_constants : &found->n_activations) += 1;
        }
    }
    return n;
}
