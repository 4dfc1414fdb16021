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
    wire [31:0] zero = ZERO, lo = LO, hi = HI;
    wire signed [32:0] zero_wide = {zero[31], zero}, lo_wide = {lo[31], lo}, hi_wide = {hi[31], hi};
    wire signed [32:0] moved = {x[31], x} + zero_wide;
    wire signed [32:0] clamped = moved < lo_wide ? lo_wide : moved > hi_wide ? hi_wide : moved;
    assign code = clamped[BITS-1:0];
endmodule
