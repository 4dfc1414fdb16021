/* The preprocessing that a model records in its metadata. */
#include "graph/model.h"
#include "quern/dataset.h"

static const char preprocess_key[] = "quern.preprocess";

qn_status qn_model_preprocess(const qn_model *model, qn_preprocess *pre, bool *found, qn_error *err)
{
    const char *text = qn_graph_get_metadata(&model->graph, preprocess_key);
    *found = text != NULL;
    if (text == NULL) {
        return QN_OK;
    }
    qn_preprocess parsed;
    qn_status status = qn_preprocess_from_json(&parsed, text, err);
    if (status != QN_OK) {
        qn_error_prefix(err, preprocess_key);
        qn_error_prefix(err, model->graph.file);
        return status;
    }
    *pre = parsed;
    return QN_OK;
}
