/* The target "verilog": sources that are always the same, modules of the network, test benches, a Makefile. */
#include "export/verilog/verilog.h"

#include <stdio.h>
#include <string.h>

#include "engine/integer/integer.h"
#include "graph/arithmetic.h"
#include "graph/node_list.h"

#define TEXTS(X)                                                                                                       \
    X(add, "rtl/quern_add.v", "core: sum of two tensors")                                                              \
    X(clamp, "rtl/quern_clamp.v", "core: zero point and range of a code")                                              \
    X(conv, "rtl/quern_conv.v", "core: convolution and matrix product")                                                \
    X(divide, "rtl/quern_divide.v", "core: division for averages")                                                     \
    X(gather, "rtl/quern_gather.v", "core: elements moved")                                                            \
    X(lookup, "rtl/quern_lookup.v", "core: tables and copies")                                                         \
    X(pool, "rtl/quern_pool.v", "core: max and average pools")                                                         \
    X(ram, "rtl/quern_ram.v", "memory of a tensor")                                                                    \
    X(rom, "rtl/quern_rom.v", "memory of constants")                                                                   \
    X(scale, "rtl/quern_scale.v", "core: requantization")                                                              \
    X(makefile, "Makefile", "simulation and lint")

#define BENCH_TEXTS(X)                                                                                                 \
    X(check, "tb/quern_check.v", "test benches: comparison")                                                           \
    X(vectors, "tb/quern_vectors.v", "test benches: memory of vectors")

#define DECLARE(name, path, what) extern const char qn_verilog_##name##_begin[], qn_verilog_##name##_end[];
TEXTS(DECLARE)
BENCH_TEXTS(DECLARE)

static const struct fixed_text {
    const char *begin, *end, *path, *what;
    bool bench;
} fixed_texts[] = {
#define ROW(name, path, what) {qn_verilog_##name##_begin, qn_verilog_##name##_end, "verilog/" path, what, false},
    TEXTS(ROW)
#undef ROW
#define ROW(name, path, what) {qn_verilog_##name##_begin, qn_verilog_##name##_end, "verilog/" path, what, true},
        BENCH_TEXTS(ROW)
#undef ROW
};

int qn_verilog_address(int64_t n)
{
    int bits = 1;
    while ((int64_t)1 << bits < n) {
        bits++;
    }
    return bits;
}

int64_t qn_verilog_writes(const qn_export_network *network, const qn_export_layer *layer)
{
    return layer->kind == QN_EXPORT_LOOKUP ? network->tensors[layer->input[0]].count
                                           : network->tensors[layer->output].count;
}

int64_t qn_verilog_clocks(const qn_export_network *network, const qn_export_layer *layer)
{
    const qn_export_tensor *y = &network->tensors[layer->output];
    const qn_export_conv *conv = &layer->u.conv;
    const qn_export_pool *pool = &layer->u.pool;
    const int64_t writes = qn_verilog_writes(network, layer);
    switch (layer->kind) {
    case QN_EXPORT_CONV: {
        const int lanes = qn_export_conv_lanes(conv);
        const int64_t terms = (int64_t)conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
        const int64_t blocks = (int64_t)conv->groups * ((conv->group_outputs + lanes - 1) / lanes);
        return y->count / conv->outputs * blocks * (terms + 2 * lanes + 8) + 16;
    }
    case QN_EXPORT_ADD:
        return 2 * writes + 16;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        return writes * ((int64_t)pool->kernel[0] * pool->kernel[1] + (layer->kind == QN_EXPORT_AVERAGE ? 50 : 5)) + 16;
    default:
        return writes + 16;
    }
}

static const char *float_reason(const qn_export_layer *layer)
{
    switch (layer->kind) {
    case QN_EXPORT_CONV:
        return layer->u.conv.requantize.ratio != NULL && !layer->u.conv.decodes ? "requantized in float" : NULL;
    case QN_EXPORT_ADD:
        return layer->u.add.is_fixed ? NULL : "summed in float";
    case QN_EXPORT_AVERAGE:
        return layer->u.pool.is_fixed ? NULL : "averaged in float";
    default:
        return NULL;
    }
}

qn_status qn_verilog_need_fixed(const qn_export_network *network, qn_error *err)
{
    qn_node_list list = {0};
    const qn_integer_code *code = network->program->code;
    bool ratios = false, sums = false;
    for (int i = 0; i < network->n_layers; i++) {
        const qn_export_layer *layer = &network->layers[i];
        const char *reason = float_reason(layer);
        if (reason == NULL) {
            continue;
        }
        ratios = ratios || layer->kind == QN_EXPORT_CONV;
        sums = sums || layer->kind != QN_EXPORT_CONV;
        const qn_status status = qn_node_list_add(&list, code->steps[layer->step].node, reason, err);
        if (status != QN_OK) {
            qn_node_list_free(&list);
            return status;
        }
    }
    char lead[320];
    snprintf(lead, sizeof lead,
             "cannot be exported to verilog, whose cores know no floating point; the model's arithmetic is requantize "
             "%s, sums %s; quantize it with %s",
             qn_requantize_text(network->arithmetic.requantize), qn_sums_text(&network->arithmetic),
             sums && ratios
                 ? "quern quantize --requantize fixed --sums fixed (or shift, double-shift; or --profile tflite)"
             : sums ? "quern quantize --sums fixed"
                    : "quern quantize --requantize fixed (or shift, double-shift)");
    return qn_node_list_fail(&list, network->graph, QN_EUNSUPPORTED, lead, err);
}

/* A module needs something to do, and codes to do it with. */
static qn_status check_ends(const qn_export_network *n, qn_error *err)
{
    int n_out = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].tensor >= 0 && n->tensors[n->inputs[i].tensor].real) {
            return qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                           "cannot be exported to verilog: input '%s' has no quantizer; give it one",
                           n->inputs[i].name);
        }
    }
    for (int i = 0; i < n->n_outputs; i++) {
        n_out += n->outputs[i].tensor >= 0;
    }
    return n->n_layers > 0 && n_out > 0
               ? QN_OK
               : qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                         "cannot be exported to verilog: no layer computes an output; export mem instead");
}

static qn_status write_benches(qn_export_job *job, int64_t n, qn_error *err)
{
    const qn_export_network *network = job->network;
    qn_export_text text = {0};
    char path[96];
    for (int i = 0; i < network->n_layers; i++) {
        snprintf(path, sizeof path, "verilog/tb/tb_%s.v", network->layers[i].id);
        qn_verilog_print_layer_bench(&text, network, &network->layers[i], n);
        QN_TRY(qn_export_text_file(job, path, "self-checking test bench of a layer", &text, err));
    }
    qn_verilog_print_network_bench(&text, network, n);
    return qn_export_text_file(job, "verilog/tb/tb_network.v", "self-checking test bench of the network", &text, err);
}

qn_status qn_export_write_verilog(qn_export_job *job, qn_error *err)
{
    const qn_export_network *network = job->network;
    const int64_t n = qn_mem_vectors(job);
    QN_TRY(qn_export_need_integers(network, "verilog", err));
    QN_TRY(qn_export_need_other_kinds(network, "verilog", QN_EXPORT_ONLY_C, err));
    QN_TRY(qn_verilog_need_fixed(network, err));
    QN_TRY(check_ends(network, err));
    if ((job->options->targets >> QN_EXPORT_MEM & 1) == 0) {
        QN_TRY(qn_export_write_mem(job, err)); /* its list of images then is in this section */
    }
    for (size_t i = 0; i < sizeof fixed_texts / sizeof fixed_texts[0]; i++) {
        const struct fixed_text *t = &fixed_texts[i];
        if (!t->bench || n > 0) {
            QN_TRY(qn_export_file(job, t->path, t->what, t->begin, (size_t)(t->end - t->begin), err));
        }
    }
    qn_export_text text = {0};
    char path[96];
    for (int i = 0; i < network->n_layers; i++) {
        snprintf(path, sizeof path, "verilog/layers/%s.v", network->layers[i].id);
        qn_verilog_print_layer(&text, network, &network->layers[i]);
        QN_TRY(qn_export_text_file(job, path, "a layer: core and memories", &text, err));
    }
    qn_verilog_print_network(&text, network);
    QN_TRY(qn_export_text_file(job, "verilog/network.v", "the network: layers one after the other", &text, err));
    if (n == 0) {
        qn_export_printf(job->report, "verilog: no test benches, as there are no vectors: --vectors X.npy\n");
        return QN_OK;
    }
    return write_benches(job, n, err);
}
