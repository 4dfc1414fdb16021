/* The fixed files of a C export, as bytes between _begin and _end (runtime.h lists them). */
    .section .rodata
    .macro runtime_file name file
    .global \name\()_begin
    .global \name\()_end
    .hidden \name\()_begin
    .hidden \name\()_end
\name\()_begin:
    .incbin "runtime/\file"
\name\()_end:
    .byte 0
    .endm
    runtime_file qn_c_quern_ops_h "quern_ops.h"
    runtime_file qn_c_quern_inline_h "quern_inline.h"
    runtime_file qn_c_quern_dot_h "quern_dot.h"
    runtime_file qn_c_quern_requantize_c "quern_requantize.c"
    runtime_file qn_c_quern_conv_c "quern_conv.c"
    runtime_file qn_c_quern_packed_c "quern_packed.c"
    runtime_file qn_c_quern_saturating_c "quern_saturating.c"
    runtime_file qn_c_quern_maps_c "quern_maps.c"
    runtime_file qn_c_quern_rows_c "quern_rows.c"
    runtime_file qn_c_quern_float_h "quern_float.h"
    runtime_file qn_c_quern_float_c "quern_float.c"
    runtime_file qn_c_quern_soft_c "quern_soft.c"
    runtime_file qn_c_test_main_c "test_main.c"
    runtime_file qn_c_makefile "Makefile"
    runtime_file qn_c_readme "README.txt"
    .section .note.GNU-stack, "", @progbits
