// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Memory of one tensor: one write port, one read port. A word is written on the rising edge at which `we` is high; the
// word at `raddr` is on `rdata` after the next rising edge at which `re` is high (the old one, where it is written at
// that edge).
//
//   WIDTH      bits of a word: those of the tensor's codes
//   DEPTH      words: elements of the tensor, in order (y, x, channel), channel fastest
//   ADDR_BITS  of the addresses: 2**ADDR_BITS >= DEPTH
module quern_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDR_BITS = 1
) (
    input wire clk,
    input wire we,
    input wire [ADDR_BITS-1:0] waddr,
    input wire [WIDTH-1:0] wdata,
    input wire re,
    input wire [ADDR_BITS-1:0] raddr,
    output reg [WIDTH-1:0] rdata
);
    reg [WIDTH-1:0] mem[0:DEPTH-1];

    always @(posedge clk) begin
        if (we) mem[waddr] <= wdata;
        if (re) rdata <= mem[raddr];
    end
endmodule
