// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// For test benches: compares what is written into a memory with what the model gives, and tells the first difference.
//
//   NAME      layer and tensor, for the message
//   BITS      of a word, IS_SIGNED: two's complement
//   COUNT     words a vector
//   WRITES    of these a run has to write, each once
//   VECTORS   in FILE, one after the other
//   WIDTH, CHANNELS   of the map in the memory, to tell the place: element (y * WIDTH + x) * CHANNELS + channel
//
//   vector    which one runs; `finish` is high for a clock after the run
//   failed    something differed so far
module quern_check #(
    parameter NAME = "",
    parameter BITS = 8,
    parameter IS_SIGNED = 0,
    parameter COUNT = 1,
    parameter WRITES = 1,
    parameter VECTORS = 1,
    parameter ADDR_BITS = 1,
    parameter WIDTH = 1,
    parameter CHANNELS = 1,
    parameter FILE = "none.mem"
) (
    input wire clk,
    input wire [31:0] vector,
    input wire finish,
    input wire we,
    input wire [ADDR_BITS-1:0] addr,
    input wire [BITS-1:0] data,
    output reg failed
);
    reg [BITS-1:0] expected[0:VECTORS*COUNT-1];
    reg [31:0] written[0:COUNT-1]; // in which vector, from 1
    integer writes, i;
    wire [31:0] at = {{(32 - ADDR_BITS) {1'b0}}, addr};

    function integer number(input [BITS-1:0] code);
        number = {{(32 - BITS) {IS_SIGNED != 0 && code[BITS-1]}}, code};
    endfunction

    initial begin
        $readmemh(FILE, expected);
        failed = 1'b0;
        writes = 0;
        for (i = 0; i < COUNT; i = i + 1) written[i] = 0;
    end

    always @(posedge clk) begin
        if (we && !failed) begin
            writes <= writes + 1;
            if (at >= COUNT) begin
                failed <= 1'b1;
                $display("FAIL: %0s, vector %0d: element %0d is written; there are %0d", NAME, vector, at, COUNT);
            end else if (written[at] == vector + 1) begin
                failed <= 1'b1;
                $display("FAIL: %0s, vector %0d: element %0d is written twice", NAME, vector, at);
            end else if (data !== expected[vector*COUNT+at]) begin
                failed <= 1'b1;
                $display("FAIL: %0s, vector %0d, element %0d (y %0d, x %0d, channel %0d): expected %0d, found %0d",
                         NAME, vector, at, at / (WIDTH * CHANNELS), at / CHANNELS % WIDTH, at % CHANNELS,
                         number(expected[vector*COUNT+at]), number(data));
            end
            if (at < COUNT) written[at] <= vector + 1;
        end
        if (finish) begin
            writes <= 0;
            if (writes != WRITES && !failed) begin
                failed <= 1'b1;
                $display("FAIL: %0s, vector %0d: %0d elements are written, expected %0d", NAME, vector, writes, WRITES);
            end
        end
    end
endmodule
