/* What a fault in memory is in the files of an export: every number that is another in the faulty network, found by
 * comparing the lists that files are printed from. So whatever follows from a change is there too, as the ratios that
 * follow from a scale. */
#include "export/faulty.h"

#include <inttypes.h>
#include <string.h>

#include "export/manifest.h"

/* Numbers of a layer or a tensor, in both networks. One pointer is not NULL, of either. */
typedef struct numbers {
    const char *key, *id, *what;
    int64_t n[2];
    const int16_t *s16[2];
    const int32_t *s32[2];
    const float *f32[2];
    const qn_export_conv *weights_of; /* NULL: they have no places of their own */
} numbers;

typedef struct walk {
    json_t *list;
    bool other; /* the lists are not of one shape */
} walk;

static uint32_t bits_at(const numbers *x, int side, int64_t i)
{
    uint32_t bits;
    if (x->f32[side] != NULL) {
        memcpy(&bits, &x->f32[side][i], sizeof bits);
        return bits;
    }
    return (uint32_t)(x->s32[side] != NULL ? x->s32[side][i] : x->s16[side][i]);
}

static json_t *number_at(const numbers *x, int side, int64_t i)
{
    char text[QN_EXPORT_FLOAT_MAX];
    if (x->f32[side] != NULL) {
        return json_string(qn_export_hex_float(text, x->f32[side][i]));
    }
    return json_integer(x->s32[side] != NULL ? x->s32[side][i] : x->s16[side][i]);
}

static void tell(walk *w, const numbers *x, int64_t i)
{
    const int width = x->s16[0] != NULL ? (x->weights_of != NULL ? x->weights_of->weight_bits : 8) : 32;
    json_t *o = json_object();
    qn_export_json_set(o, x->key, json_string(x->id));
    qn_export_json_set(o, "what", json_string(x->what));
    qn_export_json_set(o, "index", json_integer(i));
    const qn_export_conv *c = x->weights_of;
    if (c != NULL) {
        const int64_t ch = i % c->group_inputs, tap = i / c->group_inputs;
        qn_export_json_set(o, "krsc",
                           json_pack("[I, I, I, I]", (json_int_t)(tap / c->kernel[1] / c->kernel[0]),
                                     (json_int_t)(tap / c->kernel[1] % c->kernel[0]), (json_int_t)(tap % c->kernel[1]),
                                     (json_int_t)ch));
    }
    qn_export_json_set(o, "before", number_at(x, 0, i));
    qn_export_json_set(o, "after", number_at(x, 1, i));
    qn_export_json_set(o, "xor", qn_export_faulty_mask(bits_at(x, 0, i) ^ bits_at(x, 1, i), width));
    qn_export_json_append(w->list, o);
}

static void compare(walk *w, const numbers *x)
{
    for (int side = 0; side < 2; side++) {
        const bool none = x->s16[side] == NULL && x->s32[side] == NULL && x->f32[side] == NULL;
        const bool alike = (x->s16[0] == NULL) == (x->s16[1] == NULL) && (x->s32[0] == NULL) == (x->s32[1] == NULL) &&
                           (x->f32[0] == NULL) == (x->f32[1] == NULL) && x->n[0] == x->n[1];
        w->other = w->other || !alike;
        if (none || !alike) {
            return;
        }
    }
    for (int64_t i = 0; i < x->n[0]; i++) {
        if (bits_at(x, 0, i) != bits_at(x, 1, i)) {
            tell(w, x, i);
        }
    }
}

static void compare_s32(walk *w, numbers x, const char *what, const int32_t *a, const int32_t *b)
{
    x.what = what;
    x.s32[0] = a, x.s32[1] = b;
    compare(w, &x);
}

static void compare_f32(walk *w, numbers x, const char *what, const float *a, const float *b)
{
    x.what = what;
    x.f32[0] = a, x.f32[1] = b;
    compare(w, &x);
}

static void compare_conv(walk *w, numbers x, const qn_export_conv *a, const qn_export_conv *b)
{
    numbers weights = x;
    weights.what = "weights";
    weights.n[0] = a->n_weights, weights.n[1] = b->n_weights;
    weights.s16[0] = a->weights, weights.s16[1] = b->weights;
    weights.weights_of = a;
    compare(w, &weights);
    x.n[0] = a->outputs, x.n[1] = b->outputs;
    compare_s32(w, x, "zero_w", a->zero_w, b->zero_w);
    compare_s32(w, x, "bias", a->bias, b->bias);
    compare_f32(w, x, "ratio", a->requantize.ratio, b->requantize.ratio);
    compare_s32(w, x, "multiplier", a->requantize.multiplier, b->requantize.multiplier);
    compare_s32(w, x, "shift", a->requantize.shift, b->requantize.shift);
    compare_f32(w, x, "out_scale", a->out_scale, b->out_scale);
    compare_f32(w, x, "out_bias", a->out_bias, b->out_bias);
}

static void compare_ratio(walk *w, numbers x, const char *what, const qn_ratio *a, const qn_ratio *b)
{
    char text[48];
    snprintf(text, sizeof text, "%s.multiplier", what);
    compare_s32(w, x, text, &a->multiplier, &b->multiplier);
    snprintf(text, sizeof text, "%s.shift", what);
    compare_s32(w, x, text, &a->shift, &b->shift);
}

static void compare_pool(walk *w, numbers x, const qn_export_pool *a, const qn_export_pool *b)
{
    compare_f32(w, x, "multiplier", &a->multiplier, &b->multiplier);
    compare_f32(w, x, "scale_x", &a->scale_x, &b->scale_x);
    compare_f32(w, x, "scale_y", &a->scale_y, &b->scale_y);
    compare_s32(w, x, "centre", &a->centre, &b->centre);
    compare_s32(w, x, "offset", &a->offset, &b->offset);
    compare_ratio(w, x, "ratio", &a->ratio, &b->ratio);
}

/* Do layers over whole rows have the same numbers? Single places are not told apart. */
static bool same_rows(const qn_export_layer *a, const qn_export_layer *b)
{
    const qn_export_norm *na = &a->u.norm, *nb = &b->u.norm;
    const qn_export_requantize *ra = &a->u.product.requantize, *rb = &b->u.product.requantize;
    if (a->kind == QN_EXPORT_SOFTMAX) {
        const size_t n_bytes = 256 * sizeof(uint32_t);
        return a->u.softmax.left == b->u.softmax.left && a->u.softmax.right == b->u.softmax.right &&
               memcmp(a->u.softmax.share, b->u.softmax.share, n_bytes) == 0 &&
               memcmp(a->u.softmax.part, b->u.softmax.part, n_bytes) == 0;
    }
    if (a->kind == QN_EXPORT_NORM) {
        return na->n == nb->n && na->half == nb->half && na->right == nb->right && na->add == nb->add &&
               memcmp(na->gain, nb->gain, (size_t)na->n * sizeof *na->gain) == 0 &&
               memcmp(na->bias, nb->bias, (size_t)na->n * sizeof *na->bias) == 0;
    }
    if (ra->ratio != NULL || rb->ratio != NULL) {
        return ra->ratio != NULL && rb->ratio != NULL && memcmp(ra->ratio, rb->ratio, sizeof *ra->ratio) == 0;
    }
    return ra->multiplier[0] == rb->multiplier[0] && ra->shift[0] == rb->shift[0];
}

static void compare_layer(walk *w, const qn_export_layer *a, const qn_export_layer *b)
{
    numbers x = {.key = "layer", .id = a->id, .n = {1, 1}};
    if (a->kind != b->kind || strcmp(a->id, b->id) != 0 || a->output != b->output) {
        w->other = true;
        return;
    }
    switch (a->kind) {
    case QN_EXPORT_CONV:
        compare_conv(w, x, &a->u.conv, &b->u.conv);
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        w->other = w->other || a->u.add.is_fixed != b->u.add.is_fixed;
        compare_f32(w, x, "ratio.0", &a->u.add.ratio[0], &b->u.add.ratio[0]);
        compare_f32(w, x, "ratio.1", &a->u.add.ratio[1], &b->u.add.ratio[1]);
        compare_f32(w, x, "ratio.2", &a->u.add.ratio[2], &b->u.add.ratio[2]);
        compare_ratio(w, x, "fixed.0", &a->u.add.fixed[0], &b->u.add.fixed[0]);
        compare_ratio(w, x, "fixed.1", &a->u.add.fixed[1], &b->u.add.fixed[1]);
        compare_ratio(w, x, "fixed.2", &a->u.add.fixed[2], &b->u.add.fixed[2]);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        w->other = w->other || a->u.pool.whole != b->u.pool.whole || a->u.pool.rescales != b->u.pool.rescales;
        compare_pool(w, x, &a->u.pool, &b->u.pool);
        break;
    case QN_EXPORT_LOOKUP:
        x.what = "table";
        x.n[0] = a->u.lookup.n_table, x.n[1] = b->u.lookup.n_table;
        x.s16[0] = a->u.lookup.table, x.s16[1] = b->u.lookup.table;
        compare(w, &x);
        break;
    case QN_EXPORT_SOFTMAX:
    case QN_EXPORT_NORM:
    case QN_EXPORT_PRODUCT:
        w->other = w->other || !same_rows(a, b);
        break;
    default:
        break;
    }
}

static void compare_tensor(walk *w, const qn_export_tensor *a, const qn_export_tensor *b)
{
    numbers x = {.key = "tensor", .id = a->id, .n = {1, 1}};
    if (strcmp(a->id, b->id) != 0 || a->count != b->count || a->real != b->real) {
        w->other = true;
        return;
    }
    compare_f32(w, x, "scale", &a->scale, &b->scale);
    compare_s32(w, x, "zero_point", &a->zero_point, &b->zero_point);
    compare_s32(w, x, "lo", &a->lo, &b->lo);
    compare_s32(w, x, "hi", &a->hi, &b->hi);
    x.what = "constant";
    x.n[0] = a->count, x.n[1] = b->count;
    x.s16[0] = a->constant, x.s16[1] = b->constant;
    compare(w, &x);
}

static void compare_networks(walk *w, const qn_export_network *a, const qn_export_network *b)
{
    w->other = a->n_layers != b->n_layers || a->n_tensors != b->n_tensors;
    for (int i = 0; !w->other && i < a->n_layers; i++) {
        compare_layer(w, &a->layers[i], &b->layers[i]);
    }
    for (int i = 0; !w->other && i < a->n_tensors; i++) {
        if (a->tensors[i].used) {
            compare_tensor(w, &a->tensors[i], &b->tensors[i]);
        }
    }
}

qn_status qn_export_faulty_places(json_t **places, const qn_export_job *job, const qn_export_network *faulty,
                                  qn_error *err)
{
    walk w = {.list = json_array()};
    json_t *o = json_object();
    *places = o;
    if (w.list == NULL || o == NULL) {
        json_decref(w.list);
        return qn_fail_memory(err, job->network->graph->file, 0);
    }
    compare_networks(&w, job->network, faulty);
    qn_export_json_set(o, "same_layers", json_boolean(!w.other));
    qn_export_json_set(o, "network", w.list);
    return qn_export_faulty_files(o, job, faulty, !w.other, err);
}
