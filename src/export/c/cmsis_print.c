/* Layers as calls of CMSIS-NN: their parameters as constants, and a function each. */
#include <stdio.h>

#include "export/c/cmsis.h"

void qn_c_cmsis_print_header(qn_export_text *text, const qn_c_plan *plan)
{
    if (!plan->cmsis_nn) {
        return;
    }
    qn_export_printf(text, "\n/* Layers call CMSIS-NN. 0, or the first status other than ARM_CMSIS_NN_SUCCESS that one "
                           "of them got in the\n * last model_run, whose outputs then are worth nothing. */\n"
                           "#define MODEL_CMSIS_NN 1\n"
                           "#ifdef __cplusplus\nextern \"C\" {\n#endif\nint model_status(void);\n"
                           "#ifdef __cplusplus\n}\n#endif\n");
}

/* A sum takes none. */
static bool needs_context(const qn_c_plan *plan)
{
    bool any = false;
    for (int i = 0; i < plan->network->n_layers; i++) {
        any = any || (qn_c_cmsis_takes(plan, i) && plan->network->layers[i].kind != QN_EXPORT_ADD);
    }
    return any;
}

static void print_bytes(qn_export_text *text, const qn_c_plan *plan)
{
    static const struct {
        const char *condition;
        qn_c_cmsis_processor processor;
    } rows[] = {
        {"#if defined(ARM_MATH_MVEI)", QN_C_CMSIS_MVE},
        {"#elif defined(ARM_MATH_DSP) && defined(__ARMCC_VERSION)", QN_C_CMSIS_DSP_ARMCLANG},
        {"#elif defined(ARM_MATH_DSP)", QN_C_CMSIS_DSP},
        {"#else", QN_C_CMSIS_ANY},
    };
    qn_export_printf(text,
                     "/* Scratch memory of CMSIS-NN: the most that a layer asks for. Each call is made only if the "
                     "library at hand asks\n * for no more; model_status tells. */\n"
                     "#ifndef MODEL_CMSIS_NN_BYTES\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_export_printf(text, "%s\n#define MODEL_CMSIS_NN_BYTES %lld\n", rows[i].condition,
                         (long long)qn_c_cmsis_most_bytes(plan, rows[i].processor));
    }
    qn_export_printf(text, "#endif\n#endif\n");
    if (needs_context(plan)) {
        qn_export_printf(text,
                         "static int32_t cmsis_scratch[(MODEL_CMSIS_NN_BYTES + 3) / 4];\n"
                         "static const cmsis_nn_context cmsis_context = {cmsis_scratch, MODEL_CMSIS_NN_BYTES};\n");
    }
}

void qn_c_cmsis_print_start(qn_export_text *text, const qn_c_plan *plan)
{
    if (!plan->cmsis_nn) {
        return;
    }
    const qn_c_cmsis_rounding rounding = qn_c_cmsis_rounding_of(plan);
    qn_export_printf(text, "#include \"arm_nnfunctions.h\"\n\n");
    if (rounding != QN_C_CMSIS_ANY_ROUNDING) {
        const bool single = rounding == QN_C_CMSIS_SINGLE;
        qn_export_printf(text,
                         "/* CMSIS-NN has to round as the model does. */\n#if%sdef CMSIS_NN_USE_SINGLE_ROUNDING\n"
                         "#error \"compile CMSIS-NN and this file with%s CMSIS_NN_USE_SINGLE_ROUNDING\"\n#endif\n\n",
                         single ? "n" : "", single ? "" : "out");
    }
    print_bytes(text, plan);
    qn_export_printf(text, "static int cmsis_status;\nstatic void cmsis_keep(arm_cmsis_nn_status status)\n{\n"
                           "    cmsis_status = cmsis_status == 0 ? (int)status : cmsis_status;\n}\n"
                           "int model_status(void)\n{\n    return cmsis_status;\n}\n\n");
}

/* An axis of one tap has no dilation. */
static int dilation_of(const int kernel[2], const int dilation[2], int axis)
{
    return kernel[axis] == 1 ? 1 : dilation[axis];
}

static void print_tile(qn_export_text *text, const char *field, int height, int width)
{
    qn_export_printf(text, " .%s = {.w = %d, .h = %d},", field, width, height);
}

static void print_activation(qn_export_text *text, const qn_export_tensor *y)
{
    qn_export_printf(text, "\n    .activation = {.min = %d, .max = %d},\n};\n", (int)y->lo, (int)y->hi);
}

static void print_dims(qn_export_text *text, const char *id, const char *what, int64_t n, int64_t h, int64_t w,
                       int64_t c)
{
    qn_export_printf(text, "static const cmsis_nn_dims %s__%s = {.n = %lld, .h = %lld, .w = %lld, .c = %lld};\n", id,
                     what, (long long)n, (long long)h, (long long)w, (long long)c);
}

static void print_function(qn_export_text *text, const char *id, const char *size, const char *function)
{
    qn_export_printf(text, "static arm_cmsis_nn_status %s(const uint8_t *x, uint8_t *y)\n{\n", id);
    if (size != NULL) {
        qn_export_printf(text, "    if (%s > MODEL_CMSIS_NN_BYTES) {\n        return ARM_CMSIS_NN_ARG_ERROR;\n    }\n",
                         size);
    }
    qn_export_printf(text, "    return %s(", function);
}

static void print_conv(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_network *n = plan->network;
    const qn_export_layer *layer = &n->layers[i];
    const qn_export_conv *c = &layer->u.conv;
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    const char *function = qn_c_cmsis_function(n, i), *id = layer->id;
    const bool matrix = qn_c_is_matrix(n, layer), depthwise = qn_c_is_depthwise(c) && !matrix;
    char size[512];
    qn_export_printf(text,
                     "static const cmsis_nn_%sconv_params %s__params = {\n"
                     "    .input_offset = %d, .output_offset = %d,%s\n   ",
                     depthwise ? "dw_" : "", id, -(int)x->zero_point, (int)y->zero_point,
                     depthwise ? " .ch_mult = 1," : "");
    print_tile(text, "stride", matrix ? 1 : c->stride[0], matrix ? 1 : c->stride[1]);
    print_tile(text, "padding", c->pad[0], c->pad[1]);
    print_tile(text, "dilation", matrix ? 1 : dilation_of(c->kernel, c->dilation, 0),
               matrix ? 1 : dilation_of(c->kernel, c->dilation, 1));
    print_activation(text, y);
    qn_export_printf(text,
                     "static const cmsis_nn_per_channel_quant_params %s__quant = {\n"
                     "    .multiplier = (int32_t *)%s, .shift = (int32_t *)%s};\n",
                     id, qn_c_array_find(plan, i, QN_C_MULTIPLIER)->name, qn_c_array_find(plan, i, QN_C_SHIFT)->name);
    const int64_t inputs = c->n_weights / c->outputs;
    print_dims(text, id, "input", 1, matrix ? y->height : x->height, matrix ? y->width : x->width,
               matrix ? inputs : x->channels);
    print_dims(text, id, "filter", depthwise ? 1 : c->outputs, matrix ? 1 : c->kernel[0], matrix ? 1 : c->kernel[1],
               depthwise ? c->outputs
               : matrix  ? inputs
                         : c->group_inputs);
    print_dims(text, id, "bias_dims", 1, 1, 1, c->outputs);
    print_dims(text, id, "output", 1, y->height, y->width, c->outputs);
    snprintf(size, sizeof size, "%s_get_buffer_size(&%s__params, &%s__input,\n            &%s__filter, &%s__output)",
             function, id, id, id, id);
    print_function(text, id, size, function);
    qn_export_printf(text,
                     "&cmsis_context, &%s__params, &%s__quant,\n        &%s__input, (const int8_t *)x, &%s__filter,\n"
                     "        (const int8_t *)%s, &%s__bias_dims, %s,\n        &%s__output, (int8_t *)y);\n}\n",
                     id, id, id, id, qn_c_array_find(plan, i, QN_C_WEIGHTS)->name, id,
                     qn_c_array_find(plan, i, QN_C_BIAS)->name, id);
}

static void print_pool(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_network *n = plan->network;
    const qn_export_layer *layer = &n->layers[i];
    const qn_export_pool *p = &layer->u.pool;
    const qn_export_tensor *x = &n->tensors[layer->input[0]], *y = &n->tensors[layer->output];
    const char *function = qn_c_cmsis_function(n, i), *id = layer->id;
    char size[512];
    qn_export_printf(text, "static const cmsis_nn_pool_params %s__params = {\n   ", id);
    print_tile(text, "stride", p->stride[0], p->stride[1]);
    print_tile(text, "padding", p->pad[0], p->pad[1]);
    print_activation(text, y);
    print_dims(text, id, "input", 1, x->height, x->width, x->channels);
    print_dims(text, id, "filter", 1, p->kernel[0], p->kernel[1], 1);
    print_dims(text, id, "output", 1, y->height, y->width, y->channels);
    snprintf(size, sizeof size, "arm_avgpool_s8_get_buffer_size(%d, %d)", y->width, x->channels);
    print_function(text, id, layer->kind == QN_EXPORT_AVERAGE ? size : NULL, function);
    qn_export_printf(text,
                     "&cmsis_context, &%s__params, &%s__input, (const int8_t *)x,\n"
                     "        &%s__filter, &%s__output, (int8_t *)y);\n}\n",
                     id, id, id, id);
}

void qn_c_cmsis_print_layers(qn_export_text *text, const qn_c_plan *plan)
{
    for (int i = 0; i < plan->network->n_layers; i++) {
        const qn_export_layer *layer = &plan->network->layers[i];
        if (!qn_c_cmsis_takes(plan, i) || layer->kind == QN_EXPORT_ADD) { /* a sum is its call */
            continue;
        }
        qn_export_printf(text, "\n/* Layer %d: ", i);
        qn_c_print_name(text, layer->name);
        qn_export_printf(text, " */\n");
        if (layer->kind == QN_EXPORT_CONV) {
            print_conv(text, plan, i);
        } else {
            print_pool(text, plan, i);
        }
    }
}

static void print_operand(qn_export_text *text, const qn_c_plan *plan, int tensor)
{
    qn_export_printf(text, "(const int8_t *)(");
    qn_c_print_place(text, plan, tensor, 0);
    qn_export_printf(text, ")");
}

static void print_add(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    const qn_export_add *a = &layer->u.add;
    const qn_export_tensor *y = &plan->network->tensors[layer->output];
    const char *multiplier = qn_c_array_find(plan, i, QN_C_MULTIPLIER)->name;
    qn_export_printf(text, "    cmsis_keep(arm_elementwise_add_s8(");
    print_operand(text, plan, layer->input[0]);
    qn_export_printf(text, ", ");
    print_operand(text, plan, layer->input[1]);
    for (int j = 0; j < 2; j++) {
        qn_export_printf(text, ",\n        %d, %s[%d], %d", -(int)plan->network->tensors[layer->input[j]].zero_point,
                         multiplier, j, (int)qn_c_cmsis_ratio(a->fixed[j]).shift);
    }
    qn_export_printf(text, ", %d,\n        (int8_t *)(", a->left);
    qn_c_print_place(text, plan, layer->output, 0);
    qn_export_printf(text, "), %d, %s[2], %d, %d, %d, %lld));\n", (int)y->zero_point, multiplier,
                     (int)qn_c_cmsis_ratio(a->fixed[2]).shift, (int)y->lo, (int)y->hi, (long long)y->count);
}

void qn_c_cmsis_print_call(qn_export_text *text, const qn_c_plan *plan, int i)
{
    const qn_export_layer *layer = &plan->network->layers[i];
    if (layer->kind == QN_EXPORT_ADD) {
        print_add(text, plan, i);
        return;
    }
    qn_export_printf(text, "    cmsis_keep(%s(", layer->id);
    qn_c_print_place(text, plan, layer->input[0], 0);
    qn_export_printf(text, ", ");
    qn_c_print_place(text, plan, layer->output, 0);
    qn_export_printf(text, "));\n");
}
