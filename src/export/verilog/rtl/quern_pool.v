// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Pooling: the greatest code, or the average, of the elements of a window that lie inside the map.
//
//   AVERAGE = 0   y = clamp(greatest x, LO, HI)
//   AVERAGE = 1   s = sum of (x - CENTRE); where RESCALES, s = round(s * MULTIPLIER / 2^SHIFT) (quern_scale);
//                 y = clamp(s divided by n, to the nearest, ties away from zero, + OFFSET, LO, HI)
//                 n is the number of elements seen, or DIVISOR where that is not 0
//
// Pulse `start`; `done` is pulsed after the last write. An element takes KERNEL_H * KERNEL_W + 5 clocks, an average 45
// more. Memories answer one clock after the address; order of both: (y * W + x) * C + channel. The other parameters are
// those of quern_conv.
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
/* verilator lint_off PINCONNECTEMPTY */ // what a pipeline gives beyond its result is not always wanted
module quern_pool #(
    parameter AVERAGE = 0,
    parameter X_BITS = 8,
    parameter X_SIGNED = 0,
    parameter CENTRE = 0,
    parameter RESCALES = 0,
    parameter MULTIPLIER = 0,
    parameter SHIFT = 31,
    parameter ROUNDING = 3,
    parameter DIVISOR = 0,
    parameter OFFSET = 0,
    parameter Y_BITS = 8,
    parameter LO = 0,
    parameter HI = 255,
    parameter IN_H = 1,
    parameter IN_W = 1,
    parameter C = 1,
    parameter OUT_H = 1,
    parameter OUT_W = 1,
    parameter KERNEL_H = 1,
    parameter KERNEL_W = 1,
    parameter STRIDE_H = 1,
    parameter STRIDE_W = 1,
    parameter DILATION_H = 1,
    parameter DILATION_W = 1,
    parameter PAD_H = 0,
    parameter PAD_W = 0,
    parameter X_ADDR_BITS = 1,
    parameter Y_ADDR_BITS = 1
) (
    input wire clk,
    input wire rst,
    input wire start,
    output reg done,
    output wire busy,

    output wire [X_ADDR_BITS-1:0] x_addr,
    input wire [X_BITS-1:0] x_data,

    output wire y_we,
    output wire [Y_ADDR_BITS-1:0] y_addr,
    output wire [Y_BITS-1:0] y_data
);
    localparam IDLE = 3'd0, WINDOW = 3'd1, WAIT = 3'd2, FINISH = 3'd3, RESULT = 3'd4, WRITE = 3'd5;
    localparam signed [31:0] LOWEST = X_SIGNED != 0 ? -(1 << (X_BITS - 1)) : 0;

    reg [2:0] state;
    reg [31:0] oy, ox, ch, r, s;
    wire last_s = s == KERNEL_W - 1, last_r = r == KERNEL_H - 1;
    wire last_c = ch == C - 1, last_x = ox == OUT_W - 1;
    wire last = last_c && last_x && oy == OUT_H - 1;
    wire signed [31:0] iy = oy * STRIDE_H + r * DILATION_H - PAD_H;
    wire signed [31:0] ix = ox * STRIDE_W + s * DILATION_W - PAD_W;
    wire in_map = iy >= 0 && iy < IN_H && ix >= 0 && ix < IN_W;
    wire [31:0] x_at = (iy * IN_W + ix) * C + ch;
    wire [31:0] y_at = (oy * OUT_W + ox) * C + ch;
    assign x_addr = x_at[X_ADDR_BITS-1:0];
    assign y_addr = y_at[Y_ADDR_BITS-1:0];

    reg seen; // x_data is an element of the window
    wire signed [31:0] x = {{(32 - X_BITS) {X_SIGNED != 0 && x_data[X_BITS-1]}}, x_data};
    reg signed [31:0] found; // greatest or sum
    reg [31:0] n;
    wire signed [31:0] result;
    wire have_result;

    assign busy = state != IDLE;
    always @(posedge clk) begin
        done <= 1'b0;
        seen <= state == WINDOW && in_map;
        if (seen) begin
            n <= n + 32'd1;
            found <= AVERAGE != 0 ? found + x - CENTRE : x > found ? x : found;
        end
        case (state)
            IDLE:
            if (start) begin
                {oy, ox, ch, r, s, n} <= 192'd0;
                found <= AVERAGE != 0 ? 0 : LOWEST;
                state <= WINDOW;
            end
            WINDOW: begin
                s <= last_s ? 32'd0 : s + 32'd1;
                if (last_s) r <= last_r ? 32'd0 : r + 32'd1;
                if (last_s && last_r) state <= WAIT;
            end
            WAIT: state <= FINISH; // the last element comes in
            FINISH: state <= RESULT;
            RESULT: if (have_result) state <= WRITE;
            default: begin // WRITE
                n <= 32'd0;
                found <= AVERAGE != 0 ? 0 : LOWEST;
                ch <= last_c ? 32'd0 : ch + 32'd1;
                if (last_c) ox <= last_x ? 32'd0 : ox + 32'd1;
                if (last_c && last_x) oy <= oy + 32'd1;
                state <= last ? IDLE : WINDOW;
                done <= last;
            end
        endcase
        if (rst) begin
            state <= IDLE;
            seen <= 1'b0;
        end
    end

    generate
        if (AVERAGE != 0) begin : average
            wire scaled_valid;
            wire signed [31:0] scaled;
            if (RESCALES != 0) begin : rescale
                quern_scale #(.ROUNDING(ROUNDING)) scale (
                    .clk(clk), .rst(rst), .in_valid(state == FINISH), .in_x(found), .in_multiplier(MULTIPLIER[30:0]),
                    .in_shift(SHIFT[7:0]), .in_tag(1'b0), .out_valid(scaled_valid), .out_x(scaled), .out_tag(),
                    .busy());
            end else begin : as_it_is
                assign scaled_valid = state == FINISH;
                assign scaled = found;
            end
            quern_divide divide (
                .clk(clk), .rst(rst), .start(scaled_valid), .x(scaled), .n(DIVISOR != 0 ? DIVISOR : n),
                .done(have_result), .quotient(result));
        end else begin : greatest
            assign have_result = 1'b1;
            assign result = found;
        end
    endgenerate
    assign y_we = state == WRITE;
    quern_clamp #(.BITS(Y_BITS), .ZERO(AVERAGE != 0 ? OFFSET : 0), .LO(LO), .HI(HI)) clamp (
        .x(result), .code(y_data));
endmodule
