/* Quantizers as JSON files: the format's name, the granularity, the shape, and the parameters that the format has. */
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "format/quantizer.h"
#include "format/row.h"
#include "quern/fit.h"

enum { DOUBLE_DIGITS = 17 };

/* The parameters by their names in a file: where in a qn_params, and whether it is an int32 or a float. */
static const struct {
    unsigned parameter;
    const char *name;
    size_t offset;
    bool is_integer;
} parameters[] = {
    {QN_PARAM_SCALE, "scale", offsetof(qn_params, scale), false},
    {QN_PARAM_ZERO_POINT, "zero_point", offsetof(qn_params, zero_point), true},
    {QN_PARAM_EXP_BIAS, "exp_bias", offsetof(qn_params, exp_bias), true},
    {QN_PARAM_SHIFT, "shift", offsetof(qn_params, shift), false},
    {QN_PARAM_MULTIPLIER, "multiplier", offsetof(qn_params, multiplier), false},
};
enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

static json_t *parameter_to_json(const qn_quantizer *q, int which)
{
    json_t *list = json_array();
    for (int64_t set = 0; set < q->n && list != NULL; set++) {
        qn_params p = qn_quantizer_get(q, set);
        const char *at = (const char *)&p + parameters[which].offset;
        float real;
        int32_t integer;
        memcpy(&real, at, sizeof real);
        memcpy(&integer, at, sizeof integer);
        json_t *number = parameters[which].is_integer ? json_integer(integer) : json_real((double)real);
        if (json_array_append_new(list, number) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *to_json(const qn_quantizer *q, int rank, const int64_t *dims)
{
    char name[QN_FORMAT_NAME_MAX];
    qn_format_name(name, q->format);
    json_t *shape = json_array();
    for (int d = 0; d < rank && shape != NULL; d++) {
        if (json_array_append_new(shape, json_integer(dims[d])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    }
    json_t *root = json_pack("{s:s, s:i, s:I, s:o}", "format", name, "axis", q->axis, "group", (json_int_t)q->group,
                             "shape", shape);
    for (int i = 0; i < N_PARAMETERS && root != NULL; i++) {
        bool has = (qn_format_parameters(q->format) & parameters[i].parameter) != 0;
        if (has && json_object_set_new(root, parameters[i].name, parameter_to_json(q, i)) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    return root;
}

qn_status qn_quantizer_write_json(const qn_quantizer *q, int rank, const int64_t *dims, const char *path,
                                  bool overwrite, qn_error *err)
{
    if (q->dynamic) {
        return qn_fail(err, QN_EINVAL, path, "a dynamic quantizer keeps no parameters that could be written");
    }
    QN_TRY(qn_quantizer_check(q, rank, dims, NULL, err));
    json_t *root = to_json(q, rank, dims);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(DOUBLE_DIGITS)) : NULL;
    json_decref(root);
    if (text == NULL) {
        return qn_fail_memory(err, path, (size_t)q->n * N_PARAMETERS * sizeof(json_t));
    }
    qn_status status = qn_file_write_all(path, overwrite, text, strlen(text), err);
    free(text);
    return status;
}

/* One number of a parameter's list into its place in *p. */
static bool read_number(qn_params *p, int which, const json_t *number)
{
    char *at = (char *)p + parameters[which].offset;
    if (parameters[which].is_integer) {
        json_int_t value = json_integer_value(number);
        int32_t integer = (int32_t)value;
        memcpy(at, &integer, sizeof integer);
        return json_is_integer(number) && value >= INT32_MIN && value <= INT32_MAX;
    }
    double value = json_number_value(number);
    bool good = json_is_number(number) && fabs(value) <= (double)FLT_MAX;
    float real = good ? (float)value : 0.0f;
    memcpy(at, &real, sizeof real);
    return good;
}

static qn_status read_parameters(qn_quantizer *q, const json_t *root, const char *path, qn_error *err)
{
    for (int i = 0; i < N_PARAMETERS; i++) {
        if ((qn_format_parameters(q->format) & parameters[i].parameter) == 0) {
            continue;
        }
        const json_t *list = json_object_get(root, parameters[i].name);
        for (int64_t set = 0; set < q->n; set++) {
            qn_params p = qn_quantizer_get(q, set);
            if (!read_number(&p, i, json_array_get(list, (size_t)set))) {
                return qn_fail(err, QN_EFORMAT, path, "\"%s\"[%lld] is no number in reach", parameters[i].name,
                               (long long)set);
            }
            qn_quantizer_set(q, set, p);
        }
    }
    return QN_OK;
}

static qn_status read_shape(int *rank, int64_t dims[QN_MAX_RANK], const json_t *shape, const char *path, qn_error *err)
{
    bool good = json_is_array(shape) && json_array_size(shape) <= QN_MAX_RANK;
    *rank = good ? (int)json_array_size(shape) : 0;
    for (int d = 0; good && d < *rank; d++) {
        dims[d] = json_integer_value(json_array_get(shape, (size_t)d));
        good = json_is_integer(json_array_get(shape, (size_t)d)) && dims[d] >= 0;
    }
    return good ? QN_OK : qn_fail(err, QN_EFORMAT, path, "\"shape\" is no list of at most %d dimensions", QN_MAX_RANK);
}

static qn_status from_json(qn_quantizer **q, int *rank, int64_t dims[QN_MAX_RANK], const json_t *root, const char *path,
                           qn_error *err)
{
    const json_t *axis = json_object_get(root, "axis"), *group = json_object_get(root, "group");
    const char *name = json_string_value(json_object_get(root, "format"));
    if (name == NULL || !json_is_integer(axis) || !json_is_integer(group) || json_integer_value(axis) < -1 ||
        json_integer_value(axis) >= QN_MAX_RANK) {
        return qn_fail(
            err, QN_EFORMAT, path,
            "this is no file of quantizer parameters: \"format\", \"axis\" or \"group\" is missing or wrong");
    }
    qn_format format;
    qn_status status = qn_format_parse(&format, name, err);
    if (status != QN_OK) {
        qn_error_prefix(err, path);
        return status;
    }
    QN_TRY(read_shape(rank, dims, json_object_get(root, "shape"), path, err));
    /* Lists are as long as the sets are many, so a shape that the file cannot back makes no large allocation. */
    int64_t n;
    int read_axis = (int)json_integer_value(axis);
    QN_TRY(qn_quantizer_sets(&n, read_axis, json_integer_value(group), *rank, dims, err));
    for (int i = 0; i < N_PARAMETERS; i++) {
        const json_t *list = json_object_get(root, parameters[i].name);
        if ((qn_format_parameters(format) & parameters[i].parameter) != 0 && (int64_t)json_array_size(list) != n) {
            return qn_fail(err, QN_EFORMAT, path, "\"%s\" has %zu numbers where %lld are needed", parameters[i].name,
                           json_array_size(list), (long long)n);
        }
    }
    qn_quantizer *result;
    QN_TRY(qn_quantizer_new(&result, format, read_axis, json_integer_value(group), *rank, dims, err));
    status = read_parameters(result, root, path, err);
    if (status == QN_OK) {
        status = qn_quantizer_check(result, *rank, dims, path, err);
    }
    if (status != QN_OK) {
        qn_quantizer_free(result);
        return status;
    }
    *q = result;
    return QN_OK;
}

qn_status qn_quantizer_read_json(qn_quantizer **q, int *rank, int64_t dims[QN_MAX_RANK], const char *path,
                                 qn_error *err)
{
    qn_file_bytes file;
    QN_TRY(qn_file_read(&file, path, err));
    json_error_t problem;
    json_t *root = json_loadb((const char *)file.data, file.size, 0, &problem);
    qn_file_bytes_free(&file);
    if (root == NULL) {
        return qn_fail_at(err, QN_EFORMAT, problem.position, path, "not JSON, line %d: %s", problem.line, problem.text);
    }
    int own_rank;
    int64_t own_dims[QN_MAX_RANK] = {0};
    qn_status status = from_json(q, rank != NULL ? rank : &own_rank, dims != NULL ? dims : own_dims, root, path, err);
    json_decref(root);
    return status;
}
