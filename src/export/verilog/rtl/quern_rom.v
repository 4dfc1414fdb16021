// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Read-only memory, filled from a file that $readmemh reads (one word a line, hex). The word at `addr` is on `data`
// after the next rising edge of clk at which `re` is high, and stays there: a block RAM or distributed RAM, as the tool
// likes.
//
//   WIDTH      bits of a word
//   DEPTH      words
//   ADDR_BITS  of `addr`: 2**ADDR_BITS >= DEPTH
//   FILE       path of the .mem file, as the tool that elaborates this sees it
module quern_rom #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDR_BITS = 1,
    parameter FILE = "none.mem"
) (
    input wire clk,
    input wire re,
    input wire [ADDR_BITS-1:0] addr,
    output reg [WIDTH-1:0] data
);
    reg [WIDTH-1:0] mem[0:DEPTH-1];

    initial $readmemh(FILE, mem);

    always @(posedge clk) if (re) data <= mem[addr];
endmodule
