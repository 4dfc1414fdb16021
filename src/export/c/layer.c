/* A layer as a structure of the runtime, and its call. One function prints the call of a kind; another library's call
 * takes its place there. */
#include "export/c/cmsis.h"

static int flip(const qn_export_tensor *t)
{
    return t->is_signed ? 0x80 : 0;
}

static int step_of(const qn_c_plan *plan, int layer, qn_c_role role)
{
    const qn_c_array *a = qn_c_array_find(plan, layer, role);
    return a != NULL && a->count > 1;
}

static const char *rounding_name(qn_rounding rounding)
{
    static const char *const names[] = {
        [QN_ROUND_NEAREST_EVEN] = "QUERN_NEAREST_EVEN",
        [QN_ROUND_NEAREST_AWAY] = "QUERN_NEAREST_AWAY",
        [QN_ROUND_NEAREST_UP] = "QUERN_NEAREST_UP",
        [QN_ROUND_FLOOR] = "QUERN_FLOOR",
    };
    return names[rounding];
}

static void print_codes(qn_export_text *text, const qn_c_plan *plan, int layer, const qn_export_requantize *r,
                        const qn_export_tensor *y)
{
    const bool is_float = r->kind == QN_REQUANTIZE_FLOAT;
    qn_export_printf(text, "        .codes = {.zero = %d, .lo = %d, .hi = %d", (int)y->zero_point, (int)y->lo,
                     (int)y->hi);
    if (step_of(plan, layer, is_float ? QN_C_RATIO : QN_C_MULTIPLIER)) {
        qn_export_printf(text, ", .multiplier_step = 1");
    }
    if (step_of(plan, layer, QN_C_SHIFT)) {
        qn_export_printf(text, ", .shift_step = 1");
    }
    if (!is_float && !r->how.twice) {
        qn_export_printf(text, ", .rounding = %s", rounding_name(r->how.rounding));
    }
    qn_export_printf(text, ", .y_bytes = 1},\n");
}

static void print_geometry(qn_export_text *text, const int kernel[2], const int stride[2], const int dilation[2],
                           const int pad[2], const qn_export_tensor *x, const qn_export_tensor *y)
{
    qn_export_printf(text,
                     "        .height = %d, .width = %d, .out_height = %d, .out_width = %d, .channels = %d,\n"
                     "        .kernel = {%d, %d}, .stride = {%d, %d}, .dilation = {%d, %d}, .pad = {%d, %d},\n",
                     x->height, x->width, y->height, y->width, x->channels, kernel[0], kernel[1], stride[0], stride[1],
                     dilation[0], dilation[1], pad[0], pad[1]);
}

static void print_conv(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_conv *c = &layer->u.conv;
    const qn_export_tensor *x = &plan->network->tensors[layer->input[0]];
    const qn_export_tensor *y = &plan->network->tensors[layer->output];
    const bool matrix = qn_c_is_matrix(plan->network, layer);
    qn_export_printf(text, "    .%s = {\n", layer->id);
    if (step_of(plan, i, QN_C_ZERO_W)) {
        qn_export_printf(text, "        .zero_w_step = 1,\n");
    }
    if (c->decodes) {
        qn_export_printf(text, "        .codes = {.y_bytes = 4},\n");
    } else {
        print_codes(text, plan, i, &c->requantize, y);
    }
    qn_export_printf(
        text, "        .zero_x = %d, .flip_x = %d, .weight_bits = %d, .weight_signed = %d, .accumulator_bits = %d,\n",
        (int)x->zero_point, flip(x), c->weight_bits, c->weight_signed, c->accumulator_bits);
    if (matrix) {
        const int rows = y->height * y->width;
        qn_export_printf(text, "        .rows = %d, .inputs = %lld, .outputs = %d,\n    },\n", rows,
                         (long long)(c->n_weights / c->outputs), c->outputs);
        return;
    }
    print_geometry(text, c->kernel, c->stride, c->dilation, c->pad, x, y);
    qn_export_printf(text, "        .outputs = %d, .group_inputs = %d, .group_outputs = %d,%s\n    },\n", c->outputs,
                     c->group_inputs, c->group_outputs, c->by_matrix ? " .by_matrix = 1," : "");
}

static void print_add(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_add *a = &layer->u.add;
    const qn_export_tensor *y = &plan->network->tensors[layer->output];
    const qn_export_tensor *x[2] = {&plan->network->tensors[layer->input[0]], &plan->network->tensors[layer->input[1]]};
    const bool flat = x[0]->count == y->count && x[1]->count == y->count; /* as one long pixel */
    int64_t row[2] = {0}, pixel[2] = {0};
    for (int j = 0; j < 2 && !flat; j++) {
        row[j] = a->broadcast[j][0] ? 0 : (int64_t)x[j]->width * x[j]->channels;
        pixel[j] = a->broadcast[j][1] ? 0 : x[j]->channels;
    }
    qn_export_printf(text, "    .%s = {\n", layer->id);
    qn_export_printf(text, "        .row = {%lld, %lld}, .pixel = {%lld, %lld},\n", (long long)row[0],
                     (long long)row[1], (long long)pixel[0], (long long)pixel[1]);
    qn_export_printf(text, "        .zero_x = {%d, %d}, .flip_x = {%d, %d}, .zero = %d, .lo = %d, .hi = %d,\n",
                     (int)x[0]->zero_point, (int)x[1]->zero_point, flip(x[0]), flip(x[1]), (int)y->zero_point,
                     (int)y->lo, (int)y->hi);
    qn_export_printf(text, "        .height = %d, .width = %d, .channels = %lld,\n", flat ? 1 : y->height,
                     flat ? 1 : y->width, flat ? (long long)y->count : (long long)y->channels);
    if (a->is_fixed) {
        qn_export_printf(text, "        .shift = {%d, %d, %d}, .left = %d, .rounding = %s, .twice = %d,\n",
                         (int)a->fixed[0].shift, (int)a->fixed[1].shift, (int)a->fixed[2].shift, a->left,
                         rounding_name(a->how.rounding), a->how.twice);
    }
    qn_export_printf(text, "    },\n");
}

static void print_pool(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_pool *p = &layer->u.pool;
    const qn_export_tensor *x = &plan->network->tensors[layer->input[0]];
    const qn_export_tensor *y = &plan->network->tensors[layer->output];
    const bool average = layer->kind == QN_EXPORT_AVERAGE;
    qn_export_printf(text, "    .%s = {\n", layer->id);
    print_geometry(text, p->kernel, p->stride, p->dilation, p->pad, x, y);
    qn_export_printf(text, "        .flip_x = %d, .zero_x = %d, .zero = %d, .lo = %d, .hi = %d,\n", flip(x),
                     average && p->is_fixed ? (int)p->centre : (int)x->zero_point,
                     average && p->is_fixed ? (int)p->offset : (int)y->zero_point, (int)y->lo, (int)y->hi);
    if (average) {
        qn_export_printf(text, "        .divisor = %d,\n", p->divisor);
    }
    if (average && p->is_fixed && p->rescales) {
        qn_export_printf(text, "        .rescales = 1, .multiplier = %d, .shift = %d, .rounding = %s, .twice = %d,\n",
                         (int)p->ratio.multiplier, (int)p->ratio.shift, rounding_name(p->how.rounding), p->how.twice);
    }
    qn_export_printf(text, "    },\n");
}

/* The runs of a copied map: how many, how long, how far apart in the output. Where neither whole rows nor single
 * pixels lie evenly, each row of the input is a call of its own. */
typedef struct runs {
    int64_t calls, rows, n, x_step, y_step, first, next;
} runs;

static runs runs_of(const qn_export_lookup *l, const qn_export_tensor *x, const qn_export_tensor *y)
{
    const int64_t y_row = (int64_t)y->width * y->channels, x_row = (int64_t)x->width * x->channels;
    runs r = {.calls = 1, .first = (int64_t)l->y * y_row + (int64_t)l->x * y->channels + l->k};
    if (x_row == y_row && x->channels == y->channels) {
        r.rows = 1, r.n = x->count;
    } else if (x->channels == y->channels) {
        r.rows = x->height, r.n = x_row, r.y_step = y_row;
    } else {
        const bool even = x->width == y->width;
        r.rows = even ? (int64_t)x->height * x->width : x->width;
        r.n = x->channels;
        r.y_step = y->channels;
        r.calls = even ? 1 : x->height;
        r.next = y_row;
    }
    r.x_step = r.n;
    return r;
}

static void print_lookup(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_tensor *x = &plan->network->tensors[layer->input[0]];
    const runs r = runs_of(&layer->u.lookup, x, &plan->network->tensors[layer->output]);
    qn_export_printf(text, "    .%s = {\n", layer->id);
    qn_export_printf(
        text, "        .rows = %lld, .n = %lld, .x_step = %lld, .y_step = %lld, .lowest = %d, .flip_x = %d,\n    },\n",
        (long long)r.rows, (long long)r.n, (long long)r.x_step, (long long)r.y_step, (int)qn_export_lowest(x), flip(x));
}

static void print_rows(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_tensor *x = &plan->network->tensors[layer->input[0]];
    const qn_export_tensor *y = &plan->network->tensors[layer->output];
    qn_export_printf(text, "    .%s = {\n", layer->id);
    if (layer->kind == QN_EXPORT_PRODUCT) {
        const qn_export_product *p = &layer->u.product;
        const qn_export_tensor *b = &plan->network->tensors[layer->input[1]];
        print_codes(text, plan, i, &p->requantize, y);
        qn_export_printf(
            text,
            "        .flip_a = %d, .flip_b = %d, .accumulator_bits = %d, .saturates = %d, .zero_a = %d, .zero_b "
            "= %d,\n        .batches = %d, .m = %d, .n = %d, .k = %d,\n    },\n",
            flip(x), flip(b), p->accumulator_bits, p->saturate, (int)x->zero_point, (int)b->zero_point, p->n_batches,
            p->m, p->n, p->k);
        return;
    }
    qn_export_printf(text, "        .zero = %d, .lo = %d, .hi = %d, .flip_x = %d,\n", (int)y->zero_point, (int)y->lo,
                     (int)y->hi, flip(x));
    if (layer->kind == QN_EXPORT_SOFTMAX) {
        const qn_export_softmax *p = &layer->u.softmax;
        qn_export_printf(text, "        .rows = %lld, .n = %d, .inner = %d, .left = %d, .right = %d,\n    },\n",
                         (long long)(y->count / p->n / p->inner), p->n, p->inner, p->left, p->right);
    } else {
        const qn_export_norm *p = &layer->u.norm;
        qn_export_printf(text, "        .rows = %lld, .n = %d, .add = %lld, .half = %d, .right = %d,\n    },\n",
                         (long long)(y->count / p->n), p->n, (long long)p->add, p->half, p->right);
    }
}

const char *qn_c_layer_type(const qn_c_plan *plan, int i)
{
    if (qn_c_cmsis_takes(plan, i)) {
        return NULL;
    }
    switch (plan->network->layers[i].kind) {
    case QN_EXPORT_CONV:
        return qn_c_is_matrix(plan->network, &plan->network->layers[i]) ? "quern_matrix" : "quern_conv";
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        return "quern_add";
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        return "quern_pool";
    case QN_EXPORT_LOOKUP:
        return "quern_lookup";
    case QN_EXPORT_SOFTMAX:
        return "quern_softmax";
    case QN_EXPORT_NORM:
        return "quern_norm";
    case QN_EXPORT_PRODUCT:
        return "quern_product";
    default:
        return NULL;
    }
}

void qn_c_print_layer(qn_export_text *text, const qn_c_plan *plan, int i)
{
    if (qn_c_layer_type(plan, i) == NULL) { /* a call of CMSIS-NN, or a gather, which is its index */
        return;
    }
    switch (plan->network->layers[i].kind) {
    case QN_EXPORT_CONV:
        print_conv(text, plan, i);
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        print_add(text, plan, i);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        print_pool(text, plan, i);
        break;
    case QN_EXPORT_LOOKUP:
        print_lookup(text, plan, i);
        break;
    case QN_EXPORT_SOFTMAX:
    case QN_EXPORT_NORM:
    case QN_EXPORT_PRODUCT:
        print_rows(text, plan, i);
        break;
    default:
        break;
    }
}

/* ", LAYER__SUFFIX", or ", 0" where there is no such array. */
static void print_array(qn_export_text *text, const qn_c_plan *plan, int layer, qn_c_role role)
{
    const qn_c_array *a = qn_c_array_find(plan, layer, role);
    qn_export_printf(text, ", %s", a != NULL ? a->name : "0");
}

/* "    FUNCTION(&LAYER, inputs, output" */
static void begin_call(qn_export_text *text, const qn_c_plan *plan, int i, const char *function)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    qn_export_printf(text, "    %s(&layers.%s", function, layer->id);
    for (int j = 0; j <= layer->n_inputs; j++) {
        qn_export_printf(text, ", ");
        qn_c_print_place(text, plan, j < layer->n_inputs ? layer->input[j] : layer->output, 0);
    }
}

static const char *conv_function(const qn_export_network *n, const qn_export_layer *layer)
{
    const qn_export_conv *c = &layer->u.conv;
    const bool plain = qn_c_is_plain(c);
    if (c->saturate) {
        return "quern_conv_saturating";
    }
    if (qn_c_is_matrix(n, layer)) {
        return plain ? "quern_fully_connected_s8" : "quern_fully_connected_packed";
    }
    if (qn_c_is_depthwise(c)) {
        return plain ? "quern_depthwise_s8" : "quern_depthwise_packed";
    }
    return plain ? "quern_conv_s8" : "quern_conv_packed";
}

/* ", quern_requantize_KIND, multipliers, shifts);" */
static void end_with_requantize(qn_export_text *text, const qn_c_plan *plan, int i, const qn_export_requantize *r)
{
    const bool is_float = r->kind == QN_REQUANTIZE_FLOAT;
    qn_export_printf(text, ", quern_requantize_%s",
                     is_float                                            ? "float"
                     : qn_c_array_find(plan, i, QN_C_MULTIPLIER) == NULL ? "shift"
                     : r->how.twice                                      ? "twice"
                                                                         : "once");
    print_array(text, plan, i, is_float ? QN_C_RATIO : QN_C_MULTIPLIER);
    print_array(text, plan, i, QN_C_SHIFT);
    qn_export_printf(text, ");\n");
}

static void call_conv(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_conv *c = &layer->u.conv;
    begin_call(text, plan, i, conv_function(plan->network, layer));
    qn_export_printf(text, ",\n       ");
    qn_export_printf(text, " %s", qn_c_array_find(plan, i, QN_C_WEIGHTS)->name);
    if (c->saturate || !qn_c_is_plain(c)) {
        print_array(text, plan, i, QN_C_ZERO_W);
    }
    print_array(text, plan, i, QN_C_BIAS);
    if (c->decodes) {
        qn_export_printf(text, ", quern_store_sums, 0, 0);\n");
        return;
    }
    end_with_requantize(text, plan, i, &c->requantize);
}

static void call_rows(qn_export_text *text, const qn_c_plan *plan, int i)
{
    static const struct {
        const char *function;
        qn_c_role first, second;
    } rows[] = {[QN_EXPORT_SOFTMAX] = {"quern_softmax_codes", QN_C_SHARE, QN_C_PART},
                [QN_EXPORT_NORM] = {"quern_norm_codes", QN_C_GAIN, QN_C_OFFSET},
                [QN_EXPORT_PRODUCT] = {"quern_product_codes", QN_C_LEFT, QN_C_RIGHT}};
    const qn_export_layer *layer = &plan->network->layers[i];
    begin_call(text, plan, i, rows[layer->kind].function);
    print_array(text, plan, i, rows[layer->kind].first);
    print_array(text, plan, i, rows[layer->kind].second);
    if (layer->kind == QN_EXPORT_PRODUCT) {
        end_with_requantize(text, plan, i, &layer->u.product.requantize);
    } else {
        qn_export_printf(text, ");\n");
    }
}

static void call_add(qn_export_text *text, const qn_c_plan *plan, int i)
{
    static const char *const functions[][3] = {
        {"quern_add_fixed", "quern_add_soft", "quern_add_float"},
        {"quern_mul_fixed", "quern_mul_soft", "quern_mul_float"},
        {"quern_sub_fixed", "quern_sub_soft", "quern_sub_float"},
    };
    const qn_export_kind kind = plan->network->layers[i].kind;
    const bool is_fixed = plan->network->layers[i].u.add.is_fixed, soft = qn_c_is_soft(plan->network);
    const int row = kind == QN_EXPORT_MUL ? 1 : kind == QN_EXPORT_SUB ? 2 : 0;
    begin_call(text, plan, i, functions[row][is_fixed ? 0 : soft ? 1 : 2]);
    print_array(text, plan, i, is_fixed ? QN_C_MULTIPLIER : soft ? QN_C_SOFT : QN_C_RATIO);
    qn_export_printf(text, ");\n");
}

static void call_pool(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const bool soft = qn_c_is_soft(plan->network), maximum = layer->kind == QN_EXPORT_MAX_POOL;
    begin_call(text, plan, i,
               maximum                  ? "quern_max_pool"
               : layer->u.pool.is_fixed ? "quern_average_fixed"
               : layer->u.pool.whole    ? (soft ? "quern_average_whole_soft" : "quern_average_whole")
               : soft                   ? "quern_average_steps_soft"
                                        : "quern_average_steps");
    if (!maximum && !layer->u.pool.is_fixed) {
        print_array(text, plan, i, soft ? QN_C_SOFT : QN_C_RATIO);
    }
    qn_export_printf(text, ");\n");
}

static void call_lookup(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_tensor *x = &plan->network->tensors[layer->input[0]];
    const runs r = runs_of(&layer->u.lookup, x, &plan->network->tensors[layer->output]);
    for (int64_t call = 0; call < r.calls; call++) {
        qn_export_printf(text, "    quern_lookup_codes(&layers.%s, ", layer->id);
        qn_c_print_place(text, plan, layer->input[0], call * r.rows * r.n);
        qn_export_printf(text, ", ");
        qn_c_print_place(text, plan, layer->output, r.first + call * r.next);
        print_array(text, plan, i, QN_C_TABLE);
        qn_export_printf(text, ");\n");
    }
}

static void call_gather(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_c_array *index = qn_c_array_find(plan, i, QN_C_INDEX);
    const bool pads = layer->kind == QN_EXPORT_PAD;
    qn_export_printf(text, "    quern_%s_%d(%s, %lld, ", pads ? "pad" : "gather", index->n_bytes * 8, index->name,
                     (long long)index->count);
    qn_c_print_place(text, plan, layer->input[0], 0);
    qn_export_printf(text, ", ");
    qn_c_print_place(text, plan, layer->output, 0);
    if (pads) {
        qn_export_printf(text, ", %lld, %d", (long long)plan->network->tensors[layer->input[0]].count,
                         (int)(layer->fill & 0xff));
    }
    qn_export_printf(text, ");\n");
}

void qn_c_print_call(qn_export_text *text, const qn_c_plan *plan, int i)
{
    typedef void call(qn_export_text *, const qn_c_plan *, int);
    static call *const calls[] = {
        [QN_EXPORT_CONV] = call_conv,     [QN_EXPORT_ADD] = call_add,       [QN_EXPORT_MUL] = call_add,
        [QN_EXPORT_SUB] = call_add,       [QN_EXPORT_MAX_POOL] = call_pool, [QN_EXPORT_AVERAGE] = call_pool,
        [QN_EXPORT_LOOKUP] = call_lookup, [QN_EXPORT_GATHER] = call_gather, [QN_EXPORT_PAD] = call_gather,
        [QN_EXPORT_SOFTMAX] = call_rows,  [QN_EXPORT_NORM] = call_rows,     [QN_EXPORT_PRODUCT] = call_rows,
    };
    const qn_export_layer *layer = &plan->network->layers[i];
    qn_export_printf(text, "    /* %d: ", i);
    qn_c_print_name(text, layer->name);
    qn_export_printf(text, " */\n");
    (qn_c_cmsis_takes(plan, i) ? qn_c_cmsis_print_call : calls[layer->kind])(text, plan, i);
}
