/* model.h, model.cpp and testbench.cpp. */
#include <stdio.h>

#include "export/hls/hls.h"

/* The output whose array the tensor's layer writes at once: nothing else reads it. -1: none. */
static int output_of(const qn_export_network *n, int base)
{
    const qn_export_tensor *t = &n->tensors[base];
    for (int i = 0; t->maker >= 0 && t->last_reader < 0 && i < n->n_outputs; i++) {
        if (n->outputs[i].tensor >= 0 && qn_export_base(n, n->outputs[i].tensor) == base) {
            return i;
        }
    }
    return -1;
}

static const char *variable(char text[QN_HLS_NAME_MAX], const qn_export_network *n, int tensor)
{
    const int base = qn_export_base(n, tensor), output = output_of(n, base);
    if (n->tensors[base].constant != NULL) {
        snprintf(text, QN_HLS_NAME_MAX, "c%d", base + 1);
        return text;
    }
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].tensor >= 0 && qn_export_base(n, n->inputs[i].tensor) == base) {
            return n->inputs[i].id;
        }
    }
    return output >= 0 ? n->outputs[output].id : qn_hls_variable(n, base);
}

static void print_prototype(qn_export_text *text, const qn_export_network *n)
{
    char type[QN_HLS_NAME_MAX];
    const char *lead = "void model_top(";
    for (int i = 0; i < n->n_inputs; i++) {
        const qn_export_io *io = &n->inputs[i];
        if (io->tensor >= 0) {
            qn_export_printf(text, "%sconst %s %s[%lld]", lead, qn_hls_type(type, n, io->tensor), io->id,
                             (long long)io->count);
            lead = ",\n               ";
        }
    }
    for (int i = 0; i < n->n_outputs; i++) {
        const qn_export_io *io = &n->outputs[i];
        if (io->tensor >= 0) {
            qn_export_printf(text, "%s%s %s[%lld]", lead, qn_hls_type(type, n, io->tensor), io->id,
                             (long long)io->count);
            lead = ",\n               ";
        }
    }
    qn_export_printf(text, ")");
}

static void describe_ios(qn_export_text *text, const qn_export_network *n)
{
    char name[QN_HLS_NAME_MAX];
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const qn_export_io *io = i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
        if (io->tensor < 0) {
            qn_export_printf(text, "// '%s' is no argument: no layer has to do with it\n", qn_hls_name(name, io->name));
            continue;
        }
        const qn_export_tensor *t = &n->tensors[io->tensor];
        qn_export_printf(text, "// %s: '%s', ", io->id, qn_hls_name(name, io->name));
        if (t->real) {
            qn_export_printf(text, "floats in the model's order\n");
        } else {
            qn_export_printf(text, "codes, element (y, x, c) at (y * %d + x) * %d + c\n", t->width, t->channels);
        }
    }
}

static const char *function_of(const qn_export_network *n, const qn_export_layer *l)
{
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *x = &n->tensors[l->input[0]], *y = &n->tensors[l->output];
    switch (l->kind) {
    case QN_EXPORT_CONV:
        if (c->kernel[0] * c->kernel[1] == 1 && c->stride[0] * c->stride[1] == 1 && c->pad[0] == 0 && c->pad[1] == 0 &&
            c->groups == 1 && x->height == y->height && x->width == y->width) {
            return "dense";
        }
        return c->group_inputs == 1 && c->group_outputs == 1 && x->channels == c->outputs ? "depthwise_conv2d"
                                                                                          : "conv2d";
    case QN_EXPORT_ADD:
        return "add";
    case QN_EXPORT_MAX_POOL:
        return "max_pool";
    case QN_EXPORT_AVERAGE:
        return "average_pool";
    case QN_EXPORT_LOOKUP:
        return "lookup";
    default:
        return "gather";
    }
}

bool qn_hls_completes(const qn_export_network *n, int layer)
{
    for (int i = layer + 1; i < n->n_layers; i++) {
        if (qn_export_base(n, n->layers[i].output) == qn_export_base(n, n->layers[layer].output)) {
            return false;
        }
    }
    return true;
}

static void print_call(qn_export_text *text, const qn_export_network *n, int layer)
{
    const qn_export_layer *l = &n->layers[layer];
    char name[QN_HLS_NAME_MAX];
    const int second = l->kind == QN_EXPORT_ADD ? l->input[l->n_inputs > 1 ? 1 : 0] : -1;
    qn_export_printf(text, "    quern::%s<%s, ", function_of(n, l), qn_hls_type(name, n, l->input[0]));
    if (second >= 0) {
        qn_export_printf(text, "%s, ", qn_hls_type(name, n, second));
    }
    qn_export_printf(text, "%s, config%d>(", qn_hls_type(name, n, l->output), layer + 1);
    qn_export_printf(text, "%s, ", variable(name, n, l->input[0]));
    if (second >= 0) {
        qn_export_printf(text, "%s, ", variable(name, n, second));
    }
    qn_export_printf(text, "%s);", variable(name, n, l->output));
    qn_export_printf(text, " // '%s'\n", qn_hls_name(name, l->name));
    if (qn_hls_completes(n, layer)) {
        qn_export_printf(text, "    QUERN_TRACE_LAYER(%d, %s, %lld)\n", layer + 1, variable(name, n, l->output),
                         (long long)n->tensors[l->output].count);
    }
}

static qn_status print_partition(void *ctx, const qn_hls *hls, const qn_hls_array *array, qn_error *err)
{
    (void)hls, (void)err;
    if (array->letter == 'b' && array->n <= 64) {
        qn_export_printf(ctx, "    QUERN_PRAGMA(HLS ARRAY_PARTITION variable=b%d complete)\n", array->number);
    }
    return QN_OK;
}

static void print_body(qn_export_text *text, const qn_export_network *n)
{
    char type[QN_HLS_NAME_MAX], name[QN_HLS_NAME_MAX];
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (t->used && t->base < 0 && t->maker >= 0 && output_of(n, i) < 0) {
            qn_export_printf(text, "    static %s %s[%lld];\n", qn_hls_type(type, n, i), qn_hls_variable(n, i),
                             (long long)t->count);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        print_call(text, n, i);
    }
    for (int i = 0; i < n->n_outputs; i++) { /* what is read inside as well, or given out twice */
        const qn_export_io *io = &n->outputs[i];
        if (io->tensor >= 0 && output_of(n, qn_export_base(n, io->tensor)) != i) {
            qn_hls_type(type, n, io->tensor);
            qn_export_printf(text, "    quern::copy<%lld, %s, %s>(%s, %s);\n", (long long)io->count, type, type,
                             variable(name, n, io->tensor), io->id);
        }
    }
}

static void print_ports(qn_export_text *text, const qn_export_io *ios, int n)
{
    for (int i = 0; i < n; i++) {
        if (ios[i].tensor >= 0) {
            qn_export_printf(text, "    QUERN_PRAGMA(HLS INTERFACE ap_memory port=%s)\n", ios[i].id);
        }
    }
}

qn_status qn_hls_write_model(qn_hls *hls, qn_error *err)
{
    const qn_export_network *n = hls->network;
    qn_export_text text = {0};
    qn_export_printf(&text, "// The network as one function. Made by quern.\n");
    describe_ios(&text, n);
    qn_export_printf(&text, "#ifndef MODEL_H_\n#define MODEL_H_\n#include \"defines.h\"\n\n");
    print_prototype(&text, n);
    qn_export_printf(&text, ";\n\n#endif\n");
    QN_TRY(qn_export_text_file(hls->job, "hls/model.h", "the network's function", &text, err));

    qn_export_printf(&text, "// The network, layer by layer. Every tensor has memory of its own. Made by quern.\n"
                            "#include \"model.h\"\n#include \"parameters.h\"\n\n");
    print_prototype(&text, n);
    qn_export_printf(&text, "\n{\n");
    print_ports(&text, n->inputs, n->n_inputs);
    print_ports(&text, n->outputs, n->n_outputs);
    qn_export_printf(&text, "    QUERN_PRAGMA(HLS INTERFACE ap_ctrl_hs port=return)\n");
    QN_TRY(qn_hls_each_array(hls, print_partition, &text, err));
    print_body(&text, n);
    qn_export_printf(&text, "}\n");
    return qn_export_text_file(hls->job, "hls/model.cpp", "the network, layer by layer", &text, err);
}

static void print_bench_ios(qn_export_text *text, const qn_export_network *n, const char *format, bool inputs)
{
    const int count = inputs ? n->n_inputs : n->n_outputs;
    const qn_export_io *ios = inputs ? n->inputs : n->outputs;
    for (int i = 0; i < count; i++) {
        for (const char *p = format; ios[i].tensor >= 0 && *p != '\0'; p++) {
            char type[QN_HLS_NAME_MAX];
            if (*p == '@') { /* @i: name, @t: type, @n: elements */
                p++;
                if (*p == 'n') {
                    qn_export_printf(text, "%lld", (long long)ios[i].count);
                } else {
                    qn_export_printf(text, "%s", *p == 'i' ? ios[i].id : qn_hls_type(type, n, ios[i].tensor));
                }
            } else {
                qn_export_append(text, p, 1);
            }
        }
    }
}

static void print_arguments(qn_export_text *text, const qn_export_network *n)
{
    const char *lead = "";
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const qn_export_io *io = i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
        if (io->tensor >= 0) {
            qn_export_printf(text, "%s%s", lead, io->id);
            lead = ", ";
        }
    }
}

qn_status qn_hls_write_bench(qn_hls *hls, qn_error *err)
{
    const qn_export_network *n = hls->network;
    qn_export_text text = {0};
    qn_export_printf(&text, "// Runs the network on tb_data/*.dat, and compares. Made by quern.\n"
                            "#include \"testbench.h\"\n\n#include \"model.h\"\n\n");
    print_bench_ios(&text, n, "static @t @i[@n];\n", true);
    print_bench_ios(&text, n, "static @t @i[@n], @i_expected[@n];\n", false);
    qn_export_printf(&text, "\nint main()\n{\n    quern_bench::result r;\n");
    print_bench_ios(&text, n, "    quern_bench::file @i_file(\"tb_data/@i.dat\");\n", true);
    print_bench_ios(&text, n, "    quern_bench::file @i_file(\"tb_data/@i.dat\");\n", false);
    qn_export_printf(&text, "    quern_bench::file layers_file(\"tb_data/layers.dat\");\n"
                            "    for (bool more = true; more;) {\n");
    print_bench_ios(&text, n, "        more = @i_file.read(@i, @n) && more;\n", true);
    qn_export_printf(&text, "        if (!more) {\n            break;\n        }\n        model_top(");
    print_arguments(&text, n);
    qn_export_printf(&text, ");\n");
    qn_export_printf(&text, "        r.expect_layers(layers_file);\n");
    print_bench_ios(&text, n, "        r.expect(@i_file.read(@i_expected, @n), \"@i\", @i, @i_expected, @n);\n", false);
    qn_export_printf(&text, "        r.next();\n    }\n    return r.report();\n}\n");
    return qn_export_text_file(hls->job, "hls/testbench.cpp", "runs the network on vectors, and compares", &text, err);
}
