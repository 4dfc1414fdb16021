/* The constants of a network as arrays of C: which there are, what they hold, how they are printed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "export/c/cmsis.h"

bool qn_c_is_soft(const qn_export_network *network)
{
    return network->arithmetic.requantize != QN_REQUANTIZE_FLOAT;
}

bool qn_c_is_depthwise(const qn_export_conv *conv)
{
    return conv->group_inputs == 1 && conv->group_outputs == 1;
}

static bool all_equal(const int32_t *x, int n)
{
    for (int i = 1; i < n; i++) {
        if (x[i] != x[0]) {
            return false;
        }
    }
    return true;
}

bool qn_c_is_plain(const qn_export_conv *conv)
{
    return conv->weight_bits == 8 && conv->weight_signed && conv->zero_w[0] == 0 &&
           all_equal(conv->zero_w, conv->outputs);
}

bool qn_c_is_matrix(const qn_export_network *network, const qn_export_layer *layer)
{
    const qn_export_conv *c = &layer->u.conv;
    const qn_export_tensor *x = &network->tensors[layer->input[0]], *y = &network->tensors[layer->output];
    const bool unpadded = c->pad[0] == 0 && c->pad[1] == 0 && c->groups == 1 && !c->saturate;
    const bool pixel = c->kernel[0] == 1 && c->kernel[1] == 1 && c->stride[0] == 1 && c->stride[1] == 1 &&
                       x->height == y->height && x->width == y->width;
    const bool map = c->kernel[0] == x->height && c->kernel[1] == x->width && c->dilation[0] == 1 &&
                     c->dilation[1] == 1 && y->height == 1 && y->width == 1;
    return unpadded && (pixel || map);
}

int64_t qn_c_weight_place(const qn_export_conv *conv, int64_t i)
{
    const int64_t taps = conv->n_weights / conv->outputs;
    return qn_c_is_depthwise(conv) ? i % taps * conv->outputs + i / taps : i;
}

/* A list that counts, then fills. */
typedef struct lister {
    const qn_export_network *network, *cmsis_nn;
    qn_c_array *arrays;
    int n;
} lister;

static void list(lister *l, qn_c_role role, int owner, const char *type, int n_bytes, int64_t count)
{
    static const char *const suffixes[] = {
        [QN_C_WEIGHTS] = "weights", [QN_C_ZERO_W] = "zero_w", [QN_C_BIAS] = "bias",   [QN_C_MULTIPLIER] = "multiplier",
        [QN_C_SHIFT] = "shift",     [QN_C_RATIO] = "ratio",   [QN_C_SOFT] = "ratio",  [QN_C_TABLE] = "table",
        [QN_C_INDEX] = "index",     [QN_C_CODES] = "codes",   [QN_C_SHARE] = "share", [QN_C_PART] = "part",
        [QN_C_GAIN] = "gain",       [QN_C_OFFSET] = "bias",   [QN_C_LEFT] = "left",   [QN_C_RIGHT] = "right",
    };
    if (l->arrays != NULL) {
        qn_c_array *a = &l->arrays[l->n];
        *a = (qn_c_array){.role = role, .owner = owner, .type = type, .n_bytes = n_bytes, .count = count};
        /* ids have no double underscore: no two names are alike */
        snprintf(a->name, sizeof a->name, "%s__%s",
                 role == QN_C_CODES ? l->network->tensors[owner].id : l->network->layers[owner].id, suffixes[role]);
    }
    l->n++;
}

static void list_conv(lister *l, int layer, const qn_export_conv *c)
{
    const qn_export_requantize *r = &c->requantize;
    const int n = c->outputs;
    const char *byte = c->weight_signed ? "int8_t" : "uint8_t";
    if (c->weight_bits == 8) {
        list(l, QN_C_WEIGHTS, layer, byte, 1, c->n_weights);
    } else {
        list(l, QN_C_WEIGHTS, layer, "uint8_t", 1, (c->n_weights * c->weight_bits + 7) / 8);
    }
    if (c->zero_w[0] != 0 || !all_equal(c->zero_w, n)) {
        list(l, QN_C_ZERO_W, layer, byte, 1, all_equal(c->zero_w, n) ? 1 : n);
    }
    if (c->bias[0] != 0 || !all_equal(c->bias, n)) {
        list(l, QN_C_BIAS, layer, "int32_t", 4, n);
    }
    if (c->decodes) {
        return;
    }
    if (r->kind == QN_REQUANTIZE_FLOAT) {
        bool same = true;
        for (int k = 1; k < r->n; k++) {
            same = same && r->ratio[k] == r->ratio[0];
        }
        list(l, QN_C_RATIO, layer, "float", 4, same ? 1 : r->n);
        return;
    }
    if (r->how.twice || r->multiplier[0] != 1 || !all_equal(r->multiplier, r->n)) {
        list(l, QN_C_MULTIPLIER, layer, "int32_t", 4, all_equal(r->multiplier, r->n) ? 1 : r->n);
    }
    list(l, QN_C_SHIFT, layer, "int8_t", 1, all_equal(r->shift, r->n) ? 1 : r->n);
}

/* Ratios of a sum or an average. */
static void list_floats(lister *l, int layer, int n)
{
    const bool soft = qn_c_is_soft(l->network);
    list(l, soft ? QN_C_SOFT : QN_C_RATIO, layer, soft ? "int32_t" : "float", 4, soft ? 2 * n : n);
}

/* As CMSIS-NN reads them: entries for each channel, and a bias always. */
static void list_cmsis(lister *l, int layer, const qn_export_conv *c)
{
    static const qn_c_role roles[] = {QN_C_BIAS, QN_C_MULTIPLIER, QN_C_SHIFT};
    if (c->weight_bits == 8) {
        list(l, QN_C_WEIGHTS, layer, "int8_t", 1, c->n_weights);
    } else {
        list(l, QN_C_WEIGHTS, layer, "uint8_t", 1, (c->n_weights * c->weight_bits + 7) / 8);
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        list(l, roles[i], layer, "int32_t", 4, c->outputs);
        if (l->arrays != NULL) {
            l->arrays[l->n - 1].cmsis = true;
        }
    }
}

static void list_product(lister *l, int layer, const qn_export_product *p)
{
    const qn_export_requantize *r = &p->requantize;
    list(l, QN_C_LEFT, layer, "int32_t", 4, p->n_batches);
    list(l, QN_C_RIGHT, layer, "int32_t", 4, p->n_batches);
    if (r->ratio != NULL) {
        list(l, QN_C_RATIO, layer, "float", 4, 1);
        return;
    }
    if (r->how.twice || r->multiplier[0] != 1) {
        list(l, QN_C_MULTIPLIER, layer, "int32_t", 4, 1);
    }
    list(l, QN_C_SHIFT, layer, "int8_t", 1, 1);
}

static void list_layer(lister *l, int i)
{
    const qn_export_layer *layer = &l->network->layers[i];
    const qn_export_tensor *x = &l->network->tensors[layer->input[0]], *y = &l->network->tensors[layer->output];
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        if (l->cmsis_nn != NULL && qn_c_cmsis_why(l->cmsis_nn, i) == NULL) {
            list_cmsis(l, i, &layer->u.conv);
        } else {
            list_conv(l, i, &layer->u.conv);
        }
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        if (layer->u.add.is_fixed) {
            list(l, QN_C_MULTIPLIER, i, "int32_t", 4, 3);
        } else {
            list_floats(l, i, layer->u.add.n_ratios);
        }
        break;
    case QN_EXPORT_AVERAGE:
        if (!layer->u.pool.is_fixed) {
            list_floats(l, i, layer->u.pool.whole ? 1 : 2);
        }
        break;
    case QN_EXPORT_LOOKUP:
        if (layer->u.lookup.table != NULL) {
            list(l, QN_C_TABLE, i, y->is_signed ? "int8_t" : "uint8_t", 1, layer->u.lookup.n_table);
        }
        break;
    case QN_EXPORT_PAD: /* the index of what is none of the input's is the input's size */
        list(l, QN_C_INDEX, i, x->count < 65536 ? "uint16_t" : "uint32_t", x->count < 65536 ? 2 : 4, y->count);
        break;
    case QN_EXPORT_GATHER:
        list(l, QN_C_INDEX, i, x->count <= 65536 ? "uint16_t" : "uint32_t", x->count <= 65536 ? 2 : 4, y->count);
        break;
    case QN_EXPORT_SOFTMAX:
        list(l, QN_C_SHARE, i, "uint32_t", 4, 256);
        list(l, QN_C_PART, i, "uint32_t", 4, 256);
        break;
    case QN_EXPORT_NORM:
        list(l, QN_C_GAIN, i, "int32_t", 4, layer->u.norm.n);
        list(l, QN_C_OFFSET, i, "int64_t", 8, layer->u.norm.n);
        break;
    case QN_EXPORT_PRODUCT:
        list_product(l, i, &layer->u.product);
        break;
    default:
        break;
    }
}

static void list_all(lister *l)
{
    l->n = 0;
    for (int i = 0; i < l->network->n_tensors; i++) {
        const qn_export_tensor *t = &l->network->tensors[i];
        if (t->used && t->constant != NULL && t->base < 0) {
            list(l, QN_C_CODES, i, t->is_signed ? "int8_t" : "uint8_t", 1, t->count);
        }
    }
    for (int i = 0; i < l->network->n_layers; i++) {
        list_layer(l, i);
    }
}

qn_status qn_c_arrays_list(qn_c_array **arrays, int *n, const qn_export_network *network,
                           const qn_export_network *cmsis_nn, qn_error *err)
{
    lister l = {.network = network, .cmsis_nn = cmsis_nn};
    list_all(&l);
    l.arrays = qn_alloc(((size_t)l.n + 1) * sizeof *l.arrays);
    *arrays = l.arrays;
    *n = l.n;
    if (l.arrays == NULL) {
        return qn_fail_memory(err, network->graph->file, (size_t)l.n * sizeof *l.arrays);
    }
    list_all(&l);
    return QN_OK;
}

const qn_c_array *qn_c_array_find(const qn_c_plan *plan, int owner, qn_c_role role)
{
    for (int i = 0; i < plan->n_arrays; i++) {
        if (plan->arrays[i].owner == owner && plan->arrays[i].role == role) {
            return &plan->arrays[i];
        }
    }
    return NULL;
}

/* Bit by bit: weight i at bits i * bits ..., the lowest bit of a byte first. */
static void pack(int64_t *bytes, int64_t n_bytes, const qn_export_conv *c)
{
    memset(bytes, 0, (size_t)n_bytes * sizeof *bytes);
    for (int64_t i = 0; i < c->n_weights; i++) {
        const int64_t at = qn_c_weight_place(c, i) * c->weight_bits;
        for (int bit = 0; bit < c->weight_bits; bit++) {
            bytes[(at + bit) / 8] |= (int64_t)(((unsigned)c->weights[i] >> bit & 1u) << ((at + bit) % 8));
        }
    }
}

static int64_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static int64_t cmsis_value(const qn_export_requantize *r, qn_c_role role, int64_t k)
{
    const int64_t i = r->n == 1 ? 0 : k;
    const qn_ratio ratio = qn_c_cmsis_ratio((qn_ratio){.multiplier = r->multiplier[i], .shift = r->shift[i]});
    return role == QN_C_SHIFT ? ratio.shift : ratio.multiplier;
}

static void conv_values(const qn_export_conv *c, const qn_c_array *a, int64_t *v)
{
    if (a->role == QN_C_WEIGHTS && c->weight_bits < 8) {
        pack(v, a->count, c);
        return;
    }
    for (int64_t i = 0; i < a->count; i++) {
        switch (a->role) {
        case QN_C_WEIGHTS:
            v[qn_c_weight_place(c, i)] = c->weights[i];
            break;
        case QN_C_ZERO_W:
            v[i] = c->zero_w[i];
            break;
        case QN_C_BIAS:
            v[i] = c->bias[i];
            break;
        case QN_C_RATIO:
            v[i] = float_bits(c->requantize.ratio[i]);
            break;
        default:
            v[i] = a->cmsis                ? cmsis_value(&c->requantize, a->role, i)
                   : a->role == QN_C_SHIFT ? c->requantize.shift[i]
                                           : c->requantize.multiplier[i];
        }
    }
}

/* The ratios of a sum or an average. */
static void float_values(const qn_export_layer *layer, qn_c_role role, int64_t *v)
{
    const qn_export_pool *pool = &layer->u.pool;
    const bool pair = qn_export_is_pair(layer->kind);
    const float of_pool[2] = {pool->whole ? pool->multiplier : pool->scale_x, pool->scale_y};
    const float *x = pair ? layer->u.add.ratio : of_pool;
    const int n = pair ? layer->u.add.n_ratios : pool->whole ? 1 : 2;
    for (int i = 0; i < n; i++) {
        if (role == QN_C_RATIO) {
            v[i] = float_bits(x[i]);
        } else {
            int e;
            v[2 * i] = (int64_t)ldexpf(frexpf(x[i], &e), 24);
            v[2 * i + 1] = e - 24;
        }
    }
}

/* Element i of an array of a layer over whole rows. */
static int64_t rows_value(const qn_export_layer *layer, qn_c_role role, int64_t i)
{
    const qn_export_product *p = &layer->u.product;
    switch (role) {
    case QN_C_SHARE:
        return layer->u.softmax.share[i];
    case QN_C_PART:
        return layer->u.softmax.part[i];
    case QN_C_GAIN:
        return layer->u.norm.gain[i];
    case QN_C_OFFSET:
        return layer->u.norm.bias[i];
    case QN_C_LEFT:
        return p->left[i];
    case QN_C_RIGHT:
        return p->right[i];
    case QN_C_RATIO:
        return float_bits(p->requantize.ratio[i]);
    case QN_C_SHIFT:
        return p->requantize.shift[i];
    default:
        return p->requantize.multiplier[i];
    }
}

void qn_c_array_values(const qn_export_network *network, const qn_c_array *a, int64_t *v)
{
    if (a->role == QN_C_CODES) {
        for (int64_t i = 0; i < a->count; i++) {
            v[i] = network->tensors[a->owner].constant[i];
        }
        return;
    }
    const qn_export_layer *layer = &network->layers[a->owner];
    if (layer->kind == QN_EXPORT_CONV) {
        conv_values(&layer->u.conv, a, v);
        return;
    }
    for (int64_t i = 0; qn_export_is_of_rows(layer->kind) && i < a->count; i++) {
        v[i] = rows_value(layer, a->role, i);
    }
    if (qn_export_is_of_rows(layer->kind)) {
        return;
    }
    if (a->role == QN_C_RATIO || a->role == QN_C_SOFT) {
        float_values(layer, a->role, v);
        return;
    }
    for (int64_t i = 0; i < a->count; i++) {
        v[i] = a->role == QN_C_TABLE ? layer->u.lookup.table[i]
               : a->role == QN_C_INDEX
                   ? (layer->u.index[i] >= 0 ? layer->u.index[i] : network->tensors[layer->input[0]].count)
                   : layer->u.add.fixed[i].multiplier;
    }
}

static void print_value(qn_export_text *text, const qn_c_array *a, int64_t value)
{
    if (a->role == QN_C_RATIO) {
        char number[QN_EXPORT_FLOAT_MAX];
        float x;
        const uint32_t bits = (uint32_t)value;
        memcpy(&x, &bits, sizeof x);
        qn_export_printf(text, "%sf", qn_export_hex_float(number, x));
    } else if (value == INT32_MIN) {
        qn_export_printf(text, "INT32_MIN"); /* the literal would be an expression of a wider type */
    } else {
        qn_export_integer(text, value);
    }
}

qn_status qn_c_array_print(qn_export_text *text, const qn_export_network *network, const qn_c_array *a, qn_error *err)
{
    enum { WIDTH = 110 };
    int64_t *values = qn_alloc((size_t)a->count * sizeof *values);
    if (values == NULL) {
        return qn_fail_memory(err, network->graph->file, (size_t)a->count * sizeof *values);
    }
    qn_c_array_values(network, a, values);
    qn_export_printf(text, "/* tensor: %s */\nstatic const %s %s[%lld] = {", a->name, a->type, a->name,
                     (long long)a->count);
    size_t line = text->n + WIDTH;
    for (int64_t i = 0; i < a->count; i++) {
        if (i == 0 || text->n > line) {
            qn_export_printf(text, "\n    ");
            line = text->n + WIDTH - 8;
        } else {
            qn_export_append(text, " ", 1);
        }
        print_value(text, a, values[i]);
        qn_export_append(text, i + 1 < a->count ? "," : "\n", 1);
    }
    qn_export_printf(text, "};\n");
    qn_free(values);
    return QN_OK;
}
