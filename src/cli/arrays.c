#include "cli/arrays.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static qn_status read_constant(qn_tensor *x, const char *file, const char *name, qn_error *err)
{
    qn_model *model;
    QN_TRY(qn_model_load(&model, file, err));
    qn_status status = qn_model_constant(x, model, name, err);
    qn_model_free(model);
    return status;
}

static double integer_at(const qn_tensor *x, int64_t i)
{
    switch (x->dtype) {
    case QN_DTYPE_S8:
        return ((const int8_t *)x->data)[i];
    case QN_DTYPE_U8:
        return ((const uint8_t *)x->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)x->data)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)x->data)[i];
    case QN_DTYPE_S32:
        return ((const int32_t *)x->data)[i];
    default:
        return ((const uint32_t *)x->data)[i];
    }
}

/* Integers, such as the pixels of images, are the reals they are: float32 where that holds them, else float64. */
static qn_status to_floats(qn_tensor *x, const char *path, qn_error *err)
{
    if (x->dtype == QN_DTYPE_F32 || x->dtype == QN_DTYPE_F64) {
        return QN_OK;
    }
    bool narrow =
        x->dtype == QN_DTYPE_S8 || x->dtype == QN_DTYPE_U8 || x->dtype == QN_DTYPE_S16 || x->dtype == QN_DTYPE_U16;
    if (!narrow && x->dtype != QN_DTYPE_S32 && x->dtype != QN_DTYPE_U32) {
        return qn_fail(err, QN_EUNSUPPORTED, path,
                       "elements are %s; formats take float32, float64 and integers of up to 32 bits",
                       qn_dtype_text(x->dtype));
    }
    qn_tensor y;
    QN_TRY(qn_tensor_alloc(&y, narrow ? QN_DTYPE_F32 : QN_DTYPE_F64, x->rank, x->dims, err));
    for (int64_t i = 0, n = qn_tensor_count(x); i < n; i++) {
        if (narrow) {
            ((float *)y.data)[i] = (float)integer_at(x, i);
        } else {
            ((double *)y.data)[i] = integer_at(x, i);
        }
    }
    qn_tensor_free(x);
    *x = y;
    return QN_OK;
}

qn_status cli_read_array(qn_tensor *x, const char *path, qn_error *err)
{
    static const char suffix[] = ".onnx:";
    const char *at = strstr(path, suffix);
    if (at != NULL) {
        size_t length = (size_t)(at - path) + strlen(suffix) - 1;
        char *file = strndup(path, length);
        if (file == NULL) {
            return qn_fail(err, QN_ENOMEM, path, "out of memory");
        }
        qn_status status = read_constant(x, file, path + length + 1, err);
        free(file);
        return status;
    }
    size_t length = strlen(path), extension = strlen(".onnx");
    if (length >= extension && strcmp(path + length - extension, ".onnx") == 0) {
        return qn_fail(err, QN_EINVAL, path, "a model; name one of its constants as in %s:fc.weight", path);
    }
    QN_TRY(qn_tensor_read(x, path, err));
    qn_status status = to_floats(x, path, err);
    if (status != QN_OK) {
        qn_tensor_free(x);
    }
    return status;
}

static cli_exit parse_count(const char *option, const char *text, long least, long *value)
{
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *value < least) {
        return cli_misuse("--%s '%s' is not a whole number of at least %ld", option, text, least);
    }
    return CLI_OK;
}

/* The index of --option's value among two words; the first is the default. */
static cli_exit parse_policy(const cli_args *args, const char *option, const char *const words[2], int *index)
{
    const char *given = cli_value(args, option);
    *index = given != NULL && strcmp(given, words[1]) == 0 ? 1 : 0;
    if (given != NULL && strcmp(given, words[*index]) != 0) {
        return cli_misuse("--%s '%s' is unknown; it is %s or %s", option, given, words[0], words[1]);
    }
    return CLI_OK;
}

cli_exit cli_fit_options(const cli_args *args, const char *rule_option, qn_fit_options *fit, qn_codec_options *codec)
{
    static const char *const nan_words[] = {"refuse", "zero"}, *const inf_words[] = {"refuse", "clamp"};
    const char *axis = cli_value(args, "axis"), *group = cli_value(args, "group");
    long value;
    int nan, inf;
    qn_fit_options_init(fit);
    qn_codec_options_init(codec);
    if (axis != NULL) {
        cli_exit code = parse_count("axis", axis, 0, &value);
        if (code != CLI_OK) {
            return code;
        }
        fit->axis = value < INT_MAX ? (int)value : INT_MAX;
    }
    if (group != NULL) {
        cli_exit code = parse_count("group", group, 1, &value);
        if (code != CLI_OK) {
            return code;
        }
        fit->group = value;
    }
    cli_exit code = parse_policy(args, "nan", nan_words, &nan);
    code = code == CLI_OK ? parse_policy(args, "inf", inf_words, &inf) : code;
    if (code != CLI_OK) {
        return code;
    }
    fit->nan = codec->nan = nan == 1 ? QN_NAN_ZERO : QN_NAN_REFUSE;
    fit->inf = codec->inf = inf == 1 ? QN_INF_CLAMP : QN_INF_REFUSE;
    fit->rule = cli_value(args, rule_option);
    return CLI_OK;
}

cli_distance cli_distance_of(const qn_tensor *x, const qn_tensor *y)
{
    cli_distance d = {0};
    double signal = 0.0, noise = 0.0, sum = 0.0;
    int64_t n = qn_tensor_count(x), counted = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = x->dtype == QN_DTYPE_F32 ? (double)((const float *)x->data)[i] : ((const double *)x->data)[i];
        if (!isfinite(v)) {
            continue;
        }
        double error = fabs(v - (double)((const float *)y->data)[i]);
        signal += v * v;
        noise += error * error;
        sum += error;
        counted++;
        if (error > d.max_error) {
            d.max_error = error;
            d.max_error_at = i;
        }
    }
    d.mean_error = counted > 0 ? sum / (double)counted : 0.0;
    d.sqnr_db = noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
    return d;
}

/* The parameters by name, and what one takes to store: fp32, or the byte of E8M0. */
static const struct {
    unsigned parameter;
    const char *key, *text;
    int bits;
} parameters[] = {
    {QN_PARAM_SCALE, "scale", "scale", 32},
    {QN_PARAM_ZERO_POINT, "zero_point", "zero point", 0}, /* 0: as many as a code */
    {QN_PARAM_EXP_BIAS, "exp_bias", "exponent bias", 8},
    {QN_PARAM_SHIFT, "shift", "shift", 32},
    {QN_PARAM_MULTIPLIER, "multiplier", "multiplier", 32},
};
enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

static double parameter_of(const qn_params *p, unsigned parameter)
{
    switch (parameter) {
    case QN_PARAM_SCALE:
        return (double)p->scale;
    case QN_PARAM_ZERO_POINT:
        return p->zero_point;
    case QN_PARAM_EXP_BIAS:
        return p->exp_bias;
    case QN_PARAM_SHIFT:
        return (double)p->shift;
    default:
        return (double)p->multiplier;
    }
}

double cli_bits_per_value(const qn_quantizer *q, int64_t n)
{
    int bits = 0;
    for (int i = 0; i < N_PARAMETERS; i++) {
        if ((qn_format_parameters(q->format) & parameters[i].parameter) != 0) {
            bits += parameters[i].bits > 0 ? parameters[i].bits : q->format.bits;
        }
    }
    return q->format.bits + (n > 0 ? (double)bits * (double)q->n / (double)n : 0.0);
}

const char *cli_params(char text[CLI_PARAMS_MAX], const qn_quantizer *q, int64_t set)
{
    qn_params p = qn_quantizer_get(q, set);
    size_t used = 0;
    snprintf(text, CLI_PARAMS_MAX, "none");
    for (int i = 0; i < N_PARAMETERS; i++) {
        if ((qn_format_parameters(q->format) & parameters[i].parameter) != 0 && used < CLI_PARAMS_MAX) {
            int n = snprintf(text + used, CLI_PARAMS_MAX - used, "%s%s %.9g", used > 0 ? ", " : "", parameters[i].text,
                             parameter_of(&p, parameters[i].parameter));
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return text;
}

json_t *cli_json_params(const qn_quantizer *q, int64_t set)
{
    qn_params p = qn_quantizer_get(q, set);
    json_t *object = json_object();
    for (int i = 0; i < N_PARAMETERS; i++) {
        unsigned parameter = parameters[i].parameter;
        if ((qn_format_parameters(q->format) & parameter) != 0) {
            double value = parameter_of(&p, parameter);
            bool integer = parameter == QN_PARAM_ZERO_POINT || parameter == QN_PARAM_EXP_BIAS;
            json_object_set_new(object, parameters[i].key,
                                integer ? json_integer((json_int_t)value) : cli_json_real(value));
        }
    }
    return object;
}

const char *cli_db(char text[CLI_DB_MAX], double db)
{
    if (db == INFINITY) {
        snprintf(text, CLI_DB_MAX, "exact");
    } else {
        snprintf(text, CLI_DB_MAX, "%.2f dB", db);
    }
    return text;
}
