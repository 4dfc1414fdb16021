// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Requantization of a sum: out_x = round(in_x * in_multiplier / 2^in_shift), saturated to 32 bits. A pipeline: takes a
// number each clock, gives it 4 clocks later (out_valid is in_valid 4 clocks later), with the tag that came with it.
//
//   in_multiplier  0 .. 2^31 - 1
//   in_shift       -31 .. 62, to the right where positive. Up to 0 the product is shifted left, and nothing is rounded
//   ROUNDING       of the one exact 63-bit product:
//                  0 floor          toward minus infinity
//                  1 nearest-up     floor(v + 1/2)
//                  2 nearest-away   to the nearest, ties away from zero
//                  3 nearest-even   to the nearest, ties to even
//                  4 twice          as TensorFlow Lite by default: first the high half, floor((2 x m + 2^31) / 2^32),
//                  where x is
//                                   shifted left first, saturating, if in_shift < 31; then the rest of the shift,
//                                   nearest-away. in_shift is 1 .. 62
//   TAG_BITS       of what travels along, such as the address of the result
//   busy           a number is under way
module quern_scale #(
    parameter ROUNDING = 3,
    parameter TAG_BITS = 1
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    input wire signed [31:0] in_x,
    input wire [30:0] in_multiplier,
    input wire signed [7:0] in_shift,
    input wire [TAG_BITS-1:0] in_tag,
    output wire out_valid,
    output wire signed [31:0] out_x,
    output wire [TAG_BITS-1:0] out_tag,
    output wire busy
);
    localparam NEAREST_UP = 1, NEAREST_AWAY = 2, NEAREST_EVEN = 3, TWICE = 4;

    function signed [31:0] saturate(input signed [63:0] x);
        saturate = x > 64'sh7fffffff ? 32'sh7fffffff : x < -64'sh80000000 ? 32'sh80000000 : x[31:0];
    endfunction

    // x / 2^n, 1 <= n <= 62, |x| < 2^62
    function signed [63:0] shift_round(input signed [63:0] x, input [5:0] n, input integer how);
        reg signed [63:0] half, floor;
        begin
            half = 64'sd1 <<< (n - 6'd1);
            floor = x >>> n;
            shift_round = how == NEAREST_UP ? (x + half) >>> n
                : how == NEAREST_AWAY ? (x + half - (x < 64'sd0 ? 64'sd1 : 64'sd0)) >>> n
                : how == NEAREST_EVEN ? (x + half - 64'sd1 + (floor[0] ? 64'sd1 : 64'sd0)) >>> n
                : floor;
        end
    endfunction

    reg [3:0] valid; // of what is behind stages 1 to 4
    reg [TAG_BITS-1:0] tag1, tag2, tag3, tag4;
    reg signed [31:0] x1, m1, x4;
    reg signed [7:0] p1, p2, p3;
    reg signed [63:0] product, shifted;

    wire signed [63:0] wide = {{32{in_x[31]}}, in_x};
    wire signed [7:0] left = 8'sd31 - in_shift;
    wire signed [31:0] narrow = saturate(product);
    wire signed [63:0] narrow_wide = {{32{narrow[31]}}, narrow};
    wire [4:0] up = 5'd0 - p2[4:0]; // -p2, 0 .. 31
    wire signed [7:0] rest = p3 - 8'sd31;

    always @(posedge clk) begin
        if (rst) valid <= 4'd0;
        else if (in_valid || busy) begin // else all stages are empty and keep still
            valid <= {valid[2:0], in_valid};
            {tag1, tag2, tag3, tag4} <= {in_tag, tag1, tag2, tag3};
            {p1, p2, p3} <= {in_shift, p1, p2};
            // 1: what is multiplied
            x1 <= ROUNDING == TWICE && left > 8'sd0 ? saturate(wide <<< left[4:0]) : in_x;
            m1 <= {1'b0, in_multiplier};
            // 2: the exact product
            product <= x1 * m1;
            // 3: shifted and rounded
            shifted <= ROUNDING == TWICE ? shift_round(product, 6'd31, NEAREST_UP)
                : p2 > 8'sd0 ? shift_round(product, p2[5:0], ROUNDING)
                : narrow_wide <<< up;
            // 4: the rest of a shift in two steps; saturation
            x4 <= saturate(ROUNDING == TWICE && rest > 8'sd0 ? shift_round(shifted, rest[5:0], NEAREST_AWAY) : shifted);
        end
    end
    assign out_valid = valid[3];
    assign out_x = x4;
    assign out_tag = tag4;
    assign busy = |valid;
endmodule
