/* The fixed files of an HLS export, as bytes between _begin and _end (write.c lists them). */
    .section .rodata
    .macro hls_file name file
    .global \name\()_begin
    .global \name\()_end
    .hidden \name\()_begin
    .hidden \name\()_end
\name\()_begin:
    .incbin "\file"
\name\()_end:
    .byte 0
    .endm
    hls_file qn_hls_quern_ap_h "quern_ap.h"
    hls_file qn_hls_quern_hls_h "quern_hls.h"
    hls_file qn_hls_testbench_h "testbench.h"
    hls_file qn_hls_makefile "Makefile"
    hls_file qn_hls_vitis_hls_tcl "vitis_hls.tcl"
    .section .note.GNU-stack, "", @progbits
