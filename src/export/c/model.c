/* model.h and model.c of an export. */
#include <ctype.h>

#include "export/c/cmsis.h"

static void print_upper(qn_export_text *text, const char *id)
{
    for (; *id != '\0'; id++) {
        const char c = (char)toupper((unsigned char)*id);
        qn_export_append(text, &c, 1);
    }
}

/* "#define MODEL_ID_SUFFIX " */
static void print_define(qn_export_text *text, const char *id, const char *suffix)
{
    qn_export_printf(text, "#define MODEL_");
    print_upper(text, id);
    qn_export_printf(text, "_%s ", suffix);
}

static const char *type_of(const qn_export_tensor *t)
{
    return t->real ? "int32_t" : t->is_signed ? "int8_t" : "uint8_t";
}

static void print_dims(qn_export_text *text, const qn_export_io *io)
{
    for (int i = 0; i < io->rank; i++) {
        qn_export_printf(text, "%s%lld", i > 0 ? " x " : "", (long long)io->dims[i]);
    }
    qn_export_printf(text, io->rank == 0 ? "one number" : "");
}

/* How elements of the model are found among the codes. */
static void print_order(qn_export_text *text, const qn_export_tensor *t)
{
    if (t->plain || t->height * t->width == 1 || t->channels == 1) {
        qn_export_printf(text, "in the order of the model");
    } else {
        qn_export_printf(text, "element (channel c, row y, column x) at (y * %d + x) * %d + c", t->width, t->channels);
    }
}

static void print_io(qn_export_text *text, const qn_export_network *n, const qn_export_io *io, const char *what)
{
    qn_export_printf(text, "\n/* %s ", what);
    qn_c_print_name(text, io->name);
    qn_export_printf(text, " of the model, ");
    print_dims(text, io);
    if (io->tensor < 0) {
        qn_export_printf(text, ": %s; it has no codes and is not here. */\n",
                         what[0] == 'I' ? "nothing reads it" : "a constant");
        return;
    }
    const qn_export_tensor *t = &n->tensors[io->tensor];
    qn_export_printf(text, ": ");
    if (t->real) {
        qn_export_printf(text, "sums; model.c says at its layer what they stand for.\n * Sums ");
        t = &n->tensors[qn_export_base(n, io->tensor)];
    } else {
        qn_export_printf(text, "%s codes of %d bits, x = (code - zero point) * scale.\n",
                         t->is_signed ? "signed" : "unsigned", t->bits);
        if (what[0] == 'I') {
            qn_export_printf(
                text, " * code = rintf(x / scale) + zero point, clamped to %d..%d: a division, halves to even.\n",
                (int)qn_export_lowest(t), (int)(qn_export_lowest(t) + (1 << t->bits) - 1));
            if (qn_graph_get_metadata(n->graph, "quern.preprocess") != NULL) {
                qn_export_printf(
                    text,
                    " * x is what the model's preprocessing makes of the data: manifest.json, model.preprocess.\n");
            }
        }
        qn_export_printf(text, " * Codes ");
    }
    print_order(text, t);
    qn_export_printf(text, ". */\n");
    print_define(text, io->id, "COUNT");
    qn_export_printf(text, "%lld\n", (long long)t->count);
    if (t->real) {
        return;
    }
    print_define(text, io->id, "BITS");
    qn_export_printf(text, "%d\n", t->bits);
    print_define(text, io->id, "ZERO_POINT");
    qn_export_printf(text, "%d\n", (int)t->zero_point);
    print_define(text, io->id, "SCALE");
    qn_c_print_float(text, t->scale);
    qn_export_printf(text, "\n");
}

/* typedef struct, and the same as a list of X(type, member, count). */
static void print_struct(qn_export_text *text, const qn_export_network *n, const qn_export_io *ios, int count,
                         const char *type, const char *list)
{
    int members = 0;
    qn_export_printf(text, "\ntypedef struct %s {\n", type);
    for (int i = 0; i < count; i++) {
        if (ios[i].tensor >= 0) {
            const qn_export_tensor *t = &n->tensors[ios[i].tensor];
            qn_export_printf(text, "    %s %s[%lld];\n", type_of(t), ios[i].id, (long long)t->count);
            members++;
        }
    }
    qn_export_printf(text, "%s} %s;\n#define %s(X)", members == 0 ? "    uint8_t nothing;\n" : "", type, list);
    for (int i = 0; i < count; i++) {
        if (ios[i].tensor >= 0) {
            const qn_export_tensor *t = &n->tensors[ios[i].tensor];
            qn_export_printf(text, " X(%s, %s, %lld)", type_of(t), ios[i].id, (long long)t->count);
        }
    }
    qn_export_printf(text, "\n");
}

void qn_c_print_header(qn_export_text *text, const qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    static const char *const requantize[] = {
        [QN_REQUANTIZE_FLOAT] = "products in 32-bit float, the only floats there are (quern_float.c)",
        [QN_REQUANTIZE_FIXED] = "31-bit multipliers and shifts; there is no float",
        [QN_REQUANTIZE_SHIFT] = "shifts; there is no float",
        [QN_REQUANTIZE_DOUBLE_SHIFT] = "sums of two shifts; there is no float",
    };
    qn_export_printf(
        text,
        "/* A quantized network as C99, written by quern. README.txt says how to use it, model.c what each layer "
        "does.\n * Sums become codes by %s. */\n#ifndef MODEL_H\n#define MODEL_H\n\n#include <stdint.h>\n\n",
        requantize[n->arithmetic.requantize]);
    qn_export_printf(text,
                     "/* Bytes of the one static buffer of activations; layers need %lld of them at once, at the "
                     "most. */\n#define MODEL_ACTIVATION_BYTES %lld\n",
                     (long long)plan->bound, (long long)plan->peak);
    qn_export_printf(text,
                     "/* Bytes of constants: weights, biases, multipliers, shifts, tables. */\n"
                     "#define MODEL_CONSTANT_BYTES %lld\n",
                     (long long)plan->constant_bytes);
    for (int i = 0; i < n->n_inputs; i++) {
        print_io(text, n, &n->inputs[i], "Input");
    }
    for (int i = 0; i < n->n_outputs; i++) {
        print_io(text, n, &n->outputs[i], "Output");
    }
    print_struct(text, n, n->inputs, n->n_inputs, "model_in_t", "MODEL_INPUTS");
    print_struct(text, n, n->outputs, n->n_outputs, "model_out_t", "MODEL_OUTPUTS");
    qn_c_cmsis_print_header(text, plan);
    qn_export_printf(text, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n"
                           "/* Compute `out` of `in`. Not reentrant: activations are static. */\n"
                           "void model_run(const model_in_t *in, model_out_t *out);\n"
                           "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

/* Outputs whose tensor lies elsewhere: in an input, a constant, or another output. */
static void print_copies(qn_export_text *text, const qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    for (int i = 0; i < n->n_outputs; i++) {
        const int tensor = n->outputs[i].tensor;
        const qn_c_place *place = tensor >= 0 ? qn_c_place_of(plan, tensor) : NULL;
        if (place == NULL || (place->where == QN_C_OUTPUT && place->io == i)) {
            continue;
        }
        const qn_export_tensor *t = &n->tensors[tensor];
        qn_export_printf(text, "    for (i = 0; i < %lld; i++) {\n        ", (long long)t->count);
        if (t->real) {
            qn_export_printf(text, "out->%s[i] = out->%s[i];\n    }\n", n->outputs[i].id, n->outputs[place->io].id);
        } else {
            qn_export_printf(text, "((uint8_t *)out->%s)[i] = (", n->outputs[i].id);
            qn_c_print_place(text, plan, tensor, 0);
            qn_export_printf(text, ")[i];\n    }\n");
        }
    }
}

static bool has_copies(const qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    bool any = false;
    for (int i = 0; i < n->n_outputs; i++) {
        const int tensor = n->outputs[i].tensor;
        const qn_c_place *place = tensor >= 0 ? qn_c_place_of(plan, tensor) : NULL;
        any = any || (place != NULL && (place->where != QN_C_OUTPUT || place->io != i));
    }
    return any;
}

static qn_status print_arrays(qn_export_text *text, const qn_c_plan *plan, int owner, bool codes, qn_error *err)
{
    bool first = true;
    for (int i = 0; i < plan->n_arrays; i++) {
        const qn_c_array *a = &plan->arrays[i];
        if (a->owner == owner && (a->role == QN_C_CODES) == codes) {
            if (first && !codes) {
                qn_export_printf(text, "\n/* Layer %d: ", owner);
                qn_c_print_name(text, plan->network->layers[owner].name);
                qn_export_printf(text, " */\n");
            }
            first = false;
            QN_TRY(qn_c_array_print(text, plan->network, a, err));
        }
    }
    return QN_OK;
}

/* What the calls need to know of the layers, in one structure, so that nothing lies idle between them. */
static void print_layers(qn_export_text *text, const qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    int members = 0;
    for (int i = 0; i < n->n_layers; i++) {
        const char *type = qn_c_layer_type(plan, i);
        if (type != NULL) {
            qn_export_printf(text, "%s    %s %s;\n", members == 0 ? "\nstatic const struct {\n" : "", type,
                             n->layers[i].id);
            members++;
        }
    }
    qn_export_printf(text, members > 0 ? "} layers = {" : "");
    for (int i = 0; i < n->n_layers; i++) {
        qn_c_print_comment(text, plan, i);
        qn_c_print_layer(text, plan, i);
    }
    qn_export_printf(text, members > 0 ? "};\n" : "");
}

static bool has_floats(const qn_c_plan *plan)
{
    bool any = false;
    for (int i = 0; i < plan->n_arrays; i++) {
        any = any || plan->arrays[i].role == QN_C_RATIO;
    }
    return any;
}

qn_status qn_c_print_model(qn_export_text *text, const qn_c_plan *plan, qn_error *err)
{
    const qn_export_network *n = plan->network;
    qn_export_printf(text,
                     "/* Constants and layers of the network; see model.h. Tensors are given as [height x width x "
                     "channels]. */\n#include \"model.h\"\n%s#include \"quern_ops.h\"\n\n",
                     has_floats(plan) ? "#include \"quern_float.h\"\n" : "");
    qn_c_cmsis_print_start(text, plan);
    if (plan->peak > 0) {
        qn_export_printf(text, "static uint8_t activations[MODEL_ACTIVATION_BYTES];\n");
    }
    for (int i = 0; i < n->n_tensors; i++) {
        if (plan->places[i].where == QN_C_CONSTANT) {
            qn_export_printf(text, "\n/* ");
            qn_c_print_tensor(text, n, i);
            qn_export_printf(text, ", a constant */\n");
            QN_TRY(print_arrays(text, plan, i, true, err));
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        QN_TRY(print_arrays(text, plan, i, false, err));
    }
    print_layers(text, plan);
    qn_c_cmsis_print_layers(text, plan);
    qn_export_printf(text, "\nvoid model_run(const model_in_t *in, model_out_t *out)\n{\n%s",
                     has_copies(plan) ? "    int32_t i;\n" : "");
    qn_export_printf(text, "    (void)in;\n    (void)out;\n%s", plan->cmsis_nn ? "    cmsis_status = 0;\n" : "");
    for (int i = 0; i < n->n_layers; i++) {
        qn_c_print_call(text, plan, i);
    }
    print_copies(text, plan);
    qn_export_printf(text, "}\n");
    return QN_OK;
}
