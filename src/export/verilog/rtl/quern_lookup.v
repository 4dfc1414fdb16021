// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Each code through a table, or copied, to a place of its own in y: changes of scale, and the inputs of a
// concatenation.
//
//   y[AT_Y + row][AT_X + column][AT_C + channel] = TABLE ? table[x[row][column][channel]] : x[row][column][channel]
//
// Pulse `start`; `done` is pulsed after the last write. One element a clock. Memories answer one clock after the
// address; order of maps: (y * W + x) * C + channel. t_addr is x minus the lowest code of its format.
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
module quern_lookup #(
    parameter TABLE = 1,
    parameter X_BITS = 8,
    parameter X_SIGNED = 0,
    parameter Y_BITS = 8,
    parameter H = 1,
    parameter W = 1,
    parameter C = 1,
    parameter OUT_W = 1,
    parameter OUT_C = 1,
    parameter AT_Y = 0,
    parameter AT_X = 0,
    parameter AT_C = 0,
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
    output wire [X_BITS-1:0] t_addr,
    input wire [Y_BITS-1:0] t_data,

    output wire y_we,
    output wire [Y_ADDR_BITS-1:0] y_addr,
    output wire [Y_BITS-1:0] y_data
);
    reg running, at_table, at_y, last1, last2;
    reg [31:0] row, column, ch;
    reg [Y_ADDR_BITS-1:0] y_addr1, y_addr2;
    reg [X_BITS-1:0] copied;
    wire last_c = ch == C - 1, last_x = column == W - 1;
    wire last = last_c && last_x && row == H - 1;
    wire [31:0] x_at = (row * W + column) * C + ch;
    wire [31:0] y_at = ((AT_Y + row) * OUT_W + AT_X + column) * OUT_C + AT_C + ch;
    assign x_addr = x_at[X_ADDR_BITS-1:0];
    assign t_addr = {x_data[X_BITS-1] ^ (X_SIGNED != 0), x_data[X_BITS-2:0]};

    assign busy = running || at_table || at_y;
    always @(posedge clk) begin
        at_table <= running;
        at_y <= at_table;
        {last1, last2} <= {running && last, last1};
        done <= last2;
        y_addr1 <= y_at[Y_ADDR_BITS-1:0];
        y_addr2 <= y_addr1;
        copied <= x_data;
        if (running) begin
            ch <= last_c ? 32'd0 : ch + 32'd1;
            if (last_c) column <= last_x ? 32'd0 : column + 32'd1;
            if (last_c && last_x) row <= row + 32'd1;
            running <= !last;
        end else if (start) begin
            {row, column, ch} <= 96'd0;
            running <= 1'b1;
        end
        if (rst) {running, at_table, at_y, last1, last2} <= 5'd0;
    end
    assign y_we = at_y;
    assign y_addr = y_addr2;
    generate
        if (TABLE != 0) begin : through_table
            assign y_data = t_data;
        end else begin : copy
            assign y_data = copied[Y_BITS-1:0];
        end
    endgenerate
endmodule
