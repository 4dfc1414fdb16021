# quern export --to verilog: a whole network under Verilator, every code and sum of several vectors; lint of all cores.
for tool in verilator g++ make; do
    if ! command -v $tool >/dev/null; then
        echo "skipped: Verilog of exports under Verilator; there is no $tool (packages verilator, g++, make)"
        exit 77
    fi
done
check 0 '' quern quantize "$DIGITS/digits.onnx" --data "$DIGITS/calib_x_u8.npy" --recipe minmax --profile tflite -q \
    -o q.onnx
check 0 '' quern export q.onnx --to verilog -o rtl --vectors "$DIGITS/test_x_u8.npy" --limit 4 -q
check 0 '' make -s -C rtl/verilog lint
silent
check 0 '' make -s -C rtl/verilog verilator
expect '^PASS: tb_network, 4 vectors, '
# It can fail: memories are read when it runs.
sed -i '$s/.*/00001234/' rtl/mem/l_fc.bias.mem
(cd rtl/verilog && build/verilator/Vtb_network) >out 2>err && fail "the bench passes with another bias"
expect '^FAIL: layer l_fc, accumulator, vector 0, element 9 '
expect '^FAIL: tb_network$'
