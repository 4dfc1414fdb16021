/* The Verilog sources that go with an export as they are, as bytes between _begin and _end. */
    .section .rodata
    .macro text name file
    .global \name\()_begin
    .hidden \name\()_begin
    .global \name\()_end
    .hidden \name\()_end
\name\()_begin:
    .incbin "\file"
\name\()_end:
    .byte 0
    .endm
    text qn_verilog_add "rtl/quern_add.v"
    text qn_verilog_clamp "rtl/quern_clamp.v"
    text qn_verilog_conv "rtl/quern_conv.v"
    text qn_verilog_divide "rtl/quern_divide.v"
    text qn_verilog_gather "rtl/quern_gather.v"
    text qn_verilog_lookup "rtl/quern_lookup.v"
    text qn_verilog_pool "rtl/quern_pool.v"
    text qn_verilog_ram "rtl/quern_ram.v"
    text qn_verilog_rom "rtl/quern_rom.v"
    text qn_verilog_scale "rtl/quern_scale.v"
    text qn_verilog_check "tb/quern_check.v"
    text qn_verilog_vectors "tb/quern_vectors.v"
    text qn_verilog_makefile "Makefile.txt"
    .section .note.GNU-stack, "", @progbits
