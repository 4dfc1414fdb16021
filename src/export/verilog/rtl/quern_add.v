// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Sum of two tensors of codes, as TensorFlow Lite's ADD: each operand comes to a common scale, then their sum to that
// of y.
//
//   y = clamp(q_y(q_a((a - A_ZERO) * 2^LEFT) + q_b((b - B_ZERO) * 2^LEFT)) + Y_ZERO, LO, HI)
//   q(x) = round(x * MULTIPLIER / 2^SHIFT), rounded as ROUNDING of quern_scale says
//
// Pulse `start`; `done` is pulsed after the last write. Two clocks an element. Memories answer one clock after the
// address. Operands are read one after the other (b_read tells that b_addr counts), so that both may lie in one memory.
// Order of all three: (y * W + x) * C + channel. An operand with A_H = 1 (A_W = 1) serves all rows (columns).
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
/* verilator lint_off PINCONNECTEMPTY */ // what a pipeline gives beyond its result is not always wanted
module quern_add #(
    parameter A_BITS = 8,
    parameter A_SIGNED = 0,
    parameter A_ZERO = 0,
    parameter A_H = 1,
    parameter A_W = 1,
    parameter A_MULTIPLIER = 0,
    parameter A_SHIFT = 31,
    parameter B_BITS = 8,
    parameter B_SIGNED = 0,
    parameter B_ZERO = 0,
    parameter B_H = 1,
    parameter B_W = 1,
    parameter B_MULTIPLIER = 0,
    parameter B_SHIFT = 31,
    parameter LEFT = 20,
    parameter H = 1,
    parameter W = 1,
    parameter C = 1,
    parameter Y_BITS = 8,
    parameter Y_ZERO = 0,
    parameter Y_MULTIPLIER = 0,
    parameter Y_SHIFT = 31,
    parameter LO = 0,
    parameter HI = 255,
    parameter ROUNDING = 3,
    parameter A_ADDR_BITS = 1,
    parameter B_ADDR_BITS = 1,
    parameter Y_ADDR_BITS = 1
) (
    input wire clk,
    input wire rst,
    input wire start,
    output reg done,
    output wire busy,

    output wire [A_ADDR_BITS-1:0] a_addr,
    input wire [A_BITS-1:0] a_data,
    output wire b_read,
    output wire [B_ADDR_BITS-1:0] b_addr,
    input wire [B_BITS-1:0] b_data,

    output wire y_we,
    output wire [Y_ADDR_BITS-1:0] y_addr,
    output wire [Y_BITS-1:0] y_data
);
    localparam IDLE = 2'd0, READ_A = 2'd1, READ_B = 2'd2, FLUSH = 2'd3;

    reg [1:0] state;
    reg [31:0] y, x, c;
    wire last_x = x == W - 1, last_c = c == C - 1;
    wire last = last_c && last_x && y == H - 1;
    wire [31:0] a_at = ((A_H == 1 ? 0 : y) * A_W + (A_W == 1 ? 0 : x)) * C + c;
    wire [31:0] b_at = ((B_H == 1 ? 0 : y) * B_W + (B_W == 1 ? 0 : x)) * C + c;
    wire [31:0] y_at = (y * W + x) * C + c;
    assign a_addr = a_at[A_ADDR_BITS-1:0];
    assign b_addr = b_at[B_ADDR_BITS-1:0];
    assign b_read = state == READ_B;

    reg have_both;
    reg [A_BITS-1:0] a;
    reg [Y_ADDR_BITS-1:0] at;
    wire terms_busy, sum_busy;
    assign busy = state != IDLE;
    always @(posedge clk) begin
        done <= 1'b0;
        have_both <= state == READ_B;
        a <= a_data;
        at <= y_at[Y_ADDR_BITS-1:0];
        case (state)
            IDLE:
            if (start) begin
                {y, x, c} <= 96'd0;
                state <= READ_A;
            end
            READ_A: state <= READ_B;
            READ_B: begin
                c <= last_c ? 32'd0 : c + 32'd1;
                if (last_c) x <= last_x ? 32'd0 : x + 32'd1;
                if (last_c && last_x) y <= y + 32'd1;
                state <= last ? FLUSH : READ_A;
            end
            default: // FLUSH
            if (!have_both && !terms_busy && !sum_busy) begin
                done <= 1'b1;
                state <= IDLE;
            end
        endcase
        if (rst) begin
            state <= IDLE;
            have_both <= 1'b0;
        end
    end

    wire [31:0] a_wide = {{(32 - A_BITS) {A_SIGNED != 0 && a[A_BITS-1]}}, a};
    wire [31:0] b_wide = {{(32 - B_BITS) {B_SIGNED != 0 && b_data[B_BITS-1]}}, b_data};
    wire [31:0] a_term = (a_wide - A_ZERO) << LEFT;
    wire [31:0] b_term = (b_wide - B_ZERO) << LEFT;
    wire signed [31:0] a_scaled, b_scaled, scaled;
    wire sum_valid;
    wire [Y_ADDR_BITS-1:0] sum_at;
    quern_scale #(.ROUNDING(ROUNDING), .TAG_BITS(Y_ADDR_BITS)) scale_a (
        .clk(clk), .rst(rst), .in_valid(have_both), .in_x(a_term), .in_multiplier(A_MULTIPLIER[30:0]),
        .in_shift(A_SHIFT[7:0]), .in_tag(at), .out_valid(sum_valid), .out_x(a_scaled), .out_tag(sum_at),
        .busy(terms_busy));
    quern_scale #(.ROUNDING(ROUNDING)) scale_b (
        .clk(clk), .rst(rst), .in_valid(have_both), .in_x(b_term), .in_multiplier(B_MULTIPLIER[30:0]),
        .in_shift(B_SHIFT[7:0]), .in_tag(1'b0), .out_valid(), .out_x(b_scaled), .out_tag(), .busy());
    quern_scale #(.ROUNDING(ROUNDING), .TAG_BITS(Y_ADDR_BITS)) scale_y (
        .clk(clk), .rst(rst), .in_valid(sum_valid), .in_x(a_scaled + b_scaled), .in_multiplier(Y_MULTIPLIER[30:0]),
        .in_shift(Y_SHIFT[7:0]), .in_tag(sum_at), .out_valid(y_we), .out_x(scaled), .out_tag(y_addr), .busy(sum_busy));
    quern_clamp #(.BITS(Y_BITS), .ZERO(Y_ZERO), .LO(LO), .HI(HI)) clamp (.x(scaled), .code(y_data));
endmodule
