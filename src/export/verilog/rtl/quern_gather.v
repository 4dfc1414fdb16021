// Part of the export of quern. SPDX-License-Identifier: Apache-2.0. May be used freely with exported networks.
//
// Elements moved: y[i] = x[index[i]], 0 <= i < COUNT: Transpose, Slice, Gather and their like.
//
// Pulse `start`; `done` is pulsed after the last write. One element a clock. Memories answer one clock after the
// address; the one of the index holds COUNT words of I_BITS >= X_ADDR_BITS.
/* verilator lint_off UNUSEDSIGNAL */ // numbers are worked out in 32 bits or more and cut to what is needed
module quern_gather #(
    parameter BITS = 8,
    parameter COUNT = 1,
    parameter I_BITS = 32,
    parameter X_ADDR_BITS = 1,
    parameter Y_ADDR_BITS = 1
) (
    input wire clk,
    input wire rst,
    input wire start,
    output reg done,
    output wire busy,

    output wire [Y_ADDR_BITS-1:0] i_addr,
    input wire [I_BITS-1:0] i_data,
    output wire [X_ADDR_BITS-1:0] x_addr,
    input wire [BITS-1:0] x_data,

    output wire y_we,
    output wire [Y_ADDR_BITS-1:0] y_addr,
    output wire [BITS-1:0] y_data
);
    reg running, at_x, at_y, last1, last2;
    reg [31:0] i;
    reg [Y_ADDR_BITS-1:0] i1, i2;
    wire last = i == COUNT - 1;
    assign i_addr = i[Y_ADDR_BITS-1:0];
    assign x_addr = i_data[X_ADDR_BITS-1:0];

    assign busy = running || at_x || at_y;
    always @(posedge clk) begin
        {at_x, at_y} <= {running, at_x};
        {last1, last2} <= {running && last, last1};
        done <= last2;
        i1 <= i[Y_ADDR_BITS-1:0];
        i2 <= i1;
        if (running) begin
            i <= i + 32'd1;
            running <= !last;
        end else if (start) begin
            i <= 32'd0;
            running <= 1'b1;
        end
        if (rst) {running, at_x, at_y, last1, last2} <= 5'd0;
    end
    assign y_we = at_y;
    assign y_addr = i2;
    assign y_data = x_data;
endmodule
