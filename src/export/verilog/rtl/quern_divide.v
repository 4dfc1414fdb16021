// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Quotient of a signed number by a positive one, to the nearest, ties away from zero, bit by bit: 34 clocks.
//
//   quotient = x > 0 ? (x + n div 2) div n : (x - n div 2) div n      div cuts off
//
// Pulse `start` with x and n (below 2^31); `done` is pulsed when quotient is there, which stays until the next start.
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
module quern_divide (
    input wire clk,
    input wire rst,
    input wire start,
    input wire signed [31:0] x,
    input wire [31:0] n,
    output reg done,
    output wire signed [31:0] quotient
);
    reg running, negative;
    reg [5:0] left;
    reg [32:0] magnitude; // what is not divided yet, from the top; the quotient comes in from below
    reg [31:0] rest, divisor;
    wire [32:0] x_wide = {x[31], x};
    wire [32:0] next = {rest, magnitude[32]};
    wire fits = next >= {1'b0, divisor};
    wire [32:0] less = next - {1'b0, divisor};

    always @(posedge clk) begin
        done <= 1'b0;
        if (rst) running <= 1'b0;
        else if (start) begin
            running <= 1'b1;
            negative <= x[31];
            magnitude <= (x[31] ? 33'd0 - x_wide : x_wide) + {2'b0, n[31:1]};
            divisor <= n;
            rest <= 32'd0;
            left <= 6'd33;
        end else if (running) begin
            rest <= fits ? less[31:0] : next[31:0];
            magnitude <= {magnitude[31:0], fits};
            left <= left - 6'd1;
            if (left == 6'd1) begin
                running <= 1'b0;
                done <= 1'b1;
            end
        end
    end
    assign quotient = negative ? 32'd0 - magnitude[31:0] : magnitude[31:0];
endmodule
