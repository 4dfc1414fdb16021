// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// For test benches: a memory that holds a tensor of several vectors, one after the other; `vector` says which is read.
// The word at `addr` is on `data` after the next rising edge of clk.
module quern_vectors #(
    parameter BITS = 8,
    parameter COUNT = 1,
    parameter VECTORS = 1,
    parameter ADDR_BITS = 1,
    parameter FILE = "none.mem"
) (
    input wire clk,
    input wire [31:0] vector,
    input wire [ADDR_BITS-1:0] addr,
    output reg [BITS-1:0] data
);
    reg [BITS-1:0] mem[0:VECTORS*COUNT-1];
    wire [31:0] at = vector * COUNT + {{(32 - ADDR_BITS) {1'b0}}, addr};

    initial $readmemh(FILE, mem);

    always @(posedge clk) data <= mem[at];
endmodule
