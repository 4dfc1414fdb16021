/* The public face of models (quern/model.h): loading, saving, inputs and outputs, metadata. */
#include <string.h>

#include "base/file.h"
#include "graph/bind.h"
#include "graph/model.h"
#include "onnx/onnx.h"

void qn_model_free(qn_model *model)
{
    if (model != NULL) {
        qn_graph_free(&model->graph);
        qn_free(model);
    }
}

/* `directory` is where external data may lie, NULL for nowhere; `name` is put in front of what every error says; `any`: with
 * nodes that quern cannot run, too. */
static qn_status load(qn_model **model, const void *data, size_t n_bytes, qn_file_bytes *spent, const char *name,
                      const char *directory, bool any, qn_error *err)
{
    qn_error inner; /* apart from err, which may hold an older error that must not be prefixed */
    qn_error_init(&inner);
    qn_model *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, name, sizeof *made);
    }
    made->graph.file = qn_arena_string(&made->graph.arena, name);
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, n_bytes, data);
    const qn_tensor_home home = {.directory = directory, .hash = &hash};
    qn_status status = made->graph.file != NULL ? qn_onnx_import(&made->graph, data, n_bytes, &home, spent, &inner)
                                                : qn_fail_memory(&inner, NULL, strlen(name));
    status = status == QN_OK && !any ? qn_graph_check(&made->graph, &inner) : status;
    if (status != QN_OK) {
        qn_model_free(made);
        if (strncmp(inner.where, name, strlen(name)) != 0) {
            qn_error_prefix(&inner, name);
        }
        if (err != NULL && err->status == QN_OK) {
            *err = inner;
        }
        return status;
    }
    qn_sha256_finish(made->graph.sha256, &hash);
    *model = made;
    return QN_OK;
}

qn_status qn_model_load_memory(qn_model **model, const void *data, size_t n_bytes, const char *name, qn_error *err)
{
    return load(model, data, n_bytes, NULL, name, NULL, false, err);
}

qn_status qn_model_load_any_memory(qn_model **model, const void *data, size_t n_bytes, const char *name, qn_error *err)
{
    return load(model, data, n_bytes, NULL, name, NULL, true, err);
}

static qn_status load_file(qn_model **model, const char *path, bool any, qn_error *err)
{
    char *directory = qn_file_directory(path);
    if (directory == NULL) {
        return qn_fail_memory(err, path, strlen(path));
    }
    qn_file_bytes file;
    qn_status status = qn_file_read(&file, path, err);
    if (status == QN_OK) {
        status = load(model, file.data, file.size, &file, path, directory, any, err);
        qn_file_bytes_free(&file);
    }
    qn_free(directory);
    return status;
}

qn_status qn_model_load(qn_model **model, const char *path, qn_error *err)
{
    return load_file(model, path, false, err);
}

qn_status qn_model_load_any(qn_model **model, const char *path, qn_error *err)
{
    return load_file(model, path, true, err);
}

static qn_status describe(const qn_graph *graph, const qn_value_id *ids, size_t n, size_t index, const char *what,
                          qn_io_info *info, qn_error *err)
{
    if (index >= n) {
        return qn_fail(err, QN_EINVAL, graph->file, "has %zu %s, there is no number %zu", n, what, index);
    }
    const qn_value *value = &graph->values[ids[index]];
    *info = (qn_io_info){.name = value->name, .dtype = value->dtype, .rank = value->rank};
    memcpy(info->dims, value->dims, sizeof info->dims);
    return QN_OK;
}

qn_status qn_model_input(const qn_model *model, size_t index, qn_io_info *info, qn_error *err)
{
    return describe(&model->graph, model->graph.inputs, model->graph.n_inputs, index, "inputs", info, err);
}

qn_status qn_model_output(const qn_model *model, size_t index, qn_io_info *info, qn_error *err)
{
    return describe(&model->graph, model->graph.outputs, model->graph.n_outputs, index, "outputs", info, err);
}

static bool quantizes(qn_op op)
{
    return op == QN_OP_CONV_INTEGER || op == QN_OP_DEQUANTIZE_LINEAR || op == QN_OP_DYNAMIC_QUANTIZE_LINEAR ||
           op == QN_OP_MATMUL_INTEGER || op == QN_OP_QUANTIZE_LINEAR;
}

bool qn_model_is_quantized(const qn_model *model)
{
    for (size_t i = 0; i < model->graph.n_nodes; i++) {
        if (quantizes(model->graph.nodes[i].op)) {
            return true;
        }
    }
    for (size_t i = 0; i < model->graph.n_values; i++) {
        if (model->graph.values[i].quantizer != NULL) {
            return true;
        }
    }
    return false;
}

const char *qn_model_metadata(const qn_model *model, const char *key)
{
    return qn_graph_get_metadata(&model->graph, key);
}

qn_status qn_model_set_metadata(qn_model *model, const char *key, const char *value, qn_error *err)
{
    return qn_graph_set_metadata(&model->graph, key, value, err);
}
