// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Convolution or matrix product of codes: multiply, accumulate, add the bias, requantize, clamp.
//
//   sum(k) = bias[k] + sum over r, s, c of (x - X_ZERO) * (w - zero_w[k])
//   y      = clamp(round(sum(k) * multiplier[k] / 2^shift[k]) + Y_ZERO, LO, HI)
//
// Use: pulse `start`; the core reads x and its constants, writes every element of y once, and pulses `done` after the
// last write. One term (LANES of them side by side) is summed each clock; an element of LANES channels takes KERNEL_H *
// KERNEL_W * GROUP_INPUTS + 2 * LANES + 8 clocks or so. Nothing is to change on the inputs but what the memories
// answer.
//
// Memories answer one clock after the address (as block RAM does). Their order:
//   x        [y][x][channel]: (y * IN_W + x) * IN_C + channel; X_BITS wide
//   y        the same with OUT_W, OUT_C
//   weights  a word is LANES weights of W_BITS, output channel k in bits W_BITS * (k % LANES) and up (within its
//            group): [group][k / LANES][r][s][c]. With LANES = 1 that is [k][r][s][c]. Lanes beyond the group's last
//            channel are not used
//   bias, multiplier, shift, zero_w     one word for each output channel k
//
//   X_BITS X_SIGNED X_ZERO   format of the input's codes, the code of 0. Outside of the map, x is X_ZERO: padding
//                            counts 0
//   W_BITS W_SIGNED          format of the weights
//   Y_BITS Y_ZERO LO HI      of the output (two's complement where it is signed); LO and HI also carry a ReLU that was
//                            fused
//   RAW                      1: no requantization, y is the sum, Y_BITS = 32
//   IN_H .. OUT_C            sizes of the maps
//   KERNEL_H .. PAD_W        PAD_H rows lie above the map, PAD_W columns left of it; what is missing below and at the
//                            right follows from the sizes
//   GROUPS GROUP_INPUTS GROUP_OUTPUTS   output channel k of group k / GROUP_OUTPUTS reads the input channels
//                            group * GROUP_INPUTS and up. Depthwise: GROUP_INPUTS = 1
//   BY_MATRIX                order of terms (it matters to SATURATE only): 0 rows, columns, channels; 1 channels, rows,
//                            columns
//   ACC_BITS                 width of the accumulator, up to 32
//   SATURATE                 0: sums wrap. 1: the accumulator starts with the bias, clamped, and is clamped after every
//                            term
//   ROUNDING                 of quern_scale
//   LANES                    multipliers side by side
//   X_ADDR_BITS .. K_ADDR_BITS   of the addresses: as many as the memories need
//
//   sum_valid, sum_addr, sum   the finished accumulator of element sum_addr of y, for test benches
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
module quern_conv #(
    parameter X_BITS = 8,
    parameter X_SIGNED = 0,
    parameter X_ZERO = 0,
    parameter W_BITS = 8,
    parameter W_SIGNED = 1,
    parameter Y_BITS = 8,
    parameter Y_ZERO = 0,
    parameter LO = 0,
    parameter HI = 255,
    parameter RAW = 0,
    parameter IN_H = 1,
    parameter IN_W = 1,
    parameter IN_C = 1,
    parameter OUT_H = 1,
    parameter OUT_W = 1,
    parameter OUT_C = 1,
    parameter KERNEL_H = 1,
    parameter KERNEL_W = 1,
    parameter STRIDE_H = 1,
    parameter STRIDE_W = 1,
    parameter DILATION_H = 1,
    parameter DILATION_W = 1,
    parameter PAD_H = 0,
    parameter PAD_W = 0,
    parameter GROUPS = 1,
    parameter GROUP_INPUTS = 1,
    parameter GROUP_OUTPUTS = 1,
    parameter BY_MATRIX = 0,
    parameter ACC_BITS = 32,
    parameter SATURATE = 0,
    parameter ROUNDING = 3,
    parameter LANES = 1,
    parameter X_ADDR_BITS = 1,
    parameter W_ADDR_BITS = 1,
    parameter Y_ADDR_BITS = 1,
    parameter K_ADDR_BITS = 1
) (
    input wire clk,
    input wire rst,
    input wire start,
    output reg done,
    output wire busy, // from start to done

    output reg [X_ADDR_BITS-1:0] x_addr,
    input wire [X_BITS-1:0] x_data,
    output reg [W_ADDR_BITS-1:0] w_addr,
    input wire [LANES*W_BITS-1:0] w_data,

    output wire [K_ADDR_BITS-1:0] k_addr, // of the four that follow
    input wire [31:0] bias_data,
    input wire [W_BITS-1:0] zero_w_data,
    input wire [31:0] multiplier_data,
    input wire [7:0] shift_data,

    output wire y_we,
    output wire [Y_ADDR_BITS-1:0] y_addr,
    output wire [Y_BITS-1:0] y_data,

    output wire sum_valid,
    output wire [Y_ADDR_BITS-1:0] sum_addr,
    output wire [31:0] sum
);
    localparam BLOCKS = (GROUP_OUTPUTS + LANES - 1) / LANES;
    localparam PRODUCT_BITS = X_BITS + W_BITS + 2;
    localparam TOTAL_BITS = (ACC_BITS > PRODUCT_BITS ? ACC_BITS : PRODUCT_BITS) + 1;
    localparam IDLE = 3'd0, BIAS = 3'd1, TERMS = 3'd2, DRAIN = 3'd3, EMIT = 3'd4, FLUSH = 3'd5;

    reg [2:0] state;
    // Where we are: output pixel, group, block of LANES channels; term; lane. All count up from 0.
    reg [31:0] oy, ox, group, block, r, s, c, lane;

    wire last_block = block == BLOCKS - 1;
    wire last_group = group == GROUPS - 1;
    wire last_x = ox == OUT_W - 1;
    wire last_y = oy == OUT_H - 1;
    wire last_r = r == KERNEL_H - 1;
    wire last_s = s == KERNEL_W - 1;
    wire last_c = c == GROUP_INPUTS - 1;
    wire last_lane = lane == LANES - 1 || block * LANES + lane == GROUP_OUTPUTS - 1;

    wire [31:0] k = group * GROUP_OUTPUTS + block * LANES + lane;
    wire signed [31:0] iy = oy * STRIDE_H + r * DILATION_H - PAD_H;
    wire signed [31:0] ix = ox * STRIDE_W + s * DILATION_W - PAD_W;
    wire in_map = iy >= 0 && iy < IN_H && ix >= 0 && ix < IN_W;
    wire [31:0] x_at = (iy * IN_W + ix) * IN_C + group * GROUP_INPUTS + c;
    wire [31:0] w_at = (((group * BLOCKS + block) * KERNEL_H + r) * KERNEL_W + s) * GROUP_INPUTS + c;
    wire [31:0] y_at = (oy * OUT_W + ox) * OUT_C + k;
    assign busy = state != IDLE;
    assign k_addr = k[K_ADDR_BITS-1:0];

    // The pipeline of a term: 1 address, 2 memory, 3 differences, 4 product; then the accumulator.
    reg valid1, valid2, valid3, valid4, in_map1, in_map2;
    wire draining = valid1 || valid2 || valid3 || valid4;
    // Channel constants are there one clock after k_addr.
    reg got_bias, push;
    reg [31:0] lane_got;
    reg [Y_ADDR_BITS-1:0] push_addr;
    wire out_busy;

    always @(posedge clk) begin
        done <= 1'b0;
        if (busy || start) begin
            got_bias <= state == BIAS;
            push <= state == EMIT;
            lane_got <= lane;
            push_addr <= y_at[Y_ADDR_BITS-1:0];
            valid1 <= state == TERMS;
            x_addr <= x_at[X_ADDR_BITS-1:0];
            w_addr <= w_at[W_ADDR_BITS-1:0];
            in_map1 <= in_map;
            {valid2, valid3, valid4} <= {valid1, valid2, valid3};
            in_map2 <= in_map1;

            case (state)
                IDLE:
                if (start) begin
                    {oy, ox, group, block, r, s, c, lane} <= 256'd0;
                    state <= BIAS;
                end
                BIAS: begin
                    lane <= last_lane ? 32'd0 : lane + 32'd1;
                    if (last_lane) state <= TERMS;
                end
                TERMS: begin
                    if (BY_MATRIX != 0) begin // channels, rows, columns
                        s <= last_s ? 32'd0 : s + 32'd1;
                        if (last_s) r <= last_r ? 32'd0 : r + 32'd1;
                        if (last_s && last_r) c <= last_c ? 32'd0 : c + 32'd1;
                    end else begin // rows, columns, channels
                        c <= last_c ? 32'd0 : c + 32'd1;
                        if (last_c) s <= last_s ? 32'd0 : s + 32'd1;
                        if (last_c && last_s) r <= last_r ? 32'd0 : r + 32'd1;
                    end
                    if (last_r && last_s && last_c) state <= DRAIN;
                end
                DRAIN: if (!draining) state <= EMIT;
                EMIT: begin
                    lane <= last_lane ? 32'd0 : lane + 32'd1;
                    if (last_lane) begin
                        block <= last_block ? 32'd0 : block + 32'd1;
                        if (last_block) group <= last_group ? 32'd0 : group + 32'd1;
                        if (last_block && last_group) ox <= last_x ? 32'd0 : ox + 32'd1;
                        if (last_block && last_group && last_x) oy <= last_y ? 32'd0 : oy + 32'd1;
                        state <= last_block && last_group && last_x && last_y ? FLUSH : BIAS;
                    end
                end
                default: // FLUSH
                if (!push && !out_busy) begin
                    done <= 1'b1;
                    state <= IDLE;
                end
            endcase
        end

        if (rst) begin
            state <= IDLE;
            {valid1, valid2, valid3, valid4, got_bias, push} <= 6'd0;
        end
    end

    reg signed [X_BITS:0] dx;
    wire [X_BITS:0] x_wide = {X_SIGNED != 0 ? x_data[X_BITS-1] : 1'b0, x_data};
    always @(posedge clk)
        if (busy && valid2) dx <= in_map2 ? $signed(x_wide - X_ZERO[X_BITS:0]) : {(X_BITS + 1) {1'b0}};

    wire signed [LANES*32-1:0] sums; // of all lanes, 32 bits each
    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : in_lane
            wire [W_BITS-1:0] w = w_data[W_BITS*i+:W_BITS];
            reg [W_BITS-1:0] zero_w;
            reg signed [W_BITS:0] dw;
            reg signed [PRODUCT_BITS-1:0] product;
            reg signed [ACC_BITS-1:0] acc;

            wire [W_BITS:0] w_wide = {W_SIGNED != 0 ? w[W_BITS-1] : 1'b0, w};
            wire [W_BITS:0] zero_wide = {W_SIGNED != 0 ? zero_w[W_BITS-1] : 1'b0, zero_w};
            wire signed [TOTAL_BITS-1:0] acc_wide = {{(TOTAL_BITS - ACC_BITS) {acc[ACC_BITS-1]}}, acc};
            wire signed [TOTAL_BITS-1:0] product_wide =
                {{(TOTAL_BITS - PRODUCT_BITS) {product[PRODUCT_BITS-1]}}, product};
            wire signed [TOTAL_BITS-1:0] total = acc_wide + product_wide;
            wire fits = total[TOTAL_BITS-1:ACC_BITS-1] == {(TOTAL_BITS - ACC_BITS + 1) {total[TOTAL_BITS-1]}};
            wire bias_fits = bias_data[31:ACC_BITS-1] == {(33 - ACC_BITS) {bias_data[31]}};

            always @(posedge clk) if (busy) begin
                if (valid2) dw <= $signed(w_wide - zero_wide);
                if (valid3) product <= dx * dw;
                if (got_bias && lane_got == i) begin
                    zero_w <= zero_w_data;
                    acc <= SATURATE != 0 && !bias_fits ? {bias_data[31], {(ACC_BITS - 1) {!bias_data[31]}}}
                        : bias_data[ACC_BITS-1:0];
                end else if (valid4)
                    acc <= SATURATE != 0 && !fits ? {total[TOTAL_BITS-1], {(ACC_BITS - 1) {!total[TOTAL_BITS-1]}}}
                        : total[ACC_BITS-1:0];
            end
            if (ACC_BITS == 32) begin : whole
                assign sums[32*i+:32] = acc;
            end else begin : narrow
                assign sums[32*i+:32] = {{(32 - ACC_BITS) {acc[ACC_BITS-1]}}, acc};
            end
        end
    endgenerate

    assign sum_valid = push;
    assign sum_addr = push_addr;
    assign sum = sums[32*lane_got+:32];

    generate
        if (RAW != 0) begin : sums_go_out
            assign y_we = push;
            assign y_addr = push_addr;
            assign y_data = sum[Y_BITS-1:0];
            assign out_busy = 1'b0;
        end else begin : codes_go_out
            wire signed [31:0] scaled;
            quern_scale #(.ROUNDING(ROUNDING), .TAG_BITS(Y_ADDR_BITS)) scale (
                .clk(clk), .rst(rst), .in_valid(push), .in_x(sum), .in_multiplier(multiplier_data[30:0]),
                .in_shift(shift_data), .in_tag(push_addr), .out_valid(y_we), .out_x(scaled), .out_tag(y_addr),
                .busy(out_busy));
            quern_clamp #(.BITS(Y_BITS), .ZERO(Y_ZERO), .LO(LO), .HI(HI)) clamp (.x(scaled), .code(y_data));
        end
    endgenerate
endmodule
