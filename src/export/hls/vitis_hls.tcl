# C simulation and synthesis: vitis_hls -f vitis_hls.tcl, in this folder. The test bench comes from
# "quern export --vectors". Not run where quern is tested: there the same sources are compiled with g++ and clang++.
# Add -DQUERN_AP_FIXED to flags for the fixed-point view.
set flags "-std=c++11 -DQUERN_AMD_AP_TYPES -DQUERN_TRACE"
open_project -reset quern_hls
set_top model_top
add_files model.cpp -cflags $flags
add_files -tb testbench.cpp -cflags $flags
add_files -tb tb_data
open_solution -reset solution1
set_part xc7z020clg400-1
create_clock -period 10
csim_design
csynth_design
# cosim_design
exit
