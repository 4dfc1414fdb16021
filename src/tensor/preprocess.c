/* Preprocessing parameters and their JSON form. */
#include "tensor/preprocess.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static const char *const layouts[] = {[QN_LAYOUT_NCHW] = "nchw", [QN_LAYOUT_NHWC] = "nhwc"};

enum { N_LAYOUTS = (int)(sizeof layouts / sizeof layouts[0]), DIGITS = 17 };

void qn_preprocess_init(qn_preprocess *pre)
{
    *pre = (qn_preprocess){.struct_size = sizeof *pre, .scale = 1.0, .layout = QN_LAYOUT_NCHW};
}

double qn_preprocess_mean(const qn_preprocess *pre, int c)
{
    return pre->n_mean == 0 ? 0.0 : pre->mean[pre->n_mean == 1 ? 0 : c];
}

double qn_preprocess_std(const qn_preprocess *pre, int c)
{
    return pre->n_std == 0 ? 1.0 : pre->std[pre->n_std == 1 ? 0 : c];
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

bool qn_preprocess_is_identity(const qn_preprocess *pre)
{
    qn_preprocess identity;
    qn_preprocess_init(&identity);
    return qn_preprocess_equal(pre, &identity);
}

bool qn_preprocess_equal(const qn_preprocess *a, const qn_preprocess *b)
{
    int n_mean = larger(a->n_mean, b->n_mean), n_std = larger(a->n_std, b->n_std);
    if (a->scale != b->scale || a->layout != b->layout || (a->n_mean > 1 && b->n_mean > 1 && a->n_mean != b->n_mean) ||
        (a->n_std > 1 && b->n_std > 1 && a->n_std != b->n_std)) {
        return false;
    }
    for (int c = 0; c < n_mean; c++) {
        if (qn_preprocess_mean(a, c) != qn_preprocess_mean(b, c)) {
            return false;
        }
    }
    for (int c = 0; c < n_std; c++) {
        if (qn_preprocess_std(a, c) != qn_preprocess_std(b, c)) {
            return false;
        }
    }
    return true;
}

qn_status qn_preprocess_check(const qn_preprocess *pre, qn_error *err)
{
    if (pre->struct_size != sizeof *pre) {
        return qn_fail(err, QN_EINVAL, "preprocessing", "the parameters were not set up with qn_preprocess_init");
    }
    if (!isfinite(pre->scale) || pre->scale == 0.0) {
        return qn_fail(err, QN_EINVAL, "preprocessing", "scale is %g; it must be finite and not 0", pre->scale);
    }
    if (pre->n_mean < 0 || pre->n_mean > QN_MAX_PREPROCESS_CHANNELS || pre->n_std < 0 ||
        pre->n_std > QN_MAX_PREPROCESS_CHANNELS) {
        return qn_fail(err, QN_EINVAL, "preprocessing", "mean and std have at most %d values",
                       QN_MAX_PREPROCESS_CHANNELS);
    }
    for (int c = 0; c < pre->n_mean; c++) {
        if (!isfinite(pre->mean[c])) {
            return qn_fail(err, QN_EINVAL, "preprocessing", "mean %d is %g; it must be finite", c, pre->mean[c]);
        }
    }
    for (int c = 0; c < pre->n_std; c++) {
        if (!isfinite(pre->std[c]) || pre->std[c] == 0.0) {
            return qn_fail(err, QN_EINVAL, "preprocessing", "std %d is %g; it must be finite and not 0", c,
                           pre->std[c]);
        }
    }
    if ((unsigned)pre->layout >= N_LAYOUTS) {
        return qn_fail(err, QN_EINVAL, "preprocessing", "%d is not a layout", (int)pre->layout);
    }
    return QN_OK;
}

static json_t *numbers_to_json(const double *values, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        if (json_array_append_new(array, json_real(values[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

qn_status qn_preprocess_to_json(const qn_preprocess *pre, char **text, qn_error *err)
{
    QN_TRY(qn_preprocess_check(pre, err));
    json_t *object = json_object();
    bool built = json_object_set_new(object, "scale", json_real(pre->scale)) == 0 &&
                 json_object_set_new(object, "mean", numbers_to_json(pre->mean, pre->n_mean)) == 0 &&
                 json_object_set_new(object, "std", numbers_to_json(pre->std, pre->n_std)) == 0 &&
                 json_object_set_new(object, "layout", json_string(layouts[pre->layout])) == 0;
    char *made = built ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) : NULL;
    json_decref(object);
    if (made == NULL) {
        return qn_fail(err, QN_ENOMEM, "preprocessing", "out of memory while writing JSON");
    }
    *text = made;
    return QN_OK;
}

static qn_status parse_scale(qn_preprocess *pre, const json_t *value, qn_error *err)
{
    if (!json_is_number(value)) {
        return qn_fail(err, QN_EFORMAT, "preprocessing, scale", "is not a number");
    }
    pre->scale = json_number_value(value);
    return QN_OK;
}

static qn_status parse_numbers(double *values, int *n, const json_t *array, const char *where, qn_error *err)
{
    if (!json_is_array(array) || json_array_size(array) > QN_MAX_PREPROCESS_CHANNELS) {
        return qn_fail(err, QN_EFORMAT, where, "is not an array of at most %d numbers", QN_MAX_PREPROCESS_CHANNELS);
    }
    *n = (int)json_array_size(array);
    for (int i = 0; i < *n; i++) {
        const json_t *value = json_array_get(array, (size_t)i);
        if (!json_is_number(value)) {
            return qn_fail(err, QN_EFORMAT, where, "element %d is not a number", i);
        }
        values[i] = json_number_value(value);
    }
    return QN_OK;
}

static qn_status parse_mean(qn_preprocess *pre, const json_t *value, qn_error *err)
{
    return parse_numbers(pre->mean, &pre->n_mean, value, "preprocessing, mean", err);
}

static qn_status parse_std(qn_preprocess *pre, const json_t *value, qn_error *err)
{
    return parse_numbers(pre->std, &pre->n_std, value, "preprocessing, std", err);
}

static qn_status parse_layout(qn_preprocess *pre, const json_t *value, qn_error *err)
{
    for (int i = 0; i < N_LAYOUTS; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), layouts[i]) == 0) {
            pre->layout = (qn_layout)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EFORMAT, "preprocessing, layout", "is neither \"nchw\" nor \"nhwc\"");
}

typedef struct key_row {
    const char *name;
    qn_status (*parse)(qn_preprocess *pre, const json_t *value, qn_error *err);
} key_row;

static const key_row keys[] = {
    {"scale", parse_scale}, {"mean", parse_mean}, {"std", parse_std}, {"layout", parse_layout}};

static qn_status parse_entry(qn_preprocess *pre, const char *name, const json_t *value, qn_error *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(name, keys[i].name) == 0) {
            return keys[i].parse(pre, value, err);
        }
    }
    return qn_fail(err, QN_EFORMAT, "preprocessing", "unknown key '%s'; the keys are scale, mean, std and layout",
                   name);
}

static qn_status parse_object(qn_preprocess *pre, json_t *object, qn_error *err)
{
    if (!json_is_object(object)) {
        return qn_fail(err, QN_EFORMAT, "preprocessing", "is not a JSON object");
    }
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        QN_TRY(parse_entry(pre, name, value, err));
    }
    return qn_preprocess_check(pre, err);
}

qn_status qn_preprocess_from_json(qn_preprocess *pre, const char *text, qn_error *err)
{
    json_error_t reason;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &reason);
    if (object == NULL) {
        return qn_fail_at(err, QN_EFORMAT, reason.position, "preprocessing", "is not JSON: %s", reason.text);
    }
    qn_preprocess parsed;
    qn_preprocess_init(&parsed);
    qn_status status = parse_object(&parsed, object, err);
    json_decref(object);
    QN_TRY(status);
    *pre = parsed;
    return QN_OK;
}
