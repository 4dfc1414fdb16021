/* Changes of codes as JSON, in the terms of the model and in those of the network, and back. */
#include "export/faulty.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ratio.h"
#include "engine/integer/region.h"
#include "export/manifest.h"

json_t *qn_export_faulty_mask(uint32_t mask, int bits)
{
    char text[16];
    snprintf(text, sizeof text, "0x%0*" PRIx32, (bits + 3) / 4, mask & qn_whole_mask(bits));
    return json_string(text);
}

json_t *qn_export_faulty_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static bool is_signed(const qn_fault_target *t)
{
    return t->where == QN_FAULT_ZERO_POINTS || t->coding == QN_FAULT_CODED ? t->format.is_signed : true;
}

json_t *qn_export_faulty_code(const qn_export_job *job, const qn_fault_target *t, int64_t element, uint32_t code)
{
    json_t *o = json_object();
    qn_export_json_set(o, "bits", qn_export_faulty_mask(code, t->bits));
    if (t->coding != QN_FAULT_F32) {
        const int64_t value = is_signed(t) ? qn_wrap_bits((int32_t)code, t->bits) : (int64_t)code;
        qn_export_json_set(o, "code", json_integer(value));
    }
    const double real = qn_fault_value(t, job->network->program, element, code);
    qn_export_json_set(o, "real", qn_export_faulty_real(real));
    return o;
}

/* Element `element` of a target along its axes. */
static int64_t along(const qn_fault_target *t, int axis, int64_t element)
{
    for (int i = t->rank - 1; i > axis; i--) {
        element /= t->dims[i];
    }
    return element % t->dims[axis];
}

static void add_model_place(json_t *o, const qn_fault_target *t, int64_t element)
{
    json_t *shape = json_array(), *index = json_array();
    for (int i = 0; i < t->rank; i++) {
        qn_export_json_append(shape, json_integer(t->dims[i]));
        qn_export_json_append(index, json_integer(along(t, i, element)));
    }
    qn_export_json_set(o, "shape", shape);
    qn_export_json_set(o, "index", index);
    const struct {
        const char *key;
        int axis;
    } axes[] = {{"channel", t->channel_axis}, {"row", t->row_axis}, {"column", t->column_axis}};
    for (int i = 0; i < 3; i++) {
        if (axes[i].axis >= 0) {
            qn_export_json_set(o, axes[i].key, json_integer(along(t, axes[i].axis, element)));
        }
    }
}

static bool is_sum(qn_fault_where where)
{
    return where == QN_FAULT_ACCUMULATORS || where == QN_FAULT_PARTIAL_SUMS || where == QN_FAULT_PRODUCTS;
}

static const qn_export_layer *layer_of_node(const qn_export_network *n, int32_t node)
{
    const qn_integer_code *code = n->program->code;
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (layer->kind == QN_EXPORT_CONV && code->steps[layer->step].node == &n->program->graph.nodes[node]) {
            return layer;
        }
    }
    return NULL;
}

/* Term t of a sum: kernel row, kernel column, channel of the group. Terms of matrices are counted in the order of the
 * model's value, channels first. */
static json_t *term_json(const qn_export_conv *c, int64_t t)
{
    const int64_t taps = (int64_t)c->kernel[0] * c->kernel[1];
    const int64_t tap = c->by_matrix ? t % taps : t / c->group_inputs;
    const int64_t channel = c->by_matrix ? t / taps : t % c->group_inputs;
    return json_pack("{s:I, s:I, s:I, s:I}", "number", (json_int_t)t, "kernel_row", (json_int_t)(tap / c->kernel[1]),
                     "kernel_column", (json_int_t)(tap % c->kernel[1]), "channel", (json_int_t)channel);
}

/* Where in the stream of the network's numbers: no clock is needed to find it. */
static void add_moment(json_t *o, const qn_export_network *n, const qn_fault_target *t, const qn_export_tensor *y,
                       const qn_export_layer *layer)
{
    char text[160];
    if (is_sum(t->where)) {
        snprintf(text, sizeof text, "%s",
                 t->where == QN_FAULT_PRODUCTS       ? "this term, before it is added"
                 : t->where == QN_FAULT_PARTIAL_SUMS ? "the sum, once the bias and the terms up to this one are in it"
                                                     : "the sum with its bias, before requantization");
    } else if (y->maker < 0) {
        snprintf(text, sizeof text, "the input's code, before any layer reads it");
    } else {
        snprintf(text, sizeof text, "the code, after requantization of %s, before any layer reads it",
                 n->layers[y->maker].id);
    }
    qn_export_json_set(o, "layer", layer != NULL ? json_string(layer->id) : json_null());
    qn_export_json_set(o, "moment", json_string(text));
}

static json_t *network_place(const qn_export_job *job, const qn_fault_target *t, const qn_fault_change *c)
{
    const qn_export_network *n = job->network;
    const qn_integer_code *code = n->program->code;
    const qn_export_layer *layer = is_sum(t->where) ? layer_of_node(n, t->node) : NULL;
    const int index = layer != NULL ? layer->output : qn_whole_tensor(n->program, t->value, t->coding == QN_FAULT_F32);
    if (index < 0) {
        return json_null();
    }
    const qn_export_tensor *y = &n->tensors[index];
    const qn_region_place p = qn_region_place_of(&code->tensors[index], c->element);
    const bool in_order = y->real && !is_sum(t->where); /* floats keep the order of the model */
    const int64_t at = in_order ? c->element : ((int64_t)p.y * y->width + p.x) * y->channels + p.k;
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:I}", "tensor", y->id, "y", p.y, "x", p.x, "channel", p.k, "index",
                          (json_int_t)at);
    if (layer == NULL && y->maker >= 0) {
        layer = &n->layers[y->maker];
    }
    add_moment(o, n, t, y, layer);
    if (t->where == QN_FAULT_PRODUCTS || t->where == QN_FAULT_PARTIAL_SUMS) {
        qn_export_json_set(o, "term", term_json(&layer->u.conv, c->term));
    }
    return o;
}

json_t *qn_export_faulty_change(const qn_export_job *job, const qn_fault_targets *targets, const qn_fault_change *c)
{
    const qn_fault_target *t = &targets->list[c->target];
    char format[QN_FORMAT_NAME_MAX];
    json_t *o = json_object(), *bits = json_array();
    qn_export_json_set(o, "where", json_string(qn_fault_where_text(t->where)));
    qn_export_json_set(o, "layer", qn_export_json_string(t->layer));
    qn_export_json_set(o, "op_type", qn_export_json_string(t->op_type));
    qn_export_json_set(o, "value", qn_export_json_string(t->value_name));
    qn_export_json_set(o, "target", json_integer(c->target));
    qn_export_json_set(o, "element", json_integer(c->element));
    add_model_place(o, t, c->element);
    if (t->where == QN_FAULT_PRODUCTS || t->where == QN_FAULT_PARTIAL_SUMS) {
        qn_export_json_set(o, "term", json_integer(c->term));
    }
    if (t->coding == QN_FAULT_CODED) {
        qn_format_name(format, t->format);
    }
    qn_export_json_set(o, "format",
                       json_string(t->coding == QN_FAULT_CODED ? format
                                   : t->coding == QN_FAULT_F32 ? "float32"
                                                               : "two's complement"));
    qn_export_json_set(o, "width", json_integer(t->bits));
    const uint32_t touched = (~c->and_mask | c->or_mask | c->xor_mask) & qn_whole_mask(t->bits);
    for (int i = 0; i < t->bits; i++) {
        if ((touched >> i & 1) != 0) {
            qn_export_json_append(bits, json_integer(i));
        }
    }
    qn_export_json_set(o, "bits", bits);
    qn_export_json_set(o, "and", qn_export_faulty_mask(c->and_mask, t->bits));
    qn_export_json_set(o, "or", qn_export_faulty_mask(c->or_mask, t->bits));
    qn_export_json_set(o, "xor", qn_export_faulty_mask(c->xor_mask, t->bits));
    qn_export_json_set(o, "add", json_real(c->add));
    qn_export_json_set(o, "suppress_invalid", json_boolean(c->suppress));
    if (!qn_export_faulty_in_memory(targets, c)) {
        qn_export_json_set(o, "network", network_place(job, t, c));
    }
    return o;
}

json_t *qn_export_faulty_how(const qn_export_job *job, const qn_fault_targets *targets, const qn_fault *fault)
{
    static const struct {
        unsigned targets;
        const char *text;
    } memory[] = {
        {1u << QN_EXPORT_NPZ, "npz: at places.npz's offset of the file, replace the element by `after`, or flip `xor`"},
        {1u << QN_EXPORT_MEM | 1u << QN_EXPORT_VERILOG,
         "mem: replace the line of the .mem file by the digits of `after` (without 0x), in every file that places.mem names"},
        {1u << QN_EXPORT_C, "c: in model.c replace element `index` of the array by `after` before compiling (the "
                            "arrays are const), or flip `xor` of it in the memory it is loaded to"},
        {1u << QN_EXPORT_HLS, "hls: replace element `index` of the array in the file by `after`"},
    };
    bool in_memory = false, on_its_way = false;
    json_t *list = json_array();
    for (int64_t i = 0; i < fault->n_changes; i++) {
        const bool is = qn_export_faulty_in_memory(targets, &fault->changes[i]);
        in_memory = in_memory || is;
        on_its_way = on_its_way || !is;
    }
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        if (in_memory && (job->options->targets & memory[i].targets) != 0) {
            qn_export_json_append(list, json_string(memory[i].text));
        }
    }
    if (on_its_way) {
        qn_export_json_append(list, json_string("on its way: at network.moment turn element network.index of "
                                                "network.tensor into ((code & and) | or) ^ xor, of `width` bits"));
    }
    qn_export_json_append(list, json_string("then run the inputs of `images`: outputs, codes and sums are the files "
                                            "named *_faulty"));
    return list;
}

static bool parse_mask(uint32_t *mask, const json_t *tree, const char *key, int bits)
{
    const char *text = json_string_value(json_object_get(tree, key));
    char *end = NULL;
    const unsigned long long value = text != NULL ? strtoull(text, &end, 16) : 0;
    *mask = (uint32_t)value;
    return text != NULL && end != text && *end == '\0' && value <= qn_whole_mask(bits);
}

static bool parse_integer(int64_t *x, const json_t *tree, const char *key, int64_t end)
{
    const json_t *value = json_object_get(tree, key);
    *x = json_integer_value(value);
    return json_is_integer(value) && *x >= 0 && *x < end;
}

/* Is the target the one that the tree names? */
static bool is_named(const json_t *tree, const qn_fault_target *t)
{
    const struct {
        const char *key, *is;
    } names[] = {{"where", qn_fault_where_text(t->where)}, {"layer", t->layer}, {"value", t->value_name}};
    for (int i = 0; i < 3; i++) {
        json_t *is = qn_export_json_string(names[i].is);
        const bool same = is != NULL && json_equal(is, json_object_get(tree, names[i].key)) != 0;
        json_decref(is);
        if (!same) {
            return false;
        }
    }
    return true;
}

qn_status qn_export_faulty_parse(qn_fault_change *change, const json_t *tree, const qn_fault_targets *targets,
                                 const char *where, qn_error *err)
{
    int64_t target;
    *change = (qn_fault_change){0};
    if (!parse_integer(&target, tree, "target", targets->n) || !is_named(tree, &targets->list[target])) {
        return qn_fail(err, QN_EFORMAT, where, "a change names a target that the model does not have");
    }
    const qn_fault_target *t = &targets->list[target];
    const bool has_term = t->where == QN_FAULT_PRODUCTS || t->where == QN_FAULT_PARTIAL_SUMS;
    change->target = (int32_t)target;
    change->add = json_real_value(json_object_get(tree, "add"));
    change->suppress = json_is_true(json_object_get(tree, "suppress_invalid"));
    const bool read = parse_integer(&change->element, tree, "element", t->n_elems) &&
                      (!has_term || parse_integer(&change->term, tree, "term", t->n_terms)) &&
                      parse_mask(&change->and_mask, tree, "and", t->bits) &&
                      parse_mask(&change->or_mask, tree, "or", t->bits) &&
                      parse_mask(&change->xor_mask, tree, "xor", t->bits) && isfinite(change->add);
    return read ? QN_OK
                : qn_fail(err, QN_EFORMAT, where,
                          "a change of %s of '%s' has no element, term or masks that can be read",
                          qn_fault_where_text(t->where), t->layer);
}
