/* calib.json. Numbers are written with seventeen significant digits, which bring every double back exactly. */
#include "calib/calib.h"
#include "calib/histogram_json.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOUBLE_DIGITS = 17, SCHEMA = 2 };

/* Jansson tells failures of building only by NULL, and passing that on to the containers makes them fail too. */
static json_t *floats_to_json(const float *x, int64_t n)
{
    json_t *array = json_array();
    for (int64_t c = 0; c < n; c++) {
        if (json_array_append_new(array, json_real((double)x[c])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *doubles_to_json(const double *x, int64_t n)
{
    json_t *array = json_array();
    for (int64_t c = 0; c < n; c++) {
        if (json_array_append_new(array, json_real(x[c])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *range_to_json(const qn_range *range)
{
    int64_t n = range->n_channels;
    json_t *object = json_pack("{s:f, s:f, s:o}", "min", (double)range->min, "max", (double)range->max, "absmax",
                               floats_to_json(range->absmax, n));
    if (object == NULL || range->histogram == NULL) {
        return object;
    }
    json_t *details =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "channel_min", floats_to_json(range->channel_min, n), "channel_max",
                  floats_to_json(range->channel_max, n), "mean", doubles_to_json(range->mean, n), "variance",
                  doubles_to_json(range->variance, n), "histogram", qn_histogram_to_json(range->histogram));
    bool done = details != NULL && json_object_update(object, details) == 0;
    json_decref(details);
    if (!done) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *ranges_to_json(const qn_calibration *calibration)
{
    json_t *values = json_object();
    for (size_t i = 0; i < calibration->n_ranges; i++) {
        const qn_range *range = &calibration->ranges[i];
        if (json_object_set_new(values, range->value_name, range_to_json(range)) != 0) {
            json_decref(values);
            return NULL;
        }
    }
    return values;
}

json_t *qn_json_record(const char *text)
{
    json_t *string = json_string(text);
    if (string != NULL) {
        return string;
    }
    size_t length = strlen(text);
    char *ascii = qn_alloc(length + 1); /* zeroed */
    for (size_t i = 0; ascii != NULL && i < length; i++) {
        ascii[i] = '?';
        if ((unsigned char)text[i] < 0x80) {
            ascii[i] = text[i];
        }
    }
    string = ascii != NULL ? json_string(ascii) : NULL;
    qn_free(ascii);
    return string;
}

static json_t *to_json(const qn_calibration *calibration, json_t *preprocess)
{
    return json_pack("{s:s, s:i, s:{s:o, s:s}, s:{s:o, s:s, s:I}, s:o*, s:o}", "quern", calibration->version, "schema",
                     SCHEMA, "model", "file", qn_json_record(calibration->model_file), "sha256",
                     calibration->model_sha256, "data", "file", qn_json_record(calibration->data_file), "sha256",
                     calibration->data_sha256, "count", (json_int_t)calibration->n_items, "preprocess", preprocess,
                     "values", ranges_to_json(calibration));
}

static qn_status preprocess_to_json(const qn_calibration *calibration, json_t **object, qn_error *err)
{
    *object = NULL;
    if (!calibration->has_preprocess) {
        return QN_OK;
    }
    char *text = NULL;
    QN_TRY(qn_preprocess_to_json(&calibration->preprocess, &text, err));
    *object = json_loads(text, 0, NULL);
    free(text);
    return *object != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
}

qn_status qn_calibration_save(const qn_calibration *calibration, const char *path, bool overwrite, qn_error *err)
{
    json_t *preprocess;
    QN_TRY(preprocess_to_json(calibration, &preprocess, err));
    json_t *root = to_json(calibration, preprocess);
    if (root == NULL) {
        return qn_fail(err, QN_EFORMAT, path, "cannot be written as JSON; a name in the model is not UTF-8");
    }
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(DOUBLE_DIGITS));
    json_decref(root);
    if (text == NULL) {
        return qn_fail_memory(err, path, 0);
    }
    size_t length = strlen(text);
    text[length] = '\n'; /* in the place of the final 0 */
    qn_status status = qn_file_write_all(path, overwrite, text, length + 1, err);
    free(text);
    return status;
}

/* The float that a JSON number means; false when it is not a number or not a finite float. */
static bool read_float(const json_t *number, float *x)
{
    double value = json_number_value(number); /* 0 when it is not a number */
    if (!json_is_number(number) || fabs(value) > (double)FLT_MAX) {
        return false;
    }
    *x = (float)value + 0.0f;
    return true;
}

/* An array of n finite numbers. */
static qn_status read_floats(float *x, int64_t n, const json_t *object, const char *key, const char *path,
                             const char *name, qn_error *err)
{
    const json_t *list = json_object_get(object, key);
    for (int64_t c = 0; c < n; c++) {
        if (json_array_size(list) != (size_t)n || !read_float(json_array_get(list, (size_t)c), &x[c])) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': \"%s\" is not an array of %lld finite numbers", name,
                           key, (long long)n);
        }
    }
    return QN_OK;
}

static qn_status read_doubles(double *x, int64_t n, const json_t *object, const char *key, const char *path,
                              const char *name, qn_error *err)
{
    const json_t *list = json_object_get(object, key);
    for (int64_t c = 0; c < n; c++) {
        const json_t *number = json_array_get(list, (size_t)c);
        x[c] = json_number_value(number);
        if (json_array_size(list) != (size_t)n || !json_is_number(number) || !isfinite(x[c])) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': \"%s\" is not an array of %lld finite numbers", name,
                           key, (long long)n);
        }
    }
    return QN_OK;
}

/* What schema 2 brought. */
static qn_status read_details(qn_calibration *calibration, qn_range *range, const qn_range_arrays *arrays,
                              const char *path, const json_t *object, qn_error *err)
{
    const char *name = range->value_name;
    int64_t n = range->n_channels;
    QN_TRY(read_floats(arrays->channel_min, n, object, "channel_min", path, name, err));
    QN_TRY(read_floats(arrays->channel_max, n, object, "channel_max", path, name, err));
    QN_TRY(read_doubles(arrays->mean, n, object, "mean", path, name, err));
    QN_TRY(read_doubles(arrays->variance, n, object, "variance", path, name, err));
    for (int64_t c = 0; c < n; c++) {
        float least = arrays->channel_min[c], greatest = arrays->channel_max[c];
        if (least > greatest || least < range->min || greatest > range->max || arrays->variance[c] < 0.0 ||
            arrays->absmax[c] != fmaxf(fabsf(least), fabsf(greatest))) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': what is said of channel %lld contradicts itself", name,
                           (long long)c);
        }
    }
    qn_histogram *histogram;
    QN_TRY(qn_histogram_from_json(&histogram, json_object_get(object, "histogram"), range, path, err));
    qn_calibration_keep(calibration, range, histogram);
    return QN_OK;
}

static qn_status read_range(qn_calibration *calibration, const char *path, const char *name, const json_t *object,
                            qn_error *err)
{
    const json_t *list = json_object_get(object, "absmax");
    float min, max;
    if (name[0] == '\0' || !read_float(json_object_get(object, "min"), &min) ||
        !read_float(json_object_get(object, "max"), &max) || min > max || !json_is_array(list)) {
        return qn_fail(err, QN_EFORMAT, path,
                       "value '%s' needs finite numbers \"min\" and \"max\", min <= max, and an array \"absmax\"",
                       name);
    }
    qn_range *range;
    qn_range_arrays arrays;
    bool details = json_object_get(object, "histogram") != NULL;
    QN_TRY(qn_calibration_add_arrays(calibration, name, (int64_t)json_array_size(list), details, &range, &arrays, err));
    range->min = min;
    range->max = max;
    for (int64_t c = 0; c < range->n_channels; c++) {
        if (!read_float(json_array_get(list, (size_t)c), &arrays.absmax[c]) || arrays.absmax[c] < 0) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': \"absmax\" of channel %lld is not a finite number >= 0",
                           name, (long long)c);
        }
    }
    return details ? read_details(calibration, range, &arrays, path, object, err) : QN_OK;
}

static qn_status read_preprocess(qn_calibration *calibration, const char *path, const json_t *object, qn_error *err)
{
    if (object == NULL) {
        return QN_OK;
    }
    char *text = json_dumps(object, JSON_REAL_PRECISION(DOUBLE_DIGITS) | JSON_ENCODE_ANY);
    if (text == NULL) {
        return qn_fail_memory(err, path, 0);
    }
    qn_status status = qn_preprocess_from_json(&calibration->preprocess, text, err);
    free(text);
    if (status != QN_OK) {
        qn_error_prefix(err, path);
    }
    calibration->has_preprocess = status == QN_OK;
    return status;
}

/* The records of origin. A SHA-256 is 64 hex digits, or nothing when there was no file. */
static qn_status read_origin(qn_calibration *calibration, const char *path, json_t *root, qn_error *err)
{
    const char *version, *model_file, *data_file, *model_sha, *data_sha;
    json_int_t count;
    json_error_t problem;
    if (json_unpack_ex(root, &problem, 0, "{s:s, s:{s:s, s:s}, s:{s:s, s:s, s:I}}", "quern", &version, "model", "file",
                       &model_file, "sha256", &model_sha, "data", "file", &data_file, "sha256", &data_sha, "count",
                       &count) != 0) {
        return qn_fail(err, QN_EFORMAT, path, "not a calibration file: %s", problem.text);
    }
    size_t model_digits = strspn(model_sha, "0123456789abcdef"), data_digits = strspn(data_sha, "0123456789abcdef");
    if (count < 1 || model_sha[model_digits] != '\0' || data_sha[data_digits] != '\0' ||
        (model_digits != 0 && model_digits != QN_SHA256_HEX - 1) ||
        (data_digits != 0 && data_digits != QN_SHA256_HEX - 1)) {
        return qn_fail(err, QN_EFORMAT, path, "not a calibration file: a \"sha256\" or the \"count\" is malformed");
    }
    calibration->version = qn_arena_string(&calibration->arena, version);
    calibration->model_file = qn_arena_string(&calibration->arena, model_file);
    calibration->data_file = qn_arena_string(&calibration->arena, data_file);
    if (calibration->version == NULL || calibration->model_file == NULL || calibration->data_file == NULL) {
        return qn_fail_memory(err, path, strlen(model_file) + strlen(data_file));
    }
    memcpy(calibration->model_sha256, model_sha, model_digits);
    memcpy(calibration->data_sha256, data_sha, data_digits);
    calibration->n_items = count;
    return QN_OK;
}

static qn_status from_json(qn_calibration *calibration, const char *path, json_t *root, qn_error *err)
{
    QN_TRY(read_origin(calibration, path, root, err));
    QN_TRY(read_preprocess(calibration, path, json_object_get(root, "preprocess"), err));
    json_t *schema = json_object_get(root, "schema");
    if (schema != NULL && (!json_is_integer(schema) || json_integer_value(schema) < 1)) {
        return qn_fail(err, QN_EFORMAT, path, "not a calibration file: \"schema\" is not a number of 1 or more");
    }
    if (schema != NULL && json_integer_value(schema) > SCHEMA) {
        return qn_fail(err, QN_EFORMAT, path, "has schema %lld, and this quern reads up to %d; calibrate again",
                       (long long)json_integer_value(schema), SCHEMA);
    }
    json_t *values = json_object_get(root, "values"), *object;
    if (!json_is_object(values)) {
        return qn_fail(err, QN_EFORMAT, path, "not a calibration file: it has no object \"values\"");
    }
    const char *name;
    json_object_foreach(values, name, object)
    {
        QN_TRY(read_range(calibration, path, name, object, err));
    }
    return QN_OK;
}

qn_status qn_calibration_load(qn_calibration **calibration, const char *path, qn_error *err)
{
    *calibration = NULL;
    qn_file_bytes file;
    QN_TRY(qn_file_read(&file, path, err));
    json_error_t problem;
    json_t *root = json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &problem);
    qn_file_bytes_free(&file);
    if (root == NULL) {
        return qn_fail_at(err, QN_EFORMAT, problem.position, path, "line %d, column %d: %s", problem.line,
                          problem.column, problem.text);
    }
    qn_calibration *result = qn_alloc(sizeof *result);
    qn_status status = result == NULL ? qn_fail_memory(err, path, sizeof *result) : from_json(result, path, root, err);
    json_decref(root);
    if (status != QN_OK) {
        qn_calibration_free(result);
        return status;
    }
    *calibration = result;
    return QN_OK;
}
