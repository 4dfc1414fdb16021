/* weights/: the constants, as raw integers, in decimals where they are fixed-point numbers, and as text. */
#include <stdio.h>
#include <string.h>

#include "export/hls/hls.h"

static const int no_raise[1];

static qn_hls_array array_of(char letter, int layer, const char *what)
{
    return (qn_hls_array){.letter = letter, .number = layer + 1, .layer = layer, .tensor = -1, .what = what, .per = 1};
}

static void set_s32(qn_hls_array *a, const int32_t *x, int64_t n)
{
    int32_t lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    a->s32 = x, a->n = n;
    snprintf(a->type, sizeof a->type, "%s", qn_hls_builtin(lo, hi));
}

static void set_real(qn_hls_array *a, const float *x, int64_t n)
{
    a->real = x, a->n = n;
    snprintf(a->type, sizeof a->type, "float");
}

static qn_status conv_arrays(const qn_hls *hls, int layer, qn_hls_each_fn *each, void *ctx, qn_error *err)
{
    const qn_export_conv *conv = &hls->network->layers[layer].u.conv;
    const qn_hls_fixed *fixed = &hls->fixed[layer];
    const qn_export_requantize *r = &conv->requantize;
    const int n = conv->outputs;
    qn_hls_array list[8];
    int count = 0;
    qn_hls_array *a = &list[count++];
    *a = array_of('w', layer, "weights: [output][kernel row][kernel column][input channel of the group]");
    a->s16 = conv->weights, a->n = conv->n_weights;
    snprintf(a->type, sizeof a->type, "weight%d_rom_t", layer + 1);
    if (fixed->reason == NULL) {
        a->raise = fixed->raise, a->per = conv->n_weights / n, a->fraction = fixed->fraction_w;
    }
    a = &list[count++];
    *a = array_of('b', layer, "biases, at the scale of the sums");
    a->s32 = conv->bias, a->n = n;
    snprintf(a->type, sizeof a->type, "bias%d_t", layer + 1);
    if (fixed->reason == NULL) {
        a->raise = fixed->raise, a->fraction = fixed->fraction_sum;
    }
    if (!qn_export_all_equal_ints(conv->zero_w, n)) {
        list[count] = array_of('z', layer, "zero points of weights");
        set_s32(&list[count++], conv->zero_w, n);
    }
    if (conv->decodes) {
        list[count] = array_of('d', layer, "scales of sums");
        set_real(&list[count++], conv->out_scale, n);
        if (conv->out_bias != NULL) {
            list[count] = array_of('e', layer, "biases in float");
            set_real(&list[count++], conv->out_bias, n);
        }
    } else if (r->kind == QN_REQUANTIZE_FLOAT && !qn_export_all_equal_floats(r->ratio, r->n)) {
        list[count] = array_of('r', layer, "ratios of scales: x * w / y");
        set_real(&list[count++], r->ratio, r->n);
    } else if (r->kind != QN_REQUANTIZE_FLOAT) {
        if (!qn_export_all_equal_ints(r->multiplier, r->n)) {
            list[count] = array_of('m', layer, "multipliers of sums");
            set_s32(&list[count++], r->multiplier, r->n);
        }
        if (!qn_export_all_equal_ints(r->shift, r->n)) {
            list[count] = array_of('s', layer, "shifts of sums to the right");
            set_s32(&list[count++], r->shift, r->n);
        }
    }
    for (int i = 0; i < count; i++) {
        QN_TRY(each(ctx, hls, &list[i], err));
    }
    return QN_OK;
}

static qn_status constant_array(const qn_hls *hls, int tensor, qn_hls_each_fn *each, void *ctx, qn_error *err)
{
    const qn_export_tensor *t = &hls->network->tensors[tensor];
    qn_hls_array a = {.letter = 'c', .number = tensor + 1, .layer = -1, .tensor = tensor, .per = t->count};
    a.what = "a constant tensor: [row][column][channel]";
    a.s16 = t->constant, a.n = t->count;
    qn_hls_type(a.type, hls->network, tensor);
    if (qn_hls_tensor_fraction(t, &a.fraction)) {
        a.raise = no_raise;
    }
    return each(ctx, hls, &a, err);
}

qn_status qn_hls_each_array(const qn_hls *hls, qn_hls_each_fn *each, void *ctx, qn_error *err)
{
    const qn_export_network *n = hls->network;
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (layer->kind == QN_EXPORT_CONV) {
            QN_TRY(conv_arrays(hls, i, each, ctx, err));
        } else if (layer->kind == QN_EXPORT_LOOKUP && layer->u.lookup.table != NULL) {
            qn_hls_array a = array_of('t', i, "table: output codes, from the lowest input code on");
            const qn_export_tensor *y = &n->tensors[layer->output];
            a.s16 = layer->u.lookup.table, a.n = layer->u.lookup.n_table;
            snprintf(a.type, sizeof a.type, "%s", y->is_signed ? "short" : "unsigned char");
            QN_TRY(each(ctx, hls, &a, err));
        } else if (layer->kind == QN_EXPORT_GATHER) {
            qn_hls_array a = array_of('i', i, "input elements, in the order of the output");
            set_s32(&a, layer->u.index, n->tensors[layer->output].count);
            QN_TRY(each(ctx, hls, &a, err));
        }
    }
    for (int i = 0; i < n->n_tensors; i++) {
        if (n->tensors[i].used && n->tensors[i].base < 0 && n->tensors[i].constant != NULL) {
            QN_TRY(constant_array(hls, i, each, ctx, err));
        }
    }
    return QN_OK;
}

static int64_t code_at(const qn_hls_array *a, int64_t i)
{
    return a->s16 != NULL ? a->s16[i] : a->s32[i];
}

static void print_element(qn_export_text *text, const qn_hls_array *a, int64_t i, bool decimals)
{
    char real[QN_EXPORT_FLOAT_MAX];
    if (a->real != NULL) {
        qn_export_printf(text, "%s", qn_hls_float(real, a->real[i]));
    } else if (decimals) {
        qn_hls_decimal(text, code_at(a, i) * (INT64_C(1) << a->raise[i / a->per]), a->fraction);
    } else {
        qn_export_printf(text, "%lld", (long long)code_at(a, i));
    }
}

static void print_initializer(qn_export_text *text, const qn_hls_array *a, bool decimals)
{
    const int per_line = decimals || a->real != NULL ? 6 : 16;
    qn_export_printf(text, "static const %s %c%d[%lld] = {", a->type, a->letter, a->number, (long long)a->n);
    for (int64_t i = 0; i < a->n; i++) {
        qn_export_printf(text, "%s", i % per_line == 0 ? "\n    " : " ");
        print_element(text, a, i, decimals);
        qn_export_printf(text, "%s", i + 1 < a->n ? "," : "\n");
    }
    qn_export_printf(text, "};\n");
}

static void print_range(qn_export_text *text, const qn_hls_array *a)
{
    if (a->real != NULL || a->n == 0) {
        qn_export_printf(text, "// %lld numbers\n", (long long)a->n);
        return;
    }
    int64_t lo = code_at(a, 0), hi = lo, zeros = 0;
    for (int64_t i = 0; i < a->n; i++) {
        const int64_t code = code_at(a, i);
        lo = code < lo ? code : lo;
        hi = code > hi ? code : hi;
        zeros += code == 0;
    }
    qn_export_printf(text, "// %lld integers, least %lld, greatest %lld, number of zeros %lld\n", (long long)a->n,
                     (long long)lo, (long long)hi, (long long)zeros);
}

/* Tell the manifest which constant of the model the file holds. */
static qn_status tell_file(const qn_hls *hls, const qn_hls_array *a, const char *path, qn_error *err)
{
    const qn_export_network *n = hls->network;
    const qn_value_id value = a->letter == 'w'   ? n->layers[a->layer].u.conv.weight_value
                              : a->letter == 'b' ? n->layers[a->layer].u.conv.bias_value
                              : a->letter == 'c' ? n->tensors[a->tensor].value
                                                 : QN_NO_VALUE;
    const int row = value != QN_NO_VALUE ? hls->constants.of_value[value] : -1;
    return row >= 0 ? qn_export_holds(hls->job, hls->constants.rows[row].id, path, err) : QN_OK;
}

static qn_status write_array(void *ctx, const qn_hls *hls, const qn_hls_array *a, qn_error *err)
{
    (void)ctx;
    const qn_export_network *n = hls->network;
    qn_export_text text = {0}, values = {0};
    char path[64], name[QN_HLS_NAME_MAX];
    const char *owner = a->layer >= 0 ? n->layers[a->layer].name : n->tensors[a->tensor].name;
    qn_export_printf(&text, "// '%s', %s\n", qn_hls_name(name, owner), a->what);
    print_range(&text, a);
    qn_export_printf(&text, "#ifndef %c%d_H_\n#define %c%d_H_\n", a->letter - 'a' + 'A', a->number,
                     a->letter - 'a' + 'A', a->number);
    if (a->raise != NULL) {
        qn_export_printf(&text, "#ifdef QUERN_AP_FIXED // numbers, all digits\n");
        print_initializer(&text, a, true);
        qn_export_printf(&text, "#else // codes\n");
    }
    print_initializer(&text, a, false);
    qn_export_printf(&text, "%s#endif\n", a->raise != NULL ? "#endif\n" : "");
    for (int64_t i = 0; i < a->n; i++) {
        print_element(&values, a, i, false);
        qn_export_printf(&values, "%s", i + 1 < a->n ? ", " : "\n");
    }
    snprintf(path, sizeof path, "hls/weights/%c%d.h", a->letter, a->number);
    const qn_status status = qn_export_text_file(hls->job, path, a->what, &text, err);
    if (status != QN_OK) {
        qn_export_text_free(&values);
        return status;
    }
    const qn_status told = tell_file(hls, a, path, err);
    if (told != QN_OK) {
        qn_export_text_free(&values);
        return told;
    }
    snprintf(path, sizeof path, "hls/weights/%c%d.txt", a->letter, a->number);
    return qn_export_text_file(hls->job, path, a->what, &values, err);
}

qn_status qn_hls_write_weights(qn_hls *hls, qn_error *err)
{
    return qn_hls_each_array(hls, write_array, NULL, err);
}
