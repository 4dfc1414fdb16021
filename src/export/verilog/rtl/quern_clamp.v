// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// code = clamp(x + ZERO, LO, HI), without a clock. BITS: of the code, whose range holds LO and HI.
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
module quern_clamp #(
    parameter BITS = 8,
    parameter ZERO = 0,
    parameter LO = 0,
    parameter HI = 255
) (
    input wire signed [31:0] x,
    output wire [BITS-1:0] code
);
    localparam signed [32:0] ZERO_WIDE = ZERO, LO_WIDE = LO, HI_WIDE = HI;
    wire signed [32:0] moved = {x[31], x} + ZERO_WIDE;
    wire signed [32:0] clamped = moved < LO_WIDE ? LO_WIDE : moved > HI_WIDE ? HI_WIDE : moved;
    assign code = clamped[BITS-1:0];
endmodule
