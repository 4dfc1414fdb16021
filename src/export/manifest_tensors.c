/* Tensors and constants in the manifest: everything their integers mean. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "export/manifest.h"

/* ap_fixed<W, I, Q, O> stands for raw * 2^(I - W): with scale 2^e, I is W + e, signed or not. Null, with the reason,
 * where codes are not that. */
static void add_ap_fixed(json_t *object, const qn_quantizer *q)
{
    static const char *const roundings[] = {
#define NAME(name, value, text, ap_name) [value] = ap_name,
        QN_ROUND_LIST(NAME)
#undef NAME
    };
    char text[96];
    int e = 0;
    const qn_format f = q->format;
    const char *reason = NULL;
    if (!qn_export_exponent(&e, q->scale[0])) {
        reason = "the scale is no power of two";
    } else if (!qn_export_all_equal_floats(q->scale, q->n)) {
        reason = "scales differ: where scale_exponents are given, channel k is <bits, bits + scale_exponents[k]>";
    } else if (!qn_export_all_equal_ints(q->zero_point, q->n) || q->zero_point[0] != 0) {
        reason = "the zero point is not 0";
    } else if (roundings[f.rounding][0] == '\0') {
        reason = "ap_fixed does not round so";
    }
    snprintf(text, sizeof text, "ap_%sfixed<%d,%d,AP_%s,AP_%s>", f.is_signed ? "" : "u", f.bits, f.bits + e,
             roundings[f.rounding], f.narrow ? "SAT_SYM" : "SAT");
    qn_export_json_set(object, "ap_fixed", reason == NULL ? json_string(text) : json_null());
    qn_export_json_set(object, "ap_fixed_reason", reason != NULL ? json_string(reason) : json_null());
}

static const char *rounding_text(qn_rounding rounding)
{
    static const char *const texts[] = {
#define TEXT(name, value, text, ap_name) [value] = text,
        QN_ROUND_LIST(TEXT)
#undef TEXT
    };
    return texts[rounding];
}

static void add_scales(json_t *object, const qn_quantizer *q)
{
    json_t *exponents = qn_export_json_exponents(q->scale, q->n);
    const bool powers = json_is_array(exponents);
    qn_export_json_set(object, "scale_axis", q->n > 1 ? json_integer(q->axis) : json_null());
    qn_export_json_set(object, "scales", qn_export_json_reals(q->scale, q->n));
    qn_export_json_set(object, "scales_hex", qn_export_json_hex(q->scale, q->n));
    qn_export_json_set(object, "scale_exponents", exponents);
    qn_export_json_set(object, "scale_text",
                       json_string(powers ? "powers of two, scale == 2^scale_exponent: x is z - zero_point shifted, to "
                                            "the left by scale_exponent, to the right where it is negative"
                                          : "float32; scales_hex are the same numbers"));
    qn_export_json_set(object, "zero_points", qn_export_json_ints(q->zero_point, q->n));
    qn_export_json_set(object, "rounding", json_string(rounding_text(q->format.rounding)));
    qn_export_json_set(object, "overflow", json_string(q->format.narrow ? "saturate, to -highest_code" : "saturate"));
    add_ap_fixed(object, q);
}

/* A format that is not integers with a scale: codes are bit patterns, whose meaning is another. */
static void add_other(json_t *object)
{
    static const char *const nulls[] = {"scale_axis", "scales", "scales_hex", "scale_exponents"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        qn_export_json_set(object, nulls[i], json_null());
    }
    qn_export_json_set(object, "scale_text",
                       json_string("codes of this format are no integers times one scale; see quern's doc/formats.md"));
}

static void add_format(json_t *object, const qn_quantizer *q)
{
    char name[QN_FORMAT_NAME_MAX];
    int32_t lo = 0, hi = 0;
    const bool integers = q->format.kind == QN_FORMAT_INT;
    qn_format_name(name, q->format);
    if (integers) {
        qn_format_range(q->format, &lo, &hi);
    }
    qn_export_json_set(object, "format", json_string(name));
    qn_export_json_set(object, "bits", json_integer(q->format.bits));
    qn_export_json_set(object, "signed", json_boolean(q->format.is_signed));
    qn_export_json_set(object, "lowest_code", integers ? json_integer(lo) : json_null());
    qn_export_json_set(object, "highest_code", integers ? json_integer(hi) : json_null());
}

static void add_layout(json_t *object, const char *axes, const char *text)
{
    qn_export_json_set(object, "axes", axes[0] != '\0' ? json_string(axes) : json_null());
    qn_export_json_set(object, "layout", json_string(text));
}

static void add_files(json_t *object, const qn_export_job *job, const char *id)
{
    json_t *files = json_object_get(job->tensor_files, id);
    qn_export_json_set(object, "files", files != NULL ? json_incref(files) : json_array());
}

static json_t *start(const char *name, const char *id, const char *role)
{
    return json_pack("{s:o, s:s, s:s}", "name", qn_export_json_string(name), "id", id, "role", role);
}

static const char *axes_of(const qn_export_tensor *t)
{
    return !t->plain      ? (t->rank == 3   ? "CHW"
                             : t->rank == 2 ? "CW"
                                            : "")
           : t->rank == 1 ? "C"
           : t->rank == 2 ? "TC"
                          : "";
}

static const char *layout_of(const qn_export_tensor *t)
{
    return t->real     ? "float32, in C order of shape, one item"
           : !t->plain ? "shape is the model's; vectors hold rows, columns, channels (HWC): element (c, y, x) at "
                         "(y * width + x) * channels + c; npz holds the model's order"
                       : "in C order of shape, the last axis fastest";
}

json_t *qn_export_tensor_json(const qn_export_job *job, const qn_export_tensor *t, const char *role)
{
    json_t *object = start(t->name, t->id, role);
    qn_export_json_set(object, "shape", qn_export_json_shape(t->rank, t->dims));
    qn_export_json_set(object, "count", json_integer(t->count));
    add_layout(object, axes_of(t), layout_of(t));
    qn_export_json_set(object, "shows", t->base >= 0 ? json_string(job->network->tensors[t->base].id) : json_null());
    if (t->real) {
        qn_export_json_set(object, "format", json_string("float32"));
        add_files(object, job, t->id);
        return object;
    }
    const qn_quantizer q = {.format = {.bits = t->bits, .is_signed = t->is_signed},
                            .axis = -1,
                            .n = 1,
                            .scale = &t->scale,
                            .zero_point = &t->zero_point};
    add_format(object, &q);
    add_scales(object, &q);
    qn_export_json_set(object, "lowest_used", json_integer(t->lo));
    qn_export_json_set(object, "highest_used", json_integer(t->hi));
    add_files(object, job, t->id);
    return object;
}

static const char *constant_layout(const qn_export_constant *c)
{
    static const struct {
        const char *axes, *text;
    } rows[] = {
        {"OIHW", "outputs, inputs of the group, kernel rows, kernel columns; C order, columns fastest"},
        {"OIW", "outputs, inputs of the group, kernel; C order, kernel fastest"},
        {"OI", "outputs, inputs; C order, inputs fastest"},
        {"IO", "inputs, outputs; C order, outputs fastest"},
        {"O", "outputs"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].axes, c->axes) == 0) {
            return rows[i].text;
        }
    }
    return "C order of shape, the last axis fastest";
}

/* Of the codes in the smallest integers that hold them, little-endian: what a .bin file holds. */
static json_t *sha256_of(const qn_export_constant *c)
{
    char hex[QN_SHA256_HEX];
    qn_sha256_hex(hex, c->codes->data, qn_tensor_bytes(c->codes));
    return json_string(hex);
}

json_t *qn_export_constant_json(const qn_export_job *job, const qn_export_constant *c)
{
    static const char *const roles[] = {"weights", "biases", "constant"};
    const qn_export_usage use = qn_export_use_of(c);
    json_t *object = start(c->name, c->id, roles[c->role]);
    qn_export_json_set(object, "shape", qn_export_json_shape(c->codes->rank, c->codes->dims));
    qn_export_json_set(object, "count", json_integer(qn_tensor_count(c->codes)));
    add_layout(object, c->axes, constant_layout(c));
    add_format(object, c->q);
    if (qn_export_is_affine(c->q)) {
        add_scales(object, c->q);
    } else {
        add_other(object);
    }
    qn_export_json_set(object, "lowest_used", json_integer(use.least));
    qn_export_json_set(object, "highest_used", json_integer(use.greatest));
    qn_export_json_set(object, "saturated", json_integer(use.saturated));
    qn_export_json_set(object, "dtype", json_string(qn_dtype_text(c->codes->dtype)));
    qn_export_json_set(object, "sha256", sha256_of(c));
    add_files(object, job, c->id);
    return object;
}
