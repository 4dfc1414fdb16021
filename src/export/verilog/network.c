/* network.v: the memories of tensors, the layers, and who of them runs. */
#include <inttypes.h>
#include <stdio.h>

#include "export/verilog/verilog.h"

/* Tensors with a memory that is written. */
static bool is_ram(const qn_export_tensor *t)
{
    return t->used && t->base < 0 && t->constant == NULL;
}
static bool is_rom(const qn_export_tensor *t)
{
    return t->used && t->base < 0 && t->constant != NULL;
}

void qn_verilog_port_bits(const qn_export_network *n, const qn_export_io *ios, int count, int *address, int *data)
{
    *address = *data = 1;
    for (int i = 0; i < count; i++) {
        if (ios[i].tensor >= 0) {
            const qn_export_tensor *t = qn_verilog_memory(n, ios[i].tensor);
            const int a = qn_verilog_address(t->count), d = qn_verilog_bits(t);
            *address = a > *address ? a : *address;
            *data = d > *data ? d : *data;
        }
    }
}

static void print_ios(qn_export_text *text, const qn_export_network *n, const qn_export_io *ios, int count,
                      const char *what)
{
    char name[QN_MEM_NAME_MAX], scale[QN_EXPORT_FLOAT_MAX];
    for (int i = 0; i < count; i++) {
        qn_export_printf(text, "//   %s %d '%s': ", what, i, qn_mem_name(name, ios[i].name));
        if (ios[i].tensor < 0) {
            qn_export_printf(text, "a constant or unused, not here\n");
            continue;
        }
        const qn_export_tensor *t = qn_verilog_memory(n, ios[i].tensor);
        qn_export_printf(text, "%s, %d x %d x %d (y, x, channel), ", t->id, t->height, t->width, t->channels);
        if (t->real) {
            qn_export_printf(text, "sums of 32 bits: see %s\n", n->layers[t->maker].id);
        } else {
            qn_export_printf(text, "%sint%d, x = (code - %" PRId32 ") * %s\n", t->is_signed ? "" : "u", t->bits,
                             t->zero_point, qn_export_float(scale, t->scale));
        }
    }
}

static void print_head(qn_export_text *text, const qn_export_network *n)
{
    int64_t clocks = 0;
    for (int i = 0; i < n->n_layers; i++) {
        clocks += qn_verilog_clocks(n, &n->layers[i]) + 2;
    }
    qn_export_printf(
        text,
        "// The whole network: its layers run one after the other, each from memory to memory; a memory a "
        "tensor.\n"
        "//\n"
        "// While `busy` is low: write the input's codes (in_we, in_addr, in_data: on the rising edge), pulse "
        "`start`,\n"
        "// wait for the pulse of `done`, read the output (out_data shows the word of out_addr after the next "
        "rising edge).\n"
        "// Inputs are kept. A run takes at most %" PRId64 " clocks. rst is synchronous; memories keep "
        "their words.\n",
        clocks);
    print_ios(text, n, n->inputs, n->n_inputs, "input");
    print_ios(text, n, n->outputs, n->n_outputs, "output");
    qn_export_printf(text,
                     "/* verilator lint_off UNUSEDSIGNAL */ // sums are for test benches; ports are as wide as the "
                     "widest memory\n");
}

static void print_ports(qn_export_text *text, const qn_export_network *n)
{
    int in_address, in_data, out_address, out_data;
    qn_verilog_port_bits(n, n->inputs, n->n_inputs, &in_address, &in_data);
    qn_verilog_port_bits(n, n->outputs, n->n_outputs, &out_address, &out_data);
    qn_export_printf(text, "module network (\n    input wire clk,\n    input wire rst,\n    input wire start,\n"
                           "    output wire busy,\n    output reg done,\n    input wire in_we,\n");
    if (n->n_inputs > 1) {
        qn_export_printf(text, "    input wire [%d:0] in_sel,\n", qn_verilog_address(n->n_inputs) - 1);
    }
    qn_export_printf(text, "    input wire [%d:0] in_addr,\n    input wire [%d:0] in_data,\n", in_address - 1,
                     in_data - 1);
    if (n->n_outputs > 1) {
        qn_export_printf(text, "    input wire [%d:0] out_sel,\n", qn_verilog_address(n->n_outputs) - 1);
    }
    qn_export_printf(text, "    input wire [%d:0] out_addr,\n    output wire [%d:0] out_data\n);\n", out_address - 1,
                     out_data - 1);
}

static void print_control(qn_export_text *text, const qn_export_network *n)
{
    const int bits = qn_verilog_address(n->n_layers);
    qn_export_printf(text,
                     "    reg running, go;\n"
                     "    reg [%d:0] layer; // the one that runs\n"
                     "    wire [%d:0] layer_done;\n"
                     "    assign busy = running;\n\n"
                     "    always @(posedge clk) begin\n"
                     "        go <= 1'b0;\n"
                     "        done <= 1'b0;\n"
                     "        if (!running) begin\n"
                     "            if (start) begin\n"
                     "                running <= 1'b1;\n"
                     "                go <= 1'b1;\n"
                     "                layer <= %d'd0;\n"
                     "            end\n"
                     "        end else if (layer_done[layer]) begin\n"
                     "            if (layer == %d'd%d) begin\n"
                     "                running <= 1'b0;\n"
                     "                done <= 1'b1;\n"
                     "            end else begin\n"
                     "                layer <= layer + %d'd1;\n"
                     "                go <= 1'b1;\n"
                     "            end\n"
                     "        end\n"
                     "        if (rst) begin\n"
                     "            running <= 1'b0;\n"
                     "            go <= 1'b0;\n"
                     "            layer <= %d'd0;\n"
                     "        end\n"
                     "    end\n",
                     bits - 1, n->n_layers - 1, bits, bits, n->n_layers - 1, bits, bits);
}

static void print_layer_wires(qn_export_text *text, const qn_export_network *n, const qn_export_layer *layer)
{
    const qn_verilog_ports ports = qn_verilog_ports_of(layer);
    const char *id = layer->id, *x = ports.b ? "a" : "x";
    const int y = qn_verilog_address(n->tensors[layer->output].count) - 1;
    qn_export_printf(text, "    wire %s_busy;\n", id);
    qn_export_printf(text, "    wire %s_y_we;\n    wire [%d:0] %s_y_addr;\n    wire [%d:0] %s_y_data;\n", id, y, id,
                     qn_verilog_bits(&n->tensors[layer->output]) - 1, id);
    qn_export_printf(text, "    wire [%d:0] %s_%s_addr;\n", qn_verilog_address(n->tensors[layer->input[0]].count) - 1,
                     id, x);
    if (ports.b) {
        qn_export_printf(text, "    wire %s_b_read;\n    wire [%d:0] %s_b_addr;\n", id,
                         qn_verilog_address(n->tensors[layer->input[1]].count) - 1, id);
    }
    if (ports.sum) {
        qn_export_printf(text, "    wire %s_sum_valid;\n    wire [%d:0] %s_sum_addr;\n    wire [31:0] %s_sum;\n", id, y,
                         id, id);
    }
}

static void print_layer(qn_export_text *text, const qn_export_network *n, int index)
{
    const qn_export_layer *layer = &n->layers[index];
    const qn_verilog_ports ports = qn_verilog_ports_of(layer);
    const char *id = layer->id, *x = ports.b ? "a" : "x";
    qn_export_printf(
        text,
        "    %s %s (\n"
        "        .clk(clk), .rst(rst), .start(go && layer == %d'd%d), .busy(%s_busy), .done(layer_done[%d]),\n"
        "        .%s_addr(%s_%s_addr), .%s_data(%s_rdata),\n",
        id, id, qn_verilog_address(n->n_layers), index, id, index, x, id, x, x,
        qn_verilog_memory(n, layer->input[0])->id);
    if (ports.b) {
        qn_export_printf(text, "        .b_read(%s_b_read), .b_addr(%s_b_addr), .b_data(%s_rdata),\n", id, id,
                         qn_verilog_memory(n, layer->input[1])->id);
    }
    if (ports.sum) {
        qn_export_printf(text, "        .sum_valid(%s_sum_valid), .sum_addr(%s_sum_addr), .sum(%s_sum),\n", id, id, id);
    }
    qn_export_printf(text, "        .y_we(%s_y_we), .y_addr(%s_y_addr), .y_data(%s_y_data));\n", id, id, id);
}

/* What writes the memory of tensor t: layers, each with its own enable, and the port of an input. */
static void print_write(qn_export_text *text, const qn_export_network *n, int t)
{
    const qn_export_tensor *tensor = &n->tensors[t];
    const int address = qn_verilog_address(tensor->count), bits = qn_verilog_bits(tensor);
    int input = -1, n_makers = 0, last = -1;
    for (int i = 0; i < n->n_inputs; i++) {
        input = n->inputs[i].tensor >= 0 && qn_export_base(n, n->inputs[i].tensor) == t ? i : input;
    }
    for (int i = 0; i < n->n_layers; i++) {
        if (qn_export_base(n, n->layers[i].output) == t) {
            last = i;
            n_makers++;
        }
    }
    if (input >= 0) {
        qn_export_printf(text, "    wire %s_we = in_we && !running", tensor->id);
        if (n->n_inputs > 1) {
            qn_export_printf(text, " && in_sel == %d'd%d", qn_verilog_address(n->n_inputs), input);
        }
        qn_export_printf(text,
                         ";\n    wire [%d:0] %s_waddr = in_addr[%d:0];\n    wire [%d:0] %s_wdata = in_data[%d:0];\n",
                         address - 1, tensor->id, address - 1, bits - 1, tensor->id, bits - 1);
        return;
    }
    qn_export_printf(text, "    wire %s_we = ", tensor->id);
    for (int i = 0; i < n->n_layers; i++) {
        if (qn_export_base(n, n->layers[i].output) == t) {
            qn_export_printf(text, "%s_y_we%s", n->layers[i].id, i == last ? ";\n" : " || ");
        }
    }
    for (int part = 0; part < 2; part++) {
        qn_export_printf(text, "    wire [%d:0] %s_%s = ", part == 0 ? address - 1 : bits - 1, tensor->id,
                         part == 0 ? "waddr" : "wdata");
        for (int i = 0; i < n->n_layers; i++) {
            const char *id = n->layers[i].id;
            if (qn_export_base(n, n->layers[i].output) != t) {
                continue;
            }
            if (i != last) {
                qn_export_printf(text, "%s_y_we ? ", id);
            }
            qn_export_printf(text, "%s_y_%s%s", id, part == 0 ? "addr" : "data", i == last ? ";\n" : " : ");
        }
    }
}

static bool is_output(const qn_export_network *n, int t)
{
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i].tensor >= 0 && qn_export_base(n, n->outputs[i].tensor) == t) {
            return true;
        }
    }
    return false;
}

/* What reads it: the layer that runs, or the output port. */
static void print_read(qn_export_text *text, const qn_export_network *n, int t)
{
    const qn_export_tensor *tensor = &n->tensors[t];
    const int bits = qn_verilog_address(n->n_layers);
    qn_export_printf(text, "    wire [%d:0] %s_rdata;\n    wire [%d:0] %s_raddr = ", qn_verilog_bits(tensor) - 1,
                     tensor->id, qn_verilog_address(tensor->count) - 1, tensor->id);
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        const bool is_add = layer->kind == QN_EXPORT_ADD;
        const bool a = qn_export_base(n, layer->input[0]) == t, b = is_add && qn_export_base(n, layer->input[1]) == t;
        if (a || b) {
            qn_export_printf(text, "running && layer == %d'd%d ? ", bits, i);
        }
        if (a && b) {
            qn_export_printf(text, "(%s_b_read ? %s_b_addr : %s_a_addr) : ", layer->id, layer->id, layer->id);
        } else if (a || b) {
            qn_export_printf(text, "%s_%s_addr : ", layer->id, b ? "b" : is_add ? "a" : "x");
        }
    }
    if (is_output(n, t)) {
        qn_export_printf(text, "out_addr[%d:0];\n", qn_verilog_address(tensor->count) - 1);
    } else {
        qn_export_printf(text, "%d'd0;\n", qn_verilog_address(tensor->count));
    }
}

/* When it is read. */
static void print_read_enable(qn_export_text *text, const qn_export_network *n, int t)
{
    qn_export_printf(text, "    wire %s_re = ", n->tensors[t].id);
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (qn_export_base(n, layer->input[0]) == t ||
            (layer->kind == QN_EXPORT_ADD && qn_export_base(n, layer->input[1]) == t)) {
            qn_export_printf(text, "%s_busy || ", layer->id);
        }
    }
    qn_export_printf(text, "%s;\n", is_output(n, t) ? "!running" : "1'b0");
}

static void print_memory(qn_export_text *text, const qn_export_network *n, int t)
{
    const qn_export_tensor *tensor = &n->tensors[t];
    char name[QN_MEM_NAME_MAX];
    const int address = qn_verilog_address(tensor->count), bits = qn_verilog_bits(tensor);
    if (!is_ram(tensor) && !is_rom(tensor)) {
        return;
    }
    qn_export_printf(text, "\n    // '%s'\n", qn_mem_name(name, tensor->name));
    print_read(text, n, t);
    print_read_enable(text, n, t);
    if (is_rom(tensor)) {
        qn_export_printf(text,
                         "    quern_rom #(.WIDTH(%d), .DEPTH(%" PRId64
                         "), .ADDR_BITS(%d), .FILE(\"../mem/%s.constant.mem\")) %s (\n"
                         "        .clk(clk), .re(%s_re), .addr(%s_raddr), .data(%s_rdata));\n",
                         bits, tensor->count, address, tensor->id, tensor->id, tensor->id, tensor->id, tensor->id);
        return;
    }
    print_write(text, n, t);
    qn_export_printf(text,
                     "    quern_ram #(.WIDTH(%d), .DEPTH(%" PRId64 "), .ADDR_BITS(%d)) %s (\n"
                     "        .clk(clk), .we(%s_we), .waddr(%s_waddr), .wdata(%s_wdata),\n"
                     "        .re(%s_re), .raddr(%s_raddr), .rdata(%s_rdata));\n",
                     bits, tensor->count, address, tensor->id, tensor->id, tensor->id, tensor->id, tensor->id,
                     tensor->id, tensor->id);
}

/* One value of several outputs; narrow ones have zeros on top. */
static void print_outputs(qn_export_text *text, const qn_export_network *n)
{
    int address, data;
    qn_verilog_port_bits(n, n->outputs, n->n_outputs, &address, &data);
    qn_export_printf(text, "\n    assign out_data = ");
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i].tensor < 0) {
            continue;
        }
        const qn_export_tensor *t = qn_verilog_memory(n, n->outputs[i].tensor);
        const int bits = qn_verilog_bits(t);
        if (n->n_outputs > 1) {
            qn_export_printf(text, "out_sel == %d'd%d ? ", qn_verilog_address(n->n_outputs), i);
        }
        if (bits < data) {
            qn_export_printf(text, "{%d'd0, %s_rdata}", data - bits, t->id);
        } else {
            qn_export_printf(text, "%s_rdata", t->id);
        }
        qn_export_printf(text, n->n_outputs > 1 ? " : " : "");
    }
    if (n->n_outputs > 1) {
        qn_export_printf(text, "%d'd0", data);
    }
    qn_export_printf(text, ";\nendmodule\n");
}

void qn_verilog_print_network(qn_export_text *text, const qn_export_network *n)
{
    print_head(text, n);
    print_ports(text, n);
    print_control(text, n);
    qn_export_printf(text, "\n");
    for (int i = 0; i < n->n_layers; i++) {
        print_layer_wires(text, n, &n->layers[i]);
    }
    for (int i = 0; i < n->n_tensors; i++) {
        print_memory(text, n, i);
    }
    qn_export_printf(text, "\n");
    for (int i = 0; i < n->n_layers; i++) {
        print_layer(text, n, i);
    }
    print_outputs(text, n);
}
