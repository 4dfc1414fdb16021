/* Reading the description of a .tflite file. Nothing in it is trusted. */
#include "ptq/tflite_json.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/file.h"

enum { MOST = 1 << 20 }; /* of tensors, operators, channels */

/* What is being read, for messages. */
typedef struct reader {
    const char *path;
    qn_arena *arena;
    qn_error *err;
} reader;

static qn_status malformed(const reader *r, const char *kind, int index, const char *reason)
{
    return qn_fail(r->err, QN_EFORMAT, r->path, "%s %d: %s", kind, index, reason);
}

static void *array_of(const reader *r, size_t n, size_t size, qn_status *status)
{
    void *all = qn_arena_array(r->arena, n > 0 ? n : 1, size);
    *status = all != NULL ? QN_OK : qn_fail_memory(r->err, r->path, n * size);
    return all;
}

static qn_status read_scales(const reader *r, qn_tflite_tensor *t, int index, const json_t *object)
{
    const json_t *scales = json_object_get(object, "scale"), *zeros = json_object_get(object, "zero_point");
    const size_t n = json_array_size(scales), n_zeros = json_array_size(zeros);
    qn_status status;
    if (scales == NULL || (json_is_array(scales) && n == 0)) {
        return QN_OK;
    }
    if (!json_is_array(scales) || n > MOST || (n_zeros != n && n_zeros != 1)) {
        return malformed(r, "tensor", index, "\"scale\" needs as many entries of \"zero_point\", or one");
    }
    t->scale = array_of(r, n, sizeof *t->scale, &status);
    QN_TRY(status);
    t->zero_point = array_of(r, n, sizeof *t->zero_point, &status);
    QN_TRY(status);
    t->n_scales = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *scale = json_array_get(scales, i), *zero = json_array_get(zeros, n_zeros == 1 ? 0 : i);
        const double value = json_number_value(scale); /* 0 when it is not a number */
        if (!(value >= (double)FLT_MIN && value <= (double)FLT_MAX)) {
            return malformed(r, "tensor", index, "a scale is not a positive number that float32 holds");
        }
        if (!json_is_integer(zero) || json_integer_value(zero) < -128 || json_integer_value(zero) > 127) {
            return malformed(r, "tensor", index, "a zero point is not an integer from -128 to 127");
        }
        t->scale[i] = (float)value;
        t->zero_point[i] = (int32_t)json_integer_value(zero);
    }
    return QN_OK;
}

/* Finite numbers that float32 holds, or no array at all. */
static qn_status read_absmax(const reader *r, qn_tflite_tensor *t, const json_t *object)
{
    const json_t *bounds[2] = {json_object_get(object, "min"), json_object_get(object, "max")};
    qn_status status;
    if (t->n_scales == 0 || json_array_size(bounds[0]) != (size_t)t->n_scales ||
        json_array_size(bounds[1]) != (size_t)t->n_scales) {
        return QN_OK;
    }
    float *absmax = array_of(r, (size_t)t->n_scales, sizeof *absmax, &status);
    QN_TRY(status);
    for (size_t i = 0; i < (size_t)t->n_scales; i++) {
        for (int side = 0; side < 2; side++) {
            const json_t *bound = json_array_get(bounds[side], i);
            const double value = fabs(json_number_value(bound));
            if (!json_is_number(bound) || value > (double)FLT_MAX) {
                return QN_OK;
            }
            absmax[i] = (float)value > absmax[i] ? (float)value : absmax[i];
        }
    }
    t->absmax = absmax;
    return QN_OK;
}

static qn_status read_tensor(const reader *r, qn_tflite_tensor *t, int index, const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *type = json_string_value(json_object_get(object, "type"));
    const json_t *shape = json_object_get(object, "shape_nhwc");
    const json_t *number = json_object_get(object, "index");
    if (name == NULL || type == NULL || !json_is_array(shape) || json_array_size(shape) > QN_TFLITE_MAX_RANK) {
        return malformed(r, "tensor", index, "it needs strings \"name\" and \"type\", and an array \"shape_nhwc\"");
    }
    if (number != NULL && json_integer_value(number) != index) {
        return malformed(r, "tensor", index, "its \"index\" is another");
    }
    t->name = qn_arena_string(r->arena, name);
    if (t->name == NULL) {
        return qn_fail_memory(r->err, r->path, strlen(name));
    }
    t->is_int8 = strcmp(type, "int8") == 0;
    t->is_const = json_is_true(json_object_get(object, "const"));
    t->rank = (int)json_array_size(shape);
    for (int i = 0; i < t->rank; i++) {
        t->dims[i] = json_integer_value(json_array_get(shape, (size_t)i)); /* 0 when it is none */
        if (t->dims[i] < 1) {
            return malformed(r, "tensor", index, "a dimension of \"shape_nhwc\" is not a positive integer");
        }
    }
    QN_TRY(read_scales(r, t, index, object));
    return read_absmax(r, t, object);
}

/* A list of tensors; -1 for an absent one where that is allowed. */
static qn_status read_indices(const reader *r, const qn_tflite_network *network, const json_t *list, bool may_lack,
                              const char *kind, int index, int **indices, int *n)
{
    qn_status status;
    if (!json_is_array(list) || json_array_size(list) > MOST) {
        return malformed(r, kind, index, "a list of tensors is missing");
    }
    *n = (int)json_array_size(list);
    *indices = array_of(r, (size_t)*n, sizeof **indices, &status);
    QN_TRY(status);
    for (int i = 0; i < *n; i++) {
        const json_t *number = json_array_get(list, (size_t)i);
        const json_int_t value = json_integer_value(number);
        if (!json_is_integer(number) || value >= network->n_tensors || value < (may_lack ? -1 : 0)) {
            return malformed(r, kind, index, "it names a tensor that is not there");
        }
        (*indices)[i] = (int)value;
    }
    return QN_OK;
}

static qn_status read_op(const reader *r, const qn_tflite_network *network, qn_tflite_op *op, int index,
                         const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "op"));
    int *outputs, n_outputs;
    if (type == NULL) {
        return malformed(r, "operator", index, "it needs a string \"op\"");
    }
    op->type = qn_arena_string(r->arena, type);
    if (op->type == NULL) {
        return qn_fail_memory(r->err, r->path, strlen(type));
    }
    QN_TRY(read_indices(r, network, json_object_get(object, "inputs"), true, "operator", index, &op->inputs,
                        &op->n_inputs));
    QN_TRY(
        read_indices(r, network, json_object_get(object, "outputs"), false, "operator", index, &outputs, &n_outputs));
    if (n_outputs < 1) {
        return malformed(r, "operator", index, "it has no output");
    }
    op->output = outputs[0];
    return QN_OK;
}

static qn_status read_network(const reader *r, qn_tflite_network *network, const json_t *root)
{
    const json_t *tensors = json_object_get(root, "tensors"), *ops = json_object_get(root, "ops");
    qn_status status;
    if (!json_is_array(tensors) || !json_is_array(ops) || json_array_size(tensors) > MOST ||
        json_array_size(ops) > MOST) {
        return qn_fail(r->err, QN_EFORMAT, r->path,
                       "is not a description of a .tflite file: it needs arrays \"tensors\" and \"ops\"");
    }
    network->n_tensors = (int)json_array_size(tensors);
    network->n_ops = (int)json_array_size(ops);
    network->tensors = array_of(r, (size_t)network->n_tensors, sizeof *network->tensors, &status);
    QN_TRY(status);
    network->ops = array_of(r, (size_t)network->n_ops, sizeof *network->ops, &status);
    QN_TRY(status);
    for (int i = 0; i < network->n_tensors; i++) {
        QN_TRY(read_tensor(r, &network->tensors[i], i, json_array_get(tensors, (size_t)i)));
    }
    for (int i = 0; i < network->n_ops; i++) {
        QN_TRY(read_op(r, network, &network->ops[i], i, json_array_get(ops, (size_t)i)));
    }
    return read_indices(r, network, json_object_get(root, "inputs"), false, "list \"inputs\", entry", 0,
                        &network->inputs, &network->n_inputs);
}

qn_status qn_tflite_read_json(qn_tflite_network *network, const char *path, qn_arena *arena, qn_error *err)
{
    *network = (qn_tflite_network){0};
    qn_file_bytes file;
    QN_TRY(qn_file_read(&file, path, err));
    json_error_t problem;
    json_t *root = json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &problem);
    qn_file_bytes_free(&file);
    if (root == NULL) {
        return qn_fail_at(err, QN_EFORMAT, problem.position, path, "line %d, column %d: %s", problem.line,
                          problem.column, problem.text);
    }
    const reader r = {path, arena, err};
    qn_status status = read_network(&r, network, root);
    json_decref(root);
    return status;
}
