/* calib.json. Numbers are written with seventeen significant digits, which bring every double back exactly. */
#include "calib/calib.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DOUBLE_DIGITS = 17 };

/* Jansson tells failures of building only by NULL, and passing that on to the containers makes them fail too. */
static json_t *range_to_json(const qn_range *range)
{
    json_t *absmax = json_array();
    for (int64_t c = 0; c < range->n_channels; c++) {
        if (json_array_append_new(absmax, json_real((double)range->absmax[c])) != 0) {
            json_decref(absmax);
            return NULL;
        }
    }
    return json_pack("{s:f, s:f, s:o}", "min", (double)range->min, "max", (double)range->max, "absmax", absmax);
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
    return json_pack("{s:s, s:{s:o, s:s}, s:{s:o, s:s, s:I}, s:o*, s:o}", "quern", calibration->version, "model",
                     "file", qn_json_record(calibration->model_file), "sha256", calibration->model_sha256, "data",
                     "file", qn_json_record(calibration->data_file), "sha256", calibration->data_sha256, "count",
                     (json_int_t)calibration->n_items, "preprocess", preprocess, "values", ranges_to_json(calibration));
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
    float *absmax;
    QN_TRY(qn_calibration_add(calibration, name, (int64_t)json_array_size(list), &range, &absmax, err));
    range->min = min;
    range->max = max;
    for (int64_t c = 0; c < range->n_channels; c++) {
        if (!read_float(json_array_get(list, (size_t)c), &absmax[c]) || absmax[c] < 0) {
            return qn_fail(err, QN_EFORMAT, path, "value '%s': \"absmax\" of channel %lld is not a finite number >= 0",
                           name, (long long)c);
        }
    }
    return QN_OK;
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
