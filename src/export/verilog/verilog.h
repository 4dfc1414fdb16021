/* Verilog of a network: one module a layer, which puts a core of rtl/ and its memories together; network.v, which runs
 * them one after the other; test benches. Paths of memories are those from verilog/. */
#ifndef QN_EXPORT_VERILOG_VERILOG_H
#define QN_EXPORT_VERILOG_VERILOG_H

#include "export/mem/images.h"
#include "export/mem/mem.h"

/* What a layer's module has beyond clk, rst, start, done and the ports of y. */
typedef struct qn_verilog_ports {
    bool b, sum; /* a second operand; sums */
} qn_verilog_ports;
static inline qn_verilog_ports qn_verilog_ports_of(const qn_export_layer *layer)
{
    return (qn_verilog_ports){.b = layer->kind == QN_EXPORT_ADD, .sum = layer->kind == QN_EXPORT_CONV};
}

/* The tensor in whose memory tensor `i` lies. */
static inline const qn_export_tensor *qn_verilog_memory(const qn_export_network *network, int i)
{
    return &network->tensors[qn_export_base(network, i)];
}
/* Bits of a word of it: sums that are decoded outside are 32. */
static inline int qn_verilog_bits(const qn_export_tensor *t)
{
    return t->real ? 32 : t->bits;
}
/* Bits of an address of n words, at least 1. */
int qn_verilog_address(int64_t n);
/* Elements of the output that a layer writes. */
int64_t qn_verilog_writes(const qn_export_network *network, const qn_export_layer *layer);
/* About how many clocks a layer takes; never fewer than it does. */
int64_t qn_verilog_clocks(const qn_export_network *network, const qn_export_layer *layer);

/* Bits of address and data of a port that leads to all of the inputs, or outputs: of the largest. */
void qn_verilog_port_bits(const qn_export_network *n, const qn_export_io *ios, int count, int *address, int *data);

/* Refuse what needs floating point, all of it in one message. */
qn_status qn_verilog_need_fixed(const qn_export_network *network, qn_error *err);
/* The comment before a layer's module. */
void qn_verilog_print_words(qn_export_text *text, const qn_export_network *network, const qn_export_layer *layer);
void qn_verilog_print_layer(qn_export_text *text, const qn_export_network *network, const qn_export_layer *layer);
void qn_verilog_print_network(qn_export_text *text, const qn_export_network *network);
void qn_verilog_print_layer_bench(qn_export_text *text, const qn_export_network *network, const qn_export_layer *layer,
                                  int64_t n_vectors);
void qn_verilog_print_network_bench(qn_export_text *text, const qn_export_network *network, int64_t n_vectors);

#endif
