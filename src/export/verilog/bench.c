/* Test benches: what a layer, and what every layer of the network writes, against the vectors. */
#include <inttypes.h>
#include <stdio.h>

#include "export/verilog/verilog.h"

static void print_begin(qn_export_text *text, const char *name, int64_t n_vectors)
{
    qn_export_printf(text,
                     "// Self-checking; ends by $finish after PASS, by $stop after FAIL (vvp -N then exits with 1).\n"
                     "// Run where ../mem is found: in verilog/.\n"
                     "module %s;\n"
                     "    reg clk, rst, start, finish, timed_out;\n"
                     "    reg [31:0] vector, clocks;\n"
                     "    wire done;\n"
                     "    localparam VECTORS = %" PRId64 ";\n",
                     name, n_vectors);
}

/* A comparison of what goes by on three wires. `maker`: the layer, or NULL. */
static void print_check(qn_export_text *text, const char *instance, const char *what, const qn_export_tensor *memory,
                        bool sums, const char *maker, int64_t writes, const char *we, const char *addr,
                        const char *data)
{
    char file[96];
    const char *sums_of = sums || memory->real ? maker : NULL;
    snprintf(file, sizeof file, sums_of != NULL ? "%s.sums" : "%s", sums_of != NULL ? sums_of : memory->id);
    qn_export_printf(text,
                     "    wire %s_failed;\n"
                     "    quern_check #(.NAME(\"%s\"), .BITS(%d), .IS_SIGNED(%d), .COUNT(%" PRId64 "), .WRITES(%" PRId64
                     "),\n"
                     "        .VECTORS(VECTORS), .ADDR_BITS(%d), .WIDTH(%d), .CHANNELS(%d), "
                     ".FILE(\"../mem/vectors/%s.mem\")) %s (\n"
                     "        .clk(clk), .vector(vector), .finish(finish), .we(%s), .addr(%s), .data(%s), "
                     ".failed(%s_failed));\n",
                     instance, what, sums_of != NULL ? 32 : memory->bits, sums_of != NULL || memory->is_signed,
                     memory->count, writes, qn_verilog_address(memory->count), memory->width, memory->channels, file,
                     instance, we, addr, data, instance);
}

static void print_run(qn_export_text *text, const char *indent, const char *name, int64_t limit)
{
    qn_export_printf(text,
                     "%sstart = 1'b1;\n"
                     "%s@(negedge clk);\n"
                     "%sstart = 1'b0;\n"
                     "%sclocks = 32'd1;\n"
                     "%swhile (!done && clocks < 32'd%" PRId64 ") begin\n"
                     "%s    @(negedge clk);\n"
                     "%s    clocks = clocks + 32'd1;\n"
                     "%send\n"
                     "%sif (!done) begin\n"
                     "%s    timed_out = 1'b1;\n"
                     "%s    $display(\"FAIL: %s, vector %%0d: not done after %%0d clocks\", vector, clocks);\n"
                     "%send\n",
                     indent, indent, indent, indent, indent, limit, indent, indent, indent, indent, indent, indent,
                     name, indent);
}

static void print_start(qn_export_text *text)
{
    qn_export_printf(text, "    initial begin\n"
                           "        {clk, start, finish, timed_out} = 4'd0;\n"
                           "        {vector, clocks} = 64'd0;\n"
                           "        rst = 1'b1;\n"
                           "        repeat (3) @(negedge clk);\n"
                           "        rst = 1'b0;\n"
                           "        @(negedge clk);\n");
}

static void print_end(qn_export_text *text, const char *name)
{
    qn_export_printf(text,
                     "        if (failed || timed_out) begin\n"
                     "            $display(\"FAIL: %s\");\n"
                     "            $stop;\n"
                     "        end else begin\n"
                     "            $display(\"PASS: %s, %%0d vectors, %%0d clocks each\", VECTORS, clocks);\n"
                     "            $finish;\n"
                     "        end\n"
                     "    end\n\n"
                     "    always #5 clk = !clk;\n"
                     "endmodule\n",
                     name, name);
}

/* An operand: a vector's codes, or a constant. */
static void print_operand(qn_export_text *text, const char *port, const qn_export_tensor *memory)
{
    const int bits = memory->bits, address = qn_verilog_address(memory->count);
    qn_export_printf(text, "    wire [%d:0] %s_addr;\n    wire [%d:0] %s_data;\n", address - 1, port, bits - 1, port);
    if (memory->constant != NULL) {
        qn_export_printf(text,
                         "    quern_rom #(.WIDTH(%d), .DEPTH(%" PRId64
                         "), .ADDR_BITS(%d), .FILE(\"../mem/%s.constant.mem\")) %s_memory (\n"
                         "        .clk(clk), .re(1'b1), .addr(%s_addr), .data(%s_data));\n",
                         bits, memory->count, address, memory->id, port, port, port);
    } else {
        qn_export_printf(text,
                         "    quern_vectors #(.BITS(%d), .COUNT(%" PRId64
                         "), .VECTORS(VECTORS), .ADDR_BITS(%d), .FILE(\"../mem/vectors/%s.mem\")) %s_memory (\n"
                         "        .clk(clk), .vector(vector), .addr(%s_addr), .data(%s_data));\n",
                         bits, memory->count, address, memory->id, port, port, port);
    }
}

void qn_verilog_print_layer_bench(qn_export_text *text, const qn_export_network *n, const qn_export_layer *layer,
                                  int64_t n_vectors)
{
    const qn_verilog_ports ports = qn_verilog_ports_of(layer);
    const qn_export_tensor *y = qn_verilog_memory(n, layer->output);
    const int64_t writes = qn_verilog_writes(n, layer);
    const char *x = ports.b ? "a" : "x";
    char name[64], what[160];
    snprintf(name, sizeof name, "tb_%s", layer->id);
    print_begin(text, name, n_vectors);
    print_operand(text, x, qn_verilog_memory(n, layer->input[0]));
    if (ports.b) {
        print_operand(text, "b", qn_verilog_memory(n, layer->input[1]));
    }
    qn_export_printf(text, "    wire y_we;\n    wire [%d:0] y_addr;\n    wire [%d:0] y_data;\n",
                     qn_verilog_address(y->count) - 1, qn_verilog_bits(y) - 1);
    if (ports.sum) {
        qn_export_printf(text, "    wire sum_valid;\n    wire [%d:0] sum_addr;\n    wire [31:0] sum;\n",
                         qn_verilog_address(y->count) - 1);
    }
    qn_export_printf(text, "    %s dut (\n        .clk(clk), .rst(rst), .start(start), .busy(), .done(done),\n",
                     layer->id);
    qn_export_printf(text, "        .%s_addr(%s_addr), .%s_data(%s_data),\n", x, x, x, x);
    if (ports.b) {
        qn_export_printf(text, "        .b_read(), .b_addr(b_addr), .b_data(b_data),\n");
    }
    if (ports.sum) {
        qn_export_printf(text, "        .sum_valid(sum_valid), .sum_addr(sum_addr), .sum(sum),\n");
    }
    qn_export_printf(text, "        .y_we(y_we), .y_addr(y_addr), .y_data(y_data));\n");
    snprintf(what, sizeof what, "layer %s, output", layer->id);
    print_check(text, "y_check", what, y, false, layer->id, writes, "y_we", "y_addr", "y_data");
    if (ports.sum) {
        snprintf(what, sizeof what, "layer %s, accumulator", layer->id);
        print_check(text, "sum_check", what, y, true, layer->id, writes, "sum_valid", "sum_addr", "sum");
    }
    qn_export_printf(text, "    wire failed = y_check_failed%s;\n\n", ports.sum ? " || sum_check_failed" : "");
    print_start(text);
    qn_export_printf(text, "        repeat (VECTORS) begin\n");
    print_run(text, "            ", name, qn_verilog_clocks(n, layer) + 64);
    qn_export_printf(text, "            finish = 1'b1;\n            @(negedge clk);\n            finish = 1'b0;\n"
                           "            vector = vector + 32'd1;\n        end\n");
    print_end(text, name);
}

/* Elements of tensor t's memory that layers write. */
static int64_t writes_of(const qn_export_network *n, int t)
{
    int64_t writes = 0;
    for (int i = 0; i < n->n_layers; i++) {
        writes += qn_export_base(n, n->layers[i].output) == t ? qn_verilog_writes(n, &n->layers[i]) : 0;
    }
    return writes > 0 ? writes : n->tensors[t].count; /* an input */
}

static void print_snoops(qn_export_text *text, const qn_export_network *n)
{
    char what[192], we[96], addr[96], data[96], instance[96];
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (!t->used || t->base >= 0 || t->constant != NULL) {
            continue;
        }
        const char *maker = t->maker >= 0 ? n->layers[t->maker].id : NULL;
        snprintf(what, sizeof what, "%s%s, %s", maker != NULL ? "layer " : "input", maker != NULL ? maker : "", t->id);
        snprintf(instance, sizeof instance, "check_%s", t->id);
        snprintf(we, sizeof we, "dut.%s_we", t->id);
        snprintf(addr, sizeof addr, "dut.%s_waddr", t->id);
        snprintf(data, sizeof data, "dut.%s_wdata", t->id);
        print_check(text, instance, what, t, false, maker, writes_of(n, i), we, addr, data);
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_layer *layer = &n->layers[i];
        if (layer->kind == QN_EXPORT_CONV) {
            snprintf(what, sizeof what, "layer %s, accumulator", layer->id);
            snprintf(instance, sizeof instance, "check_%s", layer->id);
            snprintf(we, sizeof we, "dut.%s_sum_valid", layer->id);
            snprintf(addr, sizeof addr, "dut.%s_sum_addr", layer->id);
            snprintf(data, sizeof data, "dut.%s_sum", layer->id);
            print_check(text, instance, what, qn_verilog_memory(n, layer->output), true, layer->id,
                        qn_verilog_writes(n, layer), we, addr, data);
        }
    }
}

static void print_failed(qn_export_text *text, const qn_export_network *n)
{
    qn_export_printf(text, "    wire failed = 1'b0");
    for (int i = 0; i < n->n_tensors; i++) {
        const qn_export_tensor *t = &n->tensors[i];
        if (t->used && t->base < 0 && t->constant == NULL) {
            qn_export_printf(text, "\n        || check_%s_failed", t->id);
        }
    }
    for (int i = 0; i < n->n_layers; i++) {
        if (n->layers[i].kind == QN_EXPORT_CONV) {
            qn_export_printf(text, "\n        || check_%s_failed", n->layers[i].id);
        }
    }
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i].tensor >= 0) {
            qn_export_printf(text, "\n        || check_%s_failed", n->outputs[i].id);
        }
    }
    qn_export_printf(text, ";\n");
}

/* Outputs read through the port, against the same vectors. */
static void print_output_checks(qn_export_text *text, const qn_export_network *n)
{
    char what[160], instance[96], we[96], data[32];
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i].tensor < 0) {
            continue;
        }
        const qn_export_tensor *t = qn_verilog_memory(n, n->outputs[i].tensor);
        char addr[32];
        snprintf(what, sizeof what, "output port, %s", n->outputs[i].id);
        snprintf(instance, sizeof instance, "check_%s", n->outputs[i].id);
        snprintf(we, sizeof we, n->n_outputs > 1 ? "out_read && out_sel == %d'd%d" : "out_read",
                 qn_verilog_address(n->n_outputs), i);
        snprintf(addr, sizeof addr, "out_addr[%d:0]", qn_verilog_address(t->count) - 1);
        snprintf(data, sizeof data, "out_data[%d:0]", qn_verilog_bits(t) - 1);
        print_check(text, instance, what, t, false, t->maker >= 0 ? n->layers[t->maker].id : NULL, t->count, we, addr,
                    data);
    }
}

static void print_ports(qn_export_text *text, const qn_export_network *n)
{
    int in_address, in_data, out_address, out_data;
    qn_verilog_port_bits(n, n->inputs, n->n_inputs, &in_address, &in_data);
    qn_verilog_port_bits(n, n->outputs, n->n_outputs, &out_address, &out_data);
    qn_export_printf(text,
                     "    reg in_we, out_read;\n    reg [%d:0] in_addr;\n    reg [%d:0] in_data;\n"
                     "    reg [%d:0] out_addr;\n    wire [%d:0] out_data;\n    wire busy;\n",
                     in_address - 1, in_data - 1, out_address - 1, out_data - 1);
    if (n->n_inputs > 1) {
        qn_export_printf(text, "    reg [%d:0] in_sel;\n", qn_verilog_address(n->n_inputs) - 1);
    }
    if (n->n_outputs > 1) {
        qn_export_printf(text, "    reg [%d:0] out_sel;\n", qn_verilog_address(n->n_outputs) - 1);
    }
    qn_export_printf(text,
                     "    network dut (\n"
                     "        .clk(clk), .rst(rst), .start(start), .busy(busy), .done(done),\n"
                     "        .in_we(in_we),%s .in_addr(in_addr), .in_data(in_data),\n"
                     "       %s .out_addr(out_addr), .out_data(out_data));\n",
                     n->n_inputs > 1 ? " .in_sel(in_sel)," : "", n->n_outputs > 1 ? " .out_sel(out_sel)," : "");
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].tensor >= 0) {
            const qn_export_tensor *t = qn_verilog_memory(n, n->inputs[i].tensor);
            qn_export_printf(text,
                             "    reg [%d:0] %s[0:VECTORS*%" PRId64 "-1];\n"
                             "    initial $readmemh(\"../mem/vectors/%s.mem\", %s);\n",
                             t->bits - 1, n->inputs[i].id, t->count, t->id, n->inputs[i].id);
        }
    }
}

/* for (i = 0; i < COUNT; i = i + 1) { lines } */
static void print_loop(qn_export_text *text, int64_t count, const char *lines)
{
    qn_export_printf(text,
                     "            i = 32'd0;\n"
                     "            while (i < 32'd%" PRId64 ") begin\n%s"
                     "                i = i + 32'd1;\n"
                     "            end\n",
                     count, lines);
}

static void print_load(qn_export_text *text, const qn_export_network *n, int in_address, int in_data)
{
    char lines[512];
    for (int i = 0; i < n->n_inputs; i++) {
        const qn_export_io *io = &n->inputs[i];
        if (io->tensor < 0) {
            continue;
        }
        const qn_export_tensor *t = qn_verilog_memory(n, io->tensor);
        char wide[96] = "";
        if (t->bits < in_data) {
            snprintf(wide, sizeof wide, "%d'd0, ", in_data - t->bits);
        }
        if (n->n_inputs > 1) {
            qn_export_printf(text, "            in_sel = %d'd%d;\n", qn_verilog_address(n->n_inputs), i);
        }
        snprintf(lines, sizeof lines,
                 "                in_we = 1'b1;\n"
                 "                in_addr = i[%d:0];\n"
                 "                in_data = {%s%s[vector*%" PRId64 "+i]};\n"
                 "                @(negedge clk);\n",
                 in_address - 1, wide, io->id, t->count);
        print_loop(text, t->count, lines);
    }
    qn_export_printf(text, "            in_we = 1'b0;\n");
}

static void print_unload(qn_export_text *text, const qn_export_network *n, int out_address)
{
    char lines[512];
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i].tensor < 0) {
            continue;
        }
        if (n->n_outputs > 1) {
            qn_export_printf(text, "            out_sel = %d'd%d;\n", qn_verilog_address(n->n_outputs), i);
        }
        snprintf(lines, sizeof lines,
                 "                out_addr = i[%d:0];\n"
                 "                @(negedge clk);\n"
                 "                out_read = 1'b1;\n"
                 "                @(negedge clk);\n"
                 "                out_read = 1'b0;\n",
                 out_address - 1);
        print_loop(text, qn_verilog_memory(n, n->outputs[i].tensor)->count, lines);
    }
}

void qn_verilog_print_network_bench(qn_export_text *text, const qn_export_network *n, int64_t n_vectors)
{
    int in_address, in_data, out_address, out_data;
    int64_t clocks = 64;
    qn_verilog_port_bits(n, n->inputs, n->n_inputs, &in_address, &in_data);
    qn_verilog_port_bits(n, n->outputs, n->n_outputs, &out_address, &out_data);
    for (int i = 0; i < n->n_layers; i++) {
        clocks += qn_verilog_clocks(n, &n->layers[i]) + 2;
    }
    print_begin(text, "tb_network", n_vectors);
    qn_export_printf(text, "    reg [31:0] i;\n");
    print_ports(text, n);
    print_snoops(text, n);
    print_output_checks(text, n);
    print_failed(text, n);
    qn_export_printf(text, "\n");
    print_start(text);
    qn_export_printf(text, "        {in_we, out_read} = 2'd0;\n        repeat (VECTORS) begin\n");
    print_load(text, n, in_address, in_data);
    print_run(text, "            ", "tb_network", clocks);
    print_unload(text, n, out_address);
    qn_export_printf(text, "            finish = 1'b1;\n            @(negedge clk);\n            finish = 1'b0;\n"
                           "            vector = vector + 32'd1;\n        end\n");
    print_end(text, "tb_network");
}
