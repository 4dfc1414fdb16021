/* The module of a layer: a core of rtl/, its parameters, its constants in ROMs. */
#include <inttypes.h>
#include <stdio.h>

#include "export/verilog/verilog.h"

typedef struct printer {
    qn_export_text *text;
    const qn_export_network *network;
    const qn_export_layer *layer;
    const qn_export_tensor *x, *b, *y; /* as the layer sees them; b may be NULL */
    bool first;                        /* of a list that commas divide */
} printer;

/* The number quern_scale has for it. */
static int rounding_number(qn_ratio_rounding how)
{
    return how.twice                               ? 4
           : how.rounding == QN_ROUND_FLOOR        ? 0
           : how.rounding == QN_ROUND_NEAREST_UP   ? 1
           : how.rounding == QN_ROUND_NEAREST_AWAY ? 2
                                                   : 3;
}

static int accumulator_bits(const qn_export_conv *conv)
{
    const int bits = conv->proven_bits < conv->accumulator_bits ? conv->proven_bits : conv->accumulator_bits;
    return bits > 2 ? bits : 2; /* 1 holds the sums of weights that are all 0 */
}

static void print_port(printer *p, const char *direction, int bits, const char *name)
{
    char range[16] = "";
    if (bits > 0) {
        snprintf(range, sizeof range, "[%d:0] ", bits - 1);
    }
    qn_export_printf(p->text, "%s    %s wire %s%s", p->first ? "" : ",\n", direction, range, name);
    p->first = false;
}

static void print_ports(printer *p)
{
    const qn_verilog_ports ports = qn_verilog_ports_of(p->layer);
    const char *x = ports.b ? "a" : "x";
    char port[16];
    p->first = true;
    qn_export_printf(p->text, "module %s (\n", p->layer->id);
    print_port(p, "input", 0, "clk");
    print_port(p, "input", 0, "rst");
    print_port(p, "input", 0, "start");
    print_port(p, "output", 0, "busy");
    print_port(p, "output", 0, "done");
    snprintf(port, sizeof port, "%s_addr", x);
    print_port(p, "output", qn_verilog_address(p->x->count), port);
    snprintf(port, sizeof port, "%s_data", x);
    print_port(p, "input", qn_verilog_bits(p->x), port);
    if (ports.b) {
        print_port(p, "output", 0, "b_read");
        print_port(p, "output", qn_verilog_address(p->b->count), "b_addr");
        print_port(p, "input", qn_verilog_bits(p->b), "b_data");
    }
    print_port(p, "output", 0, "y_we");
    print_port(p, "output", qn_verilog_address(p->y->count), "y_addr");
    print_port(p, "output", qn_verilog_bits(p->y), "y_data");
    if (ports.sum) {
        print_port(p, "output", 0, "sum_valid");
        print_port(p, "output", qn_verilog_address(p->y->count), "sum_addr");
        print_port(p, "output", 32, "sum");
    }
    qn_export_printf(p->text, "\n);\n");
}

static void parameter(printer *p, const char *name, int64_t value)
{
    qn_export_printf(p->text, "%s        .%s(%" PRId64 ")", p->first ? "" : ",\n", name, value);
    p->first = false;
}

static void pair(printer *p, const char *name, const int value[2])
{
    char text[32];
    snprintf(text, sizeof text, "%s_H", name);
    parameter(p, text, value[0]);
    snprintf(text, sizeof text, "%s_W", name);
    parameter(p, text, value[1]);
}

static void ratio(printer *p, const char *prefix, qn_ratio r)
{
    char text[32];
    snprintf(text, sizeof text, "%sMULTIPLIER", prefix);
    parameter(p, text, r.multiplier);
    snprintf(text, sizeof text, "%sSHIFT", prefix);
    parameter(p, text, r.shift);
}

static void wire(printer *p, const char *port, const char *to)
{
    qn_export_printf(p->text, "%s        .%s(%s)", p->first ? "" : ",\n", port, to);
    p->first = false;
}

static void begin_core(printer *p, const char *core)
{
    qn_export_printf(p->text, "    %s #(\n", core);
    p->first = true;
}

/* The ports that all cores have. */
static void begin_wires(printer *p)
{
    static const char *const same[] = {"clk", "rst", "start", "busy", "done", "y_we", "y_addr", "y_data"};
    qn_export_printf(p->text, "\n    ) core (\n");
    p->first = true;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        wire(p, same[i], same[i]);
    }
}

static void end_core(printer *p)
{
    qn_export_printf(p->text, "\n    );\nendmodule\n");
}

/* A ROM of an image: wires NAME_data, addressed by `addr`. */
static void rom(printer *p, const char *name, const char *part, int bits, int64_t depth, const char *addr)
{
    qn_export_printf(p->text,
                     "    wire [%d:0] %s_data;\n"
                     "    quern_rom #(.WIDTH(%d), .DEPTH(%" PRId64
                     "), .ADDR_BITS(%d), .FILE(\"../mem/%s.%s.mem\")) %s (\n"
                     "        .clk(clk), .re(busy), .addr(%s), .data(%s_data));\n",
                     bits - 1, name, bits, depth, qn_verilog_address(depth), p->layer->id, part, name, addr, name);
}

static void print_conv_roms(printer *p, int lanes, int64_t n_words)
{
    const qn_export_conv *conv = &p->layer->u.conv;
    const int64_t k = conv->outputs;
    char part[24];
    snprintf(part, sizeof part, lanes > 1 ? "weights_x%d" : "weights", lanes);
    qn_export_printf(p->text, "    wire [%d:0] w_addr;\n    wire [%d:0] k_addr;\n", qn_verilog_address(n_words) - 1,
                     qn_verilog_address(k) - 1);
    rom(p, "weights", part, conv->weight_bits * lanes, n_words, "w_addr");
    rom(p, "bias", "bias", 32, k, "k_addr");
    if (qn_export_conv_uneven(conv)) {
        rom(p, "zero_w", "zero_w", conv->weight_bits, k, "k_addr");
    }
    if (!conv->decodes) {
        rom(p, "multiplier", "multiplier", 32, k, "k_addr");
        rom(p, "shift", "shift", 8, k, "k_addr");
    }
}

static void print_conv(printer *p)
{
    const qn_export_conv *conv = &p->layer->u.conv;
    const int lanes = qn_export_conv_lanes(conv);
    const int64_t terms = (int64_t)conv->kernel[0] * conv->kernel[1] * conv->group_inputs;
    const int64_t n_words = conv->groups * (int64_t)((conv->group_outputs + lanes - 1) / lanes) * terms;
    char zero_w[32];
    snprintf(zero_w, sizeof zero_w, "%d'd0", conv->weight_bits);
    print_conv_roms(p, lanes, n_words);
    begin_core(p, "quern_conv");
    parameter(p, "X_BITS", p->x->bits);
    parameter(p, "X_SIGNED", p->x->is_signed);
    parameter(p, "X_ZERO", p->x->zero_point);
    parameter(p, "W_BITS", conv->weight_bits);
    parameter(p, "W_SIGNED", conv->weight_signed);
    parameter(p, "Y_BITS", qn_verilog_bits(p->y));
    if (conv->decodes) {
        parameter(p, "RAW", 1);
    } else {
        parameter(p, "Y_ZERO", p->y->zero_point);
        parameter(p, "LO", p->y->lo);
        parameter(p, "HI", p->y->hi);
        parameter(p, "ROUNDING", rounding_number(conv->requantize.how));
    }
    parameter(p, "IN_H", p->x->height);
    parameter(p, "IN_W", p->x->width);
    parameter(p, "IN_C", p->x->channels);
    parameter(p, "OUT_H", p->y->height);
    parameter(p, "OUT_W", p->y->width);
    parameter(p, "OUT_C", p->y->channels);
    pair(p, "KERNEL", conv->kernel);
    pair(p, "STRIDE", conv->stride);
    pair(p, "DILATION", conv->dilation);
    pair(p, "PAD", conv->pad);
    parameter(p, "GROUPS", conv->groups);
    parameter(p, "GROUP_INPUTS", conv->group_inputs);
    parameter(p, "GROUP_OUTPUTS", conv->group_outputs);
    parameter(p, "BY_MATRIX", conv->by_matrix);
    parameter(p, "ACC_BITS", accumulator_bits(conv));
    parameter(p, "SATURATE", conv->saturate);
    parameter(p, "LANES", lanes);
    parameter(p, "X_ADDR_BITS", qn_verilog_address(p->x->count));
    parameter(p, "W_ADDR_BITS", qn_verilog_address(n_words));
    parameter(p, "Y_ADDR_BITS", qn_verilog_address(p->y->count));
    parameter(p, "K_ADDR_BITS", qn_verilog_address(conv->outputs));
    begin_wires(p);
    wire(p, "x_addr", "x_addr");
    wire(p, "x_data", "x_data");
    wire(p, "w_addr", "w_addr");
    wire(p, "w_data", "weights_data");
    wire(p, "k_addr", "k_addr");
    wire(p, "bias_data", "bias_data");
    wire(p, "zero_w_data", qn_export_conv_uneven(conv) ? "zero_w_data" : zero_w);
    wire(p, "multiplier_data", conv->decodes ? "32'd0" : "multiplier_data");
    wire(p, "shift_data", conv->decodes ? "8'd0" : "shift_data");
    wire(p, "sum_valid", "sum_valid");
    wire(p, "sum_addr", "sum_addr");
    wire(p, "sum", "sum");
    end_core(p);
}

static void print_add(printer *p)
{
    const qn_export_add *add = &p->layer->u.add;
    begin_core(p, "quern_add");
    parameter(p, "A_BITS", p->x->bits);
    parameter(p, "A_SIGNED", p->x->is_signed);
    parameter(p, "A_ZERO", p->x->zero_point);
    parameter(p, "A_H", add->broadcast[0][0] ? 1 : p->x->height);
    parameter(p, "A_W", add->broadcast[0][1] ? 1 : p->x->width);
    ratio(p, "A_", add->fixed[0]);
    parameter(p, "B_BITS", p->b->bits);
    parameter(p, "B_SIGNED", p->b->is_signed);
    parameter(p, "B_ZERO", p->b->zero_point);
    parameter(p, "B_H", add->broadcast[1][0] ? 1 : p->b->height);
    parameter(p, "B_W", add->broadcast[1][1] ? 1 : p->b->width);
    ratio(p, "B_", add->fixed[1]);
    parameter(p, "LEFT", add->left);
    parameter(p, "H", p->y->height);
    parameter(p, "W", p->y->width);
    parameter(p, "C", p->y->channels);
    parameter(p, "Y_BITS", p->y->bits);
    parameter(p, "Y_ZERO", p->y->zero_point);
    ratio(p, "Y_", add->fixed[2]);
    parameter(p, "LO", p->y->lo);
    parameter(p, "HI", p->y->hi);
    parameter(p, "ROUNDING", rounding_number(add->how));
    parameter(p, "A_ADDR_BITS", qn_verilog_address(p->x->count));
    parameter(p, "B_ADDR_BITS", qn_verilog_address(p->b->count));
    parameter(p, "Y_ADDR_BITS", qn_verilog_address(p->y->count));
    begin_wires(p);
    wire(p, "a_addr", "a_addr");
    wire(p, "a_data", "a_data");
    wire(p, "b_read", "b_read");
    wire(p, "b_addr", "b_addr");
    wire(p, "b_data", "b_data");
    end_core(p);
}

static void print_pool(printer *p)
{
    const qn_export_pool *pool = &p->layer->u.pool;
    begin_core(p, "quern_pool");
    parameter(p, "X_BITS", p->x->bits);
    parameter(p, "X_SIGNED", p->x->is_signed);
    if (p->layer->kind == QN_EXPORT_AVERAGE) {
        parameter(p, "AVERAGE", 1);
        parameter(p, "CENTRE", pool->centre);
        parameter(p, "RESCALES", pool->rescales);
        if (pool->rescales) {
            ratio(p, "", pool->ratio);
            parameter(p, "ROUNDING", rounding_number(pool->how));
        }
        parameter(p, "DIVISOR", pool->divisor);
        parameter(p, "OFFSET", pool->offset);
    }
    parameter(p, "Y_BITS", p->y->bits);
    parameter(p, "LO", p->y->lo);
    parameter(p, "HI", p->y->hi);
    parameter(p, "IN_H", p->x->height);
    parameter(p, "IN_W", p->x->width);
    parameter(p, "C", p->x->channels);
    parameter(p, "OUT_H", p->y->height);
    parameter(p, "OUT_W", p->y->width);
    pair(p, "KERNEL", pool->kernel);
    pair(p, "STRIDE", pool->stride);
    pair(p, "DILATION", pool->dilation);
    pair(p, "PAD", pool->pad);
    parameter(p, "X_ADDR_BITS", qn_verilog_address(p->x->count));
    parameter(p, "Y_ADDR_BITS", qn_verilog_address(p->y->count));
    begin_wires(p);
    wire(p, "x_addr", "x_addr");
    wire(p, "x_data", "x_data");
    end_core(p);
}

static void print_lookup(printer *p)
{
    const qn_export_lookup *lookup = &p->layer->u.lookup;
    char nothing[32];
    snprintf(nothing, sizeof nothing, "%d'd0", p->y->bits);
    qn_export_printf(p->text, "    wire [%d:0] t_addr;%s\n", p->x->bits - 1,
                     lookup->table == NULL ? " // a copy: there is no table" : "");
    if (lookup->table != NULL) {
        rom(p, "codes", "table", p->y->bits, lookup->n_table, "t_addr");
    }
    begin_core(p, "quern_lookup");
    parameter(p, "TABLE", lookup->table != NULL);
    parameter(p, "X_BITS", p->x->bits);
    parameter(p, "X_SIGNED", p->x->is_signed);
    parameter(p, "Y_BITS", p->y->bits);
    parameter(p, "H", p->x->height);
    parameter(p, "W", p->x->width);
    parameter(p, "C", p->x->channels);
    parameter(p, "OUT_W", p->y->width);
    parameter(p, "OUT_C", p->y->channels);
    parameter(p, "AT_Y", lookup->y);
    parameter(p, "AT_X", lookup->x);
    parameter(p, "AT_C", lookup->k);
    parameter(p, "X_ADDR_BITS", qn_verilog_address(p->x->count));
    parameter(p, "Y_ADDR_BITS", qn_verilog_address(p->y->count));
    begin_wires(p);
    wire(p, "x_addr", "x_addr");
    wire(p, "x_data", "x_data");
    wire(p, "t_addr", "t_addr");
    wire(p, "t_data", lookup->table != NULL ? "codes_data" : nothing);
    end_core(p);
}

static void print_gather(printer *p)
{
    qn_export_printf(p->text, "    wire [%d:0] i_addr;\n", qn_verilog_address(p->y->count) - 1);
    rom(p, "index", "index", 32, p->y->count, "i_addr");
    begin_core(p, "quern_gather");
    parameter(p, "BITS", p->x->bits);
    parameter(p, "COUNT", p->y->count);
    parameter(p, "X_ADDR_BITS", qn_verilog_address(p->x->count));
    parameter(p, "Y_ADDR_BITS", qn_verilog_address(p->y->count));
    begin_wires(p);
    wire(p, "i_addr", "i_addr");
    wire(p, "i_data", "index_data");
    wire(p, "x_addr", "x_addr");
    wire(p, "x_data", "x_data");
    end_core(p);
}

void qn_verilog_print_layer(qn_export_text *text, const qn_export_network *network, const qn_export_layer *layer)
{
    static void (*const prints[])(printer *) = {
        [QN_EXPORT_CONV] = print_conv,    [QN_EXPORT_ADD] = print_add,       [QN_EXPORT_MAX_POOL] = print_pool,
        [QN_EXPORT_AVERAGE] = print_pool, [QN_EXPORT_LOOKUP] = print_lookup, [QN_EXPORT_GATHER] = print_gather,
    };
    printer p = {.text = text,
                 .network = network,
                 .layer = layer,
                 .x = &network->tensors[layer->input[0]],
                 .y = &network->tensors[layer->output]};
    p.b = layer->kind == QN_EXPORT_ADD ? &network->tensors[layer->input[1]] : NULL;
    qn_verilog_print_words(text, network, layer);
    if (layer->kind == QN_EXPORT_LOOKUP && layer->u.lookup.table == NULL) {
        qn_export_printf(text, "/* verilator lint_off UNUSEDSIGNAL */ // the address of the table\n");
    }
    print_ports(&p);
    prints[layer->kind](&p);
}
